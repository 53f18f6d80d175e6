"""What is around a known picture that plays in a part of the query's: nothing, something still, or something else.

Movement proves what plays in that part and says nothing about the rest. Bars and frames of one colour are nothing. What
does not move, a card with lettering or a photograph, one picture shows. Whatever moves there has been compared with
nothing: a known clip in the middle of a new video is named, and proves none of it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.matching.in_place import InPlace, InPlaces
from videonovelty.matching.local_evidence import LocalPairs
from videonovelty.matching.shown import Shown, has_borders, is_bordered
from videonovelty.matching.still import stays, still_cells
from videonovelty.matching.stretch import Cover, KnownSide, Stretch
from videonovelty.records import PART_COVERED, PICTURE_COLUMNS, PICTURE_ROWS, PLAYS_IN_A_PART, Signatures
from videonovelty.signatures.motion import common_box, grey_pictures_at

Bool = npt.NDArray[np.bool_]

MOST_MOVING = 2
"""Cells around the picture that may move where all else is of one colour: coding flutters."""
ONE_COLOUR, ONE_COLOUR_SHARE = 10.0, 0.9
"""What is around is of one colour where this share of its cells lies so many grey levels from their median at most."""
LEAST_AROUND = 0.02
"""Share of the picture that must be around the known one, a cell away from it: the placement is right to a cell."""
MOST_PICTURES = 64
_SIDE = 2
"""Borders are sought in pictures so many times as large, as they are when a video is signed."""


def with_surroundings(stretch: Stretch, query: Signatures, known: KnownSide, pairs: LocalPairs) -> Stretch:
    """Return a proven stretch as it is, or unproven where there is something around the known picture, with the reason.

    Looked at is what lies beside the part of the picture in which its movement was compared: beyond the borders of the
    query where that was the whole picture, unless the known video has borders as well and is compared with them.
    What fades slowly is told from what stays by descriptors.
    """
    motion = query.motion
    if not stretch.proof.proven or motion.pictures is None:
        return stretch
    step = motion.step_seconds
    first, last = int(np.ceil(stretch.start_seconds / step)), int(stretch.end_seconds / step)
    ticks = np.unique(np.linspace(first, min(last, len(motion.pictures)) - 1, MOST_PICTURES).astype(int))
    if ticks[0] < first:
        return stretch
    pictures = grey_pictures_at(motion, ticks)
    compared = None if stretch.region is not None else _compared(stretch, known, pairs)
    shown = stretch.region if compared is None else _placed(compared)
    if shown is not None:
        inside = shown.covers(PICTURE_ROWS, PICTURE_COLUMNS) >= 0.5
    elif is_bordered(query) and not has_borders(known.frames):
        inside = _within_borders(pictures)
    else:
        return stretch
    around = ~cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
    if around.mean() < LEAST_AROUND:
        return stretch
    moving = int((around & ~still_cells(motion, stretch)).sum())
    if moving > MOST_MOVING:
        return _unproven(stretch, PLAYS_IN_A_PART)
    if not stretch.rests_on_placement or _of_one_colour(pictures.mean(axis=0)[around]):
        return stretch
    compared = compared or _compared(stretch, known, pairs)
    if moving or compared is None or not stays(compared, around):
        return _unproven(stretch, PLAYS_IN_A_PART)
    return replace(_unproven(stretch, PART_COVERED), cover=Cover((0.0, 0.0, 1.0, 1.0), still=True))


def _unproven(stretch: Stretch, why_not: str) -> Stretch:
    return replace(stretch, proof=replace(stretch.proof, proven=False, why_not=why_not))


def _compared(stretch: Stretch, known: KnownSide, pairs: LocalPairs) -> InPlace | None:
    """Return the descriptors of a stretch that rests on a placement, in place; None of others."""
    if not stretch.rests_on_placement or known.local is None:
        return None
    pair = pairs.of(mirrored=stretch.mirrored)
    return None if pair is None else InPlaces(pair).of(stretch)


def _placed(compared: InPlace) -> Shown:
    """Return where the query shows a known picture of unknown shape: as wide or high as its shorter side may be."""
    return Shown(compared.placement, compared.aspect, (0.0, 0.0, 1.0, 1.0), compared.mirrored)


def _within_borders(pictures: npt.NDArray[np.float32]) -> Bool:
    """Return which cells of grey pictures (t, rows, columns) lie, in part at least, within their common borders."""
    larger = np.rint(pictures).astype(np.uint8).repeat(_SIDE, axis=1).repeat(_SIDE, axis=2)
    top, bottom, left, right = common_box(larger)
    inside = np.zeros(larger.shape[1:], np.bool_)
    inside[top:bottom, left:right] = True
    return np.asarray(inside.reshape(PICTURE_ROWS, _SIDE, PICTURE_COLUMNS, _SIDE).any(axis=(1, 3)))


def _of_one_colour(levels: npt.NDArray[np.float32]) -> bool:
    return bool((np.abs(levels - np.median(levels)) <= ONE_COLOUR).mean() >= ONE_COLOUR_SHARE)
