"""The compiled kernels of alignment and proof say what the same written out with the library's calls says."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.matching import level_kernels, shown_kernels
from videonovelty.matching.distances import ELSEWHERE_SECONDS, margins_elsewhere
from videonovelty.matching.hole_kernels import (
    BINS,
    LACK_HEIGHTS,
    LACK_WIDTHS,
    LEAST_IN_HALF,
    MOST_SEEN,
    deepest_lacks,
)
from videonovelty.matching.pair_kernels import nearest_two, within_bits
from videonovelty.matching.proof_kernels import best_near, on_line, summed_between
from videonovelty.matching.shown import Shown
from videonovelty.matching.timeline import lines_through_matches

F64 = npt.NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 90), st.integers(2, 90), st.integers(0, 30))
def test_descriptors_are_paired_with_the_nearest_and_with_all_alike(seed: int, n: int, m: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    known = rng.integers(0, 2**63, m, dtype=np.uint64)
    query = rng.integers(0, 2**63, n, dtype=np.uint64)
    copied = rng.random(n) < 0.5
    query[copied] = known[rng.integers(0, m, int(copied.sum()))] ^ np.uint64(1 << int(rng.integers(0, 60)))
    apart = np.bitwise_count(query[:, None] ^ known[None, :])
    best, nearest, second = nearest_two(query, known)
    ordered = np.sort(apart, axis=1)
    assert np.array_equal(best, apart.argmin(axis=1))
    assert np.array_equal(nearest, ordered[:, 0])
    assert np.array_equal(second, ordered[:, 1])
    one, other, bits = within_bits(query, known, most)
    assert np.array_equal(np.stack([one, other]), np.stack(np.nonzero(apart <= most)))
    assert np.array_equal(bits, apart[one, other])


def test_more_alike_pairs_than_there_is_room_for_at_first() -> None:
    codes = np.zeros(300, np.uint64)
    one, other, bits = within_bits(codes, codes, 0)
    assert len(one) == len(other) == 300 * 300
    assert not bits.any()


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 12), st.integers(1, 30))
def test_margins_are_taken_from_the_closest_quarter_of_other_moments(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, 257, (n, m)).astype(np.int16)
    at, known = rng.uniform(0, 20, n), np.sort(rng.uniform(0, 20, m))
    informative, rows = rng.random(m) < 0.7, np.flatnonzero(rng.random(n) < 0.6)
    bits = rng.integers(-1, 100, n).astype(np.int16)
    elsewhere = (np.abs(at[:, None] - known[None]) > ELSEWHERE_SECONDS) & informative[None]
    due = [float(np.quantile(distance[r, elsewhere[r]], 0.25)) - bits[r] for r in rows if elsewhere[r].any()]
    assert np.allclose(margins_elsewhere(distance, rows, at, known, informative, bits), due)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 20), st.integers(1, 30))
def test_the_first_line_is_the_offset_most_keyframes_vote_for(seed: int, n: int, m: int) -> None:
    """Each once, with its best pair: tried here at every pair's offset."""
    rng = np.random.default_rng(seed)
    query, known = np.sort(rng.uniform(0, 30, n)), np.sort(rng.uniform(0, 30, m))
    distance = rng.integers(0, 120, (n, m)).astype(np.int16)
    (rows, columns), radius, reach = np.nonzero(distance <= 60), 60, 1.0
    lines = lines_through_matches(
        query, known, distance, variant=0, radius_bits=radius, speeds=(1.0,), tolerance_seconds=reach, count=1
    )
    offset = known[columns] - query[rows]
    weight = (radius + 8.0 - distance[rows, columns]) / (radius + 8.0)
    weight /= np.sqrt(np.bincount(rows, minlength=n)[rows])
    scores = []
    for start in offset:
        inside = (offset >= start) & (offset <= start + 2 * reach)
        votes = np.zeros(n)
        np.maximum.at(votes, rows[inside], weight[inside])
        scores.append(votes.sum())
    assert bool(lines) == bool(len(rows))
    if lines:
        assert np.isclose(lines[0].score, max(scores))


