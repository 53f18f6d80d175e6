"""A whole night of small videos, run for real: does it stay as fast and as small from the first to the last thousand?

    python -m benchmarks.many_clips CLIPS --files 10000
    python -m benchmarks.full_night CLIPS [--workers 2] [--out FOLDER]

Enrols CLIPS/known, scans CLIPS/intake through the command line, then scans it again. The journal's times give the
rate of each thousand files, samples of the main process its memory. Writes full_night.md, full_night.json and, where
matplotlib is installed, full_night.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from benchmarks.many_clips import plan

TABLES = ("verdicts.parquet", "verdicts.csv", "verdicts.json", "segments.parquet", "segments.csv", "groups.parquet")
SAMPLE_SECONDS = 2.0


def videonovelty(*arguments: str | Path, watch: list[tuple[float, float]] | None = None) -> tuple[float, float, int]:
    """Run a command; return seconds, processor seconds of all its processes, exit code; `watch` gets (s, MiB) pairs."""
    environment = {**os.environ, "VIDEONOVELTY_INTAKE__SETTLE_SECONDS": "0"}
    command = [sys.executable, "-c", "from videonovelty.cli import main; main()", *map(str, arguments)]
    before, started = os.times(), time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output)
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            if watch is not None:
                try:
                    watch.append((time.monotonic() - started, seen.memory_info().rss / 2**20))
                except psutil.NoSuchProcess:
                    break
            time.sleep(SAMPLE_SECONDS if watch is not None else 0.05)
        code = process.wait()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - started, used, code


def per_thousand(run: Path) -> list[dict[str, float]]:
    """Return, for each thousand contents signed, when the last of them was and how many a second there were."""
    ends = (b'"state":"signed"', b'"state":"failed"', b'"state":"refused"')
    with (run / "journal.jsonl").open("rb") as file:
        stamps = [json.loads(line)["at"] for line in file if any(end in line for end in ends)]
    times = [datetime.fromisoformat(stamp).timestamp() for stamp in stamps]
    found = []
    for first in range(0, len(times) - 1, 1000):
        last = min(first + 1000, len(times) - 1)
        seconds = times[last] - times[first]
        found.append({"contents": last, "until": times[last] - times[0], "a_second": (last - first) / seconds})
    return found


def digests(run: Path) -> dict[str, str]:
    """Return what tells whether tables are the same bytes."""
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in TABLES}


def accounted(run: Path, clips: Path, files: int) -> dict[str, Any]:
    """Return how many files are rows, and verdicts by what the files were made as."""
    kinds = {str(clips.absolute() / "intake" / one.name): one.kind for one in plan(files)}
    table = pq.read_table(run / "verdicts.parquet", columns=["path", "verdict", "group_id", "group_leader"]).to_pylist()
    verdicts = Counter((kinds[row["path"]], row["verdict"]) for row in table)
    behind = Counter(kinds[row["path"]] for row in table if row["group_id"] and not row["group_leader"])
    return {
        "rows": len(table),
        "paths": len({row["path"] for row in table}),
        "by_kind": {f"{kind}: {verdict}": number for (kind, verdict), number in sorted(verdicts.items())},
        "behind_a_leader": dict(behind),
    }


def as_text(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    memory = found["memory"]
    lines = [
        f"# A night of {found['files']:,} small videos on {found['workers']} workers",
        "",
        f"- first run: {found['first']['seconds']:.0f} s, {found['first']['cpu']:.0f} processor seconds, exit code "
        f"{found['first']['code']}",
        f"- the same again: {found['again']['seconds']:.1f} s, {found['again']['cpu']:.1f} processor seconds: "
        f"{found['again']['cpu'] / found['first']['cpu']:.2%} of the processor time, "
        f"{found['again']['seconds'] / found['first']['seconds']:.2%} of the time; same bytes: {found['same_bytes']}",
        f"- main process: {memory[len(memory) // 10][1]:.0f} MiB after a tenth, {max(m for _, m in memory):.0f} MiB at "
        "most",
        f"- rows {found['accounted']['rows']:,}, different paths {found['accounted']['paths']:,}; behind a leader: "
        f"{found['accounted']['behind_a_leader']}",
        "",
        "| contents signed | a second |",
        "|---|---|",
        *(f"| {one['contents']:,.0f} | {one['a_second']:.1f} |" for one in found["per_thousand"]),
        "",
        "| made as: verdict | files |",
        "|---|---|",
        *(f"| {name} | {number:,} |" for name, number in found["accounted"]["by_kind"].items()),
        "",
    ]
    return "\n".join(lines)


def plot(found: dict[str, Any], path: Path) -> None:
    """Draw rate and memory over the night, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        print("No plot: matplotlib is not installed.")
        return
    figure = Figure(figsize=(8, 6), layout="constrained")
    rate, memory = figure.subplots(2, 1, sharex=False)
    rate.plot([one["contents"] for one in found["per_thousand"]], [one["a_second"] for one in found["per_thousand"]])
    rate.set_ylim(bottom=0)
    rate.set_xlabel("contents signed")
    rate.set_ylabel("contents a second")
    memory.plot([s for s, _ in found["memory"]], [m for _, m in found["memory"]])
    memory.set_ylim(bottom=0)
    memory.set_xlabel("seconds")
    memory.set_ylabel("main process, MiB")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the night and write what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("full_night"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    store, run = options.out / "store", options.out / "run"
    workers = ["--workers", str(options.workers)]
    files = sum(1 for path in (options.clips / "intake").rglob("*") if path.is_file())
    videonovelty("known", "add", options.clips / "known", "--store", store, "--list", "originals", *workers)
    scan = ("scan", options.clips / "intake", "--store", store, "--run", run, *workers)
    memory: list[tuple[float, float]] = []
    first = videonovelty(*scan, watch=memory)
    before = digests(run)
    rates = per_thousand(run)
    again = videonovelty(*scan)
    found = {
        "files": files,
        "workers": options.workers,
        "first": dict(zip(("seconds", "cpu", "code"), first, strict=True)),
        "again": dict(zip(("seconds", "cpu", "code"), again, strict=True)),
        "same_bytes": digests(run) == before,
        "per_thousand": rates,
        "memory": memory,
        "accounted": accounted(run, options.clips, files),
    }
    (options.out / "full_night.json").write_text(json.dumps(found, indent=2) + "\n")
    text = as_text(found)
    (options.out / "full_night.md").write_text(text)
    print(text)
    plot(found, options.out / "full_night.png")


if __name__ == "__main__":
    main()
