"""The report's record, sentences, exports and page, from planted tables."""

from __future__ import annotations

import base64
import csv
import dataclasses
import json
import math
import re
import stat
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_run import HOSTILE_NAMES, RunTables, a_night, known, video_id

from videonovelty.errors import REASON_TEXT, Reason, RunError, SettingsError
from videonovelty.records import (
    BY_TURNS,
    COLOURS_INVERTED,
    DONE_AGAIN,
    HOLDS_BESIDES,
    NOTHING_MOVES,
    PART_COVERED,
    PART_DETAILS,
    PART_MOVES,
    PLAYS_IN_A_PART,
    TOO_FAINT,
)
from videonovelty.report.collect import VERDICT_ORDER, Report, collect
from videonovelty.report.decisions import DECISIONS, read_decisions
from videonovelty.report.exports import (
    defused,
    text_summary,
    undefused,
    write_csv,
    write_json,
    write_workbook,
    write_xlsx,
)
from videonovelty.report.html import CELLS, Pictures, cells, write_report
from videonovelty.report.legible import clock, legible, spoken
from videonovelty.report.why import why
from videonovelty.schemas import VERDICTS
from videonovelty.settings import ReportSettings

NO = {"known_victim_identified": "no", "known_series": "Blue room"}


def entry_of(report: Report, name: str) -> Any:
    return next(e for e in report.entries if e.video_id == video_id(name))


# --- collect ----------------------------------------------------------------------------------------------------------


def test_the_queue_is_ordered_by_urgency_and_children_still_searched_for_come_first(tmp_path: Path) -> None:
    t = RunTables()
    t.add("nc", "not_comparable", "uninformative", [(0, 9, "uninformative")])
    t.add("partly", "partly_known", "parts_explained", [(0, 5, "known", known("a", 0, 5)), (5, 9, "novel")])
    t.add("new", "novel", "nothing_explained", [(0, 9, "novel")])
    t.add("take", "same_scene", "not_proven", [(0, 9, "same_scene", known("b", 0, 9, known_victim_identified="yes"))])
    t.add("partly-no", "partly_known", "parts_explained", [(0, 5, "known", known("c", 0, 5, **NO)), (5, 9, "novel")])
    t.add("take-no", "same_scene", "not_proven", [(0, 9, "same_scene", known("c", 0, 9, **NO))])
    t.add("cleared", "known", "proven_by_time", [(0, 9, "known", known("c", 0, 9, **NO))])
    report = collect(t.write(tmp_path / "run"))
    order = ["take-no", "partly-no", "take", "new", "partly", "nc"]
    assert [e.video_id for e in report.queue] == [video_id(n) for n in order]
    assert report.still_searched_rows == 2


def test_a_hit_in_any_stretch_on_a_series_still_searched_for_lifts_the_row(tmp_path: Path) -> None:
    t = RunTables()
    first = t.add("a", "same_scene", "not_proven", [(0, 9, "same_scene", known("x", 0, 9))])
    second = t.add(
        "b",
        "partly_known",
        "parts_explained",
        [(0, 3, "known", known("x", 0, 3)), (3, 6, "known", known("y", 0, 3, **NO)), (6, 7, "novel")],
    )
    assert [e.video_id for e in collect(t.write(tmp_path / "run")).queue] == [second, first]


def test_within_a_verdict_rows_that_settle_more_per_second_viewed_come_first(tmp_path: Path) -> None:
    t = RunTables()
    alone = t.add("alone", "novel", "nothing_explained", [(0, 10, "novel")])
    half = t.add("half-blank", "novel", "nothing_explained", [(0, 5, "novel"), (5, 10, "uninformative")])
    twice = t.add("twice", "novel", "nothing_explained", [(0, 60, "novel")], paths=["/a.mp4", "/b.mp4"])
    queue = collect(t.write(tmp_path / "run")).queue
    assert [(e.video_id, e.value) for e in queue] == [(twice, 2.0), (alone, 1.0), (half, 0.5)]


def test_one_content_under_several_names_is_one_entry_with_all_names(tmp_path: Path) -> None:
    t = RunTables()
    t.add("v", "novel", "nothing_explained", [(0, 10, "novel")], paths=["/b.mp4", "/a.mp4", "/c.mp4"])
    report = collect(t.write(tmp_path / "run"))
    assert len(report.entries) == 1
    assert [n.path for n in report.entries[0].names] == ["/a.mp4", "/b.mp4", "/c.mp4"]
    assert (report.files, report.exposure.intake_seconds, report.exposure.distinct_seconds) == (3, 30.0, 10.0)


def test_files_without_a_content_id_are_never_merged(tmp_path: Path) -> None:
    t = RunTables()
    t.add("x", "not_comparable", "io_error", video_id="", paths=["/x"])
    t.add("y", "not_comparable", "io_error", video_id="", paths=["/y"])
    report = collect(t.write(tmp_path / "run"))
    assert len(report.queue) == 2
    assert all(re.fullmatch("file-[0-9a-f]{16}", e.entry) for e in report.queue)


