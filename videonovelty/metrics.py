"""RUN/metrics.prom: the run's figures for Prometheus' textfile collector, replaced whole.

Names follow the run's own document by three rules, so that a new figure there is a new metric here:

- a number becomes the gauge `videonovelty_<key>`, a truth value 0 or 1; keys of nested tables are joined with `_`;
- a table called `<what>_by_<label>` becomes one gauge with that label:
  `"videos_by_verdict": {"novel": 3}` reads `videonovelty_videos_by_verdict{verdict="novel"} 3.0`;
- `<what>_at` with an ISO 8601 time becomes `videonovelty_<what>_timestamp_seconds`.

Texts, lists, nulls and the tables that describe rather than count are left out: paths and names never become metrics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from videonovelty.run import write_file

_DESCRIPTIVE = frozenset({"settings", "versions", "host", "store", "journal", "format_version"})
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


def write_metrics(run_path: Path, document: Mapping[str, Any]) -> None:
    """Write RUN/metrics.prom from the document of run.json, atomically, mode 0600.

    `videonovelty_last_success_timestamp_seconds` is there only when `status` is `finished`: alert on its age. Raises
    EnvironmentUnfitError when the disk does not take it.
    """
    registry = CollectorRegistry()
    _add(registry, "videonovelty", {k: v for k, v in document.items() if k not in _DESCRIPTIVE})
    if document.get("status") == "finished":
        finished = _seconds(document.get("finished_at")) or datetime.now(UTC).timestamp()
        gauge = Gauge("videonovelty_last_success_timestamp_seconds", "When a run last finished.", registry=registry)
        gauge.set(finished)
    text = generate_latest(registry)
    write_file(run_path / "metrics.prom", lambda file: file.write(text))


def _add(registry: CollectorRegistry, prefix: str, table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        name = f"{prefix}_{_NOT_IN_A_NAME.sub('_', key)}"
        if isinstance(value, Mapping):
            _, by, label = name.rpartition("_by_")
            if by and all(isinstance(v, int | float) for v in value.values()):
                gauge = Gauge(name, f"{key} of the last run.", [label], registry=registry)
                for of, number in value.items():
                    gauge.labels(of).set(number)
            else:
                _add(registry, name, value)
        elif isinstance(value, int | float):
            Gauge(name, f"{key} of the last run.", registry=registry).set(value)
        elif key.endswith("_at") and (seconds := _seconds(value)) is not None:
            Gauge(f"{name[:-3]}_timestamp_seconds", f"{key} of the last run.", registry=registry).set(seconds)


def _seconds(value: object) -> float | None:
    """Return an ISO 8601 time as seconds since 1970; None for anything else."""
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return None
