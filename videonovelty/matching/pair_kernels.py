"""The compiled kernels of `matching.geometry`: descriptors paired by their distance, and the similarity pairs obey.

Codes are uint64 words, one a descriptor. Positions are complex numbers, in shares of their picture's longer side: as
such a similarity is w = a z + b. Nothing here checks its arguments: `geometry` does.
"""

from __future__ import annotations

import numpy as np

from videonovelty.matching.kernels import jit, ones, wide_vectors

TOLERANCE = 6.0 / 320.0
"""Share of the known picture's longer side by which a pair may miss: 6 px of a 320 px picture."""
DISTINCT = 4.0 / 320.0
"""Inliers closer than this in either picture are one."""
SMALLEST, LARGEST = 0.1, 10.0
"""Scales of a similarity."""
HYPOTHESES = 400
BLOCK = 64
"""Hypotheses tried at a time; no more once half of the pairs obey one."""
MAX_TURN = 30.0 / 360.0
"""Turns by which one pair's own angles may differ from the transform's; detections differ by up to 15°."""
MAX_ZOOM = 0.75
"""Octaves by which one pair's own sizes may differ from the transform's."""
REFINEMENTS = 3
LEAST_FOR_PLANE = 6
MOST_SQUEEZE = 0.5
"""The shorter of a plane's two axes over the longer, as it is seen."""


@jit
def _bits_apart(word, codes, bits):  # type: ignore[no-untyped-def]
    """Write the distances of a code from others: a straight loop, which LLVM vectorises."""
    wide_vectors()
    for place in range(len(codes)):
        bits[place] = np.uint8(ones(word ^ codes[place]))


@jit
def _least(bits):  # type: ignore[no-untyped-def]
    least = np.uint8(255)
    for place in range(len(bits)):
        least = min(least, bits[place])
    return least


@jit
def nearest_two(query, known):  # type: ignore[no-untyped-def]
    """Return the row of the nearest known code, the first of equals, its distance and the second-best distance."""
    best = np.zeros(len(query), np.int64)
    nearest, second = np.empty(len(query), np.uint8), np.empty(len(query), np.uint8)
    bits = np.empty(len(known), np.uint8)
    for row in range(len(query)):
        _bits_apart(query[row], known, bits)
        nearest[row] = _least(bits)
        at = 0
        while at < len(bits) - 1 and bits[at] != nearest[row]:
            at += 1
        best[row] = at
        bits[at] = 255
        second[row] = _least(bits)
    return best, nearest, second


@jit
def one_to_one(best, nearest, second, n_known, most, ratio):  # type: ignore[no-untyped-def]
    """Return (query row, known row) of the pairs up to `most` bits apart whose second-best known code is farther by
    1 / ratio, of each known code the nearest; by distance, then by row."""
    taken = np.zeros(n_known, np.bool_)
    pairs, count = np.empty((len(best), 2), np.int64), 0
    for distance in range(most + 1):
        for row in range(len(best)):
            if nearest[row] == distance and distance < ratio * second[row] and not taken[best[row]]:
                taken[best[row]] = True
                pairs[count, 0], pairs[count, 1] = row, best[row]
                count += 1
    return pairs[:count]


@jit
def within_bits(query, known, most):  # type: ignore[no-untyped-def]
    """Return rows (query, known) of all pairs up to `most` bits apart, and their distances, by row."""
    room = 4 * len(query) + 64
    one, other, distance = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.uint8)
    bits = np.empty(len(known), np.uint8)
    limit = np.uint8(most)
    at = 0
    for row in range(len(query)):
        _bits_apart(query[row], known, bits)
        count = 0
        for place in range(len(bits)):
            count += bits[place] <= limit
        if count == 0:
            continue
        while at + count > room:
            room *= 2
            one, other = _longer(one, room), _longer(other, room)
            distance = _longer(distance, room)
        for place in range(len(bits)):
            if bits[place] <= limit:
                one[at], other[at], distance[at] = row, place, bits[place]
                at += 1
    return one[:at], other[:at], distance[:at]


