"""The footage a validation is made on: generated, so that what is right for every file is known beforehand.

Known videos, an intake with copies of every edit, new videos, other takes of known scenes, known footage with new
seconds in it, hostile files and what is no video at all. Equal libraries give equal bytes.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty import footage
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8
from videonovelty.tuning.edits import make_edit

F32 = npt.NDArray[np.float32]

FPS = 25.0
WIDTH, HEIGHT = 320, 180
CANARY = "never-to-be-read-by-a-video-player"
"""What a file beside the hostile playlists holds."""

ORIGINALS = {"alpha": (501, 10.0), "bravo": (502, 10.0), "charlie": (503, 10.0)}
"""Name of each known video → (content seed, seconds)."""
ROOMS = {"room-1": 6, "room-2": 9}
"""Name of each known take of a fixed camera → number of the room."""
ROUTINES = {"routine-1": 5}
"""Name of each known take of a rehearsed routine → its number."""
ROOM_SECONDS = 10.0

CLEARED_EDITS = (
    "reencode", "reencode_hard", "resize_240", "brighten", "darken", "contrast", "grey", "caption", "mirror",
    "letterbox", "pillarbox",
)  # fmt: skip
"""Edits that leave the whole picture in view: a copy must leave the queue."""
NAMED_EDITS = (
    "crop_10", "crop_30", "meme", "blurred_fill", "rotate_5", "pip_50", "split_screen", "screen_recording", "logo",
)  # fmt: skip
"""Edits that show a part of the picture, show it inside something else, or lay an emblem over it, which may be
something new for all that can be told: the source must at least be named."""
CODECS = {
    "MPEG-4 in AVI": (".avi", "mpeg4", 29),
    "HEVC in Matroska": (".mkv", "libx265", 34),
    "VP8 in WebM": (".webm", "libvpx", 36),
}

COPY, NAMED, NEW, TAKE, SPLICE, BROKEN, HOSTILE, ODD = (
    *("copy", "named copy", "new", "other take", "new seconds in known footage", "damaged or empty"),
    *("hostile", "no regular file"),
)


@dataclass(frozen=True, slots=True)
class Made:
    """One entry of the intake, and what is true of it."""

    name: str
    """Path below the intake; `os.fsdecode` of its bytes."""
    kind: str
    what: str
    """How it was made, in a few words."""
    source: str = ""
    """Name of the known video it shows, or was filmed in the room of."""
    new: tuple[tuple[float, float], ...] = ()
    """Stretches that no known video has; seconds, `[start, end)`."""


@dataclass(frozen=True, slots=True)
class Material:
    """What was written."""

    folder: Path
    known: tuple[Path, ...]
    intake: tuple[Made, ...] = field(default=())

    @property
    def intake_folder(self) -> Path:
        """Folder of the whole intake."""
        return self.folder / "intake"

    @property
    def small_folder(self) -> Path:
        """Folder of a small intake, of copies of some files of the whole one, for what has to be repeated."""
        return self.folder / "small"

    def of(self, *kinds: str) -> list[Made]:
        """Return the entries of these kinds, in the order they were made."""
        return [made for made in self.intake if made.kind in kinds]


Job = tuple[Made, Callable[[Path], None]]


def make_material(folder: Path, *, port: int, workers: int, progress: Callable[[int, int], None]) -> Material:
    """Write `folder`/known, `folder`/intake and `folder`/small and return what every file is.

    Hostile playlists name `port` of this machine's loopback. `progress` is told files done and files in all. `folder`
    must be empty or missing. About a minute of one processor; `workers` processes share it.
    """
    for name in ("known", "intake", "small"):
        (folder / name).mkdir(mode=0o700, parents=True)
    known = [
        *((folder / "known" / f"{name}.mp4", partial(_known_clip, *seed)) for name, seed in ORIGINALS.items()),
        *((folder / "known" / f"{name}.mp4", partial(_known_take, room)) for name, room in ROOMS.items()),
        *((folder / "known" / f"{name}.mp4", partial(_routine, number, 0)) for name, number in ROUTINES.items()),
    ]
    jobs = list(_jobs(folder))
    total = len(known) + len(jobs)
    done = 0
    with ProcessPoolExecutor(max(1, workers), mp_context=get_context("spawn")) as pool:
        for wave in (known, [(folder / "intake" / made.name, make) for made, make in jobs]):
            for _ in pool.map(_make, [path for path, _ in wave], [make for _, make in wave]):
                done += 1
                progress(done, total)
    odd = list(_odd(folder, port))
    material = Material(folder, tuple(path for path, _ in known), (*(made for made, _ in jobs), *odd))
    for made in (*material.of(COPY)[:4], *material.of(NEW)[:2], *material.of(SPLICE)[:1]):
        shutil.copy2(material.intake_folder / made.name, material.small_folder / Path(made.name).name)
    return material


def read_pictures(path: Path, start_seconds: float = 0.0, end_seconds: float | None = None) -> Iterator[U8]:
    """Yield pictures of `path` in `[start, end)`: RGB, shape (height, width, 3), uint8."""
    half = 0.5 / FPS  # times in a container are rounded
    end = None if end_seconds is None else end_seconds - half
    for _, picture in read_rgb(path, start_seconds=max(0.0, start_seconds - half), end_seconds=end):
        yield picture


def write_still(path: Path, picture: U8, seconds: float = 2.0) -> None:
    """Write a video of one picture, RGB with even sides, at a high quality."""
    write_video(path, itertools.repeat(picture, round(seconds * 5)), fps=5.0, crf=8)


# ---- what is made, and how: functions of a path, to be run in any process --------------------------------------------


def _make(path: Path, make: Callable[[Path], None]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    make(path)


def _jobs(folder: Path) -> Iterator[Job]:
    """Yield every video of the intake with the function that writes it."""
    names = list(ORIGINALS)
    sources = {name: folder / "known" / f"{name}.mp4" for name in (*ORIGINALS, *ROOMS)}
    yield Made("copies/same bytes.mov", COPY, "same bytes", "alpha"), partial(_same_bytes, sources["alpha"])
    for number, (what, (suffix, codec, crf)) in enumerate(CODECS.items()):
        name = names[number % len(names)]
        yield Made(f"copies/codec {number}{suffix}", COPY, what, name), partial(_recoded, sources[name], codec, crf)
    yield Made("copies/excerpt.mp4", COPY, "excerpt of 6 s", "bravo"), partial(_excerpt, sources["bravo"])
    yield Made("copies/backwards.mp4", COPY, "played backwards", "charlie"), partial(_backwards, sources["charlie"])
    for kind, edits in ((COPY, CLEARED_EDITS), (NAMED, NAMED_EDITS)):
        for number, edit in enumerate(edits):
            name = names[number % len(names)]
            yield Made(f"copies/{edit}.mp4", kind, edit, name), partial(_edited, sources[name], edit, number)
    for number, (edit, seconds) in enumerate((("", 8.0), ("", 7.0), ("", 9.0), ("mirror", 7.0), ("logo", 7.0))):
        what = edit or "as filmed"
        yield (
            Made(f"new/clip {number}.mp4", NEW, what, new=((0.0, seconds),)),
            partial(_new_clip, 600 + number, seconds, edit),
        )
    for name, room in ROOMS.items():
        for take in (1, 2):
            yield (
                Made(f"new/{name} take {take}.mp4", TAKE, f"take {take}", name, ((0.0, ROOM_SECONDS),)),
                partial(_new_take, room, take),
            )
    for name, routine in ROUTINES.items():
        for take in (1, 2):
            what = f"the same danced again, take {take}"
            yield (
                Made(f"new/{name} take {take}.mp4", TAKE, what, name, ((0.0, ROOM_SECONDS),)),
                partial(_routine, routine, take),
            )
    yield (
        Made("mixed/put in.mp4", SPLICE, "3 new seconds put in", "alpha", ((4.0, 7.0),)),
        partial(_spliced, sources["alpha"], 4.0, 4.0, 701),
    )
    yield (
        Made("mixed/in place.mp4", SPLICE, "3 seconds replaced", "bravo", ((5.0, 8.0),)),
        partial(_spliced, sources["bravo"], 5.0, 8.0, 702),
    )
    yield (
        Made("mixed/at the end.mp4", SPLICE, "3 new seconds at the end", "charlie", ((10.0, 13.0),)),
        partial(_spliced, sources["charlie"], 10.0, 10.0, 703),
    )
    yield (
        Made("mixed/flash.mp4", SPLICE, "a fifth of a second replaced", "bravo", ((5.0, 5.2),)),
        partial(_spliced, sources["bravo"], 5.0, 5.2, 704, seconds=0.2),
    )
    yield (
        Made("mixed/in the dark.mp4", SPLICE, "3 new seconds at the end, nearly dark", "bravo", ((10.0, 13.0),)),
        partial(_spliced, sources["bravo"], 10.0, 10.0, 706, light=0.12),
    )
    yield (
        Made("mixed/around it.mp4", SPLICE, "a new video around it", "charlie", ((0.0, ORIGINALS["charlie"][1]),)),
        partial(_surrounded, sources["charlie"], 705),
    )
    yield (
        Made("mixed/blurred around it.mp4", SPLICE, "a new video, blurred", "bravo", ((0.0, ORIGINALS["bravo"][1]),)),
        partial(_filled, sources["bravo"], 713),
    )
    yield (
        Made("mixed/behind it.mp4", SPLICE, "another video behind the end of the file", "alpha", ((10.0, 11.0),)),
        partial(_followed, sources["alpha"], 707),
    )
    yield (
        Made("mixed/shows through.mov", SPLICE, "a new video is its transparency", "bravo", ((0.0, 4.0),)),
        partial(_transparent, sources["bravo"], 709),
    )
    yield (
        Made("mixed/drawn over.mp4", SPLICE, "the shapes with other details", "bravo", ((0.0, ORIGINALS["bravo"][1]),)),
        partial(_drawn_over, sources["bravo"], 712),
    )
    yield (
        Made("mixed/backwards.mp4", SPLICE, "3 new seconds put in, played backwards", "alpha", ((5.0, 8.0),)),
        partial(_spliced, sources["alpha"], 5.0, 5.0, 708, backwards=True),
    )
    yield (
        Made("mixed/same room.mp4", SPLICE, "3 seconds of another take in place", "room-1", ((4.0, 7.0),)),
        partial(_spliced_take, sources["room-1"], ROOMS["room-1"]),
    )
    yield Made("damaged/broken off.mkv", BROKEN, "known, cut off", "bravo"), partial(_broken_off, sources["bravo"])
    yield Made("damaged/black.mp4", BROKEN, "black throughout"), _black


def _known_clip(seed: int, seconds: float, path: Path) -> None:
    _write(path, footage.clip(seed, seconds, width=WIDTH, height=HEIGHT, fps=FPS), crf=20)


def _known_take(room: int, path: Path) -> None:
    _write(path, _take(room, 0), crf=20)


def _take(room: int, take: int, *, start: float = 0.0, seconds: float = ROOM_SECONDS) -> Iterator[U8]:
    return footage.fixed_camera(room, take, seconds, width=WIDTH, height=HEIGHT, fps=FPS, start_seconds=start)


def _routine(routine: int, take: int, path: Path) -> None:
    _write(path, footage.rehearsed(routine, take, ROOM_SECONDS, width=WIDTH, height=HEIGHT, fps=FPS), crf=22)


def _same_bytes(source: Path, path: Path) -> None:
    shutil.copyfile(source, path)


def _recoded(source: Path, codec: str, crf: int, path: Path) -> None:
    _write(path, read_pictures(source), codec=codec, crf=crf)


def _excerpt(source: Path, path: Path) -> None:
    _write(path, read_pictures(source, 2.0, 8.0), crf=28)


def _backwards(source: Path, path: Path) -> None:
    _write(path, reversed(list(read_pictures(source))), crf=26)


def _edited(source: Path, edit: str, seed: int, path: Path) -> None:
    change = make_edit(edit, seed)
    _write(path, (_even(change(picture)) for picture in read_pictures(source)), crf=26)


def _new_clip(seed: int, seconds: float, edit: str, path: Path) -> None:
    pictures = footage.clip(seed, seconds, width=WIDTH, height=HEIGHT, fps=FPS)
    if edit:
        change = make_edit(edit, seed)
        pictures = (_even(change(picture)) for picture in pictures)
    _write(path, pictures, crf=24)


def _new_take(room: int, take: int, path: Path) -> None:
    _write(path, _take(room, take), crf=22)


def _spliced(
    source: Path,
    until: float,
    goes_on: float,
    seed: int,
    path: Path,
    *,
    seconds: float = 3.0,
    light: float = 1.0,
    backwards: bool = False,
) -> None:
    clip = footage.clip(seed, seconds, width=WIDTH, height=HEIGHT, fps=FPS)
    new = (np.asarray(picture * light, np.uint8) for picture in clip)
    rest = read_pictures(source, goes_on) if goes_on < ORIGINALS[source.stem][1] else iter(())
    pictures = itertools.chain(read_pictures(source, 0.0, until), new, rest)
    _write(path, reversed(list(pictures)) if backwards else pictures, crf=25)


def _surrounded(source: Path, seed: int, path: Path) -> None:
    new = footage.clip(seed, ORIGINALS[source.stem][1], width=WIDTH, height=HEIGHT, fps=FPS)
    width, height = int(0.7 * WIDTH), int(0.7 * HEIGHT)
    left, top = (WIDTH - width) // 2, (HEIGHT - height) // 2

    def pictures() -> Iterator[U8]:
        for around, picture in zip(new, read_pictures(source), strict=False):
            small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            around[top : top + height, left : left + width] = small
            yield around

    _write(path, pictures(), crf=25)


def _filled(source: Path, seed: int, path: Path) -> None:
    """Write an upright video that shows the known clip, above and below it a new one as if it were its blurred copy."""
    new = footage.clip(seed, ORIGINALS[source.stem][1], width=WIDTH, height=HEIGHT, fps=FPS)
    fill = make_edit("blurred_fill", seed)

    def pictures() -> Iterator[U8]:
        for other, picture in zip(new, read_pictures(source), strict=False):
            shown = fill(other)
            width, height = shown.shape[1], round(shown.shape[1] * HEIGHT / WIDTH)
            top = (shown.shape[0] - height) // 2
            shown[top : top + height] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            yield shown

    _write(path, pictures(), crf=25)


def _drawn_over(source: Path, seed: int, path: Path) -> None:
    """Write the known shapes in light and shadow with the details of a new video, as what is generated over it has."""
    new = footage.clip(seed, ORIGINALS[source.stem][1], width=WIDTH, height=HEIGHT, fps=FPS)

    def shapes(picture: U8) -> F32:
        return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.012 * WIDTH), np.float32)

    pictures = (shapes(known) + other - shapes(other) for known, other in zip(read_pictures(source), new, strict=False))
    _write(path, (np.clip(picture, 0, 255).astype(np.uint8) for picture in pictures), crf=23)


def _followed(source: Path, seed: int, path: Path) -> None:
    _new_clip(seed, 8.0, "", path)
    path.write_bytes(source.read_bytes() + path.read_bytes())


def _transparent(source: Path, seed: int, path: Path) -> None:
    new = footage.clip(seed, 4.0, width=WIDTH, height=HEIGHT, fps=FPS)
    pictures = (np.dstack([p, n.max(axis=2)]) for p, n in zip(read_pictures(source, 0.0, 4.0), new, strict=True))
    write_video(path, pictures, fps=FPS, codec="png", pixel_format="rgba")


def _spliced_take(source: Path, room: int, path: Path) -> None:
    other = _take(room, 1, start=4.0, seconds=3.0)
    _write(path, itertools.chain(read_pictures(source, 0.0, 4.0), other, read_pictures(source, 7.0)), crf=23)


def _broken_off(source: Path, path: Path) -> None:
    _write(path, read_pictures(source), crf=26)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


def _black(path: Path) -> None:
    _write(path, footage.flat(2, 5.0, width=WIDTH, height=HEIGHT, fps=FPS))


def _write(path: Path, pictures: Iterable[U8], *, codec: str = "libx264", crf: int = 23) -> None:
    write_video(path, pictures, fps=FPS, codec=codec, crf=crf, gop=50)


def _even(picture: U8) -> U8:
    """Cut a row or column off where the size is odd: 4:2:0 pictures have even sides."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height // 2 * 2, : width // 2 * 2])


