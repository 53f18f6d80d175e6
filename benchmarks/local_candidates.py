"""Candidates by local descriptors among ten million others: is the source of an edited video among those proposed?

    python -m benchmarks.local_candidates VIDEOS [--distractors 1e7] [--every 5] [--out benchmarks/results]

VIDEOS is the folder of clips of `benchmarks.signatures`. A query is up to seven keyframes of one clip, all of them with
one of its edits; the clips, and made-up videos of other descriptors, are known. A distractor is a descriptor of one
of the clips with each of its bits inverted by a chance: the largest (in steps of 0.01) that leaves a query at least as
many of them within the radius as descriptors of other contents are, one by one. So distractors have the statistics of
real bits and crowd where real ones do. The cost is fitted to joins of growing size, CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from benchmarks.made_codes import RESULTS, U8, cpu_seconds, table, write_result
from benchmarks.signatures import Frames, _medium, edited, read_frames
from videonovelty.known.shards import LocalCodes
from videonovelty.matching import hamming
from videonovelty.matching.descriptor_join import join_descriptors
from videonovelty.matching.local_candidates import (
    QUERY_BLOCK,
    LocalQueryCodes,
    match_local_shard,
    rank_local_candidates,
)
from videonovelty.records import KNOWN_POINTS
from videonovelty.settings import MatchingSettings
from videonovelty.signatures.local import KeyframeFeatures, local_features

PER_KEYFRAME = 150
KEYFRAMES = 40
"""Of a made-up video."""
NIGHT_VIDEOS = 10_000
NIGHT_KEYFRAMES = 20
"""Described keyframes of a video of a night; each asks with `KNOWN_POINTS` descriptors, and its mirror image's."""


def features(picture: U8) -> KeyframeFeatures:
    """Return the local descriptors of a picture that known videos keep, and that candidates are proposed by."""
    return local_features(_medium(picture), points=KNOWN_POINTS)


def within_share(known: U8, queries: U8, radius: int, *, apart: np.ndarray | None = None) -> float:
    """Return the share of pairs within the radius, or of those that `apart` marks as of different contents."""
    pairs = hamming.join(known, queries, radius)
    if apart is None:
        return len(pairs.query_index) / (len(known) * len(queries))
    counts = np.bincount(apart)
    return float((apart[pairs.query_index] != apart[pairs.known_index]).sum() / (len(known) ** 2 - (counts**2).sum()))


def inverted(codes: U8, n: int, chance: float, rng: np.random.Generator) -> U8:
    """Return n of the codes, drawn with repetition, each bit inverted by `chance`."""
    out = np.empty((n, codes.shape[1]), np.uint8)
    for start in range(0, n, 1 << 18):
        size = min(1 << 18, n - start)
        flips = np.packbits(rng.random((size, codes.shape[1] * 8), dtype=np.float32) < chance, axis=1)
        out[start : start + size] = codes[rng.integers(0, len(codes), size)] ^ flips
    return out


def distractors(codes: U8, series: np.ndarray, n: int, radius: int) -> tuple[U8, dict[str, Any]]:
    """Return n distractors, and what they were made by."""
    rng = np.random.default_rng(3)
    real = within_share(codes, codes, radius, apart=series)
    chance, met = 0.32, 0.0
    while met < real:
        chance -= 0.01
        met = within_share(inverted(codes, 300_000, chance, rng), codes, radius)
    facts = {
        "chance_of_a_bit": chance,
        "within_radius_of_ten_million_real": real * 1e7,
        "within_radius_of_ten_million_made": met * 1e7,
    }
    return inverted(codes, n, chance, rng), facts


