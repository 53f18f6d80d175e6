"""The engine's plain loop, and what it asks of tasks; the cluster is in pipelines/test_engine_cluster.py."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_tasks import fail_at_three, leave_something_open, square
from hypothesis import given
from hypothesis import strategies as st

from videonovelty.engine import Engine, Interrupted, TlsFiles, open_engine
from videonovelty.errors import SettingsError
from videonovelty.settings import RunSettings

TESTS = Path(__file__).parent


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(RunSettings(), workers=0, local_directory=tmp_path / "scratch") as engine:
        yield engine


@given(items=st.lists(st.integers(-100, 100)))
def test_every_item_comes_back_once_with_its_result(items: list[int]) -> None:
    with open_engine(RunSettings(), workers=0, local_directory=Path("unused")) as engine:
        assert sorted(engine.map_unordered(square, items)) == sorted((x, x * x) for x in items)


def test_the_dearest_come_first_and_equals_in_order(plain: Engine) -> None:
    items = [3, 10, 1, 2, 20]
    assert [x for x, _ in plain.map_unordered(square, items, cost=lambda x: x // 10)] == [20, 10, 3, 1, 2]
    assert [x for x, _ in plain.map_unordered(square, items)] == items
    assert items == [3, 10, 1, 2, 20]


def test_an_exception_of_a_task_is_a_bug_and_surfaces(plain: Engine) -> None:
    with pytest.raises(ZeroDivisionError, match="three is a bug"):
        list(plain.map_unordered(fail_at_three, range(10)))


def test_tasks_another_process_could_not_import_are_refused(plain: Engine) -> None:
    def local(x: int) -> int:
        return x

    for task in (local, lambda x: x, functools.partial(local)):
        with pytest.raises(ValueError, match="importable module"):
            list(plain.map_unordered(task, [1]))
    assert list(plain.map_unordered(functools.partial(pow, 2), [3])) == [(3, 8)]


def test_the_plain_loop_runs_one_task_at_a_time_and_makes_no_folder(plain: Engine, tmp_path: Path) -> None:
    assert plain.n_workers == 1
    assert list(plain.map_unordered(square, [2])) == [(2, 4)]
    assert not (tmp_path / "scratch").exists()


def test_what_tasks_left_open_is_closed_with_the_engine(tmp_path: Path) -> None:
    with open_engine(RunSettings(), workers=0, local_directory=tmp_path) as engine:
        list(engine.map_unordered(leave_something_open, [str(tmp_path / "closed")]))
        assert not list(tmp_path.glob("closed.*"))
    assert list(tmp_path.glob("closed.*")) == [tmp_path / f"closed.{os.getpid()}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_task_in_work_finish_and_starts_no_other(tmp_path: Path, number: signal.Signals) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    seen = []
    with (
        pytest.raises(Interrupted) as caught,
        open_engine(RunSettings(), workers=0, local_directory=tmp_path) as engine,
    ):
        for item, _ in engine.map_unordered(square, range(100)):
            seen.append(item)
            if item == 4:
                os.kill(os.getpid(), number)
    assert seen == [0, 1, 2, 3, 4]
    assert caught.value.exit_code == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_long_work_outside_of_tasks_can_ask_whether_to_stop(plain: Engine) -> None:
    plain.check_interrupted()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Interrupted, match="the same command resumes"):
        plain.check_interrupted()


_SLOW_RUN = """
    import sys, time
    from pathlib import Path
    from engine_tasks import hang
    from videonovelty.engine import Interrupted, open_engine
    from videonovelty.settings import RunSettings
    settings = RunSettings(drain_seconds=float(sys.argv[1]))
    try:
        with open_engine(settings, workers=0, local_directory=Path("unused")) as engine:
            print("ready", flush=True)
            list(engine.map_unordered(hang, [1]))
    except Interrupted as error:
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(("drain_seconds", "signals"), [(0.5, 1), (600.0, 2)], ids=["drain limit", "second signal"])
def test_a_task_that_does_not_finish_is_interrupted(drain_seconds: float, signals: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_SLOW_RUN), str(drain_seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        time.sleep(0.2)
        for _ in range(signals):
            run.send_signal(signal.SIGINT)
            time.sleep(0.3)
        _, errors = run.communicate(timeout=30)
    assert run.returncode == 130, errors


def test_a_scheduler_is_only_used_over_tls_and_with_certificates(tmp_path: Path) -> None:
    missing = TlsFiles(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    for scheduler, tls, message in [
        ("tls://127.0.0.1:1", None, "run.tls_ca_file"),
        ("tls://127.0.0.1:1", missing, "no such certificate"),
    ]:
        with (
            pytest.raises(SettingsError, match=message),
            open_engine(RunSettings(), workers=0, scheduler=scheduler, tls=tls, local_directory=tmp_path),
        ):
            pass
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    with (
        pytest.raises(SettingsError, match="only tls:// is used"),
        open_engine(RunSettings(), workers=0, scheduler="tcp://127.0.0.1:1", tls=missing, local_directory=tmp_path),
    ):
        pass
