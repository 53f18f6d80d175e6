"""`known …`: what the organisation has seen before."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from videonovelty.cli.console import counts_table, output, print_json, say, stages
from videonovelty.errors import SettingsError

app = typer.Typer(
    help="The known store: add videos, see what is there, take something out, go back.", no_args_is_help=True
)

Store = Annotated[Path, typer.Option("--store", help="The known store.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who changes the store; the user's name by default.")]
Reason = Annotated[str, typer.Option("--reason", help="Why the store changes; kept in its log.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command("add")
def add(
    paths: Annotated[list[Path], typer.Argument(help="Videos and folders of videos; read only.")],
    store: Store,
    list_name: Annotated[str, typer.Option("--list", help="The list they belong to.")],
    disposition: Annotated[str, typer.Option("--disposition", help="abuse, benign or other.")] = "other",
    series: Annotated[str, typer.Option("--series")] = "",
    category: Annotated[str, typer.Option("--category")] = "",
    victim_identified: Annotated[str, typer.Option("--victim-identified", help="yes, no or unknown.")] = "unknown",
    actor: Actor = None,
    reason: Reason = "enrolled",
    config: Annotated[Path | None, typer.Option("--config", help="Settings (TOML).")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=0)] = None,
    allow_unsandboxed: Annotated[bool, typer.Option("--allow-unsandboxed")] = False,
    as_json: Json = False,
) -> None:
    """Enrol videos: sign them and add them to the store, as one snapshot.

    Example: [bold]videonovelty known add /cases/17 --store /srv/known --list case-17 --disposition abuse[/bold]

    The store is made when it is not there. The same command again resumes, and changes nothing once it is done.
    """
    from videonovelty.batch import signing_fingerprint
    from videonovelty.cli.scanning import load
    from videonovelty.engine import open_engine
    from videonovelty.enrolment import enrol, finished, store_identity, work_folder
    from videonovelty.known.store import KnownStore
    from videonovelty.records import ListMembership
    from videonovelty.run import RunFolder
    from videonovelty.signatures import self_check

    settings = load(config, workers, allow_unsandboxed)
    if victim_identified not in ("yes", "no", "unknown"):
        raise SettingsError(f"--victim-identified {victim_identified}: yes, no or unknown.")
    self_check()
    opened = KnownStore.create(store)
    folder = work_folder(opened, paths, list_name)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    fingerprint = signing_fingerprint(settings)
    with (
        RunFolder.open(folder, store_id=store_identity(opened), settings=settings, fingerprint=fingerprint) as run,
        open_engine(settings.run, workers=settings.run.workers, local_directory=folder / "workers") as engine,
        stages(quiet=as_json) as progress,
    ):
        result = enrol(
            paths,
            store=opened,
            run=run,
            engine=engine,
            settings=settings,
            fingerprint=fingerprint,
            membership=ListMembership(
                list_name, disposition, series=series, category=category, victim_identified=victim_identified
            ),
            actor=actor or getpass.getuser(),
            reason=reason,
            report=progress,
        )
    finished(folder)
    if as_json:
        print_json(asdict(result))
    else:
        output.print(
            f"snapshot {result.snapshot}: {result.added} enrolled, {result.already_known} were known, "
            f"{len(result.bytes_only)} by their bytes only, {len(result.unreadable)} unreadable",
            markup=False,
        )
    for path, why in (*result.bytes_only, *result.unreadable):
        say(f"{path}: {why}")
    if result.bytes_only or result.unreadable:
        raise typer.Exit(3)


@app.command("remove")
def remove(
    store: Store,
    reason: Reason,
    video: Annotated[list[str] | None, typer.Option("--video", help="Id (SHA-256) of a video.")] = None,
    list_name: Annotated[str | None, typer.Option("--list", help="Everything on this list.")] = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Take videos or a list out; a video another list still holds stays known.

    Example: [bold]videonovelty known remove --list old-feed --store /srv/known --reason "withdrawn by its owner"[/bold]
    """
    from videonovelty.known.store import KnownStore

    if not video and list_name is None:
        raise SettingsError("known remove: name what to remove with --video or --list.")
    snapshot = KnownStore.open(store).remove(
        video_ids=video or (), list_name=list_name, actor=actor or getpass.getuser(), reason=reason
    )
    _tell_snapshot(snapshot, as_json)


@app.command("log")
def log(store: Store, as_json: Json = False) -> None:
    """Show who changed the store, when and why.

    Example: [bold]videonovelty known log --store /srv/known[/bold]
    """
    from rich.table import Table

    from videonovelty.known.store import KnownStore

    entries = KnownStore.open(store).log()
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    table = Table("snapshot", "time", "action", "actor", "reason", "videos", "keyframes", box=None)
    for entry in entries:
        table.add_row(
            str(entry.number),
            entry.time,
            entry.action,
            entry.actor,
            entry.reason,
            str(entry.n_videos),
            str(entry.n_frames),
        )
    output.print(table)


