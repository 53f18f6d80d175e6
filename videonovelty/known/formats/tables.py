"""Lists as CSV: with our own or any named columns, INTERPOL's ICSE export, and NIST's NSRL RDS version 2."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from videonovelty.errors import SettingsError
from videonovelty.known.formats.lines import MAX_LINE, lines
from videonovelty.known.formats.reading import RangeEnd, ReadOptions, answer_of, tags_of, text_of
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

COLUMNS: dict[str, tuple[str, ...]] = {
    "md5": ("md5", "md5hash", "hashmd5"),
    "sha1": ("sha1", "sha1hash", "hashsha1"),
    "sha256": ("sha256", "sha256hash", "hashsha256"),
    "pdq": ("pdq", "pdqhash", "pdqhex"),
    "quality": ("quality", "pdqquality"),
    "entry": ("entry", "id", "imageid", "mediaid", "entryid"),
    "time": ("time", "timestamp", "dateupdated", "updated"),
    "disposition": ("disposition",),
    "series": ("series", "seriesname"),
    "category": ("category", "classification"),
    "baseline": ("baseline",),
    "victim_identified": ("victimidentified",),
    "offender_identified": ("offenderidentified",),
    "distributed": ("distributed", "isdistributed"),
    "tags": ("tags",),
    "duration_seconds": ("durationseconds", "duration"),
}
"""Our name of a column → names it goes by, lower case, letters and digits only."""
DELIMITERS = ",;\t|"
_PLAIN_NAME = re.compile("[^a-z0-9]")


def plain_name(name: str) -> str:
    """Return a column's name as names are compared: `SHA-1` and `sha1` are the same."""
    return _PLAIN_NAME.sub("", name.lower())


def delimiter_of(header: str) -> str:
    """Return what separates the columns of a header line."""
    return max(DELIMITERS, key=header.count)


def columns_of(header: list[str], given: Mapping[str, str]) -> dict[str, int]:
    """Return the place of each column we know; `given` names columns of other names. Raises SettingsError."""
    places = {plain_name(name): place for place, name in reversed(list(enumerate(header)))}
    found = {
        ours: next(places[name] for name in names if name in places)
        for ours, names in COLUMNS.items()
        if any(name in places for name in names)
    }
    for ours, theirs in given.items():
        if ours not in COLUMNS:
            raise SettingsError(f"--column {ours}=…: our columns are {', '.join(COLUMNS)}.")
        if plain_name(theirs) not in places:
            raise SettingsError(f"--column {ours}={theirs}: the file has {', '.join(header)[:300]}.")
        found[ours] = places[plain_name(theirs)]
    return found


def read(path: Path, file: BinaryIO, options: ReadOptions, start: int) -> Iterator[Listed | RangeEnd]:
    """Yield one entry a row of a CSV file whose first line names its columns. Raises SettingsError without digests."""
    header = next(lines(file, 0), None)
    if header is None or header.text is None:
        raise SettingsError(f"{path.name}: its first line should name the columns.")
    delimiter = delimiter_of(header.text)
    rows = _Rows(file, delimiter)
    _, names = next(rows.from_byte(0), (0, "nothing"))
    if isinstance(names, str):
        raise SettingsError(f"{path.name}: its first line should name the columns: {names}.")
    columns = columns_of(names, options.columns)
    if not columns.keys() & {"md5", "sha1", "sha256", "pdq"}:
        raise SettingsError(
            f"{path.name}: no column is named md5, sha1, sha256 or pdq; say which is: --column md5=NAME."
        )
    for at, row in rows.from_byte(max(start, rows.place)):
        where = f"byte {at:,}"
        if isinstance(row, str):
            yield BadRow(at, where, row)
            continue
        if not row or row == [""]:
            continue
        yield _entry(at, where, row, columns)


def _entry(at: int, where: str, row: list[str], columns: Mapping[str, int]) -> Listed:
    values = {name: row[place] for name, place in columns.items() if place < len(row)}
    try:
        found = {kind: digest(values.get(kind), kind) for kind in ("md5", "sha1", "sha256")}
        pdq = digest(values.get("pdq"), "pdq")
        frames = _single_frame(pdq, values.get("quality", "")) if pdq else None
        duration = float(values.get("duration_seconds") or 0.0)
        disposition = values.get("disposition", "").strip().lower()
        if disposition not in ("", "abuse", "benign", "other"):
            raise ValueError(f"disposition {disposition[:40]!r} is not abuse, benign or other")  # noqa: TRY301
    except ValueError as error:
        return BadRow(at, where, str(error))
    if not any(found.values()) and frames is None:
        return LeftOut(at, "no digest to compare")
    return ListedItem(
        at,
        md5=found["md5"],
        sha1=found["sha1"],
        sha256=found["sha256"],
        frames=frames,
        entry=text_of(values.get("entry")),
        time=text_of(values.get("time")),
        disposition=disposition,
        series=text_of(values.get("series")),
        category=text_of(values.get("category")) or _baseline(values.get("baseline")),
        victim_identified=answer_of(values.get("victim_identified")),
        offender_identified=answer_of(values.get("offender_identified")),
        distributed=answer_of(values.get("distributed")),
        tags=tags_of(values.get("tags")),
        duration_seconds=duration if 0 <= duration < 1e7 else 0.0,
    )


def _baseline(value: str | None) -> str:
    return {"yes": "international baseline", "no": "not baseline"}.get(answer_of(value), "")


def _single_frame(pdq: str, quality: str) -> ListedFrames:
    stated = quality.strip()
    number = int(stated) if stated else KNOWN_QUALITY
    if not 0 <= number <= 100:
        raise ValueError(f"quality {number} is not 0 to 100")
    return frames_of_rows(iter([(0.0, pdq, number)]), UNTIMED)


@dataclass(slots=True)
class _Rows:
    """The records of a CSV file, each with the byte it begins at; `place` is behind the last one given."""

    file: BinaryIO
    delimiter: str
    place: int = 0

    def from_byte(self, start: int) -> Iterator[tuple[int, list[str] | str]]:
        """Yield (byte offset, fields), or (byte offset, what is wrong) for a row that cannot be read."""
        self.place = start
        too_long: list[int] = []

        def texts() -> Iterator[str]:
            for at, text in lines(self.file, start):
                if text is None:
                    too_long.append(at)
                yield (text or "") + "\n"
                self.place = self.file.tell()

        records: Any = csv.reader(texts(), delimiter=self.delimiter, strict=False)
        while True:
            begin = self.file.tell() if self.place != start else start
            try:
                row = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                self.place = self.file.tell()
                yield begin, f"not CSV: {error}"
                continue
            self.place = self.file.tell()
            if too_long:
                yield too_long.pop(), f"a line longer than {MAX_LINE:,} bytes"
                too_long.clear()
                continue
            yield begin, row
