"""The one entry to the benchmarks, and the arithmetic of their figures. What they measure is not tested here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import __main__ as entry
from benchmarks import end_to_end, peers, speed_footage

FOLDER = Path(entry.__file__).parent


def test_every_benchmark_is_listed_with_its_peers() -> None:
    assert set(entry.BENCHMARKS) >= set(entry.SPECIAL) | {"many_clips", "full_night", "report"}
    assert not set(entry.BENCHMARKS) & {"accuracy_footage", "made_codes", "speed_footage", "vpdq_method"}
    assert all(one.about for one in entry.BENCHMARKS.values())
    text = entry.listing()
    assert all(f"| {name} |" in text for name in entry.BENCHMARKS)


@pytest.mark.parametrize("speed", [0.5, 0.67, 0.9, 1.0, 1.1, 2.0])
def test_footage_at_another_speed_shows_what_a_player_would(speed: float) -> None:
    shown = speed_footage.played([np.full((2, 2, 3), n, np.uint8) for n in range(100)], speed)
    assert len(shown) == int(100 / speed)
    assert [int(one[0, 0, 0]) for one in shown] == [int(n * speed) for n in range(len(shown))]


@pytest.mark.parametrize("name", entry.SPECIAL)
def test_arguments_are_ones_the_benchmark_takes(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    source = (FOLDER / f"{name}.py").read_text()
    for videos in (None, tmp_path):
        words = entry.arguments(name, videos, tmp_path / "out")
        if words is None:
            assert name == "signatures"  # nothing is drawn for it
            continue
        assert all(f'"{word}"' in source for word in words if word.startswith("--"))
        if entry.BENCHMARKS[name].videos in ("files", "folder"):
            assert '"videos"' in source


def test_a_benchmark_that_fails_is_told_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run(name: str, words: list[str], out: Path) -> dict[str, object]:
        ran.append((name, words[-1]))
        (out / f"{name}.log").write_text(f"table of {name}")
        return {"exit_code": int(name == "join"), "seconds": 1.0, "log": f"{name}.log"}

    monkeypatch.setattr(entry, "run", run)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "join", "signatures", "store", "--out", str(tmp_path), "--", "--x"])
    assert entry.main() == 1
    assert ran == [("join", "--x"), ("store", "--x")]
    page = capsys.readouterr().out
    assert "ended with 1; see join.log" in page
    assert "skipped: needs --videos" in page
    assert "table of store" in page
    assert json.loads((tmp_path / "index.json").read_text())["ended"]["store"]["exit_code"] == 0


def test_cost_of_a_mix_follows_from_its_parts() -> None:
    assert all(sum(mix.values()) == pytest.approx(1.0) for mix in end_to_end.MIXES.values())
    per_hour = {kind: {end_to_end.OURS: 100.0, "vPDQ": 150.0, "TMK": 300.0} for kind in end_to_end.KINDS}
    per_hour["bytes"][end_to_end.OURS] = 0.0
    found = end_to_end.mixed(per_hour)
    assert found["nothing known"] == {end_to_end.OURS: 100.0, "vPDQ": 150.0, "TMK": 300.0}
    assert end_to_end.times(found["nothing known"]) == {"vPDQ": 1.5, "TMK": 3.0}
    assert found["80 % known: bytes only"][end_to_end.OURS] == pytest.approx(20.0)
    assert end_to_end.times(found["80 % known: bytes only"])["vPDQ"] == pytest.approx(7.5)


def _codes(*bits: int) -> npt.NDArray[np.uint8]:
    """One code a number: so many of its 256 bits set."""
    return np.stack([np.packbits(np.arange(256) < n) for n in bits])


def test_vpdq_counts_by_both_conventions() -> None:
    peer = peers.VpdqMethod()
    known = {"all of it": _codes(0, 100, 200), "more than it": _codes(0, 100, 200, 150, 250), "else": _codes(240)}
    query = _codes(31, 100, 200)
    assert peer.matches(query, known, "of the query") == ["all of it", "more than it"]
    assert peer.matches(query, known, "of both") == ["all of it"]
    assert peer.matches(_codes(32), {"off by one bit more": _codes(0)}, "of the query") == []
    assert peer.matches(_codes(1)[:0], known, "of the query") == []


def test_videohash_counts_85_per_cent_of_the_bits() -> None:
    known = {"alike": (1 << 9) - 1, "not alike": (1 << 10) - 1, "no answer": None}
    assert peers.Videohash().matches(0, known, "") == ["alike"]
    assert peers.Videohash().matches(None, known, "") == []


def test_copies_found_and_wrong_matches_are_counted_apart() -> None:
    truth = [
        {"name": "a", "kind": "copy", "edit": "crop", "known": "k1"},
        {"name": "b", "kind": "copy", "edit": "crop", "known": "k2"},
        {"name": "c", "kind": "copy", "edit": "hue", "known": "k2"},
        {"name": "d", "kind": "novel", "edit": "hue", "known": ""},
        {"name": "e", "kind": "novel", "edit": "hue", "known": ""},
    ]
    said = {"a": ["k1", "k2"], "b": [], "c": ["k2"], "d": [], "e": ["k1"]}
    found = peers.counted(truth, said)
    assert (found["found"], found["copies"], found["wrong"], found["without_known"]) == (2, 3, 2, 2)
    assert found["by_edit"] == {"crop": [1, 2], "hue": [1, 1]}
    assert found["least_of_an_edit"] == 0.5
    low, high = found["interval"]
    assert low < 2 / 3 < high


def test_a_pairwise_program_is_shown_the_source_and_one_other() -> None:
    kept = {f"k{n}": n for n in range(5)}
    for at in range(7):
        shown = peers._shown(peers.FfmpegSignature(), kept, "k2", at)
        assert len(shown) == 2
        assert shown["k2"] == 2
        assert len(peers._shown(peers.FfmpegSignature(), kept, "", at)) == 1
    assert peers._shown(peers.VpdqMethod(), kept, "k2", 0) == kept


def test_what_cannot_be_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda _: None)
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
    absent = peers.missing()
    assert set(absent) == set(peers.PEERS) - {"vPDQ's method"}
    assert "ffmpeg program" in absent["ffmpeg signature"]
    assert "bench-native" in absent["vPDQ"]
