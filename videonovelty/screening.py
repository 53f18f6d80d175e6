"""Screen one night's intake against a known store: from files to verdicts, segments, groups and run.json.

Each step is a function over the run folder, so a run that was cut off goes on where it stopped: sight → look up exact
hashes → sign → join the codes of all signed contents against every shard → align and judge → group → tables.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import platform
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty import __version__
from videonovelty.batch import (
    Content,
    Part,
    Progress,
    Progressive,
    Report,
    SettledTask,
    SignResult,
    part_of,
    settled_verdicts,
    sight_all,
    sign_all,
    sign_unsound,
)
from videonovelty.engine import Engine
from videonovelty.errors import Reason
from videonovelty.grouping import Group, OpenContent, group_intake
from videonovelty.intake import display_path, encode_raw, enumerate_intake
from videonovelty.judgements import Judgements, judging_facts, remove_work
from videonovelty.known.ledger import REVIEW_TAG, pairs_apart
from videonovelty.known.listed import LISTED_SCHEMES
from videonovelty.known.snapshot import KnownLocal, Snapshot
from videonovelty.known.store import KnownStore
from videonovelty.likeness import with_listed_frames
from videonovelty.lookup import (
    Hits,
    Lookup,
    WorkFolder,
    all_done,
    batches,
    candidates_of,
    has_hits,
    local_candidates_of,
    local_query_bytes,
    query_bytes,
    query_limit,
)
from videonovelty.matching.alignment import align
from videonovelty.matching.candidates import Candidates
from videonovelty.matching.local_candidates import LocalCandidate
from videonovelty.matching.stretch import KnownSide, Stretch
from videonovelty.metrics import write_metrics
from videonovelty.records import (
    ContentHashes,
    KnownVideo,
    ListMembership,
    Segment,
    Sighting,
    SignedVideo,
    Verdict,
)
from videonovelty.run import RunFolder, State
from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS
from videonovelty.segments import tile_segments
from videonovelty.settings import Settings
from videonovelty.signatures import scheme
from videonovelty.signatures.pdq import DIHEDRAL
from videonovelty.unusual import against_past, figures, matched, past_runs, stale_lists
from videonovelty.verdict import judge, proven_undecoded, segment_by_bytes

logger = logging.getLogger(__name__)

VIDEOS_PER_JUDGEMENT = 20
ROWS_AT_ONCE = 5000
MIRROR_VARIANT = DIHEDRAL.index("flip_horizontal")


class HasVideoId(Protocol):
    """Anything that stands for one content."""

    @property
    def video_id(self) -> str:
        """Its id."""


class HasKnownVideoId(Protocol):
    """Any candidate."""

    @property
    def known_video_id(self) -> str:
        """The known video it is."""


S_contra = TypeVar("S_contra", bound=HasVideoId, contravariant=True)
Known = TypeVar("Known", bound=HasKnownVideoId)
C = TypeVar("C")
L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class ScreeningResult:
    """What a scan comes to."""

    document: Mapping[str, Any]
    """What run.json holds."""
    flagged: int
    """Files that failed or were refused: exit code 3 when not zero."""


@dataclass(slots=True)
class _Judged:
    """Everything known about one content at the end."""

    verdict: Verdict
    sandboxed: bool = True
    group: Group | None = None
    known: dict[str, KnownVideo] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------------------------------
# Tasks


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """Some contents, and where the hits of each lie."""

    parts: tuple[Part, ...]
    found: tuple[Hits, ...]
    local: tuple[Hits, ...] = ()
    """Hits by local descriptors; empty in the first round."""
    apart: tuple[frozenset[str], ...] = ()
    """Known videos an analyst said each is no match of; empty: of none."""


def judge_contents(task: JudgeTask, *, snapshot: Snapshot, settings: Settings) -> list[Verdict]:
    """Return the verdicts of some contents; for a worker."""
    contents = [part.read() for part in task.parts]
    keyframes = [len(signed.signatures.pts_seconds) for signed in contents]
    found = candidates_of(task.found, keyframes, n_known_videos=snapshot.n_videos, settings=settings.matching)
    local = local_candidates_of(task.local or [Hits() for _ in task.parts], settings.matching)
    if any(task.apart):
        found = [replace(one, ranked=_without(no, one.ranked)) for no, one in zip(task.apart, found, strict=True)]
        local = [_without(no, some) for no, some in zip(task.apart, local, strict=True)]
    sides = read_sides(snapshot, found, local, scheme(settings.signatures))
    return [
        judge_signed(signed, candidates, local_candidates, sides, settings)
        for signed, candidates, local_candidates in zip(contents, found, local, strict=True)
    ]


def _without(refused: frozenset[str], candidates: tuple[Known, ...]) -> tuple[Known, ...]:
    return tuple(one for one in candidates if one.known_video_id not in refused)


def read_sides(
    snapshot: Snapshot,
    candidates: Sequence[Candidates],
    local: Sequence[Sequence[LocalCandidate]],
    scheme_name: str,
) -> dict[str, KnownSide]:
    """Return what the store keeps of every candidate, by id; descriptors not found by them are read on demand."""
    by_local = {one.known_video_id for found in local for one in found}
    wanted = sorted({one.known_video_id for found in candidates for one in found.ranked} | by_local)
    motions = snapshot.motion_of(wanted, scheme_name)
    features = snapshot.local_of(sorted(by_local), scheme_name)

    def reader(video_id: str) -> Callable[[], KnownLocal | None]:
        return functools.cache(lambda: snapshot.local_of([video_id], scheme_name).get(video_id))

    return {
        video_id: KnownSide(frames, motions.get(video_id), features.get(video_id), reader(video_id))
        for video_id, frames in snapshot.frames_of(wanted, scheme_name).items()
    }


Aligner = Callable[..., list[Stretch]]


def judge_signed(
    signed: SignedVideo,
    candidates: Candidates,
    local_candidates: Sequence[LocalCandidate],
    sides: Mapping[str, KnownSide],
    settings: Settings,
    *,
    aligner: Aligner = align,
) -> Verdict:
    """Return the verdict on one signed video: aligned with every candidate, proven, tiled and judged.

    `sides` holds the candidates' known sides; `aligner` is `align`, or what remembers its answers.
    """
    stretches: list[Stretch] = []
    for candidate in candidates.ranked:
        side = sides.get(candidate.known_video_id)
        if side is not None:
            whole = replace(side, local=None)
            stretches += _aligned(aligner, signed, whole, candidate.variants, candidates.common, settings)
    for one in local_candidates:
        side = sides.get(one.known_video_id)
        if side is not None:
            variants = (MIRROR_VARIANT,) if one.mirrored else (0,)
            stretches += _aligned(aligner, signed, side, variants, candidates.common, settings, local_pairs=one.pairs)
    return judge_video(signed, stretches, candidates.common, settings)


def _aligned(
    aligner: Aligner,
    signed: SignedVideo,
    side: KnownSide,
    variants: Sequence[int],
    common: npt.NDArray[np.bool_],
    settings: Settings,
    local_pairs: npt.NDArray[np.float64] | None = None,
) -> list[Stretch]:
    return aligner(
        signed.signatures,
        side,
        variants=variants,
        common=common,
        matching=settings.matching,
        proof=settings.proof,
        aspect=signed.probe.width / max(1, signed.probe.height),
        local_pairs=local_pairs,
    )


def judge_video(
    signed: SignedVideo, stretches: Sequence[Stretch], common: npt.NDArray[np.bool_], settings: Settings
) -> Verdict:
    """Return the verdict on one signed video, given the stretches that lie on known videos."""
    signatures, coverage = signed.signatures, signed.coverage
    silent = ~signatures.informative | common
    uninformative = [
        (float(a), float(b))
        for a, b in zip(signatures.start_seconds[silent], signatures.end_seconds[silent], strict=True)
    ]
    segments = tile_segments(coverage, stretches, uninformative, settings.verdict)
    return judge(signatures, coverage, segments, settings.verdict)


# ---------------------------------------------------------------------------------------------------------------------
# The scan


def screen(
    intake: Sequence[Path],
    *,
    store: KnownStore,
    run: RunFolder,
    engine: Engine,
    settings: Settings,
    report: Report,
    fingerprint: str,
    retry: frozenset[str] | None = frozenset(),
    limit: int | None = None,
    grouping: bool = True,
) -> ScreeningResult:
    """Screen everything under `intake` against the store's newest snapshot and write the run folder's tables.

    `fingerprint` names what shapes signatures, as the run folder was opened with; `retry` holds the reasons whose
    failures are tried again (None: all); `limit` stops after that many files; without `grouping` the intake's own
    near-duplicates are not looked for. A run whose tables are already made of the very same inputs is left as it is.
    """
    started_at, clock = _now(), time.monotonic()
    snapshot = _pinned(store, run)
    scheme_name = scheme(settings.signatures)
    warnings = _warnings(snapshot, scheme_name)
    base = _document(intake, settings, snapshot, store, started_at, scheme_name)
    run.write_run_json({**base, "status": "running", "warnings": warnings})
    entries = list(enumerate_intake(intake, settings.intake))
    if limit is not None:
        entries = entries[:limit]
    sightings, contents = sight_all(entries, run, engine, settings, report)
    exact = _exact(snapshot, [content.hashes for content in contents.values()])
    to_sign = [content for video_id, content in contents.items() if video_id not in exact]
    by_packets = settings.run.progressive and snapshot.has_coded
    progressive = Progressive(snapshot, pairs_apart(snapshot)) if by_packets else None
    ends = sign_all(
        to_sign, run, engine, settings, report, fingerprint=fingerprint, retry=retry, progressive=progressive
    )
    facts = {**judging_facts(snapshot.number, scheme_name, settings), "grouping": grouping}
    made = run.tables_made_of(_inputs(facts, sightings, ends))
    if made is None:
        sign_unsound(contents, ends, run, engine, settings, report, fingerprint=fingerprint)
        settled = _settled(ends, progressive, run, engine, settings)
        not_settled = [contents[video_id] for video_id, end in ends.items() if end.settled and video_id not in settled]
        if (
            not_settled
        ):  # by what is known now: packets were compared with an earlier snapshot, or their digests are lost
            ends |= sign_all(not_settled, run, engine, settings, report, fingerprint=fingerprint)
        judged = {
            video_id: _Judged(
                _known_by_bytes(content, exact[video_id]), known={exact[video_id].video_id: exact[video_id]}
            )
            for video_id, content in contents.items()
            if video_id in exact
        }
        judged |= {video_id: _Judged(verdict, ends[video_id].sandboxed) for video_id, verdict in settled.items()}
        _judge_signed(judged, ends, Lookup(snapshot, scheme_name, engine, settings, WorkFolder(run.path), report), run)
        if grouping:
            _group_open(judged, ends, run, engine, settings, report)
        run.journal.append_many(
            (State.JUDGED, video_id, {"verdict": one.verdict.verdict, "reason": one.verdict.reason})
            for video_id, one in sorted(judged.items())
            if video_id in ends and not ends[video_id].failed
        )
        tables = _tables(sightings, judged, snapshot, scheme_name)
        made = {
            "inputs": _inputs(facts, sightings, ends),
            "counts": {name: dict(table) for name, table in _counts(sightings, judged, ends).items()},
            "seconds": dict(_seconds(judged, ends)),
        }
        run.write_tables(*tables, **made)
        remove_work(run.path)
    document = {
        **base,
        "status": "done",
        "finished_at": _now(),
        "elapsed_seconds": round(time.monotonic() - clock, 3),
        "sandboxed": all(end.sandboxed for end in ends.values()),
        "counts": made["counts"],
        "seconds": made["seconds"],
        "matched": matched(run.path / "segments.parquet"),
        "known_by_review": _known_by_review(run.path, snapshot),
    }
    document["warnings"] = [*warnings, *_unusual(run.path, document, snapshot, settings)]
    run.write_run_json(document)
    write_metrics(run.path, document)
    flagged = sum(
        sighting.reason is not None or (sighting.video_id in ends and ends[sighting.video_id].failed)
        for sighting in sightings
    )
    return ScreeningResult(document, flagged)


def _pinned(store: KnownStore, run: RunFolder) -> Snapshot:
    """Return the snapshot this run is judged against: the newest there is when it is (re)started."""
    snapshot = store.snapshot()
    run.journal.append("pinned", key="run", snapshot=snapshot.number)
    return snapshot


def _exact(snapshot: Snapshot, hashes: Sequence[ContentHashes]) -> dict[str, KnownVideo]:
    found = snapshot.lookup(hashes)
    return {one.video_id: known for one, known in zip(hashes, found, strict=True) if known is not None}


def _settled(
    ends: Mapping[str, SignResult],
    progressive: Progressive | None,
    run: RunFolder,
    engine: Engine,
    settings: Settings,
) -> dict[str, Verdict]:
    """Return the verdicts of the contents whose packets settle them against the pinned snapshot."""
    if progressive is None:
        return {}
    known_by = [
        (video_id, end.coded_sha256, progressive.apart.get(video_id, frozenset()))
        for video_id, end in sorted(ends.items())
        if end.settled and end.coded_sha256 is not None
    ]
    tasks = [
        SettledTask(run.path, tuple(known_by[at : at + VIDEOS_PER_JUDGEMENT]))
        for at in range(0, len(known_by), VIDEOS_PER_JUDGEMENT)
    ]
    task = functools.partial(settled_verdicts, snapshot=progressive.snapshot, settings=settings)
    found = all_done(engine, task, tasks, "some videos could not be compared by their packets")
    return {verdict.video_id: verdict for verdict in chain.from_iterable(found) if verdict is not None}


def _inputs(facts: Mapping[str, Any], sightings: Sequence[Sighting], ends: Mapping[str, SignResult]) -> str:
    """Return a digest of everything the tables are made of."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for sighting in sightings:
        digest.update(json.dumps([encode_raw(sighting.path_raw), sighting.video_id, sighting.reason]).encode())
    for video_id, end in sorted(ends.items()):
        settled_by = end.coded_sha256 if end.settled else None
        digest.update(json.dumps([video_id, end.part_sha256, settled_by, end.reason, end.sandboxed]).encode())
    return digest.hexdigest()


