"""Arithmetic of copy detection: segments found against segments planted, and one ranking of pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from videonovelty.tuning.metrics import union_seconds

Row = Mapping[str, Any]

NOT_SHOWN = frozenset({"known", "uninformative"})
"""Kinds of segments nobody is asked to view: new footage in them is hidden."""


def overlap(a: float, b: float, c: float, d: float) -> float:
    """Return how much `[a, b)` and `[c, d)` have in common."""
    return max(0.0, min(b, d) - max(a, c))


def segment_precision_recall(truth: Sequence[Sequence[float]], found: Sequence[Row], known: str) -> tuple[float, float]:
    """Return VCSL's segment precision and recall of one query: overlaps on the query's and the known side, multiplied.

    He et al., "A large-scale comprehensive dataset and copy-overlap aware evaluation protocol for segment-level video
    copy detection", CVPR 2022: precision is the share of the found segments' extent that overlaps true boxes, taken on
    both axes; recall the share of the true segments' extent that found boxes overlap.
    Both are 0 where nothing is found.
    """
    boxes = [
        (s["start_seconds"], s["end_seconds"], s["known_start_seconds"], s["known_end_seconds"], s["known"] == known)
        for s in found
    ]
    shares = []
    for side in (0, 2):
        mine = [(b[side], b[side + 1]) for b in boxes if b[4]]
        all_found = [(b[side], b[side + 1]) for b in boxes]
        true = [(t[side], t[side + 1]) for t in truth]
        joint = union_seconds(_meet(mine, true, boxes=[b for b in boxes if b[4]], truth=truth, side=side))
        shares.append((joint / max(1e-9, union_seconds(all_found)), joint / max(1e-9, union_seconds(true))))
    return shares[0][0] * shares[1][0], shares[0][1] * shares[1][1]


def _meet(
    mine: Sequence[tuple[float, float]],
    true: Sequence[tuple[float, float]],
    *,
    boxes: Sequence[tuple[float, float, float, float, bool]],
    truth: Sequence[Sequence[float]],
    side: int,
) -> list[tuple[float, float]]:
    """Return the intervals of one axis in which found and true segments that meet on both axes overlap."""
    other = 2 - side
    met = []
    for box, (a, b) in zip(boxes, mine, strict=True):
        for one, (c, d) in zip(truth, true, strict=True):
            if overlap(box[other], box[other + 1], one[other], one[other + 1]) > 0 and overlap(a, b, c, d) > 0:
                met.append((max(a, c), min(b, d)))
    return met


@dataclass(frozen=True, slots=True)
class Planted:
    """What is listed where new footage was planted."""

    listed: bool
    """At least half of it lies in stretches that go to a person."""
    as_novel: bool
    """…and at least half in stretches called novel."""
    cleared: bool
    """None of it goes to a person."""
    edge_off_seconds: float
    """How far the farther of its two ends is from where a listed stretch begins or ends; infinite without any."""
    off_seconds: tuple[float, float] | None
    """By how much the listed stretches around it begin too early (+) or late (−), and end too late (+) or early (−)."""


def planted(low: float, high: float, segments: Sequence[Row]) -> Planted:
    """Return what becomes of new footage planted in `[low, high)`, in seconds of the query.

    Stretches that go to a person and follow one another count as one, for a person views them as one: where the known
    footage beside the planted one is not proven, the listed stretch begins too early by all of that.
    """
    shown = sorted((s["start_seconds"], s["end_seconds"]) for s in segments if s["kind"] not in NOT_SHOWN)
    novel = [s for s in segments if s["kind"] == "novel"]
    joined: list[list[float]] = []
    for start, end in shown:
        if joined and start - joined[-1][1] <= 1e-6:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    met = [(start, end) for start, end in joined if overlap(start, end, low, high) > 0]
    half, seen = (high - low) / 2, sum(overlap(start, end, low, high) for start, end in met)
    unexplained = sum(overlap(s["start_seconds"], s["end_seconds"], low, high) for s in novel)
    off = (low - met[0][0], met[-1][1] - high) if met else None
    edges = [edge for start, end in shown for edge in (start, end)]
    edge_off = max(min((abs(edge - at) for edge in edges), default=math.inf) for at in (low, high))
    return Planted(seen >= half, unexplained >= half, not met, edge_off, off)


def average_precision(pairs: Iterable[tuple[float, bool]], *, positives: int) -> float:
    """Return the micro average precision of one ranking of all pairs (VSC2022); pairs never found count as missed."""
    ranked = sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
    right, total = 0, 0.0
    for place, (_, good) in enumerate(ranked, start=1):
        if good:
            right += 1
            total += right / place
    return total / max(1, positives)
