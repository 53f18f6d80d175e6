"""Task functions for the engine's tests: importable, so that worker processes find them."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import dask

from videonovelty.engine import close_at_exit


def square(x: int) -> int:
    return x * x


def slow_square(x: int) -> int:
    time.sleep(0.05)
    return x * x


def fail_at_three(x: int) -> int:
    if x == 3:
        raise ZeroDivisionError("three is a bug")
    return x


def kill_worker_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return x * x


def kill_worker_if_negative(x: int) -> int:
    if x < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return x * x


def kill_worker_once(item: tuple[int, str]) -> int:
    """Take the worker down the first time any item is met, then work."""
    x, marker = item
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def hang(x: int) -> int:
    time.sleep(600)
    return x


def note(item: tuple[int, str, float]) -> int:
    """Append a line to a file: who started and ended when."""
    x, path, seconds = item
    for what in ("start", "end"):
        with Path(path).open("a") as file:
            file.write(f"{what} {x} {os.getpid()}\n")
        if what == "start":
            time.sleep(seconds)
    return x


def surroundings(x: int) -> dict[str, object]:
    """What a worker process is like."""
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "umask": umask,
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "group": os.getpgid(0),
        "threads": os.environ.get("NUMBA_NUM_THREADS"),
        "opencv": os.environ.get("OPENCV_FOR_THREADS_NUM"),
        "spill": [dask.config.get(f"distributed.worker.memory.{name}") for name in ("target", "spill", "pause")],
    }


def leave_something_open(path: str) -> int:
    """Keep a resource that must be closed when the process stops being a worker."""
    close_at_exit(Path(path + f".{os.getpid()}").touch)
    return os.getpid()
