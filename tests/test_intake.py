"""Intake: what is enumerated, what is opened, what is hashed, and how paths are shown."""

import hashlib
import os
import socket
import stat
import threading
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videonovelty.errors import Reason, RefusedVideoError, SettingsError, UnreadableVideoError
from videonovelty.intake import (
    decode_raw,
    display_path,
    display_text,
    encode_raw,
    enumerate_intake,
    hash_content,
    opened,
    sight,
    unchanged,
)
from videonovelty.settings import IntakeSettings

AT_ONCE = IntakeSettings(settle_seconds=0)


def names(root, *more, settings=AT_ONCE):
    """Return (path below `root`, reason) of every entry."""
    found = enumerate_intake([root, *more], settings)
    return [(os.path.relpath(entry.path_raw, os.fsencode(root)), entry.reason) for entry in found]


# --- showing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/in/plain name.mp4", "/in/plain name.mp4"),
        ("/in/Zürich 東京.mp4".encode(), "/in/Zürich 東京.mp4"),
        (b"new\nline\ttab\x1b[31m\x7f", r"new\x0aline\x09tab\x1b[31m\x7f"),
        (b"bad\xff\xfeutf8", r"bad\xff\xfeutf8"),
        ("rtl\u202egpj.mp4".encode(), r"rtl\u202egpj.mp4"),
        ("\u2028\u200b\ufeff\u00a0\x85".encode(), r"\u2028\u200b\ufeff\u00a0\u0085"),
        (b"back\\slash", r"back\\slash"),
        ("\U000e0041".encode(), r"\U000e0041"),
    ],
)
def test_a_path_is_shown_on_one_line_without_hidden_characters(raw, shown):
    assert display_path(raw) == shown


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_shown_paths_are_printable_and_different_for_different_paths(one, other):
    shown = display_path(one)
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in shown)
    shown.encode("utf-8")
    assert (shown == display_path(other)) == (one == other)


@given(st.text(max_size=300), st.integers(1, 50))
def test_a_limit_cuts_shown_text(text, limit):
    assert len(display_text(text, limit)) <= limit


@given(st.text(st.characters(max_codepoint=0x80), max_size=40))
def test_plain_text_is_shown_like_any_other(text):
    assert display_text(text) + "é" == display_text(text + "é")


@given(st.binary(max_size=300))
def test_raw_paths_come_back_from_their_column(raw):
    assert decode_raw(encode_raw(raw)) == raw
    assert encode_raw(raw).isascii()


@pytest.mark.parametrize("text", ["é", "a", "a b=", "!!!!"])
def test_what_is_not_base64_is_refused(text):
    with pytest.raises(ValueError, match="base64"):
        decode_raw(text)


# --- enumerating ------------------------------------------------------------------------------------------------------


def test_every_entry_is_found_whatever_its_name_in_the_order_of_bytes(tmp_path):
    for name in ("b/2.mp4", "b/1.txt", "b-c", "b0", "a", ".hidden/x", "z/y/x/w", "-rf", "\udcff.mp4", "é"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = [entry.path_raw for entry in enumerate_intake([tmp_path], AT_ONCE)]
    assert found == sorted(found)
    assert [os.path.relpath(path, os.fsencode(tmp_path)) for path in found] == [
        b"-rf", b".hidden/x", b"a", b"b-c", b"b/1.txt", b"b/2.mp4", b"b0", b"z/y/x/w", "é".encode(), b"\xff.mp4",
    ]  # fmt: skip


def test_links_pipes_sockets_and_devices_become_entries_and_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"x")
    root = tmp_path / "in"
    root.mkdir()
    (root / "to-file").symlink_to(outside / "secret")
    (root / "to-folder").symlink_to(outside)
    (root / "to-nothing").symlink_to("nowhere")
    (root / "to-itself").symlink_to("to-itself")
    (root / "to-device").symlink_to("/dev/zero")
    (root / "to-parent").symlink_to("..")
    os.mkfifo(root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "socket"))
    listener.close()
    os.link(outside / "secret", root / "hard-link")
    refused = Reason.NOT_A_REGULAR_FILE
    links = ["to-device", "to-file", "to-folder", "to-itself", "to-nothing", "to-parent"]
    assert names(root) == [
        (b"hard-link", None),
        (b"pipe", refused),
        (b"socket", refused),
        *[(name.encode(), refused) for name in links],
    ]


