"""`compare`, `inspect` and `doctor`: one video or one machine looked at closely."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from videonovelty.cli.console import duration, output, print_json, say
from videonovelty.cli.scanning import Config, Json, Unsandboxed, load


def _sign(path: Path, settings: Any) -> Any:
    from videonovelty.intake import display_path, hash_content, opened
    from videonovelty.sandbox import Sandbox

    raw = str(path).encode("utf-8", "surrogateescape")
    with Sandbox(settings) as sandbox, opened(raw) as fd:
        hashes = hash_content(fd)
        return sandbox.sign(fd, video_id=hashes.video_id, name=display_path(raw))


def _sign_and_code(path: Path, settings: Any) -> tuple[Any, Any]:
    """Return what a video is signed as, and its coded packets; None where these cannot be read."""
    from videonovelty.errors import VideoError
    from videonovelty.intake import display_path, hash_content, opened
    from videonovelty.sandbox import Sandbox

    raw = str(path).encode("utf-8", "surrogateescape")
    with Sandbox(settings) as sandbox, opened(raw) as fd:
        video_id = hash_content(fd).video_id
        signed = sandbox.sign(fd, video_id=video_id, name=display_path(raw))
        try:
            return signed, sandbox.code(fd, video_id=video_id, name=display_path(raw))
        except VideoError:
            return signed, None


def _packets(coded: Any) -> dict[str, Any]:
    """Return what the coded packets of a video say: how far apart decoding can begin afresh, or why they say nothing.

    Between two fresh starts lie as many seconds as nobody would look at who looked at I frames alone.
    """
    import numpy as np

    if coded is None or coded.doubt:
        return {"name": "packets", "doubt": "they cannot be read" if coded is None else coded.doubt}
    gaps = np.diff([*coded.pts_seconds[coded.starts].tolist(), coded.duration_seconds])
    return {
        "name": "packets",
        "doubt": "",
        "cpu_seconds": round(coded.cpu_seconds, 3),
        "packets": len(coded.digests),
        "fresh_starts": int(coded.starts.sum()),
        "median_gap_seconds": round(float(np.median(gaps)), 3),
        "longest_gap_seconds": round(float(gaps.max()), 3),
    }


def compare(
    query: Annotated[Path, typer.Argument(help="The video in question.")],
    known: Annotated[Path, typer.Argument(help="The video it may show.")],
    config: Config = None,
    allow_unsandboxed: Unsandboxed = False,
    as_json: Json = False,
) -> None:
    """Show which stretches of one video another one explains, with the evidence, and why not where it does not.

    Example: [bold]videonovelty compare new.mp4 known.mp4[/bold]
    """
    from videonovelty.comparing import compared

    settings = load(config, None, allow_unsandboxed)
    stretches, verdict = compared(_sign(query, settings), _sign(known, settings), settings)
    rows: list[dict[str, Any]] = [
        {
            "start_seconds": round(s.start_seconds, 3),
            "end_seconds": round(s.end_seconds, 3),
            "known_start_seconds": round(known_start, 3),
            "known_end_seconds": round(known_end, 3),
            "speed": s.line.speed,
            "offset_seconds": round(s.line.offset_seconds, 3),
            "mirrored": s.mirrored,
            "same_footage": s.proof.proven,
            "why_not": s.proof.why_not,
            "agreement": round(s.proof.agreement, 3),
            "changes": round(s.proof.events),
            "runner_up": round(s.proof.runner_up, 3),
            "keyframes": s.frames,
            "median_distance_bits": s.median_distance_bits,
            "spatial_share": s.spatial_share,
            "inliers": s.inliers,
            "cover": None if s.cover is None else [round(edge, 4) for edge in s.cover.box],
            "cover_is_still": None if s.cover is None else s.cover.still,
            "nothing_moves": s.still,
        }
        for s in stretches
        for known_start, known_end in [s.known_times(s.start_seconds, s.end_seconds)]
    ]
    if as_json:
        print_json(
            {"verdict": verdict.verdict, "reason": verdict.reason, "novelty": verdict.novelty, "stretches": rows}
        )
        return
    for row in rows:
        proof = "same footage" if row["same_footage"] else f"not proven: {row['why_not']}"
        output.print(
            f"{row['start_seconds']:.2f}–{row['end_seconds']:.2f} s shows {row['known_start_seconds']:.2f}–"
            f"{row['known_end_seconds']:.2f} s{' backwards' if row['speed'] < 0 else ''} at speed {abs(row['speed']):g}"
            f"{', mirrored' if row['mirrored'] else ''}: {proof}\n"
            f"    {_movement(row)}; {row['keyframes']} keyframes, {_likeness(row)}{_cover(row)}",
            markup=False,
        )
    if not rows:
        output.print("nothing of the first is found in the second")
    output.print(f"verdict if only the second were known: {verdict.verdict} ({verdict.reason})", markup=False)


def _movement(row: Mapping[str, Any]) -> str:
    from videonovelty.records import COLOURS_INVERTED, PLAYS_IN_A_PART

    if row["why_not"] in (COLOURS_INVERTED, PLAYS_IN_A_PART):
        return "movement not compared"
    return (
        f"movement agrees {row['agreement']:.2f} over {row['changes']} changes, "
        f"at best {row['runner_up']:.2f} at other moments"
    )


def _cover(row: Mapping[str, Any]) -> str:
    if row["cover"] is None:
        return "\n    nothing moves in it: one picture shows all of it" if row["nothing_moves"] else ""
    left, top, right, bottom = (f"{edge:.0%}" for edge in row["cover"])
    moves = "does not move: one picture shows it" if row["cover_is_still"] else "may move"
    return f"\n    what covers it lies from {left} to {right} across and {top} to {bottom} down, and {moves}"


def _likeness(row: Mapping[str, Any]) -> str:
    if row["inliers"] is not None:
        return f"{row['inliers']} places agree in the median, {row['spatial_share']:.0%} of the picture"
    within = "" if row["spatial_share"] >= 1.0 else f", in {row['spatial_share']:.0%} of the picture"
    return f"{row['median_distance_bits']:.0f} of 256 bits apart in the median{within}"


def inspect(
    video: Annotated[Path, typer.Argument(help="One video.")],
    config: Config = None,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(
            "--contact-sheet", metavar="FILE.png", help="Also write up to eight small, grey, blurred pictures."
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Do not blur the pictures of the contact sheet.")] = False,
    allow_unsandboxed: Unsandboxed = False,
    as_json: Json = False,
) -> None:
    """Show what is seen of one video: streams, passes and their cost, gaps, keyframes, quality of their signatures.

    Example: [bold]videonovelty inspect clip.mp4 --json[/bold]
    """
    from dataclasses import asdict

    from videonovelty.intake import display_path
    from videonovelty.records import PANE_FULL
    from videonovelty.signatures.pdq import to_hex

    settings = load(config, None, allow_unsandboxed)
    signed, coded = _sign_and_code(video, settings)
    packets = _packets(coded)
    signatures, coverage = signed.signatures, signed.coverage
    local = signatures.local.offsets
    panes = signatures.panes
    keyframes = [
        {
            "pts_seconds": round(float(signatures.pts_seconds[i]), 6),
            "start_seconds": round(float(signatures.start_seconds[i]), 6),
            "end_seconds": round(float(signatures.end_seconds[i]), 6),
            "quality": int(signatures.quality[i]),
            "informative": bool(signatures.informative[i]),
            "pdq": to_hex(signatures.pdq[i, 0]),
            "pdq_inner": to_hex(signatures.pdq_inner[i, 0]) if signatures.has_inner[i] else None,
            "local": int(local[i + 1] - local[i]),
            "panes": (panes.box[panes.keyframe == i] / PANE_FULL).round(4).tolist(),
        }
        for i in range(len(signatures.pts_seconds))
    ]
    document = {
        "path": display_path(str(video).encode("utf-8", "surrogateescape")),
        "video_id": signatures.video_id,
        "scheme": signatures.scheme,
        "streams": [asdict(signed.probe)],
        "passes": [
            packets,
            {
                "name": " + ".join(coverage.passes),
                "cpu_seconds": round(signed.cpu_seconds, 3),
                "frames": coverage.frames,
            },
        ],
        "cpu_seconds": round(signed.cpu_seconds, 3),
        "duration_seconds": round(coverage.duration_seconds, 3),
        "decoded_seconds": round(coverage.decoded_seconds, 3),
        "undecoded": coverage.undecoded.tolist(),
        "longest_unseen_seconds": round(coverage.longest_unseen_seconds, 3),
        "packet_errors": coverage.packet_errors,
        "corrupt_frames": coverage.corrupt_frames,
        "notes": list(coverage.notes),
        "left_out": list(coverage.left_out),
        "keyframes": keyframes,
    }
    if contact_sheet is not None:
        from videonovelty.thumbnails import write_contact_sheet

        times = write_contact_sheet(video, contact_sheet, settings=settings, clear=clear)
        document["contact_sheet"] = [round(seconds, 3) for seconds in times]
    if as_json:
        print_json(document)
        return
    probe = signed.probe
    output.print(f"{document['path']}\n  id {signatures.video_id}", markup=False)
    output.print(
        f"  {probe.container}, {probe.codec}, {probe.width}×{probe.height}, {probe.frames_per_second:g} frames/s, "
        f"{probe.video_streams} video stream(s)\n"
        f"  {duration(coverage.duration_seconds)}, {duration(coverage.decoded_seconds)} decoded in passes "
        f"{', '.join(coverage.passes)}, {coverage.packet_errors} bad packets, longest unseen "
        f"{coverage.longest_unseen_seconds:.2f} s, {signed.cpu_seconds:.2f} s of processor time",
        markup=False,
    )
    if packets["doubt"]:
        output.print(f"  packets prove nothing: {packets['doubt']}", markup=False)
    else:
        output.print(
            f"  {packets['packets']} packets, read in {packets['cpu_seconds']:.3f} s of processor time; decoding can "
            f"begin at {packets['fresh_starts']} of them, {packets['median_gap_seconds']:.2f} s apart in the median, "
            f"{packets['longest_gap_seconds']:.2f} s at most",
            markup=False,
        )
    for note in coverage.notes:
        output.print(f"  note: {note}", markup=False)
    for what in coverage.left_out:
        output.print(f"  not looked at: {what}", markup=False)
    for row in keyframes:
        mark = "" if row["informative"] else "  uninformative"
        for left, top, right, bottom in row["panes"]:
            mark += f"  pane {right - left:.0%} × {bottom - top:.0%} at {left:.0%}, {top:.0%}"
        output.print(
            f"  {row['pts_seconds']:9.3f} s  [{row['start_seconds']:.2f}, {row['end_seconds']:.2f})"
            f"  quality {row['quality']:3d}  {str(row['pdq'])[:16]}…  {row['local']:3d} local{mark}",
            markup=False,
        )


def doctor(
    store: Annotated[Path | None, typer.Option("--store", help="Check that this store can be read.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check that this machine can run a night safely; exit code 6 when it cannot.

    Example: [bold]videonovelty doctor --store /srv/known[/bold]
    """
    from dataclasses import asdict

    from videonovelty.doctor import run_checks

    checks = run_checks(store, load(config, None, False))
    failed = [check for check in checks if check.status == "fail"]
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        marks = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}
        for check in checks:
            output.print(f"{marks[check.status]} {check.name}: {check.detail}", markup=False)
            if check.next_step:
                output.print(f"       → {check.next_step}", markup=False)
    if failed:
        say(f"{len(failed)} check(s) failed")
        raise typer.Exit(6)
