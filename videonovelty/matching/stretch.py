"""Stretches of a query that lie on a known video, what the store keeps of that, and what is left when they overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.proof import Proof, Window
from videonovelty.matching.shown import Shown
from videonovelty.matching.timeline import Line
from videonovelty.records import IN_A_PART, KnownFrames, MotionProfile
from videonovelty.signatures.pdq import MIRRORED

SHORTEST_REST_SECONDS = 0.5
PROVEN_REST_SECONDS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class KnownSide:
    """What the store keeps of one candidate."""

    frames: KnownFrames
    motion: MotionProfile | None = None
    local: KnownLocal | None = None
    """Its descriptors, where they found it."""
    read_local: Callable[[], KnownLocal | None] | None = None
    """Reads its descriptors, where they did not: for a second look at what is proven."""

    def descriptors(self) -> KnownLocal | None:
        """Return its descriptors, read now where they did not find it; None where there are none."""
        return self.local or (self.read_local() if self.read_local is not None else None)


@dataclass(frozen=True, slots=True)
class Cover:
    """Something that covers a part of known footage."""

    box: tuple[float, float, float, float]
    """Left, top, right and bottom in the query's picture, in shares of its width and height."""
    still: bool
    """It does not move as long as the stretch lasts, and it is all that is not known: one picture shows it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """`[start_seconds, end_seconds)` of a query that lies on `line` through a known video."""

    known_video_id: str
    line: Line
    start_seconds: float
    end_seconds: float
    proof: Proof
    frames: int
    median_distance_bits: float | None
    spatial_share: float = 1.0
    inliers: int | None = None
    otherwise: tuple[Window, ...] = ()
    """Windows of the known fine grid in which something else moves."""
    carried: bool = True
    """Movement agrees from end to end, whatever else stands against a proof: nothing in it merely does not move."""
    cover: Cover | None = None
    """What is over a part of the picture, where that is why nothing is proven and it was found."""
    still: bool = False
    """Nothing moves in it: one picture shows all of it."""
    hardly_moves: bool = False
    """It is proven by small changes. What is put in the place of a part of it stays where it is, in the known light."""
    strangers: tuple[tuple[float, float], ...] = ()
    """When the query shows pictures, in it or beside it, that are not those its line puts there (`strangers`)."""
    faint: tuple[tuple[float, float], ...] = ()
    """When the query shows pictures, in it or beside it, that are too faint to be compared and look like what its line
    puts there (`faint`)."""
    region: Shown | None = None
    """Where the query shows that part of the known picture in which its movement was compared, as `otherwise` was; None
    where that was the whole."""

    def known_times(self, start_seconds: float, end_seconds: float) -> tuple[float, float]:
        """Return first and last second of the known video that `[start, end)` of the query shows, backwards or not."""
        one, other = (self.line.speed * at + self.line.offset_seconds for at in (start_seconds, end_seconds))
        return min(one, other), max(one, other)

    @property
    def one_look(self) -> bool:
        """One picture shows all of it that is not known."""
        return self.still or (self.cover is not None and self.cover.still)

    @property
    def rests_on_placement(self) -> bool:
        """It was compared where local descriptors place the one picture in the other, not as a whole picture."""
        return self.median_distance_bits is None

    @property
    def mirrored(self) -> bool:
        """The query shows the known video with reversed handedness."""
        return bool(MIRRORED[self.line.variant])


def runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def of_rest(whole: Proof, seconds: float) -> Proof:
    """Return the proof of what another stretch left over: the proof was of the whole, so a short rest has none."""
    if not whole.proven or seconds >= PROVEN_REST_SECONDS:
        return whole
    return replace(whole, proven=False, why_not=f"only {seconds:.1f} s are left beside a better match")


def part_of(stretch: Stretch, start: float, end: float) -> Stretch:
    """Return what is left of a stretch from `start` to `end`, with its proof where it is long enough."""
    if (start, end) == (stretch.start_seconds, stretch.end_seconds):
        return stretch
    return replace(stretch, start_seconds=start, end_seconds=end, proof=of_rest(stretch.proof, end - start))


def unproven_between(
    stretch: Stretch, start: float, end: float, why_not: str, cover: Cover | None = None
) -> list[Stretch]:
    """Return a proven stretch in parts, unproven from `start` to `end`; as it is where it is unproven or elsewhere."""
    first, last = max(start, stretch.start_seconds), min(end, stretch.end_seconds)
    if not stretch.proof.proven or last - first <= 1e-6:
        return [stretch]
    proof = replace(stretch.proof, proven=False, why_not=why_not)
    rests = [part_of(stretch, *rest) for rest in outside((stretch.start_seconds, stretch.end_seconds), first, last)]
    return [*rests, replace(stretch, start_seconds=first, end_seconds=last, proof=proof, carried=False, cover=cover)]


def doubted(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return the stretches of all candidates, unproven where another one says that a part of the picture is not known.

    A larger known picture that holds this one, a split screen say, is compared by where descriptors place it, which is
    too coarse to show what covers a part. So whole pictures that differ in a part outweigh a proof that rests on a
    placement; one that rests on the whole picture stands, for what is put over the known footage may be known as well.
    And what covers a part is still only where nobody says that something else does, or moves.
    """
    doubts = [one for one in stretches if one.proof.why_not in IN_A_PART]
    found = []
    for stretch in stretches:
        pieces = [stretch]
        if stretch.cover is not None and any(_says_otherwise(doubt, stretch) for doubt in doubts):
            pieces = [replace(stretch, cover=replace(stretch.cover, still=False))]
        for doubt in doubts if stretch.proof.proven and stretch.rests_on_placement else ():
            pieces = [part for piece in pieces for part in _doubted_by(piece, doubt)]
        found += pieces
    return found


