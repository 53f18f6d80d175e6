"""What plays over a part of known footage, told by how bright its cells are.

Movement tells that something else moves where it moves enough, and descriptors where there are enough of them. How
bright the cells of the 8 × 8 grid are, 2.5 times a second, needs neither: two encodings of one picture differ by some
hundredths of the picture's deviation, and whatever plays over it by about one. So it shows new footage that is there
for two seconds, that moves about, or that is mixed with what is under it.

Contrast and brightness of the picture, which edits and whatever is laid over it change, are fitted to the cells that
agree (trimmed least squares; Rousseeuw, "Least median of squares regression", 1984). What stays as it is throughout,
lettering, an emblem, a vignette, is taken off: it hides nothing that plays (`covered.py` looks for that). Where nothing
had to be taken off or excused, nothing lies over the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.followed import UNFOLLOWED, UNFOLLOWED_ROUGHLY, Course
from videonovelty.matching.framed import frame_in, framed_levels
from videonovelty.matching.level_kernels import OF_TICKS, compared, laid_over, relit
from videonovelty.matching.proof import ticks_on
from videonovelty.matching.shown import Cells, Shown
from videonovelty.matching.stretch import Cover, Stretch, part_of, runs
from videonovelty.records import (
    DONE_AGAIN,
    F64,
    FINE_CELLS,
    MOVES_OTHERWISE,
    PART_MOVES,
    PICTURE_COLUMNS,
    PICTURE_PARTS,
    PICTURE_ROWS,
    MotionProfile,
)
from videonovelty.signatures.motion import FINE_GRID, LEVEL_UNIT, fine_cells_of, grey_scale

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

CHANGES = 0.3
"""Deviations by which the known level of a cell changes that is told from others by how bright it is."""
LOOKED_AROUND = 2
"""Ticks of the query before and after the aligned one, of which the one that agrees best is compared."""
MOST_APART = 0.12
"""Median difference of all cells, in deviations, above which pictures with borders do not lie over each other at all:
the profile may not know of borders that are a blurred copy. Then nothing can be said of a part."""
LEAST_AREA = 2.0
"""Cells of the query's own that a known cell must cover, so that it is made up of them."""
LEAST_CELLS = 9
"""Known cells a query shows whole from which on they are compared."""
LEAST_CONTRAST = 2.0
"""Grey levels that a deviation of the known picture is in the query at least."""
STEADY_TICKS = 5
"""Known ticks before and after each over which that is taken for the same."""
LEAST_SPREAD = 0.2
"""Deviation of the known levels at a tick from which on it tells how the pictures' contrasts compare."""
LONGEST_GAP_SECONDS = 3.0
"""What plays about is in no cell for long: between two moments no farther apart than this it is taken to be there."""
TICKS_AT_ONCE = 150
"""A minute of known ticks: what stays as it is for that long is taken off."""
_CORNERS = np.stack([np.arange(FINE_CELLS) % FINE_GRID, np.arange(FINE_CELLS) // FINE_GRID], axis=1) / FINE_GRID
_BOXES = np.hstack([_CORNERS, _CORNERS + 1.0 / FINE_GRID])
"""Shape (64, 4): left, top, right and bottom of each cell of a whole picture."""


Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of the query's picture."""


@dataclass(frozen=True, slots=True)
class Unfollowed:
    """Seconds that do not become brighter and darker as the known video does."""

    start_seconds: float
    end_seconds: float
    why_not: str
    box: Box | None = None
    """Where, if it is in a part of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """How bright the cells of two pictures are, beside each other, at the known ticks of a stretch."""

    seconds: F64
    """Shape (t,): times of the query."""
    step_seconds: float
    """Time of the query between two ticks."""
    plain: bool
    """At the plain speed."""
    differs: Bool
    """Shape (t, 64): cells in which something plays over the known picture."""
    begins: float
    """Time of the first tick that is not beside what differs at once…"""
    ends: float
    """…and of the last one: before and after them another picture is shown, however briefly."""
    alike: Bool
    """Shape (t, 64): cells that are as bright as the known ones, with nothing excused but what is out of time; none of
    those that are not compared."""
    known: F64
    """Shape (t, 64): the known levels."""
    places: F64
    """Shape (64, 4): left, top, right and bottom of each cell in the query's picture, in shares of its sides."""
    course: Course
    in_place: bool
    """The query's cells are made up of its pictures where descriptors place the known one."""

    @classmethod
    def of(
        cls, query: MotionProfile, known: MotionProfile, stretch: Stretch, *, bordered: bool = False
    ) -> Levels | None:
        """Lay out the levels of a stretch of whole pictures; None where they have no levels.

        `query` is turned as the stretch's line says; `bordered`: its keyframes have borders, which the profile may not
        know of.
        """
        grids = whole_grids(query)
        if grids is None or known.levels is None:
            return None
        places = _BOXES[fine_cells_of(stretch.line.variant)]
        return cls._of(grids, _aligned(query, known, stretch), MOST_APART if bordered else np.inf, places)

    @classmethod
    def placed(cls, query: MotionProfile, known: MotionProfile, stretch: Stretch, shown: Shown) -> Levels | None:
        """Lay out the levels of a stretch that rests on a placement, of those known cells that `shown` shows whole.

        `query` is as it is. None where there are no levels, where too few cells are shown, or where nothing in them
        tells how the pictures' contrasts compare. Of what lies between those cells and the borders nothing is said.
        """
        if query.pictures is None or known.levels is None:
            return None
        cells = shown_whole(shown)
        ticks = _aligned(query, known, stretch)
        grids = placed_grids(query, cells, ticks.known, ticks.index)
        return None if grids is None else cls._of(grids, ticks, MOST_APART, shown.boxes(FINE_GRID))

    @classmethod
    def _of(cls, grids: Grids, ticks: _Ticks, most_apart: float, places: F64) -> Levels:
        differs, unlike, at_once = _in_blocks(grids, ticks, most_apart)
        alike = ~unlike if grids.seen is None else ~unlike & grids.seen
        # at other speeds what a single tick shows may be out of time
        same = ticks.seconds[~at_once] if ticks.plain else ticks.seconds
        begins, ends = (float(same[0]), float(same[-1])) if len(same) else (np.inf, -np.inf)
        seen = np.ones(FINE_CELLS, np.bool_) if grids.seen is None else grids.seen
        most = UNFOLLOWED if ticks.plain and grids.seen is None else UNFOLLOWED_ROUGHLY
        course = Course(grids.levels, ticks.at, ticks.known, seen, ticks.query_step_seconds, most)
        return cls(
            *(ticks.seconds, ticks.step_seconds, ticks.plain, differs, begins, ends, alike, ticks.known, places),
            course=course,
            in_place=grids.seen is not None,
        )

    def agreeing(self, stretch: Stretch) -> Bool:
        """Return which cells are as bright as the known ones throughout a stretch of the same line, shape (64,)."""
        inside = (self.seconds >= stretch.start_seconds) & (self.seconds < stretch.end_seconds)
        at = self.seconds[inside]
        if len(at) < OF_TICKS or at[0] < self.begins or at[-1] > self.ends:
            return np.zeros(self.alike.shape[1], np.bool_)
        return np.asarray(self.alike[inside].all(axis=0))

    def settled(self, stretch: Stretch) -> Bool:
        """Return which of those cells become brighter or darker meanwhile as the known ones do, shape (64,).

        What stays as it is may be as bright by chance, and so may what is seen at another speed.
        """
        inside = (self.seconds >= stretch.start_seconds) & (self.seconds < stretch.end_seconds)
        agreeing = self.agreeing(stretch)
        if not self.plain or not agreeing.any():
            return np.zeros_like(agreeing)
        return np.asarray(agreeing & (np.ptp(self.known[inside], axis=0) >= CHANGES))

    def agree(self, stretch: Stretch) -> bool:
        """Return whether the whole picture is as bright as the known one throughout a stretch of the same line."""
        return bool(self.agreeing(stretch).all())

    def unfollowed(self, query: MotionProfile, stretch: Stretch) -> list[Unfollowed]:
        """Return when a stretch of the same line does not become brighter and darker as the known video does, and why.

        `query` is as it is. Where borders were found in one of the pictures and not in the other, whole pictures are
        compared askew, so the known picture's frame is sought before anything is said.
        """
        first, last = self._ticks(stretch)
        again = self.course.again(first, last)
        # of pictures in place, levels are too coarse to tell it of a part
        otherwise = [] if self.in_place else self.course.otherwise(first, last)
        if (again or otherwise) and not self.in_place:
            framed = self._framed(query, stretch.line.variant)
            again = again if framed.again(first, last) else []
            there = {ticks.start for ticks, _ in framed.otherwise(first, last)}
            otherwise = [(ticks, cells) for ticks, cells in otherwise if ticks.start in there]
        found = [Unfollowed(*self._times(ticks, stretch), DONE_AGAIN) for ticks in again]
        for ticks, cells in otherwise:
            found.append(Unfollowed(*self._times(ticks, stretch), PART_MOVES, _around_all(self.places[cells])))
        return found

    def _times(self, ticks: slice, stretch: Stretch) -> tuple[float, float]:
        """Return the times of some ticks of a stretch, which reaches beyond its first and last."""
        first, last = self._ticks(stretch)
        start = stretch.start_seconds if ticks.start == first else float(self.seconds[ticks.start])
        return start, stretch.end_seconds if ticks.stop == last else float(self.seconds[ticks.stop])

    def _ticks(self, stretch: Stretch) -> tuple[int, int]:
        first, last = np.searchsorted(self.seconds, [stretch.start_seconds, stretch.end_seconds])
        return int(first), int(last)

    def _framed(self, query: MotionProfile, variant: int) -> Course:
        """Return the course of the levels in the known picture's frame; as it is where none is found."""
        course = self.course
        if query.pictures is None:
            return course
        known = np.ascontiguousarray(course.known[:, np.argsort(fine_cells_of(variant))])
        index = np.clip(np.rint(course.at).astype(np.int64), 0, len(query.pictures) - 1)
        frame = frame_in(query, index, known.mean(axis=0))
        if frame is None:
            return course
        return replace(course, levels=framed_levels(query, _around(index, len(query.pictures)), frame), known=known)

    def parts(self, stretch: Stretch) -> list[Stretch]:
        """Return a proven stretch in parts, those unproven in which something plays over the picture, and what is
        before and after it."""
        first, last = stretch.start_seconds, stretch.end_seconds
        if len(self.seconds):
            first = first if self.seconds[0] >= self.begins else min(last, self.begins)
            last = last if self.seconds[-1] <= self.ends else max(first, self.ends)
        parts = [_unproven(stretch, stretch.start_seconds, first, MOVES_OTHERWISE)]
        at = first
        for begin, end in self._played_over():
            # it begins after the tick before, and where it begins it may be excused as what is out of time
            begins, ends = max(at, begin - self.step_seconds), min(last, end + self.step_seconds)
            parts.append(part_of(stretch, at, begins))
            part = _unproven(stretch, begins, ends, PART_MOVES)
            parts.append(replace(part, cover=Cover(self._box(begin, end), still=False)))
            at = max(at, ends)
        parts.append(part_of(stretch, at, last))
        parts.append(_unproven(stretch, last, stretch.end_seconds, MOVES_OTHERWISE))
        return [part for part in parts if part.end_seconds - part.start_seconds > 1e-6]

    def _played_over(self) -> list[tuple[float, float]]:
        """Return the times of the first and last tick of each run of differences, runs close to one another as one."""
        found: list[tuple[float, float]] = []
        for first, last in runs(np.asarray(self.differs.any(axis=1))):
            if found and self.seconds[first] - found[-1][1] <= LONGEST_GAP_SECONDS:
                found[-1] = (found[-1][0], float(self.seconds[last]))
            else:
                found.append((float(self.seconds[first]), float(self.seconds[last])))
        return found

    def _box(self, first: float, last: float) -> Box:
        """Return left, top, right and bottom of what differs at some ticks, in shares of the query's picture."""
        inside = (self.seconds >= first) & (self.seconds <= last)
        return _around_all(self.places[self.differs[inside].any(axis=0)])


def _around_all(boxes: F64) -> Box:
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _unproven(stretch: Stretch, start: float, end: float, why_not: str) -> Stretch:
    proof = replace(stretch.proof, proven=False, why_not=why_not)
    return replace(stretch, start_seconds=start, end_seconds=end, proof=proof, carried=False)


@dataclass(frozen=True, slots=True, eq=False)
class Grids:
    """How bright the known video's cells are in a query, at its ticks."""

    levels: F64
    """Shape (m, 64): in deviations of the picture from its mean."""
    light: tuple[F64, F64]
    """What makes grey levels of those, second × level + first, at each tick; shape (m, 1) each."""
    seen: Bool | None = None
    """Shape (64,): the cells that count, where not all do."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ticks:
    """The known ticks of a stretch."""

    index: I64
    """Shape (t,): the query's ticks there."""
    known: F64
    """Shape (t, 64): the known levels."""
    seconds: F64
    """Shape (t,): times of the query."""
    step_seconds: float
    """Time of the query between two."""
    plain: bool
    """At the plain speed."""
    at: F64
    """Shape (t,): the query's ticks there, not rounded."""
    query_step_seconds: float


def _aligned(query: MotionProfile, known: MotionProfile, stretch: Stretch) -> _Ticks:
    """Return the known ticks of a stretch, but for those at either end, which may show what is before or after it."""
    assert known.levels is not None
    step, speed = known.step_seconds * known.fine_every, stretch.line.speed
    index, known_index, at = ticks_on(stretch.line, query, len(known.levels), step)
    inside = (at >= stretch.start_seconds + query.step_seconds) & (at < stretch.end_seconds - query.step_seconds)
    there = known.levels[known_index[inside]].astype(np.float64) * LEVEL_UNIT
    exactly = at[inside] / query.step_seconds
    return _Ticks(index[inside], there, at[inside], step / speed, speed == 1.0, exactly, query.step_seconds)


def _in_blocks(grids: Grids, ticks: _Ticks, most_apart: float) -> tuple[Bool, Bool, Bool]:
    """Return what `_differing` does for a stretch of any length."""
    differs, unlike = (np.zeros(ticks.known.shape, np.bool_) for _ in range(2))
    at_once = np.zeros(len(ticks.known), np.bool_)
    for first in range(0, len(at_once), TICKS_AT_ONCE):
        # the last block is as long as the others, if there are others
        some = slice(max(0, min(first, len(at_once) - TICKS_AT_ONCE)), first + TICKS_AT_ONCE)
        found = _differing(grids, ticks.index[some], ticks.known[some], most_apart)
        for whole, part in zip((differs, unlike, at_once), found, strict=True):
            whole[some] |= part
    return differs, unlike, at_once


def shown_whole(shown: Shown) -> Cells:
    """Return the known fine cells as the query's `pictures` make them up, those `whole` that it shows whole.

    Cells at an edge of the known picture that is in view are none: by a hundredth they are of what is around it. Nor
    are cells that are hardly larger than the query's own.
    """
    cells = shown.in_cells(FINE_GRID, PICTURE_ROWS, PICTURE_COLUMNS)
    fine_enough = shown.cell_area(FINE_GRID, PICTURE_ROWS, PICTURE_COLUMNS) >= LEAST_AREA
    return replace(cells, whole=cells.whole & ~shown.at_edge(FINE_GRID) & fine_enough)


def whole_grids(query: MotionProfile) -> Grids | None:
    """Return the cells of a whole picture at every tick; None where the query keeps no levels."""
    if query.levels is None or query.light is None:
        return None
    return Grids(query.levels.astype(np.float64, order="C") * LEVEL_UNIT, grey_scale(query.light))


def _around(index: I64, count: int) -> I64:
    """Return the ticks that are looked at around those of `index`, of `count`, and between them."""
    reach = LOOKED_AROUND + 1
    return np.unique(np.clip(index[:, None] + np.arange(-reach, reach + 1), 0, count - 1))


def placed_grids(query: MotionProfile, cells: Cells, there: F64, index: I64) -> Grids | None:
    """Return the known cells a query shows whole, as bright as the known levels (t, 64) at its ticks `index` are."""
    if query.pictures is None or int(cells.whole.sum()) < LEAST_CELLS:
        return None
    ticks = _around(index, len(query.pictures))
    grey = np.zeros((len(query.pictures), FINE_CELLS))
    grey[ticks] = query.pictures[ticks] @ (cells.weight.T / PICTURE_PARTS)
    mean = grey[:, cells.whole].mean(axis=1, keepdims=True)
    shown, known = (grey - mean)[index][:, cells.whole], there[:, cells.whole]
    spread = known.std(axis=1)
    telling = np.flatnonzero(spread >= LEAST_SPREAD)
    if len(telling) == 0:
        return None
    # what a deviation of the known picture is in grey levels, at each tick that tells it
    alone = np.maximum(shown.std(axis=1), LEAST_CONTRAST * spread)[telling] / spread[telling]
    fitted = relit(shown[telling] / alone[:, None], known[telling], np.ones(shown.shape[1], np.bool_))
    contrast = alone * fitted.std(axis=1) / spread[telling]
    # over some seconds, so that what lies over a flat part of the picture is not taken for a part of it
    around = np.pad(contrast, STEADY_TICKS, mode="edge")
    steady = np.median(np.lib.stride_tricks.sliding_window_view(around, 2 * STEADY_TICKS + 1), axis=1)
    scale = np.interp(np.arange(len(grey)), index[telling], steady)[:, None]
    return Grids((grey - mean) / scale, (mean, scale), cells.whole)


def _differing(grids: Grids, index: I64, known: F64, most_apart: float) -> tuple[Bool, Bool, Bool]:
    """Return which cells differ for a while from what stays, and which are not as bright, both (t, 64), and at which
    ticks another picture is shown, (t,).

    `index` (t,) are ticks of the query, `known` (t, 64) the known levels at those. None differs
    where the median difference of all is above `most_apart`.
    """
    around = np.arange(-LOOKED_AROUND, LOOKED_AROUND + 1)
    shown = grids.levels[np.clip(index[None] + around[:, None], 0, len(grids.levels) - 1)]
    mean, deviation = (side[index].ravel() for side in grids.light)
    seen = np.ones(known.shape[1], np.bool_) if grids.seen is None else grids.seen
    found: tuple[Bool, Bool, Bool] = compared(shown, mean, deviation, known, seen, most_apart)
    as_is = grids.seen is None and not found[0].any()
    if as_is and not found[2][[0, -1]].any():
        return found
    # borders may be found otherwise in the one picture than in the other, and placements are not exact
    laid: tuple[Bool, Bool, Bool] = compared(
        shown, mean, deviation, laid_over(shown[LOOKED_AROUND], known, seen), seen, most_apart
    )
    return (found[0], found[1], laid[2]) if as_is else laid
