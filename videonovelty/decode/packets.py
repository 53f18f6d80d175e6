"""Digests of coded packets: equal packets show equal pictures, which proves a stream copy without decoding it.

A copy that was only put into another container (MP4, Matroska, MPEG-TS, FLV), cut at key frames or joined from several
videos still holds the very packets of its source. `code_video` reads them without decoding and gives each a digest that
does not depend on the container: of H.264 and HEVC the NAL units, however they are delimited, with the parameter sets
they are decoded by; of other codecs the packet and what its container tells the decoder.

Whatever could make equal packets show something else is a *doubt*, and a video with a doubt is decoded: more than one
video stream, an attached picture, packets with side data that changes decoding, packets marked as damaged or not to be
shown, times that are missing or repeat, parameter sets that change, a file shorter than its container says.
"""

from __future__ import annotations

import hashlib
import re
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from videonovelty.decode import open_video
from videonovelty.errors import CorruptVideoError
from videonovelty.records import DIGEST_BYTES, CodedStream, Probe
from videonovelty.settings import Settings

RECIPE = "packets-1"
MAX_PACKETS = 4_000_000
"""18 hours at 60 packets a second, 100 MB of digests and times."""

_CODECS = frozenset({"h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg"})
_PLAIN_TAGS = {
    "h264": frozenset({"avc1", "avc3", "h264", "x264", "\x1b\0\0\0", "\x07\0\0\0", "\0\0\0\0"}),
    "hevc": frozenset({"hvc1", "hev1", "hevc", "$\0\0\0", "\0\0\0\0"}),
}
"""Lower case. libavcodec decodes some other tags its own way (VSSH), and Dolby Vision shows what its metadata says."""
_SELF_CONTAINED = frozenset({"vp8", "vp9"})
"""Decoders that look at nothing but the packets."""
_HARMLESS_SIDE_DATA = frozenset({"mpegts_stream_id", "prft", "cpb_properties", "a53_cc", "dynamic_hdr10_plus"})
_HEARTBEAT_PACKETS = 64
_X264 = re.compile(rb"x264 - core (\d+)")
_OLDEST_X264 = 34  # libavcodec decodes direct prediction of earlier ones by the version their first packet names,
_HIGH_444 = frozenset({44, 244})  # and 4:4:4 of those before 151, which a copy that lost its first packet does not say


class _DoubtError(Exception):
    """Equal packets might not show equal pictures."""


def code_video(
    fd: int, *, video_id: str, name: str, settings: Settings, heartbeat: Callable[[float], None]
) -> CodedStream:
    """Return the digests of the coded packets of the video behind `fd`; its pictures are not decoded.

    Runs inside the locked child process; arguments as of `signing.sign_video`. Holds 25 bytes a packet. Raises
    VideoError where the file is no video, or refused.
    """
    started = time.process_time()
    digests, times, starts = bytearray(), array("d"), bytearray()
    doubt, duration = "", 0.0
    with open_video(fd, settings.decode, name=name, quick=True) as video:
        heartbeat(video.probe.declared_seconds)
        try:
            end = _read(video, digests, times, starts, heartbeat)
            origin = min(times)
            duration = max(end - origin, 0.0)
        except _DoubtError as found:
            doubt = str(found)
        except CorruptVideoError as error:
            doubt = error.detail or "it cannot be read"
    if doubt:
        digests, times, starts, origin = bytearray(), array("d"), bytearray(), 0.0
    pts = np.frombuffer(times, np.float64) - origin if len(times) else np.zeros(0)
    return CodedStream(
        video_id=video_id,
        recipe=RECIPE,
        doubt=doubt,
        duration_seconds=duration,
        pts_seconds=pts,
        starts=np.frombuffer(bytes(starts), np.uint8).astype(np.bool_),
        digests=np.frombuffer(bytes(digests), np.uint8).reshape(-1, DIGEST_BYTES),
        cpu_seconds=time.process_time() - started,
    )


def _read(
    video: Any, digests: bytearray, times: array[float], starts: bytearray, heartbeat: Callable[[float], None]
) -> float:
    """Fill in what each packet gives and return when the last one ends, in container time."""
    stream = video.only_stream()
    if stream is None:
        raise _DoubtError("more than one stream of pictures")
    codec = _codec_of(stream, video.probe)
    tick = float(stream.time_base.numerator / stream.time_base.denominator)
    seen: set[float] = set()
    end = 0.0
    for packet in video.packets(stream):
        number = len(times)
        _check(packet)
        data = bytes(packet)
        if number == 0:
            codec.begins(data)
        elif number >= MAX_PACKETS:
            raise _DoubtError("too many packets")
        digest, start = codec.digest(data)
        shown = packet.pts * tick
        if packet.pts in seen:
            raise _DoubtError("two packets of one moment")
        seen.add(packet.pts)
        digests += digest
        times.append(shown)
        starts.append(start or number == 0)
        end = max(end, shown + (packet.duration or 0) * tick)
        if number % _HEARTBEAT_PACKETS == 0:
            heartbeat(max(shown, 0.0))
    if not times:
        raise _DoubtError("no packets")
    if video.only_stream_index() is None:
        raise _DoubtError("another stream of pictures on the way")
    return end


