"""What may happen to an intake between and during the runs of one night, through the command line."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import make_video
import pyarrow.parquet as pq
import pytest
from test_screening import run

from videonovelty import batch, intake
from videonovelty.sandbox import Sandbox


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    (folder / "known").mkdir()
    make_video.make_clip(folder / "known" / "one.mp4", 31, 4.0)
    run("known", "add", folder / "known", "--store", folder / "store", "--list", "l", "--workers", "0")
    return folder / "store"


@pytest.fixture
def night(tmp_path: Path) -> Path:
    (tmp_path / "intake").mkdir()
    make_video.make_clip(tmp_path / "intake" / "a.mp4", 81, 2.0)
    make_video.make_clip(tmp_path / "intake" / "b.mp4", 82, 2.0)
    return tmp_path


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were decoded."""
    names: list[str] = []
    real = Sandbox.sign

    def noting(self: Sandbox, fd: int, *, video_id: str, name: str) -> Any:
        names.append(Path(name).name)
        return real(self, fd, video_id=video_id, name=name)

    monkeypatch.setattr(Sandbox, "sign", noting)
    return names


def scan(night: Path, store: Path, *more: str, code: int = 0) -> dict[str, dict[str, Any]]:
    run("scan", night / "intake", "--store", store, "--run", night / "run", "--workers", "0", *more, code=code)
    rows = pq.read_table(night / "run" / "verdicts.parquet").to_pylist()
    assert len(rows) == len(list((night / "intake").iterdir()))
    return {row["path"].rsplit("/", 1)[1]: row for row in rows}


def test_a_growing_file_waits_for_the_next_run(
    night: Path, store: Path, signed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = intake.hash_content

    def growing(fd: int) -> Any:
        hashes = real(fd)
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.name == "b.mp4":
            with path.open("ab") as file:
                file.write(b"more")
        return hashes

    with monkeypatch.context() as patch:
        patch.setattr(intake, "hash_content", growing)
        rows = scan(night, store, code=3)
    assert (rows["b.mp4"]["verdict"], rows["b.mp4"]["reason"]) == ("not_comparable", "unstable")
    assert signed == ["a.mp4"]
    rows = scan(night, store)
    assert rows["b.mp4"]["verdict"] == "novel"
    assert signed == ["a.mp4", "b.mp4"]


def test_copies_cost_one_decode_and_new_bytes_under_an_old_name_another(
    night: Path, store: Path, signed: list[str]
) -> None:
    for name in ("copy 1.mp4", "copy 2.mp4"):
        (night / "intake" / name).write_bytes((night / "intake" / "a.mp4").read_bytes())
    rows = scan(night, store)
    assert len(signed) == 2
    assert rows["a.mp4"]["video_id"] == rows["copy 1.mp4"]["video_id"] == rows["copy 2.mp4"]["video_id"]
    old = rows["b.mp4"]["video_id"]
    make_video.make_clip(night / "new.mp4", 83, 2.0)
    (night / "new.mp4").replace(night / "intake" / "b.mp4")
    (night / "intake" / "copy 2.mp4").unlink()
    rows = scan(night, store)
    assert len(signed) == 3
    assert rows["b.mp4"]["video_id"] != old
    assert old in (night / "run" / "journal.jsonl").read_text()
    assert (night / "run" / "parts" / f"{old}.parquet").is_file()


def test_a_setting_that_shapes_signatures_signs_anew_and_others_do_not(
    night: Path, store: Path, signed: list[str], tmp_path: Path
) -> None:
    scan(night, store)
    (tmp_path / "strict.toml").write_text("[verdict]\nmax_unseen_seconds = 1.0\n")
    (tmp_path / "fine.toml").write_text("[keyframes]\ngrid_seconds = 0.25\n")
    scan(night, store, "--config", str(tmp_path / "strict.toml"))
    assert len(signed) == 2
    scan(night, store, "--config", str(tmp_path / "fine.toml"))
    assert len(signed) == 4


def test_a_file_that_cannot_be_read_is_tried_by_every_run_and_holds_nothing_up(
    night: Path, store: Path, signed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.readv

    def failing(fd: int, buffers: Any) -> int:
        if Path(f"/proc/self/fd/{fd}").readlink().name == "b.mp4":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffers)

    with monkeypatch.context() as patch:
        patch.setattr(os, "readv", failing)
        rows = scan(night, store, code=3)
    assert (rows["a.mp4"]["verdict"], rows["b.mp4"]["reason"]) == ("novel", "io_error")
    assert scan(night, store)["b.mp4"]["verdict"] == "novel"


def test_failures_stay_until_they_are_asked_for_by_reason(night: Path, store: Path, signed: list[str]) -> None:
    (night / "intake" / "text.mp4").write_text("no video")
    reason = scan(night, store, code=3)["text.mp4"]["reason"]
    assert signed.count("text.mp4") == 1
    scan(night, store, code=3)
    scan(night, store, "--retry", "wall_limit", code=3)
    assert signed.count("text.mp4") == 1
    scan(night, store, "--retry", reason, code=3)
    scan(night, store, "--retry-failed", code=3)
    assert signed.count("text.mp4") == 3


def test_the_largest_file_is_started_first(night: Path, store: Path, signed: list[str]) -> None:
    make_video.make_clip(night / "intake" / "z long.mp4", 84, 5.0)
    scan(night, store)
    sizes = [(night / "intake" / name).stat().st_size for name in signed]
    assert sizes == sorted(sizes, reverse=True)


def test_too_many_open_files_stop_the_run_or_fail_a_file_and_the_next_run_has_it(
    night: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def full(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if isinstance(path, bytes) and path.endswith(b"b.mp4"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, flags, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(intake.os, "open", full)
        assert scan(night, store, code=3)["b.mp4"]["reason"] == "io_error"
    assert scan(night, store)["b.mp4"]["verdict"] == "novel"


def test_a_log_of_the_run_is_kept_for_machines_and_names_no_file(night: Path, store: Path) -> None:

    scan(night, store)
    lines = [json.loads(line) for line in (night / "run" / "log.jsonl").read_text().splitlines()]
    assert {"opened", "progress", "closed"} <= {line["event"] for line in lines}
    signing = [line for line in lines if line.get("stage") == "signing"]
    assert (signing[-1]["done"], signing[-1]["total"]) == (2, 2)
    assert "a.mp4" not in (night / "run" / "log.jsonl").read_text()
    assert (night / "run" / "log.jsonl").stat().st_mode & 0o777 == 0o600
    assert batch.SIGHTED in (night / "run" / "journal.jsonl").read_text()
