"""The known store: a folder of immutable shards and numbered manifests, changed only by committing the next snapshot.

Readers pin a snapshot and are never disturbed by writers: what it names stays until it is let go. Writers stage files,
then commit by compare-and-swap; the one that loses the race looks at the newer snapshot and commits on top of it. What
is removed stops matching from the next snapshot on; `compact` makes the bytes disappear, `sweep` those that somebody
was reading then.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from videonovelty.errors import KnownStoreError
from videonovelty.known import holds
from videonovelty.known import manifest as manifests
from videonovelty.known.compaction import compacted_files
from videonovelty.known.list_update import Changes, ListUpdate
from videonovelty.known.manifest import FOLDERS, TEMPORARY, FileEntry, LogEntry, LostRaceError, Manifest
from videonovelty.known.remote import MARK, mirror, remote_of, url_of
from videonovelty.known.shards import (
    FOLDER,
    SCHEMAS,
    VideoIds,
    binary_column,
    discard_files,
    open_shard,
    raw_id,
    raw_ids,
    write_shard,
)
from videonovelty.known.snapshot import Snapshot
from videonovelty.known.spill import Spill, sweep_imports
from videonovelty.known.staging import KnownEntry, Staging
from videonovelty.records import DIGEST_BYTES

log = logging.getLogger(__name__)

_LOCKS = ("staging.lock", "history.lock", "commit.lock")

_README = """\
A known store of videonovelty. Do not edit, rename or delete files here by hand:
`videonovelty known --help` lists the commands that change it.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Review:
    """What a review changes in one snapshot."""

    decisions: pa.Table
    """New rows of DECISIONS."""
    entries: Iterable[KnownEntry]
    """Videos to enrol."""
    taken_out: frozenset[tuple[str, str]]
    """Memberships, as (video, list), that no longer stand; one of `entries` may say them anew."""