def _odd(folder: Path, port: int) -> Iterator[Made]:
    """Write what is no video: empty files, text, playlists that ask for other files, links, a pipe, odd names."""
    intake = folder / "intake"
    for name in ("hostile", "odd"):
        (intake / name).mkdir(mode=0o700)
    secret = folder / "secret.txt"
    secret.write_text(f"{CANARY}\n" * 40, encoding="utf-8")
    web = f"http://127.0.0.1:{port}/leak"
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    texts = {
        "playlist to the web.mp4": playlist.format(f"{web}.ts"),
        "playlist to a file.m3u8": playlist.format(f"file://{secret}"),
        "concat.ffconcat": f"ffconcat version 1.0\nfile {secret}\n",
        "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        f'<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{web}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>\n",
        "text.mp4": "This is not a video.\n" * 40,
    }
    for name, text in texts.items():
        (intake / "hostile" / name).write_text(text, encoding="utf-8")
        yield Made(f"hostile/{name}", HOSTILE, "asks for something else" if name != "text.mp4" else "text")
    whole = (folder / "known" / "alpha.mp4").read_bytes()
    damage = np.random.default_rng(7)
    for number in range(3):
        content = bytearray(whole)
        for at in damage.integers(32, len(content), 400):
            content[at] = int(damage.integers(0, 256))
        (intake / "hostile" / f"damaged {number}.mp4").write_bytes(content)
        yield Made(f"hostile/damaged {number}.mp4", HOSTILE, "400 bytes of a known video replaced", "alpha")
    (intake / "odd" / "empty.mp4").write_bytes(b"")
    yield Made("odd/empty.mp4", BROKEN, "empty")
    yield from _odd_names(intake / "odd", (folder / "intake" / "new" / "clip 0.mp4"))


def _odd_names(folder: Path, video: Path) -> Iterator[Made]:
    new = ((0.0, 8.0),)
    for name, what in (
        (".hidden", "hidden file"),
        ("<img src=x>\n.mp4", "name with markup and a line break"),
        (os.fsdecode(b"not utf-8 \xff\xfe.mp4"), "name that is not UTF-8"),
    ):
        shutil.copyfile(video, folder / name)
        yield Made(f"odd/{name}", NEW, what, new=new)
    (folder / "link.mp4").symlink_to(video)
    yield Made("odd/link.mp4", ODD, "link to a file")
    (folder / "dangling.mp4").symlink_to(folder / "nothing")
    yield Made("odd/dangling.mp4", ODD, "link to nothing")
    os.mkfifo(folder / "pipe.mp4", 0o600)
    yield Made("odd/pipe.mp4", ODD, "pipe nobody writes to")
