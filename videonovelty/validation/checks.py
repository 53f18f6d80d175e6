"""From tables and facts to cases: pure functions, so that each can be shown a night that breaks its rule."""

from __future__ import annotations

import base64
import html
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videonovelty.validation.material import (
    BROKEN,
    COPY,
    HOSTILE,
    NAMED,
    NEW,
    ODD,
    SPLICE,
    TAKE,
    Made,
)
from videonovelty.validation.requirements import Case

Row = dict[str, Any]

TOLERATED_NEW_SECONDS = 0.5
"""A stretch ends between two looked-at pictures, so half a second of new footage may lie before its end is noticed; of
new footage that is shorter than a second, half."""
LARGEST_GAP = 1e-6
MATCHING_BITS = 31
"""At which PDQ's authors call two pictures the same."""


@dataclass(frozen=True, slots=True)
class Night:
    """What a finished scan left, and what was scanned."""

    made: Sequence[Made]
    rows: Mapping[str, Sequence[Row]]
    """Rows of `verdicts` by path below the intake."""
    segments: Mapping[str, Sequence[Row]]
    """Rows of `segments` by content id, in order."""
    known: Mapping[str, str]
    """Content id of each known video → its name."""

    def row(self, made: Made) -> Row | None:
        """Return the row of an entry; None when there is none or more than one."""
        rows = self.rows.get(made.name, ())
        return rows[0] if len(rows) == 1 else None

    def of(self, *kinds: str) -> Iterator[tuple[Made, Row | None]]:
        """Yield the entries of these kinds with their rows."""
        return ((made, self.row(made)) for made in self.made if made.kind in kinds)


def name_of(row: Row, intake: Path) -> str:
    """Return the path of a row below `intake`."""
    return os.path.relpath(os.fsdecode(base64.b64decode(row["path_raw"])), intake)


def told(row: Row | None) -> str:
    """Return in a few words what a row says."""
    if row is None:
        return "no row of its own"
    return f"{row['verdict']}, {row['reason']}"


# ---- R1 --------------------------------------------------------------------------------------------------------------


def new_videos_stay(night: Night) -> Iterator[Case]:
    """Yield R1.1 and R1.2: no new footage is explained by known footage."""
    for made, row in night.of(NEW, TAKE):
        shown = row is not None and row["needs_review"] and row["verdict"] not in ("known", "partly_known")
        assertion = "R1.1" if made.kind == NEW else "R1.2"
        yield Case(assertion, _named(made), "in the queue, nothing proven known", told(row), bool(shown))


def new_seconds_stay(night: Night) -> Iterator[Case]:
    """Yield R1.3: new seconds in known footage are shown."""
    for made, row in night.of(SPLICE):
        hidden = sum(
            max(0.0, min(s["end_seconds"], end) - max(s["start_seconds"], start))
            for s in night.segments.get(row["video_id"] if row else "", ())
            if s["kind"] == "known"
            for start, end in made.new
        )
        seconds = sum(end - start for start, end in made.new)
        tolerated = min(TOLERATED_NEW_SECONDS, seconds / 2)
        passed = row is not None and row["verdict"] != "known" and row["needs_review"]
        yield Case(
            "R1.3",
            _named(made),
            f"in the queue; at most {tolerated:g} of {seconds:g} new seconds called known",
            f"{told(row)}; {hidden:.2f} s called known",
            bool(passed and hidden <= tolerated),
        )


def unusable_stay(night: Night) -> Iterator[Case]:
    """Yield R1.4: what can not be compared is a row with a reason."""
    for made, row in night.of(BROKEN, HOSTILE, ODD):
        passed = row is not None and row["needs_review"] and row["verdict"] != "known" and bool(row["reason"])
        yield Case("R1.4", _named(made), "in the queue, with a reason", told(row), bool(passed))


def rows_are_consistent(night: Night) -> Iterator[Case]:
    """Yield R1.5: only `known` leaves the queue, and the stretches of a video tile it."""
    rows = [row for some in night.rows.values() for row in some]
    wrong = [row["path"] for row in rows if row["needs_review"] == (row["verdict"] == "known")]
    yield Case(
        "R1.5",
        f"{len(rows)} rows",
        "needs review unless known",
        f"{len(wrong)} otherwise{_some(wrong)}",
        bool(rows) and not wrong,
    )
    durations = {row["video_id"]: row["duration_seconds"] for row in rows}
    torn = []
    for video_id, segments in night.segments.items():
        edges = [0.0, *(s["end_seconds"] for s in segments)]
        starts = [*(s["start_seconds"] for s in segments), durations.get(video_id) or 0.0]
        if any(abs(a - b) > LARGEST_GAP for a, b in zip(edges, starts, strict=True)):
            torn.append(video_id[:16])
    yield Case(
        "R1.5",
        f"{len(night.segments)} videos",
        "stretches from 0 to the end without gap or overlap",
        f"{len(torn)} otherwise{_some(torn)}",
        bool(night.segments) and not torn,
    )


