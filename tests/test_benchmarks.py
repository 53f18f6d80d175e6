"""The one entry to the benchmarks, and the arithmetic of their figures. What they measure is not tested here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as entry
from benchmarks import end_to_end, speed_footage

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
    per_hour = {kind: {"ours": 100.0, "vPDQ": 150.0} for kind in end_to_end.KINDS}
    per_hour["bytes"]["ours"] = 0.0
    found = end_to_end.mixed(per_hour)
    assert found["nothing known"] == {"ours": 100.0, "vPDQ": 150.0, "times": 1.5}
    assert found["80 % known: bytes only"]["ours"] == pytest.approx(20.0)
    assert found["80 % known: bytes only"]["times"] == pytest.approx(7.5)
