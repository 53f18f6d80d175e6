"""`validate`: is this installation fit for what it is relied on for?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videonovelty.cli.console import StageProgress, counts_table, output, print_json, say
from videonovelty.cli.scanning import Config, Json


def validate(
    out: Annotated[Path, typer.Option("--out", help="Where index.html and validation.json are written.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Try only this requirement (R1 … R11); repeat it.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="An empty folder that keeps footage, stores and runs.")
    ] = None,
    config: Config = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Worker processes of the scans.")] = 2,
    as_json: Json = False,
) -> None:
    """Validate this installation on footage made for it: requirements, assertions, cases, results; ready to print.

    Example: [bold]videonovelty validate --out validation[/bold]

    The program's own commands are run, in processes of their own; that takes some minutes. Exit code 0: every case
    passed. 1: a case failed or could not be tried; the report names it.
    """
    from videonovelty.batch import Progress
    from videonovelty.validation import validate as run_validation
    from videonovelty.validation.page import describe, write_validation

    heard = ""

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal heard
        if stage != heard and stage.startswith("R") and not as_json:
            say(f"[{done + 1}/{total}] {stage}")
        heard = stage
        if not stage.startswith("R") and total > 1:
            show(Progress(stage, done, total))

    with StageProgress(quiet=as_json) as show:
        found = run_validation(only=only or (), config=config, workers=workers, keep=keep, tell=tell)
    page = write_validation(found, out)
    if as_json:
        print_json({**describe(found), "report": str(page)})
    else:
        counts_table(
            "requirement: cases passed",
            {
                f"{one.id} {one.text}": f"{sum(c.passed for c in found.of(one.id))} of {len(found.of(one.id))}"
                for one in found.requirements
            },
        )
        output.print(f"report: {page}", markup=False)
    for case in found.failed:
        say(f"failed: {case.assertion}, {case.name}: expected {case.expected}; observed {case.observed}")
    if found.failed:
        raise typer.Exit(1)
