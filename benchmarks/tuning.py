"""Where the shipped thresholds come from: a sample set of made (or given) footage, a sweep, and what it costs.

    python -m benchmarks.tuning [VIDEOS…] [--sources CSV] [--seed 7] [--folder DIR]

Makes a sample set in DIR/set, signs it, tries settings around the shipped ones, chooses on one half of its sources,
measures the shipped and the chosen ones on both halves, and prints the figures of `videonovelty/tuning/DESIGN.md`
(DIR/results.json). `videonovelty tune DIR/set` makes the report of the same set. Without VIDEOS the footage is made
here: clips of several shots, and fixed cameras. Equal arguments and libraries give an equal set and equal counts. A
folder that holds a set already is measured, not made again.
"""

from __future__ import annotations

import argparse
import json
import resource
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
from videonovelty.tuning.choosing import choose, make_variants
from videonovelty.tuning.metrics import Outcome, Truth
from videonovelty.tuning.queries import ALL_EDITS
from videonovelty.tuning.sampleset import SampleOptions, SampleSet, load_sampleset, make_samples
from videonovelty.tuning.sampletables import SPLITS, read_sources
from videonovelty.tuning.signed import sign_samples
from videonovelty.tuning.sweep import sweep
from videonovelty.tuning.tune import TuneOptions, measurement, refusal, summaries_of

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


def measured(samples: SampleSet, folder: Path, *, settings_tried: int, seed: int, workers: int) -> dict[str, Any]:
    """Return what the shipped settings and those chosen on split `tune` come to on both splits, and what it cost."""
    settings, options = Settings(), TuneOptions(most_settings=settings_tried, seed=seed)
    cache = folder / "signatures"
    quiet: dict[str, Any] = {"report": lambda _: None}
    with open_engine(settings.run, workers=workers, local_directory=folder / "workers") as engine:
        signed = sign_samples(samples, cache, settings=settings, engine=engine, **quiet)
    variants, _ = make_variants(options.levels, settings, most=options.most_settings, seed=options.seed)
    wall, cpu = time.perf_counter(), _cpu_seconds()
    with open_engine(settings.run, workers=workers, local_directory=folder / "workers") as engine:
        swept = {
            split: sweep(signed, split, variants, settings=settings, work=folder, engine=engine, **quiet)
            for split in SPLITS
        }
    # the workers have ended, so what they used is counted
    cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    truth = Truth(samples)
    summaries = summaries_of(swept["tune"], signed, truth, variants, options.costs)
    best = choose(summaries, variants)
    at = {
        (split, which): measurement({one.video: one.under(index) for one in found}, signed, truth, options)
        for split, found in swept.items()
        for which, index in (("shipped", 0), ("chosen", best))
    }
    return {
        "videos": len(samples.videos),
        "queries": {split: len(found) for split, found in swept.items()},
        "sources": len({source for video in samples.videos.values() for source in video.sources}),
        "unsigned": {video: str(reason.value) for video, reason in signed.unsigned.items()},
        "changes": {
            key: [variants.value(key, 0), variants.value(key, best)]
            for key in variants.columns
            if variants.value(key, 0) != variants.value(key, best)
        },
        "refused": list(refusal(at["holdout", "shipped"].outcomes, at["holdout", "chosen"].outcomes, variants, best)),
        "counts": {f"{split}, {which}": counts(found.outcomes) for (split, which), found in at.items()},
        "intervals": {
            f"{split}, {which}": {
                m.metric: [round(m.value, 4), round(m.low, 4), round(m.high, 4)]
                for m in found.metrics
                if m.group == "all"
            }
            for (split, which), found in at.items()
        },
        "hidden": {
            f"{split}, {which}": [f"{row.video} ({row.edit})" for row in found.outcomes if row.hidden]
            for (split, which), found in at.items()
        },
        "sweep": {
            "settings": variants.count,
            "queries": sum(map(len, swept.values())),
            "videos": len(signed.parts),
            "cpu_seconds": round(cpu, 1),
            "wall_seconds": round(wall, 1),
            "workers": workers,
        },
    }


def _cpu_seconds() -> float:
    """Return what this process and the children it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def lines(results: dict[str, Any]) -> Iterator[str]:
    """Yield the figures as text."""
    yield f"{results['videos']} videos of {results['sources']} sources, queries {results['queries']}"
    yield f"sweep: {results['sweep']}"
    for where, kinds in results["counts"].items():
        for kind, row in kinds.items():
            yield f"{where:17} {kind:12} " + ", ".join(f"{name} {value}" for name, value in row.items())
    for where, metrics in results["intervals"].items():
        for name, (value, low, high) in metrics.items():
            yield f"{where:17} {name:40} {value:.4f} ({low:.4f} … {high:.4f})"
    yield f"changes: {results['changes']}"
    yield from results["refused"]
    yield f"hidden: {results['hidden']}"


def main() -> None:
    """Make, tune, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, help="videos or folders of them; none: made footage")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/results/tuning"))
    parser.add_argument("--sources", type=Path, help="CSV: file, content_group; videos of one group are one source")
    parser.add_argument("--clips", type=int, default=90)
    parser.add_argument("--cameras", type=int, default=30)
    parser.add_argument("--rooms", type=int, default=4)
    parser.add_argument("--edits-per-video", type=int, default=6)
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
