"""Makes sample sets: out of any videos by editing them, or out of a team's own labelled pairs.

What a sample set is, and how it is read, stands in `videonovelty.tuning.sampletables`; how one query is cut and edited
in `videonovelty.tuning.queries`.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import multiprocessing
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import cv2
import numpy as np

from videonovelty import footage
from videonovelty.decode.rgb import read_rgb
from videonovelty.decode.writer import write_video
from videonovelty.errors import VideoError
from videonovelty.records import U8
from videonovelty.tuning.edits import AROUND, INSETS
from videonovelty.tuning.queries import ALL_EDITS, DRAWING_ON_OTHERS, Material, Plan, check_edit, plan_query, render
from videonovelty.tuning.sampletables import (
    NEGATIVE_KINDS,
    SPLITS,
    Negative,
    SampleSet,
    SampleSetError,
    SampleVideo,
    TruthSegment,
    file_sha256,
    load_sampleset,
    number_of,
    read_rows,
    write_sampleset,
)

__all__ = ["SampleOptions", "SampleSet", "SampleSetError", "label_samples", "load_sampleset", "make_samples"]

log = logging.getLogger(__name__)

_TAKE_EDITS = ("copy", "mirror", "letterbox")
"""What is done to the other takes of a scene: a mirrored take is no more the same footage than an upright one."""


@dataclass(frozen=True, slots=True)
class SampleOptions:
    """What `make_samples` makes."""

    edits: tuple[str, ...] = ALL_EDITS
    edits_per_video: int | None = None
    """Edits done to each source, taken in turn so that all edits occur equally often; None for all of them."""
    seed: int = 0
    novel_share: float = 0.3
    """Share of the sources that is not enrolled: everything made of them is new."""
    distractor_share: float = 0.1
    """Share of the sources that is enrolled and never asked about."""
    holdout_share: float = 0.5
    """Share of the sources that tuning does not see."""
    max_seconds: float = 20.0
    """Seconds of a source that are used at most."""
    max_side: int = 480
    """Longer side of the edited copies, px."""
    rooms: int = 4
    """Generated fixed-camera rooms, each with one known and two new takes."""
    room_seconds: float = 10.0
    """Length of each take."""
    workers: int = 1
    """Processes."""


@dataclass(slots=True)
class _Draft:
    """A set in the making."""

    videos: list[SampleVideo] = field(default_factory=list)
    truth: list[TruthSegment] = field(default_factory=list)
    negatives: list[Negative] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """One of the videos a set is made of."""

    material: Material
    fixed_camera: bool
    whole_seconds: float
    """Length of the file, of which `material` may be the beginning."""
    split: str = "tune"
    use: str = "known"
    """`known`, `novel`, `distractor` or `takes`."""


def make_samples(
    videos: Sequence[Path],
    out: Path,
    *,
    options: SampleOptions | None = None,
    sources: Mapping[Path, str] | None = None,
    progress: Callable[[str], None] = log.info,
) -> SampleSet:
    """Write a sample set made of `videos` into the empty or missing folder `out`, and return it.

    Each source is a known video, a new one or a distractor, and belongs to one split, by `options.seed`. Known and new
    sources are edited alike, so that an edit can not give away which is which. Clips of a fixed camera become two
    takes of one scene: their first part is enrolled, the rest asked about. `sources` names the content of a video where
    several show the same one; only the first of them is used. What can not be used (unreadable, still, shorter than
    4 s) is left out, with the reason, in sampleset.toml.

    Equal arguments and libraries give equal bytes. Raises SampleSetError when `out` is not empty, an edit is unknown,
    or fewer than two videos can be used.
    """
    chosen = options if options is not None else SampleOptions()
    for edit in chosen.edits:
        check_edit(edit)
    if out.exists() and any(out.iterdir()):
        raise SampleSetError(f"{out}: not empty; a sample set is made in a folder of its own")
    draft = _Draft()
    usable = _dealt(_usable(videos, sources or {}, chosen, draft, progress), chosen)
    if len(usable) < 2 and not chosen.rooms:
        raise SampleSetError(f"{len(usable)} of {len(videos)} videos can be used; a sample set needs two")
    out.mkdir(parents=True, exist_ok=True)
    _enrol(usable, out, draft)
    still = [*_add_takes(usable, out, chosen, draft, progress), *_add_rooms(out, chosen, draft, progress)]
    plans = [*_plans(usable, chosen, draft), *_inset_plans(usable, still, chosen, draft)]
    _render_all([plan for plan, _ in plans], out, chosen.workers, progress)
    for plan, split in plans:
        draft.truth += plan.truth()
        draft.videos.append(_row(out, plan.video, "query", plan.sources(), split, plan.seconds(), plan.edit))
    return _written(out, draft, chosen.seed)


def _usable(
    videos: Sequence[Path],
    sources: Mapping[Path, str],
    options: SampleOptions,
    draft: _Draft,
    progress: Callable[[str], None],
) -> list[_Source]:
    """Return the sources that can be used; the others are noted in `draft.left_out`."""
    found: list[_Source] = []
    seen: set[str] = set()
    for path in sorted(videos):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        source = re.sub(r"[^A-Za-z0-9_-]", "_", sources.get(path, content[:16]))
        if source in seen:
            draft.left_out[path.name] = f"shows the same content as another video ({source})"
            continue
        progress(f"reading {path.name}")
        try:
            found.append(_look_at(path, source, options))
            seen.add(source)
        except VideoError as error:
            draft.left_out[path.name] = error.reason.value
        except SampleSetError as error:
            draft.left_out[path.name] = str(error)
    return found


def _look_at(path: Path, source: str, options: SampleOptions) -> _Source:
    """Decode the seconds that may be used of a video, and tell what it is like."""
    thumbs: list[U8] = []
    times: list[float] = []
    size = (0, 0)
    for seconds, picture in read_rgb(path, max_side=options.max_side, end_seconds=options.max_seconds):
        size = picture.shape[1], picture.shape[0]
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        thumbs.append(np.asarray(cv2.resize(grey, (64, 36), interpolation=cv2.INTER_AREA), np.uint8))
        times.append(seconds)
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0
    seconds = times[-1] + step
    if seconds < 4.0:
        raise SampleSetError(f"only {seconds:.1f} s long")
    stack = np.stack(thumbs)
    if float(stack.std(axis=0).mean()) < 1.0 or float(stack.std(axis=(1, 2)).mean()) < 8.0:
        raise SampleSetError("still or blank")
    name = f"known/{source}{path.suffix}"
    fps = float(np.clip(round(1 / step, 3), 1.0, 60.0))
    material = Material(name, source, path, 0.0, seconds, fps, size[0], size[1])
    whole = seconds if times[-1] + 2 * step < options.max_seconds else _length(path)
    return _Source(material, fixed_camera=_is_fixed(stack) and seconds >= 12.0, whole_seconds=whole)


def _length(path: Path) -> float:
    """Return how long a file plays, by decoding it."""
    times = [seconds for seconds, _ in read_rgb(path, max_side=16)]
    return times[-1] + (times[-1] / (len(times) - 1) if len(times) > 1 else 0.0)


def _is_fixed(thumbs: U8) -> bool:
    """Tell whether the camera stood still: most of each picture is what is there most of the time, and yet it moves."""
    background = np.median(thumbs[:: max(1, len(thumbs) // 50)], axis=0)
    away = (np.abs(thumbs.astype(np.int16) - background) > 14).mean(axis=(1, 2))
    return bool(np.quantile(away, 0.95) < 0.35 and away.max() > 0.01)


def _dealt(usable: list[_Source], options: SampleOptions) -> list[_Source]:
    """Return the sources with their split and use, dealt evenly by the seed."""
    rng = np.random.default_rng(options.seed)
    order = rng.permutation(len(usable))
    dealt = []
    for place, index in enumerate(order):
        # low-discrepancy dealing: each prefix has about the shares asked for, in both splits
        spot, half = (place * 0.618034) % 1.0, (place * 0.754878) % 1.0
        use = "known"
        if usable[index].fixed_camera:
            use = "takes"
        elif spot < options.novel_share:
            use = "novel"
        elif spot < options.novel_share + options.distractor_share:
            use = "distractor"
        split = "holdout" if half >= 1.0 - options.holdout_share else "tune"
        dealt.append(replace(usable[index], split=split, use=use))
    return dealt


def _enrol(usable: list[_Source], out: Path, draft: _Draft) -> None:
    """Copy what is enrolled whole into the set."""
    for source in usable:
        if source.use in ("known", "distractor") and source.material.path is not None:
            path = out / source.material.name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.material.path, path)
            name, shown = source.material.name, (source.material.source,)
            draft.videos.append(_row(out, name, source.use, shown, source.split, source.whole_seconds, ""))


def _plans(usable: list[_Source], options: SampleOptions, draft: _Draft) -> list[tuple[Plan, str]]:
    """Return the plan and the split of every query made of known and of new sources; negatives go to `draft`."""
    plans: list[tuple[Plan, str]] = []
    edits = tuple(edit for edit in options.edits if not _is_inset(edit)) or ("copy",)
    alone = tuple(edit for edit in edits if not set(edit.split("+")) & DRAWING_ON_OTHERS) or ("copy",)
    shuffled = np.random.default_rng([options.seed, 1]).permutation
    turns = {"known": itertools.cycle(shuffled(edits)), "novel": itertools.cycle(shuffled(alone))}
    lengths = {"known": len(edits), "novel": len(alone)}
    for number, source in enumerate(usable):
        if source.use not in turns:
            continue
        known = _mates(usable, source, "known")
        # what is not enrolled has no name, so its seconds get no truth
        main = source.material if source.use == "known" else replace(source.material, name="")
        other = known[number % len(known)] if known else main
        unseen = [replace(material, name="") for material in _mates(usable, source, "novel")]
        host = unseen[number % len(unseen)] if unseen else _generated(options.seed + number, main)
        count = lengths[source.use] if options.edits_per_video is None else options.edits_per_video
        for edit in map(str, itertools.islice(turns[source.use], min(count, lengths[source.use]))):
            video = f"query/{main.source}.{edit}"
            plan = plan_query(f"{video}.mp4", edit, main, other=other, host=host, seed=options.seed)
            plans.append((plan, source.split))
            if source.use == "novel":
                draft.negatives.append(Negative(plan.video, "", "novel"))
            elif set(edit.split("+")) & AROUND:
                draft.negatives += [
                    Negative(plan.video, known, "new_around") for known in sorted({row.known for row in plan.truth()})
                ]
    return plans


def _is_inset(edit: str) -> bool:
    return not INSETS.keys().isdisjoint(edit.split("+"))


@dataclass(frozen=True, slots=True)
class _Still:
    """What a fixed camera saw: a known take, and another one that is not enrolled."""

    known: Material
    other: Material
    split: str


def _inset_plans(
    usable: list[_Source], still: Sequence[_Still], options: SampleOptions, draft: _Draft
) -> list[tuple[Plan, str]]:
    """Return the plan and the split of every query in which new footage plays inside the picture of a known video.

    The known video moves or is that of a fixed camera (`+still_parent` in the name of the edit), and so does the new.
    """
    edits = tuple(filter(_is_inset, options.edits))
    turn = itertools.cycle(np.random.default_rng([options.seed, 2]).permutation(edits) if edits else ())
    count = len(edits) if options.edits_per_video is None else min(options.edits_per_video, len(edits))
    plans: list[tuple[Plan, str]] = []
    for split in SPLITS:
        moving = [(s.material, "") for s in usable if s.split == split and s.use == "known"]
        parents = [*moving, *((one.known, "+still_parent") for one in still if one.split == split)]
        new = [s.material for s in usable if s.split == split and s.use == "novel"]
        quiet = [one.other for one in still if one.split == split]
        hosts = [m for pair in itertools.zip_longest(new, quiet) for m in pair if m is not None]
        for number, (parent, suffix) in enumerate(parents):
            others = [m for m in hosts if m.source != parent.source] or [_generated(options.seed + number, parent)]
            for place, edit in enumerate(map(str, itertools.islice(turn, count))):
                name = f"query/{parent.source}.{edit}.mp4"
                host = replace(others[(number + place) % len(others)], name="")
                plan = plan_query(name, edit, parent, other=parent, host=host, seed=options.seed)
                plans.append((replace(plan, edit=edit + suffix), split))
                draft.negatives.append(Negative(plan.video, parent.name, "new_inside"))
    return plans


def _mates(usable: list[_Source], source: _Source, use: str) -> list[Material]:
    """Return the other materials of one use in the source's split."""
    return [s.material for s in usable if s.split == source.split and s.use == use and s is not source]


