"""Panes: pictures planted in pictures are found to a pixel, signed, looked up apart, named, and clear nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_known import signatures
from signing_help import sign

from videonovelty import footage
from videonovelty.comparing import compared
from videonovelty.errors import Reason
from videonovelty.grouping import as_known
from videonovelty.judging import judge_signed
from videonovelty.known.shards import ShardCodes, VideoIds
from videonovelty.matching.candidates import NEGATIVE, PANE, collect_codes, match_shard, rank_candidates
from videonovelty.matching.naming import named_along_lines
from videonovelty.matching.stretch import KnownSide
from videonovelty.records import (
    N_DIHEDRAL,
    PLAYS_IN_A_PART,
    U8,
    KnownFrames,
    Panes,
    Segment,
    Signatures,
    SignedVideo,
    Verdict,
)
from videonovelty.screening import _seconds
from videonovelty.settings import Settings
from videonovelty.signatures.panes import BLOCK, MOST_PANES, PaneRecorder, _refined, cut_pane, find_panes
from videonovelty.signatures.pdq import PDQ_SIDE, pdq
from videonovelty.tables import Judged
from videonovelty.tuning.edits import make_edit

SETTINGS = Settings()
HEIGHT, WIDTH = 180, 320


def pictures(seed: int, count: int = 8, *, width: int = WIDTH, height: int = HEIGHT) -> list[U8]:
    """Return luma of a moving clip, one picture a second."""
    frames = footage.clip(seed, float(count), fps=1.0, width=width, height=height)
    return [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames]


def code(luma: U8) -> U8:
    small = cv2.resize(luma, (PDQ_SIDE, PDQ_SIDE), interpolation=cv2.INTER_AREA)
    return pdq(np.asarray(small, np.uint8)[None])[0][0, 0]


def bits(one: U8, other: U8) -> int:
    return int(np.bitwise_count(one ^ other).sum())


def planted(seed: int, *, halves: bool = False) -> tuple[list[U8], list[U8], tuple[int, int, int, int]]:
    """Return pictures with another clip in a rectangle of them, that clip, and (top, bottom, left, right)."""
    rng = np.random.default_rng(seed)
    side = 0.5 if halves else rng.uniform(0.28, 0.55)
    height, width = (HEIGHT, WIDTH // 2) if halves else (round(side * HEIGHT), round(side * WIDTH))
    top = int(rng.integers(4, HEIGHT - height - 3)) if not halves else 0
    left = int(rng.integers(4, WIDTH - width - 3)) if not halves else int(rng.integers(0, 2)) * width
    around, inside = pictures(2 * seed), pictures(2 * seed + 1)
    for picture, small in zip(around, inside, strict=True):
        laid = cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA)
        picture[top : top + height, left : left + width] = laid
    return around, inside, (top, top + height, left, left + width)


def test_pictures_in_pictures_are_found_to_a_pixel_and_their_codes_are_those_of_what_plays() -> None:
    found = near = 0
    for seed in range(30):
        shown, inside, box = planted(seed)
        boxes = find_panes(shown)
        assert len(boxes) <= MOST_PANES
        here = [one for one in boxes if np.abs(np.subtract(one, box)).max() <= 1.0]
        found += bool(here)
        near += (
            sum(bits(code(cut_pane(p, here[0])), code(q)) <= 31 for p, q in zip(shown, inside, strict=True))
            if here
            else 0
        )
    assert found >= 27
    assert near >= 0.9 * 8 * found


def test_one_border_makes_two_halves_of_a_split_screen() -> None:
    found = 0
    for seed in range(20):
        shown, _, box = planted(100 + seed, halves=True)
        found += any(np.abs(np.subtract(one, box)).max() <= 1.0 for one in find_panes(shown))
    assert found >= 17


def test_a_side_between_two_pixels_is_found_between_them() -> None:
    shown = [p.copy() for p in pictures(7, width=2 * WIDTH, height=2 * HEIGHT)]
    for picture, small in zip(shown, pictures(8, width=2 * WIDTH, height=2 * HEIGHT), strict=True):
        picture[101:221, 51:271] = cv2.resize(small, (220, 120), interpolation=cv2.INTER_AREA)
    halved = [np.asarray(cv2.resize(p, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8) for p in shown]
    assert find_panes(halved)[0] == pytest.approx((50.5, 110.5, 25.5, 135.5), abs=0.35)


def test_nothing_is_found_where_nothing_stays() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8) for _ in range(8)]
    flat = [np.full((HEIGHT, WIDTH), 90, np.uint8)] * 8
    assert find_panes(noise) == find_panes(flat) == []
    shown, _, _ = planted(3)
    assert find_panes(shown)
    assert find_panes(shown[:2]) == find_panes([]) == []


@pytest.mark.parametrize("shape", [(16, 16), (16, 320), (320, 17), (40, 23)])
def test_pictures_of_any_shape_are_taken(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    some = [rng.integers(0, 256, shape).astype(np.uint8) for _ in range(5)]
    striped = [np.repeat(p[:, :1], shape[1], axis=1) for p in some]
    for chosen in (some, striped, [some[0]] * 5):
        for top, bottom, left, right in find_panes(chosen):
            assert 0 <= top < bottom <= shape[0]
            assert 0 <= left < right <= shape[1]


def test_sides_that_are_as_close_as_they_may_be_do_not_meet() -> None:
    picture = np.full((16, 16), 100, np.uint8)
    picture[7], picture[8:] = 120, 140  # all that changes lies between the two sides, and draws both
    assert _refined(np.stack([picture] * 3), (6, 9, 0, 16)) == (6.0, 9.0, 0.0, 16.0)
    assert _refined(np.stack([picture] * 3), (1, 8, 0, 16))[:2] == (1.0, 7.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 2**32 - 1), st.integers(1, 6), st.booleans())
def test_whatever_the_pictures_show_their_panes_are_sound(
    height: int, width: int, seed: int, lines: int, still: bool
) -> None:
    """Few grey levels between a few straight lines, as close to one another as they come."""
    rng = np.random.default_rng(seed)
    recorder = PaneRecorder(lambda _luma, _quality: True)
    rows, columns = (np.sort(rng.integers(0, side, lines)) for side in (height, width))
    of_row = np.searchsorted(rows, np.arange(height), side="right")
    of_column = np.searchsorted(columns, np.arange(width), side="right")
    levels = rng.integers(0, 256, (lines + 1, lines + 1))
    for number in range(4):
        levels = levels if still else rng.integers(0, 256, (lines + 1, lines + 1))
        recorder.see(number, levels[of_row][:, of_column].astype(np.uint8))
    found = recorder.finish()  # its record refuses panes without an area
    assert (found.share > 0).all()


@pytest.mark.parametrize("count", [2, 3, BLOCK, BLOCK + 5, 2 * BLOCK + 1, 40])
def test_every_keyframe_has_its_pane_and_few_pictures_are_held(count: int) -> None:
    shown, _, box = planted(3)
    recorder = PaneRecorder(lambda _luma, _quality: True)
    held = 0
    for number in range(count):
        recorder.see(3 * number, shown[number % len(shown)])
        held = max(held, len(recorder._held))
    found = recorder.finish()
    assert held <= BLOCK + BLOCK // 2
    assert sorted(set(found.keyframe.tolist())) == ([3 * n for n in range(count)] if count >= 3 else [])
    assert all(found.share < 0.81)
    if count >= 3:
        top, bottom, left, right = box
        wanted = np.array([left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT])
        assert np.abs(found.box[:: len(found.box) // count] / 65535 - wanted).min(axis=0).max() < 0.01


def test_pictures_of_another_size_begin_anew_and_silent_panes_are_left_out() -> None:
    shown, _, _ = planted(3)
    larger = [np.asarray(cv2.resize(p, (480, 270)), np.uint8) for p in shown]
    recorder = PaneRecorder(lambda _luma, _quality: True)
    for number, picture in enumerate([*shown[:4], *larger[:4]]):
        recorder.see(number, picture)
    assert set(recorder.finish().keyframe.tolist()) == set(range(8))
    silent = PaneRecorder(lambda _luma, _quality: False)
    for number, picture in enumerate(shown):
        silent.see(number, picture)
    assert len(silent.finish().keyframe) == 0


# ---- looked up -------------------------------------------------------------------------------------------------------


def in_panes(codes: Sequence[U8], keyframes: Sequence[int]) -> Panes:
    """Return panes of a quarter of the picture whose eight variants are each `codes[i]` with the variant's number."""
    turned = np.stack([np.stack([one ^ np.uint8(31 * v) for v in range(N_DIHEDRAL)]) for one in codes])
    box = np.tile(np.array([0, 0, 32768, 32768], np.uint16), (len(codes), 1))
    return Panes(np.array(keyframes, np.int64), box, turned)


