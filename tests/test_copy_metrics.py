"""The arithmetic the accuracy figures rest on: planted truth in, known figures out."""

from __future__ import annotations

import math

import pytest

from benchmarks.copy_metrics import average_precision, planted, segment_precision_recall


def stretch(kind: str, start: float, end: float, *, known: str = "", at: float = 0.0) -> dict[str, object]:
    return {
        "kind": kind, "start_seconds": start, "end_seconds": end, "known": known,
        "known_start_seconds": at, "known_end_seconds": at + end - start,
    }  # fmt: skip


def test_segments_are_judged_on_both_axes() -> None:
    truth = [(0.0, 10.0, 20.0, 30.0)]
    assert segment_precision_recall(truth, [], "a") == (0.0, 0.0)
    assert segment_precision_recall(truth, [stretch("known", 0, 10, known="a", at=20)], "a") == (1.0, 1.0)
    half = segment_precision_recall(truth, [stretch("known", 0, 5, known="a", at=20)], "a")
    assert half == pytest.approx((1.0, 0.25))
    assert segment_precision_recall(truth, [stretch("known", 0, 10, known="a", at=50)], "a") == (0.0, 0.0)
    wrong = [stretch("known", 0, 10, known="a", at=20), stretch("known", 10, 20, known="b", at=20)]
    assert segment_precision_recall(truth, wrong, "a") == pytest.approx((0.5, 1.0))


def test_planted_footage_is_listed_with_what_lies_beside_it() -> None:
    around = [stretch("known", 0, 4), stretch("novel", 4, 6.5), stretch("known", 6.5, 10)]
    found = planted(4.0, 6.0, around)
    assert (found.listed, found.as_novel, found.cleared) == (True, True, False)
    assert found.off_seconds == pytest.approx((0.0, 0.5))
    early = [stretch("known", 0, 1), stretch("same_scene", 1, 5), stretch("novel", 5, 6), stretch("known", 6, 10)]
    found = planted(4.0, 6.0, early)
    assert (found.listed, found.as_novel) == (True, True)
    assert found.off_seconds == pytest.approx((3.0, 0.0))
    late = [stretch("known", 0, 5.5), stretch("novel", 5.5, 6), stretch("known", 6, 10)]
    found = planted(4.0, 6.0, late)
    assert (found.listed, found.cleared) == (False, False)
    assert found.off_seconds == pytest.approx((-1.5, 0.0))
    apart = [stretch("known", 0, 4), stretch("novel", 4, 6.25), stretch("same_scene", 6.25, 9), stretch("known", 9, 10)]
    found = planted(4.0, 6.0, apart)
    assert found.off_seconds == pytest.approx((0.0, 3.0))
    assert found.edge_off_seconds == pytest.approx(0.25)
    found = planted(4.0, 6.0, [stretch("known", 0, 10)])
    assert found.cleared
    assert found.edge_off_seconds == math.inf


def test_average_precision_counts_pairs_that_were_never_found() -> None:
    assert average_precision([(3.0, True), (2.0, True)], positives=2) == 1.0
    assert average_precision([(3.0, True)], positives=2) == 0.5
    assert average_precision([(3.0, False), (2.0, True)], positives=1) == 0.5
    assert average_precision([(2.0, True), (2.0, False)], positives=1) == 0.5, "equal scores: the wrong one first"
