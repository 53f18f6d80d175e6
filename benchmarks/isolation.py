"""What the locked process costs per video, against signing in this process: `python benchmarks/isolation.py [VIDEO…]`.

Both ways do the same work on the same open file, turn by turn. Elapsed time says what a night costs on an idle machine;
processor time (parent, zygote and child together) says the same on a busy one. Without arguments clips are measured on
which the cost shows most, and one of a minute; at the end stands the median over all clips. Noise is the spread of the
runs in this process: half of them lie that close to their median.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

from videonovelty import footage
from videonovelty.decode.writer import write_video
from videonovelty.sandbox import Sandbox, decode_signed, encode_signed
from videonovelty.settings import Settings, load_settings
from videonovelty.signing import sign_video

VIDEO = "ab" * 32
_THREADS = "OPENBLAS_NUM_THREADS"
Times = list[tuple[float, float]]
"""Elapsed and processor milliseconds of each round."""


def measure(fd: int, sandbox: Sandbox, settings: Settings, rounds: int) -> tuple[Times, Times]:
    """Return what each round took: in this process, in a locked one."""
    zygote = sandbox._running().process.pid

    def here() -> float:
        sign_video(fd, video_id=VIDEO, name="clip", settings=settings, heartbeat=lambda _seconds: None)
        return 0.0

    def locked() -> float:
        before = time.clock_gettime(~zygote << 3 | 2)
        signed = sandbox.sign(fd, video_id=VIDEO, name="clip")
        return signed.cpu_seconds + time.clock_gettime(~zygote << 3 | 2) - before

    times: dict[Callable[[], float], Times] = {here: [], locked: []}
    for number in range(rounds + 1):
        for way, taken in times.items():
            os.lseek(fd, 0, os.SEEK_SET)
            started, worked = time.perf_counter(), time.process_time()
            elsewhere = way()
            elapsed, processor = time.perf_counter() - started, time.process_time() - worked + elsewhere
            if number:  # the first round warms up
                taken.append((elapsed * 1e3, processor * 1e3))
    return times[here], times[locked]


def clips(folder: Path) -> Iterator[Path]:
    """Write the clips that are measured when none is named."""
    with files("videonovelty.sandbox").joinpath("trusted_clip.mp4").open("rb") as source:
        with (folder / "2.4s-192x144.mp4").open("wb") as target:
            shutil.copyfileobj(source, target)
        yield folder / "2.4s-192x144.mp4"
    for seconds, width, height in ((2, 320, 180), (60, 320, 180)):
        path = folder / f"{seconds}s-{width}x{height}.mp4"
        write_video(path, footage.clip(3, seconds, width=width, height=height, fps=25), fps=25)
        yield path


def main() -> None:
    """Measure and print."""
    if os.environ.get(_THREADS) != "1":
        # the child computes with one thread; numpy's others would also burn time here while they wait for work
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.isolation", *sys.argv[1:]], {**os.environ, _THREADS: "1"}
        )
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=0, help="0 chooses: about ten seconds a clip")
    wanted = parser.parse_args()
    settings = load_settings()
    with tempfile.TemporaryDirectory() as folder, Sandbox(settings) as sandbox:
        report = sandbox.report
        costs: dict[str, list[float]] = {"elapsed": [], "processor": []}
        print(f"sandboxed {sandbox.sandboxed}, ready in {report.start_seconds:.2f} s, load {os.getloadavg()[0]:.1f}")
        for path in wanted.videos or clips(Path(folder)):
            with path.open("rb") as file:
                signed = sandbox.sign(file.fileno(), video_id=VIDEO, name=path.name)
                rounds = wanted.rounds or max(3, min(200, round(5 / max(signed.cpu_seconds, 0.001))))
                here, locked = measure(file.fileno(), sandbox, settings, rounds)
            payload = encode_signed(signed)
            started = time.perf_counter()
            decode_signed(payload, video_id=VIDEO)
            checked = (time.perf_counter() - started) * 1e3
            print(f"{path.name}: answer {len(payload) / 1e6:.2f} MB, checked in {checked:.1f} ms, n={rounds}")
            for label, column in (("elapsed", 0), ("processor", 1)):
                one, other = [t[column] for t in here], [t[column] for t in locked]
                cost = statistics.median(b - a for a, b in zip(one, other, strict=True))
                base = statistics.median(one)
                noise = statistics.median(abs(value - base) for value in one)
                costs[label].append(cost)
                print(
                    f"  {label:9}  here median {base:8.1f} min {min(one):8.1f}   locked median "
                    f"{statistics.median(other):8.1f} min {min(other):8.1f} ms   cost median {cost:+6.1f} "
                    f"({cost / base:+.1%}, noise {noise / base:.1%}) min {min(other) - min(one):+6.1f} ms"
                )
        for label, each in costs.items():
            print(f"cost of a video, median over {len(each)} clips: {label} {statistics.median(each):+.1f} ms")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process {peak:.0f} MiB")


if __name__ == "__main__":
    main()