def shard_of(videos: Sequence[Signatures]) -> ShardCodes:
    """Return known videos as a shard holds them."""
    each = [len(one.pts_seconds) for one in videos]
    codes = np.concatenate([one.pdq[:, 0] for one in videos])
    raw = np.stack([np.frombuffer(bytes.fromhex(one.video_id), np.uint8) for one in videos])
    return ShardCodes(
        VideoIds(raw), np.repeat(np.arange(len(videos), dtype=np.int32), each),
        np.concatenate([one.pts_seconds for one in videos]), codes, codes, np.zeros(len(codes), np.bool_),
        np.full(len(codes), 90, np.uint8), np.ones(len(codes), np.bool_),
    )  # fmt: skip


def query_of(known: Signatures, *, keyframes: Sequence[int], variant: int = 0, flips: int = 0) -> Signatures:
    """Return a query of other pictures with the keyframes of `known` in a pane, turned, some bits of each flipped."""
    codes = known.pdq[list(keyframes), 0].copy()
    codes[:, : flips // 8] ^= 255
    base = signatures(900, n=len(known.pts_seconds))
    panes = in_panes([one ^ np.uint8(31 * variant) for one in codes], keyframes)
    return replace(base, informative=np.ones(len(base.pts_seconds), np.bool_), panes=panes)


def test_codes_of_panes_are_looked_up_in_the_order_of_their_keyframes_and_can_be_left_out() -> None:
    query = query_of(signatures(1), keyframes=(1, 3))
    found = collect_codes([query, query])
    assert (np.diff(found.video) >= 0).all()
    for video in (0, 1):
        assert (np.diff(found.keyframe[found.video == video]) >= 0).all()
    paned = (found.variant >= PANE) & (found.variant < NEGATIVE)
    assert np.unique(found.keyframe[paned]).tolist() == [1, 3]
    assert int(paned.sum()) == 2 * 2 * N_DIHEDRAL
    one = query.panes.pdq[0, 5]
    assert (found.codes[(found.keyframe == 1) & (found.variant == PANE + 5)][0] == one).all()
    without = collect_codes([query, query], apart=False)
    assert not (without.variant >= PANE).any()
    assert len(without.codes) == int((found.variant < PANE).sum())


def test_what_a_pane_meets_is_ranked_apart_from_what_the_picture_meets() -> None:
    known, other = signatures(1), signatures(2)
    query = query_of(known, keyframes=range(6), variant=3)
    whole = replace(query, pdq=other.pdq, pdq_inner=other.pdq_inner)
    hits = match_shard(shard_of([known, other]), collect_codes([whole]), SETTINGS.matching)
    (found,) = rank_candidates([hits], [6], n_known_videos=2, settings=SETTINGS.matching)
    assert [one.known_video_id for one in found.ranked] == [other.video_id]
    assert [one.known_video_id for one in found.in_panes] == [known.video_id]
    assert found.in_panes[0].variants[0] == 3
    # the same known video by both: the pane's better match does not displace the picture's
    both = replace(whole, panes=query_of(other, keyframes=range(6)).panes)
    hits = match_shard(shard_of([known, other]), collect_codes([both]), SETTINGS.matching)
    (found,) = rank_candidates([hits], [6], n_known_videos=2, settings=SETTINGS.matching)
    assert [one.known_video_id for one in found.ranked] == [other.video_id]
    assert found.ranked[0].keyframes == found.in_panes[0].keyframes == 6


def test_an_emblem_in_a_pane_makes_no_keyframe_common_and_names_nobody() -> None:
    emblem = signatures(1)
    bearers = [replace(signatures(number), pdq=emblem.pdq) for number in range(10, 60)]
    query = query_of(emblem, keyframes=range(6))
    for most in (2000, 5):  # as many as there are, and more than may be returned
        matching = SETTINGS.matching.model_copy(update={"max_hits_per_keyframe": most})
        hits = match_shard(shard_of(bearers), collect_codes([query]), matching)
        (found,) = rank_candidates([hits], [6], n_known_videos=50, settings=matching)
        assert not found.common.any()
        assert found.in_panes == ()


# ---- named -----------------------------------------------------------------------------------------------------------


def named(
    query: Signatures, known: KnownFrames, *, variant: int = 0, common: Sequence[int] = ()
) -> list[tuple[float, float]]:
    marked = np.isin(np.arange(len(query.pts_seconds)), common)
    found = named_along_lines(
        PANE, query, known, variants=(variant,), common=marked, matching=SETTINGS.matching, proof=SETTINGS.proof
    )
    for stretch in found:
        assert not stretch.proof.proven
        assert stretch.proof.why_not == PLAYS_IN_A_PART
        assert stretch.spatial_share == pytest.approx(0.25, abs=0.001)
        assert stretch.line.variant == variant
    return [(stretch.start_seconds, stretch.end_seconds) for stretch in found]


def known_frames(one: Signatures) -> KnownFrames:
    quality, informative = np.full(len(one.pts_seconds), 90, np.uint8), np.ones(len(one.pts_seconds), np.bool_)
    return KnownFrames(one.video_id, one.pts_seconds, one.pdq[:, 0], one.pdq[:, 0], quality, informative)


def test_panes_on_a_line_name_what_they_show_and_for_how_long() -> None:
    one = signatures(1)
    query = query_of(one, keyframes=(1, 2, 3), variant=2)
    wanted = [(float(query.start_seconds[1]), float(query.end_seconds[3]))]
    assert named(query, known_frames(one), variant=2) == wanted
    assert named(query_of(one, keyframes=(1, 2, 3), flips=24), known_frames(one)) == wanted
    assert named(query_of(one, keyframes=(1, 2, 3), flips=40), known_frames(one)) == []
    assert named(query, known_frames(one), variant=4) == []
    assert named(query, known_frames(signatures(2)), variant=2) == []
    assert named(query, known_frames(one), variant=2, common=(1, 2)) == []
    silent = replace(query, informative=~np.isin(np.arange(6), (2, 3)))
    assert named(silent, known_frames(one), variant=2) == []


def test_moments_in_another_order_name_nothing() -> None:
    one = signatures(1, n=12)
    slow = replace(known_frames(one), pts_seconds=one.pts_seconds * 20)
    forwards, backwards = (query_of(one, keyframes=range(12)) for _ in range(2))
    backwards = replace(backwards, panes=in_panes(list(one.pdq[::-1, 0]), range(12)))
    assert named(forwards, known_frames(one))
    assert named(backwards, slow) == []


# ---- made footage ----------------------------------------------------------------------------------------------------

SIZE = {"width": 640, "height": 360}
KNOWN, OTHER = 71, 72


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SignedVideo]:
    """Return two known clips, and one of them at 30 % of the sides and in one half of the picture of new footage."""
    folder: Path = tmp_path_factory.mktemp("panes")
    made = {
        str(seed): make_video.make_clip(folder / f"{seed}.mp4", seed, 8.0, width=320, height=180)
        for seed in (KNOWN, OTHER)
    }
    for edit in ("pip_30", "split_screen"):
        pairs = zip(
            make_video.frames(KNOWN, 8.0, width=320, height=180), make_video.frames(500, 8.0, **SIZE), strict=True
        )
        edited = itertools.starmap(lambda frame, host, edit=edit: make_edit(edit, 5, host=host)(frame), pairs)
        made[edit] = make_video.edited(folder / f"{edit}.mp4", edited, crf=28)
    return {name: sign(path) for name, path in made.items()}


