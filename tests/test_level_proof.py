"""How bright cells are proves known footage to the tick, wherever it was planted; what stands still it does not."""

from dataclasses import replace
from pathlib import Path

import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_help import SETTINGS, sign
from test_levels import _levels, _over, _profile

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.matching import level_proof
from videonovelty.matching.level_proof import LevelRun, level_runs
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, thinned

PROOF = SETTINGS.proof
LARGE = {"width": 320, "height": 180}


def _runs(query: F64, known: F64, *, speed: float = 1.0, offset: float = 0.0) -> list[LevelRun]:
    return level_runs(_profile(query), thinned(_profile(known)), Line(speed, offset, 0, 0.0), PROOF)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 2.0), st.floats(-30, 30), st.floats(0, 0.02), st.integers(0, 60))
def test_known_footage_is_proven_from_end_to_end(
    seed: int, contrast: float, brighter: float, noise: float, into: int
) -> None:
    known = _levels(seed, 200)
    coded = known[into:] + np.random.default_rng(seed + 1).normal(0, noise, known[into:].shape)
    (run,) = _runs(contrast * coded + brighter, known, offset=0.1 * into)
    assert run.first_seconds <= 0.4
    assert run.last_seconds >= 0.1 * (200 - into) - 0.6


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(50, 100), st.integers(10, 40))
def test_new_seconds_put_in_place_of_known_ones_end_a_run_where_they_begin(seed: int, start: int, ticks: int) -> None:
    known = _levels(seed, 200)
    query = known.copy()
    query[start : start + ticks] = _levels(seed + 1, ticks)
    before, after = _runs(query, known)
    # never into what is new, by more than the tick either side may be out of time
    assert 0.1 * start - 0.6 <= before.last_seconds <= 0.1 * start + 0.1
    assert 0.1 * (start + ticks) - 0.1 <= after.first_seconds <= 0.1 * (start + ticks) + 0.6


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 63), st.floats(4.0, 8.0))
def test_where_something_lies_over_a_single_cell_nothing_is_proven(seed: int, cell: int, start: float) -> None:
    known = _levels(seed, 160)
    for run in _runs(_over(known, [cell], start, start + 3.0, seed + 1), known):
        assert run.last_seconds <= start + 0.2 or run.first_seconds >= start + 2.8


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_other_footage_is_not_proven_at_any_offset(seed: int, other: int) -> None:
    known, query = _levels(seed, 160), _levels(other + 10**7, 160)
    assert not [run for offset in range(-12, 13) for run in _runs(query, known, offset=float(offset))]


def _still(levels: F64, first: int, last: int) -> F64:
    """Return levels that stay as they are from one tick to another."""
    stays = levels.copy()
    stays[first:last] = levels[first]
    stays[last:] = levels[first : first + len(levels) - last]
    return stays


def test_stillness_proves_nothing() -> None:
    still = np.tile(_levels(3, 1), (160, 1))
    assert _runs(still, still) == []


@pytest.mark.parametrize(("ticks", "parts"), [(30, 1), (70, 2)])
def test_a_still_passage_is_held_by_the_movement_around_it_if_it_is_short(ticks: int, parts: int) -> None:
    known = _still(_levels(4, 260), 80, 80 + ticks)
    runs = _runs(known, known)
    assert len(runs) == parts
    if parts == 2:
        # what changed up to two known ticks before counts as changing, and a second of stillness after that
        assert runs[0].last_seconds <= 8.0 + 0.8 + PROOF.max_still_seconds + 0.4
        assert runs[1].first_seconds >= 8.0 + 0.1 * ticks - 0.8 - PROOF.max_still_seconds - 0.4


def test_what_goes_to_and_fro_between_two_pictures_is_not_proven() -> None:
    """A light that goes off and on: each change is of all cells, and of nothing new."""
    off, on = _levels(3, 1), _levels(4, 1)
    lit = np.searchsorted(np.cumsum(np.random.default_rng(7).uniform(4, 16, 60)), np.arange(160)) % 2
    flicker = np.where(lit[:, None] == 1, on, off)
    assert _runs(flicker, flicker) == []
    # a third picture each time is something new
    slides = np.repeat(_levels(5, 40), 8, axis=0)
    assert _runs(slides, slides)


