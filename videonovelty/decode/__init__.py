"""The one door to PyAV: opens a video by file descriptor, decodes it, and accounts for what it could not decode.

Made for hostile intake: nothing is opened but the descriptor it is given, only listed container formats and codecs run,
one bad packet costs one packet, and what was not looked at is reported, never assumed.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import logging
import os
import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.stream import Disposition

from videonovelty.decode.accounting import I64, ByteCount, hides_samples, sample_positions
from videonovelty.decode.pictures import Scaler
from videonovelty.decode.reader import Reader, as_float, check_headroom, frame_rate
from videonovelty.decode.skipped import SkippedPicturesError
from videonovelty.decode.timeline import StreamLedger, merged, sane_frame_seconds
from videonovelty.errors import (
    CorruptVideoError,
    LimitExceededError,
    NoVideoStreamError,
    Reason,
    RefusedVideoError,
    UnreadableVideoError,
    VideoError,
)
from videonovelty.records import BY_TURNS, TRANSPARENT, Coverage, Frame, Probe
from videonovelty.settings import DecodeSettings

log = logging.getLogger(__name__)

_NOT_FOR_DECODING = frozenset({"av.__main__", "av.datasets"})

PASSES = ("intra", "nonref", "all")
"""I frames only; frames that others refer to (bit exact, 0.6–0.7 of the cost of all); every frame."""

_NO_TIMESTAMPS = 0x0080  # AVFMT_NOTIMESTAMPS: raw streams, whose only clock is the count of frames
_MAY_JUMP = 0x0200  # AVFMT_TS_DISCONT: MPEG transport and program streams
_PICTURE_DISPOSITIONS = Disposition.attached_pic | Disposition.timed_thumbnails
_MAX_READ_ERRORS = 64
_BAD_TEXT: dict[str, Any] = {"metadata_errors": "replace"} if av.__version__.startswith("18.") else {}
"""PyAV 18 has to be told to survive metadata that is not UTF-8; 19 knows no such option."""
_SEEK_MARGIN_SECONDS = 0.25
PICTURE_SECONDS = 1.0
"""How long a picture attached to a file stands on its timeline."""
_SHORT_DECODE_SECONDS = 2.0  # a window that begins before this is reached without seeking
_ROUNDING_SECONDS = 1e-6
_REREAD_BYTES, _REREAD_BLOCK = 64 << 20, 1 << 20


@dataclass(slots=True)
class _Track:
    """One video stream of the file and where it lies on the timeline."""

    index: int
    declared_seconds: float
    is_picture: bool = False
    """It is a picture attached to the file, or some."""
    hidden: I64 | None = None
    """Where the samples lie that its edit list leaves out, ascending, if the track is of those."""
    start_seconds: float = 0.0
    """Where its first frame lies on the common timeline."""
    origin_seconds: float | None = None
    """Container time of its first frame, once known."""
    seekable: bool = True
    ledger: StreamLedger = field(default_factory=lambda: StreamLedger(1 / 25))
    others_end_seconds: float = 0.0
    """Container time at which the sound ends."""
    length_seconds: float = 0.0
    """How much of the common timeline it takes, known after a whole pass."""
    finished: bool = False
    beyond_edge: bool = False
    """More of its pictures is coded than shown."""
    shows_through: bool = False
    """Some of its pictures are transparent in part."""
    comes_by_turns: bool = False
    """Pictures that have nothing in common come by turns."""


class OpenVideo:
    """A video that is open for decoding. One pass at a time; frames stay valid after the pass and after closing."""

    def __init__(self, fd: int, settings: DecodeSettings, name: str, *, quick: bool = False) -> None:
        self._fd = fd
        self._quick = quick
        self._settings = settings
        self._name = name
        self._container: Any = None
        self._scaler = Scaler()
        self._pass = 0
        self._passes: list[str] = []
        self._notes: list[str] = []
        self._window = False
        self._watch_skipped = False
        self._frames_left = settings.max_frames
        self._left_out: list[tuple[float, str]] = []
        self._count: ByteCount | None = None
        self._with_edits = True
        self._reopen()
        self._tracks = self._choose_tracks()
        self.probe = self._make_probe()

    def frames(
        self,
        pass_name: str = "nonref",  # noqa: S107 (no password)
        *,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        watch_skipped: bool = False,
    ) -> Iterator[Frame]:
        """Yield frames in presentation order, `pts_seconds` strictly increasing from 0 at the first frame.

        `pass_name` is one of `PASSES`. With `start_seconds` or `end_seconds` only frames in `[start, end)` are yielded,
        by seeking where the container can. Several video streams lie end to end on one timeline, then the pictures
        attached to the file, `PICTURE_SECONDS` each, and last what edit lists leave out.

        A new call ends the pass before it. Raises CorruptVideoError where a whole pass gave no frame,
        LimitExceededError when memory runs out, ValueError for an unknown pass, and, if it is to `watch_skipped`,
        SkippedPicturesError where pictures that are left out show something else: then all of them are to be decoded.
        """
        if pass_name not in PASSES:
            raise ValueError(f"unknown pass {pass_name!r}; known: {', '.join(PASSES)}")
        self._pass += 1
        self._window = start_seconds is not None or end_seconds is not None
        self._watch_skipped = watch_skipped and not self._window
        if not self._window:
            self._passes.append(pass_name)
        return self._run_pass(self._pass, pass_name, start_seconds or 0.0, end_seconds)

    def coverage(self) -> Coverage:
        """Return what the latest pass looked at. A pass that was not iterated to its end leaves the rest undecoded."""
        gaps: list[tuple[float, float]] = []
        notes = list(self._notes)
        unseen = 0.0
        end = 0.0
        for track in self._tracks:
            undecoded, length, longest = self._closed(track)
            gaps += [(end + start, end + stop) for start, stop in undecoded.tolist()]
            unseen = max(unseen, longest)
            end += length
        notes += _told(self._tracks)
        notes += [TRANSPARENT] if any(track.shows_through for track in self._tracks) else []
        notes += [BY_TURNS] if any(track.comes_by_turns for track in self._tracks) else []
        left_out = [*self._left_out, *((0.0, what) for what in self._besides())]
        for seconds, _ in left_out:
            gaps.append((end, end + max(seconds, 1.0)))
            end += max(seconds, 1.0)
        undecoded = merged(gaps)
        lost = float((undecoded[:, 1] - undecoded[:, 0]).sum())
        if len(undecoded):
            unseen = max(unseen, float((undecoded[:, 1] - undecoded[:, 0]).max()))
        return Coverage(
            declared_seconds=self.probe.declared_seconds,
            duration_seconds=end,
            decoded_seconds=max(end - lost, 0.0),
            frames=sum(t.ledger.frames for t in self._tracks),
            packet_errors=sum(t.ledger.packet_errors for t in self._tracks),
            corrupt_frames=sum(t.ledger.corrupt_frames for t in self._tracks),
            undecoded=undecoded,
            longest_unseen_seconds=unseen,
            passes=tuple(dict.fromkeys(self._passes)) or ("window",),
            notes=tuple(dict.fromkeys(notes)),
            left_out=tuple(dict.fromkeys(what for _, what in left_out)),
        )

    def _besides(self) -> list[str]:
        """Return what the file holds besides its streams, as the latest whole pass has found it."""
        found = []
        attached = sum(1 for stream in self._container.streams if stream.type == "attachment")
        if attached:
            found.append("a file attached to it" if attached == 1 else f"{attached} files attached to it")
        if any(track.beyond_edge for track in self._tracks):
            found.append("more of its pictures, beyond their edges")
        unexplained = 0 if self._count is None else self._count.unexplained(self._fd)
        if unexplained:
            found.append(f"{unexplained:,} bytes that belong to no picture, sound or text of it")
        return found

    def only_stream_index(self) -> int | None:
        """Return the number of the video stream; None where the file has more, as far as it was read, or pictures."""
        alone = len(self._container.streams.video) == len(self._tracks) == 1 and not self._left_out
        return self._tracks[0].index if alone else None

    def only_stream(self) -> Any:
        """Return the video stream, to be read from its first packet; None where there are more."""
        if self.only_stream_index() is None:
            return None
        self._pass += 1
        return self._begin(self._tracks[0])

    def packets(self, stream: Any) -> Iterator[Any]:
        """Yield the coded packets of `only_stream`, in the order of the file.

        Raises CorruptVideoError when something could not be read, or the file ends before its container says so.
        """
        track = self._tracks[0]
        ledger = StreamLedger(sane_frame_seconds(frame_rate(stream)))
        origin, end = float("inf"), 0.0
        tick = as_float(stream.time_base)
        with _translated(self._name):
            for packet in self._packets(track, stream, ledger):
                if not packet.size:
                    continue
                if packet.pts is not None:
                    shown = packet.pts * tick
                    origin, end = min(origin, shown), max(end, shown + (packet.duration or 0) * tick)
                yield packet
        if ledger.packet_errors or self._notes:
            raise CorruptVideoError(self._name, "not all of it could be read")
        besides = self._besides()
        if besides:
            raise CorruptVideoError(self._name, f"the file also holds {besides[0]}")
        if not np.isfinite(origin):
            return
        track.finished = True
        ledger.frame_shown(0.0, max(end - origin, ledger.frame_seconds))
        undecoded, _, _ = ledger.close(self._declared_end(track), finished=True, origin_seconds=origin)
        if len(undecoded):
            raise CorruptVideoError(self._name, "it ends before its container says so")

    def close(self) -> None:
        """Close the container; frames already yielded stay valid. The descriptor stays open: it is the caller's."""
        self._pass += 1
        if self._container is not None:
            self._container.close()
            self._container = None

    # opening

    def _reopen(self, *, with_edits: bool = True) -> None:
        """Open the container afresh at the start of the file: the surest way to begin a pass."""
        if self._container is not None:
            self._container.close()
        options = {"fd": str(self._fd), **_restrictions(self._settings)}
        if self._quick:
            # else libavformat decodes pictures until it knows their rate and order: 17 ms at 720p
            options |= {"skip_frame": "all", "analyzeduration": "1"}
        if not with_edits:
            options["ignore_editlist"] = "1"
        self._with_edits = with_edits
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._container = av.open("fd:", mode="r", options=options, **_BAD_TEXT)
        self._touched = False

    def _choose_tracks(self) -> list[_Track]:
        """Pick every stream of pictures, refuse what the settings do not allow."""
        tracks: list[_Track] = []
        refusal: RefusedVideoError | None = None
        videos = sorted(self._container.streams.video, key=_is_attached)
        for stream in videos:
            attached = _is_attached(stream)
            try:
                self._check_stream(stream)
            except RefusedVideoError as error:
                refusal = refusal or (None if attached else error)
                self._leave_out(stream, f"video stream {stream.index}, not decoded: {error.detail or error.reason}")
                continue
            if len(tracks) == self._settings.max_video_streams:
                self._leave_out(stream, f"more video streams than the first {len(tracks)} of {len(videos)}")
                continue
            tracks.append(_Track(stream.index, 0.0 if attached else self._declared_of(stream), is_picture=attached))
        if all(track.is_picture for track in tracks):
            raise refusal or NoVideoStreamError(self._name)
        return [*tracks, *self._hidden_tracks()]

    def _hidden_tracks(self) -> list[_Track]:
        """Return a track for each stream whose edit list leaves samples out: of those."""
        if not str(self._container.format.name).startswith("mov"):
            return []
        shown = {s.index: sample_positions(s, shown=True) for s in self._container.streams.video if hides_samples(s)}
        if not shown:
            return []
        self._reopen(with_edits=False)
        listed = {s.index: sample_positions(s, shown=False) for s in self._container.streams.video}
        self._reopen()
        hidden = {index: np.setdiff1d(listed[index], there) for index, there in shown.items() if index in listed}
        return [_Track(index, 0.0, hidden=samples, seekable=False) for index, samples in hidden.items() if len(samples)]

    def _leave_out(self, stream: Any, what: str) -> None:
        self._left_out.append((self._declared_of(stream), what))

    def _check_stream(self, stream: Any) -> None:
        context = stream.codec_context
        if context is None:
            raise RefusedVideoError(self._name, "no decoder", reason=Reason.REFUSED_CODEC)
        codec = context.codec.name
        if codec not in self._settings.codecs:
            raise RefusedVideoError(self._name, f"codec {codec}", reason=Reason.REFUSED_CODEC)
        if context.width * context.height > self._settings.max_pixels:
            detail = f"{context.width} × {context.height}"
            raise RefusedVideoError(self._name, detail, reason=Reason.REFUSED_SIZE)

    def _declared_of(self, stream: Any) -> float:
        """Return how long the container says a video stream is; 0.0 when it does not say."""
        if stream.duration is not None and stream.duration > 0:
            seconds = float(stream.duration * as_float(stream.time_base))
            if self._container.format.name == "avi" and frame_rate(stream) > 0:
                # FFmpeg shortens the duration of a file that was cut off; the header still counts its frames
                seconds = max(seconds, stream.frames / frame_rate(stream))
            return seconds
        tagged = _clock_text_seconds(stream.metadata.get("DURATION", ""))  # Matroska, as its muxers write it
        if tagged > 0:
            return tagged
        duration = self._container.duration
        return duration / av.time_base if duration is not None and duration > 0 else 0.0

    def _make_probe(self) -> Probe:
        streams = self._container.streams
        stream = next(s for s in streams.video if s.index == self._tracks[0].index)
        context = stream.codec_context
        return Probe(
            container=str(self._container.format.name),
            codec=str(context.codec.name),
            width=int(context.width),
            height=int(context.height),
            frames_per_second=frame_rate(stream),
            declared_seconds=sum(t.declared_seconds for t in self._tracks),
            pixel_format=str(context.pix_fmt or ""),
            video_streams=len({track.index for track in self._tracks}) + len(self._left_out),
        )

    # decoding

    def _run_pass(self, number: int, mode: str, start: float, end: float | None) -> Iterator[Frame]:
        windowed = self._window
        self._frames_left = self._settings.max_frames
        if not windowed:
            for track in self._tracks:
                track.ledger = StreamLedger(1 / 25, allow_skipping=mode == "intra")
                track.finished = False
        offset = 0.0
        yielded = 0
        for track in self._tracks:
            if not windowed:
                track.start_seconds = offset
            if end is not None and offset >= end:
                break
            length = track.length_seconds or track.declared_seconds
            if windowed and 0 < offset + length <= start and track is not self._tracks[-1]:
                offset += length
                continue
            stop = None if end is None else end - offset
            for frame in self._decode_track(track, mode, start - offset, stop, windowed=windowed):
                if number != self._pass:
                    return
                yielded += 1
                yield replace(frame, pts_seconds=frame.pts_seconds + offset) if offset else frame
                if number != self._pass:
                    return
            if not windowed:
                track.length_seconds = self._closed(track)[1]
            offset += track.length_seconds or length
        if not yielded and not windowed and mode != "intra":
            errors = sum(t.ledger.packet_errors for t in self._tracks)
            raise CorruptVideoError(self._name, f"{errors} packet errors" if errors else "")

    def _decode_track(
        self, track: _Track, mode: str, start: float, stop: float | None, *, windowed: bool
    ) -> Iterator[Frame]:
        """Yield the frames of one stream in `[start, stop)`, times from its own first frame."""
        with _translated(self._name):
            stream, reader, sought = self._position(track, mode, start if windowed else 0.0)
        reader.clock.origin_seconds = track.origin_seconds
        if not windowed:
            track.ledger.frame_seconds = reader.ledger.frame_seconds
            reader.ledger = track.ledger
        for packet in self._packets(track, stream, reader.ledger):
            for picture, seconds in self._pictures(reader, packet, track):
                if stop is not None and seconds >= stop - _ROUNDING_SECONDS:
                    return
                if sought and seconds > start:  # landed behind the window: some indexes lie
                    track.seekable = False
                    yield from self._decode_track(track, mode, start, stop, windowed=windowed)
                    return
                sought = False
                if seconds < start - _ROUNDING_SECONDS:
                    continue
                with _translated(self._name):
                    frame = reader.frame(picture, seconds)
                if frame is not None:
                    self._frames_left -= 1
                    yield frame
            track.shows_through |= reader.shows_through
            track.comes_by_turns |= reader.comes_by_turns
            if reader.rotation_degrees != self.probe.rotation_degrees:
                self.probe = replace(self.probe, rotation_degrees=reader.rotation_degrees)
            if self._frames_left <= 0:
                self._notes.append(f"stopped after {self._settings.max_frames} frames")
                return
            if reader.skips_something_else:
                self._notes.append("pictures that nothing refers to show something else, so every one was decoded")
                raise SkippedPicturesError
            if reader.stop_skipping():
                self._notes.append("frames nobody refers to hid long stretches, so every frame was decoded")
        if not windowed:
            track.finished = True
            track.beyond_edge = reader.beyond_edge

    def _pictures(self, reader: Reader, packet: Any, track: _Track) -> Iterator[tuple[Any, float]]:
        """Yield (decoded picture, its seconds) of one packet, as far as the pass wants them."""
        with _translated(self._name):
            pictures = reader.decode(packet)
        for picture in pictures:
            with _translated(self._name):
                seconds = reader.time(picture)
            if track.origin_seconds is None:
                track.origin_seconds = reader.clock.origin_seconds
            track.seekable = track.seekable and not reader.clock.jumps
            if seconds is not None:
                yield picture, seconds

    def _closed(self, track: _Track) -> tuple[Any, float, float]:
        return track.ledger.close(
            self._declared_end(track), finished=track.finished, origin_seconds=track.origin_seconds or 0.0
        )

    def _begin(self, track: _Track) -> Any:
        """Return the stream, to be read from its start."""
        with_edits = track.hidden is None
        if self._touched or self._container is None or self._with_edits != with_edits:
            self._reopen(with_edits=with_edits)
        self._touched = True
        stream = next((s for s in self._container.streams.video if s.index == track.index), None)
        if stream is None or stream.codec_context is None:
            raise CorruptVideoError(self._name, "the file changed between two passes")
        return stream

    def _position(self, track: _Track, mode: str, start: float) -> tuple[Any, Reader, bool]:
        """Return (stream, its reader, whether reading begins before `start` instead of at the first frame)."""
        stream = self._begin(track)
        flags = int(self._container.format.flags)
        tick = as_float(stream.time_base)
        far = start >= _SHORT_DECODE_SECONDS and track.seekable and tick > 0 and not flags & _NO_TIMESTAMPS
        # only a whole pass shows whether a timeline that may jump is in one piece
        if not far or (flags & _MAY_JUMP and not track.finished):
            return stream, self._reader(track, stream, mode), False
        if track.origin_seconds is None:
            for _ in self._decode_track(track, "intra", 0.0, None, windowed=True):
                break
            stream = self._begin(track)
            if track.origin_seconds is None:
                return stream, self._reader(track, stream, mode), False
        reader = self._reader(track, stream, mode)
        try:
            reader.look_at_first(self._container)
            target = int((start + track.origin_seconds - _SEEK_MARGIN_SECONDS) / tick)
            self._container.seek(target, stream=stream, backward=True)
        except (av.error.FFmpegError, OSError, OverflowError):
            track.seekable = False
            stream = self._begin(track)
            return stream, self._reader(track, stream, mode), False
        return stream, reader, True

    def _reader(self, track: _Track, stream: Any, mode: str) -> Reader:
        may_jump = bool(int(self._container.format.flags) & _MAY_JUMP)
        reader = Reader(stream, mode, self._settings, self._scaler, may_jump=may_jump)
        if self._watch_skipped:
            reader.watch_skipped()
        if track.hidden is not None:
            reader.show_only(track.hidden)
        elif track.is_picture:
            reader.least_seconds = PICTURE_SECONDS
        return reader

    def _packets(self, track: _Track, stream: Any, ledger: StreamLedger) -> Iterator[Any]:
        """Yield the packets of one stream; note where the others end; go on after a read error while that helps."""
        container = self._container
        count = ByteCount(container)
        heard = {s.index for s in container.streams if s.type == "audio"} if stream.duration is None else set()
        track.others_end_seconds = 0.0
        errors = 0
        budget = 2 * self._settings.max_frames  # fields and invisible frames are packets too
        while errors < _MAX_READ_ERRORS:
            try:
                for packet in container.demux():
                    count.add(packet)
                    if packet.stream_index == stream.index:
                        budget -= 1
                        if budget < 0:
                            self._notes.append(f"stopped after {2 * self._settings.max_frames} packets")
                            return
                        yield packet
                    elif packet.stream_index in heard and packet.pts is not None:
                        until = (packet.pts + (packet.duration or 0)) * as_float(packet.time_base)
                        track.others_end_seconds = max(track.others_end_seconds, until)
            except (av.error.MemoryError, MemoryError) as error:
                raise LimitExceededError(self._name, "memory", reason=Reason.MEMORY_LIMIT) from error
            except (av.error.FFmpegError, OSError) as error:
                errors += 1
                log.debug("%s: reading: %s", self._name, error)
                check_headroom()
                ledger.packet_failed(None)
                continue
            except IndexError:  # PyAV, at the end of a file, of a stream that has appeared on the way
                log.debug("%s: a stream begins on the way", self._name)
            if not self._window:
                self._count = count
            return
        self._notes.append("reading was given up after repeated errors")

    def _declared_end(self, track: _Track) -> float:
        """Return where the container says the stream ends, in stream time; 0.0 when that says nothing.

        A container's own length may be that of a longer sound track: it counts only if the other streams stop short
        of it too, as they do in a file that was cut off.
        """
        stream = self._stream_facts(track)
        if stream is None:
            return track.declared_seconds
        declared, own = stream
        if own:
            return declared
        heard = track.others_end_seconds
        return 0.0 if heard > 0 and heard >= declared - 1.0 else declared

    def _stream_facts(self, track: _Track) -> tuple[float, bool] | None:
        if self._container is None:
            return None
        stream = next((s for s in self._container.streams.video if s.index == track.index), None)
        if stream is None:
            return None
        own = bool(stream.duration and stream.duration > 0) or bool(
            _clock_text_seconds(stream.metadata.get("DURATION", ""))
        )
        return track.declared_seconds, own


