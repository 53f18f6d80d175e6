"""Do the local descriptors two keyframes share lie where one picture moved, scaled and turned would put them?

Descriptors are paired by Hamming distance (ratio test of Lowe, IJCV 2004, one-to-one), and a similarity (shift, scale,
turn) is sought that most pairs obey (RANSAC, Fischler & Bolles 1981, with every hypothesis drawn from a fixed stream).
A second look allows the mild perspective of a filmed screen. What counts are places, not descriptors: repeated texture
that collapses onto one spot is one inlier.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.matching.pair_kernels import (
    distinct_places,
    mark_agreeing,
    nearest_two,
    octaves_and_turns,
    one_to_one,
    similarity_of,
    with_perspective,
)
from videonovelty.matching.remembered import remembered
from videonovelty.records import F64, U8

MIN_INLIERS = 5
"""Spatially distinct inliers of a match: with scales and angles, ten of 110,500 pairs of other content reached 4 and
none 5 (400 points against 200). Without them ask for 7."""
MAX_DISTANCE = 18
"""Bits by which a pair may differ where its own scale and angle are asked as well."""
MAX_DISTANCE_ALONE = 14
"""…and where they are not: at 18, 7 of 5,984 pairs of other content had 5 inliers, at 14 none."""
RATIO = 0.85
"""Lowe's: the second-best known descriptor must be farther by 1 / RATIO."""
_FULL = 65535.0
"""Positions are in 65535ths of the picture's longer side on both axes."""
_DRAWS = 4000
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


@remembered
def verify(
    query_codes: U8,
    query_xy: npt.NDArray[np.uint16],
    known_codes: U8,
    known_xy: npt.NDArray[np.uint16],
    query_aspect: float,
    *,
    mirrored: bool = False,
    query_scale: U8 | None = None,
    query_angle: U8 | None = None,
    known_scale: U8 | None = None,
    known_angle: U8 | None = None,
    max_distance: int | None = None,
    ratio: float = RATIO,
    min_inliers: int = MIN_INLIERS,
) -> GeometricMatch | None:
    """Return how the query keyframe lies in the known one, or None where fewer than `min_inliers` places agree.

    Codes have shape (k, 8), uint8; positions shape (k, 2), uint16, in 65535ths of the longer side, as
    `signatures.local.local_features` makes them. For `mirrored`, pass the query's mirrored codes and its positions as
    they are. `query_aspect` is width over height. Two descriptors are a pair up to `max_distance` bits (`MAX_DISTANCE`,
    or `MAX_DISTANCE_ALONE` without scales and angles), and only if the second-best known descriptor is farther by
    1 / `ratio`. Give the scales and angles of both sides, uint8 as they are stored, wherever they are at hand: a pair
    must then be scaled and turned as the transform says, which chance pairs are not. Deterministic.
    """
    scales = (query_scale, query_angle, known_scale, known_angle)
    if max_distance is None:
        max_distance = MAX_DISTANCE_ALONE if any(part is None for part in scales) else MAX_DISTANCE
    pairs = paired(query_codes, known_codes, max_distance=max_distance, ratio=ratio)
    if len(pairs) < min_inliers:
        return None
    query, known = as_shares(query_xy[pairs[:, 0]], mirrored=mirrored), as_shares(known_xy[pairs[:, 1]])
    own = None
    if query_scale is not None and query_angle is not None and known_scale is not None and known_angle is not None:
        own = own_change(
            query_scale[pairs[:, 0]],
            query_angle[pairs[:, 0]],
            known_scale[pairs[:, 1]],
            known_angle[pairs[:, 1]],
            mirrored=mirrored,
        )
    transform, inside, agrees = similarity(query, known, own)
    inside = with_perspective(query, known, inside, agrees)
    inliers = min(distinct_places(query[inside]), distinct_places(known[inside]))
    if inliers < min_inliers:
        return None
    longer, shorter = max(query_aspect, 1.0), min(query_aspect, 1.0)
    hull = cv2.convexHull(query[inside].astype(np.float32))
    share = float(cv2.contourArea(hull)) / (shorter / longer)
    return GeometricMatch(inliers, min(share, 1.0), transform)


