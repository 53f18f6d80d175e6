"""Where a known video plays inside a query: one place in the picture that many keyframes share.

A clip that plays at a third of the sides leaves each keyframe some three to eight descriptors that find their own, and
as many pairs agree by chance in some pair of keyframes. But a picture in a picture stays where it is. So the pairs of
many keyframes, each with the moment that a line in time aligns it with, are pooled, and one similarity is sought that
they all obey. It is accepted *a contrario* (Moisan & Stival, "A probabilistic criterion to detect rigid point matches
between two images", IJCV 2004): by how many similarities as good as this one are expected where pairs fall anywhere.

It names a known video where nothing else does, and proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.geometry import OwnChange, as_shares, own_change, similarity
from videonovelty.matching.local_evidence import LocalPair
from videonovelty.matching.pair_kernels import DISTINCT, TOLERANCE
from videonovelty.matching.proof import Proof
from videonovelty.matching.shown import placed
from videonovelty.matching.stretch import Stretch, runs
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, PLAYS_IN_A_PART, Signatures
from videonovelty.settings import MatchingSettings, ProofSettings
from videonovelty.signatures.local import SAME_BITS
from videonovelty.signatures.pdq import MIRRORED

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

POOLED_KEYFRAMES = 12
"""Keyframes whose pairs are pooled: those nearest to the proposed one. More would hide what plays briefly."""
LINES_TRIED = 8
LINES_APART_SECONDS = 0.5
LEAST_PAIRS = 4
"""Two pairs make a similarity, so fewer cannot say anything."""
MOST_SHARE = 0.5
"""Of the query's picture. What fills more of it has descriptors enough in each keyframe, and what the keyframes of two
videos share in its place is an emblem, or what a camera always sees."""
_LARGEST = 700.0
"""Of an exponent, so that it has a value."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """One similarity that puts the known picture at one place of many keyframes of the query."""

    expected: float
    """How many placements as good are expected by chance among all that were tried."""
    transform: F64
    """Shape (2, 3), as `GeometricMatch.transform`."""
    offset_seconds: float
    """Known time minus query time; right to what a keyframe stands for."""
    inliers: I64
    """Shape (n_keyframes,): pairs that obey the similarity in each keyframe that carries descriptors, 0 elsewhere."""


def in_one_place(
    query: Signatures,
    known: KnownLocal,
    *,
    variant: int,
    common: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
    aspect: float,
    local_pairs: F64,
) -> list[Stretch]:
    """Return the runs of keyframes that show the known video in one place of the picture, unproven, in time order.

    For queries that have no stretch on any candidate. `common` and `aspect` as for `align`; `local_pairs`, rows (query
    keyframe, known seconds), are what the descriptor join proposed, best first.
    """
    useful = query.informative & ~common
    local = LocalPair(query, known, bool(MIRRORED[variant]), aspect)
    proposed = [(int(keyframe), float(at)) for keyframe, at in local_pairs if useful[int(keyframe)]]
    placement = common_placement(local, proposed, reach_seconds=matching.time_tolerance_seconds)
    if placement is None or placement.expected > proof.placed_by_chance:
        return []
    if int((placement.inliers > 0).sum()) < min(matching.min_matched_keyframes, len(local.bearers)):
        return []
    inliers = np.where(local.bearer_of >= 0, placement.inliers[local.bearer_of], 0)
    share = round(local.share_placed(placement.transform), 4)
    found = []
    for first, last in runs(useful & (inliers > 0)):
        start, end = float(query.start_seconds[first]), float(query.end_seconds[last])
        found.append(
            Stretch(
                known.video_id,
                Line(1.0, placement.offset_seconds, variant, 0.0),
                start,
                end,
                Proof(False, end - start, 0.0, 0.0, 0.0, PLAYS_IN_A_PART),
                last + 1 - first,
                None,
                spatial_share=share,
                inliers=int(np.median(inliers[first : last + 1])),
            )
        )
    return found


def common_placement(
    local: LocalPair, proposed: Sequence[tuple[int, float]], *, reach_seconds: float
) -> Placement | None:
    """Return the placement within the query's picture that chance explains least, None where too few pairs agree.

    `proposed` are pairs (query keyframe, known seconds), best first: the lines through them at the plain speed are
    tried. A keyframe is compared with the known ones within `reach_seconds` of its aligned moment.
    """
    best: Placement | None = None
    tried: list[float] = []
    seconds = local.query.pts_seconds
    for keyframe, known_seconds in proposed:
        offset = known_seconds - float(seconds[keyframe])
        if any(abs(offset - other) <= LINES_APART_SECONDS for other in tried):
            continue
        tried.append(offset)
        nearest = np.argsort(np.abs(seconds[local.bearers] - seconds[keyframe]), kind="stable")[:POOLED_KEYFRAMES]
        found = _most_agreed(local, _Pool.of(local, local.bearers[np.sort(nearest)], offset, reach_seconds), offset)
        if found is not None and (best is None or found.expected < best.expected):
            best = found
        if len(tried) == LINES_TRIED:
            break
    return None if best is None else _followed(local, best, reach_seconds)


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """Pairs of descriptors of several keyframes on one line, the most alike first, each query descriptor once."""

    rows: I64
    """Shape (m, 2): rows of the query's and of the known video's descriptors."""
    keyframe: I64
    """Shape (m,): of the query."""
    query: F64
    known: F64
    own: OwnChange

    @classmethod
    def of(cls, local: LocalPair, keyframes: I64, offset_seconds: float, reach_seconds: float) -> _Pool:
        """Return the pairs of the query's `keyframes` with what the known video shows at their aligned moments."""
        rows = [np.zeros((0, 2), np.int64)]
        for keyframe in map(int, keyframes):
            at = float(local.query.pts_seconds[keyframe]) + offset_seconds
            rows += [local.descriptor_pairs(keyframe, place) for place in local.places_near(at, reach_seconds)]
        pairs = np.concatenate(rows)
        mine, theirs = local.query.local, local.known.features
        bits = np.bitwise_count(local.query_codes[pairs[:, 0]] ^ theirs.codes[pairs[:, 1]]).sum(axis=1)
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], bits))]
        pairs = pairs[np.sort(np.unique(pairs[:, 0], return_index=True)[1])]
        one, other = pairs.T
        return cls(
            pairs,
            np.searchsorted(mine.offsets, one, side="right") - 1,
            as_shares(mine.xy[one], mirrored=local.mirrored),
            as_shares(theirs.xy[other]),
            own_change(
                mine.scale[one], mine.angle[one], theirs.scale[other], theirs.angle[other], mirrored=local.mirrored
            ),
        )

    def obeying(self, transform: F64) -> Bool:
        """Return which pairs lie where the transform puts them, scaled and turned as it says."""
        miss = np.linalg.norm(placed(self.query, transform) - self.known, axis=1)
        obeying: Bool = (miss <= TOLERANCE) & self.own.agrees(complex(*transform[:, 0]))
        return obeying


