"""What verdicts are worth, measured against the truth of a sample set: seconds, segments, videos and pairs.

A query is *new* when more than `NEW_SECONDS` of it are in no known video (all of it, for the negatives; what plays
inside the picture of new footage is named, and no second of it is to be cleared), and *hidden*
when it is new and leaves the queue: that is the error that counts. Intervals come from a bootstrap over the source
videos, for two queries made of one source are no two observations; where an error never happened, the interval is that
of Clopper and Pearson over the sources ("rule of three": 0 of n errors means a rate below 3/n at 95 %).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from videonovelty.records import F64, Segment, Verdict
from videonovelty.tuning.sampletables import NEW_SECONDS, SampleSet, SampleVideo

BUDGETS = (0.25, 0.5)
"""Shares of the night's seconds that reviewers look at."""
Interval = tuple[float, float]


# ---------------------------------------------------------------------------------------------------------------------
# One query


@dataclass(frozen=True, slots=True)
class Outcome:
    """One query: what it is, and what became of it."""

    video: str
    cluster: str
    """The source it is made of."""
    edit: str
    kind: str
    """`copy`, `partly_new`, or what a negative says: `novel`, `same_scene`, `new_inside`, `new_around`."""
    shows_known: bool
    """There is a known video to be named."""
    seconds: float
    known_truth: float
    """Seconds that are footage of known videos."""
    new_truth: float
    verdict: str
    reason: str
    score: float
    """How new it seems, 0 … 1; 0 leaves the queue."""
    cleared: float
    """Seconds called known that are."""
    hidden_seconds: float
    """Seconds called known that are not."""
    view_seconds: float
    """What a reviewer looks at, if it is looked at."""
    named: bool
    """The best known video is a right one."""
    segment_precision: float
    segment_recall: float
    """As VCSL has them; NaN for a query with no pair to judge."""
    best_known: str
    """Id of the known video the verdict names, or empty."""

    @property
    def is_new(self) -> bool:
        """There is something in it nobody has seen."""
        return self.new_truth > NEW_SECONDS

    @property
    def hidden(self) -> bool:
        """The error that counts."""
        return self.is_new and self.verdict == "known"


@dataclass(frozen=True, slots=True)
class Pair:
    """One query and one known video: a right pair, or a wrong one that was proposed."""

    video: str
    cluster: str
    known: str
    right: bool
    score: float
    """0: not proposed."""


class Truth:
    """The truth of a sample set, by query."""

    def __init__(self, samples: SampleSet) -> None:
        self._samples = samples
        self._rows: dict[str, list[tuple[float, float, str, float, float]]] = defaultdict(list)
        for row in samples.truth:
            known = samples.videos[row.known].sha256
            self._rows[row.query].append((row.q_start, row.q_end, known, row.k_start, row.k_end))
        self._kinds = {row.query: row.kind for row in samples.negatives}
        self._likened: dict[str, set[str]] = defaultdict(set)
        for negative in samples.negatives:
            if negative.known:
                self._likened[negative.query].add(samples.videos[negative.known].sha256)

    def outcome(self, video: SampleVideo, verdict: Verdict) -> Outcome:
        """Return what became of a query."""
        rows = self._rows.get(video.video, [])
        seconds = verdict.duration_seconds or video.seconds
        truth = [(a, b) for a, b, *_ in rows]
        known_truth = union_seconds(truth)
        called = [(s.start_seconds, s.end_seconds) for s in verdict.segments if s.kind == "known"]
        cleared = shared_seconds(called, truth)
        precision, recall = self._segments(video.video, verdict.segments)
        new_truth = max(0.0, seconds - known_truth)
        kind = self._kinds.get(video.video) or ("partly_new" if new_truth > NEW_SECONDS else "copy")
        left = verdict.verdict == "known"
        if kind == "new_around":
            # a stretch that fills a part of the picture hides nothing, unless the video leaves the queue for it
            known_truth, new_truth, cleared, called = 0.0, seconds, 0.0, [(0.0, seconds)] if left else []
        return Outcome(
            video=video.video,
            cluster=video.sources[0],
            edit=video.edit or kind,
            kind=kind,
            shows_known=bool(rows),
            seconds=seconds,
            known_truth=known_truth,
            new_truth=new_truth,
            verdict=verdict.verdict,
            reason=str(verdict.reason.value),
            score=0.0 if left else 1.0 if verdict.novelty is None else 0.01 + 0.99 * verdict.novelty,
            cleared=cleared,
            hidden_seconds=max(0.0, union_seconds(called) - cleared),
            view_seconds=0.0 if left else max(0.0, seconds - union_seconds(called)),
            named=bool(rows) and verdict.best_known_id in {row[2] for row in rows},
            segment_precision=precision,
            segment_recall=recall,
            best_known=verdict.best_known_id or "",
        )

    def pairs(self, video: SampleVideo, verdict: Verdict) -> list[Pair]:
        """Return the pairs of a query: the right ones, and every one the verdict proposes."""
        right = {row[2] for row in self._rows.get(video.video, [])}
        proven: dict[str, float] = defaultdict(float)
        alike: dict[str, float] = defaultdict(float)
        for segment in verdict.segments:
            if segment.known_video_id is not None:
                share = (segment.end_seconds - segment.start_seconds) / max(verdict.duration_seconds, 1e-9)
                (proven if segment.kind == "known" else alike)[segment.known_video_id] += share
        found = {known: (1.0 + proven[known] if known in proven else alike[known]) for known in {**proven, **alike}}
        return [
            Pair(video.video, video.sources[0], known, known in right, found.get(known, 0.0))
            for known in sorted(right | set(found))
        ]

    def _segments(self, query: str, segments: Sequence[Segment]) -> tuple[float, float]:
        """Return VCSL's precision and recall of a query, the mean over its pairs."""
        truth: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
        for q_start, q_end, known, k_start, k_end in self._rows.get(query, []):
            truth[known].append((q_start, k_start, q_end, k_end))
        said: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
        for segment in segments:
            if segment.kind == "known" and segment.known_video_id is not None:
                ends = (segment.known_start_seconds or 0.0, segment.known_end_seconds or 0.0)
                box = (segment.start_seconds, min(ends), segment.end_seconds, max(ends))
                said[segment.known_video_id].append(box)
        pairs = sorted({*truth, *said, *self._likened.get(query, ())})
        if not pairs:
            return math.nan, math.nan
        scores = [segment_scores(said.get(known, []), truth.get(known, [])) for known in pairs]
        return sum(p for p, _ in scores) / len(scores), sum(r for _, r in scores) / len(scores)


