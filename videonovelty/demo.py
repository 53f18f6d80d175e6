"""The demo's footage: a few known videos, and an intake with everything a night brings.

All of it is generated (`videonovelty.footage`), so nothing is downloaded and the same bytes come out each time. What
each file is, and which verdicts are right for it, is returned and written beside it.
"""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from videonovelty import footage
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8

FPS = 25.0
_WIDTH, _HEIGHT = 320, 180
_ROOM = 3
"""The room of the fixed camera."""


@dataclass(frozen=True, slots=True)
class DemoFile:
    """One file of the demo's intake."""

    path: Path
    what: str
    """What it is, in a few words."""
    verdicts: tuple[str, ...]
    """The verdicts that are right for it, the best first. `known` is among them only if nothing in it is new."""
    known: tuple[str, ...] = ()
    """Names of the originals it shows, or was filmed in the room of."""
    novel: tuple[tuple[float, float], ...] = ()
    """Stretches no original has, seconds, `[start, end)`."""
    group: str = ""
    """Files of one group show the same new footage."""


@dataclass(frozen=True, slots=True)
class DemoFootage:
    """What was written."""

    originals: tuple[Path, ...]
    """The videos to enrol."""
    intake: tuple[DemoFile, ...]


def make_demo_footage(folder: Path, *, progress: Callable[[str], None]) -> DemoFootage:
    """Write `folder`/originals, `folder`/intake and `folder`/answers.csv, and return what each file is.

    About half a minute of one processor. `progress` is told each file's name as it begins. Files of the same names are
    replaced; others in `folder` are left alone. Raises OSError when `folder` cannot be written.
    """
    originals = _make_originals(folder / "originals", progress)
    by_name = {path.stem: path for path in originals}
    intake = folder / "intake"
    files = [
        *_copies(by_name, intake, progress),
        *_mixtures(by_name, intake, progress),
        *_new_footage(intake, progress),
        *_broken(by_name, intake, progress),
    ]
    made = DemoFootage(originals=originals, intake=tuple(files))
    _write_answers(folder / "answers.csv", made, intake)
    return made


_ORIGINALS = {
    "garden": (101, 14.0),
    "harbour": (102, 13.0),
    "market": (103, 12.0),
    "station": (104, 15.0),
    "hill": (105, 12.0),
}
"""Name of each original → (content seed, seconds); the sixth, `room`, is a fixed camera's."""


