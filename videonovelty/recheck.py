"""Verdicts of earlier runs that no longer stand because what they rest on was taken out of the known store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.errors import RunError
from videonovelty.known.snapshot import Snapshot

RESTING_ON_THE_STORE = ("known", "partly_known")


@dataclass(frozen=True, slots=True)
class FallenVerdict:
    """One row of verdicts that explains footage by videos the store no longer holds."""

    run: str
    path: str
    video_id: str
    verdict: str
    snapshot: int
    """The snapshot it was judged against."""
    revoked: tuple[str, ...]
    """Ids of the known videos that are gone."""
    seconds: float
    """Seconds of the video they explained: these are unexplained now."""


def fallen_verdicts(runs: Sequence[Path], snapshot: Snapshot) -> Iterator[FallenVerdict]:
    """Yield the verdicts of finished `runs` that `snapshot` no longer supports, in the order of their tables.

    Raises RunError for a folder without readable tables.
    """
    for run in runs:
        verdicts, segments = _table(run, "verdicts"), _table(run, "segments")
        known = [row for row in segments if row["kind"] == "known"]
        present = snapshot.describe(sorted({row["known_video_id"] for row in known}))
        gone: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for row in known:
            if row["known_video_id"] not in present:
                gone[row["video_id"]][row["known_video_id"]] += row["end_seconds"] - row["start_seconds"]
        for row in verdicts:
            revoked = dict(gone.get(row["video_id"], {}))
            best = row["best_known_id"]
            if row["reason"] == "same_bytes" and best not in present and not snapshot.describe([best]):
                revoked.setdefault(best, row["known_seconds"])
            if row["verdict"] in RESTING_ON_THE_STORE and revoked:
                yield FallenVerdict(
                    run.name,
                    row["path"],
                    row["video_id"],
                    row["verdict"],
                    row["snapshot"],
                    tuple(sorted(revoked)),
                    round(sum(revoked.values()), 3),
                )


def _table(run: Path, name: str) -> list[dict[str, Any]]:
    path = run / f"{name}.parquet"
    try:
        return pq.read_table(pa.BufferReader(path.read_bytes())).to_pylist()  # type: ignore[no-any-return]
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path}: cannot be read: {error}. `videonovelty scan` writes it when a run ends.") from error
