"""What an imported list changes in the store: files written and synced, in no snapshot yet.

The spilled entries are looked at one range of ids at a time, beside what the snapshot holds for that range. An entry
that says nothing new changes nothing; one that says something else than before replaces what the list said; one the
list took back loses that list's membership, and the video goes when no other list has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from videonovelty.known.listed import LISTED_SCHEMES, identity_hash, unix_seconds
from videonovelty.known.manifest import FileEntry
from videonovelty.known.shards import (
    ID_BYTES,
    SCHEMAS,
    VideoIds,
    binary_column,
    discard_files,
    fixed_binary,
    write_shard,
)
from videonovelty.known.snapshot import Snapshot
from videonovelty.known.spill import PARTITIONS, SPILLED_VIDEOS, Spill
from videonovelty.records import U8
from videonovelty.schemas import KNOWN_FRAMES, KNOWN_VIDEOS

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Membership = tuple[bytes, str]

SHARD_VIDEOS = 1 << 17
SHARD_FRAMES = 1 << 20
_SAYS = ("md5", "sha1", "disposition", "series", "category", "victim_identified", "offender_identified", "distributed")


@dataclass(slots=True)
class Changes:
    """What an import comes to, in numbers."""

    videos_added: int = 0
    memberships_added: int = 0
    memberships_changed: int = 0
    memberships_removed: int = 0
    videos_removed: int = 0
    frames_added: int = 0
    frames_removed: int = 0

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in Changes.__slots__)


@dataclass(slots=True)
class ListUpdate:
    """The files of one import made for one snapshot. Call `stage`, then commit `files` or `discard` them."""

    store: Path
    base: Snapshot
    spill: Spill
    files: list[FileEntry] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    gone: list[bytes] = field(default_factory=list)
    """Ids of videos that are on no list afterwards."""
    _removed: list[Membership] = field(default_factory=list)

    def stage(self) -> None:
        """Write the files. Raises KnownStoreError; then `discard` removes what was written."""
        identities, times = self.spill.withdrawn()
        taken_back = self._taken_back(identities, times)
        sizes = [self.spill.videos(p).num_rows for p in range(PARTITIONS)]
        for parts in _groups(sizes, SHARD_VIDEOS):
            tables = (self._videos(p, identities, times, taken_back.get(p, set())) for p in parts)
            self._write("videos", tables, "")
        if self.spill.has_frames:
            for scheme in LISTED_SCHEMES:
                sizes = [_of_scheme(self.spill.frames(p), scheme).num_rows for p in range(PARTITIONS)]
                for parts in _groups(sizes, SHARD_FRAMES):
                    self._write("frames", (self._frames(p, scheme) for p in parts), scheme)
        self._write_removed()

    def discard(self) -> None:
        """Remove the written files: they will be in no snapshot."""
        discard_files(self.store, self.files)
        self.files = []

    # ---- videos ----

    def _taken_back(self, identities: npt.NDArray[np.uint64], times: I64) -> dict[int, set[Membership]]:
        """Return the memberships of the snapshot that the list withdraws, by partition."""
        found: dict[int, set[Membership]] = defaultdict(set)
        if len(identities) == 0:
            return found
        name = self.spill.list_name
        for entry in self.base.manifest.of_kind("videos"):
            for table in self.base.tables(entry):
                ours = pc.or_(pc.equal(table["list"], name), pc.starts_with(table["list"], f"{name}/"))
                ours = pc.and_(ours, pa.array(self.base.alive_mask(entry, table)))
                rows = table.select(["video_id", "list", "source"]).filter(ours)
                ids = binary_column(rows["video_id"])
                lists, sources = rows["list"].to_pylist(), rows["source"].to_pylist()
                who = [_identity(text or "") for text in sources]
                hashes = [identity_hash(a, b) for a, (b, _) in zip(lists, who, strict=True)]
                stated = np.array([time for _, time in who], np.int64)
                for i in np.flatnonzero(_withdrawn(np.array(hashes, np.uint64), stated, identities, times)).tolist():
                    found[int(ids[i, 0])].add((ids[i].tobytes(), lists[i]))
        return found

    def _videos(
        self, partition: int, identities: npt.NDArray[np.uint64], times: I64, taken_back: set[Membership]
    ) -> pa.Table:
        """Return the new rows of one range of ids, sorted; counts, and notes what is taken out."""
        table = _latest(self.spill.videos(partition), identities, times)
        ids = binary_column(table["video_id"])
        touched = _distinct(np.concatenate([ids, _stacked([v for v, _ in taken_back])]))
        before: dict[bytes, dict[str, bytes]] = defaultdict(dict)
        stored = self.base.memberships(touched) if len(touched) else KNOWN_VIDEOS.empty_table()
        self.base.forget()  # the next range of ids lies in other files
        for video_id, name, says in zip(_ids(stored), stored["list"].to_pylist(), _says(stored), strict=True):
            before[video_id][name] = says
        keep = np.zeros(table.num_rows, np.bool_)
        after: dict[bytes, int] = {}
        for place, (video_id, name, says) in enumerate(
            zip(_ids(table), table["list"].to_pylist(), _says(table), strict=True)
        ):
            said = before.get(video_id, {}).get(name)
            taken_back.discard((video_id, name))
            keep[place] = said != says
            if said is None:
                self.changes.memberships_added += 1
                after[video_id] = after.get(video_id, 0) + 1
            elif said != says:
                self.changes.memberships_changed += 1
                self._removed.append((video_id, name))
        self.changes.videos_added += sum(video_id not in before for video_id in after)
        lost: dict[bytes, int] = defaultdict(int)
        for video_id, name in sorted(taken_back):
            lost[video_id] += 1
            self._removed.append((video_id, name))
            self.changes.memberships_removed += 1
        for video_id, count in lost.items():
            if count == len(before[video_id]) and video_id not in after:
                self.gone.append(video_id)
        number = pa.array(np.full(table.num_rows, self.base.number + 1, np.int64))
        return table.append_column("added_in_snapshot", number).select(KNOWN_VIDEOS.names).filter(pa.array(keep))

    # ---- frames ----

    def _frames(self, partition: int, scheme: str) -> pa.Table:
        """Return the frames of one range of ids that the store lacks, sorted by id and time."""
        table = _of_scheme(self.spill.frames(partition), scheme)
        if table.num_rows == 0:
            return KNOWN_FRAMES.empty_table()
        ids, order = binary_column(table["video_id"]), table["order"].to_numpy()
        sequence = np.lexsort((table["t_ms"].to_numpy(), order, _text(ids)))
        table, ids, order = table.take(pa.array(sequence)), ids[sequence], order[sequence]
        distinct, first, inverse = np.unique(_text(ids), return_index=True, return_inverse=True)
        keep = order == order[first][inverse]  # a content listed twice brings its frames once
        names = VideoIds(ids[first])
        stored = self.base.stored("frames", names, scheme)
        standing = self._standing(ids[first])
        wanted = np.array([bool(standing[i]) and names[i] not in stored for i in range(len(distinct))], np.bool_)
        keep &= wanted[inverse]
        self.changes.frames_added += int(keep.sum())
        return table.select(KNOWN_FRAMES.names).filter(pa.array(keep))

    def _standing(self, ids: U8) -> Bool:
        """Tell which videos are on a list after this import: those not withdrawn in it."""
        gone = set(self.gone)
        there = {raw for entry in self.files if entry.kind == "videos" for raw in self._written(entry, ids)}
        there |= set(_ids(self.base.memberships(ids)))
        return np.array([raw.tobytes() in there and raw.tobytes() not in gone for raw in ids], np.bool_)

    def _written(self, entry: FileEntry, ids: U8) -> Iterator[bytes]:
        low, high = ids[0].tobytes().hex(), ids[-1].tobytes().hex()
        if entry.last_id < low or entry.first_id > high:
            return
        for table in self.base.tables(entry):
            found = binary_column(table["video_id"])
            hit = VideoIds(ids).positions(found) >= 0
            yield from (raw.tobytes() for raw in found[hit])

    # ---- files ----

    def _write(self, kind: str, tables: Iterator[pa.Table], scheme: str) -> None:
        made = write_shard(self.store, kind, tables, scheme=scheme, added=self.base.number + 1)
        if made is not None:
            self.files.append(made)

    def _write_removed(self) -> None:
        rows: list[Membership] = [*self._removed, *((video_id, "") for video_id in self.gone)]
        self.changes.videos_removed = len(self.gone)
        if rows:
            rows.sort()
            table = pa.table(
                {"video_id": fixed_binary(_stacked([v for v, _ in rows])), "list": [name for _, name in rows]},
                schema=SCHEMAS["removed"],
            )
            self._write("removed", iter([table]), "")


def _groups(sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Yield ranges of partitions whose rows fit into one shard."""
    group: list[int] = []
    rows = 0
    for partition, size in enumerate(sizes):
        if group and rows + size > limit:
            yield group
            group, rows = [], 0
        group.append(partition)
        rows += size
    if group:
        yield group


