"""The compiled kernels of `matching.covered` and `matching.picture_details`: where descriptors find no others."""

from __future__ import annotations

import numpy as np

from videonovelty.matching.kernels import jit

BINS = 24
"""Places are counted in a grid of this many cells each way over the known picture."""
WINDOWS = (5, 6, 8)
"""Heights and widths of windows, in cells: 0.21, 0.25 and 0.33 of the picture. Lettering and emblems are smaller."""
LEAST_ELSEWHERE = 0.4
"""Share of the descriptors outside that must find each other; with fewer, a hole says nothing."""
MOST_INSIDE = 0.2
"""Share, of that outside, that may find each other in a hole…"""
MOST_IN_HALF = 0.3
"""…and in each half of it: a hole is a hole all over, a line of lettering is not."""
LEAST_IN_HALF = 3.0
"""Pairs each half would have, did it look like the rest."""
MOST_SETTLED = 0.5
"""Share of a hole in which the picture may be as bright as it is known; where it is, nothing covers it."""
LACK_HEIGHTS, LACK_WIDTHS = (6, 8), (4, 5, 6, 8)
"""Heights and widths of windows in which details are lacking: faces are higher than wide, lettering is not."""
MOST_SEEN = 0.25
"""Share of the descriptors expected in such a window, and in each half of it, that may find theirs."""
MOVING = 1.3
"""Where more than this much of what moves on average moves in the known picture, descriptors lose each other by
movement, and the movement itself tells what is there."""


