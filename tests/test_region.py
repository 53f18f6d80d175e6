"""The part of a known picture a query shows: laid over the known cells exactly, and enough to prove a crop by."""

from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.alignment import KnownSide, Stretch, align
from videonovelty.matching.geometry import GeometricMatch
from videonovelty.matching.region import motion_in_region
from videonovelty.records import (
    DETAIL_COLUMNS,
    DETAIL_ROWS,
    KnownFrames,
    LocalFeatures,
    MotionProfile,
    SignedVideo,
    thinned,
)

WIDE = 16 / 9


def _known(ticks: int, seed: int) -> tuple[KnownFrames, KnownLocal, MotionProfile]:
    """Return a known video whose picture is 16:9 and whose cells change at random."""
    rng = np.random.default_rng(seed)
    code = np.zeros((1, 32), np.uint8)
    frames = KnownFrames("k", np.zeros(1), code, code, np.full(1, 90, np.uint8), np.ones(1, np.bool_))
    corners = np.array([[0, 0], [65535, 0], [0, round(65535 / WIDE)]], np.uint16)
    none = np.zeros(3, np.uint8)
    features = LocalFeatures(
        np.array([0, 3]), np.zeros((3, 8), np.uint8), np.zeros((0, 8), np.uint8), corners, none, none
    )
    signs = rng.integers(-1, 2, (ticks, 16)).astype(np.int8)
    fine = rng.integers(-1, 2, (-(-ticks // 2), 64)).astype(np.int8)
    return frames, KnownLocal("k", np.zeros(1), features), MotionProfile(0.2, signs, fine, 2)


def _shown(known: MotionProfile, left: float, top: float, side: float, *, mirrored: bool = False) -> MotionProfile:
    """Return the motion of a query that shows `side` of the known picture's width, from (left, top), shares of it."""
    y = top + side * (np.arange(DETAIL_ROWS) + 0.5) / DETAIL_ROWS
    x = left + side * (np.arange(DETAIL_COLUMNS) + 0.5) / DETAIL_COLUMNS
    rows, columns = np.floor(y * 4).astype(int), np.floor(x * 4).astype(int)
    cell = rows[:, None] * 4 + columns[None, :]
    if mirrored:
        cell = cell[:, ::-1]
    detail = (20 * known.signs[:, cell.ravel()]).astype(np.int8)
    nothing = np.zeros((len(known.signs), 64), np.int8)
    return MotionProfile(0.2, np.zeros_like(known.signs), nothing, detail=detail)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("left", "top", "side"), [(0.0, 0.0, 1.0), (0.25, 0.25, 0.5), (0.1, 0.1, 0.8)])
def test_changes_are_laid_over_the_known_cells(left: float, top: float, side: float, mirrored: bool) -> None:
    frames, local, known = _known(200, 3)
    query = _shown(known, left, top, side, mirrored=mirrored)
    # query x (0 … 1) shows known x = left + side x; mirrored positions are negated before the transform
    transform = np.array([[side, 0, left + side if mirrored else left], [0, side, top / WIDE]], np.float64)
    found = motion_in_region(
        query, WIDE, [GeometricMatch(30, side * side, transform)], frames, local, known, mirrored=mirrored
    )
    assert found is not None
    seen = (found.known.signs != 0).any(axis=0)
    # of 0.8 of the picture's sides the outer cells are seen to 60 %, the corners to 36 %
    assert found.cells == int(seen.sum())
    assert found.cells in {1.0: (16,), 0.5: (4,), 0.8: (8, 10, 12)}[side]
    moved = found.known.signs[:, seen] != 0
    agree = (found.query.signs[:, seen] * found.known.signs[:, seen]).sum() / moved.sum()
    assert agree > 0.6  # the mean of the cells in view is taken off, which turns some weak signs


def test_too_small_a_part_says_nothing() -> None:
    frames, local, known = _known(50, 4)
    query = _shown(known, 0.3, 0.3, 0.2)
    match = GeometricMatch(30, 0.04, np.array([[0.2, 0, 0.3], [0, 0.2, 0.3 / WIDE]], np.float64))
    assert motion_in_region(query, WIDE, [match], frames, local, known, mirrored=False) is None


def test_a_profile_without_detail_says_nothing() -> None:
    frames, local, known = _known(50, 5)
    match = GeometricMatch(30, 1.0, np.array([[1.0, 0, 0], [0, 1.0, 0]], np.float64))
    assert motion_in_region(known, WIDE, [match], frames, local, known, mirrored=False) is None


# ---- crops of real pictures ------------------------------------------------------------------------------------------


def _cropped(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    y, x = int(height * 0.12), int(width * 0.12)
    return np.ascontiguousarray(cv2.resize(picture[y : height - y, x : width - x], (width, height)))


def _against(query: SignedVideo, known: SignedVideo) -> list[Stretch]:
    one, two = query.signatures, known.signatures
    frames = KnownFrames(
        two.video_id, two.pts_seconds, two.pdq[:, 0], two.pdq_inner[:, 0], two.quality, two.informative
    )
    bearers = np.flatnonzero(np.diff(two.local.offsets) > 0)
    features = LocalFeatures(
        np.append(two.local.offsets[bearers], two.local.offsets[-1]), two.local.codes, two.local.mirrored_codes[:0],
        two.local.xy, two.local.scale, two.local.angle,
    )  # fmt: skip
    side = KnownSide(frames, thinned(two.motion), KnownLocal(two.video_id, two.pts_seconds[bearers], features))
    bearing = np.flatnonzero(np.diff(one.local.offsets) > 0)
    pairs = np.array([(q, two.pts_seconds[k]) for q in bearing for k in bearers], np.float64)
    return align(
        one, side, variants=(0,), common=np.zeros(len(one.pts_seconds), np.bool_), matching=SETTINGS.matching,
        proof=SETTINGS.proof, aspect=query.probe.width / query.probe.height, local_pairs=pairs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedVideo, SignedVideo, SignedVideo]:
    """Return a known take of a fixed camera, a cropped copy of it, and a cropped other take."""
    folder: Path = tmp_path_factory.mktemp("room")
    size = {"width": 320, "height": 180}
    known = make_video.edited(folder / "known.mp4", footage.fixed_camera(4, 0, 12.0, fps=12.5, **size))
    copy = make_video.edited(
        folder / "copy.mp4", map(_cropped, footage.fixed_camera(4, 0, 12.0, fps=12.5, **size)), crf=30
    )
    take = make_video.edited(
        folder / "take.mp4", map(_cropped, footage.fixed_camera(4, 1, 12.0, fps=12.5, **size)), crf=30
    )
    return sign(known), sign(copy), sign(take)


def test_cropped_copy_of_a_fixed_camera_is_proven(room: tuple[SignedVideo, SignedVideo, SignedVideo]) -> None:
    known, copy, _ = room
    proven = [stretch for stretch in _against(copy, known) if stretch.proof.proven]
    assert sum(stretch.end_seconds - stretch.start_seconds for stretch in proven) >= 8.0
    assert all(abs(stretch.line.offset_seconds) <= 0.2 for stretch in proven)


def test_cropped_other_take_is_the_same_scene_and_not_proven(
    room: tuple[SignedVideo, SignedVideo, SignedVideo],
) -> None:
    known, _, take = room
    stretches = _against(take, known)
    assert stretches, "the scene is recognised"
    assert not any(stretch.proof.proven for stretch in stretches)