def _generated(seed: int, like: Material) -> Material:
    """Return new footage of the size of another: what host there is where every source is enrolled."""
    name = f"generated{seed}"
    return replace(like, name="", source=name, path=None, generated=900_000 + seed, start=0.0, end=12.0, fps=25.0)


def _render_all(plans: list[Plan], out: Path, workers: int, progress: Callable[[str], None]) -> None:
    """Write the queries, in `workers` processes."""
    if workers <= 1:
        for number, plan in enumerate(plans, start=1):
            progress(f"{number} of {len(plans)}: {plan.video}")
            render(plan, out)
        return
    # a fresh interpreter each: encoders have threads, and threads do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, path in enumerate(pool.map(render, plans, itertools.repeat(out)), start=1):
            progress(f"{number} of {len(plans)}: {path.name}")


def _add_takes(
    usable: list[_Source], out: Path, options: SampleOptions, draft: _Draft, progress: Callable[[str], None]
) -> Iterator[_Still]:
    """Cut clips of a fixed camera in two, and yield them: the first part is enrolled, the rest is another take."""
    for source in usable:
        if source.use != "takes":
            continue
        whole = source.material
        middle = whole.seconds / 2
        first = replace(whole, name="", end=middle - 0.5)
        second = replace(whole, name="", start=middle + 0.5)
        known = f"known/{whole.source}.take.mp4"
        length = _take(source, known, first, "known", "copy", out, options, draft)
        for edit in _TAKE_EDITS:
            name = f"query/{whole.source}.take.{edit}.mp4"
            progress(name)
            _take(source, name, second, "query", edit, out, options, draft)
            draft.negatives.append(Negative(name, known, "same_scene"))
        yield _Still(replace(whole, name=known, path=out / known, end=length), second, source.split)


