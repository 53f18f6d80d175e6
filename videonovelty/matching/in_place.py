"""Which local descriptors of two aligned videos find each other where one picture lies in the other.

In place far fewer descriptors could be confused than in a search, so they may differ by more bits, and one that finds
nothing says something: what it is of is not there on the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from videonovelty.matching.geometry import GeometricMatch, as_shares, words
from videonovelty.matching.hole_kernels import BINS
from videonovelty.matching.local_evidence import LocalPair, rows_of
from videonovelty.matching.pair_kernels import lie_together, within_bits
from videonovelty.matching.shown import agreed_placement, placed, sides
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, KNOWN_POINTS, U8, Signatures

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

SAME_BITS = 20
"""Bits by which descriptors at the same place may differ."""
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
OFF_SECONDS = 0.2
SAME_SIZE = 0.04
"""By how much a picture may be larger or smaller that is shown whole…"""
BEYOND_EDGE = 0.05
"""…and how far what the known descriptors cover may reach beyond its edges."""


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Descriptors of one keyframe."""

    known: F64
    """Shape (k, 2): places in the known picture, in shares of its longer side."""
    shown: F64
    """Shape (k, 2): places in the query's picture, in shares of its width and height."""
    found: Bool
    """Shape (k,): those that find one of the other side."""


@dataclass(frozen=True, slots=True, eq=False)
class InPlace:
    """Descriptors of the aligned keyframes of a stretch, where they lie in the known picture."""

    query: Signatures
    keyframes: I64
    """Shape (b,): the query's keyframes that carry descriptors."""
    off: Bool
    """Shape (b,): the known keyframe compared with is more than `OFF_SECONDS` from the aligned moment."""
    placement: F64
    """Shape (2, 3): the query's places to known ones, both in shares of the longer side."""
    low: F64
    """Left and top of what the known descriptors cover…"""
    high: F64
    """…and its right and bottom."""
    ours: tuple[_Side, ...]
    """The query's descriptors that may have a counterpart, a keyframe after the other…"""
    theirs: tuple[_Side, ...]
    """…and the known ones the query shows."""
    aspect: float
    mirrored: bool
    settled: Bool = field(default_factory=lambda: np.zeros((BINS, BINS), np.bool_))
    """Shape (BINS, BINS), over what the known descriptors cover: where the picture is as bright as it is known."""

    @property
    def shows_all(self) -> bool:
        """The query shows the whole known picture in its size, neither cropped nor inside of something else."""
        sizes = np.linalg.svd(self.placement[:, :2], compute_uv=False)
        corners = self.shown(np.stack([self.low, self.high]))
        within = (corners >= -BEYOND_EDGE) & (corners <= 1.0 + BEYOND_EDGE)
        return bool(np.abs(sizes - 1.0).max() <= SAME_SIZE and within.all())

    def with_settled(self, settled: Bool, box: tuple[float, float, float, float]) -> InPlace:
        """Return the same, with cells of the known picture that are as bright as they are known: nothing covers those.

        `settled` has shape (grid²,); `box` is the known picture's, as `picture_box` returns it.
        """
        grid = round(len(settled) ** 0.5)
        known = self.known_centres(BINS)
        rows, columns = cells_at((known - np.array(box[:2])) / (np.array(box[2:]) - np.array(box[:2])), grid, grid)
        return replace(self, settled=settled[rows * grid + columns].reshape(BINS, BINS))

    def counts(self, hidden: Bool | None = None) -> F32:
        """Return descriptors by their place in the known picture, shape (4, b, BINS, BINS).

        The query's, those of them that find a known one, the known ones, and those of them that find one of the
        query's; none in cells of the query's picture that are `hidden`, shape (rows, columns).
        """
        counts = np.zeros((4, len(self.keyframes), BINS, BINS), np.float32)
        for kind, by_keyframe in ((0, self.ours), (2, self.theirs)):
            for row, side in enumerate(by_keyframe):
                kept = (
                    np.ones(len(side.found), np.bool_)
                    if hidden is None
                    else ~hidden[cells_at(side.shown, *hidden.shape)]
                )
                for found, flags in ((0, kept), (1, kept & side.found)):
                    shares = (side.known[flags] - self.low) / (self.high - self.low)
                    np.add.at(counts[kind + found, row], cells_at(shares, BINS, BINS), 1.0)
        return counts

    def counts_in(self, grid: int, box: tuple[float, float, float, float]) -> F64:
        """Return the query's descriptors by cell of a grid over a box of the known picture, shape (2, b, grid, grid).

        Those there are, and those of them that find a known one.
        """
        low, high = np.array(box[:2]), np.array(box[2:])
        counts = np.zeros((2, len(self.keyframes), grid, grid))
        for row, side in enumerate(self.ours):
            rows, columns = cells_at((side.known - low) / (high - low), grid, grid)
            np.add.at(counts[0, row], (rows, columns), 1.0)
            np.add.at(counts[1, row], (rows[side.found], columns[side.found]), 1.0)
        return counts

    def found_within(self, box: F64, rows: slice) -> tuple[I64, I64]:
        """Return how many of the query's descriptors there are, and find a known one; within a box, and in all.

        `box` is left top and right bottom in shares of the query's width and height; `rows` are keyframes. Both have
        shape (2,): there are, find one.
        """
        within, total = np.zeros(2, np.int64), np.zeros(2, np.int64)
        for side in self.ours[rows]:
            inside = lie_within(side.shown, box[0], box[1])
            within += (int(inside.sum()), int((inside & side.found).sum()))
            total += (len(inside), int(side.found.sum()))
        return within, total

    def known_centres(self, grid: int) -> F64:
        """Return the middles of `grid` × `grid` cells over what the known descriptors cover, row by row: (grid², 2)."""
        at = (np.arange(grid) + 0.5) / grid
        places = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
        return np.asarray(self.low + places * (self.high - self.low))

    def settled_within(self, box: F64) -> float:
        """Return which share of what is known within a box of the query, left top and right bottom, is settled."""
        shown = self.shown(self.known_centres(BINS))
        inside = lie_within(shown, box[0], box[1])
        return float(self.settled.ravel()[inside].mean()) if inside.any() else 0.0

    def shown(self, known: F64) -> F64:
        """Return where known places (n, 2) lie in the query's picture, in shares of its width and height."""
        return shown_at(known, self.placement, self.aspect, mirrored=self.mirrored)