def _says_otherwise(doubt: Stretch, stretch: Stretch) -> bool:
    """Return whether a doubt about the same seconds, by another candidate, knows of nothing still in that part."""
    apart = doubt.end_seconds <= stretch.start_seconds or stretch.end_seconds <= doubt.start_seconds
    still = doubt.cover is not None and doubt.cover.still
    return not apart and not still and doubt.known_video_id != stretch.known_video_id


def _doubted_by(stretch: Stretch, doubt: Stretch) -> list[Stretch]:
    start = max(stretch.start_seconds, doubt.start_seconds)
    end = min(stretch.end_seconds, doubt.end_seconds)
    if stretch.known_video_id == doubt.known_video_id or not stretch.proof.proven or end <= start:
        return [stretch]
    unproven = replace(stretch.proof, proven=False, why_not=doubt.proof.why_not)
    parts = [replace(stretch, start_seconds=start, end_seconds=end, proof=unproven, cover=doubt.cover)]
    rests = outside((stretch.start_seconds, stretch.end_seconds), start, end)
    return [*parts, *(part_of(stretch, *rest) for rest in rests)]


def outside(piece: tuple[float, float], first: float, last: float) -> list[tuple[float, float]]:
    """Return what of a piece of time lies before and after `[first, last)`."""
    start, end = piece
    rests = ((start, min(end, first)), (max(start, last), end))
    return [(first, last) for first, last in rests if last - first > 1e-6]


def outside_all(
    pieces: Iterable[tuple[float, float]], times: Iterable[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return what of some pieces of time lies in none of `times`."""
    rests = list(pieces)
    for first, last in times:
        rests = [rest for piece in rests for rest in outside(piece, first, last)]
    return rests


def without_overlap(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Return the best stretches that do not overlap: proven before unproven, then the better evidence."""

    def rank(stretch: Stretch) -> tuple[bool, float]:
        seconds = stretch.end_seconds - stretch.start_seconds
        return (stretch.proof.proven, seconds * max(stretch.proof.agreement, 0.1) + 0.1 * stretch.frames)

    kept: list[Stretch] = []
    for stretch in sorted(stretches, key=rank, reverse=True):
        whole = stretch.start_seconds, stretch.end_seconds
        for a, b in outside_all([whole], [(other.start_seconds, other.end_seconds) for other in kept]):
            if (a, b) == whole or b - a >= SHORTEST_REST_SECONDS:
                kept.append(part_of(stretch, a, b))
    return sorted(kept, key=lambda stretch: stretch.start_seconds)
