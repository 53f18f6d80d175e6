"""The motion profile: what moves where, tick by tick, in a few bytes a second.

Each cell of a 4 × 4 grid becomes darker, stays, or becomes brighter (`signs`), tick by tick. The sign grid follows
Oostveen, Kalker and Haitsma, "Feature extraction and a database strategy for video fingerprinting" (VISUAL 2002), with
a dead zone (so that still regions say nothing instead of repeating noise) and without their spatial difference (so that
the grid can be mirrored and turned by permuting cells). Edits that keep the picture in view barely change it; another
take of the same scene has another rhythm. It is what makes proof by time possible without keeping pictures. An 8 × 8
grid at fewer ticks (`fine`) shows whether something else plays in a part of the picture, and so does how bright its
cells are (`levels`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import (
    F64,
    FINE_CELLS,
    FINE_MOST,
    MOST_LEVEL,
    MOTION_CELLS,
    PICTURE_COLUMNS,
    PICTURE_PARTS,
    PICTURE_ROWS,
    U8,
    Frame,
    MotionProfile,
)
from videonovelty.signatures.borders import Box, common_bars, common_fill, full_box, is_smaller
from videonovelty.signatures.filled import FITTED_ON, Fill, explains, fitted_fill, not_filled
from videonovelty.signatures.pdq import DIHEDRAL

F32 = npt.NDArray[np.float32]

MOTION_VERSION = "motion5"
"""Part of the scheme: profiles made in another way are never compared."""
GRID = 4
FINE_GRID = 8
LAG_SECONDS = 0.4
"""Signs compare pictures this far apart: long against half a tick of the store, short against a movement."""
OTHER_LAGS_SECONDS = (0.2, 0.3, 0.5, 0.6, 0.8)
"""A query that plays at another speed shows in this time what the known video shows in `LAG_SECONDS`."""
DEAD_ZONE = 0.02
"""Change of a cell's mean, in standard deviations of the picture, below which nothing is said to have changed."""
MOST_CHANGE, MOST_CONTRAST = 127, 0.508
"""Larger changes of a cell, in grey levels and in deviations of the picture, count as this: a cut, or a small bright
thing, must not outvote all else."""
LEVEL_UNIT = 0.01
"""Standard deviations of the picture a step of `MotionProfile.levels` stands for: half a grey level or less, for the
small changes of footage in which hardly anything moves tell its moments apart."""
LIGHT_PARTS = 256
"""`MotionProfile.light` is in this many parts of a grey level."""
LEAST_DEVIATION = 4.0
"""Grey levels added to the deviation of a picture before anything is divided by it: black pictures have none."""
BLOCK_SECONDS = 30.0
"""Pictures are held this long at a time, so memory does not grow with the video."""
MAX_TICKS = 1_000_000
"""A profile ends here (27 hours at ten ticks a second): damaged time stamps leap by years."""
SIDE_ROWS, SIDE_COLUMNS = 2 * PICTURE_ROWS, 2 * PICTURE_COLUMNS
"""Of the pictures that are looked at, where they have no borders."""
PICKS = 8
"""Pictures of a block in which borders are sought."""


