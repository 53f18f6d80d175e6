"""Made-up known videos with the statistics of real ones: what a search has to tell the true source from.

Their codes are those of the real known videos of a store with each bit inverted by a chance: local descriptors by the
largest chance (in steps of 0.01) that puts at least as many of them within the radius of a query as descriptors of
other real videos are; PDQ hashes by 0.25, which puts more of them within 31 bits than was ever seen between hashes of
different contents (none of a million pairs). Places, sizes and angles are those of other real points, and movement is
that of a real video with its cells shuffled and begun elsewhere: nothing of one video is told by its pieces together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.local_candidates import distractors, inverted
from benchmarks.made_codes import U8
from videonovelty.known import KnownEntry, KnownStore
from videonovelty.records import (
    FINE_CELLS,
    LOCAL_BYTES,
    MOTION_CELLS,
    N_DIHEDRAL,
    KnownVideo,
    ListMembership,
    LocalFeatures,
    MotionProfile,
    Signatures,
)
from videonovelty.settings import MatchingSettings

Level = TypeVar("Level", np.int8, np.int16)

LIST = "made-up"
SECONDS = 60.0
KEYFRAMES = 40
"""Of each made-up video: a minute of footage as it is enrolled."""
PDQ_CHANCE = 0.25
SEED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """What the real known videos of a store consist of."""

    scheme: str
    pdq: U8
    """Hashes of informative keyframes; shape (n, 32)."""
    quality: U8
    counts: np.ndarray
    """Local descriptors of each keyframe that has any."""
    local: LocalFeatures
    owner: np.ndarray
    """Number of the video each descriptor is of."""
    motion: tuple[MotionProfile, ...]


def real_of(store: KnownStore) -> Real:
    """Return what the videos of a store that are not made up consist of."""
    snapshot = store.snapshot()
    scheme = next(name for name in snapshot.schemes if snapshot.local_shards(name))
    ids = [video.video_id for video in snapshot.videos() if video.memberships[0].list_name != LIST]
    frames = list(snapshot.frames_of(ids, scheme).values())
    local = [one.features for one in snapshot.local_of(ids, scheme).values()]
    joined = LocalFeatures(
        offsets=np.array([0, sum(len(one.codes) for one in local)], np.int64),
        codes=np.concatenate([one.codes for one in local]),
        mirrored_codes=np.zeros((0, LOCAL_BYTES), np.uint8),
        xy=np.concatenate([one.xy for one in local]),
        scale=np.concatenate([one.scale for one in local]),
        angle=np.concatenate([one.angle for one in local]),
    )
    return Real(
        scheme,
        np.concatenate([one.pdq[one.informative] for one in frames]),
        np.concatenate([one.quality[one.informative] for one in frames]),
        np.concatenate([np.diff(one.offsets) for one in local]),
        joined,
        np.repeat(np.arange(len(local)), [len(one.codes) for one in local]),
        tuple(snapshot.motion_of(ids, scheme).values()),
    )


def add_made_up(store: KnownStore, keyframes: int) -> dict[str, Any]:
    """Enrol made-up videos of so many keyframes in all, unless the store holds them, and return what was added."""
    real = real_of(store)
    _, facts = distractors(real.local.codes, real.owner, 0, MatchingSettings().local_radius_bits)
    if LIST not in store.snapshot().count_videos()[1]:
        made = entries(real, -(-keyframes // KEYFRAMES), facts["chance_of_a_bit"])
        store.add(made, actor="benchmark", reason="distractors")
    snapshot = store.snapshot()
    descriptors = sum(shard.rows for shard in snapshot.local_shards(real.scheme)) - len(real.local.codes)
    return {**facts, "keyframes": snapshot.n_frames, "videos": snapshot.n_videos, "made_up_descriptors": descriptors}


def entries(real: Real, videos: int, chance: float) -> Iterator[KnownEntry]:
    """Yield made-up videos, always the same ones."""
    rng = np.random.default_rng(SEED)
    for number in range(videos):
        video_id = hashlib.sha256(f"made-up video {number}".encode()).hexdigest()
        membership = ListMembership(LIST, "other", source=f"made-up/{number}")
        yield KnownEntry(
            KnownVideo(video_id, SECONDS, memberships=(membership,)), _signatures(real, video_id, chance, rng)
        )


def _signatures(real: Real, video_id: str, chance: float, rng: np.random.Generator) -> Signatures:
    n = KEYFRAMES
    times = ((np.arange(n) + rng.uniform(0.0, 0.9, n)) * SECONDS / n).round(3)
    pdq = np.repeat(inverted(real.pdq, n, PDQ_CHANCE, rng)[:, None], N_DIHEDRAL, axis=1)
    offsets = np.concatenate([[0], np.cumsum(rng.choice(real.counts, n))]).astype(np.int64)
    k = int(offsets[-1])
    place = rng.integers(0, len(real.local.xy), k)
    local = LocalFeatures(
        offsets=offsets,
        codes=inverted(real.local.codes, k, chance, rng),
        mirrored_codes=np.zeros((0, LOCAL_BYTES), np.uint8),
        xy=real.local.xy[place],
        scale=real.local.scale[place],
        angle=real.local.angle[place],
    )
    return Signatures(
        video_id=video_id,
        scheme=real.scheme,
        pts_seconds=times,
        start_seconds=times,
        end_seconds=np.append(times[1:], SECONDS),
        pdq=pdq,
        pdq_inner=pdq,
        has_inner=np.zeros(n, np.bool_),
        quality=rng.choice(real.quality, n),
        informative=np.ones(n, np.bool_),
        motion=_motion(real.motion[int(rng.integers(len(real.motion)))], rng),
        local=local,
    )


def _motion(motion: MotionProfile, rng: np.random.Generator) -> MotionProfile:
    ticks = int(SECONDS / motion.step_seconds)
    first = int(rng.integers(len(motion.signs)))
    signs = np.resize(np.roll(motion.signs, first, axis=0), (ticks, MOTION_CELLS))
    cells = rng.permutation(FINE_CELLS)

    def moved(fine: npt.NDArray[Level]) -> npt.NDArray[Level]:
        rolled = np.resize(
            np.roll(fine, first // motion.fine_every, axis=0), (-(-ticks // motion.fine_every), FINE_CELLS)
        )
        return np.ascontiguousarray(rolled[:, cells])

    return MotionProfile(
        motion.step_seconds,
        np.ascontiguousarray(signs[:, rng.permutation(MOTION_CELLS)]),
        moved(motion.fine),
        motion.fine_every,
        levels=None if motion.levels is None else moved(motion.levels),
    )
