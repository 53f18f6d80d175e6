"""The known videos: what the organisation has seen before, stored as signatures, never as pictures."""

from videonovelty.known.manifest import LogEntry
from videonovelty.known.shards import LocalCodes, ShardCodes, ShardRef, VideoIds
from videonovelty.known.snapshot import KnownLocal, Snapshot
from videonovelty.known.staging import KnownEntry
from videonovelty.known.store import KnownStore

__all__ = [
    "KnownEntry",
    "KnownLocal",
    "KnownStore",
    "LocalCodes",
    "LogEntry",
    "ShardCodes",
    "ShardRef",
    "Snapshot",
    "VideoIds",
]
