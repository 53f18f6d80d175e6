"""Rewriting a snapshot's shards: removed rows left out, small files merged, everything in the order of ids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from videonovelty.known.manifest import FileEntry
from videonovelty.known.shards import SCHEMAS, STOP_FRAMES, binary_column, fixed_binary, write_shard
from videonovelty.known.snapshot import Snapshot
from videonovelty.records import U8

PART_ROWS = 1 << 22
"""Rows held at a time."""
CODED_PART_ROWS = 1 << 14
"""…of coded packets, whose rows are of 5 KB in the usual case and of 80 KB at most."""
SHARD_ROWS = {"frames": 20_000_000, "local": 50_000_000, "profiles": 1_000_000, "coded": 2_000_000, "videos": 4_000_000}
STOP_SAMPLE = 200_000
STOP_RADIUS = 31
STOP_VIDEOS = 5
"""A picture met in more than this many videos of the sample is a stop frame…"""
STOP_SHARE = 0.001
"""…when that is also more than this share of the sample's videos."""


def compacted_files(snapshot: Snapshot) -> Iterator[FileEntry]:
    """Yield the files that say what `snapshot` says, as they are written; the tombstones' work is done in them."""
    for kind in ("frames", "local", "profiles"):
        for scheme in snapshot.schemes:
            yield from _rewritten(snapshot, kind, scheme)
    for recipe in sorted({entry.scheme for entry in snapshot.manifest.of_kind("coded")}):
        yield from _rewritten(snapshot, "coded", recipe)
    yield from _rewritten(snapshot, "videos", "")
    if snapshot.manifest.of_kind("decisions"):
        made = write_shard(snapshot.path, "decisions", snapshot.decisions(), scheme="", added=snapshot.number)
        if made is not None:
            yield made
    for scheme in snapshot.schemes:
        codes, videos = sampled_stop_frames(snapshot, scheme)
        if len(codes):
            table = pa.table({"pdq": fixed_binary(codes), "videos": videos}, schema=STOP_FRAMES)
            made = write_shard(snapshot.path, "stop", iter([table]), scheme=scheme, added=snapshot.number)
            if made is not None:
                yield made


def _rewritten(snapshot: Snapshot, kind: str, scheme: str) -> Iterator[FileEntry]:
    """Yield a kind's shards merged, split by ranges of ids so that no more than `PART_ROWS` rows are held at a time."""
    entries = snapshot.manifest.of_kind(kind, scheme)
    if not entries:
        return
    total = sum(entry.rows for entry in entries)
    part_rows = CODED_PART_ROWS if kind == "coded" else PART_ROWS
    n_parts = max(1, -(-total // part_rows))
    per_shard = max(1, SHARD_ROWS[kind] // part_rows)
    bounds = np.linspace(0, 1 << 32, n_parts + 1).astype(np.uint64)  # ids are digests: evenly spread
    for first in range(0, n_parts, per_shard):
        parts = range(first, min(first + per_shard, n_parts))
        tables = (_part(snapshot, entries, kind, int(bounds[p]), int(bounds[p + 1])) for p in parts)
        made = write_shard(snapshot.path, kind, tables, scheme=scheme, added=snapshot.number)
        if made is not None:
            yield made


def _part(snapshot: Snapshot, entries: tuple[FileEntry, ...], kind: str, low: int, high: int) -> pa.Table:
    """Return the alive rows of videos whose ids begin with a number in [low, high), sorted by id."""
    parts = [SCHEMAS[kind].empty_table()]
    for entry in entries:
        for table in snapshot.tables(entry, low=low, high=high):
            ids = binary_column(table["video_id"])
            prefix = np.ascontiguousarray(ids[:, :4]).view(">u4").ravel().astype(np.int64)
            first, stop = np.searchsorted(prefix, [low, high])
            if first == stop:
                continue
            table = table.slice(first, stop - first)  # noqa: PLW2901 - the part of this row group
            if kind == "videos":
                alive = snapshot.alive_mask(entry, table)
            else:
                alive = ~snapshot.removed.whole_videos(ids[first:stop], entry.added)
            parts.append(table.filter(pa.array(alive)))
    whole = pa.concat_tables(parts)
    ids = binary_column(whole["video_id"])
    # Each video's rows stand in one shard in order of time: a stable sort by id keeps that.
    order = np.argsort(np.ascontiguousarray(ids).view("S32").ravel(), kind="stable")
    return whole.take(pa.array(order))


def sampled_stop_frames(snapshot: Snapshot, scheme: str) -> tuple[U8, npt.NDArray[np.int64]]:
    """Return the codes (k, 32) that many unrelated videos of a sample share, and in how many each was met.

    A sample of whole videos is joined with itself; of the codes met in too many videos the most common are taken, one
    for each neighbourhood.
    """
    entries = snapshot.manifest.of_kind("frames", scheme)
    step = max(1, sum(entry.rows for entry in entries) // STOP_SAMPLE)
    codes, owners = [np.zeros((0, 32), np.uint8)], [np.zeros(0, np.int64)]
    n_videos = 0
    for entry in entries:
        _, rows, alive = snapshot.rows_of(entry)
        numbers = np.arange(len(rows))
        video_of_row = np.repeat(numbers, rows)
        chosen = np.repeat(alive & (numbers % step == 0), rows)
        first = 0
        for table in snapshot.tables(entry):
            part = slice(first, first + table.num_rows)
            keep = chosen[part] & table["informative"].to_numpy(zero_copy_only=False)
            codes.append(binary_column(table["pdq"])[keep])
            owners.append(video_of_row[part][keep] + n_videos)
            first += table.num_rows
        n_videos += len(rows)
    return stop_frames(np.concatenate(codes), np.concatenate(owners))


def stop_frames(codes: U8, owners: npt.NDArray[np.int64]) -> tuple[U8, npt.NDArray[np.int64]]:
    """Return the codes of a sample (n, 32) that more than `STOP_VIDEOS` of its `owners` (n,) share, and by how many."""
    from videonovelty.matching import hamming  # noqa: PLC0415  (70 MB of compiler, which other commands need not load)

    limit = max(STOP_VIDEOS, STOP_SHARE * len(np.unique(owners)))
    found = hamming.self_join(codes, STOP_RADIUS)
    i = np.concatenate([found.query_index, found.known_index])
    j = np.concatenate([found.known_index, found.query_index])
    met = np.unique(np.stack([i, owners[j]], axis=1)[owners[i] != owners[j]], axis=0)
    in_videos = np.bincount(met[:, 0], minlength=len(codes)) + 1
    taken: list[int] = []
    covered = np.zeros(len(codes), np.bool_)
    order = np.argsort(i, kind="stable")
    starts = np.searchsorted(i[order], np.arange(len(codes) + 1))
    for row in np.argsort(-in_videos, kind="stable"):
        if in_videos[row] <= limit:
            break
        if not covered[row]:
            taken.append(int(row))
            covered[row] = True
            covered[j[order[starts[row] : starts[row + 1]]]] = True
    return codes[taken].reshape(-1, 32), in_videos[taken].astype(np.int64)
