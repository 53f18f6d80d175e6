"""The parent's side: hand a video to a locked child, watch its limits, check its answer."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from videonovelty.errors import EnvironmentUnfitError, LimitExceededError, Reason, VideoError
from videonovelty.intake import display_text
from videonovelty.one_thread import ONE_THREAD
from videonovelty.records import CodedStream, SignedVideo
from videonovelty.sandbox.wire import WireError, decode_coded, decode_error, decode_signed
from videonovelty.sandbox.zygote import (
    ERROR,
    EXIT_NOT_LOCKED,
    FRAME,
    HEARTBEAT,
    MAX_ERROR_BYTES,
    MESSAGE_BYTES,
    SIGNED,
)
from videonovelty.settings import SandboxSettings, Settings

log = logging.getLogger(__name__)

SIGN_VIDEO = "videonovelty.signing:sign_video"
START_SECONDS = 120.0
"""Longest a zygote may take to be ready; about a second on an idle machine."""
GRACE_SECONDS = 30.0
"""How long a killed child may take to be gone before its zygote is given up."""
LOOK_SECONDS = 0.5
"""How often a silent child's limits are looked at."""
HEARTBEATS_FREE, HEARTBEATS_PER_SECOND = 1000, 100
"""A child that speaks more often floods us; an honest one says about five a second."""
# The zygote takes the parent's import path and nothing else: -I shuts out the working directory, which may be an intake
# folder with an av.py in it, and PYTHON… variables. Modules would have every fork renew their locks, for threads that
# the zygote does not have: 0.7 ms a video.
BOOT = (
    "import json, os, sys; sys.path[:] = json.loads(sys.argv.pop()); os.register_at_fork = lambda **_: None; "
    "from videonovelty.sandbox.zygote import main; main()"
)
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT")

# A fresh process touches its memory page by page, and each first touch costs one to three microseconds. So: large pages
# where the kernel has them, heap that is asked for 2 MiB at a time, and what was freed is kept for the next frame, not
# handed back and asked for again. The process ends with its video, and RLIMIT_AS counts it all.
ALLOCATION = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=2097152:glibc.malloc.trim_threshold=1073741824:"
    "glibc.malloc.mmap_threshold=33554432"
}


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What a zygote found out about the machine it runs on."""

    missing: dict[str, str]
    """Layer → why it cannot be put on."""
    leaks: dict[str, str]
    """What a locked child could do and should not."""
    threads: int
    """Threads of the zygote: more than one makes forking unsafe."""
    start_seconds: float

    @property
    def sound(self) -> bool:
        """Every layer is on and every probe was denied."""
        return not self.missing and not self.leaks


class _ZygoteGoneError(Exception):
    """The zygote ended or stopped answering; `fault` is set when that is the video's doing."""

    def __init__(self, what: str, fault: VideoError | None = None) -> None:
        super().__init__(what)
        self.fault = fault


@dataclass(slots=True)
class _Answer:
    """What a child has said so far; `feed` raises WireError at the first byte it should not have sent."""

    max_record_bytes: int
    started: float = field(default_factory=time.monotonic)
    pending: bytearray = field(default_factory=bytearray)
    tag: bytes = b""
    payload: bytes = b""
    seconds: float = 0.0
    """The furthest the child said it was, or has to go, in seconds of video."""
    heard: float = field(default_factory=time.monotonic)
    heartbeats: int = 0

    def feed(self, data: bytes) -> None:
        self.pending += data
        while len(self.pending) >= FRAME.size:
            if self.tag:
                raise WireError("more after the answer")
            tag, length = FRAME.unpack_from(self.pending)
            largest = {HEARTBEAT: 8, SIGNED: self.max_record_bytes, ERROR: MAX_ERROR_BYTES}.get(tag, -1)
            if length > largest:
                raise WireError("answer longer than allowed" if largest >= 0 else "not an answer")
            if len(self.pending) < FRAME.size + length:
                return
            payload = bytes(memoryview(self.pending)[FRAME.size : FRAME.size + length])
            del self.pending[: FRAME.size + length]
            if tag == HEARTBEAT:
                self._heartbeat(payload)
            else:
                self.tag, self.payload = tag, payload
        if self.tag and self.pending:
            raise WireError("more after the answer")

    def _heartbeat(self, payload: bytes) -> None:
        if len(payload) != 8:
            raise WireError("heartbeat of the wrong length")
        (seconds,) = struct.unpack("<d", payload)
        self.heard = time.monotonic()
        self.heartbeats += 1
        if not math.isfinite(seconds):
            raise WireError("heartbeat is not a number")
        if self.heartbeats > HEARTBEATS_FREE + HEARTBEATS_PER_SECOND * (self.heard - self.started):
            raise WireError("flood of heartbeats")
        self.seconds = max(self.seconds, seconds)


