"""The one door to Dask: one task a video or a shard, on worker processes of this machine or of an existing cluster.

What the callers see is `Engine.map_unordered`, and that a plain loop (`workers=0`) gives the same results. What Dask
does not promise is added here:

- Work is handed out in a sliding window, dearest first, under random names: no path is ever a task's name.
- A worker that dies loses nothing but time. Dask blames every task a dead worker had been given, so a task that Dask
  gives up on is tried again *alone* at the end; only if it then takes its worker down again is it the culprit, and an
  `EngineFailure` stands for its result.
- Dask knows no time limit for a task, and can be left without workers: missing workers are replaced, and a run without
  progress for `watchdog_seconds` ends with `EngineStalledError`.
- SIGINT and SIGTERM stop the handing out; what finishes within `drain_seconds` is still returned, then `Interrupted` is
  raised. A second signal ends it at once.
- The local cluster listens on loopback only, with certificates made for this one run; no dashboard, no web pages, no
  spilling to disk, no log lines with arguments. An existing scheduler must be spoken to over TLS.
"""

from __future__ import annotations

import atexit
import functools
import logging
import math
import multiprocessing
import os
import pickle
import queue
import secrets
import shutil
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Generic, TypeVar

import dask
from distributed import Client, Future, LocalCluster, WorkerPlugin
from distributed.scheduler import KilledWorker
from distributed.security import Security

