"""NCMEC's hash sharing, version 2: XML pages of entries and tombstones, as the API answers `GET /v2/entries`.

Entries stand in no order of time, so only an exhausted time range is a point to go on from: `RangeEnd` says whether
the page was the last of its range. The parser takes no entities and no document type, and lets go of what it has read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

from videonovelty.known.formats.reading import RangeEnd, ReadOptions, text_of, unread
from videonovelty.known.listed import (
    KNOWN_QUALITY,
    UNTIMED,
    BadRow,
    LeftOut,
    Listed,
    ListedItem,
    Withdrawal,
    digest,
    frames_of_rows,
    unix_seconds,
    utc_text,
)

NAMESPACE = "https://hashsharing.ncmec.org/hashsharing/v2"
CHUNK = 1 << 16
MAX_DEPTH = 40
MAX_TOKEN = 1 << 20
"""Longest single tag, comment or run of text the parser may hold."""
MAX_VALUE = 1 << 12
_ENTRIES = {"image", "video", "other", "deletedImage", "deletedVideo", "deletedOther"}
_FIELDS = {"member", "timestamp", "id", "classification"}


class _RefusedError(ValueError):
    """The document holds what no list needs."""


@dataclass(slots=True)
class _Entry:
    at: int
    tag: str
    member: str = ""
    values: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    votes: dict[str, int] = field(default_factory=lambda: {"affirmativeFeedback": 0, "negativeFeedback": 0})


def read(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield the entries and tombstones of one page, then its `RangeEnd`; a page is small and always read whole."""
    del path, start
    page = _Page(downvotes=options.settings.withdraw_downvoted)
    fed = 0
    try:
        while data := file.read(CHUNK):
            fed += len(data)
            page.parser.Parse(data, False)
            yield from page.drain()
            if fed - page.parser.CurrentByteIndex > MAX_TOKEN:
                raise _RefusedError(f"a tag, comment or name longer than {MAX_TOKEN:,} bytes")
        page.parser.Parse(b"", True)
    except expat.ExpatError as error:
        yield from page.drain()
        at = page.parser.ErrorByteIndex
        yield unread(max(at, 0), f"line {error.lineno:,}", f"not XML: {expat.errors.messages.get(error.code, error)}")
        return
    except (LookupError, ValueError) as error:  # refused by us, or written in an encoding nobody knows
        yield from page.drain()
        yield unread(fed, f"byte {max(page.parser.CurrentByteIndex, 0):,}", str(error))
        return
    yield from page.drain()
    if not page.is_result:
        yield unread(0, "byte 0", "no <queryResult> of NCMEC's hash sharing")
        return
    yield RangeEnd(fed, not page.more, utc_text(page.newest) if page.newest else "")


class _Page:
    """The state of one page: where the parser is, the entry it is in, and what is ready to be given on."""

    def __init__(self, *, downvotes: bool) -> None:
        self._downvotes = downvotes
        self.is_result, self.more, self.newest = False, False, 0
        self._path: list[str] = []
        self._text: list[str] = []
        self._held = 0
        self._entry: _Entry | None = None
        self._ready: deque[Listed] = deque()
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = _refuse
        self.parser.EntityDeclHandler = _refuse
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def drain(self) -> Iterator[Listed]:
        """Yield what is complete."""
        while self._ready:
            yield self._ready.popleft()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        if len(self._path) >= MAX_DEPTH:
            raise _RefusedError(f"elements nested more than {MAX_DEPTH} deep")
        inside = self._path[-1] if self._path else ""
        self._path.append(tag)
        self._text, self._held = [], 0
        if len(self._path) == 1:
            self.is_result = tag == "queryResult"
        elif len(self._path) == 2 and "maxTimestamp" in attributes:
            self.newest = max(self.newest, unix_seconds(attributes["maxTimestamp"][:MAX_VALUE]))
        elif tag in _ENTRIES and len(self._path) == 3 and self.is_result:
            self._entry = _Entry(max(self.parser.CurrentByteIndex, 0), tag)
        elif self._entry is not None:
            if tag == "member" and inside == self._entry.tag:
                self._entry.member = text_of(attributes.get("id", "")[:MAX_VALUE])
            elif tag in self._entry.votes:
                self._entry.votes[tag] += 1
            elif tag == "member":
                voted = next((t for t in reversed(self._path[:-1]) if t in self._entry.votes), None)
                if voted:
                    self._entry.votes[voted] += 1

    def _characters(self, text: str) -> None:
        if self._held < MAX_VALUE:
            self._text.append(text)
            self._held += len(text)

    def _end(self, name: str) -> None:
        del name
        tag = self._path.pop()
        inside = self._path[-1] if self._path else ""
        text = "".join(self._text).strip()[:MAX_VALUE]
        self._text, self._held = [], 0
        entry = self._entry
        if tag == "next" and inside == "paging" and text:
            self.more = True
        elif entry is None:
            return
        elif len(self._path) == 2 and tag == entry.tag:
            self._ready.append(self._finished(entry))
            self._entry = None
        elif tag in _FIELDS and inside == entry.tag:
            entry.values[tag] = text
        elif inside == "fingerprints" and tag.lower() in ("md5", "sha1", "pdq"):
            entry.digests[tag.lower()] = text

    def _finished(self, entry: _Entry) -> Listed:
        where = f"byte {entry.at:,}"
        identity, time = text_of(entry.values.get("id")), text_of(entry.values.get("timestamp"))
        if not identity or not entry.member:
            return BadRow(entry.at, where, "an entry without id or member")
        if entry.tag.startswith("deleted"):
            return Withdrawal(entry.at, identity, entry.member, time)
        # an element stands for a vote of its own, and each member in it for one more
        if self._downvotes and entry.votes["negativeFeedback"] > entry.votes["affirmativeFeedback"]:
            return Withdrawal(entry.at, identity, entry.member, time)
        try:
            md5, sha1, pdq = (digest(entry.digests.get(kind), kind) for kind in ("md5", "sha1", "pdq"))
        except ValueError as error:
            return BadRow(entry.at, where, str(error))
        if not (md5 or sha1 or pdq):
            return LeftOut(entry.at, "no digest to compare")
        frames = frames_of_rows(iter([(0.0, pdq, KNOWN_QUALITY)]), UNTIMED) if pdq else None
        return ListedItem(
            entry.at,
            md5=md5,
            sha1=sha1,
            frames=frames,
            member=entry.member,
            entry=identity,
            time=time,
            category=text_of(entry.values.get("classification")),
            tags=(text_of(entry.values["member"]),) if entry.values.get("member") else (),
        )


def _refuse(*_: Any) -> None:
    raise _RefusedError("a document type or entities, which hash lists do not have")
