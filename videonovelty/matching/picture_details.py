"""Do the details agree in the very pictures that the known video has described, everywhere in them and moving or not?

A face put in another's place, or what is drawn over somebody, lies in the known light, moves as the known one does, and
takes a small part of the picture: hashes, movement and levels agree, and where much moves nobody asks what is missing
(`covered`). But where the known video has described the very picture that is shown, the descriptors of a copy find
theirs in what moves, too. So those of such pictures are counted over the picture, and a window is sought in which far
fewer find theirs than their strength makes likely: a spatial scan statistic (Kulldorff, "A spatial scan statistic",
1997; Poisson model, adjusted for what is expected). And of all of them more must find theirs than where other moments
are compared (`details`): there a little of the known picture, seen beneath something else, will do.

Only the query's count, for something else has details of its own. What stays where it is all along, lettering or a
channel logo, is left to `covered` and `still`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from videonovelty.matching.covered import RUNS_AT_ONCE, keyframe_runs
from videonovelty.matching.details import LEAST_DESCRIPTORS
from videonovelty.matching.geometry import as_shares, words
from videonovelty.matching.hole_kernels import BINS, LEAST_IN_HALF, MOST_SEEN, deepest_lacks
from videonovelty.matching.in_place import (
    SAME_PLACE,
    alike_at,
    cells_at,
    known_sides,
    lie_within,
    placement_of,
    shown_at,
)
from videonovelty.matching.local_evidence import LocalPair, LocalPairs, rows_of
from videonovelty.matching.pair_kernels import lie_together, within_bits
from videonovelty.matching.shown import placed
from videonovelty.matching.stretch import Cover, Stretch, outside, part_of, runs
from videonovelty.records import F64, KNOWN_POINTS, OTHER_DETAILS, PART_DETAILS, Signatures
from videonovelty.settings import ProofSettings

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

THE_PICTURE_SECONDS = 0.05
"""A known keyframe this close to the aligned moment shows the very picture: it is a frame off at most."""
RANKS, SIZES = 5, 3
"""Weak descriptors are lost more easily, and they stand in the order of their strength; small ones are, too. So each
fifth of the ones and third of the others has a rate of its own…"""
BORROWED = 3.0
"""…to which the rate of all is added as if of so many more."""
MOST_LIKELY = 0.98
RUN_COSTS = 1.3
"""A run of pictures is one of many: it takes this much more evidence than all of a stretch."""
STAYS_BITS, STAYS_PLACE = 16, 0.01
"""A descriptor stays where one so close to it, in shares of the longer side, lies in half…"""
STAYS_LOOKED, STAYS_SECONDS = 6, 0.45
"""…of so many other keyframes of the stretch, at least so far from its own."""
A_FEW, FEW_LEAST = 3, 0.8
"""So many pictures in a row are as all of a stretch, from this share of what that needs on: fewer vary more."""
MOST_TOLD = 0.25
"""Where more than this share of a stretch shows other details, all of it is in doubt."""


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A keyframe of the query of which the known video has described the very picture, and its descriptors."""

    keyframe: int
    start_seconds: float
    """Where the query no longer shows the picture before it for certain…"""
    end_seconds: float
    """…and where it shows the next one."""
    rows: I64
    """Shape (k,): the descriptors that have a known counterpart in a copy, among all of the keyframe's."""
    kinds: I64
    """Shape (k,): how strong and large each is, 0 … RANKS * SIZES - 1."""
    cells: tuple[I64, I64]
    """Their places in the known picture: rows and columns of `BINS` each way."""
    found: Bool
    """Shape (k,): those that find theirs."""

    def but(self, staying: Bool) -> _Picture:
        """Return the same with what stays, shape (all of the keyframe's,), counted as found."""
        return replace(self, found=self.found | staying[self.rows])


@dataclass(frozen=True, slots=True)
class _Lack:
    """A window of the known picture in which details are lacking, in the pictures [first, last)."""

    first: int
    last: int
    window: tuple[int, int, int, int] | None
    """First row and column and how many there are of both, of `BINS` each way; None: all of the picture."""


def with_picture_details(stretch: Stretch, pairs: LocalPairs, proof: ProofSettings) -> list[Stretch]:
    """Return a proven stretch as it is, or in parts, unproven where a part of the picture shows other details.

    All of it is where the whole picture does; that is not asked of stretches that rest on a placement, which may show
    too little of the known picture. Where the known video has described none of the pictures, nothing can be said.
    """
    pair = pairs.of(mirrored=stretch.mirrored) if stretch.proof.proven else None
    if pair is None:
        return [stretch]
    bearers = pair.bearers_within(stretch.start_seconds, stretch.end_seconds)
    placement, pictures = _the_very_pictures(pair, bearers, stretch)
    if placement is None:
        return [stretch]
    staying = cache(lambda keyframe: _staying(pair.query, bearers, keyframe, none=stretch.hardly_moves))
    others = [] if stretch.rests_on_placement else _others(pictures, proof.least_picture_details)
    lacks = [*others, *_lacking(pictures, others, proof.part_details_evidence, staying)]
    told: list[Stretch] = []
    rests = [(stretch.start_seconds, stretch.end_seconds)]
    for lack in lacks:
        first, last = pictures[lack.first].start_seconds, pictures[lack.last - 1].end_seconds
        why_not, cover = OTHER_DETAILS, None
        if lack.window is not None:
            why_not, cover = PART_DETAILS, Cover(_box(pair, placement, lack.window), still=False)
        unproven = replace(stretch.proof, proven=False, why_not=why_not)
        for start, end in [within for piece in rests for within in _within(piece, first, last)]:
            told.append(replace(stretch, start_seconds=start, end_seconds=end, proof=unproven, cover=cover))
        rests = [rest for piece in rests for rest in outside(piece, first, last)]
    seconds = sum(one.end_seconds - one.start_seconds for one in told)
    if seconds > MOST_TOLD * (stretch.end_seconds - stretch.start_seconds):
        return [replace(told[0], start_seconds=stretch.start_seconds, end_seconds=stretch.end_seconds)]
    return sorted([*told, *(part_of(stretch, *rest) for rest in rests)], key=lambda one: one.start_seconds)


