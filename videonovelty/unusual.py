"""What is unusual about a night: its figures against those of the runs beside it, and lists that stopped growing.

The runs of a nightly job lie side by side in one folder, each with its `run.json`. A run that is done, stands on the
same store and began earlier is a past run; there is no other history to keep or to lose. A purged run has no figures
left and counts no more.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from videonovelty.errors import FAILURES, KnownStoreError
from videonovelty.known.manifest import read as read_manifest
from videonovelty.known.snapshot import Snapshot
from videonovelty.settings import ReportSettings

MIN_PAST = 5
"""Past runs it takes to say what is usual."""
MIN_KEYFRAMES = 100
"""Matched keyframes it takes for a run to have a distance of its own."""
MIN_FAILED = 4
"""Failed files below which a night is nothing to speak of."""
MAX_DOCUMENT = 64 << 20


def matched(path: Path) -> dict[str, float]:
    """Return how near a run's proven footage is to the known: its keyframes and the median of their distances.

    `path`: segments.parquet of the run. Each stretch counts its median distance once a keyframe. Without any:
    0 keyframes and no distance.
    """
    segments = pq.read_table(path, columns=["proof", "frames", "median_distance_bits"], partitioning=None)
    proven = segments.filter(
        pc.and_(pc.equal(segments["proof"], "time"), pc.is_valid(segments["median_distance_bits"]))
    )
    frames = pc.fill_null(proven["frames"], 0).to_numpy().astype(np.int64)
    bits = proven["median_distance_bits"].to_numpy()
    if frames.sum() == 0:
        return {"keyframes": 0}
    order = np.argsort(bits, kind="stable")
    middle = np.searchsorted(np.cumsum(frames[order]), frames.sum() / 2)
    return {"keyframes": int(frames.sum()), "median_distance_bits": round(float(bits[order][middle]), 3)}


@dataclass(frozen=True, slots=True)
class PastRun:
    """The figures of one run."""

    files: int
    failed: int
    """Files that gave no signatures: refused, damaged, out of time."""
    keyframes: int
    distance_bits: float | None


def figures(document: Mapping[str, Any]) -> PastRun:
    """Return the figures of a run.json."""
    counts, near = document["counts"], document.get("matched") or {}
    failed = sum(number for reason, number in counts["reasons"].items() if reason in FAILURES)
    bits = near.get("median_distance_bits")
    return PastRun(
        int(counts["files"]["sightings"]), failed, int(near.get("keyframes", 0)), None if bits is None else float(bits)
    )


def past_runs(run: Path, document: Mapping[str, Any], most: int) -> list[PastRun]:
    """Return the figures of the newest `most` runs beside `run` that began before it on the same store and scheme."""
    found: list[tuple[str, PastRun]] = []
    for path in sorted(run.absolute().parent.iterdir()) if most else ():
        if path.name == run.absolute().name:
            continue
        try:
            if (path / "run.json").stat().st_size > MAX_DOCUMENT:
                continue
            other = json.loads((path / "run.json").read_bytes())
            began = str(other["started_at"])
            same = (other["store"]["path"], other["scheme"]) == (document["store"]["path"], document["scheme"])
            if same and other["status"] == "done" and began < document["started_at"]:
                found.append((began, figures(other)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # no run, a purged one, or one of an older version
    found.sort(key=lambda one: one[0])
    return [one for _, one in found[-most:]]


def against_past(tonight: PastRun, past: list[PastRun], settings: ReportSettings) -> Iterator[str]:
    """Yield a sentence for each figure of tonight that the past runs do not account for."""
    yield from _drift(tonight, past, settings.drift_bits)
    yield from _failures(tonight, past)


def _drift(tonight: PastRun, past: list[PastRun], drift_bits: float) -> Iterator[str]:
    before = [one.distance_bits for one in past if one.distance_bits is not None and one.keyframes >= MIN_KEYFRAMES]
    now = tonight.distance_bits
    if now is None or tonight.keyframes < MIN_KEYFRAMES or len(before) < MIN_PAST:
        return
    usual = statistics.median(before)
    if abs(now - usual) > drift_bits and not min(before) <= now <= max(before):
        yield (
            f"Drift: keyframes proven known lie {now:g} bits from the known ones in the median; in the "
            f"{len(before)} runs before it was {usual:g} ({min(before):g} to {max(before):g}). Either the intake is of "
            "another kind, or something in the decoding changed: compare versions and a few matches before you rely "
            "on this run."
        )


def _failures(tonight: PastRun, past: list[PastRun]) -> Iterator[str]:
    files = sum(one.files for one in past)
    if len(past) < MIN_PAST or files == 0 or tonight.failed < MIN_FAILED:
        return
    usual = sum(one.failed for one in past) / files
    share = tonight.failed / tonight.files
    # three standard deviations above what such a night would have by chance
    chance = max(usual, 1 / files)
    if share > 2 * usual and share > usual + 3 * math.sqrt(chance * (1 - chance) / tonight.files):
        yield (
            f"Many refusals: {tonight.failed:,} of {tonight.files:,} files ({share:.1%}) could not be looked at; in "
            f"the {len(past)} runs before it was {usual:.1%}. Look at the reasons: a new format, a broken copy or a "
            "limit that is too low?"
        )


def stale_lists(snapshot: Snapshot, days: int, now: datetime) -> Iterator[str]:
    """Yield a sentence for each imported list whose newest entry came more than `days` ago; 0: none.

    The members of a feed (`feed/member`) count as one list. What was enrolled from videos is no feed and never stale.
    """
    if days == 0:
        return
    newest: dict[str, datetime] = {}
    times: dict[int, datetime | None] = {}
    for name, numbers in snapshot.entries_added().items():
        for number in numbers:
            if number not in times:
                times[number] = _imported_at(snapshot.path, number)
            when = times[number]
            feed = name.partition("/")[0]
            if when is not None:
                newest[feed] = max(when, newest.get(feed, when))
    for name, when in sorted(newest.items()):
        age = (now - when).days
        if age > days:
            yield (
                f"Stale list: the newest entry of “{name}” came {age} days ago. If it should have grown since, look "
                "whether its files still arrive."
            )


def _imported_at(store: Path, number: int) -> datetime | None:
    """Return when a snapshot was made, if by an import."""
    try:
        manifest, _ = read_manifest(store, number)
        made = datetime.fromisoformat(manifest.time)
    except (KnownStoreError, ValueError):
        return None
    if manifest.action != "import":
        return None
    return made if made.tzinfo else made.replace(tzinfo=UTC)
