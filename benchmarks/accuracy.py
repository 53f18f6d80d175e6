"""Is a new video ever hidden, and how much known footage is cleared? Planted truth through the command line.

    python -m benchmarks.accuracy [VIDEOS…] [--contents 14] [--speeds | --backwards | --others]
        [--out benchmarks/results/accuracy]

Every clip is cut into halves and, but for every fifth clip, the first half is enrolled. The intake holds
- copies: the first half of `--contents` clips under 36 edits (truth: known),
- takes: the second half, same scene and camera, under 9 edits (truth: new, must never be `known`); those of fixed
  cameras, where half of the picture stays as it is, also by themselves,
- splices: the first half with 1, 2 or 3 seconds of the second half put in, or put in place of its own (those are new),
- insets: new footage, a moving clip or a fixed camera, over 20 … 50 % of the sides of the copied clips, in a corner or
  elsewhere (12 kinds): all of it is new while it plays; the same over crops of them (6 kinds),
- novel: clips that are enrolled nowhere, under 8 edits.
With --backwards all of the intake is played backwards. With --speeds it holds footage played at 0.5 … 2 times its speed
instead: copies, some edited as well, other takes, splices and insets. With --others it holds copies of every other
video under 26 edits no threshold was chosen with, and 22 kinds of new footage mixed with it or laid over it that move,
last two seconds or reach across the picture.
Without VIDEOS it makes its own footage: moving clips, and fixed cameras with different actors in the two halves.
Beside the product stands vPDQ's method (PDQ once a second, quality ≥ 50, distance ≤ 31, bag of frames; 80 % of both
videos, or of either), computed on the same files with PDQ of the area-averaged 64 × 64 luma.
Segments are judged twice: those that are cleared, and all that are reported with a known video and its times, proven or
not. The latter is what other detectors report; other takes are among it on purpose, and their share is given beside.
Prints tables and writes them as JSON and Markdown, with one-sided 95 % Clopper–Pearson bounds for the errors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks import other_footage, speed_footage
from benchmarks.accuracy_footage import (
    FIXED_SHARE,
    INSET_KINDS,
    PART_OF_PICTURE,
    SPLICE_SECONDS,
    WHOLE_PICTURE,
    make,
    still_share,
)
from benchmarks.copy_metrics import NOT_SHOWN, average_precision, overlap, planted, segment_precision_recall
from benchmarks.kept import footage_folder
from benchmarks.made_codes import COMMAND
from benchmarks.made_known import add_made_up
from benchmarks.vpdq_method import VPDQ_WAYS, vpdq_matches
from videonovelty.known import KnownStore
from videonovelty.records import MOVES_OTHERWISE
from videonovelty.tuning.metrics import clopper_pearson

Row = dict[str, Any]


def screen(folder: Path, made_up: int = 0) -> dict[str, Any]:
    """Enrol and scan with the command line, on this machine's defaults; return what else is known.

    That is `made_up` keyframes of videos that nothing of the intake is made of, put into the store between the two.
    """
    subprocess.run(
        [*COMMAND, "known", "add", folder / "known", "--store", folder / "store", "--list", "k", "--workers", "2"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    others = add_made_up(KnownStore.open(folder / "store"), made_up) if made_up else {}
    scan(folder, folder / "store")
    return others


def scan(folder: Path, store: Path) -> None:
    """Scan FOLDER/intake against a store with the command line, on this machine's defaults, into FOLDER/run."""
    done = subprocess.run(
        [*COMMAND, "scan", folder / "intake", "--store", store, "--run", folder / "run", "--workers", "2"],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"the scan ended with {done.returncode}; see above")


