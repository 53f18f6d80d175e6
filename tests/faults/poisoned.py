"""Signing that is real until a poisoned video takes over in mid-decode, for workers of a real cluster.

A poisoned video is an ordinary clip with `POISON` and the name of an evil at its end: what a decoder bug would do at
such a file is done here at its third frame, inside the locked process.
"""

import ctypes
import mmap
import os
import signal
import time

from videonovelty.signing import sign_video

POISON = b"videonovelty-poison:"
EVIL_FRAME = 3


def sign_content(task, *, settings):
    """Do what `batch.sign_content` does, with a sandbox whose children run `sign`; for a worker."""
    # only here: the prepared process imports this module as well, and Dask would start threads in it
    from videonovelty import batch
    from videonovelty.engine import close_at_exit
    from videonovelty.sandbox import Sandbox

    if (settings, batch.SIGN_VIDEO) not in batch._open_sandboxes:
        if not batch._open_sandboxes:
            close_at_exit(batch._close_sandboxes)
        batch._open_sandboxes[settings, batch.SIGN_VIDEO] = Sandbox(settings, job="poisoned:sign")
    (task.run_path.parent / f"worker-{os.getpid()}").touch()
    return batch.sign_content(task, settings=settings)


def sign(fd, *, video_id, name, settings, heartbeat):
    """Sign for real; at the third frame of a poisoned video, do its evil."""
    size = os.fstat(fd).st_size
    _, poisoned, evil = os.pread(fd, 64, max(0, size - 64)).rpartition(POISON)
    frames = 0

    def watched(seconds):
        nonlocal frames
        frames += 1
        heartbeat(seconds)
        if poisoned and frames == EVIL_FRAME:
            EVIL[evil.decode()](heartbeat)

    return sign_video(fd, video_id=video_id, name=name, settings=settings, heartbeat=watched)


def _eat(heartbeat):
    held = []
    while True:
        held.append(mmap.mmap(-1, 16 << 20))
        held[-1].write(b"\1" * (16 << 20))
        heartbeat(0.0)


def _stubborn(heartbeat):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def _spin(heartbeat):
    while True:
        sum(range(100_000))


def _chat(heartbeat):
    """Say again and again that it is at the start."""
    while True:
        heartbeat(0.0)
        time.sleep(0.05)


EVIL = {
    "segfault": lambda _: ctypes.string_at(8),
    "abort": lambda _: os.abort(),
    "exit": lambda _: os._exit(3),
    "trap": lambda _: signal.raise_signal(signal.SIGTRAP),
    "sleep": lambda _: time.sleep(600),
    "stubborn": _stubborn,
    "spin": _spin,
    "chat": _chat,
    "eat": _eat,
    "devour": lambda _: bytearray(1 << 40),
}
REASON = {
    **dict.fromkeys(("segfault", "abort", "exit", "trap"), "crashed"),
    **dict.fromkeys(("sleep", "stubborn", "spin"), "stalled"),
    "chat": "wall_limit",
    **dict.fromkeys(("eat", "devour"), "memory_limit"),
}
"""What the row of a video with each evil must say."""
