"""The run folder: what one night's scan knows, held so that no crash, full disk or second run can lose or mix it.

::

    RUN/journal.jsonl    every state change; the only truth (see `journal`)
    RUN/lock             held by the process that works on the run; says who that is
    RUN/parts/           the signatures of one content each, named by its id, and the digests of its coded packets;
                         only those the journal names count
    RUN/run.json, verdicts.*, segments.*, groups.*, metrics.prom, report/     made from the above, replaced whole

Files are 0600 and folders 0700. Nothing is written in place: a file appears complete, synced, under its final name.
Entries of the journal about a video have its id as `key` and one of `State` as `state`; their fields are `reason`,
`detail`, `part_sha256` and whatever else the run wants remembered. Entries about the run have the key `run`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from videonovelty import __version__
from videonovelty.errors import EnvironmentUnfitError, LockHeldError, Reason, RunError
from videonovelty.journal import JSON, Journal, JournalEntry, read_journal, sync_directory
from videonovelty.records import CodedStream, SignedVideo
from videonovelty.schemas import FORMAT_VERSION, GROUPS, PART, SEGMENTS, VERDICTS
from videonovelty.settings import Settings

logger = logging.getLogger(__name__)

RUN_KEY = "run"
"""Key of the journal's entries about the run as a whole."""
CODED_SUFFIX = ".coded"
_VIDEO_ID = re.compile(r"[0-9a-f]{64}")
_BEFORE_FIRST_ENTRY = frozenset({"lock", "journal.jsonl", "parts"})
"""What a folder may hold whose creation was cut short before the journal's first line."""


class State(StrEnum):
    """What the journal last said about a content."""

    PENDING = "pending"
    """Not looked at yet, or to be looked at again (`reason` says why)."""
    STARTED = "started"
    """Written before a decode begins, so that a video that takes the machine down is known afterwards."""
    SIGNED = "signed"
    SETTLED = "settled"
    """Its coded packets are those of known videos, so it was not decoded."""
    JUDGED = "judged"
    FAILED = "failed"
    REFUSED = "refused"
    QUARANTINED = "quarantined"


_STATES = {str(state): state for state in State}


class Step(StrEnum):
    """What a run does next with a content."""

    SIGN = "sign"
    REUSE = "reuse"
    """Its part is there, made with the same settings, or its packets settled it."""
    KEEP = "keep"
    """It failed, was refused or quarantined, and stays so unless a retry is asked for."""
    QUARANTINE = "quarantine"
    """It is suspected of taking the machine down: do not open it again."""


TRIED_EVERY_TIME = frozenset({Reason.IO_ERROR, Reason.UNSTABLE, Reason.CHANGED})
"""Failures of the moment, not of the video: the next run looks again without being asked."""
_ENDED_BADLY = frozenset({State.FAILED, State.REFUSED, State.QUARANTINED})
_KILLS_PER_CRASH = 10
"""How many kills of the program weigh as much as one crash of the machine: operators kill runs, videos rarely do."""


class VideoState(NamedTuple):
    """What the journal says about one content. A named tuple, for replaying a journal makes a million of them."""

    state: State
    reason: str | None = None
    detail: str = ""
    fingerprint: str = ""
    """Of the settings it was signed with."""
    part_sha256: str | None = None
    """Digest of its signatures in RUN/parts; None while there are none."""
    unreported: tuple[str, ...] = ()
    """Starts since it last reported an end, each as the id of the machine's boot it happened in."""
    sandboxed: bool = False
    keyframes: int = 0
    """Of its signatures; 0 where an older version did not say."""
    descriptors: int = 0
    panes: int = 0
    video_seconds: float = 0.0
    cpu_seconds: float = 0.0
    coded_sha256: str | None = None
    """Digest of its coded packets in RUN/parts; None where they were not looked at, or prove nothing."""

    @property
    def attempts(self) -> int:
        """Starts that never reported an end: that many runs were cut off while it was in work."""
        return len(self.unreported)


