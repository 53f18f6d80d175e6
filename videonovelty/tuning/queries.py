"""Queries cut from videos: a plan says what a query shows, second by second, so its truth is exact, and renders it.

An edit's name is that of one edit, or several joined by `+`: at most one edit of time (`TIME_EDITS`), any edits of the
picture (`videonovelty.tuning.edits.EDITS` and `INSETS`, applied in the order given), any edits of the file
(`FILE_EDITS`). Insets lay new footage over a part of known footage, so what they cover has no truth: it is new.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from videonovelty import footage
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8
from videonovelty.tuning.edits import EDITS, INSETS, NEEDS_HOST, make_edit
from videonovelty.tuning.sampletables import SampleSetError, TruthSegment


@dataclass(frozen=True, slots=True)
class Material:
    """A video that queries are cut from."""

    name: str
    """Its `video` in the set; empty when it is not enrolled, so that whatever shows it is new."""
    source: str
    path: Path | None
    """None: generated footage of seed `generated`."""
    start: float
    end: float
    """The seconds that may be used."""
    fps: float
    width: int
    height: int
    generated: int = 0

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds `[start, end)` of a material, played at `speed`."""

    material: Material
    start: float
    end: float
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that makes one query, small enough to hand to another process."""

    video: str
    edit: str
    stretches: tuple[Stretch, ...]
    frame_edits: tuple[str, ...]
    seed: int
    fps: float
    width: int
    height: int
    host: Material
    """What plays around, beside or over the footage, for the edits that need it."""
    dissolve_seconds: float = 0.0
    codec: str = "libx264"
    crf: int = 24
    brief: tuple[float, float] | None = None
    """The seconds in which an inset plays; None for all."""

    @property
    def inset(self) -> bool:
        """Other footage is laid over a part of the picture."""
        return not INSETS.keys().isdisjoint(self.frame_edits)

    def frames_of(self, stretch: Stretch) -> int:
        """Return how many frames of the query a stretch gives."""
        return max(1, round((stretch.end - stretch.start) / stretch.speed * self.fps))

    def truth(self) -> list[TruthSegment]:
        """Return the exact truth: whole frames of the query, the matching seconds of the known videos.

        A dissolve belongs, half and half, to the footage that is stronger in it. Seconds with an inset are new.
        """
        if self.inset and self.brief is None:
            return []
        rows, position = [], 0
        overlap = round(self.dissolve_seconds * self.fps)
        for number, stretch in enumerate(self.stretches):
            count = self.frames_of(stretch)
            first = overlap // 2 if number > 0 else 0
            last = count - (overlap - overlap // 2 if number + 1 < len(self.stretches) else 0)
            if stretch.material.name:
                rate = stretch.speed / self.fps
                rows.append(
                    TruthSegment(
                        query=self.video,
                        q_start=round((position + first) / self.fps, 4),
                        q_end=round((position + last) / self.fps, 4),
                        known=stretch.material.name,
                        k_start=round(stretch.start + first * rate, 4),
                        k_end=round(min(stretch.start + last * rate, stretch.material.end), 4),
                        edit=self.edit,
                    )
                )
            position += count - overlap
        return rows if self.brief is None else _without(rows, *self.brief)

    def sources(self) -> tuple[str, ...]:
        """Return every content the query shows, first the one it is about: what an inset shows, else the stretches'."""
        shown = [stretch.material.source for stretch in self.stretches]
        if NEEDS_HOST.intersection(self.frame_edits):
            shown.insert(0 if self.inset else len(shown), self.host.source)
        return tuple(dict.fromkeys(shown))

    def seconds(self) -> float:
        """Return how long the query is."""
        overlap = round(self.dissolve_seconds * self.fps) * (len(self.stretches) - 1)
        return (sum(map(self.frames_of, self.stretches)) - overlap) / self.fps


def _without(rows: Iterable[TruthSegment], start: float, end: float) -> list[TruthSegment]:
    """Return what the rows say about the query outside of `[start, end)`."""
    found = []
    for row in rows:
        rate = (row.k_end - row.k_start) / (row.q_end - row.q_start)
        for q_start, q_end in ((row.q_start, min(row.q_end, start)), (max(row.q_start, end), row.q_end)):
            if q_end - q_start > 1e-3:
                k_start, k_end = (round(row.k_start + (q - row.q_start) * rate, 4) for q in (q_start, q_end))
                found.append(replace(row, q_start=q_start, q_end=q_end, k_start=k_start, k_end=k_end))
    return found


