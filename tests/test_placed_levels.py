"""How bright a crop's cells are beside the known ones: alike where it is one, and not where something was planted."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.matching.hole_kernels import BINS, deepest_holes
from videonovelty.matching.level_proof import level_runs
from videonovelty.matching.levels import LEAST_CELLS, Levels, shown_whole
from videonovelty.matching.proof import Proof
from videonovelty.matching.shown import Shown
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, MOVES_OTHERWISE, PICTURE_PARTS, MotionProfile, thinned
from videonovelty.signatures.motion import (
    SIDE_COLUMNS,
    SIDE_ROWS,
    MotionRecorder,
    picture_changes,
)

WIDE = 16 / 9
TALL = 1.0 / WIDE
SECONDS = 16.0
PLAIN = Line(1.0, 0.0, 0, 0.0)
WHOLE = Shown(np.array([[1.0, 0, 0], [0, 1.0, 0]]), WIDE, (0.0, 0.0, 1.0, TALL), mirrored=False)


def _pictures(seed: int, ticks: int, side: int = 14) -> F64:
    """Return smooth pictures (ticks, 144, 256) that change within seconds."""
    chance = np.random.default_rng(seed)
    field = chance.normal(128, 45, size=(ticks // 10 + 2, side // 3, side // 2))
    at = np.arange(ticks) / 10
    part = (at - at.astype(int))[:, None, None]
    low = (1 - part) * field[at.astype(int)] + part * field[at.astype(int) + 1]
    return np.stack([cv2.resize(one, (256, 144), interpolation=cv2.INTER_CUBIC) for one in low]).clip(0, 255)


def _profile(pictures: F64) -> MotionProfile:
    recorder = MotionRecorder(0.1)
    small = [
        cv2.resize(one.astype(np.float32), (SIDE_COLUMNS, SIDE_ROWS), interpolation=cv2.INTER_AREA) for one in pictures
    ]
    recorder._held = list(np.rint(small).astype(np.uint8))
    recorder._tick = len(small)
    recorder._last = object()  # type: ignore[assignment]
    return recorder.finish(len(small) * 0.1)


def _crop(pictures: F64, left: float, top: float, side: float) -> tuple[F64, Shown]:
    """Return `side` of both sides of pictures, and where that lies in them."""
    height, width = pictures.shape[1:]
    x, y = round(left * width), round(top * height)
    cut = pictures[:, y : y + round(side * height), x : x + round(side * width)]
    placement = np.array([[side, 0, x / width], [0, side, y / width]])
    return cut, replace(WHOLE, placement=placement)


def _stretch(end: float = SECONDS, line: Line = PLAIN) -> Stretch:
    return Stretch("k", line, 0.0, end, Proof(True, end, 0.9, 100.0, 0.1), 8, None)


def _placed(query: F64, known: F64, shown: Shown) -> Levels:
    found = Levels.placed(_profile(query), thinned(_profile(known)), _stretch(), shown)
    assert found is not None
    return found


# ---- where cells lie -------------------------------------------------------------------------------------------------


@given(st.floats(0.0, 0.3), st.floats(0.0, 0.3), st.floats(0.5, 0.7), st.booleans())
def test_boxes_of_cells_lie_where_the_query_shows_them(left: float, top: float, side: float, mirrored: bool) -> None:
    placement = np.array([[side, 0, left + side if mirrored else left], [0, side, top * TALL]])
    shown = replace(WHOLE, placement=placement, mirrored=mirrored)
    row, column = np.divmod(np.arange(64), 8)
    x = (np.stack([column, column + 1], axis=1) / 8 - left) / side
    y = (np.stack([row, row + 1], axis=1) / 8 - top) / side
    x = 1.0 - x[:, ::-1] if mirrored else x
    expected = np.clip(np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1), 0.0, 1.0)
    assert np.allclose(shown.boxes(8), expected, atol=1e-9)


def test_cells_at_an_edge_in_view_are_left_out() -> None:
    ring = np.ones((8, 8), np.bool_)
    ring[1:-1, 1:-1] = False
    # the known picture takes half of the sides: all around it there is something else
    small = replace(WHOLE, placement=np.array([[2.0, 0, -0.5], [0, 2.0, -0.5 * TALL]]))
    assert np.array_equal(small.at_edge(8), ring.ravel())
    assert not WHOLE.at_edge(8).any()
    crop = replace(WHOLE, placement=np.array([[0.8, 0, 0.1], [0, 0.8, 0.1 * TALL]]))
    assert not crop.at_edge(8).any()
    assert shown_whole(crop).whole.sum() == 36
    # at 30 % a cell is hardly one of the query's own
    tiny = replace(WHOLE, placement=np.array([[1 / 0.3, 0, -1.0], [0, 1 / 0.3, -TALL]]))
    assert not shown_whole(tiny).whole.any()


# ---- what is compared ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_differs_nowhere_and_is_proven(seed: int) -> None:
    left, top, contrast, brighter = np.random.default_rng(seed).uniform((0, 0, 0.5, -30), (0.2, 0.2, 1.3, 30))
    known = _pictures(seed, 160)
    cut, shown = _crop(known, left, top, 0.8)
    query = 128 + brighter + 0.6 * contrast * (cut - 128)
    found = _placed(query, known, shown)
    assert not found.differs.any()
    agreeing = found.agreeing(_stretch())
    assert agreeing.sum() >= LEAST_CELLS and not (agreeing & ~shown_whole(shown).whole).any()
    assert found.settled(_stretch()).sum() >= LEAST_CELLS
    runs = level_runs(_profile(query), thinned(_profile(known)), PLAIN, SETTINGS.proof, cells=shown_whole(shown))
    assert sum(run.last_seconds - run.first_seconds for run in runs) >= 0.5 * SECONDS


@pytest.mark.parametrize("seed", range(8))
def test_what_is_planted_over_a_crop_is_found_where_and_when(seed: int) -> None:
    start, seconds = np.random.default_rng(seed).uniform((3.0, 2.5), (8.0, 5.0))
    known = _pictures(seed, 160)
    query, shown = _crop(known, 0.1, 0.1, 0.8)
    query = query.copy()
    height, width = query.shape[1:]
    rows, columns = slice(height // 3, 2 * height // 3), slice(width // 3, 2 * width // 3)
    ticks = slice(round(10 * start), round(10 * (start + seconds)))
    other = _pictures(seed + 1, 160)[ticks, : rows.stop - rows.start, : columns.stop - columns.start]
    query[ticks, rows, columns] = np.where(query[ticks, rows, columns].mean() > 128, 0.4 * other, 255 - 0.4 * other)
    found = _placed(query, known, shown)
    assert not found.agree(_stretch())
    parts = found.parts(_stretch())
    unproven = [part for part in parts if not part.proof.proven and part.cover is not None]
    assert min(part.start_seconds for part in unproven) <= start + 0.5
    assert max(part.end_seconds for part in unproven) >= start + seconds - 0.5
    left, top, right, bottom = unproven[0].cover.box
    assert left <= 0.4 and top <= 0.4 and right >= 0.6 and bottom >= 0.6
    # what is under it is not settled, and what is beside it is
    settled = found.settled(_stretch()).reshape(8, 8)
    assert not settled[3:5, 3:5].any() and settled[1:-1, 1:-1].sum() >= 12


def test_another_take_of_the_same_place_is_not_proven() -> None:
    # everything but the middle stays as it is, and there something else moves
    still, moves = _pictures(1, 160)[:1].repeat(160, axis=0), _pictures(2, 320)
    takes = []
    for number in (0, 1):
        take = still.copy()
        take[:, 48:96, 85:170] = moves[160 * number : 160 * (number + 1), 48:96, 85:170]
        takes.append(take)
    cut, shown = _crop(takes[1], 0.1, 0.1, 0.8)
    query, known, cells = _profile(cut), thinned(_profile(takes[0])), shown_whole(shown)
    for offset in np.arange(-8.0, 8.0, 0.4):
        assert not level_runs(query, known, replace(PLAIN, offset_seconds=float(offset)), SETTINGS.proof, cells=cells)


def test_nothing_is_said_without_pictures_or_of_too_few_cells() -> None:
    known = _pictures(5, 100)
    query, shown = _crop(known, 0.1, 0.1, 0.8)
    profile, there = _profile(query), thinned(_profile(known))
    assert Levels.placed(replace(profile, pictures=None), there, _stretch(8.0), shown) is None
    assert Levels.placed(profile, replace(there, levels=None), _stretch(8.0), shown) is None
    far, near = _crop(known, 0.3, 0.3, 0.35)
    assert shown_whole(near).whole.sum() < LEAST_CELLS
    assert Levels.placed(_profile(far), there, _stretch(8.0), near) is None
    grey = np.full_like(known, 90.0)
    assert Levels.placed(_profile(grey), thinned(_profile(grey)), _stretch(8.0), shown) is None


def test_at_another_speed_nothing_is_settled() -> None:
    known = _pictures(6, 160)
    query, shown = _crop(known, 0.1, 0.1, 0.8)
    fast = Line(1.0000001, 0.0, 0, 0.0)
    found = Levels.placed(_profile(query), thinned(_profile(known)), _stretch(line=fast), shown)
    assert found is not None and found.agreeing(_stretch()).any()
    assert not found.settled(_stretch()).any()


# ---- where a stretch begins and ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at_start", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_a_stretch_ends_before_the_first_tick_of_something_else(seed: int, at_start: bool) -> None:
    cut, over = np.random.default_rng(seed).uniform((4.0, 0.2), (12.0, 1.2))
    known = _pictures(seed, 160)
    query = known.copy()
    other = _pictures(seed + 1, 160)
    query[round(10 * cut) :] = other[round(10 * cut) :]
    start, end = 0.0, cut + over
    if at_start:
        query, known = query[::-1], known[::-1]
        start, end = SECONDS - end, SECONDS
        cut = SECONDS - cut
    found = Levels.of(_profile(query), thinned(_profile(known)), replace(_stretch(), median_distance_bits=4.0))
    assert found is not None
    stretch = replace(_stretch(), start_seconds=start, end_seconds=end, median_distance_bits=4.0)
    of_part = Levels.of(_profile(query), thinned(_profile(known)), stretch)
    assert of_part is not None
    parts = of_part.parts(stretch)
    assert parts[0].start_seconds == start and parts[-1].end_seconds == end
    assert all(one.end_seconds == pytest.approx(two.start_seconds) for one, two in pairwise(parts))
    proven = [part for part in parts if part.proof.proven]
    ends = min(part.start_seconds for part in proven) if at_start else max(part.end_seconds for part in proven)
    beyond = cut - ends if at_start else ends - cut
    # a tick of the known video is 0.4 s, and what is nearer than 0.1 s to one is excused as out of time
    assert -0.9 <= beyond <= 0.55
    if over >= 0.7:
        assert beyond <= 0.2
        rest = parts[0] if at_start else parts[-1]
        assert not rest.proof.proven and (rest.proof.why_not == MOVES_OTHERWISE or rest.cover is not None)


# ---- holes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_no_hole_lies_where_the_picture_is_settled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    there = rng.poisson(2.0, (2, 1, BINS, BINS))
    found = rng.binomial(there, 0.8)
    top, left = rng.integers(0, BINS - 8, 2)
    found[:, :, top : top + 7, left : left + 7] = 0
    counts = np.stack([there[0], found[0], there[1], found[1]]).astype(np.float32)
    moved = np.full((1, 8, 8), 0.5)
    settled = np.zeros((BINS, BINS))
    deepest, where = deepest_holes(counts, moved, settled)
    assert deepest[0] > 10.0 and abs(where[0, 0] - top) <= 2 and abs(where[0, 1] - left) <= 2
    elsewhere = np.ones((BINS, BINS))
    elsewhere[top : top + 7, left : left + 7] = 0.0
    assert deepest_holes(counts, moved, elsewhere)[0][0] == pytest.approx(deepest[0])
    settled[top : top + 7, left : left + 7] = 1.0
    assert deepest_holes(counts, moved, settled)[0][0] < 0.5 * deepest[0]


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_changes_of_some_ticks_are_those_of_all() -> None:
    profile = _profile(_pictures(3, 60))
    changes = picture_changes(profile)
    assert profile.pictures.max() <= PICTURE_PARTS * 255
    exact = profile.pictures.astype(float) / PICTURE_PARTS
    assert np.abs(changes[4:] - (exact[4:] - exact[:-4])).max() <= 0.5 and not changes[:4].any()
    for first, last in ((0, 10), (3, 9), (4, 60), (20, 25)):
        assert np.array_equal(picture_changes(profile, first, last), changes[first:last])


# ---- real pictures ---------------------------------------------------------------------------------------------------


def _cropped(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    y, x = int(height * 0.1), int(width * 0.1)
    return np.ascontiguousarray(cv2.resize(picture[y : height - y, x : width - x], (width, height)))


def test_a_crop_is_known_but_for_the_seconds_in_which_something_plays_over_it(tmp_path: Path) -> None:
    fps, size = 12.5, {"width": 320, "height": 180}
    known = sign(make_video.edited(tmp_path / "known.mp4", footage.clip(21, 14.0, fps=fps, **size), fps=fps))
    crop = [_cropped(picture) for picture in footage.clip(21, 14.0, fps=fps, **size)]
    copy = sign(make_video.edited(tmp_path / "copy.mp4", crop, fps=fps, crf=28))
    stretches, _ = compared(copy, known, SETTINGS)
    assert sum(one.end_seconds - one.start_seconds for one in stretches if one.proof.proven) >= 11.0
    small = list(footage.clip(77, 14.0, fps=fps, width=96, height=54))
    for number in range(round(5 * fps), round(8 * fps)):
        crop[number] = crop[number].copy()
        crop[number][60:114, 110:206] = small[number]
    planted = sign(make_video.edited(tmp_path / "planted.mp4", crop, fps=fps, crf=28))
    stretches, _ = compared(planted, known, SETTINGS)
    hidden = sum(
        max(0.0, min(one.end_seconds, 8.0) - max(one.start_seconds, 5.0)) for one in stretches if one.proof.proven
    )
    assert hidden <= 0.2
