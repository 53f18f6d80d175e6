"""Lines, stretches and proof: planted truth is found, and other takes are not."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import make_video
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.matching.proof import (
    TickEvidence,
    best_offset,
    holding,
    independent_share,
    moves_otherwise_somewhere,
)
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import (
    Line,
    correlate_motion,
    direct_sums,
    lines_through_matches,
    transformed_sums,
)
from videonovelty.records import PART_COVERED, U8, MotionProfile, SignedVideo
from videonovelty.signatures.motion import excerpt

FAR = 128
LARGE = {"width": 320, "height": 180}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def known(clips: Path) -> SignedVideo:
    return sign(make_video.make_clip(clips / "known.mp4", 21, 12.0))


def _proven(query: SignedVideo, known: SignedVideo) -> list[Stretch]:
    return [stretch for stretch in compared(query, known, SETTINGS)[0] if stretch.proof.proven]


def test_reencoded_clip_is_proven_from_end_to_end(clips: Path, known: SignedVideo) -> None:
    query = sign(make_video.make_clip(clips / "re.mkv", 21, 12.0, codec="libx264", crf=33, gop=50))
    (stretch,) = _proven(query, known)
    assert stretch.start_seconds == pytest.approx(0.0, abs=0.01)
    assert stretch.end_seconds == pytest.approx(12.0, abs=0.1)
    assert stretch.line.offset_seconds == pytest.approx(0.0, abs=0.1)
    assert stretch.line.speed == 1.0


def test_clip_from_the_middle_is_found_at_its_place(clips: Path, known: SignedVideo) -> None:
    query = sign(make_video.concatenate(clips / "middle.mp4", [(21, 4.0, 9.0)], crf=30))
    (stretch,) = _proven(query, known)
    assert stretch.line.offset_seconds == pytest.approx(4.0, abs=0.2)
    assert stretch.end_seconds - stretch.start_seconds == pytest.approx(5.0, abs=0.3)


def test_mirrored_copy_is_proven_and_says_so(clips: Path, known: SignedVideo) -> None:
    query = sign(make_video.edited(clips / "mirror.mp4", make_video.mirrored(make_video.frames(21, 12.0)), crf=28))
    (stretch,) = _proven(query, known)
    assert stretch.mirrored


def test_known_seconds_inside_new_footage_are_the_only_ones_explained(clips: Path, known: SignedVideo) -> None:
    # seconds 3 … 8 of the known clip between 4 new seconds and 4 other new seconds
    query = sign(make_video.concatenate(clips / "inside.mp4", [(77, 0.0, 4.0), (21, 3.0, 8.0), (78, 0.0, 4.0)]))
    (stretch,) = _proven(query, known)
    assert stretch.start_seconds == pytest.approx(4.0, abs=0.5)
    assert stretch.end_seconds == pytest.approx(9.0, abs=0.5)
    assert stretch.line.offset_seconds == pytest.approx(-1.0, abs=0.2)


@pytest.mark.parametrize("inserted", [1.0, 2.0, 3.0])
def test_new_seconds_inside_known_footage_are_never_explained(clips: Path, known: SignedVideo, inserted: float) -> None:
    path = clips / f"splice{inserted}.mp4"
    query = sign(make_video.splice(path, 21, insert_at=5.0, insert_seed=99, insert_seconds=inserted, seconds=12.0))
    over = sum(max(0.0, min(s.end_seconds, 5.0 + inserted) - max(s.start_seconds, 5.0)) for s in _proven(query, known))
    assert over <= 0.35
    explained = sum(s.end_seconds - s.start_seconds for s in _proven(query, known))
    assert explained >= 10.0  # of the 12 known seconds


@pytest.mark.parametrize(
    ("side", "left", "top"), [(0.2, 0.0, 0.0), (0.25, 0.75, 0.75), (0.3, 0.7, 0.0), (0.3, 0.35, 0.4), (0.4, 0.0, 0.6)]
)
def test_new_footage_playing_in_a_part_of_the_picture_is_not_hidden(
    clips: Path, known: SignedVideo, side: float, left: float, top: float
) -> None:
    inside = make_video.frames(333, 12.0)
    pictures = (_pasted(a, b, side, left, top) for a, b in zip(make_video.frames(21, 12.0), inside, strict=True))
    path = clips / f"part {side} {left} {top}.mp4"
    assert _proven(sign(make_video.edited(path, pictures, crf=28)), known) == []


def test_what_hardly_moves_in_a_part_of_the_picture_is_not_hidden(clips: Path) -> None:
    known = sign(make_video.make_clip(clips / "host.mp4", 21, 6.0, **LARGE))
    room = footage.fixed_camera(5, 0, 6.0, **LARGE)
    host = list(make_video.frames(21, 6.0, **LARGE))
    for what, inside in (("room", list(room)[::2]), ("still", [next(make_video.frames(333, 1.0, **LARGE))] * 75)):
        pictures = (_pasted(a, b, 0.22, 0.75, 0.03) for a, b in zip(host, inside, strict=False))
        query = sign(make_video.edited(clips / f"{what}.mp4", pictures, crf=28))
        assert _proven(query, known) == [], what
        assert any(s.proof.why_not == PART_COVERED for s in compared(query, known, SETTINGS)[0]), what


def test_flicker_is_no_movement_of_something_else_unless_something_else_is_there(clips: Path) -> None:
    known = sign(make_video.edited(clips / "steady.mp4", make_video.frames(22, 8.0, **LARGE), crf=23))
    rng = np.random.default_rng(5)
    inside = make_video.frames(333, 8.0, **LARGE)
    pictures = [
        np.clip(a * (1 + 0.2 * rng.uniform(-1, 1)), 0, 255).astype(np.uint8)
        for a in make_video.frames(22, 8.0, **LARGE)
    ]
    covered = [_pasted(a, b, 0.3, 0.6, 0.1) for a, b in zip(pictures, inside, strict=True)]
    (stretch,) = _proven(sign(make_video.edited(clips / "flicker.mp4", pictures, crf=26)), known)
    assert stretch.end_seconds - stretch.start_seconds >= 7.0
    assert _proven(sign(make_video.edited(clips / "flicker covered.mp4", covered, crf=26)), known) == []


def test_small_emblem_in_a_corner_does_not_stop_the_proof(clips: Path) -> None:
    # blocks of a smaller picture are dragged along by what moves beside them
    known = sign(make_video.make_clip(clips / "large.mp4", 21, 8.0, **LARGE))
    emblem = next(make_video.frames(333, 1.0, **LARGE))
    pictures = (_pasted(a, emblem, 0.12, 0.85, 0.04) for a in make_video.frames(21, 8.0, **LARGE))
    (stretch,) = _proven(sign(make_video.edited(clips / "emblem.mp4", pictures, crf=28)), known)
    assert stretch.end_seconds - stretch.start_seconds >= 7.0


def _pasted(picture: np.ndarray, other: np.ndarray, side: float, left: float, top: float) -> np.ndarray:
    """Return `picture` with `other`, at `side` of its size, pasted in at shares of its sides."""
    height, width = picture.shape[:2]
    small = cv2.resize(other, (round(width * side), round(height * side)), interpolation=cv2.INTER_AREA)
    y, x = round(height * top), round(width * left)
    whole = picture.copy()
    whole[y : y + small.shape[0], x : x + small.shape[1]] = small
    return whole


def _faded(pictures: Sequence[U8], seconds: float) -> list[U8]:
    """Return pictures that become bright from black in `seconds`, and black again at the end."""
    ramp = seconds * make_video.FPS
    count = len(pictures)
    return [
        (picture * min(1.0, (n + 1) / ramp, (count - n) / ramp)).astype(np.uint8) for n, picture in enumerate(pictures)
    ]


def test_a_fade_at_both_ends_does_not_stop_the_proof_and_hides_nothing(clips: Path, known: SignedVideo) -> None:
    pictures = list(make_video.frames(21, 12.0))
    query = sign(make_video.edited(clips / "fade.mp4", _faded(pictures, 1.0), crf=28))
    assert sum(s.end_seconds - s.start_seconds for s in _proven(query, known)) >= 9.0
    height, width = pictures[0].shape[:2]
    size = (width * 2 // 5, height * 2 // 5)
    for picture, new in zip(pictures, make_video.frames(60, 12.0), strict=True):
        picture[: size[1], : size[0]] = cv2.resize(new, size, interpolation=cv2.INTER_AREA)
    covered = sign(make_video.edited(clips / "fade_inset.mp4", _faded(pictures, 1.0), crf=28))
    assert _proven(covered, known) == []


@pytest.mark.parametrize("seed", range(5))
def test_ticks_lit_anew_say_nothing_about_a_part_unless_there_are_many(seed: int) -> None:
    rng = np.random.default_rng(seed)
    there = rng.integers(-1, 2, (40, 64)).astype(np.int8)  # every 0.4 s, 16 s
    known = MotionProfile(0.2, np.zeros((80, 16), np.int8), there, 2)

    def otherwise(steps: np.ndarray) -> bool:
        query = MotionProfile(0.1, np.zeros((160, 16), np.int8), np.repeat(steps, 4, axis=0).astype(np.int8))
        return moves_otherwise_somewhere(query, known, Line(1.0, 0.0, 0, 0.0), 0.0, 16.0, SETTINGS.proof)

    copy = there * 4
    fade, flicker, inset = copy.copy(), copy.copy(), copy.copy()
    level = np.where(np.arange(64) % 8 < 4, 8, 2)  # what is bright on the left changes more than what is dark
    fade[:5], fade[-5:] = level, -level
    flicker[::2] = level * rng.choice([-1, 1], (20, 1))
    corner = np.arange(64).reshape(8, 8)[5:, 5:].ravel()
    inset[:, corner] = 4 * rng.integers(-1, 2, (40, 9))
    both = fade.copy()
    both[5:-5, corner] = inset[5:-5, corner]
    assert not otherwise(copy)
    assert not otherwise(fade)
    assert otherwise(flicker)
    assert otherwise(inset)
    assert otherwise(both)


def test_other_footage_has_no_stretch_at_all(clips: Path, known: SignedVideo) -> None:
    assert compared(sign(make_video.make_clip(clips / "new.mp4", 55, 8.0)), known, SETTINGS)[0] == []


@pytest.mark.parametrize("room", range(3))
def test_another_take_of_a_known_room_is_never_proven(clips: Path, room: int) -> None:
    known = sign(make_video.other_take(clips / f"room{room}.mp4", room=room, take=0, seconds=10.0))
    query = sign(make_video.other_take(clips / f"room{room}take.mp4", room=room, take=1, seconds=10.0))
    assert _proven(query, known) == []


def test_still_picture_proves_nothing(clips: Path) -> None:
    known = sign(make_video.still(clips / "still.mp4", 4, 8.0))
    query = sign(make_video.still(clips / "still2.mp4", 4, 8.0, crf=30))
    assert _proven(query, known) == []


def _flickering(path: Path, seed: int, seconds: float, *, room: int = 8, crf: int = 23) -> Path:
    """Write a still room whose light goes off and on at random, every second or so."""
    picture = next(footage.clip(room, 1.0, **LARGE)).copy()
    dark = picture.copy()
    dark[20:] = 0  # a bar stays
    rng = np.random.default_rng(seed)
    changes = np.cumsum(rng.uniform(0.4, 1.6, 60))
    shown = (picture if np.searchsorted(changes, frame / 25) % 2 else dark for frame in range(int(25 * seconds)))
    return make_video.edited(path, shown, fps=25, crf=crf)


@pytest.mark.parametrize("seed", range(6))
def test_a_few_flashes_at_the_same_times_prove_nothing(clips: Path, seed: int) -> None:
    """All cells change at once, and at many offsets and speeds two or three flashes of another take fall together."""
    known = sign(_flickering(clips / f"flicker{seed}.mp4", seed, 11.0))
    query = sign(_flickering(clips / f"flicker{seed}other.mp4", 100 + seed, 10.0, crf=30))
    assert _proven(query, known) == []


def _strobed(path: Path, room: int, take: int, seed: int, crf: int = 23) -> Path:
    """Write a fixed camera's room whose lights go off and on at random, but for a lamp at the left."""
    changes = np.cumsum(np.random.default_rng(seed).uniform(0.3, 1.6, 80))
    lamp = 0.1 * np.linspace(1.6, 0.2, 320)[None, :, None]
    pictures = footage.fixed_camera(room, take, 10.0, **LARGE)
    shown = (
        picture if np.searchsorted(changes, frame / 25) % 2 else (picture * lamp).astype(np.uint8)
        for frame, picture in enumerate(pictures)
    )
    return make_video.edited(path, shown, fps=25, crf=crf)


