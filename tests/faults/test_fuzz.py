"""T26: a sample of the fuzz run (`fuzz.py` has the whole), and the collection of malformed files."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from conftest import children_of
from fuzz import CONTAINERS, fuzz, mutated, originals

from videonovelty.errors import Reason, VideoError
from videonovelty.intake import display_path, enumerate_intake, opened, sight, unchanged
from videonovelty.known.store import KnownStore
from videonovelty.sandbox import Sandbox
from videonovelty.settings import IntakeSettings, load_settings

MAIN = "from videonovelty.cli.app import main; main()"
SHARED = Path(os.environ.get("VIDEONOVELTY_SHARED", Path(__file__).parents[3] / "shared"))


def test_damaged_copies_each_end_in_one_answer():
    counts, wrong = fuzz(list(CONTAINERS), range(5))
    assert wrong == []
    for container, found in counts.items():
        assert sum(number for reason, number in found.items() if not reason.startswith(" ")) == 5, container


@pytest.mark.slow
def test_no_damaged_copy_makes_the_decoder_try_a_forbidden_call():
    """Denied calls fail with EPERM, which a decoder might blame on the file; here they kill, so they would be seen."""
    _, wrong = fuzz(list(CONTAINERS), range(1000, 1040), kill_on_denied=True)
    assert wrong == []


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("copies", "workers"),
    [
        pytest.param(4, 0, id="few"),
        pytest.param(100, 2, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_scan_of_damaged_copies_and_malformed_files_has_one_row_for_each(tmp_path, copies, workers):
    """In a process of its own, which must live; nothing is written but its run folder, and no process is left."""
    intake, home = tmp_path / "intake", tmp_path / "home"
    intake.mkdir()
    home.mkdir()
    for container, whole in originals(tmp_path).items():
        for seed in range(copies):
            (intake / f"{seed}.{container}").write_bytes(mutated(whole, seed))
    intakes = [intake]
    if copies > 10 and (SHARED / "hostile").is_dir():
        intakes.append(SHARED / "hostile")
    before = [digests(folder) for folder in intakes]

    KnownStore.create(tmp_path / "store")
    store = digests(tmp_path / "store")
    words = ["scan", *intakes, "--store", tmp_path / "store", "--run", tmp_path / "run", "--workers", workers]
    environment = {"VIDEONOVELTY_INTAKE__SETTLE_SECONDS": "0", "VIDEONOVELTY_SANDBOX__CPU_SECONDS_BASE": "10"}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", MAIN, *map(str, words)]
    scanned = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert scanned.returncode == 3, scanned.stderr
    assert "Traceback" not in scanned.stderr

    rows = pq.read_table(tmp_path / "run" / "verdicts.parquet").to_pylist()
    files = [path for folder in intakes for path in folder.rglob("*")]
    assert Counter(row["path"] for row in rows) == Counter(display_path(os.fsencode(path)) for path in files)
    assert all(row["needs_review"] and row["reason"] for row in rows)
    assert [digests(folder) for folder in intakes] == before
    assert digests(tmp_path / "store") == store
    assert {path.name for path in tmp_path.iterdir()} == {"intake", "home", "store", "run"}
    assert list(home.iterdir()) == []
    left = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path / "run") in " ".join(p.info["cmdline"] or [])]
    assert left == []


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "hostile").is_dir(), reason="the collection of malformed files is not here")
def test_each_malformed_file_ends_in_one_answer_and_stays_as_it_was():
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (SHARED / "hostile").iterdir())
    answers = {}
    with Sandbox(load_settings(), kill_on_denied=True) as sandbox:
        zygote = sandbox._running().process
        for entry in enumerate_intake([SHARED / "hostile"], IntakeSettings()):
            name = display_path(entry.path_raw)
            sighting, hashes = sight(entry.path_raw, IntakeSettings())
            assert hashes is not None
            with opened(entry.path_raw) as fd:
                try:
                    signed = sandbox.sign(fd, video_id=sighting.video_id, name=name)
                    assert signed.signatures.video_id == sighting.video_id
                    answers[name] = None
                except VideoError as error:
                    answers[name] = error.reason
                assert unchanged(fd, sighting)
        assert sandbox._running().process is zygote
        assert children_of(zygote.pid) == []
    assert len(answers) == len(before)
    ours = {Reason.PROTOCOL_VIOLATION, Reason.CRASHED, Reason.STALLED, Reason.WALL_LIMIT}
    assert not ours & set(answers.values()), answers
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (SHARED / "hostile").iterdir()) == before
