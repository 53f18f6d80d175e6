"""The Hamming join against other libraries, against a straight scan, and the scan against what the machine can do.

    python -m benchmarks.join [--known 1e6] [--queries 1e4] [--rounds 3] [--large] [--out benchmarks/results]

All in one process on one thread, methods taking turns, CPU seconds, median of the rounds. Slow methods answer a sample
of the queries; what is compared is the cost of a query. Needs faiss-cpu, and measures threatexchange and usearch where
they are installed; the limit is a C kernel, where a compiler is.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from benchmarks.made_codes import RESULTS, U8, cpu_seconds, flipped, known_codes, planted_queries, table, write_result
from videonovelty.matching import hamming
from videonovelty.matching.descriptor_join import join_descriptors, recall_at

RADIUS = 31
PairSet = set[tuple[int, int]]


class Method:
    """One way to search: how many queries it is given, and what it finds."""

    def __init__(self, name: str, n_queries: int, search: Callable[[U8], PairSet], build_seconds: float = 0.0) -> None:
        self.name = name
        self.n_queries = n_queries
        self.search = search
        self.build_seconds = build_seconds
        self.seconds: list[float] = []
        self.found: PairSet = set()


def pair_set(pairs: hamming.Pairs) -> PairSet:
    """Return (query, known) tuples."""
    return set(zip(pairs.query_index.tolist(), pairs.known_index.tolist(), strict=True))


def peers(known: U8, n_queries: int) -> list[Method]:
    """Build every index that is installed."""
    import faiss

    faiss.omp_set_num_threads(1)
    found = []

    def from_limits(limits: Any, _distances: Any, ids: Any) -> PairSet:
        owners = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        return set(zip(owners.tolist(), ids.tolist(), strict=True))

    def add(name: str, sample: int, index: Any, prepare: Callable[[Any], None] | None = None) -> None:
        def build() -> None:
            if prepare is not None:
                prepare(index)
            index.add(known)

        seconds, _ = cpu_seconds(build)
        found.append(
            Method(name, min(sample, n_queries), lambda q: from_limits(*index.range_search(q, RADIUS + 1)), seconds)
        )
        print(f"built {name} in {seconds:.1f} s", flush=True)

    def train(index: Any) -> None:
        index.cp.niter = 5
        index.train(known[:: max(1, len(known) // 20_000)])
        index.nprobe = 16

    add("faiss Flat range", 200, faiss.IndexBinaryFlat(256))
    multi = faiss.IndexBinaryMultiHash(256, 16, 16)
    multi.nflip = 1
    add("faiss MultiHash 16×16", 400, multi)
    quantiser = faiss.IndexBinaryFlat(256)
    add("faiss IVF 1024, 16 probes", 400, faiss.IndexBinaryIVF(quantiser, 256, 1024), train)
    found += _threatexchange(known, n_queries) + _usearch(known, n_queries)
    return found


def _threatexchange(known: U8, n_queries: int) -> list[Method]:
    try:
        from threatexchange.signal_type.pdq.pdq_index import PDQIndex
    except ImportError:
        print("threatexchange is not installed")
        return []
    entries = [(row.tobytes().hex(), place) for place, row in enumerate(known)]
    seconds, index = cpu_seconds(lambda: PDQIndex(entries))

    def search(queries: U8) -> PairSet:
        return {(q, hit.metadata) for q, row in enumerate(queries) for hit in index.query(row.tobytes().hex())}

    print(f"built threatexchange PDQIndex in {seconds:.1f} s", flush=True)
    return [Method("threatexchange PDQIndex", min(300, n_queries), search, seconds)]


def _usearch(known: U8, n_queries: int) -> list[Method]:
    try:
        from usearch.index import Index
    except ImportError:
        print("usearch is not installed")
        return []
    part = known[:200_000]  # building takes minutes
    index = Index(ndim=256, metric="hamming", dtype="b1", connectivity=16, expansion_add=40, expansion_search=64)
    seconds, _ = cpu_seconds(lambda: index.add(np.arange(len(part)), part, threads=1))

    def search(queries: U8) -> PairSet:
        hits = index.search(queries, 10, threads=1)
        return {
            (q, int(key))
            for q in range(len(queries))
            for key, distance in zip(hits.keys[q], hits.distances[q], strict=True)
            if distance <= RADIUS
        }

    print(f"built usearch HNSW (first 200,000 codes) in {seconds:.1f} s", flush=True)
    return [Method("usearch HNSW, 10 nearest, 200,000 codes", min(1000, n_queries), search, seconds)]


def against_peers(n_known: int, n_queries: int, rounds: int) -> dict[str, Any]:
    """Take turns on one set of codes; recall is against faiss Flat on the queries it answered."""
    known = known_codes(n_known)
    queries, chosen, flips = planted_queries(known, n_queries)
    order = np.random.default_rng(3).permutation(n_queries)
    queries = queries[order]
    methods = [
        Method("videonovelty join", n_queries, lambda q: pair_set(hamming.join(known, q, RADIUS))),
        Method("videonovelty scan", min(500, n_queries), lambda q: pair_set(hamming.scan(known, q, RADIUS))),
        *peers(known, n_queries),
    ]
    for turn in range(rounds):
        for method in methods:
            seconds, method.found = cpu_seconds(lambda m=method: m.search(queries[: m.n_queries]))  # type: ignore[misc]
            method.seconds.append(seconds)
            print(f"round {turn}: {method.name} {seconds / method.n_queries * 1e3:.4f} ms a query", flush=True)
    truth = next(m for m in methods if m.name == "faiss Flat range")
    rows = []
    for method in methods:
        limit = min(truth.n_queries, method.n_queries)
        top = 200_000 if method.name.startswith("usearch") else n_known
        want = {p for p in truth.found if p[0] < limit and p[1] < top}
        got = {p for p in method.found if p[0] < limit}
        rows.append(
            {
                "method": method.name,
                "ms_a_query": statistics.median(method.seconds) / method.n_queries * 1e3,
                "queries": method.n_queries,
                "pair_recall": len(want & got) / max(1, len(want)),
                "wrong_pairs": len(got - want),
                "build_seconds": method.build_seconds,
            }
        )
    joined = methods[0].found
    place = np.empty(n_queries, np.int64)
    place[order] = np.arange(n_queries)
    planted = set(zip(place[: len(chosen)].tolist(), chosen.tolist(), strict=True))
    return {
        "known": n_known,
        "queries": n_queries,
        "rows": rows,
        "planted": len(planted),
        "planted_found": len(planted & joined),
        "largest_flips": int(flips.max()),
    }


def against_scan(n_known: int, n_queries: int, rounds: int) -> dict[str, Any]:
    """Compare the join with our own scan, whose cost a query is measured on 300 of the queries."""
    known = known_codes(n_known)
    queries, chosen, _ = planted_queries(known, n_queries)
    joins, scans = [], []
    found: hamming.Pairs | None = None
    for _ in range(rounds):
        seconds, found = cpu_seconds(lambda: hamming.join(known, queries, RADIUS))
        joins.append(seconds)
        seconds, scanned = cpu_seconds(lambda: hamming.scan(known, queries[:300], RADIUS))
        scans.append(seconds / 300 * n_queries)
        few = found.query_index < 300
        assert all(np.array_equal(a[few], b) for a, b in zip(found, scanned, strict=True))
        print(f"join {joins[-1]:.1f} s, scan {scans[-1]:.0f} s", flush=True)
    assert found is not None
    together = set((found.query_index * n_known + found.known_index).tolist())
    planted = (np.arange(len(chosen)) * n_known + chosen).tolist()
    return {
        "known": n_known,
        "queries": n_queries,
        "join_seconds": statistics.median(joins),
        "scan_seconds": statistics.median(scans),
        "times_faster": statistics.median(s / j for s, j in zip(scans, joins, strict=True)),
        "planted": len(planted),
        "planted_found": sum(p in together for p in planted),
    }


C_KERNEL = r"""
#include <immintrin.h>
#include <stdint.h>
enum { B = 1024 };
int64_t scan(const uint64_t *rows, int64_t n, const uint64_t *q, int64_t nq, int64_t r) {
  static uint64_t a[B], b[B] __attribute__((aligned(64)));
  int64_t hits = 0;
  for (int64_t s = 0; s + B <= n; s += B) {
    for (int i = 0; i < B; i++) { a[i] = rows[4 * (s + i)]; b[i] = rows[4 * (s + i) + 1]; }
    for (int64_t k = 0; k < nq; k++) {
#ifdef __AVX512VPOPCNTDQ__
      __m512i q0 = _mm512_set1_epi64(q[4 * k]), q1 = _mm512_set1_epi64(q[4 * k + 1]), lim = _mm512_set1_epi64(r);
      int hit = 0;
      for (int j = 0; j < B; j += 8) {
        __m512i x = _mm512_or_si512(_mm512_xor_si512(_mm512_loadu_si512(a + j), q0),
                                    _mm512_xor_si512(_mm512_loadu_si512(b + j), q1));
        hit |= _mm512_cmple_epu64_mask(_mm512_popcnt_epi64(x), lim);
      }
      hits += hit != 0;
#elif defined(__AVX2__)
      const __m256i lut = _mm256_setr_epi8(0,1,1,2,1,2,2,3,1,2,2,3,2,3,3,4,0,1,1,2,1,2,2,3,1,2,2,3,2,3,3,4);
      const __m256i low = _mm256_set1_epi8(15), zero = _mm256_setzero_si256(), lim = _mm256_set1_epi64x(r + 1);
      __m256i q0 = _mm256_set1_epi64x(q[4 * k]), q1 = _mm256_set1_epi64x(q[4 * k + 1]), hit = zero;
      for (int j = 0; j < B; j += 4) {
        __m256i x = _mm256_or_si256(_mm256_xor_si256(_mm256_loadu_si256((void *)(a + j)), q0),
                                    _mm256_xor_si256(_mm256_loadu_si256((void *)(b + j)), q1));
        __m256i c = _mm256_add_epi8(_mm256_shuffle_epi8(lut, _mm256_and_si256(x, low)),
                                    _mm256_shuffle_epi8(lut, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
        hit = _mm256_or_si256(hit, _mm256_cmpgt_epi64(lim, _mm256_sad_epu8(c, zero)));
      }
      hits += _mm256_movemask_epi8(hit) != 0;
#else
      int hit = 0;
      for (int j = 0; j < B; j++) hit |= __builtin_popcountll((a[j] ^ q[4 * k]) | (b[j] ^ q[4 * k + 1])) <= r;
      hits += hit;
#endif
    }
  }
  return hits;
}
"""


def against_machine(rounds: int) -> dict[str, Any]:
    """Compare the scan with the same filter in C intrinsics, and one query with the speed memory is read at."""
    known = known_codes(1 << 21)
    queries = known_codes(1000, 9)
    memory = np.ones(1 << 25, np.uint64)
    scans, one, limit, read = [], [], [], []
    compiler = shutil.which("cc") or shutil.which("gcc")
    with tempfile.TemporaryDirectory() as folder:
        kernel: Callable[[], Any] | None = None
        if compiler is not None:
            source, library = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
            source.write_text(C_KERNEL)
            command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(source), "-o", str(library)]
            subprocess.run(command, check=True)
            scan = ctypes.CDLL(str(library)).scan
            scan.restype = ctypes.c_int64
            pointer, number = ctypes.c_void_p, ctypes.c_int64

            def kernel() -> Any:
                return scan(
                    pointer(known.ctypes.data), number(len(known)), pointer(queries.ctypes.data), number(1000),
                    number(RADIUS),
                )  # fmt: skip

        for _ in range(rounds):
            scans.append(len(known) * 1000 / cpu_seconds(lambda: hamming.scan(known, queries, RADIUS))[0] / 1e9)
            if kernel is not None:
                limit.append(len(known) * 1000 / cpu_seconds(kernel)[0] / 1e9)
            ten = cpu_seconds(lambda: [hamming.scan(known, queries[i : i + 1], RADIUS) for i in range(10)])[0]
            one.append(10 * known.nbytes / ten / 1e9)
            read.append(4 * memory.nbytes / cpu_seconds(lambda: [memory.sum() for _ in range(4)])[0] / 1e9)
    return {
        "scan_billion_pairs_a_second": statistics.median(scans),
        "c_kernel_billion_pairs_a_second": statistics.median(limit) if limit else None,
        "share_of_c": statistics.median(a / b for a, b in zip(scans, limit, strict=True)) if limit else None,
        "one_query_gigabytes_a_second": statistics.median(one),
        "memory_read_gigabytes_a_second": statistics.median(read),
        "share_of_memory": statistics.median(a / b for a, b in zip(one, read, strict=True)),
    }


def descriptors() -> list[dict[str, float]]:
    """Measure which pairs the join of local descriptors meets, by their distance; `local_candidates` has its cost."""
    n_known, n_queries, radius = 2_000_000, 100_000, 7
    known = known_codes(n_known, shot=1, n_bytes=8)
    queries = known_codes(n_queries, 5, shot=1, n_bytes=8)
    rng = np.random.default_rng(6)
    chosen = rng.integers(0, n_known, 2000 * (radius + 1))
    flips = np.repeat(np.arange(radius + 1), 2000)
    queries[: len(chosen)] = flipped(known[chosen], flips, rng)
    pairs = join_descriptors(known, queries, radius)
    got = np.isin(np.arange(len(chosen)) * n_known + chosen, pairs.query_index * n_known + pairs.known_index)
    return [
        {"distance": bits, "stated": recall_at(bits), "measured": float(got[flips == bits].mean())}
        for bits in range(radius + 1)
    ]


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--known", type=float, default=1e6)
    parser.add_argument("--queries", type=float, default=1e4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="also 1e7 known codes and 4e5 queries against our scan")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    hamming.warm_up(print)
    result: dict[str, Any] = {"machine_limit": against_machine(wanted.rounds)}
    result["descriptors"] = descriptors()
    result["peers"] = against_peers(int(wanted.known), int(wanted.queries), wanted.rounds)
    if wanted.large:
        result["large"] = against_scan(10_000_000, 400_000, 1)
    text = report(result)
    write_result(wanted.out, "join", result, text)
    plot(result, wanted.out / "join.png")


def report(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    found = result["peers"]
    best = found["rows"][0]["ms_a_query"]
    parts = [
        f"# Hamming join, radius {RADIUS}, {found['known']:,} known codes, {found['queries']:,} queries",
        table(
            ["method", "ms a query", "× the join", "pair recall", "wrong pairs", "build s"],
            [
                [r["method"], r["ms_a_query"], r["ms_a_query"] / best, r["pair_recall"], r["wrong_pairs"],
                 r["build_seconds"]]
                for r in found["rows"]
            ],
        ),
        f"{found['planted_found']} of {found['planted']} planted near-duplicates (0 … {found['largest_flips']} bits) "
        "found by the join.",
    ]  # fmt: skip
    if "large" in result:
        large = result["large"]
        parts.append(
            f"{large['known']:,} × {large['queries']:,}: join {large['join_seconds']:.1f} s, own scan "
            f"{large['scan_seconds']:.0f} s (from 300 queries): {large['times_faster']:.0f} ×; "
            f"{large['planted_found']} of {large['planted']} planted found."
        )
    limit = result["machine_limit"]
    if limit["c_kernel_billion_pairs_a_second"]:
        parts.append(
            f"Scan: {limit['scan_billion_pairs_a_second']:.2f} G pairs/s, "
            f"{limit['share_of_c']:.0%} of the same filter in C intrinsics."
        )
    parts.append(
        f"One query: {limit['one_query_gigabytes_a_second']:.1f} GB/s of codes, {limit['share_of_memory']:.0%} of the "
        "speed at which memory is summed."
    )
    parts.append(
        "## Local descriptors\n\n"
        + table(
            ["bits that differ", "pairs met, stated", "measured"],
            [list(row.values()) for row in result["descriptors"]],
        )
    )
    return "\n\n".join(parts)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw the cost a query of each method, with its recall."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = sorted(result["peers"]["rows"], key=lambda r: -r["ms_a_query"])
    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(rows) + 1.2))
    axes.barh([r["method"] for r in rows], [r["ms_a_query"] for r in rows])
    for place, row in enumerate(rows):
        axes.text(
            row["ms_a_query"], place, f" {row['ms_a_query']:.3g} ms, recall {row['pair_recall']:.3f}", va="center"
        )
    axes.set_xscale("log")
    axes.set_xlim(right=50 * max(r["ms_a_query"] for r in rows))
    axes.set_xlabel("CPU milliseconds a query, one thread")
    axes.set_title(f"radius {RADIUS}, {result['peers']['known']:,} known codes")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
