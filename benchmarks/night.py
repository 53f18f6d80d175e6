"""What a night costs: measures each stage here and predicts cores and hours for a night of another size.

    python benchmarks/night.py [--videos FOLDER] [--nightly 150000] [--mean-seconds 60] [--known-keyframes 1e8]

Stages are measured in processor seconds, which other programs on the machine disturb little, on a mixed corpus: FOLDER,
or clips of four kinds made here. Half of it is enrolled, all of it screened by the plain loop. The join is measured on
random codes of growing numbers and extended by a + b·known + c·queries + d·known·queries. Writes night.md, night.json
and, where matplotlib is installed, night.png; the assumptions stand in night.md.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videonovelty import footage
from videonovelty.batch import Part, Progress, signing_fingerprint
from videonovelty.decode.writer import write_video
from videonovelty.engine import open_engine
from videonovelty.enrolment import enrol, store_identity, work_folder
from videonovelty.known import KnownStore
from videonovelty.lookup import QUERY_BYTES, query_limit
from videonovelty.matching.hamming import join
from videonovelty.records import ListMembership
from videonovelty.run import RunFolder, State
from videonovelty.screening import screen
from videonovelty.settings import Settings, load_settings

KINDS = (("libx264", 320, 180), ("libx264", 640, 360), ("libx264", 1280, 720), ("mpeg4", 640, 360))
"""Codec and size of the clips made here; a night is taken to hold equal seconds of each."""
RADIUS = 31
JOIN_SIZES = ((200_000, 20_000), (200_000, 80_000), (800_000, 20_000), (800_000, 80_000), (1_600_000, 40_000))
CORES = (8, 16, 32, 64, 128)
SERIAL_STAGES = ("grouping", "tables")
"""What the main process does alone."""


def make_corpus(folder: Path, clips_per_kind: int, seconds: float) -> None:
    """Write clips of every kind, no two alike."""
    folder.mkdir(parents=True)
    for number, (codec, width, height) in enumerate(KINDS):
        for i in range(clips_per_kind):
            path = folder / f"{codec}-{width}x{height}-{i}.mp4"
            frames = footage.clip(100 * number + i, seconds, width=width, height=height)
            write_video(path, frames, fps=25.0, codec=codec)


class StageClock:
    """Processor seconds of this process between one report of progress and the next, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.process_time()

    def __call__(self, progress: Progress) -> None:
        self.stop(progress.stage)

    def stop(self, stage: str) -> None:
        now = time.process_time()
        self.seconds[stage] += now - self._last
        self._last = now


def measure_night(videos: Path, folder: Path, settings: Settings) -> dict[str, Any]:
    """Enrol every other video, screen all, and return what each stage took."""
    paths = sorted(p for p in videos.iterdir() if p.is_file())
    store = KnownStore.create(folder / "known")
    fingerprint = signing_fingerprint(settings)
    work = work_folder(store, paths[::2], "benchmark")
    with (
        RunFolder.open(work, store_id=store_identity(store), settings=settings, fingerprint=fingerprint) as run,
        open_engine(settings.run, workers=0, local_directory=folder / "workers") as engine,
    ):
        enrol(
            paths[::2],
            store=store,
            run=run,
            engine=engine,
            settings=settings,
            fingerprint=fingerprint,
            membership=ListMembership("benchmark", "other"),
            actor="benchmark",
            reason="benchmark",
            report=lambda _: None,
        )
    clock = StageClock()
    with (
        RunFolder.open(
            folder / "run", store_id=store_identity(store), settings=settings, fingerprint=fingerprint
        ) as run,
        open_engine(settings.run, workers=0, local_directory=folder / "workers") as engine,
    ):
        clock.stop("opening")
        result = screen(
            [videos],
            store=store,
            run=run,
            engine=engine,
            settings=settings,
            report=clock,
            fingerprint=fingerprint,
        )
        clock.stop("tables")
        signed: list[Mapping[str, Any]] = [e.fields for e in run.journal.entries() if e.state == State.SIGNED]
        parts = [Part(run.path, v, s.part_sha256).read() for v, s in run.states.items() if s.part_sha256]
    if not signed:
        raise SystemExit(f"{videos}: nothing in it could be signed; links, for one, are not followed")
    video_seconds = sum(fields["video_seconds"] for fields in signed)
    decode_seconds = sum(fields["cpu_seconds"] for fields in signed)
    keyframes = sum(len(part.signatures.pts_seconds) for part in parts)
    codes = sum(len(part.signatures.pts_seconds) * (1 + bool(part.signatures.has_inner.any())) for part in parts) * 8
    return {
        "videos": len(paths),
        "signed": len(signed),
        "video_seconds": video_seconds,
        "decode_cpu_seconds": decode_seconds,
        "stage_cpu_seconds": dict(clock.seconds),
        "keyframes_per_video_second": keyframes / video_seconds,
        "codes_per_video_second": codes / video_seconds,
        "verdicts": result.document["counts"]["verdicts"],
    }


