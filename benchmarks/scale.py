"""How the join grows: fits the cost model, checks it on a large store, and predicts a night against more.

    python -m benchmarks.scale [--largest 1e8] [--queries 3e5] [--folder DIR] [--out benchmarks/results]

Runs joins of growing size, fits nanoseconds for a sorted row, a visited bucket and a compared pair, then joins
`--largest` known codes, memory-mapped from a file in `--folder` (32 bytes each), and reports memory and planted pairs
found. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.made_codes import RESULTS, U8, cpu_seconds, known_codes, planted_queries, table, write_result
from videonovelty.matching import hamming, ring_kernels

RADIUS = 31
MEMORY = 2 << 30
GRID = ((500_000, 20_000), (1_000_000, 50_000), (2_000_000, 200_000), (4_000_000, 100_000), (4_000_000, 400_000))
NIGHT_QUERIES = 2_000_000
BLOCK_ROWS = ring_kernels.MAX_ROWS


def features(n_known: int, n_queries: int) -> tuple[float, float, float]:
    """Return rows moved, bucket visits and pairs compared by the join with sixteen 16-bit substrings."""
    buckets, visits, tables = 65536, 17, 16
    blocks = max(1.0, n_known / BLOCK_ROWS)
    rows = n_known + n_queries * blocks
    occupied = buckets * (1.0 - np.exp(-n_queries / buckets))
    return tables * rows, tables * visits * occupied * blocks, tables * visits / buckets * n_known * n_queries


def bucket_join(known: U8, queries: U8) -> hamming.Pairs:
    """Join by buckets with sixteen 16-bit substrings, whatever the sizes."""
    tables = next(t for t in hamming.exact_tables(256, RADIUS) if len(t) == 16 and t[0].width == 16)
    hits = hamming.Hits(len(queries), None)
    rows, query_rows = hamming.checked(known, queries, RADIUS)
    hamming._bucket_join(hits, rows, query_rows, RADIUS, tables, MEMORY, distinct=False)
    return hits.pairs()


def fitted(rounds: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Measure the grid and fit the three costs by relative least squares, none below zero."""
    rows: list[dict[str, Any]] = []
    known = known_codes(max(n for n, _ in GRID))
    queries = known_codes(max(q for _, q in GRID), 7)
    for n_known, n_queries in GRID:
        seconds = min(
            cpu_seconds(lambda: bucket_join(known[:n_known], queries[:n_queries]))[0]  # noqa: B023
            for _ in range(rounds)
        )
        rows.append({"known": n_known, "queries": n_queries, "seconds": seconds})
        print(rows[-1], flush=True)
    matrix = np.array([features(r["known"], r["queries"]) for r in rows])
    matrix /= np.array([[r["seconds"]] for r in rows])
    costs = np.zeros(3)
    active = [0, 1, 2]
    while active:  # drop what would cost less than nothing
        solution = np.linalg.lstsq(matrix[:, active], np.ones(len(rows)), rcond=None)[0]
        if (solution >= 0).all():
            costs[active] = solution
            break
        active.remove(active[int(np.argmin(solution))])
    for row in rows:
        row["model_seconds"] = float(np.dot(features(row["known"], row["queries"]), costs))
    return rows, costs


def largest(folder: Path, n_known: int, n_queries: int) -> dict[str, Any]:
    """Join a memory-mapped file of codes; report CPU, elapsed time, peak memory and planted pairs."""
    path = folder / "codes.npy"
    mapped = np.lib.format.open_memmap(path, "w+", np.uint8, (n_known, 32))
    known_codes(n_known, out=mapped)
    mapped.flush()
    del mapped
    known = np.load(path, mmap_mode="r")
    queries, chosen, flips = planted_queries(known, n_queries)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    seconds, pairs = cpu_seconds(lambda: hamming.join(known, queries, RADIUS, memory_bytes=MEMORY))
    elapsed = time.perf_counter() - started
    key = pairs.query_index * n_known + pairs.known_index
    want = np.arange(len(chosen)) * n_known + chosen
    place = np.minimum(np.searchsorted(key, want), max(0, len(key) - 1))
    right = (key[place] == want) & (pairs.distance[place] == flips) if len(key) else np.zeros(len(want), np.bool_)
    return {
        "known": n_known,
        "queries": n_queries,
        "seconds": seconds,
        "elapsed": elapsed,
        "pairs": len(key),
        "planted": len(want),
        "planted_found": int(right.sum()),
        "peak_memory_gib_with_mapped_file": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "peak_before_gib": before / 2**20,
    }


def main() -> None:
    """Measure, fit, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=float, default=1e8)
    parser.add_argument("--queries", type=float, default=3e5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    hamming.warm_up(print)
    rows, costs = fitted(wanted.rounds)
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        large = largest(Path(folder), int(wanted.largest), int(wanted.queries))
    large["model_seconds"] = float(np.dot(features(large["known"], large["queries"]), costs))
    predictions = [
        {"known": n, "queries": NIGHT_QUERIES, "core_hours": float(np.dot(features(n, NIGHT_QUERIES), costs)) / 3600}
        for n in (10**8, 10**9, 10**10)
    ]
    result = {
        "grid": rows,
        "ns_a_sorted_row": costs[0] * 1e9,
        "ns_a_visit": costs[1] * 1e9,
        "ns_a_pair": costs[2] * 1e9,
        "largest": large,
        "predictions": predictions,
    }
    write_result(wanted.out, "scale", result, report(result))
    plot(result, costs, wanted.out / "scale.png")


def report(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    large = result["largest"]
    return "\n\n".join(
        [
            "# Growth of the join, radius 31",
            f"Fitted: {result['ns_a_sorted_row']:.1f} ns a row and table, {result['ns_a_visit']:.0f} ns a visited "
            f"bucket, {result['ns_a_pair']:.2f} ns a compared pair.",
            table(
                ["known", "queries", "s", "model s"],
                [[r["known"], r["queries"], r["seconds"], r["model_seconds"]] for r in [*result["grid"], large]],
            ),
            f"{large['known']:,} known codes, {large['queries']:,} queries: {large['seconds']:.0f} s CPU, "
            f"{large['elapsed']:.0f} s elapsed, {large['planted_found']:,} of {large['planted']:,} planted pairs found "
            f"with the right distance, peak {large['peak_memory_gib_with_mapped_file']:.1f} GiB with the mapped file.",
            table(
                ["known", "queries a night", "core-hours", "hours on 16 cores at 85 %"],
                [
                    [p["known"], p["queries"], p["core_hours"], p["core_hours"] / 16 / 0.85]
                    for p in result["predictions"]
                ],
            ),
        ]
    )


def plot(result: dict[str, Any], costs: np.ndarray, path: Path) -> None:
    """Draw measured and predicted core-hours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = np.logspace(5.5, 10, 60)
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    for n_queries in (100_000, 300_000, NIGHT_QUERIES):
        hours = [float(np.dot(features(int(n), n_queries), costs)) / 3600 for n in sizes]
        axes.plot(sizes, hours, label=f"model, {n_queries:,} queries")
    points = [*result["grid"], result["largest"]]
    axes.plot([p["known"] for p in points], [p["seconds"] / 3600 for p in points], "ko", label="measured")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("known codes")
    axes.set_ylabel("core-hours")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
