"""The known store: reading codes, committing, opening with many shards, looking up, on this machine's disk.

    python -m benchmarks.store [--codes 4e6] [--shards 2000] [--videos 1e6] [--lookups 150000] [--folder DIR]

Reading and looking up are CPU seconds of one thread with warm files; committing waits for the disk, so it is elapsed.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.made_codes import RESULTS, U8, cpu_seconds, known_codes, table, write_result
from videonovelty.known import KnownEntry, KnownStore
from videonovelty.known import manifest as manifests
from videonovelty.known.manifest import FileEntry
from videonovelty.known.shards import fixed_binary, write_shard
from videonovelty.records import ContentHashes, KnownVideo, ListMembership, MotionProfile, Signatures, no_local_features
from videonovelty.schemas import KNOWN_FRAMES, KNOWN_VIDEOS

SCHEME = "benchmark"
ROWS_A_VIDEO = 40
WHO = {"actor": "benchmark", "reason": "benchmark"}


def frame_rows(ids: U8, codes: U8) -> pa.Table:
    """Return rows of KNOWN_FRAMES: `ROWS_A_VIDEO` codes for each of the ids, a tenth of them with a border."""
    n = len(codes)
    return pa.table(
        {
            "video_id": fixed_binary(np.repeat(ids, ROWS_A_VIDEO, axis=0)[:n]),
            "t_ms": pa.array((np.arange(n) % ROWS_A_VIDEO * 1500).astype(np.int32)),
            "pdq": fixed_binary(codes),
            "pdq_inner": fixed_binary(codes, missing=np.arange(n) % 10 > 0),
            "quality": pa.array((np.arange(n) % 51 + 50).astype(np.uint8)),
            "informative": pa.array(np.ones(n, np.bool_)),
        },
        schema=KNOWN_FRAMES,
    )


def sorted_ids(n: int, seed: int) -> U8:
    """Return n random ids, ascending."""
    ids = np.random.default_rng(seed).integers(0, 256, (n, 32), dtype=np.uint8)
    return ids[np.argsort(ids.view("S32").ravel())]


def adopt(store: KnownStore, files: list[FileEntry], n_videos: int, n_frames: int) -> None:
    """Commit ready-made files as the next snapshot."""
    base = store.snapshot()
    manifests.commit(
        store.path,
        replace(
            base.manifest,
            number=base.number + 1,
            parent=base.number,
            parent_sha256=base.manifest_sha256,
            action="add",
            n_videos=n_videos,
            n_frames=n_frames,
            files=(*base.manifest.files, *files),
        ),
    )


def written(store: KnownStore, kind: str, tables: Iterator[pa.Table], scheme: str = SCHEME) -> FileEntry:
    """Write one shard."""
    made = write_shard(store.path, kind, tables, scheme=scheme, added=1)
    assert made is not None
    return made


def reading(folder: Path, n_codes: int, rounds: int) -> dict[str, Any]:
    """Measure how fast the code column of one shard comes into an array, and all that a join needs."""
    store = KnownStore.create(folder / "one")
    codes = known_codes(n_codes)
    ids = sorted_ids(-(-n_codes // ROWS_A_VIDEO), 1)
    shard = written(store, "frames", iter([frame_rows(ids, codes)]))
    adopt(store, [shard], len(ids), n_codes)
    snapshot = store.snapshot()
    (ref,) = snapshot.frame_shards(SCHEME)

    def views() -> int:
        """Read the column as Arrow gives it: an array for each row group, seen as bytes without a copy."""
        with pq.ParquetFile(ref.path, memory_map=True) as file:
            seen = 0
            for group in range(file.metadata.num_row_groups):
                part = file.read_row_group(group, columns=["pdq"], use_threads=False)["pdq"]
                for chunk in part.chunks:
                    seen += np.frombuffer(chunk.buffers()[1], np.uint8, len(chunk) * 32, chunk.offset * 32).nbytes
                del part, chunk  # the next row group takes their memory, which is in the processor's cache
            return seen

    def column() -> U8:
        """Read it into one array, which is one copy more."""
        with pq.ParquetFile(ref.path, memory_map=True) as file:
            out = np.empty((ref.rows, 32), np.uint8)
            place = 0
            for group in range(file.metadata.num_row_groups):
                part = file.read_row_group(group, columns=["pdq"], use_threads=False)["pdq"]
                for chunk in part.chunks:
                    data = np.frombuffer(chunk.buffers()[1], np.uint8, len(chunk) * 32, chunk.offset * 32)
                    out[place : place + len(chunk)] = data.reshape(-1, 32)
                    place += len(chunk)
                del part, chunk, data
            return out

    assert np.array_equal(column(), codes)
    assert np.array_equal(snapshot.load_codes(ref).pdq, codes)
    assert views() == codes.nbytes
    rates: list[list[float]] = [[], [], []]
    ways: tuple[Callable[[], object], ...] = (views, codes.copy, column)
    for _ in range(rounds):
        for rate, way in zip(rates, ways, strict=True):
            rate.append(codes.nbytes / cpu_seconds(way)[0] / 1e9)
    view_rate, copy_rate, column_rate = rates
    whole = [cpu_seconds(lambda: snapshot.load_codes(ref))[0] for _ in range(rounds)]
    some = [ids[i].tobytes().hex() for i in np.random.default_rng(2).integers(0, len(ids), 200)]
    frames = cpu_seconds(lambda: store.snapshot().frames_of(some, SCHEME))[0] / len(some)
    return {
        "codes": n_codes,
        "bytes_a_row": (store.path / shard.path).stat().st_size / n_codes,
        "code_column_gigabytes_a_second": statistics.median(view_rate),
        "code_column_into_one_array_gigabytes_a_second": statistics.median(column_rate),
        "copy_in_memory_gigabytes_a_second": statistics.median(copy_rate),
        "code_column_against_a_copy_in_memory": statistics.median(view_rate) / statistics.median(copy_rate),
        "load_codes_ns_a_row": statistics.median(whole) / n_codes * 1e9,
        "frames_of_ms_a_video": frames * 1e3,
    }


def one_video(number: int) -> KnownEntry:
    """Return a small signed video."""
    video_id = hashlib.sha256(b"%d" % number).hexdigest()
    n = ROWS_A_VIDEO
    rng = np.random.default_rng(number)
    pdq = rng.integers(0, 256, (n, 8, 32), dtype=np.uint8)
    times = np.arange(n, dtype=np.float64) * np.float64(1.5)
    signatures = Signatures(
        video_id, SCHEME, times, times, times + 1.5, pdq, pdq, np.zeros(n, np.bool_), np.full(n, 90, np.uint8),
        np.ones(n, np.bool_), MotionProfile(0.1, np.zeros((600, 16), np.int8), np.zeros((600, 64), np.int8)),
        no_local_features(n),
    )  # fmt: skip
    return KnownEntry(KnownVideo(video_id, 60.0, "", "", (ListMembership("benchmark", "other"),)), signatures)


def committing(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure one commit (the manifest alone) and a whole `add` and `remove` of one video, elapsed."""
    store = KnownStore.create(folder / "commits")
    store.add([one_video(i) for i in range(50)], **WHO)
    commits, adds, removes, cpu = [], [], [], []
    for turn in range(rounds):
        base = store.snapshot()
        made = replace(base.manifest, number=base.number + 1, parent=base.number, parent_sha256=base.manifest_sha256)
        started = time.perf_counter()
        cpu.append(cpu_seconds(lambda: manifests.commit(store.path, made))[0] * 1e3)  # noqa: B023
        commits.append((time.perf_counter() - started) * 1e3)
        entry = one_video(100 + turn)
        started = time.perf_counter()
        store.add([entry], **WHO)
        adds.append((time.perf_counter() - started) * 1e3)
        started = time.perf_counter()
        store.remove(video_ids=[entry.video.video_id], **WHO)
        removes.append((time.perf_counter() - started) * 1e3)
    assert store.verify() == []
    return {
        "commit_ms": statistics.median(commits),
        "commit_best_ms": min(commits),
        "commit_cpu_ms": statistics.median(cpu),
        "add_one_video_ms": statistics.median(adds),
        "remove_one_video_ms": statistics.median(removes),
    }