def as_shares(xy: npt.NDArray[np.uint16], *, mirrored: bool = False) -> F64:
    """Return stored positions, shape (k, 2), as shares of the longer side; `mirrored`: negated horizontally."""
    shares: F64 = xy / _FULL
    if mirrored:
        shares[:, 0] = -shares[:, 0]
    return shares


def own_change(query_scale: U8, query_angle: U8, known_scale: U8, known_angle: U8, *, mirrored: bool) -> OwnChange:
    """Return what each pair of descriptors says by itself about the transform; stored scales and angles, shape (m,)."""
    turned = query_angle.astype(np.float64)
    turned = 128 - turned if mirrored else turned  # a mirror turns the direction θ into half a turn less θ
    return OwnChange(zoom=(known_scale.astype(np.float64) - query_scale) / 8, turn=(known_angle - turned) / 256)


def words(codes: U8) -> npt.NDArray[np.uint64]:
    """Return codes (k, 8) as one word each, shape (k,)."""
    return np.ascontiguousarray(codes).view(np.uint64)[:, 0]


def paired(query: U8, known: U8, *, max_distance: int = MAX_DISTANCE, ratio: float = RATIO) -> npt.NDArray[np.int64]:
    """Return (query row, known row) of the descriptor pairs that hold, best first; shape (m, 2)."""
    if len(query) == 0 or len(known) < 2:
        return np.zeros((0, 2), np.int64)
    pairs: npt.NDArray[np.int64] = one_to_one(
        *nearest_two(words(query), words(known)), len(known), int(max_distance), float(ratio)
    )
    return pairs


@dataclass(frozen=True, slots=True, eq=False)
class OwnChange:
    """What each pair says by itself about the transform."""

    zoom: F64
    """Octaves from the query's size to the known one's, shape (m,)."""
    turn: F64
    """Turns from the query's angle to the known one's, shape (m,), in any whole turn."""

    def agrees(self, a: complex) -> npt.NDArray[np.bool_]:
        """Return which pairs are scaled and turned as the factor `a` of a similarity says; shape (m,)."""
        agreeing = np.empty(len(self.zoom), np.bool_)
        mark_agreeing(self.zoom, self.turn, *octaves_and_turns(a), agreeing)
        return agreeing


def similarity(
    query: F64, known: F64, own: OwnChange | None
) -> tuple[F64, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the similarity most pairs obey, refined on them, which pairs these are, and which agree by themselves."""
    m = len(query)
    z, w = query[:, 0] + 1j * query[:, 1], known[:, 0] + 1j * known[:, 1]
    zoom, turn = (np.zeros(m), np.zeros(m)) if own is None else (own.zoom, own.turn)
    a, b, inside, agrees = similarity_of(z, w, zoom, turn, own is not None, *_drawn(m))
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]]), inside, agrees


def _drawn(m: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the couples of pairs that are tried: all of them, or a fixed draw that favours the best pairs."""
    if m * (m - 1) // 2 <= _DRAWS:
        return _all_couples(m)
    draws = _draws()
    one = (draws[:, 0] * m).astype(np.int64)
    return one, (one + 1 + (draws[:, 1] * (m - 1)).astype(np.int64)) % m


@functools.cache
def _all_couples(m: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    one, other = np.triu_indices(m, 1)
    order = np.argsort(one + other, kind="stable")  # pairs come best first
    one, other = one[order], other[order]
    one.flags.writeable = other.flags.writeable = False  # all callers share them
    return one, other


@functools.cache
def _draws() -> F64:
    draws: F64 = np.random.default_rng(_SEED).random((_DRAWS, 2)) ** (1.5, 1.0)
    draws.flags.writeable = False
    return draws
