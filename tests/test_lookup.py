"""A night's lookups: cut by bytes, the same however they are cut, and gone on with where they were broken off."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import make_video
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_help import sign
from test_screening import run as command

from videonovelty import grouping, judgements, judging, screening
from videonovelty.batch import Part
from videonovelty.engine import Engine, open_engine
from videonovelty.grouping import Member, OpenContent, Proven, group_intake
from videonovelty.lookup import batches, load_array, save_arrays
from videonovelty.records import SignedVideo
from videonovelty.run import write_part
from videonovelty.settings import RunSettings, load_settings

SETTINGS = load_settings()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(RunSettings(), workers=0, local_directory=tmp_path / "workers") as engine:
        yield engine


# --- batches ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_batches_tile_the_parts_and_keep_to_the_limit_unless_one_alone_is_above_it(
    sizes: list[int], limit: int
) -> None:
    parts = [Part(Path("/run"), str(n), "") for n in range(len(sizes))]
    cuts = list(batches(parts, sizes, limit))
    assert [n for cut in cuts for n in range(cut.start, cut.stop)] == list(range(len(sizes)))
    for cut in cuts:
        assert sum(sizes[cut]) <= limit or cut.stop - cut.start == 1


def test_arrays_appear_whole_and_a_repeated_task_changes_nothing(tmp_path: Path) -> None:
    save_arrays(tmp_path / "codes", {"codes": np.arange(5), "none": np.zeros(0)})
    save_arrays(tmp_path / "codes", {"codes": np.arange(9), "none": np.zeros(0)})
    assert load_array(tmp_path / "codes", "codes").tolist() == [0, 1, 2, 3, 4]
    assert load_array(tmp_path / "codes", "none").size == 0
    assert [p.name for p in tmp_path.iterdir()] == ["codes"]
    assert (tmp_path / "codes" / "codes.npy").stat().st_mode & 0o777 == 0o600


# --- groups ----------------------------------------------------------------------------------------------------------


def copy_of(signed: SignedVideo, number: int) -> SignedVideo:
    """The same footage under another id, a few bits of each code and the end of the duration changed."""
    draw = np.random.default_rng(number)
    pdq = signed.signatures.pdq.copy()
    pdq[np.arange(len(pdq)), 0, draw.integers(0, 32, len(pdq))] ^= np.uint8(1 << number % 8)
    name = hashlib.sha256(b"%d" % number).hexdigest()
    return replace(signed, signatures=replace(signed.signatures, video_id=name, pdq=pdq, pdq_inner=pdq))


@pytest.fixture(scope="module")
def flood(tmp_path_factory: pytest.TempPathFactory) -> list[OpenContent]:
    """Forty copies of one video and four others, as signed contents of a run folder."""
    folder = tmp_path_factory.mktemp("flood")
    (folder / "parts").mkdir()
    one = sign(make_video.make_clip(folder / "one.mp4", 71, 6.0))
    others = [sign(make_video.make_clip(folder / f"{seed}.mp4", seed, 4.0)) for seed in (72, 73)]
    contents = []
    for signed in [*(copy_of(one, n) for n in range(40)), *others]:
        part = Part(folder, signed.signatures.video_id, write_part(folder, signed), len(signed.signatures.pts_seconds))
        contents.append(OpenContent(part, signed.coverage.duration_seconds))
    return contents


@pytest.mark.parametrize(("chunk", "bundle"), [(500, 600_000), (7, 600_000), (7, 20)])
def test_a_flood_of_copies_stands_behind_one_leader_however_the_night_is_cut(
    flood: list[OpenContent], engine: Engine, monkeypatch: pytest.MonkeyPatch, chunk: int, bundle: int
) -> None:
    monkeypatch.setattr(grouping, "VIDEOS_PER_CHUNK", chunk)
    monkeypatch.setattr(grouping, "KEYFRAMES_PER_CHUNK", 20 * chunk)
    monkeypatch.setattr(grouping, "KEYFRAMES_PER_BUNDLE", bundle)
    groups = group_intake(flood, flood[0].part.run_path, engine, SETTINGS, lambda _: None)
    copies = {one.part.video_id for one in flood[:40]}
    assert set(groups) == copies
    assert {group.leader for group in groups.values()} == {min(copies)}
    assert {member.video_id for member in groups[min(copies)].members} == copies - {min(copies)}
    assert not (flood[0].part.run_path / "work" / "lookup").exists()


def test_no_member_stands_behind_another_one(flood: list[OpenContent], monkeypatch: pytest.MonkeyPatch) -> None:
    """1 shows 0, 2 shows 1, 3 shows 2, and of 0 itself only 2 is proven to show it: 3 is for a person to view."""
    parts = [one.part for one in flood[:4]]
    search = grouping._LeaderSearch(None, SETTINGS, None)  # type: ignore[arg-type]
    rounds = iter([[(1, 0), (2, 1), (3, 2)], [(2, 0)]])
    asked: list[tuple[int, ...]] = []

    def prove(chunk: object, numbers: Sequence[int], *_: object, **__: object) -> list[Proven]:
        asked.append(tuple(numbers))
        return [Proven(n, leader, Member(parts[n].video_id, 1, 1.0, 0.0)) for n, leader in next(rounds)]

    monkeypatch.setattr(grouping._LeaderSearch, "_prove", lambda self, *a, **k: prove(*a, **k))
    monkeypatch.setattr(grouping._LeaderSearch, "_join", lambda self, chunk, sides: [])
    monkeypatch.setattr(search, "_work", SimpleNamespace(remove=lambda folders: None))
    chunk = grouping._Chunk(parts, 0, (grouping.Shard(Path("shard")),), ())
    placed = search.within(chunk, range(4))
    assert asked == [(0, 1, 2, 3), (2, 3)]
    assert {number: leader for number, (leader, _) in placed.items()} == {1: 0, 2: 0}


def test_the_order_of_the_intake_changes_no_group(flood: list[OpenContent], engine: Engine) -> None:
    one = group_intake(flood, flood[0].part.run_path, engine, SETTINGS, lambda _: None)
    other = group_intake(flood[::-1], flood[0].part.run_path, engine, SETTINGS, lambda _: None)
    assert one == other


# --- whole nights ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "known").mkdir()
    (folder / "intake").mkdir()
    make_video.make_clip(folder / "known" / "one.mp4", 31, 6.0)
    make_video.make_clip(folder / "intake" / "again.mkv", 31, 6.0, crf=34)
    for seed in (74, 75, 76):
        make_video.make_clip(folder / "intake" / f"{seed}.mp4", seed, 3.0)
    command("known", "add", folder / "known", "--store", folder / "store", "--list", "l", "--workers", "0")
    scan(folder, "run")
    return folder


def scan(folder: Path, run: str, *more: str, code: int = 0) -> None:
    command("scan", folder / "intake", "--store", folder / "store", "--run", folder / run, "--workers", "0", *more,
            code=code)  # fmt: skip


def tables(folder: Path, run: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / run).iterdir() if p.suffix in (".parquet", ".csv")}


def test_batches_of_one_give_the_same_tables(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "query_limit", lambda settings: 1)
    scan(night, "one-by-one")
    assert tables(night, "one-by-one") == tables(night, "run")


def test_a_run_cut_off_while_judging_judges_only_the_rest(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    real = judging.judge_signed

    def counting(signed: SignedVideo, *arguments: object, **options: object) -> object:
        judged.append(signed.signatures.video_id)
        return real(signed, *arguments, **options)

    store = judgements.Judgements.store

    def breaking(self: object, batch: object, verdicts: object) -> None:
        store(self, batch, verdicts)
        if len(set(judged)) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(judging, "query_limit", lambda settings: 1)
    monkeypatch.setattr(judging, "judge_signed", counting)
    with monkeypatch.context() as patch:
        patch.setattr(judgements.Judgements, "store", breaking)
        scan(night, "broken", code=130)
    assert len(set(judged)) == 2
    first = set(judged)
    judged.clear()
    scan(night, "broken")
    assert len(set(judged)) == 2
    assert first.isdisjoint(judged)
    assert tables(night, "broken") == tables(night, "run")
    assert not (night / "broken" / "work").exists()


def test_a_finished_run_is_left_as_it_is_and_an_altered_table_made_anew(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tables(night, "run")
    with monkeypatch.context() as patch:
        for name in ("judge_parts", "sign_unsound", "group_intake"):
            patch.setattr(screening, name, None)
        scan(night, "run")
    assert tables(night, "run") == before
    (night / "run" / "segments.csv").write_text("altered")
    part = next((night / "run" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-100])
    scan(night, "run")
    assert tables(night, "run") == before


def test_a_changed_setting_of_the_judgement_is_a_new_judgement(night: Path, tmp_path: Path) -> None:
    config = tmp_path / "strict.toml"
    config.write_text("[proof]\nmin_seconds = 60.0\n")
    scan(night, "strict")
    first = tables(night, "strict")
    scan(night, "strict", "--config", str(config))
    assert tables(night, "strict") != first
    scan(night, "strict")
    assert tables(night, "strict") == first
