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

from videonovelty.matching.proof import ticks_on
from videonovelty.matching.stretch import Cover, Stretch, part_of, runs
from videonovelty.records import F64, PART_MOVES, MotionProfile
from videonovelty.signatures.motion import FINE_GRID, LEVEL_UNIT, grey_scale, unturned

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

DIFFERENT = 0.25
"""Deviations of the picture beyond what is excused by which a cell differs…"""
LEAST_TICKS, OF_TICKS = 3, 5
"""…at so many of so many known ticks one after the other: two seconds of it, and not a cut that is out of step."""
ALIKE = 0.15
"""Deviations of the picture within which all cells are of pictures over which nothing lies."""
OUT_OF_PLACE = 0.15
"""Share of a cell by which the pictures may lie apart: what differs from the cells around it may differ by as much of
that difference."""
OUT_OF_TIME = 1
"""Ticks of the query by which it may be out of time: any level it has within them may be the one of the moment."""
SAME_LEVEL = 0.1
"""Deviations of the picture by which levels may differ: coding, noise and rounding."""
LOOKED_AROUND = 2
"""Ticks of the query before and after the aligned one, of which the one that agrees best is compared."""
AGREEING = 0.65
"""Share of the cells the contrast is fitted to: those that agree best."""
FITS = 4
STEADY = 0.1
"""Variance that pulls the fitted contrast towards that of the known picture: cells that agree may all be black."""
CONTRASTS = (0.3, 3.0)
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""How much of a cell still things may leave of the known picture: what one of them explains does not play."""
MOST_APART = 0.12
"""Median difference of all cells, in deviations, above which pictures with borders do not lie over each other at all:
the profile may not know of borders that are a blurred copy. Then nothing can be said of a part."""
TICKS_LAID, LAID_ROUNDS, LARGEST_MOVE, RELUCTANCE = 10, 3, 1.2, 0.001
"""Known ticks that are laid over the query's at once, and how often; by how many cells at most, and how reluctantly."""
LONGEST_GAP_SECONDS = 3.0
"""What plays about is in no cell for long: between two moments no farther apart than this it is taken to be there."""
TICKS_AT_ONCE = 150
"""A minute of known ticks: what stays as it is for that long is taken off."""
_ACROSS = np.arange(FINE_GRID * FINE_GRID) % FINE_GRID / (0.5 * (FINE_GRID - 1)) - 1.0
_DOWN = np.arange(FINE_GRID * FINE_GRID) // FINE_GRID / (0.5 * (FINE_GRID - 1)) - 1.0
PLACES = np.stack([np.ones_like(_ACROSS), _ACROSS, _DOWN], axis=1)
"""Shape (64, 3): 1 and where each cell lies, −1 … 1 to the right and down."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """How bright the cells of two whole pictures are, beside each other, at the known ticks of a stretch."""

    seconds: F64
    """Shape (t,): times of the query."""
    step_seconds: float
    """Time of the query between two ticks."""
    differs: Bool
    """Shape (t, 64): cells in which something plays over the known picture."""
    alike: Bool
    """Shape (t,): every cell is as bright as the known one, with nothing excused but what is out of time."""

    @classmethod
    def of(
        cls, query: MotionProfile, known: MotionProfile, stretch: Stretch, *, bordered: bool = False
    ) -> Levels | None:
        """Lay out the levels of a stretch of whole pictures; None where they have no levels.

        `query` is turned as the stretch's line says; `bordered`: its keyframes have borders, which the profile may not
        know of.
        """
        if query.levels is None or query.light is None or known.levels is None:
            return None
        step = known.step_seconds * known.fine_every
        index, known_index, at = ticks_on(stretch.line, query, len(known.levels), step)
        # what a tick at either end shows may be the picture before or after the stretch
        inside = (at >= stretch.start_seconds + query.step_seconds) & (at < stretch.end_seconds - query.step_seconds)
        index, known_index, at = index[inside], known_index[inside], at[inside]
        differs, unlike = (np.zeros((len(at), query.levels.shape[1]), np.bool_) for _ in range(2))
        for first in range(0, len(at), TICKS_AT_ONCE):
            # the last block is as long as the others, if there are others
            some = slice(max(0, min(first, len(at) - TICKS_AT_ONCE)), first + TICKS_AT_ONCE)
            there = known.levels[known_index[some]].astype(np.float64) * LEVEL_UNIT
            found = _differing(query, index[some], there, MOST_APART if bordered else np.inf)
            for whole, part in zip((differs, unlike), found, strict=True):
                whole[some] |= part
        return cls(at, step / stretch.line.speed, differs, np.asarray(~unlike.any(axis=1)))

    def agree(self, stretch: Stretch) -> bool:
        """Return whether the whole picture is as bright as the known one throughout a stretch of the same line."""
        inside = (self.seconds >= stretch.start_seconds) & (self.seconds < stretch.end_seconds)
        return int(inside.sum()) >= OF_TICKS and bool(self.alike[inside].all())

    def parts(self, stretch: Stretch) -> list[Stretch]:
        """Return a proven stretch in parts, those unproven in which something plays over the picture."""
        parts: list[Stretch] = []
        at = stretch.start_seconds
        for first, last in self._played_over():
            # it begins after the tick before, and where it begins it may be excused as what is out of time
            begins, ends = max(at, first - self.step_seconds), min(stretch.end_seconds, last + self.step_seconds)
            parts.append(part_of(stretch, at, begins))
            unproven = replace(stretch.proof, proven=False, why_not=PART_MOVES)
            part = replace(stretch, start_seconds=begins, end_seconds=ends, proof=unproven, carried=False)
            parts.append(replace(part, cover=Cover(self._box(first, last, stretch.line.variant), still=False)))
            at = ends
        parts.append(part_of(stretch, at, stretch.end_seconds))
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

    def _box(self, first: float, last: float, variant: int) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of what differs at some ticks, in shares of the query's picture."""
        inside = (self.seconds >= first) & (self.seconds <= last)
        cells = unturned(np.asarray(self.differs[inside].any(axis=0)), variant).reshape(FINE_GRID, FINE_GRID)
        rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
        left, top, right, bottom = map(int, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        return left / FINE_GRID, top / FINE_GRID, right / FINE_GRID, bottom / FINE_GRID


def _differing(query: MotionProfile, index: I64, known: F64, most_apart: float) -> tuple[Bool, Bool]:
    """Return which cells differ for a while from what stays, and which are not as bright, both (t, 64).

    `index` (t,) are ticks of the query, `known` (t, 64) the known levels at those. None differs where the median
    difference of all is above `most_apart`.
    """
    assert query.levels is not None and query.light is not None
    around = np.arange(-LOOKED_AROUND, LOOKED_AROUND + 1)
    at = np.clip(index[None] + around[:, None], 0, len(query.levels) - 1)
    shown = query.levels[at].astype(np.float64) * LEVEL_UNIT
    light = grey_scale(query.light[index])
    found = _beyond(shown, light, known, most_apart)
    if not found[0].any():
        return found
    # borders may be found otherwise in the one picture than in the other
    return _beyond(shown, light, _laid_over(shown[LOOKED_AROUND], known), most_apart)


def _beyond(shown: F64, light: tuple[F64, F64], known: F64, most_apart: float) -> tuple[Bool, Bool]:
    """Return what `_differing` does, of the levels `shown` at the ticks around each, shape (5, t, 64).

    `light` is what makes grey levels of those of the query.
    """
    cells = known.shape[1]
    fitted = relit(shown.reshape(-1, cells), np.tile(known, (len(shown), 1))).reshape(shown.shape)
    agreeing = int(np.ceil(AGREEING * cells))
    apart = np.sort(np.abs(shown - fitted), axis=2)[:, :, :agreeing].sum(axis=2)
    # the aligned tick itself, unless another one is clearly better
    apart[np.arange(len(shown)) != LOOKED_AROUND] += 0.5 * LEVEL_UNIT
    best, row = apart.argmin(axis=0), np.arange(len(known))
    expected = fitted[best, row]
    near = shown[np.clip(best + np.arange(-OUT_OF_TIME, OUT_OF_TIME + 1)[:, None], 0, len(shown) - 1), row]

    def beyond(due: F64) -> F64:
        return np.asarray(np.maximum(near.min(axis=0) - due, due - near.max(axis=0)))

    unlike = _lasting(beyond(expected) > ALIKE)
    if np.median(np.abs(shown[best, row] - expected)) > most_apart:
        return np.zeros(known.shape, np.bool_), unlike
    excused = OUT_OF_PLACE * _contrast_around(expected) + SAME_LEVEL + DIFFERENT
    # a still thing is as bright as it is in grey levels, and leaves a share of what the known picture does in its cell
    mean, deviation = light
    grey, due = (side * deviation + mean for side in (shown[best, row], expected))
    tried = []
    for share in SHARES:
        stays = share * due + np.median(grey - share * due, axis=0)
        tried.append(_lasting(beyond((stays - mean) / deviation) >= excused))
    # of a cell that one share explains throughout nothing is said
    found = tried[0] & np.all([some.any(axis=0) for some in tried], axis=0)
    # what plays most of the time would be taken for what stays, and what is without it for what differs
    return found | (_lasting(beyond(expected) >= excused) & found.any(axis=0)), unlike


def _laid_over(shown: F64, known: F64) -> F64:
    """Return the known levels moved, stretched and turned by what lays them best over those shown, both (t, 64).

    Some ticks at a time, for pictures may move or grow slowly (Lucas & Kanade, "An iterative image registration
    technique", IJCAI 1981; Geman and McClure's weights leave out what plays over the picture).
    """
    moved = known.copy()
    for first in range(0, len(known), TICKS_LAID):
        some = slice(max(0, min(first, len(known) - TICKS_LAID)), first + TICKS_LAID)
        move, laid = np.zeros(6), known[some]
        places = np.tile(PLACES, (len(laid), 1))
        for _ in range(LAID_ROUNDS):
            fitted = relit(shown[some], laid)
            apart = (shown[some] - fitted).ravel()
            down, right = (
                slope.reshape(-1) for slope in np.gradient(fitted.reshape(-1, FINE_GRID, FINE_GRID), axis=(1, 2))
            )
            slopes = np.hstack([right[:, None] * places, down[:, None] * places])
            weight = 1.0 / (1.0 + (apart / SAME_LEVEL) ** 2) ** 2
            weighted = slopes * weight[:, None]
            move = move + np.linalg.solve(weighted.T @ slopes + RELUCTANCE * len(apart) * np.eye(6), weighted.T @ apart)
            move = np.clip(move, -LARGEST_MOVE, LARGEST_MOVE)
            laid = known[some] @ _resampled(PLACES @ move[:3], PLACES @ move[3:]).T
        moved[some] = laid
    return moved


def _resampled(right: F64, down: F64) -> F64:
    """Return how much each cell takes of the others when it looks so many cells away, shape (64, 64)."""
    cells = np.arange(FINE_GRID * FINE_GRID)
    taken = np.ones((len(cells), len(cells)))
    for at, moves in ((cells // FINE_GRID, down), (cells % FINE_GRID, right)):
        taken *= np.maximum(0.0, 1.0 - np.abs(np.clip(at + moves, 0, FINE_GRID - 1)[:, None] - at[None, :]))
    return taken


def relit(shown: F64, known: F64) -> F64:
    """Return the known levels in the contrast and brightness of those that are shown, both (t, cells), tick by tick."""
    weight = np.ones(shown.shape)
    fitted = known
    for number in range(FITS):
        if number:
            apart = np.abs(shown - fitted)
            weight = (apart <= np.quantile(apart, AGREEING, axis=1, keepdims=True)).astype(np.float64)
        total = weight.sum(axis=1, keepdims=True)
        one, other = (side - (weight * side).sum(axis=1, keepdims=True) / total for side in (shown, known))
        variance = (weight * other**2).sum(axis=1, keepdims=True) / total
        contrast = np.clip(
            ((weight * one * other).sum(axis=1, keepdims=True) / total + STEADY) / (variance + STEADY), *CONTRASTS
        )
        fitted = shown - one + contrast * other
    return fitted


def _contrast_around(levels: F64) -> F64:
    """Return the largest difference of each cell from one of the eight around it, shape (t, 64)."""
    grid = levels.reshape(-1, FINE_GRID, FINE_GRID)
    wider = np.pad(grid, ((0, 0), (1, 1), (1, 1)), mode="edge")
    moved = [
        np.abs(wider[:, 1 + down : 1 + down + FINE_GRID, 1 + right : 1 + right + FINE_GRID] - grid)
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    ]
    return np.asarray(np.max(moved, axis=0).reshape(levels.shape))


def _lasting(differs: Bool) -> Bool:
    """Return where cells differ at enough of the ticks around, shape (t, cells)."""
    half = OF_TICKS // 2
    counted = np.pad(differs.astype(np.int64), ((half, half), (0, 0)))
    within = np.lib.stride_tricks.sliding_window_view(counted, OF_TICKS, axis=0).sum(axis=-1)
    return np.asarray(within >= LEAST_TICKS)
