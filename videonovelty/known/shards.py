"""The files of the known store: Parquet shards sorted by video id, each with a small index that finds a video's rows.

Shards are immutable and may be read by anything that reads Parquet; code columns are plain and uncompressed, so they
are read at the speed of memory. The index beside a shard is an Arrow file that is memory-mapped: looking a video up
touches a few pages, however large the store is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videonovelty.errors import KnownStoreError
from videonovelty.known.manifest import TEMPORARY, FileEntry, new_file, sync, sync_folder, write_error
from videonovelty.known.remote import remote_of
from videonovelty.records import (
    DIGEST_BYTES,
    F64,
    FINE_CELLS,
    LOCAL_BYTES,
    MOST_LEVEL,
    PDQ_BYTES,
    U8,
    CodedStream,
    MotionProfile,
    Signatures,
    best_points,
    thinned,
)
from videonovelty.schemas import (
    DECISIONS,
    FORMAT_VERSION,
    KNOWN_CODED,
    KNOWN_FRAMES,
    KNOWN_LOCAL,
    KNOWN_PROFILES,
    KNOWN_VIDEOS,
)

I64 = npt.NDArray[np.int64]

ID_BYTES = 32

REMOVED = pa.schema(
    [pa.field("video_id", pa.binary(ID_BYTES)), pa.field("list", pa.string())],
    metadata={"videonovelty_kind": "known_removed", "videonovelty_format": str(FORMAT_VERSION)},
)
"""STORE/removed: tombstones. An empty list means the whole video."""
STOP_FRAMES = pa.schema(
    [pa.field("pdq", pa.binary(PDQ_BYTES)), pa.field("videos", pa.int64())],
    metadata={"videonovelty_kind": "known_stop_frames", "videonovelty_format": str(FORMAT_VERSION)},
)
"""STORE/stop: codes of pictures many unrelated videos share, and in how many sampled videos each was met."""

SCHEMAS: dict[str, pa.Schema] = {
    "frames": KNOWN_FRAMES,
    "local": KNOWN_LOCAL,
    "profiles": KNOWN_PROFILES,
    "coded": KNOWN_CODED,
    "videos": KNOWN_VIDEOS,
    "removed": REMOVED,
    "stop": STOP_FRAMES,
    "decisions": DECISIONS,
}
FOLDER = {"frames": "shards", "local": "local", "profiles": "profiles", "coded": "coded", "videos": "videos",
          "removed": "removed", "stop": "stop", "decisions": "decisions"}  # fmt: skip
_SMALL_CHANGE = 128
"""Added to changes of levels, so that the high bytes of small ones, up or down, are the same."""
_PLAIN = {"pdq", "pdq_inner", "code", "digests"}
ROW_GROUP = {"frames": 1 << 15, "local": 1 << 16, "profiles": 1 << 6, "coded": 1 << 8, "videos": 1 << 14,
             "removed": 1 << 16, "stop": 1 << 16, "decisions": 1 << 14}  # fmt: skip
"""Rows read at least to see one video, about a megabyte: small enough for that, large enough to read a whole column at
full speed."""


PACKETS_PER_ROW = 1 << 12
"""Of a row of `coded`, 80 KB: a unit may be a whole film."""


class VideoIds(Sequence[str]):
    """Video ids of a shard, hex text made when asked for; `raw` holds them as uint8 of shape (n, 32), ascending."""

    __slots__ = ("raw",)

    def __init__(self, raw: U8) -> None:
        self.raw = raw

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> VideoIds: ...
    def __getitem__(self, index: int | slice) -> str | VideoIds:
        if isinstance(index, slice):
            return VideoIds(self.raw[index])
        text: str = self.raw[index].tobytes().hex()
        return text

    def positions(self, wanted: U8) -> I64:
        """Return for each of `wanted` (k, 32) its place, or −1."""
        return _search(self.raw, wanted)


@dataclass(frozen=True, slots=True)
class ShardRef:
    """Where a shard is and what it promises; small and picklable, for tasks."""

    kind: str
    path: Path
    rows: int
    sha256: str
    scheme: str
    added: int
    index_path: Path


@dataclass(frozen=True, slots=True, eq=False)
class ShardCodes:
    """The codes of one shard, rows of removed videos left out, sorted by (video, time)."""

    video_ids: VideoIds
    video_index: npt.NDArray[np.int32]
    """Shape (n,): index into `video_ids` of each row's video."""
    seconds: F64
    pdq: U8
    """Shape (n, 32)."""
    pdq_inner: U8
    """Shape (n, 32); equal to `pdq` where there is no border."""
    has_inner: npt.NDArray[np.bool_]
    quality: U8
    informative: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LocalCodes:
    """The local descriptors of a shard, rows of removed videos left out, sorted by (video, time); or of several."""

    video_ids: VideoIds
    """Ascending within a shard."""
    video_index: npt.NDArray[np.int32]
    seconds: F64
    """Time of the keyframe each descriptor is of; shape (k,)."""
    codes: U8
    """Shape (k, 8)."""


