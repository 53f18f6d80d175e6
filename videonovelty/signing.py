"""Sign one video: decode it, choose its keyframes, compute every signature. Runs inside the locked child process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from videonovelty.decode import OpenVideo, open_video
from videonovelty.decode.skipped import SkippedPicturesError
from videonovelty.errors import CorruptVideoError
from videonovelty.keyframes import choose_keyframes
from videonovelty.records import Coverage, Frame, Signatures, SignedVideo
from videonovelty.settings import Settings
from videonovelty.signatures import KeyframeSignatures, scheme, sign_keyframes
from videonovelty.signatures.motion import MotionRecorder


def sign_video(
    fd: int, *, video_id: str, name: str, settings: Settings, heartbeat: Callable[[float], None]
) -> SignedVideo:
    """Return the signatures and the coverage of the video behind `fd` (a regular file at position 0).

    `name` appears in errors only. `heartbeat` is called with the seconds the container declares, then with the time of
    every frame.
    Raises VideoError: nothing of the file could be looked at.
    """
    started = time.process_time()
    with open_video(fd, settings.decode, name=name) as video:
        heartbeat(video.probe.declared_seconds)
        try:
            signed, motion, notes = _signed(video, settings, heartbeat)
        except SkippedPicturesError:
            signed, motion, notes = _signed(video, settings, heartbeat, skipping=False)
        coverage = video.coverage()
        coverage = replace(coverage, notes=(*coverage.notes, *notes))
        probe = video.probe
    if len(signed.pts_seconds) == 0:
        raise CorruptVideoError(name)
    # the last picture is shown to the end of what was decoded
    decoded_end = float(coverage.undecoded[-1, 0]) if _tail_is_missing(coverage) else coverage.duration_seconds
    end_seconds = signed.end_seconds.copy()
    end_seconds[-1] = max(end_seconds[-1], decoded_end)
    signatures = Signatures(
        video_id=video_id,
        scheme=scheme(settings.signatures),
        pts_seconds=signed.pts_seconds,
        start_seconds=signed.start_seconds,
        end_seconds=end_seconds,
        pdq=signed.pdq,
        pdq_inner=signed.pdq_inner,
        has_inner=signed.has_inner,
        quality=signed.quality,
        informative=signed.informative,
        motion=motion.finish(float(end_seconds[-1])),
        local=signed.local,
        panes=signed.panes,
    )
    return SignedVideo(probe, coverage, signatures, time.process_time() - started)


def _signed(
    video: OpenVideo, settings: Settings, heartbeat: Callable[[float], None], *, skipping: bool = True
) -> tuple[KeyframeSignatures, MotionRecorder, Sequence[str]]:
    """Return the signatures of the keyframes of one pass, what was recorded of its movement, and notes.

    When `skipping`, what nothing refers to is left out, but for samples. Raises SkippedPicturesError.
    """
    motion = MotionRecorder(settings.decode.motion_step_seconds)
    frames = video.frames("nonref" if skipping else "all", watch_skipped=skipping)
    watched = motion.watch(_with_heartbeat(frames, heartbeat))
    chosen = choose_keyframes(watched, settings.keyframes, expected_seconds=video.probe.declared_seconds)
    return sign_keyframes(chosen, settings.signatures), motion, chosen.notes


def _tail_is_missing(coverage: Coverage) -> bool:
    return len(coverage.undecoded) > 0 and float(coverage.undecoded[-1, 1]) >= coverage.duration_seconds - 1e-6


def _with_heartbeat(frames: Iterable[Frame], heartbeat: Callable[[float], None]) -> Iterator[Frame]:
    for frame in frames:
        heartbeat(frame.pts_seconds)
        yield frame
