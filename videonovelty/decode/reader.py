"""Reading one stream: what its decoder is fed in a pass, which of its pictures are shown, and when."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from videonovelty.decode.accounting import I64, is_among
from videonovelty.decode.pictures import UPRIGHT, Picture, Scaler, orientation_of, shows_through
from videonovelty.decode.skipped import NAL_CODECS, SkippedWatch, TurnsWatch, is_referred_to
from videonovelty.decode.timeline import FrameClock, StreamLedger, sane_frame_seconds
from videonovelty.records import Frame
from videonovelty.settings import DecodeSettings

log = logging.getLogger(__name__)

# skip_frame=NONINTRA also finds x264's non-IDR I frames, which carry no key flag (16 of 89 cuts hide there);
# the other decoders treat it as NONREF, so they get NONKEY. Research note, section 1 and 2.
_NONINTRA_CODECS = frozenset({"h264", "hevc", "av1", "libdav1d"})
_DROP_NONKEY_PACKETS = frozenset({"vp9", "libvpx-vp9"})  # ignore skip_frame altogether
MOST_BEYOND_EDGE = 64
"""Columns or rows that are coded and not shown: the largest block of any codec. A player can show more of them."""
_HEADROOM_BYTES = 64 << 20  # what a decoder may ask for at once: a picture of 44 Mpx at 12 bits a pixel
_USUAL_PACKETS = 48
_B_PICTURE = 3
LARGE_PACKET = 2.5
"""Times the size of the median of those before it from which on what a packet shows is decoded in any case."""
_FIRST_PACKETS = 32  # among them is the packet shown first


class Reader:
    """The decoder of one stream in one pass: packets in, timed frames out, every failure entered in the ledger."""

    def __init__(self, stream: Any, mode: str, settings: DecodeSettings, scaler: Scaler, *, may_jump: bool) -> None:
        self.rotation_degrees = 0
        self._scaler = scaler
        self._stream = stream
        self._context = stream.codec_context
        self._extradata = bytes(self._context.extradata or b"")
        self._mode = mode
        self._tick = as_float(stream.time_base) or 1e-6
        spacing = sane_frame_seconds(frame_rate(stream))
        self.clock = FrameClock(self._tick, spacing, discontinuous=may_jump)
        self.ledger = StreamLedger(spacing, allow_skipping=mode == "intra")
        self._spacing = spacing
        self._stated_start = stream.start_time
        self._aspect = as_float(stream.sample_aspect_ratio) or 1.0
        self._turn = UPRIGHT
        self._rotation: int | None = None
        self._packets = 0
        self._sizes: deque[int] = deque(maxlen=_USUAL_PACKETS)
        self._first_pts: int | None = None
        self._timeless = False
        self.least_seconds = 0.0
        """How long a picture stands at least."""
        self.beyond_edge = False
        """More of its pictures is coded than shown."""
        self.shows_through = False
        """Some of its pictures are transparent in part."""
        self._opacity = VideoReformatter()
        self._watch: SkippedWatch | None = None
        self._samples: set[int] = set()
        self._turns = TurnsWatch()
        self.comes_by_turns = False
        """Pictures that have nothing in common come by turns."""
        self.skips_something_else = False
        """Pictures that this pass leaves out show something else."""
        self._only: I64 | None = None
        self._wanted: set[int | None] = set()
        self._context.thread_count = 1
        self._context.options = {
            "max_pixels": str(settings.max_pixels),
            "codec_whitelist": ",".join(settings.codecs),
        }
        codec = self._context.codec.name
        self._drops_packets = mode == "intra" and codec in _DROP_NONKEY_PACKETS
        if mode == "nonref":
            self._context.skip_frame = "NONREF"
        elif mode == "intra":
            self._context.skip_frame = "NONINTRA" if codec in _NONINTRA_CODECS else "NONKEY"

    def show_only(self, samples: I64) -> None:
        """Show the samples at some places of the file alone, counted: between them time passes that others fill."""
        self._only = samples
        self._timeless = True
        self._mode, self._drops_packets = "all", False
        self._context.skip_frame = "DEFAULT"

    def watch_skipped(self) -> None:
        """Decode some of the pictures that are left out, and look whether they show something else."""
        self._watch = SkippedWatch()

    def look_at_first(self, container: Any) -> None:
        """Decode the first packet, for what only it says, before seeking elsewhere.

        There x264 names its version, by which libavcodec knows to decode 4:4:4 streams of old versions their own way;
        without it every picture after a seek is garbage.
        """
        for packet in container.demux(self._stream):
            if packet.size:
                with suppress(av.error.InvalidDataError):
                    self._context.decode(packet)
                return

    def decode(self, packet: Any) -> list[Any]:
        """Return the pictures that come out for one packet (an empty one drains the decoder)."""
        flushing = not packet.size
        if not flushing:
            self._look_at(packet)
        stamp = packet.pts if packet.pts is not None else packet.dts
        where = None if stamp is None or self._timeless else self.clock.seconds(stamp)
        if self._mode == "nonref" and not flushing:
            if self._watch is not None and packet.pts is None:
                self._decode_everything()  # which picture is of which packet cannot be told
            else:
                wanted = self._is_large(packet.size) or self._is_sample(packet)
                self._context.skip_frame = "DEFAULT" if wanted else "NONREF"
        if self._drops_packets and not flushing and not packet.is_keyframe:
            self.ledger.packet_fed(where, (packet.duration or 0) * self._tick)
            return []
        try:
            pictures: list[Any] = self._context.decode(None if flushing else packet)
        except av.error.EOFError:
            return []
        except (av.error.MemoryError, MemoryError):
            raise
        except (av.error.FFmpegError, ValueError, OSError) as error:
            log.debug("packet %d: %s", self._packets, error)
            check_headroom()
            if not flushing:
                self.ledger.packet_failed(where)
            return []
        if not flushing and not packet.is_discard and (self._only is None or is_among(packet.pos, self._only)):
            self.ledger.packet_fed(where, (packet.duration or 0) * self._tick, corrupt=bool(packet.is_corrupt))
        return pictures

    def time(self, picture: Any) -> float | None:
        """Return when a picture is shown, in seconds from the first; None for one that this pass leaves out."""
        if self._is_left_out(picture):
            return None
        if self._mode == "intra" and not _is_intra(picture):
            return None
        if self._only is not None:
            if picture.pts not in self._wanted:
                return None
            self._wanted.discard(picture.pts)
        counted = self._timeless and self._mode != "intra"
        if counted:
            stated = _picture_seconds(picture, self._tick, self._spacing)
            self.clock.spacing_seconds = stated if stated > 0.75 * self._spacing else self._spacing  # else: one field
        ticks = None if counted else self.clock.ticks(picture.pts, picture.dts)
        if ticks is None and not self._timeless:
            self._decode_everything()  # a frame without a time is placed by counting, which skipping would spoil
        start = self._stated_start if self._first_pts is None else max(self._first_pts, self._stated_start or 0)
        seconds, jumped = self.clock.show(
            ticks, stream_start_seconds=None if start is None or self._timeless else start * self._tick
        )
        if jumped:
            self.ledger.timeline_jumped()
        return seconds

    def frame(self, picture: Any, seconds: float) -> Frame | None:
        """Return the frame of a picture, or None where it cannot be scaled (then it counts as a failed packet)."""
        if picture.rotation != self._rotation:
            self._rotation = int(picture.rotation)
            self._turn = orientation_of(picture, self._context.codec.name)
            self.rotation_degrees = self._rotation % 360
        shape = Picture(picture, self._scaler, self._turn)
        try:
            thumb = shape.thumb()
            unclear = shows_through(picture, self._opacity)
        except (av.error.MemoryError, MemoryError):
            raise
        except (av.error.FFmpegError, ValueError) as error:
            log.debug("picture at %.3f s: %s", seconds, error)
            check_headroom()
            self.ledger.packet_failed(seconds)
            return None
        if self._watch is not None and self._mode == "nonref":
            self.skips_something_else |= self._watch.shows_something_else(thumb)
        turns = None if self._mode == "intra" else self._turns.by_turns(seconds, thumb)
        if turns is not None:
            self.comes_by_turns = True
            self.ledger.unclear(*turns)
        damaged = bool(picture.is_corrupt)
        coded = (self._context.coded_width - picture.width, self._context.coded_height - picture.height)
        self.beyond_edge = self.beyond_edge or max(coded) > MOST_BEYOND_EDGE
        lasting = max(self.least_seconds, _picture_seconds(picture, self._tick, self._spacing))
        self.shows_through = self.shows_through or unclear
        self.ledger.frame_shown(seconds, lasting, corrupt=damaged, unclear=unclear)
        width, height = max(round(picture.width * self._aspect), 1), int(picture.height)
        if self._turn[0]:
            width, height = height, width
        return Frame(
            pts_seconds=seconds,
            thumb=thumb,
            luma=shape.luma,
            sketch=shape.sketch,
            width=width,
            height=height,
            is_intra=_is_intra(picture),
            corrupt=damaged,
        )

    def stop_skipping(self) -> bool:
        """Decode every frame from here on if skipping hides too much; return whether that is new.

        Nothing refers to a skipped frame, so the decoder can be told at any moment.
        """
        if self._mode != "nonref" or not self.ledger.skips_too_much():
            return False
        self._decode_everything()
        return True

    def _is_sample(self, packet: Any) -> bool:
        """Return whether a packet is decoded to see what is left out; a frame comes of it where others refer to it."""
        if self._watch is None:
            return False
        codec = self._context.codec.name
        referred = is_referred_to(bytes(packet), codec, self._extradata) if codec in NAL_CODECS else None
        if referred or not self._watch.picks(packet):
            return False
        self._samples.add(packet.pts)
        return True

    def _is_left_out(self, picture: Any) -> bool:
        """Take a picture; return whether it was decoded as a sample alone. It is looked at, and no frame comes of it.

        Codecs that do not say beforehand whether others refer to it leave out B pictures.
        """
        if picture.pts not in self._samples:
            return False
        self._samples.discard(picture.pts)
        named = self._context.codec.name in NAL_CODECS
        if self._watch is None or self._mode != "nonref" or not (named or int(picture.pict_type) == _B_PICTURE):
            return False
        with suppress(av.error.FFmpegError, ValueError):
            self._watch.add_sample(Picture(picture, self._scaler, self._turn).thumb())
        return True

    def _is_large(self, size: int) -> bool:
        """Return whether a packet is so much larger than others that what it shows must be looked at.

        What nothing refers to is as a rule little more than what its neighbours show; a picture of something else put
        in between costs as many bits as a cut does.
        """
        usual = sorted(self._sizes)[len(self._sizes) // 2] if self._sizes else size
        self._sizes.append(size)
        return size > LARGE_PACKET * usual

    def _decode_everything(self) -> None:
        if self._mode == "nonref":
            self._mode = "all"
            self._context.skip_frame = "DEFAULT"

    def _look_at(self, packet: Any) -> None:
        """Learn from the first packets where the stream begins, and whether it has timestamps at all."""
        if self._only is not None:
            if is_among(packet.pos, self._only):
                self._wanted.add(packet.pts)
            return
        if self._packets == 0 and packet.pts is None and packet.dts is None:
            self._timeless = True
            self._decode_everything()  # frames are counted, so each must be decoded
        if self._timeless and self._mode == "intra" and packet.pts is None:
            # decode order: off by the reordering at most
            packet.pts = round(self._packets * self._spacing / self._tick)
        if self._packets < _FIRST_PACKETS and packet.pts is not None and not packet.is_discard:
            self._first_pts = packet.pts if self._first_pts is None else min(self._first_pts, packet.pts)
        self._packets += 1


def check_headroom() -> None:
    """Raise MemoryError if a decoder that failed can have lacked memory, which most decoders report as bad data."""
    np.empty(_HEADROOM_BYTES, np.uint8)  # only asked for, never touched: costs address space alone


def as_float(value: Any) -> float:
    """Return a rational of PyAV as a float; 0.0 for None and 0/0 (PyAV 19 has `AVRational` and never None)."""
    if value is None:
        return 0.0
    denominator = getattr(value, "denominator", 1)
    return float(value.numerator / denominator) if denominator else 0.0


def frame_rate(stream: Any) -> float:
    """Return frames per second as far as the container knows, else 0.0."""
    for claim in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        rate = as_float(claim)
        if 0.1 <= rate <= 1000.0:
            return rate
    return 0.0


def _is_intra(picture: Any) -> bool:
    return bool(picture.key_frame) or int(picture.pict_type) == 1


def _picture_seconds(picture: Any, tick: float, spacing: float) -> float:
    """Return how long a frame is shown; the usual spacing where the container does not say or exaggerates."""
    seconds = float((picture.duration or 0) * tick)
    return seconds if 0 < seconds <= 3600.0 else spacing
