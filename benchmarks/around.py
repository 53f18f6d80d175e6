"""Is known footage cleared in a frame of another shape, and nothing hidden around it? Through the command line.

    python -m benchmarks.around FOLDER [--keep FOLDER] [--out benchmarks/results/around]

FOLDER is one that `benchmarks.accuracy --keep FOLDER` left: known clips, their store, and an intake with clips of other
content. Each known clip is shown upright (9:16, or lying where it is upright itself), square and in 4:5, between black
bars and between blurred, enlarged copies of itself, as they are, darkened, or enlarged further (truth: known). And it
is shown upright between something else (truth: new): another clip, blurred as much, blurred little, or as it is; copies
of itself with another clip mixed in by a third or a half; and copies of itself on which a small picture of another clip
lies, 10, 15 or 20 % of the height. Prints a table and writes it as JSON and Markdown, with one-sided 95 %
Clopper–Pearson bounds.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.accuracy import scan
from benchmarks.accuracy_footage import FPS
from benchmarks.flashes import SECONDS, jobs
from benchmarks.kept import footage_folder, made
from benchmarks.made_codes import write_rows
from benchmarks.not_shown import rows_by_kind
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8

UPRIGHT, PORTRAIT, SQUARE = (360, 640), (480, 600), (480, 480)
BLURS = (0.017, 0.022, 0.028)
"""Deviations of a blur, in shares of the frame's longer side, by turns."""
LITTLE = 0.006


Behind = Callable[[U8, U8, tuple[int, int], float], U8]
"""Makes, of a picture of the clip and one of another, what fills a frame of a width and height, blurred by so much."""


class Frame(NamedTuple):
    """What a clip is shown in."""

    size: tuple[int, int]
    """Width and height; the other way round for upright clips."""
    behind: Behind


def _black(_: U8, __: U8, size: tuple[int, int], ___: float) -> U8:
    return np.zeros((size[1], size[0], 3), np.uint8)


def _itself(light: float = 1.0, by: float = 1.0) -> Behind:
    return lambda clip, _, size, blur: np.asarray((light * _blurred(clip, size, blur, by)).astype(np.uint8))


def _another(blurred: float | None = None) -> Behind:
    return lambda _, other, size, blur: _blurred(other, size, blur if blurred is None else blurred)


def _mixed(share: float) -> Behind:
    return lambda clip, other, size, blur: np.asarray(
        cv2.addWeighted(_blurred(clip, size, blur), 1 - share, _blurred(other, size, blur), share, 0)
    )


def _laid_on(share: float) -> Behind:
    def laid(clip: U8, other: U8, size: tuple[int, int], blur: float) -> U8:
        shown = _blurred(clip, size, blur)
        high = int(share * size[1])
        wide = min(high * 4 // 3, size[0] // 4 if size[0] > size[1] else size[0] - 40)
        shown[12 : 12 + high, 20 : 20 + wide] = _filling(other, (wide, high))
        return shown

    return laid


KNOWN = {
    "upright, black bars": Frame(UPRIGHT, _black),
    "upright": Frame(UPRIGHT, _itself()),
    "upright, darkened": Frame(UPRIGHT, _itself(light=0.6)),
    "upright, enlarged further": Frame(UPRIGHT, _itself(light=0.85, by=1.3)),
    "4 to 5": Frame(PORTRAIT, _itself(light=0.8)),
    "square, black bars": Frame(SQUARE, _black),
    "square": Frame(SQUARE, _itself()),
}
NEW = {
    "another clip, blurred": Frame(UPRIGHT, _another()),
    "another clip, blurred little": Frame(UPRIGHT, _another(blurred=LITTLE)),
    "another clip": Frame(UPRIGHT, _another(blurred=0.0)),
    "mixed by a third": Frame(UPRIGHT, _mixed(1 / 3)),
    "mixed by a half": Frame(UPRIGHT, _mixed(1 / 2)),
    "a picture of 10 %": Frame(UPRIGHT, _laid_on(0.1)),
    "a picture of 15 %": Frame(UPRIGHT, _laid_on(0.15)),
    "a picture of 20 %": Frame(UPRIGHT, _laid_on(0.2)),
}


def make(folder: Path, job: tuple[int, Path, Path]) -> None:
    """Write what the intake holds of one known clip, and one of other content."""
    cv2.setNumThreads(1)
    number, known, new = job
    pictures = [picture for _, picture in itertools.islice(read_rgb(known), int(SECONDS * FPS))]
    others = [picture for _, picture in itertools.islice(read_rgb(new), int(SECONDS * FPS))]
    blur = BLURS[number % len(BLURS)]
    for kind, frame in (KNOWN | NEW).items():
        path = folder / "intake" / f"{known.stem} {kind}.mp4"
        write_video(path, _framed(pictures, others, frame, blur), fps=FPS, crf=26, gop=50)


def _framed(pictures: list[U8], others: list[U8], frame: Frame, blur: float) -> Iterator[U8]:
    upright = pictures[0].shape[0] > pictures[0].shape[1]
    size = frame.size[::-1] if upright else frame.size
    for number, picture in enumerate(pictures):
        shown = frame.behind(picture, others[number % len(others)], size, blur)
        rows, columns = picture.shape[:2]
        fits = min(size[0] / columns, size[1] / rows)
        wide, high = round(fits * columns), round(fits * rows)
        left, top = (size[0] - wide) // 2, (size[1] - high) // 2
        shown[top : top + high, left : left + wide] = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA)
        yield shown


def _blurred(picture: U8, size: tuple[int, int], blur: float, by: float = 1.0) -> U8:
    """Return a picture enlarged until it fills a frame, and blurred (at half the size, for it is faster)."""
    if blur == 0.0:
        return _filling(picture, size)
    small = _filling(picture, (size[0] // 2, size[1] // 2), by)
    return np.asarray(cv2.resize(cv2.GaussianBlur(small, (0, 0), blur * max(size) / 2), size), np.uint8)


def _filling(picture: U8, size: tuple[int, int], by: float = 1.0) -> U8:
    rows, columns = picture.shape[:2]
    fills = by * max(size[0] / columns, size[1] / rows)
    large = cv2.resize(picture, (max(size[0], round(fills * columns)), max(size[1], round(fills * rows))))
    left, top = (large.shape[1] - size[0]) // 2, (large.shape[0] - size[1]) // 2
    return np.array(large[top : top + size[1], left : left + size[0]])


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accuracy", type=Path, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for the intake and the run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/around"))
    options = parser.parse_args()
    with footage_folder(options.keep) as folder:
        made(folder, make, jobs(options.accuracy), workers=options.workers)
        scan(folder, options.accuracy / "store")
        rows = rows_by_kind(folder / "run", (*KNOWN, *NEW), "around it")
    write_rows(options.out, rows)


if __name__ == "__main__":
    main()
