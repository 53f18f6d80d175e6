"""The rows of a run's tables: one a file, one a segment, one a member of a group, with what the lists say of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.errors import Reason
from videonovelty.grouping import Group
from videonovelty.intake import display_path, encode_raw
from videonovelty.known.ledger import REVIEW_TAG
from videonovelty.known.snapshot import Snapshot
from videonovelty.records import KnownVideo, ListMembership, Segment, Sighting, Verdict
from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS

ROWS_AT_ONCE = 5000


@dataclass(slots=True)
class Judged:
    """Everything known about one content at the end."""

    verdict: Verdict
    sandboxed: bool = True
    group: Group | None = None
    known: dict[str, KnownVideo] = field(default_factory=dict)


def preferred_membership(video: KnownVideo | None) -> ListMembership | None:
    """Return the list entry that stands beside a match: the one an analyst must see first.

    Abuse before benign material, children still searched for before those found, then by name of the list.
    """
    if video is None or not video.memberships:
        return None
    disposition = {"abuse": 0, "other": 1, "benign": 2}
    searched = {"no": 0, "unknown": 1, "yes": 2}
    return min(
        video.memberships,
        key=lambda m: (disposition.get(m.disposition, 1), searched.get(m.victim_identified, 1), m.list_name),
    )


def make_tables(
    sightings: Sequence[Sighting], judged: Mapping[str, Judged], snapshot: Snapshot, scheme_name: str
) -> tuple[pa.Table, pa.Table, pa.Table]:
    wanted = {s.known_video_id for one in judged.values() for s in one.verdict.segments if s.known_video_id}
    wanted |= {one.verdict.best_known_id for one in judged.values() if one.verdict.best_known_id}
    known = snapshot.same_content(sorted(wanted))
    known |= {video_id: video for one in judged.values() for video_id, video in one.known.items()}
    signed = snapshot.signed(sorted(wanted), scheme_name)
    verdicts = (_verdict_row(sighting, judged, known, snapshot.number, scheme_name) for sighting in sightings)
    segments = (
        _segment_row(video_id, segment, known, signed)
        for video_id, one in sorted(judged.items())
        for segment in one.verdict.segments
    )
    groups = [edge for one in sorted(_groups(judged), key=lambda group: group.group_id) for edge in one.rows()]
    return (
        _table(verdicts, VERDICTS),
        _table(segments, SEGMENTS),
        _table(iter(groups), GROUPS),
    )


def known_by_review(run_path: Path, snapshot: Snapshot) -> dict[str, str]:
    """Return of the known videos the tables name those analysts' decisions made known: who decided what, and when."""
    named: set[str] = set()
    for name, column in (("verdicts", "best_known_id"), ("segments", "known_video_id")):
        ids = pq.read_table(run_path / f"{name}.parquet", columns=[column], partitioning=None)[column]
        named |= set(ids.unique().drop_null().to_pylist())
    return {
        video_id: membership.source
        for video_id, video in snapshot.describe(sorted(named)).items()
        for membership in video.memberships
        if REVIEW_TAG in membership.tags
    }


def _table(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return a table of `rows`, of which a few thousand at a time are held as Python objects."""
    pieces = []
    while piece := list(islice(rows, ROWS_AT_ONCE)):
        pieces.append(pa.RecordBatch.from_pylist(piece, schema=schema))
    return pa.Table.from_batches(pieces, schema=schema)


def _groups(judged: Mapping[str, Judged]) -> list[Group]:
    return list({one.group.group_id: one.group for one in judged.values() if one.group is not None}.values())


def _verdict_row(
    sighting: Sighting,
    judged: Mapping[str, Judged],
    known: Mapping[str, KnownVideo],
    snapshot: int,
    scheme_name: str,
) -> dict[str, Any]:
    one = judged.get(sighting.video_id)
    if one is None:
        one = Judged(unsigned_verdict("", sighting.reason or Reason.IO_ERROR))
    verdict = one.verdict
    membership = preferred_membership(known.get(verdict.best_known_id or ""))
    return {
        "video_id": sighting.video_id or None,
        "path": display_path(sighting.path_raw),
        "path_raw": encode_raw(sighting.path_raw),
        "verdict": verdict.verdict,
        "needs_review": verdict.needs_review,
        "novelty": verdict.novelty,
        "novel_seconds": verdict.novel_seconds,
        "known_seconds": verdict.known_seconds,
        "duration_seconds": verdict.duration_seconds,
        "decoded_seconds": verdict.decoded_seconds,
        "keyframes": verdict.keyframes,
        "uninformative_seconds": verdict.uninformative_seconds,
        "longest_unseen_seconds": verdict.longest_unseen_seconds,
        "best_known_id": verdict.best_known_id,
        "best_known_disposition": membership.disposition if membership else None,
        **what_lists_say("best_known", known.get(verdict.best_known_id or "")),
        "group_id": one.group.group_id if one.group else None,
        "group_leader": (one.group.leader == verdict.video_id) if one.group else None,
        "reason": verdict.reason.value,
        "scheme": scheme_name,
        "snapshot": snapshot,
        "sandboxed": one.sandboxed,
    }


def _segment_row(video_id: str, segment: Segment, known: Mapping[str, KnownVideo], signed: set[str]) -> dict[str, Any]:
    return {
        "video_id": video_id,
        **asdict(segment),
        **what_lists_say("known", known.get(segment.known_video_id or "")),
        "known_evidence": _evidence(segment, signed),
    }


def what_lists_say(prefix: str, video: KnownVideo | None) -> dict[str, Any]:
    """Return the columns that stand beside a match: the list to see first, and in one of them what every list says."""
    first = preferred_membership(video)
    if first is None or video is None:
        return {}
    every = sorted(video.memberships, key=lambda m: (m is not first, m.list_name))
    return {
        f"{prefix}_list": first.list_name,
        f"{prefix}_series": first.series or None,
        f"{prefix}_victim_identified": first.victim_identified,
        f"{prefix}_category": first.category or None,
        f"{prefix}_offender_identified": first.offender_identified,
        f"{prefix}_distributed": first.distributed,
        f"{prefix}_tags": "; ".join(first.tags) or None,
        f"{prefix}_source": first.source or None,
        f"{prefix}_lists": json.dumps([asdict(m) for m in every], ensure_ascii=True),
    }


def _evidence(segment: Segment, signed: set[str]) -> str | None:
    if segment.known_video_id is None:
        return None
    if segment.proof == "bytes":
        return "bytes"
    return "footage" if segment.known_video_id in signed else "frames"


def unsigned_verdict(video_id: str, reason: Reason) -> Verdict:
    return Verdict(video_id, "not_comparable", reason, None, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, None, ())