@dataclass(frozen=True, slots=True)
class _Scene:
    """What a time edit may draw on."""

    main: Material
    other: Material
    """Another known video of the same split (the same one where there is no other)."""
    host: Material
    """Footage that is in no known video."""
    rng: np.random.Generator


def _whole(scene: _Scene) -> list[Stretch]:
    return [Stretch(scene.main, scene.main.start, scene.main.end)]


def _clip(scene: _Scene) -> list[Stretch]:
    """30–60 % of it."""
    return [_part(scene, scene.main, 0.3, 0.6)]


def _insert(scene: _Scene) -> list[Stretch]:
    """Known footage within new footage."""
    return [_new(scene, 3.0, 8.0), _part(scene, scene.main, 0.4, 0.9), _new(scene, 3.0, 8.0)]


def _splice(scene: _Scene) -> list[Stretch]:
    """New seconds pushed into known footage."""
    cut = scene.main.start + scene.main.seconds * float(scene.rng.uniform(0.3, 0.7))
    first, second = Stretch(scene.main, scene.main.start, cut), Stretch(scene.main, cut, scene.main.end)
    return [first, _new(scene, 2.0, 5.0), second]


def _replace(scene: _Scene) -> list[Stretch]:
    """Known footage of which some seconds were overwritten by new ones."""
    gone = min(float(scene.rng.uniform(2.0, 4.0)), 0.4 * scene.main.seconds)
    cut = scene.main.start + float(scene.rng.uniform(0.25, 0.75)) * (scene.main.seconds - gone)
    new = _new(scene, gone, gone)
    return [Stretch(scene.main, scene.main.start, cut), new, Stretch(scene.main, cut + gone, scene.main.end)]


def _reorder(scene: _Scene) -> list[Stretch]:
    """Three or four pieces in another order, none where it was."""
    count = int(scene.rng.integers(3, 5))
    edges = np.linspace(scene.main.start, scene.main.end, count + 1)
    order = np.roll(np.arange(count), int(scene.rng.integers(1, count)))
    return [Stretch(scene.main, float(edges[i]), float(edges[i + 1])) for i in order]


def _join(scene: _Scene) -> list[Stretch]:
    """Two known videos one after the other, nothing new."""
    return [_part(scene, scene.main, 0.4, 0.8), _part(scene, scene.other, 0.4, 0.8)]


def _mash_up(scene: _Scene) -> list[Stretch]:
    """Two known videos and new seconds between."""
    return [_part(scene, scene.main, 0.3, 0.7), _new(scene, 4.0, 10.0), _part(scene, scene.other, 0.3, 0.7)]


def _at_speed(speed: float) -> Callable[[_Scene], list[Stretch]]:
    return lambda scene: [replace(stretch, speed=speed) for stretch in _whole(scene)]


def _part(scene: _Scene, material: Material, least: float, most: float) -> Stretch:
    """Return a stretch of a random share of `material`, at least 3 s where it is that long."""
    length = min(material.seconds, max(3.0, material.seconds * float(scene.rng.uniform(least, most))))
    start = material.start + float(scene.rng.uniform(0, material.seconds - length))
    return Stretch(material, start, start + length)


def _new(scene: _Scene, least: float, most: float) -> Stretch:
    length = min(float(scene.rng.uniform(least, most)), scene.host.seconds)
    start = scene.host.start + float(scene.rng.uniform(0, scene.host.seconds - length))
    return Stretch(scene.host, start, start + length)


TIME_EDITS: dict[str, Callable[[_Scene], list[Stretch]]] = {
    "clip": _clip,
    "insert": _insert,
    "splice": _splice,
    "replace": _replace,
    "reorder": _reorder,
    "join": _join,
    "dissolve": _join,
    "mash_up": _mash_up,
    "speed_50": _at_speed(0.5),
    "speed_75": _at_speed(0.75),
    "speed_125": _at_speed(1.25),
    "speed_150": _at_speed(1.5),
    "speed_200": _at_speed(2.0),
}
"""Edits of time; a query takes one at most."""

