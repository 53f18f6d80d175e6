"""Intake: which files there are, what they hold, and whether they hold still.

Every file is opened once, without following links, and hashed and decoded through that one descriptor, so that what is
judged is what was hashed. Paths are bytes, as the file system gave them; people see `display_path`.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import logging
import os
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from videonovelty.errors import Reason, RefusedVideoError, SettingsError, UnreadableVideoError, VideoError
from videonovelty.records import ContentHashes, Sighting
from videonovelty.settings import IntakeSettings

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
# Control, format (zero width, bidirectional), surrogate, private, unassigned, line and paragraph separators.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
# Letters and marks that draw nothing: Hangul fillers, the combining grapheme joiner, the empty Braille cell.
INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u034f\u2800")


@dataclass(frozen=True, slots=True)
class IntakeEntry:
    """One directory entry that is not a folder, or a folder that cannot be read."""

    path_raw: bytes
    reason: Reason | None = None
    """Why it cannot be opened; None for a regular file."""
    detail: str = ""


def display_text(text: str, limit: int | None = None) -> str:
    r"""Return `text` on one line with everything invisible or undecodable escaped, cut to `limit` characters.

    Undecodable bytes (as surrogates, PEP 383) become `\xNN`, other hidden characters `\xNN`, `\uNNNN` or `\UNNNNNNNN`,
    a backslash `\\`: without `limit`, different texts stay different.
    """
    part = text if limit is None else text[: limit + 1]
    plain = part.isascii() and part.isprintable()
    shown = part.replace("\\", "\\\\") if plain else "".join(map(_shown, part))
    if limit is not None and len(shown) > limit:
        shown = shown[: max(limit - 1, 0)] + "…"
    return shown


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character == " " or (unicodedata.category(character) not in HIDDEN_CATEGORIES and character not in INVISIBLE):
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the undecodable byte code - 0xDC00
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def display_path(raw: bytes) -> str:
    r"""Return `raw` as people may see it: one line, no control, bidirectional, invisible or undecodable character.

    `b"a\xff\n.mp4"` becomes `a\xff\x0a.mp4`. Different paths stay different.
    """
    return display_text(raw.decode("utf-8", "surrogateescape"))


def encode_raw(raw: bytes) -> str:
    """Return `raw` as base64, the form of the `path_raw` column."""
    return base64.b64encode(raw).decode("ascii")


def decode_raw(text: str) -> bytes:
    """Return the path that `encode_raw` wrote. Raises ValueError for anything else."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"not a base64 path: {error}") from error


def enumerate_intake(roots: Sequence[Path], settings: IntakeSettings) -> Iterator[IntakeEntry]:
    """Yield every entry under `roots` that is not a folder, in the order of the raw bytes of the full paths.

    Names and extensions decide nothing. Links are never followed below a root; links, pipes, sockets and devices are
    yielded with `Reason.NOT_A_REGULAR_FILE`, folders that cannot be read with `Reason.IO_ERROR`. A root that is a file
    is one entry. Overlapping roots yield each path once. The order depends on the names alone, and one folder's names
    are held at a time.

    Raises SettingsError, before anything is yielded, for a root that is missing or cannot be read.
    """
    found = sorted({_start(root) for root in roots}, key=lambda start: _sort_key(*start))
    starts: list[tuple[Path, bool]] = []
    folders: set[Path] = set()
    for path, is_folder in found:
        covering = path.parents if settings.follow_folders else path.parents[: 0 if is_folder else 1]
        if folders.isdisjoint(covering):
            starts.append((path, is_folder))
            if is_folder:
                folders.add(path)
    return _walk(starts, settings)


def _start(root: Path) -> tuple[Path, bool]:
    """Return (path, is a folder) of a root, without the links of the operator's own spelling."""
    try:
        if root.is_dir():
            root = root.resolve()
            with os.scandir(root) as listing:
                next(listing, None)
            return root, True
        root.lstat()
        return root.absolute().parent.resolve() / root.name, False
    except OSError as error:
        message = f"intake {display_path(os.fsencode(root))}: {_why(error)}. Name a readable folder or file."
        raise SettingsError(message) from error


def _sort_key(path: Path, is_folder: bool) -> bytes:
    # a folder sorts as its contents do: "a-b" < "a/b" < "a0" in bytes
    return os.fsencode(path) + (b"/" if is_folder else b"")


def _walk(starts: list[tuple[Path, bool]], settings: IntakeSettings) -> Iterator[IntakeEntry]:
    pending = starts[::-1]
    roots = {path for path, _ in starts}
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            yield _entry(os.fsencode(path))
        elif settings.follow_folders or path in roots:
            try:
                listing = _list_folder(path)
            except OSError as error:
                yield IntakeEntry(os.fsencode(path), Reason.IO_ERROR, f"folder: {_why(error)}")
                continue
            if not settings.follow_folders:
                listing = [start for start in listing if not start[1]]
            listing.sort(key=lambda start: _sort_key(*start), reverse=True)
            pending += listing


