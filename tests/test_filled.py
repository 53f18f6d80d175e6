"""A blurred, enlarged copy of a clip around it is told from whatever else may be there, picture by picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty import footage
from videonovelty.records import BORDER_COLUMNS, BORDER_ROWS, U8
from videonovelty.signatures.borders import Box, common_bars, common_fill, full_box
from videonovelty.signatures.filled import fitted_fill, not_filled

PORTRAIT, LANDSCAPE, SQUARE = (360, 640), (640, 360), (480, 480)
USUAL, SHARP = 25, 50
"""Grey levels: a fill is explained to within so many in most pictures, anything else is not."""


def pictures(seed: int, count: int = 12, size: tuple[int, int] = (320, 180)) -> list[U8]:
    """Return grey pictures of a clip, `count` of four seconds."""
    width, height = size
    shown = list(footage.clip(seed, 4.0, width=width, height=height, shots=1))
    return [np.asarray(cv2.cvtColor(shown[n], cv2.COLOR_RGB2GRAY)) for n in np.linspace(0, 99, count).astype(int)]


def filled(
    clip: U8, frame: tuple[int, int], *, by: float = 1.0, blur: float = 0.024, light: float = 1.0, of: U8 | None = None,
    stretched: bool = False,
) -> U8:  # fmt: skip
    """Return a frame (width, height) with a clip in its middle, around it `of`, or the clip, enlarged and blurred."""
    width, height = frame
    behind = clip if of is None else of
    rows, columns = behind.shape
    fills = by * max(width / columns, height / rows)
    size = (width, height) if stretched else (round(columns * fills), round(rows * fills))
    large = cv2.resize(behind, size, interpolation=cv2.INTER_LINEAR)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    back = cv2.GaussianBlur(large[top : top + height, left : left + width], (0, 0), blur * max(width, height))
    shown = (light * back).astype(np.uint8)
    fits = min(width / clip.shape[1], height / clip.shape[0])
    small = cv2.resize(clip, (round(clip.shape[1] * fits), round(clip.shape[0] * fits)), interpolation=cv2.INTER_AREA)
    y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    shown[y : y + small.shape[0], x : x + small.shape[1]] = small
    return shown


def sketched(shown: list[U8]) -> U8:
    return np.stack([cv2.resize(one, (BORDER_COLUMNS, BORDER_ROWS), interpolation=cv2.INTER_AREA) for one in shown])


def left_over(shown: list[U8]) -> tuple[Box, U8]:
    """Return the box that is found, and what a fill around it does not explain."""
    sketches = sketched(shown)
    height, width = shown[0].shape
    box = common_fill(sketches)
    return box, not_filled(sketches, box, fitted_fill(sketches[::3], box, width / height))


@pytest.mark.parametrize("seed", [3, 5, 11])
@pytest.mark.parametrize(
    "edit",
    [
        {}, {"by": 1.3}, {"light": 0.55}, {"blur": 0.035}, {"stretched": True},
        {"by": 1.12, "light": 0.8, "blur": 0.018},
    ],
    ids=str,
)  # fmt: skip
def test_a_clip_between_blurred_copies_of_itself_is_explained(seed: int, edit: dict[str, float]) -> None:
    box, apart = left_over([filled(one, PORTRAIT, **edit) for one in pictures(seed)])
    # 16:9 in 9:16: 0.316 of the height
    assert abs(box[0] - 24.6) <= 1.5 and abs(box[1] - 47.4) <= 1.5 and box[2:] == (0, BORDER_COLUMNS)
    assert np.median(apart[:, 0]) <= USUAL and (apart.max(axis=0) <= (40, SHARP)).all(), apart


@pytest.mark.parametrize("frame", [SQUARE, LANDSCAPE], ids=["square", "landscape"])
def test_so_it_is_in_frames_of_other_shapes(frame: tuple[int, int]) -> None:
    size = (180, 320) if frame == LANDSCAPE else (320, 180)
    box, apart = left_over([filled(one, frame, by=1.1) for one in pictures(5, size=size)])
    assert box != full_box(sketched(pictures(5))[0])
    assert np.median(apart[:, 0]) <= USUAL and apart[:, 0].max() <= 40, apart


@pytest.mark.parametrize("seed", [3, 5, 11])
@pytest.mark.parametrize("light", [1.0, 0.6])
def test_another_clip_blurred_around_it_is_not(seed: int, light: float) -> None:
    shown = [
        filled(one, PORTRAIT, of=other, light=light) for one, other in zip(pictures(seed), pictures(40), strict=True)
    ]
    assert np.median(left_over(shown)[1][:, 0]) > USUAL


@pytest.mark.parametrize("seed", [3, 5, 11])
@pytest.mark.parametrize("share", [0.1, 0.15, 0.2])
def test_a_small_picture_in_the_fill_is_not(seed: int, share: float) -> None:
    shown = []
    for one, other in zip(pictures(seed), pictures(41), strict=True):
        frame = filled(one, PORTRAIT)
        side = round(share * frame.shape[0])
        frame[20 : 20 + side, 30 : 30 + side] = cv2.resize(other, (side, side), interpolation=cv2.INTER_AREA)
        shown.append(frame)
    box, apart = left_over(shown)
    assert box == full_box(sketched(shown)[0]) or (apart[:, 1] > SHARP).all(), apart


def test_pictures_in_which_it_is_something_else_are_told_from_the_others() -> None:
    clip, other = pictures(5), pictures(40)
    shown = [filled(one, PORTRAIT, of=other[n] if 4 <= n < 7 else None) for n, one in enumerate(clip)]
    apart = left_over(shown)[1][:, 0]
    assert (apart[4:7] > USUAL).all() and np.delete(apart, [4, 5, 6]).max() <= 40
    assert apart[4:7].min() > np.delete(apart, [4, 5, 6]).max()


@pytest.mark.parametrize("level", [0, 16, 235])
def test_bars_of_one_colour_are_nothing(level: int) -> None:
    shown = [cv2.copyMakeBorder(one, 60, 60, 0, 0, cv2.BORDER_CONSTANT, value=level) for one in pictures(5)]
    sketches = sketched(shown)
    box = common_bars(sketches)
    assert abs(box[0] - 14.4) <= 1 and abs(box[1] - 57.6) <= 1
    assert not_filled(sketches, box, None).max() <= 3


def test_nothing_is_said_of_a_picture_without_borders() -> None:
    sketches = sketched(pictures(5))
    assert fitted_fill(sketches, full_box(sketches[0]), 16 / 9) is None
    assert not not_filled(sketches, full_box(sketches[0]), None).any()


@given(
    st.tuples(st.integers(0, 70), st.integers(1, 72), st.integers(0, 126), st.integers(1, 128)),
    st.floats(0.01, 100.0),
    st.integers(0, 2**31),
)
@settings(max_examples=25, deadline=None)
def test_any_box_of_any_picture_has_an_answer(corners: Box, aspect: float, seed: int) -> None:
    top, height, left, width = corners
    box = (top, min(BORDER_ROWS, top + height), left, min(BORDER_COLUMNS, left + width))
    noise = np.random.default_rng(seed).integers(0, 256, (3, BORDER_ROWS, BORDER_COLUMNS)).astype(np.uint8)
    found = not_filled(noise, box, fitted_fill(noise, box, aspect))
    assert found.shape == (3, 2) and found.dtype == np.uint8
