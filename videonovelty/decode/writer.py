"""Write RGB frames to a video file: the only encoder, for demo footage, edited copies and tests.

Nothing here touches intake or known material. The same frames and options give the same bytes on the same libraries:
one encoder thread, no creation date, no encoder banner in the container.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

_VARIABLE_TICKS = 1000
"""Ticks a second of a variable-rate stream: what Matroska stores, and small enough for MPEG-4 Part 2."""

_FAST: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "mbtree": "0"},  # its macroblock tree with B frames reads memory nobody set
    "libx265": {"preset": "ultrafast", "x265-params": "pools=none:frame-threads=1:log-level=none"},
    "libvpx": {"deadline": "good", "cpu-used": "5", "b": "2000000"},  # its real-time mode adapts to the clock
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "row-mt": "0", "b": "0"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
}
"""Options that make each encoder quick; quality is steered by `crf` alone."""
_CRF_CODECS = frozenset(_FAST)
_QSCALE_CODECS = frozenset({"mpeg4", "mpeg2video", "mpeg1video", "h263", "flv", "mjpeg", "wmv2", "msmpeg4"})


def write_video(
    path: Path,
    frames: Iterable[U8],
    *,
    fps: float,
    codec: str = "libx264",
    crf: int = 23,
    gop: int | None = None,
    pixel_format: str = "yuv420p",
    container: str | None = None,
    pts_seconds: Iterable[float] | None = None,
    rotation: int = 0,
    interlaced: bool = False,
    metadata: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    codec_options: Mapping[str, str] | None = None,
) -> None:
    """Encode `frames` (RGB, shape (height, width, 3), uint8, all of one size) into `path`, replacing it when complete.

    Frames of shape (height, width, 4) are RGB with opacity, for a codec and pixel format that keep it.

    `fps` is the frame rate; with `pts_seconds` (strictly increasing, one a frame) the rate varies and `fps` is what the
    container declares. `crf` is the codec's own scale; codecs with a quantiser instead (mpeg4, mjpeg, …) get the
    nearest step. `gop` is the longest distance of key frames, in frames. `container` names FFmpeg's format where
    the suffix does not. `rotation` (0, 90, 180, 270 degrees clockwise) is left to the player: pixels are stored
    turned back, so that what is shown are `frames` again. `interlaced` marks and codes the frames as top field first.

    Holds one frame at a time. Raises ValueError when there are no frames, sizes differ, or a size does not suit the
    pixel format. Nothing is left at `path` when it fails.
    """
    if rotation not in (0, 90, 180, 270):
        raise ValueError(f"rotation must be 0, 90, 180 or 270 degrees, not {rotation}")
    if container == "gif" or path.suffix == ".gif":
        codec, pixel_format = "gif", "rgb8"
    source = iter(frames)
    first = _first(path, source, pixel_format)
    height, width = first.shape[:2]
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; the encoder has no option for it
    # a dot file beside the target, so that a half-written video is never taken for a finished one
    part = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        with av.open(
            str(part), "w", format=container, container_options={"fflags": "+bitexact", **(container_options or {})}
        ) as output:
            rate = Fraction(fps).limit_denominator(1001)
            flags = "+bitexact" + ("+ildct+ilme" if interlaced else "")
            options = {"flags": flags, **_quality(codec, crf), **(codec_options or {})}
            if interlaced and codec == "libx264":
                options["x264-params"] = "tff=1"
            stream: Any = output.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height = (height, width) if rotation in (90, 270) else (width, height)
            stream.pix_fmt = pixel_format
            stream.codec_context.thread_count = 1
            if gop is not None:
                stream.codec_context.gop_size = gop
            if rotation:
                stream.set_display_rotation(-rotation)  # PyAV counts anticlockwise
            output.metadata.update(metadata or {})
            ticks = Fraction(1, _VARIABLE_TICKS) if pts_seconds is not None else 1 / rate
            stream.codec_context.time_base = ticks
            for pts, image in _timed(itertools.chain([first], source), pts_seconds):
                if image.shape != first.shape or image.dtype != np.uint8:
                    raise ValueError(f"{path}: frame {image.shape} {image.dtype} among frames of {first.shape} uint8")
                turned = np.rot90(image, rotation // 90) if rotation else image
                kind = "rgba" if turned.shape[2] == 4 else "rgb24"
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(turned), format=kind)
                frame = frame.reformat(format=pixel_format, threads=1)
                frame.pts, frame.time_base = pts, ticks
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _first(path: Path, frames: Iterator[U8], pixel_format: str) -> U8:
    """Return the first frame, whose size the stream takes."""
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: no frames to write")
    height, width = first.shape[:2]
    if pixel_format.startswith("yuv420") and (height % 2 or width % 2):
        raise ValueError(f"{path}: {pixel_format} needs even sides, not {width}x{height}")
    return first


def _quality(codec: str, crf: int) -> dict[str, str]:
    """Return the options that give `codec` the quality `crf`, quickly."""
    if codec in _CRF_CODECS:
        return {"crf": str(crf), **_FAST[codec]}
    if codec in _QSCALE_CODECS:
        # the quantiser doubles every 6 steps of crf; crf 23 is about quantiser 4
        quantiser = max(1, min(31, round(4 * 2 ** ((crf - 23) / 6))))
        return {"qmin": str(quantiser), "qmax": str(quantiser), "b": "8000000"}
    return {}


def _timed(frames: Iterable[U8], pts_seconds: Iterable[float] | None) -> Iterator[tuple[int, U8]]:
    """Yield (pts in ticks, frame): a counter at a constant rate, else milliseconds, strictly increasing."""
    if pts_seconds is None:
        yield from enumerate(frames)
        return
    previous = -1
    for seconds, image in zip(pts_seconds, frames, strict=True):
        pts = round(seconds * _VARIABLE_TICKS)
        if pts <= previous:
            raise ValueError(f"pts_seconds must increase by at least a millisecond; {seconds} does not")
        previous = pts
        yield pts, image
