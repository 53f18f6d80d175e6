"""A known store on another file system: the same answers, checked copies, no lost commit whatever fails in between."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import make_known as known
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from videonovelty.errors import KnownStoreError
from videonovelty.known import KnownEntry, KnownStore
from videonovelty.known import remote as remotes
from videonovelty.known.snapshot import Snapshot

WHO = {"actor": "tester", "reason": "test"}


class Faulty(MemoryFileSystem):
    """Objects in memory, and a say in what happens at each call."""

    protocol = "faulty"
    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    before: ClassVar[Callable[[str, str], None] | None] = None
    after: ClassVar[Callable[[str, str], None] | None] = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("faulty://", "memory://"))

    def _told(self, call: str, path: str, do: Callable[[], Any]) -> Any:
        if Faulty.before is not None:
            Faulty.before(call, path)
        result = do()
        if Faulty.after is not None:
            Faulty.after(call, path)
        return result

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> Any:
        return self._told("pipe", path, lambda: super(Faulty, self).pipe_file(path, value, mode=mode, **more))

    def put_file(self, lpath: str, rpath: str, **more: Any) -> Any:
        return self._told("put", rpath, lambda: super(Faulty, self).put_file(lpath, rpath, **more))

    def cat_file(self, path: str, **more: Any) -> Any:
        return self._told("cat", path, lambda: super(Faulty, self).cat_file(path, **more))

    def rm_file(self, path: str) -> Any:
        return self._told("rm", path, lambda: super(Faulty, self).rm_file(path))

    def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
        return self._told("ls", path, lambda: super(Faulty, self).ls(path, detail=detail, **more))


fsspec.register_implementation("faulty", Faulty, clobber=True)


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    Faulty.store.clear()
    Faulty.pseudo_dirs[:] = [""]
    Faulty.before = Faulty.after = None
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    monkeypatch.setattr(remotes, "CONDITIONAL", {*remotes.CONDITIONAL, "faulty"})
    remotes._remote.cache_clear()
    yield
    Faulty.before = Faulty.after = None


class Machine:
    """One machine: whoever works there has its folder of copies."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str = "faulty://bucket/known") -> None:
        self.folder, self.url, self._monkeypatch = folder, url, monkeypatch

    def _here(self) -> None:
        self._monkeypatch.setenv(remotes.CACHE_VARIABLE, str(self.folder))

    def create(self) -> KnownStore:
        self._here()
        return KnownStore.create(self.url)

    def open(self) -> KnownStore:
        self._here()
        return KnownStore.open(self.url)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Machine, Machine]:
    return Machine(tmp_path / "one", monkeypatch), Machine(tmp_path / "other", monkeypatch)


RECIPE = "packets-1"


def entries(*numbers: int) -> list[KnownEntry]:
    return [known.coded_entry(number, RECIPE) for number in numbers]


def ids(store: KnownStore) -> set[str]:
    return {video.video_id for video in store.snapshot().videos()}


def coded_ids(store: KnownStore) -> set[str]:
    """Return the videos whose coded packets are found by each of their first digests."""
    snapshot = store.snapshot()
    found = set()
    for one in entries(*range(9)):
        assert one.coded is not None
        units = snapshot.coded_units(known.unit_starts(one), RECIPE, at_most=4)
        if any(units):
            assert [[unit.video_id for unit in some] for some in units] == [[one.video.video_id]] * 3
            assert np.array_equal(np.concatenate([some[0].digests for some in units]), one.coded.digests)
            found.add(one.video.video_id)
    return found


