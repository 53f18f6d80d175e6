"""The encoder door and the RGB reader beside it."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import make_video
import numpy as np
import pytest

from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.errors import CorruptVideoError, NoVideoStreamError, UnreadableVideoError, VideoError

ENCODINGS = [
    ("libx264", "a.mp4"),
    ("libx264", "a.ts"),
    ("libx265", "a.mkv"),
    ("mpeg4", "a.avi"),
    ("libvpx", "a.webm"),
    ("libvpx-vp9", "a.webm"),
    ("mjpeg", "a.avi"),
    ("flv", "a.flv"),
]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return list(make_video.frames(1, 2.0))


@pytest.mark.parametrize(("codec", "name"), ENCODINGS)
def test_what_is_written_is_what_is_read_back(
    tmp_path: Path, pictures: list[np.ndarray], codec: str, name: str
) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    write_video(tmp_path / name, pictures, fps=12.5, codec=codec, crf=20, pixel_format=pixel_format)
    back = list(read_rgb(tmp_path / name))
    assert [round(seconds, 2) for seconds, _ in back] == [round(i / 12.5, 2) for i in range(len(pictures))]
    errors = [np.abs(a.astype(int) - b).mean() for (_, a), b in zip(back, pictures, strict=True)]
    assert max(errors) < 12  # another frame of the same shot is 20 and more away


@pytest.mark.parametrize(("codec", "name"), ENCODINGS)
def test_same_frames_give_same_bytes(tmp_path: Path, pictures: list[np.ndarray], codec: str, name: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    chance, held, written = np.random.default_rng(1), [], set()
    for _ in range(8):
        # other memory each time: an encoder that reads what nobody has set shows it
        held.append(chance.integers(0, 256, int(chance.integers(10, 3_000_000)), dtype=np.uint8))
        del held[: len(held) // 4]
        write_video(tmp_path / name, pictures, fps=12.5, codec=codec, crf=28, pixel_format=pixel_format)
        written.add((tmp_path / name).read_bytes())
    assert len(written) == 1


def test_higher_crf_gives_a_smaller_file(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    sizes = []
    for codec, crf in itertools.product(("libx264", "mpeg4"), (18, 36)):
        write_video(tmp_path / "a.mkv", pictures, fps=12.5, codec=codec, crf=crf)
        sizes.append((tmp_path / "a.mkv").stat().st_size)
    assert sizes[1] < 0.5 * sizes[0]
    assert sizes[3] < 0.5 * sizes[2]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_left_to_the_player(tmp_path: Path, pictures: list[np.ndarray], degrees: int) -> None:
    path = tmp_path / "turned.mp4"
    write_video(path, pictures, fps=12.5, rotation=degrees)
    height, width = pictures[0].shape[:2]
    with av.open(str(path)) as container:
        stored = container.streams.video[0]
        assert (stored.width, stored.height) == ((height, width) if degrees in (90, 270) else (width, height))
    _, shown = next(read_rgb(path))
    assert np.abs(shown.astype(int) - pictures[0]).mean() < 12


def test_ninety_degrees_is_the_matrix_phones_write(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    write_video(tmp_path / "turned.mp4", pictures, fps=12.5, rotation=90)
    content = (tmp_path / "turned.mp4").read_bytes()
    # tkhd, version 0: the matrix begins 40 bytes after the box's name
    matrix = np.frombuffer(content, ">i4", count=9, offset=content.index(b"tkhd") + 44)
    assert matrix.tolist()[:5] == [0, 65536, 0, -65536, 0]  # clockwise by 90, ISO 14496-12


def test_frame_times_are_those_asked_for(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.53, 2.0]
    for name in ("a.mkv", "a.mp4", "a.webm"):
        codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
        write_video(tmp_path / name, pictures[: len(times)], fps=25, pts_seconds=times, codec=codec)
        assert [round(seconds, 3) for seconds, _ in read_rgb(tmp_path / name)] == times


@pytest.mark.parametrize("times", [[0.0, 0.0], [1.0, 0.5]])
def test_times_that_do_not_increase_are_refused(tmp_path: Path, pictures: list[np.ndarray], times: list[float]) -> None:
    with pytest.raises(ValueError, match="increase"):
        write_video(tmp_path / "a.mkv", pictures[:2], fps=25, pts_seconds=times)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_frames_fail_half_way(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"what was there before")
    with pytest.raises(ValueError, match="among frames of"):
        write_video(path, [*pictures, np.zeros((10, 10, 3), np.uint8)], fps=25)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_odd_sides_and_odd_turns_are_refused(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], fps=25)
    with pytest.raises(ValueError, match="even sides, not 33x32"):
        write_video(tmp_path / "a.mp4", [np.zeros((32, 33, 3), np.uint8)], fps=25)
    with pytest.raises(ValueError, match="rotation"):
        write_video(tmp_path / "a.mp4", pictures, fps=25, rotation=45)


def test_gop_is_the_longest_distance_of_key_frames(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    write_video(tmp_path / "a.mp4", pictures, fps=12.5, gop=5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [i for i, packet in enumerate(p for p in container.demux(video=0) if p.size) if packet.is_keyframe]
    assert max(np.diff([*keys, len(pictures)])) <= 5


def test_container_tells_neither_date_nor_encoder(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    write_video(tmp_path / "a.mp4", pictures, fps=12.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert not {"creation_time", "encoder"} & set(container.metadata)


def test_metadata_and_ten_bits_and_fields_arrive(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    write_video(tmp_path / "a.mkv", pictures, fps=12.5, metadata={"title": "harmless"})
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.metadata["title"] == "harmless"
    with av.open(str(make_video.ten_bit(tmp_path / "b.mkv", 1, 1.0))) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p10le"
    with av.open(str(make_video.interlaced(tmp_path / "c.mp4", 1, 1.0))) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))


# ---- reading --------------------------------------------------------------------------------------------------------


def test_window_and_size_of_what_is_read(tmp_path: Path) -> None:
    path = make_video.make_clip(tmp_path / "a.mp4", 3, 4.0)
    part = list(read_rgb(path, start_seconds=1.0, end_seconds=2.0, max_side=80))
    assert [round(seconds, 2) for seconds, _ in part] == [
        1.04,
        1.12,
        1.2,
        1.28,
        1.36,
        1.44,
        1.52,
        1.6,
        1.68,
        1.76,
        1.84,
        1.92,
    ]
    assert {picture.shape for _, picture in part} == {(48, 80, 3)}


def test_one_bad_stretch_costs_that_stretch(tmp_path: Path) -> None:
    path = make_video.damaged(tmp_path / "a.ts", "holes", seconds=4.0)
    back = list(read_rgb(path))
    assert 25 <= len(back) <= 50
    assert all(one < two for (one, _), (two, _) in itertools.pairwise(back))


def test_size_change_gives_pictures_of_one_size(tmp_path: Path) -> None:
    path = make_video.size_change(tmp_path / "a.h264", 1, 2.0)
    assert len({picture.shape for _, picture in read_rgb(path)}) == 1


@pytest.mark.parametrize(
    ("how", "error"),
    [("text", UnreadableVideoError), ("empty", UnreadableVideoError), ("no_index", UnreadableVideoError)],
)
def test_unreadable_files_are_video_errors(tmp_path: Path, how: str, error: type[VideoError]) -> None:
    with pytest.raises(error):
        list(read_rgb(make_video.damaged(tmp_path / "a.mp4", how)))


def test_sound_and_cover_pictures_are_no_video(tmp_path: Path) -> None:
    for path in (make_video.no_video(tmp_path / "a.mp4"), make_video.attached_picture(tmp_path / "b.mkv", 1, None)):
        with pytest.raises(NoVideoStreamError):
            list(read_rgb(path))


def test_index_without_frames_is_corrupt(tmp_path: Path) -> None:
    source = make_video.make_clip(tmp_path / "whole.mp4", 1, 1.0)
    content = bytearray(source.read_bytes())
    begin = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[begin:end] = bytes(end - begin)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(CorruptVideoError):
        list(read_rgb(tmp_path / "a.mp4"))


def test_a_name_is_never_taken_for_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_video.make_clip(tmp_path / "a.mp4", 1, 1.0).rename("concat:a.mp4")
    assert len(list(read_rgb(Path("concat:a.mp4")))) == 12
