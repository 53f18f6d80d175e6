"""Is something hidden that takes the place of a part of known footage, in its light and moving along? By command line.

    python -m benchmarks.part_details FOLDER [--keep FOLDER] [--out benchmarks/results/part_details]

FOLDER is one that `benchmarks.accuracy --keep FOLDER` left: known clips, their store, and an intake with clips of other
content. In an ellipse of 20, 30 or 40 % of the picture's height, which follows what moves most by optical flow, as a
face put in another's place does, the details of a clip of other content are laid over the known shapes in light and
shadow (truth: new). And each known clip is encoded once more as it is (truth: known). Prints a table and writes it as
JSON and Markdown, with one-sided 95 % Clopper–Pearson bounds.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.accuracy import scan
from benchmarks.accuracy_footage import FPS
from benchmarks.flashes import SECONDS, jobs
from benchmarks.kept import footage_folder, made
from benchmarks.made_codes import write_rows
from benchmarks.not_shown import rows_by_kind
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

HEIGHTS = (0.2, 0.3, 0.4)
"""Of the ellipse, in shares of the picture's."""
SLENDER = 0.75
"""Its width over its height."""
SHAPES = 0.1
"""Of its height: known details finer than that give way."""
AHEAD = 50
"""Pictures in which what moves most is sought where the ellipse has to begin anew."""
LEAST_DETAILS = 6.0
"""Grey levels, root mean square, that the new details have at least."""
COPY = "copy"


def make(folder: Path, job: tuple[int, Path, Path]) -> None:
    """Write what the intake holds of one known clip, and details of one of other content."""
    _, known, new = job
    pictures = [picture for _, picture in itertools.islice(read_rgb(known), int(SECONDS * FPS))]
    others = [picture for _, picture in itertools.islice(read_rgb(new), 0, 100, 20)]
    for height in HEIGHTS:
        write_video(_path(folder, known, f"{height:.0%}"), put_over(pictures, others, height), fps=FPS, crf=24, gop=50)
    write_video(_path(folder, known, COPY), pictures, fps=FPS, crf=24, gop=50)


def _path(folder: Path, known: Path, what: str) -> Path:
    return folder / "intake" / f"{known.stem} {what}.mp4"


def put_over(pictures: Sequence[U8], others: Sequence[U8], height: float) -> Iterator[U8]:
    """Yield the pictures with the details of another clip in an ellipse that moves along with them."""
    tall = int(height * pictures[0].shape[0])
    wide = int(SLENDER * tall)
    details = _most_detailed([_resized(one, pictures[0].shape) for one in others], tall, wide)
    details -= _blurred(details, SHAPES * tall)
    down, right = np.mgrid[:tall, :wide]
    away = ((right - wide / 2) / (wide / 2)) ** 2 + ((down - tall / 2) / (tall / 2)) ** 2
    ellipse = np.clip(4.0 * (1.0 - away), 0.0, 1.0).astype(np.float32)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    placed: F64 | None = None
    for number, picture in enumerate(pictures):
        placed = None if placed is None else _moved_along(placed, grey[number - 1], grey[number], tall, wide)
        if placed is None:
            begins = min(number, max(0, len(grey) - AHEAD))
            placed = _where_most_moves(grey[begins : begins + AHEAD], tall, wide)
        size = picture.shape[1::-1]
        over = cv2.warpAffine(ellipse, placed, size)[..., None]
        known = picture.astype(np.float32)
        shapes = _blurred(known, SHAPES * tall)
        strength = max(float((known - shapes)[over[..., 0] > 0.5].std()), LEAST_DETAILS) / max(1e-3, details.std())
        new = shapes + float(np.clip(strength, 0.3, 3.0)) * cv2.warpAffine(details, placed, size)
        yield np.clip(known * (1.0 - over) + new * over, 0, 255).astype(np.uint8)


def _most_detailed(pictures: Sequence[U8], tall: int, wide: int) -> F32:
    """Return the rectangle of any of the pictures in which most details are, shape (tall, wide, 3)."""
    best, found = -1.0, pictures[0][:tall, :wide]
    for picture in pictures:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
        much = cv2.boxFilter(np.abs(grey - _blurred(grey, 3.0)), -1, (wide, tall))
        inner = much[tall // 2 : -tall + tall // 2, wide // 2 : -wide + wide // 2]
        top, left = np.unravel_index(int(inner.argmax()), inner.shape)
        if inner[top, left] > best:
            best, found = float(inner[top, left]), picture[top : top + tall, left : left + wide]
    return found.astype(np.float32)


def _where_most_moves(grey: Sequence[U8], tall: int, wide: int) -> F64:
    """Return where an ellipse lies that takes most of the movement, as a map of its places to the picture's, (2, 3)."""
    smooth = [_blurred(one.astype(np.float32), 2.0) for one in grey]
    changes = [np.abs(one - other) for one, other in zip(smooth, smooth[3:], strict=False)]
    moves = np.minimum(np.mean(changes, axis=0), 30.0) if changes else np.ones(grey[0].shape)
    much = cv2.boxFilter(moves, -1, (wide, tall))
    inner = much[tall // 2 : -tall + tall // 2, wide // 2 : -wide + wide // 2]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return np.array([[1.0, 0.0, left], [0.0, 1.0, top]])


def _moved_along(placed: F64, before: U8, now: U8, tall: int, wide: int) -> F64 | None:
    """Return where the ellipse has moved, by the optical flow in it (Lucas–Kanade); None where that says nothing."""
    height, width = now.shape
    mask = cv2.warpAffine(np.full((tall, wide), 255, np.uint8), placed, (width, height))
    points = cv2.goodFeaturesToTrack(before, 80, 0.005, 4, mask=mask)
    if points is None:
        return None
    after, tracked, _ = cv2.calcOpticalFlowPyrLK(before, now, points, np.zeros_like(points), winSize=(15, 15))
    kept = tracked.ravel() == 1
    if kept.sum() < 4:
        return None
    step, _ = cv2.estimateAffinePartial2D(points[kept], after[kept])
    if step is None:
        return None
    moved = step[:, :2] @ placed
    moved[:, 2] += step[:, 2]
    x, y = moved @ (wide / 2, tall / 2, 1.0)
    grown = abs(float(np.linalg.det(moved[:, :2]))) ** 0.5
    inside = 0.4 * wide < x < width - 0.4 * wide and 0.4 * tall < y < height - 0.4 * tall
    return np.asarray(moved) if inside and 0.6 < grown < 1.6 else None


def _blurred(picture: npt.NDArray[Any], reach: float) -> F32:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), reach), np.float32)


def _resized(picture: U8, shape: tuple[int, ...]) -> U8:
    return np.asarray(cv2.resize(picture, shape[1::-1], interpolation=cv2.INTER_AREA))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accuracy", type=Path, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for the intake and the run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/part_details"))
    options = parser.parse_args()
    with footage_folder(options.keep) as folder:
        made(folder, make, jobs(options.accuracy), workers=options.workers)
        scan(folder, options.accuracy / "store")
        rows = rows_by_kind(folder / "run", (*(f"{height:.0%}" for height in HEIGHTS), COPY), "height of the part")
    write_rows(options.out, rows)


if __name__ == "__main__":
    main()
