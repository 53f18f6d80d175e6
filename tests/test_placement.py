"""One place that many keyframes share: found where no keyframe tells it by itself; chance is as rare as it says."""

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty.grouping import as_known, local_of
from videonovelty.judging import judge_signed
from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.candidates import Candidates
from videonovelty.matching.local_candidates import LocalCandidate
from videonovelty.matching.local_evidence import LocalPair
from videonovelty.matching.placement import Placement, common_placement, in_one_place
from videonovelty.matching.stretch import KnownSide
from videonovelty.records import (
    FINE_CELLS,
    MOTION_CELLS,
    LocalFeatures,
    MotionProfile,
    Signatures,
    SignedVideo,
    Verdict,
    thinned,
)

ASPECT = 16 / 9
KEYFRAMES = 10
EVERY = 2.0
"""Seconds between keyframes."""
DESCRIPTORS = 150
SIDE = 0.3
CORNER = np.array([0.55, 0.3])
"""Where the small picture's upper left corner is, in shares of the longer side."""


def noisy(rng: np.random.Generator, codes: np.ndarray, bits: int = 6) -> np.ndarray:
    flips = np.zeros((*codes.shape[:-1], 64), np.uint8)
    order = rng.random(flips.shape).argsort(axis=-1)
    np.put_along_axis(flips, order[..., :bits], 1, axis=-1)
    return codes ^ np.packbits(flips, axis=-1)


class Scene:
    """A known video as descriptors, and queries that show some of them in a small picture, among others of theirs."""

    def __init__(self, seed: int, *, still: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        shape = (1 if still else KEYFRAMES, DESCRIPTORS)
        self.xy = self._all(self.rng.random((*shape, 2)) * (1.0, 1 / ASPECT))
        self.codes = self._all(self.rng.integers(0, 256, (*shape, 8)).astype(np.uint8))
        self.scale = self._all(self.rng.integers(16, 30, shape).astype(np.uint8))
        self.angle = self._all(self.rng.integers(0, 256, shape).astype(np.uint8))
        self.seconds = EVERY * np.arange(KEYFRAMES)

    @staticmethod
    def _all(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, (KEYFRAMES, *values.shape[1:])).copy()

    def pair(
        self,
        shown: int,
        *,
        misplaced: int = 20,
        mirrored: bool = False,
        same: bool = False,
        during: int = KEYFRAMES,
        side: float = SIDE,
    ) -> LocalPair:
        """Return a query that shows `shown` known descriptors a keyframe, `same` ones in all, in the first `during`.

        `misplaced` more of them lie anywhere, and 80 others are of something else. `side`: of the known picture, as a
        share of the query's.
        """
        order = self.rng.random((KEYFRAMES, DESCRIPTORS)).argsort(axis=1)
        if same:
            order[:] = order[0]
        chosen = order[:, : shown + misplaced]
        rows = np.arange(KEYFRAMES)[:, None]
        xy = self.xy[rows, chosen] * side + np.minimum(CORNER, (1 - side, (1 - side) / ASPECT))
        anywhere = self.rng.random(xy.shape) * (1.0, 1 / ASPECT)
        loose = np.zeros(chosen.shape, np.bool_)
        loose[:, shown:] = True
        loose[during:] = True
        xy = np.where(loose[..., None], anywhere, xy)
        smaller = round(8 * np.log2(1 / side))
        parts = {
            "xy": np.concatenate((xy, self.rng.random((KEYFRAMES, 80, 2)) * (1.0, 1 / ASPECT)), axis=1),
            "codes": np.concatenate(
                (noisy(self.rng, self.codes[rows, chosen]), self._other((KEYFRAMES, 80, 8), 256)), axis=1
            ),
            "scale": np.concatenate((self.scale[rows, chosen] - smaller, self._other((KEYFRAMES, 80), 30)), axis=1),
            "angle": np.concatenate((self.angle[rows, chosen], self._other((KEYFRAMES, 80), 256)), axis=1),
        }
        if mirrored:
            parts["xy"][..., 0] = 1.0 - parts["xy"][..., 0]
            parts["angle"] = (128 - parts["angle"].astype(int)) % 256
        features = self._features(**parts)
        if mirrored:
            features = LocalFeatures(
                features.offsets, self.rng.permutation(features.codes), features.codes, features.xy, features.scale,
                features.angle,
            )  # fmt: skip
        known = KnownLocal("k" * 64, self.seconds, self._features(self.xy, self.codes, self.scale, self.angle))
        return LocalPair(_query(self.seconds, features), known, mirrored, ASPECT)

    def _other(self, shape: tuple[int, ...], below: int) -> np.ndarray:
        return self.rng.integers(0, below, shape).astype(np.uint8)

    @staticmethod
    def _features(xy: np.ndarray, codes: np.ndarray, scale: np.ndarray, angle: np.ndarray) -> LocalFeatures:
        each = codes.shape[1]
        places = np.clip(np.rint(xy * 65535), 0, 65535).astype(np.uint16)
        return LocalFeatures(
            each * np.arange(KEYFRAMES + 1), codes.reshape(-1, 8), np.zeros((0, 8), np.uint8), places.reshape(-1, 2),
            scale.reshape(-1).astype(np.uint8), angle.reshape(-1).astype(np.uint8),
        )  # fmt: skip


def _query(seconds: np.ndarray, features: LocalFeatures) -> Signatures:
    n = len(seconds)
    pdq = np.zeros((n, 8, 32), np.uint8)
    ticks = int(EVERY * n / 0.1)
    motion = MotionProfile(0.1, np.zeros((ticks, MOTION_CELLS), np.int8), np.zeros((ticks, FINE_CELLS), np.int8))
    return Signatures(
        video_id="q" * 64, scheme="made", pts_seconds=seconds, start_seconds=seconds, end_seconds=seconds + EVERY,
        pdq=pdq, pdq_inner=pdq, has_inner=np.zeros(n, np.bool_), quality=np.full(n, 90, np.uint8),
        informative=np.ones(n, np.bool_), motion=motion, local=features,
    )  # fmt: skip


def look(pair: LocalPair, *, proposed: int = 3) -> Placement | None:
    return common_placement(pair, [(k, float(pair.known.seconds[k])) for k in range(proposed)], reach_seconds=1.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 5), st.booleans())
