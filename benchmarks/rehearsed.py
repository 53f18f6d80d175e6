"""Is footage called known in which the same was done again? Rehearsed routines through the command line.

    python -m benchmarks.rehearsed [--routines 20] [--keep FOLDER] [--out benchmarks/results/rehearsed]

Makes rooms in which three actors do the same at the same moments in every take, to within a tenth of a second and some
hundredths of the picture (`videonovelty.footage.rehearsed`). The first take of each is enrolled. The intake holds two
further takes, as they are and under four edits (truth: new, never to be called `known` or `partly_known`), and the
first take under six edits (truth: known). Prints a table and writes it as JSON and Markdown, with one-sided 95 %
Clopper–Pearson bounds.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.accuracy import screen
from benchmarks.accuracy_footage import FPS, edited
from benchmarks.kept import footage_folder, made
from benchmarks.made_codes import write_rows
from benchmarks.speed_footage import played
from videonovelty import footage
from videonovelty.decode.writer import write_video
from videonovelty.tuning.metrics import clopper_pearson

SECONDS, WIDTH, HEIGHT = 10.0, 320, 180
TAKES = (1, 2)
TAKE_EDITS = ("as it is", "reencode", "mirror", "crop_10", "speed 1.25")
COPY_EDITS = ("reencode", "reencode_hard", "mirror", "letterbox", "caption", "speed 1.25")


def make(folder: Path, routine: int) -> None:
    """Write the known take of a routine and what the intake holds of it."""
    first = list(footage.rehearsed(routine, 0, SECONDS, width=WIDTH, height=HEIGHT, fps=FPS))
    write_video(folder / "known" / f"{routine:03}.mp4", first, fps=FPS, crf=23)
    for name, frames, edit in _queries(routine, first):
        sped = edit.startswith("speed ")
        pictures = played(frames, float(edit.removeprefix("speed "))) if sped else edited(frames, edit)
        write_video(folder / "intake" / f"{name} {edit}.mp4", pictures, fps=FPS, crf=26)


def _queries(routine: int, first: list[footage.U8]) -> Iterator[tuple[str, list[footage.U8], str]]:
    for edit in COPY_EDITS:
        yield f"{routine:03} copy", first, edit
    for take in TAKES:
        frames = list(footage.rehearsed(routine, take, SECONDS, width=WIDTH, height=HEIGHT, fps=FPS))
        for edit in TAKE_EDITS:
            yield f"{routine:03} take {take}", frames, edit


def measure(folder: Path) -> list[dict[str, Any]]:
    """Return a row for the copies and one for the takes under each edit."""
    rows = pq.read_table(folder / "run/verdicts.parquet").to_pylist()
    verdicts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    seconds: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        words = row["path"].rsplit("/", 1)[1].removesuffix(".mp4").split(" ")
        key = words[1], " ".join(words[2 if words[1] == "copy" else 3 :])
        verdicts[key][row["verdict"]] += 1
        seconds[key][0] += row["known_seconds"]
        seconds[key][1] += row["duration_seconds"]
    found: list[dict[str, Any]] = []
    for key, counts in sorted(verdicts.items()):
        hidden = counts["known"] + counts["partly_known"]
        found.append(
            {
                "kind": key[0],
                "edit": key[1],
                "videos": counts.total(),
                **{name: counts[name] for name in ("known", "partly_known", "same_scene", "novel")},
                "upper bound of known": round(clopper_pearson(hidden, counts.total(), 0.9)[1], 3),
                "seconds cleared": round(seconds[key][0], 1),
                "seconds": round(seconds[key][1], 1),
            }
        )
    return found


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routines", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for the footage, the store and the run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/rehearsed"))
    options = parser.parse_args()
    with footage_folder(options.keep) as folder:
        (folder / "known").mkdir(parents=True, exist_ok=True)
        made(folder, make, range(options.routines), workers=options.workers)
        screen(folder)
        rows = measure(folder)
    write_rows(options.out, rows)


if __name__ == "__main__":
    main()
