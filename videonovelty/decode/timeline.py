"""When each decoded picture is shown, and what nobody could look at. Pure bookkeeping: no pixels, no PyAV."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from videonovelty.records import F64

_FALLBACK_FRAME_SECONDS = 1 / 25
_MAX_TIMESTAMP_JUMP_SECONDS = 30 * 3600.0  # what ffmpeg's command line calls an error in a file without discontinuities
_MAX_DISCONTINUITY_SECONDS = 10.0  # …and in formats that may have them, MPEG transport and program streams
_BACKWARD_JUMP_SECONDS = 0.25  # a larger step back is a new timeline (joined files), a smaller one a reordered picture
LONGEST_SKIP_SECONDS = 0.5
"""Skipping frames nobody refers to may leave no longer stretch than this unseen."""
_MAX_REORDERED = 24  # packets that may wait in a decoder: H.264 allows 16 frames, some come as two fields
_PENDING_PACKETS = 1024
_TAIL_TOLERANCE_SECONDS = 0.1


def sane_frame_seconds(frames_per_second: float) -> float:
    """Return the spacing of frames in seconds for a claimed rate; 1/25 where the claim is missing or absurd."""
    if 0.1 <= frames_per_second <= 1000.0:
        return 1.0 / frames_per_second
    return _FALLBACK_FRAME_SECONDS


class FrameClock:
    """Presentation seconds of successive frames of one stream, strictly increasing whatever the timestamps do.

    Chooses between pts and dts as libavcodec's `guess_correct_pts` does (the one with fewer steps back), counts frames
    where both are missing, and starts a new stretch of the same timeline where timestamps jump (joined recordings):

        pts 0, 1, 2, 0, 1 at one tick a second  →  0, 1, 2, 3, 4 seconds
    """

    def __init__(self, tick_seconds: float, frame_seconds: float, *, discontinuous: bool = False) -> None:
        self.origin_seconds: float | None = None
        self.last_seconds: float | None = None
        self.jumps = 0
        self._tick = tick_seconds
        self.spacing_seconds = frame_seconds
        self._offset = 0.0
        self._max_jump = _MAX_DISCONTINUITY_SECONDS if discontinuous else _MAX_TIMESTAMP_JUMP_SECONDS
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._bad_pts = 0
        self._bad_dts = 0

    def seconds(self, ticks: int) -> float | None:
        """Return where a timestamp lies on the timeline as it stands, None before the first frame."""
        if self.origin_seconds is None:
            return None
        return ticks * self._tick - self.origin_seconds + self._offset

    def ticks(self, pts: int | None, dts: int | None) -> int | None:
        """Return the timestamp to believe for the next frame out of the decoder."""
        if dts is not None:
            self._bad_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._bad_pts += self._last_pts is not None and pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        if pts is not None and (self._bad_pts <= self._bad_dts or dts is None):
            return pts
        return dts

    def show(self, ticks: int | None, *, stream_start_seconds: float | None = None) -> tuple[float, bool]:
        """Return (seconds of the next frame, whether the timestamps jumped).

        The first frame is at 0, or where the stream's stated start puts it when that is less than a second earlier.
        """
        last = self.last_seconds
        jumped = False
        if ticks is None:
            now = 0.0 if last is None else last + self.spacing_seconds
            if self.origin_seconds is None:
                self.origin_seconds = 0.0
        else:
            raw = ticks * self._tick
            if self.origin_seconds is None:
                start = stream_start_seconds
                self.origin_seconds = start if start is not None and 0.0 <= raw - start <= 1.0 else raw
            now = raw - self.origin_seconds + self._offset
            if last is None:
                now = max(now, 0.0)
            elif now < last - _BACKWARD_JUMP_SECONDS or now > last + self._max_jump:
                self._offset += last + self.spacing_seconds - now
                now = last + self.spacing_seconds
                self.jumps += 1
                jumped = True
            elif now <= last:
                now = last + self.spacing_seconds / 8
        self.last_seconds = now
        return now, jumped


@dataclass(slots=True)
class StreamLedger:
    """What went into the decoder of one stream and what came out; all times are seconds of the stream."""

    frame_seconds: float
    frames: int = 0
    corrupt_frames: int = 0
    packet_errors: int = 0
    packets: int = 0
    longest_unseen_seconds: float = 0.0
    first_seconds: float | None = None
    last_seconds: float | None = None
    last_end_seconds: float = 0.0
    fed_end_seconds: float = 0.0
    gaps: list[tuple[float, float]] = field(default_factory=list)
    allow_skipping: bool = False
    """True for a pass of I frames, where long skipped stretches are meant."""
    _gap_start: float | None = None
    _failed_end: float = 0.0
    _suspect: bool = False
    _pending: list[float] = field(default_factory=list)

    def packet_fed(self, seconds: float | None, duration_seconds: float, *, corrupt: bool = False) -> None:
        """A packet went to the decoder (or was skipped on purpose) without an error."""
        self.packets += 1
        self._suspect |= corrupt
        if seconds is None:
            return
        self.fed_end_seconds = max(self.fed_end_seconds, seconds + duration_seconds)
        heapq.heappush(self._pending, seconds)
        if len(self._pending) > _PENDING_PACKETS:  # only the earliest skipped packet and the reorder window matter
            ordered = sorted(self._pending)
            self._pending = ordered[: _PENDING_PACKETS // 4] + ordered[-_PENDING_PACKETS // 4 :]

    def packet_failed(self, seconds: float | None) -> None:
        """A packet gave an error; what it would have shown counts as undecoded until the next frame that is shown."""
        self.packets += 1
        self.packet_errors += 1
        if seconds is None:
            seconds = self.last_end_seconds
        if self._gap_start is None or seconds < self._gap_start:
            self._gap_start = max(seconds, 0.0)
        self._failed_end = max(self._failed_end, seconds + self.frame_seconds)

    def skips_too_much(self) -> bool:
        """Return whether frames nobody refers to hide more than a moment: behind the last frame, or about to."""
        if self.longest_unseen_seconds > LONGEST_SKIP_SECONDS:
            return True
        if len(self._pending) <= _MAX_REORDERED or self.last_seconds is None:
            return False
        return max(self._pending) - self.last_seconds > LONGEST_SKIP_SECONDS

    def frame_shown(
        self, seconds: float, duration_seconds: float, *, corrupt: bool = False, unclear: bool = False
    ) -> None:
        """A frame came out of the decoder, to be shown at `seconds`.

        Where it is unclear what it shows, that counts as undecoded until the next frame.
        """
        self.frames += 1
        self.corrupt_frames += corrupt
        if self.first_seconds is None:
            self.first_seconds = seconds
        half = self.frame_seconds / 2
        skipped: float | None = None
        while self._pending and self._pending[0] < seconds - half:
            earliest = heapq.heappop(self._pending)
            if skipped is None and (self.last_seconds is None or earliest > self.last_seconds + half):
                skipped = earliest
        while self._pending and self._pending[0] <= seconds + half / 2:
            heapq.heappop(self._pending)
        if skipped is not None:
            self._skipped(skipped, seconds)
        elif (
            (corrupt or self._suspect)
            and self.last_seconds is not None
            and seconds > self.last_end_seconds + 1.5 * self.frame_seconds
        ):
            # nothing was fed for this stretch and the stream is damaged here: packets were lost on the way
            self._add_gap(self.last_end_seconds, seconds)
        if self._gap_start is not None and seconds > self._gap_start:
            self._add_gap(self._gap_start, seconds)
            self._gap_start = None
        if unclear:
            self._gap_start = seconds if self._gap_start is None else min(self._gap_start, seconds)
            self._failed_end = max(self._failed_end, seconds + duration_seconds)
        self._suspect = False
        self.last_seconds = seconds
        self.last_end_seconds = max(self.last_end_seconds, seconds + duration_seconds)

    def unclear(self, start: float, end: float) -> None:
        """What `[start, end)` shows is unclear, though it was decoded: that counts as undecoded."""
        if self.gaps and start <= self.gaps[-1][1] <= end and self.gaps[-1][0] <= start:
            self.gaps[-1] = (self.gaps[-1][0], end)
        else:
            self._add_gap(start, end)

    def _skipped(self, start: float, end: float) -> None:
        self.longest_unseen_seconds = max(self.longest_unseen_seconds, end - start)
        if end - start > LONGEST_SKIP_SECONDS and not self.allow_skipping:
            self._add_gap(start, end)  # more than a run of B frames: the decoder took packets and showed nothing

    def timeline_jumped(self) -> None:
        """Timestamps started anew: what was waiting belongs to the old timeline."""
        self._pending.clear()

    def end_seconds(self) -> float:
        """Return where the decoded part ends; packets skipped on purpose after the last frame count as there."""
        beyond = min(self.fed_end_seconds, self.last_end_seconds + LONGEST_SKIP_SECONDS)
        return max(self.last_end_seconds, beyond) if self.frames else 0.0

    def close(
        self, declared_end_seconds: float, *, finished: bool, origin_seconds: float = 0.0
    ) -> tuple[F64, float, float]:
        """Return (undecoded stretches (k, 2), end of the timeline, longest unseen stretch), all in seconds.

        The declared end counts where the decoded one falls short of it by more than two frames, unless the container
        measured from its own zero and the stream begins `origin_seconds` later.
        """
        end = self.end_seconds()
        gaps = list(self.gaps)
        unseen = self.longest_unseen_seconds
        if self.last_seconds is not None:
            waiting = [p for p in self._pending if p > self.last_seconds + self.frame_seconds / 2]
            if waiting and finished:
                stop = max(waiting) + self.frame_seconds
                unseen = max(unseen, stop - min(waiting))
                end = max(end, stop)
                if stop - min(waiting) > LONGEST_SKIP_SECONDS and not self.allow_skipping:
                    gaps.append((min(waiting), stop))
        tolerance = 2 * self.frame_seconds + _TAIL_TOLERANCE_SECONDS
        total = end
        if finished and abs(end + origin_seconds - declared_end_seconds) <= tolerance:
            declared_end_seconds = end
        if declared_end_seconds > end + tolerance or (not finished and declared_end_seconds > end):
            total = declared_end_seconds
            gaps.append((end, total))
        elif not finished:
            total = end + self.frame_seconds
            gaps.append((end, total))
        if self._gap_start is not None:
            total = max(total, self._failed_end)
            gaps.append((self._gap_start, total))
        undecoded = merged(gaps)
        if len(undecoded):
            unseen = max(unseen, float((undecoded[:, 1] - undecoded[:, 0]).max()))
        return undecoded, total, unseen

    def _add_gap(self, start: float, end: float) -> None:
        if end > start:
            self.gaps.append((start, end))


def merged(intervals: list[tuple[float, float]]) -> F64:
    """Return the union of `[start, end)` intervals, shape (k, 2), sorted and disjoint; empty ones vanish."""
    out: list[list[float]] = []
    for start, end in sorted(i for i in intervals if i[1] > i[0]):
        if out and start <= out[-1][1]:
            out[-1][1] = max(out[-1][1], end)
        else:
            out.append([start, end])
    return np.array(out, np.float64).reshape(-1, 2)
