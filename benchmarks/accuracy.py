"""Is a new video ever hidden, and how much known footage is cleared? Planted truth through the command line.

    python -m benchmarks.accuracy [VIDEOS…] [--out benchmarks/results/accuracy]

Every clip is cut into halves. The first half is enrolled. The intake holds
- copies: the first half under each edit (truth: known),
- takes: the second half, same scene and camera, under each edit (truth: new, must never be `known`),
- splices: the first half with 1, 2 or 3 seconds of the second half put in or put in place of its own (those are new).
Without VIDEOS it makes its own footage: moving clips, and fixed cameras with different actors in the two halves.
Prints a table and writes it as JSON and Markdown, with 95 % Clopper–Pearson bounds for the errors.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from videonovelty import footage
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.records import U8

FPS = 25.0
SIDE = 320
LONGEST_SECONDS = 50.0
COPY_SECONDS = 12.0
TAKE_SECONDS = 10.0


def _crop(share: float) -> Callable[[U8], U8]:
    def edit(picture: U8) -> U8:
        height, width = picture.shape[:2]
        y, x = int(height * share / 2), int(width * share / 2)
        return _even(picture[y : height - y, x : width - x])

    return edit


def _even(picture: U8) -> U8:
    return np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])


def _caption(picture: U8) -> U8:
    out = picture.copy()
    height, width = out.shape[:2]
    out[int(0.85 * height) : int(0.97 * height), int(0.1 * width) : int(0.9 * width)] = 15
    at = (int(0.14 * width), int(0.94 * height))
    return np.asarray(cv2.putText(out, "WHEN YOU SEE IT", at, 0, 0.5, (255, 255, 255), 1), np.uint8)


def _noise(picture: U8) -> U8:
    rng = np.random.default_rng(int(picture.sum()))
    return np.clip(picture + rng.normal(0, 10, picture.shape), 0, 255).astype(np.uint8)


def _half_size(picture: U8) -> U8:
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (width // 4 * 2, height // 4 * 2), interpolation=cv2.INTER_AREA), np.uint8)


def _letterbox(picture: U8) -> U8:
    bar = picture.shape[0] // 6
    return np.pad(picture, ((bar, bar), (0, 0), (0, 0)))


EDITS: dict[str, tuple[Callable[[U8], U8], int]] = {
    "re-encode": (lambda p: p, 34),
    "half size": (_half_size, 34),
    "mirror": (lambda p: np.ascontiguousarray(p[:, ::-1]), 28),
    "brighter": (lambda p: np.clip(p.astype(np.int16) + 30, 0, 255).astype(np.uint8), 28),
    "noise": (_noise, 28),
    "caption": (_caption, 28),
    "letterbox": (_letterbox, 28),
    "crop 10 %": (_crop(0.1), 28),
    "crop 25 %": (_crop(0.25), 28),
}
"""Name → edit of one picture and x264 crf."""


@dataclass(frozen=True, slots=True)
class Source:
    """One clip in two halves."""

    name: str
    known: list[U8]
    other: list[U8]


def sources(videos: Sequence[Path]) -> Iterator[Source]:
    """Yield the clips long enough to be halved, at 25 frames a second."""
    for path in videos:
        frames = list(_at_fixed_rate(path))
        half = len(frames) // 2
        if half >= 4 * FPS:
            yield Source(path.name, frames[:half], frames[half + 12 :])
    if not videos:
        for seed in range(8):
            frames = list(footage.clip(900 + seed, 24.0, width=SIDE, height=180))
            yield Source(f"clip{seed}", frames[: len(frames) // 2], frames[len(frames) // 2 :])
        for room in range(6):
            takes = [list(footage.fixed_camera(room, take, 12.0, width=SIDE, height=180)) for take in (0, 1)]
            yield Source(f"room{room}", takes[0], takes[1])


def _at_fixed_rate(path: Path) -> Iterator[U8]:
    shown: U8 | None = None
    due = 0.0
    first: float | None = None
    for seconds, picture in read_rgb(path, max_side=SIDE):
        first = seconds if first is None else first
        while shown is not None and due < min(seconds - first, LONGEST_SECONDS):
            yield shown
            due += 1 / FPS
        shown = _even(picture)


def make(folder: Path, clips: Sequence[Source]) -> list[dict[str, Any]]:
    """Write known/ and intake/, and return the truth: one entry a file of the intake."""
    truth: list[dict[str, Any]] = []
    (folder / "known").mkdir(parents=True)
    (folder / "intake").mkdir()

    def write(name: str, frames: Sequence[U8], crf: int, **fields: Any) -> None:
        write_video(folder / "intake" / name, frames, fps=FPS, crf=crf)
        truth.append({"name": name, **fields})

    for number, clip in enumerate(clips):
        write_video(folder / "known" / f"{number:03d}.mp4", clip.known, fps=FPS, crf=20)
        for edit, (function, crf) in EDITS.items():
            copy = [function(p) for p in clip.known[: int(COPY_SECONDS * FPS)]]
            take = [function(p) for p in clip.other[: int(TAKE_SECONDS * FPS)]]
            write(f"{number:03d} copy {edit}.mp4", copy, crf, kind="copy", edit=edit, source=clip.name)
            write(f"{number:03d} take {edit}.mp4", take, crf, kind="take", edit=edit, source=clip.name)
        middle = len(clip.known) // 2
        for seconds in (1, 2, 3):
            new = clip.other[::1][25 : 25 + int(seconds * FPS)]
            if len(new) < seconds * FPS or len(clip.known) < 6.4 * FPS:
                continue
            for how, after in (("inserted", middle), ("replaced", middle + len(new))):
                write(
                    f"{number:03d} {how} {seconds} s.mp4", [*clip.known[:middle], *new, *clip.known[after:]], 26,
                    kind="splice", edit=f"{how} {seconds} s", source=clip.name, at=middle / FPS, seconds=seconds,
                )  # fmt: skip
    return truth


def screen(folder: Path) -> None:
    """Enrol and scan with the command line, on this machine's defaults."""
    command = [sys.executable, "-c", "from videonovelty.cli import main; main()"]
    subprocess.run(
        [*command, "known", "add", folder / "known", "--store", folder / "store", "--list", "k", "--workers", "2"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(
        [*command, "scan", folder / "intake", "--store", folder / "store", "--run", folder / "run", "--workers", "2"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def measure(folder: Path, truth: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of one finished run."""
    rows = {row["path"].rsplit("/", 1)[1]: row for row in pq.read_table(folder / "run/verdicts.parquet").to_pylist()}
    segments: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for segment in pq.read_table(folder / "run/segments.parquet").to_pylist():
        segments[segment["video_id"]].append(segment)
    known_ids = {row["video_id"]: row["source"] for row in _store_rows(folder / "store")}
    table: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    failures: list[str] = []
    for entry in truth:
        row = rows[entry["name"]]
        cell = table[entry["kind"], entry["edit"]]
        cell["videos"] += 1
        cell[row["verdict"]] += 1
        cell["seconds"] += row["duration_seconds"]
        cell["cleared"] += row["known_seconds"]
        found = known_ids.get(row["best_known_id"] or "", "")
        cell["source found"] += found == f"{entry['name'][:3]}.mp4"
        hidden = 0.0
        if entry["kind"] == "splice":
            low, high = entry["at"], entry["at"] + entry["seconds"]
            hidden = sum(
                max(0.0, min(s["end_seconds"], high) - max(s["start_seconds"], low))
                for s in segments[row["video_id"]]
                if s["kind"] == "known"
            )
            cell["new seconds"] += entry["seconds"]
            cell["new seconds hidden"] += hidden
        wrong = entry["kind"] != "copy" and row["verdict"] == "known"
        wrong |= entry["kind"] == "take" and row["verdict"] == "partly_known"
        if wrong or hidden > 1.0:
            failures.append(f"{entry['name']} ({entry['source']}): {row['verdict']}, {hidden:.1f} new s hidden")
    takes = [cell for (kind, _), cell in table.items() if kind == "take"]
    n = int(sum(cell["videos"] for cell in takes))
    errors = int(sum(cell["known"] + cell["partly_known"] for cell in takes))
    copies = [cell for (kind, _), cell in table.items() if kind == "copy"]
    return {
        "takes": n,
        "takes called known or partly known": errors,
        "upper 95 % bound of that rate": round(upper_bound(errors, n), 5),
        "copied seconds cleared": round(
            sum(cell["cleared"] for cell in copies) / max(1.0, sum(cell["seconds"] for cell in copies)), 4
        ),
        "copies whose source was found": int(sum(cell["source found"] for cell in copies)),
        "copies": int(sum(cell["videos"] for cell in copies)),
        "failures": failures,
        "table": [{"kind": kind, "edit": edit, **cell} for (kind, edit), cell in sorted(table.items())],
    }


def _store_rows(store: Path) -> list[dict[str, str]]:
    from videonovelty.known import KnownStore

    return [
        {"video_id": video.video_id, "source": video.memberships[0].source.rsplit("/", 1)[-1]}
        for video in KnownStore.open(store).snapshot().videos()
    ]


def upper_bound(errors: int, n: int, confidence: float = 0.95) -> float:
    """Return the one-sided Clopper–Pearson upper bound of a rate, by bisection of the binomial's tail."""
    if n == 0 or errors >= n:
        return 1.0
    low, high = errors / n, 1.0
    for _ in range(60):
        rate = 0.5 * (low + high)
        tail = sum(math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(errors + 1))
        low, high = (rate, high) if tail > 1 - confidence else (low, rate)
    return high


def as_markdown(figures: dict[str, Any]) -> str:
    """Return the figures as tables people read."""
    lines = [f"- {name}: {value}" for name, value in figures.items() if name not in ("table", "failures")]
    lines += ["", "| kind | edit | videos | known | partly | same scene | novel | source | cleared | new s hidden |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for cell in figures["table"]:
        count = [int(cell.get(name, 0)) for name in ("videos", "known", "partly_known", "same_scene", "novel")]
        hidden = f"{cell['new seconds hidden']:.1f}/{cell['new seconds']:.0f}" if "new seconds" in cell else ""
        lines.append(
            f"| {cell['kind']} | {cell['edit']} | {' | '.join(map(str, count))} | {int(cell['source found'])} | "
            f"{cell['cleared'] / cell['seconds']:.0%} | {hidden} |"
        )
    lines += ["", *(f"- {failure}" for failure in figures["failures"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make, screen, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/accuracy"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = make(folder, list(sources(options.videos)))
        try:
            screen(folder)
        except subprocess.CalledProcessError as error:
            if error.returncode != 3:
                raise
        figures = measure(folder, truth)
        shutil.rmtree(folder / "intake")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")
    text = as_markdown(figures)
    options.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