def _take(
    source: _Source,
    name: str,
    material: Material,
    role: str,
    edit: str,
    out: Path,
    options: SampleOptions,
    draft: _Draft,
) -> float:
    """Write one part of a fixed camera's clip and return its length."""
    plan = plan_query(name, edit, material, other=material, host=material, seed=options.seed)
    render(plan, out)
    edit = "" if edit == "copy" else edit
    draft.videos.append(_row(out, plan.video, role, (material.source,), source.split, plan.seconds(), edit))
    return plan.seconds()


def _add_rooms(out: Path, options: SampleOptions, draft: _Draft, progress: Callable[[str], None]) -> Iterator[_Still]:
    """Write generated rooms and yield them: one take is enrolled, an edited copy and two others are queries."""
    width, height, fps, seconds = 320, 180, 25.0, options.room_seconds
    for number in range(options.rooms):
        room = options.seed * 1000 + number
        source, split = f"room{room}", SPLITS[number % 2]
        known = f"known/{source}.mp4"
        progress(f"room {room}")
        for take, name, role in (
            (0, known, "known"),
            (1, f"query/{source}.take1.mp4", "query"),
            (2, f"query/{source}.take2.mp4", "query"),
        ):
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pictures = footage.fixed_camera(room, take, seconds, width=width, height=height, fps=fps)
            write_video(path, pictures, fps=fps, crf=22, gop=50)
            draft.videos.append(_row(out, name, role, (source,), split, seconds, ""))
            if role == "query":
                draft.negatives.append(Negative(name, known, "same_scene"))
        material = Material(known, source, out / known, 0.0, seconds, fps, width, height)
        plan = plan_query(
            f"query/{source}.copy.mp4", "letterbox+crf_36", material, other=material, host=material, seed=options.seed
        )
        render(plan, out)
        draft.truth += plan.truth()
        draft.videos.append(_row(out, plan.video, "query", (source,), split, plan.seconds(), plan.edit))
        other = replace(material, name="", path=out / "query" / f"{source}.take1.mp4")
        yield _Still(material, other, split)


