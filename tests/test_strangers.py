"""A picture that is not the known one goes to a person, however briefly it is shown; the seconds around it do not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import make_video
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_help import SETTINGS, sign

from videonovelty.comparing import compared
from videonovelty.grouping import as_known
from videonovelty.matching.proof import Around, Proof
from videonovelty.matching.strangers import MOST_SHARE, is_strange, strange_times, without_strangers
from videonovelty.matching.stretch import Stretch
from videonovelty.matching.timeline import Line
from videonovelty.records import SOMETHING_ELSE, Coverage, SignedVideo
from videonovelty.segments import tile_segments

FPS = make_video.FPS
LINE = Line(1.0, 0.0, 0, 1.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("strangers")


@pytest.fixture(scope="module")
def known(clips: Path) -> SignedVideo:
    return sign(make_video.make_clip(clips / "known.mp4", 21, 10.0))


def flashed(path: Path, at: float, pictures: int, *, replaced: bool, seed: int) -> tuple[float, float]:
    """Write the known clip with a few pictures of other content from `at` on; return when they are shown."""
    seconds = pictures / FPS
    parts = [(21, 0.0, at), (seed, 0.0, seconds), (21, at + seconds if replaced else at, 10.0)]
    make_video.concatenate(path, parts, crf=26)
    return at, at + seconds


@pytest.mark.parametrize("replaced", [True, False])
@pytest.mark.parametrize("pictures", [3, 4, 6])
def test_a_flash_of_other_footage_is_listed_and_nothing_else(
    clips: Path, known: SignedVideo, pictures: int, replaced: bool
) -> None:
    for at, seed in ((3.6, 91), (6.24, 92)):
        path = clips / f"{pictures} {replaced} {seed}.mp4"
        start, end = flashed(path, at, pictures, replaced=replaced, seed=seed)
        _, verdict = compared(sign(path), known, SETTINGS)
        cleared = [s for s in verdict.segments if s.kind == "known"]
        assert verdict.needs_review
        assert not any(s.start_seconds < end - 1e-3 and s.end_seconds > start + 1e-3 for s in cleared), verdict.segments
        assert sum(s.end_seconds - s.start_seconds for s in cleared) >= 7.0


def test_a_copy_without_any_is_known(clips: Path, known: SignedVideo) -> None:
    for crf in (23, 36):
        copy = sign(make_video.make_clip(clips / f"copy {crf}.mp4", 21, 10.0, crf=crf))
        assert compared(copy, known, SETTINGS)[1].verdict == "known"


# --- stretches -------------------------------------------------------------------------------------------------------


def stretch_with(*strangers: tuple[float, float], end: float = 10.0, proven: bool = True) -> Stretch:
    proof = Proof(proven, end, 0.9, 200.0, 0.1, "" if proven else "too little moves")
    return Stretch("k", LINE, 0.0, end, proof, 10, 4.0, strangers=strangers)


times = st.floats(-2.0, 12.0).map(lambda at: round(at, 2))


@given(st.lists(st.tuples(times, st.floats(0.04, 3.0)), max_size=5))
def test_parts_tile_the_stretch_and_are_proven_where_no_stranger_is(shots: list[tuple[float, float]]) -> None:
    strangers: list[tuple[float, float]] = []
    for start, length in sorted(shots):
        if not strangers or start >= strangers[-1][1]:
            strangers.append((start, start + length))
    stretch = stretch_with(*strangers)
    parts = without_strangers(stretch)
    assert [parts[0].start_seconds, parts[-1].end_seconds] == [0.0, 10.0]
    for one, other in itertools.pairwise(parts):
        assert one.end_seconds == pytest.approx(other.start_seconds, abs=1e-6)
    within = sum(max(0.0, min(10.0, end) - max(0.0, start)) for start, end in strangers)
    unproven = sum(part.end_seconds - part.start_seconds for part in parts if not part.proof.proven)
    assert unproven == pytest.approx(within if within <= MOST_SHARE * 10.0 else 10.0, abs=1e-5)
    assert {part.proof.why_not for part in parts} <= {"", SOMETHING_ELSE}
    assert sum(part.strangers == stretch.strangers for part in parts) == len(parts)


def test_what_is_not_proven_keeps_its_reason() -> None:
    stretch = stretch_with((2.0, 3.0), proven=False)
    assert without_strangers(stretch) == [stretch]


@pytest.mark.parametrize(
    ("start", "end", "strange"),
    [
        (3.0, 3.2, True),  # the shot itself
        (2.9, 3.1, True),  # half of it is half of the sliver, and more
        (3.1, 3.3, False),  # less than that
        (3.2, 3.5, False),
        (7.1, 7.3, True),  # within a shot of two seconds
        (9.5, 9.8, False),
    ],
)
def test_a_sliver_is_strange_where_most_of_it_or_of_a_shot_is(start: float, end: float, strange: bool) -> None:
    assert is_strange(stretch_with((3.0, 3.18), (7.0, 9.0)), start, end) is strange


@pytest.mark.parametrize("strange", [True, False])
def test_slivers_are_rounding_unless_they_show_something_else(strange: bool) -> None:
    whole = stretch_with(*([(4.0, 4.3)] if strange else []))
    first, second = replace(whole, end_seconds=4.0), replace(whole, start_seconds=4.3)
    coverage = Coverage(10.0, 10.0, 10.0, 250, 0, 0, np.zeros((0, 2)), 0.04, (), ())
    segments = tile_segments(coverage, [first, second], [], SETTINGS.verdict)
    kinds = [(s.start_seconds, s.end_seconds, s.kind) for s in segments]
    if strange:
        assert kinds == [(0.0, 4.0, "known"), (4.0, 4.3, "novel"), (4.3, 10.0, "known")]
    else:
        assert {kind for _, _, kind in kinds} == {"known"}


# --- which pictures are strange ---------------------------------------------------------------------------------------


def around(n: int, *, ticks: int, agreement: float, alike: bool) -> Around:
    return Around(np.full(n, agreement), np.full(n, ticks), np.full(n, alike), np.zeros(n, np.bool_))


def strange_of(known: SignedVideo, apart_bits: int, informative: bool = True, **movement: object) -> list[float]:
    """Return when a copy of some signatures is strange whose third keyframe was made to differ by so many bits."""
    one = known.signatures
    pdq = one.pdq.copy()
    flips = np.zeros(256, np.uint8)
    flips[np.random.default_rng(5).permutation(256)[:apart_bits]] = 1
    pdq[2, 0] ^= np.packbits(flips)
    query = replace(one, pdq=pdq, pdq_inner=pdq)
    every = np.ones(len(one.pts_seconds), np.bool_)
    frames = replace(as_known(known), informative=every if informative else ~every)
    found = strange_times(
        query,
        frames,
        LINE,
        0.01,
        unlike=every,
        movement=around(len(every), **movement),
        proof=SETTINGS.proof,  # type: ignore[arg-type]
    )
    return [start for start, _ in found]


@pytest.mark.parametrize(
    ("bits", "ticks", "agreement", "alike", "strange"),
    [
        (120, 3, 0.95, True, True),  # as far apart as strangers are: so few ticks excuse nothing
        (100, 3, 0.95, True, False),  # two moments of a fast movement
        (100, 3, 0.7, True, True),
        (120, 4, 0.7, True, False),  # long enough for its own movement to say
        (120, 6, 0.4, False, True),
        (60, 1, 0.0, False, False),  # like the known picture
    ],
)
def test_few_ticks_excuse_little(
    known: SignedVideo, bits: int, ticks: int, agreement: float, alike: bool, strange: bool
) -> None:
    found = strange_of(known, bits, ticks=ticks, agreement=agreement, alike=alike)
    assert found == ([float(known.signatures.start_seconds[2])] if strange else [])


@pytest.mark.parametrize(
    ("apart_seconds", "agreement", "strange"), [(0.1, 0.9, []), (0.1, 0.65, [0.2]), (1.0, 0.9, [2.0])]
)
def test_a_video_that_changes_all_the_time_excuses_what_moves_alike(
    known: SignedVideo, apart_seconds: float, agreement: float, strange: list[float]
) -> None:
    one = known.signatures
    n = len(one.pts_seconds)
    at = apart_seconds * np.arange(n)
    pdq = one.pdq.copy()
    pdq[:, 0] = np.random.default_rng(7).integers(0, 256, (n, 32), dtype=np.uint8)
    frames = replace(as_known(known), pts_seconds=at, pdq=pdq[:, 0].copy(), pdq_inner=pdq[:, 0].copy())
    pdq[2, 0] = ~pdq[2, 0]
    query = replace(one, pts_seconds=at, start_seconds=at, end_seconds=at + apart_seconds, pdq=pdq, pdq_inner=pdq)
    for alike, expected in ((True, strange), (False, [2 * apart_seconds])):
        movement = around(n, ticks=2, agreement=agreement, alike=alike)
        unlike = np.arange(n) == 2
        found = strange_times(query, frames, LINE, 0.01, unlike=unlike, movement=movement, proof=SETTINGS.proof)
        assert [start for start, _ in found] == expected


def test_known_pictures_with_little_in_them_are_looked_at_all_the_same(known: SignedVideo) -> None:
    movement = {"ticks": 1, "agreement": 0.0, "alike": False}
    assert strange_of(known, 120, informative=False, **movement) == [float(known.signatures.start_seconds[2])]
    assert strange_of(known, 0, informative=False, **movement) == []
