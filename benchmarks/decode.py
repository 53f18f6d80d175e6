"""What decoding and choosing keyframes cost over the bare decoder, and how cost and memory grow.

Every way reads the same files, turn by turn, on one thread; figures are medians of CPU seconds, as ratios to the bare
decode by PyAV of the same frames. The footage is made of real takes with film grain (or drawn, without a folder).

    python -m benchmarks.decode [VIDEOS] [--rounds 5] [--seconds 8] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from videonovelty import footage
from videonovelty.decode import open_video
from videonovelty.decode.packets import code_video
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.keyframes import choose_keyframes
from videonovelty.known.staging import KnownEntry
from videonovelty.known.store import KnownStore
from videonovelty.records import U8, CodedStream, KnownVideo, ListMembership, SignedVideo
from videonovelty.sandbox import Sandbox
from videonovelty.settings import Settings, load_settings
from videonovelty.settling import settle
from videonovelty.signatures import scheme
from videonovelty.signing import sign_video

SETTINGS = load_settings()
NO_LOCAL = load_settings(signatures={"local": False})
TAKES = ("cockatoo_yuv420.mp4", "run.mp4", "solidYellowLeft.mp4", "04_coffee.mp4", "frog.mp4")
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
FPS = 30


def pictures(videos: Path | None, width: int, height: int, seconds: float) -> Iterator[U8]:
    """Yield grainy pictures of five takes, one after the other."""
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 3, (height + 64, width + 64, 1)).astype(np.float32)
    each = round(seconds * FPS / len(TAKES))
    for number, name in enumerate(TAKES):
        source: Iterator[U8]
        if videos is not None and (videos / name).is_file():
            source = (picture for _, picture in read_rgb(videos / name))
        else:
            source = footage.clip(number, seconds, width=640, height=360, fps=FPS, shots=1)
        for i, picture in enumerate(source):
            if i == each:
                break
            scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
            y, x = rng.integers(0, 64, 2)
            yield np.clip(scaled + grain[y : y + height, x : x + width], 0, 255).astype(np.uint8)


def bare(path: Path, skip: str) -> int:
    """Decode with PyAV alone, the way its documentation shows; return the frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.skip_frame = skip
        return sum(1 for _ in container.decode(stream))


def frames(path: Path, pass_name: str) -> int:
    """Iterate over the frames of a pass."""
    with path.open("rb") as file, open_video(file.fileno(), SETTINGS.decode) as video:
        return sum(1 for _ in video.frames(pass_name))


def keyframes(path: Path, pass_name: str) -> int:
    """Choose keyframes and make the 64 × 64 luma PDQ needs of each."""
    with path.open("rb") as file, open_video(file.fileno(), SETTINGS.decode) as video:
        return sum(len(k.frame.luma(64, 64)) > 0 for k in choose_keyframes(video.frames(pass_name), SETTINGS.keyframes))


def signed(path: Path, settings: Settings) -> int:
    """Run the whole signing stage."""
    return len(signed_here(path, settings).signatures.pts_seconds)


def vpdq_way(path: Path) -> int:
    """Decode every frame to RGB and hash one a second, as vPDQ does."""
    import pdqhash

    due, count = 0.0, 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            image = frame.to_ndarray(format="rgb24")
            if frame.time >= due:
                pdqhash.compute(cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA))
                due, count = due + 1.0, count + 1
    return count


def signed_here(path: Path, settings: Settings) -> SignedVideo:
    """Sign a video in this process."""
    with path.open("rb") as file:
        return sign_video(
            file.fileno(), video_id="ab" * 32, name=path.name, settings=settings, heartbeat=lambda _seconds: None
        )


def packets(path: Path) -> CodedStream:
    """Read the coded packets of a video, decoding its first picture only."""
    with path.open("rb") as file:
        return code_video(
            file.fileno(), video_id="ab" * 32, name=path.name, settings=NO_LOCAL, heartbeat=lambda _seconds: None
        )


