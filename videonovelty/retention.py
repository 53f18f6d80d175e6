"""Letting a run go: first its signatures, in the end everything but the line that says there was such a run.

A purge says in the journal what it is about to do, removes what the run wrote, and then puts a journal of two lines in
the place of the old one: which run it was, and that it was purged, when, by whom and why, how many files it had, and
the digest of the last line of the journal that is gone. No path and no content id is left. Killed anywhere, it is
completed by the same call.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from videonovelty.errors import EnvironmentUnfitError, SettingsError
from videonovelty.journal import JSON, Journal, sync_directory
from videonovelty.run import RUN_KEY, VideoStates, locked_journal, write_file

PURGING = "purging"
PURGED = "purged"
SIGNATURES_REMOVED = "signatures_removed"

_KEPT = frozenset({"journal.jsonl", "lock", "metrics.prom"})
_OURS = frozenset(
    {"parts", "report", "work", "workers", "run.json", "log.jsonl"}
    | {f"{table}.{suffix}" for table in ("verdicts", "segments", "groups") for suffix in ("parquet", "csv", "json")}
)


@dataclass(frozen=True, slots=True)
class Purge:
    """What became of one run folder."""

    path: Path
    done: bool
    """False for a run that is too young, or was purged before."""
    why: str
    left: tuple[str, ...] = ()
    """Names in the folder that are not the program's own, left as they are: look at them yourself."""


def purge(path: Path, *, before: datetime, actor: str, reason: str) -> Purge:
    """Remove everything a run knows about videos, if nothing was written to it since `before`; keep the audit line.

    Raises LockHeldError while the run is worked on, RunError for a folder that is no run or is damaged,
    EnvironmentUnfitError when the disk cannot be written.
    """
    with _disk_errors(path), locked_journal(path) as (journal, states):
        if states.purged is not None:
            _write_run_json(path, states.purged, journal)
            return Purge(path, False, f"purged before, on {states.purged.get('purged_at')}", _foreign(path))
        begun = next(iter(journal.entries(PURGING)), None)
        if begun is None:
            if datetime.fromisoformat(journal.last_at) >= before:
                return Purge(path, False, f"last written to on {journal.last_at}")
            journal.append(PURGING, key=RUN_KEY, before=before.isoformat(), actor=actor, reason=reason)
        for name in sorted(_OURS):
            _remove(path / name)
        for leftover in path.glob(".*.tmp"):
            _remove(leftover)
        sync_directory(path)
        facts = _audit_line(journal, states, before=before, actor=actor, reason=reason)
        _replace_journal(path, states.run_facts or {}, facts)
    with locked_journal(path) as (journal, states):
        _write_run_json(path, facts, journal)
    return Purge(path, True, "signatures, names and tables removed", _foreign(path))


def remove_signatures(path: Path) -> bool:
    """Remove the signatures of a run; its tables, report and journal stay. Return False when there are none.

    Raises as `purge`.
    """
    with _disk_errors(path), locked_journal(path) as (journal, _):
        if not (path / "parts").is_dir():
            return False
        journal.append(SIGNATURES_REMOVED, key=RUN_KEY)
        for name in ("parts", "work"):
            _remove(path / name)
        sync_directory(path)
    return True


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentUnfitError(
            f"{path}: cannot be cleared: {error.strerror}. Repair that and give the same command again."
        ) from error


def _audit_line(journal: Journal, states: VideoStates, *, before: datetime, actor: str, reason: str) -> dict[str, JSON]:
    tables = states.tables or {}
    return {
        "purged_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "before": before.isoformat(),
        "actor": actor,
        "reason": reason,
        "contents": len(states),
        "counts": tables.get("counts"),
        "seconds": tables.get("seconds"),
        "journal_entries": journal.seq,
        "journal_head": journal.head,
    }


def _replace_journal(path: Path, run_facts: Mapping[str, JSON], facts: Mapping[str, JSON]) -> None:
    temporary = path / ".journal.jsonl.tmp"
    temporary.unlink(missing_ok=True)
    with Journal.open(temporary) as journal:
        journal.append_many([("created", RUN_KEY, run_facts), (PURGED, RUN_KEY, facts)])
    temporary.replace(path / "journal.jsonl")
    sync_directory(path)


def _write_run_json(path: Path, facts: Mapping[str, JSON], journal: Journal) -> None:
    document: dict[str, Any] = {**facts, "status": PURGED, "journal": {"entries": journal.seq, "head": journal.head}}
    text = json.dumps(document, indent=2, ensure_ascii=True) + "\n"
    write_file(path / "run.json", lambda file: file.write(text.encode("ascii")))


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder; a link is never followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def _foreign(path: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in path.iterdir() if p.name not in _KEPT | _OURS))


def purge_date(text: str) -> datetime:
    """Return the start of a day, UTC, given as 2026-01-31. Raises SettingsError for anything else."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise SettingsError(f"--before {text}: not a day. Write it like 2026-01-31.") from error
