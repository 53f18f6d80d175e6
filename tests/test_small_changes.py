"""Where hardly anything moves, small changes of brightness tell known footage from another take, wherever it is."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from described import Scene
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_help import SETTINGS
from test_levels import _levels, _profile

from videonovelty.matching.changes import Changes, above_chance, correlated, ways
from videonovelty.matching.small_changes import (
    SmallChangeRun,
    _signs_object,
    lines_by_small_changes,
    small_change_runs,
    with_small_changes,
)
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, PART_MOVES, SOMETHING_ELSE, thinned

PROOF = SETTINGS.proof
SIZE = 0.04
"""Of the changes, in deviations of the picture: a hundredth of it is a unit of levels."""


def _room(seed: int, take: int, ticks: int) -> F64:
    """Return levels of a take of one scene in which hardly anything moves, shape (ticks, 64)."""
    return np.asarray(_levels(10**6 + seed, 1) + SIZE * _levels(17 * seed + take, ticks))


def _coded(levels: F64, seed: int, noise: float = 0.008) -> F64:
    return np.asarray(levels + np.random.default_rng(seed).normal(0, noise, levels.shape))


def _runs(query: F64, known: F64, offset: float = 0.0) -> list[SmallChangeRun]:
    return small_change_runs(_profile(query), thinned(_profile(known)), Line(1.0, offset, 0, 0.0), PROOF)


def _held(query: F64, known: F64, offset: float = 0.0) -> list[tuple[float, float]]:
    return [part for run in _runs(query, known, offset) for part in run.held]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.6, 1.6), st.floats(-20, 20), st.integers(0, 80))
def test_a_copy_is_held_from_end_to_end(seed: int, contrast: float, brighter: float, into: int) -> None:
    known = _room(seed, 0, 240)
    query = contrast * _coded(known[into:], seed) + brighter
    (run,) = _runs(query, known, 0.1 * into)
    assert sum(last - first for first, last in run.held) >= 0.85 * 0.1 * (240 - into)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 80))
def test_the_line_is_found_where_it_is(seed: int, into: int) -> None:
    known = _room(seed, 0, 300)
    query = _coded(known[into : into + 160], seed)
    every = np.arange(0, 16, 0.5)
    (line, *others) = lines_by_small_changes(_profile(query), thinned(_profile(known)), 0, every, PROOF)
    assert not others
    assert line.offset_seconds == pytest.approx(0.1 * into, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_another_take_of_the_scene_agrees_nowhere(seed: int) -> None:
    query, known = _profile(_room(seed, 1, 200)), thinned(_profile(_room(seed, 0, 240)))
    assert lines_by_small_changes(query, known, 0, np.arange(0, 20, 0.5), PROOF) == []
    for offset in np.arange(-10, 14, 0.7):
        assert small_change_runs(query, known, Line(1.0, float(offset), 0, 0.0), PROOF) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60))
def test_six_seconds_are_held_in_a_short_video_and_those_of_another_take_are_not(seed: int, into: int) -> None:
    known, other = _room(seed, 0, 120), _room(seed, 1, 120)
    part = slice(into, into + 60)
    assert _held(_coded(known[part], seed), known, 0.1 * into)
    assert not _held(_coded(other[part], seed), known, 0.1 * into)


@pytest.mark.parametrize(("start", "end"), [(0.0, 8.0), (8.0, 16.0), (16.0, 24.0)])
@pytest.mark.parametrize("why_not", ["", PART_MOVES, SOMETHING_ELSE])
def test_what_is_left_beside_a_part_that_is_decided_otherwise_is_proven(start: float, end: float, why_not: str) -> None:
    scene = Scene(1, keyframes=12)
    levels = _room(3, 0, 240)
    query, known = scene.query(), replace(scene.known(), motion=thinned(_profile(levels)))
    whole = scene.stretch()
    decided = replace(whole.proof, proven=not why_not, why_not=why_not)
    part = replace(whole, start_seconds=start, end_seconds=end, proof=decided)
    counted, bits = np.ones(12, np.bool_), np.zeros(12, np.int16)
    found = with_small_changes(
        [part], whole.line, query, _profile(_coded(levels, 4)), known, counted=counted, bits=bits, settings=PROOF
    )
    assert found[0] == part
    assert all(one.proof.proven and one.hardly_moves for one in found[1:])
    times = sorted((one.start_seconds, one.end_seconds) for one in found)
    assert all(before[1] == after[0] for before, after in pairwise(times))
    assert times[0][0] <= 0.5
    assert times[-1][1] >= 23.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_signs_object_where_they_tell_another_moment_and_not_where_too_few_agree(seed: int) -> None:
    """Something moves by steps for a third of the time: of the known moment, or of another one."""
    chance = np.random.default_rng(seed)
    known = _profile(_room(seed, 0, 240))
    steps = np.zeros((240, 16), np.int8)
    steps[80:160:4] = chance.choice(np.array([-1, 1], np.int8), (20, 16))
    lost = np.where(chance.random(steps.shape) < 0.3, 0, steps).astype(np.int8)
    another = np.where(steps != 0, chance.choice(np.array([-1, 1], np.int8), steps.shape), 0).astype(np.int8)
    (run,) = small_change_runs(known, thinned(known), Line(1.0, 0.0, 0, 0.0), PROOF)
    there = replace(known, signs=np.repeat(steps[::4], 4, axis=0))
    for signs, objects in ((lost, False), (another, True)):
        query = replace(known, signs=np.repeat(signs[::4], 4, axis=0))
        assert _signs_object(query, thinned(there), Line(1.0, 0.0, 0, 0.0), run, PROOF) == objects


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(40, 150), st.sampled_from([10, 20, 30, 60]), st.floats(0.0, 0.012))
def test_seconds_of_another_take_are_never_held(seed: int, start: int, ticks: int, noise: float) -> None:
    known = _room(seed, 0, 240)
    query = known.copy()
    query[start : start + ticks] = _room(seed, 1, 240)[start : start + ticks]
    low, high = 0.1 * start, 0.1 * (start + ticks)
    held = _held(_coded(query, seed, noise), known)
    assert noise > 0.01 or sum(last - first for first, last in held) >= 0.5 * (24.0 - (high - low))
    for first, last in held:
        assert min(last, high) - max(first, low) <= 0.4


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_nor_at_an_end(seed: int, at_first: bool) -> None:
    known = _room(seed, 0, 240)
    query, other = known.copy(), _room(seed, 1, 240)
    part = slice(0, 20) if at_first else slice(220, 240)
    query[part] = other[part]
    held = _held(_coded(query, seed), known)
    assert held
    for first, last in held:
        assert first >= 1.6 if at_first else last <= 22.4


def test_what_repeats_itself_is_not_held() -> None:
    """A fan: it agrees with another take as well, some turns on."""
    turn = _levels(5, 14)
    known = _levels(10**6, 1) + SIZE * np.tile(turn, (20, 1))[:240]
    assert _runs(known[28:], known, 2.8) == []
    assert lines_by_small_changes(_profile(known), thinned(_profile(known)), 0, np.arange(0.0, 24.0), PROOF) == []


def test_one_change_of_all_cells_proves_nothing() -> None:
    """Another take, and in both a camera codes a sharper picture at the same moment."""
    known, query = _room(6, 0, 200), _room(6, 1, 200)
    pulse = 0.4 * _levels(99, 1)[0]
    known[100:] += pulse
    query[100:] += pulse
    assert _runs(query, known) == []


def test_stillness_proves_nothing() -> None:
    still = np.tile(_levels(3, 1), (200, 1))
    assert _runs(still, still) == []
    noise = np.random.default_rng(4)
    assert _runs(still + noise.normal(0, 0.01, still.shape), still + noise.normal(0, 0.01, still.shape)) == []


def test_what_is_seen_of_a_part_only_when_something_lies_over_it_is_not_held() -> None:
    """Something appears in a corner for three seconds: the moment's levels lie apart."""
    known = _room(7, 0, 240)
    query = _coded(known, 8)
    query[100:130, [0, 1, 8, 9]] += np.linspace(0.5, 1.0, 30)[:, None]
    assert _held(query, known)
    assert all(last <= 10.4 or first >= 12.6 for first, last in _held(query, known))