def load_everything() -> None:
    """Load what is otherwise loaded when a stream of its kind appears: modules of PyAV, a table of characters.

    A process that is about to be locked away from the file system calls this first.
    """
    # Transport streams name their programmes in it, and the C library keeps it in a file. Never closed, so it stays.
    with suppress(AttributeError):
        ctypes.CDLL(None).iconv_open(b"UTF-8", b"ISO6937")
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in _NOT_FOR_DECODING:
            importlib.import_module(module.name)


@contextmanager
def open_video(fd: int, settings: DecodeSettings, *, name: str = "", quick: bool = False) -> Iterator[OpenVideo]:
    """Open the video behind a descriptor of a regular file; the descriptor stays the caller's to close.

    With `quick`, what the container does not say of its streams is not found out: enough for reading packets.

    The file is read through `fd` alone (its position is moved). `name` is display-safe text for messages.
    Raises UnreadableVideoError (NOT_A_VIDEO, IO_ERROR), NoVideoStreamError, RefusedVideoError (REFUSED_FORMAT,
    REFUSED_CODEC, REFUSED_SIZE), CorruptVideoError or LimitExceededError.
    """
    with _translated(name, opened=fd):
        video = OpenVideo(fd, settings, name, quick=quick)
    try:
        yield video
    finally:
        video.close()


