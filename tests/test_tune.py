"""Tuning: the sweep equals the scan's own path, the gate holds the project's baseline, bad input is named."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import tomllib
from dataclasses import astuple
from pathlib import Path

import make_video
import numpy as np
import pyarrow.parquet as pq
import pytest
import tune_samples
from test_screening import run
from typer.testing import CliRunner

from pipelines import tune as scripted
from videonovelty.cli.app import app
from videonovelty.engine import open_engine
from videonovelty.errors import SettingsError
from videonovelty.run import write_part
from videonovelty.settings import Settings, load_settings
from videonovelty.tuning.baseline import read_baseline, regressions
from videonovelty.tuning.choosing import DEFAULT_SWEEP, choose, edge_warnings, make_variants, parse_sweep
from videonovelty.tuning.metrics import Outcome, Truth
from videonovelty.tuning.page import errors_table
from videonovelty.tuning.sampleset import SampleSet, load_sampleset
from videonovelty.tuning.signed import SignedSamples, sign_samples
from videonovelty.tuning.sweep import judge_plainly, settings_of, sweep
from videonovelty.tuning.traced import Variants
from videonovelty.tuning.tune import Measurement, Tuned, TuneOptions, leaks, measurement, refusal, tune

pytest.importorskip("sklearn", reason="the extra `tune` is not installed")
pytest.importorskip("matplotlib", reason="the extra `tune` is not installed")

SETTINGS = Settings()
QUIET = {"report": lambda _: None}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    return tune_samples.make(tmp_path_factory.mktemp("tune"))


@pytest.fixture(scope="module")
def cache(samples: SampleSet) -> Path:
    return samples.folder.parent / "cache"


@pytest.fixture(scope="module")
def now(samples: SampleSet, cache: Path) -> Measurement:
    """What the shipped settings come to; signs the set."""
    return tune_samples.measured(samples, cache)


def _signed(samples: SampleSet, cache: Path) -> SignedSamples:
    with open_engine(SETTINGS.run, workers=0, local_directory=cache / "workers") as engine:
        return sign_samples(samples, cache, settings=SETTINGS, engine=engine, report=lambda _: None)


# ---- the gate -------------------------------------------------------------------------------------------------------


def test_shipped_settings_hold_the_projects_baseline(now: Measurement) -> None:
    assert regressions(tune_samples.BASELINE, now.metrics) == []


WORSE = {"min_events": 4000.0, "level_changes": 1e6}
"""Neither movement nor levels prove anything."""
AS_TOML = "\n".join(f"{key} = {value}" for key, value in WORSE.items())


def test_a_worsened_setting_is_caught_and_the_edit_is_named(samples: SampleSet, cache: Path, now: Measurement) -> None:
    worse = load_settings(None, proof=WORSE)
    fallen = regressions(tune_samples.BASELINE, tune_samples.measured(samples, cache, worse).metrics)
    assert any(text.startswith("edit: mirror: known_seconds_cleared fell by ") for text in fallen)


def test_a_broken_signature_is_caught(samples: SampleSet, cache: Path, now: Measurement) -> None:
    signed = _signed(samples, cache)
    broken = dict(signed.parts)
    folder = samples.folder.parent / "broken"
    folder.mkdir()
    for video in samples.of_role("query"):
        read = signed.parts[video.video].read()
        # the cells of the motion grids in another order
        motion = read.signatures.motion
        pictures = None if motion.pictures is None else np.roll(motion.pictures, 29, axis=1)
        levels = None if motion.levels is None else np.roll(motion.levels, 21, axis=1)
        motion = dataclasses.replace(motion, signs=np.roll(motion.signs, 5, axis=1), pictures=pictures, levels=levels)
        one = dataclasses.replace(read, signatures=dataclasses.replace(read.signatures, motion=motion))
        (folder / "parts").mkdir(exist_ok=True)
        digest = write_part(folder, one)
        broken[video.video] = dataclasses.replace(broken[video.video], run_path=folder, sha256=digest)
    bad = dataclasses.replace(signed, parts=broken)
    with open_engine(SETTINGS.run, workers=0, local_directory=folder / "workers") as engine:
        found = sweep(bad, None, Variants({}), settings=SETTINGS, work=folder, engine=engine, **QUIET)
    verdicts = {one.video: one.under(0) for one in found}
    fallen = regressions(
        tune_samples.BASELINE, measurement(verdicts, bad, Truth(samples), TuneOptions(repeats=20)).metrics
    )
    assert any(text.startswith("edit: copy: known_seconds_cleared fell by ") for text in fallen)


def test_a_file_that_is_no_baseline_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"other\.json: not a baseline"):
        read_baseline(path)


def test_an_edit_that_is_not_measured_any_more_is_named(now: Measurement) -> None:
    without = [one for one in now.metrics if one.group != "edit: mirror"]
    assert any("is not measured any more" in text for text in regressions(tune_samples.BASELINE, without))


# ---- the sweep ------------------------------------------------------------------------------------------------------

LEVELS = {
    "proof.sure_agreement": [0.3, 0.43, 0.7, 0.95],
    "proof.doubtful_margin": [0.1, 0.3, 0.6],
    "proof.min_events": [10.0, 40.0, 200.0],
    "proof.min_seconds": [0.8, 1.6, 3.0],
    "proof.sure_agreement_seconds": [0.2, 0.7],
    "proof.switch_cost": [4.0, 8.0],
    "proof.max_still_seconds": [0.5, 1.0],
    "proof.min_inliers": [7, 10],
    "matching.radius_bits": [20, 31],
    "matching.max_candidates": [1, 20],
    "matching.speeds": [(1.0,), SETTINGS.matching.speeds],
    "matching.local_votes": [3.0, 6.0],
    "verdict.boundary_seconds": [0.0, 0.35, 1.0],
    "verdict.min_known_share": [0.5, 1.0],
    "verdict.min_spatial_share": [0.4, 0.9],
}


def test_sweep_gives_what_the_scan_gives_for_each_setting(samples: SampleSet, cache: Path, now: Measurement) -> None:
    signed = _signed(samples, cache)
    variants, _ = make_variants(LEVELS, SETTINGS, most=60, seed=4)
    with open_engine(SETTINGS.run, workers=0, local_directory=cache / "workers") as engine:
        found = sweep(signed, "tune", variants, settings=SETTINGS, work=cache, engine=engine, **QUIET)
        assert any(len(one.verdicts) > 1 for one in found), "the settings decide something"
        for index in (0, 7, 31, 59):
            one = settings_of(variants, index, SETTINGS)
            plain = judge_plainly(signed, "tune", settings=one, work=cache, engine=engine, **QUIET)
            for query in found:
                assert astuple(query.under(index)) == astuple(plain[query.video]), (index, query.video)


def test_combinations_begin_with_the_settings_now_and_are_drawn_by_seed() -> None:
    variants, levels = make_variants(None, SETTINGS, most=100, seed=1)
    assert variants.count == 100
    assert settings_of(variants, 0, SETTINGS) == SETTINGS
    assert len({repr(variants.overrides(n)) for n in range(100)}) == 100
    again, _ = make_variants(None, SETTINGS, most=100, seed=1)
    assert again.as_lists() == variants.as_lists()
    assert set(levels) == set(DEFAULT_SWEEP)
    all_of_them, _ = make_variants({"proof.min_events": [1, 2]}, SETTINGS, most=100, seed=1)
    assert all_of_them.as_lists() == {"proof.min_events": [SETTINGS.proof.min_events, 1.0, 2.0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proof.min_evnts=1", r"proof\.min_evnts: unknown key"),
        ("keyframes.grid_seconds=0.5", r"only settings of matching, proof, verdict can be swept"),
        ("proof.min_seconds=-1", r"proof\.min_seconds=-1: .*greater than 0"),
        ("proof.min_seconds", "no values"),
        ("proof.min_seconds=one", r"write proof\.min_events=20,40,80"),
    ],
)
def test_a_wrong_sweep_is_named(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_variants(parse_sweep([text]), SETTINGS, most=10, seed=0)


def test_no_saving_pays_for_a_hidden_video() -> None:
    variants = Variants({"proof.min_events": [40.0, 10.0, 20.0, 30.0]})
    base = {"hidden_videos": 0.0, "hidden_seconds": 1.0}
    found = [
        {**base, "cost": 100.0},
        {**base, "hidden_videos": 1.0, "cost": 1.0},
        {**base, "hidden_seconds": 2.0, "cost": 2.0},
        {**base, "cost": 90.0},
    ]
    assert choose(found, variants) == 3
    assert edge_warnings(variants, {"proof.min_events": [10.0, 20.0, 30.0]}, 3) == [
        "proof.min_events = 30.0 is at the edge of what was tried (10.0 … 30.0): try further"
    ]


def _outcome(video: str, verdict: str, hidden_seconds: float) -> Outcome:
    return Outcome(
        video,
        video,
        "",
        "novel",
        False,
        10.0,
        0.0,
        10.0,
        verdict,
        "",
        1.0,
        0.0,
        hidden_seconds,
        10.0,
        False,
        1.0,
        1.0,
        "",
    )


def test_what_hides_new_footage_where_nothing_was_tuned_is_refused() -> None:
    variants = Variants({"proof.min_events": [40.0, 10.0]})
    before = [_outcome("a", "novel", 0.0), _outcome("b", "partly_known", 3.0), _outcome("c", "known", 10.0)]
    assert refusal(before, before, variants, 1) == ()
    # a little more of what was hidden anyway, or a rounded boundary, is no new error
    slight = [_outcome("a", "novel", 0.9), _outcome("b", "partly_known", 3.4), _outcome("c", "known", 10.0)]
    assert refusal(before, slight, variants, 1) == ()
    for worse in (_outcome("a", "known", 10.0), _outcome("a", "partly_known", 1.1)):
        (text,) = refusal(before, [worse, *before[1:]], variants, 1)
        assert "proof.min_events = 10.0" in text
        assert "1 queries, a first" in text


# ---- the whole of it ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(samples: SampleSet, cache: Path, now: Measurement) -> Tuned:
    levels = {"proof.min_events": [30.0, 40.0], "verdict.boundary_seconds": [0.2, 0.35]}
    with open_engine(SETTINGS.run, workers=0, local_directory=cache / "workers") as engine:
        return tune(
            samples,
            samples.folder.parent / "out",
            settings=SETTINGS,
            engine=engine,
            options=TuneOptions(levels, repeats=20),
            cache=cache,
        )


def test_tuned_settings_are_accepted_and_carry_their_evidence(tuned: Tuned) -> None:
    settings = load_settings(tuned.toml)
    assert settings.proof == tuned.settings.proof
    assert settings.signing_fingerprint() == SETTINGS.signing_fingerprint()
    assert any(fact.startswith("novel_video_recall ") for fact in settings.evidence.facts)
    document = tomllib.loads(tuned.toml.read_text(encoding="utf-8"))
    assert set(document["proof"]) == set(type(SETTINGS.proof).model_fields)


def test_report_stands_by_itself_and_names_the_worst_first(tuned: Tuned) -> None:
    text = tuned.report.read_text(encoding="utf-8")
    assert "://" not in text
    for name in ("budget", "precision_recall", "roc", "det", "edits", "new", "settings"):
        assert f'src="plots/{name}.png"' in text
        assert (tuned.report.parent / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_hidden_stands_first_among_the_errors(samples: SampleSet) -> None:
    lost, hidden, right = (
        Outcome(
            f"query/{name}.mp4", "1", "caption", kind, True, 6.0, known, 6.0 - known, verdict, "", 0.0, cleared,
            wrong, 0.0, True, 1.0, 1.0, "k",
        )
        for name, kind, known, verdict, cleared, wrong in (
            ("lost", "copy", 6.0, "same_scene", 0.0, 0.0),
            ("hidden", "novel", 0.0, "known", 0.0, 6.0),
            ("right", "copy", 6.0, "known", 6.0, 0.0),
        )
    )  # fmt: skip
    text = errors_table(samples, [right, lost, hidden], {"k": "known/1.mp4"})
    assert 0 < text.index("query/hidden.mp4") < text.index("query/lost.mp4")
    assert "query/right.mp4" not in text
    assert f"videonovelty compare {samples.path('query/hidden.mp4')} known/1.mp4" in text
    assert errors_table(samples, [right], {}) == "<h2>Errors</h2><p>None.</p>"


def test_tables_are_arrow_and_on_disk(tuned: Tuned) -> None:
    for name in ("metrics", "outcomes", "pairs", "settings", "roc", "det", "precision_recall", "budget"):
        assert pq.read_table(tuned.report.parent / f"{name}.parquet").num_rows == tuned.tables[name].num_rows
    assert tuned.tables["settings"].num_rows == 4


def test_small_sets_are_warned_about(tuned: Tuned) -> None:
    assert any("sources of new videos" in text for text in tuned.warnings)


def test_a_source_that_leaks_between_splits_is_noticed(samples: SampleSet, cache: Path, now: Measurement) -> None:
    signed = _signed(samples, cache)
    # the same footage under another name in the other split, as a set does whose sources were named wrongly
    videos = {
        name: dataclasses.replace(row, split="holdout" if row.role == "query" else "tune")
        for name, row in samples.videos.items()
    }
    leaking = dataclasses.replace(signed, samples=dataclasses.replace(samples, videos=videos))
    with open_engine(SETTINGS.run, workers=0, local_directory=cache / "workers") as engine:
        assert any(
            "leaks between splits" in one for one in leaks(leaking, SETTINGS, work=cache, engine=engine, **QUIET)
        )
        assert leaks(signed, SETTINGS, work=cache, engine=engine, **QUIET) == []


# ---- the commands ---------------------------------------------------------------------------------------------------


def test_gate_ends_with_1_and_says_what_fell(samples: SampleSet, cache: Path, now: Measurement, tmp_path: Path) -> None:
    arguments = ["tune", str(samples.folder), "--out", str(tmp_path), "--cache", str(cache), "--workers", "0"]
    arguments += ["--baseline", str(tune_samples.BASELINE)]
    good = CliRunner().invoke(app, arguments)
    assert good.exit_code == 0, good.output
    config = tmp_path / "worse.toml"
    config.write_text(f"[proof]\n{AS_TOML}\n", encoding="utf-8")
    bad = CliRunner().invoke(app, [*arguments, "--config", str(config)])
    assert bad.exit_code == 1
    assert "regression: edit: mirror: known_seconds_cleared fell by" in bad.stderr.replace("\n", " ")


def test_label_makes_a_set_and_bad_sets_are_named_by_row(samples: SampleSet, tmp_path: Path) -> None:
    shutil.copytree(samples.folder, tmp_path / "set")
    gone = samples.of_role("query")[0].video
    (tmp_path / "set" / gone).unlink()
    result = CliRunner().invoke(app, ["tune", str(tmp_path / "set"), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, SettingsError)
    assert "videos.csv row" in str(result.exception)
    known, query = samples.truth[0].known, samples.truth[0].query
    pairs = tmp_path / "pairs.csv"
    rows = [
        f"{samples.path(query)},,,{samples.path(known)},,,mine",
        f"{samples.path(samples.negatives[0].query)},,,,,,novel",
    ]
    pairs.write_text("query,q_start,q_end,known,k_start,k_end,edit\n" + "\n".join(rows) + "\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["samples", "label", str(pairs), "--out", str(tmp_path / "mine"), "--json"])
    assert done.exit_code == 0, done.output
    assert '"truth": 1' in done.stdout


def _readme_lines() -> list[list[str]]:
    """The commands of the README that make samples, tune and scan with what was chosen, in their order."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    block = next(one for one in re.findall(r"```\n(.*?)```", text, re.DOTALL) if "samples make" in one)
    return [shlex.split(line.split("  #")[0]) for line in block.splitlines()]


