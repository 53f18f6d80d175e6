"""Read a run folder's tables into one record the report is made from.

Everything shown is derived from the tables, so that rows and totals agree: `run.json` adds only what the tables do not
say (status, versions, settings, warnings). Where the tables leave a doubt, the content stays in the queue.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.errors import FAILURES, REASON_TEXT, Reason, RunError
from videonovelty.records import spared_by_a_look
from videonovelty.report.legible import legible, spoken
from videonovelty.schemas import FORMAT_VERSION, GROUPS, SEGMENTS, VERDICTS
from videonovelty.settings import VerdictSettings

VERDICT_ORDER = ("same_scene", "novel", "partly_known", "not_comparable", "known")
"""Order of the queue, most urgent first; `known` leaves it."""
VERDICT_TEXT = {
    "same_scene": "Same scene",
    "novel": "Novel",
    "partly_known": "Partly known",
    "not_comparable": "Not comparable",
    "known": "Known",
}
VERDICT_MEANING = {
    "same_scene": "looks like known material, likely another take",
    "novel": "nothing in it was found among the known",
    "partly_known": "some of it is proven known, the rest is not",
    "not_comparable": "blank, too short, damaged, refused, or more than could be looked at",
    "known": "all proven known footage: nobody need look",
}
KINDS = ("novel", "same_scene", "undecoded", "uninformative", "known")
"""Kinds of stretches."""
UNEXPLAINED = frozenset({"novel", "same_scene"})
"""Kinds that hold something to see which no known video accounts for."""
TOP_RANKS = 2
"""Ranks below this are hits on a series whose children are still being searched for: same scene, then partly known."""
MANY_FAILURES = 0.05
"""Share of failed files above which the report warns: a broken mount or a new format, rather than a few bad files."""


@dataclass(frozen=True, slots=True)
class Name:
    """One path where a content was seen: `path` legible text, `path_raw` base64 of its bytes."""

    path: str
    path_raw: str


@dataclass(frozen=True, slots=True)
class ListSays:
    """What one list says about a known video, in words."""

    name: str
    disposition: str
    victim_identified: str
    text: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """One row of `segments`: `[start_seconds, end_seconds)` of a content and what explains it."""

    start_seconds: float
    end_seconds: float
    kind: str
    known_video_id: str | None
    known_list: str | None
    known_disposition: str | None
    known_series: str | None
    known_victim_identified: str | None
    known_start_seconds: float | None
    known_end_seconds: float | None
    speed: float | None
    mirrored: bool | None
    spatial_share: float | None
    proof: str
    frames: int | None
    median_distance_bits: float | None
    inliers: int | None
    why_not: str | None
    """Why it could not be proven to be the same footage, where that was tried."""
    explained: bool
    """Proven known footage that fills the picture, so there is nothing left to look at."""
    evidence: str | None = None
    """What the store has of the known video: `footage`, `frames` of a list (which prove nothing), `bytes`."""
    says: tuple[ListSays, ...] = ()
    """What each list says about the known video."""
    cover: tuple[float, float, float, float] | None = None
    """Left, top, right and bottom of what covers a part of the picture, in shares of its width and height."""
    look_seconds: float | None = None
    """When one picture shows all that is not known in this stretch, if one does."""

    @property
    def seconds(self) -> float:
        """Length."""
        return max(0.0, self.end_seconds - self.start_seconds)

    @property
    def spared_seconds(self) -> float:
        """Seconds of it nobody need look at."""
        return self.seconds if self.explained else spared_by_a_look(self.seconds, self.look_seconds)


@dataclass(frozen=True, slots=True)
class Member:
    """Another content of the same group: `entry` its key, the rest the evidence of one edge (None where unstated)."""

    entry: str
    evidence_entry: str | None
    shared_keyframes: int | None
    share_of_keyframes: float | None
    offset_seconds: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One content of the intake under all its names, with its verdict and its place in the queue."""

    entry: str
    """The video id; for a file without one, `file-` and 16 hex digits of the SHA-256 of its raw path."""
    video_id: str
    names: tuple[Name, ...]
    verdict: str
    reason: str
    in_queue: bool
    """Somebody has to look: anything but a verdict of `known` that needs no review."""
    novelty: float | None
    novel_seconds: float
    known_seconds: float
    uninformative_seconds: float
    duration_seconds: float
    decoded_seconds: float
    longest_unseen_seconds: float
    keyframes: int
    best_known_id: str | None
    best_known_list: str | None
    best_known_disposition: str | None
    best_known_series: str | None
    best_known_victim_identified: str | None
    best_known_category: str | None
    group_id: str | None
    scheme: str
    snapshot: int | None
    sandboxed: bool
    stretches: tuple[Stretch, ...]
    says: tuple[ListSays, ...]
    """What each list says about the best known video."""
    lists: tuple[str, ...]
    dispositions: tuple[str, ...]
    view_seconds: float
    """Seconds to look at: everything that is not proven known footage, but where one picture shows what is not known;
    0 when nobody has to look."""
    still_searched: bool
    """Its match is on a series whose children are still being searched for."""
    leads: bool
    """It has a row of its own in the queue, and stands for `members`."""
    rank: int
    """Place of its row in the queue's order of urgency, 0 first; the most urgent member of its group counts."""
    value: float
    """Unexplained seconds, over every copy in the group, that one second of viewing settles."""
    members: tuple[Member, ...]
    decided: tuple[str, ...] = ()
    """Who decided what and when, of the known videos it rests on that analysts' decisions made known."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How the seconds to look at shrink; each step takes something off the one before."""

    intake_seconds: float
    """Every file, viewed whole."""
    distinct_seconds: float
    """Each content once."""
    uncleared_seconds: float
    """Without the contents cleared as known."""
    grouped_seconds: float
    """One video a group."""
    view_seconds: float
    """Without the stretches proven known: what is left to view."""
    unknown_length: int
    """Rows of the queue whose length nobody knows; they are not in the seconds."""

    @property
    def saved_seconds(self) -> float:
        """Seconds nobody has to look at."""
        return max(0.0, self.intake_seconds - self.view_seconds)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the report shows. Equal tables give an equal record, whatever the order of their rows."""

    run_id: str
    status: str
    started_at: str
    finished_at: str
    snapshots: tuple[int, ...]
    schemes: tuple[str, ...]
    store: str
    settings: Mapping[str, Any]
    versions: Mapping[str, Any]
    host: Mapping[str, Any]
    warnings: tuple[str, ...]
    entries: tuple[Entry, ...]
    """Queue order: rows of the queue first."""
    files: int
    exposure: Exposure
    files_by_verdict: Mapping[str, int]
    contents_by_verdict: Mapping[str, int]
    cleared_by_disposition: tuple[tuple[str, int], ...]
    """Contents that left the queue, by what the list they are on says they are; `not stated` last."""
    failures: tuple[tuple[str, int], ...]
    """Files that gave no signatures: (reason, files), most first."""
    still_searched_rows: int
    known_by_review: Mapping[str, str]
    """Known videos that an analyst's decision made known: id → who decided what and when."""

    @property
    def queue(self) -> tuple[Entry, ...]:
        """The rows of the queue, in its order."""
        return tuple(e for e in self.entries if e.leads)


