"""T19–T25, T27, T28, T31, T33–T35, T56, T59 against real signing: what hostile files can and cannot make us do."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import sha256

from videonovelty.decode.writer import write_video
from videonovelty.errors import VideoError
from videonovelty.intake import opened, sight, unchanged
from videonovelty.records import SignedVideo
from videonovelty.sandbox import Sandbox
from videonovelty.settings import IntakeSettings, load_settings


def frames(n=30, width=160, height=96, seed=1):
    """Yield `n` pictures of a texture that slides."""
    random = np.random.default_rng(seed)
    tile = np.kron(random.integers(30, 226, (height // 8 + 1, width // 8 + 1), np.uint8), np.ones((8, 8), np.uint8))
    for i in range(n):
        grey = np.roll(tile, 3 * i, axis=1)[:height, :width]
        yield np.repeat(grey[:, :, None], 3, axis=2)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The same three seconds in six containers; name → path."""
    folder = tmp_path_factory.mktemp("good")
    kinds = {
        "good.mp4": {},
        "good.mkv": {},
        "good.ts": {"container": "mpegts"},
        "good.avi": {"codec": "mpeg4"},
        "good.webm": {"codec": "libvpx"},
        "good.flv": {"codec": "flv"},
    }
    for name, options in kinds.items():
        write_video(folder / name, frames(), fps=10, gop=10, **options)
    return {name: folder / name for name in kinds}


def test_good_files_are_signed(good, sign_file):
    for name, path in good.items():
        signed = sign_file(path)
        assert isinstance(signed, SignedVideo), (name, signed)
        assert signed.coverage.decoded_seconds == pytest.approx(3.0, abs=0.15), name
        assert signed.signatures.video_id == sha256(path)


# --- T19, T20: playlists, scripts, protocols --------------------------------------------------------------------------


class Listener:
    """Counts who connects to a loopback port."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.hits = 0
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.hits += 1
            connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


SECRET = "TOP-SECRET-"


def playlists(folder, port, sibling):
    """Return name → content of files that ask a careless player to open something else."""
    web, secret = f"http://127.0.0.1:{port}/leak", f"file://{folder}/secret.txt"

    def hls(target):
        return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"

    mpd = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT10S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
        f'bandwidth="1" width="320" height="240"><BaseURL>{web}.mp4</BaseURL></Representation></AdaptationSet>'
        "</Period></MPD>"
    )
    return {
        "hls-web": hls(f"{web}.ts"),
        "hls-file": hls(secret),
        "hls-sibling": hls(f"{folder}/{sibling}"),
        "hls-variant": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{web}.m3u8\n",
        "concat-relative": f"ffconcat version 1.0\nfile {sibling}\n",
        "concat-absolute": f"ffconcat version 1.0\nfile {folder}/{sibling}\n",
        "concat-web": f"ffconcat version 1.0\nfile {web}.mp4\n",
        "sdp": (
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            f"m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
        ),
        "dash": mpd,
        "rtsp": f"RTSPtextRTSP://127.0.0.1:{port}/x\n",
        "lavfi": f"movie={folder}/{sibling}",
        "metadata": ";FFMETADATA1\ntitle=x\n",
        "subtitles": "1\n00:00:00,000 --> 00:00:10,000\ntext\n",
    }


def test_playlists_and_scripts_are_refused_and_open_nothing(tmp_path, good, sign_file):
    (tmp_path / "secret.txt").write_text(SECRET * 40)
    (tmp_path / "sibling.ts").write_bytes(good["good.ts"].read_bytes())
    listener = Listener()
    try:
        for kind, content in playlists(tmp_path, listener.port, "sibling.ts").items():
            for suffix in (".mp4", ".m3u8", ".txt", ".ffconcat"):
                path = tmp_path / (kind + suffix)
                path.write_text(content)
                error = sign_file(path)
                assert isinstance(error, VideoError), path.name
                assert error.reason in ("not_a_video", "refused_format", "no_video_stream"), (path.name, error)
                assert SECRET not in str(error)
    finally:
        listener.close()
    assert listener.hits == 0


NAMES = ["http:", "concat:good.mp4|other.mp4", "pipe:0", "subfile,,start,0,end,100,,:good.mp4", "data:x", "a%03d.mp4",
         "-i", "cache:good.mp4", "fd:", "tee:x", "lavfi", "testsrc"]  # fmt: skip


def test_a_name_that_is_a_protocol_is_a_name(tmp_path, good, sign_file, monkeypatch):
    # T20: run from the intake folder, by relative name, with the files a protocol would read beside it
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "other.mp4", frames(seed=2), fps=10)
    (tmp_path / "good.mp4").write_bytes(good["good.mp4"].read_bytes())
    expected = sign_file("good.mp4").signatures
    for name in NAMES:
        Path(name).write_bytes(good["good.mp4"].read_bytes())
        signed = sign_file(name)
        assert isinstance(signed, SignedVideo), (name, signed)
        np.testing.assert_array_equal(signed.signatures.pdq, expected.pdq)
        assert signed.signatures.video_id == expected.video_id


# --- T21, T22: size ---------------------------------------------------------------------------------------------------


def png(width, height):
    """Return a PNG that claims a size and holds nothing of it."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def jpeg(width, height):
    """Return a JPEG header that claims a size."""
    tables = b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)
    frame = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03\x01\x22\x00\x02\x11\x00\x03\x11\x00"
    return (
        b"\xff\xd8"
        + tables
        + frame
        + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
        + bytes(64)
        + b"\xff\xd9"
    )


