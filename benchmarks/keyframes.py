"""Keyframes against exact truth and against peers: hard cuts, gradual transitions, content without a look-alike.

Makes edits of real single takes (hard cuts, flashes, dissolves, fades through black and white, wipes) whose every
transition is known, and asks: are the cuts found, does every shot hold a keyframe, does every moment of real footage
have a look-alike among the keyframes? Peers: PySceneDetect's detectors, ffmpeg's `scdet` and scene score (libavfilter).

    python -m benchmarks.keyframes VIDEOS [--shots 90] [--out benchmarks/results]

`VIDEOS` is a folder of videos; takes named in `SINGLE_TAKES` are used for the edits, and where none of them is there
the edits are made of drawn footage. Costs are CPU seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from videonovelty import footage
from videonovelty.decode import open_video
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.errors import VideoError
from videonovelty.keyframes import choose_keyframes
from videonovelty.records import U8
from videonovelty.settings import load_settings

WIDTH, HEIGHT, FPS = 384, 216, 25
LONGEST_TAKE_FRAMES = 300
TOLERANCE_FRAMES = 2
SETTINGS = load_settings()

# Files without a cut inside, one group for those that show the same place. Looked through frame by frame where a
# detector found a cut: dovi_10-video.mp4 has one at 1.7 s, MOV00006.3gp is a row of stills held for half a second each.
SINGLE_TAKES = {
    "cockatoo_yuv420.mp4": "cockatoo",
    "car-detection.mp4": "cars",
    "bottle_detection.mp4": "bottles",
    "vtest.avi": "plaza",
    "chair-orig-22-sd-bar.mp4": "chair",
    "carphone_pristine.mp4": "carphone",
    "flipping_a_pancake.mkv": "pancake",
    "mp4-basic.mp4": "car park",
    "R6llTwEh07w.mp4": "segway",
    "solidYellowLeft.mp4": "lane",
    "run.mp4": "marathon",
    "frog.mp4": "table",
    "monster.mp4": "table",
    "rabbit320.mp4": "table",
    "v1.m4v": "skyline",
    "vp9cake.webm": "cake",
    "04_coffee.mp4": "coffee",
    "count-video.mp4": "hand",
    "test_qcif_200_aac_64.mp4": "shelf",
    "example.f4v": "phone",
    "person-bicycle-car-detection.gif": "parking",
}

GRADUAL_KINDS = ("hard", "dissolve", "black", "white", "wipe")
GRADUAL_WEIGHTS = (25, 40, 15, 8, 12)


@dataclass
class Truth:
    """Where the transitions of an edit are, in frames."""

    transitions: list[tuple[str, int, int]] = field(default_factory=list)
    """(kind, first frame of the transition, first frame after it); equal for a hard cut."""
    flashes: list[int] = field(default_factory=list)
    frames: int = 0

    def shots(self) -> list[tuple[int, int]]:
        """Return the clean part of each shot, `[first, last)` in frames."""
        starts = [0] + [t[2] for t in self.transitions]
        ends = [t[1] for t in self.transitions] + [self.frames]
        return list(zip(starts, ends, strict=True))


Take = Callable[[int, int], list[U8]]
"""(first frame, number of frames) → that many pictures at most, of shape (HEIGHT, WIDTH, 3)."""


def real_takes(folder: Path, cache: Path) -> dict[str, tuple[str, int, Take]]:
    """Return {name: (group, frames, reader)} of the single takes found in `folder`, their pictures kept in `cache`."""
    takes: dict[str, tuple[str, int, Take]] = {}
    for name, group in SINGLE_TAKES.items():
        if (folder / name).is_file():
            count, read = _file_take(folder / name, cache / f"{name}.raw")
            takes[name] = (group, count, read)
    return takes


def drawn_takes() -> dict[str, tuple[str, int, Take]]:
    """Return takes of drawn footage, for where there are no real ones."""

    def take(seed: int) -> Take:
        def read(first: int, count: int) -> list[U8]:
            clip = footage.clip(seed, (first + count) / FPS, width=WIDTH, height=HEIGHT, fps=FPS, shots=1)
            return [picture for i, picture in enumerate(clip) if i >= first]

        return read

    return {f"drawn {seed}": (str(seed), 250, take(seed)) for seed in range(24)}


def _file_take(path: Path, raw: Path) -> tuple[int, Take]:
    """Decode a file once, at 25 frames a second; return (frames, reader)."""
    count = 0
    shown: U8 | None = None
    with raw.open("wb") as out:
        for seconds, picture in read_rgb(path, max_side=800, end_seconds=LONGEST_TAKE_FRAMES / FPS):
            while shown is not None and count / FPS < seconds - 1e-6:
                out.write(shown.tobytes())
                count += 1
            shown = _filled(picture)
    pictures = np.memmap(raw, np.uint8, "r", shape=(count, HEIGHT, WIDTH, 3))

    def read(first: int, length: int) -> list[U8]:
        return [np.array(picture) for picture in pictures[first : first + length]]

    return count, read


def _filled(picture: U8) -> U8:
    """Scale and crop to WIDTH × HEIGHT."""
    height, width = picture.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height)
    size = (max(WIDTH, round(width * scale)), max(HEIGHT, round(height * scale)))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (size[1] - HEIGHT) // 2, (size[0] - WIDTH) // 2
    return np.asarray(picture[top : top + HEIGHT, left : left + WIDTH], np.uint8)


def edit(
    takes: dict[str, tuple[str, int, Take]], shots: int, seed: int, *, gradual: bool, truth: Truth
) -> Iterator[U8]:
    """Yield the pictures of an edit and write its transitions into `truth`.

    Shots are 12 to 250 frames (log-normal, median 60); one in eight longer ones holds a camera flash of 1–2 frames.
    """
    rng = random.Random(seed)
    names = sorted(takes)
    tail: list[U8] = []
    group = ""
    for number in range(shots):
        name = rng.choice([n for n in names if takes[n][0] != group])
        group, available, read = takes[name]
        length = min(int(min(250, max(12, rng.lognormvariate(4.1, 0.75)))), available)
        pictures = read(rng.randrange(0, available - length + 1), length)
        kind = rng.choices(GRADUAL_KINDS, GRADUAL_WEIGHTS)[0] if gradual and number else "hard"
        overlap = min(rng.randrange(10, 38), len(tail), len(pictures) // 2) if kind != "hard" else 0
        if number:
            kind = kind if overlap >= 6 else "hard"
            overlap = overlap if kind != "hard" else 0
            for picture in tail[: len(tail) - overlap]:
                truth.frames += 1
                yield picture
            start = truth.frames
            for j in range(overlap):
                truth.frames += 1
                yield _blend(kind, tail[len(tail) - overlap + j], pictures[j], (j + 1) / (overlap + 1))
            truth.transitions.append((kind, start, truth.frames))
        pictures = [p.copy() for p in pictures[overlap:]]
        if rng.random() < 0.12 and len(pictures) > 60:
            at = rng.randrange(20, len(pictures) - 40)
            for j in range(rng.choice([1, 2])):
                pictures[at + j] = cv2.convertScaleAbs(pictures[at + j], alpha=1.3, beta=110).astype(np.uint8)
            truth.flashes.append(truth.frames + at)
        keep = 40 if gradual and number < shots - 1 else 0
        cut = max(0, len(pictures) - keep) if keep else len(pictures)
        for picture in pictures[:cut]:
            truth.frames += 1
            yield picture
        tail = pictures[cut:]


def _blend(kind: str, old: U8, new: U8, share: float) -> U8:
    if kind == "dissolve":
        return np.asarray(cv2.addWeighted(old, 1 - share, new, share, 0), np.uint8)
    if kind == "wipe":
        mixed = old.copy()
        mixed[:, : int(WIDTH * share)] = new[:, : int(WIDTH * share)]
        return mixed
    level = 0 if kind == "black" else 255
    picture, weight = (old, 1 - 2 * share) if share < 0.5 else (new, 2 * share - 1)
    weight = max(weight, 0.0)
    return np.asarray(cv2.addWeighted(picture, weight, np.full_like(picture, level), 1 - weight, 0), np.uint8)


def score(cuts: list[int], truth: Truth) -> dict[str, float]:
    """Return precision, recall, F1: one-to-one, within two frames of the transition; a flash found is a false alarm."""
    used: set[int] = set()
    hits = 0
    for _, start, end in truth.transitions:
        near = [c for c in cuts if c not in used and start - TOLERANCE_FRAMES <= c <= end + TOLERANCE_FRAMES]
        if near:
            used.add(min(near, key=lambda c: abs(c - (start + end) / 2)))
            hits += 1
    precision, recall = hits / max(len(cuts), 1), hits / max(len(truth.transitions), 1)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        "found": len(cuts),
    }


# detectors: path → (frames at which a shot begins, CPU seconds)


def ours(path: Path) -> list[int]:
    """Return the frames at which `choose_keyframes` begins a shot."""
    return [round(seconds * FPS) for seconds in keyframes_of(path)[1]]


def keyframes_of(path: Path) -> tuple[list[tuple[float, float, float, U8]], list[float]]:
    """Return ([(pts, start, end, luma of shape (18, 32))], times of cuts) of a video."""
    fd = os.open(path, os.O_RDONLY)
    try:
        with open_video(fd, SETTINGS.decode, name=path.name) as video:
            chosen = choose_keyframes(video.frames("nonref"), SETTINGS.keyframes)
            kept = [(k.pts_seconds, k.start_seconds, k.end_seconds, k.frame.luma(32, 18)) for k in chosen]
        return kept, chosen.cuts_seconds
    finally:
        os.close(fd)


def scenedetect(name: str) -> Callable[[Path], list[int]]:
    """Return a detector of PySceneDetect with its default settings, reading through PyAV on one thread."""

    def detect(path: Path) -> list[int]:
        import logging

        from scenedetect import SceneManager, detectors
        from scenedetect import open_video as open_scenes

        logging.getLogger("pyscenedetect").setLevel(logging.ERROR)
        video = open_scenes(str(path), backend="pyav", threading_mode="NONE")
        manager = SceneManager()
        manager.add_detector(getattr(detectors, name)())
        manager.detect_scenes(video)
        return [scene[0].frame_num for scene in manager.get_scene_list()][1:]

    return detect


def ffmpeg_filter(name: str, options: str, key: str, above: float) -> Callable[[Path], list[int]]:
    """Return a detector by a filter of libavfilter, on every frame: a cut where metadata `key` is above a value."""

    def detect(path: Path) -> list[int]:
        import av

        cuts = []
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            graph = av.filter.Graph()
            source = graph.add_buffer(template=stream)
            wanted = graph.add(name, options)
            sink = graph.add("buffersink")
            source.link_to(wanted)
            wanted.link_to(sink)
            graph.configure()
            for number, frame in enumerate(container.decode(stream)):
                graph.push(frame)
                if float(graph.pull().metadata.get(key, 0)) > above:
                    cuts.append(number)
        return cuts

    return detect


DETECTORS: dict[str, Callable[[Path], list[int]]] = {
    "videonovelty": ours,
    "PySceneDetect content": scenedetect("ContentDetector"),
    "PySceneDetect adaptive": scenedetect("AdaptiveDetector"),
    "PySceneDetect histogram": scenedetect("HistogramDetector"),
    "PySceneDetect hash": scenedetect("HashDetector"),
    # select='gt(scene,0)' passes nearly every frame and writes the score; the rest is dropped, as a score of 0 is
    "ffmpeg scdet 10": ffmpeg_filter("scdet", "threshold=10", "lavfi.scd.score", 10),
    "ffmpeg scdet 5": ffmpeg_filter("scdet", "threshold=5", "lavfi.scd.score", 5),
    "ffmpeg scene > 0.3": ffmpeg_filter("select", "gte(scene\\,0)", "lavfi.scene_score", 0.3),
}


def compare_detectors(path: Path, truth: Truth, rounds: int) -> dict[str, dict[str, float]]:
    """Return scores and CPU seconds (median of interleaved rounds) of every detector that can be imported."""
    table: dict[str, dict[str, float]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in DETECTORS}
    for number in range(rounds):
        for name, detect in DETECTORS.items():
            started = time.process_time()
            try:
                cuts = detect(path)
            except ImportError as error:
                print(f"{name}: left out ({error})")
                continue
            seconds[name].append(time.process_time() - started)
            if number == 0:
                table[name] = score(cuts, truth)
    for name, row in table.items():
        row["cpu_seconds"] = statistics.median(seconds[name])
        row["video_seconds_per_cpu_second"] = truth.frames / FPS / max(row["cpu_seconds"], 1e-9)
    return table


def gradual_coverage(path: Path, truth: Truth) -> dict[str, float]:
    """Return how many of the shots of a second and longer (without their transitions) hold a keyframe."""
    pts = [pts * FPS for pts, *_ in keyframes_of(path)[0]]
    long = [(first, last) for first, last in truth.shots() if last - first >= FPS]
    held = sum(any(first - 0.5 <= p < last - 0.5 for p in pts) for first, last in long)
    return {"shots": len(long), "with_keyframe": held, "share": held / max(len(long), 1)}


# real footage


def look_alike(kept: U8, picture: U8) -> bool:
    """Return whether any row of `kept` looks like `picture`: the test of the research note (32 × 18 luma, AREA).

    Alike: mean absolute difference ≤ 8 % of full scale, and correlated ≥ 0.7 unless the difference is below 2 %.
    """
    rows, one = kept.reshape(len(kept), -1).astype(np.float32), picture.ravel().astype(np.float32)
    distance = np.abs(rows - one).mean(1) / 255
    centred, other = rows - rows.mean(1, keepdims=True), one - one.mean()
    correlation = (centred @ other / other.size) / (rows.std(1) * one.std() + 4)
    return bool(((distance <= 0.08) & ((correlation >= 0.7) | (distance <= 0.02))).any())


def coverage_of_content(path: Path) -> dict[str, Any]:
    """Return keyframes a minute and the share of 0.5 s grid pictures (of every frame decoded) without a look-alike."""
    kept, _ = keyframes_of(path)
    pictures = np.stack([picture for *_, picture in kept])
    fd = os.open(path, os.O_RDONLY)
    grid: list[tuple[float, U8]] = []
    try:
        with open_video(fd, SETTINGS.decode, name=path.name) as video:
            due = 0.0
            for frame in video.frames("all"):
                if frame.pts_seconds >= due:
                    grid.append((frame.pts_seconds, frame.luma(32, 18)))
                    due = (frame.pts_seconds // 0.25 + 1) * 0.25
            seconds = video.coverage().decoded_seconds
    finally:
        os.close(fd)
    alone = [not look_alike(pictures, picture) for _, picture in grid]
    half = [i for i, (pts, _) in enumerate(grid) if pts % 0.5 < 0.25]
    return {
        "file": path.name,
        "seconds": seconds,
        "keyframes": len(kept),
        "keyframes_per_minute": len(kept) / max(seconds, 1e-9) * 60,
        "grid_pictures": len(half),
        "grid_alone": sum(alone[i] for i in half),
        "quarter_pictures": len(grid),
        "quarter_alone": sum(alone),
    }


def listed_cuts(folder: Path, table: Path) -> list[dict[str, Any]]:
    """Return, for each transition of `cuts.csv`, whether different keyframes stand for what is before and after it.

    Two frames of tolerance; for the middle of a fade through black (`fade_boundary`), where both sides are the same
    black, a keyframe must have been taken on either side, as far as the next listed transition.
    """
    listed: dict[str, set[tuple[int, int, str]]] = {}
    with table.open() as text:
        for row in csv.DictReader(text):
            kind = "fade" if row["kind"].startswith("fade_boundary") else row["kind"]
            listed.setdefault(row["file"], set()).add((int(row["first_frame"]), int(row["last_frame"]), kind))
    rows = []
    for name, transitions in listed.items():
        kept, _ = keyframes_of(folder / name)
        fd = os.open(folder / name, os.O_RDONLY)
        with open_video(fd, SETTINGS.decode, name=name) as video:
            pts = [frame.pts_seconds for frame in video.frames("all")]
        os.close(fd)
        ordered = sorted(transitions)
        for i, (first, last, kind) in enumerate(ordered):
            before = [k for k, (_, start, _, _) in enumerate(kept) if start <= pts[max(first - 2, 0)]]
            after = [k for k, (_, start, _, _) in enumerate(kept) if start <= pts[min(last + 2, len(pts) - 1)]]
            separated = before[-1] != after[-1]
            if kind == "fade":
                low = pts[ordered[i - 1][1]] if i else 0.0
                high = pts[ordered[i + 1][0]] if i + 1 < len(ordered) else pts[-1] + 1
                separated = any(low <= k[0] < pts[first] for k in kept) and any(pts[last] <= k[0] < high for k in kept)
            rows.append({"file": name, "first_frame": first, "kind": kind, "separated": separated})
    return rows


def main() -> None:
    """Run the benchmark and write JSON, Markdown and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="?", help="folder of videos; without it, drawn footage")
    parser.add_argument("--shots", type=int, default=90)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"seed": options.seed, "shots": options.shots}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        takes = real_takes(options.videos, folder) if options.videos else {}
        result["takes"] = sorted(takes) or "drawn"
        takes = takes or drawn_takes()
        cuts, grad = Truth(), Truth()
        pictures = edit(takes, options.shots, options.seed, gradual=False, truth=cuts)
        write_video(folder / "cuts.mp4", pictures, fps=FPS)
        pictures = edit(takes, options.shots, options.seed, gradual=True, truth=grad)
        write_video(folder / "grad.mp4", pictures, fps=FPS)
        result["cuts"] = {"transitions": len(cuts.transitions), "flashes": len(cuts.flashes), "frames": cuts.frames}
        result["detectors"] = compare_detectors(folder / "cuts.mp4", cuts, options.rounds)
        result["gradual"] = gradual_coverage(folder / "grad.mp4", grad)
    if options.videos:
        rows = []
        for path in sorted(p for p in options.videos.iterdir() if p.is_file() and p.suffix != ".csv"):
            try:
                rows.append(coverage_of_content(path))
            except VideoError as error:
                print(error)
        result["files"] = rows
        result["summary"] = summary(rows)
        if (options.videos / "cuts" / "cuts.csv").is_file():
            result["listed_cuts"] = listed_cuts(options.videos, options.videos / "cuts" / "cuts.csv")
    (options.out / "keyframes.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    (options.out / "keyframes.md").write_text(text)
    plot(result, options.out / "keyframes.png")
    print(text)


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures over all files: medians of files, shares of all grid pictures."""
    # six keyframes a video are more than fifty a minute in anything shorter than 7.2 s
    long = [r["keyframes_per_minute"] for r in rows if r["seconds"] >= 7.2]
    return {
        "files": len(rows),
        "keyframes_per_minute_median": statistics.median(r["keyframes_per_minute"] for r in rows),
        "keyframes_per_minute_median_of_files_from_7.2_s": statistics.median(long) if long else 0.0,
        "keyframes_per_minute_overall": sum(r["keyframes"] for r in rows) / sum(r["seconds"] for r in rows) * 60,
        "uncovered_half_second_grid": sum(r["grid_alone"] for r in rows) / sum(r["grid_pictures"] for r in rows),
        "uncovered_quarter_second_grid": sum(r["quarter_alone"] for r in rows)
        / sum(r["quarter_pictures"] for r in rows),
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the result as tables."""
    facts = result["cuts"]
    lines = [
        "# Keyframes",
        "",
        f"Hard cuts: {facts['transitions']} in {facts['frames']} frames, {facts['flashes']} camera flashes; "
        f"within {TOLERANCE_FRAMES} frames; speed includes decoding.",
        "",
        "| detector | precision | recall | F1 | found | video seconds per CPU second |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["detectors"].items():
        lines.append(
            f"| {name} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['found']} "
            f"| {row['video_seconds_per_cpu_second']:.0f} |"
        )
    gradual = result["gradual"]
    lines += [
        "",
        "Dissolves, fades through black and white, wipes, hard cuts mixed: "
        f"{gradual['with_keyframe']} of {gradual['shots']} shots of a second and longer hold a keyframe "
        f"({gradual['share']:.3f}).",
    ]
    if "summary" in result:
        lines += ["", "| over all files | |", "|---|---|"]
        lines += [f"| {key.replace('_', ' ')} | {value:.4g} |" for key, value in result["summary"].items()]
    if "listed_cuts" in result:
        rows = result["listed_cuts"]
        missed = [f"{r['file']} {r['first_frame']} ({r['kind']})" for r in rows if not r["separated"]]
        lines += ["", f"Listed transitions separated by keyframes: {len(rows) - len(missed)} of {len(rows)}."]
        lines += [f"- not separated: {row}" for row in missed]
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw F1 over speed of the detectors, and keyframes a minute of the files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for name, row in result["detectors"].items():
        left.scatter(row["video_seconds_per_cpu_second"], row["f1"])
        left.annotate(name, (row["video_seconds_per_cpu_second"], row["f1"]), fontsize=7)
    left.set(xlabel="video seconds per CPU second", ylabel="F1 of hard cuts", xscale="log")
    if "files" in result:
        right.hist([row["keyframes_per_minute"] for row in result["files"]], bins=24)
        right.set(xlabel="keyframes a minute", ylabel="files")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
