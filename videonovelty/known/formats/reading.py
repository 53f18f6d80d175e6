"""What every reader of a list works with: the file, what the import was told, and plain values made of odd ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from videonovelty.known.listed import BadRow, Listed
from videonovelty.settings import ListSettings

TRUE = frozenset({"true", "yes", "y", "1", "t"})
FALSE = frozenset({"false", "no", "n", "0", "f"})
MAX_TEXT = 500
"""Longest text of a list that is kept: series, category, tag, id."""
MAX_TAGS = 50


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What an import was told about its files."""

    settings: ListSettings = field(default_factory=ListSettings)
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name of a column → its name in the file, for CSV files with names of their own."""


@dataclass(frozen=True, slots=True)
class RangeEnd:
    """The end of a feed's page: whether the time range it is part of is exhausted, and until when that reaches."""

    at: int
    exhausted: bool
    until: str


Reader = Callable[[Path, BinaryIO, ReadOptions, int], Iterator[Listed | RangeEnd]]
"""`read(path, file, options, start)`: the entries of a file from `start` on, which is 0 or an `at` it gave before."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of list."""

    name: str
    what: str
    read: Reader
    disposition: str = ""
    """What its entries are where neither they nor the import say."""
    resumable: bool = True
    """Reading can begin at any `at`."""


def unread(at: int, where: str, problem: str) -> BadRow:
    """Return the bad row that ends a file: what follows it was not read."""
    return BadRow(at, where, f"{problem}; the rest of the file was not read", ends_file=True)


def text_of(value: object) -> str:
    """Return a list's text as one line of at most `MAX_TEXT` characters that Parquet can hold; empty for none."""
    if value is None or isinstance(value, bool | dict | list):
        return ""
    text = value if isinstance(value, str) else str(value)
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.strip()


def answer_of(value: object) -> str:
    """Return `yes`, `no` or `unknown` for what lists write: true, "True", 1, "no", nothing."""
    if value is None or value == "":
        return "unknown"
    text = str(value).strip().lower()
    if text in TRUE:
        return "yes"
    return "no" if text in FALSE else "unknown"


def tags_of(value: object) -> tuple[str, ...]:
    """Return tags of a list or of text with commas or semicolons."""
    if not value:
        return ()
    parts = value if isinstance(value, list) else str(value)[: MAX_TEXT * MAX_TAGS].replace(";", ",").split(",")
    return tuple(dict.fromkeys(text for text in (text_of(part) for part in parts[:MAX_TAGS]) if text))
