"""The joins of a batch of contents against shards of codes, with everything large on the disk, not in the caller.

Signatures are read by workers, codes and hits travel as files of plain arrays in the run's work folder, and whoever
judges some contents maps the hits of just those. The process that hands the tasks out holds paths and numbers, however
long the videos of a night are.

A batch is bounded by the bytes of its codes, not by a count of videos (`batches`): enough that every shard is read once
for many queries, and never more than a worker may hold.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from videonovelty.batch import Part, Progress, Report
from videonovelty.engine import Engine, EngineFailure
from videonovelty.errors import RunError
from videonovelty.known.shards import VideoIds
from videonovelty.known.snapshot import Snapshot
from videonovelty.matching.candidates import (
    NEGATIVES,
    Candidates,
    QueryCodes,
    ShardHits,
    collect_codes,
    match_shard,
    rank_candidates,
)
from videonovelty.matching.local_candidates import (
    LocalCandidate,
    LocalHits,
    LocalQueryCodes,
    collect_local_codes,
    match_local_shard,
    rank_local_candidates,
)
from videonovelty.records import N_DIHEDRAL
from videonovelty.settings import MatchingSettings, Settings

Arrays = Mapping[str, npt.NDArray[Any]]
I64 = npt.NDArray[np.int64]
T = TypeVar("T")
R = TypeVar("R")

PARTS_PER_COLLECTION = 64
"""Contents whose codes one task collects into one file, at most…"""
COLLECTION_BYTES = 64 << 20
"""…and the bytes of these codes, at most, unless a single content has more."""
QUERY_BYTES = 49
"""Of one code to look up: 32 and where it comes from."""
LOCAL_QUERY_BYTES = 25
UNKNOWN_KEYFRAMES, UNKNOWN_DESCRIPTORS = 120, 20_000
"""Of a content whose journal is of a version that did not note them: those of a long minute."""


# ---------------------------------------------------------------------------------------------------------------------
# Batches


def batches(parts: Sequence[Part], sizes: Sequence[int], limit_bytes: int) -> Iterator[slice]:
    """Yield slices that cut `parts`, whose codes take `sizes` bytes, into runs of at most `limit_bytes`; at least one.

    Where they are cut follows from the parts alone, so that a resumed run forms the same batches.
    """
    first, total = 0, 0
    for number, size in enumerate(sizes):
        if number > first and total + size > limit_bytes:
            yield slice(first, number)
            first, total = number, 0
        total += size
    if first < len(parts):
        yield slice(first, len(parts))


def query_bytes(part: Part) -> int:
    """Return how many bytes the codes of a content take at most: eight variants and two negatives, twice where there
    are borders, and those of its panes."""
    pictures = (part.keyframes or UNKNOWN_KEYFRAMES) * 2
    return (pictures * (N_DIHEDRAL + len(NEGATIVES)) + part.panes * N_DIHEDRAL) * QUERY_BYTES


def local_query_bytes(part: Part) -> int:
    """Return how many bytes the local descriptors of a content take, as they are and mirrored."""
    return (part.descriptors or UNKNOWN_DESCRIPTORS) * 2 * LOCAL_QUERY_BYTES


def query_limit(settings: Settings) -> int:
    """Return how many bytes of codes are looked up together: a quarter of what a join may use."""
    return settings.run.join_memory_bytes // 4


# ---------------------------------------------------------------------------------------------------------------------
# Arrays on the disk


def save_arrays(folder: Path, arrays: Arrays) -> Path:
    """Write arrays under `folder`, which appears whole or not at all; one that is there already is left as it is.

    For work files: private, and not synced, for a run that is cut off makes them anew.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.tmp")
    temporary.mkdir(mode=0o700)
    for name, array in arrays.items():
        fd = os.open(temporary / f"{name}.npy", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            np.save(file, array, allow_pickle=False)
    try:
        temporary.rename(folder)
    except OSError:  # a repeated task was here before
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.is_dir():
            raise
    return folder


def load_array(folder: Path, name: str) -> npt.NDArray[Any]:
    """Return one array that `save_arrays` wrote, mapped: only what is looked at is read."""
    path = folder / f"{name}.npy"
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array if array.size else np.array(array)


def load_arrays(folders: Sequence[Path], names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return arrays of several folders, joined end to end, in memory."""
    return {name: np.concatenate([load_array(folder, name) for folder in folders]) for name in names}


class WorkFolder:
    """RUN/work: what travels between tasks. Emptied when it is opened and removed when it is closed."""

    def __init__(self, run_path: Path) -> None:
        self.path = run_path / "work" / "lookup"
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700, parents=True)

    def new(self, name: str) -> Path:
        """Return a path that is not taken."""
        return self.path / f"{name}-{secrets.token_hex(4)}"

    def remove(self, folders: Sequence[Path]) -> None:
        """Remove what is no longer needed."""
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)


def all_done(
    engine: Engine, task: Callable[[T], R], items: Sequence[T], what: str, note: Callable[[int], None] | None = None
) -> list[R]:
    """Return the results of `items` in their order. Raises RunError when a task took its workers down."""
    results: dict[int, R] = {}
    numbered = list(enumerate(items))
    for (number, _), result in engine.map_unordered(functools.partial(_numbered, task=task), numbered):
        if isinstance(result, EngineFailure):
            raise RunError(f"{what}: {result.detail}. Start the same command again to resume.")
        results[number] = result
        if note is not None:
            note(len(results))
    return [results[number] for number in range(len(items))]


def _numbered(item: tuple[int, T], *, task: Callable[[T], R]) -> R:
    return task(item[1])


# ---------------------------------------------------------------------------------------------------------------------
# Codes and hits


@dataclass(frozen=True, slots=True)
class CollectTask:
    """Some contents of a batch, the first of them number `first`, whose codes go to `folder`."""

    parts: tuple[Part, ...]
    first: int
    folder: Path


@dataclass(frozen=True, slots=True)
class JoinTask:
    """One shard, or group of shards, against the codes in some folders; hits go to another."""

    shard: int
    codes: tuple[Path, ...]
    hits: Path


_QUERIES = ("codes", "video", "keyframe", "variant")
_LOCAL_QUERIES = ("codes", "video", "keyframe", "mirrored")
_HITS = ("video", "keyframe", "known", "distance_bits", "variant")
_LOCAL_HITS = ("video", "keyframe", "mirrored", "known", "known_seconds", "votes")


def collect(task: CollectTask) -> int:
    """Write the codes of some contents, of their pictures, and return how many there are; for a worker."""
    # one content is read at a time: signatures are many times as large as their codes
    found = [collect_codes([part.read().signatures], apart=False) for part in task.parts]
    return save_queries(task.folder, found, first=task.first)


def collect_all(task: CollectTask) -> int:
    """Write the codes of some contents, of panes and negatives too, and return how many there are; for a worker."""
    found = [collect_codes([part.read().signatures]) for part in task.parts]
    return save_queries(task.folder, found, first=task.first)


def collect_local(task: CollectTask) -> int:
    """Write the local descriptors of some contents and return how many there are; for a worker."""
    found = [collect_local_codes([part.read().signatures]) for part in task.parts]
    return _save(task.folder, task.first, found, _LOCAL_QUERIES)


def save_queries(folder: Path, found: Sequence[QueryCodes], *, first: int) -> int:
    """Write the codes of some contents, the first of them number `first`, and return how many there are."""
    return _save(folder, first, found, _QUERIES)


def _save(folder: Path, first: int, found: Sequence[QueryCodes | LocalQueryCodes], names: Sequence[str]) -> int:
    arrays = {name: np.concatenate([getattr(codes, name) for codes in found]) for name in names}
    counts = [len(codes.codes) for codes in found]
    arrays["video"] = np.repeat(np.arange(first, first + len(found), dtype=np.int64), counts)
    save_arrays(folder, arrays)
    return sum(counts)


def load_queries(folders: Sequence[Path]) -> QueryCodes:
    """Return the codes `save_queries` wrote."""
    stored = load_arrays(folders, _QUERIES)
    return QueryCodes(np.ascontiguousarray(stored["codes"]), stored["video"], stored["keyframe"], stored["variant"])


def join_shard(task: JoinTask, *, snapshot: Snapshot, scheme_name: str, settings: Settings) -> Path:
    """Write what one shard of the snapshot holds for a batch of queries; for a worker."""
    codes = load_queries(task.codes)
    shard = snapshot.frame_shards(scheme_name)[task.shard]
    memory = settings.run.join_memory_bytes
    return save_hits(task.hits, match_shard(snapshot.load_codes(shard), codes, settings.matching, memory_bytes=memory))


def join_local_shards(task: JoinTask, *, snapshot: Snapshot, scheme_name: str, settings: Settings) -> Path:
    """Write the keyframe pairs of some shards that share local descriptors with a batch of queries; for a worker."""
    stored = load_arrays(task.codes, _LOCAL_QUERIES)
    codes = LocalQueryCodes(
        np.ascontiguousarray(stored["codes"]), stored["video"], stored["keyframe"], stored["mirrored"]
    )
    known = snapshot.load_local_codes(*snapshot.local_groups(scheme_name)[task.shard])
    memory = settings.run.join_memory_bytes
    hits = match_local_shard(known, codes, settings.matching, memory_bytes=memory)
    order = np.argsort(hits.video, kind="stable")
    arrays = {name: getattr(hits, name)[order] for name in _LOCAL_HITS}
    return save_arrays(task.hits, {**arrays, "known_ids": raw_ids(hits.known_ids)})


def save_hits(folder: Path, hits: ShardHits, **more: npt.NDArray[Any]) -> Path:
    """Write the hits of one shard, ordered by the number of the query, and `more` arrays beside them."""
    order = np.argsort(hits.video, kind="stable")
    arrays = {name: getattr(hits, name)[order] for name in _HITS}
    more = {**more, "overflowed": hits.overflowed, "known_ids": raw_ids(hits.known_ids)}
    return save_arrays(folder, {**arrays, **more})


def raw_ids(ids: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return hex digests as bytes; shape (n, 32)."""
    return np.frombuffer(b"".join(bytes.fromhex(one) for one in ids), np.uint8).reshape(-1, 32)


@dataclass(frozen=True, slots=True)
class Hits:
    """Where the hits of one content lie."""

    number: int = 0
    """What the content is called there."""
    folders: tuple[Path, ...] = ()


def candidates_of(
    found: Sequence[Hits], keyframes: Sequence[int], *, n_known_videos: int, settings: MatchingSettings
) -> list[Candidates]:
    """Return the candidates of some contents, which have so many keyframes each."""
    ranked: list[Candidates] = []
    for folders, numbers in _by_folders(found):
        place = {number: n for n, number in enumerate(numbers)}
        hits = []
        for folder in folders:
            rows, video = _rows_of(folder, numbers)
            known, ids = _known(folder, rows)
            over = [(place[v], k) for v, k in load_array(folder, "overflowed").tolist() if v in place]
            columns = {name: load_array(folder, name)[rows] for name in ("keyframe", "distance_bits", "variant")}
            overflowed = np.array(over, np.int64).reshape(-1, 2)
            hits.append(ShardHits(video=video, known=known, known_ids=ids, overflowed=overflowed, **columns))
        mine = keyframes[len(ranked) : len(ranked) + len(numbers)]
        ranked += rank_candidates(hits, mine, n_known_videos=n_known_videos, settings=settings)
    return ranked


def local_candidates_of(found: Sequence[Hits], settings: MatchingSettings) -> list[tuple[LocalCandidate, ...]]:
    """Return the candidates of some contents by local descriptors."""
    ranked: list[tuple[LocalCandidate, ...]] = []
    for folders, numbers in _by_folders(found):
        hits = []
        for folder in folders:
            rows, video = _rows_of(folder, numbers)
            known, ids = _known(folder, rows)
            names = ("keyframe", "mirrored", "known_seconds", "votes")
            columns = {name: load_array(folder, name)[rows] for name in names}
            hits.append(LocalHits(video=video, known=known, known_ids=ids, **columns))
        ranked += rank_local_candidates(hits, len(numbers), settings)
    return ranked


def _by_folders(found: Sequence[Hits]) -> Iterator[tuple[tuple[Path, ...], list[int]]]:
    """Yield runs of contents whose hits lie in the same folders."""
    for folders, some in groupby(found, key=lambda one: one.folders):
        yield folders, [one.number for one in some]


def has_hits(folders: Sequence[Path], n_queries: int) -> npt.NDArray[np.bool_]:
    """Return which of the queries 0 … n-1 have any hit."""
    found = np.zeros(n_queries, np.bool_)
    for folder in folders:
        found[load_array(folder, "video")] = True
    return found


def _rows_of(folder: Path, numbers: Sequence[int]) -> tuple[I64, I64]:
    """Return the rows of the queries `numbers` and for each row the place of its query in `numbers`."""
    video = load_array(folder, "video")
    wanted = np.asarray(numbers, np.int64)
    starts, stops = np.searchsorted(video, wanted), np.searchsorted(video, wanted, side="right")
    rows = [np.arange(start, stop) for start, stop in zip(starts, stops, strict=True)]
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *rows]), np.repeat(np.arange(len(wanted)), stops - starts)


