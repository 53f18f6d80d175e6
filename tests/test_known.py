"""The known store: what was added is found, what was removed never is, and nothing that fails half-way changes it."""

from __future__ import annotations

import contextlib
import pickle
import random
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from make_known import SCHEME, WHO, contents, entry, expected, md5, sha1, signatures, video_id

from videonovelty.errors import KnownStoreError
from videonovelty.known import KnownEntry, KnownStore, Snapshot, compaction, staging
from videonovelty.known.shards import pack_levels, pack_signs, unpack_levels, unpack_signs
from videonovelty.matching import hamming
from videonovelty.records import KNOWN_POINTS, KNOWN_STEP_SECONDS, ContentHashes, KnownVideo, ListMembership
from videonovelty.schemas import KNOWN_FRAMES, KNOWN_LOCAL, KNOWN_PROFILES, KNOWN_VIDEOS

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


@pytest.fixture
def store(tmp_path: Path) -> KnownStore:
    return KnownStore.create(tmp_path / "store")


def hashes(number: int, **changed: str) -> ContentHashes:
    values = {"video_id": video_id(number), "md5": md5(number), "sha1": sha1(number), **changed}
    return ContentHashes(**values, size_bytes=1)


# ---- opening ----


def test_missing_store_says_how_to_create_it(tmp_path: Path) -> None:
    with pytest.raises(KnownStoreError, match=r"does not exist; create it with `videonovelty known add"):
        KnownStore.open(tmp_path / "nowhere")


