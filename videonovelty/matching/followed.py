"""Is it the same footage, or was the same done again?

A rehearsed dance, danced twice before one camera, moves at the same moments: within a tenth of a second the same cells
become brighter and darker, which is all that the signs of change tell. By how much they do is another matter. Nobody
lifts an arm twice as far and as fast: of what cells do in one take a tenth to a half is missing in the other, while two
encodings of one take follow each other within some hundredths of it.

So of every cell that moves in the known video it is asked which share of what it does the query does not: the residual
of a regression through the cell's own course (its contrast is free, for captions and stickers leave a part of it), at
the shift of time that leaves least. Where the camera moves, nothing is asked, since nobody moves one twice alike.

And where nearly all cells are followed and a few move otherwise, something else plays there.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from videonovelty.matching.kernels import jit
from videonovelty.matching.level_kernels import laid_over, relit
from videonovelty.records import F64
from videonovelty.signatures.motion import FINE_GRID

Bool = npt.NDArray[np.bool_]

UNFOLLOWED, UNFOLLOWED_IN_BLOCK = 0.022, 0.1
"""Share of what the median cell does that a copy may leave out, throughout and in any block."""
UNFOLLOWED_ROUGHLY = 0.04
"""The same at another speed, and where cells are made up of pictures: those are less exact."""
BLOCK_TICKS = 10
"""Known ticks that are shifted together, four seconds."""
LEAST_TICKS = 4
CUT, BESIDE_CUT = 0.2, 1.5
"""Deviations by which the median cell changes from tick to tick at a cut, and within how many ticks of one nothing is
compared: which picture a tick shows there, the coding or the frame rate decides."""
MOST_CELLS = 0.9
"""Share of the cells that move from which on it is the camera that does."""
LEAST_MOVEMENT = 1.0
"""Deviations of the picture, summed over the cells that move, from which on there is enough to follow."""
MOVES = 0.1
"""Deviations by which a cell that moves becomes brighter or darker (root mean square)…"""
NOISE = 0.033
"""…and by which coding, noise and rounding change any…"""
OUT_OF_STEP_SECONDS = 0.02
"""…as does half the time between two pictures."""
REACH_TICKS, STEPS = 2, 4
"""Ticks of the query by which it may be shifted, either way, and steps in each."""
LEAST_CONTRAST, MOST_CONTRAST = 0.2, 1.5
"""How much of what a known cell does its cell in the query may do."""
OTHERWISE, OTHERWISE_SHARE = 0.1, 0.4
"""Deviations (root mean square) and share of what four cells do by which they do otherwise than the known ones."""
LEAST_SHOWN = 0.25
"""What the query does in a cell counts for at least this share of what the known video does there."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which share of what moves in the known video the query does not follow."""

    share: float
    """Median over the cells that move, weighed by how much they do."""
    enough: bool
    """Enough moves, and not the camera, for that to say anything."""


