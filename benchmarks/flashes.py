"""Is new footage hidden that is shown for less than a second inside known footage? Through the command line.

    python -m benchmarks.flashes FOLDER [--again] [--keep FOLDER] [--out benchmarks/results/flashes]

FOLDER is one that `benchmarks.accuracy --keep FOLDER` left: known clips, their store, and an intake with clips of other
content. Pictures of those, 1 to 18 of 25 a second, are put into the middle of each known clip, or in place of as many
of its own (truth: new). And each known clip is encoded once more as it is (truth: known). With --again they come again
and again instead: every 2nd, 3rd, 5th, 10th and 20th picture is a new one, and of 50 pictures a second every other one,
once where a decoder may skip it. Prints a table and writes it as JSON and Markdown, with one-sided 95 % Clopper–Pearson
bounds.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from benchmarks.accuracy import scan
from benchmarks.accuracy_footage import FPS
from benchmarks.copy_metrics import overlap
from benchmarks.kept import footage_folder, made
from benchmarks.made_codes import write_rows
from benchmarks.not_shown import not_shown
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8
from videonovelty.tuning.metrics import clopper_pearson

PICTURES = (1, 2, 3, 5, 8, 12, 18)
SECONDS = 8.0
"""Of each known clip."""
COPY = "copy"
AGAIN = {
    "2 of 25": (2, 1, False),
    "3 of 25": (3, 1, False),
    "5 of 25": (5, 1, False),
    "10 of 25": (10, 1, False),
    "20 of 25": (20, 1, False),
    "2 of 50": (2, 2, False),
    "2 of 50, skipped": (2, 2, True),
}
"""Of so many pictures one is new, known ones are shown so many times, and a decoder may skip the new ones."""


def make(folder: Path, job: tuple[int, Path, Path]) -> None:
    """Write what the intake holds of one known clip, and pictures of one of other content."""
    number, known, new = job
    pictures, others = _pictures(known, new, slice(10, 10 + PICTURES[-1]))
    at = len(pictures) // 2 + number * 5 % 17
    for count, replaced in itertools.product(PICTURES, (False, True)):
        shown = [*pictures[:at], *others[:count], *pictures[at + count * replaced :]]
        name = f"{known.stem} {count} {at / FPS:.2f} {'replaced' if replaced else 'put in'}.mp4"
        write_video(folder / "intake" / name, shown, fps=FPS, crf=26, gop=50)
    write_video(folder / "intake" / f"{known.stem} {COPY}.mp4", pictures, fps=FPS, crf=26, gop=50)


def make_again(folder: Path, job: tuple[int, Path, Path]) -> None:
    """Write one known clip with pictures of one of other content between its own, again and again."""
    _, known, new = job
    pictures, others = _pictures(known, new, slice(0, int(SECONDS * FPS)))
    for name, (every, times, skipped) in AGAIN.items():
        count = times * len(pictures)
        shown = [
            others[number // every % len(others)] if _is_new(number, every) else pictures[number // times]
            for number in range(count)
        ]
        b_frames = "bframes=1:b-adapt=0:b-pyramid=none:weightp=0" if skipped else "bframes=0"
        write_video(
            folder / "intake" / f"{known.stem} {name}.mp4", shown, fps=times * FPS, crf=24, gop=250,
            codec_options={"x264-params": f"{b_frames}:scenecut=0"},
        )  # fmt: skip


def _is_new(number: int, every: int) -> bool:
    return number % every == every // 2


def measure_again(run: Path) -> list[dict[str, Any]]:
    """Return a row for each way: the new pictures there are, and those inside stretches called known."""
    rows = pq.read_table(run / "verdicts.parquet").to_pylist()
    known = not_shown(run)
    found: dict[str, list[tuple[bool, int, int]]] = defaultdict(list)
    for row in rows:
        name = row["path"].rsplit("/", 1)[1].removesuffix(".mp4").split(" ", 1)[1]
        every, times, _ = AGAIN[name]
        pictures = range(int(row["duration_seconds"] * times * FPS + 0.5))
        new = [(number + 0.5) / (times * FPS) for number in pictures if _is_new(number, every)]
        hidden = sum(any(start <= at < end for start, end in known[row["video_id"]]) for at in new)
        found[name].append((row["verdict"] == "known", len(new), hidden))
    return [
        {
            "a new one of": name,
            "videos": len(found[name]),
            "known": sum(cleared for cleared, _, _ in found[name]),
            "new pictures": sum(count for _, count, _ in found[name]),
            "inside known": sum(hidden for _, _, hidden in found[name]),
        }
        for name in AGAIN
    ]


def _pictures(known: Path, new: Path, some: slice) -> tuple[list[U8], list[U8]]:
    """Return the first pictures of a known clip, and some of another one in their size."""
    pictures = [picture for _, picture in itertools.islice(read_rgb(known), int(SECONDS * FPS))]
    height, width = pictures[0].shape[:2]
    others = itertools.islice(read_rgb(new), some.start, some.stop)
    return pictures, [_resized(picture, width, height) for _, picture in others]


def _resized(picture: U8, width: int, height: int) -> U8:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def jobs(accuracy: Path) -> Iterator[tuple[int, Path, Path]]:
    """Yield the number of each known clip of a folder, the clip, and one of other content."""
    others = sorted((accuracy / "intake").glob("* novel *.mp4"))
    if not others:
        raise SystemExit(f"{accuracy}/intake holds no clips of other content: is it what `benchmarks.accuracy` kept?")
    for number, known in enumerate(sorted((accuracy / "known").iterdir())):
        yield number, known, others[number * 3 % len(others)]


def measure(run: Path) -> list[dict[str, Any]]:
    """Return a row for each number of pictures, and one for the copies."""
    rows = pq.read_table(run / "verdicts.parquet").to_pylist()
    known = not_shown(run)
    found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for row in rows:
        words = row["path"].rsplit("/", 1)[1].removesuffix(".mp4").split(" ")
        if words[1] == COPY:
            found[COPY].append((row["verdict"] == "known", False))
            continue
        start, seconds = float(words[2]), int(words[1]) / FPS
        hidden = sum(overlap(a, b, start, start + seconds) for a, b in known[row["video_id"]])
        found[words[1]].append((row["verdict"] == "known", hidden >= seconds - 1e-3))
    table_rows = []
    for key in (*map(str, PICTURES), COPY):
        videos, hidden = len(found[key]), sum(inside for _, inside in found[key])
        table_rows.append(
            {
                "pictures": key,
                "seconds": round(int(key) / FPS, 2) if key != COPY else 0.0,
                "videos": videos,
                "known": sum(cleared for cleared, _ in found[key]),
                "all new pictures inside known": hidden,
                "upper bound": round(clopper_pearson(hidden, videos, 0.9)[1], 3),
            }
        )
    return table_rows


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("accuracy", type=Path, metavar="FOLDER")
    parser.add_argument("--again", action="store_true", help="pictures that come again and again, instead")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for the intake and the run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/flashes"))
    options = parser.parse_args()
    make_one, measure_all = (make_again, measure_again) if options.again else (make, measure)
    with footage_folder(options.keep) as folder:
        made(folder, make_one, jobs(options.accuracy), workers=options.workers)
        scan(folder, options.accuracy / "store")
        rows = measure_all(folder / "run")
    write_rows(options.out, rows)


if __name__ == "__main__":
    main()
