"""Align a query with a candidate: which stretches of it lie on a line through the known video, and what proves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from videonovelty.matching.backwards import as_played, backwards, lines_backwards, pairs_backwards, turning_seconds
from videonovelty.matching.details import with_details
from videonovelty.matching.distances import (
    FAR,
    NOTHING,
    aligned_distance,
    keyframe_distances,
    margins_elsewhere,
)
from videonovelty.matching.faint import faint_keyframes, known_faint_times
from videonovelty.matching.in_place import InPlaces
from videonovelty.matching.level_proof import with_levels
from videonovelty.matching.levels import Levels, shown_whole
from videonovelty.matching.local_evidence import NOT_LOOKED, LocalPair, LocalPairs
from videonovelty.matching.picture_details import with_picture_details
from videonovelty.matching.proof import (
    PictureEvidence,
    Proof,
    TickEvidence,
    Window,
    best_offset,
    evidence_on_line,
    holding,
    movement_around,
    moves_otherwise_somewhere,
    prove,
    tells_the_moment,
)
from videonovelty.matching.proposals import Alignment, lines_at_speeds, proposed_lines
from videonovelty.matching.region import motion_in_region
from videonovelty.matching.second_look import all_done_again, second_look
from videonovelty.matching.small_changes import lines_by_small_changes, with_small_changes
from videonovelty.matching.strangers import put_in, strange_times, without_strangers
from videonovelty.matching.stretch import KnownSide, Stretch, runs, without_overlap
from videonovelty.matching.surroundings import with_surroundings
from videonovelty.matching.timeline import Line
from videonovelty.records import (
    F64,
    MOVES_OTHERWISE,
    PART_MOVES,
    PLAIN_AS_GOOD,
    SOMETHING_ELSE,
    MotionProfile,
    Signatures,
)
from videonovelty.settings import MatchingSettings, ProofSettings
from videonovelty.signatures.motion import LAG_SECONDS, turned
from videonovelty.signatures.pdq import MIRRORED

I16 = npt.NDArray[np.int16]
Bool = npt.NDArray[np.bool_]

SAME_SPEED = 0.04
"""Stretches whose speeds differ by at most this share of them are at one speed."""
PLAIN_PREFERRED = 0.9
"""What a second explained at another speed counts, against one at the plain speed."""
CONTRADICTED_TICK = 3.0
"""What a tick costs, in agreeing changes, around which the movement contradicts the line."""
LEAST_MOVEMENT = 0.5
"""Changes of both sides below which a tick is still."""
SNAP_SECONDS = 0.6
"""A stretch that ends this close to a keyframe's boundary ends there."""


def align(
    query: Signatures,
    known: KnownSide,
    *,
    variants: Sequence[int],
    common: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
    aspect: float = 1.0,
    local_pairs: npt.NDArray[np.float64] | None = None,
) -> list[Stretch]:
    """Return the stretches of `query` that lie on a line through `known`, in time order, not overlapping.

    `variants` are the dihedral variants to try, most likely first. `common`, shape (n_keyframes,), marks keyframes of
    the query that are common material: they neither vote nor count. `aspect` is the query's width over height;
    `local_pairs`, rows (query keyframe, known seconds), what the descriptor join proposed. A stretch without enough
    evidence in time has `proof.proven` False: the same scene, not the same footage.

    What is left of the query is sought backwards as well. Stretches proven there, pictures shown whole only, have a
    line of negative speed, and may overlap the others.
    """
    useful = query.informative & ~common
    if not useful.any() or not known.frames.informative.any():
        return []
    pairs = LocalPairs(query, known.descriptors, aspect)
    found = _one_way(query, known, pairs, variants, common, matching, proof, local_pairs)
    left = useful.copy()
    for one in found:
        if one.proof.proven:
            left &= (query.pts_seconds < one.start_seconds - 1e-6) | (query.pts_seconds >= one.end_seconds)
    if not matching.backwards or known.motion is None or not left.any():
        return found
    lines = lines_backwards(query, known.motion, variants, left)
    if not lines:
        return found
    other, at = backwards(query), turning_seconds(query)
    proposed = None if local_pairs is None else pairs_backwards(local_pairs, len(common))
    pairs = LocalPairs(other, known.descriptors, aspect)
    for one in _one_way(other, known, pairs, variants, common[::-1], matching, proof, proposed, lines):
        if one.proof.proven and _shown_whole(one, pairs):
            found.append(as_played(one, at))
    return sorted(found, key=lambda one: one.start_seconds)


