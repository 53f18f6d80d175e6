"""A batch of files: sighted, told apart by content, and signed, each content once, whatever happens on the way.

What a nightly scan and an enrolment have in common. Everything that is learnt goes to the journal of the run folder
before it counts, so a batch that was cut off goes on where it stopped and a finished one opens no video again.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videonovelty.engine import Engine, EngineFailure, close_at_exit
from videonovelty.errors import Reason, RunError, VideoError
from videonovelty.intake import IntakeEntry, decode_raw, display_path, encode_raw, opened, sight, sight_open, unchanged
from videonovelty.journal import JSON
from videonovelty.known.snapshot import Snapshot
from videonovelty.records import CodedStream, ContentHashes, Sighting, SignedVideo, Verdict
from videonovelty.run import RunFolder, State, Step, part_is_sound, read_coded, read_part, write_coded, write_part
from videonovelty.sandbox import SIGN_VIDEO, WIRE_VERSION, Sandbox, decode_signed
from videonovelty.settings import Settings
from videonovelty.settling import settle
from videonovelty.signatures import scheme

logger = logging.getLogger(__name__)

SIGHTED = "sighted"
"""State of a journal entry that remembers where a content was seen, so that an unchanged file is not read again."""
SIGHTINGS_PER_TASK = 16
PARTS_PER_CHECK = 64
REFUSALS = frozenset(
    {Reason.REFUSED_FORMAT, Reason.REFUSED_CODEC, Reason.REFUSED_SIZE, Reason.NOT_A_REGULAR_FILE, Reason.QUARANTINED}
)


@dataclass(frozen=True, slots=True)
class Content:
    """One content of the batch: its hashes and one path to read it from."""

    hashes: ContentHashes
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class Part:
    """Where the signatures of one content lie, and how many there are."""

    run_path: Path
    video_id: str
    sha256: str
    keyframes: int = 0
    """0 where the journal does not say."""
    descriptors: int = 0
    panes: int = 0

    def read(self) -> SignedVideo:
        """Return the signatures. Raises RunError when they are missing or altered."""
        return read_part(self.run_path, self.video_id, sha256=self.sha256)


@dataclass(frozen=True, slots=True)
class SignTask:
    """What a worker is told: a path and the content that must be there."""

    path_raw: bytes
    video_id: str
    size_bytes: int
    run_path: Path
    known: tuple[Path, int] | None = None
    """Store and snapshot whose packets may settle it without a decode; None: it is decoded in any case."""
    apart: frozenset[str] = frozenset()
    """Known videos an analyst said it is no match of."""
    code: bool = False
    """Keep the digests of its packets, whether they settle it or not."""


@dataclass(frozen=True, slots=True)
class SignResult:
    """What a worker reports: a part was written, its packets settled it, or why neither."""

    video_id: str
    part_sha256: str | None
    reason: Reason | None = None
    detail: str = ""
    sandboxed: bool = True
    video_seconds: float = 0.0
    cpu_seconds: float = 0.0
    keyframes: int = 0
    descriptors: int = 0
    panes: int = 0
    coded_sha256: str | None = None

    @property
    def settled(self) -> bool:
        """Its packets are those of known videos: there are no signatures, and none are needed."""
        return self.part_sha256 is None and self.coded_sha256 is not None

    @property
    def failed(self) -> bool:
        """There is nothing to judge it by."""
        return self.part_sha256 is None and self.coded_sha256 is None


@dataclass(frozen=True, slots=True)
class Progressive:
    """What coded packets are compared with before a batch is decoded."""

    snapshot: Snapshot
    apart: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Known videos an analyst said a content is no match of."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a batch tells the screen after each file."""

    stage: str
    done: int
    total: int
    video_seconds: float = 0.0
    failed: int = 0
    verdicts: Mapping[str, int] = field(default_factory=dict)
    """Verdicts so far, while judging."""


Report = Callable[[Progress], None]


