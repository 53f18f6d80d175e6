"""Something that covers a part of known footage: new footage playing in a corner, a picture pasted in, a large sticker.

The local descriptors of two aligned pictures of the same footage find each other at the same places. Where something
covers the known picture they do not: descriptors of the query there are of something else, and those of the known
picture are gone. Such a hole is looked for as a spatial scan statistic (Kulldorff, "A spatial scan statistic", 1997):
over windows of the picture and runs of keyframes, the log likelihood ratio of fewer pairs inside than outside, by the
query's descriptors and by the known ones, of which the lesser counts. It needs no movement, so it finds what the
movement cannot tell: fixed cameras and still pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from videonovelty.matching.hole_kernels import (
    BINS,
    LEAST_ELSEWHERE,
    MOST_INSIDE,
    MOST_SETTLED,
    MOVING,
    deepest_holes,
    likelihood_ratio,
)
from videonovelty.matching.in_place import InPlace, InPlaces
from videonovelty.matching.stretch import Stretch, of_rest, runs
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, PANE_FULL, PART_COVERED, MotionProfile, Signatures
from videonovelty.settings import ProofSettings
from videonovelty.signatures.motion import FINE_GRID, LAG_SECONDS

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]

RUNS_COST = 1.3
"""A run of keyframes is one of many: it takes this much more evidence than the whole stretch…"""
OFF_COST = 1.5
"""…and this much where most of its keyframes are compared with a known one more than `in_place.OFF_SECONDS` off: what
moved in between finds nothing where it was."""
LEAST_SHOWN, SHOWN_OVERALL, SHOWN_EACH = 16.0, 0.6, 0.3
"""Where the query shows the known picture, so many descriptors and more are there, and they find known ones at this
share of the rate elsewhere: overall, and in each run of keyframes that has as many. A single one with half as many
finds some."""
LEAST_PANE_SIDE = 0.18
"""Share of width and height a pane must take: lettering and emblems are lower."""
LONGEST_PANE = 3.0
"""…and how many times the one share the other may be: lines of lettering reach across the picture."""
LEAST_AROUND_PANE = 0.15
"""Share of the query's descriptors around a pane that must find a known one."""
SAME_PANE = 0.05
"""Panes whose corners lie this close together are one."""
LONGEST_RUN = 64
RUNS_AT_ONCE = 256


def uncovered(
    places: InPlaces, stretch: Stretch, motion: MotionProfile, *, altered: Bool, proof: ProofSettings
) -> list[Stretch]:
    """Return a proven `stretch` without its proof where something covers a part of the picture.

    The covered run of keyframes becomes a stretch of its own; what is left before and after it keeps the proof where
    it is long enough. `motion` is that of the known video; where too few descriptors find each other, nothing can be
    said and the stretch stays as it is. `altered`, shape (n_keyframes,), marks keyframes whose whole picture is not
    quite the known one: only among those something is looked for.
    """
    compared = places.of(stretch) if stretch.proof.proven else None
    if compared is None:
        return [stretch]
    keyframes = Keyframes.of(compared, stretch, altered)
    covered = np.zeros(len(keyframes), np.bool_)
    for pane in covered_panes(compared, stretch, keyframes, motion, proof):
        covered[pane.first : pane.last] = True
    return list(_parts(stretch, keyframes, covered, motion, proof))


@dataclass(frozen=True, slots=True, eq=False)
class Keyframes:
    """Some keyframes of a stretch, one after the other, and which of their descriptors find each other."""

    counts: F32
    """Shape (4, b, BINS, BINS), as `InPlace.counts` returns them."""
    bounds: F64
    """Shape (b + 1,): keyframe i stands for the query's time from `bounds[i]` to `bounds[i + 1]`."""
    altered: Bool
    """Shape (b,): the whole picture is not quite the known one."""
    off: Bool
    """Shape (b,): it is compared with a known keyframe of another moment."""
    strange: Bool
    """Shape (b,): it shows something else as a whole, which is told already: what covers the others is told by them."""
    settled: Bool
    """Shape (BINS, BINS): where the picture is as bright as it is known."""

    @classmethod
    def of(cls, compared: InPlace, stretch: Stretch, altered: Bool, hidden: Bool | None = None) -> Keyframes:
        """Lay out the bearing keyframes of a stretch; `altered`, shape (n_keyframes,), is of all of the query's."""
        # a keyframe stands for what follows until the next one that carries descriptors
        bounds = np.clip(compared.query.start_seconds[compared.keyframes], stretch.start_seconds, stretch.end_seconds)
        bounds = np.concatenate([[stretch.start_seconds], bounds[1:], [stretch.end_seconds]])
        at, strange = compared.query.pts_seconds[compared.keyframes], np.zeros(len(compared.keyframes), np.bool_)
        for start, end in stretch.strangers:
            strange |= (at >= start - 1e-6) & (at < end)
        counts = compared.counts(hidden)
        return cls(counts, bounds, altered[compared.keyframes], compared.off, strange, compared.settled)

    def some(self, first: int, last: int) -> Keyframes:
        """Return the keyframes [first, last)."""
        cut = slice(first, last)
        bounds = self.bounds[first : last + 1]
        return Keyframes(self.counts[:, cut], bounds, self.altered[cut], self.off[cut], self.strange[cut], self.settled)

    def __len__(self) -> int:
        return len(self.altered)


