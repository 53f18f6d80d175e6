"""Enrol folders of videos: each folder's videos become known under the list of the folder's name.

    python -m pipelines.enrol sample_config/enrol.toml

Enrolling what is known already changes nothing, so this can run every day over growing folders.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from videonovelty.batch import signing_fingerprint
from videonovelty.cli.app import exit_code
from videonovelty.cli.console import StageProgress, say
from videonovelty.engine import open_engine
from videonovelty.enrolment import EnrolmentResult, enrol, finished, store_identity, work_folder
from videonovelty.errors import SettingsError, VideoNoveltyError
from videonovelty.known import KnownStore
from videonovelty.records import ListMembership
from videonovelty.run import RunFolder
from videonovelty.settings import Settings, load_settings
from videonovelty.signatures import self_check


def enrol_folder(folder: Path, settings: Settings) -> EnrolmentResult:
    """Add the videos of one folder to the store, as one snapshot."""
    store = KnownStore.create(settings.enrol.store)
    work = work_folder(store, [folder], folder.name)
    fingerprint = signing_fingerprint(settings)
    with (
        RunFolder.open(work, store_id=store_identity(store), settings=settings, fingerprint=fingerprint) as run,
        open_engine(settings.run, workers=settings.run.workers, local_directory=work / "workers") as engine,
        StageProgress() as progress,
    ):
        result = enrol(
            [folder],
            store=store,
            run=run,
            engine=engine,
            settings=settings,
            fingerprint=fingerprint,
            membership=ListMembership(folder.name, settings.enrol.disposition),
            actor=getpass.getuser(),
            reason=settings.enrol.reason,
            report=progress,
        )
    finished(work)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Enrol every folder the settings name, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="settings, see sample_config/enrol.toml")
    options = parser.parse_args(arguments)
    flagged = 0
    try:
        settings = load_settings(options.config)
        if not settings.enrol.folders:
            raise SettingsError(f"{options.config}: enrol.folders: name at least one folder.")
        self_check()
        for folder in settings.enrol.folders:
            result = enrol_folder(folder, settings)
            say(
                f"{folder.name}: snapshot {result.snapshot}, {result.added} enrolled, {result.already_known} were known"
            )
            for path, why in (*result.bytes_only, *result.unreadable):
                say(f"  {path}: {why}")
            flagged += len(result.bytes_only) + len(result.unreadable)
    except VideoNoveltyError as error:
        say(f"enrol: {error}")
        return exit_code(error)
    return 3 if flagged else 0


if __name__ == "__main__":
    sys.exit(main())
