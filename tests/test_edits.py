"""Edits are the same for every frame of a video, the same again from the same seed, and different from another."""

import numpy as np
import pytest

from videonovelty.tuning.edits import EDITS, INSETS, NEEDS_HOST, generated_picture, make_edit

FRAME = generated_picture(np.random.default_rng(0), width=360, height=270)
NEXT = np.ascontiguousarray(np.roll(FRAME, 3, axis=1))
UNSEEDED = {"resize_240", "grey", "mirror", "rotate_180"}


def test_there_are_at_least_twenty_five_edits() -> None:
    assert len(EDITS) >= 25


@pytest.mark.parametrize("name", [*EDITS, *INSETS])
def test_edit_is_repeatable_keeps_its_input_and_one_size_for_all_frames(name: str) -> None:
    before = FRAME.copy()
    edit = make_edit(name, 7)
    first = edit(FRAME)
    assert (before == FRAME).all()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert (edit(FRAME) == first).all()
    assert (make_edit(name, 7)(FRAME) == first).all()
    assert edit(NEXT).shape == first.shape
    assert first.shape != FRAME.shape or not (first == FRAME).all()


@pytest.mark.parametrize("name", sorted(set(EDITS) - UNSEEDED))
def test_another_seed_gives_another_edit(name: str) -> None:
    made = [make_edit(name, seed)(FRAME) for seed in range(4)]
    assert any(m.shape != made[0].shape or not (m == made[0]).all() for m in made[1:])


@pytest.mark.parametrize("name", sorted(NEEDS_HOST))
def test_host_can_be_given(name: str) -> None:
    hosts = [generated_picture(np.random.default_rng(n)) for n in (1, 2)]
    one, other = (make_edit(name, 3, host=host)(FRAME) for host in hosts)
    assert one.shape == other.shape
    assert not (one == other).all()


@pytest.mark.parametrize("name", [*EDITS, *INSETS])
@pytest.mark.parametrize(("width", "height"), [(64, 36), (36, 64), (201, 99)])
def test_small_upright_and_odd_pictures_can_be_edited(name: str, width: int, height: int) -> None:
    frame = generated_picture(np.random.default_rng(4), width=width, height=height)
    assert min(make_edit(name, 1)(frame).shape[:2]) >= 2


def test_mirror_and_rotations_are_exact() -> None:
    assert (make_edit("mirror", 0)(FRAME) == FRAME[:, ::-1]).all()
    assert (make_edit("rotate_180", 0)(FRAME) == FRAME[::-1, ::-1]).all()
    turned = make_edit("rotate_90", 0)(FRAME)
    assert any((turned == np.rot90(FRAME, k)).all() for k in (1, 3))


def test_crop_keeps_the_share_its_name_says() -> None:
    assert make_edit("crop_20", 0)(FRAME).shape == (216, 288, 3)


@pytest.mark.parametrize("name", INSETS)
def test_inset_covers_the_share_its_name_says_where_its_name_says(name: str) -> None:
    share = int(name.split("_")[1]) / 100
    black = np.zeros((200, 320, 3), np.uint8)
    places = set()
    for seed in range(12):
        # a host of a colour no frame has by chance
        laid = make_edit(name, seed, host=np.full((90, 160, 3), (17, 99, 31), np.uint8))(black)
        rows, columns = np.nonzero((laid == (17, 99, 31)).all(axis=2))
        top, left = rows.min(), columns.min()
        high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert abs(high - 200 * share) <= 7
        assert abs(wide - 320 * share) <= 7
        assert (len(rows) < 0.85 * high * wide) == name.endswith("round")
        places.add((round(2 * top / (200 - high)), round(2 * left / (320 - wide))))
    corners, edges = {(0, 0), (0, 2), (2, 0), (2, 2)}, {(0, 1), (2, 1), (1, 0), (1, 2)}
    assert places <= ({(1, 1)} if name.endswith("middle") else edges if name.endswith("edge") else corners)
    assert len(places) >= (1 if name.endswith("middle") else 3)


def test_unknown_edit_is_refused() -> None:
    with pytest.raises(KeyError, match="teleport"):
        make_edit("teleport", 0)
