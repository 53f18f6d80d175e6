"""Generated footage: moving, multi-shot clips made of the photographs scikit-image brings along.

For the demo, the tests and edited copies whose truth must be exact. Everything follows from seeds: a clip is the same
on every machine with the same libraries. A shot is a *scene* (a photograph bent out of shape, overlaid with pieces of
others and lit unevenly, so that two scenes made of the same photograph share no recognisable detail) seen by a moving
camera, with *actors* (cut-out pieces of photographs) moving before it and light that changes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

_BACKDROPS = (
    "astronaut", "camera", "chelsea", "coffee", "coins", "hubble_deep_field", "immunohistochemistry",
    "stereo_motorcycle", "rocket", "brick", "gravel", "page", "grass",
)  # fmt: skip
_PROPS = (*_BACKDROPS, "moon", "retina", "cell", "text", "clock", "colorwheel", "logo")
"""Photographs in the wheel itself; the others of `skimage.data` would be downloaded."""

_ROOM, _TAKE, _CLIP, _STATIC, _ROUTINE = 1, 2, 3, 4, 5
"""First number of each random stream, so that no two kinds of footage share one."""

_RELIEF = (9.0, 14.0, 14.0)
"""Grey levels of the fine, middling and coarse roughness laid over each piece of a photograph.

