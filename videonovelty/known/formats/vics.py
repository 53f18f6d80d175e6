"""Project VIC's VICS, versions 1.x and 2.0, as Griffeye, X-Ways and others write it; NIST's CAID set has its shape.

A file is one JSON object, often one line of gigabytes: `value` holds media, or cases with their media inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from videonovelty.errors import SettingsError
from videonovelty.known.formats.json_stream import JsonError, JsonStream
from videonovelty.known.formats.reading import RangeEnd, ReadOptions, answer_of, tags_of, text_of, unread
from videonovelty.known.listed import (
    KNOWN_QUALITY,
    UNTIMED,
    BadRow,
    LeftOut,
    Listed,
    ListedFrames,
    ListedItem,
    digest,
    frames_of_rows,
)
from videonovelty.settings import ListSettings

CONTEXT_2 = "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/{country}/$metadata#Media"
_CONTEXT = re.compile(r'"@?odata\.(?:context|metadata)"\s*:\s*"((?:[^"\\]|\\.){0,300})"')
_COUNTRY = re.compile(r"\d\.xml/([A-Za-z]{2,12})/")
_NAMED_DIGESTS = {"MD5": "md5", "SHA1": "sha1", "SHA-1": "sha1", "SHA256": "sha256", "SHA-256": "sha256", "PDQ": "pdq"}
UNJUDGED = "unjudged"


def read(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield one entry a media item. Raises SettingsError where the settings name no such country."""
    del path
    head = file.read(1 << 16).decode("utf-8", "replace").replace("\0", "")
    match = _CONTEXT.search(head)
    context = match[1].replace("\\/", "/") if match else ""
    categories = _Categories(options.settings, context)
    stream = JsonStream(file, start)
    try:
        if start:
            yield from _values(stream, categories, cases="#Cases" in context, inside=True)
            return
        if stream.peek() == "[":
            yield from _values(stream, categories, cases=False)
            return
        for key in stream.fields():
            if key in ("value", "Media") and stream.peek() == "[":
                yield from _values(stream, categories, cases="#Cases" in context and key == "value")
            else:
                stream.skip()
        if stream.peek():
            yield BadRow(stream.offset, f"byte {stream.offset:,}", "something stands behind the document's end")
    except JsonError as error:
        yield unread(stream.offset, f"byte {stream.offset:,}", f"not JSON: {error}")


def _values(
    stream: JsonStream, categories: _Categories, *, cases: bool, inside: bool = False
) -> Iterator[ListedItem | BadRow | LeftOut]:
    for at in stream.elements(inside=inside):
        if cases:
            yield from _case(stream, categories, at)
        else:
            yield from _media(stream, categories, at)


def _case(stream: JsonStream, categories: _Categories, at: int) -> Iterator[ListedItem | BadRow | LeftOut]:
    if stream.peek() != "{":
        yield BadRow(at, f"byte {at:,}", "a case is no object")
        stream.skip()
        return
    for key in stream.fields():
        if key == "Media" and stream.peek() == "[":
            for _ in stream.elements():
                yield from _media(stream, categories, at)
        else:
            stream.skip()


def _media(stream: JsonStream, categories: _Categories, at: int) -> Iterator[ListedItem | BadRow | LeftOut]:
    """Yield what the media item at the stream's place says; `at` is where reading can begin again."""
    place = stream.offset
    try:
        media = stream.value()
    except JsonError as error:
        yield BadRow(at, f"byte {place:,}", str(error))
        stream.skip()
        return
    if not isinstance(media, dict):
        yield BadRow(at, f"byte {place:,}", "a media item is no object")
        return
    nested = media.get("Media")
    if isinstance(nested, list):  # a case, in a file that does not say it holds cases
        for one in nested:
            yield (
                _entry(at, place, one, categories)
                if isinstance(one, dict)
                else BadRow(at, f"byte {place:,}", "a media item is no object")
            )
        return
    yield _entry(at, place, media, categories)


