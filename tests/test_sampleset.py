"""Sample sets: the truth written down is what the pictures show, and a wrong set is refused by file and row."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import make_video
import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.decode.rgb import read_rgb
from videonovelty.tuning.queries import (
    ALL_EDITS,
    FILE_EDITS,
    TIME_EDITS,
    Material,
    Plan,
    check_edit,
    plan_query,
    render,
)
from videonovelty.tuning.sampleset import (
    SampleOptions,
    SampleSet,
    SampleSetError,
    label_samples,
    load_sampleset,
    make_samples,
)

SECONDS = 6.0


def _material(name: str, seed: int, path: Path | None = None) -> Material:
    return Material(
        name=name,
        source=f"source{seed}",
        path=path,
        start=0.0,
        end=SECONDS,
        fps=make_video.FPS,
        width=make_video.WIDTH,
        height=make_video.HEIGHT,
        generated=seed,
    )


def _plan(edit: str, seed: int = 0) -> Plan:
    main, other, host = _material("known/a.mp4", 1), _material("known/b.mp4", 2), _material("", 3)
    return plan_query("query/q.mp4", edit, main, other=other, host=host, seed=seed)


# ---- plans and their truth ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(edit=st.sampled_from(sorted(TIME_EDITS)), seed=st.integers(0, 10**6))
def test_truth_lies_inside_both_videos_and_does_not_overlap(edit: str, seed: int) -> None:
    plan = _plan(edit, seed)
    rows = plan.truth()
    assert rows
    end = 0.0
    for row in rows:
        assert end - 1e-3 <= row.q_start < row.q_end <= plan.seconds() + 1e-3
        assert 0 <= row.k_start < row.k_end <= SECONDS
        assert row.edit == edit
        end = row.q_end


@settings(max_examples=60, deadline=None)
@given(edit=st.sampled_from(sorted(TIME_EDITS)), seed=st.integers(0, 10**6))
def test_what_truth_leaves_open_is_the_new_footage(edit: str, seed: int) -> None:
    plan = _plan(edit, seed)
    told = sum(row.q_end - row.q_start for row in plan.truth())
    new = sum(plan.frames_of(s) / plan.fps for s in plan.stretches if not s.material.name)
    assert told + new == pytest.approx(plan.seconds(), abs=0.01)
    assert (new > 0) == (edit in {"insert", "splice", "replace", "mash_up"})


@pytest.mark.parametrize(
    "edit", ["copy", "clip", "splice", "replace", "reorder", "mash_up", "speed_150", "dissolve", "fps_10"]
)
def test_pictures_are_where_truth_says(tmp_path: Path, edit: str) -> None:
    materials = {}
    for seed, name in ((1, "known/a.mp4"), (2, "known/b.mp4"), (3, "")):
        path = make_video.make_clip(tmp_path / f"{seed}.mp4", seed, SECONDS)
        materials[seed] = _material(name, seed, path)
    plan = plan_query("q.mp4", edit, materials[1], other=materials[2], host=materials[3], seed=5)
    shown = list(read_rgb(render(plan, tmp_path), max_side=80))
    assert len(shown) == round(plan.seconds() * plan.fps)
    source = {m.name: list(read_rgb(m.path, max_side=80)) for m in materials.values() if m.path is not None}
    for seconds, picture in shown:
        inside = [row for row in plan.truth() if row.q_start - 1e-3 <= seconds < row.q_end - 1e-3]
        if edit == "dissolve" and any(abs(seconds - row.q_end) < 0.6 for row in plan.truth()[:1]):
            continue  # two videos at once
        for name in ("known/a.mp4", "known/b.mp4"):
            rows = [row for row in inside if row.known == name]
            if rows:
                (row,) = rows
                share = (row.k_end - row.k_start) / (row.q_end - row.q_start)
                at = row.k_start + (seconds - row.q_start) * share
                there = [p for moment, p in source[name] if abs(moment - at) <= 0.6 / make_video.FPS]
                assert min(_error(picture, p) for p in there) < 14
            else:
                nearest = min(_error(picture[::4, ::4], there[::4, ::4]) for _, there in source[name])
                assert nearest > 25, "unexplained seconds show nothing of a known video"


def _error(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int16) - two).mean())


def test_every_edit_gives_a_file_of_the_length_planned(tmp_path: Path) -> None:
    for edit in ("rotate_90", "screen_recording", "blurred_fill", "pip_30", "crop_40+caption", *FILE_EDITS):
        plan = _plan(edit)
        plan = dataclasses.replace(plan, stretches=(dataclasses.replace(plan.stretches[0], end=0.8),))
        times = [seconds for seconds, _ in read_rgb(render(plan, tmp_path))]
        assert len(times) == round(0.8 * plan.fps), edit
        assert times[-1] + 1 / plan.fps == pytest.approx(plan.seconds(), abs=0.01)


def test_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    plan = _plan("mash_up+pip_30+codec_hevc")
    assert render(plan, tmp_path / "one").read_bytes() == render(plan, tmp_path / "two").read_bytes()


def test_all_edits_have_known_parts() -> None:
    for edit in ALL_EDITS:
        check_edit(edit)
    with pytest.raises(SampleSetError, match="unknown edit 'sepia'"):
        check_edit("mirror+sepia")
    with pytest.raises(SampleSetError, match="more than one edit of time"):
        check_edit("clip+speed_50")


# ---- a whole set ----------------------------------------------------------------------------------------------------

OPTIONS = SampleOptions(
    edits=("copy", "mirror", "splice", "pip_30", "inset_30_framed", "inset_30_brief"),
    seed=3,
    rooms=1,
    room_seconds=3.0,
    novel_share=0.4,
    distractor_share=0.2,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SampleSet:
    folder = tmp_path_factory.mktemp("samples")
    videos = [make_video.make_clip(folder / f"{n}.mp4", 40 + n, 4.4) for n in range(5)]
    videos.append(make_video.make_clip(folder / "again.mp4", 40, 4.4, crf=30))
    videos.append(make_video.other_take(folder / "camera.mp4", 8, 0, 13.0, fps=5))
    videos += [make_video.blank(folder / "blank.mp4"), make_video.damaged(folder / "text.mp4", "text")]
    videos.append(make_video.make_clip(folder / "short.mp4", 60, 2.0))
    same = {videos[0]: "zero", videos[5]: "zero"}
    return make_samples(videos, folder / "set", options=OPTIONS, sources=same, progress=lambda _: None)


def test_set_holds_every_role_and_every_kind_of_negative(made: SampleSet) -> None:
    assert {v.role for v in made.videos.values()} == {"known", "query", "distractor"}
    assert {n.kind for n in made.negatives} == {"novel", "same_scene", "new_inside", "new_around"}
    assert {v.split for v in made.videos.values()} == {"tune", "holdout"}
    assert {row.edit for row in made.truth} >= {"copy", "mirror", "splice", "pip_30"}


def test_unusable_videos_are_left_out_with_their_reason(made: SampleSet) -> None:
    header = (made.folder / "sampleset.toml").read_text(encoding="utf-8")
    assert '"blank.mp4" = "still or blank"' in header
    assert '"text.mp4" = "not_a_video"' in header
    assert '"short.mp4" = "only 2.0 s long"' in header
    assert header.count("shows the same content as another video (zero)") == 1


def test_fixed_camera_becomes_two_takes(made: SampleSet) -> None:
    takes = [n for n in made.negatives if n.kind == "same_scene" and "room" not in n.query]
    assert len(takes) == 3
    assert not {n.query for n in takes} & {row.query for row in made.truth}


def test_files_are_as_long_as_the_table_says(made: SampleSet) -> None:
    for video in made.videos.values():
        times = [seconds for seconds, _ in read_rgb(made.path(video.video), max_side=16)]
        assert times[-1] < video.seconds < times[-1] + 0.25


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes_in_any_number_of_processes(made: SampleSet, tmp_path: Path) -> None:
    videos = sorted(made.folder.parent.glob("*.mp4"))
    same = {p: "zero" for p in videos if p.name in ("0.mp4", "again.mp4")}
    options = dataclasses.replace(OPTIONS, workers=2)
    again = make_samples(videos, tmp_path / "set", options=options, sources=same, progress=lambda _: None)
    # which of two files of one content is used follows their names, not the order they are given in
    for name in ("videos.csv", "truth.csv", "negatives.csv", "sampleset.toml"):
        assert (again.folder / name).read_bytes() == (made.folder / name).read_bytes()


def test_a_folder_with_something_in_it_is_left_alone(made: SampleSet) -> None:
    with pytest.raises(SampleSetError, match="not empty"):
        make_samples([], made.folder, options=OPTIONS)


def test_tables_come_back_equal_as_arrow_and_as_parquet(made: SampleSet, tmp_path: Path) -> None:
    folder = _copy(made, tmp_path)
    for name, table in made.tables().items():
        assert table.num_rows == len(pyarrow.csv.read_csv(folder / f"{name}.csv"))
        (folder / f"{name}.csv").unlink()
        pq.write_table(table, folder / f"{name}.parquet")
    header = folder / "sampleset.toml"
    header.write_text("format = 1\n", encoding="utf-8")
    again = load_sampleset(folder, check_files=False)
    assert (dict(again.videos), again.truth, again.negatives) == (dict(made.videos), made.truth, made.negatives)


# ---- bad sets -------------------------------------------------------------------------------------------------------


def _copy(made: SampleSet, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("videos.csv", "truth.csv", "negatives.csv"):
        shutil.copy(made.folder / name, folder / name)
    (folder / "sampleset.toml").write_text("format = 1\n", encoding="utf-8")
    return folder


def _edit(path: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = list(rows[0])
    change(rows)
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, names)
        table.writeheader()
        table.writerows(rows)


BAD: dict[str, tuple[str, Callable[[list[dict[str, str]]], None], str]] = {
    "unknown query": ("truth", lambda r: r[0].update(query="query/none.mp4"), r"truth\.csv row 2: query 'query/none"),
    "wrong role": (
        "truth",
        lambda r: r[1].update(query=r[1]["known"]),
        r"truth\.csv row 3: query .* has the role known",
    ),
    "past the end": ("truth", lambda r: r[0].update(q_end="99"), r"truth\.csv row 2: query ends at 99"),
    "past the known end": ("truth", lambda r: r[0].update(k_end="99"), r"truth\.csv row 2: known ends at 99"),
    "reversed": ("truth", lambda r: r[2].update(k_start="3", k_end="2"), r"truth\.csv row 4: known from 3.0 to 2.0"),
    "negative time": ("truth", lambda r: r[0].update(q_start="-1"), r"truth\.csv row 2: query from -1"),
    "no number": ("truth", lambda r: r[0].update(q_start="soon"), r"truth\.csv row 2: 'soon' is not a number"),
    "not a time": ("truth", lambda r: r[0].update(q_start="nan"), r"truth\.csv row 2: query from nan"),
    "overlap": ("truth", lambda r: r.append(dict(r[0])), r"truth\.csv row \d+: .* overlaps the stretch"),
    "nothing to find": ("truth", lambda r: r.clear(), "no truth at all"),
    "nothing to reject": ("negatives", lambda r: r.clear(), "no negatives at all"),
    "nothing to find in a split": (
        "truth",
        lambda r: None,
        r"videos\.csv row \d+: query/.* is in split holdout, and truth has no row about any of the \d+ queries",
    ),
    "nothing to reject in a split": (
        "negatives",
        lambda r: None,
        r"videos\.csv row \d+: query/.* is in split holdout, and negatives has no row about any of the \d+ queries",
    ),
    "named around nothing": (
        "negatives",
        lambda r: next(n for n in r if n["kind"] == "same_scene").update(kind="new_around"),
        r"negatives\.csv row \d+: new_around, and no row of truth",
    ),
    "unknown kind": ("negatives", lambda r: r[0].update(kind="odd"), r"negatives\.csv row 2: kind 'odd'"),
    "contradiction": ("negatives", lambda r: None, r"is called novel, and truth says"),
    "split leak": ("videos", lambda r: None, r"videos\.csv row \d+: source .* is in split"),
    "twice": ("videos", lambda r: r.append(dict(r[0])), r"videos\.csv row \d+: .* is there twice"),
    "unknown role": ("videos", lambda r: r[0].update(role="guest"), r"videos\.csv row 2: role 'guest'"),
    "unknown split": ("videos", lambda r: r[0].update(split="later"), r"videos\.csv row 2: split 'later'"),
    "no length": ("videos", lambda r: r[0].update(seconds="0"), r"videos\.csv row 2: seconds must be positive"),
    "no source": ("videos", lambda r: r[0].update(sources=""), r"videos\.csv row 2: no source"),
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_a_set_that_contradicts_itself_is_refused_by_file_and_row(made: SampleSet, tmp_path: Path, what: str) -> None:
    folder = _copy(made, tmp_path)
    table, change, message = BAD[what]
    if what == "contradiction":

        def change(rows: list[dict[str, str]]) -> None:
            rows.append({"query": made.truth[0].query, "known": "", "kind": "novel"})
    elif what.endswith("in a split"):

        def change(rows: list[dict[str, str]]) -> None:
            rows[:] = [row for row in rows if made.videos[row["query"]].split == "tune"]
    elif what == "split leak":

        def change(rows: list[dict[str, str]]) -> None:
            row = next(r for r in rows if r["role"] == "query" and r["video"] == made.truth[0].query)
            row["split"] = "tune" if row["split"] == "holdout" else "holdout"

    _edit(folder / f"{table}.csv", change)
    with pytest.raises(SampleSetError, match=message):
        load_sampleset(folder, check_files=False)


def test_missing_changed_and_foreign_files_are_named(made: SampleSet, tmp_path: Path) -> None:
    folder = _copy(made, tmp_path)
    with pytest.raises(SampleSetError, match=r"videos\.csv row 2: no such file"):
        load_sampleset(folder)
    shutil.copytree(made.folder, tmp_path / "whole")
    name = next(iter(made.videos))
    (tmp_path / "whole" / name).write_bytes(b"something else")
    with pytest.raises(SampleSetError, match="its SHA-256 differs"):
        load_sampleset(tmp_path / "whole")
    (folder / "truth.csv").write_text("query,known\na,b\n", encoding="utf-8")
    with pytest.raises(SampleSetError, match=r"truth\.csv: column q_start is missing"):
        load_sampleset(folder, check_files=False)
    (folder / "sampleset.toml").write_text("format = 9\n", encoding="utf-8")
    with pytest.raises(SampleSetError, match="format 9"):
        load_sampleset(folder)
    with pytest.raises(SampleSetError, match="this is no sample set"):
        load_sampleset(tmp_path)


def test_a_table_changed_after_it_was_made_is_noticed(made: SampleSet, tmp_path: Path) -> None:
    folder = _copy(made, tmp_path)
    shutil.copy(made.folder / "sampleset.toml", folder)
    _edit(folder / "truth.csv", lambda rows: rows[0].update(edit="other"))
    with pytest.raises(SampleSetError, match=r"truth\.csv is not the file it was"):
        load_sampleset(folder, check_files=False)


# ---- a team's own pairs ---------------------------------------------------------------------------------------------


def test_labelled_pairs_become_a_set(tmp_path: Path) -> None:
    for name, seed in (("k1.mp4", 1), ("k2.mp4", 2), ("new.mp4", 3)):
        make_video.make_clip(tmp_path / name, seed, 2.0)
    make_video.make_clip(tmp_path / "q1.mp4", 1, 2.0, crf=35)
    make_video.concatenate(tmp_path / "q2.mp4", [(2, 0.0, 1.2), (7, 0.0, 1.2)])
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "query,q_start,q_end,known,k_start,k_end,edit\n"
        "q1.mp4,,,k1.mp4,,,reencode\n"
        "q2.mp4,0,1.2,k2.mp4,0,1.2,mash_up\n"
        "new.mp4,,,,,,novel\n",
        encoding="utf-8",
    )
    made = label_samples(pairs, tmp_path / "set", seed=1)
    assert {(Path(r.query).name, r.q_end, Path(r.known).name) for r in made.truth} == {
        ("q1.mp4", 2.0, "k1.mp4"),
        ("q2.mp4", 1.2, "k2.mp4"),
    }
    assert [(Path(n.query).name, n.kind) for n in made.negatives] == [("new.mp4", "novel")]
    by_name = {Path(v.video).name: v for v in made.videos.values()}
    assert by_name["q1.mp4"].split == by_name["k1.mp4"].split
    assert by_name["q1.mp4"].sha256 == hashlib.sha256((tmp_path / "q1.mp4").read_bytes()).hexdigest()
    pairs.write_text("query,q_start,q_end,known,k_start,k_end,edit\nnone.mp4,,,k1.mp4,,,x\n", encoding="utf-8")
    with pytest.raises(SampleSetError, match=r"pairs\.csv row 2: no such video: none\.mp4"):
        label_samples(pairs, tmp_path / "set2")