def signing_fingerprint(settings: Settings) -> str:
    """Return what changes whenever a video would be signed otherwise: parts made under another one are made anew."""
    return f"{scheme(settings.signatures)}/{WIRE_VERSION}/{settings.signing_fingerprint()}"


# ---------------------------------------------------------------------------------------------------------------------
# Tasks: run in workers, never raise for a video


def sight_files(paths: tuple[bytes, ...], *, settings: Settings) -> list[tuple[Sighting, ContentHashes | None, int]]:
    """Return what is at each path, with the inode it was found in; for a worker."""
    found = []
    for path in paths:
        sighting, hashes = sight(path, settings.intake)
        found.append((sighting, hashes, _stamp(path)[2]))
    return found


def sign_content(task: SignTask, *, settings: Settings) -> SignResult:
    """Sign one content and write its part; for a worker. Every failure of the video comes back as a result.

    The file is hashed again through the very descriptor that is decoded: what is signed is what the id names.
    """
    name = display_path(task.path_raw)
    sandbox = _sandbox(settings)
    try:
        with opened(task.path_raw) as fd:
            sighting, hashes = sight_open(fd, task.path_raw, settings.intake)
            if hashes is None:
                raise VideoError(name, sighting.detail, reason=sighting.reason)  # noqa: TRY301
            if hashes.video_id != task.video_id:
                raise VideoError(name, "other content than a moment ago", reason=Reason.CHANGED)  # noqa: TRY301
            coded = _coded(sandbox, fd, task, name)
            settled = coded is not None and task.known is not None and _settles(coded, task, settings)
            signed = None if settled else sandbox.sign(fd, video_id=task.video_id, name=name)
            if not unchanged(fd, sighting):
                raise VideoError(name, "written to while it was decoded", reason=Reason.CHANGED)  # noqa: TRY301
    except VideoError as error:
        return SignResult(task.video_id, None, error.reason, error.detail, sandboxed=sandbox.sandboxed)
    coded_digest = write_coded(task.run_path, coded) if coded is not None else None
    packets_cpu = coded.cpu_seconds if coded is not None else 0.0
    if signed is None:
        return SignResult(
            task.video_id, None, sandboxed=sandbox.sandboxed, cpu_seconds=packets_cpu, coded_sha256=coded_digest
        )
    digest = write_part(task.run_path, signed)
    return SignResult(
        task.video_id,
        digest,
        sandboxed=sandbox.sandboxed,
        video_seconds=signed.coverage.decoded_seconds,
        cpu_seconds=signed.cpu_seconds + packets_cpu,
        keyframes=len(signed.signatures.pts_seconds),
        descriptors=len(signed.signatures.local.codes),
        panes=len(signed.signatures.panes.keyframe),
        coded_sha256=coded_digest,
    )


def _coded(sandbox: Sandbox, fd: int, task: SignTask, name: str) -> CodedStream | None:
    """Return the digests of a content's packets; None where they are not wanted, or say nothing."""
    if task.known is None and not task.code:
        return None
    try:
        coded = sandbox.code(fd, video_id=task.video_id, name=name)
    except VideoError as error:  # the decode that follows ends with the reason
        logger.debug("packets of %s: %s", task.video_id, error.reason)
        return None
    return None if coded.doubt else coded


_open_snapshots: dict[tuple[Path, int], Snapshot] = {}


def _settles(coded: CodedStream, task: SignTask, settings: Settings) -> bool:
    assert task.known is not None
    snapshot = _open_snapshots.get(task.known)
    if snapshot is None:
        _open_snapshots.clear()  # a process works for one run
        snapshot = _open_snapshots[task.known] = Snapshot(*task.known)
    return settle(coded, snapshot, scheme(settings.signatures), settings, apart=task.apart) is not None


@dataclass(frozen=True, slots=True)
class SettledTask:
    """Contents that packets settled, with the digests of what they were settled by and whom they are kept apart of."""

    run_path: Path
    contents: tuple[tuple[str, str, frozenset[str]], ...]


