"""The records that pass between the stages: small, checked on creation, never changed.

A singular noun is one item, a plural noun a batch of equal-length arrays. Pixels appear only in `Frame` and `Keyframe`,
which live inside one child process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from videonovelty.errors import Reason

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

PDQ_BYTES = 32
N_DIHEDRAL = 8
"""PDQ variants of one picture: index 0 as it is, then the order of `signatures.pdq.DIHEDRAL`."""
OTHER_LAGS = 5
BORDER_FACTS = 6
BORDER_ROWS, BORDER_COLUMNS = 72, 128
"""Of the pictures in which `MotionProfile.borders` are sought."""
MOTION_CELLS = 16
"""A motion profile looks at a 4 × 4 grid of the picture."""
FINE_CELLS = 64
"""…and at an 8 × 8 grid."""
FINE_MOST = 8
"""Largest change a cell of the fine grid counts, in dead zones."""
MOST_LEVEL = 508
"""How much brighter or darker than its picture a cell may be, in steps of `signatures.motion.LEVEL_UNIT`."""
PICTURE_ROWS, PICTURE_COLUMNS = 18, 32
PICTURE_CELLS = PICTURE_ROWS * PICTURE_COLUMNS
PICTURE_PARTS = 4
"""Parts of a grey level that `MotionProfile.pictures` counts."""
"""…and, on the query side, at finer ones, which can be laid over part of a known picture."""
LOCAL_BYTES = 8
DIGEST_BYTES = 16
"""Of a coded packet: what decides that nobody decodes has 128 bits, so that nobody can make two alike."""


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class ContentHashes:
    """What identifies one content: three digests from one read."""

    video_id: str
    """SHA-256 of the file's bytes, 64 lower-case hex digits."""
    md5: str
    sha1: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """One path where a content was seen."""

    path_raw: bytes
    """The path exactly as the file system gave it; display it through `intake.display_path`."""
    video_id: str
    """Empty when the file could not be read."""
    size_bytes: int
    modified_ns: int
    reason: Reason | None = None
    """Why no content could be identified; None for a readable file."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the container claims, before any of it is believed."""

    container: str
    codec: str
    width: int
    height: int
    frames_per_second: float
    """0.0 when unknown."""
    declared_seconds: float
    """0.0 when the container does not say."""
    rotation_degrees: int = 0
    pixel_format: str = ""
    video_streams: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture; pixels are made only when asked for.

    `luma(width, height)` returns uint8 of shape (height, width): luma scaled by area averaging, rotated upright.
    """

    pts_seconds: float
    thumb: U8
    """Luma for the shot detector, shape (36, 64), from a cheap scaler: never sign it."""
    luma: Callable[[int, int], U8]
    sketch: Callable[[], U8]
    """Luma of shape (72, 128) from the cheap scaler, made on demand: what the motion profile looks at."""
    width: int
    height: int
    """Upright size in square pixels."""
    is_intra: bool = False
    corrupt: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """The picture that stands for `[start_seconds, end_seconds)`; consecutive intervals tile the decoded time."""

    pts_seconds: float
    start_seconds: float
    end_seconds: float
    frame: Frame
    shot: int
    """Number of the shot it belongs to, from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Coverage:
    """How much of a video was really looked at."""

    declared_seconds: float
    duration_seconds: float
    """What the report's timeline is long: the larger of the decoded end and the declared end, when they disagree."""
    decoded_seconds: float
    frames: int
    packet_errors: int
    corrupt_frames: int
    undecoded: F64
    """Stretches nobody could look at, shape (k, 2), seconds, `[start, end)`, sorted, disjoint."""
    longest_unseen_seconds: float
    """Longest stretch between two frames that were looked at (or an undecoded stretch)."""
    passes: tuple[str, ...] = ("nonref",)
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """What the file holds besides that nobody looked at; each has a second or more of `undecoded` at the end."""

    @property
    def whole(self) -> bool:
        """Every picture of it was decoded, without an error."""
        return len(self.undecoded) == 0 and self.packet_errors == 0 and self.corrupt_frames == 0

    def __post_init__(self) -> None:
        _check(self.undecoded.ndim == 2 and self.undecoded.shape[1:] == (2,), "undecoded must have shape (k, 2)")
        flat = self.undecoded.ravel()
        _check(bool(np.isfinite(flat).all()) and bool((np.diff(flat) >= 0).all()), "undecoded must be sorted")


