"""What a file holds beside the pictures and the sound that players show.

A second video behind the end of the first, a file attached to it, a programme no table names, samples no track lists:
none of it is ever decoded, and all of it can be taken out again. So the coded packets of a file are summed up, and what
its container needs besides is bounded; anything more is reported, for a person to look at with other tools. And an edit
list can leave out any part of a track: those samples are there to be decoded.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

SPARE_BYTES = 32 << 10
"""What every file may hold besides: names, dates, a seek table, the padding at its end."""
_PER_TRACK = 16 << 10
"""Bytes of an MP4's tables for each track…"""
_PER_SAMPLE = 256
"""…and for each sample of it, if they are there: a fragment of its own at most."""
_ALLOWED: dict[str, tuple[float, int]] = {
    "matroska": (0.0, 32),
    "avi": (0.002, 48),
    "flv": (0.0, 32),
    "ogg": (0.012, 48),
    "asf": (0.05, 128),
    "mpegts": (0.05, 256),
    "mpeg": (0.03, 64),
    "mxf": (0.02, 1024),
    "rm": (0.05, 64),
    "wtv": (0.25, 256),
}
"""By container: the share of the file, and bytes a packet, that its structure takes."""
_DEFAULT = (0.01, 64)
_PICTURE_SUBTITLES = frozenset(
    {"dvd_subtitle", "dvb_subtitle", "hdmv_pgs_subtitle", "xsub", "dvdsub", "dvbsub", "pgssub"}
)
_EXPLAINED = frozenset({"video", "audio", "subtitle", "data"})
"""Streams whose packets are no riddle. What a stream says it carries is believed: a track of data can hold anything."""
_STRUCTURE = frozenset({b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"ssix", b"mfra", b"pdin", b"prft", b"emsg"})
_PADDING = frozenset({b"free", b"skip", b"wide"})
_LOOSE = frozenset({b"udta", b"meta", b"uuid"})
"""Boxes within the tables of an MP4 that can hold anything."""
_LOOKED_INTO = frozenset({b"moov", b"trak", b"mdia"})
_MOST_BOXES = 1_000_000
_GIF_HEADER = 13
_READ_BYTES, _BLANK_BLOCK = 4 << 20, 64
_SYNC, _TS_BYTES = 0x47, 188
_TS_SIZES = (188, 192, 204)
_NULL_PID, _FIRST_FREE_PID = 0x1FFF, 0x20


def hides_samples(stream: Any) -> bool:
    """Return whether the edit list of a stream of an MP4 leaves samples out."""
    entries = stream.index_entries
    return len(entries) < stream.frames or any(entry.is_discard for entry in entries)


def sample_positions(stream: Any, *, shown: bool) -> I64:
    """Return where in the file the samples of a stream lie, of those that are `shown` or of all that are listed.

    Ascending, each once: eight bytes a sample, for a day of video has millions.
    """
    entries = (entry.pos for entry in stream.index_entries if not (shown and entry.is_discard))
    return np.unique(np.fromiter(entries, np.int64))


def is_among(position: int | None, positions: I64) -> bool:
    """Return whether a place in the file is one of some, which ascend."""
    if position is None or len(positions) == 0:
        return False
    at = int(np.searchsorted(positions, position))
    return at < len(positions) and int(positions[at]) == position


