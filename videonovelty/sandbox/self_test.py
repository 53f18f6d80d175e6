"""What a hijacked decoder might do, done on purpose: `doctor` shows by it that each limit bites on this machine."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator

from videonovelty.errors import Reason, VideoError
from videonovelty.records import SignedVideo
from videonovelty.sandbox.parent import Sandbox
from videonovelty.sandbox.zygote import FRAME, SIGNED
from videonovelty.settings import Settings
from videonovelty.signing import sign_video

JOB = "videonovelty.sandbox.self_test:misbehave"
_ANSWER = 4
"""Descriptor of a child's pipe."""
Heartbeat = Callable[[float], None]


def misbehave(fd: int, *, video_id: str, name: str, settings: Settings, heartbeat: Heartbeat) -> SignedVideo:
    """Do what the video's name says instead of signing it; sign a video of any other name."""
    if name in _DEEDS:
        heartbeat(0.0)
        _DEEDS[name](heartbeat)
    return sign_video(fd, video_id=video_id, name=name, settings=settings, heartbeat=heartbeat)


def _wait(heartbeat: Heartbeat) -> None:
    while True:
        heartbeat(0.0)
        time.sleep(0.05)


def _work(heartbeat: Heartbeat) -> None:
    while True:
        heartbeat(0.0)
        sum(range(10_000))


def _flood(_heartbeat: Heartbeat) -> None:
    os.write(_ANSWER, FRAME.pack(SIGNED, 1 << 40))
    time.sleep(600)


_DEEDS: dict[str, Callable[[Heartbeat], object]] = {
    "silence": lambda _: time.sleep(600),
    "elapsed time": _wait,
    "processor time": _work,
    "memory": lambda _: bytearray(1 << 40),
    "length of the answer": _flood,
    "crash": lambda _: ctypes.string_at(8),
}
_HURRIED = {
    "silence": {"stall_seconds": 1.0},
    "elapsed time": {"wall_seconds_base": 1.0},
    "processor time": {"cpu_seconds_base": 0.3},
}
"""The settings under which a limit is met soon; one sandbox each, so that no other limit is met before on a busy
machine."""
_REASONS = {
    "silence": Reason.STALLED,
    "elapsed time": Reason.WALL_LIMIT,
    "processor time": Reason.CPU_LIMIT,
    "memory": Reason.MEMORY_LIMIT,
    "length of the answer": Reason.PROTOCOL_VIOLATION,
    "crash": Reason.CRASHED,
}


def try_limits(settings: Settings, fd: int) -> Iterator[tuple[str, Reason | None, bool]]:
    """Yield (limit, reason the video ended with, None for a signed one; whether that is the right one).

    `fd` is any regular file. Takes some seconds. Raises EnvironmentUnfitError where no process can be prepared.
    """
    ample = {"wall_seconds_base": 600.0, "cpu_seconds_base": 600.0, "stall_seconds": 600.0}
    plain = [name for name in _DEEDS if name not in _HURRIED]
    for names, changes in ((plain, {}), *(([name], changes) for name, changes in _HURRIED.items())):
        box = settings.sandbox.model_copy(update={**ample, "wall_seconds_per_video_second": 0.0, **changes})
        with Sandbox(settings.model_copy(update={"sandbox": box}), job=JOB) as sandbox:
            for name in names:
                reason = None
                try:
                    sandbox.sign(fd, video_id="0" * 64, name=name)
                except VideoError as error:
                    reason = error.reason
                yield name, reason, reason == _REASONS[name]
