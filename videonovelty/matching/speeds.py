"""Lines at other speeds than the plain one, found by the movement: footage that was sped up or slowed down.

The keyframes of some seconds lie on a line of nearly any speed within their tolerance, so they cannot tell 1.1 from 1.
The movement can: windows of some seconds are held against the known video at many speeds and places around where the
keyframes put them. Windows whose places lie on one line propose it, and its speed and offset are moved to where the
movement from the first of them to the last agrees best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.matching.kernels import jit, ones
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, MotionProfile
from videonovelty.signatures.motion import lag_at_speed

_Words = tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], npt.NDArray[np.int64]]
"""By tick: the cells that became brighter in the lower half of a word and those that became darker in the upper, the
same the other way round, and how many there are of both."""

SLOWEST, FASTEST = 0.45, 2.2
SPEED_STEP = 0.06
"""Speeds tried in a window, the logarithm of one over the last: off by half of that, its ends are off by hundredths."""
PLAIN = 0.03
"""A speed this close to 1 is the plain one, which its own lines prove piece by piece: chance needs no tries there."""
OFF_SECONDS, OFF_SHARE = 0.15, 0.04
"""A window lies on the line of another one this close to it, and this share of the time between them."""
ALIKE = 0.1
"""Speeds of windows on one line, as the logarithm of their ratio."""
REFINED_WITHIN = 0.05
"""A line's speed is moved by at most this share of it."""
REFINED = ((0.05, 0.3), (0.0125, 0.05))
"""Steps and reach, in seconds at the ends of a line and at its middle, of two rounds."""
MAX_SPEED_LINES = 4
PROPOSERS = 64
"""Windows whose lines are tried, the best first: in an hour there are 1,800, most of them of the same few lines."""
LEAST_CHANGES = 40.0
"""Windows in which less changes tell nothing."""

_TRIED = np.exp(np.arange(np.log(SLOWEST), np.log(FASTEST), SPEED_STEP))


@dataclass(frozen=True, slots=True)
class Window:
    """Seconds of a query, and where in the known video their middle is looked for."""

    start_seconds: float
    end_seconds: float
    known_seconds: float

    @property
    def middle_seconds(self) -> float:
        """Query time of the middle."""
        return 0.5 * (self.start_seconds + self.end_seconds)


@dataclass(frozen=True, slots=True)
class _Found:
    """A window at the speed and place, known time of its middle, at which its movement agrees best."""

    window: Window
    speed: float
    known_seconds: float
    agreement: float
    score: float


def lines_at_other_speeds(
    query: MotionProfile,
    known: MotionProfile,
    windows: Sequence[Window],
    *,
    variant: int,
    reach_seconds: float,
    least_agreement: float,
) -> list[Line]:
    """Return up to `MAX_SPEED_LINES` lines that are not at the plain speed, best first; `score` is the agreement.

    `query` is turned by `variant` already. A window is sought `reach_seconds` to both sides, and counts where its
    movement agrees by `least_agreement` over `LEAST_CHANGES`.
    """
    if len(query.signs) == 0 or len(known.signs) == 0:
        return []
    sides = _Sides.of(query, known)
    places = np.arange(-reach_seconds, reach_seconds + 1e-9, 0.5 * known.step_seconds)
    found = []
    for window in windows:
        one = sides.best(window, _TRIED, window.known_seconds + places)
        if one is not None and one.agreement >= least_agreement:
            found.append(one)
    lines: list[Line] = []
    found.sort(key=lambda one: -one.score)
    while found and len(lines) < MAX_SPEED_LINES:
        on_line = _best_supported(found)
        line = _refined(sides, [one for one, is_on in zip(found, on_line, strict=True) if is_on], variant)
        if line is not None and abs(line.speed - 1.0) > PLAIN:
            lines.append(line)
        found = [one for one, is_on in zip(found, on_line, strict=True) if not is_on]
    return lines


def _best_supported(found: Sequence[_Found]) -> npt.NDArray[np.bool_]:
    """Return which windows, shape (n,), lie on the line most others support, of those of the best `PROPOSERS`."""
    at = np.array([one.window.middle_seconds for one in found])
    there = np.array([one.known_seconds for one in found])
    speed = np.log([one.speed for one in found])
    score = np.array([one.score for one in found])
    best, most = np.zeros(len(found), np.bool_), 0.0
    for number, one in enumerate(found[:PROPOSERS]):
        apart = at - at[number]
        off = np.abs(there - there[number] - one.speed * apart)
        on_line = (np.abs(speed - speed[number]) <= ALIKE) & (
            off <= OFF_SECONDS + OFF_SHARE * one.speed * np.abs(apart)
        )
        if score[on_line].sum() > most:
            best, most = on_line, float(score[on_line].sum())
    return best


