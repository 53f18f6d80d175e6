"""Drawn footage with enough texture for local descriptors."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import make_video
import numpy as np

from videonovelty.records import U8

COPIES: tuple[tuple[str, Callable[[U8], U8], int], ...] = (
    ("coded hard", lambda picture: picture, 38),
    ("blurred", lambda picture: np.asarray(cv2.GaussianBlur(picture, (0, 0), 4)), 24),
    ("of another size", lambda picture: np.asarray(cv2.resize(picture, (320, 180), interpolation=cv2.INTER_AREA)), 30),
    ("mirrored", lambda picture: np.ascontiguousarray(picture[:, ::-1]), 26),
    ("brighter", lambda picture: np.asarray(cv2.convertScaleAbs(picture, alpha=1.1, beta=15)), 26),
)
"""What is done to each picture of a copy, and how coarsely it is coded."""
LARGE = {"width": 640, "height": 360}


def textured(seed: int, seconds: float) -> list[U8]:
    """Return pictures of drawn content, 640 × 360, with a texture that moves with the camera."""
    rng = np.random.default_rng(seed)
    wide = cv2.resize(rng.integers(0, 70, (60, 110), dtype=np.uint8), (1100, 600), interpolation=cv2.INTER_CUBIC)
    found = []
    for number, picture in enumerate(make_video.frames(seed, seconds, **LARGE)):
        x, y = round(200 + 150 * np.sin(number / 30 + seed)), round(100 + 80 * np.cos(number / 23))
        found.append(
            cv2.add(cv2.convertScaleAbs(picture, alpha=0.75), wide[y : y + 360, x : x + 640, None].repeat(3, 2))
        )
    return found
