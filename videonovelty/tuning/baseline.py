"""The regression gate: metrics now against those of a baseline file, by edit; what fell is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from videonovelty.errors import SettingsError
from videonovelty.tuning.metrics import Measured

FORMAT = 1
STRICT = ("novel_video_recall", "new_seconds_shown")
"""These may not fall at all: an interval that allows for chance would allow a new video to be hidden."""
GATED = (*STRICT, "known_seconds_cleared", "source_named", "segment_f", "pair_average_precision")
ROUNDING = 1e-3


def write_baseline(path: Path, measured: Sequence[Measured], *, samples: str) -> None:
    """Write the metrics a later run is compared with. `samples` names the sample set: its tables' digest."""
    rows = [
        {"group": m.group, "metric": m.metric, "value": round(m.value, 6), "low": round(m.low, 6)}
        for m in measured
        if m.metric in GATED and not m.group.startswith("length: ")
    ]
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    head = f'{{\n "format": {FORMAT},\n "samples": {json.dumps(samples)},\n "metrics": [\n  '
    path.write_text(head + lines + "\n ]\n}\n", encoding="utf-8")


def read_baseline(path: Path) -> dict[str, object]:
    """Return a baseline file. Raises SettingsError when it is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise SettingsError(f"{path}: format {document['format']}, and this version reads format {FORMAT}")
        for row in document["metrics"]:
            _ = row["group"], row["metric"], float(row["value"]), float(row["low"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: not a baseline: {error}. `tune --write-baseline FILE` writes one.") from error
    return dict(document)


def regressions(path: Path, measured: Sequence[Measured]) -> list[str]:
    """Return what fell below the baseline's interval, one sentence each, the deepest fall first."""
    now = {(m.group, m.metric): m for m in measured}
    found: list[tuple[float, str]] = []
    document = read_baseline(path)
    rows = document["metrics"]
    assert isinstance(rows, list)
    for row in rows:
        group, metric, value = row["group"], row["metric"], float(row["value"])
        limit = value if metric in STRICT else float(row["low"])
        one = now.get((group, metric))
        where = "all edits" if group == "all" else group
        if one is None:
            found.append((value, f"{where}: {metric} was {value:.3f} and is not measured any more"))
        elif one.value < limit - ROUNDING:
            drop = value - one.value
            found.append(
                (drop, f"{where}: {metric} fell by {drop:.3f}, from {value:.3f} to {one.value:.3f} (limit {limit:.3f})")
            )
    return [text for _, text in sorted(found, key=lambda pair: (-pair[0], pair[1]))]
