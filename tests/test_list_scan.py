"""A scan whose only knowledge is an imported list: right verdicts, and whose knowledge it was."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import make_video
import numpy as np
import pyarrow.parquet as pq
import pytest
from make_lists import ncmec_page, ncmec_video
from test_screening import run

from videonovelty.known.store import KnownStore
from videonovelty.records import ContentHashes
from videonovelty.report.collect import collect
from videonovelty.settings import Settings
from videonovelty.signatures import scheme


def digest(path: Path, kind: str) -> str:
    return hashlib.new(kind, path.read_bytes()).hexdigest()


class Lists:
    """An intake of four videos, and lists that know of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.intake = folder, folder / "intake"
        self.intake.mkdir()
        self.listed = make_video.make_clip(self.intake / "listed.mp4", 51, 5.0)
        self.by_vics = make_video.make_clip(self.intake / "by-vics.mp4", 52, 5.0)
        make_video.make_clip(self.intake / "new.mp4", 54, 5.0)
        known = folder / "original"
        known.mkdir()
        make_video.make_clip(known / "framed.mp4", 53, 6.0)
        make_video.make_clip(self.intake / "framed copy.mkv", 53, 6.0, crf=30)
        run("known", "add", known, "--store", folder / "theirs", "--list", "theirs", "--workers", "0")
        run("known", "export", "--store", folder / "theirs", "--format", "vpdq", "--out", folder / "vpdq")
        (folder / "md5.txt").write_text(f"{digest(self.listed, 'md5')}\n{'0' * 32}\n")
        media = {
            "MediaID": 7, "Category": 1, "MD5": digest(self.by_vics, "md5").upper(), "Series": "Blue room",
            "VictimIdentified": "False", "OffenderIdentified": True, "IsDistributed": "true", "Tags": "one,two",
        }  # fmt: skip
        head = {"@odata.context": "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Media"}
        (folder / "set.json").write_text(json.dumps({**head, "value": [media]}), encoding="utf-8-sig")
        self.store = folder / "store"
        for name, file in (("hotline", "md5.txt"), ("police", "set.json"), ("partner", "vpdq")):
            made = run("known", "import", folder / file, "--store", self.store, "--list", name,
                       "--disposition", "abuse", "--json")  # fmt: skip
            assert json.loads(made)["changes"]["videos_added"] >= 1
        self.run = self.scan("run")

    def scan(self, name: str) -> Path:
        where = self.folder / name
        run("scan", self.intake, "--store", self.store, "--run", where, "--workers", "0", "--json")
        return where


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    return Lists(tmp_path_factory.mktemp("lists"))


def rows(run: Path, name: str):
    return pq.read_table(run / f"{name}.parquet").to_pylist()


def verdicts(run: Path):
    return {row["path"].rsplit("/", 1)[1]: row for row in rows(run, "verdicts")}


def test_digests_of_a_list_clear_identical_files_and_nothing_else(lists: Lists) -> None:
    found = {name: (row["verdict"], row["reason"], row["best_known_list"]) for name, row in verdicts(lists.run).items()}
    assert found == {
        "listed.mp4": ("known", "same_bytes", "hotline"),
        "by-vics.mp4": ("known", "same_bytes", "police"),
        "framed copy.mkv": ("same_scene", "listed_frames", "partner"),
        "new.mp4": ("novel", "nothing_explained", None),
    }


def test_frames_of_a_list_are_shown_where_they_are_and_prove_nothing(lists: Lists) -> None:
    row = verdicts(lists.run)["framed copy.mkv"]
    found = [s for s in rows(lists.run, "segments") if s["video_id"] == row["video_id"]]
    alike = [s for s in found if s["kind"] == "same_scene"]
    assert {(s["known_list"], s["proof"], s["known_evidence"]) for s in alike} == {("partner", "none", "frames")}
    assert sum(s["end_seconds"] - s["start_seconds"] for s in alike) >= 4.0
    assert all(abs(s["known_start_seconds"] - s["start_seconds"]) < 1.5 for s in alike)
    assert found[0]["start_seconds"] == 0.0
    assert found[-1]["end_seconds"] == row["duration_seconds"]
    assert row["needs_review"]
    assert row["known_seconds"] == 0.0


