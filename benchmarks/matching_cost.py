"""What matching costs an intake video at a million known keyframes, beside what decoding it costs.

    python -m benchmarks.matching_cost FOLDER [--keyframes 1e6] [--out benchmarks/results]

FOLDER is one that `benchmarks.accuracy --keep FOLDER` left: known clips, their store, and a run in which every video of
the intake is signed. Made-up known videos of `--keyframes` in all are added to a copy of the store. The first eighth of
the intake and all of it are then judged anew by the command line, from their signatures, against the store as it was
and as it has become; the processor time of the whole command counts, reading signatures, joins,
alignment, proof, grouping and tables included. A line through the two sizes tells what each video costs from what each
command does. Decoding: the clips of FOLDER/known written at 720p, signed by `scan` on one core.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.full_night import videonovelty
from benchmarks.made_codes import RESULTS, table, write_result
from benchmarks.made_known import add_made_up
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.journal import JournalEntry, read_journal
from videonovelty.known import KnownStore
from videonovelty.records import F64, U8
from videonovelty.run import State

HEIGHT = 720
FPS = 25.0
BAR = 0.10
"""Of the cost of decoding."""


def judged_anew(folder: Path, store: Path, work: Path, limit: int) -> float:
    """Return the processor seconds of judging the first `limit` videos of the intake from their signatures."""
    run = work / "run"
    shutil.copytree(folder / "run", run)
    # a setting that shapes verdicts, moved by nothing: tables made of the very same inputs are not made again
    os.environ["VIDEONOVELTY_PROOF__PLACED_BY_CHANCE"] = "1.0000001e-6"
    _, seconds, code = videonovelty(
        "scan", folder / "intake", "--store", store, "--run", run, "--workers", "0", "--limit", str(limit)
    )
    del os.environ["VIDEONOVELTY_PROOF__PLACED_BY_CHANCE"]
    shutil.rmtree(run)
    if code not in (0, 3):
        raise SystemExit(f"judging anew ended with {code}; see above")
    return seconds


def signed_at_720p(folder: Path, work: Path, clips: int) -> dict[str, float]:
    """Return what signing the first known clips, written at 720p, takes."""
    (work / "clips").mkdir()
    for path in sorted((folder / "known").iterdir())[:clips]:
        write_video(work / "clips" / path.name, [_at_720p(picture) for _, picture in read_rgb(path)], fps=FPS, crf=23)
    KnownStore.create(work / "empty")
    run = work / "signed"
    _, _, code = videonovelty("scan", work / "clips", "--store", work / "empty", "--run", run, "--workers", "0")
    if code:
        raise SystemExit(f"signing ended with {code}; see above")
    seconds, cpu = signed(run).sum(axis=0)
    return {"videos": clips, "video_seconds": float(seconds), "cpu_seconds": float(cpu), "a_second": cpu / seconds}


def signed(run: Path) -> F64:
    """Return seconds of video and processor seconds of each content a run has signed; shape (n, 2)."""
    rows: list[tuple[float, float]] = []

    def observe(entry: JournalEntry) -> None:
        if entry.state == State.SIGNED:
            fields: Any = entry.fields
            rows.append((fields["video_seconds"], fields["cpu_seconds"]))

    read_journal(run / "journal.jsonl", observe=observe)
    return np.array(rows)


def _at_720p(picture: U8) -> U8:
    height, width = picture.shape[:2]
    size = (2 * round(width * HEIGHT / height / 2), HEIGHT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC))


def lines(measured: Mapping[str, Mapping[int, float]]) -> dict[str, dict[str, float]]:
    """Return what a command and what each video costs, in processor seconds, by store."""
    found = {}
    for store, by_size in measured.items():
        (few, less), (many, more) = sorted(by_size.items())
        each = (more - less) / (many - few)
        found[store] = {"each_video": each, "each_command": less - few * each}
    return found


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keyframes", type=float, default=1e6)
    parser.add_argument("--clips", type=int, default=12, help="known clips that are decoded at 720p")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    videos = sum(1 for path in (options.folder / "intake").iterdir() if path.is_file())
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        work = Path(temporary)
        stores = {"as it was": options.folder / "store", "large": work / "store"}
        shutil.copytree(options.folder / "store", stores["large"])
        others = add_made_up(KnownStore.open(stores["large"]), int(options.keyframes))
        measured = {
            name: {n: judged_anew(options.folder, store, work, n) for n in (videos // 8, videos)}
            for name, store in stores.items()
        }
        decoded = signed_at_720p(options.folder, work, options.clips)
    result = {
        "store": others,
        "videos": videos,
        "mean_seconds": float(signed(options.folder / "run")[:, 0].mean()),
        "cpu_seconds": measured,
        "lines": lines(measured),
        "decoded": decoded,
    }
    write_result(options.out, "matching_cost", result, report(result))


def report(result: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    decode = result["decoded"]["a_second"] * result["mean_seconds"]
    rows = []
    for name, line in result["lines"].items():
        by_size = result["cpu_seconds"][name]
        whole = by_size[max(by_size)] / max(by_size)
        rows.append(
            [name, *by_size.values(), line["each_command"], line["each_video"], line["each_video"] / decode,
             whole, whole / decode]
        )  # fmt: skip
    few, many = (str(n) for n in sorted(next(iter(result["cpu_seconds"].values()))))
    head = ["store", f"{few} videos, s", f"{many} videos, s", "each command", "each video", "of decoding"]
    large = result["lines"]["large"]
    searching = large["each_video"] - result["lines"]["as it was"]["each_video"]
    amortised = large["each_command"] / max(1e-9, BAR * decode - large["each_video"])
    return "\n\n".join(
        [
            "# Cost of matching",
            f"{result['videos']:,} intake videos of {result['mean_seconds']:.1f} s, judged from their signatures. The "
            f"large store holds {result['store']['keyframes']:,} keyframes of {result['store']['videos']:,} videos and "
            f"{result['store']['made_up_descriptors']:,} local descriptors of made-up ones. Decoding and signing at "
            f"720p takes {result['decoded']['a_second']:.3f} s a second of video "
            f"({result['decoded']['video_seconds']:.0f} s measured), {decode:.2f} s for a video of the mean length.",
            table([*head, f"a video of {many}", "of decoding"], rows),
            f"Searching what was added, which every video takes, is the difference: {searching:.4f} s a video, "
            f"{searching / decode:.1%} of decoding. The rest proves, and groups, what looks like known footage or "
            "other videos of the intake, as nearly all of this one does.",
            f"Matching against the large store is within {BAR:.0%} of decoding "
            + (f"from {amortised:,.0f} videos a night on." if large["each_video"] < BAR * decode else "at no size."),
        ]
    )


if __name__ == "__main__":
    main()
