"""What stands in for signing in the tests of the sandbox: one job whose behaviour the video's name chooses."""

import ctypes
import mmap
import os
import pickle
import signal
import socket
import struct
import subprocess
import threading
import time

import numpy as np

from videonovelty.errors import NoVideoStreamError, Reason, VideoError
from videonovelty.records import Coverage, MotionProfile, Probe, Signatures, SignedVideo, no_local_features
from videonovelty.sandbox import encode_signed
from videonovelty.sandbox.zygote import FRAME, SIGNED

ANSWER = 4
"""Descriptor of the child's pipe."""
CANARY = b"videonovelty-canary"


def small_signed(video_id, n=3, scheme="test"):
    """Return a well-formed answer with `n` keyframes, its codes drawn from the video's id."""
    random = np.random.default_rng(int(video_id[:8], 16))
    starts = np.arange(n, dtype=np.float64)
    return SignedVideo(
        Probe("mov,mp4", "h264", 64, 48, 25.0, float(n)),
        Coverage(float(n), float(n), float(n), 25 * n, 0, 0, np.zeros((0, 2)), 0.04),
        Signatures(
            video_id=video_id,
            scheme=scheme,
            pts_seconds=starts,
            start_seconds=starts,
            end_seconds=starts + 1,
            pdq=random.integers(0, 256, (n, 8, 32), np.uint8),
            pdq_inner=random.integers(0, 256, (n, 8, 32), np.uint8),
            has_inner=np.ones(n, np.bool_),
            quality=np.full(n, 90, np.uint8),
            informative=np.ones(n, np.bool_),
            motion=MotionProfile(0.1, np.zeros((10 * n, 16), np.int8), np.zeros((10 * n, 64), np.int8)),
            local=no_local_features(n),
        ),
    )


def sign(fd, *, video_id, name, settings, heartbeat):
    """Behave as the last word of `name` says; anything unknown is a good video."""
    heartbeat(0.0)
    evil = EVIL.get(name.rpartition(" ")[2])
    if evil is not None:
        evil(fd, heartbeat)
    return small_signed(video_id)


def raw(payload, tag=SIGNED):
    """Send `payload` as the answer and end at once, as a hijacked decoder would."""
    data = FRAME.pack(tag, len(payload)) + payload
    while data:
        data = data[os.write(ANSWER, data) :]
    os._exit(0)


def flood(fd, heartbeat):
    block = bytes(1 << 20)
    os.write(ANSWER, FRAME.pack(SIGNED, 100))
    for _ in range(1024):
        os.write(ANSWER, block)


def announce_much(fd, heartbeat):
    os.write(ANSWER, FRAME.pack(SIGNED, 1 << 40))
    time.sleep(60)


def many_heartbeats(fd, heartbeat):
    while True:
        os.write(ANSWER, FRAME.pack(b"H", 8) + struct.pack("<d", 1.0))


class Bomb:
    """Unpickling it would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def eat(fd, heartbeat):
    held = []
    while True:
        held.append(mmap.mmap(-1, 16 << 20))
        heartbeat(0.0)


def busy(fd, heartbeat):
    while True:
        heartbeat(0.0)
        sum(range(10_000))


def stubborn(fd, heartbeat):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def chatty(fd, heartbeat):
    """Say that it advances, slowly, for ever."""
    while True:
        heartbeat(0.0)
        time.sleep(0.05)


def daemonise(fd, heartbeat):
    """Leave a process behind that is in another session and another group, if that is possible here."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    time.sleep(0.2)


def changed(**fields):
    def evil(fd, heartbeat):
        signed = small_signed("ab" * 32)
        for name, value in fields.items():
            object.__setattr__(signed.signatures, name, value)
        raw(encode_signed(signed))

    return evil


def scarred(change):
    def evil(fd, heartbeat):
        raw(change(encode_signed(small_signed("ab" * 32))))

    return evil


def say(text):
    def evil(fd, heartbeat):
        os.write(1, text)
        os.write(2, text)
        raise ValueError(text.decode())

    return evil


def crash(*_):
    ctypes.string_at(8)


def other_video(fd, heartbeat):
    raw(encode_signed(small_signed("cd" * 32)))


def grow_slowly(fd, heartbeat):
    for i in range(20):
        heartbeat(float(i))
        time.sleep(0.1)


def raises(error):
    def evil(fd, heartbeat):
        raise error

    return evil


def refuse(fd, heartbeat):
    raise NoVideoStreamError("secret/path", "sound\x1b[31m only\u202e" + "x" * 1000)


def overrule(fd, heartbeat):
    """Claim a reason that only the judge may give."""
    raise VideoError("x", reason=Reason.SAME_BYTES)


def forged_error(fd, heartbeat):
    raw(b'{"detail":"","reason":"same_bytes"}', b"E")


def read_clip(fd, heartbeat):
    data = b""
    while part := os.read(fd, 65536):
        data += part
    if data != CANARY:
        raise ValueError("the video is not where it should be")


def threads(fd, heartbeat):
    started = [threading.Thread(target=lambda: sum(range(1000))) for _ in range(4)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


EVIL = {
    "segfault": crash,
    "abort": lambda *_: os.abort(),
    "exit": lambda *_: os._exit(3),
    "silent": lambda *_: os._exit(0),
    "killed": lambda *_: signal.raise_signal(signal.SIGKILL),
    "hang": lambda *_: time.sleep(600),
    "stubborn": stubborn,
    "busy": busy,
    "chatty": chatty,
    "memory": eat,
    "gigantic": lambda *_: bytearray(1 << 40),
    "flood": flood,
    "announce": announce_much,
    "heartbeats": many_heartbeats,
    "nan-heartbeat": lambda fd, heartbeat: heartbeat(float("nan")),
    "pickle": lambda *_: raw(pickle.dumps(Bomb("/tmp/videonovelty-unpickled"))),
    "garbage": lambda *_: (os.write(ANSWER, b"\xff" * 100), os._exit(0)),
    "json": lambda *_: raw(b"[" * 100_000),
    "short": scarred(lambda payload: payload[:-1]),
    "long": scarred(lambda payload: payload + b"\0"),
    "half": scarred(lambda payload: payload[: len(payload) // 2]),
    "trailing": lambda *_: (
        os.write(ANSWER, FRAME.pack(b"E", 2) + b"{}" + b"x"),
        os._exit(0),
    ),
    "nan": changed(end_seconds=np.array([1.0, np.nan, 3.0])),
    "unordered": changed(pts_seconds=np.array([2.0, 1.0, 0.0])),
    "extra": scarred(lambda payload: payload.replace(b'"counts":{', b'"x":{},"counts":{')),
    "other": other_video,
    "forged": forged_error,
    "overrule": overrule,
    "refuse": refuse,
    "bug": raises(KeyError("a value nobody should see")),
    "say": say(CANARY),
    "daemon": daemonise,
    "slow": grow_slowly,
    "read": read_clip,
    "threads": threads,
    "socket": lambda *_: socket.socket(),
    "open": lambda *_: os.open("/etc/hostname", os.O_RDONLY),
    "exec": lambda *_: subprocess.run(["/bin/true"], check=True),
    "map": lambda *_: mmap.mmap(-1, 1 << 40),
}
