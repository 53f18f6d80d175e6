"""A whole intake, end to end: our scan beside vPDQ's method on the same files, by what the files are.

    python -m benchmarks.end_to_end [VIDEOS…] [--rounds 1] [--contents 3] [--peer NAME] [--out benchmarks/results]

Half of VIDEOS are known, half are new (without VIDEOS footage is drawn). Four intakes are made of them: *new* videos as
they are; known ones as *bytes* (the same bytes under other names), as *stream copies* (into another container, no
picture touched) and *re-encoded*. All sides scan each intake turn by turn: ours with the command line as a night does
(one process, isolation, journal, tables and report included), the other programs (`benchmarks.peers`) with what they
keep of the known videos read from one file. Figures are
CPU seconds of all processes, less those of a scan of one second of video (the program's start), an hour of video: give
it minutes of video, for the start varies by a second. What a night costs when a share of it is known follows from
these by the mix, which is printed with it.

Accuracy is that of `benchmarks.accuracy` on the same videos: copies under every edit, other takes, splices, new videos;
and what the other programs find of those copies. Those that cannot be run here are listed with the reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks import accuracy, peers
from benchmarks.accuracy_footage import make
from benchmarks.made_codes import COMMAND, RESULTS, table, write_result
from benchmarks.peers import OURS
from videonovelty import footage
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video

KINDS = ("new", "bytes", "stream copies", "re-encoded")
MIXES: dict[str, dict[str, float]] = {
    "nothing known": {"new": 1.0},
    "80 % known: re-encoded only": {"new": 0.2, "re-encoded": 0.8},
    "80 % known: 40 bytes, 20 stream copies, 20 re-encoded": {
        "new": 0.2,
        "bytes": 0.4,
        "stream copies": 0.2,
        "re-encoded": 0.2,
    },
    "80 % known: bytes only": {"new": 0.2, "bytes": 0.8},
}
"""Shares of the intake's hours."""
MANY = 4
"""Known videos come this many times in an intake of bytes, so that there is something to measure."""


def draw_corpus(folder: Path) -> list[Path]:
    """Write clips to stand for videos."""
    made = []
    for seed in range(6):
        made.append(folder / f"drawn{seed}.mp4")
        frames = footage.clip(7000 + seed, 15.0, width=640, height=360, fps=25.0)
        write_video(made[-1], frames, fps=25.0, crf=22, gop=50)
    return made


def make_intakes(folder: Path, known: Sequence[Path], new: Sequence[Path]) -> tuple[dict[str, float], list[str]]:
    """Write one folder a kind; return the hours of video in each, and the names of which no stream copy can be made."""
    hours, left_out = {}, []
    for kind in KINDS:
        intake = folder / kind
        intake.mkdir()
        for number, path in enumerate(new if kind == "new" else known):
            name = f"{number:03d}"
            if kind == "new":
                shutil.copyfile(path, intake / f"{name}{path.suffix}")
            elif kind == "bytes":
                for copy in range(MANY):
                    shutil.copyfile(path, intake / f"{name} {copy}{path.suffix}")
            elif kind == "stream copies":
                if not stream_copy(path, intake / f"{name}.mkv"):
                    left_out.append(path.name)
            else:
                reencode(path, intake / f"{name}.mp4")
        hours[kind] = sum(seconds_of(path) for path in intake.iterdir()) / 3600
    return hours, left_out


def stream_copy(path: Path, out: Path) -> bool:
    """Write the coded pictures of `path` into a file beside `out`, Matroska or what else takes the codec, if any."""
    for suffix in (".mkv", ".mov", ".avi"):
        target = out.with_suffix(suffix)
        try:
            _remux(path, target)
        except (ValueError, av.FFmpegError):
            target.unlink(missing_ok=True)
        else:
            return True
    return False


def _remux(path: Path, out: Path) -> None:
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)


def reencode(path: Path, out: Path) -> None:
    """Write an ordinary re-encode of the same size and rate."""
    with av.open(str(path)) as source:
        rate = float(source.streams.video[0].average_rate or 25)
    frames = (np.ascontiguousarray(p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2]) for _, p in read_rgb(path))
    write_video(out, frames, fps=min(rate, 60.0), crf=30, gop=250)


