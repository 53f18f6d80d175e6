"""Another video between the pictures of a known one: where a decoder skips it, by turns with it, now and then."""

import os
from pathlib import Path
from typing import Any

import av
import make_video
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty.between import APART_SHARE, around, share_apart
from videonovelty.comparing import compared
from videonovelty.decode import open_video, reader
from videonovelty.decode.skipped import BY_TURNS as MOST_APART
from videonovelty.decode.skipped import SkippedPicturesError, SkippedWatch, TurnsWatch, is_referred_to
from videonovelty.decode.writer import write_video
from videonovelty.records import BY_TURNS, U8, Coverage, Frame, SignedVideo
from videonovelty.settings import DecodeSettings

FPS = 25.0
SECONDS = 8.0
ONE_B_FRAME = {"x264-params": "bframes=1:b-adapt=0:b-pyramid=none:scenecut=0:weightp=0:keyint=250"}
NO_B_FRAMES = {"x264-params": "bframes=0:scenecut=0:keyint=250"}


def _known(seconds: float = SECONDS) -> list[U8]:
    return list(make_video.frames(21, seconds, fps=FPS))


def _new(count: int) -> list[U8]:
    """Return pictures of something else: bright shapes on black, or black ones on white."""
    at = np.mgrid[: make_video.HEIGHT, : make_video.WIDTH]
    pictures = []
    for number in range(count):
        disc = (at[0] - 48 - 20 * np.sin(number / 9)) ** 2 + (at[1] - 80 - 40 * np.cos(number / 7)) ** 2 < 900
        pictures.append(np.repeat(np.where(disc, 250, 8).astype(np.uint8)[..., None], 3, axis=2))
    return pictures


def _by_turns(count: int, every: int) -> list[U8]:
    """Return known pictures with a new one in place of every so manieth, the known ones twice where they are halved."""
    new = iter(_new(count))
    known = _known(count / FPS)
    return [next(new) if number % every == every // 2 else known[number] for number in range(count)]


def _in_turn() -> list[U8]:
    """Return the known pictures, a new one after each."""
    there = _known()
    return [shown for pair in zip(there, _new(len(there)), strict=True) for shown in pair]


def _write(path: Path, pictures: list[U8], *, fps: float = FPS, skipped: bool = False) -> Path:
    options = ONE_B_FRAME if skipped else NO_B_FRAMES
    write_video(path, pictures, fps=fps, crf=22, gop=250, codec_options=options)
    return path


def _looked_at(path: Path, *, watch: bool = False) -> tuple[list[Frame], Coverage]:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, DecodeSettings(), name=path.name) as video:
            frames = list(video.frames("nonref", watch_skipped=watch))
            return frames, video.coverage()
    finally:
        os.close(fd)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> SignedVideo:
    return sign(make_video.make_clip(tmp_path_factory.mktemp("known") / "known.mp4", 21, SECONDS, fps=FPS))


# ---- between ----


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(-2, 2), st.integers(-2, 2), st.floats(0.0, 1.0))
def test_what_moves_a_little_or_fades_is_between(seed: int, down: int, right: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    large = np.kron(rng.integers(0, 256, (6, 8)), np.ones((8, 10))).astype(np.uint8)
    before, after = large[4:40, 8:72], np.roll(large, (down, right), (0, 1))[4:40, 8:72]
    halfway = np.roll(large, (round(share * down), round(share * right)), (0, 1))[4:40, 8:72]
    faded = np.rint((1 - share) * before + share * large[::-1, ::-1][4:40, 8:72]).astype(np.uint8)
    for shown, last in ((before, before), (halfway, after), (faded, large[::-1, ::-1][4:40, 8:72])):
        assert share_apart(np.ascontiguousarray(shown), around(before), around(np.ascontiguousarray(last))) <= 0.01


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 36))
def test_what_is_brighter_or_darker_than_both_is_apart(level: int, other: int, rows: int) -> None:
    neighbour = np.full((36, 64), level, np.uint8)
    shown = neighbour.copy()
    shown[:rows] = other
    expected = rows / 36 if abs(int(other) - level) >= 20 else 0.0
    assert share_apart(shown, around(neighbour), around(neighbour)) == pytest.approx(expected)


# ---- pictures by turns ----


@pytest.mark.parametrize("every", [2, 3])
def test_pictures_by_turns_count_as_undecoded_from_the_first_to_the_last(tmp_path: Path, every: int) -> None:
    pictures = [*_known(2.0), *_by_turns(50, every), *_known(2.0)]
    frames, coverage = _looked_at(_write(tmp_path / "turns.mp4", pictures))
    assert len(frames) == len(pictures)
    assert BY_TURNS in coverage.notes
    assert len(coverage.undecoded) == 1
    np.testing.assert_allclose(coverage.undecoded[0], [2.0, 4.0], atol=0.13)


def test_few_pictures_of_something_else_are_not_by_turns() -> None:
    watch = TurnsWatch()
    plain, other = np.full((36, 64), 60, np.uint8), np.full((36, 64), 200, np.uint8)
    found = []
    for number in range(400):
        often = number < 200 and number % 4 == 0  # six a second, and then ten
        seldom = number >= 200 and number % 2 == 0
        found.append(watch.by_turns(number / FPS, other if often or seldom else plain))
    assert found[:200] == [None] * 200
    first, last = next(one for one in found if one is not None)
    assert last - first <= 1.1
    assert found[-1] is not None
    assert MOST_APART == 8


