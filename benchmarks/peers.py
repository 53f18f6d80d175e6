"""What other programs find on the same files: vPDQ, TMK, videohash and FFmpeg's MPEG-7 signature beside ours.

    python -m benchmarks.accuracy VIDEOS… --keep FOLDER
    python -m benchmarks.peers FOLDER [--only vPDQ --only TMK] [--out benchmarks/results]

FOLDER holds known clips, an intake with planted truth, and our run over it. Every program signs the known clips, the
copies and the videos that show nothing known, and says of which known clip each is a copy, with its own code and the
thresholds its authors name. FFmpeg's filter compares two videos and keeps no index: it is shown each copy with its
source and with one other known clip. Counted are copies whose source is named, and videos, copies among them, that are
said to show a known clip they do not show. Seconds are processor time of signing, child processes included.

Programs come with the extra `bench-native`, which compiles some of them; what is missing is left out with the reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import pickle
import resource
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.accuracy import names_of_known
from benchmarks.made_codes import RESULTS, table, write_result
from benchmarks.vpdq_method import QUALITY, SHARE, share_matched, vpdq_codes
from videonovelty.tuning.metrics import clopper_pearson

NATIVE = "extra `bench-native`"
FFMPEG = "the ffmpeg program is not installed"
OURS = "videonovelty"
KINDS = ("copy", "novel")
"""What is asked about: copies, and videos of clips that nobody knows."""


class Peer(ABC):
    """Another program that tells copies."""

    name: str
    ways: tuple[str, ...] = ("",)
    """How its matches can be counted."""
    pairwise: bool = False
    """It compares videos two at a time, and nothing of the known ones is kept."""

    module: str = ""
    """The package it comes with."""
    runs_ffmpeg: bool = False

    def missing(self) -> str:
        """Return why it cannot be run here, or nothing."""
        if self.module and importlib.util.find_spec(self.module) is None:
            return f"{self.module} is not installed ({NATIVE})"
        return FFMPEG if self.runs_ffmpeg and shutil.which("ffmpeg") is None else ""

    @abstractmethod
    def sign(self, path: Path, scratch: Path) -> Any:
        """Return what it keeps of a video; files it writes go to `scratch`. What is returned can be pickled."""

    @abstractmethod
    def matches(self, query: Any, known: Mapping[str, Any], way: str) -> list[str]:
        """Return the names of the known videos the query is said to be a copy of."""


class VpdqMethod(Peer):
    """vPDQ's method, by us: every frame decoded, PDQ of a small grey picture (`benchmarks.vpdq_method`).

    Counted as its README describes it, 80 % of the frames of both videos, and as the package threatexchange does by
    default, 80 % of the query's and any share of the known one's.
    """

    name = "vPDQ's method"
    ways = ("of both", "of the query")

    def sign(self, path: Path, scratch: Path) -> Any:  # noqa: ARG002
        """Return PDQ codes, one a second; shape (n, 32)."""
        return vpdq_codes(path)

    def matches(self, query: Any, known: Mapping[str, Any], way: str) -> list[str]:
        """Return those of which enough frames match."""
        whole = way == "of both"
        return [
            name
            for name, one in known.items()
            if share_matched(query, one) >= SHARE and (not whole or share_matched(one, query) >= SHARE)
        ]


class Vpdq(VpdqMethod):
    """Meta's own program (PyPI vpdq): PDQ of the whole picture, one a second."""

    name = "vPDQ"
    module = "vpdq"

    def sign(self, path: Path, scratch: Path) -> Any:  # noqa: ARG002
        """Return PDQ codes of enough quality, one a second; shape (n, 32)."""
        import vpdq

        codes = [one.hex for one in vpdq.computeHash(str(path), thread_count=1) if one.quality >= QUALITY]
        return np.frombuffer(bytes.fromhex("".join(codes)), np.uint8).reshape(-1, 32)


class Tmk(Peer):
    """Meta's temporal match kernel over PDQ's float features (PyPI tmkpy); both scores at least 0.7."""

    name = "TMK"
    module, runs_ffmpeg = "tmkpy", True
    enough = 0.7

    def sign(self, path: Path, scratch: Path) -> Any:
        """Return the mean feature, shape (256,), and the file that holds the rest; None where nothing came out."""
        import tmkpy

        where = Path(tempfile.mkdtemp(dir=scratch))
        plain, kept = where / f"video{path.suffix}", where / "video.tmk"
        plain.symlink_to(path.resolve())  # names go through a shell, and blanks do not survive that
        try:
            vectors = tmkpy.hashVideo(str(plain), shutil.which("ffmpeg"))
        except RuntimeError:
            return None
        vectors.writeToOutputFile(str(kept), "benchmark")
        return np.array(vectors.getPureAverageFeature()), str(kept)

    def matches(self, query: Any, known: Mapping[str, Any], way: str) -> list[str]:  # noqa: ARG002
        """Cosine of the mean features first, the kernel over time for what passes."""
        import tmkpy

        if query is None:
            return []
        mean, kept = query
        near = [
            (name, one[1])
            for name, one in known.items()
            if one is not None
            if float(mean @ one[0]) >= self.enough * float(np.linalg.norm(mean) * np.linalg.norm(one[0]))
        ]
        scores = tmkpy.query(kept, [path for _, path in near], 1) if near else []
        return [name for (name, _), score in zip(near, scores, strict=True) if score >= self.enough]