class VideoStates:
    """The last state of every content of a run, kept up with each entry of its journal."""

    def __init__(self) -> None:
        self._states: dict[str, VideoState] = {}
        self._fingerprint = ""
        self._boot = ""
        self.run_facts: Mapping[str, JSON] | None = None
        """Fields of the journal's first entry; None for an empty journal."""
        self.tables: Mapping[str, JSON] | None = None
        """Fields of the entry about the tables written last; None while there are none."""
        self.purged: Mapping[str, JSON] | None = None
        """Fields of the entry that says the run was purged."""

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._states

    def get(self, video_id: str) -> VideoState | None:
        """Return what is known about `video_id`; None for a content this run has not met."""
        return self._states.get(video_id)

    def items(self) -> Iterator[tuple[str, VideoState]]:
        """Yield (content id, state) in the order the contents were first met."""
        return iter(self._states.items())

    def observe(self, entry: JournalEntry) -> None:
        """Take one entry of the journal into account. States this version does not know are left aside."""
        fields = entry.fields
        if entry.key == RUN_KEY:
            if entry.state == "created":
                self.run_facts = fields
            elif entry.state == "opened":
                self._fingerprint, self._boot = str(fields.get("fingerprint", "")), str(fields.get("boot", ""))
            elif entry.state == "tables":
                self.tables = fields
            elif entry.state == "purged":
                self.purged = fields
            return
        state = _STATES.get(entry.state)
        if state is None:
            return
        before = self._states.get(entry.key)
        if state is State.STARTED:
            starts = (*(before.unreported if before else ()), self._boot)
            self._states[entry.key] = VideoState(state, fingerprint=self._fingerprint, unreported=starts)
            return
        part = fields.get("part_sha256")
        reason = fields.get("reason")
        reason = None if reason is None else str(reason)
        if state is State.JUDGED and before is not None and part is None:
            # A verdict says nothing new about how the video was signed.
            self._states[entry.key] = before._replace(state=state, reason=reason, detail="", unreported=())
            return
        get = fields.get
        self._states[entry.key] = VideoState(
            state,
            reason,
            str(get("detail", "")),
            self._fingerprint,
            None if part is None else str(part),
            (),
            bool(get("sandboxed", part is None)),
            int(get("keyframes", 0)),  # type: ignore[arg-type]  # the run wrote these numbers itself
            int(get("descriptors", 0)),  # type: ignore[arg-type]
            int(get("panes", 0)),  # type: ignore[arg-type]
            float(get("video_seconds", 0.0)),  # type: ignore[arg-type]
            float(get("cpu_seconds", 0.0)),  # type: ignore[arg-type]
            None if get("coded_sha256") is None else str(get("coded_sha256")),
        )

    def next_step(
        self, video_id: str, *, fingerprint: str, max_attempts: int, retry: frozenset[str] | None = frozenset()
    ) -> Step:
        """Return what to do with a content under the settings `fingerprint`.

        `retry` holds the reasons whose failures are tried again; None retries all of them. A content is quarantined
        when the machine went down `max_attempts - 1` times (at least once) while it was in work, or when the program
        was cut off ten times `max_attempts` times while it was.
        """
        known = self._states.get(video_id)
        if known is None:
            return Step.SIGN
        if known.state is State.STARTED:
            crashes = sum(boot != self._boot for boot in known.unreported)
            too_many = crashes >= max(1, max_attempts - 1) or known.attempts >= _KILLS_PER_CRASH * max_attempts
            return Step.QUARANTINE if too_many else Step.SIGN
        if known.state in _ENDED_BADLY:
            asked = retry is None or known.reason in retry or known.reason in TRIED_EVERY_TIME
            stale = known.fingerprint != fingerprint and known.state is not State.QUARANTINED
            return Step.SIGN if asked or stale else Step.KEEP
        if (known.part_sha256 or known.coded_sha256) is not None and known.fingerprint == fingerprint:
            return Step.REUSE
        return Step.SIGN

    def suspects(self) -> frozenset[str]:
        """Return the contents that were in work when an earlier run was cut off.

        Work on these one at a time before the others: if the machine goes down again, it is clear which one it was.
        """
        return frozenset(v for v, s in self._states.items() if s.state is State.STARTED)