def test_without_levels_there_is_nothing_to_say() -> None:
    query, known = _profile(_room(9, 0, 200)), thinned(_profile(_room(9, 0, 200)))
    line = Line(1.0, 0.0, 0, 0.0)
    assert small_change_runs(query, known, line, PROOF)
    for ours, theirs in ((replace(query, levels=None), known), (query, replace(known, levels=None))):
        assert small_change_runs(ours, theirs, line, PROOF) == []
        assert lines_by_small_changes(ours, theirs, 0, np.arange(0.0, 20.0), PROOF) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 90), st.integers(9, 60), st.integers(1, 12))
def test_correlations_are_those_of_the_definition(seed: int, every: int, ours: int, theirs: int, least: int) -> None:
    chance = np.random.default_rng(seed)
    steps = [chance.normal(size=(n, 64)) for n in (ours * every, theirs)]
    query, known = (Changes(some, (some**2).sum(axis=1)) for some in steps)
    found = correlated(query, known, every, least)
    expected = {}
    for offset in range(-ours * every, every * theirs + 1):
        pairs = [(i, (i + offset) // every) for i in range(ours * every) if (i + offset) % every == 0]
        pairs = [(i, j) for i, j in pairs if 0 <= j < theirs]
        if len(pairs) >= least:
            one, other = (steps[k][[pair[k] for pair in pairs]] for k in (0, 1))
            expected[offset] = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert list(found.offset) == sorted(expected)
    assert np.allclose(found.agreement, [expected[offset] for offset in sorted(expected)])


def test_ways_count_independent_directions() -> None:
    chance = np.random.default_rng(1)
    assert ways(chance.normal(size=(4000, 1)) * np.ones((1, 64))) == pytest.approx(1.0)
    assert ways(np.repeat(chance.normal(size=(4000, 8)), 8, axis=1)) == pytest.approx(8.0, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(-8, 8))
def test_two_ticks_that_change_much_are_two(seed: int, every: int, offset: int) -> None:
    """Both videos have a cut at the same moment, and else nothing in common: they agree well, and that is chance."""
    chance = np.random.default_rng(seed)
    ours, theirs = chance.normal(size=(40 * every, 64)), chance.normal(size=(50, 64))
    alike = Changes(np.repeat(theirs[2:], every, axis=0), np.ones(48 * every))
    known = Changes(theirs, np.ones(50))
    assert above_chance(alike, known, every, 2 * every) > 20.0
    assert abs(above_chance(Changes(ours, np.ones(40 * every)), known, every, offset)) < 3.0
    cut = 20.0 * chance.normal(size=64)
    ours[16 * every] += cut
    theirs[20] += cut
    both = Changes(ours, np.ones(40 * every)), Changes(theirs, np.ones(50))
    assert above_chance(*both, every, 4 * every) < 3.0