def test_few_descriptors_of_each_keyframe_tell_together_where_a_small_picture_is(
    seed: int, shown: int, mirrored: bool
) -> None:
    pair = Scene(seed).pair(shown, mirrored=mirrored)
    alone = [pair.match(k, k) for k in range(KEYFRAMES)]
    assert all(match is None or match.inliers < SETTINGS.proof.min_inliers for match in alone)
    found = look(pair)
    assert found is not None
    assert found.expected < SETTINGS.proof.placed_by_chance
    assert abs(found.offset_seconds) < 0.01
    assert float(np.hypot(*found.transform[:, 0])) == pytest.approx(1 / SIDE, rel=0.05)
    assert pair.share_placed(found.transform) == pytest.approx(SIDE**2, rel=0.15)
    assert int((found.inliers >= 2).sum()) >= KEYFRAMES - 1


def test_chance_finds_no_more_places_than_are_expected() -> None:
    expected = [found.expected for seed in range(150) if (found := look(Scene(seed).pair(0, misplaced=40))) is not None]
    for limit in (1.0, 0.1):
        assert sum(value <= limit for value in expected) <= limit * 150
    assert min(expected) > SETTINGS.proof.placed_by_chance


def test_what_stands_still_counts_once() -> None:
    """Four descriptors that are seen again in every keyframe are four, however many keyframes there are."""
    moving, still = look(Scene(7).pair(4)), look(Scene(7, still=True).pair(4, same=True))
    assert moving is not None
    assert moving.expected < 1e-20
    assert still is None or still.expected > SETTINGS.proof.placed_by_chance


def test_keyframes_that_do_not_show_it_are_not_counted() -> None:
    found = look(Scene(8).pair(4, during=6))
    assert found is not None
    assert (found.inliers[:6] >= 2).all()
    assert found.inliers[6:].max() <= 1


def test_the_same_question_has_the_same_answer() -> None:
    one, other = look(Scene(9).pair(4)), look(Scene(9).pair(4))
    assert one is not None
    assert other is not None
    assert one.expected == other.expected
    assert np.array_equal(one.transform, other.transform)


def test_without_pairs_there_is_no_placement() -> None:
    assert common_placement(Scene(10).pair(4), [], reach_seconds=1.0) is None


@pytest.mark.parametrize(("side", "named"), [(0.3, True), (0.6, True), (0.9, False)])
def test_only_a_picture_within_the_picture_is_named(side: float, named: bool) -> None:
    """What two videos share in its place over the whole picture is an emblem, or what a camera always sees."""
    pair = Scene(11).pair(4, side=side)
    found = in_one_place(
        pair.query, pair.known, variant=0, common=np.zeros(KEYFRAMES, np.bool_), matching=SETTINGS.matching,
        proof=SETTINGS.proof, aspect=ASPECT, local_pairs=np.stack([np.arange(KEYFRAMES), pair.known.seconds], axis=1),
    )  # fmt: skip
    assert bool(found) == named
    assert not any(stretch.proof.proven for stretch in found)


