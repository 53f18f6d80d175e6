"""What is too dark, blurred or even to be compared is shown to a person, unless it is blank or known where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.decode.writer import write_video
from videonovelty.matching.faint import faint_keyframes
from videonovelty.matching.proof import PictureEvidence, prove
from videonovelty.matching.timeline import Line
from videonovelty.records import FINE_CELLS, MOTION_CELLS, TOO_FAINT, U8, MotionProfile, SignedVideo, Verdict

WIDTH, HEIGHT, FPS = 480, 272, 15.0
Change = Callable[[U8], U8]


def dim(picture: U8) -> U8:
    """An eighth of the light: little is in it, and enough to compare."""
    return np.asarray(picture * 0.12, np.uint8)


def dark(picture: U8) -> U8:
    return np.asarray(picture * 0.04, np.uint8)


def blurred(picture: U8) -> U8:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 24.0), np.uint8)


def foggy(picture: U8) -> U8:
    return np.asarray(170 + picture * 0.1, np.uint8)


def pictures(seed: int, seconds: float) -> list[U8]:
    return list(footage.clip(seed, seconds, width=WIDTH, height=HEIGHT, fps=FPS))


@pytest.fixture(scope="module")
def shown() -> list[U8]:
    return pictures(71, 10.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faint")


@pytest.fixture(scope="module")
def known(clips: Path, shown: list[U8]) -> SignedVideo:
    return signed(clips / "known.mp4", shown, crf=20)


def signed(path: Path, shown: Sequence[U8], *, crf: int = 24) -> SignedVideo:
    write_video(path, shown, fps=FPS, crf=crf)
    return sign(path)


def hidden(verdict: Verdict, start: float, end: float) -> float:
    """Return how many seconds of `[start, end)` are called known, or nothing to compare."""
    return sum(
        max(0.0, min(end, s.end_seconds) - max(start, s.start_seconds))
        for s in verdict.segments
        if s.kind in ("known", "uninformative")
    )


PLACES = ["in the middle", "in place", "at the end"]


def with_new(
    clips: Path, known: SignedVideo, shown: list[U8], change: Change, where: str
) -> tuple[SignedVideo, Verdict, tuple[float, float]]:
    """Return known footage with three changed seconds of something else, its verdict, and when they are shown."""
    new = [change(picture) for picture in pictures(72, 3.0)]
    middle = len(shown) // 2
    at, goes_on = {"in the middle": (middle, middle), "in place": (middle, middle + len(new))}.get(
        where, (len(shown), len(shown))
    )
    video = signed(clips / f"{change.__name__} {where}.mp4", [*shown[:at], *new, *shown[goes_on:]])
    return video, compared(video, known, SETTINGS)[1], (at / FPS, (at + len(new)) / FPS)


@pytest.mark.parametrize("change", [dark, blurred, foggy])
@pytest.mark.parametrize("where", PLACES)
def test_new_footage_too_faint_to_compare_is_listed_with_the_reason(
    clips: Path, known: SignedVideo, shown: list[U8], change: Change, where: str
) -> None:
    video, verdict, new = with_new(clips, known, shown, change, where)
    assert faint_keyframes(video.signatures).any()
    assert verdict.needs_review
    assert hidden(verdict, *new) <= 0.5, verdict.segments
    faint = [s for s in verdict.segments if s.kind == "novel" and s.why_not == TOO_FAINT]
    assert sum(s.end_seconds - s.start_seconds for s in faint) >= 2.0, verdict.segments
    assert verdict.known_seconds >= 4.0


@pytest.mark.parametrize("where", PLACES)
def test_dim_new_footage_is_compared_and_listed(clips: Path, known: SignedVideo, shown: list[U8], where: str) -> None:
    video, verdict, new = with_new(clips, known, shown, dim, where)
    pts = video.signatures.pts_seconds
    assert video.signatures.informative[(pts >= new[0]) & (pts < new[1])].any()
    assert verdict.needs_review
    assert hidden(verdict, *new) <= 0.5, verdict.segments
    assert verdict.known_seconds >= 4.0


def test_a_copy_of_dim_footage_is_known_and_other_dim_footage_is_not(clips: Path, shown: list[U8]) -> None:
    original = signed(clips / "dim.mp4", [dim(picture) for picture in shown], crf=18)
    copy = signed(clips / "dim again.mp4", [dim(picture) for picture in shown], crf=28)
    other = signed(clips / "dim other.mp4", [dim(picture) for picture in pictures(74, 10.0)], crf=18)
    assert (original.signatures.quality < SETTINGS.proof.faint_quality).mean() > 0.5
    assert compared(copy, original, SETTINGS)[1].verdict == "known"
    assert compared(other, original, SETTINGS)[1].verdict == "novel"


def test_footage_in_which_little_is_seen_must_change_more() -> None:
    """Ninety changes prove that where pictures are full, and not where nearly all of them are faint."""
    rng = np.random.default_rng(5)
    signs = np.zeros((50, MOTION_CELLS), np.int8)
    signs.flat[rng.permutation(signs.size)[:90]] = rng.choice(np.array([-1, 1], np.int8), 90)
    motion = MotionProfile(0.2, signs, np.zeros((50, FINE_CELLS), np.int8))
    proofs = [
        prove(motion, motion, Line(1.0, 0.0, 0, 0.0), 0.0, 10.0, PictureEvidence(4.0, 1.0, faint), SETTINGS.proof)
        for faint in (0.0, 0.1, 0.9)
    ]
    assert [one.proven for one in proofs] == [True, True, False]
    assert "too little moves" in proofs[2].why_not


@pytest.mark.parametrize("level", [0, 90])
def test_blank_pictures_cost_nothing(clips: Path, known: SignedVideo, shown: list[U8], level: int) -> None:
    blank = [np.full((HEIGHT, WIDTH, 3), level, np.uint8)] * 30
    video = signed(clips / f"blank {level}.mp4", [*blank, *shown, *blank])
    assert not faint_keyframes(video.signatures).any()
    _, verdict = compared(video, known, SETTINGS)
    assert verdict.verdict == "known", verdict.segments
    assert verdict.uninformative_seconds >= 3.0


def test_bars_are_blank_and_a_dark_slope_is_not(clips: Path) -> None:
    colours = np.repeat(np.arange(8, dtype=np.uint8) * 30, WIDTH // 8)
    bars = np.repeat(np.broadcast_to(colours, (HEIGHT, WIDTH))[..., None], 3, axis=2)
    slope = np.asarray(bars // 12, np.uint8)
    for name, picture, blank in (("bars", bars, True), ("slope", slope, False)):
        video = signed(clips / f"{name}.mp4", [np.ascontiguousarray(picture)] * 45)
        assert not video.signatures.informative.any()
        assert faint_keyframes(video.signatures).any() != blank, name


@pytest.mark.parametrize("change", [dark, foggy])
def test_faint_passages_of_the_known_video_stay_known(clips: Path, shown: list[U8], change: Change) -> None:
    """The known video fades: a copy of it is as faint at the same moments, and looks alike."""
    faded = [*shown[:60], *(change(picture) for picture in shown[60:90]), *shown[90:]]
    original = signed(clips / f"fades {change.__name__}.mp4", faded, crf=18)
    copy = signed(clips / f"fades {change.__name__} again.mp4", faded, crf=30)
    assert faint_keyframes(copy.signatures).any()
    _, verdict = compared(copy, original, SETTINGS)
    assert verdict.verdict == "known", verdict.segments


def test_a_video_with_nothing_but_faint_pictures_is_not_comparable(clips: Path, known: SignedVideo) -> None:
    video = signed(clips / "dark.mp4", [dark(picture) for picture in pictures(73, 4.0)])
    _, verdict = compared(video, known, SETTINGS)
    assert (verdict.verdict, verdict.needs_review) == ("not_comparable", True)
    assert {s.why_not for s in verdict.segments} == {TOO_FAINT}
