"""The doctor: what it looks at, and that it notices what is wrong."""

import importlib.metadata
import os
import resource
import shutil

import pytest

from videonovelty import doctor
from videonovelty.sandbox import SandboxReport
from videonovelty.settings import load_settings


@pytest.fixture(scope="module")
def checks():
    """Every check of this machine, by name."""
    return {check.name: check for check in doctor.run_checks(None, load_settings())}


def test_each_layer_and_limit_is_reported_and_holds(checks):
    layers = ("limits", "user", "no_new_privileges", "landlock", "seccomp", "self-test", "zygote", "trusted clip")
    limits = ("formats", "codecs", "max_pixels", "protocols")
    watched = ("silence", "elapsed time", "processor time", "memory", "length of the answer", "crash")
    for name in [
        *(f"sandbox: {layer}" for layer in layers),
        *(f"watched limit: {limit}" for limit in watched),
        *(f"decode limit: {limit}" for limit in limits),
    ]:
        assert checks[name].status == "ok", checks[name]


def test_every_check_has_a_known_status_and_a_next_step_where_one_is_due(checks):
    for check in checks.values():
        assert check.status in ("ok", "warn", "fail")
        assert check.detail
        assert bool(check.next_step) == (check.status != "ok"), check
    expected = {"libraries", "FFmpeg inside PyAV", "OpenCV", "limit: open files", "limit: processes", "core files",
                "umask", "temporary folder", "free space", "disk encryption", "swap", "compiled kernels"}  # fmt: skip
    assert expected <= set(checks)
    assert "known store" not in checks


def by_name(found):
    return {check.name: check for check in found}


def test_missing_layers_and_leaks_are_failures():
    missing = by_name(doctor._layers(SandboxReport({"landlock": "not in this kernel"}, {}, 1, 0.1)))
    assert missing["sandbox: landlock"].status == "fail"
    assert missing["sandbox: self-test"].status == "fail"
    assert missing["sandbox: seccomp"].status == "ok"
    leaking = by_name(doctor._layers(SandboxReport({}, {"open a file": "allowed"}, 1, 0.1)))
    assert leaking["sandbox: self-test"].status == "fail"
    assert "open a file" in leaking["sandbox: self-test"].detail
    assert doctor._threads(SandboxReport({}, {}, 5, 0.1)).status == "warn"


def test_a_limit_that_does_not_bite_is_a_failure(monkeypatch):
    ended = [("memory", "memory_limit", True), ("silence", None, False), ("crash", "stalled", False)]
    monkeypatch.setattr(doctor.self_test, "try_limits", lambda settings, fd: iter(ended))
    found = by_name(doctor._watched_limits(load_settings()))
    assert [check.status for check in found.values()] == ["ok", "fail", "fail"]
    assert "a signed video" in found["watched limit: silence"].detail


def test_a_limit_the_decoder_ignores_is_a_failure(monkeypatch):
    from videonovelty import decode

    honest = decode.open_video
    wide = load_settings().decode
    monkeypatch.setattr(decode, "open_video", lambda fd, _settings, *, name: honest(fd, wide, name=name))
    opening = decode._restrictions
    monkeypatch.setattr(decode, "_restrictions", lambda s: {**opening(s), "protocol_whitelist": "fd,file"})
    *others, protocols = doctor._decode_limits(wide)
    for check in others:
        assert check.status == "fail"
        assert "24 frames decoded" in check.detail
    assert (protocols.name, protocols.status) == ("decode limit: protocols", "fail")
    assert "by its name" in protocols.detail


@pytest.mark.parametrize(
    ("installed", "status"),
    [
        ({"opencv-python-headless"}, "ok"),
        ({"opencv-python"}, "warn"),
        ({"opencv-python", "opencv-python-headless"}, "fail"),
        (set(), "fail"),
    ],
)
def test_exactly_one_opencv_is_wanted(monkeypatch, installed, status):
    def version(name):
        if name in installed:
            return "5.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    (check,) = doctor._opencv()
    assert check.status == status


def test_an_old_ffmpeg_is_noticed(monkeypatch):
    import av

    monkeypatch.setattr(av, "library_versions", {"libavcodec": (61, 1, 1), "libavformat": (99, 0, 0)})
    check = by_name(doctor._libraries())["FFmpeg inside PyAV"]
    assert check.status == "warn"
    assert "libavcodec" in check.detail.partition("older")[2]
    assert "libavformat" not in check.detail.partition("older")[2]


def test_low_limits_are_noticed(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (10, 10))
    checks = by_name(doctor._limits())
    assert checks["limit: open files"].status == checks["limit: processes"].status == "warn"
    assert checks["core files"].status == "warn"


def test_an_open_umask_is_noticed():
    before = os.umask(0o022)
    try:
        assert by_name(doctor._private_files())["umask"].status == "warn"
        os.umask(0o077)
        assert by_name(doctor._private_files())["umask"].status == "ok"
        assert os.umask(0o077) == 0o077, "the doctor left it as it was"
    finally:
        os.umask(before)


def test_a_full_disk_is_a_failure(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert by_name(doctor._disk(tmp_path / "not/there", load_settings()))["free space"].status == "fail"


def test_swap_on_a_plain_disk_is_noticed_and_compressed_memory_is_not(tmp_path, monkeypatch):
    file = tmp_path / "swapfile"
    file.write_bytes(b"")
    monkeypatch.setattr(doctor, "_encrypted", lambda device: False)
    for swaps, status in (([str(file)], "warn"), (["/dev/zram0"], "ok"), ([], "ok"), (["/gone"], "warn")):
        monkeypatch.setattr(doctor, "_swaps", lambda swaps=swaps: swaps)
        assert by_name(doctor._disk(tmp_path, load_settings()))["swap"].status == status


def test_a_store_that_is_none_is_a_failure(tmp_path):
    (check,) = doctor._store(tmp_path / "nothing")
    assert (check.name, check.status) == ("known store", "fail")


def test_a_sound_store_is_told_with_its_snapshot(tmp_path):
    from videonovelty.known.store import KnownStore

    KnownStore.create(tmp_path / "store")
    (check,) = doctor._store(tmp_path / "store")
    assert check.status == "ok", check
    assert "snapshot" in check.detail


def test_a_check_that_falls_over_does_not_hide_the_others(monkeypatch):
    def fall():
        raise RuntimeError("no such file")
        yield

    monkeypatch.setattr(doctor, "_opencv", fall)
    monkeypatch.setattr(doctor, "_watched_limits", lambda settings: iter(()))  # seconds each
    checks = doctor.run_checks(None, load_settings(decode={"max_frames": 5}))
    assert any(check.status == "fail" and "RuntimeError" in check.detail for check in checks)
    assert "swap" in by_name(checks)