from videonovelty import __version__
from videonovelty.errors import EnvironmentUnfitError, SettingsError, VideoNoveltyError
from videonovelty.one_thread import ONE_THREAD
from videonovelty.settings import RunSettings

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_TICK_SECONDS = 0.25
"""How often a wait looks up: for signals, lost workers and the watchdog."""
_REPLACE_SECONDS = 20.0
"""A worker missing for longer is not coming back by itself (a restart takes 2 to 5 s on a loaded machine)."""
_COUNT_SECONDS = 2.0
"""How often the workers of an existing cluster are counted: they may come and go."""
_CONNECT_SECONDS = 60.0
"""Wait for a scheduler's first worker."""
_CLOSE_SECONDS = 10.0
_RESULT_SECONDS = 5.0
"""How long a finished task's small result may take to arrive before others are looked at."""
_MAX_LOSSES = 3
"""How often an item may vanish with a scheduler's memory before it counts as failed."""
_WORKER_ENVIRONMENT = ONE_THREAD | {"NUMBA_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
"""One thread a worker: the processors are shared out by the number of workers alone."""
_PR_SET_PDEATHSIG = 1


class EngineStalledError(VideoNoveltyError):
    """Nothing finished for too long, or the scheduler is gone. What was finished is kept; the run can be resumed."""


class Interrupted(VideoNoveltyError):
    """The run was asked to stop (Ctrl-C, SIGTERM). What was finished is kept; the run can be resumed."""

    def __init__(self, signal_number: int) -> None:
        self.signal_number = signal_number
        super().__init__(f"stopped by {signal.Signals(signal_number).name}; the same command resumes the run")

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal_number


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """Stands for the result of a task that took down every worker it was given to."""

    detail: str


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What proves us to an existing scheduler, and it to us: paths of PEM files."""

    ca_file: Path
    cert_file: Path
    key_file: Path


# ---------------------------------------------------------------------------------------------------------------------
# What tasks may leave open in their process


_closers: list[Callable[[], None]] = []


def close_at_exit(close: Callable[[], None]) -> None:
    """Have `close` called once when this process stops being a worker: when its engine closes or the process ends.

    For what task functions keep between tasks, such as a sandbox. A worker that is killed calls nothing.
    """
    if not _closers:
        atexit.register(_close_all)
    _closers.append(close)


def _close_all() -> None:
    while _closers:
        close = _closers.pop()
        try:
            close()
        except Exception:
            logger.warning("closing a worker's resource failed", exc_info=True)


class _WorkerGuard(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
    """Makes a worker process private, mortal and quiet."""

    name = "videonovelty-guard"

    def __init__(self, parent_pid: int | None) -> None:
        self.parent_pid = parent_pid
        """Process the worker must not outlive; None for workers of an existing cluster."""

    def setup(self, worker: Any) -> None:  # noqa: ARG002
        os.umask(0o077)
        _no_core_dumps()
        if self.parent_pid is not None:
            with suppress(OSError):  # a worker that leads its group already needs none of its own
                os.setpgid(0, 0)  # Ctrl-C in the terminal is for the main process, which drains
            _die_with_parent(self.parent_pid)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        _close_all()


def _no_core_dumps() -> None:
    import resource  # noqa: PLC0415  (not on every platform this module is imported on)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)


def _worker_facts() -> tuple[str, int, int]:
    return __version__, sys.version_info.major, sys.version_info.minor


# ---------------------------------------------------------------------------------------------------------------------
# Signals


class _StopSignal:
    """Remembers the first SIGINT or SIGTERM; the second one raises `Interrupted` on the spot."""

    def __init__(self, drain_seconds: float) -> None:
        self.number: int | None = None
        self.deadline = math.inf
        self._drain_seconds = drain_seconds

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take both signals while the block runs; a no-op outside the main thread, where Python allows no handlers."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: types.FrameType | None) -> None:  # noqa: ARG002
        if self.number is not None:
            raise Interrupted(number)
        self.number = number
        self.deadline = time.monotonic() + self._drain_seconds
        name = signal.Signals(number).name
        logger.warning("%s: stopping; what is in work may finish within %g s", name, self._drain_seconds)

    def check(self) -> None:
        """Raise Interrupted once a signal came."""
        if self.number is not None:
            raise Interrupted(self.number)

    @contextmanager
    def limiting(self) -> Iterator[None]:
        """Let a task of this process run on for `drain_seconds` after the first signal, then interrupt it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        main = threading.main_thread().ident
        done = threading.Event()

        def limit() -> None:
            while not done.wait(_TICK_SECONDS):
                if self.number is not None and time.monotonic() >= self.deadline and main is not None:
                    signal.pthread_kill(main, self.number)
                    return

        watcher = threading.Thread(target=limit, name="drain limit", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


# ---------------------------------------------------------------------------------------------------------------------
# Engines


class Engine:
    """Runs tasks. Made by `open_engine`; this class is the plain loop, its subclass the one on Dask."""

    def __init__(self, settings: RunSettings, stop: _StopSignal) -> None:
        self._settings = settings
        self._stop = stop

    @property
    def n_workers(self) -> int:
        """How many tasks run at once; 1 for the plain loop."""
        return 1

    def check_interrupted(self) -> None:
        """Raise Interrupted when the run was asked to stop: for long work outside of tasks."""
        self._stop.check()

    def map_unordered(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        *,
        cost: Callable[[T], float] | None = None,
        one_at_a_time: bool = False,
        before: Callable[[T], None] | None = None,
    ) -> Iterator[tuple[T, R | EngineFailure]]:
        """Yield (item, result) for each of `items` as results come in, those of highest `cost` started first.

        `task` is a function of an importable module, or a `functools.partial` of one; items and results are small and
        can be pickled. With `one_at_a_time` nothing else runs beside an item. `before` is called here, in this process,
        with each item just before it is handed out. Closing the iterator abandons what is in work.

        An exception of a task is a bug and is raised here. A task that took down every worker it was given to yields an
        EngineFailure. Raises EngineStalledError when nothing finishes for `watchdog_seconds` or the scheduler is lost,
        Interrupted after a signal, ValueError for a task that is not importable.
        """
        del one_at_a_time  # the plain loop knows nothing else
        _check_importable(task)
        for item in _dearest_first(items, cost):
            self._stop.check()
            if before is not None:
                before(item)
            with self._stop.limiting():
                result = task(item)
            yield item, result
        self._stop.check()


class _Outcome(Enum):
    HERE = auto()
    NOT_HERE_YET = auto()
    LOST = auto()


@dataclass(slots=True)
class _Flight(Generic[T]):
    """One item in work."""

    item: T
    future: Future
    losses: int = 0


class _DaskEngine(Engine):
    def __init__(
        self, settings: RunSettings, stop: _StopSignal, client: Client, cluster: LocalCluster | None, n_workers: int
    ) -> None:
        super().__init__(settings, stop)
        self._client = client
        self._cluster = cluster
        self._asked_workers = n_workers
        self._missing_since: float | None = None
        self._patience_seconds = _REPLACE_SECONDS
        self._counted = -math.inf

    @property
    def n_workers(self) -> int:
        if self._cluster is None and time.monotonic() - self._counted > _COUNT_SECONDS:
            workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
            self._asked_workers = max(1, sum(int(w["nthreads"]) for w in workers.values()))
            self._counted = time.monotonic()
        return self._asked_workers

    def map_unordered(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        *,
        cost: Callable[[T], float] | None = None,
        one_at_a_time: bool = False,
        before: Callable[[T], None] | None = None,
    ) -> Iterator[tuple[T, R | EngineFailure]]:
        _check_importable(task)
        waiting = list(reversed(_dearest_first(items, cost)))
        suspects: list[T] = []
        for item, result in self._run(task, waiting, before, window=1 if one_at_a_time else None):
            if isinstance(result, EngineFailure) and not one_at_a_time:
                logger.warning("a task's workers died; it is tried again alone at the end")
                suspects.append(item)
            else:
                yield item, result
        # Dask blames all tasks a dead worker held. Alone, the blame is certain.
        yield from self._run(task, list(reversed(suspects)), before, window=1)

    def _run(
        self, task: Callable[[T], R], waiting: list[T], before: Callable[[T], None] | None, *, window: int | None
    ) -> Iterator[tuple[T, R | EngineFailure]]:
        """Yield results of `waiting`, taken from its end; an EngineFailure wherever Dask gave up."""
        finished: queue.SimpleQueue[str] = queue.SimpleQueue()
        flights: dict[str, _Flight[T]] = {}
        progress = time.monotonic()

        def hand_out(item: T, losses: int = 0) -> None:
            if before is not None:
                before(item)
            key = secrets.token_hex(16)
            future = self._client.submit(task, item, key=key, pure=False)
            flights[key] = _Flight(item, future, losses)
            future.add_done_callback(lambda _: finished.put(key))

        try:
            while waiting or flights:
                if self._stop.number is None:
                    room = window or self._settings.window_per_worker * self.n_workers
                    while waiting and len(flights) < room:
                        hand_out(waiting.pop())
                elif not flights or time.monotonic() >= self._stop.deadline:
                    break
                try:
                    key = finished.get(timeout=_TICK_SECONDS)
                except queue.Empty:
                    self._look_after(progress)
                    continue
                outcome, result = self._result_of(flights[key].future)
                if outcome is _Outcome.NOT_HERE_YET:
                    finished.put(key)
                    self._look_after(progress)
                    continue
                flight = flights.pop(key)
                if outcome is _Outcome.LOST:
                    if flight.losses + 1 < _MAX_LOSSES:
                        hand_out(flight.item, flight.losses + 1)
                        continue
                    result = EngineFailure(f"its result was lost {_MAX_LOSSES} times with the process that held it")
                yield flight.item, result
                progress = time.monotonic()  # the caller's own time with a result is not a stall
            self._stop.check()
        finally:
            if flights:
                with suppress(Exception):
                    self._client.cancel([f.future for f in flights.values()], force=True, asynchronous=False)

    def _result_of(self, future: Future) -> tuple[_Outcome, Any]:
        """Return a finished task's result, or why there is none; raise the task's own exception.

        A result whose worker died before handing it over is worked out anew, which may take as long as the task, or
        wait for a worker: so this never waits long.
        """
        try:
            return _Outcome.HERE, future.result(timeout=_RESULT_SECONDS)
        except KilledWorker as error:
            last = error.last_worker.address
            return _Outcome.HERE, EngineFailure(f"it took down every worker it was given to, the last one {last}")
        except Exception as error:
            if future.status == "error":
                raise
            self._check_scheduler()
            return (_Outcome.NOT_HERE_YET if isinstance(error, TimeoutError) else _Outcome.LOST), None

    def _look_after(self, progress: float) -> None:
        """Replace missing workers, and give up on a run that makes no progress."""
        self._check_scheduler()
        now = time.monotonic()
        if self._cluster is not None:
            self._replace_missing(self._cluster, now)
        if now - progress > self._settings.watchdog_seconds:
            raise EngineStalledError(
                f"no task finished for {self._settings.watchdog_seconds:g} s, so the run was stopped. What was "
                "finished is kept: start the same command again to resume. If single tasks take longer, raise "
                "run.watchdog_seconds."
            )

    def _check_scheduler(self) -> None:
        if self._client.status not in ("running", "connecting") or (
            self._cluster is None and self._client.status == "connecting" and not self._client.scheduler_comm
        ):
            raise EngineStalledError(
                "the connection to the scheduler is lost. What was finished is kept: start the same command again to "
                "resume."
            )

    def _replace_missing(self, cluster: LocalCluster, now: float) -> None:
        """Start new workers for those that Dask has not brought back itself.

        A worker that dies while its supervisor is still starting it is never restarted by distributed 2026.8.
        """
        missing = self._asked_workers - len(cluster.scheduler.workers)
        if missing <= 0:
            self._missing_since, self._patience_seconds = None, _REPLACE_SECONDS
        elif self._missing_since is None:
            self._missing_since = now
        elif now - self._missing_since > self._patience_seconds:
            logger.warning("%d of %d worker processes are gone; new ones are started", missing, self._asked_workers)
            cluster.scale(len(cluster.worker_spec) + missing)
            # On a machine too busy to start them in this time, ever more would not help.
            self._missing_since, self._patience_seconds = now, 2 * self._patience_seconds


def _dearest_first(items: Sequence[T], cost: Callable[[T], float] | None) -> list[T]:
    return list(items) if cost is None else sorted(items, key=cost, reverse=True)


def _check_importable(task: Callable[..., Any]) -> None:
    """Refuse functions that another process could not import: Dask would send their code instead of their name."""
    function = task
    while isinstance(function, functools.partial):
        function = function.func
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function or module == "__main__":
        raise ValueError(f"{name or task!r} is not a function of an importable module")
    pickle.dumps(task)


# ---------------------------------------------------------------------------------------------------------------------
# Opening


@contextmanager
def open_engine(
    settings: RunSettings,
    *,
    workers: int,
    scheduler: str | None = None,
    tls: TlsFiles | None = None,
    local_directory: Path,
) -> Iterator[Engine]:
    """Provide an engine: a plain loop (`workers=0`), `workers` processes here, or the cluster of `scheduler`.

    `local_directory` is made for the workers' own files (0700), and emptied of them at the end. Until the block ends
    SIGINT and SIGTERM are taken as described in the module.

    Raises SettingsError for a scheduler address that is not `tls://…` or has no certificates, EnvironmentUnfitError
    when the cluster does not start, answers to nobody, or runs another version of this program.
    """
    stop = _StopSignal(settings.drain_seconds)
    _silence_dask()
    with ExitStack() as stack:
        stack.callback(_close_all)
        stack.enter_context(stop.watching())
        if scheduler is not None:
            client = stack.enter_context(_connected(scheduler, _security(settings, tls), stop))
            yield _DaskEngine(settings, stop, client, None, 0)
        elif workers > 0:
            client, cluster = stack.enter_context(_local_cluster(settings, workers, local_directory))
            yield _DaskEngine(settings, stop, client, cluster, workers)
        else:
            yield Engine(settings, stop)


def _silence_dask() -> None:
    """Keep Dask's own lines off the screen, unless everything is logged (`--debug`).

    Importing it sets its loggers to INFO: some forty lines a run, in which a worker's end by our own hand looks like an
    error. What an operator can act on is logged or raised here.
    """
    if logging.getLogger().level > logging.DEBUG:
        for name in ("distributed", *(n for n in logging.root.manager.loggerDict if n.startswith("distributed."))):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _local_cluster(settings: RunSettings, workers: int, folder: Path) -> Iterator[tuple[Client, LocalCluster]]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    environment = {name: os.environ.get(name) for name in _WORKER_ENVIRONMENT}
    with ExitStack() as stack:
        stack.callback(_restore_environment, environment)
        stack.enter_context(dask.config.set(_local_config(settings, folder)))
        stack.callback(_clean, folder)
        others = {process.pid for process in multiprocessing.active_children()}
        try:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=settings.threads_per_worker,
                processes=True,
                host="127.0.0.1",
                security=Security.temporary(),
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                local_directory=str(folder),
            )
            stack.callback(_close_cluster, cluster, others)
            client = Client(cluster, set_as_default=False, timeout=_CONNECT_SECONDS)
            stack.callback(_close_client, client)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise EnvironmentUnfitError(
                f"the {workers} worker processes do not start: {error}. Try --workers 0, which needs none."
            ) from error
        # From here on it is how long a result waits for a worker that has just died.
        stack.enter_context(dask.config.set({"distributed.comm.timeouts.connect": "15s"}))
        client.register_plugin(_WorkerGuard(os.getpid()))
        yield client, cluster


@contextmanager
def _connected(address: str, security: Security, stop: _StopSignal) -> Iterator[Client]:
    if not address.startswith("tls://"):
        raise SettingsError(
            f"--scheduler {address}: only tls:// is used, for whoever can speak to a scheduler runs code."
        )
    remedy = "Check the address, the certificates, and that `dask worker` processes are connected."
    with ExitStack() as stack:
        try:
            client = Client(address, security=security, set_as_default=False, timeout=_CONNECT_SECONDS)
            stack.callback(_close_client, client)
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
            stop.check()
            facts = client.run(_worker_facts)
        except (OSError, TimeoutError, ImportError) as error:
            raise EnvironmentUnfitError(f"scheduler {address}: {error}. {remedy}") from error
        if different := {worker: fact for worker, fact in facts.items() if fact != _worker_facts()}:
            worker, fact = next(iter(different.items()))
            raise EnvironmentUnfitError(
                f"scheduler {address}: worker {worker} runs videonovelty {fact[0]} on Python {fact[1]}.{fact[2]}, this "
                f"is {__version__} on {sys.version_info.major}.{sys.version_info.minor}. Install the same on all."
            )
        client.register_plugin(_WorkerGuard(None))
        yield client


def _local_config(settings: RunSettings, folder: Path) -> dict[str, Any]:
    return {
        "distributed.comm.timeouts.connect": "60s",  # a busy machine takes long to start processes
        "temporary-directory": str(folder),  # the scheduler's own; not TMPDIR, which others may write to
        "distributed.scheduler.allowed-failures": 1,  # a second try beside others, then alone: see map_unordered
        "distributed.scheduler.worker-saturation": 1.0,  # nothing waits on a worker, so little is blamed with it
        "distributed.scheduler.worker-ttl": None,  # a join may hold its interpreter; the watchdog looks after it
        "distributed.scheduler.work-stealing": False,
        "distributed.scheduler.active-memory-manager.start": False,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        "distributed.worker.memory.target": False,  # no result is ever written to disk by Dask
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.profile.enabled": False,
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.nanny.pre-spawn-environ": {
            **_WORKER_ENVIRONMENT,
            "NUMBA_NUM_THREADS": str(settings.threads_per_worker),
            "MALLOC_TRIM_THRESHOLD_": "65536",
        },
        # How often each server measures how busy its loop is: at 20 ms, 7 % of a processor with two workers.
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.low-level-log-length": 100,
        "distributed.admin.log-length": 100,
        "distributed.admin.system-monitor.disk": False,
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.admin.system-monitor.log-length": 60,
        "distributed.diagnostics.nvml": False,
        "distributed.diagnostics.computations.max-history": 1,
        "distributed.diagnostics.erred-tasks.max-history": 1,
    }


