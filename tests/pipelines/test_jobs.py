"""The scheduled jobs, and the same night on a real cluster and in a plain loop."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import make_video
import pyarrow.parquet as pq
import pytest

from pipelines import enrol, nightly

TABLES = ("verdicts.parquet", "verdicts.csv", "verdicts.json", "segments.parquet", "segments.csv", "groups.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("jobs")
    (made / "case-17").mkdir()
    (made / "intake").mkdir()
    make_video.make_clip(made / "case-17" / "a.mp4", 41, 8.0)
    make_video.make_clip(made / "case-17" / "b.mp4", 42, 6.0)
    make_video.make_clip(made / "intake" / "copy.mkv", 41, 8.0, crf=33)
    make_video.splice(
        made / "intake" / "spliced.mp4", 42, insert_at=3.0, insert_seed=95, insert_seconds=3.0, seconds=6.0
    )
    for seed in (96, 97, 98):
        make_video.make_clip(made / "intake" / f"{seed}.mp4", seed, 4.0)
    (made / "intake" / "text.mp4").write_text("no video")
    return made


def _config(folder: Path, name: str, workers: int) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(
        f'[nightly]\nintake = ["{folder / "intake"}"]\nstore = "{folder / "known"}"\nruns = "{folder / name}"\n'
        f'keep_nights = 1\n[enrol]\nfolders = ["{folder / "case-17"}"]\nstore = "{folder / "known"}"\n'
        f"[run]\nworkers = {workers}\n[intake]\nsettle_seconds = 0\n"
    )
    return path


def test_enrolment_then_nights_with_and_without_workers_agree(folder: Path) -> None:
    loop, cluster = _config(folder, "loop", 0), _config(folder, "cluster", 2)
    assert enrol.main([str(cluster)]) == 0
    assert enrol.main([str(cluster)]) == 0  # again: nothing to do
    assert nightly.main([str(loop), "--night", "n1"]) == 3
    assert nightly.main([str(cluster), "--night", "n1"]) == 3
    for name in TABLES:
        assert (folder / "loop" / "n1" / name).read_bytes() == (folder / "cluster" / "n1" / name).read_bytes(), name
    rows = {
        row["path"].rsplit("/", 1)[1]: row for row in pq.read_table(folder / "loop/n1/verdicts.parquet").to_pylist()
    }
    assert rows["copy.mkv"]["verdict"] == "known"
    assert rows["copy.mkv"]["best_known_list"] == "case-17"
    assert rows["spliced.mp4"]["verdict"] != "known"
    assert {rows[f"{seed}.mp4"]["verdict"] for seed in (96, 97, 98)} == {"novel"}
    # the next night lets the signatures of this one go, and keeps its tables
    assert nightly.main([str(loop), "--night", "n2"]) == 3
    assert not (folder / "loop" / "n1" / "parts").exists()
    assert (folder / "loop" / "n1" / "verdicts.parquet").is_file()


def test_unusable_settings_end_with_code_2(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("[run]\nworkers = 0\n")
    assert nightly.main([str(tmp_path / "empty.toml")]) == 2
    assert enrol.main([str(tmp_path / "empty.toml")]) == 2


def test_new_lists_are_imported_once_and_a_damaged_one_does_not_stop_the_night(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config(folder, "lists", 0)
    config.write_text(config.read_text().replace("[nightly]\n", f'[nightly]\nlists = "{folder / "feeds"}"\n'))
    config.write_text(config.read_text().replace("[enrol]", 'skip = ["scan", "report", "metrics"]\n[enrol]'))
    (folder / "feeds" / "good").mkdir(parents=True)
    (folder / "feeds" / "bad").mkdir()
    digest = hashlib.sha256((folder / "intake" / "96.mp4").read_bytes()).hexdigest()
    (folder / "feeds" / "good" / "list.txt").write_text(f"{digest}\n")
    (folder / "feeds" / "bad" / "list.bin").write_bytes(bytes(range(256)))
    assert nightly.main([str(config), "--night", "n1"]) == 3
    assert "list bad: not imported" in (said := capsys.readouterr().err)
    assert "list good: snapshot" in said
    assert nightly.main([str(config), "--night", "n1", "--flagged-ok"]) == 0
    assert "list good" not in capsys.readouterr().err


def test_an_unfinished_night_is_resumed_whatever_the_date_has_become(tmp_path: Path) -> None:
    (tmp_path / "lists.json").write_text("{}")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert nightly.tonight(tmp_path) == today
    (tmp_path / "2026-01-01").mkdir()
    begun = datetime.now(UTC) - timedelta(hours=3)
    document = {"status": "running", "started_at": begun.isoformat()}
    (tmp_path / "2026-01-01" / "run.json").write_text(json.dumps(document))
    assert nightly.tonight(tmp_path) == "2026-01-01"
    (tmp_path / "2026-01-01" / "run.json").write_text(json.dumps({**document, "status": "done"}))
    assert nightly.tonight(tmp_path) == today
