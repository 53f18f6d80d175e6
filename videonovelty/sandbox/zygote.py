"""The zygote: a small single-threaded process that forks one locked child for each video.

It is started by exec, never by fork, so that a parent with threads can have one. It imports everything signing needs
and signs a built-in clip, so that its children import nothing; then it waits for work on one socket:

    parent → zygote   {"op": "sign" or "code", …} with two descriptors: the video, and the pipe the child answers on
    zygote → parent   {"pid": …} once forked, {"status": …, "cpu_seconds": …} once ended and swept up
    parent → zygote   {"op": "kill"} while a child runs

The child answers on its pipe in frames: a tag, a length (u64), the bytes. `H` heartbeat (float64 seconds), `S` the
signed video (or the digests of its coded packets), `E` an error; after `S` or `E` nothing. The zygote itself never
reads what a child writes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import importlib
import json
import logging
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from videonovelty.decode import load_everything
from videonovelty.decode.packets import code_video
from videonovelty.errors import Reason, VideoError
from videonovelty.records import CodedStream, SignedVideo
from videonovelty.sandbox import lockdown
from videonovelty.sandbox.wire import CLASS_OF_REASON, encode_coded, encode_error, encode_signed
from videonovelty.settings import Settings

Job = Callable[..., Any]
"""`videonovelty.signing.sign_video`, another look at a video whose answer encodes itself, or a test's."""

FRAME = struct.Struct("<cQ")
HEARTBEAT, SIGNED, ERROR = b"H", b"S", b"E"
MESSAGE_BYTES = 1 << 16
MAX_ERROR_BYTES = 1 << 13
EXIT_NOT_LOCKED, EXIT_NO_ANSWER = 71, 72
HEARTBEAT_SECONDS = 0.2
WARM_UP_ID = "0" * 64
WARM_UP_NAME = "trusted clip"
CLIP = "trusted_clip.mp4"
LARGEST_HOLE, SMALLEST_HOLE = 4 << 20, 4 << 10


@dataclass(frozen=True, slots=True)
class _Plan:
    """What every child of this zygote does."""

    job: Job
    settings: Settings
    limits: lockdown.Limits
    layers: tuple[str, ...]
    kill_on_denied: bool
    nowhere: int
    """Descriptor of /dev/null."""


def main() -> None:
    """Serve the parent on the inherited socket argv[1] until it hangs up."""
    control = socket.socket(fileno=int(sys.argv[1]))
    parent = int(sys.argv[2])
    try:
        plan, report = _prepare(_receive(control))
    except Exception as error:
        _send(control, {"error": f"{_place(error)}: {error}"[:2000]})
        return
    _send(control, report)
    _serve(control, parent, plan)


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.send(json.dumps(message).encode())


def _receive(control: socket.socket) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(control.recv(MESSAGE_BYTES))
    return message


# --- start ------------------------------------------------------------------------------------------------------------


def _prepare(request: dict[str, Any]) -> tuple[_Plan, dict[str, Any]]:
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    lockdown.adopt_orphans()
    logging.disable(logging.CRITICAL)  # nothing about a video leaves but by the pipe
    warnings.simplefilter("ignore")  # to show one, Python would look its source file up
    settings = Settings.model_validate(request["settings"])
    module, _, name = request["job"].partition(":")
    job: Job = getattr(importlib.import_module(module), name)
    box = settings.sandbox
    plan = _Plan(
        job=job,
        settings=settings,
        limits=lockdown.Limits(
            memory_bytes=box.memory_bytes, cpu_seconds=int(max(box.cpu_seconds_base, box.wall_seconds_max)) + 1
        ),
        layers=lockdown.LAYERS,
        kill_on_denied=bool(request["kill_on_denied"]),
        nowhere=os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC),
    )
    _warm_up(plan)
    missing = {layer: why for layer in lockdown.LAYERS if (why := _try_layer(plan, layer))}
    layers = tuple(layer for layer in lockdown.LAYERS if layer not in missing)
    plan = _Plan(plan.job, settings, plan.limits, layers, plan.kill_on_denied, plan.nowhere)
    leaks = {} if missing else _try_all(plan)
    if (table := lockdown.architecture()) is not None:
        lockdown.filter_around_pid(table, kill_on_denied=plan.kill_on_denied)  # worked out once, here
    gc.collect()
    gc.freeze()  # children share these pages for longer
    _leave_the_heap_whole()
    report = {"missing": missing, "leaks": leaks, "threads": sum(1 for _ in Path("/proc/self/task").iterdir())}
    return plan, report


