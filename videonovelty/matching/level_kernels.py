"""The compiled kernels of `matching.levels`: levels fitted, laid over each other and compared, tick by tick.

Levels have shape (t, cells), float64, in deviations of their picture; a whole picture has 8 × 8 cells. Nothing here
checks its arguments: `levels` does.
"""

from __future__ import annotations

import numpy as np

from videonovelty.matching.kernels import jit
from videonovelty.signatures.motion import FINE_GRID

DIFFERENT = 0.25
"""Deviations of the picture beyond what is excused by which a cell differs…"""
LEAST_TICKS, OF_TICKS = 3, 5
"""…at so many of so many known ticks one after the other: two seconds of it, and not a cut that is out of step."""
ALIKE = 0.15
"""Deviations of the picture within which all cells are of pictures over which nothing lies."""
OUT_OF_PLACE = 0.15
"""Share of a cell by which the pictures may lie apart: what differs from the cells around it may differ by as much of
that difference."""
OUT_OF_TIME = 1
"""Ticks of the query by which it may be out of time: any level it has within them may be the one of the moment."""
SAME_LEVEL = 0.1
"""Deviations of the picture by which levels may differ: coding, noise and rounding."""
AGREEING = 0.65
"""Share of the cells the contrast is fitted to: those that agree best."""
FITS = 4
STEADY = 0.1
"""Variance that pulls the fitted contrast towards that of the known picture: cells that agree may all be black."""
LEAST_CONTRAST_FITTED, MOST_CONTRAST_FITTED = 0.3, 3.0
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""How much of a cell still things may leave of the known picture: what one of them explains does not play."""
AT_ONCE, LEAST_AT_ONCE = 0.5, 2
"""Where a stretch begins or ends, a single tick is enough at which so many cells differ by this beyond what is excused:
movement says that to half a second only."""
MOSTLY = 0.05
"""Median difference beyond what is excused up to which a cell is taken for the known one."""
CLOSE = 0.1
"""Median difference of all cells, fitted to all of them, above which a tick is not looked at more closely."""
RETURNS_WITHIN, SAME_PICTURE = 75, 0.2
"""Ticks before a moment among which the same picture is looked for, half a minute; by how much its cells may differ."""
TICKS_LAID, LAID_ROUNDS, LARGEST_MOVE, RELUCTANCE = 10, 3, 1.2, 0.001
"""Known ticks that are laid over the query's at once, and how often; by how many cells at most, and how reluctantly."""
CLEARLY = 0.02
"""By how much less a tick beside the aligned one must differ in sum."""

_SIDE = 0.5 * (FINE_GRID - 1)


@jit
def relit(shown, known, seen):  # type: ignore[no-untyped-def]
    """Return the known levels in the contrast and brightness of those shown, both (t, cells), tick by tick.

    Fitted to the cells that agree best, of those that are `seen`, shape (cells,).
    """
    ticks, cells = shown.shape
    last = -1
    for cell in range(cells):
        last += seen[cell]
    place = int(AGREEING * last)
    beyond, next_place = AGREEING * last - place, min(place + 1, last)
    fitted = np.empty((ticks, cells))
    apart, among, counted = np.empty(cells), np.empty(cells), np.empty(cells, np.bool_)
    for tick in range(ticks):
        one, other = shown[tick], known[tick]
        counted[:] = seen
        for number in range(FITS):
            if number:
                n = 0
                for cell in range(cells):
                    apart[cell] = abs(one[cell] - fitted[tick, cell])
                    if seen[cell]:
                        among[n] = apart[cell]
                        n += 1
                low, high = _ranked(among, n, place, next_place)
                most = low + beyond * (high - low)
                for cell in range(cells):
                    counted[cell] = seen[cell] and apart[cell] <= most
            total = mean_one = mean_other = 0.0
            for cell in range(cells):
                if counted[cell]:
                    total, mean_one, mean_other = total + 1.0, mean_one + one[cell], mean_other + other[cell]
            mean_one, mean_other = mean_one / total, mean_other / total
            both = variance = 0.0
            for cell in range(cells):
                if counted[cell]:
                    off = other[cell] - mean_other
                    both += (one[cell] - mean_one) * off
                    variance += off * off
            contrast = (both / total + STEADY) / (variance / total + STEADY)
            contrast = min(max(contrast, LEAST_CONTRAST_FITTED), MOST_CONTRAST_FITTED)
            for cell in range(cells):
                fitted[tick, cell] = mean_one + contrast * (other[cell] - mean_other)
    return fitted


