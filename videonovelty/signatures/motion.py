"""The motion profile: what moves where, tick by tick, in a few bytes a second.

Two measurements of the same picture changes a tick: how much the picture changes as a whole (`activity`), and in each
cell of a 4 × 4 grid whether it becomes darker, stays, or becomes brighter (`signs`). The sign grid follows Oostveen,
Kalker and Haitsma, "Feature extraction and a database strategy for video fingerprinting" (VISUAL 2002), with a dead
zone (so that still regions say nothing instead of repeating noise) and without their spatial difference (so that the
grid can be mirrored and turned by permuting cells). Edits that keep the picture in view barely change it; another take
of the same scene has another rhythm. It is what makes proof by time possible without keeping pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import DETAIL_CELLS, DETAIL_COLUMNS, DETAIL_ROWS, MOTION_CELLS, Frame, MotionProfile
from videonovelty.signatures.borders import inner_box
from videonovelty.signatures.pdq import DIHEDRAL

F32 = npt.NDArray[np.float32]

MOTION_VERSION = "motion1"
"""Part of the scheme: profiles made in another way are never compared."""
GRID = 4
LAG_SECONDS = 0.4
"""Signs compare pictures this far apart: long against half a tick of the store, short against a movement."""
ACTIVITY_LAG_SECONDS = 0.2
DEAD_ZONE = 0.02
"""Change of a cell's mean, in standard deviations of the picture, below which nothing is said to have changed."""
DETAIL_UNIT = 0.5
"""Grey levels a step of `MotionProfile.detail` stands for."""
KNOWN_STEP_SECONDS = 0.2
"""Tick of the profiles the store keeps."""
BLOCK_SECONDS = 30.0
"""Pictures are held this long at a time, so memory does not grow with the video."""
MAX_TICKS = 1_000_000
"""A profile ends here (27 hours at ten ticks a second): damaged time stamps leap by years."""
SIDE_ROWS, SIDE_COLUMNS = 36, 64
NOT_LOOKED_AT = 255
"""Activity of a tick that has no earlier picture to differ from, or that nobody could look at."""


