"""Pictures beside a report: only on request, with a reason that stays in the run's journal, and never by accident.

Every file is decoded in the locked child as in a scan; what leaves it is small, grey and, unless asked for clear,
blurred. A report that is written without them removes those of an earlier one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from videonovelty.batch import Progress, Report, sandbox_for
from videonovelty.engine import Engine, EngineFailure
from videonovelty.errors import SettingsError, VideoError
from videonovelty.intake import decode_raw, display_path, hash_content, opened, sight_open
from videonovelty.report.collect import collect
from videonovelty.report.exports import write_atomically
from videonovelty.report.html import PICTURES, Pictures, remove_pictures
from videonovelty.run import RunFolder, read_states
from videonovelty.sandbox import Sandbox
from videonovelty.settings import Settings
from videonovelty.small_pictures import SmallPictures, decode_pictures

KINDS = ("blurred", "clear")
SHEET_COLUMNS = 4
LEAST_REASON = 10
"""Characters: a reason, not a keystroke."""


@dataclass(frozen=True, slots=True)
class PictureTask:
    """What a worker is told: where a content was seen, and where its pictures go."""

    video_id: str
    paths_raw: tuple[bytes, ...]
    folder: Path


def picture_content(task: PictureTask, *, settings: Settings, kind: str) -> tuple[tuple[float, str], ...]:
    """Write the pictures of one content and return their times and names, none where it cannot be; for a worker."""
    sandbox = sandbox_for(settings, f"videonovelty.small_pictures:{kind}", decode_pictures)
    for path in task.paths_raw:
        name = display_path(path)
        try:
            with opened(path) as fd:
                _, hashes = sight_open(fd, path, settings.intake)
                if hashes is None or hashes.video_id != task.video_id:
                    continue
                made = sandbox.ask(fd, video_id=task.video_id, name=name)
        except VideoError:
            continue
        assert isinstance(made, SmallPictures)
        return tuple((seconds, _write(task, number, made)) for number, seconds in enumerate(made.pts_seconds))
    return ()


def _write(task: PictureTask, number: int, made: SmallPictures) -> str:
    encoded, png = cv2.imencode(".png", made.pictures[number])
    assert encoded
    name = f"{task.video_id}-{number}.png"
    write_atomically(task.folder / name, lambda file: file.write(png.tobytes()))
    return f"{PICTURES}/{name}"


def contact_sheet(made: SmallPictures) -> bytes:
    """Return the pictures of one video side by side, four a row, in order of time, as PNG."""
    n, height, width = made.pictures.shape
    columns = min(n, SHEET_COLUMNS)
    rows = -(-n // columns)
    sheet = np.zeros((rows * height, columns * width), np.uint8)
    for number, picture in enumerate(made.pictures):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height, left : left + width] = picture
    encoded, png = cv2.imencode(".png", sheet)
    assert encoded
    return bytes(png.tobytes())


def write_contact_sheet(video: Path, target: Path, *, settings: Settings, clear: bool) -> tuple[float, ...]:
    """Write small grey pictures of a video, blurred unless `clear`, to one PNG (0600); return their times.

    They are made in the locked child. Raises VideoError, and OSError where the file cannot be written.
    """
    raw = str(video).encode("utf-8", "surrogateescape")
    job = f"videonovelty.small_pictures:{'clear' if clear else 'blurred'}"
    with Sandbox(settings, job=job, decode=decode_pictures) as sandbox, opened(raw) as fd:
        made = sandbox.ask(fd, video_id=hash_content(fd).video_id, name=display_path(raw))
    write_atomically(target, lambda file: file.write(contact_sheet(made)))
    return tuple(made.pts_seconds)


def make_thumbnails(
    run: Path, kind: str, *, settings: Settings, engine: Engine, actor: str, reason: str, report: Report
) -> Pictures:
    """Write pictures of every row of the queue and return which there are; note in the journal who asked for them.

    The journal has the request before the first picture is made. Raises SettingsError without a reason, RunError for an
    unusable run, LockHeldError while it is scanned.
    """
    if kind not in KINDS:
        raise SettingsError(f"--thumbnails {kind}: none, {' or '.join(KINDS)}.")
    if len(reason.strip()) < LEAST_REASON:
        raise SettingsError(
            "--thumbnails: say with --reason why pictures are needed; it stays in the run's journal with your name."
        )
    rows = [e for e in collect(run).queue if e.video_id]
    store_id = str((read_states(run).run_facts or {}).get("store"))
    with RunFolder.open(run, store_id=store_id, settings=settings) as folder:
        folder.journal.append("pictures", key="run", kind=kind, actor=actor, reason=reason.strip(), rows=len(rows))
        target = run / "report" / PICTURES
        remove_pictures(run)
        target.mkdir(mode=0o700, parents=True)
        tasks = [
            PictureTask(e.video_id, tuple(decode_raw(n.path_raw) for n in e.names), target.absolute()) for e in rows
        ]
        made: dict[str, tuple[tuple[float, str], ...]] = {}
        working = functools.partial(picture_content, settings=settings, kind=kind)
        for done, (task, result) in enumerate(engine.map_unordered(working, tasks), start=1):
            if not isinstance(result, EngineFailure) and result:
                made[task.video_id] = result
            report(Progress("pictures", done, len(tasks), failed=done - len(made)))
        folder.journal.append("pictures_made", key="run", contents=len(made))
    return Pictures(kind, made)