@jit
def _ranked(values, n, place, next_place):  # type: ignore[no-untyped-def]
    """Return the values at two places of the first n of `values` in order, which are few."""
    low = high = 0.0
    for i in range(n):
        value, less, equal = values[i], 0, 0
        for j in range(n):
            less += values[j] < value
            equal += values[j] == value
        if less <= place < less + equal:
            low = value
        if less <= next_place < less + equal:
            high = value
    return low, high


@jit
def laid_over(shown, known, seen):  # type: ignore[no-untyped-def]
    """Return the known levels moved, stretched and turned by what lays them best over those shown, both (t, 64).

    Some ticks at a time, for pictures may move or grow slowly (Lucas & Kanade, "An iterative image registration
    technique", IJCAI 1981; Geman and McClure's weights leave out what plays over the picture).
    """
    moved = known.copy()
    ticks = len(known)
    for start in range(0, ticks, TICKS_LAID):
        first = max(0, min(start, ticks - TICKS_LAID))
        last = min(ticks, start + TICKS_LAID)
        move = np.zeros(6)
        laid = known[first:last].copy()
        for _ in range(LAID_ROUNDS):
            fitted = relit(shown[first:last], laid, seen)
            move = move + _step(shown[first:last], fitted, seen)
            for part in range(6):
                move[part] = min(max(move[part], -LARGEST_MOVE), LARGEST_MOVE)
            _resample(known[first:last], move, laid)
        moved[first:last] = laid
    return moved


@jit
def _step(shown, fitted, seen):  # type: ignore[no-untyped-def]
    """Return the move, shape (6,), that takes `fitted` closest to `shown`, linearised: right and down, each constant
    and by how far right and down a cell lies."""
    normal, along, slopes = np.zeros((6, 6)), np.zeros(6), np.empty(6)
    counted = 0.0
    for tick in range(len(shown)):
        for cell in range(FINE_GRID * FINE_GRID):
            if not seen[cell]:
                continue
            counted += 1.0
            row, column = cell // FINE_GRID, cell % FINE_GRID
            above, below = max(row - 1, 0), min(row + 1, FINE_GRID - 1)
            left, right = max(column - 1, 0), min(column + 1, FINE_GRID - 1)
            levels = fitted[tick]
            down = (levels[below * FINE_GRID + column] - levels[above * FINE_GRID + column]) / (below - above)
            across = (levels[row * FINE_GRID + right] - levels[row * FINE_GRID + left]) / (right - left)
            x, y = column / _SIDE - 1.0, row / _SIDE - 1.0
            slopes[0], slopes[1], slopes[2] = across, across * x, across * y
            slopes[3], slopes[4], slopes[5] = down, down * x, down * y
            apart = shown[tick, cell] - levels[cell]
            weight = 1.0 / (1.0 + (apart / SAME_LEVEL) ** 2) ** 2
            for i in range(6):
                along[i] += weight * slopes[i] * apart
                for j in range(6):
                    normal[i, j] += weight * slopes[i] * slopes[j]
    for i in range(6):
        normal[i, i] += RELUCTANCE * counted
    return _solved(normal, along)