def _make_originals(folder: Path, progress: Callable[[str], None]) -> tuple[Path, ...]:
    """Write the known videos."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (seed, seconds) in _ORIGINALS.items():
        progress(f"originals/{name}.mp4")
        paths.append(folder / f"{name}.mp4")
        _write(paths[-1], _clip(seed, seconds), crf=20)
    progress("originals/room.mp4")
    paths.append(folder / "room.mp4")
    _write(paths[-1], footage.fixed_camera(_ROOM, 0, 12.0, width=_WIDTH, height=_HEIGHT, fps=FPS), crf=20)
    return tuple(paths)


def _copies(originals: dict[str, Path], intake: Path, progress: Callable[[str], None]) -> Iterator[DemoFile]:
    """Write known footage and nothing else, in the ways it comes back."""
    path = _begin(intake / "phone" / "IMG_0412.MOV", progress)
    shutil.copyfile(originals["garden"], path)
    yield DemoFile(path, "the same bytes under another name", ("known",), ("garden",))

    path = _begin(intake / "phone" / "VID-20240101-WA0007.avi", progress)
    _write(path, _read(originals["garden"]), codec="mpeg4", crf=29)
    yield DemoFile(path, "re-encoded: MPEG-4 in AVI", ("known",), ("garden",))

    path = _begin(intake / "phone" / "small.webm", progress)
    _write(path, _resized(_read(originals["harbour"]), 240, 136), codec="libvpx", crf=38)
    yield DemoFile(path, "smaller and re-encoded: VP8 in WebM", ("known",), ("harbour",))

    path = _begin(intake / "phone" / "market (1).mkv", progress)
    _write(path, _read(originals["market"]), codec="libx265", crf=34)
    yield DemoFile(path, "re-encoded hard: HEVC in Matroska", ("known",), ("market",))

    path = _begin(intake / "download" / "mirror.mp4", progress)
    _write(path, (np.ascontiguousarray(p[:, ::-1]) for p in _read(originals["station"])), crf=26)
    yield DemoFile(path, "mirrored", ("known",), ("station",))

    path = _begin(intake / "download" / "widescreen.mp4", progress)
    _write(path, (np.pad(p, ((30, 30), (0, 0), (0, 0))) for p in _read(originals["hill"])), crf=26)
    yield DemoFile(path, "between black bars", ("known",), ("hill",))

    path = _begin(intake / "download" / "funny caption.mp4", progress)
    _write(path, (_captioned(p) for p in _read(originals["market"])), crf=26)
    yield DemoFile(path, "cropped, with a caption", ("known", "partly_known", "same_scene"), ("market",))

    path = _begin(intake / "download" / "clip.mp4", progress)
    _write(path, _read(originals["station"], 4.0, 11.0), crf=28)
    yield DemoFile(path, "seven seconds from the middle", ("known",), ("station",))


def _mixtures(originals: dict[str, Path], intake: Path, progress: Callable[[str], None]) -> Iterator[DemoFile]:
    """Write known footage with new seconds in it: nothing here may be cleared."""
    path = _begin(intake / "chat" / "best of.mp4", progress)
    parts = (_read(originals["garden"], 2.0, 8.0), _clip(201, 10.0), _read(originals["hill"], 3.0, 9.0))
    _write(path, itertools.chain(*parts), crf=25)
    yield DemoFile(
        path, "two known clips with ten new seconds between", ("partly_known",), ("garden", "hill"), ((6.0, 16.0),)
    )

    path = _begin(intake / "chat" / "harbour_final.mp4", progress)
    parts = (_read(originals["harbour"], 0.0, 6.0), _clip(202, 3.0), _read(originals["harbour"], 9.0, 13.0))
    _write(path, itertools.chain(*parts), crf=25)
    yield DemoFile(path, "known, but three seconds replaced", ("partly_known",), ("harbour",), ((6.0, 9.0),))


def _new_footage(intake: Path, progress: Callable[[str], None]) -> Iterator[DemoFile]:
    """Write footage no known video has."""
    for number, (seed, seconds) in enumerate(((211, 12.0), (212, 9.0), (213, 14.0)), start=1):
        path = _begin(intake / "seizure 17" / f"DSC_{number:04}.mp4", progress)
        _write(path, _clip(seed, seconds), crf=24)
        yield DemoFile(path, "new", ("novel",), novel=((0.0, seconds),))

    path = _begin(intake / "seizure 17" / "DSC_0004.mp4", progress)
    _write(path, footage.fixed_camera(_ROOM, 1, 12.0, width=_WIDTH, height=_HEIGHT, fps=FPS), crf=22)
    yield DemoFile(path, "new: another take in a known room", ("same_scene", "novel"), ("room",), ((0.0, 12.0),))

    pictures = list(_clip(221, 10.0))
    encodings: tuple[tuple[str, Iterable[U8], str, int], ...] = (
        ("sent.mp4", pictures, "libx264", 22),
        ("sent again.avi", pictures, "mpeg4", 26),
        ("sent smaller.webm", _resized(pictures, 256, 144), "libvpx", 36),
    )
    for name, frames, codec, crf in encodings:
        path = _begin(intake / "chat" / name, progress)
        _write(path, frames, codec=codec, crf=crf)
        yield DemoFile(path, "new, sent in three encodings", ("novel",), novel=((0.0, 10.0),), group="sent")


def _broken(originals: dict[str, Path], intake: Path, progress: Callable[[str], None]) -> Iterator[DemoFile]:
    """Write what cannot be compared, or only in part."""
    path = _begin(intake / "broken" / "broken off.mkv", progress)
    whole = path.with_name(".whole.mkv")
    _write(whole, _read(originals["station"]), crf=26)
    content = whole.read_bytes()
    whole.unlink()
    path.write_bytes(content[: len(content) * 6 // 10])
    yield DemoFile(path, "known, but the transfer broke off", ("not_comparable", "partly_known"), ("station",))

    path = _begin(intake / "broken" / "holiday.mp4", progress)
    path.write_text("This text is not a video, whatever its name says.\n" * 40, encoding="utf-8")
    yield DemoFile(path, "text with a video's name", ("not_comparable",))

    path = _begin(intake / "broken" / "empty.mp4", progress)
    path.write_bytes(b"")
    yield DemoFile(path, "an empty file", ("not_comparable",))

    path = _begin(intake / "broken" / "lens cap.mp4", progress)
    _write(path, footage.flat(2, 6.0, width=_WIDTH, height=_HEIGHT, fps=FPS))
    yield DemoFile(path, "black throughout", ("not_comparable",))


def _begin(path: Path, progress: Callable[[str], None]) -> Path:
    """Announce a file and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    progress(f"intake/{path.parent.name}/{path.name}")
    return path


def _write(path: Path, frames: Iterable[U8], *, codec: str = "libx264", crf: int = 23) -> None:
    # a key frame every two seconds at the latest, as cameras and sharing sites write
    write_video(path, frames, fps=FPS, codec=codec, crf=crf, gop=50)


def _clip(seed: int, seconds: float) -> Iterator[U8]:
    return footage.clip(seed, seconds, width=_WIDTH, height=_HEIGHT, fps=FPS)


def _read(path: Path, start_seconds: float = 0.0, end_seconds: float | None = None) -> Iterator[U8]:
    """Yield the pictures of an original, so that copies are copies of the file and not of what it was made from."""
    # half a frame early: times in a container are rounded
    half = 0.5 / FPS
    end = None if end_seconds is None else end_seconds - half
    for _, picture in read_rgb(path, start_seconds=max(0.0, start_seconds - half), end_seconds=end):
        yield picture


def _resized(frames: Iterable[U8], width: int, height: int) -> Iterator[U8]:
    for picture in frames:
        yield np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _captioned(picture: U8) -> U8:
    """Return `picture` without a tenth at each side, enlarged again, with white lettering on top."""
    height, width = picture.shape[:2]
    inner = picture[height // 10 : height - height // 10, width // 10 : width - width // 10]
    large = np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(large, "WAIT FOR IT", (58, 32), cv2.FONT_HERSHEY_DUPLEX, 1.0, colour, thickness, cv2.LINE_AA)
    return large


def _write_answers(path: Path, made: DemoFootage, intake: Path) -> None:
    """Write the right answers as a table, one row a file of the intake."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "what", "right_verdicts", "originals", "novel_seconds", "group"])
        for file in made.intake:
            novel = " ".join(f"{start:g}-{end:g}" for start, end in file.novel)
            name = file.path.relative_to(intake).as_posix()
            table.writerow([name, file.what, " ".join(file.verdicts), " ".join(file.known), novel, file.group])
