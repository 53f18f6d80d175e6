"""Signing in this process, for tests of what comes after it."""

import functools
import hashlib
import os
from pathlib import Path

from videonovelty.records import SignedVideo
from videonovelty.settings import Settings
from videonovelty.signing import sign_video

SETTINGS = Settings()


@functools.cache
def sign(path: Path) -> SignedVideo:
    """Return the signatures of a clip, made once."""
    fd = os.open(path, os.O_RDONLY)
    try:
        video_id = hashlib.sha256(path.read_bytes()).hexdigest()
        return sign_video(fd, video_id=video_id, name=path.name, settings=SETTINGS, heartbeat=lambda _: None)
    finally:
        os.close(fd)