def _most_agreed(local: LocalPair, pool: _Pool, offset_seconds: float) -> Placement | None:
    """Return the similarity that most pairs of the pool obey, with how many as good are expected by chance.

    Were the pairs chance, each one whose query place lies within the placed picture would hit its known place with the
    probability of a disc in the picture, times the share of all pairs that are scaled and turned alike.
    """
    m = len(pool.rows)
    if m < LEAST_PAIRS:
        return None
    transform, inside, agrees = similarity(pool.query, pool.known, pool.own)
    if inside.sum() < LEAST_PAIRS or local.share_placed(transform) > MOST_SHARE:
        return None
    extent = local.known_extent
    put = placed(pool.query, transform)
    within = inside | ((put >= -TOLERANCE) & (put <= extent + TOLERANCE)).all(axis=1)
    order = np.concatenate((np.flatnonzero(inside), np.flatnonzero(within & ~inside)))
    own = order[_independent(local, pool, order)]
    k, n = int(inside[own].sum()), len(own)
    if k < LEAST_PAIRS:
        return None
    area = float(np.prod(np.maximum(extent, TOLERANCE)))
    chance = min(1.0, math.pi * TOLERANCE**2 / area * float(agrees.mean()))
    tests = LINES_TRIED * m * (m - 1) / 2
    expected = math.log(tests) + _log_choices(n - 2, k - 2) + (k - 2) * math.log(chance)
    none = np.zeros(len(local.query.pts_seconds), np.int64)
    return Placement(math.exp(min(expected, _LARGEST)), transform, offset_seconds, none)


def _independent(local: LocalPair, pool: _Pool, which: I64) -> Bool:
    """Return which of the pairs `which`, in this order, are evidence of their own.

    Pairs of one keyframe at one place are one, in either picture. So are those of different keyframes whose descriptors
    are alike as well: what stands still is seen again in every keyframe.
    """
    query, known = pool.query[which], pool.known[which]
    apart = [np.linalg.norm(side[:, None] - side[None, :], axis=2) for side in (query, known)]
    nearest = np.minimum(*apart)
    codes = local.query_codes[pool.rows[which, 0]], local.known.features.codes[pool.rows[which, 1]]
    bits = [np.bitwise_count(side[:, None] ^ side[None, :]).sum(axis=2) for side in codes]
    together = pool.keyframe[which][:, None] == pool.keyframe[which][None, :]
    same = (together & (nearest <= DISTINCT)) | ((np.minimum(*bits) <= SAME_BITS) & (nearest <= 2 * DISTINCT))
    kept = np.zeros(len(which), np.bool_)
    for row in range(len(which)):
        kept[row] = not (same[row] & kept).any()
    return kept


def _log_choices(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _followed(local: LocalPair, placement: Placement, reach_seconds: float) -> Placement:
    """Return the placement with the pairs that obey it in every keyframe of the query, on its line."""
    pool = _Pool.of(local, local.bearers, placement.offset_seconds, reach_seconds)
    obeying = pool.keyframe[pool.obeying(placement.transform)]
    return replace(placement, inliers=np.bincount(obeying, minlength=len(local.query.pts_seconds)).astype(np.int64))
