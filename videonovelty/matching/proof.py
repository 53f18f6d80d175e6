"""Proof of the same footage: aligned moments agree better than other moments do.

Two takes of one scene look alike in every frame, so no likeness of frames proves anything; what proves is time. For a
line between a query and a known video every tick gets a score: the signs of change of both sides agree (positive),
contradict one another (negative), or nothing moves (nothing). Keyframes add what the pictures say. The stretches
that hold are the best two-state path through the scores (Viterbi), so three new seconds inside known footage drop out
where they begin and end instead of being bridged. A stretch is *proven* when its agreement is high, rests on
enough changes, and stands out of the agreement at all other offsets (the diagonal test).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.proof_kernels import best_near, best_path, on_line, summed_between
from videonovelty.matching.timeline import Correlation, Line, correlate_motion
from videonovelty.records import F64, FINE_CELLS, MotionProfile
from videonovelty.settings import ProofSettings
from videonovelty.signatures.motion import FINE_GRID, LAG_SECONDS, excerpt, signs_at_speed

MOVE_TOGETHER = 4.0
"""Cells of the 4 × 4 grid that move as one in ordinary footage; where more do, the others say nothing new."""
TELLS_SPEED = 0.65
"""Share of the changes that must count at another speed than the plain one: at one of many, flashes fall together."""
Window = tuple[int, int, int, int]
"""First row and column of the fine grid, and how many there are of both."""
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TickEvidence:
    """What the motion says at each coarse tick on a line, in query time order."""

    query_seconds: F64
    """Shape (t,): query time of each known tick on the line."""
    agree: F64
    """Shape (t,): sum of products of signs."""
    query_changes: F64
    """Shape (t,): cells that changed on the query side."""
    known_changes: F64

    @property
    def step_seconds(self) -> float:
        """Query time between two ticks."""
        return float(self.query_seconds[1] - self.query_seconds[0]) if len(self.query_seconds) > 1 else 0.0


def evidence_on_line(query: MotionProfile, known: MotionProfile, line: Line) -> TickEvidence:
    """Return the evidence at every known tick that the line maps into the query. `query` is already turned."""
    return TickEvidence(
        *on_line(
            np.ascontiguousarray(signs_at_speed(query, line.speed)), query.step_seconds, query.grade,
            np.ascontiguousarray(known.signs), known.step_seconds, known.grade, line.speed, line.offset_seconds,
        )
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Around:
    """What the movement around some times says; shape (n,) each."""

    agreement: F64
    ticks: I64
    """How many ticks that rests on."""
    alike: Bool
    """Enough moves, and agrees."""
    against: Bool
    """Enough moves, and contradicts the line."""


def movement_around(
    seconds: F64, evidence: TickEvidence, proof: ProofSettings, *, within: tuple[F64, F64] | None = None
) -> Around:
    """Return for each time whether the movement around it agrees by itself, and whether it contradicts the line.

    `within` are the bounds beyond which nothing is known about a time: a shot speaks for itself, not for the next one.

    In fast movement two encodings sample pictures some hundredths of a second apart and PDQ already differs by half its
    bits: there the movement speaks, as the pictures do where nothing moves. And in another take of the scene the
    pictures agree at all times: there the movement contradicts.
    """
    at = evidence.query_seconds
    low, high = seconds - proof.around_seconds, seconds + proof.around_seconds
    if within is not None:
        low, high = np.maximum(low, within[0] - 1e-6), np.minimum(high, within[1] - 1e-6)
    sums = np.stack([evidence.agree, evidence.query_changes, evidence.known_changes, np.ones(len(at))])
    agree, ours, theirs, ticks = summed_between(at, low, high, sums)
    mean = 0.5 * (ours + theirs)
    agreement = agree / np.maximum(mean, 1.0)
    enough = mean >= proof.around_events
    alike = enough & (agreement >= proof.around_agreement)
    return Around(agreement, ticks.astype(np.int64), alike, enough & (agreement < proof.around_contradiction))


def ticks_on(line: Line, query: MotionProfile, ticks: int, step_seconds: float) -> tuple[I64, I64, F64]:
    """Return the query's ticks, the known ticks (of `ticks`, every `step_seconds`) they lie on, and query times."""
    known_index = np.arange(ticks)
    at = (known_index * step_seconds - line.offset_seconds) / line.speed
    index = np.round(at / query.step_seconds).astype(np.int64)
    inside = (index >= 0) & (index < len(query.signs))
    return index[inside], known_index[inside], at[inside].astype(np.float64)


