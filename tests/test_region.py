"""The part of a known picture a query shows: laid over the known cells exactly, and enough to prove a crop by."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.alignment import KnownSide, Stretch, align
from videonovelty.matching.geometry import GeometricMatch
from videonovelty.matching.proof import evidence_on_line
from videonovelty.matching.region import GRADE, Region, motion_in_region
from videonovelty.matching.shown import Shown, agreed_placement
from videonovelty.matching.timeline import Line, correlate_motion
from videonovelty.records import (
    PICTURE_COLUMNS,
    PICTURE_PARTS,
    PICTURE_ROWS,
    KnownFrames,
    LocalFeatures,
    MotionProfile,
    SignedVideo,
    thinned,
)

WIDE = 16 / 9


def _levels(ticks: int, seed: int) -> np.ndarray:
    """Return grey levels of the known picture's 8 × 8 cells, changing a little at random; shape (ticks, 64)."""
    rng = np.random.default_rng(seed)
    return 60.0 + 130.0 * rng.integers(0, 2, 64) + 8.0 * rng.integers(0, 2, (ticks, 64))


def _changes(levels: np.ndarray, zone: float) -> np.ndarray:
    changes = np.zeros(levels.shape, np.int8)
    over_lag = levels[2:] - levels[:-2]
    changes[2:] = np.where(np.abs(over_lag) > zone, np.sign(over_lag), 0)
    return changes


def _known(ticks: int, seed: int) -> tuple[KnownFrames, KnownLocal, MotionProfile]:
    """Return a known video whose picture is 16:9 and whose cells change at random."""
    code = np.zeros((1, 32), np.uint8)
    frames = KnownFrames("k", np.zeros(1), code, code, np.full(1, 90, np.uint8), np.ones(1, np.bool_))
    corners = np.array([[0, 0], [65535, 0], [0, round(65535 / WIDE)]], np.uint16)
    none = np.zeros(3, np.uint8)
    features = LocalFeatures(
        np.array([0, 3]), np.zeros((3, 8), np.uint8), np.zeros((0, 8), np.uint8), corners, none, none
    )
    levels = _levels(ticks, seed)
    coarse = levels.reshape(ticks, 4, 2, 4, 2).mean((2, 4)).reshape(ticks, 16)
    motion = MotionProfile(0.2, _changes(coarse, 1.0), _changes(levels, 1.0)[::2], 2)
    return frames, KnownLocal("k", np.zeros(1), features), motion


def _shown(ticks: int, seed: int, left: float, top: float, side: float, *, mirrored: bool = False) -> MotionProfile:
    """Return the motion of a query that shows `side` of the known picture's width, from (left, top), shares of it."""
    y = top + side * (np.arange(PICTURE_ROWS) + 0.5) / PICTURE_ROWS
    x = left + side * (np.arange(PICTURE_COLUMNS) + 0.5) / PICTURE_COLUMNS
    cells = np.floor(y * 8).astype(int)[:, None] * 8 + np.floor(x * 8).astype(int)[None, :]
    if mirrored:
        cells = cells[:, ::-1]
    pictures = _levels(ticks, seed)[:, cells.ravel()]
    light = np.rint(256 * np.stack([pictures.mean(axis=1), pictures.std(axis=1)], axis=1)).astype(np.uint16)
    still, nothing = np.zeros((ticks, 16), np.int8), np.zeros((ticks, 64), np.int8)
    return MotionProfile(0.2, still, nothing, pictures=(PICTURE_PARTS * pictures).astype(np.uint16), light=light)


def _likeness(found: Region) -> tuple[float, float]:
    """Return how well the changes of both sides agree, in the coarse grid and in the fine one, −1 … 1."""
    one, other = found.query.signs.astype(float), found.known.signs.astype(float)
    fine, there = found.query.fine[:: found.known.fine_every].astype(float), found.known.fine.astype(float)
    return tuple(  # type: ignore[return-value]
        float((a * b).sum() / max(1.0, np.sqrt((a**2).sum() * (b**2).sum()))) for a, b in ((one, other), (fine, there))
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("left", "top", "side"), [(0.0, 0.0, 1.0), (0.25, 0.25, 0.5), (0.1, 0.1, 0.8)])
def test_changes_are_laid_over_the_known_cells(left: float, top: float, side: float, mirrored: bool) -> None:
    frames, local, known = _known(200, 3)
    query = _shown(200, 3, left, top, side, mirrored=mirrored)
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
    coarse, fine = _likeness(found)
    assert coarse > 0.75
    assert fine > 0.75


@pytest.mark.parametrize("side", [0.5, 0.8, 1.0])
def test_what_moves_the_whole_picture_in_view_says_nothing(side: float) -> None:
    # the rest of the known picture turns dark: against its mean every cell in view becomes brighter
    frames, local, known = _known(200, 6)
    placed = [GeometricMatch(30, side * side, np.array([[side, 0, 0], [0, side, 0]], np.float64))]
    alone = motion_in_region(_shown(200, 6, 0.0, 0.0, side), WIDE, placed, frames, local, known, mirrored=False)
    lit = MotionProfile(0.2, known.signs.copy(), known.fine, 2)
    seen = np.flatnonzero((alone.known.signs != 0).any(axis=0))
    lit.signs[::5, seen] = 1
    after = motion_in_region(_shown(200, 6, 0.0, 0.0, side), WIDE, placed, frames, local, lit, mirrored=False)
    assert not after.known.signs[::5].any()
    others = np.arange(200) % 5 != 0
    assert np.array_equal(after.known.signs[others], alone.known.signs[others])


