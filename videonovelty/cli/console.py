"""What a command shows while it works and when it ends: progress on a terminal, sparse plain lines otherwise."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from videonovelty import batch
    from videonovelty.runlog import Log

errors = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(highlight=False, soft_wrap=True)

_PLAIN_SECONDS = 30.0
"""Without a terminal, a stage says how far it is this often."""


def say(text: str) -> None:
    """Print one message for people."""
    errors.print(text, markup=False)


def print_json(document: Any) -> None:
    """Print a result for machines."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False, default=str) + "\n")


class StageProgress:
    """Shows the stages of a batch; call it with every `batch.Progress`. Without a terminal, and for `log`, sparsely."""

    def __init__(self, *, quiet: bool = False, log: Log | None = None) -> None:
        self._quiet = quiet
        self._log = log
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._began: dict[str, tuple[float, int]] = {}
        if errors.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description:>14}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[extra]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=errors,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: batch.Progress) -> None:
        """Show where a stage is."""
        now = time.monotonic()
        began, done_before = self._began.setdefault(progress.stage, (now, progress.done))
        rate = (progress.done - done_before) / (now - began) if now > began else 0.0
        extra = _extra(progress, rate)
        if self._bar is not None:
            task = self._tasks.get(progress.stage)
            if task is None:
                task = self._tasks[progress.stage] = self._bar.add_task(progress.stage, total=progress.total, extra="")
            self._bar.update(task, completed=progress.done, total=progress.total, extra=extra)
        last = self._said.get(progress.stage, now - 2 * _PLAIN_SECONDS)
        if progress.done != progress.total and now - last < _PLAIN_SECONDS:
            return
        self._said[progress.stage] = now
        left = (progress.total - progress.done) / rate if rate > 0 else None
        if self._log is not None:
            self._log("progress", {**_fields(progress), "a_second": round(rate, 3), "seconds_left": _rounded(left)})
        if self._bar is None and not self._quiet:
            if left:
                extra += f"{', ' if extra else ''}{duration(left)} left"
            say(f"{progress.stage}: {progress.done}/{progress.total}{' ' + extra if extra else ''}")


def _fields(progress: batch.Progress) -> dict[str, Any]:
    return {**asdict(replace(progress, verdicts={})), "verdicts": dict(progress.verdicts)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _extra(progress: batch.Progress, rate: float) -> str:
    parts = []
    if rate > 0:
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min")
    if progress.video_seconds:
        parts.append(f"{duration(progress.video_seconds)} of video")
    parts += [f"{number} {verdict}" for verdict, number in sorted(progress.verdicts.items())]
    if progress.failed:
        parts.append(f"{progress.failed} flagged")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds as people read them: 7.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60):02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def counts_table(title: str, rows: Mapping[str, Any]) -> None:
    """Print a two-column table."""
    table = Table(title=title, show_header=False, title_justify="left", box=None, padding=(0, 2))
    table.add_column(justify="left")
    table.add_column(justify="right")
    for name, value in rows.items():
        table.add_row(str(name), str(value))
    output.print(table)


@contextmanager
def stages(*, quiet: bool, log: Log | None = None) -> Iterator[StageProgress]:
    """Provide the progress display of one command."""
    with StageProgress(quiet=quiet, log=log) as progress:
        yield progress
