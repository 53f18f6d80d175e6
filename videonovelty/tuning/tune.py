"""Tune and measure: from a sample set to settings with their evidence, as one function for commands and notebooks.

    >>> found = tune(load_sampleset(Path("samples")), Path("out"), settings=Settings(), engine=engine)
    >>> found.tables["metrics"], found.tables["outcomes"], found.tables["settings"]     # Arrow

Settings are chosen on the split `tune` alone and measured on `holdout`, each against what its own split enrols.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty import __version__
from videonovelty.batch import Progress, Report
from videonovelty.engine import Engine
from videonovelty.records import Verdict
from videonovelty.settings import Settings
from videonovelty.tuning.choosing import Costs, choose, edge_warnings, make_variants, summary
from videonovelty.tuning.curves import curve_tables, write_plots
from videonovelty.tuning.metrics import Measured, Outcome, Pair, Truth, as_table, by_name, clopper_pearson, evaluate
from videonovelty.tuning.page import write_page
from videonovelty.tuning.sampletables import SampleSet
from videonovelty.tuning.signed import SignedSamples, sign_samples
from videonovelty.tuning.sweep import Swept, settings_of, sweep
from videonovelty.tuning.traced import TABLES, Variants

log = logging.getLogger(__name__)

FEW_SOURCES = 30
"""With fewer new sources than this, "no error" still allows an error rate of a tenth."""


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What a tuning does."""

    levels: Mapping[str, Sequence[Any]] | None = None
    """Levels of the settings to try; None for `choosing.DEFAULT_SWEEP`, empty to measure only."""
    most_settings: int = 512
    seed: int = 0
    repeats: int = 500
    """Repeats of the bootstrap."""
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Outcomes and metrics of one setting on some queries."""

    outcomes: tuple[Outcome, ...]
    pairs: tuple[Pair, ...]
    metrics: tuple[Measured, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """What a tuning comes to."""

    settings: Settings
    changes: Mapping[str, tuple[Any, Any]]
    """"table.key" → value before, value chosen."""
    before: Measurement
    """The settings given, on the split that decides (`holdout`, or all where there is none)."""
    after: Measurement
    warnings: tuple[str, ...]
    tables: Mapping[str, pa.Table]
    """`metrics`, `outcomes`, `pairs`, `settings`, and the curves."""
    report: Path
    toml: Path


def tune(
    samples: SampleSet,
    out: Path,
    *,
    settings: Settings,
    engine: Engine,
    options: TuneOptions | None = None,
    cache: Path | None = None,
    report: Report = lambda _: None,
) -> Tuned:
    """Choose settings on the split `tune`, measure them on `holdout`, and write everything into `out`.

    Settings that hide new footage on `holdout` which those given show are refused: then nothing is changed.

    `cache` keeps the signatures (default: OUT/signatures). Raises SettingsError for a bad sample set or sweep,
    EnvironmentUnfitError without the extra `tune`.
    """
    chosen_options = options or TuneOptions()
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    variants, levels = make_variants(
        chosen_options.levels, settings, most=chosen_options.most_settings, seed=chosen_options.seed
    )
    signed = sign_samples(samples, cache or out / "signatures", settings=settings, engine=engine, report=report)
    truth = Truth(samples)
    work: dict[str, Any] = {"settings": settings, "work": out, "engine": engine, "report": report}
    held_out = bool(signed.queries("holdout"))
    swept = sweep(signed, "tune", variants, **work) if variants.count > 1 else []
    summaries = summaries_of(swept, signed, truth, variants, chosen_options.costs) if swept else []
    chosen = choose(summaries, variants) if summaries else 0
    tuned = settings_of(variants, chosen, settings)
    both = Variants({key: [variants.value(key, 0), variants.value(key, chosen)] for key in variants.columns})
    split = "holdout" if held_out else None
    final = sweep(signed, split, both, **work)
    before, after = (
        measurement({one.video: one.under(n) for one in final}, signed, truth, chosen_options)
        for n in (0, both.count - 1)
    )
    refused = refusal(before.outcomes, after.outcomes, variants, chosen) if chosen and held_out else ()
    if refused:
        chosen, tuned, after = 0, settings, before
    warnings = (
        *refused,
        *_set_warnings(signed, after.outcomes, held_out),
        *leaks(signed, settings, **{k: v for k, v in work.items() if k != "settings"}),
        *edge_warnings(variants, levels, chosen),
    )
    changes = {
        key: (variants.value(key, 0), variants.value(key, chosen))
        for key in variants.columns
        if variants.value(key, 0) != variants.value(key, chosen)
    }
    evidence = evidence_of(signed, after, chosen_options, variants, split or "all")
    toml = write_toml(out / "tuned.toml", tuned, settings, changes, evidence)
    tables = {
        "metrics": as_table(after.metrics),
        "metrics_before": as_table(before.metrics),
        "outcomes": as_table(after.outcomes),
        "pairs": as_table(after.pairs),
        "settings": _settings_table(variants, summaries),
        **curve_tables(after.outcomes),
    }
    for name, table in tables.items():
        pq.write_table(table, out / f"{name}.parquet")
    plots = write_plots(
        out / "plots", {"before": before.outcomes, "tuned": after.outcomes}, after.metrics, summaries, chosen
    )
    page = write_page(
        out / "index.html",
        samples=samples,
        split=split or "all",
        before=before.metrics,
        after=after.metrics,
        outcomes=after.outcomes,
        changes=changes,
        warnings=warnings,
        evidence=evidence,
        plots=plots,
        tried=variants.count,
        paths={video.sha256: str(samples.path(video.video)) for video in samples.videos.values()},
    )
    return Tuned(tuned, changes, before, after, warnings, tables, page, toml)


def measure_settings(
    samples: SampleSet,
    cache: Path,
    *,
    settings: Settings,
    engine: Engine,
    options: TuneOptions | None = None,
    report: Report = lambda _: None,
) -> Measurement:
    """Return what given settings come to on all queries of a set: what the regression gate compares."""
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    signed = sign_samples(samples, cache, settings=settings, engine=engine, report=report)
    found = sweep(signed, None, Variants({}), settings=settings, work=cache, engine=engine, report=report)
    return measurement({one.video: one.under(0) for one in found}, signed, Truth(samples), options or TuneOptions())


def measurement(
    verdicts: Mapping[str, Verdict], signed: SignedSamples, truth: Truth, options: TuneOptions
) -> Measurement:
    """Return outcomes, pairs and metrics of the verdicts on some queries."""
    videos = [signed.samples.videos[video] for video in verdicts]
    outcomes = tuple(truth.outcome(video, verdicts[video.video]) for video in videos)
    pairs = tuple(pair for video in videos for pair in truth.pairs(video, verdicts[video.video]))
    metrics = tuple(evaluate(outcomes, pairs, repeats=options.repeats, seed=options.seed)) if outcomes else ()
    return Measurement(outcomes, pairs, metrics)


def summaries_of(
    swept: Sequence[Swept], signed: SignedSamples, truth: Truth, variants: Variants, costs: Costs
) -> list[dict[str, float]]:
    """Return metrics, counts and cost of every setting of a sweep."""
    outcomes = [[truth.outcome(signed.samples.videos[one.video], verdict) for verdict in one.verdicts] for one in swept]
    known: dict[tuple[int, ...], dict[str, float]] = {}
    found = []
    for index in range(variants.count):
        which = tuple(int(one.which[index]) for one in swept)
        if which not in known:
            known[which] = summary([rows[n] for rows, n in zip(outcomes, which, strict=True)], costs)
        found.append(known[which])
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Doubts


HIDDEN_SECONDS = 1.0
"""More new footage than this inside a stretch called known is an error of its own, whatever the verdict."""


def refusal(before: Sequence[Outcome], after: Sequence[Outcome], variants: Variants, chosen: int) -> tuple[str, ...]:
    """Return why the settings chosen are not taken: on the split that was not tuned on, they hide what was shown."""
    shown = {row.video for row in before if not row.hidden}
    more = {row.video for row in before if min(row.hidden_seconds, row.new_truth) <= HIDDEN_SECONDS}
    found = [
        row.video
        for row in after
        if (row.hidden and row.video in shown)
        or (min(row.hidden_seconds, row.new_truth) > HIDDEN_SECONDS and row.video in more)
    ]
    if not found:
        return ()
    what = ", ".join(
        f"{key} = {variants.value(key, chosen)}"
        for key in variants.columns
        if variants.value(key, chosen) != variants.value(key, 0)
    )
    return (
        f"refused: {what}: chosen on split tune, these settings hide new footage on split holdout that is shown "
        f"otherwise ({len(found)} queries, {found[0]} first), so nothing is changed",
    )


def _set_warnings(signed: SignedSamples, outcomes: Sequence[Outcome], held_out: bool) -> list[str]:
    found = [
        f"{video}: nothing could be signed ({reason.value}), so it is left out"
        for video, reason in signed.unsigned.items()
    ]
    if not held_out:
        found.append("no query is held out: the figures are of the queries the settings were chosen on, and flatter")
    new = {row.cluster for row in outcomes if row.is_new}
    if len(new) < FEW_SOURCES:
        bound = 1.0 - clopper_pearson(len(new), len(new))[0]
        worth = "the intervals are wide"
        if not any(row.hidden for row in outcomes):
            worth = f"without a single error up to {bound:.0%} of new ones may be hidden"
        found.append(f"only {len(new)} sources of new videos: {worth}")
    kinds = {row.kind for row in outcomes}
    if "same_scene" not in kinds:
        found.append("no query is another take of a known scene: the hardest new videos are not measured")
    return found


def leaks(signed: SignedSamples, settings: Settings, *, work: Path, engine: Engine, report: Report) -> list[str]:
    """Return a warning for each query that is proven to show what another split enrols: a leak between the splits."""
    splits = {video.sha256: video.split for video in signed.enrolled(None)}
    if len({video.split for video in signed.samples.videos.values()}) < 2:
        return []
    names = {video.sha256: video.video for video in signed.enrolled(None)}
    found = []
    for one in sweep(signed, None, Variants({}), settings=settings, work=work, engine=engine, report=_quiet(report)):
        mine = signed.samples.videos[one.video].split
        for known in sorted(
            {s.known_video_id for s in one.under(0).segments if s.kind == "known" and s.known_video_id}
        ):
            if splits.get(known, mine) != mine:
                text = f"{one.video} ({mine}) shows {names[known]} ({splits[known]}): a source leaks between splits"
                found.append(text)
    return found


def _quiet(report: Report) -> Report:
    def renamed(progress: Progress) -> None:
        report(Progress("looking for leaks", progress.done, progress.total))

    return renamed


# ---------------------------------------------------------------------------------------------------------------------
# What is written


def samples_digest(samples: SampleSet) -> str:
    """Return what names a sample set: the digest of its tables."""
    rows = json.dumps([sorted(samples.videos), [v.sha256 for v in samples.videos.values()]])
    tables = rows + repr(samples.truth) + repr(samples.negatives)
    return hashlib.sha256(tables.encode()).hexdigest()[:16]


def evidence_of(
    signed: SignedSamples, found: Measurement, options: TuneOptions, variants: Variants, split: str
) -> tuple[str, ...]:
    """Return what speaks for the settings, one fact a line."""
    rows = found.outcomes
    new = [row for row in rows if row.is_new]
    lines = [
        f"sample set {samples_digest(signed.samples)}, {len(signed.samples.videos)} videos; measured on split {split}",
        f"signatures {scheme_of(signed)}; videonovelty {__version__}; {variants.count} settings tried on split tune, "
        f"seed {options.seed}",
        f"{len(rows)} queries of {len({row.cluster for row in rows})} sources; {len(new)} new, of "
        f"{len({row.cluster for row in new})} sources; {sum(row.hidden for row in rows)} of them hidden",
    ]
    for name in (
        "novel_video_recall",
        "novel_video_recall_at_50pc",
        "new_seconds_shown",
        "known_seconds_cleared",
        "known_seconds_cleared_at_full_recall",
        "source_named",
        "segment_f",
        "pair_average_precision",
    ):
        one = by_name(found.metrics).get(name)
        if one is not None:
            lines.append(f"{name} {one.value:.4f}, 95 % interval {one.low:.4f} to {one.high:.4f}")
    return tuple(lines)


def scheme_of(signed: SignedSamples) -> str:
    """Return the name of the signatures a set was measured with."""
    return signed.fingerprint.split("/")[0]


def write_toml(
    path: Path, tuned: Settings, base: Settings, changes: Mapping[str, tuple[Any, Any]], evidence: Sequence[str]
) -> Path:
    """Write the settings as `scan --config` takes them: every table that differs from the default, and the evidence."""
    lines = [
        "# Chosen by `videonovelty tune`; see index.html beside it. [evidence] travels with every run's settings.",
        "",
    ]
    lines += [f"# {key}: {_toml(old)} → {_toml(new)}" for key, (old, new) in changes.items()] or ["# nothing changed"]
    for table in type(base).model_fields:
        values = getattr(tuned, table).model_dump(mode="json")
        if table == "evidence":
            values = {"facts": list(evidence)}
        plain = type(getattr(tuned, table))().model_dump(mode="json")
        # the tables that were judged by stand there whole: a later default must not change what was measured
        kept = values if table in TABLES else {k: v for k, v in values.items() if v != plain[k] and v is not None}
        if kept:
            lines += ["", f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in kept.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    """Return a value as TOML; JSON is, for text, numbers, truth values and lists of them."""
    if isinstance(value, (list, tuple)) and any(isinstance(one, str) and len(one) > 40 for one in value):
        return "[\n" + "".join(f"  {json.dumps(one, ensure_ascii=False)},\n" for one in value) + "]"
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _settings_table(variants: Variants, summaries: Sequence[Mapping[str, float]]) -> pa.Table:
    columns: dict[str, Any] = {
        key: [str(v) if isinstance(v, tuple) else v for v in values] for key, values in variants.as_lists().items()
    }
    for name in summaries[0] if summaries else ():
        columns[name] = [one[name] for one in summaries]
    return pa.table(columns if summaries else {key: values[:0] for key, values in columns.items()})