def test_folder_of_something_else_is_neither_opened_nor_created(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(KnownStoreError, match="not a known store"):
        KnownStore.open(tmp_path)
    with pytest.raises(KnownStoreError, match="not empty"):
        KnownStore.create(tmp_path)


def test_create_opens_the_store_that_is_there(store: KnownStore) -> None:
    store.add([entry(1)], **WHO)
    assert KnownStore.create(store.path).snapshot().n_videos == 1


def test_half_made_store_is_completed(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "shards").mkdir()
    assert KnownStore.create(tmp_path).snapshot().number == 0


def test_empty_store_answers_everything_with_nothing(store: KnownStore) -> None:
    snapshot = store.snapshot()
    assert (snapshot.n_videos, snapshot.n_frames, snapshot.schemes) == (0, 0, ())
    assert snapshot.lookup([hashes(1)]) == [None]
    assert snapshot.describe([video_id(1)]) == {}
    assert snapshot.frame_shards(SCHEME) == ()
    assert snapshot.frames_of([video_id(1)], SCHEME) == {}
    assert store.verify() == []
    assert store.stats()["videos"] == 0
    assert store.compact(**WHO).n_videos == 0


def test_everything_is_for_its_owner_only(store: KnownStore) -> None:
    store.add([entry(1)], **WHO)
    store.remove(video_ids=[video_id(1)], **WHO)
    store.compact(**WHO)
    for path in (store.path, *store.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


# ---- what was added comes back ----


def test_stored_signatures_come_back_as_they_were(store: KnownStore) -> None:
    snapshot = store.add((entry(i) for i in range(30)), **WHO)
    assert (snapshot.n_videos, snapshot.n_frames, snapshot.schemes) == (30, 180, (SCHEME,))
    ids = [video_id(i) for i in range(30)]
    frames, motion = snapshot.frames_of(ids, SCHEME), snapshot.motion_of(ids, SCHEME)
    local = snapshot.local_of(ids, SCHEME)
    assert list(motion) != [] and set(frames) == set(motion) == set(ids)
    for number in range(30):
        want, got = signatures(number), frames[video_id(number)]
        assert np.array_equal(got.pdq, want.pdq[:, 0])
        assert np.array_equal(got.pdq_inner, want.pdq_inner[:, 0])
        assert np.array_equal(got.quality, want.quality)
        assert np.array_equal(got.informative, want.informative)
        assert np.allclose(got.pts_seconds, want.pts_seconds, atol=0.0005)
        profile = motion[video_id(number)]
        assert profile.step_seconds == KNOWN_STEP_SECONDS
        assert np.array_equal(profile.signs, want.motion.signs[::2])
        assert profile.fine_every == 2
        assert np.array_equal(profile.fine, np.sign(want.motion.fine[::4]))
        assert want.motion.levels is not None
        assert np.array_equal(profile.levels, want.motion.levels[::4])
        features = local[video_id(number)].features
        assert np.array_equal(features.codes, want.local.codes)
        assert np.array_equal(features.xy, want.local.xy)
        assert np.array_equal(features.scale, want.local.scale)
        assert np.array_equal(features.angle, want.local.angle)
        with_any = np.diff(want.local.offsets) > 0
        assert np.allclose(local[video_id(number)].seconds, want.pts_seconds[with_any], atol=0.0005)
        assert np.array_equal(np.diff(features.offsets), np.diff(want.local.offsets)[with_any])


def test_of_local_descriptors_the_best_of_each_keyframe_are_stored(store: KnownStore) -> None:
    many = signatures(1, descriptors=3 * KNOWN_POINTS)
    sizes = np.diff(many.local.offsets)
    assert (sizes > KNOWN_POINTS).any()
    snapshot = store.add([KnownEntry(entry(1).video, many)], **WHO)
    features = snapshot.local_of([video_id(1)], SCHEME)[video_id(1)].features
    assert np.array_equal(np.diff(features.offsets), np.minimum(sizes, KNOWN_POINTS)[sizes > 0])
    starts = many.local.offsets[:-1][sizes > 0]
    for keyframe, (start, size) in enumerate(zip(starts, np.diff(features.offsets), strict=True)):
        stored = features.codes[features.offsets[keyframe] : features.offsets[keyframe + 1]]
        assert np.array_equal(stored, many.local.codes[start : start + size])


def test_profile_at_the_stored_step_is_kept_whole(store: KnownStore) -> None:
    first = store.add([entry(1)], **WHO).motion_of([video_id(1)], SCHEME)[video_id(1)]
    given_entry = entry(2)
    assert given_entry.signatures is not None
    again = type(given_entry.signatures)(
        **{
            name: getattr(given_entry.signatures, name) if name != "motion" else first
            for name in given_entry.signatures.__dataclass_fields__
        }
    )
    snapshot = store.add([KnownEntry(given_entry.video, again)], **WHO)
    second = snapshot.motion_of([video_id(2)], SCHEME)[video_id(2)]
    assert np.array_equal(second.signs, first.signs) and np.array_equal(second.fine, first.fine)
    assert (second.step_seconds, second.fine_every) == (first.step_seconds, first.fine_every)
    assert first.levels is not None
    assert np.array_equal(second.levels, first.levels)


@given(hnp.arrays(np.int16, st.tuples(st.integers(0, 9), st.just(64)), elements=st.integers(-508, 508)))
def test_levels_come_back_from_their_changes(levels: npt.NDArray[np.int16]) -> None:
    packed = pack_levels(levels)
    assert packed is not None and len(packed) == 2 * levels.size
    assert np.array_equal(unpack_levels(packed), levels)


def test_levels_nobody_writes_are_refused_and_none_stay_none() -> None:
    assert unpack_levels(pack_levels(None)) is None
    with pytest.raises(ValueError, match="levels"):
        unpack_levels(bytes([0, 127]) * 64)
    with pytest.raises(ValueError):
        unpack_levels(bytes(63))


@given(st.sampled_from([16, 64]), st.integers(0, 6), st.randoms(use_true_random=False))
def test_signs_come_back_from_two_bits_each(cells: int, rows: int, chance: random.Random) -> None:
    signs = np.array([chance.randint(-1, 1) for _ in range(rows * cells)], np.int8).reshape(rows, cells)
    packed = pack_signs(signs)
    assert len(packed) == signs.size // 4
    assert np.array_equal(unpack_signs(packed, signs.shape[1]), signs)


def test_bytes_that_are_no_signs_are_refused() -> None:
    with pytest.raises(ValueError, match="not packed signs"):
        unpack_signs(bytes([255, 0, 0, 0]), 16)


def test_shards_hold_the_codes_of_every_video_once(store: KnownStore) -> None:
    store.add((entry(i) for i in range(20)), **WHO)
    snapshot = store.add((entry(i, n=3) for i in range(20, 30)), **WHO)
    seen: dict[str, list[bytes]] = {}
    for shard in snapshot.frame_shards(SCHEME):
        codes = snapshot.load_codes(pickle.loads(pickle.dumps(shard)))
        assert (np.diff(codes.video_index) >= 0).all()
        for row, place in enumerate(codes.video_index):
            seen.setdefault(codes.video_ids[int(place)], []).append(codes.pdq[row].tobytes())
    assert seen == {
        video_id(i): [row.tobytes() for row in signatures(i, n=6 if i < 20 else 3).pdq[:, 0]] for i in range(30)
    }
    n_local = sum(len(snapshot.load_local_codes(shard).codes) for shard in snapshot.local_shards(SCHEME))
    assert n_local == sum(len(signatures(i, n=6 if i < 20 else 3).local.codes) for i in range(30))


def test_files_hold_the_columns_the_schemas_promise(store: KnownStore) -> None:
    store.add((entry(i) for i in range(5)), **WHO)
    schemas = {"shards": KNOWN_FRAMES, "local": KNOWN_LOCAL, "profiles": KNOWN_PROFILES, "videos": KNOWN_VIDEOS}
    for folder, schema in schemas.items():
        (path,) = (store.path / folder).glob("*.parquet")
        assert pq.read_schema(path).equals(schema)
        assert pq.read_schema(path).metadata == schema.metadata
    group = pq.ParquetFile(next((store.path / "shards").glob("*.parquet"))).metadata.row_group(0)
    pdq = next(group.column(i) for i in range(6) if group.column(i).path_in_schema == "pdq")
    assert pdq.compression == "UNCOMPRESSED"
    assert "PLAIN" in pdq.encodings
    assert "RLE_DICTIONARY" not in pdq.encodings


def test_video_without_keyframes_or_without_signatures_is_still_known(store: KnownStore) -> None:
    snapshot = store.add([entry(1, n=0), entry(2, signed=False)], **WHO)
    assert snapshot.n_videos == 2
    assert all(snapshot.lookup([hashes(1), hashes(2)]))
    assert snapshot.frames_of([video_id(1), video_id(2)], SCHEME) == {}
    assert snapshot.signed([video_id(1), video_id(2)], SCHEME) == {video_id(1)}
    assert store.verify() == []


def test_schemes_are_kept_apart(store: KnownStore) -> None:
    store.add([entry(1, scheme="old")], **WHO)
    snapshot = store.add([entry(1, scheme="new")], **WHO)
    assert snapshot.schemes == ("new", "old")
    assert snapshot.n_videos == 1
    assert [len(snapshot.frame_shards(scheme)) for scheme in ("old", "new", "other")] == [1, 1, 0]
    assert snapshot.frames_of([video_id(1)], "other") == {}
    assert store.verify() == []


# ---- looking up ----


def test_lookup_finds_by_any_digest_and_never_by_a_contradicted_one(store: KnownStore) -> None:
    snapshot = store.add((entry(i) for i in range(50)), **WHO)
    other = "ab" * 32
    asked = [
        hashes(3),
        hashes(60),
        hashes(4, video_id=other),
        hashes(5, video_id=other, md5=""),
        hashes(6, video_id=other, sha1="cd" * 20),  # an MD5 collision made on purpose
        hashes(7, md5="", sha1=""),
    ]
    found = [video.video_id if video else None for video in snapshot.lookup(asked)]
    assert found == [video_id(3), None, video_id(4), video_id(5), None, video_id(7)]


def test_lookup_puts_together_what_lists_with_different_digests_say(store: KnownStore) -> None:
    store.add([entry(1, ["A"])], **WHO)
    by_md5 = KnownVideo("cc" * 32, 0.0, md5(1), "", (ListMembership("B", "abuse"),))
    snapshot = store.add([KnownEntry(by_md5, None)], **WHO)
    (video,) = snapshot.lookup([hashes(1)])
    assert video is not None
    assert video.video_id == video_id(1)
    assert [m.list_name for m in video.memberships] == ["A", "B"]


def test_describe_gives_back_what_each_list_says(store: KnownStore) -> None:
    store.add([entry(5, ["A"])], **WHO)
    snapshot = store.add([entry(5, ["B"], disposition="other")], **WHO)
    video = snapshot.describe([video_id(5), video_id(6)])[video_id(5)]
    assert video.duration_seconds == 3.0
    assert (video.md5, video.sha1) == (md5(5), sha1(5))
    assert video.memberships == (
        entry(5, ["A"]).video.memberships[0],
        entry(5, ["B"], disposition="other").video.memberships[0],
    )


def test_snapshot_pickles_as_path_and_number(store: KnownStore) -> None:
    first = store.add([entry(1)], **WHO)
    store.add([entry(2)], **WHO)
    assert len(pickle.dumps(first)) < 500
    assert contents(pickle.loads(pickle.dumps(first))) == expected({1: "A"})


# ---- adding again ----


def test_adding_again_stores_only_what_is_new(store: KnownStore) -> None:
    store.add((entry(i) for i in range(10)), **WHO)
    again = store.add((entry(i) for i in range(10)), **WHO)
    assert again.number == 1
    more = store.add((entry(i, ["A", "B"]) for i in range(5, 12)), **WHO)
    assert more.manifest.changes == {
        "videos_added": 2,
        "memberships_added": 9,
        "videos_signed": 2,
        "frames_added": 12,
    }
    assert contents(more) == expected({**dict.fromkeys(range(5), "A"), **dict.fromkeys(range(5, 12), "AB")})
    assert store.verify() == []


def test_video_given_twice_in_one_go_is_stored_once(store: KnownStore) -> None:
    snapshot = store.add([entry(1, ["A"]), entry(1, ["A"]), entry(1, ["B"])], **WHO)
    assert (snapshot.n_videos, snapshot.n_frames) == (1, 6)
    assert contents(snapshot) == expected({1: "AB"})
    assert store.verify() == []


def test_signatures_come_later_to_a_video_known_by_digest(store: KnownStore) -> None:
    store.add([entry(1, signed=False)], **WHO)
    snapshot = store.add([entry(1)], **WHO)
    assert (snapshot.n_videos, snapshot.n_frames) == (1, 6)


def test_many_small_shards_are_written_while_entries_arrive(store: KnownStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "BATCH_ENTRIES", 4)
    monkeypatch.setattr(staging, "SHARD_FRAMES", 30)
    monkeypatch.setattr(staging, "SHARD_VIDEOS", 7)
    snapshot = store.add((entry(i) for i in range(40)), **WHO)
    assert len(snapshot.frame_shards(SCHEME)) == 5
    assert snapshot.number == 1
    assert contents(snapshot) == expected(dict.fromkeys(range(40), "A"))
    assert store.verify() == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (KnownEntry(KnownVideo("xyz", 1.0, memberships=(ListMembership("A", "abuse"),)), None), "hex"),
        (KnownEntry(KnownVideo(video_id(1), 1.0), None), "on no list"),
        (KnownEntry(KnownVideo(video_id(1), 1.0, memberships=(ListMembership("A", "bad"),)), None), "disposition"),
        (KnownEntry(KnownVideo(video_id(1), 1.0, "ab", "", (ListMembership("A", "abuse"),)), None), "md5"),
        (KnownEntry(entry(1).video, signatures(2)), "signatures of"),
    ],
)
def test_entry_that_could_not_be_given_back_stops_the_add(store: KnownStore, wrong: KnownEntry, message: str) -> None:
    with pytest.raises(KnownStoreError, match=message):
        store.add([entry(3), wrong], **WHO)
    assert store.snapshot().number == 0
    assert store.verify() == []
    assert list((store.path / "shards").iterdir()) == []


