"""Candidates by local descriptors: for what PDQ does not see (crops, frames around a video, pictures in pictures).

The descriptors of a batch of queries, as they are and mirrored, meet those of one shard at a time; each vote weighs
one over the known videos its descriptor meets (inverse document frequency), so common texture counts little. What is
returned are pairs of keyframes to verify, few a known video. The join is approximate: it proposes and proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from videonovelty.known.shards import LocalCodes
from videonovelty.matching.descriptor_join import join_descriptors
from videonovelty.matching.hamming import DEFAULT_MEMORY_BYTES, PAIR_BYTES, in_parts
from videonovelty.records import F64, LOCAL_BYTES, U8, Signatures, best_points
from videonovelty.settings import MatchingSettings

I64 = npt.NDArray[np.int64]

QUERY_BLOCK = 8_000_000
"""Query descriptors looked up at once: for each block the known side is sorted anew."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalQueryCodes:
    """The descriptors of a batch of queries, plain ones and mirrored ones."""

    codes: U8
    """Shape (k, 8)."""
    video: I64
    keyframe: I64
    mirrored: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LocalHits:
    """Keyframe pairs of one shard and their votes, one row a pair; shape (p,) each."""

    video: I64
    keyframe: I64
    mirrored: npt.NDArray[np.bool_]
    known: I64
    """Index into `known_ids`, which holds only the known videos met."""
    known_seconds: F64
    votes: F64
    known_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LocalCandidate:
    """One known video that shares descriptors with a query."""

    known_video_id: str
    mirrored: bool
    votes: float
    pairs: npt.NDArray[np.float64]
    """Rows (query keyframe, known seconds), most votes first."""


def collect_local_codes(signatures: Sequence[Signatures]) -> LocalQueryCodes:
    """Return the best descriptors of all informative keyframes of a batch, each as it is and as its mirror image.

    As many as known videos keep: what they propose is verified with all of them.
    """
    codes, video, keyframe, mirrored = [], [], [], []
    for number, signed in enumerate(signatures):
        local = best_points(signed.local)
        owner = np.repeat(np.arange(len(signed.pts_seconds)), np.diff(local.offsets))
        useful = signed.informative[owner]
        for flag, source in ((False, local.codes), (True, local.mirrored_codes)):
            if len(source) == 0:
                continue
            codes.append(source[useful])
            keyframe.append(owner[useful])
            video.append(np.full(int(useful.sum()), number, np.int64))
            mirrored.append(np.full(int(useful.sum()), flag))
    if not codes:
        none = np.zeros(0, np.int64)
        return LocalQueryCodes(np.zeros((0, LOCAL_BYTES), np.uint8), none, none, np.zeros(0, np.bool_))
    return LocalQueryCodes(
        np.ascontiguousarray(np.concatenate(codes)),
        np.concatenate(video),
        np.concatenate(keyframe).astype(np.int64),
        np.concatenate(mirrored),
    )