# ---- R2 --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EntryFacts:
    """What `lstat` and the bytes say of one entry of a folder."""

    sha256: str
    """Empty for what has no bytes of its own: links, pipes, folders."""
    size: int
    mode: int
    modified_ns: int


Facts = Mapping[str, EntryFacts]


def unaltered(assertion: str, what: str, before: Facts, after: Facts) -> Case:
    """Return a case: the entries of a folder are what they were."""
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Case(
        assertion,
        f"{what}, {len(before)} entries",
        "the same before and after",
        f"{len(changed)} changed{_some(changed)}",
        bool(before) and not changed,
    )


def every_entry_is_a_row(night: Night, rows_in_all: int) -> Iterator[Case]:
    """Yield R2.2: each entry one row, no row besides."""
    counts = Counter({name: len(rows) for name, rows in night.rows.items()})
    wrong = [f"{made.name!r} {counts[made.name]} times" for made in night.made if counts[made.name] != 1]
    yield Case("R2.2", f"{len(night.made)} entries", "one row each", f"{len(wrong)} otherwise{_some(wrong)}", not wrong)
    extra = rows_in_all - len(night.made)
    yield Case("R2.2", f"{rows_in_all} rows", f"{len(night.made)}, as many as entries", f"{extra:+d}", extra == 0)


def ids_are_digests(night: Night, facts: Facts) -> Case:
    """Return R2.3, against digests computed here."""
    wrong = [
        made.name
        for made in night.made
        if (fact := facts.get(made.name)) is not None
        and fact.sha256
        and fact.size
        and (row := night.row(made)) is not None
        and row["video_id"] != fact.sha256
    ]
    n = sum(bool(fact.sha256) for fact in facts.values())
    return Case("R2.3", f"{n} files", "SHA-256 of the bytes", f"{len(wrong)} otherwise{_some(wrong)}", not wrong)


def private(facts: Mapping[str, Facts]) -> Iterator[Case]:
    """Yield R2.5 for every folder named."""
    for what, entries in facts.items():
        loose = [f"{name} {fact.mode & 0o7777:o}" for name, fact in entries.items() if fact.mode & 0o077]
        yield Case(
            "R2.5",
            f"{what}, {len(entries)} files and folders",
            "no access for others",
            f"{len(loose)} otherwise{_some(loose)}",
            bool(entries) and not loose,
        )


# ---- R3 --------------------------------------------------------------------------------------------------------------


def copies_are_cleared(night: Night) -> Iterator[Case]:
    """Yield R3.1 and R3.2, an edit at a time."""
    for made, row in night.of(COPY, NAMED):
        named = night.known.get((row or {}).get("best_known_id") or "", "nobody")
        cleared = row is not None and row["verdict"] == "known"
        if made.kind == COPY:
            expected, passed = f"known, from {made.source}", cleared and named == made.source
        else:
            expected, passed = f"{made.source} named", named == made.source
        known = f"; {row['known_seconds'] or 0:.1f} of {row['duration_seconds'] or 0:.1f} s known" if row else ""
        assertion = "R3.1" if made.kind == COPY else "R3.2"
        yield Case(assertion, _named(made), expected, f"{told(row)}; {named} named{known}", passed)


# ---- R4 --------------------------------------------------------------------------------------------------------------


def layers_hold(checks: Sequence[Mapping[str, str]]) -> Iterator[Case]:
    """Yield R4.1 and R4.2 from what `doctor --json` printed."""
    for wanted, assertion, least in (("sandbox: ", "R4.1", 6), ("watched limit: ", "R4.2", 3)):
        found = [check for check in checks if check["name"].startswith(wanted)]
        for check in found:
            yield Case(assertion, check["name"], "ok", f"{check['status']}: {check['detail']}", check["status"] == "ok")
        if len(found) < least:
            yield Case(assertion, wanted.strip(": "), f"at least {least} checks", f"{len(found)} made", False)


def hostile_files_reach_nothing(night: Night, connections: int, leaked: Sequence[str]) -> Iterator[Case]:
    """Yield R4.3: `connections` counts who came to the loopback port, `leaked` names files that hold the secret."""
    for made, row in night.of(HOSTILE):
        passed = row is not None and row["verdict"] not in ("known", "partly_known")
        if made.source:  # damaged copies of a known video may be explained in part, never cleared
            passed = row is not None and row["verdict"] != "known"
        yield Case("R4.3", _named(made), "a row, not known", told(row), bool(passed))
    yield Case("R4.3", "connections to a loopback port", "none", str(connections), connections == 0)
    yield Case(
        "R4.3",
        "content of a file beside the playlists",
        "nowhere",
        f"in {len(leaked)} files{_some(leaked)}",
        not leaked,
    )