def collect(run: Path) -> Report:
    """Return the record of the run folder `run`.

    Raises RunError naming the file and the next step where something is missing, damaged or of a newer format.
    """
    if not run.is_dir():
        raise RunError(f"{run}: no such run folder. Name the folder given to `videonovelty scan --run`.")
    facts = _read_facts(run / "run.json")
    verdicts = _read_table(run / "verdicts.parquet", VERDICTS)
    segments = _read_table(run / "segments.parquet", SEGMENTS)
    groups = _read_table(run / "groups.parquet", GROUPS)
    by_video = _stretches(segments, _dispositions(verdicts), _min_spatial_share(facts))
    by_review = {
        legible(key): legible(text)
        for key, text in _mapping(facts.get("known_by_review")).items()
        if isinstance(text, str)
    }
    entries = _entries(verdicts, by_video, _edges(groups), run, by_review)
    status = str(facts.get("status") or "unknown")
    snapshots = tuple(sorted({e.snapshot for e in entries if e.snapshot is not None}))
    schemes = tuple(sorted({e.scheme for e in entries if e.scheme}))
    store = facts.get("store")
    files = sum(len(e.names) for e in entries)
    failures = Counter[str]()
    for e in entries:
        if e.reason in FAILURES:
            failures[e.reason] += len(e.names)
    stated = facts.get("warnings")
    warnings = [legible(w) for w in stated if isinstance(w, str)] if isinstance(stated, list) else []
    warnings += _warnings(
        entries,
        status=status,
        snapshots=snapshots,
        schemes=schemes,
        files=files,
        failed=failures.total(),
        sandboxed=facts.get("sandboxed"),
    )
    return Report(
        run_id=legible(str(facts.get("run_id") or run.name)),
        status=legible(status),
        started_at=legible(str(facts.get("started_at") or "")),
        finished_at=legible(str(facts.get("finished_at") or "")),
        snapshots=snapshots or _stated_snapshot(store),
        schemes=schemes,
        store=legible(str(store.get("path") or "")) if isinstance(store, dict) else "",
        settings=_mapping(facts.get("settings")),
        versions=_mapping(facts.get("versions")),
        host=_mapping(facts.get("host")),
        warnings=tuple(dict.fromkeys(warnings)),
        entries=entries,
        files=files,
        exposure=_exposure(entries),
        files_by_verdict={v: sum(len(e.names) for e in entries if e.verdict == v) for v in VERDICT_ORDER},
        contents_by_verdict={v: sum(e.verdict == v for e in entries) for v in VERDICT_ORDER},
        cleared_by_disposition=_cleared(entries),
        failures=tuple(sorted(failures.items(), key=lambda item: (-item[1], item[0]))),
        still_searched_rows=sum(e.leads and e.rank < TOP_RANKS for e in entries),
        known_by_review=by_review,
    )


