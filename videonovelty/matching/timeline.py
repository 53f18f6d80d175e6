"""Lines in time: where the moments of a query lie on one straight line through the moments of a known video.

`known time = speed × query time + offset`. Lines are proposed by the matched keyframes (a Hough vote over speed and
offset, as in Douze et al., "An image-based approach to video copy detection with spatio-temporal post-filtering", IEEE
Trans. Multimedia 2010) and by the motion profiles (cross-correlation over every offset), because a still background
matches at any offset and motion alone does not see what the picture shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.matching.kernels import jit
from videonovelty.matching.proof_kernels import normalised
from videonovelty.matching.remembered import remembered
from videonovelty.records import F64, MotionProfile
from videonovelty.signatures.motion import signs_at_speed

I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]


MOST_DIRECT = 50_000
"""Ticks compared one by one, over all offsets, at most: with more the transform is faster."""


@dataclass(frozen=True, slots=True)
class Line:
    """`known time = speed × query time + offset_seconds`, for the query's dihedral `variant`.

    The speed is above zero, but where `alignment` tells what a query shows backwards.
    """

    speed: float
    offset_seconds: float
    variant: int
    score: float

    def known_seconds(self, query_seconds: F64) -> F64:
        """Return the known times of query times, shape kept."""
        return self.speed * query_seconds + self.offset_seconds


def lines_through_matches(
    query_seconds: F64,
    known_seconds: F64,
    distance: I16,
    *,
    variant: int,
    radius_bits: int,
    speeds: tuple[float, ...],
    tolerance_seconds: float,
    count: int,
) -> list[Line]:
    """Return up to `count` lines, best first, through the pairs of keyframes within `radius_bits`.

    `distance` has shape (n_query, n_known). A query keyframe votes once a line, the closer the more; a line found takes
    its query keyframes out of the vote, so several stretches of one pair are found one after the other.
    """
    query_index, known_index = np.nonzero(distance <= radius_bits)
    if len(query_index) == 0:
        return []
    weight: F64 = ((radius_bits + 8.0 - distance[query_index, known_index]) / (radius_bits + 8.0)).astype(np.float64)
    # A keyframe that looks like many moments of the known video says little about time.
    weight /= np.sqrt(np.bincount(query_index, minlength=len(query_seconds))[query_index])
    found: list[Line] = []
    for _ in range(count):
        best: tuple[float, float, float, npt.NDArray[np.int64]] | None = None
        for rank, speed in enumerate(speeds):
            offset = known_seconds[known_index] - speed * query_seconds[query_index]
            score, centre, members = _densest(offset, weight, query_index, tolerance_seconds)
            score *= 1.0 if rank == 0 else 0.95  # the plain speed wins a tie
            if best is None or score > best[0] + 1e-9:
                best = (score, speed, centre, members)
        if best is None or best[0] <= 0:
            break
        score, speed, centre, members = best
        found.append(Line(speed, centre, variant, score))
        keep = ~np.isin(query_index, query_index[members])
        query_index, known_index, weight = query_index[keep], known_index[keep], weight[keep]
        if len(query_index) == 0:
            break
    return found


def _densest(
    offset: F64, weight: F64, query_index: npt.NDArray[np.int64], tolerance: float
) -> tuple[float, float, npt.NDArray[np.int64]]:
    """Return score, centre and member pairs of the offset interval of width 2 × tolerance with the most votes."""
    order = np.argsort(offset, kind="stable")
    offset, weight = offset[order], weight[order]
    score, first, last = _densest_interval(offset, weight, query_index[order], 2 * tolerance)
    part = slice(first, last)
    return score, float(np.average(offset[part], weights=weight[part])), order[part]


@jit
def _densest_interval(offset, weight, query_index, width):  # type: ignore[no-untyped-def]
    """Return score, first and last place of the interval, of ascending offsets, with the most votes.

    A query keyframe votes once, with its largest weight. The sum of all weights bounds the score: starts are tried from
    the highest bound, 64 at most.
    """
    n = len(offset)
    sums, ends = np.zeros(n + 1), np.searchsorted(offset, offset + width, side="right")
    for at in range(n):
        sums[at + 1] = sums[at] + weight[at]
    rough = sums[ends] - sums[:-1]
    votes = np.zeros(query_index.max() + 1)
    best_score, best_start = -1.0, 0
    for start in np.argsort(-rough, kind="mergesort")[:64]:
        if rough[start] <= best_score:
            break
        score = 0.0
        for at in range(start, ends[start]):
            more = weight[at] - votes[query_index[at]]
            if more > 0.0:
                score += more
                votes[query_index[at]] = weight[at]
        for at in range(start, ends[start]):
            votes[query_index[at]] = 0.0
        if score > best_score + 1e-9:  # equal but for the order of the sum is equal
            best_score, best_start = score, start
    return best_score, best_start, ends[best_start]


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """Agreement of the signs of change at every offset between a stretch of a query and a known video."""

    offset_seconds: F64
    """Shape (o,): known time minus speed × query time."""
    agreement: F64
    """Shape (o,): normalised correlation, −1 … 1; NaN where too little overlaps."""
    events: F64
    """Shape (o,): geometric mean of the changes on both sides in the overlap."""

    def peaks(self, count: int, *, least_events: float, apart_seconds: float) -> list[tuple[float, float]]:
        """Return up to `count` (offset, agreement), best first, each more than `apart_seconds` from the others."""
        score = np.where(self.events >= least_events, np.nan_to_num(self.agreement, nan=-1.0), -1.0)
        # long agreement beats short agreement of the same height
        score = score * np.sqrt(np.minimum(1.0, self.events / (4 * least_events)))
        found: list[tuple[float, float]] = []
        for _ in range(count):
            best = int(np.argmax(score))
            if score[best] <= 0:
                break
            found.append((float(self.offset_seconds[best]), float(self.agreement[best])))
            score = np.where(np.abs(self.offset_seconds - self.offset_seconds[best]) <= apart_seconds, -1.0, score)
        return found


@remembered
def correlate_motion(query: MotionProfile, known: MotionProfile, *, speed: float, least_ticks: int) -> Correlation:
    """Return the agreement of `query` (fine ticks) with `known` (coarse ticks) at every offset.

    The query is resampled to the known video's time at the query's own step, so offsets come in steps of
    `query.step_seconds`. By FFT, at a cost of n log n in the longer of the two, or one by one where that is less.
    `least_ticks` coarse ticks must overlap.
    """
    step = query.step_seconds
    every = max(1, round(known.step_seconds / step))
    ticks = int(len(query.signs) * speed)
    signs = signs_at_speed(query, speed)
    resampled = signs[np.minimum((np.arange(ticks) / speed).round().astype(np.int64), len(signs) - 1)]
    n_known = len(known.signs) * every
    if ticks == 0 or n_known == 0:
        empty = np.zeros(0)
        return Correlation(empty, empty, empty)
    grades = query.grade * known.grade
    few = (n_known + ticks) * min(ticks, n_known) // every <= MOST_DIRECT
    add_up = direct_sums if few else transformed_sums
    both, energy_known, energy_query, overlap = add_up(resampled, known.signs, every)
    agreement, events = normalised(both, energy_known, energy_query, overlap, float(grades), float(least_ticks))
    return Correlation(np.asarray(np.arange(-(ticks - 1), n_known) * step, np.float64), agreement, events)


def transformed_sums(query: I8, known: I8, every: int) -> tuple[F64, F64, F64, F64]:
    """Return for every offset the sums of products, of both sides' squares, and the known ticks that overlap.

    `query` (ticks, 16) is at the finer step, `known` (m, 16) at every `every`-th of it. By FFT.
    """
    ticks, n_known = len(query), len(known) * every
    spread = np.zeros((n_known, known.shape[1]))
    spread[::every] = known
    present = np.zeros(n_known)
    present[::every] = 1
    other = query.astype(np.float64)
    length = 1 << (n_known + ticks).bit_length()

    def correlate(a: F64, b: F64) -> F64:
        spectrum = np.fft.rfft(a, length, axis=0) * np.conj(np.fft.rfft(b, length, axis=0))
        if spectrum.ndim == 2:
            spectrum = spectrum.sum(axis=1)
        product = np.fft.irfft(spectrum, length)
        found = np.concatenate([product[length - (ticks - 1) :], product[:n_known]])
        # sums of whole numbers: without what the transform adds, equal agreements are equal on every machine
        return np.asarray(np.rint(found), np.float64)

    return (
        correlate(spread, other),
        correlate((spread**2).sum(axis=1), np.ones(ticks)),
        correlate(present, (other**2).sum(axis=1)),
        correlate(present, np.ones(ticks)),
    )


@jit
def direct_sums(query, known, every):  # type: ignore[no-untyped-def]
    """Return what `transformed_sums` returns, summed one by one: the same numbers, sooner for some seconds."""
    ticks, cells = query.shape
    n_known = len(known) * every
    offsets = ticks - 1 + n_known
    both, energy_known, energy_query, overlap = (
        np.zeros(offsets),
        np.zeros(offsets),
        np.zeros(offsets),
        np.zeros(offsets),
    )
    query_squares, known_squares = np.zeros(ticks), np.zeros(len(known))
    for tick in range(ticks):
        for cell in range(cells):
            query_squares[tick] += float(query[tick, cell]) ** 2
    for tick in range(len(known)):
        for cell in range(cells):
            known_squares[tick] += float(known[tick, cell]) ** 2
    for row in range(offsets):
        offset = row - (ticks - 1)
        first = max(0, -(-offset // every))
        last = min(len(known), (offset + ticks - 1) // every + 1)
        for tick in range(first, last):
            at = tick * every - offset
            product = 0
            for cell in range(cells):
                product += int(query[at, cell]) * int(known[tick, cell])
            both[row] += product
            energy_known[row] += known_squares[tick]
            energy_query[row] += query_squares[at]
            overlap[row] += 1
    return both, energy_known, energy_query, overlap
