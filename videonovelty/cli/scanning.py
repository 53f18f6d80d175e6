"""`scan`, `purge`, `report` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from videonovelty.cli.console import StageProgress, counts_table, duration, output, print_json, say, stages

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings (TOML); sample_config/nightly.toml lists every key.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=0, help="Worker processes on this machine; 0 is a plain loop.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Unsandboxed = Annotated[
    bool, typer.Option("--allow-unsandboxed", help="Run where the decoder cannot be locked; stamped on every row.")
]


def load(config: Path | None, workers: int | None, allow_unsandboxed: bool) -> Any:
    """Return the settings of a command: options over environment over file over defaults."""
    from videonovelty.settings import load_settings

    overrides: dict[str, Any] = {}
    if workers is not None:
        overrides["run"] = {"workers": workers}
    if allow_unsandboxed:
        overrides["sandbox"] = {"allow_unsandboxed": True}
    return load_settings(config, **overrides)


def scan(
    intake: Annotated[list[Path], typer.Argument(help="Files and folders; read only, links are not followed.")],
    store: Annotated[Path, typer.Option("--store", help="The known store.")],
    run: Annotated[Path, typer.Option("--run", help="The run folder: made, or resumed if it is there.")],
    config: Config = None,
    workers: Workers = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="tls:// address of an existing Dask scheduler.")
    ] = None,
    tls_ca_file: Annotated[Path | None, typer.Option("--tls-ca-file")] = None,
    tls_cert_file: Annotated[Path | None, typer.Option("--tls-cert-file")] = None,
    tls_key_file: Annotated[Path | None, typer.Option("--tls-key-file")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done and, from a sample, how long; write nothing."),
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try videos again that failed before.")] = False,
    retry: Annotated[
        list[str] | None, typer.Option("--retry", help="Try videos again that failed for this reason.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first N files.")] = None,
    allow_unsandboxed: Unsandboxed = False,
    as_json: Json = False,
) -> None:
    """Screen an intake: which videos, and which seconds of them, are in no known video.

    Example: [bold]videonovelty scan /intake/tonight --store /srv/known --run /srv/runs/2026-11-22 --workers 16[/bold]

    Running the same command again resumes; a finished run opens no video again. Exit code 3 says that it is done, and
    that some files failed or were refused: they are rows with a reason, to be looked at by a person.
    """
    from videonovelty.batch import signing_fingerprint
    from videonovelty.engine import TlsFiles, open_engine
    from videonovelty.enrolment import store_identity
    from videonovelty.known.store import KnownStore
    from videonovelty.report.html import write_report
    from videonovelty.run import RunFolder
    from videonovelty.runlog import json_log
    from videonovelty.screening import screen
    from videonovelty.signatures import self_check

    settings = load(config, workers, allow_unsandboxed)
    known = KnownStore.open(store)
    if dry_run:
        _dry_run(intake, known, settings, as_json)
        return
    self_check()
    tls = TlsFiles(tls_ca_file, tls_cert_file, tls_key_file) if tls_ca_file and tls_cert_file and tls_key_file else None
    fingerprint = signing_fingerprint(settings)
    with (
        RunFolder.open(run, store_id=store_identity(known), settings=settings, fingerprint=fingerprint) as folder,
        open_engine(
            settings.run, workers=settings.run.workers, scheduler=scheduler, tls=tls, local_directory=run / "workers"
        ) as engine,
        json_log(run) as log,
        stages(quiet=as_json, log=log) as progress,
    ):
        result = screen(
            intake,
            store=known,
            run=folder,
            engine=engine,
            settings=settings,
            report=progress,
            retry=None if retry_failed else frozenset(retry or ()),
            limit=limit,
            fingerprint=fingerprint,
        )
        page = write_report(run, settings.report)
    if as_json:
        print_json({**result.document, "report": str(page)})
    else:
        print_summary(result.document)
        output.print(f"report: {page}", markup=False)
    if result.flagged:
        say(f"{result.flagged} file(s) failed or were refused; each is a row of verdicts with its reason.")
        raise typer.Exit(3)


def print_summary(document: Any) -> None:
    """Print what a run came to, as a table."""
    seconds = document["seconds"]
    share = seconds["saved"] / seconds["intake"] if seconds["intake"] else 0.0
    counts_table("states", {**document["counts"]["files"], **document["counts"]["states"]})
    counts_table("verdicts", document["counts"]["verdicts"])
    counts_table("reasons", document["counts"]["reasons"])
    counts_table(
        "video",
        {
            "looked at": duration(seconds["intake"]),
            "left to view": duration(seconds["to_view"]),
            "saved": f"{duration(seconds['saved'])} ({share:.0%})",
            "processor hours": f"{seconds['cpu'] / 3600:.2f}",
            "snapshot": document["store"]["snapshot"],
            "took": duration(document["elapsed_seconds"]),
        },
    )
    for warning in document["warnings"]:
        say(f"warning: {warning}")


def _dry_run(intake: list[Path], known: Any, settings: Any, as_json: bool) -> None:
    """Say what a scan would do, from a sample that is signed here and thrown away."""
    from dataclasses import asdict

    from videonovelty.estimate import estimate
    from videonovelty.intake import enumerate_intake

    found = estimate(list(enumerate_intake(intake, settings.intake)), settings)
    snapshot = known.snapshot()
    document = {
        **asdict(found),
        "workers": max(1, settings.run.workers),
        "known_videos": snapshot.n_videos,
        "known_frames": snapshot.n_frames,
    }
    if as_json:
        print_json(document)
    else:
        workers = document["workers"]
        counts_table(
            "would scan",
            {
                "files": found.files,
                "refused (links, pipes, folders that cannot be read)": found.refused,
                "to read": f"{found.bytes / 2**30:.2f} GiB",
                "signed as a sample": f"{found.sampled}, {found.sample_failed} of them failed",
                "video, about": _hours(found.video_hours),
                "processor time, about": _hours(found.cpu_hours),
                f"until all are signed, {workers} worker(s), about": _hours(found.hours),
                "known": f"{snapshot.n_videos} videos, {snapshot.n_frames} keyframes",
            },
        )


def _hours(hours: float | None) -> str:
    return "unknown: nothing could be sampled" if hours is None else duration(hours * 3600)


def purge(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    before: Annotated[str, typer.Option("--before", help="Runs last written to before this day (UTC), 2026-01-31.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the one line that stays.")] = "retention",
    actor: Annotated[str | None, typer.Option("--actor", help="Who; the user's name by default.")] = None,
    as_json: Json = False,
) -> None:
    """Remove signatures, names, tables and report of old runs; the line that there was such a run stays.

    Example: [bold]videonovelty purge /srv/runs/2026-0* --before 2026-07-01[/bold]

    The known store is not touched: `videonovelty known remove` and `known compact` are for that.
    """
    import getpass
    from dataclasses import asdict

    from videonovelty.retention import purge as purge_run
    from videonovelty.retention import purge_date

    day = purge_date(before)
    done = [purge_run(run, before=day, actor=actor or getpass.getuser(), reason=reason) for run in runs]
    if as_json:
        print_json([asdict(one) for one in done])
        return
    for one in done:
        output.print(f"{one.path}: {'purged' if one.done else 'left'}: {one.why}", markup=False)
        for name in one.left:
            say(f"{one.path}: {name} is not the program's own and was left: look at it yourself.")


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    thumbnails: Annotated[
        str, typer.Option("--thumbnails", help="none, blurred or clear: small grey pictures of the queue's videos.")
    ] = "none",
    reason: Annotated[str, typer.Option("--reason", help="Why pictures are needed; kept in the run's journal.")] = "",
    xlsx: Annotated[bool, typer.Option("--xlsx", help="Write the tables as RUN/tables.xlsx as well.")] = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Print a summary that may be e-mailed: it names no file, list or series.")
    ] = False,
    store: Annotated[
        Path | None, typer.Option("--store", help="The known store, where it is not at the place the run names.")
    ] = None,
    config: Config = None,
    workers: Workers = None,
    allow_unsandboxed: Unsandboxed = False,
    as_json: Json = False,
) -> None:
    """Rebuild the report from the run folder's tables, with what analysts have decided since; without pictures.

    Example: [bold]videonovelty report /srv/runs/2026-11-22[/bold]
    """
    from videonovelty.report.collect import collect
    from videonovelty.report.decided import decided_so_far
    from videonovelty.report.exports import text_summary, write_workbook
    from videonovelty.report.html import write_report

    settings = load(config, workers, allow_unsandboxed)
    pictures = None if thumbnails == "none" else _pictures(run, thumbnails, reason, settings, quiet=as_json)
    page = write_report(run, settings.report, pictures=pictures, decided=decided_so_far(run, store))
    if xlsx:
        write_workbook(run)
    if summary:
        output.print(text_summary(collect(run)), markup=False, end="")
        return
    if as_json:
        print_json({"report": str(page)})
    else:
        output.print(str(page), markup=False)


def _pictures(run: Path, kind: str, reason: str, settings: Any, *, quiet: bool) -> Any:
    import getpass

    from videonovelty.engine import open_engine
    from videonovelty.thumbnails import make_thumbnails

    with (
        open_engine(settings.run, workers=settings.run.workers, local_directory=run / "workers") as engine,
        stages(quiet=quiet) as progress,
    ):
        return make_thumbnails(
            run, kind, settings=settings, engine=engine, actor=getpass.getuser(), reason=reason, report=progress
        )


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo is made.")] = Path("demo"),
    workers: Annotated[int, typer.Option("--workers", min=0)] = 2,
    allow_unsandboxed: Unsandboxed = False,
) -> None:
    """Make sample footage, enrol the originals, screen an intake of edited copies and new clips, and show the result.

    Example: [bold]videonovelty demo[/bold]
    """
    from videonovelty.demo_run import run_demo
    from videonovelty.errors import EnvironmentUnfitError
    from videonovelty.sandbox import Sandbox

    settings = load(None, workers, allow_unsandboxed)
    try:
        Sandbox(settings).close()
    except EnvironmentUnfitError as error:
        say(f"{error}\nThe demo goes on without the lock: it opens only footage it made itself.")
        settings = load(None, workers, True)
    with StageProgress() as progress:
        result = run_demo(folder, settings, say=say, report=progress)
    output.print(result.table)
    print_summary(result.document)
    output.print(f"report: {result.page}", markup=False)
    if result.wrong:
        say(f"{result.wrong} file(s) did not get the verdict they should; run `videonovelty doctor`.")
        raise typer.Exit(1)