@pytest.mark.parametrize("room", [2, 5])
def test_another_take_under_flickering_light_is_not_proven_and_a_copy_is(clips: Path, room: int) -> None:
    """What moves in the room moves otherwise, and tells the copy."""
    known = sign(_strobed(clips / f"strobed{room}.mp4", room, 0, room))
    assert _proven(sign(_strobed(clips / f"strobed{room}take.mp4", room, 1, 500 + room, crf=28)), known) == []
    (copy,) = _proven(sign(_strobed(clips / f"strobed{room}copy.mp4", room, 0, room, crf=33)), known)
    assert copy.end_seconds - copy.start_seconds > 9.0


def test_many_flashes_at_the_same_times_do(clips: Path) -> None:
    known = sign(_flickering(clips / "flickers.mp4", 3, 24.0))
    query = sign(_flickering(clips / "flickers2.mp4", 3, 24.0, crf=32))
    assert sum(stretch.end_seconds - stretch.start_seconds for stretch in _proven(query, known)) > 20.0


def test_cells_that_change_together_count_as_few() -> None:
    rng = np.random.default_rng(5)
    alone = rng.integers(-1, 2, (200, 16)).astype(np.int8)
    together = np.repeat(rng.integers(-1, 2, (200, 1)), 16, axis=1).astype(np.int8)
    halves = np.repeat(rng.integers(-1, 2, (200, 2)), 8, axis=1).astype(np.int8)
    one = together.copy()
    one[:, 1:] = 0

    def share(signs: npt.NDArray[np.int8]) -> float:
        query, known = (MotionProfile(step, signs[::every], np.zeros((len(signs[::every]), 64), np.int8))
                        for step, every in ((0.1, 1), (0.2, 2)))  # fmt: skip
        return independent_share(query, known, Line(1.0, 0.0, 0, 0.0), 0.0, 20.0)

    assert share(alone) == 1.0
    assert share(one) == 1.0  # a clock: seldom, but each change is one
    assert share(together) == pytest.approx(0.25)
    assert share(halves) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 0.0), (0.5, 2.0), (2.0, -3.0)])
