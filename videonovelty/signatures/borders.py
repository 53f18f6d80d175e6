"""Where the picture is inside a frame: letterbox, pillarbox, coloured or noisy bars, blurred fill around a clip.

The full frame is always signed as well, so a box found where there is none costs bytes and no match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import U8

Box = tuple[int, int, int, int]
"""First and last row, first and last column, the last ones left out."""

_SMALLEST = 16
"""Borders of pictures lower or narrower than this are not sought."""
_MIN_TOLERANCE = 6
_MAX_TOLERANCE = 24
"""Grey levels a bar may differ from its own colour: four of its standard deviations within these bounds. 6 covers
compression noise; 14 for all, as measured before, took dark pictures for bars."""
_BAR_SHARE = 0.98
"""Share of a line within the tolerance that makes it part of a bar."""
_SUBTITLE_SHARE = 0.35
"""The same where the bar opposite is wider: room for subtitles and logos that lie on a bar."""
_ABRUPT_SHARE = 0.6
"""Two lines past the end of a bar that has no equal opposite, less than this has the bar's colour: a sky or a dark
floor fades into the picture, a bar ends."""
_MAX_CUT = 0.45
"""Share of the picture one bar may take; a 9:16 clip in a 16:9 frame has bars of 0.34."""
_MIN_CUT = 0.015
"""Bars that take less than this of a side, both together, are left alone: they do not move a code."""
_MIN_KEPT = 0.2
"""Share of a side that must remain."""

_MAX_FILL = 0.36
"""Share one blurred stretch may take: 16:9 in 9:16 leaves 0.34."""
_FILLED_SHARE = 0.9
"""Of the picture within the bars: a fill that leaves more is no other than these."""
_SHARP_RATIO = 3.0
_SEAM_RATIO = 4.0


def inner_box(luma: U8) -> Box:
    """Return `(top, bottom, left, right)` of the picture within `luma`: rows [top, bottom), columns [left, right).

    `luma` has shape (height, width), uint8, best 160 … 320 px on its longer side: large enough for an edge to be found
    within 1 % and small enough that noise is averaged away. The full box is returned where no border is found.
    """
    bars, filled = common_bars(luma[None]), common_fill(luma[None])
    return filled if is_smaller(filled, bars) else bars


def common_bars(pictures: U8, *, but: int = 0) -> Box:
    """Return the box, as `inner_box`, within the bars that all of some pictures (n, height, width) of a video have.

    Of bars of equal width on both sides so many pictures may have narrower ones, or none: in a dark picture they cannot
    be told. The full box is returned where less than a quarter of a side would be left.
    """
    rows, columns = pictures.shape[1:]
    boxes = np.sort([_bars_box(picture) for picture in pictures], axis=0)
    but = min(but, len(boxes) - 1)
    ends = [
        (first, last) if first and abs(first - (size - last)) <= 2 else (boxes[0, side], boxes[-1, side + 1])
        for side, size in ((0, rows), (2, columns))
        for first, last in [(boxes[but, side], boxes[-1 - but, side + 1])]
    ]
    (top, bottom), (left, right) = ends
    if bottom - top < rows // 4 or right - left < columns // 4:
        return full_box(pictures[0])
    return int(top), int(bottom), int(left), int(right)


def common_fill(pictures: U8) -> Box:
    """Return the box, as `inner_box`, of a clip between two blurred stretches in pictures (n, height, width).

    It is sought in all of them together, for its seam is faint in some. What is blurred may be something else than the
    clip (`filled`). The full box is returned where none is found.
    """
    height, width = pictures.shape[1:]
    if height < _SMALLEST or width < _SMALLEST:
        return full_box(pictures[0])
    top, bottom = _blurred_fill(list(pictures))
    left, right = (0, 0) if top or bottom else _blurred_fill([_turned(picture) for picture in pictures])
    return top, height - bottom, left, width - right


def is_smaller(filled: Box, bars: Box) -> bool:
    """Return whether the clip in a fill is smaller than what is within bars, and in it: blurred and dark ends look like
    bars, but a fill does not reach over bars of the other direction."""
    within = all(one >= other for one, other in zip(filled[::2], bars[::2], strict=True))
    within &= all(one <= other for one, other in zip(filled[1::2], bars[1::2], strict=True))
    return within and _area(filled) < _FILLED_SHARE * _area(bars)


def _area(box: Box) -> int:
    top, bottom, left, right = box
    return (bottom - top) * (right - left)


def full_box(luma: U8) -> Box:
    """Return the box of all of a picture."""
    height, width = luma.shape
    return 0, height, 0, width


def _bars_box(luma: U8) -> Box:
    height, width = luma.shape
    if height < _SMALLEST or width < _SMALLEST:
        return full_box(luma)
    top, bottom = _bars(luma)
    left, right = _bars(_turned(luma[top : height - bottom]))
    if left or right:  # side bars keep the lines above and below from looking like bars of their own
        top, bottom = _bars(luma[:, left : width - right])
    return top, height - bottom, left, width - right


@dataclass(frozen=True, slots=True)
class _Run:
    lines: int
    share: npt.NDArray[np.float64]
    """Of each line from the edge inwards: how much of it has the bar's colour."""