def test_a_group_has_one_row_and_the_rest_stand_under_it(tmp_path: Path) -> None:
    t = RunTables()
    ids = [t.add(n, "novel", "nothing_explained", [(0, 10, "novel")]) for n in "abc"]
    t.group(ids[1], ids[0], ids[2])
    report = collect(t.write(tmp_path / "run"))
    (row,) = report.queue
    assert row.video_id == ids[1]
    assert {m.entry for m in row.members} == {ids[0], ids[2]}
    assert row.value == 3.0
    assert report.exposure.view_seconds == 10.0


def test_a_video_that_waits_is_never_hidden_under_a_cleared_leader(tmp_path: Path) -> None:
    t = RunTables()
    cleared = t.add("cleared", "known", "proven_by_time", [(0, 10, "known", known("k", 0, 10))])
    new = t.add("new", "novel", "nothing_explained", [(0, 10, "novel")])
    t.group(cleared, new)
    assert [e.video_id for e in collect(t.write(tmp_path / "run")).queue] == [new]


def test_the_most_urgent_member_lifts_its_groups_row(tmp_path: Path) -> None:
    t = RunTables()
    lone = t.add("lone", "same_scene", "not_proven", [(0, 10, "same_scene", known("k", 0, 10))])
    leader = t.add("leader", "novel", "nothing_explained", [(0, 10, "novel")])
    member = t.add("member", "same_scene", "not_proven", [(0, 10, "same_scene", known("k", 0, 10, **NO))])
    t.group(leader, member)
    assert [e.video_id for e in collect(t.write(tmp_path / "run")).queue] == [leader, lone]


def test_seconds_left_to_view_are_after_clearing_grouping_and_skipping_explained_stretches(tmp_path: Path) -> None:
    t = RunTables()
    t.add("cleared", "known", "proven_by_time", [(0, 100, "known", known("k", 0, 100))])
    t.add("partly", "partly_known", "parts_explained", [(0, 50, "known", known("k", 0, 50)), (50, 57, "novel")])
    ids = [t.add(n, "novel", "nothing_explained", [(0, 10, "novel")], paths=[f"/{n}", f"/{n}2"]) for n in "ab"]
    t.group(*ids)
    exposure = collect(t.write(tmp_path / "run")).exposure
    steps = dataclasses.astuple(exposure)
    assert steps == (197.0, 177.0, 77.0, 67.0, 17.0, 0)
    assert exposure.saved_seconds == 180.0


def test_cleared_videos_are_counted_apart_by_what_their_list_says_they_are(tmp_path: Path) -> None:
    t = RunTables()
    for n, disposition in enumerate(("abuse", "benign", "benign", None)):
        hit = [(0, 9, "known", known("k", 0, 9))]
        t.add(f"v{n}", "known", "proven_by_time", hit, best_known_disposition=disposition)
    run = t.write(tmp_path / "run")
    assert collect(run).cleared_by_disposition == (("abuse", 1), ("benign", 2), ("not stated", 1))
    assert "abuse 1 · benign 2 · not stated 1" in write_report(run, ReportSettings()).read_text("utf-8")


def test_known_footage_playing_inside_a_larger_picture_is_still_to_be_viewed(tmp_path: Path) -> None:
    t = RunTables()
    inside = known("k", 0, 50, spatial_share=0.18)
    t.add("inside", "partly_known", "plays_inside_frame", [(0, 50, "known", inside), (50, 55, "novel")])
    report = collect(t.write(tmp_path / "run"))
    assert report.exposure.view_seconds == 55.0
    assert set(cells(report.queue[0])) == {"n", "p"}
    assert any("does not fill the picture" in sentence for sentence in why(report.queue[0]))


def test_rows_of_one_content_that_disagree_keep_it_in_the_queue(tmp_path: Path) -> None:
    t = RunTables()
    t.add("v", "known", "proven_by_time", [(0, 9, "known", known("k", 0, 9))], paths=["/a", "/b"])
    t.verdicts[1] |= {"verdict": "novel", "needs_review": True}
    assert len(collect(t.write(tmp_path / "run")).queue) == 1


def test_a_known_verdict_that_needs_review_stays_in_the_queue(tmp_path: Path) -> None:
    t = RunTables()
    t.add("v", "known", "proven_by_time", [(0, 9, "known", known("k", 0, 9))], needs_review=True)
    assert len(collect(t.write(tmp_path / "run")).queue) == 1


def test_the_order_of_the_tables_rows_changes_nothing(tmp_path: Path) -> None:
    t = a_night()
    one = write_report(t.write(tmp_path / "one"), ReportSettings()).read_bytes()
    for rows in (t.verdicts, t.segments, t.groups):
        rows.reverse()
    assert write_report(t.write(tmp_path / "two"), ReportSettings()).read_bytes() == one


@pytest.mark.parametrize("name", ["run.json", "verdicts.parquet", "segments.parquet", "groups.parquet"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "folder"])
def test_a_missing_or_damaged_file_is_named_with_the_next_step(tmp_path: Path, name: str, damage: str) -> None:
    run = a_night().write(tmp_path / "run")
    path = run / name
    path.unlink()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "garbage":
        path.write_bytes(b"\x00\xffPAR1 nothing of the kind")
    elif damage == "folder":
        path.mkdir()
    with pytest.raises(RunError, match=re.escape(str(path))) as caught:
        collect(run)
    assert re.search(r"scan|permissions", str(caught.value))


