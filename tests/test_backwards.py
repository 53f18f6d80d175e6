"""Footage played backwards: it is found, proven and told, and nothing new hides in it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from make_video import FULL_RATE as FPS
from make_video import content, take
from signing_help import SETTINGS, sign

from videonovelty.comparing import compared
from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.backwards import as_played, backwards, lines_backwards, pairs_backwards, turning_seconds
from videonovelty.matching.local_evidence import LocalPair
from videonovelty.matching.proof import Proof
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import U8, LocalFeatures, SignedVideo
from videonovelty.settings import Settings

SECONDS = 14.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def known(clips: Path) -> SignedVideo:
    return sign(make_video.make_clip(clips / "known.mp4", 21, SECONDS, fps=FPS))


@pytest.fixture(scope="module")
def reversed_copy(clips: Path) -> SignedVideo:
    return sign(make_video.edited(clips / "reversed.mp4", content(21, SECONDS)[::-1], crf=24, fps=FPS))


def _signed(clips: Path, name: str, pictures: Iterable[U8]) -> SignedVideo:
    return sign(make_video.edited(clips / f"{name}.mp4", list(pictures), crf=28, fps=FPS))


def _proven(query: SignedVideo, known: SignedVideo, settings: Settings = SETTINGS) -> list[Stretch]:
    return [stretch for stretch in compared(query, known, settings)[0] if stretch.proof.proven]


def _seconds(stretches: Iterable[Stretch], first: float = 0.0, last: float = np.inf) -> float:
    """Return how much of `[first, last)` the stretches explain together."""
    at = np.arange(0.0, 60.0, 0.02)
    inside = np.zeros(len(at), bool)
    for one in stretches:
        inside |= (at >= max(first, one.start_seconds)) & (at < min(last, one.end_seconds))
    return 0.02 * float(inside.sum())


# ---- signatures ----


def test_twice_backwards_is_as_it_was(known: SignedVideo) -> None:
    one = known.signatures
    again = backwards(backwards(one))
    # whole ticks: there may be one more at the beginning
    more = turning_seconds(backwards(one)) - turning_seconds(one)
    for name, most in (("pts_seconds", 0.05 + 1e-9), ("start_seconds", 1e-9), ("end_seconds", 1e-9)):
        np.testing.assert_allclose(getattr(again, name) - more, getattr(one, name), atol=most)
    once = backwards(one)  # each keyframe lies in the interval it stands for
    assert ((once.pts_seconds >= once.start_seconds) & (once.pts_seconds < once.end_seconds)).all()
    for name in ("pdq", "pdq_inner", "has_inner", "quality", "informative"):
        np.testing.assert_array_equal(getattr(again, name), getattr(one, name))
    for name in ("offsets", "codes", "mirrored_codes", "xy", "scale", "angle"):
        np.testing.assert_array_equal(getattr(again.local, name), getattr(one.local, name))
    assert not again.local.backwards
    np.testing.assert_array_equal(again.panes.keyframe, one.panes.keyframe)
    np.testing.assert_array_equal(again.panes.box, one.panes.box)
    first, n = round(more / one.motion.step_seconds), len(one.motion.signs)
    assert one.motion.pictures is not None
    assert again.motion.pictures is not None
    np.testing.assert_array_equal(again.motion.pictures[first : first + n], one.motion.pictures)
    lag = 4  # what changes since a moment before the first picture is not known either way
    for name in ("signs", "fine"):
        np.testing.assert_array_equal(
            getattr(again.motion, name)[first + lag : first + n], getattr(one.motion, name)[lag:]
        )


def test_signatures_backwards_are_those_of_the_pictures_in_the_other_order(
    known: SignedVideo, reversed_copy: SignedVideo
) -> None:
    turned, seen = backwards(reversed_copy.signatures), known.signatures
    assert turned.motion.levels is not None
    assert seen.motion.levels is not None
    assert turned.motion.lagged is not None
    assert seen.motion.lagged is not None
    n = min(len(turned.motion.signs), len(seen.motion.signs)) - 9

    def agreement(one: np.ndarray, other: np.ndarray) -> float:
        """Return it where one lies over the other best: a tick more or less is where the last picture ends."""
        b = other[9:n].astype(float)
        found = []
        for off in (-1, 0, 1):
            a = one[9 + off : n + off].astype(float)
            found.append(float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())))
        return max(found)

    assert agreement(turned.motion.signs, seen.motion.signs) > 0.85
    for lag in range(turned.motion.lagged.shape[1]):
        assert agreement(turned.motion.lagged[:, lag], seen.motion.lagged[:, lag]) > 0.8, lag
    assert agreement(turned.motion.levels, seen.motion.levels) > 0.98
    # played forwards, what rises falls
    assert agreement(reversed_copy.signatures.motion.signs, seen.motion.signs) < 0.4
    assert (np.diff(turned.pts_seconds) > 0).all()
    assert turned.start_seconds[0] >= 0.0


def test_descriptors_of_a_static_shot_stand_for_the_keyframes_before_them(known: SignedVideo) -> None:
    one = known.signatures
    sizes = np.diff(one.local.offsets)
    # as if the second keyframe with descriptors of two were of the same shot as the first
    bearers = np.flatnonzero(sizes > 0)
    assert len(bearers) >= 4
    gone = bearers[1]
    kept = np.ones(len(one.local.codes), bool)
    kept[one.local.offsets[gone] : one.local.offsets[gone + 1]] = False
    local = LocalFeatures(
        np.concatenate(([0], np.cumsum(np.where(np.arange(len(sizes)) == gone, 0, sizes)))),
        *(getattr(one.local, name)[kept] for name in ("codes", "mirrored_codes", "xy", "scale", "angle")),
    )
    query = replace(one, local=local)
    features = KnownLocal("k", one.pts_seconds[bearers], one.local)
    n = len(sizes)
    forwards = LocalPair(query, features, mirrored=False, aspect=16 / 9)
    other = LocalPair(backwards(query), features, mirrored=False, aspect=16 / 9)
    assert forwards.bearer_of[gone] == bearers[0]
    # numbered backwards, it still is the keyframe before it in the video as it is
    assert n - 1 - other.bearer_of[n - 1 - gone] == bearers[0]
    for keyframe in range(bearers[0], n):
        assert n - 1 - other.bearer_of[n - 1 - keyframe] == forwards.bearer_of[keyframe]
    between = (float(one.start_seconds[gone]), float(one.end_seconds[gone]))
    at = turning_seconds(query)
    assert list(forwards.standing_within(*between)) == [bearers[0]]
    assert list(n - 1 - other.standing_within(at - between[1], at - between[0])) == [bearers[0]]


def test_stretches_and_pairs_are_told_as_the_query_is_played() -> None:
    line = Line(1.25, 3.0, 0, 0.9)
    stretch = Stretch(
        "k", line, 2.0, 6.0, Proof(True, 4.0, 0.9, 100.0, 0.1), 3, 8.0, strangers=((2.5, 2.6), (3.0, 3.2)),
        faint=((5.0, 5.5),),
    )  # fmt: skip
    told = as_played(stretch, 10.0)
    assert (told.start_seconds, told.end_seconds) == (4.0, 8.0)
    assert told.strangers == ((6.8, 7.0), (7.4, 7.5))
    assert told.faint == ((4.5, 5.0),)
    assert told.line.speed == -1.25
    for backwards_at in (2.0, 4.4, 6.0):
        there = line.speed * backwards_at + line.offset_seconds
        assert told.line.speed * (10.0 - backwards_at) + told.line.offset_seconds == pytest.approx(there)
    assert told.known_times(told.start_seconds, told.end_seconds) == pytest.approx((5.5, 10.5))
    np.testing.assert_array_equal(
        pairs_backwards(np.array([[0.0, 7.0], [4.0, 2.0]]), 5), np.array([[4.0, 7.0], [0.0, 2.0]])
    )


# ---- what is found ----


def test_a_reversed_copy_is_proven_from_end_to_end(known: SignedVideo, reversed_copy: SignedVideo) -> None:
    stretches, verdict = compared(reversed_copy, known, SETTINGS)
    proven = [one for one in stretches if one.proof.proven]
    assert _seconds(proven) >= 0.9 * SECONDS
    assert verdict.verdict == "known"
    for one in proven:
        assert one.line.speed == pytest.approx(-1.0, abs=0.02)
        for moment in (one.start_seconds, one.end_seconds):
            assert one.line.speed * moment + one.line.offset_seconds == pytest.approx(SECONDS - moment, abs=0.25)
    shown = [one for one in verdict.segments if one.kind == "known"]
    for one in shown:
        assert one.speed is not None
        assert one.speed < 0
        assert 0.0 <= one.known_start_seconds < one.known_end_seconds <= SECONDS + 0.1  # type: ignore[operator]


def test_there_and_back_again_is_proven_both_ways(clips: Path, known: SignedVideo) -> None:
    there = content(21, 5.0, start=3.0)
    query = _signed(clips, "boomerang", [*there, *there[::-1]])
    proven = _proven(query, known)
    assert _seconds([one for one in proven if one.line.speed > 0], 0.0, 5.0) >= 4.0
    back = [one for one in proven if one.line.speed < 0]
    assert _seconds(back, 5.0, 10.0) >= 4.0
    assert _seconds(proven) >= 9.0
    for one in back:
        middle = 0.5 * (one.start_seconds + one.end_seconds)
        assert one.line.speed * middle + one.line.offset_seconds == pytest.approx(13.0 - middle, abs=0.25)


def test_a_mirrored_copy_backwards_is_proven(clips: Path, known: SignedVideo) -> None:
    proven = _proven(_signed(clips, "mirrored", [p[:, ::-1] for p in content(21, SECONDS)[::-1]]), known)
    assert _seconds(proven) >= 0.8 * SECONDS
    assert all(one.mirrored and one.line.speed < 0 for one in proven)


def test_it_is_not_sought_where_that_is_switched_off(known: SignedVideo, reversed_copy: SignedVideo) -> None:
    off = SETTINGS.model_copy(update={"matching": SETTINGS.matching.model_copy(update={"backwards": False})})
    assert _proven(reversed_copy, known, off) == []
    assert compared(reversed_copy, known, off)[1].verdict == "same_scene"


@pytest.mark.parametrize("seconds", [1.0, 2.0, 3.0])
def test_new_seconds_in_a_reversed_copy_are_never_explained(clips: Path, known: SignedVideo, seconds: float) -> None:
    before, after = content(21, 7.0), content(21, 7.0, start=7.0)
    new = list(make_video.frames(99, seconds, fps=FPS))
    query = _signed(clips, f"splice{seconds}", [*before, *new, *after][::-1])
    proven = _proven(query, known)
    assert _seconds(proven, 7.0, 7.0 + seconds) <= 0.35
    assert _seconds(proven) >= 0.7 * SECONDS


def test_new_footage_in_a_part_of_a_reversed_copy_is_not_hidden(clips: Path, known: SignedVideo) -> None:
    pictures = content(21, SECONDS)
    hosts = list(make_video.frames(55, SECONDS, fps=FPS))
    height, width = pictures[0].shape[:2]
    size = (width * 2 // 5, height * 2 // 5)
    for picture, host in zip(pictures, hosts, strict=True):
        picture[: size[1], -size[0] :] = cv2.resize(host, size, interpolation=cv2.INTER_AREA)
    assert _proven(_signed(clips, "inset", pictures[::-1]), known) == []


def test_a_crop_backwards_is_named_and_not_proven(clips: Path, known: SignedVideo) -> None:
    # what lies over a crop is seen by descriptors of the very moment only, which keyframes of the other order are not
    pictures = content(21, SECONDS)[::-1]
    height, width = pictures[0].shape[:2]
    inner = (slice(height // 6, height - height // 6), slice(width // 6, width - width // 6))
    query = _signed(clips, "crop", [cv2.resize(p[inner], (width, height)) for p in pictures])
    stretches, verdict = compared(query, known, SETTINGS)
    assert not any(one.proof.proven for one in stretches)
    assert verdict.verdict == "same_scene"


@pytest.mark.parametrize("room", range(4))
def test_another_take_of_a_known_room_is_never_proven_backwards(clips: Path, room: int) -> None:
    known = sign(make_video.other_take(clips / f"room{room}.mp4", room, 0, 12.0, fps=FPS))
    assert _proven(_signed(clips, f"take{room}", take(room, 1, 12.0)[::-1]), known) == []


@pytest.mark.parametrize("seed", range(4))
def test_what_does_not_move_alike_backwards_is_not_looked_at_again(clips: Path, known: SignedVideo, seed: int) -> None:
    query = sign(make_video.make_clip(clips / f"other{seed}.mp4", 300 + seed, 10.0, fps=FPS)).signatures
    everywhere = np.ones(len(query.pts_seconds), bool)
    assert lines_backwards(query, known.signatures.motion, (0, 1), everywhere) == []
    assert lines_backwards(query, known.signatures.motion, (0,), ~everywhere) == []
