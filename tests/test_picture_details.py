"""What is put in the place of a part of known footage, in its light and with its movement, is told by its details."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import make_video
import numpy as np
import numpy.typing as npt
import pytest
from described import ASPECT, EVERY, PER_KEYFRAME, PROOF, Box, Scene
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from signing_help import sign
from textured import COPIES, textured

from videonovelty.comparing import compared
from videonovelty.matching.local_evidence import LocalPairs
from videonovelty.matching.picture_details import with_picture_details
from videonovelty.matching.stretch import Stretch
from videonovelty.records import OTHER_DETAILS, PART_DETAILS, U8, Signatures, SignedVideo
from videonovelty.settings import Settings

Bool = npt.NDArray[np.bool_]

SETTINGS = Settings()
SECONDS = 16.0
WIDE, HIGH = 150, 200
"""Of what moves, in pixels of 640 × 360."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("part_details")


@pytest.fixture(scope="module")
def room() -> U8:
    return textured(21, 0.1)[0]


@pytest.fixture(scope="module")
def face() -> U8:
    return textured(5, 0.1)[0][:HIGH, :WIDE]


@pytest.fixture(scope="module")
def other(face: U8) -> U8:
    """Another face in the same light."""
    one, two = (side.astype(np.float32) for side in (face, textured(78, 0.1)[0][80 : 80 + HIGH, 200 : 200 + WIDE]))
    shapes, others = (cv2.GaussianBlur(side, (0, 0), 0.06 * HIGH) for side in (one, two))
    return np.clip(shapes + two - others, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def host(room: U8, face: U8) -> list[U8]:
    return moving(room, face, SECONDS)


@pytest.fixture(scope="module")
def known(clips: Path, host: Sequence[U8]) -> SignedVideo:
    return sign(make_video.edited(clips / "known.mp4", host, crf=20))


def moving(room: U8, face: U8, seconds: float) -> list[U8]:
    """Return a room before which a face moves about."""
    return [before(room, face, number) for number in range(round(seconds * make_video.FPS))]


def before(room: U8, face: U8, number: int) -> U8:
    """Return one picture of that."""
    shown, mask = room.copy(), np.zeros((HIGH, WIDE), np.float32)
    cv2.ellipse(mask, (WIDE // 2, HIGH // 2), (WIDE // 2, HIGH // 2), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3)[..., None]
    left, top = round(240 + 200 * np.sin(number / 17)), round(80 + 60 * np.sin(number / 7))
    there = shown[top : top + HIGH, left : left + WIDE]
    there[:] = there * (1 - mask) + face * mask
    return shown


def test_another_face_that_moves_as_the_known_one_is_not_known(
    clips: Path, room: U8, other: U8, known: SignedVideo
) -> None:
    query = sign(make_video.edited(clips / "another face.mp4", moving(room, other, SECONDS), crf=22))
    stretches, verdict = compared(query, known, SETTINGS)
    assert verdict.verdict == "same_scene"
    (told,) = (s for s in stretches if s.proof.why_not == PART_DETAILS)
    assert told.cover is not None and not told.cover.still
    # nothing else stands against it
    anything = SETTINGS.model_copy(update={"proof": SETTINGS.proof.model_copy(update={"part_details_evidence": 1e9})})
    assert compared(query, known, anything)[1].verdict == "known"


@pytest.mark.parametrize(
    ("what", "edit", "crf"), [*COPIES, ("cut off", lambda picture: np.ascontiguousarray(picture[30:-30, 50:-50]), 24)]
)
def test_copies_have_the_details_of_what_is_known(
    clips: Path, host: Sequence[U8], known: SignedVideo, what: str, edit: Callable[[U8], U8], crf: int
) -> None:
    query = sign(make_video.edited(clips / f"{what}.mp4", [edit(picture) for picture in host], crf=crf))
    stretches, verdict = compared(query, known, SETTINGS)
    assert verdict.verdict == "known", [s.proof.why_not for s in stretches]


def test_what_stays_where_it_is_is_left_to_those_who_look_for_covers(
    clips: Path, host: Sequence[U8], known: SignedVideo
) -> None:
    def marked(picture: U8) -> U8:
        shown = picture.copy()
        for line in range(3):
            cv2.putText(shown, "@somebody", (30, 60 + 26 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        return np.asarray(cv2.addWeighted(shown, 0.8, picture, 0.2, 0))

    query = sign(make_video.edited(clips / "marked.mp4", [marked(picture) for picture in host], crf=24))
    assert not [s for s in compared(query, known, SETTINGS)[0] if s.proof.why_not == PART_DETAILS]


BOX = (0.35, 0.3, 0.6, 0.75)


def looked_at(scene: Scene, query: Signatures, stretch: Stretch | None = None) -> list[Stretch]:
    pairs = LocalPairs(query, lambda: scene.known().local, ASPECT)
    return with_picture_details(stretch or scene.stretch(), pairs, SETTINGS.proof)


def test_only_the_seconds_of_other_details_lose_their_proof() -> None:
    scene = Scene(3, keyframes=30)
    parts = looked_at(scene, scene.query(BOX, during=slice(12, 15)))
    assert [(part.proof.proven, part.proof.why_not) for part in parts] == [
        (True, ""),
        (False, PART_DETAILS),
        (True, ""),
    ]
    assert [parts[0].start_seconds, parts[-1].end_seconds] == [0.0, 30 * EVERY]
    assert all(a.end_seconds == b.start_seconds for a, b in pairwise(parts))
    assert (parts[1].start_seconds, parts[1].end_seconds) == (12 * EVERY, 15 * EVERY)
    assert parts[1].cover is not None
    assert np.abs(np.array(parts[1].cover.box) - BOX).max() < 0.15


def test_details_of_all_of_the_picture_may_be_others_for_some_seconds() -> None:
    scene = Scene(11, keyframes=40)
    parts = looked_at(scene, scene.query((0.0, 0.0, 1.0, 1.0), during=slice(12, 17)))
    assert [part.proof.why_not for part in parts] == ["", OTHER_DETAILS, ""]
    assert [part.proof.proven for part in parts] == [True, False, True]
    assert (parts[1].start_seconds, parts[1].end_seconds) == (12 * EVERY, 17 * EVERY)
    assert parts[1].cover is None


def test_too_few_of_all_descriptors_are_those_of_something_else() -> None:
    scene = Scene(12, keyframes=12)
    query = scene.query(found=0.1)
    (stretch,) = looked_at(scene, query)
    assert stretch.proof.why_not == OTHER_DETAILS
    assert (stretch.start_seconds, stretch.end_seconds) == (0.0, 12 * EVERY)
    placed = scene.stretch(30)
    assert looked_at(scene, query, placed) == [placed], "it may show a part of the known picture only"


def test_where_they_are_more_than_a_quarter_all_of_it_is_in_doubt() -> None:
    scene = Scene(4, keyframes=12)
    (stretch,) = looked_at(scene, scene.query(BOX, during=slice(4, 8)))
    assert stretch.proof.why_not == PART_DETAILS
    assert (stretch.start_seconds, stretch.end_seconds) == (0.0, 12 * EVERY)


def test_what_is_not_compared_between_two_pictures_is_told_with_them() -> None:
    scene = Scene(5, keyframes=40)
    query = scene.query(BOX, during=slice(20, 22))
    # the known video has described no picture beside these two
    known = scene.known().local
    assert known is not None
    seconds = known.seconds + np.where(np.isin(np.arange(40), (18, 19, 22, 23)), 0.2, 0.0)
    pairs = LocalPairs(query, lambda: replace(known, seconds=seconds), ASPECT)
    parts = with_picture_details(scene.stretch(), pairs, SETTINGS.proof)
    assert [(one.start_seconds, one.end_seconds) for one in parts if not one.proof.proven] == [(18 * EVERY, 24 * EVERY)]


@given(st.integers(0, 2**16), st.floats(0.2, 0.95))
@hypothesis_settings(max_examples=25, deadline=None)
def test_plain_copies_keep_their_proof_however_many_are_lost(seed: int, found: float) -> None:
    scene = Scene(seed, keyframes=12)
    stretch = scene.stretch()
    assert looked_at(scene, scene.query(found=found), stretch) == [stretch]


@pytest.mark.parametrize("box", [(0.0, 0.82, 1.0, 0.92), (0.88, 0.02, 0.99, 0.16)])
def test_lettering_and_small_emblems_are_no_part(box: Box) -> None:
    scene = Scene(6)
    assert [one.proof.proven for one in looked_at(scene, scene.query(box))] == [True]


def test_the_weak_are_lost_more_easily_wherever_they_are() -> None:
    scene = Scene(7)
    # the weakest two fifths of each keyframe, all of which are in one part of the picture, and lost
    scene.xy[:, 120:] = (0.35, 0.3 / ASPECT) + scene.xy[:, 120:] * (0.25, 0.45)
    scene.xy[:, :120, 0] = np.where(
        scene.xy[:, :120, 0] > 0.475, 0.6 + 0.4 * scene.xy[:, :120, 0], 0.35 * scene.xy[:, :120, 0]
    )
    query = scene.query(found=0.9)
    codes = query.local.codes.reshape(scene.keyframes, PER_KEYFRAME, 8).copy()
    codes[:, 120:] = np.random.default_rng(8).integers(0, 256, codes[:, 120:].shape)
    weak = replace(query, local=replace(query.local, codes=codes.reshape(-1, 8)))
    assert [one.proof.proven for one in looked_at(scene, weak)] == [True]


def test_it_is_said_only_where_the_known_video_has_described_the_very_picture() -> None:
    scene = Scene(9)
    query = scene.query(BOX)
    (told,) = looked_at(scene, query)
    assert told.proof.why_not == PART_DETAILS
    apart = scene.stretch(offset_seconds=0.06)
    assert looked_at(scene, query, apart) == [apart], "a picture of another moment"
    unproven = replace(scene.stretch(), proof=replace(PROOF, proven=False, why_not="anything"))
    assert looked_at(scene, query, unproven) == [unproven]
    proven = scene.stretch()
    assert with_picture_details(proven, LocalPairs(query, lambda: None, ASPECT), SETTINGS.proof) == [proven]


def test_what_is_the_same_in_all_keyframes_stays_and_is_no_part() -> None:
    scene = Scene(10)
    query = scene.query(BOX)
    inside = _inside(query, scene)
    codes = query.local.codes.reshape(scene.keyframes, PER_KEYFRAME, 8).copy()
    xy = query.local.xy.reshape(scene.keyframes, PER_KEYFRAME, 2).copy()
    most = int(inside.sum(axis=1).min())
    rows = np.array([np.flatnonzero(one)[:most] for one in inside])
    for keyframe, row in enumerate(rows):
        codes[keyframe, row], xy[keyframe, row] = codes[0, rows[0]], xy[0, rows[0]]
        others = np.setdiff1d(np.flatnonzero(inside[keyframe]), row)
        codes[keyframe, others] = scene.codes[keyframe, others]
    still = replace(query, local=replace(query.local, codes=codes.reshape(-1, 8), xy=xy.reshape(-1, 2)))
    assert [one.proof.proven for one in looked_at(scene, query)] == [False]
    assert [one.proof.proven for one in looked_at(scene, still)] == [True]


def _inside(query: Signatures, scene: Scene) -> Bool:
    left, top, right, bottom = BOX
    x, y = (query.local.xy.reshape(scene.keyframes, PER_KEYFRAME, 2) / 65535).transpose(2, 0, 1)
    return np.asarray((x >= left) & (x < right) & (y * ASPECT >= top) & (y * ASPECT < bottom))