def best_offset(
    query: MotionProfile, known: MotionProfile, line: Line, *, stretch: tuple[float, float], reach_seconds: float
) -> Line:
    """Return the line moved by at most `reach_seconds` to where the motion within `stretch` (query time) agrees best.

    Its `score` is the agreement there, 0 where nothing moves or agrees.
    """
    first = max(0, int(stretch[0] / query.step_seconds))
    last = min(len(query.signs), int(np.ceil(stretch[1] / query.step_seconds)) + 1)
    part = excerpt(query, first, last)
    # of a long known video only what the part can lie on is looked at
    known_first = max(0, int((line.speed * stretch[0] + line.offset_seconds - reach_seconds) / known.step_seconds) - 2)
    known_last = int((line.speed * stretch[1] + line.offset_seconds + reach_seconds) / known.step_seconds) + 3
    there = known.signs[known_first : max(known_first, known_last)]
    nearby = MotionProfile(known.step_seconds, there, np.zeros((len(there), FINE_CELLS), np.int8), grade=known.grade)
    shift = first * query.step_seconds * line.speed - known_first * known.step_seconds
    correlation = correlate_motion(part, nearby, speed=line.speed, least_ticks=4)
    # the correlation's offset is time of what is nearby minus speed × (query time − start of the part)
    best = best_near(
        correlation.offset_seconds, correlation.agreement, correlation.events, line.offset_seconds + shift,
        reach_seconds + 1e-9,
    )  # fmt: skip
    if best < 0:
        return replace(line, score=0.0)
    return replace(
        line,
        offset_seconds=float(correlation.offset_seconds[best]) - shift,
        score=float(correlation.agreement[best]),
    )


