"""Something that covers a part of known footage: new footage playing in a corner, a picture pasted in, a large sticker.

The local descriptors of two aligned pictures of the same footage find each other at the same places. Where something
covers the known picture they do not: descriptors of the query there are of something else, and those of the known
picture are gone. Such a hole is looked for as a spatial scan statistic (Kulldorff, "A spatial scan statistic", 1997):
over windows of the picture and runs of keyframes, the log likelihood ratio of fewer pairs inside than outside, by the
query's descriptors and by the known ones, of which the lesser counts. It needs no movement, so it finds what the
movement cannot tell: fixed cameras and still pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.geometry import GeometricMatch, words
from videonovelty.matching.hole_kernels import BINS, deepest_holes
from videonovelty.matching.local_evidence import LocalPair
from videonovelty.matching.pair_kernels import within_bits
from videonovelty.matching.shown import agreed_placement, placed
from videonovelty.matching.stretch import KnownSide, Stretch, of_rest
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, KNOWN_POINTS, PART_COVERED, U8, MotionProfile, Signatures
from videonovelty.settings import ProofSettings
from videonovelty.signatures.motion import FINE_GRID, LAG_SECONDS

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


SAME_BITS = 20
"""Bits by which descriptors at the same place may differ: in place, far fewer could be confused than in a search."""
SAME_PLACE = 0.03
"""…and how far apart they may lie, in shares of the known picture's longer side."""
FIRM_BITS = 12
"""Pairs this close refine the placement, …"""
REFINED_WITHIN = (0.05, 0.04, 0.03)
"""…if they lie this close together, in shares of the longer side, one after the other."""
NEAR_SECONDS = 1.0
"""Known moments this close to the aligned one are looked at as well."""
TRIED_KEYFRAMES = 12
"""Keyframes of a stretch, spread over it, whose geometry is verified: the placement is that of the whole stretch."""
MIN_INLIERS = 5
SURE_INLIERS = 20
"""A keyframe placed by as many needs no other known moment: the placement is refined on all of them afterwards."""
LEAST_PAIRS = 12
"""Pairs the affine map is fitted to at least."""
RUNS_COST = 1.3
"""A run of keyframes is one of many: it takes this much more evidence than the whole stretch…"""
OFF_COST = 1.5
"""…and this much where most of its keyframes are compared with a known one more than `OFF_SECONDS` off: what moved in
between finds nothing where it was."""
OFF_SECONDS = 0.2
LONGEST_RUN = 64
RUNS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Descriptors of aligned keyframes by their place in the known picture."""

    keyframes: I64
    """Shape (b,): the query's keyframes that carry descriptors."""
    counts: F32
    """Shape (4, b, BINS, BINS): the query's descriptors, those of them that find a known one, the known ones, and those
    of them that find one of the query's."""
    off: Bool
    """Shape (b,): the known keyframe compared with is more than `OFF_SECONDS` from the aligned moment."""


def uncovered(
    query: Signatures, stretch: Stretch, known: KnownSide, *, altered: Bool, aspect: float, proof: ProofSettings
) -> list[Stretch]:
    """Return a proven `stretch` without its proof where something covers a part of the picture.

    The covered run of keyframes becomes a stretch of its own; what is left before and after it keeps the proof where
    it is long enough. `known` must hold the local descriptors; without any, and where too few of them find each other,
    nothing can be said and the stretch stays as it is. `altered`, shape (n_keyframes,), marks keyframes whose whole
    picture is not quite the known one: only among those something is looked for.
    """
    if known.local is None or known.motion is None or not stretch.proof.proven:
        return [stretch]
    pair = LocalPair(query, known.local, stretch.mirrored, aspect)
    counted = _counted(pair, stretch)
    if counted is None:
        return [stretch]
    # a keyframe stands for what follows until the next one that carries descriptors
    bounds = np.clip(query.start_seconds[counted.keyframes], stretch.start_seconds, stretch.end_seconds)
    bounds = np.concatenate([[stretch.start_seconds], bounds[1:], [stretch.end_seconds]])
    return list(_cut(stretch, counted.counts, bounds, known.motion, altered[counted.keyframes], counted.off, proof))