FILE_EDITS: dict[str, dict[str, Any]] = {
    "copy": {},
    "crf_36": {"crf": 36},
    "codec_mpeg4": {"codec": "mpeg4", "crf": 28},
    "codec_mpeg2": {"codec": "mpeg2video", "crf": 26},
    "codec_hevc": {"codec": "libx265", "crf": 30},
    "codec_vp9": {"codec": "libvpx-vp9", "crf": 36},
    "fps_10": {"fps": 10.0},
    "fps_50": {"fps": 50.0},
    "resize_50": {"scale": 0.5},
    "resize_200": {"scale": 2.0},
}
"""Edits of the file: what encodes it, how many frames a second, how large. A number after `codec_` edits is none."""

COMPOSITIONS = (
    "clip+mirror+crf_36",
    "speed_125+crop_20+caption",
    "splice+letterbox",
    "insert+grey+codec_mpeg4",
    "mash_up+crop_10+logo",
    "replace+mirror",
    "fps_10+blur+resize_50",
)
DRAWING_ON_OTHERS = frozenset({"insert", "splice", "replace", "mash_up", "join", "dissolve"})
"""Time edits that show other videos beside the one they edit."""
_SUFFIX = {"mpeg4": ".avi", "mpeg2video": ".mpg", "libx265": ".mkv", "libvpx-vp9": ".webm"}

ALL_EDITS: tuple[str, ...] = (*FILE_EDITS, *EDITS, *TIME_EDITS, *COMPOSITIONS, *INSETS, "inset_30+mirror+crf_36")
"""Every edit `make_samples` knows by name; others are made by joining parts with `+`."""


def check_edit(edit: str) -> None:
    """Raise SampleSetError unless each part of `edit` is known and it holds one edit of time at most."""
    parts = edit.split("+")
    for part in parts:
        if not any(part in edits for edits in (EDITS, INSETS, TIME_EDITS, FILE_EDITS)):
            known = ", ".join((*FILE_EDITS, *EDITS, *TIME_EDITS, *INSETS))
            raise SampleSetError(f"unknown edit {part!r}; known: {known}")
    if sum(part in TIME_EDITS for part in parts) > 1:
        raise SampleSetError(f"edit {edit!r} has more than one edit of time")


def plan_query(video: str, edit: str, main: Material, *, other: Material, host: Material, seed: int) -> Plan:
    """Return the plan of the query `video`: `edit` done to `main`. Its suffix is set by the codec."""
    check_edit(edit)
    parts = edit.split("+") if edit else []
    rng = np.random.default_rng([seed, zlib.crc32(f"{main.source} {edit}".encode())])
    scene = _Scene(main, other, host, rng)
    cut = next((TIME_EDITS[part] for part in parts if part in TIME_EDITS), _whole)
    options: dict[str, Any] = {}
    for part in parts:
        options |= FILE_EDITS.get(part, {})
    scale = float(options.pop("scale", 1.0))
    plan = Plan(
        video=video,
        edit=edit,
        stretches=tuple(cut(scene)),
        frame_edits=tuple(part for part in parts if part in EDITS or part in INSETS),
        seed=int(rng.integers(2**31)),
        fps=min(main.fps, 30.0),
        width=round(main.width * scale),
        height=round(main.height * scale),
        host=host,
        dissolve_seconds=1.0 if "dissolve" in parts else 0.0,
    )
    plan = replace(plan, **options)
    if plan.codec == "mpeg2video":
        plan = replace(plan, fps=25.0)  # MPEG-2 has a list of frame rates
    if any(part.endswith("_brief") for part in parts):
        length = min(float(rng.uniform(2.0, 5.0)), 0.5 * plan.seconds())
        start = float(rng.uniform(0.2, 0.8)) * (plan.seconds() - length)
        first, last = (round(seconds * plan.fps) / plan.fps for seconds in (start, start + length))
        plan = replace(plan, brief=(round(first, 4), round(last, 4)))
    return replace(plan, video=str(Path(video).with_suffix(_SUFFIX.get(plan.codec, ".mp4"))))


