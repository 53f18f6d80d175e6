"""One video against another one, as a scan would compare them were the other alone known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from videonovelty.grouping import local_of, side_of
from videonovelty.judging import RoundResult, explained, judge_in_rounds, judge_video
from videonovelty.known.shards import LocalCodes, ShardCodes, VideoIds
from videonovelty.lookup import raw_ids
from videonovelty.matching.candidates import Candidates, collect_codes, match_shard, rank_candidates
from videonovelty.matching.local_candidates import (
    LocalCandidate,
    collect_local_codes,
    match_local_shard,
    rank_local_candidates,
)
from videonovelty.matching.stretch import Stretch, without_overlap
from videonovelty.records import Signatures, SignedVideo, Verdict
from videonovelty.settings import Settings


def compared(query: SignedVideo, by: SignedVideo, settings: Settings) -> tuple[list[Stretch], Verdict]:
    """Return the stretches of `query` that lie on `by`, in time order without overlap, and the verdict on it."""
    search = _Search(query, by, settings)
    (verdict,) = judge_in_rounds([query.signatures], search, local=settings.signatures.local)
    return without_overlap(search.stretches), verdict


class _Search:
    """One video known to nobody but this search, and the stretches of the round judged last."""

    def __init__(self, query: SignedVideo, by: SignedVideo, settings: Settings) -> None:
        self._query, self._by, self._settings = query, by, settings
        self._local = local_of(by)
        self._side = replace(side_of(by), local=self._local)
        self._ids = VideoIds(raw_ids([by.signatures.video_id]))
        self.stretches: list[Stretch] = []

    def by_pdq(self, batch: Sequence[Signatures]) -> list[Candidates]:
        """Return the candidates of the query, whole pictures compared."""
        frames = self._side.frames
        shard = ShardCodes(
            video_ids=self._ids,
            video_index=np.zeros(len(frames.pts_seconds), np.int32),
            seconds=frames.pts_seconds,
            pdq=frames.pdq,
            pdq_inner=frames.pdq_inner,
            has_inner=self._by.signatures.has_inner,
            quality=frames.quality,
            informative=frames.informative,
        )
        hits = match_shard(shard, collect_codes(batch), self._settings.matching)
        keyframes = [len(one.pts_seconds) for one in batch]
        return rank_candidates([hits], keyframes, n_known_videos=1, settings=self._settings.matching)

    def by_local(self, batch: Sequence[Signatures]) -> list[tuple[LocalCandidate, ...]]:
        """Return the candidates of the query by its local descriptors."""
        if self._local is None:
            return [() for _ in batch]
        counts = np.diff(self._local.features.offsets)
        codes = LocalCodes(
            self._ids,
            np.zeros(int(counts.sum()), np.int32),
            np.repeat(self._local.seconds, counts),
            self._local.features.codes,
        )
        found = match_local_shard(codes, collect_local_codes(batch), self._settings.matching)
        return rank_local_candidates([found], len(batch), self._settings.matching)

    def judge(
        self,
        batch: Sequence[Signatures],
        candidates: Sequence[Candidates],
        local: Sequence[tuple[LocalCandidate, ...]],
        earlier: Sequence[RoundResult],  # noqa: ARG002
    ) -> list[RoundResult]:
        """Return what becomes of the query."""
        results = []
        sides = {self._by.signatures.video_id: self._side}
        for _, found, by_local in zip(batch, candidates, local or [()] * len(batch), strict=True):
            self.stretches = explained(self._query, found, by_local, sides, self._settings)
            results.append(RoundResult(judge_video(self._query, self.stretches, found.common, self._settings)))
        return results
