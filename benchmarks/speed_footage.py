"""Planted truth for `benchmarks.accuracy --speeds`: known footage, other takes, splices and insets at other speeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy_footage import COPY_SECONDS, FPS, TAKE_SECONDS, Query, Source, edited, inset, sources, written
from videonovelty.decode.writer import write_video
from videonovelty.records import U8

SPEEDS = (0.5, 0.67, 0.75, 0.8, 0.9, 0.95, 1.05, 1.1, 1.25, 1.5, 2.0)
"""Playing speeds of copies."""
EDITED_SPEED, EDITS = 1.1, ("crop_10", "caption", "mirror")
"""A speed at which copies are edited as well."""
TAKE_SPEEDS = (0.67, 0.8, 0.9, 1.1, 1.25, 1.5)
SPLICE_SPEEDS, SPLICED_SECONDS = (0.8, 1.0, 1.25), 2.0
INSET_SPEEDS, INSETS = (0.8, 1.0, 1.1, 1.5), ("inset_20", "inset_30", "inset_30_brief", "inset_40")
SHORTEST_BRIEF_SECONDS = 7.0


def played(frames: Sequence[U8], speed: float) -> list[U8]:
    """Return what is shown when `frames` play at `speed` and the rate stays: some twice, or some not at all."""
    return [frames[min(int(number * speed), len(frames) - 1)] for number in range(int(len(frames) / speed))]


def make(folder: Path, videos: Sequence[Path], *, workers: int) -> list[dict[str, Any]]:
    """Write known/ and intake/ below `folder`, and return the truth: one entry a file of the intake."""
    jobs = [(path, number) for number, path in enumerate(videos or [None])]
    return written(folder, _make_of, jobs, workers=workers)


def _make_of(folder: Path, path: Path | None, number: int) -> list[Query]:
    found: list[Query] = []
    for place, clip in enumerate(sources([path] if path is not None else [])):
        found += _write_all(folder, clip, f"{number:03d}{place:02d}")
    return found


def _write_all(folder: Path, clip: Source, name: str) -> list[Query]:
    found: list[Query] = []
    known = f"{name}.mp4"
    write_video(folder / "known" / known, clip.known, fps=FPS, crf=20)
    copied = clip.known[: int(COPY_SECONDS * FPS)]

    def write(kind: str, edit: str, frames: Sequence[U8], **truth: Any) -> None:
        query = Query(f"{name} {kind} {edit}.mp4", kind, edit, clip.name, known, **truth)
        write_video(folder / "intake" / query.name, frames, fps=FPS, crf=28, gop=50)
        found.append(query)

    for speed, edit in [*((speed, "") for speed in SPEEDS), *((EDITED_SPEED, edit) for edit in EDITS)]:
        frames = played(copied, speed)
        seconds = len(frames) / FPS
        truth = ((0.0, seconds, 0.0, seconds * speed),)
        write("copy", f"speed {speed} {edit}".strip(), edited(frames, edit) if edit else frames, truth=truth)
    for speed in TAKE_SPEEDS:
        write("take", f"speed {speed}", played(clip.other[: int(TAKE_SECONDS * FPS)], speed))
    new = clip.other[25 : 25 + int(SPLICED_SECONDS * FPS)]
    middle = len(clip.known) // 2
    for speed in SPLICE_SPEEDS if len(clip.known) >= 6.4 * FPS else ():
        before, after = played(clip.known[:middle], speed), played(clip.known[middle:], speed)
        start, end = len(before) / FPS, (len(before) + len(new)) / FPS
        parts = (
            (0.0, start, 0.0, middle / FPS),
            (end, end + len(after) / FPS, middle / FPS, len(clip.known) / FPS),
        )
        write("splice", f"speed {speed}", [*before, *new, *after], truth=parts, new=(start, end))
    for speed, edit in itertools.product(INSET_SPEEDS, INSETS):
        frames = played(copied, speed)
        if edit.endswith("brief") and len(frames) < SHORTEST_BRIEF_SECONDS * FPS:
            continue
        shown, plays = inset(frames, edit, moving=int(name[:3]) % 2 == 0)
        write("inset", f"speed {speed} {edit}", shown, new=plays)
    return found