def _read_facts(path: Path) -> dict[str, Any]:
    remedy = "Run `videonovelty scan` again with the same --run: it resumes and writes it anew."
    try:
        facts = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunError(f"{path}: missing, so this is not a finished run folder. {remedy}") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check the folder's permissions.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged, not JSON. {remedy}") from error
    if not isinstance(facts, dict):
        raise RunError(f"{path}: damaged, not a JSON object. {remedy}")
    version = facts.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise RunError(
            f"{path}: format {version!r}, this version reads {FORMAT_VERSION}. "
            "Use the version of videonovelty that made the run."
        )
    return facts


def _read_table(path: Path, schema: pa.Schema) -> dict[str, list[Any]]:
    """Return the columns of `schema`; columns a later version added are left aside."""
    remedy = "Run `videonovelty scan` again with the same --run: it rebuilds the tables."
    try:
        table = pq.read_table(path, partitioning=None)
    except FileNotFoundError:
        raise RunError(f"{path}: missing. {remedy}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0][:200]}). {remedy}") from error
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise RunError(f"{path}: no column {missing[0]!r}. {remedy}")
    try:
        columns = {f.name: table[f.name].cast(f.type).to_pylist() for f in schema}
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise RunError(f"{path}: a column has another type ({str(error).splitlines()[0][:200]}). {remedy}") from error
    return columns


def _rows(columns: dict[str, list[Any]]) -> Iterable[dict[str, Any]]:
    names = list(columns)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(names, values, strict=True))


def _seconds(value: float | None) -> float:
    """Return a length that can be added up: absent, negative and non-finite ones are 0."""
    return value if value is not None and math.isfinite(value) and value > 0 else 0.0


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _text(value: str | None) -> str | None:
    return legible(value) if value else None


_ANSWERS = (
    ("victim_identified", "children"),
    ("offender_identified", "offender"),
)


@lru_cache(4096)
def _says(text: str | None) -> tuple[ListSays, ...]:
    """Return what lists say of the JSON the tables carry; what cannot be read says nothing."""
    try:
        told = json.loads(text) if text else []
    except ValueError:
        return ()
    return tuple(_one_says(one) for one in told if isinstance(one, dict)) if isinstance(told, list) else ()


def _one_says(one: Mapping[str, Any]) -> ListSays:
    def of(name: str) -> str:
        value = one.get(name)
        return legible(value) if isinstance(value, str) else ""

    parts = [of("disposition"), of("category")]
    parts += [f"series “{of('series')}”"] if of("series") else []
    words = {"yes": "identified", "no": "not identified"}
    parts += [f"{who} {words[of(name)]}" for name, who in _ANSWERS if of(name) in words]
    parts += {"yes": ["distributed"], "no": ["not distributed"]}.get(of("distributed"), [])
    tags = one.get("tags")
    if isinstance(tags, list) and tags:
        parts.append("tags " + ", ".join(legible(str(tag)) for tag in tags))
    if of("source"):
        parts.append(f"entry {of('source')}")
    return ListSays(of("list_name"), of("disposition"), of("victim_identified"), ", ".join(p for p in parts if p))


