"""The motion profile: the same rhythm in edited copies, another one in other footage."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videonovelty import footage
from videonovelty.records import Frame, MotionProfile, thinned
from videonovelty.signatures.borders import common_bars
from videonovelty.signatures.motion import (
    FINE_GRID,
    LEVEL_UNIT,
    MotionRecorder,
    _area_means,
    _borders,
    fine_cells_of,
    turned,
)
from videonovelty.signatures.pdq import DIHEDRAL, INVERSE

FPS = 25.0


def _frames(pictures: Iterator[np.ndarray], fps: float = FPS) -> Iterator[Frame]:
    for number, picture in enumerate(pictures):
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)

        def scaled(width: int, height: int, luma: np.ndarray = luma) -> np.ndarray:
            return cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)

        yield Frame(number / fps, scaled(64, 36), scaled, lambda f=scaled: f(128, 72), 320, 180)  # type: ignore[misc]


def _profile(pictures: Iterator[np.ndarray], seconds: float, fps: float = FPS) -> MotionProfile:
    recorder = MotionRecorder(0.1)
    for _ in recorder.watch(_frames(pictures, fps)):
        pass
    return recorder.finish(seconds)


def _agreement(one: MotionProfile, other: MotionProfile) -> float:
    a, b = one.signs.astype(float), other.signs.astype(float)
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def test_profile_has_a_tick_every_step() -> None:
    profile = _profile(footage.clip(1, 4.0), 4.0)
    assert len(profile.signs) == len(profile.fine) == len(profile.pictures) == 40
    assert not profile.signs[:4].any() and not profile.fine[:4].any()  # nothing before it
    assert profile.signs[4:].any(axis=1).mean() > 0.5
    assert 4 <= np.abs(profile.fine).max() <= 8


def test_the_texture_of_a_wall_is_no_bar_though_it_vanishes_at_half_the_size() -> None:
    """A bar is one at both sizes; which of them shows it is the coding's doing otherwise."""
    chance = np.random.default_rng(2)
    wall = np.full((72, 8), 22, np.uint8)
    wall[::2, ::3] = 36
    room = chance.integers(60, 220, (18, 30)).repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)
    boxes = []
    for left in (wall, np.full((72, 8), 22, np.uint8)):
        sketch = np.hstack([left, room])
        half = cv2.resize(sketch, (64, 36), interpolation=cv2.INTER_AREA)
        assert common_bars(half[None])[2] == 4
        boxes.append(_borders(sketch[None], half[None], 16 / 9)[0])
    assert boxes == [(0, 72, 0, 128), (0, 72, 8, 128)]


def test_half_the_frame_rate_and_mirroring_keep_the_rhythm() -> None:
    plain = _profile(footage.clip(1, 6.0), 6.0)
    half = _profile((p for n, p in enumerate(footage.clip(1, 6.0)) if n % 2 == 0), 6.0, FPS / 2)
    mirror = _profile((p[:, ::-1] for p in footage.clip(1, 6.0)), 6.0)
    assert _agreement(plain, half) > 0.8
    flip = DIHEDRAL.index("flip_horizontal")
    turned_back = turned(mirror, flip)
    assert _agreement(plain, turned_back) > 0.95
    assert _agreement(plain, mirror) < 0.6


def test_other_footage_has_another_rhythm() -> None:
    assert abs(_agreement(_profile(footage.clip(1, 6.0), 6.0), _profile(footage.clip(2, 6.0), 6.0))) < 0.3


