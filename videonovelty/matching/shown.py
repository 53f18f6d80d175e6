"""Where a query shows a known picture, all of it or a part, alone or beside something else.

The geometry of the local descriptors says it: a transform from the query's positions to the known ones, both as shares
of their picture's longer side, a mirrored query's horizontal positions negated first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.geometry import GeometricMatch, as_shares
from videonovelty.matching.shown_kernels import MIN_VISIBLE_SHARE, SAMPLES, counted, looked_up
from videonovelty.records import F64, KnownFrames, Signatures

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

WHOLE_SHARE = 0.95
"""A known cell of which the query shows this much is shown whole."""
SAME_PLACE = 0.06
"""Two verified keyframes say the same when they put the query's corners this close, in known longer sides."""
_BEYOND = 0.51
"""A cell at the edge is looked beyond by so many cells from its middle."""
_ALONG = 4
"""Points along a side of the query's cell that are looked up in the known picture."""
_EDGE = 0.015
"""Descriptors keep this far from the picture's edge, in its longer side."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A known video's cells as a query shows them."""

    weight: F64
    """Shape (known cells, query's cells): how the query's cells make up each known one; a row of a cell that is seen
    has the sum 1."""
    visible: Bool
    """Shape (known cells,): those of which the query shows enough…"""
    whole: Bool
    """…and those it shows whole."""
    filled: float
    """Share of the query's cells that show the known picture, 0 … 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Where a query shows a known picture."""

    placement: F64
    """Shape (2, 3): query positions to known positions."""
    aspect: float
    """The query's width over its height."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of the known picture inside its borders, in shares of its longer side."""
    mirrored: bool

    def in_cells(self, grid: int, rows: int, columns: int) -> Cells:
        """Return how `rows` × `columns` cells of the query make up the cells of the known `grid` × `grid`."""
        weight = counted(self.points(grid, rows, columns), grid, rows * columns)
        seen = weight.sum(axis=1)
        return Cells(
            weight / np.maximum(seen, 1.0)[:, None],
            np.asarray(seen >= MIN_VISIBLE_SHARE * SAMPLES**2),
            np.asarray(seen >= WHOLE_SHARE * SAMPLES**2),
            float((weight.sum(axis=0) > 0).mean()),
        )

    def points(self, grid: int, rows: int, columns: int) -> I64:
        """Return in which of `rows` × `columns` cells of the query the points of the known picture lie, −1 in none."""
        back, shift = np.linalg.inv(self.placement[:, :2]), np.ascontiguousarray(self.placement[:, 2])
        found: I64 = looked_up(grid, self.box, back, shift, self.mirrored, *sides(self.aspect), rows, columns)
        return found

    def covers(self, rows: int, columns: int) -> F64:
        """Return which share of each of `rows` × `columns` cells of the query shows the known picture, that shape."""
        down = (np.arange(rows * _ALONG) + 0.5) / (rows * _ALONG)
        across = (np.arange(columns * _ALONG) + 0.5) / (columns * _ALONG)
        at = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2) * sides(self.aspect)
        known = placed(at * (-1.0 if self.mirrored else 1.0, 1.0), self.placement)
        left, top, right, bottom = self.box
        there = ((known >= (left, top)) & (known <= (right, bottom))).all(axis=1)
        return np.asarray(there.reshape(rows, _ALONG, columns, _ALONG).mean(axis=(1, 3)))

    def boxes(self, grid: int) -> F64:
        """Return left, top, right and bottom of the known `grid` × `grid` cells in the query's picture, shape (n, 4).

        In shares of its width and height; what lies beyond its edges is cut off.
        """
        row, column = np.divmod(np.arange(grid * grid), grid)
        found = [self._on_query((column + x) / grid, (row + y) / grid) for y in (0, 1) for x in (0, 1)]
        ends = np.clip(found, 0.0, 1.0)
        return np.hstack([ends.min(axis=0), ends.max(axis=0)])

    def at_edge(self, grid: int) -> Bool:
        """Return which known cells lie at an edge of the known picture beyond which the query shows something else."""
        row, column = np.divmod(np.arange(grid * grid), grid)
        found = np.zeros(grid * grid, np.bool_)
        for y, x in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            beyond = (row + y < 0) | (row + y >= grid) | (column + x < 0) | (column + x >= grid)
            for along in (-0.5, 0.0, 0.5):
                across, down = (0.5 + _BEYOND * way + along * (1 - abs(way)) for way in (x, y))
                at = self._on_query((column + across) / grid, (row + down) / grid)
                found |= beyond & ((at > 0.0) & (at < 1.0)).all(axis=1)
        return found

    def _on_query(self, x: F64, y: F64) -> F64:
        """Return where shares of the known picture's sides (n,) lie in the query's, in shares of its sides: (n, 2)."""
        left, top, right, bottom = self.box
        known = np.stack([left + x * (right - left), top + y * (bottom - top)])
        at = np.linalg.solve(self.placement[:, :2], known - self.placement[:, 2:]).T / sides(self.aspect)
        return np.asarray(at * (-1.0 if self.mirrored else 1.0, 1.0))

    def cell_area(self, grid: int, rows: int, columns: int) -> float:
        """Return how many of `rows` × `columns` cells of the query one cell of the known `grid` covers."""
        left, top, right, bottom = self.box
        width, height = sides(self.aspect)
        known = (right - left) * (bottom - top) / grid**2
        shown = known / max(1e-9, abs(float(np.linalg.det(self.placement[:, :2]))))
        return shown / (width * height / (rows * columns))


