"""From an analyst's decision to the next night: enrolled without decoding, reversible, never by silence."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make_video
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from videonovelty.cli.app import app
from videonovelty.errors import KnownStoreError, RunError, SettingsError
from videonovelty.known.ledger import Ledger, pairs_apart, standing
from videonovelty.known.store import KnownStore
from videonovelty.report.collect import collect
from videonovelty.report.decided import decided_so_far
from videonovelty.report.decisions import read_decisions
from videonovelty.report.why import why
from videonovelty.review import ReviewResult, import_decisions, withdraw
from videonovelty.schemas import DECISIONS
from videonovelty.settings import ReviewSettings


def run(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"VIDEONOVELTY_INTAKE__SETTLE_SECONDS": "0"})
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def scan(intake: Path, store: Path, folder: Path, code: int = 0) -> dict[str, dict[str, Any]]:
    run("scan", intake, "--store", store, "--run", folder, "--workers", "0", "--json", code=code)
    return verdicts(folder)


def verdicts(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["path"].rsplit("/", 1)[1]: row for row in pq.read_table(folder / "verdicts.parquet").to_pylist()}


class Night:
    """A store with one known video, and a night with a copy of it and new ones."""

    def __init__(self, folder: Path) -> None:
        self.folder, intake, known = folder, folder / "intake", folder / "known"
        for made in (intake, known):
            made.mkdir()
        make_video.make_clip(known / "one.mp4", 31, 10.0)
        make_video.make_clip(intake / "copy.mkv", 31, 10.0, crf=34)
        make_video.make_clip(intake / "new.mp4", 91, 6.0)
        make_video.make_clip(intake / "newer.mp4", 92, 6.0)
        (intake / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 400)
        (intake / "same.mp4").write_bytes((known / "one.mp4").read_bytes())
        self.store, self.run = folder / "store", folder / "run"
        facts = ("--disposition", "abuse", "--series", "Blue", "--victim-identified", "no")
        run("known", "add", known, "--store", self.store, "--list", "planted", "--workers", "0", *facts)
        self.rows = scan(intake, self.store, self.run, code=3)
        self.run_id = json.loads((self.run / "run.json").read_text())["run_id"]

    def line(self, name: str, decision: str, analyst: str = "A. Person", at: str = "08:00", **facts: Any) -> str:
        row = self.rows[name]
        return json.dumps(
            {
                "format": "videonovelty-decisions", "format_version": 1, "run_id": self.run_id,
                "snapshot": row["snapshot"], "video_id": row["video_id"], "entry": row["video_id"],
                "verdict": row["verdict"], "known_video_id": row["best_known_id"], "stands_for": [],
                "decision": decision, "note": "", "analyst": analyst, "decided_at": f"2026-01-02T{at}:00.000Z", **facts,
            }
        )  # fmt: skip


class Desk:
    """A copy of the night's store, and a place for files of decisions."""

    def __init__(self, night: Night, folder: Path) -> None:
        self.night, self.folder = night, folder
        self.store = folder / "store"
        shutil.copytree(night.store, self.store)

    def file(self, *lines: str) -> Path:
        path = self.folder / "decisions.jsonl"
        path.write_text("\n".join(lines))
        return path

    def take(self, *lines: str, dry_run: bool = False, **settings: Any) -> ReviewResult:
        return import_decisions(
            self.night.run, read_decisions(self.file(*lines)), KnownStore.open(self.store), ReviewSettings(**settings),
            actor="curator", dry_run=dry_run,
        )  # fmt: skip

    def known(self, name: str) -> bool:
        key = self.night.rows[name]["video_id"]
        return key in KnownStore.open(self.store).snapshot().describe([key])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return Night(tmp_path_factory.mktemp("night"))


@pytest.fixture
def desk(night: Night, tmp_path: Path) -> Desk:
    return Desk(night, tmp_path)