def test_a_missing_column_a_newer_format_and_an_unknown_verdict_are_refused(tmp_path: Path) -> None:
    run = a_night().write(tmp_path / "run")
    table = pq.read_table(run / "segments.parquet")
    pq.write_table(table.drop_columns(["proof"]), run / "segments.parquet")
    with pytest.raises(RunError, match="proof"):
        collect(run)
    with pytest.raises(RunError, match="format 2"):
        collect(a_night().write(run, format_version=2))
    t = a_night()
    t.verdicts[0]["verdict"] = "harmless"
    with pytest.raises(RunError, match="harmless"):
        collect(t.write(run))
    with pytest.raises(RunError, match="no such run folder"):
        collect(tmp_path / "elsewhere")


def test_run_json_with_nothing_optional_still_gives_a_report(tmp_path: Path) -> None:
    run = a_night().write(tmp_path / "run")
    (run / "run.json").write_text("{}")
    report = collect(run)
    assert report.run_id == "run"
    assert any("not finished" in w for w in report.warnings)
    assert write_report(run, ReportSettings()).is_file()


def test_a_run_without_videos_gives_a_report(tmp_path: Path) -> None:
    path = write_report(RunTables().write(tmp_path / "run"), ReportSettings())
    assert "0.0 s" in path.read_text("utf-8")


def test_numbers_nobody_can_add_up_count_as_nothing(tmp_path: Path) -> None:
    t = RunTables()
    t.add("v", "novel", "nothing_explained", [], duration_seconds=float("nan"), novelty=float("inf"))
    t.add("w", "novel", "nothing_explained", [], duration_seconds=-5.0, keyframes=None)
    t.add("x", "novel", "nothing_explained", [(0, 1e15, "novel")])
    run = t.write(tmp_path / "run")
    assert collect(run).exposure.intake_seconds == 1e15
    json.loads(blocks(write_report(run, ReportSettings()))["rows"])


def test_unsandboxed_unfinished_and_many_failures_are_warned_about(tmp_path: Path) -> None:
    t = RunTables()
    for n in range(5):
        t.add(f"bad-{n}", "not_comparable", "crashed", sandboxed=False)
    report = collect(t.write(tmp_path / "run", status="running", warnings=["distances drift", 7]))
    text = " ".join(report.warnings)
    for expected in ("distances drift", "not finished", "without the sandbox", "5 of 5 files (100%)"):
        assert expected in text
    assert report.failures == (("crashed", 5),)


# --- why --------------------------------------------------------------------------------------------------------------


def test_every_verdict_and_reason_is_explained_in_whole_sentences(tmp_path: Path) -> None:
    t = RunTables()
    stretches = [(0, 5, "known", known("k", 0, 5)), (5, 9, "novel"), (9, 12, "undecoded")]
    for verdict in VERDICT_ORDER:
        for reason in Reason:
            t.add(f"{verdict} {reason}", verdict, reason.value)
            t.add(f"{verdict} {reason} full", verdict, reason.value, stretches)
    for entry in collect(t.write(tmp_path / "run")).entries:
        sentences = why(entry)
        assert sentences
        for sentence in sentences:
            assert sentence.endswith(".")
            assert "None" not in sentence.replace("None of the", "")
            assert not {v for v in (*VERDICT_ORDER, *Reason) if "_" in v and v in sentence}


def test_what_nobody_can_have_looked_at_is_told_with_its_reason(tmp_path: Path) -> None:
    t = RunTables()
    besides = {"why_not": HOLDS_BESIDES + "a file attached to it"}
    t.add("more", "not_comparable", "holds_more", [
        (0, 20, "known", known("k", 0, 20)), (20, 21, "undecoded", besides)])  # fmt: skip
    t.add("turns", "not_comparable", "unclear", [
        (0, 20, "known", known("k", 0, 20)), (20, 24, "undecoded", {"why_not": BY_TURNS})])  # fmt: skip
    t.add("lost", "not_comparable", "partly_decoded", [
        (0, 20, "known", known("k", 0, 20)), (20, 24, "undecoded")])  # fmt: skip
    report = collect(t.write(tmp_path / "run"))
    more, turns, lost = (" ".join(why(entry_of(report, name))) for name in ("more", "turns", "lost"))
    assert "The file also holds a file attached to it. That is at no time of the video" in more
    assert "All of the video itself was looked at: 20 s" in more
    assert f"For 4.0 s {BY_TURNS}. That time counts as not looked at." in turns
    assert "All else was looked at: 20 s" in turns
    assert "could be decoded" not in turns
    assert "Only 20 s of 24 s could be decoded: 4.0 s nobody looked at" in lost


def test_footage_played_backwards_is_told_as_that(tmp_path: Path) -> None:
    t = RunTables()
    t.add("back", "known", "proven_by_time", [(0, 20, "known", known("k", 0, 20, speed=-1.0))])
    t.add("fast", "known", "proven_by_time", [(0, 10, "known", known("k", 0, 20, speed=-2.0, mirrored=True))])
    report = collect(t.write(tmp_path / "run"))
    assert "The known footage is played backwards here." in why(entry_of(report, "back"))
    fast = "The known footage is mirrored and played backwards and played at 2× speed here."
    assert fast in why(entry_of(report, "fast"))


