"""The format of a sample set: videos whose right answer is known to the second, to measure and to tune with.

A sample set is a folder:

    sampleset.toml   format version, seed, counts, SHA-256 of the tables, sources left out and why
    videos.csv       video, role, sources, split, seconds, edit, sha256
    truth.csv        query, q_start, q_end, known, k_start, k_end, edit
    negatives.csv    query, known, kind

`video` is a path relative to the folder (or absolute) and names the video everywhere. Roles: `known` is enrolled and
asked about, `distractor` is enrolled and never asked about, `query` is scanned. `sources` (separated by `;`) are the
original contents a video shows; a source belongs to one `split` (`tune` or `holdout`), and so do all videos made of it.

A row of truth says that `[q_start, q_end)` of the query is `[k_start, k_end)` of the known video, seconds; stretches of
one query do not overlap, and what no row covers is new. A row of negatives says what a query is not: `novel` (no known
video is in it; `known` is empty), `same_scene` (another take of the scene `known` shows), `new_inside` (new footage
plays inside the picture of `known`, in the seconds no row of truth covers: they must not be cleared), `new_around`
(`known` plays inside the picture of new footage, as its truth says: it shall be named, and must not be cleared).
Tables may also be Parquet (`truth.parquet`, …).
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.errors import SettingsError

FORMAT = 1
ROLES = ("known", "query", "distractor")
SPLITS = ("tune", "holdout")
NEGATIVE_KINDS = ("novel", "same_scene", "new_inside", "new_around")

NEW_SECONDS = 0.5
"""Less new footage than this is a rounded boundary."""
_TIME_TOLERANCE = 0.05
"""Seconds a truth may reach past a video's end: one frame at 20 a second, as containers round."""


class SampleSetError(SettingsError):
    """A sample set is damaged or contradicts itself; names the file and the row."""


@dataclass(frozen=True, slots=True)
class SampleVideo:
    """One row of videos.csv."""

    video: str
    role: str
    sources: tuple[str, ...]
    split: str
    seconds: float
    edit: str
    """What was done to it, parts joined by `+`; empty for an untouched video."""
    sha256: str


@dataclass(frozen=True, slots=True)
class TruthSegment:
    """One row of truth.csv: this stretch of the query is that stretch of the known video."""

    query: str
    q_start: float
    q_end: float
    known: str
    k_start: float
    k_end: float
    edit: str


@dataclass(frozen=True, slots=True)
class Negative:
    """One row of negatives.csv."""

    query: str
    known: str
    """Empty where it holds for every known video."""
    kind: str


@dataclass(frozen=True, slots=True)
class SampleSet:
    """A whole set, checked."""

    folder: Path
    videos: Mapping[str, SampleVideo]
    truth: tuple[TruthSegment, ...]
    negatives: tuple[Negative, ...]

    def path(self, video: str) -> Path:
        """Return where the file of `video` is."""
        return self.folder / video

    def of_role(self, *roles: str, split: str | None = None) -> list[SampleVideo]:
        """Return the videos of these roles (and of one split), in the order of the table."""
        return [v for v in self.videos.values() if v.role in roles and split in (None, v.split)]

    def tables(self) -> dict[str, pa.Table]:
        """Return the three tables as Arrow, for notebooks: `videos`, `truth`, `negatives`."""
        return {
            "videos": _table(SampleVideo, self.videos.values()),
            "truth": _table(TruthSegment, self.truth),
            "negatives": _table(Negative, self.negatives),
        }