def judged_by_panes(query: SignedVideo, known: Sequence[SignedVideo]) -> Verdict:
    """Return the verdict on a query whose candidates are those of its frames and panes, without local descriptors."""
    hits = match_shard(
        shard_of([one.signatures for one in known]), collect_codes([query.signatures]), SETTINGS.matching
    )
    (found,) = rank_candidates(
        [hits], [len(query.signatures.pts_seconds)], n_known_videos=2, settings=SETTINGS.matching
    )
    sides = {one.signatures.video_id: KnownSide(as_known(one)) for one in known}
    return judge_signed(query, found, [], sides, SETTINGS)


@pytest.mark.parametrize(("edit", "share"), [("pip_30", 0.09), ("split_screen", 0.25)])
def test_known_footage_in_a_part_of_new_footage_is_named_with_its_share(
    clips: dict[str, SignedVideo], edit: str, share: float
) -> None:
    verdict = judged_by_panes(clips[edit], [clips[str(KNOWN)], clips[str(OTHER)]])
    assert (verdict.verdict, verdict.best_known_id) == ("same_scene", clips[str(KNOWN)].signatures.video_id)
    assert verdict.known_seconds == 0
    shown = [segment for segment in verdict.segments if segment.known_video_id]
    assert {segment.known_video_id for segment in shown} == {clips[str(KNOWN)].signatures.video_id}
    assert sum(segment.end_seconds - segment.start_seconds for segment in shown) > 4.0
    for segment in shown:
        assert (segment.kind, segment.proof, segment.why_not) == ("same_scene", "none", PLAYS_IN_A_PART)
        assert segment.spatial_share == pytest.approx(share, abs=0.02)
        assert segment.known_start_seconds == pytest.approx(segment.start_seconds, abs=1.0)
    assert judged_by_panes(clips[edit], [clips[str(OTHER)]]).best_known_id is None


