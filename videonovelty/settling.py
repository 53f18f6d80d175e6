"""What coded packets settle before anything is decoded: stream copies of known videos, whole, cut or joined.

A unit of packets that is decoded without anything before it shows what the same unit of a known video shows. A video is
settled when every unit of it is the beginning of a known unit, with the same times, in runs that follow one another in
their known videos for as long as a proof by time takes at least. Anything else is decoded, every frame that counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from videonovelty.errors import Reason
from videonovelty.known.snapshot import Snapshot
from videonovelty.records import F64, CodedStream, CodedUnit, KnownFrames, Verdict
from videonovelty.settings import Settings
from videonovelty.verdict import proven_undecoded, segment_by_bytes

TIME_TOLERANCE_SECONDS = 0.004
"""What rounding to milliseconds in two containers and in the store may add up to; half a frame at 120 a second."""
MOST_UNITS = 50_000
"""Of one video: a key frame a second for 14 hours. One with more of them is decoded."""
UNITS_OF_ONE_DIGEST = 64
"""Known units looked at that begin with the same packet: an encoder makes the same black picture in many videos."""
UNITS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a unit of the query is found."""

    video_id: str
    first_packet: int
    next_packet: int
    """The packet of the known video that follows; −1 where the query holds only the beginning of the known unit."""
    offset_seconds: float
    """Known time minus query time."""

    def continues(self, other: _Place) -> bool:
        """Tell whether `other` is what follows this in the known video."""
        return (
            self.video_id == other.video_id
            and self.next_packet == other.first_packet
            and abs(self.offset_seconds - other.offset_seconds) <= TIME_TOLERANCE_SECONDS
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """`[start_seconds, end_seconds)` of the query, and where it begins in its known video."""

    start_seconds: float
    end_seconds: float
    place: _Place


def settle(
    coded: CodedStream,
    snapshot: Snapshot,
    scheme: str,
    settings: Settings,
    *,
    apart: frozenset[str] = frozenset(),
) -> Verdict | None:
    """Return the verdict `known` on a video all of whose packets are those of known videos, else None: decode it.

    `apart` holds known videos that an analyst said it is no match of. Raises KnownStoreError for a damaged store.
    """
    if coded.doubt or not snapshot.has_coded:
        return None
    bounds = [*np.flatnonzero(coded.starts).tolist(), len(coded.digests)]
    units = [slice(first, stop) for first, stop in pairwise(bounds)]
    begins, in_order = _timeline(coded, units, settings.verdict.max_unseen_seconds)
    if len(units) > MOST_UNITS or not in_order:
        return None
    places = _places(coded, units, snapshot, apart)
    if places is None:
        return None
    runs = _runs(places, begins, coded.duration_seconds)
    if min(run.end_seconds - run.start_seconds for run in runs) < settings.proof.min_seconds:
        return None
    known = snapshot.frames_of(sorted({run.place.video_id for run in runs}), scheme)
    if not _informative(runs, known, settings):
        return None
    return _verdict(coded, runs)


def _timeline(coded: CodedStream, units: Sequence[slice], longest_gap_seconds: float) -> tuple[F64, bool]:
    """Return when each unit begins to be shown, and whether they are shown one after the other without a hole."""
    begins = np.array([coded.pts_seconds[unit].min() for unit in units])
    ends = np.array([coded.pts_seconds[unit].max() for unit in units])
    between = begins[1:] - ends[:-1]
    return begins, bool((between > 0).all() and (between <= longest_gap_seconds).all()) and float(begins[0]) == 0.0


def _places(
    coded: CodedStream, units: Sequence[slice], snapshot: Snapshot, apart: frozenset[str]
) -> list[list[_Place]] | None:
    """Return where each unit is found in known videos; None as soon as one is found nowhere."""
    places: list[list[_Place]] = []
    at_once = 1  # most videos are not settled, and their first unit says so
    while len(places) < len(units):
        some = units[len(places) : len(places) + at_once]
        firsts = [coded.digests[unit.start].tobytes() for unit in some]
        found = snapshot.coded_units(firsts, coded.recipe, at_most=UNITS_OF_ONE_DIGEST)
        for unit, known_units in zip(some, found, strict=True):
            here = [
                place
                for known in known_units
                if known.video_id not in apart and (place := _place(coded, unit, known)) is not None
            ]
            if not here:
                return None
            places.append(here)
        at_once = UNITS_AT_ONCE
    return places


def _place(coded: CodedStream, unit: slice, known: CodedUnit) -> _Place | None:
    """Return the place of a unit of the query that is the beginning of a known one, with the same times; else None."""
    digests, times = coded.digests[unit], coded.pts_seconds[unit]
    n = len(digests)
    if len(known.digests) < n or not np.array_equal(known.digests[:n], digests):
        return None
    offsets = known.pts_seconds[:n] - times
    if offsets.max() - offsets.min() > TIME_TOLERANCE_SECONDS:
        return None
    whole = n == len(known.digests)
    return _Place(
        known.video_id, known.first_packet, known.first_packet + n if whole else -1, float(np.median(offsets))
    )


def _runs(places: Sequence[Sequence[_Place]], begins: F64, duration_seconds: float) -> list[_Run]:
    """Return the fewest runs of units that follow one another both in the query and in a known video."""
    runs: list[_Run] = []
    at = 0
    while at < len(places):
        alive = [(one, one) for one in places[at]]  # (where it began, where it is now)
        stop = at + 1
        while stop < len(places):
            further = [
                (begun, following) for begun, last in alive for following in places[stop] if last.continues(following)
            ]
            if not further:
                break
            alive, stop = further, stop + 1
        end = float(begins[stop]) if stop < len(places) else duration_seconds
        place = min((begun for begun, _ in alive), key=lambda one: (one.video_id, one.first_packet))
        runs.append(_Run(float(begins[at]), end, place))
        at = stop
    return runs


def _informative(runs: Sequence[_Run], known: dict[str, KnownFrames], settings: Settings) -> bool:
    """Return whether the known keyframes of the runs show enough to tell one video from another.

    The same black picture, coded by the same encoder, stands in many videos and says nothing about any.
    """
    told = [np.zeros(0, np.bool_)]
    for run in runs:
        frames = known.get(run.place.video_id)
        if frames is None:
            return False
        start, end = run.start_seconds + run.place.offset_seconds, run.end_seconds + run.place.offset_seconds
        told.append(frames.informative[(frames.pts_seconds >= start - 1e-3) & (frames.pts_seconds < end)])
    informative = np.concatenate(told)
    enough = int(informative.sum()) >= settings.verdict.min_informative_keyframes
    return enough and float(informative.mean()) >= 1 - settings.verdict.max_uninformative_share


def _verdict(coded: CodedStream, runs: Sequence[_Run]) -> Verdict:
    segments = [
        segment_by_bytes(
            run.start_seconds, run.end_seconds, run.place.video_id, offset_seconds=run.place.offset_seconds
        )
        for run in runs
    ]
    seconds: dict[str, float] = defaultdict(float)
    for run, segment in zip(runs, segments, strict=True):
        seconds[run.place.video_id] += segment.end_seconds - segment.start_seconds
    return proven_undecoded(
        coded.video_id,
        Reason.SAME_PACKETS,
        round(coded.duration_seconds, 3),
        segments,
        best_known_id=max(sorted(seconds), key=lambda video_id: seconds[video_id]),
    )
