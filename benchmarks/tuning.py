"""Where the shipped thresholds come from: a sample set of made (or given) footage, a sweep, and what it costs.

    python -m benchmarks.tuning [VIDEOS…] [--sources CSV] [--seed 7] [--folder DIR]

Makes a sample set, signs it, tries settings around the shipped ones on one half of its sources, measures the shipped
and the chosen ones on the other, and writes everything into DIR: the set, `tuned/index.html`, `tuned.toml`, and the
figures of `videonovelty/tuning/DESIGN.md` as `results.json`. Without VIDEOS the footage is made here: clips of several
shots, and fixed cameras. Equal arguments and libraries give an equal set and equal counts. A folder that holds a set
already is measured, not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from videonovelty import footage
from videonovelty.decode.writer import write_video
from videonovelty.engine import open_engine
from videonovelty.settings import Settings
from videonovelty.tuning.choosing import make_variants
from videonovelty.tuning.metrics import Outcome
from videonovelty.tuning.queries import ALL_EDITS
from videonovelty.tuning.sampleset import SampleOptions, SampleSet, load_sampleset, make_samples
from videonovelty.tuning.sampletables import read_sources
from videonovelty.tuning.signed import SignedSamples, sign_samples
from videonovelty.tuning.sweep import sweep
from videonovelty.tuning.tune import TuneOptions, tune

WIDTH, HEIGHT, FPS = 192, 108, 12.5
"""Small, so that a thousand videos are made and signed in minutes."""


def made_footage(folder: Path, *, clips: int, cameras: int, seed: int, workers: int) -> list[Path]:
    """Write moving clips and fixed cameras into `folder`, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"clip{n:04}.mp4" for n in range(clips)] + [f"camera{n:04}.mp4" for n in range(cameras)]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(partial(_write, folder, seed), names))


def _write(folder: Path, seed: int, name: str) -> Path:
    path, number = folder / name, seed * 10_000 + int(name[-8:-4])
    size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "fps": FPS}
    if name.startswith("camera"):
        pictures = footage.fixed_camera(number, 0, 13.0, **size)
    else:
        pictures = footage.clip(number, 4.5 + number * 0.618 % 4.0, **size)
    write_video(path, pictures, fps=FPS, gop=25)
    return path


