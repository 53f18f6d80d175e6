"""The whole chain without Dask: files in, tables out, through the command line."""

import base64
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import make_video
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from videonovelty.cli.app import app, exit_code
from videonovelty.errors import VideoNoveltyError
from videonovelty.report.html import write_report
from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS
from videonovelty.settings import Settings

QUICK = {"VIDEONOVELTY_INTAKE__SETTLE_SECONDS": "0"}


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run a command as `main` does and return what it printed; `code` is the exit code it must have."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=QUICK)
    found = result.exit_code
    if isinstance(result.exception, VideoNoveltyError):
        found = exit_code(result.exception)
        assert found == code, result.exception
        return str(result.exception)
    assert found == code, result.output + repr(result.exception)
    return result.stdout


def never(task: object, *, settings: object) -> None:
    """Stand in for a stage that must not run."""
    raise AssertionError(task)


class Night:
    """A store, an intake and a run, made once for the tests that only look."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.intake, self.known = folder, folder / "intake", folder / "known"
        for made in (self.intake / "deep" / "er", self.known):
            made.mkdir(parents=True)
        make_video.make_clip(self.known / "one.mp4", 31, 10.0)
        make_video.make_clip(self.known / "two.mp4", 32, 8.0)
        (self.intake / "same bytes.bin").write_bytes((self.known / "one.mp4").read_bytes())
        make_video.make_clip(self.intake / "reencoded.mkv", 31, 10.0, crf=34)
        make_video.splice(
            self.intake / "spliced.mp4", 31, insert_at=5.0, insert_seed=90, insert_seconds=3.0, seconds=10.0
        )
        make_video.make_clip(self.intake / "new.mp4", 91, 6.0)
        make_video.make_clip(self.intake / "deep" / "er" / "new again.avi", 91, 6.0, codec="mpeg4")
        (self.intake / "new copy.mp4").write_bytes((self.intake / "new.mp4").read_bytes())
        make_video.blank(self.intake / "black.mp4", 4.0)
        make_video.damaged(self.intake / "broken.mp4", "truncated", source=self.known / "two.mp4")
        (self.intake / "note.txt").write_text("not a video")
        (self.intake / "empty").write_bytes(b"")
        (self.intake / "link.mp4").symlink_to(self.known / "two.mp4")
        os.mkfifo(self.intake / "pipe.mp4")
        self.odd = os.fsencode(self.intake) + b"/=odd\xff\x1b[31m<img>\n.mp4"
        Path(os.fsdecode(self.odd)).write_bytes(b"odd")
        self.store, self.run = folder / "store", folder / "run"
        self.enrolled = json.loads(
            run("known", "add", self.known, "--store", self.store, "--list", "planted", "--json", "--workers", "0")
        )
        self.document = json.loads(
            run("scan", self.intake, "--store", self.store, "--run", self.run, "--workers", "0", "--json", code=3)
        )

    def verdicts(self) -> dict[str, dict[str, Any]]:
        return {row["path"].rsplit("/", 1)[1]: row for row in pq.read_table(self.run / "verdicts.parquet").to_pylist()}

    def segments(self, video_id: str) -> list[dict[str, Any]]:
        rows = pq.read_table(self.run / "segments.parquet").to_pylist()
        return sorted((r for r in rows if r["video_id"] == video_id), key=lambda r: r["start_seconds"])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return Night(tmp_path_factory.mktemp("night"))


def test_enrolment_takes_every_original(night: Night) -> None:
    assert (night.enrolled["added"], night.enrolled["snapshot"]) == (2, 1)
    assert not (night.store / "work").exists()


def test_every_file_has_exactly_one_row(night: Night) -> None:
    files = [p for p, _, names in os.walk(os.fsencode(night.intake)) for _ in names]
    table = pq.read_table(night.run / "verdicts.parquet")
    assert table.num_rows == len(files) == 13
    assert len(set(table["path_raw"].to_pylist())) == 13


def test_verdicts_are_those_planted(night: Night) -> None:
    found = {name: (row["verdict"], row["reason"]) for name, row in night.verdicts().items()}
    assert found["same bytes.bin"] == ("known", "same_bytes")
    assert found["reencoded.mkv"] == ("known", "proven_by_time")
    assert found["spliced.mp4"] == ("partly_known", "parts_explained")
    assert found["new.mp4"] == found["new copy.mp4"] == found["new again.avi"] == ("novel", "nothing_explained")
    assert found["black.mp4"] == ("not_comparable", "uninformative")
    assert found["note.txt"][0] == found["empty"][0] == "not_comparable"
    assert found["link.mp4"] == found["pipe.mp4"] == ("not_comparable", "not_a_regular_file")
    assert found["broken.mp4"][0] != "known"


def test_only_known_leaves_the_queue(night: Night) -> None:
    assert all(row["needs_review"] == (row["verdict"] != "known") for row in night.verdicts().values())


def test_new_seconds_of_the_spliced_video_are_listed(night: Night) -> None:
    row = night.verdicts()["spliced.mp4"]
    novel = [s for s in night.segments(row["video_id"]) if s["kind"] == "novel"]
    assert len(novel) == 1
    assert novel[0]["start_seconds"] == pytest.approx(5.0, abs=1.0)
    assert novel[0]["end_seconds"] == pytest.approx(8.0, abs=1.0)
    assert row["novel_seconds"] == pytest.approx(3.0, abs=1.0)


def test_segments_tile_each_video(night: Night) -> None:
    for row in night.verdicts().values():
        if row["keyframes"]:
            found = night.segments(row["video_id"])
            assert found[0]["start_seconds"] == 0
            assert found[-1]["end_seconds"] == pytest.approx(row["duration_seconds"], abs=0.002)
            assert all(a["end_seconds"] == b["start_seconds"] for a, b in pairwise(found))


def test_near_duplicates_of_a_new_video_stand_behind_one_leader(night: Night) -> None:
    rows = night.verdicts()
    assert rows["new.mp4"]["group_id"] == rows["new again.avi"]["group_id"] is not None
    assert {rows["new.mp4"]["group_leader"], rows["new again.avi"]["group_leader"]} == {True, False}
    (edge,) = pq.read_table(night.run / "groups.parquet").to_pylist()
    assert edge["evidence_video_id"] == edge["leader_video_id"]


def test_tables_have_the_complete_columns_in_every_format(night: Night) -> None:
    for name, schema in (("verdicts", VERDICTS), ("segments", SEGMENTS), ("groups", GROUPS)):
        assert pq.read_schema(night.run / f"{name}.parquet").equals(schema)
        header = (night.run / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0]
        assert header.split(",") == schema.names
    rows = json.loads((night.run / "verdicts.json").read_text())
    assert len(rows) == 13


def test_hostile_name_is_legible_and_recoverable(night: Night) -> None:
    row = next(r for r in pq.read_table(night.run / "verdicts.parquet").to_pylist() if "odd" in r["path"])
    assert base64.b64decode(row["path_raw"]) == night.odd
    assert not set(row["path"]) & {"\n", "\x1b"}


def test_intake_is_left_as_it_was_and_outputs_are_private(night: Night) -> None:
    assert {p.name for p in night.intake.iterdir()} >= {"reencoded.mkv", "new.mp4"}
    for path in [night.run, *night.run.rglob("*"), night.store, *night.store.rglob("*")]:
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_second_run_opens_no_video_and_writes_the_same_tables(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    from videonovelty import batch

    before = {
        p.name: p.read_bytes() for p in night.run.glob("*.[pcj]*") if p.stem in ("verdicts", "segments", "groups")
    }
    monkeypatch.setattr(batch, "sign_content", never)
    run("scan", night.intake, "--store", night.store, "--run", night.run, "--workers", "0", code=3)
    after = {name: (night.run / name).read_bytes() for name in before}
    assert after == before


def test_report_is_written_and_can_be_rebuilt(night: Night) -> None:
    page = night.run / "report" / "index.html"
    first = page.read_bytes()
    page.unlink()
    assert write_report(night.run, Settings().report) == page
    assert page.read_bytes() == first
    rebuilt = []
    for _ in range(2):  # with what the store says of decisions, which the scan's own page cannot
        page.unlink()
        run("report", night.run)
        rebuilt.append(page.read_bytes())
    assert rebuilt[0] == rebuilt[1] != first


def test_adding_unrelated_known_videos_changes_no_verdict(night: Night, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for seed in (301, 302):
        make_video.make_clip(other / f"{seed}.mp4", seed, 5.0)
    store, again = tmp_path / "store", tmp_path / "run"
    for path, name in ((night.known, "planted"), (other, "other")):
        run("known", "add", path, "--store", store, "--list", name, "--workers", "0")
    run("scan", night.intake, "--store", store, "--run", again, "--workers", "0", code=3)
    columns = [name for name in VERDICTS.names if name not in ("snapshot", "best_known_list")]
    one = pq.read_table(night.run / "verdicts.parquet").select(columns)
    assert pq.read_table(again / "verdicts.parquet").select(columns).equals(one)


def test_removed_list_no_longer_matches(night: Night, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("known", "add", night.known, "--store", store, "--list", "planted", "--workers", "0")
    run("known", "remove", "--list", "planted", "--store", store, "--reason", "test")
    run("scan", night.intake / "reencoded.mkv", "--store", store, "--run", tmp_path / "run", "--workers", "0")
    (row,) = pq.read_table(tmp_path / "run" / "verdicts.parquet").to_pylist()
    assert row["verdict"] == "novel"
    run("known", "rollback", "1", "--store", store, "--reason", "test")
    run("scan", night.intake / "reencoded.mkv", "--store", store, "--run", tmp_path / "run2", "--workers", "0")
    (row,) = pq.read_table(tmp_path / "run2" / "verdicts.parquet").to_pylist()
    assert (row["verdict"], row["snapshot"]) == ("known", 3)


def test_recheck_lists_the_verdicts_a_removal_takes_away(night: Night, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("known", "add", night.known, "--store", store, "--list", "planted", "--workers", "0")
    run("scan", night.intake, "--store", store, "--run", tmp_path / "run", "--workers", "0", code=3)
    assert json.loads(run("known", "recheck", tmp_path / "run", "--store", store, "--json")) == []
    one = next(row["best_known_id"] for name, row in night.verdicts().items() if name == "reencoded.mkv")
    run("known", "remove", "--video", one, "--store", store, "--reason", "withdrawn")
    fallen = json.loads(run("known", "recheck", tmp_path / "run", "--store", store, "--json"))
    names = {Path(row["path"]).name for row in fallen}
    assert names == {"same bytes.bin", "reencoded.mkv", "spliced.mp4"}
    assert all(row["revoked"] == [one] for row in fallen)
    run("known", "recheck", tmp_path / "nothing", "--store", store, code=5)


# ---- commands that look ----


def test_inspect_prints_keyframes_with_pdq_in_hex(night: Night) -> None:
    sheet = night.folder / "sheet.png"
    document = json.loads(run("inspect", night.intake / "reencoded.mkv", "--json", "--contact-sheet", sheet))
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert sheet.stat().st_mode & 0o077 == 0
    assert len(document["contact_sheet"]) == 8
    packets, decoded = document["passes"]
    assert (packets["packets"], packets["doubt"], decoded["name"]) == (125, "", "nonref")
    assert 0 < packets["median_gap_seconds"] <= packets["longest_gap_seconds"] <= 10.0
    assert decoded["cpu_seconds"] > 0
    assert set(document) >= {"path", "video_id", "streams", "passes", "keyframes"}
    for keyframe in document["keyframes"]:
        assert set(keyframe) >= {"pts_seconds", "start_seconds", "end_seconds", "quality", "informative", "pdq"}
        assert len(bytes.fromhex(keyframe["pdq"])) == 32


def test_compare_shows_the_planted_stretch(night: Night) -> None:
    document = json.loads(run("compare", night.intake / "reencoded.mkv", night.known / "one.mp4", "--json"))
    assert document["verdict"] == "known"
    assert document["stretches"][0]["same_footage"] is True


def test_known_stats_and_verify_and_log(night: Night) -> None:
    assert json.loads(run("known", "stats", "--store", night.store, "--json"))["videos"] == 2
    assert json.loads(run("known", "verify", "--store", night.store, "--json")) == {"problems": []}
    assert [e["action"] for e in json.loads(run("known", "log", "--store", night.store, "--json"))] == ["create", "add"]


def test_dry_run_estimates_from_a_sample_and_writes_nothing(night: Night, tmp_path: Path) -> None:
    document = json.loads(
        run("scan", night.intake, "--store", night.store, "--run", tmp_path / "no", "--dry-run", "--json")
    )
    assert (document["files"], document["refused"]) == (11, 2)
    assert document["sampled"] == 11
    assert 0 < document["cpu_hours"] == document["hours"]
    assert document["video_hours"] == pytest.approx(52 / 3600, rel=0.2)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("command", ["scan", "purge", "known", "report", "compare", "inspect", "doctor", "demo"])
def test_help_teaches_with_an_example(command: str) -> None:
    text = run(command, "--help")
    assert "Example" in text or command == "known"


# ---- bad input ----


def test_missing_store_names_the_next_step(night: Night, tmp_path: Path) -> None:
    message = run("scan", night.intake, "--store", tmp_path / "none", "--run", tmp_path / "run", code=5)
    assert "none" in message
    assert "known add" in message
    assert not (tmp_path / "run").exists()


def test_missing_intake_is_a_usage_error(night: Night, tmp_path: Path) -> None:
    message = run("scan", tmp_path / "nowhere", "--store", night.store, "--run", tmp_path / "run", code=2)
    assert "nowhere" in message


def test_empty_intake_is_a_night_without_rows(night: Night, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run("scan", tmp_path / "empty", "--store", night.store, "--run", tmp_path / "run", "--workers", "0")
    assert pq.read_table(tmp_path / "run" / "verdicts.parquet").num_rows == 0
    assert (tmp_path / "run" / "report" / "index.html").is_file()


def test_unknown_settings_key_is_named(night: Night, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[verdict]\nmax_unseen = 2\n")
    message = run(
        "scan", night.intake, "--store", night.store, "--run", tmp_path / "run", "--config", tmp_path / "s.toml", code=2
    )
    assert "verdict.max_unseen" in message


def test_run_folder_of_another_store_is_refused(night: Night, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("known", "add", night.known / "two.mp4", "--store", store, "--list", "x", "--workers", "0")
    message = run("scan", night.intake, "--store", store, "--run", night.run, code=5)
    assert str(night.run) in message


def test_store_of_a_newer_version_is_refused(night: Night, tmp_path: Path) -> None:
    import shutil

    store = tmp_path / "store"
    shutil.copytree(night.store, store)
    manifest = max((store / "manifests").glob("*.json"))
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 99'))
    message = run("scan", night.intake, "--store", store, "--run", tmp_path / "run", code=5)
    assert str(store) in message


def test_wrong_disposition_is_a_usage_error(night: Night, tmp_path: Path) -> None:
    run(
        "known", "add", night.known, "--store", tmp_path / "s", "--list", "x", "--disposition", "bad", code=2,
    )  # fmt: skip


def test_empty_tables_keep_their_types() -> None:
    assert pa.Table.from_pylist([], schema=VERDICTS).schema.equals(VERDICTS)