@jit
def _longer(values, room):  # type: ignore[no-untyped-def]
    more = np.empty(room, values.dtype)
    more[: len(values)] = values
    return more


@jit
def lie_together(ours, theirs, one, other, reach):  # type: ignore[no-untyped-def]
    """Return which pairs (`one` of `ours`, `other` of `theirs`) lie no farther apart than `reach` either way."""
    found = np.empty(len(one), np.bool_)
    for pair in range(len(one)):
        mine, your = one[pair], other[pair]
        found[pair] = max(abs(ours[mine, 0] - theirs[your, 0]), abs(ours[mine, 1] - theirs[your, 1])) <= reach
    return found


@jit
def _own_agrees(zoom, turn, octaves, angle):  # type: ignore[no-untyped-def]
    off = turn - angle
    return abs(off - np.rint(off)) <= MAX_TURN and abs(zoom - octaves) <= MAX_ZOOM


@jit
def _obeying(z, w, a, b, allowed, inside):  # type: ignore[no-untyped-def]
    """Mark in `inside` which pairs obey w = a z + b, of those that are allowed, and return how many."""
    count = 0
    for pair in range(len(z)):
        miss = a * z[pair] + b - w[pair]
        inside[pair] = allowed[pair] and miss.real**2 + miss.imag**2 <= TOLERANCE**2
        count += inside[pair]
    return count


@jit
def mark_agreeing(zoom, turn, octaves, angle, agreeing):  # type: ignore[no-untyped-def]
    """Mark which pairs are scaled by as many `octaves`, and turned by `angle` (in turns), by what each says itself."""
    for pair in range(len(agreeing)):
        agreeing[pair] = _own_agrees(zoom[pair], turn[pair], octaves, angle)


@jit
def octaves_and_turns(a):  # type: ignore[no-untyped-def]
    """Return by how many octaves the factor of a similarity scales, and by how many turns it turns."""
    return np.log2(abs(a)), np.angle(a) / (2 * np.pi)


@jit
def _refined(z, w, best_a, best_b, most, allowed, inside):  # type: ignore[no-untyped-def]
    """Return a similarity fitted to the pairs `inside`, as long as no fewer obey it, and mark those that do."""
    m, tried = len(z), np.zeros(len(z), np.bool_)
    for _ in range(REFINEMENTS):
        centre_z, centre_w = 0j, 0j
        for pair in range(m):
            if inside[pair]:
                centre_z += z[pair]
                centre_w += w[pair]
        centre_z /= most
        centre_w /= most
        spread, along = 0.0, 0j
        for pair in range(m):
            if inside[pair]:
                off = z[pair] - centre_z
                spread += off.real**2 + off.imag**2
                along += (w[pair] - centre_w) * np.conj(off)
        if spread == 0:
            break
        a = along / spread
        b = centre_w - a * centre_z
        count = _obeying(z, w, a, b, allowed, tried)
        if count < most:
            break
        inside[:] = tried
        best_a, best_b, most = a, b, count
    return best_a, best_b


