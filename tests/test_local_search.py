"""Candidates by local descriptors: what PDQ cannot see is found, named and placed, and proves nothing by itself."""

import json
from pathlib import Path

import cv2
import make_video
import numpy as np
import pyarrow.parquet as pq
import pytest
from test_screening import run

CROP = 0.35


def _cropped(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    y, x = int(height * CROP / 2), int(width * CROP / 2)
    return np.ascontiguousarray(cv2.resize(picture[y : height - y, x : width - x], (width, height)))


def _in_a_corner(picture: np.ndarray, around: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    out = around.copy()
    small = cv2.resize(picture, (int(width * 0.45), int(height * 0.45)), interpolation=cv2.INTER_AREA)
    out[8 : 8 + small.shape[0], 8 : 8 + small.shape[1]] = small
    return out


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    folder: Path = tmp_path_factory.mktemp("local")
    known, intake = folder / "known", folder / "intake"
    known.mkdir()
    intake.mkdir()
    size = {"width": 320, "height": 180}
    for seed in (61, 62, 63):
        make_video.make_clip(known / f"{seed}.mp4", seed, 8.0, **size)
    make_video.edited(intake / "crop.mp4", map(_cropped, make_video.frames(61, 8.0, **size)))
    pairs = zip(make_video.frames(62, 8.0, **size), make_video.frames(500, 8.0, **size), strict=True)
    make_video.edited(intake / "corner.mp4", (_in_a_corner(a, b) for a, b in pairs))
    make_video.make_clip(intake / "new.mp4", 501, 8.0, **size)
    run("known", "add", known, "--store", folder / "store", "--list", "k", "--workers", "0")
    run("scan", intake, "--store", folder / "store", "--run", folder / "run", "--workers", "0")
    lists = json.loads(run("known", "stats", "--store", folder / "store", "--json"))
    assert lists["videos"] == 3
    names = {video.video_id: video.memberships[0].source.rsplit("/", 1)[1] for video in _videos(folder / "store")}
    rows = pq.read_table(folder / "run" / "verdicts.parquet").to_pylist()
    segments = pq.read_table(folder / "run" / "segments.parquet").to_pylist()
    return {
        row["path"].rsplit("/", 1)[1]: row
        | {
            "source": names.get(row["best_known_id"]),
            "segments": [s for s in segments if s["video_id"] == row["video_id"]],
        }
        for row in rows
    }


def _videos(store: Path):  # type: ignore[no-untyped-def]
    from videonovelty.known import KnownStore

    return KnownStore.open(store).snapshot().videos()


def test_cropped_copy_names_its_source(found: dict[str, dict[str, object]]) -> None:
    assert found["crop.mp4"]["source"] == "61.mp4"
    assert found["crop.mp4"]["verdict"] in ("known", "partly_known", "same_scene")


def test_known_clip_playing_in_a_corner_is_never_cleared_and_shows_its_share(
    found: dict[str, dict[str, object]],
) -> None:
    row = found["corner.mp4"]
    assert row["verdict"] in ("partly_known", "same_scene", "novel")
    if row["source"] is not None:
        assert row["source"] == "62.mp4"
        shares = [s["spatial_share"] for s in row["segments"] if s["known_video_id"]]  # type: ignore[attr-defined]
        assert max(shares) < 0.4


def test_new_clip_is_linked_to_nothing(found: dict[str, dict[str, object]]) -> None:
    assert (found["new.mp4"]["verdict"], found["new.mp4"]["source"]) == ("novel", None)