def test_a_decided_video_is_known_the_next_night_until_the_decision_is_taken_back(
    night: Night, desk: Desk, tmp_path: Path
) -> None:
    file = desk.file(night.line("new.mp4", "novel", disposition="abuse"))
    told = run("review", "import", night.run, file, "--store", desk.store)
    assert "1 decision(s) recorded" in told
    assert night.rows["new.mp4"]["video_id"] in told
    tonight = tmp_path / "tonight"
    tonight.mkdir()
    make_video.make_clip(tonight / "again.mkv", 91, 6.0, crf=34)
    make_video.make_clip(tonight / "newer again.mkv", 92, 6.0, crf=34)
    found = scan(tonight, desk.store, tmp_path / "second")
    assert {name: row["verdict"] for name, row in found.items()} == {"again.mkv": "known", "newer again.mkv": "novel"}
    assert found["again.mkv"]["best_known_id"] == night.rows["new.mp4"]["video_id"]
    assert (found["again.mkv"]["best_known_list"], found["again.mkv"]["best_known_disposition"]) == (
        "reviewed",
        "abuse",
    )
    (entry,) = (e for e in collect(tmp_path / "second").entries if e.verdict == "known")
    said = f"decided novel by A. Person, run {night.run_id}, 2026-01-02T08:00:00.000Z"
    assert any(said in sentence for sentence in why(entry))

    run(
        "review", "withdraw", "--store", desk.store, "--video", night.rows["new.mp4"]["video_id"], "--reason", "mistake"
    )
    assert "again.mkv" in run("known", "recheck", tmp_path / "second", "--store", desk.store)
    found = scan(tonight, desk.store, tmp_path / "second")
    assert {row["verdict"] for row in found.values()} == {"novel"}
    assert run("known", "verify", "--store", desk.store).strip() == "sound"


def test_nothing_is_decoded_and_the_same_file_again_changes_nothing(
    night: Night, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("videonovelty.sandbox.Sandbox.__init__", never)
    lines = [night.line("new.mp4", "novel"), night.line("newer.mp4", "second_look")]
    first, again = desk.take(*lines), desk.take(*lines)
    assert (first.recorded, first.unchanged, first.snapshot) == (2, 0, first.before + 1)
    assert len(first.enrolled) == len(first.second_look) == 1
    assert (again.recorded, again.unchanged, again.snapshot) == (0, 2, first.snapshot)
    stored = KnownStore.open(desk.store).snapshot()
    assert stored.signed(first.enrolled, stored.schemes[0]) == set(first.enrolled)
    assert desk.take(night.line("newer.mp4", "novel", at="09:00"), dry_run=True).enrolled
    assert KnownStore.open(desk.store).snapshot().number == first.snapshot


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"run_id": "another"}, "made on the run another"),
        ({"snapshot": 7}, "judged again"),
        ({"video_id": "ab" * 32, "entry": "ab" * 32}, "no such content"),
        ({"verdict": "known"}, "other grounds"),
        ({"decided_at": "2999-01-01T00:00:00Z"}, "in the future"),
        ({"stands_for": ["cd" * 32]}, "stands for"),
        ({"analyst": "Somebody"}, "none of [review] analysts"),
        ({"decision": "not_a_match"}, "names no known video"),
    ],
)
def test_a_decision_that_does_not_fit_changes_nothing(
    night: Night, desk: Desk, facts: dict[str, Any], problem: str
) -> None:
    before = KnownStore.open(desk.store).snapshot().number
    good = night.line("newer.mp4", "novel")
    bad = json.dumps({**json.loads(night.line("new.mp4", "novel")), **facts})
    with pytest.raises(SettingsError, match=r"Nothing was changed\.") as caught:
        desk.take(good, bad, analysts=("A. Person",))
    assert problem in str(caught.value)
    assert KnownStore.open(desk.store).snapshot().number == before


def test_a_run_of_another_store_or_one_not_ended_is_refused(night: Night, desk: Desk, tmp_path: Path) -> None:
    read = read_decisions(desk.file(night.line("new.mp4", "novel")))
    other = KnownStore.create(tmp_path / "other")
    with pytest.raises(RunError, match="belongs to the known store"):
        import_decisions(night.run, read, other, ReviewSettings(), actor="c")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "run.json").write_text('{"status": "running", "run_id": "x"}')
    with pytest.raises(RunError, match="the run is running"):
        import_decisions(unfinished, read, KnownStore.open(desk.store), ReviewSettings(), actor="c")


def test_a_byte_copy_cannot_be_no_match(night: Night, desk: Desk) -> None:
    with pytest.raises(SettingsError, match="byte for byte"):
        desk.take(night.line("same.mp4", "not_a_match"))


