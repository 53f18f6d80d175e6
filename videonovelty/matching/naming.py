"""What names a known video where nothing is proven, and proves nothing: codes of panes, or of the negative, on a line.

PDQ tells a small picture in a picture even where it moves too fast, or has too little in it, for local descriptors; but
what is around the pane nobody has compared. And where the colours are inverted, the picture's code is that of the known
one with every bit the other way round; but local descriptors do not find each other, so what covers a part is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from videonovelty.matching.distances import FAR, I16, aligned_distance, code_distances
from videonovelty.matching.proof import Proof
from videonovelty.matching.proposals import MAX_LINES
from videonovelty.matching.stretch import Stretch, runs, without_overlap
from videonovelty.matching.timeline import lines_through_matches
from videonovelty.records import COLOURS_INVERTED, F64, PLAYS_IN_A_PART, KnownFrames, Signatures
from videonovelty.settings import MatchingSettings, ProofSettings
from videonovelty.signatures.pdq import negative

Bool = npt.NDArray[np.bool_]


def in_a_pane(
    query: Signatures,
    known: KnownFrames,
    *,
    variants: Sequence[int],
    common: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return the runs of keyframes that show the known video in a pane, unproven, in time order, not overlapping.

    For queries that have no proven stretch. `variants` and `common` as for `align`. As many keyframes of a
    line as a stretch needs must be within the exact radius; those beside them within `aligned_bits`.
    """
    found: list[Stretch] = []
    for variant in variants:
        distance, share = _pane_distances(query, known, variant)
        found += _along_lines(query, known, variant, distance, share, PLAYS_IN_A_PART, common, matching, proof)
    return without_overlap(found)


def in_negative(
    query: Signatures,
    known: KnownFrames,
    *,
    variants: Sequence[int],
    common: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return the runs of keyframes that show the negative of the known video, as `in_a_pane`."""
    found: list[Stretch] = []
    for variant in variants:
        codes, inner = negative(query.pdq[:, variant]), negative(query.pdq_inner[:, variant])
        distance = np.full((len(codes), len(known.pts_seconds)), FAR, np.int16)
        for ours in (codes, inner):
            for theirs in (known.pdq, known.pdq_inner):
                distance = np.minimum(distance, code_distances(ours, theirs))
        distance[:, ~known.informative] = FAR
        distance[~query.informative] = FAR
        whole = np.ones(len(codes))
        found += _along_lines(query, known, variant, distance, whole, COLOURS_INVERTED, common, matching, proof)
    return without_overlap(found)


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


def _pane_distances(
    query: Signatures, known: KnownFrames, variant: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float64]]:
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