@jit
def _solved(matrix, right):  # type: ignore[no-untyped-def]
    """Return x of matrix · x = right, for a symmetric positive definite matrix, by Cholesky's factor; both are spoilt.

    Written out, for the library's solver needs another package at run time.
    """
    n = len(right)
    for j in range(n):
        for k in range(j):
            matrix[j, j] -= matrix[j, k] ** 2
        matrix[j, j] = np.sqrt(max(matrix[j, j], 1e-300))
        for i in range(j + 1, n):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
    for i in range(n):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]
    return right


@jit
def _resample(known, move, laid):  # type: ignore[no-untyped-def]
    """Write the levels each cell sees when it looks where `move` says, between the middles of the cells around."""
    for cell in range(FINE_GRID * FINE_GRID):
        row, column = cell // FINE_GRID, cell % FINE_GRID
        x, y = column / _SIDE - 1.0, row / _SIDE - 1.0
        across = min(max(column + move[0] + move[1] * x + move[2] * y, 0.0), FINE_GRID - 1.0)
        down = min(max(row + move[3] + move[4] * x + move[5] * y, 0.0), FINE_GRID - 1.0)
        left, top = min(int(across), FINE_GRID - 2), min(int(down), FINE_GRID - 2)
        right_share, below_share = across - left, down - top
        at = top * FINE_GRID + left
        for tick in range(len(known)):
            levels = known[tick]
            above = (1.0 - right_share) * levels[at] + right_share * levels[at + 1]
            below = (1.0 - right_share) * levels[at + FINE_GRID] + right_share * levels[at + FINE_GRID + 1]
            laid[tick, cell] = (1.0 - below_share) * above + below_share * below


@jit
def lasting(differs):  # type: ignore[no-untyped-def]
    """Return where cells differ at enough of the ticks around, shape (t, cells)."""
    ticks, cells = differs.shape
    half = OF_TICKS // 2
    found = np.zeros((ticks, cells), np.bool_)
    for tick in range(ticks):
        first, last = max(0, tick - half), min(ticks, tick + half + 1)
        for cell in range(cells):
            count = 0
            for at in range(first, last):
                count += differs[at, cell]
            found[tick, cell] = count >= LEAST_TICKS
    return found


@jit
def compared(shown, mean, deviation, known, seen, most_apart):  # type: ignore[no-untyped-def]
    """Return which cells differ for a while from what stays, and which are not as bright, both (t, 64), and at which
    ticks another picture is shown, (t,).

    `shown`, shape (n, t, 64), are the query's levels at the n ticks around each known one; `mean` and `deviation`,
    shape (t,), make grey levels of them. None differs where the median difference of all is above `most_apart`.
    """
    _, ticks, cells = shown.shape
    expected, near_low, near_high, aligned = _best_aligned(shown, known, seen)
    beyond, apart = np.zeros((ticks, cells)), np.empty(ticks * seen.sum())
    not_alike = np.zeros((ticks, cells), np.bool_)
    n = 0
    for tick in range(ticks):
        for cell in range(cells):
            if seen[cell]:
                due = expected[tick, cell]
                beyond[tick, cell] = max(near_low[tick, cell] - due, due - near_high[tick, cell])
                not_alike[tick, cell] = beyond[tick, cell] > ALIKE
                apart[n] = abs(aligned[tick, cell] - due)
                n += 1
    unlike = lasting(not_alike)
    at_once = np.zeros(ticks, np.bool_)
    if np.median(apart) > most_apart:
        return np.zeros((ticks, cells), np.bool_), unlike, at_once
    excused = _excused(expected)
    left = _left_by_shares(expected, near_low, near_high, aligned, excused, mean, deviation, seen)
    found = np.ones((ticks, cells), np.bool_)
    ever = np.ones(cells, np.bool_)
    for share in range(len(SHARES)):
        tried = lasting(left[share] >= 0.0)
        for cell in range(cells):
            ever[cell] &= tried[:, cell].any()
        if share == 0:
            found[:] = tried
    # of a cell that one share explains throughout nothing is said
    mostly = lasting(beyond >= excused)
    for cell in range(cells):
        if not ever[cell]:
            found[:, cell] = False
        elif found[:, cell].any():
            # what plays most of the time would be taken for what stays, and what is without it for what differs
            found[:, cell] |= mostly[:, cell]
    _mark_at_once(left, at_once)
    return found, unlike, at_once


