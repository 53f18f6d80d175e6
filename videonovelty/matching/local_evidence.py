"""Local descriptors as evidence on a line in time: does a keyframe lie geometrically in what the known video shows?

Keyframes of a static shot carry descriptors only where they differ from the one before, so a moment is represented by
the last keyframe at or before it that carries some; of a video played backwards, by the first at or after it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.known.snapshot import KnownLocal
from videonovelty.matching.geometry import GeometricMatch, as_shares, paired, verify
from videonovelty.matching.shown import corners, placed
from videonovelty.records import F64, U8, LocalFeatures, Signatures
from videonovelty.settings import ProofSettings

I64 = npt.NDArray[np.int64]

NOT_LOOKED = -1
"""Inliers of a keyframe that has no descriptors to compare, or whose aligned moment has none."""
MIN_DESCRIPTORS = 20
"""Fewer descriptors than this on either side say nothing when they do not match."""
_COUNTED_FROM = 4
_PLACES_TRIED = 3
_BEARERS_TRIED = 4
_ELSEWHERE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Where each keyframe of a query is seen again in a known video, one row a keyframe of the query."""

    inliers: I64
    """Shape (n,); `NOT_LOOKED` where nothing agrees."""
    share: F64
    """Shape (n,): how much of the query's picture the known picture takes, 0 … 1."""
    known_seconds: F64


