"""Enrol videos: sign them in the same locked engine as a scan and add them to the known store, in one commit."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videonovelty.batch import Content, Report, SignResult, sight_all, sign_all, sign_unsound
from videonovelty.engine import Engine
from videonovelty.errors import Reason, SettingsError
from videonovelty.intake import display_path, enumerate_intake
from videonovelty.known import manifest as manifests
from videonovelty.known.snapshot import Snapshot
from videonovelty.known.staging import KnownEntry
from videonovelty.known.store import KnownStore
from videonovelty.records import KnownVideo, ListMembership, Sighting
from videonovelty.run import RunFolder, read_coded
from videonovelty.settings import Settings
from videonovelty.signatures import scheme

DISPOSITIONS = ("abuse", "benign", "other")


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """What an enrolment came to."""

    snapshot: int
    added: int
    """Contents enrolled with signatures."""
    already_known: int
    """Contents whose signatures the store had."""
    bytes_only: tuple[tuple[str, str], ...]
    """Display path and reason of contents that could not be signed: only identical files will be recognised."""
    unreadable: tuple[tuple[str, str], ...]
    """Display path and reason of files that could not be read at all."""


def store_identity(store: KnownStore) -> str:
    """Return what tells this store from any other, wherever it is moved: the digest of its first manifest."""
    first = manifests.numbers(store.path)[0]
    return manifests.read(store.path, first)[1][:32]


def work_folder(store: KnownStore, paths: Sequence[Path], list_name: str) -> Path:
    """Return where the enrolment of `paths` keeps its progress, inside the store, so that it can be resumed."""
    key = "\0".join([list_name, *(str(path.absolute()) for path in paths)])
    return store.path / "work" / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def enrol(
    paths: Sequence[Path],
    *,
    store: KnownStore,
    run: RunFolder,
    engine: Engine,
    settings: Settings,
    fingerprint: str,
    membership: ListMembership,
    actor: str,
    reason: str,
    report: Report,
) -> EnrolmentResult:
    """Add every video under `paths` to `store` under one list, as one snapshot.

    `run` holds the progress (see `work_folder`): an enrolment that was cut off goes on where it stopped. Enrolling the
    same content again changes nothing but its lists. `membership.source` is replaced by each file's path.
    Raises SettingsError for an unknown disposition, and what the store raises.
    """
    if membership.disposition not in DISPOSITIONS:
        raise SettingsError(
            f"--disposition {membership.disposition}: {', '.join(DISPOSITIONS)} say what kind of material it is."
        )
    entries = list(enumerate_intake(paths, settings.intake))
    sightings, contents = sight_all(entries, run, engine, settings, report)
    snapshot = store.snapshot()
    name = scheme(settings.signatures)
    signed = snapshot.signed(list(contents), name)
    to_sign = [content for video_id, content in contents.items() if video_id not in signed]
    ends = sign_all(to_sign, run, engine, settings, report, fingerprint=fingerprint, retry=None, code=True)
    sign_unsound(contents, ends, run, engine, settings, report, fingerprint=fingerprint)
    unreadable = tuple(
        (display_path(s.path_raw), (s.reason or Reason.IO_ERROR).value) for s in sightings if not s.video_id
    )
    bytes_only = tuple(
        (display_path(contents[end.video_id].sighting.path_raw), (end.reason or Reason.CRASHED).value)
        for end in sorted(ends.values(), key=lambda end: end.video_id)
        if end.part_sha256 is None
    )
    after = snapshot
    if contents:
        after = store.add(_entries(contents, ends, snapshot, run, membership, sightings), actor=actor, reason=reason)
    return EnrolmentResult(after.number, len(ends) - len(bytes_only), len(signed), bytes_only, unreadable)


def _entries(
    contents: Mapping[str, Content],
    ends: Mapping[str, SignResult],
    snapshot: Snapshot,
    run: RunFolder,
    membership: ListMembership,
    sightings: Sequence[Sighting],
) -> Iterator[KnownEntry]:
    names: dict[str, str] = {}
    for sighting in sightings:
        names.setdefault(sighting.video_id, display_path(sighting.path_raw))
    described = snapshot.describe([video_id for video_id in contents if video_id not in ends])
    for video_id, content in sorted(contents.items()):
        end = ends.get(video_id)
        signed = run.read_part(video_id) if end is not None and end.part_sha256 is not None else None
        coded = None
        if end is not None and end.coded_sha256 is not None and signed is not None and signed.coverage.whole:
            coded = read_coded(run.path, video_id, sha256=end.coded_sha256)
        duration = signed.coverage.duration_seconds if signed else 0.0
        if video_id in described:
            duration = described[video_id].duration_seconds
        yield KnownEntry(
            KnownVideo(
                video_id=video_id,
                duration_seconds=duration,
                md5=content.hashes.md5,
                sha1=content.hashes.sha1,
                memberships=(
                    ListMembership(
                        list_name=membership.list_name,
                        disposition=membership.disposition,
                        series=membership.series,
                        category=membership.category,
                        victim_identified=membership.victim_identified,
                        offender_identified=membership.offender_identified,
                        distributed=membership.distributed,
                        tags=membership.tags,
                        source=names[video_id],
                    ),
                ),
            ),
            signed.signatures if signed else None,
            coded,
        )


def finished(folder: Path) -> None:
    """Remove the progress of an enrolment that is committed: its signatures are in the store now."""
    shutil.rmtree(folder, ignore_errors=True)
    parent = folder.parent
    if parent.name == "work" and parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()
