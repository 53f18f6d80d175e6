"""Keyframes: every shot and every lasting change has one, intervals tile the time, memory and number are bounded."""

from __future__ import annotations

import csv
import gc
import os
import weakref
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from videonovelty.decode import open_video
from videonovelty.decode.writer import write_video
from videonovelty.keyframes import KeyframeChoice, choose_keyframes
from videonovelty.records import Frame, Keyframe
from videonovelty.settings import DecodeSettings, KeyframeSettings

U8 = npt.NDArray[np.uint8]

REPO_ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("VIDEONOVELTY_SHARED", REPO_ROOT.parent / "shared"))
FPS = 25


@cache
def scene(seed: int) -> U8:
    """Return a thumb of large shapes, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 10)).astype(np.uint8)
    return cv2.resize(coarse, (64, 36), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def panned(seed: int, shift: int) -> U8:
    rng = np.random.default_rng(seed)
    wide = cv2.resize(rng.integers(0, 256, (6, 200)).astype(np.uint8), (1280, 36), interpolation=cv2.INTER_CUBIC)
    return wide[:, shift : shift + 64].astype(np.uint8).copy()


def noisy(thumb: U8, seed: int, amount: float = 2.0) -> U8:
    noise = np.random.default_rng(seed).normal(0, amount, thumb.shape)
    return np.clip(thumb + noise, 0, 255).astype(np.uint8)


def frame(pts: float, thumb: U8) -> Frame:
    return Frame(
        pts_seconds=pts,
        thumb=thumb,
        luma=lambda width, height: cv2.resize(thumb, (width, height)).astype(np.uint8),
        sketch=lambda: cv2.resize(thumb, (128, 72)).astype(np.uint8),
        width=64,
        height=36,
    )


def film(thumbs: Iterable[U8], fps: float = FPS) -> Iterator[Frame]:
    """Yield frames with a little sensor noise."""
    for i, thumb in enumerate(thumbs):
        yield frame(i / fps, noisy(thumb, i))


def chosen(frames: Iterable[Frame], **changes: float) -> tuple[list[Keyframe], KeyframeChoice]:
    choice = choose_keyframes(frames, KeyframeSettings(**changes))
    return list(choice), choice


def assert_tiles(keyframes: list[Keyframe], first: float, end: float) -> None:
    assert keyframes[0].start_seconds == first
    assert keyframes[-1].end_seconds == pytest.approx(end)
    for one, following in pairwise(keyframes):
        assert one.end_seconds == following.start_seconds
        assert one.shot <= following.shot <= one.shot + 1
    for one in keyframes:
        assert one.start_seconds <= one.pts_seconds < one.end_seconds
        assert one.frame.pts_seconds == one.pts_seconds


def test_each_shot_begins_at_its_cut() -> None:
    lengths = [40, 13, 60, 25, 90]
    thumbs = [scene(i) for i, length in enumerate(lengths) for _ in range(length)]
    keyframes, choice = chosen(film(thumbs))
    cuts = [n / FPS for n in np.cumsum(lengths)[:-1]]
    assert choice.cuts_seconds == cuts
    assert sorted({k.shot for k in keyframes}) == [0, 1, 2, 3, 4]
    for keyframe in keyframes:  # no interval crosses a cut
        assert not [c for c in cuts if keyframe.start_seconds < c < keyframe.end_seconds]
    assert_tiles(keyframes, 0.0, len(thumbs) / FPS)


def test_two_cuts_close_together_are_both_found() -> None:
    thumbs = [scene(1)] * 40 + [scene(2)] * 2 + [scene(3)] * 40
    keyframes, choice = chosen(film(thumbs))
    assert choice.cuts_seconds == [40 / FPS, 42 / FPS]
    assert [40 / FPS <= k.pts_seconds < 42 / FPS for k in keyframes].count(True) == 1


def test_a_camera_flash_is_no_cut() -> None:
    lit = np.clip(scene(1).astype(int) * 1.3 + 90, 0, 255).astype(np.uint8)
    for flash in ([lit], [lit, lit], [np.full((36, 64), 255, np.uint8)]):
        _, choice = chosen(film([scene(1)] * 50 + flash + [scene(1)] * 50))
        assert choice.cuts_seconds == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_picture_of_something_else_put_in_for_a_moment_gets_a_keyframe(length: int) -> None:
    thumbs = [scene(1)] * 52 + [scene(2)] * length + [scene(1)] * 50
    keyframes, choice = chosen(film(thumbs))
    assert choice.cuts_seconds == [52 / FPS, (52 + length) / FPS]
    assert any(52 / FPS <= k.pts_seconds < (52 + length) / FPS for k in keyframes)


def test_something_fast_in_front_of_the_camera_is_no_cut() -> None:
    thumbs = []
    for i in range(100):
        picture = scene(1).copy()
        if 40 <= i < 60:
            left = 3 * (i - 40)
            picture[8:30, left : left + 10] = 255 - picture[8:30, left : left + 10]
        thumbs.append(picture)
    assert chosen(film(thumbs))[1].cuts_seconds == []


@pytest.mark.parametrize("through", [None, 0, 255])
def test_a_dissolve_is_covered_without_being_a_cut(through: int | None) -> None:
    old, new = scene(1).astype(float), scene(2).astype(float)
    mixed = []
    for share in np.linspace(0, 1, 40):
        if through is None:
            mixed.append(old * (1 - share) + new * share)
        elif share < 0.5:
            mixed.append(old * (1 - 2 * share) + through * 2 * share)
        else:
            mixed.append(through * (2 - 2 * share) + new * (2 * share - 1))
    thumbs = [scene(1)] * 50 + [m.astype(np.uint8) for m in mixed] + [scene(2)] * 50
    keyframes, choice = chosen(film(thumbs))
    assert choice.cuts_seconds == []
    assert any(k.pts_seconds < 50 / FPS for k in keyframes)
    assert any(k.pts_seconds >= 90 / FPS for k in keyframes)
    assert_tiles(keyframes, 0.0, 140 / FPS)


@pytest.mark.parametrize("brightest", [12, 30, 90])
def test_black_and_what_fades_in_from_it_have_keyframes_of_their_own(brightest: int) -> None:
    dim = scene(1).astype(float) * brightest / 255
    rising = [(dim * share).astype(np.uint8) for share in np.linspace(0, 1, 30)]
    black = np.zeros((36, 64), np.uint8)
    keyframes, _ = chosen(frame(i / FPS, t) for i, t in enumerate([black] * 30 + rising + [rising[-1]] * 40))
    assert any(k.pts_seconds < 30 / FPS for k in keyframes)
    before, after = (max(k.start_seconds for k in keyframes if k.start_seconds <= n / FPS) for n in (29, 62))
    assert before < after


def test_what_swings_back_and_forth_is_one_interval_where_its_middle_resembles_both_ends() -> None:
    ends = [scene(1).astype(float), scene(1).astype(float) * 0.88 + scene(2) * 0.12]
    middle = (ends[0] + ends[1]) / 2
    swing = [ends[0]] * 13 + [middle] * 13 + [ends[1]] * 12
    keyframes, _ = chosen(film([t.astype(np.uint8) for t in swing * 8]), min_keyframes=1)
    assert max(k.end_seconds - k.start_seconds for k in keyframes) > 1.5


def test_every_moment_of_a_slow_pan_resembles_its_keyframe() -> None:
    thumbs = [panned(1, i // 6) for i in range(600)]
    keyframes, _ = chosen(film(thumbs))
    assert 12 <= len(keyframes) <= 60
    for i, thumb in enumerate(thumbs):
        standing = next(k for k in keyframes if k.start_seconds <= i / FPS < k.end_seconds)
        assert np.abs(standing.frame.thumb.astype(int) - thumb).mean() / 255 < 0.18


def test_a_blended_picture_at_a_cut_makes_one_cut_and_is_not_chosen() -> None:
    blend = (scene(1).astype(int) + scene(2)) // 2
    thumbs = [scene(1)] * 50 + [blend.astype(np.uint8)] + [scene(2)] * 50
    keyframes, choice = chosen(film(thumbs))
    assert len(choice.cuts_seconds) == 1
    assert choice.cuts_seconds[0] in (50 / FPS, 51 / FPS)
    assert all(k.pts_seconds != 50 / FPS for k in keyframes)


def test_still_footage_has_a_keyframe_every_two_seconds() -> None:
    keyframes, choice = chosen(film([scene(1)] * 1500))
    assert len(keyframes) == 30
    assert max(k.end_seconds - k.start_seconds for k in keyframes) <= 2.0 + 1e-6
    assert choice.notes == ()
    assert_tiles(keyframes, 0.0, 60.0)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 10, 20, 60, 200])
def test_a_short_video_gets_six_keyframes_as_far_as_it_has_frames(count: int) -> None:
    keyframes, _ = chosen(film([scene(1)] * count))
    assert len(keyframes) >= min(6, count)
    assert len(keyframes) <= max(6, count)
    assert len({k.pts_seconds for k in keyframes}) == len(keyframes)
    if count >= 20:
        assert max(np.diff([k.pts_seconds for k in keyframes])) < 0.5 * count / FPS
    assert_tiles(keyframes, 0.0, count / FPS)


def test_no_frames_give_no_keyframes() -> None:
    assert chosen([])[0] == []


def test_a_frame_shown_for_long_stands_for_all_of_it() -> None:
    keyframes, _ = chosen(iter([frame(0.0, scene(1)), frame(30.0, scene(2)), frame(60.0, scene(3))]))
    assert [(k.start_seconds, k.end_seconds) for k in keyframes] == [(0.0, 30.0), (30.0, 60.0), (60.0, 90.0)]


def test_the_cap_thins_evenly_and_says_so() -> None:
    thumbs = (scene(i // 10) for i in range(10_000))
    for expected in (0.0, 400.0):
        keyframes, choice = chosen_with(film(thumbs), expected, max_keyframes=100)
        thumbs = (scene(i // 10) for i in range(10_000))
        assert 40 <= len(keyframes) <= 100
        assert "thinned" in choice.notes[0]
        assert_tiles(keyframes, 0.0, 400.0)
        longest = max(k.end_seconds - k.start_seconds for k in keyframes)
        assert longest < (60 if expected else 150)  # with no end in sight, thinning gets stronger as time goes on


def chosen_with(frames: Iterable[Frame], expected: float, **changes: float) -> tuple[list[Keyframe], KeyframeChoice]:
    choice = choose_keyframes(frames, KeyframeSettings(**changes), expected_seconds=expected)
    return list(choice), choice


def test_a_day_of_still_footage_stays_under_the_cap() -> None:
    frames = (frame(i * 10.0, scene(1)) for i in range(8640))
    keyframes, choice = chosen_with(frames, 86_400.0, max_keyframes=600)
    assert 200 <= len(keyframes) <= 600
    assert max(k.end_seconds - k.start_seconds for k in keyframes) < 600
    assert choice.notes
    assert_tiles(keyframes, 0.0, 86_400.0)


def test_a_change_in_a_day_of_still_footage_is_not_thinned_away() -> None:
    frames = (frame(i * 10.0, scene(2 if 5000 <= i < 5003 else 1)) for i in range(8640))
    keyframes, _ = chosen_with(frames, 86_400.0, max_keyframes=600)
    assert any(50_000 <= k.pts_seconds < 50_030 for k in keyframes)


def test_a_declared_duration_that_lies_thins_nothing() -> None:
    honest = chosen_with(film([scene(1)] * 1500), 60.0)
    lying = chosen_with(film([scene(1)] * 1500), 1e6)
    assert [k.pts_seconds for k in lying[0]] == [k.pts_seconds for k in honest[0]]
    assert lying[1].notes == ()


def test_memory_does_not_grow_with_length() -> None:
    alive: weakref.WeakSet[Kept] = weakref.WeakSet()
    most, most_later = 0, 0

    def frames() -> Iterator[Frame]:
        nonlocal most, most_later
        for i in range(3000):
            kept = Kept(noisy(panned(1, i // 5), i))
            alive.add(kept)
            most = max(most, len(alive))
            if i > 500:
                most_later = max(most_later, len(alive))
            yield Frame(i / FPS, kept.thumb, kept.luma, kept.sketch, 64, 36)
            del kept

    gc.disable()  # frames must go by reference counting: they hold decoded pictures
    try:
        for _ in choose_keyframes(frames(), KeyframeSettings()):
            pass
    finally:
        gc.enable()
    assert most <= 22
    assert most_later <= 11


class Kept:
    """A picture whose life can be watched."""

    def __init__(self, thumb: U8) -> None:
        self.thumb = thumb

    def luma(self, width: int, height: int) -> U8:
        return np.zeros((height, width), np.uint8)

    def sketch(self) -> U8:
        return np.zeros((72, 128), np.uint8)


@settings(max_examples=60, deadline=None)
@example([(0, 1, 0.0625), (0, 2, 0.09375), (0, 11, 0.078125)], 5, 10, 0.0)  # a spare became the shot's own picture
@example(
    [(0, 9, 0.625), (0, 5, 0.25), (0, 2, 0.5)], 6, 10, 0.0
)  # a spare of the next keyframe lengthened the one before
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 30), st.floats(0.01, 0.7)), min_size=1, max_size=12),
    st.integers(1, 8),
    st.sampled_from([10, 50, 6000]),
    st.sampled_from([0.0, 3.0, 1000.0]),
)
def test_intervals_tile_any_footage(
    shots: list[tuple[int, int, float]], minimum: int, cap: int, expected: float
) -> None:
    frames, now = [], 0.0
    for seed, count, spacing in shots:
        for _ in range(count):
            frames.append(frame(now, noisy(scene(seed), len(frames), 4.0)))
            now += spacing
    keyframes, choice = chosen_with(iter(frames), expected, min_keyframes=minimum, max_keyframes=cap)
    assert_tiles(keyframes, 0.0, keyframes[-1].end_seconds)
    assert keyframes[-1].end_seconds > frames[-1].pts_seconds
    # a spare is taken on the grid, which few frames a second pass over
    assert len(keyframes) >= min(minimum, (len(frames) + 1) // 2, cap)
    assert len(keyframes) <= max(cap, minimum)
    assert [k.pts_seconds for k in keyframes] == sorted({k.pts_seconds for k in keyframes})
    if not choice.notes:
        for keyframe in keyframes:
            inside = [f for f in frames if keyframe.start_seconds <= f.pts_seconds < keyframe.end_seconds]
            assert len(inside) == 1 or inside[-1].pts_seconds - keyframe.start_seconds <= 2.0


def test_cuts_of_an_encoded_video_are_found_through_skipped_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    for shot in range(6):
        base = cv2.resize(rng.integers(0, 256, (9, 16, 3)).astype(np.uint8), (160, 90), interpolation=cv2.INTER_CUBIC)
        pictures += [np.roll(base, i // 2, axis=1) for i in range(30 + 7 * shot)]
    write_video(tmp_path / "a.mp4", pictures, fps=FPS)
    with (tmp_path / "a.mp4").open("rb") as file, open_video(file.fileno(), DecodeSettings(), name="a.mp4") as video:
        choice = choose_keyframes(video.frames("nonref"), KeyframeSettings())
        shapes = {k.frame.luma(64, 64).shape for k in choice}
    starts = np.cumsum([30 + 7 * shot for shot in range(5)]) / FPS
    assert choice.cuts_seconds == pytest.approx(starts.tolist(), abs=2.5 / FPS)
    assert shapes == {(64, 64)}


@pytest.mark.shared
def test_listed_hard_cuts_of_real_films_are_separated() -> None:
    table = SHARED / "videos" / "cuts" / "cuts.csv"
    if not table.is_file():
        pytest.skip(f"{table} is not there")
    with table.open() as text:
        cuts = [row for row in csv.DictReader(text) if row["kind"] == "hard_cut"]
    assert len(cuts) == 10
    for name in sorted({row["file"] for row in cuts}):
        with (SHARED / "videos" / name).open("rb") as file, open_video(file.fileno(), DecodeSettings()) as video:
            keyframes = list(choose_keyframes(video.frames("nonref"), KeyframeSettings()))
            pts = [f.pts_seconds for f in video.frames("all")]
        starts = [k.start_seconds for k in keyframes]
        for row in cuts:
            if row["file"] == name:
                cut = int(row["first_frame"])
                assert any(pts[cut - 2] < start <= pts[cut + 2] for start in starts), f"{name}: {cut}"
