"""Export what is known in the forms other tools and organisations read; of a run, what analysts' tools take up."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from videonovelty.errors import SettingsError
from videonovelty.known.formats import digests, pdq, vics
from videonovelty.known.listed import LISTED_SCHEMES
from videonovelty.known.manifest import new_file
from videonovelty.known.snapshot import Snapshot
from videonovelty.records import KnownVideo, ListMembership
from videonovelty.report.exports import defused, write_atomically
from videonovelty.report.legible import legible

CSV_COLUMNS = (
    "sha256", "md5", "sha1", "list", "disposition", "series", "category", "victim_identified", "offender_identified",
    "distributed", "tags", "duration_seconds", "source",
)  # fmt: skip
EXPORTS = ("md5", "sha1", "sha256", "csv", "vics", "pdq", "vpdq", "vpdq-json", "bundle")
_VIDEOS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which memberships are exported."""

    lists: frozenset[str] = frozenset()
    """Empty: all; a name stands for its feed's members too."""
    dispositions: frozenset[str] = frozenset()

    def of(self, video: KnownVideo) -> tuple[ListMembership, ...]:
        """Return the memberships of a video that are exported."""
        return tuple(
            m
            for m in video.memberships
            if (not self.lists or m.list_name in self.lists or m.list_name.partition("/")[0] in self.lists)
            and (not self.dispositions or m.disposition in self.dispositions)
        )


@dataclass(slots=True)
class ExportResult:
    """What an export came to."""

    written: int = 0
    """Lines, media or videos."""
    left_out: int = 0
    """Chosen videos that have not what the format holds."""


def export_known(
    snapshot: Snapshot, name: str, out: Path, *, chosen: Chosen, country: str = "US", numbers: Mapping[str, str]
) -> ExportResult:
    """Write what is chosen of a snapshot to `out`, a new file, or for vPDQ a new folder with a file a video.

    `numbers`: the VICS category of each disposition. Files are 0600, written whole or not at all. Raises SettingsError.
    """
    result = ExportResult()
    if name in ("vpdq", "vpdq-json"):
        _vpdq_folder(snapshot, name, out, chosen, result)
        return result
    pieces: Iterator[bytes]
    if name in ("md5", "sha1", "sha256"):
        pieces = digests.lines_of(_digests(snapshot, name, chosen, result))
    elif name == "csv":
        pieces = _csv(snapshot, chosen, result)
    elif name == "vics":
        pieces = vics.document(_media(snapshot, chosen, numbers, result), country=country)
    elif name == "pdq":
        pieces = _pdq_lines(snapshot, chosen, result)
    else:
        raise SettingsError(f"--format {name}: one of {', '.join(EXPORTS)}.")
    write_pieces(out, pieces)
    return result


def write_pieces(out: Path, pieces: Iterable[bytes]) -> None:
    """Write pieces to a file that must not be there yet. Raises SettingsError where it cannot be written."""
    if out.exists() or out.is_symlink():
        raise SettingsError(f"{out}: exists; name a new file.")

    def write(file: IO[bytes]) -> None:
        for piece in pieces:
            file.write(piece)

    try:
        write_atomically(out, write)
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written: {error.strerror}.") from error


def chosen_videos(snapshot: Snapshot, chosen: Chosen) -> Iterator[tuple[KnownVideo, tuple[ListMembership, ...]]]:
    """Yield the videos with a chosen membership, in the order of ids."""
    for video in snapshot.videos():
        memberships = chosen.of(video)
        if memberships:
            yield video, memberships


def sha256_of(video: KnownVideo) -> str:
    """Return a video's SHA-256, empty where its id was derived from what a list gave."""
    from videonovelty.known.listed import ListedItem, content_id  # noqa: PLC0415

    derived = {content_id(ListedItem(0, sha1=video.sha1))} if video.sha1 else set()
    if video.md5:
        derived.add(content_id(ListedItem(0, md5=video.md5)))
    return "" if video.video_id in derived else video.video_id


def _digests(snapshot: Snapshot, kind: str, chosen: Chosen, result: ExportResult) -> Iterator[str]:
    frames_only = _frames_only(snapshot) if kind == "sha256" else _never
    for video, _ in chosen_videos(snapshot, chosen):
        value = {"md5": video.md5, "sha1": video.sha1}.get(kind, "") if kind != "sha256" else sha256_of(video)
        if not value or frames_only(video):
            result.left_out += 1
        else:
            result.written += 1
            yield value


def _never(video: KnownVideo) -> bool:
    del video
    return False


def _frames_only(snapshot: Snapshot) -> Callable[[KnownVideo], bool]:
    """Return what tells a video that is known by listed frames alone, whose id is no SHA-256."""

    def tell(video: KnownVideo) -> bool:
        if video.md5 or video.sha1:
            return False
        return any(snapshot.stored("frames", [video.video_id], scheme) for scheme in LISTED_SCHEMES)

    return tell