@jit
def deepest_holes(counts, moved, settled):  # type: ignore[no-untyped-def]
    """Return the evidence of the deepest hole of each run, shape (r,), 0 where there is none, and where it is.

    That is its first row and column and how many there are of both, in cells; shape (r, 4).

    `counts`, shape (4, r, BINS, BINS): the query's descriptors, those of them that find a known one, the known ones,
    and those of them that find one of the query's. `moved`, shape (r, grid, grid): the share of ticks at which each
    cell of the known fine grid changes. `settled`, shape (BINS, BINS): 1 where the picture is as bright as it is known.
    """
    deepest, where = np.zeros(counts.shape[1]), np.zeros((counts.shape[1], 4), np.int64)
    sums, movement = np.zeros((4, BINS + 1, BINS + 1)), np.zeros((BINS + 1, BINS + 1))
    zoom = BINS // moved.shape[1]
    bright = np.zeros((BINS + 1, BINS + 1))
    _summed(settled, bright)
    for run in range(counts.shape[1]):
        for kind in range(4):
            _summed(counts[kind, run], sums[kind])
        for row in range(BINS):
            for column in range(BINS):
                movement[row + 1, column + 1] = (
                    moved[run, row // zoom, column // zoom]
                    + movement[row, column + 1]
                    + movement[row + 1, column]
                    - movement[row, column]
                )
        for height in WINDOWS:
            for width in WINDOWS:
                most_moved = MOVING * moved[run].mean() * height * width
                for top in range(BINS - height + 1):
                    for left in range(BINS - width + 1):
                        if _within(bright, top, left, height, width) > MOST_SETTLED * height * width:
                            continue
                        evidence = _evidence(sums, top, left, height, width)
                        if evidence > deepest[run] and _within(movement, top, left, height, width) <= most_moved:
                            deepest[run] = evidence
                            where[run, 0], where[run, 1], where[run, 2], where[run, 3] = top, left, height, width
    return deepest, where


@jit
def deepest_lacks(found, expected):  # type: ignore[no-untyped-def]
    """Return the evidence of the window of each run that lacks most, shape (r,), 0 where none does, and where it is.

    That is its first row and column and how many there are of both, in cells; shape (r, 4). `found` and `expected`,
    shape (r, BINS, BINS): descriptors that find a known one, and how many were likely to; equal in sum.
    """
    deepest, where = np.zeros(len(found)), np.zeros((len(found), 4), np.int64)
    seen, likely = np.zeros((BINS + 1, BINS + 1)), np.zeros((BINS + 1, BINS + 1))
    for run in range(len(found)):
        _summed(found[run], seen)
        _summed(expected[run], likely)
        for height in LACK_HEIGHTS:
            for width in LACK_WIDTHS:
                for top in range(BINS - height + 1):
                    for left in range(BINS - width + 1):
                        there = _within(likely, top, left, height, width)
                        hits = _within(seen, top, left, height, width)
                        if hits > MOST_SEEN * there:
                            continue
                        evidence = _lack(hits, there, seen[BINS, BINS], likely[BINS, BINS])
                        if evidence > deepest[run] and _lacks_all_over(seen, likely, top, left, height, width):
                            deepest[run] = evidence
                            where[run, 0], where[run, 1], where[run, 2], where[run, 3] = top, left, height, width
    return deepest, where


@jit
def _lack(hits, there, all_hits, all_there):  # type: ignore[no-untyped-def]
    """Return Kulldorff's log likelihood ratio (Poisson) for fewer hits than expected inside, against outside."""
    rest = all_there - there
    if rest <= 0.0 or hits >= there:
        return 0.0
    inside = hits * np.log(hits / there) if hits > 0.0 else 0.0
    return inside + (all_hits - hits) * np.log(max(all_hits - hits, 1e-12) / rest)


@jit
def _lacks_all_over(seen, likely, top, left, height, width):  # type: ignore[no-untyped-def]
    for down, across, rows, columns in _halves(height, width):
        there = _within(likely, top + down, left + across, rows, columns)
        if there < LEAST_IN_HALF or _within(seen, top + down, left + across, rows, columns) > MOST_SEEN * there:
            return False
    return True


@jit
def _halves(height, width):  # type: ignore[no-untyped-def]
    """Return first row and column, and how many there are of both, of the upper, lower, left and right half."""
    tall, wide = height // 2, width // 2
    return (
        (0, 0, tall, width),
        (height - tall, 0, tall, width),
        (0, 0, height, wide),
        (0, width - wide, height, wide),
    )


@jit
def _summed(values, sums):  # type: ignore[no-untyped-def]
    """Write into `sums`, shape (rows + 1, columns + 1), the sums of all values above and left of each corner."""
    for row in range(len(values)):
        for column in range(values.shape[1]):
            above = sums[row, column + 1] + sums[row + 1, column] - sums[row, column]
            sums[row + 1, column + 1] = values[row, column] + above


@jit
def _within(sums, top, left, height, width):  # type: ignore[no-untyped-def]
    """Return the sum over a window, given sums over everything above and left of each corner."""
    return sums[top + height, left + width] - sums[top, left + width] - sums[top + height, left] + sums[top, left]


@jit
def _evidence(sums, top, left, height, width):  # type: ignore[no-untyped-def]
    """Return the lesser log likelihood ratio of both sides where a window is a hole in each of its halves; else 0."""
    ours, ours_found = _within(sums[0], top, left, height, width), _within(sums[1], top, left, height, width)
    theirs, theirs_found = _within(sums[2], top, left, height, width), _within(sums[3], top, left, height, width)
    total = sums[:, BINS, BINS]
    rest, rest_found = total[0] - ours + total[2] - theirs, total[1] - ours_found + total[3] - theirs_found
    elsewhere = rest_found / max(rest, 1.0)
    if elsewhere < LEAST_ELSEWHERE or ours_found + theirs_found > MOST_INSIDE * elsewhere * (ours + theirs):
        return 0.0
    for down, across, rows, columns in _halves(height, width):
        there = found = 0.0
        for kind in (0, 2):
            there += _within(sums[kind], top + down, left + across, rows, columns)
            found += _within(sums[kind + 1], top + down, left + across, rows, columns)
        if found > MOST_IN_HALF * elsewhere * there or there * elsewhere < LEAST_IN_HALF:
            return 0.0
    return min(
        likelihood_ratio(ours, ours_found, total[0], total[1]),
        likelihood_ratio(theirs, theirs_found, total[2], total[3]),
    )


@jit
def likelihood_ratio(there, pairs, all_there, all_pairs):  # type: ignore[no-untyped-def]
    """Return Kulldorff's log likelihood ratio (Bernoulli) for fewer pairs inside than outside; 0 for more."""
    rest, rest_pairs = all_there - there, all_pairs - pairs
    if pairs * rest >= rest_pairs * there:
        return 0.0
    return _likelihood(pairs, there) + _likelihood(rest_pairs, rest) - _likelihood(all_pairs, all_there)


@jit
def _likelihood(hits, tries):  # type: ignore[no-untyped-def]
    """Return the log likelihood of `hits` of `tries` at their own rate."""
    rate = hits / max(tries, 1.0)
    return hits * np.log(max(rate, 1e-12)) + (tries - hits) * np.log(max(1.0 - rate, 1e-12))
