"""The part of a known picture that a query shows, and what moves there: proof by movement for crops and insets.

The geometry of the local descriptors says where the query's picture lies in the known one. The query keeps the changes
of a fine grid, so they can be summed over the cells of the known video's grid as the query shows them; known cells the
query does not show are left out on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.geometry import GeometricMatch
from videonovelty.records import (
    DETAIL_CELLS,
    DETAIL_COLUMNS,
    DETAIL_ROWS,
    F64,
    FINE_CELLS,
    FINE_MOST,
    KnownFrames,
    MotionProfile,
)
from videonovelty.signatures.motion import DETAIL_UNIT, FINE_GRID, GRID

Bool = npt.NDArray[np.bool_]

MIN_VISIBLE_SHARE = 0.6
"""A known cell of which the query shows less than this is left out."""
MIN_VISIBLE_CELLS = 4
SAME_PLACE = 0.06
"""Two verified keyframes say the same when they put the query's corners this close, in known longer sides."""
LEAST_CHANGE = 0.5
"""Changes of a cell below this many grey levels are noise, whatever the known side counts."""
_SAMPLES = 8
"""Points along a known cell's side at which the query is looked up."""
_EDGE = 0.015
"""Descriptors keep this far from the picture's edge, in its longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Motion of both sides in the part of the known picture that the query shows, in the known video's cells."""

    query: MotionProfile
    known: MotionProfile
    cells: int
    """How many of the known cells are seen."""


def motion_in_region(
    motion: MotionProfile,
    aspect: float,
    matches: Sequence[GeometricMatch],
    frames: KnownFrames,
    local: KnownLocal,
    known: MotionProfile,
    *,
    mirrored: bool,
) -> Region | None:
    """Return the motion of both sides where the query shows the known picture, or None where too little is seen.

    `motion` and `aspect` (width over height) are the query's, as it is; `matches` are verified keyframe pairs, of which
    the placement most agree on is taken.
    """
    if motion.detail is None or not matches or len(local.features.xy) == 0:
        return None
    placement = agreed_placement(matches, aspect, mirrored=mirrored)
    box = _picture_box(frames, local)
    weight, visible = _cell_weights(placement, aspect, box, GRID, mirrored=mirrored)
    if int(visible.sum()) < MIN_VISIBLE_CELLS:
        return None
    signs, there = _in_cells(motion.detail, known.signs, weight, visible, centred=True)
    fine, fine_there = np.zeros_like(motion.fine), np.zeros_like(known.fine)
    if _cell_area(placement, aspect, box) >= 1.0:
        fine, fine_there = _in_cells(
            motion.detail,
            known.fine,
            *_cell_weights(placement, aspect, box, FINE_GRID, mirrored=mirrored),
            centred=False,
        )
    return Region(
        MotionProfile(motion.step_seconds, np.sign(signs), fine),
        MotionProfile(known.step_seconds, there, fine_there, known.fine_every),
        int(visible.sum()),
    )


