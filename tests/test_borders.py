"""The picture inside the frame is found, whatever surrounds it, and nothing is cut where nothing surrounds it."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from videonovelty.signatures.borders import inner_box
from videonovelty.tuning.edits import generated_picture, make_edit


def picture(seed: int = 0, width: int = 320, height: int = 180) -> np.ndarray:
    return generated_picture(np.random.default_rng(seed), width=width, height=height)


def grey(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


def framed(inside: np.ndarray, top: int, bottom: int, left: int, right: int, level: int = 16) -> np.ndarray:
    return np.asarray(cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(level,) * 3))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 50),
    st.tuples(*[st.integers(8, 60)] * 4),
    st.sampled_from(["letterbox", "pillarbox", "both", "all different"]),
    st.sampled_from([0, 16, 128, 255]),
)
def test_bars_are_cut_to_within_two_pixels(seed: int, bars: tuple[int, int, int, int], kind: str, level: int) -> None:
    top, bottom, left, right = bars
    top, bottom, left, right = {
        "letterbox": (top, top, 0, 0),
        "pillarbox": (0, 0, left, left),
        "both": (top, top, left, left),
        "all different": (top, bottom, left, right),
    }[kind]
    inside = picture(seed)
    # the planted picture must not itself begin with a line of the bar's colour
    edges = [
        grey(inside)[:3].ravel(),
        grey(inside)[-3:].ravel(),
        grey(inside)[:, :3].ravel(),
        grey(inside)[:, -3:].ravel(),
    ]
    assume(all((np.abs(edge.astype(int) - level) > 30).mean() > 0.6 for edge in edges))
    found = inner_box(grey(framed(inside, top, bottom, left, right, level)))
    assert np.abs(np.subtract(found, (top, top + 180, left, left + 320))).max() <= 2


@pytest.mark.parametrize("seed", range(10))
def test_picture_without_borders_keeps_its_full_box(seed: int) -> None:
    assert inner_box(grey(picture(seed))) == (0, 180, 0, 320)


def test_coloured_noisy_bars_are_cut() -> None:
    noise = np.random.default_rng(1).normal(0, 5, (240, 320, 3))
    boxed = np.clip(framed(picture(3), 30, 30, 0, 0, 96) + noise, 0, 255).astype(np.uint8)
    top, bottom, left, right = inner_box(grey(boxed))
    assert abs(top - 30) <= 2
    assert abs(bottom - 210) <= 2
    assert (left, right) == (0, 320)


def test_subtitles_in_one_bar_do_not_hide_it() -> None:
    boxed = framed(picture(3), 40, 40, 0, 0)
    cv2.putText(
        boxed, "what the person says", (80, 250), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA
    )
    top, bottom, _, _ = inner_box(grey(boxed))
    assert abs(top - 40) <= 2
    assert abs(bottom - 220) <= 2


def test_clip_between_blurred_copies_of_itself_is_found() -> None:
    found = 0
    for seed in range(8):
        filled = make_edit("blurred_fill", seed)(picture(seed, 640, 360))
        small = cv2.resize(grey(filled), (180, 320), interpolation=cv2.INTER_AREA)
        top, bottom, left, right = inner_box(small)
        found += abs(top - 109) <= 3 and abs(bottom - 211) <= 3 and (left, right) == (0, 180)
    assert found >= 6


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_flat_picture_keeps_its_full_box(level: int) -> None:
    assert inner_box(np.full((180, 320), level, np.uint8)) == (0, 180, 0, 320)


def test_sky_that_fades_into_the_picture_is_no_bar() -> None:
    scene = grey(picture(5)).astype(np.float32)
    sky = np.linspace(1, 0, 180)[:, None] ** 2
    faded = (200 * sky + scene * (1 - sky)).astype(np.uint8)
    assert inner_box(faded)[2:] == (0, 320)
    assert inner_box(faded)[0] < 40


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_box_always_lies_within_the_picture_and_is_never_empty(height: int, width: int, seed: int) -> None:
    luma = np.random.default_rng(seed).integers(0, 2, (height, width)).astype(np.uint8) * 200
    top, bottom, left, right = inner_box(luma)
    assert 0 <= top < bottom <= height
    assert 0 <= left < right <= width