class Videohash(Peer):
    """PyPI videohash: a wavelet hash of a collage of frames, one a second; alike from 85 % of its 64 bits on."""

    name = "videohash"
    module, runs_ffmpeg = "videohash", True
    apart = 9
    """Bits: `similar_percentage` of the package, 15, of 64."""

    def sign(self, path: Path, scratch: Path) -> Any:
        """Return 64 bits as a number; None where it fails, as it does for some very short videos."""
        import PIL.Image

        if not hasattr(PIL.Image, "ANTIALIAS"):
            PIL.Image.ANTIALIAS = PIL.Image.LANCZOS  # the name it uses went with Pillow 10
        from videohash import VideoHash

        where = Path(tempfile.mkdtemp(dir=scratch))
        try:
            return int(VideoHash(path=str(path), storage_path=f"{where}/").hash_hex, 16)
        except Exception:
            return None
        finally:
            shutil.rmtree(where)

    def matches(self, query: Any, known: Mapping[str, Any], way: str) -> list[str]:  # noqa: ARG002
        """Return those at most 9 of 64 bits apart."""
        if query is None:
            return []
        return [n for n, one in known.items() if one is not None and (query ^ one).bit_count() <= self.apart]


class FfmpegSignature(Peer):
    """FFmpeg's filter for MPEG-7 video signatures (ISO/IEC 15938-3), its own thresholds, every frame looked at."""

    name = "ffmpeg signature"
    runs_ffmpeg = True
    pairwise = True

    def missing(self) -> str:
        """Return why it cannot be run here, or nothing."""
        if why := super().missing():
            return why
        filters = subprocess.run(["ffmpeg", "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
        return "" if " signature " in filters.stdout else "this ffmpeg is built without GPL parts, the filter is one"

    def sign(self, path: Path, scratch: Path) -> Any:
        """Write its signature, which nothing but the filter compares, and return the video."""
        kept = Path(tempfile.mkdtemp(dir=scratch)) / "video.bin"
        call = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-vf", f"signature=filename={kept}"]
        subprocess.run([*call, "-f", "null", "-"], capture_output=True, check=False)
        return path

    def matches(self, query: Any, known: Mapping[str, Any], way: str) -> list[str]:  # noqa: ARG002
        """Return those the filter says hold a matching stretch."""
        return [name for name, one in known.items() if self._same(query, one)]

    def _same(self, query: Path, known: Path) -> bool:
        graph = "[0:v][1:v]signature=nb_inputs=2:detectmode=full"
        call = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(query), "-i", str(known), "-filter_complex", graph]
        said = subprocess.run([*call, "-f", "null", "-"], capture_output=True, text=True, errors="replace", check=False)
        return "] matching of video" in said.stderr or "whole video matching" in said.stderr


PEERS: Mapping[str, Peer] = {one.name: one for one in (VpdqMethod(), Vpdq(), Tmk(), Videohash(), FfmpegSignature())}


def missing() -> dict[str, str]:
    """Return the programs that cannot be run here, and why."""
    return {name: why for name, one in PEERS.items() if (why := one.missing())}


def processor_seconds() -> float:
    """Return the processor time of this process and of those it waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def scan(name: str, intake: Path, known: Path) -> dict[str, list[str]]:
    """Sign an intake and compare it with the signatures kept in `known`; return what each file matches.

    What compares two videos at a time signs only.
    """
    peer = PEERS[name]
    kept = pickle.loads(known.read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        signed = {path.name: peer.sign(path, Path(scratch)) for path in sorted(intake.iterdir())}
        if peer.pairwise:
            return {query: [] for query in signed}
        return {query: peer.matches(one, kept, peer.ways[0]) for query, one in signed.items()}


def keep_known(name: str, paths: Iterable[Path], out: Path, scratch: Path) -> None:
    """Sign the known videos and write what is kept of them; some of it may be files in `scratch`."""
    out.write_bytes(pickle.dumps({path.name: PEERS[name].sign(path, scratch) for path in paths}))


def _signed(name: str, path: Path, *, scratch: Path) -> tuple[Any, float]:
    started = processor_seconds()
    return PEERS[name].sign(path, scratch), processor_seconds() - started


def found_by(
    peer: Peer, folder: Path, truth: Sequence[Mapping[str, Any]], *, workers: int
) -> tuple[dict[str, dict[str, list[str]]], float]:
    """Return what a program says each file of the truth is a copy of, by the ways of counting, and what signing took.

    That is in processor seconds.
    """
    clips = sorted((folder / "known").iterdir())
    paths = [*clips, *(folder / "intake" / entry["name"] for entry in truth)]
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        answers = list(pool.map(partial(_signed, peer.name, scratch=Path(scratch)), paths, chunksize=4))
        kept = {path.name: one for path, (one, _) in zip(clips, answers, strict=False)}
        asked = answers[len(clips) :]
        shown = [_shown(peer, kept, entry["known"], at) for at, entry in enumerate(truth)]
        said: dict[str, dict[str, list[str]]] = {}
        for way in peer.ways:
            found = pool.map(partial(_matches, peer.name, way=way), [one for one, _ in asked], shown, chunksize=4)
            said[way] = {entry["name"]: one for entry, one in zip(truth, found, strict=True)}
    return said, sum(seconds for _, seconds in asked)


def _shown(peer: Peer, kept: Mapping[str, Any], source: str, at: int) -> dict[str, Any]:
    """Return the known clips a query is compared with: all, or its source and one other."""
    if not peer.pairwise:
        return dict(kept)
    others = [name for name in kept if name != source]
    return {name: kept[name] for name in (source, others[at % len(others)]) if name}


def _matches(name: str, query: Any, known: Mapping[str, Any], *, way: str) -> list[str]:
    return PEERS[name].matches(query, known, way)


def ours(folder: Path) -> dict[str, list[str]]:
    """Return the known clip our run names for each file of the intake."""
    names = names_of_known(folder / "store")
    rows = pq.read_table(folder / "run/verdicts.parquet", columns=["path", "best_known_id"]).to_pylist()
    return {row["path"].rsplit("/", 1)[1]: [names[found]] if (found := row["best_known_id"]) else [] for row in rows}


def counted(truth: Sequence[Mapping[str, Any]], said: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return copies found, by edit, and videos said to show what they do not."""
    edits: dict[str, Counter[str]] = defaultdict(Counter)
    wrong, novel = 0, 0
    for entry in truth:
        matches = set(said[entry["name"]])
        wrong += bool(matches - {entry["known"]})
        if entry["kind"] == "copy":
            edits[entry["edit"]]["videos"] += 1
            edits[entry["edit"]]["found"] += entry["known"] in matches
        else:
            novel += 1
    copies, found = (sum(one[key] for one in edits.values()) for key in ("videos", "found"))
    return {
        "copies": copies,
        "found": found,
        "recall": found / max(1, copies),
        "interval": clopper_pearson(found, copies, confidence=0.95),
        "least_of_an_edit": min((one["found"] / one["videos"] for one in edits.values()), default=math.nan),
        "without_known": novel,
        "wrong": wrong,
        "by_edit": {edit: [one["found"], one["videos"]] for edit, one in edits.items()},
    }


def compare(folder: Path, names: Sequence[str], *, workers: int) -> dict[str, Any]:
    """Return what our run in `folder` found, and each program of `names` that can be run here."""
    truth = [entry for entry in json.loads((folder / "truth.json").read_text()) if entry["kind"] in KINDS]
    absent = missing()
    programs = {OURS: counted(truth, ours(folder))}
    for name in names:
        if name not in absent:
            said, seconds = found_by(PEERS[name], folder, truth, workers=workers)
            for way, one in said.items():
                programs[f"{name} {way}".rstrip()] = counted(truth, one) | {"cpu_seconds": seconds}
    rows = pq.read_table(folder / "run/verdicts.parquet", columns=["path", "duration_seconds"]).to_pylist()
    lengths = {row["path"].rsplit("/", 1)[1]: row["duration_seconds"] for row in rows}
    return {
        "programs": programs,
        "known": sum(1 for _ in (folder / "known").iterdir()),
        "video_seconds": sum(lengths[entry["name"]] for entry in truth),
        "missing": absent,
    }


def as_text(result: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    programs: Mapping[str, Mapping[str, Any]] = result["programs"]
    seconds = result["video_seconds"]
    mine = programs[OURS]["found"]
    parts = [
        f"{programs[OURS]['copies']} copies of {result['known']} known clips, {programs[OURS]['without_known']} videos "
        "that show none of them.",
        "",
        table(
            ["program", "copies found", "recall", "95 % interval", "least of an edit", "ours finds", "says wrongly",
             "s an hour"],
            [
                [name, one["found"], one["recall"], "{:.3f} to {:.3f}".format(*one["interval"]),
                 one["least_of_an_edit"], f"{mine / max(1, one['found']):.2f} times", one["wrong"],
                 one["cpu_seconds"] / seconds * 3600 if "cpu_seconds" in one else ""]
                for name, one in programs.items()
            ],
        ),
        "",
        table(
            ["edit", *programs],
            [[edit, *(one["by_edit"][edit][0] for one in programs.values())] for edit in programs[OURS]["by_edit"]],
        ),
        "",
        *(f"- not run: {name}: {why}" for name, why in result["missing"].items()),
    ]  # fmt: skip
    return "\n".join(parts)


def main() -> None:
    """Sign, compare, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--only", action="append", choices=list(PEERS), help="one program; may be given again")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--scan", help=argparse.SUPPRESS)
    parser.add_argument("--known", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scan:
        print(json.dumps(scan(options.scan, options.folder, options.known)))
        return
    if options.folder is None:
        parser.error("which folder? `python -m benchmarks.accuracy --keep FOLDER` makes one")
    result = compare(options.folder, options.only or list(PEERS), workers=options.workers)
    write_result(options.out, "peers", result, as_text(result))


if __name__ == "__main__":
    main()
