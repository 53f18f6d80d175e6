"""What a night's figures are held against, and when its lists count as stale."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from make_run import RunTables, known
from test_list_update import digest, imported

from videonovelty.known import KnownStore
from videonovelty.known import manifest as manifests
from videonovelty.known.listed import ListedItem, Withdrawal
from videonovelty.settings import ReportSettings
from videonovelty.unusual import PastRun, against_past, figures, matched, past_runs, stale_lists

SETTINGS = ReportSettings()
USUAL = [PastRun(1000, 10 + n % 3, 5000, 8.0 + n % 3) for n in range(10)]


def document(day: int, **facts: Any) -> dict[str, Any]:
    """Return a run.json."""
    return {
        "status": "done",
        "started_at": f"2026-11-{day:02d}T22:00:00Z",
        "store": {"path": "/srv/known", "snapshot": 4},
        "scheme": "s",
        "counts": {"files": {"sightings": 1000}, "reasons": {"corrupt": 10, "wall_limit": 2, "proven_by_time": 988}},
        "matched": {"keyframes": 5000, "median_distance_bits": 8.0},
        **facts,
    }


def a_run(runs: Path, day: int, **facts: Any) -> Path:
    folder = runs / f"2026-11-{day:02d}"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(document(day, **facts)))
    return folder


def test_the_median_distance_weighs_stretches_by_their_keyframes_and_counts_proven_ones_only(tmp_path: Path) -> None:
    t = RunTables()
    t.add("a", "partly_known", "parts_explained", [
        (0, 10, "known", known("k", 0, 10, frames=30, median_distance_bits=6.0)),
        (10, 20, "known", known("k", 10, 20, frames=20, median_distance_bits=12.0)),
        (20, 30, "known", known("k", 20, 30, frames=11, median_distance_bits=16.0)),
        (30, 99, "same_scene", known("k", 0, 69, frames=900, median_distance_bits=30.0, proof="none")),
        (99, 120, "known", known("k", 0, 21, frames=900, median_distance_bits=None, proof="bytes")),
    ])  # fmt: skip
    t.write(tmp_path / "run")
    assert matched(tmp_path / "run" / "segments.parquet") == {"keyframes": 61, "median_distance_bits": 12.0}
    RunTables().write(tmp_path / "empty")
    assert matched(tmp_path / "empty" / "segments.parquet") == {"keyframes": 0}


def test_past_runs_are_the_finished_ones_beside_it_that_began_before_on_the_same_store(tmp_path: Path) -> None:
    for day in (3, 1, 2):
        a_run(tmp_path, day, matched={"keyframes": day, "median_distance_bits": 8.0})
    tonight = a_run(tmp_path, 9)
    a_run(tmp_path, 10)
    a_run(tmp_path, 4, status="running")
    a_run(tmp_path, 5, store={"path": "/srv/other", "snapshot": 4})
    a_run(tmp_path, 6, scheme="another")
    (a_run(tmp_path, 7) / "run.json").write_text('{"status": "purged", "journal": []}')
    (a_run(tmp_path, 8) / "run.json").write_text("[" * 100_000)
    (tmp_path / "notes.txt").write_text("x")
    assert [one.keyframes for one in past_runs(tonight, document(9), 30)] == [1, 2, 3]
    assert [one.keyframes for one in past_runs(tonight, document(9), 2)] == [2, 3]
    assert past_runs(tonight, document(9), 0) == []
    assert figures(document(9)) == PastRun(1000, 12, 5000, 8.0)


@pytest.mark.parametrize(
    ("bits", "keyframes", "past", "warns"),
    [
        (15.0, 5000, USUAL, True),
        (3.0, 5000, USUAL, True),
        (12.0, 5000, USUAL, False),
        (15.0, 40, USUAL, False),
        (15.0, 5000, USUAL[:4], False),
        (15.0, 5000, [replace(one, keyframes=20) for one in USUAL], False),
        (15.0, 5000, [*USUAL, replace(USUAL[0], distance_bits=16.0)], False),
    ],
)
def test_a_drift_of_distances_is_told_when_no_past_run_was_like_it(
    bits: float, keyframes: int, past: list[PastRun], warns: bool
) -> None:
    found = list(against_past(PastRun(1000, 12, keyframes, bits), past, SETTINGS))
    assert bool(found) is warns
    assert not warns or (found[0].startswith("Drift: ") and f"{bits:g} bits" in found[0] and "9 (8 to 10)" in found[0])


@pytest.mark.parametrize(
    ("files", "failed", "past", "warns"),
    [
        (1000, 45, USUAL, True),
        (1000, 20, USUAL, False),
        (20, 3, USUAL, False),
        (100, 5, USUAL, True),
        (1000, 45, USUAL[:4], False),
        (1000, 45, [replace(one, failed=40) for one in USUAL], False),
        (1000, 6, [replace(one, failed=0) for one in USUAL], True),
    ],
)
def test_many_refusals_are_told_against_what_past_nights_had(
    files: int, failed: int, past: list[PastRun], warns: bool
) -> None:
    found = list(against_past(PastRun(files, failed, 0, None), past, SETTINGS))
    assert [text.split(":")[0] for text in found] == (["Many refusals"] if warns else [])


def test_a_list_is_stale_when_its_newest_entry_is_old_and_a_feed_is_one_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KnownStore.create(tmp_path / "store")
    now = datetime(2026, 11, 25, tzinfo=UTC)

    def put(days: int, name: str, *entries: Any) -> None:
        monkeypatch.setattr(manifests, "now", (now - timedelta(days=days)).isoformat)
        imported(store, tmp_path / f"work-{days}-{name}", entries, name=name)

    put(400, "gone", ListedItem(1, md5=digest("md5", 1), entry="1"))
    put(300, "feed", ListedItem(1, md5=digest("md5", 2), entry="2", member="7"))
    put(200, "hotline", ListedItem(1, md5=digest("md5", 3), entry="3"))
    put(100, "gone", Withdrawal(1, "1"))
    put(10, "feed", ListedItem(1, md5=digest("md5", 4), entry="4", member="8"))
    told = list(stale_lists(store.snapshot(), 45, now))
    assert [text.split("”")[0] for text in told] == ["Stale list: the newest entry of “hotline"]
    assert "200 days ago" in told[0]
    assert list(stale_lists(store.snapshot(), 200, now)) == list(stale_lists(store.snapshot(), 0, now)) == []
    store.compact(actor="a", reason="r")
    assert list(stale_lists(store.snapshot(), 45, now)) == told
