"""NIST's National Software Reference Library, RDS version 3: an SQLite file of digests of harmless software and media.

The file is somebody else's: it is opened read-only and may do nothing but answer one plain query.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from videonovelty.errors import SettingsError
from videonovelty.known.formats.reading import RangeEnd, ReadOptions, unread
from videonovelty.known.listed import BadRow, LeftOut, Listed, ListedItem, digest

MAX_VALUE = 1 << 16
STEPS = 1_000_000
STALL_SECONDS = 120.0
"""Longest time the file's own definitions may work without giving a row."""
_ROWS_AT_ONCE = 2000


def read(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield one entry a row of METADATA or FILE, from row `start` on. Raises SettingsError for another database."""
    del file, options
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    alive = time.monotonic()
    try:
        base = sqlite3.connect(uri, uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise SettingsError(f"{path.name}: cannot be opened as SQLite: {error}.") from error
    try:
        base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
        base.execute("PRAGMA trusted_schema = OFF")
        base.execute("PRAGMA cell_size_check = ON")
        base.execute("PRAGMA temp_store = FILE")
        base.execute("PRAGMA cache_size = -16000")
        base.execute("PRAGMA hard_heap_limit = 67108864")
        table, columns = _table(path, base)
        base.set_authorizer(_only_reading)
        base.set_progress_handler(lambda: int(time.monotonic() - alive > STALL_SECONDS), STEPS)
        rows = base.execute(f"SELECT {', '.join(columns)} FROM {table} LIMIT -1 OFFSET ?", (start,))  # noqa: S608
        number = start
        while found := rows.fetchmany(_ROWS_AT_ONCE):
            alive = time.monotonic()
            for row in found:
                yield _entry(number, dict(zip(columns, row, strict=True)))
                number += 1
    except (sqlite3.Error, MemoryError, UnicodeDecodeError) as error:
        yield unread(start, "the database", f"not readable: {error}")
    finally:
        base.close()


def _table(path: Path, base: sqlite3.Connection) -> tuple[str, list[str]]:
    names = {
        str(row[0]).upper() for row in base.execute("SELECT name FROM sqlite_master WHERE type IN ('table','view')")
    }
    table: str
    for table in ("METADATA", "FILE"):
        if table in names:
            found = {str(row[1]).lower() for row in base.execute(f"PRAGMA table_info({table})")}
            columns: list[str] = [name for name in ("md5", "sha1", "sha256") if name in found]
            if columns:
                return table, columns
    raise SettingsError(f"{path.name}: no NSRL database: it has no FILE or METADATA with md5, sha1 or sha256.")


def _entry(number: int, row: dict[str, object]) -> Listed:
    try:
        found = {kind: digest(value, kind) for kind, value in row.items()}
    except ValueError as error:
        return BadRow(number, f"row {number + 1:,}", str(error))
    if not any(found.values()):
        return LeftOut(number, "no digest to compare")
    return ListedItem(number, **found, category="NSRL")  # type: ignore[arg-type]


def _only_reading(action: int, *_: object) -> int:
    return sqlite3.SQLITE_OK if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ) else sqlite3.SQLITE_DENY
