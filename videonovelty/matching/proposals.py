"""Lines a query may lie on through a candidate: by the votes of keyframes, by the movement, and at other speeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.matching.distances import FAR, I16
from videonovelty.matching.local_evidence import LocalPair
from videonovelty.matching.proof import best_offset
from videonovelty.matching.shown import Shown
from videonovelty.matching.speeds import Window, lines_at_other_speeds
from videonovelty.matching.stretch import KnownSide, Stretch, without_overlap
from videonovelty.matching.timeline import Line, correlate_motion, lines_through_matches
from videonovelty.records import F64, MotionProfile, Signatures
from videonovelty.settings import MatchingSettings, ProofSettings

Bool = npt.NDArray[np.bool_]

MAX_LINES = 6
MAX_TRIED_LINES = 16
WINDOW_SECONDS = 4.0
SAME_LINE_SECONDS = 0.12
SPEED_LINES_TRIED = 2
"""Of the lines keyframes vote for, so many are looked around for other speeds."""


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """One query against one candidate in one orientation."""

    query: Signatures
    known: KnownSide
    variant: int
    useful: Bool
    """Shape (n_query,): keyframes that can say something…"""
    faint: Bool
    """…and those that show something, and too little of it to say anything."""
    put_in: Bool
    """Shape (n_query,): keyframes of something else, shown for a moment between others."""
    distance: I16
    """Shape (n_query, n_known): PDQ distances; `FAR` where either side is uninformative."""
    motion: MotionProfile
    """The query's, turned into the known video's orientation."""
    local: LocalPair | None
    by_local: tuple[tuple[int, float, int], ...]
    """Verified pairs the descriptor join proposed: query keyframe, known seconds, inliers."""
    matching: MatchingSettings
    proof: ProofSettings
    region: Shown | None = None
    """`motion` and that of `known` are of the part of the known picture that the query shows; its fine cells."""

    def reach_seconds(self, line: Line) -> float:
        """Return how far from a line, in known time, a keyframe may look like its aligned moment."""
        return self.matching.time_tolerance_seconds * max(1.0, line.speed)


def proposed_lines(a: Alignment, others: Sequence[Line] = ()) -> list[Line]:
    """Return lines worth a look: through the keyframes, each moved to where the motion agrees, and by motion alone.

    `others` are such lines found before.
    """
    lines = lines_through_matches(
        a.query.pts_seconds,
        a.known.frames.pts_seconds,
        a.distance,
        variant=a.variant,
        radius_bits=a.proof.aligned_bits,
        speeds=a.matching.speeds,
        tolerance_seconds=a.matching.time_tolerance_seconds,
        count=MAX_LINES,
    )
    if a.by_local:
        keyframes, seconds, _ = (np.array(column) for column in zip(*a.by_local, strict=True))
        times = np.unique(seconds)
        near = np.full((len(a.query.pts_seconds), len(times)), FAR, np.int16)
        near[keyframes, np.searchsorted(times, seconds)] = 16
        lines += lines_through_matches(
            a.query.pts_seconds,
            times,
            near,
            variant=a.variant,
            radius_bits=31,
            speeds=a.matching.speeds,
            tolerance_seconds=a.matching.time_tolerance_seconds,
            count=MAX_LINES,
        )
    known_motion = a.known.motion
    if known_motion is None or len(known_motion.signs) == 0 or not (lines or others):
        return lines
    moved = list(others)
    for line in lines:
        moved += _lines_by_window(a, line, known_motion)
    # A still background matches at any offset: there the movement tells the time, at the speeds the matches voted for.
    for speed in {line.speed for line in lines[:2]} | {1.0}:
        correlation = correlate_motion(a.motion, known_motion, speed=speed, least_ticks=8)
        for offset, agreement in correlation.peaks(3, least_events=a.proof.min_events, apart_seconds=1.0):
            if agreement >= a.proof.min_line_agreement:
                moved.append(Line(speed, offset, a.variant, agreement))
    return _distinct(moved) or lines[:1]


def _lines_by_window(a: Alignment, line: Line, known_motion: MotionProfile) -> list[Line]:
    """Return the lines the movement shows window by window, near `line`: new seconds in between shift what follows."""
    on_line = _near_line(a, line)
    if not on_line.any():
        return []
    times = a.query.pts_seconds[on_line]
    found = []
    for start in _window_starts(times):
        stop = start + WINDOW_SECONDS
        if not ((times >= start) & (times < stop)).any():
            continue
        middle = 0.5 * (start + stop)
        for speed in {1.0, line.speed}:
            offset = (line.speed - speed) * middle + line.offset_seconds
            better = best_offset(
                a.motion,
                known_motion,
                Line(speed, offset, a.variant, 0.0),
                stretch=(start, stop),
                reach_seconds=a.proof.offset_search_seconds,
            )
            if better.score >= a.proof.min_line_agreement:
                found.append(better)
    return found


def _window_starts(times: F64) -> list[float]:
    """Return where windows begin that overlap by half and cover all of some keyframes' times, in ascending order."""
    half = WINDOW_SECONDS / 2
    return [float(start) for start in np.arange(max(0.0, times[0] - half), times[-1] + 1e-6, half)]


def _distinct(lines: Sequence[Line]) -> list[Line]:
    """Return the lines most windows agree on, each once, the best supported first."""
    groups: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: (-one.score, one.speed != 1.0, one.speed, one.offset_seconds)):
        for group in groups:
            if group[0].speed == line.speed and abs(group[0].offset_seconds - line.offset_seconds) <= SAME_LINE_SECONDS:
                group.append(line)
                break
        else:
            groups.append([line])
    groups.sort(key=lambda group: -sum(line.score for line in group))
    return [group[0] for group in groups[:MAX_TRIED_LINES]]


def lines_at_speeds(a: Alignment, lines: Sequence[Line], stretches: Sequence[Stretch]) -> list[Line]:
    """Return lines at other speeds, found by the movement around `lines` where no stretch is proven yet."""
    if a.known.motion is None:
        return []
    end = float(a.query.end_seconds[-1])
    proven = [one for one in without_overlap([one for one in stretches if one.proof.proven]) if one.proof.proven]
    if all(any(one.start_seconds <= at < one.end_seconds for one in proven) for at in a.query.pts_seconds[a.useful]):
        return []
    windows = []
    for line in lines[:SPEED_LINES_TRIED]:
        times = a.query.pts_seconds[_near_line(a, line)]
        if len(times) == 0:
            continue
        for start in _window_starts(times):
            stop = min(start + WINDOW_SECONDS, end)
            windows.append(Window(start, stop, line.speed * 0.5 * (start + stop) + line.offset_seconds))
    return lines_at_other_speeds(
        a.motion,
        a.known.motion,
        windows,
        variant=a.variant,
        reach_seconds=float(a.proof.offset_search_seconds),
        least_agreement=a.proof.min_line_agreement,
    )


def _near_line(a: Alignment, line: Line) -> Bool:
    """Return which keyframes the vote for `line` may have counted: it mixes lines that lie close together."""
    gap = np.abs(line.known_seconds(a.query.pts_seconds)[:, None] - a.known.frames.pts_seconds[None, :])
    reach = max(a.reach_seconds(line), a.proof.offset_search_seconds)
    near = np.asarray(((gap <= reach) & (a.distance <= a.proof.aligned_bits)).any(axis=1))
    for keyframe, seconds, _ in a.by_local:
        at = line.speed * a.query.pts_seconds[keyframe] + line.offset_seconds
        near[keyframe] |= abs(at - seconds) <= reach
    return near
