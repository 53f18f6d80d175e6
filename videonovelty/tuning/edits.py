"""The edits known footage comes back with, made on purpose so that recall can be measured where the truth is known.

`make_edit(name, seed)` fixes an edit's parameters for a whole video; the names are those of `EDITS` and `INSETS`. Every
edit takes a picture of shape (height, width, 3), uint8, RGB, leaves it alone and returns a new one, of another size
where the edit changes the size. The same seed gives the same picture.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import U8

Rng = np.random.Generator
Edit = Callable[[U8, Rng], U8]
Hosted = Callable[[U8, Rng, U8], U8]

_FONT = cv2.FONT_HERSHEY_DUPLEX
_WORDS = (
    "wait",
    "for",
    "it",
    "follow",
    "more",
    "best",
    "part",
    "two",
    "full",
    "link",
    "like",
    "share",
    "watch",
    "never",
)


def make_edit(name: str, seed: int, *, host: U8 | None = None) -> Callable[[U8], U8]:
    """Return the edit `name` with its parameters fixed by `seed`, to be applied to every frame of one video.

    `host` is the picture that known footage is put into or covered by (picture in picture, split screen, insets, what
    surrounds a filmed screen); without it one is generated from the seed. Raises KeyError for an unknown name.
    """
    if name not in NEEDS_HOST:
        edit = EDITS[name]
        return lambda frame: edit(frame, np.random.default_rng(seed))
    around = generated_picture(np.random.default_rng([seed, 1])) if host is None else host
    with_host = _HOSTED[name]
    return lambda frame: with_host(frame, np.random.default_rng(seed), around)


def generated_picture(rng: Rng, *, width: int = 640, height: int = 360) -> U8:
    """Return a busy picture of shape (height, width, 3): shapes, lettering and grain over a soft background."""
    coarse = rng.integers(0, 256, (5, 8, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(60):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = int(rng.integers(6, max(8, height // 5)))
        colour = [int(c) for c in rng.integers(0, 256, 3)]
        kind = rng.integers(0, 4)
        if kind == 0:
            cv2.rectangle(picture, (x, y), (x + size, y + int(size * rng.uniform(0.3, 2))), colour, -1)
        elif kind == 1:
            axes = (size, int(size * rng.uniform(0.3, 1)))
            cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        elif kind == 2:
            corners = np.array([x, y]) + rng.integers(-size, size + 1, (5, 2))
            cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
        else:
            cv2.putText(picture, str(rng.choice(_WORDS)), (x, y), _FONT, size / 40, colour, 1, cv2.LINE_AA)
    return _clipped(cv2.GaussianBlur(picture, (0, 0), 0.7) + rng.normal(0, 4, picture.shape))


# ---- colour and quality ---------------------------------------------------------------------------------------------


def reencode(frame: U8, rng: Rng) -> U8:
    """A strong but ordinary re-encode."""
    return _jpeg(frame, int(rng.integers(22, 35)))


def reencode_hard(frame: U8, rng: Rng) -> U8:
    """What several uploads leave: half the size, coarse blocks, and back."""
    height, width = frame.shape[:2]
    small = _resized(frame, width // 2, height // 2)
    return _resized(_jpeg(small, int(rng.integers(8, 14))), width, height)


def resize_240(frame: U8, rng: Rng) -> U8:  # noqa: ARG001
    """240 lines."""
    height, width = frame.shape[:2]
    return _resized(frame, width * 240 // height, 240)


def stretch(frame: U8, rng: Rng) -> U8:
    """A wrong aspect ratio, by 10 … 33 %."""
    height, width = frame.shape[:2]
    factor = rng.uniform(1.10, 1.33)
    if rng.random() < 0.5:
        return _resized(frame, int(width * factor), height)
    return _resized(frame, width, int(height * factor))


def brighten(frame: U8, rng: Rng) -> U8:
    """Lighter by 30 … 55 grey levels."""
    return _clipped(frame.astype(np.float32) + rng.uniform(30, 55))


def darken(frame: U8, rng: Rng) -> U8:
    """40 … 60 % of the light."""
    return _clipped(frame.astype(np.float32) * rng.uniform(0.4, 0.6))


def contrast(frame: U8, rng: Rng) -> U8:
    """Half to two thirds of the contrast."""
    return _clipped((frame.astype(np.float32) - 128) * rng.uniform(0.5, 0.65) + 128)


def gamma(frame: U8, rng: Rng) -> U8:
    """Midtones darkened by a gamma of 1.7 … 2.2."""
    return _clipped(255 * (frame.astype(np.float32) / 255) ** rng.uniform(1.7, 2.2))


def hue(frame: U8, rng: Rng) -> U8:
    """All colours turned."""
    hsv = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(rng.integers(30, 60))) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def grey(frame: U8, rng: Rng) -> U8:  # noqa: ARG001
    """Black and white."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def blur(frame: U8, rng: Rng) -> U8:
    """Out of focus."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), rng.uniform(2.5, 3.5) * max(frame.shape[:2]) / 640))


def noise(frame: U8, rng: Rng) -> U8:
    """Strong grain."""
    return _grainy(frame, rng.uniform(20, 28))


# ---- lettering and overlays -----------------------------------------------------------------------------------------


def caption(frame: U8, rng: Rng) -> U8:
    """Two lines of outlined lettering."""
    out = frame.copy()
    height, width = frame.shape[:2]
    for share in (rng.uniform(0.15, 0.25), rng.uniform(0.82, 0.92)):
        _letter(out, _text(rng, 3), int(0.05 * width), int(share * height), width * 0.9)
    return out


def logo(frame: U8, rng: Rng) -> U8:
    """A translucent channel logo in a corner."""
    out = frame.copy()
    height, width = frame.shape[:2]
    w, h = int(width * 0.22), int(height * 0.14)
    x, y = int(rng.choice([8, width - w - 8])), int(rng.choice([8, height - h - 8]))
    x, y = max(x, 0), max(y, 0)
    colour = rng.integers(0, 256, 3)
    out[y : y + h, x : x + w] = (0.25 * out[y : y + h, x : x + w] + 0.75 * colour).astype(np.uint8)
    _letter(out, _text(rng, 1), x + 4, y + int(h * 0.7), w * 0.8)
    return out


def emoji(frame: U8, rng: Rng) -> U8:
    """A large smiling face near the middle."""
    out = frame.copy()
    height, width = frame.shape[:2]
    r = int(min(height, width) * rng.uniform(0.18, 0.24))
    x, y = int(width * rng.uniform(0.38, 0.62)), int(height * rng.uniform(0.4, 0.6))
    cv2.circle(out, (x, y), r, (255, 210, 40), -1, cv2.LINE_AA)
    for side in (-0.4, 0.4):
        cv2.circle(out, (int(x + side * r), int(y - 0.25 * r)), max(1, int(0.15 * r)), (0, 0, 0), -1)
    cv2.ellipse(out, (x, int(y + 0.2 * r)), (int(0.5 * r), int(0.35 * r)), 0, 0, 180, (0, 0, 0), max(1, r // 16))
    return out


# ---- borders --------------------------------------------------------------------------------------------------------


def letterbox(frame: U8, rng: Rng) -> U8:
    """Black bars above and below."""
    bar = int(frame.shape[0] * rng.uniform(0.1, 0.25))
    return _bordered(frame, bar, bar, 0, 0, (0, 0, 0))


def pillarbox(frame: U8, rng: Rng) -> U8:
    """Black bars left and right."""
    bar = int(frame.shape[1] * rng.uniform(0.1, 0.25))
    return _bordered(frame, 0, 0, bar, bar, (0, 0, 0))


def windowbox(frame: U8, rng: Rng) -> U8:
    """Black bars on all four sides."""
    height, width = frame.shape[:2]
    across, down = int(width * rng.uniform(0.08, 0.2)), int(height * rng.uniform(0.08, 0.2))
    return _bordered(frame, down, down, across, across, (0, 0, 0))


def coloured_bars(frame: U8, rng: Rng) -> U8:
    """Bars of one colour, with grain and coarse coding over all."""
    bar = int(frame.shape[0] * rng.uniform(0.12, 0.22))
    boxed = _bordered(frame, bar, bar, 0, 0, tuple(int(c) for c in rng.integers(0, 256, 3)))
    return _jpeg(_grainy(boxed, 6), 40)


def subtitled_letterbox(frame: U8, rng: Rng) -> U8:
    """Letterbox with a line of lettering in the lower bar."""
    out = letterbox(frame, rng)
    height, width = out.shape[:2]
    bar = (height - frame.shape[0]) // 2
    _letter(out, _text(rng, 3), int(width * 0.2), height - bar // 3, width * 0.6)
    return out


def blurred_fill(frame: U8, rng: Rng) -> U8:
    """Upright 9:16 video whose space above and below is a blurred, enlarged copy of itself."""
    height, width = frame.shape[:2]
    out_height, out_width = (640, 360) if width >= height else (360, 640)
    back = cv2.GaussianBlur(_filling(frame, out_width, out_height), (0, 0), rng.uniform(11, 18))
    return _fitted(frame, out_width, out_height, np.asarray(back))


def meme(frame: U8, rng: Rng) -> U8:
    """A white card with two lines of lettering above the picture."""
    height, width = frame.shape[:2]
    out = np.full((int(height * 1.5), int(width * 1.12), 3), 255, np.uint8)
    top, left = int(height * 0.42), int(width * 0.06)
    out[top : top + height, left : left + width] = frame
    for line in (0.15, 0.32):
        text = _text(rng, 3)
        size = 0.8 * width / max(1, cv2.getTextSize(text, _FONT, 1.0, 1)[0][0])
        place = (int(0.1 * width), int(height * line))
        cv2.putText(out, text, place, _FONT, size, (0, 0, 0), max(1, width // 200), cv2.LINE_AA)
    return out


# ---- geometry -------------------------------------------------------------------------------------------------------


def _crop(share: float) -> Edit:
    def crop(frame: U8, rng: Rng) -> U8:
        height, width = frame.shape[:2]
        h, w = int(height * (1 - share)), int(width * (1 - share))
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        return frame[y : y + h, x : x + w].copy()

    return crop


def mirror(frame: U8, rng: Rng) -> U8:  # noqa: ARG001
    """Left and right swapped."""
    return np.ascontiguousarray(frame[:, ::-1])


def rotate_90(frame: U8, rng: Rng) -> U8:
    """A quarter turn either way."""
    return np.ascontiguousarray(np.rot90(frame, 1 if rng.random() < 0.5 else 3))


def rotate_180(frame: U8, rng: Rng) -> U8:  # noqa: ARG001
    """Upside down, not mirrored."""
    return np.ascontiguousarray(np.rot90(frame, 2))


def _rotate(degrees: float) -> Edit:
    def rotate(frame: U8, rng: Rng) -> U8:
        height, width = frame.shape[:2]
        turn = degrees if rng.random() < 0.5 else -degrees
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1)
        return np.asarray(cv2.warpAffine(frame, matrix, (width, height)))

    return rotate


# ---- inside something else ------------------------------------------------------------------------------------------


def _picture_in_picture(share: float) -> Hosted:
    def inside(frame: U8, rng: Rng, host: U8) -> U8:
        out = _filling(host, 640, 360)
        factor = min(640 * share / frame.shape[1], 360 * share / frame.shape[0])
        small = _resized(frame, int(frame.shape[1] * factor), int(frame.shape[0] * factor))
        h, w = small.shape[:2]
        y, x = int(rng.integers(0, 360 - h + 1)), int(rng.integers(0, 640 - w + 1))
        out[y : y + h, x : x + w] = small
        return out

    return inside


def _split_screen(frame: U8, rng: Rng, host: U8) -> U8:
    halves = [_fitted(frame, 320, 360), _filling(host, 320, 360)]
    return np.hstack(halves if rng.random() < 0.5 else halves[::-1])


def occlude_25(frame: U8, rng: Rng) -> U8:
    """A quarter of the picture is covered, by a picture that stands still."""
    cover = _cover(int(rng.integers(2**31)))
    out = frame.copy()
    height, width = frame.shape[:2]
    h, w = height // 2, width // 2
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    out[y : y + h, x : x + w] = _filling(cover, w, h)
    return out


@functools.lru_cache(4)
def _cover(seed: int) -> U8:
    return generated_picture(np.random.default_rng(seed))


def _inset(share: float, *, place: str = "corner", framed: bool = False, round_: bool = False) -> Hosted:
    """Return the edit that lays `host` over a part of the footage, `share` of each side large.

    `place` is a `corner`, the middle of an `edge`, or the `middle` of the picture; which one, how far from the border,
    and the colour of the frame follow from the seed.
    """

    def inset(frame: U8, rng: Rng, host: U8) -> U8:
        out = frame.copy()
        height, width = frame.shape[:2]
        h, w = max(2, round(height * share)), max(2, round(width * share))
        free_y, free_x = height - h, width - w
        margin = int(rng.uniform(0.0, 0.04) * min(height, width)) if rng.random() < 0.7 else 0
        ends_y, ends_x = (margin, free_y - margin), (margin, free_x - margin)
        y, x = free_y // 2, free_x // 2
        vertical, horizontal, on_top = (int(one) for one in rng.integers(0, 2, 3))
        if place == "corner" or (place == "edge" and on_top):
            y = ends_y[vertical]
        if place == "corner" or (place == "edge" and not on_top):
            x = ends_x[horizontal]
        thick = max(1, round(rng.uniform(0.006, 0.015) * min(height, width))) if framed else 0
        colour = [(255, 255, 255), (0, 0, 0), tuple(int(c) for c in rng.integers(0, 256, 3))][int(rng.integers(0, 3))]
        laid = _bordered(_filling(host, w - 2 * thick, h - 2 * thick), thick, thick, thick, thick, colour)
        y, x = min(max(y, 0), free_y), min(max(x, 0), free_x)
        if not round_:
            out[y : y + h, x : x + w] = laid
            return out
        mask = cv2.ellipse(np.zeros((h, w), np.uint8), (w // 2, h // 2), (w // 2 - 1, h // 2 - 1), 0, 0, 360, 1, -1)
        out[y : y + h, x : x + w][mask > 0] = laid[mask > 0]
        return out

    return inset


def _screen_recording(frame: U8, rng: Rng, host: U8) -> U8:
    """A 16:9 screen filmed at an angle: perspective, raised blacks, line pattern, blur, grain, the room around it."""
    height, width = 360, 640
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inset = rng.uniform(0.04, 0.14, (4, 2)) * (width, height)
    moved = (corners + inset * [[1, 1], [-1, 1], [-1, -1], [1, -1]]).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved)
    screen = cv2.warpPerspective(_fitted(frame, width, height), matrix, (width, height))
    mask = cv2.warpPerspective(np.full((height, width), 255, np.uint8), matrix, (width, height))
    room = cv2.GaussianBlur(_filling(host, width, height), (0, 0), 6) // 3
    out = np.where(mask[..., None] > 0, screen, room).astype(np.float32)
    out = 255 * (out / 255) ** 0.8 * 0.85 + 15
    out *= 1 + 0.06 * np.sin(np.arange(width) * rng.uniform(1.7, 2.1))[None, :, None]
    return _grainy(_clipped(cv2.GaussianBlur(out, (0, 0), 0.8)), 6)


# ---- compositions ---------------------------------------------------------------------------------------------------


def mirror_crop_caption(frame: U8, rng: Rng) -> U8:
    """Mirrored, cropped by 20 % and captioned."""
    return caption(EDITS["crop_20"](mirror(frame, rng), rng), rng)


def crop_hue_reencode(frame: U8, rng: Rng) -> U8:
    """Cropped by 20 %, recoloured and re-encoded."""
    return reencode(hue(EDITS["crop_20"](frame, rng), rng), rng)


def letterbox_mirror_grey(frame: U8, rng: Rng) -> U8:
    """Grey, mirrored and letterboxed."""
    return letterbox(mirror(grey(frame, rng), rng), rng)


def _pip_50_reencode(frame: U8, rng: Rng, host: U8) -> U8:
    return reencode(_picture_in_picture(0.5)(frame, rng, host), rng)


INSETS: dict[str, Hosted] = {
    "inset_20": _inset(0.2),
    "inset_30": _inset(0.3),
    "inset_40": _inset(0.4),
    "inset_50": _inset(0.5),
    "inset_20_framed": _inset(0.2, framed=True),
    "inset_30_framed": _inset(0.3, framed=True),
    "inset_40_framed": _inset(0.4, framed=True),
    "inset_50_framed": _inset(0.5, framed=True),
    "inset_30_edge": _inset(0.3, place="edge"),
    "inset_30_middle": _inset(0.3, place="middle"),
    "inset_30_round": _inset(0.3, round_=True),
    "inset_30_brief": _inset(0.3),
}
"""Edits that lay other footage over a part of the picture: what is new plays inside what is known.

