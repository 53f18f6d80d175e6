"""Whether what is around a clip is a blurred, enlarged copy of the clip itself.

Clips shown in a frame of another shape are padded so: editors enlarge the same picture until it fills the frame, blur
it and often darken it. Such a fill shows nothing that the clip does not show. But whatever else may play around a clip,
so it is asked of every tick: the enlargement, the blur and the change of light that explain the fill best are sought on
a few pictures, and then every picture must be explained by them, all over the fill.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import F64, U8
from videonovelty.signatures.borders import Box

F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

FILL_MOST = 255
"""Grey levels: more is not told apart."""
EXPLAINED, BLURRED = 20, 50
"""Grey levels by which what is around a clip may differ from it enlarged, and its sharpest detail, in most pictures."""
FITTED_ON = 4
"""Pictures the fill is fitted on, spread over a block."""
_MARGIN = 3
"""Pixels at the seam that are left out: there coding and scaling mix clip and fill."""
_ENLARGED = (1.0, 1.15, 1.3, 1.5)
"""Times as large as what just fills the frame: where the search begins…"""
_BLURRED = (0.012, 0.025)
"""…and by how much it is blurred, as a deviation in shares of the frame's longer side."""
_STEPS = np.array([0.06, 0.04, 0.6, 0.6, 0.006])
"""First steps of the search: enlargement, that across over that down (logarithm), shift across and down in pixels,
blur."""
_FINEST = 0.1
"""Of the first steps: smaller ones are not tried."""
_HOPELESS = 0.6
"""Share of what is around a clip that the best start must not leave unexplained."""
_MOST_TRIES = 40
_BETTER = 0.995
"""Of the error before: what lessens it by less is no step."""
_LEAST_BLURRED, _MOST_BLURRED = 0.004, 0.08
_GAIN = (0.2, 1.3)
"""Least and largest contrast of a fill, in that of the clip."""
_FLUTTER = 8
"""Grey levels between the darkest and the brightest pixel of one colour, coded."""
_NEAR = np.ones((5, 7), np.uint8)
"""The pixels around, one of which it may be: enlarged, a pixel of the clip is three, and its box is right to one."""
_SPREAD = (7, 5)
"""Columns and rows over which what is not explained is averaged: a small thing, a fourteenth of the height."""
_SHARP = (5, 5)
"""Columns and rows over which a picture is averaged: what a pixel differs by from that is its detail."""


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """How a clip becomes the fill around it."""

    box: Box
    """Of the clip, in pixels of the pictures it was fitted on."""
    matrix: F64
    """Shape (2, 3): pixels of the frame to pixels of the clip."""
    blur: tuple[float, float]
    """Deviation across and down, in pixels."""
    gain: float
    offset: float
    """The fill's grey levels are the clip's times the gain plus the offset."""

    def of(self, picture: U8) -> F32:
        """Return the frame, shape (height, width), that the clip in a picture makes when it fills it."""
        return np.float32(self.gain) * _enlarged(picture, self.box, self.matrix, self.blur) + np.float32(self.offset)


def fitted_fill(pictures: U8, box: Box, aspect: float) -> Fill | None:
    """Return what explains best what is around `box` in pictures (n, height, width); None where nothing does.

    `aspect` is the frame's width over its height: the pictures are squeezed, and a blur is as wide as it is high.
    """
    height, width = pictures.shape[1:]
    around = _around(box, height, width)
    if not around.any():
        return None
    seen = pictures[:, around].astype(np.float64)

    def lit(settings: F64) -> tuple[float, Fill]:
        return _lit(pictures, seen, around, _placed(settings, box, (height, width), aspect))

    starts = [np.array([by, 0.0, 0.0, 0.0, blur]) for by in _ENLARGED for blur in _BLURRED]
    top, bottom, left, right = box
    stretched = np.log((height / (bottom - top)) / (width / (right - left)))
    starts += [np.array([np.exp(-0.5 * abs(stretched)), -stretched, 0.0, 0.0, blur]) for blur in _BLURRED]
    least, start = min(((lit(one)[0], one) for one in starts), key=lambda one: one[0])
    if least > max(EXPLAINED**2, _HOPELESS * float(seen.var())):
        return None
    return lit(_descended(start, least, lambda settings: lit(settings)[0]))[1]


def _placed(settings: F64, box: Box, size: tuple[int, int], aspect: float) -> Fill:
    """Return the fill of some settings: times what just fills the frame, shape, shift across and down, blur."""
    by, shape, across, down, blur = settings
    (height, width), (top, bottom, left, right) = size, box
    fills = max(height / (bottom - top), width / (right - left))
    high, wide = fills * by * np.exp(np.array([-0.5, 0.5]) * shape)
    x = (left + right) / 2 + across - 0.5 - (width / 2 - 0.5) / wide - left
    y = (top + bottom) / 2 + down - 0.5 - (height / 2 - 0.5) / high - top
    matrix = np.array([[1 / wide, 0.0, x], [0.0, 1 / high, y]])
    blurred = (float(blur * width * max(1.0, 1 / aspect)), float(blur * height * max(1.0, aspect)))
    return Fill(box, matrix, blurred, 1.0, 0.0)


