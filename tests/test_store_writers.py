"""Several writers of one known store, writers killed at any moment, a full disk: nothing lost, doubled or half done."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from make_known import SCHEME, WHO, contents, entry, expected, in_child, video_id, wait

from videonovelty.errors import KnownStoreError
from videonovelty.known import KnownEntry, KnownStore, Snapshot, holds
from videonovelty.known import store as store_module
from videonovelty.known.manifest import Manifest
from videonovelty.matching import hamming

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


@pytest.fixture
def store(tmp_path: Path) -> KnownStore:
    return KnownStore.create(tmp_path / "store")


# ---- several writers ----


def test_writer_that_loses_the_race_commits_on_top(store: KnownStore) -> None:
    store.add([entry(0)], **WHO)

    def entries() -> Iterator[KnownEntry]:
        yield entry(1)
        yield entry(2, ["A", "B"])
        KnownStore.open(store.path).add([entry(2), entry(3)], actor="other", reason="meanwhile")
        yield entry(3)
        yield entry(4)

    snapshot = store.add(entries(), **WHO)
    assert snapshot.number == 3
    assert contents(snapshot) == expected({0: "A", 1: "A", 2: "AB", 3: "A", 4: "A"})
    assert snapshot.manifest.changes["videos_added"] == 2
    assert snapshot.n_frames == 30
    assert store.verify() == []
    assert [line.actor for line in store.log()[2:]] == ["other", "analyst 7"]


def test_writer_that_finds_everything_said_already_commits_nothing(store: KnownStore) -> None:
    def entries() -> Iterator[KnownEntry]:
        yield entry(1)
        KnownStore.open(store.path).add([entry(1)], **WHO)

    assert store.add(entries(), **WHO).number == 1
    assert store.verify() == []


def test_video_removed_while_it_is_added_to_another_list_is_not_left_without_signatures(store: KnownStore) -> None:
    store.add([entry(1, ["A"])], **WHO)

    def entries() -> Iterator[KnownEntry]:
        yield entry(1, ["B"])
        KnownStore.open(store.path).remove(video_ids=[video_id(1)], **WHO)

    with pytest.raises(KnownStoreError, match="Run the command again"):
        store.add(entries(), **WHO)
    assert contents(store.snapshot()) == {}
    snapshot = store.add([entry(1, ["B"])], **WHO)
    assert snapshot.frames_of([video_id(1)], SCHEME)
    assert store.verify() == []


def test_add_and_remove_during_a_compaction_are_kept(store: KnownStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add((entry(i) for i in range(4)), **WHO)
    real = store_module.compacted_files

    def slow(snapshot: Snapshot) -> Iterator[object]:
        yield from real(snapshot)
        other = KnownStore.open(store.path)
        other.add([entry(9)], **WHO)
        other.remove(video_ids=[video_id(2)], **WHO)

    monkeypatch.setattr(store_module, "compacted_files", slow)
    snapshot = store.compact(**WHO)
    assert contents(snapshot) == expected({0: "A", 1: "A", 3: "A", 9: "A"})
    assert snapshot.frames_of([video_id(2)], SCHEME) == {}
    assert store.verify() == []


def test_an_add_overtaken_by_a_compaction_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the snapshot the add began with has lost its files by the time it is put on the next one
    store = prepared(tmp_path / "store")
    commit = store_module.manifests.commit

    def overtaken(path: Path, manifest: Manifest) -> None:
        monkeypatch.undo()
        KnownStore.open(path).compact(**WHO)
        commit(path, manifest)

    monkeypatch.setattr(store_module.manifests, "commit", overtaken)
    snapshot = store.add([entry(20, ["C"], n=2)], **WHO)
    assert [found.action for found in store.log()][-2:] == ["compact", "add"]
    assert contents(snapshot) == expected(BEFORE | {20: "C"})
    assert store.verify() == []


def test_two_processes_that_add_at_once_lose_nothing(store: KnownStore) -> None:
    def writer(first: int, name: str) -> None:
        for start in range(first, first + 20, 4):
            KnownStore.open(store.path).add([entry(i, [name], n=2) for i in range(start, start + 8)], **WHO)

    children = [in_child(lambda f=f, n=n: writer(f, n)) for f, n in ((0, "A"), (10, "B"), (0, "B"))]  # type: ignore[misc]
    assert [wait(pid) for pid in children] == [0, 0, 0]
    want = {i: ("A" if i < 24 else "") + "B" for i in range(34)}
    assert contents(store.snapshot()) == expected(want)
    assert store.verify() == []


# ---- stopped at any moment ----

OPERATIONS = ("add", "remove", "compact")


def operate(store: KnownStore, name: str) -> None:
    if name == "add":
        store.add([entry(i, ["A", "N"], n=2) for i in range(3, 7)], **WHO)
    elif name == "remove":
        store.remove(list_name="A", **WHO)
    else:
        store.compact(**WHO)


def prepared(path: Path) -> KnownStore:
    store = KnownStore.create(path)
    store.add([entry(i, n=2) for i in range(4)] + [entry(8, ["B"], n=2)], **WHO)
    store.add([entry(9, ["B"], n=2)], **WHO)
    store.remove(video_ids=[video_id(0)], **WHO)
    return store


BEFORE = {1: "A", 2: "A", 3: "A", 8: "B", 9: "B"}
AFTER = {
    "add": {1: "A", 2: "A", 3: "AN", 4: "AN", 5: "AN", 6: "AN", 8: "B", 9: "B"},
    "remove": {8: "B", 9: "B"},
    "compact": BEFORE,
}


def count_system_calls(act: Callable[[str], None]) -> None:
    """Have `act` called before every system call that writes, from now on in this process."""
    import sys

    def hook(event: str, args: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
        if writes or event in ("os.rename", "os.link", "os.remove", "os.mkdir"):
            act(event)

    sys.addaudithook(hook)
    real = os.fsync

    def fsync(descriptor: int) -> None:
        act("fsync")
        real(descriptor)

    os.fsync = fsync


def killed_at(store: KnownStore, name: str, moment: int) -> int:
    """Do an operation in a child that is killed before its `moment`-th system call; return its exit code."""

    def work() -> None:
        left = moment

        def act(_: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        count_system_calls(act)
        operate(store, name)

    return wait(in_child(work))


def check_after_kill(path: Path, name: str, by_another: dict[int, str] | None = None) -> None:
    """Check a store after an operation that was killed, while another writer may have added videos of its own."""
    before, after = expected(BEFORE | (by_another or {})), expected(AFTER[name] | (by_another or {}))
    store = KnownStore.open(path)
    assert store.verify() == []
    now = contents(store.snapshot())
    assert now in (before, after)
    if name == "remove" and now == after:
        assert store.snapshot().frames_of([video_id(i) for i in range(4)], SCHEME) == {}
    with contextlib.suppress(KnownStoreError):  # nothing left to remove when it was committed already
        operate(store, name)
    assert contents(store.snapshot()) == after
    assert store.verify() == []
    store.compact(**WHO)
    assert contents(store.snapshot()) == after
    assert store.verify() == []
    present = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file() and p.parent.name != "manifests"}
    named = {n for f in store.snapshot().manifest.files for n in (f.path, f.index_path) if n}
    read = {f"{holds.FOLDER}/{store.snapshot().number:012d}"}
    assert present == named | read | {"README", "staging.lock", "history.lock"}


def kill_at_every(tmp_path: Path, name: str, moments: range) -> int:
    hamming.warm_up()
    for moment in moments:
        path = tmp_path / f"{name}{moment}"
        code = killed_at(prepared(path), name, moment)
        assert code in (0, -signal.SIGKILL)
        check_after_kill(path, name)
        if code == 0:
            return moment
    return moments.stop


@pytest.mark.parametrize("name", OPERATIONS)
def test_kill_at_any_sixth_system_call_leaves_the_store_whole(tmp_path: Path, name: str) -> None:
    assert kill_at_every(tmp_path, name, range(1, 200, 6)) > 8


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_kill_at_every_system_call_leaves_the_store_whole(tmp_path: Path, name: str) -> None:
    assert kill_at_every(tmp_path, name, range(1, 400)) < 400


def kill_at_random(tmp_path: Path, times: int, seed: int) -> None:
    hamming.warm_up()
    chance = random.Random(seed)
    for attempt in range(times):
        name = OPERATIONS[attempt % 3]
        path = tmp_path / f"{attempt}"
        store = prepared(path)
        pid = in_child(lambda store=store, name=name: operate(store, name))  # type: ignore[misc]
        rival = in_child(lambda path=path: KnownStore.open(path).add([entry(20, ["C"], n=2)], **WHO))  # type: ignore[misc]
        time.sleep(chance.random() * 0.12)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        assert wait(pid) in (0, -signal.SIGKILL)
        assert wait(rival) == 0
        check_after_kill(path, name, {20: "C"})


def test_kill_at_random_moments_beside_another_writer_leaves_the_store_whole(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 9, 1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_200_kills_at_random_moments_beside_another_writer_leave_the_store_whole(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 201, 2)


# ---- full disk ----


@pytest.mark.parametrize("name", OPERATIONS)
def test_full_disk_at_any_write_changes_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = prepared(tmp_path / "store")
    files = {p for p in store.path.rglob("*") if p.is_file()}
    real = os.fsync
    for moment in range(1, 100):
        left = moment

        def full(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(28, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            try:
                operate(store, name)
            except KnownStoreError as error:
                assert "disk is full" in str(error)
            except OSError:
                pytest.fail("a full disk is reported as what it is")
        if left > 0:
            break
        if contents(store.snapshot()) == expected(BEFORE) and store.snapshot().number == 3:
            assert {p for p in store.path.rglob("*") if p.is_file()} - files <= {
                store.path / "staging.lock",
                store.path / "history.lock",
            }
        assert store.verify() == []
        if store.snapshot().number > 3:
            break
    with contextlib.suppress(KnownStoreError):
        operate(store, name)
    assert contents(store.snapshot()) == expected(AFTER[name])
    assert store.verify() == []


@pytest.mark.parametrize("limit", [0, 300, 1500, 3000, 6000])
def test_write_that_stops_half_way_changes_nothing(tmp_path: Path, limit: int) -> None:
    store = prepared(tmp_path / "store")

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        operate(store, "add")

    assert wait(in_child(work)) == 5
    assert contents(store.snapshot()) == expected(BEFORE)
    assert store.verify() == []
    operate(store, "add")
    assert contents(store.snapshot()) == expected(AFTER["add"])
