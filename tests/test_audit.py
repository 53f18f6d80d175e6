"""`make audit`: what is inside wheels is found, named and judged by its licence."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import audit
import pytest


@pytest.fixture(scope="module")
def av() -> audit.Wheel:
    return audit.wheel("av")


def test_libraries_inside_the_wheel_are_read_for_version_and_licence(av: audit.Wheel) -> None:
    by_project = {lib.project: lib for lib in av.libraries}
    import videonovelty.decode  # noqa: F401 (the one door to PyAV)

    assert by_project["ffmpeg"].licence.startswith("LGPL")
    assert all(lib.licence for lib in av.libraries)
    assert by_project["libvpx"].version.count(".") == 2
    assert by_project["x264"].licence == "GPL-2.0-or-later"
    assert any(text.startswith("FFmpeg version ") for lib in av.libraries for text in lib.said)


def test_gpl_libraries_inside_a_permissive_wheel_are_told(av: audit.Wheel) -> None:
    text = audit.report([av])
    assert "The wheel **av** declares BSD-3-Clause, but bundles x264" in text
    assert "x265" in text
    assert "owes its recipients the source" in text


def test_bill_of_materials_lists_each_library_with_its_digest(av: audit.Wheel) -> None:
    document = audit.sbom([av])
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    (component,) = document["components"]
    assert component["purl"] == f"pkg:pypi/av@{av.version}"
    inside = [c for c in component["components"] if "hashes" in c]
    assert len(inside) == len(av.libraries)
    refs = [c["bom-ref"] for c in component["components"]]
    assert len(set(refs)) == len(refs)
    assert json.loads(json.dumps(document)) == document


def test_what_the_project_needs_is_found_through_its_extras() -> None:
    names = audit.needed()
    assert {"videonovelty", "av", "numpy", "tornado", "llvmlite"} <= set(names)
    assert "pytest" not in names


def _fake(folder: Path, name: str, content: bytes) -> audit.Library:
    path = folder / name
    path.write_bytes(b"\x7fELF" + struct.pack("<Q", 0) + content)
    return audit.library(f"x.libs/{name}", path)


def test_unknown_libraries_missing_licences_and_old_decoders_are_problems(tmp_path: Path) -> None:
    stranger = _fake(tmp_path, "libstranger-0a1b2c3d.so.1", b"")
    old = _fake(tmp_path, "libavcodec-0a1b2c3d.so.61", b"\0FFmpeg version 7.1.0\0")
    assert (old.project, old.version) == ("ffmpeg", "7.1.0")
    found = list(audit.problems([audit.Wheel("av", "1", "", [], [stranger, old], [])]))
    assert [text.split(": ", 1)[1][:20] for text in found] == [
        "declares no licence",
        "x.libs/libstranger-0",
        "ffmpeg 7.1.0: decode",
    ]
    new = _fake(tmp_path, "libavcodec-0a1b2c3d.so.62", b"\0FFmpeg version 8.1.2\0")
    assert list(audit.problems([audit.Wheel("av", "1", "MIT", [], [new], [])])) == []


def test_linked_in_openssl_is_found(tmp_path: Path) -> None:
    path = tmp_path / "_rust.abi3.so"
    path.write_bytes(b"\0OpenSSL 3.5.4 30 Sep 2025\0 deflate 1.3.1 Copyright 1995-2024\0")
    found = [(lib.project, lib.version, lib.licence) for lib in audit.linked_in("x/_rust.abi3.so", path)]
    assert found == [("openssl", "3.5.4", "Apache-2.0"), ("zlib", "1.3.1", "Zlib")]
