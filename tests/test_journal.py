"""The journal: what was acknowledged is never lost, what was changed never goes unnoticed."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videonovelty import journal as journal_module
from videonovelty.errors import EnvironmentUnfitError, RunError
from videonovelty.journal import GENESIS, Journal, JournalEntry, read_journal


def written(path: Path, n: int = 6) -> Path:
    """A journal of `n` lines, each synced by itself."""
    with Journal.open(path) as journal:
        for i in range(n):
            journal.append("signed", key=f"video{i}", number=i)
    return path


def keys(path: Path) -> list[str]:
    with Journal.open(path) as journal:
        return [entry.key for entry in journal.entries()]


def test_entries_come_back_in_order_with_their_fields(tmp_path: Path) -> None:
    fields = {
        "text": 'quotes " and\nlines \udcff \u2028',
        "number": 1.5,
        "none": None,
        "list": [1, True],
        "table": {"a": 1},
    }
    with Journal.open(tmp_path / "j") as journal:
        journal.append("pending", key="a", **fields)
        journal.append_many([("signed", "b", {}), ("judged", "b", {"verdict": "novel"})])
        expected = [("pending", "a", fields), ("signed", "b", {}), ("judged", "b", {"verdict": "novel"})]
        assert [(e.state, e.key, e.fields) for e in journal.entries()] == expected
    with Journal.open(tmp_path / "j") as journal:
        assert [(e.state, e.key, e.fields) for e in journal.entries()] == expected
        assert [e.seq for e in journal.entries()] == [1, 2, 3]


def test_an_observer_sees_what_was_read_and_then_what_is_appended(tmp_path: Path) -> None:
    written(tmp_path / "j", 2)
    seen: list[JournalEntry] = []
    with Journal.open(tmp_path / "j", observe=seen.append) as journal:
        journal.append("judged", key="later")
        assert seen == list(journal.entries())
    assert [e.key for e in seen] == ["video0", "video1", "later"]


def test_fifteen_lines_of_python_can_verify_the_chain(tmp_path: Path) -> None:
    """The format is simple enough to be checked by others, without this package."""
    lines = written(tmp_path / "j").read_bytes().splitlines()
    previous = GENESIS
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        assert record["seq"] == number
        assert record["prev"] == previous
        body, crc = line.rsplit(b',"crc":"', 1)
        assert int(crc[:8], 16) == zlib.crc32(body)
        previous = hashlib.sha256(line).hexdigest()
    with Journal.open(tmp_path / "j") as journal:
        assert journal.head == previous


def test_the_file_is_private_and_never_a_link(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written(tmp_path / "j")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link"):
        Journal.open(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_plain_file_is_refused_without_hanging(tmp_path: Path, make: object) -> None:
    make(tmp_path / "j")  # type: ignore[operator]
    with pytest.raises((RunError, EnvironmentUnfitError)):
        Journal.open(tmp_path / "j")


def test_a_field_cannot_take_the_name_of_the_line_s_own(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j") as journal:
        with pytest.raises(ValueError, match="prev"):
            journal.append("signed", key="a", prev="0")
        with pytest.raises(ValueError, match="JSON compliant"):
            journal.append("signed", key="a", number=float("nan"))
        journal.append("signed", key="b")
    assert keys(tmp_path / "j") == ["b"]


# --- torn ends -------------------------------------------------------------------------------------------------------


def test_every_cut_of_the_last_line_is_ignored_logged_and_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = written(tmp_path / "whole", 3).read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for cut in range(start, len(whole)):
        path = tmp_path / "j"
        path.write_bytes(whole[:cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING), Journal.open(path) as journal:
            assert journal.seq == 2
            assert ("cut off" in caplog.text) == (cut > start)
            journal.append("signed", key="after")
        assert keys(path) == ["video0", "video1", "after"]


def test_reading_leaves_a_torn_end_in_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "j", 3)
    torn = path.read_bytes()[:-5]
    path.write_bytes(torn)
    seen: list[JournalEntry] = []
    assert read_journal(path, observe=seen.append).seq == 2
    assert [e.key for e in seen] == ["video0", "video1"]
    assert path.read_bytes() == torn


@given(lost=st.sets(st.integers(0, 8), min_size=1), length=st.integers(0, 9 * 512))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_power_cut_costs_only_the_batch_nobody_was_told_about(tmp_path: Path, lost: set[int], length: int) -> None:
    """Blocks of the unsynced batch reach the disk in any order, or as zeros, and the file ends anywhere in it."""
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    acknowledged = written(path, 3).read_bytes()
    with Journal.open(path) as journal:
        journal.append_many([("signed", f"batch{i}", {"text": "x" * 100}) for i in range(20)])
    whole = path.read_bytes()
    batch = bytearray(whole[len(acknowledged) :][:length])
    for block in lost:
        part = slice(block * 512, min((block + 1) * 512, len(batch)))
        batch[part] = bytes(len(batch[part]))
    path.write_bytes(acknowledged + batch)
    found = keys(path)
    assert found[:3] == ["video0", "video1", "video2"]
    assert found[3:] == [f"batch{i}" for i in range(len(found) - 3)]


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_in_an_acknowledged_line_is_found_and_named(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", 4).read_bytes()
    path = tmp_path / "j"
    ends = [i for i, byte in enumerate(whole) if byte == 0x0A]
    draw = random.Random(5)
    for position in sorted(draw.sample(range(ends[2]), 150)):
        bad = bytearray(whole)
        bad[position] ^= 1 << draw.randrange(8)
        path.write_bytes(bad)
        line = sum(end < position for end in ends) + 1
        with pytest.raises(RunError, match=rf"line {line} was changed.*videonovelty scan") as caught:
            Journal.open(path)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == bytes(bad), "a damaged journal is evidence and stays as it is"


def test_a_flipped_bit_in_the_last_line_is_found_too(tmp_path: Path) -> None:
    path = written(tmp_path / "j", 3)
    bad = bytearray(path.read_bytes())
    bad[-30] ^= 4
    path.write_bytes(bad)
    with pytest.raises(RunError, match="line 3 was changed"):
        Journal.open(path)


def test_zeros_over_an_acknowledged_line_are_damage_not_a_torn_end(tmp_path: Path) -> None:
    lines = written(tmp_path / "j", 4).read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(lines[0] + bytes(len(lines[1])) + lines[2] + lines[3])
    with pytest.raises(RunError, match="line 2 was changed"):
        Journal.open(tmp_path / "j")


@pytest.mark.parametrize(
    ("order", "bad_line"),
    [((0, 2, 3), 2), ((1, 2, 3), 1), ((0, 1, 1, 2, 3), 3), ((0, 2, 1, 3), 2)],
    ids=["removed", "first removed", "repeated", "exchanged"],
)
def test_removed_repeated_and_exchanged_lines_are_found(tmp_path: Path, order: tuple[int, ...], bad_line: int) -> None:
    lines = written(tmp_path / "j", 4).read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join(lines[i] for i in order))
    with pytest.raises(RunError, match=f"line {bad_line} is missing, repeated or out of order"):
        Journal.open(tmp_path / "j")


def test_a_line_forged_with_a_right_checksum_breaks_the_chain(tmp_path: Path) -> None:
    lines = written(tmp_path / "j", 4).read_bytes().splitlines(keepends=True)
    body = lines[1].rsplit(b',"crc"', 1)[0].replace(b'"number":1', b'"number":7')
    lines[1] = body + b',"crc":"%08x"}\n' % zlib.crc32(body)
    (tmp_path / "j").write_bytes(b"".join(lines))
    with pytest.raises(RunError, match="line 3"):
        Journal.open(tmp_path / "j")


def test_what_stands_before_the_damage_can_be_saved(tmp_path: Path) -> None:
    lines = written(tmp_path / "j", 4).read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(lines[0] + lines[1] + lines[3])
    saved: list[JournalEntry] = []
    with pytest.raises(RunError, match="line 3"):
        read_journal(tmp_path / "j", observe=saved.append)
    assert [e.key for e in saved] == ["video0", "video1"]


# --- disks that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_bytes", [0, 1, 40, 500])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_no_more_keeps_what_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_bytes: int, number: int
) -> None:
    path = tmp_path / "j"
    real = os.write
    with Journal.open(path) as journal:
        journal.append("signed", key="safe")
        room = [after_bytes]

        def write(fd: int, data: bytes) -> int:
            if room[0] == 0:
                raise OSError(number, os.strerror(number))
            taken = real(fd, bytes(data)[: room[0]])
            room[0] -= taken
            return taken

        monkeypatch.setattr(journal_module.os, "write", write)
        with pytest.raises(EnvironmentUnfitError, match=os.strerror(number)):
            journal.append_many([("signed", f"lost{i}", {}) for i in range(5)])
        monkeypatch.undo()
        assert not journal.usable
        with pytest.raises(EnvironmentUnfitError, match="resume"):
            journal.append("signed", key="too late")
    assert keys(path) == ["safe"]


def test_a_failed_sync_is_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    with Journal.open(tmp_path / "j") as journal:
        journal.append("signed", key="safe")
        monkeypatch.setattr(journal_module.os, "fdatasync", fail)
        for _ in range(3):
            with pytest.raises(EnvironmentUnfitError):
                journal.append("signed", key="lost")
    assert len(calls) == 1
    monkeypatch.undo()
    assert keys(tmp_path / "j") == ["safe"]


def test_a_real_size_limit_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """RLIMIT_FSIZE cuts a write short as a full disk does."""
    code = """
        import resource, sys
        from pathlib import Path
        from videonovelty.errors import EnvironmentUnfitError
        from videonovelty.journal import Journal
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        n = 0
        with Journal.open(Path(sys.argv[1])) as journal:
            try:
                while True:
                    journal.append("signed", key=f"video{n}")
                    n += 1
            except EnvironmentUnfitError:
                print(n)
    """
    path = tmp_path / "j"
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    n = int(ran.stdout)
    assert n > 10
    assert keys(path) == [f"video{i}" for i in range(n)]


# --- interruptions ---------------------------------------------------------------------------------------------------


def test_a_signal_in_the_middle_of_a_write_does_not_spoil_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(fd: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "j"
    with Journal.open(path) as journal:
        journal.append("signed", key="safe")
        monkeypatch.setattr(journal_module.os, "fdatasync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append("signed", key="perhaps")
        monkeypatch.undo()
        assert not journal.usable
        with pytest.raises(EnvironmentUnfitError):
            journal.append("closed", key="run")
    assert keys(path) in (["safe"], ["safe", "perhaps"])


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j") as journal:
        threads = [
            threading.Thread(target=lambda t=t: [journal.append("signed", key=f"{t}-{i}") for i in range(25)])
            for t in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = keys(tmp_path / "j")
    assert sorted(found) == sorted(f"{t}-{i}" for t in range(4) for i in range(25))


def test_the_order_does_not_depend_on_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "j", 2)

    class Yesterday(journal_module.datetime):
        @classmethod
        def now(cls, tz: object = None) -> journal_module.datetime:
            return journal_module.datetime(2001, 1, 1, tzinfo=journal_module.UTC)

    monkeypatch.setattr(journal_module, "datetime", Yesterday)
    with caplog.at_level(logging.WARNING), Journal.open(path) as journal:
        journal.append("signed", key="yesterday")
        journal.append("signed", key="yesterday too")
    assert caplog.text.count("the clock went back") == 1
    monkeypatch.undo()
    with Journal.open(path) as journal:
        journal.append("signed", key="today")
    assert keys(path) == ["video0", "video1", "yesterday", "yesterday too", "today"]


_WRITER = """
    import sys
    from pathlib import Path
    from videonovelty.journal import Journal
    with Journal.open(Path(sys.argv[1])) as journal:
        done = {e.key for e in journal.entries()}
        for i in range(int(sys.argv[2])):
            if f"v{i}" not in done:
                journal.append("signed", key=f"v{i}", text="x" * (i % 700))
                print(f"v{i}", flush=True)
