"""Sandboxes for the fault tests: one whose jobs misbehave on demand, one that signs for real."""

import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import evil_jobs
import pytest

from videonovelty.errors import VideoError
from videonovelty.sandbox import Sandbox
from videonovelty.settings import load_settings

VIDEO = "ab" * 32
QUICK = {
    "memory_bytes": 512 << 20,
    "cpu_seconds_base": 1.0,
    "wall_seconds_base": 60.0,
    "wall_seconds_per_video_second": 0.0,
    "stall_seconds": 2.0,
    "max_record_bytes": 1 << 20,
}
"""Processor time, memory and silence run out within seconds; wall time does not, however busy the machine."""


def evil_settings(**limits):
    """Return settings with quick limits."""
    return load_settings(sandbox=QUICK | limits)


@contextmanager
def evil_sandbox(**limits):
    """Start a sandbox whose children do what the video's name says."""
    with Sandbox(evil_settings(**limits), job="evil_jobs:sign") as sandbox:
        yield sandbox


@contextmanager
def canary_file():
    """Yield the descriptor of a small regular file."""
    with tempfile.TemporaryFile() as file:
        file.write(evil_jobs.CANARY)
        file.flush()
        yield file.fileno()


def ask(sandbox, behaviour, video_id=VIDEO):
    """Return the reason the video ended with; "" for a signed one."""
    with canary_file() as fd:
        try:
            sandbox.sign(fd, video_id=video_id, name=f"clip {behaviour}")
        except VideoError as error:
            return str(error.reason)
        return ""


def children_of(pid):
    """Return the process ids of every descendant of `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after[1]) == pid and after[0] != "Z":
            found += [int(stat.parent.name), *children_of(int(stat.parent.name))]
    return found


@pytest.fixture(scope="session")
def evil():
    with evil_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def signing():
    """A sandbox that signs for real, under small limits."""
    settings = load_settings(
        sandbox={"wall_seconds_base": 30.0, "stall_seconds": 30.0, "cpu_seconds_base": 10.0},
        decode={"max_pixels": 1_000_000},
    )
    with Sandbox(settings) as sandbox:
        yield sandbox


@pytest.fixture
def sign_file(signing):
    """Sign the file at a path, opened as the intake opens it; return the signed video or the VideoError."""
    from videonovelty.intake import display_path, hash_content, opened

    def sign(path):
        raw = os.fsencode(path)
        try:
            with opened(raw) as fd:
                return signing.sign(fd, video_id=hash_content(fd).video_id, name=display_path(raw))
        except VideoError as error:
            return error

    return sign


def sha256(path):
    """Return the video id of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
