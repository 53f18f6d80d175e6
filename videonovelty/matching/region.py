"""What moves in the part of a known picture that a query shows: proof by movement for crops and pictures in pictures.

The query keeps the changes of finer grids, so they can be summed over the cells of the known video's grids as the query
shows them; known cells the query does not show are left out on both sides.

A known cell's sign says how it changed against the whole known picture. A crop shows a part of that, and what the rest
does is taken off both sides: of the query's changes, and of the known signs, the mean of the cells that are seen. What
is left is graded, not only up or down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.geometry import GeometricMatch
from videonovelty.matching.proof import ticks_on
from videonovelty.matching.shown import Cells, Shown, agreed_placement, corners, picture_box, placed
from videonovelty.matching.shown_kernels import MIN_VISIBLE_CELLS, agreement
from videonovelty.matching.timeline import Line
from videonovelty.records import (
    F64,
    FINE_MOST,
    PICTURE_COLUMNS,
    PICTURE_ROWS,
    KnownFrames,
    MotionProfile,
)
from videonovelty.signatures.motion import DEAD_ZONE, FINE_GRID, GRID, contrast_changes, picture_changes

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]

LEAST_CHANGE = 0.5
"""Changes of a cell below this many grey levels are noise, whatever the known side counts."""
FULL_ZONES = 3.0
"""A change of the query counts as 1, as each of the known signs does, from so many dead zones on."""
PARTS, LEAST_PARTS = 12, 4
"""Changes are graded in so many parts of the largest, and this many are the least that count…"""
GRADE = 10
"""…and so many count as one: as large in sum, the mean taken off, as signs would be."""
FILLED = 0.9
"""Where the known picture takes less of the query's, the query's contrast is not that of the known picture."""
LINES_TRIED = 3
TRIED_OFF_SECONDS = tuple(0.1 * step for step in range(-4, 5))
"""A placement is moved on the best of some lines, each so far off: the keyframes' vote may be."""
STEPS, MOST_MOVES = (0.02, 0.01, 0.005), 4
"""A placement is moved in steps, shares of the longer side, so many times each…"""
LEAST_GAIN = 4.0
"""…by which so many more changes must agree."""
LEAST_TICKS, MOST_TICKS = 8, 1000


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Motion of both sides in the part of the known picture that the query shows, in the known video's cells."""

    query: MotionProfile
    known: MotionProfile
    cells: int
    """How many of the known cells are seen."""
    shown: Shown
    """Where the query shows it."""


