"""Candidates: which known videos a query is worth aligning with, from one join of a whole batch against every shard.

All informative keyframes of a batch of queries, in all their dihedral variants, meet the codes of one shard at a time.
What a shard returns is already reduced to the best match of each keyframe with each known video, so it stays small
however long the known videos are. Votes are weighted by rarity: a keyframe found in many known videos says little, and
one found in too many is *common material*, which neither proves nor costs anything. Panes of the queries are looked up
along with them, and counted apart: what plays in a corner says nothing about the picture around it. So are negatives,
as they are and mirrored, which only name what they look like.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.known.shards import ShardCodes
from videonovelty.matching.hamming import DEFAULT_MEMORY_BYTES, PAIR_BYTES, in_parts, join
from videonovelty.records import N_DIHEDRAL, PDQ_BYTES, U8, Signatures
from videonovelty.settings import MatchingSettings
from videonovelty.signatures.pdq import DIHEDRAL, negative

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

PANE, NEGATIVE = N_DIHEDRAL, 2 * N_DIHEDRAL
"""What is added to the dihedral variant of the code of a pane, and of the negative of the picture."""
NEGATIVES = np.array([DIHEDRAL.index("original"), DIHEDRAL.index("flip_horizontal")], np.uint8)
"""Dihedral variants in which negatives are looked up."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryCodes:
    """The codes of a batch of queries, one row a distinct code to look up."""

    codes: U8
    """Shape (k, 32), C-contiguous."""
    video: I64
    """Index of the query in the batch, ascending; shape (k,)."""
    keyframe: I64
    """Index of the keyframe in the query, ascending within a video."""
    variant: U8
    """Dihedral variant of the picture; plus `PANE` that of a pane, plus `NEGATIVE` that of the negative."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardHits:
    """The best match of each keyframe of a batch, of its panes and its negative, with each known video of one shard."""

    video: I64
    keyframe: I64
    known: I64
    """Index into `known_ids`, which holds only the known videos met."""
    distance_bits: U8
    variant: U8
    known_ids: tuple[str, ...]
    overflowed: I64
    """Shape (o, 2): (video, keyframe) with more matches than may be returned: common material. Pictures alone count."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One known video worth aligning with a query."""

    known_video_id: str
    votes: float
    keyframes: int
    """Keyframes of the query that match it."""
    variants: tuple[int, ...]
    """Dihedral variants that matched, most first."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What the join says about one query."""

    ranked: tuple[Candidate, ...]
    common: npt.NDArray[np.bool_]
    """Shape (n_keyframes,): the keyframe is common material."""
    in_panes: tuple[Candidate, ...] = ()
    """Known videos that panes look like."""
    in_negative: tuple[Candidate, ...] = ()
    """Known videos that negatives look like."""


def collect_codes(signatures: Sequence[Signatures], *, apart: bool = True) -> QueryCodes:
    """Return the codes of all informative keyframes: eight variants each, of the picture, of what is inside its borders
    where it has some, and, unless what is counted `apart` is left out, of its panes; and the negatives.
    """
    codes, video, keyframe, variant = [], [], [], []
    for number, signed in enumerate(signatures):
        blocks = list(_blocks(signed, apart=apart))
        rows = np.concatenate([np.repeat(of, len(turns)) for _, of, turns in blocks]).astype(np.int64)
        order = np.argsort(rows, kind="stable")
        codes.append(np.concatenate([found.reshape(-1, PDQ_BYTES) for found, _, _ in blocks])[order])
        video.append(np.full(len(rows), number, np.int64))
        keyframe.append(rows[order])
        variant.append(np.concatenate([np.tile(turns, len(of)) for _, of, turns in blocks])[order])
    if not codes:
        empty = np.zeros(0, np.int64)
        return QueryCodes(np.zeros((0, PDQ_BYTES), np.uint8), empty, empty, np.zeros(0, np.uint8))
    return QueryCodes(
        np.ascontiguousarray(np.concatenate(codes)),
        np.concatenate(video),
        np.concatenate(keyframe),
        np.concatenate(variant),
    )