def settled_verdicts(task: SettledTask, *, snapshot: Snapshot, settings: Settings) -> list[Verdict | None]:
    """Return the verdicts of settled contents against a snapshot, None for what it does not settle; for a worker."""
    found: list[Verdict | None] = []
    for video_id, digest, apart in task.contents:
        try:
            coded = read_coded(task.run_path, video_id, sha256=digest)
        except RunError as error:
            logger.warning("%s", error)
            found.append(None)
            continue
        found.append(settle(coded, snapshot, scheme(settings.signatures), settings, apart=apart))
    return found


def unsound_parts(parts: tuple[Part, ...]) -> list[str]:
    """Return the ids of those contents whose signatures are not what the journal names; for a worker."""
    return [part.video_id for part in parts if not part_is_sound(part.run_path, part.video_id, sha256=part.sha256)]


_open_sandboxes: dict[tuple[Settings, str], Sandbox] = {}


def _sandbox(settings: Settings) -> Sandbox:
    """Return this process's sandbox: one prepared process, from which each video's own is forked."""
    return sandbox_for(settings, SIGN_VIDEO, decode_signed)


def sandbox_for(settings: Settings, job: str, decode: Callable[..., Any]) -> Sandbox:
    """Return this process's sandbox for a job, whose answers `decode` checks."""
    sandbox = _open_sandboxes.get((settings, job))
    if sandbox is None:
        if not _open_sandboxes:
            close_at_exit(_close_sandboxes)
        # signing has the sandbox as it is made by default
        made = Sandbox(settings) if job == SIGN_VIDEO else Sandbox(settings, job=job, decode=decode)
        sandbox = _open_sandboxes[settings, job] = made
    return sandbox


def _close_sandboxes() -> None:
    while _open_sandboxes:
        _, sandbox = _open_sandboxes.popitem()
        sandbox.close()


# ---------------------------------------------------------------------------------------------------------------------
# The batch


def sight_all(
    entries: Sequence[IntakeEntry], run: RunFolder, engine: Engine, settings: Settings, report: Report
) -> tuple[list[Sighting], dict[str, Content]]:
    """Return a sighting for every entry, sorted by path, and the distinct contents among them by id.

    A file whose size, time and inode are those of an earlier look in this run is not read again.
    """
    remembered = _remembered(run)
    found: list[tuple[Sighting, ContentHashes | None]] = []
    to_read: list[bytes] = []
    for entry in entries:
        if entry.reason is not None:
            found.append((Sighting(entry.path_raw, "", 0, 0, entry.reason, entry.detail), None))
            continue
        before = remembered.get(entry.path_raw)
        if before is not None and before[2] == _stamp(entry.path_raw):
            found.append((before[0], before[1]))
        else:
            to_read.append(entry.path_raw)
    done = len(found)
    chunks = [tuple(to_read[i : i + SIGHTINGS_PER_TASK]) for i in range(0, len(to_read), SIGHTINGS_PER_TASK)]
    task = functools.partial(sight_files, settings=settings)
    for chunk, answer in engine.map_unordered(task, chunks):
        result = _unread(chunk, answer.detail) if isinstance(answer, EngineFailure) else answer
        run.journal.append_many(_remember(sighting, hashes, inode) for sighting, hashes, inode in result if hashes)
        found += [(sighting, hashes) for sighting, hashes, _ in result]
        done += len(chunk)
        report(Progress("reading", done, len(entries)))
    found.sort(key=lambda pair: pair[0].path_raw)
    contents: dict[str, Content] = {}
    for sighting, hashes in found:
        if hashes is not None:
            contents.setdefault(hashes.video_id, Content(hashes, sighting))
    return [sighting for sighting, _ in found], contents


def _unread(paths: Sequence[bytes], detail: str) -> list[tuple[Sighting, ContentHashes | None, int]]:
    return [(Sighting(path, "", 0, 0, Reason.IO_ERROR, detail), None, 0) for path in paths]