def _list_folder(path: Path) -> list[tuple[Path, bool]]:
    # Opened without following a link: the folder may have been swapped for one since its parent was read.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(fd) as listing:
            return [(path / entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    finally:
        os.close(fd)


def _entry(path: bytes) -> IntakeEntry:
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        return IntakeEntry(path, Reason.IO_ERROR, _why(error))
    if stat.S_ISREG(mode):
        return IntakeEntry(path)
    return IntakeEntry(path, Reason.NOT_A_REGULAR_FILE, _kind(mode))


def _kind(mode: int) -> str:
    tests: tuple[tuple[Callable[[int], bool], str], ...] = (
        (stat.S_ISLNK, "link"),
        (stat.S_ISFIFO, "pipe"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISDIR, "folder"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    )
    return next((name for test, name in tests if test(mode)), "special file")


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "unreadable"


@contextmanager
def opened(path_raw: bytes) -> Iterator[int]:
    """Open a regular file for reading and yield its descriptor; links are not followed, pipes do not block.

    Raises RefusedVideoError (`NOT_A_REGULAR_FILE`) and UnreadableVideoError (`IO_ERROR`).
    """
    shown = display_path(path_raw)
    try:
        fd = os.open(path_raw, OPEN_FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket, or a device without a driver
            kind = "link" if error.errno == errno.ELOOP else "socket or device"
            raise RefusedVideoError(shown, kind, reason=Reason.NOT_A_REGULAR_FILE) from error
        raise UnreadableVideoError(shown, _why(error), reason=Reason.IO_ERROR) from error
    except ValueError as error:  # a zero byte in the path
        raise UnreadableVideoError(shown, "impossible path", reason=Reason.IO_ERROR) from error
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise RefusedVideoError(shown, _kind(mode), reason=Reason.NOT_A_REGULAR_FILE)
        yield fd
    finally:
        os.close(fd)


def hash_content(fd: int) -> ContentHashes:
    """Return SHA-256, MD5 and SHA-1 of the file behind `fd` from one read of it, and leave `fd` at its start.

    MD5 and SHA-1 are for comparing with lists that hold nothing better. Holds 1 MiB. Raises OSError.
    """
    digests = (
        hashlib.sha256(),
        hashlib.md5(usedforsecurity=False),
        hashlib.sha1(usedforsecurity=False),
    )
    buffer = bytearray(CHUNK_BYTES)
    view = memoryview(buffer)
    size = 0
    os.lseek(fd, 0, os.SEEK_SET)
    while read := os.readv(fd, [buffer]):
        size += read
        for digest in digests:
            digest.update(view[:read])
    os.lseek(fd, 0, os.SEEK_SET)
    sha256, md5, sha1 = (digest.hexdigest() for digest in digests)
    return ContentHashes(video_id=sha256, md5=md5, sha1=sha1, size_bytes=size)


def sight(path_raw: bytes, settings: IntakeSettings) -> tuple[Sighting, ContentHashes | None]:
    """Open, watch and hash one file; hashes are None, and `Sighting.reason` says why, when that failed.

    A file touched less than `settle_seconds` ago is looked at again once it has rested that long: `UNSTABLE` when its
    size or time differs then, or when it grows while it is read; `CHANGED` when it is rewritten while it is read.
    Never raises for a file.
    """
    try:
        with opened(path_raw) as fd:
            return sight_open(fd, path_raw, settings)
    except VideoError as error:
        return Sighting(path_raw, "", 0, 0, error.reason, error.detail), None


def sight_open(fd: int, path_raw: bytes, settings: IntakeSettings) -> tuple[Sighting, ContentHashes | None]:
    """Return what `sight` returns, for a file that is already open: hash and decode through one descriptor."""
    before = os.fstat(fd)

    def failed(reason: Reason, detail: str) -> tuple[Sighting, None]:
        return Sighting(path_raw, "", before.st_size, before.st_mtime_ns, reason, detail), None

    try:
        wait = _settling_seconds(before, settings)
        if wait > 0:
            time.sleep(wait)
            if _state(os.fstat(fd)) != _state(before):
                return failed(Reason.UNSTABLE, "written to while it was watched")
        hashes = hash_content(fd)
        after = os.fstat(fd)
    except OSError as error:
        return failed(Reason.IO_ERROR, _why(error))
    if after.st_size > before.st_size or hashes.size_bytes > before.st_size:
        return failed(Reason.UNSTABLE, "grew while it was read")
    if _state(after) != _state(before) or hashes.size_bytes != before.st_size:
        return failed(Reason.CHANGED, "changed while it was read")
    return Sighting(path_raw, hashes.video_id, before.st_size, before.st_mtime_ns), hashes


def unchanged(fd: int, sighting: Sighting) -> bool:
    """Return whether the file behind `fd` still has the size and modification time of `sighting`.

    `fd` must be the descriptor that was hashed: then a file renamed over the path is no change at all.
    """
    try:
        now = os.fstat(fd)
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) == (sighting.size_bytes, sighting.modified_ns)


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _settling_seconds(status: os.stat_result, settings: IntakeSettings) -> float:
    """Return how long to watch a file: until its last change lies `settle_seconds` back.

    The change time counts too, which the kernel sets and a copying program cannot date back. A file from the future
    (a clock that was set back, another machine's clock) is watched for a short while only, or an intake of them would
    never end.
    """
    now = time.time_ns()
    ages = [(now - changed) / 1e9 for changed in (status.st_mtime_ns, status.st_ctime_ns)]
    past = [age for age in ages if age >= 0]
    if not past:
        return min(settings.settle_seconds, 0.2)
    return max(0.0, settings.settle_seconds - min(past))