def corners(aspect: float, *, mirrored: bool) -> F64:
    """Return the query's corners in shares of its longer side, as `geometry.verify` counts them; shape (4, 2)."""
    width, height = sides(aspect)
    found = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    if mirrored:
        found[:, 0] = -found[:, 0]
    return found


def sides(aspect: float) -> tuple[float, float]:
    """Return width and height in shares of the longer side."""
    return (1.0, 1.0 / aspect) if aspect >= 1 else (aspect, 1.0)


def placed(points: F64, transform: F64) -> F64:
    """Return where a transform (2, 3) puts points (n, 2)."""
    return points @ transform[:, :2].T + transform[:, 2]


def agreed_placement(matches: Sequence[GeometricMatch], aspect: float, *, mirrored: bool) -> F64:
    """Return the transform, query to known, that most inliers stand behind; shape (2, 3).

    Of the matches that put the query's corners where most do, it puts each corner where the median inlier has it.
    """
    corner = corners(aspect, mirrored=mirrored)
    where = np.array([placed(corner, match.transform) for match in matches])
    inliers = np.array([match.inliers for match in matches])
    close = np.abs(where[:, None] - where[None]).max(axis=(2, 3)) <= SAME_PLACE
    support = (close * inliers[None, :]).sum(axis=1)
    group = close[int(support.argmax())]
    median = np.median(np.repeat(where[group], inliers[group], axis=0), axis=0)
    design = np.column_stack((corner, np.ones(len(corner))))
    return np.asarray(np.linalg.lstsq(design, median, rcond=None)[0].T, np.float64)


def has_borders(frames: KnownFrames) -> bool:
    """Return whether most keyframes of a known video have borders."""
    return bool((frames.pdq != frames.pdq_inner).any(axis=1).mean() > 0.5)


def is_bordered(query: Signatures) -> bool:
    """Return whether most keyframes of a query have borders."""
    return 2 * int(query.has_inner.sum()) > len(query.has_inner)


def picture_box(frames: KnownFrames, local: KnownLocal) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the known picture inside its borders, in shares of its longer side.

    The store does not keep the known picture's shape. Its descriptors, which keep off borders, give it within 2 %, but
    where nothing at a side has any.
    """
    xy = as_shares(local.features.xy)
    left, top = np.maximum(xy.min(axis=0) - _EDGE, 0.0)
    right, bottom = np.minimum(xy.max(axis=0) + _EDGE, 1.0)
    if not has_borders(frames):
        left, top = 0.0, 0.0
        if right >= bottom:
            right = 1.0
        else:
            bottom = 1.0
    return float(left), float(top), float(right), float(bottom)