def all_locked(night: Night) -> Case:
    """Return R4.4."""
    rows = [row for some in night.rows.values() for row in some]
    loose = [row["path"] for row in rows if not row["sandboxed"]]
    return Case(
        "R4.4", f"{len(rows)} rows", "sandboxed", f"{len(loose)} otherwise{_some(loose)}", bool(rows) and not loose
    )


# ---- R5, R9 ----------------------------------------------------------------------------------------------------------


def same_tables(assertion: str, name: str, one: Mapping[str, bytes], other: Mapping[str, bytes]) -> Case:
    """Return a case: two runs wrote the same bytes; tables by name."""
    differing = sorted(table for table in one.keys() | other.keys() if one.get(table) != other.get(table))
    return Case(
        assertion,
        name,
        f"{len(one)} tables equal, byte for byte",
        f"{len(differing)} differ{_some(differing)}",
        bool(one) and not differing,
    )


# ---- R7 --------------------------------------------------------------------------------------------------------------


def pdq_agrees(ours: Mapping[str, Sequence[str]], reference: Mapping[str, str]) -> Iterator[Case]:
    """Yield R7.1: `ours` holds the codes of each still video's keyframes, `reference` its picture's, as hex digits."""
    for name, code in reference.items():
        found = ours.get(name, ())
        bits = [_bits(one, code) for one in found]
        others = [_bits(one, other) for one in found for key, other in reference.items() if key != name]
        passed = bool(bits) and max(bits) <= MATCHING_BITS and min(others, default=256) > 2 * MATCHING_BITS
        told_ = f"{max(bits)} bits apart; nearest other picture {min(others)}" if bits and others else "no keyframe"
        yield Case("R7.1", name, f"at most {MATCHING_BITS} bits from the reference", told_, passed)


def _bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


# ---- R8 --------------------------------------------------------------------------------------------------------------


def rests_on(night: Night, removed: str) -> set[str]:
    """Return the paths below the intake whose verdict rests on a known video: what R8.1 must list."""
    resting = {
        video_id
        for video_id, segments in night.segments.items()
        if any(s["kind"] == "known" and s["known_video_id"] == removed for s in segments)
    }
    return {
        name
        for name, rows in night.rows.items()
        for row in rows
        if row["verdict"] in ("known", "partly_known")
        and (row["video_id"] in resting or (row["reason"] == "same_bytes" and row["best_known_id"] == removed))
    }


def fallen(expected: set[str], listed: set[str]) -> Case:
    """Return R8.1."""
    wrong = sorted(expected ^ listed)
    return Case(
        "R8.1",
        f"{len(expected)} verdicts rest on it",
        "exactly these listed",
        f"{len(listed)} listed; {len(wrong)} wrong{_some(wrong)}",
        bool(expected) and not wrong,
    )


# ---- R11 -------------------------------------------------------------------------------------------------------------

_OUTSIDE = re.compile(
    r"(?:src|href|action)\s*=\s*[\"']?(?!#|data:)[^\"'\s>]+|url\(\s*[\"']?(?!#|data:)|@import|https?://"
)
_POLICY = re.compile(r"http-equiv=\"?Content-Security-Policy\"?\s+content=\"([^\"]*)\"")


def page_is_closed(page: str) -> Iterator[Case]:
    """Yield R11.1 for the text of a report."""
    policy = html.unescape(match[1]) if (match := _POLICY.search(page)) else ""
    yield Case("R11.1", "policy", "default-src 'none'", policy[:80] or "none", "default-src 'none'" in policy)
    # what scripts and data hold is text, not markup; the policy keeps it from loading anything
    markup = re.sub(r"(<script[^>]*>).*?(</script>)", r"\1\2", page, flags=re.DOTALL)
    outside = _OUTSIDE.findall(markup)
    yield Case("R11.1", "references", "none", f"{len(outside)}{_some(outside)}", not outside)


_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM6", b"II*\0", b"MM\0*")


def no_pictures(heads: Mapping[str, bytes]) -> Case:
    """Return R11.2: `heads` holds the first bytes of every file."""
    found = sorted(name for name, head in heads.items() if head.startswith(_PICTURES))
    return Case("R11.2", f"{len(heads)} files", "no picture", f"{len(found)}{_some(found)}", bool(heads) and not found)


# ---- words -----------------------------------------------------------------------------------------------------------


def _named(made: Made) -> str:
    return f"{made.name.encode('unicode_escape', 'surrogateescape').decode('ascii', 'replace')}: {made.what}"


def _some(names: Sequence[Any]) -> str:
    return (": " + ", ".join(map(str, names[:3])) + (" …" if len(names) > 3 else "")) if names else ""


def by_video(segments: Sequence[Row]) -> dict[str, list[Row]]:
    """Return rows of `segments` by content, in the order of time."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in segments:
        found[row["video_id"]].append(row)
    return {video_id: sorted(rows, key=lambda row: row["start_seconds"]) for video_id, rows in found.items()}
