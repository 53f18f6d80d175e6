"""The errors of videonovelty, and the reasons a video can end with.

A `VideoError` is about one video: the run records it, flags the video and goes on. Every other error ends the command.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a video has the verdict it has. Values are a contract: they stand in tables, journals and filters."""

    # files that gave no signatures
    NOT_A_VIDEO = "not_a_video"
    NO_VIDEO_STREAM = "no_video_stream"
    CORRUPT = "corrupt"
    REFUSED_FORMAT = "refused_format"
    REFUSED_CODEC = "refused_codec"
    REFUSED_SIZE = "refused_size"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    IO_ERROR = "io_error"
    MEMORY_LIMIT = "memory_limit"
    CPU_LIMIT = "cpu_limit"
    WALL_LIMIT = "wall_limit"
    STALLED = "stalled"
    CRASHED = "crashed"
    PROTOCOL_VIOLATION = "protocol_violation"
    QUARANTINED = "quarantined"
    UNSTABLE = "unstable"
    CHANGED = "changed"
    # judged videos
    SAME_BYTES = "same_bytes"
    SAME_PACKETS = "same_packets"
    PROVEN_BY_TIME = "proven_by_time"
    PARTS_EXPLAINED = "parts_explained"
    PLAYS_INSIDE_FRAME = "plays_inside_frame"
    NOT_PROVEN = "not_proven"
    LISTED_FRAMES = "listed_frames"
    NOTHING_EXPLAINED = "nothing_explained"
    UNINFORMATIVE = "uninformative"
    TOO_SHORT = "too_short"
    PARTLY_DECODED = "partly_decoded"
    HOLDS_MORE = "holds_more"
    UNCLEAR = "unclear"


FAILURES = frozenset(list(Reason)[: list(Reason).index(Reason.SAME_BYTES)])
"""Reasons of files that gave no signatures."""

REASON_TEXT: dict[Reason, str] = {
    Reason.NOT_A_VIDEO: "the bytes are not a video that can be read",
    Reason.NO_VIDEO_STREAM: "the file has no moving picture (sound or attached pictures only)",
    Reason.CORRUPT: "no frame could be decoded",
    Reason.REFUSED_FORMAT: "the container format is not on the list of formats we open",
    Reason.REFUSED_CODEC: "the video codec is not on the list of codecs we open",
    Reason.REFUSED_SIZE: "the picture is larger than the settings allow",
    Reason.NOT_A_REGULAR_FILE: "not a regular file (link, pipe, device or socket)",
    Reason.IO_ERROR: "the file could not be read",
    Reason.MEMORY_LIMIT: "decoding needed more memory than allowed",
    Reason.CPU_LIMIT: "decoding needed more processor time than allowed",
    Reason.WALL_LIMIT: "decoding took longer than allowed",
    Reason.STALLED: "decoding stopped making progress",
    Reason.CRASHED: "the decoder crashed",
    Reason.PROTOCOL_VIOLATION: "the decoding process sent something it should not",
    Reason.QUARANTINED: "an earlier attempt took the machine down, so it is not tried again",
    Reason.UNSTABLE: "the file was still growing",
    Reason.CHANGED: "the file changed while it was read",
    Reason.SAME_BYTES: "the file is byte for byte a known video",
    Reason.SAME_PACKETS: "its coded pictures are, packet for packet, those of known videos",
    Reason.PROVEN_BY_TIME: "every informative second is proven footage of known videos",
    Reason.PARTS_EXPLAINED: "some stretches are proven footage of known videos, the rest is not",
    Reason.PLAYS_INSIDE_FRAME: "known footage plays inside a larger picture, whose rest is not explained",
    Reason.NOT_PROVEN: "looks like a known video, but the same footage could not be proven",
    Reason.LISTED_FRAMES: "looks like frames of an imported list, which hold no movement to prove the same footage by",
    Reason.NOTHING_EXPLAINED: "nothing in it was found among the known videos",
    Reason.UNINFORMATIVE: "blank, dark or featureless pictures throughout: nothing to compare",
    Reason.TOO_SHORT: "too few informative pictures to decide",
    Reason.PARTLY_DECODED: "part of the video could not be decoded, so it was not all looked at",
    Reason.HOLDS_MORE: "the file holds more than the pictures that were looked at",
    Reason.UNCLEAR: "what its pictures show depends on the player, or on when one looks",
}
"""One plain sentence a reason, as people read it in reports and messages."""


class VideoNoveltyError(Exception):
    """Base of every error this package raises on purpose."""


class VideoError(VideoNoveltyError):
    """One video is unusable; the run records it, flags it and goes on.

    `path` is display-safe text (never used to open a file); `reason` is a value of `Reason`.
    """

    reason: Reason = Reason.CORRUPT

    def __init__(self, path: str, detail: str = "", *, reason: Reason | None = None) -> None:
        if reason is not None:
            self.reason = reason
        self.path = path
        self.detail = detail
        text = REASON_TEXT[self.reason]
        super().__init__(f"{path}: {text}" + (f" ({detail})" if detail else ""))


class UnreadableVideoError(VideoError):
    """The file cannot be opened or read, or is not a video."""

    reason = Reason.NOT_A_VIDEO


class NoVideoStreamError(VideoError):
    """The container holds no video stream that is not an attached picture."""

    reason = Reason.NO_VIDEO_STREAM


class CorruptVideoError(VideoError):
    """The container opened, but no frame could be decoded."""

    reason = Reason.CORRUPT


class RefusedVideoError(VideoError):
    """The file is of a kind we do not open: container, codec, picture size or file type."""

    reason = Reason.REFUSED_FORMAT


class LimitExceededError(VideoError):
    """Memory, processor time or wall time ran out for this video."""

    reason = Reason.WALL_LIMIT


class KnownStoreError(VideoNoveltyError):
    """The known store is missing, damaged, of another format, or refuses the operation; the command stops."""


class RunError(VideoNoveltyError):
    """The run folder is of another store, damaged, or not a run folder; the command stops."""


class LockHeldError(VideoNoveltyError):
    """Another process works on the same run folder."""


class EnvironmentUnfitError(VideoNoveltyError):
    """No sandbox, no space, changed signatures: found before any video is opened."""


class SettingsError(VideoNoveltyError):
    """A settings file or option is wrong; names the file and the key."""


EXIT_CODES: dict[type[VideoNoveltyError], int] = {
    SettingsError: 2,
    LockHeldError: 4,
    KnownStoreError: 5,
    RunError: 5,
    EnvironmentUnfitError: 6,
}
"""Exit code of a command ended by each error. 3 (done, some videos flagged) is not an error of the command."""
