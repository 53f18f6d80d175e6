"""Verdicts of batches that are judged already, kept in the run folder until its tables are written.

A batch is named after all that shapes its verdicts: the snapshot, the settings, and the signatures of its contents. The
journal holds the digest of its file, so a run that was cut off while it judged goes on with the next batch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from videonovelty import __version__
from videonovelty.batch import Part
from videonovelty.errors import Reason
from videonovelty.records import Segment, Verdict
from videonovelty.run import RUN_KEY, RunFolder, write_file
from videonovelty.settings import Settings

JUDGED_BATCH = "batch_judged"
"""State of the journal's entry about a batch."""


def judging_facts(snapshot: int, scheme_name: str, settings: Settings) -> dict[str, Any]:
    """Return everything besides signatures that a verdict depends on."""
    tables = ("matching", "proof", "verdict", "lists")
    return {
        "version": __version__,
        "snapshot": snapshot,
        "scheme": scheme_name,
        **{table: getattr(settings, table).model_dump(mode="json") for table in tables},
    }


class Judgements:
    """The verdicts of this run that are in its work folder."""

    def __init__(self, run: RunFolder, facts: dict[str, Any]) -> None:
        self._run = run
        self._facts = json.dumps(facts, sort_keys=True)
        self._folder = run.path / "work" / "judged"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._digests = {
            str(entry.fields.get("file")): str(entry.fields.get("sha256"))
            for entry in run.journal.entries(JUDGED_BATCH)
        }

    def load(self, batch: Sequence[Part]) -> list[Verdict] | None:
        """Return the verdicts of a batch; None when it was not judged yet, or its file is missing or altered."""
        name = self._name(batch)
        try:
            stored = (self._folder / name).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(stored).hexdigest() != self._digests.get(name):
            return None
        return [_verdict(row) for row in json.loads(stored)]

    def store(self, batch: Sequence[Part], verdicts: Sequence[Verdict]) -> None:
        """Keep the verdicts of a batch. Raises EnvironmentUnfitError when the disk does not take them."""
        name = self._name(batch)
        text = json.dumps([asdict(verdict) for verdict in verdicts], allow_nan=False, separators=(",", ":"))
        digest = write_file(self._folder / name, lambda file: file.write(text.encode("ascii")))
        self._digests[name] = digest
        self._run.journal.append(JUDGED_BATCH, key=RUN_KEY, file=name, sha256=digest, videos=len(batch))

    def _name(self, batch: Sequence[Part]) -> str:
        digest = hashlib.sha256(self._facts.encode())
        for part in batch:
            digest.update(f"{part.video_id}:{part.sha256}\n".encode())
        return f"{digest.hexdigest()[:32]}.json"


def remove_work(run_path: Path) -> None:
    """Remove the work folder of a run: its tables hold what the verdicts say."""
    shutil.rmtree(run_path / "work", ignore_errors=True)


def _verdict(row: dict[str, Any]) -> Verdict:
    row["reason"] = Reason(row["reason"])
    row["segments"] = tuple(Segment(**segment) for segment in row["segments"])
    return Verdict(**row)