def opening(folder: Path, n_shards: int, rounds: int) -> dict[str, Any]:
    """Measure opening a store of many small shards, elapsed and CPU, and reading them all."""
    store = KnownStore.create(folder / "many")
    files = [
        written(store, "frames", iter([frame_rows(sorted_ids(5, i), known_codes(5 * ROWS_A_VIDEO, i))]))
        for i in range(n_shards)
    ]
    adopt(store, files, 5 * n_shards, 5 * n_shards * ROWS_A_VIDEO)
    elapsed = []
    for _ in range(rounds):
        started = time.perf_counter()
        KnownStore.open(store.path)
        elapsed.append((time.perf_counter() - started) * 1e3)
    cpu = [cpu_seconds(lambda: KnownStore.open(store.path))[0] * 1e3 for _ in range(rounds)]
    again = [cpu_seconds(lambda: pickle.loads(pickle.dumps(store.snapshot())))[0] * 1e3 for _ in range(rounds)]
    snapshot = store.snapshot()
    seconds, rows = cpu_seconds(
        lambda: sum(len(snapshot.load_codes(shard).pdq) for shard in snapshot.frame_shards(SCHEME))
    )
    assert rows == snapshot.n_frames
    return {
        "shards": n_shards,
        "open_ms": statistics.median(elapsed),
        "open_cpu_ms": statistics.median(cpu),
        "open_and_unpickle_cpu_ms": statistics.median(again),
        "read_all_seconds": seconds,
    }


