"""Our own bundle: signatures of known videos for another organisation, without pictures or names of files.

A folder: `manifest.json` names every file with its digest, `manifest.sig` is an Ed25519 signature of the manifest, and
`videos.parquet` has one row a video and scheme, read a few at a time.

The file comes from another organisation and Parquet readers are not made for hostile bytes. So nothing of it is parsed
before its digest is the one of a manifest that bears the signature of a key the curator named (`check`); the manifest
itself is a small JSON text. Whoever takes an unsigned bundle has to say so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from videonovelty.errors import SettingsError
from videonovelty.known.manifest import new_file, now, sync, tool_versions
from videonovelty.known.shards import pack_levels, pack_signs, unpack_levels, unpack_signs
from videonovelty.known.snapshot import KnownLocal, Snapshot
from videonovelty.known.staging import KnownEntry
from videonovelty.records import (
    FINE_CELLS,
    LOCAL_BYTES,
    MOTION_CELLS,
    N_DIHEDRAL,
    PDQ_BYTES,
    KnownFrames,
    KnownVideo,
    ListMembership,
    LocalFeatures,
    MotionProfile,
    Signatures,
)
from videonovelty.schemas import FORMAT_VERSION

KIND = "videonovelty_bundle"
MANIFEST, SIGNATURE, VIDEOS = "manifest.json", "manifest.sig", "videos.parquet"
MAX_MANIFEST = 1 << 20
ROWS_AT_ONCE = 64
ROW = pa.schema(
    [
        ("video_id", pa.binary(32)),
        ("md5", pa.string()),
        ("sha1", pa.string()),
        ("duration_seconds", pa.float64()),
        ("lists", pa.string()),
        ("scheme", pa.string()),
        ("t_ms", pa.list_(pa.int32())),
        ("pdq", pa.binary()),
        ("pdq_inner", pa.binary()),
        ("quality", pa.binary()),
        ("informative", pa.binary()),
        ("step_ms", pa.int32()),
        ("signs", pa.binary()),
        ("fine", pa.binary()),
        ("fine_every", pa.int32()),
        ("levels", pa.binary()),
        ("local_t_ms", pa.list_(pa.int32())),
        ("local_counts", pa.list_(pa.int32())),
        ("local_codes", pa.binary()),
        ("local_xy", pa.binary()),
        ("local_scale", pa.binary()),
        ("local_angle", pa.binary()),
    ]
)
_TOLD = ("series", "category", "victim_identified", "offender_identified", "distributed")


def write(
    snapshot: Snapshot,
    videos: Iterator[tuple[KnownVideo, tuple[ListMembership, ...]]],
    out: Path,
    *,
    sign_key: Path | None,
) -> int:
    """Write the videos' signatures to the new folder `out`; return how many videos. Raises SettingsError."""
    key = _private_key(sign_key) if sign_key is not None else None
    count = 0
    try:
        out.mkdir(mode=0o700)
        with new_file(out / VIDEOS) as file:
            with pq.ParquetWriter(file, ROW, compression="zstd") as writer:
                batch: list[tuple[KnownVideo, tuple[ListMembership, ...]]] = []
                for one in videos:
                    batch.append(one)
                    count += 1
                    if len(batch) >= ROWS_AT_ONCE:
                        writer.write_table(pa.Table.from_pylist(list(_rows(snapshot, batch)), schema=ROW))
                        batch = []
                if batch:
                    writer.write_table(pa.Table.from_pylist(list(_rows(snapshot, batch)), schema=ROW))
            sync(file)
            size = file.tell()
            file.seek(0)
            digest = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
        manifest = {
            "kind": KIND,
            "format_version": FORMAT_VERSION,
            "made_at": now(),
            "versions": tool_versions(),
            "videos": count,
            "schemes": list(snapshot.schemes),
            "files": {VIDEOS: {"sha256": digest, "bytes": size}},
            "public_key": _fingerprint(key.public_key()) if key else None,
        }
        text = json.dumps(manifest, indent=1).encode()
        if key is not None:
            with new_file(out / SIGNATURE) as file:
                file.write(key.sign(text))
        with new_file(out / MANIFEST) as file:
            file.write(text)
            sync(file)
    except FileExistsError:
        raise SettingsError(f"{out}: exists; name a new folder.") from None
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written: {error.strerror}.") from error
    return count


