"""What analysts decided, as the store keeps it: every decision ever given, the newest of each analyst standing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from videonovelty.known.snapshot import Snapshot

REVIEW_TAG = "review"
"""Tag of a list entry that follows from decisions, and is taken out when they are."""
WITHDRAWN = ""
"""The decision of a row that takes an earlier one back."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What stands of one analyst about one content."""

    analyst: str
    decision: str
    known_video_id: str | None
    disposition: str
    note: str
    decided_at: str
    run_id: str


class Ledger:
    """The decisions of a snapshot about some contents, with those being added, the newest of each analyst standing."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._newest: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        self._pairs: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = defaultdict(dict)
        for row in rows:
            self.add(row)

    def newest(self, entry: str, analyst: str, known_video_id: str | None) -> Mapping[str, Any] | None:
        """Return the newest row of an analyst about a content, or about the content and this known video."""
        newest = self._newest.get(entry, {}).get(analyst)
        if newest is None or known_video_id in (None, newest["known_video_id"]):
            return newest
        return self._pairs.get((entry, known_video_id or ""), {}).get(analyst)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row into account; among rows of equal time the later one counts."""
        for kept in self._places(row):
            before = kept.get(row["analyst"])
            if before is None or moment(row["decided_at"]) >= moment(before["decided_at"]):
                kept[row["analyst"]] = row

    def _places(self, row: Mapping[str, Any]) -> Iterator[dict[str, Mapping[str, Any]]]:
        yield self._newest[row["entry"]]
        if row["known_video_id"]:
            yield self._pairs[row["entry"], row["known_video_id"]]

    def entries(self) -> list[str]:
        """Return the contents there are rows about, sorted."""
        return sorted(self._newest)

    def opinions(self, entry: str) -> tuple[Opinion, ...]:
        """Return what stands about a content, by analyst."""
        return tuple(
            Opinion(
                analyst=analyst,
                decision=row["decision"],
                known_video_id=row["known_video_id"],
                disposition=row["disposition"] or "",
                note=row["note"] or "",
                decided_at=row["decided_at"],
                run_id=row["run_id"],
            )
            for analyst, row in sorted(self._newest.get(entry, {}).items())
            if row["decision"] != WITHDRAWN
        )

    def not_matches(self) -> Iterator[Mapping[str, Any]]:
        """Yield the standing rows that say a content and a known video are no match."""
        for rows in self._pairs.values():
            yield from (row for row in rows.values() if row["decision"] == "not_a_match")

    def apart(self) -> set[tuple[str, str]]:
        """Return the (content, known video) that somebody says are no match, members of groups included."""
        return {
            (entry, row["known_video_id"])
            for row in self.not_matches()
            for entry in (row["entry"], *(row["stands_for"] or ()))
        }


def moment(text: str) -> datetime:
    """Return the time a decision bears, comparable whatever its zone."""
    made = datetime.fromisoformat(text)
    return made.replace(tzinfo=UTC) if made.tzinfo is None else made


def read_ledger(snapshot: Snapshot, entries: Iterable[str] | None = None) -> Ledger:
    """Return the decisions of a snapshot, all of them or those about some contents."""
    ledger = Ledger()
    wanted = None if entries is None else pa.array(sorted(set(entries)), pa.string())
    for table in snapshot.decisions():
        rows = table if wanted is None else table.filter(pc.is_in(table["entry"], wanted))
        for row in rows.to_pylist():
            ledger.add(row)
    return ledger


def pairs_apart(snapshot: Snapshot) -> dict[str, frozenset[str]]:
    """Return by content the known videos it is not to be held against."""
    ledger = Ledger()
    for table in snapshot.decisions():
        for row in table.filter(pc.is_valid(table["known_video_id"])).to_pylist():
            ledger.add(row)
    found: dict[str, set[str]] = defaultdict(set)
    for entry, known in ledger.apart():
        found[entry].add(known)
    return {entry: frozenset(known) for entry, known in found.items()}


def disagree(opinions: Sequence[Opinion]) -> bool:
    """Tell whether analysts say different things about a content, or that it is different kinds of material."""
    said = {one.disposition for one in opinions if one.disposition}
    return len({one.decision for one in opinions}) > 1 or len(said) > 1


def standing(
    snapshot: Snapshot, keep: Callable[[Sequence[Opinion]], bool] = bool
) -> list[tuple[str, tuple[Opinion, ...]]]:
    """Return the contents there are standing decisions about, with these; `keep` chooses among them."""
    ledger = read_ledger(snapshot)
    found = ((entry, ledger.opinions(entry)) for entry in ledger.entries())
    return [(entry, opinions) for entry, opinions in found if opinions and keep(opinions)]
