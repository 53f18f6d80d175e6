"""What one writer is about to add: files written and synced, in no snapshot yet.

Entries arrive one by one and leave as sorted shards whenever enough are held. Whether an entry says anything new is
decided against one snapshot; when another writer commits in between, the staged files are checked against the newer
one and what it already holds is taken out again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from videonovelty.errors import KnownStoreError
from videonovelty.known.manifest import FileEntry
from videonovelty.known.shards import (
    FOLDER,
    binary_column,
    coded_table,
    discard_files,
    frames_table,
    local_table,
    profile_table,
    raw_id,
    sorted_by_id,
    write_shard,
)
from videonovelty.known.snapshot import Snapshot
from videonovelty.records import CodedStream, KnownVideo, ListMembership, Signatures
from videonovelty.schemas import KNOWN_VIDEOS

BATCH_ENTRIES = 512
SHARD_FRAMES = 1 << 20
SHARD_DESCRIPTORS = 1 << 22
SHARD_VIDEOS = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class KnownEntry:
    """One video to add: what the lists say, and its signatures unless only its digests are known."""

    video: KnownVideo
    signatures: Signatures | None
    coded: CodedStream | None = None
    """The digests of its coded packets, where equal packets show equal pictures that were all looked at."""


class Staging:
    """Collects entries into files that a commit will name."""

    def __init__(self, store: Path, base: Snapshot, replaced: frozenset[tuple[str, str]] = frozenset()) -> None:
        """`replaced` holds memberships, as (video, list), that the same commit takes out: they may be said anew."""
        self.store = store
        self.base = base
        self._replaced = replaced
        self.files: list[FileEntry] = []
        self.videos_added = 0
        self.memberships_added = 0
        self.videos_signed = 0
        self.frames_added = 0
        self._pending: list[KnownEntry] = []
        self._rows: list[dict[str, object]] = []
        self._tables: dict[tuple[str, str], list[pa.Table]] = {}
        self._held: dict[tuple[str, str], int] = {}
        self._lists: dict[str, set[str]] = {}
        self._signed: set[tuple[str, str]] = set()
        self._coded: set[tuple[str, str]] = set()
        self._left_out: set[tuple[str, str]] = set()
        self._counted: set[str] = set()

    def put(self, entry: KnownEntry) -> None:
        """Take one entry; may write a shard."""
        _check(entry)
        self._pending.append(entry)
        if len(self._pending) >= BATCH_ENTRIES:
            self._sort_out()

    def finish(self) -> None:
        """Write everything still held."""
        self._sort_out()
        for kind, scheme in list(self._tables):
            self._flush(kind, scheme)
        self._flush_videos()

    def discard(self) -> None:
        """Remove the staged files: they will be in no snapshot."""
        discard_files(self.store, self.files)
        self.files = []

    def rebase(self, newer: Snapshot) -> None:
        """Make the staged files right for a newer snapshot: take out what it already holds.

        Raises KnownStoreError when a video whose signatures were left out, because they were stored already, has been
        removed meanwhile.
        """
        before, self.base = self.base, newer
        for scheme in {scheme for _, scheme in self._left_out}:
            ids = [video_id for video_id, s in self._left_out if s == scheme]
            gone = set(ids) - newer.signed(ids, scheme)
            if gone:
                raise KnownStoreError(
                    f"{min(gone)} was removed from {self.store} while it was being added; nothing was changed. "
                    "Run the command again to add it with its signatures."
                )
        kept: list[FileEntry] = []
        for entry in self.files:
            if entry.kind == "coded":
                kept += self._again(entry, self._fresh_coded(before, entry))
                continue
            if entry.kind == "videos":
                kept += self._again(entry, self._fresh_videos(before, entry))
                continue
            raw_rows, rows = before.stored_rows(entry)  # its other files may be gone: compacted away
            texts = [raw.tobytes().hex() for raw in raw_rows]
            stored = newer.signed(texts, entry.scheme)
            if not stored:
                kept.append(replace(entry, added=newer.number + 1))
                continue
            fresh = np.array([text not in stored for text in texts])
            if entry.kind == "profiles":
                self.videos_signed -= len(stored)
            if entry.kind == "frames":
                self.frames_added -= int(rows[~fresh].sum())
            keep = pa.array(np.repeat(fresh, rows))
            whole = pa.concat_tables(list(before.tables(entry)))
            kept += self._again(entry, whole.filter(keep))
        self.files = kept

    def _again(self, entry: FileEntry, table: pa.Table) -> list[FileEntry]:
        made = write_shard(self.store, entry.kind, iter([table]), scheme=entry.scheme, added=self.base.number + 1)
        discard_files(self.store, [entry])
        return [] if made is None else [made]

    def _fresh_coded(self, reader: Snapshot, entry: FileEntry) -> pa.Table:
        """Return the staged rows of coded packets of videos the newer snapshot holds none of."""
        table = pa.concat_tables(list(reader.tables(entry)))
        ids = [raw.tobytes().hex() for raw in binary_column(table["video_id"])]
        stored = self.base.coded(list(dict.fromkeys(ids)), entry.scheme)
        return table.filter(pa.array([video_id not in stored for video_id in ids], pa.bool_()))

    def _fresh_videos(self, reader: Snapshot, entry: FileEntry) -> pa.Table:
        """Return the staged memberships the newer snapshot does not hold, under its next number; counts them anew."""
        table = pa.concat_tables(list(reader.tables(entry)))
        ids = [raw.tobytes().hex() for raw in binary_column(table["video_id"])]
        known = self.base.describe(ids)
        keep: list[bool] = []
        new_videos: set[str] = set()
        for video_id, list_name in zip(ids, table["list"].to_pylist(), strict=True):
            video = known.get(video_id)
            lists = {m.list_name for m in video.memberships} if video else set()
            keep.append(list_name not in lists)
            if video is None:
                new_videos.add(video_id)
        self.videos_added += len(new_videos) - sum(1 for v in set(ids) if v in self._counted)
        self._counted = (self._counted - set(ids)) | new_videos
        self.memberships_added -= len(keep) - sum(keep)
        number = pa.array(np.full(table.num_rows, self.base.number + 1))
        place = table.schema.get_field_index("added_in_snapshot")
        return table.set_column(place, KNOWN_VIDEOS.field(place), number).filter(pa.array(keep, pa.bool_()))

    def _sort_out(self) -> None:
        """Decide for the pending entries what is new, and hold that."""
        entries, self._pending = self._pending, []
        if not entries:
            return
        ids = [entry.video.video_id for entry in entries]
        known = self.base.describe(ids)
        by_scheme: dict[str, list[str]] = {}
        for entry in entries:
            if entry.signatures is not None:
                by_scheme.setdefault(entry.signatures.scheme, []).append(entry.video.video_id)
        stored = {scheme: self.base.signed(list(dict.fromkeys(v)), scheme) for scheme, v in by_scheme.items()}
        coded: dict[str, list[str]] = {}
        for entry in entries:
            if entry.coded is not None:
                coded.setdefault(entry.coded.recipe, []).append(entry.video.video_id)
        has_coded = {recipe: self.base.coded(list(dict.fromkeys(v)), recipe) for recipe, v in coded.items()}
        for entry in entries:
            self._hold_memberships(entry.video, known.get(entry.video.video_id))
            if entry.signatures is not None:
                self._hold_signatures(entry.signatures, stored[entry.signatures.scheme])
            if entry.coded is not None:
                self._hold_coded(entry.coded, has_coded[entry.coded.recipe])
        for (kind, scheme), held in list(self._held.items()):
            if held >= (SHARD_DESCRIPTORS if kind in ("local", "coded") else SHARD_FRAMES):
                self._flush(kind, scheme)
        if len(self._rows) >= SHARD_VIDEOS:
            self._flush_videos()

    def _hold_memberships(self, video: KnownVideo, known: KnownVideo | None) -> None:
        lists = self._lists.get(video.video_id)
        if lists is None:
            lists = {m.list_name for m in known.memberships} if known else set()
            lists = {name for name in lists if (video.video_id, name) not in self._replaced}
            if known is None:
                self.videos_added += 1
                self._counted.add(video.video_id)
            self._lists[video.video_id] = lists
        for membership in video.memberships:
            if membership.list_name not in lists:
                lists.add(membership.list_name)
                self.memberships_added += 1
                self._rows.append(video_row(video, membership, self.base.number + 1))

    def _hold_signatures(self, signatures: Signatures, stored: set[str]) -> None:
        key = (signatures.video_id, signatures.scheme)
        if key in self._signed:
            return
        if signatures.video_id in stored:
            self._left_out.add(key)
            return
        self._signed.add(key)
        raw = raw_id(signatures.video_id)
        made = {
            "frames": frames_table(raw, signatures),
            "local": local_table(raw, signatures),
            "profiles": profile_table(raw, signatures.motion),
        }
        self.videos_signed += 1
        self.frames_added += made["frames"].num_rows
        for kind, table in made.items():
            if table.num_rows:
                self._tables.setdefault((kind, signatures.scheme), []).append(table)
                weight = 200 if kind == "profiles" else table.num_rows  # a profile is as large as some 200 keyframes
                self._held[kind, signatures.scheme] = self._held.get((kind, signatures.scheme), 0) + weight

    def _hold_coded(self, coded: CodedStream, stored: set[str]) -> None:
        key = (coded.video_id, coded.recipe)
        if key in self._coded or coded.video_id in stored or coded.doubt:
            return
        self._coded.add(key)
        kind = ("coded", coded.recipe)
        self._tables.setdefault(kind, []).append(coded_table(raw_id(coded.video_id), coded))
        self._held[kind] = self._held.get(kind, 0) + len(coded.digests)

    def _flush(self, kind: str, scheme: str) -> None:
        tables = self._tables.pop((kind, scheme), [])
        self._held.pop((kind, scheme), None)
        if tables:
            self._write(kind, sorted_by_id(tables), scheme)

    def _flush_videos(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            rows.sort(key=lambda row: (row["video_id"], row["list"]))
            self._write("videos", pa.Table.from_pylist(rows, schema=KNOWN_VIDEOS), "")

    def _write(self, kind: str, table: pa.Table, scheme: str) -> None:
        (self.store / FOLDER[kind]).mkdir(mode=0o700, exist_ok=True)  # older stores lack some
        made = write_shard(self.store, kind, iter([table]), scheme=scheme, added=self.base.number + 1)
        if made is not None:
            self.files.append(made)


def video_row(video: KnownVideo, membership: ListMembership, number: int) -> dict[str, object]:
    """Return a row of KNOWN_VIDEOS."""
    return {
        "video_id": raw_id(video.video_id),
        "md5": bytes.fromhex(video.md5) if video.md5 else None,
        "sha1": bytes.fromhex(video.sha1) if video.sha1 else None,
        "duration_seconds": video.duration_seconds,
        "list": membership.list_name,
        "disposition": membership.disposition,
        "series": membership.series,
        "category": membership.category,
        "victim_identified": membership.victim_identified,
        "offender_identified": membership.offender_identified,
        "distributed": membership.distributed,
        "tags": list(membership.tags),
        "source": membership.source,
        "added_in_snapshot": number,
    }


def _check(entry: KnownEntry) -> None:
    """Refuse an entry the store could not give back."""
    video = entry.video
    try:
        raw_id(video.video_id)
        sizes = [len(bytes.fromhex(video.md5)), len(bytes.fromhex(video.sha1))]
    except ValueError as error:
        raise KnownStoreError(f"{video.video_id or 'a video without id'}: {error}; nothing was changed.") from error
    if sizes[0] not in (0, 16) or sizes[1] not in (0, 20):
        raise KnownStoreError(f"{video.video_id}: its md5 or sha1 has the wrong length; nothing was changed.")
    if not video.memberships:
        raise KnownStoreError(f"{video.video_id} is on no list; name one with --list.")
    for membership in video.memberships:
        if not membership.list_name:
            raise KnownStoreError(f"{video.video_id}: a list needs a name.")
        if membership.disposition not in ("abuse", "benign", "other"):
            raise KnownStoreError(
                f"{video.video_id}: disposition {membership.disposition!r} is not abuse, benign or other."
            )
    if entry.signatures is not None and entry.signatures.video_id != video.video_id:
        raise KnownStoreError(f"{video.video_id} comes with the signatures of {entry.signatures.video_id}.")
    if entry.coded is not None and entry.coded.video_id != video.video_id:
        raise KnownStoreError(f"{video.video_id} comes with the packets of {entry.coded.video_id}.")
