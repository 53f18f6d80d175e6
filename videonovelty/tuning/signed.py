"""The signatures of a sample set, cached: a video is decoded once, whatever is tuned afterwards.

The cache is a folder with one run folder (`videonovelty.run`) a fingerprint: a scheme of signatures, everything that
shapes them, and the form they are written in; in it, signatures lie by content id. So a set that grows, or shares
videos with another one, is signed for what is new only, and a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from videonovelty.batch import Part, Report, part_of, sight_all, sign_all, signing_fingerprint
from videonovelty.engine import Engine
from videonovelty.errors import Reason
from videonovelty.intake import enumerate_intake
from videonovelty.known.snapshot import Snapshot
from videonovelty.known.staging import KnownEntry
from videonovelty.known.store import KnownStore
from videonovelty.records import KnownVideo, ListMembership, SignedVideo
from videonovelty.run import RunFolder
from videonovelty.settings import Settings
from videonovelty.tuning.sampletables import SampleSet, SampleSetError, SampleVideo

CACHE_IDENTITY = "sample sets"


@dataclass(frozen=True, slots=True)
class SignedSamples:
    """A sample set and where the signatures of its videos lie."""

    samples: SampleSet
    fingerprint: str
    parts: dict[str, Part]
    """By `video`."""
    unsigned: dict[str, Reason]
    """Videos nothing could be signed of, and why: as queries they go to a person, as known videos nothing finds them.
    """

    def queries(self, split: str | None) -> list[SampleVideo]:
        """Return the queries of a split that have signatures, in the order of the table."""
        return [v for v in self.samples.of_role("query", split=split) if v.video in self.parts]

    def enrolled(self, split: str | None) -> list[SampleVideo]:
        """Return the known videos and distractors of a split that have signatures, each content once."""
        found = {v.sha256: v for v in self.samples.of_role("known", "distractor", split=split) if v.video in self.parts}
        return sorted(found.values(), key=lambda video: video.sha256)


def sign_samples(
    samples: SampleSet, cache: Path, *, settings: Settings, engine: Engine, report: Report
) -> SignedSamples:
    """Return the signatures of every video of `samples`, from `cache` where they are, made and kept there otherwise.

    Raises SampleSetError when a file has changed since the set was read.
    """
    fingerprint = signing_fingerprint(settings)
    folder = cache / hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
    at_once = settings.model_copy(update={"intake": settings.intake.model_copy(update={"settle_seconds": 0.0})})
    with RunFolder.open(folder, store_id=CACHE_IDENTITY, settings=settings, fingerprint=fingerprint) as run:
        entries = list(
            enumerate_intake(sorted({samples.path(name).resolve() for name in samples.videos}), at_once.intake)
        )
        _, contents = sight_all(entries, run, engine, at_once, report)
        for row in samples.videos.values():
            if row.sha256 not in contents:
                raise SampleSetError(f"{samples.path(row.video)}: not the file {samples.folder}/videos.csv describes")
        ends = sign_all(list(contents.values()), run, engine, settings, report, fingerprint=fingerprint, retry=None)
    parts, unsigned = {}, {}
    for row in samples.videos.values():
        end = ends[row.sha256]
        if end.part_sha256 is not None:
            parts[row.video] = part_of(folder, end)
        else:
            unsigned[row.video] = end.reason or Reason.CRASHED
    return SignedSamples(samples, fingerprint, parts, unsigned)


@contextmanager
def enrolled_snapshot(signed: Sequence[SignedVideo], *, folder: Path | None = None) -> Iterator[Snapshot]:
    """Provide a snapshot of a known store that holds `signed`, gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="samples-", dir=folder))
    try:
        store = KnownStore.create(place / "store")
        yield store.add((_entry(one) for one in signed), actor="tune", reason="sample set")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _entry(signed: SignedVideo) -> KnownEntry:
    membership = ListMembership("samples", "other")
    video = KnownVideo(signed.signatures.video_id, signed.coverage.duration_seconds, memberships=(membership,))
    return KnownEntry(video, signed.signatures)