def _known(folder: Path, rows: I64) -> tuple[I64, tuple[str, ...]]:
    """Return for each row the index of its known video, and the ids of those met."""
    met, known = np.unique(load_array(folder, "known")[rows], return_inverse=True)
    ids = VideoIds(np.asarray(load_array(folder, "known_ids")[met]))
    return known.astype(np.int64), tuple(ids[n] for n in range(len(met)))


# ---------------------------------------------------------------------------------------------------------------------
# The lookup of a batch


@dataclass(frozen=True, slots=True)
class Lookup:
    """The joins of one run against a snapshot."""

    snapshot: Snapshot
    scheme_name: str
    engine: Engine
    settings: Settings
    work: WorkFolder
    report: Report

    def by_pdq(self, batch: Sequence[Part], *, apart: bool) -> list[Path]:
        """Return the folders of hits of a batch; its contents are numbered as in it.

        Pictures are compared and, where asked for, what is counted apart: panes and negatives.
        """
        shards = len(self.snapshot.frame_shards(self.scheme_name))
        return self._join(collect_all if apart else collect, join_shard, batch, shards, "matching")

    def by_local(self, batch: Sequence[Part]) -> list[Path]:
        """Return the folders of hits of a batch by local descriptors; contents are numbered as in `batch`."""
        shards = len(self.snapshot.local_groups(self.scheme_name))
        return self._join(collect_local, join_local_shards, batch, shards, "matching parts")

    def _join(
        self,
        collecting: Callable[[CollectTask], int],
        joining: Callable[..., Path],
        batch: Sequence[Part],
        shards: int,
        stage: str,
    ) -> list[Path]:
        if shards == 0 or not batch:
            return []
        codes, total = collected(self.engine, collecting, batch, self.work)
        hits: list[Path] = []
        if total:
            bound = functools.partial(
                joining, snapshot=self.snapshot, scheme_name=self.scheme_name, settings=self.settings
            )
            tasks = [JoinTask(number, codes, self.work.new("hits")) for number in range(shards)]
            hits = all_done(
                self.engine, bound, tasks, "a shard could not be searched",
                lambda done: self.report(Progress(stage, done, shards)),
            )  # fmt: skip
        self.work.remove(codes)
        return hits


def collected(
    engine: Engine, collecting: Callable[[CollectTask], int], batch: Sequence[Part], work: WorkFolder
) -> tuple[tuple[Path, ...], int]:
    """Have workers collect the codes of a batch; return the folders they lie in, in order, and how many there are."""
    size = local_query_bytes if collecting is collect_local else query_bytes
    sizes = [max(size(part), COLLECTION_BYTES // PARTS_PER_COLLECTION) for part in batch]
    cuts = batches(batch, sizes, COLLECTION_BYTES)
    tasks = [CollectTask(tuple(batch[cut]), cut.start, work.new("codes")) for cut in cuts]
    counts = all_done(engine, collecting, tasks, "signatures could not be read")
    return tuple(task.folder for task in tasks), sum(counts)
