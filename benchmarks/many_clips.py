"""Writes a night of small videos whose make-up is known: unique ones, copies, near-duplicates, known footage, failures.

    python -m benchmarks.many_clips FOLDER [--files 10000]

FOLDER/known holds originals to enrol, FOLDER/intake the night. Of 100 files 10 are byte-for-byte copies of others, 10
are other encodings of others, 5 are other encodings of originals, 2 are originals byte for byte, 3 are no videos
(empty, text, cut off) and 70 are unlike any other. Which file is what follows from its number; a folder that is there
already is completed, not written again.
"""

from __future__ import annotations

import argparse
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from videonovelty import footage
from videonovelty.decode.writer import write_video

WIDTH, HEIGHT, FPS, SECONDS = 96, 64, 8.0, 2.4
"""As small as a video can be and still be signed, moved and proven: the program's own cost a file shows."""
PER_FOLDER = 1000
_KINDS = ("unique",) * 70 + ("copy",) * 10 + ("again",) * 10 + ("known",) * 5 + ("known bytes",) * 2 + (
    "empty", "text", "cut",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planned:
    """One file of the night and what it is."""

    number: int
    kind: str
    content: int
    """Seed of the footage."""

    @property
    def name(self) -> str:
        """Path below the intake: a thousand files a folder, kinds mixed."""
        return f"{self.number // PER_FOLDER:03d}/{self.number:06d}.mp4"


def plan(files: int) -> list[Planned]:
    """Return what each of `files` files is, kinds spread evenly over the night."""
    planned = []
    for number in range(files):
        kind = _KINDS[number * 37 % 100]
        content = 1_000_000 + number
        if kind in ("copy", "again"):
            content = 1_000_000 + number // 100 * 100 + _a_unique(number)
        elif kind in ("known", "known bytes"):
            content = 500 + number % n_known(files)
        planned.append(Planned(number, kind, content))
    return planned


def _a_unique(number: int) -> int:
    """Return the place, among the hundred of `number`, of a unique video another one is made of."""
    return next(place for place in range(number % 100, 200) if _KINDS[place * 37 % 100] == "unique") % 100


def n_known(files: int) -> int:
    """Return how many originals there are."""
    return max(2, files // 50)


def write_clip(path: Path, content: int, crf: int = 23) -> None:
    """Write the footage of one seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = footage.clip(content, SECONDS, width=WIDTH, height=HEIGHT, fps=FPS, shots=1)
    write_video(path, frames, fps=FPS, crf=crf)


def write_planned(planned: Planned, folder: Path) -> None:
    """Write one file of the night, unless it is there."""
    path = folder / "intake" / planned.name
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if planned.kind == "empty":
        path.write_bytes(b"")
    elif planned.kind == "text":
        path.write_text(f"not a video: {planned.number}")
    elif planned.kind == "known bytes":
        shutil.copy(folder / "known" / f"{planned.content}.mp4", path)
    else:
        write_clip(path, planned.content, crf=33 if planned.kind in ("again", "known") else 23)
        if planned.kind == "cut":
            path.write_bytes(path.read_bytes()[:1500])


def make_night(folder: Path, files: int, processes: int) -> None:
    """Write the whole of it."""
    with ProcessPoolExecutor(processes) as pool:
        known = [folder / "known" / f"{500 + i}.mp4" for i in range(n_known(files))]
        missing = [path for path in known if not path.exists()]
        list(pool.map(write_clip, missing, [int(path.stem) for path in missing], chunksize=8))
        list(pool.map(partial(write_planned, folder=folder), plan(files), chunksize=32))


def main() -> None:
    """Write the night."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    make_night(options.folder, options.files, options.processes)


if __name__ == "__main__":
    main()
