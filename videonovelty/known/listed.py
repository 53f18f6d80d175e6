"""What a list from outside says: entries that carry digests or frame hashes, never pictures, and withdrawals of them.

A listed content is known by the best digest the list gives. Where that is not its SHA-256, its id in the store is
derived from what there is, so that the same entry always has the same id; `Snapshot.lookup` finds it by MD5 and SHA-1.
"""

from __future__ import annotations

import calendar
import hashlib
import math
import re
import time as clock
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.records import PDQ_BYTES, U8

TIMED = "listed-pdq"
THREE_DIGITS = "listed-pdq+3digits"
UNTIMED = "listed-pdq+untimed"
LISTED_SCHEMES = (TIMED, THREE_DIGITS, UNTIMED)
"""Schemes of frame hashes that came with a list, by what their times are worth: exact to a millisecond, written with
three significant digits (threatexchange's vPDQ JSON: 3,723.5 s stands there as 3,720), or none at all."""
MAX_SECONDS = 2_000_000
"""Times of listed frames lie below this: 23 days, what the store can hold."""
KNOWN_QUALITY = 100
"""Stands for the quality of a code whose list states none."""
DIGEST_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "pdq": 64}
EMPTY_DIGESTS = frozenset(getattr(hashlib, name)(b"").hexdigest() for name in ("md5", "sha1", "sha256"))
"""Digests of the empty file: they are in many lists, and say nothing about any video."""
_HEX = re.compile("[0-9a-f]+")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?\s*(?:Z|UTC|([+-])(\d\d):?(\d\d))?", re.ASCII
)


@dataclass(frozen=True, slots=True, eq=False)
class ListedFrames:
    """Frame hashes of one content, as its list has them."""

    scheme: str
    t_ms: npt.NDArray[np.int32]
    """Shape (n,), ascending; zeros where the list has no times."""
    pdq: U8
    """Shape (n, 32), PDQ's own bit order."""
    quality: U8
    """Shape (n,)."""

    def informative(self, min_quality: int) -> npt.NDArray[np.bool_]:
        """Tell which frames can say something: of enough quality, and with about half their bits set as PDQ has."""
        ones = np.bitwise_count(self.pdq).sum(axis=1)
        return np.asarray((self.quality >= min_quality) & (ones > 64) & (ones < 192))


@dataclass(frozen=True, slots=True)
class ListedItem:
    """One entry of a list. Digests are lower-case hex; what the list does not say is empty."""

    at: int
    """Where it stands: byte offset, line or row, as the format counts."""
    md5: str = ""
    sha1: str = ""
    sha256: str = ""
    frames: ListedFrames | None = None
    member: str = ""
    """The organisation that listed it, within a feed of several: its entries become a list of their own."""
    entry: str = ""
    """Its id in the list."""
    time: str = ""
    disposition: str = ""
    """Empty: what the import says."""
    series: str = ""
    category: str = ""
    victim_identified: str = "unknown"
    offender_identified: str = "unknown"
    distributed: str = "unknown"
    tags: tuple[str, ...] = ()
    duration_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An entry its list takes back: a tombstone, or an entry voted down."""

    at: int
    entry: str
    member: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used."""

    at: int
    where: str
    """For people: `byte 3,004`, `row 12`."""
    problem: str
    ends_file: bool = False
    """Nothing after it could be read."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sound row that is no known video: nobody has judged it, or there is nothing to compare."""

    at: int
    why: str


Listed = ListedItem | Withdrawal | BadRow | LeftOut


def digest(text: object, kind: str) -> str:
    """Return `text` as a lower-case hex digest of `kind`, empty for nothing. Raises ValueError where it is neither."""
    if text is None or text == "":
        return ""
    if not isinstance(text, str):
        raise ValueError(f"{kind} is not text")  # noqa: TRY004 - what callers report
    if len(text) != DIGEST_DIGITS[kind]:
        text = text.strip().removeprefix("0x")
        if not text:
            return ""
    value = text.lower()
    if len(value) != DIGEST_DIGITS[kind] or not _HEX.fullmatch(value):
        raise ValueError(f"{text[:80]!r} is no {kind}: that has {DIGEST_DIGITS[kind]} hexadecimal digits")
    return "" if value in EMPTY_DIGESTS else value


