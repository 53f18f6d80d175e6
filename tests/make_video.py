"""Small videos for tests, each planted with what a test should find.

Every function writes one file and returns its path. Pictures come from `videonovelty.footage`, so a seed is a content:
the same seed is the same footage, two seeds are unrelated.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from videonovelty import footage
from videonovelty.decode.writer import write_video

U8 = npt.NDArray[np.uint8]

WIDTH, HEIGHT, FPS = 160, 96, 12.5
"""Tests are many, so pictures are small; a tenth of a second still holds a frame."""
FULL_RATE = 25.0
"""Frames a second where movement at other speeds, or the other way round, is looked at."""


def frames(
    seed: int,
    seconds: float,
    *,
    start: float = 0.0,
    width: int = WIDTH,
    height: int = HEIGHT,
    fps: float = FPS,
    shots: int | None = None,
) -> Iterator[U8]:
    """Yield `seconds` of content `seed` from its second `start` on."""
    whole = footage.clip(seed, start + seconds, width=width, height=height, fps=fps, shots=shots)
    return itertools.islice(whole, round(start * fps), None)


def content(seed: int, seconds: float, *, start: float = 0.0) -> list[U8]:
    """Return `seconds` of content `seed` at `FULL_RATE`."""
    return list(frames(seed, seconds, start=start, fps=FULL_RATE))


def take(room: int, number: int, seconds: float) -> list[U8]:
    """Return `seconds` of a take of a fixed camera at `FULL_RATE`."""
    return list(footage.fixed_camera(room, number, seconds, width=WIDTH, height=HEIGHT, fps=FULL_RATE))


def make_clip(
    path: Path,
    seed: int,
    seconds: float = 6.0,
    *,
    start: float = 0.0,
    width: int = WIDTH,
    height: int = HEIGHT,
    fps: float = FPS,
    shots: int | None = None,
    **encoding: Any,
) -> Path:
    """Write `seconds` of content `seed`; `encoding` goes to `write_video` (codec, crf, gop, rotation, …)."""
    write_video(
        path, frames(seed, seconds, start=start, width=width, height=height, fps=fps, shots=shots), fps=fps, **encoding
    )
    return path


def concatenate(
    path: Path,
    parts: Sequence[tuple[int, float, float]],
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    fps: float = FPS,
    **encoding: Any,
) -> Path:
    """Write stretches one after the other, each (seed, start second, end second) of that content."""
    stretches = (
        frames(seed, end - start, start=start, width=width, height=height, fps=fps) for seed, start, end in parts
    )
    write_video(path, itertools.chain.from_iterable(stretches), fps=fps, **encoding)
    return path


def splice(
    path: Path,
    base_seed: int,
    seconds: float,
    *,
    insert_at: float,
    insert_seconds: float,
    insert_seed: int,
    **options: Any,
) -> Path:
    """Write content `base_seed` with `insert_seconds` of another content pushed in at `insert_at`.

    The file lasts `seconds + insert_seconds`; after the insertion the base goes on where it stopped.
    """
    parts = [
        (base_seed, 0.0, insert_at),
        (insert_seed, 0.0, insert_seconds),
        (base_seed, insert_at, seconds),
    ]
    return concatenate(path, parts, **options)


def replace_stretch(
    path: Path, base_seed: int, seconds: float, *, at: float, replaced_seconds: float, new_seed: int, **options: Any
) -> Path:
    """Write content `base_seed` with `replaced_seconds` from `at` on overwritten by another content."""
    parts = [
        (base_seed, 0.0, at),
        (new_seed, 0.0, replaced_seconds),
        (base_seed, at + replaced_seconds, seconds),
    ]
    return concatenate(path, parts, **options)


def other_take(
    path: Path,
    room: int,
    take: int,
    seconds: float = 6.0,
    *,
    start: float = 0.0,
    width: int = WIDTH,
    height: int = HEIGHT,
    fps: float = FPS,
    **encoding: Any,
) -> Path:
    """Write a fixed camera's view of `room` with the actors of `take`.

    Two takes are the same scene, and not the same footage.
    """
    view = footage.fixed_camera(room, take, seconds, width=width, height=height, fps=fps, start_seconds=start)
    write_video(path, view, fps=fps, **encoding)
    return path


def still(path: Path, seed: int, seconds: float = 6.0, **encoding: Any) -> Path:
    """Write one picture held throughout."""
    write_video(path, footage.static(seed, seconds, width=WIDTH, height=HEIGHT, fps=FPS), fps=FPS, **encoding)
    return path


def blank(path: Path, seconds: float = 6.0, *, level: int = 0, **encoding: Any) -> Path:
    """Write pictures of one grey level."""
    write_video(path, footage.flat(level, seconds, width=WIDTH, height=HEIGHT, fps=FPS), fps=FPS, **encoding)
    return path


def edited(path: Path, pictures: Iterable[U8], *, fps: float = FPS, **encoding: Any) -> Path:
    """Write any pictures."""
    write_video(path, pictures, fps=fps, **encoding)
    return path


def mirrored(pictures: Iterable[U8]) -> Iterator[U8]:
    """Yield the pictures as in a mirror."""
    return (np.ascontiguousarray(picture[:, ::-1]) for picture in pictures)


def resized(pictures: Iterable[U8], width: int, height: int) -> Iterator[U8]:
    """Yield the pictures scaled to `width` × `height`."""
    return (np.asarray(cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA), np.uint8) for p in pictures)


def letterboxed(pictures: Iterable[U8], bar: int) -> Iterator[U8]:
    """Yield the pictures between two black bars of `bar` rows."""
    return (np.pad(picture, ((bar, bar), (0, 0), (0, 0))) for picture in pictures)


def variable_rate(path: Path, seed: int, seconds: float = 6.0, *, jitter_seed: int = 0, **encoding: Any) -> Path:
    """Write content `seed` with uneven frame times: each frame shows what the content shows at that time.

    `path` should be a container that stores such times (mkv, mp4, webm).
    """
    fine = 50.0
    pictures = list(frames(seed, seconds, fps=fine))
    rng = np.random.default_rng(jitter_seed)
    steps = rng.choice([2, 3, 4, 8], size=len(pictures))
    chosen = [0, *np.cumsum(steps)[np.cumsum(steps) < len(pictures)].tolist()]
    write_video(path, (pictures[i] for i in chosen), fps=FPS, pts_seconds=[i / fine for i in chosen], **encoding)
    return path


def rotated(path: Path, seed: int, seconds: float = 6.0, *, degrees: int = 90, **encoding: Any) -> Path:
    """Write content `seed` stored turned, with the rotation a player undoes; needs mp4 or mov."""
    return make_clip(path, seed, seconds, rotation=degrees, **encoding)


def ten_bit(path: Path, seed: int, seconds: float = 6.0, **encoding: Any) -> Path:
    """Write content `seed` with 10 bits a sample (HEVC)."""
    return make_clip(path, seed, seconds, **{"codec": "libx265", "pixel_format": "yuv420p10le", **encoding})


def interlaced(path: Path, seed: int, seconds: float = 6.0, **encoding: Any) -> Path:
    """Write content `seed` woven of fields: even rows of one moment, odd rows of the next."""
    moments = frames(seed, seconds, fps=2 * FPS)

    def woven() -> Iterator[U8]:
        for top in moments:
            bottom = next(moments, top)
            both = top.copy()
            both[1::2] = bottom[1::2]
            yield both

    write_video(path, woven(), fps=FPS, interlaced=True, **encoding)
    return path


def no_video(path: Path, seconds: float = 2.0) -> Path:
    """Write sound alone."""
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream("pcm_s16le" if path.suffix in (".wav", ".mkv") else "aac", rate=16_000)
        stream.layout = "mono"
        _mux_tone(output, stream, seconds)
    return path


def with_sound(path: Path, seed: int, seconds: float = 4.0) -> Path:
    """Write content `seed` and a tone."""
    return _several_streams(path, [(seed, seconds)], tone_seconds=seconds)


def two_video_streams(path: Path, seeds: tuple[int, int], seconds: float = 4.0) -> Path:
    """Write two contents as two video streams of one file; players show the first."""
    return _several_streams(path, [(seed, seconds) for seed in seeds])


def attached_picture(path: Path, seed: int, seconds: float | None = 4.0) -> Path:
    """Write sound, a cover picture and, unless `seconds` is None, content `seed`; needs mkv."""
    picture = next(footage.static(seed + 1000, 1.0, width=WIDTH, height=HEIGHT))
    encoded = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
    return _several_streams(path, [(seed, seconds)] if seconds else [], tone_seconds=seconds or 2.0, cover=encoded)


def size_change(path: Path, seed: int, seconds: float = 6.0) -> Path:
    """Write content `seed` whose picture size changes half-way, without a word in the container; needs .h264 or .ts.

    Two streams, each self-contained, one after the other: what a recorder leaves when its camera switches mode.
    """
    half = seconds / 2
    first, second = path.with_name(f"{path.name}.a.h264"), path.with_name(f"{path.name}.b.h264")
    make_clip(first, seed, half)
    make_clip(second, seed, half, start=half, width=WIDTH * 2, height=HEIGHT * 2)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    first.unlink()
    second.unlink()
    return path


def damaged(path: Path, how: str, *, seed: int = 1, seconds: float = 6.0, source: Path | None = None) -> Path:
    """Write a damaged copy of `source` (else of a fresh clip of content `seed`) in one of the ways of `DAMAGES`.

    `truncated`: the last 40 % are missing (an MP4 has its index at the end, so nothing of it can be read; a truncated
    mkv, ts or avi is read as far as it goes). `holes`: three stretches overwritten by noise. `flipped`: one bit in 400
    bytes of the second half. `zero_tail`: the last third is zeros, as a broken transfer leaves it. `no_index`: an MP4
    whose `moov` is gone. `header_only`: the first 64 bytes. `empty`: nothing. `text`: not a video at all.
    """
    if source is None:
        fresh = make_clip(path.with_name(f"whole.{path.name}"), seed, seconds)
        whole = fresh.read_bytes()
        fresh.unlink()
    else:
        whole = source.read_bytes()
    path.write_bytes(DAMAGES[how](whole))
    return path


def _holes(whole: bytes) -> bytes:
    damaged_bytes, length = bytearray(whole), max(16, len(whole) // 50)
    rng = np.random.default_rng(len(whole))
    for at in (0.4, 0.6, 0.8):
        begin = round(at * len(whole))
        damaged_bytes[begin : begin + length] = rng.bytes(len(damaged_bytes[begin : begin + length]))
    return bytes(damaged_bytes)


def _flipped(whole: bytes) -> bytes:
    damaged_bytes, rng = bytearray(whole), np.random.default_rng(len(whole))
    for at in range(len(whole) // 2, len(whole) - len(whole) // 20, 400):
        damaged_bytes[at] ^= 1 << int(rng.integers(8))
    return bytes(damaged_bytes)


def _boxes(whole: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, bytes) of the outermost boxes of an MP4 file."""
    at = 0
    while at + 8 <= len(whole):
        length, name = struct.unpack(">I4s", whole[at : at + 8])
        length = length or len(whole) - at
        yield name, whole[at : at + length]
        at += length


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda whole: whole[: round(0.6 * len(whole))],
    "holes": _holes,
    "flipped": _flipped,
    "zero_tail": lambda whole: whole[: len(whole) * 2 // 3] + bytes(len(whole) - len(whole) * 2 // 3),
    "no_index": lambda whole: b"".join(box for name, box in _boxes(whole) if name != b"moov"),
    "header_only": lambda whole: whole[:64],
    "empty": lambda whole: b"",
    "text": lambda whole: b"This is not a video.\n" * 200,
}