def _entry(at: int, place: int, media: Mapping[str, Any], categories: _Categories) -> ListedItem | BadRow | LeftOut:
    try:
        found = {
            "md5": digest(media.get("MD5"), "md5"),
            "sha1": digest(media.get("SHA1"), "sha1"),
            "sha256": digest(media.get("SHA256"), "sha256"),
        }
        frames = None
        others = media.get("AlternativeHashes")
        if isinstance(others, list):
            frames = _alternative(others, found)
        disposition, category = categories.meaning(media.get("Category"))
    except ValueError as error:
        return BadRow(at, f"byte {place:,}", str(error))
    if not any(found.values()) and frames is None:
        return LeftOut(at, "no digest to compare")
    if disposition == UNJUDGED:
        return LeftOut(at, "nobody has judged it (category 0, or none)")
    if answer_of(media.get("IsSuspected")) == "yes":
        return LeftOut(at, "only suspected, nobody has judged it")
    return ListedItem(
        at,
        md5=found["md5"],
        sha1=found["sha1"],
        sha256=found["sha256"],
        frames=frames,
        entry=text_of(media.get("MediaID")),
        time=text_of(media.get("DateUpdated")),
        disposition=disposition,
        series=text_of(media.get("Series")),
        category=category,
        victim_identified=answer_of(media.get("VictimIdentified")),
        offender_identified=answer_of(media.get("OffenderIdentified")),
        distributed=answer_of(media.get("IsDistributed")),
        tags=tags_of(media.get("Tags")),
    )


def _alternative(others: list[Any], found: dict[str, str]) -> ListedFrames | None:
    frames = None
    for other in others[:50]:
        if not isinstance(other, dict):
            continue
        kind = _NAMED_DIGESTS.get(str(other.get("HashName")).upper())
        if kind == "pdq":
            code = digest(other.get("HashValue"), "pdq")
            frames = frames_of_rows(iter([(0.0, code, KNOWN_QUALITY)]), UNTIMED) if code else None
        elif kind and not found[kind]:
            found[kind] = digest(other.get("HashValue"), kind)
    return frames


def categories_of(settings: ListSettings, country: str = "") -> tuple[str, dict[str, tuple[str, str]]]:
    """Return a country and what its category numbers mean: number → (disposition, name).

    It is the settings' country, else `country`, which a file names, else US. Raises SettingsError for one that
    `lists.categories` does not have: the same number is abuse here and harmless there.
    """
    tables: dict[str, dict[str, tuple[str, str]]] = {}
    for text in settings.categories:
        parts = text.split(None, 3)
        if len(parts) < 3 or parts[2] not in ("abuse", "benign", "other", UNJUDGED):
            raise SettingsError(
                f"lists.categories: {text!r} is not country, number, then abuse, benign, other or unjudged, and a name."
            )
        tables.setdefault(parts[0].upper(), {})[parts[1]] = (parts[2], parts[3] if len(parts) > 3 else "")
    chosen = settings.country.upper() or country.upper() or "US"
    if chosen not in tables:
        who = "lists.country" if settings.country else "the file's categories are those of"
        raise SettingsError(
            f"{who}: {chosen}: lists.categories has {', '.join(tables) or 'none'}. Add what its numbers mean, or say "
            "with lists.country whose they are."
        )
    return chosen, tables[chosen]


class _Categories:
    """What category numbers mean in one file: (disposition, text) by number."""

    def __init__(self, settings: ListSettings, context: str) -> None:
        match = _COUNTRY.search(context)
        country, table = categories_of(settings, match[1] if match else "")
        self._known: dict[object, tuple[str, str]] = {None: (UNJUDGED, "")}
        for number, (disposition, name) in table.items():
            meaning = (disposition, f"{country} {number} {name}".strip())
            self._known[number] = meaning
            if number.isdigit():
                self._known[int(number)] = meaning

    def meaning(self, category: object) -> tuple[str, str]:
        """Return disposition and text of a category; a number the table does not have counts as not judged."""
        if isinstance(category, str):
            category = category.strip() or None
        if isinstance(category, float) and category.is_integer():
            category = int(category)
        if category is not None and not isinstance(category, str | int):
            raise ValueError(f"category {str(category)[:40]!r} is no number")
        return self._known.get(category, (UNJUDGED, ""))


def read_caid(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield the entries of a NIST CAID file: a set of harmless files, whose category numbers do not matter."""
    told = ListSettings(country="NIST", categories=tuple(f"NIST {n} benign CAID" for n in range(10)))
    yield from read(path, file, ReadOptions(told, options.columns), start)


def media_text(media: Mapping[str, Any]) -> bytes:
    """Return one media item as JSON."""
    return json.dumps(media, ensure_ascii=True, allow_nan=False).encode()


def document(items: Iterator[Mapping[str, Any]], *, country: str) -> Iterator[bytes]:
    """Return a VICS 2.0 document of media items, piece by piece."""
    context = json.dumps(CONTEXT_2.format(country=country))
    yield b'{"@odata.context":' + context.encode() + b',"value":['
    between = b"\n"
    for item in items:
        yield between + media_text(item)
        between = b",\n"
    yield b"\n]}\n"