def test_what_is_no_match_is_not_held_against_it_again(night: Night, desk: Desk, tmp_path: Path) -> None:
    pair = (night.rows["copy.mkv"]["video_id"], night.rows["copy.mkv"]["best_known_id"])
    assert night.rows["copy.mkv"]["verdict"] == "known"
    stands_for = [night.rows["newer.mp4"]["video_id"]]
    told = desk.take(night.line("copy.mkv", "not_a_match", stands_for=stands_for))
    assert set(told.apart) == {pair, (stands_for[0], pair[1])}
    assert not told.enrolled
    shutil.copytree(night.run, tmp_path / "again")
    found = scan(night.folder / "intake", desk.store, tmp_path / "again", code=3)
    assert (found["copy.mkv"]["verdict"], found["copy.mkv"]["best_known_id"]) == ("novel", None)
    assert found["same.mp4"]["verdict"] == "known"
    # what the analyst says about the video itself leaves the pair as it is
    store = KnownStore.open(desk.store)
    later = json.loads(night.line("copy.mkv", "second_look", at="10:00"))
    later |= {"verdict": "novel", "known_video_id": None, "snapshot": found["copy.mkv"]["snapshot"]}
    import_decisions(
        tmp_path / "again", read_decisions(desk.file(json.dumps(later))), store, ReviewSettings(), actor="c"
    )
    assert pairs_apart(store.snapshot())[pair[0]] == {pair[1]}
    back = withdraw(store, ReviewSettings(), entries=[pair[0]], actor="c", reason="it is one")
    assert pair in back.together
    assert pairs_apart(store.snapshot()) == {}
    assert scan(night.folder / "intake", desk.store, tmp_path / "again", code=3)["copy.mkv"]["verdict"] == "known"


def test_reviewers_who_disagree_keep_the_video_in_the_queue(night: Night, desk: Desk) -> None:
    key = night.rows["new.mp4"]["video_id"]
    assert desk.take(night.line("new.mp4", "novel")).enrolled == (key,)
    told = desk.take(night.line("new.mp4", "second_look", "B", "09:00"))
    assert told.disputed == ((key, (("A. Person", "novel"), ("B", "second_look"))),)
    assert told.reopened == (key,)
    assert not desk.known("new.mp4")
    assert "DISPUTED" in run("review", "list", "--disputed", "--store", desk.store)
    # an older decision of B does not settle it, a newer one does
    assert desk.take(night.line("new.mp4", "novel", "B", "08:30")).older == 1
    assert desk.take(night.line("new.mp4", "novel", "B", "10:00")).enrolled == (key,)
    assert desk.known("new.mp4")
    assert desk.take(night.line("new.mp4", "novel", "C", "11:00", disposition="benign")).disputed == ()
    assert len(desk.take(night.line("new.mp4", "novel", "D", "11:00", disposition="abuse")).disputed) == 1
    assert not desk.known("new.mp4")


def test_a_dispute_ends_when_one_side_takes_its_decision_back(night: Night, desk: Desk) -> None:
    key, store = night.rows["new.mp4"]["video_id"], KnownStore.open(desk.store)
    desk.take(night.line("new.mp4", "novel"), night.line("new.mp4", "second_look", "B", "09:00"))
    assert not desk.known("new.mp4")
    dry = withdraw(store, ReviewSettings(), analyst="B", run_path=night.run, actor="c", reason="r")
    assert dry.enrolled == (key,)
    assert desk.known("new.mp4")
    with pytest.raises(SettingsError, match="no decision fits"):
        withdraw(store, ReviewSettings(), analyst="B", actor="c", reason="r")
    with pytest.raises(SettingsError, match="name the decisions"):
        withdraw(store, ReviewSettings(), actor="c", reason="r")
    # the file with the decision that was taken back changes nothing: it is older
    assert desk.take(night.line("new.mp4", "second_look", "B", "09:00")).older == 1
    assert desk.known("new.mp4")


def test_two_reviewers_have_to_agree_where_the_house_asks_for_it(night: Night, desk: Desk) -> None:
    key = night.rows["new.mp4"]["video_id"]
    first = desk.take(night.line("new.mp4", "novel"), reviewers=2)
    assert (first.waiting, first.enrolled) == ((key,), ())
    assert not desk.known("new.mp4")
    second = desk.take(night.line("new.mp4", "novel", "B", "09:00"), reviewers=2)
    assert second.enrolled == (key,)


