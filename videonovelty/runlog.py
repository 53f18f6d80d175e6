"""RUN/log.jsonl: what happened during a run, one JSON object a line, for machines to read.

Beside the journal, which is the truth, this is for looking: how far each stage was when, and every warning. It is of
one run and goes with it, so it needs no rotation. No path of the intake and nothing of a video's content is in it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from videonovelty.errors import EnvironmentUnfitError

LOG_NAME = "log.jsonl"
Log = Callable[[str, dict[str, Any]], None]
"""Takes the name of an event and what there is to say."""


@contextmanager
def json_log(run_path: Path) -> Iterator[Log]:
    """Provide a function that appends an event to RUN/log.jsonl; the library's warnings go there too meanwhile.

    Raises EnvironmentUnfitError when the file cannot be written. A disk that fills up later costs lines, not the run.
    """
    path = run_path / LOG_NAME
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EnvironmentUnfitError(f"{path}: cannot be written: {error.strerror}. Remove it or free space.") from error

    def write(event: str, fields: dict[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"at": at, "event": event, **fields}, ensure_ascii=True, default=str)
        with suppress(OSError):
            os.write(fd, line.encode("ascii") + b"\n")

    handler = _Handler(write)
    library = logging.getLogger("videonovelty")
    library.addHandler(handler)
    write("opened", {"pid": os.getpid()})
    try:
        yield write
    finally:
        write("closed", {})
        library.removeHandler(handler)
        os.close(fd)


class _Handler(logging.Handler):
    """Turns log records into events."""

    def __init__(self, write: Log) -> None:
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write("log", {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()})
