"""Negatives of known footage are named where they play, and clear nothing."""

from pathlib import Path

import make_video
import numpy as np
import pytest
from signing_help import SETTINGS, sign

from videonovelty.comparing import compared
from videonovelty.matching.candidates import NEGATIVE, collect_codes
from videonovelty.records import COLOURS_INVERTED, U8, SignedVideo
from videonovelty.signatures.pdq import DIHEDRAL, negative


def _inverted(pictures: list[U8]) -> list[U8]:
    return [255 - picture for picture in pictures]


def _content(seed: int, seconds: float, *, start: float = 0.0) -> list[U8]:
    return list(make_video.frames(seed, seconds, start=start))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def known(clips: Path) -> SignedVideo:
    return sign(make_video.make_clip(clips / "known.mp4", 31, 12.0))


@pytest.mark.parametrize("mirrored", [False, True])
def test_negative_of_known_footage_is_named_and_not_proven(clips: Path, known: SignedVideo, mirrored: bool) -> None:
    pictures = _inverted(_content(31, 12.0))
    if mirrored:
        pictures = [np.ascontiguousarray(picture[:, ::-1]) for picture in pictures]
    query = sign(make_video.edited(clips / f"negative{mirrored}.mp4", pictures, crf=30))
    stretches = compared(query, known, SETTINGS)[0]
    assert {one.proof.why_not for one in stretches} == {COLOURS_INVERTED}
    assert not any(one.proof.proven for one in stretches)
    assert all(one.mirrored == mirrored for one in stretches)
    assert sum(one.end_seconds - one.start_seconds for one in stretches) >= 10.0
    longest = max(stretches, key=lambda one: one.end_seconds - one.start_seconds)
    assert longest.line.speed * 6.0 + longest.line.offset_seconds == pytest.approx(6.0, abs=1.0)


def test_negative_within_new_footage_is_named_where_it_plays(clips: Path, known: SignedVideo) -> None:
    pictures = [*_content(77, 4.0), *_inverted(_content(31, 5.0, start=3.0)), *_content(78, 4.0)]
    stretches = compared(sign(make_video.edited(clips / "inside.mp4", pictures, crf=30)), known, SETTINGS)[0]
    assert stretches
    assert stretches[0].start_seconds == pytest.approx(4.0, abs=0.6)
    assert stretches[-1].end_seconds == pytest.approx(9.0, abs=0.6)


def test_plain_copies_and_negatives_of_other_footage_are_not_taken_for_negatives(
    clips: Path, known: SignedVideo
) -> None:
    copy = sign(make_video.make_clip(clips / "copy.mp4", 31, 12.0, crf=32))
    assert COLOURS_INVERTED not in {one.proof.why_not for one in compared(copy, known, SETTINGS)[0]}
    other = sign(make_video.edited(clips / "other.mp4", _inverted(_content(90, 8.0)), crf=30))
    assert compared(other, known, SETTINGS)[0] == []


def test_codes_of_a_negative_are_those_of_the_picture_inverted(clips: Path, known: SignedVideo) -> None:
    query = sign(make_video.edited(clips / "still.mp4", _inverted(_content(31, 12.0)), crf=16))
    both = np.intersect1d(known.signatures.pts_seconds.round(2), query.signatures.pts_seconds.round(2))
    assert len(both) >= 3
    for seconds in both:
        mine, theirs = (
            one.pdq[int(np.abs(one.pts_seconds - seconds).argmin())] for one in (query.signatures, known.signatures)
        )
        assert int(np.bitwise_count(negative(mine) ^ theirs).sum(axis=1).max()) <= 31
    assert negative(negative(mine)).tobytes() == mine.tobytes()


def test_negatives_are_looked_up_as_they_are_and_mirrored_beside_the_pictures(known: SignedVideo) -> None:
    one = known.signatures
    pictures = int(one.informative.sum()) + int((one.informative & one.has_inner).sum())
    found, without = collect_codes([one, one]), collect_codes([one, one], apart=False)
    negatives = found.variant >= NEGATIVE
    assert int(negatives.sum()) == 2 * 2 * pictures
    assert set((found.variant[negatives] - NEGATIVE).tolist()) == {0, DIHEDRAL.index("flip_horizontal")}
    assert not (without.variant >= NEGATIVE).any()
    places = found.video * len(one.pts_seconds) + found.keyframe
    assert (np.diff(places) >= 0).all()
    first = int(found.keyframe[negatives][0])
    picture = found.codes[(found.video == 0) & (found.keyframe == first) & (found.variant == 0)][0]
    assert (found.codes[negatives][0] == negative(picture)).all()
