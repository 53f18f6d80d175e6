"""Planted truth for `benchmarks.accuracy --others`: edits no threshold was chosen with, new footage hidden in known.

Every other video is known. Copies of it are edited in ways that neither `tuning.edits` nor `accuracy_footage` has, and
footage of a video that is not known is laid over it, mixed with it or put behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.accuracy_footage import COPY_SECONDS, FPS, Query, Source, sources, with_even_sides, written
from videonovelty.decode.writer import write_video
from videonovelty.records import U8

OTHER_VIDEO = 3
"""New footage is of so manieth video after the known one: every second one is known, so that one is not."""
Frames = Sequence[U8]
PictureEdit = Callable[..., U8]
"""A picture, its number and how many there are; the picture that takes its place."""
Mix = Callable[..., U8]
"""A known picture, a new one of its size and their number; what is shown."""
Box = tuple[float, float, float, float]
"""Left, top, width and height in shares of the picture."""


# ---- edits ----


def _warped(picture: U8, rows: Sequence[Sequence[float]]) -> U8:
    height, width = picture.shape[:2]
    return np.asarray(
        cv2.warpAffine(picture, np.array(rows, np.float32), (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8
    )


def _zooming(picture: U8, number: int, count: int) -> U8:
    height, width = picture.shape[:2]
    by = 1.0 + 0.2 * number / count
    return _warped(picture, [[by, 0, width / 2 * (1 - by)], [0, by, height / 2 * (1 - by)]])


def _shaking(picture: U8, number: int, *_: int) -> U8:
    height, width = picture.shape[:2]
    right, down = np.random.default_rng(number // 2).normal(0, 0.012 * width, 2)
    return _warped(picture, [[1.06, 0, right - 0.03 * width], [0, 1.06, down - 0.03 * height]])


def _perspective(picture: U8, *_: int) -> U8:
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * (width, height)
    seen = np.array([[0.08, 0.03], [0.97, 0.0], [0.93, 0.97], [0.0, 0.94]], np.float32) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))
    return np.asarray(cv2.warpPerspective(picture, matrix, (width, height)), np.uint8)


def _vignette(picture: U8, *_: int) -> U8:
    height, width = picture.shape[:2]
    down, right = np.mgrid[:height, :width]
    away = ((right - width / 2) / (width / 2)) ** 2 + ((down - height / 2) / (height / 2)) ** 2
    return np.asarray(picture * np.clip(1 - 0.45 * away, 0, 1)[..., None], np.uint8)


def _wave(picture: U8, number: int, *_: int) -> U8:
    height, width = picture.shape[:2]
    down, right = np.mgrid[:height, :width].astype(np.float32)
    moved = right + np.float32(0.012 * width) * np.sin(down / height * 12 + number / 8).astype(np.float32)
    return np.asarray(cv2.remap(picture, moved, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _hue_cycle(picture: U8, number: int, *_: int) -> U8:
    turned = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    turned[..., 0] = (turned[..., 0].astype(int) + number) % 180
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_HSV2RGB), np.uint8)


def _framed(picture: U8, *_: int) -> U8:
    height, width = picture.shape[:2]
    margin = int(0.07 * width)
    framed = np.full_like(picture, (180, 40, 90))
    framed[margin : height - margin, margin : width - margin] = _fitted(
        picture, height - 2 * margin, width - 2 * margin
    )
    return framed


def _watermarked(picture: U8, *_: int) -> U8:
    marked = picture.copy()
    height, width = picture.shape[:2]
    for down in range(20, height, 45):
        for right in range((down * 3) % 60 - 40, width, 90):
            cv2.putText(marked, "@user", (right, down), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(cv2.addWeighted(picture, 0.6, marked, 0.4, 0), np.uint8)


def _snow(picture: U8, number: int, *_: int) -> U8:
    chance = np.random.default_rng(5)
    snowed = picture.copy()
    height, width = picture.shape[:2]
    for right, down, fall in zip(chance.random(60), chance.random(60), 20 + 40 * chance.random(60), strict=True):
        at = int(right * width), int((down * height + fall * number / FPS) % height)
        cv2.circle(snowed, at, 2, (255, 255, 255), -1)
    return snowed


def _subtitled(picture: U8, number: int, *_: int) -> U8:
    shown = picture.copy()
    height, width = picture.shape[:2]
    at, line = (int(0.12 * width), int(0.92 * height)), f"line {number // 50} of the words here"
    cv2.putText(shown, line, at, cv2.FONT_HERSHEY_SIMPLEX, width / 640, (255, 255, 0), 2, cv2.LINE_AA)
    return shown


def _pixelated(picture: U8, *_: int) -> U8:
    height, width = picture.shape[:2]
    small = _fitted(picture, max(2, 48 * height // width), 48)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _wandering_dot(picture: U8, number: int, *_: int) -> U8:
    shown = picture.copy()
    height, width = picture.shape[:2]
    right, down = 0.5 + 0.3 * np.sin(number / 20), 0.5 + 0.3 * np.cos(number / 27)
    cv2.circle(shown, (int(right * width), int(down * height)), int(0.08 * width), (250, 220, 40), -1)
    return shown


def _tiled(picture: U8, *_: int) -> U8:
    height, width = picture.shape[:2]
    small = _fitted(picture, height // 2, width // 2)
    return np.vstack([np.hstack([small, small])] * 2)


def _half_mirrored(picture: U8, *_: int) -> U8:
    shown = picture.copy()
    half = picture.shape[1] // 2
    shown[:, picture.shape[1] - half :] = picture[:, :half][:, ::-1]
    return shown


def _sharpened(picture: U8, *_: int) -> U8:
    return np.asarray(cv2.addWeighted(picture, 2.5, cv2.GaussianBlur(picture, (0, 0), 2), -1.5, 0), np.uint8)


def _flickering(picture: U8, number: int, *_: int) -> U8:
    return np.asarray(np.clip(picture * (1 + 0.25 * np.sin(number / 6)), 0, 255), np.uint8)


def _fading(picture: U8, number: int, count: int) -> U8:
    return np.asarray(picture * min(1.0, number / FPS, (count - number) / FPS), np.uint8)


PICTURE_EDITS: dict[str, PictureEdit] = {
    "negative": lambda picture, *_: 255 - picture,
    "flip_v": lambda picture, *_: picture[::-1],
    "rot180": lambda picture, *_: picture[::-1, ::-1],
    "posterize": lambda picture, *_: picture // 64 * 64 + 32,
    "zooming": _zooming,
    "shake": _shaking,
    "perspective": _perspective,
    "vignette": _vignette,
    "wave": _wave,
    "flicker": _flickering,
    "hue_cycle": _hue_cycle,
    "frame": _framed,
    "tiled_mark": _watermarked,
    "snow": _snow,
    "subtitles": _subtitled,
    "half_mirror": _half_mirrored,
    "sharpen": _sharpened,
    "tile_2x2": _tiled,
    "pixelate48": _pixelated,
    "fade": _fading,
    "moving_dot": _wandering_dot,
}
TIME_EDITS: dict[str, Callable[[Frames], Frames]] = {
    "reversed": lambda frames: frames[::-1],
    "boomerang": lambda frames: [*frames[: len(frames) // 2], *frames[: len(frames) // 2][::-1]],
    "fps_10": lambda frames: [frames[int(int(n / 2.5) * 2.5)] for n in range(len(frames))],
    "blend": lambda frames: [
        np.asarray(cv2.addWeighted(one, 0.5, other, 0.5, 0), np.uint8)
        for one, other in zip([frames[0], *frames], frames, strict=False)
    ],
    "stutter": lambda frames: [
        frames[min(int(n * 0.9) + (0 if n // 50 % 2 else 5), len(frames) - 1)] for n in range(int(len(frames) / 0.9))
    ],
}


# ---- new footage in known footage ----


def _fitted(picture: U8, height: int, width: int) -> U8:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _mixed(share: float) -> Mix:
    return lambda known, new, _: np.asarray(cv2.addWeighted(known, 1 - share, new, share, 0), np.uint8)


def _pasted(box_of: Callable[[int], Box], first: float = 0.0, last: float = COPY_SECONDS) -> Mix:
    def paste(known: U8, new: U8, number: int) -> U8:
        if not first <= number / FPS < last:
            return known
        sides = known.shape[1::-1] * 2
        left, top, width, height = (int(share * side) for share, side in zip(box_of(number), sides, strict=True))
        shown = known.copy()
        shown[top : top + height, left : left + width] = _fitted(new, height, width)
        return shown

    return paste


def _bouncing(side: float) -> Callable[[int], Box]:
    def there_and_back(at: float) -> float:
        return 1.0 - abs(at % 2.0 - 1.0)

    return lambda number: (
        (1 - side) * there_and_back(0.2 + 0.006 * number),
        (1 - side) * there_and_back(0.5 + 0.005 * number),
        side,
        side,
    )


def _figure(size: float, *, walks: bool) -> Mix:
    """Return a mix in which somebody cut out of the new footage stands before the known, or walks to and fro."""

    def cut_out(known: U8, new: U8, number: int) -> U8:
        height, width = known.shape[:2]
        mask = np.zeros((height, width), np.uint8)
        right = int(width * (0.5 + 0.35 * np.sin(number / 40 if walks else 0.0)))
        down, half = int(height * 0.62), int(size * height / 2)
        cv2.ellipse(mask, (right, down), (int(half * 0.45), half), 0, 0, 360, 255, -1)
        cv2.circle(mask, (right, down - half), int(half * 0.35), 255, -1)
        return np.where(mask[..., None] > 0, new, known)

    return cut_out


def _interlaced(known: U8, new: U8, *_: int) -> U8:
    shown = known.copy()
    shown[1::2] = new[1::2]
    return shown


def _striped(known: U8, new: U8, *_: int) -> U8:
    return np.where((np.arange(known.shape[1]) // 16 % 2 == 1)[None, :, None], new, known)


def _chequered(known: U8, new: U8, *_: int) -> U8:
    down, right = np.mgrid[: known.shape[0], : known.shape[1]]
    return np.where(((down // 32 + right // 32) % 2 == 1)[..., None], new, known)


def _two_corners(known: U8, new: U8, *_: int) -> U8:
    shown = known.copy()
    small = _fitted(new, int(0.2 * known.shape[0]), int(0.2 * known.shape[1]))
    height, width = small.shape[:2]
    shown[4 : 4 + height, 4 : 4 + width] = small
    shown[-4 - height : -4, -4 - width : -4] = small[:, ::-1]
    return shown


def _drawn_over(reach: float) -> Mix:
    """Return a mix of the known shapes in light and shadow, blurred by `reach` of the width, with the new details."""

    def drawn(known: U8, new: U8, _: int) -> U8:
        one, two = (side.astype(np.float32) for side in (known, new))
        shapes, others = (cv2.GaussianBlur(side, (0, 0), reach * known.shape[1]) for side in (one, two))
        return np.asarray(np.clip(shapes + two - others, 0, 255), np.uint8)

    return drawn


def _around(side: float, right: float = 0.5, down: float = 0.5) -> Mix:
    """Return a mix in which the new footage plays around the known, which takes `side` of the sides.

    `right` and `down` are the shares of what is left that lie left of it and above it.
    """

    def put(known: U8, new: U8, _: int) -> U8:
        height, width = known.shape[:2]
        small = _fitted(known, int(side * height), int(side * width))
        top, left = int(down * (height - small.shape[0])), int(right * (width - small.shape[1]))
        shown = new.copy()
        shown[top : top + small.shape[0], left : left + small.shape[1]] = small
        return shown

    return put


def _in_place(change: Callable[[U8], Any], first: float, last: float) -> Mix:
    """Return a mix that shows the new footage alone, changed, for some seconds."""

    def show(known: U8, new: U8, number: int) -> U8:
        return np.asarray(change(new), np.uint8) if first <= number / FPS < last else known

    return show


def _corner(side: float) -> Callable[[int], Box]:
    return lambda _: (1 - side, 1 - side, side, side)


HIDDEN: dict[str, tuple[Mix, tuple[float, float]]] = {
    **{f"mixed {share:.0%}": (_mixed(share), (0.0, COPY_SECONDS)) for share in (0.25, 0.35, 0.5, 0.65)},
    "the brighter of both": (lambda known, new, _: np.maximum(known, new), (0.0, COPY_SECONDS)),
    "the darker of both": (lambda known, new, _: np.minimum(known, new), (0.0, COPY_SECONDS)),
    "details over known shapes, blurred 1 %": (_drawn_over(0.01), (0.0, COPY_SECONDS)),
    "details over known shapes, blurred 2 %": (_drawn_over(0.02), (0.0, COPY_SECONDS)),
    "rows by turns": (_interlaced, (0.0, COPY_SECONDS)),
    "stripes": (_striped, (0.0, COPY_SECONDS)),
    "squares": (_chequered, (0.0, COPY_SECONDS)),
    "bouncing 30 %": (_pasted(_bouncing(0.3)), (0.0, COPY_SECONDS)),
    "bouncing 40 %": (_pasted(_bouncing(0.4)), (0.0, COPY_SECONDS)),
    "somebody walking, half as high": (_figure(0.5, walks=True), (0.0, COPY_SECONDS)),
    "somebody walking, 70 %": (_figure(0.7, walks=True), (0.0, COPY_SECONDS)),
    "somebody standing, half as high": (_figure(0.5, walks=False), (0.0, COPY_SECONDS)),
    "two corners 20 %": (_two_corners, (0.0, COPY_SECONDS)),
    "left 15 %": (_pasted(lambda _: (0.0, 0.0, 0.15, 1.0)), (0.0, COPY_SECONDS)),
    "right 25 %": (_pasted(lambda _: (0.75, 0.0, 0.25, 1.0)), (0.0, COPY_SECONDS)),
    "top 20 %": (_pasted(lambda _: (0.0, 0.0, 1.0, 0.2)), (0.0, COPY_SECONDS)),
    "bottom 30 %": (_pasted(lambda _: (0.0, 0.7, 1.0, 0.3)), (0.0, COPY_SECONDS)),
    "around 60 %": (_around(0.6), (0.0, COPY_SECONDS)),
    "around 75 %": (_around(0.75), (0.0, COPY_SECONDS)),
    "around 85 %": (_around(0.85), (0.0, COPY_SECONDS)),
    "around 75 % in a corner": (_around(0.75, 1.0, 1.0), (0.0, COPY_SECONDS)),
    "in the dark for 3 s": (_in_place(lambda new: new * 0.15, 5.0, 8.0), (5.0, 8.0)),
    "out of focus for 3 s": (
        _in_place(lambda new: cv2.GaussianBlur(new, (0, 0), 0.03 * new.shape[1]), 5.0, 8.0),
        (5.0, 8.0),
    ),
    "corner 30 % for 2 s": (_pasted(_corner(0.3), 5.0, 7.0), (5.0, 7.0)),
    "corner 40 % for 3 s": (_pasted(_corner(0.4), 5.0, 8.0), (5.0, 8.0)),
    "corner 50 % for 2 s": (_pasted(_corner(0.5), 5.0, 7.0), (5.0, 7.0)),
}
"""What is shown, and when there is something new in it."""


def make(folder: Path, videos: Sequence[Path], *, workers: int) -> list[dict[str, Any]]:
    """Write known/ and intake/ below `folder`, and return the truth: one entry a file of the intake."""
    if len(videos) <= OTHER_VIDEO:
        raise SystemExit(f"--others wants more than {OTHER_VIDEO} videos, each of another content")
    pairs = [(videos[n], videos[(n + OTHER_VIDEO) % (len(videos) // 2 * 2)]) for n in range(0, len(videos) - 1, 2)]
    return written(folder, _make_of, [(*pair, f"{n:03d}") for n, pair in enumerate(pairs)], workers=workers)


def _make_of(folder: Path, known: Path, new: Path, name: str) -> list[Query]:
    clips, others = list(sources([known])), list(sources([new]))
    return _write_all(folder, clips[0], others[0], name) if clips and others else []


def _write_all(folder: Path, clip: Source, other: Source, name: str) -> list[Query]:
    found: list[Query] = []
    known = f"{name}.mp4"
    write_video(folder / "known" / known, clip.known, fps=FPS, crf=20)
    copied = clip.known[: int(COPY_SECONDS * FPS)]
    seconds = len(copied) / FPS

    def write(kind: str, edit: str, frames: Frames, **truth: Any) -> None:
        query = Query(f"{name} {kind} {edit}.mp4".replace("%", "of 100"), kind, edit, clip.name, known, **truth)
        pictures = [with_even_sides(picture) for picture in frames]
        write_video(folder / "intake" / query.name, pictures, fps=FPS, crf=28, gop=50)
        found.append(query)

    for edit, change in PICTURE_EDITS.items():
        frames = [np.ascontiguousarray(change(picture, n, len(copied))) for n, picture in enumerate(copied)]
        write("copy", edit, frames, truth=((0.0, seconds, 0.0, seconds),))
    for edit, rearrange in TIME_EDITS.items():
        rearranged = rearrange(copied)
        write("copy", edit, rearranged, truth=((0.0, len(rearranged) / FPS, 0.0, seconds),))
    there_and_back = [*other.known, *other.known[::-1]]
    height, width = copied[0].shape[:2]
    laid = [_fitted(there_and_back[n % len(there_and_back)], height, width) for n in range(len(copied))]
    for edit, (mix, (first, last)) in HIDDEN.items():
        if first < seconds:
            shown = [mix(one, two, n) for n, (one, two) in enumerate(zip(copied, laid, strict=True))]
            write("inset", edit, shown, new=(first, min(last, seconds)))
    return found