def _warm_up(plan: _Plan) -> None:
    load_everything()
    clip = files("videonovelty.sandbox").joinpath(CLIP).read_bytes()
    fd = os.memfd_create(CLIP, os.MFD_CLOEXEC)
    try:
        os.write(fd, clip)
        for job in (plan.job, code_video):
            os.lseek(fd, 0, os.SEEK_SET)
            answer = job(
                fd, video_id=WARM_UP_ID, name=WARM_UP_NAME, settings=plan.settings, heartbeat=lambda _seconds: None
            )
            _encoded(answer)
    finally:
        os.close(fd)


class _HeapUse(ctypes.Structure):
    """`struct mallinfo2` of glibc: among ten sizes, what is free, and what of that lies at the end of the heap."""

    _fields_ = (
        *((f"unused_{number}", ctypes.c_size_t) for number in range(8)),
        ("free", ctypes.c_size_t),
        ("end", ctypes.c_size_t),
    )


def _leave_the_heap_whole() -> None:
    """Have children take their memory from the end of the heap, not from what the warm-up freed all over it.

    A hole costs a child a page fault for every 4 KiB; the end of the heap lies in large pages where the kernel has
    them. So holes are taken, untouched, and freed memory goes back to the system. Does nothing where the C library is
    not glibc 2.33 or newer.
    """
    c = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):
        c.mallinfo2.restype = _HeapUse
        c.malloc.restype = ctypes.c_void_p
        size = LARGEST_HOLE
        while size >= SMALLEST_HOLE:
            if (holes := _holes_bytes(c.mallinfo2())) >= size:
                taken = c.malloc(ctypes.c_size_t(size))
                if _holes_bytes(c.mallinfo2()) < holes:
                    continue  # look for another
                c.free(ctypes.c_void_p(taken))  # no hole is as large: this was the end of the heap, or a mapping
            size //= 2
        c.malloc_trim(ctypes.c_size_t(0))


def _holes_bytes(heap: _HeapUse) -> int:
    return int(heap.free - heap.end)


def _in_child(work: Callable[[], str]) -> str:
    """Return what `work` returns in a forked child, or how that child ended."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = EXIT_NOT_LOCKED
        try:
            os.write(send, work().encode()[:4096])
            code = 0
        finally:
            os._exit(code)
    os.close(send)
    told = b""
    while part := os.read(receive, 4096):
        told += part
    os.close(receive)
    _, status = os.waitpid(pid, 0)
    return told.decode() if status == 0 else f"ended with status {os.waitstatus_to_exitcode(status)}"


def _try_layer(plan: _Plan, layer: str) -> str:
    """Return why `layer` cannot be put on here, "" where it can."""

    def work() -> str:
        # Landlock and seccomp need no rights only once the process can gain none.
        layers = {layer, "no_new_privileges"}
        try:
            lockdown.lock(plan.limits, layers)
        except OSError as error:
            return str(error)
        return ""

    return _in_child(work)


def _try_all(plan: _Plan) -> dict[str, str]:
    """Return what a locked child could do and should not: nothing, in a sound environment."""

    def work() -> str:
        file = os.memfd_create("written to by no one")
        lockdown.lock(plan.limits, plan.layers)
        return json.dumps({probe: what for probe, what in lockdown.prove(plan.limits, file).items() if what})

    told = _in_child(work)
    try:
        leaks: dict[str, str] = json.loads(told)
    except ValueError:
        return {"locked process": told or "ended without a word"}
    return leaks


# --- service ----------------------------------------------------------------------------------------------------------


def _serve(control: socket.socket, parent: int, plan: _Plan) -> None:
    waiting = select.poll()
    waiting.register(control, select.POLLIN)
    while True:
        if not waiting.poll(1000):
            if os.getppid() != parent:  # another process may still hold the parent's end open
                return
            continue
        message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2)
        if not message:
            return
        request = json.loads(message)
        if request["op"] in ("sign", "code"):
            try:
                _run(control, parent, plan, request, descriptors)
            finally:
                for fd in descriptors:
                    with contextlib.suppress(OSError):
                        os.close(fd)


def _run(control: socket.socket, parent: int, plan: _Plan, request: dict[str, Any], descriptors: list[int]) -> None:
    zygote = os.getpid()
    video, answer = descriptors
    try:
        pid = _fork()
    except OSError as error:
        _send(control, {"fork_failed": os.strerror(error.errno or errno.EAGAIN)})
        return
    if pid == 0:
        _child(zygote, plan, request, video, answer)
    while descriptors:
        os.close(descriptors.pop())
    _send(control, {"pid": pid})
    if not _wait(control, parent, pid):
        _kill(pid)
    status, cpu_seconds = _reap(pid)
    _sweep()
    _send(control, {"status": status, "cpu_seconds": cpu_seconds})


def _fork() -> int:
    for pause in (0.1, 0.5, 2.0):  # no process to be had may pass
        try:
            return os.fork()
        except BlockingIOError:
            time.sleep(pause)
    return os.fork()


def _wait(control: socket.socket, parent: int, pid: int) -> bool:
    """Wait until the child ends; False when it must be killed: on the parent's word, or because the parent has gone."""
    watched = os.pidfd_open(pid)
    try:
        waiting = select.poll()
        waiting.register(watched, select.POLLIN)
        waiting.register(control, select.POLLIN)
        while True:
            ready = {fd for fd, _ in waiting.poll(1000)}
            if watched in ready:
                return True
            if control.fileno() in ready:
                control.recv(MESSAGE_BYTES)  # "kill", or nothing: the parent hung up
                return False
            if os.getppid() != parent:
                return False
    finally:
        os.close(watched)


