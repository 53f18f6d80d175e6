"""Segments: every second of a query, and what explains it. Half-open intervals that tile `[0, duration)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from videonovelty.matching.strangers import is_strange
from videonovelty.matching.stretch import Stretch
from videonovelty.records import HOLDS_BESIDES, TOO_FAINT, UNCLEAR, Coverage, Segment
from videonovelty.settings import VerdictSettings


@dataclass(frozen=True, slots=True)
class _Piece:
    start: float
    end: float
    kind: str
    stretch: Stretch | None
    why_not: str = ""
    """Of what is `novel` or `undecoded`, if there is a reason."""

    @property
    def told(self) -> tuple[str, int, str]:
        """What pieces beside each other are one for, if they have it in common."""
        return self.kind, id(self.stretch), self.why_not


def tile_segments(
    coverage: Coverage,
    stretches: Sequence[Stretch],
    uninformative: Sequence[tuple[float, float]],
    settings: VerdictSettings,
    *,
    faint: Sequence[tuple[float, float]] = (),
) -> tuple[Segment, ...]:
    """Return the segments of one query, in order, from 0 to its duration, in whole milliseconds.

    What nobody could decode is `undecoded`, whatever lies over it; then proven stretches are `known`; what cannot be
    compared (`uninformative`, sorted intervals) proves and costs nothing; unproven stretches are `same_scene`; all else
    is `novel`, with a reason where something is too `faint` to be compared (sorted intervals). Where stretches overlap,
    the one counts that explains more: length times share of the picture, those first of which one picture shows what is
    not known.
    """
    duration = coverage.duration_seconds
    if duration <= 0:
        return ()
    undecoded = [(float(a), float(b)) for a, b in coverage.undecoded]
    why_undecoded = "; ".join(note for note in coverage.notes if note in UNCLEAR)
    marks = {0.0, duration}
    for a, b in [*undecoded, *uninformative, *faint, *((s.start_seconds, s.end_seconds) for s in stretches)]:
        marks |= {min(max(float(a), 0.0), duration), min(max(float(b), 0.0), duration)}
    edges = sorted({round(mark, 3) for mark in marks})
    best_first = sorted(stretches, key=_rank, reverse=True)
    pieces: list[_Piece] = []
    for start, end in pairwise(edges):
        middle = 0.5 * (start + end)
        piece = _explained(start, end, middle, undecoded, uninformative, faint, best_first, why_undecoded)
        if pieces and pieces[-1].told == piece.told:
            pieces[-1] = replace(pieces[-1], end=end)
        else:
            pieces.append(piece)
    if coverage.left_out and pieces[-1].kind == "undecoded":
        pieces[-1] = replace(pieces[-1], why_not=HOLDS_BESIDES + "; ".join(coverage.left_out))
    pieces = _without_slivers(pieces, settings.boundary_seconds)
    return tuple(_segment(piece) for piece in pieces)


def _rank(stretch: Stretch) -> tuple[bool, bool, float, float]:
    seconds = stretch.end_seconds - stretch.start_seconds
    return (stretch.proof.proven, stretch.one_look, seconds * round(stretch.spatial_share, 1), stretch.proof.agreement)


def _explained(
    start: float,
    end: float,
    middle: float,
    undecoded: Sequence[tuple[float, float]],
    uninformative: Sequence[tuple[float, float]],
    faint: Sequence[tuple[float, float]],
    best_first: Sequence[Stretch],
    why_undecoded: str,
) -> _Piece:
    if any(a <= middle < b for a, b in undecoded):
        return _Piece(start, end, "undecoded", None, why_undecoded)
    over = [s for s in best_first if s.start_seconds <= middle < s.end_seconds]
    if over and over[0].proof.proven:
        return _Piece(start, end, "known", over[0])
    if any(a <= middle < b for a, b in uninformative):
        return _Piece(start, end, "uninformative", None)
    if over:
        return _Piece(start, end, "same_scene", over[0])
    return _Piece(start, end, "novel", None, TOO_FAINT if any(a <= middle < b for a, b in faint) else "")


def _without_slivers(pieces: list[_Piece], sliver_seconds: float) -> list[_Piece]:
    """Return the pieces with unexplained slivers given to the proven stretch they touch: boundaries are rounded.

    A shot that the known video does not show there is none, however short.
    """
    changed = True
    while changed:
        changed = False
        for number, piece in enumerate(pieces):
            if piece.kind not in ("novel", "same_scene") or piece.end - piece.start > sliver_seconds:
                continue
            for neighbour in (number - 1, number + 1):
                if 0 <= neighbour < len(pieces) and pieces[neighbour].kind == "known":
                    other = pieces[neighbour]
                    if other.stretch is not None and is_strange(other.stretch, piece.start, piece.end):
                        continue
                    wider = replace(other, start=min(other.start, piece.start), end=max(other.end, piece.end))
                    pieces = [*pieces[: min(number, neighbour)], wider, *pieces[max(number, neighbour) + 1 :]]
                    changed = True
                    break
            if changed:
                break
    return pieces


def _segment(piece: _Piece) -> Segment:
    stretch = piece.stretch
    if stretch is None:
        return Segment(piece.start, piece.end, piece.kind, why_not=piece.why_not or None)
    known_start, known_end = stretch.known_times(piece.start, piece.end)
    cover = stretch.cover if piece.kind == "same_scene" else None
    left, top, right, bottom = (None,) * 4 if cover is None else (round(edge, 4) for edge in cover.box)
    return Segment(
        piece.start,
        piece.end,
        piece.kind,
        known_video_id=stretch.known_video_id,
        known_start_seconds=round(max(0.0, known_start), 3),
        known_end_seconds=round(max(0.0, known_end), 3),
        speed=stretch.line.speed,
        mirrored=stretch.mirrored,
        spatial_share=stretch.spatial_share,
        proof="time" if stretch.proof.proven and piece.kind == "known" else "none",
        frames=stretch.frames,
        median_distance_bits=stretch.median_distance_bits,
        inliers=stretch.inliers,
        why_not=None if piece.kind == "known" else stretch.proof.why_not or None,
        cover_left=left,
        cover_top=top,
        cover_right=right,
        cover_bottom=bottom,
        look_seconds=round(0.5 * (piece.start + piece.end), 3)
        if piece.kind == "same_scene" and stretch.one_look
        else None,
    )