def match_local_shard(
    shard: LocalCodes,
    queries: LocalQueryCodes,
    settings: MatchingSettings,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> LocalHits:
    """Return the pairs of keyframes of `queries` and `shard` that share enough descriptors to be worth verifying.

    Queries are taken in parts of whole keyframes, small enough that the join takes about `memory_bytes` and the pairs
    it finds no more: a mark that a thousand known videos bear costs time, not memory.
    """
    # number of the query keyframe, a mirrored one counting as another
    owner = np.stack([queries.video, queries.keyframe, queries.mirrored.astype(np.int64)], axis=1)
    begins = np.ones(len(owner), np.bool_)
    begins[1:] = (np.diff(owner, axis=0) != 0).any(axis=1)
    frame = np.cumsum(begins) - 1
    owner = owner[begins]
    n_videos = len(shard.video_ids)

    def voted(low: int, high: int, max_pairs: int | None) -> tuple[I64, I64, F64, F64]:
        """Return the pairs of keyframes with enough votes of the queries [low, high): number of the query keyframe,
        in order, and of the known video, known seconds, votes.
        """
        pairs = join_descriptors(
            shard.codes,
            queries.codes[low:high],
            settings.local_radius_bits,
            max_hits_per_query=settings.max_hits_per_keyframe,
            max_pairs=max_pairs,
            memory_bytes=memory_bytes,
        )
        met_rows, row = np.unique(pairs.known_index, return_inverse=True)
        moment, first = _moments(shard, met_rows)
        moment_video, n_moments = shard.video_index[first].astype(np.int64), max(1, len(first))
        # a descriptor votes once for a known keyframe, and its vote is shared out over the videos it meets; pairs come
        # in the order of both, and so do keyframes and videos
        met = _distinct(pairs.query_index * n_moments + moment[row])
        descriptor, place = met // n_moments, met % n_moments
        videos = _distinct(descriptor * n_videos + moment_video[place]) // n_videos
        rarity = 1.0 / np.maximum(np.bincount(videos, minlength=high - low), 1)
        keys, vote = np.unique(frame[low:high][descriptor] * n_moments + place, return_inverse=True)
        total = np.bincount(vote, weights=rarity[descriptor], minlength=len(keys))
        keys, total = keys[total >= settings.local_votes], total[total >= settings.local_votes]
        place = keys % n_moments
        return keys // n_moments, moment_video[place], shard.seconds[first[place]], total.astype(np.float64)

    found = []
    if len(shard.codes) and len(frame):
        starts, most = np.flatnonzero(begins), max(1, memory_bytes // PAIR_BYTES)
        found = list(in_parts(voted, starts, len(frame), max_pairs=most, first=QUERY_BLOCK))
    none = np.zeros(0, np.int64)
    asking = np.concatenate([none, *(part[0] for part in found)])
    met_videos, known = np.unique(np.concatenate([none, *(part[1] for part in found)]), return_inverse=True)
    return LocalHits(
        owner[asking, 0],
        owner[asking, 1],
        owner[asking, 2].astype(np.bool_),
        known.astype(np.int64),
        np.concatenate([np.zeros(0), *(part[2] for part in found)]),
        np.concatenate([np.zeros(0), *(part[3] for part in found)]),
        tuple(shard.video_ids[int(number)] for number in met_videos),
    )


def _distinct(ascending: I64) -> I64:
    """Return ascending numbers, each once."""
    kept = np.ones(len(ascending), np.bool_)
    kept[1:] = ascending[1:] != ascending[:-1]
    return ascending[kept]


def _moments(shard: LocalCodes, rows: I64) -> tuple[I64, I64]:
    """Return for ascending rows of a shard the number of the known keyframe each is of, and the first row of each."""
    changed = np.ones(len(rows), np.bool_)
    changed[1:] = (np.diff(shard.video_index[rows]) != 0) | (np.diff(shard.seconds[rows]) != 0)
    return np.cumsum(changed) - 1, rows[changed]


def rank_local_candidates(
    hits: Sequence[LocalHits], n_queries: int, settings: MatchingSettings
) -> list[tuple[LocalCandidate, ...]]:
    """Return each query's candidates, best first: at most `max_local_candidates`, each with its best pairs."""
    found: list[list[LocalCandidate]] = [[] for _ in range(n_queries)]
    for part in hits:
        order = np.lexsort((-part.votes, part.mirrored, part.known, part.video))
        keys = np.stack([part.video, part.known, part.mirrored.astype(np.int64)], axis=1)[order]
        begins = np.ones(len(keys), np.bool_)
        begins[1:] = (np.diff(keys, axis=0) != 0).any(axis=1)
        for start, stop in pairwise([*np.flatnonzero(begins), len(keys)]):
            rows = order[start:stop]
            # the best known moment of each keyframe says how much of the query agrees
            _, best = np.unique(part.keyframe[rows], return_index=True)
            pairs = np.stack([part.keyframe[rows], part.known_seconds[rows]], axis=1).astype(np.float64)
            found[int(keys[start, 0])].append(
                LocalCandidate(
                    part.known_ids[int(keys[start, 1])],
                    bool(keys[start, 2]),
                    float(part.votes[rows][best].sum()),
                    pairs[: settings.local_pairs],
                )
            )
    ranked = []
    for candidates in found:
        candidates.sort(key=lambda candidate: (-candidate.votes, candidate.known_video_id, candidate.mirrored))
        ranked.append(tuple(candidates[: settings.max_local_candidates]))
    return ranked