def seconds_of(path: Path) -> float:
    """Return the length of a video."""
    with av.open(str(path)) as source:
        return float(source.duration or 0) / 1e6


def cpu_of(command: Sequence[str | Path], codes: Sequence[int] = (0,)) -> float:
    """Return the CPU seconds a command and all it started took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in codes:
        raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(folder: Path, kind: str, run: str) -> float:
    """Return the CPU seconds of one scan by the command line."""
    where = folder / run
    shutil.rmtree(where, ignore_errors=True)
    return cpu_of(
        [*COMMAND, "scan", folder / kind, "--store", folder / "store", "--run", where, "--workers", "0"], (0, 3)
    )


def theirs(folder: Path, kind: str, name: str) -> float:
    """Return the CPU seconds of another program on one intake."""
    words: list[str | Path] = ["--scan", name, "--known", folder / f"{name}.known"]
    return cpu_of([sys.executable, "-m", "benchmarks.peers", folder / kind, *words])


def measure_cost(
    folder: Path, known: Sequence[Path], new: Sequence[Path], others: Sequence[str], rounds: int
) -> dict[str, Any]:
    """Return CPU seconds an hour by kind and side, `others` beside ours, and verdicts by kind."""
    hours, left_out = make_intakes(folder, known, new)
    (folder / "known").mkdir()
    for path in known:
        shutil.copyfile(path, folder / "known" / path.name)
    (folder / "nearly nothing").mkdir()
    second = footage.clip(1, 1.0)
    write_video(folder / "nearly nothing" / "second.mp4", second, fps=25.0)
    add = ("known", "add", folder / "known", "--store", folder / "store", "--list", "k", "--workers", "0")
    cpu_of([*COMMAND, *add], (0, 3))
    (folder / "kept").mkdir()
    for name in others:
        peers.keep_known(name, known, folder / f"{name}.known", folder / "kept")
    sides: dict[str, Callable[[str], float]] = {OURS: lambda kind: ours(folder, kind, f"run {kind}")}
    sides |= {name: lambda kind, name=name: theirs(folder, kind, name) for name in others}  # type: ignore[misc]
    for kind in ("nearly nothing", "re-encoded"):
        ours(folder, kind, "first run")  # compiles what is kept from then on
    start = {side: cost("nearly nothing") for side, cost in sides.items()}
    spent: dict[str, dict[str, list[float]]] = {kind: {side: [] for side in sides} for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            for side, cost in sides.items():
                spent[kind][side].append(max(0.0, cost(kind) - start[side]))
    verdicts = {}
    for kind in KINDS:
        rows = json.loads((folder / f"run {kind}" / "run.json").read_text())["counts"]["verdicts"]
        verdicts[kind] = {name: n for name, n in rows.items() if n}
    per_hour = {
        kind: {side: statistics.median(values) / hours[kind] for side, values in sides.items()}
        for kind, sides in spent.items()
    }
    return {
        "hours": hours,
        "no_stream_copy_of": left_out,
        "start_cpu_seconds": start,
        "cpu_seconds_per_hour": per_hour,
        "verdicts": verdicts,
    }


def times(cost: Mapping[str, float]) -> dict[str, float]:
    """Return how many times cheaper ours is than each; not a number where ours is below what the start varies by."""
    mine = cost[OURS]
    return {side: one / mine if mine > 0 else math.nan for side, one in cost.items() if side != OURS}


def mixed(per_hour: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return CPU seconds an intake hour of each mix, by side."""
    sides = per_hour[KINDS[0]]
    return {
        name: {side: sum(share * per_hour[kind][side] for kind, share in mix.items()) for side in sides}
        for name, mix in MIXES.items()
    }