def _refined(sides: _Sides, members: Sequence[_Found], variant: int) -> Line | None:
    """Return the line through some windows, moved to where the movement from the first to the last agrees best."""
    start = min(one.window.start_seconds for one in members)
    end = max(one.window.end_seconds for one in members)
    middle, half = 0.5 * (start + end), max(0.5 * (end - start), 0.5)
    speed, known = _fitted(members, middle)
    agreement = 0.0
    for step, reach in REFINED:
        n = int(min(reach, REFINED_WITHIN * speed * half) / step)
        speeds = np.asarray(speed + np.arange(-n, n + 1) * (step / half), np.float64)
        places = known + np.arange(-reach, reach + 1e-9, step)
        best = sides.best(Window(start, end, known), speeds, places)
        if best is None:
            return None
        speed, known, agreement = best.speed, best.known_seconds, best.agreement
    return Line(round(speed, 4), known - round(speed, 4) * middle, variant, agreement)


def _fitted(members: Sequence[_Found], at_seconds: float) -> tuple[float, float]:
    """Return speed and known time at a query time of the line through some windows, by weighted least squares."""
    at = np.array([one.window.middle_seconds for one in members])
    there = np.array([one.known_seconds for one in members])
    weight = np.array([one.score for one in members])
    middle, known = float(np.average(at, weights=weight)), float(np.average(there, weights=weight))
    spread = float((weight * (at - middle) ** 2).sum())
    # one window tells the speed by half a step; several far from one another tell it better
    own = float(np.average([one.speed for one in members], weights=weight))
    fitted = float((weight * (at - middle) * (there - known)).sum()) / spread if spread > 0 else own
    speed = float(np.clip(fitted, own * (1 - REFINED_WITHIN), own * (1 + REFINED_WITHIN)))
    return speed, known + speed * (at_seconds - middle)


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """Both profiles as bits, one word a tick."""

    query: _Words
    """Shape (lags, m) each: over `LAG_SECONDS`, then over the other lags where the query keeps them."""
    query_step: float
    known: _Words
    """Shape (1, m) each."""
    known_step: float

    @classmethod
    def of(cls, query: MotionProfile, known: MotionProfile) -> _Sides:
        lags = [query.signs] if query.lagged is None else [query.signs, *np.moveaxis(query.lagged, 1, 0)]
        ours, theirs = _words(np.stack(lags), query.grade), _words(known.signs[None], known.grade)
        return cls(ours, query.step_seconds, theirs, known.step_seconds)

    def best(self, window: Window, speeds: F64, places: F64) -> _Found | None:
        """Return a window at the best of `speeds` and `places`, known times of its middle; None: too little moves."""
        lags = np.array([lag_at_speed(float(speed)) for speed in speeds], np.float64)  # none is NaN
        rows = np.where(np.isnan(lags) | (len(self.query[0]) == 1), 0.0, lags + 1.0).astype(np.int64)
        speed, place, agreement, score = _best_place(
            *self.query, *self.known, self.query_step, self.known_step, window.start_seconds, window.end_seconds,
            speeds, rows, places,
        )  # fmt: skip
        return _Found(window, speed, place, agreement, score) if score > 0.0 else None


def _words(signs: npt.NDArray[np.int8], grade: int) -> _Words:
    """Return what changes at each tick, of signs whose last axis are the 16 cells, as bits of one word."""
    twice = 2 * signs.astype(np.int16)
    changed = np.stack([twice >= grade, twice <= -grade], axis=-2)
    both, swapped = (
        np.packbits(sides.reshape(*signs.shape[:-1], -1), axis=-1, bitorder="little").view(np.uint32)[..., 0]
        for sides in (changed, changed[..., ::-1, :])
    )
    return both, swapped, np.bitwise_count(both).astype(np.int64)


@jit
def _best_place(  # type: ignore[no-untyped-def]
    query_bits,
    query_swapped,
    query_count,
    known_bits,
    _,
    known_count,
    query_step,
    known_step,
    start,
    end,
    speeds,
    rows,
    places,
):
    """Return the best speed, place, known time of the window's middle, agreement and score; 0 where none counts.

    `rows` are the query's rows the speeds, shape (s,), are compared with.
    """
    middle = 0.5 * (start + end)
    best_speed, best_place, best_agreement, best_score = 0.0, 0.0, 0.0, 0.0
    ticks = query_bits.shape[1]
    for number in range(len(speeds)):
        speed, row = speeds[number], rows[number]
        per_tick = known_step / (speed * query_step)
        for place in places:
            first = max(0, int(np.ceil((place + speed * (start - middle)) / known_step)))
            last = min(known_bits.shape[1], int(np.ceil((place + speed * (end - middle)) / known_step)))
            begin = (middle - place / speed) / query_step
            agree, changed, known_changed = 0, 0, 0
            for tick in range(first, last):
                at = int(np.rint(begin + tick * per_tick))
                if at < 0 or at >= ticks:
                    continue
                there = known_bits[0, tick]
                agree += int(ones(query_bits[row, at] & there)) - int(ones(query_swapped[row, at] & there))
                changed += query_count[row, at]
                known_changed += known_count[0, tick]
            events = np.sqrt(float(changed) * known_changed)
            if events < LEAST_CHANGES:
                continue
            agreement = agree / events
            # the faster, the more known ticks there are to change
            score = agreement * np.sqrt(events / speed)
            if score > best_score:
                best_speed, best_place, best_agreement, best_score = speed, place, agreement, score
    return best_speed, best_place, best_agreement, best_score