"""


def kill_until_done(path: Path, entries: int, kills: int, seed: int) -> None:
    """Kill a writer at random moments until it is done; nothing acknowledged may be missing or be there twice."""
    draw = random.Random(seed)
    acknowledged: set[str] = set()
    killed = 0
    while True:
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_WRITER), str(path), str(entries)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()  # it has begun to write
            if killed < kills and first:
                time.sleep(draw.random() * 0.01)
                writer.kill()
                killed += 1
            told, _ = writer.communicate(timeout=60)
        acknowledged.update(name for name in (first + told).split("\n")[:-1] if name)
        seen: list[JournalEntry] = []
        read_journal(path, observe=seen.append)
        assert acknowledged <= {e.key for e in seen}
        if writer.returncode == 0:
            break
        assert writer.returncode == -signal.SIGKILL
    assert keys(path) == [f"v{i}" for i in range(entries)]


def test_kill_9_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_until_done(tmp_path / "j", entries=400, kills=6, seed=1)


@pytest.mark.slow
def test_kill_9_at_200_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_until_done(tmp_path / "j", entries=12_000, kills=200, seed=2)


@pytest.mark.slow
def test_a_million_entries_are_replayed_in_twenty_seconds(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal.open(path) as journal:
        for start in range(0, 1_000_000, 10_000):
            ids = (hashlib.sha256(b"%d" % (start + i)).hexdigest() for i in range(10_000))
            journal.append_many([("signed", i, {"part_sha256": i}) for i in ids])
    before = time.process_time()
    with Journal.open(path) as journal:
        assert journal.seq == 1_000_000
    seconds = time.process_time() - before
    print(f"replay of 1e6 entries: {seconds:.1f} s, {path.stat().st_size / 1e6:.0f} MB")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    assert seconds <= 20
