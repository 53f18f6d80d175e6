"""Screen one night's intake against a known store: from files to verdicts, segments, groups and run.json.

Each step is a function over the run folder, so a run that was cut off goes on where it stopped: sight → look up exact
hashes → sign → join the codes of all signed contents against every shard → align and judge → group → tables.
"""

from __future__ import annotations

import functools
import logging
import platform
import shutil
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from videonovelty import __version__
from videonovelty.batch import Content, Progress, Report, SignResult, sight_all, sign_all
from videonovelty.engine import Engine, EngineFailure
from videonovelty.errors import Reason, RunError
from videonovelty.grouping import Group, group_intake
from videonovelty.intake import display_path, encode_raw, enumerate_intake
from videonovelty.known.snapshot import Snapshot
from videonovelty.known.store import KnownStore
from videonovelty.matching.alignment import KnownSide, Stretch, align
from videonovelty.matching.candidates import (
    Candidates,
    QueryCodes,
    ShardHits,
    collect_codes,
    match_shard,
    rank_candidates,
)
from videonovelty.matching.local_candidates import (
    LocalCandidate,
    LocalHits,
    LocalQueryCodes,
    collect_local_codes,
    match_local_shard,
    rank_local_candidates,
)
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
from videonovelty.run import RunFolder, State, read_part
from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS
from videonovelty.segments import tile_segments
from videonovelty.settings import Settings
from videonovelty.signatures import scheme
from videonovelty.signatures.pdq import DIHEDRAL
from videonovelty.verdict import judge

logger = logging.getLogger(__name__)

VIDEOS_PER_JOIN = 5000
"""Contents whose codes are looked up together: enough that each shard is read once for many queries."""
VIDEOS_PER_JUDGEMENT = 20
MIRROR_VARIANT = DIHEDRAL.index("flip_horizontal")
T = TypeVar("T")


class HasVideoId(Protocol):
    """Anything that stands for one content."""

    @property
    def video_id(self) -> str:
        """Its id."""


S_contra = TypeVar("S_contra", bound=HasVideoId, contravariant=True)


@dataclass(frozen=True, slots=True)
class Part:
    """Where the signatures of one content lie."""

    run_path: Path
    video_id: str
    sha256: str

    def read(self) -> SignedVideo:
        """Return the signatures. Raises RunError when they are missing or altered."""
        return read_part(self.run_path, self.video_id, sha256=self.sha256)


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
class JoinTask:
    """One shard against the codes in one file."""

    shard: int
    codes_path: Path


def join_shard(task: JoinTask, *, snapshot: Snapshot, scheme_name: str, settings: Settings) -> ShardHits:
    """Return what one shard of the snapshot holds for a batch of queries; for a worker."""
    with np.load(task.codes_path, allow_pickle=False) as stored:
        codes = QueryCodes(stored["codes"], stored["video"], stored["keyframe"], stored["variant"])
    shard = snapshot.frame_shards(scheme_name)[task.shard]
    return match_shard(snapshot.load_codes(shard), codes, settings.matching)


def join_local_shard(task: JoinTask, *, snapshot: Snapshot, scheme_name: str, settings: Settings) -> LocalHits:
    """Return the keyframe pairs of one shard that share local descriptors with a batch of queries; for a worker."""
    with np.load(task.codes_path, allow_pickle=False) as stored:
        codes = LocalQueryCodes(stored["codes"], stored["video"], stored["keyframe"], stored["mirrored"])
    shard = snapshot.local_shards(scheme_name)[task.shard]
    return match_local_shard(snapshot.load_local_codes(shard), codes, settings.matching)


@dataclass(frozen=True, slots=True, eq=False)
class JudgeTask:
    """Some contents and their candidates."""

    parts: tuple[Part, ...]
    candidates: tuple[Candidates, ...]
    local: tuple[tuple[LocalCandidate, ...], ...] = ()
    """Candidates by local descriptors, one tuple a content; empty in the first round."""


def judge_contents(task: JudgeTask, *, snapshot: Snapshot, settings: Settings) -> list[Verdict]:
    """Return the verdicts of some contents; for a worker."""
    local = task.local or tuple(() for _ in task.parts)
    sides = read_sides(snapshot, task.candidates, local, scheme(settings.signatures))
    return [
        judge_signed(part.read(), candidates, local_candidates, sides, settings)
        for part, candidates, local_candidates in zip(task.parts, task.candidates, local, strict=True)
    ]


