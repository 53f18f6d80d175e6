"""Which snapshots are being read: a file for each, locked by whoever reads it, so that sweeping leaves what they need.

A lock goes with its process, however that ends. Locks are seen on this machine, and elsewhere where the store's file
system passes them on.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

FOLDER = "readers"
"""In the store's folder."""


def hold(store: Path, number: int) -> int | None:
    """Mark a snapshot as read until the returned descriptor is closed; None where nothing can be written or locked."""
    path = store / FOLDER / f"{number:012d}"
    while True:
        descriptor = None
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except FileNotFoundError:
            pass  # a sweep took the file away as we opened it: once more
        except OSError:
            if descriptor is not None:
                os.close(descriptor)
            return None
        if descriptor is not None:
            os.close(descriptor)


def held(store: Path, *, before: int, let_go: bool = False) -> tuple[int, ...]:
    """Return the snapshots older than `before` that are being read, ascending.

    With `let_go` the files of those nobody reads are deleted. What cannot be told counts as being read.
    """
    found = []
    folder = store / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.isdigit() or int(path.name) >= before:
            continue
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # let go by somebody else at this moment
            continue
        except OSError:
            found.append(int(path.name))
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if let_go:
                path.unlink()
        except OSError:
            found.append(int(path.name))
        finally:
            os.close(descriptor)
    return tuple(found)