def _within(piece: tuple[float, float], first: float, last: float) -> list[tuple[float, float]]:
    """Return what of `[first, last)` lies in a piece of time."""
    start, end = max(piece[0], first), min(piece[1], last)
    return [(start, end)] if end > start else []


def _the_very_pictures(pair: LocalPair, bearers: I64, stretch: Stretch) -> tuple[F64 | None, list[_Picture]]:
    """Return where the query's picture lies in the known one, shape (2, 3), and those of `bearers` that show one of it.

    Without a placement there are none.
    """
    query, seconds = pair.query, pair.known.seconds
    if len(bearers) == 0 or len(seconds) == 0:
        return None, []
    known_seconds = stretch.line.known_seconds(query.pts_seconds[bearers])
    after = np.searchsorted(seconds, known_seconds).clip(1, max(1, len(seconds) - 1))
    sides = np.stack([after - 1, after.clip(0, len(seconds) - 1)])
    nearest = sides[np.abs(seconds[sides] - known_seconds).argmin(axis=0), np.arange(len(bearers))]
    at = np.flatnonzero(np.abs(known_seconds - seconds[nearest]) <= THE_PICTURE_SECONDS)
    places = [[int(place)] for place in nearest[at]]
    compared = cache(lambda row: alike_at(pair, int(bearers[at[row]]), places[row]))
    placement = placement_of(pair, bearers[at], places, compared) if len(at) else None
    if placement is None:
        return None, []
    low, high = known_sides(pair)
    starts = np.append(np.maximum(query.start_seconds[bearers], stretch.start_seconds), stretch.end_seconds)
    starts[0] = stretch.start_seconds
    thirds = np.quantile(query.local.scale, np.arange(1, SIZES) / SIZES)
    pictures = []
    for row, place in enumerate(at):
        alike = compared(row)
        ours = placed(alike.ours, placement)
        found = np.zeros(len(ours), np.bool_)
        found[alike.one[alike.within(ours, SAME_PLACE)]] = True
        rows = np.flatnonzero(lie_within(ours, low, high)[:KNOWN_POINTS])
        sizes = np.searchsorted(thirds, query.local.scale[rows_of(query.local, int(bearers[place]))][rows], "right")
        pictures.append(
            _Picture(
                int(bearers[place]),
                float(starts[at[row - 1] + 1 if row else 0]),
                float(starts[at[row + 1] if row + 1 < len(at) else len(bearers)]),
                rows,
                np.minimum(rows // (KNOWN_POINTS // RANKS), RANKS - 1) * SIZES + sizes,
                cells_at((ours[rows] - low) / (high - low), BINS, BINS),
                found[rows],
            )
        )
    return placement, pictures


def _others(pictures: Sequence[_Picture], least: float) -> list[_Lack]:
    """Return the runs of pictures whose details are others: all, or a few in a row, in time order.

    So are those of all where fewer than a share `least` find theirs, of a few `FEW_LEAST` times as much, if there are
    enough to tell.
    """
    count, found = np.array([(len(one.found), int(one.found.sum())) for one in pictures]).reshape(-1, 2).T
    if count.sum() >= LEAST_DESCRIPTORS and found.sum() < least * count.sum():
        return [_Lack(0, len(pictures), None)]
    others = np.zeros(len(pictures), np.bool_)
    for first in range(len(pictures) - A_FEW + 1):
        few = slice(first, first + A_FEW)
        if count[few].sum() >= LEAST_DESCRIPTORS and found[few].sum() < FEW_LEAST * least * count[few].sum():
            others[few] = True
    return [_Lack(first, last + 1, None) for first, last in runs(others)]


def _lacking(
    pictures: Sequence[_Picture], others: Sequence[_Lack], least: float, staying: Callable[[int], Bool]
) -> list[_Lack]:
    """Return the runs of pictures that lack details somewhere by `least` evidence or more, those of `others` left out.

    What is before and after one is looked at by itself. `staying` returns which descriptors of a keyframe stay.
    """
    found: list[_Lack] = []
    ends = [0, *(end for one in others for end in (one.first, one.last)), len(pictures)]
    left = list(zip(ends[::2], ends[1::2], strict=True))
    while left:
        first, last = left.pop()
        some = pictures[first:last]
        if not some or _deepest(_counts(some))[0] < least:
            continue
        counts = _counts([one.but(staying(one.keyframe)) for one in some])
        evidence, run, window = _deepest(counts)
        if evidence >= least:
            start, stop = (first + place for place in _widened(counts, run, window))
            found.append(_Lack(start, stop, window))
            left += [(first, start), (stop, last)]
    return found


def _counts(pictures: Sequence[_Picture]) -> F32:
    """Return by cell how many descriptors of each picture find theirs, and were likely to; shape (2, n, BINS, BINS)."""
    counts = np.zeros((2, len(pictures), BINS, BINS), np.float32)
    for row, (one, likely) in enumerate(zip(pictures, _likely(pictures), strict=True)):
        np.add.at(counts[0, row], one.cells, one.found)
        np.add.at(counts[1, row], one.cells, likely)
    return counts


def _deepest(counts: F32) -> tuple[float, tuple[int, int], tuple[int, int, int, int]]:
    """Return the most evidence that a run of pictures lacks details in a window, the run, and the window."""
    summed = np.concatenate([np.zeros((2, 1, BINS, BINS)), counts.cumsum(axis=1, dtype=np.float64)], axis=1)
    tried = keyframe_runs(counts.shape[1])
    best: tuple[float, tuple[int, int], tuple[int, int, int, int]] = (0.0, tried[0], (0, 0, 0, 0))
    for at in range(0, len(tried), RUNS_AT_ONCE):
        firsts, lasts = np.array(tried[at : at + RUNS_AT_ONCE]).T
        evidence, windows = deepest_lacks(*(side[lasts] - side[firsts] for side in summed))
        evidence[lasts - firsts < counts.shape[1]] /= RUN_COSTS
        place = int(evidence.argmax())
        if evidence[place] > best[0]:
            top, left, height, width = map(int, windows[place])
            best = (float(evidence[place]), tried[at + place], (top, left, height, width))
    return best


def _widened(counts: F32, run: tuple[int, int], window: tuple[int, int, int, int]) -> tuple[int, int]:
    """Return a run of pictures with those before and after it that lack details in the same window."""
    top, left, height, width = window
    found, likely = counts[:, :, top : top + height, left : left + width].sum(axis=(2, 3))
    lacks = (likely >= LEAST_IN_HALF) & (found <= MOST_SEEN * likely)
    first, last = run
    while first > 0 and lacks[first - 1]:
        first -= 1
    while last < len(lacks) and lacks[last]:
        last += 1
    return first, last


def _likely(pictures: Sequence[_Picture]) -> list[F64]:
    """Return how likely each descriptor of each picture was to find its known one.

    That is the rate of those as strong and large, in proportion to how many of its picture do.
    """
    kinds, found = (np.concatenate([getattr(one, name) for one in pictures]) for name in ("kinds", "found"))
    overall = found.mean() if len(found) else 0.0
    rates = np.bincount(kinds, found, RANKS * SIZES) + BORROWED * overall
    rates /= np.bincount(kinds, minlength=RANKS * SIZES) + BORROWED
    likely = []
    for one in pictures:
        expected = rates[one.kinds]
        likely.append(np.minimum(MOST_LIKELY, expected * (one.found.sum() / max(1e-9, float(expected.sum())))))
    return likely


def _staying(query: Signatures, bearers: I64, keyframe: int, *, none: bool) -> Bool:
    """Return which descriptors of a keyframe lie where they are in other keyframes of `bearers` as well; shape (k,).

    That is `none` where hardly anything moves: what stays is not over the picture, but in it.
    """
    local, mine = query.local, rows_of(query.local, keyframe)
    far = np.abs(query.pts_seconds[bearers] - query.pts_seconds[keyframe]) >= STAYS_SECONDS
    others = bearers[far]
    hits = np.zeros(mine.stop - mine.start)
    if none or len(others) == 0:
        return hits > 0
    looked = others[np.unique(np.linspace(0, len(others) - 1, STAYS_LOOKED).astype(int))]
    places = as_shares(local.xy)
    for other in looked:
        theirs = rows_of(local, int(other))
        one, two, _ = within_bits(words(local.codes[mine]), words(local.codes[theirs]), STAYS_BITS)
        together = lie_together(places[mine], places[theirs], one, two, STAYS_PLACE)
        hits[np.unique(one[together])] += 1
    return np.asarray(2 * hits >= len(looked))


def _box(pair: LocalPair, placement: F64, window: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a window of the known picture in the query's, in shares of its sides."""
    top, left, height, width = window
    low, high = known_sides(pair)
    corners = np.array([[x, y] for x in (left, left + width) for y in (top, top + height)]) / BINS
    shown = np.clip(shown_at(low + corners * (high - low), placement, pair.aspect, mirrored=pair.mirrored), 0.0, 1.0)
    (x_low, y_low), (x_high, y_high) = shown.min(axis=0), shown.max(axis=0)
    return float(x_low), float(y_low), float(x_high), float(y_high)
