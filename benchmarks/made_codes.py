"""Codes as a store holds them, queries with planted near-duplicates, and where results are written."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

RESULTS = Path(__file__).parent / "results"
COMMAND = (sys.executable, "-c", "from videonovelty.cli import main; main()")
"""The command line of this very program."""


def known_codes(n: int, seed: int = 1, *, shot: int = 4, n_bytes: int = 32, out: U8 | None = None) -> U8:
    """Return n codes in shots of near-duplicates: random codes, each `shot` times with about one bit in 16 inverted."""
    rng = np.random.default_rng(seed)
    codes = np.empty((n, n_bytes), np.uint8) if out is None else out
    words = n_bytes // 8
    block = 1 << 20
    for start in range(0, n, block):
        size = min(block, n - start)
        base = np.repeat(rng.integers(0, 2**64, (-(-size // shot), words), dtype=np.uint64), shot, axis=0)[:size]
        noise = rng.integers(0, 2**64, (4, size, words), dtype=np.uint64)
        codes[start : start + size] = (base ^ (noise[0] & noise[1] & noise[2] & noise[3])).view(np.uint8)
    return codes


def flipped(codes: U8, flips: I64, rng: np.random.Generator) -> U8:
    """Return the codes with `flips[i]` bits of row i inverted."""
    out = np.empty_like(codes)
    for start in range(0, len(codes), 1 << 14):
        part = codes[start : start + (1 << 14)]
        order = rng.random((len(part), part.shape[1] * 8), dtype=np.float32).argsort(axis=1).argsort(axis=1)
        out[start : start + len(part)] = part ^ np.packbits(order < flips[start : start + len(part), None], axis=1)
    return out


def planted_queries(known: U8, n: int, seed: int = 2, *, radius: int = 31, share: float = 0.1) -> tuple[U8, I64, I64]:
    """Return n queries, the first `share` of them known codes with 0 … radius bits inverted; their codes and flips."""
    rng = np.random.default_rng(seed)
    queries = known_codes(n, seed + 1000, n_bytes=known.shape[1])
    chosen = np.sort(rng.integers(0, len(known), int(n * share)))
    flips = rng.integers(0, radius + 1, len(chosen))
    queries[: len(chosen)] = flipped(np.ascontiguousarray(known[chosen]), flips, rng)
    return queries, chosen, flips


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of this process that `work` took, and what it returned."""
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    model = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), "")
    flags = next((line.split() for line in _cpu_lines() if line.startswith("flags")), [])
    simd = [name for name in ("avx2", "avx512f", "avx512_vpopcntdq") if name in flags]
    return {
        "processor": model or platform.processor(),
        "simd": simd,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def write_result(out: Path, name: str, result: dict[str, Any], markdown: str) -> None:
    """Write NAME.json and NAME.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")
    facts = ", ".join(f"{key} {value}" for key, value in machine().items())
    (out / f"{name}.md").write_text(f"{markdown}\n\nMachine: {facts}. Times are CPU seconds of one thread.\n")
    print(markdown)


def write_rows(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows of the same columns to OUT.json and, as a Markdown table, to OUT.md; print the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(rows, indent=2) + "\n")
    text = table(list(rows[0]), [list(row.values()) for row in rows]) + "\n"
    out.with_suffix(".md").write_text(text)
    print(text)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *[[_shown(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
