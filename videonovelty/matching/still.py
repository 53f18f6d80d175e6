"""What covers a part of known footage and never moves: one look at one picture tells what it is.

A sticker, an emblem or a photograph laid over known footage keeps the footage from being cleared, for nobody knows what
it is. But where its cells do not change for as long as it is there, every picture of it is the same, and a person needs
to see one of them, not all seconds. Still is what does not move *within* the hole the local descriptors leave: in the
convex hull of its still cells nothing may move, so a picture in which somebody moves before a still wall is
not still. And once the hull is left out, nothing else may cover the picture or move in it otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.matching.covered import Keyframes, covered_panes, deepest_hole, needed_evidence, panes_within
from videonovelty.matching.geometry import as_shares, words
from videonovelty.matching.hole_kernels import BINS
from videonovelty.matching.in_place import SAME_BITS, SAME_PLACE, InPlace, InPlaces, cells_at, of_picture
from videonovelty.matching.pair_kernels import within_bits
from videonovelty.matching.proof import moves_otherwise_somewhere
from videonovelty.matching.stretch import Cover, Stretch
from videonovelty.records import F64, PART_COVERED, PICTURE_COLUMNS, PICTURE_ROWS, U8, MotionProfile, Signatures
from videonovelty.settings import ProofSettings
from videonovelty.signatures.motion import FINE_GRID, LAG_SECONDS, picture_changes, turned

Bool = npt.NDArray[np.bool_]

STILL_LEVELS, MOST_LEVELS = 6, 14
"""A cell is still while nearly no change of it, and none, is of more grey levels than these: coding flutters."""
STILL_TICKS = 0.95
LEAST_STILL = 0.25
"""Share of a hole's cells that must be still…"""
MOST_MOVING = 0.3
"""…and of the cells at the edge of the convex hull of those that may not be; within it, all must be."""
LOOKED_AT, LEAST_DESCRIPTORS = 12, 4
"""Keyframes spread over a stretch, of those with enough descriptors in the hull…"""
LEAST_STAYING = 0.25
"""…must have so many of them from the first one, at the same place."""
MOST_COVERS = 4
FINE_SHARE = 0.2
"""A cell of the fine grid is left out where still things cover this much of it, with one cell of `pictures` around."""


def cover_of(
    places: InPlaces, stretch: Stretch, motion: MotionProfile, *, altered: Bool, proof: ProofSettings
) -> Cover | None:
    """Return what covers a stretch that is unproven because of a part of its picture; None where none is found.

    Arguments are those of `covered.uncovered`.
    """
    compared = places.of(stretch)
    if compared is None or compared.query.motion.pictures is None:
        return None
    query = compared.query
    keyframes = Keyframes.of(compared, stretch, altered)
    panes = [pane.box for pane in covered_panes(compared, stretch, keyframes, motion, proof)]
    framed = [_cells_within(box) for box, *_ in panes_within(query, stretch)]
    unmoved = still_cells(query.motion, stretch)
    hidden = np.zeros((PICTURE_ROWS, PICTURE_COLUMNS), np.bool_)
    found: list[F64] = []
    still = True
    while still:
        box = panes.pop() if panes else _hole(compared, stretch, keyframes, motion, proof)
        if box is None:
            break
        hull = _still_hull(unmoved, box, framed)
        found.append(box if hull is None else _edges(hull))
        if hull is None or len(found) > MOST_COVERS or not stays(compared, hull):
            still = False
        else:
            hidden |= _grown(hull)
            keyframes = Keyframes.of(compared, stretch, altered, hidden)
    if not found:
        return None
    still = still and (
        stretch.proof.why_not == PART_COVERED or _rest_moves_alike(query, stretch, motion, hidden, proof)
    )
    left, top = np.min([corners[0] for corners in found], axis=0)
    right, bottom = np.max([corners[1] for corners in found], axis=0)
    return Cover((float(left), float(top), float(right), float(bottom)), still)


def _hole(
    compared: InPlace, stretch: Stretch, keyframes: Keyframes, motion: MotionProfile, proof: ProofSettings
) -> F64 | None:
    """Return where the deepest hole lies in the query's picture, None where there is none."""
    hole = deepest_hole(stretch.line, keyframes, motion)
    return _on_query(compared, hole.window) if hole.evidence >= needed_evidence(stretch, proof) else None


def _on_query(compared: InPlace, window: tuple[int, int, int, int]) -> F64:
    """Return left top and right bottom of a window of the known picture in the query's, shape (2, 2), 0 … 1."""
    top, left, height, width = window
    corners = np.array([(x, y) for x in (left, left + width) for y in (top, top + height)], np.float64) / BINS
    shown = compared.shown(compared.low + corners * (compared.high - compared.low))
    return np.asarray(np.clip(np.stack([shown.min(axis=0), shown.max(axis=0)]), 0.0, 1.0))