def explains(fill: Fill, pictures: U8) -> bool:
    """Return whether a fill is what is around its clip in most of some pictures (n, height, width)."""
    apart, sharp = np.median(not_filled(pictures, fill.box, fill), axis=0)
    return bool(apart <= EXPLAINED and sharp <= BLURRED)


def not_filled(pictures: U8, box: Box, fill: Fill | None) -> U8:
    """Return what is around a box in pictures (n, height, width) and is neither one colour nor a fill: (n, 2).

    In grey levels, `FILL_MOST` at most: first by how much what is there differs from one colour, or from the clip
    enlarged, whichever is nearer, where it does most; then the sharpest detail in it. Both are 0 where nothing is
    around the box, or one colour but for what coding leaves.
    """
    found = np.zeros((len(pictures), 2), np.uint8)
    around = _around(box, *pictures.shape[1:])
    if not around.any():
        return found
    compared = around if fill is None else around & _shows_the_inside(fill, *pictures.shape[1:])
    beside = pictures[:, around]
    for row in np.flatnonzero(beside.max(axis=1) - beside.min(axis=1) > _FLUTTER):
        picture = pictures[row]
        there = picture.astype(np.float32)
        colour = np.full_like(there, np.median(there[around]))
        apart = _beyond(there, colour, colour, around)
        if fill is not None:
            expected = fill.of(picture)
            apart = min(apart, _beyond(there, cv2.erode(expected, _NEAR), cv2.dilate(expected, _NEAR), compared))
        sharp = float(np.abs(there - cv2.blur(there, _SHARP))[around].max())
        found[row] = [min(FILL_MOST, int(np.ceil(value))) for value in (apart, sharp)]
    return found


def _beyond(there: F32, least: F32, most: F32, where: Bool) -> float:
    """Return by how much a picture lies beyond two others, averaged over small parts of `where`, at most.

    Infinity where there is no part.
    """
    if not where.any():
        return np.inf
    weight = where.astype(np.float32)
    shares = np.maximum(cv2.blur(weight, _SPREAD), np.float32(0.3))
    beyond = [cv2.blur(np.maximum(side, 0.0) * weight, _SPREAD) for side in (there - most, least - there)]
    return float((np.maximum(*beyond) / shares)[where].max())


def _around(box: Box, height: int, width: int) -> Bool:
    """Return the pixels around a box, those next to it left out."""
    top, bottom, left, right = box
    around = np.ones((height, width), np.bool_)
    around[
        max(0, top - _MARGIN * (top > 0)) : bottom + _MARGIN * (bottom < height),
        max(0, left - _MARGIN * (left > 0)) : right + _MARGIN * (right < width),
    ] = False
    return around


def _shows_the_inside(fill: Fill, height: int, width: int) -> Bool:
    """Return the pixels that do not show the clip's outermost ones, where clip and fill are mixed."""
    top, bottom, left, right = fill.box
    x, y = (fill.matrix[n, n] * np.arange(size) + fill.matrix[n, 2] for n, size in enumerate((width, height)))
    across = ((x > 0.5) | (left == 0)) & ((x < right - left - 1.5) | (right == width))
    down = ((y > 0.5) | (top == 0)) & ((y < bottom - top - 1.5) | (bottom == height))
    return np.asarray(down[:, None] & across)


def _enlarged(picture: U8, box: Box, matrix: F64, blur: tuple[float, float]) -> F32:
    top, bottom, left, right = box
    height, width = picture.shape
    clip = picture[top:bottom, left:right].astype(np.float32)
    large = cv2.warpAffine(
        clip, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.GaussianBlur(large, (0, 0), *blur, borderType=cv2.BORDER_REFLECT), np.float32)


def _lit(pictures: U8, seen: F64, around: Bool, fill: Fill) -> tuple[float, Fill]:
    """Return a fill with the gain and the offset that fit best (least squares), and the mean squared error left."""
    expected = np.stack([fill.of(picture)[around] for picture in pictures]).astype(np.float64)
    deviations, apart = expected - expected.mean(), seen - seen.mean()
    gain = float((deviations * apart).sum() / max(1.0, float((deviations**2).sum())))
    gain = min(max(gain, _GAIN[0]), _GAIN[1])
    error = float(((gain * deviations - apart) ** 2).mean())
    return error, replace(fill, gain=gain, offset=float(seen.mean() - gain * expected.mean()))


def _descended(at: F64, least: float, error: Callable[[F64], float]) -> F64:
    """Return where steps along each setting lead, halved where none lessens the error, which is `least` at first."""
    steps = _STEPS.copy()
    for _ in range(_MOST_TRIES):
        before = least
        for number, step in enumerate(steps):
            for way in (-step, step):
                tried = at.copy()
                tried[number] += way
                if tried[0] <= 0 or not _LEAST_BLURRED <= tried[4] <= _MOST_BLURRED:
                    continue
                found = error(tried)
                if found < _BETTER * least:
                    least, at = found, tried
                    break
        if least == before:
            steps = steps / 2
            if steps[0] < _FINEST * _STEPS[0]:
                break
    return at