def test_a_known_half_of_the_picture_spares_nobody_a_look_at_the_other() -> None:
    def seconds(share: float) -> dict[str, float]:
        segment = Segment(0.0, 8.0, "known", "a" * 64, 0.0, 8.0, 1.0, False, share, "time", 6, 4.0)
        verdict = Verdict(
            "b" * 64,
            "partly_known",
            Reason.PLAYS_INSIDE_FRAME,
            0.0,
            0.0,
            8.0,
            0.0,
            9.0,
            9.0,
            0.1,
            6,
            "a" * 64,
            (segment,),
        )
        return dict(_seconds({"b" * 64: Judged(verdict)}, {}, SETTINGS))

    assert (seconds(0.25)["to_view"], seconds(0.25)["saved"]) == (9.0, 0.0)
    assert (seconds(1.0)["to_view"], seconds(1.0)["saved"]) == (1.0, 8.0)


def test_compare_shows_what_plays_in_a_pane(clips: dict[str, SignedVideo]) -> None:
    found, verdict = compared(clips["pip_30"], clips[str(KNOWN)], SETTINGS)
    assert found
    assert all(stretch.spatial_share < 0.2 for stretch in found)
    assert verdict.verdict in ("partly_known", "same_scene")
    assert compared(clips["pip_30"], clips[str(OTHER)], SETTINGS)[0] == []