def still_cells(motion: MotionProfile, stretch: Stretch) -> Bool:
    """Return the cells of `MotionProfile.pictures` that are still all along, shape (PICTURE_ROWS, PICTURE_COLUMNS)."""
    # what appears where the stretch begins is a change until the lag is over
    begins = stretch.start_seconds + (LAG_SECONDS if stretch.start_seconds > 0 else 0.0)
    first, last = int(np.ceil(begins / motion.step_seconds)), int(stretch.end_seconds / motion.step_seconds)
    changes = np.abs(picture_changes(motion, first, last))
    if len(changes) == 0:
        return np.zeros((PICTURE_ROWS, PICTURE_COLUMNS), np.bool_)
    still = (np.quantile(changes, STILL_TICKS, axis=0) <= STILL_LEVELS) & (changes.max(axis=0) <= MOST_LEVELS)
    return np.asarray(still.reshape(PICTURE_ROWS, PICTURE_COLUMNS))


def _cells_within(box: F64) -> Bool:
    within = np.zeros((PICTURE_ROWS, PICTURE_COLUMNS), np.bool_)
    (left, top), (right, bottom) = np.rint(box * (PICTURE_COLUMNS, PICTURE_ROWS)).astype(int)
    within[top:bottom, left:right] = True
    return within


def _still_hull(still: Bool, window: F64, framed: Sequence[Bool]) -> Bool | None:
    """Return the cells that a still thing in a window takes; None where it is not still.

    `framed` are the panes of the query: one that holds most of that thing is what covers the picture, all of it.
    """
    within = _cells_within(window)
    inside = still & within
    if inside.sum() < LEAST_STILL * within.sum() or not inside.any():
        return None
    hull = _hull(inside)
    for pane in framed:
        if 2 * (hull & pane).sum() >= hull.sum():
            hull = hull | pane
    moving = hull & ~still
    return None if (moving & _shrunk(hull)).any() or moving.sum() > MOST_MOVING * hull.sum() else hull


def stays(compared: InPlace, hull: Bool) -> bool:
    """Return whether the descriptors in `hull` are those of the first keyframe all along: what fades slowly moves not.

    True where no keyframe but the first has enough of them.
    """
    local = compared.query.local
    first: tuple[U8, F64] | None = None
    for keyframe in compared.keyframes[np.unique(np.linspace(0, len(compared.keyframes) - 1, LOOKED_AT).astype(int))]:
        rows = slice(int(local.offsets[keyframe]), int(local.offsets[keyframe + 1]))
        places = as_shares(local.xy[rows])
        inside = hull[cells_at(of_picture(places, compared.aspect, mirrored=False), *hull.shape)]
        codes, places = local.codes[rows][inside], places[inside]
        if len(codes) < LEAST_DESCRIPTORS:
            continue
        if first is None:
            first = codes, places
            continue
        one, other, _ = within_bits(words(codes), words(first[0]), SAME_BITS)
        near = np.abs(places[one] - first[1][other]).max(axis=1) <= SAME_PLACE
        if len(np.unique(one[near])) < LEAST_STAYING * len(codes):
            return False
    return True


def _hull(cells: Bool) -> Bool:
    """Return the cells whose middle lies in the convex hull of those of `cells`."""
    rows, columns = np.nonzero(cells)
    filled = np.zeros(cells.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(np.column_stack((columns, rows)).astype(np.int32)), 1)
    return filled.astype(np.bool_) | cells


def _grown(cells: Bool) -> Bool:
    return np.asarray(cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8)), np.bool_)


def _shrunk(cells: Bool) -> Bool:
    return np.asarray(cv2.erode(cells.astype(np.uint8), np.ones((3, 3), np.uint8)), np.bool_)


def _edges(cells: Bool) -> F64:
    """Return left top and right bottom of cells, in shares of width and height; shape (2, 2)."""
    rows, columns = np.nonzero(cells)
    low, high = (columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)
    return np.array([low, high], np.float64) / (PICTURE_COLUMNS, PICTURE_ROWS)


def _rest_moves_alike(
    query: Signatures, stretch: Stretch, known: MotionProfile, hidden: Bool, proof: ProofSettings
) -> bool:
    """Return whether the fine movement agrees in every part but the hidden cells of the query's picture.

    False where it cannot be told: where nothing moves for a while, in a part of the known picture, and where the query
    has borders, which the fine grid leaves out and `hidden` does not.
    """
    if not stretch.carried or stretch.rests_on_placement or query.has_inner.any():
        return False
    share = cv2.resize(hidden.astype(np.float32), (FINE_GRID, FINE_GRID), interpolation=cv2.INTER_AREA)
    kept = (share < FINE_SHARE).ravel().astype(np.int8)
    motion = replace(query.motion, fine=query.motion.fine * kept)
    mask = replace(query.motion, fine=np.broadcast_to(kept, query.motion.fine.shape))
    variant = stretch.line.variant
    there = turned(mask, variant).fine[:1]
    return not moves_otherwise_somewhere(
        turned(motion, variant),
        replace(known, fine=known.fine * there),
        stretch.line,
        stretch.start_seconds,
        stretch.end_seconds,
        proof,
    )