def _kill(pid: int) -> None:
    # Not reaped yet, so the number is still the child's. Its group may not exist yet.
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _reap(pid: int) -> tuple[int, float]:
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def _sweep() -> None:
    """End whatever a child left behind: only where seccomp is missing could it have made processes."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        for left in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            _kill(int(left))
        time.sleep(0.01)


# --- child ------------------------------------------------------------------------------------------------------------


def _child(zygote: int, plan: _Plan, request: dict[str, Any], video: int, answer: int) -> NoReturn:
    """Lock down, sign one video, answer, end. Never returns."""
    code = EXIT_NOT_LOCKED
    try:
        video, answer = _leave(zygote, plan, video, answer)
        lockdown.lock(plan.limits, plan.layers, kill_on_denied=plan.kill_on_denied)
        code = EXIT_NO_ANSWER
        _answer(plan, request, video, answer)
        code = 0
    finally:
        os._exit(code)


def _leave(zygote: int, plan: _Plan, video: int, answer: int) -> tuple[int, int]:
    """Become a session of its own that holds the video, the pipe and nothing else; return the two."""
    os.setsid()
    with contextlib.suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)  # pathlib would cost a millisecond here
        os.write(score, b"1000")  # should memory run out, this process goes first
        os.close(score)
    lockdown.die_with(zygote)
    if "user" in plan.layers:
        lockdown.drop_root()
        lockdown.die_with(zygote)
    high = [os.dup2(fd, 100 + i) for i, fd in enumerate((video, answer, plan.nowhere))]
    for target, source in enumerate((high[2], high[2], high[2], high[0], high[1])):
        os.dup2(source, target)
    os.closerange(5, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    return 3, 4


def _answer(plan: _Plan, request: dict[str, Any], video: int, answer: int) -> None:
    said_at = said = -1.0

    def heartbeat(seconds: float) -> None:
        nonlocal said_at, said
        now = time.monotonic()
        # A leap is told at once: the time a video declares is what its time limit grows by.
        if now - said_at >= HEARTBEAT_SECONDS or seconds > said * 2 + 10:
            said_at, said = now, seconds
            _write(answer, HEARTBEAT, struct.pack("<d", seconds))

    job: Job = code_video if request["op"] == "code" else plan.job
    try:
        signed = job(
            video,
            video_id=request["video_id"],
            name=request["name"],
            settings=plan.settings,
            heartbeat=heartbeat,
        )
        tag, payload = SIGNED, _encoded(signed)
    except VideoError as error:
        reason = error.reason if error.reason in CLASS_OF_REASON else Reason.CRASHED
        tag, payload = ERROR, encode_error(reason, error.detail)
    except MemoryError:
        tag, payload = ERROR, encode_error(Reason.MEMORY_LIMIT, "")
    except Exception as error:
        tag, payload = ERROR, encode_error(*_unexpected(error))
    _write(answer, tag, payload)


def _encoded(answer: Any) -> bytes:
    """Return the answer of a job as it travels: a signed video, coded packets, or what encodes itself."""
    if isinstance(answer, SignedVideo):
        return encode_signed(answer)
    if isinstance(answer, CodedStream):
        return encode_coded(answer)
    payload: bytes = answer.encode()
    return payload


def _unexpected(error: Exception) -> tuple[Reason, str]:
    """Return reason and detail of an error nobody planned: where it was, never what it says, which may hold pixels."""
    if getattr(error, "errno", None) == errno.ENOMEM or "Insufficient memory" in str(error):  # FFmpeg's, OpenCV's
        return Reason.MEMORY_LIMIT, ""
    return Reason.CRASHED, _place(error)


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return type(error).__name__ + where


def _write(fd: int, tag: bytes, payload: bytes) -> None:
    rest = memoryview(FRAME.pack(tag, len(payload)) + payload)
    while rest:
        rest = rest[os.write(fd, rest) :]


if __name__ == "__main__":
    main()
