"""Why a content has its verdict, in plain sentences with the numbers they rest on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from videonovelty.errors import FAILURES, Reason
from videonovelty.records import (
    COLOURS_INVERTED,
    DONE_AGAIN,
    HOLDS_BESIDES,
    IN_A_PART,
    NOTHING_MOVES,
    OTHER_DETAILS,
    PART_DETAILS,
    PLAYS_IN_A_PART,
    TOO_FAINT,
)
from videonovelty.report.collect import Entry, Stretch, reason_text
from videonovelty.report.legible import clock, spoken

SHORTEST = 0.1
"""Seconds below which a novel stretch beside one of the same scene is rounding, not worth a sentence."""
LARGE_PART = 0.5
"""Share of the picture from which known footage is what the video shows, not something that plays in it."""
SHOWN = 4
"""Stretches or videos named in one sentence; the table beside it has all."""

_NEXT_STEP: dict[str, str] = {
    Reason.UNSTABLE: "Scan again when the copying has finished.",
    Reason.CHANGED: "Scan again when nothing writes to it any more.",
    Reason.IO_ERROR: "Check the disk and the permissions, then scan again with --retry-failed.",
    Reason.REFUSED_FORMAT: "If this format is expected, add it to [decode] formats and scan again with --retry-failed.",
    Reason.REFUSED_CODEC: "If this codec is expected, add it to [decode] codecs and scan again with --retry-failed.",
    Reason.REFUSED_SIZE: "If pictures this large are expected, raise [decode] max_pixels and scan again.",
    Reason.MEMORY_LIMIT: "Raise [sandbox] memory_bytes and scan again with --retry-failed, or look at it by hand.",
    Reason.CPU_LIMIT: "Raise [sandbox] cpu_seconds_base and scan again with --retry-failed, or look at it by hand.",
    Reason.WALL_LIMIT: "Raise [sandbox] wall_seconds_base and scan again with --retry-failed, or look at it by hand.",
    Reason.NOT_A_REGULAR_FILE: "It was not opened. Check how it came into the intake.",
}
_BY_HAND = "Nobody has seen what is in it: look at it by hand, on a machine set apart for that."


def why(entry: Entry) -> list[str]:
    """Return the sentences that explain the verdict of `entry`, the deciding one first."""
    if entry.reason in FAILURES:
        return [
            f"It could not be compared: {reason_text(entry.reason)}.",
            _NEXT_STEP.get(entry.reason, _BY_HAND),
        ]
    if entry.reason == Reason.SAME_BYTES:
        return [
            f"The file is byte for byte {_known(entry.best_known_id, entry.best_known_list, entry.best_known_series)}.",
            "Its checksum alone settles this; nothing had to be decoded.",
            *_decided(entry),
            *_lists(entry),
        ]
    if entry.reason == Reason.SAME_PACKETS:
        return [
            "Every coded picture of it is, packet for packet, one of "
            f"{_known(entry.best_known_id, entry.best_known_list, entry.best_known_series)}"
            + (", or of other known videos." if len({s.known_video_id for s in entry.stretches}) > 1 else "."),
            "It was put into another container, cut or joined without being encoded again; nothing had to be decoded.",
            *_decided(entry),
            *_lists(entry),
        ]
    sentences = list(_deciding(entry))
    sentences += _decided(entry)
    sentences += _still_searched(entry)
    sentences += _lists(entry)
    sentences += _looked_at(entry)
    return sentences


def _deciding(entry: Entry) -> Iterable[str]:
    return _BY_VERDICT[entry.verdict](entry)


def _of(entry: Entry, kind: str) -> list[Stretch]:
    return [s for s in entry.stretches if s.kind == kind]


def _faint(entry: Entry) -> list[Stretch]:
    """Return what nobody could compare with anything."""
    return [s for s in _of(entry, "novel") if s.why_not == TOO_FAINT]


def _comparable(entry: Entry) -> list[Stretch]:
    """Return what was compared and is in no known video."""
    return [s for s in _of(entry, "novel") if s.why_not != TOO_FAINT]


def _why_known(entry: Entry) -> Iterable[str]:
    known = _of(entry, "known")
    informative = max(0.0, entry.duration_seconds - entry.uninformative_seconds)
    yield f"All {spoken(informative)} that can be compared are proven footage of {_videos(known)}."
    yield "Proven means: what moves in it moves at the same moments as in the known footage. Nobody need view it."
    yield from _evidence(known)


def _why_partly_known(entry: Entry) -> Iterable[str]:
    known, alike = _of(entry, "known"), _of(entry, "same_scene")
    novel = [s for s in _comparable(entry) if s.seconds >= SHORTEST or not alike]
    inside = entry.reason == Reason.PLAYS_INSIDE_FRAME
    if inside:
        yield f"Known footage plays inside a larger picture{_smallest_share(known)}: the rest is not explained."
    yield f"{spoken(entry.known_seconds)} are proven footage of {_videos(known)}."
    if novel:
        # what looks like known footage counts as novel too, and is told apart here
        share = "" if alike or _faint(entry) else _share(entry)
        yield f"{spoken(math.fsum(s.seconds for s in novel))}{share} are in no known video: {_times(novel)}."
    if alike:
        yield f"Looks like known footage, but is not proven to be: {_times(alike)}."
        yield from _doubts(alike)
    if inside or any(not s.explained for s in known):
        yield "Look also where the known footage plays: it does not fill the picture."
    elif novel or alike:
        yield f"Start viewing at {clock(min(s.start_seconds for s in (*novel, *alike)))}."
    yield from _evidence(known)


def _why_same_scene(entry: Entry) -> Iterable[str]:
    alike, known = _of(entry, "same_scene"), _of(entry, "known")
    around = [s for s in alike if s.why_not == PLAYS_IN_A_PART]
    if not known and around and all(s in around or _in_a_part(s) for s in alike):
        yield f"{_capital(_videos(alike))} seems to play in a part of the picture{_smallest_share(alike)}."
        yield from _evidence(alike)
        yield f"What is around it nobody has compared. It plays at {_times(alike)}."
        return
    if alike and not known and all(s.why_not in IN_A_PART and s.look_seconds is not None for s in alike):
        yield f"All but a part of its picture is footage of {_videos(alike, entry)}."
    else:
        yield f"It looks like {_videos(alike, entry)}, but could not be proven to be the same footage."
    yield from _evidence(alike)
    if entry.reason == Reason.LISTED_FRAMES:
        yield (
            "The list brought hashes of single frames and no movement, so nothing can be proven by time: it may be a "
            "copy, or another take of the scene."
        )
        return
    yield from _doubts(alike)
    if alike and all(s.why_not == COLOURS_INVERTED for s in alike):
        yield "Its pictures are the negatives of known ones. Look at what may be put over them."
    elif alike and all(s.why_not == NOTHING_MOVES for s in alike):
        yield "Another take of the same scene, in which nothing happens, would look like this as well."
    elif any(s.why_not == DONE_AGAIN for s in alike):
        yield (
            "What is done in it was done in the known video as well, at the same moments: a dance danced once more "
            "before the same camera looks like this, so it is likely new material."
        )
    elif any(s.why_not == OTHER_DETAILS for s in alike):
        yield (
            "What is drawn, filtered or generated over known footage looks like this: the same shapes in the same "
            "light, and something else to be seen. It is likely new material."
        )
    elif not alike or any(s.why_not not in IN_A_PART and s not in around for s in alike):
        yield (
            "In a true copy everything moves at the same moments as in the original; here it does not, or too little "
            "moves to tell. Another take in the same room looks like this, so it is likely new material."
        )
    if known:
        yield f"{spoken(entry.known_seconds)} of it are proven footage of {_videos(known)}."


def _in_a_part(stretch: Stretch) -> bool:
    return stretch.spatial_share is not None and stretch.spatial_share < LARGE_PART


def _doubts(alike: Sequence[Stretch]) -> Iterable[str]:
    """Yield what stood against a proof, each reason once with its times."""
    by_reason: dict[str, list[Stretch]] = {}
    for s in alike:
        if s.why_not:
            by_reason.setdefault(s.why_not, []).append(s)
    for reason, stretches in list(by_reason.items())[:SHOWN]:
        yield f"Not proven, because {reason}: {_times(stretches)}."
    still = by_reason.get(NOTHING_MOVES, [])
    if still:
        yield _where_to_look(still, "all of it")
    in_a_part = [s for reason in by_reason if reason in IN_A_PART for s in by_reason[reason]]
    looks = [s for s in in_a_part if s.look_seconds is not None]
    if looks:
        yield (
            "What is put over it, or stands around it, does not move, and the rest of the picture is as in the known "
            f"footage: {_times(looks)}. {_where_to_look(looks, 'it')}"
        )
    if PART_DETAILS in by_reason:
        yield "A face put in another's place looks like this, and so does what moves about over the picture."
    if len(looks) < len(in_a_part):
        yield "The rest of the picture is as in the known footage. Look at what is put over it, or plays in it."


def _where_to_look(stretches: Sequence[Stretch], what: str) -> str:
    at = ", ".join(clock(s.look_seconds or 0.0) for s in stretches[:SHOWN])
    return f"{'One picture shows' if len(stretches) == 1 else 'One picture of each shows'} {what}: look at {at}."


def _why_novel(entry: Entry) -> Iterable[str]:
    taken = "The one picture" if entry.keyframes == 1 else f"None of the {entry.keyframes:,} pictures"
    shows = "shows no" if entry.keyframes == 1 else "shows"
    yield f"{taken} compared (keyframes) {shows} footage of a known video{_as_of(entry)}."
    if _comparable(entry):
        seconds = math.fsum(s.seconds for s in _comparable(entry))
        yield f"{spoken(seconds)}{'' if _faint(entry) else _share(entry)} are in no known video."


def _why_not_comparable(entry: Entry) -> Iterable[str]:
    known, novel = _of(entry, "known"), _comparable(entry)
    yield f"It cannot be decided: {reason_text(entry.reason)}."
    if known:
        yield f"{spoken(entry.known_seconds)} of it are proven footage of {_videos(known)}."
    if novel:
        seconds = math.fsum(s.seconds for s in novel)
        yield f"Of what could be looked at, {spoken(seconds)} are in no known video: {_times(novel)}."
    if entry.reason in (Reason.UNINFORMATIVE, Reason.TOO_SHORT):
        taken = "1 picture (keyframe) was" if entry.keyframes == 1 else f"{entry.keyframes:,} pictures (keyframes) were"
        little = entry.uninformative_seconds + math.fsum(s.seconds for s in _faint(entry))
        of = f"{spoken(little)} of {spoken(entry.duration_seconds)}"
        yield f"{of} show too little to compare; {taken} taken."


_BY_VERDICT: dict[str, Callable[[Entry], Iterable[str]]] = {
    "known": _why_known,
    "partly_known": _why_partly_known,
    "same_scene": _why_same_scene,
    "novel": _why_novel,
    "not_comparable": _why_not_comparable,
}


def _lists(entry: Entry) -> Iterable[str]:
    """Yield what lists say where several do, or where one says more than its name."""
    if len(entry.says) > 1:
        yield f"{len(entry.says)} lists have it, and they are shown side by side below."


def _share(entry: Entry) -> str:
    return "" if entry.novelty is None else f" ({entry.novelty:.0%} of what can be compared)"


def _still_searched(entry: Entry) -> Iterable[str]:
    if not entry.still_searched:
        return
    names = {s.known_series for s in entry.stretches if s.known_victim_identified == "no" and s.known_series}
    if not names and entry.best_known_victim_identified == "no" and entry.best_known_series:
        names = {entry.best_known_series}
    of = f" of {' and '.join(_quoted(sorted(names)))}" if names else " of the matched material"
    yield f"The children{of} are still being searched for, according to the list. That is why it stands at the top."


def _decided(entry: Entry) -> Iterable[str]:
    if entry.decided:
        more = f" (and {len(entry.decided) - SHOWN} more)" if len(entry.decided) > SHOWN else ""
        yield f"That material is known because an analyst looked at it: {'; '.join(entry.decided[:SHOWN])}{more}."


def _quoted(names: Sequence[str]) -> list[str]:
    """Return names in quotation marks, the first few of them."""
    shown = [f"“{name}”" for name in names[:SHOWN]]
    return [*shown, f"{len(names) - SHOWN} more"] if len(names) > SHOWN else shown


def _looked_at(entry: Entry) -> Iterable[str]:
    besides = [s for s in _of(entry, "undecoded") if s.why_not and s.why_not.startswith(HOLDS_BESIDES)]
    for what in dict.fromkeys(s.why_not for s in besides):
        yield (
            f"T{str(what)[1:]}. That is at no time of the video, and nobody looked at it; other tools take such files "
            "apart."
        )
    unclear = [s for s in _of(entry, "undecoded") if s.why_not and s not in besides]
    through = math.fsum(s.seconds for s in unclear)
    for what in dict.fromkeys(s.why_not for s in unclear):
        seconds = math.fsum(s.seconds for s in unclear if s.why_not == what)
        yield f"For {spoken(seconds)} {what}. That time counts as not looked at."
    unseen = entry.duration_seconds - entry.decoded_seconds - math.fsum(s.seconds for s in besides) - through
    if unseen > 0.5:
        yield (
            f"Only {spoken(entry.decoded_seconds)} of {spoken(entry.duration_seconds)} could be decoded: "
            f"{spoken(unseen)} nobody looked at, so it is not cleared."
            if entry.in_queue
            else f"{spoken(entry.decoded_seconds)} of {spoken(entry.duration_seconds)} were decoded."
        )
    elif unclear:
        yield f"All else was looked at: {spoken(entry.decoded_seconds)}, {entry.keyframes:,} keyframes."
    elif besides:
        yield f"All of the video itself was looked at: {spoken(entry.decoded_seconds)}, {entry.keyframes:,} keyframes."
    elif entry.duration_seconds > 0:
        gap = max(0.1, entry.longest_unseen_seconds)
        yield (
            f"All of it was looked at: {spoken(entry.duration_seconds)}, {entry.keyframes:,} keyframes, "
            f"never more than {gap:.1f} s between two pictures."
        )
    if entry.uninformative_seconds > 0.5 and entry.verdict != "not_comparable":
        yield f"{spoken(entry.uninformative_seconds)} are blank, or common material, and prove nothing either way."
    faint = _faint(entry)
    if faint and entry.verdict != "not_comparable":
        seconds = math.fsum(s.seconds for s in faint)
        yield f"{spoken(seconds)} are {TOO_FAINT}, so nobody knows what they show: {_times(faint)}."


def _evidence(stretches: Sequence[Stretch]) -> Iterable[str]:
    frames = sum(s.frames or 0 for s in stretches)
    bits = sorted(s.median_distance_bits for s in stretches if s.median_distance_bits is not None)
    if frames:
        many = f"{frames:,} pictures (keyframes) look" if frames != 1 else "1 picture (keyframe) looks"
        apart = ""
        if bits:
            typical = f"{bits[len(bits) // 2]:.0f}"
            apart = (
                f": of the 256 bits that describe each, typically {typical} differ (about 128 in unrelated pictures)"
            )
        yield f"{many} alike{apart}."
    odd = []
    if any(s.mirrored for s in stretches):
        odd.append("mirrored")
    if any(s.speed is not None and s.speed < 0 for s in stretches):
        odd.append("played backwards")
    speeds = sorted({round(abs(s.speed), 2) for s in stretches if s.speed is not None and abs(abs(s.speed) - 1) > 0.01})
    if speeds:
        odd.append("played at " + " and ".join(f"{speed:g}×" for speed in speeds[:SHOWN]) + " speed")
    if odd:
        yield f"The known footage is {' and '.join(odd)} here."


def _smallest_share(stretches: Sequence[Stretch]) -> str:
    shares = [s.spatial_share for s in stretches if s.spatial_share is not None]
    return f" (it fills {min(shares):.0%} of it)" if shares else ""


def _videos(stretches: Sequence[Stretch], entry: Entry | None = None) -> str:
    found: dict[str, Stretch] = {}
    for s in stretches:
        if s.known_video_id:
            found.setdefault(s.known_video_id, s)
    if not found:
        if entry is not None and entry.best_known_id:
            return _known(entry.best_known_id, entry.best_known_list, entry.best_known_series)
        return "known videos"
    if len(found) == 1:
        only = next(iter(found.values()))
        return _known(only.known_video_id, only.known_list, only.known_series)
    lists = sorted({s.known_list for s in found.values() if s.known_list})
    on = f" on {' and '.join(_quoted(lists))}" if lists else ""
    return f"{len(found):,} known videos{on}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _known(video_id: str | None, name: str | None, series: str | None) -> str:
    text = f"the known video {video_id[:12]}…" if video_id else "a known video"
    if name:
        text += f" on list “{name}”"
    return text + (f", series “{series}”" if series else "")


def _times(stretches: Sequence[Stretch]) -> str:
    shown = [f"{clock(s.start_seconds)}–{clock(s.end_seconds)}" for s in stretches[:SHOWN]]
    more = f" and {len(stretches) - SHOWN} more" if len(stretches) > SHOWN else ""
    return ", ".join(shown) + more


def _as_of(entry: Entry) -> str:
    return f" (known store, snapshot {entry.snapshot})" if entry.snapshot is not None else ""
