"""Damage small clips of six containers byte by byte and sign each copy: every one must end in one answer.

`python tests/faults/fuzz.py` makes 2,000 copies a container (`make fuzz`); `--seeds`, `--first` and `--containers` do
less, or other ones. A seed is a copy: `--first 1234 --seeds 1 --containers mp4 --keep DIR` writes the one that failed.
What must hold: the parent lives, one SignedVideo or VideoError a copy, no process is left, no file is made. Crashes of
the decoder and limits that were reached are counted and told (they are the reason for the sandbox, and flagged); they
do not fail the run. Answers that break the rules do.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from videonovelty.decode.writer import write_video
from videonovelty.errors import Reason, VideoError
from videonovelty.sandbox import Sandbox
from videonovelty.settings import load_settings

CONTAINERS = {
    "mp4": {},
    "mkv": {"codec": "libx264"},
    "webm": {"codec": "libvpx"},
    "avi": {"codec": "mpeg4"},
    "ts": {"codec": "libx264", "container": "mpegts"},
    "flv": {"codec": "flv"},
}


def originals(folder):
    """Return container → bytes of half a second of moving texture, 64 × 48."""
    random = np.random.default_rng(3)
    tile = np.kron(random.integers(30, 226, (6, 16), np.uint8), np.ones((8, 8), np.uint8))
    found = {}
    for suffix, options in CONTAINERS.items():
        path = folder / f"original.{suffix}"
        pictures = (np.repeat(np.roll(tile, 5 * i, 1)[:48, :64, None], 3, 2) for i in range(6))
        write_video(path, pictures, fps=12, gop=3, **options)
        found[suffix] = path.read_bytes()
        path.unlink()
    return found


def mutated(original, seed):
    """Return `original` with one to eight changes of bytes, bits, order, length; the same for the same seed."""
    random = np.random.default_rng(seed)
    data = bytearray(original)
    for _ in range(int(random.integers(1, 9))):
        # headers stand at the ends and matter most
        if random.random() < 0.5:
            at = int(random.integers(len(data)))
        else:
            at = int(random.integers(min(len(data), 600))) * int(random.choice([1, -1]))
        kind = random.integers(6)
        if kind == 0:
            data[at] = int(random.integers(256))
        elif kind == 1:
            data[at] ^= 1 << int(random.integers(8))
        elif kind == 2:
            data[at] = int(random.choice([0, 1, 0x7F, 0x80, 0xFF]))
        elif kind == 3:
            end = at % len(data) + int(random.integers(1, 64))
            del data[at % len(data) : end]
        elif kind == 4:
            data[at:at] = random.bytes(int(random.integers(1, 16)))
        else:
            other = int(random.integers(len(data)))
            data[at % len(data) : at % len(data) + 8] = data[other : other + 8]
        if not data:
            return b"\0"
    return bytes(data)


def _children():
    """Return the ids of this process's children."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def fuzz(containers, seeds, *, kill_on_denied=False, keep=None):
    """Sign every copy; return (container → how often each reason, list of what must not be)."""
    counts = {container: Counter() for container in containers}
    wrong = []
    settings = load_settings(
        decode={"max_pixels": 4_000_000, "max_frames": 5_000},
        sandbox={"cpu_seconds_base": 3.0, "wall_seconds_per_video_second": 0.0, "memory_bytes": 1 << 30},
    )
    with tempfile.TemporaryDirectory() as folder:
        clean = originals(Path(folder))
    others = _children()
    with Sandbox(settings, kill_on_denied=kill_on_denied) as sandbox:
        zygote = sandbox._running().process
        for container in containers:
            for seed in seeds:
                copy = mutated(clean[container], seed)
                if keep is not None:
                    (keep / f"{seed}.{container}").write_bytes(copy)
                with tempfile.TemporaryFile() as file:
                    file.write(copy)
                    file.flush()
                    try:
                        signed = sandbox.sign(file.fileno(), video_id="ab" * 32, name=f"{container} {seed}")
                        counts[container]["signed"] += 1
                        if len(signed.signatures.pts_seconds) == 0:
                            wrong.append(f"{container} {seed}: signed without a keyframe")
                    except VideoError as error:
                        counts[container][str(error.reason)] += 1
                        if error.reason == Reason.PROTOCOL_VIOLATION or (
                            error.reason == Reason.CRASHED and kill_on_denied
                        ):
                            wrong.append(f"{container} {seed}: {error}")
                        elif error.reason == Reason.CRASHED:
                            counts[container][f"  {error.detail}"] += 1
        if sandbox._running().process is not zygote:
            wrong.append("the zygote was lost")
        left = _children() - others - {sandbox._running().process.pid}
        if left:
            wrong.append(f"processes left: {sorted(left)}")
    return counts, wrong


def main():
    """Fuzz, print, and exit with 1 when something must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000, help="copies a container")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--containers", nargs="+", choices=CONTAINERS, default=list(CONTAINERS))
    parser.add_argument("--kill-on-denied", action="store_true", help="end a child at any call that is not on the list")
    parser.add_argument("--keep", type=Path, help="write the copies to this folder")
    wanted = parser.parse_args()
    started = time.monotonic()
    seeds = range(wanted.first, wanted.first + wanted.seeds)
    counts, wrong = fuzz(wanted.containers, seeds, kill_on_denied=wanted.kill_on_denied, keep=wanted.keep)
    for container, found in counts.items():
        told = sum(number for reason, number in found.items() if not reason.startswith(" "))
        print(
            f"{container:5} {told} copies: " + ", ".join(f"{reason} {number}" for reason, number in found.most_common())
        )
    print(f"{time.monotonic() - started:.0f} s; {len(wrong)} that must not be")
    for line in wrong:
        print(" ", line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
