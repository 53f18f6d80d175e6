"""Runs the program's own commands, each in a process of its own, as a person at a terminal would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-c", "from videonovelty.cli import main; main()")
LONGEST_SECONDS = 1800.0
"""A command that takes longer is ended, and has failed."""


class CommandError(Exception):
    """A command ended otherwise than it should; what rests on it could not be tried."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One command that was run."""

    words: tuple[str, ...]
    code: int
    """Exit code; minus the signal that ended it."""
    seconds: float
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Return what it printed as JSON. Raises CommandError when it is none."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise CommandError(f"videonovelty {self.words[0]} printed no JSON: {self.stdout[:200]!r}") from error


@dataclass(slots=True)
class Commands:
    """Runs commands and remembers them, in order."""

    config: Path | None = None
    """Settings every command that takes them is given."""
    ran: list[Ran] = field(default_factory=list)

    def run(self, *words: str | Path, codes: Sequence[int] = (0,)) -> Ran:
        """Run `videonovelty WORDS…` to its end. Raises CommandError where its exit code is not among `codes`."""
        ran = self._finish(self._start(words), words, LONGEST_SECONDS)
        if ran.code not in codes:
            last = " ".join(ran.stderr.strip().splitlines()[-3:]) or "nothing said"
            expected = " or ".join(map(str, codes))
            raise CommandError(f"videonovelty {ran.words[0]} ended with {ran.code} instead of {expected}: {last[:400]}")
        return ran

    def kill_when(self, ready: Callable[[], bool], *words: str | Path) -> tuple[Ran, list[int]]:
        """Start a command, end its main process with SIGKILL once `ready()`, and return what outlived it.

        Returns the command and the ids of its processes that are still there 30 s later. Exit code −9 says that it was
        killed; anything else that it had ended before.
        """
        process = self._start(words)
        family: dict[int, str] = {}
        until = time.monotonic() + LONGEST_SECONDS
        while process.poll() is None and time.monotonic() < until:
            if ready():
                family = descendants(process.pid)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
        ran = self._finish(process, words, LONGEST_SECONDS)
        until = time.monotonic() + 30
        while (alive := _alive(family)) and time.monotonic() < until:
            time.sleep(0.1)
        return ran, alive

    def _start(self, words: Sequence[str | Path]) -> subprocess.Popen[str]:
        config = ["--config", str(self.config)] if self.config and words[0] in ("scan", "doctor", "inspect") else []
        return subprocess.Popen(
            [*PROGRAM, *map(str, words), *config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )

    def _finish(self, process: subprocess.Popen[str], words: Sequence[str | Path], seconds: float) -> Ran:
        started = time.monotonic()
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
        ran = Ran(tuple(map(str, words)), process.returncode, time.monotonic() - started, stdout, stderr)
        self.ran.append(ran)
        return ran


def descendants(pid: int) -> dict[int, str]:
    """Return the processes started by `pid` and by those it started: id → time it started, as the kernel counts."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))) is not None:
            parents[int(entry.name)] = found
    family: dict[int, str] = {}
    pending = [pid]
    while pending:
        one = pending.pop()
        for child, (parent, started) in parents.items():
            if parent == one and child not in family:
                family[child] = started
                pending.append(child)
    return family


def _stat(pid: int) -> tuple[int, str] | None:
    """Return parent and starting time of a process that has not ended; proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), fields[19])


def _alive(family: dict[int, str]) -> list[int]:
    return [pid for pid, started in family.items() if (found := _stat(pid)) is not None and found[1] == started]