# ---- ids ----


def raw_id(video_id: str) -> bytes:
    """Return the 32 bytes of a video id. Raises ValueError when it is not 64 hex digits."""
    raw = bytes.fromhex(video_id)
    if len(raw) != ID_BYTES:
        raise ValueError(f"a video id has 64 hex digits, got {video_id!r}")
    return raw


def raw_ids(video_ids: Sequence[str]) -> U8:
    """Return ids as uint8 of shape (n, 32), in the order given."""
    return np.frombuffer(b"".join(raw_id(v) for v in video_ids), np.uint8).reshape(-1, ID_BYTES)


def _text(raw: U8) -> npt.NDArray[np.bytes_]:
    return np.ascontiguousarray(raw).view(f"S{ID_BYTES}").ravel()


def _search(sorted_ids: U8, wanted: U8) -> I64:
    """Return the places of `wanted` in `sorted_ids`, −1 where absent; both uint8 (n, 32)."""
    if len(sorted_ids) == 0 or len(wanted) == 0:
        return np.full(len(wanted), -1, np.int64)
    places = np.searchsorted(_text(sorted_ids), _text(wanted))
    found = np.minimum(places, len(sorted_ids) - 1)
    same = (sorted_ids[found] == wanted).all(axis=1)
    return np.where(same, found, -1).astype(np.int64)


# ---- columns ----


