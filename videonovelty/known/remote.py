"""A known store on another file system: any URL fsspec reads (`s3://`, `gs://`, `abfs://` …), with copies kept here.

`mirror` turns such a URL into a folder of this machine that looks like a store: manifests are fetched as they appear,
shards when they are first read, checked against their SHA-256 before anybody sees them, and dropped again, those unused
longest first, where they take more than `VIDEONOVELTY_STORE_CACHE_BYTES`. Writers stage their files in the folder and
upload them when they commit. Everything else works on the folder and need not know.

Where the file system puts an object only if its name is free, a commit is that put of the next manifest, and writers
anywhere may race. Where it cannot, one folder is registered as the only writer and every other is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import fsspec

from videonovelty.errors import KnownStoreError

CACHE_VARIABLE, BYTES_VARIABLE = "VIDEONOVELTY_STORE_CACHE", "VIDEONOVELTY_STORE_CACHE_BYTES"
DEFAULT_CACHE_BYTES = 100 << 30
MARK = "remote.json"
"""In the folder: whose copy it is, and under which name it writes."""
WRITER = "writer.json"
"""At the store, where it has one registered writer: which."""
CONDITIONAL = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}
"""File systems whose objects appear whole, and under a free name only if asked; whether they do is tried out."""
_COPIED = 0o400
"""Mode of a file that is at the store as well, and may be dropped; what is only here has 0600."""
_IN_USE_SECONDS = 60.0
"""A copy asked for so recently is not dropped: whoever asked is about to open it."""
_PIECE = 8 << 20
FOLDERS = ("shards", "local", "profiles", "coded", "videos", "removed", "index", "stop", "decisions")
"""Of files that never change, in a store."""


class TakenError(Exception):
    """There is something of that name already."""


def url_of(store: Path | str) -> str | None:
    """Return the URL that `store` is, also where a `Path` has eaten one of its slashes; None for a folder here.

    >>> url_of(Path("s3://bucket/known")), url_of("/srv/known")
    ('s3://bucket/known', None)
    """
    parts = re.fullmatch(r"([a-z][a-z0-9+.-]+):/+(.*)", os.fspath(store))
    return f"{parts[1]}://{parts[2]}" if parts is not None and parts[1] != "file" else None


def mirror(store: Path | str) -> Path:
    """Return the folder that stands for `store`: itself where it is one, else the one that keeps its copies.

    Raises KnownStoreError when the folder cannot be made, or keeps copies of another store that was there before.
    """
    url = url_of(store)
    if url is None:
        return Path(re.sub(r"^file:/+", "/", os.fspath(store)))
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "videonovelty" / "stores"
    folder = Path(os.environ.get(CACHE_VARIABLE) or default) / hashlib.sha256(url.encode()).hexdigest()[:16]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("manifests", *FOLDERS):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        if not (folder / MARK).exists():
            made = folder / f".{MARK}.{uuid.uuid4().hex}"
            made.write_text(json.dumps({"url": url, "writer": f"{platform.node()}-{uuid.uuid4().hex}"}))
            made.chmod(0o600)
            with contextlib.suppress(FileExistsError):
                os.link(made, folder / MARK)
            made.unlink()
    except OSError as error:
        raise KnownStoreError(f"{folder}, for copies of {url}, cannot be made: {error.strerror}") from error
    return folder


def remote_of(folder: Path) -> Remote | None:
    """Return where a folder's files come from; None for a store that is here."""
    return _remote(folder) if (folder / MARK).exists() else None


@functools.lru_cache(maxsize=16)
def _remote(folder: Path) -> Remote:
    mark = json.loads((folder / MARK).read_text())
    return Remote(mark["url"], folder, mark["writer"])


