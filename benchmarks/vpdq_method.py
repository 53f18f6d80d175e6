"""vPDQ's method as its README describes it: a video is the bag of its frames' PDQ codes, and time is not used.

One frame a second, quality at least 50; two frames match at 31 bits or less; a video matches when 80 % of its frames
match some frame of the other and, for `both`, the other way round as well (Meta, ThreatExchange/vpdq).
PDQ is ours, of the area-averaged 64 × 64 luma: on average 12 bits from that of the full picture.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.decode.rgb import read_rgb
from videonovelty.signatures.pdq import pdq

VPDQ_WAYS = ("both", "either")
QUALITY = 50
DISTANCE = 31
SHARE = 0.8

Codes = npt.NDArray[np.uint8]


def vpdq_codes(path: Path) -> Codes:
    """Return the PDQ codes of one frame a second that are good enough; shape (n, 32)."""
    lumas = []
    due = 0.0
    for seconds, picture in read_rgb(path):
        if seconds >= due - 1e-6:
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            lumas.append(cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA))
            due += 1.0
    if not lumas:
        return np.zeros((0, 32), np.uint8)
    codes, quality = pdq(np.stack(lumas))
    return np.ascontiguousarray(codes[quality >= QUALITY, 0])


def share_matched(one: Codes, other: Codes) -> float:
    """Return which share of the frames of `one` matches some frame of `other`."""
    if len(one) == 0 or len(other) == 0:
        return 0.0
    words = one.view(np.uint64)[:, None] ^ other.view(np.uint64)[None]
    return float((np.bitwise_count(words).sum(axis=2).min(axis=1) <= DISTANCE).mean())


def vpdq_matches(known: Path, intake: Path, *, workers: int) -> dict[str, dict[str, set[str]]]:
    """Return, by way and query file name, the names of the known files the query is said to be a copy of."""
    known_files, queries = sorted(known.iterdir()), sorted(intake.iterdir())
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        codes = dict(zip((p.name for p in known_files), pool.map(vpdq_codes, known_files, chunksize=4), strict=True))
        asked = dict(zip((p.name for p in queries), pool.map(vpdq_codes, queries, chunksize=4), strict=True))
    found: dict[str, dict[str, set[str]]] = {way: {name: set() for name in asked} for way in VPDQ_WAYS}
    for name, mine in asked.items():
        for other, theirs in codes.items():
            shares = share_matched(mine, theirs), share_matched(theirs, mine)
            if min(shares) >= SHARE:
                found["both"][name].add(other)
            if max(shares) >= SHARE:
                found["either"][name].add(other)
    return found
