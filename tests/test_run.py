"""The run folder: nothing lost, nothing mixed, whatever breaks it off."""

from __future__ import annotations

import csv
import errno
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make_run import RunTables
from toy_night import NIGHT_SETTINGS, content_id, night, outcome, signed_video, tables

from videonovelty import run as run_module
from videonovelty.errors import EnvironmentUnfitError, LockHeldError, Reason, RunError
from videonovelty.journal import Journal
from videonovelty.metrics import write_metrics
from videonovelty.records import SignedVideo
from videonovelty.run import RunFolder, State, Step, VideoStates, part_is_sound, read_part, read_states, write_part
from videonovelty.sandbox import WIRE_VERSION, encode_signed, wire
from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS
from videonovelty.settings import Settings

TESTS = Path(__file__).parent


def opened(path: Path, **changes: Any) -> RunFolder:
    return RunFolder.open(path, store_id=changes.pop("store_id", "store"), settings=NIGHT_SETTINGS, **changes)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def same(a: SignedVideo, b: SignedVideo) -> bool:
    return encode_signed(a) == encode_signed(b)


# --- whole nights ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("night") / "run"
    assert night(path) == 3
    return path


def test_a_finished_night_run_again_signs_nothing_and_writes_the_same_bytes(undisturbed: Path) -> None:
    before = outcome(undisturbed)
    assert night(undisturbed) == 0
    assert outcome(undisturbed) == before