def read_sides(
    snapshot: Snapshot,
    candidates: Sequence[Candidates],
    local: Sequence[Sequence[LocalCandidate]],
    scheme_name: str,
) -> dict[str, KnownSide]:
    """Return what the store keeps of every candidate, by id; descriptors only of candidates found by them."""
    by_local = {one.known_video_id for found in local for one in found}
    wanted = sorted({one.known_video_id for found in candidates for one in found.ranked} | by_local)
    motions = snapshot.motion_of(wanted, scheme_name)
    features = snapshot.local_of(sorted(by_local), scheme_name)
    return {
        video_id: KnownSide(frames, motions.get(video_id), features.get(video_id))
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
) -> ScreeningResult:
    """Screen everything under `intake` against the store's newest snapshot and write the run folder's tables.

    `fingerprint` names what shapes signatures, as the run folder was opened with; `retry` holds the reasons whose
    failures are tried again (None: all); `limit` stops after that many files.
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
    ends = sign_all(to_sign, run, engine, settings, report, fingerprint=fingerprint, retry=retry)
    parts = [
        Part(run.path, end.video_id, end.part_sha256)
        for end in sorted(ends.values(), key=lambda end: end.video_id)
        if end.part_sha256 is not None
    ]
    judged = {
        video_id: _Judged(_known_by_bytes(content, exact[video_id]))
        for video_id, content in contents.items()
        if video_id in exact
    }
    for verdict in judge_parts(parts, snapshot, run, engine, settings, report):
        judged[verdict.video_id] = _Judged(verdict, ends[verdict.video_id].sandboxed)
    for end in ends.values():
        if end.part_sha256 is None:
            judged[end.video_id] = _Judged(_unsigned_verdict(end.video_id, end.reason or Reason.CRASHED), end.sandboxed)
    open_parts = [part for part in parts if judged[part.video_id].verdict.verdict != "known"]
    for video_id, group in group_intake([p.read for p in open_parts], settings, report).items():
        judged[video_id].group = group
    run.journal.append_many(
        (State.JUDGED, video_id, {"verdict": one.verdict.verdict, "reason": one.verdict.reason})
        for video_id, one in sorted(judged.items())
        if video_id in ends and ends[video_id].part_sha256 is not None
    )
    tables = _tables(sightings, judged, snapshot, scheme_name)
    run.write_tables(*tables)
    document = {
        **base,
        "status": "done",
        "finished_at": _now(),
        "elapsed_seconds": round(time.monotonic() - clock, 3),
        "sandboxed": all(one.sandboxed for one in judged.values()),
        "counts": _counts(sightings, judged, ends),
        "seconds": _seconds(judged, ends),
        "warnings": warnings,
    }
    run.write_run_json(document)
    write_metrics(run.path, document)
    flagged = sum(
        sighting.reason is not None or (sighting.video_id in ends and ends[sighting.video_id].part_sha256 is None)
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


def judge_parts(
    parts: Sequence[Part], snapshot: Snapshot, run: RunFolder, engine: Engine, settings: Settings, report: Report
) -> list[Verdict]:
    """Return the verdict of every signed content, in any order."""
    verdicts: list[Verdict] = []
    search = _Search(snapshot, run, engine, settings, report)
    for first in range(0, len(parts), VIDEOS_PER_JOIN):
        verdicts += judge_in_rounds(parts[first : first + VIDEOS_PER_JOIN], search, local=settings.signatures.local)
    search.close()
    return verdicts


class Search(Protocol[S_contra]):
    """What finds and judges candidates of a batch: the joins of a run, or what has them in memory."""

    def by_pdq(self, batch: Sequence[S_contra]) -> Sequence[Candidates]:
        """Return the candidates of each content of the batch, whole pictures compared."""

    def by_local(self, batch: Sequence[S_contra]) -> Sequence[tuple[LocalCandidate, ...]]:
        """Return the candidates of each content of the batch by their local descriptors."""

    def judge(
        self, batch: Sequence[S_contra], candidates: Sequence[Candidates], local: Sequence[tuple[LocalCandidate, ...]]
    ) -> list[Verdict]:
        """Return the verdict of each content of the batch, in any order."""


def judge_in_rounds(batch: Sequence[S_contra], search: Search[S_contra], *, local: bool) -> list[Verdict]:
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
    """The joins of one run: codes travel to the workers by file, shards are the tasks, results are small."""

    def __init__(self, snapshot: Snapshot, run: RunFolder, engine: Engine, settings: Settings, report: Report) -> None:
        self._snapshot, self._run, self._engine, self._settings, self._report = snapshot, run, engine, settings, report
        self._scheme = scheme(settings.signatures)
        self._folder = run.path / "work"
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Remove the folder the codes travelled through."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def by_pdq(self, batch: Sequence[Part]) -> list[Candidates]:
        """Return the candidates of each content of the batch, whole pictures compared."""
        signatures = [part.read().signatures for part in batch]
        codes = collect_codes(signatures)
        keyframes = [len(one.pts_seconds) for one in signatures]
        del signatures
        shards = len(self._snapshot.frame_shards(self._scheme)) if len(codes.codes) else 0
        hits = self._join(join_shard, codes, shards, "matching")
        return rank_candidates(
            hits, keyframes, n_known_videos=self._snapshot.n_videos, settings=self._settings.matching
        )

    def by_local(self, batch: Sequence[Part]) -> list[tuple[LocalCandidate, ...]]:
        """Return the candidates of each content of the batch by their local descriptors."""
        codes = collect_local_codes([part.read().signatures for part in batch])
        shards = len(self._snapshot.local_shards(self._scheme)) if len(codes.codes) else 0
        hits = self._join(join_local_shard, codes, shards, "matching parts")
        return rank_local_candidates(hits, len(batch), self._settings.matching)

    def _join(self, task: Callable[..., T], codes: Any, shards: int, stage: str) -> list[T]:
        if shards == 0:
            return []
        path = self._folder / "codes.npz"
        with path.open("wb") as file:
            np.savez(file, **asdict(codes))
        bound = functools.partial(task, snapshot=self._snapshot, scheme_name=self._scheme, settings=self._settings)
        hits: list[tuple[int, T]] = []
        for item, result in self._engine.map_unordered(bound, [JoinTask(number, path) for number in range(shards)]):
            if isinstance(result, EngineFailure):
                raise RunError(
                    f"{self._run.path}: a shard could not be searched: {result.detail}. Start again to resume."
                )
            hits.append((item.shard, result))
            self._report(Progress(stage, len(hits), shards))
        path.unlink()
        # the order in which shards come back must not matter
        return [part for _, part in sorted(hits, key=lambda pair: pair[0])]

    def judge(
        self,
        batch: Sequence[Part],
        candidates: Sequence[Candidates],
        local: Sequence[tuple[LocalCandidate, ...]],
    ) -> list[Verdict]:
        """Return the verdict of each content of the batch."""
        chunks = [slice(i, i + VIDEOS_PER_JUDGEMENT) for i in range(0, len(batch), VIDEOS_PER_JUDGEMENT)]
        tasks = [JudgeTask(tuple(batch[c]), tuple(candidates[c]), tuple(local[c])) for c in chunks]
        judging = functools.partial(judge_contents, snapshot=self._snapshot, settings=self._settings)
        verdicts: list[Verdict] = []
        stage = "judging parts" if local else "judging"
        for _, judged in self._engine.map_unordered(judging, tasks):
            if isinstance(judged, EngineFailure):
                raise RunError(
                    f"{self._run.path}: some videos could not be judged: {judged.detail}. Start again to resume."
                )
            verdicts += judged
            self._report(Progress(stage, len(verdicts), len(batch)))
        return verdicts


def _known_by_bytes(content: Content, known: KnownVideo) -> Verdict:
    duration = round(known.duration_seconds, 3)
    segment = Segment(
        0.0,
        duration,
        "known",
        known_video_id=known.video_id,
        known_start_seconds=0.0,
        known_end_seconds=duration,
        speed=1.0,
        mirrored=False,
        spatial_share=1.0,
        proof="bytes",
    )
    return Verdict(
        video_id=content.hashes.video_id,
        verdict="known",
        reason=Reason.SAME_BYTES,
        novelty=0.0,
        novel_seconds=0.0,
        known_seconds=duration,
        uninformative_seconds=0.0,
        duration_seconds=duration,
        decoded_seconds=0.0,
        longest_unseen_seconds=0.0,
        keyframes=0,
        best_known_id=known.video_id,
        segments=(segment,) if duration > 0 else (),
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
    known = snapshot.describe(sorted(wanted))
    verdicts = [_verdict_row(sighting, judged, known, snapshot.number, scheme_name) for sighting in sightings]
    segments = [
        _segment_row(video_id, segment, known)
        for video_id, one in sorted(judged.items())
        for segment in one.verdict.segments
    ]
    groups = [edge for one in sorted(_groups(judged), key=lambda group: group.group_id) for edge in one.rows()]
    return (
        pa.Table.from_pylist(verdicts, schema=VERDICTS),
        pa.Table.from_pylist(segments, schema=SEGMENTS),
        pa.Table.from_pylist(groups, schema=GROUPS),
    )


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
        "best_known_list": membership.list_name if membership else None,
        "best_known_disposition": membership.disposition if membership else None,
        "best_known_series": (membership.series or None) if membership else None,
        "best_known_victim_identified": membership.victim_identified if membership else None,
        "group_id": one.group.group_id if one.group else None,
        "group_leader": (one.group.leader == verdict.video_id) if one.group else None,
        "reason": verdict.reason.value,
        "scheme": scheme_name,
        "snapshot": snapshot,
        "sandboxed": one.sandboxed,
    }


def _segment_row(video_id: str, segment: Segment, known: Mapping[str, KnownVideo]) -> dict[str, Any]:
    membership = preferred_membership(known.get(segment.known_video_id or ""))
    return {
        "video_id": video_id,
        **asdict(segment),
        "known_list": membership.list_name if membership else None,
        "known_series": (membership.series or None) if membership else None,
        "known_victim_identified": membership.victim_identified if membership else None,
    }


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
    others = [name for name in snapshot.schemes if name != scheme_name]
    warnings = []
    if others:
        warnings.append(
            f"{len(others)} other signature scheme(s) in the store were not searched: made with other settings or "
            "versions. Enrol those videos again to have them found."
        )
    if scheme_name not in snapshot.schemes:
        warnings.append("the store holds no signatures of this scheme: only identical files can be found.")
    return warnings


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
        states["judged" if end is None or end.part_sha256 is not None else "failed"] += 1
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
