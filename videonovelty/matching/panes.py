"""What plays in a pane of the query's picture: the codes of its panes on a line through a known video.

PDQ tells a small picture in a picture even where it moves too fast, or has too little in it, for local descriptors. It
names a known video where nothing is proven, and proves nothing: what is around the pane nobody has compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from videonovelty.matching.distances import FAR, aligned_distance, code_distances
from videonovelty.matching.proof import Proof
from videonovelty.matching.proposals import MAX_LINES
from videonovelty.matching.stretch import Stretch, runs, without_overlap
from videonovelty.matching.timeline import lines_through_matches
from videonovelty.records import PLAYS_IN_A_PART, KnownFrames, Signatures
from videonovelty.settings import MatchingSettings, ProofSettings

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
    least = min(matching.min_matched_keyframes, int((query.informative & ~common).sum()))
    for variant in variants:
        distance, share = _pane_distances(query, known, variant)
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
                        Proof(False, end - start, 0.0, 0.0, 0.0, PLAYS_IN_A_PART),
                        last + 1 - first,
                        float(np.median(bits[first : last + 1])),
                        spatial_share=round(float(np.median(share[first : last + 1])), 4),
                    )
                )
    return without_overlap(found)


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
