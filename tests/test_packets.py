"""Coded packets: what proves a stream copy, and everything that must not pass for one.

Copies and forgeries are made on the level of packets, without encoding again. A planted video is cleared by its packets
only where a full decode clears it too.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import make_video
import numpy as np
import pyarrow.parquet as pq
import pytest
from make_known import coded_entry, unit_starts
from test_screening import run

from videonovelty.decode.packets import RECIPE, code_video
from videonovelty.known.shards import PACKETS_PER_ROW
from videonovelty.known.staging import KnownEntry
from videonovelty.known.store import KnownStore
from videonovelty.records import CodedStream
from videonovelty.run import read_states
from videonovelty.sandbox import WireError, decode_coded, encode_coded
from videonovelty.settings import load_settings
from videonovelty.settling import settle

SETTINGS = load_settings()
TICK = Fraction(1, 100)  # eight a frame
IDR = {"x264-params": "keyint=25:min-keyint=25:scenecut=0"}
QUICK = "[signatures]\nlocal = false\n"
WHO = {"actor": "test", "reason": "packets"}


@dataclass(slots=True)
class Coded:
    """A packet, its times in frames."""

    data: bytes
    pts: int
    dts: int
    key: bool


def packets(path: Path) -> list[Coded]:
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        tick = stream.time_base * round(make_video.FPS * 2)
        found = [p for p in source.demux(stream) if p.size]
        first = min(p.pts for p in found)
        return [
            Coded(bytes(p), round((p.pts - first) * tick / 2), round((p.dts - first) * tick / 2), p.is_keyframe)
            for p in found
        ]


def units(path: Path) -> list[list[Coded]]:
    """Return the packets from each key frame to the next, times from the first of them shown."""
    found: list[list[Coded]] = []
    for packet in packets(path):
        if packet.key:
            found.append([])
        found[-1].append(packet)
    zero = [min(p.pts for p in unit) for unit in found]
    return [
        [replace(p, pts=p.pts - start, dts=p.dts - start) for p in unit]
        for unit, start in zip(found, zero, strict=True)
    ]


def joined(parts: Sequence[Sequence[Coded]]) -> Iterator[Coded]:
    """Yield units one after the other on one timeline."""
    start = 0
    for unit in parts:
        for packet in unit:
            yield replace(packet, pts=packet.pts + start, dts=packet.dts + start)
        start += len(unit)


def mux(path: Path, like: Path, sequence: Sequence[Coded] | Iterator[Coded], *, speed: float = 1.0) -> Path:
    """Write packets into a container, with the header of the video `like`."""
    with av.open(str(like)) as template, av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream_from_template(template.streams.video[0])
        for one in sequence:
            packet = av.Packet(one.data)
            packet.pts, packet.dts = round(one.pts * 8 / speed), round(one.dts * 8 / speed)
            packet.time_base = TICK
            packet.is_keyframe = one.key
            packet.stream = stream
            output.mux(packet)
    return path


def code(path: Path) -> CodedStream:
    with path.open("rb") as file:
        return code_video(
            file.fileno(), video_id="ab" * 32, name=path.name, settings=SETTINGS, heartbeat=lambda _seconds: None
        )


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    make_video.make_clip(folder / "one.mp4", 31, 10.0, codec_options=IDR)
    make_video.make_clip(folder / "two.mp4", 32, 8.0, codec_options=IDR)
    make_video.make_clip(folder / "new.mp4", 91, 6.0, codec_options=IDR)
    return folder


# ---- digests


@pytest.mark.parametrize("suffix", ["mkv", "ts", "flv", "mov"])
def test_another_container_gives_the_same_digests_and_times(sources: Path, tmp_path: Path, suffix: str) -> None:
    one = code(sources / "one.mp4")
    copy = code(mux(tmp_path / f"copy.{suffix}", sources / "one.mp4", packets(sources / "one.mp4")))
    assert one.doubt == copy.doubt == ""
    assert np.array_equal(copy.digests, one.digests)
    assert np.array_equal(copy.starts, one.starts)
    assert np.abs(copy.pts_seconds - one.pts_seconds).max() < 0.002
    assert one.starts.sum() == 5
    assert len(one.digests) == 125


@pytest.mark.parametrize(
    ("codec", "suffixes"), [("libx265", ("mkv", "flv")), ("libvpx-vp9", ("mkv", "mp4")), ("libvpx", ("mkv", "webm"))]
)
def test_other_codecs_begin_afresh_at_their_first_packet_at_least(
    tmp_path: Path, codec: str, suffixes: tuple[str, str]
) -> None:
    found = []
    for suffix in suffixes:
        source = make_video.make_clip(tmp_path / f"clip.{suffix}", 5, 2.0, codec=codec, gop=12)
        found.append(code(source))
    assert [one.doubt for one in found] == ["", ""]
    assert np.array_equal(found[0].digests, found[1].digests)
    assert found[0].starts[0]


def test_open_groups_of_pictures_are_one_unit(tmp_path: Path) -> None:
    options = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=3"}
    found = code(make_video.make_clip(tmp_path / "open.mp4", 5, 4.0, codec_options=options))
    assert (found.doubt, int(found.starts.sum())) == ("", 1)


def test_different_picture_sizes_rotation_and_parameters_never_match(sources: Path, tmp_path: Path) -> None:
    first = code(sources / "one.mp4").digests[0]
    for name, options in {
        "turned": {"rotation": 90, "width": 96, "height": 160},
        "quality": {"crf": 24},
        "level": {"codec_options": {"x264-params": IDR["x264-params"] + ":level=31"}},
    }.items():
        other = code(make_video.make_clip(tmp_path / f"{name}.mp4", 31, 2.0, **{"codec_options": IDR, **options}))
        assert other.doubt == ""
        assert not np.array_equal(other.digests[0], first), name


def test_the_same_packets_shown_turned_are_the_same_footage(sources: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    data = bytearray((sources / "one.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = b"".join(
        int(v).to_bytes(4, "big", signed=True) for v in (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    )
    turned.write_bytes(data)
    assert np.array_equal(code(turned).digests, code(sources / "one.mp4").digests)


def _two_streams(path: Path, one: Path, other: Path) -> Path:
    with av.open(str(one)) as a, av.open(str(other)) as b, av.open(str(path), "w") as output:
        streams = [output.add_stream_from_template(source.streams.video[0]) for source in (a, b)]
        for source, stream in zip((a, b), streams, strict=True):
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    packet.stream = stream
                    output.mux(packet)
    return path


def _with_discards(path: Path, source: Path) -> Path:
    """Write a copy whose edit list begins a second later: its first packets are decoded, not shown."""
    data = bytearray(source.read_bytes())
    at = data.index(b"elst") + 4
    scale_at = data.index(b"mdhd") + 4 + 12
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    media = at + 8 + 4
    data[media : media + 4] = (int.from_bytes(data[media : media + 4], "big") + scale).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def test_what_may_show_something_else_is_a_doubt(sources: Path, tmp_path: Path) -> None:
    one, new = sources / "one.mp4", sources / "new.mp4"
    truncated = tmp_path / "truncated.mp4"
    whole = mux(tmp_path / "front.mkv", one, packets(one)).read_bytes()
    truncated.write_bytes(whole[: len(whole) // 2])
    cases = {
        "two streams": _two_streams(tmp_path / "two.mp4", one, new),
        "hidden by an edit list": _with_discards(tmp_path / "edit.mp4", one),
        "cut off": truncated,
        "parameter sets change": make_video.size_change(tmp_path / "sets.ts", 5, 2.0),
        "4:4:4": make_video.make_clip(tmp_path / "444.mp4", 5, 1.0, pixel_format="yuv444p"),
        "no times": make_video.make_clip(tmp_path / "raw.h264", 5, 1.0, container="h264"),
        "animation": make_video.make_clip(tmp_path / "a.gif", 5, 1.0),
        "repeated times": mux(tmp_path / "t.mkv", one, [replace(p, pts=p.pts // 2 * 2 + 2) for p in packets(one)]),
    }
    doubts = {name: code(path) for name, path in cases.items()}
    assert [name for name, coded in doubts.items() if not coded.doubt] == []
    assert all(len(coded.digests) == 0 for coded in doubts.values())


def test_a_child_s_answer_is_checked(sources: Path) -> None:
    coded = code(sources / "two.mp4")
    payload = encode_coded(coded)
    back = decode_coded(payload, video_id="ab" * 32)
    assert encode_coded(back) == payload
    assert np.array_equal(back.digests, coded.digests)
    for wrong in (payload[:-1], payload + b"\0", payload[:40], b"VNSV" + payload[4:], b""):
        with pytest.raises(WireError):
            decode_coded(wrong, video_id="ab" * 32)
    with pytest.raises(WireError, match="another video"):
        decode_coded(payload, video_id="cd" * 32)
    at = payload.index(b'"doubt":""')
    with pytest.raises(WireError):  # a doubt and packets exclude each other
        decode_coded(_with_header(payload, at, b'"doubt":"x"'), video_id="ab" * 32)


def _with_header(payload: bytes, at: int, text: bytes) -> bytes:
    length = int.from_bytes(payload[8:12], "little")
    header = payload[12 : 12 + length]
    new = header[: at - 12] + text + header[at - 12 + len(b'"doubt":""') :]
    rest = payload[12 + length + (-(12 + length) % 8) :]
    front = payload[:8] + len(new).to_bytes(4, "little") + new
    return front + bytes(-len(front) % 8) + rest


# ---- the store


def made(number: int, seed: int, n: int = 60, every: int = 20) -> KnownEntry:
    return coded_entry(number, RECIPE, seed=seed, n=n, every=every)


def test_units_come_back_as_they_were_stored_however_long(tmp_path: Path) -> None:
    store = KnownStore.create(tmp_path / "store")
    n = 2 * PACKETS_PER_ROW + 7
    entries = [made(1, 1), made(2, 2, n=n, every=n), made(3, 3, every=1)]
    snapshot = store.add(entries, **WHO)
    for one in entries:
        assert one.coded is not None
        found = snapshot.coded_units(unit_starts(one), RECIPE, at_most=4)
        assert [len(units_) for units_ in found] == [1] * len(found)
        assert [f[0].video_id for f in found] == [one.video.video_id] * len(found)
        assert np.array_equal(np.concatenate([f[0].digests for f in found]), one.coded.digests)
        assert np.allclose(np.concatenate([f[0].pts_seconds for f in found]), one.coded.pts_seconds)
    assert snapshot.coded([e.video.video_id for e in entries], RECIPE) == {e.video.video_id for e in entries}
    assert snapshot.coded_units(unit_starts(entries[0]), "packets-0", at_most=4) == [[], [], []]
    assert store.verify() == []
    assert (store.stats()["coded_videos"], store.stats()["coded_units"]) == (3, 3 + 1 + 60)


def test_adding_again_removing_and_compacting_keep_coded_packets_right(tmp_path: Path) -> None:
    store = KnownStore.create(tmp_path / "store")
    one, two = made(1, 1), made(2, 2)
    store.add([one, two], **WHO)
    again = replace(two.video, memberships=(replace(two.video.memberships[0], list_name="again"),))
    store.add([replace(two, video=again), made(3, 3)], **WHO)
    assert store.verify() == []
    assert store.stats()["coded_videos"] == 3
    snapshot = store.remove(video_ids=[one.video.video_id], **WHO)
    assert snapshot.coded_units(unit_starts(one), RECIPE, at_most=4) == [[], [], []]
    assert snapshot.coded([one.video.video_id], RECIPE) == set()
    del snapshot  # what it holds would stay
    compacted = store.compact(**WHO)
    assert store.verify() == []
    assert len(compacted.manifest.of_kind("coded")) == 1
    assert [len(f) for f in compacted.coded_units(unit_starts(two), RECIPE, at_most=4)] == [1, 1, 1]
    assert compacted.coded_units(unit_starts(one), RECIPE, at_most=4) == [[], [], []]
    bytes_left = b"".join(path.read_bytes() for path in (tmp_path / "store" / "coded").iterdir())
    assert unit_starts(one)[0] not in bytes_left
    assert unit_starts(two)[0] in bytes_left
    back = store.add([one], **WHO)
    assert [len(f) for f in back.coded_units(unit_starts(one), RECIPE, at_most=4)] == [1, 1, 1]


def test_two_writers_of_the_same_packets_store_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KnownStore.create(tmp_path / "store")
    other = KnownStore.open(tmp_path / "store")
    raced = []

    def entries() -> Iterator[KnownEntry]:
        yield made(1, 1)
        if not raced:
            raced.append(other.add([made(1, 1), made(4, 4)], **WHO))
        yield made(2, 2)

    store.add(entries(), **WHO)
    assert store.verify() == []
    assert store.stats()["coded_videos"] == 3


def test_altered_coded_packets_are_found(tmp_path: Path) -> None:
    store = KnownStore.create(tmp_path / "store")
    store.add([made(1, 1)], **WHO)
    path = next((tmp_path / "store" / "coded").iterdir())
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert any("has changed" in problem for problem in store.verify())


# ---- settling, against a real store


@dataclass(frozen=True, slots=True)
class Planted:
    """A store of two videos, and what may or may not be cleared against it."""

    folder: Path
    store: Path

    def cleared(self, path: Path, **overrides: dict[str, float]) -> bool:
        """Tell whether the packets of a file settle it."""
        settings = load_settings(signatures={"local": False}, **overrides)
        snapshot = KnownStore.open(self.store).snapshot()
        from videonovelty.signatures import scheme

        return settle(code(path), snapshot, scheme(settings.signatures), settings) is not None


@pytest.fixture(scope="module")
def planted(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    known = folder / "known"
    known.mkdir()
    for name in ("one.mp4", "two.mp4"):
        (known / name).write_bytes((sources / name).read_bytes())
    quick = folder / "quick.toml"
    quick.write_text(QUICK)
    run("known", "add", known, "--store", folder / "store", "--list", "x", "--workers", "0", "--config", quick)
    return Planted(folder, folder / "store")


Forgery = Callable[[Path, Path], Path]


def _changed_packet(sources: Path, path: Path) -> Path:
    """Change one bit of one picture, a B frame's last bytes."""
    sequence = packets(sources / "one.mp4")
    data = bytearray(sequence[60].data)
    data[-2] ^= 4
    sequence[60] = replace(sequence[60], data=bytes(data))
    return mux(path, sources / "one.mp4", sequence)


