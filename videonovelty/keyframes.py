"""Keyframes: the few pictures that stand for a video, chosen while it is being decoded.

One settled picture per shot, and between cuts a grid thinned by novelty: a grid picture is kept when it no longer looks
like the last one kept, so dissolves, fades and slow pans are covered without being detected. Measured in the research
note on decoding and scenes, sections 2 and 3, and by `benchmarks/keyframes.py`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.between import APART_SHARE, LEAST_DIFFERENCE, Around, around, distance, share_apart
from videonovelty.records import F64, U8, Frame, Keyframe
from videonovelty.settings import KeyframeSettings

_NEIGHBOURS = 3  # frames on either side a cut must stand out from
_FLASH_FRAMES = 4  # content that is back after at most so many frames was interrupted, not left
_FLASH_CORRELATION = 0.5  # a flash brightens what is there; an inserted picture shows something else
_PUT_IN_FRAMES = 3  # frames of something else that are told by those before and after them
_MOST_PUT_IN = 16  # begins and ends of such within a second; with more pictures come by turns, which is told otherwise
_HISTOGRAM_WEIGHT = 0.15
_HISTOGRAM_FLOOR = 0.12
_RATIO_FLOOR = 0.004  # of full scale: keeps still footage from making a cut of noise
_BLEND_SHARE = 0.8  # two steps that add up to at least this share of one are a cut with a blended picture in it
_SAME_SCENE_CORRELATION = (
    0.65  # between cuts of unrelated takes it is below 0.61 in 178 of 178 (benchmarks/keyframes.py)
)
_OTHER_SCENE_CORRELATION = 0.3
_QUICK_CHANGE = 2.5  # times the cut floor: a frame that differs so much is looked at outside the grid too
_QUICK_SECONDS = 0.2  # …unless a keyframe was taken so shortly before
_PEAK, _BREAK, _BREAK_RATIO = 1.9, 0.4, 1.5  # five edits of 89 cuts: no cut is missed, one false alarm
_SETTLE_SECONDS = 0.2
_FLAT_DEVIATION = 8.0  # grey levels: a flash to white or black has no structure to compare
_BLANK_DEVIATION = 2.0  # grey levels of noise: with less, nothing is on the picture
_FADED = 2.5  # times the contrast: a fade passes through several pictures, though dark ones hardly differ
_MAX_CANDIDATES = 3  # pictures held, so that memory stays small at any resolution
_BURST_SHARE = 0.05  # of the cap: how far ahead of an even pace keyframes may run
_PIXELS = 64 * 36


@dataclass(slots=True)
class _Seen:
    """A frame near the one that is judged: does it begin a shot?"""

    frame: Frame | None
    """None once it is judged, so that its picture can go; the thumb is still compared with later ones."""
    thumb: U8
    histogram: npt.NDArray[np.float32]
    difference: float
    """Mean absolute difference to the frame before, share of full scale."""
    score: float
    put_in: bool = False
    """Here begins, or ends, what was put in between for a few frames."""
    around: Around | None = None
    """What is around each place of the thumb, once it was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class _Small:
    """A picture of 32 × 18 and what comparing it takes, worked out once; all sums are of whole numbers, so exact."""

    pixels: U8
    values: F64
    """Shape (576,)."""
    mean: float
    deviation: float


@dataclass(slots=True)
class _Standing:
    """A keyframe in the making: its interval so far, and the picture chosen so far."""

    start_seconds: float
    shot_start_seconds: float
    frame: Frame
    shot: int
    pinned: bool = True
    """False for a spare that is only used when a short video has too few keyframes."""
    settled: bool = True
    stretch: list[_Small] = field(default_factory=list)
    """Small pictures of the interval's grid so far."""
    candidates: list[tuple[Frame, _Small]] = field(default_factory=list)
    """Those of them that resemble all of `stretch`; one of them is `frame`."""


