"""What passes between the decoding process and its parent: records as bytes, every field checked on arrival.

One payload (all numbers little-endian):

    "VNSV"  version u16  0 u16  header length u32  header  padding to 8  array  padding to 8  array …

The header is canonical JSON: `probe`, `coverage`, `signatures` with their plain fields, and `counts`, from which alone
follow the shapes of the arrays of `ARRAYS`, in that order. Equal records give equal bytes, and bytes that
`encode_signed` would not have written are refused. No pickle, no names or types taken from the sender. The run folder
stores the same payload. The digests of a video's coded packets travel likewise, with "VNCP" at the front and the arrays
of `CODED_ARRAYS`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from videonovelty.errors import (
    CorruptVideoError,
    LimitExceededError,
    NoVideoStreamError,
    Reason,
    RefusedVideoError,
    UnreadableVideoError,
    VideoError,
)
from videonovelty.intake import display_text
from videonovelty.records import (
    BORDER_FACTS,
    DIGEST_BYTES,
    FINE_CELLS,
    FINE_MOST,
    LOCAL_BYTES,
    MOST_LEVEL,
    MOTION_CELLS,
    N_DIHEDRAL,
    OTHER_LAGS,
    PDQ_BYTES,
    PICTURE_CELLS,
    PICTURE_PARTS,
    CodedStream,
    Coverage,
    LocalFeatures,
    MotionProfile,
    Panes,
    Probe,
    Signatures,
    SignedVideo,
)

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]

MAGIC = b"VNSV"
CODED_MAGIC = b"VNCP"
WIRE_VERSION = 12
PREFIX = struct.Struct("<4sHHI")
MAX_HEADER_BYTES = 1 << 20
MAX_TEXT = 256
"""Characters of any text the child sends, longer ones are cut."""
MAX_ITEMS = 64
"""Passes, notes or what was left out."""
MAX_SECONDS = 1e12
"""No time is further from zero than this: beyond it, float64 loses the milliseconds."""
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")


class WireError(ValueError):
    """The bytes are not a payload that `encode_signed` wrote."""


class _Array(NamedTuple):
    name: str
    dtype: str
    shape: Callable[[Mapping[str, int]], tuple[int, ...]]
    largest: float = math.inf
    """Whole numbers only may be without bounds: any value of theirs is one."""
    smallest: float = -math.inf


ARRAYS = (
    _Array("undecoded", "<f8", lambda c: (c["undecoded"], 2), MAX_SECONDS, -MAX_SECONDS),
    _Array("pts_seconds", "<f8", lambda c: (c["keyframes"],), MAX_SECONDS, -MAX_SECONDS),
    _Array("start_seconds", "<f8", lambda c: (c["keyframes"],), MAX_SECONDS, -MAX_SECONDS),
    _Array("end_seconds", "<f8", lambda c: (c["keyframes"],), MAX_SECONDS, -MAX_SECONDS),
    _Array("pdq", "|u1", lambda c: (c["keyframes"], N_DIHEDRAL, PDQ_BYTES)),
    _Array("pdq_inner", "|u1", lambda c: (c["keyframes"], N_DIHEDRAL, PDQ_BYTES)),
    _Array("has_inner", "|u1", lambda c: (c["keyframes"],), 1),
    _Array("quality", "|u1", lambda c: (c["keyframes"],), 100),
    _Array("informative", "|u1", lambda c: (c["keyframes"],), 1),
    _Array("signs", "|i1", lambda c: (c["ticks"], MOTION_CELLS), 1, -1),
    _Array("fine", "|i1", lambda c: (c["ticks"], FINE_CELLS), FINE_MOST, -FINE_MOST),
    _Array("pictures", "|u1", lambda c: (2, c["pictured"], PICTURE_CELLS)),  # as `_packed`
    _Array("lagged", "|i1", lambda c: (c["lagged"], OTHER_LAGS, MOTION_CELLS), 1, -1),
    _Array("levels", "<i2", lambda c: (c["levelled"], FINE_CELLS), MOST_LEVEL, -MOST_LEVEL),
    _Array("light", "<u2", lambda c: (c["lit"], 2)),
    _Array("borders", "|u1", lambda c: (c["bordered"], BORDER_FACTS)),
    _Array("offsets", "<i8", lambda c: (c["keyframes"] + 1,), 2**40, 0),
    _Array("codes", "|u1", lambda c: (c["descriptors"], LOCAL_BYTES)),
    _Array("mirrored_codes", "|u1", lambda c: (c["mirrored"], LOCAL_BYTES)),
    _Array("xy", "<u2", lambda c: (c["descriptors"], 2)),
    _Array("scale", "|u1", lambda c: (c["descriptors"],)),
    _Array("angle", "|u1", lambda c: (c["descriptors"],)),
    _Array("pane_keyframe", "<i8", lambda c: (c["panes"],), 2**40, 0),
    _Array("pane_box", "<u2", lambda c: (c["panes"], 4)),
    _Array("pane_pdq", "|u1", lambda c: (c["panes"], N_DIHEDRAL, PDQ_BYTES)),
)
CODED_ARRAYS = (
    _Array("pts_seconds", "<f8", lambda c: (c["packets"],), MAX_SECONDS, 0),
    _Array("starts", "|u1", lambda c: (c["packets"],), 1),
    _Array("digests", "|u1", lambda c: (c["packets"], DIGEST_BYTES)),
)
OPTIONAL = {"pictures": "pictured", "lagged": "lagged", "levels": "levelled", "light": "lit", "borders": "bordered"}
"""Arrays a motion profile may do without, and what counts their ticks: as many as it has, or none."""
COUNTS = ("undecoded", "keyframes", "ticks", *OPTIONAL.values(), "descriptors", "mirrored", "panes")


def encode_signed(signed: SignedVideo) -> bytes:
    """Return `signed` as one payload. Equal records give equal bytes. Raises ValueError: the record breaks its word."""
    probe, coverage, signatures = signed.probe, signed.coverage, signed.signatures
    motion, local = signatures.motion, signatures.local
    counts = {
        "undecoded": len(coverage.undecoded),
        "keyframes": len(signatures.pts_seconds),
        "ticks": len(motion.signs),
        **{count: 0 if getattr(motion, name) is None else len(motion.signs) for name, count in OPTIONAL.items()},
        "descriptors": len(local.codes),
        "mirrored": len(local.mirrored_codes),
        "panes": len(signatures.panes.keyframe),
    }
    header = {
        "probe": {
            "container": _text(probe.container),
            "codec": _text(probe.codec),
            "width": int(probe.width),
            "height": int(probe.height),
            "frames_per_second": _claim(probe.frames_per_second),
            "declared_seconds": _claim(probe.declared_seconds),
            "rotation_degrees": int(probe.rotation_degrees),
            "pixel_format": _text(probe.pixel_format),
            "video_streams": int(probe.video_streams),
        },
        "coverage": {
            "declared_seconds": _claim(coverage.declared_seconds),
            "duration_seconds": float(coverage.duration_seconds),
            "decoded_seconds": float(coverage.decoded_seconds),
            "frames": int(coverage.frames),
            "packet_errors": int(coverage.packet_errors),
            "corrupt_frames": int(coverage.corrupt_frames),
            "longest_unseen_seconds": float(coverage.longest_unseen_seconds),
            "passes": [_text(item) for item in coverage.passes[:MAX_ITEMS]],
            "notes": [_text(item) for item in coverage.notes[:MAX_ITEMS]],
            "left_out": [_text(item) for item in coverage.left_out[:MAX_ITEMS]],
        },
        "signatures": {
            "video_id": signatures.video_id,
            "scheme": signatures.scheme,
            "step_seconds": float(motion.step_seconds),
        },
        "counts": counts,
        "cpu_seconds": float(signed.cpu_seconds),
    }
    arrays = {
        "undecoded": coverage.undecoded,
        "signs": motion.signs,
        "fine": motion.fine,
        **{name: getattr(motion, name) for name in OPTIONAL},
        "pictures": None if motion.pictures is None else _packed(motion.pictures),
        **{name: getattr(local, name) for name in ("offsets", "codes", "mirrored_codes", "xy", "scale", "angle")},
        **{f"pane_{name}": getattr(signatures.panes, name) for name in ("keyframe", "box", "pdq")},
    }
    arrays |= {array.name: getattr(signatures, array.name) for array in ARRAYS if array.name not in arrays}
    return _payload(MAGIC, header, ARRAYS, arrays, counts)


def _packed(pictures: U16) -> U8:
    """Return pictures (m, n) as what changes from tick to tick, low bytes first: compressed, half as long.

    Changes are folded, 0, −1, 1, −2, …, so that small ones have no high byte (zigzag, as Protocol Buffers' sint32).
    """
    changes = pictures.copy()
    changes[1:] -= pictures[:-1]  # modulo 2**16, as all of this: of an hour of video there are 20 million
    signed = changes.view(np.int16)
    folded = ((signed << 1) ^ (signed >> 15)).view(np.uint16)
    return np.stack([(folded & 0xFF).astype(np.uint8), (folded >> 8).astype(np.uint8)])


def _unpacked(packed: U8) -> U16:
    """Return the pictures (m, n) that `_packed` made (2, m, n) of. Raises WireError: they are none."""
    folded: U16 = packed[1].astype(np.uint16) << 8 | packed[0]
    # modulo 2**16: the first sum out of range is so there, too, for no change is as large as what lies beyond it
    pictures = (folded >> np.uint16(1)) ^ (np.uint16(0) - (folded & np.uint16(1)))
    for tick in range(1, len(pictures)):
        pictures[tick] += pictures[tick - 1]
    if pictures.size and int(pictures.max()) > PICTURE_PARTS * 255:
        raise WireError("pictures are out of range")
    return pictures


def encode_coded(coded: CodedStream) -> bytes:
    """Return `coded` as one payload; as `encode_signed`."""
    counts = {"packets": len(coded.pts_seconds)}
    header = {
        "video_id": coded.video_id,
        "recipe": coded.recipe,
        "doubt": _text(coded.doubt),
        "duration_seconds": float(coded.duration_seconds),
        "cpu_seconds": float(coded.cpu_seconds),
        "counts": counts,
    }
    arrays = {array.name: getattr(coded, array.name) for array in CODED_ARRAYS}
    return _payload(CODED_MAGIC, header, CODED_ARRAYS, arrays, counts)


def decode_coded(payload: bytes, *, video_id: str) -> CodedStream:
    """Return the record in `payload`, trusting none of it; as `decode_signed`."""
    try:
        header, end = _opened(payload, CODED_MAGIC)
        _only(header, "video_id", "recipe", "doubt", "duration_seconds", "cpu_seconds", "counts")
        counts = _only(header["counts"], "packets")
        _count(counts["packets"], len(payload))
        arrays = _arrays(payload, end, CODED_ARRAYS, counts)
        if header["video_id"] != video_id:
            raise WireError("the answer is about another video")  # noqa: TRY301
        return CodedStream(
            video_id=_hex64(header["video_id"]),
            recipe=_shown(header["recipe"]),
            doubt=_shown(header["doubt"]),
            duration_seconds=_seconds(header["duration_seconds"]),
            pts_seconds=arrays["pts_seconds"],
            starts=arrays["starts"].astype(np.bool_),
            digests=arrays["digests"],
            cpu_seconds=_seconds(header["cpu_seconds"]),
        )
    except WireError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, IndexError) as error:
        raise WireError(f"not coded packets: {display_text(str(error), 100)}") from error


def _payload(
    magic: bytes,
    header: dict[str, Any],
    layout: Sequence[_Array],
    arrays: Mapping[str, Any],
    counts: Mapping[str, int],
) -> bytes:
    encoded = _canonical(header)
    payload = bytearray(PREFIX.pack(magic, WIRE_VERSION, 0, len(encoded)) + encoded)
    for array in layout:
        given = arrays[array.name]
        value = np.zeros(array.shape(counts), array.dtype) if given is None else np.asarray(given)
        if value.shape != array.shape(counts):
            raise ValueError(f"{array.name} has shape {value.shape}")
        payload += bytes(-len(payload) % 8)
        payload += value.astype(array.dtype, casting="same_kind" if value.dtype != np.bool_ else "unsafe").tobytes()
    return bytes(payload)


def decode_signed(payload: bytes, *, video_id: str, scheme: str | None = None) -> SignedVideo:
    """Return the record in `payload`, trusting none of it: names, types, counts, sizes, ranges and times are checked.

    `video_id` must be the one in it, and `scheme` too where given. The arrays are copies.
    Raises WireError for anything `encode_signed` would not have written.
    """
    try:
        return _decode(payload, video_id, scheme)
    except WireError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, IndexError) as error:
        raise WireError(f"not a signed video: {display_text(str(error), 100)}") from error


def is_signed(payload: bytes) -> bool:
    """Return whether bytes that `encode_signed` of some version wrote are of the version that `decode_signed` reads."""
    try:
        _opened(payload, MAGIC)
    except (WireError, ValueError, RecursionError):
        return False
    return True


def _decode(payload: bytes, video_id: str, scheme: str | None) -> SignedVideo:
    header, end = _opened(payload, MAGIC)
    _only(header, "probe", "coverage", "signatures", "counts", "cpu_seconds")
    counts = _only(header["counts"], *COUNTS)
    for name in COUNTS:
        _count(counts[name], len(payload))
    if counts["mirrored"] not in (0, counts["descriptors"]):
        raise WireError("mirrored descriptors are of another number")
    for name, count in OPTIONAL.items():
        if counts[count] not in (0, counts["ticks"]):
            raise WireError(f"{name}: another number of ticks")
    arrays = _arrays(payload, end, ARRAYS, counts)
    if arrays["offsets"][0] != 0:
        raise WireError("offsets start beyond zero")
    optional = {name: arrays[name] if counts[count] else None for name, count in OPTIONAL.items()}
    identity = _only(header["signatures"], "video_id", "scheme", "step_seconds")
    if identity["video_id"] != video_id:
        raise WireError("the answer is about another video")
    if scheme is not None and identity["scheme"] != scheme:
        raise WireError("the answer is of another scheme")
    return SignedVideo(
        probe=_probe(header["probe"]),
        coverage=_coverage(header["coverage"], arrays["undecoded"]),
        signatures=Signatures(
            video_id=_hex64(identity["video_id"]),
            scheme=_shown(identity["scheme"]),
            pts_seconds=arrays["pts_seconds"],
            start_seconds=arrays["start_seconds"],
            end_seconds=arrays["end_seconds"],
            pdq=arrays["pdq"],
            pdq_inner=arrays["pdq_inner"],
            has_inner=arrays["has_inner"].astype(np.bool_),
            quality=arrays["quality"],
            informative=arrays["informative"].astype(np.bool_),
            motion=MotionProfile(
                step_seconds=_seconds(identity["step_seconds"]),
                signs=arrays["signs"],
                fine=arrays["fine"],
                pictures=None if optional["pictures"] is None else _unpacked(optional["pictures"]),
                lagged=optional["lagged"],
                levels=optional["levels"],
                light=optional["light"],
                borders=optional["borders"],
            ),
            local=LocalFeatures(
                offsets=arrays["offsets"],
                codes=arrays["codes"],
                mirrored_codes=arrays["mirrored_codes"],
                xy=arrays["xy"],
                scale=arrays["scale"],
                angle=arrays["angle"],
            ),
            panes=Panes(arrays["pane_keyframe"], arrays["pane_box"], arrays["pane_pdq"]),
        ),
        cpu_seconds=_seconds(header["cpu_seconds"]),
    )


def _opened(payload: bytes, expected: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a payload and where its arrays begin."""
    if len(payload) < PREFIX.size:
        raise WireError("too short")
    magic, version, reserved, header_bytes = PREFIX.unpack_from(payload)
    if magic != expected or reserved != 0:
        raise WireError("not the record that was asked for")
    if version != WIRE_VERSION:
        raise WireError(f"version {version}; this program reads version {WIRE_VERSION}")
    end = PREFIX.size + header_bytes
    if header_bytes > MAX_HEADER_BYTES or end > len(payload):
        raise WireError("header longer than allowed")
    return _parse(payload[PREFIX.size : end]), end


def _arrays(
    payload: bytes, start: int, layout: Sequence[_Array], counts: dict[str, int]
) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    for array in layout:
        padded = start + (-start % 8)
        shape = array.shape(counts)
        dtype = np.dtype(array.dtype)
        end = padded + math.prod(shape) * dtype.itemsize
        if end > len(payload) or any(payload[start:padded]):
            raise WireError(f"{array.name} does not fit its counts")
        value = np.frombuffer(payload, dtype, math.prod(shape), padded).reshape(shape).astype(dtype.newbyteorder("="))
        # not (… <= …) is true for NaN too
        bounded = array.smallest > -math.inf or array.largest < math.inf
        if bounded and value.size and not (array.smallest <= value.min() and value.max() <= array.largest):
            raise WireError(f"{array.name} is out of range")
        arrays[array.name] = value
        start = end
    if start != len(payload):
        raise WireError("bytes after the end")
    return arrays


def _probe(fields: object) -> Probe:
    names = (
        *("container", "codec", "width", "height", "frames_per_second", "declared_seconds", "rotation_degrees"),
        *("pixel_format", "video_streams"),
    )
    probe = _only(fields, *names)
    return Probe(
        container=_shown(probe["container"]),
        codec=_shown(probe["codec"]),
        width=_count(probe["width"], 1 << 31),
        height=_count(probe["height"], 1 << 31),
        frames_per_second=_seconds(probe["frames_per_second"]),
        declared_seconds=_seconds(probe["declared_seconds"]),
        rotation_degrees=_whole(probe["rotation_degrees"], 360),
        pixel_format=_shown(probe["pixel_format"]),
        video_streams=_count(probe["video_streams"], 1 << 31),
    )


def _coverage(fields: object, undecoded: npt.NDArray[np.float64]) -> Coverage:
    names = (
        *("declared_seconds", "duration_seconds", "decoded_seconds", "frames", "packet_errors", "corrupt_frames"),
        *("longest_unseen_seconds", "passes", "notes", "left_out"),
    )
    coverage = _only(fields, *names)
    return Coverage(
        declared_seconds=_seconds(coverage["declared_seconds"]),
        duration_seconds=_seconds(coverage["duration_seconds"]),
        decoded_seconds=_seconds(coverage["decoded_seconds"]),
        frames=_count(coverage["frames"], 1 << 53),
        packet_errors=_count(coverage["packet_errors"], 1 << 53),
        corrupt_frames=_count(coverage["corrupt_frames"], 1 << 53),
        undecoded=undecoded,
        longest_unseen_seconds=_seconds(coverage["longest_unseen_seconds"]),
        passes=_texts(coverage["passes"]),
        notes=_texts(coverage["notes"]),
        left_out=_texts(coverage["left_out"]),
    )


# --- plain values -----------------------------------------------------------------------------------------------------


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _parse(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`, which must be spelt as `_canonical` spells it."""

    def refuse(constant: str) -> NoReturn:
        raise WireError(f"{constant} is no number")

    value = json.loads(raw.decode("ascii"), parse_constant=refuse)
    # Also refuses repeated keys, spaces, floats written otherwise.
    if not isinstance(value, dict) or _canonical(value) != raw:
        raise WireError("header is not canonical")
    return value


def _only(value: object, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise WireError("unknown or missing fields")
    return value


def _count(value: object, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise WireError("a count is out of range")
    return value


def _whole(value: object, largest: int) -> int:
    if type(value) is not int or abs(value) > largest:
        raise WireError("a number is out of range")
    return value


def _seconds(value: object) -> float:
    if type(value) is not float or not 0 <= value <= MAX_SECONDS:
        raise WireError("a number of seconds is out of range")
    return value


def _text(text: str) -> str:
    """Return `text` as it may travel; text that people may see already stays as it is."""
    return text if _is_shown(text) else display_text(text, MAX_TEXT)


def _is_shown(text: str) -> bool:
    plain = text.replace("\\", "")  # the mark of an escape
    return len(text) <= MAX_TEXT and display_text(plain) == plain


def _claim(number: float) -> float:
    """Return what a container says, 0.0 (unknown) where it cannot be meant."""
    return float(number) if 0 <= number <= MAX_SECONDS else 0.0


def _shown(value: object) -> str:
    if not isinstance(value, str) or not _is_shown(value):
        raise WireError("a text is missing, too long or holds hidden characters")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise WireError("a list is missing or too long")
    return tuple(_shown(item) for item in value)


def _hex64(value: object) -> str:
    if not isinstance(value, str) or not _HEX64.match(value):
        raise WireError("not a video id")
    return value


# --- errors -----------------------------------------------------------------------------------------------------------

CLASS_OF_REASON: dict[Reason, type[VideoError]] = {
    Reason.NOT_A_VIDEO: UnreadableVideoError,
    Reason.IO_ERROR: UnreadableVideoError,
    Reason.NO_VIDEO_STREAM: NoVideoStreamError,
    Reason.CORRUPT: CorruptVideoError,
    Reason.REFUSED_FORMAT: RefusedVideoError,
    Reason.REFUSED_CODEC: RefusedVideoError,
    Reason.REFUSED_SIZE: RefusedVideoError,
    Reason.MEMORY_LIMIT: LimitExceededError,
    Reason.CPU_LIMIT: LimitExceededError,
    Reason.WALL_LIMIT: LimitExceededError,
    Reason.STALLED: LimitExceededError,
    Reason.CRASHED: VideoError,
}
"""Reasons a decoding process may give, and the error its parent raises for each."""


def encode_error(reason: Reason, detail: str) -> bytes:
    """Return an error as it travels."""
    return _canonical({"reason": str(reason), "detail": display_text(detail, MAX_TEXT)})


def decode_error(payload: bytes, *, name: str) -> VideoError:
    """Return the error in `payload`, for the video shown as `name`. Raises WireError."""
    try:
        fields = _only(_parse(payload), "reason", "detail")
        reason = Reason(fields["reason"])
        return CLASS_OF_REASON[reason](name, _shown(fields["detail"]), reason=reason)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError("not an error report") from error