def test_the_readmes_commands_lead_from_clips_to_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips").mkdir()
    Path("demo/intake").mkdir(parents=True)
    small = {"width": 96, "height": 64, "fps": 8.0}
    for number in range(6):
        make_video.make_clip(Path("clips") / f"{number}.mp4", 300 + number, 4.4, **small)
    make_video.make_clip(Path("demo/intake/copy.mp4"), 300, 4.4, crf=33, **small)
    make_video.make_clip(Path("demo/intake/new.mp4"), 399, 4.4, **small)
    run("known", "add", "clips", "--store", "known", "--list", "clips", "--disposition", "other")
    # a small set and few settings; everything else stands there as here
    less = {
        "samples": [*("--edit", "copy", "--edit", "inset_30"), *("--rooms", "0", "--seed", "2")],
        "tune": ["--max-settings", "4"],
    }
    lines = _readme_lines()
    assert [line[1] for line in lines] == ["samples", "tune", "scan"]
    for words in lines:
        at = words.index("--workers") if "--workers" in words else len(words)
        run(*words[1:at], "--workers", "1" if words[1] == "samples" else "0", *words[at + 2 :], *less.get(words[1], []))
    samples = load_sampleset(Path("samples"))
    assert {row.kind for row in samples.negatives} == {"novel", "new_inside"}
    # what was chosen, and its evidence, is what the scan ran with
    facts = json.loads(Path("runs/tuesday/run.json").read_text(encoding="utf-8"))["settings"]
    chosen = load_settings(Path("tuned/tuned.toml"))
    assert facts["proof"] == chosen.proof.model_dump(mode="json")
    assert facts["evidence"]["facts"] == list(chosen.evidence.facts)
    verdicts = pq.read_table("runs/tuesday/verdicts.parquet").to_pylist()
    assert {Path(row["path"]).name: row["verdict"] for row in verdicts} == {"copy.mp4": "known", "new.mp4": "novel"}