class MotionRecorder:
    """Watch frames go by and keep what the profile needs: one small picture a tick, a block at a time."""

    def __init__(self, step_seconds: float) -> None:
        self._step = step_seconds
        self._lag = ticks_of_lag(LAG_SECONDS, step_seconds)
        self._other_lags = [ticks_of_lag(lag, step_seconds) for lag in OTHER_LAGS_SECONDS]
        self._overlap = max(self._lag, *self._other_lags)
        self._block = max(self._overlap + 1, round(BLOCK_SECONDS / step_seconds))
        self._held: list[npt.NDArray[np.uint8]] = []  # pictures of the ticks not yet measured, the overlap first
        self._measured = 0  # of `_held`, how many are measured already
        self._fine: list[npt.NDArray[np.int8]] = []
        self._signs: list[npt.NDArray[np.int8]] = []
        self._lagged: list[npt.NDArray[np.int8]] = []
        self._pictures: list[npt.NDArray[np.uint16]] = []
        self._levels: list[npt.NDArray[np.int16]] = []
        self._light: list[npt.NDArray[np.uint16]] = []
        self._borders: list[U8] = []
        self._tick = 0
        self._last: Frame | None = None
        self._aspect = 1.0

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield `frames` unchanged while recording them; a tick shows the frame that is on screen at that time."""
        for frame in frames:
            if self._last is None:
                self._last, self._aspect = frame, frame.width / frame.height
            self._record_until(frame.pts_seconds)
            self._last = frame
            yield frame

    def _record_until(self, end_seconds: float) -> None:
        assert self._last is not None
        while self._tick * self._step < end_seconds - 1e-9 and self._tick < MAX_TICKS:
            self._held.append(self._last.sketch())
            self._tick += 1
            if len(self._held) - self._measured >= self._block + (0 if self._signs else self._lag):
                self._measure()

    def _measure(self) -> None:
        if len(self._held) <= self._measured:
            return
        sketches = np.stack(self._held)
        since = max(0, self._measured - self._lag)
        first = self._measured - since
        pictures = np.stack(
            [cv2.resize(one, (SIDE_COLUMNS, SIDE_ROWS), interpolation=cv2.INTER_AREA) for one in sketches]
        )
        box, fill = _borders(_spread(sketches[since:], PICKS), _spread(pictures[since:], PICKS), self._aspect)
        recent = pictures[since:]
        # within borders there is less of the picture, so that is looked at larger
        bordered = box != full_box(sketches[0])
        normal = _normal(sketches, box) if bordered else _normal(pictures, full_box(pictures[0]))
        recently = normal.since(since)
        around = not_filled(sketches[self._measured :], box, fill)
        self._borders.append(np.hstack([np.tile(np.array(box, np.uint8), (len(around), 1)), around]))
        self._signs.append(_signs(recently.cells, self._lag)[first:])
        self._fine.append(_fine(recently, self._lag)[first:])
        cells = PICTURE_PARTS * _halved(recent[first:].astype(np.float32))
        self._pictures.append(cells.astype(np.uint16).reshape(len(cells), -1))  # whole numbers already
        self._levels.append(_levels(recently)[first:])
        light = np.stack([recently.mean.ravel(), recently.deviation.ravel()], axis=1)
        self._light.append(np.rint(LIGHT_PARTS * light)[first:].astype(np.uint16))
        lagged = np.stack([_signs(normal.cells, lag) for lag in self._other_lags], axis=1)
        self._lagged.append(lagged[self._measured :])
        self._held = self._held[-self._overlap :]
        self._measured = len(self._held)

    def finish(self, end_seconds: float) -> MotionProfile:
        """Return the profile of everything watched, its last tick before `end_seconds`."""
        if self._last is not None:
            self._record_until(end_seconds)
        self._measure()
        if not self._signs:
            return no_motion(self._step)
        return MotionProfile(
            self._step,
            np.concatenate(self._signs),
            np.concatenate(self._fine),
            pictures=np.concatenate(self._pictures),
            lagged=np.concatenate(self._lagged),
            levels=np.concatenate(self._levels),
            light=np.concatenate(self._light),
            borders=np.concatenate(self._borders),
        )


def no_motion(step_seconds: float) -> MotionProfile:
    """Return the profile of a video without a single tick."""
    return MotionProfile(step_seconds, np.zeros((0, MOTION_CELLS), np.int8), np.zeros((0, FINE_CELLS), np.int8))


@dataclass(frozen=True, slots=True, eq=False)
class _Normal:
    """What the changes of some pictures are taken of."""

    cells: F64
    """Shape (m, 16): contrast-normalised means of the 4 × 4 grid."""
    small: F64
    """Shape (m, 8, 8): grey levels of the 8 × 8 grid."""
    mean: F64
    """Shape (m, 1, 1): mean of the picture…"""
    deviation: F64
    """…and its standard deviation."""

    def since(self, first: int) -> _Normal:
        """Return the pictures from `first` on."""
        return _Normal(self.cells[first:], self.small[first:], self.mean[first:], self.deviation[first:])


def _normal(pictures: U8, box: Box) -> _Normal:
    """Return the cells of `pictures` (m, height, width) within a box."""
    m = len(pictures)
    top, bottom, left, right = box
    inner = np.ascontiguousarray(pictures[:, top:bottom, left:right])
    small = _area_means(inner, FINE_GRID, FINE_GRID)
    mean = small.mean((1, 2), keepdims=True)
    deviation = np.array([cv2.meanStdDev(picture)[1] for picture in inner])
    side = FINE_GRID // GRID
    cells = _normalised(small, mean, deviation).reshape(m, GRID, side, GRID, side).mean((2, 4))
    return _Normal(cells.reshape(m, MOTION_CELLS), small, mean, deviation)


def _spread(pictures: U8, most: int) -> U8:
    """Return so many of some pictures at most, spread over all of them."""
    return np.asarray(pictures[np.linspace(0, len(pictures) - 1, min(most, len(pictures))).astype(int)])


def _borders(sketches: U8, pictures: U8, aspect: float) -> tuple[Box, Fill | None]:
    """Return the box within the borders that sketches (n, 72, 128) share, and the fill that is around it, if it is one.

    `pictures` are the same at half the size: a dark or blurred end of a picture looks like a bar in one of the two.
    """
    coarse, fine = common_bars(pictures), common_bars(sketches, but=len(sketches) // PICKS)
    full = full_box(sketches[0])
    edges = zip(coarse, fine, full, full_box(pictures[0]), strict=True)
    top, bottom, left, right = (
        whole if end == one or whole == other else other if abs(other - 2 * one) <= 2 else 2 * one
        for one, other, whole, end in edges
    )
    bars, clip = (top, bottom, left, right), common_fill(sketches)
    fill = fitted_fill(_spread(sketches, FITTED_ON), clip, aspect) if is_smaller(clip, bars) else None
    return (clip, fill) if fill is not None and explains(fill, sketches) else (bars, None)


def _normalised(levels: npt.NDArray[np.floating], mean: F64, deviation: F64) -> F64:
    """Return grey levels (m, rows, columns) in deviations of their pictures from their means, both (m, 1, 1)."""
    return np.asarray((levels - mean) / (deviation + LEAST_DEVIATION))


def grey_scale(light: npt.NDArray[np.uint16]) -> tuple[F64, F64]:
    """Return what makes grey levels of levels in deviations, level × second + first, of `light`; shape (t, 1) each."""
    grey = light.astype(np.float64) / LIGHT_PARTS
    return grey[:, :1], grey[:, 1:] + LEAST_DEVIATION


def _signs(cells: F64, lag: int) -> npt.NDArray[np.int8]:
    """Return whether each cell rose or fell over `lag` ticks, shape (m, 16); the first have nothing before them."""
    signs = np.zeros(cells.shape, np.int8)
    if len(cells) > lag:
        change = cells[lag:] - cells[:-lag]
        signs[lag:] = np.where(change > DEAD_ZONE, 1, np.where(change < -DEAD_ZONE, -1, 0))
    return signs


def _fine(normal: _Normal, lag: int) -> npt.NDArray[np.int8]:
    """Return the changes of the fine grid in dead zones, shape (m, 64); the first ticks have nothing before them."""
    m, small, deviation = len(normal.cells), normal.small, normal.deviation
    fine = np.zeros((m, FINE_CELLS), np.int8)
    if m > lag:
        # in grey levels, so that what is still stays still when the rest of the picture becomes brighter
        zone = DEAD_ZONE * (0.5 * (deviation[lag:] + deviation[:-lag]) + LEAST_DEVIATION)
        # whole dead zones, so that what is within one is 0
        steps = np.clip(np.trunc((small[lag:] - small[:-lag]) / zone), -FINE_MOST, FINE_MOST)
        fine[lag:] = steps.reshape(m - lag, FINE_CELLS)
    return fine


def _levels(normal: _Normal) -> npt.NDArray[np.int16]:
    """Return how bright the cells of the fine grid are in units of their picture's deviation, shape (m, 64)."""
    levels = _normalised(normal.small, normal.mean, normal.deviation) / LEVEL_UNIT
    return np.rint(np.clip(levels, -MOST_LEVEL, MOST_LEVEL)).astype(np.int16).reshape(len(levels), FINE_CELLS)