def test_pictures_that_claim_to_be_huge_are_refused_at_once(tmp_path, sign_file):
    for name, content in (("p.mp4", png(30_000, 30_000)), ("j.mp4", jpeg(65_500, 65_500)), ("m.avi", jpeg(65_500, 9))):
        (tmp_path / name).write_bytes(content)
        assert isinstance(sign_file(tmp_path / name), VideoError)


@pytest.mark.parametrize(
    ("name", "options"), [("a.mp4", {}), ("a.webm", {"codec": "libvpx"}), ("a.avi", {"codec": "mpeg4"})]
)
def test_a_video_beyond_max_pixels_is_refused_as_such(tmp_path, sign_file, name, options):
    # 1280 × 800 against the fixture's limit of 1,000,000
    write_video(tmp_path / name, frames(2, 1280, 800), fps=10, **options)
    error = sign_file(tmp_path / name)
    assert isinstance(error, VideoError)
    # MPEG-4 in AVI is refused by its decoder, packet by packet
    assert error.reason in ("refused_size", *(["corrupt"] if name == "a.avi" else [])), error


@pytest.mark.slow
def test_a_real_bomb_is_refused_under_the_default_limit(tmp_path):
    # 37.7 megapixels, larger than 8K UHD
    write_video(tmp_path / "big.mkv", frames(1, 8192, 4608), fps=1, codec_options={"preset": "ultrafast"})
    with Sandbox(load_settings()) as sandbox, opened(os.fsencode(tmp_path / "big.mkv")) as fd:
        with pytest.raises(VideoError) as refused:
            sandbox.sign(fd, video_id="ab" * 32, name="big")
        assert refused.value.reason == "refused_size"


def test_a_picture_that_grows_beyond_the_limit_in_mid_stream_is_not_decoded(tmp_path, sign_file):
    # T22: two raw streams one after the other
    write_video(tmp_path / "small.h264", frames(20), fps=10, container="h264")
    write_video(tmp_path / "large.h264", frames(10, 1280, 800), fps=10, container="h264")
    whole = tmp_path / "both.h264"
    whole.write_bytes((tmp_path / "small.h264").read_bytes() + (tmp_path / "large.h264").read_bytes())
    signed = sign_file(whole)
    if isinstance(signed, VideoError):
        assert signed.reason == "refused_size"
        return
    coverage = signed.coverage
    assert coverage.packet_errors > 0 or len(coverage.undecoded) or coverage.notes, "never silent"
    assert coverage.frames <= 21


# --- T23, T24: length and number --------------------------------------------------------------------------------------