@app.command("stats")
def stats(store: Store, as_json: Json = False) -> None:
    """Show what the store holds.

    Example: [bold]videonovelty known stats --store /srv/known[/bold]
    """
    from videonovelty.known.store import KnownStore

    found = KnownStore.open(store).stats()
    if as_json:
        print_json(found)
    else:
        schemes: Any = found.pop("schemes")
        counts_table(str(store), _flat(found))
        for name, counts in schemes.items():
            counts_table(f"scheme {name}", counts)


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}: ")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


@app.command("verify")
def verify(store: Store, as_json: Json = False) -> None:
    """Check every file of the store against its manifest; exit code 5 when something is wrong.

    Example: [bold]videonovelty known verify --store /srv/known[/bold]
    """
    from videonovelty.known.store import KnownStore

    problems = KnownStore.open(store).verify()
    if as_json:
        print_json({"problems": problems})
    else:
        for problem in problems:
            output.print(problem, markup=False)
        output.print("sound" if not problems else f"{len(problems)} problem(s)")
    if problems:
        raise typer.Exit(5)


@app.command("compact")
def compact(store: Store, reason: Reason = "compaction", actor: Actor = None, as_json: Json = False) -> None:
    """Merge small shards and make the bytes of removed videos disappear.

    Example: [bold]videonovelty known compact --store /srv/known[/bold]

    What a scan, an import or an export is reading at that moment stays until it is done: `known sweep` deletes it then.
    """
    from videonovelty.known.store import KnownStore

    opened = KnownStore.open(store)
    snapshot = opened.compact(actor=actor or getpass.getuser(), reason=reason)
    _tell_snapshot(snapshot, as_json)
    _tell_held(opened.held(), store)


@app.command("sweep")
def sweep(store: Store, as_json: Json = False) -> None:
    """Delete files no snapshot needs that could come back: what a compact left because it was being read.

    Example: [bold]videonovelty known sweep --store /srv/known[/bold]

    Exit code 3 when some are still being read.
    """
    from videonovelty.known.store import KnownStore

    opened = KnownStore.open(store)
    deleted = opened.sweep()
    held = opened.held()
    if as_json:
        print_json({"deleted": deleted, "held": list(held)})
    else:
        output.print(f"{deleted} file(s) deleted")
    _tell_held(held, store)
    if held:
        raise typer.Exit(3)


def _tell_held(held: tuple[int, ...], store: Path) -> None:
    """Say which earlier snapshots' bytes are still there because somebody reads them."""
    if held:
        say(
            f"snapshot(s) {', '.join(map(str, held))} are being read: files only they need, with the bytes of what was "
            f"removed since, are still there. When that is done: videonovelty known sweep --store {store}"
        )


@app.command("rollback")
def rollback(
    number: Annotated[int, typer.Argument(help="The snapshot to return to; `known log` lists them.")],
    store: Store,
    reason: Reason,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Make a new snapshot that holds what an earlier one held.

    Example: [bold]videonovelty known rollback 41 --store /srv/known --reason "list imported twice"[/bold]
    """
    from videonovelty.known.store import KnownStore

    snapshot = KnownStore.open(store).rollback(number, actor=actor or getpass.getuser(), reason=reason)
    _tell_snapshot(snapshot, as_json)


def _tell_snapshot(snapshot: Any, as_json: bool) -> None:
    if as_json:
        print_json({"snapshot": snapshot.number, "videos": snapshot.n_videos, "keyframes": snapshot.n_frames})
    else:
        output.print(
            f"snapshot {snapshot.number}: {snapshot.n_videos} videos, {snapshot.n_frames} keyframes", markup=False
        )


@app.command("recheck")
def recheck(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of earlier nights.")],
    store: Store,
    as_json: Json = False,
) -> None:
    """List the verdicts of earlier runs that rest on videos the store no longer holds.

    Example: [bold]videonovelty known recheck runs/2026-11-21 runs/2026-11-22 --store /srv/known[/bold]
    """
    from videonovelty.known.store import KnownStore
    from videonovelty.recheck import fallen_verdicts

    fallen = list(fallen_verdicts(runs, KnownStore.open(store).snapshot()))
    if as_json:
        print_json([asdict(one) for one in fallen])
        return
    for one in fallen:
        output.print(
            f"{one.run}: {one.path}: {one.verdict} no longer stands: {one.seconds:.1f} s rested on "
            f"{', '.join(video_id[:16] for video_id in one.revoked)}",
            markup=False,
        )
    output.print(f"{len(fallen)} verdict(s) no longer stand")
