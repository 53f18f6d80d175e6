"""What plays over known footage is told by how bright its cells are, wherever it was planted; edits of all are not."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty.comparing import compared
from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching import second_look
from videonovelty.matching.in_place import InPlaces
from videonovelty.matching.levels import Levels
from videonovelty.matching.local_evidence import LocalPair
from videonovelty.matching.proof import Proof
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import (
    F64,
    FINE_CELLS,
    PART_MOVES,
    U8,
    LocalFeatures,
    MotionProfile,
    best_points,
    thinned,
)
from videonovelty.signatures.motion import LEAST_DEVIATION, LEVEL_UNIT, LIGHT_PARTS
from videonovelty.signatures.pdq import DIHEDRAL

SECONDS = 16.0
PLAIN = Line(1.0, 0.0, 0, 0.0)
LARGE = {"width": 320, "height": 180}


def _levels(seed: int, ticks: int) -> F64:
    """Return levels (ticks, 64) of a picture that changes within seconds, in deviations of it."""
    chance = np.random.default_rng(seed)
    field = chance.normal(size=(ticks // 10 + 2, FINE_CELLS))
    at = np.arange(ticks) / 10
    part = (at - at.astype(int))[:, None]
    return np.asarray((1 - part) * field[at.astype(int)] + part * field[at.astype(int) + 1])


def _profile(levels: F64) -> MotionProfile:
    mean, deviation = levels.mean(axis=1, keepdims=True), levels.std(axis=1, keepdims=True)
    steps = np.rint(np.clip((levels - mean) / (deviation + 1e-9) / LEVEL_UNIT, -508, 508)).astype(np.int16)
    none = np.zeros((len(levels), 16), np.int8)
    # as grey levels: a deviation of the field is 40 of them
    light = np.rint(LIGHT_PARTS * np.hstack([128 + 40 * mean, 40 * deviation - LEAST_DEVIATION])).clip(0, 65535)
    fine = np.zeros((len(levels), FINE_CELLS), np.int8)
    return MotionProfile(0.1, none, fine, levels=steps, light=light.astype(np.uint16))


def _stretch(*, bits: float | None = 4.0) -> Stretch:
    proof = Proof(True, SECONDS, 0.9, 100.0, 0.1)
    return Stretch("k", PLAIN, 0.0, SECONDS, proof, 8, bits)


def _compared(query: MotionProfile, known: MotionProfile, seconds: float = SECONDS) -> Levels:
    found = Levels.of(query, thinned(known), replace(_stretch(), end_seconds=seconds))
    assert found is not None
    return found


def _parts(query: MotionProfile, known: MotionProfile) -> list[Stretch]:
    return _compared(query, known).parts(_stretch())


def _over(levels: F64, cells: Sequence[int], start: float, end: float, seed: int) -> F64:
    """Return levels with something much brighter or darker in some cells from `start` to `end`."""
    other = levels.copy()
    ticks = slice(round(10 * start), round(10 * end))
    apart = np.random.default_rng(seed).choice([-1.0, 1.0], len(cells))
    other[ticks, cells] += apart * (2.0 + 0.3 * np.sin(np.arange(len(levels))[ticks, None]))
    return other


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.4, 2.5), st.floats(-40, 40), st.integers(-1, 1), st.floats(0, 0.03))
def test_the_same_footage_differs_nowhere(seed: int, contrast: float, brighter: float, late: int, noise: float) -> None:
    levels = _levels(seed, 160)
    coded = levels + np.random.default_rng(seed + 1).normal(0, noise, levels.shape)
    query = _profile(np.roll(contrast * coded + brighter, late, axis=0))
    found = _compared(query, _profile(levels))
    assert not found.differs.any()
    assert late or found.agree(_stretch())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(0, 6), st.floats(1.0, 10.0), st.floats(2.0, 4.0))
def test_what_plays_over_some_cells_is_found_where_and_when_it_plays(
    seed: int, row: int, column: int, start: float, seconds: float
) -> None:
    cells = [8 * (row + down) + column + right for down in (0, 1) for right in (0, 1)]
    levels = _levels(seed, 160)
    query = _profile(_over(levels, cells, start, start + seconds, seed + 1))
    compared = _compared(query, _profile(levels))
    at, differs = compared.seconds, compared.differs
    assert not compared.agree(_stretch())
    found = at[differs[:, cells].any(axis=1)]
    assert found[0] == pytest.approx(start, abs=0.9) and found[-1] == pytest.approx(start + seconds, abs=0.9)
    inside = (at >= start + 0.4) & (at < start + seconds - 0.4)
    assert differs[inside][:, cells].any(axis=1).all()
    elsewhere = np.delete(differs, cells, axis=1)
    assert elsewhere.mean() < 0.02


@given(st.integers(0, 10**6), st.floats(-1.5, 1.5))
@settings(max_examples=40, deadline=None)
def test_what_stays_as_it_is_is_nothing_that_plays(seed: int, brighter: float) -> None:
    levels = _levels(seed, 160)
    lettering = np.zeros(FINE_CELLS)
    lettering[56:62] = brighter
    mixed = levels * np.where(lettering != 0, 0.9, 1.0) + lettering
    found = _compared(_profile(mixed), _profile(levels))
    assert not found.differs.any(), found.seconds[found.differs.any(axis=1)]
    assert abs(brighter) < 0.4 or not found.agree(_stretch())


def test_what_plays_most_of_the_time_is_not_taken_for_what_stays() -> None:
    levels = _levels(5, 160)
    still = levels.copy()
    still[40:, 20] = 4.0  # from second 4 on, and it does not move
    assert _compared(_profile(still), _profile(levels)).differs[12:, 20].all()


def test_a_stretch_keeps_its_proof_before_and_after_what_plays_over_it() -> None:
    levels = _levels(1, 160)
    query = _profile(_over(levels, [18, 19, 26, 27], 7.0, 9.0, 2))
    parts = _parts(query, _profile(levels))
    assert [part.proof.proven for part in parts] == [True, False, True]
    assert parts[0].start_seconds == 0.0 and parts[-1].end_seconds == SECONDS
    assert all(one.end_seconds == other.start_seconds for one, other in pairwise(parts))
    covered = parts[1]
    assert covered.proof.why_not == PART_MOVES and not covered.carried
    assert covered.cover is not None and not covered.cover.still
    assert covered.cover.box == (2 / 8, 2 / 8, 4 / 8, 4 / 8)
    assert covered.start_seconds <= 7.0 and covered.end_seconds >= 9.0
    assert covered.end_seconds - covered.start_seconds < 4.0


def test_what_moves_about_is_there_between_the_cells_it_was_seen_in() -> None:
    levels = _levels(3, 160)
    moved = _over(_over(levels, [9, 10], 4.0, 6.0, 4), [45, 46], 8.0, 10.0, 5)
    parts = _parts(_profile(moved), _profile(levels))
    assert [part.proof.proven for part in parts] == [True, False, True]
    assert parts[1].start_seconds <= 4.0 and parts[1].end_seconds >= 10.0


def test_only_whole_pictures_with_levels_are_compared() -> None:
    query, known = _profile(_levels(1, 160)), thinned(_profile(_levels(1, 160)))
    assert Levels.of(query, known, _stretch()) is not None
    assert Levels.of(replace(query, levels=None), known, _stretch()) is None
    assert Levels.of(replace(query, light=None), known, _stretch()) is None
    assert Levels.of(query, replace(known, levels=None), _stretch()) is None


def test_pictures_whose_borders_are_not_known_say_nothing_of_a_part() -> None:
    query, known = _profile(_levels(1, 160)), thinned(_profile(_levels(2, 160)))
    for bordered in (True, False):
        found = Levels.of(query, known, _stretch(), bordered=bordered)
        assert found is not None and not found.agree(_stretch())
        assert found.differs.any() == (not bordered)


def test_too_few_ticks_agree_on_nothing() -> None:
    levels = _levels(1, 160)
    assert not _compared(_profile(levels), _profile(levels), 1.6).agree(replace(_stretch(), end_seconds=1.6))


def test_long_stretches_are_looked_at_to_their_end() -> None:
    levels = _levels(8, 1700)
    query = _profile(_over(levels, [18, 19, 26, 27], 160.0, 163.0, 2))
    compared = _compared(query, _profile(levels), 170.0)
    found = compared.seconds[compared.differs.any(axis=1)]
    assert 159.0 < found[0] < found[-1] < 164.0
    assert len(compared.seconds) == len(np.unique(compared.seconds)) > 400
    assert compared.alike[compared.seconds < 159.0].all() and not compared.alike[compared.seconds > 161.0].all()


# ---- footage ----


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def _pasted(below: U8, above: U8, left: int, top: int, side: float) -> U8:
    height, width = (int(side * n) for n in below.shape[:2])
    rows, columns = (np.arange(n) * above.shape[axis] // n for axis, n in ((0, height), (1, width)))
    picture = below.copy()
    picture[top : top + height, left : left + width] = above[rows][:, columns]
    return picture


def _proven_seconds(clips: Path, name: str, pictures: Sequence[U8]) -> list[tuple[float, float]]:
    known = sign(make_video.edited(clips / "known.mp4", make_video.frames(21, 12.0, **LARGE), crf=22))
    query = sign(make_video.edited(clips / name, pictures, crf=28))
    found = compared(query, known, SETTINGS)[0]
    return [(s.start_seconds, s.end_seconds) for s in found if s.proof.proven]


def _hidden(proven: Sequence[tuple[float, float]], start: float, end: float) -> float:
    return sum(max(0.0, min(end, last) - max(start, first)) for first, last in proven)


def test_new_footage_in_a_corner_for_two_seconds_is_not_explained_and_the_rest_is(clips: Path) -> None:
    below = list(make_video.frames(21, 12.0, **LARGE))
    above = list(make_video.frames(88, 12.0, **LARGE))
    fps = len(below) / 12.0
    pictures = [
        _pasted(one, other, 12, 8, 0.3) if 5.0 <= number / fps < 7.0 else one
        for number, (one, other) in enumerate(zip(below, above, strict=True))
    ]
    proven = _proven_seconds(clips, "brief.mp4", pictures)
    assert _hidden(proven, 5.0, 7.0) < 0.3
    assert sum(last - first for first, last in proven) > 6.0


def test_new_footage_that_moves_about_is_not_explained(clips: Path) -> None:
    below = list(make_video.frames(21, 12.0, **LARGE))
    above = list(make_video.frames(88, 12.0, **LARGE))
    pictures = [
        _pasted(one, other, 10 + n * 200 // len(below), 10 + (n * 7) % 100, 0.3)
        for n, (one, other) in enumerate(zip(below, above, strict=True))
    ]
    assert _hidden(_proven_seconds(clips, "about.mp4", pictures), 0.0, 12.0) == 0.0


def test_where_every_cell_is_as_bright_nothing_else_is_asked(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("looked for what covers the picture")

    monkeypatch.setattr(second_look, "uncovered", never)
    proven = _proven_seconds(clips, "again.mp4", list(make_video.frames(21, 12.0, **LARGE)))
    assert _hidden(proven, 0.0, 12.0) > 11.5


def test_a_picture_is_shown_whole_or_not(clips: Path) -> None:
    below = list(make_video.frames(21, 8.0, **LARGE))
    known = sign(make_video.edited(clips / "whole.mp4", below, crf=22)).signatures
    local = KnownLocal("k", known.pts_seconds[np.diff(known.local.offsets) > 0], best_points(_bearing(known.local)))

    def shows_all(pictures: Sequence[U8], name: str, *, mirrored: bool = False) -> bool:
        query = sign(make_video.edited(clips / name, pictures, crf=26))
        pair = LocalPair(query.signatures, local, mirrored, query.probe.width / query.probe.height)
        variant = DIHEDRAL.index("flip_horizontal") if mirrored else 0
        found = InPlaces(pair).of(replace(_stretch(), line=Line(1.0, 0.0, variant, 0.0), end_seconds=8.0))
        assert found is not None
        return found.shows_all

    smaller = [np.zeros_like(picture) for picture in below]
    for one, picture in zip(smaller, below, strict=True):
        one[20:-20, 35:-35] = cv2.resize(picture, (250, 140), interpolation=cv2.INTER_AREA)
    assert shows_all(below, "all.mp4")
    assert shows_all([np.ascontiguousarray(picture[:, ::-1]) for picture in below], "turned.mp4", mirrored=True)
    assert not shows_all([np.ascontiguousarray(picture[10:-10, 16:-16]) for picture in below], "crop.mp4")
    assert not shows_all(smaller, "smaller.mp4")


def _bearing(local: LocalFeatures) -> LocalFeatures:
    """Return descriptors without the keyframes that have none, as the store has them."""
    sizes = np.diff(local.offsets)
    return replace(local, offsets=np.concatenate([[0], np.cumsum(sizes[sizes > 0])]))