def test_change_needs_to_say_who_makes_it(store: KnownStore) -> None:
    with pytest.raises(KnownStoreError, match="who"):
        store.add([entry(1)], actor="", reason="")
    assert store.snapshot().number == 0


# ---- removing ----


def test_removed_video_never_matches_after_the_next_open(store: KnownStore) -> None:
    before = store.add((entry(i) for i in range(10)), **WHO)
    after = store.remove(video_ids=[video_id(3)], **WHO)
    assert after.manifest.changes["frames_removed"] == 6
    assert after.lookup([hashes(3)]) == [None]
    assert after.describe([video_id(3)]) == {}
    assert after.frames_of([video_id(3)], SCHEME) == {}
    assert after.motion_of([video_id(3)], SCHEME) == {}
    assert after.local_of([video_id(3)], SCHEME) == {}
    query = signatures(3).pdq[:, 0]
    for snapshot, hits in ((before, 6), (after, 0)):
        (shard,) = snapshot.frame_shards(SCHEME)
        codes = snapshot.load_codes(shard)
        assert len(codes.pdq) == snapshot.n_frames == 54 + hits
        assert len(hamming.scan(codes.pdq, query, 31).query_index) == hits
        assert (video_id(3) in codes.video_ids) == (hits > 0)
    assert contents(before)[video_id(3)] == {"A"}  # a pinned snapshot is not disturbed
    assert store.verify() == []


