"""Planted truth for `benchmarks.accuracy`: known clips, edited copies, other takes, spliced-in seconds, new clips, and
new footage laid over a part of known footage."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from videonovelty import footage
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8
from videonovelty.tuning.edits import INSETS, NEEDS_HOST, make_edit

FPS = 25.0
SIDE = 320
LONGEST_SECONDS = 50.0
COPY_SECONDS = 12.0
TAKE_SECONDS = 10.0
NOVEL_EVERY = 5
"""Every so manieth clip is enrolled nowhere: whatever is made of it is new."""

WHOLE_PICTURE = (
    "reencode", "reencode_hard", "resize_240", "stretch", "brighten", "darken", "contrast", "gamma", "hue", "grey",
    "blur", "noise", "caption", "logo", "emoji", "letterbox", "pillarbox", "coloured_bars", "mirror", "rotate_90",
)  # fmt: skip
"""Edits that keep the whole picture in view."""
PART_OF_PICTURE = (
    "crop_10", "crop_20", "crop_40", "rotate_5", "meme", "blurred_fill", "pip_50", "pip_30", "split_screen",
    "screen_recording", "mirror_crop_caption",
)  # fmt: skip
IN_TIME = ("speed 1.25", "speed 0.5", "clip 5 s", "reordered", "12 frames a second")
COPY_EDITS = (*WHOLE_PICTURE, *PART_OF_PICTURE, *IN_TIME)
TAKE_EDITS = (
    "as it is", "reencode", "mirror", "brighten", "noise", "caption", "letterbox", "crop_20", "resize_240",
)  # fmt: skip
NOVEL_EDITS = ("as it is", "mirror", "caption", "letterbox", "crop_20", "logo", "emoji", "meme")
SPLICE_SECONDS = (1.0, 2.0, 3.0)
STILL_LEVELS = 16
FIXED_SHARE = 0.5
"""A camera is fixed where this share of the picture varies by at most `STILL_LEVELS` grey levels of 255."""
CROPS, CROPPED_INSETS = ("crop_10", "crop_20"), ("inset_20", "inset_30", "inset_40")
INSET_KINDS = ("inset", "cropped inset")
"""Known footage, whole or cropped, with new footage over a part of the picture."""
BRIEF_SECONDS = (4.0, 7.0)
"""When an inset plays that does so for some seconds only."""


@dataclass(frozen=True, slots=True)
class Query:
    """One file of the intake and what is true of it."""

    name: str
    kind: str
    """`copy`, `take`, `splice`, `inset`, `cropped inset` or `novel`."""
    edit: str
    source: str
    """The clip it is made of."""
    known: str = ""
    """Name of the enrolled file it shows, or whose scene it shows."""
    truth: tuple[tuple[float, float, float, float], ...] = ()
    """Stretches that are known footage: query start and end, known start and end, seconds."""
    new: tuple[float, float] | None = None
    """The seconds of a splice or inset that are new."""


@dataclass(frozen=True, slots=True)
class Source:
    """One clip in two halves, SIDE px wide or high, at FPS."""

    name: str
    known: list[U8]
    other: list[U8]


def sources(videos: Sequence[Path]) -> Iterator[Source]:
    """Yield the clips long enough to be halved, at 25 frames a second."""
    for path in videos:
        frames = list(_at_fixed_rate(path))
        half = len(frames) // 2
        if half >= 4 * FPS:
            yield Source(path.name, frames[:half], frames[half + 12 :])
    if not videos:
        for seed in range(8):
            frames = list(footage.clip(900 + seed, 24.0, width=SIDE, height=180))
            yield Source(f"clip{seed}", frames[: len(frames) // 2], frames[len(frames) // 2 :])
        for room in range(6):
            takes = [list(footage.fixed_camera(room, take, 12.0, width=SIDE, height=180)) for take in (0, 1)]
            yield Source(f"room{room}", takes[0], takes[1])


def _at_fixed_rate(path: Path) -> Iterator[U8]:
    shown: U8 | None = None
    due = 0.0
    first: float | None = None
    for seconds, picture in read_rgb(path, max_side=SIDE):
        first = seconds if first is None else first
        while shown is not None and due < min(seconds - first, LONGEST_SECONDS):
            yield shown
            due += 1 / FPS
        shown = with_even_sides(picture)


def still_share(path: Path) -> float:
    """Return the share of a video's picture, at 64 × 36 and twice a second, that stays as it is.

    A place does where the 10th and the 90th percentile of its grey levels over time are `STILL_LEVELS` apart at most.
    """
    pictures: list[U8] = []
    due = 0.0
    for seconds, picture in read_rgb(path, max_side=SIDE):
        if seconds >= due:
            due = seconds + 0.5
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            pictures.append(np.asarray(cv2.resize(grey, (64, 36), interpolation=cv2.INTER_AREA)))
    low, high = np.percentile(np.stack(pictures), (10, 90), axis=0)
    return float((high - low <= STILL_LEVELS).mean())


def with_even_sides(picture: U8) -> U8:
    return np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])


def make(
    folder: Path, videos: Sequence[Path], *, contents: int, workers: int, backwards: bool = False
) -> list[dict[str, Any]]:
    """Write known/ and intake/ below `folder`, and return the truth: one entry a file of the intake.

    `contents` clips are copied under every edit; other takes and splices are made of every clip. With `backwards`, the
    intake is played backwards.
    """
    (folder / "known").mkdir(parents=True, exist_ok=True)
    (folder / "intake").mkdir(exist_ok=True)
    clips: Sequence[Path | None] = list(videos) or [None]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_count, path) for path in clips]
        usable = [(path, at) for path, job in zip(clips, jobs, strict=True) for at in range(job.result())]
        tasks = []
        copied = 0
        for number, (path, at) in enumerate(usable):
            novel = number % NOVEL_EVERY == NOVEL_EVERY - 1
            copies = not novel and copied < contents
            copied += copies
            tasks.append(
                pool.submit(_make_of, folder, path, at, number, novel=novel, copies=copies, backwards=backwards)
            )
        return [asdict(query) for task in tasks for query in task.result()]


def written(
    folder: Path, make_one: Callable[..., list[Query]], jobs: Iterable[tuple[Any, ...]], *, workers: int
) -> list[dict[str, Any]]:
    """Write known/ and intake/ below `folder`, what `make_one(folder, *job)` makes of each, and return the truth."""
    (folder / "known").mkdir(parents=True, exist_ok=True)
    (folder / "intake").mkdir(exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(make_one, folder, *job) for job in jobs]
        return [asdict(query) for task in tasks for query in task.result()]


def _count(path: Path | None) -> int:
    return sum(1 for _ in sources([path] if path is not None else []))


def _make_of(
    folder: Path, path: Path | None, at: int, number: int, *, novel: bool, copies: bool, backwards: bool
) -> list[Query]:
    """Write everything made of one clip."""
    clip = next(one for place, one in enumerate(sources([path] if path is not None else [])) if place == at)
    found: list[Query] = []
    known = f"{number:03d}.mp4"

    def write(kind: str, edit: str, frames: Sequence[U8], crf: int, *, fps: float = FPS, **truth: Any) -> None:
        query = Query(f"{number:03d} {kind} {edit}.mp4", kind, edit, clip.name, **truth)
        if backwards:
            frames, query = frames[::-1], _backwards(query, len(frames) / fps)
        write_video(folder / "intake" / query.name, frames, fps=fps, crf=crf, gop=50)
        found.append(query)

    if novel:
        for edit in NOVEL_EDITS:
            write("novel", edit, edited(clip.known[: int(COPY_SECONDS * FPS)], edit), 28)
        return found
    write_video(folder / "known" / known, clip.known, fps=FPS, crf=20)
    if copies:
        for edit in COPY_EDITS:
            frames, fps, truth = _copy(clip.known[: int(COPY_SECONDS * FPS)], edit)
            write("copy", edit, frames, 28, fps=fps, known=known, truth=truth)
        for edit in INSETS:
            frames, plays = inset(clip.known[: int(COPY_SECONDS * FPS)], edit, moving=number % 2 == 0)
            write("inset", edit, frames, 28, known=known, new=plays)
        for crop, edit in itertools.product(CROPS, CROPPED_INSETS):
            cropped = edited(clip.known[: int(COPY_SECONDS * FPS)], crop)
            frames, plays = inset(cropped, edit, moving=number % 2 == 0)
            write("cropped inset", f"{crop} {edit}", frames, 28, known=known, new=plays)
    for edit in TAKE_EDITS:
        write("take", edit, edited(clip.other[: int(TAKE_SECONDS * FPS)], edit), 28, known=known)
    middle = len(clip.known) // 2
    for seconds in SPLICE_SECONDS:
        new = clip.other[25 : 25 + int(seconds * FPS)]
        if len(new) < seconds * FPS or len(clip.known) < 6.4 * FPS:
            continue
        at_seconds, whole = middle / FPS, len(clip.known) / FPS
        for how, after in (("inserted", middle), ("replaced", middle + len(new))):
            rest = whole - after / FPS
            resumed = at_seconds + seconds
            parts = ((0.0, at_seconds, 0.0, at_seconds), (resumed, resumed + rest, after / FPS, whole))
            write(
                "splice", f"{seconds:.0f} s {how}", [*clip.known[:middle], *new, *clip.known[after:]], 26,
                known=known, truth=parts, new=(at_seconds, at_seconds + seconds),
            )  # fmt: skip
    return found


def _backwards(query: Query, seconds: float) -> Query:
    """Return what is true of a query of so many seconds when it is played backwards."""
    truth = tuple((seconds - end, seconds - start, first, last) for start, end, first, last in reversed(query.truth))
    new = None if query.new is None else (max(0.0, seconds - query.new[1]), seconds - query.new[0])
    return replace(query, truth=truth, new=new)


def edited(frames: Sequence[U8], edit: str) -> list[U8]:
    """Return known pictures under an edit, unknown ones around or beside them where it needs some."""
    if edit == "as it is":
        return list(frames)
    seed = zlib.crc32(edit.encode())
    hosts = _hosts(len(frames), frames[0].shape) if edit in NEEDS_HOST else None
    one: Callable[[U8], U8] = make_edit(edit, seed)
    return [
        with_even_sides(make_edit(edit, seed, host=hosts[number])(frame) if hosts is not None else one(frame))
        for number, frame in enumerate(frames)
    ]


def inset(frames: Sequence[U8], edit: str, *, moving: bool) -> tuple[list[U8], tuple[float, float]]:
    """Return known pictures with new footage, a moving clip or a fixed camera, in a part of them, and when it plays."""
    height, width = frames[0].shape[:2]
    size: dict[str, Any] = {"width": 2 * (width // 2), "height": 2 * (height // 2), "fps": FPS}
    seconds = len(frames) / FPS
    hosts = footage.clip(4242, seconds, **size) if moving else footage.fixed_camera(4243, 0, seconds, **size)
    plays = BRIEF_SECONDS if edit.endswith("brief") else (0.0, seconds)
    seed = zlib.crc32(edit.encode())
    return [
        with_even_sides(make_edit(edit, seed, host=host)(frame)) if plays[0] <= number / FPS < plays[1] else frame
        for number, (frame, host) in enumerate(zip(frames, hosts, strict=False))
    ], (plays[0], min(plays[1], seconds))


def _hosts(count: int, shape: tuple[int, ...]) -> list[U8]:
    """Return moving pictures that nobody knows, to play around or beside the footage."""
    size = {"width": 2 * (shape[1] // 2), "height": 2 * (shape[0] // 2)}
    return list(footage.clip(4242, count / FPS, fps=FPS, **size))


def _copy(frames: Sequence[U8], edit: str) -> tuple[list[U8], float, tuple[tuple[float, float, float, float], ...]]:
    """Return the pictures, the frame rate and the true stretches of a copy."""
    whole = len(frames) / FPS
    if edit.startswith("speed"):
        speed = float(edit.split()[1])
        count = int(len(frames) / speed)
        return (
            [frames[min(int(i * speed), len(frames) - 1)] for i in range(count)],
            FPS,
            ((0.0, whole / speed, 0.0, whole),),
        )
    if edit == "clip 5 s":
        first = max(0, min(50, len(frames) - 125))
        part = list(frames[first : first + 125])
        return part, FPS, ((0.0, len(part) / FPS, first / FPS, (first + len(part)) / FPS),)
    if edit == "reordered":
        half = len(frames) // 2
        cut = half / FPS
        parts = ((0.0, whole - cut, cut, whole), (whole - cut, whole, 0.0, cut))
        return [*frames[half:], *frames[:half]], FPS, parts
    if edit == "12 frames a second":
        return list(frames[::2]), FPS / 2, ((0.0, whole, 0.0, whole),)
    return edited(frames, edit), FPS, ((0.0, whole, 0.0, whole),)
