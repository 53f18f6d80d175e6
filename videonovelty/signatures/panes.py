"""Panes: rectangles of the picture in which something plays by itself.

A picture in a picture, one half of a split screen, the player of a filmed or recorded desktop: what they have in common
is that their borders stay where they are while the pictures on both sides change. So brightness is asked for straight
crossings that keyframes share, and the rectangle is sought whose sides they explain best (persistent lines, as the copy
detection of TRECVID systems found pictures in pictures by). Each pane is signed like a picture of its own.

A rectangle found where nothing plays costs bytes and no match. A pane names what plays in it and proves nothing about
the picture around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import F64, PANE_FULL, U8, Panes, no_panes
from videonovelty.signatures.pdq import PDQ_SIDE, pdq

F32 = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]
"""(top, bottom, left, right) in pixels, as `borders.inner_box`, with fractions."""

BLOCK = 12
"""Keyframes whose crossings are counted together; a pane that stays through most of them is found."""
_LEAST_PICTURES = 3
"""One picture does not tell what stays from what is there."""
_LOOKED_AT = 6
"""Of a block, evenly spread: more cost more and find no more."""
MOST_PANES = 2
LEAST_SIDE = 0.15
"""Share of the picture's width and height a pane must have…"""
MOST_SHARE = 0.8
"""…and of its area it may have: what is larger is the picture."""
_STEP = 6
"""Grey levels between the means of two pixels before a border and two behind it, at least; and…"""
_REACH = 3
"""…no more within as many pixels on either side."""
_EVEN_ODDS = 0.57
"""Share of a side's pixels with a crossing at which a border is as likely as chance. Borders have 0.7 to 0.9; the best
straight lines of textured pictures about a half."""
_LEAST_SUPPORT = 0.5
"""Share each side needs."""
_LEAST_EVIDENCE = 12.0
"""Pixels with a crossing beyond even odds, all sides together."""
_LINES = 14
"""Rows, and columns, that are tried as sides."""
_BETWEEN_LINES = 2
_SAME_PANE = 0.5
"""Intersection over union from which two rectangles are one."""
_TRIED = 200
_SAMPLED = 2 * PDQ_SIDE


class PaneRecorder:
    """See the pictures of a video's keyframes one after the other, and keep the codes of their panes."""

    def __init__(self, informative: Callable[[U8, int], bool]) -> None:
        """`informative(luma, quality)` says whether a pane's picture says anything."""
        self._informative = informative
        self._held: list[tuple[int, U8]] = []
        self._found: list[Panes] = []

    def see(self, keyframe: int, picture: U8) -> None:
        """Take luma of the keyframe numbered `keyframe`; up to 18 pictures are held."""
        if self._held and self._held[-1][1].shape != picture.shape:
            self._sign(len(self._held))
        self._held.append((keyframe, picture))
        if len(self._held) == BLOCK + BLOCK // 2:  # so that no block is left with a few
            self._sign(BLOCK)

    def finish(self) -> Panes:
        """Return the panes of everything seen."""
        self._sign(len(self._held))
        if not self._found:
            return no_panes()
        columns = ([getattr(one, name) for one in self._found] for name in ("keyframe", "box", "pdq"))
        return Panes(*(np.concatenate(column) for column in columns))

    def _sign(self, count: int) -> None:
        block, self._held = self._held[:count], self._held[count:]
        boxes = find_panes([picture for _, picture in block])
        cuts = [(number, box, cut_pane(picture, box)) for number, picture in block for box in boxes]
        if not cuts:
            return
        codes, quality = pdq(np.stack([luma for _, _, luma in cuts]))
        kept = [i for i, (_, _, luma) in enumerate(cuts) if self._informative(luma, int(quality[i]))]
        height, width = block[0][1].shape
        keyframe = np.array([cuts[i][0] for i in kept], np.int64)
        boxes_kept = np.array([cuts[i][1] for i in kept], np.float64).reshape(-1, 4)[:, [2, 0, 3, 1]]
        shares = boxes_kept / (width, height, width, height)
        box = (shares.clip(0, 1) * PANE_FULL).round().astype(np.uint16)
        self._found.append(Panes(keyframe, box, codes[kept]))


