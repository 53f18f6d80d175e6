"""One video against another one, as a scan would compare them were the other alone known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from videonovelty.grouping import as_known, local_of
from videonovelty.judging import explained, judge_video
from videonovelty.known.shards import LocalCodes, ShardCodes, VideoIds
from videonovelty.lookup import raw_ids
from videonovelty.matching.candidates import collect_codes, match_shard, rank_candidates
from videonovelty.matching.local_candidates import collect_local_codes, match_local_shard, rank_local_candidates
from videonovelty.matching.stretch import KnownSide, Stretch, without_overlap
from videonovelty.records import SignedVideo, Verdict, thinned
from videonovelty.settings import Settings


def compared(query: SignedVideo, by: SignedVideo, settings: Settings) -> tuple[list[Stretch], Verdict]:
    """Return the stretches of `query` that lie on `by`, in time order, not overlapping, and the verdict they come to.

    Two rounds, as in a scan: whole pictures, and by local descriptors what those do not fully explain.
    """
    ids = VideoIds(raw_ids([by.signatures.video_id]))
    frames, local = as_known(by), local_of(by)
    shard = ShardCodes(
        video_ids=ids,
        video_index=np.zeros(len(frames.pts_seconds), np.int32),
        seconds=frames.pts_seconds,
        pdq=frames.pdq,
        pdq_inner=frames.pdq_inner,
        has_inner=by.signatures.has_inner,
        quality=frames.quality,
        informative=frames.informative,
    )
    hits = match_shard(shard, collect_codes([query.signatures]), settings.matching)
    (candidates,) = rank_candidates(
        [hits], [len(query.signatures.pts_seconds)], n_known_videos=1, settings=settings.matching
    )
    side = KnownSide(frames, thinned(by.signatures.motion), read_local=lambda: local)
    sides = {by.signatures.video_id: side}
    stretches = explained(query, candidates, (), sides, settings)
    verdict = judge_video(query, stretches, candidates.common, settings)
    if verdict.verdict != "known" and settings.signatures.local and local is not None:
        counts = np.diff(local.features.offsets)
        codes = LocalCodes(
            ids, np.zeros(int(counts.sum()), np.int32), np.repeat(local.seconds, counts), local.features.codes
        )
        found = match_local_shard(codes, collect_local_codes([query.signatures]), settings.matching)
        (by_local,) = rank_local_candidates([found], 1, settings.matching)
        if by_local:
            sides = {by.signatures.video_id: replace(side, local=local)}
            stretches = explained(query, candidates, by_local, sides, settings)
            verdict = judge_video(query, stretches, candidates.common, settings)
    return without_overlap(stretches), verdict