def test_removing_a_list_keeps_videos_other_lists_hold(store: KnownStore) -> None:
    store.add([entry(1, ["A"]), entry(2, ["A", "B"]), entry(3, ["B"])], **WHO)
    snapshot = store.remove(list_name="A", **WHO)
    assert contents(snapshot) == expected({2: "B", 3: "B"})
    assert (snapshot.n_videos, snapshot.n_frames) == (2, 12)
    assert store.stats()["lists"] == {"B": 2}
    assert store.verify() == []


def test_video_and_list_together_narrow_the_removal(store: KnownStore) -> None:
    store.add([entry(1, ["A", "B"]), entry(2, ["A"])], **WHO)
    snapshot = store.remove(video_ids=[video_id(1)], list_name="A", **WHO)
    assert contents(snapshot) == expected({1: "B", 2: "A"})


def test_removed_video_can_be_added_again(store: KnownStore) -> None:
    store.add([entry(1), entry(2)], **WHO)
    store.remove(video_ids=[video_id(1)], **WHO)
    snapshot = store.add([entry(1)], **WHO)
    assert contents(snapshot) == expected({1: "A", 2: "A"})
    assert len(snapshot.frames_of([video_id(1)], SCHEME)[video_id(1)].pdq) == 6
    assert sum(len(snapshot.load_codes(s).pdq) for s in snapshot.frame_shards(SCHEME)) == 12
    assert store.verify() == []
    store.remove(video_ids=[video_id(1)], **WHO)
    assert contents(store.compact(**WHO)) == expected({2: "A"})
    assert store.verify() == []


