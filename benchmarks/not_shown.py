"""What a run leaves nobody to view, by what is true of its videos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.copy_metrics import NOT_SHOWN
from videonovelty.tuning.metrics import clopper_pearson


def not_shown(run: Path) -> dict[str, list[tuple[float, float]]]:
    """Return the stretches nobody is asked to view, by video."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for segment in pq.read_table(run / "segments.parquet").to_pylist():
        if segment["kind"] in NOT_SHOWN:
            found[segment["video_id"]].append((segment["start_seconds"], segment["end_seconds"]))
    return found


def rows_by_kind(run: Path, kinds: Iterable[str], name: str) -> list[dict[str, Any]]:
    """Return a row for each kind of video: how many are called known, with a bound, and how many of their seconds.

    A video's kind is what its file's name says after the first space; it is the column `name`.
    """
    known = not_shown(run)
    found: dict[str, list[tuple[bool, float, float]]] = defaultdict(list)
    for row in pq.read_table(run / "verdicts.parquet").to_pylist():
        kind = row["path"].rsplit("/", 1)[1].removesuffix(".mp4").split(" ", 1)[1]
        inside = sum(end - start for start, end in known[row["video_id"]])
        found[kind].append((row["verdict"] == "known", row["duration_seconds"], inside))
    table_rows = []
    for kind in kinds:
        videos, cleared = len(found[kind]), sum(one for one, _, _ in found[kind])
        table_rows.append(
            {
                name: kind,
                "videos": videos,
                "known": cleared,
                "upper bound": round(clopper_pearson(cleared, videos, 0.9)[1], 3),
                "seconds": round(sum(seconds for _, seconds, _ in found[kind]), 1),
                "seconds in stretches called known or blank": round(sum(inside for _, _, inside in found[kind]), 1),
            }
        )
    return table_rows
