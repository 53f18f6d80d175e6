"""Read RGB frames of a video one trusts: the source of edited copies and of test pictures.

Intake never comes this way (see `videonovelty.decode`): here pixels leave the decoder and no sandbox is around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from videonovelty.errors import CorruptVideoError, NoVideoStreamError, UnreadableVideoError
from videonovelty.settings import DecodeSettings

U8 = npt.NDArray[np.uint8]

_READ_ERRORS = (av.error.FFmpegError, OSError, ValueError)


def read_rgb(
    path: Path,
    *,
    max_side: int | None = None,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    settings: DecodeSettings | None = None,
) -> Iterator[tuple[float, U8]]:
    """Yield (seconds, RGB picture of shape (height, width, 3), uint8) of the best video stream, in presentation order.

    Pictures are upright (rotation applied), in square pixels, scaled down to `max_side` by area averaging where the
    longer side is larger; all of one size, both sides even. Times start at 0 with the first frame and increase; frames
    outside `[start_seconds, end_seconds)` are left out. One frame is held at a time.

    Raises UnreadableVideoError, NoVideoStreamError, or CorruptVideoError when nothing could be decoded. A packet that
    does not decode is passed over.
    """
    limits = settings if settings is not None else DecodeSettings()
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(limits.formats),
        "codec_whitelist": ",".join(limits.codecs),
        "max_pixels": str(limits.max_pixels),
    }
    try:
        # a relative name with a colon would be read as a protocol
        container = av.open(f"file:{path}", options=options)
    except _READ_ERRORS as error:
        raise UnreadableVideoError(str(path), str(error)) from error
    with container:
        moving = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not moving:
            raise NoVideoStreamError(str(path))
        best = container.streams.best("video")
        stream = best if best in moving else moving[0]
        stream.codec_context.thread_count = 1
        reformatter = av.video.reformatter.VideoReformatter()
        size: tuple[int, int] | None = None
        first_pts: float | None = None
        previous = -1.0
        step = 1.0 / float(stream.average_rate or 25)
        for frame in _frames(container, stream):
            seconds = float(frame.time) if frame.pts is not None else (first_pts or 0.0) + previous + step
            if first_pts is None:
                first_pts = seconds
            seconds -= first_pts
            if seconds <= previous:
                seconds = previous + 1e-3
            previous = seconds
            if end_seconds is not None and seconds >= end_seconds:
                return
            if seconds < start_seconds:
                continue
            turns = round(frame.rotation / 90) % 4
            if size is None:
                size = _stored_size(frame, stream, max_side)
            scaler = "AREA" if size[0] < frame.width else "BICUBIC"
            scaled = reformatter.reformat(frame, size[0], size[1], "rgb24", interpolation=scaler, threads=1)
            picture = scaled.to_ndarray()
            yield seconds, np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
        if first_pts is None:
            raise CorruptVideoError(str(path))


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded frames; a packet that fails costs that packet."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except _READ_ERRORS:
                continue
    except _READ_ERRORS:
        return  # a truncated file ends here; what came before stands


def _stored_size(frame: Any, stream: Any, max_side: int | None) -> tuple[int, int]:
    """Return the (width, height) to scale the stored picture to: square pixels, even sides, at most `max_side`."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = frame.width * aspect, float(frame.height)
    scale = min(1.0, max_side / max(width, height)) if max_side is not None else 1.0
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