def relit(shown: F64, known: F64, seen: npt.NDArray[np.bool_]) -> F64:
    """Fit contrast and brightness to all cells, then three times to the 65 % that agree best."""
    fitted = known
    counted = np.broadcast_to(seen, shown.shape)
    for number in range(level_kernels.FITS):
        if number:
            apart = np.abs(shown - fitted)
            most = np.quantile(apart[:, seen], level_kernels.AGREEING, axis=1)
            counted = (apart <= most[:, None]) & seen
        total = counted.sum(axis=1, keepdims=True)
        means = [(counted * side).sum(axis=1, keepdims=True) / total for side in (shown, known)]
        one, other = shown - means[0], known - means[1]
        both, variance = (counted * one * other).sum(1) / total[:, 0], (counted * other**2).sum(1) / total[:, 0]
        contrast = np.clip((both + level_kernels.STEADY) / (variance + level_kernels.STEADY), 0.3, 3.0)
        fitted = means[0] + contrast[:, None] * other
    return fitted


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.integers(1, 12), st.floats(0.3, 1.0))
def test_levels_are_lit_as_those_shown(seed: int, ticks: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    known = rng.normal(0, 1, (ticks, 64))
    shown = known * rng.uniform(0.5, 2.0, (ticks, 1)) + rng.normal(0, 1, (ticks, 1)) + rng.normal(0, 0.02, known.shape)
    shown[:, rng.random(64) < 0.2] += rng.normal(0, 1)
    seen = rng.random(64) < share
    seen[:9] = True
    assert np.allclose(level_kernels.relit(shown, known, seen), relit(shown, known, seen))


def test_levels_are_laid_where_they_lie() -> None:
    """A smooth picture moved by a fifth of a cell and stretched, with something over a corner: less is left."""
    row, column = np.divmod(np.arange(64), 8)

    def picture(x: F64, y: F64, tick: int) -> F64:
        return np.asarray(np.sin(0.4 * x + 0.1 * tick) + np.cos(0.5 * y - 0.2 * tick) + 0.3 * np.sin(0.4 * (x + y)))

    known = np.stack([picture(column, row, tick) for tick in range(25)])
    shown = np.stack([picture(column * 1.01 + 0.2, row * 0.99 - 0.1, tick) for tick in range(25)])
    seen = np.ones(64, np.bool_)
    covered = (row < 2) & (column < 2)
    shown[:, covered] += 1.5
    inner = (row > 0) & (row < 7) & (column > 0) & (column < 7) & ~covered
    laid = level_kernels.laid_over(shown, known, seen)
    assert np.abs(laid - shown)[:, inner].mean() < 0.7 * np.abs(known - shown)[:, inner].mean()


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans(), st.integers(1, 30))
def test_agreement_of_cells_is_that_of_their_weighted_changes(seed: int, mirrored: bool, ticks: int) -> None:
    rng = np.random.default_rng(seed)
    placement = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) * rng.uniform(0.5, 1.5)
    placement[:, 2] = rng.uniform(-0.2, 0.2, 2) + np.array([float(mirrored), 0.0])
    shown = Shown(placement, 16 / 9, (0.0, 0.0, 1.0, 9 / 16), mirrored)
    changes = rng.normal(0, 3, (18 * 32, ticks)).astype(np.float32)
    known = rng.integers(-3, 4, (64, ticks)).astype(np.float32)
    cells = shown.in_cells(8, 18, 32)
    found = shown_kernels.agreement(shown.points(8, 18, 32), 8, changes, known)
    if cells.visible.sum() < shown_kernels.MIN_VISIBLE_CELLS:
        assert found == -1.0
        return
    one = np.clip(cells.weight[cells.visible] @ changes / shown_kernels.MOST_LEVELS, -1.0, 1.0)
    other = known[cells.visible]
    due = (one * other).sum() / max(1e-6, np.sqrt((one**2).sum() * (other**2).sum()))
    assert np.isclose(found, due, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([0.5, 0.8, 1.0, 1.25, 2.0]), st.floats(-3.0, 3.0))