def test_the_scripted_job_tunes_as_its_sample_settings_say(
    samples: SampleSet, cache: Path, now: Measurement, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[1] / "sample_config" / "tune.toml").read_text(encoding="utf-8")
    for key, value in (("samples", samples.folder), ("out", tmp_path / "out"), ("cache", cache)):
        text = re.sub(rf'^{key} = ".*"', f'{key} = "{value}"', text, flags=re.MULTILINE)
    for key, value in (("max_settings", 3), ("workers", 0)):
        text = re.sub(rf"^{key} = \d+", f"{key} = {value}", text, flags=re.MULTILINE)
    text = re.sub(r'^baseline = ""', f'baseline = "{tune_samples.BASELINE}"', text, flags=re.MULTILINE)
    config = tmp_path / "tune.toml"
    config.write_text(text, encoding="utf-8")
    assert scripted.main([str(config)]) == 0
    printed = capsys.readouterr().out
    assert "novel_video_recall" in printed
    assert load_settings(tmp_path / "out" / "tuned.toml").evidence.facts
    config.write_text(f"{text}\n[proof]\n{AS_TOML}\n", encoding="utf-8")
    assert scripted.main([str(config)]) == 1
    assert "regression: edit: mirror: known_seconds_cleared fell by" in capsys.readouterr().err.replace("\n", " ")
