"""What is done again is told from what is shown again, wherever it was planted; edits of a copy are not."""

from dataclasses import replace
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.matching.followed import BLOCK_TICKS, Course
from videonovelty.matching.framed import frame_in, framed_levels
from videonovelty.matching.proof import Proof
from videonovelty.matching.second_look import all_done_again
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import (
    DONE_AGAIN,
    F64,
    FINE_CELLS,
    PICTURE_COLUMNS,
    PICTURE_PARTS,
    PICTURE_ROWS,
    U8,
    MotionProfile,
)
from videonovelty.signatures.motion import no_motion

EVERY = 4
"""Ticks of the query for each known one."""
LARGE = {"width": 320, "height": 180}


def _room(seed: int, ticks: int, moving: int) -> F64:
    """Return levels (ticks of the query, 64) of a room in which something moves in some cells, within seconds."""
    rng = np.random.default_rng(seed)
    levels = np.tile(rng.normal(size=FINE_CELLS), (ticks, 1))
    at = np.arange(ticks) / 10
    for cell in rng.permutation(FINE_CELLS)[:moving]:
        for rate in rng.uniform(0.1, 0.5, 3):
            levels[:, cell] += 0.35 * np.sin(2 * np.pi * (rate * at + rng.uniform()))
    return levels


def _course(query: F64, known: F64) -> Course:
    at = np.arange(0, len(known), EVERY)
    seen = np.ones(FINE_CELLS, np.bool_)
    return Course(np.ascontiguousarray(query), at.astype(np.float64), known[at], seen, 0.1)


def _again(query: F64, known: F64) -> list[slice]:
    course = _course(query, known)
    return course.again(0, len(course.known))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    moving=st.integers(4, 40),
    contrast=st.floats(0.5, 1.6),
    brighter=st.floats(-1.0, 1.0),
    late=st.integers(-1, 1),
    noise=st.floats(0.0, 0.03),
)
def test_a_copy_is_followed_however_it_is_lit(
    seed: int, moving: int, contrast: float, brighter: float, late: int, noise: float
) -> None:
    known = _room(seed, 200, moving)
    rng = np.random.default_rng(seed + 1)
    light = contrast + 0.2 * np.sin(np.arange(200) / 30)[:, None]
    query = light * np.roll(known, late, axis=0) + brighter + rng.normal(scale=noise, size=known.shape)
    assert _again(query, known) == []


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), moving=st.integers(6, 40), share=st.floats(0.35, 0.9))
def test_what_moves_at_the_same_moments_in_another_way_is_not_followed(seed: int, moving: int, share: float) -> None:
    """A third of what each cell does is its own, so that most changes still have the same sign."""
    known, other = _room(seed, 200, moving), _room(seed, 200, moving)
    still = known.mean(axis=0)
    rng = np.random.default_rng(seed + 1)
    moves = np.flatnonzero(np.ptp(known, axis=0) > 0)
    for cell in moves:
        other[:, cell] = 0.6 * np.sin(np.arange(200) * rng.uniform(0.1, 0.3) + rng.uniform(0, 6))
    query = still + (1.0 - share) * (known - still)
    query[:, moves] += share * other[:, moves]
    assert _again(query, known) == [slice(0, 50)]


def test_a_block_in_which_it_is_not_followed_is_found_by_itself() -> None:
    known = _room(3, 400, 20)
    query = known.copy()
    second = slice(EVERY * BLOCK_TICKS, 2 * EVERY * BLOCK_TICKS)
    apart = 0.5 * (_room(4, 400, FINE_CELLS) - _room(4, 400, 0))[second]
    query[second] += np.where(np.ptp(known, axis=0) > 0, apart, 0.0)
    found = _again(query, known)
    assert slice(BLOCK_TICKS, 2 * BLOCK_TICKS) in found
    assert all(one.start >= BLOCK_TICKS and one.stop <= 2 * BLOCK_TICKS for one in found)


@pytest.mark.parametrize("moving", [0, FINE_CELLS])
def test_where_nothing_moves_or_the_camera_does_nothing_is_said(moving: int) -> None:
    assert _again(_room(5, 200, moving), _room(5, 200, moving)[::-1].copy()) == []