def _dispositions(verdicts: dict[str, list[Any]]) -> dict[str, str]:
    """Return the disposition of each list the verdicts name, where they name only one for it."""
    seen: dict[str, set[str]] = defaultdict(set)
    for name, disposition in zip(verdicts["best_known_list"], verdicts["best_known_disposition"], strict=True):
        if name and disposition:
            seen[name].add(disposition)
    return {name: min(values) for name, values in seen.items() if len(values) == 1}


def _min_spatial_share(facts: Mapping[str, Any]) -> float:
    """Return the share of the picture below which known footage plays inside something else, as the run was judged."""
    stated = _mapping(_mapping(facts.get("settings")).get("verdict")).get("min_spatial_share")
    return float(
        stated if isinstance(stated, int | float) else VerdictSettings.model_fields["min_spatial_share"].default
    )


def _stretches(
    segments: dict[str, list[Any]],
    dispositions: dict[str, str],
    min_spatial_share: float,
) -> dict[str, tuple[Stretch, ...]]:
    by_video: dict[str, list[Stretch]] = defaultdict(list)
    for row in _rows(segments):
        share = _number(row["spatial_share"])
        says = _says(row["known_lists"])
        by_video[row["video_id"] or ""].append(
            Stretch(
                start_seconds=_seconds(row["start_seconds"]),
                end_seconds=_seconds(row["end_seconds"]),
                # an unheard-of kind is not explained, whatever it is called
                kind=row["kind"] if row["kind"] in KINDS else "novel",
                known_video_id=_text(row["known_video_id"]),
                known_list=_text(row["known_list"]),
                known_disposition=says[0].disposition if says else _text(dispositions.get(row["known_list"] or "")),
                known_series=_text(row["known_series"]),
                known_victim_identified=_text(row["known_victim_identified"]),
                known_start_seconds=_number(row["known_start_seconds"]),
                known_end_seconds=_number(row["known_end_seconds"]),
                speed=_number(row["speed"]),
                mirrored=row["mirrored"],
                spatial_share=share,
                proof=legible(row["proof"] or "none"),
                frames=row["frames"],
                median_distance_bits=_number(row["median_distance_bits"]),
                inliers=row["inliers"],
                why_not=_text(row["why_not"]),
                explained=row["kind"] == "known" and (share is None or share >= min_spatial_share),
                evidence=_text(row["known_evidence"]),
                says=says,
                cover=_box(row),
                look_seconds=_number(row["look_seconds"]),
            )
        )
    return {v: tuple(sorted(s, key=lambda x: (x.start_seconds, x.end_seconds))) for v, s in by_video.items()}


