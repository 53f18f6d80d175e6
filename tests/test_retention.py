"""Letting runs go: nothing that names a video stays, and a purge that is broken off is completed."""

from __future__ import annotations

import base64
import json
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from toy_night import NIGHT_SETTINGS, break_at, content_id, disk_full, in_child, kill_myself, night

from videonovelty.errors import LockHeldError, RunError, SettingsError
from videonovelty.journal import read_journal
from videonovelty.retention import purge, purge_date, remove_signatures
from videonovelty.run import RunFolder, read_states

TOMORROW = datetime.now(UTC) + timedelta(days=1)
WHO = {"actor": "night shift", "reason": "the law"}
PATH = b"/intake/a name nobody may keep.mp4"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("retention") / "run"
    night(path)
    with RunFolder.open(path, store_id="store", settings=NIGHT_SETTINGS) as run:
        run.journal.append("sighted", key=content_id(0), path_raw=base64.b64encode(PATH).decode())
        (path / "report").mkdir()
        (path / "report" / "index.html").write_bytes(PATH)
        (path / "log.jsonl").write_text("{}\n")
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def everything(path: Path) -> bytes:
    return b"".join(p.read_bytes() + p.name.encode() for p in sorted(path.rglob("*")) if p.is_file())


def assert_purged(path: Path) -> None:
    left = everything(path)
    for secret in (PATH, base64.b64encode(PATH), *(content_id(i).encode() for i in range(3))):
        assert secret not in left
    entries = []
    read_journal(path / "journal.jsonl", observe=entries.append)
    assert [entry.state for entry in entries] == ["created", "purged"]
    assert (entries[1].fields["actor"], entries[1].fields["reason"]) == ("night shift", "the law")
    document = json.loads((path / "run.json").read_bytes())
    assert (document["status"], document["contents"]) == ("purged", 3)


def test_a_purged_run_names_nothing_and_keeps_the_line_that_it_was(run: Path) -> None:
    states = read_states(run)
    done = purge(run, before=TOMORROW, **WHO)
    assert done.done
    assert_purged(run)
    assert {p.name for p in run.iterdir()} <= {"journal.jsonl", "lock", "run.json", "metrics.prom"}
    assert states.run_facts == read_states(run).run_facts
    again = purge(run, before=TOMORROW, **WHO)
    assert not again.done
    assert_purged(run)


def test_a_run_written_to_since_is_left_alone(run: Path) -> None:
    before = everything(run)
    done = purge(run, before=datetime.now(UTC) - timedelta(days=1), **WHO)
    assert not done.done
    assert everything(run) == before


def test_a_purged_run_is_not_continued(run: Path) -> None:
    purge(run, before=TOMORROW, **WHO)
    with pytest.raises(RunError, match="purged"):
        RunFolder.open(run, store_id="store", settings=NIGHT_SETTINGS)


def test_what_is_not_ours_is_left_and_named(run: Path) -> None:
    (run / "decisions.json").write_text("an analyst's")
    assert purge(run, before=TOMORROW, **WHO).left == ("decisions.json",)
    assert (run / "decisions.json").is_file()


def test_a_run_in_work_is_not_purged(run: Path) -> None:
    with RunFolder.open(run, store_id="store", settings=NIGHT_SETTINGS), pytest.raises(LockHeldError):
        purge(run, before=TOMORROW, **WHO)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    with pytest.raises(RunError, match="not a run folder"):
        purge(tmp_path, before=TOMORROW, **WHO)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("act", [kill_myself, disk_full], ids=["kill", "full"])
def test_a_purge_broken_at_any_write_is_completed_by_the_next(finished: Path, tmp_path: Path, act: object) -> None:
    for n in range(1, 100):
        run = Path(shutil.copytree(finished, tmp_path / f"{n}"))

        def broken(n: int = n, run: Path = run) -> int:
            break_at(n, act)
            purge(run, before=TOMORROW, **WHO)
            return 0

        code = in_child(broken)
        assert code in (0, -signal.SIGKILL, 6)
        journal = (run / "journal.jsonl").read_bytes()
        begun = b'"state":"purging"' in journal or b'"state":"purged"' in journal
        # what was begun is completed, although the journal was written to just now
        purge(run, before=datetime.now(UTC) - timedelta(days=1) if begun else TOMORROW, **WHO)
        assert_purged(run)
        if code == 0:
            break
    assert n > 5


def test_signatures_go_and_tables_stay(run: Path) -> None:
    tables = {p.name: p.read_bytes() for p in run.glob("*.parquet")}
    assert remove_signatures(run)
    assert not (run / "parts").exists()
    assert {p.name: p.read_bytes() for p in run.glob("*.parquet")} == tables
    assert not remove_signatures(run)


def test_a_day_that_is_none_is_a_usage_error() -> None:
    assert purge_date("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    with pytest.raises(SettingsError, match="2026-01-31"):
        purge_date("yesterday")