def _restrictions(settings: DecodeSettings) -> dict[str, str]:
    return {
        "protocol_whitelist": "fd",
        "format_whitelist": ",".join(settings.formats),
        "codec_whitelist": ",".join(settings.codecs),
        "max_pixels": str(settings.max_pixels),
        "threads": "1",
    }


def opens_by_name(path: Path, settings: DecodeSettings, *, allow_files: bool = False) -> bool:
    """Whether FFmpeg opens the video at `path` by its name under the options every video is opened with.

    It must not: only descriptors may be opened, whatever a file refers to. With `allow_files` it must, or the first
    answer says nothing. For the doctor; `path` is a file of our own.
    """
    options = _restrictions(settings)
    if allow_files:
        options["protocol_whitelist"] = "fd,file"
    try:
        with av.open(f"file:{path}", mode="r", options=options):
            return True
    except (av.error.FFmpegError, OSError):
        return False


@contextmanager
def _translated(name: str, *, opened: int | None = None) -> Iterator[None]:
    """Turn PyAV's errors into ours; `opened` is the descriptor of a file that is just being opened."""
    try:
        yield
    except VideoError:
        raise
    except (av.error.MemoryError, MemoryError) as error:
        raise LimitExceededError(name, "memory", reason=Reason.MEMORY_LIMIT) from error
    except av.error.ArgumentError as error:
        if opened is not None and (error.log is None or "whitelist" in str(error)):
            raise RefusedVideoError(name, reason=Reason.REFUSED_FORMAT) from error
        raise UnreadableVideoError(name, type(error).__name__) from error
    except av.error.FFmpegError as error:
        if opened is not None and error.errno == errno.EIO and _can_be_read(opened):
            raise CorruptVideoError(name, "damaged beyond opening") from error
        reason = Reason.IO_ERROR if isinstance(error, OSError) else Reason.NOT_A_VIDEO
        raise UnreadableVideoError(name, type(error).__name__, reason=reason) from error
    except OSError as error:
        raise UnreadableVideoError(name, type(error).__name__, reason=Reason.IO_ERROR) from error


