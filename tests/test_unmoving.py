"""Where nothing moves one picture shows all there is; what moves, flashes or fades is not taken for still."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import make_video
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.matching.proof import Proof
from videonovelty.matching.stretch import Cover, Stretch
from videonovelty.matching.timeline import Line
from videonovelty.matching.unmoving import LEAST_SECONDS, still_passages, with_one_look
from videonovelty.records import (
    COLOURS_INVERTED,
    MOVES_OTHERWISE,
    NOTHING_MOVES,
    PART_COVERED,
    PART_MOVES,
    PLAYS_IN_A_PART,
    U8,
)

FPS = 25.0
SECONDS = 12.0
FRAMES = int(FPS * SECONDS)
A, B = (next(iter(footage.static(seed, 1.0, width=320, height=180))) for seed in (41, 42))


def _passages(folder: Path, pictures: Sequence[U8], crf: int = 26) -> list[tuple[float, float]]:
    return still_passages(sign(make_video.edited(folder / "query.mp4", pictures, fps=FPS, crf=crf)).signatures)


@pytest.mark.parametrize("crf", [18, 26, 32])
def test_a_picture_that_stands_is_one_passage(tmp_path: Path, crf: int) -> None:
    ((start, end),) = _passages(tmp_path, [A] * FRAMES, crf)
    assert start <= 0.1 and end >= SECONDS - 0.5


def test_slides_are_passages_each(tmp_path: Path) -> None:
    one, other = _passages(tmp_path, [A] * (FRAMES // 2) + [B] * (FRAMES // 2))
    assert one[0] <= 0.1 and one[1] <= SECONDS / 2 + 0.1
    assert SECONDS / 2 - 0.1 <= other[0] <= SECONDS / 2 + 0.6 and other[1] >= SECONDS - 0.5


@pytest.mark.parametrize("frames", [3, 6, 25])
def test_no_passage_reaches_over_a_picture_that_flashes_up(tmp_path: Path, frames: int) -> None:
    pictures = [A] * FRAMES
    pictures[150 : 150 + frames] = [B] * frames
    assert not any(start < 6.0 < end - 0.1 for start, end in _passages(tmp_path, pictures))


def test_what_fades_slowly_is_not_still(tmp_path: Path) -> None:
    pictures = [cv2.addWeighted(B, n / FRAMES, A, 1 - n / FRAMES, 0) for n in range(FRAMES)]
    assert _passages(tmp_path, pictures) == []


@pytest.mark.parametrize("side", [12, 24])
def test_a_small_thing_that_moves_is_movement(tmp_path: Path, side: int) -> None:
    pictures = []
    for n in range(FRAMES):
        picture = A.copy()
        left = 20 + n % 200
        picture[100 : 100 + side, left : left + side] = (250, 250, 250) if A[100, left].mean() < 128 else (5, 5, 5)
        pictures.append(picture)
    assert _passages(tmp_path, pictures) == []


def test_a_room_in_which_somebody_moves_is_not_still(tmp_path: Path) -> None:
    room = list(footage.fixed_camera(3, 0, SECONDS, width=320, height=180, fps=FPS))
    assert sum(end - start for start, end in _passages(tmp_path, room)) < 0.5 * SECONDS


def test_a_copy_of_something_still_is_not_cleared_and_one_look_tells(tmp_path: Path) -> None:
    known = sign(make_video.edited(tmp_path / "known.mp4", [A] * FRAMES, fps=FPS, crf=20))
    query = sign(make_video.edited(tmp_path / "query.mp4", [A] * FRAMES, fps=FPS, crf=30))
    stretches, verdict = compared(query, known, SETTINGS)
    assert verdict.verdict == "same_scene"
    assert any(stretch.still and stretch.one_look for stretch in stretches)
    looks = [s for s in verdict.segments if s.look_seconds is not None]
    assert sum(s.end_seconds - s.start_seconds for s in looks) >= SECONDS - 1.0
    assert all(s.why_not == NOTHING_MOVES and s.cover_left is None for s in looks)
    assert all(s.start_seconds <= (s.look_seconds or 0.0) < s.end_seconds for s in looks)


def _stretch(start: float, end: float, why_not: str) -> Stretch:
    proof = Proof(not why_not, end - start, 0.9, 100.0, 0.1, why_not)
    return Stretch("k", Line(1.0, 0.0, 0, 0.0), start, end, proof, 5, 4.0)


passages = st.lists(
    st.tuples(st.floats(0, 30), st.floats(0.5, 12)).map(lambda one: (one[0], one[0] + one[1])), max_size=4
)


@given(passages, st.floats(0, 20), st.floats(1, 25))
def test_parts_tile_what_was_not_proven(found: list[tuple[float, float]], start: float, seconds: float) -> None:
    parts = sorted(
        with_one_look([_stretch(start, start + seconds, MOVES_OTHERWISE)], found), key=lambda one: one.start_seconds
    )
    # a millionth of a second that is left beside a passage is dropped
    assert parts[0].start_seconds == pytest.approx(start, abs=1e-5)
    assert parts[-1].end_seconds == pytest.approx(start + seconds, abs=1e-5)
    assert all(abs(one.end_seconds - other.start_seconds) < 1e-5 for one, other in pairwise(parts))
    for part in parts:
        assert not part.proof.proven
        assert part.still == (part.proof.why_not == NOTHING_MOVES)
        if part.still:
            assert part.end_seconds - part.start_seconds >= LEAST_SECONDS
            assert any(a <= part.start_seconds and part.end_seconds <= b for a, b in found)


@pytest.mark.parametrize("why_not", ["", PART_MOVES, PART_COVERED, PLAYS_IN_A_PART, COLOURS_INVERTED])
def test_what_is_proven_or_doubted_for_another_reason_stays(why_not: str) -> None:
    stretch = _stretch(0.0, 20.0, why_not)
    assert with_one_look([stretch], [(0.0, 20.0)]) == [stretch]


def test_a_cover_and_stillness_both_spare_a_viewing() -> None:
    stretch = _stretch(0.0, 9.0, PART_COVERED)
    assert not stretch.one_look
    assert replace(stretch, still=True).one_look
    assert replace(stretch, cover=Cover((0, 0, 1, 1), still=True)).one_look
    assert not replace(stretch, cover=Cover((0, 0, 1, 1), still=False)).one_look


def test_without_pictures_nothing_is_said(tmp_path: Path) -> None:
    signed = sign(make_video.edited(tmp_path / "query.mp4", [A] * 150, fps=FPS, crf=26)).signatures
    assert still_passages(signed)
    for name in ("pictures", "light"):
        assert still_passages(replace(signed, motion=replace(signed.motion, **{name: None}))) == []
