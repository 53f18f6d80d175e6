"""`samples`: sets of videos whose right answer is known, to measure and to tune with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videonovelty.cli.console import counts_table, output, print_json, say
from videonovelty.cli.scanning import Json

app = typer.Typer(
    name="samples",
    help="Make sample sets: videos whose right answer is known to the second. `tune` measures and tunes with them.",
    no_args_is_help=True,
)
Out = Annotated[Path, typer.Option("--out", help="The folder the set is written into; empty or missing.")]
Seed = Annotated[int, typer.Option("--seed", help="Equal seeds give equal bytes.")]
Holdout = Annotated[
    float, typer.Option("--holdout-share", min=0.0, max=0.9, help="Share of the sources that tuning does not see.")
]


@app.command("make")
def make(
    videos: Annotated[list[Path], typer.Argument(help="Videos, and folders of them (not their sub-folders).")],
    out: Out,
    sources: Annotated[
        Path | None,
        typer.Option("--sources", help="CSV that names the content of each video, where several show the same one."),
    ] = None,
    source_column: Annotated[str, typer.Option("--source-column", help="Its column with the content.")] = "source",
    file_column: Annotated[
        str, typer.Option("--file-column", help="Its column with the file, relative to the CSV.")
    ] = "file",
    edits: Annotated[
        list[str] | None,
        typer.Option(
            "--edit",
            help="An edit, or several joined by +; `insets`: new footage in a corner; repeat. All by default.",
        ),
    ] = None,
    per_video: Annotated[
        int | None, typer.Option("--edits-per-video", min=1, help="Edits done to each source, taken in turn.")
    ] = None,
    max_seconds: Annotated[float, typer.Option("--max-seconds", min=4.0, help="Seconds used of a source.")] = 20.0,
    max_side: Annotated[int, typer.Option("--max-side", min=64, help="Longer side of the edited copies.")] = 480,
    rooms: Annotated[int, typer.Option("--rooms", min=0, help="Generated rooms, each with three takes.")] = 4,
    seed: Seed = 0,
    holdout_share: Holdout = 0.5,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Make edited copies of videos, with exact truth, new videos edited alike, and other takes of known scenes.

    Example: [bold]videonovelty samples make clips/ --out samples --seed 7 --workers 2[/bold]

    What can not be used (unreadable, still, shorter than 4 s) is left out; sampleset.toml says why.
    """
    from videonovelty.tuning.edits import INSETS
    from videonovelty.tuning.queries import ALL_EDITS
    from videonovelty.tuning.sampleset import SampleOptions, make_samples
    from videonovelty.tuning.sampletables import read_sources

    found = [path for given in videos for path in _files(given)]
    options = SampleOptions(
        edits=tuple(one for given in edits for one in (INSETS if given == "insets" else (given,)))
        if edits
        else ALL_EDITS,
        edits_per_video=per_video,
        seed=seed,
        holdout_share=holdout_share,
        max_seconds=max_seconds,
        max_side=max_side,
        rooms=rooms,
        workers=workers,
    )
    named = read_sources(sources, file_column, source_column) if sources is not None else {}
    made = make_samples(
        found,
        out,
        options=options,
        sources={path: named[path.resolve()] for path in found if path.resolve() in named},
        progress=(lambda _: None) if as_json else say,
    )
    _print(made, as_json)


@app.command("label")
def label(
    pairs: Annotated[
        Path, typer.Argument(help="CSV: query, q_start, q_end, known, k_start, k_end, edit; files relative to it.")
    ],
    out: Out,
    seed: Seed = 0,
    holdout_share: Holdout = 0.5,
    as_json: Json = False,
) -> None:
    """Build a sample set from a table of your own pairs; the videos stay where they are.

    Example: [bold]videonovelty samples label pairs.csv --out samples[/bold]

    Empty times mean from end to end. A row whose edit is novel, same_scene or new_inside is a negative, without times.
    """
    from videonovelty.tuning.sampleset import label_samples

    _print(label_samples(pairs, out, seed=seed, holdout_share=holdout_share), as_json)


def _files(given: Path) -> list[Path]:
    """Return the videos of one argument: a file as it is, a folder's files but tables and texts."""
    if not given.is_dir():
        return [given]
    return sorted(
        p for p in given.iterdir() if p.is_file() and p.suffix.lower() not in (".csv", ".toml", ".txt", ".md")
    )


def _print(made: object, as_json: bool) -> None:
    from videonovelty.tuning.sampletables import ROLES, SPLITS, SampleSet

    assert isinstance(made, SampleSet)
    counts = {
        **{role: len(made.of_role(role)) for role in ROLES},
        "truth": len(made.truth),
        "negatives": len(made.negatives),
        **{f"queries of split {split}": len(made.of_role("query", split=split)) for split in SPLITS},
    }
    if as_json:
        print_json({"folder": str(made.folder), **counts})
        return
    counts_table("sample set", counts)
    output.print(str(made.folder), markup=False)