class MotionRecorder:
    """Watch frames go by and keep what the profile needs: one small picture a tick, a block at a time."""

    def __init__(self, step_seconds: float) -> None:
        self._step = step_seconds
        self._lag = max(1, round(LAG_SECONDS / step_seconds))
        self._short_lag = max(1, round(ACTIVITY_LAG_SECONDS / step_seconds))
        self._block = max(self._lag + 1, round(BLOCK_SECONDS / step_seconds))
        self._held: list[npt.NDArray[np.uint8]] = []  # pictures of the ticks not yet measured, lag overlap first
        self._activity: list[npt.NDArray[np.uint8]] = []
        self._signs: list[npt.NDArray[np.int8]] = []
        self._detail: list[npt.NDArray[np.int8]] = []
        self._tick = 0
        self._last: Frame | None = None
        self._last_picture: npt.NDArray[np.uint8] | None = None

    def watch(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield `frames` unchanged while recording them; a tick shows the frame that is on screen at that time."""
        for frame in frames:
            if self._last is None:
                self._last = frame
            self._record_until(frame.pts_seconds)
            self._last, self._last_picture = frame, None
            yield frame

    def _record_until(self, end_seconds: float) -> None:
        assert self._last is not None
        while self._tick * self._step < end_seconds - 1e-9 and self._tick < MAX_TICKS:
            if self._last_picture is None:
                self._last_picture = cv2.resize(
                    self._last.sketch(), (SIDE_COLUMNS, SIDE_ROWS), interpolation=cv2.INTER_AREA
                )
            self._held.append(self._last_picture)
            self._tick += 1
            if len(self._held) >= self._block + self._lag:
                self._measure()

    def _measure(self) -> None:
        first = self._lag if self._signs else 0
        if len(self._held) <= first:
            return
        pictures = np.stack(self._held)
        activity, signs = _profile(pictures, lag=self._lag, short_lag=self._short_lag)
        self._activity.append(activity[first:])
        self._detail.append(_detail(pictures, lag=self._lag)[first:])
        self._signs.append(signs[first:])
        self._held = self._held[-self._lag :]

    def finish(self, end_seconds: float) -> MotionProfile:
        """Return the profile of everything watched, its last tick before `end_seconds`."""
        if self._last is not None:
            self._record_until(end_seconds)
        self._measure()
        if not self._signs:
            return MotionProfile(self._step, np.zeros(0, np.uint8), np.zeros((0, MOTION_CELLS), np.int8))
        return MotionProfile(
            self._step, np.concatenate(self._activity), np.concatenate(self._signs), np.concatenate(self._detail)
        )


def _profile(
    pictures: npt.NDArray[np.uint8], *, lag: int, short_lag: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Return activity (m,) and signs (m, 16) of `pictures` (m, 36, 64); the first ticks have nothing before them."""
    m = len(pictures)
    top, bottom, left, right = _common_box(pictures)
    inner = pictures[:, top:bottom, left:right].astype(np.float32)
    mean = inner.mean((1, 2), keepdims=True)
    deviation = inner.std((1, 2), keepdims=True)
    normal = (inner - mean) / (deviation + 4.0)
    cells = np.stack([cv2.resize(picture, (GRID, GRID), interpolation=cv2.INTER_AREA) for picture in normal])
    cells = cells.reshape(m, MOTION_CELLS)
    signs = np.zeros((m, MOTION_CELLS), np.int8)
    if m > lag:
        change = cells[lag:] - cells[:-lag]
        signs[lag:] = np.where(change > DEAD_ZONE, 1, np.where(change < -DEAD_ZONE, -1, 0))
    activity = np.full(m, NOT_LOOKED_AT, np.uint8)
    if m > short_lag:
        amount = np.abs(normal[short_lag:] - normal[:-short_lag]).mean((1, 2))
        # log scale from 0.003 (sensor noise) to about 2 (a cut): 0 … 254
        level = (np.log(amount + 0.003) - np.log(0.003)) / (np.log(2.0) - np.log(0.003))
        activity[short_lag:] = np.clip(np.round(level * 254), 0, 254).astype(np.uint8)
    return activity, signs


def _detail(pictures: npt.NDArray[np.uint8], *, lag: int) -> npt.NDArray[np.int8]:
    """Return the changes (m, 144) of the fine grid's cells over the lag; the first ticks have nothing before them."""
    m = len(pictures)
    blocks = pictures.reshape(m, DETAIL_ROWS, SIDE_ROWS // DETAIL_ROWS, DETAIL_COLUMNS, SIDE_COLUMNS // DETAIL_COLUMNS)
    cells = blocks.mean((2, 4), dtype=np.float32).reshape(m, DETAIL_CELLS)
    detail = np.zeros((m, DETAIL_CELLS), np.int8)
    if m > lag:
        detail[lag:] = np.clip(np.round((cells[lag:] - cells[:-lag]) / DETAIL_UNIT), -127, 127)
    return detail


def _common_box(pictures: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the rows and columns inside the borders all sampled pictures of a block share."""
    rows, columns = pictures.shape[1:]
    picks = pictures[np.linspace(0, len(pictures) - 1, min(8, len(pictures))).astype(int)]
    boxes = np.array([inner_box(picture) for picture in picks])
    top, bottom, left, right = boxes[:, 0].min(), boxes[:, 1].max(), boxes[:, 2].min(), boxes[:, 3].max()
    if bottom - top < rows // 4 or right - left < columns // 4:
        return 0, rows, 0, columns
    return int(top), int(bottom), int(left), int(right)


def thinned(profile: MotionProfile, step_seconds: float) -> MotionProfile:
    """Return the profile at a coarser tick, a whole multiple of its own: what the store keeps."""
    every = max(1, round(step_seconds / profile.step_seconds))
    return MotionProfile(profile.step_seconds * every, profile.activity[::every].copy(), profile.signs[::every].copy())


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
_CELLS_OF = [_TURNS[name](np.arange(MOTION_CELLS).reshape(GRID, GRID)).ravel() for name in DIHEDRAL]


def turned(signs: npt.NDArray[np.int8], variant: int) -> npt.NDArray[np.int8]:
    """Return the signs (m, 16) a video would have with its picture turned by dihedral `variant` of `signatures.pdq`."""
    return signs[:, _CELLS_OF[variant]]
