"""A night that is all decoding, on one worker and on two, against the same decodes without the program around them.

    python -m benchmarks.decode_workers [--clips 24] [--seconds 20] [--rounds 3] [--folder DIR]

Ways take turns. *Bare* is one plain process, then two, each decoding and signing its share of the same files: how much
more this machine decodes with two processes at all. *Scan* is the command line on a folder without known footage; the
journal's times tell start-up (until every worker has signed its first video, for which it prepares its locked process),
signing (videos a second from there until the last one's end is noted) and the rest (judging, tables, report). On a
machine that does something else meanwhile, `chrt -r 5` in front keeps the others away, as root.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.made_codes import RESULTS, table, write_result
from videonovelty import footage
from videonovelty.decode.writer import write_video
from videonovelty.settings import load_settings
from videonovelty.signing import sign_video

WIDTH, HEIGHT, FPS = 480, 272, 25.0
ENDS = ("signed", "failed", "refused")


def write_clips(folder: Path, seeds: range, seconds: float) -> list[Path]:
    """Write a clip a seed, without anything in common."""
    paths = [folder / f"{seed}.mp4" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        write_video(path, footage.clip(seed, seconds, width=WIDTH, height=HEIGHT, fps=FPS), fps=FPS)
    return paths


def sign_here(paths: list[Path]) -> float:
    """Decode and sign every file in this process; return its CPU seconds."""
    settings, started = load_settings(), time.process_time()
    for path in paths:
        with path.open("rb") as file:
            sign_video(file.fileno(), video_id="0" * 64, name=path.name, settings=settings, heartbeat=lambda _: None)
    return time.process_time() - started


def bare(pool: ProcessPoolExecutor, paths: list[Path], processes: int) -> dict[str, float]:
    """Sign every file on so many processes that are running already."""
    started = time.perf_counter()
    cpu = sum(pool.map(sign_here, [paths[i::processes] for i in range(processes)]))
    return {"workers": processes, "a_second": len(paths) / (time.perf_counter() - started), "decoding_cpu": cpu}


def scan(folder: Path, intake: Path, store: Path, workers: int) -> dict[str, float]:
    """Scan the folder on so many workers; return seconds by stage, and CPU seconds."""
    run = folder / f"run-{time.monotonic_ns()}"
    command = [sys.executable, "-c", "from videonovelty.cli import main; main()", "scan", str(intake)]
    command += ["--store", str(store), "--run", str(run), "--workers", str(workers)]
    environment = {**os.environ, "VIDEONOVELTY_INTAKE__SETTLE_SECONDS": "0"}
    before, began = os.times(), time.time()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    ended, after = time.time(), os.times()
    with (run / "journal.jsonl").open("rb") as file:
        entries = [json.loads(line) for line in file]
    at = [datetime.fromisoformat(entry["at"]).timestamp() for entry in entries]
    ends = sorted(t for t, entry in zip(at, entries, strict=True) if entry["state"] in ENDS)
    signed = [entry for entry in entries if entry["state"] == "signed"]
    return {
        "workers": workers,
        "signed": len(signed),
        "start_up": ends[workers - 1] - began,
        "a_second": (len(ends) - workers) / (ends[-1] - ends[workers - 1]),
        "rest": ended - ends[-1],
        "decoding_cpu": sum(entry["cpu_seconds"] for entry in signed),
        "all_cpu": after.children_user + after.children_system - before.children_user - before.children_system,
    }


def measured(folder: Path, n_clips: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Run all four ways in turn, `rounds` times."""
    (folder / "intake").mkdir()
    paths = write_clips(folder / "intake", range(9000, 9000 + n_clips), seconds)
    store = folder / "store"
    (folder / "known").mkdir()
    known = write_clips(folder / "known", range(8999, 9000), seconds)
    enrol = [sys.executable, "-c", "from videonovelty.cli import main; main()", "known", "add", str(known[0])]
    subprocess.run([*enrol, "--store", str(store), "--list", "one"], check=True, stdout=subprocess.DEVNULL)
    rows: dict[str, list[dict[str, float]]] = {"bare": [], "scan": []}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(sign_here, [paths[:1]] * 2))
        for turn in range(rounds):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                rows["bare"].append(bare(pool, paths, workers))
                rows["scan"].append(scan(folder, folder / "intake", store, workers))
                print(rows["bare"][-1], rows["scan"][-1], sep="\n", flush=True)
    return {"clips": n_clips, "seconds": seconds, **rows, "ratios": {way: ratios(rows[way]) for way in rows}}


def ratios(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median over the rounds of what two workers come to over one: videos a second, times, CPU seconds."""
    found: dict[str, list[float]] = {}
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        single, double = (one, other) if one["workers"] == 1 else (other, one)
        for name in ("a_second", "start_up", "rest", "decoding_cpu"):
            if name in single:
                found.setdefault(name, []).append(double[name] / single[name])
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        result = measured(Path(folder), wanted.clips, wanted.seconds, wanted.rounds)
    head = ["way", "workers", "start-up s", "videos a second", "rest s", "CPU s decoding", "CPU s in all"]
    names = ("workers", "start_up", "a_second", "rest", "decoding_cpu", "all_cpu")
    rows = [[way, *(row.get(name, "") for name in names)] for way in ("bare", "scan") for row in result[way]]
    said = ", ".join(
        f"{way}: {name} {value:.2f}" for way, found in result["ratios"].items() for name, value in found.items()
    )
    text = "\n\n".join(
        [
            "# One worker and two",
            f"{wanted.clips} clips of {wanted.seconds:g} s, {WIDTH} × {HEIGHT}.",
            table(head, rows),
            f"Two over one, medians: {said}.",
        ]
    )
    write_result(wanted.out, "decode_workers", result, text)


if __name__ == "__main__":
    main()