def _judge_signed(judged: dict[str, _Judged], ends: Mapping[str, SignResult], lookup: Lookup, run: RunFolder) -> None:
    """Put the verdict of every content that is not known by its bytes into `judged`."""
    in_order = [end for _, end in sorted(ends.items())]
    parts = [part_of(run.path, end) for end in in_order if end.part_sha256 is not None]
    for verdict in with_listed_frames(judge_parts(parts, lookup, run), parts, lookup, run.path):
        judged[verdict.video_id] = _Judged(verdict, ends[verdict.video_id].sandboxed)
    for end in in_order:
        if end.failed:
            judged[end.video_id] = _Judged(_unsigned_verdict(end.video_id, end.reason or Reason.CRASHED), end.sandboxed)


def judge_parts(parts: Sequence[Part], lookup: Lookup, run: RunFolder) -> Iterator[Verdict]:
    """Yield the verdict of every signed content, batch by batch; batches an earlier run judged are not judged again."""
    settings = lookup.settings
    judgements = Judgements(run, judging_facts(lookup.snapshot.number, lookup.scheme_name, settings))
    so_far: Counter[str] = Counter()
    apart = pairs_apart(lookup.snapshot)
    for cut in batches(parts, [query_bytes(part) for part in parts], query_limit(settings)):
        batch = parts[cut]
        verdicts = judgements.load(batch)
        if verdicts is None:
            search = _Search(lookup, so_far, len(parts), apart)
            verdicts = judge_in_rounds(batch, search, local=settings.signatures.local)
            search.close()
            judgements.store(batch, verdicts)
        so_far.update(verdict.verdict for verdict in verdicts)
        lookup.report(Progress("judging", cut.stop, len(parts), verdicts=dict(so_far)))
        yield from verdicts
    lookup.work.close()