def holding(
    evidence: TickEvidence,
    keyframe_seconds: F64,
    keyframe_scores: F64,
    *,
    expected: float,
    switch_cost: float,
    penalty: F64 | float = 0.0,
) -> Bool:
    """Return for each tick whether the line holds there: the two-state path with the highest total score.

    A tick scores its agreement minus `expected` of its changes; a keyframe's score (shape (k,), positive: looks like
    the aligned moment) goes to the tick nearest to it. Each change of state costs `switch_cost`; `penalty`, a number or
    one a tick, is taken off the ticks' scores.
    """
    ticks = len(evidence.query_seconds)
    if ticks == 0:
        return np.zeros(0, np.bool_)
    score = evidence.agree - expected * 0.5 * (evidence.query_changes + evidence.known_changes) - penalty
    if len(keyframe_seconds):
        at = np.searchsorted(evidence.query_seconds, keyframe_seconds - 0.5 * evidence.step_seconds)
        np.add.at(score, np.minimum(at, ticks - 1), keyframe_scores)
    return np.asarray(best_path(score, float(switch_cost)), np.bool_)


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a stretch is the same footage, with the numbers that say so."""

    proven: bool
    seconds: float
    agreement: float
    """Correlation of the signs of change over the stretch, −1 … 1."""
    events: float
    """Changes the agreement rests on."""
    runner_up: float
    """The best agreement of the stretch at any other offset, more than a second away; 0 where there is none."""
    why_not: str = ""


def prove(
    query: MotionProfile,
    known: MotionProfile,
    line: Line,
    start_seconds: float,
    end_seconds: float,
    pictures: PictureEvidence,
    settings: ProofSettings,
) -> Proof:
    """Return the proof that `[start_seconds, end_seconds)` of the query, on `line`, is footage of the known video.

    The movement must agree, the more the shorter the stretch and the less the pictures tell the moments apart, and it
    must agree better than at any other offset.
    """
    seconds = end_seconds - start_seconds
    evidence = evidence_on_line(query, known, line)
    inside = (evidence.query_seconds >= start_seconds - 1e-6) & (evidence.query_seconds < end_seconds + 1e-6)
    changes = float(np.sqrt(evidence.query_changes[inside].sum() * evidence.known_changes[inside].sum()))
    agreement = float(evidence.agree[inside].sum() / changes) if changes > 0 else 0.0
    share = independent_share(query, known, line, start_seconds, end_seconds)
    independent = changes * share
    runner_up = _runner_up(query, known, line, start_seconds, end_seconds, changes)
    needed = needed_agreement(seconds, pictures.doubt, settings)
    margin = settings.sure_margin + (settings.doubtful_margin - settings.sure_margin) * pictures.doubt
    events = settings.min_events + (settings.doubtful_events - settings.min_events) * pictures.doubt
    events *= 1.0 + (settings.faint_events - 1.0) * pictures.faint
    # footage that repeats itself agrees at several offsets, and it is the same footage at each of them
    repeats = agreement >= settings.repeating_agreement and pictures.median_bits <= settings.near_bits
    why_not = ""
    if seconds < settings.min_seconds:
        why_not = f"only {seconds:.1f} s aligned"
    elif independent < events:
        why_not = f"too little moves ({independent:.0f} changes of {events:.0f} needed)"
    elif line.speed != 1.0 and share < TELLS_SPEED:
        why_not = "the whole picture changes at once, which tells no speed"
    elif pictures.median_bits > settings.max_median_bits:
        why_not = f"the aligned pictures differ by {pictures.median_bits:.0f} of 256 bits"
    elif agreement < needed:
        why_not = f"the movements do not agree ({agreement:.2f} of {needed:.2f} needed)"
    elif agreement < runner_up + margin and not repeats:
        why_not = f"other moments agree nearly as well ({agreement:.2f} here, {runner_up:.2f} elsewhere)"
    return Proof(not why_not, seconds, agreement, changes, runner_up, why_not)


def independent_share(query: MotionProfile, known: MotionProfile, line: Line, start: float, end: float) -> float:
    """Return the share, 0 … 1, of a stretch's changes that count: cells that always change together are one.

    A picture that turns black and white again changes in all cells at once, and a few moments tell of all of them. How
    many cells change, and in how many ways, are participation ratios: of the changes of each cell, and of the
    eigenvalues of their second moments (Bell & Dean 1970). In ordinary footage up to `MOVE_TOGETHER` move as one.
    """
    first, last = (max(0, int(np.ceil(at / known.step_seconds))) for at in line.known_seconds(np.array([start, end])))
    query_first, query_last = int(start / query.step_seconds), int(np.ceil(end / query.step_seconds))
    sides = (signs_at_speed(query, line.speed)[query_first:query_last], known.signs[first:last])
    return min(1.0, MOVE_TOGETHER / min(map(_moving_together, sides)))


def _moving_together(signs: npt.NDArray[np.int8]) -> float:
    """Return how many cells change as one, on average, of signs (ticks, cells); 1 where nothing does."""
    changes = signs.astype(np.float64)
    moments = changes.T @ changes
    each = moments.diagonal()
    if not each.any():
        return 1.0
    cells = each.sum() ** 2 / (each**2).sum()
    ways = each.sum() ** 2 / (moments**2).sum()
    return float(cells / ways)


@dataclass(frozen=True, slots=True)
class PictureEvidence:
    """What the keyframes of a stretch say about its line."""

    median_bits: float
    """Median PDQ distance to the aligned moments."""
    doubt: float
    """0: the pictures look like their aligned moments and unlike the other moments of the known video; 1: like all of
    them, as those of a fixed camera do, and then they say nothing about the moment."""
    faint: float = 0.0
    """Share of them, 0 … 1, in which little is to be seen."""


def moves_otherwise_somewhere(
    query: MotionProfile,
    known: MotionProfile,
    line: Line,
    start: float,
    end: float,
    settings: ProofSettings,
    *,
    in_region: bool = False,
    settled: npt.NDArray[np.bool_] | None = None,
) -> tuple[Window, ...]:
    """Return the windows of the fine grid in which much moves, and far less of it as in the known video than around.

    New footage playing in a corner of a known one leaves most of the picture in agreement; what moves in its corner
    does not agree, and does not follow what moves there in the known video. A caption or a logo covers cells, but does
    not move in them. At another speed than the plain one it must be so around the line as well. `query` is turned
    already; `in_region`: both sides are of a part of the known picture, in which less may move otherwise. Cells that
    are `settled`, shape (64,), are left out: what moves in them is known.
    """
    # the fine grid is of one lag: a change is centred in its lag, which is another time at another speed
    centre = line.offset_seconds + 0.5 * LAG_SECONDS * (1.0 - line.speed)
    off = (0.0,) if line.speed == 1.0 else _OFF_SECONDS
    lines = [replace(line, offset_seconds=centre + one) for one in off]
    least = settings.region_window_agreement if in_region else settings.window_agreement
    left = np.ones(FINE_CELLS) if settled is None else (~settled).astype(np.float64)
    found = [_moves_otherwise_on(query, known, one, (start, end), settings, least, left) for one in lines]
    return tuple(sorted(set().union(*found))) if all(found) else ()


def _moves_otherwise_on(
    query: MotionProfile,
    known: MotionProfile,
    line: Line,
    stretch: tuple[float, float],
    settings: ProofSettings,
    window_agreement: float,
    left: F64,
) -> set[Window]:
    index, known_index, at = ticks_on(line, query, len(known.fine), known.step_seconds * known.fine_every)
    inside = (at >= stretch[0] - 1e-6) & (at < stretch[1] + 1e-6)
    steps = query.fine[index[inside]].astype(np.float64)
    there = known.fine[known_index[inside]].astype(np.float64)
    lit = _relit(steps, there)
    if lit.mean() <= _MOST_RELIT:
        steps, there = steps[~lit], there[~lit]
    large = np.where(np.abs(steps) >= _LEAST_STEPS, steps, 0.0)
    changes, agree, squares = np.abs(large).sum(axis=0), (large * there).sum(axis=0), (large**2).sum(axis=0)
    known_changes, followed = np.abs(there).sum(axis=0), (np.sign(steps) * there).sum(axis=0)
    # what is seen in a window counts with one deviation on top, were the signs independent
    whole = max(0.0, float(agree.sum()) / max(1.0, float(changes.sum())))
    moving = (left * changes) @ _WINDOWS.columns
    agreed, chance = (left * agree) @ _WINDOWS.columns, np.sqrt((left * squares) @ _WINDOWS.columns)
    otherwise = (moving >= settings.window_changes) & (agreed + chance < window_agreement * whole * moving)
    whole = max(0.0, float(followed.sum()) / max(1.0, float(known_changes.sum())))
    due = (left * known_changes) @ _LARGER_WINDOWS.columns
    moving = (left * changes) @ _LARGER_WINDOWS.columns
    unmoved = (due >= settings.covered_changes) & (moving >= settings.covered_changes)
    unmoved &= (left * followed) @ _LARGER_WINDOWS.columns + np.sqrt(due) < settings.covered_agreement * whole * due
    return {_WINDOWS.boxes[i] for i in np.flatnonzero(otherwise)} | {
        _LARGER_WINDOWS.boxes[i] for i in np.flatnonzero(unmoved)
    }


def _relit(steps: F64, there: F64) -> Bool:
    """Return at which ticks the query's picture becomes brighter or darker as a whole, as in a fade, shape (t,).

    `steps` and `there` are the changes of both sides, shape (t, cells). Grey levels then say nothing about a part.
    """
    brighter = (steps >= _LEAST_STEPS).mean(axis=1) - (there > 0).mean(axis=1)
    darker = (steps <= -_LEAST_STEPS).mean(axis=1) - (there < 0).mean(axis=1)
    return np.asarray(np.maximum(brighter, darker) >= _RELIT)


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Windows of the fine grid."""

    boxes: tuple[Window, ...]
    columns: F64
    """Shape (cells, windows): 1 for the cells of each."""


