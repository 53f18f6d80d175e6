"""Arrow schemas of everything that is stored, each with a format version. Column names and types are contracts."""

from __future__ import annotations

import pyarrow as pa

FORMAT_VERSION = 1
"""Version of the run folder's and the known store's files; a newer one is refused, never guessed at."""


def _schema(kind: str, fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind_) for name, kind_ in fields],
        metadata={"videonovelty_kind": kind, "videonovelty_format": str(FORMAT_VERSION)},
    )


_id = pa.binary(32)

# `known_lists`, `best_known_lists`: JSON, what each list says about the known video, the one shown beside it first.
# `known_evidence`: `footage` (our signatures), `frames` (hashes of a list, which prove nothing), `bytes`.

# RUN/verdicts: one row a sighting (a path); copies of one content repeat its verdict.
VERDICTS = _schema(
    "verdicts",
    [
        ("video_id", pa.string()),
        ("path", pa.string()),
        ("path_raw", pa.string()),
        ("verdict", pa.string()),
        ("needs_review", pa.bool_()),
        ("novelty", pa.float64()),
        ("novel_seconds", pa.float64()),
        ("known_seconds", pa.float64()),
        ("duration_seconds", pa.float64()),
        ("decoded_seconds", pa.float64()),
        ("keyframes", pa.int64()),
        ("uninformative_seconds", pa.float64()),
        ("longest_unseen_seconds", pa.float64()),
        ("best_known_id", pa.string()),
        ("best_known_list", pa.string()),
        ("best_known_disposition", pa.string()),
        ("best_known_series", pa.string()),
        ("best_known_victim_identified", pa.string()),
        ("best_known_category", pa.string()),
        ("best_known_offender_identified", pa.string()),
        ("best_known_distributed", pa.string()),
        ("best_known_tags", pa.string()),
        ("best_known_source", pa.string()),
        ("best_known_lists", pa.string()),
        ("group_id", pa.string()),
        ("group_leader", pa.bool_()),
        ("reason", pa.string()),
        ("scheme", pa.string()),
        ("snapshot", pa.int64()),
        ("sandboxed", pa.bool_()),
    ],
)

# RUN/segments: one row a stretch of a content; a content's segments tile [0, duration_seconds).
SEGMENTS = _schema(
    "segments",
    [
        ("video_id", pa.string()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("kind", pa.string()),
        ("known_video_id", pa.string()),
        ("known_list", pa.string()),
        ("known_series", pa.string()),
        ("known_victim_identified", pa.string()),
        ("known_category", pa.string()),
        ("known_offender_identified", pa.string()),
        ("known_distributed", pa.string()),
        ("known_tags", pa.string()),
        ("known_source", pa.string()),
        ("known_lists", pa.string()),
        ("known_evidence", pa.string()),
        ("known_start_seconds", pa.float64()),
        ("known_end_seconds", pa.float64()),
        ("speed", pa.float64()),
        ("mirrored", pa.bool_()),
        ("spatial_share", pa.float64()),
        ("proof", pa.string()),
        ("frames", pa.int64()),
        ("median_distance_bits", pa.float64()),
        ("inliers", pa.int64()),
        ("why_not", pa.string()),
        ("cover_left", pa.float64()),
        ("cover_top", pa.float64()),
        ("cover_right", pa.float64()),
        ("cover_bottom", pa.float64()),
        ("look_seconds", pa.float64()),
    ],
)

# RUN/groups: one row an edge between two contents of the same intake that show the same footage.
GROUPS = _schema(
    "groups",
    [
        ("group_id", pa.string()),
        ("leader_video_id", pa.string()),
        ("video_id", pa.string()),
        ("evidence_video_id", pa.string()),
        ("shared_keyframes", pa.int64()),
        ("share_of_keyframes", pa.float64()),
        ("offset_seconds", pa.float64()),
    ],
)

# RUN/parts/<video_id>.parquet: one row, the whole signature of one content, query side; <video_id>.coded.parquet: the
# digests of its coded packets.
PART = _schema(
    "part",
    [
        ("video_id", pa.string()),
        ("scheme", pa.string()),
        ("header", pa.string()),
        ("payload", pa.large_binary()),
        ("payload_sha256", pa.string()),
    ],
)

# STORE/shards: keyframes of known videos, rows sorted by (video_id, t_ms).
KNOWN_FRAMES = _schema(
    "known_frames",
    [
        ("video_id", _id),
        ("t_ms", pa.int32()),
        ("pdq", pa.binary(32)),
        ("pdq_inner", pa.binary(32)),
        ("quality", pa.uint8()),
        ("informative", pa.bool_()),
    ],
)

# STORE/local: local descriptors of the same keyframes, rows sorted by (video_id, t_ms).
KNOWN_LOCAL = _schema(
    "known_local",
    [
        ("video_id", _id),
        ("t_ms", pa.int32()),
        ("code", pa.binary(8)),
        ("x", pa.uint16()),
        ("y", pa.uint16()),
        ("scale", pa.uint8()),
        ("angle", pa.uint8()),
    ],
)

# STORE/profiles: the motion profile of each known video, rows sorted by video_id.
KNOWN_PROFILES = _schema(
    "known_profiles",
    [
        ("video_id", _id),
        ("step_ms", pa.int32()),
        ("signs", pa.binary()),
        ("fine", pa.binary()),
        ("fine_every", pa.int32()),
        ("levels", pa.binary()),
    ],
)

# STORE/coded: digests of the coded packets of known videos, rows sorted by (video_id, first_packet). A unit (what is
# decoded without anything before it) takes `rows` rows, the first of which says so; the others say 0.
KNOWN_CODED = _schema(
    "known_coded",
    [
        ("video_id", _id),
        ("first_packet", pa.int32()),
        ("rows", pa.int32()),
        ("digests", pa.binary()),
        ("t_ms", pa.binary()),
    ],
)

# STORE/videos: one row a (video, list) pair; a video on two lists has two rows.
KNOWN_VIDEOS = _schema(
    "known_videos",
    [
        ("video_id", _id),
        ("md5", pa.binary(16)),
        ("sha1", pa.binary(20)),
        ("duration_seconds", pa.float64()),
        ("list", pa.string()),
        ("disposition", pa.string()),
        ("series", pa.string()),
        ("category", pa.string()),
        ("victim_identified", pa.string()),
        ("offender_identified", pa.string()),
        ("distributed", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("source", pa.string()),
        ("added_in_snapshot", pa.int64()),
    ],
)

# STORE/decisions: what analysts decided about contents, in the order it was recorded; a later row overrides an earlier.
DECISIONS = _schema(
    "decisions",
    [
        ("entry", pa.string()),
        ("analyst", pa.string()),
        ("decision", pa.string()),
        ("known_video_id", pa.string()),
        ("stands_for", pa.list_(pa.string())),
        ("disposition", pa.string()),
        ("note", pa.string()),
        ("decided_at", pa.string()),
        ("run_id", pa.string()),
        ("run_snapshot", pa.int64()),
        ("verdict", pa.string()),
        ("recorded_at", pa.string()),
        ("recorded_by", pa.string()),
    ],
)