def test_what_a_list_says_stands_beside_the_match_and_in_the_report(lists: Lists) -> None:
    row = verdicts(lists.run)["by-vics.mp4"]
    assert (row["best_known_series"], row["best_known_category"]) == ("Blue room", "US 1 child abuse material")
    assert (row["best_known_victim_identified"], row["best_known_offender_identified"]) == ("no", "yes")
    assert (row["best_known_distributed"], row["best_known_tags"], row["best_known_source"]) == (
        "yes", "one; two", "7")  # fmt: skip
    (segment,) = [s for s in rows(lists.run, "segments") if s["video_id"] == row["video_id"]]
    assert (segment["kind"], segment["proof"], segment["known_evidence"]) == ("known", "bytes", "bytes")
    assert json.loads(segment["known_lists"])[0]["list_name"] == "police"
    (entry,) = [e for e in collect(lists.run).entries if e.video_id == row["video_id"]]
    assert entry.says[0].text == (
        "abuse, US 1 child abuse material, series “Blue room”, children not identified, offender identified, "
        "distributed, tags one, two, entry 7"
    )
    page = run("report", lists.run)
    assert page
    text = (lists.run / "report" / "index.html").read_text()
    assert "no movement" in text
    assert "Blue room" in text


def test_lists_that_disagree_are_all_shown_and_a_tombstone_makes_the_verdict_fall(lists: Lists) -> None:
    feed = lists.folder / "feed.xml"
    feed.write_text(ncmec_page(ncmec_video("v1", digests=f"<md5>{digest(lists.listed, 'md5')}</md5>"), more=False))
    told = json.loads(run("known", "import", feed, "--store", lists.store, "--list", "ncmec", "--json"))
    assert told["checkpoint"] == "2026-10-24T15:10:00Z"
    before = lists.scan("disagree")
    row = verdicts(before)["listed.mp4"]
    assert {m["list_name"]: m["category"] for m in json.loads(row["best_known_lists"])} == {
        "hotline": "", "ncmec/42": "A1"}  # fmt: skip
    run("known", "remove", "--store", lists.store, "--list", "hotline", "--reason", "test")
    assert json.loads(run("known", "recheck", before, "--store", lists.store, "--json")) == []
    page = ncmec_page(ncmec_video("v1", tag="deletedVideo", time="2026-10-25T00:00:00Z"), more=False)
    (lists.folder / "later.xml").write_text(page)
    told = json.loads(
        run("known", "import", lists.folder / "later.xml", "--store", lists.store, "--list", "ncmec", "--json")
    )
    assert told["changes"]["memberships_removed"] == 1
    (fallen,) = json.loads(run("known", "recheck", before, "--store", lists.store, "--json"))
    assert fallen["path"].endswith("listed.mp4")
    assert verdicts(lists.scan("afterwards"))["listed.mp4"]["verdict"] == "novel"


