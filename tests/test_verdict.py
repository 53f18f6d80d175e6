"""Verdict rules: only proof clears, and every doubt has its reason."""

import numpy as np
import pytest

from videonovelty.errors import Reason
from videonovelty.records import Coverage, MotionProfile, Segment, Signatures, no_local_features
from videonovelty.settings import VerdictSettings
from videonovelty.verdict import judge

SETTINGS = VerdictSettings()


def _signatures(informative: list[bool]) -> Signatures:
    n = len(informative)
    return Signatures(
        video_id="a" * 64,
        scheme="test",
        pts_seconds=np.arange(n, dtype=np.float64),
        start_seconds=np.arange(n, dtype=np.float64),
        end_seconds=np.arange(1, n + 1, dtype=np.float64),
        pdq=np.zeros((n, 8, 32), np.uint8),
        pdq_inner=np.zeros((n, 8, 32), np.uint8),
        has_inner=np.zeros(n, np.bool_),
        quality=np.full(n, 100, np.uint8),
        informative=np.array(informative, np.bool_),
        motion=MotionProfile(0.1, np.zeros((0, 16), np.int8), np.zeros((0, 64), np.int8)),
        local=no_local_features(n),
    )


def _coverage(duration: float = 10.0, *, unseen: float = 0.1, undecoded: float = 0.0) -> Coverage:
    holes = np.array([[duration - undecoded, duration]] if undecoded else np.zeros((0, 2)), np.float64)
    return Coverage(duration, duration, duration - undecoded, 100, 0, 0, holes, unseen)


def _known(start: float, end: float, share: float = 1.0) -> Segment:
    return Segment(start, end, "known", known_video_id="k", proof="time", spatial_share=share)


def _judge(segments: list[Segment], **coverage: float):  # type: ignore[no-untyped-def]
    return judge(_signatures([True] * 10), _coverage(**coverage), segments, SETTINGS)


def test_wholly_proven_video_is_known_and_leaves_the_queue() -> None:
    verdict = _judge([_known(0.0, 10.0)])
    assert (verdict.verdict, verdict.reason, verdict.novelty) == ("known", Reason.PROVEN_BY_TIME, 0.0)
    assert not verdict.needs_review


@pytest.mark.parametrize("novel", [0.4, 1.0, 5.0])
def test_any_unexplained_second_keeps_the_video_in_the_queue(novel: float) -> None:
    verdict = _judge([_known(0.0, 10.0 - novel), Segment(10.0 - novel, 10.0, "novel")])
    assert verdict.verdict == "partly_known"
    assert verdict.needs_review
    assert verdict.novel_seconds == pytest.approx(novel)
    assert verdict.novelty == pytest.approx(novel / 10.0)


def test_seconds_that_were_not_decoded_are_never_cleared() -> None:
    verdict = _judge([_known(0.0, 9.0), Segment(9.0, 10.0, "undecoded")], undecoded=1.0)
    assert (verdict.verdict, verdict.reason) == ("not_comparable", Reason.PARTLY_DECODED)


def test_long_unseen_stretch_is_never_cleared() -> None:
    assert _judge([_known(0.0, 10.0)], unseen=2.5).verdict == "not_comparable"


def test_known_footage_inside_a_larger_picture_is_partly_known_at_most() -> None:
    verdict = _judge([_known(0.0, 10.0, share=0.2)])
    assert (verdict.verdict, verdict.reason) == ("partly_known", Reason.PLAYS_INSIDE_FRAME)


def test_likeness_without_proof_is_same_scene_with_full_novelty() -> None:
    verdict = _judge([Segment(0.0, 10.0, "same_scene", known_video_id="k")])
    assert (verdict.verdict, verdict.novelty, verdict.best_known_id) == ("same_scene", 1.0, "k")


def test_nothing_found_is_novel() -> None:
    assert _judge([Segment(0.0, 10.0, "novel")]).verdict == "novel"


def test_blank_and_too_short_videos_go_to_a_person_with_the_reason() -> None:
    blank = judge(_signatures([False] * 6), _coverage(), [Segment(0.0, 10.0, "uninformative")], SETTINGS)
    assert (blank.verdict, blank.reason, blank.novelty) == ("not_comparable", Reason.UNINFORMATIVE, None)
    short = judge(_signatures([True, False]), _coverage(), [Segment(0.0, 10.0, "novel")], SETTINGS)
    assert (short.verdict, short.reason) == ("not_comparable", Reason.TOO_SHORT)


def test_mostly_blank_video_is_not_cleared_by_its_few_pictures() -> None:
    verdict = _judge([_known(0.0, 3.0), Segment(3.0, 10.0, "uninformative")])
    assert (verdict.verdict, verdict.reason) == ("partly_known", Reason.UNINFORMATIVE)