def _several_streams(
    path: Path,
    contents: Sequence[tuple[int, float]],
    *,
    tone_seconds: float | None = None,
    cover: bytes | None = None,
) -> Path:
    """Write one file with a video stream for each (seed, seconds), and perhaps a tone and a cover picture."""
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as output:
        streams = []
        for _ in contents:
            stream: Any = output.add_stream(
                "libx264", rate=25, options={"flags": "+bitexact", "preset": "veryfast", "crf": "23"}
            )
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.thread_count = 1
            streams.append(stream)
        sound: Any = None
        if tone_seconds is not None:
            sound = output.add_stream("pcm_s16le" if path.suffix == ".mkv" else "aac", rate=16_000)
            sound.layout = "mono"
        if cover is not None:
            output.add_attachment("cover.jpg", "image/jpeg", cover)
        for stream, (seed, seconds) in zip(streams, contents, strict=True):
            for number, picture in enumerate(frames(seed, seconds, fps=25.0)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = number
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        if sound is not None and tone_seconds is not None:
            _mux_tone(output, sound, tone_seconds)
    return path


def _mux_tone(output: Any, stream: Any, seconds: float) -> None:
    """Encode a tone of 440 Hz."""
    samples = (8000 * np.sin(2 * np.pi * 440 * np.arange(round(16_000 * seconds)) / 16_000)).astype(np.int16)
    for begin in range(0, len(samples), 1024):
        block = samples[begin : begin + 1024][None]
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, begin
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
