"""Signatures on real keyframes: what each finds after which edit, what it costs, how many bytes it takes.

    python -m benchmarks.signatures VIDEOS [--every N] [--local-every N] [--only pdq,hash,local,cost,bytes,same]

VIDEOS is a directory of harmless clips with a MANIFEST.csv that names each clip's `content_group`; clips of one group
show the same content. Prints tables and writes signatures.md and .json below --out; parts left out by --only stay as
they were. Negatives are pairs of
different content; pairs of one series (same table, same car, same skyline) are left out of them and counted apart.
Beside ours stand pdqhash, which is PDQ of the whole picture, and the hashes of imagehash, where they are installed.
Times are process time on whatever the machine is doing: the fastest of many repetitions is given beside the median.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.made_codes import RESULTS, table, write_result
from videonovelty.decode.rgb import read_rgb
from videonovelty.errors import VideoError
from videonovelty.matching.geometry import verify
from videonovelty.records import KNOWN_POINTS, U8, Frame, Keyframe
from videonovelty.settings import Settings, SignatureSettings
from videonovelty.signatures import scheme, sign_keyframes
from videonovelty.signatures.borders import inner_box
from videonovelty.signatures.local import LOCAL_SIDE, KeyframeFeatures, local_features
from videonovelty.signatures.pdq import PDQ_SIDE, pdq
from videonovelty.tuning.edits import EDITS, NEEDS_HOST, make_edit

SERIES = {
    "bikes-graph": "bikes",
    "tears-of-steel-b": "tears-of-steel",
    "lane-yellow": "lane-white",
    "mdn-monster": "mdn-frog",
    "mdn-rabbit": "mdn-frog",
    "skyline-v2": "skyline-v1",
}
"""Groups that share a place or footage: neither copies nor negatives of one another."""
SYNTHETIC = {"psd-fades", "mxf", "wpt-timer"}
"""Blank, static or made of one digit: no picture to find."""
PER_VIDEO = 7
FALSE_POSITIVES = 1e-5
NEGATIVES_A_QUERY = 50


@dataclass(frozen=True, eq=False)
class Frames:
    """Real keyframes, RGB, longest side 640."""

    pictures: list[U8]
    group: npt.NDArray[Any]
    series: npt.NDArray[Any]


def read_frames(videos: Path) -> Frames:
    """Return up to seven pictures of one clip of each group: PDQ quality ≥ 50, no two of a clip within 40 bits."""
    pictures: list[U8] = []
    groups: list[str] = []
    with (videos / "MANIFEST.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        group = row["content_group"]
        if group in SYNTHETIC or group in groups:
            continue
        seconds = min(float(row["duration_s"] or 20), 40.0)
        kept: list[U8] = []
        due = 0.3
        try:
            for at, picture in read_rgb(videos / row["file"], max_side=640, end_seconds=45.0):
                if at < due:
                    continue
                due = at + max(1.0, seconds / PER_VIDEO)
                codes, quality = pdq(_small(picture)[None])
                if quality[0] < 50 or any(_distance(codes[0, 0], other) < 40 for other in kept):
                    continue
                kept.append(codes[0, 0])
                pictures.append(picture)
                groups.append(group)
                if len(kept) == PER_VIDEO:
                    break
        except VideoError as error:
            print("left out:", error)
    group = np.array(groups)
    return Frames(pictures, group, np.array([SERIES.get(g, g) for g in groups]))


def _grey(picture: U8) -> U8:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def _small(picture: U8) -> U8:
    return np.asarray(cv2.resize(_grey(picture), (PDQ_SIDE, PDQ_SIDE), interpolation=cv2.INTER_AREA))


def _medium(picture: U8) -> U8:
    grey = _grey(picture)
    factor = min(1.0, LOCAL_SIDE / max(grey.shape))
    size = (max(16, round(grey.shape[1] * factor)), max(16, round(grey.shape[0] * factor)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


def _distance(one: U8, other: U8) -> int:
    return int(np.bitwise_count(one ^ other).sum())


def _codes(picture: U8) -> U8:
    """Return the codes of the full picture and of the one within its borders, shape (2, 8, 32)."""
    medium = _medium(picture)
    top, bottom, left, right = inner_box(medium)
    full = _small(picture)
    inner = medium[top:bottom, left:right]
    cut = full if inner.shape == medium.shape else cv2.resize(inner, (PDQ_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    return pdq(np.stack((full, cut)))[0]


def edited(frames: Frames, every: int, *, rows: npt.NDArray[np.int64] | None = None) -> Iterator[tuple[int, str, U8]]:
    """Yield (index of the source, name of the edit, edited picture) of every n-th picture, or of `rows`.

    Hosts come from other series.
    """
    rng = np.random.default_rng(1)
    for i in range(0, len(frames.pictures), every) if rows is None else rows.tolist():
        for name in EDITS:
            host = None
            if name in NEEDS_HOST:
                host = frames.pictures[int(rng.choice(np.flatnonzero(frames.series != frames.series[i])))]
            yield i, name, make_edit(name, 100 * i + 1, host=host)(frames.pictures[i])


def other_hashes() -> dict[str, Callable[[U8], npt.NDArray[np.bool_]]]:
    """Return, by name, the hashes of whole RGB pictures that are installed here; each gives its bits."""
    found: dict[str, Callable[[U8], npt.NDArray[np.bool_]]] = {}
    if importlib.util.find_spec("pdqhash"):
        import pdqhash

        found["pdqhash"] = lambda picture: np.asarray(pdqhash.compute(picture)[0], np.bool_)
    if importlib.util.find_spec("imagehash"):
        import imagehash
        from PIL import Image

        for name in ("phash", "dhash", "whash", "average_hash"):
            compute = functools.partial(getattr(imagehash, name), hash_size=16 if name == "phash" else 8)
            bits = 256 if name == "phash" else 64
            found[f"imagehash {name}, {bits} bits"] = lambda picture, compute=compute: np.ravel(  # type: ignore[misc]
                compute(Image.fromarray(picture)).hash
            )
    return found


def against_reference(frames: Frames) -> dict[str, Any]:
    """Compare codes from 64 × 64 area-averaged luma with those of the reference on the full picture."""
    import pdqhash

    distances, same_luma = [], 0
    for picture in frames.pictures:
        expected, quality = pdqhash.compute(np.ascontiguousarray(picture))
        if quality >= 50:
            code = pdq(_small(picture)[None])[0][0, 0]
            distances.append(_distance(code, np.packbits(np.asarray(expected, np.uint8))))
        small = _small(picture)
        there = pdqhash.compute_dihedral(np.repeat(small[:, :, None], 3, axis=2))[0]
        here = pdq(small[None])[0][0]
        same_luma += sum(_distance(h, np.packbits(np.asarray(t, np.uint8))) for h, t in zip(here, there, strict=True))
    return {
        "pictures": len(distances),
        "mean_bits": float(np.mean(distances)),
        "p95_bits": float(np.quantile(distances, 0.95)),
        "max_bits": int(max(distances)),
        "bits_different_given_the_same_luma_8_variants": same_luma,
    }


def hash_recall(frames: Frames, every: int) -> dict[str, Any]:
    """Recall by edit at ≤ 1e-5 false positives a pair, and at the distance 31 that matching uses."""

    def signs(codes: U8) -> npt.NDArray[np.float32]:
        return np.unpackbits(codes, axis=-1).astype(np.float32) * 2 - 1

    known = np.array([_codes(picture)[:, 0] for picture in frames.pictures])
    known_signs = signs(known.transpose(1, 0, 2))  # (full | inner, pictures, bits)
    others = other_hashes()
    known_by = {name: np.stack([compute(picture) for picture in frames.pictures]) for name, compute in others.items()}
    methods = ("pdq", "pdq, 8 variants", "pdq, 8 variants, borders", *others)
    rows, sources, names = [], [], []
    for number, edit, picture in edited(frames, every):
        query = signs(_codes(picture))
        bits = (256 - np.einsum("qvb,knb->qkvn", query, known_signs, optimize=True)) / 2
        theirs = [(known_by[name] != compute(picture)).sum(axis=1) for name, compute in others.items()]
        rows.append((bits[0, 0, 0], bits[0, 0].min(axis=0), bits.min(axis=(0, 1, 2)), *theirs))
        sources.append(number)
        names.append(edit)
    distance, source, name = np.array(rows), np.array(sources), np.array(names)
    other = frames.series[source][:, None] != frames.series[None, :]
    other &= ~np.isin(name, list(NEEDS_HOST))[:, None]
    out: dict[str, Any] = {"queries": len(name), "negative_pairs": int(other.sum())}
    for m, method in enumerate(methods):
        negatives = np.sort(distance[:, m][other])
        # accept strictly below the value that the allowed number of negatives reaches
        threshold = float(negatives[int(len(negatives) * FALSE_POSITIVES)]) - 1
        true = distance[np.arange(len(name)), m, source]
        recall = {edit: float((true[name == edit] <= threshold).mean()) for edit in EDITS}
        at_31 = {edit: float((true[name == edit] <= 31).mean()) for edit in EDITS}
        out[method] = {
            "threshold_bits": threshold,
            "nearest_negative_bits": float(negatives[0]),
            "recall": recall,
            "recall_31_bits": at_31,
            "mean": float(np.mean(list(recall.values()))),
            "mean_31_bits": float(np.mean(list(at_31.values()))),
        }
    return out


def local_recall(frames: Frames, every: int) -> dict[str, Any]:
    """Recall by edit at the smallest number of inliers that no negative pair reaches; known ones keep fewer points."""
    settings = SignatureSettings()
    known = [local_features(_medium(picture), points=KNOWN_POINTS) for picture in frames.pictures]
    rng = np.random.default_rng(2)
    true: dict[str, list[int]] = {edit: [] for edit in EDITS}
    negatives: list[int] = []
    same_series: list[int] = []
    shares: dict[str, list[float]] = {edit: [] for edit in EDITS}
    seconds, looked = 0.0, 0
    for source, name, picture in edited(frames, every):
        query = local_features(_medium(picture), points=settings.local_points)
        aspect = picture.shape[1] / picture.shape[0]
        inliers, share = _inliers(query, known[source], aspect)
        true[name].append(inliers)
        if inliers:
            shares[name].append(share)
        if name in NEEDS_HOST:
            continue
        started = time.process_time()
        others = rng.choice(np.flatnonzero(frames.series != frames.series[source]), NEGATIVES_A_QUERY, replace=False)
        negatives += [_inliers(query, known[int(j)], aspect)[0] for j in others]
        seconds += time.process_time() - started
        looked += len(others)
        kin = np.flatnonzero((frames.series == frames.series[source]) & (frames.group != frames.group[source]))
        same_series += [_inliers(query, known[int(j)], aspect)[0] for j in kin[:2]]
    worst = max(negatives)
    found = np.array(negatives)
    out: dict[str, Any] = {
        "queries": sum(map(len, true.values())),
        "negative_pairs": len(negatives),
        "most_inliers_of_a_negative": worst,
        "negatives_by_inliers": {n: int((found == n).sum()) for n in range(worst + 1)},
        "milliseconds_a_pair_both_hands": 1e3 * seconds / looked,
        "points_a_picture": float(np.mean([len(k) for k in known])),
        "median_spatial_share": {e: float(np.median(s)) if s else 0.0 for e, s in shares.items()},
    }
    for least in sorted({worst + 1, 4, 5, 6, 7}):
        recall = {edit: float(np.mean([n >= least for n in counts])) for edit, counts in true.items()}
        out[f"at_least_{least}"] = {
            "false_positives": int((found >= least).sum()),
            "same_series_pairs": f"{sum(n >= least for n in same_series)} of {len(same_series)}",
            "mean": float(np.mean(list(recall.values()))),
            "recall": recall,
        }
    return out


def _inliers(query: KeyframeFeatures, known: KeyframeFeatures, aspect: float) -> tuple[int, float]:
    best, share = 0, 0.0
    for mirrored in (False, True):
        found = verify(
            query.mirrored_codes if mirrored else query.codes,
            query.xy,
            known.codes,
            known.xy,
            aspect,
            mirrored=mirrored,
            query_scale=query.scale,
            query_angle=query.angle,
            known_scale=known.scale,
            known_angle=known.angle,
            min_inliers=3,
        )
        if found is not None and found.inliers > best:
            best, share = found.inliers, found.spatial_share
    return best, share


def cost(frames: Frames) -> dict[str, Any]:
    """Process time a keyframe, one thread, scaling left out: fastest and median of all pictures."""
    cv2.setNumThreads(1)
    points = SignatureSettings().local_points
    parts: dict[str, Callable[[U8, U8], object]] = {
        "pdq_one_picture_8_variants": lambda small, _: pdq(small[None]),
        "pdq_full_and_inner_8_variants": lambda small, _: pdq(np.stack((small, small))),
        "borders": lambda _, medium: inner_box(medium),
        "local": lambda _, medium: local_features(medium, points=points),
    }
    lumas = [(_small(picture), _medium(picture)) for picture in frames.pictures]
    out: dict[str, Any] = {name: _milliseconds(part, lumas) for name, part in parts.items()}
    whole = [(picture,) for picture in frames.pictures[:: max(1, len(frames.pictures) // 40)]]
    ours: dict[str, Callable[[U8], object]] = {"pdq, 8 variants, of an RGB picture": lambda one: pdq(_small(one)[None])}
    out |= {name: _milliseconds(compute, whole) for name, compute in {**ours, **other_hashes()}.items()}
    out["load_average"] = os.getloadavg()[0]
    return out


def _milliseconds(work: Callable[..., object], inputs: Sequence[tuple[U8, ...]]) -> dict[str, float]:
    work(*inputs[0])
    best = []
    for one in inputs:
        runs = []
        for _ in range(3):
            started = time.process_time()
            work(*one)
            runs.append(time.process_time() - started)
        best.append(1e3 * min(runs))
    return {
        "median_of_fastest_ms": round(float(np.median(best)), 3),
        "mean_of_fastest_ms": round(float(np.mean(best)), 3),
        "largest_ms": round(max(best), 3),
    }


def bytes_a_minute(videos: Path) -> dict[str, Any]:
    """Bytes that known videos keep of each clip, a minute of its length: frame hashes, movement, local descriptors."""
    import pyarrow as pa

    from videonovelty.known.shards import pack_levels, pack_signs
    from videonovelty.records import best_points, thinned
    from videonovelty.signing import sign_video

    settings, zstd = Settings(), pa.Codec("zstd", 1)
    rows: list[dict[str, float]] = []
    with (videos / "MANIFEST.csv").open(encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    for name in names:
        fd = os.open(videos / name, os.O_RDONLY)
        try:
            signed = sign_video(fd, video_id="0" * 64, name=name, settings=settings, heartbeat=lambda _: None)
        except VideoError as error:
            print("left out:", error)
            continue
        finally:
            os.close(fd)
        signatures, local = signed.signatures, best_points(signed.signatures.local)
        minutes = max(signed.coverage.duration_seconds, 1.0) / 60
        # t_ms 4, pdq 32, pdq_inner 32 where there is one, quality 1, informative 1; a descriptor 8 + 4 + 1 + 1
        frame_hashes = 38 * len(signatures.pts_seconds) + 32 * int(signatures.has_inner.sum())
        motion = thinned(signatures.motion)
        movement = sum(len(zstd.compress(pack_signs(signs))) for signs in (motion.signs, motion.fine))
        levels = len(zstd.compress(pack_levels(motion.levels) or b""))
        row = {
            "minutes": minutes,
            "frame hashes": frame_hashes / minutes,
            "movement": movement / minutes,
            "levels": levels / minutes,
            "without local descriptors": (frame_hashes + movement + levels) / minutes,
            "with local descriptors": (frame_hashes + movement + levels + 14 * len(local.codes)) / minutes,
            "described keyframes": float((np.diff(local.offsets) > 0).sum()) / minutes,
        }
        rows.append(row)
        print(f"{name:45s}", " ".join(f"{key} {value:.1f}" for key, value in row.items()))
    out: dict[str, Any] = {"videos": len(rows)}
    for which, least in (("all", 0.0), ("of 10 s and more", 10.0)):
        some = [row for row in rows if row["minutes"] * 60 >= least]
        out[which] = {
            key: {"median": float(np.median([row[key] for row in some])), "largest": max(row[key] for row in some)}
            for key in rows[0]
        }
    return out


def digest_of(frames: Frames, batch: int) -> str:
    """Return a digest of every signature of the pictures, signed `batch` at a time."""
    digest = hashlib.sha256()
    keyframes = [_keyframe(picture, i) for i, picture in enumerate(frames.pictures[:60])]
    for start in range(0, len(keyframes), batch):
        signed = sign_keyframes(keyframes[start : start + batch], SignatureSettings())
        for i in range(len(signed.pts_seconds)):
            rows = slice(int(signed.local.offsets[i]), int(signed.local.offsets[i + 1]))
            for part in (signed.pdq[i], signed.pdq_inner[i], signed.local.codes[rows], signed.local.xy[rows]):
                digest.update(part.tobytes())
    return digest.hexdigest()


def _keyframe(picture: U8, number: int) -> Keyframe:
    grey = _grey(picture)

    def scaled(width: int, height: int) -> U8:
        return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA))

    height, width = grey.shape
    sketch = functools.partial(scaled, 128, 72)
    return Keyframe(number, number, number + 1, Frame(number, scaled(64, 36), scaled, sketch, width, height), number)


def sameness(videos: Path, frames: Frames) -> dict[str, Any]:
    """Compare digests: one at a time, all together, and in other processes with other numbers of threads."""
    digests = {"one at a time": digest_of(frames, 1), "all together": digest_of(frames, 1000)}
    for threads in ("1", "4"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-m", "benchmarks.signatures", str(videos), "--digest"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests[f"another process, {threads} threads"] = done.stdout.strip()
    return {"same": len(set(digests.values())) == 1, "digests": digests}


def as_text(result: dict[str, Any]) -> str:
    """Return the parts that were measured as Markdown."""
    lines = []
    if "pdq" in result:
        one = result["pdq"]
        lines += [
            f"PDQ of 64 x 64 pixels is {one['mean_bits']:.1f} bits from pdqhash of the whole picture in the mean, "
            f"{one['p95_bits']:.0f} at the 95th percentile, {one['max_bits']} at most ({one['pictures']} pictures); "
            f"given the same luma {one['bits_different_given_the_same_luma_8_variants']} bits differ.",
            "",
        ]
    if "hash" in result:
        one = result["hash"]
        methods = {name: value for name, value in one.items() if isinstance(value, dict)}
        rows = [[n, m["threshold_bits"], m["nearest_negative_bits"], m["mean"]] for n, m in methods.items()]
        pairs = f"{one['negative_pairs']} pairs of other content"
        lines += [
            f"{one['queries']} edited pictures, at {FALSE_POSITIVES:g} of {pairs}",
            "",
            table(["hash", "accepted up to, bits", "nearest other content", "recall"], rows),
            "",
        ]
        edits = next(iter(methods.values()))["recall"]
        by_edit = [[edit, *(m["recall"][edit] for m in methods.values())] for edit in edits]
        lines += [table(["edit", *methods], by_edit), ""]
    if "local" in result:
        one = result["local"]
        asked = {name: value for name, value in one.items() if name.startswith("at_least_")}
        rows = [[n.split("_")[-1], m["mean"], m["false_positives"], m["same_series_pairs"]] for n, m in asked.items()]
        lines += [
            f"Local descriptors, {one['queries']} edited pictures, {one['negative_pairs']} pairs of other content",
            "",
            table(["inliers asked", "recall", "wrong pairs", "pairs of one series"], rows),
            "",
        ]
    if "cost" in result:
        costs = [[n, *one.values()] for n, one in result["cost"].items() if isinstance(one, dict)]
        lines += [table(["a picture", "median of fastest, ms", "mean", "largest"], costs), ""]
    if "bytes" in result:
        median = {n: value["median"] for n, value in result["bytes"]["all"].items() if n != "minutes"}
        lines += [table(["kept of a known video, a minute", "median bytes"], [[n, v] for n, v in median.items()]), ""]
    if "same" in result:
        lines += [f"The same signatures in any batch, process and number of threads: {result['same']['same']}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure the parts asked for, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--every", type=int, default=2, help="hashes: use every n-th picture as a source of edits")
    parser.add_argument("--local-every", type=int, default=4)
    parser.add_argument("--only", default="pdq,hash,local,cost,bytes,same")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--digest", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    frames = read_frames(options.videos)
    if options.digest:
        print(digest_of(frames, 7))
        return
    print(f"{len(frames.pictures)} pictures of {len(set(frames.group))} groups, {len(EDITS)} edits")
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "pdq": lambda: against_reference(frames),
        "hash": lambda: hash_recall(frames, options.every),
        "local": lambda: local_recall(frames, options.local_every),
        "cost": lambda: cost(frames),
        "bytes": lambda: bytes_a_minute(options.videos),
        "same": lambda: sameness(options.videos, frames),
    }
    kept = options.out / "signatures.json"
    results = json.loads(kept.read_text()) if kept.is_file() else {}
    results["scheme"] = scheme(SignatureSettings())
    for name in options.only.split(","):
        results[name] = parts[name]()
        print(f"== {name}", json.dumps(results[name], indent=1), sep="\n", flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(results, indent=1) + "\n")
    write_result(options.out, "signatures", {k: v for k, v in results.items() if k != "machine"}, as_text(results))


if __name__ == "__main__":
    main()
