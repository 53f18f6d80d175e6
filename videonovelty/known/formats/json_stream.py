"""JSON read as a stream: one value of a large document at a time, in bounded memory, however long its lines are.

The caller steps through objects and arrays (`fields`, `elements`), and takes (`value`) or leaves (`skip`) what stands
there. A value longer than `MAX_VALUE` characters is never built; it can be skipped at any length.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

CHUNK = 1 << 18
MAX_VALUE = 1 << 20
_DECODER = json.JSONDecoder(strict=False)  # control characters in text are no reason to refuse an entry
_BLANK = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^,\]}\s]*")
_STRUCTURE = re.compile(r'["{}\[\]]')
_STRING_END = re.compile(r'["\\]')


class JsonError(ValueError):
    """The document is no JSON at the stream's place."""


class JsonStream:
    """A place in a JSON document. Documents are UTF-8, or UTF-16 with a byte order mark."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        """Read `file` (seekable) from byte `start`, which must be 0 or an offset this class gave for the file."""
        file.seek(0)
        head = file.read(4)
        encoding = "utf-8"
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding, start = "utf-16", 0
        elif start == 0 and head.startswith(codecs.BOM_UTF8):
            start = 3
        file.seek(start)
        self._file = file
        self._resumable = encoding == "utf-8"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._text, self._at, self._ended = "", 0, False
        self._counted, self._bytes = 0, start

    @property
    def offset(self) -> int:
        """Byte offset of the place, 0 where the encoding gives none to come back to."""
        if not self._resumable:
            return 0
        if self._text.isascii():
            return self._bytes + self._at - self._counted
        self._count()
        return self._bytes

    def peek(self) -> str:
        """Return the next character that is no blank, without taking it; empty at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def take(self, expected: str) -> None:
        """Take one character. Raises JsonError when another one stands there."""
        found = self.peek()
        if found != expected:
            raise JsonError(f"expected {expected!r}, found {found!r}" if found else "the file ends too early")
        self._at += 1

    def value(self) -> Any:
        """Return the value that stands here. Raises JsonError where there is none or it is too long; nothing is taken.

        Nesting beyond Python's limit counts as too long.
        """
        if not self.peek():
            raise JsonError("the file ends too early")
        while True:
            held = len(self._text) - self._at
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                near_end = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 16
                if near_end and held > MAX_VALUE:
                    raise JsonError(f"a value longer than {MAX_VALUE:,} characters") from None
                if near_end and self._fill():
                    continue
                raise JsonError(error.msg.lower() if held else "the file ends too early") from None
            except (RecursionError, ValueError):  # ValueError: numbers of thousands of digits
                raise JsonError("a value nested too deep, or a number too long") from None
            length = end - self._at  # filling moves the place
            if len(self._text) - end < 4 and self._text[end - 1] not in '"]}' and self._fill():
                continue  # a number may go on: 1, 1.5, 1.5e+7
            self._at += length
            return value

    def skip(self) -> None:
        """Leave out the value that stands here, of any length. Raises JsonError when the file ends before it does."""
        first = self.peek()
        if first == '"':
            self._at += 1
            self._skip_string()
        elif first and first in "{[":
            depth = 0
            while True:
                found = self._next(_STRUCTURE)
                if found == '"':
                    self._skip_string()
                elif found in "{[":
                    depth += 1
                else:
                    depth -= 1
                    if depth == 0:
                        return
        else:
            before = self.offset
            while True:
                match = _SCALAR.match(self._text, self._at)
                assert match is not None
                self._at = match.end()
                if self._at < len(self._text) or not self._fill():
                    break
            if self.offset == before:
                raise JsonError("a value is missing" if first else "the file ends too early")

    def fields(self) -> Iterator[str]:
        """Step through an object: take or skip the value after each key. Raises JsonError."""
        self.take("{")
        first = True
        while self.peek() != "}":
            if not first:
                self.take(",")
            first = False
            key = self.value()
            if not isinstance(key, str):
                raise JsonError("a key is not text")
            self.take(":")
            yield key
        self.take("}")

    def elements(self, *, inside: bool = False) -> Iterator[int]:
        """Step through an array, yielding each element's offset: take or skip it. Raises JsonError.

        `inside`: the stream began at an element of the array.
        """
        if not inside:
            self.take("[")
        first = True
        while self.peek() != "]":
            if not first:
                self.take(",")
                self.peek()
            first = False
            yield self.offset
        self.take("]")

    def _next(self, pattern: re.Pattern[str]) -> str:
        while True:
            match = pattern.search(self._text, self._at)
            if match is not None:
                self._at = match.end()
                return match.group()
            self._at = len(self._text)
            if not self._fill():
                raise JsonError("the file ends too early")

    def _skip_string(self) -> None:
        while self._next(_STRING_END) != '"':
            if self._at >= len(self._text) and not self._fill():
                raise JsonError("the file ends too early")
            self._at += 1  # what is escaped

    def _count(self) -> None:
        self._bytes += len(self._text[self._counted : self._at].encode("utf-8", "surrogatepass"))
        self._counted = self._at

    def _fill(self) -> bool:
        """Read on, letting go of what was taken; False at the end of the file."""
        if self._ended:
            return False
        self._count()
        held = self._text[self._at :]
        data = self._file.read(max(CHUNK, len(held)))
        self._ended = not data
        self._text = held + self._decoder.decode(data, final=self._ended)
        self._at, self._counted = 0, 0
        return len(self._text) > len(held) or not self._ended
