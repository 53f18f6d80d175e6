"""Groups of the intake's own near-duplicates: one leader to view, and what it stands for, with the evidence.

A video belongs to a leader only when every informative second of it is *proven* footage of the leader, by the same
alignment and proof that compare it with known videos: another take of the same scene is never put behind a leader. Each
member has direct evidence against its leader; likeness is not passed on from member to member.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from videonovelty.batch import Part, Progress, Report
from videonovelty.engine import Engine
from videonovelty.known.shards import ShardCodes, VideoIds
from videonovelty.known.snapshot import KnownLocal
from videonovelty.lookup import (
    UNKNOWN_KEYFRAMES,
    Hits,
    WorkFolder,
    all_done,
    batches,
    candidates_of,
    has_hits,
    load_array,
    load_queries,
    raw_ids,
    save_arrays,
    save_hits,
    save_queries,
)
from videonovelty.matching.alignment import align
from videonovelty.matching.candidates import QueryCodes, collect_codes, match_shard
from videonovelty.matching.faint import silent_times
from videonovelty.matching.stretch import KnownSide, Stretch
from videonovelty.records import KnownFrames, SignedVideo, best_points, thinned
from videonovelty.segments import tile_segments
from videonovelty.settings import MatchingSettings, Settings
from videonovelty.verdict import judge

VIDEOS_PER_CHUNK = 500
"""Looked up together, among the leaders and among themselves: copies of one video in a chunk all meet each other."""
KEYFRAMES_PER_CHUNK = 25_000
KEYFRAMES_PER_BUNDLE = 600_000
"""Of leaders, 40 MB of codes: what one task looks a chunk up in."""
PARTS_PER_SHARD = 64
"""Videos whose codes one task writes."""
VIDEOS_PER_PROOF = 10
LEADERS_HELD = 8
"""Signatures of leaders a task keeps at hand."""
TRIED_WITHIN = 4
GOOD_VOTES = 0.5
"""Share of the best candidate's votes that makes another one worth trying before it."""
_WHAT = "the intake could not be grouped"


@dataclass(frozen=True, slots=True)
class Member:
    """One video a leader stands for, and the evidence."""

    video_id: str
    shared_keyframes: int
    share_of_keyframes: float
    offset_seconds: float
    """Leader time minus member time where the longest shared stretch begins on either side."""