def test_a_still_end_is_not_proven() -> None:
    known = _still(_levels(5, 200), 100, 200)
    (run,) = _runs(known, known)
    assert run.last_seconds <= 10.0 + 0.8 + PROOF.max_still_seconds + 0.4


def test_a_few_changes_are_not_enough() -> None:
    known = np.tile(_levels(6, 1), (160, 1))
    known[80:] = _levels(7, 1)  # one cut: seen at two ticks before it and two after
    assert _runs(known, known) == []
    known[110:] = _levels(8, 1)
    assert _runs(known, known)


@pytest.mark.parametrize("seconds", [1.6, 2.0])
def test_short_runs_count_on_a_line_that_is_proven_elsewhere_only(seconds: float) -> None:
    known = _levels(10, 160)
    query = np.vstack([_levels(11, 160 - round(10 * seconds)), known[160 - round(10 * seconds) :]])
    profiles = _profile(query), thinned(_profile(known))
    assert level_runs(*profiles, Line(1.0, 0.0, 0, 0.0), PROOF) == []
    (run,) = level_runs(*profiles, Line(1.0, 0.0, 0, 0.0), PROOF, proven_line=True)
    assert run.first_seconds >= 16.0 - seconds - 0.1
    assert run.last_seconds >= 15.5


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_footage_at_another_speed_lies_on_its_line(speed: float) -> None:
    known = _levels(8, 240)
    at = np.arange(int(239 / speed)) * speed
    query = np.stack([np.interp(at, np.arange(240), cell) for cell in known.T], axis=1)
    (run,) = _runs(query, known, speed=speed)
    assert run.last_seconds - run.first_seconds >= 0.9 * 24.0 / speed - 1.0


def test_without_levels_or_ticks_there_is_nothing_to_say() -> None:
    known = _profile(_levels(9, 160))
    assert level_runs(replace(known, levels=None), thinned(known), Line(1.0, 0.0, 0, 0.0), PROOF) == []
    assert level_runs(known, replace(thinned(known), levels=None), Line(1.0, 0.0, 0, 0.0), PROOF) == []
    assert _runs(_levels(9, 160), _levels(9, 160), offset=15.5) == []


# ---- footage ----


@pytest.mark.parametrize("room", [0, 1, 2])
def test_seconds_of_another_take_of_a_room_are_cut_out_where_they_are(tmp_path: Path, room: int) -> None:
    known, other = (list(footage.fixed_camera(room, take, 12.0, **LARGE)) for take in (0, 1))
    start, end = len(known) * 5 // 12, len(known) * 7 // 12
    found = compared(
        sign(make_video.edited(tmp_path / "query.mp4", [*known[:start], *other[start:end], *known[end:]], crf=28)),
        sign(make_video.edited(tmp_path / "known.mp4", known, crf=22)),
        SETTINGS,
    )[0]
    new = (start / make_video.FPS, end / make_video.FPS)
    proven = [(one.start_seconds, one.end_seconds) for one in found if one.proof.proven]
    assert sum(max(0.0, min(last, new[1]) - max(first, new[0])) for first, last in proven) <= 0.4
    assert max(last for first, last in proven if first < new[0]) >= new[0] - 1.0
    assert min(first for first, last in proven if last > new[1]) <= new[1] + 1.0


def test_what_levels_prove_is_added_to_what_movement_proves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = list(make_video.frames(21, 12.0, **LARGE))
    third = len(known) // 3
    # two excerpts on lines of their own, the second too short for movement alone to tell its moment for sure
    pictures = [*known[2 * third :], *known[: third // 2]]
    query = sign(make_video.edited(tmp_path / "query.mp4", pictures, crf=28))
    side = sign(make_video.edited(tmp_path / "known.mp4", known, crf=22))

    def proven() -> float:
        return sum(
            one.end_seconds - one.start_seconds for one in compared(query, side, SETTINGS)[0] if one.proof.proven
        )

    with_levels = proven()
    monkeypatch.setattr(level_proof, "level_runs", lambda *_, **__: [])
    assert with_levels >= proven()
    assert with_levels >= 5.0