def _one_way(
    query: Signatures,
    known: KnownSide,
    pairs: LocalPairs,
    variants: Sequence[int],
    common: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
    local_pairs: npt.NDArray[np.float64] | None,
    others: Sequence[Line] = (),
) -> list[Stretch]:
    """Return what `align` does, of a query as it is played.

    `pairs` are the descriptors of both; `others` are lines to try besides those proposed.
    """
    useful, faint = query.informative & ~common, faint_keyframes(query) & ~common
    stretches: list[Stretch] = []
    turned_motion: dict[int, MotionProfile] = {}
    for variant in variants:
        alignment = _prepared(query, known, pairs, variant, useful, faint, matching, proof, local_pairs)
        turned_motion[variant] = alignment.motion
        lines = proposed_lines(alignment, [line for line in others if line.variant == variant])
        for one in (alignment, *_in_region(alignment, lines)):
            proposed = lines if one is alignment else proposed_lines(one)
            for line in proposed:
                stretches += _stretches_on(one, line)
            for line in lines_at_speeds(one, proposed, stretches):
                stretches += [found for found in _stretches_on(one, line) if _is_sped(found, proof)]
        alike = _alike_somewhere(alignment)
        for line in _lines_left(alignment, alike, stretches):
            stretches += _stretches_on(alignment, line)
        stretches += alike
    parts = [
        piece
        for stretch in without_overlap(_at_one_speed(stretches))
        for part in second_look(query, turned_motion[stretch.line.variant], stretch, known, pairs, matching, proof)
        for alone in with_surroundings(part, query, known, pairs)
        for piece in with_picture_details(with_details(alone, pairs, proof), pairs, proof)
    ]
    return [piece for part in all_done_again(parts) for piece in without_strangers(part)]


def _lines_left(a: Alignment, alike: Sequence[Stretch], found: Sequence[Stretch]) -> list[Line]:
    """Return lines by small changes where pictures look alike and nothing is proven yet."""
    if a.known.motion is None:
        return []
    at, left = a.query.pts_seconds, np.zeros(len(a.query.pts_seconds), np.bool_)
    for one in alike:
        if not one.rests_on_placement:
            left |= (at >= one.start_seconds - 1e-6) & (at < one.end_seconds)
    for one in found:
        if one.proof.proven:
            left &= (at < one.start_seconds - 1e-6) | (at >= one.end_seconds)
    return lines_by_small_changes(a.motion, a.known.motion, a.variant, at[left], a.proof)


def _shown_whole(stretch: Stretch, pairs: LocalPairs) -> bool:
    """Return whether a stretch shows the whole known picture in its size, as one that rests on no placement does."""
    if not stretch.rests_on_placement:
        return True
    pair = pairs.of(mirrored=stretch.mirrored)
    compared = None if pair is None else InPlaces(pair).of(stretch)
    return compared is not None and compared.shows_all