@dataclass(frozen=True, slots=True)
class Hole:
    """A window of the known picture where descriptors do not find each other, in the keyframes [first, last)."""

    evidence: float
    """Log likelihood ratio; 0 where there is none."""
    first: int = 0
    last: int = 0
    window: tuple[int, int, int, int] = (0, 0, 0, 0)
    """First row and column and how many there are of both, of `BINS` each way."""


@dataclass(frozen=True, slots=True, eq=False)
class CoveredPane:
    """A pane in which the query's descriptors find no known ones, in the keyframes [first, last)."""

    first: int
    last: int
    box: F64
    """Left top and right bottom in shares of the query's width and height, shape (2, 2)."""


def covered_panes(
    compared: InPlace, stretch: Stretch, keyframes: Keyframes, motion: MotionProfile, proof: ProofSettings
) -> list[CoveredPane]:
    """Return the panes of a stretch that show something else than the known picture.

    A hole must stand out of all windows there are. Where the query's own keyframes share the borders of a rectangle,
    that says where to look, and its descriptors tell by themselves: over a sky or a wall the known picture has too few.
    """
    found = []
    for box, first_seconds, last_seconds in panes_within(compared.query, stretch):
        shorter, longer = sorted(box[1] - box[0])
        if shorter < LEAST_PANE_SIDE or longer > LONGEST_PANE * shorter:
            continue
        starts = keyframes.bounds[:-1]
        first = max(0, int(np.searchsorted(starts, first_seconds, side="right")) - 1)
        last = int(np.searchsorted(starts, last_seconds, side="right"))
        altered = keyframes.altered[first:last]
        if compared.settled_within(box) >= MOST_SETTLED:
            continue
        if 2 * int(altered.sum()) < len(altered):
            continue
        within, total = compared.found_within(box, slice(first, last))
        rest = total - within
        elsewhere = rest[1] / max(1, rest[0])
        if elsewhere < LEAST_AROUND_PANE or within[1] > MOST_INSIDE * elsewhere * within[0]:
            continue
        if likelihood_ratio(*map(float, (*within, *total))) >= proof.pane_evidence:
            moved = _known_movement(motion, stretch.line, float(keyframes.bounds[first]), float(keyframes.bounds[last]))
            if _moves_in(moved, compared, box) <= MOVING * moved.mean():
                found.append(CoveredPane(first, last, box))
    return found


def panes_within(query: Signatures, stretch: Stretch) -> list[tuple[F64, float, float]]:
    """Return the distinct panes of a stretch, with the times of the first and the last keyframe that has them."""
    panes, seconds = query.panes, query.pts_seconds[query.panes.keyframe]
    inside = (seconds >= stretch.start_seconds - 1e-6) & (seconds < stretch.end_seconds)
    found: list[tuple[F64, float, float]] = []
    for box, at in zip(panes.box[inside].reshape(-1, 2, 2) / PANE_FULL, seconds[inside], strict=True):
        for number, (other, first, _) in enumerate(found):
            if np.abs(box - other).max() <= SAME_PANE:
                found[number] = (other, first, float(at))
                break
        else:
            found.append((box, float(at), float(at)))
    return found


def _moves_in(moved: F64, compared: InPlace, box: F64) -> float:
    """Return how much of the known fine grid moves within a box of the query's picture."""
    shown = compared.shown(compared.known_centres(FINE_GRID))
    inside = ((shown >= box[0]) & (shown <= box[1])).all(axis=1)
    return float(moved.ravel()[inside].mean()) if inside.any() else 0.0


def shows_the_known(places: InPlaces, stretch: Stretch, box: tuple[float, float, float, float]) -> bool:
    """Return whether the query shows the known picture wherever it was found to move otherwise, all along.

    Hard coding, flicker and grain move by themselves. Where that is all, descriptors find the known ones there as they
    do elsewhere, keyframe after keyframe; over something else they do not. `box` is the known picture's, as
    `picture_box` returns it.
    """
    compared = places.of(stretch) if stretch.carried and stretch.otherwise else None
    if compared is None:
        return False
    counts = compared.counts_in(FINE_GRID, box)
    total = counts.sum(axis=(1, 2, 3))
    for top, left, height, width in stretch.otherwise:
        within = counts[:, :, top : top + height, left : left + width].sum(axis=(2, 3))
        there, found = within
        rest = total - within.sum(axis=1)
        elsewhere = rest[1] / max(1.0, rest[0])
        if elsewhere < LEAST_ELSEWHERE or there.sum() < LEAST_SHOWN:
            return False
        if found.sum() < SHOWN_OVERALL * elsewhere * there.sum() or ((found == 0) & (2 * there >= LEAST_SHOWN)).any():
            return False
        chunk = np.minimum((np.cumsum(there) / LEAST_SHOWN).astype(int), max(0, int(there.sum() / LEAST_SHOWN) - 1))
        parts = np.stack([np.bincount(chunk, weights=one) for one in (there, found)])
        if (parts[1] < SHOWN_EACH * elsewhere * parts[0]).any():
            return False
    return True


