"""`tune`: choose settings by a sample set, or hold them against a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videonovelty.cli.console import counts_table, output, print_json, say, stages
from videonovelty.cli.scanning import Config, Json, Unsandboxed, Workers, load


def tune(
    sampleset: Annotated[Path, typer.Argument(help="A folder made by `samples make` or `samples label`.")],
    out: Annotated[Path, typer.Option("--out", help="Where settings, tables and the report are written.")],
    config: Config = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep", help="Values to try of a setting of [matching], [proof] or [verdict]: KEY=A,B,C; repeat."
        ),
    ] = None,
    most: Annotated[int, typer.Option("--max-settings", min=1, help="Combinations tried at most.")] = 512,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="Try nothing: fail (1) where a metric fell below this file's.")
    ] = None,
    write_baseline: Annotated[
        Path | None, typer.Option("--write-baseline", help="Try nothing: write the file for --baseline.")
    ] = None,
    cost_missed: Annotated[float, typer.Option("--cost-missed", help="Cost of a new video nobody sees.")] = 10_000.0,
    cost_minute: Annotated[float, typer.Option("--cost-minute", help="Cost of a reviewer's minute.")] = 1.0,
    cost_exposure: Annotated[
        float, typer.Option("--cost-exposure", help="Cost of a known video that is looked at once more.")
    ] = 5.0,
    seed: Annotated[int, typer.Option("--seed", help="Draws the combinations and the bootstrap.")] = 0,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of signatures, kept between runs; OUT/signatures by default.")
    ] = None,
    workers: Workers = None,
    allow_unsandboxed: Unsandboxed = False,
    as_json: Json = False,
) -> None:
    """Choose thresholds and prove the choice: try settings on one half of a sample set, measure them on the other.

    Example: [bold]videonovelty tune samples --out tuned --workers 2[/bold], then
    [bold]videonovelty scan … --config tuned/tuned.toml[/bold]

    No new video may be hidden; of the settings that hide none, the cheapest is taken.
    """
    from videonovelty.engine import open_engine
    from videonovelty.signatures import self_check
    from videonovelty.tuning import baseline as gate
    from videonovelty.tuning.choosing import Costs, parse_sweep
    from videonovelty.tuning.metrics import by_name
    from videonovelty.tuning.sampletables import load_sampleset
    from videonovelty.tuning.tune import TuneOptions, measure_settings, samples_digest
    from videonovelty.tuning.tune import tune as run_tuning

    settings = load(config, workers, allow_unsandboxed)
    levels = parse_sweep(sweep) if sweep else None
    if baseline is not None:
        gate.read_baseline(baseline)
    samples = load_sampleset(sampleset)
    self_check()
    options = TuneOptions(levels, most, seed, costs=Costs(cost_missed, cost_minute, cost_exposure))
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    signatures = cache or out / "signatures"
    with (
        open_engine(settings.run, workers=settings.run.workers, local_directory=out / "workers") as engine,
        stages(quiet=as_json) as progress,
    ):
        if baseline is not None or write_baseline is not None:
            found = measure_settings(
                samples, signatures, settings=settings, engine=engine, options=options, report=progress
            )
        else:
            tuned = run_tuning(
                samples, out, settings=settings, engine=engine, options=options, cache=signatures, report=progress
            )
    if write_baseline is not None:
        gate.write_baseline(write_baseline, found.metrics, samples=samples_digest(samples))
        output.print(f"baseline: {write_baseline}", markup=False)
    if baseline is not None:
        _gate(gate.regressions(baseline, found.metrics), baseline, as_json)
        return
    if write_baseline is not None:
        return
    after = by_name(tuned.after.metrics)
    if as_json:
        print_json(
            {
                "changes": {key: {"before": old, "chosen": new} for key, (old, new) in tuned.changes.items()},
                "metrics": {n: {"value": m.value, "low": m.low, "high": m.high} for n, m in after.items()},
                "warnings": list(tuned.warnings),
                "settings": str(tuned.toml),
                "report": str(tuned.report),
            }
        )
        return
    before = by_name(tuned.before.metrics)
    counts_table(
        "metric: before → chosen (95 % interval)",
        {
            name: f"{before[name].value:.3f} → {one.value:.3f} ({one.low:.3f} … {one.high:.3f})"
            for name, one in after.items()
            if name in before
        },
    )
    counts_table(
        "settings", {key: f"{old} → {new}" for key, (old, new) in tuned.changes.items()} or {"changed": "none"}
    )
    for warning in tuned.warnings:
        say(f"warning: {warning}")
    output.print(f"settings: {tuned.toml}\nreport: {tuned.report}", markup=False)


def _gate(fallen: list[str], baseline: Path, as_json: bool) -> None:
    if as_json:
        print_json({"baseline": str(baseline), "regressions": fallen})
    elif not fallen:
        output.print(f"nothing fell below {baseline}", markup=False)
    for text in [] if as_json else fallen:
        say(f"regression: {text}")
    if fallen:
        raise typer.Exit(1)
