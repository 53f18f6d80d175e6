"""Decoding: right pictures at right times, and nothing that was not looked at passes for seen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videonovelty import footage
from videonovelty.decode import OpenVideo, open_video, reader
from videonovelty.decode.timeline import FrameClock, StreamLedger, merged, sane_frame_seconds
from videonovelty.decode.writer import write_video
from videonovelty.errors import (
    CorruptVideoError,
    NoVideoStreamError,
    Reason,
    RefusedVideoError,
    UnreadableVideoError,
    VideoError,
)
from videonovelty.records import Coverage, Frame
from videonovelty.settings import DecodeSettings

U8 = npt.NDArray[np.uint8]

REPO_ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("VIDEONOVELTY_SHARED", REPO_ROOT.parent / "shared"))
FPS = 25


def pictures(count: int, *, width: int = 128, height: int = 96, seed: int = 0) -> Iterator[U8]:
    """Yield coarse random texture that slides right, its level a clock: picture i is brighter than picture i − 1."""
    rng = np.random.default_rng(seed)
    texture = np.kron(rng.integers(0, 90, (height // 16, width // 8)), np.ones((16, 16))).astype(np.uint8)
    for i in range(count):
        level = np.uint8(20 + 100 * i // max(count - 1, 1))
        yield np.repeat((texture[:, i % width : i % width + width] + level)[:, :width, None], 3, axis=2)


def clip(path: Path, count: int = 50, *, fps: float = FPS, seed: int = 0, **options: Any) -> Path:
    size = {k: options.pop(k) for k in ("width", "height") if k in options}
    write_video(path, pictures(count, seed=seed, **size), fps=fps, **options)
    return path


@contextmanager
def opened(path: Path, **settings: Any) -> Iterator[OpenVideo]:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, DecodeSettings(**settings), name=path.name) as video:
            yield video
    finally:
        os.close(fd)


def decoded(path: Path, pass_name: str = "nonref", **settings: Any) -> tuple[list[Frame], Coverage]:
    with opened(path, **settings) as video:
        frames = list(video.frames(pass_name))
        return frames, video.coverage()


def times(frames: Sequence[Frame]) -> list[float]:
    return [frame.pts_seconds for frame in frames]


def assert_nothing_undecoded(coverage: Coverage) -> None:
    assert coverage.undecoded.tolist() == []
    assert coverage.packet_errors == 0
    assert coverage.decoded_seconds == pytest.approx(coverage.duration_seconds)


# frames and their times


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.ts", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.mpg", {"codec": "mpeg2video"}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("b.webm", {"codec": "libvpx"}),
        ("c.mp4", {"codec": "libx265"}),
        ("d.mov", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
        ("e.mp4", {"pixel_format": "yuv420p10le"}),
        ("f.mp4", {"pixel_format": "gray"}),
        ("g.mp4", {"interlaced": True}),
        ("h.mov", {"codec": "qtrle", "pixel_format": "argb"}),
        ("i.flv", {"codec": "flv"}),
    ],
)
def test_every_frame_is_decoded_at_its_time_in_every_container(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    frames, coverage = decoded(clip(tmp_path / name, 50, **options), "all")
    assert times(frames) == pytest.approx([i / FPS for i in range(50)], abs=0.0011)  # Matroska counts milliseconds
    assert coverage.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert coverage.longest_unseen_seconds == 0.0
    assert_nothing_undecoded(coverage)
    levels = [float(frame.luma(32, 24).mean()) for frame in frames]
    assert levels[-1] - levels[0] > 80
    assert np.corrcoef(levels, range(50))[0, 1] > 0.99


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mp4", "libx265"), ("a.ts", "mpeg2video"), ("a.webm", "libvpx-vp9")]
)
def test_skipping_unreferenced_frames_changes_no_bit_of_the_others(tmp_path: Path, name: str, codec: str) -> None:
    path = clip(tmp_path / name, 60, codec=codec, gop=30)
    every = {frame.pts_seconds: frame.luma(64, 64) for frame in decoded(path, "all")[0]}
    some = decoded(path, "nonref")[0]
    assert 0 < len(some) <= len(every)
    for frame in some:
        assert np.array_equal(frame.luma(64, 64), every[frame.pts_seconds])


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mp4", "libx265"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9"), ("b.webm", "libvpx")],
)
def test_the_intra_pass_returns_the_intra_frames_of_the_whole_decode(tmp_path: Path, name: str, codec: str) -> None:
    path = clip(tmp_path / name, 60, codec=codec, gop=20)
    expected = [frame.pts_seconds for frame in decoded(path, "all")[0] if frame.is_intra]
    intra, coverage = decoded(path, "intra")
    assert times(intra) == expected
    assert len(intra) >= 3
    assert all(frame.is_intra for frame in intra)
    between = np.diff([*expected, 60 / FPS]) - 1 / FPS
    assert coverage.longest_unseen_seconds == pytest.approx(max(between), abs=0.05)
    assert coverage.undecoded.tolist() == []


def test_raw_streams_without_timestamps_are_timed_by_counting(tmp_path: Path) -> None:
    for pass_name in ("all", "nonref"):
        frames, coverage = decoded(clip(tmp_path / "a.h264", 50, container="h264"), pass_name)
        assert times(frames) == pytest.approx([i / FPS for i in range(50)])
        assert_nothing_undecoded(coverage)


def test_varying_frame_rate_is_no_gap(tmp_path: Path) -> None:
    shown = [0.0, 0.04, 0.5, 3.0, 3.1, 9.0]
    write_video(tmp_path / "a.mkv", pictures(6), fps=FPS, pts_seconds=shown)
    frames, coverage = decoded(tmp_path / "a.mkv", "all")
    assert times(frames) == pytest.approx(shown)
    assert coverage.longest_unseen_seconds == 0.0
    assert_nothing_undecoded(coverage)


def test_an_animated_gif_is_a_video(tmp_path: Path) -> None:
    frames, coverage = decoded(clip(tmp_path / "a.gif", 20, fps=10))
    assert times(frames) == pytest.approx([i / 10 for i in range(20)])
    assert coverage.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert_nothing_undecoded(coverage)


def test_joined_recordings_keep_one_rising_timeline(tmp_path: Path) -> None:
    first, second = clip(tmp_path / "a.ts", 50), clip(tmp_path / "b.ts", 50, seed=1, width=160, height=128)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    frames, coverage = decoded(joined, "all")
    assert len(frames) == 100
    assert min(np.diff(times(frames))) > 0
    assert frames[-1].pts_seconds == pytest.approx(4.0 - 1 / FPS, abs=0.1)
    assert (frames[0].width, frames[-1].width) == (128, 160)
    assert frames[-1].luma(64, 64).shape == (64, 64)
    assert coverage.duration_seconds == pytest.approx(4.0, abs=0.1)


def test_frames_stay_valid_after_the_video_is_closed(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 50)
    frames, _ = decoded(path, "all")
    again, _ = decoded(path, "all")
    for one, other in zip(frames, again, strict=True):
        assert np.array_equal(one.luma(48, 32), other.luma(48, 32))
        assert np.array_equal(one.thumb, other.thumb)
        assert np.array_equal(one.sketch(), other.sketch())


def test_a_frame_offers_thumb_sketch_and_luma(tmp_path: Path) -> None:
    frame = decoded(clip(tmp_path / "a.mp4", 5))[0][0]
    for image, shape in ((frame.thumb, (36, 64)), (frame.sketch(), (72, 128)), (frame.luma(50, 20), (20, 50))):
        assert image.shape == shape
        assert image.dtype == np.uint8
        assert image.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv420p10le", "yuv444p"])
def test_luma_uses_the_full_range(tmp_path: Path, pixel_format: str) -> None:
    half = np.zeros((64, 64, 3), np.uint8)
    half[:, 32:] = 255
    write_video(tmp_path / "a.mp4", [half] * 5, fps=FPS, pixel_format=pixel_format, crf=10)
    for image in (decoded(tmp_path / "a.mp4")[0][0].luma(16, 16), decoded(tmp_path / "a.mp4")[0][0].thumb):
        assert image[:, : image.shape[1] // 4].max() <= 4
        assert image[:, -image.shape[1] // 4 :].min() >= 251


# picture geometry


def corner_picture(width: int = 96, height: int = 64) -> U8:
    """Return a picture no turn or mirror leaves as it is: bright top left, grey top right, black below."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255
    picture[: height // 2, width // 2 :] = 128
    return picture


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_are_turned_upright(tmp_path: Path, rotation: int) -> None:
    write_video(tmp_path / "a.mp4", [corner_picture()] * 5, fps=FPS, rotation=rotation, crf=10)
    with opened(tmp_path / "a.mp4") as video:
        frame = next(iter(video.frames()))
        assert (frame.width, frame.height) == (96, 64)
        for image in (frame.luma(12, 8), frame.thumb, frame.sketch()):
            rows, columns = image.shape
            assert image[rows // 4, columns // 4] > 240
            assert 110 < image[rows // 4, 3 * columns // 4] < 145
            assert image[3 * rows // 4].max() < 20


def write_stream(
    path: Path, *, hflip: bool = False, aspect: Fraction | None = None, width: int = 96, height: int = 64
) -> Path:
    """Write a clip with stream properties the project's own writer has no use for."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if hflip:
            stream.set_display_rotation(0, hflip=True)
        for _ in range(10):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(corner_picture(width, height), format="rgb24")))
        output.mux(stream.encode(None))
    return path


def test_mirrored_pictures_are_shown_as_a_player_shows_them(tmp_path: Path) -> None:
    image = decoded(write_stream(tmp_path / "a.mp4", hflip=True))[0][0].luma(12, 8)
    assert image[2, 9] > 240
    assert 110 < image[2, 2] < 145


def test_sizes_are_in_square_pixels(tmp_path: Path) -> None:
    frame = decoded(write_stream(tmp_path / "a.mp4", aspect=Fraction(16, 11)))[0][0]
    assert (frame.width, frame.height) == (140, 64)


# several streams


def write_two(path: Path, *, second: str, counts: tuple[int, int] = (50, 25)) -> Path:
    """Write two streams side by side: `second` is a codec of moving pictures, or `cover` or `sound`."""
    with av.open(str(path), "w") as output:
        first: Any = output.add_stream("libx264", rate=FPS)
        first.width, first.height, first.pix_fmt = 128, 96, "yuv420p"
        other: Any
        if second == "sound":
            other = output.add_stream("aac", rate=48000)
        else:
            other = output.add_stream(second, rate=FPS)
            other.width, other.height, other.pix_fmt = 128, 96, "yuv420p"
        for picture in pictures(counts[0]):
            output.mux(first.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(first.encode(None))
        if second == "sound":
            for i in range(counts[1] * 48000 // FPS // 1024):
                quiet = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                quiet.sample_rate, quiet.pts = 48000, i * 1024
                output.mux(other.encode(quiet))
        else:
            for picture in pictures(counts[1], seed=7):
                output.mux(other.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(other.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_second_video_stream_cannot_hide(tmp_path: Path, name: str) -> None:
    frames, coverage = decoded(write_two(tmp_path / name, second="mpeg4"), "all")
    assert len(frames) == 75
    assert times(frames) == pytest.approx([i / FPS for i in range(75)], abs=0.05)
    assert any("2 video streams" in note for note in coverage.notes)
    assert coverage.duration_seconds == pytest.approx(3.0, abs=0.1)
    assert coverage.undecoded.tolist() == []
    alone = decoded(clip(tmp_path / "b.mp4", 25, seed=7), "all")[0]
    assert np.abs(frames[50].luma(16, 12).astype(int) - alone[0].luma(16, 12)).mean() < 6


def test_windows_reach_into_the_second_stream(tmp_path: Path) -> None:
    with opened(write_two(tmp_path / "a.mp4", second="mpeg4")) as video:
        whole = list(video.frames("all"))
        part = list(video.frames("all", start_seconds=2.2, end_seconds=2.6))
        assert times(part) == pytest.approx([t for t in times(whole) if 2.2 <= t < 2.6])


@pytest.mark.parametrize(
    ("settings", "word"), [({"max_video_streams": 1}, "more video streams"), ({"codecs": ("h264",)}, "codec mpeg4")]
)
def test_a_video_stream_left_out_counts_as_undecoded(tmp_path: Path, settings: dict[str, Any], word: str) -> None:
    frames, coverage = decoded(write_two(tmp_path / "a.mp4", second="mpeg4"), "all", **settings)
    assert len(frames) == 50
    assert coverage.undecoded == pytest.approx(np.array([[2.0, 3.0]]), abs=0.1)
    assert coverage.longest_unseen_seconds == pytest.approx(1.0, abs=0.1)
    assert any(word in what for what in coverage.left_out)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_sound_longer_than_the_picture_is_no_gap(tmp_path: Path, name: str) -> None:
    frames, coverage = decoded(write_two(tmp_path / name, second="sound", counts=(50, 125)), "all")
    assert len(frames) == 50
    assert coverage.duration_seconds == pytest.approx(2.0, abs=0.1)
    assert_nothing_undecoded(coverage)


# windows


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi", "a.h264"])
def test_a_window_holds_the_same_frames_as_the_whole_decode(tmp_path: Path, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = clip(tmp_path / name, 250, gop=25, codec=codec, container="h264" if name.endswith("h264") else None)
    with opened(path) as video:
        whole = {frame.pts_seconds: frame.thumb for frame in video.frames("all")}
        before = video.coverage()
        for start, end in ((7.3, 8.1), (0.0, 0.3), (4.0, 4.2), (9.9, 99.0)):
            expected = [t for t in whole if start <= t < end]
            window = list(video.frames("all", start_seconds=start, end_seconds=end))
            assert times(window) == pytest.approx(expected)
            for frame, t in zip(window, expected, strict=True):
                assert np.array_equal(frame.thumb, whole[t])
        assert video.coverage().frames == before.frames
    with opened(path) as video:  # the first thing asked of a video
        assert times(list(video.frames("all", start_seconds=7.3, end_seconds=8.1))) == pytest.approx(
            [t for t in whole if 7.3 <= t < 8.1]
        )


def test_a_new_pass_ends_the_one_before(tmp_path: Path) -> None:
    with opened(clip(tmp_path / "a.mp4", 50)) as video:
        first = video.frames("all")
        next(first)
        assert len(list(video.frames("all"))) == 50
        assert list(first) == []


# damage


def test_a_cut_off_file_reports_its_missing_tail(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.avi", "c.mp4"):
        options: dict[str, Any] = {"codec": "mpeg4"} if name == "b.avi" else {}
        if name == "c.mp4":
            options["container_options"] = {"movflags": "+faststart"}
        path = clip(tmp_path / name, 250, gop=25, **options)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 5])
        frames, coverage = decoded(path)
        last = frames[-1].pts_seconds
        assert 1.0 < last < 8.0
        assert coverage.undecoded[-1].tolist() == pytest.approx([last, 10.0], abs=0.4)
        assert coverage.duration_seconds == pytest.approx(10.0, abs=0.1)
        assert coverage.longest_unseen_seconds > 2.0


def test_damage_in_the_middle_costs_the_middle(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 250, codec="mpeg4", gop=12, container_options={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + len(data) // 10] = bytes(len(data) // 10)
    path.write_bytes(data)
    frames, coverage = decoded(path, "all")
    assert frames[-1].pts_seconds == pytest.approx(10.0 - 1 / FPS)
    assert coverage.packet_errors + coverage.corrupt_frames > 0 or len(coverage.undecoded)
    for start, end in coverage.undecoded:
        assert 3.0 < start < end < 8.0
        assert not [t for t in times(frames) if start + 1e-6 < t < end - 1e-6]


def test_one_bad_packet_costs_one_packet(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.avi", 100, codec="mjpeg", pixel_format="yuvj420p")
    data = bytearray(path.read_bytes())
    start = data.index(b"00dc", len(data) // 2)
    length = int.from_bytes(data[start + 4 : start + 8], "little")
    data[start + 8 : start + 8 + length] = b"\xff" * length
    path.write_bytes(data)
    frames, coverage = decoded(path, "all")
    assert len(frames) == 99
    assert coverage.packet_errors == 1
    assert coverage.undecoded.shape == (1, 2)
    start_seconds, end_seconds = coverage.undecoded[0]
    assert end_seconds - start_seconds == pytest.approx(1 / FPS, abs=1e-6)
    assert coverage.longest_unseen_seconds == pytest.approx(1 / FPS, abs=1e-6)


def test_long_runs_of_unreferenced_frames_are_decoded_after_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    long_runs = {"x264-params": "bframes=16:b-adapt=0:b-pyramid=none:scenecut=0:keyint=1000"}
    write_video(path, pictures(200), fps=10, codec_options=long_runs)
    frames, coverage = decoded(path, "nonref")
    assert max(np.diff(times(frames)[-100:])) == pytest.approx(0.1)
    assert any("every frame was decoded" in note for note in coverage.notes)
    assert any(end - start > 0.5 for start, end in coverage.undecoded)  # what was missed before it was noticed
    assert coverage.undecoded[-1][1] < 6.0


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("b.mp4", "libx265"), ("c.ts", "mpeg2video")])
def test_a_single_picture_of_something_else_is_looked_at_though_nothing_refers_to_it(
    tmp_path: Path, name: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"libx264": {"bf": "3"}, "mpeg2video": {"bf": "2"}}.get(codec, {"x265-params": "bframes=3:pools=none"})
    shot = [*footage.clip(3, 4.0, width=160, height=96, fps=25.0, shots=1)]
    other = next(iter(footage.clip(8, 1.0, width=160, height=96, fps=25.0)))
    missed_without = 0
    for at in range(40, 52):
        path = tmp_path / f"{at} {name}"
        write_video(path, [*shot[:at], other, *shot[at:]], fps=25.0, codec=codec, gop=100, codec_options=options)
        frames = times(decoded(path)[0])
        assert any(abs(seconds - at / 25.0) < 0.01 for seconds in frames), at
        with monkeypatch.context() as patch:
            patch.setattr(reader, "LARGE_PACKET", float("inf"))
            missed_without += not any(abs(seconds - at / 25.0) < 0.01 for seconds in times(decoded(path)[0]))
    assert missed_without > 0


def test_little_more_is_decoded_where_nothing_is_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, footage.clip(4, 12.0, width=160, height=96, fps=25.0, shots=4), fps=25.0, crf=26)
    found = len(decoded(path)[0])
    monkeypatch.setattr(reader, "LARGE_PACKET", float("inf"))
    skipping = len(decoded(path)[0])
    assert skipping <= found <= 1.03 * skipping < 0.8 * 300


def test_a_pass_left_early_leaves_the_rest_undecoded(tmp_path: Path) -> None:
    with opened(clip(tmp_path / "a.mp4", 100)) as video:
        for frame in video.frames("all"):
            if frame.pts_seconds > 0.9:
                break
        coverage = video.coverage()
    assert coverage.undecoded[-1].tolist() == pytest.approx([1.0, 4.0], abs=0.6)
    assert coverage.longest_unseen_seconds > 2.0


def test_frames_beyond_the_limit_are_undecoded(tmp_path: Path) -> None:
    frames, coverage = decoded(clip(tmp_path / "a.mp4", 100), "all", max_frames=40)
    assert len(frames) == 40
    assert coverage.undecoded[-1][1] == pytest.approx(4.0, abs=0.05)
    assert any("40 frames" in note for note in coverage.notes)


# refusals


def reason_of(path: Path, **settings: Any) -> Reason:
    with pytest.raises(VideoError) as caught:
        decoded(path, **settings)
    assert caught.value.path == path.name
    return caught.value.reason


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 10)
    assert reason_of(path, formats=("matroska",)) is Reason.REFUSED_FORMAT
    assert reason_of(path, codecs=("vp9",)) is Reason.REFUSED_CODEC
    assert reason_of(path, max_pixels=128 * 95) is Reason.REFUSED_SIZE
    with pytest.raises(RefusedVideoError, match="128 × 96"):
        decoded(path, max_pixels=100)


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"<html>no video</html>" * 50])
def test_other_bytes_are_not_a_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UnreadableVideoError) as caught:
        decoded(tmp_path / "a.mp4")
    assert caught.value.reason is Reason.NOT_A_VIDEO


def test_damage_is_not_taken_for_a_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's Matroska demuxer calls damage an input/output error, and those are tried again every night."""
    whole = bytearray(clip(tmp_path / "whole.mkv", 12).read_bytes())
    whole[whole.rindex(b"\x15\x49\xa9\x66")] = 0xFF  # the name of its Info element
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(whole)
    with pytest.raises(CorruptVideoError) as corrupt, opened(damaged):
        pass
    assert corrupt.value.reason == Reason.CORRUPT

    def failing(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(UnreadableVideoError) as failed, opened(damaged):
        pass
    assert failed.value.reason == Reason.IO_ERROR


def test_a_playlist_is_refused_before_it_leads_anywhere(tmp_path: Path) -> None:
    clip(tmp_path / "secret.ts", 10)
    (tmp_path / "a.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    )
    assert reason_of(tmp_path / "a.m3u8") in (Reason.REFUSED_FORMAT, Reason.NOT_A_VIDEO)


def test_sound_alone_has_no_video_stream(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream: Any = output.add_stream("aac", rate=48000)
        for i in range(10):
            quiet = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            quiet.sample_rate, quiet.pts = 48000, i * 1024
            output.mux(stream.encode(quiet))
        output.mux(stream.encode(None))
    with pytest.raises(NoVideoStreamError):
        decoded(tmp_path / "a.mp4")


def test_a_video_without_a_single_frame_is_corrupt(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.avi", 20, codec="mjpeg", pixel_format="yuvj420p")
    data = bytearray(path.read_bytes())
    start, end = data.index(b"movi"), data.index(b"idx1")
    position = data.index(b"00dc", start)
    while 0 <= position < end:
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        data[position + 8 : position + 8 + length] = b"\xff" * length
        position = data.find(b"00dc", position + 8 + length, end)
    path.write_bytes(data)
    with pytest.raises(CorruptVideoError):
        decoded(path)


def test_the_descriptor_stays_open_and_is_read_from_its_start(tmp_path: Path) -> None:
    fd = os.open(clip(tmp_path / "a.mp4", 10), os.O_RDONLY)
    os.lseek(fd, 100, os.SEEK_SET)
    for _ in range(2):
        with open_video(fd, DecodeSettings()) as video:
            assert len(list(video.frames("all"))) == 10
            assert len(list(video.frames("intra"))) == 1
            assert video.coverage().passes == ("all", "intra")
    os.close(fd)


def test_the_probe_says_what_the_container_claims(tmp_path: Path) -> None:
    with opened(clip(tmp_path / "a.mp4", 50, rotation=90)) as video:
        list(video.frames())
        assert (video.probe.codec, video.probe.width, video.probe.height) == ("h264", 96, 128)
        assert video.probe.frames_per_second == pytest.approx(FPS)
        assert video.probe.declared_seconds == pytest.approx(2.0)
        assert video.probe.rotation_degrees in (90, 270)
        assert video.probe.pixel_format == "yuv420p"


# bookkeeping

TICKS = st.one_of(st.none(), st.integers(-(2**40), 2**40))


@given(st.lists(st.tuples(TICKS, TICKS), max_size=60), st.floats(1e-6, 1.0), st.booleans())
def test_times_increase_whatever_the_timestamps_say(
    stamps: list[tuple[int | None, int | None]], tick: float, may_jump: bool
) -> None:
    clock = FrameClock(tick, 1 / 25, discontinuous=may_jump)
    seconds = [clock.show(clock.ticks(pts, dts))[0] for pts, dts in stamps]
    assert all(later > earlier for earlier, later in pairwise(seconds))
    assert seconds[:1] in ([], [0.0])


def test_timestamps_that_start_anew_continue_the_timeline() -> None:
    clock = FrameClock(1.0, 1.0)
    assert [clock.show(pts)[0] for pts in (5, 6, 7, 0, 1)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert clock.jumps == 1


def test_dts_stands_in_where_pts_runs_backwards() -> None:
    clock = FrameClock(0.04, 0.04)
    stamps = [(None, 0), (None, 1), (3, 2), (2, 3), (5, 4), (4, 5), (7, 6), (6, 7)]
    assert [clock.ticks(pts, dts) for pts, dts in stamps][4:] == [4, 5, 6, 7]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=30))
def test_merged_intervals_cover_the_same_moments(intervals: list[tuple[float, float]]) -> None:
    union = merged(intervals)
    assert (union[:, 0] < union[:, 1]).all()
    assert (union[1:, 0] > union[:-1, 1]).all()
    for moment in np.linspace(0.05, 99.95, 40):
        inside = any(start <= moment < end for start, end in intervals)
        assert inside == bool(((union[:, 0] <= moment) & (moment < union[:, 1])).any())


@given(
    st.lists(st.sampled_from(["shown", "skipped", "failed"]), min_size=1, max_size=80),
    st.floats(0, 5),
    st.booleans(),
)
def test_what_failed_is_undecoded_and_what_was_shown_is_not(fates: list[str], tail: float, finished: bool) -> None:
    ledger = StreamLedger(0.04)
    for i, fate in enumerate(fates):
        now = i * 0.04
        if fate == "failed":
            ledger.packet_failed(now)
            continue
        ledger.packet_fed(now, 0.04)
        if fate == "shown":
            ledger.frame_shown(now, 0.04)
    undecoded, total, unseen = ledger.close(len(fates) * 0.04 + tail, finished=finished)
    flat = undecoded.ravel()
    assert (np.diff(flat) >= 0).all()
    assert total >= (flat.max() if len(flat) else 0.0) - 1e-9

    def is_undecoded(seconds: float) -> bool:
        return bool(((undecoded[:, 0] <= seconds) & (seconds < undecoded[:, 1])).any())

    for i, fate in enumerate(fates):
        if fate == "shown":
            assert not is_undecoded(i * 0.04 + 0.001)
        if fate == "failed":
            assert is_undecoded(i * 0.04 + 0.02)
    if len(undecoded):
        assert unseen >= float((undecoded[:, 1] - undecoded[:, 0]).max()) - 1e-9
    if tail > 0.3:
        assert is_undecoded(len(fates) * 0.04 + tail - 0.01)


def test_absurd_frame_rates_are_not_believed() -> None:
    assert sane_frame_seconds(25.0) == 0.04
    assert sane_frame_seconds(0.0) == sane_frame_seconds(90000.0) == 0.04


# the team's own collection

SCRIPT = """
import os, resource, sys
from videonovelty.decode import open_video
from videonovelty.errors import VideoError
from videonovelty.settings import DecodeSettings
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for path in sys.argv[1:]:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, DecodeSettings(), name=os.path.basename(path)) as video:
            last = -1.0
            for frame in video.frames():
                assert frame.pts_seconds > last, path
                last = frame.pts_seconds
            coverage = video.coverage()
            assert last < coverage.duration_seconds, path
            print(os.path.basename(path), coverage.frames, len(coverage.undecoded), sep="\\t")
    except VideoError as error:
        print(os.path.basename(path), error.reason, 0, sep="\\t")
    finally:
        os.close(fd)
"""


def outcomes(folder: Path, tmp_path: Path) -> dict[str, tuple[str, int]]:
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    files = [str(path) for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".csv"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *files], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == len(files)
    return {name: (outcome, int(gaps)) for name, outcome, gaps in rows}


@pytest.mark.shared
def test_hostile_files_end_in_a_reason_or_in_frames(tmp_path: Path) -> None:
    found = outcomes(SHARED / "hostile", tmp_path)
    assert found["result.webm"][0] == Reason.NOT_A_VIDEO
    assert found["audio-aac-001.mp4"][0] == Reason.NO_VIDEO_STREAM
    assert found["short-cenc.mp4"][0] == Reason.CORRUPT
    assert found["Test.ogv"] == ("1", 1)  # theora that takes every packet and shows one picture
    assert int(found["extra_channel_attached_pic.mp4"][0]) > 100


@pytest.mark.shared
@pytest.mark.slow
def test_healthy_files_have_nothing_undecoded(tmp_path: Path) -> None:
    found = outcomes(SHARED / "videos", tmp_path)
    assert {name: gaps for name, (_, gaps) in found.items() if gaps} == {}
    assert all(outcome.isdigit() for outcome, _ in found.values())


@pytest.mark.shared
def test_a_window_of_an_old_444_stream_is_not_garbage() -> None:
    path = SHARED / "videos" / "cockatoo.mp4"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with opened(path) as video:
        whole = {frame.pts_seconds: frame.thumb for frame in video.frames("all")}
        window = list(video.frames("all", start_seconds=8.5, end_seconds=8.8))
        assert len(window) == 6
        for frame in window:
            assert np.array_equal(frame.thumb, whole[frame.pts_seconds])
