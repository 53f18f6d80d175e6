"""How the report holds up with many videos: time to write it, to open it, memory, frame times while scrolling.

    python benchmarks/report.py [ROWS ...] [--out DIR]

Tables are generated (about five stretches a video, a fifth of them in groups, long paths). Times to open are from
navigation to the first rows on screen in headless Chromium; memory is the proportional set size of the page's renderer
process. Prints one JSON line a size.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videonovelty.report.collect import collect
from videonovelty.report.html import write_report
from videonovelty.schemas import GROUPS, SEGMENTS, VERDICTS
from videonovelty.settings import ReportSettings

KINDS = (
    ("same_scene", "not_proven", 3),
    ("novel", "nothing_explained", 25),
    ("partly_known", "parts_explained", 12),
    ("not_comparable", "uninformative", 3),
    ("not_comparable", "corrupt", 2),
    ("known", "proven_by_time", 55),
)


def make_run(folder: Path, rows: int) -> Path:
    """Write a run folder of `rows` videos with a realistic mix of verdicts and return it."""
    draw = random.Random(rows)
    verdicts: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    known_ids = [hashlib.sha256(f"known {n}".encode()).hexdigest() for n in range(rows // 4 + 10)]
    leaders: dict[str, str] = {}
    for n in range(rows):
        key = hashlib.sha256(f"{rows} {n}".encode()).hexdigest()
        verdict, reason, _ = draw.choices(KINDS, [weight for *_, weight in KINDS])[0]
        duration = round(draw.lognormvariate(4, 1.2), 3) if reason != "corrupt" else 0.0
        found = _stretches(draw, key, verdict, duration, known_ids)
        segments += found
        seconds = {kind: sum(s["end_seconds"] - s["start_seconds"] for s in found if s["kind"] == kind) for kind in
                   ("novel", "same_scene", "known", "uninformative")}  # fmt: skip
        hit = next((s for s in found if s["known_video_id"]), {})
        leader = leaders.get(verdict) if draw.random() < 0.2 else None
        if leader is None:
            leaders[verdict] = key
        else:
            groups.append({"group_id": leader[:16], "leader_video_id": leader, "video_id": key,
                           "evidence_video_id": leader, "shared_keyframes": 20, "share_of_keyframes": 0.8,
                           "offset_seconds": 0.0})  # fmt: skip
        path = f"/srv/intake/2026-11-22/case-{n % 97:04d}/device-{n % 7}/camera roll/VID_{n:08d}_{key[:8]}.mp4"
        verdicts.append(
            {
                "video_id": key,
                "path": path,
                "path_raw": path.encode().hex(),
                "verdict": verdict,
                "needs_review": verdict != "known",
                "novelty": 0.5,
                "novel_seconds": seconds["novel"] + seconds["same_scene"],
                "known_seconds": seconds["known"],
                "duration_seconds": duration,
                "decoded_seconds": duration,
                "keyframes": int(duration),
                "uninformative_seconds": seconds["uninformative"],
                "longest_unseen_seconds": 0.5,
                "best_known_id": hit.get("known_video_id"),
                "best_known_list": hit.get("known_list"),
                "best_known_disposition": "abuse" if hit else None,
                "best_known_series": hit.get("known_series"),
                "best_known_victim_identified": hit.get("known_victim_identified"),
                "group_id": (leader or key)[:16],
                "group_leader": leader is None,
                "reason": reason,
                "scheme": "pdq+sift-1",
                "snapshot": 42,
                "sandboxed": True,
            }
        )
    folder.mkdir(parents=True)
    for name, table, schema in (
        ("verdicts", verdicts, VERDICTS),
        ("segments", segments, SEGMENTS),
        ("groups", groups, GROUPS),
    ):
        pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / f"{name}.parquet")
    (folder / "run.json").write_text(json.dumps({"format_version": 1, "run_id": f"bench-{rows}", "status": "done"}))
    return folder


def _stretches(
    draw: random.Random,
    key: str,
    verdict: str,
    duration: float,
    known_ids: list[str],
) -> list[dict[str, Any]]:
    if duration <= 0:
        return []
    kinds = {"known": ["known"], "novel": ["novel", "uninformative"], "same_scene": ["same_scene", "uninformative"],
             "partly_known": ["known", "novel"], "not_comparable": ["uninformative"]}[verdict]  # fmt: skip
    cuts = sorted(draw.uniform(0, duration) for _ in range(draw.randrange(9)))
    edges = [0.0, *cuts, duration]
    found = []
    for n, (start, end) in enumerate(itertools.pairwise(edges)):
        row: dict[str, Any] = dict.fromkeys(SEGMENTS.names)
        kind = kinds[n % len(kinds)]
        row |= {"video_id": key, "start_seconds": start, "end_seconds": end, "kind": kind, "proof": "none", "frames": 0}
        if kind in ("known", "same_scene"):
            number = draw.randrange(len(known_ids))
            row |= {
                "known_video_id": known_ids[number],
                "known_list": f"list {number % 5}",
                "known_series": f"series {number % 40}",
                "known_victim_identified": ("no", "yes", "unknown")[number % 3],
                "known_start_seconds": start,
                "known_end_seconds": end,
                "speed": 1.0,
                "mirrored": False,
                "spatial_share": 1.0,
                "proof": "time" if kind == "known" else "none",
                "frames": 12,
                "median_distance_bits": 9.0,
            }
        found.append(row)
    return found


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used, which other work on the machine does not stretch."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(page_path: Path) -> dict[str, Any]:
    """Open the page in Chromium and return its times (seconds) and memory (bytes)."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        started = time.perf_counter()
        page.goto(page_path.as_uri())
        page.locator("tr.row").first.wait_for()
        opened = time.perf_counter() - started
        renderers = _renderers()
        memory = max(map(pss_bytes, renderers), default=0)
        busy = sum(map(cpu_seconds, renderers))
        inside = page.evaluate(
            "(() => { const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd / 1000; })()"
        )
        frames = page.evaluate(_SCROLL)
        actions = page.evaluate(_ACT)
        after = max(map(pss_bytes, renderers), default=0)
        browser.close()
    frames.sort()
    return {
        "open_seconds": round(opened, 2),
        "open_renderer_cpu_seconds": round(busy, 2),
        "load_event_seconds": round(inside, 2),
        "renderer_mib": round(memory / 2**20),
        "renderer_mib_after_use": round(after / 2**20),
        "scroll_frame_ms_median": round(frames[len(frames) // 2], 1),
        "scroll_frame_ms_p95": round(frames[int(len(frames) * 0.95)], 1),
        **{name: round(ms, 1) for name, ms in actions.items()},
    }


def _renderers() -> list[int]:
    """Return the renderer processes among the descendants of this one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # "pid (name) state parent …": the name may hold anything, so read from its end
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])

    def is_ours(pid: int) -> bool:
        while pid > 1:
            if pid == os.getpid():
                return True
            pid = parents.get(pid, 0)
        return False

    return [pid for pid in parents if is_ours(pid) and _is_renderer(pid)]


def _is_renderer(pid: int) -> bool:
    try:
        return b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


_SCROLL = """() => new Promise((done) => {
  const e = document.getElementById('scroller'); const times = []; let last = performance.now(); let n = 0;
  const step = (now) => {
    times.push(now - last); last = now; e.scrollTop += n % 10 === 9 ? e.scrollHeight / 13 : 400; n += 1;
    if (n < 120) requestAnimationFrame(step); else done(times.slice(1));
  };
  requestAnimationFrame(step);
})"""
_ACT = """() => {
  const time = (act) => { const t = performance.now(); act(); return performance.now() - t; };
  return {
    filter_ms: time(() => filter({verdict: 'novel'})), search_first_ms: time(() => filter({verdict: '', q: 'roll 77'})),
    search_again_ms: time(() => filter({q: 'roll 778'})), clear_ms: time(() => filter({q: ''})),
    sort_ms: time(() => sortBy('view', false)), next_ms: time(() => move(1)),
    decide_ms: time(() => decideCurrent('novel')),
  };
}"""


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=[5_000, 50_000])
    parser.add_argument("--out", type=Path, help="keep the runs here")
    parser.add_argument("--folder", action="store_true", help="details in files beside the page")
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp(prefix="report-bench-"))
    for rows in given.rows:
        run = make_run(out / f"run-{rows}", rows)
        started = time.process_time()
        collect(run)
        collected = time.process_time() - started
        limit = 1_000_000 if given.folder else 1_000_000_000
        path = write_report(run, ReportSettings(max_single_file_bytes=limit))
        written = time.process_time() - started - collected
        line = {
            "rows": rows,
            "collect_cpu_seconds": round(collected, 2),
            "collect_and_write_cpu_seconds": round(written, 2),
            "page_mb": round(path.stat().st_size / 1e6, 1),
            **measure(path),
        }
        print(json.dumps(line), flush=True)
    if given.out is None:
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