@jit
def _best_aligned(shown, known, seen):  # type: ignore[no-untyped-def]
    """Return the known levels lit as the query's are at the tick around that agrees best, the lowest and highest of the
    query's next to that tick, and those at it; shape (t, 64) each."""
    n, ticks, cells = shown.shape
    aligned_row = n // 2
    agreeing = int(np.ceil(AGREEING * seen.sum()))
    fitted = np.empty((n, ticks, cells))
    for row in range(n):
        fitted[row] = relit(shown[row], known, seen)
    expected, low, high = np.empty((ticks, cells)), np.empty((ticks, cells)), np.empty((ticks, cells))
    aligned, apart = np.empty((ticks, cells)), np.empty(cells)
    for tick in range(ticks):
        best, least = 0, np.inf
        for row in range(n):
            m = 0
            for cell in range(cells):
                if seen[cell]:
                    apart[m] = abs(shown[row, tick, cell] - fitted[row, tick, cell])
                    m += 1
            total = _sum_of_least(apart, m, agreeing)
            # the aligned tick itself, unless another one is clearly better
            if row != aligned_row:
                total += CLEARLY
            if total < least:
                best, least = row, total
        expected[tick], aligned[tick] = fitted[best, tick], shown[best, tick]
        first, last = max(0, best - OUT_OF_TIME), min(n, best + OUT_OF_TIME + 1)
        low[tick], high[tick] = shown[first, tick], shown[first, tick]
        for row in range(first + 1, last):
            for cell in range(cells):
                low[tick, cell] = min(low[tick, cell], shown[row, tick, cell])
                high[tick, cell] = max(high[tick, cell], shown[row, tick, cell])
    return expected, low, high, aligned


@jit
def _sum_of_least(values, n, count):  # type: ignore[no-untyped-def]
    """Return the sum of the `count` least of the first n of `values`."""
    most, _ = _ranked(values, n, count - 1, count - 1)
    total, below = 0.0, 0
    for i in range(n):
        if values[i] < most:
            total += values[i]
            below += 1
    return total + (count - below) * most


@jit
def _excused(expected):  # type: ignore[no-untyped-def]
    """Return what is excused and `DIFFERENT`: a share of the largest difference from the eight cells around."""
    found = np.empty(expected.shape)
    for cell in range(FINE_GRID * FINE_GRID):
        row, column = cell // FINE_GRID, cell % FINE_GRID
        for tick in range(len(expected)):
            largest = 0.0
            for down in range(max(0, row - 1), min(FINE_GRID, row + 2)):
                for right in range(max(0, column - 1), min(FINE_GRID, column + 2)):
                    largest = max(largest, abs(expected[tick, down * FINE_GRID + right] - expected[tick, cell]))
            found[tick, cell] = OUT_OF_PLACE * largest + SAME_LEVEL + DIFFERENT
    return found


@jit
def _left_by_shares(expected, low, high, aligned, excused, mean, deviation, seen):  # type: ignore[no-untyped-def]
    """Return by how much more than excused cells differ, should still things leave a share of them: (shares, t, 64).

    A still thing is as bright as it is in grey levels, and leaves a share of what the known picture does in its cell.
    """
    ticks, cells = expected.shape
    left, stays = np.empty((len(SHARES), ticks, cells)), np.empty(ticks)
    for number in range(len(SHARES)):
        share = SHARES[number]
        for cell in range(cells):
            if not seen[cell]:
                left[number, :, cell] = -excused[:, cell]
                continue
            for tick in range(ticks):
                due = expected[tick, cell] * deviation[tick] + mean[tick]
                stays[tick] = aligned[tick, cell] * deviation[tick] + mean[tick] - share * due
            constant = np.median(stays)
            for tick in range(ticks):
                due = share * (expected[tick, cell] * deviation[tick] + mean[tick]) + constant
                due = (due - mean[tick]) / deviation[tick]
                beyond = max(low[tick, cell] - due, due - high[tick, cell])
                left[number, tick, cell] = beyond - excused[tick, cell]
    return left