def _halved(pictures: F32) -> F32:
    """Return the means of every two by two cells, shape (m, rows, columns) to (m, rows / 2, columns / 2): exact."""
    columns = pictures[:, :, 0::2] + pictures[:, :, 1::2]
    return (columns[:, 0::2] + columns[:, 1::2]) * np.float32(0.25)


def grey_pictures_at(profile: MotionProfile, ticks: npt.NDArray[np.int64]) -> F32:
    """Return the grey levels of `pictures` at some ticks, shape (n, 18, 32).

    Raises ValueError: the profile keeps no pictures.
    """
    if profile.pictures is None:
        raise ValueError("the profile keeps no pictures")
    levels = profile.pictures[ticks].astype(np.float32) / np.float32(PICTURE_PARTS)
    return levels.reshape(-1, PICTURE_ROWS, PICTURE_COLUMNS)


def grey_pictures(profile: MotionProfile, first: int = 0, last: int | None = None) -> F32:
    """Return the grey levels of `pictures` at ticks `[first, last)`, shape (last - first, 576).

    Raises ValueError: the profile keeps no pictures.
    """
    if profile.pictures is None:
        raise ValueError("the profile keeps no pictures")
    return profile.pictures[first:last].astype(np.float32) / np.float32(PICTURE_PARTS)