def looking_up(folder: Path, n_videos: int, n_lookups: int) -> dict[str, Any]:
    """Measure looking a night's digests up, a tenth of them known, and one alone."""
    store = KnownStore.create(folder / "videos")
    ids = sorted_ids(n_videos, 3)
    rng = np.random.default_rng(4)
    md5, sha1 = (rng.integers(0, 256, (n_videos, size), dtype=np.uint8) for size in (16, 20))
    words: dict[str, Any] = {
        "list": "national", "disposition": "abuse", "series": "", "category": "", "victim_identified": "unknown",
        "offender_identified": "unknown", "distributed": "unknown", "source": "import",
    }  # fmt: skip

    def rows(start: int, stop: int) -> pa.Table:
        n = stop - start
        columns = {
            "video_id": fixed_binary(ids[start:stop]),
            "md5": fixed_binary(md5[start:stop]),
            "sha1": fixed_binary(sha1[start:stop]),
            "duration_seconds": np.full(n, 60.0),
            **{name: pa.repeat(value, n) for name, value in words.items()},
            "tags": pa.array([[]] * n, pa.list_(pa.string())),
            "added_in_snapshot": np.ones(n, np.int64),
        }
        return pa.table({name: columns[name] for name in KNOWN_VIDEOS.names}, schema=KNOWN_VIDEOS)

    step = 1 << 18
    parts = (rows(start, min(n_videos, start + step)) for start in range(0, n_videos, step))
    adopt(store, [written(store, "videos", parts, "")], n_videos, 0)
    asked = []
    for i in range(n_lookups):
        if i % 10 == 0:
            k = int(rng.integers(0, n_videos))
            asked.append(ContentHashes(ids[k].tobytes().hex(), md5[k].tobytes().hex(), sha1[k].tobytes().hex(), 1))
        else:
            raw = rng.integers(0, 256, 68, dtype=np.uint8).tobytes()
            asked.append(ContentHashes(raw[:32].hex(), raw[32:48].hex(), raw[48:].hex(), 1))
    snapshot = store.snapshot()
    seconds, found = cpu_seconds(lambda: snapshot.lookup(asked))
    assert sum(v is not None for v in found) == len(range(0, n_lookups, 10))
    fresh = store.snapshot()
    fresh.lookup(asked[:1])
    single = [cpu_seconds(lambda a=a: fresh.lookup([a]))[0] * 1e3 for a in asked[1:60]]  # type: ignore[misc]
    return {
        "videos": n_videos,
        "lookups": n_lookups,
        "batch_seconds": seconds,
        "microseconds_each": seconds / n_lookups * 1e6,
        "one_unknown_or_known_ms": statistics.mean(single),
    }


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=float, default=4e6)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--videos", type=float, default=1e6)
    parser.add_argument("--lookups", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=None, help="on the file system to measure")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "reading": lambda folder: reading(folder, int(wanted.codes), wanted.rounds),
        "committing": lambda folder: committing(folder, 4 * wanted.rounds),
        "opening": lambda folder: opening(folder, wanted.shards, wanted.rounds),
        "looking_up": lambda folder: looking_up(folder, int(wanted.videos), wanted.lookups),
    }
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=wanted.folder) as name:
        for part, measure in parts.items():
            result[part] = measure(Path(name))
            print(part, result[part], flush=True)
    rows = [[part, figure, value] for part, figures in result.items() for figure, value in figures.items()]
    write_result(wanted.out, "store", result, "# Known store\n\n" + table(["part", "figure", "value"], rows))
    plot(result, wanted.out / "store.png")


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw each figure against its bar."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = [
        ("code column, GB/s (at least 4)", result["reading"]["code_column_gigabytes_a_second"], 4.0),
        ("commit, ms (at most 10)", result["committing"]["commit_ms"], 10.0),
        (f"open {result['opening']['shards']} shards, ms (at most 100)", result["opening"]["open_ms"], 100.0),
    ]
    figure, axes = pyplot.subplots(1, len(bars), figsize=(9, 2.6))
    for place, (label, value, bar) in zip(axes, bars, strict=True):
        place.bar([0], [value])
        place.axhline(bar, color="black", linestyle="--")
        place.set_title(label, fontsize=8)
        place.set_xticks([])
        place.text(0, value, f"{value:.3g}", ha="center", va="bottom")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
