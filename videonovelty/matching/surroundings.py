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
from videonovelty.matching.shown import Shown
from videonovelty.matching.still import stays, still_cells
from videonovelty.matching.stretch import Cover, KnownSide, Stretch, runs, unproven_between
from videonovelty.records import (
    BORDER_COLUMNS,
    BORDER_FACTS,
    BORDER_ROWS,
    PART_COVERED,
    PICTURE_COLUMNS,
    PICTURE_ROWS,
    PLAYS_IN_A_PART,
    U8,
    Signatures,
)
from videonovelty.signatures.filled import BLURRED, EXPLAINED
from videonovelty.signatures.motion import grey_pictures_at

Bool = npt.NDArray[np.bool_]

MOST_MOVING = 2
"""Cells around the picture that may move where all else is of one colour: coding flutters."""
ONE_COLOUR, ONE_COLOUR_SHARE = 10.0, 0.9
"""What is around is of one colour where this share of its cells lies so many grey levels from their median at most."""
LEAST_AROUND = 0.02
"""Share of the picture that must be around the known one, a cell away from it: the placement is right to a cell."""
MOST_PICTURES = 64
MOST_APART = 40
"""Grey levels by which a fill may differ from the picture enlarged at any tick, `filled.EXPLAINED` at every other one
of a second: coders smear what is blurred, for some ticks after a cut or a fast movement."""
_USUALLY_SECONDS = 1.0
LEAST_FILLED = 0.5
"""Share of a stretch in which it must be one, so that only the times at which it is none lose their proof."""
_PIXELS = BORDER_ROWS // PICTURE_ROWS
"""Pixels of `MotionProfile.borders` along each side of a cell of `pictures`."""


def with_surroundings(stretch: Stretch, query: Signatures, known: KnownSide, pairs: LocalPairs) -> list[Stretch]:
    """Return a proven stretch as it is, or in parts, unproven where there is something around the known picture.

    Looked at is what lies beside the part of the picture in which its movement was compared: beyond the borders of the
    query where that was the whole picture. What fades slowly is told from what stays by descriptors.
    """
    motion = query.motion
    if not stretch.proof.proven or motion.pictures is None:
        return [stretch]
    parts = [stretch]
    if motion.borders is not None:
        for start, end in _not_filled(motion.borders, stretch, motion.step_seconds):
            parts = [part for piece in parts for part in unproven_between(piece, start, end, PLAYS_IN_A_PART)]
    return [_with_what_is_around(part, query, known, pairs) for part in parts]


def _with_what_is_around(stretch: Stretch, query: Signatures, known: KnownSide, pairs: LocalPairs) -> Stretch:
    motion = query.motion
    step = motion.step_seconds
    first, last = int(np.ceil(stretch.start_seconds / step)), int(stretch.end_seconds / step)
    if not stretch.proof.proven or motion.pictures is None or not first < min(last, len(motion.pictures)):
        return stretch
    borders = motion.borders[first:last] if motion.borders is not None else np.zeros((0, BORDER_FACTS), np.uint8)
    placed = stretch.region is None and stretch.rests_on_placement
    compared = _compared(stretch, known, pairs) if placed else None
    shown = stretch.region if compared is None else _placed(compared)
    inside = _within(borders, 1) if shown is None else shown.covers(PICTURE_ROWS, PICTURE_COLUMNS) >= 0.5
    around = ~cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
    if len(borders) and _is_fill(borders, step).all():
        around &= _within(borders, _PIXELS)
    if around.mean() < LEAST_AROUND:
        return stretch
    moving = int((around & ~still_cells(motion, stretch)).sum())
    if moving > MOST_MOVING:
        return _unproven(stretch, PLAYS_IN_A_PART)
    ticks = np.unique(np.linspace(first, min(last, len(motion.pictures)) - 1, MOST_PICTURES).astype(int))
    if _of_one_colour(grey_pictures_at(motion, ticks).mean(axis=0)[around]):
        return stretch
    compared = compared or _compared(stretch, known, pairs)
    if moving or compared is None or not stays(compared, around):
        return _unproven(stretch, PLAYS_IN_A_PART)
    return replace(_unproven(stretch, PART_COVERED), cover=Cover((0.0, 0.0, 1.0, 1.0), still=True))


def _unproven(stretch: Stretch, why_not: str) -> Stretch:
    return replace(stretch, proof=replace(stretch.proof, proven=False, why_not=why_not))


def _compared(stretch: Stretch, known: KnownSide, pairs: LocalPairs) -> InPlace | None:
    """Return the descriptors of a stretch, in place; None where there are none."""
    if known.local is None:
        return None
    pair = pairs.of(mirrored=stretch.mirrored)
    return None if pair is None else InPlaces(pair).of(stretch)


def _placed(compared: InPlace) -> Shown:
    """Return where the query shows a known picture of unknown shape: as wide or high as its shorter side may be."""
    return Shown(compared.placement, compared.aspect, (0.0, 0.0, 1.0, 1.0), compared.mirrored)


def _within(borders: U8, pixels: int) -> Bool:
    """Return which cells have so many of their pixels along each side within the borders at one tick at least."""
    inside = np.ones((PICTURE_ROWS, PICTURE_COLUMNS), np.bool_)
    if len(borders):
        top, bottom, left, right = (int(edge(borders[:, n])) for n, edge in enumerate((np.min, np.max) * 2))
        pixel = np.zeros((BORDER_ROWS, BORDER_COLUMNS), np.uint8)
        pixel[top:bottom, left:right] = 1
        counted = pixel.reshape(PICTURE_ROWS, _PIXELS, PICTURE_COLUMNS, _PIXELS).sum(axis=(1, 3))
        inside = counted >= pixels**2
    return inside


def _not_filled(borders: U8, stretch: Stretch, step: float) -> list[tuple[float, float]]:
    """Return when a stretch, around whose picture there is a fill, shows something else there."""
    first, last = int(np.ceil(stretch.start_seconds / step)), int(stretch.end_seconds / step)
    filled = _is_fill(borders[first:last], step)
    if len(filled) == 0 or filled.mean() < LEAST_FILLED:
        return []
    return [
        (step * (first + one) - _USUALLY_SECONDS / 2, step * (first + other + 1) + _USUALLY_SECONDS / 2)
        for one, other in runs(~filled)
    ]


def _is_fill(borders: U8, step: float) -> Bool:
    """Return at which ticks there is nothing around the picture but one colour, or itself enlarged: shape (t,)."""
    apart, sharp = borders[:, 4], borders[:, 5]
    usually = cv2.medianBlur(apart[:, None].copy(), 2 * round(_USUALLY_SECONDS / 2 / step) + 1)[:, 0]
    return np.asarray((apart <= MOST_APART) & (sharp <= BLURRED) & (usually <= EXPLAINED))


def _of_one_colour(levels: npt.NDArray[np.float32]) -> bool:
    return bool((np.abs(levels - np.median(levels)) <= ONE_COLOUR).mean() >= ONE_COLOUR_SHARE)