class KeyframeChoice(Iterator[Keyframe]):
    """Iterator over the keyframes of one video; `notes` is complete once it is exhausted."""

    def __init__(self, frames: Iterable[Frame], settings: KeyframeSettings, expected_seconds: float) -> None:
        self.notes: tuple[str, ...] = ()
        self.cuts_seconds: list[float] = []
        """Times of the frames that begin a shot, without the first."""
        self._settings = settings
        self._expected_seconds = expected_seconds
        self._given = 0
        self._thinned = False
        self._early: list[_Standing] | None = []
        """The first ones and their spares, until there are enough; then None."""
        self._next_grid = 0.0
        self._keyframes = self._choose(frames)

    def __next__(self) -> Keyframe:
        """Return the next keyframe."""
        return next(self._keyframes)

    def _choose(self, frames: Iterable[Frame]) -> Iterator[Keyframe]:
        current: _Standing | None = None
        spacings: deque[float] = deque(maxlen=9)
        previous: float | None = None
        for frame, is_cut, difference in _with_cuts(frames, self._settings):
            now = frame.pts_seconds
            if previous is not None:
                spacings.append(now - previous)
            following = self._following(current, frame, is_cut, difference, _typical(spacings))
            if following is not None:
                if self._early is not None:
                    self._early.append(following)
                elif current is not None:
                    yield self._keyframe(current, now)
                current = following
            elif self._early is not None and current is not None and current.frame is not frame:
                self._early.append(_Standing(now, current.shot_start_seconds, frame, current.shot, pinned=False))
            if self._early is not None:
                yield from self._enough()
            previous = now
        if previous is not None and current is not None:
            end = previous + _typical(spacings)
            if self._early is None:
                yield self._keyframe(current, end)
            else:
                yield from self._all_early(end)
        if self._thinned:
            self.notes = (
                f"thinned to {self._given} keyframes (at most {self._settings.max_keyframes}): "
                "some stand for longer stretches or for several shots",
            )

    def _following(
        self, current: _Standing | None, frame: Frame, is_cut: bool, difference: float, spacing: float
    ) -> _Standing | None:
        """Return the keyframe that begins with this frame, or None while the current one stands for it too."""
        now = frame.pts_seconds
        if current is None:
            return _Standing(now, now, frame, 0, settled=False)
        if is_cut and self._allowed(now, current):
            self.cuts_seconds.append(now)
            return _Standing(now, now, frame, current.shot + 1, settled=False)
        quick = (
            difference > _QUICK_CHANGE * self._settings.cut_floor / 255
            and now - current.frame.pts_seconds >= _QUICK_SECONDS
        )
        on_grid = quick or now >= self._next_grid
        if now >= self._next_grid:
            self._next_grid = (now // self._settings.grid_seconds + 1) * self._settings.grid_seconds
        if not current.settled:
            # The pictures around a cut are often blended or coarse: take the first that stays like the one before.
            if current.shot or self._alike(_small(frame.thumb), _small(current.frame.thumb)):
                self._move(current, frame)
            still = difference < self._settings.cut_floor / 255 / 4
            current.settled = still or on_grid or now - current.start_seconds >= _SETTLE_SECONDS
            return None
        longest = self._longest(now)
        too_long = now - current.start_seconds + spacing > longest + 1e-6
        if too_long or (on_grid and not self._stands_for(current, frame) and self._allowed(now, current)):
            return _Standing(now, current.shot_start_seconds, frame, current.shot)
        return None

    def _stands_for(self, current: _Standing, frame: Frame) -> bool:
        """Return whether one picture can stand for the interval so far and this frame, choosing it anew.

        It can be any grid picture of the interval that resembles all the others; of those, the one nearest the middle.
        """
        if not current.candidates:
            current.candidates = [(current.frame, _small(current.frame.sketch()))]
            current.stretch = [current.candidates[0][1]]
        small = _small(frame.sketch())
        candidates = [one for one in current.candidates if self._alike(one[1], small)]
        if all(self._alike(small, one) for one in current.stretch):
            candidates.append((frame, small))
        if not candidates:
            return False
        middle = (current.start_seconds + frame.pts_seconds) / 2
        best = min(candidates, key=lambda one: abs(one[0].pts_seconds - middle))
        if len(candidates) > _MAX_CANDIDATES:
            del candidates[0 if candidates[0] is not best else 1]
        current.candidates = candidates
        current.stretch.append(small)
        if best[0] is not current.frame:
            self._move(current, best[0])
        return True

    def _move(self, current: _Standing, frame: Frame) -> None:
        """Let a later picture stand for the interval; while keyframes are few, the one before remains a spare."""
        if self._early is not None:
            # the later picture is no spare any more, or one keyframe would be counted twice and be missing in the end
            self._early = [one for one in self._early if one.pinned or one.frame is not frame]
            self._early.append(replace(current, start_seconds=current.frame.pts_seconds, pinned=False))
        current.frame = frame

    def _alike(self, one: _Small, other: _Small) -> bool:
        low, high = sorted((one.deviation + _BLANK_DEVIATION, other.deviation + _BLANK_DEVIATION))
        if high > _FADED * low:
            return False  # however dark: a picture came or went
        return not _differ(one, other, self._settings.novelty_difference, self._settings.novelty_correlation)

    def _enough(self) -> Iterator[Keyframe]:
        """Drop spares there are too many of; yield the early keyframes once the video has enough of its own."""
        early = self._early or []
        pinned = [one for one in early if one.pinned]
        if len(pinned) < self._settings.min_keyframes:
            _thin_spares(early, self._settings.min_keyframes - len(pinned))
            return
        self._early = None
        for one, following in pairwise(pinned):
            yield self._keyframe(one, following.start_seconds)

    def _all_early(self, end: float) -> Iterator[Keyframe]:
        """Yield the keyframes of a video too short for enough of its own, spares among them."""
        early = {one.frame.pts_seconds: one for one in sorted(self._early or [], key=lambda one: one.pinned)}
        ordered = [early[pts] for pts in sorted(early)]
        own = [one.start_seconds for one in ordered if one.pinned]
        starts = [ordered[0].shot_start_seconds]
        for one, following in pairwise(ordered):
            # where the interval begins that the following picture lies in, a spare of it or not
            begins = own[bisect_right(own, following.frame.pts_seconds) - 1]
            if following.shot != one.shot:
                starts.append(following.shot_start_seconds)
            else:
                starts.append(begins if begins > one.frame.pts_seconds else following.frame.pts_seconds)
        for one, start, stop in zip(ordered, starts, [*starts[1:], end], strict=True):
            yield self._keyframe(replace(one, start_seconds=start), stop)

    def _keyframe(self, one: _Standing, end: float) -> Keyframe:
        self._given += 1
        return Keyframe(one.frame.pts_seconds, one.start_seconds, end, one.frame, one.shot)

    def _horizon(self, now: float) -> float:
        """Return how long the video is taken to be: as declared, or else as long again as seen so far."""
        return self._expected_seconds if self._expected_seconds > now else 2 * now

    def _longest(self, now: float) -> float:
        """Return how long one keyframe may stand: stretched so that still footage uses half of the cap at most."""
        usual = self._settings.longest_interval_seconds
        if self._given <= self._settings.max_keyframes * _BURST_SHARE:
            return usual  # so that a declared duration that lies thins nothing
        stretched = max(2 * self._horizon(now) / self._settings.max_keyframes, self._even_gap(now))
        self._thinned |= stretched > usual
        return max(usual, stretched)

    def _allowed(self, now: float, current: _Standing) -> bool:
        """Return whether the cap leaves room for one more keyframe here, spreading what is left evenly."""
        share_of_time = now / max(self._horizon(now), 1e-9)
        if self._given <= self._settings.max_keyframes * min(share_of_time + _BURST_SHARE, 1 - _BURST_SHARE):
            return True
        allowed = now - current.start_seconds >= self._even_gap(now)
        self._thinned |= not allowed
        return allowed

    def _even_gap(self, now: float) -> float:
        """Return how far apart keyframes must be from here on for what is left of the cap to reach the end."""
        left = self._settings.max_keyframes - self._settings.min_keyframes - 1 - self._given
        return (self._horizon(now) - now) / left if left > 0 else float("inf")


def choose_keyframes(
    frames: Iterable[Frame], settings: KeyframeSettings, *, expected_seconds: float = 0.0
) -> KeyframeChoice:
    """Yield the keyframes of one video in order; their intervals tile its time, from the first frame to the last's end.

    `frames` come in presentation order. At most ten of them are kept alive at any time (about twenty until there are
    `min_keyframes`), the current keyframe's until the next one is found. Use each keyframe's pixels at once.

    A cut is a thumb that differs from the one before by `cut_floor` grey levels and `cut_ratio` times as much as its
    neighbourhood does, unless the same content, brightened, was a flash. Each shot begins an interval, whose picture is
    taken once it has settled. Between cuts, an interval lasts as long as one of its pictures resembles all of it, on
    the grid: not different by `novelty_difference`, nor correlated less than `novelty_correlation`, nor faded to less
    than half of its contrast. Of such pictures the one nearest the middle is taken. No interval is longer than
    `longest_interval_seconds` unless a single frame is shown for longer, and none crosses a cut.

    Videos that would need more than `max_keyframes` are thinned evenly over `expected_seconds` (the declared duration,
    or 0.0 when unknown: then over twice the time seen so far); only then may a keyframe stand longer or for several
    shots, and `notes` of the returned iterator says so.
    """
    return KeyframeChoice(frames, settings, expected_seconds)


def _small(picture: U8) -> _Small:
    """Return a thumb or a sketch made smaller by area averaging, against the cheap scaler's aliasing."""
    pixels: U8 = cv2.resize(picture, (32, 18), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    values: F64 = pixels.ravel().astype(np.float64)
    mean = float(values.sum()) / len(values)
    return _Small(pixels, values, mean, math.sqrt(max(float(values @ values) / len(values) - mean * mean, 0.0)))


def _differ(one: _Small, other: _Small, difference: float, correlation: float) -> bool:
    """Return whether two small pictures show different things.

    Different: mean absolute difference above `difference` (share of full scale), or normalised correlation below
    `correlation` while the difference is above 0.02, where noise ends.
    """
    distance = float(cv2.norm(one.pixels, other.pixels, cv2.NORM_L1)) / (one.pixels.size * 255)
    return distance > difference or (distance > 0.02 and _correlation(one, other) < correlation)


def _correlation(a: _Small, b: _Small) -> float:
    """Return the normalised correlation of two pictures; the 4 keeps flat ones from correlating by their noise."""
    covariance = float(a.values @ b.values) / len(a.values) - a.mean * b.mean
    return covariance / (a.deviation * b.deviation + 4)


def _typical(spacings: deque[float]) -> float:
    """Return the median spacing of the last frames in seconds; 1/25 while there is none."""
    if not spacings:
        return 0.04
    ordered, middle = sorted(spacings), len(spacings) // 2  # np.median takes 160 µs, a sixth of a decoded frame
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _thin_spares(early: list[_Standing], room: int) -> None:
    """Drop spares until at most `room` are left, always the one whose neighbours are closest together."""
    early.sort(key=lambda one: one.frame.pts_seconds)
    while sum(not one.pinned for one in early) > max(room, 0):
        pts = [one.frame.pts_seconds for one in early]
        gaps = {
            # the latest spare stays while there is another: what comes next is not known yet
            i: (pts[i + 1] if i + 1 < len(pts) else float("inf")) - pts[i - 1] if i else 0.0
            for i, one in enumerate(early)
            if not one.pinned
        }
        del early[min(gaps, key=lambda i: gaps[i])]


def _with_cuts(frames: Iterable[Frame], settings: KeyframeSettings) -> Iterator[tuple[Frame, bool, float]]:
    """Yield (frame, whether it begins a new shot, difference to the frame before), a few frames behind the decoder."""
    window: deque[_Seen] = deque()
    put_in: deque[float] = deque(maxlen=_MOST_PUT_IN)
    ready = 0  # index in `window` of the frame to judge next
    ahead = max(_NEIGHBOURS, _FLASH_FRAMES)
    for frame in frames:
        window.append(_seen(frame, window[-1] if window else None))
        if len(window) - ready > ahead:
            yield _judged(window, ready, settings, put_in)
            ready += 1
            if ready > _FLASH_FRAMES + 1:
                window.popleft()
                ready -= 1
    while ready < len(window):
        yield _judged(window, ready, settings, put_in)
        ready += 1


def _seen(frame: Frame, before: _Seen | None) -> _Seen:
    histogram = cv2.calcHist([frame.thumb], [0], None, [32], [0, 256])
    if before is None:
        return _Seen(frame, frame.thumb, histogram, 0.0, 0.0)
    difference = distance(frame.thumb, before.thumb)
    shift = float(cv2.norm(histogram, before.histogram, cv2.NORM_L1)) / (2 * _PIXELS)
    return _Seen(frame, frame.thumb, histogram, difference, difference + _HISTOGRAM_WEIGHT * shift)


def _judged(
    window: deque[_Seen], i: int, settings: KeyframeSettings, put_in: deque[float]
) -> tuple[Frame, bool, float]:
    """Return the frame at `i`, whether it begins a shot, and its difference; `put_in` are the latest times of such."""
    frame = window[i].frame
    assert frame is not None
    window[i].frame = None
    if len(put_in) < _MOST_PUT_IN or frame.pts_seconds - put_in[0] > 1.0:
        _mark_put_in(window, i)
    if not window[i].put_in:
        return frame, _is_cut(window, i, settings), window[i].difference
    put_in.append(frame.pts_seconds)
    return frame, not _is_flash(window, i), window[i].difference


def _is_cut(window: deque[_Seen], i: int, settings: KeyframeSettings) -> bool:
    here = window[i].score
    if i == 0 or here < settings.cut_floor / 255 + _HISTOGRAM_WEIGHT * _HISTOGRAM_FLOOR:
        return False
    first, last = _steps_of_cut(window, i)
    if here < max(window[first].score, window[last].score):
        return False  # the larger of the two steps is the cut
    low, high = max(1, i - _NEIGHBOURS), min(len(window), i + 1 + _NEIGHBOURS)
    near = [j for j in range(low, high) if j not in (i, first, last)]
    around = sorted(window[j].score for j in near)
    stands_out = here >= settings.cut_ratio * (
        _usual(around, window[first - 1].thumb, window[last].thumb) + _RATIO_FLOOR
    )
    return (stands_out or _breaks_off(window, i, near)) and not _is_flash(window, i)


def _mark_put_in(window: deque[_Seen], i: int) -> None:
    """Mark the frame at `i` and the first one after it that is not put in between, if some frames from `i` on are.

    All of them show what neither the frame before them nor the one after them does (`between`). Amid others of their
    kind, or where everything changes, they stand out of no neighbourhood.
    """
    if i == 0 or window[i].difference < LEAST_DIFFERENCE:
        return
    before = _around(window[i - 1])
    for count in range(1, _PUT_IN_FRAMES + 1):
        if i + count >= len(window):
            return
        after = _around(window[i + count])
        if all(share_apart(window[i + n].thumb, before, after) >= APART_SHARE for n in range(count)):
            window[i].put_in = window[i + count].put_in = True
            return


def _around(seen: _Seen) -> Around:
    seen.around = seen.around or around(seen.thumb)
    return seen.around


def _breaks_off(window: deque[_Seen], i: int, near: list[int]) -> bool:
    """Return whether the picture changes its structure here as nowhere near: a cut amid fast movement."""
    if not near or window[i].score < _PEAK * sum(window[j].score for j in near) / len(near):
        return False
    lost = {j: 1 - _correlation(_small(window[j - 1].thumb), _small(window[j].thumb)) for j in (i, *near)}
    return lost[i] > _BREAK and lost[i] >= _BREAK_RATIO * max(lost[j] for j in near)


def _steps_of_cut(window: deque[_Seen], i: int) -> tuple[int, int]:
    """Return (first, last) step of the change at `i`: two where one frame in between is a mixture of both shots.

    Then what changes in two steps is about as much as their sum, where movement comes and goes.
    """
    for first in (i - 1, i):
        if first < 1 or first + 1 >= len(window):
            continue
        steps = window[first].difference, window[first + 1].difference
        whole = distance(window[first - 1].thumb, window[first + 1].thumb)
        if min(steps) > 0.15 * max(steps) and whole >= _BLEND_SHARE * sum(steps):
            return first, first + 1
    return i, i


def _usual(around: list[float], before: U8, after: U8) -> float:
    """Return the change around a frame that its own change is measured against; `around` is sorted.

    Pictures that have nothing in common are a cut even with another cut close by: the median, which that does not
    raise. Where the picture stays what it was but for something fast in front of it, the change has to stand alone.
    """
    if not around:
        return 0.0
    correlation = _correlation(_small(before), _small(after))
    if correlation > _SAME_SCENE_CORRELATION:
        return around[-1]
    if correlation > _OTHER_SCENE_CORRELATION:
        return sum(around) / len(around)
    return around[(len(around) - 1) // 2]


def _is_flash(window: deque[_Seen], i: int) -> bool:
    """Return whether the change here begins or ends a flash: the same content before and after, brighter between.

    A picture of something else put in for a few frames is no flash: it gets a shot, and so a keyframe, of its own.
    """
    limit = 0.35 * window[i].difference + 0.01
    before, after = window[i - 1].thumb, window[i].thumb
    later = (window[j].thumb for j in range(i + 1, min(len(window), i + 1 + _FLASH_FRAMES)))
    earlier = (window[j].thumb for j in range(max(0, i - 1 - _FLASH_FRAMES), i - 1))
    if any(distance(before, thumb) < limit for thumb in later):
        flash = after
    elif any(distance(thumb, after) < limit for thumb in earlier):
        flash = before
    else:
        return False
    return float(flash.std()) < _FLAT_DEVIATION or _correlation(_small(before), _small(after)) > _FLASH_CORRELATION
