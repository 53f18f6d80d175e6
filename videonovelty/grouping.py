"""Groups of the intake's own near-duplicates: one leader to view, and what it stands for, with the evidence.

A video belongs to a leader only when every informative second of it is *proven* footage of the leader, by the same
alignment and proof that compare it with known videos: another take of the same scene is never put behind a leader. Each
member has direct evidence against its leader; likeness is not passed on from member to member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videonovelty.batch import Progress, Report
from videonovelty.known.shards import ShardCodes, VideoIds
from videonovelty.matching.alignment import KnownSide, Stretch, align
from videonovelty.matching.candidates import collect_codes, match_shard, rank_candidates
from videonovelty.records import KnownFrames, SignedVideo
from videonovelty.segments import tile_segments
from videonovelty.settings import Settings
from videonovelty.signatures.motion import KNOWN_STEP_SECONDS, thinned
from videonovelty.verdict import judge

VIDEOS_PER_LOOKUP = 2000


@dataclass(frozen=True, slots=True)
class Member:
    """One video a leader stands for, and the evidence."""

    video_id: str
    shared_keyframes: int
    share_of_keyframes: float
    offset_seconds: float
    """Leader time minus member time of the longest shared stretch."""


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


def as_known(signed: SignedVideo) -> KnownFrames:
    """Return a signed video as it would stand in the known store."""
    one = signed.signatures
    return KnownFrames(one.video_id, one.pts_seconds, one.pdq[:, 0], one.pdq_inner[:, 0], one.quality, one.informative)


def explain(member: SignedVideo, by: SignedVideo, variants: Sequence[int], settings: Settings) -> list[Stretch]:
    """Return the stretches of `member` that lie on lines through `by`."""
    return align(
        member.signatures,
        KnownSide(as_known(by), thinned(by.signatures.motion, KNOWN_STEP_SECONDS)),
        variants=variants,
        common=np.zeros(len(member.signatures.pts_seconds), np.bool_),
        matching=settings.matching,
        proof=settings.proof,
    )


def group_intake(readers: Sequence[Callable[[], SignedVideo]], settings: Settings, report: Report) -> dict[str, Group]:
    """Return the group of each video that is in one, by video id.

    `readers` give the signed videos of the intake that are not cleared, each when called; they are read one at a time.
    """
    if len(readers) < 2:
        return {}
    facts: list[tuple[float, int, str]] = []
    shard = _as_shard(readers, facts)
    order = sorted(range(len(facts)), key=lambda n: (-facts[n][0], -facts[n][1], facts[n][2]))
    position = {facts[number][2]: number for number in range(len(facts))}
    groups: dict[str, Group] = {}
    taken: set[int] = set()
    members: dict[int, list[Member]] = {}
    leader_of: dict[int, int] = {}
    for first in range(0, len(readers), VIDEOS_PER_LOOKUP):
        numbers = order[first : first + VIDEOS_PER_LOOKUP]
        signatures = [readers[number]().signatures for number in numbers]
        hits = match_shard(shard, collect_codes(signatures), settings.matching)
        ranked = rank_candidates(
            [hits], [len(one.pts_seconds) for one in signatures], n_known_videos=len(facts), settings=settings.matching
        )
        for number, candidates in zip(numbers, ranked, strict=True):
            signed: SignedVideo | None = None
            for candidate in candidates.ranked:
                leader = position[candidate.known_video_id]
                # a leader comes earlier in the order and stands behind nobody
                if leader == number or leader in leader_of or leader not in taken:
                    continue
                signed = signed or readers[number]()
                member = _member(signed, readers[leader](), candidate.variants, settings)
                if member is not None:
                    members.setdefault(leader, []).append(member)
                    leader_of[number] = leader
                    break
            if number not in leader_of:
                taken.add(number)
        report(Progress("grouping", min(first + VIDEOS_PER_LOOKUP, len(readers)), len(readers)))
    for leader, behind in members.items():
        group = Group(facts[leader][2], tuple(sorted(behind, key=lambda member: member.video_id)))
        for video_id in (group.leader, *(member.video_id for member in group.members)):
            groups[video_id] = group
    return groups


def _as_shard(readers: Sequence[Callable[[], SignedVideo]], facts: list[tuple[float, int, str]]) -> ShardCodes:
    """Return the intake as a shard to look itself up in; `facts` receives duration, keyframes and id of each video."""
    parts: list[tuple[KnownFrames, np.ndarray[Any, Any]]] = []
    for read in readers:
        signed = read()
        facts.append((signed.coverage.duration_seconds, len(signed.signatures.pts_seconds), signed.signatures.video_id))
        parts.append((as_known(signed), signed.signatures.has_inner))
    raw = np.frombuffer(b"".join(bytes.fromhex(video_id) for _, _, video_id in facts), np.uint8).reshape(-1, 32)
    return ShardCodes(
        video_ids=VideoIds(raw),
        video_index=np.repeat(np.arange(len(parts), dtype=np.int32), [len(p.pts_seconds) for p, _ in parts]),
        seconds=np.concatenate([p.pts_seconds for p, _ in parts]),
        pdq=np.concatenate([p.pdq for p, _ in parts]),
        pdq_inner=np.concatenate([p.pdq_inner for p, _ in parts]),
        has_inner=np.concatenate([inner for _, inner in parts]),
        quality=np.concatenate([p.quality for p, _ in parts]),
        informative=np.concatenate([p.informative for p, _ in parts]),
    )


def _member(signed: SignedVideo, leader: SignedVideo, variants: Sequence[int], settings: Settings) -> Member | None:
    """Return the evidence that `leader` shows all of `signed`, or None where it does not."""
    stretches = explain(signed, leader, variants, settings)
    one = signed.signatures
    silent = ~one.informative
    uninformative = [
        (float(a), float(b)) for a, b in zip(one.start_seconds[silent], one.end_seconds[silent], strict=True)
    ]
    segments = tile_segments(signed.coverage, stretches, uninformative, settings.verdict)
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
        round(longest.line.offset_seconds, 3),
    )


def explain_any(query: SignedVideo, by: SignedVideo, settings: Settings) -> list[Stretch]:
    """Return the stretches of `query` that lie on lines through `by`, in whatever orientation matches best."""
    hits = match_shard(_as_shard([lambda: by], []), collect_codes([query.signatures]), settings.matching)
    ranked = rank_candidates([hits], [len(query.signatures.pts_seconds)], n_known_videos=1, settings=settings.matching)[
        0
    ].ranked
    return explain(query, by, ranked[0].variants if ranked else (0,), settings)