def fixed_binary(values: U8, missing: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return an Arrow array of fixed-size binary from uint8 (n, width), with nulls where `missing`."""
    width = values.shape[1]
    data = pa.py_buffer(np.ascontiguousarray(values))
    validity = None
    n_missing = 0
    if missing is not None and missing.any():
        n_missing = int(missing.sum())
        validity = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [validity, data], null_count=n_missing)


def binary_column(column: pa.ChunkedArray) -> U8:
    """Return a fixed-size binary column as uint8 (n, width); what stands in null places means nothing."""
    width = column.type.byte_width
    out = np.empty((len(column), width), np.uint8)
    place = 0
    for chunk in column.chunks:
        size = len(chunk)
        if size:
            data = np.frombuffer(chunk.buffers()[1], np.uint8, size * width, chunk.offset * width)
            out[place : place + size] = data.reshape(-1, width)
        place += size
    return out


def _is_valid(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if column.null_count == 0:
        return np.ones(len(column), np.bool_)
    valid: npt.NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


# ---- writing ----


def write_shard(store: Path, kind: str, tables: Iterator[pa.Table], *, scheme: str, added: int) -> FileEntry | None:
    """Write one shard and its index from tables that continue each other in the order of ids; None when empty.

    Bytes and names are on the disk on return. Raises KnownStoreError when the disk is full; nothing is left behind.
    """
    folder = store / FOLDER[kind]
    name = uuid.uuid4().hex
    schema = SCHEMAS[kind]
    temporary = folder / f"{TEMPORARY}{name}"
    written: list[Path] = []
    ids: list[U8] = []
    digests: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]] = []
    rows = 0
    plain = _PLAIN & set(schema.names)
    try:
        with new_file(temporary) as file:
            with pq.ParquetWriter(
                file,
                schema,
                compression={n: "none" if n in plain else "zstd" for n in schema.names},
                use_dictionary=[n for n in ("video_id", "list", "disposition", "series") if n in schema.names],
                column_encoding=dict.fromkeys(plain, "PLAIN"),
                write_statistics=["video_id"] if "video_id" in schema.names else False,
            ) as writer:
                for table in tables:
                    if table.num_rows == 0:
                        continue
                    writer.write_table(table.select(schema.names).cast(schema), row_group_size=ROW_GROUP[kind])
                    if "video_id" in schema.names:
                        ids.append(binary_column(table["video_id"]))
                    if kind == "videos":
                        digests.append(_digest_keys(table, rows))
                    if kind == "coded":
                        digests.append(_unit_keys(table, rows))
                    rows += table.num_rows
            if rows == 0:
                temporary.unlink()
                return None
            sync(file)
            size = file.tell() or os.fstat(file.fileno()).st_size
            file.seek(0)
            sha256 = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
        final = folder / f"{name}.parquet"
        temporary.rename(final)
        written.append(final)
        all_ids = np.concatenate(ids) if ids else np.zeros((0, ID_BYTES), np.uint8)
        index_path, index_sha256 = "", ""
        if kind in ("frames", "local", "profiles", "coded", "videos"):
            index_file = store / "index" / f"{name}.arrow"
            index = _digest_index(digests) if kind in ("videos", "coded") else _row_index(all_ids)
            index_sha256 = _write_index(index_file, index)
            written.append(index_file)
            index_path = f"index/{name}.arrow"
            sync_folder(store / "index")
        sync_folder(folder)
    except OSError as error:
        _discard([temporary, *written])
        raise write_error(store, error) from error
    except BaseException:
        _discard([temporary, *written])
        raise
    return FileEntry(
        kind=kind,
        path=f"{FOLDER[kind]}/{name}.parquet",
        rows=rows,
        size_bytes=size,
        sha256=sha256,
        added=added,
        scheme=scheme,
        videos=len(_run_starts(all_ids)),
        first_id=all_ids[0].tobytes().hex() if len(all_ids) else "",
        last_id=all_ids[-1].tobytes().hex() if len(all_ids) else "",
        index_path=index_path,
        index_sha256=index_sha256,
    )


def _discard(paths: Sequence[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def discard_files(store: Path, entries: Sequence[FileEntry]) -> None:
    """Remove files that no manifest will name."""
    names = [name for entry in entries for name in (entry.path, entry.index_path) if name]
    _discard([store / name for name in names])
    remote = remote_of(store)
    if remote is not None:
        remote.discard(names)


def _write_index(path: Path, table: pa.Table) -> str:
    temporary = path.parent / f"{TEMPORARY}{path.stem}"
    with new_file(temporary) as file:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=max(1, table.num_rows))
        sync(file)
        file.seek(0)
        digest = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
        temporary.rename(path)
    return digest


def _run_starts(ids: U8) -> I64:
    if len(ids) == 0:
        return np.zeros(0, np.int64)
    words = np.ascontiguousarray(ids).view(np.uint64)
    new = np.r_[True, (words[1:] != words[:-1]).any(axis=1)]
    return np.flatnonzero(new)


def _row_index(ids: U8) -> pa.Table:
    """Index of a shard sorted by id: each video's first row and how many it has."""
    starts = _run_starts(ids)
    counts = np.diff(np.r_[starts, len(ids)])
    return pa.table({"video_id": fixed_binary(ids[starts]), "start": starts, "rows": counts.astype(np.int64)})


def digest_key(digest: bytes) -> int:
    """Return what the digest index is sorted by: the first 8 bytes as a big-endian number."""
    return int.from_bytes(digest[:8], "big")


def _digest_keys(table: pa.Table, first_row: int) -> tuple[npt.NDArray[np.uint64], I64]:
    keys, rows = [], []
    for name in ("video_id", "md5", "sha1"):
        column = table[name]
        valid = _is_valid(column)
        values = np.ascontiguousarray(binary_column(column)[valid, :8])
        keys.append(values.view(">u8").ravel().astype(np.uint64))
        rows.append(np.flatnonzero(valid) + first_row)
    return np.concatenate(keys), np.concatenate(rows)


def _unit_keys(table: pa.Table, first_row: int) -> tuple[npt.NDArray[np.uint64], I64]:
    """Return what units of coded packets are found by, and the row: their first packet's digest, and the video's id."""
    begins = np.flatnonzero(table["rows"].to_numpy() > 0)
    firsts = [digest_key(one.as_py()) for one in pc.binary_slice(table["digests"].take(pa.array(begins)), 0, 8)]
    of_video = np.flatnonzero(table["first_packet"].to_numpy() == 0)
    ids = np.ascontiguousarray(binary_column(table["video_id"])[of_video, :8]).view(">u8").ravel().astype(np.uint64)
    return np.concatenate([np.array(firsts, np.uint64), ids]), np.concatenate([begins, of_video]) + first_row


def _digest_index(parts: Sequence[tuple[npt.NDArray[np.uint64], I64]]) -> pa.Table:
    """Index of a videos or coded file: the key of each of a row's digests, sorted, and the row."""
    keys = np.concatenate([k for k, _ in parts])
    rows = np.concatenate([r for _, r in parts])
    order = np.lexsort((rows, keys))
    return pa.table({"key": keys[order], "row": rows[order].astype(np.int64)})


# ---- reading ----


@contextlib.contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what a missing or broken file raises into KnownStoreError with the next step."""
    try:
        yield
    except FileNotFoundError as error:
        raise KnownStoreError(
            f"{path} is missing: the snapshot was compacted away or the store is damaged. "
            "Use the latest snapshot, or restore the file; `videonovelty known verify` lists what is wrong."
        ) from error
    except (OSError, pa.ArrowInvalid, pa.ArrowException, KeyError) as error:
        raise KnownStoreError(
            f"{path} is damaged ({error}). Restore it from a backup; `videonovelty known verify` lists what else is."
        ) from error


def open_shard(path: Path, kind: str, rows: int) -> pq.ParquetFile:
    """Open a shard, checking its schema and number of rows."""
    with damage(path):
        file = pq.ParquetFile(path, memory_map=True)
    names = file.schema_arrow.names
    if file.metadata.num_rows != rows or names != SCHEMAS[kind].names:
        file.close()
        raise KnownStoreError(f"{path} is not the file the manifest names; `videonovelty known verify` tells more.")
    return file


def read_range(file: pq.ParquetFile, starts: I64, columns: list[str], first: int, stop: int) -> pa.Table:
    """Return rows [first, stop) of an open shard; `starts` are its row groups' first rows, ending with all rows."""
    low = int(np.searchsorted(starts, first, side="right")) - 1
    high = int(np.searchsorted(starts, stop, side="left"))
    table = file.read_row_groups(list(range(low, max(high, low + 1))), columns=columns, use_threads=False)
    return table.slice(first - int(starts[low]), stop - first)


def group_starts(file: pq.ParquetFile) -> I64:
    """Return the first row of each row group, then the number of rows."""
    sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def map_index(path: Path) -> pa.RecordBatch:
    """Memory-map an index file."""
    with damage(path), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        return reader.get_batch(0)


def mapped_ids(index: pa.RecordBatch) -> U8:
    """Return the ids of a mapped row index without copying them."""
    column = index.column("video_id")
    data = np.frombuffer(column.buffers()[1], np.uint8, len(column) * ID_BYTES, column.offset * ID_BYTES)
    return data.reshape(-1, ID_BYTES)


# ---- records and tables ----


def frames_table(ids: bytes, signatures: Signatures) -> pa.Table:
    """Return one video's keyframes as rows of KNOWN_FRAMES."""
    n = len(signatures.pts_seconds)
    return pa.table(
        {
            "video_id": repeated(ids, n),
            "t_ms": pa.array(_milliseconds(signatures.pts_seconds)),
            "pdq": fixed_binary(signatures.pdq[:, 0]),
            "pdq_inner": fixed_binary(signatures.pdq_inner[:, 0], missing=~signatures.has_inner),
            "quality": pa.array(signatures.quality),
            "informative": pa.array(signatures.informative),
        },
        schema=KNOWN_FRAMES,
    )


def local_table(ids: bytes, signatures: Signatures) -> pa.Table:
    """Return one video's local descriptors as rows of KNOWN_LOCAL."""
    local = best_points(signatures.local)
    times = np.repeat(_milliseconds(signatures.pts_seconds), np.diff(local.offsets))
    return pa.table(
        {
            "video_id": repeated(ids, len(local.codes)),
            "t_ms": pa.array(times),
            "code": fixed_binary(local.codes),
            "x": pa.array(np.ascontiguousarray(local.xy[:, 0])),
            "y": pa.array(np.ascontiguousarray(local.xy[:, 1])),
            "scale": pa.array(local.scale),
            "angle": pa.array(local.angle),
        },
        schema=KNOWN_LOCAL,
    )


def profile_table(ids: bytes, motion: MotionProfile) -> pa.Table:
    """Return one video's motion profile, thinned to what the store keeps, as a row of KNOWN_PROFILES."""
    motion = thinned(motion)
    return pa.table(
        {
            "video_id": repeated(ids, 1),
            "step_ms": pa.array([round(motion.step_seconds * 1000)], pa.int32()),
            "signs": pa.array([pack_signs(motion.signs)], pa.binary()),
            "fine": pa.array([pack_signs(motion.fine)], pa.binary()),
            "fine_every": pa.array([motion.fine_every], pa.int32()),
            "levels": pa.array([pack_levels(motion.levels)], pa.binary()),
        },
        schema=KNOWN_PROFILES,
    )


def coded_table(ids: bytes, coded: CodedStream) -> pa.Table:
    """Return the coded packets of one video as rows of KNOWN_CODED."""
    digests, times = np.ascontiguousarray(coded.digests), _milliseconds(coded.pts_seconds).astype("<i4")
    bounds = np.append(np.flatnonzero(coded.starts), len(digests)).tolist()
    first_packets: list[int] = []
    rows: list[int] = []
    ends: list[int] = []
    for begin, end in pairwise(bounds):
        firsts = range(begin, end, PACKETS_PER_ROW)
        first_packets += firsts
        rows += [len(firsts), *([0] * (len(firsts) - 1))]
        ends += [*firsts[1:], end]
    pieces = list(zip(first_packets, ends, strict=True))
    return pa.table(
        {
            "video_id": repeated(ids, len(rows)),
            "first_packet": pa.array(first_packets, pa.int32()),
            "rows": pa.array(rows, pa.int32()),
            "digests": pa.array([digests[a:b].tobytes() for a, b in pieces], pa.binary()),
            "t_ms": pa.array([times[a:b].tobytes() for a, b in pieces], pa.binary()),
        },
        schema=KNOWN_CODED,
    )


def repeated(raw: bytes, n: int) -> pa.Array:
    """Return a column that holds one id n times."""
    return fixed_binary(np.frombuffer(raw * n, np.uint8).reshape(n, ID_BYTES))


def pack_signs(signs: npt.NDArray[np.int8]) -> bytes:
    """Return signs −1, 0, +1 of shape (m, c), c a multiple of 4, at 2 bits each, the first in the lowest bits."""
    # five to a byte would be smaller as it is, and larger once it is compressed
    values = (signs + 1).astype(np.uint8).reshape(-1, 4)
    packed = values[:, 0] | values[:, 1] << 2 | values[:, 2] << 4 | values[:, 3] << 6
    return bytes(packed.tobytes())


def unpack_signs(packed: bytes, cells: int) -> npt.NDArray[np.int8]:
    """Return what `pack_signs` packed, shape (m, cells). Raises ValueError for bytes it does not write."""
    data: U8 = np.frombuffer(packed, np.uint8).reshape(-1, cells // 4, 1)
    values = (data >> np.array([0, 2, 4, 6], np.uint8)) & 3
    if values.size and values.max() > 2:
        raise ValueError("not packed signs")
    return values.reshape(-1, cells).astype(np.int8) - np.int8(1)


def pack_levels(levels: npt.NDArray[np.int16] | None) -> bytes | None:
    """Return levels of shape (m, 64) as changes from tick to tick, one cell after the other; None as None.

    The changes are small and repeat. Their low bytes come before their high ones, which are nearly all the same, so
    what compresses the column makes a third of them.
    """
    if levels is None:
        return None
    before = np.concatenate([np.zeros((1, FINE_CELLS), np.int16), levels[:-1]])
    changes = (levels - before).T + np.int16(_SMALL_CHANGE)  # of a thousand at most
    return bytes(changes.astype(np.uint8).tobytes() + (changes >> 8).astype(np.uint8).tobytes())


def unpack_levels(packed: bytes | None) -> npt.NDArray[np.int16] | None:
    """Return what `pack_levels` packed. Raises ValueError for bytes it does not write."""
    if packed is None:
        return None
    low, high = np.frombuffer(packed, np.uint8).reshape(2, FINE_CELLS, -1)
    changes = (low | high.astype(np.uint16) << 8).view(np.int16) - np.int32(_SMALL_CHANGE)
    levels = np.cumsum(changes, axis=1, dtype=np.int64).T
    if levels.size and int(np.abs(levels).max()) > MOST_LEVEL:
        raise ValueError("not packed levels")
    return np.ascontiguousarray(levels, dtype=np.int16)


def _milliseconds(seconds: F64) -> npt.NDArray[np.int32]:
    ms = np.round(seconds * 1000)
    if len(ms) and np.abs(ms).max() >= 2**31:
        raise ValueError(f"a keyframe at {seconds.max():.0f} s is beyond what the store can hold (24 days)")
    return ms.astype(np.int32)


def sorted_by_id(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of whole videos as one, in the order of their ids, each table's own order kept."""
    return pa.concat_tables(sorted(tables, key=lambda table: table["video_id"][0].as_py()))


assert LOCAL_BYTES == 8
assert DIGEST_BYTES == 16
