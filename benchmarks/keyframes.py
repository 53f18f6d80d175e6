"""Keyframes against exact truth and against peers: hard cuts, gradual transitions, content without a look-alike.

Makes edits of real single takes (hard cuts, flashes, dissolves, fades through black and white, wipes) whose every
transition is known, and asks: are the cuts found, does every shot hold a keyframe, does every moment of real footage
have a look-alike among the keyframes? Peers: PySceneDetect's detectors and ffmpeg's `scdet` and scene score (libavfilter).

    python -m benchmarks.keyframes VIDEOS [--shots 90] [--out benchmarks/results]

`VIDEOS` is a folder of videos; takes named in `SINGLE_TAKES` are used for the edits, and where none of them is there
the edits are made of drawn footage. Costs are CPU seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from videonovelty import footage
from videonovelty.decode import open_video
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.errors import VideoError
from videonovelty.keyframes import choose_keyframes
from videonovelty.records import U8
from videonovelty.settings import DecodeSettings, KeyframeSettings

WIDTH, HEIGHT, FPS = 480, 270, 25
TOLERANCE_FRAMES = 2

# Files without a cut inside, one group each for those that show the same place.
SINGLE_TAKES = {
    "cockatoo_yuv420.mp4": "cockatoo",
    "car-detection.mp4": "cars",
    "bottle_detection.mp4": "bottles",
    "vtest.avi": "plaza",
    "chair-orig-22-sd-bar.mp4": "chair",
    "carphone_pristine.mp4": "carphone",
    "flipping_a_pancake.mkv": "pancake",
    "MOV00006.3gp": "drive",
    "mp4-basic.mp4": "car park",
    "R6llTwEh07w.mp4": "segway",
    "solidYellowLeft.mp4": "lane",
    "run.mp4": "marathon",
    "frog.mp4": "table",
    "monster.mp4": "table",
    "rabbit320.mp4": "table",
    "v1.m4v": "skyline",
    "vp9cake.webm": "cake",
    "04_coffee.mp4": "coffee",
    "count-video.mp4": "hand",
    "test_qcif_200_aac_64.mp4": "shelf",
    "example.f4v": "phone",
    "dovi_10-video.mp4": "dim room",
    "person-bicycle-car-detection.gif": "parking",
}

GRADUAL_KINDS = ("hard", "dissolve", "black", "white", "wipe")
GRADUAL_WEIGHTS = (25, 40, 15, 8, 12)


@dataclass
class Truth:
    """Where the transitions of an edit are, in frames."""

    transitions: list[tuple[str, int, int]] = field(default_factory=list)
    """(kind, first frame of the transition, first frame after it); equal for a hard cut."""
    flashes: list[int] = field(default_factory=list)
    frames: int = 0

    def shots(self) -> list[tuple[int, int]]:
        """Return the clean part of each shot, `[first, last)` in frames."""
        starts = [0] + [t[2] for t in self.transitions]
        ends = [t[1] for t in self.transitions] + [self.frames]
        return list(zip(starts, ends, strict=True))


Take = Callable[[int, int], list[U8]]
"""(first frame, number of frames) → that many pictures at most, of shape (HEIGHT, WIDTH, 3)."""


def real_takes(folder: Path) -> dict[str, tuple[str, int, Take]]:
    """Return {name: (group, frames, reader)} of the single takes found in `folder`."""
    takes: dict[str, tuple[str, int, Take]] = {}
    for name, group in SINGLE_TAKES.items():
        path = folder / name
        if path.is_file():
            duration = max(seconds for seconds, _ in read_rgb(path, max_side=64))
            takes[name] = (group, min(int(duration * FPS), 750), _file_take(path))
    return takes


def drawn_takes() -> dict[str, tuple[str, int, Take]]:
    """Return takes of drawn footage, for where there are no real ones."""

    def take(seed: int) -> Take:
        def read(first: int, count: int) -> list[U8]:
            clip = footage.clip(seed, (first + count) / FPS, width=WIDTH, height=HEIGHT, fps=FPS, shots=1)
            return [picture for i, picture in enumerate(clip) if i >= first]

        return read

    return {f"drawn {seed}": (str(seed), 250, take(seed)) for seed in range(24)}


def _file_take(path: Path) -> Take:
    def read(first: int, count: int) -> list[U8]:
        pictures: list[U8] = []
        shown: U8 | None = None
        for seconds, picture in read_rgb(path, max_side=1280, start_seconds=max(first / FPS - 1.0, 0.0)):
            while shown is not None and len(pictures) < count and (first + len(pictures)) / FPS < seconds - 1e-6:
                pictures.append(shown)
            if len(pictures) >= count:
                return pictures
            shown = _filled(picture)
        while shown is not None and len(pictures) < count:
            pictures.append(shown)
        return pictures

    return read


def _filled(picture: U8) -> U8:
    """Scale and crop to WIDTH × HEIGHT."""
    height, width = picture.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    size = (max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale)))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).astype(np.uint8)
    top, left = (size[1] - HEIGHT) // 2, (size[0] - WIDTH) // 2
    return picture[top : top + HEIGHT, left : left + WIDTH]


def edit(takes: dict[str, tuple[str, int, Take]], shots: int, seed: int, *, gradual: bool, truth: Truth) -> Iterator[U8]:
    """Yield the pictures of an edit and write its transitions into `truth`.

    Shots are 12 to 250 frames (log-normal, median 60); one in eight longer ones holds a camera flash of 1–2 frames.
    """
    rng = random.Random(seed)
    names = sorted(takes)
    tail: list[U8] = []
    group = ""
    for number in range(shots):
        name = rng.choice([n for n in names if takes[n][0] != group])
        group, available, read = takes[name]
        length = min(int(min(250, max(12, rng.lognormvariate(4.1, 0.75)))), available)
        pictures = read(rng.randrange(0, available - length + 1), length)
        kind = rng.choices(GRADUAL_KINDS, GRADUAL_WEIGHTS)[0] if gradual and number else "hard"
        overlap = min(rng.randrange(10, 38), len(tail), len(pictures) // 2) if kind != "hard" else 0
        if number:
            kind = kind if overlap >= 6 else "hard"
            overlap = overlap if kind != "hard" else 0
            for picture in tail[: len(tail) - overlap]:
                truth.frames += 1
                yield picture
            start = truth.frames
            for j in range(overlap):
                truth.frames += 1
                yield _blend(kind, tail[len(tail) - overlap + j], pictures[j], (j + 1) / (overlap + 1))
            truth.transitions.append((kind, start, truth.frames))
        pictures = [p.copy() for p in pictures[overlap:]]
        if rng.random() < 0.12 and len(pictures) > 60:
            at = rng.randrange(20, len(pictures) - 40)
            for j in range(rng.choice([1, 2])):
                pictures[at + j] = cv2.convertScaleAbs(pictures[at + j], alpha=1.3, beta=110).astype(np.uint8)
            truth.flashes.append(truth.frames + at)
        keep = 40 if gradual and number < shots - 1 else 0
        cut = max(0, len(pictures) - keep) if keep else len(pictures)
        for picture in pictures[:cut]:
            truth.frames += 1
            yield picture
        tail = pictures[cut:]


def _blend(kind: str, old: U8, new: U8, share: float) -> U8:
    if kind == "dissolve":
        return cv2.addWeighted(old, 1 - share, new, share, 0).astype(np.uint8)
    if kind == "wipe":
        mixed = old.copy()
        mixed[:, : int(WIDTH * share)] = new[:, : int(WIDTH * share)]
        return mixed
    level = 0 if kind == "black" else 255
    picture, weight = (old, 1 - 2 * share) if share < 0.5 else (new, 2 * share - 1)
    return cv2.addWeighted(picture, max(weight, 0.0), np.full_like(picture, level), 1 - max(weight, 0.0), 0).astype(np.uint8)


def score(cuts: list[int], truth: Truth) -> dict[str, float]:
    """Return precision, recall, F1: one-to-one, within two frames of the transition; a flash found is a false alarm."""
    used: set[int] = set()
    hits = 0
    for _, start, end in truth.transitions:
        near = [c for c in cuts if c not in used and start - TOLERANCE_FRAMES <= c <= end + TOLERANCE_FRAMES]
        if near:
            used.add(min(near, key=lambda c: abs(c - (start + end) / 2)))
            hits += 1
    precision, recall = hits / max(len(cuts), 1), hits / max(len(truth.transitions), 1)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        "found": len(cuts),
    }