Box = tuple[float, float, float, float]
"""Query start, known start, query end, known end."""


def segment_scores(said: Sequence[Box], truth: Sequence[Box]) -> tuple[float, float]:
    """Return precision and recall of the segments of one pair of videos, as VCSL defines them (He et al., CVPR 2022).

    On either axis, what counts of a segment is the union of its overlaps with the segments of the other side that it
    meets in both axes, over the length of all segments; the two axes' shares are multiplied. With nothing said the
    precision is 1, with nothing to find the recall is 1.
    """
    if not said or not truth:
        return float(not said), float(not truth)
    return _covered(said, truth), _covered(truth, said)


def _covered(boxes: Sequence[Box], others: Sequence[Box]) -> float:
    share = 1.0
    for low, high in ((0, 2), (1, 3)):
        met = 0.0
        for box in boxes:
            common = [
                (max(box[low], other[low]), min(box[high], other[high]))
                for other in others
                if min(box[2], other[2]) > max(box[0], other[0]) and min(box[3], other[3]) > max(box[1], other[1])
            ]
            met += union_seconds(common)
        share *= met / max(sum(box[high] - box[low] for box in boxes), 1e-9)
    return min(1.0, share)


def union_seconds(intervals: Iterable[Interval]) -> float:
    """Return how long the union of intervals is."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def shared_seconds(one: Sequence[Interval], two: Sequence[Interval]) -> float:
    """Return how long the intersection of two unions of intervals is."""
    return union_seconds(one) + union_seconds(two) - union_seconds([*one, *two])


# ---------------------------------------------------------------------------------------------------------------------
# Many queries


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The outcomes of many queries as columns of equal length."""

    cluster: npt.NDArray[np.int64]
    """Number of the source."""
    seconds: F64
    known_truth: F64
    new_truth: F64
    shows_known: npt.NDArray[np.bool_]
    is_new: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.bool_]
    left: npt.NDArray[np.bool_]
    score: F64
    cleared: F64
    hidden_seconds: F64
    view_seconds: F64
    named: npt.NDArray[np.bool_]
    segment_precision: F64
    segment_recall: F64

    @classmethod
    def of(cls, rows: Sequence[Outcome]) -> Outcomes:
        """Return the columns of some outcomes."""
        numbers: dict[str, int] = {}
        cluster = [numbers.setdefault(row.cluster, len(numbers)) for row in rows]
        columns: dict[str, Any] = {"cluster": np.array(cluster, np.int64), "left": [r.verdict == "known" for r in rows]}
        for one in fields(cls):
            if one.name not in columns:
                columns[one.name] = [getattr(row, one.name) for row in rows]
        return cls(**{name: np.asarray(column) for name, column in columns.items()})


