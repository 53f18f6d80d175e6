"""The journal of a run: every state change, one line each, appended and synced before the run goes on.

A line is one JSON object, in this order of keys::

    {"seq":12,"batch":12,"prev":"<64 hex>","at":"2026-01-31T02:03:04.567Z","state":"signed","key":"<video id>",
     … what there is to say …,"crc":"89abcdef"}

`seq` counts from 1 and is the only order (`at` is the wall clock, for people). `prev` is the SHA-256 of the line
before, without its newline, 64 zeros for the first. `crc` is the CRC-32 of the line's bytes before `,"crc"`. `batch` is
the `seq` of the first line that was synced together with this one: everything before it was durable when this line was
written. From these, `verify` tells apart

- a **torn end**, which a crash or power cut leaves behind: an unfinished last line, or a batch that was never
  acknowledged with blocks missing (they read as zero bytes). It is ignored, logged and cut off at the next opening.
- **damage**: a changed, missing, repeated or foreign line. The run stops, naming the line.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self, TypeAlias

from videonovelty.errors import EnvironmentUnfitError, RunError

logger = logging.getLogger(__name__)

JSON: TypeAlias = str | int | float | bool | list["JSON"] | dict[str, "JSON"] | None

GENESIS = "0" * 64
"""`prev` of the first line."""
_RESERVED = frozenset({"seq", "batch", "prev", "at", "state", "key", "crc"})
_CRC_TAIL = len(',"crc":"01234567"}')
_decode = json.JSONDecoder().raw_decode
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


class JournalEntry(NamedTuple):
    """One state change. A named tuple, for a start reads a million of them."""

    seq: int
    at: str
    """Wall clock at writing, UTC, ISO 8601. For people: the order is `seq`."""
    state: str
    key: str
    """The content id the entry is about, or the name of what else it is about (`run`)."""
    fields: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class JournalEnd:
    """Where the sound part of a journal ends."""

    seq: int
    """Number of the last sound line; 0 for an empty journal."""
    head: str
    """SHA-256 of that line: names the journal's whole content up to here."""
    size_bytes: int
    last_at: str
    torn_bytes: int
    """Bytes after it that a crash left behind."""


Observer: TypeAlias = Callable[[JournalEntry], None]


