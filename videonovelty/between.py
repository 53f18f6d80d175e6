"""Does a picture show what those before and after it show?

What moves from one picture to the next lies near where it was, and what fades lies in between. A place that is brighter
or darker than all there is around it, in the picture before and in the one after, shows something else.
"""

from __future__ import annotations

import cv2
import numpy as np

from videonovelty.records import U8

LEAST_LEVELS = 20
"""Grey levels by which a place must be brighter or darker than all around it."""
APART_SHARE = 0.06
"""Share of the picture in which it is, of a picture of something else: of 22,772 pictures of 79 public clips 31."""
LEAST_DIFFERENCE = APART_SHARE * LEAST_LEVELS / 255
"""Mean absolute difference, share of full scale, of two pictures of which one can be apart."""
_AROUND = np.ones((5, 5), np.uint8)
"""Pixels of the thumb around a place."""

Around = tuple[U8, U8]
"""The darkest and the brightest around each place of a thumb, shape (36, 64) each."""


def around(thumb: U8) -> Around:
    """Return what is around each place of a thumb, luma of shape (36, 64)."""
    return np.asarray(cv2.erode(thumb, _AROUND), np.uint8), np.asarray(cv2.dilate(thumb, _AROUND), np.uint8)


def distance(one: U8, other: U8) -> float:
    """Return the mean absolute difference of two thumbs, share of full scale."""
    return float(cv2.norm(one, other, cv2.NORM_L1)) / (one.size * 255)


def share_apart(thumb: U8, before: Around, after: Around) -> float:
    """Return in which share of a picture, 0 … 1, it is brighter or darker than all around there, before and after."""
    darker = cv2.subtract(cv2.min(before[0], after[0]), thumb)
    brighter = cv2.subtract(thumb, cv2.max(before[1], after[1]))
    _, beyond = cv2.threshold(cv2.max(darker, brighter), LEAST_LEVELS - 1, 1, cv2.THRESH_BINARY)
    return float(cv2.countNonZero(beyond)) / thumb.size
