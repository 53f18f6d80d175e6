"""Passages in which nothing moves: time proves nothing there, and one picture shows all there is to see.

A slide, a photograph or an empty room looks like its known video in every frame, as another take of the room does, so
it is never cleared. But a person needs no more than a glance at it: where the whole picture stands still, the seconds
to view are those of one look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from videonovelty.matching.still import MOST_LEVELS, STILL_LEVELS, STILL_TICKS
from videonovelty.matching.stretch import Stretch, outside, part_of, runs
from videonovelty.records import (
    COLOURS_INVERTED,
    F64,
    IN_A_PART,
    NOTHING_MOVES,
    ONE_LOOK_SECONDS,
    PLAYS_IN_A_PART,
    MotionProfile,
    Signatures,
)
from videonovelty.signatures.motion import LAG_SECONDS, LEVEL_UNIT, grey_scale, picture_changes

LEAST_SECONDS = 2.0 * ONE_LOOK_SECONDS
"""Shorter passages are as soon viewed as looked at."""
MOST_DRIFT = 10.0
"""Grey levels by which a cell of the 8 × 8 grid may differ from what it is at the beginning: slow fades are seen."""
SNAP_TICKS = 2
"""A passage that ends so many ticks before a cut, or before the end, ends there."""
SAME_PICTURE_BITS = 16
"""PDQ distance of the keyframes of a passage from the first: a picture that flashes up is one."""


def still_passages(signatures: Signatures) -> list[tuple[float, float]]:
    """Return the passages, in seconds and in order, in which no part of the picture moves, flashes or fades."""
    motion = signatures.motion
    if motion.pictures is None or motion.levels is None or motion.light is None:
        return []
    changes = np.abs(picture_changes(motion))
    ticks = np.arange(len(changes)) * motion.step_seconds
    grey = _grey(motion)
    found = []
    for first, last in runs(changes.max(axis=1) <= MOST_LEVELS):
        # a change is one from `LAG_SECONDS` before
        start, end = max(0.0, float(ticks[first]) - LAG_SECONDS), float(ticks[last])
        if (
            end - start < LEAST_SECONDS
            or (np.quantile(changes[first : last + 1], STILL_TICKS, axis=0) > STILL_LEVELS).any()
        ):
            continue
        faded = np.abs(grey[first : last + 1] - grey[first]).max(axis=1) > MOST_DRIFT
        if not faded.any() and _one_picture(signatures, start, end):
            found.append(_to_cuts(signatures, start, end, SNAP_TICKS * motion.step_seconds))
    return found


def _to_cuts(signatures: Signatures, start: float, end: float, reach: float) -> tuple[float, float]:
    """Return a passage moved to where its first keyframe begins and its last one ends, if that is within `reach`."""
    begins, ends = signatures.start_seconds, signatures.end_seconds
    begins = begins[(begins <= start) & (begins >= start - reach)]
    ends = ends[(ends >= end) & (ends <= end + reach)]
    return (float(begins[-1]) if len(begins) else start), (float(ends[0]) if len(ends) else end)


def _grey(motion: MotionProfile) -> F64:
    """Return the grey levels of the cells of the 8 × 8 grid at each tick, shape (t, 64)."""
    assert motion.levels is not None and motion.light is not None
    mean, deviation = grey_scale(motion.light)
    return np.asarray(motion.levels * LEVEL_UNIT * deviation + mean)


def _one_picture(signatures: Signatures, start: float, end: float) -> bool:
    shown = (signatures.start_seconds < end) & (signatures.end_seconds > start)
    codes = signatures.pdq[shown, 0]
    return len(codes) > 0 and int(np.bitwise_count(codes ^ codes[0]).sum(axis=1).max()) <= SAME_PICTURE_BITS


def with_one_look(stretches: Sequence[Stretch], passages: Sequence[tuple[float, float]]) -> list[Stretch]:
    """Return the stretches with those not proven divided where nothing moves in them, which one picture shows."""
    found: list[Stretch] = []
    for stretch in stretches:
        pieces = [stretch]
        for passage in passages if looks_alike(stretch) else ():
            pieces = [part for piece in pieces for part in _divided(piece, passage)]
        found += pieces
    return found


def looks_alike(stretch: Stretch) -> bool:
    """Return whether a stretch is not proven for no reason that one look at it could not settle."""
    return not stretch.proof.proven and stretch.proof.why_not not in {*IN_A_PART, PLAYS_IN_A_PART, COLOURS_INVERTED}


def _divided(stretch: Stretch, passage: tuple[float, float]) -> list[Stretch]:
    start, end = max(stretch.start_seconds, passage[0]), min(stretch.end_seconds, passage[1])
    if stretch.still or end - start < LEAST_SECONDS:
        return [stretch]
    still = replace(
        part_of(stretch, start, end), still=True, proof=replace(stretch.proof, proven=False, why_not=NOTHING_MOVES)
    )
    rests = outside((stretch.start_seconds, stretch.end_seconds), still.start_seconds, still.end_seconds)
    return [still, *(part_of(stretch, first, last) for first, last in rests)]
