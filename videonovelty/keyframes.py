"""Keyframes: the few pictures that stand for a video, chosen while it is being decoded.

One settled picture per shot, and between cuts a grid thinned by novelty: a grid picture is kept when it no longer looks
like the last one kept, so dissolves, fades and slow pans are covered without being detected. Measured in the research
note on decoding and scenes, sections 2 and 3, and by `benchmarks/keyframes.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import U8, Frame, Keyframe
from videonovelty.settings import KeyframeSettings

F32 = npt.NDArray[np.float32]

_NEIGHBOURS = 3  # frames on either side a cut must stand out from
_FLASH_FRAMES = 4  # content that is back after at most so many frames was a flash
_HISTOGRAM_WEIGHT = 0.15
_HISTOGRAM_FLOOR = 0.12
_RATIO_FLOOR = 0.004  # of full scale: keeps still footage from making a cut of noise
_SETTLE_SECONDS = 0.5
_BURST_SHARE = 0.05  # of the cap: how far ahead of an even pace keyframes may run
_PIXELS = 64 * 36


@dataclass(slots=True)
class _Seen:
    """A frame waiting for the verdict whether it begins a shot."""

    frame: Frame
    histogram: npt.NDArray[np.int64]
    difference: float
    """Mean absolute difference to the frame before, share of full scale."""
    score: float


@dataclass(slots=True)
class _Standing:
    """A keyframe in the making: where its interval begins, and the picture chosen so far."""

    start_seconds: float
    frame: Frame
    shot: int
    pinned: bool = True
    """False for a spare that is only used when a short video has too few keyframes."""


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
        self._keyframes = self._choose(frames)

    def __next__(self) -> Keyframe:
        """Return the next keyframe."""
        return next(self._keyframes)

    def _choose(self, frames: Iterable[Frame]) -> Iterator[Keyframe]:
        held: list[_Standing] = []  # the first ones, until there are enough; later only the current one
        current: _Standing | None = None
        enough = False
        settled = True
        next_grid = 0.0
        shot = -1
        spacings: deque[float] = deque(maxlen=9)
        previous: Frame | None = None
        for frame, is_cut, difference in _with_cuts(frames, self._settings):
            now = frame.pts_seconds
            if previous is not None:
                spacings.append(now - previous.pts_seconds)
            spacing = _typical(spacings)
            fresh: _Standing | None = None
            if current is None or (is_cut and self._allowed(now, current)):
                shot += 1
                if current is not None:
                    self.cuts_seconds.append(now)
                fresh = _Standing(now, frame, shot)
                settled = False
            elif not settled:
                # The pictures around a cut are often blended or coarse: take the first that stays like the one before.
                current.frame = frame
                settled = difference < self._settings.cut_floor / 255 / 4 or now - current.start_seconds >= _SETTLE_SECONDS
            elif now - current.start_seconds + spacing > self._longest(now) + 1e-6 or (
                now >= next_grid and self._novel(current.frame, frame) and self._allowed(now, current)
            ):
                fresh = _Standing(now, frame, shot)
            if now >= next_grid:
                next_grid = (now // self._settings.grid_seconds + 1) * self._settings.grid_seconds
            if fresh is not None:
                if enough and current is not None:
                    yield self._keyframe(current, now)
                current = fresh
                if not enough:
                    held = [*held, fresh]
            if not enough:
                if fresh is None and settled and frame is not current.frame if current else False:
                    held.append(_Standing(now, frame, shot, pinned=False))
                pinned = sum(h.pinned for h in held)
                _thin_spares(held, self._settings.min_keyframes - pinned)
                if pinned >= self._settings.min_keyframes:
                    enough = True
                    kept = [h for h in held if h.pinned]
                    for one, following in zip(kept, kept[1:], strict=False):
                        yield self._keyframe(one, following.start_seconds)
                    held = []
            previous = frame
        if previous is None or current is None:
            return
        end = previous.pts_seconds + _typical(spacings)
        if enough:
            yield self._keyframe(current, end)
        else:
            for one, stop in zip(held, [h.start_seconds for h in held[1:]] + [end], strict=True):
                yield self._keyframe(one, stop)
        if self._thinned:
            self.notes = (
                f"thinned to {self._given} keyframes (at most {self._settings.max_keyframes}): "
                "some stand for longer stretches or for several shots",
            )

    def _keyframe(self, one: _Standing, end: float) -> Keyframe:
        self._given += 1
        return Keyframe(one.frame.pts_seconds, one.start_seconds, end, one.frame, one.shot)

    def _novel(self, kept: Frame, frame: Frame) -> bool:
        return looks_different(
            kept.thumb,
            frame.thumb,
            difference=self._settings.novelty_difference,
            correlation=self._settings.novelty_correlation,
        )

    def _horizon(self, now: float) -> float:
        """Return how long the video is taken to be: as declared, or else as long again as seen so far."""
        return self._expected_seconds if self._expected_seconds > now else 2 * now

    def _longest(self, now: float) -> float:
        """Return how long one keyframe may stand: stretched so that still footage uses half of the cap at most."""
        stretched = 2 * self._horizon(now) / self._settings.max_keyframes
        if stretched > self._settings.longest_interval_seconds:
            self._thinned = True
            return stretched
        return self._settings.longest_interval_seconds

    def _allowed(self, now: float, current: _Standing) -> bool:
        """Return whether the cap leaves room for one more keyframe here, spreading what is left evenly."""
        cap = self._settings.max_keyframes
        horizon = max(self._horizon(now), 1e-9)
        if self._given <= cap * (now / horizon + _BURST_SHARE) and self._given < cap * (1 - _BURST_SHARE):
            return True
        left = cap - 1 - self._given
        if left > 0 and now - current.start_seconds >= (horizon - now) / left:
            return True
        self._thinned = True
        return False


def choose_keyframes(
    frames: Iterable[Frame], settings: KeyframeSettings, *, expected_seconds: float = 0.0
) -> KeyframeChoice:
    """Yield the keyframes of one video in order; their intervals tile the time from the first frame to the last one's end.

    `frames` come in presentation order. At most eleven of them are kept alive at any time, one of them until the next
    keyframe is found. Use each keyframe's pixels at once.

    A cut is a thumb that differs from the one before by `cut_floor` grey levels and `cut_ratio` times as much as its
    neighbourhood does, and whose content is not back a few frames later (a camera flash). Each shot gives the first
    settled picture; then each grid time gives one where it looks unlike the last kept; none stands for longer than
    `longest_interval_seconds`. No interval crosses a cut.

    Videos that would need more than `max_keyframes` are thinned evenly over `expected_seconds` (the declared duration,
    or 0.0 when unknown: then over twice the time seen so far); only then may a keyframe stand longer or for several
    shots, and `notes` of the returned iterator says so.
    """
    return KeyframeChoice(frames, settings, expected_seconds)


def looks_different(one: U8, other: U8, *, difference: float, correlation: float) -> bool:
    """Return whether two thumbs of shape (36, 64) show different pictures.

    Different: mean absolute difference above `difference` (share of full scale), or normalised correlation below
    `correlation` while the difference is above 0.02. Halved by area averaging first, against the cheap scaler's aliasing.
    """
    a, b = _small(one), _small(other)
    distance = float(np.abs(a - b).mean()) / 255
    if distance > difference:
        return True
    return distance > 0.02 and _correlation(a, b) < correlation


def _small(thumb: U8) -> F32:
    return cv2.resize(thumb, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32)


def _correlation(a: F32, b: F32) -> float:
    """Return the normalised correlation of two pictures; the 4 keeps flat ones from correlating by their noise."""
    za, zb = a - a.mean(), b - b.mean()
    return float((za * zb).mean() / (za.std() * zb.std() + 4))


def _typical(spacings: deque[float]) -> float:
    """Return the median spacing of the last frames in seconds; 1/25 while there is none."""
    return float(np.median(spacings)) if spacings else 0.04


def _thin_spares(held: list[_Standing], room: int) -> None:
    """Drop spares until at most `room` are left, always the one whose neighbours are closest together."""
    while sum(not h.pinned for h in held) > max(room, 0):
        worst, smallest = -1, float("inf")
        for i, one in enumerate(held):
            if one.pinned:
                continue
            before = held[i - 1].start_seconds if i else one.start_seconds
            after = held[i + 1].start_seconds if i + 1 < len(held) else one.start_seconds + (one.start_seconds - before)
            if after - before < smallest:
                worst, smallest = i, after - before
        del held[worst]


def _with_cuts(frames: Iterable[Frame], settings: KeyframeSettings) -> Iterator[tuple[Frame, bool, float]]:
    """Yield (frame, whether it begins a new shot, difference to the frame before), a few frames behind the decoder."""
    window: deque[_Seen] = deque()
    ready = 0  # index in `window` of the frame to judge next
    ahead = max(_NEIGHBOURS, _FLASH_FRAMES)
    for frame in frames:
        window.append(_seen(frame, window[-1] if window else None))
        if len(window) - ready > ahead:
            yield _judged(window, ready, settings)
            ready += 1
            if ready > _NEIGHBOURS:
                window.popleft()
                ready -= 1
    while ready < len(window):
        yield _judged(window, ready, settings)
        ready += 1


def _seen(frame: Frame, before: _Seen | None) -> _Seen:
    histogram = np.bincount((frame.thumb >> 3).ravel(), minlength=32)
    if before is None:
        return _Seen(frame, histogram, 0.0, 0.0)
    difference = cv2.norm(frame.thumb, before.frame.thumb, cv2.NORM_L1) / (_PIXELS * 255)
    shift = float(np.abs(histogram - before.histogram).sum()) / (2 * _PIXELS)
    return _Seen(frame, histogram, difference, difference + _HISTOGRAM_WEIGHT * shift)


def _judged(window: deque[_Seen], i: int, settings: KeyframeSettings) -> tuple[Frame, bool, float]:
    return window[i].frame, _is_cut(window, i, settings), window[i].difference


def _is_cut(window: deque[_Seen], i: int, settings: KeyframeSettings) -> bool:
    if i == 0:
        return False
    here = window[i].score
    if here < settings.cut_floor / 255 + _HISTOGRAM_WEIGHT * _HISTOGRAM_FLOOR:
        return False
    low, high = max(0, i - _NEIGHBOURS), min(len(window), i + 1 + _NEIGHBOURS)
    around = [window[j].score for j in range(low, high) if j != i]
    if around and (here < max(around) or here < settings.cut_ratio * (sum(around) / len(around) + _RATIO_FLOOR)):
        return False
    before = window[i - 1].frame.thumb
    later = [window[j].frame.thumb for j in range(i + 1, min(len(window), i + 1 + _FLASH_FRAMES))]
    back = min((cv2.norm(before, thumb, cv2.NORM_L1) / (_PIXELS * 255) for thumb in later), default=1.0)
    return back >= 0.35 * window[i].difference + 0.01