def load_sampleset(folder: Path, *, check_files: bool = True) -> SampleSet:
    """Read a sample set and check everything it says; `check_files` compares every file with its SHA-256.

    Raises SampleSetError naming the table and the row: missing or changed file, unknown video, wrong role, times that
    are negative, reversed or past a video's end, truth of one query that overlaps, a source in both splits, a negative
    that contradicts the truth, or nothing to find or nothing to reject in the whole set or in a split that has queries.
    """
    _check_header(folder / "sampleset.toml")
    videos: dict[str, SampleVideo] = {}
    for place, video in _rows(folder, "videos", SampleVideo):
        if video.video in videos:
            raise SampleSetError(f"{place}: {video.video} is there twice")
        _check_video(place, video)
        if check_files:
            _check_file(place, folder / video.video, video.sha256)
        videos[video.video] = video
    _check_splits(folder, videos)
    truth = [(place, row) for place, row in _rows(folder, "truth", TruthSegment)]
    for place, row in truth:
        _check_truth(place, row, videos)
    _check_overlap(truth)
    negatives = [(place, row) for place, row in _rows(folder, "negatives", Negative)]
    _check_classes(folder, videos, {row.query for _, row in truth}, {row.query for _, row in negatives})
    _check_negatives(negatives, [row for _, row in truth], videos)
    return SampleSet(folder, videos, tuple(row for _, row in truth), tuple(row for _, row in negatives))


def _check_header(path: Path) -> None:
    if not path.is_file():
        raise SampleSetError(f"{path}: not there, so this is no sample set; `samples make` writes one")
    try:
        header = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SampleSetError(f"{path}: not readable as TOML: {error}") from error
    if header.get("format") != FORMAT:
        raise SampleSetError(f"{path}: format {header.get('format')}, and this version reads format {FORMAT}")
    for table, digest in header.get("tables", {}).items():
        _check_file(str(path), path.parent / table, digest)


def _check_file(place: str, path: Path, digest: str) -> None:
    if not path.is_file():
        raise SampleSetError(f"{place}: no such file: {path}")
    if file_sha256(path) != digest:
        raise SampleSetError(f"{place}: {path.name} is not the file it was: its SHA-256 differs")


def _check_video(place: str, video: SampleVideo) -> None:
    if video.role not in ROLES:
        raise SampleSetError(f"{place}: role {video.role!r} is none of {', '.join(ROLES)}")
    if video.split not in SPLITS:
        raise SampleSetError(f"{place}: split {video.split!r} is none of {', '.join(SPLITS)}")
    if not video.sources:
        raise SampleSetError(f"{place}: no source, so a leak between splits could not be seen")
    if not 0 < video.seconds < float("inf"):
        raise SampleSetError(f"{place}: seconds must be positive, not {video.seconds}")


def _check_splits(folder: Path, videos: Mapping[str, SampleVideo]) -> None:
    """Raise where one source feeds both splits: what tuning has seen would be tested on."""
    first: dict[str, SampleVideo] = {}
    contents: dict[str, SampleVideo] = {}
    for number, video in enumerate(videos.values(), start=2):
        place = f"{folder / 'videos.csv'} row {number}"
        for source in video.sources:
            other = first.setdefault(source, video)
            if other.split != video.split:
                raise SampleSetError(
                    f"{place}: source {source} is in split {video.split} here and in {other.split} for {other.video}"
                )
        twin = contents.setdefault(video.sha256, video)
        if twin.split != video.split:
            raise SampleSetError(f"{place}: the same bytes as {twin.video}, which is in split {twin.split}")


def _check_truth(place: str, row: TruthSegment, videos: Mapping[str, SampleVideo]) -> None:
    for column, roles, start, end in (
        ("query", ("query",), row.q_start, row.q_end),
        ("known", ("known", "distractor"), row.k_start, row.k_end),
    ):
        name = getattr(row, column)
        _check_role(place, column, name, roles, videos)
        if not 0 <= start < end:
            raise SampleSetError(f"{place}: {column} from {start} to {end} s is no stretch of time")
        if end > videos[name].seconds + _TIME_TOLERANCE:
            raise SampleSetError(f"{place}: {column} ends at {end} s, and {name} at {videos[name].seconds} s")