def shard_of(frames: Frames, known: list[KeyframeFeatures], more: U8) -> tuple[LocalCodes, np.ndarray]:
    """Return a shard of the clips and the made-up videos, and the number of the video each picture is of."""
    names, video = np.unique(frames.group, return_inverse=True)
    order = np.argsort(video, kind="stable")
    sizes = [len(known[i]) for i in order]
    made = np.arange(len(more)) // (PER_KEYFRAME * KEYFRAMES)
    index = np.concatenate([np.repeat(video[order], sizes), len(names) + made])
    seconds = np.concatenate([np.repeat(order.astype(np.float64), sizes), np.arange(len(more)) // PER_KEYFRAME * 1.5])
    n_videos = len(names) + (int(made.max()) + 1 if len(made) else 0)
    codes = np.concatenate([*(known[i].codes for i in order), more])
    ids = tuple(f"{number:064x}" for number in range(n_videos))
    return LocalCodes(ids, index.astype(np.int32), seconds, codes), video  # type: ignore[arg-type]


def queries(frames: Frames, every: int) -> tuple[LocalQueryCodes, list[tuple[str, str]]]:
    """Return the descriptors of every edit of every so many clips, and the (clip, edit) of each query."""
    names = np.unique(frames.group)[::every]
    rows = np.flatnonzero(np.isin(frames.group, names))
    numbers: dict[tuple[str, str], int] = {}
    parts: list[tuple[int, int, bool, U8]] = []
    for i, edit, picture in edited(frames, 1, rows=rows):
        number = numbers.setdefault((str(frames.group[i]), edit), len(numbers))
        found = features(picture)
        parts += [(number, i, False, found.codes), (number, i, True, found.mirrored_codes)]
    sizes = [len(codes) for *_, codes in parts]
    video, keyframe, mirrored = (np.repeat(np.array([part[k] for part in parts]), sizes) for k in range(3))
    codes = np.ascontiguousarray(np.concatenate([codes for *_, codes in parts]))
    asked = LocalQueryCodes(codes, video.astype(np.int64), keyframe.astype(np.int64), mirrored.astype(np.bool_))
    return asked, list(numbers)


def recall(shard: LocalCodes, asked: LocalQueryCodes, of: list[tuple[str, str]], groups: list[str]) -> dict[str, Any]:
    """Return which queries have their source among the candidates, by edit, and how many candidates are made up."""
    settings = MatchingSettings()
    radius, most = settings.local_radius_bits, settings.max_hits_per_keyframe
    exact, _ = cpu_seconds(lambda: hamming.join(shard.codes, asked.codes, radius, max_hits_per_query=most))
    most_of_them, _ = cpu_seconds(lambda: join_descriptors(shard.codes, asked.codes, radius, max_hits_per_query=most))
    seconds, hits = cpu_seconds(lambda: match_local_shard(shard, asked, settings))
    ranked = rank_local_candidates([hits], len(of), settings)
    found: dict[str, list[bool]] = {}
    made = 0
    for (group, edit), candidates in zip(of, ranked, strict=True):
        ids = [int(candidate.known_video_id, 16) for candidate in candidates]
        found.setdefault(edit, []).append(groups.index(group) in ids)
        made += sum(number >= len(groups) for number in ids)
    return {
        "known_descriptors": len(shard.codes),
        "query_descriptors": len(asked.codes),
        "queries": len(of),
        "found": sum(map(sum, found.values())),
        "recall": sum(map(sum, found.values())) / len(of),
        "made_up_candidates": made,
        "by_edit": {edit: float(np.mean(hit)) for edit, hit in found.items()},
        "seconds": seconds,
        "join_seconds": most_of_them,
        "exact_join_seconds": exact,
    }


def cost(shard: LocalCodes, asked: LocalQueryCodes) -> dict[str, Any]:
    """Fit seconds a known row and block of queries, a query row, and a pair of both; predict nights."""
    settings = MatchingSettings()
    n_all, q_all = len(shard.codes), min(len(asked.codes), QUERY_BLOCK)
    rows = []
    for n in (n_all // 4, n_all):
        part = LocalCodes(shard.video_ids, shard.video_index[-n:], shard.seconds[-n:], shard.codes[-n:])
        for q in (q_all // 8, q_all // 2, q_all):
            few = LocalQueryCodes(asked.codes[:q], asked.video[:q], asked.keyframe[:q], asked.mirrored[:q])
            seconds = min(cpu_seconds(lambda: match_local_shard(part, few, settings))[0] for _ in range(2))  # noqa: B023
            rows.append({"known": n, "queries": q, "seconds": seconds})
            print(rows[-1], flush=True)
    matrix = np.array([(r["known"], r["queries"], r["known"] * r["queries"]) for r in rows], np.float64)
    measured = np.array([r["seconds"] for r in rows])
    costs = np.maximum(np.linalg.lstsq(matrix / measured[:, None], np.ones(len(rows)), rcond=None)[0], 0.0)
    for row, model in zip(rows, matrix @ costs, strict=True):
        row["model_seconds"] = float(model)
    night = NIGHT_VIDEOS * NIGHT_KEYFRAMES * KNOWN_POINTS * 2
    hours = [
        {
            "known": n,
            "core_hours": float(np.dot(costs, (n * -(-night // QUERY_BLOCK), night * -(-n // n_all), n * night)))
            / 3600,
        }
        for n in (10**7, 10**8, 10**9)
    ]
    return {
        "rows": rows,
        "ns_a_known_row_and_block": costs[0] * 1e9,
        "ns_a_query_row": costs[1] * 1e9,
        "ns_a_thousand_pairs": costs[2] * 1e12,
        "night_descriptors": night,
        "nights": hours,
    }


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--distractors", type=float, default=1e7)
    parser.add_argument("--every", type=int, default=5, help="make edits of every n-th clip")
    parser.add_argument("--out", type=Path, default=RESULTS)
    wanted = parser.parse_args()
    hamming.warm_up(print)
    frames = read_frames(wanted.videos)
    known = [features(picture) for picture in frames.pictures]
    codes = np.concatenate([one.codes for one in known])
    series = np.repeat(np.unique(frames.series, return_inverse=True)[1], [len(one) for one in known])
    radius = MatchingSettings().local_radius_bits
    more, facts = distractors(codes, series, int(wanted.distractors), radius)
    print(facts, flush=True)
    asked, of = queries(frames, wanted.every)
    groups = np.unique(frames.group).tolist()
    alone = recall(shard_of(frames, known, more[:0])[0], asked, of, groups)
    shard, _ = shard_of(frames, known, more)
    among = recall(shard, asked, of, groups)
    print(among, flush=True)
    result = {"distractors": facts, "without": alone, "among": among, "cost": cost(shard, asked)}
    write_result(wanted.out, "local_candidates", result, report(result))


def report(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    alone, among, cost = result["without"], result["among"], result["cost"]
    missed = {edit: share for edit, share in among["by_edit"].items() if share < 1}
    return "\n\n".join(
        [
            "# Candidates by local descriptors",
            f"{among['queries']} edited videos ({len(among['by_edit'])} edits) against {among['known_descriptors']:,} "
            f"known descriptors: the source is a candidate of {among['found']} ({among['recall']:.3f}), without "
            f"distractors of {alone['found']} ({alone['recall']:.3f}); {among['made_up_candidates']} candidates are "
            f"made up. Not always found: {missed or 'none'}. The join takes {among['join_seconds']:.2f} s, "
            f"one that misses no pair {among['exact_join_seconds']:.2f} s.",
            f"Of ten million distractors {result['distractors']['within_radius_of_ten_million_made']:.1f} lie within "
            f"the radius of a descriptor, of as many real ones of other contents "
            f"{result['distractors']['within_radius_of_ten_million_real']:.1f}.",
            table(
                ["known", "queries", "s", "model s"],
                [[r["known"], r["queries"], r["seconds"], r["model_seconds"]] for r in cost["rows"]],
            ),
            f"A night of {NIGHT_VIDEOS:,} videos, {cost['night_descriptors']:,} descriptors with the mirrored ones:",
            table(["known descriptors", "core-hours"], [[n["known"], n["core_hours"]] for n in cost["nights"]]),
        ]
    )


if __name__ == "__main__":
    main()
