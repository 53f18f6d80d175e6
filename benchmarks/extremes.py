"""Memory and time of videos at the ends: two hours of 1080p, one second, 4K, each through the scan of a night.

    python -m benchmarks.extremes [--hours 2] [--only long,second,large] [--out benchmarks/results]

The long video is one drawn clip of 20 s, its coded pictures repeated, so it costs no encoding; it repeats itself, which
real material does not, so matching has more to do than usual and keyframes are thinned as ever. Peak memory is that of
the largest process of the scan (the one that decodes, or the main one), time is CPU seconds of all of them. Ten
thousand tiny videos: `python -m benchmarks.many_clips FOLDER`, then `python -m benchmarks.full_night FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.made_codes import COMMAND, RESULTS, table, write_result
from videonovelty import footage
from videonovelty.decode.writer import write_video


def write_drawn(path: Path, seconds: float, width: int, height: int) -> None:
    """Write a drawn clip, enlarged from a quarter of its size."""
    frames = footage.clip(77, seconds, width=width // 4, height=height // 4, fps=25.0)
    large = (np.asarray(cv2.resize(f, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8) for f in frames)
    write_video(path, large, fps=25.0, crf=26, gop=125)


def write_long(path: Path, hours: float) -> None:
    """Write a long 1080p video: the coded pictures of one clip again and again."""
    once = path.with_name("once.mp4")
    write_drawn(once, 20.0, 1920, 1080)
    with av.open(str(path), "w") as target, av.open(str(once)) as source:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        copied = target.add_stream_from_template(stream)
        length = round(20.0 / float(stream.time_base or 1))
        kept = [(bytes(p), p.pts, p.dts, p.duration, p.is_keyframe) for p in packets]
        for turn in range(round(hours * 3600 / 20.0)):
            for content, pts, dts, duration, key in kept:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.duration = (pts or 0) + turn * length, dts + turn * length, duration
                packet.time_base, packet.is_keyframe, packet.stream = stream.time_base, key, copied
                target.mux(packet)
    once.unlink()


CASES: dict[str, tuple[str, Callable[[Path, float], None]]] = {
    "second": ("1 second, 640 × 360", lambda path, _: write_drawn(path, 1.0, 640, 360)),
    "large": ("20 s of 3840 × 2160", lambda path, _: write_drawn(path, 20.0, 3840, 2160)),
    "long": ("1920 × 1080, hours", write_long),
}


def scan(folder: Path, intake: Path) -> dict[str, Any]:
    """Scan one folder against a small store; return CPU seconds, peak MiB and what run.json says."""
    run = folder / f"run of {intake.name}"
    words = [*COMMAND, "scan", str(intake), "--store", str(folder / "store"), "--run", str(run), "--workers", "0"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    document = json.loads((run / "run.json").read_text())
    return {
        "exit_code": process.returncode,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": usage.ru_maxrss // 1024,
        "verdicts": {name: n for name, n in document["counts"]["verdicts"].items() if n},
        "video_seconds": document["seconds"]["intake"],
    }


def main() -> None:
    """Make, scan, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    os.environ["VIDEONOVELTY_INTAKE__SETTLE_SECONDS"] = "0"
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "known").mkdir()
        write_video(folder / "known" / "a.mp4", footage.clip(5, 6.0), fps=25.0)
        add = ["known", "add", str(folder / "known"), "--store", str(folder / "store"), "--list", "k", "--workers", "0"]
        subprocess.run([*COMMAND, *add], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in options.only.split(","):
            what, make = CASES[name]
            (folder / name).mkdir()
            make(folder / name / "video.mp4", options.hours)
            found[name] = {"what": what, **scan(folder, folder / name)}
            print(name, found[name], file=sys.stderr, flush=True)
    rows = [
        [one["what"], one["video_seconds"], one["cpu_seconds"], one["peak_mib"],
         ", ".join(one["verdicts"]), one["exit_code"]]
        for one in found.values()
    ]  # fmt: skip
    head = ["video", "seconds", "CPU seconds", "peak MiB of a process", "verdict", "exit code"]
    write_result(options.out, "extremes", {"cases": found}, table(head, rows))


if __name__ == "__main__":
    main()
