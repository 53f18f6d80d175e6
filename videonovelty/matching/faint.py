"""Pictures with too little in them for a code: blank ones are nothing to see, faint ones are something.

Black between two shots, a grey slate and colour bars hide nothing, and cost a video nothing. A dark room, fog and a
face out of focus have no code either, but somebody may be in them. They are known where a proven line puts pictures
that look like them, a fade of the known video say, and otherwise they are shown to a person.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from videonovelty.matching.distances import NOTHING, aligned_distance, every_keyframe, least_distances
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import KnownFrames, MotionProfile, Signatures
from videonovelty.settings import ProofSettings
from videonovelty.signatures.motion import grey_pictures_at

Bool = npt.NDArray[np.bool_]
Times = tuple[tuple[float, float], ...]

BLANK_LEVELS = 4.0
"""Grey levels between the brightest and the darkest of a blank picture's 18 × 32 cells, at most."""
BAR_LEVELS, BAR_SHARE, BAR_CONTRAST = 6.0, 0.9, 40.0
"""Bars are the same along this share of their lines, within so many levels, and differ from each other by at least so
many: what is dark is the same everywhere."""
MOST_TICKS = 100


def faint_keyframes(query: Signatures) -> Bool:
    """Return the keyframes, shape (n,), that are uninformative and stand for pictures which are not all blank."""
    found = ~query.informative
    for n in np.flatnonzero(found):
        found[n] = not _is_blank(query, int(n))
    return found


def known_faint_times(
    query: Signatures, faint: Bool, frames: KnownFrames, line: Line, reach_seconds: float, proof: ProofSettings
) -> Times:
    """Return when the query shows faint pictures that look like what a line puts there, however little is in that."""
    rows = np.flatnonzero(faint)
    if len(rows) == 0:
        return ()
    inner = query.pdq_inner[rows, line.variant] if query.has_inner.any() else None
    distance = least_distances(query.pdq[rows, line.variant], inner, frames)
    bits = aligned_distance(query.pts_seconds[rows], every_keyframe(frames), distance, line, reach_seconds)
    alike = rows[(bits != NOTHING) & (bits <= proof.aligned_bits)]
    return tuple((float(query.start_seconds[n]), float(query.end_seconds[n])) for n in alike)


def silent_times(
    query: Signatures, common: Bool, stretches: Sequence[Stretch]
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return when there is nothing to compare, and when there is something, too faint to be; sorted intervals.

    `common`, shape (n_keyframes,), marks common material, which is nothing. So is what is blank, and what looks like
    the known video on the line of a proven stretch.
    """
    known = {time for one in stretches if one.proof.proven for time in one.faint}
    faint = faint_keyframes(query) & ~common
    nothing: list[tuple[float, float]] = []
    something: list[tuple[float, float]] = []
    for n in np.flatnonzero(~query.informative | common):
        time = float(query.start_seconds[n]), float(query.end_seconds[n])
        (something if faint[n] and time not in known else nothing).append(time)
    return nothing, something


def _is_blank(query: Signatures, keyframe: int) -> bool:
    """Return whether all pictures a keyframe stands for are blank; False where none were kept."""
    step = query.motion.step_seconds
    start, end = float(query.start_seconds[keyframe]), float(query.end_seconds[keyframe])
    first, last = (int(np.ceil(seconds / step - 1e-6)) for seconds in (start, end))
    if last > first:
        ticks = np.unique(np.linspace(first, last - 1, MOST_TICKS).astype(int))
        return bool(_blank(query.motion, ticks).all())
    # no tick falls into it: there is no edge in its own picture, and one of those beside it is blank
    return int(query.quality[keyframe]) == 0 and bool(_blank(query.motion, np.array([first - 1, first])).any())


def _blank(motion: MotionProfile, ticks: npt.NDArray[np.int64]) -> Bool:
    """Return which of the pictures at some ticks are blank; False where none was kept."""
    count = 0 if motion.pictures is None else len(motion.pictures)
    kept = (ticks >= 0) & (ticks < count)
    found = np.zeros(len(ticks), np.bool_)
    if kept.any():
        pictures = grey_pictures_at(motion, ticks[kept])
        contrast = np.ptp(pictures, axis=(1, 2))
        lines = [(np.ptp(pictures, axis=axis) <= BAR_LEVELS).mean(axis=1) >= BAR_SHARE for axis in (1, 2)]
        found[kept] = (contrast <= BLANK_LEVELS) | ((lines[0] | lines[1]) & (contrast >= BAR_CONTRAST))
    return found
