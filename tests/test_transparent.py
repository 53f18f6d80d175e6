"""What shows through transparent pictures is not hidden: nobody knows what is behind them."""

import os
from collections.abc import Iterable
from pathlib import Path

import av
import make_video
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from signing_help import SETTINGS, sign

from videonovelty.comparing import compared
from videonovelty.decode import open_video
from videonovelty.decode.pictures import shows_through
from videonovelty.decode.timeline import StreamLedger
from videonovelty.decode.writer import write_video
from videonovelty.errors import Reason
from videonovelty.records import TRANSPARENT, U8, Coverage
from videonovelty.settings import DecodeSettings

FPS = 25.0
WITH_OPACITY = ("rgba", "argb", "bgra", "ya8", "yuva420p", "yuva444p10le", "gbrap", "rgba64le", "pal8")
WITHOUT = ("rgb24", "bgr0", "yuv420p", "gray", "yuv444p10le")


def _pictures(opacity: Iterable[U8], seed: int = 21) -> list[U8]:
    """Return pictures of a known clip with so much opacity each, shape (height, width)."""
    frames = make_video.frames(seed, 60.0, fps=FPS)
    return [np.dstack([frame, plane]) for frame, plane in zip(frames, opacity, strict=False)]


def _plane(value: int) -> U8:
    return np.full((make_video.HEIGHT, make_video.WIDTH), value, np.uint8)


def _new(seconds: float) -> list[U8]:
    return [frame.max(axis=2) for frame in make_video.frames(77, seconds, fps=FPS)]


def _written(path: Path, pictures: Iterable[U8]) -> Path:
    write_video(path, pictures, fps=FPS, codec="png", pixel_format="rgba")
    return path


def _coverage(path: Path) -> Coverage:
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, DecodeSettings(), name=path.name) as video:
            for _ in video.frames():
                pass
            return video.coverage()
    finally:
        os.close(fd)


@pytest.mark.parametrize("pixel_format", [*WITH_OPACITY, *WITHOUT])
def test_a_picture_is_transparent_where_its_opacity_differs(pixel_format: str) -> None:
    def seen(opacity: U8) -> bool:
        picture = np.dstack([next(iter(make_video.frames(3, 1.0, fps=FPS))), opacity])
        if pixel_format == "pal8":
            # a picture of two colours, of which one is as opaque as the brightest place, one as the darkest
            indices = (opacity == opacity.max()).astype(np.uint8)
            palette = np.zeros((256, 4), np.uint8)
            palette[0], palette[1] = (opacity.min(), 9, 9, 9), (opacity.max(), 200, 200, 200)
            frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")
        else:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgba")
            frame = frame.reformat(format=pixel_format)
        return shows_through(frame, VideoReformatter())

    half, corner = _plane(255), _plane(255)
    half[:, : make_video.WIDTH // 2] = 0
    corner[:6, :6] = 128
    assert seen(half) == (pixel_format in WITH_OPACITY)
    assert seen(corner) == (pixel_format in WITH_OPACITY)
    for everywhere in (0, 128, 255):
        assert not seen(_plane(everywhere))


def test_what_is_unclear_counts_as_undecoded_until_the_next_clear_picture() -> None:
    ledger = StreamLedger(0.1)
    for number in range(20):
        ledger.packet_fed(0.1 * number, 0.1)
        ledger.frame_shown(0.1 * number, 0.1, unclear=5 <= number < 9 or number >= 18)
    undecoded, total, _ = ledger.close(2.0, finished=True)
    np.testing.assert_allclose(undecoded, [[0.5, 0.9], [1.8, 2.0]], atol=1e-9)
    assert total == pytest.approx(2.0)
    assert (ledger.frames, ledger.packet_errors) == (20, 0)


def test_a_transparent_second_is_told(tmp_path: Path) -> None:
    opacity = [_plane(255) for _ in range(75)]
    for plane in opacity[25:50]:
        plane[:, ::2] = 40
    coverage = _coverage(_written(tmp_path / "second.mov", _pictures(opacity)))
    np.testing.assert_allclose(coverage.undecoded, [[1.0, 2.0]], atol=0.05)
    assert TRANSPARENT in coverage.notes
    assert not coverage.whole
    plain = _coverage(_written(tmp_path / "opaque.mov", _pictures(_plane(255) for _ in range(75))))
    assert plain.whole
    assert plain.notes == ()
    assert _coverage(_written(tmp_path / "even.mov", _pictures(_plane(0) for _ in range(75)))).whole


def test_a_new_video_in_the_opacity_of_a_known_one_is_not_known(tmp_path: Path) -> None:
    known = sign(make_video.make_clip(tmp_path / "known.mp4", 21, 8.0, fps=FPS))
    opaque = sign(_written(tmp_path / "opaque.mov", _pictures(_plane(255) for _ in range(200))))
    assert compared(opaque, known, SETTINGS)[1].verdict == "known"
    hidden = sign(_written(tmp_path / "hidden.mov", _pictures(_new(8.0))))
    verdict = compared(hidden, known, SETTINGS)[1]
    assert (verdict.verdict, verdict.reason, verdict.needs_review) == ("not_comparable", Reason.UNCLEAR, True)
    assert {(one.kind, one.why_not) for one in verdict.segments} == {("undecoded", TRANSPARENT)}


def test_blank_pictures_through_which_a_new_video_shows_are_not_blank(tmp_path: Path) -> None:
    known = sign(make_video.make_clip(tmp_path / "known.mp4", 21, 8.0, fps=FPS))
    white = np.full((make_video.HEIGHT, make_video.WIDTH, 3), 255, np.uint8)
    after = [np.dstack([white, plane]) for plane in _new(3.0)]
    query = sign(_written(tmp_path / "after.mov", [*_pictures(_plane(255) for _ in range(200)), *after]))
    verdict = compared(query, known, SETTINGS)[1]
    assert (verdict.verdict, verdict.reason) == ("not_comparable", Reason.UNCLEAR)
    assert verdict.known_seconds == pytest.approx(8.0, abs=0.1)
    last = verdict.segments[-1]
    assert (last.kind, last.why_not) == ("undecoded", TRANSPARENT)
    assert (last.start_seconds, last.end_seconds) == pytest.approx((8.0, 11.0), abs=0.1)
