"""The file an analyst's decisions travel in: JSON Lines, one decision a line, written by the report's page.

```
{"format": "videonovelty-decisions", "format_version": 1,
 "run_id": "…", "snapshot": 42,          run and snapshot of the known store the verdict stands on (null: not stated)
 "video_id": "…",                        64 hex digits; "" for a file that could not be read
 "entry": "…",                           the video id, or `collect.entry_key` of a file without one
 "verdict": "same_scene",                what the run said
 "known_video_id": "…",                  the known video it was held against, null without one
 "stands_for": ["…"],                    the other contents of its group that waited for review under the same row
 "decision": "not_a_match",              a key of DECISIONS
 "disposition": "",                      what kind of material it is: `abuse`, `benign`, `other`; "" or absent: not said
 "note": "…", "analyst": "…", "decided_at": "2026-11-23T06:12:09.120Z"}
```

No file names: the file may leave the machine. One line an entry: the last decision. Lines of several analysts, joined
in one file, are a double review. A decision on a row is about `video_id`; what follows for `stands_for` is the
importer's to say.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from videonovelty.errors import SettingsError

FORMAT = "videonovelty-decisions"
DECISIONS_VERSION = 1
DECISIONS: dict[str, str] = {
    "novel": "Novel",
    "known": "Known",
    "same_scene": "Same scene",
    "not_a_match": "Not a match",
    "second_look": "Second look",
}
"""Decisions in the order of their keys 1–5; values are a contract, texts are for people."""
MAX_NOTE = 2000
"""Characters of a note."""
DISPOSITIONS: dict[str, str] = {"": "not said", "abuse": "abuse", "benign": "benign", "other": "other"}
"""What kind of material a person has seen it to be."""
_MAX_BYTES = 512 << 20
_ID = re.compile("[0-9a-f]{64}")
_ENTRY = re.compile("[0-9a-f]{64}|file-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Decision:
    """One analyst's decision about one content, see the module."""

    run_id: str
    snapshot: int | None
    video_id: str
    entry: str
    verdict: str
    known_video_id: str | None
    stands_for: tuple[str, ...]
    decision: str
    note: str
    analyst: str
    decided_at: str
    disposition: str = ""


def read_decisions(path: Path) -> list[Decision]:
    """Return the decisions of a file in its order; nothing is believed about runs and videos, only the form is checked.

    Raises SettingsError naming the file, the line and the key.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SettingsError(f"{path}: larger than any night's decisions. Export them from the report again.")
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return [_decision(line, f"{path}, line {n}") for n, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _decision(line: str, where: str) -> Decision:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: not JSON. Export the decisions from the report again.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SettingsError(f"{where}: format: not a decision of this program")
    if record.get("format_version") != DECISIONS_VERSION:
        raise SettingsError(f"{where}: format_version: this version reads {DECISIONS_VERSION}")
    entry = _matching(record, "entry", _ENTRY, where)
    video_id = "" if entry.startswith("file-") else _matching(record, "video_id", _ID, where)
    if video_id and video_id != entry:
        raise SettingsError(f"{where}: entry: differs from video_id")
    decision = _string(record, "decision", where)
    if decision not in DECISIONS:
        raise SettingsError(f"{where}: decision: {decision[:40]!r} is none of {', '.join(DECISIONS)}")
    analyst = _string(record, "analyst", where).strip()
    if not analyst:
        raise SettingsError(f"{where}: analyst: empty. Give a name in the report before exporting.")
    decided_at = _string(record, "decided_at", where)
    try:
        datetime.fromisoformat(decided_at).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"{where}: decided_at: not a time") from error
    stands_for = record.get("stands_for", [])
    if not isinstance(stands_for, list) or not all(isinstance(v, str) and _ENTRY.fullmatch(v) for v in stands_for):
        raise SettingsError(f"{where}: stands_for: not a list of ids")
    snapshot = record.get("snapshot")
    if snapshot is not None and (not isinstance(snapshot, int) or isinstance(snapshot, bool) or snapshot < 0):
        raise SettingsError(f"{where}: snapshot: not a number")
    disposition = record.get("disposition", "")
    if disposition not in DISPOSITIONS:
        raise SettingsError(f"{where}: disposition: none of abuse, benign, other")
    known = record.get("known_video_id")
    return Decision(
        run_id=_string(record, "run_id", where),
        snapshot=snapshot,
        video_id=video_id,
        entry=entry,
        verdict=_string(record, "verdict", where),
        known_video_id=None if known is None else _matching(record, "known_video_id", _ID, where),
        stands_for=tuple(stands_for),
        decision=decision,
        note=_string(record, "note", where),
        analyst=analyst,
        decided_at=decided_at,
        disposition=disposition,
    )


def _string(record: dict[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or len(value) > MAX_NOTE:
        raise SettingsError(f"{where}: {key}: not a text of up to {MAX_NOTE} characters")
    return value


def _matching(record: dict[str, Any], key: str, form: re.Pattern[str], where: str) -> str:
    value = _string(record, key, where)
    if not form.fullmatch(value):
        raise SettingsError(f"{where}: {key}: not an id")
    return value
