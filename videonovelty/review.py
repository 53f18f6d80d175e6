"""Analysts' decisions: what they change in the known store, and what later scans make of them.

The store keeps every decision it was given, with who and when; the newest of an analyst about a content stands. From
what stands follows, in the same snapshot:

- `novel`, `known`, `same_scene`: somebody has looked at the whole video, so it is enrolled on the review list with the
  signatures of the run, and its copies are known from then on. Only when all analysts who judged it say the same, and
  as many as `[review] reviewers` asks for: a video they disagree on stays, or comes back, in the queue.
- `not_a_match`: the video is not held against that known video any more. One analyst is enough: without the match the
  video can only be less known.
- `second_look`: nothing, but it counts as disagreement.

Taking a decision back undoes what followed from it. Other contents of the group a row stood for are not enrolled: they
are found again through the one that was, by proof; `not_a_match` holds for them as well.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.batch import SIGHTED
from videonovelty.enrolment import store_identity
from videonovelty.errors import Reason, RunError, SettingsError
from videonovelty.journal import JournalEntry, read_journal
from videonovelty.known.ledger import REVIEW_TAG, WITHDRAWN, Ledger, Opinion, disagree, moment, read_ledger
from videonovelty.known.snapshot import Snapshot
from videonovelty.known.staging import KnownEntry
from videonovelty.known.store import KnownStore, Review
from videonovelty.records import KnownVideo, ListMembership
from videonovelty.report.collect import entry_key
from videonovelty.report.decisions import DECISIONS, Decision
from videonovelty.run import VideoStates, read_coded, read_part
from videonovelty.schemas import DECISIONS as DECISION_ROWS
from videonovelty.settings import ReviewSettings
from videonovelty.tables import preferred_membership

logger = logging.getLogger(__name__)

ENROLLING = ("novel", "known", "same_scene")
"""Decisions after which nobody need look at the content again."""
OF_A_SERIES = ("known", "same_scene")
"""Decisions that say: it belongs to what the known video belongs to."""
MOST_PROBLEMS = 10
"""Problems of one file that a message names."""
CLOCKS_APART = timedelta(days=1)
"""How far in the future a decision may lie: the analyst's clock, not ours, wrote it."""


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What an import or a withdrawal came to. Contents are named by id."""

    snapshot: int
    """The snapshot now; `before` when nothing changed."""
    before: int
    recorded: int
    """Decisions that are new."""
    unchanged: int
    """Decisions the store had."""
    older: int
    """Decisions the same analyst has changed or taken back since."""
    enrolled: tuple[str, ...]
    bytes_only: tuple[str, ...]
    """Enrolled without signatures, for it could not be decoded: only identical files will be recognised."""
    reopened: tuple[str, ...]
    """No longer known by review."""
    apart: tuple[tuple[str, str], ...]
    """(content, known video) that are not held against one another any more."""
    together: tuple[tuple[str, str], ...]
    """Such pairs that were taken back."""
    disputed: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """(content, (analyst, decision)…) on which analysts disagree: nothing follows until they agree."""
    waiting: tuple[str, ...]
    """Contents more analysts have to look at before they are enrolled."""
    second_look: tuple[str, ...]
    unsigned: tuple[str, ...]
    """Agreed on, but the signatures are in a run that was not named."""


# ---------------------------------------------------------------------------------------------------------------------
# The run they were made on


@dataclass(slots=True)
class ReviewedRun:
    """What a finished run says about the contents of its report."""

    path: Path
    run_id: str
    rows: dict[str, dict[str, Any]]
    """A row of verdicts by entry."""
    states: VideoStates = field(default_factory=VideoStates)
    digests: dict[str, tuple[str, str]] = field(default_factory=dict)
    """MD5 and SHA-1 by id."""

    def is_signed(self, video_id: str) -> bool:
        """Tell whether the run holds signatures of a content."""
        state = self.states.get(video_id)
        return state is not None and state.part_sha256 is not None

    def known_entry(self, video_id: str, membership: ListMembership) -> KnownEntry:
        """Return what enrols a content of the run, with its signatures where it could be signed."""
        state = self.states.get(video_id)
        signed = None
        if state is not None and state.part_sha256 is not None:
            signed = read_part(self.path, video_id, sha256=state.part_sha256)
        coded = None
        if state is not None and signed is not None and state.coded_sha256 is not None and signed.coverage.whole:
            coded = read_coded(self.path, video_id, sha256=state.coded_sha256)
        md5, sha1 = self.digests.get(video_id, ("", ""))
        duration = signed.coverage.duration_seconds if signed else float(self.rows[video_id]["duration_seconds"] or 0)
        video = KnownVideo(video_id, duration, md5=md5, sha1=sha1, memberships=(membership,))
        return KnownEntry(video, signed.signatures if signed else None, coded)


def open_run(path: Path, store: KnownStore) -> ReviewedRun:
    """Return a finished run of `store`, reading only. Raises RunError naming the next step."""
    try:
        facts = json.loads((path / "run.json").read_bytes())
        status, run_id = str(facts["status"]), str(facts["run_id"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: not a finished run folder ({error}). Name the folder the report is in.") from error
    if status != "done":
        raise RunError(f"{path}: the run is {status}. Let `videonovelty scan` end, then review its report.")
    columns = ["video_id", "path_raw", "verdict", "reason", "snapshot", "best_known_id", "duration_seconds"]
    try:
        table = pq.read_table(pa.BufferReader((path / "verdicts.parquet").read_bytes()), columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path}: verdicts.parquet cannot be read: {error}. Run `videonovelty scan` again.") from error
    rows = {entry_key(row["video_id"] or "", row["path_raw"] or ""): row for row in table.to_pylist()}
    run = ReviewedRun(path, run_id, rows)

    def observe(entry: JournalEntry) -> None:
        run.states.observe(entry)
        if entry.state == SIGHTED:
            run.digests[entry.key] = (str(entry.fields["md5"]), str(entry.fields["sha1"]))

    read_journal(path / "journal.jsonl", observe=observe)
    made_with = (run.states.run_facts or {}).get("store")
    if made_with != store_identity(store):
        raise RunError(f"{path}: belongs to the known store {made_with}, not to {store.path}. Check --store.")
    return run


def problems_of(decisions: Sequence[Decision], run: ReviewedRun, settings: ReviewSettings) -> list[str]:
    """Return what is wrong with decisions about `run`, one sentence each."""
    found = []
    latest = datetime.now(UTC) + CLOCKS_APART
    for n, one in enumerate(decisions, start=1):
        row = run.rows.get(one.entry)
        problem = ""
        if one.run_id != run.run_id:
            problem = f"made on the run {one.run_id}, not on {run.run_id}"
        elif row is None:
            problem = "the run holds no such content"
        elif one.snapshot != row["snapshot"]:
            problem = (
                f"made on snapshot {one.snapshot}, but the run was judged again on {row['snapshot']}: "
                "look at its new report"
            )
        elif (one.verdict, one.known_video_id) != (row["verdict"], row["best_known_id"]):
            problem = f"made on other grounds ({one.verdict}) than the run holds ({row['verdict']})"
        elif settings.analysts and one.analyst not in settings.analysts:
            problem = f"{one.analyst!r} is none of [review] analysts"
        elif moment(one.decided_at) > latest:
            problem = f"made in the future ({one.decided_at}): check the clock of the analyst's machine"
        elif not one.video_id and one.decision != "second_look":
            problem = "the file could not be read, so it can only be marked for a second look"
        elif one.decision == "not_a_match" and not one.known_video_id:
            problem = "not a match of what? The verdict names no known video"
        elif one.decision == "not_a_match" and row["reason"] == Reason.SAME_BYTES:
            problem = "the file is that known video, byte for byte: take the known video off its list instead"
        elif not set(one.stands_for) <= run.rows.keys():
            problem = "it stands for contents the run does not hold"
        if problem:
            found.append(f"decision {n} ({one.entry[:16]}…): {problem}")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Import and withdrawal


def import_decisions(
    run_path: Path,
    decisions: Sequence[Decision],
    store: KnownStore,
    settings: ReviewSettings,
    *,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> ReviewResult:
    """Record decisions about a finished run and make what follows from them so, as one snapshot.

    All or nothing: one decision that does not fit the run, and nothing is changed. What the store has already is left
    as it is. Raises SettingsError for decisions that do not fit, RunError for an unusable run, KnownStoreError.
    """
    run = open_run(run_path, store)
    wrong = problems_of(decisions, run, settings)
    if wrong:
        more = f" … and {len(wrong) - MOST_PROBLEMS} more" if len(wrong) > MOST_PROBLEMS else ""
        raise SettingsError("; ".join(wrong[:MOST_PROBLEMS]) + more + ". Nothing was changed.")
    rows = [_row(one, actor) for one in decisions]
    rows.sort(key=lambda row: moment(row["decided_at"]))
    why = reason or f"review of run {run.run_id}"
    return _apply(store, run, rows, settings, actor=actor, reason=why, dry_run=dry_run)


def withdraw(
    store: KnownStore,
    settings: ReviewSettings,
    *,
    entries: Sequence[str] = (),
    run_id: str = "",
    analyst: str = "",
    run_path: Path | None = None,
    actor: str,
    reason: str,
) -> ReviewResult:
    """Take decisions back: about some contents, of one run, of one analyst, or what fits all that is given.

    Videos enrolled because of them are no longer known by review and come back into later queues. `run_path` gives the
    signatures of videos the remaining analysts agree on. Raises SettingsError when no decision fits.
    """
    if not (entries or run_id or analyst):
        raise SettingsError("name the decisions to take back, with --video, --of-run or --analyst.")
    run = None if run_path is None else open_run(run_path, store)
    ledger = read_ledger(store.snapshot(), entries or None)
    rows: list[dict[str, Any]] = []
    for entry in ledger.entries():
        for one in ledger.opinions(entry):
            if (run_id and one.run_id != run_id) or (analyst and one.analyst != analyst):
                continue
            before = ledger.newest(entry, one.analyst, None)
            assert before is not None
            rows.append(_taken_back(before, reason, actor))
    named = {(row["entry"], row["analyst"], row["known_video_id"]) for row in rows}
    for row in ledger.not_matches():  # also those the analyst's newest decision does not name
        fits = (not run_id or row["run_id"] == run_id) and (not analyst or row["analyst"] == analyst)
        if fits and (row["entry"], row["analyst"], row["known_video_id"]) not in named:
            rows.append(_taken_back(row, reason, actor))
    if not rows:
        raise SettingsError("no decision fits; `videonovelty review list` shows those that stand.")
    return _apply(store, run, rows, settings, actor=actor, reason=reason)


def _taken_back(row: Mapping[str, Any], reason: str, actor: str) -> dict[str, Any]:
    """Return the row that takes `row` back: later than it, whatever clock it was made by."""
    at = max(datetime.now(UTC), moment(row["decided_at"]) + timedelta(microseconds=1))
    said = {"decision": WITHDRAWN, "note": reason, "decided_at": at.isoformat()}
    return {**row, **said} | _recorded(actor)


def _row(one: Decision, actor: str) -> dict[str, Any]:
    names = set(DECISION_ROWS.names) - {"run_snapshot", "recorded_at", "recorded_by"}
    said = {name: getattr(one, name) for name in names}
    return {**said, "stands_for": list(one.stands_for), "run_snapshot": one.snapshot} | _recorded(actor)


def _recorded(actor: str) -> dict[str, str]:
    return {"recorded_at": datetime.now(UTC).isoformat(timespec="seconds"), "recorded_by": actor}


_SAID = ("decision", "known_video_id", "disposition", "note", "decided_at", "run_id")


def _apply(
    store: KnownStore,
    run: ReviewedRun | None,
    rows: Sequence[dict[str, Any]],
    settings: ReviewSettings,
    *,
    actor: str,
    reason: str,
    dry_run: bool = False,
) -> ReviewResult:
    found: dict[str, Any] = {}

    def plan(base: Snapshot) -> Review:
        found.clear()
        found["before"] = base.number
        asked, told = _plan(base, run, rows, settings)
        found.update(told)
        return asked

    if dry_run:
        snapshot = store.snapshot()
        plan(snapshot)
    else:
        snapshot = store.review(plan, actor=actor, reason=reason)
    result = ReviewResult(snapshot=snapshot.number, **found)
    logger.info("review: %d decisions recorded, %d videos enrolled", result.recorded, len(result.enrolled))
    return result


def _plan(
    base: Snapshot, run: ReviewedRun | None, rows: Sequence[dict[str, Any]], settings: ReviewSettings
) -> tuple[Review, dict[str, Any]]:
    """Return what `rows` change on top of a snapshot, and what to tell about it."""
    ledger = read_ledger(base, {row["entry"] for row in rows} | {e for row in rows for e in row["stands_for"]})
    before = ledger.apart()
    fresh, unchanged, older = _new_among(rows, ledger)
    touched = sorted({row["entry"] for row in fresh if not row["entry"].startswith("file-")})
    known = base.describe(touched)
    named = {one.known_video_id for entry in touched for one in ledger.opinions(entry) if one.known_video_id}
    against = base.describe(sorted(named))
    enrol: dict[str, ListMembership] = {}
    taken_out: set[tuple[str, str]] = set()
    told: dict[str, list[Any]] = {name: [] for name in _TOLD}
    for entry in touched:
        opinions = ledger.opinions(entry)
        memberships = known[entry].memberships if entry in known else ()
        reviewed = [m for m in memberships if REVIEW_TAG in m.tags]
        follows = _membership(opinions, against, settings)
        fate = _fate(opinions, follows, settings.reviewers)
        if fate == "disputed":
            told[fate].append((entry, tuple((one.analyst, one.decision) for one in opinions)))
        elif fate and fate != "enrolled":
            told[fate].append(entry)
        if fate == "enrolled" and follows is not None:
            if follows in memberships or any(
                m.list_name == follows.list_name for m in memberships if m not in reviewed
            ):
                continue  # said already, or by a curator, whose word on that list is more than a review's
            if not reviewed and (run is None or entry not in run.rows):
                told["unsigned"].append(entry)
                continue
            enrol[entry] = follows
            told["enrolled"].append(entry)
        elif reviewed:
            told["reopened"].append(entry)
        taken_out |= {(entry, m.list_name) for m in reviewed}
    if run is not None:
        told["bytes_only"] = [e for e in enrol if e not in known and not run.is_signed(e)]
    pairs = ledger.apart()
    table = pa.Table.from_pylist(fresh, schema=DECISION_ROWS)
    review = Review(table, _entries(enrol, run, known), frozenset(taken_out))
    summary = {name: tuple(values) for name, values in told.items()}
    counts = {"recorded": len(fresh), "unchanged": unchanged, "older": older}
    apart = {"apart": tuple(sorted(pairs - before)), "together": tuple(sorted(before - pairs))}
    return review, {**summary, **counts, **apart}


_TOLD = ("enrolled", "bytes_only", "reopened", "disputed", "waiting", "second_look", "unsigned")


def _new_among(rows: Sequence[dict[str, Any]], ledger: Ledger) -> tuple[list[dict[str, Any]], int, int]:
    """Return the rows the ledger lacks, which are added to it, and how many it had, and had newer ones than."""
    fresh: list[dict[str, Any]] = []
    unchanged = older = 0
    for row in rows:
        before = ledger.newest(row["entry"], row["analyst"], row["known_video_id"])
        if before is not None and all(before[name] == row[name] for name in _SAID):
            unchanged += 1
        elif before is not None and moment(before["decided_at"]) > moment(row["decided_at"]):
            older += 1
        else:
            fresh.append(row)
            ledger.add(row)
    return fresh, unchanged, older


def _fate(opinions: Sequence[Opinion], follows: ListMembership | None, reviewers: int) -> str:
    """Return what becomes of a content its analysts say this about; empty when nothing does."""
    if disagree(opinions):
        return "disputed"
    if follows is not None:
        return "enrolled" if len(opinions) >= reviewers else "waiting"
    return "second_look" if any(one.decision == "second_look" for one in opinions) else ""


def _entries(
    enrol: Mapping[str, ListMembership], run: ReviewedRun | None, known: Mapping[str, KnownVideo]
) -> Iterator[KnownEntry]:
    for video_id, membership in sorted(enrol.items()):
        if run is not None and video_id in run.rows:
            yield run.known_entry(video_id, membership)
        else:
            video = known[video_id]  # said anew of a video whose signatures the store has
            yield KnownEntry(KnownVideo(video_id, video.duration_seconds, video.md5, video.sha1, (membership,)), None)


def _membership(
    opinions: Sequence[Opinion], against: Mapping[str, KnownVideo], settings: ReviewSettings
) -> ListMembership | None:
    """Return what the review list says about a content once its analysts agree; None when it is not enrolled."""
    if not opinions or any(one.decision not in ENROLLING for one in opinions):
        return None
    newest = max(opinions, key=lambda one: (moment(one.decided_at), one.analyst))
    of = preferred_membership(against.get(newest.known_video_id or "")) if newest.decision in OF_A_SERIES else None
    said = next((one.disposition for one in opinions if one.disposition), "")
    who = " and ".join(one.analyst for one in opinions)
    return ListMembership(
        list_name=settings.list_name,
        disposition=said or (of.disposition if of else settings.disposition),
        series=of.series if of else "",
        category=of.category if of else "",
        victim_identified=of.victim_identified if of else "unknown",
        offender_identified=of.offender_identified if of else "unknown",
        distributed=of.distributed if of else "unknown",
        tags=(REVIEW_TAG, newest.decision),
        source=f"decided {DECISIONS[newest.decision].lower()} by {who}, run {newest.run_id}, {newest.decided_at}",
    )