def _prepared(
    query: Signatures,
    known: KnownSide,
    descriptors: LocalPairs,
    variant: int,
    useful: Bool,
    faint: Bool,
    matching: MatchingSettings,
    proof: ProofSettings,
    local_pairs: npt.NDArray[np.float64] | None,
) -> Alignment:
    distance = keyframe_distances(query, known.frames, variant)
    distance[~useful] = FAR
    distance[:, ~known.frames.informative] = FAR
    motion = turned(query.motion, variant)
    local: LocalPair | None = None
    pairs: tuple[tuple[int, float, int], ...] = ()
    mirrored = bool(MIRRORED[variant])
    if known.local is not None and len(query.local.codes) and (not mirrored or len(query.local.mirrored_codes)):
        local = descriptors.of(mirrored=mirrored)
        if local is not None and local_pairs is not None:
            pairs = tuple(pair for pair in local.pairs(local_pairs, proof) if useful[pair[0]])
    between = put_in(query, proof) & (useful | faint)
    return Alignment(query, known, variant, useful, faint, between, distance, motion, local, pairs, matching, proof)


def _in_region(a: Alignment, lines: Sequence[Line]) -> list[Alignment]:
    """Return the alignment with the movement of that part of the known picture only which the query shows, if any."""
    if a.local is None or a.known.local is None or a.known.motion is None:
        return []
    region = motion_in_region(
        a.query.motion,
        a.local.aspect,
        a.local.matches([(keyframe, seconds) for keyframe, seconds, _ in a.by_local]),
        a.known.frames,
        a.known.local,
        a.known.motion,
        lines,
        mirrored=a.local.mirrored,
    )
    if region is None:
        return []
    return [replace(a, motion=region.query, known=replace(a.known, motion=region.known), region=region.shown)]


# ---------------------------------------------------------------------------------------------------------------------
# What the keyframes say on a line


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    """How the query's keyframes look against the moments a line aligns them with."""

    bits: I16
    """Shape (n_query,): PDQ distance, lowered where the geometry agrees; `NOTHING` where nothing can be said."""
    inliers: npt.NDArray[np.int64]
    share: F64
    rests_on_geometry: bool
    """PDQ does not see the likeness: a crop, a frame around it, a picture in a picture."""


def _pictures_on(a: Alignment, line: Line) -> _Pictures:
    bits = aligned_distance(a.query.pts_seconds, a.known.frames, a.distance, line, a.reach_seconds(line))
    n = len(bits)
    nothing = _Pictures(bits, np.full(n, NOT_LOOKED, np.int64), np.zeros(n), rests_on_geometry=False)
    counted = a.useful & (bits >= 0)
    seen = counted & (bits <= a.proof.aligned_bits)
    likely = counted & ~a.put_in
    if a.local is None or not a.by_local or int((seen & likely).sum()) >= 0.5 * max(1, int(likely.sum())):
        return nothing
    inliers, share = a.local.inliers_on(line.known_seconds(a.query.pts_seconds), a.reach_seconds(line))
    outside = bits < 0
    inliers[outside] = NOT_LOOKED
    bits = bits.copy()
    verified = inliers >= a.proof.min_inliers
    bits[verified] = np.minimum(bits[verified], a.proof.geometric_bits)
    # neither the whole picture nor enough descriptors: the keyframe has nothing to say here
    bits[~verified & (inliers != 0) & (bits > a.proof.aligned_bits)] = NOTHING
    return _Pictures(bits, inliers, share, rests_on_geometry=True)


def _keyframe_scores(bits: I16, alike: Bool, against: Bool, proof: ProofSettings) -> F64:
    """Return what each keyframe adds, in agreeing changes: like its aligned moment, unlike, or in between."""
    score = np.zeros(len(bits))
    score[bits <= proof.aligned_bits] = 0.5 * proof.switch_cost
    score[bits <= 31] = proof.switch_cost  # PDQ's recommended threshold
    unlike = (bits > proof.aligned_bits) & ~alike
    score[unlike] = -1.0 * proof.switch_cost
    score[against] = -1.0 * proof.switch_cost
    score[unlike & (bits > proof.unlike_bits)] = -3.0 * proof.switch_cost
    return score


# ---------------------------------------------------------------------------------------------------------------------
# Stretches


