"""The compiled kernels of `matching.proof` and `matching.timeline`: what the movement says tick by tick.

Called many times for short stretches, where the library's calls on whole arrays would cost more than what they do.
Nothing here checks its arguments.
"""

from __future__ import annotations

import numpy as np

from videonovelty.matching.kernels import jit


@jit
def on_line(  # type: ignore[no-untyped-def]
    query, query_step, query_grade, known, known_step, known_grade, speed, offset
):
    """Return query times of the known ticks a line maps into the query, and there the sum of products of both sides'
    signs and the sums of their squares; shape (t,) each. `query` and `known` have shape (ticks, cells)."""
    ticks, cells = known.shape
    at = np.empty(ticks)
    agree, ours, theirs = np.empty(ticks), np.empty(ticks), np.empty(ticks)
    n = 0
    for tick in range(ticks):
        seconds = (tick * known_step - offset) / speed
        index = int(np.rint(seconds / query_step))
        if index < 0 or index >= len(query):
            continue
        both = one = other = 0
        for cell in range(cells):
            a, b = int(query[index, cell]), int(known[tick, cell])
            both, one, other = both + a * b, one + a * a, other + b * b
        at[n] = seconds
        agree[n] = both / (query_grade * known_grade)
        ours[n], theirs[n] = one / query_grade**2, other / known_grade**2
        n += 1
    return at[:n], agree[:n], ours[:n], theirs[:n]


@jit
def summed_between(at, low, high, values):  # type: ignore[no-untyped-def]
    """Return sums of `values`, shape (k, t), over the times `at` (t,) in [low, high); shape (k, len(low))."""
    kinds, ticks = values.shape
    total = np.zeros((kinds, ticks + 1))
    for kind in range(kinds):
        for tick in range(ticks):
            total[kind, tick + 1] = total[kind, tick] + values[kind, tick]
    found = np.empty((kinds, len(low)))
    for place in range(len(low)):
        first = np.searchsorted(at, low[place])
        last = max(first, np.searchsorted(at, high[place]))
        for kind in range(kinds):
            found[kind, place] = total[kind, last] - total[kind, first]
    return found


@jit
def best_path(score, switch_cost):  # type: ignore[no-untyped-def]
    """Return at which ticks the two-state path with the highest total score is on, shape (t,); each change costs."""
    ticks = len(score)
    back = np.zeros((ticks, 2), np.int8)
    off, on = 0.0, -0.5 * switch_cost
    for tick in range(ticks):
        stay_on, turn_on = on, off - switch_cost
        stay_off, turn_off = off, on - switch_cost
        back[tick, 1] = 1 if stay_on >= turn_on else 0
        back[tick, 0] = 0 if stay_off >= turn_off else 1
        on = max(stay_on, turn_on) + score[tick]
        off = max(stay_off, turn_off)
    state = 1 if on - 0.5 * switch_cost > off else 0
    path = np.zeros(ticks, np.bool_)
    for tick in range(ticks - 1, -1, -1):
        path[tick] = state == 1
        state = int(back[tick, state])
    return path


@jit
def normalised(both, energy_known, energy_query, overlap, grades, least_ticks):  # type: ignore[no-untyped-def]
    """Return the agreement at every offset, NaN where too little overlaps or moves, and the changes, 0 there."""
    agreement, events = np.empty(len(both)), np.empty(len(both))
    for row in range(len(both)):
        # to a millionth: what sums differ by must not tell equal offsets apart
        found = np.rint(np.sqrt(max(energy_known[row] * energy_query[row], 0.0)) / grades * 1e6) / 1e6
        enough = overlap[row] >= least_ticks - 0.5 and found >= 0.5
        agreement[row] = both[row] / grades / max(found, 0.5) if enough else np.nan
        events[row] = found if enough else 0.0
    return agreement, events


@jit
def best_near(offset, agreement, events, centre, reach):  # type: ignore[no-untyped-def]
    """Return the row, at most `reach` from `centre`, that agrees best and over most changes, the nearest of equals; −1
    where none agrees."""
    most = 0.0
    for row in range(len(offset)):
        if abs(offset[row] - centre) <= reach and np.isfinite(agreement[row]):
            most = max(most, agreement[row] * np.sqrt(events[row]))
    best, nearest = -1, np.inf
    if most > 0.0:
        for row in range(len(offset)):
            apart = abs(offset[row] - centre)
            if apart > reach or not np.isfinite(agreement[row]) or apart >= nearest:
                continue
            if agreement[row] * np.sqrt(events[row]) >= most - 1e-9:
                best, nearest = row, apart
    return best
