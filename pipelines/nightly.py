"""The nightly job: screen tonight's intake, write the report, let old signatures go. Run it again to resume.

    python -m pipelines.nightly sample_config/nightly.toml

Exit codes are those of `videonovelty scan`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from videonovelty.batch import signing_fingerprint
from videonovelty.cli.app import exit_code
from videonovelty.cli.console import StageProgress, say
from videonovelty.cli.scanning import print_summary
from videonovelty.engine import open_engine
from videonovelty.enrolment import store_identity
from videonovelty.errors import SettingsError, VideoNoveltyError
from videonovelty.known import KnownStore
from videonovelty.report.html import write_report
from videonovelty.run import RunFolder
from videonovelty.screening import screen
from videonovelty.settings import Settings, load_settings
from videonovelty.signatures import self_check


def scan(settings: Settings, run: Path) -> int:
    """Screen the intake into `run` and return how many files were flagged."""
    self_check()
    store = KnownStore.open(settings.nightly.store)
    fingerprint = signing_fingerprint(settings)
    with (
        RunFolder.open(run, store_id=store_identity(store), settings=settings, fingerprint=fingerprint) as folder,
        open_engine(settings.run, workers=settings.run.workers, local_directory=run / "workers") as engine,
        StageProgress() as progress,
    ):
        result = screen(
            settings.nightly.intake,
            store=store,
            run=folder,
            engine=engine,
            settings=settings,
            report=progress,
            fingerprint=fingerprint,
        )
    print_summary(result.document)
    return result.flagged


def report(settings: Settings, run: Path) -> None:
    """Write the novelty report of `run`."""
    say(f"report: {write_report(run, settings.report)}")


def retention(settings: Settings) -> None:
    """Remove the signatures of all but the newest nights; their tables and journals stay."""
    nights = sorted(path for path in settings.nightly.runs.iterdir() if (path / "journal.jsonl").is_file())
    for old in nights[: -settings.nightly.keep_nights]:
        if (old / "parts").is_dir():
            shutil.rmtree(old / "parts")
            say(f"{old.name}: signatures removed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps the settings do not skip, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="settings, see sample_config/nightly.toml")
    parser.add_argument("--night", default=f"{datetime.now(UTC):%Y-%m-%d}", help="name of the run folder; today (UTC)")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.config)
        if not settings.nightly.intake:
            raise SettingsError(f"{options.config}: nightly.intake: name at least one folder.")
        settings.nightly.runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        run, steps = settings.nightly.runs / options.night, settings.nightly.skip
        flagged = 0 if "scan" in steps else scan(settings, run)
        if "report" not in steps:
            report(settings, run)
        if "retention" not in steps:
            retention(settings)
    except VideoNoveltyError as error:
        say(f"nightly: {error}")
        return exit_code(error)
    return 3 if flagged else 0


if __name__ == "__main__":
    sys.exit(main())
