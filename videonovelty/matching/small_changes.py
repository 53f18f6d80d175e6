"""Proof by small changes: where hardly anything moves, by how much every cell becomes brighter and darker tells when.

Somebody sits before a camera and now and then turns the head. Too few cells change by a step that is worth a sign
(`proof`), and no picture tells its moment from another. But hands, breath, hair and light change all cells by some
hundredths of the picture's deviation all the time, and two encodings of one take do it alike: the changes of their
levels over 0.4 s correlate by 0.3 to 0.99, those of another take of the scene, at whatever offset, by 0.1 to 0.25. So
they are held against each other as the signs are: one number over a stretch, far above that at all other offsets, with
seconds that do not agree cut out by the best two-state path.

What could agree without being the same footage does so once, or always alike. A camera that codes a sharper picture
every ten seconds changes all cells at once: so no change counts for more than a few times the usual one. One that does
it every second, a fan, a light that flickers, agrees at other offsets as well. And what changes in one way only, a lamp
on a wall, says little however often it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.changes import Changes, above_chance, correlated, ways
from videonovelty.matching.level_proof import all_of, between_ticks
from videonovelty.matching.proof import PictureEvidence, independent_share, prove
from videonovelty.matching.proof_kernels import best_path
from videonovelty.matching.stretch import KnownSide, Stretch, outside_all, runs
from videonovelty.matching.timeline import Line
from videonovelty.records import F64, FINE_CELLS, PART_MOVES, SOMETHING_ELSE, MotionProfile, Signatures
from videonovelty.settings import ProofSettings

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]

WINDOW_SECONDS = 12.0
"""A query is held against the known video in windows of this length that overlap by half…"""
WINDOWS_TRIED = 32
"""…so many of them, spread over what is left."""
APART_SECONDS = 1.0
"""Other offsets are farther away than this."""
LEAST_TICKS = 8
"""Known ticks over which changes are compared at least."""
SWITCH_COST = 3.0
"""What it takes to end or begin a stretch, in changes of independent cells that agree."""
QUIET = 0.25
"""Share of the usual change below which nothing is said to have changed."""
MOMENT_TICKS, LESS, LITTLE = 5, 0.5, 0.6
"""Over so many ticks changes must agree by this share of what they do over a part of a line, unless they are of less
than that share of the usual: rounding is most of those…"""
SMALL, AGREES, PASSES, FEW_CELLS = 10.0, 0.6, 0.5, 4
"""Units (root mean square of the cells) up to which changes are small, and by how much they must agree over a stretch
that is proven by signs for a moment to be told by them. Where something passes, levels lie apart by less than that
share of what changes, or in so few cells only."""
NEAR_TICKS, JUMP, LEAST_JUMP = 31, 3.0, 1.5
"""…and at each tick levels must not lie farther apart, by their median over so many, than so often the usual, and by
so many units at least."""


def lines_by_small_changes(
    motion: MotionProfile, known: MotionProfile, variant: int, left_seconds: F64, settings: ProofSettings
) -> list[Line]:
    """Return lines at the plain speed on which small changes agree as in no other place of the known video.

    `motion` is the query's, turned; `left_seconds` are times of it around which to look.
    """
    every = _every(motion, known)
    if every is None or len(left_seconds) == 0:
        return []
    assert motion.levels is not None and known.levels is not None
    ours, theirs = Changes.of(motion.levels, every), Changes.of(known.levels, 1)
    window = round(WINDOW_SECONDS / motion.step_seconds)
    starts = np.unique(np.maximum(0, (left_seconds / motion.step_seconds / (0.5 * window)).astype(np.int64) - 1))
    found: list[Line] = []
    for start in (starts * (window // 2))[:: -(-len(starts) // WINDOWS_TRIED) or 1]:
        part = ours.part(int(start), int(start) + window)
        least = max(LEAST_TICKS, len(part.steps) // (2 * every))
        best = _standing_out(part, theirs, every, least, None, motion.step_seconds, settings)
        if best is not None:
            offset = float(best.offset - start) * motion.step_seconds
            if all(abs(offset - line.offset_seconds) > 0.5 * motion.step_seconds for line in found):
                found.append(Line(1.0, offset, variant, best.agreement))
    return found


def with_small_changes(
    found: Sequence[Stretch],
    line: Line,
    query: Signatures,
    motion: MotionProfile,
    known: KnownSide,
    *,
    counted: Bool,
    bits: npt.NDArray[np.int16],
    settings: ProofSettings,
) -> list[Stretch]:
    """Return the stretches of one line, of whole pictures at the plain speed, with those that small changes prove.

    Where enough moves to be told by its signs, those must agree. Arguments as of `level_proof.with_levels`.
    """
    if known.motion is None or line.speed != 1.0:
        return list(found)
    proven = [one for one in found if one.proof.proven]
    if all_of(query, proven):
        return list(found)
    # by signs or levels; where signs agree and something speaks against it, that has to be looked into
    decided = [
        (one.start_seconds, one.end_seconds)
        for one in found
        if one.proof.proven or one.proof.why_not in (PART_MOVES, SOMETHING_ELSE)
    ]
    step = known.motion.step_seconds * known.motion.fine_every
    result = list(found)
    for run in small_change_runs(motion, known.motion, line, settings):
        if _signs_object(motion, known.motion, line, run, settings):
            continue
        held = [between_ticks(first, last, step, query) for first, last in run.held]
        left = outside_all(held, decided)
        stretches = (_proven(line, query, motion, known, piece, counted, bits, settings) for piece in left)
        result += [stretch for stretch in stretches if stretch is not None]
    return result


@dataclass(frozen=True, slots=True)
class SmallChangeRun:
    """A part of a line on which small changes agree as at no other offset."""

    first_seconds: float
    """Times of the query: of the first tick that agrees…"""
    last_seconds: float
    """…and of the last one."""
    held: tuple[tuple[float, float], ...]
    """First and last ticks of what of it holds: without the moments at which the videos differ more than elsewhere."""


def small_change_runs(
    motion: MotionProfile, known: MotionProfile, line: Line, settings: ProofSettings
) -> list[SmallChangeRun]:
    """Return the parts of a line at the plain speed on which small changes agree as at no other offset.

    `motion` is the query's, turned; `known` the known video's as the store keeps it.
    """
    every = _every(motion, known)
    laid = None if every is None else _Laid.on(line, motion, known, every)
    if laid is None or laid.agreement <= 0.0:
        return []
    assert every is not None
    step = known.step_seconds * known.fine_every
    seconds = laid.there * step - line.offset_seconds
    result = []
    for first, last in laid.parts(settings.small_agreement, settings.max_still_inside_seconds / step):
        part = laid.ours.part(int(laid.index[first]), int(laid.index[last]) + 1)
        least = max(LEAST_TICKS, (last - first + 1) // 2)
        offset = line.offset_seconds / motion.step_seconds + float(laid.index[first])
        if _standing_out(part, laid.theirs, every, least, offset, motion.step_seconds, settings) is not None:
            held = [(float(seconds[one]), float(seconds[other]) + step) for one, other in laid.held(first, last)]
            result.append(SmallChangeRun(float(seconds[first]), float(seconds[last]) + step, tuple(held)))
    return result


def doubted_moments(motion: MotionProfile, known: MotionProfile, stretch: Stretch) -> list[tuple[float, float]]:
    """Return the times of a proven stretch of whole pictures at the plain speed that small changes speak against.

    Where few changes are worth a sign, those of some seconds of another take weigh nothing against those of the rest.
    """
    every = None if stretch.hardly_moves or stretch.line.speed != 1.0 else _every(motion, known)
    laid = None if every is None else _Laid.on(stretch.line, motion, known, every)
    if laid is None:
        return []
    step = known.step_seconds * known.fine_every
    seconds = laid.there * step - stretch.line.offset_seconds
    inside = np.flatnonzero((seconds >= stretch.start_seconds - 1e-6) & (seconds + step <= stretch.end_seconds + 1e-6))
    if len(inside) < LEAST_TICKS:
        return []
    first, last = int(inside[0]), int(inside[-1])
    if not laid.is_small(first, last):
        return []
    edges = [first, *(edge for one, other in laid.as_far_as_usual(first, last) for edge in (one, other + 1)), last + 1]
    times = [
        (float(seconds[one]), float(seconds[other - 1]) + step)
        for one, other in zip(edges[::2], edges[1::2], strict=True)
        if other > one
    ]
    # what lies beyond the first and the last tick goes with them
    return [
        (
            stretch.start_seconds if start <= seconds[first] else start,
            stretch.end_seconds if end >= seconds[last] + step else end,
        )
        for start, end in times
    ]


def _every(motion: MotionProfile, known: MotionProfile) -> int | None:
    """Return how many ticks of the query pass in one of the known levels; None where there is nothing to compare."""
    if motion.levels is None or known.levels is None or motion.fine_every != 1:
        return None
    every = known.step_seconds * known.fine_every / motion.step_seconds
    whole = round(every)
    if whole < 1 or abs(every - whole) > 1e-6 or len(motion.levels) <= whole or len(known.levels) < 2:
        return None
    return whole


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """Changes of a query and a known video that a line lays over each other, n of them."""

    ours: Changes
    """All of the query's…"""
    theirs: Changes
    """…and all known ones."""
    index: I64
    """Of the n, by tick of the query…"""
    there: I64
    """…and by known tick."""
    apart: F64
    """By how much their levels differ where the changes begin, and where the last one ends, shape (n + 1, 64)."""
    changes: F64
    """How much the query's levels change from known tick to known tick there (root mean square), shape (n + 1,)."""
    agree: F64
    """Products of the changes, summed over the cells, shape (n,)."""
    agreement: float
    """Correlation over all n."""

    @classmethod
    def on(cls, line: Line, motion: MotionProfile, known: MotionProfile, every: int) -> _Laid | None:
        """Return what a line lays over each other; None where that is too little."""
        assert motion.levels is not None and known.levels is not None
        ours, theirs = Changes.of(motion.levels, every), Changes.of(known.levels, 1)
        there = np.arange(len(theirs.steps))
        index = every * there - round(line.offset_seconds / motion.step_seconds)
        inside = (index >= 0) & (index < len(ours.steps))
        index, there = index[inside], there[inside]
        if len(index) < LEAST_TICKS:
            return None
        mine, other = ours.steps[index], theirs.steps[there]
        ends = np.append(index, index[-1] + every), np.append(there, there[-1] + 1)
        apart = motion.levels[ends[0]].astype(np.float64) - known.levels[ends[1]]
        shown = motion.levels[ends[0]].astype(np.float64)
        steps = np.sqrt((np.diff(shown, axis=0) ** 2).mean(axis=1))
        changes = np.maximum(np.append(steps, 0.0), np.append(0.0, steps))
        agreement = float((mine * other).sum() / np.sqrt(max((mine**2).sum() * (other**2).sum(), 1e-9)))
        return cls(ours, theirs, index, there, apart, changes, (mine * other).sum(axis=1), agreement)

    @property
    def energy(self) -> F64:
        """Sums of squares of the changes, the mean of both videos, shape (n,)."""
        return np.asarray(0.5 * (self.ours.energy[self.index] + self.theirs.energy[self.there]))

    @property
    def usual(self) -> float:
        """The usual sum of squares."""
        return float(np.sqrt(self.ours.energy[self.index].mean() * self.theirs.energy[self.there].mean()))

    def is_small(self, first: int, last: int) -> bool:
        """Return whether changes are small from one to another of the n, and agree: then it shows where they do not."""
        ours, theirs = self.ours.energy[self.index[first : last + 1]], self.theirs.energy[self.there[first : last + 1]]
        usual = float(np.sqrt(ours.mean() * theirs.mean()))
        return usual <= FINE_CELLS * SMALL**2 and self.agree[first : last + 1].mean() >= AGREES * usual

    def parts(self, least_agreement: float, most_still: float) -> list[tuple[int, int]]:
        """Return the first and the last of each part in which changes agree, between passages of more than
        `most_still` ticks in which nothing changes."""
        cells = ways(self.theirs.steps[self.there])
        lacking = self.agree - 0.5 * max(self.agreement, least_agreement) * self.energy
        found: list[tuple[int, int]] = []
        for first, last in runs(np.asarray(best_path(cells / max(self.usual, 1e-9) * lacking, SWITCH_COST), np.bool_)):
            at = first + np.flatnonzero(self.energy[first : last + 1] > QUIET * self.usual)
            split = np.split(at, np.flatnonzero(np.diff(at) > most_still) + 1)
            ends = [(int(part[0]), int(part[-1])) for part in split if len(part)]
            found += [(one, other) for one, other in ends if other - one >= LEAST_TICKS - 1]
        return found

    def held(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return a part without the moments in which the videos differ by more than they do in the rest of it."""
        jumps = _jumps(self.apart[first : last + 2])
        return _outside(jumps[:-1] | jumps[1:] | self._disagrees(first, last), first)

    def as_far_as_usual(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return a part without the moments at which levels lie farther apart than usual."""
        jumps = _jumps(self.apart[first : last + 2], PASSES * self.changes[first : last + 2], but=FEW_CELLS)
        return _outside(jumps[:-1] | jumps[1:], first)

    def _disagrees(self, first: int, last: int) -> Bool:
        """Return where changes agree by much less than over the part as a whole, over MOMENT_TICKS around."""
        ours, theirs = (
            _around(some[first : last + 1]) for some in (self.ours.energy[self.index], self.theirs.energy[self.there])
        )
        agree = _around(self.agree[first : last + 1])
        whole = self.agree[first : last + 1].sum() / np.sqrt(max(ours.sum() * theirs.sum() / MOMENT_TICKS**2, 1e-9))
        quiet = np.maximum(ours, theirs) < MOMENT_TICKS * LITTLE * self.usual
        return np.asarray(~quiet & (agree < LESS * whole * np.sqrt(np.maximum(ours * theirs, 1e-9))))


def _outside(doubt: Bool, first: int) -> list[tuple[int, int]]:
    """Return the parts, `first` added, that are neither in doubt nor next to what is."""
    doubt = np.convolve(doubt, np.ones(3), "same") > 0.0
    return [(first + start, first + end) for start, end in runs(~doubt)]


def _around(values: F64) -> F64:
    """Return sums over MOMENT_TICKS around each value, fewer at the ends."""
    return np.convolve(values, np.ones(MOMENT_TICKS), "same")


def _jumps(apart: F64, least: F64 | float = 0.0, *, but: int = 0) -> Bool:
    """Return at which ticks levels lie farther apart than they usually do, by what they are around it, and by `least`.

    Shape (n,) each. Of each tick all cells count `but` for so many that differ most.
    """
    size = np.empty(len(apart))
    reach = min(NEAR_TICKS, len(apart))
    for start in range(len(apart)):
        low = min(max(0, start - reach // 2), len(apart) - reach)
        squares = np.sort((apart[start] - np.median(apart[low : low + reach], axis=0)) ** 2)
        size[start] = np.sqrt(squares[: len(squares) - but].mean())
    return np.asarray(size > np.maximum(least, max(JUMP * float(np.median(size)), LEAST_JUMP)))


@dataclass(frozen=True, slots=True)
class _Best:
    """The offset, in ticks of the query, at which changes agree as at no other."""

    offset: int
    agreement: float


def _standing_out(
    part: Changes,
    known: Changes,
    every: int,
    least_ticks: int,
    offset: float | None,
    step_seconds: float,
    settings: ProofSettings,
) -> _Best | None:
    """Return the best offset, or the one next to `offset`, if changes agree there, far better than at all others and
    than chance would have them do."""
    by_offset = correlated(part, known, every, least_ticks)
    if len(by_offset.offset) == 0:
        return None
    place = int(by_offset.agreement.argmax() if offset is None else np.abs(by_offset.offset - offset).argmin())
    best = _Best(int(by_offset.offset[place]), float(by_offset.agreement[place]))
    if offset is not None and abs(best.offset - offset) > 1.0:
        return None
    chance = above_chance(part, known, every, best.offset)
    # with too few other offsets chance stands for them
    runner_up, deviations = by_offset.standing_out(place, APART_SECONDS / step_seconds) or (0.0, chance)
    enough = (
        best.agreement >= max(settings.small_agreement, runner_up + settings.small_margin)
        and deviations >= settings.small_deviations
    )
    # a few seconds have few other offsets, and what is so much alike needs fewer
    surely = (
        best.agreement >= max(settings.small_sure_agreement, runner_up + settings.doubtful_margin)
        and deviations >= settings.small_sure_deviations
    )
    return best if (enough or surely) and chance >= settings.small_chance else None


def _signs_object(
    motion: MotionProfile, known: MotionProfile, line: Line, run: SmallChangeRun, settings: ProofSettings
) -> bool:
    """Return whether enough moves by steps for their signs to tell the moment, and they do not.

    Where they agree better than at any other offset, though nothing moves by steps in parts of the run, or by steps
    that are just worth a sign, both say the same.
    """
    times = run.first_seconds, run.last_seconds
    proof = prove(motion, known, line, *times, PictureEvidence(0.0, 1.0), settings)
    enough = proof.events * independent_share(motion, known, line, *times) >= settings.doubtful_events
    return enough and proof.agreement < proof.runner_up + settings.doubtful_margin


def _proven(
    line: Line,
    query: Signatures,
    motion: MotionProfile,
    known: KnownSide,
    times: tuple[float, float],
    counted: Bool,
    bits: npt.NDArray[np.int16],
    settings: ProofSettings,
) -> Stretch | None:
    """Return a stretch as it is once its small changes prove it; None where its pictures or signs speak against it."""
    assert known.motion is not None
    start, end = times
    inside = counted & (query.pts_seconds >= start - 1e-6) & (query.pts_seconds < end)
    if end - start < settings.min_seconds or not inside.any():
        return None
    like = inside & (bits <= settings.scene_bits)
    median = float(np.median(bits[inside]))
    if median > settings.scene_bits or (bits[inside] > settings.unlike_bits).any():
        return None
    proof = prove(motion, known.motion, line, start, end, PictureEvidence(median, 1.0), settings)
    proof = replace(proof, proven=True, why_not="")
    frames = int(like.sum())
    return Stretch(known.frames.video_id, line, start, end, proof, frames, median, hardly_moves=True)
