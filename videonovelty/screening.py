"""Screen one night's intake against a known store: from files to verdicts, segments, groups and run.json.

Each step is a function over the run folder, so a run that was cut off goes on where it stopped: sight → look up exact
hashes → sign → join the codes of all signed contents against every shard → align and judge → group → tables.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import platform
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from videonovelty import __version__
from videonovelty.batch import (
    Content,
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
from videonovelty.grouping import OpenContent, group_intake
from videonovelty.intake import display_path, encode_raw, enumerate_intake
from videonovelty.judgements import judging_facts, remove_work
from videonovelty.judging import VIDEOS_PER_JUDGEMENT, judge_parts
from videonovelty.known.ledger import pairs_apart
from videonovelty.known.listed import LISTED_SCHEMES
from videonovelty.known.snapshot import Snapshot
from videonovelty.known.store import KnownStore
from videonovelty.likeness import with_listed_frames
from videonovelty.lookup import (
    Lookup,
    WorkFolder,
    all_done,
)
from videonovelty.metrics import write_metrics
from videonovelty.records import (
    ContentHashes,
    KnownVideo,
    Sighting,
    Verdict,
)
from videonovelty.run import RunFolder, State
from videonovelty.settings import Settings
from videonovelty.signatures import scheme
from videonovelty.tables import Judged, known_by_review, make_tables, unsigned_verdict
from videonovelty.unusual import against_past, figures, matched, past_runs, stale_lists
from videonovelty.verdict import proven_undecoded, segment_by_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScreeningResult:
    """What a scan comes to."""

    document: Mapping[str, Any]
    """What run.json holds."""
    flagged: int
    """Files that failed or were refused: exit code 3 when not zero."""


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
            video_id: Judged(
                _known_by_bytes(content, exact[video_id]), known={exact[video_id].video_id: exact[video_id]}
            )
            for video_id, content in contents.items()
            if video_id in exact
        }
        judged |= {video_id: Judged(verdict, ends[video_id].sandboxed) for video_id, verdict in settled.items()}
        _judge_signed(judged, ends, Lookup(snapshot, scheme_name, engine, settings, WorkFolder(run.path), report), run)
        if grouping:
            _group_open(judged, ends, run, engine, settings, report)
        run.journal.append_many(
            (State.JUDGED, video_id, {"verdict": one.verdict.verdict, "reason": one.verdict.reason})
            for video_id, one in sorted(judged.items())
            if video_id in ends and not ends[video_id].failed
        )
        tables = make_tables(sightings, judged, snapshot, scheme_name)
        made = {
            "inputs": _inputs(facts, sightings, ends),
            "counts": {name: dict(table) for name, table in _counts(sightings, judged, ends).items()},
            "seconds": dict(_seconds(judged, ends, settings)),
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
        "known_by_review": known_by_review(run.path, snapshot),
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


def _judge_signed(judged: dict[str, Judged], ends: Mapping[str, SignResult], lookup: Lookup, run: RunFolder) -> None:
    """Put the verdict of every content that is not known by its bytes into `judged`."""
    in_order = [end for _, end in sorted(ends.items())]
    parts = [part_of(run.path, end) for end in in_order if end.part_sha256 is not None]
    for verdict in with_listed_frames(judge_parts(parts, lookup, run), parts, lookup, run.path):
        judged[verdict.video_id] = Judged(verdict, ends[verdict.video_id].sandboxed)
    for end in in_order:
        if end.failed:
            judged[end.video_id] = Judged(unsigned_verdict(end.video_id, end.reason or Reason.CRASHED), end.sandboxed)


def _group_open(
    judged: Mapping[str, Judged],
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
    sightings: Sequence[Sighting], judged: Mapping[str, Judged], ends: Mapping[str, SignResult]
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


def _seconds(judged: Mapping[str, Judged], ends: Mapping[str, SignResult], settings: Settings) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for video_id, one in judged.items():
        verdict = one.verdict
        totals["intake"] += verdict.duration_seconds
        totals["decoded"] += verdict.decoded_seconds
        totals["known"] += verdict.known_seconds
        totals["novel"] += verdict.novel_seconds
        totals["cpu"] += ends[video_id].cpu_seconds if video_id in ends else 0.0
        if verdict.needs_review and (one.group is None or one.group.leader == video_id):
            # known footage that plays in a part of the picture spares nobody a look at the rest of it
            spared = math.fsum(
                segment.end_seconds - segment.start_seconds
                for segment in verdict.segments
                if segment.kind == "known" and (segment.spatial_share or 0.0) >= settings.verdict.min_spatial_share
            )
            spared += math.fsum(segment.spared_seconds for segment in verdict.segments)
            totals["to_view"] += max(0.0, verdict.duration_seconds - spared)
    totals["saved"] = totals["intake"] - totals["to_view"]
    return {name: round(totals[name], 3) for name in ("intake", "decoded", "known", "novel", "to_view", "saved", "cpu")}