@dataclass(frozen=True, slots=True)
class Group:
    """A leader and the videos it stands for."""

    leader: str
    members: tuple[Member, ...]

    @property
    def group_id(self) -> str:
        """Name of the group: the first 16 digits of its leader's id."""
        return self.leader[:16]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the groups table, one an edge."""
        return [
            {
                "group_id": self.group_id,
                "leader_video_id": self.leader,
                "video_id": member.video_id,
                "evidence_video_id": self.leader,
                "shared_keyframes": member.shared_keyframes,
                "share_of_keyframes": member.share_of_keyframes,
                "offset_seconds": member.offset_seconds,
            }
            for member in self.members
        ]


@dataclass(frozen=True, slots=True)
class OpenContent:
    """A content that is not cleared."""

    part: Part
    duration_seconds: float


def as_known(signed: SignedVideo) -> KnownFrames:
    """Return a signed video as it would stand in the known store."""
    one = signed.signatures
    return KnownFrames(one.video_id, one.pts_seconds, one.pdq[:, 0], one.pdq_inner[:, 0], one.quality, one.informative)


def local_of(signed: SignedVideo) -> KnownLocal | None:
    """Return the local descriptors of a signed video as they would stand in the known store, None without any."""
    one, local = signed.signatures, best_points(signed.signatures.local)
    bearers = np.flatnonzero(np.diff(local.offsets) > 0)
    if len(bearers) == 0:
        return None
    offsets = np.append(local.offsets[bearers], local.offsets[-1])
    return KnownLocal(one.video_id, one.pts_seconds[bearers], replace(local, offsets=offsets))


def side_of(signed: SignedVideo) -> KnownSide:
    """Return a signed video as the known side of an alignment; its local descriptors are read on demand."""
    return KnownSide(
        as_known(signed), thinned(signed.signatures.motion), read_local=functools.cache(lambda: local_of(signed))
    )


def explain(member: SignedVideo, by: SignedVideo, variants: Sequence[int], settings: Settings) -> list[Stretch]:
    """Return the stretches of `member` that lie on lines through `by`."""
    return align(
        member.signatures,
        side_of(by),
        variants=variants,
        common=np.zeros(len(member.signatures.pts_seconds), np.bool_),
        matching=settings.matching,
        proof=settings.proof,
        aspect=member.probe.width / max(1, member.probe.height),
    )


def group_intake(
    contents: Sequence[OpenContent], run_path: Path, engine: Engine, settings: Settings, report: Report
) -> dict[str, Group]:
    """Return the group of each video that is in one, by video id.

    `contents` are the signed videos of the intake that are not cleared. They are taken longest first, chunk by chunk:
    each chunk is looked up among the leaders found so far, and what stands behind none of them within itself. So copies
    of copies never meet each other in great numbers, and of a night's codes no process holds more than a bundle.
    """
    if len(contents) < 2:
        return {}
    order = sorted(contents, key=lambda one: (-one.duration_seconds, -one.part.keyframes, one.part.video_id))
    parts = [one.part for one in order]
    work = WorkFolder(run_path)
    search = _LeaderSearch(engine, settings, work)
    leader_of: dict[int, int] = {}
    evidence: dict[int, Member] = {}
    for first, stop in _chunks(parts):
        chunk = search.prepare(parts[first:stop], first)
        placed = search.behind_leaders(chunk)
        placed |= search.within(chunk, [number for number in range(first, stop) if number not in placed])
        for number, (leader, member) in placed.items():
            leader_of[number], evidence[number] = leader, member
        search.add_leaders(chunk, [number for number in range(first, stop) if number not in placed])
        report(Progress("grouping", stop, len(parts)))
    work.close()
    members: dict[int, list[Member]] = {}
    for number, leader in leader_of.items():
        members.setdefault(leader, []).append(evidence[number])
    groups: dict[str, Group] = {}
    for leader, behind in members.items():
        group = Group(parts[leader].video_id, tuple(sorted(behind, key=lambda member: member.video_id)))
        for video_id in (group.leader, *(member.video_id for member in group.members)):
            groups[video_id] = group
    return groups


def _chunks(parts: Sequence[Part]) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of runs of parts that are looked up together."""
    sizes = [max(part.keyframes or UNKNOWN_KEYFRAMES, KEYFRAMES_PER_CHUNK // VIDEOS_PER_CHUNK) for part in parts]
    for cut in batches(parts, sizes, KEYFRAMES_PER_CHUNK):
        yield cut.start, cut.stop


# ---------------------------------------------------------------------------------------------------------------------
# Tasks


@dataclass(frozen=True, slots=True)
class Shard:
    """Codes of some videos of the intake in a folder, and which of them count: leaders, or all."""

    folder: Path
    chosen: tuple[int, ...] | None = None
    """Places in the folder; None for all."""


@dataclass(frozen=True, slots=True)
class GroupJoinTask:
    """The codes of a chunk against those of some shards."""

    codes: tuple[Path, ...]
    shards: tuple[Shard, ...]
    hits: Path


@dataclass(frozen=True, slots=True)
class PrepareTask:
    """Some videos of a chunk, whose codes are written twice: to be looked up, and to be looked up in."""

    parts: tuple[Part, ...]
    first: int
    """Place of the first of them in the order."""
    number: int
    """What it is called among the queries of its chunk; the others follow."""
    codes: Path
    shard: Path


def prepare(task: PrepareTask) -> None:
    """Write the codes of some videos; for a worker."""
    queries: list[QueryCodes] = []
    frames: list[_Frames] = []
    for part in task.parts:  # one at a time: signatures are many times as large as their codes
        signed = part.read()
        queries.append(collect_codes([signed.signatures], apart=False))
        frames.append(_as_frames(signed))
    save_queries(task.codes, queries, first=task.number)
    kept = [frame.informative for frame in frames]
    save_arrays(
        task.shard,
        {
            "ids": raw_ids([part.video_id for part in task.parts]),
            "sha256": raw_ids([part.sha256 for part in task.parts]),
            "place": np.arange(task.first, task.first + len(task.parts), dtype=np.int64),
            "video_index": np.repeat(np.arange(len(frames), dtype=np.int32), [int(keep.sum()) for keep in kept]),
            **{
                name: np.concatenate([getattr(frame, name)[keep] for frame, keep in zip(frames, kept, strict=True)])
                for name in ("seconds", "pdq", "pdq_inner", "has_inner", "quality")
            },
        },
    )


def join_group(task: GroupJoinTask, *, matching: MatchingSettings, memory_bytes: int) -> Path:
    """Write which videos of some shards share pictures with the videos of a chunk, and where they are; for a worker."""
    shard = _load_shard(task.shards)
    hits = match_shard(shard, load_queries(task.codes), matching, memory_bytes=memory_bytes)
    row = {video_id: n for n, video_id in enumerate(shard.video_ids)}
    met = [row[video_id] for video_id in hits.known_ids]
    more = {f"known_{name}": _chosen_of(task.shards, name)[met] for name in ("sha256", "place")}
    return save_hits(task.hits, hits, **more)


@dataclass(frozen=True, slots=True)
class ProveTask:
    """Some videos of a chunk, and the folders of hits their leader may be found in."""

    parts: tuple[Part, ...]
    numbers: tuple[int, ...]
    """Their places in the order."""
    first: int
    """Place of the chunk's first video."""
    hits: tuple[Path, ...]
    n_others: int
    """Videos that were looked through."""
    most_tried: int | None = None
    """Candidates tried of each, those of many votes in the order: copies should all find the same leader. None: all,
    best first."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What stands behind what: places in the order, and the evidence."""

    number: int
    leader: int
    member: Member


def prove_members(task: ProveTask, *, settings: Settings) -> list[Proven]:
    """Return for each of some videos the first candidate that is proven to show all of it; for a worker."""
    places = _places(task.hits)
    contents = [part.read() for part in task.parts]
    found = candidates_of(
        [Hits(number - task.first, task.hits) for number in task.numbers],
        [len(signed.signatures.pts_seconds) for signed in contents],
        n_known_videos=task.n_others,
        settings=_matching(settings),
    )
    read = functools.lru_cache(LEADERS_HELD)(Part.read)  # many of them have the same leader
    proven: list[Proven] = []
    for number, signed, candidates in zip(task.numbers, contents, found, strict=True):
        earlier = [c for c in candidates.ranked if places[c.known_video_id][0] < number]
        if task.most_tried is not None and earlier:
            enough = earlier[0].votes * GOOD_VOTES
            earlier = sorted(earlier, key=lambda c: (c.votes < enough, places[c.known_video_id][0]))
        for candidate in earlier[: task.most_tried]:
            place, digest = places[candidate.known_video_id]
            leader = read(Part(task.parts[0].run_path, candidate.known_video_id, digest))
            member = _member(signed, leader, candidate.variants, settings)
            if member is not None:
                proven.append(Proven(number, place, member))
                break
    return proven


def _matching(settings: Settings) -> MatchingSettings:
    """Return settings in which what many look-alikes share still makes candidates: copies come in floods."""
    most = max(settings.matching.stop_videos, 2 * VIDEOS_PER_CHUNK)
    return settings.matching.model_copy(update={"stop_videos": most})


def _places(hits: Sequence[Path]) -> dict[str, tuple[int, str]]:
    """Return the place and the part's digest of each video that was met."""
    found: dict[str, tuple[int, str]] = {}
    for folder in hits:
        ids, digests, places = (load_array(folder, f"known_{name}") for name in ("ids", "sha256", "place"))
        for video_id, digest, place in zip(ids, digests, places.tolist(), strict=True):
            found[video_id.tobytes().hex()] = (place, digest.tobytes().hex())
    return found


def _chosen_of(shards: Sequence[Shard], name: str) -> np.ndarray[Any, Any]:
    """Return an array with one row a video, the chosen ones of some folders."""
    arrays = [load_array(shard.folder, name) for shard in shards]
    rows = [slice(None) if shard.chosen is None else list(shard.chosen) for shard in shards]
    return np.concatenate([array[row] for array, row in zip(arrays, rows, strict=True)])


def _load_shard(shards: Sequence[Shard]) -> ShardCodes:
    """Return the chosen videos of some folders as one shard."""
    index: list[np.ndarray[Any, Any]] = []
    columns: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in ("seconds", "pdq", "pdq_inner")}
    columns |= {"has_inner": [], "quality": []}
    total = 0
    for shard in shards:
        video_index = load_array(shard.folder, "video_index")
        n_videos = len(load_array(shard.folder, "ids"))
        chosen = np.arange(n_videos) if shard.chosen is None else np.array(shard.chosen, np.int64)
        new = np.full(n_videos, -1, np.int32)
        new[chosen] = np.arange(total, total + len(chosen))
        rows = np.flatnonzero(new[video_index] >= 0)
        index.append(new[video_index[rows]])
        for name, column in columns.items():
            column.append(load_array(shard.folder, name)[rows])
        total += len(chosen)
    joined = {name: np.concatenate(column) for name, column in columns.items()}
    return ShardCodes(
        video_ids=VideoIds(_chosen_of(shards, "ids")),
        video_index=np.concatenate(index),
        informative=np.ones(len(joined["seconds"]), np.bool_),
        **joined,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The search for leaders


@dataclass(slots=True)
class _Chunk:
    parts: Sequence[Part]
    first: int
    shards: tuple[Shard, ...]
    codes: tuple[Path, ...]

    def place_in_shard(self, number: int) -> tuple[int, int]:
        """Return which of `shards` holds the video at a place of the order, and where in it."""
        return divmod(number - self.first, PARTS_PER_SHARD)


class _LeaderSearch:
    """The leaders found so far, as bundles of shards, and the tasks that look others up in them."""

    def __init__(self, engine: Engine, settings: Settings, work: WorkFolder) -> None:
        self._engine, self._settings, self._work = engine, settings, work
        self._bundles: list[list[Shard]] = []
        self._room = 0
        self._n_leaders = 0

    def prepare(self, parts: Sequence[Part], first: int) -> _Chunk:
        """Have the codes of a chunk written, both to look up and to be looked up in."""
        tasks = [
            PrepareTask(
                tuple(parts[at : at + PARTS_PER_SHARD]),
                first + at,
                at,
                self._work.new("codes"),
                self._work.new("shard"),
            )
            for at in range(0, len(parts), PARTS_PER_SHARD)
        ]
        all_done(self._engine, prepare, tasks, _WHAT)
        return _Chunk(parts, first, tuple(Shard(task.shard) for task in tasks), tuple(task.codes for task in tasks))

    def behind_leaders(self, chunk: _Chunk) -> dict[int, tuple[int, Member]]:
        """Return which videos of a chunk stand behind a leader of an earlier one."""
        if not self._bundles:
            return {}
        hits = self._join(chunk, [tuple(bundle) for bundle in self._bundles])
        numbers = range(chunk.first, chunk.first + len(chunk.parts))
        placed = {}
        for proven in self._prove(chunk, numbers, hits, self._n_leaders):
            placed[proven.number] = (proven.leader, proven.member)
        self._work.remove(hits)
        return placed

    def within(self, chunk: _Chunk, numbers: Sequence[int]) -> dict[int, tuple[int, Member]]:
        """Return which of the videos `numbers` of a chunk stand behind another one of them that is no member."""
        if len(numbers) < 2:
            return {}
        mine = self._chosen(chunk, numbers)
        hits = self._join(chunk, [mine])
        placed: dict[int, tuple[int, Member]] = {}
        stranded: dict[int, None] = {}
        for proven in self._prove(chunk, numbers, hits, len(numbers), most_tried=TRIED_WITHIN):
            if proven.leader in placed or proven.leader in stranded:
                stranded[proven.number] = None
            else:
                placed[proven.number] = (proven.leader, proven.member)
        self._work.remove(hits)
        if stranded:
            # what was proven to lie behind a member may lie behind its leader
            leaders_here = self._chosen(chunk, [n for n in numbers if n not in placed and n not in stranded])
            hits = self._join(chunk, [leaders_here])
            for proven in self._prove(chunk, tuple(stranded), hits, len(numbers)):
                placed[proven.number] = (proven.leader, proven.member)
            self._work.remove(hits)
        return placed

    def add_leaders(self, chunk: _Chunk, numbers: Sequence[int]) -> None:
        """Take those videos of a chunk as leaders, and let go of the chunk's codes."""
        self._work.remove(chunk.codes)
        shards = self._chosen(chunk, numbers)
        size = sum(part.keyframes or UNKNOWN_KEYFRAMES for part in (chunk.parts[n - chunk.first] for n in numbers))
        if not self._bundles or size > self._room:
            self._bundles.append([])
            self._room = KEYFRAMES_PER_BUNDLE
        self._bundles[-1] += shards
        self._room -= size
        self._n_leaders += len(numbers)

    def _chosen(self, chunk: _Chunk, numbers: Sequence[int]) -> tuple[Shard, ...]:
        places: dict[int, list[int]] = {}
        for number in numbers:
            shard, place = chunk.place_in_shard(number)
            places.setdefault(shard, []).append(place)
        return tuple(Shard(chunk.shards[shard].folder, tuple(chosen)) for shard, chosen in sorted(places.items()))

    def _join(self, chunk: _Chunk, sides: Sequence[tuple[Shard, ...]]) -> list[Path]:
        tasks = [GroupJoinTask(chunk.codes, side, self._work.new("hits")) for side in sides if side]
        memory = self._settings.run.join_memory_bytes
        joining = functools.partial(join_group, matching=_matching(self._settings), memory_bytes=memory)
        return all_done(self._engine, joining, tasks, _WHAT)

    def _prove(
        self,
        chunk: _Chunk,
        numbers: Sequence[int],
        hits: Sequence[Path],
        n_others: int,
        most_tried: int | None = None,
    ) -> list[Proven]:
        """Return what is proven about those of the videos `numbers` that share pictures with another one."""
        with_hits = has_hits(hits, len(chunk.parts))
        asked = [number for number in numbers if with_hits[number - chunk.first]]
        tasks = []
        for at in range(0, len(asked), VIDEOS_PER_PROOF):
            some = asked[at : at + VIDEOS_PER_PROOF]
            parts = tuple(chunk.parts[number - chunk.first] for number in some)
            tasks.append(ProveTask(parts, tuple(some), chunk.first, tuple(hits), n_others, most_tried))
        proving = functools.partial(prove_members, settings=self._settings)
        return list(chain.from_iterable(all_done(self._engine, proving, tasks, _WHAT)))


@dataclass(frozen=True, slots=True, eq=False)
class _Frames:
    seconds: np.ndarray[Any, Any]
    pdq: np.ndarray[Any, Any]
    pdq_inner: np.ndarray[Any, Any]
    has_inner: np.ndarray[Any, Any]
    quality: np.ndarray[Any, Any]
    informative: np.ndarray[Any, Any]


def _as_frames(signed: SignedVideo) -> _Frames:
    one = signed.signatures
    return _Frames(one.pts_seconds, one.pdq[:, 0], one.pdq_inner[:, 0], one.has_inner, one.quality, one.informative)


def _member(signed: SignedVideo, leader: SignedVideo, variants: Sequence[int], settings: Settings) -> Member | None:
    """Return the evidence that `leader` shows all of `signed`, or None where it does not."""
    stretches = explain(signed, leader, variants, settings)
    one = signed.signatures
    nothing, faint = silent_times(one, np.zeros(len(one.pts_seconds), np.bool_), stretches)
    segments = tile_segments(signed.coverage, stretches, nothing, settings.verdict, faint=faint)
    if judge(one, signed.coverage, segments, settings.verdict).verdict != "known":
        return None
    proven = [stretch for stretch in stretches if stretch.proof.proven]
    longest = max(proven, key=lambda stretch: stretch.end_seconds - stretch.start_seconds)
    shared = sum(stretch.frames for stretch in proven)
    informative = max(1, int(one.informative.sum()))
    return Member(
        one.video_id,
        shared,
        round(min(1.0, shared / informative), 4),
        round(longest.known_times(longest.start_seconds, longest.end_seconds)[0] - longest.start_seconds, 3),
    )