def counts(rows: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Return, by kind, how many queries of how many sources there are, and what became of them."""
    found: dict[str, dict[str, float]] = {}
    for kind in sorted({row.kind for row in rows}):
        of_kind = [row for row in rows if row.kind == kind]
        found[kind] = {
            "queries": len(of_kind),
            "sources": len({row.cluster for row in of_kind}),
            "hidden": sum(row.hidden for row in of_kind),
            "hidden_seconds": round(sum(min(row.hidden_seconds, row.new_truth) for row in of_kind), 2),
            "new_seconds": round(sum(row.new_truth for row in of_kind), 1),
            "cleared_seconds": round(sum(row.cleared for row in of_kind), 1),
            "known_seconds": round(sum(row.known_truth for row in of_kind), 1),
            "named": sum(row.named for row in of_kind),
            **{
                f"verdict {one}": sum(row.verdict == one for row in of_kind)
                for one in sorted({r.verdict for r in rows})
            },
        }
    return found


def timed_sweep(signed: SignedSamples, folder: Path, settings: Settings, options: TuneOptions) -> dict[str, float]:
    """Return what a sweep over every query of the set costs, in one process."""
    variants, _ = make_variants(options.levels, settings, most=options.most_settings, seed=options.seed)
    with open_engine(settings.run, workers=0, local_directory=folder / "workers") as engine:
        wall, cpu = time.perf_counter(), time.process_time()
        found = sweep(signed, None, variants, settings=settings, work=folder, engine=engine, report=lambda _: None)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "settings": variants.count,
        "queries": len(found),
        "videos": len(signed.parts),
        "cpu_seconds": round(cpu, 1),
        "wall_seconds_one_process": round(wall, 1),
        "different_verdicts": sum(len(one.verdicts) for one in found),
    }


def measured(samples: SampleSet, folder: Path, *, settings_tried: int, seed: int, workers: int) -> dict[str, Any]:
    """Tune on a set, and return the counts and intervals of the shipped and of the chosen settings."""
    settings, options = Settings(), TuneOptions(most_settings=settings_tried, seed=seed)
    out = folder / "tuned"
    with open_engine(settings.run, workers=workers, local_directory=folder / "workers") as engine:
        signed = sign_samples(samples, folder / "signatures", settings=settings, engine=engine, report=lambda _: None)
        found = tune(samples, out, settings=settings, engine=engine, options=options, cache=folder / "signatures")
    return {
        "videos": len(samples.videos),
        "queries": {split: len(samples.of_role("query", split=split)) for split in ("tune", "holdout")},
        "sources": len({source for video in samples.videos.values() for source in video.sources}),
        "changes": {key: list(change) for key, change in found.changes.items()},
        "shipped": counts(found.before.outcomes),
        "chosen": counts(found.after.outcomes),
        "intervals_shipped": {
            m.metric: [round(m.value, 4), round(m.low, 4), round(m.high, 4)]
            for m in found.before.metrics
            if m.group == "all"
        },
        "intervals_chosen": {
            m.metric: [round(m.value, 4), round(m.low, 4), round(m.high, 4)]
            for m in found.after.metrics
            if m.group == "all"
        },
        "warnings": list(found.warnings),
        "sweep": timed_sweep(signed, folder, settings, options),
    }


def lines(results: dict[str, Any]) -> Iterator[str]:
    """Yield the figures as text."""
    yield f"{results['videos']} videos of {results['sources']} sources, queries {results['queries']}"
    yield f"sweep: {results['sweep']}"
    for which in ("shipped", "chosen"):
        for kind, row in results[which].items():
            yield f"{which:8} {kind:12} " + ", ".join(f"{name} {value}" for name, value in row.items())
    for name, (value, low, high) in results["intervals_chosen"].items():
        before = results["intervals_shipped"][name]
        yield f"{name:40} {before[0]:.4f} ({before[1]:.4f} … {before[2]:.4f}) → {value:.4f} ({low:.4f} … {high:.4f})"
    yield f"changes: {results['changes']}"
    yield from (f"warning: {text}" for text in results["warnings"])


def main() -> None:
    """Make, tune, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, help="videos or folders of them; none: made footage")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/results/tuning"))
    parser.add_argument("--sources", type=Path, help="CSV: file, content_group; videos of one group are one source")
    parser.add_argument("--clips", type=int, default=90)
    parser.add_argument("--cameras", type=int, default=30)
    parser.add_argument("--rooms", type=int, default=4)
    parser.add_argument("--edits-per-video", type=int, default=8)
    parser.add_argument("--max-seconds", type=float, default=13.0)
    parser.add_argument("--max-side", type=int, default=320)
    parser.add_argument("--settings", type=int, default=512)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    folder: Path = given.folder
    if (folder / "set" / "sampleset.toml").exists():
        samples = load_sampleset(folder / "set")
    else:
        videos = [p for v in given.videos for p in (sorted(v.glob("*.*")) if v.is_dir() else [v]) if p.suffix != ".csv"]
        if not videos:
            videos = made_footage(
                folder / "footage", clips=given.clips, cameras=given.cameras, seed=given.seed, workers=given.workers
            )
        named = read_sources(given.sources, "file", "content_group") if given.sources else {}
        options = SampleOptions(
            edits=ALL_EDITS, edits_per_video=given.edits_per_video, seed=given.seed, max_seconds=given.max_seconds,
            max_side=given.max_side, rooms=given.rooms, workers=given.workers, novel_share=0.4,
        )  # fmt: skip
        sources = {path: named[path.resolve()] for path in videos if path.resolve() in named}
        # names of files stand in for contents where nothing else does: a set's names say what they are
        sources |= {path: path.stem for path in videos} if not given.videos else {}
        samples = make_samples(videos, folder / "set", options=options, sources=sources, progress=lambda _: None)
    results = measured(samples, folder, settings_tried=given.settings, seed=given.seed, workers=given.workers)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines(results)))


if __name__ == "__main__":
    main()