def test_what_each_format_says_reaches_verdict_segment_report_and_export(lists: Lists, tmp_path: Path) -> None:
    md5, sha1, sha256 = (digest(lists.listed, kind) for kind in ("md5", "sha1", "sha256"))
    vics = {"MediaID": 7, "Category": 1, "MD5": md5, "Series": "Blue", "VictimIdentified": "False", "Tags": "a,b",
            "OffenderIdentified": True, "IsDistributed": "true"}  # fmt: skip
    files = {
        "csv": (
            "md5,series,category,victim_identified,offender_identified,distributed,tags\n"
            f"{md5},Red,gross,no,yes,no,a;b\n"
        ),
        "vics": json.dumps({"value": [vics]}),
        "caid": json.dumps({"odata.metadata": "CAID#Media", "value": [{**vics, "Category": 0}]}),
        "ncmec": ncmec_page(ncmec_video("v1", digests=f"<md5>{md5}</md5>"), more=False),
        "sha256": f"{sha256}\n",
        "sha1": f"{sha1}\n",
    }
    store = tmp_path / "store"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        kind = "digests" if name.startswith("sha") else name
        run("known", "import", tmp_path / name, "--store", store, "--list", name, "--format", kind,
            "--disposition", "abuse" if name != "caid" else "benign")  # fmt: skip
    where = tmp_path / "run"
    run("scan", lists.listed, "--store", store, "--run", where, "--workers", "0", "--json")
    (row,) = rows(where, "verdicts")
    (segment,) = rows(where, "segments")
    assert (row["verdict"], row["reason"], segment["known_lists"]) == ("known", "same_bytes", row["best_known_lists"])
    said = {m["list_name"]: m for m in json.loads(row["best_known_lists"])}
    assert set(said) == {"csv", "vics", "caid", "ncmec/42", "sha256", "sha1"}
    told = ("category", "series", "victim_identified", "offender_identified", "distributed", "tags", "disposition")
    assert {name: tuple(m[key] for key in told) for name, m in said.items()} == {
        "csv": ("gross", "Red", "no", "yes", "no", ["a", "b"], "abuse"),
        "vics": ("US 1 child abuse material", "Blue", "no", "yes", "yes", ["a", "b"], "abuse"),
        "caid": ("NIST 0 CAID", "Blue", "no", "yes", "yes", ["a", "b"], "benign"),
        "ncmec/42": ("A1", "", "unknown", "unknown", "unknown", ["Example Member"], "abuse"),
        "sha256": ("", "", "unknown", "unknown", "unknown", [], "abuse"),
        "sha1": ("", "", "unknown", "unknown", "unknown", [], "abuse"),
    }
    assert (row["best_known_list"], row["best_known_victim_identified"]) == ("csv", "no")
    (entry,) = collect(where).entries
    assert {one.name for one in entry.says} == set(said)
    run("export", where, "--format", "csv", "--out", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        (exported,) = csv.DictReader(file)
    assert (exported["category"], exported["series"], exported["victim_identified"]) == ("gross", "Red", "no")
    assert "US 1 child abuse material" in exported["tags"]


def test_import_tells_bad_rows_refuses_them_when_strict_and_changes_nothing_when_dry(tmp_path: Path) -> None:
    file, store = tmp_path / "list.txt", tmp_path / "store"
    file.write_text(f"{'a' * 32}\nnonsense\n{'b' * 32}\n")
    assert "1 bad row(s)" in run("known", "import", file, "--store", store, "--list", "x", "--strict", code=2)
    assert KnownStore.open(store).snapshot().number == 0
    told = run("known", "import", file, "--store", store, "--list", "x", "--dry-run", code=3)
    assert "would be changed: videos added 2" in told
    assert KnownStore.open(store).snapshot().number == 0
    told = json.loads(run("known", "import", file, "--store", store, "--list", "x", "--json", code=3))
    assert (told["bad"], told["problems"]) == (1, ["list.txt: byte 33: no MD5, SHA-1 or SHA-256: 'nonsense'"])
    assert KnownStore.open(store).snapshot().n_videos == 2
    assert not list((store / "work").glob("*")) if (store / "work").exists() else True


def test_what_is_exported_is_imported_again_as_it_was(lists: Lists, tmp_path: Path) -> None:
    theirs = KnownStore.open(lists.folder / "theirs").snapshot()
    for name in ("csv", "vics", "md5", "sha256"):
        out = tmp_path / f"out.{name}"
        run("known", "export", "--store", lists.folder / "theirs", "--format", name, "--out", out)
        store = tmp_path / f"store-{name}"
        run("known", "import", out, "--store", store, "--list", "again", "--disposition", "other")
        asked = [ContentHashes(v.video_id, v.md5, v.sha1, 0) for v in theirs.videos()]
        assert all(KnownStore.open(store).snapshot().lookup(asked)), name


def test_verdicts_are_exported_for_other_tools(lists: Lists, tmp_path: Path) -> None:
    run("export", lists.run, "--format", "vics", "--out", tmp_path / "verdicts.json")
    document = json.loads((tmp_path / "verdicts.json").read_text())
    assert document["@odata.context"].endswith("2.0.xml/US/$metadata#Media")
    found = {m["MediaFiles"][0]["FileName"]: m for m in document["value"]}
    assert len(found) == 4
    known, new = found["by-vics.mp4"], found["new.mp4"]
    assert (known["Category"], known["Series"], known["IsPrecategorized"]) == (1, "Blue room", True)
    assert known["MD5"] == digest(lists.by_vics, "md5").upper()
    assert "videonovelty:known" in known["Tags"]
    assert "list:police" in known["Tags"]
    assert (new["Category"], new["IsPrecategorized"]) == (0, False)
    assert "in no known video: 0:00.0-0:0" in new["Comments"]
    run("export", lists.run, "--format", "csv", "--out", tmp_path / "verdicts.csv")
    with (tmp_path / "verdicts.csv").open(newline="") as file:
        rows_ = list(csv.DictReader(file))
    assert {row["verdict"] for row in rows_} == {"known", "same_scene", "novel"}
    assert "exists" in run("export", lists.run, "--format", "csv", "--out", tmp_path / "verdicts.csv", code=2)


def test_a_bundle_carries_the_proof_and_no_names(lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    def keys(name: str) -> tuple[Path, Path]:
        key = Ed25519PrivateKey.generate()
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        return private, public

    (ours, ours_public), (_, other_public) = keys("ours"), keys("other")
    out, store = tmp_path / "bundle", tmp_path / "store"
    run("known", "export", "--store", lists.folder / "theirs", "--format", "bundle", "--out", out, "--sign-key", ours)
    assert all(b"framed.mp4" not in path.read_bytes() for path in out.iterdir())
    assert "framed" not in json.dumps(pq.read_table(out / "videos.parquet")["lists"].to_pylist())
    refused = run("known", "import", out, "--store", store, "--list", "p", "--trusted-key", other_public, code=2)
    assert "not signed by" in refused
    unsaid = run("known", "import", out, "--store", store, "--list", "p", code=2)
    assert "--trusted-key, or say --unsigned" in unsaid
    run("known", "import", out, "--store", store, "--list", "p", "--trusted-key", ours_public)
    used = scheme(Settings().signatures)
    theirs, imported = (KnownStore.open(at).snapshot() for at in (lists.folder / "theirs", store))
    ids = [video.video_id for video in theirs.videos()]
    kept, carried = theirs.motion_of(ids, used), imported.motion_of(ids, used)
    assert kept
    assert kept.keys() == carried.keys()
    for one, other in zip(kept.values(), (carried[video_id] for video_id in kept), strict=True):
        assert one.levels is not None
        assert all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("signs", "fine", "levels"))
    where = tmp_path / "run"
    run("scan", lists.intake / "framed copy.mkv", "--store", store, "--run", where, "--workers", "0", "--json")
    (row,) = rows(where, "verdicts")
    assert (row["verdict"], row["best_known_list"]) == ("known", "p/theirs")
    data = bytearray((out / "videos.parquet").read_bytes())
    data[100] ^= 1
    (out / "videos.parquet").write_bytes(data)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", None)  # an altered file is refused before anything reads it
    for trust in (("--unsigned",), ("--trusted-key", ours_public)):
        assert "damaged or altered" in run("known", "import", out, "--store", store, "--list", "p", *trust, code=2)
    (out / "manifest.sig").unlink()
    assert "manifest.sig is missing" in run(
        "known", "import", out, "--store", store, "--list", "p", "--trusted-key", ours_public, code=2
    )


def test_the_commands_of_the_readme_run(lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    block = readme.split("### Lists in and out")[1].split("```")[1]
    for name, source in (("hashes.txt", "md5.txt"), ("set.json", "set.json")):
        (tmp_path / name).write_bytes((lists.folder / source).read_bytes())
    (tmp_path / "feed.xml").write_text(ncmec_page(ncmec_video("v9"), more=False))
    shutil.copytree(lists.folder / "vpdq", tmp_path / "vpdq-files")
    shutil.copytree(lists.folder / "theirs", tmp_path / "known")
    shutil.copytree(lists.run, tmp_path / "runs" / "monday")
    monkeypatch.chdir(tmp_path)
    commands = [line.split() for line in block.strip().splitlines()]
    assert len(commands) == 7
    for program, *arguments in commands:
        assert program == "videonovelty"
        run(*arguments)
    assert {"known.json", "for-partner", "verdicts.json"} <= {path.name for path in tmp_path.iterdir()}
