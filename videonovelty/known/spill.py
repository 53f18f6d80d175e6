"""The entries of a list on their way into the store: spread over partitions on disk, so that memory stays small.

A file may hold ten million entries in any order, the same content again and again. They are written as *runs*, each a
file with one record batch for every range of ids; afterwards one range of all runs is looked at at a time. A run
that is complete says where in the list to go on, so an import that was stopped resumes behind it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from videonovelty.errors import KnownStoreError
from videonovelty.known.listed import ListedItem, Withdrawal, content_id, identity_hash, identity_text, source_text
from videonovelty.known.listed import unix_seconds as seconds_of
from videonovelty.known.manifest import new_file, sync, sync_folder, write_error
from videonovelty.known.shards import binary_column, fixed_binary
from videonovelty.schemas import KNOWN_FRAMES, KNOWN_VIDEOS

PARTITIONS = 256
"""Ranges of ids, by their first byte."""
RUN_ROWS = 1 << 16
LOCK = "lock"
"""File in the folder by which an import keeps a second one of the same files out."""
SOURCES = "sources.json"
"""File in the folder that names the files it is an import of, with size and time: what it can be resumed with."""
UNNAMED_SECONDS = 3600
"""A folder that names no files is left alone for this long: an import may just be making it."""
_BATCH_ROWS = 1 << 13
_ADDED = KNOWN_VIDEOS.get_field_index("added_in_snapshot")
SPILLED_VIDEOS = pa.schema(
    [
        *(KNOWN_VIDEOS.field(i) for i in range(len(KNOWN_VIDEOS)) if i != _ADDED),
        pa.field("identity", pa.uint64()),
        pa.field("time", pa.int64()),
        pa.field("order", pa.int64()),
    ]
)
SPILLED_FRAMES = pa.schema([*KNOWN_FRAMES, pa.field("scheme", pa.string()), pa.field("order", pa.int64())])
WITHDRAWN = pa.schema([pa.field("identity", pa.uint64()), pa.field("time", pa.int64())])


@dataclass(slots=True)
class Progress:
    """How far the reading of a list has come, at the end of a run."""

    file: int = 0
    """Which of the files."""
    position: int = 0
    """Where in it to go on."""
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    checkpoints: dict[str, str] = field(default_factory=dict)


class Spill:
    """Entries of one import, on disk in `folder`. What an earlier, stopped import left there is taken over."""

    def __init__(self, folder: Path, *, list_name: str, disposition: str, min_quality: int) -> None:
        self.folder = folder
        self.list_name, self.disposition, self.min_quality = list_name, disposition, min_quality
        self.progress = Progress()
        self._rows: list[tuple[Any, ...]] = []
        self._batches: list[pa.RecordBatch] = []
        self._frames: list[pa.Table] = []
        self._frame_rows = 0
        self._withdrawn: tuple[array[int], array[int]] = (array("Q"), array("q"))
        self._runs = 0
        self._order = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_over()
        except OSError as error:
            raise write_error(folder, error) from error

    # ---- filling ----

    def put(self, item: ListedItem | Withdrawal) -> None:
        """Take one entry or withdrawal."""
        name = f"{self.list_name}/{item.member}" if item.member else self.list_name
        identity = identity_text(item.entry)
        if isinstance(item, Withdrawal):
            self._withdrawn[0].append(identity_hash(name, identity))
            self._withdrawn[1].append(seconds_of(item.time))
            return
        video_id = bytes.fromhex(content_id(item))
        self._order += 1
        self._rows.append(
            (
                video_id,
                bytes.fromhex(item.md5) if item.md5 else None,
                bytes.fromhex(item.sha1) if item.sha1 else None,
                item.duration_seconds,
                name,
                item.disposition or self.disposition,
                item.series,
                item.category,
                item.victim_identified,
                item.offender_identified,
                item.distributed,
                item.tags,
                source_text(item),
                identity_hash(name, identity) if identity else 0,
                seconds_of(item.time),
                self._order,
            )
        )
        if item.frames is not None:
            self._put_frames(video_id, item)
        if len(self._rows) >= _BATCH_ROWS:
            self._batches.append(_batch(self._rows))
            self._rows = []

    def _put_frames(self, video_id: bytes, item: ListedItem) -> None:
        assert item.frames is not None
        n = len(item.frames.t_ms)
        self._frames.append(
            pa.table(
                {
                    "video_id": fixed_binary(np.frombuffer(video_id * n, np.uint8).reshape(n, -1)),
                    "t_ms": pa.array(item.frames.t_ms),
                    "pdq": fixed_binary(item.frames.pdq),
                    "pdq_inner": pa.nulls(n, pa.binary(32)),
                    "quality": pa.array(item.frames.quality),
                    "informative": pa.array(item.frames.informative(self.min_quality)),
                    "scheme": pa.array([item.frames.scheme] * n),
                    "order": pa.array(np.full(n, self._order, np.int64)),
                },
                schema=SPILLED_FRAMES,
            )
        )
        self._frame_rows += n

    @property
    def full(self) -> bool:
        """Enough is held in memory for a run: call `end_run`."""
        return (
            len(self._batches) * _BATCH_ROWS >= RUN_ROWS
            or self._frame_rows >= RUN_ROWS
            or len(self._frames) >= _BATCH_ROWS
            or len(self._withdrawn[0]) >= RUN_ROWS * 4
        )

    def end_run(self) -> None:
        """Write what is held as a run that ends where `progress` says. Raises KnownStoreError when the disk is full."""
        if self._rows:
            self._batches.append(_batch(self._rows))
        stem = self.folder / f"{self._runs:06d}"
        try:
            if self._batches:
                _write_run(stem.with_suffix(".videos"), pa.Table.from_batches(self._batches, SPILLED_VIDEOS))
            if self._frames:
                _write_run(stem.with_suffix(".frames"), pa.concat_tables(self._frames))
            if self._withdrawn[0]:
                columns = [np.frombuffer(column, column.typecode) for column in self._withdrawn]
                table = pa.table(dict(zip(WITHDRAWN.names, columns, strict=True)), schema=WITHDRAWN)
                _write_file(stem.with_suffix(".withdrawn"), WITHDRAWN, table.combine_chunks().to_batches())
            state = {**{name: getattr(self.progress, name) for name in Progress.__slots__}, "order": self._order}
            with new_file(stem.with_suffix(".tmp")) as file:
                file.write(json.dumps(state).encode())
                sync(file)
            stem.with_suffix(".tmp").rename(stem.with_suffix(".json"))
            sync_folder(self.folder)
        except OSError as error:
            raise write_error(self.folder, error) from error
        self._runs += 1
        self._rows, self._batches, self._frames, self._frame_rows = [], [], [], 0
        self._withdrawn = (array("Q"), array("q"))

    def _take_over(self) -> None:
        """Go on behind the last complete run; what was written after it is removed."""
        while (self.folder / f"{self._runs:06d}.json").exists():
            self._runs += 1
        for path in self.folder.iterdir():
            if path.name in (LOCK, SOURCES):
                continue
            if not path.stem.isdigit() or int(path.stem) >= self._runs or path.suffix == ".tmp":
                path.unlink()
        if self._runs:
            state = json.loads((self.folder / f"{self._runs - 1:06d}.json").read_bytes())
            self._order = state.pop("order")
            self.progress = Progress(**state)

    # ---- reading ----

    @property
    def resumed(self) -> bool:
        """An earlier import's runs are there."""
        return self._runs > 0

    def videos(self, partition: int) -> pa.Table:
        """Return the entries of one range of ids, in any order."""
        return self._partition(".videos", SPILLED_VIDEOS, partition)

    def frames(self, partition: int) -> pa.Table:
        """Return the frames of one range of ids, in any order."""
        return self._partition(".frames", SPILLED_FRAMES, partition)

    @property
    def has_frames(self) -> bool:
        """Some entries brought frame hashes."""
        return any((self.folder / f"{run:06d}.frames").exists() for run in range(self._runs))

    def withdrawn(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return the identities taken back, ascending and distinct, and when (the latest; 0 where not stated)."""
        parts = [WITHDRAWN.empty_table()]
        for run in range(self._runs):
            path = self.folder / f"{run:06d}.withdrawn"
            if path.exists():
                with _opened(path) as reader:
                    parts.append(reader.read_all())
        table = pa.concat_tables(parts)
        identity, time = table["identity"].to_numpy(), table["time"].to_numpy()
        order = np.lexsort((time, identity))
        identity, time = identity[order], time[order]
        last = np.r_[identity[1:] != identity[:-1], True] if len(identity) else np.zeros(0, np.bool_)
        return identity[last], time[last]

    def discard(self) -> None:
        """Remove it from the disk."""
        shutil.rmtree(self.folder, ignore_errors=True)
        parent = self.folder.parent
        with contextlib.suppress(OSError):
            parent.rmdir()

    def _partition(self, suffix: str, schema: pa.Schema, partition: int) -> pa.Table:
        batches = []
        for run in range(self._runs):
            path = self.folder / f"{run:06d}{suffix}"
            if path.exists():
                with _opened(path) as reader:
                    batches.append(reader.get_batch(partition))
        return pa.Table.from_batches(batches, schema)


Stamp = tuple[str, int, int]
"""A file: path, size, time of change in nanoseconds."""


def stamp(path: Path) -> Stamp:
    """Return what tells whether a file is still the one that was read. Raises OSError."""
    found = path.stat()
    return os.fspath(path.absolute()), found.st_size, found.st_mtime_ns


def write_sources(folder: Path, stamps: Sequence[Stamp]) -> None:
    """Note in the folder of an import which files it reads. Raises KnownStoreError."""
    try:
        (folder / SOURCES).unlink(missing_ok=True)
        with new_file(folder / SOURCES) as file:
            file.write(json.dumps(stamps).encode())
            sync(file)
    except OSError as error:
        raise write_error(folder, error) from error


def sweep_imports(store: Path) -> int:
    """Remove what stopped imports left behind that cannot be resumed; return how many there were.

    An import that runs holds its lock and stays; so does a stopped one whose files are still as they were.
    """
    swept = 0
    for folder in sorted((store / "work").glob("import-*")):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _resumable(folder):
                    shutil.rmtree(folder)
                    swept += 1
            finally:
                os.close(descriptor)
    with contextlib.suppress(OSError):
        (store / "work").rmdir()
    return swept


def _resumable(folder: Path) -> bool:
    try:
        stamps = json.loads((folder / SOURCES).read_bytes())
    except (OSError, ValueError):
        return time.time() - folder.stat().st_mtime < UNNAMED_SECONDS
    try:
        return all(list(stamp(Path(path))) == [path, size, changed] for path, size, changed in stamps)
    except (OSError, ValueError, TypeError):
        return False


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    try:
        with pa.OSFile(str(path), "rb") as source:
            yield pa.ipc.open_file(source)
    except (OSError, pa.ArrowException) as error:
        raise KnownStoreError(f"{path} is damaged ({error}); remove its folder and import again.") from error


def _batch(rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [pa.array(values, f.type) for values, f in zip(zip(*rows, strict=True), SPILLED_VIDEOS, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=SPILLED_VIDEOS)


def _write_run(path: Path, table: pa.Table) -> None:
    """Write a table as one record batch a range of ids."""
    ids = binary_column(table["video_id"])
    part = ids[:, 0].astype(np.int64)
    order = np.argsort(part, kind="stable")
    bounds = np.searchsorted(part[order], np.arange(PARTITIONS + 1))
    batches = []
    for number in range(PARTITIONS):
        chosen = table.take(pa.array(order[bounds[number] : bounds[number + 1]])).combine_chunks()
        batches.append(chosen.to_batches()[0] if chosen.num_rows else _empty(table.schema))
    _write_file(path, table.schema, batches)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


def _write_file(path: Path, schema: pa.Schema, batches: Sequence[pa.RecordBatch]) -> None:
    with new_file(path) as file:
        with pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        sync(file)