@dataclass(frozen=True, eq=False)
class Course:
    """How bright the cells of a known video are, and those of a query, at the known ticks of a stretch."""

    levels: F64
    """Shape (m, 64): the query's, at each of its ticks."""
    at: F64
    """Shape (t,): the query's ticks, not rounded, at which the known ones lie."""
    known: F64
    """Shape (t, 64): the known levels there."""
    seen: Bool
    """Shape (64,): the cells that are compared."""
    step_seconds: float
    """Time between two ticks of the query."""
    most: float = UNFOLLOWED
    """Share that may be left out."""
    _found: dict[tuple[int, int], list[_Block]] = field(default_factory=dict, init=False, repr=False)

    def again(self, first: int, last: int) -> list[slice]:
        """Return the parts of the known ticks `[first, last)` in which the same is done again, not shown again.

        That is all of them, or blocks in which it is clearer than it must be throughout.
        """
        if last - first < LEAST_TICKS:
            return []
        blocks = self._blocks(first, last)
        if _is_unfollowed(_total(blocks, self.seen), self.most):
            return [slice(first, last)]
        return [one.ticks for one in blocks if _is_unfollowed(_total([one], self.seen), UNFOLLOWED_IN_BLOCK)]

    def otherwise(self, first: int, last: int) -> list[tuple[slice, Bool]]:
        """Return the blocks of the known ticks `[first, last)` in which something moves otherwise in some cells, and
        which cells, shape (64,)."""
        if last - first < LEAST_TICKS:
            return []
        found = [(one.ticks, one.otherwise()) for one in self._blocks(first, last)]
        return [(ticks, cells) for ticks, cells in found if cells.any()]

    def _blocks(self, first: int, last: int) -> list[_Block]:
        if (first, last) not in self._found:
            self._found[first, last] = self._in_blocks(first, last)
        return self._found[first, last]

    def _in_blocks(self, first: int, last: int) -> list[_Block]:
        count = max(1, round((last - first) / BLOCK_TICKS))
        edges = [first + (last - first) * number // count for number in range(count + 1)]
        return [self._block(slice(start, end)) for start, end in itertools.pairwise(edges)]

    def _block(self, ticks: slice) -> _Block:
        out_of_step = OUT_OF_STEP_SECONDS / self.step_seconds
        kept = np.arange(ticks.start, ticks.stop)
        if int((~self._beside_cut[ticks]).sum()) >= LEAST_TICKS:
            kept = kept[~self._beside_cut[ticks]]
        at, seen = self.at[kept], self.seen
        found = _Block(ticks, len(kept), *_compared(self.levels, at, self._lit[kept], seen, out_of_step))
        if not _is_unfollowed(_total([found], seen), self.most):
            return found
        # pictures with borders, and those in place, may lie a little apart
        laid = _Block(ticks, len(kept), *_compared(self.levels, at, self._laid[kept], seen, out_of_step))
        return min(found, laid, key=lambda one: float(one.left[one.moves].sum()))

    @cached_property
    def _beside_cut(self) -> Bool:
        """Which known ticks lie next to a cut of the query, shape (t,)."""
        changes = np.abs(np.diff(self.levels[:, self.seen], axis=0))
        cuts = 0.5 + np.flatnonzero(np.median(changes, axis=1) > CUT) if changes.size else np.zeros(0)
        near = np.searchsorted(cuts, self.at - BESIDE_CUT), np.searchsorted(cuts, self.at + BESIDE_CUT, side="right")
        return np.asarray(near[0] < near[1])

    @cached_property
    def _shown(self) -> F64:
        nearest = np.clip(np.rint(self.at).astype(np.int64), 0, len(self.levels) - 1)
        return np.ascontiguousarray(self.levels[nearest])

    @cached_property
    def _lit(self) -> F64:
        """The known levels in the contrast of the query's, tick by tick."""
        lit: F64 = relit(self._shown, self.known, self.seen)
        return lit

    @cached_property
    def _laid(self) -> F64:
        """Those, laid over the query's."""
        laid: F64 = relit(self._shown, laid_over(self._shown, self.known, self.seen), self.seen)
        return laid


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Sums of squares over some known ticks, shape (64,) each."""

    ticks: slice
    compared: int
    """How many of them were compared."""
    left: F64
    """What the query does not follow."""
    shown: F64
    """What it does."""
    due: F64
    """What the known video does."""
    moves: Bool
    """The cells that move there."""
    apart: F64
    """What the query does not follow but for one tick: of a flash, and next to a cut, one encoding shows the tick
    before…"""
    does: F64
    """…and what it does but for that tick."""

    def otherwise(self) -> Bool:
        """Return the cells of windows of 2 × 2 in which something moves, and otherwise than there, shape (64,)."""
        ticks = self.compared - 1
        apart, does = _windows(self.apart) / ticks, _windows(self.does) / ticks
        found = (apart > OTHERWISE**2) & (does > MOVES**2) & (apart > OTHERWISE_SHARE * does)
        cells = np.zeros((FINE_GRID, FINE_GRID), np.bool_)
        for down, across in itertools.product((0, 1), repeat=2):
            cells[down : FINE_GRID - 1 + down, across : FINE_GRID - 1 + across] |= found
        return cells.ravel()


def _windows(cells: F64) -> F64:
    """Return the means over windows of 2 × 2 cells of the grid, shape (7, 7)."""
    grid = cells.reshape(FINE_GRID, FINE_GRID)
    return np.asarray(0.25 * (grid[:-1, :-1] + grid[1:, :-1] + grid[:-1, 1:] + grid[1:, 1:]))


def _total(blocks: list[_Block], seen: Bool) -> Share:
    left, shown, due = (
        np.sum([np.where(one.moves, side, 0.0) for one, side in zip(blocks, sides, strict=True)], axis=0)
        for sides in zip(*((one.left, one.shown, one.due) for one in blocks), strict=True)
    )
    moves = np.any([one.moves for one in blocks], axis=0)
    ticks = sum(one.compared for one in blocks)
    movement = np.sqrt(due[moves] / ticks)
    if not moves.any():
        return Share(0.0, enough=False)
    shares = left[moves] / np.maximum(shown[moves], LEAST_SHOWN * due[moves])
    enough = float(movement.sum()) >= LEAST_MOVEMENT and int(moves.sum()) <= math.floor(MOST_CELLS * int(seen.sum()))
    return Share(_weighted_median(shares, np.sqrt(due[moves])), enough=enough)


def _is_unfollowed(found: Share, most: float) -> bool:
    return found.enough and found.share > most


def _weighted_median(values: F64, weights: F64) -> float:
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(summed, 0.5 * summed[-1])])


@jit
def _compared(levels, at, due, seen, out_of_step):  # type: ignore[no-untyped-def]
    """Return what of the known courses `due` (t, 64) the query does not follow, what it does, what they do, and which
    cells move, shape (64,) each, at the shift that leaves least; noise and `out_of_step` ticks of time are taken off.
    Then what it does not follow and what it does, but for the tick at which a cell differs most."""
    ticks, cells = due.shape
    last = len(levels) - 1
    known, squares, excused = due.copy(), np.zeros(cells), np.zeros(cells)
    moves = np.zeros(cells, np.bool_)
    for cell in range(cells):
        known[:, cell] -= due[:, cell].mean()
        for tick in range(ticks):
            squares[cell] += known[tick, cell] ** 2
            near = min(max(int(np.rint(at[tick])), 1), last - 1)
            speed = 0.5 * (levels[near + 1, cell] - levels[near - 1, cell])
            excused[cell] += NOISE**2 + (out_of_step * speed) ** 2
        moves[cell] = seen[cell] and squares[cell] > ticks * MOVES**2
    best_left, best_shown, least = np.zeros(cells), np.zeros(cells), np.inf
    best_shift, least_apart = 0.0, np.inf
    left, shown, course = np.zeros(cells), np.zeros(cells), np.empty(ticks)
    for step in range(-REACH_TICKS * STEPS, REACH_TICKS * STEPS + 1):
        shift, total, total_apart = step / STEPS, 0.0, 0.0
        for cell in range(cells):
            if moves[cell]:
                _sample(levels[:, cell], at, shift, course)
                left[cell], shown[cell], worst = _left(course, known[:, cell], -1)
                total_apart += max(0.0, _left(course, known[:, cell], worst)[0] - excused[cell])
                left[cell] = max(0.0, left[cell] - excused[cell])
                total += left[cell]
        if total < least:
            least = total
            best_left[:], best_shown[:] = left, shown
        if total_apart < least_apart:
            least_apart, best_shift = total_apart, shift
    apart, does = np.zeros(cells), np.zeros(cells)
    for cell in range(cells):
        if seen[cell]:
            _sample(levels[:, cell], at, best_shift, course)
            worst = _left(course, known[:, cell], -1)[2]
            apart[cell], does[cell], _ = _left(course, known[:, cell], worst)
            apart[cell] = max(0.0, apart[cell] - excused[cell])
    return best_left, best_shown, squares, moves, apart, does


@jit
def _sample(levels, at, shift, course):  # type: ignore[no-untyped-def]
    """Write what `levels`, of each tick, are `shift` ticks after those `at`, between two of them in between."""
    last = len(levels) - 1
    for tick in range(len(at)):
        place = min(max(at[tick] + shift, 0.0), last - 1e-6)
        before = int(place)
        part = place - before
        course[tick] = levels[before] * (1.0 - part) + levels[before + 1] * part


@jit
def _left(course, known, without):  # type: ignore[no-untyped-def]
    """Return the sum of squares of what of the `course` of a cell is not the known one, that of the course, and the
    tick at which they differ most; all of it but for the tick `without`."""
    ticks = len(course)
    count = ticks - (without >= 0)
    mean_one = mean_other = 0.0
    for tick in range(ticks):
        if tick != without:
            mean_one, mean_other = mean_one + course[tick], mean_other + known[tick]
    mean_one, mean_other = mean_one / count, mean_other / count
    both = own = due = 0.0
    for tick in range(ticks):
        if tick != without:
            one, other = course[tick] - mean_one, known[tick] - mean_other
            both, own, due = both + one * other, own + one * one, due + other * other
    contrast = min(max(both / max(due, 1e-9), LEAST_CONTRAST), MOST_CONTRAST)
    left, most, worst = 0.0, -1.0, 0
    for tick in range(ticks):
        if tick != without:
            apart = (course[tick] - mean_one - contrast * (known[tick] - mean_other)) ** 2
            left += apart
            if apart > most:
                most, worst = apart, tick
    return left, own, worst
