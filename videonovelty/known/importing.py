"""Import lists from outside: read their files as streams, spill the entries, commit what they change at once.

Bad rows are told and left out; the good ones go in. An import that was stopped goes on behind its last complete run
of entries when the same files are imported again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from videonovelty.errors import LockHeldError, SettingsError
from videonovelty.known.formats import FORMATS, detect
from videonovelty.known.formats.reading import Format, RangeEnd, ReadOptions
from videonovelty.known.listed import BadRow, LeftOut, ListedItem
from videonovelty.known.spill import LOCK, Spill, stamp, sweep_imports, write_sources
from videonovelty.known.store import KnownStore

MAX_PROBLEMS = 50
"""Bad rows told one by one; the others are counted."""
REPORT_ROWS = 50_000
NOT_EXHAUSTED = "not exhausted"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import came to."""

    snapshot: int
    changes: Mapping[str, int]
    entries: int
    withdrawn: int
    left_out: Mapping[str, int]
    """Sound rows that are no known video: why → how many."""
    bad: int
    problems: tuple[str, ...]
    """The first bad rows: file, place, what is wrong."""
    unread: int
    """Files whose end could not be read."""
    checkpoint: str
    """Feeds only: until when every change is in the store, where the next range begins; empty where not exhausted."""
    resumed: bool


@dataclass(slots=True)
class _Reading:
    """One import while it reads."""

    spill: Spill
    report: Callable[[int], None] | None
    rows: int = 0

    def count(self, name: str) -> None:
        counts = self.spill.progress.counts
        counts[name] = counts.get(name, 0) + 1


def import_lists(
    paths: Sequence[Path],
    *,
    store: KnownStore,
    list_name: str,
    format_name: str = "auto",
    disposition: str = "",
    options: ReadOptions,
    actor: str,
    reason: str = "",
    strict: bool = False,
    dry_run: bool = False,
    report: Callable[[int], None] | None = None,
) -> ImportResult:
    """Import `paths` (files; of a folder, its files) as list `list_name`, in one commit.

    `report` is called with the rows read so far. With `strict` one bad row refuses all; with `dry_run` nothing is
    changed. Raises SettingsError for files that are no list, LockHeldError while the same import runs, KnownStoreError.
    """
    if not list_name or "/" in list_name or list_name != list_name.strip() or not list_name.isprintable():
        raise SettingsError(f"--list {list_name!r}: a list needs a plain name, without /.")
    files = [(path, _format(path, format_name)) for path in list_files(paths)]
    with _spill(files, store, list_name, disposition, options) as spill:
        resumed = spill.resumed
        reading = _Reading(spill, report)
        for number in range(spill.progress.file, len(files)):
            _read_file(reading, *files[number], options, number)
        spill.end_run()
        counts = spill.progress.counts
        bad, unread = counts.get("bad", 0), counts.get("unread", 0)
        if strict and bad:
            problems = "; ".join(spill.progress.problems[:5])
            spill.discard()
            raise SettingsError(f"--strict: {bad:,} bad row(s), so nothing was imported: {problems}")
        checkpoint = _checkpoint(list(spill.progress.checkpoints.values()), unread)
        snapshot, changes = store.update_list(
            spill, actor=actor, reason=reason or _reason(files, list_name, checkpoint), dry_run=dry_run
        )
        spill.discard()
    return ImportResult(
        snapshot=snapshot.number,
        changes=asdict(changes),
        entries=counts.get("entries", 0),
        withdrawn=counts.get("withdrawn", 0),
        left_out={name.removeprefix("left out: "): n for name, n in counts.items() if name.startswith("left out: ")},
        bad=bad,
        problems=tuple(spill.progress.problems),
        unread=unread,
        checkpoint=checkpoint,
        resumed=resumed,
    )


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return the regular files among `paths` and in the folders among them, sorted within a folder."""
    found: list[Path] = []
    for path in paths:
        try:
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
            regular = [p for p in inside if stat.S_ISREG(p.lstat().st_mode) and not p.name.startswith(".")]
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}.") from error
        if not regular:
            raise SettingsError(f"{path}: no regular file.")
        found += regular
    return found


def _format(path: Path, name: str) -> Format:
    if name == "auto":
        return detect(path)
    if name not in FORMATS:
        raise SettingsError(f"--format {name}: one of auto, {', '.join(FORMATS)}.")
    return FORMATS[name]


@contextlib.contextmanager
def _spill(
    files: Sequence[tuple[Path, Format]], store: KnownStore, list_name: str, disposition: str, options: ReadOptions
) -> Iterator[Spill]:
    """Open the folder this import keeps its progress in, alone."""
    told = [list_name, disposition, options.settings.model_dump(mode="json"), dict(options.columns)]
    stamps = [stamp(path) for path, _ in files]
    key = hashlib.sha256(json.dumps([told, stamps, [f.name for _, f in files]]).encode()).hexdigest()[:16]
    sweep_imports(store.path)
    folder = store.path / "work" / f"import-{key}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise LockHeldError(f"{folder}: these files are being imported by another process.") from None
    try:
        write_sources(folder, stamps)
        yield Spill(
            folder,
            list_name=list_name,
            disposition=disposition or files[0][1].disposition or "other",
            min_quality=options.settings.min_quality,
        )
    finally:
        os.close(descriptor)


def _read_file(reading: _Reading, path: Path, kind: Format, options: ReadOptions, number: int) -> None:
    spill, progress = reading.spill, reading.spill.progress
    start = progress.position if progress.file == number and kind.resumable else 0
    progress.file, progress.position = number, start
    try:
        with path.open("rb") as file:
            for found in kind.read(path, file, options, start):
                if spill.full:
                    progress.position = found.at if kind.resumable else 0
                    spill.end_run()
                _take(reading, path, found)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}; nothing was imported.") from error
    progress.file, progress.position = number + 1, 0


def _take(reading: _Reading, path: Path, found: object) -> None:
    reading.rows += 1
    if reading.report is not None and reading.rows % REPORT_ROWS == 0:
        reading.report(reading.rows)
    if isinstance(found, ListedItem):
        reading.spill.put(found)
        reading.count("entries")
    elif isinstance(found, LeftOut):
        reading.count(f"left out: {found.why}")
    elif isinstance(found, BadRow):
        reading.count("bad")
        if found.ends_file:
            reading.count("unread")
        problems = reading.spill.progress.problems
        if len(problems) < MAX_PROBLEMS:
            problems.append(f"{path.name}: {found.where}: {found.problem}")
    elif isinstance(found, RangeEnd):
        reading.spill.progress.checkpoints[path.name] = found.until if found.exhausted else NOT_EXHAUSTED
    else:
        reading.spill.put(found)  # type: ignore[arg-type]
        reading.count("withdrawn")


def _checkpoint(ends: Sequence[str], unread: int) -> str:
    """Return until when a feed's changes are all here: only when the last page ends its range and all were read."""
    if not ends or unread or ends[-1] == NOT_EXHAUSTED:
        return ""
    return max(end for end in ends if end != NOT_EXHAUSTED)


def _reason(files: Sequence[tuple[Path, Format]], list_name: str, checkpoint: str) -> str:
    what = f"{len(files)} files" if len(files) > 1 else files[0][0].name
    until = f", everything until {checkpoint}" if checkpoint else ""
    return f"list {list_name} imported from {what} ({files[0][1].name}){until}"