def _blocks(signed: Signatures, *, apart: bool) -> Iterator[tuple[U8, I64, U8]]:
    """Yield codes (k, v, 32), the keyframes (k,) they are of, and their variants (v,)."""
    useful = np.flatnonzero(signed.informative)
    bordered = np.flatnonzero(signed.informative & signed.has_inner)
    every = np.arange(N_DIHEDRAL, dtype=np.uint8)
    pictures = ((signed.pdq[useful], useful), (signed.pdq_inner[bordered], bordered))
    for codes, rows in pictures:
        yield codes, rows, every
    if apart:
        paned = np.flatnonzero(signed.informative[signed.panes.keyframe])
        yield signed.panes.pdq[paned], signed.panes.keyframe[paned], every + np.uint8(PANE)
        for codes, rows in pictures:
            yield negative(codes[:, NEGATIVES]), rows, NEGATIVES + np.uint8(NEGATIVE)


def match_shard(
    shard: ShardCodes,
    queries: QueryCodes,
    settings: MatchingSettings,
    *,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> ShardHits:
    """Return the best match of each keyframe with each known video of `shard`, within the exact radius.

    Queries are taken in parts small enough that the join takes about `memory_bytes`, and the pairs it finds no more,
    beside the codes of both sides.
    """
    rows = np.flatnonzero(shard.informative)
    bordered = np.flatnonzero(shard.informative & shard.has_inner)
    known = np.ascontiguousarray(np.concatenate([shard.pdq[rows], shard.pdq_inner[bordered]]))
    row_video = np.concatenate([shard.video_index[rows], shard.video_index[bordered]]).astype(np.int64)

    def best(low: int, high: int, max_pairs: int | None) -> tuple[I64, I64, I64, U8, U8, I64]:
        """Return the columns of the hits of the queries [low, high): known videos by number; what overflowed."""
        pairs = join(
            known,
            queries.codes[low:high],
            settings.radius_bits,
            max_hits_per_query=settings.max_hits_per_keyframe,
            max_pairs=max_pairs,
            memory_bytes=memory_bytes,
        )
        query = low + pairs.query_index
        video, keyframe, known_video = queries.video[query], queries.keyframe[query], row_video[pairs.known_index]
        variant = queries.variant[query]
        kind = variant // N_DIHEDRAL
        # the plain variant wins a tie, then the lower number
        order = np.lexsort((variant, pairs.distance, kind, known_video, keyframe, video))
        video, keyframe, known_video, kind = video[order], keyframe[order], known_video[order], kind[order]
        changed = np.ones(len(order), np.bool_)
        changed[1:] = (np.diff(video) != 0) | (np.diff(keyframe) != 0) | (np.diff(known_video) != 0)
        changed[1:] |= kind[1:] != kind[:-1]
        kept = order[changed]
        spilled = low + np.flatnonzero(pairs.overflowed & (queries.variant[low:high] < PANE))
        return (
            video[changed],
            keyframe[changed],
            known_video[changed],
            pairs.distance[kept],
            variant[kept],
            np.unique(np.stack([queries.video[spilled], queries.keyframe[spilled]], axis=1), axis=0),
        )

    n = len(queries.codes)
    begins = np.ones(n, np.bool_)
    begins[1:] = (np.diff(queries.video) != 0) | (np.diff(queries.keyframe) != 0)
    parts = list(in_parts(best, np.flatnonzero(begins), n, max_pairs=max(1, memory_bytes // PAIR_BYTES))) or [
        best(0, 0, None)
    ]
    video, keyframe, known_video, distance, variant, spilled = map(np.concatenate, zip(*parts, strict=True))
    met, known_index = np.unique(known_video, return_inverse=True)
    return ShardHits(
        video,
        keyframe,
        known_index.astype(np.int64),
        distance,
        variant,
        tuple(shard.video_ids[int(number)] for number in met),
        spilled.astype(np.int64).reshape(-1, 2),
    )


def rank_candidates(
    hits: Sequence[ShardHits], keyframes: Sequence[int], *, n_known_videos: int, settings: MatchingSettings
) -> list[Candidates]:
    """Return the candidates of each query of a batch; `keyframes` holds each query's number of keyframes."""
    ids: dict[str, int] = {}
    known = []
    for part in hits:
        local = np.array([ids.setdefault(video_id, len(ids)) for video_id in part.known_ids], np.int64)
        known.append(local[part.known] if len(part.known) else part.known)
    names = list(ids)
    none = np.zeros(0, np.int64)
    video = np.concatenate([part.video for part in hits]) if hits else none
    keyframe = np.concatenate([part.keyframe for part in hits]) if hits else none
    variant = np.concatenate([part.variant for part in hits]) if hits else none.astype(np.uint8)
    distance = np.concatenate([part.distance_bits for part in hits]).astype(np.float64) if hits else none.astype(float)
    target = np.concatenate(known) if hits else none
    spilled = np.concatenate([part.overflowed for part in hits]) if hits else np.zeros((0, 2), np.int64)
    order = np.argsort(video, kind="stable")
    bounds = np.searchsorted(video[order], np.arange(len(keyframes) + 1))
    limit = max(settings.stop_videos, int(settings.stop_share * n_known_videos))
    found: list[Candidates] = []
    for number, n_keyframes in enumerate(keyframes):
        rows = order[bounds[number] : bounds[number + 1]]
        kind = variant[rows] - variant[rows] % N_DIHEDRAL

        def rank(some: I64, never: Bool, rows: I64 = rows) -> tuple[tuple[Candidate, ...], Bool]:
            mine = rows[some]
            return _ranked(
                keyframe[mine],
                target[mine],
                variant[mine] % np.uint8(N_DIHEDRAL),
                distance[mine],
                names,
                never,
                limit,
                settings,
            )

        overflowed = np.zeros(n_keyframes, np.bool_)
        overflowed[spilled[spilled[:, 0] == number, 1]] = True
        ranked, common = rank(np.flatnonzero(kind == 0), overflowed)
        in_panes, in_negative = (rank(np.flatnonzero(kind == one), common)[0] for one in (PANE, NEGATIVE))
        found.append(Candidates(ranked, common, in_panes, in_negative))
    return found


def _ranked(
    keyframe: I64,
    target: I64,
    variant: U8,
    distance: npt.NDArray[np.float64],
    names: Sequence[str],
    never: Bool,
    limit: int,
    settings: MatchingSettings,
) -> tuple[tuple[Candidate, ...], Bool]:
    """Return the best candidates by the hits of the keyframes that are not common material, and which ones are.

    `never`, shape (n_keyframes,), are those that are common material whatever they hit.
    """
    n_keyframes = len(never)
    # a known video stored in two shards still counts once a keyframe
    pairs = np.unique(np.stack([keyframe, target], axis=1), axis=0)
    met = np.bincount(pairs[:, 0], minlength=n_keyframes) if len(pairs) else np.zeros(n_keyframes, np.int64)
    common = (met > limit) | never
    kept = ~common[keyframe]
    keyframe, target, variant, distance = keyframe[kept], target[kept], variant[kept], distance[kept]
    weight = (settings.radius_bits + 9.0 - distance) / np.maximum(met[keyframe], 1)
    ranked = []
    for one in np.unique(target):
        mine = target == one
        per_variant = np.bincount(variant[mine], weights=weight[mine], minlength=N_DIHEDRAL)
        variants = tuple(int(v) for v in np.argsort(-per_variant, kind="stable") if per_variant[v] > 0)
        ranked.append(
            Candidate(names[int(one)], float(weight[mine].sum()), len(np.unique(keyframe[mine])), variants[:2])
        )
    ranked.sort(key=lambda candidate: (-candidate.votes, candidate.known_video_id))
    return tuple(ranked[: settings.max_candidates]), common