def needed_evidence(stretch: Stretch, proof: ProofSettings) -> float:
    """Return the evidence from which a hole takes a stretch its proof."""
    less = stretch.rests_on_placement or stretch.hardly_moves
    return proof.region_covered_evidence if less else proof.covered_evidence


def _cut(stretch: Stretch, keyframes: Keyframes, motion: MotionProfile, proof: ProofSettings) -> Iterator[Stretch]:
    """Yield the parts of a stretch in time order, the run with the deepest hole cut out, over and over."""
    hole = deepest_hole(stretch.line, keyframes, motion)
    if hole.evidence < needed_evidence(stretch, proof):
        yield stretch
        return
    covered = np.zeros(len(keyframes), np.bool_)
    covered[hole.first : hole.last] = True
    yield from _parts(stretch, keyframes, covered, motion, proof)


def _parts(
    stretch: Stretch, keyframes: Keyframes, covered: Bool, motion: MotionProfile, proof: ProofSettings
) -> Iterator[Stretch]:
    """Yield the parts of a stretch in time order: unproven where `covered`, shape (b,), the others cut further."""
    for first, last in pairwise([0, *(np.flatnonzero(np.diff(covered)) + 1), len(keyframes)]):
        start, end = float(keyframes.bounds[first]), float(keyframes.bounds[last])
        if end <= start:
            continue
        left = stretch.proof if last - first == len(keyframes) else of_rest(stretch.proof, end - start)
        if covered[first]:
            left = replace(stretch.proof, proven=False, why_not=PART_COVERED)
        part = replace(stretch, start_seconds=start, end_seconds=end, proof=left)
        if left.proven:
            yield from _cut(part, keyframes.some(first, last), motion, proof)
        else:
            yield part


def deepest_hole(line: Line, keyframes: Keyframes, motion: MotionProfile) -> Hole:
    """Return the deepest hole of any run of `keyframes` at least half of which are altered.

    What shows something else as a whole finds nothing anywhere: the others are looked at without it as well.
    """
    total, counts, bounds, off = len(keyframes), keyframes.counts, keyframes.bounds, keyframes.off
    summed = np.concatenate([np.zeros((4, 1, BINS, BINS), np.float32), np.cumsum(counts, axis=1)], axis=1)
    best = Hole(0.0)
    altered = keyframes.altered
    wholes = [(0, total), *((first, last + 1) for first, last in runs(~keyframes.strange))]
    every = dict.fromkeys([*wholes, *keyframe_runs(total)])
    tried = [(a, b) for a, b in every if 2 * altered[a:b].sum() >= b - a]
    for at in range(0, len(tried), RUNS_AT_ONCE):
        some = tried[at : at + RUNS_AT_ONCE]
        moved = [_known_movement(motion, line, float(bounds[first]), float(bounds[last])) for first, last in some]
        depth, where = deepest_holes(
            np.stack([summed[:, last] - summed[:, first] for first, last in some], axis=1),
            np.stack(moved),
            keyframes.settled.astype(np.float64),
        )
        depth /= [_cost(off[first:last], whole=(first, last) in wholes) for first, last in some]
        place = int(depth.argmax())
        if depth[place] > best.evidence:
            top, left, height, width = map(int, where[place])
            best = Hole(float(depth[place]), *some[place], (top, left, height, width))
    return best


def _cost(off: Bool, *, whole: bool) -> float:
    """Return how much more evidence than the whole stretch a run takes."""
    if whole:
        return 1.0
    return OFF_COST if 2 * int(off.sum()) > len(off) else RUNS_COST


def keyframe_runs(count: int) -> list[tuple[int, int]]:
    """Return the whole, and runs of 1, 2, 4, … keyframes, each half a length after the one before."""
    found = [(0, count)]
    length = 1
    while length < count and length <= LONGEST_RUN:
        found += [(first, first + length) for first in range(0, count - length + 1, max(1, length // 2))]
        length *= 2
    return found


def _known_movement(motion: MotionProfile, line: Line, start: float, end: float) -> F64:
    """Return the share of ticks at which each cell of the known fine grid changes, shape (FINE_GRID, FINE_GRID)."""
    step = motion.step_seconds * motion.fine_every
    at = line.known_seconds(np.array([start - LAG_SECONDS, end]))
    first, last = (max(0, int(seconds / step)) for seconds in at)
    changes = motion.fine[first : last + 1]
    if len(changes) == 0:
        return np.zeros((FINE_GRID, FINE_GRID))
    return np.asarray((changes != 0).mean(axis=0).reshape(FINE_GRID, FINE_GRID))
