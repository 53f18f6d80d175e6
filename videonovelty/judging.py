"""From the signatures of a night's contents to verdicts, batch by batch: candidates in two rounds, alignment, proof."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from videonovelty.batch import Part, Progress
from videonovelty.judgements import Judgements, judging_facts
from videonovelty.known.ledger import pairs_apart
from videonovelty.known.snapshot import KnownLocal, Snapshot
from videonovelty.lookup import (
    Hits,
    Lookup,
    all_done,
    batches,
    candidates_of,
    has_hits,
    local_candidates_of,
    local_query_bytes,
    query_bytes,
    query_limit,
)
from videonovelty.matching.alignment import align
from videonovelty.matching.candidates import Candidates
from videonovelty.matching.faint import silent_times
from videonovelty.matching.local_candidates import LocalCandidate
from videonovelty.matching.naming import named
from videonovelty.matching.placement import in_one_place
from videonovelty.matching.stretch import KnownSide, Stretch, doubted
from videonovelty.matching.unmoving import looks_alike, still_passages, with_one_look
from videonovelty.records import SignedVideo, Verdict
from videonovelty.run import RunFolder
from videonovelty.segments import tile_segments
from videonovelty.settings import Settings
from videonovelty.signatures import scheme
from videonovelty.signatures.pdq import DIHEDRAL
from videonovelty.verdict import judge


class HasVideoId(Protocol):
    """Anything that stands for one content."""

    @property
    def video_id(self) -> str:
        """Its id."""


class HasKnownVideoId(Protocol):
    """Any candidate."""

    @property
    def known_video_id(self) -> str:
        """The known video it is."""


S_contra = TypeVar("S_contra", bound=HasVideoId, contravariant=True)

Known = TypeVar("Known", bound=HasKnownVideoId)

C = TypeVar("C")

L = TypeVar("L")

VIDEOS_PER_JUDGEMENT = 20

MIRROR_VARIANT = DIHEDRAL.index("flip_horizontal")


@dataclass(frozen=True, slots=True)
class JudgeTask:
    """Some contents, and where the hits of each lie."""

    parts: tuple[Part, ...]
    found: tuple[Hits, ...]
    local: tuple[Hits, ...] = ()
    """Hits by local descriptors; empty in the first round."""
    whole: tuple[tuple[Stretch, ...], ...] = ()
    """What the first round found of each; empty in it."""
    apart: tuple[frozenset[str], ...] = ()
    """Known videos an analyst said each is no match of; empty: of none."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The verdict on one content, and what the second round need not find out again."""

    verdict: Verdict
    whole: tuple[Stretch, ...] = ()
    """What lies on candidates found by whole pictures; nothing of what is known."""


def judge_contents(task: JudgeTask, *, snapshot: Snapshot, settings: Settings) -> list[RoundResult]:
    """Return what becomes of some contents; for a worker."""
    contents = [part.read() for part in task.parts]
    keyframes = [len(signed.signatures.pts_seconds) for signed in contents]
    found = candidates_of(task.found, keyframes, n_known_videos=snapshot.n_videos, settings=settings.matching)
    local = local_candidates_of(task.local or [Hits() for _ in task.parts], settings.matching)
    if any(task.apart):
        found = [
            replace(
                one,
                ranked=_without(no, one.ranked),
                in_panes=_without(no, one.in_panes),
                in_negative=_without(no, one.in_negative),
            )
            for no, one in zip(task.apart, found, strict=True)
        ]
        local = [_without(no, some) for no, some in zip(task.apart, local, strict=True)]
    sides = read_sides(snapshot, found, local, scheme(settings.signatures))
    results = []
    for number, signed in enumerate(contents):
        whole = task.whole[number] if task.whole else whole_on(signed, found[number], sides, settings)
        verdict = judge_signed(signed, found[number], local[number], sides, settings, whole=whole)
        results.append(RoundResult(verdict, () if verdict.verdict == "known" else tuple(whole)))
    return results


def _without(refused: frozenset[str], candidates: tuple[Known, ...]) -> tuple[Known, ...]:
    return tuple(one for one in candidates if one.known_video_id not in refused)


def read_sides(
    snapshot: Snapshot,
    candidates: Sequence[Candidates],
    local: Sequence[Sequence[LocalCandidate]],
    scheme_name: str,
) -> dict[str, KnownSide]:
    """Return what the store keeps of every candidate, by id; descriptors not found by them are read on demand."""
    by_local = {one.known_video_id for found in local for one in found}
    by_pdq = {
        one.known_video_id for found in candidates for one in (*found.ranked, *found.in_panes, *found.in_negative)
    }
    wanted = sorted(by_pdq | by_local)
    motions = snapshot.motion_of(wanted, scheme_name)
    features = snapshot.local_of(sorted(by_local), scheme_name)

    def reader(video_id: str) -> Callable[[], KnownLocal | None]:
        return functools.cache(lambda: snapshot.local_of([video_id], scheme_name).get(video_id))

    return {
        video_id: KnownSide(frames, motions.get(video_id), features.get(video_id), reader(video_id))
        for video_id, frames in snapshot.frames_of(wanted, scheme_name).items()
    }