def measure(
    folder: Path, truth: Sequence[Row], vpdq: Mapping[str, Mapping[str, Collection[str]]], still: Collection[str] = ()
) -> dict[str, Any]:
    """Return the figures of one finished run.

    `vpdq` holds, by way, the known files each query is said to show; `still` names the clips of fixed cameras.
    """
    rows = {row["path"].rsplit("/", 1)[1]: row for row in pq.read_table(folder / "run/verdicts.parquet").to_pylist()}
    by_video: dict[str, list[Row]] = defaultdict(list)
    for segment in pq.read_table(folder / "run/segments.parquet").to_pylist():
        by_video[segment["video_id"]].append(segment)
    names = names_of_known(folder / "store")
    table: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    by_source: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    failures: list[str] = []
    pairs: list[tuple[float, bool]] = []
    for entry in truth:
        row = rows[entry["name"]]
        segments = [s | {"known": names.get(s["known_video_id"] or "", "")} for s in by_video[row["video_id"]]]
        cell = table[entry["kind"], entry["edit"]]
        cell["videos"] += 1
        cell[row["verdict"]] += 1
        by_source[entry["source"], entry["kind"]]["videos"] += 1
        by_source[entry["source"], entry["kind"]][row["verdict"]] += 1
        _add_seconds(cell, entry, segments)
        found = names.get(row["best_known_id"] or "", "")
        cell["source found"] += bool(entry["known"]) and found == entry["known"]
        cell["wrong source"] += bool(found) and found != entry["known"]
        for way, matches in vpdq.items():
            cell[f"vPDQ {way}"] += entry["known"] in matches[entry["name"]]
            cell[f"vPDQ {way}, wrong"] += bool(set(matches[entry["name"]]) - {entry["known"]})
        if entry["kind"] not in INSET_KINDS:  # it does show the known video, and the seconds are not copied ones
            pairs += _scores(entry, segments)
        failures += _failures(entry, row, segments, found)
    copies = [cell for (kind, _), cell in table.items() if kind == "copy"]
    whole = [cell for (kind, edit), cell in table.items() if kind == "copy" and edit in WHOLE_PICTURE]
    part = [cell for (kind, edit), cell in table.items() if kind == "copy" and edit in PART_OF_PICTURE]
    splices = [cell for (kind, _), cell in table.items() if kind == "splice"]
    takes = [cell for (kind, _), cell in table.items() if kind == "take"]
    fixed = [cell for (source, kind), cell in by_source.items() if kind == "take" and source in still]
    novel = [cell for (kind, _), cell in table.items() if kind == "novel"]
    insets, cropped = ([cell for (kind, _), cell in table.items() if kind == one] for one in INSET_KINDS)
    edits = [cell["source found"] / cell["videos"] for cell in copies]
    return {
        "other takes called known or partly_known": _rate(takes, ("known", "partly_known")),
        "other takes called same_scene": _rate(takes, ("same_scene",)),
        "other takes of fixed cameras called same_scene": _rate(fixed, ("same_scene",)),
        "clips of fixed cameras": sorted(still),
        "videos of other content called known or partly_known": _rate(novel, ("known", "partly_known")),
        "spliced videos called known": _rate(splices, ("known",)),
        "new seconds inside stretches called known": _share(splices, "new seconds hidden", "new seconds"),
        "known footage with new footage in a part of the picture, called known": _rate(insets, ("known",)),
        "seconds of it inside stretches called known": _share(insets, "new seconds hidden", "new seconds"),
        "cropped known footage with new footage in a part of it, called known": _rate(cropped, ("known",)),
        "seconds of that inside stretches called known": _share(cropped, "new seconds hidden", "new seconds"),
        "copies whose source is named": _rate(copies, ("source found",)),
        "mean and least over edits": [round(float(np.mean(edits)), 4), round(min(edits), 4)] if edits else [],
        **{f"vPDQ {way}: copies whose source is named": _rate(copies, (f"vPDQ {way}",)) for way in vpdq},
        "copied seconds cleared, whole picture": _share(whole, "cleared", "copied"),
        "copied seconds cleared or explained, whole picture": _share(whole, "explained", "copied"),
        "copied seconds cleared, part of the picture": _share(part, "cleared", "copied"),
        "copied seconds cleared, all": _share(copies, "cleared", "copied"),
        "copied seconds of which one picture shows what is over them": _share(copies, "one look", "copied"),
        "new seconds in a part of the picture that one picture stands for": _share(
            [*insets, *cropped], "new seconds of one look", "new seconds"
        ),
        "segments cleared (precision, recall, F)": _precision_recall(copies + splices, "cleared"),
        "segments reported, cleared or named (precision, recall, F)": _precision_recall(copies + splices, "reported"),
        "seconds of other takes reported": _share(takes, "reported", "seconds"),
        **{f"planted stretches of {n:g} s": _planted(splices, n) for n in SPLICE_SECONDS},
        "pair average precision": round(average_precision(pairs, positives=sum(bool(e["truth"]) for e in truth)), 4),
        "failures": failures,
        "table": [{"kind": kind, "edit": edit, **cell} for (kind, edit), cell in sorted(table.items())],
    }


def names_of_known(store: Path) -> dict[str, str]:
    """Return the names of the known files, by id."""
    return {
        video.video_id: video.memberships[0].source.rsplit("/", 1)[-1]
        for video in KnownStore.open(store).snapshot().videos()
    }


