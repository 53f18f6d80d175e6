"""`review …`: what analysts decided, and what follows from it."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from videonovelty.cli.console import output, print_json, say
from videonovelty.cli.known import Actor, Json, Reason, Store

app = typer.Typer(help="Analysts' decisions: import them, see which stand, take them back.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", help="Settings (TOML); [review] is read.")]
SHOWN = 20


@app.command("import")
def import_(
    run: Annotated[Path, typer.Argument(help="The run folder whose report was reviewed.")],
    decisions: Annotated[list[Path], typer.Argument(help="Files of decisions exported from its report.")],
    store: Store,
    actor: Actor = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept in the store's log.")] = "",
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Apply analysts' decisions, as one snapshot; the same files again change nothing.

    Example: [bold]videonovelty review import runs/2026-11-22 decisions-a.jsonl decisions-b.jsonl --store known[/bold]

    Videos judged novel, known or same scene are enrolled with the signatures of the run: no video is opened. Files of
    several analysts are a double review: where they disagree, nothing follows, and the video stays in the queue.
    """
    from videonovelty.cli.scanning import load
    from videonovelty.known.store import KnownStore
    from videonovelty.report.decisions import read_decisions
    from videonovelty.review import import_decisions

    read = [one for path in decisions for one in read_decisions(path)]
    settings = load(config, None, False).review
    result = import_decisions(
        run, read, KnownStore.open(store), settings,
        actor=actor or getpass.getuser(), reason=reason, dry_run=dry_run,
    )  # fmt: skip
    _tell(result, as_json, dry_run=dry_run)


@app.command("withdraw")
def withdraw(
    store: Store,
    reason: Reason,
    video: Annotated[list[str] | None, typer.Option("--video", help="Decisions about this video (SHA-256).")] = None,
    of_run: Annotated[str, typer.Option("--of-run", help="Decisions made on this run (its id).")] = "",
    analyst: Annotated[str, typer.Option("--analyst", help="Decisions of this analyst.")] = "",
    run: Annotated[
        Path | None, typer.Option("--run", help="Run folder with the signatures of what the others agree on.")
    ] = None,
    actor: Actor = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take decisions back: what was enrolled because of them comes back into later queues.

    Example: [bold]videonovelty review withdraw --video 9f86d0… --store /srv/known --reason "wrong row"[/bold]
    """
    from videonovelty.cli.scanning import load
    from videonovelty.known.store import KnownStore
    from videonovelty.review import withdraw as take_back

    result = take_back(
        KnownStore.open(store), load(config, None, False).review,
        entries=video or (), run_id=of_run, analyst=analyst, run_path=run,
        actor=actor or getpass.getuser(), reason=reason,
    )  # fmt: skip
    _tell(result, as_json)


@app.command("list")
def list_(
    store: Store,
    disputed: Annotated[bool, typer.Option("--disputed", help="Only where analysts disagree.")] = False,
    as_json: Json = False,
) -> None:
    """Show the decisions that stand, and where analysts disagree.

    Example: [bold]videonovelty review list --disputed --store /srv/known[/bold]
    """
    from videonovelty.known.ledger import disagree, standing
    from videonovelty.known.store import KnownStore

    found = standing(KnownStore.open(store).snapshot(), disagree if disputed else bool)
    if as_json:
        print_json([{"entry": e, "disputed": disagree(o), "decisions": [asdict(one) for one in o]} for e, o in found])
        return
    for entry, opinions in found:
        output.print(f"{entry}{'  DISPUTED' if disagree(opinions) else ''}", markup=False)
        for one in opinions:
            about = f" (of {one.known_video_id[:16]}…)" if one.known_video_id else ""
            note = f": {one.note}" if one.note else ""
            kind = f", {one.disposition}" if one.disposition else ""
            output.print(f"    {one.decision}{about}{kind}, {one.analyst}, {one.decided_at}{note}", markup=False)
    output.print(f"{len(found)} content(s){' in dispute' if disputed else ''}")


def _tell(result: Any, as_json: bool, *, dry_run: bool = False) -> None:
    from videonovelty.report.decisions import DECISIONS

    if as_json:
        print_json(asdict(result))
        return
    now = "nothing was changed" if dry_run or result.snapshot == result.before else f"snapshot {result.snapshot}"
    output.print(
        f"{now}: {result.recorded} decision(s) {'to record' if dry_run else 'recorded'}, {result.unchanged} there "
        f"already, {result.older} changed or taken back since",
        markup=False,
    )
    _names("enrolled: known from now on", result.enrolled)
    _names("enrolled by bytes only, for they could not be decoded", result.bytes_only)
    _names("reopened: not known by review any more", result.reopened)
    _names("not held against one another any more", [f"{a[:16]}… – {b[:16]}…" for a, b in result.apart])
    _names("held against one another again", [f"{a[:16]}… – {b[:16]}…" for a, b in result.together])
    _names("to be looked at by more analysts", result.waiting)
    _names("to be looked at again", result.second_look)
    for entry, said in result.disputed:
        say(f"disagreement on {entry}: " + ", ".join(f"{who} says {DECISIONS[what].lower()}" for who, what in said))
    if result.unsigned:
        _names("agreed on, but their signatures are in a run folder to be named with --run", result.unsigned)


def _names(what: str, names: Sequence[str]) -> None:
    if names:
        output.print(f"  {len(names):,} {what}", markup=False)
        for name in names[:SHOWN]:
            output.print(f"      {name}", markup=False)
        if len(names) > SHOWN:
            output.print(f"      … and {len(names) - SHOWN:,} more", markup=False)
