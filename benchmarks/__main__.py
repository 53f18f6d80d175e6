"""One entry to all benchmarks: `python -m benchmarks` lists them, `python -m benchmarks NAME… [-- OPTIONS]` runs them.

    python -m benchmarks                         what there is, what it needs, which peers are installed
    python -m benchmarks join keyframes          these, one after the other, with their defaults
    python -m benchmarks all --videos FOLDER     everything that needs no more than a folder of videos

Each runs in a process of its own and writes its tables below --out; index.md there puts them together, with the
machine. Peers come with the extra `bench`; those that are missing are left out and named.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.made_codes import RESULTS, machine, table


@dataclass(frozen=True)
class Benchmark:
    """One module of this folder."""

    peers: tuple[str, ...] = ()
    """Modules of other programs it runs beside ours."""
    videos: str = ""
    """How it takes videos: `folder`, `files`, `--videos` or nothing."""
    out: str = ""
    """How it takes the folder of results: `--out`, `--out file`, or nothing."""
    by_all: bool = True
    """Part of `all`; the others need preparation or hours."""
    about: str = ""
    """The first line of its docstring."""


SPECIAL = {
    "end_to_end": Benchmark(("vpdq", "tmkpy", "videohash"), videos="files", out="--out"),
    "accuracy": Benchmark(videos="files", out="--out file", by_all=False),
    "decode": Benchmark(videos="folder", out="--out"),
    "keyframes": Benchmark(("scenedetect",), videos="folder", out="--out"),
    "signatures": Benchmark(("pdqhash", "imagehash"), videos="folder", out="--out"),
    "join": Benchmark(("faiss", "threatexchange", "usearch"), out="--out"),
    "store": Benchmark(out="--out"),
    "scale": Benchmark(out="--out"),
    "local_candidates": Benchmark(videos="folder", out="--out"),
    "isolation": Benchmark(),
    "night": Benchmark(videos="--videos", out="--out"),
    "decode_workers": Benchmark(out="--out", by_all=False),
    "extremes": Benchmark(out="--out"),
    "peers": Benchmark(("vpdq", "tmkpy", "videohash"), out="--out", by_all=False),
    "rehearsed": Benchmark(out="--out file"),
    "flashes": Benchmark(out="--out file", by_all=False),
    "part_details": Benchmark(out="--out file", by_all=False),
    "around": Benchmark(out="--out file", by_all=False),
    "lists": Benchmark(("threatexchange",), by_all=False),
}
"""How benchmarks are called; one that is not named here is run without arguments, and not by `all`."""


def benchmarks() -> dict[str, Benchmark]:
    """Return every benchmark of this folder: the modules with a `main`, those that `all` runs first."""
    found = {}
    for path in Path(__file__).parent.glob("[!_]*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in module.body):
            about = (ast.get_docstring(module) or "").split("\n")[0]
            one = SPECIAL.get(path.stem, Benchmark(by_all=False))
            found[path.stem] = replace(one, about=about.split(": `")[0])
    order = list(SPECIAL)
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 99, item[0])))


BENCHMARKS = benchmarks()


def arguments(name: str, videos: Path | None, out: Path) -> list[str] | None:
    """Return the arguments of a benchmark; None where it needs videos and there are none."""
    one = BENCHMARKS[name]
    words: list[str] = []
    if videos is not None and one.videos:
        files = sorted(str(path) for path in videos.iterdir() if path.is_file() and path.suffix != ".csv")
        words = {"folder": [str(videos)], "files": files, "--videos": ["--videos", str(videos)]}[one.videos]
    elif name == "signatures":
        return None
    if one.out == "--out":
        words += ["--out", str(out)]
    elif one.out == "--out file":
        words += ["--out", str(out / name)]
    return words


def listing() -> str:
    """Return what there is."""
    rows = []
    for name, one in BENCHMARKS.items():
        peers = [f"{p}{'' if importlib.util.find_spec(p) else ' (not installed)'}" for p in one.peers]
        rows.append([name, one.about, ", ".join(peers), one.videos and "takes videos", "yes" if one.by_all else ""])
    return table(["name", "what", "peers", "", "in `all`"], rows)


def run(name: str, words: list[str], out: Path) -> dict[str, object]:
    """Run one benchmark, what it prints going to `out`/NAME.log, and return how it ended."""
    started = time.monotonic()
    log = out / f"{name}.log"
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *words], stdout=file, stderr=subprocess.STDOUT, check=False
        )
    return {"exit_code": done.returncode, "seconds": round(time.monotonic() - started, 1), "log": log.name}


def main() -> int:
    """List or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, "all", []], metavar="NAME")
    parser.add_argument("--videos", type=Path, help="a folder of videos of your own")
    parser.add_argument("--out", type=Path, default=RESULTS)
    own, extra = split(sys.argv[1:])
    options = parser.parse_args(own)
    if not options.names:
        print(listing())
        return 0
    names = [name for name, one in BENCHMARKS.items() if one.by_all] if "all" in options.names else options.names
    options.out.mkdir(parents=True, exist_ok=True)
    ended: dict[str, dict[str, object]] = {}
    for number, name in enumerate(names, start=1):
        words = arguments(name, options.videos, options.out)
        print(f"[{number}/{len(names)}] {name}", file=sys.stderr, flush=True)
        ended[name] = {"skipped": "needs --videos"} if words is None else run(name, [*words, *extra], options.out)
    (options.out / "index.json").write_text(json.dumps({"machine": machine(), "ended": ended}, indent=1) + "\n")
    text = index(ended, options.out)
    (options.out / "index.md").write_text(text)
    print(text)
    return int(any(one.get("exit_code") for one in ended.values()))


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return our own arguments, and those after `--`, which go to every benchmark named."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def index(ended: dict[str, dict[str, object]], out: Path) -> str:
    """Return one page: the machine, how each benchmark ended, and its tables."""
    facts = ", ".join(f"{key} {value}" for key, value in machine().items())
    parts = [f"# Benchmarks\n\n{facts}\n"]
    for name, one in ended.items():
        parts.append(f"\n## {name}: {BENCHMARKS[name].about}\n")
        if "skipped" in one:
            parts.append(f"skipped: {one['skipped']}")
            continue
        if one["exit_code"]:
            parts.append(f"ended with {one['exit_code']}; see {one['log']}")
        page = out / f"{name}.md"
        parts.append((page if page.exists() else out / str(one["log"])).read_text(encoding="utf-8"))
        if (out / f"{name}.png").exists():
            parts.append(f"![{name}]({name}.png)")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
