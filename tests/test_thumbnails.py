"""Pictures only on request: small, grey, in private files, decoded in the locked child, with the reason on record."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import cv2
import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from videonovelty.cli.app import app
from videonovelty.known.store import KnownStore
from videonovelty.sandbox import WireError
from videonovelty.small_pictures import LONG_SIDE, SmallPictures, decode_pictures

REASON = "the court asked for it, case 17"


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"VIDEONOVELTY_INTAKE__SETTLE_SECONDS": "0"})


def report(night: Path, *arguments: str) -> Any:
    return run("report", night, "--workers", "0", *arguments)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    intake = folder / "intake"
    intake.mkdir()
    make_video.make_clip(intake / "new.mp4", 91, 5.0)
    make_video.make_clip(intake / "changed.mp4", 92, 5.0)
    (intake / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 400)
    KnownStore.create(folder / "store")
    assert run("scan", intake, "--store", folder / "store", "--run", folder / "run", "--workers", "0").exit_code == 3
    (intake / "changed.mp4").write_bytes((intake / "new.mp4").read_bytes() + b"x")
    return folder / "run"


def pictures(night: Path) -> list[Path]:
    return sorted((night / "report").rglob("*.png"))


def image(path: Path) -> Any:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    "arguments",
    [("--thumbnails", "blurred"), ("--thumbnails", "clear", "--reason", "  x   "), ("--thumbnails", "big")],
)
def test_there_are_no_pictures_unless_they_are_asked_for_with_a_reason(night: Path, arguments: tuple[str]) -> None:
    assert report(night).exit_code == 0
    result = report(night, *arguments)
    assert result.exit_code != 0
    assert "--thumbnails" in str(result.exception)
    assert pictures(night) == []
    assert "img-src" not in (night / "report" / "index.html").read_text("utf-8")


@pytest.mark.parametrize("kind", ["blurred", "clear"])
def test_pictures_are_small_grey_private_and_on_record(night: Path, kind: str) -> None:
    assert report(night, "--thumbnails", kind, "--reason", REASON).exit_code == 0
    found = pictures(night)
    # none of the file that changed since the scan, nor of the broken one
    assert 1 < len(found) <= 8
    assert len({path.name[:64] for path in found}) == 1
    for path in found:
        assert image(path).ndim == 2
        assert max(image(path).shape) <= LONG_SIDE
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(found[0].parent.stat().st_mode) == 0o700
    entries = [json.loads(line) for line in (night / "journal.jsonl").read_text().splitlines()]
    asked = [text for text in map(json.dumps, entries) if REASON in text]
    assert kind in asked[-1]
    assert report(night).exit_code == 0
    assert pictures(night) == []


def test_blurred_pictures_hold_less_detail_than_clear_ones(night: Path) -> None:
    detail = {}
    for kind in ("blurred", "clear"):
        assert report(night, "--thumbnails", kind, "--reason", REASON).exit_code == 0
        detail[kind] = np.mean([np.abs(cv2.Laplacian(image(p), cv2.CV_64F)).mean() for p in pictures(night)])
    assert detail["blurred"] < 0.5 * detail["clear"]


def test_what_the_child_says_is_read_back_as_it_was() -> None:
    made = SmallPictures((0.0, 1.5), np.arange(2 * 54 * 96).astype(np.uint8).reshape(2, 54, 96))
    back = decode_pictures(made.encode(), video_id="")
    assert back.pts_seconds == made.pts_seconds
    assert np.array_equal(back.pictures, made.pictures)


@settings(deadline=None)
@given(st.data())
def test_what_no_child_would_say_is_refused(data: st.DataObject) -> None:
    sound = SmallPictures((0.0, 1.5), np.zeros((2, 54, 96), np.uint8)).encode()
    cut = data.draw(st.integers(0, len(sound) - 1))
    changed = bytearray(sound)
    changed[data.draw(st.integers(0, 9))] ^= data.draw(st.integers(1, 255))
    wrong = SmallPictures((1.5, 1.5), np.zeros((2, 54, 96), np.uint8)).encode()
    for payload in (sound[:cut], sound + b"x", bytes(changed), wrong):
        with pytest.raises(WireError):
            decode_pictures(payload, video_id="")
