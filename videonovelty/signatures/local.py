"""Local descriptors of a keyframe: what still matches after a crop, a frame around the picture or a screen recording.

SIFT (Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004) on the keyframe at 320 px, its
descriptors square-rooted (Arandjelović & Zisserman, "Three things everyone should know to improve object retrieval",
CVPR 2012), projected onto 64 directions of which only the signs are kept.

The projection is integer arithmetic that single precision holds exactly, so the same descriptor gives the same code on
every processor. `local_projection.npz` beside this file is made by `videonovelty.tuning.train_projection`.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import KNOWN_POINTS, LOCAL_BYTES, U8

LOCAL_SIDE = 320
"""Longer side of the picture whose pixels `scale` counts, whatever size the keyframe was looked at."""
POSITION_FULL = 65535
"""Positions are shares of the picture's longer side in this unit on both axes, so that shapes are kept."""

BITS = 8 * LOCAL_BYTES
CONTRAST_THRESHOLD = 0.0236
"""Below OpenCV's 0.04: dim and blurred pictures keep enough points, and only the strongest are stored anyway.

Half of it, a third for each of an octave's layers, is what OpenCV passes over before it looks closer, in whole grey
levels: from 3 / 127.5 on that is one, below it none, and every rounding error in a flat picture is looked at.
"""
DESCRIBED_BLUR = 0.7
"""Blur of the picture points are described in, in its pixels: less than half of the 1.6 of the doubled picture."""
DOUBLING_SHIFT = -0.25
"""Pixels by which OpenCV's points lie off: x of its doubled picture is (x + 0.5) / 2 − 0.5 here, not x / 2."""
_ROOT_SCALE = 255
"""Square-rooted descriptors as integers 0 … 255; times |projection| ≤ 127 over 128 bins stays below 2**24."""
SAME_BITS = 14
"""Of 64: two descriptors within this are taken for the same; unrelated ones differ in 32 ± 4."""
SAME_PLACE = POSITION_FULL // 50
"""6 px of a picture of 320 px."""

_ROWS_A_PRODUCT = 32
"""Products of this size stay on one thread in every BLAS; a pool of threads is of no use in a locked child process."""
_CELLS = 8
_CANDIDATES = 2000
"""Points chosen from, at most, the strongest: bounds what a picture of noise costs, and leaves lettering room."""

MIRROR_BINS: npt.NDArray[np.int64] = np.array(
    [((3 - row) * 4 + column) * 8 + (8 - turn) % 8 for row in range(4) for column in range(4) for turn in range(8)]
)
"""Shape (128,): bin i of the mirrored patch's descriptor is bin `MIRROR_BINS[i]` of the patch's own. The patch is
turned upright before it is described, so mirroring the picture flips it across its own axis."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeFeatures:
    """Local descriptors of one keyframe."""

    codes: U8
    """Shape (k, 8)."""
    mirrored_codes: U8
    """Shape (k, 8): the codes the mirrored picture would have."""
    xy: npt.NDArray[np.uint16]
    """Shape (k, 2): position in 65535ths of the picture's longer side, from the top left corner."""
    scale: U8
    """Shape (k,): log2 of the size in eighths above 1 px of a picture of 320 px."""
    angle: U8
    """Shape (k,): 256ths of a turn."""

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The directions whose signs are kept."""

    directions: npt.NDArray[np.float32]
    """Shape (128, 64): whole numbers −127 … 127."""
    thresholds: npt.NDArray[np.float32]
    """Shape (64,): whole numbers; a bit is set above its threshold."""
    sha256: str


@functools.cache
def projection() -> Projection:
    """Return the projection the package ships, with the digest of its numbers."""
    with resources.files("videonovelty.signatures").joinpath("local_projection.npz").open("rb") as file:
        data = np.load(file, allow_pickle=False)
        directions, thresholds = data["directions"].astype(np.int8), data["thresholds"].astype("<i4")
    digest = hashlib.sha256(directions.tobytes() + thresholds.tobytes()).hexdigest()
    return Projection(directions.astype(np.float32), thresholds.astype(np.float32), digest)


def encode(root: npt.NDArray[np.float32], using: Projection) -> U8:
    """Return the codes, shape (k, 8), of square-rooted descriptors `root`, shape (k, 128), whole numbers."""
    bits = np.empty((len(root), using.directions.shape[1]), np.bool_)
    for start in range(0, len(root), _ROWS_A_PRODUCT):
        part = slice(start, start + _ROWS_A_PRODUCT)
        np.greater(root[part] @ using.directions, using.thresholds, out=bits[part])
    return np.packbits(bits, axis=1)


def root_descriptors(descriptors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return square-rooted, L1-normalised descriptors as whole numbers 0 … 255, shape (k, 128)."""
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1.0)
    root: npt.NDArray[np.float32] = np.rint(np.sqrt(descriptors / total) * np.float32(_ROOT_SCALE))
    return root