def test_an_unreadable_folder_becomes_an_entry_and_the_walk_goes_on(tmp_path, monkeypatch):
    from videonovelty import intake

    for name in ("a/x", "locked/x", "z/x"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    listed = intake._list_folder

    def refuse(path):
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(intake, "_list_folder", refuse)  # root may read every folder
    assert names(tmp_path) == [(b"a/x", None), (b"locked", Reason.IO_ERROR), (b"z/x", None)]


def test_a_folder_swapped_for_a_link_while_walking_is_not_followed(tmp_path):
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/z").mkdir()
    (tmp_path / "in/a/x").write_bytes(b"x")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/s").write_bytes(b"x")
    entries = enumerate_intake([tmp_path / "in"], AT_ONCE)
    assert next(entries).path_raw.endswith(b"/a/x")
    (tmp_path / "in/z").rmdir()
    (tmp_path / "in/z").symlink_to(tmp_path / "secret")
    (swapped,) = entries
    assert swapped.path_raw.endswith(b"/in/z")
    assert swapped.reason == Reason.IO_ERROR


def test_a_root_may_be_a_file_and_overlapping_roots_yield_each_path_once(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/1", "a/b/2"):
        (tmp_path / name).write_bytes(b"x")
    everything = [(b"a/1", None), (b"a/b/2", None)]
    assert names(tmp_path, tmp_path / "a", tmp_path / "a/b/2", tmp_path) == everything
    one = [entry.path_raw for entry in enumerate_intake([tmp_path / "a/b/2"], AT_ONCE)]
    assert one == [os.fsencode(tmp_path / "a/b/2")]


def test_sub_folders_can_be_left_out(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1").write_bytes(b"x")
    (tmp_path / "2").write_bytes(b"x")
    flat = IntakeSettings(follow_folders=False)
    assert names(tmp_path, settings=flat) == [(b"2", None)]
    assert names(tmp_path, tmp_path / "a/1", settings=flat) == [(b"2", None), (b"a/1", None)]
    assert names(tmp_path, tmp_path / "a", tmp_path / "2", settings=flat) == [(b"2", None), (b"a/1", None)]


def test_a_root_spelt_relatively_or_through_a_link_gives_absolute_paths_without_links(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/1").write_bytes(b"x")
    (tmp_path / "alias").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    expected = [os.fsencode(tmp_path.resolve() / "real/1")]
    for root in ("real", "alias", "./real/../alias", "alias/1"):
        assert [entry.path_raw for entry in enumerate_intake([Path(root)], AT_ONCE)] == expected


def test_a_missing_root_is_named_before_anything_is_yielded(tmp_path):
    with pytest.raises(SettingsError, match=r"intake .*no\\x0ane: No such file"):
        enumerate_intake([tmp_path, tmp_path / "no\nne"], AT_ONCE)


def test_an_unreadable_root_is_named(tmp_path, monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SettingsError, match="Permission denied"):
        enumerate_intake([tmp_path], AT_ONCE)


# --- opening ----------------------------------------------------------------------------------------------------------


def test_only_regular_files_are_opened_and_nothing_blocks(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.close()
    for name in ("link", "pipe", "socket", "."):
        with pytest.raises(RefusedVideoError) as refused, opened(os.fsencode(tmp_path / name)):
            pass
        assert refused.value.reason == Reason.NOT_A_REGULAR_FILE
    with pytest.raises(RefusedVideoError), opened(b"/dev/zero"):
        pass
    for missing in (os.fsencode(tmp_path / "nothing"), b"zero\0byte", b"/" + b"x" * 300):
        with pytest.raises(UnreadableVideoError) as unreadable, opened(missing):
            pass
        assert unreadable.value.reason == Reason.IO_ERROR
    with opened(os.fsencode(tmp_path / "file")) as fd:
        assert os.read(fd, 10) == b"x"
        assert not os.get_inheritable(fd)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_one_read_gives_three_digests_and_leaves_the_file_at_its_start(tmp_path):
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "x").write_bytes(content)
    with opened(os.fsencode(tmp_path / "x")) as fd:
        os.lseek(fd, 5, os.SEEK_SET)
        hashes = hash_content(fd)
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    assert hashes.video_id == hashlib.sha256(content).hexdigest()
    assert hashes.md5 == hashlib.md5(content).hexdigest()
    assert hashes.sha1 == hashlib.sha1(content).hexdigest()
    assert hashes.size_bytes == len(content)


# --- sighting ---------------------------------------------------------------------------------------------------------


def test_a_resting_file_is_sighted_with_its_hashes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"content")
    sighting, hashes = sight(os.fsencode(path), AT_ONCE)
    assert hashes is not None
    assert sighting.reason is None
    assert sighting.video_id == hashes.video_id == hashlib.sha256(b"content").hexdigest()
    assert (sighting.size_bytes, sighting.modified_ns) == (7, path.stat().st_mtime_ns)
    with opened(os.fsencode(path)) as fd:
        assert unchanged(fd, sighting)
        path.write_bytes(b"CONTENT!")
        assert not unchanged(fd, sighting)


def test_no_file_makes_sight_raise(tmp_path):
    (tmp_path / "link").symlink_to("x")
    expected = {"link": Reason.NOT_A_REGULAR_FILE, "missing": Reason.IO_ERROR, ".": Reason.NOT_A_REGULAR_FILE}
    for name, reason in expected.items():
        sighting, hashes = sight(os.fsencode(tmp_path / name), AT_ONCE)
        assert (sighting.reason, sighting.video_id, hashes) == (reason, "", None)


def test_a_growing_file_is_unstable(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"start")
    done = threading.Event()

    def grow():
        while not done.wait(0.05):
            with path.open("ab") as file:
                file.write(b"more")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        sighting, hashes = sight(os.fsencode(path), IntakeSettings(settle_seconds=0.5))
    finally:
        done.set()
        writer.join()
    assert (sighting.reason, hashes) == (Reason.UNSTABLE, None)


def test_a_fresh_file_that_rests_is_taken_after_the_settling_time(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"content")
    started = time.monotonic()
    sighting, hashes = sight(os.fsencode(path), IntakeSettings(settle_seconds=0.4))
    assert hashes is not None
    assert sighting.reason is None
    assert 0.2 < time.monotonic() - started < 5
    started = time.monotonic()
    sight(os.fsencode(path), IntakeSettings(settle_seconds=0.4))
    assert time.monotonic() - started < 0.2, "a file that has rested is not watched again"


def test_a_modification_time_that_was_set_back_does_not_hide_a_fresh_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"content")
    os.utime(path, (0, 0))
    started = time.monotonic()
    sight(os.fsencode(path), IntakeSettings(settle_seconds=0.3))
    assert time.monotonic() - started > 0.15


def test_files_from_the_future_do_not_hold_the_intake_up(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"content")
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    started = time.monotonic()
    sighting, _ = sight(os.fsencode(path), IntakeSettings(settle_seconds=60))
    assert sighting.reason is None
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_bytes(b"y" * 3_000_000), Reason.CHANGED),
        (lambda path: os.truncate(path, 10), Reason.CHANGED),
        (lambda path: path.open("ab").write(b"z" * 10), Reason.UNSTABLE),
    ],
)
def test_a_file_written_to_while_it_is_hashed_is_not_taken(tmp_path, monkeypatch, change, reason):
    path = tmp_path / "x"
    path.write_bytes(b"x" * 3_000_000)
    os.utime(path, (1, 1))
    read = os.readv
    reads = []

    def read_and_change(fd, buffers):
        reads.append(fd)
        if len(reads) == 2:
            change(path)
        return read(fd, buffers)

    monkeypatch.setattr(os, "readv", read_and_change)
    sighting, hashes = sight(os.fsencode(path), AT_ONCE)
    assert (sighting.reason, hashes) == (reason, None)


def test_a_read_error_in_mid_file_is_recorded(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"x")

    def fail(fd, buffers):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "readv", fail)
    sighting, hashes = sight(os.fsencode(path), AT_ONCE)
    assert (sighting.reason, sighting.detail, hashes) == (Reason.IO_ERROR, "Input/output error", None)


def test_intake_files_are_left_as_they_were(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"content")
    path.chmod(0o440)
    before = path.stat()
    sight(os.fsencode(path), AT_ONCE)
    after = path.stat()
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(after.st_mode) == 0o440
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