def test_common_and_uninformative_keyframes_are_not_named() -> None:
    pair = Scene(12).pair(4)
    common = np.arange(KEYFRAMES) < 4
    query = replace(pair.query, informative=np.arange(KEYFRAMES) != 8)
    found = in_one_place(
        query, pair.known, variant=0, common=common, matching=SETTINGS.matching, proof=SETTINGS.proof, aspect=ASPECT,
        local_pairs=np.stack([np.arange(KEYFRAMES), pair.known.seconds], axis=1),
    )  # fmt: skip
    assert [(stretch.start_seconds, stretch.end_seconds) for stretch in found] == [(8.0, 16.0), (18.0, 20.0)]


# ---- made footage ----------------------------------------------------------------------------------------------------

SIZE = {"width": 320, "height": 180}
NEVER = 1e-300
"""No placement is as rare."""


def _inside(around: np.ndarray, picture: np.ndarray) -> np.ndarray:
    out = around.copy()
    small = cv2.resize(picture, (96, 54), interpolation=cv2.INTER_AREA)
    out[20:74, 200:296] = small
    return out


def _judged(query: SignedVideo, known: SignedVideo, *, chance: float) -> Verdict:
    """Return the verdict on a query whose only candidate, by its local descriptors, is `known`."""
    side = KnownSide(as_known(known), thinned(known.signatures.motion), local_of(known))
    assert side.local is not None
    bearing = np.flatnonzero(np.diff(query.signatures.local.offsets) > 0)
    pairs = np.array(list(itertools.product(bearing, side.local.seconds)), np.float64)
    candidate = LocalCandidate(side.frames.video_id, mirrored=False, votes=9.0, pairs=pairs)
    none = Candidates((), np.zeros(len(query.signatures.pts_seconds), np.bool_))
    proof = SETTINGS.proof.model_copy(update={"placed_by_chance": chance})
    settings_ = SETTINGS.model_copy(update={"proof": proof})
    return judge_signed(query, none, [candidate], {side.frames.video_id: side}, settings_)


NAMED, LARGER, NEW = 31, 65, 599


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SignedVideo]:
    """Return known clips, and two of them and a new one playing at 30 % of the sides inside other footage."""
    folder: Path = tmp_path_factory.mktemp("inside")
    made = {
        f"known {seed}": make_video.make_clip(folder / f"{seed}.mp4", seed, 8.0, **SIZE) for seed in (NAMED, LARGER)
    }
    for seed in (NAMED, LARGER, NEW):
        pairs = zip(make_video.frames(500 + seed, 8.0, **SIZE), make_video.frames(seed, 8.0, **SIZE), strict=True)
        made[f"inside {seed}"] = make_video.edited(folder / f"in{seed}.mp4", itertools.starmap(_inside, pairs), crf=34)
    return {name: sign(path) for name, path in made.items()}


def test_small_picture_that_no_keyframe_tells_is_named_and_never_cleared(clips: dict[str, SignedVideo]) -> None:
    query, known = clips[f"inside {NAMED}"], clips[f"known {NAMED}"]
    without = _judged(query, known, chance=NEVER)
    assert (without.verdict, without.best_known_id) == ("novel", None)
    verdict = _judged(query, known, chance=SETTINGS.proof.placed_by_chance)
    assert (verdict.verdict, verdict.best_known_id) == ("same_scene", known.signatures.video_id)
    assert verdict.known_seconds == 0
    assert verdict.novel_seconds == without.novel_seconds
    shown = [segment for segment in verdict.segments if segment.known_video_id]
    assert sum(segment.end_seconds - segment.start_seconds for segment in shown) > 4.0
    for segment in shown:
        assert segment.proof == "none"
        assert segment.spatial_share is not None
        assert 0.07 < segment.spatial_share < 0.11
        assert segment.known_start_seconds == pytest.approx(segment.start_seconds, abs=1.0)


def test_what_keyframes_tell_by_themselves_stays_as_it_is(clips: dict[str, SignedVideo]) -> None:
    query, known = clips[f"inside {LARGER}"], clips[f"known {LARGER}"]
    without = _judged(query, known, chance=NEVER)
    assert without.best_known_id == known.signatures.video_id
    assert _judged(query, known, chance=SETTINGS.proof.placed_by_chance) == without


def test_small_picture_of_other_footage_is_linked_to_nothing(clips: dict[str, SignedVideo]) -> None:
    for inside, known in itertools.product((NAMED, LARGER, NEW), (NAMED, LARGER)):
        if inside != known:
            query, other = clips[f"inside {inside}"], clips[f"known {known}"]
            assert _judged(query, other, chance=SETTINGS.proof.placed_by_chance).best_known_id is None
