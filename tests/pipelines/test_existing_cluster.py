"""A scan on an existing cluster: `dask scheduler` and two `dask worker` processes on loopback, speaking TLS."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import make_video
import psutil
import pytest
from distributed import Client
from distributed.security import Security
from engine_tasks import slow_square
from soak import TABLES
from test_engine_cluster import ENVIRONMENT, listening
from test_screening import run

from videonovelty import engine as engine_module
from videonovelty.engine import EngineStalledError, TlsFiles, open_engine
from videonovelty.errors import EnvironmentUnfitError
from videonovelty.settings import RunSettings


class Cluster:
    """`dask scheduler` and two `dask worker` processes on loopback, with certificates of their own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        secret = Security.temporary()
        self.tls = TlsFiles(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
        self.tls.ca_file.write_text(secret.tls_ca_file)
        self.tls.cert_file.write_text(secret.tls_client_cert)
        self.tls.key_file.write_text(secret.tls_client_key)
        files = ["--tls-ca-file", self.tls.ca_file, "--tls-cert", self.tls.cert_file, "--tls-key", self.tls.key_file]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tls://127.0.0.1:{port}"
        dask = [sys.executable, "-m", "dask"]
        server = [*dask, "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", str(port)]
        self.processes = [self._start(stack, [*server, "--dashboard-address", "127.0.0.1:0", *files])]
        for name in ("one", "two"):
            worker = [*dask, "worker", self.address, "--nthreads", "1", "--host", "127.0.0.1"]
            # Without an address of its own even a dashboard that is switched off listens on 0.0.0.0.
            scratch = ["--dashboard-address", "127.0.0.1:0", "--local-directory", folder / name, "--name", name]
            self.processes.append(self._start(stack, [*worker, *scratch, *files]))

    def _start(self, stack: ExitStack, command: list[object]) -> subprocess.Popen[bytes]:
        process = stack.enter_context(
            subprocess.Popen(
                [str(word) for word in command],
                env={
                    **ENVIRONMENT,
                    "DASK_LOGGING__DISTRIBUTED": "critical",
                    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        stack.callback(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("tls"), stack)


def test_a_scan_on_an_existing_tls_scheduler_loses_a_worker_and_ends_in_the_tables_of_a_plain_one(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "intake").mkdir()
    originals = [make_video.make_clip(tmp_path / f"{seed}.mp4", seed, 2.0, width=96, height=64) for seed in (31, 32)]
    for seed in range(30, 37):  # two are edits of what is known
        make_video.make_clip(tmp_path / "intake" / f"{seed}.mkv", seed, 2.0, width=96, height=64, crf=33)
    (tmp_path / "intake" / "broken.mp4").write_bytes(originals[0].read_bytes()[:2000])
    common = ["--store", tmp_path / "store", "--workers", "0"]
    run("known", "add", *originals, *common, "--list", "known")
    run("scan", tmp_path / "intake", *common, "--run", tmp_path / "plain", code=3)

    taken: list[str] = []
    honest = engine_module._DaskEngine._result_of

    def killing(self: Any, future: Any) -> Any:
        found = honest(self, future)
        if not taken:  # one video is signed, the other worker and this one have the next in hand
            Cluster.end(cluster.processes[1])
        taken.append(future.key)
        return found

    monkeypatch.setattr(engine_module._DaskEngine, "_result_of", killing)
    files = ["--tls-ca-file", cluster.tls.ca_file, "--tls-cert-file", cluster.tls.cert_file]
    files += ["--tls-key-file", cluster.tls.key_file]
    with open_engine(
        RunSettings(), workers=0, scheduler=cluster.address, tls=cluster.tls, local_directory=tmp_path
    ) as engine:
        deadline = time.monotonic() + 300
        while engine.n_workers < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert engine.n_workers == 2
    run(
        *("scan", tmp_path / "intake", "--store", tmp_path / "store", "--run", tmp_path / "cluster"),
        *("--scheduler", cluster.address, *files),
        code=3,
    )
    assert len(taken) > 7, "the videos were signed there"
    for name in TABLES:
        assert (tmp_path / "cluster" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name
    for process in cluster.processes[0], cluster.processes[2]:
        ports = listening(psutil.Process(process.pid))
        assert {address for address, _ in ports} == {"127.0.0.1"}


def test_an_existing_scheduler_refuses_clients_without_its_certificate(cluster: Cluster) -> None:
    for security in (Security.temporary(), None):
        address = cluster.address if security else cluster.address.replace("tls://", "tcp://")
        with pytest.raises((OSError, TimeoutError)):
            Client(address, security=security, timeout=2, set_as_default=False)


def test_a_scheduler_that_dies_ends_the_run_in_bounded_time(cluster: Cluster, tmp_path: Path) -> None:
    started = time.monotonic()
    found = []
    with (
        pytest.raises(EngineStalledError, match="resume"),
        open_engine(
            RunSettings(), workers=0, scheduler=cluster.address, tls=cluster.tls, local_directory=tmp_path
        ) as engine,
    ):
        for item, _ in engine.map_unordered(slow_square, range(1000)):
            found.append(item)
            if len(found) == 3:
                Cluster.end(cluster.processes[0])
                started = time.monotonic()
    assert time.monotonic() - started < 60
    assert len(found) < 1000


def test_a_scheduler_that_does_not_answer_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_CONNECT_SECONDS", 1.0)
    with (
        pytest.raises(EnvironmentUnfitError, match=r"scheduler tls://127.0.0.1:1: .*Check the address"),
        open_engine(RunSettings(), workers=0, scheduler="tls://127.0.0.1:1", tls=cluster.tls, local_directory=tmp_path),
    ):
        pass
