"""Write the report: one HTML page that opens from disk, asks nothing of any network, and holds no picture.

The page's data stand in `<script type="application/json">` blocks: `rows` with what the queue filters and sorts by, and
one block of details for every 200 contents, parsed only when a content is opened, so that 50,000 contents stay light.
Above `max_single_file_bytes` the details move to files beside the page, loaded when needed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import shutil
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from videonovelty.errors import RunError
from videonovelty.report.collect import (
    TOP_RANKS,
    VERDICT_MEANING,
    VERDICT_ORDER,
    VERDICT_TEXT,
    Entry,
    Name,
    Report,
    Stretch,
    collect,
    reason_text,
)
from videonovelty.report.decided import Decided
from videonovelty.report.decisions import DECISIONS, DECISIONS_VERSION, DISPOSITIONS, FORMAT, MAX_NOTE
from videonovelty.report.exports import write_atomically
from videonovelty.report.legible import clock, legible, spoken
from videonovelty.report.why import why
from videonovelty.settings import ReportSettings

log = logging.getLogger(__name__)

DETAILS_PER_BLOCK = 200
CELLS = 30
"""Cells of the small timeline in each row of the queue."""
SCRIPTS = ("data.js", "decisions.js", "queue.js", "detail.js", "page.js")
STYLES = ("report.css",)
KIND_LETTERS = {"novel": "n", "same_scene": "s", "inside": "p", "undecoded": "x", "uninformative": "u", "known": "k"}
"""Letters of the kinds as drawn, those that ask for most attention first."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Small pictures beside the page: of each content, times in seconds and files below the report's folder."""

    kind: str
    files: Mapping[str, Sequence[tuple[float, str]]]


def write_report(
    run: Path, settings: ReportSettings, *, pictures: Pictures | None = None, decided: Decided | None = None
) -> Path:
    """Write `run/report/index.html` from the tables of `run` and return its path; equal tables give equal bytes.

    The page replaces an older one in one step. Files are 0600, the folder 0700. `decided`: the decisions to show.
    Without `pictures` those of an earlier report are removed. Raises RunError for an unusable run folder.
    """
    report = collect(run)
    folder = run / "report"
    folder.mkdir(mode=0o700, exist_ok=True)
    if pictures is None:
        remove_pictures(run)
    rows = _json({**_rows(report), "pictures": _pictures(report, pictures), "store": _store(report, decided)})
    details = [_json(block) for block in _details(report)]
    size = len(rows) + sum(map(len, details))
    files = {} if size <= settings.max_single_file_bytes else _detail_files(details)
    for name, text in files.items():
        _write_text(folder / name, text)
    page = _page(report, settings, rows=rows, details=[] if files else details, files=list(files), pictures=pictures)
    path = folder / "index.html"
    _write_text(path, page)
    for old in folder.glob("details-*.js"):
        if old.name not in files:
            old.unlink(missing_ok=True)
    log.info("report of %d contents written, %d bytes, %d files of details", len(report.entries), size, len(files))
    return path


PICTURES = "pictures"
"""Folder of the pictures, beside the page."""


def remove_pictures(run: Path) -> None:
    """Remove the pictures of an earlier report. Raises RunError for a link in their place, which is not followed."""
    folder = run / "report" / PICTURES
    if folder.is_symlink():
        raise RunError(f"{folder}: a link where the pictures belong. Remove it; nothing was written.")
    if folder.is_dir():
        shutil.rmtree(folder)


def _pictures(report: Report, pictures: Pictures | None) -> dict[str, Any] | None:
    if pictures is None:
        return None
    of = {e.entry: i for i, e in enumerate(report.entries)}
    rows = {of[entry]: [[_round(t), name] for t, name in files] for entry, files in sorted(pictures.files.items())}
    return {"kind": pictures.kind, "rows": rows}


def _store(report: Report, decided: Decided | None) -> dict[str, Any] | None:
    """Return the decisions that stand, by row: [analyst, decision, note, time, disposition]."""
    if decided is None:
        return None
    review = report.settings.get("review")
    rows = {
        i: [
            [legible(o.analyst), o.decision, legible(o.note), legible(o.decided_at), o.disposition]
            for o in decided.opinions[e.entry]
        ]
        for i, e in enumerate(report.entries)
        if e.entry in decided.opinions
    }
    reviewers = review.get("reviewers", 1) if isinstance(review, dict) else 1
    return {"snapshot": decided.snapshot, "reviewers": reviewers, "rows": rows}


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def _detail_files(details: Sequence[str]) -> dict[str, str]:
    """Return name → text of scripts that hand one block to the page; the name changes with the content."""
    found = {}
    for number, text in enumerate(details):
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        found[f"details-{number:05d}-{digest}.js"] = f"takeDetails({number}, {text});\n"
    return found