def _stretches_on(a: Alignment, line: Line) -> list[Stretch]:
    pictures = _pictures_on(a, line)
    known_motion = a.known.motion
    if known_motion is None or len(known_motion.signs) == 0:
        return _unproven_stretches(a, line, pictures)
    evidence = evidence_on_line(a.motion, known_motion, line)
    around = movement_around(a.query.pts_seconds, evidence, a.proof)
    # a picture of something else is excused by its own movement alone, not by that of the footage around it; for the
    # length of the lag after it, changes are changes from it
    own = (a.query.start_seconds, a.query.end_seconds + LAG_SECONDS / line.speed)
    unlike = pictures.bits > a.proof.unlike_bits
    by_itself = movement_around(a.query.pts_seconds, evidence, a.proof, within=own)
    moves_alike = around.alike & (~unlike | by_itself.alike)
    scores = _keyframe_scores(pictures.bits, moves_alike, around.against, a.proof)
    counted = a.useful & (pictures.bits >= 0)
    contradicted = movement_around(evidence.query_seconds, evidence, a.proof).against
    path = holding(
        evidence,
        a.query.pts_seconds[counted],
        scores[counted],
        expected=a.proof.expected_agreement,
        switch_cost=a.proof.switch_cost,
        penalty=np.where(contradicted, CONTRADICTED_TICK, 0.0),
    )
    found = []
    for first, last in runs(path):
        start, end = _snapped(
            evidence.query_seconds[first], evidence.query_seconds[last], evidence.step_seconds, a.query
        )
        if evidence.query_seconds[first] <= LAG_SECONDS / line.speed + 1e-6:
            start = max(0.0, min(start, -line.offset_seconds / line.speed))
        stretch = _tested(a, line, start, end, counted, pictures, moves_alike, evidence)
        if stretch is not None:
            found.append(stretch)
    stretches = _widened(a, line, found, pictures, counted)
    if not stretches:
        return []
    reach = a.reach_seconds(line)
    unlike = (unlike & counted) | a.put_in
    if not pictures.rests_on_geometry:
        unlike |= a.faint
    strangers = strange_times(a.query, a.known.frames, line, reach, unlike=unlike, movement=by_itself, proof=a.proof)
    faint = known_faint_times(a.query, a.faint, a.known.frames, line, reach, a.proof)
    return [replace(stretch, strangers=strangers, faint=faint) for stretch in stretches]


def _widened(a: Alignment, line: Line, found: list[Stretch], pictures: _Pictures, counted: Bool) -> list[Stretch]:
    """Return the stretches on a line with what levels add to them, where they can."""
    if pictures.rests_on_geometry if a.region is None else line.speed != 1.0:
        return found
    asked = partial(with_levels, cells=None if a.region is None else shown_whole(a.region))
    widened = list(found)
    for add in (asked, with_small_changes) if a.region is None else (asked,):
        widened = add(
            *(widened, line, a.query, a.motion, a.known), counted=counted, bits=pictures.bits, settings=a.proof
        )
    return [
        one if one in found else _with_placement(replace(one, region=a.region), a, pictures, counted) for one in widened
    ]


