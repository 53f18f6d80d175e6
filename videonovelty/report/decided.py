"""What analysts have decided so far about the contents of a run, as the known store holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.errors import KnownStoreError, RunError
from videonovelty.known.ledger import Opinion, read_ledger
from videonovelty.known.store import KnownStore
from videonovelty.report.collect import entry_key


@dataclass(frozen=True, slots=True)
class Decided:
    """Decisions that stand in a snapshot."""

    snapshot: int
    opinions: Mapping[str, tuple[Opinion, ...]]
    """By entry of the run, one an analyst."""


def decided_so_far(run: Path, store: Path | None = None) -> Decided | None:
    """Return what the newest snapshot says about the contents of `run`.

    `store`: where it is; None: where run.json says, and None is returned when it is not there (on an analyst's machine,
    say). Raises KnownStoreError for a named store that cannot be opened, RunError for a run without tables.
    """
    try:
        where = store or Path(json.loads((run / "run.json").read_bytes())["store"]["path"])
        snapshot = KnownStore.open(where).snapshot()
    except (OSError, ValueError, KeyError, TypeError, KnownStoreError):
        if store is not None:
            raise
        return None
    try:
        table = pq.read_table(run / "verdicts.parquet", columns=["video_id", "path_raw"], partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{run / 'verdicts.parquet'}: cannot be read. `videonovelty scan` writes it.") from error
    entries = {entry_key(row["video_id"] or "", row["path_raw"] or "") for row in table.to_pylist()}
    ledger = read_ledger(snapshot, entries)
    found = {entry: ledger.opinions(entry) for entry in ledger.entries()}
    return Decided(snapshot.number, {entry: opinions for entry, opinions in found.items() if opinions})