def _box(row: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Return the box of what covers a part of the picture, None where the table has none that can be drawn."""
    left, top, right, bottom = (_number(row[f"cover_{side}"]) for side in ("left", "top", "right", "bottom"))
    if left is None or top is None or right is None or bottom is None:
        return None
    return (left, top, right, bottom) if 0 <= left < right <= 1 and 0 <= top < bottom <= 1 else None


def _edges(groups: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Return the edge of each grouped content."""
    return {row["video_id"]: row for row in _rows(groups) if row["video_id"]}


def entry_key(video_id: str, path_raw: str) -> str:
    """Return the key of a sighting: its video id, or for a file without one a digest of its raw path (base64)."""
    if video_id:
        return video_id
    try:
        raw = base64.b64decode(path_raw, validate=True)
    except (binascii.Error, ValueError):
        raw = path_raw.encode("utf-8", "surrogatepass")
    return "file-" + hashlib.sha256(raw).hexdigest()[:16]


def _entries(
    verdicts: dict[str, list[Any]],
    stretches: dict[str, tuple[Stretch, ...]],
    edges: dict[str, dict[str, Any]],
    run: Path,
    by_review: Mapping[str, str],
) -> tuple[Entry, ...]:
    first: dict[str, dict[str, Any]] = {}
    names: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in _rows(verdicts):
        if row["verdict"] not in VERDICT_ORDER:
            raise RunError(
                f"{run / 'verdicts.parquet'}: unknown verdict {row['verdict']!r}. "
                "Use the version of videonovelty that made the run."
            )
        key = entry_key(row["video_id"] or "", row["path_raw"] or "")
        names[key].add((legible(row["path"] or ""), row["path_raw"] or ""))
        kept = first.setdefault(key, row)
        if kept is not row and _doubt(row) < _doubt(kept):
            first[key] = row
    leaders = _leaders(first)
    members: dict[str, list[str]] = defaultdict(list)
    for key in sorted(first):
        if leaders[key] != key:
            members[leaders[key]].append(key)
    plain = {
        key: _plain(key, row, names[key], stretches.get(row["video_id"] or "", ()), by_review)
        for key, row in first.items()
    }
    ranked = [
        _ranked(plain[key], leads=leaders[key] == key, members=[plain[m] for m in members[key]], edges=edges)
        for key in sorted(plain)
    ]
    ranked.sort(key=lambda e: (not e.leads, e.rank, -e.value, e.view_seconds, e.entry))
    return tuple(ranked)


def _doubt(row: Mapping[str, Any]) -> tuple[int, bool]:
    """Sort rows of one content that disagree: the one that asks for more attention stands."""
    return VERDICT_ORDER.index(row["verdict"]), not row["needs_review"]


def _waits(row: Mapping[str, Any]) -> bool:
    return row["verdict"] != "known" or bool(row["needs_review"])


def _leaders(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the row of the queue each content is found under; a content that waits is never under a cleared one."""
    leader: dict[str, str] = {}
    chosen: dict[tuple[str, bool], str] = {}
    for key in sorted(rows, key=lambda k: (not rows[k]["group_leader"], _doubt(rows[k]), k)):
        row = rows[key]
        group = row["group_id"]
        leader[key] = chosen.setdefault((group, _waits(row)), key) if group else key
    return leader


def _plain(
    key: str,
    row: Mapping[str, Any],
    names: set[tuple[str, str]],
    stretches: tuple[Stretch, ...],
    by_review: Mapping[str, str],
) -> dict[str, Any]:
    """Return the fields of an entry that need no look at its group."""
    waits = _waits(row)
    duration = max(_seconds(row["duration_seconds"]), max((s.end_seconds for s in stretches), default=0.0))
    spared = sum(s.spared_seconds for s in stretches)
    hits = [s for s in stretches if s.kind in ("known", "same_scene") and s.known_video_id]
    best_says = _says(row["best_known_lists"])
    says = [*best_says, *(one for s in hits for one in s.says)]
    identified = {s.known_victim_identified for s in hits} | {_text(row["best_known_victim_identified"])}
    identified |= {one.victim_identified for one in says if one.disposition != "benign"}
    lists = {s.known_list for s in hits} | {_text(row["best_known_list"])} | {one.name for one in says}
    dispositions = {s.known_disposition for s in hits} | {_text(row["best_known_disposition"])}
    rests_on = dict.fromkeys([*(s.known_video_id or "" for s in hits), _text(row["best_known_id"]) or ""])
    dispositions |= {one.disposition for one in says}
    return {
        "entry": key,
        "video_id": row["video_id"] or "",
        "names": tuple(Name(path, raw) for path, raw in sorted(names)),
        "verdict": row["verdict"],
        "reason": legible(row["reason"] or ""),
        "in_queue": waits,
        "novelty": _number(row["novelty"]),
        "novel_seconds": _seconds(row["novel_seconds"]),
        "known_seconds": _seconds(row["known_seconds"]),
        "uninformative_seconds": _seconds(row["uninformative_seconds"]),
        "duration_seconds": duration,
        "decoded_seconds": _seconds(row["decoded_seconds"]),
        "longest_unseen_seconds": _seconds(row["longest_unseen_seconds"]),
        "keyframes": row["keyframes"] or 0,
        "best_known_id": _text(row["best_known_id"]),
        "best_known_list": _text(row["best_known_list"]),
        "best_known_disposition": _text(row["best_known_disposition"]),
        "best_known_series": _text(row["best_known_series"]),
        "best_known_victim_identified": _text(row["best_known_victim_identified"]),
        "best_known_category": _text(row["best_known_category"]),
        "group_id": _text(row["group_id"]),
        "scheme": legible(row["scheme"] or ""),
        "snapshot": row["snapshot"],
        "sandboxed": row["sandboxed"] is not False,
        "stretches": stretches,
        "says": best_says,
        "lists": tuple(sorted(x for x in lists if x)),
        "dispositions": tuple(sorted(x for x in dispositions if x)),
        "view_seconds": max(0.0, duration - spared) if waits else 0.0,
        "still_searched": "no" in identified,
        "decided": tuple(dict.fromkeys(by_review[key] for key in rests_on if key in by_review)),
    }


def _rank(plain: Mapping[str, Any]) -> int:
    if not plain["in_queue"]:
        return len(VERDICT_ORDER) + TOP_RANKS
    order = VERDICT_ORDER.index(plain["verdict"])
    if plain["still_searched"] and plain["verdict"] in ("same_scene", "partly_known"):
        return 0 if plain["verdict"] == "same_scene" else 1
    return order + TOP_RANKS


def _ranked(
    plain: dict[str, Any],
    *,
    leads: bool,
    members: Sequence[Mapping[str, Any]],
    edges: Mapping[str, Mapping[str, Any]],
) -> Entry:
    unexplained = 0.0
    for p in (plain, *members):
        if p["in_queue"]:
            shown = [
                s.seconds for s in p["stretches"] if s.kind in UNEXPLAINED or (s.kind == "known" and not s.explained)
            ]
            unexplained += len(p["names"]) * (sum(shown) if p["stretches"] else p["novel_seconds"])
    view = plain["view_seconds"]
    found = []
    for m in members:
        edge = edges.get(m["entry"], {})
        found.append(
            Member(
                entry=m["entry"],
                evidence_entry=edge.get("evidence_video_id"),
                shared_keyframes=edge.get("shared_keyframes"),
                share_of_keyframes=_number(edge.get("share_of_keyframes")),
                offset_seconds=_number(edge.get("offset_seconds")),
            )
        )
    return Entry(
        **plain,
        leads=leads and plain["in_queue"],
        rank=min(_rank(p) for p in (plain, *members)),
        value=unexplained / view if view > 0 else 0.0,
        members=tuple(found),
    )


def _exposure(entries: Sequence[Entry]) -> Exposure:
    rows = [e for e in entries if e.leads]
    return Exposure(
        intake_seconds=math.fsum(e.duration_seconds * len(e.names) for e in entries),
        distinct_seconds=math.fsum(e.duration_seconds for e in entries),
        uncleared_seconds=math.fsum(e.duration_seconds for e in entries if e.in_queue),
        grouped_seconds=math.fsum(e.duration_seconds for e in rows),
        view_seconds=math.fsum(e.view_seconds for e in rows),
        unknown_length=sum(e.duration_seconds <= 0 for e in rows),
    )


def _warnings(
    entries: Sequence[Entry],
    *,
    status: str,
    snapshots: Sequence[int],
    schemes: Sequence[str],
    files: int,
    failed: int,
    sandboxed: object,
) -> list[str]:
    found = []
    if status != "done":
        found.append(
            f"The run is not finished (status: {legible(status)}). Videos may be missing here: resume it first."
        )
    unlocked = sum(len(e.names) for e in entries if not e.sandboxed)
    if unlocked or sandboxed is False:
        how_many = f"{unlocked:,} of {files:,} files" if unlocked else "Files"
        found.append(f"{how_many} were decoded without the sandbox.")
    if files and failed / files > MANY_FAILURES and failed > 3:
        found.append(f"{failed:,} of {files:,} files ({failed / files:.0%}) could not be looked at.")
    unseen = [e for e in entries if e.reason == Reason.PARTLY_DECODED]
    if unseen:
        lost = math.fsum(max(0.0, e.duration_seconds - e.decoded_seconds) for e in unseen)
        only = "1 video was" if len(unseen) == 1 else f"{len(unseen):,} videos were"
        found.append(f"{only} decoded only in part: {spoken(lost)} nobody could look at.")
    more = sum(e.reason == Reason.HOLDS_MORE for e in entries)
    if more:
        only = "1 file holds" if more == 1 else f"{more:,} files hold"
        found.append(f"{only} known footage and something besides that nobody could look at.")
    if len(snapshots) > 1:
        found.append(f"The verdicts stand on {len(snapshots)} snapshots of the known store. Run `known recheck`.")
    if len(schemes) > 1:
        found.append(f"The verdicts come from {len(schemes)} signature schemes, which never match each other.")
    return found


def _cleared(entries: Sequence[Entry]) -> tuple[tuple[str, int], ...]:
    found = Counter(e.best_known_disposition or "not stated" for e in entries if not e.in_queue)
    return tuple(sorted(found.items(), key=lambda item: (item[0] == "not stated", item[0])))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _stated_snapshot(store: object) -> tuple[int, ...]:
    snapshot = store.get("snapshot") if isinstance(store, dict) else None
    return (snapshot,) if isinstance(snapshot, int) else ()


def reason_text(reason: str) -> str:
    """Return the plain sentence of a reason code; an unheard-of code stands for itself."""
    try:
        return REASON_TEXT[Reason(reason)]
    except ValueError:
        return reason.replace("_", " ")