def picture_changes(profile: MotionProfile, first: int = 0, last: int | None = None) -> npt.NDArray[np.int16]:
    """Return by how many grey levels each cell of `pictures` became brighter over the lag, at ticks `[first, last)`.

    Shape (last - first, 576), whole numbers. The first ticks of all have nothing before them. Raises ValueError: the
    profile keeps no pictures.
    """
    before = max(0, first - ticks_of_lag(LAG_SECONDS, profile.step_seconds))
    changes = np.rint(_over_lag(grey_pictures(profile, before, last), profile.step_seconds))
    return np.asarray(np.clip(changes[first - before :], -MOST_CHANGE, MOST_CHANGE).astype(np.int16))


def contrast_changes(profile: MotionProfile) -> F32:
    """Return by how many deviations of the picture each cell of half the grid of `pictures` became brighter over the
    lag, shape (m, 144).

    The contrast of each picture is normalised, as that of `signs` is. Raises ValueError: the profile keeps no pictures.
    """
    if profile.light is None:
        raise ValueError("the profile keeps no light")
    cells = _halved(grey_pictures(profile).reshape(-1, PICTURE_ROWS, PICTURE_COLUMNS))
    mean, deviation = (side.astype(np.float32) for side in grey_scale(profile.light))
    changes = _over_lag((cells.reshape(len(cells), -1) - mean) / deviation, profile.step_seconds)
    return np.asarray(np.clip(changes, -MOST_CONTRAST, MOST_CONTRAST))


def ticks_of_lag(lag_seconds: float, step_seconds: float) -> int:
    """Return over how many ticks changes of a lag are taken."""
    return max(1, round(lag_seconds / step_seconds))


def _over_lag(cells: F32, step_seconds: float) -> F32:
    lag = ticks_of_lag(LAG_SECONDS, step_seconds)
    changes = np.zeros_like(cells)
    changes[lag:] = cells[lag:] - cells[:-lag]
    return changes


