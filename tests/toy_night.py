"""A night in miniature over the real run folder and journal, and ways to break it at any write it makes.

As a program: `toy_night.py FOLDER kill|full STEP` breaks the night at every STEP-th of its writes, syncs and renames,
resumes it each time, and exits 1 at the first one whose tables differ from an undisturbed night's. Prints how many
writes, syncs and renames a night makes.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from make_run import RunTables

from videonovelty.errors import EnvironmentUnfitError
from videonovelty.records import Coverage, MotionProfile, Probe, Signatures, SignedVideo, no_local_features
from videonovelty.run import RunFolder, State, Step
from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS
from videonovelty.settings import Settings

N_VIDEOS = 3
NIGHT_SETTINGS = Settings(sandbox={"max_attempts": 1000}, run={"min_free_bytes": 0})


def content_id(i: int) -> str:
    return hashlib.sha256(b"%d" % i).hexdigest()


def signed_video(i: int = 0, *, keyframes: int = 6, cpu_seconds: float = 1.25) -> SignedVideo:
    """Signatures no two of which are alike, the same for the same `i`."""
    draw = np.random.default_rng(i)
    n = keyframes
    times = np.arange(n, dtype=np.float64)
    pdq = draw.integers(0, 256, (n, 8, 32), np.uint8)
    signatures = Signatures(
        video_id=content_id(i),
        scheme="toy-1",
        pts_seconds=times,
        start_seconds=times,
        end_seconds=times + 1,
        pdq=pdq,
        pdq_inner=pdq,
        has_inner=np.zeros(n, np.bool_),
        quality=np.full(n, 90, np.uint8),
        informative=np.ones(n, np.bool_),
        motion=MotionProfile(
            step_seconds=0.1,
            signs=draw.integers(-1, 2, (n * 10, 16), np.int8),
            fine=draw.integers(-4, 5, (n * 10, 64), np.int8),
        ),
        local=no_local_features(n),
    )
    coverage = Coverage(
        declared_seconds=float(n),
        duration_seconds=float(n),
        decoded_seconds=float(n),
        frames=n * 25,
        packet_errors=0,
        corrupt_frames=0,
        undecoded=np.zeros((0, 2)),
        longest_unseen_seconds=0.04,
    )
    probe = Probe("mov", "h264", 320, 240, 25.0, float(n), 0, "yuv420p", 1)
    return SignedVideo(probe, coverage, signatures, cpu_seconds)


def tables(run: RunFolder, n_videos: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """What a night finds: derived from the parts alone, so that a lost or mixed-up part shows."""
    rows = RunTables()
    for i in range(n_videos):
        part = run.read_part(content_id(i))
        part_name = hashlib.sha256(part.signatures.pdq.tobytes()).hexdigest()[:8]
        seconds = part.coverage.duration_seconds
        rows.add(part_name, "novel", "nothing_explained", [(0, seconds, "novel")], video_id=content_id(i))
    return (
        pa.Table.from_pylist(rows.verdicts, schema=VERDICTS),
        pa.Table.from_pylist(rows.segments, schema=SEGMENTS),
        pa.Table.from_pylist([], schema=GROUPS),
    )


def night(path: Path, n_videos: int = N_VIDEOS) -> int:
    """Do or resume the night and return how many videos were signed in this call."""
    settings = NIGHT_SETTINGS
    signed = 0
    with RunFolder.open(path, store_id="store", settings=settings) as run:
        for i in range(n_videos):
            video_id = content_id(i)
            step = run.states.next_step(
                video_id, fingerprint=settings.signing_fingerprint(), max_attempts=settings.sandbox.max_attempts
            )
            if step is not Step.SIGN:
                continue
            run.journal.append(State.STARTED, key=video_id)
            run.journal.append(State.SIGNED, key=video_id, part_sha256=run.write_part(signed_video(i)))
            signed += 1
        run.write_tables(*tables(run, n_videos))
        run.write_run_json({"status": "finished"})
        assert run.verify() == []
    return signed


def outcome(path: Path) -> dict[str, bytes]:
    """Everything a night promises to be the same however often it was broken off."""
    names = [f"{t}.{e}" for t in ("verdicts", "segments", "groups") for e in ("parquet", "csv")] + ["verdicts.json"]
    found = {name: (path / name).read_bytes() for name in names}
    return found | {p.name: p.read_bytes() for p in sorted((path / "parts").iterdir())}


def break_at(n: int, act: Callable[[], None]) -> None:
    """Call `act` before the n-th write, sync, cut, rename or removal of this process, and before each later one."""
    count = 0

    def counted(real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count >= n:
            act()
        return real(*args, **kwargs)

    for name in ("write", "fsync", "fdatasync", "ftruncate", "replace", "rename", "mkdir"):
        setattr(os, name, functools.partial(counted, getattr(os, name)))


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full() -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def in_child(action: Callable[[], int]) -> int:
    """Run `action` in a forked child and return its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = action()
        except EnvironmentUnfitError:
            code = 6
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main(folder: Path, kind: str, step: int) -> None:
    act, expected = {"kill": (kill_myself, -signal.SIGKILL), "full": (disk_full, 6)}[kind]
    quiet = folder / "undisturbed"
    assert in_child(lambda: night(quiet) - N_VIDEOS) == 0
    truth = outcome(quiet)
    n = 1
    while True:
        broken = folder / f"{n:04d}"

        def disturbed(n: int = n, broken: Path = broken) -> int:
            break_at(n, act)
            night(broken)
            return 0

        code = in_child(disturbed)
        if code not in (0, expected):
            sys.exit(f"broken at {n}: exit code {code}, expected {expected}")
        if in_child(lambda broken=broken: int(night(broken) > N_VIDEOS)) != 0:
            sys.exit(f"broken at {n}: cannot be resumed")
        if outcome(broken) != truth:
            sys.exit(f"broken at {n}: another outcome")
        if in_child(lambda broken=broken: night(broken)) != 0:
            sys.exit(f"broken at {n}: a finished night signs again")
        if leftovers := [p.name for p in broken.rglob("*.tmp")]:
            sys.exit(f"broken at {n}: left {leftovers}")
        if code == 0:
            break
        n += step
    print(n - 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
