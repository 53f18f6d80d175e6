"""Make run folders with planted tables: what a scan would have written, without a scan."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS


def video_id(name: str) -> str:
    """Return an id that looks like a real one."""
    return hashlib.sha256(name.encode()).hexdigest()


class RunTables:
    """Rows of a run, one content after another; `write` makes the folder."""

    def __init__(self) -> None:
        self.verdicts: list[dict[str, Any]] = []
        self.segments: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []

    def add(self, name: str, verdict: str, reason: str, stretches: Any = (), **facts: Any) -> str:
        """Add a content seen under `paths` (default: one) and return its id.

        `stretches` are (start, end, kind) or (start, end, kind, facts of the known footage).
        """
        key = facts.pop("video_id", video_id(name))
        paths = facts.pop("paths", [f"/intake/2026-11-22/{name}.mp4"])
        rows = []
        for start, end, kind, *more in stretches:
            row = dict.fromkeys(SEGMENTS.names)
            row |= {"video_id": key, "start_seconds": float(start), "end_seconds": float(end), "kind": kind}
            row |= {"proof": "none", "frames": 0, **(more[0] if more else {})}
            rows.append(row)
        self.segments += rows

        def seconds(kind: str) -> float:
            return sum(r["end_seconds"] - r["start_seconds"] for r in rows if r["kind"] == kind)

        duration = facts.get("duration_seconds", max((r["end_seconds"] for r in rows), default=0.0))
        novel, uninformative = seconds("novel") + seconds("same_scene"), seconds("uninformative")
        informative = duration - uninformative - seconds("undecoded")
        hit = next((r for r in rows if r["known_video_id"]), dict.fromkeys(SEGMENTS.names))
        row = {
            "video_id": key,
            "verdict": verdict,
            "needs_review": verdict != "known",
            "novelty": novel / informative if informative > 0 and verdict != "not_comparable" else None,
            "novel_seconds": novel,
            "known_seconds": seconds("known"),
            "duration_seconds": duration,
            "decoded_seconds": duration - seconds("undecoded"),
            "keyframes": int(duration * 1.2) if duration > 0 else 0,
            "uninformative_seconds": uninformative,
            "longest_unseen_seconds": 0.5,
            "best_known_id": hit["known_video_id"],
            "best_known_list": hit["known_list"],
            "best_known_disposition": "abuse" if hit["known_list"] else None,
            "best_known_series": hit["known_series"],
            "best_known_victim_identified": hit["known_victim_identified"],
            "group_id": None,
            "group_leader": True,
            "reason": reason,
            "scheme": "pdq+sift-1",
            "snapshot": 42,
            "sandboxed": True,
            **facts,
        }
        for path in paths:
            raw = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
            shown = raw.decode("utf-8", "backslashreplace")
            self.verdicts.append({**row, "path": shown, "path_raw": base64.b64encode(raw).decode()})
        return key

    def group(self, leader: str, *members: str) -> None:
        """Put contents into one group, every member with an edge to the leader."""
        for row in self.verdicts:
            if row["video_id"] in (leader, *members):
                row |= {"group_id": leader[:16], "group_leader": row["video_id"] == leader}
        for member in members:
            self.groups.append(
                {
                    "group_id": leader[:16],
                    "leader_video_id": leader,
                    "video_id": member,
                    "evidence_video_id": leader,
                    "shared_keyframes": 9,
                    "share_of_keyframes": 0.9,
                    "offset_seconds": 1.5,
                }
            )

    def write(self, run: Path, **facts: Any) -> Path:
        """Write the folder; `facts` replace keys of run.json, None leaves them out."""
        run.mkdir(parents=True, exist_ok=True)
        for name, rows, schema in (
            ("verdicts", self.verdicts, VERDICTS),
            ("segments", self.segments, SEGMENTS),
            ("groups", self.groups, GROUPS),
        ):
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), run / f"{name}.parquet")
        stated = {
            "format_version": 1,
            "run_id": "2026-11-22-night",
            "status": "done",
            "started_at": "2026-11-22T22:00:03Z",
            "finished_at": "2026-11-23T04:41:12Z",
            "settings": {"matching": {"radius_bits": 31, "speeds": [1.0, 0.5]}, "verdict": {"max_unseen_seconds": 2.0}},
            "versions": {"videonovelty": "0.1.0", "av": "18.1.0"},
            "host": {"cpus": 16},
            "store": {"path": "/srv/known", "snapshot": 42},
            "scheme": "pdq+sift-1",
            "sandboxed": True,
            "counts": {},
            "seconds": {},
            "warnings": [],
        } | facts
        (run / "run.json").write_text(json.dumps({k: v for k, v in stated.items() if v is not None}))
        return run


def known(name: str, start: float, end: float, **facts: Any) -> dict[str, Any]:
    """Return the known side of a stretch: which video, its seconds, how it matched."""
    return {
        "known_video_id": video_id(name),
        "known_list": "ICSE baseline",
        "known_series": None,
        "known_victim_identified": "unknown",
        "known_start_seconds": float(start),
        "known_end_seconds": float(end),
        "speed": 1.0,
        "mirrored": False,
        "spatial_share": 1.0,
        "proof": "time",
        "frames": 12,
        "median_distance_bits": 8.0,
        "inliers": None,
        "why_not": None,
        "cover_left": None,
        "cover_top": None,
        "cover_right": None,
        "cover_bottom": None,
        "look_seconds": None,
        **facts,
    }


HOSTILE_NAMES: tuple[bytes, ...] = (
    b"/intake/<img src=x onerror=alert(1)>.mp4",
    b"/intake/</script><script>document.title='owned'</script>.mp4",
    b"/intake/=cmd|'/c calc'!A1.mp4",
    b'=HYPERLINK("http://example.invalid","x").mp4',
    b"-rf.mp4",
    b"@SUM(1+1).mp4",
    b"/intake/new\nline\ttab\x1b[31mred.mp4",
    "/intake/evil\u202egpj.4pm.mp4".encode(),
    b"/intake/not-utf8-\xff\xfe.mp4",
    b"/intake/quote\"'`&amp;.mp4",
    b"/intake/{{ 7*7 }}{% raw %}.mp4",
    "/intake/пример-映像-مثال.mp4".encode(),
    b"/intake/" + b"long" * 60 + b".mp4",
    b"/intake/<!--<script>.mp4",
    b"/intake/ name with trailing space ",
)


def a_night() -> RunTables:
    """Return a small night with every verdict and class of reason, a group, copies and hostile names."""
    t = RunTables()
    t.add("cleared-reencode", "known", "proven_by_time", [(0, 63, "known", known("film", 10, 73))])
    t.add("cleared-bytes", "known", "same_bytes", [(0, 41.5, "known", known("clip", 0, 41.5, proof="bytes"))])
    t.add(
        "other-take-searched",
        "same_scene",
        "not_proven",
        [
            (0, 44, "same_scene", known("blue-1", 3, 47, known_series="Blue room", known_victim_identified="no",
                                        proof="none", median_distance_bits=19.0, frames=31,
                                        why_not="the movements do not agree (0.12 of 0.48 needed)")),
            (44, 48, "uninformative"),
        ],
    )  # fmt: skip
    t.add(
        "spliced-searched",
        "partly_known",
        "parts_explained",
        [
            (0, 20, "known", known("blue-2", 0, 20, known_series="Blue room", known_victim_identified="no")),
            (20, 23, "novel"),
            (23, 60, "known", known("blue-2", 20, 57, known_series="Blue room", known_victim_identified="no")),
        ],
    )
    t.add(
        "other-take-safe",
        "same_scene",
        "not_proven",
        [
            (
                0,
                30,
                "same_scene",
                known("red", 0, 30, known_series="Red sofa", known_victim_identified="yes", proof="none"),
            )
        ],
    )
    leader = t.add("new-long", "novel", "nothing_explained", [(0, 610, "novel")])
    copies = [t.add(f"new-long-copy-{n}", "novel", "nothing_explained", [(0, 600, "novel")]) for n in range(3)]
    t.group(leader, *copies)
    t.add("new-short", "novel", "nothing_explained", [(0, 12, "novel")],
          paths=["/intake/2026-11-22/new-short.mp4", "/intake/2026-11-22/mirror/renamed.mp4"])  # fmt: skip
    t.add(
        "edited-mix",
        "partly_known",
        "parts_explained",
        [
            (0, 2, "uninformative"),
            (2, 31, "known", known("film", 100, 136.25, speed=1.25, mirrored=True, spatial_share=0.62, inliers=41)),
            (31, 52, "novel"),
            (52, 70, "known", known("advert", 0, 18, known_list="NSRL films", known_victim_identified=None)),
            (70, 75, "undecoded"),
            (75, 120, "novel"),
        ],
    )
    t.add(
        "inside-frame",
        "partly_known",
        "plays_inside_frame",
        [(0, 50, "known", known("clip", 5, 55, spatial_share=0.18, inliers=22)), (50, 55, "novel")],
    )
    t.add("black", "not_comparable", "uninformative", [(0, 90, "uninformative")])
    t.add("blink", "not_comparable", "too_short", [(0, 0.4, "uninformative")])
    t.add("half", "not_comparable", "partly_decoded", [(0, 20, "novel"), (20, 61, "undecoded")])
    for n, reason in enumerate(("corrupt", "wall_limit", "refused_codec", "not_a_video")):
        t.add(f"bad-{n}", "not_comparable", reason, keyframes=0)
    t.add("gone", "not_comparable", "io_error", video_id="", keyframes=0)
    t.add("pipe", "not_comparable", "not_a_regular_file", video_id="", keyframes=0)
    for n, name in enumerate(HOSTILE_NAMES):
        t.add(f"hostile-{n}", "novel", "nothing_explained", [(0, 20 + n, "novel")], paths=[name])
    return t
