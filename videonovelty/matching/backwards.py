"""A query as it would be, were it played backwards: the same pictures in the other order.

Footage is turned round as easily as it is mirrored, as a whole or there and back again. Nothing that compares two
videos need know of that: signatures say how each picture looks and how it changed since a moment before, so those of
the video played backwards follow from them without a look at its pictures. What is found in those is told as it lies in
the video as it is, at a speed below zero.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line, correlate_motion
from videonovelty.records import F64, LocalFeatures, MotionProfile, Panes, Signatures
from videonovelty.signatures.motion import LAG_SECONDS, OTHER_LAGS_SECONDS, excerpt, ticks_of_lag, turned

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
Times = tuple[tuple[float, float], ...]

WINDOWS = ((4.0, 0.6), (2.0, 0.75))
"""Windows of a query are held against the known video backwards, of so many seconds, and one must agree as much for a
closer look: 99 % of other moments of the same scene stay below 0.55 over four seconds, below 0.72 over two…"""
WINDOWS_TRIED = 32
"""…so many of each length, spread over what is left…"""
LEAST_EVENTS, LEAST_TICKS = 20.0, 8
"""…over so many changes and known ticks at least."""


@functools.lru_cache(maxsize=1)  # of one query, with all of its candidates
def backwards(query: Signatures) -> Signatures:
    """Return the signatures of `query` played backwards: what is shown at t is shown at `turning_seconds` − t."""
    at, n = turning_seconds(query), len(query.pts_seconds)
    starts, ends = at - query.end_seconds[::-1], at - query.start_seconds[::-1]
    # the first picture of a shot is its last one, not the first of the next
    within = np.maximum(starts, np.minimum(at - query.pts_seconds[::-1], ends - 0.5 * query.motion.step_seconds))
    return replace(
        query,
        pts_seconds=within,
        start_seconds=starts,
        end_seconds=ends,
        pdq=query.pdq[::-1],
        pdq_inner=query.pdq_inner[::-1],
        has_inner=query.has_inner[::-1],
        quality=query.quality[::-1],
        informative=query.informative[::-1],
        motion=_motion_backwards(query.motion, at),
        local=_local_backwards(query.local),
        panes=Panes(n - 1 - query.panes.keyframe[::-1], query.panes.box[::-1], query.panes.pdq[::-1]),
    )


def turning_seconds(query: Signatures) -> float:
    """Return the sum of the times of a moment of `query` as it is and played backwards: whole ticks."""
    step = query.motion.step_seconds
    end = float(query.end_seconds[-1]) if len(query.end_seconds) else 0.0
    return step * max(len(query.motion.signs) - 1, math.ceil(end / step - 1e-9))


def as_played(stretch: Stretch, at_seconds: float) -> Stretch:
    """Return a stretch of a query played backwards as one of the query as it is; `at_seconds` is `turning_seconds`."""

    def forwards(times: Times) -> Times:
        return tuple((at_seconds - end, at_seconds - start) for start, end in reversed(times))

    line = stretch.line
    return replace(
        stretch,
        line=replace(line, speed=-line.speed, offset_seconds=line.speed * at_seconds + line.offset_seconds),
        start_seconds=at_seconds - stretch.end_seconds,
        end_seconds=at_seconds - stretch.start_seconds,
        strangers=forwards(stretch.strangers),
        faint=forwards(stretch.faint),
    )


def pairs_backwards(pairs: F64, n_keyframes: int) -> F64:
    """Return pairs, rows (query keyframe, known seconds), with the keyframes as they are numbered backwards."""
    found = pairs.copy()
    found[:, 0] = n_keyframes - 1 - pairs[:, 0]
    return found


def lines_backwards(query: Signatures, known: MotionProfile, variants: Sequence[int], left: Bool) -> list[Line]:
    """Return lines on which some seconds of a query, played backwards, move as some of the known video do.

    `left`, shape (n_keyframes,), are the keyframes around which to look; `variants` the dihedral variants to try. Where
    there are none it is not played backwards: that is told for a hundredth of what comparing it costs.
    """
    at = turning_seconds(query)
    changes = _changes_backwards(query.motion, at)
    step = changes.step_seconds
    times = (at - query.pts_seconds[left])[::-1]
    found: list[Line] = []
    for variant in variants:
        motion = turned(changes, variant)
        for seconds, least in WINDOWS:
            begins = np.unique(np.maximum(0.0, (times // (0.5 * seconds) - 1.0) * 0.5 * seconds))
            for begin in begins[:: -(-len(begins) // WINDOWS_TRIED) or 1]:
                first = round(begin / step)
                part = excerpt(motion, first, first + round(seconds / step))
                compared = correlate_motion(part, known, speed=1.0, least_ticks=LEAST_TICKS)
                agreement = np.where(compared.events >= LEAST_EVENTS, np.nan_to_num(compared.agreement), 0.0)
                best = int(agreement.argmax()) if len(agreement) else -1
                if best >= 0 and agreement[best] >= least:
                    offset = float(compared.offset_seconds[best]) - first * step
                    found.append(Line(1.0, offset, variant, float(agreement[best])))
    return found


def _motion_backwards(motion: MotionProfile, at_seconds: float) -> MotionProfile:
    """Return a query's profile backwards; before its first picture it stands still."""
    if len(motion.signs) == 0:
        return motion
    ticks = np.minimum(_ticks_shown(motion, at_seconds), len(motion.signs) - 1)
    return replace(
        _changes_backwards(motion, at_seconds),
        pictures=None if motion.pictures is None else motion.pictures[ticks],
        levels=None if motion.levels is None else motion.levels[ticks],
        light=None if motion.light is None else motion.light[ticks],
        borders=None if motion.borders is None else motion.borders[ticks],
    )


