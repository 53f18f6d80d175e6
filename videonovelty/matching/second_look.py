"""A second look at what is proven: does something play over a part of the picture, or cover it?

Movement proves that footage is known, most of the picture's. What plays in a corner, lies over a part, or is mixed
with it, is told by how bright the cells are (`levels`), and by descriptors that are missing (`covered`). Where both
pictures are as bright, moment by moment, nothing else is asked. And what moves when the known video does, but not as it
does, is done again, not shown again (`followed`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.covered import shows_the_known, uncovered
from videonovelty.matching.distances import NOTHING, aligned_distance, keyframe_distances
from videonovelty.matching.in_place import InPlace, InPlaces
from videonovelty.matching.levels import Levels, Unfollowed
from videonovelty.matching.local_evidence import LocalPair, LocalPairs
from videonovelty.matching.proof import moves_otherwise_somewhere
from videonovelty.matching.shown import Shown, is_bordered, picture_box
from videonovelty.matching.small_changes import doubted_moments
from videonovelty.matching.still import cover_of
from videonovelty.matching.stretch import Cover, KnownSide, Stretch, unproven_between
from videonovelty.records import (
    DONE_AGAIN,
    IN_A_PART,
    MOVES_OTHERWISE,
    PART_COVERED,
    PART_MOVES,
    TOO_FAINT,
    KnownFrames,
    MotionProfile,
    Signatures,
)
from videonovelty.settings import MatchingSettings, ProofSettings

Bool = npt.NDArray[np.bool_]


def second_look(
    query: Signatures,
    motion: MotionProfile,
    stretch: Stretch,
    known: KnownSide,
    pairs: LocalPairs,
    matching: MatchingSettings,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return a stretch as it is, or in parts, unproven where something covers a part of the picture, and with that.

    `motion` is the query's, turned as the stretch's line says; `pairs` are the descriptors of both.
    """
    if known.motion is None or (not stretch.proof.proven and stretch.proof.why_not != PART_MOVES):
        return [stretch]
    bordered = is_bordered(query)
    levels = None if stretch.rests_on_placement else Levels.of(motion, known.motion, stretch, bordered=bordered)
    unfollowed = [] if levels is None else levels.unfollowed(query.motion, stretch)
    if levels is not None and stretch.proof.proven and stretch.region is None:
        moments = doubted_moments(motion, known.motion, stretch)
        unfollowed += [Unfollowed(start, end, MOVES_OTHERWISE) for start, end in moments]
    if levels is not None and not unfollowed and _nothing_lies_over(stretch, levels):
        return [_proven(stretch)]
    pair = pairs.of(mirrored=stretch.mirrored)
    if pair is None and stretch.hardly_moves:
        return [replace(stretch, proof=replace(stretch.proof, proven=False, why_not=TOO_FAINT))]
    if pair is None:
        parts = levels.parts(stretch) if levels is not None and stretch.proof.proven else [stretch]
        return _but(parts, unfollowed)
    places, box = InPlaces(pair), picture_box(known.frames, pair.known)
    if levels is None:
        levels = _levels_in_place(query, motion, stretch, known.motion, places.of(stretch), box, bordered=bordered)
        unfollowed = [] if levels is None else levels.unfollowed(query.motion, stretch)
        if levels is not None and not unfollowed and _nothing_lies_over(stretch, levels):
            return [_proven(stretch)]
    if stretch.proof.why_not == PART_MOVES and (
        shows_the_known(places, stretch, box) or _moves_alike(motion, known.motion, stretch, levels, proof)
    ):
        stretch = _proven(stretch)
    altered = _altered(query, known.frames, stretch, matching, proof)
    parts = _but(_parts(stretch, levels, pair, known.motion, box, altered=altered, proof=proof), unfollowed)
    return [_with_cover(part, places, known.motion, altered=altered, proof=proof) for part in parts]


def all_done_again(parts: list[Stretch]) -> list[Stretch]:
    """Return what a second look left of the stretches with one known video, unproven where most of it is done again.

    Some seconds of what is done twice are alike by chance.
    """
    again = [one for one in parts if one.proof.why_not == DONE_AGAIN]
    proven = [one for one in parts if one.proof.proven]
    if sum(map(_seconds, again)) <= sum(map(_seconds, proven)):
        return parts
    unproven = [replace(one, proof=replace(one.proof, proven=False, why_not=DONE_AGAIN)) for one in proven]
    return sorted([*(one for one in parts if not one.proof.proven), *unproven], key=lambda one: one.start_seconds)