def _rows(
    snapshot: Snapshot, batch: Sequence[tuple[KnownVideo, tuple[ListMembership, ...]]]
) -> Iterator[dict[str, Any]]:
    ids = [video.video_id for video, _ in batch]
    signed: dict[str, list[dict[str, Any]]] = {}
    for scheme in snapshot.schemes:
        frames, motion = snapshot.frames_of(ids, scheme), snapshot.motion_of(ids, scheme)
        local = snapshot.local_of(ids, scheme)
        for video_id in frames.keys() & motion.keys():  # listed frames are others' to share
            signed.setdefault(video_id, []).append(
                _signature_columns(scheme, frames[video_id], motion[video_id], local.get(video_id))
            )
    for video, memberships in batch:
        told = [
            {
                "list": m.list_name,
                "disposition": m.disposition,
                **{name: getattr(m, name) for name in _TOLD},
                "tags": list(m.tags),
            }
            for m in memberships
        ]
        for columns in signed.get(video.video_id, [{}]):
            yield {
                "video_id": bytes.fromhex(video.video_id),
                "md5": video.md5,
                "sha1": video.sha1,
                "duration_seconds": video.duration_seconds,
                "lists": json.dumps(told),
                **columns,
            }


def _signature_columns(
    scheme: str, frames: KnownFrames, motion: MotionProfile, local: KnownLocal | None
) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "scheme": scheme,
        "t_ms": np.round(frames.pts_seconds * 1000).astype(np.int32),
        "pdq": frames.pdq.tobytes(),
        "pdq_inner": frames.pdq_inner.tobytes(),
        "quality": frames.quality.tobytes(),
        "informative": frames.informative.astype(np.uint8).tobytes(),
        "step_ms": round(motion.step_seconds * 1000),
        "signs": pack_signs(motion.signs),
        "fine": pack_signs(motion.fine),
        "fine_every": motion.fine_every,
        "levels": pack_levels(motion.levels),
    }
    if local is not None:
        columns |= {
            "local_t_ms": np.round(local.seconds * 1000).astype(np.int32),
            "local_counts": np.diff(local.features.offsets).astype(np.int32),
            "local_codes": local.features.codes.tobytes(),
            "local_xy": local.features.xy.astype("<u2").tobytes(),
            "local_scale": local.features.scale.tobytes(),
            "local_angle": local.features.angle.tobytes(),
        }
    return columns


def is_bundle(path: Path) -> bool:
    """Tell whether a folder is a bundle."""
    return path.is_dir() and (path / MANIFEST).is_file() and (path / VIDEOS).is_file()


def check(folder: Path, trusted_key: Path | None) -> dict[str, Any]:
    """Return a bundle's manifest once every digest, and with a key its signature, agrees. Raises SettingsError."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            text = file.read(MAX_MANIFEST)
        manifest = json.loads(text)
        if manifest["kind"] != KIND or int(manifest["format_version"]) > FORMAT_VERSION:
            raise SettingsError(f"{folder}: no bundle this version reads (format {manifest.get('format_version')}).")
        if trusted_key is not None:
            _public_key(trusted_key).verify((folder / SIGNATURE).read_bytes()[:256], text)
        with (folder / VIDEOS).open("rb") as file:
            digest = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
        if digest != manifest["files"][VIDEOS]["sha256"]:
            raise SettingsError(f"{folder}: {VIDEOS} is not the file its manifest names: damaged or altered.")
    except InvalidSignature:
        raise SettingsError(f"{folder}: not signed by {trusted_key}: do not use it; ask its sender.") from None
    except FileNotFoundError as error:
        raise SettingsError(f"{folder}: {Path(error.filename).name} is missing.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SettingsError(f"{folder}: {MANIFEST} is damaged: {error}.") from error
    return manifest  # type: ignore[no-any-return]


def entries(folder: Path, *, list_name: str) -> Iterator[KnownEntry]:
    """Yield a checked bundle's videos, their lists below `list_name`. Raises SettingsError where one is damaged."""
    source = folder.name
    try:
        with pq.ParquetFile(folder / VIDEOS) as file:
            if file.schema_arrow.names != ROW.names:
                raise SettingsError(f"{folder}: {VIDEOS} has other columns.")
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.cast(ROW).to_pylist():
                    yield _entry(row, list_name, source)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SettingsError(f"{folder}: {VIDEOS} is damaged: {error}.") from error