def _add_seconds(cell: dict[str, float], entry: Row, segments: Sequence[Row]) -> None:
    """Add what is cleared, explained, hidden, and the overlaps VCSL's segment precision and recall are made of."""
    known = [s for s in segments if s["kind"] == "known"]
    linked = [s for s in segments if s["kind"] in ("known", "same_scene")]
    looks = [s for s in segments if s["look_seconds"] is not None]
    cell["seconds"] += sum(s["end_seconds"] - s["start_seconds"] for s in segments)
    cell["reported"] += sum(s["end_seconds"] - s["start_seconds"] for s in linked)
    for start, end, _, _ in entry["truth"]:
        cell["copied"] += end - start
        for name, some in (("cleared", known), ("explained", linked), ("one look", looks)):
            cell[name] += sum(
                overlap(s["start_seconds"], s["end_seconds"], start, end) for s in some if s["known"] == entry["known"]
            )
    if entry["new"] is not None:
        low, high = entry["new"]
        cell["new seconds"] += high - low
        cell["new seconds hidden"] += _hidden(entry, segments)
        cell["new seconds of one look"] += _new_within(entry, looks)
        if entry["kind"] == "splice":
            _add_planted(cell, low, high, segments)
    if entry["truth"]:
        for name, some in (("cleared", known), ("reported", linked)):
            precision, recall = segment_precision_recall(entry["truth"], some, entry["known"])
            cell[f"segment precision, {name}"] += precision
            cell[f"segment recall, {name}"] += recall


def _add_planted(cell: dict[str, float], low: float, high: float, segments: Sequence[Row]) -> None:
    """Count what becomes of one planted stretch, by its length."""
    found, length = planted(low, high, segments), f"{high - low:.0f} s"
    cell[f"planted {length}"] += 1
    cell[f"planted {length}, listed"] += found.listed
    cell[f"planted {length}, as novel"] += found.as_novel
    cell[f"planted {length}, cleared"] += found.cleared
    cell[f"planted {length}, an edge within 1 s of both ends"] += found.edge_off_seconds <= 1.0
    if found.off_seconds is not None:
        cell[f"planted {length}, both ends within 1 s"] += max(map(abs, found.off_seconds)) <= 1.0
        cell[f"planted {length}, no new footage cut off by more than 1 s"] += min(found.off_seconds) >= -1.0


def _planted(cells: Sequence[Mapping[str, float]], length: float) -> dict[str, int]:
    names = (
        "listed",
        "as novel",
        "an edge within 1 s of both ends",
        "both ends within 1 s",
        "no new footage cut off by more than 1 s",
        "cleared",
    )
    counts = {"of": sum(cell.get(f"planted {length:.0f} s", 0) for cell in cells)}
    counts |= {name: sum(cell.get(f"planted {length:.0f} s, {name}", 0) for cell in cells) for name in names}
    return {name: int(count) for name, count in counts.items()}


def _hidden(entry: Row, segments: Sequence[Row]) -> float:
    return _new_within(entry, [s for s in segments if s["kind"] in NOT_SHOWN])


def _new_within(entry: Row, segments: Sequence[Row]) -> float:
    low, high = entry["new"]
    return sum(overlap(s["start_seconds"], s["end_seconds"], low, high) for s in segments)


def _precision_recall(cells: Sequence[Mapping[str, float]], which: str) -> list[float]:
    n = max(1.0, sum(cell["videos"] for cell in cells))
    precision = sum(cell[f"segment precision, {which}"] for cell in cells) / n
    recall = sum(cell[f"segment recall, {which}"] for cell in cells) / n
    return [round(v, 4) for v in (precision, recall, 2 * precision * recall / max(1e-9, precision + recall))]


def _scores(entry: Row, segments: Sequence[Row]) -> list[tuple[float, bool]]:
    """Return (score, right) of each known video a query is linked to.

    Proven seconds count most, then those on a line in time that are not proven, then likeness at whatever moment.
    """
    score: dict[str, float] = defaultdict(float)
    for s in segments:
        if s["known"]:
            weight = 1.0 if s["kind"] == "known" else 0.02 if s["why_not"] == MOVES_OTHERWISE else 0.05
            score[s["known"]] += (s["end_seconds"] - s["start_seconds"]) * weight
    return [(value, bool(entry["truth"]) and known == entry["known"]) for known, value in score.items()]


def _failures(entry: Row, row: Row, segments: Sequence[Row], found: str) -> list[str]:
    name = f"{entry['name']} ({entry['source']})"
    if entry["kind"] == "copy":
        return [] if found == entry["known"] else [f"{name}: source not named; {row['verdict']}, {row['reason']}"]
    wrong = row["verdict"] == "known" or (entry["kind"] in ("take", "novel") and row["verdict"] == "partly_known")
    hidden = _hidden(entry, segments) if entry["new"] is not None else 0.0
    return [f"{name}: {row['verdict']}, {hidden:.1f} new s inside known stretches"] if wrong or hidden > 1.0 else []