def content_id(item: ListedItem) -> str:
    """Return the id of a listed content: its SHA-256, or one derived from the best of what the list gives."""
    if item.sha256:
        return item.sha256
    if item.sha1:
        return hashlib.sha256(b"videonovelty sha1 " + bytes.fromhex(item.sha1)).hexdigest()
    if item.md5:
        return hashlib.sha256(b"videonovelty md5 " + bytes.fromhex(item.md5)).hexdigest()
    if item.frames is not None:
        made = hashlib.sha256(b"videonovelty " + item.frames.scheme.encode())
        made.update(item.frames.t_ms.astype("<i4").tobytes())
        made.update(item.frames.pdq.tobytes())
        return made.hexdigest()
    raise ValueError("neither a digest nor a frame hash")


def time_uncertainty_seconds(scheme: str, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far the times of listed frames may be off, to both sides; infinite where there are none.

    >>> time_uncertainty_seconds(THREE_DIGITS, np.array([9.88, 754.0, 3720.0])).tolist()
    [0.005, 0.5, 5.0]
    """
    if scheme == TIMED:
        return np.full(len(seconds), 0.0005)
    if scheme == THREE_DIGITS:
        exponent = np.floor(np.log10(np.maximum(seconds, 0.01)) + 1e-9)
        return np.asarray(0.5 * 10.0 ** (exponent - 2.0))
    return np.full(len(seconds), math.inf)


def source_text(item: ListedItem) -> str:
    """Return where an entry came from: its id in the list, then the time the list gives."""
    identity = identity_text(item.entry)
    return f"{identity} @{item.time}" if item.time else identity


def identity_text(entry: str) -> str:
    """Return an entry's id in a form that ends at the first blank."""
    return entry.replace("%", "%25").replace(" ", "%20") if entry and (" " in entry or "%" in entry) else entry


def identity_hash(list_name: str, identity: str) -> int:
    """Return 64 bits for (list, entry): what withdrawals are matched by."""
    made = hashlib.blake2b(f"{list_name}\0{identity}".encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(made.digest(), "little")


def unix_seconds(text: str) -> int:
    """Return a list's time as seconds since 1970, 0 where it is none; times without a zone are read as UTC."""
    match = _TIME.fullmatch(text.strip()) if text else None
    if match is None:
        return 0
    year, month, day, hour, minute, second = (int(match[n]) for n in range(1, 7))
    if not (1 <= month <= 12 and 1 <= day <= 31 and year >= 1970):
        return 0
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    if match[7]:
        seconds -= (1 if match[7] == "+" else -1) * (int(match[8]) * 3600 + int(match[9]) * 60)
    return max(0, seconds)


def utc_text(seconds: int) -> str:
    """Return seconds since 1970 as a list writes them."""
    return clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(seconds))


def frames_of_rows(rows: Iterator[tuple[float, str, int]], scheme: str) -> ListedFrames:
    """Return (seconds, 64 hex digits, quality) rows as frames in order of time.

    Raises ValueError for none, or a time the store cannot hold.
    """
    listed = sorted(rows, key=lambda row: row[0])
    if not listed:
        raise ValueError("no frames")
    seconds = np.array([row[0] for row in listed], np.float64)
    if not np.isfinite(seconds).all() or seconds.min() < 0 or seconds.max() >= MAX_SECONDS:
        raise ValueError("a frame's time is negative, not a number or beyond 23 days")
    return ListedFrames(
        scheme,
        np.round(seconds * 1000).astype(np.int32),
        np.frombuffer(bytes.fromhex("".join(row[1] for row in listed)), np.uint8).reshape(-1, PDQ_BYTES).copy(),
        np.array([row[2] for row in listed], np.uint8),
    )