def _csv(snapshot: Snapshot, chosen: Chosen, result: ExportResult) -> Iterator[bytes]:
    frames_only = _frames_only(snapshot)
    yield csv_line(CSV_COLUMNS)
    for video, memberships in chosen_videos(snapshot, chosen):
        known_sha256 = "" if frames_only(video) else sha256_of(video)
        if not (known_sha256 or video.md5 or video.sha1):
            result.left_out += 1
            continue
        for m in memberships:
            result.written += 1
            yield csv_line(
                (
                    known_sha256, video.md5, video.sha1, m.list_name, m.disposition, m.series, m.category,
                    m.victim_identified, m.offender_identified, m.distributed, ";".join(m.tags),
                    f"{video.duration_seconds:.3f}" if video.duration_seconds else "", m.source.partition(" @")[0],
                )
            )  # fmt: skip


def csv_line(values: Sequence[str]) -> bytes:
    """Return a line of CSV no spreadsheet takes for formulas."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([defused(legible(value)) for value in values])
    return text.getvalue().encode("utf-8", "replace")


def category_number(text: str, disposition: str, numbers: Mapping[str, str]) -> int:
    """Return the VICS category number of a membership: the one its list gave, else that of its disposition."""
    parts = text.split()
    stated = next((part for part in parts[:2] if part.isdigit() and len(part) < 4), numbers.get(disposition, "0"))
    return int(stated)


def yes_no(answer: str) -> bool | None:
    """Return a list's answer as VICS has it."""
    return {"yes": True, "no": False}.get(answer)


def media_item(number: int, md5: str, sha1: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a VICS media item; what is not known is left out."""
    item = {"MediaID": number, "MD5": md5.upper() or None, "SHA1": sha1.upper() or None, **facts}
    return {name: value for name, value in item.items() if value is not None and value != ""}


def _media(
    snapshot: Snapshot, chosen: Chosen, numbers: Mapping[str, str], result: ExportResult
) -> Iterator[dict[str, Any]]:
    for video, memberships in chosen_videos(snapshot, chosen):
        if not (video.md5 or video.sha1):
            result.left_out += 1
            continue
        first = min(memberships, key=lambda m: ({"abuse": 0, "other": 1}.get(m.disposition, 2), m.list_name))
        tags = dict.fromkeys([*(tag for m in memberships for tag in m.tags), *(m.list_name for m in memberships)])
        result.written += 1
        yield media_item(
            result.written,
            video.md5,
            video.sha1,
            {
                "Category": category_number(first.category, first.disposition, numbers),
                "VictimIdentified": yes_no(first.victim_identified),
                "OffenderIdentified": yes_no(first.offender_identified),
                "IsDistributed": yes_no(first.distributed),
                "Series": first.series,
                "IsPrecategorized": True,
                "Tags": ",".join(tag.replace(",", " ") for tag in tags),
            },
        )


def _frames_of_chosen(snapshot: Snapshot, chosen: Chosen, result: ExportResult) -> Iterator[Any]:
    schemes = [name for name in snapshot.schemes if name not in LISTED_SCHEMES] + list(LISTED_SCHEMES)

    def found(batch: list[str]) -> Iterator[Any]:
        frames: dict[str, Any] = {}
        for scheme in schemes:
            frames = {**snapshot.frames_of([v for v in batch if v not in frames], scheme), **frames}
        for video_id in batch:
            if video_id in frames:
                result.written += 1
                yield frames[video_id]
            else:
                result.left_out += 1

    batch: list[str] = []
    for video, _ in chosen_videos(snapshot, chosen):
        batch.append(video.video_id)
        if len(batch) >= _VIDEOS_AT_ONCE:
            yield from found(batch)
            batch = []
    yield from found(batch)


def _pdq_lines(snapshot: Snapshot, chosen: Chosen, result: ExportResult) -> Iterator[bytes]:
    for frames in _frames_of_chosen(snapshot, chosen, result):
        for code, quality in zip(frames.pdq, frames.quality, strict=True):
            yield f"{code.tobytes().hex()},{int(quality)}\n".encode()


def _vpdq_folder(snapshot: Snapshot, name: str, out: Path, chosen: Chosen, result: ExportResult) -> None:
    suffix = "json" if name == "vpdq-json" else "txt"
    try:
        out.mkdir(mode=0o700)
        for frames in _frames_of_chosen(snapshot, chosen, result):
            with new_file(out / f"{frames.video_id}.vpdq.{suffix}") as file:
                pieces = [pdq.json_text(frames)] if suffix == "json" else pdq.text_lines(frames)
                for piece in pieces:
                    file.write(piece)
    except FileExistsError:
        raise SettingsError(f"{out}: exists; name a new folder.") from None
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written: {error.strerror}.") from error