def sign_all(
    contents: Sequence[Content],
    run: RunFolder,
    engine: Engine,
    settings: Settings,
    report: Report,
    *,
    fingerprint: str,
    retry: frozenset[str] | None = frozenset(),
    progressive: Progressive | None = None,
    code: bool = False,
) -> dict[str, SignResult]:
    """Sign every content that has no part yet, longest first, and return the end each of `contents` has.

    With `progressive`, contents whose packets are all known are settled by them and not signed; with `code`, the
    digests of the packets are kept with every part.

    `retry` holds the reasons whose failures are tried again; None all of them. Each start is in the journal before it
    happens; contents that were in work when an earlier run was cut off go first and alone. What the journal calls
    signed is taken on trust: see `sign_unsound`.
    """
    ends, to_sign = _remembered_ends(contents, run, settings, fingerprint=fingerprint, retry=retry)
    settled = [] if progressive is not None else [video_id for video_id, end in ends.items() if end.settled]
    for video_id in settled:
        del ends[video_id]
    to_sign += [content for content in contents if content.hashes.video_id in settled]
    known = (progressive.snapshot.path, progressive.snapshot.number) if progressive is not None else None
    apart = progressive.apart if progressive is not None else {}
    suspects = run.states.suspects()
    waiting = [
        SignTask(
            content.sighting.path_raw,
            content.hashes.video_id,
            content.hashes.size_bytes,
            run.path,
            known,
            apart.get(content.hashes.video_id, frozenset()),
            code,
        )
        for content in to_sign
    ]
    done, failed, seconds = len(ends), sum(end.failed for end in ends.values()), 0.0
    alone = [item for item in waiting if item.video_id in suspects]
    others = [item for item in waiting if item.video_id not in suspects]
    for items, one_at_a_time in ((alone, True), (others, False)):
        if not items:
            continue
        results = engine.map_unordered(
            functools.partial(sign_content, settings=settings),
            items,
            cost=lambda item: float(item.size_bytes),
            one_at_a_time=one_at_a_time,
            before=lambda item: run.journal.append(State.STARTED, key=item.video_id),
        )
        for item, result in results:
            end = (
                SignResult(item.video_id, None, Reason.CRASHED, result.detail)
                if isinstance(result, EngineFailure)
                else result
            )
            _note_end(run, end)
            ends[item.video_id] = end
            done, failed = done + 1, failed + end.failed
            seconds += end.video_seconds
            report(Progress("signing", done, len(contents), seconds, failed))
    return ends


def _remembered_ends(
    contents: Sequence[Content],
    run: RunFolder,
    settings: Settings,
    *,
    fingerprint: str,
    retry: frozenset[str] | None,
) -> tuple[dict[str, SignResult], list[Content]]:
    """Return what the journal alone says about how contents ended, and the contents that are to be signed."""
    ends: dict[str, SignResult] = {}
    to_sign: list[Content] = []
    for content in contents:
        video_id = content.hashes.video_id
        step = run.states.next_step(
            video_id, fingerprint=fingerprint, max_attempts=settings.sandbox.max_attempts, retry=retry
        )
        state = run.states.get(video_id)
        if step is Step.REUSE and state is not None:
            ends[video_id] = SignResult(
                video_id,
                state.part_sha256,
                sandboxed=state.sandboxed,
                video_seconds=state.video_seconds,
                cpu_seconds=state.cpu_seconds,
                keyframes=state.keyframes,
                descriptors=state.descriptors,
                panes=state.panes,
                coded_sha256=state.coded_sha256,
            )
        elif step is Step.KEEP and state is not None:
            reason = Reason(state.reason or Reason.CORRUPT)
            ends[video_id] = SignResult(video_id, None, reason, state.detail, sandboxed=state.sandboxed)
        elif step is Step.QUARANTINE:
            run.journal.append(State.QUARANTINED, key=video_id, reason=Reason.QUARANTINED)
            ends[video_id] = SignResult(video_id, None, Reason.QUARANTINED)
        else:
            to_sign.append(content)
    return ends, to_sign


