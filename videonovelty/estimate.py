"""What a scan would take: files and bytes counted, hours estimated from a sample that is signed and thrown away."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from videonovelty.errors import VideoError
from videonovelty.intake import IntakeEntry, display_path, opened, sight_open
from videonovelty.sandbox import Sandbox
from videonovelty.settings import Settings

SAMPLE_FILES = 12
SAMPLE_SECONDS = 60.0
"""No further file of the sample is begun after this long."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a scan of an intake would take on this machine."""

    files: int
    refused: int
    """Links, pipes, unreadable folders: rows, but nothing to open."""
    bytes: int
    sampled: int
    sample_failed: int
    """Files of the sample that gave no signatures."""
    video_hours: float | None
    """Hours of video; None when nothing could be sampled."""
    cpu_hours: float | None
    hours: float | None
    """On the workers of the settings."""


def estimate(entries: Sequence[IntakeEntry], settings: Settings) -> Estimate:
    """Return what a scan of `entries` would take. Signs some of them here, in the locked process, and keeps nothing.

    Reading and hashing included, lookups not. The sample is spread evenly over the files ordered by size, and what it
    took is extended by bytes.
    """
    sizes: list[tuple[int, bytes]] = []
    refused = 0
    for entry in entries:
        try:
            if entry.reason is not None:
                raise FileNotFoundError
            sizes.append((os.lstat(entry.path_raw).st_size, entry.path_raw))
        except OSError:
            refused += 1
    sizes.sort()
    total = sum(size for size, _ in sizes)
    step = max(1, len(sizes) // SAMPLE_FILES)
    sample = sizes[step // 2 :: step][:SAMPLE_FILES]
    sampled, failed, sampled_bytes, cpu, video = 0, 0, 0, 0.0, 0.0
    deadline = time.monotonic() + SAMPLE_SECONDS
    sandbox = Sandbox(settings)
    try:
        for size, path in sample:
            if sampled and time.monotonic() > deadline:
                break
            started = time.process_time()
            sampled, sampled_bytes = sampled + 1, sampled_bytes + size
            try:
                with opened(path) as fd:
                    sighting, hashes = sight_open(fd, path, settings.intake)
                    if hashes is None:
                        raise VideoError(display_path(path), sighting.detail, reason=sighting.reason)  # noqa: TRY301
                    signed = sandbox.sign(fd, video_id=hashes.video_id, name=display_path(path))
                cpu += signed.cpu_seconds
                video += signed.coverage.decoded_seconds
            except VideoError:
                failed += 1
            cpu += time.process_time() - started
    finally:
        sandbox.close()
    if not sampled_bytes:
        return Estimate(len(sizes), refused, total, sampled, failed, None, None, None)
    scale = total / sampled_bytes / 3600
    return Estimate(
        files=len(sizes),
        refused=refused,
        bytes=total,
        sampled=sampled,
        sample_failed=failed,
        video_hours=round(video * scale, 6),
        cpu_hours=round(cpu * scale, 6),
        hours=round(cpu * scale / max(1, settings.run.workers), 6),
    )