def measure(o: Outcomes, weight: F64 | None = None) -> dict[str, float]:
    """Return every metric of the queries, each counted `weight` times; NaN where there is nothing to measure."""
    w = np.ones(len(o.seconds)) if weight is None else weight

    def ratio(part: Any, whole: Any) -> float:
        total = float((w * whole).sum())
        return float((w * part).sum()) / total if total > 0 else math.nan

    called = o.cleared + o.hidden_seconds
    precision, recall = ratio(o.cleared, called), ratio(o.cleared, o.known_truth)
    judged = np.isfinite(o.segment_precision)
    segment_precision = ratio(np.where(judged, o.segment_precision, 0.0), judged)
    segment_recall = ratio(np.where(judged, o.segment_recall, 0.0), judged)
    found = {
        "novel_video_recall": 1.0 - ratio(o.hidden, o.is_new),
        "new_seconds_shown": 1.0 - ratio(np.minimum(o.hidden_seconds, o.new_truth), o.new_truth),
        "known_seconds_cleared": recall,
        "known_seconds_cleared_at_full_recall": _cleared_at_full_recall(o, w),
        "known_videos_cleared": ratio(o.left & ~o.is_new, ~o.is_new),
        "source_named": ratio(o.named, o.shows_known),
        "seconds_precision": precision,
        "seconds_f": _harmonic(precision, recall),
        "segment_precision": segment_precision,
        "segment_recall": segment_recall,
        "segment_f": _harmonic(segment_precision, segment_recall),
    }
    for budget in BUDGETS:
        found[f"novel_video_recall_at_{budget:.0%}".replace("%", "pc")] = _recall_at_budget(o, w, budget)
    return found


def _harmonic(one: float, two: float) -> float:
    return 2 * one * two / (one + two) if one + two > 0 else (math.nan if math.isnan(one + two) else 0.0)


def _cleared_at_full_recall(o: Outcomes, w: F64) -> float:
    """Return the share of the known seconds nobody looks at once no new video may be cleared, however far the limit
    has to move for that."""
    total = float((w * o.known_truth).sum())
    new = o.is_new & (w > 0)
    limit = float(o.score[new].min()) if new.any() else math.inf
    cleared = np.where(o.score < limit, o.known_truth, np.where(o.left, 0.0, o.cleared))
    return float((w * cleared).sum()) / total if total > 0 else math.nan


def budget_curve(o: Outcomes, weight: F64 | None = None) -> tuple[F64, F64]:
    """Return (share of the night's seconds looked at, share of the new videos seen) after each video of the queue.

    The queue holds what did not leave it, the newest-seeming first; of a partly known video only the rest is viewed.
    """
    w = np.ones(len(o.seconds)) if weight is None else weight
    order = np.lexsort((np.arange(len(o.score)), -o.score))
    order = order[~o.left[order]]
    spent = np.cumsum((w * o.view_seconds)[order]) / max(float((w * o.seconds).sum()), 1e-9)
    seen = np.cumsum((w * o.is_new)[order]) / max(float((w * o.is_new).sum()), 1e-9)
    return np.concatenate([[0.0], spent]), np.concatenate([[0.0], seen])


def _recall_at_budget(o: Outcomes, w: F64, budget: float) -> float:
    if not (w * o.is_new).any():
        return math.nan
    spent, seen = budget_curve(o, w)
    return float(seen[np.searchsorted(spent, budget + 1e-9, side="right") - 1])


def pair_precision(pairs: Sequence[Pair], weight: F64 | None = None) -> float:
    """Return the micro average precision over all pairs in one ranking; right pairs not proposed count as missed."""
    w = np.ones(len(pairs)) if weight is None else weight
    score = np.array([pair.score for pair in pairs])
    right = np.array([pair.right for pair in pairs], np.bool_)
    total = float(w[right].sum()) if len(pairs) else 0.0
    if total <= 0:
        return math.nan
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > 0]
    hits, seen = np.cumsum((w * right)[order]), np.cumsum(w[order])
    if not len(order):
        return 0.0
    # equal scores are one step
    last = np.append(np.diff(score[order]) != 0, True)
    steps = np.diff(np.concatenate([[0.0], hits[last]]))
    return float((steps * hits[last] / np.maximum(seen[last], 1e-12)).sum() / total)