@jit
def similarity_of(z, w, zoom, turn, by_own, one, other):  # type: ignore[no-untyped-def]
    """Return a and b of the similarity most pairs obey, refined on them, which obey it and which agree by themselves.

    `one` and `other` are the couples of pairs hypotheses are drawn from, in this order; `zoom` and `turn` what each
    pair says by itself, where `by_own`. Without any sane hypothesis no pair obeys.
    """
    m = len(z)
    inside, tried, allowed = np.zeros(m, np.bool_), np.zeros(m, np.bool_), np.ones(m, np.bool_)
    best_a, best_b, most, hypotheses = 0j, 0j, 0, 0
    for couple in range(len(one)):
        i, j = one[couple], other[couple]
        apart = z[i] - z[j]
        if abs(apart) <= 2 * DISTINCT:
            continue
        a = (w[i] - w[j]) / apart
        if not SMALLEST < abs(a) < LARGEST:
            continue
        if by_own:
            octaves, angle = octaves_and_turns(a)
            if not (_own_agrees(zoom[i], turn[i], octaves, angle) and _own_agrees(zoom[j], turn[j], octaves, angle)):
                continue
            mark_agreeing(zoom, turn, octaves, angle, allowed)
        b = w[i] - a * z[i]
        count = _obeying(z, w, a, b, allowed, tried)
        if hypotheses == 0 or count > most:
            best_a, best_b, most = a, b, count
            inside[:] = tried
        hypotheses += 1
        if hypotheses == HYPOTHESES or (hypotheses % BLOCK == 0 and 2 * most > m):
            break
    if hypotheses == 0:
        return best_a, best_b, inside, allowed
    if by_own:
        mark_agreeing(zoom, turn, *octaves_and_turns(best_a), allowed)
    best_a, best_b = _refined(z, w, best_a, best_b, most, allowed, inside)
    return best_a, best_b, inside, allowed


@jit
def with_perspective(query, known, inside, agrees):  # type: ignore[no-untyped-def]
    """Return the inliers after a plane seen at a slight angle is allowed, where that explains more pairs.

    Positions have shape (m, 2); the plane is the affine map fitted to the inliers by least squares.
    """
    m = len(query)
    for _ in range(2):
        count = inside.sum()
        if count < LEAST_FOR_PLANE:
            break
        x = y = u = v = 0.0
        for pair in range(m):
            if inside[pair]:
                x, y, u, v = x + query[pair, 0], y + query[pair, 1], u + known[pair, 0], v + known[pair, 1]
        x, y, u, v = x / count, y / count, u / count, v / count
        xx = xy = yy = xu = xv = yu = yv = 0.0
        for pair in range(m):
            if inside[pair]:
                dx, dy, du, dv = query[pair, 0] - x, query[pair, 1] - y, known[pair, 0] - u, known[pair, 1] - v
                xx, xy, yy = xx + dx * dx, xy + dx * dy, yy + dy * dy
                xu, xv, yu, yv = xu + dx * du, xv + dx * dv, yu + dy * du, yv + dy * dv
        spread = xx * yy - xy * xy
        if spread <= 1e-12 * (xx + yy) ** 2:  # all in one line
            break
        a, c = (yy * xu - xy * yu) / spread, (xx * yu - xy * xu) / spread
        b, d = (yy * xv - xy * yv) / spread, (xx * yv - xy * xv) / spread
        # the product of the singular values is the determinant, the sum of their squares that of the entries'
        area, squares = a * d - b * c, a * a + b * b + c * c + d * d
        gap = np.sqrt(max(0.0, squares * squares - 4 * area * area))
        if area <= 0 or squares - gap < MOST_SQUEEZE**2 * (squares + gap):
            break
        wider = np.zeros(m, np.bool_)
        for pair in range(m):
            dx, dy = query[pair, 0] - x, query[pair, 1] - y
            miss_u, miss_v = a * dx + c * dy + u - known[pair, 0], b * dx + d * dy + v - known[pair, 1]
            wider[pair] = agrees[pair] and miss_u * miss_u + miss_v * miss_v <= TOLERANCE**2
        if wider.sum() <= count:
            break
        inside = wider
    return inside


@jit
def distinct_places(places):  # type: ignore[no-untyped-def]
    """Return how many of some places (m, 2) are told apart, in steps of `DISTINCT`."""
    keys = np.empty(len(places), np.int64)
    for row in range(len(places)):
        keys[row] = (np.int64(np.rint(places[row, 0] / DISTINCT)) << 32) + np.int64(np.rint(places[row, 1] / DISTINCT))
    keys.sort()
    count = 0
    for row in range(len(keys)):
        count += row == 0 or keys[row] != keys[row - 1]
    return count