def shown_at(known: F64, placement: F64, aspect: float, *, mirrored: bool) -> F64:
    """Return where a placement shows known places (n, 2) in a picture, in shares of its width and height."""
    return of_picture(_back(known, placement), aspect, mirrored=mirrored)


def _back(known: F64, placement: F64) -> F64:
    """Return which of the query's places a placement puts at known places (n, 2)."""
    return (known - placement[:, 2]) @ np.linalg.inv(placement[:, :2]).T


def of_picture(places: F64, aspect: float, *, mirrored: bool) -> F64:
    """Return places in shares of the longer side, negated where mirrored, as shares of width and height."""
    found = places / sides(aspect)
    if mirrored:
        found[:, 0] = -found[:, 0]
    return found


def cells_at(shares: F64, rows: int, columns: int) -> tuple[I64, I64]:
    """Return row and column of the cells at places (n, 2) in shares of width and height, those beyond at the edge."""
    row = np.clip((shares[:, 1] * rows).astype(np.int64), 0, rows - 1)
    column = np.clip((shares[:, 0] * columns).astype(np.int64), 0, columns - 1)
    return row, column


class InPlaces:
    """The descriptors of one query and one known video in place, worked out once a stretch."""

    def __init__(self, pair: LocalPair, but: Callable[[InPlace, Stretch], InPlace] = lambda found, _: found) -> None:
        self._pair = pair
        self._but = but
        self._found: dict[tuple[Line, float, float], InPlace | None] = {}

    def of(self, stretch: Stretch) -> InPlace | None:
        """Return the descriptors of a stretch in place; None where the geometry of no keyframe can be verified."""
        key = (stretch.line, stretch.start_seconds, stretch.end_seconds)
        if key not in self._found:
            found = _in_place(self._pair, stretch)
            self._found[key] = None if found is None else self._but(found, stretch)
        return self._found[key]


