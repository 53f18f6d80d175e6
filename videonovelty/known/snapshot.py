"""One pinned state of the known store: what is known, read by id, by digest or shard by shard."""

from __future__ import annotations

import heapq
import itertools
import os
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videonovelty.known import manifest as manifests
from videonovelty.known.manifest import FileEntry, Manifest
from videonovelty.known.remote import mirror, remote_of
from videonovelty.known.shards import (
    ID_BYTES,
    LocalCodes,
    ShardCodes,
    ShardRef,
    VideoIds,
    binary_column,
    damage,
    digest_key,
    group_starts,
    map_index,
    mapped_ids,
    open_shard,
    raw_id,
    raw_ids,
    unpack_levels,
    unpack_signs,
)
from videonovelty.records import (
    DIGEST_BYTES,
    F64,
    FINE_CELLS,
    LOCAL_BYTES,
    MOTION_CELLS,
    U8,
    CodedUnit,
    ContentHashes,
    KnownFrames,
    KnownVideo,
    ListMembership,
    LocalFeatures,
    MotionProfile,
)
from videonovelty.schemas import KNOWN_VIDEOS

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_OPEN_FILES = 64
_KEPT_GROUPS = 4
GROUPED_ROWS = 32_000_000
"""Local descriptors searched together, of several shards where these are small."""
_FRAME_COLUMNS = ["t_ms", "pdq", "pdq_inner", "quality", "informative"]
_CODED_COLUMNS = ["video_id", "first_packet", "rows", "digests", "t_ms"]
_LOCAL_COLUMNS = ["t_ms", "code", "x", "y", "scale", "angle"]


@dataclass(frozen=True, slots=True, eq=False)
class KnownLocal:
    """The stored local descriptors of one known video."""

    video_id: str
    seconds: F64
    """Time of each keyframe that has descriptors; shape (n,), ascending."""
    features: LocalFeatures
    """Keyframe i of `seconds` owns rows [offsets[i], offsets[i + 1]); no mirrored codes."""