def test_removing_nothing_is_an_error(store: KnownStore) -> None:
    store.add([entry(1)], **WHO)
    for what in ({"video_ids": [video_id(9)]}, {"list_name": "Z"}, {}):
        with pytest.raises(KnownStoreError):
            store.remove(**what, **WHO)  # type: ignore[arg-type]
    assert store.snapshot().number == 1


def test_compact_makes_the_bytes_disappear(store: KnownStore) -> None:
    store.add((entry(i) for i in range(10)), **WHO)
    store.add((entry(i) for i in range(10, 20)), **WHO)
    store.remove(video_ids=[video_id(3)], **WHO)
    needles = [signatures(3).pdq[k, 0].tobytes() for k in range(6)] + [bytes.fromhex(video_id(3))]

    def anywhere() -> bool:
        return any(n in p.read_bytes() for n in needles for p in store.path.rglob("*") if p.is_file())

    assert anywhere()
    old = Snapshot(store.path, 1)
    snapshot = store.compact(**WHO)
    assert not anywhere()
    assert contents(snapshot) == expected({i: "A" for i in range(20) if i != 3})
    assert len(snapshot.frame_shards(SCHEME)) == 1
    assert store.stats()["tombstones"] == 0
    assert store.verify() == []
    assert [line.available for line in store.log()] == [True, False, False, False, True]
    with pytest.raises(KnownStoreError, match="compacted away"):
        old.describe([video_id(1)])
    with pytest.raises(KnownStoreError, match="compacted away"):
        store.rollback(1, **WHO)


