"""The tables and the summary in forms other programs take: CSV, JSON, XLSX, plain text.

CSV is UTF-8 with `\\n` line ends, booleans `true`/`false`, absent values empty, one record a line: control characters
in text are written out (`\\x0a`); `path_raw` keeps the true bytes of a name. A text that a spreadsheet would take for
a formula gets one apostrophe in front. To undo: a value of apostrophes followed by one of `= + - @` loses its first
character (`undefused`). Numbers are never touched.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.errors import RunError, SettingsError
from videonovelty.report.collect import VERDICT_MEANING, VERDICT_ORDER, VERDICT_TEXT, Report, reason_text
from videonovelty.report.legible import legible, spoken

_FORMULA = re.compile("'*[=+\\-@\t\r＝＋－＠]")
"""What spreadsheets read as the start of a formula, also behind apostrophes, so that defusing can be undone."""
_BATCH_ROWS = 10_000
_NO_GUESSING = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
XLSX_MAX_ROWS = 1_048_575
"""Rows of one worksheet below its heading, a limit of the file format."""
XLSX_MAX_TEXT = 32_767
"""Characters of one cell, another one; what is cut off ends in …"""


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` with a new 0600 file that takes the place of `path` once it is on disk; on an error nothing changes.

    A link at `path` is replaced, never followed.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def defused(text: str) -> str:
    """Return `text` so that no spreadsheet takes it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def undefused(text: str) -> str:
    """Return what `defused` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_csv(table: pa.Table, path: Path) -> None:
    """Write `table` as formula-safe CSV (see the module), atomically, mode 0600."""

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([_csv_value(name) for name in table.column_names])
        for row in _rows(table):
            rows.writerow([_csv_value(value) for value in row])
        text.flush()
        text.detach()

    write_atomically(path, write)


def write_json(table: pa.Table, path: Path) -> None:
    """Write `table` as a JSON array of objects, one a line, atomically, mode 0600; numbers that are none are null."""

    def write(file: IO[bytes]) -> None:
        file.write(b"[")
        between = b"\n"
        for row in _rows(table):
            record = dict(zip(table.column_names, map(_json_value, row), strict=True))
            file.write(between + json.dumps(record, ensure_ascii=True, allow_nan=False).encode())
            between = b",\n"
        file.write(b"\n]\n")

    write_atomically(path, write)


def write_xlsx(tables: Mapping[str, pa.Table], path: Path) -> None:
    """Write tables as sheets of an Excel workbook, text as text and never as a formula or link, atomically, mode 0600.

    Raises SettingsError without the `report-xlsx` extra, or when the rows do not fit on a worksheet.
    """
    try:
        import xlsxwriter  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{path}: Excel workbooks need XlsxWriter. Install videonovelty[report-xlsx], or take the CSV."
        ) from error
    for name, table in tables.items():
        if table.num_rows > XLSX_MAX_ROWS:
            raise SettingsError(f"{path}: {name}: {table.num_rows:,} rows do not fit on a worksheet. Take the CSV.")

    def write(file: IO[bytes]) -> None:
        # rows go to disk as they come: beside the file, not in a folder for everyone, for they hold names
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as work:
            book = xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": work, **_NO_GUESSING})
            fill(book)
            book.close()

    def fill(book: Any) -> None:
        heading = book.add_format({"bold": True})
        for sheet, table in tables.items():
            page = book.add_worksheet(sheet[:31])
            for column, name in enumerate(table.column_names):
                page.write_string(0, column, legible(name), heading)
            for number, row in enumerate(_rows(table), start=1):
                for column, value in enumerate(row):
                    _xlsx_cell(page, number, column, value)
            page.freeze_panes(1, 0)
            page.autofilter(0, 0, max(table.num_rows, 1), max(table.num_columns - 1, 0))

    write_atomically(path, write)


def write_workbook(run: Path) -> Path:
    """Write `run/tables.xlsx`, the tables of a run as one sheet each, and return its path; see `write_xlsx`."""
    path = run / "tables.xlsx"
    tables = {}
    for name in ("verdicts", "segments", "groups"):
        try:
            tables[name] = pq.read_table(run / f"{name}.parquet", partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{run / name}.parquet: cannot be read. `videonovelty scan` writes it.") from error
    write_xlsx(tables, path)
    return path


def _rows(table: pa.Table) -> Iterator[Iterable[Any]]:
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _csv_value(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return defused(legible(_as_text(value)))


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, list):
        return json.dumps([_json_value(item) for item in value])
    return str(value)


def _xlsx_cell(page: Any, row: int, column: int, value: Any) -> None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return
    if isinstance(value, bool):
        page.write_boolean(row, column, value)
    elif isinstance(value, int | float):
        page.write_number(row, column, value)
    else:
        text = defused(legible(_as_text(value)))
        page.write_string(row, column, text if len(text) <= XLSX_MAX_TEXT else f"{text[: XLSX_MAX_TEXT - 1]}…")


def text_summary(report: Report) -> str:
    """Return the run in a few lines that may travel by e-mail: counts and lengths only.

    No names of files, folders, lists, series or machines, no video ids, and no text that came from them.
    """
    exposure = report.exposure
    lines = [
        "videonovelty: summary of a run",
        f"Status: {report.status if report.status in ('done', 'running', 'interrupted') else 'not done'}",
        f"Snapshot of the known store: {', '.join(map(str, report.snapshots)) or 'not stated'}",
        "",
        f"Files: {report.files:,} ({len(report.entries):,} different contents, {spoken(exposure.intake_seconds)})",
    ]
    width = max(len(text) for text in VERDICT_TEXT.values())
    for verdict in VERDICT_ORDER:
        count = report.contents_by_verdict[verdict]
        lines.append(f"  {VERDICT_TEXT[verdict]:<{width}}  {count:>9,}  {VERDICT_MEANING[verdict]}")
    lines += [
        "",
        f"To review: {len(report.queue):,} videos, {spoken(exposure.view_seconds)} to look at",
        f"Spared: {spoken(exposure.saved_seconds)}",
    ]
    if exposure.unknown_length:
        lines.append(f"Of unknown length, on top of that: {exposure.unknown_length:,} videos")
    if report.still_searched_rows:
        lines.append(f"Look first: {report.still_searched_rows:,} hits on series whose children are still searched for")
    if report.failures:
        lines += ["", "Not looked at:"]
        lines += [f"  {count:>7,}  {reason_text(reason)}" for reason, count in report.failures]
    if report.warnings:
        lines += ["", f"Warnings: {len(report.warnings)}. Read them in the report."]
    return "\n".join(lines) + "\n"
