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

from videonovelty.matching.remembered import remembered
from videonovelty.records import F64, U8

Complex = npt.NDArray[np.complex128]

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
TOLERANCE = 6.0 / 320.0
"""Share of the known picture's longer side by which a pair may miss: 6 px of a 320 px picture."""
DISTINCT = 4.0 / 320.0
"""Inliers closer than this in either picture are one."""
_SCALES = (0.1, 10.0)
_MIN_FOR_PLANE = 6
_MAX_SQUEEZE = 0.5
_HYPOTHESES = 400
_BLOCK = 64
"""Hypotheses tried at a time; no more once half of the pairs obey one."""
_DRAWS = 4000
_SEED = 5
_MAX_TURN = 30.0 / 360.0
"""Turns by which one pair's own angles may differ from the transform's; detections differ by up to 15°."""
_MAX_ZOOM = 0.75
"""Octaves by which one pair's own sizes may differ from the transform's."""


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
    inside = _with_perspective(query, known, inside, agrees)
    inliers = min(_distinct(query[inside]), _distinct(known[inside]))
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


def paired(query: U8, known: U8, *, max_distance: int = MAX_DISTANCE, ratio: float = RATIO) -> npt.NDArray[np.int64]:
    """Return (query row, known row) of the descriptor pairs that hold, best first; shape (m, 2)."""
    none = np.zeros((0, 2), np.int64)
    if len(query) == 0 or len(known) < 2:
        return none
    words = np.ascontiguousarray(query).view(np.uint64), np.ascontiguousarray(known).view(np.uint64)
    distance = np.zeros((len(query), len(known)), np.uint8)
    for one, other in zip(words[0].T, words[1].T, strict=True):
        distance += np.bitwise_count(one[:, None] ^ other)
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


@dataclass(frozen=True, slots=True, eq=False)
class OwnChange:
    """What each pair says by itself about the transform."""

    zoom: F64
    """Octaves from the query's size to the known one's, shape (m,)."""
    turn: F64
    """Turns from the query's angle to the known one's, shape (m,), in any whole turn."""

    def agrees(self, a: Complex) -> npt.NDArray[np.bool_]:
        """Return which pairs are scaled and turned as the factors `a`, shape (h, 1), say; shape (h, m)."""
        turn = self.turn - np.angle(a) / (2 * np.pi)
        zoom = self.zoom - np.log2(np.abs(a))
        agreed: npt.NDArray[np.bool_] = (np.abs(turn - np.round(turn)) <= _MAX_TURN) & (np.abs(zoom) <= _MAX_ZOOM)
        return agreed


def similarity(
    query: F64, known: F64, own: OwnChange | None
) -> tuple[F64, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the similarity most pairs obey, refined on them, which pairs these are, and which agree by themselves."""
    # as complex numbers a similarity is w = a z + b
    z, w = query[:, 0] + 1j * query[:, 1], known[:, 0] + 1j * known[:, 1]
    m = len(z)
    everyone = np.ones(m, np.bool_)
    a, b = _hypotheses(z, w, own)
    if len(a) == 0:
        return np.zeros((2, 3)), np.zeros(m, np.bool_), everyone
    inside, a_best, b_best = np.zeros(m, np.bool_), complex(a[0]), complex(b[0])
    for start in range(0, len(a), _BLOCK):
        some = slice(start, start + _BLOCK)
        hits = np.abs(a[some, None] * z + b[some, None] - w) <= TOLERANCE
        if own is not None:
            hits &= own.agrees(a[some, None])
        counts = hits.sum(axis=1)
        best = int(counts.argmax())
        if counts[best] > inside.sum():
            inside, a_best, b_best = hits[best], complex(a[start + best]), complex(b[start + best])
        if 2 * inside.sum() > m:
            break
    agrees = everyone if own is None else own.agrees(np.array([[a_best]]))[0]
    for _ in range(3):
        centre_z, centre_w = z[inside].mean(), w[inside].mean()
        spread = float((np.abs(z[inside] - centre_z) ** 2).sum())
        if spread == 0:
            break
        a_new = complex(((w[inside] - centre_w) * np.conj(z[inside] - centre_z)).sum() / spread)
        b_new = complex(centre_w - a_new * centre_z)
        refined = (np.abs(a_new * z + b_new - w) <= TOLERANCE) & agrees
        if refined.sum() < inside.sum():
            break
        inside, a_best, b_best = refined, a_new, b_new
    matrix = np.array([[a_best.real, -a_best.imag, b_best.real], [a_best.imag, a_best.real, b_best.imag]])
    return matrix, inside, agrees


def _hypotheses(z: Complex, w: Complex, own: OwnChange | None) -> tuple[Complex, Complex]:
    """Return `a` and `b` of the first similarities w = a z + b through two pairs that are sane and that both agree to.

    At most `_HYPOTHESES`; couples are looked at some at a time, for most often the first ones are enough.
    """
    one, other = _drawn(len(z))
    found: list[tuple[Complex, Complex]] = []
    missing = _HYPOTHESES
    for start in range(0, len(one), _HYPOTHESES):
        i, j = one[start : start + _HYPOTHESES], other[start : start + _HYPOTHESES]
        far = np.abs(z[i] - z[j]) > 2 * DISTINCT
        i, j = i[far], j[far]
        a = (w[i] - w[j]) / (z[i] - z[j])
        sane = (np.abs(a) > _SCALES[0]) & (np.abs(a) < _SCALES[1])
        i, j, a = i[sane], j[sane], a[sane]
        if own is not None:
            agreed = np.logical_and(*(OwnChange(own.zoom[point], own.turn[point]).agrees(a) for point in (i, j)))
            i, a = i[agreed], a[agreed]
        i, a = i[:missing], a[:missing]
        found.append((a, w[i] - a * z[i]))
        missing -= len(a)
        if missing == 0:
            break
    if not found:
        return np.zeros(0, np.complex128), np.zeros(0, np.complex128)
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


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


def _with_perspective(
    query: F64, known: F64, inside: npt.NDArray[np.bool_], agrees: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return the inliers after a plane seen at a slight angle is allowed, where that explains more pairs."""
    for _ in range(2):
        if inside.sum() < _MIN_FOR_PLANE:
            break
        design = np.column_stack((query[inside], np.ones(int(inside.sum()))))
        plane = np.linalg.lstsq(design, known[inside], rcond=None)[0]
        squeeze = np.linalg.svd(plane[:2], compute_uv=False)
        if squeeze[1] < _MAX_SQUEEZE * squeeze[0] or np.linalg.det(plane[:2]) <= 0:
            break
        miss = np.linalg.norm(query @ plane[:2] + plane[2] - known, axis=1)
        wider = (miss <= TOLERANCE) & agrees
        if wider.sum() <= inside.sum():
            break
        inside = wider
    return inside


def _distinct(places: F64) -> int:
    cells = np.round(places / DISTINCT).astype(np.int64)
    return len(np.unique((cells[:, 0] << 32) + cells[:, 1]))