# ---------------------------------------------------------------------------------------------------------------------
# Intervals


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric with its 95 % interval."""

    group: str
    """`all`, or `edit: …`, `length: …`, `kind: …`."""
    metric: str
    value: float
    low: float
    high: float
    queries: int
    sources: int


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return the exact two-sided interval of a rate."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1.0 - confidence) / 2

    def solve(at_least: int, target: float) -> float:
        """Return the rate at which `at_least` or more successes have the probability `target`."""
        low, high = 0.0, 1.0
        for _ in range(60):
            rate = 0.5 * (low + high)
            low, high = (rate, high) if _binomial_tail(at_least, trials, rate) < target else (low, rate)
        return 0.5 * (low + high)

    lower = 0.0 if successes == 0 else solve(successes, tail)
    upper = 1.0 if successes == trials else solve(successes + 1, 1.0 - tail)
    return lower, upper


def _binomial_tail(at_least: int, trials: int, rate: float) -> float:
    if rate <= 0.0 or rate >= 1.0:
        return float(rate >= 1.0 or at_least <= 0)
    logs = [
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(rate) + (trials - k) * math.log1p(-rate)
        for k in range(at_least, trials + 1)
    ]  # fmt: skip
    return min(1.0, sum(map(math.exp, logs)))


def bootstrap_weights(cluster: npt.NDArray[np.int64], repeats: int, seed: int) -> Iterable[F64]:
    """Yield the weight of each query in each repeat: its source's number of draws among as many as there are."""
    rng = np.random.default_rng(seed)
    count = int(cluster.max()) + 1 if len(cluster) else 0
    for _ in range(repeats):
        yield np.bincount(rng.integers(0, count, count), minlength=count)[cluster].astype(np.float64)


def evaluate(
    rows: Sequence[Outcome], pairs: Sequence[Pair] = (), *, repeats: int = 500, seed: int = 0
) -> list[Measured]:
    """Return every metric of the queries, over all of them, per edit, per kind and per length, with intervals.

    A rate without a single error has the interval of Clopper and Pearson over the sources, whose lower end is what
    "no error in n" is worth.
    """
    found = _of_group("all", rows, pairs, repeats, seed)
    for name, key in (("edit", lambda o: o.edit), ("kind", lambda o: o.kind), ("length", _length)):
        groups: dict[str, list[Outcome]] = defaultdict(list)
        for row in rows:
            groups[key(row)].append(row)
        for value, members in sorted(groups.items()):
            found += _of_group(f"{name}: {value}", members, (), max(100, repeats // 5), seed)
    return found


def _length(row: Outcome) -> str:
    for limit in (5, 10, 30, 60):
        if row.seconds <= limit:
            return f"up to {limit:02d} s"
    return "over 60 s"


def _of_group(group: str, rows: Sequence[Outcome], pairs: Sequence[Pair], repeats: int, seed: int) -> list[Measured]:
    outcomes = Outcomes.of(rows)
    values = measure(outcomes)
    samples: dict[str, list[float]] = defaultdict(list)
    place = {row.video: number for number, row in enumerate(rows)}
    of_pair = np.array([place[pair.video] for pair in pairs], np.int64)
    if pairs:
        values["pair_average_precision"] = pair_precision(pairs)
    for weight in bootstrap_weights(outcomes.cluster, repeats, seed):
        for name, value in measure(outcomes, weight).items():
            samples[name].append(value)
        if pairs:
            samples["pair_average_precision"].append(pair_precision(pairs, weight[of_pair]))
    sources = int(outcomes.cluster.max()) + 1
    measured = []
    for name, value in values.items():
        if math.isnan(value):
            continue
        drawn = np.array([one for one in samples[name] if not math.isnan(one)])
        low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (0.0, 1.0)
        if name == "novel_video_recall" and value == 1.0:
            new = len(set(outcomes.cluster[outcomes.is_new].tolist()))
            low, high = clopper_pearson(new, new)
        measured.append(Measured(group, name, value, float(low), float(high), len(rows), sources))
    return measured


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def as_table(rows: Sequence[Outcome] | Sequence[Pair] | Sequence[Measured]) -> pa.Table:
    """Return records of one kind as an Arrow table."""
    return pa.Table.from_pylist([asdict(row) for row in rows])


def outcomes_of_table(table: pa.Table) -> list[Outcome]:
    """Return the outcomes of a table made by `as_table`."""
    return [Outcome(**row) for row in table.to_pylist()]


def by_name(measured: Sequence[Measured], group: str = "all") -> Mapping[str, Measured]:
    """Return the metrics of one group by name."""
    return {one.metric: one for one in measured if one.group == group}