def _tested(
    a: Alignment,
    line: Line,
    start: float,
    end: float,
    counted: Bool,
    pictures: _Pictures,
    moves_alike: Bool,
    evidence: TickEvidence,
) -> Stretch | None:
    """Return `[start, end)` cut to what its pictures and movement carry, with its proof; None without any likeness."""
    query, bits = a.query, pictures.bits
    assert a.known.motion is not None
    inside = counted & (query.pts_seconds >= start - 1e-6) & (query.pts_seconds < end)
    like = inside & (bits <= a.proof.aligned_bits)
    if int(like.sum()) < min(a.matching.min_matched_keyframes, max(1, int(counted.sum()))):
        return None
    # a stretch ends where its pictures or its movement last agree
    start, end = _within_matches(start, end, query, inside, like | (inside & moves_alike))
    median = float(np.median(bits[inside]))
    faint = float((query.quality[inside] < a.proof.faint_quality).mean())
    seen = PictureEvidence(median, _doubt(a, line, inside, pictures), faint)
    result = prove(a.motion, a.known.motion, line, start, end, seen, a.proof)
    why_not = ""
    otherwise: tuple[Window, ...] = ()
    if result.proven and (inside & ~moves_alike & (bits > a.proof.unlike_bits)).any():
        why_not = SOMETHING_ELSE
    elif result.proven and median >= a.proof.altered_bits:
        moves = partial(
            moves_otherwise_somewhere,
            *(a.motion, a.known.motion, line, start, end, a.proof),
            in_region=a.region is not None,
        )
        otherwise = moves()
        if otherwise and a.region is not None:
            asked = Stretch(a.known.frames.video_id, line, start, end, result, int(like.sum()), median)
            levels = Levels.placed(a.motion, a.known.motion, asked, a.region)
            otherwise = otherwise if levels is None else moves(settled=levels.settled(asked))
        why_not = PART_MOVES if otherwise else ""
    sped = line.speed != 1.0 and tells_the_moment(result, a.proof)
    if sped and _plain_as_good(a, line, start, end, result.agreement):
        result, why_not = replace(result, proven=False, why_not=PLAIN_AS_GOOD), ""
    carried = result.proven
    if result.proven and why_not in ("", PART_MOVES):
        # what is left when still passages are taken off must be proven by itself
        first, last = _moving_part(start, end, evidence, query, bits, like, a.proof)
        rest = prove(a.motion, a.known.motion, line, first, last, seen, a.proof)
        carried = rest.proven
        if carried or not why_not:
            start, end, result = first, last, rest
    if why_not:
        result = replace(result, proven=False, why_not=why_not)
    stretch = Stretch(a.known.frames.video_id, line, start, end, result, int(like.sum()), median)
    stretch = replace(stretch, otherwise=otherwise, carried=carried, region=a.region)
    return _with_placement(stretch, a, pictures, counted)


def _with_placement(stretch: Stretch, a: Alignment, pictures: _Pictures, counted: Bool) -> Stretch:
    """Return a stretch with what the geometry of its keyframes says, where it rests on that."""
    at = a.query.pts_seconds
    inside = counted & (at >= stretch.start_seconds - 1e-6) & (at < stretch.end_seconds)
    verified = inside & (pictures.inliers >= a.proof.min_inliers)
    if not pictures.rests_on_geometry or not verified.any():
        return stretch
    return replace(
        stretch,
        median_distance_bits=None,
        spatial_share=round(float(np.median(pictures.share[verified])), 4),
        inliers=int(np.median(pictures.inliers[verified])),
    )


def _plain_as_good(a: Alignment, line: Line, start: float, end: float, agreement: float) -> bool:
    """Return whether the movement of a stretch agrees as well at the plain speed: then that has to prove it."""
    assert a.known.motion is not None
    middle = 0.5 * (start + end)
    plain = Line(1.0, (line.speed - 1.0) * middle + line.offset_seconds, a.variant, 0.0)
    better = best_offset(
        a.motion, a.known.motion, plain, stretch=(start, end), reach_seconds=a.proof.offset_search_seconds
    )
    return better.score > agreement - a.proof.plain_margin


def _is_sped(stretch: Stretch, proof: ProofSettings) -> bool:
    """Return whether the movement tells a stretch's speed, whatever the pictures say against its proof."""
    return stretch.proof.why_not != PLAIN_AS_GOOD and tells_the_moment(stretch.proof, proof)


def _doubt(a: Alignment, line: Line, inside: Bool, pictures: _Pictures) -> float:
    """Return how much is in doubt on a line, 0 … 1: at other speeds than the plain one some always is, for many are
    tried, and so chance has many tries."""
    alike = _alike_elsewhere(a, line, inside, pictures)
    return alike if line.speed == 1.0 else max(alike, 1.0 - (1.0 - a.proof.sped_doubt) * (1.0 - alike))