class Journal:
    """An append-only file of state changes, opened by one process at a time (see `run.RunFolder` for the lock)."""

    def __init__(self, path: Path, fd: int, end: JournalEnd, observe: Observer | None) -> None:
        """Use `Journal.open`."""
        self.path = path
        self._fd = fd
        self._seq = end.seq
        self._head = end.head
        self._size = end.size_bytes
        self._last_at = end.last_at
        self._observe = observe
        self._guard = threading.Lock()
        self._unusable = ""

    @classmethod
    def open(cls, path: Path, *, observe: Observer | None = None) -> Journal:
        """Create the journal or verify and continue the one at `path`, cutting off a torn end.

        `observe` is called with every entry, first those read, later those appended (once they are durable).

        Raises RunError when the file is damaged or not a plain file, EnvironmentUnfitError when it cannot be written.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            is_new = not os.path.lexists(path)
            fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise _cannot_open(path, error) from error
        try:
            _check_regular(path, fd)
            os.fchmod(fd, 0o600)
            with os.fdopen(os.dup(fd), "rb") as file:
                file.seek(0)
                end = verify(file, path, observe=observe)
            if end.torn_bytes:
                logger.warning(
                    "%s: %d bytes after line %d were never completed; they are cut off and their work is done again",
                    path, end.torn_bytes, end.seq,
                )  # fmt: skip
                os.ftruncate(fd, end.size_bytes)
                os.fsync(fd)
            if is_new:
                sync_directory(path.parent)
        except OSError as error:
            os.close(fd)
            raise EnvironmentUnfitError(f"{path}: cannot be read or written: {error.strerror}.") from error
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, end, observe)

    @property
    def seq(self) -> int:
        """Number of the last durable line; 0 for an empty journal."""
        return self._seq

    @property
    def head(self) -> str:
        """SHA-256 of the last durable line, 64 hex digits."""
        return self._head

    @property
    def last_at(self) -> str:
        """Wall clock of the last durable line, ISO 8601; empty for an empty journal."""
        return self._last_at

    @property
    def usable(self) -> bool:
        """False after a failed write or an interruption in the middle of one; reopening makes it usable again."""
        return not self._unusable

    def append(self, state: str, *, key: str, **fields: JSON) -> None:
        """Add one entry; it is on the disk when this returns.

        Raises as `append_many`.
        """
        self.append_many([(state, key, fields)])

    def append_many(self, entries: Iterable[tuple[str, str, Mapping[str, JSON]]]) -> None:
        """Add entries `(state, key, fields)` with one sync; all are on the disk when this returns.

        Raises EnvironmentUnfitError when the disk does not take them (nothing of them counts then, and the journal must
        be opened anew: a failed sync is never tried again), ValueError for a field named like one of the line's own.
        """
        with self._guard:
            if self._unusable:
                raise EnvironmentUnfitError(f"{self.path}: {self._unusable}. Start the command again to resume.")
            lines, written = self._format(entries)
            if not written:
                return
            # Whatever ends this block early, a signal included, leaves the file's end unknown to this object.
            self._unusable = "an earlier write did not complete"
            block = b"".join(lines)
            try:
                _write_all(self._fd, block)
                os.fdatasync(self._fd)
            except OSError as error:
                self._unusable = f"cannot be written: {error.strerror}"
                self._cut_back()
                raise EnvironmentUnfitError(
                    f"{self.path}: cannot be written: {error.strerror}. Everything recorded before is safe; "
                    "free space or repair the disk, then start the command again to resume."
                ) from error
            self._size += len(block)
            self._seq = written[-1].seq
            self._head = hashlib.sha256(lines[-1][:-1]).hexdigest()
            self._last_at = written[-1].at
            self._unusable = ""
        if self._observe is not None:
            for entry in written:
                self._observe(entry)

    def entries(self, state: str | None = None) -> Iterator[JournalEntry]:
        """Yield every durable entry in order, or those of one state, reading the file anew."""
        with self._guard:
            size = self._size
        wanted = b"" if state is None else b',"state":%s,"key":' % _ENCODER.encode(state).encode("ascii")
        with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            for line in file:
                if size <= 0:
                    return
                size -= len(line)
                if wanted in line:  # most lines need not be parsed
                    entry = _to_entry(json.loads(line))
                    if state is None or entry.state == state:
                        yield entry

    def close(self) -> None:
        """Close the file. The journal cannot be used afterwards."""
        with self._guard:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self._unusable = "closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _format(self, entries: Iterable[tuple[str, str, Mapping[str, JSON]]]) -> tuple[list[bytes], list[JournalEntry]]:
        """Return the lines, newline included, and the entries they hold; changes nothing."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if at < self._last_at:
            logger.warning("%s: the clock went back from %s to %s; order goes by number", self.path, self._last_at, at)
            self._last_at = at  # said once
        lines: list[bytes] = []
        written: list[JournalEntry] = []
        seq, batch, head = self._seq, self._seq + 1, self._head
        for state, key, fields in entries:
            if clash := _RESERVED.intersection(fields):
                raise ValueError(f"journal fields may not be called {sorted(clash)}")
            seq += 1
            record = {"seq": seq, "batch": batch, "prev": head, "at": at, "state": state, "key": key, **fields}
            body = _ENCODER.encode(record)[:-1].encode("ascii")
            line = body + b',"crc":"%08x"}' % zlib.crc32(body)
            head = hashlib.sha256(line).hexdigest()
            lines.append(line + b"\n")
            written.append(JournalEntry(seq, at, state, key, dict(fields)))
        return lines, written

    def _cut_back(self) -> None:
        """Take a half-written batch off again; where even that fails, the next opening does it."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            logger.warning("%s: the unfinished end stays until the next start: %s", self.path, error.strerror)


def verify(file: BinaryIO, path: Path, *, observe: Observer | None = None) -> JournalEnd:
    """Check every line of an opened journal, call `observe` with each entry and return where the sound part ends.

    Raises RunError at a damaged line, after the entries before it were observed: what they say still holds.
    """
    seq, head, size, last_at = 0, GENESIS, 0, ""
    for line in file:
        record = _parse(line)
        if record is None:
            return _judge_end(file, path, JournalEnd(seq, head, size, last_at, 0), first_bad=line)
        if record["seq"] != seq + 1 or record["prev"] != head:
            raise _damaged(path, seq + 1, f"line {seq + 1} is missing, repeated or out of order")
        seq += 1
        head = hashlib.sha256(line[:-1]).hexdigest()
        size += len(line)
        last_at = record["at"]
        if observe is not None:
            observe(_to_entry(record))
    return JournalEnd(seq, head, size, last_at, 0)


def read_journal(path: Path, *, observe: Observer) -> JournalEnd:
    """Verify the journal at `path` without changing it (no lock needed) and call `observe` with every entry.

    A torn end is left out, and left in the file. Raises RunError when there is none, or at a damaged line (the entries
    before it have been observed, so what is sound can still be saved).
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}. Is this a run folder?") from error
    with os.fdopen(fd, "rb") as file:
        _check_regular(path, fd)
        return verify(file, path, observe=observe)