def _in_cells(
    detail: npt.NDArray[np.int8], known: npt.NDArray[np.int8], weight: F64, visible: Bool, *, centred: bool
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Return the query's changes in the known video's cells, in dead zones, and the known ones that are seen.

    The dead zone is taken such that as many changes are counted on both sides. `centred` takes the change of the whole
    off, as the coarse grid does.
    """
    # (m, cells of the query) → (m, cells of the known video), in grey levels
    change = (detail.astype(np.float32) @ weight.T.astype(np.float32)) * np.float32(DETAIL_UNIT)
    if centred:
        change[:, visible] -= change[:, visible].mean(axis=1, keepdims=True)
    change[:, ~visible] = 0.0
    there = np.where(visible[None, :], known, 0).astype(np.int8)
    share = float((there[:, visible] != 0).mean()) if len(there) else 0.0
    zone = max(LEAST_CHANGE, float(np.quantile(np.abs(change[:, visible]), 1.0 - share)) if change.size else 0.0)
    return np.clip(np.trunc(change / zone), -FINE_MOST, FINE_MOST).astype(np.int8), there


def _cell_area(placement: F64, aspect: float, box: tuple[float, float, float, float]) -> float:
    """Return how many cells of the query's detail one cell of the known video's fine grid covers, as it is shown."""
    left, top, right, bottom = box
    width, height = _sides(aspect)
    known = (right - left) * (bottom - top) / FINE_CELLS
    shown = known / max(1e-9, abs(float(np.linalg.det(placement[:, :2]))))
    return shown / (width * height / DETAIL_CELLS)


def _corners(aspect: float, mirrored: bool) -> F64:
    """Return the query's corners in shares of its longer side, as `verify` counts them; shape (4, 2)."""
    width, height = _sides(aspect)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    if mirrored:
        corners[:, 0] = -corners[:, 0]
    return corners


def _sides(aspect: float) -> tuple[float, float]:
    return (1.0, 1.0 / aspect) if aspect >= 1 else (aspect, 1.0)


def placed(points: F64, transform: F64) -> F64:
    """Return where a transform (2, 3) puts points (n, 2)."""
    return points @ transform[:, :2].T + transform[:, 2]


def agreed_placement(matches: Sequence[GeometricMatch], aspect: float, *, mirrored: bool) -> F64:
    """Return the transform, query to known, that most inliers stand behind; shape (2, 3)."""
    corners = _corners(aspect, mirrored)
    where = np.array([placed(corners, match.transform) for match in matches])
    inliers = np.array([match.inliers for match in matches])
    close = np.abs(where[:, None] - where[None]).max(axis=(2, 3)) <= SAME_PLACE
    support = (close * inliers[None, :]).sum(axis=1)
    group = close[int(support.argmax())]
    return matches[int(np.where(group, inliers, -1).argmax())].transform


def _picture_box(frames: KnownFrames, local: KnownLocal) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the known picture inside its borders, in shares of its longer side.

    The store does not keep the known picture's shape; its descriptors, which keep off borders, give it within 2 %.
    """
    xy = local.features.xy / 65535.0
    left, top = np.maximum(xy.min(axis=0) - _EDGE, 0.0)
    right, bottom = np.minimum(xy.max(axis=0) + _EDGE, 1.0)
    bordered = (frames.pdq != frames.pdq_inner).any(axis=1).mean() > 0.5
    if not bordered:
        left, top = 0.0, 0.0
        if right >= bottom:
            right = 1.0
        else:
            bottom = 1.0
    return float(left), float(top), float(right), float(bottom)


def _cell_weights(
    placement: F64, aspect: float, box: tuple[float, float, float, float], grid: int, *, mirrored: bool
) -> tuple[F64, Bool]:
    """Return how the query's detail makes up each cell of the known `grid`, (cells, n_detail), and which are seen."""
    left, top, right, bottom = box
    steps = (np.arange(grid * _SAMPLES) + 0.5) / (grid * _SAMPLES)
    y, x = np.meshgrid(top + steps * (bottom - top), left + steps * (right - left), indexing="ij")
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    back = np.linalg.inv(placement[:, :2])
    query = (points - placement[:, 2]) @ back.T
    if mirrored:
        query[:, 0] = -query[:, 0]
    width, height = _sides(aspect)
    column = np.floor(query[:, 0] / width * DETAIL_COLUMNS).astype(np.int64)
    row = np.floor(query[:, 1] / height * DETAIL_ROWS).astype(np.int64)
    inside = (column >= 0) & (column < DETAIL_COLUMNS) & (row >= 0) & (row < DETAIL_ROWS)
    place = np.arange(grid * _SAMPLES) // _SAMPLES
    cell = (place[:, None] * grid + place[None, :]).ravel()
    weight = np.zeros((grid * grid, DETAIL_ROWS * DETAIL_COLUMNS))
    np.add.at(weight, (cell[inside], row[inside] * DETAIL_COLUMNS + column[inside]), 1.0)
    seen = weight.sum(axis=1)
    visible = seen >= MIN_VISIBLE_SHARE * _SAMPLES**2
    return weight / np.maximum(seen, 1.0)[:, None], np.asarray(visible)