def _alike_elsewhere(a: Alignment, line: Line, inside: Bool, pictures: _Pictures) -> float:
    """Return how little the keyframes `inside` tell their aligned moments from others of the known video, 0 … 1."""
    at = line.known_seconds(a.query.pts_seconds)
    if pictures.rests_on_geometry:
        assert a.local is not None
        return a.local.share_alike_elsewhere(at, inside, a.proof.min_inliers)
    margins = margins_elsewhere(
        a.distance, np.flatnonzero(inside), at, a.known.frames.pts_seconds, a.known.frames.informative, pictures.bits
    )
    if len(margins) == 0:
        return 1.0
    return float(np.clip(1.0 - np.median(margins) / a.proof.telling_bits, 0.0, 1.0))


def _unproven_stretches(a: Alignment, line: Line, pictures: _Pictures) -> list[Stretch]:
    """Return the runs of matched keyframes on the line, where the known side has no motion profile to prove by."""
    bits = pictures.bits
    like = a.useful & (bits >= 0) & (bits <= 31)
    found = []
    for first, last in runs(like | ~a.useful):
        matched = like[first : last + 1]
        if int(matched.sum()) < a.matching.min_matched_keyframes:
            continue
        start, end = float(a.query.start_seconds[first]), float(a.query.end_seconds[last])
        result = Proof(False, end - start, 0.0, 0.0, 0.0, "the known side has no motion profile")
        median = float(np.median(bits[first : last + 1][matched]))
        found.append(Stretch(a.known.frames.video_id, line, start, end, result, int(matched.sum()), median))
    return found


def _alike_somewhere(a: Alignment) -> list[Stretch]:
    """Return the runs of keyframes that look like the known video at whatever moment: the same scene, not proven.

    Another take of a known scene lies on no line, but a person should hear which scene it is.
    """
    n = len(a.query.pts_seconds)
    place = np.where(a.known.frames.informative[None, :], a.distance, FAR).argmin(axis=1)
    bits = a.distance[np.arange(n), place]
    like = a.useful & (bits <= a.proof.scene_bits)
    at = a.known.frames.pts_seconds[place].copy()
    inliers = np.full(n, NOT_LOOKED, np.int64)
    share = np.ones(n)
    if a.local is not None:
        by_place = a.local.inliers_anywhere(a.by_local, a.proof.min_inliers)
        verified = a.useful & (by_place.inliers >= a.proof.min_inliers) & ~like
        inliers[verified], share[verified] = by_place.inliers[verified], by_place.share[verified]
        at[verified] = by_place.known_seconds[verified]
        like |= verified
    if int(like.sum()) < min(a.matching.min_matched_keyframes, max(1, int(a.useful.sum()))):
        return []
    found = []
    for first, last in runs(like):
        run = slice(first, last + 1)
        start, end = float(a.query.start_seconds[first]), float(a.query.end_seconds[last])
        offset = float(np.median(at[run] - a.query.pts_seconds[run]))
        by_geometry = inliers[run] != NOT_LOOKED
        found.append(
            Stretch(
                a.known.frames.video_id,
                Line(1.0, offset, a.variant, 0.0),
                start,
                end,
                Proof(False, end - start, 0.0, 0.0, 0.0, MOVES_OTHERWISE),
                last + 1 - first,
                None if by_geometry.all() else float(np.median(bits[run][~by_geometry])),
                spatial_share=round(float(np.median(share[run])), 4),
                inliers=int(np.median(inliers[run][by_geometry])) if by_geometry.any() else None,
            )
        )
    return found