def test_more_frames_than_allowed_leave_a_video_partly_decoded(tmp_path):
    write_video(tmp_path / "many.mkv", frames(400, 32, 32), fps=100)
    settings = load_settings(decode={"max_frames": 100})
    with Sandbox(settings) as sandbox, opened(os.fsencode(tmp_path / "many.mkv")) as fd:
        coverage = sandbox.sign(fd, video_id="ab" * 32, name="many").coverage
    assert coverage.frames <= 101
    assert len(coverage.undecoded)
    assert coverage.decoded_seconds < coverage.duration_seconds


def mux(path, pts, streams=1, metadata=None):
    """Write pictures at any time stamps (milliseconds), in any number of streams."""
    with av.open(str(path), "w") as output:
        output.metadata.update(metadata or {})
        made = [output.add_stream("mpeg4", rate=10) for _ in range(streams)]
        for stream in made:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.thread_count = 1
            stream.codec_context.gop_size = 1
        for stream in made:
            packets = []
            for image in frames(len(pts), 64, 48):
                packets += stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p"))
            packets += stream.encode(None)
            for at, packet in zip(pts, packets, strict=True):
                packet.time_base = Fraction(1, 1000)
                packet.pts = packet.dts = at
                output.mux(packet)
    return path


@pytest.mark.parametrize("leap", [10**6, 2**31, 2**40])
def test_time_stamps_that_leap_end_within_the_limits(tmp_path, sign_file, leap):
    # from 17 minutes to 35 years: every picture is looked at and the one before the leap stands that long, or a limit
    # ends it
    signed = sign_file(mux(tmp_path / "leaps.mkv", [0, 100, 200, leap, leap + 100, leap + 200]))
    if isinstance(signed, VideoError):
        assert signed.reason in ("corrupt", "memory_limit", "cpu_limit", "wall_limit", "stalled")
        return
    assert np.isfinite(signed.signatures.end_seconds).all()
    assert signed.coverage.frames == 6 or len(signed.coverage.undecoded)


def test_a_long_still_costs_what_its_frames_cost(tmp_path, sign_file):
    still = next(frames(1, 64, 48))
    write_video(tmp_path / "still.mp4", (still for _ in range(36)), fps=0.05)
    signed = sign_file(tmp_path / "still.mp4")
    assert isinstance(signed, SignedVideo), signed
    assert signed.cpu_seconds < 10


def test_many_streams_and_large_tags_are_bounded(tmp_path, sign_file):
    mux(tmp_path / "streams.mkv", range(0, 500, 100), streams=40)
    signed = sign_file(tmp_path / "streams.mkv")
    assert isinstance(signed, SignedVideo), signed
    assert signed.coverage.notes, "streams nobody looked at are told"
    tag = "<script>\x1b[31m\u202e=cmd|" * 50_000
    mux(tmp_path / "tags.mkv", range(0, 1000, 100), metadata={"title": tag, "comment": tag})
    signed = sign_file(tmp_path / "tags.mkv")
    assert isinstance(signed, SignedVideo), signed
    told = [signed.probe.container, signed.probe.codec, signed.probe.pixel_format, *signed.coverage.notes]
    assert all(len(text) <= 256 and text.isprintable() and "script" not in text for text in told)  # T31


# --- T25, T27: damage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["good.mp4", "good.mkv", "good.avi", "good.webm", "good.ts", "good.flv"])
def test_a_cut_file_never_passes_for_a_whole_one(tmp_path, good, sign_file, name):
    whole = good[name].read_bytes()
    whole_signed = sign_file(good[name])
    for step in range(1, 12):
        cut = tmp_path / f"{step}-{name}"
        cut.write_bytes(whole[: len(whole) * step // 12])
        signed = sign_file(cut)
        if isinstance(signed, VideoError):
            assert signed.reason in ("not_a_video", "corrupt", "no_video_stream")
            continue
        coverage = signed.coverage
        looked_at_all = coverage.decoded_seconds >= whole_signed.coverage.decoded_seconds - 0.31
        shorter = coverage.duration_seconds < whole_signed.coverage.duration_seconds - 0.05
        told = len(coverage.undecoded) > 0 or coverage.packet_errors or coverage.corrupt_frames
        # a container that declares no length (TS, FLV cut before its index) is whole as far as anyone can tell
        assert looked_at_all or told or shorter, (step, coverage)
        if name in ("good.mkv", "good.avi", "good.webm"):
            assert looked_at_all or told, (step, coverage)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(100_000),
        b"a line of text\n" * 1000,
        np.random.default_rng(5).bytes(100_000),
        jpeg(64, 48),
        b"\x1aE\xdf\xa3",
        b"\0\0\0\x18ftypisom",
        b"RIFF\xff\xff\xff\xffAVI ",
        b"FLV\x01\x05\0\0\0\x09",
        b"G" * 188 * 100,
    ],
    ids=["empty", "zeros", "text", "random", "jpeg", "ebml", "ftyp", "riff", "flv", "ts"],
)
def test_what_is_no_video_is_told_so(tmp_path, sign_file, content):
    (tmp_path / "x.mp4").write_bytes(content)
    error = sign_file(tmp_path / "x.mp4")
    assert isinstance(error, VideoError)
    assert error.reason in ("not_a_video", "refused_format", "no_video_stream", "corrupt"), error