class Remote:
    """The files of a store somewhere else. Every method raises KnownStoreError where it cannot be reached."""

    def __init__(self, url: str, folder: Path, writer: str) -> None:
        self.url, self.folder, self.writer = url, folder, writer
        self._conditional: bool | None = None
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise KnownStoreError(f"{url}: {error}. Install what fsspec needs for it (s3fs, gcsfs, adlfs).") from error

    def __repr__(self) -> str:
        return self.url

    # ---- reading ----

    def numbers(self) -> list[int]:
        """Return the numbers of all snapshots, ascending."""
        found = (re.fullmatch(r"(\d{12})\.json", name.rpartition("/")[2]) for name in self._listed("manifests"))
        return sorted(int(one[1]) for one in found if one is not None)

    def present(self) -> set[str]:
        """Return the names of all files there, manifests left out."""
        return {name for folder in FOLDERS for name in self._listed(folder)}

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a small file; None where there is none."""
        try:
            content: bytes = self._fs.cat_file(self._at(name))
        except FileNotFoundError:
            return None
        except Exception as error:
            self._failed("read", name, error)
        return content

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of a file as it is there now; None where there is none."""
        digest = hashlib.sha256()
        try:
            for piece in self._pieces(name):
                digest.update(piece)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def fetch(self, name: str, sha256: str) -> None:
        """Bring a file into the folder unless it is there, and drop others where they take too much.

        Raises KnownStoreError when its bytes are not those the manifest names; they are not kept then.
        """
        here = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            os.utime(here)
            return
        temporary = here.with_name(f".tmp-{uuid.uuid4().hex}")
        digest = hashlib.sha256()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for piece in self._pieces(name):
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise KnownStoreError(f"{self.url}/{name} has changed since it was written; restore it from a backup.")
            temporary.chmod(_COPIED)
            temporary.rename(here)
        except FileNotFoundError as error:
            raise KnownStoreError(
                f"{self.url}/{name} is missing: the snapshot was compacted away or the store is damaged. "
                "Use the latest snapshot, or restore the file; `videonovelty known verify` lists what is wrong."
            ) from error
        except OSError as error:
            raise KnownStoreError(f"{here}, a copy of {self.url}/{name}, cannot be written: {error}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        self._drop()

    def _drop(self) -> None:
        """Drop the copies unused longest, until the rest is within the limit."""
        copies: list[tuple[float, int, Path]] = []
        for folder in FOLDERS:
            for path in (self.folder / folder).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    if stat.S_IMODE(status.st_mode) == _COPIED:
                        copies.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in copies)
        limit = int(os.environ.get(BYTES_VARIABLE) or DEFAULT_CACHE_BYTES)
        for used, size, path in sorted(copies):
            if total <= limit or used > time.time() - _IN_USE_SECONDS:
                return
            path.unlink(missing_ok=True)
            total -= size

    # ---- writing ----

    def commit(self, number: int, content: bytes, names: Sequence[str]) -> None:
        """Upload the files that are only here, then make `content` manifest `number`.

        Raises TakenError when the number is taken.
        """
        target = f"manifests/{number:012d}.json"
        with (self.folder / "commit.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if number in self.numbers():
                raise TakenError(target)
            if not self._puts_conditionally():
                self._be_the_writer()
            for name in names:
                self._upload(name)
            try:
                if self._puts_conditionally():
                    self._fs.pipe_file(self._at(target), content, mode="create")
                else:
                    beside = self._at(f"manifests/.tmp-{uuid.uuid4().hex}")
                    self._fs.pipe_file(beside, content)
                    self._fs.mv(beside, self._at(target))
            except Exception as error:
                # A put whose answer was lost may have been made, and tried again by the library: then it is ours.
                if self.read(target) == content:
                    return
                if isinstance(error, FileExistsError):
                    raise TakenError(target) from error
                self._failed("write", target, error)

    def discard(self, names: Sequence[str]) -> None:
        """Remove files that no manifest names, as far as that succeeds."""
        for name in names:
            with contextlib.suppress(Exception):
                self._fs.rm_file(self._at(name))

    def delete(self, name: str) -> bool:
        """Remove a file and its copy; tell whether it was there."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / name).unlink()
        try:
            self._fs.rm_file(self._at(name))
        except FileNotFoundError:
            return False
        except Exception as error:
            self._failed("delete", name, error)
        return True

    def _upload(self, name: str) -> None:
        """Put a file there that is only here. Its name is a random one, so nothing is overwritten."""
        here = self.folder / name
        try:
            if stat.S_IMODE(here.stat().st_mode) == _COPIED:
                return
        except FileNotFoundError:  # a file of an earlier snapshot, which nobody here has read
            return
        try:
            self._fs.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(here), self._at(name))
            size = self._fs.size(self._at(name))
        except Exception as error:
            self._failed("write", name, error)
        if size != here.stat().st_size:
            raise KnownStoreError(f"{self.url}/{name} holds {size} bytes after {here.stat().st_size} were put there.")
        here.chmod(_COPIED)

    def _puts_conditionally(self) -> bool:
        """Tell whether a put under a taken name is refused; tried out once."""
        if self._conditional is None:
            protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
            self._conditional = bool(protocols & CONDITIONAL) and self._refuses_taken_names()
        return self._conditional

    def _refuses_taken_names(self) -> bool:
        name = self._at(f"manifests/.probe-{uuid.uuid4().hex}")
        try:
            self._fs.makedirs(self._at("manifests"), exist_ok=True)
            self._fs.pipe_file(name, b"1", mode="create")
        except Exception as error:
            self._failed("write", "manifests", error)
        try:
            self._fs.pipe_file(name, b"2", mode="create")
        except FileExistsError:
            return True
        except Exception:
            return False
        finally:
            with contextlib.suppress(Exception):
                self._fs.rm_file(name)
        return False

    def _be_the_writer(self) -> None:
        """Register this folder as the only writer where there is none. Raises KnownStoreError where another is."""
        registered = self.read(WRITER)
        if registered is None:
            try:
                self._fs.makedirs(self._at("manifests"), exist_ok=True)
                self._fs.pipe_file(self._at(WRITER), json.dumps({"writer": self.writer}).encode())
            except Exception as error:
                self._failed("write", WRITER, error)
            registered = self.read(WRITER)
        try:
            name = str(json.loads(registered or b"{}")["writer"])
        except (ValueError, KeyError, TypeError) as error:
            raise KnownStoreError(f"{self.url}/{WRITER} is damaged; restore it from a backup.") from error
        if name != self.writer:
            raise KnownStoreError(
                f"{self.url} cannot put a file only if its name is free, so that two writers could overwrite one "
                f"another: only {name} may change it, and this is {self.writer}. Change it there; or, where that "
                f"machine is gone for good, delete {WRITER} and run this again. Nothing was changed."
            )

    # ---- inside ----

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _listed(self, folder: str) -> list[str]:
        """Return the names in a folder, below the store; none where the folder is missing."""
        try:
            self._fs.invalidate_cache()
            found = self._fs.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            self._failed("read", folder, error)
        names = [str(path).rstrip("/").rpartition("/")[2] for path in found]
        return [f"{folder}/{name}" for name in names if name and not name.startswith(".")]

    def _pieces(self, name: str) -> Iterator[bytes]:
        try:
            with self._fs.open(self._at(name), "rb", block_size=_PIECE, cache_type="readahead") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except FileNotFoundError:
            raise
        except Exception as error:
            self._failed("read", name, error)

    def _failed(self, what: str, name: str, error: Exception) -> NoReturn:
        detail: Any = str(error) or type(error).__name__
        raise KnownStoreError(f"{self.url}/{name}: could not {what} it ({detail}).") from error
