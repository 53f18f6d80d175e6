"""Pictures between those of another video: where nothing refers to them, and where they come by turns.

Nothing refers to the pictures a pass leaves out, and what nothing refers to is as a rule little more than what its
neighbours show. But another video can be put there, picture by picture between those of a known one, and would never be
looked at. So some of them are decoded all the same, picked by what their packets hold, and compared with the pictures
before and after them. And where pictures of two videos come by turns, no few pictures stand for what is shown.
"""

from __future__ import annotations

import zlib
from collections import deque
from typing import Any

from videonovelty.between import APART_SHARE, LEAST_DIFFERENCE, Around, around, distance, share_apart
from videonovelty.records import U8


class SkippedPicturesError(Exception):
    """Pictures that a pass leaves out show something else than those around them."""


EVERY = 8
"""One of so many packets is picked."""
SOME_SHARE, SOME = 0.025, 2
"""Of the pictures picked one must be apart, or so many in this share of the picture."""
BY_TURNS, BY_TURNS_SECONDS = 8, 1.0
"""So many pictures that are apart within such a time come by turns: of 155 public clips none has more than four."""


NAL_CODECS = frozenset({"h264", "hevc"})
_H264_SLICES = frozenset({1, 5})
_HEVC_SLICES = 32
_HEVC_LEADING = 16
"""Below this, even types of coded slices are of pictures nothing of their layer refers to."""


def is_referred_to(packet: bytes, codec: str, extradata: bytes) -> bool | None:
    """Return whether other pictures refer to what a packet of H.264 or HEVC shows; None of others, or without a slice.

    By the header of its first slice (ITU-T H.264, 7.4.1, nal_ref_idc; H.265, table 7-1), after lengths of as many bytes
    as the stream's configuration says, or after start codes.
    """
    if codec not in NAL_CODECS:
        return None
    configured = len(extradata) > 22 and extradata[0] == 1
    length = (extradata[4 if codec == "h264" else 21] & 3) + 1 if configured else 0
    at = 0
    while at + length + 1 < len(packet):
        if length:
            size = int.from_bytes(packet[at : at + length], "big")
            head, at = packet[at + length], at + length + max(size, 1)
        else:
            at = packet.find(b"\0\0\1", at) + 3
            if at < 3 or at >= len(packet):
                return None
            head = packet[at]
        if codec == "h264" and head & 31 in _H264_SLICES:
            return head & 0x60 != 0
        kind = head >> 1 & 63
        if codec == "hevc" and kind < _HEVC_SLICES:
            return kind >= _HEVC_LEADING or kind % 2 == 1
    return None


class SkippedWatch:
    """Watches the pictures of one pass go by, in the order they are shown, and samples of what it leaves out."""

    def __init__(self) -> None:
        self._before: Around | None = None
        self._sample: U8 | None = None
        self._apart = 0

    def picks(self, packet: Any) -> bool:
        """Return whether what a packet shows is to be a sample."""
        return zlib.crc32(packet) % EVERY == 0

    def add_sample(self, thumb: U8) -> None:
        """Take a picture that was left out, luma of shape (36, 64); of several in a row the last one counts."""
        self._sample = thumb

    def shows_something_else(self, thumb: U8) -> bool:
        """Take the next picture that is not; return whether the samples so far show what their neighbours do not."""
        before, sample = self._before, self._sample
        self._before, self._sample = around(thumb), None
        if sample is None or before is None:
            return False
        share = share_apart(sample, before, self._before)
        self._apart += share >= SOME_SHARE
        return share >= APART_SHARE or self._apart >= SOME


class TurnsWatch:
    """Watches whether pictures that have nothing in common come by turns."""

    def __init__(self) -> None:
        self._before: U8 | None = None
        self._last: tuple[float, U8] | None = None
        self._differs = False
        self._apart: deque[float] = deque()

    def by_turns(self, seconds: float, thumb: U8) -> tuple[float, float] | None:
        """Take the next picture; return since when, and until when, pictures come by turns, if they do."""
        last, before, differed = self._last, self._before, self._differs
        self._last, self._before = (seconds, thumb), None if last is None else last[1]
        self._differs = last is not None and distance(last[1], thumb) >= LEAST_DIFFERENCE
        if last is None or before is None or not (differed and self._differs):
            return None
        if share_apart(last[1], around(before), around(thumb)) < APART_SHARE:
            return None
        self._apart.append(last[0])
        while last[0] - self._apart[0] > BY_TURNS_SECONDS:
            self._apart.popleft()
        return (self._apart[0], seconds) if len(self._apart) >= BY_TURNS else None