class Snapshot:
    """One snapshot of the store: pinned and immutable. Opening reads the manifest alone; it pickles as path and number.

    `hold` is what keeps its files from being swept: it ends with the object, and with the process. A pickled one has
    none: who sent it keeps theirs. Files of a store that is elsewhere are fetched when they are first read; it pickles
    as URL and number.

    Every method raises KnownStoreError when a file it needs is missing or damaged.
    """

    def __init__(self, store: Path | str, number: int, hold: int | None = None) -> None:
        if hold is not None:
            weakref.finalize(self, os.close, hold)
        self.path = mirror(store)
        self._remote = remote_of(self.path)
        self._manifest, self.manifest_sha256 = manifests.read(self.path, number)
        self._digests = {
            name: sha256
            for entry in self._manifest.files
            for name, sha256 in ((entry.path, entry.sha256), (entry.index_path, entry.index_sha256))
        }
        self._files: OrderedDict[str, tuple[pq.ParquetFile, I64]] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()
        self._indexes: dict[str, pa.RecordBatch] = {}
        self._ranges: dict[tuple[str, str], tuple[U8, U8]] = {}
        self._bounds: dict[str, tuple[I64, I64]] = {}
        self._removed: Removed | None = None

    def __reduce__(self) -> tuple[type[Snapshot], tuple[Path | str, int]]:
        """Pickle as where it is, not what was read."""
        return Snapshot, (self.path if self._remote is None else self._remote.url, self.number)

    def __repr__(self) -> str:
        return f"Snapshot({str(self.path)!r}, {self.number}: {self.n_videos} videos, {self.n_frames} keyframes)"

    @property
    def number(self) -> int:
        """Its number in the store."""
        return self._manifest.number

    @property
    def manifest(self) -> Manifest:
        """What it consists of."""
        return self._manifest

    @property
    def schemes(self) -> tuple[str, ...]:
        """Signature schemes there are shards of, sorted."""
        return tuple(sorted({f.scheme for f in self._manifest.files if f.scheme and f.kind != "coded"}))

    @property
    def n_videos(self) -> int:
        """Videos on at least one list."""
        return self._manifest.n_videos

    @property
    def n_frames(self) -> int:
        """Stored keyframes of these videos, of all schemes."""
        return self._manifest.n_frames

    # ---- videos ----

    def lookup(self, hashes: Sequence[ContentHashes]) -> list[KnownVideo | None]:
        """Return for each content the known video with its bytes, or None. Ask for many at once: it is much cheaper.

        The SHA-256 decides. An entry known by MD5 or SHA-1 alone also counts, unless another digest the list gives
        contradicts it; what several entries of the same bytes say is put together.
        """
        keys: list[int] = []
        owners: list[int] = []
        for place, content in enumerate(hashes):
            for digest in (content.video_id, content.md5, content.sha1):
                if digest:
                    keys.append(digest_key(bytes.fromhex(digest)))
                    owners.append(place)
        found: list[list[VideoRow]] = [[] for _ in hashes]
        for owner, row in self._rows_by_key(np.array(keys, np.uint64), np.array(owners, np.int64)):
            if row.is_content(hashes[owner]):
                found[owner].append(row)
        return [_merged(content.video_id, rows) for content, rows in zip(hashes, found, strict=True)]

    def describe(self, video_ids: Iterable[str]) -> dict[str, KnownVideo]:
        """Return the known videos among these ids; unknown and removed ids are left out."""
        wanted = list(dict.fromkeys(video_ids))
        keys = np.array([digest_key(raw_id(v)) for v in wanted], np.uint64)
        found: dict[str, list[VideoRow]] = {}
        for owner, row in self._rows_by_key(keys, np.arange(len(wanted))):
            if row.video_id == wanted[owner]:
                found.setdefault(row.video_id, []).append(row)
        videos = {video_id: _merged(video_id, rows) for video_id, rows in found.items()}
        return {video_id: videos[video_id] for video_id in wanted if videos.get(video_id)}  # type: ignore[misc]

    def videos(self) -> Iterator[KnownVideo]:
        """Yield every known video, in the order of ids; holds one row group of each videos file."""
        sources = [self._rows_in_order(entry) for entry in self._manifest.of_kind("videos")]
        rows = heapq.merge(*sources, key=lambda row: row.video_id)
        for video_id, same in itertools.groupby(rows, key=lambda row: row.video_id):
            video = _merged(video_id, list(same))
            if video is not None:
                yield video

    def _rows_in_order(self, entry: FileEntry) -> Iterator[VideoRow]:
        for table in self.tables(entry):
            for first in range(0, table.num_rows, 1024):
                yield from self._alive_rows(entry, table.slice(first, 1024))

    def ids_of_list(self, list_name: str) -> list[str]:
        """Return the ids of the videos on a list, ascending."""
        found: set[str] = set()
        for entry in self._manifest.of_kind("videos"):
            for table in self.tables(entry):
                on_list = table.filter(pc.equal(table["list"], list_name))
                ids = binary_column(on_list["video_id"])[self.alive_mask(entry, on_list)]
                found |= {raw.tobytes().hex() for raw in ids}
        return sorted(found)

    def count_videos(self) -> tuple[int, dict[str, int], dict[str, int]]:
        """Return the number of videos, and of videos on each list and of each disposition."""
        columns = ["video_id", "list", "disposition"]
        parts = [
            table.filter(pa.array(self.alive_mask(entry, table))).select(columns)
            for entry in self._manifest.of_kind("videos")
            for table in self.tables(entry)
        ]
        if not parts:
            return 0, {}, {}
        rows = pa.concat_tables(parts)

        def count(column: str) -> dict[str, int]:
            distinct = rows.group_by(["video_id", column]).aggregate([]).group_by(column).aggregate([([], "count_all")])
            return dict(sorted(zip(distinct[column].to_pylist(), distinct["count_all"].to_pylist(), strict=True)))

        return rows.group_by("video_id").aggregate([]).num_rows, count("list"), count("disposition")

    def entries_added(self) -> dict[str, set[int]]:
        """Return for each list the numbers of the snapshots in which entries of it that still stand were added."""
        found: dict[str, set[int]] = {}
        columns = ["list", "added_in_snapshot", *(["video_id"] if len(self.removed) else [])]
        for entry in self._manifest.of_kind("videos"):
            for table in self.tables(entry, columns):
                rows = table.filter(pa.array(self.alive_mask(entry, table))) if len(columns) > 2 else table
                pairs = rows.group_by(["list", "added_in_snapshot"]).aggregate([])
                for name, number in zip(pairs["list"].to_pylist(), pairs["added_in_snapshot"].to_pylist(), strict=True):
                    found.setdefault(name, set()).add(number)
        return found

    def signed(self, video_ids: Sequence[str], scheme: str) -> set[str]:
        """Return those of the ids whose signatures are stored under a scheme."""
        return self.stored("profiles", video_ids, scheme)

    def stored(self, kind: str, video_ids: Sequence[str], scheme: str) -> set[str]:
        """Return those of the ids that have rows of a kind (`frames`, `local`, `profiles`) under a scheme."""
        found: set[str] = set()
        wanted = raw_ids(video_ids)
        for entry in self._manifest.of_kind(kind, scheme):
            places = self._positions(entry, wanted)
            found |= {video_ids[i] for i in np.flatnonzero(places >= 0).tolist()}
        return found

    # ---- signatures ----

    def frame_shards(self, scheme: str) -> tuple[ShardRef, ...]:
        """Return the shards of keyframe codes of a scheme, largest first."""
        return self._shards("frames", scheme)

    def local_shards(self, scheme: str) -> tuple[ShardRef, ...]:
        """Return the shards of local descriptors of a scheme, largest first."""
        return self._shards("local", scheme)

    def load_codes(self, shard: ShardRef) -> ShardCodes:
        """Read the codes of one shard: 64 bytes a row where borders were found, 32 where nowhere."""
        file, _ = self._open(str(shard.path), "frames", shard.rows)
        n = shard.rows
        seconds = np.empty(n, np.float64)
        pdq, has_inner = np.empty((n, 32), np.uint8), np.zeros(n, np.bool_)
        quality, informative = np.empty(n, np.uint8), np.empty(n, np.bool_)
        inner: U8 | None = None
        place = 0
        with damage(shard.path):
            for group in range(file.metadata.num_row_groups):
                table = file.read_row_group(group, columns=_FRAME_COLUMNS, use_threads=False)
                stop = place + table.num_rows
                _fill_binary(table["pdq"], pdq[place:stop])
                column = table["pdq_inner"]
                if column.null_count < len(column):
                    if inner is None:
                        inner = np.empty((n, 32), np.uint8)
                        inner[:place] = pdq[:place]
                    valid = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
                    inner[place:stop] = pdq[place:stop]
                    inner[place + valid] = binary_column(column)[valid]
                    has_inner[place + valid] = True
                elif inner is not None:
                    inner[place:stop] = pdq[place:stop]
                seconds[place:stop] = table["t_ms"].to_numpy()
                quality[place:stop] = table["quality"].to_numpy()
                informative[place:stop] = table["informative"].to_numpy(zero_copy_only=False)
                place = stop
                del table, column  # the next row group takes their memory, which is in the processor's cache
        seconds /= 1000.0
        ids, video_index, keep = self._rows_of_shard(shard)
        codes = [pdq, pdq if inner is None else inner]
        if keep is not None:
            codes = [c[keep] for c in codes] if inner is not None else [pdq[keep]] * 2
            seconds, has_inner, quality, informative = seconds[keep], has_inner[keep], quality[keep], informative[keep]
        return ShardCodes(ids, video_index, seconds, codes[0], codes[1], has_inner, quality, informative)

    def local_groups(self, scheme: str) -> list[tuple[ShardRef, ...]]:
        """Return the shards of local descriptors in groups that are searched together, of `GROUPED_ROWS` at most.

        A query looks into every bucket within reach, and fuller buckets are fewer. What a descriptor's vote weighs
        depends on what it meets in its group, so how they are grouped follows from the snapshot alone.
        """
        groups: list[list[ShardRef]] = []
        for shard in self.local_shards(scheme):
            if not groups or sum(one.rows for one in groups[-1]) + shard.rows > GROUPED_ROWS:
                groups.append([])
            groups[-1].append(shard)
        return [tuple(group) for group in groups]

    def load_local_codes(self, *shards: ShardRef) -> LocalCodes:
        """Read the local descriptors of some shards, one after the other, 20 bytes a row.

        A video that has rows in two of them counts as two.
        """
        total = sum(shard.rows for shard in shards)
        codes, seconds = np.empty((total, LOCAL_BYTES), np.uint8), np.empty(total, np.float64)
        video_index, ids = np.empty(total, np.int32), [np.zeros((0, ID_BYTES), np.uint8)]
        n_videos = start = 0
        for shard in shards:
            file, _ = self._open(str(shard.path), "local", shard.rows)
            place = start
            with damage(shard.path):
                for group in range(file.metadata.num_row_groups):
                    table = file.read_row_group(group, columns=["t_ms", "code"], use_threads=False)
                    stop = place + table.num_rows
                    _fill_binary(table["code"], codes[place:stop])
                    np.divide(table["t_ms"].to_numpy(), 1000.0, out=seconds[place:stop])
                    place = stop
            mine, index, keep = self._rows_of_shard(shard)
            stop = start + len(index)
            if keep is not None:
                codes[start:stop], seconds[start:stop] = codes[start:place][keep], seconds[start:place][keep]
            np.add(index, n_videos, out=video_index[start:stop])
            ids.append(mine.raw)
            n_videos += len(mine)
            start = stop
        return LocalCodes(VideoIds(np.concatenate(ids)), video_index[:start], seconds[:start], codes[:start])

    def frames_of(self, video_ids: Sequence[str], scheme: str) -> dict[str, KnownFrames]:
        """Return the stored keyframes of these videos; those without any are left out."""
        found: dict[str, KnownFrames] = {}
        for video_id, table in self._tables_of("frames", video_ids, scheme, _FRAME_COLUMNS):
            pdq, inner_column = binary_column(table["pdq"]), table["pdq_inner"]
            inner = pdq
            if inner_column.null_count < len(inner_column):
                valid = inner_column.is_valid().to_numpy(zero_copy_only=False)
                inner = np.where(valid[:, None], binary_column(inner_column), pdq)
            found[video_id] = KnownFrames(
                video_id=video_id,
                pts_seconds=table["t_ms"].to_numpy() / 1000.0,
                pdq=pdq,
                pdq_inner=inner,
                quality=table["quality"].to_numpy(),
                informative=table["informative"].to_numpy(zero_copy_only=False),
            )
        return found

    def motion_of(self, video_ids: Sequence[str], scheme: str) -> dict[str, MotionProfile]:
        """Return the stored motion profiles of these videos."""
        found: dict[str, MotionProfile] = {}
        for video_id, table in self._tables_of(
            "profiles", video_ids, scheme, ["step_ms", "signs", "fine", "fine_every", "levels"]
        ):
            found[video_id] = MotionProfile(
                step_seconds=table["step_ms"][0].as_py() / 1000.0,
                signs=unpack_signs(table["signs"][0].as_py(), MOTION_CELLS),
                fine=unpack_signs(table["fine"][0].as_py(), FINE_CELLS),
                fine_every=table["fine_every"][0].as_py(),
                levels=unpack_levels(table["levels"][0].as_py()),
            )
        return found

    def local_of(self, video_ids: Sequence[str], scheme: str) -> dict[str, KnownLocal]:
        """Return the stored local descriptors of these videos; those without any are left out."""
        found: dict[str, KnownLocal] = {}
        for video_id, table in self._tables_of("local", video_ids, scheme, _LOCAL_COLUMNS):
            times, first = np.unique(table["t_ms"].to_numpy(), return_index=True)
            features = LocalFeatures(
                offsets=np.append(first, table.num_rows).astype(np.int64),
                codes=binary_column(table["code"]),
                mirrored_codes=np.zeros((0, LOCAL_BYTES), np.uint8),
                xy=np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1),
                scale=table["scale"].to_numpy(),
                angle=table["angle"].to_numpy(),
            )
            found[video_id] = KnownLocal(video_id, times / 1000.0, features)
        return found

    @property
    def has_coded(self) -> bool:
        """Whether digests of coded packets of any video are stored."""
        return bool(self._manifest.of_kind("coded"))

    def coded(self, video_ids: Sequence[str], recipe: str) -> set[str]:
        """Return those of the ids whose coded packets are stored under a recipe."""
        keys = np.array([digest_key(raw_id(v)) for v in video_ids], np.uint64)
        found: set[str] = set()
        for entry in self._manifest.of_kind("coded", recipe):
            for owner, table, _ in self._coded_rows(entry, keys, len(keys)):
                if table["video_id"][0].as_py().hex() == video_ids[owner] and table["first_packet"][0].as_py() == 0:
                    found.add(video_ids[owner])
        return found

    def coded_units(self, first_digests: Sequence[bytes], recipe: str, *, at_most: int) -> list[list[CodedUnit]]:
        """Return for each digest of a first packet the known units that begin with it, `at_most` of a shard."""
        keys = np.array([digest_key(digest) for digest in first_digests], np.uint64)
        found: list[list[CodedUnit]] = [[] for _ in first_digests]
        for entry in self._manifest.of_kind("coded", recipe):
            for owner, table, row in self._coded_rows(entry, keys, at_most):
                begins = table["digests"][0].as_py()[:DIGEST_BYTES] == first_digests[owner]
                if begins and table["rows"][0].as_py() > 0:
                    found[owner].append(self._coded_unit(entry, row, table))
        return found

    def _coded_rows(
        self, entry: FileEntry, keys: npt.NDArray[np.uint64], at_most: int
    ) -> Iterator[tuple[int, pa.Table, int]]:
        """Yield (place of the key, one row, its number) of the alive rows of a coded file that a key may mean."""
        index = self._index(entry.index_path)
        known = index.column("key").to_numpy()
        order = np.argsort(keys, kind="stable")  # neighbours in the index one after the other
        low = np.searchsorted(known, keys[order], side="left")
        high = np.minimum(np.searchsorted(known, keys[order], side="right"), low + at_most)
        numbers = index.column("row")
        for owner, first, stop in zip(order.tolist(), low.tolist(), high.tolist(), strict=True):
            for place in range(first, stop):
                row = numbers[place].as_py()
                table = self._range(entry, row, row + 1, _CODED_COLUMNS)
                if not self.removed.whole_videos(binary_column(table["video_id"]), entry.added)[0]:
                    yield owner, table, row

    def _coded_unit(self, entry: FileEntry, row: int, first: pa.Table) -> CodedUnit:
        rows = first["rows"][0].as_py()
        table = first if rows == 1 else self._range(entry, row, row + rows, _CODED_COLUMNS)
        digests = b"".join(table["digests"].to_pylist())
        times = np.frombuffer(b"".join(table["t_ms"].to_pylist()), "<i4")
        return CodedUnit(
            video_id=first["video_id"][0].as_py().hex(),
            first_packet=first["first_packet"][0].as_py(),
            pts_seconds=times / 1000.0,
            digests=np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES),
        )

    def stop_codes(self, scheme: str) -> U8:
        """Return the PDQ codes of stop frames of a scheme, shape (k, 32): pictures many unrelated videos share."""
        parts = [binary_column(t["pdq"]) for e in self._manifest.of_kind("stop", scheme) for t in self.tables(e)]
        return np.concatenate(parts) if parts else np.zeros((0, 32), np.uint8)

    def decisions(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield what analysts decided, rows of DECISIONS in the order they were recorded."""
        for entry in sorted(self._manifest.of_kind("decisions"), key=lambda e: e.added):
            for table in self.tables(entry):
                yield table if columns is None else table.select(list(columns))

    # ---- files ----

    @property
    def removed(self) -> Removed:
        """The tombstones of this snapshot."""
        if self._removed is None:
            self._removed = Removed(
                (entry.added, table) for entry in self._manifest.of_kind("removed") for table in self.tables(entry)
            )
        return self._removed

    def tables(
        self, entry: FileEntry, columns: Sequence[str] | None = None, *, low: int = 0, high: int = 1 << 32
    ) -> Iterator[pa.Table]:
        """Yield a file's row groups, all columns or some; only those with ids that begin with a number in [low, high).

        Numbers are of four bytes; groups at the edges hold other ids too.
        """
        path = self.path / entry.path
        _, starts = self._open(str(path), entry.kind, entry.rows)
        groups: Iterable[int] = range(len(starts) - 1)
        if (low, high) != (0, 1 << 32):
            first, last = self._group_ids(entry)
            groups = np.flatnonzero((last >= low) & (first < high)).tolist()
        for group in groups:
            file, _ = self._open(str(path), entry.kind, entry.rows)  # it may have been closed to open others
            with damage(path):
                table = file.read_row_group(group, columns, use_threads=False)
            yield table

    def _group_ids(self, entry: FileEntry) -> tuple[I64, I64]:
        """Return what the first and the last id of each row group of a file sorted by ids begin with."""
        if entry.path not in self._bounds:
            file, starts = self._open(str(self.path / entry.path), entry.kind, entry.rows)
            column = file.schema_arrow.names.index("video_id")
            found = np.zeros((2, len(starts) - 1), np.int64)
            for group in range(len(starts) - 1):
                told = file.metadata.row_group(group).column(column).statistics
                known = told is not None and told.has_min_max
                found[0, group] = int.from_bytes(told.min[:4], "big") if known else 0
                found[1, group] = int.from_bytes(told.max[:4], "big") if known else 1 << 32
            self._bounds[entry.path] = (found[0], found[1])
        return self._bounds[entry.path]

    def ref(self, entry: FileEntry) -> ShardRef:
        """Return the small description of a shard that tasks take."""
        return ShardRef(
            kind=entry.kind,
            path=self.path / entry.path,
            rows=entry.rows,
            sha256=entry.sha256,
            scheme=entry.scheme,
            added=entry.added,
            index_path=self.path / entry.index_path,
        )

    def rows_of(self, entry: FileEntry) -> tuple[U8, I64, Bool]:
        """Return a shard's video ids (v, 32), each video's number of rows, and whether it is alive."""
        ids, rows = self.stored_rows(entry)
        return ids, rows, ~self.removed.whole_videos(ids, entry.added)

    def stored_rows(self, entry: FileEntry) -> tuple[U8, I64]:
        """Return a shard's video ids (v, 32) and each video's number of rows, removed or not; reads no other file."""
        index = self._index(entry.index_path)
        return mapped_ids(index), index.column("rows").to_numpy()

    def alive_mask(self, entry: FileEntry, table: pa.Table) -> Bool:
        """Tell for rows of a videos file which are alive."""
        return self.removed.alive(binary_column(table["video_id"]), table["list"], entry.added)

    def _shards(self, kind: str, scheme: str) -> tuple[ShardRef, ...]:
        entries = sorted(self._manifest.of_kind(kind, scheme), key=lambda e: (-e.rows, e.path))
        return tuple(self.ref(entry) for entry in entries)

    def _open(self, path: str, kind: str, rows: int) -> tuple[pq.ParquetFile, I64]:
        kept = self._files.get(path)
        if kept is None:
            self._fetch(str(Path(path).relative_to(self.path)))
            file = open_shard(Path(path), kind, rows)
            kept = (file, group_starts(file))
            self._files[path] = kept
            if len(self._files) > _OPEN_FILES:
                _, (oldest, _starts) = self._files.popitem(last=False)
                oldest.close()
        else:
            self._files.move_to_end(path)
        return kept

    def _fetch(self, name: str) -> None:
        """See to it that a file of the snapshot is here; one that is only staged is."""
        if self._remote is not None and name in self._digests:
            self._remote.fetch(name, self._digests[name])

    def _index(self, index_path: str) -> pa.RecordBatch:
        if index_path not in self._indexes:
            self._fetch(index_path)
            self._indexes[index_path] = map_index(self.path / index_path)
        return self._indexes[index_path]

    def _range(self, entry: FileEntry, first: int, stop: int, columns: list[str]) -> pa.Table:
        """Read rows [first, stop), keeping the last row groups: neighbours are often asked for one after the other."""
        path = self.path / entry.path
        file, starts = self._open(str(path), entry.kind, entry.rows)
        low = int(np.searchsorted(starts, first, side="right")) - 1
        high = max(low + 1, int(np.searchsorted(starts, stop, side="left")))
        parts = []
        for group in range(low, high):
            key = (entry.path, group)
            table = self._groups.get(key)
            if table is None or not set(columns) <= set(table.column_names):
                with damage(path):
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                self._groups[key] = table
                if len(self._groups) > _KEPT_GROUPS:
                    self._groups.popitem(last=False)
            begin, end = max(first, int(starts[group])), min(stop, int(starts[group + 1]))
            parts.append(table.slice(begin - int(starts[group]), end - begin).select(columns))
        return pa.concat_tables(parts)

    def _positions(self, entry: FileEntry, wanted: U8) -> I64:
        """Return the place in a shard's index of each wanted video that is in it and alive, else −1."""
        ids = mapped_ids(self._index(entry.index_path))
        places = VideoIds(ids).positions(wanted)
        there = np.flatnonzero(places >= 0)
        if len(there):
            dead = self.removed.whole_videos(wanted[there], entry.added)
            places[there[dead]] = -1
        return places

    def _tables_of(
        self, kind: str, video_ids: Sequence[str], scheme: str, columns: list[str]
    ) -> Iterator[tuple[str, pa.Table]]:
        wanted = list(dict.fromkeys(video_ids))
        raw = raw_ids(wanted)
        done: set[int] = set()
        for entry in self._manifest.of_kind(kind, scheme):
            if len(done) == len(wanted):
                return
            places = self._positions(entry, raw)
            index = self._index(entry.index_path)
            there = np.flatnonzero(places >= 0)
            for i in there[np.argsort(places[there])].tolist():
                if i in done:
                    continue
                done.add(i)
                first = index.column("start")[int(places[i])].as_py()
                rows = index.column("rows")[int(places[i])].as_py()
                yield wanted[i], self._range(entry, first, first + rows, columns)

    def _rows_of_shard(self, shard: ShardRef) -> tuple[VideoIds, npt.NDArray[np.int32], Bool | None]:
        """Return the alive videos of a shard, the video of each row, and which rows to keep (None: all)."""
        index = self._index(str(shard.index_path.relative_to(self.path)))
        ids = mapped_ids(index)
        counts = index.column("rows").to_numpy()
        dead = self.removed.whole_videos(ids, shard.added)
        if not dead.any():
            return VideoIds(ids), np.repeat(np.arange(len(ids), dtype=np.int32), counts), None
        alive = ~dead
        numbers = np.arange(int(alive.sum()), dtype=np.int32)
        return VideoIds(ids[alive]), np.repeat(numbers, counts[alive]), np.repeat(alive, counts)

    def forget(self) -> None:
        """Let go of files and mapped indexes that were opened; what is asked for next is opened again."""
        self._files.clear()
        self._groups.clear()
        self._indexes.clear()

    def memberships(self, ids: U8) -> pa.Table:
        """Return the rows of KNOWN_VIDEOS about these ids (n, 32) that stand, in any order."""
        keys = np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64)
        parts = [KNOWN_VIDEOS.empty_table()]
        ordered = ids[np.argsort(keys)[[0, -1]], :8] if len(ids) else ids
        first, last = (ordered[0].tobytes().hex(), ordered[1].tobytes().hex()) if len(ids) else ("", "")
        near = [e for e in self._manifest.of_kind("videos") if e.first_id[:16] <= last and first <= e.last_id[:16]]
        for _, taken in self._taken_by_key(keys, np.arange(len(ids)), near):
            asked = VideoIds(ids).positions(binary_column(taken["video_id"])) >= 0
            parts.append(taken.filter(pa.array(asked)))
        return pa.concat_tables(parts)

    def same_content(self, video_ids: Iterable[str]) -> dict[str, KnownVideo]:
        """Return the known videos among these ids with what every list says about the same bytes.

        A content may be in the store several times: by its SHA-256, and under the ids of lists that give its MD5 or
        SHA-1 alone.
        """
        own = self.describe(video_ids)
        asked = [ContentHashes(video.video_id, video.md5, video.sha1, 0) for video in own.values()]
        found = zip(own, self.lookup(asked), strict=True)
        return {video_id: replace(video, video_id=video_id) for video_id, video in found if video is not None}

    def _rows_by_key(self, keys: npt.NDArray[np.uint64], owners: I64) -> Iterator[tuple[int, VideoRow]]:
        """Yield the alive rows of the videos files one of whose digests begins with a key, with the key's owner."""
        for who, taken in self._taken_by_key(keys, owners):
            for owner, row in zip(who.tolist(), taken.to_pylist(), strict=True):
                yield owner, VideoRow.of(row)

    def _taken_by_key(
        self, keys: npt.NDArray[np.uint64], owners: I64, entries: Iterable[FileEntry] | None = None
    ) -> Iterator[tuple[I64, pa.Table]]:
        """Yield such rows as tables, with the owner of each row's key; of all videos files, or of some."""
        if len(keys) == 0:
            return
        for entry in self._manifest.of_kind("videos") if entries is None else entries:
            index = self._index(entry.index_path)
            known = index.column("key").to_numpy()
            low = np.searchsorted(known, keys, side="left")
            count = np.searchsorted(known, keys, side="right") - low
            if not count.any():
                continue
            places = np.concatenate(
                [np.arange(a, a + c) for a, c in zip(low[count > 0], count[count > 0], strict=True)]
            )
            rows = index.column("row").to_numpy()[places]
            owner = np.repeat(owners, count)
            pairs = np.unique(np.stack([rows, owner], axis=1), axis=0)
            _, starts = self._open(str(self.path / entry.path), "videos", entry.rows)
            groups = np.searchsorted(starts, pairs[:, 0], side="right") - 1
            for group in np.unique(groups):
                mine = pairs[groups == group]
                table = self._range(entry, int(starts[group]), int(starts[group + 1]), KNOWN_VIDEOS.names)
                taken = table.take(pa.array(mine[:, 0] - starts[group]))
                alive = self.alive_mask(entry, taken)
                yield mine[alive, 1], taken.filter(pa.array(alive))

    def _alive_rows(self, entry: FileEntry, table: pa.Table) -> Iterator[VideoRow]:
        alive = self.alive_mask(entry, table)
        for row in table.filter(pa.array(alive)).to_pylist():
            yield VideoRow.of(row)


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One row of a videos file: what one list says about one video."""

    video_id: str
    md5: str
    sha1: str
    duration_seconds: float
    membership: ListMembership

    @classmethod
    def of(cls, row: dict[str, object]) -> VideoRow:
        """Make it of a row of KNOWN_VIDEOS."""

        def hex_of(name: str) -> str:
            value = row[name]
            return value.hex() if isinstance(value, bytes) else ""

        duration = row["duration_seconds"]
        tags = row["tags"]
        return cls(
            video_id=hex_of("video_id"),
            md5=hex_of("md5"),
            sha1=hex_of("sha1"),
            duration_seconds=duration if isinstance(duration, float) else 0.0,
            membership=ListMembership(
                list_name=str(row["list"]),
                disposition=str(row["disposition"]),
                series=str(row["series"] or ""),
                category=str(row["category"] or ""),
                victim_identified=str(row["victim_identified"] or "unknown"),
                offender_identified=str(row["offender_identified"] or "unknown"),
                distributed=str(row["distributed"] or "unknown"),
                tags=tuple(str(t) for t in tags) if isinstance(tags, list) else (),
                source=str(row["source"] or ""),
            ),
        )

    def is_content(self, content: ContentHashes) -> bool:
        """Tell whether this row is about these bytes.

        MD5 and SHA-1 collisions can be made on purpose, so one of them counts only when the other, where both sides
        have it, agrees.
        """
        if self.video_id == content.video_id:
            return True
        pairs = [(self.md5, content.md5), (self.sha1, content.sha1)]
        compared = [a == b for a, b in pairs if a and b]
        return bool(compared) and all(compared)


def _merged(video_id: str, rows: list[VideoRow]) -> KnownVideo | None:
    """Return what several rows say about one content; its own rows come before those known by other digests."""
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: (row.video_id != video_id, row.video_id, row.membership.list_name))
    memberships: dict[str, ListMembership] = {}
    for row in rows:
        memberships.setdefault(row.membership.list_name, row.membership)
    return KnownVideo(
        video_id=rows[0].video_id,
        duration_seconds=max(row.duration_seconds for row in rows),
        md5=next((row.md5 for row in rows if row.md5), ""),
        sha1=next((row.sha1 for row in rows if row.sha1), ""),
        memberships=tuple(memberships[name] for name in sorted(memberships)),
    )


class Removed:
    """Tombstones: which videos, or memberships of videos, a snapshot removed, and in which snapshot."""

    def __init__(self, tables: Iterable[tuple[int, pa.Table]]) -> None:
        whole: list[tuple[U8, I64]] = []
        self._listed: dict[tuple[bytes, str], int] = {}
        for number, table in tables:
            lists = np.asarray(table["list"].to_pylist(), object)
            ids = binary_column(table["video_id"])
            all_lists = lists == ""
            whole.append((ids[all_lists], np.full(int(all_lists.sum()), number, np.int64)))
            for i in np.flatnonzero(~all_lists).tolist():
                key = (ids[i].tobytes(), str(lists[i]))
                self._listed[key] = max(number, self._listed.get(key, -1))
        ids = np.concatenate([i for i, _ in whole]) if whole else np.zeros((0, ID_BYTES), np.uint8)
        numbers = np.concatenate([n for _, n in whole]) if whole else np.zeros(0, np.int64)
        order = np.lexsort((numbers, ids.view(f"S{ID_BYTES}").ravel())) if len(ids) else np.zeros(0, np.int64)
        ids, numbers = ids[order], numbers[order]
        last = np.r_[(ids[1:] != ids[:-1]).any(axis=1), True] if len(ids) else np.zeros(0, np.bool_)
        self._ids, self._numbers = np.ascontiguousarray(ids[last]), numbers[last]

    def __len__(self) -> int:
        return len(self._ids) + len(self._listed)

    def whole_videos(self, ids: U8, added: int) -> Bool:
        """Tell which of `ids` (n, 32), in a file of snapshot `added`, were removed altogether since."""
        dead = np.zeros(len(ids), np.bool_)
        if len(self._ids) == 0 or len(ids) == 0:
            return dead
        places = VideoIds(self._ids).positions(np.ascontiguousarray(ids))
        there = places >= 0
        dead[there] = self._numbers[places[there]] > added
        return dead

    def alive(self, ids: U8, lists: pa.ChunkedArray, added: int) -> Bool:
        """Tell which memberships (video, list) in a file of snapshot `added` still stand."""
        alive = ~self.whole_videos(ids, added)
        if self._listed:
            names = lists.to_pylist()
            for i in np.flatnonzero(alive).tolist():
                if self._listed.get((ids[i].tobytes(), names[i]), -1) > added:
                    alive[i] = False
        return alive


def _fill_binary(column: pa.ChunkedArray, out: U8) -> None:
    """Copy a fixed-size binary column into `out` (n, width): the one copy on the way from the file."""
    width = out.shape[1]
    place = 0
    for chunk in column.chunks:
        size = len(chunk)
        if size:
            data = np.frombuffer(chunk.buffers()[1], np.uint8, size * width, chunk.offset * width)
            out[place : place + size] = data.reshape(-1, width)
        place += size