def find_panes(pictures: Sequence[U8]) -> list[Box]:
    """Return the panes that `pictures` (luma of one shape, from one video, in time order) share, best first.

    At most `MOST_PANES`; none where there are fewer than three pictures. Sides are exact to a third of a pixel: at
    320 px, PDQ of a pane of 30 % of the sides moves by 20 bits when it is cut half a pixel off.
    """
    if len(pictures) < _LEAST_PICTURES:
        return []
    picks = np.unique(np.linspace(0, len(pictures) - 1, min(_LOOKED_AT, len(pictures))).round().astype(int))
    some = np.stack([pictures[i] for i in picks])
    across = _Sides.of(some)
    down = _Sides.of(np.ascontiguousarray(some.transpose(0, 2, 1)))
    return [_refined(some, box) for box in _rectangles(columns=across, rows=down)]


def cut_pane(picture: U8, box: Box) -> U8:
    """Return the luma within `box`, shape (64, 64), as PDQ takes it."""
    top, bottom, left, right = box
    dx, dy = (right - left) / _SAMPLED, (bottom - top) / _SAMPLED
    place = np.array([[dx, 0.0, left + dx / 2 - 0.5], [0.0, dy, top + dy / 2 - 0.5]])
    sampled = cv2.warpAffine(
        picture,
        place,
        (_SAMPLED, _SAMPLED),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cv2.resize(sampled, (PDQ_SIDE, PDQ_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """Vertical lines that may be sides, the picture's own borders first and last."""

    places: npt.NDArray[np.int64]
    """Column before which each line lies, ascending; shape (n,)."""
    summed: F64
    """Shape (height + 1, n): how many of the rows above have a crossing there, as a share of the pictures. 0 for the
    picture's own borders."""
    length: int

    @classmethod
    def of(cls, pictures: U8) -> _Sides:
        """Return the lines of `pictures`, shape (k, height, width)."""
        height, width = pictures.shape[1:]
        crossed = np.zeros((height, width), np.uint8)
        for picture in pictures:
            crossed += _crossings(picture)
        # the same border may lie one pixel aside in another picture or row
        near = crossed.copy()
        near[:, 1:] += crossed[:, :-1]
        near[:, :-1] += crossed[:, 1:]
        summed = np.zeros((height + 1, width))
        np.cumsum(np.minimum(near, len(pictures)) / len(pictures), axis=0, out=summed[1:])
        run = max(4, round(LEAST_SIDE * height))
        best = (summed[run:] - summed[:-run]).max(axis=0) / run
        places: list[int] = []
        for place in np.argsort(-best, kind="stable").tolist():
            if best[place] < _EVEN_ODDS or len(places) == _LINES:
                break
            if 2 <= place <= width - 2 and all(abs(place - other) > _BETWEEN_LINES for other in places):
                places.append(place)
        places.sort()
        none = np.zeros((height + 1, 1))
        return cls(np.array([0, *places, width]), np.hstack([none, summed[:, places], none]), width)

    def pairs(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the numbers of the lines far enough apart to be two sides of a pane."""
        first, second = np.triu_indices(len(self.places), 1)
        far = self.places[second] - self.places[first] >= LEAST_SIDE * self.length
        return first[far], second[far]

    def support(
        self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return evidence and share of crossings of every line between rows `first` and `second`, shape (rows, n)."""
        length = (second - first)[:, None]
        share = (self.summed[second] - self.summed[first]) / length
        evidence = length * (share - _EVEN_ODDS)
        evidence[:, [0, -1]], share[:, [0, -1]] = 0.0, 1.0  # the picture's own borders say nothing
        return evidence, share


def _crossings(picture: U8) -> npt.NDArray[np.bool_]:
    """Return before which pixel of each row brightness changes most within two pixels, and enough; (height, width)."""
    pairs = cv2.blur(picture, (2, 1), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)  # of a pixel and the next
    step = np.zeros_like(picture)
    step[:, 2:-1] = cv2.absdiff(pairs[:, 2:-1], pairs[:, :-3])
    most = cv2.dilate(step, np.ones((1, 2 * _REACH + 1), np.uint8))
    # as wide a neighbourhood at the picture's borders, or what lies there would more often be the most of it
    most[:, : 2 + _REACH] = most[:, 2 + _REACH : 3 + _REACH]
    most[:, -1 - _REACH :] = most[:, -2 - _REACH : -1 - _REACH]
    return np.asarray((step >= most) & (step >= _STEP))


def _rectangles(*, columns: _Sides, rows: _Sides) -> list[tuple[int, int, int, int]]:
    left, right = columns.pairs()
    top, bottom = rows.pairs()
    upright, upright_share = columns.support(rows.places[top], rows.places[bottom])
    level, level_share = rows.support(columns.places[left], columns.places[right])
    evidence = upright[:, left] + upright[:, right] + (level[:, top] + level[:, bottom]).T
    least = np.minimum(upright_share[:, left], upright_share[:, right])
    least = np.minimum(least, np.minimum(level_share[:, top], level_share[:, bottom]).T)
    height = (rows.places[bottom] - rows.places[top]) / rows.length
    width = (columns.places[right] - columns.places[left]) / columns.length
    evidence[(least < _LEAST_SUPPORT) | (height[:, None] * width[None, :] > MOST_SHARE)] = 0.0
    found: list[tuple[int, int, int, int]] = []
    for number in np.argsort(-evidence, axis=None, kind="stable")[:_TRIED]:
        v, h = np.unravel_index(number, evidence.shape)
        if evidence[v, h] < _LEAST_EVIDENCE or len(found) == MOST_PANES:
            break
        box = (*rows.places[[top[v], bottom[v]]].tolist(), *columns.places[[left[h], right[h]]].tolist())
        if all(_shared(box, other) < _SAME_PANE for other in found):
            found.append(box)
    return found


def _shared(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    height = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    width = max(0, min(one[3], other[3]) - max(one[2], other[2]))
    areas = sum((bottom - top) * (right - left) for top, bottom, left, right in (one, other))
    return height * width / max(1, areas - height * width)


def _refined(pictures: U8, box: tuple[int, int, int, int]) -> Box:
    """Return `box` with each side where the brightness changes in the mean, to fractions of a pixel."""
    top, bottom, left, right = box
    tall = pictures[:, :, left:right].astype(np.int16)
    wide = pictures[:, top:bottom].astype(np.int16)
    down = np.abs(np.diff(tall, axis=1)).mean((0, 2))
    along = np.abs(np.diff(wide, axis=2)).mean((0, 1))
    refined = (_centre(down, top), _centre(down, bottom), _centre(along, left), _centre(along, right))
    # in the smallest pictures opposite sides are too close for both to move
    some_left = refined[1] - refined[0] >= (bottom - top) / 2 and refined[3] - refined[2] >= (right - left) / 2
    return refined if some_left else (float(top), float(bottom), float(left), float(right))


def _centre(change: F64, place: int) -> float:
    """Return where the change around `place` has its centre; `change[i]` is that between lines i and i + 1."""
    if place in (0, len(change) + 1):
        return float(place)
    around = change[max(0, place - 6) : place + 5]
    near = np.arange(max(0, place - 3), min(len(change), place + 2))
    weight = np.maximum(change[near] - np.median(around), 0.0)
    return float((weight * (near + 1)).sum() / weight.sum()) if weight.any() else float(place)
