"""Text files read line by line, in bounded memory: a line that is too long is told and left out, not read."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_LINE = 1 << 16


class Line(NamedTuple):
    """One line: its byte offset, its text without the line end; `text` is None when it is longer than `MAX_LINE`."""

    at: int
    text: str | None


def lines(file: BinaryIO, start: int = 0) -> Iterator[Line]:
    """Yield the lines of a UTF-8 file from byte `start`, the beginning of a line; a byte order mark is left out."""
    file.seek(start)
    at = start
    while data := file.readline(MAX_LINE + 1):
        begin = at
        at += len(data)
        if len(data) > MAX_LINE and not data.endswith(b"\n"):
            while (more := file.readline(MAX_LINE)) and not more.endswith(b"\n"):
                at += len(more)
            at += len(more)
            yield Line(begin, None)
            continue
        if begin == 0:
            data = data.removeprefix(codecs.BOM_UTF8)
        yield Line(begin, data.decode("utf-8", "replace").rstrip("\r\n"))
