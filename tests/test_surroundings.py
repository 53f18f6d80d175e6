"""What is around a known picture that plays in a part of the query's: nothing, something still, or something new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.decode.writer import write_video
from videonovelty.matching.shown import Shown, sides
from videonovelty.records import F64, PART_COVERED, PART_MOVES, PLAYS_IN_A_PART, U8, SignedVideo

WIDTH, HEIGHT, FPS, SECONDS = 480, 272, 15.0, 8.0
Around = Callable[[int], U8]


def clip(seed: int) -> Iterator[U8]:
    return footage.clip(seed, SECONDS, width=WIDTH, height=HEIGHT, fps=FPS)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("surroundings")


@pytest.fixture(scope="module")
def known(clips: Path) -> SignedVideo:
    write_video(clips / "known.mp4", clip(61), fps=FPS, crf=20)
    return sign(clips / "known.mp4")


def within(path: Path, around: Around, side: float, left: float = 0.5, top: float = 0.5) -> SignedVideo:
    """Sign the known clip at `side` of the sides of pictures of something else, `left` and `top` of what is free."""
    width, height = int(side * WIDTH), int(side * HEIGHT)
    x, y = int(left * (WIDTH - width)), int(top * (HEIGHT - height))

    def pictures() -> Iterator[U8]:
        for number, picture in enumerate(clip(61)):
            shown = around(number).copy()
            shown[y : y + height, x : x + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            yield shown

    write_video(path, pictures(), fps=FPS, crf=24)
    return sign(path)


def _plain(level: int) -> U8:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


@pytest.mark.parametrize(("side", "left", "top"), [(0.7, 0.5, 0.5), (0.8, 0.5, 0.5), (0.65, 1.0, 0.0)])
def test_a_known_clip_in_the_middle_of_a_new_one_is_named_and_clears_nothing(
    clips: Path, known: SignedVideo, side: float, left: float, top: float
) -> None:
    new = list(clip(62))
    video = within(clips / f"new {side} {left}.mp4", new.__getitem__, side, left, top)
    _, verdict = compared(video, known, SETTINGS)
    assert verdict.needs_review
    assert not [s for s in verdict.segments if s.kind == "known"]
    named = [s for s in verdict.segments if s.why_not in (PLAYS_IN_A_PART, PART_MOVES)]
    assert sum(s.end_seconds - s.start_seconds for s in named) >= 0.6 * SECONDS, verdict.segments
    assert all(s.look_seconds is None for s in named)


@pytest.mark.parametrize("level", [0, 128, 235])
def test_a_frame_of_one_colour_is_nothing(clips: Path, known: SignedVideo, level: int) -> None:
    video = within(clips / f"plain {level}.mp4", lambda _: _plain(level), 0.7)
    _, verdict = compared(video, known, SETTINGS)
    assert verdict.verdict == "known", verdict.segments


def test_a_photograph_around_it_is_one_picture_to_look_at(clips: Path, known: SignedVideo) -> None:
    photograph = next(clip(63))
    video = within(clips / "photograph.mp4", lambda _: photograph, 0.7)
    _, verdict = compared(video, known, SETTINGS)
    assert verdict.needs_review
    assert not [s for s in verdict.segments if s.kind == "known"]
    looked_at = [s for s in verdict.segments if s.why_not == PART_COVERED and s.look_seconds is not None]
    assert sum(s.end_seconds - s.start_seconds for s in looked_at) >= 0.6 * SECONDS, verdict.segments


def test_photographs_that_follow_each_other_around_it_are_not_one_picture(clips: Path, known: SignedVideo) -> None:
    photographs = [next(clip(seed)) for seed in (64, 65, 66)]
    video = within(clips / "photographs.mp4", lambda number: photographs[number * 3 // int(SECONDS * FPS)], 0.7)
    _, verdict = compared(video, known, SETTINGS)
    assert verdict.needs_review
    assert not [s for s in verdict.segments if s.kind == "known" or s.look_seconds is not None], verdict.segments


def upright(path: Path, behind: Callable[[int, U8], U8]) -> SignedVideo:
    """Sign the known clip in the middle of 9:16 pictures, `behind` each picture of it above and below, blurred."""
    width, height = 360, 640

    def pictures() -> Iterator[U8]:
        for number, picture in enumerate(clip(61)):
            large = cv2.resize(behind(number, picture), (round(height * WIDTH / HEIGHT), height))
            left = (large.shape[1] - width) // 2
            shown = cv2.GaussianBlur(large[:, left : left + width], (0, 0), 14)
            rows = round(width * HEIGHT / WIDTH)
            top = (height - rows) // 2
            shown[top : top + rows] = cv2.resize(picture, (width, rows), interpolation=cv2.INTER_AREA)
            yield np.asarray(shown)

    write_video(path, pictures(), fps=FPS, crf=24)
    return sign(path)


def test_blurred_copies_of_it_above_and_below_are_nothing(clips: Path, known: SignedVideo) -> None:
    _, verdict = compared(upright(clips / "fill.mp4", lambda _, picture: picture), known, SETTINGS)
    cleared = [s.end_seconds - s.start_seconds for s in verdict.segments if s.kind == "known"]
    assert sum(cleared) >= 0.8 * SECONDS, verdict.segments


def test_another_video_blurred_above_and_below_is_something(clips: Path, known: SignedVideo) -> None:
    new = list(clip(62))
    _, verdict = compared(upright(clips / "other.mp4", lambda number, _: new[number]), known, SETTINGS)
    assert verdict.needs_review
    assert not [s for s in verdict.segments if s.kind == "known"], verdict.segments


def test_only_the_seconds_in_which_it_is_another_video_are_not_cleared(clips: Path, known: SignedVideo) -> None:
    new = list(clip(62))
    begin, end = 0.5, 2.0
    video = upright(
        clips / "in between.mp4", lambda number, picture: new[number] if begin <= number / FPS < end else picture
    )
    _, verdict = compared(video, known, SETTINGS)
    cleared = [(s.start_seconds, s.end_seconds) for s in verdict.segments if s.kind == "known"]
    assert sum(max(0.0, min(b, end) - max(a, begin)) for a, b in cleared) <= 0.1, verdict.segments
    assert sum(b - a for a, b in cleared) >= 0.5 * SECONDS, verdict.segments
    assert [s for s in verdict.segments if s.why_not == PLAYS_IN_A_PART and s.start_seconds <= begin + 0.1]


@given(
    st.floats(0.3, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.5, 2.5),
    st.booleans(),
)
def test_cells_are_covered_by_what_lies_in_them(
    side: float, left: float, top: float, aspect: float, mirrored: bool
) -> None:
    """A known picture of the query's shape, `side` of its sides: what is covered is that rectangle, cell by cell."""
    wide, high = sides(aspect)
    x, y = left * (1 - side), top * (1 - side)  # in shares of width and height
    # a mirrored query's positions are negative, and its right end shows the known picture's left
    corner = np.array([-(x + side) if mirrored else x, y]) * (wide, high)
    placement = np.column_stack([np.eye(2) / side, -corner / side])
    covered = Shown(placement, aspect, (0.0, 0.0, wide, high), mirrored).covers(18, 32)
    expected = np.outer(_overlap(18, y, y + side), _overlap(32, x, x + side))
    assert np.abs(covered - expected).max() <= 0.5
    assert abs(covered.mean() - side * side) <= 0.06


def _overlap(count: int, low: float, high: float) -> F64:
    """Return which share of each of `count` parts of one lies in `[low, high)`."""
    edges = np.arange(count + 1) / count
    return np.asarray(np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None) * count)
