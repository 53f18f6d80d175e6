"""Plain lists of digests: one a line, with or without names; hashdeep; the output of md5sum, sha1sum and sha256sum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from videonovelty.known.formats.lines import MAX_LINE, lines
from videonovelty.known.formats.reading import RangeEnd, ReadOptions
from videonovelty.known.listed import BadRow, LeftOut, Listed, ListedItem, digest

KIND_OF_LENGTH = {32: "md5", 40: "sha1", 64: "sha256"}
HASHDEEP = "%%%% HASHDEEP"
_HASHDEEP_COLUMNS = {"md5": "md5", "sha1": "sha1", "sha256": "sha256", "sha-256": "sha256"}
PLAIN = re.compile(r"\s*\\?([0-9a-fA-F]+)(?:\s.*)?", re.DOTALL)
BSD = re.compile(r"(?:MD5|SHA1|SHA256)\s*\(.*\)\s*=\s*([0-9a-fA-F]+)\s*", re.DOTALL)


def read(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield one entry a line; comments (`#`) and empty lines are passed over. A digest's length says what it is."""
    del path, options
    for at, text in lines(file, start):
        where = f"byte {at:,}"
        if text is None:
            yield BadRow(at, where, f"a line longer than {MAX_LINE:,} bytes")
            continue
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        match = PLAIN.fullmatch(text) or BSD.fullmatch(text)
        kind = KIND_OF_LENGTH.get(len(match[1])) if match else None
        if match is None or kind is None:
            yield BadRow(at, where, f"no MD5, SHA-1 or SHA-256: {text[:60]!r}")
            continue
        value = digest(match[1], kind)
        if not value:
            yield LeftOut(at, "the digest of an empty file")
        elif kind == "md5":
            yield ListedItem(at, md5=value)
        elif kind == "sha1":
            yield ListedItem(at, sha1=value)
        else:
            yield ListedItem(at, sha256=value)


def read_hashdeep(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield one entry a line of a hashdeep file, whose header names the columns; file names are not kept."""
    del path, options
    columns: list[str] = []
    for at, text in lines(file, 0):
        if text is not None and text.startswith("%%%%"):
            if not text.startswith(HASHDEEP):
                columns = [_HASHDEEP_COLUMNS.get(name.strip().lower(), "") for name in text[4:].split(",")]
            continue
        if at < start or (text is not None and (not text.strip() or text.startswith("#"))):
            continue
        where = f"byte {at:,}"
        if text is None:
            yield BadRow(at, where, f"a line longer than {MAX_LINE:,} bytes")
            continue
        parts = text.split(",", max(0, len(columns) - 1))
        if len(parts) < len(columns) or not any(columns):
            yield BadRow(at, where, "fewer columns than the header names" if columns else "no header names the columns")
            continue
        try:
            found = {kind: digest(part, kind) for kind, part in zip(columns, parts, strict=False) if kind}
        except ValueError as error:
            yield BadRow(at, where, str(error))
            continue
        yield ListedItem(at, **found) if any(found.values()) else LeftOut(at, "no digest to compare")  # type: ignore[arg-type]


def lines_of(digests: Iterator[str]) -> Iterator[bytes]:
    """Return a plain list, one digest a line."""
    return (value.encode() + b"\n" for value in digests)
