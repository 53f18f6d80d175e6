"""Numbered manifests: what a snapshot of the known store consists of, committed by compare-and-swap.

`manifests/000000000042.json` lists every file of snapshot 42. A manifest is written beside, synced, and given its
number by a hard link, which fails when another writer took the number first. Nothing is ever changed in place, so a
process may stop at any instruction: the last complete manifest is the store. Where the store is elsewhere (`remote`),
what counts are the manifests there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from videonovelty.errors import KnownStoreError
from videonovelty.known.remote import FOLDERS as FILE_FOLDERS
from videonovelty.known.remote import TakenError, remote_of
from videonovelty.schemas import FORMAT_VERSION

KIND = "videonovelty_known_manifest"
FOLDERS = ("manifests", *FILE_FOLDERS)
TEMPORARY = ".tmp-"


class LostRaceError(KnownStoreError):
    """Another writer committed this snapshot number first; the caller looks again and retries."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One immutable file of a snapshot."""

    kind: str
    """`frames`, `local`, `profiles`, `coded` (packets), `videos`, `removed` (tombstones), `stop` or `decisions`."""
    path: str
    """Relative to the store."""
    rows: int
    size_bytes: int
    sha256: str
    added: int
    """Snapshot that brought it; a tombstone works on files of earlier snapshots only."""
    scheme: str = ""
    videos: int = 0
    """Distinct videos in it."""
    first_id: str = ""
    last_id: str = ""
    """Range of video ids (hex), for files sorted by them."""
    index_path: str = ""
    """The file that finds a video's rows without reading the shard; empty where there is none."""
    index_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One snapshot."""

    number: int
    parent: int | None
    parent_sha256: str
    """Digest of the parent's bytes: a rewritten history shows."""
    action: str
    """`create`, `add`, `import`, `review`, `remove`, `compact` or `rollback`."""
    actor: str
    reason: str
    time: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    changes: dict[str, int]
    """What the commit did: videos added, rows removed and the like."""
    n_videos: int
    n_frames: int
    files: tuple[FileEntry, ...] = field(default=())
    format_version: int = FORMAT_VERSION

    def of_kind(self, kind: str, scheme: str | None = None) -> tuple[FileEntry, ...]:
        """Return the files of a kind, and of a scheme where one is given."""
        return tuple(f for f in self.files if f.kind == kind and (scheme is None or f.scheme == scheme))


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the store's history."""

    number: int
    parent: int | None
    action: str
    actor: str
    reason: str
    time: str
    changes: dict[str, int]
    n_videos: int
    n_frames: int
    versions: dict[str, str]
    available: bool
    """Its files are still there, so that it can be opened or rolled back to."""


def manifest_path(store: Path, number: int) -> Path:
    """Return where the manifest of a snapshot stands."""
    return store / "manifests" / f"{number:012d}.json"


def numbers(store: Path) -> list[int]:
    """Return the numbers of all snapshots, ascending."""
    remote = remote_of(store)
    if remote is not None:
        return remote.numbers()
    try:
        names = os.listdir(store / "manifests")  # noqa: PTH208 - names only, of possibly many
    except OSError as error:
        raise KnownStoreError(f"{store} cannot be read: {error.strerror}") from error
    return sorted(
        int(name[:12]) for name in names if len(name) == 17 and name.endswith(".json") and name[:12].isdigit()
    )