def _windows(side: int, shortest: int, longest: int) -> _Windows:
    """Return every window of `shortest` … `longest` cells each way, nearly square."""
    boxes, found = [], []
    for height, width in itertools.product(range(shortest, longest + 1), repeat=2):
        if abs(height - width) > 1:
            continue
        for top, left in np.ndindex(side - height + 1, side - width + 1):
            window = np.zeros((side, side))
            window[top : top + height, left : left + width] = 1.0
            found.append(window.ravel())
            boxes.append((top, left, height, width))
    return _Windows(tuple(boxes), np.stack(found, axis=1))


_WINDOWS, _LARGER_WINDOWS = _windows(FINE_GRID, 1, 3), _windows(FINE_GRID, 2, 3)
_RELIT = 0.35
"""A tick is lit anew where so much more of the cells becomes brighter than in the known video, or darker: more than any
inset of half the sides covers."""
_MOST_RELIT = 1 / 3
"""Such ticks are left out where they are no more of a stretch: a fade at either end, and not a flicker."""
_OFF_SECONDS = (-0.08, 0.0, 0.08)
"""At another speed the fine grid is looked at so far off as well: its changes lie less exactly."""
_LEAST_STEPS = 2.0
"""A change of less than this many dead zones may be the encoder's: a still emblem becomes a little brighter and darker
from frame to frame."""