class PacketWays:
    """Looking a video's packets up in a store that knows it, and in one that does not."""

    def __init__(self, folder: Path, path: Path) -> None:
        membership = ListMembership("benchmark", "other")
        rng = np.random.default_rng(0)
        signed_video, coded = signed_here(path, NO_LOCAL), packets(path)
        self._stores = {}
        for name in ("known", "unknown"):
            stored = coded
            if name == "unknown":
                stored = replace(coded, digests=rng.integers(0, 256, coded.digests.shape, dtype=np.uint8))
            video = KnownVideo(coded.video_id, coded.duration_seconds, memberships=(membership,))
            store = KnownStore.create(folder / f"{path.stem} {name}")
            entry = KnownEntry(video, signed_video.signatures, stored)
            self._stores[name] = store.add([entry], actor="benchmark", reason="benchmark")

    def ways(self) -> dict[str, Callable[[Path], int]]:
        """Return both as ways of `measure`."""
        return {
            "coded packets of a known video": lambda path: self._look_up(path, "known", settled=True),
            "coded packets of a new video": lambda path: self._look_up(path, "unknown", settled=False),
        }

    def _look_up(self, path: Path, name: str, *, settled: bool) -> int:
        coded = packets(path)
        verdict = settle(coded, self._stores[name], scheme(NO_LOCAL.signatures), NO_LOCAL)
        if (verdict is not None) != settled:
            raise SystemExit(f"{path.name}: the packets of a {name} video gave {verdict}, doubt {coded.doubt!r}")
        return len(coded.digests)