# --- T28, T29, T33–T35: the file itself -------------------------------------------------------------------------------


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path, good, sign_file):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(good["good.mp4"])
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.mp4", tmp_path / "link.mp4", tmp_path / "zero.mp4", tmp_path, "/dev/zero"):
        assert sign_file(path).reason == "not_a_regular_file"
    os.link(good["good.mp4"], tmp_path / "hard.mp4")
    assert isinstance(sign_file(tmp_path / "hard.mp4"), SignedVideo)


HOSTILE_NAMES = [
    b"-rf.mp4", b"--help.mp4", b"new\nline.mp4", b"bad\xff\xfeutf8.mp4", b"ctrl\x1b[31mred\x07.mp4",
    b"<img src=x onerror=alert(1)>.mp4", b"=cmd|' C'!A0.mp4", b"@SUM(1).mp4", b"rtl\xe2\x80\xaegpj.mp4",
    "nfc\u00e9.mp4".encode(), "nfce\u0301.mp4".encode(), b"x" * 251 + b".mp4", b" lead trail .mp4", b"tab\there.mp4",
    b"'quoted\".mp4",
]  # fmt: skip


def test_hostile_names_are_signed_under_safe_ones(tmp_path, good, signing):
    # T29: names reach neither the decoder nor the child as paths
    from videonovelty.intake import display_path, enumerate_intake

    content = good["good.mp4"].read_bytes()
    for name in HOSTILE_NAMES:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(content)  # noqa: PTH118
    entries = list(enumerate_intake([tmp_path], IntakeSettings(settle_seconds=0)))
    assert {os.path.basename(entry.path_raw) for entry in entries} == set(HOSTILE_NAMES)  # noqa: PTH119
    shown = set()
    for entry in entries:
        with opened(entry.path_raw) as fd:
            name = display_path(entry.path_raw)
            assert signing.sign(fd, video_id="ab" * 32, name=name).signatures.video_id == "ab" * 32
        assert name.isprintable()
        shown.add(name)
    assert len(shown) == len(HOSTILE_NAMES)


def test_a_file_replaced_between_hash_and_decode_is_signed_as_hashed(tmp_path, good, signing, sign_file):
    # T33
    path = tmp_path / "x.mp4"
    path.write_bytes(good["good.mp4"].read_bytes())
    write_video(tmp_path / "other.mp4", frames(seed=2), fps=10)
    sighting, _ = sight(os.fsencode(path), IntakeSettings(settle_seconds=0))
    with opened(os.fsencode(path)) as fd:
        (tmp_path / "other.mp4").rename(path)
        signed = signing.sign(fd, video_id=sighting.video_id, name="x")
        assert unchanged(fd, sighting)
    expected = sign_file(good["good.mp4"]).signatures
    np.testing.assert_array_equal(signed.signatures.pdq, expected.pdq)
    assert sha256(path) != signed.signatures.video_id


def test_a_file_rewritten_while_it_is_decoded_is_noticed(tmp_path, good, signing):
    # T34
    path = tmp_path / "x.mp4"
    path.write_bytes(good["good.mp4"].read_bytes())
    sighting, _ = sight(os.fsencode(path), IntakeSettings(settle_seconds=0))
    with opened(os.fsencode(path)) as fd:
        with path.open("r+b") as file:
            file.write(bytes(1000))
        with contextlib.suppress(VideoError):
            signing.sign(fd, video_id=sighting.video_id, name="x")
        assert not unchanged(fd, sighting)


