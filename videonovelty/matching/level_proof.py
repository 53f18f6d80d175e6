"""Proof by how bright the picture's cells are: the same footage agrees in all of them, moment by moment.

Movement says when cells become brighter or darker, which needs some seconds of it to tell one moment from another. How
bright the cells of the 8 × 8 grid are says more: two encodings of one picture agree in all 64 within some hundredths of
the picture's deviation, and no picture of something else does, nor one of the same scene in which something moves. So
it shows to a tick where known footage ends, and proves stretches too short, or with too little movement, for the other
proof.

Stillness proves nothing here either: what counts is how many cells agree *while they change* in the known video. Of
other takes of known scenes, at whatever offset, no run of agreeing ticks came near to what is asked (`DESIGN.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.level_kernels import as_bright, close, laid_over, returning
from videonovelty.matching.levels import placed_grids, whole_grids
from videonovelty.matching.proof import PictureEvidence, prove, ticks_on
from videonovelty.matching.shown import Cells
from videonovelty.matching.stretch import KnownSide, Stretch, runs
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, FINE_CELLS, PART_MOVES, MotionProfile, Signatures
from videonovelty.settings import ProofSettings
from videonovelty.signatures.motion import LEVEL_UNIT

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

CHANGED = 0.2
"""Deviations by which a cell of the known video is brighter or darker two ticks before or after: it changes there."""
CHANGED_TICKS = 2
LEAST_TICKS, LEAST_ON_PROVEN_LINE = 6, 4
"""Ticks at which cells change: one cut between still pictures is seen at four, and proves no more than they do. On a
line that movement proves elsewhere that many are enough."""


@dataclass(frozen=True, slots=True)
class LevelRun:
    """Ticks in a row at which every cell is as bright as in the known video, and some of them change."""

    first_seconds: float
    last_seconds: float
    """Time of the query at the first and the last tick."""
    changes: int
    """Cells that change at ticks of the run, summed over it."""


def level_runs(
    query: MotionProfile,
    known: MotionProfile,
    line: Line,
    settings: ProofSettings,
    *,
    proven_line: bool = False,
    cells: Cells | None = None,
) -> list[LevelRun]:
    """Return the runs on a line that prove it, in the order of time; none where levels are missing.

    `query` is turned as the line says, and keeps levels at every tick; with `cells`, the known ones as its pictures
    make them up, those that it shows whole are compared. Movement proves a `proven_line` elsewhere. What does not
    change for longer than `max_still_inside_seconds` divides a run, and at its ends no more than `max_still_seconds`
    of that belong to it.
    """
    if known.levels is None:
        return []
    least = LEAST_ON_PROVEN_LINE if proven_line else LEAST_TICKS
    step = known.step_seconds * known.fine_every
    index, known_index, at = ticks_on(line, query, len(known.levels), step)
    if len(at) < least:
        return []
    there = known.levels[known_index].astype(np.float64) * LEVEL_UNIT
    grids = whole_grids(query) if cells is None else placed_grids(query, cells, there, index)
    if grids is None:
        return []
    seen = np.ones(FINE_CELLS, np.bool_) if grids.seen is None else grids.seen
    alike = np.zeros(len(at), np.bool_)
    for first, last in runs(close(grids.levels, index, there, seen)):
        if last - first + 1 >= least:
            some = slice(first, last + 1)
            due = there[some] if grids.seen is None else laid_over(grids.levels[index[some]], there[some], seen)
            alike[some] = as_bright(grids.levels, index[some], due, seen)
    changes = _changing(there[:, seen], returning(there, seen))
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


def _changing(known: F64, back: Bool) -> I64:
    """Return how many cells change around each tick, shape (t,), changes `back` to an earlier picture not counted."""
    changed = (np.abs(known[CHANGED_TICKS:] - known[:-CHANGED_TICKS]) >= CHANGED) & ~back[CHANGED_TICKS:, None]
    found = np.zeros(known.shape, np.bool_)
    found[CHANGED_TICKS:] |= changed
    found[:-CHANGED_TICKS] |= changed
    return np.asarray(found.sum(axis=1))


def _unbroken(ticks: I64, at: F64, most_seconds: float) -> list[I64]:
    """Return ticks in parts, none with a gap longer than `most_seconds`."""
    if len(ticks) == 0:
        return []
    return np.split(ticks, np.flatnonzero(np.diff(at[ticks]) > most_seconds) + 1)


def with_levels(
    found: Sequence[Stretch],
    line: Line,
    query: Signatures,
    motion: MotionProfile,
    known: KnownSide,
    *,
    counted: Bool,
    bits: npt.NDArray[np.int16],
    settings: ProofSettings,
    cells: Cells | None = None,
) -> list[Stretch]:
    """Return the stretches of one line, those that movement proves widened by what levels prove beside them, and what
    levels prove alone; at other speeds than the plain one no more than the former.

    `motion` is the query's, turned as the line says; `bits`, shape (n_keyframes,), are the PDQ distances of its
    keyframes to the aligned moments, of which those `counted` have something to say. Stretches in which a part of the
    picture moves otherwise are left whole: levels have a say in them later. `cells` as for `level_runs`.
    """
    proven = [one for one in found if one.proof.proven]
    if all_of(query, proven) or known.motion is None:
        return list(found)
    pieces: list[_Piece] = [(one.start_seconds, one.end_seconds, one) for one in proven]
    in_parts = [one for one in found if one.proof.why_not == PART_MOVES]
    step = known.motion.step_seconds * known.motion.fine_every / line.speed
    for run in level_runs(motion, known.motion, line, settings, proven_line=bool(proven), cells=cells):
        start, end = between_ticks(run.first_seconds, run.last_seconds, step, query)
        shown = bits[counted & _within(query, start, end)]
        if any(one.start_seconds < end and start < one.end_seconds for one in in_parts):
            continue
        if (shown <= settings.aligned_bits).any() and not (shown > settings.unlike_bits).any():
            pieces.append((start, end, None))
    widened = [one for one in found if not one.proof.proven]
    for together in _touching(pieces):
        by_movement = [one for _, _, one in together if one is not None]
        start, end = min(start for start, _, _ in together), max(end for _, end, _ in together)
        if len(together) == len(by_movement):
            widened += by_movement
        elif by_movement:
            longest = max(by_movement, key=lambda one: one.end_seconds - one.start_seconds)
            carried = all(one.carried for one in by_movement)
            widened.append(replace(longest, start_seconds=start, end_seconds=end, carried=carried))
        elif line.speed == 1.0 and (proven or end - start >= settings.min_seconds):
            inside = counted & _within(query, start, end)
            seen = PictureEvidence(float(np.median(bits[inside])), 1.0)
            # with the numbers of its movement
            proof = replace(prove(motion, known.motion, line, start, end, seen, settings), proven=True, why_not="")
            like = inside & (bits <= settings.aligned_bits)
            alone = Stretch(known.frames.video_id, line, start, end, proof, int(like.sum()), seen.median_bits)
            widened.append(alone)
    return widened


def all_of(query: Signatures, stretches: Sequence[Stretch]) -> bool:
    """Return whether one of some stretches is all of a query."""
    first, last = float(query.start_seconds[0]), float(query.end_seconds[-1])
    return any(one.start_seconds <= first and one.end_seconds >= last for one in stretches)


_Piece = tuple[float, float, Stretch | None]
"""A piece of time, and the stretch that movement proves there; None where levels do."""


def _touching(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Return pieces in groups of those that overlap or touch, in the order of time."""
    groups: list[list[_Piece]] = []
    end = -np.inf
    for piece in sorted(pieces, key=lambda piece: piece[:2]):
        if piece[0] > end + 1e-6:
            groups.append([])
        groups[-1].append(piece)
        end = max(end, piece[1])
    return groups


def _within(query: Signatures, start: float, end: float) -> Bool:
    return np.asarray((query.pts_seconds >= start - 1e-6) & (query.pts_seconds < end))


def between_ticks(first: float, last: float, step: float, query: Signatures) -> tuple[float, float]:
    """Return the times of a run's first and last tick, moved to a keyframe boundary before the next one, if any."""
    near = query.start_seconds[(query.start_seconds > first - step) & (query.start_seconds <= first + 1e-6)]
    start = float(near[-1]) if len(near) else first
    near = query.end_seconds[(query.end_seconds >= last) & (query.end_seconds < last + step)]
    end = float(near[0]) if len(near) else last
    return start, max(end, start)