def read(store: Path, number: int) -> tuple[Manifest, str]:
    """Return a manifest and the sha256 of its bytes.

    Raises KnownStoreError when it is missing, damaged, or of a newer format.
    """
    path = manifest_path(store, number)
    raw = _bytes(store, path)
    if raw is None:
        raise KnownStoreError(f"{store} has no snapshot {number}; `videonovelty known log` lists them.")
    body, _, seal = raw.rstrip(b"\n").rpartition(b"\n")
    try:
        content: dict[str, Any] = json.loads(body)
        newest = int(content["format_version"])
        if content["kind"] != KIND:
            raise ValueError("not a manifest")  # noqa: TRY301
        if newest > FORMAT_VERSION:
            raise KnownStoreError(
                f"{store} is of format {newest}, this program reads up to {FORMAT_VERSION}; use a newer videonovelty."
            )
        if json.loads(seal)["sha256"] != hashlib.sha256(body).hexdigest():
            raise ValueError("its bytes changed")  # noqa: TRY301
        files = tuple(FileEntry(**entry) for entry in content.pop("files"))
        del content["kind"]
        manifest = Manifest(**content, files=files)
    except (ValueError, KeyError, TypeError) as error:
        raise KnownStoreError(
            f"{path} is damaged ({error}); restore it from a backup, `videonovelty known verify` lists what else is."
        ) from error
    if manifest.number != number:
        raise KnownStoreError(f"{path} says it is snapshot {manifest.number}; restore it from a backup.")
    if remote_of(store) is not None and not path.exists():
        _keep(path, raw)
    return manifest, hashlib.sha256(raw).hexdigest()


def _bytes(store: Path, path: Path) -> bytes | None:
    """Return a manifest's bytes, from a copy where there is one; None where there is no such manifest."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        remote = remote_of(store)
        return None if remote is None else remote.read(f"manifests/{path.name}")
    except OSError as error:
        raise KnownStoreError(f"{path} cannot be read: {error.strerror}") from error


def _keep(path: Path, raw: bytes) -> None:
    """Keep a copy of a manifest that is elsewhere; it appears whole."""
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    try:
        with new_file(temporary) as file:
            file.write(raw)
            sync(file)
        temporary.rename(path)
    except OSError as error:
        raise write_error(path.parent.parent, error) from error


def commit(store: Path, manifest: Manifest) -> None:
    """Make `manifest` the next snapshot; on return it survives a power cut.

    Raises LostRaceError when the number is taken, KnownStoreError when the disk is full or offers no hard links.
    """
    content = {"kind": KIND, **_plain(manifest), "files": [_plain(entry) for entry in manifest.files]}
    body = json.dumps(content, ensure_ascii=False).encode()
    seal = json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode()
    folder = store / "manifests"
    temporary = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
    target = manifest_path(store, manifest.number)
    raw = body + b"\n" + seal + b"\n"
    remote = remote_of(store)
    if remote is not None:
        names = [name for entry in manifest.files for name in (entry.path, entry.index_path) if name]
        try:
            remote.commit(manifest.number, raw, names)
        except TakenError as error:
            raise LostRaceError(f"snapshot {manifest.number} was taken by another writer") from error
        _keep(target, raw)
        return
    try:
        with new_file(temporary) as file:
            file.write(raw)
            sync(file)
        os.link(temporary, target)
        sync_folder(folder)
    except FileExistsError as error:
        raise LostRaceError(f"snapshot {manifest.number} was taken by another writer") from error
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise KnownStoreError(
                f"{store}: the file system offers no hard links, so two writers could overwrite one another; "
                "put the store on a file system that does."
            ) from error
        raise write_error(store, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _plain(record: Manifest | FileEntry) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def now() -> str:
    """Return the time for a manifest: UTC, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = {"python": platform.python_version()}
    for name in ("videonovelty", "numpy", "pyarrow", "av", "opencv-python-headless"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return tuple(found.items())


def tool_versions() -> dict[str, str]:
    """Return the versions that shaped what is written."""
    return dict(_versions())


# ---- durable files ----


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that must not exist yet, mode 0600, for writing; it is removed when the block fails."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        try:
            yield file
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise


def sync(file: BinaryIO) -> None:
    """Bring a file's bytes to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(store: Path, error: OSError) -> KnownStoreError:
    """Return the error of a failed write: the store is as it was."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return KnownStoreError(f"{store}: the disk is full; nothing was changed. Free some space and run it again.")
    return KnownStoreError(f"{store} cannot be written: {error.strerror or error}; nothing was changed.")