def test_everything_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        night(tmp_path / "run")
        write_metrics(tmp_path / "run", {"status": "finished"})
    finally:
        os.umask(before)
    for path in [tmp_path / "run", *(tmp_path / "run").rglob("*")]:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def broken_nights(folder: Path, kind: str, step: int) -> int:
    ran = subprocess.run(
        [sys.executable, TESTS / "toy_night.py", folder, kind, str(step)],
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return int(ran.stdout)


@pytest.mark.parametrize("kind", ["kill", "full"])
def test_a_night_broken_at_its_writes_ends_like_an_undisturbed_one(tmp_path: Path, kind: str) -> None:
    assert broken_nights(tmp_path, kind, step=11) > 40


@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("kind", ["kill", "full"])
def test_a_night_broken_at_each_of_its_writes_ends_like_an_undisturbed_one(tmp_path: Path, kind: str) -> None:
    assert broken_nights(tmp_path, kind, step=1) > 40


# --- opening ---------------------------------------------------------------------------------------------------------


def test_a_run_keeps_its_id_when_it_is_resumed(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        first = run.run_id
    with opened(tmp_path / "run") as run:
        assert run.run_id == first
    with opened(tmp_path / "other") as run:
        assert run.run_id != first


def test_two_runs_at_once_on_one_folder_are_refused_naming_the_holder(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from videonovelty.errors import LockHeldError
from videonovelty.run import RunFolder
from videonovelty.settings import Settings
try:
    RunFolder.open(Path(sys.argv[1]), store_id="store", settings=Settings())
except LockHeldError as error:
    print(error)
"""
    with opened(tmp_path / "run") as run:
        seq = run.journal.seq
        ran = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=True)
        assert f"process {os.getpid()} on " in ran.stdout
        assert "Wait for it or stop it" in ran.stdout
        with pytest.raises(LockHeldError):
            opened(run.path)
        assert run.journal.seq == seq
        run.journal.append("pending", key=content_id(0))


def test_a_lock_left_by_a_killed_run_holds_nobody_up(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from videonovelty.run import RunFolder
from videonovelty.settings import Settings
run = RunFolder.open(Path(sys.argv[1]), store_id="store", settings=Settings())
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert (tmp_path / "run" / "lock").exists()
    with opened(tmp_path / "run"):
        pass


def test_a_run_of_another_store_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "run").close()
    with pytest.raises(RunError, match=r"known store store, not to other.*--store"):
        opened(tmp_path / "run", store_id="other")


def test_a_run_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with Journal.open(tmp_path / "run" / "journal.jsonl") as journal:
        journal.append("created", key="run", format=99, run_id="x", store="store")
    with pytest.raises(RunError, match="format 99"):
        opened(tmp_path / "run")


def test_a_journal_that_is_not_a_run_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with Journal.open(tmp_path / "run" / "journal.jsonl") as journal:
        journal.append("signed", key="x")
    with pytest.raises(RunError, match="does not begin as a run's does"):
        opened(tmp_path / "run")


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")
    (tmp_path / "draft.tmp").write_text("more of it")
    with pytest.raises(RunError, match="not a run folder, and not empty"):
        opened(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["draft.tmp", "thesis.txt"]


def test_a_folder_whose_creation_was_cut_short_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").touch()
    (tmp_path / "run" / "journal.jsonl").write_bytes(b'{"seq":1,"ba')
    with opened(tmp_path / "run") as run:
        assert run.run_id


def test_a_file_in_the_folder_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(EnvironmentUnfitError, match="--run"):
        opened(tmp_path / "run")


def test_a_full_disk_is_found_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnfitError, match=r"MiB left.*run.min_free_bytes"):
        RunFolder.open(tmp_path / "run", store_id="store", settings=Settings(run={"min_free_bytes": 1 << 60}))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no place here is read-only for root too")
def test_a_place_nobody_may_write_to_is_found_before_anything_is_opened() -> None:
    with pytest.raises(EnvironmentUnfitError, match="Choose a --run folder you own"):
        opened(Path("/proc/run"))


def test_unfinished_files_are_swept_and_finished_ones_kept(tmp_path: Path) -> None:
    night(tmp_path / "run")
    before = outcome(tmp_path / "run")
    for name in (".verdicts.csv.x.tmp", "parts/.a.parquet.tmp"):
        (tmp_path / "run" / name).write_text("half")
    opened(tmp_path / "run").close()
    assert list((tmp_path / "run").rglob("*.tmp")) == []
    assert outcome(tmp_path / "run") == before


def test_links_planted_under_our_names_are_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    with opened(tmp_path / "run") as run:
        for name in ("run.json", "verdicts.csv", "verdicts.parquet", f"parts/{content_id(0)}.parquet"):
            (run.path / name).symlink_to(victim)
        digest = run.write_part(signed_video(0))
        run.journal.append(State.SIGNED, key=content_id(0), part_sha256=digest)
        run.write_tables(*tables(run, 1))
        run.write_run_json({})
    assert victim.read_text() == "untouched"
    assert not any(p.is_symlink() for p in run.path.rglob("*"))


def test_lines_taken_off_a_finished_journal_are_noticed(tmp_path: Path) -> None:
    night(tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-3]))
    with pytest.raises(RunError, match="were taken off it"):
        opened(tmp_path / "run")


# --- parts -----------------------------------------------------------------------------------------------------------


def test_a_part_comes_back_equal(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        video = signed_video(4)
        run.journal.append(State.SIGNED, key=content_id(4), part_sha256=run.write_part(video))
        assert same(run.read_part(content_id(4)), video)
        assert run.read_part(content_id(4)).cpu_seconds == 1.25


def test_two_workers_with_the_same_video_write_the_same_signatures(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    first = write_part(tmp_path, signed_video(4, cpu_seconds=1.0))
    second = write_part(tmp_path, signed_video(4, cpu_seconds=9.0))
    assert first == second
    assert read_part(tmp_path, content_id(4), sha256=first).cpu_seconds == 9.0


def test_an_altered_missing_or_exchanged_part_is_named(tmp_path: Path) -> None:
    night(tmp_path / "run")
    parts = tmp_path / "run" / "parts"
    good = (parts / f"{content_id(0)}.parquet").read_bytes()
    for i, bad in enumerate([good[:-100], good[:200] + bytes(8) + good[208:], b"", b"PAR1PAR1"]):
        (parts / f"{content_id(0)}.parquet").write_bytes(bad)
        with opened(tmp_path / "run") as run:
            with pytest.raises(RunError, match=content_id(0)):
                run.read_part(content_id(0))
            assert len(run.verify()) == 1, i
    (parts / f"{content_id(0)}.parquet").write_bytes((parts / f"{content_id(1)}.parquet").read_bytes())
    (parts / f"{content_id(2)}.parquet").unlink()
    (parts / "extra.parquet").write_bytes(b"whose?")
    with opened(tmp_path / "run") as run:
        with pytest.raises(RunError, match="altered or exchanged"):
            run.read_part(content_id(0))
        with pytest.raises(RunError, match="it is missing"):
            run.read_part(content_id(2))
        assert len(run.verify()) == 2
        with pytest.raises(RunError, match="names no signatures"):
            run.read_part(content_id(99))


def test_a_part_is_sound_as_the_journal_names_it_and_of_the_version_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    digest = write_part(tmp_path, signed_video(4))
    assert part_is_sound(tmp_path, content_id(4), sha256=digest)
    assert not part_is_sound(tmp_path, content_id(4), sha256="0" * 64)
    assert not part_is_sound(tmp_path, content_id(5), sha256=digest)
    monkeypatch.setattr(wire, "WIRE_VERSION", WIRE_VERSION - 1)
    older = write_part(tmp_path, signed_video(4))
    monkeypatch.undo()
    assert not part_is_sound(tmp_path, content_id(4), sha256=older)
    with pytest.raises(RunError, match="this program reads version"):
        read_part(tmp_path, content_id(4), sha256=older)


def test_a_part_s_name_cannot_lead_elsewhere(tmp_path: Path) -> None:
    for name in ("../../etc/passwd", "A" * 64, "", content_id(0) + "\n"):
        with pytest.raises(ValueError, match="64 lower-case hex digits"):
            read_part(tmp_path, name, sha256="")


def test_a_part_that_does_not_fit_on_the_disk_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    digest = write_part(tmp_path, signed_video(4))

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_module.os, "fsync", full)
    with pytest.raises(EnvironmentUnfitError, match="No space left"):
        write_part(tmp_path, signed_video(4, cpu_seconds=9.0))
    monkeypatch.undo()
    assert read_part(tmp_path, content_id(4), sha256=digest).cpu_seconds == 1.25
    assert [p.suffix for p in (tmp_path / "parts").iterdir()] == [".parquet"]


# --- tables ----------------------------------------------------------------------------------------------------------


def some_tables() -> tuple[pa.Table, pa.Table, pa.Table]:
    rows = RunTables()
    rows.add(
        "=cmd|' /C calc'!A0", "novel", "nothing_explained", [(0, 2, "novel")], paths=["/in/=cmd", b"/in/\xff\n.mp4"]
    )
    return (
        pa.Table.from_pylist(rows.verdicts, schema=VERDICTS),
        pa.Table.from_pylist(rows.segments, schema=SEGMENTS),
        pa.Table.from_pylist([], schema=GROUPS),
    )


def test_the_tables_say_the_same_in_each_format(tmp_path: Path) -> None:
    verdicts, segments, groups = some_tables()
    with opened(tmp_path / "run") as run:
        run.write_tables(verdicts, segments, groups)
    stored = pq.read_table(tmp_path / "run" / "verdicts.parquet")
    assert stored.to_pylist() == verdicts.to_pylist()
    assert stored.schema.equals(VERDICTS, check_metadata=True)
    assert json.loads((tmp_path / "run" / "verdicts.json").read_bytes()) == verdicts.to_pylist()
    with (tmp_path / "run" / "verdicts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["needs_review"] for row in rows] == ["true", "true"]
    assert [row["group_id"] for row in rows] == ["", ""]
    assert not any(value.startswith("=") for row in rows for value in row.values())


def test_the_same_rows_give_the_same_bytes_however_they_are_chunked(tmp_path: Path) -> None:
    verdicts, segments, groups = some_tables()
    pieces = pa.concat_tables([verdicts.slice(0, 1), verdicts.slice(1)])
    found = []
    for table in (verdicts, pieces):
        with opened(tmp_path / "run") as run:
            run.write_tables(table, segments, groups)
        found.append(outcome(tmp_path / "run"))
    assert found[0] == found[1]


def test_tables_of_another_shape_are_refused_and_nothing_written(tmp_path: Path) -> None:
    verdicts, segments, groups = some_tables()
    with opened(tmp_path / "run") as run:
        for bad in (
            verdicts.drop_columns(["reason"]),
            verdicts.rename_columns([n.upper() for n in verdicts.column_names]),
        ):
            with pytest.raises(ValueError, match="expected"):
                run.write_tables(bad, segments, groups)
    assert not (tmp_path / "run" / "verdicts.parquet").exists()


def test_a_reader_beside_the_writer_always_sees_whole_tables(tmp_path: Path) -> None:
    verdicts, segments, groups = some_tables()
    one = verdicts.slice(0, 1)
    seen: set[int] = set()
    with opened(tmp_path / "run") as run:
        run.write_tables(verdicts, segments, groups)
        done = threading.Event()

        def write() -> None:
            for i in range(12):
                run.write_tables(one if i % 2 else verdicts, segments, groups)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            # opened once: reading by path opens the file twice, and it may be replaced in between
            seen.add(pq.read_table(pa.BufferReader((run.path / "verdicts.parquet").read_bytes())).num_rows)
            json.loads((run.path / "verdicts.json").read_bytes())
        writer.join()
    assert seen <= {1, 2}


def test_altered_tables_are_named(tmp_path: Path) -> None:
    night(tmp_path / "run")
    (tmp_path / "run" / "segments.csv").write_text("nothing to see here")
    (tmp_path / "run" / "groups.parquet").unlink()
    with opened(tmp_path / "run") as run:
        problems = run.verify()
    assert len(problems) == 2
    assert any("segments.csv: altered" in p for p in problems)


def test_run_json_names_the_journal_s_end(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        run.write_run_json({"status": "running", "counts": {"novel": 1}})
        found = json.loads((run.path / "run.json").read_bytes())
        assert found["journal"] == {"entries": run.journal.seq, "head": run.journal.head}
        assert found["counts"] == {"novel": 1}
        assert found["run_id"] == run.run_id
        with pytest.raises(ValueError, match="JSON compliant"):
            run.write_run_json({"seconds": float("nan")})
        assert json.loads((run.path / "run.json").read_bytes()) == found


# --- states ----------------------------------------------------------------------------------------------------------


def step(states: VideoStates, video: str = "v", **changes: Any) -> Step:
    return states.next_step(video, **{"fingerprint": "f", "max_attempts": 3, **changes})


def replayed(tmp_path: Path, entries: list[tuple[str, dict[str, Any]]]) -> VideoStates:
    """States after the entries about `v`; ("boot", {…}) stands for a new session on a machine started anew."""
    (tmp_path / "journal").unlink(missing_ok=True)
    states = VideoStates()
    with Journal.open(tmp_path / "journal", observe=states.observe) as journal:
        journal.append("opened", key="run", fingerprint="f", boot="boot0")
        for state, fields in entries:
            if state == "opened":
                journal.append("opened", key="run", **{"fingerprint": "f", "boot": "boot0", **fields})
            else:
                journal.append(state, key="v", **fields)
    return states


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], Step.SIGN),
        ([("pending", {"reason": "unstable"})], Step.SIGN),
        ([("started", {})], Step.SIGN),
        ([("started", {}), ("signed", {"part_sha256": "a"})], Step.REUSE),
        ([("signed", {"part_sha256": "a"}), ("judged", {"verdict": "novel"})], Step.REUSE),
        ([("judged", {"verdict": "known"})], Step.SIGN),
        ([("signed", {"part_sha256": "a"}), ("opened", {"fingerprint": "g"})], Step.REUSE),
        ([("opened", {"fingerprint": "g"}), ("signed", {"part_sha256": "a"})], Step.SIGN),
        (
            [("opened", {"fingerprint": "g"}), ("signed", {"part_sha256": "a"}), ("opened", {}), ("judged", {})],
            Step.SIGN,
        ),
        ([("started", {}), ("failed", {"reason": "crashed"})], Step.KEEP),
        ([("failed", {"reason": "io_error"})], Step.SIGN),
        ([("refused", {"reason": "refused_codec"})], Step.KEEP),
        ([("opened", {"fingerprint": "g"}), ("refused", {"reason": "refused_codec"})], Step.SIGN),
        ([("quarantined", {"reason": "quarantined"})], Step.KEEP),
        ([("opened", {"fingerprint": "g"}), ("quarantined", {"reason": "quarantined"})], Step.KEEP),
        ([("a state of a later version", {})], Step.SIGN),
    ],
)
def test_the_next_step_follows_from_the_last_state(
    tmp_path: Path, entries: list[tuple[str, dict[str, Any]]], expected: Step
) -> None:
    assert step(replayed(tmp_path, entries)) is expected


def test_failures_are_retried_by_reason_when_asked(tmp_path: Path) -> None:
    states = replayed(tmp_path, [("failed", {"reason": "wall_limit"})])
    assert step(states) is Step.KEEP
    assert step(states, retry=frozenset({Reason.CRASHED})) is Step.KEEP
    assert step(states, retry=frozenset({Reason.WALL_LIMIT})) is Step.SIGN
    assert step(states, retry=None) is Step.SIGN


def crashes(n: int) -> list[tuple[str, dict[str, Any]]]:
    """The machine goes down `n` times while the video is in work."""
    return [e for i in range(n) for e in (("started", {}), ("opened", {"boot": f"boot{i + 1}"}))]


def test_a_video_that_took_the_machine_down_twice_is_not_opened_a_third_time(tmp_path: Path) -> None:
    assert step(replayed(tmp_path, crashes(1))) is Step.SIGN
    twice = replayed(tmp_path, crashes(2))
    assert step(twice) is Step.QUARANTINE
    assert step(twice, max_attempts=4) is Step.SIGN
    assert step(twice, max_attempts=1) is Step.QUARANTINE
    assert twice.suspects() == {"v"}


def test_a_report_in_between_clears_the_suspicion(tmp_path: Path) -> None:
    entries = [
        *crashes(1),
        ("started", {}),
        ("failed", {"reason": "crashed"}),
        ("started", {}),
        ("opened", {"boot": "x"}),
    ]
    assert step(replayed(tmp_path, entries)) is Step.SIGN


def test_a_killed_program_weighs_less_than_a_crashed_machine(tmp_path: Path) -> None:
    kills = [e for _ in range(29) for e in (("started", {}), ("opened", {}))]
    states = replayed(tmp_path, kills)
    known = states.get("v")
    assert known is not None
    assert known.attempts == 29
    assert step(states) is Step.SIGN
    assert step(replayed(tmp_path, [*kills, ("started", {})])) is Step.QUARANTINE


def test_the_states_of_a_run_can_be_read_beside_the_run(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        run.journal.append(State.FAILED, key=content_id(1), reason=Reason.CRASHED, detail="signal 11")
        run.journal.append(State.PENDING, key=content_id(2), reason=Reason.UNSTABLE)
        states = read_states(run.path)
        assert dict(states.items()) == dict(run.states.items())
        assert len(states) == 2
        failed = states.get(content_id(1))
        assert failed is not None
        assert (failed.state, failed.reason, failed.detail) == (State.FAILED, Reason.CRASHED, "signal 11")
    with pytest.raises(RunError, match="Is this a run folder"):
        read_states(tmp_path)


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_metrics_say_what_run_json_counts_and_name_no_paths(tmp_path: Path) -> None:
    document = {
        "status": "done",
        "finished_at": "2026-01-31T02:00:00Z",
        "settings": {"run": {"workers": 2}},
        "store": {"path": "/secret/case 12"},
        "elapsed_seconds": 12.5,
        "sandboxed": True,
        "format_version": 1,
        "counts": {
            "files": {"sightings": 6, "contents": 5},
            "states": {"judged": 5},
            "verdicts": {"novel": 3, "known": 2},
        },
        "seconds": {"saved": 99.5},
    }
    write_metrics(tmp_path, document)
    text = (tmp_path / "metrics.prom").read_text()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'videonovelty_files_by_state{state="judged"} 5.0',
        'videonovelty_files_by_verdict{verdict="novel"} 3.0',
        'videonovelty_files_by_verdict{verdict="known"} 2.0',
        "videonovelty_sightings 6.0",
        "videonovelty_contents 5.0",
        "videonovelty_saved_seconds 99.5",
        "videonovelty_finished_timestamp_seconds 1.7698248e+09",
        "videonovelty_elapsed_seconds 12.5",
        "videonovelty_sandboxed 1.0",
        "videonovelty_last_success_timestamp_seconds 1.7698248e+09",
    ]
    assert "secret" not in text
    write_metrics(tmp_path, {**document, "status": "interrupted"})
    assert "last_success" not in (tmp_path / "metrics.prom").read_text()
    assert mode(tmp_path / "metrics.prom") == 0o600
