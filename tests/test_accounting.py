"""Nothing in a file goes unseen: what its edit list leaves out, pictures attached to it, and bytes of no stream."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given
from hypothesis import strategies as st

from tests.make_video import attached_picture, make_clip
from videonovelty.decode import PICTURE_SECONDS, open_video
from videonovelty.decode.accounting import SPARE_BYTES, ByteCount, _covered
from videonovelty.decode.packets import code_video
from videonovelty.decode.writer import write_video
from videonovelty.errors import NoVideoStreamError, Reason, RefusedVideoError
from videonovelty.records import Coverage, Frame, Segment, Signatures
from videonovelty.segments import tile_segments
from videonovelty.settings import DecodeSettings, Settings, VerdictSettings
from videonovelty.signatures.pdq import pdq
from videonovelty.signing import sign_video
from videonovelty.verdict import judge

FPS = 25
NO_STREAM = "bytes that belong to no picture, sound or text"


def looked_at(path: Path) -> tuple[list[Frame], Coverage]:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, DecodeSettings(), name=path.name) as video:
            frames = list(video.frames())
            return frames, video.coverage()
    finally:
        os.close(fd)


def unexplained(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        with av.open(str(path)) as container:
            count = ByteCount(container)
            for packet in container.demux():
                count.add(packet)
            return count.unexplained(fd)
    finally:
        os.close(fd)


def doubt(path: Path) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return code_video(fd, video_id="0" * 64, name=path.name, settings=Settings(), heartbeat=lambda _: None).doubt
    finally:
        os.close(fd)


def noisy(path: Path, seconds: float = 4.0, *, seed: int = 1, **options: Any) -> Path:
    """Write a clip whose file is far larger than what every file may hold besides."""
    rng = np.random.default_rng(seed)
    pictures = (rng.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(round(seconds * FPS)))
    write_video(path, pictures, fps=FPS, **options)
    assert path.stat().st_size > 4 * SPARE_BYTES
    return path


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("known") / "known.mp4", 11, 4.0)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noisy(tmp_path_factory.mktemp("other") / "other.mp4")


# what is no puzzle


def write_with_sound(path: Path, format_name: str | None = None, **options: str) -> Path:
    codecs = {".webm": ("libvpx", "libopus"), ".avi": ("mpeg4", "pcm_s16le"), ".wmv": ("wmv2", "pcm_s16le")}
    codecs |= {".mpg": ("mpeg2video", "mp2"), ".mxf": ("mpeg2video", "pcm_s16le")}
    video_codec, audio_codec = codecs.get(path.suffix, ("libx264", "aac"))
    with av.open(str(path), "w", format=format_name, options=options) as output:
        video: Any = output.add_stream(video_codec, rate=FPS)
        video.width, video.height, video.pix_fmt = 176, 144, "yuv420p"
        audio: Any = output.add_stream(audio_codec, rate=48000)
        rng = np.random.default_rng(3)
        block = max(audio.codec_context.frame_size, 1024)
        for number in range(6 * FPS):
            if number % 10 == 0:
                shown = np.kron(rng.integers(0, 255, (9, 11, 3)), np.ones((16, 16, 1)))
            picture = np.roll(shown, number, axis=1)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")))
        for start in range(0, 6 * 48000, block):
            kind = audio.codec_context.format.name
            shape = (2, block) if kind.endswith("p") else (1, 2 * block)
            noise = rng.normal(0, 0.1, shape)
            samples = noise.astype(np.float32) if kind.startswith("flt") else (noise * 9999).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="stereo")
            frame.sample_rate, frame.pts = 48000, start
            output.mux(audio.encode(frame))
        output.mux(video.encode(None))
        output.mux(audio.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((f"a{suffix}", {}) for suffix in (".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv", ".ts", ".mpg")),
        ("a.mxf", {}), ("a.wmv", {}), ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mp4", {"movflags": "empty_moov+frag_every_frame"}), ("a.ts", {"muxrate": "4000000"}),
        ("a.ts", {"mpegts_m2ts_mode": "1"}),
    ],
)  # fmt: skip
def test_what_containers_need_is_no_riddle(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = write_with_sound(tmp_path / name, **options)
    assert unexplained(path) == 0
    _, coverage = looked_at(path)
    assert coverage.left_out == ()
    assert coverage.undecoded.tolist() == []


def test_blank_padding_is_no_riddle(known: Path, tmp_path: Path) -> None:
    padded = tmp_path / "padded.mp4"
    padded.write_bytes(known.read_bytes() + box(b"free", bytes(400_000)))
    assert unexplained(padded) == 0


def test_a_gif_is_explained_to_its_end(tmp_path: Path) -> None:
    path = noisy(tmp_path / "a.gif", 2.0, codec="gif", pixel_format="rgb8", crf=0)
    assert unexplained(path) == 0
    twice = tmp_path / "twice.gif"
    twice.write_bytes(path.read_bytes() * 2)
    assert unexplained(twice) == 0
    more = tmp_path / "more.gif"
    more.write_bytes(path.read_bytes() + zipped(path))
    assert unexplained(more) == len(zipped(path))


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=30))
def test_bytes_that_samples_share_count_once(samples: list[tuple[int, int]]) -> None:
    position, size = (np.array([one[column] for one in samples], np.int64) for column in (0, 1))
    assert _covered(position, size) == len({at for start, length in samples for at in range(start, start + length)})


# what is one


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def zipped(path: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "inside")
    return packed.getvalue()


WAYS: dict[str, Callable[[bytes, bytes], bytes]] = {
    "another video behind its end": lambda known, other: known + other,
    "in padding": lambda known, other: known + box(b"free", other),
    "in a box of its own": lambda known, other: known + box(b"uuid", bytes(16) + other),
    "samples that no track lists": lambda known, other: known + box(b"mdat", other),
    "in a table's remarks": lambda known, other: in_the_tables(known, box(b"udta", box(b"note", other))),
    "in remarks of tables with a long head": lambda known, other: with_long_head(
        in_the_tables(known, box(b"udta", box(b"note", other)))
    ),
}


def with_long_head(whole: bytes) -> bytes:
    """Write the size of the `moov` of an MP4, which must be the last one, in 64 bits."""
    at = whole.index(b"moov") - 4
    return whole[:at] + struct.pack(">I4sQ", 1, b"moov", len(whole) - at + 8) + whole[at + 8 :]


def in_the_tables(whole: bytes, more: bytes) -> bytes:
    """Put a box into the `moov` of an MP4, which must be the last one: no sample moves."""
    at = whole.rindex(b"moov") - 4
    length = int.from_bytes(whole[at : at + 4], "big")
    assert at + length == len(whole)
    return whole[:at] + struct.pack(">I", length + len(more)) + whole[at + 4 :] + more


@pytest.mark.parametrize("way", WAYS)
def test_bytes_of_no_stream_are_told_and_cannot_be_cleared(known: Path, other: Path, tmp_path: Path, way: str) -> None:
    path = tmp_path / "both.mp4"
    path.write_bytes(WAYS[way](known.read_bytes(), other.read_bytes()))
    frames, coverage = looked_at(path)
    assert len(coverage.left_out) == 1
    assert NO_STREAM in coverage.left_out[0]
    told = int(coverage.left_out[0].split()[0].replace(",", ""))
    assert abs(told - other.stat().st_size) < SPARE_BYTES
    assert coverage.undecoded == pytest.approx(np.array([[4.0, 5.0]]), abs=0.05)
    assert [f.pts_seconds for f in frames] == [f.pts_seconds for f in looked_at(known)[0]]
    assert NO_STREAM in doubt(path)
    assert doubt(known) == ""


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".flv", ".ts", ".mpg", ".gif"])
def test_an_archive_behind_a_video_is_told(other: Path, tmp_path: Path, suffix: str) -> None:
    codecs = {".webm": "libvpx", ".avi": "mpeg4", ".mpg": "mpeg2video", ".gif": "gif"}
    options = {"pixel_format": "rgb8"} if suffix == ".gif" else {}
    path = make_clip(tmp_path / f"a{suffix}", 12, 2.0, codec=codecs.get(suffix, "libx264"), **options)
    assert looked_at(path)[1].left_out == ()
    path.write_bytes(path.read_bytes() + zipped(other))
    assert NO_STREAM in looked_at(path)[1].left_out[0]


def test_a_programme_that_no_table_names_is_told_or_decoded(known: Path, other: Path, tmp_path: Path) -> None:
    remuxed = {}
    for name, path in (("known", known), ("other", other)):
        remuxed[name] = tmp_path / f"{name}.ts"
        with av.open(str(path)) as source, av.open(str(remuxed[name]), "w", format="mpegts") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    blocks = [other_pid(block) for block in packets_of(remuxed["other"]) if pid_of(block) == 256]
    mixed = tmp_path / "mixed.ts"
    mixed.write_bytes(remuxed["known"].read_bytes() + b"".join(blocks))
    frames, coverage = looked_at(mixed)
    assert len(frames) > len(looked_at(remuxed["known"])[0]) or NO_STREAM in coverage.left_out[0]
    assert looked_at(remuxed["known"])[1].left_out == ()


def packets_of(path: Path) -> Iterator[bytes]:
    whole = path.read_bytes()
    return (whole[at : at + 188] for at in range(0, len(whole), 188))


def pid_of(block: bytes) -> int:
    return (block[1] & 0x1F) << 8 | block[2]


def other_pid(block: bytes, pid: int = 777) -> bytes:
    return bytes([block[0], block[1] & 0xE0 | pid >> 8, pid & 0xFF]) + block[3:]


def test_attached_files_are_told(known: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(known)) as source, av.open(str(path), "w") as target:
        target.add_attachment("notes.txt", "text/plain", b"small")
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert looked_at(path)[1].left_out == ("a file attached to it",)
    assert "attached" in doubt(path)


def test_an_attached_picture_is_looked_at_like_any_other(tmp_path: Path) -> None:
    frames, coverage = looked_at(attached_picture(tmp_path / "a.mkv", 5, 4.0))
    assert coverage.left_out == ()
    assert coverage.duration_seconds == pytest.approx(4.0 + PICTURE_SECONDS, abs=0.1)
    assert frames[-1].pts_seconds == pytest.approx(4.0, abs=0.1)
    assert any("attached" in note for note in coverage.notes)


def test_a_picture_attached_to_a_refused_video_changes_no_reason(tmp_path: Path) -> None:
    for seconds, codecs, error in (
        (4.0, ("mjpeg",), RefusedVideoError),
        (None, ("mjpeg",), NoVideoStreamError),
        (None, ("h264",), NoVideoStreamError),
    ):
        path = attached_picture(tmp_path / "a.mkv", 5, seconds)
        fd = os.open(path, os.O_RDONLY)
        try:
            with pytest.raises(error), open_video(fd, DecodeSettings(codecs=codecs), name="a"):
                pass
        finally:
            os.close(fd)


# edit lists


def with_edit(path: Path, out: Path, start_seconds: float, seconds: float) -> Path:
    """Write the same MP4 with an edit list that shows `seconds` from a second on, and nothing else."""
    content = bytearray(path.read_bytes())
    scales = []
    for header in (b"mvhd", b"mdhd"):
        at = content.find(header)
        assert content[at + 4] == 0
        scales.append(struct.unpack(">I", content[at + 16 : at + 20])[0])
    at = content.find(b"elst")
    assert content[at + 4] == 0
    assert struct.unpack(">I", content[at + 8 : at + 12])[0] == 1
    content[at + 12 : at + 20] = struct.pack(">Ii", round(seconds * scales[0]), round(start_seconds * scales[1]))
    out.write_bytes(content)
    return out


@pytest.fixture(scope="module")
def ten_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ten")
    return make_clip(folder / "ten.mp4", 21, 10.0, crf=20, gop=25)


@pytest.mark.parametrize(("start", "seconds"), [(6.0, 4.0), (0.0, 4.0), (3.0, 4.0)])
def test_what_an_edit_list_leaves_out_is_looked_at(
    ten_seconds: Path, tmp_path: Path, start: float, seconds: float
) -> None:
    whole = looked_at(ten_seconds)[0]
    path = with_edit(ten_seconds, tmp_path / "a.mp4", start, seconds)
    frames, coverage = looked_at(path)
    assert coverage.duration_seconds == pytest.approx(10.0, abs=0.2)
    assert coverage.undecoded.tolist() == []
    assert coverage.left_out == ()
    assert any("edit list leaves out" in note for note in coverage.notes)
    assert doubt(path)
    # what is shown comes first, at its times, then all the rest
    shown = [frame for frame in frames if frame.pts_seconds < seconds - 0.02]
    wanted = [frame for frame in whole if start - 0.02 <= frame.pts_seconds < start + seconds - 0.02]
    assert len(shown) >= len(wanted) - 3
    last = pdq_of(whole[-1] if start + seconds < 9 else whole[round(0.5 * FPS)])
    assert min(np.bitwise_count(last ^ pdq_of(frame)).sum() for frame in frames if frame.pts_seconds >= seconds) <= 16


def pdq_of(frame: Frame) -> np.ndarray[Any, Any]:
    return np.asarray(pdq(frame.luma(64, 64)[None])[0][0, 0])


def test_a_window_reaches_into_what_an_edit_list_leaves_out(ten_seconds: Path, tmp_path: Path) -> None:
    path = with_edit(ten_seconds, tmp_path / "a.mp4", 6.0, 4.0)
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, DecodeSettings(), name="a") as video:
            whole = list(video.frames("all"))
            part = list(video.frames("all", start_seconds=7.0, end_seconds=7.5))
    finally:
        os.close(fd)
    there = [frame for frame in whole if 7.0 <= frame.pts_seconds < 7.5]
    assert [frame.pts_seconds for frame in part] == pytest.approx([frame.pts_seconds for frame in there])
    assert np.array_equal(part[0].luma(64, 64), there[0].luma(64, 64))


# pictures of which more is coded than shown


def test_pictures_coded_beyond_their_edges_are_told(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "wide.mp4", 31, 2.0, width=320, height=96)
    for columns, told in ((0, ()), (16, ()), (160, ("more of its pictures, beyond their edges",))):
        path = tmp_path / f"cropped {columns}.mp4"
        with av.open(str(source)) as given_file, av.open(str(path), "w") as target:
            stream = given_file.streams.video[0]
            copied = target.add_stream_from_template(stream)
            crop = BitStreamFilterContext(f"h264_metadata=crop_right={columns}", stream, copied)
            for packet in given_file.demux(stream):
                for filtered in crop.filter(packet if packet.size else None):
                    filtered.stream = copied
                    target.mux(filtered)
        assert looked_at(path)[1].left_out == told


# what comes of it


def test_a_proven_video_that_holds_more_stays_in_the_queue(known: Path, other: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.mp4"
    path.write_bytes(known.read_bytes() + other.read_bytes())
    fd = os.open(path, os.O_RDONLY)
    try:
        signed = sign_video(fd, video_id="0" * 64, name="a", settings=Settings(), heartbeat=lambda _: None)
    finally:
        os.close(fd)
    end = float(signed.coverage.undecoded[0, 0])
    proven = [Segment(0.0, end, "known", known_video_id="1" * 64, proof="time", spatial_share=1.0)]
    tail = tile_segments(signed.coverage, [], [], VerdictSettings())[-1]
    assert (tail.kind, tail.start_seconds) == ("undecoded", end)
    assert tail.why_not == f"the file also holds {signed.coverage.left_out[0]}"
    verdict = _judged(signed.signatures, signed.coverage, [*proven, tail])
    assert (verdict.verdict, verdict.reason, verdict.needs_review) == ("not_comparable", Reason.HOLDS_MORE, True)


def _judged(signatures: Signatures, coverage: Coverage, segments: list[Segment]) -> Any:
    return judge(signatures, coverage, segments, VerdictSettings())
