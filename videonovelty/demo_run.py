"""The demo: footage nobody needs to bring, through the same functions a night goes through."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.table import Table

from videonovelty.batch import Report, signing_fingerprint
from videonovelty.demo import DemoFootage, make_demo_footage
from videonovelty.engine import open_engine
from videonovelty.enrolment import enrol, finished, store_identity, work_folder
from videonovelty.intake import display_path
from videonovelty.known.store import KnownStore
from videonovelty.records import ListMembership
from videonovelty.report.html import write_report
from videonovelty.run import RunFolder
from videonovelty.screening import screen
from videonovelty.settings import Settings
from videonovelty.signatures import self_check


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo showed."""

    table: Table
    document: Mapping[str, Any]
    page: Path
    wrong: int
    """Files whose verdict is not among the right ones."""


def run_demo(folder: Path, settings: Settings, *, say: Callable[[str], None], report: Report) -> DemoResult:
    """Make footage, a store and a run under `folder`, and return the outcome. What an earlier demo left is replaced."""
    self_check()
    folder = folder.absolute()
    for name in ("originals", "intake", "known", "run"):
        shutil.rmtree(folder / name, ignore_errors=True)
    say(f"making sample footage in {folder}")
    footage = make_demo_footage(folder, progress=lambda name: say(f"  {name}"))
    store = KnownStore.create(folder / "known")
    fingerprint = signing_fingerprint(settings)
    originals = [folder / "originals"]
    work = work_folder(store, originals, "demo")
    work.parent.mkdir(mode=0o700, exist_ok=True)
    with open_engine(settings.run, workers=settings.run.workers, local_directory=folder / "workers") as engine:
        say("enrolling the originals")
        with RunFolder.open(work, store_id=store_identity(store), settings=settings, fingerprint=fingerprint) as run:
            enrol(
                originals,
                store=store,
                run=run,
                engine=engine,
                settings=settings,
                fingerprint=fingerprint,
                membership=ListMembership("demo", "other", series="demo series"),
                actor=getpass.getuser(),
                reason="demo",
                report=report,
            )
        finished(work)
        say("screening the intake")
        run_path = folder / "run"
        with RunFolder.open(
            run_path, store_id=store_identity(store), settings=settings, fingerprint=fingerprint
        ) as run:
            result = screen(
                [folder / "intake"],
                store=store,
                run=run,
                engine=engine,
                settings=settings,
                report=report,
                fingerprint=fingerprint,
            )
    page = write_report(run_path, settings.report)
    table, wrong = _outcome(footage, run_path)
    return DemoResult(table, result.document, page, wrong)


def _outcome(footage: DemoFootage, run_path: Path) -> tuple[Table, int]:
    rows = {row["path"]: row for row in pq.read_table(run_path / "verdicts.parquet").to_pylist()}
    table = Table("file", "what it is", "verdict", "new", "reason", title="The demo's intake", title_justify="left")
    wrong = 0
    for file in footage.intake:
        row = rows[display_path(bytes(file.path))]
        right = row["verdict"] in file.verdicts
        wrong += not right
        table.add_row(
            file.path.name,
            file.what,
            row["verdict"] + ("" if right else f" (expected {' or '.join(file.verdicts)})"),
            f"{row['novel_seconds']:.1f} s" if row["novelty"] is not None else "–",
            row["reason"],
        )
    return table, wrong
