"""Lists in the store: what an import adds, changes and takes back, whatever order its rows come in."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.known import KnownStore
from videonovelty.known import spill as spill_module
from videonovelty.known.listed import (
    THREE_DIGITS,
    TIMED,
    UNTIMED,
    ListedItem,
    Withdrawal,
    content_id,
    frames_of_rows,
    time_uncertainty_seconds,
    unix_seconds,
)
from videonovelty.known.spill import Spill
from videonovelty.records import ContentHashes


def digest(kind: str, number: int) -> str:
    return hashlib.new(kind, f"content {number}".encode()).hexdigest()


def frames(number: int, count: int = 3):
    rows = [(i * 1.5, hashlib.sha256(f"{number}/{i}".encode()).hexdigest(), 90) for i in range(count)]
    return frames_of_rows(iter(rows), TIMED)


def imported(store, folder, entries, *, name="feed", **options):
    spill = Spill(folder, list_name=name, disposition="abuse", min_quality=50)
    for entry in entries:
        spill.put(entry)
        if spill.full:
            spill.end_run()
    spill.end_run()
    snapshot, changes = store.update_list(spill, actor="anna", reason="test", **options)
    spill.discard()
    return snapshot, changes


def said(snapshot):
    """Return (digest, list) → category of all that stands."""
    return {(v.md5 or v.sha1, m.list_name): m.category for v in snapshot.videos() for m in v.memberships}


def test_contents_without_sha256_are_found_by_the_digest_their_list_gives(tmp_path):
    store = KnownStore.create(tmp_path / "store")
    entries = [ListedItem(1, md5=digest("md5", 1)), ListedItem(2, sha1=digest("sha1", 2)),
               ListedItem(3, sha256=digest("sha256", 3))]  # fmt: skip
    snapshot, changes = imported(store, tmp_path / "work", entries)
    assert changes.videos_added == snapshot.n_videos == 3
    asked = [ContentHashes(digest("sha256", n), digest("md5", n), digest("sha1", n), 9) for n in (1, 2, 3, 4)]
    found = snapshot.lookup(asked)
    assert [video is not None for video in found] == [True, True, True, False]
    assert found[0].video_id == content_id(entries[0]) != asked[0].video_id
    assert found[2].video_id == asked[2].video_id
    assert found[0].memberships[0].disposition == "abuse"


def test_the_same_list_again_changes_nothing(tmp_path):
    store = KnownStore.create(tmp_path / "store")
    entries = [ListedItem(n, md5=digest("md5", n), entry=str(n), frames=frames(n)) for n in range(40)]
    first, _ = imported(store, tmp_path / "work", entries)
    again, changes = imported(store, tmp_path / "work", [replace(e, time="2025-01-01T00:00:00Z") for e in entries])
    assert again.number == first.number
    assert not changes


def test_a_changed_entry_replaces_what_its_list_said_and_no_other_list(tmp_path):
    store = KnownStore.create(tmp_path / "store")
    entry = ListedItem(1, md5=digest("md5", 1), entry="e1", category="A1")
    imported(store, tmp_path / "work", [entry])
    imported(store, tmp_path / "work", [entry], name="police")
    snapshot, changes = imported(store, tmp_path / "work", [replace(entry, category="B2", victim_identified="no")])
    assert changes.memberships_changed == 1
    assert said(snapshot) == {(entry.md5, "feed"): "B2", (entry.md5, "police"): "A1"}
    assert snapshot.n_videos == 1
    assert store.verify() == []


def test_a_withdrawal_takes_one_membership_and_the_video_when_it_was_the_last(tmp_path):
    store = KnownStore.create(tmp_path / "store")
    kept, gone = (ListedItem(n, md5=digest("md5", n), entry=f"e{n}", member="7", frames=frames(n)) for n in (1, 2))
    imported(store, tmp_path / "work", [kept, gone])
    imported(store, tmp_path / "work", [replace(kept, member="")], name="police")
    snapshot, changes = imported(
        store, tmp_path / "work", [Withdrawal(1, "e1", "7"), Withdrawal(2, "e2", "7"), Withdrawal(3, "e9", "7")]
    )
    assert said(snapshot) == {(kept.md5, "police"): ""}
    assert (changes.memberships_removed, changes.videos_removed, changes.frames_removed) == (2, 1, 3)
    assert snapshot.frames_of([content_id(kept), content_id(gone)], TIMED).keys() == {content_id(kept)}
    assert store.verify() == []


@pytest.mark.parametrize("reverse", [False, True])
def test_of_an_entry_and_its_withdrawal_the_later_counts_in_any_order(tmp_path, reverse):
    store = KnownStore.create(tmp_path / "store")
    entries = [
        ListedItem(1, md5=digest("md5", 1), entry="1", time="2026-03-01T00:00:00Z"),
        Withdrawal(2, "1", time="2026-02-01T00:00:00Z"),
        ListedItem(3, md5=digest("md5", 2), entry="2", time="2026-03-01T00:00:00Z"),
        Withdrawal(4, "2", time="2026-04-01T00:00:00Z"),
        ListedItem(5, md5=digest("md5", 3), entry="3", time="2026-03-01T00:00:00Z", category="old"),
        ListedItem(6, md5=digest("md5", 3), entry="3", time="2026-03-02T00:00:00Z", category="new"),
    ]
    snapshot, _ = imported(store, tmp_path / "work", entries[::-1] if reverse else entries)
    assert said(snapshot) == {(digest("md5", 1), "feed"): "", (digest("md5", 3), "feed"): "new"}


def test_a_video_one_member_takes_back_and_another_lists_stays(tmp_path):
    store = KnownStore.create(tmp_path / "store")
    imported(store, tmp_path / "work", [ListedItem(1, md5=digest("md5", 1), entry="1", member="a")])
    snapshot, changes = imported(
        store, tmp_path / "work", [Withdrawal(1, "1", "a"), ListedItem(2, md5=digest("md5", 1), entry="5", member="b")]
    )
    assert said(snapshot) == {(digest("md5", 1), "feed/b"): ""}
    assert (changes.videos_added, changes.videos_removed) == (0, 0)
    assert store.verify() == []


def test_a_dry_run_tells_and_changes_nothing(tmp_path):
    store = KnownStore.create(tmp_path / "store")
    snapshot, changes = imported(store, tmp_path / "work", [ListedItem(1, md5=digest("md5", 1))], dry_run=True)
    assert (snapshot.number, changes.videos_added) == (0, 1)
    assert [p for folder in ("videos", "index") for p in (store.path / folder).iterdir()] == []


def test_an_import_resumes_behind_its_last_complete_run(tmp_path, monkeypatch):
    monkeypatch.setattr(spill_module, "RUN_ROWS", 8)
    monkeypatch.setattr(spill_module, "_BATCH_ROWS", 4)
    entries = [ListedItem(n, md5=digest("md5", n), entry=str(n)) for n in range(30)]
    stopped = Spill(tmp_path / "work", list_name="feed", disposition="abuse", min_quality=50)
    for number, entry in enumerate(entries[:19]):
        stopped.put(entry)
        if stopped.full:
            stopped.progress.position = number + 1
            stopped.end_run()
    (tmp_path / "work" / "000002.videos").write_bytes(b"half a file")  # as a kill -9 leaves it
    resumed = Spill(tmp_path / "work", list_name="feed", disposition="abuse", min_quality=50)
    assert resumed.progress.position == 16
    for entry in entries[resumed.progress.position :]:
        resumed.put(entry)
    resumed.end_run()
    store = KnownStore.create(tmp_path / "store")
    snapshot, changes = store.update_list(resumed, actor="anna", reason="test")
    assert snapshot.n_videos == changes.videos_added == 30


def test_two_imports_at_once_both_arrive(tmp_path, monkeypatch):
    store = KnownStore.create(tmp_path / "store")
    spills = []
    for name, numbers in (("one", (1, 2)), ("two", (2, 3))):
        spill = Spill(tmp_path / name, list_name=name, disposition="other", min_quality=50)
        for number in numbers:
            spill.put(ListedItem(number, md5=digest("md5", number)))
        spill.end_run()
        spills.append(spill)
    from videonovelty.known import list_update

    staged = list_update.ListUpdate.stage

    def slower(self):
        staged(self)
        if self.spill is spills[0] and self.base.number == 0:
            store.update_list(spills[1], actor="bert", reason="in between")

    monkeypatch.setattr(list_update.ListUpdate, "stage", slower)
    snapshot, changes = store.update_list(spills[0], actor="anna", reason="test")
    assert (snapshot.number, snapshot.n_videos, changes.videos_added) == (2, 3, 1)
    assert store.verify() == []


NUMBER = st.integers(0, 5)
ENTRY = st.one_of(
    st.builds(
        lambda n, member, category: ListedItem(
            0, md5=digest("md5", n), entry=f"e{n}", member=member, category=category
        ),
        NUMBER,
        st.sampled_from(["a", "b"]),
        st.sampled_from(["x", "y"]),
    ),
    st.builds(lambda n, member: Withdrawal(0, f"e{n}", member), NUMBER, st.sampled_from(["a", "b"])),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(ENTRY, max_size=6), min_size=1, max_size=4))
def test_any_imports_leave_what_a_plain_dictionary_would_hold(tmp_path_factory, imports):
    folder = tmp_path_factory.mktemp("store")
    store = KnownStore.create(folder / "store")
    model: dict[tuple[str, str], str] = {}
    for entries in imports:
        withdrawn = {(e.entry, e.member) for e in entries if isinstance(e, Withdrawal)}
        model = {
            key: category
            for key, category in model.items()
            if (f"e{[digest('md5', n) for n in range(6)].index(key[0])}", key[1].removeprefix("feed/")) not in withdrawn
        }
        for entry in entries:
            if isinstance(entry, ListedItem) and (entry.entry, entry.member) not in withdrawn:
                model[entry.md5, f"feed/{entry.member}"] = entry.category
        snapshot, _ = imported(store, folder / "work", entries)
        assert said(snapshot) == model
        assert snapshot.n_videos == len({md5 for md5, _ in model})
    assert store.verify() == []


def test_times_of_lists_are_read_and_their_worth_is_known():
    assert unix_seconds("2026-01-02T03:04:05Z") == unix_seconds("2026-01-02T04:04:05.123+01:00") == 1767323045
    assert unix_seconds("yesterday") == unix_seconds("") == unix_seconds("2026-13-41T00:00:00Z") == 0
    assert time_uncertainty_seconds(THREE_DIGITS, np.array([123.0])).tolist() == [0.5]
    assert np.isinf(time_uncertainty_seconds(UNTIMED, np.array([0.0]))).all()
