"""Hypothesis strategies for the records that pass between the stages: any value each record allows, small."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from videonovelty.errors import Reason
from videonovelty.records import (
    BORDER_FACTS,
    FINE_CELLS,
    FINE_MOST,
    IN_A_PART,
    LOCAL_BYTES,
    MOTION_CELLS,
    N_DIHEDRAL,
    OTHER_LAGS,
    PDQ_BYTES,
    PICTURE_CELLS,
    PICTURE_PARTS,
    ContentHashes,
    Coverage,
    KnownFrames,
    KnownVideo,
    ListMembership,
    LocalFeatures,
    Matches,
    MotionProfile,
    Panes,
    Probe,
    Segment,
    Sighting,
    Signatures,
    SignedVideo,
    Verdict,
)

SCHEMES = ("test-scheme-1", "test-scheme-2")


def hex_digests(length: int = 64) -> st.SearchStrategy[str]:
    """Lower-case hex digits, as of a SHA-256."""
    return st.binary(min_size=length // 2, max_size=length // 2).map(bytes.hex)


video_ids = hex_digests


def seconds(maximum: float = 36_000.0) -> st.SearchStrategy[float]:
    """A moment or a length, on a grid of milliseconds."""
    return st.integers(0, round(maximum * 1000)).map(lambda ms: ms / 1000)


def display_text() -> st.SearchStrategy[str]:
    """Text as people and file systems write it: any script, no surrogates."""
    return st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20)


def raw_paths() -> st.SearchStrategy[bytes]:
    """Paths as file systems give them: any bytes but NUL."""
    return st.binary(min_size=1, max_size=40).map(lambda raw: b"/" + raw.replace(b"\x00", b"?"))


def codes(rows: int, width: int = PDQ_BYTES) -> st.SearchStrategy[np.ndarray]:
    """Packed bits of shape (rows, width)."""
    return hnp.arrays(np.uint8, (rows, width))


@st.composite
def content_hashes(draw: st.DrawFn) -> ContentHashes:
    """What identifies one content."""
    return ContentHashes(
        draw(hex_digests(64)), draw(hex_digests(32)), draw(hex_digests(40)), draw(st.integers(0, 2**40))
    )


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    """A path with its content, or with the reason there is none."""
    path, size, modified = draw(raw_paths()), draw(st.integers(0, 2**40)), draw(st.integers(0, 2**62))
    if draw(st.booleans()):
        return Sighting(path, draw(video_ids()), size, modified)
    return Sighting(path, "", size, modified, reason=draw(st.sampled_from(Reason)), detail=draw(display_text()))


@st.composite
def probes(draw: st.DrawFn) -> Probe:
    """What a container claims, true or not."""
    return Probe(
        container=draw(st.sampled_from(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", ""))),
        codec=draw(st.sampled_from(("h264", "hevc", "vp9", "mpeg4"))),
        width=draw(st.integers(0, 8192)),
        height=draw(st.integers(0, 8192)),
        frames_per_second=draw(st.floats(0, 240)),
        declared_seconds=draw(seconds()),
        rotation_degrees=draw(st.sampled_from((0, 90, 180, 270))),
        pixel_format=draw(st.sampled_from(("yuv420p", "yuv420p10le", ""))),
        video_streams=draw(st.integers(1, 8)),
    )


def _increasing(draw: st.DrawFn, count: int, *, least_ms: int = 1, most_ms: int = 3000) -> np.ndarray:
    """Strictly increasing times from a random beginning, on a grid of milliseconds."""
    steps = draw(st.lists(st.integers(least_ms, most_ms), min_size=count, max_size=count))
    return (draw(st.integers(0, 2000)) + np.cumsum(steps, dtype=np.int64) - (steps[0] if steps else 0)) / 1000.0


@st.composite
def coverages(draw: st.DrawFn) -> Coverage:
    """How much of a video was looked at."""
    holes = draw(st.integers(0, 3))
    edges = _increasing(draw, 2 * holes).reshape(holes, 2) if holes else np.zeros((0, 2))
    duration = float(edges.max(initial=0.0)) + draw(seconds(600))
    undecoded = float((edges[:, 1] - edges[:, 0]).sum())
    return Coverage(
        declared_seconds=draw(seconds(600)),
        duration_seconds=duration,
        decoded_seconds=max(0.0, duration - undecoded),
        frames=draw(st.integers(0, 10**6)),
        packet_errors=draw(st.integers(0, 1000)),
        corrupt_frames=draw(st.integers(0, 1000)),
        undecoded=edges,
        longest_unseen_seconds=draw(seconds(600)),
        passes=draw(st.sampled_from((("nonref",), ("intra", "nonref"), ("intra",)))),
        notes=tuple(draw(st.lists(display_text(), max_size=2))),
        left_out=tuple(draw(st.lists(display_text(), max_size=2))),
    )


@st.composite
def local_features(draw: st.DrawFn, *, keyframes: int | None = None, mirrored: bool | None = None) -> LocalFeatures:
    """Local descriptors of `keyframes` keyframes; `mirrored` codes on the query side only."""
    count = draw(st.integers(0, 6)) if keyframes is None else keyframes
    sizes = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    total = sum(sizes)
    both = draw(st.booleans()) if mirrored is None else mirrored
    return LocalFeatures(
        offsets=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        codes=draw(codes(total, LOCAL_BYTES)),
        mirrored_codes=draw(codes(total if both else 0, LOCAL_BYTES)),
        xy=draw(hnp.arrays(np.uint16, (total, 2))),
        scale=draw(hnp.arrays(np.uint8, total)),
        angle=draw(hnp.arrays(np.uint8, total)),
    )


@st.composite
def panes(draw: st.DrawFn, *, keyframes: int) -> Panes:
    """Rectangles of some of the keyframes."""
    count = draw(st.integers(0, 3)) if keyframes else 0
    corner = draw(hnp.arrays(np.uint16, (count, 2), elements=st.integers(0, 65_534)))
    size = draw(hnp.arrays(np.uint16, (count, 2), elements=st.integers(1, 65_535)))
    beyond = np.minimum(corner.astype(np.int64) + size, 65_535).astype(np.uint16)
    of = draw(st.lists(st.integers(0, max(0, keyframes - 1)), min_size=count, max_size=count))
    return Panes(
        np.sort(np.array(of, np.int64)),
        np.hstack([corner, beyond]),
        draw(hnp.arrays(np.uint8, (count, N_DIHEDRAL, PDQ_BYTES))),
    )


@st.composite
def motion_profiles(draw: st.DrawFn) -> MotionProfile:
    """What moves where."""
    ticks = draw(st.integers(0, 30))
    return MotionProfile(
        step_seconds=draw(st.sampled_from((0.1, 0.2, 0.5))),
        signs=draw(hnp.arrays(np.int8, (ticks, MOTION_CELLS), elements=st.integers(-1, 1))),
        fine=draw(hnp.arrays(np.int8, (ticks, FINE_CELLS), elements=st.integers(-FINE_MOST, FINE_MOST))),
        pictures=draw(
            st.none() | hnp.arrays(np.uint16, (ticks, PICTURE_CELLS), elements=st.integers(0, PICTURE_PARTS * 255))
        )
        if ticks
        else None,
        lagged=draw(st.none() | hnp.arrays(np.int8, (ticks, OTHER_LAGS, MOTION_CELLS), elements=st.integers(-1, 1)))
        if ticks
        else None,
        light=draw(st.none() | hnp.arrays(np.uint16, (ticks, 2))) if ticks else None,
        borders=draw(st.none() | hnp.arrays(np.uint8, (ticks, BORDER_FACTS))) if ticks else None,
        levels=draw(st.none() | hnp.arrays(np.int16, (ticks, FINE_CELLS), elements=st.integers(-508, 508)))
        if ticks
        else None,
    )


@st.composite
def signatures(draw: st.DrawFn, *, min_keyframes: int = 0, max_keyframes: int = 6) -> Signatures:
    """Every signature of one video."""
    count = draw(st.integers(min_keyframes, max_keyframes))
    starts = _increasing(draw, count)
    ends = np.append(starts[1:], starts[-1:] + 0.5)
    shape = (count, N_DIHEDRAL, PDQ_BYTES)
    pdq = draw(hnp.arrays(np.uint8, shape))
    has_inner = draw(hnp.arrays(np.bool_, count))
    inner = np.where(has_inner[:, None, None], draw(hnp.arrays(np.uint8, shape)), pdq)
    return Signatures(
        video_id=draw(video_ids()),
        scheme=draw(st.sampled_from(SCHEMES)),
        pts_seconds=starts.astype(np.float64),
        start_seconds=starts.astype(np.float64),
        end_seconds=ends.astype(np.float64),
        pdq=pdq,
        pdq_inner=inner.astype(np.uint8),
        has_inner=has_inner,
        quality=draw(hnp.arrays(np.uint8, count, elements=st.integers(0, 100))),
        informative=draw(hnp.arrays(np.bool_, count)),
        motion=draw(motion_profiles()),
        local=draw(local_features(keyframes=count)),
        panes=draw(panes(keyframes=count)),
    )


@st.composite
def signed_videos(draw: st.DrawFn) -> SignedVideo:
    """What a decoding process sends back."""
    return SignedVideo(draw(probes()), draw(coverages()), draw(signatures()), cpu_seconds=draw(seconds(600)))


@st.composite
def list_memberships(draw: st.DrawFn) -> ListMembership:
    """What one list says about one video."""
    answers = st.sampled_from(("yes", "no", "unknown"))
    return ListMembership(
        list_name=draw(st.sampled_from(("list-a", "list-b", "benign"))),
        disposition=draw(st.sampled_from(("abuse", "benign", "other"))),
        series=draw(display_text()),
        category=draw(st.sampled_from(("", "A", "B1"))),
        victim_identified=draw(answers),
        offender_identified=draw(answers),
        distributed=draw(answers),
        tags=tuple(draw(st.lists(display_text(), max_size=2, unique=True))),
        source=draw(display_text()),
    )


@st.composite
def known_videos(draw: st.DrawFn) -> KnownVideo:
    """One content of the store, on one list or two."""
    lists = draw(st.lists(list_memberships(), min_size=1, max_size=2, unique_by=lambda m: m.list_name))
    return KnownVideo(
        draw(video_ids()), draw(seconds()), draw(hex_digests(32)), draw(hex_digests(40)), memberships=tuple(lists)
    )


@st.composite
def known_frames(draw: st.DrawFn, *, max_keyframes: int = 6) -> KnownFrames:
    """The stored keyframes of one known video."""
    count = draw(st.integers(1, max_keyframes))
    return KnownFrames(
        video_id=draw(video_ids()),
        pts_seconds=_increasing(draw, count),
        pdq=draw(codes(count)),
        pdq_inner=draw(codes(count)),
        quality=draw(hnp.arrays(np.uint8, count, elements=st.integers(0, 100))),
        informative=draw(hnp.arrays(np.bool_, count)),
    )


@st.composite
def matches(draw: st.DrawFn, *, keyframes: int = 6) -> Matches:
    """Frame-to-frame matches of a query of `keyframes` keyframes."""
    count = draw(st.integers(0, 12))
    known = draw(st.lists(video_ids(), min_size=1, max_size=3, unique=True))
    variant = draw(hnp.arrays(np.uint8, count, elements=st.integers(0, N_DIHEDRAL - 1)))
    return Matches(
        query_keyframe=draw(hnp.arrays(np.int64, count, elements=st.integers(0, keyframes - 1))),
        known_video=draw(hnp.arrays(np.int64, count, elements=st.integers(0, len(known) - 1))),
        known_seconds=draw(hnp.arrays(np.float64, count, elements=seconds(600))),
        distance_bits=draw(hnp.arrays(np.uint8, count, elements=st.integers(0, 31))),
        mirrored=variant >= N_DIHEDRAL // 2,
        variant=variant,
        known_ids=tuple(known),
        overflowed=draw(hnp.arrays(np.bool_, keyframes)),
    )


@st.composite
def tilings(draw: st.DrawFn, *, max_segments: int = 5) -> tuple[Segment, ...]:
    """Segments that tile a video from 0 to its end, of any kinds."""
    count = draw(st.integers(1, max_segments))
    edges = _increasing(draw, count + 1, least_ms=100, most_ms=20_000)
    edges = edges - edges[0]
    kinds = st.sampled_from(("known", "same_scene", "novel", "uninformative", "undecoded"))
    return tuple(_segment(draw, float(start), float(end), draw(kinds)) for start, end in itertools.pairwise(edges))


def _segment(draw: st.DrawFn, start: float, end: float, kind: str) -> Segment:
    if kind not in ("known", "same_scene"):
        return Segment(start, end, kind)
    speed = draw(st.sampled_from((0.5, 1.0, 1.25)))
    known_start = draw(seconds(600))
    covered = kind == "same_scene" and draw(st.booleans())
    left, top, right, bottom = (0.1, 0.2, 0.4, 0.6) if covered else (None,) * 4
    return Segment(
        start_seconds=start,
        end_seconds=end,
        kind=kind,
        known_video_id=draw(video_ids()),
        known_start_seconds=known_start,
        known_end_seconds=known_start + speed * (end - start),
        speed=speed,
        mirrored=draw(st.booleans()),
        spatial_share=draw(st.floats(0.05, 1.0)),
        proof="time" if kind == "known" else "none",
        frames=draw(st.integers(1, 100)),
        median_distance_bits=draw(st.none() | st.floats(0, 31)),
        inliers=draw(st.none() | st.integers(7, 200)),
        why_not=None
        if kind == "known"
        else draw(st.none() | st.sampled_from(("only 1.2 s aligned", *sorted(IN_A_PART)))),
        cover_left=left,
        cover_top=top,
        cover_right=right,
        cover_bottom=bottom,
        look_seconds=0.5 * (start + end) if covered and draw(st.booleans()) else None,
    )


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    """An answer whose numbers follow from its segments."""
    segments = draw(tilings())
    length = {kind: sum(s.end_seconds - s.start_seconds for s in segments if s.kind == kind) for kind in _KINDS}
    informative = length["known"] + length["same_scene"] + length["novel"]
    verdict, reason = _verdict_of(length)
    known = [s.known_video_id for s in segments if s.known_video_id is not None]
    numbers: dict[str, Any] = {
        "novelty": None if verdict == "not_comparable" else 1 - length["known"] / informative,
        "novel_seconds": length["same_scene"] + length["novel"],
        "known_seconds": length["known"],
        "uninformative_seconds": length["uninformative"],
        "duration_seconds": segments[-1].end_seconds,
        "decoded_seconds": segments[-1].end_seconds - length["undecoded"],
    }
    return Verdict(
        video_id=draw(video_ids()),
        verdict=verdict,
        reason=reason,
        longest_unseen_seconds=max(0.1, length["undecoded"]),
        keyframes=draw(st.integers(1, 500)),
        best_known_id=known[0] if known else None,
        segments=segments,
        **numbers,
    )


_KINDS = ("known", "same_scene", "novel", "uninformative", "undecoded")


def _verdict_of(length: dict[str, float]) -> tuple[str, Reason]:
    if length["known"] + length["same_scene"] + length["novel"] == 0:
        return "not_comparable", Reason.UNINFORMATIVE
    if length["undecoded"] and not length["known"]:
        return "not_comparable", Reason.PARTLY_DECODED
    if length["known"]:
        whole = not (length["same_scene"] or length["novel"] or length["undecoded"])
        return ("known", Reason.PROVEN_BY_TIME) if whole else ("partly_known", Reason.PARTS_EXPLAINED)
    return ("same_scene", Reason.NOT_PROVEN) if length["same_scene"] else ("novel", Reason.NOTHING_EXPLAINED)
