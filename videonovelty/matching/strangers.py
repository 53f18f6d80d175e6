"""Pictures of a query that are not those of the known video, however briefly they are shown.

Movement tells a stretch of some seconds from any other, and says nothing about the third of a second in between that
somebody put there: a flash of new footage changes all cells, as fast movement does, and a tick or two that agree by
chance excuse it. But such a flash is a shot, so a keyframe shows it. What that looks like decides, unless it stands for
long enough that its own movement can say more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from videonovelty.matching.distances import aligned_distance, every_keyframe, keyframe_distances
from videonovelty.matching.proof import Around
from videonovelty.matching.stretch import Stretch, outside_all
from videonovelty.matching.timeline import Line
from videonovelty.records import SOMETHING_ELSE, KnownFrames, Signatures
from videonovelty.settings import ProofSettings

Bool = npt.NDArray[np.bool_]

LEAST_TICKS = 4
"""Known ticks whose movement excuses a picture that is not the known one, whatever it looks like."""
MOST_BITS, LEAST_AGREEMENT = 108, 0.8
"""PDQ distance up to which fewer ticks do, if they agree that well. Pictures that have nothing to do with each other
are 128 ± 8 bits apart, two moments of a fast movement 90 to 110."""
BUSY_SECONDS, BUSY_AGREEMENT = 0.35, 0.75
"""…and, if they agree that well, where known keyframes this far around follow each other that are unlike each other:
such a video changes all the time, and shows something else a few hundredths of a second later."""
PUT_IN_SECONDS = 0.15
"""What is put in between for so long at most is told by the query itself."""
MOST_SHARE = 0.25
"""Share of a stretch's seconds that strange pictures may take without doubt about the rest."""


def put_in(query: Signatures, proof: ProofSettings) -> Bool:
    """Return the keyframes, shape (n,), that are shown for a moment, unlike those before and after, which are alike.

    Where pictures of something else come again and again they are half of the keyframes, and would pass for a known
    picture that is not compared as a whole.
    """
    n, codes = len(query.pts_seconds), np.ascontiguousarray(query.pdq[:, 0]).view(np.uint64)
    found = np.zeros(n, np.bool_)
    if n < 3:
        return found
    beside = np.bitwise_count(codes[1:] ^ codes[:-1]).sum(axis=1)
    around = np.bitwise_count(codes[2:] ^ codes[:-2]).sum(axis=1)
    brief = query.end_seconds - query.start_seconds <= PUT_IN_SECONDS
    unlike = proof.unlike_bits
    found[1:-1] = brief[1:-1] & (beside[:-1] > unlike) & (beside[1:] > unlike) & (around <= unlike)
    return found


def strange_times(
    query: Signatures,
    frames: KnownFrames,
    line: Line,
    reach_seconds: float,
    *,
    unlike: Bool,
    movement: Around,
    proof: ProofSettings,
) -> tuple[tuple[float, float], ...]:
    """Return when a query shows what a line puts nowhere near: the times of its keyframes that are `unlike` all that is
    compared there, shape (n_keyframes,), and neither excused by the `movement` of each by itself nor like a known
    picture that is not compared, because little is in it.
    """
    strange = unlike.copy()
    if strange.any():
        every = every_keyframe(frames)
        distance = keyframe_distances(query, every, line.variant)
        bits = aligned_distance(query.pts_seconds, every, distance, line, reach_seconds)
        enough = (movement.ticks >= LEAST_TICKS) | ((bits <= MOST_BITS) & (movement.agreement >= LEAST_AGREEMENT))
        strange &= (bits > proof.unlike_bits) & ~(movement.alike & enough)
        for n in np.flatnonzero(strange & movement.alike & (movement.agreement >= BUSY_AGREEMENT)):
            strange[n] = not _is_busy(frames, float(line.known_seconds(query.pts_seconds[n])), line, proof)
    return tuple((float(query.start_seconds[n]), float(query.end_seconds[n])) for n in np.flatnonzero(strange))


def _is_busy(frames: KnownFrames, at_seconds: float, line: Line, proof: ProofSettings) -> bool:
    """Return whether a known video shows pictures unlike each other around a moment, one shortly after the other."""
    near = np.flatnonzero(np.abs(frames.pts_seconds - at_seconds) <= BUSY_SECONDS * max(1.0, line.speed))
    codes = frames.pdq[near]
    return bool((np.bitwise_count(codes[1:] ^ codes[:-1]).sum(axis=1) > proof.unlike_bits).any())


def without_strangers(stretch: Stretch) -> list[Stretch]:
    """Return a proven stretch in parts, without proof while it shows strange pictures, or throughout for many of them.

    The parts beside them keep their proof, which was of all of them on one line.
    """
    if not stretch.proof.proven:
        return [stretch]
    unproven = replace(stretch.proof, proven=False, why_not=SOMETHING_ELSE)
    whole = (stretch.start_seconds, stretch.end_seconds)
    within = [(max(whole[0], start), min(whole[1], end)) for start, end in stretch.strangers]
    within = [(start, end) for start, end in within if end - start > 1e-6]
    if sum(end - start for start, end in within) > MOST_SHARE * (whole[1] - whole[0]):
        return [replace(stretch, proof=unproven)]
    left = outside_all([whole], within)
    parts = [replace(stretch, start_seconds=start, end_seconds=end) for start, end in left]
    parts += [replace(stretch, start_seconds=start, end_seconds=end, proof=unproven) for start, end in within]
    return sorted(parts, key=lambda part: part.start_seconds)


def is_strange(stretch: Stretch, start_seconds: float, end_seconds: float) -> bool:
    """Return whether most of a few tenths of a second beside a stretch, or of a shot there, is a strange picture."""
    for start, end in stretch.strangers:
        shared = min(end, end_seconds) - max(start, start_seconds)
        if shared > 0.5 * min(end - start, end_seconds - start_seconds):
            return True
    return False