def test_a_video_of_a_known_series_takes_over_what_its_list_says(night: Night, desk: Desk) -> None:
    key = night.rows["copy.mkv"]["video_id"]
    desk.take(night.line("copy.mkv", "same_scene"))
    (membership,) = KnownStore.open(desk.store).snapshot().describe([key])[key].memberships
    assert (membership.series, membership.disposition, membership.victim_identified) == ("Blue", "abuse", "no")
    assert membership.tags == ("review", "same_scene")
    # said otherwise: the entry is replaced, in one snapshot, and the store stays sound
    before = KnownStore.open(desk.store).snapshot().number
    desk.take(night.line("copy.mkv", "novel", at="09:00"))
    store = KnownStore.open(desk.store)
    (membership,) = store.snapshot().describe([key])[key].memberships
    assert (membership.series, membership.disposition, store.snapshot().number) == ("", "other", before + 1)
    assert store.verify() == []


def test_a_file_that_could_not_be_decoded_is_known_by_its_bytes(night: Night, desk: Desk, tmp_path: Path) -> None:
    assert night.rows["broken.mp4"]["verdict"] == "not_comparable"
    told = desk.take(night.line("broken.mp4", "novel"))
    assert told.bytes_only == (night.rows["broken.mp4"]["video_id"],)
    tonight = tmp_path / "tonight"
    tonight.mkdir()
    shutil.copy(night.folder / "intake" / "broken.mp4", tonight / "renamed.bin")
    found = scan(tonight, desk.store, tmp_path / "second")
    assert (found["renamed.bin"]["verdict"], found["renamed.bin"]["reason"]) == ("known", "same_bytes")


def test_a_curators_removal_is_not_undone_by_the_same_file(night: Night, desk: Desk) -> None:
    key = night.rows["new.mp4"]["video_id"]
    desk.take(night.line("new.mp4", "novel"))
    run("known", "remove", "--video", key, "--store", desk.store, "--reason", "not ours")
    assert desk.take(night.line("new.mp4", "novel")).unchanged == 1
    assert not desk.known("new.mp4")


def test_decisions_outlive_compaction_and_go_with_a_rollback(night: Night, desk: Desk) -> None:
    store = KnownStore.open(desk.store)
    before = store.snapshot().number
    desk.take(night.line("new.mp4", "novel"))
    desk.take(night.line("copy.mkv", "not_a_match"))
    stood = standing(store.snapshot())
    store.rollback(before, actor="c", reason="r")
    assert standing(store.snapshot()) == []
    assert pairs_apart(store.snapshot()) == {}
    store.rollback(before + 2, actor="c", reason="r")
    store.compact(actor="c", reason="r")
    assert standing(store.snapshot()) == stood
    assert len(pairs_apart(store.snapshot())) == 1
    assert store.verify() == []


def test_a_store_made_before_there_were_decisions_takes_them(night: Night, desk: Desk) -> None:
    (desk.store / "decisions").rmdir()
    store = KnownStore.open(desk.store)
    assert store.verify() == []
    store.compact(actor="c", reason="r")
    assert desk.take(night.line("new.mp4", "novel")).enrolled
    assert store.verify() == []


