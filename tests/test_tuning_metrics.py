"""Metrics against independent implementations and against arithmetic done by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videonovelty.errors import Reason
from videonovelty.records import Segment, Verdict
from videonovelty.tuning.metrics import (
    Outcome,
    Outcomes,
    Pair,
    Truth,
    bootstrap_weights,
    budget_curve,
    by_name,
    clopper_pearson,
    evaluate,
    measure,
    pair_precision,
    segment_scores,
    shared_seconds,
    union_seconds,
)
from videonovelty.tuning.sampletables import Negative, SampleSet, SampleVideo, TruthSegment

metrics = pytest.importorskip("sklearn.metrics", reason="the extra `tune` is not installed")


def _outcome(name: str, **changes: Any) -> Outcome:
    facts: dict[str, Any] = {
        "video": name, "cluster": name, "edit": "copy", "kind": "copy", "shows_known": True, "seconds": 10.0,
        "known_truth": 10.0, "new_truth": 0.0, "verdict": "known", "reason": "proven_by_time", "score": 0.0,
        "cleared": 10.0, "hidden_seconds": 0.0, "view_seconds": 0.0, "named": True, "segment_precision": 1.0,
        "segment_recall": 1.0, "best_known": "k",
    }  # fmt: skip
    return Outcome(**{**facts, **changes})


def _novel(name: str, score: float = 1.0, **changes: Any) -> Outcome:
    facts = {
        "kind": "novel", "shows_known": False, "known_truth": 0.0, "new_truth": 10.0, "verdict": "novel",
        "score": score, "cleared": 0.0, "view_seconds": 10.0, "named": False,
        "segment_precision": math.nan, "segment_recall": math.nan,
    }  # fmt: skip
    return _outcome(name, **{**facts, **changes})


# ---- intervals of time ----------------------------------------------------------------------------------------------


def test_unions_and_intersections_of_intervals() -> None:
    assert union_seconds([(0, 2), (1, 3), (5, 6)]) == 4
    assert union_seconds([]) == 0
    assert shared_seconds([(0, 2), (4, 8)], [(1, 5)]) == 2
    assert shared_seconds([(0, 1)], [(1, 2)]) == 0


def test_seconds_agree_with_frames_counted_by_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    cleared = hidden = truth_seconds = 0.0
    said_frames, true_frames = [], []
    for _ in range(20):
        edges = np.sort(rng.choice(np.arange(1, 100), 4, replace=False)) / 10
        truth, said = [(edges[0], edges[2])], [(edges[1], edges[3])]
        frames = np.arange(100) / 10 + 0.05
        true_frames.append((frames >= truth[0][0]) & (frames < truth[0][1]))
        said_frames.append((frames >= said[0][0]) & (frames < said[0][1]))
        cleared += shared_seconds(said, truth)
        hidden += union_seconds(said) - shared_seconds(said, truth)
        truth_seconds += union_seconds(truth)
    row = _outcome("a", seconds=200.0, cleared=cleared, hidden_seconds=hidden, known_truth=truth_seconds)
    mine = measure(Outcomes.of([row]))
    y, p = np.concatenate(true_frames), np.concatenate(said_frames)
    assert mine["seconds_precision"] == pytest.approx(metrics.precision_score(y, p))
    assert mine["known_seconds_cleared"] == pytest.approx(metrics.recall_score(y, p))
    assert mine["seconds_f"] == pytest.approx(metrics.f1_score(y, p))


# ---- VCSL's segments: boxes are (query start, known start, query end, known end) -------------------------------------


def test_vcsl_of_one_segment_half_found() -> None:
    # truth: query 0–10 is known 20–30; said: query 5–15 is known 25–35.
    # overlap: query 5–10 = 5 s of the 10 said, known 25–30 = 5 s of the 10 said → precision 5/10 · 5/10 = 0.25;
    # of the 10 s of truth 5 are met on either axis → recall 0.25.
    assert segment_scores([(5, 25, 15, 35)], [(0, 20, 10, 30)]) == pytest.approx((0.25, 0.25))


def test_vcsl_of_a_segment_said_in_two_halves_is_whole() -> None:
    # each half lies wholly in the truth: precision (5 + 5)/(5 + 5) on both axes = 1; the union of the two overlaps is
    # 10 of 10 s on both axes: recall 1. Finer or coarser cutting costs nothing.
    assert segment_scores([(0, 20, 5, 25), (5, 25, 10, 30)], [(0, 20, 10, 30)]) == pytest.approx((1.0, 1.0))


def test_vcsl_of_a_segment_that_repeats_itself_counts_once_for_recall_and_twice_for_precision() -> None:
    # said: the same 4 s twice. Precision: 4/4 and 4/4 → (4 + 4)/(4 + 4) = 1. Recall: union of overlaps 4 of 10 s on the
    # query, 4 of 10 on the known axis → 0.16.
    assert segment_scores([(0, 0, 4, 4), (0, 0, 4, 4)], [(0, 0, 10, 10)]) == pytest.approx((1.0, 0.16))


def test_vcsl_of_right_seconds_at_the_wrong_known_time_is_nothing() -> None:
    # the query seconds agree, the known seconds do not meet: no common area, so neither axis counts
    assert segment_scores([(0, 50, 10, 60)], [(0, 0, 10, 10)]) == (0.0, 0.0)


def test_vcsl_of_one_right_and_one_wrong_segment() -> None:
    # said: 6 s right, 4 s of nothing. Precision (6 + 0)/(6 + 4) on both axes = 0.36; recall 6/6 · 6/6 = 1
    assert segment_scores([(0, 0, 6, 6), (20, 20, 24, 24)], [(0, 0, 6, 6)]) == pytest.approx((0.36, 1.0))


def test_vcsl_at_double_speed() -> None:
    # truth: query 0–5 is known 0–10; said: query 0–5 is known 0–5 (speed not seen).
    # precision: query 5/5, known 5/5 = 1; recall: query 5/5, known 5/10 = 0.5
    assert segment_scores([(0, 0, 5, 5)], [(0, 0, 5, 10)]) == pytest.approx((1.0, 0.5))


def test_vcsl_of_nothing_said_and_nothing_true() -> None:
    assert segment_scores([], []) == (1.0, 1.0)
    assert segment_scores([], [(0, 0, 1, 1)]) == (1.0, 0.0)
    assert segment_scores([(0, 0, 1, 1)], []) == (0.0, 1.0)


# ---- rankings -------------------------------------------------------------------------------------------------------


def _pairs(rng: np.random.Generator, n: int, *, ties: bool) -> list[Pair]:
    scores = rng.integers(1, 6, n) / 5 if ties else rng.random(n) + 0.1
    return [Pair(f"q{i}", f"s{i % 7}", "k", bool(rng.random() < 0.4), float(scores[i])) for i in range(n)]


@pytest.mark.parametrize("ties", [False, True])
def test_pair_average_precision_is_scikit_learns(ties: bool) -> None:
    rng = np.random.default_rng(3)
    for n in (5, 50, 300):
        pairs = _pairs(rng, n, ties=ties)
        if not any(pair.right for pair in pairs):
            continue
        weight = rng.integers(0, 4, n).astype(np.float64)
        y, s = [p.right for p in pairs], [p.score for p in pairs]
        assert pair_precision(pairs) == pytest.approx(metrics.average_precision_score(y, s))
        assert pair_precision(pairs, weight) == pytest.approx(
            metrics.average_precision_score(y, s, sample_weight=weight)
        )


def test_right_pairs_that_were_not_proposed_are_missed() -> None:
    # ranking: right (1/1), wrong, right (2/3); one more right pair never proposed: (1 + 2/3) / 3
    pairs = [
        Pair("a", "a", "k", True, 0.9),
        Pair("b", "b", "k", False, 0.8),
        Pair("c", "c", "k", True, 0.7),
        Pair("d", "d", "k", True, 0.0),
    ]
    assert pair_precision(pairs) == pytest.approx((1 + 2 / 3) / 3)


def test_budget_shows_the_newest_seeming_first_and_counts_only_what_was_seen_whole() -> None:
    # 4 videos of 10 s = 40 s. Queue: n1 (10 s), c2 (10 s, known, not cleared), n2 (10 s); c1 left it.
    rows = [
        _outcome("c1"),
        _outcome("c2", verdict="same_scene", score=0.6, cleared=0.0, view_seconds=10.0),
        _novel("n1", 1.0),
        _novel("n2", 0.5),
    ]
    spent, seen = budget_curve(Outcomes.of(rows))
    assert spent.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert seen.tolist() == [0.0, 0.5, 0.5, 1.0]
    found = measure(Outcomes.of(rows))
    assert found["novel_video_recall_at_25pc"] == 0.5
    assert found["novel_video_recall_at_50pc"] == 0.5
    assert found["novel_video_recall"] == 1.0


def test_a_hidden_video_costs_recall_and_everything_cleared_at_full_recall() -> None:
    rows = [_outcome("c1"), _outcome("c2", verdict="partly_known", score=0.3, cleared=6.0, view_seconds=4.0)]
    rows += [_novel("n1", 0.8)]
    # both copies lie below 0.8: 20 of 20 known seconds
    assert measure(Outcomes.of(rows))["known_seconds_cleared_at_full_recall"] == 1.0
    # a new video at 0.2: only c1 is below it, of c2 the 6 proven seconds are skipped: 16 of 20
    rows.append(_novel("n2", 0.2))
    assert measure(Outcomes.of(rows))["known_seconds_cleared_at_full_recall"] == pytest.approx(0.8)
    # one left the queue: no video may be cleared whole, of c2 6 s are skipped: 6 of 20
    rows.append(_novel("n3", 0.0, verdict="known", view_seconds=0.0, hidden_seconds=10.0))
    found = measure(Outcomes.of(rows))
    assert found["known_seconds_cleared_at_full_recall"] == pytest.approx(0.3)
    assert found["novel_video_recall"] == pytest.approx(2 / 3)
    assert found["new_seconds_shown"] == pytest.approx(2 / 3)


def _verdict(verdict: str, *called: tuple[float, float]) -> Verdict:
    segments = tuple(
        Segment(start, end, "known", known_video_id="k", known_start_seconds=start, known_end_seconds=end)
        for start, end in called
    )
    return Verdict("q", verdict, Reason.PROVEN_BY_TIME, 0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 0.0, 9, "k", segments)


@pytest.mark.parametrize(
    ("kind", "truth", "verdict", "called", "expected"),
    [
        # 3 of 10 s are covered by new footage: cleared are the 7 told, hidden the 3 when all is called known
        ("new_inside", [(0.0, 4.0), (7.0, 10.0)], "known", [(0.0, 10.0)], (7.0, 3.0, 3.0, True)),
        ("new_inside", [(0.0, 4.0), (7.0, 10.0)], "partly_known", [(0.0, 4.0)], (4.0, 3.0, 0.0, False)),
        ("new_inside", [], "known", [(0.0, 10.0)], (0.0, 10.0, 10.0, True)),
        # known in a part of a new picture: to be named; nothing can be cleared, and a stretch alone hides nothing
        ("new_around", [(0.0, 10.0)], "partly_known", [(0.0, 10.0)], (0.0, 10.0, 0.0, False)),
        ("new_around", [(0.0, 10.0)], "known", [(0.0, 10.0)], (0.0, 10.0, 10.0, True)),
    ],
)
def test_pictures_that_show_both_are_new(
    kind: str,
    truth: list[tuple[float, float]],
    verdict: str,
    called: list[tuple[float, float]],
    expected: tuple[float, float, float, bool],
) -> None:
    known = SampleVideo("known", "known", ("a",), "tune", 10.0, "", "k")
    query = SampleVideo("query", "query", ("a",), "tune", 10.0, "pip_30", "q")
    rows = tuple(TruthSegment("query", start, end, "known", start, end, "pip_30") for start, end in truth)
    samples = SampleSet(Path(), {"known": known, "query": query}, rows, (Negative("query", "known", kind),))
    found = Truth(samples).outcome(query, _verdict(verdict, *called))
    assert (found.cleared, found.new_truth, found.hidden_seconds, found.hidden) == expected
    assert found.kind == kind
    assert found.named == found.shows_known == bool(truth)


# ---- intervals ------------------------------------------------------------------------------------------------------


def test_clopper_pearson_is_scipys_and_zero_errors_give_the_rule_of_three() -> None:
    stats = pytest.importorskip("scipy.stats")
    for successes, trials in ((0, 10), (3, 10), (10, 10), (1, 300), (299, 300), (150, 1000)):
        expected = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
        assert clopper_pearson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)
    # 0 errors of 100: one-sided 95 % bound 1 − 0.05^(1/100) = 0.0295, about 3/100
    assert clopper_pearson(0, 100, confidence=0.9)[1] == pytest.approx(1 - 0.05**0.01, abs=1e-9)
    assert clopper_pearson(0, 100, confidence=0.9)[1] == pytest.approx(3 / 100, rel=0.02)
    assert clopper_pearson(0, 252, confidence=0.9)[1] == pytest.approx(1 - 0.05 ** (1 / 252), abs=1e-6)
    assert clopper_pearson(1, 114, confidence=0.9)[1] == pytest.approx(0.04094, abs=1e-4)
    assert clopper_pearson(5, 5, confidence=0.9)[1] == 1.0
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_bootstrap_draws_sources_not_queries() -> None:
    cluster = np.array([0, 0, 0, 1, 2, 2])
    draws = np.array(list(bootstrap_weights(cluster, 200, 1)))
    assert (draws[:, 0] == draws[:, 1]).all()
    assert (draws[:, 4] == draws[:, 5]).all()
    assert (draws[:, [0, 3, 4]].sum(axis=1) == 3).all()
    assert np.array_equal(draws, np.array(list(bootstrap_weights(cluster, 200, 1))))


def test_interval_widens_with_what_is_one_source() -> None:
    def rows(sources: int) -> list[Outcome]:
        return [_outcome(f"q{i}", cluster=f"s{i % sources}", cleared=10.0 * ((i % sources) % 2)) for i in range(60)]

    many, few = (by_name(evaluate(rows(n), repeats=300))["known_seconds_cleared"] for n in (60, 6))
    assert many.value == few.value == 0.5
    assert few.high - few.low > 2 * (many.high - many.low)
    assert few.low < 0.5 < few.high


def test_novel_recall_without_an_error_has_the_bound_of_its_sources() -> None:
    rows = [_novel(f"n{i}", cluster=f"s{i // 2}") for i in range(40)]
    recall = by_name(evaluate(rows, repeats=20))["novel_video_recall"]
    assert recall.value == 1.0
    assert recall.low == pytest.approx(clopper_pearson(20, 20)[0])
    assert recall.low < 0.84


def test_groups_are_reported_by_edit_kind_and_length() -> None:
    rows = [_outcome("a", edit="mirror", seconds=4.0), _outcome("b", edit="crop_10", cleared=0.0), _novel("c")]
    found = {(one.group, one.metric): one.value for one in evaluate(rows, repeats=10)}
    assert found["edit: mirror", "known_seconds_cleared"] == 1.0
    assert found["edit: crop_10", "known_seconds_cleared"] == 0.0
    assert found["kind: novel", "novel_video_recall"] == 1.0
    assert ("kind: novel", "known_seconds_cleared") not in found
    assert found["length: up to 05 s", "known_seconds_cleared"] == 1.0