def _ticks_shown(motion: MotionProfile, at_seconds: float) -> I64:
    """Return which tick of a profile, or beyond its last, each tick shows when it is played backwards."""
    last = round(at_seconds / motion.step_seconds)
    return last - np.arange(last + 1)


def _changes_backwards(motion: MotionProfile, at_seconds: float) -> MotionProfile:
    """Return what of a query's profile says how pictures change, backwards, and nothing that says how they look.

    What becomes brighter over the lag before a moment becomes darker over the lag after it, played backwards.
    """
    if motion.fine_every != 1:
        raise ValueError("only a query's profile, fine at every tick, can be played backwards")
    if len(motion.signs) == 0:
        return motion
    shown, step = _ticks_shown(motion, at_seconds), motion.step_seconds
    lag = ticks_of_lag(LAG_SECONDS, step)
    lagged = None
    if motion.lagged is not None:
        lags = [ticks_of_lag(one, step) for one in OTHER_LAGS_SECONDS]
        lagged = np.stack([_undone(motion.lagged[:, n], shown + ticks) for n, ticks in enumerate(lags)], axis=1)
    return MotionProfile(step, _undone(motion.signs, shown + lag), _undone(motion.fine, shown + lag), lagged=lagged)


def _undone(changes: npt.NDArray[np.int8], ticks: I64) -> npt.NDArray[np.int8]:
    """Return the changes (m, cells) at some ticks the other way round; none beyond the last."""
    within = ticks < len(changes)
    found = np.zeros((len(ticks), changes.shape[1]), np.int8)
    found[within] = -changes[ticks[within]]
    return found


def _local_backwards(local: LocalFeatures) -> LocalFeatures:
    """Return descriptors with the keyframes in the other order, those of each as they are."""
    sizes = np.diff(local.offsets)[::-1]
    ends = np.cumsum(sizes)
    rows = np.arange(len(local.codes)) + np.repeat(local.offsets[:-1][::-1] - (ends - sizes), sizes)
    return LocalFeatures(
        np.concatenate(([0], ends)),
        local.codes[rows],
        local.mirrored_codes[rows] if len(local.mirrored_codes) else local.mirrored_codes,
        local.xy[rows],
        local.scale[rows],
        local.angle[rows],
        backwards=not local.backwards,
    )
