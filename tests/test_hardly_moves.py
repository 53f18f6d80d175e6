"""Somebody sits before a camera and hardly moves: copies are cleared, and nothing but that take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from signing_help import sign
from textured import COPIES, textured

from videonovelty.comparing import compared
from videonovelty.matching.stretch import Stretch
from videonovelty.records import F64, U8, SignedVideo
from videonovelty.settings import Settings

SETTINGS = Settings()
SECONDS = 20.0
WIDE, HIGH = 150, 200
"""Of the face, in pixels of 640 × 360."""
LEFT, TOP = 240, 90
PLACES, BRIGHTER = 9, 0.02
"""How many parts of the picture become brighter and darker by themselves, and by how much."""


def courses(take: int, seconds: float) -> F64:
    """Return how each part becomes brighter and darker in a take, shape (pictures, PLACES)."""
    chance = np.random.default_rng(take)
    at = np.arange(round(seconds * make_video.FPS)) / make_video.FPS
    rates, begin = chance.uniform(0.15, 0.9, (2, 4, PLACES))[0], chance.uniform(0, 2 * np.pi, (4, PLACES))
    waves: F64 = np.sin(2 * np.pi * rates * at[:, None, None] + begin).sum(axis=1) / 2
    return waves


def sitting(room: U8, take: int, *, face: U8 | None = None, seconds: float = SECONDS) -> list[U8]:
    """Return a take of somebody who sits in a room, with another face if there is one."""
    shown = room.astype(np.float32)
    if face is not None:
        mask = np.zeros((HIGH, WIDE), np.float32)
        cv2.ellipse(mask, (WIDE // 2, HIGH // 2), (WIDE // 2, HIGH // 2), 0, 0, 360, 1.0, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
        there = shown[TOP : TOP + HIGH, LEFT : LEFT + WIDE]
        there[:] = there * (1 - mask) + face * mask
    down, across = np.mgrid[0 : room.shape[0], 0 : room.shape[1]].astype(np.float32)
    chance = np.random.default_rng(77)  # the parts are those of the room
    centres = chance.uniform((20, 20), (room.shape[0] - 20, room.shape[1] - 20), (PLACES, 2))
    bumps = np.stack([np.exp(-((down - y) ** 2 + (across - x) ** 2) / (2 * 60.0**2)) for y, x in centres])
    return [
        np.clip(shown * (1 + BRIGHTER * np.tensordot(now, bumps, 1))[..., None], 0, 255).astype(np.uint8)
        for now in courses(take, seconds).astype(np.float32)
    ]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hardly_moves")


@pytest.fixture(scope="module")
def room() -> U8:
    return textured(21, 0.1)[0]


@pytest.fixture(scope="module")
def host(room: U8) -> list[U8]:
    return sitting(room, 1)


@pytest.fixture(scope="module")
def known(clips: Path, host: Sequence[U8]) -> SignedVideo:
    return sign(make_video.edited(clips / "known.mp4", host, crf=18))


def _proven(stretches: Sequence[Stretch]) -> list[tuple[float, float]]:
    return [(one.start_seconds, one.end_seconds) for one in stretches if one.proof.proven]


@pytest.mark.parametrize(("what", "edit", "crf"), [one for one in COPIES if one[0] in ("mirrored", "brighter")])
def test_copies_are_cleared(
    clips: Path, host: Sequence[U8], known: SignedVideo, what: str, edit: Callable[[U8], U8], crf: int
) -> None:
    query = sign(make_video.edited(clips / f"{what}.mp4", [edit(picture) for picture in host], crf=crf))
    stretches, verdict = compared(query, known, SETTINGS)
    assert sum(end - start for start, end in _proven(stretches)) >= 0.9 * SECONDS, verdict


@pytest.mark.parametrize("take", [2, 3, 4])
def test_another_take_is_not(clips: Path, room: U8, known: SignedVideo, take: int) -> None:
    query = sign(make_video.edited(clips / f"take {take}.mp4", sitting(room, take), crf=22))
    stretches, verdict = compared(query, known, SETTINGS)
    assert _proven(stretches) == []
    assert verdict.verdict == "same_scene"


@pytest.mark.parametrize("seconds", [2.0, 3.0])
def test_seconds_of_another_take_stay_in_the_queue(
    clips: Path, room: U8, host: Sequence[U8], known: SignedVideo, seconds: float
) -> None:
    first, last = (round(at * make_video.FPS) for at in (10.0, 10.0 + seconds))
    pictures = [*host[:first], *sitting(room, 5)[first:last], *host[last:]]
    stretches, _ = compared(sign(make_video.edited(clips / "spliced.mp4", pictures, crf=20)), known, SETTINGS)
    proven = _proven(stretches)
    assert sum(end - start for start, end in proven) >= 8.0
    hidden = [min(end, 10.0 + seconds) - max(start, 10.0) for start, end in proven]
    assert sum(part for part in hidden if part > 0) <= 0.5 * seconds, proven  # levels differ by a few hundredths only


def test_another_face_in_the_known_light_is_not_known(
    clips: Path, room: U8, host: Sequence[U8], known: SignedVideo
) -> None:
    """It becomes brighter and darker as the known one does, and stays where that is."""
    mine = room[TOP : TOP + HIGH, LEFT : LEFT + WIDE]
    one, two = (side.astype(np.float32) for side in (mine, textured(78, 0.1)[0][80 : 80 + HIGH, 200 : 200 + WIDE]))
    shapes, others = (cv2.GaussianBlur(side, (0, 0), 0.06 * HIGH) for side in (one, two))
    face = np.clip(shapes + two - others, 0, 255).astype(np.uint8)
    query = sign(make_video.edited(clips / "another face.mp4", sitting(room, 1, face=face), crf=22))
    stretches, verdict = compared(query, known, SETTINGS)
    assert verdict.verdict == "same_scene"
    assert _proven(stretches) == []