class _Zygote:
    """One running zygote and the socket to it."""

    def __init__(self, settings: Settings, job: str, *, kill_on_denied: bool) -> None:
        started = time.monotonic()
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [
                *(sys.executable, "-I", "-c", BOOT, str(theirs.fileno()), str(os.getpid())),
                json.dumps([str(Path(entry).absolute()) for entry in sys.path if entry]),
            ]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the parent, which lets the current video finish
                cwd="/",
                env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | ONE_THREAD | ALLOCATION,
            )
        try:
            self.send({"settings": settings.model_dump(mode="json"), "job": job, "kill_on_denied": kill_on_denied})
            told = self.receive(START_SECONDS)
        except _ZygoteGoneError as error:
            self.close()
            raise EnvironmentUnfitError(
                f"the decoding process did not start: {error}; it ended with status {self.process.returncode}, "
                "and what it wrote stands above. Run `videonovelty doctor`."
            ) from error
        if "error" in told:
            self.close()
            raise EnvironmentUnfitError(
                f"the decoding process could not be prepared: {display_text(told['error'], 500)}. "
                "Run `videonovelty doctor`."
            )
        self.report = SandboxReport(
            told["missing"], told["leaks"], told["threads"], start_seconds=time.monotonic() - started
        )

    def send(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        try:
            socket.send_fds(self.control, [json.dumps(message).encode()], list(fds))
        except OSError as error:
            raise _ZygoteGoneError(str(error)) from error

    def receive(self, seconds: float) -> dict[str, Any]:
        self.control.settimeout(seconds)
        try:
            message = self.control.recv(MESSAGE_BYTES)
        except TimeoutError as error:
            raise _ZygoteGoneError("no answer in time") from error
        except OSError as error:
            raise _ZygoteGoneError(str(error)) from error
        if not message:
            raise _ZygoteGoneError("it ended")
        told: dict[str, Any] = json.loads(message)
        return told

    def close(self) -> None:
        """Hang up, which ends it and any child of its; kill it should that not help."""
        self.control.close()
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)


