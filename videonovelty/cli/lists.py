"""`known import` and `known export`: lists of other organisations in, ours out."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from videonovelty.cli.console import output, print_json, say
from videonovelty.cli.known import Actor, Json, Store
from videonovelty.cli.scanning import Config, load
from videonovelty.errors import SettingsError


def import_list(
    files: Annotated[list[Path], typer.Argument(help="Lists, or folders of them; read only.")],
    store: Store,
    list_name: Annotated[str, typer.Option("--list", help="The list they are; members of a feed become NAME/member.")],
    format_name: Annotated[str, typer.Option("--format", help="auto, or a name from `--formats`.")] = "auto",
    disposition: Annotated[
        str, typer.Option("--disposition", help="abuse, benign or other, where the list does not say.")
    ] = "",
    column: Annotated[
        list[str] | None, typer.Option("--column", help="OURS=THEIRS: a CSV column of another name; repeat it.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="One bad row refuses everything.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
    trusted_key: Annotated[
        Path | None, typer.Option("--trusted-key", help="Bundles: the public key (PEM) that must have signed it.")
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Bundles: take one without a signature, whoever made it.")
    ] = False,
    config: Config = None,
    actor: Actor = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; by default the files' names.")] = "",
    as_json: Json = False,
) -> None:
    """Import lists of digests or frame hashes from other organisations, as one snapshot.

    Example: [bold]videonovelty known import feed.xml --store /srv/known --list ncmec[/bold]

    Formats: digests, hashdeep, csv, icse, nsrl2, nsrl3, vics, caid, ncmec, vpdq, vpdq-json, pdq, bundle. Bad rows are
    told and left out (exit code 3). What is stopped resumes when the same command runs again.
    """
    from videonovelty.known.formats import bundle
    from videonovelty.known.formats.reading import ReadOptions
    from videonovelty.known.importing import import_lists
    from videonovelty.known.store import KnownStore

    if disposition not in ("", "abuse", "benign", "other"):
        raise SettingsError(f"--disposition {disposition}: abuse, benign or other.")
    pairs = [pair.partition("=") for pair in column or []]
    if any(not ours or not theirs for ours, _, theirs in pairs):
        raise SettingsError("--column: write it as OURS=THEIRS, e.g. --column md5=HashValue.")
    settings = load(config, None, False)
    for path in files:
        if not path.exists():
            raise SettingsError(f"{path}: no such file.")
    opened = KnownStore.open(store) if dry_run else KnownStore.create(store)
    who = actor or getpass.getuser()
    if format_name == "bundle" or (format_name == "auto" and bundle.is_bundle(files[0])):
        for folder in files:
            if (trusted_key is None) is not unsigned:
                raise SettingsError(
                    f"{folder}: a bundle is opened only once its sender's signature agrees: give the sender's public "
                    "key with --trusted-key, or say --unsigned where nobody else could have written it."
                )
            _import_bundle(opened, folder, list_name, trusted_key, who, reason, dry_run, as_json)
        return
    if trusted_key is not None or unsigned:
        raise SettingsError("--trusted-key, --unsigned: only bundles are signed.")
    result = import_lists(
        files,
        store=opened,
        list_name=list_name,
        format_name=format_name,
        disposition=disposition,
        options=ReadOptions(settings.lists, {ours.strip(): theirs.strip() for ours, _, theirs in pairs}),
        actor=who,
        reason=reason,
        strict=strict,
        dry_run=dry_run,
        report=None if as_json else lambda rows: say(f"read {rows:,} rows"),
    )
    if as_json:
        print_json({**asdict(result), "dry_run": dry_run})
    else:
        _tell(result, dry_run)
    if result.bad or result.unread:
        raise typer.Exit(3)


def _import_bundle(
    store: Any,
    folder: Path,
    list_name: str,
    trusted_key: Path | None,
    actor: str,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    from videonovelty.known.formats import bundle

    manifest = bundle.check(folder, trusted_key)
    snapshot = store.snapshot()
    if not dry_run:
        snapshot = store.add(
            bundle.entries(folder, list_name=list_name), actor=actor, reason=reason or f"bundle {folder.name}"
        )
    facts = {"snapshot": snapshot.number, "videos": manifest["videos"], "dry_run": dry_run}
    if as_json:
        print_json(facts)
    else:
        output.print(f"snapshot {snapshot.number}: {manifest['videos']:,} videos in the bundle", markup=False)


def _tell(result: Any, dry_run: bool) -> None:
    changes = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in result.changes.items() if count)
    output.print(
        f"{'would be changed' if dry_run else f'snapshot {result.snapshot}'}: {changes or 'nothing new'} "
        f"({result.entries:,} entries, {result.withdrawn:,} taken back, {result.bad:,} bad)",
        markup=False,
    )
    for why, count in sorted(result.left_out.items()):
        output.print(f"left out: {count:,} {why}", markup=False)
    if result.checkpoint:
        output.print(f"the feed's range is exhausted: the next one begins at {result.checkpoint}", markup=False)
    for problem in result.problems:
        say(problem)
    if result.bad > len(result.problems):
        say(f"… and {result.bad - len(result.problems):,} more bad rows")
    if result.unread:
        say(f"{result.unread} file(s) could not be read to the end: get them again and import them again")


def export(
    store: Store,
    out: Annotated[Path, typer.Option("--out", help="A new file; for vpdq, vpdq-json and bundle a new folder.")],
    format_name: Annotated[
        str, typer.Option("--format", help="md5, sha1, sha256, csv, vics, pdq, vpdq, vpdq-json or bundle.")
    ],
    list_name: Annotated[
        list[str] | None, typer.Option("--list", help="Only this list (a feed's name: all its members); repeat it.")
    ] = None,
    disposition: Annotated[
        list[str] | None, typer.Option("--disposition", help="Only abuse, benign or other; repeat it.")
    ] = None,
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", help="Bundles: Ed25519 private key (PEM) to sign it with.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write what is known for other tools and organisations: digests, VICS 2.0, vPDQ, or a signed bundle.

    Example: [bold]videonovelty known export --store /srv/known --format vics --out known.json[/bold]
    """
    from videonovelty.known.exporting import Chosen, ExportResult, chosen_videos, export_known
    from videonovelty.known.formats import bundle
    from videonovelty.known.store import KnownStore

    settings = load(config, None, False)
    snapshot = KnownStore.open(store).snapshot()
    chosen = Chosen(frozenset(list_name or ()), frozenset(disposition or ()))
    if format_name == "bundle":
        written = bundle.write(snapshot, chosen_videos(snapshot, chosen), out, sign_key=sign_key)
        result = ExportResult(written)
    else:
        country, numbers = vics_numbers(settings.lists)
        result = export_known(snapshot, format_name, out, chosen=chosen, country=country, numbers=numbers)
    if as_json:
        print_json({"snapshot": snapshot.number, "out": str(out), **asdict(result)})
    else:
        left = f", {result.left_out:,} left out: they have nothing of this format" if result.left_out else ""
        output.print(f"{out}: {result.written:,} written of snapshot {snapshot.number}{left}", markup=False)


def export_run(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    out: Annotated[Path, typer.Option("--out", help="A new file.")],
    format_name: Annotated[str, typer.Option("--format", help="vics or csv.")] = "vics",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Write a run's verdicts for the tools analysts use: VICS 2.0 with categories and tags, or CSV with digests.

    Example: [bold]videonovelty export runs/2026-11-25 --format vics --out verdicts.json[/bold]
    """
    from videonovelty.report.verdict_list import export_verdicts

    settings = load(config, None, False)
    country, numbers = vics_numbers(settings.lists)
    rows = export_verdicts(run, format_name, out, country=country, numbers=numbers)
    if as_json:
        print_json({"out": str(out), "rows": rows})
    else:
        output.print(f"{out}: {rows:,} written", markup=False)


def vics_numbers(lists: Any) -> tuple[str, dict[str, str]]:
    """Return the country of the settings and its lowest category number for each disposition."""
    from videonovelty.known.formats.vics import categories_of

    country, table = categories_of(lists)
    numbers: dict[str, str] = {}
    for number, (disposition, _) in sorted(table.items()):
        numbers.setdefault(disposition, number)
    return country, numbers
