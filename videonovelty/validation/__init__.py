"""Validates this installation: requirements → assertions → cases → results, on footage it makes itself.

`validate` runs the program's own commands (`commands`) on generated footage (`material`) in a fixed order
(`procedure`), judges what they leave by pure functions (`checks`), and writes one page and one JSON file (`page`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from videonovelty.errors import SettingsError
from videonovelty.validation.commands import CommandError, Commands, Ran
from videonovelty.validation.procedure import PROCEDURE, Tell, Trial
from videonovelty.validation.requirements import REQUIREMENTS, Case, Requirement

__all__ = ["Validation", "validate"]


@dataclass(frozen=True, slots=True)
class Validation:
    """What a validation came to."""

    requirements: tuple[Requirement, ...]
    """Those that were tried, in order."""
    cases: tuple[Case, ...]
    commands: tuple[Ran, ...]
    """Every command that was run, in order."""
    material: tuple[tuple[str, str, str, str], ...]
    """Name, kind, how it was made and SHA-256 of every file of the intake, as it was before; empty if none was made."""

    @property
    def failed(self) -> tuple[Case, ...]:
        """The cases that failed."""
        return tuple(case for case in self.cases if not case.passed)

    def of(self, assertion: str) -> list[Case]:
        """Return the cases of an assertion, or of a requirement."""
        return [case for case in self.cases if assertion in (case.assertion, case.assertion.split(".")[0])]


def validate(
    *, only: Sequence[str] = (), config: Path | None = None, workers: int = 2, keep: Path | None = None, tell: Tell
) -> Validation:
    """Try every requirement, or `only` those named, and return every case.

    `config` are the settings the scans are given; `workers` processes share the work; `keep` is an empty folder that
    keeps footage, stores and runs (a temporary one by default, removed at the end). `tell` hears of the progress.
    A requirement whose commands end otherwise than they should has one failed case for each assertion without any.
    Raises SettingsError for an unknown requirement or a `keep` that is not empty.
    """
    unknown = sorted(set(only) - set(PROCEDURE))
    if unknown:
        raise SettingsError(f"--only {unknown[0]}: there are {', '.join(PROCEDURE)}.")
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise SettingsError(f"--keep {keep}: not empty; a validation works in a folder of its own.")
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = keep or Path(tempfile.mkdtemp(prefix="videonovelty-validation-"))
    commands = Commands(config.absolute() if config else None)
    trial = Trial(folder.absolute(), commands, workers=workers, tell=tell)
    chosen = tuple(one for one in REQUIREMENTS if not only or one.id in only)
    cases: list[Case] = []
    try:
        for number, requirement in enumerate(chosen):
            tell(f"{requirement.id} {requirement.text}", number, len(chosen))
            cases += _tried(requirement, trial)
        tell("done", len(chosen), len(chosen))
        return Validation(chosen, tuple(cases), tuple(commands.ran), _manifest(trial))
    finally:
        trial.close()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _tried(requirement: Requirement, trial: Trial) -> list[Case]:
    """Return the cases of a requirement; none of its assertions is left without."""
    cases: list[Case] = []
    why = "nothing was tried"
    try:
        for case in PROCEDURE[requirement.id](trial):
            cases.append(case)  # noqa: PERF402 (what was found before an error counts)
    except (CommandError, OSError, ValueError, KeyError, StopIteration) as error:
        why = f"could not be tried: {type(error).__name__}: {error}"
        done = {case.assertion for case in cases}
        if done >= requirement.assertions.keys():
            cases.append(Case(max(done), "the rest of the procedure", "carried out", why, False))
    tried = {case.assertion for case in cases}
    return cases + [Case(one, "all", "tried", why, False) for one in requirement.assertions if one not in tried]


def _manifest(trial: Trial) -> tuple[tuple[str, str, str, str], ...]:
    if "before" not in trial.__dict__:
        return ()
    facts = trial.before
    return tuple((made.name, made.kind, made.what, facts[made.name].sha256) for made in trial.material.intake)
