"""Curves and plots: precision–recall, ROC, DET, review budget, edits. Needs the extra `tune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from videonovelty.errors import EnvironmentUnfitError
from videonovelty.tuning.metrics import Measured, Outcome, Outcomes, budget_curve

SIZE = (6.4, 4.0)
BLUE, ORANGE, GREY = "#1f5fa8", "#c8500a", "#888888"


def curve_tables(rows: Sequence[Outcome]) -> dict[str, pa.Table]:
    """Return `precision_recall`, `roc`, `det` (how well the score finds new videos) and `budget` as tables."""
    metrics = _library("sklearn.metrics")
    y = np.array([row.is_new for row in rows])
    score = np.array([row.score for row in rows])
    outcomes = Outcomes.of(rows)
    spent, seen = budget_curve(outcomes)
    tables = {"budget": pa.table({"seconds_viewed": spent, "novel_video_recall": seen})}
    if y.all() or not y.any():
        return tables
    precision, recall, _ = metrics.precision_recall_curve(y, score)
    false_rate, true_rate, _ = metrics.roc_curve(y, score)
    det_false, det_missed, _ = metrics.det_curve(y, score)
    tables["precision_recall"] = pa.table({"recall": recall, "precision": precision})
    tables["roc"] = pa.table({"false_positive_rate": false_rate, "true_positive_rate": true_rate})
    tables["det"] = pa.table({"false_positive_rate": det_false, "false_negative_rate": det_missed})
    return tables


def write_plots(
    folder: Path,
    series: Mapping[str, Sequence[Outcome]],
    measured: Sequence[Measured],
    settings: Sequence[Mapping[str, float]],
    chosen: int,
) -> list[tuple[str, str]]:
    """Write the plots into `folder` as PNG and return (file name, what it shows).

    `series` are outcomes by name, e.g. before and after; `measured` the metrics of the last; `settings` the metrics of
    every setting of the sweep, of which `chosen` was.
    """
    matplotlib = _library("matplotlib")
    matplotlib.use("Agg")
    plt = _library("matplotlib.pyplot")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found: list[tuple[str, str]] = []
    curves = {name: curve_tables(rows) for name, rows in series.items() if rows}
    for kind, x, y, title in (
        ("budget", "seconds_viewed", "novel_video_recall", "New videos seen, by the share of the seconds viewed"),
        ("precision_recall", "recall", "precision", "New videos by their score: precision and recall"),
        ("roc", "false_positive_rate", "true_positive_rate", "New videos by their score: ROC"),
        ("det", "false_positive_rate", "false_negative_rate", "New videos by their score: misses and false alarms"),
    ):
        figure, axes = plt.subplots(figsize=SIZE)
        for (name, tables), colour in zip(curves.items(), (GREY, BLUE, ORANGE), strict=False):
            if kind in tables:
                style = "--" if colour == GREY else "-"
                axes.plot(tables[kind][x], tables[kind][y], style, color=colour, label=name, drawstyle="steps-post")
        axes.set(title=title, xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), xlim=(0, 1), ylim=(0, 1.02))
        if kind == "det":
            # misses and false alarms are small numbers: a tenth of the axis for what is below one per cent
            axes.set_xscale("symlog", linthresh=0.01, linscale=0.5)
            axes.set_yscale("symlog", linthresh=0.01, linscale=0.5)
        found.append(_saved(plt, figure, axes, folder / f"{kind}.png", title))
    for name, metric, title in (
        ("edits", "known_seconds_cleared", "Known seconds cleared, by edit, with 95 % intervals"),
        ("new", "new_seconds_shown", "New seconds shown, by edit, with 95 % intervals"),
    ):
        edits = [one for one in measured if one.group.startswith("edit: ") and one.metric == metric]
        if edits:
            figure, axes = _bars(plt, edits)
            axes.set(title=title, xlim=(0, 1.02), xlabel="share of the seconds")
            found.append(_saved(plt, figure, axes, folder / f"{name}.png", title))
    if len(settings) > 1:
        figure, axes = plt.subplots(figsize=SIZE)
        across = [one["new_seconds_shown"] for one in settings]
        up = [one["known_seconds_cleared"] for one in settings]
        colours = [ORANGE if one["novel_video_recall"] < 1.0 else BLUE for one in settings]
        axes.scatter(across, up, c=colours, s=12, alpha=0.6, linewidths=0)
        axes.plot([across[0]], [up[0]], "k+", markersize=12, label="before")
        axes.plot([across[chosen]], [up[chosen]], "ko", markersize=9, fillstyle="none", label="chosen")
        title = "Every setting of the sweep (orange: a new video was cleared)"
        axes.set(title=title, xlabel="new seconds shown", ylabel="known seconds cleared")
        found.append(_saved(plt, figure, axes, folder / "settings.png", title))
    return found


def _bars(plt: Any, edits: Sequence[Measured]) -> tuple[Any, Any]:
    """Return a figure with one bar for each edit, the lowest value on top."""
    ordered = sorted(edits, key=lambda one: (-one.value, one.group))
    figure, axes = plt.subplots(figsize=(SIZE[0], 1.2 + 0.17 * len(ordered)))
    place = np.arange(len(ordered))
    values = np.array([one.value for one in ordered])
    spread = [np.maximum(0, values - [o.low for o in ordered]), np.maximum(0, [o.high for o in ordered] - values)]
    axes.barh(place, values, color=BLUE, height=0.7)
    axes.errorbar(values, place, xerr=spread, fmt="none", ecolor="black", elinewidth=0.7)
    axes.set_yticks(place, [one.group.removeprefix("edit: ") for one in ordered], fontsize=7)
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    return figure, axes


def _saved(plt: Any, figure: Any, axes: Any, path: Path, title: str) -> tuple[str, str]:
    axes.grid(visible=True, alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
    return path.name, title


def _library(name: str) -> Any:
    import importlib  # noqa: PLC0415

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EnvironmentUnfitError(
            f"{name.split('.', maxsplit=1)[0]} is not installed, and tuning needs it: pip install 'videonovelty[tune]'."
        ) from error
