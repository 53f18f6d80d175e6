"""Known entries with planted content, and what a store that holds them should say."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from videonovelty.errors import KnownStoreError
from videonovelty.known import KnownEntry, Snapshot
from videonovelty.records import (
    CodedStream,
    KnownVideo,
    ListMembership,
    LocalFeatures,
    MotionProfile,
    Signatures,
)

SCHEME = "scheme-1"
WHO = {"actor": "analyst 7", "reason": "test"}


def video_id(number: int) -> str:
    """Return the id of made-up video `number`."""
    return hashlib.sha256(f"video {number}".encode()).hexdigest()


def md5(number: int) -> str:
    """Return its MD5."""
    return hashlib.md5(f"video {number}".encode()).hexdigest()


def sha1(number: int) -> str:
    """Return its SHA-1."""
    return hashlib.sha1(f"video {number}".encode()).hexdigest()


def signatures(number: int, *, n: int = 6, scheme: str = SCHEME, descriptors: int = 4) -> Signatures:
    """Return signatures that are the same for the same number, and unrelated for another."""
    rng = np.random.default_rng(number)
    pdq = rng.integers(0, 256, (n, 8, 32), dtype=np.uint8)
    inner = pdq.copy()
    has_inner = np.arange(n) % 3 == number % 3
    inner[has_inner] = rng.integers(0, 256, (int(has_inner.sum()), 8, 32), dtype=np.uint8)
    counts = rng.integers(0, descriptors + 1, n)
    k = int(counts.sum())
    times = np.arange(n) * 0.5 + 0.04
    ticks = n * 5
    return Signatures(
        video_id=video_id(number),
        scheme=scheme,
        pts_seconds=times,
        start_seconds=times,
        end_seconds=times + 0.5,
        pdq=pdq,
        pdq_inner=inner,
        has_inner=has_inner,
        quality=rng.integers(0, 101, n).astype(np.uint8),
        informative=rng.random(n) < 0.9,
        motion=MotionProfile(
            0.1,
            rng.integers(-1, 2, (ticks, 16)).astype(np.int8),
            rng.integers(-4, 5, (ticks, 64)).astype(np.int8),
            levels=rng.integers(-508, 509, (ticks, 64)).astype(np.int16),
        ),
        local=LocalFeatures(
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            codes=rng.integers(0, 256, (k, 8), dtype=np.uint8),
            mirrored_codes=rng.integers(0, 256, (k, 8), dtype=np.uint8),
            xy=rng.integers(0, 65536, (k, 2)).astype(np.uint16),
            scale=rng.integers(0, 256, k).astype(np.uint8),
            angle=rng.integers(0, 256, k).astype(np.uint8),
        ),
    )


def entry(
    number: int,
    lists: Sequence[str] = ("A",),
    *,
    disposition: str = "abuse",
    signed: bool = True,
    n: int = 6,
    scheme: str = SCHEME,
) -> KnownEntry:
    """Return made-up video `number` on these lists."""
    memberships = tuple(
        ListMembership(
            name,
            disposition,
            series=f"series {number % 4}",
            victim_identified="yes" if number % 2 else "unknown",
            tags=("one", "two") if number % 3 else (),
            source=f"case/{number}",
        )
        for name in lists
    )
    video = KnownVideo(video_id(number), n * 0.5, md5(number), sha1(number), memberships)
    return KnownEntry(video, signatures(number, n=n, scheme=scheme) if signed else None)


def coded_entry(number: int, recipe: str, *, seed: int | None = None, n: int = 60, every: int = 20) -> KnownEntry:
    """Return made-up video `number` with made-up packets, a fresh start every so many."""
    made = entry(number)
    coded = CodedStream(
        video_id=made.video.video_id,
        recipe=recipe,
        doubt="",
        duration_seconds=n / 25,
        pts_seconds=np.arange(n) / 25,
        starts=np.arange(n) % every == 0,
        digests=np.random.default_rng(number if seed is None else seed).integers(0, 256, (n, 16), dtype=np.uint8),
    )
    return replace(made, coded=coded)


def unit_starts(one: KnownEntry) -> list[bytes]:
    """Return the digest of the first packet of each unit, by which the store finds it."""
    assert one.coded is not None
    return [digest.tobytes() for digest in one.coded.digests[one.coded.starts]]


def contents(snapshot: Snapshot) -> dict[str, set[str]]:
    """Return what a snapshot holds: video ids and the lists each is on."""
    return {video.video_id: {m.list_name for m in video.memberships} for video in snapshot.videos()}


def expected(numbers: dict[int, str]) -> dict[str, set[str]]:
    """Return what `contents` should be, from video numbers and the letters of their lists."""
    return {video_id(number): set(lists) for number, lists in numbers.items()}


def in_child(work: Callable[[], object]) -> int:
    """Fork and do `work`; return the child's process id."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except KnownStoreError:
            code = 5
        finally:
            os._exit(code)
    return pid


def wait(pid: int) -> int:
    """Return how a child ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
