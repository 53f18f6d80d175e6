"""A few small grey pictures of a video, for a report that was asked for them. Runs inside the locked child process.

They are made small and grey, and blurred where that is asked for, before they leave it: nothing larger or sharper is
ever on the disk.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from videonovelty.decode import open_video
from videonovelty.errors import CorruptVideoError
from videonovelty.records import U8
from videonovelty.sandbox.wire import WireError
from videonovelty.settings import Settings

LONG_SIDE, SHORT_SIDE = 96, 16
"""Pixels: the longer side, and the least the shorter one has."""
MOST_PICTURES = 8
_HELD = 4 * MOST_PICTURES
SHORT_SECONDS = 120.0
"""Longer videos are looked at by their I frames alone."""
BLUR_SIGMA = 3.0
"""Of 96 pixels: shapes stay, faces and details do not. It is no protection from what is shown."""
_HEAD = struct.Struct("<4sHHH")
_MAGIC = b"VNSP"


@dataclass(frozen=True, slots=True, eq=False)
class SmallPictures:
    """What the child answers."""

    pts_seconds: tuple[float, ...]
    pictures: U8
    """Shape (n, height, width)."""
    cpu_seconds: float = 0.0

    def encode(self) -> bytes:
        """Return it as bytes."""
        n, height, width = self.pictures.shape
        times = np.asarray(self.pts_seconds, "<f8").tobytes()
        return _HEAD.pack(_MAGIC, n, height, width) + times + np.ascontiguousarray(self.pictures).tobytes()


def decode_pictures(payload: bytes, *, video_id: str) -> SmallPictures:  # noqa: ARG001  (as every answer is decoded)
    """Return what a child encoded, trusting none of it. Raises WireError for anything `encode` would not have made."""
    if len(payload) < _HEAD.size:
        raise WireError("not small pictures")
    magic, n, height, width = _HEAD.unpack_from(payload)
    sound = magic == _MAGIC and 1 <= n <= MOST_PICTURES
    sound = sound and min(height, width) >= SHORT_SIDE and max(height, width) <= LONG_SIDE
    if not sound or len(payload) != _HEAD.size + n * (8 + height * width):
        raise WireError("not small pictures")
    times = np.frombuffer(payload, "<f8", n, _HEAD.size)
    if not all(math.isfinite(t) and 0 <= t < 1e9 for t in times.tolist()) or bool((np.diff(times) <= 0).any()):
        raise WireError("times of pictures do not increase")
    pixels = np.frombuffer(payload, np.uint8, n * height * width, _HEAD.size + 8 * n)
    return SmallPictures(tuple(times.tolist()), pixels.reshape(n, height, width))


def take_pictures(
    fd: int,
    *,
    video_id: str,  # noqa: ARG001  (as every job of the child is called)
    name: str,
    settings: Settings,
    heartbeat: Callable[[float], None],
    sigma: float,
) -> SmallPictures:
    """Return up to eight pictures of the video behind `fd`, evenly spread over it. Raises VideoError."""
    held: list[tuple[float, U8]] = []
    gap, due = 0.25, 0.0
    width = height = 0
    with open_video(fd, settings.decode, name=name) as video:
        declared = video.probe.declared_seconds
        heartbeat(declared)
        for frame in video.frames("nonref" if declared <= SHORT_SECONDS else "intra"):
            heartbeat(frame.pts_seconds)
            if frame.pts_seconds < due:
                continue
            if not held:
                scale = LONG_SIDE / max(frame.width, frame.height)
                width, height = (max(SHORT_SIDE, round(side * scale)) for side in (frame.width, frame.height))
            held.append((frame.pts_seconds, frame.luma(width, height)))
            if len(held) > _HELD:
                held, gap = held[::2], gap * 2
            due = held[-1][0] + gap
    if not held:
        raise CorruptVideoError(name)
    chosen = [held[i] for i in sorted({round(x) for x in np.linspace(0, len(held) - 1, MOST_PICTURES)})]
    pictures = [cv2.GaussianBlur(p, (0, 0), sigma) if sigma else p for _, p in chosen]
    return SmallPictures(tuple(t for t, _ in chosen), np.stack(pictures).astype(np.uint8))


blurred = partial(take_pictures, sigma=BLUR_SIGMA)
clear = partial(take_pictures, sigma=0.0)