class KnownStore:
    """A store of known videos: a folder, or a URL of any file system fsspec reads; `path` then holds its copies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._remote = remote_of(path)

    def __repr__(self) -> str:
        return f"KnownStore({str(self.path)!r})"

    @classmethod
    def create(cls, path: Path | str) -> KnownStore:
        """Make an empty store, or open the one that is there.

        Raises KnownStoreError when the folder holds something else or cannot be written.
        """
        path = mirror(path)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            inside = {p.name for p in path.iterdir()}
        except OSError as error:
            raise KnownStoreError(f"{path} cannot be made: {error.strerror}") from error
        if "manifests" in inside and manifests.numbers(path):
            return cls.open(path)
        if inside - {*FOLDERS, "README", *_LOCKS, holds.FOLDER, MARK, "work"}:
            raise KnownStoreError(f"{path} is not empty and not a known store; name an empty or a new folder.")
        try:
            for name in FOLDERS:
                (path / name).mkdir(mode=0o700, exist_ok=True)
            if not (path / "README").exists():
                with contextlib.suppress(FileExistsError), manifests.new_file(path / "README") as file:
                    file.write(_README.encode())
            manifests.sync_folder(path)
        except OSError as error:
            raise manifests.write_error(path, error) from error
        with contextlib.suppress(LostRaceError):  # another process made it at the same moment
            manifests.commit(path, _first_manifest())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str) -> KnownStore:
        """Open a store.

        Raises KnownStoreError, with the next step, when it is missing, damaged or of a newer format.
        """
        asked, path = url_of(path) or path, mirror(path)
        if not path.exists():
            raise KnownStoreError(f"{path} does not exist; create it with `videonovelty known add … --store {path}`.")
        if not (path / "manifests").is_dir():
            raise KnownStoreError(f"{path} is not a known store; check the path given with --store.")
        store = cls(path)
        if store._remote is not None:
            numbers = store._remote.numbers()
            if not numbers:
                raise KnownStoreError(
                    f"{asked} does not exist; create it with `videonovelty known add … --store {asked}`."
                )
            first = manifests.manifest_path(path, numbers[0])
            if first.exists() and first.read_bytes() != store._remote.read(f"manifests/{first.name}"):
                raise KnownStoreError(
                    f"{asked} is another store than the one {path} keeps copies of; delete that folder."
                )
        store.snapshot()
        return store

    def snapshot(self, number: int | None = None) -> Snapshot:
        """Return a pinned snapshot, the latest unless a number is given: as long as it is used, its files stay."""
        while True:
            pinned = self._newest() if number is None else number
            hold = holds.hold(self.path, pinned)
            # A sweep spares the newest, and what is held; from here on this one is either.
            if number is not None or self._newest() == pinned:
                return Snapshot(self.path, pinned, hold)
            if hold is not None:
                os.close(hold)

    def _newest(self) -> int:
        numbers = manifests.numbers(self.path)
        if not numbers:
            raise KnownStoreError(f"{self.path} has no snapshot; restore its manifests folder from a backup.")
        return numbers[-1]

    # ---- changes ----

    def add(self, entries: Iterable[KnownEntry], *, actor: str, reason: str) -> Snapshot:
        """Add videos and memberships in one commit and return the new snapshot.

        Entries are streamed: about a million keyframes are held at a time. What is there already is not stored twice:
        a video only gets the memberships it lacks, and no signatures it has under the same scheme. An entry that says
        nothing new changes nothing; when none does, no snapshot is made. Raises KnownStoreError; then nothing changed.
        """
        with self._lock("staging.lock", fcntl.LOCK_SH):
            staging = Staging(self.path, self.snapshot())
            try:
                for entry in entries:
                    staging.put(entry)
                staging.finish()
                while staging.files:
                    base = staging.base
                    made = self._next(
                        base,
                        "add",
                        actor,
                        reason,
                        files=(*base.manifest.files, *staging.files),
                        n_videos=base.n_videos + staging.videos_added,
                        n_frames=base.n_frames + staging.frames_added,
                        changes={
                            "videos_added": staging.videos_added,
                            "memberships_added": staging.memberships_added,
                            "videos_signed": staging.videos_signed,
                            "frames_added": staging.frames_added,
                        },
                    )
                    try:
                        manifests.commit(self.path, made)
                    except LostRaceError:
                        staging.rebase(self.snapshot())
                        continue
                    return self.snapshot(made.number)
            except BaseException:
                if not self._was_committed(staging.files):
                    staging.discard()
                raise
        return staging.base

    def review(self, plan: Callable[[Snapshot], Review], *, actor: str, reason: str) -> Snapshot:
        """Commit what analysts decided, with what follows from it, as one snapshot; return that.

        `plan` says what changes, given the snapshot the change is made on; it is asked again when another writer was
        faster. When nothing changes, no snapshot is made. Raises KnownStoreError; then nothing changed.
        """
        with self._lock("staging.lock", fcntl.LOCK_SH):
            while True:
                base = self.snapshot()
                asked = plan(base)
                staging = Staging(self.path, base, asked.taken_out)
                try:
                    made = self._staged_review(base, staging, asked, actor, reason)
                    if made is None:
                        return base
                    manifests.commit(self.path, made)
                except LostRaceError:
                    staging.discard()
                    continue
                except BaseException:
                    if not self._was_committed(staging.files):
                        staging.discard()
                    raise
                return self.snapshot(made.number)

    def _staged_review(
        self, base: Snapshot, staging: Staging, asked: Review, actor: str, reason: str
    ) -> Manifest | None:
        """Write the files of a review and return the manifest that names them; None when nothing changes."""
        enrolled: set[str] = set()
        for entry in asked.entries:
            enrolled.add(entry.video.video_id)
            staging.put(entry)
        staging.finish()
        rows: list[dict[str, object]] = []
        gone: list[str] = []
        known = base.describe(sorted({video_id for video_id, _ in asked.taken_out}))
        for video_id, video in known.items():
            lists = {m.list_name for m in video.memberships}
            hit = sorted(name for name in lists if (video_id, name) in asked.taken_out)
            if len(hit) == len(lists) and video_id not in enrolled:
                gone.append(video_id)
                rows.append({"video_id": raw_id(video_id), "list": ""})
            rows += [{"video_id": raw_id(video_id), "list": name} for name in hit]
        gone_frames = _frames_of(base, gone)
        (self.path / FOLDER["decisions"]).mkdir(mode=0o700, exist_ok=True)  # older stores have none
        tables = {"removed": pa.Table.from_pylist(rows, schema=SCHEMAS["removed"]), "decisions": asked.decisions}
        for kind, table in tables.items():
            made = write_shard(self.path, kind, iter([table]), scheme="", added=base.number + 1)
            if made is not None:
                staging.files.append(made)
        if not staging.files:
            return None
        changes = {
            "decisions_recorded": asked.decisions.num_rows,
            "videos_added": staging.videos_added,
            "memberships_added": staging.memberships_added,
            "videos_signed": staging.videos_signed,
            "frames_added": staging.frames_added,
            "videos_removed": len(gone),
            "memberships_removed": len(rows) - len(gone),
            "frames_removed": gone_frames,
        }
        return self._next(
            base,
            "review",
            actor,
            reason,
            files=(*base.manifest.files, *staging.files),
            n_videos=base.n_videos + staging.videos_added - len(gone),
            n_frames=base.n_frames + staging.frames_added - gone_frames,
            changes={name: count for name, count in changes.items() if count},
        )

    def update_list(self, spill: Spill, *, actor: str, reason: str, dry_run: bool = False) -> tuple[Snapshot, Changes]:
        """Bring what a list says into the store in one commit; return the snapshot and what changed.

        When nothing does, or with `dry_run`, no snapshot is made. Raises KnownStoreError; then nothing changed.
        """
        with self._lock("staging.lock", fcntl.LOCK_SH):
            while True:
                base = self.snapshot()
                update = ListUpdate(self.path, base, spill)
                try:
                    update.stage()
                    gone = [raw.hex() for raw in update.gone]
                    update.changes.frames_removed = _frames_of(base, gone)
                    if dry_run or not update.changes:
                        update.discard()
                        return base, update.changes
                    changes = {name: getattr(update.changes, name) for name in Changes.__slots__}
                    made = self._next(
                        base,
                        "import",
                        actor,
                        reason,
                        files=(*base.manifest.files, *update.files),
                        n_videos=base.n_videos + update.changes.videos_added - len(gone),
                        n_frames=base.n_frames + update.changes.frames_added - update.changes.frames_removed,
                        changes={name: count for name, count in changes.items() if count},
                    )
                    manifests.commit(self.path, made)
                except LostRaceError:
                    update.discard()
                    continue
                except BaseException:
                    if not self._was_committed(update.files):
                        update.discard()
                    raise
                return self.snapshot(made.number), update.changes

    def remove(
        self,
        *,
        video_ids: Sequence[str] = (),
        list_name: str | None = None,
        actor: str,
        reason: str,
    ) -> Snapshot:
        """Remove videos, a list, or videos from one list; effective at the next open.

        A list given alone is removed altogether: its videos stay known through their other lists. Raises
        KnownStoreError when nothing given is in the store.
        """
        if not video_ids and list_name is None:
            raise KnownStoreError("name what to remove: --video or --list.")
        with self._lock("staging.lock", fcntl.LOCK_SH):
            while True:
                base = self.snapshot()
                rows, gone_ids = self._tombstones(base, video_ids, list_name)
                table = pa.Table.from_pylist(rows, schema=SCHEMAS["removed"])
                entry = write_shard(self.path, "removed", iter([table]), scheme="", added=base.number + 1)
                assert entry is not None
                gone_frames = _frames_of(base, gone_ids)
                made = self._next(
                    base,
                    "remove",
                    actor,
                    reason,
                    files=(*base.manifest.files, entry),
                    n_videos=base.n_videos - len(gone_ids),
                    n_frames=base.n_frames - gone_frames,
                    changes={
                        "videos_removed": len(gone_ids),
                        "memberships_removed": len(rows) - len(gone_ids),
                        "frames_removed": gone_frames,
                    },
                )
                try:
                    manifests.commit(self.path, made)
                except LostRaceError:
                    discard_files(self.path, [entry])
                    continue
                except BaseException:
                    if not self._was_committed([entry]):
                        discard_files(self.path, [entry])
                    raise
                return self.snapshot(made.number)

    def rollback(self, number: int, *, actor: str, reason: str) -> Snapshot:
        """Make the state of an earlier snapshot the latest again, as a new snapshot.

        Raises KnownStoreError when files of it were compacted away.
        """
        with self._lock("history.lock", fcntl.LOCK_EX):
            while True:
                base, target = self.snapshot(), self.snapshot(number)
                if not _names(target.manifest.files) <= set(self._present()):
                    raise KnownStoreError(
                        f"snapshot {number} was compacted away and cannot come back; "
                        "`videonovelty known log` lists those that can."
                    )
                made = self._next(
                    base,
                    "rollback",
                    actor,
                    reason,
                    files=target.manifest.files,
                    n_videos=target.n_videos,
                    n_frames=target.n_frames,
                    changes={"to_snapshot": number},
                )
                try:
                    manifests.commit(self.path, made)
                except LostRaceError:
                    continue
                return self.snapshot(made.number)

    def compact(self, *, actor: str, reason: str) -> Snapshot:
        """Rewrite the shards without what was removed, merge small ones, find stop frames, delete what is not needed.

        Afterwards earlier snapshots can no longer be opened: the bytes of removed rows are gone, except for what
        `held` names. Holds about four million rows at a time. Raises KnownStoreError.
        """
        with self._lock("staging.lock", fcntl.LOCK_SH):
            base = Snapshot(self.path, self._newest())
            files: list[FileEntry] = []
            try:
                files.extend(compacted_files(base))
                made = self._commit_compacted(base, files, actor, reason)
            except BaseException:
                if not self._was_committed(files):
                    discard_files(self.path, [f for f in files if f not in base.manifest.files])
                raise
        self.sweep()
        return self.snapshot(made.number)

    def _commit_compacted(self, base: Snapshot, files: list[FileEntry], actor: str, reason: str) -> Manifest:
        old = {entry.path for entry in base.manifest.files}
        latest = base
        while True:
            there = {entry.path for entry in latest.manifest.files}
            if not old <= there:
                raise KnownStoreError(f"{self.path} was compacted or rolled back by someone else; nothing was changed.")
            later = [entry for entry in latest.manifest.files if entry.path not in old]
            made = self._next(
                latest,
                "compact",
                actor,
                reason,
                files=(*files, *later),
                n_videos=latest.n_videos,
                n_frames=latest.n_frames,
                changes={"files_before": len(old), "files_after": len(files)},
            )
            try:
                manifests.commit(self.path, made)
            except LostRaceError:
                latest = self.snapshot()
                continue
            return made

    def sweep(self) -> int:
        """Delete the files only earlier snapshots name and, while nobody writes, left-overs of stopped writers.

        Files of snapshots that are being read stay, and what a stopped import read, where it can be resumed. Returns
        how many files of the store were deleted.
        """
        deleted = 0
        with self._lock("history.lock", fcntl.LOCK_EX):
            numbers = manifests.numbers(self.path)
            held = holds.held(self.path, before=numbers[-1], let_go=True)
            needed = self._all_named([*held, numbers[-1]])
            deleted += self._delete(self._all_named(numbers[:-1]) - needed)
            try:
                with self._lock("staging.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
                    if self._remote is None:  # elsewhere they stay: who writes from another machine holds no lock here
                        needed |= self._all_named(manifests.numbers(self.path)[-1:])
                        deleted += self._delete({name for name in self._present() if name not in needed})
                    sweep_imports(self.path)
            except BlockingIOError:
                log.info("%s: left-overs are not swept while somebody writes", self.path)
        return deleted

    def held(self) -> tuple[int, ...]:
        """Return the earlier snapshots that are being read, ascending: a sweep leaves their files.

        Of readers on this machine, and on others where the file system of the store passes locks on.
        """
        return holds.held(self.path, before=self._newest())

    # ---- looking at it ----

    def log(self) -> list[LogEntry]:
        """Return the history, oldest first."""
        entries = []
        present = set(self._present())
        for number in manifests.numbers(self.path):
            m, _ = manifests.read(self.path, number)
            entries.append(
                LogEntry(
                    number=m.number,
                    parent=m.parent,
                    action=m.action,
                    actor=m.actor,
                    reason=m.reason,
                    time=m.time,
                    changes=m.changes,
                    n_videos=m.n_videos,
                    n_frames=m.n_frames,
                    versions=m.versions,
                    available=_names(m.files) <= present,
                )
            )
        return entries

    def verify(self) -> list[str]:
        """Return what is wrong with the latest snapshot and the history, one sentence each; empty when all is well.

        Reads every byte. Left-overs of stopped writers are no problem; they are logged and `sweep` deletes them.
        """
        problems: list[str] = []
        numbers = manifests.numbers(self.path)
        parents: dict[int, str] = {}
        for number in numbers:
            try:
                m, sha256 = manifests.read(self.path, number)
            except KnownStoreError as error:
                problems.append(str(error))
                continue
            parents[number] = sha256
            if m.parent is not None and parents.get(m.parent, m.parent_sha256) != m.parent_sha256:
                problems.append(f"snapshot {m.parent} is not the one snapshot {number} was made from")
        if numbers != list(range(len(numbers))):
            problems.append("snapshots are missing from the history")
        if problems or not numbers:
            return problems or [f"{self.path} has no snapshot"]
        latest = self.snapshot()
        for entry in latest.manifest.files:
            problems += self._verify_file(entry)
        if not problems:
            problems += _verify_counts(latest) + _verify_coded(latest)
        left_over = set(self._present()) - self._all_named(numbers)
        if left_over:
            log.info("%s: %d left-over files, swept by the next sweep or compact", self.path, len(left_over))
        return problems

    def stats(self) -> dict[str, object]:
        """Return what the latest snapshot holds: videos, keyframes by list, disposition, scheme; bytes; stop frames."""
        snapshot = self.snapshot()
        _, lists, dispositions = snapshot.count_videos()
        schemes: dict[str, dict[str, int]] = {}
        for scheme in snapshot.schemes:
            counts = {}
            for kind, name in (("profiles", "videos"), ("frames", "frames"), ("local", "descriptors")):
                counts[name] = sum(
                    int(rows[alive].sum())
                    for _, rows, alive in map(snapshot.rows_of, snapshot.manifest.of_kind(kind, scheme))
                )
            schemes[scheme] = {**counts, "stop_frames": len(snapshot.stop_codes(scheme))}
        removed = snapshot.manifest.of_kind("removed")
        coded = snapshot.manifest.of_kind("coded")
        return {
            "snapshot": snapshot.number,
            "videos": snapshot.n_videos,
            "frames": snapshot.n_frames,
            "lists": lists,
            "dispositions": dispositions,
            "schemes": schemes,
            "files": len(snapshot.manifest.files),
            "bytes": sum(entry.size_bytes for entry in snapshot.manifest.files),
            "coded_units": sum(_coded_counts(snapshot, entry)[1] for entry in coded),
            "coded_videos": sum(_coded_counts(snapshot, entry)[0] for entry in coded),
            "tombstones": sum(entry.rows for entry in removed),
            "stop_frames": sum(counts["stop_frames"] for counts in schemes.values()),
        }

    # ---- inside ----

    def _next(
        self,
        base: Snapshot,
        action: str,
        actor: str,
        reason: str,
        *,
        files: tuple[FileEntry, ...],
        n_videos: int,
        n_frames: int,
        changes: dict[str, int],
    ) -> Manifest:
        if not actor:
            raise KnownStoreError("a change of the known store needs to say who makes it (--actor).")
        number = base.number + 1
        fresh = {entry.path for entry in base.manifest.files}
        return Manifest(
            number=number,
            parent=base.number,
            parent_sha256=base.manifest_sha256,
            action=action,
            actor=actor,
            reason=reason,
            time=manifests.now(),
            versions=manifests.tool_versions(),
            changes=changes,
            n_videos=n_videos,
            n_frames=n_frames,
            files=tuple(replace(f, added=number) if action == "add" and f.path not in fresh else f for f in files),
        )

    def _tombstones(
        self, base: Snapshot, video_ids: Sequence[str], list_name: str | None
    ) -> tuple[list[dict[str, object]], list[str]]:
        """Return the tombstone rows of a removal and the ids of videos that are on no list afterwards."""
        wanted = list(dict.fromkeys(video_ids)) if video_ids else base.ids_of_list(list_name or "")
        known = base.describe(wanted)
        rows: list[dict[str, object]] = []
        gone: list[str] = []
        for video_id, video in known.items():
            lists = {m.list_name for m in video.memberships}
            hit = lists if list_name is None else lists & {list_name}
            if not hit:
                continue
            if hit == lists:
                gone.append(video_id)
                rows.append({"video_id": raw_id(video_id), "list": ""})
            rows += [{"video_id": raw_id(video_id), "list": name} for name in sorted(hit)]
        if not rows:
            what = f"list {list_name!r}" if list_name is not None else "none of these videos"
            raise KnownStoreError(f"{what} is in {self.path}; `videonovelty known stats` shows what is.")
        return rows, gone

    @contextlib.contextmanager
    def _lock(self, name: str, how: int) -> Iterator[None]:
        """Hold an advisory lock: writers share `staging.lock`; deleting takes it alone."""
        try:
            descriptor = os.open(self.path / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise manifests.write_error(self.path, error) from error
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _verify_file(self, entry: FileEntry) -> list[str]:
        problems = []
        for name, sha256 in ((entry.path, entry.sha256), (entry.index_path, entry.index_sha256)):
            if not name:
                continue
            try:
                found = self._digest(name)
            except OSError as error:
                problems.append(f"{name} cannot be read ({errno.errorcode.get(error.errno or 0, 'error')})")
                continue
            if found is None:
                problems.append(f"{name} is missing; restore it from a backup")
            elif found != sha256:
                problems.append(f"{name} has changed since it was written; restore it from a backup")
        if not problems:
            try:
                if self._remote is not None:
                    self._remote.fetch(entry.path, entry.sha256)
                open_shard(self.path / entry.path, entry.kind, entry.rows).close()
            except KnownStoreError as error:
                problems.append(str(error))
        return problems

    def _digest(self, name: str) -> str | None:
        """Return the SHA-256 of a file where it counts, None where it is missing."""
        if self._remote is not None:
            return self._remote.digest(name)
        try:
            with (self.path / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def _was_committed(self, files: Sequence[FileEntry]) -> bool:
        """Tell whether the latest snapshot names one of these files; when that cannot be told, they stay."""
        try:
            named = _names(self.snapshot().manifest.files)
        except KnownStoreError:
            return True
        return any(entry.path in named for entry in files)

    def _present(self) -> Iterator[str]:
        """Yield the names of all files there are, of manifests only what stopped writers left of them."""
        if self._remote is not None:
            yield from sorted(self._remote.present())
            return
        for folder in FOLDERS:
            if not (self.path / folder).is_dir():
                continue  # a store made before there was this folder
            for file in sorted((self.path / folder).iterdir()):
                if folder != "manifests" or file.name.startswith(TEMPORARY):
                    yield f"{folder}/{file.name}"

    def _all_named(self, numbers: Sequence[int]) -> set[str]:
        named: set[str] = set()
        for number in numbers:
            named |= _names(manifests.read(self.path, number)[0].files)
        return named

    def _delete(self, names: set[str]) -> int:
        deleted = 0
        for name in sorted(names):
            try:
                if self._remote is not None:
                    deleted += self._remote.delete(name)
                    continue
                (self.path / name).unlink()
                deleted += 1
            except FileNotFoundError:
                continue
            except OSError as error:
                raise KnownStoreError(f"{self.path / name} cannot be deleted: {error.strerror}") from error
        for folder in {name.partition("/")[0] for name in names}:
            manifests.sync_folder(self.path / folder)
        return deleted


def _first_manifest() -> Manifest:
    return Manifest(
        number=0,
        parent=None,
        parent_sha256="",
        action="create",
        actor="videonovelty",
        reason="",
        time=manifests.now(),
        versions=manifests.tool_versions(),
        changes={},
        n_videos=0,
        n_frames=0,
    )


def _names(files: Iterable[FileEntry]) -> set[str]:
    return {name for entry in files for name in (entry.path, entry.index_path) if name}


def _frames_of(snapshot: Snapshot, video_ids: Sequence[str]) -> int:
    """Return how many alive keyframes these videos have, of all schemes."""
    wanted = raw_ids(video_ids)
    total = 0
    for entry in snapshot.manifest.of_kind("frames"):
        ids, rows, alive = snapshot.rows_of(entry)
        places = VideoIds(ids).positions(wanted)
        places = places[places >= 0]
        total += int(rows[places[alive[places]]].sum())
    return total


def _coded_counts(snapshot: Snapshot, entry: FileEntry) -> tuple[int, int]:
    """Return how many videos and units of coded packets of a file are alive."""
    videos = units = 0
    for table in snapshot.tables(entry):
        alive = ~snapshot.removed.whole_videos(binary_column(table["video_id"]), entry.added)
        videos += int((alive & (table["first_packet"].to_numpy() == 0)).sum())
        units += int((alive & (table["rows"].to_numpy() > 0)).sum())
    return videos, units


def _verify_coded(snapshot: Snapshot) -> list[str]:
    """Check that no video's coded packets are stored twice under one recipe, and that units are whole."""
    problems = []
    seen: dict[str, set[bytes]] = {}
    for entry in snapshot.manifest.of_kind("coded"):
        left = packet = 0
        for table in snapshot.tables(entry):
            ids = binary_column(table["video_id"])
            alive = ~snapshot.removed.whole_videos(ids, entry.added)
            first, rows = table["first_packet"].to_numpy(), table["rows"].to_numpy()
            sizes = pc.binary_length(table["digests"]).to_numpy() // DIGEST_BYTES
            times = pc.binary_length(table["t_ms"]).to_numpy() // 4
            for i in range(len(ids)):
                if (left > 0) == (rows[i] > 0) or first[i] not in (0, packet) or sizes[i] != times[i]:
                    problems.append(f"{entry.path}: the coded packets of {ids[i].tobytes().hex()} are not whole")
                    break
                left = max(left, int(rows[i])) - 1
                packet = int(first[i] + sizes[i])
                if alive[i] and first[i] == 0:
                    known = seen.setdefault(entry.scheme, set())
                    if ids[i].tobytes() in known:
                        problems.append(f"{ids[i].tobytes().hex()} has its coded packets stored twice")
                    known.add(ids[i].tobytes())
    return problems


def _verify_counts(snapshot: Snapshot) -> list[str]:
    """Check what the manifest counts against the rows, and that no video is stored twice."""
    problems = []
    videos, _, _ = snapshot.count_videos()
    if videos != snapshot.n_videos:
        problems.append(f"the manifest counts {snapshot.n_videos} videos, the files hold {videos}")
    frames = 0
    for scheme in snapshot.schemes:
        for kind in ("frames", "profiles"):
            seen: set[bytes] = set()
            for entry in snapshot.manifest.of_kind(kind, scheme):
                ids, rows, alive = snapshot.rows_of(entry)
                texts = {ids[i].tobytes() for i in np.flatnonzero(alive)}
                if texts & seen:
                    problems.append(f"{len(texts & seen)} videos have their {kind} stored twice under {scheme}")
                seen |= texts
                frames += int(rows[alive].sum()) if kind == "frames" else 0
    if frames != snapshot.n_frames:
        problems.append(f"the manifest counts {snapshot.n_frames} keyframes, the files hold {frames}")
    return problems
