"""By how much every cell of a picture becomes brighter and darker, and how two videos agree in that at each offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from videonovelty.records import F64

I64 = npt.NDArray[np.int64]

MOST_USUAL = 2.0
"""Times the median change, over all cells, a change counts at most: one of them must not outvote all else."""
SHORT = 64
"""Ticks up to which all pairs cost less than Fourier transforms."""
LEAST_OTHERS = 20
"""With fewer offsets to compare with nothing stands out."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """How all cells of a video change over a known tick, no change larger than a few times the usual one."""

    steps: F64
    """Shape (n, 64): from the tick of the same number to the one a known tick later."""
    energy: F64
    """Shape (n,): sums of squares."""

    @classmethod
    def of(cls, levels: npt.NDArray[np.int16], lag: int) -> Changes:
        """Return the changes of levels, shape (m, 64), over `lag` ticks of them."""
        steps = (levels[lag:] - levels[:-lag].astype(np.int32)).astype(np.float64)
        size = np.sqrt((steps**2).sum(axis=1))
        most = MOST_USUAL * float(np.median(size)) if len(size) else 0.0
        steps *= np.minimum(1.0, most / np.maximum(size, 1e-9))[:, None]
        return cls(steps, (steps**2).sum(axis=1))

    def part(self, first: int, last: int) -> Changes:
        """Return those from tick `first` to tick `last`, left out."""
        return Changes(self.steps[first:last], self.energy[first:last])


@dataclass(frozen=True, slots=True, eq=False)
class Correlated:
    """How changes of a part of a query agree with those of a known video, by offset; shape (n,) each."""

    offset: I64
    """Known time minus query time, in ticks of the query; ascending."""
    agreement: F64
    """Correlation, −1 … 1."""

    def standing_out(self, place: int, apart: float) -> tuple[float, float] | None:
        """Return the best agreement at offsets farther than `apart` from that at a place of `offset`, and how many
        deviations of those the one there is from none; None where there are too few of them."""
        others = self.agreement[np.abs(self.offset - self.offset[place]) > apart]
        if len(others) < LEAST_OTHERS:
            return None
        return float(others.max()), float(self.agreement[place] / max(float(np.sqrt((others**2).mean())), 1e-9))


def correlated(query: Changes, known: Changes, every: int, least_ticks: int) -> Correlated:
    """Return how a query's changes, `every` ticks a known one, agree with the known ones at each offset.

    Offsets with fewer than `least_ticks` known ticks in common are left out.
    """
    cross_at_all = _cross_short if len(query.steps) <= SHORT * every else _cross_long
    known_before = np.concatenate([[0.0], np.cumsum(known.energy)])
    found = []
    for phase in range(min(every, len(query.steps))):
        steps, energy = query.steps[phase::every], query.energy[phase::every]
        cross = cross_at_all(steps, known.steps)
        before = np.concatenate([[0.0], np.cumsum(energy)])
        lag = np.arange(1 - len(steps), len(known.steps))
        first, last = np.maximum(0, -lag), np.minimum(len(steps), len(known.steps) - lag)
        both = (before[last] - before[first]) * (known_before[last + lag] - known_before[first + lag])
        agreement = cross / np.sqrt(np.maximum(both, 1e-9))
        enough = last - first >= least_ticks
        found.append(np.stack([every * lag - phase, agreement])[:, enough])
    offset, agreement = np.concatenate(found, axis=1) if found else np.zeros((2, 0))
    order = np.argsort(offset, kind="stable")
    return Correlated(offset[order].astype(np.int64), agreement[order])


def _cross_short(query: F64, known: F64) -> F64:
    """Return the sums of products at the lags 1 − len(query) … len(known) − 1: all pairs, and the sums of diagonals."""
    rest = len(query) - 1
    pairs = np.zeros((len(known) + 2 * rest, len(query)))
    pairs[rest : rest + len(known)] = known @ query.T
    down, across = pairs.strides
    shape = (len(known) + rest, len(query))
    return np.asarray(np.lib.stride_tricks.as_strided(pairs, shape, (down, down + across)).sum(axis=1))


def _cross_long(query: F64, known: F64) -> F64:
    """Return what `_cross_short` does, by Fourier transforms."""
    count = len(known) + len(query) - 1
    size = 1 << (count - 1).bit_length()
    spectra = np.fft.rfft(known, size, axis=0), np.fft.rfft(query, size, axis=0)
    cross = np.fft.irfft((spectra[0] * spectra[1].conj()).sum(axis=1), size)
    return np.asarray(np.roll(cross, len(query) - 1)[:count])


def above_chance(query: Changes, known: Changes, every: int, offset: int) -> float:
    """Return by how many deviations of chance changes agree at an offset, in ticks of the query.

    That is their correlation times the square root of how many changes carry it: of the ticks, by the participation
    ratio of what each adds (two large ones outvote all others, and then it is two), times the ways in which cells
    change.
    """
    first = -offset % every
    index = np.arange(first, len(query.steps), every)
    there = (index + offset) // every
    inside = (there >= 0) & (there < len(known.steps))
    ours, theirs = query.steps[index[inside]], known.steps[there[inside]]
    each = (ours * theirs).sum(axis=1)
    agreement = each.sum() / np.sqrt(max((ours**2).sum() * (theirs**2).sum(), 1e-9))
    ticks = each.sum() ** 2 / max((each**2).sum(), 1e-9)
    return float(agreement * np.sqrt(ticks * min(ways(ours), ways(theirs))))


def ways(steps: F64) -> float:
    """Return in how many ways cells change, of changes shape (t, cells): the participation ratio of the eigenvalues of
    their second moments."""
    moments = steps.T @ steps
    return float(moments.trace() ** 2 / max((moments**2).sum(), 1e-9))
