"""Manifests: numbered, sealed, committed by compare-and-swap."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from videonovelty.errors import KnownStoreError
from videonovelty.known import manifest as manifests
from videonovelty.known.manifest import FileEntry, LostRaceError, Manifest

FILE = FileEntry("frames", "shards/a.parquet", 3, 100, "ab" * 32, 1, "s", 2, "00" * 32, "ff" * 32, "index/a.arrow", "")


def made(number: int, **changed: Any) -> Manifest:
    values: dict[str, Any] = {
        "number": number,
        "parent": number - 1 if number else None,
        "parent_sha256": "",
        "action": "add",
        "actor": "Ünal",
        "reason": "“quoted”, new\nline",
        "time": manifests.now(),
        "versions": manifests.tool_versions(),
        "changes": {"videos_added": 2},
        "n_videos": 2,
        "n_frames": 3,
        "files": (FILE,),
    }
    return Manifest(**{**values, **changed})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "manifests").mkdir()
    return tmp_path


def test_manifest_comes_back_equal(store: Path) -> None:
    manifests.commit(store, made(7))
    again, digest = manifests.read(store, 7)
    assert again == made(7, time=again.time)
    assert len(digest) == 64
    assert manifests.numbers(store) == [7]
    content = json.loads("\n".join((store / "manifests/000000000007.json").read_text().splitlines()[:-1]))
    assert content["actor"] == "Ünal"
    assert content["files"][0]["path"] == "shards/a.parquet"


def test_second_writer_of_a_number_loses_and_leaves_nothing(store: Path) -> None:
    manifests.commit(store, made(1, actor="first"))
    with pytest.raises(LostRaceError):
        manifests.commit(store, made(1, actor="second"))
    assert manifests.read(store, 1)[0].actor == "first"
    assert [p.name for p in (store / "manifests").iterdir()] == ["000000000001.json"]


def test_manifest_is_for_its_owner_only(store: Path) -> None:
    manifests.commit(store, made(1))
    assert stat.S_IMODE((store / "manifests/000000000001.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("place", [10, 200, -10])
def test_changed_byte_is_noticed(store: Path, place: int) -> None:
    manifests.commit(store, made(1))
    path = store / "manifests/000000000001.json"
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(KnownStoreError, match=r"damaged.*backup"):
        manifests.read(store, 1)


def test_cut_manifest_is_noticed(store: Path) -> None:
    manifests.commit(store, made(1))
    path = store / "manifests/000000000001.json"
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(KnownStoreError, match="damaged"):
        manifests.read(store, 1)


def test_newer_format_is_refused_with_the_next_step(store: Path) -> None:
    manifests.commit(store, made(1, format_version=99))
    with pytest.raises(KnownStoreError, match=r"format 99.*newer videonovelty"):
        manifests.read(store, 1)


def test_missing_number_names_the_command_that_lists_them(store: Path) -> None:
    with pytest.raises(KnownStoreError, match=r"no snapshot 5.*known log"):
        manifests.read(store, 5)


@pytest.mark.parametrize(
    ("code", "message"), [(errno.ENOSPC, "disk is full"), (errno.EPERM, "hard links"), (errno.EIO, "cannot be written")]
)
@pytest.mark.parametrize("call", ["fsync", "link"])
def test_failed_write_leaves_the_store_as_it_was(
    store: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str, call: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched, pytest.raises(KnownStoreError, match=message):
        patched.setattr(os, call, fail)
        manifests.commit(store, made(1))
    assert list((store / "manifests").iterdir()) == []


def test_new_file_never_follows_a_link_or_takes_an_existing_name(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"keep")
    (tmp_path / "link").symlink_to(target)
    for name in ("target", "link"):
        with pytest.raises(OSError), manifests.new_file(tmp_path / name) as file:
            file.write(b"lost")
    assert target.read_bytes() == b"keep"