def render(plan: Plan, folder: Path) -> Path:
    """Write the query of `plan` below `folder` and return its path. The same plan gives the same bytes."""
    path = folder / plan.video
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(
        path, _even(_edited(plan)), fps=plan.fps, codec=plan.codec, crf=plan.crf, gop=max(1, round(2 * plan.fps))
    )
    return path


def _edited(plan: Plan) -> Iterator[U8]:
    """Yield the query's pictures."""
    pictures = _dissolved(plan) if plan.dissolve_seconds else _cut(plan)
    if not plan.frame_edits:
        yield from pictures
        return
    plain = {name: make_edit(name, plan.seed) for name in plan.frame_edits if name not in NEEDS_HOST}
    around = _endless(plan) if len(plain) < len(plan.frame_edits) else itertools.repeat(None)
    for index, (picture, host) in enumerate(zip(pictures, around, strict=False)):
        outside = plan.brief is not None and not plan.brief[0] <= (index + 0.5) / plan.fps < plan.brief[1]
        for name in plan.frame_edits:
            if outside and name in INSETS:
                continue
            edit = plain.get(name) or make_edit(name, plan.seed, host=host)
            picture = edit(picture)  # noqa: PLW2901
        yield picture


def _cut(plan: Plan) -> Iterator[U8]:
    for stretch in plan.stretches:
        yield from _pictures(plan, stretch, plan.frames_of(stretch))


def _dissolved(plan: Plan) -> Iterator[U8]:
    """Yield the stretches, each melting into the next."""
    overlap = round(plan.dissolve_seconds * plan.fps)
    tail: list[U8] = []
    for number, stretch in enumerate(plan.stretches):
        last = number + 1 == len(plan.stretches)
        keep = plan.frames_of(stretch) - (0 if last else overlap)
        following: list[U8] = []
        for index, picture in enumerate(_pictures(plan, stretch, plan.frames_of(stretch))):
            shown = picture
            if index < len(tail):
                weight = (index + 0.5) / len(tail)
                shown = np.asarray(cv2.addWeighted(picture, weight, tail[index], 1 - weight, 0), np.uint8)
            if index < keep:
                yield shown
            else:
                following.append(shown)
        tail = following


def _pictures(plan: Plan, stretch: Stretch, count: int) -> Iterator[U8]:
    """Yield `count` pictures: at each of the query's frame times, the one the material shows."""
    times = (stretch.start + index * stretch.speed / plan.fps for index in range(count))
    shown: U8 | None = None
    # half a frame early: a container's times are rounded
    early = 0.5 / max(plan.fps, stretch.material.fps)
    frames = _frames_of(stretch.material, max(0.0, stretch.start - 1.0))
    ahead = next(frames, None)
    for seconds in times:
        while ahead is not None and (shown is None or ahead[0] <= seconds + early):
            shown = ahead[1]
            ahead = next(frames, None)
        assert shown is not None, "a material has been decoded before"
        size = (plan.width, plan.height)
        if shown.shape[1::-1] != size:
            way = cv2.INTER_AREA if shown.shape[1] > plan.width else cv2.INTER_CUBIC
            shown = np.asarray(cv2.resize(shown, size, interpolation=way), np.uint8)
        yield shown


def _frames_of(material: Material, start: float) -> Iterator[tuple[float, U8]]:
    """Yield (seconds, picture) of a material from about `start` on."""
    if material.path is not None:
        return read_rgb(material.path, start_seconds=start, max_side=max(material.width, material.height))
    pictures = footage.clip(
        material.generated, material.end, width=material.width, height=material.height, fps=material.fps
    )
    return ((index / material.fps, picture) for index, picture in enumerate(pictures) if index / material.fps >= start)


def _endless(plan: Plan) -> Iterator[U8]:
    """Yield what plays around the footage, over and over."""
    host = Stretch(plan.host, plan.host.start, plan.host.end)
    while True:
        yield from _pictures(plan, host, plan.frames_of(host))


def _even(pictures: Iterable[U8]) -> Iterator[U8]:
    """Yield the pictures with even sides, as encoders ask for."""
    for picture in pictures:
        yield np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