@dataclass(frozen=True, slots=True, eq=False)
class LocalFeatures:
    """Local descriptors of one video's keyframes, all keyframes one after the other."""

    offsets: npt.NDArray[np.int64]
    """Shape (n_keyframes + 1,): keyframe i owns rows [offsets[i], offsets[i+1])."""
    codes: U8
    """Shape (k, 8): 64 sign bits of the projected RootSIFT."""
    mirrored_codes: U8
    """Shape (k, 8) on the query side, (0, 8) for known videos: the codes the mirrored picture would have."""
    xy: npt.NDArray[np.uint16]
    """Shape (k, 2): position, 0 … 65535 across the picture's width and height."""
    scale: U8
    """Shape (k,): log2 size in eighths above 1 px."""
    angle: U8
    """Shape (k,): 256ths of a turn."""
    backwards: bool = False
    """Keyframes of a static shot carry descriptors only where they differ from the one before, so those of a keyframe
    stand for the ones after it as well; of a video played backwards, for the ones before it."""

    def __post_init__(self) -> None:
        k = len(self.codes)
        _check(
            self.codes.shape == (k, LOCAL_BYTES) and self.codes.dtype == np.uint8,
            "codes must be (k, 8) uint8",
        )
        _check(
            self.mirrored_codes.shape in ((k, LOCAL_BYTES), (0, LOCAL_BYTES)),
            "mirrored_codes must match codes",
        )
        _check(self.xy.shape == (k, 2) and len(self.scale) == k and len(self.angle) == k, "lengths differ")
        _check(bool((np.diff(self.offsets) >= 0).all()) and int(self.offsets[-1]) == k, "offsets must end at k")


def no_local_features(n_keyframes: int) -> LocalFeatures:
    """Return the empty features of a video signed without local descriptors."""
    return LocalFeatures(
        offsets=np.zeros(n_keyframes + 1, np.int64),
        codes=np.zeros((0, LOCAL_BYTES), np.uint8),
        mirrored_codes=np.zeros((0, LOCAL_BYTES), np.uint8),
        xy=np.zeros((0, 2), np.uint16),
        scale=np.zeros(0, np.uint8),
        angle=np.zeros(0, np.uint8),
    )


KNOWN_POINTS = 200
"""Local descriptors of a keyframe that known videos keep. The query side has more of them, the best ones first: a small
picture in a picture has few of the best, and its known video has all of its own."""


def best_points(features: LocalFeatures) -> LocalFeatures:
    """Return the first `KNOWN_POINTS` descriptors of each keyframe, those the store keeps."""
    sizes = np.diff(features.offsets)
    if not (sizes > KNOWN_POINTS).any():
        return features
    kept = np.arange(len(features.codes)) - np.repeat(features.offsets[:-1], sizes) < KNOWN_POINTS
    return LocalFeatures(
        np.concatenate(([0], np.cumsum(np.minimum(sizes, KNOWN_POINTS)))),
        features.codes[kept],
        features.mirrored_codes[kept] if len(features.mirrored_codes) else features.mirrored_codes,
        features.xy[kept],
        features.scale[kept],
        features.angle[kept],
    )


