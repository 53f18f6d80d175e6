"""Imports that are killed: resumed by the same command, swept when they cannot be, nothing lost or added."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from test_screening import run

from videonovelty.known import spill
from videonovelty.known.store import KnownStore

ROWS = 90
IMPORT = """
    import sys, time
    from pathlib import Path
    from videonovelty.known import importing, manifest, spill, store
    from videonovelty.known.formats.reading import ReadOptions

    spill.RUN_ROWS, spill._BATCH_ROWS = 32, 16
    list_file, moment = Path(sys.argv[2]), sys.argv[3]
    known = store.KnownStore.create(Path(sys.argv[1]))

    def stand_still(*_):
        print("now", flush=True)
        time.sleep(600)

    if moment == "reading":
        ended = spill.Spill.end_run
        def end_run(self):
            ended(self)
            if self._runs == 2:
                stand_still()
        spill.Spill.end_run = end_run
    elif moment == "committing":
        store.manifests.commit = stand_still
    elif moment == "committed":
        spill.Spill.discard = stand_still
    made = importing.import_lists([list_file], store=known, list_name="feed", options=ReadOptions(),
                                  actor="anna")
    print(made.resumed, made.changes["videos_added"], made.entries)
"""


def a_list(path: Path, seed: str = "") -> Path:
    path.write_text("".join(f"{hashlib.md5(f'{seed}{n}'.encode()).hexdigest()}\n" for n in range(ROWS)))
    return path


def importing(store: Path, file: Path, moment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(IMPORT), str(store), str(file), moment]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed(store: Path, file: Path, moment: str) -> None:
    """Import, and kill the process with SIGKILL at a moment of its work."""
    with importing(store, file, moment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def left_over(store: Path) -> list[str]:
    return sorted(p.name for p in (store / "work").glob("*")) if (store / "work").exists() else []


@pytest.mark.parametrize(("moment", "said"), [("reading", f"True {ROWS} {ROWS}"), ("committed", f"True 0 {ROWS}")])
def test_an_import_killed_at_any_moment_is_completed_by_the_same_command(
    tmp_path: Path, moment: str, said: str
) -> None:
    store, file = tmp_path / "store", a_list(tmp_path / "feed.txt")
    killed(store, file, moment)
    assert len(left_over(store)) == 1
    assert KnownStore.open(store).snapshot().n_videos == (ROWS if moment == "committed" else 0)
    KnownStore.open(store).sweep()  # what can be resumed is kept
    assert len(left_over(store)) == 1
    with importing(store, file, "") as process:
        out, _ = process.communicate()
    assert out.strip() == said
    assert left_over(store) == []
    assert KnownStore.open(store).snapshot().n_videos == ROWS
    assert KnownStore.open(store).verify() == []


def test_what_a_killed_import_left_goes_when_its_file_is_gone_or_another(tmp_path: Path) -> None:
    store, file = tmp_path / "store", a_list(tmp_path / "feed.txt")
    killed(store, file, "committing")
    a_list(file, seed="newer ")
    told = json.loads(run("known", "import", file, "--store", store, "--list", "feed", "--json"))
    assert (told["resumed"], told["changes"]["videos_added"]) == (False, ROWS)
    assert left_over(store) == []
    killed(store, a_list(file, seed="third "), "reading")
    file.unlink()
    KnownStore.open(store).sweep()
    assert left_over(store) == []
    named = {path for f in KnownStore.open(store).snapshot().manifest.files for path in (f.path, f.index_path)}
    present = {f"{p.parent.name}/{p.name}" for name in ("videos", "index") for p in (store / name).iterdir()}
    assert present <= named
    assert KnownStore.open(store).verify() == []


def test_an_import_that_runs_and_one_just_begun_are_left_alone(tmp_path: Path) -> None:
    store, file = tmp_path / "store", a_list(tmp_path / "feed.txt")
    with importing(store, file, "reading") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        file.unlink()
        assert spill.sweep_imports(store) == 0
        assert len(left_over(store)) == 1
        process.kill()
    begun = store / "work" / "import-0000000000000000"
    begun.mkdir()
    assert spill.sweep_imports(store) == 1
    assert left_over(store) == [begun.name]
    os.utime(begun, (0, time.time() - spill.UNNAMED_SECONDS - 60))
    assert spill.sweep_imports(store) == 1
    assert left_over(store) == []