class Search(Protocol[S_contra, C, L]):
    """What finds and judges candidates of a batch: the joins of a run, or what has them in memory."""

    def by_pdq(self, batch: Sequence[S_contra]) -> Sequence[C]:
        """Return the candidates of each content of the batch, whole pictures compared, or where they lie."""

    def by_local(self, batch: Sequence[S_contra]) -> Sequence[L]:
        """Return the same by their local descriptors; what is false has none."""

    def judge(self, batch: Sequence[S_contra], candidates: Sequence[C], local: Sequence[L]) -> list[Verdict]:
        """Return the verdict of each content of the batch, in any order."""


def judge_in_rounds(batch: Sequence[S_contra], search: Search[S_contra, C, L], *, local: bool) -> list[Verdict]:
    """Return the verdict of each content of a batch, in any order.

    Two rounds: PDQ finds what shows the whole picture; what it does not fully explain is looked up once more by its
    local descriptors.
    """
    candidates = search.by_pdq(batch)
    judged = {verdict.video_id: verdict for verdict in search.judge(batch, candidates, ())}
    if local:
        left = [n for n, part in enumerate(batch) if judged[part.video_id].verdict != "known"]
        again = [batch[n] for n in left]
        found_by_local = search.by_local(again)
        found = [n for n, one in enumerate(found_by_local) if one]
        for verdict in search.judge(
            [again[n] for n in found],
            [candidates[left[n]] for n in found],
            [found_by_local[n] for n in found],
        ):
            judged[verdict.video_id] = verdict
    return list(judged.values())


