"""T09, T10, T13 on a real cluster, through `scan`: what bad videos do is told of them alone."""

import hashlib
import os
from dataclasses import replace

import make_video
import poisoned
import psutil
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from videonovelty.cli.app import app
from videonovelty.run import read_part
from videonovelty.sandbox import Sandbox, encode_signed

LIMITS = (
    "[intake]\nsettle_seconds = 0\n[sandbox]\nmemory_bytes = 805306368\n"
    "wall_seconds_base = {wall}\nwall_seconds_per_video_second = 0\nstall_seconds = {stall}\n"
)


def scan(folder, run, *intakes, workers, code):
    arguments = [*map(str, intakes), "--store", folder / "known", "--run", folder / run / "run"]
    arguments += ["--config", folder / "limits.toml", "--workers", workers]
    (folder / run).mkdir()
    result = CliRunner().invoke(app, ["scan", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return folder / run / "run"


def rows(run, table):
    """Return the rows of a table by content."""
    found = {}
    for row in pq.read_table(run / f"{table}.parquet").to_pylist():
        found.setdefault(row["video_id"], []).append(row)
    return found


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def signed_bytes(run):
    """Return what was signed, by content, without the processor time it took."""
    found = {}
    for path in (run / "parts").rglob("*.parquet"):
        payload = pq.read_table(path).column("payload")[0].as_py()
        if path.stem.endswith(".coded"):  # holds no time
            found[path.stem] = payload
            continue
        digest = hashlib.sha256(payload).hexdigest()
        found[path.stem] = encode_signed(replace(read_part(run, path.stem, sha256=digest), cpu_seconds=0.0))
    return found


@pytest.mark.parametrize(
    ("good", "evils", "stall", "wall"),
    [
        pytest.param(6, ["segfault", "abort", "sleep", "eat"], 5, 240, id="few"),
        pytest.param(
            200,
            [*2 * ["segfault", "abort", "exit", "trap"], "sleep", "stubborn", "spin", "chat", "eat", "devour"],
            20,
            60,
            id="many",
            marks=[pytest.mark.slow, pytest.mark.timeout(1800)],
        ),
    ],
)
def test_bad_videos_among_good_ones_are_flagged_and_the_good_ones_as_if_alone(
    tmp_path, monkeypatch, good, evils, stall, wall
):
    for name in ("known", "good", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "limits.toml").write_text(LIMITS.format(stall=stall, wall=wall))
    for seed in range(good):
        make_video.make_clip(tmp_path / "good" / f"{seed}.mp4", 1000 + seed, 1.2, width=96, height=64)
    for number, evil in enumerate(evils):
        path = make_video.make_clip(tmp_path / "bad" / f"{number} {evil}.mkv", 5000 + number, 1.2, width=96, height=64)
        with path.open("ab") as file:
            file.write(poisoned.POISON + evil.encode())
    enrolled = ["known", "add", tmp_path / "good" / "0.mp4", "--store", tmp_path / "known", "--list", "known"]
    enrolled += ["--config", tmp_path / "limits.toml", "--workers", "0"]
    (tmp_path / "known").rmdir()
    result = CliRunner().invoke(app, [str(argument) for argument in enrolled])
    assert result.exit_code == 0, (result.output, result.exception)
    before = digests(tmp_path / "good") | digests(tmp_path / "bad")

    undisturbed = scan(tmp_path, "alone", tmp_path / "good", workers=0, code=0)
    monkeypatch.setattr("videonovelty.batch.sign_content", poisoned.sign_content)
    disturbed = scan(tmp_path, "night", tmp_path / "good", tmp_path / "bad", workers=2, code=3)

    alone, night = rows(undisturbed, "verdicts"), rows(disturbed, "verdicts")
    assert len(alone) == good
    assert sum(map(len, night.values())) == good + len(evils)
    flagged = {
        row["path"].rpartition("/")[2]: (row["verdict"], row["reason"], row["needs_review"])
        for video_id, found in night.items()
        if video_id not in alone
        for row in found
    }
    assert flagged == {
        f"{number} {evil}.mkv": ("not_comparable", poisoned.REASON[evil], True) for number, evil in enumerate(evils)
    }
    assert {video_id: night[video_id] for video_id in alone} == alone
    bad = {video_id for video_id in night if video_id not in alone}
    segments = {video_id: found for video_id, found in rows(disturbed, "segments").items() if video_id not in bad}
    assert segments == rows(undisturbed, "segments")
    # of a bad video the packets may have been read before it was decoded
    kept = {name: held for name, held in signed_bytes(disturbed).items() if name.removesuffix(".coded") not in bad}
    assert kept == signed_bytes(undisturbed)

    assert len(list((tmp_path / "night").glob("worker-*"))) == 2, "a worker was lost and replaced"
    assert digests(tmp_path / "good") | digests(tmp_path / "bad") == before
    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert [p.pid for p in left if p.pid != os.getpid()] == []


class PowerCut(BaseException):
    """The machine goes down: nothing after this instant happens."""


def test_what_takes_the_machine_down_twice_is_not_decoded_again(tmp_path, monkeypatch):
    """The start of each decode is on disk before it begins, so a machine that went down knows what it was at."""
    (tmp_path / "intake").mkdir()
    (tmp_path / "limits.toml").write_text(LIMITS.format(stall=60, wall=600))
    bad = make_video.make_clip(tmp_path / "intake" / "bad.mp4", 1, 2.0, width=96, height=64)  # larger, so it is first
    good = make_video.make_clip(tmp_path / "intake" / "good.mp4", 2, 1.2, width=96, height=64)
    known = make_video.make_clip(tmp_path / "known.mp4", 3, 1.2, width=96, height=64)
    options = ["--store", tmp_path / "known", "--config", tmp_path / "limits.toml", "--workers", 0]
    add = CliRunner().invoke(app, list(map(str, ["known", "add", known, *options, "--list", "known"])))
    assert add.exit_code == 0, (add.output, add.exception)
    run = tmp_path / "run"
    bad_id, good_id = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (bad, good))
    honest, opened = Sandbox.sign, []

    def sign(self, fd, *, video_id, name):
        opened.append(video_id)
        if video_id == bad_id:
            lines = (run / "journal.jsonl").read_text().splitlines()
            assert any('"started"' in line and bad_id in line for line in lines)
            raise PowerCut
        return honest(self, fd, video_id=video_id, name=name)

    monkeypatch.setattr(Sandbox, "sign", sign)
    for boot in ("one", "two"):
        monkeypatch.setattr("videonovelty.run._boot_id", lambda boot=boot: boot)
        with pytest.raises(PowerCut):
            CliRunner().invoke(app, list(map(str, ["scan", tmp_path / "intake", *options, "--run", run])))
    monkeypatch.setattr("videonovelty.run._boot_id", lambda: "three")
    last = CliRunner().invoke(app, list(map(str, ["scan", tmp_path / "intake", *options, "--run", run])))
    assert last.exit_code == 3, (last.output, last.exception)
    assert opened == [bad_id, bad_id, good_id]
    found = {video_id: (row["verdict"], row["reason"], row["needs_review"])
             for video_id, (row,) in rows(run, "verdicts").items()}  # fmt: skip
    assert found[bad_id] == ("not_comparable", "quarantined", True)
    assert found[good_id][0] == "novel"