Without it two pieces of one photograph share up to 33 SIFT matches in line with one similarity, in 10 % of pairs; with
it, at most 6, in 1,800 pairs."""

_MARGIN = 1.4
"""A scene is this many times as wide and high as the picture, for the camera to move in."""


@dataclass(frozen=True, slots=True, eq=False)
class _Actor:
    """A cut-out that moves; positions are shares of the picture's width and height."""

    picture: U8
    """Shape (h, w, 3)."""
    mask: F32
    """Shape (h, w, 1), 0 … 1."""
    path: Callable[[float], tuple[float, float, float, float]]
    """Seconds → centre x, centre y, size factor, angle in degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """One camera, one scene."""

    scene: U8
    actors: tuple[_Actor, ...]
    camera: Callable[[float], tuple[float, float, float, float]]
    """Seconds → centre x, centre y (shares of the room to move, -1 … 1), zoom ≥ 1, angle in degrees."""
    light: Callable[[float], tuple[float, float]]
    """Seconds → gain, offset in grey levels."""


def clip(
    seed: int, seconds: float, *, width: int = 320, height: int = 180, fps: float = 25.0, shots: int | None = None
) -> Iterator[U8]:
    """Yield the frames of a moving clip of several shots: RGB, shape (height, width, 3), uint8.

    Two seeds give unrelated contents. Shots last 1.8–4.5 s, and a longer clip of the same seed begins like a shorter
    one; `shots` fixes their number instead, of equal length. A frame depends on its time alone: another `fps`
    samples the same motion.
    """
    ends = _shot_ends(seed, seconds, shots)
    start = 0.0
    n_frames = round(seconds * fps)
    index = 0
    for number, end in enumerate(ends):
        shot = _shot(seed, number, width, height)
        while index < n_frames and index / fps < end:
            yield _render(shot, index / fps - start, width, height)
            index += 1
        start = end


def fixed_camera(
    room: int,
    take: int,
    seconds: float,
    *,
    width: int = 320,
    height: int = 180,
    fps: float = 25.0,
    start_seconds: float = 0.0,
) -> Iterator[U8]:
    """Yield frames of a fixed camera: `room` is the unchanging background, `take` who moves in it, and how.

    Two takes of one room are *different footage of the same scene*. `start_seconds` begins later in the take, so that
    one take can be cut into disjoint stretches. Frames as those of `clip`.
    """
    rng = np.random.default_rng([_ROOM, room])
    scene = _scene(rng, width, height, name=_BACKDROPS[room % len(_BACKDROPS)])
    rng = np.random.default_rng([_TAKE, room, take])
    actors = tuple(_actor(rng, height, (0.16, 0.26)) for _ in range(2))
    brightness = _wobble(rng, 0.04, (0.05, 0.3))
    shot = _Shot(
        scene,
        actors,
        camera=lambda _: (0.0, 0.0, 1.0, 0.0),
        light=lambda t: (1.0 + brightness(t), 0.0),
    )
    for index in range(round(seconds * fps)):
        yield _render(shot, start_seconds + index / fps, width, height)


def rehearsed(
    routine: int, take: int, seconds: float, *, width: int = 320, height: int = 180, fps: float = 25.0
) -> Iterator[U8]:
    """Yield frames of a fixed camera before which a rehearsed `routine` is danced: each `take` the same once more.

    The same actors do the same at the same moments, to within a tenth of a second, some hundredths of the picture and
    some degrees. Two takes are *different footage*, as alike as footage can be that is not the same. Frames as those of
    `clip`.
    """
    rng = np.random.default_rng([_ROUTINE, routine])
    scene = _scene(rng, width, height, name=_BACKDROPS[routine % len(_BACKDROPS)])
    actors = tuple(_actor(rng, height, (0.25, 0.4)) for _ in range(3))
    rng = np.random.default_rng([_ROUTINE, routine, take])
    shot = _Shot(
        scene,
        tuple(_once_more(rng, actor) for actor in actors),
        camera=lambda _: (0.0, 0.0, 1.0, 0.0),
        light=lambda _: (1.0, 0.0),
    )
    for index in range(round(seconds * fps)):
        yield _render(shot, index / fps, width, height)


def static(seed: int, seconds: float, *, width: int = 320, height: int = 180, fps: float = 25.0) -> Iterator[U8]:
    """Yield one and the same picture throughout. Frames as those of `clip`."""
    rng = np.random.default_rng([_STATIC, seed])
    scene = _scene(rng, width, height, name=_BACKDROPS[seed % len(_BACKDROPS)])
    shot = _Shot(scene, (), camera=lambda _: (0.0, 0.0, 1.0, 0.0), light=lambda _: (1.0, 0.0))
    picture = _render(shot, 0.0, width, height)
    for _ in range(round(seconds * fps)):
        yield picture.copy()


def flat(level: int, seconds: float, *, width: int = 320, height: int = 180, fps: float = 25.0) -> Iterator[U8]:
    """Yield pictures of one grey `level`, 0 … 255. Frames as those of `clip`."""
    for _ in range(round(seconds * fps)):
        yield np.full((height, width, 3), level, np.uint8)


@functools.cache
def photograph(name: str) -> U8:
    """Return a photograph bundled with scikit-image as RGB, uint8, longer side at most 640 px. Do not write into it."""
    picture = getattr(data, name)()
    if isinstance(picture, tuple):  # the stereo pair
        picture = picture[0]
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    picture = np.ascontiguousarray(picture[..., :3], dtype=np.uint8)
    scale = 640 / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture.setflags(write=False)
    return np.asarray(picture)


def _shot_ends(seed: int, seconds: float, shots: int | None) -> list[float]:
    """Return the end of each shot; the last one is `seconds`."""
    if shots is not None:
        return [seconds * (number + 1) / shots for number in range(shots)]
    rng = np.random.default_rng([_CLIP, seed])
    ends = [0.0]
    while ends[-1] < seconds:
        ends.append(ends[-1] + float(rng.uniform(1.8, 4.5)))
    return [*ends[1:-1], seconds]


def _shot(seed: int, number: int, width: int, height: int) -> _Shot:
    """Return shot `number` of clip `seed`: consecutive shots never share a photograph, a brightness or a camera."""
    order = np.random.default_rng([_CLIP, seed, 0]).permutation(len(_BACKDROPS))
    rng = np.random.default_rng([_CLIP, seed, number + 1])
    scene = _scene(rng, width, height, name=_BACKDROPS[order[number % len(order)]], bright=number % 2 == 0)
    actors = tuple(_actor(rng, height, (0.25, 0.55)) for _ in range(int(rng.integers(2, 5))))
    reach = 0.8
    pan_x, pan_y = _wobble(rng, reach, (0.02, 0.08)), _wobble(rng, reach, (0.02, 0.08))
    zoom, roll = _wobble(rng, 0.1, (0.03, 0.12)), _wobble(rng, 2.0, (0.05, 0.2))
    gain, flicker = _wobble(rng, 0.12, (0.05, 0.4)), _wobble(rng, 0.03, (0.6, 2.0))
    return _Shot(
        scene,
        actors,
        camera=lambda t: (pan_x(t), pan_y(t), 1.15 + zoom(t), roll(t)),
        light=lambda t: (1.0 + gain(t) + flicker(t), 0.0),
    )


def _wobble(rng: np.random.Generator, reach: float, hertz: tuple[float, float]) -> Callable[[float], float]:
    """Return a smooth irregular function of seconds within ±`reach`: three sines of random rate and phase."""
    rates, phases = rng.uniform(*hertz, 3), rng.uniform(0, 2 * math.pi, 3)
    weights = rng.dirichlet((2.0, 2.0, 2.0))
    terms = tuple(zip((2 * math.pi * rates).tolist(), phases.tolist(), (reach * weights).tolist(), strict=True))
    return lambda t: sum(weight * math.sin(rate * t + phase) for rate, phase, weight in terms)


def _piece(rng: np.random.Generator, name: str, width: int, height: int, bend: float) -> U8:
    """Return `width` × `height` pixels of a photograph: a random crop, sheared, turned, bent and tinted.

    Bending by waves keeps it a photograph to the eye while two pieces of the same one have no similarity transform
    between them. `bend` is the waves' height as a share of the piece's size.
    """
    photo = photograph(name)
    rows, columns = photo.shape[:2]
    share = rng.uniform(0.45, 0.85)
    aspect = rng.uniform(0.7, 1.4)
    turn = math.radians(rng.uniform(-40, 40))
    shear = rng.uniform(-0.35, 0.35)
    span_x, span_y = share * columns, min(share * columns / aspect * height / width, 0.95 * rows)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width - 0.5, y / height - 0.5
    for axis_phase in rng.uniform(0, 2 * math.pi, 3):
        waves = rng.uniform(3.0, 9.0)
        u, v = (
            u + bend * np.sin(waves * v + axis_phase, dtype=np.float32),
            v + bend * np.cos(waves * u + 1.7 * axis_phase, dtype=np.float32),
        )
    if rng.random() < 0.5:
        u = -u
    a, b = math.cos(turn), math.sin(turn)
    map_x = (a * u - b * v + shear * v) * span_x + rng.uniform(0.35, 0.65) * columns
    map_y = (b * u + a * v) * span_y + rng.uniform(0.35, 0.65) * rows
    piece = cv2.remap(
        photo,
        np.asarray(map_x, np.float32),
        np.asarray(map_y, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    piece = cv2.addWeighted(piece, 1.0, _relief(rng, width, height), 1.0, -128.0)
    tint = np.eye(3) * rng.uniform(0.75, 1.2, (3, 1)) + rng.dirichlet((1, 1, 1), 3) * 0.3 - 0.1
    return np.asarray(cv2.transform(piece, tint.astype(np.float32)), np.uint8)


def _relief(rng: np.random.Generator, width: int, height: int) -> U8:
    """Return a rough surface of `width` × `height`, RGB around 128: detail that no other piece has."""
    relief = np.zeros((height, width), np.float32)
    for grain, depth in zip((2, 5, 11), _RELIEF, strict=True):
        coarse = rng.standard_normal((height // grain + 2, width // grain + 2)).astype(np.float32)
        relief += depth * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grey = np.clip(relief + 128, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _mask(rng: np.random.Generator, width: int, height: int) -> F32:
    """Return a soft-edged blob that fills most of `width` × `height`; shape (height, width, 1), 0 … 1."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    radius = 0.8 + sum(rng.uniform(-0.12, 0.12) * np.cos(k * angles + rng.uniform(0, 6)) for k in (2, 3, 4, 5))
    outline = np.stack(
        [width * (0.5 + 0.5 * radius * np.cos(angles)), height * (0.5 + 0.5 * radius * np.sin(angles))], axis=1
    )
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 255, lineType=cv2.LINE_AA)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.6, 0.015 * min(width, height)))
    return np.asarray(soft[..., None] / np.float32(255), np.float32)