def measure_join(sizes: tuple[tuple[int, int], ...]) -> list[dict[str, float]]:
    """Return processor seconds of the join of random codes, a tenth of the queries near a known one."""
    draw = np.random.default_rng(7)
    join(draw.integers(0, 256, (5000, 32), np.uint8), draw.integers(0, 256, (5000, 32), np.uint8), RADIUS)  # compiles
    found = []
    for n_known, n_queries in sizes:
        known = draw.integers(0, 256, (n_known, 32), np.uint8)
        queries = draw.integers(0, 256, (n_queries, 32), np.uint8)
        near = n_queries // 10
        queries[:near] = known[:near]
        queries[:near, :2] ^= draw.integers(0, 256, (near, 2), np.uint8)
        started = time.process_time()
        pairs = join(known, queries, RADIUS)
        seconds = time.process_time() - started
        if len(pairs.query_index) < near:
            raise AssertionError("the join lost planted pairs")
        found.append({"known": n_known, "queries": n_queries, "cpu_seconds": seconds})
    return found


def fit_join(measured: list[dict[str, float]]) -> tuple[float, float, float]:
    """Return seconds a known code, a query and a pair of them, none negative, that fit `measured` in proportion."""
    n = np.array([m["known"] for m in measured])
    q = np.array([m["queries"] for m in measured])
    seconds = np.array([m["cpu_seconds"] for m in measured])
    columns = np.stack([n, q, n * q], axis=1) / seconds[:, None]
    best, best_error = (0.0, 0.0, 0.0), math.inf
    for chosen in ((0, 1, 2), (0, 2), (1, 2), (0, 1), (2,), (0,), (1,)):
        solution = np.linalg.lstsq(columns[:, chosen], np.ones(len(seconds)), rcond=None)[0]
        error = float(np.square(columns[:, chosen] @ solution - 1).sum())
        if (solution >= 0).all() and error < best_error:
            full = [0.0, 0.0, 0.0]
            for place, value in zip(chosen, solution, strict=True):
                full[place] = float(value)
            best, best_error = (full[0], full[1], full[2]), error
    return best


def measure_engine(folder: Path, settings: Settings, tasks: int = 300) -> float:
    """Return processor seconds of the main process for handing out one task and taking its result."""
    with open_engine(settings.run, workers=2, local_directory=folder / "workers") as engine:
        list(engine.map_unordered(operator.neg, range(20)))
        started = time.process_time()
        list(engine.map_unordered(operator.neg, range(tasks)))
        return (time.process_time() - started) / tasks


def predict(m: Mapping[str, Any], *, nightly: int, mean_seconds: float, known_keyframes: float) -> dict[str, Any]:
    """Return processor hours by stage for a whole night, and its hours on each number of cores."""
    night, stages = m["night"], m["night"]["stage_cpu_seconds"]
    hours = {"decode and sign": nightly * mean_seconds * night["decode_cpu_seconds"] / night["video_seconds"] / 3600}
    for stage, seconds in stages.items():
        if stage not in ("opening", *SERIAL_STAGES):
            hours[f"{stage} (around it)" if stage == "signing" else stage] = nightly * seconds / night["videos"] / 3600
    all_queries = nightly * mean_seconds * night["codes_per_video_second"]
    batches = math.ceil(all_queries * QUERY_BYTES / query_limit(Settings()))
    queries = all_queries / batches
    a, b, c = m["join_model"]
    hours["join"] = batches * (a * known_keyframes + b * queries + c * known_keyframes * queries) / 3600
    serial = {stage: nightly * stages.get(stage, 0.0) / night["videos"] / 3600 for stage in SERIAL_STAGES}
    serial["handing out"] = nightly * m["engine_cpu_seconds_per_task"] / 3600
    total = sum(hours.values())
    return {
        "parallel_cpu_hours": hours,
        "serial_hours": serial,
        # Handing out runs beside the workers; the other serial stages come after them.
        "hours": {k: max(total / k, serial["handing out"]) + serial["grouping"] + serial["tables"] for k in CORES},
    }