def detect(
    luma: U8, *, points: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return positions (k, 2) px, sizes (k,) px, angles (k,) degrees and SIFT descriptors (k, 128), best points first.

    The strongest points of the picture take turns with points spread over an 8 × 8 grid, the strongest of each cell in
    turn. Lettering has the strongest points there are, and would otherwise take all of them. Points are found in the
    doubled picture, as Lowe does, and described in the picture as it is, which takes a quarter of the pixels.
    """
    keypoints = _detector().detect(luma, None)
    if len(keypoints) == 0:
        empty = np.zeros(0, np.float32)
        return np.zeros((0, 2), np.float32), empty, empty, np.zeros((0, 128), np.float32)
    table = np.array([(k.response, k.pt[0], k.pt[1], k.size, k.angle) for k in keypoints], np.float32)
    # Equal responses are ordered by place, so the choice does not depend on the order OpenCV finds them in.
    order = np.lexsort((table[:, 4], table[:, 3], table[:, 1], table[:, 2], -table[:, 0]))
    order = order[_best_first(table[order, 1:3] / max(luma.shape))[:points]]
    kept = [_an_octave_higher(keypoints[i]) for i in order]
    kept, descriptors = _describer().compute(luma, kept)
    assert len(kept) == len(order), "OpenCV describes each point it is given"
    table = table[order]
    return table[:, 1:3] + np.float32(DOUBLING_SHIFT), table[:, 3], table[:, 4], descriptors


def _best_first(places: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the order in which points at `places`, shares of the longer side, strongest first, are kept.

    The strongest of the picture and the next of those spread over it take turns, so any number of the first points is
    a choice like that of fewer or more.
    """
    cells = (places * _CELLS).astype(np.int64) @ (1, _CELLS)
    by_cell = np.argsort(cells, kind="stable")
    start = np.searchsorted(cells[by_cell], cells[by_cell])
    rank = np.empty(len(places), np.int64)
    rank[by_cell] = np.arange(len(places)) - start
    turn = np.empty(len(places), np.int64)
    turn[np.argsort(rank, kind="stable")] = np.arange(len(places))
    return np.argsort(np.minimum(2 * np.arange(len(places)), 2 * turn + 1), kind="stable")


def local_features(luma: U8, *, points: int) -> KeyframeFeatures:
    """Return the local descriptors of one keyframe, at most `points`.

    `luma` has shape (height, width), uint8; its longer side is usually 320 px, less for smaller videos.
    """
    xy, size, angle, descriptors = detect(luma, points=points)
    longer = max(luma.shape)
    root = root_descriptors(descriptors)
    place = np.clip(np.rint((xy + 0.5) / longer * POSITION_FULL), 0, POSITION_FULL).astype(np.uint16)
    octaves = np.log2(np.maximum(size * (LOCAL_SIDE / longer), 1.0))
    return KeyframeFeatures(
        codes=encode(root, projection()),
        mirrored_codes=encode(root[:, MIRROR_BINS], projection()),
        xy=place,
        scale=np.clip(np.rint(8 * octaves), 0, 255).astype(np.uint8),
        angle=(np.rint(angle * (256 / 360)).astype(np.int64) % 256).astype(np.uint8),
    )


def no_features() -> KeyframeFeatures:
    """Return the features of a keyframe that carries none."""
    codes = np.zeros((0, LOCAL_BYTES), np.uint8)
    return KeyframeFeatures(codes, codes, np.zeros((0, 2), np.uint16), np.zeros(0, np.uint8), np.zeros(0, np.uint8))


def share_found_again(features: KeyframeFeatures, earlier: KeyframeFeatures) -> float:
    """Return which share of `features` `earlier` already has at the same place; 1.0 where there are none.

    Of both, what known videos keep counts.
    """
    if len(features) == 0 or len(earlier) == 0:
        return 1.0 if len(features) == 0 else 0.0
    kept = slice(KNOWN_POINTS)
    places, before = (one.xy[kept].astype(np.int32) for one in (features, earlier))
    across, down = (np.abs(places[:, None, axis] - before[None, :, axis]) for axis in (0, 1))
    point, other = np.nonzero((across <= SAME_PLACE) & (down <= SAME_PLACE))
    apart = np.bitwise_count(features.codes[point].view("<u8") ^ earlier.codes[other].view("<u8"))[:, 0]
    return len(np.unique(point[apart <= SAME_BITS])) / len(places)


def _an_octave_higher(point: Any) -> Any:
    """Return the point as one of the pyramid that begins with the picture as it is instead of doubled.

    OpenCV keeps the octave, a signed byte, in the lowest byte of `octave` and the layer in the next one.
    """
    octave = point.octave & ~0xFF | (point.octave + 1) & 0xFF
    x, y = (place + DOUBLING_SHIFT for place in point.pt)
    return cv2.KeyPoint(x, y, point.size, point.angle, point.response, octave, point.class_id)


@functools.cache
def _detector() -> Any:
    return cv2.SIFT.create(nfeatures=_CANDIDATES, contrastThreshold=CONTRAST_THRESHOLD)


@functools.cache
def _describer() -> Any:
    return cv2.SIFT.create(sigma=DESCRIBED_BLUR)