def test_what_only_looks_like_known_footage_is_not_told_as_in_no_known_video(tmp_path: Path) -> None:
    t = RunTables()
    alike = known("k", 2.4, 45, proof="none")
    t.add("a", "partly_known", "parts_explained", [
        (0, 2.4, "known", known("k", 0, 2.4)), (2.4, 45, "same_scene", alike), (45, 45.04, "novel")])  # fmt: skip
    t.add("b", "partly_known", "parts_explained", [
        (0, 20, "known", known("k", 0, 20)), (20, 40, "same_scene", alike), (40, 43, "novel")])  # fmt: skip
    report = collect(t.write(tmp_path / "run"))
    first, second = (" ".join(why(entry_of(report, name))) for name in ("a", "b"))
    assert "in no known video" not in first
    assert "Looks like known footage, but is not proven to be: 0:02.4–0:45.0." in first
    assert "3.0 s are in no known video: 0:40.0–0:43.0." in second


def test_what_stood_against_a_proof_is_told_with_its_times(tmp_path: Path) -> None:
    t = RunTables()
    covered, moving, short = (
        known("k", 0, 9, proof="none", why_not=reason) for reason in (PART_COVERED, PART_MOVES, "only 1.2 s aligned")
    )
    t.add("inset", "same_scene", "not_proven", [
        (0, 9, "same_scene", covered), (9, 11, "uninformative"), (11, 20, "same_scene", covered),
        (20, 24, "same_scene", moving)])  # fmt: skip
    t.add("both", "partly_known", "parts_explained", [
        (0, 9, "known", known("k", 0, 9)), (9, 18, "same_scene", covered),
        (18, 19.2, "same_scene", short)])  # fmt: skip
    t.add("untold", "same_scene", "not_proven", [(0, 9, "same_scene", known("k", 0, 9, proof="none"))])
    t.add("face", "same_scene", "not_proven", [
        (0, 9, "same_scene", known("k", 0, 9, proof="none", why_not=PART_DETAILS))])  # fmt: skip
    report = collect(t.write(tmp_path / "run"))
    texts = (" ".join(why(entry_of(report, name))) for name in ("inset", "both", "untold", "face"))
    inset, both, untold, face = texts
    assert f"Not proven, because {PART_COVERED}: 0:00.0–0:09.0, 0:11.0–0:20.0." in inset
    assert f"Not proven, because {PART_MOVES}: 0:20.0–0:24.0." in inset
    assert "Look at what is put over it" in inset
    assert "Another take in the same room" not in inset
    assert f"{PART_COVERED}: 0:09.0–0:18.0. Not proven, because only 1.2 s aligned: 0:18.0–0:19.2." in both
    assert "Another take in the same room" in untold
    assert "Not proven, because" not in untold
    assert f"Not proven, because {PART_DETAILS}: 0:00.0–0:09.0. A face put in another's place" in face
    assert "The rest of the picture is as in the known footage." in face
    assert "Another take in the same room" not in face


COVERED = {"cover_left": 0.6, "cover_top": 0.1, "cover_right": 0.9, "cover_bottom": 0.35}


def test_one_picture_stands_for_what_is_covered_by_something_still(tmp_path: Path) -> None:
    t = RunTables()
    still = known("k", 0, 60, proof="none", why_not=PART_COVERED, **COVERED, look_seconds=30.0)
    brief = {**still, "look_seconds": 60.5}
    moving = known("k", 0, 9, proof="none", why_not=PART_MOVES, **COVERED)
    t.add("sticker", "same_scene", "not_proven", [(0, 60, "same_scene", still), (60, 61, "same_scene", brief)])
    t.add("inset", "same_scene", "not_proven", [(0, 60, "same_scene", {**moving, "known_end_seconds": 60.0})])
    t.add("both", "same_scene", "not_proven", [(0, 60, "same_scene", still), (60, 70, "same_scene", moving)])
    report = collect(t.write(tmp_path / "run"))
    sticker, inset, both = (entry_of(report, name) for name in ("sticker", "inset", "both"))
    # a look at one picture counts two seconds, and no more than the stretch is long
    assert (sticker.view_seconds, inset.view_seconds, both.view_seconds) == (3.0, 60.0, 12.0)
    assert report.exposure.view_seconds == 75.0
    assert all(one.in_queue for one in (sticker, inset, both))
    assert [s.cover for s in (*sticker.stretches, *inset.stretches)] == [(0.6, 0.1, 0.9, 0.35)] * 3
    assert "One picture of each shows it: look at 0:30.0, 1:00.5." in " ".join(why(sticker))
    assert "Look at what is put over it, or plays in it." not in " ".join(why(sticker))
    assert "One picture" not in " ".join(why(inset))
    assert "One picture shows it: look at 0:30.0." in " ".join(why(both))
    assert "Look at what is put over it, or plays in it." in " ".join(why(both))


