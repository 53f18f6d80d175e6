"""Judge the queries of a sample set under many settings, by the very functions the scan judges with.

`judge_plainly` is the scan's own path: files, shards, tasks. `sweep` gives the same verdicts for hundreds of settings
at once. What makes it fast is not a second way of judging but `videonovelty.tuning.traced`: a function runs for one
setting and answers all that would have gone its way, at two levels, the alignment of a query with one candidate and the
whole judgement of a query. Candidates are looked up once for each value of the settings that this reads.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from videonovelty.batch import Part, Progress, Report
from videonovelty.engine import Engine, EngineFailure
from videonovelty.errors import RunError
from videonovelty.judging import RoundResult, judge_in_rounds, judge_parts, judge_signed, read_sides
from videonovelty.known.snapshot import Snapshot
from videonovelty.lookup import Lookup, WorkFolder
from videonovelty.matching.alignment import align
from videonovelty.matching.candidates import Candidates, ShardHits, collect_codes, match_shard, rank_candidates
from videonovelty.matching.local_candidates import (
    LocalCandidate,
    LocalHits,
    collect_local_codes,
    match_local_shard,
    rank_local_candidates,
)
from videonovelty.matching.remembered import remembering
from videonovelty.matching.stretch import KnownSide, Stretch
from videonovelty.records import SignedVideo, Verdict
from videonovelty.run import RunFolder
from videonovelty.settings import Settings
from videonovelty.signatures import scheme
from videonovelty.tuning.signed import SignedSamples, enrolled_snapshot
from videonovelty.tuning.traced import Bool, Number, Trace, Variants

QUERIES_PER_TASK = 32


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """What one query comes to under every setting."""

    video: str
    verdicts: tuple[Verdict, ...]
    """The different ones."""
    which: npt.NDArray[np.int32]
    """Shape (n_settings,): index into `verdicts`."""
    alignments: int
    """Alignments that were computed."""

    def under(self, setting: int) -> Verdict:
        """Return the verdict under one setting."""
        return self.verdicts[int(self.which[setting])]


def settings_of(variants: Variants, index: int, base: Settings) -> Settings:
    """Return one setting of a sweep as plain settings, checked. Raises ValidationError for a value out of range."""
    document = base.model_dump()
    for table, values in variants.overrides(index).items():
        document[table] = {**document[table], **values}
    return Settings(**document)


# ---------------------------------------------------------------------------------------------------------------------
# The plain path


def judge_plainly(
    signed: SignedSamples, split: str | None, *, settings: Settings, work: Path, engine: Engine, report: Report
) -> dict[str, Verdict]:
    """Return the verdict of each query of a split under one setting, exactly as a scan comes to it."""
    queries = signed.queries(split)
    parts = {video.sha256: signed.parts[video.video] for video in queries}
    with (
        enrolled_snapshot([signed.parts[v.video].read() for v in signed.enrolled(split)], folder=work) as snapshot,
        tempfile.TemporaryDirectory(dir=work) as folder,
        RunFolder.open(Path(folder) / "run", store_id="tune", settings=settings, fingerprint=signed.fingerprint) as run,
    ):
        lookup = Lookup(snapshot, scheme(settings.signatures), engine, settings, WorkFolder(run.path), report)
        verdicts = {verdict.video_id: verdict for verdict in judge_parts(list(parts.values()), lookup, run)}
    return {video.video: verdicts[video.sha256] for video in queries}


# ---------------------------------------------------------------------------------------------------------------------
# The sweep


@dataclass(frozen=True, slots=True)
class SweepTask:
    """Some queries."""

    queries: tuple[tuple[str, Part], ...]


def sweep(
    signed: SignedSamples,
    split: str | None,
    variants: Variants,
    *,
    settings: Settings,
    work: Path,
    engine: Engine,
    report: Report,
) -> list[Swept]:
    """Return what every query of a split comes to under every setting of `variants`, in the order of the table.

    Keys that are not swept have their value in `settings`. Known is what the split itself enrols: nothing of another
    split is looked at.
    """
    queries = signed.queries(split)
    tasks = [
        SweepTask(tuple((v.video, signed.parts[v.video]) for v in queries[i : i + QUERIES_PER_TASK]))
        for i in range(0, len(queries), QUERIES_PER_TASK)
    ]
    found: dict[str, Swept] = {}
    with enrolled_snapshot([signed.parts[v.video].read() for v in signed.enrolled(split)], folder=work) as snapshot:
        judging = functools.partial(sweep_queries, snapshot=snapshot, settings=settings, columns=variants.as_lists())
        for _, result in engine.map_unordered(judging, tasks):
            if isinstance(result, EngineFailure):
                raise RunError(f"{work}: some queries could not be judged: {result.detail}")
            found |= {one.video: one for one in result}
            report(Progress("sweeping", len(found), len(queries)))
    return [found[video.video] for video in queries]


def sweep_queries(
    task: SweepTask, *, snapshot: Snapshot, settings: Settings, columns: Mapping[str, Sequence[Any]]
) -> list[Swept]:
    """Return what some queries come to under every setting; for a worker."""
    variants = Variants(columns)
    memory = _Memory([part.read() for _, part in task.queries], snapshot, settings, variants)
    swept = []
    for place, (video, _) in enumerate(task.queries):
        with remembering():
            swept.append(memory.swept(video, place))
    return swept


@dataclass(frozen=True, slots=True, eq=False)
class _Remembered:
    """A result, and the settings it holds for."""

    alike: Bool
    result: Any


class _Recall:
    """Results of one function, each with the settings it was traced to hold for."""

    def __init__(self) -> None:
        self._entries: dict[Any, list[_Remembered]] = {}
        self.computed = 0

    def __call__(self, key: Any, outer: Trace, compute: Callable[[Trace], Any]) -> Any:
        """Return the result for the setting of `outer`, which also loses the settings this one does not hold for."""
        entries = self._entries.setdefault(key, [])
        for entry in entries:
            if entry.alike[outer.index]:
                outer.keep(entry.alike)
                return entry.result
        trace = outer.variants.at(outer.index)
        result = _settled(compute(trace))
        self.computed += 1
        entries.append(_Remembered(trace.alike, result))
        outer.keep(trace.alike)
        return result


def _settled(result: Any) -> Any:
    """Return a result without traced numbers in it: what it holds of them is the value here."""
    if isinstance(result, Number):
        return result.exact()
    if isinstance(result, (list, tuple)) and not hasattr(result, "_fields"):
        return type(result)(_settled(one) for one in result)
    if is_dataclass(result) and not isinstance(result, type):
        changed = {}
        for one in fields(result):
            value = getattr(result, one.name)
            settled = _settled(value)
            if settled is not value and (isinstance(value, Number) or is_dataclass(value)):
                changed[one.name] = settled
        return replace(result, **changed) if changed else result
    return result


@dataclass(frozen=True, slots=True)
class _Query:
    """One query of a task, by its place in it."""

    place: int
    video_id: str


class _Memory:
    """The queries of a task and their candidates, and everything that was found out about them."""

    def __init__(
        self, signed: Sequence[SignedVideo], snapshot: Snapshot, settings: Settings, variants: Variants
    ) -> None:
        self._signed, self._snapshot, self._settings, self._variants = signed, snapshot, settings, variants
        self._scheme = scheme(settings.signatures)
        self._hits, self._local_hits, self._ranked, self._local = (_Recall() for _ in range(4))
        self._alignments = _Recall()
        self._sides: dict[str, KnownSide] = {}

    def swept(self, video: str, place: int) -> Swept:
        """Return what one query comes to under every setting."""
        query = _Query(place, self._signed[place].signatures.video_id)
        before = self._alignments.computed
        which = np.full(self._variants.count, -1, np.int32)
        verdicts: list[Verdict] = []
        numbers: dict[object, int] = {}
        for index in range(self._variants.count):
            if which[index] >= 0:
                continue
            trace = self._variants.at(index)
            search = _TracedSearch(self, trace)
            (verdict,) = judge_in_rounds([query], search, local=self._settings.signatures.local)
            verdict = _settled(verdict)
            number = numbers.setdefault(astuple(verdict), len(verdicts))
            if number == len(verdicts):
                verdicts.append(verdict)
            which[trace.alike] = number
        return Swept(video, tuple(verdicts), which, self._alignments.computed - before)

    # ---- candidates, of all queries at once

    def candidates(self, place: int, trace: Trace) -> Candidates:
        """Return the candidates of one query, whole pictures compared."""

        def rank(inner: Trace) -> list[Candidates]:
            hits: list[ShardHits] = self._hits((), inner, match)
            keyframes = [len(one.signatures.pts_seconds) for one in self._signed]
            known = self._snapshot.n_videos
            return rank_candidates(hits, keyframes, n_known_videos=known, settings=_Plain(inner, self._settings))  # type: ignore[arg-type]

        def match(inner: Trace) -> list[ShardHits]:
            codes = collect_codes([one.signatures for one in self._signed])
            settings: Any = _Plain(inner, self._settings)
            shards = self._snapshot.frame_shards(self._scheme) if len(codes.codes) else ()
            return [match_shard(self._snapshot.load_codes(shard), codes, settings) for shard in shards]

        found: list[Candidates] = self._ranked((), trace, rank)
        return found[place]

    def local_candidates(self, place: int, trace: Trace) -> tuple[LocalCandidate, ...]:
        """Return the candidates of one query by its local descriptors."""

        def rank(inner: Trace) -> list[tuple[LocalCandidate, ...]]:
            hits: list[LocalHits] = self._local_hits((), inner, match)
            settings: Any = _Plain(inner, self._settings)
            return rank_local_candidates(hits, len(self._signed), settings)

        def match(inner: Trace) -> list[LocalHits]:
            codes = collect_local_codes([one.signatures for one in self._signed])
            settings: Any = _Plain(inner, self._settings)
            groups = self._snapshot.local_groups(self._scheme) if len(codes.codes) else []
            return [match_local_shard(self._snapshot.load_local_codes(*group), codes, settings) for group in groups]

        found: list[tuple[LocalCandidate, ...]] = self._local((), trace, rank)
        return found[place]

    # ---- one query

    def judge(self, place: int, candidates: Candidates, local: tuple[LocalCandidate, ...], trace: Trace) -> Verdict:
        """Return the verdict on one query under the setting of `trace`."""
        by_pdq = (*candidates.ranked, *candidates.in_panes, *candidates.in_negative)
        missing = [one for one in by_pdq if one.known_video_id not in self._sides]
        without_local = [
            one
            for one in local
            if one.known_video_id not in self._sides or self._sides[one.known_video_id].local is None
        ]
        if missing or without_local:
            needed = Candidates(tuple(missing), candidates.common)
            self._sides |= read_sides(self._snapshot, [needed], [without_local], self._scheme)
        traced: Any = trace.settings(self._settings)
        return judge_signed(
            self._signed[place],
            candidates,
            local,
            self._sides,
            traced,
            aligner=functools.partial(self._aligned, place, trace),
        )

    def _aligned(self, place: int, outer: Trace, query: Any, side: KnownSide, **options: Any) -> list[Stretch]:
        """Return what `align` returns, computed once for all the settings that would have gone the same way."""
        pairs = options.get("local_pairs")
        key = (
            place,
            side.frames.video_id,
            options["variants"],
            options["common"].tobytes(),
            None if pairs is None else pairs.tobytes(),
        )

        def compute(trace: Trace) -> list[Stretch]:
            traced = trace.settings(self._settings)
            return align(query, side, **{**options, "matching": traced.matching, "proof": traced.proof})

        found: list[Stretch] = self._alignments(key, outer, compute)
        return found


class _Plain:
    """[matching] for functions that hand settings to compiled code: reading a value strikes out the other ones."""

    def __init__(self, trace: Trace, settings: Settings) -> None:
        self._trace, self._table = trace, settings.matching

    def __getattr__(self, name: str) -> Any:
        key = f"matching.{name}"
        if key not in self._trace.variants.columns:
            return getattr(self._table, name)
        value = self._trace.number(key)
        return value.exact() if isinstance(value, Number) else value


class _TracedSearch:
    """Finds and judges one query of a memory under one traced setting."""

    def __init__(self, memory: _Memory, trace: Trace) -> None:
        self._memory, self._trace = memory, trace

    def by_pdq(self, batch: Sequence[_Query]) -> list[Candidates]:
        """Return the candidates of each query, whole pictures compared."""
        return [self._memory.candidates(query.place, self._trace) for query in batch]

    def by_local(self, batch: Sequence[_Query]) -> list[tuple[LocalCandidate, ...]]:
        """Return the candidates of each query by its local descriptors."""
        return [self._memory.local_candidates(query.place, self._trace) for query in batch]

    def judge(
        self,
        batch: Sequence[_Query],
        candidates: Sequence[Candidates],
        local: Sequence[tuple[LocalCandidate, ...]],
        earlier: Sequence[RoundResult],  # noqa: ARG002
    ) -> list[RoundResult]:
        """Return the verdict on each query; what the first round found is remembered, with what it depends on."""
        by_local = local or tuple(() for _ in batch)
        return [
            RoundResult(self._memory.judge(query.place, one, two, self._trace))
            for query, one, two in zip(batch, candidates, by_local, strict=True)
        ]