def shards_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/shards/*.parquet"))


@pytest.mark.parametrize("url", ["memory://bucket/known", "faulty://bucket/known"])
def test_store_elsewhere_answers_as_one_here_does(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (Machine(tmp_path / name, monkeypatch, url) for name in ("one", "other"))
    here = KnownStore.create(tmp_path / "here")
    for store in (one.create(), here):
        store.add(entries(*range(6)), **WHO)
        store.add(entries(6, 7), **WHO)
        store.remove(video_ids=[known.video_id(2)], **WHO)
    elsewhere = other.open()
    assert ids(elsewhere) == ids(here) == {known.video_id(n) for n in range(8) if n != 2}
    assert elsewhere.verify() == []
    ours, theirs = here.snapshot(), elsewhere.snapshot()
    assert [shard.rows for shard in ours.frame_shards(known.SCHEME)] == [
        shard.rows for shard in theirs.frame_shards(known.SCHEME)
    ]
    for mine, its in zip(ours.frame_shards(known.SCHEME), theirs.frame_shards(known.SCHEME), strict=True):
        assert (ours.load_codes(mine).pdq == theirs.load_codes(its).pdq).all()
    wanted = [known.video_id(n) for n in range(8)]
    motion = theirs.motion_of(wanted, known.SCHEME)
    assert motion.keys() == ours.motion_of(wanted, known.SCHEME).keys()
    assert coded_ids(elsewhere) == coded_ids(here) == ids(here)
    assert theirs.coded(wanted, RECIPE) == ours.coded(wanted, RECIPE) == ids(here)
    del ours, theirs  # their files would stay
    elsewhere.compact(**WHO)
    back = one.open()
    assert back.verify() == []
    assert coded_ids(back) == ids(here)
    (kept,) = [name for name in _objects(url) if "/coded/" in name]
    removed = known.unit_starts(known.coded_entry(2, RECIPE))[0]
    assert removed not in _objects(url)[kept]
    assert ids(back) == ids(here)
    assert [line.available for line in back.log()] == [True, False, False, False, True], "the first has no files"
    stats = back.stats()
    assert stats["videos"] == 7
    assert stats["tombstones"] == 0
    first = back.snapshot().number
    back.remove(video_ids=[known.video_id(3)], **WHO)
    back.rollback(first, **WHO)
    assert known.video_id(3) in ids(other.open())


def _objects(url: str) -> dict[str, bytes]:
    """Return what the file system of `url` holds."""
    held: dict[str, Any] = (Faulty if url.startswith("faulty") else MemoryFileSystem).store
    return {name: file.getvalue() for name, file in held.items()}


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_coded_packets_prove_nothing(damage: str, machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.create().add(entries(1, 2, 3), **WHO)
    (name,) = [name for name in Faulty.store if "/coded/" in name]
    files = Faulty(skip_instance_cache=True)
    if damage == "missing":
        files.rm_file(name)
    else:
        data = bytearray(Faulty.store[name].getvalue())
        data[len(data) // 2] ^= 1
        files.pipe_file(name, bytes(data))
    store = other.open()
    with pytest.raises(KnownStoreError, match="has changed since it was written" if damage == "changed" else "missing"):
        coded_ids(store)
    assert list(other.folder.glob("*/coded/*.parquet")) == []
    assert any("coded/" in problem for problem in store.verify())


def test_shards_are_fetched_when_they_are_read_and_not_before(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.create().add(entries(1, 2, 3), **WHO)
    snapshot = other.open().snapshot()
    assert shards_in(other.folder) == []
    (shard,) = snapshot.frame_shards(known.SCHEME)
    assert snapshot.load_codes(shard).pdq.shape[1] == 32
    (copy,) = shards_in(other.folder)
    assert copy.stat().st_mode & 0o777 == 0o400


def test_changed_shard_is_never_used_nor_kept(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.create().add(entries(1, 2, 3), **WHO)
    (name,) = [name for name in Faulty.store if "/shards/" in name]
    data = bytearray(Faulty.store[name].getvalue())
    data[len(data) // 2] ^= 1
    Faulty(skip_instance_cache=True).pipe_file(name, bytes(data))
    store = other.open()
    snapshot = store.snapshot()
    with pytest.raises(KnownStoreError, match="has changed since it was written"):
        snapshot.load_codes(snapshot.frame_shards(known.SCHEME)[0])
    assert shards_in(other.folder) == []
    assert any("has changed" in problem for problem in store.verify())
    assert any("has changed" in problem for problem in one.open().verify()), "a good copy does not hide it"


def test_missing_shard_and_missing_store_say_what_to_do(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    with pytest.raises(KnownStoreError, match="known add"):
        other.open()
    one.create().add(entries(1), **WHO)
    (name,) = [name for name in Faulty.store if "/shards/" in name]
    Faulty(skip_instance_cache=True).rm_file(name)
    snapshot = other.open().snapshot()
    with pytest.raises(KnownStoreError, match="is missing"):
        snapshot.load_codes(snapshot.frame_shards(known.SCHEME)[0])


def test_copies_are_dropped_where_they_take_too_much(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    writer = one.create()
    for number in range(5):
        writer.add(entries(number), **WHO)
    monkeypatch.setattr(remotes, "_IN_USE_SECONDS", 0.0)
    monkeypatch.setenv(remotes.BYTES_VARIABLE, "5000")
    snapshot = other.open().snapshot()
    rows = [snapshot.load_codes(shard).pdq for _ in range(2) for shard in snapshot.frame_shards(known.SCHEME)]
    assert (np.concatenate(rows[:5]) == np.concatenate(rows[5:])).all()
    copies = [path for path in other.folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o777 == 0o400]
    assert sum(path.stat().st_size for path in copies) < 15_000
    assert len(shards_in(other.folder)) < 5


def test_writer_that_loses_the_race_commits_on_top(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    store = one.create()
    rival = other.open()

    def while_adding() -> Iterator[KnownEntry]:
        yield known.entry(1)
        rival.add(entries(2), **WHO)
        yield known.entry(3)

    store.add(while_adding(), **WHO)
    assert ids(rival) == {known.video_id(n) for n in (1, 2, 3)}
    assert [entry.number for entry in rival.log()] == [0, 1, 2]
    assert rival.verify() == []


def test_without_conditional_puts_there_is_one_writer(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remotes, "CONDITIONAL", set())
    one, other = machines
    store = one.create()
    store.add(entries(1), **WHO)
    rival = other.open()
    assert ids(rival) == {known.video_id(1)}, "reading is everybody's"
    there = dict(Faulty.store)
    with pytest.raises(KnownStoreError, match=r"only .* may change it"):
        rival.add(entries(2), **WHO)
    assert dict(Faulty.store) == there
    store.add(entries(3), **WHO)
    assert ids(other.open()) == {known.video_id(n) for n in (1, 3)}


def test_file_system_that_overwrites_although_asked_not_to_is_found_out(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Faulty, "pipe_file", lambda self, path, value, **_: MemoryFileSystem.pipe_file(self, path, value)
    )
    one, other = machines
    one.create().add(entries(1), **WHO)
    with pytest.raises(KnownStoreError, match=r"only .* may change it"):
        other.open().add(entries(2), **WHO)


@pytest.mark.parametrize("answer", [OSError("connection reset"), FileExistsError("412")])
def test_commit_whose_answer_was_lost_counts(answer: Exception, machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    store = one.create()
    store.add(entries(1, 2), **WHO)

    def lost(call: str, path: str) -> None:
        if call == "pipe" and path.endswith("2.json"):
            Faulty.after = None
            raise answer

    Faulty.after = lost
    store.remove(video_ids=[known.video_id(1)], **WHO)
    assert Faulty.after is None
    assert ids(other.open()) == {known.video_id(2)}
    assert other.open().verify() == []


OPERATIONS: dict[str, tuple[Callable[[KnownStore], object], set[int]]] = {
    "add": (lambda store: store.add(entries(7, 8), **WHO), {1, 2, 3, 7, 8}),
    "remove": (lambda store: store.remove(video_ids=[known.video_id(1)], **WHO), {2, 3}),
    "compact": (lambda store: store.compact(**WHO), {1, 2, 3}),
}


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_failure_at_any_twelfth_call_loses_and_doubles_nothing(
    name: str, conditional: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(range(1, 200, 12), name, conditional, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_failure_at_any_call_loses_and_doubles_nothing(
    name: str, conditional: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(range(200), name, conditional, tmp_path, monkeypatch)


def fail_at(moments: range, name: str, conditional: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not conditional:
        monkeypatch.setattr(remotes, "CONDITIONAL", set())
    operation, wanted = OPERATIONS[name]
    before = {known.video_id(n) for n in (1, 2, 3)}
    after = {known.video_id(n) for n in wanted}
    for moment in moments:
        url = f"faulty://bucket/{name}-{moment}"
        store = Machine(tmp_path / f"{moment}", monkeypatch, url).create()
        store.add(entries(1, 2), **WHO)
        store.add(entries(3), **WHO)
        calls = 0

        def fail(call: str, path: str, at: int = moment) -> None:
            nonlocal calls
            calls += 1
            if calls - 1 == at:
                raise OSError(f"{call} {path} failed on purpose")

        Faulty.before = fail
        try:
            operation(store)
        except KnownStoreError as error:
            assert "on purpose" in str(error)
        Faulty.before = None
        fresh = Machine(tmp_path / f"{moment}-fresh", monkeypatch, url).open()
        assert ids(fresh) in (before, after)
        assert coded_ids(fresh) == ids(fresh)
        assert fresh.verify() == []
        if ids(fresh) != after or name == "compact":
            operation(store)
        again = Machine(tmp_path / f"{moment}-fresh", monkeypatch, url).open()
        assert ids(again) == coded_ids(again) == after
        if calls <= moment:
            return
    pytest.fail("the operation never came to its end")


def test_commands_take_a_url(machines: tuple[Machine, Machine]) -> None:
    from typer.testing import CliRunner

    from videonovelty.cli.app import app

    machines[0].create().add(entries(1, 2), **WHO)
    machines[1]._here()
    stats = CliRunner().invoke(app, ["known", "stats", "--store", machines[1].url, "--json"])
    assert stats.exit_code == 0, stats.output
    assert '"videos": 2' in stats.stdout
    missing = CliRunner().invoke(app, ["known", "verify", "--store", "faulty://bucket/elsewhere"])
    assert isinstance(missing.exception, KnownStoreError)
    assert "faulty://bucket/elsewhere does not exist" in str(missing.exception)


def test_snapshot_travels_as_url_and_number(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.create().add(entries(1), **WHO)
    packed = pickle.dumps(one.open().snapshot())
    assert str(one.folder).encode() not in packed
    other._here()
    there: Snapshot = pickle.loads(packed)
    assert there.path.parent == other.folder
    assert there.load_codes(there.frame_shards(known.SCHEME)[0]).pdq.shape[1] == 32


def test_other_store_under_the_same_url_is_noticed(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    one.create()
    other.open()
    Faulty.store.clear()
    third = Machine(one.folder.parent / "third", one._monkeypatch)
    third.create().add(entries(1), actor="another", reason="another")
    name = "/bucket/known/manifests/000000000000.json"
    changed = Faulty.store[name].getvalue().replace(b'"actor": "videonovelty"', b'"actor": "Videonovelty"')
    Faulty(skip_instance_cache=True).pipe_file(name, changed)
    with pytest.raises(KnownStoreError, match="another store"):
        other.open()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (Path("s3://bucket/a/known"), "s3://bucket/a/known"),
        ("gs://bucket/known", "gs://bucket/known"),
        (Path("/srv/known"), None),
        (Path("relative/known"), None),
        ("file:///srv/known", None),
    ],
)
def test_urls_are_told_from_folders(given: Path | str, url: str | None) -> None:
    assert remotes.url_of(given) == url
    if str(given).startswith("file:"):
        assert remotes.mirror(given) == Path("/srv/known")
    elif url is None:
        assert remotes.mirror(given) == given


def test_file_system_nothing_is_installed_for_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KnownStoreError, match="Install what fsspec needs"):
        Machine(tmp_path, monkeypatch, "nowhere9://bucket/known").open()
