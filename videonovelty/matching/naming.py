"""What names a known video where nothing is proven, and proves nothing: codes of panes, or of the negative, on a line.

PDQ tells a small picture in a picture even where it moves too fast, or has too little in it, for local descriptors; but
what is around the pane nobody has compared. And where the colours are inverted, the picture's code is that of the known
one with every bit the other way round; but local descriptors do not find each other, so what covers a part is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from videonovelty.matching.candidates import NEGATIVE, PANE, Candidates
from videonovelty.matching.distances import FAR, I16, aligned_distance, code_distances, least_distances
from videonovelty.matching.proof import Proof
from videonovelty.matching.proposals import MAX_LINES
from videonovelty.matching.stretch import Stretch, runs, without_overlap
from videonovelty.matching.timeline import lines_through_matches
from videonovelty.records import COLOURS_INVERTED, F64, PLAYS_IN_A_PART, KnownFrames, Signatures
from videonovelty.settings import MatchingSettings, ProofSettings
from videonovelty.signatures.pdq import negative

Bool = npt.NDArray[np.bool_]


def named(
    query: Signatures,
    candidates: Candidates,
    known: Mapping[str, KnownFrames],
    *,
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return the unproven stretches on candidates that panes or negatives of a query show, of those in `known`.

    For queries that have no proven stretch.
    """
    return [
        stretch
        for kind, some in ((PANE, candidates.in_panes), (NEGATIVE, candidates.in_negative))
        for one in some
        if one.known_video_id in known
        for stretch in named_along_lines(
            kind,
            query,
            known[one.known_video_id],
            variants=one.variants,
            common=candidates.common,
            matching=matching,
            proof=proof,
        )
    ]


def named_along_lines(
    kind: int,
    query: Signatures,
    known: KnownFrames,
    *,
    variants: Sequence[int],
    common: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return the runs of keyframes that show the known video in a pane (`PANE`) or as its negative (`NEGATIVE`),
    unproven, in time order, not overlapping.

    `variants` and `common` as for `align`. As many keyframes of a line as a stretch needs must be within the exact
    radius; those beside them within `aligned_bits`.
    """
    distances, why_not = {
        PANE: (_pane_distances, PLAYS_IN_A_PART),
        NEGATIVE: (_negative_distances, COLOURS_INVERTED),
    }[kind]
    found: list[Stretch] = []
    for variant in variants:
        distance, share = distances(query, known, variant)
        found += _along_lines(query, known, variant, distance, share, why_not, common, matching, proof)
    return without_overlap(found)


def _negative_distances(query: Signatures, known: KnownFrames, variant: int) -> tuple[I16, F64]:
    """Return PDQ distances, shape (n_query, n_known), of each keyframe's negative, and the share of the picture: 1.

    `FAR` where either side is uninformative.
    """
    codes, inner = negative(query.pdq[:, variant]), negative(query.pdq_inner[:, variant])
    distance = least_distances(codes, inner, known)
    distance[:, ~known.informative] = FAR
    distance[~query.informative] = FAR
    return distance, np.ones(len(codes))


def _along_lines(
    query: Signatures,
    known: KnownFrames,
    variant: int,
    distance: I16,
    share: F64,
    why_not: str,
    common: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return the runs of keyframes that lie on lines through the known video by the distances given."""
    least = min(matching.min_matched_keyframes, int((query.informative & ~common).sum()))
    distance[common] = FAR
    lines = lines_through_matches(
        query.pts_seconds,
        known.pts_seconds,
        distance,
        variant=variant,
        radius_bits=matching.radius_bits,
        speeds=matching.speeds,
        tolerance_seconds=matching.time_tolerance_seconds,
        count=MAX_LINES,
    )
    found: list[Stretch] = []
    for line in lines:
        reach = matching.time_tolerance_seconds * max(1.0, line.speed)
        bits = aligned_distance(query.pts_seconds, known, distance, line, reach)
        seen = (bits >= 0) & (bits <= proof.aligned_bits)
        if int((seen & (bits <= matching.radius_bits)).sum()) < least:
            continue
        for first, last in runs(seen):
            start, end = float(query.start_seconds[first]), float(query.end_seconds[last])
            found.append(
                Stretch(
                    known.video_id,
                    line,
                    start,
                    end,
                    Proof(False, end - start, 0.0, 0.0, 0.0, why_not),
                    last + 1 - first,
                    float(np.median(bits[first : last + 1])),
                    spatial_share=round(float(np.median(share[first : last + 1])), 4),
                )
            )
    return found


def _pane_distances(query: Signatures, known: KnownFrames, variant: int) -> tuple[I16, F64]:
    """Return PDQ distances, shape (n_query, n_known), of each keyframe's nearest pane, and the share of the nearest.

    `FAR` where a keyframe has no pane or either side is uninformative; the share, shape (n_query,), is 0 there.
    """
    panes = query.panes
    distance = np.full((len(query.pts_seconds), len(known.pts_seconds)), FAR, np.int16)
    share = np.zeros(len(query.pts_seconds))
    codes = panes.pdq[:, variant]
    of_panes = np.minimum(code_distances(codes, known.pdq), code_distances(codes, known.pdq_inner))
    of_panes[:, ~known.informative] = FAR
    of_panes[~query.informative[panes.keyframe]] = FAR
    least = np.full(len(query.pts_seconds), FAR)
    for keyframe, size, row in zip(panes.keyframe, panes.share, of_panes, strict=True):
        distance[keyframe] = np.minimum(distance[keyframe], row)
        nearest = int(row.min(initial=FAR))
        if nearest < least[keyframe]:
            least[keyframe], share[keyframe] = nearest, size
    return distance, share