def _latest(table: pa.Table, identities: npt.NDArray[np.uint64], times: I64) -> pa.Table:
    """Return what stands of spilled rows: the latest of each (video, list), none that was withdrawn, sorted by both."""
    if table.num_rows == 0:
        return SPILLED_VIDEOS.empty_table()
    withdrawn = _withdrawn(table["identity"].to_numpy(), table["time"].to_numpy(), identities, times)
    table = table.filter(pa.array(~withdrawn)) if withdrawn.any() else table
    if table.num_rows == 0:
        return SPILLED_VIDEOS.empty_table()
    ids = binary_column(table["video_id"])
    _, lists = np.unique(np.array(table["list"].to_pylist(), object), return_inverse=True)
    sequence = np.lexsort((table["order"].to_numpy(), table["time"].to_numpy(), lists, _text(ids)))
    ids, lists = ids[sequence], lists[sequence]
    last = np.r_[(ids[1:] != ids[:-1]).any(axis=1) | (lists[1:] != lists[:-1]), True]
    return table.take(pa.array(sequence[last]))


def _withdrawn(hashes: npt.NDArray[np.uint64], stated: I64, identities: npt.NDArray[np.uint64], times: I64) -> Bool:
    """Tell which entries were taken back: the withdrawal is not older than the entry, as far as both say when."""
    if len(identities) == 0 or len(hashes) == 0:
        return np.zeros(len(hashes), np.bool_)
    place = np.minimum(np.searchsorted(identities, hashes), len(identities) - 1)
    when = times[place]
    return np.asarray((identities[place] == hashes) & ((when >= stated) | (when == 0)))