def test_line_through_planted_matches_is_found(speed: float, seconds: float) -> None:
    query = np.arange(0.0, 12.0, 0.9)
    known = np.arange(0.0, 30.0, 0.45)
    distance = np.full((len(query), len(known)), FAR, np.int16)
    for i, t in enumerate(query):
        j = int(np.abs(known - (speed * t + seconds)).argmin())
        if abs(known[j] - (speed * t + seconds)) < 0.3:
            distance[i, j] = 8
    distance[2, :] = 8  # one keyframe looks like everything
    (line, *_) = lines_through_matches(
        query, known, distance, variant=0, radius_bits=31, speeds=(1.0, 0.5, 2.0), tolerance_seconds=0.5, count=3
    )
    assert line.speed == speed
    assert line.offset_seconds == pytest.approx(seconds, abs=0.4)


def test_motion_correlation_finds_the_planted_offset() -> None:
    rng = np.random.default_rng(3)
    fine = rng.integers(-1, 2, (400, 16)).astype(np.int8)
    known = MotionProfile(0.2, fine[::2].copy(), np.zeros((100, 64), np.int8), 2)
    query = MotionProfile(0.1, fine[150:250].copy(), np.zeros((100, 64), np.int8))
    correlation = correlate_motion(query, known, speed=1.0, least_ticks=20)
    ((offset, agreement),) = correlation.peaks(1, least_events=40, apart_seconds=1.0)
    assert offset == pytest.approx(15.0)
    assert agreement == pytest.approx(1.0)