def locked(path: Path, video_id: str, rounds: int) -> dict[str, float]:
    """Return the median CPU seconds the kernel counts for locked processes: reading packets, and signing."""
    spent: dict[str, list[float]] = {"coded packets, locked process": [], "signing, locked process": []}
    with Sandbox(NO_LOCAL) as sandbox, path.open("rb") as file:
        for _ in range(rounds):
            coded = sandbox.code(file.fileno(), video_id=video_id, name=path.name)
            signed_video = sandbox.sign(file.fileno(), video_id=video_id, name=path.name)
            for name, seconds in zip(spent, (coded.cpu_seconds, signed_video.cpu_seconds), strict=True):
                spent[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


WAYS: dict[str, Callable[[Path], int]] = {
    "bare nonref decode": lambda path: bare(path, "NONREF"),
    "frames with thumbs": lambda path: frames(path, "nonref"),
    "keyframes and their luma": lambda path: keyframes(path, "nonref"),
    "signing without local descriptors": lambda path: signed(path, NO_LOCAL),
    "signing": lambda path: signed(path, SETTINGS),
    "bare intra decode": lambda path: bare(path, "NONINTRA"),
    "intra frames with thumbs": lambda path: frames(path, "intra"),
    "intra keyframes and their luma": lambda path: keyframes(path, "intra"),
    "bare decode of every frame": lambda path: bare(path, "DEFAULT"),
    "RGB of every frame, PDQ at 1 a second": vpdq_way,
}


def measure(path: Path, rounds: int, ways: dict[str, Callable[[Path], int]]) -> dict[str, list[float]]:
    """Return the CPU seconds of each way in each round, all ways once in each round."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            try:
                way(path)
            except ImportError:
                continue
            if number:  # the first round warms up
                taken[name].append(time.process_time() - started)
    return {name: seconds for name, seconds in taken.items() if seconds}


# VmHWM and not ru_maxrss, which a child takes over from its parent
PEAK = """
import sys
from pathlib import Path
from videonovelty.decode import open_video
from videonovelty.keyframes import choose_keyframes
from videonovelty.settings import load_settings
settings = load_settings()
with Path(sys.argv[1]).open("rb") as file, open_video(file.fileno(), settings.decode) as video:
    for keyframe in choose_keyframes(video.frames(sys.argv[2]), settings.keyframes):
        keyframe.frame.luma(64, 64)
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""


def peak_mebibytes(path: Path, pass_name: str) -> float:
    """Return the peak resident memory of a fresh process that decodes a file and chooses its keyframes."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path), pass_name], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    return int(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Make the footage, run the benchmark, write JSON, Markdown and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="?", help="folder that holds the takes; without it, drawn footage")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "rounds": options.rounds,
        "load": os.getloadavg()[0],
        "files": {},
        "locked": {},
        "growth": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, (width, height) in SIZES.items():
            seconds = options.seconds if height < 2160 else 2.0
            source = pictures(options.videos, width, height, seconds)
            preset = {"preset": "medium" if height < 2160 else "veryfast"}
            write_video(folder / f"{name}.mp4", source, fps=FPS, codec_options=preset)
        for name in ("720p", "1080p"):
            path = folder / f"{name}.mp4"
            result["files"][name] = measure(path, options.rounds, WAYS | PacketWays(folder, path).ways())
            result["locked"][name] = locked(path, "ab" * 32, options.rounds)
        result["growth"] = growth(folder, options.videos, options.seconds)
        result["peak_mebibytes_2160p"] = {
            "nonref": peak_mebibytes(folder / "2160p.mp4", "nonref"),
            "all": peak_mebibytes(folder / "2160p.mp4", "all"),
        }
    result["ratios"] = {name: ratios(times) for name, times in result["files"].items()}
    (options.out / "decode.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    (options.out / "decode.md").write_text(text)
    plot(result, options.out / "decode.png")
    print(text)


def growth(folder: Path, videos: Path | None, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Return CPU seconds of keyframes over duration, over megapixels and over frame rate: (x, seconds) each."""
    size = SIZES["360p"]
    chosen = {"keyframes": lambda path: keyframes(path, "nonref")}
    out: dict[str, list[tuple[float, float]]] = {"seconds of video": [], "megapixels": [], "frames a second": []}
    for share in (0.25, 0.5, 1.0, 2.0):
        path = folder / f"long{share}.mp4"
        write_video(path, pictures(videos, *size, seconds * share), fps=FPS)
        out["seconds of video"].append((seconds * share, statistics.median(measure(path, 3, chosen)["keyframes"])))
    for name in ("360p", "720p", "1080p"):
        width, height = SIZES[name]
        spent = statistics.median(measure(folder / f"{name}.mp4", 3, chosen)["keyframes"])
        out["megapixels"].append((width * height / 1e6, spent))
    for step in (4, 2, 1):
        path = folder / f"rate{step}.mp4"
        thinned = (p for i, p in enumerate(pictures(videos, *size, seconds)) if i % step == 0)
        write_video(path, thinned, fps=FPS / step)
        out["frames a second"].append((FPS / step, statistics.median(measure(path, 3, chosen)["keyframes"])))
    return out


RATIOS = (
    ("frames with thumbs", "bare nonref decode"),
    ("keyframes and their luma", "bare nonref decode"),
    ("signing without local descriptors", "bare nonref decode"),
    ("signing", "bare nonref decode"),
    ("intra frames with thumbs", "bare intra decode"),
    ("intra keyframes and their luma", "bare intra decode"),
    ("bare nonref decode", "bare decode of every frame"),
    ("RGB of every frame, PDQ at 1 a second", "signing without local descriptors"),
    ("RGB of every frame, PDQ at 1 a second", "intra keyframes and their luma"),
    ("RGB of every frame, PDQ at 1 a second", "coded packets of a known video"),
    ("coded packets of a new video", "signing without local descriptors"),
)


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median over rounds of one way's cost over another's in the same round."""
    return {
        f"{one} / {other}": statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))
        for one, other in RATIOS
        if one in times and other in times
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the result as tables."""
    names = list(result["ratios"])
    lines = [
        "# Decoding",
        "",
        f"h264, CPU seconds, medians of {result['rounds']} interleaved rounds, ratios within a round.",
        "",
        "| ratio | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    lines += [
        f"| {key} | " + " | ".join(f"{result['ratios'][n].get(key, 0):.3f}" for n in names) + " |"
        for key in result["ratios"][names[0]]
    ]
    lines += ["", "| CPU seconds | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    lines += [
        f"| {key} | " + " | ".join(f"{statistics.median(result['files'][n][key]):.3f}" for n in names) + " |"
        for key in result["files"][names[0]]
    ]
    lines += [
        f"| {key} | " + " | ".join(f"{result['locked'][n][key]:.4f}" for n in names) + " |"
        for key in result["locked"][names[0]]
    ]
    peak = result["peak_mebibytes_2160p"]
    lines += [
        "",
        f"Peak memory at 3840 × 2160: {peak['nonref']:.0f} MiB (nonref), {peak['all']:.0f} MiB (every frame).",
    ]
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw the growth of cost with duration, resolution and frame rate, with lines through the origin."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 4))
    for axis, (name, points) in zip(axes, result["growth"].items(), strict=True):
        x, y = [p[0] for p in points], [p[1] for p in points]
        axis.plot(x, y, "o-")
        axis.plot([0, x[-1]], [0, y[-1]], ":", color="grey")
        axis.set(xlabel=name, ylabel="CPU seconds", xlim=(0, None), ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