def test_a_writer_that_was_faster_is_built_upon(night: Night, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KnownStore.open(desk.store)
    plans: list[int] = []
    slow: Callable[..., Any] = store._staged_review

    def staged(base: Any, *rest: Any) -> Any:
        plans.append(base.number)
        if len(plans) == 1:
            desk.take(night.line("new.mp4", "novel"), night.line("newer.mp4", "second_look", "B"))
        return slow(base, *rest)

    monkeypatch.setattr(store, "_staged_review", staged)
    read = read_decisions(desk.file(night.line("new.mp4", "novel"), night.line("newer.mp4", "novel")))
    told = import_decisions(night.run, read, store, ReviewSettings(), actor="c")
    assert plans == [1, 2]
    assert (told.unchanged, told.recorded, len(told.disputed)) == (1, 1, 1)
    assert store.verify() == []


HISTORY = (
    ("A", "not_a_match", "k"),
    ("A", "novel", None),
    ("B", "known", "k"),
    ("B", "not_a_match", "k"),
    ("B", "", "k"),
)
ROWS = [
    {"entry": "e", "analyst": who, "decision": what, "known_video_id": known, "stands_for": [], "disposition": "",
     "note": "", "decided_at": f"2026-01-02T08:{n:02d}:00Z", "run_id": "r"}
    for n, (who, what, known) in enumerate(HISTORY)
]  # fmt: skip


@settings(deadline=None)
@given(st.permutations(ROWS))
def test_what_stands_does_not_depend_on_the_order_of_rows(rows: list[dict[str, Any]]) -> None:
    ledger = Ledger(rows)
    assert [(o.analyst, o.decision) for o in ledger.opinions("e")] == [("A", "novel")]
    assert ledger.apart() == {("e", "k")}


def test_the_same_instant_in_another_zone_is_not_newer() -> None:
    rows = [{**ROWS[0], "decided_at": at} for at in ("2026-01-02T08:00:00Z", "2026-01-02T09:00:00+01:00")]
    for first, second in itertools.permutations(rows):
        assert Ledger([first, second]).newest("e", "A", "k") == second


def test_rows_are_those_of_the_schema(night: Night, desk: Desk) -> None:
    desk.take(night.line("new.mp4", "novel"))
    table = pa.concat_tables(KnownStore.open(desk.store).snapshot().decisions())
    assert table.schema.names == DECISIONS.names
    (row,) = table.to_pylist()
    assert (row["recorded_by"], row["run_snapshot"], row["verdict"]) == ("curator", 1, "novel")


def test_what_is_unusual_against_past_nights_stands_on_the_first_screen(
    night: Night, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videonovelty.unusual.MIN_FAILED", 1)
    monkeypatch.setattr("videonovelty.unusual.MIN_KEYFRAMES", 1)
    tonight = desk.folder / "runs" / "tonight"
    shutil.copytree(night.run, tonight)
    document = json.loads((tonight / "run.json").read_text())
    for n in range(5):
        past = desk.folder / "runs" / f"past-{n}"
        past.mkdir()
        facts = {
            "started_at": f"2020-01-0{n + 1}T00:00:00Z",
            "matched": {"keyframes": 9, "median_distance_bits": 90.0 + n},
            "counts": {"files": {"sightings": 500}, "reasons": {"proven_by_time": 500}},
        }
        (past / "run.json").write_text(json.dumps(document | facts))
    scan(night.folder / "intake", night.store, tonight, code=3)
    warnings = json.loads((tonight / "run.json").read_text())["warnings"]
    assert [text.split(":")[0] for text in warnings] == ["Drift", "Many refusals"]
    run("report", tonight)
    page = (tonight / "report" / "index.html").read_text()
    assert page.count("Drift: keyframes proven known lie") == page.count("Many refusals: 1 of 5 files") == 1
    assert "videonovelty_matched_keyframes" in (tonight / "metrics.prom").read_text()


def stored_rows(folder: Path, *options: str | Path) -> dict[str, list[list[str]]]:
    """Rebuild the report and return the decisions it shows, by name of the file."""
    run("report", folder, *options)
    page = (folder / "report" / "index.html").read_text()
    rows = json.loads(page.split('id="rows">')[1].split("</script>")[0])
    names = [paths[0].rsplit("/", 1)[1] for paths in rows["columns"]["names"]]
    return {names[int(i)]: found for i, found in (rows["store"] or {"rows": {}})["rows"].items()}


def test_a_rebuilt_report_shows_what_stands_in_the_store_and_who_disagrees(night: Night, desk: Desk) -> None:
    folder = desk.folder / "run"
    shutil.copytree(night.run, folder)
    desk.take(
        night.line("new.mp4", "novel", note="a cellar", disposition="abuse"),
        night.line("newer.mp4", "novel"),
        night.line("newer.mp4", "same_scene", "B", at="09:00"),
    )
    assert stored_rows(folder, "--store", desk.store) == {
        "new.mp4": [["A. Person", "novel", "a cellar", "2026-01-02T08:00:00.000Z", "abuse"]],
        "newer.mp4": [
            ["A. Person", "novel", "", "2026-01-02T08:00:00.000Z", ""],
            ["B", "same_scene", "", "2026-01-02T09:00:00.000Z", ""],
        ],
    }
    key = night.rows["new.mp4"]["video_id"]
    run("review", "withdraw", "--store", desk.store, "--video", key, "--reason", "mistake")
    assert set(stored_rows(folder, "--store", desk.store)) == {"newer.mp4"}
    assert stored_rows(folder) == {}  # the store the run names holds no decisions
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**document, "store": {"path": "/nowhere", "snapshot": 1}}))
    assert stored_rows(folder) == {}
    with pytest.raises(KnownStoreError, match="nowhere does not exist"):
        decided_so_far(folder, desk.folder / "nowhere")