class _Search:
    """The joins of one batch of a run: codes and hits travel by file, shards are the tasks, results are small."""

    def __init__(
        self, lookup: Lookup, so_far: Mapping[str, int], total: int, apart: Mapping[str, frozenset[str]]
    ) -> None:
        self._lookup, self._so_far, self._total, self._apart = lookup, so_far, total, apart
        self._folders: list[Path] = []

    def by_pdq(self, batch: Sequence[Part]) -> list[Hits]:
        """Return where the hits of each content of the batch lie, whole pictures compared."""
        folders = tuple(self._lookup.by_pdq(batch))
        self._folders += folders
        return [Hits(number, folders) for number in range(len(batch))]

    def by_local(self, batch: Sequence[Part]) -> list[Hits | None]:
        """Return where the hits of each content of the batch by local descriptors lie; None where there are none."""
        found: list[Hits | None] = []
        sizes = [local_query_bytes(part) for part in batch]
        for cut in batches(batch, sizes, query_limit(self._lookup.settings)):
            some = batch[cut]
            folders = tuple(self._lookup.by_local(some))
            self._folders += folders
            found += [Hits(n, folders) if any_ else None for n, any_ in enumerate(has_hits(folders, len(some)))]
        return found

    def judge(self, batch: Sequence[Part], candidates: Sequence[Hits], local: Sequence[Hits | None]) -> list[Verdict]:
        """Return the verdict of each content of the batch, in its order."""
        by_local = [one or Hits() for one in local]
        apart = [self._apart.get(part.video_id, frozenset()) for part in batch]
        tasks = [
            JudgeTask(tuple(batch[cut]), tuple(candidates[cut]), tuple(by_local[cut]), tuple(apart[cut]))
            for cut in (slice(at, at + VIDEOS_PER_JUDGEMENT) for at in range(0, len(batch), VIDEOS_PER_JUDGEMENT))
        ]
        before = 0 if local else sum(self._so_far.values())
        total, stage = (len(batch), "judging parts") if local else (self._total, "judging")

        def note(done: int) -> None:
            judged = before + min(done * VIDEOS_PER_JUDGEMENT, len(batch))
            self._lookup.report(Progress(stage, judged, total, verdicts=self._so_far))

        judging = functools.partial(judge_contents, snapshot=self._lookup.snapshot, settings=self._lookup.settings)
        found = all_done(self._lookup.engine, judging, tasks, "some videos could not be judged", note)
        return list(chain.from_iterable(found))

    def close(self) -> None:
        """Remove the hits."""
        self._lookup.work.remove(self._folders)