def _seconds(stretch: Stretch) -> float:
    return stretch.end_seconds - stretch.start_seconds


def _but(parts: list[Stretch], unfollowed: list[Unfollowed]) -> list[Stretch]:
    """Return the parts of a stretch, those that are proven without the times at which they are not followed."""
    for one in unfollowed:
        cover = None if one.box is None else Cover(one.box, still=False)
        between = one.start_seconds, one.end_seconds
        parts = [piece for part in parts for piece in unproven_between(part, *between, one.why_not, cover)]
    return parts


def _moves_alike(
    motion: MotionProfile, known: MotionProfile, stretch: Stretch, levels: Levels | None, proof: ProofSettings
) -> bool:
    """Return whether what moves otherwise in a whole picture becomes brighter and darker as the known picture does."""
    if levels is None or stretch.region is not None or not stretch.carried:
        return False
    settled = levels.settled(stretch)
    start, end = stretch.start_seconds, stretch.end_seconds
    return bool(settled.any()) and not moves_otherwise_somewhere(
        motion, known, stretch.line, start, end, proof, settled=settled
    )


def _levels_in_place(
    query: Signatures,
    motion: MotionProfile,
    stretch: Stretch,
    known: MotionProfile,
    compared: InPlace | None,
    box: tuple[float, float, float, float],
    *,
    bordered: bool,
) -> Levels | None:
    """Return the levels of a stretch that rests on a placement; of crops at the plain speed only."""
    if compared is None:
        return None
    if compared.shows_all:
        return Levels.of(motion, known, stretch, bordered=bordered)
    if stretch.line.speed != 1.0:
        return None
    shown = Shown(compared.placement, compared.aspect, box, stretch.mirrored)
    return Levels.placed(query.motion, known, stretch, shown)


def _parts(
    stretch: Stretch,
    levels: Levels | None,
    pair: LocalPair,
    known: MotionProfile,
    box: tuple[float, float, float, float],
    *,
    altered: Bool,
    proof: ProofSettings,
) -> list[Stretch]:
    """Return a stretch in parts, unproven where levels differ or descriptors are missing; whole if it is not proven."""
    if levels is None:
        return uncovered(InPlaces(pair), stretch, known, altered=altered, proof=proof)
    places = InPlaces(pair, but=lambda found, piece: found.with_settled(levels.settled(piece), box))
    parts: list[Stretch] = []
    for piece in levels.parts(stretch) if stretch.proof.proven else [stretch]:
        if levels.agree(piece) and not piece.hardly_moves:
            parts.append(piece)
        else:
            parts += uncovered(places, piece, known, altered=altered, proof=proof)
    return parts


def _with_cover(
    part: Stretch, places: InPlaces, known: MotionProfile, *, altered: Bool, proof: ProofSettings
) -> Stretch:
    """Return a part with where what covers it lies, if that is why it is not proven, and whether it is still."""
    if part.proof.why_not not in IN_A_PART:
        return part
    cover = cover_of(places, part, known, altered=altered, proof=proof) or part.cover
    still = cover is not None and cover.still
    why_not = PART_COVERED if still else part.proof.why_not
    return replace(part, cover=cover, proof=replace(part.proof, why_not=why_not))


def _altered(
    query: Signatures, frames: KnownFrames, stretch: Stretch, matching: MatchingSettings, proof: ProofSettings
) -> Bool:
    """Return which of the query's keyframes are not quite the known picture, shape (n_keyframes,)."""
    distance = keyframe_distances(query, frames, stretch.line.variant)
    reach = matching.time_tolerance_seconds * max(1.0, stretch.line.speed)
    bits = aligned_distance(query.pts_seconds, frames, distance, stretch.line, reach)
    return np.asarray((bits == NOTHING) | (bits >= proof.altered_bits))


def _nothing_lies_over(stretch: Stretch, levels: Levels) -> bool:
    """Return whether movement carries a stretch from end to end, and all of the picture is as bright as the known.

    Where hardly anything moves that says too little: what is put in a part's place in its light stays there.
    """
    return stretch.carried and not stretch.hardly_moves and levels.agree(stretch)


def _proven(stretch: Stretch) -> Stretch:
    return replace(stretch, proof=replace(stretch.proof, proven=True, why_not=""))