def _check_role(place: str, column: str, name: str, roles: tuple[str, ...], videos: Mapping[str, SampleVideo]) -> None:
    if name not in videos:
        raise SampleSetError(f"{place}: {column} {name!r} is not in videos.csv")
    if videos[name].role not in roles:
        raise SampleSetError(f"{place}: {column} {name!r} has the role {videos[name].role}, not {' or '.join(roles)}")


def _check_overlap(truth: list[tuple[str, TruthSegment]]) -> None:
    ordered = sorted(truth, key=lambda item: (item[1].query, item[1].q_start))
    for (_, one), (place, two) in itertools.pairwise(ordered):
        if one.query == two.query and two.q_start < one.q_end - 1e-3:
            raise SampleSetError(
                f"{place}: {two.query} from {two.q_start} s overlaps the stretch that ends at {one.q_end} s"
            )


def _check_negatives(
    negatives: list[tuple[str, Negative]], truth: list[TruthSegment], videos: Mapping[str, SampleVideo]
) -> None:
    told: dict[str, float] = {}
    for segment in truth:
        told[segment.query] = told.get(segment.query, 0.0) + segment.q_end - segment.q_start
    pairs = {(segment.query, segment.known) for segment in truth}
    for place, row in negatives:
        if row.kind not in NEGATIVE_KINDS:
            raise SampleSetError(f"{place}: kind {row.kind!r} is none of {', '.join(NEGATIVE_KINDS)}")
        _check_role(place, "query", row.query, ("query",), videos)
        if row.known:
            _check_role(place, "known", row.known, ("known", "distractor"), videos)
        elif row.kind != "novel":
            raise SampleSetError(f"{place}: {row.kind} needs the known video it is about")
        if row.kind == "new_around":
            if (row.query, row.known) not in pairs:
                raise SampleSetError(
                    f"{place}: new_around, and no row of truth says where {row.query} shows {row.known}"
                )
            continue
        if row.kind == "new_inside" and told.get(row.query, 0.0) < videos[row.query].seconds - NEW_SECONDS:
            continue
        if (row.query in told) if not row.known else ((row.query, row.known) in pairs):
            raise SampleSetError(f"{place}: {row.query} is called {row.kind}, and truth says it shows known footage")


def _check_classes(
    folder: Path, videos: Mapping[str, SampleVideo], found: Collection[str], rejected: Collection[str]
) -> None:
    """Raise where the queries of a split are of one class: with nothing to find, or to reject, nothing is measured."""
    if not found:
        raise SampleSetError(f"{folder}: no truth at all: there is nothing to find, so recall can not be measured")
    if not rejected:
        raise SampleSetError(
            f"{folder}: no negatives at all: there is nothing to reject, so errors can not be measured"
        )
    for split in SPLITS:
        queries = [
            (n, v.video) for n, v in enumerate(videos.values(), start=2) if (v.role, v.split) == ("query", split)
        ]
        for table, named, lack in (
            ("truth", found, "nothing to find there, so recall can not be measured"),
            ("negatives", rejected, "nothing to reject there, so errors can not be measured"),
        ):
            if queries and not any(video in named for _, video in queries):
                number, video = queries[0]
                raise SampleSetError(
                    f"{folder / 'videos.csv'} row {number}: {video} is in split {split}, and {table} has no row about "
                    f"any of the {len(queries)} queries of that split: {lack}"
                )