@pytest.mark.parametrize(("right", "down", "zoom"), [(0.03, 0.0, 1.0), (-0.02, 0.02, 1.0), (0.0, 0.0, 1.05)])
def test_a_placement_is_moved_to_where_the_movement_agrees(right: float, down: float, zoom: float) -> None:
    frames, local, known = _known(300, 7)
    query = _shown(300, 7, 0.1, 0.1, 0.8)
    off = np.array([[0.8 * zoom, 0, 0.1 + right], [0, 0.8 * zoom, 0.1 / WIDE + down]], np.float64)
    sides = (query, WIDE, [GeometricMatch(30, 0.64, off)], frames, local, known)
    as_placed = motion_in_region(*sides, mirrored=False)
    moved = motion_in_region(*sides, [Line(1.0, 0.1, 0, 0.0)], mirrored=False)
    assert _likeness(moved)[1] > _likeness(as_placed)[1] + 0.01
    assert _likeness(moved)[1] > 0.94
    elsewhere = motion_in_region(*sides, [Line(1.0, 500.0, 0, 0.0)], mirrored=False)
    assert _likeness(elsewhere) == _likeness(as_placed)


def test_corners_lie_where_the_median_inlier_has_them() -> None:
    one, another = (np.array([[0.8, 0, x], [0, 0.8, 0.1]], np.float64) for x in (0.10, 0.14))
    far = np.array([[0.3, 0, 0.6], [0, 0.3, 0.1]], np.float64)
    matches = [GeometricMatch(20, 0.6, one)] * 3 + [GeometricMatch(30, 0.6, another), GeometricMatch(80, 0.1, far)]
    assert np.allclose(agreed_placement(matches, WIDE, mirrored=False), one)


@pytest.mark.parametrize("mirrored", [False, True])
def test_every_seen_cell_is_made_up_of_the_query(mirrored: bool) -> None:
    placement = np.array([[0.5, 0.02, 0.7 if mirrored else 0.2], [-0.02, 0.5, 0.1]], np.float64)
    cells = Shown(placement, WIDE, (0.0, 0.0, 1.0, 1.0 / WIDE), mirrored).in_cells(8, PICTURE_ROWS, PICTURE_COLUMNS)
    assert 0 < cells.visible.sum() < 64
    assert np.allclose(cells.weight[cells.visible].sum(axis=1), 1.0)
    assert cells.filled > 0.9


def test_graded_changes_count_as_parts_of_one() -> None:
    chance = np.random.default_rng(1)
    signs = [chance.integers(-1, 2, (ticks, 16)).astype(np.int8) for ticks in (120, 40)]
    fine = [np.zeros((ticks, 64), np.int8) for ticks in (120, 40)]
    query, known = MotionProfile(0.1, signs[0], fine[0]), MotionProfile(0.2, signs[1], fine[1])
    graded = [MotionProfile(one.step_seconds, GRADE * one.signs, one.fine, grade=GRADE) for one in (query, known)]
    plain = correlate_motion(query, known, speed=1.0, least_ticks=4)
    parts = correlate_motion(*graded, speed=1.0, least_ticks=4)
    assert np.allclose(plain.agreement, parts.agreement, equal_nan=True)
    assert np.allclose(plain.events, parts.events)
    line = Line(1.0, 0.4, 0, 0.0)
    one, other = evidence_on_line(query, known, line), evidence_on_line(*graded, line)
    assert np.allclose(one.agree, other.agree) and np.allclose(one.known_changes, other.known_changes)


def test_too_small_a_part_says_nothing() -> None:
    frames, local, known = _known(50, 4)
    query = _shown(50, 4, 0.3, 0.3, 0.2)
    match = GeometricMatch(30, 0.04, np.array([[0.2, 0, 0.3], [0, 0.2, 0.3 / WIDE]], np.float64))
    assert motion_in_region(query, WIDE, [match], frames, local, known, mirrored=False) is None


def test_a_profile_without_pictures_says_nothing() -> None:
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


def test_compare_finds_a_crop_by_its_descriptors_and_proves_no_other_take(tmp_path: Path) -> None:
    size = {"width": 320, "height": 180}

    def take(number: int) -> Iterator[np.ndarray]:
        return footage.fixed_camera(9, number, 12.0, fps=12.5, **size)

    known = sign(make_video.edited(tmp_path / "known.mp4", take(0)))
    copy, other = (
        sign(make_video.edited(tmp_path / f"{number}.mp4", map(_cropped, take(number)), crf=30)) for number in (0, 1)
    )
    stretches, verdict = compared(copy, known, SETTINGS)
    assert sum(one.end_seconds - one.start_seconds for one in stretches if one.proof.proven) >= 8.0
    assert all(one.inliers is not None for one in stretches if one.proof.proven)
    assert verdict.verdict in ("known", "partly_known")
    stretches, verdict = compared(other, known, SETTINGS)
    assert stretches and verdict.verdict == "same_scene"
