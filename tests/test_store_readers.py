"""Readers of the known store beside those who change it: what a pinned snapshot names stays until it is let go."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from make_known import SCHEME, WHO, contents, entry, expected, in_child, signatures, video_id, wait
from typer.testing import CliRunner

from videonovelty.cli import app
from videonovelty.errors import KnownStoreError
from videonovelty.known import KnownEntry, KnownStore, Snapshot, holds

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


@pytest.fixture
def store(tmp_path: Path) -> KnownStore:
    return KnownStore.create(tmp_path / "store")


def test_left_overs_are_swept_but_not_while_somebody_writes(store: KnownStore) -> None:
    store.add([entry(1)], **WHO)
    left_over = store.path / "shards/.tmp-abc"
    left_over.write_bytes(b"x")
    swept: list[int] = []

    def entries() -> Iterator[KnownEntry]:
        yield entry(2)
        swept.append(KnownStore.open(store.path).sweep())
        assert left_over.exists()

    store.add(entries(), **WHO)
    assert swept == [0]
    assert store.verify() == []
    assert store.sweep() == 1
    assert not left_over.exists()
    assert contents(store.snapshot()) == expected({1: "A", 2: "A"})


def filled(store: KnownStore) -> KnownStore:
    """Return the store with two shards and one video removed: a compaction rewrites all of it."""
    store.add([entry(number) for number in range(6)], **WHO)
    store.add([entry(number) for number in range(6, 9)], **WHO)
    store.remove(video_ids=[video_id(3)], **WHO)
    return store


def holds_bytes_of(store: KnownStore, number: int) -> bool:
    needle = signatures(number).pdq[0, 0].tobytes()
    return any(needle in path.read_bytes() for path in store.path.rglob("*.parquet"))


def test_a_pinned_snapshot_outlives_compactions_until_it_is_let_go(store: KnownStore) -> None:
    filled(store)
    pinned = store.snapshot()
    whole = {number: "A" for number in range(9) if number != 3}
    for again in (20, 21):
        KnownStore.open(store.path).add([entry(again)], **WHO)
        KnownStore.open(store.path).compact(**WHO)
        assert contents(pinned) == expected(whole)
        codes = pinned.frames_of([video_id(1)], SCHEME)[video_id(1)].pdq
        assert np.array_equal(codes, signatures(1).pdq[:, 0])
        assert store.held() == (pinned.number,)
        assert holds_bytes_of(store, 3)
    assert contents(store.snapshot()) == expected(whole | {20: "A", 21: "A"})
    del pinned
    assert store.held() == ()
    assert store.sweep() > 0
    assert not holds_bytes_of(store, 3)
    assert store.verify() == []
    assert [line.available for line in store.log()].count(True) == 2  # the empty one and the newest


def test_tasks_read_what_their_sender_pins(store: KnownStore) -> None:
    filled(store)
    pinned = store.snapshot()
    sent = pickle.loads(pickle.dumps(pinned))
    store.compact(**WHO)
    assert contents(sent) == contents(pinned)


@pytest.mark.parametrize("end", ["done", "killed"])
def test_a_reader_in_another_process_holds_as_long_as_it_lives(store: KnownStore, end: str) -> None:
    filled(store)
    ready, go = os.pipe(), os.pipe()

    def read() -> None:
        pinned = store.snapshot()
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        assert contents(pinned) == expected({number: "A" for number in range(9) if number != 3})

    child = in_child(read)
    os.read(ready[0], 1)
    store.compact(**WHO)
    assert store.held() == (3,)
    if end == "killed":
        os.kill(child, signal.SIGKILL)
    else:
        os.write(go[1], b"x")
    assert wait(child) == (-signal.SIGKILL if end == "killed" else 0)
    for descriptor in (*ready, *go):
        os.close(descriptor)
    assert store.held() == ()
    store.sweep()
    assert not holds_bytes_of(store, 3)


def test_readers_that_open_while_the_store_is_compacted_again_and_again_read_it_whole(store: KnownStore) -> None:
    filled(store)
    want = contents(store.snapshot())

    def compact() -> None:
        for _ in range(8):
            KnownStore.open(store.path).compact(**WHO)

    child = in_child(compact)
    reads = 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        snapshot = store.snapshot()
        assert contents(snapshot) == want
        assert len(snapshot.frames_of([video_id(number) for number in range(9)], SCHEME)) == 8
        reads += 1
    assert reads > 3
    assert store.snapshot().number == 3 + 8
    store.sweep()
    assert [path.name for path in (store.path / holds.FOLDER).iterdir()] == [f"{11:012d}"]


def test_a_compaction_between_looking_and_holding_makes_the_reader_look_again(
    store: KnownStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    real = holds.hold

    def overtaken(path: Path, number: int) -> int | None:
        monkeypatch.undo()
        KnownStore.open(path).compact(**WHO)
        return real(path, number)

    monkeypatch.setattr(holds, "hold", overtaken)
    snapshot = store.snapshot()
    assert snapshot.number == 4
    assert len(snapshot.frames_of([video_id(number) for number in range(9)], SCHEME)) == 8


def test_a_store_that_cannot_be_written_is_read_all_the_same(
    store: KnownStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    real = os.open

    def read_only(path: object, flags: int, *more: object, **named: object) -> int:
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system", str(path))
        return real(path, flags, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", read_only)
    assert len(contents(store.snapshot())) == 8


def test_a_snapshot_that_never_was_leaves_no_lock_behind(store: KnownStore) -> None:
    filled(store)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(KnownStoreError, match="no snapshot 99"):
            store.snapshot(99)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    store.compact(**WHO)
    assert store.held() == ()


def test_compact_and_sweep_say_what_is_still_read(store: KnownStore) -> None:
    filled(store)
    pinned: Snapshot | None = store.snapshot()
    command = CliRunner()
    compacted = command.invoke(app, ["known", "compact", "--store", str(store.path)])
    assert compacted.exit_code == 0
    assert "snapshot(s) 3 are being read" in compacted.stderr
    swept = command.invoke(app, ["known", "sweep", "--store", str(store.path)])
    assert (swept.exit_code, swept.stdout) == (3, "0 file(s) deleted\n")
    assert f"known sweep --store {store.path}" in swept.stderr.replace("\n", " ")
    assert pinned is not None
    pinned = None
    swept = command.invoke(app, ["known", "sweep", "--store", str(store.path), "--json"])
    assert swept.exit_code == 0
    assert '"held": []' in swept.stdout
    assert not holds_bytes_of(store, 3)
