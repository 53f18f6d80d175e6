"""Holes in known footage: descriptors that find each other everywhere but in one part of the picture."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from described import ASPECT, EVERY, PER_KEYFRAME, PROOF, Box, Scene
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.matching.covered import Keyframes, deepest_hole, shows_the_known, uncovered
from videonovelty.matching.hole_kernels import (
    BINS,
    LEAST_ELSEWHERE,
    LEAST_IN_HALF,
    MOST_IN_HALF,
    MOST_INSIDE,
    MOVING,
    WINDOWS,
    deepest_holes,
)
from videonovelty.matching.in_place import InPlaces
from videonovelty.matching.local_evidence import LocalPair
from videonovelty.matching.shown import picture_box
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import (
    PART_COVERED,
    PART_MOVES,
    MotionProfile,
    Panes,
    Signatures,
)
from videonovelty.settings import ProofSettings


def places(scene: Scene, query: Signatures) -> InPlaces:
    """Return the descriptors of a query and the known video in place."""
    return InPlaces(LocalPair(query, scene.known().local, mirrored=False, aspect=ASPECT))


def looked_at(
    scene: Scene, query: Signatures, inliers: int | None = None, motion: MotionProfile | None = None
) -> list[Stretch]:
    altered = np.ones(scene.keyframes, np.bool_)
    known = motion or scene.known().motion
    return uncovered(places(scene, query), scene.stretch(inliers), known, altered=altered, proof=ProofSettings())


@pytest.mark.parametrize(
    "box",
    [(0.0, 0.0, 0.25, 0.25), (0.75, 0.7, 1.0, 1.0), (0.35, 0.4, 0.65, 0.7), (0.0, 0.3, 0.3, 0.6), (0.5, 0.5, 1.0, 1.0)],
)
def test_covered_part_takes_the_proof_away(box: Box) -> None:
    scene = Scene(1)
    (stretch,) = looked_at(scene, scene.query(box))
    assert not stretch.proof.proven
    assert stretch.proof.why_not == PART_COVERED


@given(st.integers(0, 2**16), st.floats(0.45, 0.95))
@settings(max_examples=25, deadline=None)
def test_plain_copies_keep_their_proof_however_many_descriptors_are_lost(seed: int, found: float) -> None:
    scene = Scene(seed, keyframes=6)
    assert all(stretch.proof.proven for stretch in looked_at(scene, scene.query(found=found)))


@pytest.mark.parametrize("box", [(0.0, 0.82, 1.0, 0.92), (0.88, 0.02, 0.99, 0.16), (0.2, 0.1, 0.8, 0.2)])
def test_lettering_and_small_emblems_are_no_hole(box: Box) -> None:
    scene = Scene(2)
    (stretch,) = looked_at(scene, scene.query(box))
    assert stretch.proof.proven


def test_only_the_covered_seconds_lose_their_proof() -> None:
    scene = Scene(3, keyframes=20)
    parts = looked_at(scene, scene.query((0.65, 0.6, 1.0, 1.0), during=slice(8, 12)))
    assert [part.proof.proven for part in parts] == [True, False, True]
    assert parts[0].start_seconds == 0.0
    assert parts[-1].end_seconds == 40.0
    assert all(a.end_seconds == b.start_seconds for a, b in pairwise(parts))
    # keyframes 8 to 11 stand for seconds 16 to 24
    assert parts[1].start_seconds <= 16.0
    assert parts[1].end_seconds >= 24.0
    assert parts[1].end_seconds - parts[1].start_seconds <= 12.0


def test_less_evidence_is_enough_where_the_proof_rests_on_a_placement() -> None:
    # a hole of a quarter of the sides at two of ten keyframes: too little for a whole picture
    scene = Scene(1)
    query = scene.query((0.1, 0.1, 0.35, 0.35), found=0.5, during=slice(4, 6))
    assert [stretch.proof.proven for stretch in looked_at(scene, query)] == [True]
    parts = looked_at(scene, query, inliers=30)
    assert [stretch.proof.proven for stretch in parts] == [True, False, True]
    assert (parts[1].start_seconds, parts[1].end_seconds) == (4 * EVERY, 6 * EVERY)


def test_a_picture_of_something_else_hides_no_hole_in_the_others() -> None:
    scene = Scene(5, keyframes=6)
    query = scene.query((0.1, 0.1, 0.35, 0.4))
    query.local.codes[:PER_KEYFRAME] = scene.rng.integers(0, 256, (PER_KEYFRAME, 8))
    stretch, motion = scene.stretch(), scene.known().motion
    compared = places(scene, query).of(stretch)
    assert compared is not None

    def looked_into(strangers: tuple[tuple[float, float], ...]) -> Keyframes:
        return Keyframes.of(compared, replace(stretch, strangers=strangers), np.ones(6, np.bool_))

    told, untold = looked_into(((0.0, EVERY),)), looked_into(())
    rest = deepest_hole(stretch.line, untold.some(1, 6), motion)
    assert deepest_hole(stretch.line, told, motion).evidence == rest.evidence
    assert deepest_hole(stretch.line, untold, motion).evidence < rest.evidence


def test_unaltered_pictures_are_not_looked_into() -> None:
    scene = Scene(4)
    whole = Stretch("k" * 64, Line(1.0, 0.0, 0, 0.9), 0.0, 20.0, PROOF, 10, 2.0)
    query = scene.query((0.0, 0.0, 0.3, 0.3))
    placed, motion, proof = places(scene, query), scene.known().motion, ProofSettings()
    assert uncovered(placed, whole, motion, altered=np.zeros(10, np.bool_), proof=proof) == [whole]
    assert uncovered(placed, whole, motion, altered=np.ones(10, np.bool_), proof=proof) != [whole]


def test_nothing_is_said_where_little_is_found() -> None:
    scene = Scene(5)
    query = scene.query((0.0, 0.0, 0.3, 0.3), found=0.25)
    assert all(stretch.proof.proven for stretch in looked_at(scene, query))


def test_a_thing_that_moves_in_the_known_video_is_no_hole() -> None:
    scene = Scene(6)
    moving = np.zeros((8, 8), np.int8)
    moving[2:5, 2:5] = 1  # nothing else moves there
    fine = np.repeat(moving.reshape(1, -1), 50, axis=0)
    motion = replace(scene.known().motion, fine=fine)
    (stretch,) = looked_at(scene, scene.query((0.27, 0.27, 0.6, 0.6)), motion=motion)
    assert stretch.proof.proven
    (elsewhere,) = looked_at(scene, scene.query((0.7, 0.65, 1.0, 1.0)), motion=motion)
    assert not elsewhere.proof.proven


# ---- panes


def _sky(scene: Scene, box: Box) -> None:
    """Move the known descriptors out of a box: over a sky or a wall there are none."""
    left, top, right, bottom = box
    x, y = scene.xy[..., 0], scene.xy[..., 1] * ASPECT
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    scene.xy[inside] = scene.rng.random((int(inside.sum()), 2)) * (1.0, 0.3 / ASPECT) + (0.0, 0.6 / ASPECT)


def _laid_over(scene: Scene, box: Box, *, during: slice = slice(None), per_keyframe: int = 20) -> Signatures:
    """Return a copy with something else in a box, where the known picture has no descriptors."""
    query = scene.query()
    left, top, right, bottom = box
    codes = query.local.codes.reshape(-1, PER_KEYFRAME, 8).copy()
    xy = query.local.xy.reshape(-1, PER_KEYFRAME, 2).copy()
    n = len(range(*during.indices(scene.keyframes)))
    codes[during, :per_keyframe] = scene.rng.integers(0, 256, (n, per_keyframe, 8))
    places = scene.rng.random((n, per_keyframe, 2)) * (right - left, bottom - top) + (left, top)
    xy[during, :per_keyframe] = np.round(places * (1.0, 1.0 / ASPECT) * 65535)
    return replace(query, local=replace(query.local, codes=codes.reshape(-1, 8), xy=xy.reshape(-1, 2)))


def _with_pane(query: Signatures, box: Box, keyframes: Sequence[int]) -> Signatures:
    boxes = np.round(np.tile(box, (len(keyframes), 1)) * 65535).astype(np.uint16)
    codes = np.zeros((len(keyframes), 8, 32), np.uint8)
    return replace(query, panes=Panes(np.array(keyframes, np.int64), boxes, codes))


CORNER = (0.02, 0.03, 0.22, 0.25)


def test_borders_of_a_pane_say_where_to_look() -> None:
    # over a sky the known picture has no descriptors that could be missed, so no window stands out by itself
    scene = Scene(7)
    _sky(scene, CORNER)
    query = _laid_over(scene, CORNER)
    assert [stretch.proof.proven for stretch in looked_at(scene, query)] == [True]
    (stretch,) = looked_at(scene, _with_pane(query, CORNER, range(10)))
    assert stretch.proof.why_not == PART_COVERED


def test_only_the_seconds_of_a_pane_lose_their_proof() -> None:
    scene = Scene(8, keyframes=20)
    _sky(scene, CORNER)
    query = _laid_over(scene, CORNER, during=slice(6, 12))
    parts = looked_at(scene, _with_pane(query, CORNER, range(6, 12)))
    assert [(part.start_seconds, part.end_seconds, part.proof.proven) for part in parts] == [
        (0.0, 12.0, True),
        (12.0, 24.0, False),
        (24.0, 40.0, True),
    ]


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.9, 0.25), (0.3, 0.02, 0.42, 0.9), (0.02, 0.0, 0.98, 0.25)])
def test_a_pane_as_low_narrow_or_long_as_lettering_is_none(box: Box) -> None:
    scene = Scene(9)
    _sky(scene, box)
    query = _with_pane(_laid_over(scene, box), box, range(10))
    assert [stretch.proof.proven for stretch in looked_at(scene, query)] == [True]


@given(st.integers(0, 2**16), st.floats(0.45, 0.95), st.floats(0, 0.7), st.floats(0, 0.7), st.floats(0.2, 0.9))
@settings(max_examples=25, deadline=None)
def test_a_pane_that_shows_known_footage_takes_nothing_away(
    seed: int, found: float, left: float, top: float, side: float
) -> None:
    scene = Scene(seed, keyframes=6)
    box = (left, top, min(1.0, left + side), min(1.0, top + side))
    query = _with_pane(scene.query(found=found), box, range(6))
    assert all(stretch.proof.proven for stretch in looked_at(scene, query))


def test_a_pane_in_which_the_known_footage_moves_is_told_by_its_movement() -> None:
    scene = Scene(10)
    _sky(scene, CORNER)
    query = _with_pane(_laid_over(scene, CORNER), CORNER, range(10))
    moving = np.zeros((8, 8), np.int8)
    moving[0:2, 0:2] = 1
    motion = replace(scene.known().motion, fine=np.repeat(moving.reshape(1, -1), 50, axis=0))
    assert [stretch.proof.proven for stretch in looked_at(scene, query, motion=motion)] == [True]


# ---- what is said to move otherwise


def _shown(scene: Scene, query: Signatures, windows: Sequence[tuple[int, int, int, int]], **facts: object) -> bool:
    unproven = replace(PROOF, proven=False, why_not=PART_MOVES)
    whole = Stretch("k" * 64, Line(1.0, 0.0, 0, 0.9), 0.0, EVERY * scene.keyframes, unproven, scene.keyframes, 12.0)
    whole = replace(whole, **{"otherwise": tuple(windows), **facts})
    return shows_the_known(places(scene, query), whole, picture_box(scene.known().frames, scene.known().local))


EVERYWHERE = [(top, left, 2, 2) for top in range(7) for left in range(7)]


@pytest.mark.parametrize("found", [0.6, 0.75, 0.9])
def test_what_only_flickers_shows_the_known_picture_everywhere(found: float) -> None:
    scene = Scene(11)
    query = scene.query(found=found)
    assert _shown(scene, query, EVERYWHERE)
    assert not _shown(scene, query, [])
    assert not _shown(scene, query, EVERYWHERE, carried=False)
    assert not _shown(scene, scene.query(found=0.3), EVERYWHERE)  # too little is found to say anything


@pytest.mark.parametrize("during", [slice(None), slice(4, 6), slice(9, 10)])
def test_something_over_the_picture_is_not_taken_for_flicker_however_briefly(during: slice) -> None:
    scene = Scene(12)
    covered = scene.query((0.5, 0.5, 0.8, 0.8), during=during)
    assert not _shown(scene, covered, EVERYWHERE)
    # it is beside the part that is asked about
    assert _shown(scene, covered, [(0, 0, 2, 2)])


def test_something_that_wanders_is_not_taken_for_flicker() -> None:
    scene = Scene(13)
    query = scene.query()
    codes = query.local.codes.reshape(-1, PER_KEYFRAME, 8).copy()
    for n in range(scene.keyframes):
        left, top = 0.07 * n, 0.6 - 0.06 * n
        x, y = scene.xy[n, :, 0], scene.xy[n, :, 1] * ASPECT
        inside = (x >= left) & (x < left + 0.3) & (y >= top) & (y < top + 0.3)
        codes[n, inside] = scene.rng.integers(0, 256, (int(inside.sum()), 8))
    wandering = replace(query, local=replace(query.local, codes=codes.reshape(-1, 8)))
    assert _shown(scene, query, EVERYWHERE)
    assert not _shown(scene, wandering, EVERYWHERE)


# ---- the kernel


def _slowly(counts: np.ndarray, moved: np.ndarray) -> dict[tuple[int, int, int, int], float]:
    """Return the evidence of each hole of one run, by window; counts (4, BINS, BINS), moved (8, 8)."""

    def likelihood(hits: float, tries: float) -> float:
        rate = hits / max(tries, 1.0)
        return hits * np.log(max(rate, 1e-12)) + (tries - hits) * np.log(max(1 - rate, 1e-12))

    total, movement = counts.sum(axis=(1, 2)), np.kron(moved, np.ones((BINS // 8, BINS // 8)))
    found = {}
    for height, width in itertools.product(WINDOWS, repeat=2):
        for top, left in itertools.product(range(BINS - height + 1), range(BINS - width + 1)):
            rows, columns = slice(top, top + height), slice(left, left + width)
            window = counts[:, rows, columns]
            inside = window.sum(axis=(1, 2))
            rest = total - inside
            elsewhere = (rest[1] + rest[3]) / max(rest[0] + rest[2], 1.0)
            tall, wide = height // 2, width // 2
            halves = [
                part.sum(axis=(1, 2))
                for part in (window[:, :tall], window[:, -tall:], window[:, :, :wide], window[:, :, -wide:])
            ]
            if (
                elsewhere >= LEAST_ELSEWHERE
                and inside[1] + inside[3] <= MOST_INSIDE * elsewhere * (inside[0] + inside[2])
                and all(half[1] + half[3] <= MOST_IN_HALF * elsewhere * (half[0] + half[2]) for half in halves)
                and all((half[0] + half[2]) * elsewhere >= LEAST_IN_HALF for half in halves)
                and movement[rows, columns].sum() <= MOVING * moved.mean() * height * width
            ):
                ratios = [
                    likelihood(inside[k + 1], inside[k])
                    + likelihood(rest[k + 1], rest[k])
                    - likelihood(total[k + 1], total[k])
                    if inside[k + 1] * rest[k] < rest[k + 1] * inside[k]
                    else 0.0
                    for k in (0, 2)
                ]
                found[top, left, height, width] = min(ratios)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_the_deepest_hole_is_that_of_every_window_looked_at(seed: int) -> None:
    rng = np.random.default_rng(seed)
    there = rng.poisson(1.5, (2, 3, BINS, BINS))
    found = rng.binomial(there, 0.7)
    top, left = rng.integers(0, BINS - 6, 2)
    found[:, :2, top : top + 6, left : left + 6] = 0  # the third run has no hole
    counts = np.stack([there[0], found[0], there[1], found[1]]).astype(np.float32)
    moved = rng.random((3, 8, 8))
    deepest, where = deepest_holes(counts, moved, np.zeros((BINS, BINS)))
    for run in range(3):
        expected = _slowly(counts[:, run].astype(np.float64), moved[run])
        assert np.isclose(deepest[run], max(expected.values(), default=0.0), atol=1e-3)
        if deepest[run] > 0:
            assert np.isclose(expected[tuple(where[run])], deepest[run], atol=1e-3)
    assert deepest[:2].max() > 5.0
