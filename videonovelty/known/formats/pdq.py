"""Frame hashes: vPDQ as text and as python-threatexchange's JSON (a file a video), and lists of single PDQ hashes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from videonovelty.known.formats.json_stream import JsonError, JsonStream
from videonovelty.known.formats.lines import MAX_LINE, lines
from videonovelty.known.formats.reading import RangeEnd, ReadOptions, text_of, unread
from videonovelty.known.listed import (
    KNOWN_QUALITY,
    MAX_SECONDS,
    THREE_DIGITS,
    TIMED,
    UNTIMED,
    BadRow,
    Listed,
    ListedItem,
    digest,
    frames_of_rows,
)
from videonovelty.records import KnownFrames

MAX_FRAMES = 200_000
"""Frames of one video that are taken: 55 hours at one a second."""
TEXT_LINE = re.compile(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*([0-9a-fA-F]{64})\s*,\s*([0-9.eE+-]+)\s*")
LIST_LINE = re.compile(r"\s*(?:pdq\s*[,:]\s*)?([0-9a-fA-F]{64})(?:\s*[,;\s]\s*(\d{1,3}))?\s*")

FrameRow = tuple[float, str, int]


def _frame(seconds: object, code: object, quality: object) -> FrameRow:
    """Return a frame as numbers. Raises ValueError."""
    number, at = int(str(quality)), float(str(seconds))
    value = digest(code, "pdq")
    if not value or not 0 <= number <= 100 or not math.isfinite(at) or not 0 <= at < MAX_SECONDS:
        raise ValueError(
            f"a frame needs 64 hexadecimal digits, a quality of 0 to 100 and a time of 0 to {MAX_SECONDS:,} s"
        )
    return at, value, number


def read_text(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield the one video of a vPDQ text file: `frame number, quality, hash, seconds` a line."""
    del options, start
    rows: list[FrameRow] = []
    for at, text in lines(file, 0):
        where = f"byte {at:,}"
        if text is None:
            yield BadRow(at, where, f"a line longer than {MAX_LINE:,} bytes")
            continue
        if not text.strip():
            continue
        match = TEXT_LINE.fullmatch(text)
        try:
            if match is None:
                raise ValueError(f"not `frame,quality,hash,seconds`: {text[:60]!r}")  # noqa: TRY301
            if len(rows) >= MAX_FRAMES:
                yield unread(at, where, f"more than {MAX_FRAMES:,} frames in one video")
                break
            rows.append(_frame(match[4], match[3], match[2]))
        except ValueError as error:
            yield BadRow(at, where, str(error))
    yield from _video(path, rows, TIMED)


def read_json(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield the one video of a python-threatexchange vPDQ file: strings `hash,quality,seconds`, or the older objects.

    Its seconds were written with three significant digits, so beyond 10 s they are coarse.
    """
    del options, start
    rows: list[FrameRow] = []
    stream = JsonStream(file)
    try:
        places = stream.elements() if stream.peek() == "[" else (stream.offset for _ in stream.fields())
        for at in places:
            try:
                value = stream.value()
            except JsonError as error:
                yield BadRow(at, f"byte {at:,}", str(error))
                stream.skip()
                continue
            try:
                if len(rows) >= MAX_FRAMES:
                    yield unread(at, f"byte {at:,}", f"more than {MAX_FRAMES:,} frames in one video")
                    break
                if isinstance(value, str):
                    code, quality, seconds = value.split(",")
                    rows.append(_frame(seconds, code, quality))
                elif isinstance(value, dict):
                    rows.append(_frame(value.get("timestamp"), value.get("hash"), value.get("quality")))
                else:
                    raise ValueError("neither text nor an object")  # noqa: TRY004, TRY301
            except ValueError as error:
                yield BadRow(at, f"byte {at:,}", f"not `hash,quality,seconds`: {error}")
    except JsonError as error:
        yield unread(stream.offset, f"byte {stream.offset:,}", f"not JSON: {error}")
    yield from _video(path, rows, THREE_DIGITS)


def _video(path: Path, rows: list[FrameRow], scheme: str) -> Iterator[ListedItem]:
    if rows:
        last = max(row[0] for row in rows)
        yield ListedItem(0, frames=frames_of_rows(iter(rows), scheme), entry=text_of(path.name), duration_seconds=last)


def read_list(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield one entry a line: a PDQ hash, with its quality where one is stated."""
    del path, options
    for at, text in lines(file, start):
        where = f"byte {at:,}"
        if text is None:
            yield BadRow(at, where, f"a line longer than {MAX_LINE:,} bytes")
            continue
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        match = LIST_LINE.fullmatch(text)
        quality = int(match[2]) if match and match[2] else KNOWN_QUALITY
        if match is None or quality > 100:
            yield BadRow(at, where, f"not `hash,quality`: {text[:60]!r}")
            continue
        yield ListedItem(at, frames=frames_of_rows(iter([(0.0, match[1].lower(), quality)]), UNTIMED))


def text_lines(frames: KnownFrames) -> Iterator[bytes]:
    """Return a video's frames as a vPDQ text file, times to the millisecond."""
    rows = zip(frames.pts_seconds, frames.pdq, frames.quality, strict=True)
    for number, (seconds, code, quality) in enumerate(rows):
        yield f"{number},{int(quality)},{code.tobytes().hex()},{seconds:.3f}\n".encode()


def json_text(frames: KnownFrames) -> bytes:
    """Return a video's frames as python-threatexchange reads them, times to the millisecond."""
    rows = zip(frames.pts_seconds, frames.pdq, frames.quality, strict=True)
    texts = [f'"{code.tobytes().hex()},{int(quality)},{seconds:.3f}"' for seconds, code, quality in rows]
    return ("[" + ", ".join(texts) + "]\n").encode()
