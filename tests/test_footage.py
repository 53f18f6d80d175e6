"""Generated footage: repeatable, moving, and unrelated from seed to seed."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest

from videonovelty import demo, footage
from videonovelty.decode.rgb import read_rgb


def _grey(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)


def _dct_bits(picture: np.ndarray) -> np.ndarray:
    """The signs of the 16 × 16 lowest frequencies about their median: what PDQ looks at, written out again."""
    block = cv2.dct(_grey(picture, (64, 64)).astype(np.float32))[1:17, 1:17]
    return (block > np.median(block)).ravel()


def test_same_seed_same_frames() -> None:
    for make in (footage.clip, footage.static):
        one, two = list(make(5, 1.0)), list(make(5, 1.0))
        assert len(one) == 25
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    for a, b in zip(footage.fixed_camera(1, 2, 0.4), footage.fixed_camera(1, 2, 0.4), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(("width", "height", "fps"), [(320, 180, 25.0), (160, 96, 12.5), (96, 160, 10.0)])
def test_frames_have_the_size_and_number_asked_for(width: int, height: int, fps: float) -> None:
    pictures = list(footage.clip(1, 2.0, width=width, height=height, fps=fps))
    assert len(pictures) == round(2 * fps)
    assert {(p.shape, p.dtype.name) for p in pictures} == {((height, width, 3), "uint8")}


def test_longer_clip_begins_like_a_shorter_one() -> None:
    short = list(footage.clip(9, 3.0, fps=5))
    long = list(footage.clip(9, 8.0, fps=5))
    assert all(np.array_equal(a, b) for a, b in zip(short, long[: len(short)], strict=True))


def test_another_rate_samples_the_same_motion() -> None:
    slow, fast = list(footage.clip(4, 3.0, fps=5)), list(footage.clip(4, 3.0, fps=10))
    assert all(np.array_equal(a, b) for a, b in zip(slow, fast[::2], strict=True))


def test_two_seeds_are_unrelated_pictures() -> None:
    bits, owner = [], []
    for seed in range(8):
        for picture in footage.clip(seed, 9.0, fps=0.5):
            bits.append(_dct_bits(picture))
            owner.append(seed)
    table, owners = np.array(bits), np.array(owner)
    distance = (table[:, None] != table[None]).sum(axis=2)
    assert distance[owners[:, None] != owners[None]].min() > 80  # 31 of 256 bits is a match, 128 is chance


def test_two_seeds_share_no_local_detail() -> None:
    sift = cv2.SIFT_create(nfeatures=200)
    found = []
    for seed in range(6):
        for picture in footage.clip(seed, 9.0, fps=1 / 3):
            keypoints, descriptors = sift.detectAndCompute(_grey(picture, (320, 180)), None)
            found.append((seed, np.float32([k.pt for k in keypoints]), descriptors))
    matcher = cv2.BFMatcher()
    for (one, here, a), (two, there, b) in itertools.combinations(found, 2):
        if one == two:
            continue
        near = [m for m, n in matcher.knnMatch(a, b, k=2) if m.distance < 0.8 * n.distance]
        good = list({m.trainIdx: m for m in near}.values())  # one to one
        if len(good) < 4:
            continue
        source, target = here[[m.queryIdx for m in good]], there[[m.trainIdx for m in good]]
        _, inliers = cv2.estimateAffinePartial2D(source, target, ransacReprojThreshold=6)
        assert inliers is None or inliers.sum() < 7


def test_cuts_stand_out_from_motion() -> None:
    inside, cuts = [], []
    for seed in range(4):
        ends = footage._shot_ends(seed, 10.0, None)
        thumbs = [_grey(p, (64, 36)).astype(int) for p in footage.clip(seed, 10.0, fps=12.5)]
        for index, (one, two) in enumerate(itertools.pairwise(thumbs)):
            cut = any(index / 12.5 < end <= (index + 1) / 12.5 for end in ends[:-1])
            (cuts if cut else inside).append(np.abs(one - two).mean())
    assert len(cuts) >= 8
    assert min(cuts) > 2 * max(inside)
    assert np.median(inside) > 1  # and every shot moves


def test_number_of_shots_can_be_fixed() -> None:
    thumbs = [_grey(p, (64, 36)).astype(int) for p in footage.clip(3, 6.0, fps=10, shots=3)]
    steps = np.array([np.abs(one - two).mean() for one, two in itertools.pairwise(thumbs)])
    assert sorted(np.argsort(steps)[-2:].tolist()) == [19, 39]


def test_takes_of_a_room_share_the_background_and_not_the_actors() -> None:
    one = np.stack([_grey(p, (64, 36)) for p in footage.fixed_camera(2, 0, 8.0, fps=4)]).astype(int)
    two = np.stack([_grey(p, (64, 36)) for p in footage.fixed_camera(2, 1, 8.0, fps=4)]).astype(int)
    other = np.stack([_grey(p, (64, 36)) for p in footage.fixed_camera(3, 0, 8.0, fps=4)]).astype(int)
    assert (np.abs(np.median(one, axis=0) - np.median(two, axis=0)) < 15).mean() > 0.9
    assert (np.abs(np.median(one, axis=0) - np.median(other, axis=0)) < 15).mean() < 0.5
    assert np.abs(one - two).mean() > 3
    # the rhythm of one is not that of the other, at any shift
    rhythm = [np.abs(np.diff(take, axis=0)).mean(axis=(1, 2)) for take in (one, two)]
    shifts = [np.corrcoef(rhythm[0], np.roll(rhythm[1], shift))[0, 1] for shift in range(len(rhythm[0]))]
    assert max(shifts) < 0.8


def test_later_part_of_a_take_continues_it() -> None:
    whole = list(footage.fixed_camera(1, 0, 4.0, fps=5))
    part = list(footage.fixed_camera(1, 0, 2.0, fps=5, start_seconds=2.0))
    assert all(np.array_equal(a, b) for a, b in zip(whole[10:], part, strict=True))


def test_static_and_flat_do_not_move() -> None:
    first, *others = footage.static(1, 1.0, width=160, height=90)
    assert len(others) == 24
    assert all(np.array_equal(first, picture) for picture in others)
    assert {int(p.min()) for p in footage.flat(7, 0.2)} == {int(p.max()) for p in footage.flat(7, 0.2)} == {7}


def test_photographs_come_with_the_library_and_can_not_be_written_to() -> None:
    for name in footage._PROPS:
        picture = footage.photograph(name)
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert max(picture.shape) <= 640
        with pytest.raises(ValueError, match="read-only"):
            picture[0] = 0


# ---- planted clips --------------------------------------------------------------------------------------------------


def _at(path: Path, seconds: float) -> np.ndarray:
    return next(read_rgb(path, start_seconds=seconds - 0.01))[1]


def _error(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - two).mean())


def test_spliced_clip_has_the_new_seconds_where_it_says(tmp_path: Path) -> None:
    path = make_video.splice(tmp_path / "a.mp4", 1, 4.0, insert_at=2.0, insert_seconds=1.2, insert_seed=2)
    base, new = list(make_video.frames(1, 4.0)), list(make_video.frames(2, 1.2))
    shown = [picture for _, picture in read_rgb(path)]
    expected = [*base[:25], *new, *base[25:]]
    assert len(shown) == len(expected) == 65
    assert max(_error(a, b) for a, b in zip(shown, expected, strict=True)) < 12


def test_variable_rate_shows_what_the_content_shows_at_that_time(tmp_path: Path) -> None:
    path = make_video.variable_rate(tmp_path / "a.mkv", 1, 2.0)
    fine = list(make_video.frames(1, 2.0, fps=50.0))
    times = [seconds for seconds, _ in read_rgb(path)]
    assert len({round(step, 3) for step in np.diff(times)}) >= 3
    assert max(_error(picture, fine[round(seconds * 50)]) for seconds, picture in read_rgb(path)) < 12


def test_rotated_clip_is_shown_upright(tmp_path: Path) -> None:
    path = make_video.rotated(tmp_path / "a.mp4", 1, 1.0, degrees=90)
    assert _error(_at(path, 0.0), next(make_video.frames(1, 1.0))) < 12


@pytest.mark.parametrize("how", make_video.DAMAGES)
def test_damage_is_the_same_each_time(tmp_path: Path, how: str) -> None:
    source = make_video.make_clip(tmp_path / "whole.mp4", 1, 1.0)
    one = make_video.damaged(tmp_path / "one.mp4", how, source=source).read_bytes()
    two = make_video.damaged(tmp_path / "two.mp4", how, source=source).read_bytes()
    assert one == two != source.read_bytes()


# ---- the demo's footage ---------------------------------------------------------------------------------------------


def test_demo_footage_is_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # small pictures and few of them, so that the test takes seconds; `make demo` runs it in full
    monkeypatch.setattr(demo, "FPS", 10.0)
    monkeypatch.setattr(demo, "_WIDTH", 160)
    monkeypatch.setattr(demo, "_HEIGHT", 90)
    told: list[str] = []
    made = demo.make_demo_footage(tmp_path, progress=told.append)
    assert len(made.originals) == 6
    assert len(told) == len(made.originals) + len(made.intake)
    assert {file.path for file in made.intake} == {p for p in (tmp_path / "intake").rglob("*") if p.is_file()}
    names = {path.stem for path in made.originals}
    for file in made.intake:
        assert set(file.known) <= names
        assert not (file.novel and "known" in file.verdicts), "what holds something new is never cleared"
    by_name = {file.path.name: file for file in made.intake}
    garden = next(path for path in made.originals if path.stem == "garden")
    assert by_name["IMG_0412.MOV"].path.read_bytes() == garden.read_bytes()
    mash_up = by_name["best of.mp4"]
    ((start, end),) = mash_up.novel
    assert end - start == 10.0
    for moment, original, there in ((3.0, "garden", 5.0), (18.0, "hill", 5.0)):
        source = next(path for path in made.originals if path.stem == original)
        assert _error(_at(mash_up.path, moment), _at(source, there)) < 12
    rows = (tmp_path / "answers.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + len(made.intake)