def test_one_picture_stands_for_what_does_not_move(tmp_path: Path) -> None:
    t = RunTables()
    still = known("k", 0, 60, proof="none", why_not=NOTHING_MOVES, look_seconds=30.0)
    moving = known("k", 60, 70, proof="none", why_not="only 1.2 s aligned")
    t.add("slide", "same_scene", "not_proven", [(0, 60, "same_scene", still)])
    t.add("both", "same_scene", "not_proven", [(0, 60, "same_scene", still), (60, 70, "same_scene", moving)])
    report = collect(t.write(tmp_path / "run"))
    slide, both = (entry_of(report, name) for name in ("slide", "both"))
    assert (slide.view_seconds, both.view_seconds) == (2.0, 12.0)
    assert slide.in_queue and both.in_queue
    assert f"Not proven, because {NOTHING_MOVES}: 0:00.0–1:00.0. One picture shows all of it: look at 0:30.0." in (
        " ".join(why(slide))
    )
    assert "in which nothing happens, would look like this as well" in " ".join(why(slide))
    assert "put over it" not in " ".join(why(slide))
    assert "Another take in the same room" in " ".join(why(both))


@pytest.mark.parametrize(
    "box",
    [(None, 0.1, 0.9, 0.3), (0.6, 0.1, 0.5, 0.3), (-0.1, 0.1, 0.9, 0.3), (0.6, 0.1, 0.9, math.nan), (0, 0, 9, 1)],
)
def test_a_box_that_cannot_be_drawn_is_left_out(tmp_path: Path, box: tuple[float | None, ...]) -> None:
    t = RunTables()
    sides = dict(zip(COVERED, box, strict=True))
    t.add("odd", "same_scene", "not_proven", [
        (0, 9, "same_scene", known("k", 0, 9, proof="none", why_not=PART_COVERED, **sides))])  # fmt: skip
    (stretch,) = entry_of(collect(t.write(tmp_path / "run")), "odd").stretches
    assert stretch.cover is None


def test_what_is_too_faint_to_be_compared_is_said_to_be_that_and_not_in_no_known_video(tmp_path: Path) -> None:
    t = RunTables()
    faint = {"why_not": TOO_FAINT}
    t.add("partly", "partly_known", "parts_explained", [(0, 5, "known", known("k", 0, 5)), (5, 9, "novel", faint)])
    t.add("new", "novel", "nothing_explained", [(0, 6, "novel"), (6, 8, "novel", faint)])
    t.add("dark", "not_comparable", "uninformative", [(0, 4, "novel", faint), (4, 9, "uninformative")])
    report = collect(t.write(tmp_path / "run"))
    partly, new, dark = (" ".join(why(entry_of(report, name))) for name in ("partly", "new", "dark"))
    assert f"4.0 s are {TOO_FAINT}, so nobody knows what they show: 0:05.0–0:09.0." in partly
    assert "are in no known video" not in partly
    assert "6.0 s are in no known video." in new
    assert f"2.0 s are {TOO_FAINT}" in new
    assert "9.0 s of 9.0 s show too little to compare" in dark


@pytest.mark.parametrize("share", [0.09, 0.7])
def test_what_plays_in_a_part_of_the_picture_is_not_taken_for_another_take(tmp_path: Path, share: float) -> None:
    t = RunTables()
    part = known("k", 0, 9, proof="none", spatial_share=share, why_not=PLAYS_IN_A_PART)
    whole = known("k", 0, 9, proof="none", spatial_share=1.0, why_not="the movements do not agree")
    t.add("pane", "same_scene", "not_proven", [(0, 9, "same_scene", part), (9, 12, "novel")])
    t.add("mixed", "same_scene", "not_proven", [(0, 9, "same_scene", part), (9, 12, "same_scene", whole)])
    report = collect(t.write(tmp_path / "run"))
    pane, mixed = (" ".join(why(entry_of(report, name))) for name in ("pane", "mixed"))
    assert f"seems to play in a part of the picture (it fills {share:.0%} of it)" in pane
    assert "What is around it nobody has compared. It plays at 0:00.0–0:09.0." in pane
    assert "Another take in the same room" not in pane
    assert f"Not proven, because {PLAYS_IN_A_PART}: 0:00.0–0:09.0." in mixed
    assert "Another take in the same room" in mixed


def test_a_negative_is_not_taken_for_another_take(tmp_path: Path) -> None:
    t = RunTables()
    inverted = known("k", 0, 9, proof="none", why_not=COLOURS_INVERTED)
    otherwise = known("k", 0, 9, proof="none", why_not="the movements do not agree")
    t.add("negative", "same_scene", "not_proven", [(0, 9, "same_scene", inverted)])
    t.add("mixed", "same_scene", "not_proven", [(0, 9, "same_scene", inverted), (9, 12, "same_scene", otherwise)])
    report = collect(t.write(tmp_path / "run"))
    negative, mixed = (" ".join(why(entry_of(report, name))) for name in ("negative", "mixed"))
    assert f"Not proven, because {COLOURS_INVERTED}: 0:00.0–0:09.0." in negative
    assert "Its pictures are the negatives of known ones." in negative
    assert "Another take in the same room" not in negative
    assert "Another take in the same room" in mixed