def _entry(row: dict[str, Any], list_name: str, source: str) -> KnownEntry:
    from videonovelty.known.formats.reading import answer_of, tags_of, text_of  # noqa: PLC0415

    memberships = tuple(
        ListMembership(
            f"{list_name}/{text_of(told['list']).replace('/', '-')}",
            text_of(told["disposition"]),
            series=text_of(told["series"]),
            category=text_of(told["category"]),
            victim_identified=answer_of(told["victim_identified"]),
            offender_identified=answer_of(told["offender_identified"]),
            distributed=answer_of(told["distributed"]),
            tags=tags_of(told["tags"]),
            source=source,
        )
        for told in json.loads(row["lists"])
    )
    video_id = row["video_id"].hex()
    video = KnownVideo(video_id, float(row["duration_seconds"]), row["md5"] or "", row["sha1"] or "", memberships)
    return KnownEntry(video, _signatures(video_id, row) if row["scheme"] else None)


def _signatures(video_id: str, row: dict[str, Any]) -> Signatures:
    times = np.array(row["t_ms"], np.float64) / 1000.0
    n = len(times)
    pdq, inner = (np.frombuffer(row[name], np.uint8).reshape(n, PDQ_BYTES) for name in ("pdq", "pdq_inner"))
    return Signatures(
        video_id=video_id,
        scheme=row["scheme"],
        pts_seconds=times,
        start_seconds=times,
        end_seconds=np.append(times[1:], times[-1:]),
        pdq=np.repeat(pdq[:, None], N_DIHEDRAL, axis=1),
        pdq_inner=np.repeat(inner[:, None], N_DIHEDRAL, axis=1),
        has_inner=(pdq != inner).any(axis=1),
        quality=np.frombuffer(row["quality"], np.uint8),
        informative=np.frombuffer(row["informative"], np.uint8).astype(np.bool_),
        motion=MotionProfile(
            row["step_ms"] / 1000.0,
            unpack_signs(row["signs"], MOTION_CELLS),
            unpack_signs(row["fine"], FINE_CELLS),
            row["fine_every"],
            levels=unpack_levels(row["levels"]),
        ),
        local=_local(row, times),
    )


def _local(row: dict[str, Any], times: Any) -> LocalFeatures:
    counts = np.zeros(len(times), np.int64)
    if row["local_t_ms"]:
        at = np.searchsorted(np.round(times * 1000), np.array(row["local_t_ms"]))
        counts[at] = row["local_counts"]
    codes = np.frombuffer(row["local_codes"] or b"", np.uint8).reshape(-1, LOCAL_BYTES)
    return LocalFeatures(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        codes=codes,
        mirrored_codes=np.zeros((0, LOCAL_BYTES), np.uint8),
        xy=np.frombuffer(row["local_xy"] or b"", "<u2").reshape(-1, 2).astype(np.uint16),
        scale=np.frombuffer(row["local_scale"] or b"", np.uint8),
        angle=np.frombuffer(row["local_angle"] or b"", np.uint8),
    )


# ---- keys ----


def _private_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path}: no usable private key: {error}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"{path}: not an Ed25519 key; make one with `openssl genpkey -algorithm ed25519`.")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"{path}: no usable public key: {error}.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"{path}: not an Ed25519 public key.")
    return key


def _fingerprint(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()