def _cut(
    stretch: Stretch,
    counts: F32,
    bounds: F64,
    motion: MotionProfile,
    altered: Bool,
    off: Bool,
    proof: ProofSettings,
) -> Iterator[Stretch]:
    """Yield the parts of a stretch in time order, the run with the deepest hole cut out, over and over."""
    evidence, first, last = _deepest(stretch.line, counts, bounds, motion, altered, off)
    if evidence < (proof.region_covered_evidence if stretch.rests_on_placement else proof.covered_evidence):
        yield stretch
        return
    unproven = replace(stretch.proof, proven=False, why_not=PART_COVERED)
    for start, end in ((0, first), (first, last), (last, len(altered))):
        seconds = float(bounds[end] - bounds[start])
        if seconds <= 0:
            continue
        hole = (start, end) == (first, last)
        part = replace(
            stretch,
            start_seconds=float(bounds[start]),
            end_seconds=float(bounds[end]),
            proof=unproven if hole else of_rest(stretch.proof, seconds),
        )
        if part.proof.proven:
            cut = slice(start, end)
            yield from _cut(part, counts[:, cut], bounds[start : end + 1], motion, altered[cut], off[cut], proof)
        else:
            yield part


# ---------------------------------------------------------------------------------------------------------------------
# Which descriptors find each other


def _counted(pair: LocalPair, stretch: Stretch) -> _Counted | None:
    """Return the counts of a stretch; None where the geometry of no keyframe can be verified."""
    query = pair.query
    bearers = pair.bearers
    inside = (query.pts_seconds[bearers] >= stretch.start_seconds - 1e-6) & (
        query.pts_seconds[bearers] < stretch.end_seconds
    )
    # what stands when the stretch begins
    before = np.flatnonzero(query.pts_seconds[bearers] < stretch.start_seconds)
    if not inside.any() and len(before):
        inside[before[-1]] = True
    bearers = bearers[inside]
    if len(bearers) == 0:
        return None
    known_seconds = stretch.line.known_seconds(query.pts_seconds[bearers])
    places = [_nearest_first(pair, float(at)) for at in known_seconds]
    transform = _placement(pair, bearers, places)
    if transform is None:
        return None
    counts = np.zeros((4, len(bearers), BINS, BINS), np.float32)
    off = np.ones(len(bearers), np.bool_)
    known_xy = pair.known.features.xy / 65535.0
    low, high = known_xy.min(axis=0), np.maximum(known_xy.max(axis=0), known_xy.min(axis=0) + 1e-6)
    shown_low, shown_high = _extent(pair)
    inverse = np.linalg.inv(transform[:, :2])
    offsets = pair.known.features.offsets
    for row, (keyframe, near) in enumerate(zip(bearers, places, strict=True)):
        if not near:
            continue
        off[row] = abs(pair.known.seconds[near[0]] - known_seconds[row]) > OFF_SECONDS
        alike = _alike(pair, int(keyframe), near)
        ours = placed(alike.ours, transform)
        together = alike.within(ours, SAME_PLACE)
        found, met = np.zeros(len(ours), np.bool_), np.zeros(len(alike.theirs), np.bool_)
        found[alike.one[together]], met[alike.other[together]] = True, True
        mine = ((ours >= low) & (ours <= high)).all(axis=1)
        mine[KNOWN_POINTS:] = False  # the others have no counterpart among the fewer known ones, covered or not
        # of the known side, the keyframe nearest in time counts
        theirs = alike.theirs[: int(offsets[near[0] + 1] - offsets[near[0]])]
        back = (theirs - transform[:, 2]) @ inverse.T
        seen = ((back >= shown_low) & (back <= shown_high)).all(axis=1)
        for kind, (points, flags) in enumerate(
            ((ours, mine), (ours, mine & found), (theirs, seen), (theirs, seen & met[: len(theirs)]))
        ):
            cells = np.minimum(((points[flags] - low) / (high - low) * BINS).astype(np.int64), BINS - 1)
            np.add.at(counts[kind, row], (cells[:, 1], cells[:, 0]), 1.0)
    return _Counted(bearers, counts, off)


def _nearest_first(pair: LocalPair, seconds: float) -> list[int]:
    """Return the known keyframes to compare with what stands at a known time, the nearest in time first."""
    return sorted(
        pair.places_near(seconds, NEAR_SECONDS), key=lambda place: (abs(pair.known.seconds[place] - seconds), place)
    )


def _extent(pair: LocalPair) -> tuple[F64, F64]:
    """Return the corners of what the query's descriptors cover, in its own shares, negated where it is mirrored."""
    xy = _own_places(pair, slice(None))
    return xy.min(axis=0) - 0.01, xy.max(axis=0) + 0.01


def _own_places(pair: LocalPair, rows: slice) -> F64:
    xy = pair.query.local.xy[rows] / 65535.0
    if pair.mirrored:
        xy[:, 0] = -xy[:, 0]
    return xy


