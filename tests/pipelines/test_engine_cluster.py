"""The engine on real worker processes: same results, whatever dies, and nothing open to others."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client
from distributed.security import Security
from engine_tasks import (
    fail_at_three,
    hang,
    kill_worker_at_three,
    kill_worker_if_negative,
    kill_worker_once,
    note,
    slow_square,
    square,
    surroundings,
)

from videonovelty.engine import Engine, EngineFailure, EngineStalledError, open_engine
from videonovelty.settings import RunSettings

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS)}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster") / "scratch"


@pytest.fixture(scope="module")
def engine(scratch: Path) -> Iterator[Engine]:
    with open_engine(RunSettings(watchdog_seconds=120), workers=2, local_directory=scratch) as engine:
        yield engine
    assert not scratch.exists(), "the workers' own files go with them"


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Addresses and ports a process and its children accept connections on."""
    found = []
    for p in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found += [(c.laddr.ip, c.laddr.port) for c in p.net_connections("inet") if c.status == "LISTEN"]
    return found


def gone_within(pids: list[int], seconds: float) -> bool:
    """Whether all of `pids` have ended (or are only waiting to be collected) before `seconds` are over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = []
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    alive.append(pid)
        if not alive:
            return True
        time.sleep(0.05)
    return False


def test_two_workers_give_what_the_plain_loop_gives(engine: Engine, scratch: Path) -> None:
    items = list(range(40))
    with open_engine(RunSettings(), workers=0, local_directory=scratch) as plain:
        expected = sorted(plain.map_unordered(square, items))
    assert engine.n_workers == 2
    assert sorted(engine.map_unordered(square, items)) == expected
    assert sorted(engine.map_unordered(square, items[::-1], cost=lambda x: x % 7)) == expected
    assert list(engine.map_unordered(square, [])) == []


def test_workers_are_private_quiet_and_use_one_thread_each(engine: Engine, scratch: Path) -> None:
    found = [result for _, result in engine.map_unordered(surroundings, range(8))]
    for worker in found:
        assert not isinstance(worker, EngineFailure)
        assert worker["parent"] == os.getpid()
        assert worker["umask"] == 0o077
        assert worker["core"] == 0
        assert worker["group"] != os.getpgid(0)
        assert worker["threads"] == worker["opencv"] == "1"
        assert worker["spill"] == [False, False, False]
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700


def test_nothing_listens_off_loopback(engine: Engine) -> None:
    ports = listening(psutil.Process())
    assert ports
    assert {address for address, _ in ports} == {"127.0.0.1"}


def test_no_port_serves_a_web_page(engine: Engine) -> None:
    for address, port in listening(psutil.Process()):
        with socket.create_connection((address, port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            connection.settimeout(10)
            answer = b""
            with suppress(OSError):
                answer = connection.recv(200)
        assert b" 200 " not in answer, port


def test_a_client_without_our_certificate_is_refused(engine: Engine) -> None:
    address = engine._cluster.scheduler_address  # type: ignore[attr-defined]
    assert address.startswith("tls://127.0.0.1:")
    with pytest.raises((OSError, TimeoutError)):
        Client(address, security=Security.temporary(), timeout=2, set_as_default=False)
    with pytest.raises((OSError, TimeoutError)):
        Client(address.replace("tls://", "tcp://"), timeout=2, set_as_default=False)


def test_tasks_have_random_names(engine: Engine, tmp_path: Path) -> None:
    items = [(x, str(tmp_path / "secret name"), 0.05) for x in range(6)]
    results = engine.map_unordered(note, items)
    next(results)
    keys = list(engine._cluster.scheduler.tasks)  # type: ignore[attr-defined]
    results.close()  # type: ignore[attr-defined]
    assert keys
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)


def test_the_dearest_items_start_first_and_only_a_window_is_handed_out(engine: Engine, tmp_path: Path) -> None:
    items = [(x, str(tmp_path / "log"), 0.02) for x in range(30)]
    results = engine.map_unordered(note, items, cost=lambda item: item[0])
    next(results)
    assert len(engine._cluster.scheduler.tasks) <= 2 * RunSettings().window_per_worker  # type: ignore[attr-defined]
    assert len(list(results)) == 29
    started = [int(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines() if line.startswith("start")]
    assert set(started[:6]) >= {29, 28, 27, 26}
    assert max(started[-6:]) < 12


def test_one_at_a_time_runs_nothing_beside(engine: Engine, tmp_path: Path) -> None:
    items = [(x, str(tmp_path / "log"), 0.02) for x in range(6)]
    assert len(list(engine.map_unordered(note, items, one_at_a_time=True))) == 6
    lines = [line.rsplit(" ", 1)[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines == [f"{what} {x}" for x in range(6) for what in ("start", "end")]


def test_a_closed_iterator_abandons_what_is_in_work(engine: Engine) -> None:
    results = engine.map_unordered(slow_square, range(100))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert sorted(engine.map_unordered(square, range(5))) == [(x, x * x) for x in range(5)]


def test_an_exception_of_a_task_is_a_bug_and_surfaces_unchanged(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError, match="three is a bug"):
        list(engine.map_unordered(fail_at_three, range(10)))


def test_only_the_task_that_kills_its_worker_is_blamed(engine: Engine) -> None:
    results = dict(engine.map_unordered(kill_worker_at_three, range(20)))
    culprit = results.pop(3)
    assert isinstance(culprit, EngineFailure)
    assert "took down every worker" in culprit.detail
    assert results == {x: x * x for x in range(20) if x != 3}


def test_tasks_of_a_lost_worker_are_done_again(engine: Engine, tmp_path: Path) -> None:
    items = [(x, str(tmp_path / "died")) for x in range(9)]
    assert sorted(engine.map_unordered(kill_worker_once, items)) == [(item, item[0] ** 2) for item in sorted(items)]


@pytest.mark.slow
def test_many_tasks_that_kill_their_workers_leave_the_others_alone(engine: Engine) -> None:
    """Eight among two hundred once left distributed without a worker, and 192 results lost."""
    items = [-x if x % 25 == 0 else x for x in range(1, 201)]
    results = dict(engine.map_unordered(kill_worker_if_negative, items))
    assert sorted(x for x, result in results.items() if isinstance(result, EngineFailure)) == list(range(-200, 0, 25))
    assert {x: r for x, r in results.items() if x > 0} == {x: x * x for x in items if x > 0}


def test_killed_workers_are_replaced(engine: Engine) -> None:
    """By their supervisors or, where those give up, by the engine: either way the work is done and all are back."""
    cluster = engine._cluster  # type: ignore[attr-defined]
    engine._patience_seconds = 2.0  # type: ignore[attr-defined]
    asked = len(cluster.scheduler.workers)
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid is not None:  # None: the test before this one killed it, and it is not back yet
            os.kill(nanny.pid, signal.SIGKILL)
    assert sorted(engine.map_unordered(square, range(10))) == [(x, x * x) for x in range(10)]
    until = time.monotonic() + 300  # seconds each, minutes on a busy machine
    while len(cluster.scheduler.workers) < asked and time.monotonic() < until:
        time.sleep(0.1)
    assert len(cluster.scheduler.workers) >= asked


def test_no_progress_ends_the_run_and_its_workers(tmp_path: Path) -> None:
    settings = RunSettings(watchdog_seconds=2, window_per_worker=1)
    started = time.monotonic()
    with (
        pytest.raises(EngineStalledError, match=r"no task finished for 2 s.*resume"),
        open_engine(settings, workers=1, local_directory=tmp_path / "scratch") as engine,
    ):
        pids = [nanny.pid for nanny in engine._cluster.workers.values()]  # type: ignore[attr-defined]
        list(engine.map_unordered(hang, [1, 2]))
    assert time.monotonic() - started < 40
    assert gone_within(pids, 1)


_RUN = """
    import os, sys
    from pathlib import Path
    import engine_tasks
    from videonovelty.engine import Interrupted, open_engine
    from videonovelty.settings import RunSettings
    folder = Path(sys.argv[1])
    if __name__ == "__main__":
        try:
            with open_engine(RunSettings(drain_seconds=5), workers=2, local_directory=folder / "scratch") as engine:
                list(engine.map_unordered(engine_tasks.leave_something_open, [str(folder / "closed")] * 8))
                print("ready", *[n.pid for n in engine._cluster.workers.values()], flush=True)
                items = [(x, str(folder / "log"), 0.4) for x in range(500)]
                for item, _ in engine.map_unordered(engine_tasks.note, items):
                    print(item[0], flush=True)
        except Interrupted as error:
            sys.exit(error.exit_code)
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run of two workers in its own process and terminal session, and the workers' process ids."""
    (tmp_path / "run.py").write_text(textwrap.dedent(_RUN))
    with subprocess.Popen(
        [sys.executable, tmp_path / "run.py", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    ) as run:
        assert run.stdout is not None
        words = run.stdout.readline().split()
        assert words[:1] == ["ready"], run.communicate()
        run.stdout.readline()
        yield run, [int(pid) for pid in words[1:]]
        run.kill()


def test_ctrl_c_starts_nothing_new_returns_what_finishes_and_closes_the_workers(
    running: tuple[subprocess.Popen[str], list[int]], tmp_path: Path
) -> None:
    run, pids = running
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
    out, errors = run.communicate(timeout=40)
    assert run.returncode == 130, errors
    log = (tmp_path / "log").read_text().splitlines()
    ended = {line.split()[1] for line in log if line.startswith("end")}
    assert set(out.split()) <= ended
    assert len(out.split()) >= 1, "what was in work was still returned"
    assert len(ended) < 30
    assert gone_within(pids, 2)
    assert list(tmp_path.glob("closed.*")), "what tasks left open was closed"
    assert "Traceback" not in errors


def test_killing_the_main_process_leaves_no_worker(running: tuple[subprocess.Popen[str], list[int]]) -> None:
    run, pids = running
    run.kill()
    run.wait()
    assert gone_within(pids, 2)