def test_a_video_by_turns_with_a_known_one_is_not_known(tmp_path: Path, known: SignedVideo) -> None:
    plain = sign(_write(tmp_path / "plain.mp4", _known()))
    assert compared(plain, known, SETTINGS)[1].verdict == "known"
    # every second of 50 pictures a second: the ticks of the known video see the known ones alone
    verdict = compared(sign(_write(tmp_path / "turns.mp4", _in_turn(), fps=50.0)), known, SETTINGS)[1]
    assert verdict.verdict != "known"
    assert verdict.needs_review
    assert verdict.known_seconds <= 0.2
    assert {one.why_not for one in verdict.segments if one.kind == "undecoded"} == {BY_TURNS}


# ---- what a pass leaves out ----


def test_a_video_in_skipped_pictures_is_found(tmp_path: Path, known: SignedVideo) -> None:
    path = _write(tmp_path / "hidden.mp4", _in_turn(), fps=50.0, skipped=True)
    frames, _ = _looked_at(path)
    assert len(frames) < 0.75 * 2 * SECONDS * FPS  # without samples the new pictures are skipped
    with pytest.raises(SkippedPicturesError):
        _looked_at(path, watch=True)
    signed = sign(path)
    assert signed.coverage.passes == ("nonref", "all")
    assert signed.coverage.frames == 2 * SECONDS * FPS
    verdict = compared(signed, known, SETTINGS)[1]
    assert verdict.verdict != "known"
    assert verdict.known_seconds <= 0.2


def test_samples_of_an_ordinary_video_are_between_their_neighbours(tmp_path: Path) -> None:
    # slow shapes on a wall, coded with pictures nothing refers to
    at = np.mgrid[: make_video.HEIGHT, : make_video.WIDTH]
    pictures = []
    for number in range(200):
        wall = 90 + 30 * np.sin(at[0] / 7) + 20 * np.cos(at[1] / 5)
        wall[(at[0] - 40) ** 2 + (at[1] - 20 - 0.5 * number) ** 2 < 200] = 220
        pictures.append(np.repeat(np.clip(wall, 0, 255).astype(np.uint8)[..., None], 3, axis=2))
    path = _write(tmp_path / "plain.mp4", pictures, skipped=True)
    skipping, _ = _looked_at(path)
    sampled, coverage = _looked_at(path, watch=True)
    assert len(skipping) <= len(sampled) < 200
    assert coverage.whole


def test_one_clear_sample_or_two_less_clear_ones_are_enough() -> None:
    def shown(parts: list[float]) -> list[bool]:
        watch, plain = SkippedWatch(), np.full((36, 64), 60, np.uint8)
        watch.shows_something_else(plain)
        found = []
        for part in parts:
            other = plain.copy()
            other[: round(part * 36)] = 200
            watch.add_sample(other)
            found.append(watch.shows_something_else(plain))
        return found

    assert shown([0.0, 0.0, 0.0]) == [False] * 3
    assert shown([0.5]) == [True]
    assert shown([0.03, 0.0, 0.03]) == [False, False, True]
    assert APART_SHARE > 0.03


def test_one_packet_in_eight_is_picked_whatever_it_holds() -> None:
    rng = np.random.default_rng(4)
    picked = [SkippedWatch().picks(rng.bytes(200)) for _ in range(4000)]
    assert 400 <= sum(picked) <= 600


# ---- now and then ----


@pytest.mark.parametrize("count", [1, 2, 3])
def test_what_is_put_in_between_again_and_again_has_keyframes(tmp_path: Path, known: SignedVideo, count: int) -> None:
    pictures, new = _known(), _new(200)
    starts = range(20, 180, 10)  # every 0.4 s: no change stands out from those around it
    for start in starts:
        pictures[start : start + count] = new[start : start + count]
    signed = sign(_write(tmp_path / f"often{count}.mp4", pictures))
    at = signed.signatures.pts_seconds
    shown = [any(start / FPS - 0.01 <= t < (start + count) / FPS - 0.01 for t in at) for start in starts]
    assert sum(shown) >= len(starts) - 1
    verdict = compared(signed, known, SETTINGS)[1]
    hidden = sum(
        one.kind == "known" and one.start_seconds <= (start + 0.5) / FPS < one.end_seconds
        for start in starts
        for one in verdict.segments
    )
    assert hidden <= 2
    assert verdict.verdict != "known"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"codec": "libx264", "codec_options": {"x264-params": "bframes=3:b-pyramid=normal:scenecut=0"}}),
        ("a.ts", {"codec": "libx264", "codec_options": {"x264-params": "bframes=3:b-pyramid=none:scenecut=0"}}),
        ("a.mkv", {"codec": "libx265", "codec_options": {"x265-params": "bframes=4:b-pyramid=1:log-level=none"}}),
        ("b.ts", {"codec": "libx265", "codec_options": {"x265-params": "bframes=4:b-pyramid=1:log-level=none"}}),
    ],
)
def test_what_nothing_refers_to_is_what_the_decoder_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(reader, "LARGE_PACKET", float("inf"))
    path = tmp_path / name
    write_video(path, _known(3.0), fps=FPS, crf=28, gop=250, **options)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        said = [
            is_referred_to(bytes(packet), context.name, bytes(context.extradata or b""))
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]
    assert None not in said
    assert 0 < sum(map(bool, said)) < len(said) == 75
    frames, _ = _looked_at(path)
    assert len(frames) == sum(map(bool, said))
    sampled, _ = _looked_at(path, watch=True)  # the samples are looked at, and are no frames
    assert [one.pts_seconds for one in sampled] == [one.pts_seconds for one in frames]


@given(st.binary(max_size=64), st.sampled_from(["h264", "hevc", "vp9"]), st.binary(max_size=30))
def test_any_bytes_have_an_answer(packet: bytes, codec: str, extradata: bytes) -> None:
    assert is_referred_to(packet, codec, extradata) in (True, False, None)