def _turned(luma: U8) -> U8:
    return np.ascontiguousarray(luma.T)


def _line_means(values: U8) -> npt.NDArray[np.float64]:
    return np.asarray(cv2.reduce(values, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[:, 0], np.float64)


def _middle(values: npt.NDArray[np.int16]) -> int:
    return int(np.partition(values, len(values) // 2)[len(values) // 2])


def _run(luma: U8, limit: int) -> _Run:
    edge = luma[:2].ravel().astype(np.int16)
    colour = _middle(edge)
    spread = 1.4826 * _middle(np.abs(edge - colour))
    tolerance = int(min(max(4 * spread, _MIN_TOLERANCE), _MAX_TOLERANCE))
    alike = cv2.inRange(luma[:limit], np.array(colour - tolerance), np.array(colour + tolerance))
    share = _line_means(np.asarray(alike, np.uint8)) / 255
    outside = np.flatnonzero(share < _BAR_SHARE)
    return _Run(int(outside[0]) if len(outside) else limit, share)


def _bars(luma: U8) -> tuple[int, int]:
    """Return how many lines at the start and at the end of `luma` are bars."""
    n = len(luma)
    limit = int(n * _MAX_CUT)
    first, last = _run(luma, limit), _run(np.ascontiguousarray(luma[::-1]), limit)
    wider = max(first.lines, last.lines)
    start, end = (_widened(run, wider) for run in (first, last))
    if abs(start - end) > 2:
        start, end = (lines if _abrupt(run, lines) else 0 for run, lines in ((first, start), (last, end)))
    if start + end < max(2, _MIN_CUT * n) or n - start - end < _MIN_KEPT * n:
        return 0, 0
    return start, end


def _abrupt(run: _Run, lines: int) -> bool:
    return lines + 2 < len(run.share) and float(run.share[lines + 1 : lines + 3].min()) < _ABRUPT_SHARE


def _widened(run: _Run, wider: int) -> int:
    """Return the length of a bar whose opposite bar has `wider` lines: as long, where only lettering interrupts it."""
    if run.lines == 0 or bool((run.share[run.lines : wider] < _SUBTITLE_SHARE).any()):
        return run.lines
    return wider


def _blurred_fill(pictures: Sequence[U8]) -> tuple[int, int]:
    """Return the lines before and after a sharp picture that lies between two blurred stretches of equal length.

    Clips of another shape are padded with a blurred, enlarged copy of themselves. There the fine detail of a line
    (second difference along it) nearly vanishes, and a seam runs along the whole picture where it begins: both on the
    mean of `pictures`.
    """
    n = len(pictures[0])
    limit = int(n * _MAX_FILL)
    seam = _mean_of_lines([np.asarray(cv2.absdiff(luma[1:], luma[:-1]), np.uint8) for luma in pictures])
    both = np.minimum(seam[:limit], seam[::-1][:limit])  # symmetric: the weaker of the two seams counts
    shifted = np.minimum(seam[1 : limit + 1], seam[::-1][:limit])
    cut, end = (int(both.argmax()) + 1,) * 2
    if shifted.max() > both.max():
        end = int(shifted.argmax()) + 1
        cut = end + 1
    if cut < max(4, 0.1 * n):
        return 0, 0
    seam_outside = np.concatenate((seam[: cut - 2], seam[n - end + 1 :]))
    if float(seam[[cut - 1, n - end - 1]].min()) <= _SEAM_RATIO * max(float(np.median(seam_outside)), 0.3):
        return 0, 0
    detail = _mean_of_lines([cv2.convertScaleAbs(cv2.Sobel(luma, cv2.CV_16S, 2, 0, ksize=1)) for luma in pictures])
    outer = np.concatenate((detail[: cut - 1], detail[n - end + 1 :]))
    sharp = float(np.median(detail[cut:-end])) > _SHARP_RATIO * max(float(np.median(outer)), 0.1)
    return (cut, end) if sharp else (0, 0)


def _mean_of_lines(pictures: Sequence[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(np.mean([_line_means(picture) for picture in pictures], axis=0))