def test_signs_are_compared_at_the_ticks_of_a_line(seed: int, speed: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    query, known = (rng.integers(-1, 2, (n, 16)).astype(np.int8) for n in (60, 40))
    at, agree, ours, theirs = on_line(query, 0.1, 1, known, 0.2, 1, speed, offset)
    seconds = (np.arange(40) * 0.2 - offset) / speed
    index = np.round(seconds / 0.1).astype(int)
    inside = (index >= 0) & (index < 60)
    one, other = query[index[inside]].astype(int), known[inside].astype(int)
    assert np.allclose(at, seconds[inside])
    assert np.array_equal(agree, (one * other).sum(axis=1))
    assert np.array_equal(ours, (one**2).sum(axis=1))
    assert np.array_equal(theirs, (other**2).sum(axis=1))
    low, high = seconds - 1.0, seconds + 1.0
    (total,) = summed_between(at, low, high, agree[None])
    due = [agree[(at >= a) & (at < b)].sum() for a, b in zip(low, high, strict=True)]
    assert np.allclose(total, due)


def test_of_offsets_that_agree_equally_the_nearest_is_taken() -> None:
    offset = np.arange(-10.0, 11.0)
    agreement, events = np.full(21, 0.5), np.full(21, 100.0)
    agreement[3] = np.nan
    assert best_near(offset, agreement, events, 2.2, 5.0) == 12
    agreement[[5, 17]] = 0.9
    assert best_near(offset, agreement, events, 2.2, 20.0) == 17
    assert best_near(offset, agreement, events, 2.2, 3.0) == 12
    assert best_near(offset, agreement, np.zeros(21), 2.2, 5.0) == -1


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, BINS - 8), st.integers(0, BINS - 8))
def test_the_window_that_lacks_most_is_the_one_with_the_best_likelihood_ratio(seed: int, top: int, left: int) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.uniform(0.0, 1.0, (2, BINS, BINS))
    found = rng.poisson(expected).astype(np.float64)
    found[1, top : top + 8, left : left + 8] = 0.0
    found *= expected.sum(axis=(1, 2), keepdims=True) / found.sum(axis=(1, 2), keepdims=True)
    evidence, windows = deepest_lacks(found, expected)
    for run in range(2):
        best = 0.0
        for height, width in itertools.product(LACK_HEIGHTS, LACK_WIDTHS):
            for row, column in itertools.product(range(BINS - height + 1), range(BINS - width + 1)):
                sides = [side[run, row : row + height, column : column + width] for side in (found, expected)]
                hits, there = (float(side.sum()) for side in sides)
                halves = [
                    tuple(float(side[half].sum()) for side in sides)
                    for half in (
                        np.s_[: height // 2], np.s_[height - height // 2 :],
                        np.s_[:, : width // 2], np.s_[:, width - width // 2 :],
                    )
                ]  # fmt: skip
                if hits > MOST_SEEN * there or any(e < LEAST_IN_HALF or f > MOST_SEEN * e for f, e in halves):
                    continue
                total = float(expected[run].sum())
                inside = hits * np.log(hits / there) if hits else 0.0
                best = max(best, inside + (total - hits) * np.log((total - hits) / (total - there)))
        assert evidence[run] == pytest.approx(best, abs=1e-6)
    row, column, height, width = windows[1]
    shared = max(0, min(row + height, top + 8) - max(row, top)) * max(
        0, min(column + width, left + 8) - max(column, left)
    )
    assert evidence[1] > 10.0 and shared >= 0.75 * height * width, "it is where nothing was found"
