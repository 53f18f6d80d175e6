"""The join of a night on Dask: one worker process against two, what the engine costs beside the kernels, task sizes.

    python -m benchmarks.workers [--shards 8] [--codes 2e6] [--queries 2e6] [--rounds 2] [--folder DIR]

Each shard of a store holds `--codes` codes; the queries travel by file, as in a scan. Rounds of one and of two workers
take turns, so that what else the machine does disturbs both alike; before each, every worker has joined a shard, which
leaves out starting processes and loading the kernels. The engine's share is all CPU time of the main process and the
workers less what the tasks themselves measure. Every planted near-duplicate must come back.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import pickle
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.made_codes import RESULTS, known_codes, planted_queries, table, write_result
from benchmarks.store import ROWS_A_VIDEO, SCHEME, adopt, frame_rows, sorted_ids, written
from videonovelty.engine import Engine, EngineFailure, open_engine
from videonovelty.known import KnownStore, Snapshot
from videonovelty.lookup import JoinTask, join_shard, load_array, save_arrays
from videonovelty.matching import hamming
from videonovelty.settings import Settings


def timed_join(task: JoinTask, *, snapshot: Snapshot, settings: Settings) -> tuple[float, Path]:
    """Return what a scan's task returns, and the CPU seconds it took; for a worker."""
    hamming.warm_up()
    started = time.process_time()
    hits = join_shard(task, snapshot=snapshot, scheme_name=SCHEME, settings=settings)
    return time.process_time() - started, hits


def made_store(folder: Path, n_shards: int, n_codes: int, n_queries: int) -> tuple[Snapshot, Path, np.ndarray]:
    """Write a store and a file of queries; return both and the known video of each planted query."""
    store = KnownStore.create(folder / "store")
    ids = sorted_ids(n_shards * n_codes // ROWS_A_VIDEO, 1)
    per_shard = n_codes // ROWS_A_VIDEO
    codes = known_codes(n_shards * n_codes)
    files = [
        written(
            store,
            "frames",
            iter([frame_rows(ids[i * per_shard : (i + 1) * per_shard], codes[i * n_codes : (i + 1) * n_codes])]),
        )
        for i in range(n_shards)
    ]
    adopt(store, files, len(ids), len(codes))
    queries, chosen, _ = planted_queries(codes, n_queries)
    numbers = np.arange(n_queries)
    asked: dict[str, np.ndarray] = {
        "codes": queries,
        "video": numbers // 320,
        "keyframe": numbers // 8 % 40,
        "variant": (numbers % 8).astype(np.uint8),
    }
    path = save_arrays(folder / "codes", asked)
    save_arrays(folder / "few", {name: array[:100] for name, array in asked.items()})
    return store.snapshot(), path, ids[chosen // ROWS_A_VIDEO]


def cpu_of(pids: list[int]) -> float:
    """Return the CPU seconds these processes have used."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def joined(engine: Engine, task: Any, tasks: list[JoinTask]) -> tuple[float, list[Path]]:
    """Run the tasks; return the CPU seconds inside them and the results in the order of shards."""
    inside, found = 0.0, {}
    for item, result in engine.map_unordered(task, tasks):
        assert not isinstance(result, EngineFailure), result.detail
        inside += result[0]
        found[item.shard] = result[1]
    return inside, [found[number] for number in sorted(found)]


def planted_found(hits: list[Path], wanted: np.ndarray) -> int:
    """Return how many planted queries came back with the video they were made from."""
    met: set[tuple[int, int, bytes]] = set()
    for folder in hits:
        ids = [raw.tobytes() for raw in load_array(folder, "known_ids")]
        columns = (load_array(folder, name).tolist() for name in ("video", "keyframe", "known"))
        met |= {(video, keyframe, ids[known]) for video, keyframe, known in zip(*columns, strict=True)}
    return sum((i // 320, i // 8 % 40, raw.tobytes()) in met for i, raw in enumerate(wanted))


def measured(folder: Path, n_shards: int, n_codes: int, n_queries: int, rounds: int) -> dict[str, Any]:
    """Join the queries with every shard on one and on two workers in turn."""
    snapshot, path, wanted = made_store(folder, n_shards, n_codes, n_queries)
    settings = Settings()
    here = importlib.import_module("benchmarks.workers")  # workers find no function of __main__
    task = functools.partial(here.timed_join, snapshot=snapshot, settings=settings)
    tasks = [JoinTask(number, (path,), folder / f"hits-{number}") for number in range(n_shards)]
    few = [JoinTask(0, (folder / "few",), folder / f"few-hits-{number}") for number in range(8)]
    rows: list[dict[str, Any]] = []
    for turn in range(rounds):
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            with open_engine(settings.run, workers=workers, local_directory=folder / "workers") as engine:
                joined(engine, task, few[: 4 * workers])
                pids = [psutil.Process().pid, *(child.pid for child in psutil.Process().children(recursive=True))]
                before, started = cpu_of(pids), time.perf_counter()
                inside, hits = joined(engine, task, tasks)
                wall, cpu = time.perf_counter() - started, cpu_of(pids) - before
            found = planted_found(hits, wanted)
            for item in (*tasks, *few):
                shutil.rmtree(item.hits, ignore_errors=True)
            rows.append(
                {
                    "workers": workers,
                    "wall_seconds": wall,
                    "cpu_inside_tasks": inside,
                    "cpu_beside_tasks": cpu - inside,
                    "share_beside": (cpu - inside) / inside,
                    "planted": len(wanted),
                    "planted_found": found,
                }
            )
            print(rows[-1], flush=True)
    pairs = [
        [row["wall_seconds"] for row in rows[i : i + 2] if row["workers"] == n] for i in range(0, len(rows), 2)
        for n in (1, 2)
    ]  # fmt: skip
    ratios = [pairs[i][0] / pairs[i + 1][0] for i in range(0, len(pairs), 2)]
    return {
        "shards": n_shards,
        "codes_a_shard": n_codes,
        "queries": n_queries,
        "rounds": rows,
        "one_worker_over_two_wall": ratios,
        "one_worker_over_two_wall_median": statistics.median(ratios),
        "share_beside_median": statistics.median(row["share_beside"] for row in rows),
        "graph_bytes": sum(len(pickle.dumps((task, item))) for item in tasks),
    }


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--codes", type=float, default=2e6)
    parser.add_argument("--queries", type=float, default=2e6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    hamming.warm_up(print)
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        result = measured(Path(folder), wanted.shards, int(wanted.codes), int(wanted.queries), wanted.rounds)
    head = ["workers", "wall s", "CPU s in tasks", "CPU s beside", "share", "planted found"]
    rows = [
        [r["workers"], r["wall_seconds"], r["cpu_inside_tasks"], r["cpu_beside_tasks"], r["share_beside"],
         f"{r['planted_found']} of {r['planted']}"]
        for r in result["rounds"]
    ]  # fmt: skip
    text = "\n\n".join(
        [
            "# The join on worker processes",
            f"{result['shards']} shards of {result['codes_a_shard']:,} codes, {result['queries']:,} queries.",
            table(head, rows),
            f"One worker over two, wall: {result['one_worker_over_two_wall_median']:.2f}; CPU beside the tasks: "
            f"{100 * result['share_beside_median']:.1f} %; all tasks together as they are sent: "
            f"{result['graph_bytes']:,} bytes.",
        ]
    )
    write_result(wanted.out, "workers", result, text)


if __name__ == "__main__":
    main()