@settings(max_examples=50)
@given(st.integers(20, 80), st.integers(0, 60), st.integers(8, 30))
def test_contradicted_ticks_never_hold(ticks: int, at: int, length: int) -> None:
    at = min(at, ticks - 1)
    agree, changes = np.full(ticks, 8.0), np.full(ticks, 10.0)
    agree[at : at + length] = 0.0
    evidence = TickEvidence(np.arange(ticks) * 0.2, agree, changes, changes)
    path = holding(evidence, np.zeros(0), np.zeros(0), expected=0.3, switch_cost=8.0)
    contradicted = path[at : at + length]
    assert not contradicted.any() or len(contradicted) < 8  # too few at an end to speak


@pytest.mark.parametrize("speed", [1.0, 0.8, 1.25])
@pytest.mark.parametrize("place", [0.0, 37.3, 180.0, 236.0])
def test_offset_in_a_long_video_is_the_best_of_all_near_the_line(speed: float, place: float) -> None:
    rng = np.random.default_rng(int(10 * place))
    ticks = 2400  # four minutes at ten a second
    fine = np.sign(np.convolve(rng.normal(size=ticks * 16), np.ones(5), mode="same")).reshape(16, ticks).T
    known = MotionProfile(0.2, fine[::2].astype(np.int8), np.zeros((600, 64), np.int8), 2)
    query = MotionProfile(0.1, rng.integers(-1, 2, (120, 16)).astype(np.int8), np.zeros((120, 64), np.int8))
    line, stretch, reach = Line(speed, place, 0, 0.0), (3.0, 7.0), 2.2
    found = best_offset(query, known, line, stretch=stretch, reach_seconds=reach)
    everywhere = correlate_motion(excerpt(query, 30, 71), known, speed=speed, least_ticks=4)
    offset = everywhere.offset_seconds - 3.0 * speed
    near = np.abs(offset - place) <= reach + 1e-9
    score = np.where(near, np.nan_to_num(everywhere.agreement * np.sqrt(everywhere.events), nan=-1.0), -1.0)
    if score.max() <= 0:
        assert found.score == 0.0
        return
    assert abs(found.offset_seconds - place) <= reach + 1e-9
    at = int(np.abs(offset - found.offset_seconds).argmin())
    assert score[at] == pytest.approx(score.max(), abs=1e-9)
    assert found.score == pytest.approx(everywhere.agreement[at], abs=1e-9)


def test_line_of_a_silent_video_holds_nowhere_by_motion_alone() -> None:
    zeros = np.zeros(50)
    evidence = TickEvidence(np.arange(50) * 0.2, zeros, zeros, zeros)
    path = holding(evidence, np.zeros(0), np.zeros(0), expected=0.3, switch_cost=8.0)
    assert not path.any()


def test_footage_makes_different_takes_look_alike() -> None:
    # the test above would mean nothing if the generator's takes did not share their background
    one = next(iter(footage.fixed_camera(0, 0, 1.0))).astype(int)
    other = next(iter(footage.fixed_camera(0, 1, 1.0))).astype(int)
    assert (np.abs(one - other) < 12).all(axis=2).mean() > 0.5


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 40), st.integers(1, 3), st.sampled_from((1, 12)))
def test_sums_one_by_one_are_those_of_the_transform(seed: int, ticks: int, m: int, every: int, grade: int) -> None:
    rng = np.random.default_rng(seed)
    query, known = (rng.integers(-grade, grade + 1, (n, 16)).astype(np.int8) for n in (ticks, m))
    for one, other in zip(direct_sums(query, known, every), transformed_sums(query, known, every), strict=True):
        assert np.array_equal(one, other)
