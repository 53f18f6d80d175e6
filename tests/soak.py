"""Kills a real scan with SIGKILL at seeded moments, resumes it, and compares its tables with an undisturbed scan's.

    python tests/soak.py [--kills 200] [--seed 1]           (make soak)

Each scan is the real command in a process of its own, forked from here so that starting it costs nothing. A night that
comes to its end between two kills is compared and another one is begun. Exits 1 at the first difference: a table that
is not the same bytes, a row lost or doubled, a process that outlives its killed parent, a changed intake file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import make_video
import psutil

TABLES = [f"{t}.{e}" for t in ("verdicts", "segments", "groups") for e in ("parquet", "csv")] + ["verdicts.json"]
DONE = 3
"""Exit code of a finished night: some of its files are flagged."""


@dataclass(frozen=True)
class Soaked:
    kills: int
    nights: int
    moments: int
    """How many different journal lengths the kills left behind."""


def make_night(folder: Path) -> None:
    """Write originals and an intake that has everything: copies, edits, new videos, duplicates, failures."""
    intake, known = folder / "intake", folder / "originals"
    intake.mkdir()
    known.mkdir()
    make_video.make_clip(known / "one.mp4", 31, 8.0)
    (intake / "same bytes").write_bytes((known / "one.mp4").read_bytes())
    make_video.make_clip(intake / "reencoded.mkv", 31, 8.0, crf=34)
    make_video.splice(intake / "spliced.mp4", 31, insert_at=4.0, insert_seed=90, insert_seconds=3.0, seconds=8.0)
    make_video.make_clip(intake / "new.mp4", 91, 6.0)
    make_video.make_clip(intake / "new again.avi", 91, 6.0, codec="mpeg4")
    (intake / "new copy.mp4").write_bytes((intake / "new.mp4").read_bytes())
    make_video.make_clip(intake / "another.mp4", 92, 4.0)
    make_video.damaged(intake / "broken.mp4", "truncated", source=known / "one.mp4")
    (intake / "note.txt").write_text("not a video")
    (intake / "empty").write_bytes(b"")


def command(*arguments: str | Path) -> int:
    """Fork a process that runs the command and return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        if "SOAK_SHOW" not in os.environ:
            os.dup2(null, 2)
        os.environ["VIDEONOVELTY_INTAKE__SETTLE_SECONDS"] = "0"
        os.environ["VIDEONOVELTY_SANDBOX__MAX_ATTEMPTS"] = "1000"  # it is not the videos that end these runs
        sys.argv = ["videonovelty", *map(str, arguments)]
        from videonovelty.cli.app import main

        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 70
    finally:
        os._exit(code)


def finished(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def ended_before(pid: int, moment: float) -> int | None:
    """Return the exit code of a process that ends before `moment`, else None."""
    while time.monotonic() < moment:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def kill(pid: int) -> None:
    """Kill the main process alone, and see that what it had started goes with it."""
    family = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    finished(pid)
    _, alive = psutil.wait_procs(family, timeout=30)
    if alive:
        sys.exit(f"outlived the killed main process: {alive}")


def tables(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in TABLES}


def soak(folder: Path, kills: int, seed: int, workers: int = 0) -> Soaked:
    """Do it, and return what was done."""
    make_night(folder)
    before = {
        p.name: (hashlib.sha256(p.read_bytes()).digest(), p.stat().st_mtime_ns) for p in (folder / "intake").iterdir()
    }
    store = folder / "store"
    if finished(command("known", "add", folder / "originals", "--store", store, "--list", "l", "--workers", "0")) != 0:
        sys.exit("cannot enrol")

    def scan(run: Path) -> int:
        return command("scan", folder / "intake", "--store", store, "--run", run, "--workers", str(workers))

    started = time.monotonic()
    if finished(scan(folder / "undisturbed")) != DONE:
        sys.exit("the undisturbed scan did not end as it should")
    seconds = time.monotonic() - started
    truth = tables(folder / "undisturbed")
    draw = random.Random(seed)
    done, nights, lengths = 0, 0, set()
    while done < kills:
        run = folder / f"night-{nights}"
        code = None
        while code is None and done < kills:
            pid = scan(run)
            code = ended_before(pid, time.monotonic() + draw.uniform(0, seconds))
            if code is None:
                kill(pid)
                done += 1
                with suppress(FileNotFoundError):
                    lengths.add((run / "journal.jsonl").stat().st_size)
        if code is None:
            code = finished(scan(run))
        if code != DONE:
            sys.exit(f"night {nights}: exit code {code} after {done} kills")
        if tables(run) != truth:
            sys.exit(f"night {nights}: other tables after {done} kills")
        if leftovers := [p.name for p in run.rglob("*.tmp")] + [p.name for p in run.glob("work*")]:
            sys.exit(f"night {nights}: left {leftovers}")
        nights += 1
        print(f"night {nights}: the tables of an undisturbed one, {done} kills so far", file=sys.stderr, flush=True)
    after = {
        p.name: (hashlib.sha256(p.read_bytes()).digest(), p.stat().st_mtime_ns) for p in (folder / "intake").iterdir()
    }
    if after != before:
        sys.exit("the intake was changed")
    return Soaked(done, nights, len(lengths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    # loaded once here, shared by every forked scan
    import videonovelty.report.html
    import videonovelty.screening  # noqa: F401
    from videonovelty.matching.hamming import warm_up

    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        print(soak(Path(folder), options.kills, options.seed, options.workers))


if __name__ == "__main__":
    main()