def _security(settings: RunSettings, tls: TlsFiles | None) -> Security:
    if tls is None and settings.tls_ca_file and settings.tls_cert_file and settings.tls_key_file:
        tls = TlsFiles(Path(settings.tls_ca_file), Path(settings.tls_cert_file), Path(settings.tls_key_file))
    if tls is None:
        raise SettingsError(
            "--scheduler needs run.tls_ca_file, run.tls_cert_file and run.tls_key_file: it is only used over TLS."
        )
    for path in (tls.ca_file, tls.cert_file, tls.key_file):
        if not path.is_file():
            raise SettingsError(f"{path}: no such certificate or key file. Check the tls_… settings of [run].")
    return Security(
        require_encryption=True,
        tls_ca_file=str(tls.ca_file),
        tls_client_cert=str(tls.cert_file),
        tls_client_key=str(tls.key_file),
    )


def _close_client(client: Client) -> None:
    with suppress(Exception):  # the run's own error, if any, is the one to show
        client.close(timeout=_CLOSE_SECONDS)


def _close_cluster(cluster: LocalCluster, others: set[int | None]) -> None:
    """Close the cluster, and end its worker processes where that does not: a hanging task must not hold the run."""
    with suppress(Exception):
        cluster.close(timeout=_CLOSE_SECONDS)
    for process in multiprocessing.active_children():
        if process.pid not in others:
            process.kill()
            process.join(_CLOSE_SECONDS)


def _clean(folder: Path) -> None:
    shutil.rmtree(folder / "dask-scratch-space", ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()  # stays when the caller keeps other things there


def _restore_environment(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