@jit
def _mark_at_once(left, at_once):  # type: ignore[no-untyped-def]
    """Mark the ticks at which several cells differ at once: beside the share that explains each best, all of it where
    that explains it at most ticks."""
    shares, ticks, cells = left.shape
    count, values = np.zeros(ticks, np.int64), np.empty(ticks)
    for cell in range(cells):
        best, least = 0, np.inf
        for share in range(shares):
            for tick in range(ticks):
                values[tick] = left[share, tick, cell]
            median = np.median(values)
            if share == 0 and median <= MOSTLY - DIFFERENT:
                best = 0
                break
            if median < least:
                best, least = share, median
        for tick in range(ticks):
            count[tick] += left[best, tick, cell] >= AT_ONCE - DIFFERENT
    for tick in range(ticks):
        at_once[tick] = count[tick] >= LEAST_AT_ONCE


@jit
def close(levels, index, known, seen):  # type: ignore[no-untyped-def]
    """Return at which ticks most of the cells seen agree once contrast and brightness are fitted to all, shape (t,).

    `levels` are the query's at all its ticks, `index` (t,) those that are compared with the known ones (t, cells).
    """
    ticks, cells = known.shape
    found, apart = np.empty(ticks, np.bool_), np.empty(seen.sum())
    for tick in range(ticks):
        one, other = levels[index[tick]], known[tick]
        mean_one = mean_other = 0.0
        for cell in range(cells):
            if seen[cell]:
                mean_one, mean_other = mean_one + one[cell], mean_other + other[cell]
        mean_one, mean_other = mean_one / len(apart), mean_other / len(apart)
        both = squares = 0.0
        for cell in range(cells):
            if seen[cell]:
                both += (one[cell] - mean_one) * (other[cell] - mean_other)
                squares += (other[cell] - mean_other) ** 2
        contrast = both / max(squares, 1e-9)
        n = 0
        for cell in range(cells):
            if seen[cell]:
                apart[n] = abs(one[cell] - mean_one - contrast * (other[cell] - mean_other))
                n += 1
        found[tick] = np.median(apart) <= CLOSE
    return found


@jit
def as_bright(levels, index, known, seen):  # type: ignore[no-untyped-def]
    """Return at which ticks every cell seen is as bright as the known one, shape (t,); arguments as of `close`."""
    fitted = relit(levels[index], known, seen)
    found = np.ones(len(index), np.bool_)
    for tick in range(len(index)):
        first, last = max(0, index[tick] - OUT_OF_TIME), min(len(levels) - 1, index[tick] + OUT_OF_TIME)
        for cell in range(known.shape[1]):
            if not seen[cell]:
                continue
            low = high = levels[first, cell]
            for row in range(first + 1, last + 1):
                low, high = min(low, levels[row, cell]), max(high, levels[row, cell])
            due = fitted[tick, cell]
            if max(low - due, due - high) > ALIKE:
                found[tick] = False
                break
    return found


@jit
def returning(known, seen):  # type: ignore[no-untyped-def]
    """Return at which ticks the known levels (t, cells) are those of an earlier one that others lie between.

    What goes to and fro between two pictures, a flickering light, a screen that turns black, is told by few moments.
    """
    found = np.zeros(len(known), np.bool_)
    for tick in range(len(known)):
        others = False
        for earlier in range(tick - 1, max(-1, tick - 1 - RETURNS_WITHIN), -1):
            same = True
            for cell in range(known.shape[1]):
                if seen[cell] and abs(known[tick, cell] - known[earlier, cell]) > SAME_PICTURE:
                    same = False
                    break
            if same and others:
                found[tick] = True
                break
            others |= not same
    return found