class ByteCount:
    """Sums up the packets of one reading of a container, to tell what bytes of the file they leave unexplained."""

    def __init__(self, container: Any) -> None:
        self._container = str(container.format.name).split(",")[0]
        self._streams = [_is_explained(stream) for stream in container.streams]
        self._pids = [int(stream.id) for stream in container.streams] if self._container == "mpegts" else []
        self._packets = 0
        self._bytes = 0
        self._position, self._size = array("q"), array("q")
        self._latest: dict[int, int] = {}

    def add(self, packet: Any) -> None:
        """Count a packet, whichever stream it is of."""
        if not packet.size:
            return
        self._packets += 1
        if packet.stream_index < len(self._streams) and self._streams[packet.stream_index]:
            if self._container == "mov" and packet.pos is not None and packet.pos >= 0:
                self._add_at(packet.stream_index, packet.pos, packet.size)
            else:
                self._bytes += packet.size

    def _add_at(self, stream: int, position: int, size: int) -> None:
        """Count bytes at a place; those of one stream that follow one another are one interval."""
        row = self._latest.get(stream)
        if row is not None and self._position[row] + self._size[row] == position:
            self._size[row] += size
            return
        self._latest[stream] = len(self._position)
        self._position.append(position)
        self._size.append(size)

    def unexplained(self, fd: int) -> int:
        """Return how many bytes of the file neither its packets nor its structure explain, 0 where few are left."""
        size = os.fstat(fd).st_size
        share, each = _ALLOWED.get(self._container, _DEFAULT)
        allowed = SPARE_BYTES + share * size + each * self._packets
        if self._container == "mov":
            most = _PER_TRACK * len(self._streams) + _PER_SAMPLE * self._packets
            allowed = SPARE_BYTES + min(most, _tables_of_mp4(fd, size))
        elif self._container == "mpegts":
            tables, foreign = _transport_stream(fd, size, self._pids)
            if foreign > SPARE_BYTES:
                return foreign
            allowed += tables
        elif self._container == "gif":
            return _beyond_gifs(fd, size)
        left = size - self._bytes - _covered(*(np.array(side, np.int64) for side in (self._position, self._size)))
        if left > allowed:
            left -= _blank_bytes(fd, size)
        return left if left > allowed else 0


def _is_explained(stream: Any) -> bool:
    if stream.type not in _EXPLAINED:
        return False
    return stream.type != "subtitle" or getattr(stream.codec_context, "name", "") not in _PICTURE_SUBTITLES


def _covered(position: I64, size: I64) -> int:
    """Return how many bytes intervals cover together: samples may be listed twice."""
    if len(position) == 0:
        return 0
    order = np.argsort(position, kind="stable")
    starts, ends = position[order], position[order] + size[order]
    before = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]])
    return int(np.maximum(0, ends - np.maximum(starts, before)).sum())