def test_what_moves_otherwise_in_a_few_cells_is_found_where_it_is() -> None:
    """A camera moves, and something else plays in four cells for the second of five blocks."""
    found = 0
    for seed in range(40):
        row, column = seed % 7, seed // 6
        known = _room(seed, 200, FINE_CELLS)
        query = known.copy()
        cells = [8 * (row + down) + column + right for down in (0, 1) for right in (0, 1)]
        assert _course(query, known).otherwise(0, 50) == []
        query[EVERY * BLOCK_TICKS : 2 * EVERY * BLOCK_TICKS, cells] = _room(seed + 99, 40, FINE_CELLS)[:, cells]
        for ticks, where in _course(query, known).otherwise(0, 50):
            found += 1
            assert ticks == slice(BLOCK_TICKS, 2 * BLOCK_TICKS)
            # windows of 2 × 2: no cell farther off than one
            there = np.flatnonzero(where)
            assert (np.abs(there // 8 - row - 0.5) <= 1.5).all()
            assert (np.abs(there % 8 - column - 0.5) <= 1.5).all()
    assert found >= 38


def test_a_flash_that_one_encoding_shows_a_tick_later_is_nothing_else() -> None:
    known = _room(8, 200, 30)
    query = known.copy()
    query[EVERY * 14] += 2.0
    assert _course(query, known).otherwise(0, 50) == []


def test_beside_a_cut_which_picture_a_tick_shows_says_nothing() -> None:
    """Another frame rate shows the last picture before one cut a tick longer, and the first after another too early."""
    known = _room(9, 200, 20)
    first, second = EVERY * 21, EVERY * 25 + 1
    for start in (first, second):
        known[start:] += np.random.default_rng(start).normal(scale=0.8, size=FINE_CELLS) * (np.arange(FINE_CELLS) < 40)
    query = known.copy()
    query[first] = known[first - 1]
    query[second - 1] = known[second]
    assert _course(query, known).again(18, 30) == []


def test_too_few_ticks_say_nothing() -> None:
    assert _again(_room(6, 12, 20), _room(7, 12, 20)) == []


def _profile(pictures: F64) -> MotionProfile:
    """Return a profile that holds nothing but pictures, shape (ticks, rows, columns)."""
    cells = np.rint(pictures * PICTURE_PARTS).astype(np.uint16).reshape(len(pictures), -1)
    none = no_motion(0.1)
    signs, fine = (np.zeros((len(pictures), side.shape[1]), np.int8) for side in (none.signs, none.fine))
    return replace(none, signs=signs, fine=fine, pictures=cells)


@pytest.mark.parametrize("bars", [(0, 0), (4, 0), (8, 0), (0, 2), (0, 4), (3, 2)])
@pytest.mark.parametrize("cut", [(0, 0, 0, 0), (2, 0, 0, 0), (0, 1, 0, 0), (1, 0, 2, 1)])
def test_the_frame_of_a_known_picture_is_found_between_borders(
    bars: tuple[int, int], cut: tuple[int, int, int, int]
) -> None:
    """What the known video shows is a frame of the query's picture, which has bars left and right, or above and below.

    It is found for most pictures, and where one is found it is that one.
    """
    rows, columns = slice(bars[1], PICTURE_ROWS - bars[1]), slice(bars[0], PICTURE_COLUMNS - bars[0])
    left, top = (columns.start + cut[0]) / PICTURE_COLUMNS, (rows.start + cut[1]) / PICTURE_ROWS
    right, bottom = (columns.stop - cut[2]) / PICTURE_COLUMNS, (rows.stop - cut[3]) / PICTURE_ROWS
    ticks, found = np.arange(3), 0
    for seed in range(20):
        coarse = np.random.default_rng(seed).uniform(20, 235, (6, 9))
        picture = cv2.resize(coarse, (PICTURE_COLUMNS, PICTURE_ROWS), interpolation=cv2.INTER_CUBIC)
        shown = np.zeros_like(picture)
        shown[rows, columns] = picture[rows, columns].clip(1, 255)
        query = _profile(np.stack([shown] * 3))
        known = framed_levels(query, ticks, (left, top, right, bottom))[0]
        frame = frame_in(query, ticks, known)
        if frame is not None:
            found += 1
            assert np.abs(framed_levels(query, ticks, frame)[0] - known).mean() < 0.1
    assert found >= 18


def test_a_picture_of_something_else_has_no_frame() -> None:
    rng = np.random.default_rng(1)
    query = _profile(rng.uniform(0, 255, (3, PICTURE_ROWS, PICTURE_COLUMNS)))
    assert frame_in(query, np.arange(3), rng.normal(size=FINE_CELLS)) is None


def _stretch(start: float, end: float, why_not: str) -> Stretch:
    proof = Proof(not why_not, end - start, 0.9, 100.0, 0.1, why_not)
    return Stretch("k", Line(1.0, 0.0, 0, 0.0), start, end, proof, 3, 4.0)


def test_seconds_that_are_alike_by_chance_are_not_proven_where_most_is_done_again() -> None:
    few, many = _stretch(0.0, 2.0, ""), _stretch(2.0, 9.0, DONE_AGAIN)
    assert [(one.start_seconds, one.proof.why_not) for one in all_done_again([few, many])] == [
        (0.0, DONE_AGAIN),
        (2.0, DONE_AGAIN),
    ]
    spliced = [_stretch(0.0, 8.0, ""), _stretch(8.0, 10.0, DONE_AGAIN)]
    assert all_done_again(spliced) == spliced


# ---------------------------------------------------------------------------------------------------------------------
# Made footage


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearsed")


def _take(clips: Path, name: str, routine: int, take: int, *, mirrored: bool = False, crf: int = 23) -> Path:
    def shown(picture: U8) -> U8:
        return np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture

    pictures = (shown(picture) for picture in footage.rehearsed(routine, take, 10.0, **LARGE))
    return make_video.edited(clips / f"{name}.mp4", pictures, fps=25, crf=crf)


@pytest.mark.parametrize("routine", [0, 3, 5])
def test_a_dance_danced_again_is_not_proven_and_a_copy_is(clips: Path, routine: int) -> None:
    """By the moments at which cells become brighter or darker alone, every such take was called known."""
    known = sign(_take(clips, f"{routine}", routine, 0))
    for mirrored in (False, True):
        again = sign(_take(clips, f"{routine}again{mirrored}", routine, 1, mirrored=mirrored))
        stretches = compared(again, known, SETTINGS)[0]
        assert not any(one.proof.proven for one in stretches)
        assert any(one.proof.why_not == DONE_AGAIN for one in stretches)
    (copy,) = compared(sign(_take(clips, f"{routine}copy", routine, 0, crf=34)), known, SETTINGS)[0]
    assert copy.proof.proven
    assert copy.end_seconds - copy.start_seconds > 9.0