def _row(
    out: Path, video: str, role: str, sources: tuple[str, ...], split: str, seconds: float, edit: str
) -> SampleVideo:
    digest = file_sha256(out / video)
    return SampleVideo(video, role, sources, split, round(seconds, 4), edit, digest)


# ---- a team's own pairs ---------------------------------------------------------------------------------------------


def label_samples(pairs: Path, out: Path, *, seed: int = 0, holdout_share: float = 0.5) -> SampleSet:
    """Write a sample set into the empty or missing folder `out` from a table of labelled pairs, and return it.

    `pairs` is a CSV with the columns of truth.csv; `query` and `known` are files, relative to the CSV. A pair whose
    times are all empty holds from end to end; a row whose `edit` is one of `NEGATIVE_KINDS` is a negative (no times),
    with `known` empty for `novel`. Videos stay where they are. Videos linked by any row count as one source and share
    a split.

    Raises SampleSetError naming the row that is wrong, VideoError for a video that cannot be read.
    """
    if out.exists() and any(out.iterdir()):
        raise SampleSetError(f"{out}: not empty; a sample set is made in a folder of its own")
    rows = read_rows(pairs, [f.name for f in fields(TruthSegment)])
    where = [f"{pairs} row {number}" for number in range(2, len(rows) + 2)]
    draft, lengths = _Draft(), {}
    for row, place in zip(rows, where, strict=True):
        for column in ("query", "known"):
            if not row[column] and (column == "query" or row["edit"] != "novel"):
                raise SampleSetError(f"{place}: no {column}")
            if row[column]:
                path = (pairs.parent / row[column]).resolve()
                if not path.is_file():
                    raise SampleSetError(f"{place}: no such video: {row[column]}")
                row[column] = str(path)
                if row[column] not in lengths:
                    lengths[row[column]] = _length(path)
        if row["edit"] in NEGATIVE_KINDS:
            draft.negatives.append(Negative(row["query"], row["known"], row["edit"]))
            continue
        times = [row[name] for name in ("q_start", "q_end", "k_start", "k_end")]
        if not any(times):
            times = ["0", str(lengths[row["query"]]), "0", str(lengths[row["known"]])]
        q_start, q_end, k_start, k_end = (number_of(text, place) for text in times)
        draft.truth.append(TruthSegment(row["query"], q_start, q_end, row["known"], k_start, k_end, row["edit"]))
    linked = _linked([(row["query"], row["known"]) for row in rows])
    found = {linked[segment.query] for segment in draft.truth}
    rejected = {linked[negative.query] for negative in draft.negatives}
    split = _split_evenly(found, rejected, seed, holdout_share)
    queries = {row["query"] for row in rows}
    edits = {segment.query: segment.edit for segment in draft.truth}
    for video, source in linked.items():
        role = "query" if video in queries else "known"
        digest, edit = file_sha256(Path(video)), edits.get(video, "")
        row_ = SampleVideo(video, role, (source,), split[source], round(lengths[video], 4), edit, digest)
        draft.videos.append(row_)
    out.mkdir(parents=True, exist_ok=True)
    return _written(out, draft, seed)


