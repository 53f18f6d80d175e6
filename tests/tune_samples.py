"""The project's own small sample set, made of generated footage, and its baseline.

`PYTHONPATH=.:tests python tests/tune_samples.py` from the root writes the baseline anew: look at the difference before
you commit it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import make_video

from videonovelty.engine import open_engine
from videonovelty.settings import Settings
from videonovelty.tuning.baseline import write_baseline
from videonovelty.tuning.sampleset import SampleOptions, SampleSet, make_samples
from videonovelty.tuning.tune import Measurement, measure_settings, samples_digest

BASELINE = Path(__file__).parent / "golden" / "tune_baseline.json"
OPTIONS = SampleOptions(
    edits=("copy", "mirror", "letterbox", "caption", "splice", "crop_10", "inset_30", "inset_50_framed"),
    seed=11,
    rooms=1,
    room_seconds=6.0,
    novel_share=0.35,
    distractor_share=0.0,
)


def make(folder: Path) -> SampleSet:
    """Write the set below `folder`."""
    clips = [make_video.make_clip(folder / f"{n}.mp4", 70 + n, 6.0) for n in range(6)]
    names = {path: path.stem for path in clips}
    return make_samples(clips, folder / "set", options=OPTIONS, sources=names, progress=lambda _: None)


def measured(samples: SampleSet, cache: Path, settings: Settings | None = None) -> Measurement:
    """Return what some settings come to on the set."""
    chosen = settings or Settings()
    with open_engine(chosen.run, workers=0, local_directory=cache / "workers") as engine:
        return measure_settings(samples, cache, settings=chosen, engine=engine)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        made = make(Path(name))
        write_baseline(BASELINE, measured(made, Path(name) / "cache").metrics, samples=samples_digest(made))
    sys.stdout.write(f"{BASELINE}\n")