Aligner = Callable[..., list[Stretch]]


def judge_signed(
    signed: SignedVideo,
    candidates: Candidates,
    local_candidates: Sequence[LocalCandidate],
    sides: Mapping[str, KnownSide],
    settings: Settings,
    *,
    aligner: Aligner = align,
    whole: Sequence[Stretch] | None = None,
) -> Verdict:
    """Return the verdict on one signed video: aligned with every candidate, proven, tiled and judged.

    `sides` holds the candidates' known sides; `aligner` is `align`, or what remembers its answers; `whole` is what
    `whole_on` returns, where that is at hand.
    """
    stretches = explained(signed, candidates, local_candidates, sides, settings, aligner=aligner, whole=whole)
    return judge_video(signed, stretches, candidates.common, settings)


def whole_on(
    signed: SignedVideo,
    candidates: Candidates,
    sides: Mapping[str, KnownSide],
    settings: Settings,
    *,
    aligner: Aligner = align,
) -> list[Stretch]:
    """Return the stretches of one signed video that lie on candidates found by whole pictures; see `judge_signed`."""
    stretches: list[Stretch] = []
    for candidate in candidates.ranked:
        side = sides.get(candidate.known_video_id)
        if side is not None:
            without = replace(side, local=None)
            stretches += _aligned(aligner, signed, without, candidate.variants, candidates.common, settings)
    return stretches


def explained(
    signed: SignedVideo,
    candidates: Candidates,
    local_candidates: Sequence[LocalCandidate],
    sides: Mapping[str, KnownSide],
    settings: Settings,
    *,
    aligner: Aligner = align,
    whole: Sequence[Stretch] | None = None,
) -> list[Stretch]:
    """Return the stretches of one signed video that lie on its candidates; arguments as for `judge_signed`.

    A candidate that a pane or the negative shows is named where nothing is proven; one that only a small part of the
    picture shows, pane or not, where no stretch lies on any. Where nothing moves, one look tells what is not proven.
    """
    stretches = list(whole_on(signed, candidates, sides, settings, aligner=aligner) if whole is None else whole)
    for one in local_candidates:
        side = sides.get(one.known_video_id)
        if side is not None:
            variants = (_variant(one),)
            stretches += _aligned(aligner, signed, side, variants, candidates.common, settings, local_pairs=one.pairs)
    if not any(stretch.proof.proven for stretch in stretches):
        frames = {video_id: side.frames for video_id, side in sides.items()}
        stretches += named(signed.signatures, candidates, frames, matching=settings.matching, proof=settings.proof)
    stretches = stretches or _in_one_place(signed, local_candidates, candidates.common, sides, settings)
    if not any(map(looks_alike, stretches)):
        return stretches
    return with_one_look(stretches, still_passages(signed.signatures))


def _in_one_place(
    signed: SignedVideo,
    local_candidates: Sequence[LocalCandidate],
    common: npt.NDArray[np.bool_],
    sides: Mapping[str, KnownSide],
    settings: Settings,
) -> list[Stretch]:
    stretches: list[Stretch] = []
    for one in local_candidates:
        local = sides[one.known_video_id].local if one.known_video_id in sides else None
        if local is not None:
            stretches += in_one_place(
                signed.signatures,
                local,
                variant=_variant(one),
                common=common,
                matching=settings.matching,
                proof=settings.proof,
                aspect=_aspect(signed),
                local_pairs=one.pairs,
            )
    return stretches


def _aligned(
    aligner: Aligner,
    signed: SignedVideo,
    side: KnownSide,
    variants: Sequence[int],
    common: npt.NDArray[np.bool_],
    settings: Settings,
    local_pairs: npt.NDArray[np.float64] | None = None,
) -> list[Stretch]:
    return aligner(
        signed.signatures,
        side,
        variants=variants,
        common=common,
        matching=settings.matching,
        proof=settings.proof,
        aspect=_aspect(signed),
        local_pairs=local_pairs,
    )


def _aspect(signed: SignedVideo) -> float:
    return signed.probe.width / max(1, signed.probe.height)


def _variant(candidate: LocalCandidate) -> int:
    return MIRROR_VARIANT if candidate.mirrored else 0


def judge_video(
    signed: SignedVideo, stretches: Sequence[Stretch], common: npt.NDArray[np.bool_], settings: Settings
) -> Verdict:
    """Return the verdict on one signed video, given the stretches that lie on known videos."""
    signatures, coverage = signed.signatures, signed.coverage
    nothing, faint = silent_times(signatures, common, stretches)
    segments = tile_segments(coverage, doubted(stretches), nothing, settings.verdict, faint=faint)
    return judge(signatures, coverage, segments, settings.verdict)