def _can_be_read(fd: int) -> bool:
    """Whether the disk gives what FFmpeg was reading last: its Matroska demuxer calls damage an input/output error.

    Where reading failed the position of the descriptor, which FFmpeg shares, still stands before the place.
    """
    position = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        for at in range(max(0, position - _REREAD_BYTES), position + _REREAD_BLOCK, _REREAD_BLOCK):
            os.pread(fd, _REREAD_BLOCK, at)
    except OSError:
        return False
    return True


def _is_attached(stream: Any) -> bool:
    """Return whether a video stream is a picture attached to the file, or pictures that stand for its chapters."""
    return bool(int(stream.disposition) & int(_PICTURE_DISPOSITIONS))


def _told(tracks: Sequence[_Track]) -> Iterator[str]:
    """Yield what lies on the timeline besides one video stream."""
    moving = sum(not track.is_picture and track.hidden is None for track in tracks)
    if moving > 1:
        yield f"{moving} video streams, laid end to end"
    if any(track.is_picture for track in tracks):
        yield "pictures attached to the file, after its end"
    hidden = sum(len(track.hidden) for track in tracks if track.hidden is not None)
    if hidden:
        yield f"{hidden} pictures that its edit list leaves out, after its end"


def _clock_text_seconds(text: str) -> float:
    """Return seconds of `HH:MM:SS.fraction`, 0.0 for anything else."""
    parts = text.strip("\0 ").split(":")
    if len(parts) != 3:
        return 0.0
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return 0.0
    total = hours * 3600 + minutes * 60 + seconds
    return total if np.isfinite(total) and total > 0 else 0.0
