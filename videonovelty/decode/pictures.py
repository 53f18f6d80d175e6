"""Luma of decoded pictures, upright and scaled by swscale; made only when asked for."""

from __future__ import annotations

import functools
import math
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from videonovelty.records import U8

THUMB_SIZE = (64, 36)
SKETCH_SIZE = (128, 72)
_MAX_SCALERS = 16
_LEAST_TRANSPARENT = 4
"""255ths of opacity by which parts of a picture differ at most where nothing is to be seen of it."""

Orientation = tuple[bool, bool, bool]
"""(transpose, then mirror left-right, then flip top-bottom) that makes a coded picture upright."""
UPRIGHT: Orientation = (False, False, False)


_NAMED_PROFILES = frozenset({"png", "apng"})
"""Decoders that name the colour profile of a picture. PyAV 18 frees that name once more when the side data of a frame
are looked at, which brings the process down."""


def orientation_of(picture: VideoFrame, codec: str = "") -> Orientation:
    """Return how the display matrix of a frame turns it; angles between quarter turns go to the nearest axis.

    Of pictures of a `codec` whose side data must not be looked at only the turn is known, not whether it is mirrored.
    """
    if codec in _NAMED_PROFILES:
        turn = -math.radians(picture.rotation)
        return _upright(math.cos(turn), math.sin(turn), -math.sin(turn), math.cos(turn))
    try:
        side_data: Any = picture.side_data
        matrix = side_data.get(SideDataType.DISPLAYMATRIX)
    except (KeyError, ValueError):
        return UPRIGHT
    if matrix is None:
        return UPRIGHT
    values = np.frombuffer(bytes(matrix), np.int32)
    if len(values) < 5:
        return UPRIGHT
    # a point (x, y) of the coded picture is shown at (a·x + c·y, b·x + d·y): libavutil/display.h
    return _upright(*(float(values[i]) for i in (0, 1, 3, 4)))


def _upright(a: float, b: float, c: float, d: float) -> Orientation:
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (False, a < 0, d < 0)
    return (True, c < 0, b < 0)


class Scaler:
    """One swscale context a target size and filter, kept for the whole video.

    A context set up anew for every frame costs more than the scaling (research note, section 1); `threads=1` because
    videos, not pictures, are handled in parallel.
    """

    def __init__(self) -> None:
        self._contexts: dict[tuple[int, int, int], VideoReformatter] = {}

    def luma(self, picture: VideoFrame, width: int, height: int, interpolation: Interpolation, turn: Orientation) -> U8:
        """Return luma of shape (height, width), uint8, full range, turned upright; a copy of its own."""
        transpose, mirror, flip = turn
        coded_width, coded_height = (height, width) if transpose else (width, height)
        key = (coded_width, coded_height, int(interpolation))
        context = self._contexts.get(key)
        if context is None:
            if len(self._contexts) >= _MAX_SCALERS:
                self._contexts.pop(next(iter(self._contexts)))
            context = self._contexts[key] = VideoReformatter()
        plane: Any = context.reformat(
            picture, width=coded_width, height=coded_height, format="gray", interpolation=interpolation, threads=1
        ).planes[0]
        pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:coded_height, :coded_width]
        if transpose:
            pixels = pixels.T
        if mirror:
            pixels = pixels[:, ::-1]
        if flip:
            pixels = pixels[::-1]
        return pixels.copy()


def shows_through(picture: VideoFrame, context: VideoReformatter) -> bool:
    """Return whether a picture is transparent in part: what that shows depends on the player, and on what is behind.

    Of one that is as transparent everywhere nothing depends on it: many encoders leave that byte as it is.
    """
    if not _has_opacity(picture.format.name):
        return False
    plane: Any = context.reformat(picture, format="rgba", threads=1).planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: picture.height, : 4 * picture.width]
    opacity = rows[:, 3::4]
    return int(opacity.max()) - int(opacity.min()) > _LEAST_TRANSPARENT


@functools.cache
def _has_opacity(pixel_format: str) -> bool:
    kind = av.VideoFormat(pixel_format)
    return bool(kind.has_palette) or any(component.is_alpha for component in kind.components)


class Picture:
    """A decoded picture that can still be scaled; holds the decoder's buffer alive for as long as it is kept."""

    __slots__ = ("_frame", "_scaler", "_sketch", "_turn")

    def __init__(self, frame: VideoFrame, scaler: Scaler, turn: Orientation) -> None:
        self._frame = frame
        self._scaler = scaler
        self._turn = turn
        self._sketch: U8 | None = None

    def thumb(self) -> U8:
        """Return cheap luma, shape (36, 64)."""
        return self._scaler.luma(self._frame, *THUMB_SIZE, Interpolation.FAST_BILINEAR, self._turn)

    def sketch(self) -> U8:
        """Return cheap luma, shape (72, 128), made once: keyframes and the motion profile ask for the same pictures."""
        if self._sketch is None:
            self._sketch = self._scaler.luma(self._frame, *SKETCH_SIZE, Interpolation.FAST_BILINEAR, self._turn)
        return self._sketch

    def luma(self, width: int, height: int) -> U8:
        """Return luma by area averaging, shape (height, width)."""
        return self._scaler.luma(self._frame, width, height, Interpolation.AREA, self._turn)