def _check(packet: Any) -> None:
    if packet.pts is None:
        raise _DoubtError("packets without a time")
    if packet.is_corrupt or packet.is_discard:
        raise _DoubtError("packets marked as damaged or not to be shown")
    try:
        strange = {side.data_type for side in packet.iter_sidedata()} - _HARMLESS_SIDE_DATA
    except (IndexError, ValueError) as error:  # of a kind this PyAV has no name for
        raise _DoubtError("packets with unknown side data") from error
    if strange:
        raise _DoubtError(f"packets with side data: {min(strange)}")


def _codec_of(stream: Any, probe: Probe) -> _Codec:
    if probe.codec not in _CODECS:
        raise _DoubtError(f"codec {probe.codec}")
    context = stream.codec_context
    extradata = bytes(context.extradata or b"")
    tag = str(context.codec_tag)
    plain = _PLAIN_TAGS.get(probe.codec)
    if probe.codec in _SELF_CONTAINED:
        return _Codec(probe.codec.encode())
    if plain is None:
        facts = f"{probe.codec} {tag} {probe.width}x{probe.height} {probe.pixel_format} ".encode()
        return _Codec(facts + extradata)
    if tag.lower() not in plain:
        raise _DoubtError("an unusual codec tag")
    return _H264(extradata) if probe.codec == "h264" else _Hevc(extradata)


class _Codec:
    """Any codec: a packet is its bytes, and nothing but the first one is known to begin afresh."""

    def __init__(self, facts: bytes) -> None:
        self._facts = hashlib.sha256(facts).digest()

    def begins(self, data: bytes) -> None:
        """Look at the first packet for what says how all of them are decoded."""

    def digest(self, data: bytes) -> tuple[bytes, bool]:
        """Return the digest of a packet and whether decoding begins afresh with it."""
        whole = hashlib.sha256(self._facts)
        whole.update(data)
        return whole.digest()[:DIGEST_BYTES], False


class _NalCodec(_Codec, ABC):
    """H.264 or HEVC: a packet is its NAL units, digested with every parameter set seen so far.

    A parameter set is never replaced by another of its number: that is a doubt. So the sets seen so far say which ones
    are in force, and it makes no difference whether they stand in the container's header or before each key frame.
    """

    codec = b""
    header_bytes = 1
    parameter_sets: frozenset[int]
    delimiters: frozenset[int]
    slices: frozenset[int]
    afresh: frozenset[int]
    picture_parameter_set = 0

    def __init__(self, extradata: bytes) -> None:
        self._sets: dict[tuple[int, int], bytes] = {}
        self._length_bytes = 0
        self._facts = b""
        if extradata[:1] == b"\x01" and not extradata.startswith(b"\x01\0\0"):
            self._length_bytes, units = self._configuration(extradata)
        else:
            units = _split(extradata)
        for unit in units:
            if unit and self.kind(unit) in self.parameter_sets:
                self._add(unit)

    def begins(self, data: bytes) -> None:
        """Look at the first packet: old encoders say their version there."""
        made_by = _X264.search(data)
        if made_by and int(made_by[1][:6]) < _OLDEST_X264:
            raise _DoubtError("an old encoder, whose streams are decoded by its version")

    def digest(self, data: bytes) -> tuple[bytes, bool]:
        """Return the digest of a packet and whether decoding begins afresh with it."""
        parts: list[bytes] = []
        sliced = start = False
        for unit in self._units(data):
            kind = self.kind(unit)
            if kind in self.delimiters:
                continue
            if kind in self.parameter_sets:
                if sliced:
                    raise _DoubtError("a parameter set within a picture")
                self._add(unit)
                continue
            if kind in self.slices and not sliced:
                sliced, start = True, kind in self.afresh
            parts.append(unit)
        if not sliced:
            raise _DoubtError("a packet without a picture")
        if not self._facts:
            sets = (len(one).to_bytes(4, "big") + one for _, one in sorted(self._sets.items()))
            self._facts = hashlib.sha256(self.codec + b"".join(sets)).digest()
        whole = hashlib.sha256(self._facts)
        for unit in parts:
            whole.update(len(unit).to_bytes(4, "big"))
            whole.update(unit)
        return whole.digest()[:DIGEST_BYTES], start

    def _units(self, data: bytes) -> Iterable[bytes]:
        units = _split(data) if not self._length_bytes else _counted(data, self._length_bytes)
        if any(len(unit) <= self.header_bytes for unit in units):
            raise _DoubtError("broken NAL units")
        return units

    def _add(self, unit: bytes) -> None:
        kind = self.kind(unit)
        number = _first_number(unit[self.header_bytes :]) if kind == self.picture_parameter_set else 0
        if self._sets.setdefault((kind, number), unit) != unit:
            raise _DoubtError("parameter sets that change")
        self._facts = b""
        self.look_at(unit)

    @abstractmethod
    def kind(self, unit: bytes) -> int:
        """Return the type of a NAL unit."""

    def look_at(self, unit: bytes) -> None:
        """Raise _DoubtError for a parameter set whose streams are decoded in more than one way."""

    @abstractmethod
    def _configuration(self, extradata: bytes) -> tuple[int, list[bytes]]:
        """Return the bytes of a length, and the parameter sets, of a decoder configuration record."""