def judge_parts(parts: Sequence[Part], lookup: Lookup, run: RunFolder) -> Iterator[Verdict]:
    """Yield the verdict of every signed content, batch by batch; batches an earlier run judged are not judged again."""
    settings = lookup.settings
    judgements = Judgements(run, judging_facts(lookup.snapshot.number, lookup.scheme_name, settings))
    so_far: Counter[str] = Counter()
    apart = pairs_apart(lookup.snapshot)
    for cut in batches(parts, [query_bytes(part) for part in parts], query_limit(settings)):
        batch = parts[cut]
        verdicts = judgements.load(batch)
        if verdicts is None:
            search = _Search(lookup, so_far, len(parts), apart)
            verdicts = judge_in_rounds(batch, search, local=settings.signatures.local)
            search.close()
            judgements.store(batch, verdicts)
        so_far.update(verdict.verdict for verdict in verdicts)
        lookup.report(Progress("judging", cut.stop, len(parts), verdicts=dict(so_far)))
        yield from verdicts
    lookup.work.close()


class Search(Protocol[S_contra, C, L]):
    """What finds and judges candidates of a batch: the joins of a run, or what has them in memory."""

    def by_pdq(self, batch: Sequence[S_contra]) -> Sequence[C]:
        """Return the candidates of each content of the batch, whole pictures compared, or where they lie."""

    def by_local(self, batch: Sequence[S_contra]) -> Sequence[L]:
        """Return the same by their local descriptors; what is false has none."""

    def judge(
        self, batch: Sequence[S_contra], candidates: Sequence[C], local: Sequence[L], earlier: Sequence[RoundResult]
    ) -> list[RoundResult]:
        """Return what becomes of each content of the batch, in its order.

        `local` is empty in the first round, as is `earlier`: what this returned of each in the first one.
        """


def judge_in_rounds(batch: Sequence[S_contra], search: Search[S_contra, C, L], *, local: bool) -> list[Verdict]:
    """Return the verdict of each content of a batch, in its order.

    Two rounds: PDQ finds what shows the whole picture; what it does not fully explain is looked up once more by its
    local descriptors.
    """
    candidates = search.by_pdq(batch)
    judged = search.judge(batch, candidates, (), ())
    if local:
        left = [n for n, one in enumerate(judged) if one.verdict.verdict != "known"]
        by_local = search.by_local([batch[n] for n in left])
        found = [(n, hits) for n, hits in zip(left, by_local, strict=True) if hits]
        again = search.judge(
            [batch[n] for n, _ in found],
            [candidates[n] for n, _ in found],
            [hits for _, hits in found],
            [judged[n] for n, _ in found],
        )
        for (n, _), one in zip(found, again, strict=True):
            judged[n] = one
    return [one.verdict for one in judged]


class _Search:
    """The joins of one batch of a run: codes and hits travel by file, shards are the tasks, results are small."""

    def __init__(
        self, lookup: Lookup, so_far: Mapping[str, int], total: int, apart: Mapping[str, frozenset[str]]
    ) -> None:
        self._lookup, self._so_far, self._total, self._apart = lookup, so_far, total, apart
        self._folders: list[Path] = []

    def by_pdq(self, batch: Sequence[Part]) -> list[Hits]:
        """Return where the hits of each content of the batch lie, pictures, panes and negatives compared."""
        folders = tuple(self._lookup.by_pdq(batch, apart=True))
        self._folders += folders
        return [Hits(number, folders) for number in range(len(batch))]

    def by_local(self, batch: Sequence[Part]) -> list[Hits | None]:
        """Return where the hits of each content of the batch by local descriptors lie; None where there are none."""
        found: list[Hits | None] = []
        sizes = [local_query_bytes(part) for part in batch]
        for cut in batches(batch, sizes, query_limit(self._lookup.settings)):
            some = batch[cut]
            folders = tuple(self._lookup.by_local(some))
            self._folders += folders
            found += [Hits(n, folders) if any_ else None for n, any_ in enumerate(has_hits(folders, len(some)))]
        return found

    def judge(
        self,
        batch: Sequence[Part],
        candidates: Sequence[Hits],
        local: Sequence[Hits | None],
        earlier: Sequence[RoundResult],
    ) -> list[RoundResult]:
        """Return what becomes of each content of the batch, in its order."""
        by_local = [one or Hits() for one in local]
        whole = [one.whole for one in earlier]
        apart = [self._apart.get(part.video_id, frozenset()) for part in batch]
        tasks = [
            JudgeTask(
                tuple(batch[cut]), tuple(candidates[cut]), tuple(by_local[cut]), tuple(whole[cut]), tuple(apart[cut])
            )
            for cut in (slice(at, at + VIDEOS_PER_JUDGEMENT) for at in range(0, len(batch), VIDEOS_PER_JUDGEMENT))
        ]
        before = 0 if local else sum(self._so_far.values())
        total, stage = (len(batch), "judging parts") if local else (self._total, "judging")

        def note(done: int) -> None:
            judged = before + min(done * VIDEOS_PER_JUDGEMENT, len(batch))
            self._lookup.report(Progress(stage, judged, total, verdicts=self._so_far))

        judging = functools.partial(judge_contents, snapshot=self._lookup.snapshot, settings=self._lookup.settings)
        found = all_done(self._lookup.engine, judging, tasks, "some videos could not be judged", note)
        return list(chain.from_iterable(found))

    def close(self) -> None:
        """Remove the hits."""
        self._lookup.work.remove(self._folders)
