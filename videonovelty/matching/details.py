"""Do the details of aligned pictures agree, and not only their shapes in light and shadow?

Frame hashes, movement and levels all look at a few cells of a picture. What is drawn, filtered or generated over known
footage keeps those, the same shapes in the same light, and shows something else: other faces, another room. Local
descriptors look at details. Those of a copy find the known ones however hard it was coded; those of something else find
none, although there are as many.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.geometry import verify
from videonovelty.matching.in_place import TRIED_KEYFRAMES, nearest_first
from videonovelty.matching.local_evidence import MIN_DESCRIPTORS, LocalPair, LocalPairs, rows_of
from videonovelty.matching.stretch import Stretch
from videonovelty.records import KNOWN_POINTS, OTHER_DETAILS
from videonovelty.settings import ProofSettings

LEAST_DESCRIPTORS = 100
"""Of all keyframes compared: fewer say nothing. What is blurred has few, and few of them its own."""
SURELY_ALIKE, SURE_DESCRIPTORS = 3.0, 600
"""No more keyframes are looked at once the share is so many times what is needed, of so many descriptors: lettering at
the beginning of a known video says nothing of what follows."""
_GOLDEN = 0.618034
AT_ONCE_SECONDS = 0.1
"""A known keyframe this close to the aligned moment shows what stands there however much moves."""


def with_details(stretch: Stretch, pairs: LocalPairs, proof: ProofSettings) -> Stretch:
    """Return a proven stretch as it is, or unproven where its details are not the known ones.

    Counted is how many of the descriptors of keyframes spread over the stretch lie where one placement of the known
    picture puts their counterparts. `aspect` is the query's width over height. Where there are too few, or the store
    has none, nothing can be said.
    """
    if not stretch.proof.proven:
        return stretch
    pair = pairs.of(mirrored=stretch.mirrored)
    if pair is None:
        return stretch
    bearers = pair.bearers_within(stretch.start_seconds, stretch.end_seconds)
    if len(bearers) == 0:
        return stretch
    known_seconds = stretch.line.known_seconds(pair.query.pts_seconds[bearers])
    compared = alike = 0
    picked = np.unique(np.linspace(0, len(bearers) - 1, TRIED_KEYFRAMES).astype(int))
    for row in picked[np.argsort(np.arange(len(picked)) * _GOLDEN % 1.0)]:  # any first few lie all over the stretch
        count, found = _compared(pair, int(bearers[row]), float(known_seconds[row]), proof)
        compared, alike = compared + count, alike + found
        if compared >= SURE_DESCRIPTORS and alike >= SURELY_ALIKE * proof.least_details * compared:
            return stretch
    if compared < LEAST_DESCRIPTORS or alike >= proof.least_details * compared:
        return stretch
    return replace(stretch, proof=replace(stretch.proof, proven=False, why_not=OTHER_DETAILS))


def _compared(pair: LocalPair, bearer: int, at: float, proof: ProofSettings) -> tuple[int, int]:
    """Return how many descriptors of a keyframe should find those the known video has at a time, and how many do.

    None should where it has too few, or where what it shows then need not be seen in its keyframes.
    """
    sizes, known_sizes = np.diff(pair.query.local.offsets), np.diff(pair.known.features.offsets)
    most = found = 0
    for place in nearest_first(pair, at):
        count = min(int(sizes[bearer]), int(known_sizes[place]), KNOWN_POINTS)
        if count < MIN_DESCRIPTORS:
            continue
        most = max(most, count)
        if found < SURELY_ALIKE * proof.least_details * most:
            match = pair.match(bearer, place)
            found = max(found, 0 if match is None else match.inliers)
    sure = found >= SURELY_ALIKE * proof.least_details * most
    return (most, found) if most and (sure or _shows_the_moment(pair.known, at, proof)) else (0, 0)


def _shows_the_moment(local: KnownLocal, at: float, proof: ProofSettings) -> bool:
    """Return whether what a known video shows at a time must be seen in one of its described keyframes beside it.

    One lies there, or those before and after it find each other: in between nothing else is to be expected.
    """
    after = int(np.searchsorted(local.seconds, at))
    if (np.abs(local.seconds[max(0, after - 1) : after + 1] - at) <= AT_ONCE_SECONDS).any():
        return True
    if not 0 < after < len(local.seconds):
        return False
    features = local.features
    one, other = rows_of(features, after - 1), rows_of(features, after)
    match = verify(
        features.codes[one], features.xy[one], features.codes[other], features.xy[other], 1.0,
        query_scale=features.scale[one], query_angle=features.angle[one],
        known_scale=features.scale[other], known_angle=features.angle[other],
    )  # fmt: skip
    count = min(one.stop - one.start, other.stop - other.start)
    return match is not None and match.inliers >= SURELY_ALIKE * proof.least_details * count