def _blank_bytes(fd: int, size: int) -> int:
    """Return how many bytes of a file lie in blocks of one value: padding, which holds nothing."""
    total = 0
    for at in range(0, size, _READ_BYTES):
        block = os.pread(fd, _READ_BYTES, at)
        rows = np.frombuffer(block, np.uint8)[: len(block) // _BLANK_BLOCK * _BLANK_BLOCK].reshape(-1, _BLANK_BLOCK)
        total += _BLANK_BLOCK * int((rows == rows[:, :1]).all(axis=1).sum())
    return total


# ---------------------------------------------------------------------------------------------------------------------
# MP4 and QuickTime (ISO/IEC 14496-12, 4.2)


def _tables_of_mp4(fd: int, size: int) -> int:
    """Return the bytes of an MP4 that say how to play it: its tables without what can hold anything."""
    total = 0
    for kind, start, inside, end in _boxes(fd, 0, size):
        if kind in _STRUCTURE:
            total += end - start - (_loose_in(fd, inside, end) if kind == b"moov" else 0)
    return total


def _loose_in(fd: int, start: int, end: int) -> int:
    total = 0
    for kind, first, inside, last in _boxes(fd, start, end):
        if kind in _LOOSE or kind in _PADDING:
            total += last - first
        elif kind in _LOOKED_INTO:
            total += _loose_in(fd, inside, last)
    return total


def _boxes(fd: int, start: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (kind, start, start of what is inside, end) of the boxes between two places, as far as they are whole."""
    for _ in range(_MOST_BOXES):
        head = os.pread(fd, 16, start)
        if start + 8 > end or len(head) < 8:
            return
        length, inside = int.from_bytes(head[:4], "big"), start + 8
        if length == 1 and len(head) == 16:
            length, inside = int.from_bytes(head[8:], "big"), start + 16
        elif length == 0:
            length = end - start
        if start + length < inside or start + length > end:
            return
        yield head[4:8], start, inside, start + length
        start += length


# ---------------------------------------------------------------------------------------------------------------------
# MPEG transport streams (ISO/IEC 13818-1, 2.4.3 and 2.4.4)


def _transport_stream(fd: int, size: int, streams: Sequence[int]) -> tuple[int, int]:
    """Return how many bytes of a transport stream are empty packets or tables, and how many are of no stream.

    `streams` are the packet numbers (PID) of its streams.
    """
    stride, at = _stride(os.pread(fd, 64 << 10, 0))
    if stride == 0:
        return 0, 0
    tables, known = (np.zeros(_NULL_PID + 1, np.bool_) for _ in range(2))
    tables[:_FIRST_FREE_PID], tables[_NULL_PID] = True, True
    known[[pid for pid in streams if 0 <= pid < _NULL_PID]] = True
    empty = foreign = 0
    while at < size:
        block = os.pread(fd, _READ_BYTES // stride * stride, at)
        packets = np.frombuffer(block, np.uint8)[: len(block) // stride * stride].reshape(-1, stride)
        if len(packets) == 0:
            break
        at += packets.size
        synced = packets[packets[:, 0] == _SYNC]
        pids = (synced[:, 1].astype(np.int64) & 0x1F) << 8 | synced[:, 2]
        for packet in synced[(pids == 0) & (synced[:, 1] & 0x40 > 0)][:1]:
            tables[_programme_maps(packet.tobytes())] = True
        empty += stride * int(tables[pids].sum())
        foreign += stride * int(len(packets) - len(synced) + (~tables & ~known)[pids].sum())
    return empty, foreign


def _stride(head: bytes) -> tuple[int, int]:
    """Return how many bytes lie from one packet of a transport stream to the next, and where the first one is."""
    for stride in _TS_SIZES:
        for first in range(min(stride, len(head))):
            marks = head[first : first + 8 * stride : stride]
            if len(marks) > 1 and not marks.strip(bytes([_SYNC])):
                return stride, first
    return 0, 0


def _programme_maps(packet: bytes) -> list[int]:
    """Return the packet numbers that a programme association table names."""
    begin = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    if begin >= _TS_BYTES:
        return []
    table = packet[begin + 1 + packet[begin] : _TS_BYTES]
    if len(table) < 8:
        return []
    entries = table[8 : 3 + ((table[1] & 0x0F) << 8 | table[2]) - 4]
    return [(entries[i + 2] & 0x1F) << 8 | entries[i + 3] for i in range(0, len(entries) - 3, 4)]


# ---------------------------------------------------------------------------------------------------------------------
# GIF (version 89a, 1990)


def _beyond_gifs(fd: int, size: int) -> int:
    """Return how many bytes follow the end of a GIF, or of several one after the other; their demuxer takes them all.

    0 where its blocks cannot be followed to the end.
    """
    with os.fdopen(os.dup(fd), "rb") as file:
        at = 0
        while size - at > _GIF_HEADER:
            file.seek(at)
            if file.read(3) != b"GIF":
                break
            end = _end_of_gif(file, at)
            if end is None:
                return 0
            at = end
    return size - at if size - at > SPARE_BYTES else 0


def _end_of_gif(file: BinaryIO, at: int) -> int | None:
    file.seek(at + 10)
    flags = file.read(3)[0]
    at += _GIF_HEADER + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while True:
        file.seek(at)
        head = file.read(11)
        if head[:1] == b";":
            return at + 1
        if head[:1] == b"!" and len(head) > 1:
            at += 2
        elif head[:1] == b"," and len(head) > 10:
            at += 11 + (3 << (head[9] & 7) + 1 if head[9] & 0x80 else 0)
        else:
            return None
        file.seek(at)
        while length := file.read(1):
            at += 1 + length[0]
            if length == b"\0":
                break
            file.seek(at)
        else:
            return None