def test_brightness_changes_nothing() -> None:
    bright = ((p // 2 + 60).astype(np.uint8) for p in footage.clip(3, 4.0))
    assert _agreement(_profile(footage.clip(3, 4.0), 4.0), _profile(bright, 4.0)) > 0.85


def test_levels_are_of_the_picture_whatever_its_brightness_and_contrast() -> None:
    plain = _profile(footage.clip(3, 4.0), 4.0)
    dim = _profile(((p // 2 + 60).astype(np.uint8) for p in footage.clip(3, 4.0)), 4.0)
    other = _profile(footage.clip(4, 4.0), 4.0)
    assert plain.levels is not None and dim.levels is not None and other.levels is not None
    assert plain.levels.shape == plain.fine.shape and np.abs(plain.levels).max() > 40
    apart, unlike = (np.abs(plain.levels.astype(int) - one.levels) * LEVEL_UNIT for one in (dim, other))
    assert np.quantile(apart, 0.99) < 0.15 and np.median(apart) < 0.05
    assert np.median(unlike) > 0.2
    mirror = turned(_profile((p[:, ::-1] for p in footage.clip(3, 4.0)), 4.0), DIHEDRAL.index("flip_horizontal"))
    assert mirror.levels is not None
    assert np.abs(plain.levels.astype(int) - mirror.levels).max() <= 5


def test_still_footage_has_no_signs() -> None:
    assert not _profile(footage.static(1, 3.0), 3.0).signs.any()


def test_memory_is_bounded_by_blocks_and_blocks_join_without_a_seam() -> None:
    long = _profile(footage.clip(5, 35.0, width=160, height=90), 35.0)
    assert len(long.signs) == len(long.fine) == 350
    assert long.signs[290:315].any(axis=1).sum() > 10


@given(st.integers(0, 7), st.integers(1, 30))
def test_turning_there_and_back_is_nothing(variant: int, ticks: int) -> None:
    chance = np.random.default_rng(ticks)
    signs, fine = (chance.integers(-1, 2, (ticks, cells)).astype(np.int8) for cells in (16, 64))
    back = turned(turned(MotionProfile(0.1, signs, fine), variant), int(INVERSE[variant]))
    assert np.array_equal(back.signs, signs) and np.array_equal(back.fine, fine)


@given(st.integers(0, 7))
def test_cells_of_a_turned_picture_are_found_in_the_picture(variant: int) -> None:
    fine = np.arange(64, dtype=np.int8).reshape(1, 64)
    there = turned(MotionProfile(0.1, np.zeros((1, 16), np.int8), fine), variant).fine[0]
    assert np.array_equal(fine_cells_of(variant), there)


def test_both_grids_turn_alike() -> None:
    chance = np.random.default_rng(1)
    signs = chance.integers(-1, 2, (5, 4, 4)).astype(np.int8)
    profile = MotionProfile(0.1, signs.reshape(5, 16), signs.repeat(2, axis=1).repeat(2, axis=2).reshape(5, 64))
    for variant in range(8):
        one = turned(profile, variant)
        assert np.array_equal(one.fine.reshape(5, 8, 8)[:, ::2, ::2].reshape(5, 16), one.signs)


def test_thinning_keeps_every_other_tick() -> None:
    profile = _profile(footage.clip(1, 2.0), 2.0)
    store = thinned(profile)
    assert store.step_seconds == pytest.approx(0.2)
    assert np.array_equal(store.signs, profile.signs[::2])
    assert np.array_equal(store.fine, np.sign(profile.fine[::4]))
    assert profile.levels is not None
    assert np.array_equal(store.levels, profile.levels[::4])
    again = thinned(store)
    assert np.array_equal(again.levels, store.levels)
    assert np.array_equal(again.signs, store.signs) and np.array_equal(again.fine, store.fine)


def test_cells_are_exact_means_of_what_lies_in_them() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 31, 50), dtype=np.uint8)
    whole = pictures.repeat(FINE_GRID, axis=1).repeat(
        FINE_GRID, axis=2
    )  # each pixel as 8 × 8, so that no cell cuts one
    expected = whole.reshape(3, FINE_GRID, 31, FINE_GRID, 50).mean((2, 4))
    assert (_area_means(pictures, FINE_GRID, FINE_GRID) == expected).all()
