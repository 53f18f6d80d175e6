"""As light and dark as known footage, and moving like it, is not enough: its details must be the known ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from signing_help import sign
from textured import COPIES, textured

from videonovelty.comparing import compared
from videonovelty.grouping import local_of
from videonovelty.matching.details import LEAST_DESCRIPTORS, with_details
from videonovelty.matching.local_evidence import LocalPairs
from videonovelty.matching.proof import Proof
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import OTHER_DETAILS, U8, LocalFeatures, SignedVideo
from videonovelty.settings import Settings

SETTINGS = Settings()
SECONDS = 6.0
BLUR = 0.014
"""Of the width: what is left of the known picture are its shapes."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("details")


@pytest.fixture(scope="module")
def host() -> list[U8]:
    return textured(21, SECONDS)


@pytest.fixture(scope="module")
def known(clips: Path, host: Sequence[U8]) -> SignedVideo:
    return sign(make_video.edited(clips / "known.mp4", host, crf=20))


def drawn_over(picture: U8, other: U8) -> U8:
    """Return the shapes of the one in light and shadow, with the details of the other."""
    one, two = (side.astype(np.float32) for side in (picture, other))
    reach = BLUR * picture.shape[1]
    shapes, others = (cv2.GaussianBlur(side, (0, 0), reach) for side in (one, two))
    return np.clip(shapes + two - others, 0, 255).astype(np.uint8)


def test_other_details_over_known_shapes_are_not_known(clips: Path, host: Sequence[U8], known: SignedVideo) -> None:
    pictures = [drawn_over(a, b) for a, b in zip(host, textured(77, SECONDS), strict=True)]
    query = sign(make_video.edited(clips / "drawn over.mp4", pictures, crf=22))
    stretches, verdict = compared(query, known, SETTINGS)
    assert verdict.verdict == "same_scene"
    assert any(s.proof.why_not == OTHER_DETAILS for s in stretches)
    # nothing else stands against it
    none = {"least_details": 0.0, "least_picture_details": 0.0}
    anything = SETTINGS.model_copy(update={"proof": SETTINGS.proof.model_copy(update=none)})
    assert compared(query, known, anything)[1].verdict == "known"


@pytest.mark.parametrize(("what", "edit", "crf"), COPIES)
def test_details_of_copies_are_found(
    clips: Path, host: Sequence[U8], known: SignedVideo, what: str, edit: Callable[[U8], U8], crf: int
) -> None:
    query = sign(make_video.edited(clips / f"{what}.mp4", [edit(picture) for picture in host], crf=crf))
    assert compared(query, known, SETTINGS)[1].verdict == "known"


def test_an_excerpt_whose_keyframes_lie_between_the_known_ones_is_found(
    clips: Path, host: Sequence[U8], known: SignedVideo
) -> None:
    query = sign(make_video.edited(clips / "excerpt.mp4", host[round(0.45 * make_video.FPS) :], crf=26))
    assert compared(query, known, SETTINGS)[1].verdict == "known"


def test_too_few_descriptors_and_none_at_all_say_nothing(clips: Path, host: Sequence[U8], known: SignedVideo) -> None:
    query = sign(
        make_video.edited(clips / "noise.mp4", [drawn_over(a, b) for a, b in zip(host, host[::-1], strict=True)])
    )
    line = Line(1.0, 0.0, 0, 1.0)
    proven = Stretch("0" * 64, line, 0.0, SECONDS, Proof(True, SECONDS, 0.9, 500.0, 0.1), 6, median_distance_bits=4.0)
    pairs = LocalPairs(query.signatures, lambda: local_of(known), 16 / 9)
    assert with_details(proven, pairs, SETTINGS.proof).proof.why_not == OTHER_DETAILS
    assert with_details(proven, LocalPairs(query.signatures, lambda: None, 16 / 9), SETTINGS.proof) is proven
    few = replace(query.signatures, local=first_of_each(query.signatures.local, (LEAST_DESCRIPTORS - 1) // 12))
    assert with_details(proven, LocalPairs(few, lambda: local_of(known), 16 / 9), SETTINGS.proof) is proven
    unproven = replace(proven, proof=replace(proven.proof, proven=False, why_not="anything"))
    assert with_details(unproven, pairs, SETTINGS.proof) is unproven


def first_of_each(features: LocalFeatures, most: int) -> LocalFeatures:
    """Return the first descriptors of each keyframe."""
    sizes = np.diff(features.offsets)
    kept = np.arange(len(features.codes)) - np.repeat(features.offsets[:-1], sizes) < most
    offsets = np.concatenate([[0], np.cumsum(np.minimum(sizes, most))])
    rows = (features.codes, features.mirrored_codes, features.xy, features.scale, features.angle)
    return LocalFeatures(offsets, *(side[kept] for side in rows))