def _identity(source: str) -> tuple[str, int]:
    """Return an entry's id in its list and the list's time, of a `source` that `listed.source_text` made."""
    identity, _, time = source.partition(" @")
    return identity.partition(" ")[0], unix_seconds(time)


def _says(table: pa.Table) -> list[Any]:
    """Return for each row all that a list says about a video, as one value to compare."""
    if table.num_rows == 0:
        return []
    columns = [pc.fill_null(table[name].cast(pa.binary()), b"") for name in _SAYS]
    tags = pc.binary_join(table["tags"].combine_chunks(), "\x1f").cast(pa.binary())
    identity = pc.list_element(pc.split_pattern(pc.fill_null(table["source"], ""), " ", max_splits=1), 0)
    parts = [*columns, pc.fill_null(tags, b""), identity.cast(pa.binary())]
    return pc.binary_join_element_wise(*parts, b"\x00").to_pylist()  # type: ignore[no-any-return]


def _of_scheme(frames: pa.Table, scheme: str) -> pa.Table:
    return frames.filter(pc.equal(frames["scheme"], scheme))


def _ids(table: pa.Table) -> list[bytes]:
    return [raw.tobytes() for raw in binary_column(table["video_id"])]


def _text(ids: U8) -> npt.NDArray[np.bytes_]:
    return np.ascontiguousarray(ids).view(f"S{ID_BYTES}").ravel()


def _stacked(ids: Sequence[bytes]) -> U8:
    return np.frombuffer(b"".join(ids), np.uint8).reshape(-1, ID_BYTES)


def _distinct(ids: U8) -> U8:
    if len(ids) == 0:
        return ids
    _, first = np.unique(_text(ids), return_index=True)
    return np.ascontiguousarray(ids[first])
