"""Segments tile the video, whatever lies over what."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videonovelty.matching.alignment import Stretch
from videonovelty.matching.proof import Proof
from videonovelty.matching.stretch import doubted
from videonovelty.matching.timeline import Line
from videonovelty.records import PART_COVERED, Coverage
from videonovelty.segments import tile_segments
from videonovelty.settings import VerdictSettings

SETTINGS = VerdictSettings()


def _coverage(duration: float, undecoded: list[tuple[float, float]] | None = None) -> Coverage:
    holes = np.array(undecoded or np.zeros((0, 2)), np.float64).reshape(-1, 2)
    return Coverage(duration, duration, duration, 100, 0, 0, holes, 0.1)


def _stretch(start: float, end: float, *, proven: bool = True, offset: float = 0.0, known: str = "k") -> Stretch:
    proof = Proof(proven, end - start, 0.9, 200.0, 9.0)
    return Stretch(known, Line(1.0, offset, 0, 1.0), start, end, proof, 5, 8.0)


_pairs = st.tuples(st.floats(0, 30), st.floats(0, 30)).map(sorted).filter(lambda p: p[1] - p[0] > 0.01)


@given(
    st.floats(0.5, 30.0),
    st.lists(st.tuples(_pairs, st.booleans()), max_size=5),
    st.lists(_pairs, max_size=3),
)
def test_segments_tile_the_video_without_gap_or_overlap(duration, stretches, uninformative) -> None:  # type: ignore[no-untyped-def]
    found = tile_segments(
        _coverage(duration),
        [_stretch(a, b, proven=p, known=str(n)) for n, ((a, b), p) in enumerate(stretches)],
        sorted((a, b) for a, b in uninformative),
        SETTINGS,
    )
    assert found[0].start_seconds == 0
    assert abs(found[-1].end_seconds - duration) < 0.001
    for one, other in pairwise(found):
        assert one.end_seconds == other.start_seconds
    assert all(s.end_seconds > s.start_seconds for s in found)


def test_planted_stretch_is_known_and_the_rest_is_novel() -> None:
    first, middle, last = tile_segments(_coverage(10.0), [_stretch(3.0, 6.0, offset=4.0)], [], SETTINGS)
    assert (first.kind, middle.kind, last.kind) == ("novel", "known", "novel")
    assert (middle.start_seconds, middle.end_seconds) == (3.0, 6.0)
    assert (middle.known_start_seconds, middle.known_end_seconds) == (7.0, 10.0)
    assert middle.proof == "time"


def test_unproven_stretch_is_same_scene_and_never_proof() -> None:
    (segment,) = tile_segments(_coverage(5.0), [_stretch(0.0, 5.0, proven=False)], [], SETTINGS)
    assert (segment.kind, segment.proof) == ("same_scene", "none")


def test_what_stood_against_a_proof_goes_with_the_segment() -> None:
    doubtful = _stretch(3.0, 6.0, proven=False)
    doubtful = replace(doubtful, proof=replace(doubtful.proof, why_not=PART_COVERED))
    found = tile_segments(_coverage(10.0), [_stretch(0.0, 3.0), doubtful], [], SETTINGS)
    assert [(s.kind, s.why_not) for s in found] == [("known", None), ("same_scene", PART_COVERED), ("novel", None)]


@pytest.mark.parametrize("proven", [True, False])
def test_what_shows_more_of_the_picture_explains_what_two_known_videos_do(proven: bool) -> None:
    whole = _stretch(0.0, 9.0, proven=proven, known="whole")
    whole = replace(whole, proof=replace(whole.proof, agreement=0.8))
    part = replace(_stretch(0.0, 10.0, proven=proven, known="part"), spatial_share=0.55)
    for both in ([whole, part], [part, whole]):
        found = tile_segments(_coverage(10.0), both, [], SETTINGS)
        assert [(s.known_video_id, s.end_seconds) for s in found] == [("whole", 9.0), ("part", 10.0)]
    as_much = replace(part, spatial_share=0.98)
    assert tile_segments(_coverage(10.0), [whole, as_much], [], SETTINGS)[0].known_video_id == "part"


def test_what_nobody_decoded_is_never_known() -> None:
    kinds = [s.kind for s in tile_segments(_coverage(9.0, [(4.0, 6.0)]), [_stretch(0.0, 9.0)], [], SETTINGS)]
    assert kinds == ["known", "undecoded", "known"]


def test_uninformative_seconds_inside_proven_footage_are_covered_and_outside_are_shown() -> None:
    found = tile_segments(_coverage(10.0), [_stretch(0.0, 5.0)], [(3.0, 4.0), (6.0, 8.0)], SETTINGS)
    assert [(s.kind, s.start_seconds, s.end_seconds) for s in found] == [
        ("known", 0.0, 5.0),
        ("novel", 5.0, 6.0),
        ("uninformative", 6.0, 8.0),
        ("novel", 8.0, 10.0),
    ]


def test_only_slivers_at_a_proven_edge_are_rounded_away() -> None:
    found = tile_segments(_coverage(10.0), [_stretch(0.0, 4.8), _stretch(5.0, 9.5, offset=1.0)], [], SETTINGS)
    assert [(s.kind, s.start_seconds, s.end_seconds) for s in found] == [
        ("known", 0.0, 5.0),
        ("known", 5.0, 9.5),
        ("novel", 9.5, 10.0),
    ]


def _doubt(start: float, end: float) -> Stretch:
    doubt = _stretch(start, end, proven=False, known="original")
    return replace(doubt, proof=replace(doubt.proof, why_not=PART_COVERED))


def test_a_proof_by_a_placement_yields_where_a_whole_picture_shows_something_over_it() -> None:
    placed = replace(_stretch(0.0, 10.0, known="split screen"), median_distance_bits=None, inliers=20)
    parts = doubted([placed, _doubt(2.0, 5.0)])
    assert sorted((s.start_seconds, s.end_seconds, s.proof.proven, s.proof.why_not) for s in parts) == [
        (0.0, 2.0, False, "only 2.0 s are left beside a better match"),
        (2.0, 5.0, False, PART_COVERED),
        (2.0, 5.0, False, PART_COVERED),
        (5.0, 10.0, True, ""),
    ]
    kinds = [(s.kind, s.why_not) for s in tile_segments(_coverage(10.0), parts, [], SETTINGS)]
    assert ("known", None) in kinds
    assert ("same_scene", PART_COVERED) in kinds


def test_a_proof_by_the_whole_picture_stands_for_what_is_over_it_may_be_known_too() -> None:
    composite = _stretch(0.0, 10.0, known="composite")
    assert doubted([composite, _doubt(2.0, 5.0)]) == [composite, _doubt(2.0, 5.0)]


def test_other_doubts_leave_every_proof_as_it_is() -> None:
    placed = replace(_stretch(0.0, 10.0), median_distance_bits=None)
    take = _stretch(0.0, 10.0, proven=False, known="take")
    take = replace(take, proof=replace(take.proof, why_not="the movements do not agree (0.12 of 0.48 needed)"))
    assert doubted([placed, take]) == [placed, take]
    same = replace(_doubt(2.0, 5.0), known_video_id=placed.known_video_id)
    assert doubted([placed, same]) == [placed, same], "its own lines were weighed against each other already"