def _json(value: object) -> str:
    """Return JSON that cannot end or open a tag, in ASCII, so that no encoding can change what it says."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _round(value: float | None) -> float | int | None:
    if value is None:
        return None
    rounded = round(value, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def _coded(values: Iterable[Hashable]) -> dict[str, list[Any]]:
    """Return a column of few different values as its values and one number a row."""
    numbers: dict[Hashable, int] = {}
    codes = [numbers.setdefault(value, len(numbers)) for value in values]
    return {"values": list(numbers), "codes": codes}


def _rows(report: Report) -> dict[str, Any]:
    entries = report.entries
    place = {e.entry: i for i, e in enumerate(entries)}
    leader = list(range(len(entries)))
    for e in entries:
        for member in e.members:
            leader[place[member.entry]] = place[e.entry]
    files = [len(e.names) + sum(len(entries[place[m.entry]].names) for m in e.members) for e in entries]
    lists = sorted({name for e in entries for name in e.lists})
    dispositions = sorted({name for e in entries for name in e.dispositions})
    list_number = {name: i for i, name in enumerate(lists)}
    disposition_number = {name: i for i, name in enumerate(dispositions)}
    return {
        "count": len(entries),
        "run_id": report.run_id,
        "snapshots": list(report.snapshots),
        "per_block": DETAILS_PER_BLOCK,
        "lists": lists,
        "dispositions": dispositions,
        "verdicts": {v: {"text": VERDICT_TEXT[v], "meaning": VERDICT_MEANING[v]} for v in VERDICT_ORDER},
        "by_review": _named(report),
        "material": DISPOSITIONS,
        "decisions": DECISIONS,
        "decisions_format": [FORMAT, DECISIONS_VERSION, MAX_NOTE],
        "reasons": {r: reason_text(r) for r in sorted({e.reason for e in entries})},
        "columns": {
            "entry": [e.entry for e in entries],
            "unread": [int(not e.video_id) for e in entries],
            "names": [[n.path for n in e.names] for e in entries],
            "verdict": _coded(e.verdict for e in entries),
            "reason": _coded(e.reason for e in entries),
            "waits": [int(e.in_queue) for e in entries],
            "leads": [int(e.leads) for e in entries],
            "top": [int(e.leads and e.rank < TOP_RANKS) for e in entries],
            "searched": [int(e.still_searched) for e in entries],
            "leader": leader,
            "files": files,
            "view": [_round(e.view_seconds) for e in entries],
            "duration": [_round(e.duration_seconds) for e in entries],
            "novel": [_round(e.novel_seconds) for e in entries],
            "novelty": [_round(e.novelty) for e in entries],
            "value": [_round(e.value) for e in entries],
            "snapshot": _coded(e.snapshot for e in entries),
            "lists": [[list_number[name] for name in e.lists] for e in entries],
            "dispositions": [[disposition_number[name] for name in e.dispositions] for e in entries],
            "known_id": _coded(e.best_known_id for e in entries),
            "known_list": _coded(e.best_known_list for e in entries),
            "known_disposition": _coded(e.best_known_disposition for e in entries),
            "known_series": _coded(e.best_known_series for e in entries),
            "identified": _coded(e.best_known_victim_identified for e in entries),
            "cells": [cells(e) for e in entries],
        },
    }


def _named(report: Report) -> dict[str, str]:
    """Return of the known videos the page names those that decisions made known, with who decided what and when."""
    named = {s.known_video_id for e in report.entries for s in e.stretches}
    return {key: text for key, text in sorted(report.known_by_review.items()) if key in named}


def cells(entry: Entry) -> str:
    """Return the small timeline of `entry`: 30 letters, each the kind that asks for most attention in its time.

    Letters: n novel, s same scene, p known in a part of the picture, x undecoded, u uninformative, k known. Empty where
    the length is unknown.
    """
    if entry.duration_seconds <= 0 or not entry.stretches:
        return ""
    urgency = {kind: i for i, kind in enumerate(KIND_LETTERS)}
    row = [""] * CELLS
    width = entry.duration_seconds / CELLS
    for s in entry.stretches:
        first = min(CELLS - 1, int(s.start_seconds / width + 1e-6))
        # a stretch that ends on an edge stays out of the next cell
        last = max(first, min(CELLS - 1, int(s.end_seconds / width - 1e-6)))
        for i in range(first, last + 1):
            if not row[i] or urgency[_drawn_kind(s)] < urgency[row[i]]:
                row[i] = _drawn_kind(s)
    return "".join(KIND_LETTERS[kind or "undecoded"] for kind in row)


def _drawn_kind(s: Stretch) -> str:
    return "inside" if s.kind == "known" and not s.explained else s.kind


def _details(report: Report) -> Iterable[list[dict[str, Any]]]:
    place = {e.entry: i for i, e in enumerate(report.entries)}
    for start in range(0, len(report.entries), DETAILS_PER_BLOCK):
        yield [_detail(e, place) for e in report.entries[start : start + DETAILS_PER_BLOCK]]


def _detail(entry: Entry, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "why": why(entry),
        "exact": [_exact(n) for n in entry.names],
        "stretches": [_stretch(s) for s in entry.stretches],
        "says": _says(entry),
        "members": [
            [
                place[m.entry],
                place.get(m.evidence_entry or "", -1),
                m.shared_keyframes,
                _round(m.share_of_keyframes),
                _round(m.offset_seconds),
            ]
            for m in entry.members
        ],
        "group": entry.group_id,
        "decoded": _round(entry.decoded_seconds),
        "known": _round(entry.known_seconds),
        "uninformative": _round(entry.uninformative_seconds),
        "unseen": _round(entry.longest_unseen_seconds),
        "keyframes": entry.keyframes,
        "scheme": entry.scheme,
        "sandboxed": entry.sandboxed,
    }


def _says(entry: Entry) -> dict[str, list[list[str]]]:
    """Return for each known video what every list says about it, as [name, words]."""
    told = {entry.best_known_id or "": entry.says} | {s.known_video_id or "": s.says for s in entry.stretches}
    return {video_id: [[one.name, one.text] for one in says] for video_id, says in sorted(told.items()) if says}


def _exact(name: Name) -> str | None:
    """Return the name as a shell takes it, `$'a\\xff'`, where the legible path is not the true one; else None."""
    try:
        raw = base64.b64decode(name.path_raw, validate=True)
    except ValueError:
        return None
    if raw == name.path.encode("utf-8", "surrogatepass"):
        return None
    escaped = "".join(chr(b) if 0x20 <= b < 0x7F and b not in b"\\'" else f"\\x{b:02x}" for b in raw)
    return f"$'{escaped}'"


def _stretch(s: Stretch) -> list[Any]:
    """Return a stretch as the array `detail.js` reads by position; what is unknown at its end is left off."""
    row = [
        _round(s.start_seconds),
        _round(s.end_seconds),
        _drawn_kind(s),
        s.known_video_id,
        s.known_list,
        s.known_disposition,
        s.known_series,
        s.known_victim_identified,
        _round(s.known_start_seconds),
        _round(s.known_end_seconds),
        _round(s.speed),
        s.mirrored,
        _round(s.spatial_share),
        s.proof if s.proof != "none" else None,
        s.frames,
        _round(s.median_distance_bits),
        s.inliers,
        s.evidence,
        s.why_not,
        [_round(edge) for edge in s.cover] if s.cover else None,
        _round(s.look_seconds),
    ]
    while row and row[-1] is None:
        row.pop()
    return row


def _page(
    report: Report,
    settings: ReportSettings,
    *,
    rows: str,
    details: Sequence[str],
    files: Sequence[str],
    pictures: Pictures | None,
) -> str:
    static = resources.files("videonovelty.report") / "static"
    scripts = [(static / name).read_text("utf-8") for name in SCRIPTS]
    styles = [(static / name).read_text("utf-8") for name in STYLES]
    # scripts our own script adds may run in the folder form: the files of details, and nothing else adds any
    script_source = " ".join(_hash(text) for text in scripts) + (" 'strict-dynamic'" if files else "")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {script_source}",
            f"style-src {' '.join(_hash(text) for text in styles)}",
            # the files beside a page from disk are of no origin, so the scheme has to be named
            *(("img-src 'self' file:",) if pictures else ()),
            "base-uri 'none'",
            "form-action 'none'",
            *(() if files else ("require-trusted-types-for 'script'",)),
        )
    )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("videonovelty.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"clock": clock, "spoken": spoken, "reason": reason_text}
    return environment.get_template("report.html.j2").render(
        title=legible(settings.title),
        report=report,
        policy=policy,
        scripts=[Markup(text) for text in scripts],  # noqa: S704  (our own files)
        styles=[Markup(text) for text in styles],  # noqa: S704
        rows=Markup(rows),  # noqa: S704  (no tag can stand in it, see _json)
        details=[Markup(text) for text in details],  # noqa: S704
        files=Markup(_json(list(files))),  # noqa: S704
        funnel=_funnel(report),
        settings_used=_flat(report.settings),
        versions=_flat(report.versions),
        host=_flat(report.host),
        verdict_text=VERDICT_TEXT,
        verdict_meaning=VERDICT_MEANING,
        verdict_order=VERDICT_ORDER,
        decisions=DECISIONS,
        max_note=MAX_NOTE,
    )


def _funnel(report: Report) -> list[dict[str, Any]]:
    """Return the steps of the exposure as label, seconds, share of the intake in percent."""
    e = report.exposure
    steps = (
        ("came in", e.intake_seconds),
        ("without exact copies", e.distinct_seconds),
        ("without cleared videos", e.uncleared_seconds),
        ("one video a group", e.grouped_seconds),
        ("left to view", e.view_seconds),
    )
    whole = e.intake_seconds
    return [{"label": label, "seconds": s, "percent": 100 * s / whole if whole > 0 else 0.0} for label, s in steps]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (`table.key`, text) pairs in their own order."""
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{legible(str(key))}"
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            found.append((name, legible(", ".join(map(str, value)))))
        else:
            found.append((name, legible(value if isinstance(value, str) else json.dumps(value, default=str))))
    return found


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"
