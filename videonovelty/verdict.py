"""The verdict: what the segments of a video say as a whole. Only proof clears; every doubt goes to a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from videonovelty.errors import Reason
from videonovelty.records import UNCLEAR, Coverage, Segment, Signatures, Verdict
from videonovelty.settings import VerdictSettings


def proven_undecoded(
    video_id: str, reason: Reason, duration_seconds: float, segments: Sequence[Segment], *, best_known_id: str
) -> Verdict:
    """Return the verdict `known` on a video whose bytes or packets are known ones: nothing of it was decoded."""
    return Verdict(
        video_id=video_id,
        verdict="known",
        reason=reason,
        novelty=0.0,
        novel_seconds=0.0,
        known_seconds=duration_seconds,
        uninformative_seconds=0.0,
        duration_seconds=duration_seconds,
        decoded_seconds=0.0,
        longest_unseen_seconds=0.0,
        keyframes=0,
        best_known_id=best_known_id,
        segments=tuple(segments),
    )


def segment_by_bytes(start: float, end: float, known_video_id: str, *, offset_seconds: float) -> Segment:
    """Return `[start, end)` of a video, proven by bytes; `offset_seconds` is known time minus query time."""
    return Segment(
        round(start, 3),
        round(end, 3),
        "known",
        known_video_id=known_video_id,
        known_start_seconds=round(start + offset_seconds, 3),
        known_end_seconds=round(end + offset_seconds, 3),
        speed=1.0,
        mirrored=False,
        spatial_share=1.0,
        proof="bytes",
    )


def judge(
    signatures: Signatures, coverage: Coverage, segments: Sequence[Segment], settings: VerdictSettings
) -> Verdict:
    """Return the verdict for a video from its segments.

    `known` needs: all of it decoded, no stretch unseen for longer than `max_unseen_seconds`, every informative second
    proven, enough of it informative, and the known footage filling the picture.
    """
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        seconds[segment.kind] += segment.end_seconds - segment.start_seconds
    informative = seconds["known"] + seconds["same_scene"] + seconds["novel"]
    unknown = seconds["same_scene"] + seconds["novel"]
    verdict, reason = _verdict(signatures, coverage, segments, seconds, informative, settings)
    comparable = verdict != "not_comparable" and informative > 0
    return Verdict(
        video_id=signatures.video_id,
        verdict=verdict,
        reason=reason,
        novelty=round(unknown / informative, 4) if comparable else None,
        novel_seconds=round(unknown, 3),
        known_seconds=round(seconds["known"], 3),
        uninformative_seconds=round(seconds["uninformative"], 3),
        duration_seconds=round(coverage.duration_seconds, 3),
        decoded_seconds=round(coverage.decoded_seconds, 3),
        longest_unseen_seconds=round(coverage.longest_unseen_seconds, 3),
        keyframes=len(signatures.pts_seconds),
        best_known_id=_best_known(segments),
        segments=tuple(segments),
    )


def _verdict(
    signatures: Signatures,
    coverage: Coverage,
    segments: Sequence[Segment],
    seconds: dict[str, float],
    informative: float,
    settings: VerdictSettings,
) -> tuple[str, Reason]:
    missed = seconds["undecoded"] > 1e-6 or coverage.longest_unseen_seconds > settings.max_unseen_seconds
    whole = coverage.duration_seconds
    known = [segment for segment in segments if segment.kind == "known"]
    explained = seconds["known"] >= settings.min_known_share * informative - 1e-6
    if known and explained:
        if missed:
            return "not_comparable", Reason.HOLDS_MORE if coverage.left_out else _why_missed(coverage)
        if min(segment.spatial_share or 0.0 for segment in known) < settings.min_spatial_share:
            return "partly_known", Reason.PLAYS_INSIDE_FRAME
        if seconds["uninformative"] > settings.max_uninformative_share * whole:
            return "partly_known", Reason.UNINFORMATIVE
        return "known", Reason.PROVEN_BY_TIME
    if known:
        return "partly_known", Reason.PARTS_EXPLAINED
    if seconds["same_scene"] > 0:
        return "same_scene", Reason.NOT_PROVEN
    if int(signatures.informative.sum()) == 0:
        return "not_comparable", _why_missed(coverage) if missed else Reason.UNINFORMATIVE
    if int(signatures.informative.sum()) < settings.min_informative_keyframes:
        return "not_comparable", Reason.TOO_SHORT
    if seconds["undecoded"] > 0.5 * whole:
        return "not_comparable", _why_missed(coverage)
    if informative <= 0:
        return "not_comparable", Reason.UNINFORMATIVE
    return "novel", Reason.NOTHING_EXPLAINED


def _why_missed(coverage: Coverage) -> Reason:
    return Reason.PARTLY_DECODED if set(UNCLEAR).isdisjoint(coverage.notes) else Reason.UNCLEAR


def _best_known(segments: Sequence[Segment]) -> str | None:
    """Return the known video that explains most; proven footage weighs more than any likeness."""
    weight: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for segment in segments:
        if segment.known_video_id is not None:
            length = segment.end_seconds - segment.start_seconds
            proven, alike = weight[segment.known_video_id]
            weight[segment.known_video_id] = (proven + length * (segment.proof != "none"), alike + length)
    return max(sorted(weight), key=lambda video_id: weight[video_id]) if weight else None