def _split_evenly(found: set[str], rejected: set[str], seed: int, holdout_share: float) -> dict[str, str]:
    """Return the split of each source: those with something to find, and those without, are dealt by themselves."""
    rng = np.random.default_rng(seed)
    split: dict[str, str] = {}
    for names in (sorted(found), sorted(rejected - found)):
        order = rng.permutation(len(names))
        split |= {names[i]: SPLITS[place >= len(names) * (1 - holdout_share)] for place, i in enumerate(order)}
    if any(not {source for source in part if split[source] == one} for part in (found, rejected) for one in SPLITS):
        return dict.fromkeys(split, SPLITS[0])
    return split


def _written(out: Path, draft: _Draft, seed: int) -> SampleSet:
    return write_sampleset(out, draft.videos, draft.truth, draft.negatives, seed=seed, left_out=draft.left_out)


def _linked(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the source of each video: videos linked by pairs, directly or not, share one."""
    parent: dict[str, str] = {}

    def root(video: str) -> str:
        parent.setdefault(video, video)
        while parent[video] != video:
            video = parent[video]
        return video

    for query, known in pairs:
        one, two = root(query), root(known or query)
        parent[max(one, two)] = min(one, two)
    roots = sorted({root(video) for video in parent})
    return {video: f"source{roots.index(root(video)):04}" for video in parent}