@dataclass(frozen=True, slots=True, eq=False)
class MotionProfile:
    """What moves where, tick by tick: the rhythm that tells the same footage from another take of the same scene."""

    step_seconds: float
    """Time between ticks; tick i is at `i * step_seconds` of the video's own time."""
    signs: npt.NDArray[np.int8]
    """Shape (m, 16): −1, 0, +1 a cell of the 4 × 4 grid (row-major): darker, unchanged, brighter."""
    fine: npt.NDArray[np.int8]
    """Shape (ceil(m / fine_every), 64): the same of an 8 × 8 grid at every `fine_every`-th tick. The query side counts
    the change in steps of `signatures.motion.DEAD_ZONE`, −8 … 8; the store keeps −1, 0, +1."""
    fine_every: int = 1
    pictures: npt.NDArray[np.uint16] | None = None
    """Shape (m, 576): an 18 × 32 grid of the whole picture (row-major), in quarters of a grey level. The query side
    only; the store does not keep it."""
    lagged: npt.NDArray[np.int8] | None = None
    """Shape (m, 5, 16): `signs` over each of `signatures.motion.OTHER_LAGS_SECONDS`. The query side only."""
    levels: npt.NDArray[np.int16] | None = None
    """Shape of `fine`: how bright each of its cells is, in steps of `signatures.motion.LEVEL_UNIT` deviations of the
    picture from its mean."""
    light: npt.NDArray[np.uint16] | None = None
    """Shape (m, 2): that mean and that deviation, in 256ths of a grey level. The query side only."""
    borders: npt.NDArray[np.uint8] | None = None
    """Shape (m, 6): the rows and columns that signs, fine and levels are taken of, first and last row, first and last
    column of 72 × 128, the last ones left out; then what is around them and is not that picture, enlarged and blurred,
    as `signatures.filled.not_filled` says. The query side only."""
    grade: int = 1
    """`signs` are in this many parts of one: those of a part of the picture (`matching.region`) are graded."""

    def __post_init__(self) -> None:
        m = len(self.signs)
        _check(
            self.signs.shape == (m, MOTION_CELLS) and self.signs.dtype == np.int8,
            "signs must be (m, 16) int8",
        )
        _check(self.fine_every >= 1, "fine_every must be positive")
        _check(
            self.fine.shape == (-(-m // self.fine_every), FINE_CELLS) and self.fine.dtype == np.int8,
            "fine must be (ceil(m / fine_every), 64) int8",
        )
        _check(self.step_seconds > 0, "step_seconds must be positive")
        _check(self.grade >= 1, "grade must be positive")
        _check(
            self.lagged is None
            or (self.lagged.shape == (m, OTHER_LAGS, MOTION_CELLS) and self.lagged.dtype == np.int8),
            "lagged must be (m, 5, 16) int8",
        )
        _check(
            self.levels is None or (self.levels.shape == self.fine.shape and self.levels.dtype == np.int16),
            "levels must be int16, of the shape of fine",
        )
        _check(
            self.pictures is None or (self.pictures.shape == (m, PICTURE_CELLS) and self.pictures.dtype == np.uint16),
            "pictures must be (m, 576) uint16",
        )
        _check(
            self.light is None or (self.light.shape == (m, 2) and self.light.dtype == np.uint16),
            "light must be (m, 2) uint16",
        )
        _check(
            self.borders is None or (self.borders.shape == (m, BORDER_FACTS) and self.borders.dtype == np.uint8),
            "borders must be (m, 6) uint8",
        )


PANE_FULL = int(np.iinfo(np.uint16).max)
"""A pane's right end where it reaches across the whole picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Panes:
    """Rectangles of one video's pictures in which something plays by itself, one row a keyframe and pane."""

    keyframe: npt.NDArray[np.int64]
    """Index of the keyframe, ascending; shape (m,)."""
    box: npt.NDArray[np.uint16]
    """Shape (m, 4): left, top, right, bottom, 0 … 65535 across the picture's width and height."""
    pdq: U8
    """Shape (m, 8, 32): as `Signatures.pdq`, of what is within."""

    def __post_init__(self) -> None:
        m = len(self.keyframe)
        _check(bool((np.diff(self.keyframe) >= 0).all()), "panes must be in the order of their keyframes")
        _check(self.box.shape == (m, 4) and self.box.dtype == np.uint16, "box must be (m, 4) uint16")
        _check(self.pdq.shape == (m, N_DIHEDRAL, PDQ_BYTES) and self.pdq.dtype == np.uint8, "pdq must be (m, 8, 32)")
        _check(bool((self.box[:, :2] < self.box[:, 2:]).all()), "a pane must have an area")

    @property
    def share(self) -> F64:
        """How much of the picture each takes, 0 … 1; shape (m,)."""
        sides = (self.box[:, 2:].astype(np.float64) - self.box[:, :2]) / PANE_FULL
        return np.asarray(sides.prod(axis=1))


def no_panes() -> Panes:
    """Return the panes of a video that has none, or of which nobody looked for any, as those of a known store."""
    none = np.zeros((0, N_DIHEDRAL, PDQ_BYTES), np.uint8)
    return Panes(np.zeros(0, np.int64), np.zeros((0, 4), np.uint16), none)


KNOWN_STEP_SECONDS = 0.2
"""Tick of the profiles the store keeps…"""
KNOWN_FINE_EVERY = 2
"""…and how many of them pass from one row of `fine` to the next: the lag, so that changes follow one another."""


def thinned(profile: MotionProfile) -> MotionProfile:
    """Return a profile as the store keeps it: fewer ticks, of `fine` only the signs; those, and levels, more seldom."""
    every = max(1, round(KNOWN_STEP_SECONDS / profile.step_seconds))
    fine_every = max(1, every * KNOWN_FINE_EVERY // profile.fine_every)
    signs = profile.signs[::every].copy()
    return MotionProfile(
        profile.step_seconds * every,
        signs,
        np.sign(profile.fine[::fine_every]),
        fine_every * profile.fine_every // every,
        levels=None if profile.levels is None else profile.levels[::fine_every].copy(),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Signatures:
    """Every signature of one video, in presentation order."""

    video_id: str
    scheme: str
    """Name of the algorithms and parameters; signatures of different schemes never match."""
    pts_seconds: F64
    """Presentation time of each keyframe; shape (n,), strictly increasing."""
    start_seconds: F64
    end_seconds: F64
    """The interval each keyframe stands for, `[start, end)`; intervals do not overlap."""
    pdq: U8
    """Shape (n, 8, 32): PDQ of the full picture, 8 dihedral variants, PDQ's own bit order."""
    pdq_inner: U8
    """Shape (n, 8, 32): the same of the picture without its borders; equal to `pdq` where there are none."""
    has_inner: npt.NDArray[np.bool_]
    """Shape (n,): borders were found."""
    quality: U8
    """Shape (n,): PDQ quality, 0 … 100."""
    informative: npt.NDArray[np.bool_]
    """Shape (n,): False for flat, dark or featureless pictures, which are counted but prove nothing."""
    motion: MotionProfile
    local: LocalFeatures
    panes: Panes = field(default_factory=no_panes)
    """The query side only; the store does not keep them."""

    def __post_init__(self) -> None:
        n = len(self.pts_seconds)
        for name in ("start_seconds", "end_seconds", "has_inner", "quality", "informative"):
            _check(getattr(self, name).shape == (n,), f"{name} must have shape ({n},)")
        shape = (n, N_DIHEDRAL, PDQ_BYTES)
        for name in ("pdq", "pdq_inner"):
            value = getattr(self, name)
            _check(value.shape == shape and value.dtype == np.uint8, f"{name} must be {shape} uint8")
        times = (self.pts_seconds, self.start_seconds, self.end_seconds)
        _check(all(bool(np.isfinite(t).all()) for t in times), "times must be finite")
        _check(bool((np.diff(self.pts_seconds) > 0).all()), "pts_seconds must increase")
        _check(bool((self.end_seconds >= self.start_seconds).all()), "intervals must not be negative")
        _check(bool((self.start_seconds[1:] >= self.end_seconds[:-1] - 1e-6).all()), "intervals must not overlap")
        _check(len(self.local.offsets) == n + 1, "local.offsets must have n + 1 entries")
        beyond = len(self.panes.keyframe) > 0 and not 0 <= self.panes.keyframe[0] <= self.panes.keyframe[-1] < n
        _check(not beyond, "panes must be of keyframes there are")


@dataclass(frozen=True, slots=True, eq=False)
class SignedVideo:
    """What the child process sends back for one video."""

    probe: Probe
    coverage: Coverage
    signatures: Signatures
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class CodedStream:
    """The coded packets of one video, each as a digest, in the order they are decoded."""

    video_id: str
    recipe: str
    """Name of what is digested, and how; digests of different recipes never match."""
    doubt: str
    """Why equal packets might not show equal pictures; empty where they must. With a doubt there are no packets."""
    duration_seconds: float
    """From the first moment shown to the end of the last."""
    pts_seconds: F64
    """When each packet is shown, from 0 at the earliest; shape (n,)."""
    starts: npt.NDArray[np.bool_]
    """Shape (n,): the decoder begins afresh here, whatever came before. A *unit* reaches from one to the next."""
    digests: U8
    """Shape (n, 16)."""
    cpu_seconds: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.pts_seconds)
        _check(self.digests.shape == (n, DIGEST_BYTES) and self.digests.dtype == np.uint8, "digests must be (n, 16)")
        _check(self.starts.shape == (n,) and (n == 0 or bool(self.starts[0])), "the first packet must start a unit")
        _check(bool(np.isfinite(self.pts_seconds).all()), "times must be finite")
        _check(n == 0 or float(self.pts_seconds.min()) == 0.0, "times must begin at 0")
        _check((n == 0) == bool(self.doubt), "a doubt and packets exclude each other")


@dataclass(frozen=True, slots=True, eq=False)
class CodedUnit:
    """A unit of a known video: packets that are decoded without anything before them."""

    video_id: str
    first_packet: int
    """Its place in the video."""
    pts_seconds: F64
    """When each packet is shown, time of the known video; shape (m,)."""
    digests: U8
    """Shape (m, 16)."""


@dataclass(frozen=True, slots=True)
class ListMembership:
    """What one list says about one known video."""

    list_name: str
    disposition: str
    """`abuse`, `benign` or `other`."""
    series: str = ""
    category: str = ""
    victim_identified: str = "unknown"
    """`yes`, `no` or `unknown`."""
    offender_identified: str = "unknown"
    distributed: str = "unknown"
    tags: tuple[str, ...] = ()
    source: str = ""
    """Where the entry came from: display path, member id, feed entry."""


@dataclass(frozen=True, slots=True)
class KnownVideo:
    """One content of the known store and what the lists say about it."""

    video_id: str
    """SHA-256 hex where it is known, else the id the import derived from the hash it had."""
    duration_seconds: float
    md5: str = ""
    sha1: str = ""
    memberships: tuple[ListMembership, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class KnownFrames:
    """The stored keyframes of one known video, in time order."""

    video_id: str
    pts_seconds: F64
    pdq: U8
    """Shape (n, 32)."""
    pdq_inner: U8
    """Shape (n, 32); equal to `pdq` where there is no border."""
    quality: U8
    informative: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Frame-to-frame matches of one query video against the known store, one row a pair, in any order."""

    query_keyframe: npt.NDArray[np.int64]
    """Index into the query's keyframes; shape (k,)."""
    known_video: npt.NDArray[np.int64]
    """Index into `known_ids`; shape (k,)."""
    known_seconds: F64
    """Time of the known keyframe."""
    distance_bits: U8
    mirrored: npt.NDArray[np.bool_]
    """The match holds for a variant with reversed handedness."""
    variant: U8
    """Dihedral variant of the query that matched, 0 … 7."""
    known_ids: tuple[str, ...]
    overflowed: npt.NDArray[np.bool_]
    """Shape (n_keyframes,): more matches than the cap, so the frame says nothing."""

    def __post_init__(self) -> None:
        k = len(self.query_keyframe)
        for name in ("known_video", "known_seconds", "distance_bits", "mirrored", "variant"):
            _check(len(getattr(self, name)) == k, f"{name} must have {k} rows")


SOMETHING_ELSE = "a picture in it shows something else"
"""Why a stretch is not proven: pictures that look like the known ones stand around one that does not."""
PLAYS_IN_A_PART = "it plays in a part of the picture"
"""Reason of stretches that show the known video beside or within something else (`why_not`)."""
PART_COVERED = "something else covers a part of the picture"
PART_MOVES = "something else moves in a part of the picture"
MOVES_OTHERWISE = "it looks alike, but moves otherwise"
"""Reason of stretches that look like a known video at whatever moment, on no line through it (`why_not`)."""
DONE_AGAIN = "it moves at the same moments, but not in the same way, as if the same had been done again"
"""Reason of stretches in which cells change when those of the known video do, and otherwise than those (`why_not`)."""
OTHER_DETAILS = "it is as light and dark as known footage, and moves like it, but its details are others"
"""Reason of stretches whose local descriptors are not those of the known video (`why_not`)."""
PART_DETAILS = "a part of the picture shows other details, as if something had been put in the place of what is known"
"""Reason of stretches some of whose local descriptors are not those of the very pictures they show (`why_not`)."""
PLAIN_AS_GOOD = "at the plain speed it agrees as well"
"""Reason of stretches at another speed that movement does not tell from the plain one, which has to prove itself."""
COLOURS_INVERTED = "its colours are inverted, so what covers a part of the picture cannot be seen"
"""Reason of stretches that show the negative of the known video (`why_not`)."""
TOO_FAINT = "too dark, too blurred or too even to be compared with anything"
"""Reason of novel segments in which there is something, and nothing that a code could be made of (`why_not`)."""
NOTHING_MOVES = "nothing moves in it, and stillness proves nothing"
"""Reason of stretches that look like known footage, of which one picture shows all there is (`why_not`)."""
IN_A_PART = frozenset({PART_COVERED, PART_MOVES, PART_DETAILS})
"""Reasons for which footage that agrees with known footage elsewhere in the picture is not proven (`why_not`)."""


TRANSPARENT = "its pictures are transparent in part, so what they show depends on the player and its background"
BY_TURNS = "pictures that have nothing in common come by turns, so what one sees depends on when one looks"
UNCLEAR = (TRANSPARENT, BY_TURNS)
"""Notes of a coverage some of whose undecoded seconds are such; their `why_not`."""
HOLDS_BESIDES = "the file also holds "
"""What the `why_not` of the undecoded seconds begins with that stand for what is at no time of the video."""

ONE_LOOK_SECONDS = 2.0
"""What a look at one picture counts among the seconds to view."""


def spared_by_a_look(seconds: float, look_seconds: float | None) -> float:
    """Return how many of a segment's seconds nobody need view where there is one picture to look at (else None)."""
    return 0.0 if look_seconds is None else max(0.0, seconds - ONE_LOOK_SECONDS)


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of a query and what explains it. Segments of a video are half-open and tile `[0, duration)`."""

    start_seconds: float
    end_seconds: float
    kind: str
    """`known`, `same_scene`, `novel`, `uninformative` or `undecoded`."""
    known_video_id: str | None = None
    known_start_seconds: float | None = None
    known_end_seconds: float | None = None
    speed: float | None = None
    """Known seconds a second of the query shows; below zero: backwards."""
    mirrored: bool | None = None
    spatial_share: float | None = None
    proof: str = "none"
    """`bytes`, `time` or `none`."""
    frames: int = 0
    """Keyframes of the query that matched in this stretch."""
    median_distance_bits: float | None = None
    inliers: int | None = None
    why_not: str | None = None
    """Of `same_scene`: why it could not be proven to be the same footage, where it was tried. Of `novel`: why it could
    not be compared. Of `undecoded`: what the file holds there."""
    cover_left: float | None = None
    """Where that is something over a part of the picture, and it was found: its box in shares of width and height."""
    cover_top: float | None = None
    cover_right: float | None = None
    cover_bottom: float | None = None
    look_seconds: float | None = None
    """When one picture, at this time, shows all of it that is not known: what covers it is still, or nothing moves."""

    @property
    def spared_seconds(self) -> float:
        """How many of its seconds nobody need view, because one picture shows what is not known."""
        return spared_by_a_look(self.end_seconds - self.start_seconds, self.look_seconds)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one video."""

    video_id: str
    verdict: str
    """`known`, `partly_known`, `same_scene`, `novel` or `not_comparable`."""
    reason: Reason
    novelty: float | None
    """Share of informative seconds nothing explains, 0 … 1; None when not comparable."""
    novel_seconds: float
    known_seconds: float
    uninformative_seconds: float
    duration_seconds: float
    decoded_seconds: float
    longest_unseen_seconds: float
    keyframes: int
    best_known_id: str | None
    segments: tuple[Segment, ...]

    @property
    def needs_review(self) -> bool:
        """Only a fully proven video leaves the queue."""
        return self.verdict != "known"