@dataclass(frozen=True, slots=True, eq=False)
class _Alike:
    """Places of a keyframe's descriptors (k, 2) and known ones (m, 2), and which pairs of them are alike."""

    ours: F64
    theirs: F64
    one: I64
    """Shape (p,): rows of `ours`…"""
    other: I64
    """…and of `theirs`, up to `SAME_BITS` apart."""
    bits: U8

    def within(self, places: F64, reach: float) -> Bool:
        """Return which pairs lie together when `ours` are at `places`; shape (p,)."""
        apart = np.abs(places[self.one] - self.theirs[self.other])
        return np.maximum(apart[:, 0], apart[:, 1]) <= reach


def _alike(pair: LocalPair, keyframe: int, places: Sequence[int]) -> _Alike:
    """Return the descriptors of a keyframe beside those of the known `places`, one place after the other."""
    local, features = pair.query.local, pair.known.features
    mine = slice(int(local.offsets[keyframe]), int(local.offsets[keyframe + 1]))
    theirs = np.concatenate([np.arange(features.offsets[p], features.offsets[p + 1]) for p in places])
    one, other, bits = within_bits(words(pair.query_codes[mine]), words(features.codes[theirs]), SAME_BITS)
    return _Alike(_own_places(pair, mine), features.xy[theirs] / 65535.0, one, other, bits)


def _placement(pair: LocalPair, bearers: I64, places: Sequence[Sequence[int]]) -> F64 | None:
    """Return where the query's picture lies in the known one, shape (2, 3), refined to an affine map."""
    picked = np.unique(np.linspace(0, len(bearers) - 1, TRIED_KEYFRAMES).astype(int))
    matches: list[GeometricMatch] = []
    for row in picked:
        for place in places[row]:
            match = pair.match(int(bearers[row]), place)
            if match is not None and match.inliers >= MIN_INLIERS:
                matches.append(match)
                if match.inliers >= SURE_INLIERS:
                    break
    if not matches:
        return None
    transform = agreed_placement(matches, pair.aspect, mirrored=pair.mirrored)
    compared = [_alike(pair, int(bearers[row]), places[row]) for row in picked if places[row]]
    for reach in REFINED_WITHIN:
        ours, theirs = [], []
        for alike in compared:
            near = np.flatnonzero(alike.within(placed(alike.ours, transform), reach) & (alike.bits <= FIRM_BITS))
            near = near[np.argsort(alike.bits[near], kind="stable")]
            best = near[np.unique(alike.one[near], return_index=True)[1]]  # the most alike of each of ours
            ours.append(alike.ours[alike.one[best]])
            theirs.append(alike.theirs[alike.other[best]])
        one, other = np.concatenate(ours), np.concatenate(theirs)
        if len(one) < LEAST_PAIRS:
            break
        transform = np.asarray(
            np.linalg.lstsq(np.column_stack((one, np.ones(len(one)))), other, rcond=None)[0].T, np.float64
        )
    return transform


# ---------------------------------------------------------------------------------------------------------------------
# Where they do not


def _deepest(
    line: Line, counts: F32, bounds: F64, motion: MotionProfile, altered: Bool, off: Bool
) -> tuple[float, int, int]:
    """Return the evidence of the deepest hole and its run of bearing keyframes [first, last).

    Only runs at least half of whose keyframes are `altered` (b,) are looked at; keyframe i stands for the query's time
    from `bounds[i]` to `bounds[i + 1]`.
    """
    total = len(altered)
    summed = np.concatenate([np.zeros((4, 1, BINS, BINS), np.float32), np.cumsum(counts, axis=1)], axis=1)
    best = (0.0, 0, 0)
    runs = [(first, last) for first, last in _runs(total) if 2 * altered[first:last].sum() >= last - first]
    for at in range(0, len(runs), RUNS_AT_ONCE):
        some = runs[at : at + RUNS_AT_ONCE]
        moved = [_known_movement(motion, line, float(bounds[first]), float(bounds[last])) for first, last in some]
        depth = deepest_holes(
            np.stack([summed[:, last] - summed[:, first] for first, last in some], axis=1), np.stack(moved)
        )
        depth /= [_cost(off[first:last], whole=last - first == total) for first, last in some]
        place = int(depth.argmax())
        if depth[place] > best[0]:
            best = (float(depth[place]), *some[place])
    return best


def _cost(off: Bool, *, whole: bool) -> float:
    """Return how much more evidence than the whole stretch a run takes."""
    if whole:
        return 1.0
    return OFF_COST if 2 * int(off.sum()) > len(off) else RUNS_COST


def _runs(count: int) -> list[tuple[int, int]]:
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