def test_compacting_in_parts_loses_nothing(store: KnownStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in (0, 20, 40):
        store.add((entry(i) for i in range(start, start + 20)), **WHO)
    before = store.snapshot()
    wanted = before.frames_of([video_id(i) for i in range(60)], SCHEME)
    monkeypatch.setattr(compaction, "PART_ROWS", 50)
    monkeypatch.setattr(compaction, "SHARD_ROWS", dict.fromkeys(compaction.SHARD_ROWS, 100))
    snapshot = store.compact(**WHO)
    assert len(snapshot.frame_shards(SCHEME)) > 1
    got = snapshot.frames_of([video_id(i) for i in range(60)], SCHEME)
    assert all(np.array_equal(got[v].pdq, wanted[v].pdq) for v in wanted)
    assert store.verify() == []


def test_rollback_brings_a_snapshot_back_as_a_new_one(store: KnownStore) -> None:
    store.add([entry(1)], **WHO)
    store.add([entry(2)], **WHO)
    store.remove(video_ids=[video_id(1)], **WHO)
    snapshot = store.rollback(1, **WHO)
    assert snapshot.number == 4
    assert contents(snapshot) == expected({1: "A"})
    assert contents(store.remove(video_ids=[video_id(1)], **WHO)) == {}
    assert contents(store.add([entry(1), entry(2)], **WHO)) == expected({1: "A", 2: "A"})
    assert store.verify() == []


def test_log_tells_who_did_what_and_why(store: KnownStore) -> None:
    store.add([entry(1)], actor="imports", reason="ICSE delivery 12")
    store.remove(video_ids=[video_id(1)], actor="m.keller", reason="court order 5/26")
    lines = store.log()
    assert [(line.number, line.action, line.actor, line.reason) for line in lines] == [
        (0, "create", "videonovelty", ""),
        (1, "add", "imports", "ICSE delivery 12"),
        (2, "remove", "m.keller", "court order 5/26"),
    ]
    assert lines[1].changes["videos_added"] == 1
    assert "pyarrow" in lines[1].versions
    assert lines[1].time.endswith("+00:00")


def test_stats_count_videos_by_list_and_disposition(store: KnownStore) -> None:
    store.add([entry(1, ["A", "B"]), entry(2, ["A"])], **WHO)
    store.add([entry(3, ["C"], disposition="benign"), entry(4, signed=False)], **WHO)
    stats = store.stats()
    assert stats["videos"] == 4
    assert stats["frames"] == 18
    assert stats["lists"] == {"A": 3, "B": 1, "C": 1}
    assert stats["dispositions"] == {"abuse": 3, "benign": 1}
    assert stats["schemes"] == {
        SCHEME: {
            "videos": 3,
            "frames": 18,
            "descriptors": sum(len(signatures(i).local.codes) for i in (1, 2, 3)),
            "stop_frames": 0,
        }
    }


def test_stop_frames_are_the_pictures_many_videos_share() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (600, 32), dtype=np.uint8)
    owners = np.repeat(np.arange(100), 6)
    black, logo = codes[0].copy(), codes[7].copy()
    codes[::6] = black  # in all videos
    codes[1:60:6] = logo  # in ten
    codes[61 : 61 + 6 * 5 : 6] = codes[400]  # in five and one more
    codes[2], codes[3] = codes[4], codes[4]  # thrice in one video: no sign of anything
    found, in_videos = compaction.stop_frames(codes, owners)
    assert np.array_equal(found[:2], np.stack([black, logo]))
    assert in_videos.tolist()[:2] == [100, 10]
    assert len(found) <= 3


def test_compact_finds_the_stop_frames_and_stats_shows_them(store: KnownStore) -> None:
    entries = [entry(i) for i in range(12)]
    for made in entries:
        assert made.signatures is not None
        made.signatures.pdq[0, 0] = 7
        made.signatures.informative[0] = True
    store.add(entries, **WHO)
    snapshot = store.compact(**WHO)
    assert snapshot.stop_codes(SCHEME).tolist() == [[7] * 32]
    assert store.stats()["stop_frames"] == 1
    assert len(store.compact(**WHO).stop_codes(SCHEME)) == 1
    assert store.verify() == []


# ---- independence ----


def matches(snapshot: Snapshot, queries: np.ndarray) -> set[tuple[int, str, float, int]]:
    found: set[tuple[int, str, float, int]] = set()
    for shard in snapshot.frame_shards(SCHEME):
        codes = snapshot.load_codes(shard)
        for q, k, d in zip(*hamming.join(codes.pdq, queries, 31), strict=True):
            found.add((int(q), codes.video_ids[int(codes.video_index[k])], float(codes.seconds[k]), int(d)))
    return found


def test_partition_of_the_store_changes_no_match(tmp_path: Path) -> None:
    queries = np.concatenate([signatures(i).pdq[:, 0] for i in range(0, 40, 3)])
    queries[::2, :2] ^= 3
    one = KnownStore.create(tmp_path / "one")
    one.add((entry(i) for i in range(40)), **WHO)
    many = KnownStore.create(tmp_path / "many")
    for start in range(0, 40, 7):
        many.add((entry(i) for i in reversed(range(start, min(40, start + 7)))), **WHO)
    together = matches(one.snapshot(), queries)
    assert len(together) == len(queries)
    assert matches(many.snapshot(), queries) == together
    assert matches(many.compact(**WHO), queries) == together