def _group_open(
    judged: Mapping[str, _Judged],
    ends: Mapping[str, SignResult],
    run: RunFolder,
    engine: Engine,
    settings: Settings,
    report: Report,
) -> None:
    """Note the group of every signed content that is not cleared."""
    still_open = [
        OpenContent(part_of(run.path, end), judged[video_id].verdict.duration_seconds)
        for video_id, end in sorted(ends.items())
        if end.part_sha256 is not None and judged[video_id].verdict.verdict != "known"
    ]
    for video_id, group in group_intake(still_open, run.path, engine, settings, report).items():
        judged[video_id].group = group


def _known_by_bytes(content: Content, known: KnownVideo) -> Verdict:
    duration = round(known.duration_seconds, 3)
    # of no length where the list does not say how long it is: it carries whose it is
    segment = segment_by_bytes(0.0, duration, known.video_id, offset_seconds=0.0)
    return proven_undecoded(
        content.hashes.video_id, Reason.SAME_BYTES, duration, [segment], best_known_id=known.video_id
    )


def _unsigned_verdict(video_id: str, reason: Reason) -> Verdict:
    return Verdict(video_id, "not_comparable", reason, None, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, None, ())


# ---------------------------------------------------------------------------------------------------------------------
# Tables


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


def _tables(
    sightings: Sequence[Sighting], judged: Mapping[str, _Judged], snapshot: Snapshot, scheme_name: str
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


def _known_by_review(run_path: Path, snapshot: Snapshot) -> dict[str, str]:
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


def _groups(judged: Mapping[str, _Judged]) -> list[Group]:
    return list({one.group.group_id: one.group for one in judged.values() if one.group is not None}.values())


def _verdict_row(
    sighting: Sighting,
    judged: Mapping[str, _Judged],
    known: Mapping[str, KnownVideo],
    snapshot: int,
    scheme_name: str,
) -> dict[str, Any]:
    one = judged.get(sighting.video_id)
    if one is None:
        one = _Judged(_unsigned_verdict("", sighting.reason or Reason.IO_ERROR))
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


# ---------------------------------------------------------------------------------------------------------------------
# run.json


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _document(
    intake: Sequence[Path], settings: Settings, snapshot: Snapshot, store: KnownStore, started_at: str, scheme_name: str
) -> dict[str, Any]:
    return {
        "started_at": started_at,
        "intake": [display_path(str(path).encode("utf-8", "surrogateescape")) for path in intake],
        "settings": settings.model_dump(mode="json"),
        "versions": library_versions(),
        "host": {"name": socket.gethostname(), "system": platform.platform(), "python": sys.version.split()[0]},
        "store": {
            "path": display_path(str(store.path).encode("utf-8", "surrogateescape")),
            "snapshot": snapshot.number,
        },
        "scheme": scheme_name,
    }


def library_versions() -> dict[str, str]:
    """Return the versions of everything that shapes a result."""
    from importlib.metadata import version  # noqa: PLC0415

    names = ("av", "numpy", "opencv-python-headless", "pyarrow", "dask", "numba")
    return {"videonovelty": __version__, **{name: version(name) for name in names}}


def _warnings(snapshot: Snapshot, scheme_name: str) -> list[str]:
    others = [name for name in snapshot.schemes if name != scheme_name and name not in LISTED_SCHEMES]
    warnings = []
    if others:
        warnings.append(
            f"{len(others)} other signature scheme(s) in the store were not searched: made with other settings or "
            "versions. Enrol those videos again to have them found."
        )
    if scheme_name not in snapshot.schemes:
        listed = any(name in snapshot.schemes for name in LISTED_SCHEMES)
        also = ", and what looks like frames of imported lists" if listed else ""
        warnings.append(f"the store holds no signatures of this scheme: only identical files can be found{also}.")
    return warnings


def _unusual(run_path: Path, document: Mapping[str, Any], snapshot: Snapshot, settings: Settings) -> list[str]:
    past = past_runs(run_path, document, settings.report.past_runs)
    found = list(against_past(figures(document), past, settings.report))
    now = datetime.fromisoformat(document["finished_at"])
    return [*found, *stale_lists(snapshot, settings.report.stale_days, now)]


def _counts(
    sightings: Sequence[Sighting], judged: Mapping[str, _Judged], ends: Mapping[str, SignResult]
) -> dict[str, dict[str, int]]:
    states: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for sighting in sightings:
        one = judged.get(sighting.video_id)
        end = ends.get(sighting.video_id)
        if one is None:
            states["pending" if sighting.reason in (Reason.UNSTABLE, Reason.CHANGED) else "refused"] += 1
            verdicts["not_comparable"] += 1
            reasons[(sighting.reason or Reason.IO_ERROR).value] += 1
            continue
        states["judged" if end is None or not end.failed else "failed"] += 1
        verdicts[one.verdict.verdict] += 1
        reasons[one.verdict.reason.value] += 1
    return {
        "files": {"sightings": len(sightings), "contents": len(judged)},
        "states": dict(sorted(states.items())),
        "verdicts": dict(sorted(verdicts.items())),
        "reasons": dict(sorted(reasons.items())),
    }


def _seconds(judged: Mapping[str, _Judged], ends: Mapping[str, SignResult]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for video_id, one in judged.items():
        verdict = one.verdict
        totals["intake"] += verdict.duration_seconds
        totals["decoded"] += verdict.decoded_seconds
        totals["known"] += verdict.known_seconds
        totals["novel"] += verdict.novel_seconds
        totals["cpu"] += ends[video_id].cpu_seconds if video_id in ends else 0.0
        if verdict.needs_review and (one.group is None or one.group.leader == video_id):
            totals["to_view"] += max(0.0, verdict.duration_seconds - verdict.known_seconds)
    totals["saved"] = totals["intake"] - totals["to_view"]
    return {name: round(totals[name], 3) for name in ("intake", "decoded", "known", "novel", "to_view", "saved", "cpu")}
