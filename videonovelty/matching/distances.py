"""PDQ distances between the keyframes of a query and those of a known video, all to all and along a line in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.kernels import jit
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, U8, KnownFrames, Signatures

I16 = npt.NDArray[np.int16]

FAR = 256
NOTHING = -1
"""Aligned distance of a keyframe that says nothing about a line."""
ELSEWHERE_SECONDS = 2.0
"""Moments farther than this from the aligned one are other moments."""
CLOSEST_SHARE = 0.25
"""A keyframe is compared with the quantile of its distances from other moments that so many are below."""


def keyframe_distances(query: Signatures, known: KnownFrames, variant: int) -> I16:
    """Return PDQ distances, shape (n_query, n_known), the least over full and border-removed pictures of both sides."""
    inner = query.pdq_inner[:, variant] if query.has_inner.any() else None
    return least_distances(query.pdq[:, variant], inner, known)


def least_distances(codes: U8, inner: U8 | None, known: KnownFrames) -> I16:
    """Return the same of codes, shape (n_query, 32), of full pictures and, where there are any, border-removed ones."""
    distance = code_distances(codes, known.pdq)
    if inner is not None:
        distance = np.minimum(distance, code_distances(inner, known.pdq))
    if not np.array_equal(known.pdq, known.pdq_inner):
        distance = np.minimum(distance, code_distances(codes, known.pdq_inner))
        if inner is not None:
            distance = np.minimum(distance, code_distances(inner, known.pdq_inner))
    return distance


def every_keyframe(known: KnownFrames) -> KnownFrames:
    """Return the keyframes of a known video with none of them left out, however little is in it."""
    return replace(known, informative=np.ones(len(known.pts_seconds), np.bool_))


def code_distances(one: U8, other: U8) -> I16:
    """Return the bits in which codes differ, shape (n, m), of `one`, shape (n, 32), and `other`, shape (m, 32)."""
    left, right = np.ascontiguousarray(one).view(np.uint64), np.ascontiguousarray(other).view(np.uint64)
    total = np.zeros((len(left), len(right)), np.int16)
    for word in range(left.shape[1]):
        total += np.bitwise_count(left[:, word, None] ^ right[None, :, word])
    return total


def aligned_distance(query_seconds: F64, known: KnownFrames, distance: I16, line: Line, reach_seconds: float) -> I16:
    """Return, shape (n_query,), each keyframe's least distance to what the known video shows at the aligned moment.

    That is the known keyframe standing for the moment, and those within `reach_seconds`; `NOTHING` where the line is
    outside the known video or the known keyframes there are uninformative.
    """
    at = line.known_seconds(query_seconds)
    order = np.searchsorted(known.pts_seconds, at + 1e-6, side="right") - 1
    standing = np.arange(len(known.pts_seconds))[None, :] == order[:, None]
    near = np.abs(at[:, None] - known.pts_seconds[None, :]) <= reach_seconds
    candidates = (standing | near) & known.informative[None, :]
    least = np.where(candidates, distance, 300).min(axis=1).astype(np.int16)
    last = float(known.pts_seconds[-1]) + 2.0
    return np.where((least > FAR) | (at < -0.5) | (at > last), np.int16(NOTHING), least)


@jit
def margins_elsewhere(distance, rows, at, known_seconds, informative, bits):  # type: ignore[no-untyped-def]
    """Return by how many bits keyframes are closer to their aligned moment than to others of the known video.

    `distance`, shape (n_query, n_known), is 0 … 300; `rows` are the keyframes asked about, `at`, shape (n_query,), the
    known times of their moments, `bits` their distance there. Those without any other moment are left out; shape (k,).
    """
    found, n = np.empty(len(rows), np.float64), 0
    counts = np.empty(301, np.int64)
    for row in rows:
        counts[:] = 0
        total = 0
        for place in range(len(known_seconds)):
            if informative[place] and abs(at[row] - known_seconds[place]) > ELSEWHERE_SECONDS:
                counts[distance[row, place]] += 1
                total += 1
        if total == 0:
            continue
        at_place = CLOSEST_SHARE * (total - 1)
        low = int(at_place)
        values, below, value = np.zeros(2), 0, 0
        for end in range(2):
            while below + counts[value] <= min(low + end, total - 1):
                below += counts[value]
                value += 1
            values[end] = value
        found[n] = values[0] + (at_place - low) * (values[1] - values[0]) - bits[row]
        n += 1
    return found[:n]