def _snapped(first: float, last: float, step: float, query: Signatures) -> tuple[float, float]:
    """Return the stretch of ticks first … last as times, moved to a keyframe boundary where one is close."""
    begins = query.start_seconds
    near = begins[(begins >= first - SNAP_SECONDS) & (begins <= first + 1e-6)]
    start = float(near[-1]) if len(near) else max(float(begins[0]), first - LAG_SECONDS / 2)
    ends = query.end_seconds
    near = ends[(ends >= last) & (ends <= last + SNAP_SECONDS)]
    end = float(near[0]) if len(near) else min(float(ends[-1]), last + step)
    return start, max(end, start)


def _within_matches(start: float, end: float, query: Signatures, inside: Bool, like: Bool) -> tuple[float, float]:
    """Return the stretch cut back to where its first and last comparable keyframes look or move alike."""
    index = np.flatnonzero(inside)
    first, last = np.flatnonzero(like)[[0, -1]]
    if index[0] != first:
        start = max(start, float(query.start_seconds[first]))
    if index[-1] != last:
        end = min(end, float(query.end_seconds[last]))
    return start, max(start, end)


def _moving_part(
    start: float, end: float, evidence: TickEvidence, query: Signatures, bits: I16, like: Bool, proof: ProofSettings
) -> tuple[float, float]:
    """Return the longest part of the stretch that movement carries: stillness proves nothing.

    A still passage longer than `max_still_seconds` ends the proof, unless movement on both sides holds it in its place,
    it is no longer than `max_still_inside_seconds` and its pictures are the same.
    """
    moving = (evidence.query_changes + evidence.known_changes >= LEAST_MOVEMENT) & (evidence.query_seconds >= start)
    moving &= evidence.query_seconds < end
    times = evidence.query_seconds[moving]
    if len(times) == 0:
        return start, start
    parts: list[list[float]] = [[float(times[0]), float(times[0])]]
    for time in times[1:]:
        still = float(time) - parts[-1][1]
        passage = like & (query.pts_seconds > parts[-1][1]) & (query.pts_seconds < time)
        held = still <= proof.max_still_inside_seconds and _all_near(passage, bits, proof)
        if still <= proof.max_still_seconds or held:
            parts[-1][1] = float(time)
        else:
            parts.append([float(time), float(time)])
    first, last = max(parts, key=lambda part: part[1] - part[0])
    return max(start, first - proof.max_still_seconds), min(end, last + proof.max_still_seconds)


def _all_near(which: Bool, bits: I16, proof: ProofSettings) -> bool:
    return bool(which.any()) and bool((bits[which] <= proof.near_bits).all())


def _same_speed(one: float, other: float) -> bool:
    """Return whether two speeds are one: those other than the plain one are measured, not exact."""
    return one == other or (1.0 not in (one, other) and abs(one - other) <= SAME_SPEED * other)


def _at_one_speed(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return the stretches with proof left only to those at the speed that explains most, and best.

    A slower line bridges new seconds put into known footage: both ends fit, and the middle is stretched over them.
    """
    # what moves otherwise in a part tells the speed as well as what is proven, and the better agreement tells it better
    telling = [one for one in stretches if one.proof.proven or one.proof.why_not == PART_MOVES]
    seconds: dict[float, float] = {}
    for speed in {stretch.line.speed for stretch in telling}:
        same = [one for one in telling if _same_speed(one.line.speed, speed)]
        seconds[speed] = sum(
            (one.end_seconds - one.start_seconds) * one.proof.agreement for one in without_overlap(same)
        )
    if len(seconds) < 2:
        return list(stretches)
    main = max(
        seconds, key=lambda speed: (seconds[speed] * (1.0 if speed == 1.0 else PLAIN_PREFERRED), -abs(speed - 1.0))
    )
    why = f"only at {main:.3g} times the speed does most of it agree"
    return [
        replace(one, proof=replace(one.proof, proven=False, why_not=why))
        if one.proof.proven and not _same_speed(one.line.speed, main)
        else one
        for one in stretches
    ]