def _inserted(seconds: int, at: int) -> Forgery:
    def forge(sources: Path, path: Path) -> Path:
        one, new = units(sources / "one.mp4"), packets(sources / "new.mp4")[: round(seconds * make_video.FPS)]
        shown = sorted(p.pts for p in new)  # of a cut group some pictures are missing: close up
        new = [replace(p, pts=shown.index(p.pts)) for p in new]
        return mux(path, sources / "one.mp4", joined([*one[:at], new, *one[at:]]))

    return forge


def _inserted_between(seconds: float) -> Forgery:
    """Encode known footage with new footage in it as the known video was, so that most units stay what they were."""

    def forge(sources: Path, path: Path) -> Path:
        return make_video.splice(
            path, 31, 10.0, insert_at=5.0, insert_seconds=seconds, insert_seed=91, codec_options=IDR
        )

    return forge


FORGERIES: dict[str, Forgery] = {
    "1 s of new footage put in at a key frame": _inserted(1, 2),
    "3 s of new footage put in at a key frame": _inserted(3, 1),
    "5 s of new footage put in at a key frame": _inserted(5, 4),
    "new footage at the beginning": _inserted(3, 0),
    "new footage at the end": _inserted(1, 5),
    "1 s encoded in between": _inserted_between(1.0),
    "3 s encoded in between": _inserted_between(3.0),
    "5 s encoded in between": _inserted_between(5.0),
    "one picture changed": _changed_packet,
    "a picture left out": lambda s, p: mux(
        p, s / "one.mp4", [c for i, c in enumerate(packets(s / "one.mp4")) if i != 60]
    ),
    "pictures in another order": lambda s, p: mux(
        p,
        s / "one.mp4",
        [
            replace(c, pts=(c.pts ^ 1 if 50 <= c.pts < 74 else c.pts) + 2)
            for c in packets(s / "one.mp4")
        ],
    ),
    "played twice as fast": lambda s, p: mux(p, s / "one.mp4", packets(s / "one.mp4"), speed=2.0),
    "played 2 % faster": lambda s, p: mux(p, s / "one.mp4", packets(s / "one.mp4"), speed=1.02),
    "key frames alone": lambda s, p: mux(
        p, s / "one.mp4", [replace(u[0], pts=25 * n, dts=25 * n) for n, u in enumerate(units(s / "one.mp4"))]
    ),
    "a minute of nothing in between": lambda s, p: mux(
        p, s / "one.mp4", [replace(c, pts=c.pts + 750 * (i >= 50), dts=c.dts + 750 * (i >= 50))
                           for i, c in enumerate(packets(s / "one.mp4"))]
    ),
    "other footage": lambda s, p: mux(p, s / "new.mp4", packets(s / "new.mp4")),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_what_is_not_a_stream_copy_is_decoded(intake: dict[str, Path], planted: Planted, name: str) -> None:
    assert not planted.cleared(intake[name])


ALSO_NOT = frozenset(
    {"played twice as fast", "played 2 % faster", "key frames alone", "a minute of nothing in between"}
)
"""Known footage that a decode may clear where packets do not; left out of whole scans for their time."""

COPIES: dict[str, Forgery] = {
    "whole": lambda s, p: mux(p, s / "one.mp4", packets(s / "one.mp4")),
    "cut at key frames": lambda s, p: mux(p, s / "one.mp4", joined(units(s / "one.mp4")[1:4])),
    "two joined": lambda s, p: mux(p, s / "one.mp4", joined([*units(s / "one.mp4"), *units(s / "two.mp4")])),
    "in another order": lambda s, p: mux(p, s / "one.mp4", joined([units(s / "one.mp4")[n] for n in (2, 3, 0, 1)])),
    "ends within a group": lambda s, p: mux(p, s / "one.mp4", _closed(packets(s / "one.mp4")[:90])),
}


def _closed(sequence: list[Coded]) -> list[Coded]:
    """Return packets without those at the end that are shown behind a missing one."""
    shown = {p.pts for p in sequence}
    whole = next(n for n in range(len(sequence) + 1) if n not in shown)
    while sequence[-1].pts >= whole:
        sequence = sequence[:-1]
    return sequence


@pytest.mark.parametrize("name", COPIES)
def test_stream_copies_are_settled(
    sources: Path, intake: dict[str, Path], planted: Planted, tmp_path: Path, name: str
) -> None:
    assert planted.cleared(intake[name])
    assert planted.cleared(COPIES[name](sources, tmp_path / "copy.ts"))


@pytest.fixture(scope="module")
def intake(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the file of each copy and each forgery, all in one folder."""
    folder = tmp_path_factory.mktemp("intake")
    made_files = {}
    for number, (name, forge) in enumerate({**COPIES, **FORGERIES}.items()):
        made_files[name] = folder / f"{number:02d}.mkv"
        forge(sources, made_files[name])
    return made_files


def test_settings_of_the_proof_hold_for_packets_too(sources: Path, planted: Planted, tmp_path: Path) -> None:
    copy = mux(tmp_path / "copy.mkv", sources / "one.mp4", joined(units(sources / "one.mp4")[1:3]))
    assert planted.cleared(copy)
    assert not planted.cleared(copy, proof={"min_seconds": 5.0})
    assert not planted.cleared(copy, verdict={"min_informative_keyframes": 1000})


def test_progressive_and_full_scans_clear_the_same_files(
    intake: dict[str, Path], planted: Planted, tmp_path: Path
) -> None:
    intake = {name: path for name, path in intake.items() if name not in ALSO_NOT}
    found: dict[bool, dict[str, tuple[str, str]]] = {}
    for progressive in (True, False):
        config, folder = tmp_path / f"{progressive}.toml", tmp_path / f"run {progressive}"
        config.write_text(f"{QUICK}[run]\nprogressive = {str(progressive).lower()}\n")
        run("scan", *intake.values(), "--store", planted.store, "--run", folder, "--config", config, "--workers", "0")
        rows = pq.read_table(folder / "verdicts.parquet").to_pylist()
        by_name = {row["path"].rsplit("/", 1)[1]: (row["verdict"], row["reason"]) for row in rows}
        found[progressive] = {name: by_name[path.name] for name, path in intake.items()}
    settled = {name for name, (_, reason) in found[True].items() if reason == "same_packets"}
    assert settled == COPIES.keys()
    assert {name: found[False][name][0] for name in settled} == dict.fromkeys(settled, "known")
    others = intake.keys() - settled
    assert {name: found[True][name] for name in others} == {name: found[False][name] for name in others}
    new = [name for name in intake if "new footage" in name or "encoded in" in name or name == "other footage"]
    assert [name for name in new if found[True][name][0] == "known"] == []
    assert len(new) == 9


def test_a_settled_video_is_explained_and_a_removed_one_settles_nothing(
    intake: dict[str, Path], planted: Planted, tmp_path: Path
) -> None:
    store, folder = tmp_path / "store", tmp_path / "run"
    shutil.copytree(planted.store, store)
    config = planted.folder / "quick.toml"
    scan = ("scan", intake["two joined"], "--store", store, "--run", folder, "--workers", "0", "--config", config)
    document = json.loads(run(*scan, "--json"))
    assert document["counts"]["verdicts"] == {"known": 1}
    [row] = pq.read_table(folder / "verdicts.parquet").to_pylist()
    assert (row["verdict"], row["reason"], row["needs_review"]) == ("known", "same_packets", False)
    assert (row["known_seconds"], row["decoded_seconds"]) == (pytest.approx(18.0, abs=0.1), 0.0)
    segments = pq.read_table(folder / "segments.parquet").to_pylist()
    assert [s["proof"] for s in segments] == ["bytes", "bytes"]
    assert [round(s["end_seconds"]) for s in segments] == [10, 18]
    assert segments[0]["known_video_id"] != segments[1]["known_video_id"]
    assert not list((folder / "parts").glob("?" * 64 + ".parquet"))
    [state] = [state for _, state in read_states(folder).items()]
    assert (state.part_sha256, state.coded_sha256 is not None) == (None, True)

    # the same command again opens nothing, and gives the same tables
    before = (folder / "verdicts.parquet").read_bytes()
    run(*scan)
    assert (folder / "verdicts.parquet").read_bytes() == before

    # lost digests are made up for by decoding; so is a known video that is known no longer
    next((folder / "parts").glob("*.coded.parquet")).unlink()
    run("known", "remove", "--video", segments[1]["known_video_id"], "--store", store, "--reason", "test")
    run(*scan)
    [row] = pq.read_table(folder / "verdicts.parquet").to_pylist()
    assert (row["verdict"], row["reason"]) == ("partly_known", "parts_explained")
    assert len(list((folder / "parts").glob("?" * 64 + ".parquet"))) == 1
