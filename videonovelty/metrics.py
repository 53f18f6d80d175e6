"""RUN/metrics.prom: the figures of run.json for Prometheus' textfile collector, replaced whole.

| run.json | metric |
|---|---|
| `counts.states`, `.verdicts`, `.reasons` | `videonovelty_files_by_state{state="judged"}`, `…_by_verdict`, … |
| `counts.files` | `videonovelty_sightings`, `videonovelty_contents` |
| `seconds` | `videonovelty_intake_seconds`, `videonovelty_saved_seconds`, … |
| `matched` | `videonovelty_matched_keyframes`, `videonovelty_matched_median_distance_bits` |
| `started_at`, `finished_at` | `videonovelty_started_timestamp_seconds`, … |
| other numbers and truth values at the top | `videonovelty_<key>` |

Texts and tables that describe rather than count are left out: paths and names never become metrics.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from videonovelty.errors import RunError
from videonovelty.run import write_file

_BY_LABEL = {"states": "state", "verdicts": "verdict", "reasons": "reason"}
_NOT_FIGURES = frozenset({"format_version"})


def write_metrics(run_path: Path, document: Mapping[str, Any]) -> None:
    """Write RUN/metrics.prom from the document of run.json, atomically, mode 0600.

    `videonovelty_last_success_timestamp_seconds` is there only when `status` is `done`: alert on its age. Raises
    EnvironmentUnfitError when the disk does not take it.
    """
    registry = CollectorRegistry()

    def gauge(name: str, what: str, value: float) -> None:
        Gauge(f"videonovelty_{name}", what, registry=registry).set(value)

    counts = _table(document, "counts")
    for table, label in _BY_LABEL.items():
        labelled = Gauge(f"videonovelty_files_by_{label}", f"Files of the run by {label}.", [label], registry=registry)
        for value, number in _table(counts, table).items():
            labelled.labels(value).set(number)
    for name, number in _table(counts, "files").items():
        gauge(name, f"Number of {name} of the run.", number)
    for name, number in _table(document, "seconds").items():
        gauge(f"{name}_seconds", f"Seconds of the run: {name}.", number)
    for name, number in _table(document, "matched").items():
        gauge(f"matched_{name}", f"Footage proven known: {name}.", number)
    for name, value in document.items():
        if isinstance(value, int | float) and name not in _NOT_FIGURES:
            gauge(name, f"{name} of the run.", value)
        elif name.endswith("_at") and (moment := _seconds(value)) is not None:
            gauge(f"{name[:-3]}_timestamp_seconds", f"When the run was {name[:-3]}.", moment)
    if document.get("status") == "done":
        finished = _seconds(document.get("finished_at")) or datetime.now(UTC).timestamp()
        gauge("last_success_timestamp_seconds", "When a run last finished.", finished)
    text = generate_latest(registry)
    write_file(run_path / "metrics.prom", lambda file: file.write(text))


def copy_metrics(run_path: Path, folder: Path) -> Path:
    """Put a copy of RUN/metrics.prom into the folder of a collector, atomically and readable for it; return its path.

    Raises RunError when the run has no metrics, EnvironmentUnfitError when the folder cannot be written.
    """
    try:
        text = (run_path / "metrics.prom").read_bytes()
    except OSError as error:
        raise RunError(f"{run_path}: no metrics.prom: {error.strerror}. Scan first.") from error

    def write(file: IO[bytes]) -> None:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)  # the collector is another user, and there are no names in it

    path = folder / "videonovelty.prom"
    write_file(path, write)
    return path


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name)
    return table if isinstance(table, Mapping) else {}


def _seconds(value: object) -> float | None:
    """Return an ISO 8601 time as seconds since 1970; None for anything else."""
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