The number is the share of each side in per cent. Without a further word it is a corner. `brief` plays for some seconds
only."""

_HOSTED: dict[str, Hosted] = {
    "pip_50": _picture_in_picture(0.5),
    "pip_30": _picture_in_picture(0.3),
    "split_screen": _split_screen,
    "screen_recording": _screen_recording,
    "pip_50_reencode": _pip_50_reencode,
    **INSETS,
}

NEEDS_HOST = frozenset(_HOSTED)
"""Edits that put another picture beside, around or over the footage."""
AROUND = frozenset({"pip_50", "pip_30", "pip_50_reencode", "split_screen"})
"""Those with which as much or more of the picture shows the other footage."""


def _with_generated_host(name: str) -> Edit:
    def edit(frame: U8, rng: Rng) -> U8:
        host = generated_picture(rng)
        return _HOSTED[name](frame, rng, host)

    return edit


EDITS: dict[str, Edit] = {
    "reencode": reencode,
    "reencode_hard": reencode_hard,
    "resize_240": resize_240,
    "stretch": stretch,
    "brighten": brighten,
    "darken": darken,
    "contrast": contrast,
    "gamma": gamma,
    "hue": hue,
    "grey": grey,
    "blur": blur,
    "noise": noise,
    "caption": caption,
    "logo": logo,
    "emoji": emoji,
    "occlude_25": occlude_25,
    "letterbox": letterbox,
    "pillarbox": pillarbox,
    "windowbox": windowbox,
    "coloured_bars": coloured_bars,
    "subtitled_letterbox": subtitled_letterbox,
    "blurred_fill": blurred_fill,
    "meme": meme,
    "crop_10": _crop(0.10),
    "crop_20": _crop(0.20),
    "crop_30": _crop(0.30),
    "crop_40": _crop(0.40),
    "mirror": mirror,
    "rotate_90": rotate_90,
    "rotate_180": rotate_180,
    "rotate_5": _rotate(5.0),
    "rotate_15": _rotate(15.0),
    "mirror_crop_caption": mirror_crop_caption,
    "crop_hue_reencode": crop_hue_reencode,
    "letterbox_mirror_grey": letterbox_mirror_grey,
    **{name: _with_generated_host(name) for name in _HOSTED if name not in INSETS},
}
"""Every edit that leaves the footage what it is. The number in a name is a share in per cent, of each side for crops,
or degrees."""


# ---- drawing --------------------------------------------------------------------------------------------------------


def _clipped(values: npt.NDArray[np.floating]) -> U8:
    clipped: U8 = np.clip(values, 0, 255).astype(np.uint8)
    return clipped


def _grainy(frame: U8, deviation: float) -> U8:
    # Grain moves from frame to frame, so it is drawn from the picture itself: the same picture gets the same grain.
    rng = np.random.default_rng(zlib.crc32(frame.tobytes()))
    return _clipped(frame + deviation * rng.standard_normal(frame.shape, np.float32))


def _jpeg(frame: U8, quality: int) -> U8:
    done, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    back = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert done
    assert back is not None
    return np.ascontiguousarray(back[..., ::-1], np.uint8)


def _resized(frame: U8, width: int, height: int) -> U8:
    return np.asarray(cv2.resize(frame, (max(2, width), max(2, height)), interpolation=cv2.INTER_AREA))


def _filling(frame: U8, width: int, height: int) -> U8:
    """Cut `frame` to the shape asked for, around its middle, and resize it."""
    h, w = frame.shape[:2]
    cut_w, cut_h = min(w, max(1, h * width // height)), min(h, max(1, w * height // width))
    x, y = (w - cut_w) // 2, (h - cut_h) // 2
    return _resized(frame[y : y + cut_h, x : x + cut_w], width, height)


def _fitted(frame: U8, width: int, height: int, back: U8 | None = None) -> U8:
    """Shrink `frame` into the size asked for, on `back` or black."""
    factor = min(width / frame.shape[1], height / frame.shape[0])
    small = _resized(frame, int(frame.shape[1] * factor), int(frame.shape[0] * factor))
    out = np.zeros((height, width, 3), np.uint8) if back is None else back.copy()
    y, x = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    return out


def _bordered(frame: U8, top: int, bottom: int, left: int, right: int, colour: tuple[int, ...]) -> U8:
    return np.asarray(cv2.copyMakeBorder(frame, top, bottom, left, right, cv2.BORDER_CONSTANT, value=colour))


def _text(rng: Rng, words: int) -> str:
    return " ".join(rng.choice(_WORDS, words)).upper()


def _letter(frame: U8, text: str, x: int, y: int, width: float) -> None:
    """Draw outlined lettering of `width` px onto `frame`."""
    size = width / max(1, cv2.getTextSize(text, _FONT, 1.0, 1)[0][0])
    for colour, thickness in (((0, 0, 0), 4.0), ((255, 255, 255), 1.5)):
        cv2.putText(frame, text, (x, y), _FONT, size, colour, max(1, round(thickness * size)), cv2.LINE_AA)