def _in_place(pair: LocalPair, stretch: Stretch) -> InPlace | None:
    query = pair.query
    bearers = pair.standing_within(stretch.start_seconds, stretch.end_seconds)
    if len(bearers) == 0:
        return None
    known_seconds = stretch.line.known_seconds(query.pts_seconds[bearers])
    places = [nearest_first(pair, float(at)) for at in known_seconds]
    compared = cache(lambda row: alike_at(pair, int(bearers[row]), places[row]))
    transform = placement_of(pair, bearers, places, compared)
    if transform is None:
        return None
    off = np.ones(len(bearers), np.bool_)
    low, high = known_sides(pair)
    shown_low, shown_high = _extent(pair)
    offsets = pair.known.features.offsets
    none = _Side(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, np.bool_))
    one_side, other_side = [none] * len(bearers), [none] * len(bearers)
    for row, near in enumerate(places):
        if not near:
            continue
        alike = compared(row)
        off[row] = abs(pair.known.seconds[near[0]] - known_seconds[row]) > OFF_SECONDS
        ours = placed(alike.ours, transform)
        together = alike.within(ours, SAME_PLACE)
        found, met = np.zeros(len(ours), np.bool_), np.zeros(len(alike.theirs), np.bool_)
        found[alike.one[together]], met[alike.other[together]] = True, True
        mine = lie_within(ours, low, high)
        mine[KNOWN_POINTS:] = False  # the others have no counterpart among the fewer known ones, covered or not
        # of the known side, the keyframe nearest in time counts
        theirs = alike.theirs[: int(offsets[near[0] + 1] - offsets[near[0]])]
        back = _back(theirs, transform)
        seen = lie_within(back, shown_low, shown_high)
        shown = [of_picture(at, pair.aspect, mirrored=pair.mirrored) for at in (alike.ours, back)]
        one_side[row] = _Side(ours[mine], shown[0][mine], found[mine])
        other_side[row] = _Side(theirs[seen], shown[1][seen], met[: len(theirs)][seen])
    return InPlace(
        query, bearers, off, transform, low, high, tuple(one_side), tuple(other_side), pair.aspect, pair.mirrored
    )


def nearest_first(pair: LocalPair, seconds: float) -> list[int]:
    """Return the known keyframes to compare with what stands at a known time, the nearest in time first."""
    return sorted(
        pair.places_near(seconds, NEAR_SECONDS), key=lambda place: (abs(pair.known.seconds[place] - seconds), place)
    )


def known_sides(pair: LocalPair) -> tuple[F64, F64]:
    """Return left and top, and right and bottom, of what the known descriptors cover, in shares of its longer side."""
    xy = as_shares(pair.known.features.xy)
    low: F64 = xy.min(axis=0)
    return low, np.asarray(np.maximum(xy.max(axis=0), low + 1e-6))


def lie_within(places: F64, low: F64, high: F64) -> Bool:
    """Return which places (n, 2) lie within a left top and a right bottom corner."""
    return np.asarray(((places >= low) & (places <= high)).all(axis=1))


def _extent(pair: LocalPair) -> tuple[F64, F64]:
    """Return the corners of what the query's descriptors cover, in its own shares, negated where it is mirrored."""
    xy = as_shares(pair.query.local.xy, mirrored=pair.mirrored)
    return xy.min(axis=0) - 0.01, xy.max(axis=0) + 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
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
        found: Bool = lie_together(places, self.theirs, self.one, self.other, reach)
        return found


def alike_at(pair: LocalPair, keyframe: int, places: Sequence[int]) -> Alike:
    """Return the descriptors of a keyframe beside those of the known `places`, one place after the other."""
    local, features = pair.query.local, pair.known.features
    mine = rows_of(local, keyframe)
    theirs = np.concatenate([np.arange(features.offsets[p], features.offsets[p + 1]) for p in places])
    one, other, bits = within_bits(words(pair.query_codes[mine]), words(features.codes[theirs]), SAME_BITS)
    ours = as_shares(local.xy[mine], mirrored=pair.mirrored)
    return Alike(ours, as_shares(features.xy[theirs]), one, other, bits)


def placement_of(
    pair: LocalPair, bearers: I64, places: Sequence[Sequence[int]], compared: Callable[[int], Alike]
) -> F64 | None:
    """Return where the query's picture lies in the known one, shape (2, 3), refined to an affine map.

    `compared` returns the descriptors of a row of `bearers` beside those of its `places`.
    """
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
    for reach in REFINED_WITHIN:
        ours, theirs = [], []
        for alike in (compared(int(row)) for row in picked if places[row]):
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
