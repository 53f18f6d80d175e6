"""Footage that was sped up or slowed down: its speed is found, it is proven, and nothing new hides in it."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_video import FULL_RATE as FPS
from make_video import content, take
from signing_help import SETTINGS, sign

from benchmarks.speed_footage import played
from videonovelty.comparing import compared
from videonovelty.matching.speeds import Window, lines_at_other_speeds
from videonovelty.matching.stretch import Stretch
from videonovelty.records import PLAIN_AS_GOOD, MotionProfile, SignedVideo
from videonovelty.signatures.motion import LAG_SECONDS, OTHER_LAGS_SECONDS, lag_at_speed, signs_at_speed

SEARCH = {"variant": 0, "reach_seconds": 2.2, "least_agreement": 0.5}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def known(clips: Path) -> SignedVideo:
    return sign(make_video.make_clip(clips / "known.mp4", 21, 14.0, fps=FPS))


def _proven(query: SignedVideo, known: SignedVideo) -> list[Stretch]:
    return [stretch for stretch in compared(query, known, SETTINGS)[0] if stretch.proof.proven]


def _seconds(stretches: Iterable[Stretch]) -> float:
    return sum(one.end_seconds - one.start_seconds for one in stretches)


def _made_motion(seed: int, ticks: int) -> np.ndarray:
    """Return signs of 16 cells that change as slowly as footage does, shape (ticks, 16)."""
    rng = np.random.default_rng(seed)
    walk = np.convolve(rng.normal(size=ticks * 16), np.ones(6), mode="same").reshape(16, ticks).T
    return (np.sign(walk) * (np.abs(walk) > 1.0)).astype(np.int8)


def _silent(ticks: int) -> np.ndarray:
    return np.zeros((ticks, 64), np.int8)


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.floats(0.5, 0.96), st.floats(1.04, 2.0)), st.floats(0, 8), st.floats(-1.5, 1.5), st.integers(0, 99))
def test_planted_speed_and_place_are_found(speed: float, offset: float, off: float, seed: int) -> None:
    fine = _made_motion(seed, 600)  # 20 ticks a second, 30 s
    known = MotionProfile(0.2, fine[::4].copy(), _silent(75), 2)
    # with one lag at all speeds, so that the signs are the very same
    at = np.round((np.arange(100) * 0.1 * speed + offset) * 20).astype(int)
    at = at[at < len(fine)]
    query = MotionProfile(0.1, fine[at], _silent(len(at)))
    seconds = 0.1 * len(at)
    starts = np.arange(0.0, max(seconds - 2.0, 0.1), 2.0)
    windows = [Window(s, min(s + 4, seconds), speed * (s + min(s + 4, seconds)) / 2 + offset + off) for s in starts]
    lines = lines_at_other_speeds(query, known, windows, **SEARCH)
    assert lines
    # by the ends of the query
    best = lines[0]
    for moment in (0.5, seconds - 0.5):
        assert best.speed * moment + best.offset_seconds == pytest.approx(speed * moment + offset, abs=0.25)


@pytest.mark.parametrize("seed", range(6))
def test_plain_speed_and_other_footage_give_no_line(seed: int) -> None:
    fine, other = _made_motion(seed, 600), _made_motion(seed + 100, 600)
    known = MotionProfile(0.2, fine[::4].copy(), _silent(75), 2)
    windows = [Window(s, s + 4.0, s + 2.0 + 3.0) for s in np.arange(0.0, 8.0, 2.0)]
    plain = MotionProfile(0.1, fine[60:260:2].copy(), _silent(100))
    assert lines_at_other_speeds(plain, known, windows, **SEARCH) == []
    unlike = MotionProfile(0.1, other[60:260:2].copy(), _silent(100))
    assert lines_at_other_speeds(unlike, known, windows, **SEARCH) == []
    nothing = MotionProfile(0.1, np.zeros((0, 16), np.int8), _silent(0))
    assert lines_at_other_speeds(nothing, known, windows, **SEARCH) == []
    assert lines_at_other_speeds(plain, known, [], **SEARCH) == []


@given(st.floats(0.4, 2.5))
def test_the_lag_that_shows_what_the_known_one_does_is_taken(speed: float) -> None:
    lags = (*OTHER_LAGS_SECONDS, LAG_SECONDS)
    taken = lag_at_speed(speed)
    shown = (LAG_SECONDS if taken is None else OTHER_LAGS_SECONDS[taken]) * speed
    assert all(abs(np.log(shown / LAG_SECONDS)) <= abs(np.log(lag * speed / LAG_SECONDS)) + 1e-9 for lag in lags)
    assert lag_at_speed(1.0) is None


def test_signs_over_other_lags_are_what_they_say(known: SignedVideo) -> None:
    motion = known.signatures.motion
    assert motion.lagged is not None
    assert motion.lagged.shape == (len(motion.signs), len(OTHER_LAGS_SECONDS), 16)
    for number, lag in enumerate(OTHER_LAGS_SECONDS):
        ticks = round(lag / motion.step_seconds)
        assert not motion.lagged[:ticks, number].any()  # nothing before them
        assert motion.lagged[ticks:, number].any()
    # over the longer lag the changes of the two shorter ones inside it add up, where both say the same
    short, long = motion.lagged[:, 1].astype(int), motion.lagged[:, 3].astype(int)  # 0.3 and 0.6 s
    both = (short[6:] == short[3:-3]) & (short[6:] != 0)
    assert (long[6:][both] == short[6:][both]).mean() > 0.99
    assert signs_at_speed(motion, 1.0) is motion.signs
    np.testing.assert_array_equal(signs_at_speed(motion, 2.0), motion.lagged[:, 0])


@pytest.mark.parametrize("speed", [0.5, 0.7, 0.93, 1.08, 1.25, 1.4, 2.0])
def test_copy_at_another_speed_is_proven_at_that_speed(clips: Path, known: SignedVideo, speed: float) -> None:
    pictures = played(content(21, 14.0), speed)
    query = sign(make_video.edited(clips / f"sped{speed}.mp4", pictures, crf=30, fps=FPS))
    proven = _proven(query, known)
    assert _seconds(proven) >= 0.7 * 14.0 / speed  # at half the speed moving parts look covered for six seconds
    longest = max(proven, key=lambda one: one.end_seconds - one.start_seconds)
    assert longest.line.speed == pytest.approx(speed, rel=0.02)
    for moment in (longest.start_seconds, longest.end_seconds):
        assert longest.line.speed * moment + longest.line.offset_seconds == pytest.approx(speed * moment, abs=0.3)


def test_part_of_a_copy_at_another_speed_is_explained_at_its_place(clips: Path, known: SignedVideo) -> None:
    new = list(make_video.frames(77, 5.0, fps=FPS))
    part = played(content(21, 8.0, start=4.0), 1.3)
    query = sign(
        make_video.edited(clips / "inside.mp4", [*new, *part, *make_video.frames(78, 4.0, fps=FPS)], crf=28, fps=FPS)
    )
    proven = _proven(query, known)
    first, last = 5.0, 5.0 + 8.0 / 1.3
    assert proven[0].start_seconds == pytest.approx(first, abs=0.6)
    assert proven[-1].end_seconds == pytest.approx(last, abs=0.6)
    middle = 0.5 * (first + last)
    assert proven[0].line.speed * middle + proven[0].line.offset_seconds == pytest.approx(8.0, abs=0.3)


@pytest.mark.parametrize("speed", [0.9, 1.2])
def test_new_seconds_inside_a_copy_at_another_speed_are_never_explained(
    clips: Path, known: SignedVideo, speed: float
) -> None:
    before, after = (played(content(21, 7.0, start=start), speed) for start in (0.0, 7.0))
    new = list(make_video.frames(99, 2.0, fps=FPS))
    query = sign(make_video.edited(clips / f"splice{speed}.mp4", [*before, *new, *after], crf=28, fps=FPS))
    start = len(before) / FPS
    proven = _proven(query, known)
    assert sum(max(0.0, min(s.end_seconds, start + 2) - max(s.start_seconds, start)) for s in proven) <= 0.35
    assert _seconds(proven) >= 0.8 * 14.0 / speed


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.1, 1.5])
def test_new_footage_in_a_part_of_a_copy_at_another_speed_is_not_hidden(
    clips: Path, known: SignedVideo, speed: float
) -> None:
    pictures = played(content(21, 14.0), speed)
    hosts = list(make_video.frames(55, len(pictures) / FPS + 1, fps=FPS))
    height, width = pictures[0].shape[:2]
    size = (width * 2 // 5, height * 2 // 5)
    for picture, host in zip(pictures, hosts, strict=False):
        picture[: size[1], -size[0] :] = cv2.resize(host, size, interpolation=cv2.INTER_AREA)
    query = sign(make_video.edited(clips / f"inset{speed}.mp4", pictures, crf=28, fps=FPS))
    assert _proven(query, known) == []


@pytest.mark.parametrize("room", range(3))
@pytest.mark.parametrize("speed", [0.75, 0.9, 1.1, 1.4])
def test_another_take_of_a_known_room_is_never_proven_at_any_speed(clips: Path, room: int, speed: float) -> None:
    known = sign(make_video.other_take(clips / f"room{room}.mp4", room, 0, 12.0, fps=FPS))
    another = played(take(room, 1, 12.0), speed)
    assert _proven(sign(make_video.edited(clips / f"take{room}{speed}.mp4", another, crf=28, fps=FPS)), known) == []


def test_what_agrees_as_well_at_the_plain_speed_is_proven_there(clips: Path, known: SignedVideo) -> None:
    # three seconds at 1.012 times the speed: no movement tells that from the plain speed
    pictures = played(content(21, 3.0, start=2.0), 1.012)
    stretches = compared(sign(make_video.edited(clips / "nearly.mp4", pictures, crf=28, fps=FPS)), known, SETTINGS)[0]
    assert any(one.proof.proven and one.line.speed == 1.0 for one in stretches)
    assert all(one.line.speed == 1.0 or one.proof.why_not == PLAIN_AS_GOOD for one in stretches)
