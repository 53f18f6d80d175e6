"""Likeness to frames of imported lists: what looks like a listed frame is shown as such, and clears nothing.

A list that brings frame hashes alone brings no movement, so nothing can be proven by time. Where the verdict left a
stretch unexplained, and its keyframes look like listed frames, the stretch becomes `same_scene` with the list beside
it: the analyst sees at once what it resembles, and it stays in the queue.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from videonovelty.batch import Part
from videonovelty.errors import Reason
from videonovelty.known.ledger import pairs_apart
from videonovelty.known.listed import LISTED_SCHEMES, time_uncertainty_seconds
from videonovelty.known.snapshot import Snapshot
from videonovelty.lookup import (
    Hits,
    Lookup,
    WorkFolder,
    all_done,
    batches,
    candidates_of,
    has_hits,
    query_bytes,
    query_limit,
)
from videonovelty.matching.candidates import Candidates
from videonovelty.matching.distances import keyframe_distances
from videonovelty.records import KnownFrames, Segment, Signatures, Verdict
from videonovelty.settings import Settings
from videonovelty.signatures.pdq import MIRRORED

VIDEOS_PER_TASK = 20
FAR = 256


@dataclass(frozen=True, slots=True, eq=False)
class LikenessTask:
    """Some judged contents, where the hits of each among listed frames lie, and what an analyst ruled out for it."""

    parts: tuple[Part, ...]
    verdicts: tuple[Verdict, ...]
    found: tuple[Hits, ...]
    apart: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Keyframes of a query that look like the frames of one listed video."""

    known_video_id: str
    keyframes: npt.NDArray[np.int64]
    """Indexes, ascending."""
    distance_bits: npt.NDArray[np.int64]
    earliest_seconds: npt.NDArray[np.float64]
    """Where in the listed video each one's nearest frame is, at the earliest; infinite where its list has no times."""
    latest_seconds: npt.NDArray[np.float64]
    mirrored: bool


def with_listed_frames(
    verdicts: Iterable[Verdict], parts: Sequence[Part], lookup: Lookup, run_path: Path
) -> Iterator[Verdict]:
    """Yield the verdicts, those not cleared with the stretches that look like listed frames marked as such.

    Raises RunError when a shard could not be searched.
    """
    schemes = [name for name in LISTED_SCHEMES if lookup.snapshot.frame_shards(name)]
    if not schemes:
        yield from verdicts
        return
    judged = {verdict.video_id: verdict for verdict in verdicts}
    waiting = [part for part in parts if judged[part.video_id].needs_review]
    apart = pairs_apart(lookup.snapshot)
    work = WorkFolder(run_path)
    marking = functools.partial(mark_contents, snapshot=lookup.snapshot, settings=lookup.settings)
    for cut in batches(waiting, [query_bytes(part) for part in waiting], query_limit(lookup.settings)):
        batch = waiting[cut]
        lookups = (replace(lookup, scheme_name=name, work=work) for name in schemes)
        folders = tuple(folder for one in lookups for folder in one.by_pdq(batch, apart=False))
        hit = np.flatnonzero(has_hits(folders, len(batch))).tolist()
        tasks = [
            LikenessTask(
                tuple(batch[n] for n in some),
                tuple(judged[batch[n].video_id] for n in some),
                tuple(Hits(n, folders) for n in some),
                tuple(apart.get(batch[n].video_id, frozenset()) for n in some),
            )
            for some in (hit[at : at + VIDEOS_PER_TASK] for at in range(0, len(hit), VIDEOS_PER_TASK))
        ]
        marked = all_done(lookup.engine, marking, tasks, "some videos could not be compared with listed frames")
        judged |= {verdict.video_id: verdict for verdict in chain.from_iterable(marked)}
        work.remove(folders)
    work.close()
    yield from judged.values()


def mark_contents(task: LikenessTask, *, snapshot: Snapshot, settings: Settings) -> list[Verdict]:
    """Return the verdicts of some contents with their likenesses marked; for a worker."""
    contents = [part.read().signatures for part in task.parts]
    keyframes = [len(signatures.pts_seconds) for signatures in contents]
    found = candidates_of(task.found, keyframes, n_known_videos=snapshot.n_videos, settings=settings.matching)
    marked = []
    for verdict, signatures, candidates, refused in zip(task.verdicts, contents, found, task.apart, strict=True):
        ranked = tuple(one for one in candidates.ranked if one.known_video_id not in refused)
        likenesses = find_likenesses(signatures, replace(candidates, ranked=ranked), snapshot, settings)
        marked.append(with_likenesses(verdict, signatures, likenesses))
    return marked