@dataclass(slots=True, eq=False)
class LocalPair:
    """The descriptors of one query and one known video, with every verification made so far."""

    query: Signatures
    known: KnownLocal
    mirrored: bool
    aspect: float
    """Width over height of the query's picture."""
    bearers: I64 = field(init=False)
    """Indices of the query's keyframes that carry descriptors."""
    known_extent: F64 = field(init=False)
    """The known picture's width and height, shape (2,), as shares of its longer side: those of its descriptors."""
    bearer_of: I64 = field(init=False)
    """Shape (n_query,): the keyframe whose descriptors stand for each keyframe, -1 where none do."""
    _verified: dict[tuple[int, int], GeometricMatch | None] = field(default_factory=dict)
    _paired: dict[tuple[int, int], I64] = field(default_factory=dict)
    _shares: dict[int, float] = field(default_factory=dict)
    """By the identity of a verified match, which stays as long as this."""

    def __post_init__(self) -> None:
        self.bearers = np.flatnonzero(np.diff(self.query.local.offsets) > 0)
        xy = self.known.features.xy
        self.known_extent = as_shares(xy.max(axis=0, keepdims=True))[0] if len(xy) else np.ones(2)
        keyframes = np.arange(len(self.query.pts_seconds))
        if self.query.local.backwards:
            self.bearer_of = np.append(self.bearers, -1)[np.searchsorted(self.bearers, keyframes)]
        else:
            self.bearer_of = np.append(-1, self.bearers)[np.searchsorted(self.bearers, keyframes, side="right")]

    def bearers_within(self, start_seconds: float, end_seconds: float) -> I64:
        """Return the query's keyframes that carry descriptors and lie in `[start, end)`."""
        at = self.query.pts_seconds[self.bearers]
        return np.asarray(self.bearers[(at >= start_seconds - 1e-6) & (at < end_seconds)])

    def standing_within(self, start_seconds: float, end_seconds: float) -> I64:
        """Return those keyframes, or, where there are none, the one whose descriptors stand for `[start, end)`."""
        within = self.bearers_within(start_seconds, end_seconds)
        if len(within):
            return within
        at = self.query.pts_seconds[self.bearers]
        if self.query.local.backwards:
            return np.asarray(self.bearers[at >= end_seconds][:1])
        return np.asarray(self.bearers[at < start_seconds][-1:])

    def match(self, query_keyframe: int, known_place: int) -> GeometricMatch | None:
        """Return how one bearing keyframe of the query lies in one of the known video."""
        key = (query_keyframe, known_place)
        if key not in self._verified:
            local, other = self.query.local, self.known.features
            mine, theirs = rows_of(local, query_keyframe), rows_of(other, known_place)
            self._verified[key] = verify(
                self.query_codes[mine],
                local.xy[mine],
                other.codes[theirs],
                other.xy[theirs],
                self.aspect,
                mirrored=self.mirrored,
                query_scale=local.scale[mine],
                query_angle=local.angle[mine],
                known_scale=other.scale[theirs],
                known_angle=other.angle[theirs],
                min_inliers=_COUNTED_FROM,
            )
        return self._verified[key]

    def descriptor_pairs(self, query_keyframe: int, known_place: int) -> I64:
        """Return the rows (query descriptor, known descriptor) of the pairs of two keyframes, shape (m, 2)."""
        key = (query_keyframe, known_place)
        if key not in self._paired:
            mine, theirs = rows_of(self.query.local, query_keyframe), rows_of(self.known.features, known_place)
            pairs = paired(self.query_codes[mine], self.known.features.codes[theirs])
            self._paired[key] = pairs + np.array([mine.start, theirs.start])
        return self._paired[key]

    @property
    def query_codes(self) -> U8:
        """The query's descriptors as they are compared, shape (k, 8)."""
        return self.query.local.mirrored_codes if self.mirrored else self.query.local.codes

    def places_near(self, seconds: float, reach_seconds: float) -> list[int]:
        """Return the known keyframes with descriptors around a known time: those within reach, and what stands then."""
        near = set(map(int, np.flatnonzero(np.abs(self.known.seconds - seconds) <= reach_seconds)))
        standing = int(np.searchsorted(self.known.seconds, seconds + 1e-6, side="right")) - 1
        return sorted(near | ({standing} if standing >= 0 else set()))

    def inliers_on(self, known_seconds: F64, reach_seconds: float) -> tuple[npt.NDArray[np.int64], F64]:
        """Return, for every keyframe of the query, the most inliers with its aligned moment, and their spatial share.

        `known_seconds`, shape (n_query,), is where the line puts each keyframe. Inliers are `NOT_LOOKED` where there is
        nothing to compare; the share is 0 where there are none.
        """
        n = len(known_seconds)
        inliers = np.full(n, NOT_LOOKED, np.int64)
        share = np.zeros(n)
        if len(self.bearers) == 0 or len(self.known.seconds) == 0:
            return inliers, share
        sizes = np.diff(self.query.local.offsets)
        known_sizes = np.diff(self.known.features.offsets)
        for keyframe, mine in enumerate(map(int, self.bearer_of)):
            if mine < 0:
                continue
            at = float(known_seconds[keyframe])
            best: GeometricMatch | None = None
            comparable = False
            for place in self.places_near(at, reach_seconds):
                comparable |= int(min(sizes[mine], known_sizes[place])) >= MIN_DESCRIPTORS
                found = self.match(mine, place)
                if found is not None and (best is None or found.inliers > best.inliers):
                    best = found
            if best is not None:
                inliers[keyframe], share[keyframe] = best.inliers, self._share(best)
            elif comparable:
                inliers[keyframe] = 0
        return inliers, share

    def share_alike_elsewhere(self, known_seconds: F64, inside: npt.NDArray[np.bool_], min_inliers: int) -> float:
        """Return the share, 0 … 1, of tries in which a keyframe lies in other moments of the known video as well.

        `known_seconds`, shape (n_query,), is where a line puts each keyframe; a few bearing keyframes `inside` are
        tried at a few moments more than `_ELSEWHERE_SECONDS` away. 1 where there are no other moments.
        """
        bearers = [int(b) for b in self.bearers if inside[b]]
        picked = (
            [bearers[i] for i in np.unique(np.linspace(0, len(bearers) - 1, _BEARERS_TRIED).astype(int))]
            if bearers
            else []
        )
        tries = alike = 0
        for bearer in picked:
            away = np.flatnonzero(np.abs(self.known.seconds - known_seconds[bearer]) > _ELSEWHERE_SECONDS)
            for place in away[np.unique(np.linspace(0, len(away) - 1, _PLACES_TRIED).astype(int))] if len(away) else ():
                match = self.match(bearer, int(place))
                tries += 1
                alike += match is not None and match.inliers >= min_inliers
        return alike / tries if tries else 1.0

    def matches(self, pairs: Sequence[tuple[int, float]]) -> list[GeometricMatch]:
        """Return how the query lies in the known video in each verified pair (query keyframe, known seconds)."""
        found = [self.match(keyframe, self._place(seconds)) for keyframe, seconds in pairs]
        return [match for match in found if match is not None]

    def inliers_anywhere(self, verified: Sequence[tuple[int, float, int]], min_inliers: int) -> Likeness:
        """Return where in the known video each keyframe of the query is seen again, whatever the time.

        `verified` are the pairs that hold already, rows (query keyframe, known seconds, inliers). The query's other
        bearing keyframes are tried at the known moments met most often: a scene looks alike at all its moments.
        """
        n = len(self.query.pts_seconds)
        found = Likeness(np.full(n, NOT_LOOKED, np.int64), np.zeros(n), np.zeros(n))
        if len(self.bearers) == 0 or not verified:
            return found
        places = Counter(self._place(seconds) for _, seconds, _ in verified)
        best: dict[int, tuple[GeometricMatch, int]] = {}
        for keyframe, seconds, _ in verified:
            self._keep_better(best, int(keyframe), self._place(seconds))
        for bearer in map(int, self.bearers):
            for place, _ in places.most_common(_PLACES_TRIED):
                if bearer not in best or best[bearer][0].inliers < min_inliers:
                    self._keep_better(best, bearer, place)
        for keyframe, bearer in enumerate(map(int, self.bearer_of)):
            match = best.get(bearer)
            if match is not None:
                found.inliers[keyframe], found.share[keyframe] = match[0].inliers, self._share(match[0])
                found.known_seconds[keyframe] = self.known.seconds[match[1]]
        return found

    def _keep_better(self, best: dict[int, tuple[GeometricMatch, int]], bearer: int, place: int) -> None:
        match = self.match(bearer, place)
        if match is not None and (bearer not in best or match.inliers > best[bearer][0].inliers):
            best[bearer] = (match, place)

    def _place(self, seconds: float) -> int:
        return int(np.abs(self.known.seconds - seconds).argmin())

    def _share(self, match: GeometricMatch) -> float:
        """Return how much of the query's picture the known picture takes, 0 … 1, at least what the inliers take."""
        if id(match) not in self._shares:
            self._shares[id(match)] = max(match.spatial_share, self.share_placed(match.transform))
        return self._shares[id(match)]

    def share_placed(self, transform: F64) -> float:
        """Return how much of the query's picture the known picture takes, 0 … 1.

        That is where the transform, shape (2, 3), puts the known picture, not where descriptors happened to match: a
        low sky matches nowhere.
        """
        shown = placed(corners(self.aspect, mirrored=self.mirrored), transform).astype(np.float32)
        extent = self.known_extent
        known = np.array([[0, 0], [extent[0], 0], extent, [0, extent[1]]], np.float32)
        whole = abs(float(cv2.contourArea(shown)))
        if whole <= 0:
            return 0.0
        shared, _ = cv2.intersectConvexConvex(shown, known)
        return min(1.0, float(shared) / whole)

    def pairs(self, candidates: npt.NDArray[np.float64], settings: ProofSettings) -> list[tuple[int, float, int]]:
        """Return (query keyframe, known seconds, inliers) of the verified pairs among `candidates`.

        `candidates` has rows (query keyframe, known seconds) as the descriptor join proposed them.
        """
        found = []
        for keyframe, seconds in candidates:
            place = self._place(float(seconds))
            match = self.match(int(keyframe), place)
            if match is not None and match.inliers >= settings.min_inliers:
                found.append((int(keyframe), float(self.known.seconds[place]), match.inliers))
        return found


class LocalPairs:
    """The descriptors of one query and one known video, as they are and mirrored: laid out, and verified, once."""

    def __init__(self, query: Signatures, known: Callable[[], KnownLocal | None], aspect: float) -> None:
        """Hold the query, of width over height `aspect`; `known` reads the known descriptors, None where none are."""
        self._query, self._known, self._aspect = query, known, aspect
        self._found: dict[bool, LocalPair] = {}

    def of(self, *, mirrored: bool) -> LocalPair | None:
        """Return the pair; None where the known video has no descriptors."""
        if mirrored not in self._found:
            known = self._known()
            if known is None:
                return None
            self._found[mirrored] = LocalPair(self._query, known, mirrored, self._aspect)
        return self._found[mirrored]


def rows_of(features: LocalFeatures, keyframe: int) -> slice:
    return slice(int(features.offsets[keyframe]), int(features.offsets[keyframe + 1]))
