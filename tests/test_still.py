"""What covers known footage and never moves: one picture shows it, and nothing that moves is taken for it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from signing_help import sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.matching.stretch import Cover
from videonovelty.records import IN_A_PART, U8, SignedVideo, Verdict
from videonovelty.settings import Settings

SETTINGS = Settings()
LARGE = {"width": 640, "height": 360}
SECONDS = 6.0
Box = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("still")


@pytest.fixture(scope="module")
def host() -> list[U8]:
    return list(make_video.frames(21, SECONDS, **LARGE))


@pytest.fixture(scope="module")
def known(clips: Path, host: Sequence[U8]) -> SignedVideo:
    return sign(make_video.edited(clips / "known.mp4", host, crf=23))


def _sticker(picture: U8, middle: tuple[float, float] = (0.7, 0.35), radius: float = 0.18) -> U8:
    """Return a picture with a large face over it; the radius is a share of the height."""
    out = picture.copy()
    height, width = out.shape[:2]
    x, y, r = round(width * middle[0]), round(height * middle[1]), round(height * radius)
    cv2.circle(out, (x, y), r, (255, 210, 40), -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(out, (x + side * 2 * r // 5, y - r // 4), r // 6, (0, 0, 0), -1, cv2.LINE_AA)
    cv2.ellipse(out, (x, y + r // 5), (r // 2, r // 3), 0, 0, 180, (0, 0, 0), 3, cv2.LINE_AA)
    return out


def _pasted(picture: U8, other: U8, left: float = 0.6, top: float = 0.1, side: float = 0.3) -> U8:
    out = picture.copy()
    height, width = out.shape[:2]
    small = cv2.resize(other, (round(width * side), round(height * side)), interpolation=cv2.INTER_AREA)
    y, x = round(height * top), round(width * left)
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    return out


def _covers(path: Path, pictures: Sequence[U8], known: SignedVideo) -> tuple[list[Cover | None], Verdict]:
    """Return what is found over the stretches that are unproven for a part of the picture, and the verdict."""
    stretches, verdict = compared(sign(make_video.edited(path, pictures, crf=26)), known, SETTINGS)
    return [s.cover for s in stretches if s.proof.why_not in IN_A_PART], verdict


def _lies_within(box: Box, outer: Box, slack: float = 0.07) -> bool:
    return (
        box[0] >= outer[0] - slack
        and box[1] >= outer[1] - slack
        and box[2] <= outer[2] + slack
        and box[3] <= outer[3] + slack
    )


PHOTO = next(make_video.frames(333, 1.0, **LARGE))
FACE_BOX = (0.7 - 0.18 * 9 / 16, 0.17, 0.7 + 0.18 * 9 / 16, 0.53)
PHOTO_BOX = (0.6, 0.1, 0.9, 0.4)


@pytest.mark.parametrize(
    ("what", "edit", "box"),
    [
        ("sticker", _sticker, FACE_BOX),
        ("photograph", lambda picture: _pasted(picture, PHOTO), PHOTO_BOX),
    ],
)
def test_one_picture_shows_what_is_laid_over_and_stays(
    clips: Path, host: Sequence[U8], known: SignedVideo, what: str, edit: Callable[[U8], U8], box: Box
) -> None:
    covers, verdict = _covers(clips / f"{what}.mp4", [edit(picture) for picture in host], known)
    assert covers
    assert all(cover is not None and cover.still and _lies_within(cover.box, box) for cover in covers)
    # it is never cleared: a person looks, at a time within the stretch
    assert verdict.verdict != "known"
    looks = [s for s in verdict.segments if s.look_seconds is not None]
    # where a shot begins or ends within the last second, that second may be listed apart
    assert sum(s.end_seconds - s.start_seconds for s in looks) >= SECONDS - 1.5
    assert all(s.kind == "same_scene" and s.start_seconds <= (s.look_seconds or 0.0) < s.end_seconds for s in looks)


def test_the_box_is_in_the_pictures_own_frame_of_a_mirrored_copy(
    clips: Path, host: Sequence[U8], known: SignedVideo
) -> None:
    pictures = [_sticker(np.ascontiguousarray(picture[:, ::-1])) for picture in host]
    covers, _ = _covers(clips / "mirrored.mp4", pictures, known)
    assert covers
    assert all(cover is not None and cover.still and _lies_within(cover.box, FACE_BOX) for cover in covers)


def test_one_picture_shows_several_still_things(clips: Path, host: Sequence[U8], known: SignedVideo) -> None:
    pictures = [_sticker(_sticker(picture, (0.25, 0.7), 0.17), (0.75, 0.3), 0.17) for picture in host]
    covers, _ = _covers(clips / "two.mp4", pictures, known)
    assert covers
    for cover in covers:
        assert cover is not None
        assert cover.still
        assert (cover.box[0] < 0.3, cover.box[2] > 0.65, cover.box[1] < 0.45, cover.box[3] > 0.55) == (True,) * 4


def test_nothing_that_moves_or_changes_is_still(clips: Path, host: Sequence[U8], known: SignedVideo) -> None:
    moving = list(make_video.frames(334, SECONDS, **LARGE))
    room = list(footage.fixed_camera(5, 0, SECONDS, **LARGE, fps=make_video.FPS))
    other = next(make_video.frames(335, 1.0, **LARGE))
    n = len(host)
    slowly = [cv2.addWeighted(other, i / n, PHOTO, 1 - i / n, 0) for i in range(n)]
    cut = [PHOTO if i < n // 2 else other for i in range(n)]
    inside = {"moving": moving, "room": room, "crossfade": slowly, "slides": cut}
    for what, pictures in inside.items():
        covered = [_pasted(a, b) for a, b in zip(host, pictures, strict=False)]
        covers, verdict = _covers(clips / f"{what}.mp4", covered, known)
        assert verdict.verdict != "known", what
        for s in verdict.segments:
            if s.look_seconds is not None:
                # of slides, each is still for itself; one look must not stand for both
                assert what == "slides", what
                assert not s.start_seconds + 0.6 < SECONDS / 2 < s.end_seconds - 0.6, what
        if what == "moving":
            assert not any(cover is not None and cover.still for cover in covers)


def test_a_wandering_thing_beside_a_sticker_is_not_one_look(
    clips: Path, host: Sequence[U8], known: SignedVideo
) -> None:
    moving = make_video.frames(334, SECONDS, **LARGE)
    pictures = [_pasted(_sticker(a, (0.75, 0.3)), b, left=0.05, top=0.55) for a, b in zip(host, moving, strict=True)]
    covers, verdict = _covers(clips / "beside.mp4", pictures, known)
    assert not any(cover is not None and cover.still for cover in covers)
    assert all(s.look_seconds is None for s in verdict.segments)
