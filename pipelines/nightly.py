"""The nightly job: import new lists, screen tonight's intake, group, report, hand metrics on, let old nights go.

    python -m pipelines.nightly sample_config/nightly.toml

Run it again to resume: what is done is not done again. Exit codes are those of `videonovelty scan`.
"""

from __future__ import annotations

import argparse
import functools
import getpass
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from videonovelty.batch import signing_fingerprint
from videonovelty.cli.app import exit_code
from videonovelty.cli.console import StageProgress, say
from videonovelty.cli.scanning import print_summary
from videonovelty.engine import TlsFiles, open_engine
from videonovelty.enrolment import store_identity
from videonovelty.errors import SettingsError, VideoNoveltyError
from videonovelty.known import KnownStore, importing
from videonovelty.known.formats.reading import ReadOptions
from videonovelty.metrics import copy_metrics
from videonovelty.report.decided import decided_so_far
from videonovelty.report.html import write_report
from videonovelty.retention import purge, remove_signatures
from videonovelty.run import RunFolder, write_file
from videonovelty.runlog import json_log
from videonovelty.screening import screen
from videonovelty.settings import Settings, load_settings
from videonovelty.signatures import self_check

RESUMED_FOR = timedelta(hours=20)
"""A night that was begun this long ago at most and is not finished is resumed, whatever the date has become."""


def import_lists(settings: Settings) -> int:
    """Import the lists that are new or changed since the last night; return how many were not taken whole.

    Each folder in `nightly.lists` is one list, of the folder's name. One that cannot be read does not stop the night:
    what it would have cleared goes to a person.
    """
    if not settings.nightly.lists:
        return 0
    store = KnownStore.create(settings.nightly.store)
    state = settings.nightly.runs / "lists.json"
    seen = json.loads(state.read_bytes()) if state.is_file() else {}
    troubled = 0
    for folder in sorted(path for path in Path(settings.nightly.lists).iterdir() if path.is_dir()):
        stamps = {str(p): [p.stat().st_size, p.stat().st_mtime_ns] for p in sorted(folder.iterdir()) if p.is_file()}
        new = [Path(path) for path, stamp in stamps.items() if seen.get(path) != stamp]
        if not new:
            continue
        try:
            result = importing.import_lists(
                new,
                store=store,
                list_name=folder.name,
                options=ReadOptions(settings.lists),
                actor=getpass.getuser(),
                reason="nightly import",
            )
        except VideoNoveltyError as error:
            say(f"list {folder.name}: not imported: {error}")
            troubled += 1
            continue
        say(f"list {folder.name}: snapshot {result.snapshot}, {result.entries} entries, {result.bad} bad rows")
        troubled += bool(result.bad or result.unread)
        seen |= {str(path): stamps[str(path)] for path in new}
        write_file(state, functools.partial(_write_json, seen))
    return troubled


def _write_json(document: object, file: IO[bytes]) -> None:
    file.write(json.dumps(document, indent=1).encode("ascii"))


def scan(settings: Settings, run: Path, scheduler: str | None, tls: TlsFiles | None) -> int:
    """Screen and group the intake into `run` and return how many files were flagged."""
    self_check()
    store = KnownStore.open(settings.nightly.store)
    fingerprint = signing_fingerprint(settings)
    with (
        RunFolder.open(run, store_id=store_identity(store), settings=settings, fingerprint=fingerprint) as folder,
        json_log(run) as log,
        open_engine(
            settings.run, workers=settings.run.workers, scheduler=scheduler, tls=tls, local_directory=run / "workers"
        ) as engine,
        StageProgress(log=log) as progress,
    ):
        result = screen(
            settings.nightly.intake,
            store=store,
            run=folder,
            engine=engine,
            settings=settings,
            report=progress,
            fingerprint=fingerprint,
            grouping="group" not in settings.nightly.skip,
        )
    print_summary(result.document)
    return result.flagged


def report(settings: Settings, run: Path) -> None:
    """Write the novelty report of `run`."""
    say(f"report: {write_report(run, settings.report, decided=decided_so_far(run, settings.nightly.store))}")


def metrics(settings: Settings, run: Path) -> None:
    """Hand the figures of `run` to the machine's metrics collector."""
    if settings.nightly.metrics_folder:
        say(f"metrics: {copy_metrics(run, Path(settings.nightly.metrics_folder))}")


def retention(settings: Settings) -> None:
    """Remove the signatures of all but the newest nights, and everything of those past their time."""
    nights = sorted(path for path in settings.nightly.runs.iterdir() if (path / "journal.jsonl").is_file())
    days = settings.nightly.purge_after_days
    for number, old in enumerate(nights):
        try:
            if days:
                before = datetime.now(UTC) - timedelta(days=days)
                done = purge(old, before=before, actor=getpass.getuser(), reason=f"older than {days} days")
                if done.done:
                    say(f"{old.name}: {done.why}")
                    continue
            if number < len(nights) - settings.nightly.keep_nights and remove_signatures(old):
                say(f"{old.name}: signatures removed")
        except VideoNoveltyError as error:  # one night's folder must not keep the others'
            say(f"{old.name}: left as it is: {error}")


def tonight(runs: Path) -> str:
    """Return the name of the run folder: that of the last night if it is unfinished and not old, else today's date."""
    now = datetime.now(UTC)
    for path in sorted((p for p in runs.iterdir() if p.is_dir()), reverse=True)[:1]:
        try:
            document = json.loads((path / "run.json").read_bytes())
            begun = datetime.fromisoformat(document["started_at"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if document.get("status") == "running" and now - begun < RESUMED_FOR:
            return path.name
    return f"{now:%Y-%m-%d}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps the settings do not skip, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="settings, see sample_config/nightly.toml")
    parser.add_argument("--night", help="name of the run folder; today's date (UTC), or an unfinished night's")
    parser.add_argument("--scheduler", help="tls:// address of an existing Dask scheduler")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--tls-{name}-file", type=Path)
    parser.add_argument("--flagged-ok", action="store_true", help="end with 0 instead of 3 when files were flagged")
    options = parser.parse_args(arguments)
    flagged = 0
    try:
        settings = load_settings(options.config)
        if not settings.nightly.intake:
            raise SettingsError(f"{options.config}: nightly.intake: name at least one folder.")
        settings.nightly.runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        run, skipped = settings.nightly.runs / (options.night or tonight(settings.nightly.runs)), settings.nightly.skip
        files = (options.tls_ca_file, options.tls_cert_file, options.tls_key_file)
        tls = TlsFiles(*files) if all(files) else None
        if "import" not in skipped:
            flagged = import_lists(settings)
        if "scan" not in skipped:
            flagged += scan(settings, run, options.scheduler, tls)
        if "report" not in skipped:
            report(settings, run)
        if "metrics" not in skipped:
            metrics(settings, run)
        if "retention" not in skipped:
            retention(settings)
    except VideoNoveltyError as error:
        say(f"nightly: {error}")
        return exit_code(error)
    return 3 if flagged and not options.flagged_ok else 0


if __name__ == "__main__":
    sys.exit(main())