def _rows(folder: Path, table: str, kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Yield (where it stands, record) for each row of a table, CSV or Parquet."""
    names = [f.name for f in fields(kind)]
    path = folder / f"{table}.csv"
    if path.is_file():
        raw = read_rows(path, names)
        offset = 2  # the header is row 1, as spreadsheets count
    else:
        path = folder / f"{table}.parquet"
        if not path.is_file():
            raise SampleSetError(f"{folder}: no {table}.csv and no {table}.parquet")
        stored = pq.read_table(path)
        missing = sorted(set(names) - set(stored.column_names))
        if missing:
            raise SampleSetError(f"{path}: column {missing[0]} is missing; it has {', '.join(stored.column_names)}")
        raw, offset = stored.select(names).to_pylist(), 1
    for number, row in enumerate(raw, start=offset):
        place = f"{path} row {number}"
        yield place, kind(**{name: _value(name, row[name], place) for name in names})


def _value(name: str, value: object, place: str) -> float | str | tuple[str, ...]:
    """Return one value as its record has it."""
    if name in _NUMBERS:
        return number_of(value, place)
    if name == "sources":
        parts = value.split(";") if isinstance(value, str) else list(value) if isinstance(value, list) else []
        return tuple(str(part) for part in parts if part)
    return "" if value is None else str(value)


_NUMBERS = frozenset({"seconds", "q_start", "q_end", "k_start", "k_end"})


def number_of(value: object, place: str) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        raise SampleSetError(f"{place}: {value!r} is not a number of seconds") from error


def read_rows(path: Path, names: list[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file; every one of `names` must be a column."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in names if name not in (reader.fieldnames or ())]
            if missing:
                raise SampleSetError(f"{path}: column {missing[0]} is missing; it needs {', '.join(names)}")
            rows = []
            for number, row in enumerate(reader, start=2):
                if None in row or None in row.values():
                    raise SampleSetError(f"{path} row {number}: not as many values as columns")
                rows.append({name: row[name] for name in names})
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SampleSetError(f"{path}: not readable: {error}") from error


def read_sources(path: Path, file_column: str, source_column: str) -> dict[Path, str]:
    """Return the content each file of a CSV shows, by resolved path; files are relative to the CSV."""
    rows = read_rows(path, [file_column, source_column])
    return {(path.parent / row[file_column]).resolve(): row[source_column] for row in rows if row[source_column]}


def write_sampleset(
    folder: Path,
    videos: Iterable[SampleVideo],
    truth: Iterable[TruthSegment],
    negatives: Iterable[Negative],
    *,
    seed: int,
    left_out: Mapping[str, str] | None = None,
) -> SampleSet:
    """Write the tables, then sampleset.toml, which makes `folder` a sample set, and return the set, checked."""
    tables: dict[str, tuple[type[Any], Sequence[Any]]] = {
        "videos.csv": (SampleVideo, sorted(videos, key=lambda row: (row.role, row.video))),
        "truth.csv": (TruthSegment, sorted(truth, key=lambda row: (row.query, row.q_start))),
        "negatives.csv": (Negative, sorted(negatives, key=lambda row: (row.query, row.known))),
    }
    for name, (kind, rows) in tables.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow([f.name for f in fields(kind)])
            for row in rows:
                table.writerow([";".join(v) if isinstance(v, tuple) else v for v in asdict(row).values()])
    roles = [row.role for row in tables["videos.csv"][1]]
    lines = [f"format = {FORMAT}", f"seed = {seed}", "", "[counts]"]
    lines += [f"{role} = {roles.count(role)}" for role in ROLES]
    lines += [f"{name} = {len(tables[name + '.csv'][1])}" for name in ("truth", "negatives")]
    lines += ["", "[tables]", *(f'"{name}" = "{file_sha256(folder / name)}"' for name in tables)]
    lines += ["", "[left_out]", *(f"{json.dumps(path)} = {json.dumps(why)}" for path, why in (left_out or {}).items())]
    (folder / "sampleset.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_sampleset(folder)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _table(kind: type[Any], rows: Iterable[Any]) -> pa.Table:
    """Return records as an Arrow table; lists of names become lists."""
    records = [asdict(row) for row in rows]
    types = {name: pa.float64() for name in _NUMBERS} | {"sources": pa.list_(pa.string())}
    schema = pa.schema([(f.name, types.get(f.name, pa.string())) for f in fields(kind)])
    return pa.Table.from_pylist(records, schema=schema)