def _rate(cells: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    n = int(sum(cell["videos"] for cell in cells))
    hits = int(sum(cell.get(name, 0) for cell in cells for name in names))
    one_sided = clopper_pearson(hits, n, confidence=0.90)[1]
    return {"of": n, "count": hits, "upper 95 % bound": round(one_sided, 5)}


def _share(cells: Sequence[Mapping[str, float]], name: str, of: str) -> dict[str, float]:
    whole = sum(cell.get(of, 0) for cell in cells)
    part = sum(cell.get(name, 0) for cell in cells)
    return {"of seconds": round(whole, 1), "seconds": round(part, 1), "share": round(part / max(1e-9, whole), 4)}


def as_markdown(figures: dict[str, Any]) -> str:
    """Return the figures as tables people read."""
    lines = []
    for name, value in figures.items():
        empty = isinstance(value, dict) and value.get("of", value.get("of seconds", 1)) == 0
        if name not in ("table", "failures") and not empty:
            shown = ", ".join(f"{key} {v}" for key, v in value.items()) if isinstance(value, dict) else value
            lines.append(f"- {name}: {shown}")
    lines += ["", "| kind | edit | videos | known | partly | same scene | novel | not comparable | source | wrong "]
    lines[-1] += "| vPDQ both | either | cleared | one look | explained | new s hidden |"
    lines.append("|---" * 16 + "|")
    for cell in figures["table"]:
        count = [
            int(cell.get(name, 0))
            for name in ("videos", "known", "partly_known", "same_scene", "novel", "not_comparable", "source found",
                         "wrong source", *(f"vPDQ {way}" for way in VPDQ_WAYS))
        ]  # fmt: skip
        copied = cell.get("copied", 0.0)
        names = ("cleared", "one look", "explained")
        shares = [f"{cell.get(name, 0.0) / copied:.0%}" if copied else "" for name in names]
        hidden = f"{cell['new seconds hidden']:.1f}/{cell['new seconds']:.0f}" if "new seconds" in cell else ""
        lines.append(
            f"| {cell['kind']} | {cell['edit']} | {' | '.join(map(str, count))} | {' | '.join(shares)} | {hidden} |"
        )
    lines += ["", *(f"- {failure}" for failure in figures["failures"])]
    return "\n".join(lines) + "\n"


def _kept(path: Path, compute: Callable[[], Any]) -> Any:
    """Return what a file holds, computed and written where it is missing: a folder that is kept is gone on with."""
    if not path.exists():
        path.write_text(json.dumps(compute()))
    return json.loads(path.read_text())


def _made(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Write the known clips and the intake, and return the truth."""
    if options.speeds:
        return speed_footage.make(folder, options.videos, workers=options.workers)
    if options.others:
        return other_footage.make(folder, options.videos, workers=options.workers)
    return make(folder, options.videos, contents=options.contents, workers=options.workers, backwards=options.backwards)


def main() -> None:
    """Make, screen, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--contents", type=int, default=14, help="clips that are copied under every edit")
    parser.add_argument(
        "--made-up",
        type=float,
        default=0,
        metavar="KEYFRAMES",
        help="known keyframes of made-up videos to seek the sources among; 1e6 have some 1.8e8 local descriptors",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--speeds", action="store_true", help="footage played at other speeds, instead of all else")
    instead.add_argument("--backwards", action="store_true", help="the same intake, played backwards")
    instead.add_argument(
        "--others",
        action="store_true",
        help="edits no threshold was chosen with, and new footage hidden in known footage, instead of all else",
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--keep",
        type=Path,
        help="a folder for the footage, the store and the run; stays, and a run that was cut off goes on in it",
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/accuracy"))
    options = parser.parse_args()
    with footage_folder(options.keep) as folder:
        truth = _kept(
            folder / "truth.json",
            lambda: _made(folder, options),
        )
        others = screen(folder, int(options.made_up))
        vpdq = _kept(
            folder / "vpdq.json",
            lambda: {
                way: {name: sorted(known) for name, known in found.items()}
                for way, found in vpdq_matches(folder / "known", folder / "intake", workers=options.workers).items()
            },
        )
        still = [
            entry["source"]
            for entry in truth
            if entry["kind"] == "take" and entry["edit"] == "as it is"
            if still_share(folder / "intake" / entry["name"]) >= FIXED_SHARE
        ]
        figures = ({"made-up known videos": others} if others else {}) | measure(folder, truth, vpdq, still)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n")
    text = as_markdown(figures)
    options.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