def _area_means(pictures: npt.NDArray[np.uint8], rows: int, columns: int) -> F64:
    """Return the mean grey level in each cell of a grid laid over `pictures` (m, height, width): (m, rows, columns).

    A pixel on a border counts for each cell by its share. The sums are of whole numbers that single precision holds
    (below 2²⁴ up to 65,000 pixels), so they are exact in whatever order a processor adds them.
    """
    m, height, width = pictures.shape
    across = pictures.reshape(m * height, width).astype(np.float32) @ _shares(width, columns).T
    sums = _shares(height, rows) @ across.reshape(m, height, columns)
    means: F64 = sums.astype(np.float64) / (height * width)
    return means


@cache
def _shares(pixels: int, cells: int) -> F32:
    """Return how much of each pixel of a line lies in each of `cells` equal cells, times `cells`: (cells, pixels)."""
    ends = np.arange(1, pixels + 1) * cells
    borders = np.arange(1, cells + 1)[:, None] * pixels
    shared = np.minimum(ends, borders) - np.maximum(ends - cells, borders - pixels)
    shares: F32 = np.maximum(shared, 0).astype(np.float32)
    return shares


_TURNS: dict[str, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]] = {
    "original": lambda grid: grid,
    "rotate90": lambda grid: np.rot90(grid, 1),
    "rotate180": lambda grid: np.rot90(grid, 2),
    "rotate270": lambda grid: np.rot90(grid, 3),
    "flip_vertical": lambda grid: grid[::-1],
    "flip_horizontal": lambda grid: grid[:, ::-1],
    "transpose": lambda grid: grid.T,
    "antitranspose": lambda grid: np.rot90(grid, 2).T,
}


def _cells_of(side: int) -> list[npt.NDArray[np.int64]]:
    return [_TURNS[name](np.arange(side * side).reshape(side, side)).ravel() for name in DIHEDRAL]


_COARSE_CELLS_OF, _FINE_CELLS_OF = _cells_of(GRID), _cells_of(FINE_GRID)


def turned(profile: MotionProfile, variant: int) -> MotionProfile:
    """Return the profile a video would have with its picture turned by dihedral `variant` of `signatures.pdq`.

    It has no `pictures`, which are as they are.
    """
    cells = _COARSE_CELLS_OF[variant]
    return MotionProfile(
        profile.step_seconds,
        profile.signs[:, cells],
        profile.fine[:, _FINE_CELLS_OF[variant]],
        profile.fine_every,
        lagged=None if profile.lagged is None else profile.lagged[:, :, cells],
        levels=None if profile.levels is None else profile.levels[:, _FINE_CELLS_OF[variant]],
        light=profile.light,
    )


def fine_cells_of(variant: int) -> npt.NDArray[np.int64]:
    """Return which cell of the 8 × 8 grid of a picture each cell of the picture `turned` is, shape (64,)."""
    return _FINE_CELLS_OF[variant]


def excerpt(profile: MotionProfile, first: int, last: int) -> MotionProfile:
    """Return the ticks `[first, last)` of a query's profile, the first of them at time 0, without `pictures`."""
    lagged = None if profile.lagged is None else profile.lagged[first:last]
    return MotionProfile(
        profile.step_seconds, profile.signs[first:last], profile.fine[first:last], lagged=lagged, grade=profile.grade
    )


def signs_at_speed(profile: MotionProfile, speed: float) -> npt.NDArray[np.int8]:
    """Return the signs, shape (m, 16), over the lag in which a query at `speed` shows what is `LAG_SECONDS` long."""
    lag = lag_at_speed(speed)
    return profile.signs if lag is None or profile.lagged is None else profile.lagged[:, lag]


@lru_cache(1024)
def lag_at_speed(speed: float) -> int | None:
    """Return which of `OTHER_LAGS_SECONDS` fits a speed best; None where `LAG_SECONDS` does."""
    off = [abs(np.log(lag * speed / LAG_SECONDS)) for lag in (LAG_SECONDS, *OTHER_LAGS_SECONDS)]
    best = int(np.argmin(off))
    return None if best == 0 else best - 1