def sign_unsound(
    contents: Mapping[str, Content],
    ends: dict[str, SignResult],
    run: RunFolder,
    engine: Engine,
    settings: Settings,
    report: Report,
    *,
    fingerprint: str,
) -> None:
    """Sign those contents anew whose parts are missing or altered, and put their new ends into `ends`.

    Looks at every part, so it is called when the parts are about to be used, not when a finished run is run again.
    """
    parts = [part_of(run.path, end) for end in ends.values() if end.part_sha256 is not None]
    chunks = [tuple(parts[i : i + PARTS_PER_CHECK]) for i in range(0, len(parts), PARTS_PER_CHECK)]
    unsound: list[str] = []
    done = 0
    for chunk, found in engine.map_unordered(unsound_parts, chunks):
        unsound += [part.video_id for part in chunk] if isinstance(found, EngineFailure) else found
        done += len(chunk)
        report(Progress("checking", done, len(parts)))
    if unsound:
        logger.warning("%d stored signatures are missing or altered: they are made anew", len(unsound))
        run.journal.append_many(
            (State.PENDING, video_id, {"detail": "part missing or altered"}) for video_id in unsound
        )
        lost = [contents[video_id] for video_id in sorted(unsound)]
        ends.update(sign_all(lost, run, engine, settings, report, fingerprint=fingerprint))


def part_of(run_path: Path, end: SignResult) -> Part:
    """Return where the signatures of a signed content lie."""
    if end.part_sha256 is None:
        raise ValueError("the content was not signed")
    return Part(run_path, end.video_id, end.part_sha256, end.keyframes, end.descriptors, end.panes)


def _note_end(run: RunFolder, end: SignResult) -> None:
    if end.part_sha256 is not None:
        run.journal.append(
            State.SIGNED, key=end.video_id, part_sha256=end.part_sha256, sandboxed=end.sandboxed,
            video_seconds=round(end.video_seconds, 3), cpu_seconds=round(end.cpu_seconds, 3),
            keyframes=end.keyframes, descriptors=end.descriptors, panes=end.panes,
            **({} if end.coded_sha256 is None else {"coded_sha256": end.coded_sha256}),
        )  # fmt: skip
    elif end.settled:
        run.journal.append(
            State.SETTLED, key=end.video_id, coded_sha256=end.coded_sha256, sandboxed=end.sandboxed,
            cpu_seconds=round(end.cpu_seconds, 3),
        )  # fmt: skip
    else:
        reason = end.reason or Reason.CRASHED
        state = State.REFUSED if reason in REFUSALS else State.FAILED
        run.journal.append(state, key=end.video_id, reason=reason, detail=end.detail, sandboxed=end.sandboxed)


def _stamp(path: bytes) -> tuple[int, int, int]:
    """Return size, modification time and inode of what is at `path`; zeros for nothing."""
    try:
        status = os.lstat(path)
    except OSError:
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ino


def _remember(sighting: Sighting, hashes: ContentHashes, inode: int) -> tuple[str, str, dict[str, JSON]]:
    return (
        SIGHTED,
        hashes.video_id,
        {
            "path_raw": encode_raw(sighting.path_raw),
            "md5": hashes.md5,
            "sha1": hashes.sha1,
            "size": sighting.size_bytes,
            "modified_ns": sighting.modified_ns,
            "inode": inode,
        },
    )


_Remembered = dict[bytes, tuple[Sighting, ContentHashes, tuple[int, int, int]]]


def _remembered(run: RunFolder) -> _Remembered:
    """Return the sightings of earlier looks in this run, by path."""
    found: _Remembered = {}
    for entry in run.journal.entries(SIGHTED):
        fields = entry.fields
        size, modified, inode = (int(str(fields[name])) for name in ("size", "modified_ns", "inode"))
        path = decode_raw(str(fields["path_raw"]))
        hashes = ContentHashes(entry.key, str(fields["md5"]), str(fields["sha1"]), size)
        found[path] = (Sighting(path, entry.key, size, modified), hashes, (size, modified, inode))
    return found