def test_what_is_done_again_says_so(tmp_path: Path) -> None:
    t = RunTables()
    again = known("k", 0, 9, proof="none", why_not=DONE_AGAIN)
    t.add("again", "same_scene", "not_proven", [(0, 9, "same_scene", again)])
    text = " ".join(why(entry_of(collect(t.write(tmp_path / "run")), "again")))
    assert f"Not proven, because {DONE_AGAIN}: 0:00.0–0:09.0." in text
    assert "a dance danced once more" in text
    assert "here it does not" not in text


def test_the_sentences_carry_the_numbers_of_the_case(tmp_path: Path) -> None:
    report = collect(a_night().write(tmp_path / "run"))
    text = " ".join(why(entry_of(report, "edited-mix")))
    for expected in ("47 s are proven", "1 min 6 s (58%", "0:31.0–0:52.0, 1:15.0–2:00.0", "Start viewing at 0:31.0",
                     "mirrored", "1.25×", "Only 1 min 55 s of 2 min", "2 known videos", "“NSRL films”"):  # fmt: skip
        assert expected in text, expected
    searched = " ".join(why(entry_of(report, "other-take-searched")))
    assert "“Blue room” are still being searched for" in searched
    assert REASON_TEXT[Reason.CORRUPT] in " ".join(why(entry_of(report, "bad-0")))
    assert "byte for byte" in why(entry_of(report, "cleared-bytes"))[0]


# --- the page ---------------------------------------------------------------------------------------------------------


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, str] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = dict(attrs).get("id") or "" if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.data[self._open] = self.data.get(self._open, "") + data


def parsed(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text("utf-8"))
    return page


def blocks(path: Path) -> dict[str, str]:
    return parsed(path).data


def test_the_page_is_one_private_file_that_names_no_other_place(tmp_path: Path) -> None:
    path = write_report(a_night().write(tmp_path / "run"), ReportSettings())
    assert path == tmp_path / "run" / "report" / "index.html"
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    tags = parsed(path).tags
    assert not [a for _, a in tags if a.keys() & {"src", "srcset", "action", "background", "poster", "style"}]
    assert [a["href"] for _, a in tags if "href" in a] == ["#workspace"]
    assert not {t for t, _ in tags} & {"img", "video", "audio", "iframe", "object", "embed", "link", "base"}
    assert not [name for _, a in tags for name in a if name.startswith("on")]