def sync_directory(path: Path) -> None:
    """Make renames and new names in the folder `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _judge_end(file: BinaryIO, path: Path, end: JournalEnd, *, first_bad: bytes) -> JournalEnd:
    """Decide what an unreadable line is: the torn end of a batch nobody was told about, or damage."""
    bad_seq = end.seq + 1
    torn_bytes = len(first_bad)
    # Blocks that never reached the disk read as zero bytes; a write cut short lacks its newline. Nothing else is torn.
    if first_bad.endswith(b"\n") and b"\0" not in first_bad:
        raise _damaged(path, bad_seq, f"line {bad_seq} was changed after it was written")
    for line in file:
        torn_bytes += len(line)
        record = _parse(line)
        # A sound line of a later batch proves that line `bad_seq` had been acknowledged.
        if record is not None and record["batch"] > bad_seq:
            raise _damaged(path, bad_seq, f"line {bad_seq} was changed after it was written")
    return JournalEnd(end.seq, end.head, end.size_bytes, end.last_at, torn_bytes)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the object of a complete, sound line, else None."""
    if line[-2:] != b"}\n" or line[-_CRC_TAIL - 1 : -1] != b',"crc":"%08x"}' % zlib.crc32(line[: -_CRC_TAIL - 1]):
        return None
    try:
        record, _ = _decode(line.decode("ascii"))
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.keys() >= _RESERVED else None


def _to_entry(record: dict[str, Any]) -> JournalEntry:
    """Return the entry of a line's object, which is used up."""
    for name in ("prev", "batch", "crc"):
        del record[name]
    take = record.pop
    return JournalEntry(take("seq"), take("at"), take("state"), take("key"), record)


def _write_all(fd: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]


def _check_regular(path: Path, fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise RunError(f"{path}: not a regular file. Choose another --run folder.")


def _cannot_open(path: Path, error: OSError) -> RunError | EnvironmentUnfitError:
    if path.is_symlink():
        return RunError(f"{path}: is a link, which is never followed. Choose another --run folder.")
    return EnvironmentUnfitError(f"{path}: cannot be written: {error.strerror}. Check the folder's owner and the disk.")


def _damaged(path: Path, line: int, what: str) -> RunError:
    return RunError(
        f"{path}: {what}. The lines before it are sound. Restore the folder from a copy, or keep it as it is for the "
        f"record and start again with a new one: videonovelty scan … --run NEW_FOLDER (line {line})."
    )
