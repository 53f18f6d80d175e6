"""The application: its commands, and what every command does about errors."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from videonovelty import __version__
from videonovelty.cli import known, lists, looking, reviewing, samples, scanning, tuning, validating
from videonovelty.cli.console import say
from videonovelty.errors import EXIT_CODES, VideoError, VideoNoveltyError
from videonovelty.one_thread import keep_to_one_thread

app = typer.Typer(
    name="videonovelty",
    help="Tell which of last night's videos, and which seconds of them, have never been seen before.",
    epilog="Exit codes: 0 done · 1 internal error · 2 usage or settings · 3 done, some videos flagged · 4 lock held · "
    "5 store or run unusable · 6 environment unfit · 130/143 interrupted, resumable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("scan")(scanning.scan)
known.app.command("import")(lists.import_list)
known.app.command("export")(lists.export)
app.add_typer(known.app, name="known")
app.command("report")(scanning.report)
app.command("export")(lists.export_run)
app.add_typer(reviewing.app, name="review")
app.command("purge")(scanning.purge)
app.command("compare")(looking.compare)
app.command("inspect")(looking.inspect)
app.add_typer(samples.app, name="samples")
app.command("tune")(tuning.tune)
app.command("doctor")(looking.doctor)
app.command("validate")(validating.validate)
app.command("demo")(scanning.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"videonovelty {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log what happens, and show where an internal error is.")
    ] = False,
) -> None:
    os.umask(0o077)  # nothing this program writes is for others
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("asyncio", "numba", "tornado", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    del version


def main() -> None:
    """Run a command and end with its exit code."""
    keep_to_one_thread()
    try:
        app(standalone_mode=True)
    except VideoNoveltyError as error:
        say(f"videonovelty: {error}")
        raise SystemExit(exit_code(error)) from None
    except KeyboardInterrupt:
        say("videonovelty: interrupted; the same command resumes")
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        # A traceback could carry what stands in local variables; it is shown on request only.
        say(
            f"videonovelty: internal error: {type(error).__name__}: {error}. "
            "Run again with --debug before the command to see where."
        )
        raise SystemExit(1) from None


def exit_code(error: VideoNoveltyError) -> int:
    """Return the exit code a command ended by `error` has."""
    interrupted = getattr(error, "exit_code", None)
    if isinstance(interrupted, int):
        return interrupted
    if isinstance(error, VideoError):
        return 3
    for kind in type(error).__mro__:
        if kind in EXIT_CODES:
            return EXIT_CODES[kind]
    return 1