def measure_accuracy(
    folder: Path, videos: Sequence[Path], contents: int, others: Sequence[str], workers: int
) -> dict[str, Any]:
    """Return what copies of every edit, other takes, splices and new videos came to, and what others find of them."""
    truth = make(folder, videos, contents=contents, workers=workers)
    (folder / "truth.json").write_text(json.dumps(truth))
    accuracy.screen(folder)
    figures = accuracy.measure(folder, truth, {})
    found = peers.compare(folder, others, workers=workers)
    return {"peers": found} | {name: value for name, value in figures.items() if name != "table"}


def beside(cost: Mapping[str, float]) -> list[str]:
    """Return our cost, and that of each other with how many times ours it is."""
    ratio = times(cost)
    return [f"{one:.4g}" if side == OURS else f"{one:.4g} ({ratio[side]:.3g} times)" for side, one in cost.items()]


def as_text(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    cost = result["cost"]
    sides = list(cost["start_cpu_seconds"])
    parts = [
        "CPU seconds an hour of video (less the start of the program: "
        + ", ".join(f"{side} {seconds:.1f} s" for side, seconds in cost["start_cpu_seconds"].items())
        + ")",
        "",
        table(
            ["intake", "minutes", *sides, "our verdicts"],
            [
                [kind, cost["hours"][kind] * 60, *beside(one),
                 ", ".join(f"{n} {name}" for name, n in cost["verdicts"][kind].items())]
                for kind, one in cost["cpu_seconds_per_hour"].items()
            ],
        ),
        "",
        table(["mix", *sides], [[name, *beside(one)] for name, one in result["mixes"].items()]),
    ]  # fmt: skip
    if "accuracy" in result:
        own = {name: one for name, one in result["accuracy"].items() if name not in ("failures", "peers")}
        parts += ["", *(f"- {name}: {value}" for name, value in own.items())]
        parts += ["", peers.as_text(result["accuracy"]["peers"])]
    else:
        parts += ["", *(f"- not run: {name}: {why}" for name, why in result["skipped"].items())]
    if cost["no_stream_copy_of"]:
        parts += ["", f"No container takes a stream copy of {', '.join(cost['no_stream_copy_of'])}."]
    return "\n".join(parts)


def plot(result: dict[str, Any], path: Path) -> bool:
    """Draw the cost by kind; return False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    per_hour = result["cost"]["cpu_seconds_per_hour"]
    sides = list(next(iter(per_hour.values())))
    at, wide = np.arange(len(per_hour)), 0.8 / len(sides)
    for number, side in enumerate(sides):
        where = at + (number - (len(sides) - 1) / 2) * wide
        bars = axes.bar(where, [one[side] for one in per_hour.values()], 0.95 * wide, label=side)
        axes.bar_label(bars, fmt="%.0f", fontsize=6)
    axes.set_xticks(at, list(per_hour))
    axes.set_ylabel("CPU seconds an hour of video")
    axes.legend()
    figure.savefig(path, dpi=110)
    return True


def main() -> None:
    """Make, scan on both sides, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--contents", type=int, default=3, help="clips copied under every edit; 0 leaves accuracy out")
    parser.add_argument("--workers", type=int, default=2, help="processes that make footage for accuracy")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--peer", action="append", choices=list(peers.PEERS), help="one other program; may be given again; else all"
    )
    options = parser.parse_args()
    absent = peers.missing()
    others = [name for name in options.peer or peers.PEERS if name not in absent]
    os.environ["VIDEONOVELTY_INTAKE__SETTLE_SECONDS"] = "0"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = options.videos
        if not videos:
            (folder / "drawn").mkdir()
            videos = draw_corpus(folder / "drawn")
        (folder / "cost").mkdir()
        cost = measure_cost(folder / "cost", videos[::2], videos[1::2], others, options.rounds)
        result = {"cost": cost, "mixes": mixed(cost["cpu_seconds_per_hour"]), "skipped": absent}
        if options.contents:
            (folder / "accuracy").mkdir()
            result["accuracy"] = measure_accuracy(
                folder / "accuracy", options.videos, options.contents, others, options.workers
            )
    write_result(options.out, "end_to_end", result, as_text(result))
    plot(result, options.out / "end_to_end.png")


if __name__ == "__main__":
    main()