class _H264(_NalCodec):
    """ISO/IEC 14496-10; the record: 14496-15, 5.3.3.1."""

    codec = b"h264"
    parameter_sets = frozenset({7, 8, 13, 15})
    delimiters = frozenset({9, 12})
    slices = frozenset(range(1, 6))
    afresh = frozenset({5})
    picture_parameter_set = 8

    def kind(self, unit: bytes) -> int:
        return unit[0] & 31

    def look_at(self, unit: bytes) -> None:
        if self.kind(unit) == 7 and unit[1:2] and unit[1] in _HIGH_444:
            raise _DoubtError("4:4:4, which is decoded by the encoder's version")

    def _configuration(self, extradata: bytes) -> tuple[int, list[bytes]]:
        if len(extradata) < 7:
            raise _DoubtError("a broken decoder configuration")
        units: list[bytes] = []
        at = 5
        for mask in (31, 255):
            count, at = _byte(extradata, at) & mask, at + 1
            for _ in range(count):
                at = _take(extradata, at, units)
        return (extradata[4] & 3) + 1, units


class _Hevc(_NalCodec):
    """ITU-T H.265; the record: ISO/IEC 14496-15, 8.3.3.1."""

    codec = b"hevc"
    header_bytes = 2
    parameter_sets = frozenset({32, 33, 34})
    delimiters = frozenset({35, 38})
    slices = frozenset(range(32))
    afresh = frozenset({19, 20})
    picture_parameter_set = 34

    def kind(self, unit: bytes) -> int:
        return (unit[0] >> 1) & 63

    def _configuration(self, extradata: bytes) -> tuple[int, list[bytes]]:
        if len(extradata) < 23:
            raise _DoubtError("a broken decoder configuration")
        units: list[bytes] = []
        at = 23
        for _ in range(extradata[22]):
            count, at = int.from_bytes(extradata[at + 1 : at + 3], "big"), at + 3
            for _ in range(count):
                at = _take(extradata, at, units)
        return (extradata[21] & 3) + 1, units


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise _DoubtError("a broken decoder configuration")
    return data[at]


def _take(data: bytes, at: int, units: list[bytes]) -> int:
    """Append the unit at `at`, after its length of two bytes, and return where the next one is."""
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    if end > len(data):
        raise _DoubtError("a broken decoder configuration")
    units.append(data[at + 2 : end].rstrip(b"\0"))
    return end


def _split(data: bytes) -> list[bytes]:
    """Return the NAL units between start codes (Annex B)."""
    before, *units = data.split(b"\0\0\1")
    if before.strip(b"\0"):
        raise _DoubtError("bytes before the first start code")
    return [unit.rstrip(b"\0") for unit in units]


def _counted(data: bytes, length_bytes: int) -> list[bytes]:
    """Return the NAL units after their lengths."""
    units: list[bytes] = []
    at = 0
    while at < len(data):
        begin = at + length_bytes
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data):
            raise _DoubtError("broken NAL units")
        units.append(data[begin:at].rstrip(b"\0"))
    return units


def _first_number(payload: bytes) -> int:
    """Return the Exp-Golomb number a payload begins with; picture parameter sets begin with their own."""
    bits = int.from_bytes(payload[:8].ljust(8, b"\0"), "big")
    zeros = 64 - bits.bit_length()
    if 2 * zeros + 1 > 64:
        raise _DoubtError("a broken parameter set")
    return (bits >> (63 - 2 * zeros)) - 1