def test_adding_unrelated_videos_changes_nothing_for_the_others(store: KnownStore) -> None:
    first = store.add((entry(i) for i in range(10)), **WHO)
    queries = np.concatenate([signatures(i).pdq[:, 0] for i in range(10)])
    videos, found = first.lookup([hashes(i) for i in range(10)]), matches(first, queries)
    second = store.add((entry(i, ["Z"]) for i in range(100, 160)), **WHO)
    assert second.lookup([hashes(i) for i in range(10)]) == videos
    assert matches(second, queries) == found


# ---- a model of the store ----


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.lists(st.integers(0, 7), min_size=1, max_size=4), st.sampled_from("ABC")),
            st.tuples(st.just("remove"), st.integers(0, 7), st.sampled_from(["", "A", "B", "C"])),
            st.tuples(st.just("remove list"), st.sampled_from("ABC")),
            st.tuples(st.just("compact")),
            st.tuples(st.just("rollback"), st.integers(0, 10)),
        ),
        max_size=8,
    )
)
def test_any_order_of_changes_leaves_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[object, ...]]
) -> None:
    store = KnownStore.create(tmp_path_factory.mktemp("model") / "store")
    model: dict[int, set[str]] = {}
    history: dict[int, dict[int, set[str]]] = {0: {}}
    for step in steps:
        before = store.snapshot().number
        with contextlib.suppress(KnownStoreError):
            match step:
                case ("add", list(numbers), str(name)):
                    for number in numbers:
                        model.setdefault(number, set()).add(name)
                    store.add([entry(number, [name], n=2) for number in numbers], **WHO)
                case ("remove", int(number), str(name)):
                    store.remove(video_ids=[video_id(number)], list_name=name or None, **WHO)
                    model[number] = model[number] - {name} if name else set()
                case ("remove list", str(name)):
                    store.remove(list_name=name, **WHO)
                    model = {number: lists - {name} for number, lists in model.items()}
                case ("compact",):
                    store.compact(**WHO)
                case ("rollback", int(number)):
                    store.rollback(number, **WHO)
                    model = history[number]  # refused, and not reached, when its files are gone
        model = {number: set(lists) for number, lists in model.items() if lists}
        latest = store.snapshot()
        if latest.number > before:
            history[latest.number] = {number: set(lists) for number, lists in model.items()}
        assert contents(latest) == {video_id(number): lists for number, lists in model.items()}
        assert set(latest.frames_of([video_id(i) for i in range(8)], SCHEME)) == {video_id(i) for i in model}
        assert store.verify() == []


# ---- damage ----


def test_verify_names_every_damaged_or_missing_file(store: KnownStore) -> None:
    snapshot = store.add((entry(i) for i in range(5)), **WHO)
    changed, missing = snapshot.manifest.of_kind("frames")[0], snapshot.manifest.of_kind("local")[0]
    path = store.path / changed.path
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    (store.path / missing.path).unlink()
    problems = store.verify()
    assert any(changed.path in p and "changed" in p for p in problems)
    assert any(missing.path in p and "missing" in p for p in problems)
    assert len(problems) == 2


def test_cut_shard_is_an_error_and_never_an_empty_answer(store: KnownStore) -> None:
    snapshot = store.add((entry(i) for i in range(5)), **WHO)
    (shard,) = snapshot.frame_shards(SCHEME)
    shard.path.write_bytes(shard.path.read_bytes()[:-100])
    with pytest.raises(KnownStoreError, match="known verify"):
        store.snapshot().load_codes(shard)
    with pytest.raises(KnownStoreError, match="known verify"):
        store.snapshot().frames_of([video_id(1)], SCHEME)


def test_missing_manifest_in_the_middle_is_noticed(store: KnownStore) -> None:
    for number in range(3):
        store.add([entry(number)], **WHO)
    (store.path / "manifests/000000000002.json").unlink()
    assert store.verify() == ["snapshots are missing from the history"]


def test_rewritten_history_is_noticed(store: KnownStore, tmp_path: Path) -> None:
    other = KnownStore.create(tmp_path / "other")
    other.add([entry(7)], actor="someone else", reason="")
    store.add([entry(1)], **WHO)
    store.add([entry(2)], **WHO)
    path = store.path / "manifests/000000000001.json"
    path.write_bytes((other.path / "manifests/000000000001.json").read_bytes())
    assert any("snapshot 1 is not the one" in p for p in store.verify())
