"""Align a query with a candidate: which stretches of it lie on a line through the known video, and what proves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.proof import Proof, TickEvidence, best_offset, evidence_on_line, holding, prove
from videonovelty.matching.timeline import Line, correlate_motion, lines_through_matches
from videonovelty.records import F64, U8, KnownFrames, MotionProfile, Signatures
from videonovelty.settings import MatchingSettings, ProofSettings
from videonovelty.signatures.motion import LAG_SECONDS, turned
from videonovelty.signatures.pdq import MIRRORED

MAX_LINES = 6
SNAP_SECONDS = 0.6
"""A stretch that ends this close to a keyframe's boundary ends there."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """`[start_seconds, end_seconds)` of a query that lies on `line` through a known video."""

    known_video_id: str
    line: Line
    start_seconds: float
    end_seconds: float
    proof: Proof
    frames: int
    median_distance_bits: float | None
    spatial_share: float = 1.0
    inliers: int | None = None

    @property
    def mirrored(self) -> bool:
        """The query shows the known video with reversed handedness."""
        return bool(MIRRORED[self.line.variant])


def align(
    query: Signatures,
    known: KnownFrames,
    known_motion: MotionProfile | None,
    *,
    variants: Sequence[int],
    common: npt.NDArray[np.bool_],
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return the stretches of `query` that lie on a line through `known`, in time order, not overlapping.

    `variants` are the dihedral variants to try, most likely first. `common`, shape (n_keyframes,), marks keyframes of
    the query that are common material: they neither vote nor count. A stretch without enough evidence in time has
    `proof.proven` False: the same scene, not the same footage.
    """
    useful = query.informative & ~common
    frames_useful = known.informative
    if not useful.any() or not frames_useful.any():
        return []
    stretches: list[Stretch] = []
    for variant in variants:
        distance = keyframe_distances(query, known, variant)
        distance[~useful] = 256
        distance[:, ~frames_useful] = 256
        motion = MotionProfile(query.motion.step_seconds, query.motion.activity, turned(query.motion.signs, variant))
        for line in _proposed_lines(query, motion, known, known_motion, distance, variant, matching, proof):
            stretches += _stretches_on(line, query, useful, motion, known, known_motion, distance, matching, proof)
    return _without_overlap(stretches)


def keyframe_distances(query: Signatures, known: KnownFrames, variant: int) -> npt.NDArray[np.int16]:
    """Return PDQ distances, shape (n_query, n_known), the least over full and border-removed pictures of both sides."""
    distance = _hamming(query.pdq[:, variant], known.pdq)
    if query.has_inner.any():
        distance = np.minimum(distance, _hamming(query.pdq_inner[:, variant], known.pdq))
    if not np.array_equal(known.pdq, known.pdq_inner):
        distance = np.minimum(distance, _hamming(query.pdq[:, variant], known.pdq_inner))
        if query.has_inner.any():
            distance = np.minimum(distance, _hamming(query.pdq_inner[:, variant], known.pdq_inner))
    return distance


def _hamming(one: U8, other: U8) -> npt.NDArray[np.int16]:
    left, right = np.ascontiguousarray(one).view(np.uint64), np.ascontiguousarray(other).view(np.uint64)
    total = np.zeros((len(left), len(right)), np.int16)
    for word in range(left.shape[1]):
        total += np.bitwise_count(left[:, word, None] ^ right[None, :, word])
    return total


def _proposed_lines(
    query: Signatures,
    motion: MotionProfile,
    known: KnownFrames,
    known_motion: MotionProfile | None,
    distance: npt.NDArray[np.int16],
    variant: int,
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Line]:
    """Return lines worth a look: through the keyframes, each moved to where the motion agrees, and by motion alone."""
    lines = lines_through_matches(
        query.pts_seconds,
        known.pts_seconds,
        distance,
        variant=variant,
        radius_bits=proof.aligned_bits,
        speeds=matching.speeds,
        tolerance_seconds=matching.time_tolerance_seconds,
        count=MAX_LINES,
    )
    if known_motion is None or len(known_motion.signs) == 0 or not lines:
        return lines
    moved: list[Line] = []
    for line in lines:
        on_line = _near_line(query.pts_seconds, known.pts_seconds, distance, line, matching, proof.aligned_bits)
        times = query.pts_seconds[on_line] if on_line.any() else query.pts_seconds
        stretch = (float(times[0]) - 2.0, float(times[-1]) + 2.0)
        moved.append(
            best_offset(motion, known_motion, line, stretch=stretch, reach_seconds=proof.offset_search_seconds)
        )
    # A still background matches at any offset: there the movement tells the time, at the speeds the matches voted for.
    for speed in {line.speed for line in lines[:2]} | {1.0}:
        correlation = correlate_motion(motion, known_motion, speed=speed, least_ticks=8)
        for offset, agreement in correlation.peaks(3, least_events=proof.min_events, apart_seconds=1.0):
            if agreement >= proof.min_sign_agreement and all(
                other.speed != speed or abs(other.offset_seconds - offset) > 0.25 for other in moved
            ):
                moved.insert(0, Line(speed, offset, variant, agreement))
    return moved


def _near_line(
    query_seconds: F64,
    known_seconds: F64,
    distance: npt.NDArray[np.int16],
    line: Line,
    matching: MatchingSettings,
    radius_bits: int,
) -> npt.NDArray[np.bool_]:
    gap = np.abs(line.known_seconds(query_seconds)[:, None] - known_seconds[None, :])
    reach = matching.time_tolerance_seconds * max(1.0, line.speed)
    return np.asarray(((gap <= reach) & (distance <= radius_bits)).any(axis=1))


def aligned_distance(
    query_seconds: F64, known: KnownFrames, distance: npt.NDArray[np.int16], line: Line, reach_seconds: float
) -> npt.NDArray[np.int16]:
    """Return, shape (n_query,), each keyframe's least distance to what the known video shows at the aligned moment.

    That is the known keyframe standing for the moment, and those within `reach_seconds`; −1 where the line is outside
    the known video or the known keyframes there are uninformative.
    """
    at = line.known_seconds(query_seconds)
    order = np.searchsorted(known.pts_seconds, at + 1e-6, side="right") - 1
    standing = np.arange(len(known.pts_seconds))[None, :] == order[:, None]
    near = np.abs(at[:, None] - known.pts_seconds[None, :]) <= reach_seconds
    candidates = (standing | near) & known.informative[None, :]
    least = np.where(candidates, distance, 300).min(axis=1).astype(np.int16)
    last = float(known.pts_seconds[-1]) + 2.0
    return np.where((least > 256) | (at < -0.5) | (at > last), np.int16(-1), least)


def _stretches_on(
    line: Line,
    query: Signatures,
    useful: npt.NDArray[np.bool_],
    motion: MotionProfile,
    known: KnownFrames,
    known_motion: MotionProfile | None,
    distance: npt.NDArray[np.int16],
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    reach = matching.time_tolerance_seconds * max(1.0, line.speed)
    aligned = aligned_distance(query.pts_seconds, known, distance, line, reach)
    if known_motion is None or len(known_motion.signs) == 0:
        return _unproven_stretches(line, query, useful, known, aligned, matching)
    evidence = evidence_on_line(motion, known_motion, line)
    moves_alike = _moves_alike(query.pts_seconds, evidence, proof)
    scores = _keyframe_scores(aligned, moves_alike, proof)
    counted = useful & (aligned >= 0)
    path = holding(
        evidence,
        query.pts_seconds[counted],
        scores[counted],
        expected=proof.expected_agreement,
        switch_cost=proof.switch_cost,
    )
    found: list[Stretch] = []
    for first, last in _runs(path):
        start, end = _snapped(evidence.query_seconds[first], evidence.query_seconds[last], evidence.step_seconds, query)
        if evidence.query_seconds[first] <= LAG_SECONDS / line.speed + 1e-6:
            start = max(0.0, min(start, -line.offset_seconds / line.speed))
        inside = counted & (query.pts_seconds >= start - 1e-6) & (query.pts_seconds < end)
        like = inside & (aligned <= proof.aligned_bits)
        if int(like.sum()) < min(matching.min_matched_keyframes, max(1, int(counted.sum()))):
            continue
        # a stretch ends where its pictures or its movement last agree
        start, end = _within_matches(start, end, query, inside, like | moves_alike)
        bits = float(np.median(aligned[inside]))
        result = prove(motion, known_motion, line, start, end, bits, proof)
        if result.proven and (inside & ~moves_alike & (aligned > proof.unlike_bits)).any():
            result = replace(result, proven=False, why_not="a picture in it shows something else")
        if result.proven:
            start, end = _without_still_ends(start, end, evidence, query, aligned, like, proof)
        found.append(Stretch(known.video_id, line, start, end, result, int(like.sum()), bits))
    return found


def _moves_alike(query_seconds: F64, evidence: TickEvidence, proof: ProofSettings) -> npt.NDArray[np.bool_]:
    """Return for each keyframe whether the movement around it agrees by itself.

    In fast movement two encodings sample pictures some hundredths of a second apart and PDQ already differs by half its
    bits; there the movement speaks, as the pictures do where nothing moves.
    """
    at = evidence.query_seconds
    first = np.searchsorted(at, query_seconds - proof.around_seconds)
    last = np.searchsorted(at, query_seconds + proof.around_seconds)

    def around(values: F64) -> F64:
        total = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray(total[last] - total[first])

    events = np.sqrt(around(evidence.query_changes) * around(evidence.known_changes))
    agreement = around(evidence.agree) / np.maximum(events, 1.0)
    return (events >= proof.around_events) & (agreement >= proof.around_agreement)


def _keyframe_scores(aligned: npt.NDArray[np.int16], moves_alike: npt.NDArray[np.bool_], proof: ProofSettings) -> F64:
    """Return what each keyframe adds, in agreeing changes: like its aligned moment, unlike, or in between."""
    score = np.zeros(len(aligned))
    score[aligned <= proof.aligned_bits] = 0.5 * proof.switch_cost
    score[aligned <= 31] = proof.switch_cost  # PDQ's recommended threshold
    unlike = (aligned > proof.aligned_bits) & ~moves_alike
    score[unlike] = -1.0 * proof.switch_cost
    score[unlike & (aligned > proof.unlike_bits)] = -3.0 * proof.switch_cost
    return score


def _unproven_stretches(
    line: Line,
    query: Signatures,
    useful: npt.NDArray[np.bool_],
    known: KnownFrames,
    aligned: npt.NDArray[np.int16],
    matching: MatchingSettings,
) -> list[Stretch]:
    """Return the runs of matched keyframes on the line, where the known side has no motion profile to prove by."""
    like = useful & (aligned >= 0) & (aligned <= 31)
    found = []
    for first, last in _runs(like | ~useful):
        frames = int(like[first : last + 1].sum())
        if frames < matching.min_matched_keyframes:
            continue
        bits = float(np.median(aligned[first : last + 1][like[first : last + 1]]))
        start, end = float(query.start_seconds[first]), float(query.end_seconds[last])
        result = Proof(False, end - start, 0.0, 0.0, 0.0, "the known side has no motion profile")
        found.append(Stretch(known.video_id, line, start, end, result, frames, bits))
    return found


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _snapped(first: float, last: float, step: float, query: Signatures) -> tuple[float, float]:
    """Return the stretch of ticks first … last as times, moved to a keyframe boundary where one is close."""
    begins = query.start_seconds
    near = begins[(begins >= first - SNAP_SECONDS) & (begins <= first + 1e-6)]
    start = float(near[-1]) if len(near) else max(float(begins[0]), first - LAG_SECONDS / 2)
    ends = query.end_seconds
    near = ends[(ends >= last) & (ends <= last + SNAP_SECONDS)]
    end = float(near[0]) if len(near) else min(float(ends[-1]), last + step)
    return start, max(end, start)


def _within_matches(
    start: float, end: float, query: Signatures, inside: npt.NDArray[np.bool_], like: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the stretch cut back to where its first and last comparable keyframes look alike."""
    index = np.flatnonzero(inside)
    first, last = np.flatnonzero(like)[[0, -1]]
    if index[0] != first:
        start = max(start, float(query.start_seconds[first]))
    if index[-1] != last:
        end = min(end, float(query.end_seconds[last]))
    return start, max(start, end)


def _without_still_ends(
    start: float,
    end: float,
    evidence: TickEvidence,
    query: Signatures,
    aligned: npt.NDArray[np.int16],
    like: npt.NDArray[np.bool_],
    proof: ProofSettings,
) -> tuple[float, float]:
    """Return the stretch without still ends that the pictures do not show to be the same: stillness proves nothing."""
    moving = (evidence.query_changes + evidence.known_changes > 0) & (evidence.query_seconds >= start)
    moving &= evidence.query_seconds < end
    if not moving.any():
        return start, end
    times = evidence.query_seconds[moving]
    before = like & (query.pts_seconds < times[0])
    if times[0] - start > proof.max_still_seconds and not _all_near(before, aligned, proof):
        start = float(times[0]) - proof.max_still_seconds
    after = like & (query.pts_seconds > times[-1])
    if end - times[-1] > proof.max_still_seconds and not _all_near(after, aligned, proof):
        end = float(times[-1]) + proof.max_still_seconds
    return start, end


def _all_near(which: npt.NDArray[np.bool_], aligned: npt.NDArray[np.int16], proof: ProofSettings) -> bool:
    return bool(which.any()) and bool((aligned[which] <= proof.near_bits).all())


def _without_overlap(stretches: list[Stretch]) -> list[Stretch]:
    """Return the best stretches that do not overlap: proven before unproven, then the better evidence."""

    def rank(stretch: Stretch) -> tuple[bool, float]:
        seconds = stretch.end_seconds - stretch.start_seconds
        return (stretch.proof.proven, seconds * max(stretch.proof.agreement, 0.1) + 0.1 * stretch.frames)

    kept: list[Stretch] = []
    for stretch in sorted(stretches, key=rank, reverse=True):
        pieces = [(stretch.start_seconds, stretch.end_seconds)]
        for other in kept:
            pieces = [
                piece
                for a, b in pieces
                for piece in ((a, min(b, other.start_seconds)), (max(a, other.end_seconds), b))
                if piece[1] - piece[0] > 1e-6
            ]
        for a, b in pieces:
            if b - a >= 0.5 or (a, b) == (stretch.start_seconds, stretch.end_seconds):
                kept.append(
                    Stretch(
                        stretch.known_video_id, stretch.line, a, b, stretch.proof, stretch.frames,
                        stretch.median_distance_bits, stretch.spatial_share, stretch.inliers,
                    )
                )  # fmt: skip
    return sorted(kept, key=lambda stretch: stretch.start_seconds)