def test_a_file_cut_to_nothing_while_it_is_decoded_ends_in_a_reason(tmp_path, good, signing):
    path = tmp_path / "x.mp4"
    path.write_bytes(good["good.mp4"].read_bytes())
    with opened(os.fsencode(path)) as fd:
        os.truncate(path, 0)
        with pytest.raises(VideoError):
            signing.sign(fd, video_id="ab" * 32, name="x")


def test_a_deleted_file_that_is_open_is_signed(tmp_path, good, signing):
    # T35
    path = tmp_path / "x.mp4"
    path.write_bytes(good["good.mp4"].read_bytes())
    with opened(os.fsencode(path)) as fd:
        path.unlink()
        signing.sign(fd, video_id="ab" * 32, name="x")
    sighting, _ = sight(os.fsencode(path), IntakeSettings(settle_seconds=0))
    assert sighting.reason == "io_error"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_we_may_not_read_is_an_io_error(tmp_path, good, sign_file):
    path = tmp_path / "x.mp4"
    path.write_bytes(good["good.mp4"].read_bytes())
    path.chmod(0)
    assert sign_file(path).reason == "io_error"


# --- T56, T59: nothing leaks, nothing calls home ----------------------------------------------------------------------


def test_no_file_appears_anywhere_we_could_write(tmp_path, good, monkeypatch):
    # T56: signing, a refusal, a memory limit and a time limit; the child may not create a file at all
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    write_video(tmp_path / "x.mp4", frames(200), fps=10)
    for limits in ({}, {"wall_seconds_base": 0.01, "wall_seconds_per_video_second": 0.0}, {"memory_bytes": 256 << 20}):
        with Sandbox(load_settings(sandbox=limits)) as sandbox, opened(os.fsencode(tmp_path / "x.mp4")) as fd:
            try:
                sandbox.sign(fd, video_id="ab" * 32, name="x")
            except VideoError as error:
                assert error.reason in ("wall_limit", "memory_limit", "crashed")  # as in the next test
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


def test_too_little_memory_is_never_taken_for_damage(tmp_path, sign_file):
    # from a limit at which nothing decodes to one that is enough: decoders report most failed allocations as bad data.
    # One that a codec does not check ends in a crash.
    write_video(tmp_path / "x.mp4", frames(200), fps=10)
    whole = sign_file(tmp_path / "x.mp4").coverage
    reasons = []
    for mebibytes in range(256, 641, 24):
        settings = load_settings(sandbox={"memory_bytes": mebibytes << 20})
        with Sandbox(settings) as sandbox, opened(os.fsencode(tmp_path / "x.mp4")) as fd:
            try:
                coverage = sandbox.sign(fd, video_id="ab" * 32, name="x").coverage
            except VideoError as error:
                assert error.reason in ("memory_limit", "crashed"), f"{mebibytes} MiB: {error}"
                reasons.append(error.reason)
            else:
                assert coverage.frames == whole.frames
                assert not len(coverage.undecoded)
                reasons.append("")
    assert reasons[0] != "", "the least of them is too little"
    assert "memory_limit" in reasons
    assert reasons[-1] == ""


OFFLINE = """
import os, sys
from videonovelty.sandbox import Sandbox
from videonovelty.settings import load_settings
with Sandbox(load_settings()) as sandbox:
    fd = os.open(sys.argv[1], os.O_RDONLY)
    sandbox.sign(fd, video_id="ab" * 32, name="x")
lines = open("/proc/net/dev").read().splitlines()[2:]
print(sum(int(number) for line in lines for number in line.partition(":")[2].split()))
"""


def test_signing_sends_no_packet(good):
    # T59: in a network namespace of its own, every counter stays at zero
    user = [] if os.geteuid() == 0 else ["--map-current-user"]
    try:
        run = subprocess.run(
            ["unshare", "--net", *user, sys.executable, "-c", textwrap.dedent(OFFLINE), good["good.mp4"]],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("no unshare command")
    if "unshare" in run.stderr and "failed" in run.stderr:
        pytest.skip(f"no network namespace here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "0"