def test_the_policy_forbids_everything_but_the_pages_own_script_and_style(tmp_path: Path) -> None:
    path = write_report(a_night().write(tmp_path / "run"), ReportSettings())
    (policy,) = [a["content"] or "" for t, a in parsed(path).tags if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for name in ("script-src", "style-src"):
        assert all(re.fullmatch("'sha256-[A-Za-z0-9+/]{43}='", source) for source in rules[name].split())


def test_hostile_names_open_no_tag_and_stay_legible(tmp_path: Path) -> None:
    run = a_night().write(tmp_path / "run", warnings=["<b>x</b>\u202e"], run_id="<i>id</i>")
    text = write_report(run, ReportSettings(title="</title><script>alert(1)</script>")).read_text("utf-8")
    harmless = RunTables().write(tmp_path / "plain")
    plain = parsed(write_report(harmless, ReportSettings()))
    names = {t for t, _ in plain.tags}
    assert {t for t, _ in parsed(run / "report" / "index.html").tags} <= names | {"li", "ul", "button"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    rows = json.loads(blocks(run / "report" / "index.html")["rows"])
    shown = {name for names_ in rows["columns"]["names"] for name in names_}
    assert "/intake/<img src=x onerror=alert(1)>.mp4" in shown
    assert "/intake/new\\x0aline\\x09tab\\x1b[31mred.mp4" in shown
    assert "/intake/evil\\u202egpj.4pm.mp4" in shown
    details = json.loads(blocks(run / "report" / "index.html")["details-0"])
    exact = {name for d in details for name in d["exact"] if name}
    assert "$'/intake/not-utf8-\\xff\\xfe.mp4'" in exact
    assert "$'/intake/new\\x0aline\\x09tab\\x1b[31mred.mp4'" in exact


def test_the_new_page_takes_the_place_of_the_old_one_in_one_step(tmp_path: Path) -> None:
    run = a_night().write(tmp_path / "run")
    victim = tmp_path / "elsewhere.html"
    victim.write_text("not yours")
    (run / "report").mkdir()
    (run / "report" / "index.html").symlink_to(victim)
    path = write_report(run, ReportSettings())
    assert victim.read_text() == "not yours"
    assert not path.is_symlink()


def test_a_report_without_pictures_removes_those_of_an_earlier_one(tmp_path: Path) -> None:
    run = a_night().write(tmp_path / "run")
    folder = run / "report" / "pictures"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"")
    page = write_report(run, ReportSettings(), pictures=Pictures("blurred", {}))
    assert "img-src" in page.read_text("utf-8")
    assert folder.exists()
    write_report(run, ReportSettings())
    assert not folder.exists()
    assert "img-src" not in page.read_text("utf-8")
    folder.symlink_to(tmp_path)
    with pytest.raises(RunError, match="a link where the pictures belong"):
        write_report(run, ReportSettings())


def test_above_the_size_limit_details_move_to_files_and_come_back_below_it(tmp_path: Path) -> None:
    t = RunTables()
    for n in range(700):
        t.add(f"v{n}", "novel", "nothing_explained", [(i, i + 1, "novel") for i in range(12)])
    run = t.write(tmp_path / "run")
    path = write_report(run, ReportSettings(max_single_file_bytes=1_000_000))
    files = sorted(p.name for p in path.parent.iterdir())
    assert len(files) == 4 + 1
    assert json.loads(blocks(path)["detail-files"]) == files[:4]
    assert all(stat.S_IMODE((path.parent / f).stat().st_mode) == 0o600 for f in files)
    assert (path.parent / files[0]).read_text().startswith("takeDetails(0, [")
    write_report(run, ReportSettings())
    assert [p.name for p in path.parent.iterdir()] == ["index.html"]


def test_the_small_timeline_never_loses_a_new_second(tmp_path: Path) -> None:
    t = RunTables()
    t.add(
        "v",
        "partly_known",
        "parts_explained",
        [
            (0, 3000, "known", known("k", 0, 3000)),
            (3000, 3000.4, "novel"),
            (3000.4, 3600, "known", known("k", 3001, 3600)),
        ],
    )
    (entry,) = collect(t.write(tmp_path / "run")).entries
    row = cells(entry)
    assert (len(row), row.count("n"), row.count("k")) == (CELLS, 1, CELLS - 1)
    assert row.index("n") == 25


# --- exports ----------------------------------------------------------------------------------------------------------


def test_csv_has_true_false_and_empty_one_record_a_line_and_no_formula(tmp_path: Path) -> None:
    run = a_night().write(tmp_path / "run")
    table = pq.read_table(run / "verdicts.parquet")
    path = tmp_path / "verdicts.csv"
    write_csv(table, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_bytes().decode("utf-8")
    assert text.count("\n") == table.num_rows + 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == VERDICTS.names
    assert {r["needs_review"] for r in rows} == {"true", "false"}
    assert "" in {r["novelty"] for r in rows}
    assert not [v for r in rows for v in r.values() if v.startswith(("=", "@", "+", "-"))]
    assert {base64.b64decode(undefused(r["path_raw"])) for r in rows} >= set(HOSTILE_NAMES)


def test_numbers_keep_their_sign_and_digits(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array([-1.5, float("nan"), None, 1e300]), "i": pa.array([-3, 0, None, 2**53 + 1])})
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "n,i\n-1.5,-3\n,0\n,\n1e+300,9007199254740993\n"


@settings(deadline=None)
@given(st.text())
def test_defusing_can_be_undone_and_leaves_no_formula(text: str) -> None:
    safe = defused(text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"))
    assert undefused(safe) == text


@given(st.lists(st.tuples(st.text(), st.none() | st.floats() | st.booleans()), max_size=5))
@settings(max_examples=50, deadline=None)
def test_any_table_comes_back_from_json(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("json")
    texts = [t.encode("utf-8", "replace").decode() for t, _ in rows]
    numbers = [float(n) if isinstance(n, float | bool) else None for _, n in rows]
    write_json(
        pa.table({"text": pa.array(texts, pa.string()), "n": pa.array(numbers, pa.float64())}), folder / "t.json"
    )
    found = json.loads((folder / "t.json").read_bytes(), parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))
    assert [r["text"] for r in found] == texts
    finite = [n if n is not None and math.isfinite(n) else None for n in numbers]
    assert [r["n"] for r in found] == finite


def test_a_failed_export_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_csv(pa.table({"a": ["x"]}), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_excel_without_its_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(SettingsError, match="report-xlsx"):
        write_xlsx({"t": pa.table({"a": ["x"]})}, tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


def workbook(path: Path) -> dict[str, list[list[tuple[str, str]]]]:
    """Return the cells of an Excel workbook as (type, text), by sheet; formulas, links and macros fail."""
    spaces = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    relation = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
    with zipfile.ZipFile(path) as book:
        assert not [n for n in book.namelist() if "vba" in n.lower() or "external" in n.lower()]
        targets = {
            r.get("Id"): r.get("Target") for r in ElementTree.fromstring(book.read("xl/_rels/workbook.xml.rels"))
        }
        found = {}
        for sheet in ElementTree.fromstring(book.read("xl/workbook.xml")).iterfind("m:sheets/m:sheet", spaces):
            text = book.read(f"xl/{targets[sheet.get(relation)]}").decode()
            assert not re.search("<f[ >]|hyperlink", text)
            page = ElementTree.fromstring(text)
            found[str(sheet.get("name"))] = [
                [(c.get("t", "n"), "".join(c.itertext())) for c in row.iterfind("m:c", spaces)]
                for row in page.iterfind("m:sheetData/m:row", spaces)
            ]
        return found


def test_excel_holds_every_table_with_text_as_text_and_no_formula_or_link(tmp_path: Path) -> None:
    run = a_night().write(tmp_path / "run")
    path = write_workbook(run)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sheets = workbook(path)
    assert list(sheets) == ["verdicts", "segments", "groups"]
    table = pq.read_table(run / "verdicts.parquet")
    heading, *rows = sheets["verdicts"]
    assert [text for _, text in heading] == table.column_names
    assert len(rows) == table.num_rows
    assert len(sheets["segments"]) - 1 == pq.read_table(run / "segments.parquet").num_rows
    texts = {text for row in rows for kind, text in row if kind in ("inlineStr", "s")}
    assert '\'=HYPERLINK("http://example.invalid","x").mp4' in texts
    assert "/intake/<img src=x onerror=alert(1)>.mp4" in texts
    assert not [text for text in texts if text[:1] in tuple("=+-@")]
    kinds = {kind for row in rows for kind, _ in row}
    assert kinds == {"inlineStr", "n", "b"}
    assert not list(run.glob(".tables*"))


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_no_text_becomes_anything_else_in_excel(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("xlsx") / "t.xlsx"
    clean = [t.encode("utf-8", "replace").decode() for t in texts]
    write_xlsx({"t": pa.table({"text": pa.array(clean, pa.string())})}, path)
    found = [row[0] if row else ("inlineStr", "") for row in workbook(path)["t"][1:]]
    assert [kind for kind, _ in found if kind != "inlineStr"] == []
    assert [text for _, text in found if text] == [defused(legible(t)) for t in clean if t]


def test_a_text_too_long_for_a_cell_shows_that_it_was_cut(tmp_path: Path) -> None:
    write_xlsx({"t": pa.table({"text": ["x" * 40_000]})}, tmp_path / "t.xlsx")
    text = workbook(tmp_path / "t.xlsx")["t"][1][0][1]
    assert (len(text), text[-2:]) == (32_767, "x…")


def test_the_text_summary_names_no_file_list_series_or_id(tmp_path: Path) -> None:
    report = collect(a_night().write(tmp_path / "run", warnings=["/intake/secret.mp4 drifted"]))
    text = text_summary(report)
    secrets = {"Blue room", "Red sofa", "ICSE", "NSRL", "secret", "/srv/known", "2026-11-22-night", "intake/"}
    secrets |= {n.path for e in report.entries for n in e.names} | {
        e.video_id[:8] for e in report.entries if e.video_id
    }
    assert not [s for s in secrets if s in text]
    assert "37" in text
    assert "23 min 7 s to look at" in text
    assert text.isascii()


# --- decisions --------------------------------------------------------------------------------------------------------


def a_decision(**facts: Any) -> dict[str, Any]:
    return {
        "format": "videonovelty-decisions",
        "format_version": 1,
        "run_id": "r",
        "snapshot": 42,
        "video_id": video_id("v"),
        "entry": video_id("v"),
        "verdict": "same_scene",
        "known_video_id": video_id("k"),
        "stands_for": [video_id("w")],
        "decision": "not_a_match",
        "note": "other curtains",
        "analyst": "A. Person",
        "decided_at": "2026-11-23T06:12:09.120Z",
    } | facts


def test_a_decision_comes_back_from_its_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    unread = a_decision(video_id="", entry="file-0123456789abcdef", known_video_id=None, snapshot=None)
    path.write_text("\n".join(json.dumps(d) for d in (a_decision(), unread)) + "\n")
    first, second = read_decisions(path)
    assert (first.video_id, first.decision, first.stands_for) == (video_id("v"), "not_a_match", (video_id("w"),))
    assert (second.video_id, second.entry, second.snapshot) == ("", "file-0123456789abcdef", None)
    assert set(DECISIONS) == {"novel", "known", "same_scene", "not_a_match", "second_look"}


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"format": "other"}, "format"),
        ({"format_version": 2}, "format_version"),
        ({"video_id": "../x"}, "video_id"),
        ({"entry": video_id("other")}, "entry"),
        ({"decision": "delete"}, "decision"),
        ({"analyst": " "}, "analyst"),
        ({"note": "x" * 2001}, "note"),
        ({"note": None}, "note"),
        ({"snapshot": True}, "snapshot"),
        ({"stands_for": "x"}, "stands_for"),
        ({"known_video_id": "x"}, "known_video_id"),
        ({"decided_at": "yesterday"}, "decided_at"),
    ],
)
def test_a_decision_with_a_wrong_part_is_refused_by_line_and_key(tmp_path: Path, facts: Any, key: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(a_decision()) + "\n" + json.dumps(a_decision(**facts)) + "\n")
    with pytest.raises(SettingsError, match=rf"line 2: {key}"):
        read_decisions(path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[1]\n", b"not json\n", b"[" * 100_000])
def test_a_file_of_something_else_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=re.escape(str(path))):
        read_decisions(path)


# --- legible ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text())
def test_legible_text_has_no_hidden_character_and_stays_as_it_is(text: str) -> None:
    shown = legible(text)
    assert legible(shown) == shown
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)


def test_times_read_as_people_write_them() -> None:
    assert [clock(s) for s in (0, 3.44, 59.96, 63.25, 599.99, 600, 3599.6, 3723)] == [
        "0:00.0", "0:03.4", "1:00.0", "1:03.3", "10:00.0", "10:00", "1:00:00", "1:02:03",
    ]  # fmt: skip
    assert [spoken(s) for s in (0.4, 41, 60, 724, 18_720, 8_000_000)] == [
        "0.4 s", "41 s", "1 min", "12 min 4 s", "5 h 12 min", "2,222 h 13 min",
    ]  # fmt: skip
