"""Verdicts in the forms analysts' tools take up: VICS 2.0 media with category and tags, and CSV with digests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from videonovelty.batch import SIGHTED
from videonovelty.errors import SettingsError
from videonovelty.journal import JournalEntry, read_journal
from videonovelty.known.exporting import category_number, csv_line, media_item, write_pieces, yes_no
from videonovelty.known.formats import vics
from videonovelty.report.collect import Entry, collect, reason_text
from videonovelty.report.legible import clock

CSV_COLUMNS = (
    "path", "sha256", "md5", "sha1", "size_bytes", "verdict", "needs_review", "reason", "novel_times", "known_id",
    "known_list", "disposition", "category", "series", "victim_identified", "tags",
)  # fmt: skip
MAX_TIMES = 50


def export_verdicts(run: Path, name: str, out: Path, *, country: str, numbers: Mapping[str, str]) -> int:
    """Write the verdicts of a finished run to the new file `out`; return how many rows.

    `vics`: one media item a content, known material under its list's category, everything else uncategorised with the
    verdict as a tag. `csv`: one row a file. `numbers`: the VICS category of each disposition. Raises RunError,
    SettingsError.
    """
    report = collect(run)
    digests = _digests(run)
    if name == "vics":
        rows = [e for e in report.entries if e.video_id in digests]
        items = (_media(n, e, digests[e.video_id], numbers) for n, e in enumerate(rows, 1))
        write_pieces(out, vics.document(items, country=country))
        return len(rows)
    if name == "csv":
        write_pieces(out, _csv(report.entries, digests))
        return sum(len(e.names) for e in report.entries)
    raise SettingsError(f"--format {name}: vics or csv.")


def _digests(run: Path) -> dict[str, tuple[str, str, int]]:
    """Return MD5, SHA-1 and size of each content, of the journal."""
    found: dict[str, tuple[str, str, int]] = {}

    def observe(entry: JournalEntry) -> None:
        if entry.state == SIGHTED:
            fields = entry.fields
            found[entry.key] = (str(fields["md5"]), str(fields["sha1"]), int(str(fields["size"])))

    read_journal(run / "journal.jsonl", observe=observe)
    return found


def _media(number: int, entry: Entry, digests: tuple[str, str, int], numbers: Mapping[str, str]) -> dict[str, Any]:
    md5, sha1, size = digests
    told = _first(entry)
    cleared = not entry.in_queue
    category = category_number(told["category"], entry.best_known_disposition or "", numbers) if cleared else 0
    tags = [f"videonovelty:{entry.verdict}", f"videonovelty:{entry.reason}"]
    tags += [f"list:{one.name}" for one in entry.says] + ([f"series:{told['series']}"] if told["series"] else [])
    times = _novel_times(entry)
    files = [_file(name.path_raw, md5) for name in entry.names]
    return media_item(
        number,
        md5,
        sha1,
        {
            "Category": category,
            "MediaSize": size,
            "VictimIdentified": yes_no(entry.best_known_victim_identified or "") if cleared else None,
            "Series": told["series"] if cleared else "",
            "IsPrecategorized": cleared,
            "Tags": ",".join(tag.replace(",", " ") for tag in tags),
            "Comments": f"{reason_text(entry.reason)}{f'; in no known video: {times}' if times else ''}",
            "RelativeFilePath": files[0]["FilePath"],
            "MediaFiles": files,
        },
    )


def _file(path_raw: str, md5: str) -> dict[str, str]:
    path = base64.b64decode(path_raw).decode("utf-8", "backslashreplace")
    return {"FileName": PurePosixPath(path).name, "FilePath": path, "MD5": md5.upper()}


def _first(entry: Entry) -> dict[str, str]:
    return {"category": entry.best_known_category or "", "series": entry.best_known_series or ""}


def _novel_times(entry: Entry) -> str:
    novel = [s for s in entry.stretches if s.kind == "novel"]
    return ", ".join(f"{clock(s.start_seconds)}-{clock(s.end_seconds)}" for s in novel[:MAX_TIMES])


def _csv(entries: tuple[Entry, ...], digests: Mapping[str, tuple[str, str, int]]) -> Iterator[bytes]:
    yield csv_line(CSV_COLUMNS)
    for e in entries:
        md5, sha1, size = digests.get(e.video_id, ("", "", 0))
        told = _first(e)
        for name in e.names:
            yield csv_line(
                (
                    name.path, e.video_id, md5, sha1, str(size) if md5 else "", e.verdict, json.dumps(e.in_queue),
                    e.reason, _novel_times(e), e.best_known_id or "", e.best_known_list or "",
                    e.best_known_disposition or "", told["category"], told["series"],
                    e.best_known_victim_identified or "", "; ".join(one.text for one in e.says),
                )
            )  # fmt: skip