def _scene(rng: np.random.Generator, width: int, height: int, *, name: str, bright: bool | None = None) -> U8:
    """Return a backdrop of `_MARGIN` times the picture's size, RGB."""
    wide, high = round(width * _MARGIN), round(height * _MARGIN)
    picture = _piece(rng, name, wide, high, 0.08).astype(np.float32)
    for _ in range(int(rng.integers(5, 9))):
        prop_w = max(8, round(wide * rng.uniform(0.18, 0.42)))
        prop_h = max(8, round(high * rng.uniform(0.22, 0.5)))
        prop = _piece(rng, str(rng.choice(_PROPS)), prop_w, prop_h, 0.08)
        left = int(rng.integers(-prop_w // 3, wide - 2 * prop_w // 3))
        top = int(rng.integers(-prop_h // 3, high - 2 * prop_h // 3))
        _paste(picture, prop, _mask(rng, prop_w, prop_h), left, top)
    light = cv2.resize(rng.uniform(0.45, 1.45, (3, 4)).astype(np.float32), (wide, high), interpolation=cv2.INTER_CUBIC)
    picture *= light[..., None]
    if bright is not None:
        # shots alternate between day and evening, so that a cut is a cut
        mean = float(picture.mean())
        picture *= np.clip((130.0 if bright else 85.0) / max(mean, 1.0), 0.4, 1.5)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _paste(picture: npt.NDArray[np.generic], patch: U8, mask: F32, left: int, top: int) -> None:
    """Blend `patch` into `picture` in place, cut off at the edges."""
    rows, columns = picture.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + patch.shape[1], columns), min(top + patch.shape[0], rows)
    if x0 >= x1 or y0 >= y1:
        return
    inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    below = picture[y0:y1, x0:x1].astype(np.float32)
    blended = below + (patch[inside].astype(np.float32) - below) * mask[inside]
    picture[y0:y1, x0:x1] = blended.astype(picture.dtype)


def _actor(rng: np.random.Generator, height: int, sizes: tuple[float, float]) -> _Actor:
    """Return an actor whose height is within `sizes` (shares of the picture's height), with a path of its own."""
    high = max(8, round(height * rng.uniform(*sizes)))
    wide = max(8, round(high * rng.uniform(0.6, 1.3)))
    picture = _piece(rng, str(rng.choice(_PROPS)), wide, high, 0.07)
    picture = np.clip(picture.astype(np.float32) * rng.uniform(0.6, 1.5), 0, 255).astype(np.uint8)
    home_x, home_y = rng.uniform(0.2, 0.8, 2)
    stroll_x, stroll_y = _wobble(rng, 0.4, (0.06, 0.35)), _wobble(rng, 0.3, (0.06, 0.35))
    gesture_x, gesture_y = _wobble(rng, 0.05, (0.6, 1.8)), _wobble(rng, 0.05, (0.6, 1.8))
    size, angle = _wobble(rng, 0.25, (0.08, 0.4)), _wobble(rng, 25.0, (0.08, 0.5))
    return _Actor(
        picture,
        _mask(rng, wide, high),
        path=lambda t: (
            home_x + stroll_x(t) + gesture_x(t),
            home_y + stroll_y(t) + gesture_y(t),
            1.0 + size(t),
            angle(t),
        ),
    )


def _once_more(rng: np.random.Generator, actor: _Actor) -> _Actor:
    """Return an actor that does the same again, nearly at the same times, places and angles."""
    late = _wobble(rng, 0.1, (0.1, 0.5))
    right, down = _wobble(rng, 0.03, (0.1, 0.8)), _wobble(rng, 0.03, (0.1, 0.8))
    nearer, turned = _wobble(rng, 0.06, (0.1, 0.5)), _wobble(rng, 6.0, (0.1, 0.8))

    def path(t: float) -> tuple[float, float, float, float]:
        x, y, size, angle = actor.path(t + late(t))
        return x + right(t), y + down(t), size + nearer(t), angle + turned(t)

    return _Actor(actor.picture, actor.mask, path)


def _render(shot: _Shot, seconds: float, width: int, height: int) -> U8:
    """Return the picture of `shot` at `seconds` of its own time."""
    rows, columns = shot.scene.shape[:2]
    pan_x, pan_y, zoom, roll = shot.camera(seconds)
    # scene point shown at the picture's centre: the camera stays inside the scene's margin
    centre_x = columns / 2 + pan_x * (columns - width) / 2
    centre_y = rows / 2 + pan_y * (rows - height) / 2
    to_picture = cv2.getRotationMatrix2D((centre_x, centre_y), roll, zoom)
    to_picture[:, 2] += (width / 2 - centre_x, height / 2 - centre_y)
    picture = np.asarray(
        cv2.warpAffine(
            shot.scene, to_picture, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        ),
        np.uint8,
    )
    for actor in shot.actors:
        _draw(picture, actor, seconds)
    gain, offset = shot.light(seconds)
    return np.asarray(cv2.convertScaleAbs(picture, alpha=gain, beta=offset), np.uint8)


def _draw(picture: U8, actor: _Actor, seconds: float) -> None:
    """Blend `actor`, where it is at `seconds`, into `picture` in place."""
    x, y, size, angle = actor.path(seconds)
    high, wide = actor.picture.shape[:2]
    box = math.ceil(size * math.hypot(wide, high)) + 2
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), angle, size)
    # sub-pixel positions, or slow actors would move in jerks
    left, top = x * picture.shape[1] - box / 2, y * picture.shape[0] - box / 2
    turn[:, 2] += (box / 2 - wide / 2 + left % 1, box / 2 - high / 2 + top % 1)
    patch = cv2.warpAffine(actor.picture, turn, (box, box), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(actor.mask, turn, (box, box), flags=cv2.INTER_LINEAR)
    corner = math.floor(left), math.floor(top)
    _paste(picture, np.asarray(patch, np.uint8), np.asarray(mask[..., None], np.float32), *corner)