class Sandbox:
    """Signs videos, each in a locked process of its own. One per worker process; a context manager.

    Raises EnvironmentUnfitError on creation where a layer of the lock is missing, unless
    `settings.sandbox.allow_unsandboxed`; then the layers there are stay on, and so do all limits. Safe to create and
    use in a process with threads; one video at a time.
    """

    sandboxed: bool
    """Every layer is in force; stands on every row."""

    def __init__(
        self,
        settings: Settings,
        *,
        job: str = SIGN_VIDEO,
        decode: Callable[..., Any] = decode_signed,
        kill_on_denied: bool = False,
    ) -> None:
        """Prepare for `job` (`module:function`), whose answers `decode` turns into records, trusting none of them.

        Other jobs are in `self_test` and `small_pictures`; `kill_on_denied` (see `lockdown.lock`) is for tests.
        """
        self._settings = settings
        self._decode = decode
        self._job = job
        self._kill_on_denied = kill_on_denied
        self._lock = threading.Lock()
        self._zygote: _Zygote | None = None
        self._start()

    @property
    def report(self) -> SandboxReport:
        """What was found out about the machine when the running zygote started."""
        return self._running().report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the zygote; the sandbox cannot be used again."""
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.close()

    def sign(self, fd: int, *, video_id: str, name: str) -> SignedVideo:
        """Return the signatures of a video, see `ask`."""
        signed: SignedVideo = self.ask(fd, video_id=video_id, name=name)
        return signed

    def code(self, fd: int, *, video_id: str, name: str) -> CodedStream:
        """Return the digests of the coded packets of a video, whatever the job is; see `ask`."""
        coded: CodedStream = self._asked("code", decode_coded, fd, video_id, name)
        return coded

    def ask(self, fd: int, *, video_id: str, name: str) -> Any:
        """Return what the job made of the regular file behind `fd`, read from its start.

        `video_id` is the SHA-256 of the file's bytes, `name` its display-safe path. `cpu_seconds` of the result is what
        the kernel counted for the child.

        Raises VideoError with the reason: what signing refused or failed at; `CRASHED`, `MEMORY_LIMIT`, `CPU_LIMIT`,
        `WALL_LIMIT`, `STALLED` or `PROTOCOL_VIOLATION`. Raises EnvironmentUnfitError when the decoding process is lost
        twice on this video, or cannot be locked any more.
        """
        return self._asked("sign", self._decode, fd, video_id, name)

    def _asked(self, op: str, decode: Callable[..., Any], fd: int, video_id: str, name: str) -> Any:
        with self._lock:
            try:
                return self._one(op, decode, fd, video_id, name)
            except _ZygoteGoneError as error:
                log.warning("decoding process lost (%s), starting another: video %s", error, video_id)
                self._restart()
                if error.fault is not None:
                    raise error.fault from error
            try:
                return self._one(op, decode, fd, video_id, name)
            except _ZygoteGoneError as error:
                self._restart()
                raise EnvironmentUnfitError(
                    f"the decoding process was lost twice on video {video_id}: {error}. "
                    "Look for what kills it (memory pressure?), then run again: the run resumes."
                ) from error

    # --- zygote -------------------------------------------------------------------------------------------------------

    def _running(self) -> _Zygote:
        if self._zygote is None:
            raise RuntimeError("the sandbox is closed")
        return self._zygote

    def _start(self) -> None:
        zygote = _Zygote(self._settings, self._job, kill_on_denied=self._kill_on_denied)
        report = zygote.report
        if not report.sound and not self._settings.sandbox.allow_unsandboxed:
            zygote.close()
            raise EnvironmentUnfitError(_unfit(report))
        if not report.sound:
            log.warning("decoding WITHOUT the full lock, as the settings allow: %s", _faults(report))
        if report.threads > 1:
            log.warning("the decoding process has %d threads; forking it may hang", report.threads)
        self._zygote, self.sandboxed = zygote, report.sound

    def _restart(self) -> None:
        if self._zygote is not None:
            self._zygote.process.kill()
            self.close()
        self._start()

    # --- one video ----------------------------------------------------------------------------------------------------

    def _one(self, op: str, decode: Callable[..., Any], fd: int, video_id: str, name: str) -> Any:
        zygote = self._running()
        os.lseek(fd, 0, os.SEEK_SET)
        receive, send = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.set_blocking(send, True)
            try:
                zygote.send({"op": op, "video_id": video_id, "name": name}, (fd, send))
            finally:
                os.close(send)
            child = _Child(zygote, receive, self._settings.sandbox, name)
            child.watch()
        finally:
            os.close(receive)
        return child.result(video_id, decode)


class _Child:
    """One video in progress."""

    def __init__(self, zygote: _Zygote, receive: int, limits: SandboxSettings, name: str) -> None:
        self.zygote, self.receive, self.limits, self.name = zygote, receive, limits, name
        self.answer = _Answer(limits.max_record_bytes)
        self.pid = 0
        self.status: int | None = None
        self.cpu_seconds = 0.0
        self.fault: VideoError | None = None
        """Why it was killed."""
        self.killed_at = 0.0

    def watch(self) -> None:
        """Read, and look at the limits, until the child has ended and its pipe is empty. Raises _ZygoteGoneError."""
        poll = select.poll()
        poll.register(self.receive, select.POLLIN)
        poll.register(self.zygote.control, select.POLLIN)
        control = self.zygote.control.fileno()
        speaking = True
        while speaking or self.status is None:
            for fd, _ in poll.poll(LOOK_SECONDS * 1000):
                if fd == control:
                    self._told(self.zygote.receive(GRACE_SECONDS))
                    if self.status is not None:
                        poll.unregister(control)
                elif not self._read():
                    speaking = False
                    poll.unregister(self.receive)
            if self.status is None:
                self._look()

    def _told(self, message: dict[str, Any]) -> None:
        if "fork_failed" in message:
            raise EnvironmentUnfitError(
                f"no process could be started for a video: {message['fork_failed']}. Raise the limit on processes "
                "(ulimit -u, TasksMax=) or use fewer workers, then run again: the run resumes."
            )
        if "pid" in message:
            self.pid = message["pid"]
        else:
            self.status, self.cpu_seconds = message["status"], message["cpu_seconds"]

    def _read(self) -> bool:
        """Take in what there is to read; False at the end."""
        try:
            data = os.read(self.receive, 1 << 20)
        except BlockingIOError:
            return True
        if self.fault is None:
            try:
                self.answer.feed(data)
            except WireError as error:
                self._kill(VideoError(self.name, str(error), reason=Reason.PROTOCOL_VIOLATION))
        return bool(data)

    def _look(self) -> None:
        now = time.monotonic()
        if self.fault is not None:
            if now - self.killed_at > GRACE_SECONDS:  # stuck in the kernel, on a dead disk for example
                raise _ZygoteGoneError("a killed child does not end", self.fault)
            return
        limits, said = self.limits, self.answer
        earned = limits.wall_seconds_per_video_second * said.seconds
        wall = min(limits.wall_seconds_base + earned, limits.wall_seconds_max)
        cpu = min(limits.cpu_seconds_base + earned, max(limits.wall_seconds_max, limits.cpu_seconds_base))
        if now - said.started > wall:
            self._kill(LimitExceededError(self.name, f"{wall:.0f} s", reason=Reason.WALL_LIMIT))
        elif self._cpu_seconds() > cpu:
            self._kill(LimitExceededError(self.name, f"{cpu:.0f} s", reason=Reason.CPU_LIMIT))
        elif now - said.heard > limits.stall_seconds:
            self._kill(LimitExceededError(self.name, f"silent for {limits.stall_seconds:.0f} s", reason=Reason.STALLED))

    def _cpu_seconds(self) -> float:
        if not self.pid:
            return 0.0
        try:
            return time.clock_gettime(
                ~self.pid << 3 | 2
            )  # the processor clock of another process, clock_getcpuclockid(3)
        except OSError:
            return 0.0

    def _kill(self, fault: VideoError) -> None:
        self.fault, self.killed_at = fault, time.monotonic()
        self.zygote.send({"op": "kill"})

    def result(self, video_id: str, decode: Callable[..., Any]) -> Any:
        """Return the checked answer. Raises VideoError, or EnvironmentUnfitError when the child was not locked."""
        if self.fault is not None:
            raise self.fault
        if self.status == EXIT_NOT_LOCKED:
            raise EnvironmentUnfitError(
                "a decoding process could not be locked, though the first one could. Run `videonovelty doctor`."
            )
        if self.status != 0:
            raise self._crash(self.status or 0)
        try:
            return self._decoded(video_id, decode)
        except WireError as violation:
            raise VideoError(self.name, str(violation), reason=Reason.PROTOCOL_VIOLATION) from violation

    def _decoded(self, video_id: str, decode: Callable[..., Any]) -> Any:
        if self.answer.tag == ERROR:
            raise decode_error(self.answer.payload, name=self.name)
        if self.answer.tag != SIGNED:
            raise WireError("ended without an answer")
        return replace(decode(self.answer.payload, video_id=video_id), cpu_seconds=self.cpu_seconds)

    def _crash(self, status: int) -> VideoError:
        if status == -signal.SIGXCPU:
            return LimitExceededError(self.name, reason=Reason.CPU_LIMIT)
        if status == -signal.SIGKILL:  # not by us: the kernel, out of memory
            return LimitExceededError(self.name, "killed by the system", reason=Reason.MEMORY_LIMIT)
        if status == -signal.SIGSYS:
            return VideoError(self.name, "made a system call it may not make", reason=Reason.CRASHED)
        detail = f"signal {-status}" if status < 0 else f"exit status {status}"
        return VideoError(self.name, detail, reason=Reason.CRASHED)


def _faults(report: SandboxReport) -> str:
    missing = [f"{layer} ({why})" for layer, why in report.missing.items()]
    return display_text("; ".join(missing + [f"{probe}: {what}" for probe, what in report.leaks.items()]), 1000)


def _unfit(report: SandboxReport) -> str:
    return (
        f"videos cannot be decoded in a locked process here: {_faults(report)}. Needed: Linux 5.13 or later on x86-64 "
        "or aarch64 with Landlock and seccomp, a container runtime that lets a process put them on (for Docker, a "
        "current default profile), and as root the right to become nobody. `videonovelty doctor` shows every layer. To "
        "decode without the full lock all the same, say --allow-unsandboxed: every row is then marked "
        "`sandboxed = false`."
    )