class RunFolder:
    """A run folder this process holds the lock of."""

    def __init__(self, path: Path, journal: Journal, states: VideoStates, lock: FileLock, run_id: str) -> None:
        """Use `RunFolder.open`."""
        self.path = path
        self.journal = journal
        self.states = states
        """Kept up with every entry appended to `journal`."""
        self.run_id = run_id
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, store_id: str, settings: Settings, fingerprint: str | None = None) -> RunFolder:
        """Create the run folder at `path`, or resume the one that is there.

        `fingerprint` names everything that shapes signatures (default: that of the settings); parts made under another
        one are made anew.

        Raises LockHeldError naming the process that works on it, RunError for a folder that is no run folder, belongs
        to another known store or a newer version, or is damaged, EnvironmentUnfitError when the disk is full or cannot
        be written.
        """
        path = path.absolute()
        _make_folder(path)
        _refuse_foreign(path)
        lock = _take_lock(path)
        journal: Journal | None = None
        try:
            _sweep(path)
            check_free_space(path, settings.run.min_free_bytes)
            states = VideoStates()
            journal = Journal.open(path / "journal.jsonl", observe=states.observe)
            _make_folder(path / "parts")
            if journal.seq == 0:
                facts: dict[str, JSON] = {"format": FORMAT_VERSION, "run_id": secrets.token_hex(8), "store": store_id}
                journal.append("created", key=RUN_KEY, **facts)
            run_id = _check_facts(path, states, store_id)
            _check_not_shortened(path, journal)
            journal.append(
                "opened",
                key=RUN_KEY,
                fingerprint=settings.signing_fingerprint() if fingerprint is None else fingerprint,
                boot=_boot_id(),
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
            )
        except BaseException:
            if journal is not None:
                journal.close()
            lock.release()
            raise
        return cls(path, journal, states, lock, run_id)

    def close(self) -> None:
        """Note the end in the journal and let go of the lock. Does nothing the second time."""
        if not self._lock.is_locked:
            return
        try:
            if self.journal.usable:
                self.journal.append("closed", key=RUN_KEY)
        except EnvironmentUnfitError as error:
            logger.warning("the end of the run could not be noted: %s", error)
        finally:
            self.journal.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write_part(self, video: SignedVideo) -> str:
        """Store the signatures of one content and return the digest the journal must name (see `write_part`)."""
        return write_part(self.path, video)

    def read_part(self, video_id: str) -> SignedVideo:
        """Return the signatures of one content, equal to what was written.

        Raises RunError when the journal names no part for it, or the part is missing or altered.
        """
        state = self.states.get(video_id)
        if state is None or state.part_sha256 is None:
            raise RunError(f"{self.path}: the journal names no signatures of {video_id}. Run `videonovelty scan`.")
        return read_part(self.path, video_id, sha256=state.part_sha256)

    def write_tables(self, verdicts: pa.Table, segments: pa.Table, groups: pa.Table, **facts: JSON) -> None:
        """Replace the run's tables; the same rows give the same bytes.

        Each file is replaced whole, and the journal's last `tables` entry holds their digests and `facts`. Raises
        ValueError for a table whose columns are not those of `schemas`, EnvironmentUnfitError when the disk does not
        take them.
        """
        from videonovelty.report.exports import write_csv, write_json  # noqa: PLC0415  (workers need no exports)

        tables = {
            "verdicts": _conform(verdicts, VERDICTS),
            "segments": _conform(segments, SEGMENTS),
            "groups": _conform(groups, GROUPS),
        }
        digests: dict[str, JSON] = {}
        for name, table in tables.items():
            write_parquet = functools.partial(pq.write_table, table, compression="zstd")
            digests[f"{name}.parquet"] = write_file(self.path / f"{name}.parquet", write_parquet)
        try:
            for name, table in tables.items():
                write_csv(table, self.path / f"{name}.csv")
            write_json(tables["verdicts"], self.path / "verdicts.json")
            sync_directory(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        for name in ("verdicts.csv", "verdicts.json", "segments.csv", "groups.csv"):
            digests[name] = _digest(self.path / name)
        self.journal.append("tables", key=RUN_KEY, files=digests, **facts)

    def tables_made_of(self, inputs: str) -> Mapping[str, JSON] | None:
        """Return the facts noted with the tables when they were made of `inputs` and are as written; None otherwise."""
        facts = self.states.tables
        if facts is None or facts.get("inputs") != inputs or self._altered_tables():
            return None
        return facts

    def write_run_json(self, document: Mapping[str, Any]) -> None:
        """Replace run.json by `document`, with the format's version, the run's id and the journal's present end.

        The journal's end is what makes lines taken off it noticeable later. Raises EnvironmentUnfitError when the disk
        does not take it.
        """
        whole = {
            **document,
            "format_version": FORMAT_VERSION,
            "run_id": self.run_id,
            "journal": {"entries": self.journal.seq, "head": self.journal.head},
        }
        text = json.dumps(whole, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
        write_file(self.path / "run.json", lambda file: file.write(text.encode("ascii")))

    def verify(self) -> list[str]:
        """Return one sentence for each file that is not what the journal says; an empty list for a sound run.

        Files the journal does not name are nobody's business and left aside.
        """
        problems: list[str] = []
        for video_id, state in self.states.items():
            for digest, read in ((state.part_sha256, read_part), (state.coded_sha256, read_coded)):
                if digest is not None:
                    try:
                        read(self.path, video_id, sha256=digest)
                    except RunError as error:
                        problems.append(str(error))
        problems += [f"{path}: {why}. `videonovelty scan` rebuilds it." for path, why in self._altered_tables()]
        return problems

    def _altered_tables(self) -> list[tuple[Path, str]]:
        """Return each table file that is not as it was written, and why."""
        files = (self.states.tables or {}).get("files")
        problems: list[tuple[Path, str]] = []
        for name, digest in files.items() if isinstance(files, dict) else ():
            try:
                if _digest(self.path / name) != digest:
                    problems.append((self.path / name, "altered since written"))
            except OSError as error:
                problems.append((self.path / name, str(error.strerror)))
        return problems


@contextmanager
def locked_journal(path: Path) -> Iterator[tuple[Journal, VideoStates]]:
    """Hold the lock of a run folder that is there and provide its journal: for what needs neither store nor settings.

    Raises LockHeldError, RunError for a folder that is no run or is damaged, EnvironmentUnfitError.
    """
    if not (path / "journal.jsonl").is_file():
        raise RunError(f"{path}: not a run folder: it has no journal.jsonl. Name a folder `videonovelty scan` made.")
    lock = _take_lock(path)
    try:
        states = VideoStates()
        with Journal.open(path / "journal.jsonl", observe=states.observe) as journal:
            yield journal, states
    finally:
        lock.release()


def write_part(run_path: Path, video: SignedVideo) -> str:
    """Store the signatures of one content under RUN/parts and return their SHA-256.

    Needs no lock: workers call it, and the part counts once the journal names the digest. Two workers that were given
    the same video write the same bytes, for the processor time they took is kept beside the signatures, not in them.

    Raises EnvironmentUnfitError when the disk does not take it.
    """
    from videonovelty.sandbox import encode_signed  # noqa: PLC0415  (the run folder can be read without the sandbox)

    signatures = video.signatures
    payload = bytes(encode_signed(replace(video, cpu_seconds=0.0)))
    header = {"cpu_seconds": video.cpu_seconds, "keyframes": len(signatures.pts_seconds)}
    return _write_payload(
        _part_path(run_path, signatures.video_id), signatures.video_id, signatures.scheme, header, payload
    )


def write_coded(run_path: Path, coded: CodedStream) -> str:
    """Store the digests of the coded packets of one content beside its part; as `write_part`."""
    from videonovelty.sandbox import encode_coded  # noqa: PLC0415

    payload = bytes(encode_coded(replace(coded, cpu_seconds=0.0)))
    header = {"cpu_seconds": coded.cpu_seconds}
    path = _part_path(run_path, coded.video_id, CODED_SUFFIX)
    return _write_payload(path, coded.video_id, coded.recipe, header, payload)


def _write_payload(path: Path, video_id: str, scheme: str, header: Mapping[str, JSON], payload: bytes) -> str:
    digest = hashlib.sha256(payload).hexdigest()
    row = {
        "video_id": video_id,
        "scheme": scheme,
        "header": json.dumps(header, sort_keys=True),
        "payload": payload,
        "payload_sha256": digest,
    }
    table = pa.Table.from_pylist([row], schema=PART)
    write_file(
        path,
        lambda file: pq.write_table(table, file, compression="zstd", use_dictionary=False, write_statistics=False),
    )
    return digest


def read_part(run_path: Path, video_id: str, *, sha256: str) -> SignedVideo:
    """Return the signatures of one content whose digest the journal gives as `sha256`.

    Raises RunError when they are missing or not those.
    """
    from videonovelty.sandbox import decode_signed  # noqa: PLC0415

    video: SignedVideo = _read_payload(_part_path(run_path, video_id), video_id, sha256, decode_signed)
    return video


def read_coded(run_path: Path, video_id: str, *, sha256: str) -> CodedStream:
    """Return the digests of the coded packets of one content; as `read_part`."""
    from videonovelty.sandbox import decode_coded  # noqa: PLC0415

    coded: CodedStream = _read_payload(_part_path(run_path, video_id, CODED_SUFFIX), video_id, sha256, decode_coded)
    return coded


def _read_payload(path: Path, video_id: str, sha256: str, decode: Callable[..., Any]) -> Any:
    remedy = "Delete the file and run `videonovelty scan` again: it is signed anew."
    try:
        cpu_seconds, payload = _stored(path, video_id, sha256)
        return replace(decode(payload, video_id=video_id), cpu_seconds=cpu_seconds)
    except FileNotFoundError:
        raise RunError(f"{path}: the journal names it, but it is missing. Run `videonovelty scan` again.") from None
    except _UNREADABLE as error:
        raise RunError(f"{path}: cannot be read: {str(error).splitlines()[0][:200]}. {remedy}") from error


_UNREADABLE = (OSError, pa.ArrowException, ValueError, IndexError, KeyError, TypeError)


def _stored(path: Path, video_id: str, sha256: str) -> tuple[float, bytes]:
    """Return the processor seconds and the payload of a part. Raises one of `_UNREADABLE`: it is not what is named."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        # one row of one group, by hand: half the time of `read_table`, and signatures are read several times a run
        part = pq.ParquetFile(pa.BufferReader(file.read()))
        row = part.read_row_group(0, use_threads=False).to_pylist()[0]
    if hashlib.sha256(row["payload"]).hexdigest() != sha256 or row["video_id"] != video_id:
        raise ValueError("not the signatures the journal names: altered or exchanged")
    return float(json.loads(row["header"])["cpu_seconds"]), row["payload"]


def part_is_sound(run_path: Path, video_id: str, *, sha256: str) -> bool:
    """Return whether RUN/parts holds the signatures the journal names, in the form this program reads."""
    from videonovelty.sandbox import is_signed  # noqa: PLC0415

    try:
        return is_signed(_stored(_part_path(run_path, video_id), video_id, sha256)[1])
    except _UNREADABLE:
        return False


def read_states(run_path: Path) -> VideoStates:
    """Return the states of a run folder without its lock, changing nothing.

    Raises RunError when it is no run folder or its journal is damaged.
    """
    states = VideoStates()
    read_journal(run_path / "journal.jsonl", observe=states.observe)
    return states


def write_file(path: Path, write: Callable[[IO[bytes]], object]) -> str:
    """Call `write` with a new 0600 file that takes the place of `path` once it is on the disk; return its SHA-256.

    On an error nothing changes. A link at `path` is replaced, never followed. Raises EnvironmentUnfitError when the
    disk does not take it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return digest


def check_free_space(path: Path, min_free_bytes: int) -> None:
    """Raise EnvironmentUnfitError when the disk of `path` has less than `min_free_bytes` left."""
    free = shutil.disk_usage(path).free
    if free < min_free_bytes:
        raise EnvironmentUnfitError(
            f"{path}: the disk has {free // 2**20} MiB left, the run wants {min_free_bytes // 2**20} MiB. "
            "Free some space, or lower run.min_free_bytes in the settings."
        )


def _part_path(run_path: Path, video_id: str, suffix: str = "") -> Path:
    if _VIDEO_ID.fullmatch(video_id) is None:
        raise ValueError("video_id must be 64 lower-case hex digits")
    return run_path / "parts" / f"{video_id}{suffix}.parquet"


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with the metadata of `schema`, in one chunk a column, so that equal rows give equal bytes."""
    if not table.schema.equals(schema, check_metadata=False):
        raise ValueError(f"columns are {table.schema.names}, expected {schema.names} with the types of schemas.py")
    return table.combine_chunks().replace_schema_metadata(schema.metadata)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unwritable(path: Path, error: OSError) -> EnvironmentUnfitError:
    return EnvironmentUnfitError(
        f"{path}: cannot be written: {error.strerror or error}. Everything recorded before is safe; free space or "
        "repair the disk, then start the command again to resume."
    )


def _make_folder(path: Path) -> None:
    """Create a folder only its owner can enter; one that is there is closed to others."""
    try:
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
            sync_directory(path.parent)
        path.chmod(0o700)
    except OSError as error:
        raise EnvironmentUnfitError(
            f"{path}: cannot be made a run folder: {error.strerror}. Choose a --run folder you own on a writable disk."
        ) from error


def _refuse_foreign(path: Path) -> None:
    """Leave folders alone that hold something else than a run."""
    try:
        names = {p.name for p in path.iterdir() if p.suffix != ".tmp"}
    except OSError as error:
        raise EnvironmentUnfitError(f"{path}: cannot be read: {error.strerror}. Check the folder's owner.") from error
    if names and "journal.jsonl" not in names and not names <= _BEFORE_FIRST_ENTRY:
        raise RunError(f"{path}: not a run folder, and not empty. Choose a new folder for --run.")


def _take_lock(path: Path) -> FileLock:
    lock_path = path / "lock"
    lock = FileLock(lock_path, timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        holder = ""
        with suppress(OSError, ValueError):
            told = json.loads(lock_path.read_text(encoding="ascii"))
            holder = f" (process {int(told['pid'])} on {told['host']})"
        raise LockHeldError(
            f"{path}: another videonovelty works on this run{holder}. Wait for it or stop it; "
            "nothing needs to be deleted: the lock goes with the process."
        ) from None
    except OSError as error:
        raise EnvironmentUnfitError(f"{lock_path}: cannot be locked: {error.strerror}. Use a local disk.") from error
    try:
        fd = os.open(lock_path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            json.dump({"pid": os.getpid(), "host": socket.gethostname()}, file)
    except OSError as error:
        lock.release()
        raise _unwritable(lock_path, error) from error
    return lock


def _sweep(path: Path) -> None:
    """Remove what writers left unfinished."""
    for folder in (path, path / "parts", path / "report"):
        for leftover in folder.glob("*.tmp"):
            with suppress(OSError):
                leftover.unlink()


def _check_facts(path: Path, states: VideoStates, store_id: str) -> str:
    facts = states.run_facts
    if facts is None:
        raise RunError(f"{path}: its journal does not begin as a run's does. Choose another --run folder.")
    version = facts.get("format")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise RunError(
            f"{path}: a run folder of format {version!r}, this version knows up to {FORMAT_VERSION}. "
            "Use the version of videonovelty that made it, or choose a new folder for --run."
        )
    if facts.get("store") != store_id:
        raise RunError(
            f"{path}: belongs to the known store {facts.get('store')}, not to {store_id}. "
            "Give the --store it was made with, or choose a new folder for --run."
        )
    if states.purged is not None:
        raise RunError(f"{path}: this run was purged. Choose a new folder for --run.")
    return str(facts.get("run_id"))


def _check_not_shortened(path: Path, journal: Journal) -> None:
    """Refuse a journal that has lost lines run.json had seen."""
    try:
        seen = json.loads((path / "run.json").read_bytes())["journal"]
        entries, head = int(seen["entries"]), str(seen["head"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # run.json is made anew by the run; without it there is nothing to compare
    if journal.seq < entries or (journal.seq == entries and journal.head != head):
        raise RunError(
            f"{path}: the journal has {journal.seq} lines, but run.json was written after line {entries}: lines "
            "were taken off it. Restore the folder from a copy, or choose a new one: "
            "videonovelty scan … --run NEW_FOLDER."
        )


def _boot_id() -> str:
    """Return a name for the time since this machine was started."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    except OSError:
        return platform.node()[:8]