def motion_in_region(
    motion: MotionProfile,
    aspect: float,
    matches: Sequence[GeometricMatch],
    frames: KnownFrames,
    local: KnownLocal,
    known: MotionProfile,
    lines: Sequence[Line] = (),
    *,
    mirrored: bool,
) -> Region | None:
    """Return the motion of both sides where the query shows the known picture, or None where too little is seen.

    `motion` and `aspect` (width over height) are the query's, as it is; `matches` are verified keyframe pairs, of which
    the placement most agree on is taken, moved a little to where the movement agrees best on one of `lines`.
    """
    if motion.pictures is None or motion.light is None or not matches or len(local.features.xy) == 0:
        return None
    placement = agreed_placement(matches, aspect, mirrored=mirrored)
    changes = picture_changes(motion)
    shown = _moved(Shown(placement, aspect, picture_box(frames, local), mirrored), motion, changes, known, lines)
    cells = shown.in_cells(GRID, PICTURE_ROWS // 2, PICTURE_COLUMNS // 2)
    if int(cells.visible.sum()) < MIN_VISIBLE_CELLS:
        return None
    if cells.filled >= FILLED:
        change = _summed(contrast_changes(motion), cells.weight, 1.0 / (FULL_ZONES * DEAD_ZONE))
        change = _centred(change, cells.visible)
    else:
        change = _centred(_summed(changes, _picture_cells(shown, GRID).weight), cells.visible)
        change /= FULL_ZONES * _zone(change, known.signs, cells.visible)
    signs = _graded(np.clip(change, -1.0, 1.0), cells.visible)
    there = _graded(known.signs.astype(np.float32), cells.visible)
    fine, fine_there = _fine(shown, changes, known.fine)
    return Region(
        MotionProfile(motion.step_seconds, signs, fine, pictures=motion.pictures, light=motion.light, grade=GRADE),
        MotionProfile(known.step_seconds, there, fine_there, known.fine_every, levels=known.levels, grade=GRADE),
        int(cells.visible.sum()),
        shown,
    )


def _fine(shown: Shown, changes: I16, known: I8) -> tuple[I8, I8]:
    """Return the query's changes in the known video's fine cells, in dead zones, and the known ones that are seen.

    Nothing where those cells, as they are shown, are smaller than the query's own.
    """
    if shown.cell_area(FINE_GRID, PICTURE_ROWS, PICTURE_COLUMNS) < 1.0:
        return np.zeros((len(changes), FINE_GRID**2), np.int8), np.zeros_like(known)
    cells = _picture_cells(shown, FINE_GRID)
    change = np.where(cells.visible, _summed(changes, cells.weight), np.float32(0.0))
    steps = np.trunc(change / _zone(change, known, cells.visible))
    return np.clip(steps, -FINE_MOST, FINE_MOST).astype(np.int8), np.where(cells.visible, known, np.int8(0))


def _picture_cells(shown: Shown, grid: int) -> Cells:
    """Return the known video's cells of `grid` as the cells of the query's pictures make them up."""
    return shown.in_cells(grid, PICTURE_ROWS, PICTURE_COLUMNS)


def _summed(changes: npt.NDArray[np.int16 | np.float32], weight: F64, unit: float = 1.0) -> F32:
    """Return the changes (m, cells) of the known video's cells, given the query's (m, n) and their weights in them."""
    return changes.astype(np.float32) @ (weight.T * unit).astype(np.float32)


def _zone(change: F32, known: I8, visible: Bool) -> float:
    """Return the dead zone, in grey levels, with which as many changes are counted on both sides."""
    if not change.size or not known.size or not visible.any():
        return LEAST_CHANGE
    share = float((known[:, visible] != 0).mean())
    return max(LEAST_CHANGE, float(np.quantile(np.abs(change[:, visible]), 1.0 - share)))


def _centred(change: F32, visible: Bool) -> F32:
    """Return changes (m, cells) less the mean of the visible cells'; those not seen are 0."""
    return np.where(visible, change - change[:, visible].mean(axis=1, keepdims=True), np.float32(0.0))


def _graded(change: F32, visible: Bool) -> I8:
    """Return changes −1 … 1 (m, cells) less the mean of what is seen, in `PARTS` of one; little is nothing."""
    parts = np.rint(_centred(change, visible) * PARTS).astype(np.int8)
    return np.where(np.abs(parts) >= LEAST_PARTS, parts, np.int8(0))


# ---------------------------------------------------------------------------------------------------------------------
# A placement moved by the movement


def _moved(shown: Shown, motion: MotionProfile, changes: I16, known: MotionProfile, lines: Sequence[Line]) -> Shown:
    """Return the placement moved, by little, to where the fine movement agrees best on the best of `lines`.

    Descriptors place a picture within some hundredths where the camera moves between the keyframes compared, and the
    known picture's height is a guess; both are a good part of a cell.
    """
    near = [
        replace(line, offset_seconds=line.offset_seconds + off)
        for line in lines[:LINES_TRIED]
        for off in TRIED_OFF_SECONDS
    ]
    on_line = [compared for line in near if (compared := _on_line(motion, changes, known, line)) is not None]
    if not on_line:
        return shown
    best, compared = max(((_agreement(shown, one), one) for one in on_line), key=lambda pair: pair[0])
    least = LEAST_GAIN / max(1.0, float((compared[1] ** 2).sum()))
    for step in STEPS:
        for _ in range(MOST_MOVES):
            score, other = max(
                ((_agreement(other, compared), other) for other in _around(shown, step)),
                key=lambda pair: pair[0],
            )
            if score < best + least:
                break
            best, shown = score, other
    return shown


def _on_line(motion: MotionProfile, changes: I16, known: MotionProfile, line: Line) -> tuple[F32, F32] | None:
    """Return the query's changes and the known video's fine ones, cell by cell, at the ticks on a line; None where it
    is none."""
    index, known_index, _ = ticks_on(line, motion, len(known.fine), known.step_seconds * known.fine_every)
    if len(index) < LEAST_TICKS:
        return None
    some = np.unique(np.linspace(0, len(index) - 1, MOST_TICKS).astype(int))
    ours, theirs = changes[index[some]], known.fine[known_index[some]]
    return np.ascontiguousarray(ours.T, np.float32), np.ascontiguousarray(theirs.T, np.float32)


def _agreement(shown: Shown, compared: tuple[F32, F32]) -> float:
    """Return how well the changes of both sides agree in the fine cells that are seen, −1 … 1."""
    return float(agreement(shown.points(FINE_GRID, PICTURE_ROWS, PICTURE_COLUMNS), FINE_GRID, *compared))


def _around(shown: Shown, step: float) -> list[Shown]:
    """Return placements moved, zoomed, or of a known picture of another height, by a step each."""
    middle = placed(corners(shown.aspect, mirrored=shown.mirrored), shown.placement).mean(axis=0)
    left, top, right, bottom = shown.box
    found = []
    for way in (-step, step):
        for axis in (0, 1):
            moved = shown.placement.copy()
            moved[axis, 2] += way
            found.append(replace(shown, placement=moved))
        zoomed = shown.placement * (1.0 + way)
        zoomed[:, 2] -= way * middle
        found.append(replace(shown, placement=zoomed))
        if right > bottom:
            found.append(replace(shown, box=(left, top, right, bottom + way)))
        else:
            found.append(replace(shown, box=(left, top, right + way, bottom)))
    return found