def needed_agreement(seconds: float, doubt: float, settings: ProofSettings) -> float:
    """Return the agreement a stretch of this length needs.

    By chance the best of all offsets reaches less the longer the stretch: 99 % of 6,900 stretches of other moments of
    the same scenes stay below 0.45 + 0.54 / seconds.
    """
    sure = settings.sure_agreement + settings.sure_agreement_seconds / seconds if seconds > 0 else 1.0
    doubtful = settings.doubtful_agreement + settings.doubtful_agreement_seconds / seconds if seconds > 0 else 1.0
    return min(settings.max_agreement, sure + (doubtful - sure) * doubt)


def tells_the_moment(proof: Proof, settings: ProofSettings) -> bool:
    """Return whether the movement would prove a stretch even where all is in doubt, whatever the pictures say."""
    return proof.proven or (
        proof.seconds >= settings.min_seconds
        and proof.events >= settings.doubtful_events
        and proof.agreement >= needed_agreement(proof.seconds, 1.0, settings)
        and proof.agreement >= proof.runner_up + settings.doubtful_margin
    )


def _runner_up(
    query: MotionProfile, known: MotionProfile, line: Line, start: float, end: float, changes: float
) -> float:
    """Return the best agreement of the stretch at another offset, at which at least half as much moves.

    Where the known video is too short for other offsets, 1.5 deviations of chance stand for it: independent changes
    whose neighbours in time repeat each other over the lag.
    """
    first, last = max(0, int(start / query.step_seconds)), int(np.ceil(end / query.step_seconds))
    part = excerpt(query, first, last)
    correlation: Correlation = correlate_motion(
        part, known, speed=line.speed, least_ticks=max(4, int(0.5 * (end - start) * line.speed / known.step_seconds))
    )
    centre = line.offset_seconds + first * query.step_seconds * line.speed
    others = correlation.agreement[
        np.isfinite(correlation.agreement)
        & (np.abs(correlation.offset_seconds - centre) > 1.0)
        & (correlation.events >= 0.5 * changes)
    ]
    if len(others) < 20:
        # 4 of a tick's 16 cells and 3 neighbouring ticks move together in ordinary footage: a twelfth counts
        return 3.0 * float(np.sqrt(12.0 / max(changes, 12.0))) * 0.5
    return max(0.0, float(others.max()))
