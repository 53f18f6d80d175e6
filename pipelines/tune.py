"""The tuning job, step by step as in a notebook: sample set → metrics of today's settings → sweep → chosen settings.

    videonovelty samples make clips/ --out samples
    python -m pipelines.tune sample_config/tune.toml

Every table is Arrow: `found.tables["outcomes"].to_pandas()` in a notebook.
Exit code 1: a metric fell below the baseline.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc

from videonovelty.cli.app import exit_code
from videonovelty.cli.console import StageProgress, say
from videonovelty.engine import open_engine
from videonovelty.errors import VideoNoveltyError
from videonovelty.settings import Settings, load_settings
from videonovelty.signatures import self_check
from videonovelty.tuning.baseline import regressions
from videonovelty.tuning.choosing import Costs, parse_sweep
from videonovelty.tuning.sampletables import load_sampleset
from videonovelty.tuning.tune import Tuned, TuneOptions, measure_settings, tune


def run(settings: Settings) -> tuple[list[str], Tuned]:
    """Hold the settings against the baseline, if there is one, then tune; return what fell, and what was found."""
    job = settings.tune
    samples = load_sampleset(job.samples)
    options = TuneOptions(
        levels=parse_sweep(job.sweep) if job.sweep else None,
        most_settings=job.max_settings,
        seed=job.seed,
        costs=Costs(job.cost_missed, job.cost_minute, job.cost_exposure),
    )
    job.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    fallen: list[str] = []
    with (
        open_engine(settings.run, workers=settings.run.workers, local_directory=job.out / "workers") as engine,
        StageProgress() as progress,
    ):
        if job.baseline:
            now = measure_settings(samples, job.cache, settings=settings, engine=engine, report=progress)
            fallen = regressions(Path(job.baseline), now.metrics)
        found = tune(
            samples, job.out, settings=settings, engine=engine, options=options, cache=job.cache, report=progress
        )
    return fallen, found


def main(arguments: Sequence[str] | None = None) -> int:
    """Tune as the settings say, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="settings, see sample_config/tune.toml")
    options = parser.parse_args(arguments)
    try:
        self_check()
        fallen, found = run(load_settings(options.config))
    except VideoNoveltyError as error:
        say(f"tune: {error}")
        return exit_code(error)
    for text in fallen:
        say(f"regression: {text}")
    metrics = found.tables["metrics"]
    for row in metrics.filter(pc.equal(metrics["group"], "all")).to_pylist():
        print(f"{row['metric']:40} {row['value']:.4f}  [{row['low']:.4f}, {row['high']:.4f}]")
    hidden = found.tables["outcomes"].filter(pc.field("hidden_seconds") > 1.0)
    print(f"queries of which more than a second of new footage is called known: {hidden.num_rows}")
    for key, (old, new) in found.changes.items():
        print(f"{key}: {old} → {new}")
    for warning in found.warnings:
        say(f"warning: {warning}")
    print(f"settings: {found.toml}\nreport: {found.report}")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
