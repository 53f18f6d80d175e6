"""A known video and queries made of it, as local descriptors, for tests of what is put over it or in its place."""

from __future__ import annotations

import numpy as np

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.proof import Proof
from videonovelty.matching.stretch import KnownSide, Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import FINE_CELLS, MOTION_CELLS, KnownFrames, LocalFeatures, MotionProfile, Signatures

ASPECT = 16 / 9
EVERY = 2.0
"""Seconds between keyframes."""
PER_KEYFRAME = 200
PROOF = Proof(True, 20.0, 0.9, 500.0, 0.1)
Box = tuple[float, float, float, float]


class Scene:
    """A known video as descriptors, and queries made of it."""

    def __init__(self, seed: int, keyframes: int = 10) -> None:
        self.rng = np.random.default_rng(seed)
        self.keyframes = keyframes
        self.xy = self.rng.random((keyframes, PER_KEYFRAME, 2)) * (1.0, 1.0 / ASPECT)
        self.codes = self.rng.integers(0, 256, (keyframes, PER_KEYFRAME, 8)).astype(np.uint8)
        self.scale = self.rng.integers(8, 30, (keyframes, PER_KEYFRAME)).astype(np.uint8)
        self.angle = self.rng.integers(0, 256, (keyframes, PER_KEYFRAME)).astype(np.uint8)
        self.seconds = EVERY * np.arange(keyframes)

    def known(self) -> KnownSide:
        local = KnownLocal("k" * 64, self.seconds, self._features(self.xy, self.codes, self.seconds))
        pdq = np.zeros((self.keyframes, 32), np.uint8)
        good = np.ones(self.keyframes, np.bool_)
        frames = KnownFrames("k" * 64, self.seconds, pdq, pdq, np.full(self.keyframes, 90, np.uint8), good)
        ticks = int(EVERY * self.keyframes / 0.2)
        motion = MotionProfile(
            0.2, np.ones((ticks, MOTION_CELLS), np.int8), np.ones((ticks // 2, FINE_CELLS), np.int8), 2
        )
        return KnownSide(frames, motion, local)

    def query(self, box: Box | None = None, *, found: float = 0.6, during: slice = slice(None)) -> Signatures:
        """Return a copy of which a share of the descriptors is `found` again, and in `box` those of something else."""
        xy, codes = self.xy.copy(), self.codes.copy()
        lost = self.rng.random(codes.shape[:2]) > found
        if box is not None:
            left, top, right, bottom = box
            x, y = xy[..., 0], xy[..., 1] * ASPECT
            inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
            hidden = np.zeros_like(lost)
            hidden[during] = inside[during]
            lost |= hidden
        codes[lost] = self.rng.integers(0, 256, (int(lost.sum()), 8))
        xy += self.rng.normal(0, 0.002, xy.shape)
        n = self.keyframes
        pdq = np.zeros((n, 8, 32), np.uint8)
        end = np.append(self.seconds[1:], self.seconds[-1] + EVERY)
        features = self._features(np.clip(xy, 0, 1), codes, self.seconds)
        return Signatures(
            "q" * 64, "scheme", self.seconds, self.seconds.copy(), end, pdq, pdq, np.zeros(n, np.bool_),
            np.full(n, 90, np.uint8), np.ones(n, np.bool_),
            MotionProfile(0.1, np.zeros((0, MOTION_CELLS), np.int8), np.zeros((0, FINE_CELLS), np.int8)), features,
        )  # fmt: skip

    def _features(self, xy: np.ndarray, codes: np.ndarray, seconds: np.ndarray) -> LocalFeatures:
        return LocalFeatures(
            np.arange(len(seconds) + 1) * PER_KEYFRAME,
            codes.reshape(-1, 8),
            np.zeros((0, 8), np.uint8),
            np.round(xy.reshape(-1, 2) * 65535).astype(np.uint16),
            self.scale.reshape(-1),
            self.angle.reshape(-1),
        )

    def stretch(self, inliers: int | None = None, *, offset_seconds: float = 0.0) -> Stretch:
        """Return a proven stretch over all of it; with `inliers` it rests on a placement."""
        line, bits = Line(1.0, offset_seconds, 0, 0.9), 12.0 if inliers is None else None
        whole = EVERY * self.keyframes
        return Stretch("k" * 64, line, 0.0, whole, PROOF, self.keyframes, bits, inliers=inliers)
