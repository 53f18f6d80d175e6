"""Proof by how bright the picture's cells are: the same footage agrees in all of them, moment by moment.

Movement says when cells become brighter or darker, which needs some seconds of it to tell one moment from another. How
bright the cells of the 8 × 8 grid are says more: two encodings of one picture agree in all 64 within some hundredths of
the picture's deviation, and no picture of something else does, nor one of the same scene in which something moves. So
it shows to a tick where known footage ends, and proves stretches too short, or with too little movement, for the other
proof.

Stillness proves nothing here either: what counts is how many cells agree *while they change* in the known video. Of
other takes of known scenes, at whatever offset, no run of agreeing ticks came to half of what is asked (`DESIGN.md`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.matching.levels import ALIKE, relit
from videonovelty.matching.proof import ticks_on
from videonovelty.matching.stretch import runs
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, MotionProfile
from videonovelty.settings import ProofSettings
from videonovelty.signatures.motion import LEVEL_UNIT

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

CHANGED = 0.2
"""Deviations by which a cell of the known video is brighter or darker two ticks before or after: it changes there."""
CHANGED_TICKS = 2
OUT_OF_TIME = 1
"""Ticks of the query by which it may be out of time."""
LEAST_TICKS, LEAST_ON_PROVEN_LINE = 6, 3
"""Ticks at which cells change: one cut between still pictures is seen at four, and proves no more than they do. On a
line that movement proves elsewhere fewer are enough."""
CLOSE = 0.1
"""Median difference of all cells, fitted to all of them, above which a tick is not looked at more closely."""


@dataclass(frozen=True, slots=True)
class LevelRun:
    """Ticks in a row at which every cell is as bright as in the known video, and some of them change."""

    first_seconds: float
    last_seconds: float
    """Time of the query at the first and the last tick."""
    changes: int
    """Cells that change at ticks of the run, summed over it."""


def level_runs(
    query: MotionProfile, known: MotionProfile, line: Line, settings: ProofSettings, *, proven_line: bool = False
) -> list[LevelRun]:
    """Return the runs on a line that prove it, in the order of time; none where levels are missing.

    `query` is turned as the line says, and keeps levels at every tick; movement proves a `proven_line` elsewhere. What
    does not change for longer than `max_still_inside_seconds` divides a run, and at its ends no more than
    `max_still_seconds` of that belong to it.
    """
    if query.levels is None or known.levels is None:
        return []
    least = LEAST_ON_PROVEN_LINE if proven_line else LEAST_TICKS
    step = known.step_seconds * known.fine_every
    index, known_index, at = ticks_on(line, query, len(known.levels), step)
    if len(at) < least:
        return []
    alike = np.zeros(len(at), np.bool_)
    shown, there = (side.astype(np.float64) * LEVEL_UNIT for side in (query.levels[index], known.levels[known_index]))
    for first, last in runs(_close(shown, there)):
        if last - first + 1 >= least:
            some = slice(first, last + 1)
            alike[some] = _as_bright(query.levels, index[some], shown[some], there[some])
    changes = _changing(there)
    found = []
    for first, last in runs(alike):
        moving = first + np.flatnonzero(changes[first : last + 1])
        for part in _unbroken(moving, at, settings.max_still_inside_seconds):
            total = int(changes[part].sum())
            if len(part) >= least and total >= settings.level_changes:
                begins = at >= max(at[first], at[part[0]] - settings.max_still_seconds)
                ends = at <= min(at[last], at[part[-1]] + settings.max_still_seconds)
                found.append(LevelRun(float(at[begins][0]), float(at[ends][-1]), total))
    return found


def _close(shown: F64, known: F64) -> Bool:
    """Return at which ticks most cells agree once contrast and brightness are fitted to all, shape (t,)."""
    one, other = (side - side.mean(axis=1, keepdims=True) for side in (shown, known))
    contrast = (one * other).sum(axis=1) / np.maximum((other**2).sum(axis=1), 1e-9)
    return np.asarray(np.median(np.abs(one - contrast[:, None] * other), axis=1) <= CLOSE)


def _as_bright(levels: npt.NDArray[np.int8], index: I64, shown: F64, known: F64) -> Bool:
    """Return at which ticks every cell is as bright as the known one, shape (t,)."""
    due = relit(shown, known)
    near = np.clip(index + np.arange(-OUT_OF_TIME, OUT_OF_TIME + 1)[:, None], 0, len(levels) - 1)
    around = levels[near].astype(np.float64) * LEVEL_UNIT
    return np.asarray(np.maximum(around.min(axis=0) - due, due - around.max(axis=0)).max(axis=1) <= ALIKE)


def _changing(known: F64) -> I64:
    """Return how many cells change around each tick, shape (t,)."""
    changed = np.abs(known[CHANGED_TICKS:] - known[:-CHANGED_TICKS]) >= CHANGED
    found = np.zeros(known.shape, np.bool_)
    found[CHANGED_TICKS:] |= changed
    found[:-CHANGED_TICKS] |= changed
    return np.asarray(found.sum(axis=1))


def _unbroken(ticks: I64, at: F64, most_seconds: float) -> list[I64]:
    """Return ticks in parts, none with a gap longer than `most_seconds`."""
    if len(ticks) == 0:
        return []
    return np.split(ticks, np.flatnonzero(np.diff(at[ticks]) > most_seconds) + 1)
