"""Where a known picture's frame lies in a query's picture, told by how bright both are on average.

Borders are found in every video by itself, and a dark sky is a border in one encoding and none in the next. Then the
cells of two pictures do not lie over each other, and neither side knows by how much. But what the query shows at each
of 18 × 32 places is kept, and of the known video the mean of each of its 64 cells: the frame whose cells are as bright
as those is sought by moving its sides.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from videonovelty.matching.kernels import jit
from videonovelty.matching.level_kernels import relit
from videonovelty.records import F64, FINE_CELLS, PICTURE_COLUMNS, PICTURE_PARTS, PICTURE_ROWS, MotionProfile
from videonovelty.signatures.motion import FINE_GRID, LEAST_DEVIATION

MOST_APART, MOST_MISFIT = 0.3, 0.1
"""Deviations of the picture that a cell differs by at most in the mean of all, and up to which a frame is found."""
_STARTS = (
    (0.0, 0.0, 1.0, 1.0),
    (0.125, 0.0, 0.875, 1.0),
    (0.25, 0.0, 0.75, 1.0),
    (0.0, 0.125, 1.0, 0.875),
    (0.0, 0.25, 1.0, 0.75),
)
"""Left, top, right and bottom of the frames the search begins with: the picture, and what borders leave of it."""
_STEPS = (1 / 12, 1 / 24, 1 / 48, 1 / 96)
_LEAST_SIDE = 0.3
_AT_ONCE = 4096
"""Pictures that are in memory as numbers of eight bytes at once."""

Frame = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of the query's picture."""


def frame_in(query: MotionProfile, ticks: npt.NDArray[np.int64], known: F64) -> Frame | None:
    """Return where the known picture, with the mean levels `known`, shape (64,), lies in the query at `ticks`.

    The known picture is as the query's: `known` is turned where that is. None where no frame fits.
    """
    assert query.pictures is not None
    mean = query.pictures[ticks].mean(axis=0) / PICTURE_PARTS
    sums = np.zeros((PICTURE_ROWS + 1, PICTURE_COLUMNS + 1))
    sums[1:, 1:] = mean.reshape(PICTURE_ROWS, PICTURE_COLUMNS).cumsum(axis=0).cumsum(axis=1)
    found: list[tuple[float, Frame]] = []
    for start in _STARTS:
        box = np.array(start)
        least = _misfit(sums, box, known)
        for step in _STEPS:
            least = _moved(sums, box, known, step, least)
        found.append((float(least), (float(box[0]), float(box[1]), float(box[2]), float(box[3]))))
    misfit, frame = min(found)
    return frame if misfit <= MOST_MISFIT else None


def framed_levels(query: MotionProfile, ticks: npt.NDArray[np.int64], frame: Frame) -> F64:
    """Return the levels of the 8 × 8 cells of a frame at every tick of the query, shape (m, 64); 0 but at `ticks`."""
    assert query.pictures is not None
    left, top, right, bottom = frame
    rows = _shares(top, bottom, PICTURE_ROWS)
    columns = _shares(left, right, PICTURE_COLUMNS)
    inside = np.outer(rows.mean(axis=0), columns.mean(axis=0)).ravel()
    cells = np.kron(rows, columns).T
    found = np.zeros((len(query.pictures), FINE_CELLS))
    for first in range(0, len(ticks), _AT_ONCE):
        some = ticks[first : first + _AT_ONCE]
        pictures = query.pictures[some].astype(np.float64) / PICTURE_PARTS
        mean = pictures @ inside
        deviation = np.sqrt(np.maximum((pictures**2) @ inside - mean**2, 0.0)) + LEAST_DEVIATION
        found[some] = (pictures @ cells - mean[:, None]) / deviation[:, None]
    return found


def _shares(low: float, high: float, count: int) -> F64:
    """Return how much of each of `count` rows lies in each of 8 equal parts of `[low, high)`, in sum 1 a part."""
    edges = count * np.linspace(low, high, FINE_GRID + 1)
    at = np.arange(count)
    overlap = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    shares: F64 = np.maximum(overlap, 0.0) * FINE_GRID / (count * (high - low))
    return shares


@jit
def _moved(sums, box, known, step, least):  # type: ignore[no-untyped-def]
    """Move the sides of `box` by `step`, each and both opposite ones together, as long as it fits better; return how
    well it does."""
    better = True
    while better:
        better = False
        for move in range(12):
            tried = box.copy()
            side, sign = move // 2, 1.0 - 2.0 * (move % 2)
            if side < 4:
                tried[side] += sign * step
            else:
                tried[side - 4] += sign * step
                tried[side - 2] += sign * step
            if min(tried) < -1e-9 or max(tried) > 1.0 + 1e-9:
                continue
            if tried[2] - tried[0] < _LEAST_SIDE or tried[3] - tried[1] < _LEAST_SIDE:
                continue
            misfit = _misfit(sums, tried, known)
            if misfit < least - 1e-6:
                least, better = misfit, True
                box[:] = tried
    return least


@jit
def _misfit(sums, box, known):  # type: ignore[no-untyped-def]
    """Return by how much the cells of a frame differ from the known ones in the mean, in its deviations."""
    rows, columns = sums.shape[0] - 1, sums.shape[1] - 1
    corner = np.empty((FINE_GRID + 1, FINE_GRID + 1))
    for down in range(FINE_GRID + 1):
        y = (box[1] + (box[3] - box[1]) * down / FINE_GRID) * rows
        above = min(max(int(y), 0), rows - 1)
        for across in range(FINE_GRID + 1):
            x = (box[0] + (box[2] - box[0]) * across / FINE_GRID) * columns
            left = min(max(int(x), 0), columns - 1)
            part_y, part_x = y - above, x - left
            upper = (1.0 - part_x) * sums[above, left] + part_x * sums[above, left + 1]
            lower = (1.0 - part_x) * sums[above + 1, left] + part_x * sums[above + 1, left + 1]
            corner[down, across] = (1.0 - part_y) * upper + part_y * lower
    area = (box[2] - box[0]) * (box[3] - box[1]) * rows * columns / (FINE_GRID * FINE_GRID)
    levels = np.empty((1, FINE_GRID * FINE_GRID))
    for down in range(FINE_GRID):
        for across in range(FINE_GRID):
            total = corner[down + 1, across + 1] - corner[down, across + 1]
            levels[0, down * FINE_GRID + across] = (total - corner[down + 1, across] + corner[down, across]) / area
    levels[0] = (levels[0] - levels[0].mean()) / (levels[0].std() + LEAST_DEVIATION)
    there = np.empty((1, FINE_GRID * FINE_GRID))
    there[0] = (known - known.mean()) / max(known.std(), 1e-6)
    fitted = relit(levels, there, np.ones(FINE_GRID * FINE_GRID, np.bool_))
    # what differs by more is something else, however much
    return np.minimum(np.abs(levels[0] - fitted[0]), MOST_APART).mean()