def as_text(m: Mapping[str, Any], p: Mapping[str, Any], options: argparse.Namespace) -> str:
    """Return the figures as Markdown."""
    night = m["night"]
    lines = [
        f"# A night of {options.nightly:,} videos of {options.mean_seconds:g} s against "
        f"{options.known_keyframes:.0e} known keyframes",
        "",
        f"Measured on {m['machine']}: {night['videos']} videos, {night['video_seconds']:.0f} s of video, verdicts "
        f"{night['verdicts']}. Decoding and signing took {night['decode_cpu_seconds'] / night['video_seconds']:.3f} "
        f"processor seconds a second of video, {night['keyframes_per_video_second']:.2f} keyframes and "
        f"{night['codes_per_video_second']:.1f} query codes (at most) a second.",
        "",
        "| stage | processor hours |",
        "|---|---|",
        *(f"| {stage} | {hours:.2f} |" for stage, hours in p["parallel_cpu_hours"].items()),
        *(f"| {stage} (main process) | {hours:.2f} |" for stage, hours in p["serial_hours"].items()),
        "",
        "| cores | hours |",
        "|---|---|",
        *(f"| {cores} | {hours:.1f} |" for cores, hours in p["hours"].items()),
        "",
        "| known codes | queries | join, processor seconds | model |",
        "|---|---|---|---|",
        *(
            f"| {j['known']:,} | {j['queries']:,} | {j['cpu_seconds']:.2f} | {modelled(m['join_model'], j):.2f} |"
            for j in m["join"]
        ),
        "",
        "Assumptions: the night's mix is that of the corpus; every video is new content (exact copies cost a read); "
        "cores are like this one and do not slow each other down; stages other than the join grow with the number of "
        "videos (grouping, measured on few videos, may grow faster); the join is extended far beyond what was "
        "measured; reading from storage is no limit; no video is larger than a core's share of the night.",
        "",
    ]
    return "\n".join(lines)


def modelled(model: tuple[float, float, float], sizes: Mapping[str, float]) -> float:
    """Return the model's seconds for one measured join."""
    a, b, c = model
    return a * sizes["known"] + b * sizes["queries"] + c * sizes["known"] * sizes["queries"]


def plot(p: Mapping[str, Any], path: Path) -> bool:
    """Draw hours against cores; return False without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return False
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.loglog(list(p["hours"]), list(p["hours"].values()), marker="o")
    axes.axhline(8, linestyle=":", color="grey")
    axes.text(CORES[0], 8.3, "8 h")
    axes.set_xlabel("cores")
    axes.set_ylabel("hours for the night")
    axes.set_xticks(CORES, [str(c) for c in CORES])
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, dpi=120)
    return True


def main() -> None:
    """Measure, predict, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="a folder of videos; without it clips are made")
    parser.add_argument("--clips-per-kind", type=int, default=2)
    parser.add_argument("--clip-seconds", type=float, default=12.0)
    parser.add_argument("--nightly", type=int, default=150_000)
    parser.add_argument("--mean-seconds", type=float, default=60.0)
    parser.add_argument("--known-keyframes", type=float, default=1e8)
    parser.add_argument("--out", type=Path, default=Path("night"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    settings = load_settings(intake={"settle_seconds": 0.0})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = options.videos
        if videos is None:
            videos = folder / "corpus"
            make_corpus(videos, options.clips_per_kind, options.clip_seconds)
        measured: dict[str, Any] = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "night": measure_night(videos, folder, settings),
            "join": measure_join(JOIN_SIZES),
            "engine_cpu_seconds_per_task": measure_engine(folder, settings),
        }
    measured["join_model"] = fit_join(measured["join"])
    predicted = predict(
        measured,
        nightly=options.nightly,
        mean_seconds=options.mean_seconds,
        known_keyframes=options.known_keyframes,
    )
    (options.out / "night.json").write_text(json.dumps({"measured": measured, "predicted": predicted}, indent=2) + "\n")
    text = as_text(measured, predicted, options)
    (options.out / "night.md").write_text(text)
    print(text)
    if not plot(predicted, options.out / "night.png"):
        print("No plot: matplotlib is not installed.")


if __name__ == "__main__":
    main()