def find_likenesses(
    query: Signatures, candidates: Candidates, snapshot: Snapshot, settings: Settings
) -> list[Likeness]:
    """Return the listed videos enough keyframes of `query` look like, the most like first."""
    wanted = {one.known_video_id: one.variants for one in candidates.ranked}
    useful = query.informative & ~candidates.common
    found: list[Likeness] = []
    for scheme in LISTED_SCHEMES:
        for video_id, frames in sorted(snapshot.frames_of(sorted(wanted), scheme).items()):
            least = min(settings.lists.min_frames, int(frames.informative.sum()))
            for variant in wanted[video_id]:
                one = _likeness(query, frames, scheme, variant, useful, settings.matching.radius_bits)
                if len(one.keyframes) >= max(1, least):
                    found.append(one)
    return sorted(found, key=lambda one: (-len(one.keyframes), float(one.distance_bits.mean()), one.known_video_id))


def _likeness(
    query: Signatures, frames: KnownFrames, scheme: str, variant: int, useful: npt.NDArray[np.bool_], radius_bits: int
) -> Likeness:
    distance = keyframe_distances(query, frames, variant)
    distance[:, ~frames.informative] = FAR
    nearest = distance.argmin(axis=1)
    least = distance[np.arange(len(distance)), nearest]
    keyframes = np.flatnonzero(useful & (least <= radius_bits))
    at = frames.pts_seconds[nearest[keyframes]]
    worth = time_uncertainty_seconds(scheme, at)
    return Likeness(
        frames.video_id,
        keyframes,
        least[keyframes].astype(np.int64),
        np.where(np.isinf(worth), np.inf, np.maximum(0.0, at - worth)),
        at + worth,
        bool(MIRRORED[variant]),
    )


def with_likenesses(verdict: Verdict, query: Signatures, likenesses: Sequence[Likeness]) -> Verdict:
    """Return the verdict with what looks like listed frames marked `same_scene` where nothing explained it.

    A `novel` video becomes `same_scene`, by its own reason; no other verdict changes, and none is ever cleared.
    """
    taken = np.zeros(len(query.pts_seconds), np.bool_)
    alike: list[Segment] = []
    for likeness in likenesses:
        fresh = ~taken[likeness.keyframes]
        taken[likeness.keyframes[fresh]] = True
        alike += _stretches(query, likeness, np.flatnonzero(fresh))
    alike.sort(key=lambda segment: segment.start_seconds)
    segments: list[Segment] = []
    changed = False
    for segment in verdict.segments:
        pieces = _overlaid(segment, alike) if segment.kind == "novel" else [segment]
        changed |= len(pieces) > 1 or pieces[0].kind != segment.kind
        segments += pieces
    if not changed:
        return verdict
    novel = verdict.verdict == "novel"
    return replace(
        verdict,
        verdict="same_scene" if novel else verdict.verdict,
        reason=Reason.LISTED_FRAMES if novel else verdict.reason,
        best_known_id=verdict.best_known_id or likenesses[0].known_video_id,
        segments=tuple(segments),
    )


def _stretches(query: Signatures, likeness: Likeness, chosen: npt.NDArray[np.int64]) -> Iterator[Segment]:
    """Yield the runs of neighbouring keyframes that go on in the listed video as they do in the query."""
    run: list[int] = []
    for place in chosen.tolist():
        if run and not _goes_on(likeness, run[-1], place):
            yield _segment(query, likeness, run)
            run = []
        run.append(place)
    if run:
        yield _segment(query, likeness, run)


def _goes_on(likeness: Likeness, before: int, place: int) -> bool:
    neighbours = likeness.keyframes[place] == likeness.keyframes[before] + 1
    onward = likeness.latest_seconds[place] >= likeness.earliest_seconds[before]
    return bool(neighbours and (onward or np.isinf(likeness.earliest_seconds[place])))


def _segment(query: Signatures, likeness: Likeness, run: Sequence[int]) -> Segment:
    first, last = likeness.keyframes[run[0]], likeness.keyframes[run[-1]]
    timed = bool(np.isfinite(likeness.earliest_seconds[run]).all())
    return Segment(
        round(float(query.start_seconds[first]), 3),
        round(float(query.end_seconds[last]), 3),
        "same_scene",
        known_video_id=likeness.known_video_id,
        known_start_seconds=round(float(likeness.earliest_seconds[run].min()), 3) if timed else None,
        known_end_seconds=round(float(likeness.latest_seconds[run].max()), 3) if timed else None,
        mirrored=likeness.mirrored,
        frames=len(run),
        median_distance_bits=float(np.median(likeness.distance_bits[run])),
    )


def _overlaid(segment: Segment, alike: Sequence[Segment]) -> list[Segment]:
    """Return a novel segment cut where it looks like listed frames; the pieces tile it."""
    pieces: list[Segment] = []
    at = segment.start_seconds
    for one in alike:
        start, end = max(at, one.start_seconds), min(segment.end_seconds, one.end_seconds)
        if end <= start:
            continue
        if start > at:
            pieces.append(Segment(at, start, "novel"))
        pieces.append(replace(one, start_seconds=start, end_seconds=end))
        at = end
    if not pieces:
        return [segment]
    if at < segment.end_seconds:
        pieces.append(Segment(at, segment.end_seconds, "novel"))
    return pieces
