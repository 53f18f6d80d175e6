"""What is required of the program, and the assertions by which each requirement is tried.

The layout follows NIST's Computer Forensics Tool Testing programme (requirements → test assertions → test cases →
results) and SWGDE's recommendations for the validation of tools: known material, expected results stated beforehand,
every result kept, limits named.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing the program has to do."""

    id: str
    text: str
    assertions: dict[str, str]
    """Id → what must hold."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was tried, and what came of it."""

    assertion: str
    """Id of the assertion."""
    name: str
    expected: str
    observed: str
    passed: bool


REQUIREMENTS = (
    Requirement(
        "R1",
        "A new video is never hidden.",
        {
            "R1.1": "A video of new footage stays in the review queue and is not explained by known footage.",
            "R1.2": "Another take of a known scene is not called known, in whole or in part.",
            "R1.3": "Known footage with new seconds in it stays in the queue, and at most half a second of them lies "
            "in a stretch called known; so does a new video that plays around known footage, and what is nearly dark.",
            "R1.4": "What is damaged, blank, empty or no video stays in the queue with a reason.",
            "R1.5": "Every row that is not `known` needs review, and the stretches of a video leave no gap.",
        },
    ),
    Requirement(
        "R2",
        "Nothing is lost and nothing is altered.",
        {
            "R2.1": "The intake is the same before and after: names, bytes, sizes, modes, modification times.",
            "R2.2": "Every entry of the intake is exactly one row, whatever it is called.",
            "R2.3": "A row's id is the SHA-256 of the file's bytes.",
            "R2.4": "A scan changes no file of the known store.",
            "R2.5": "What is written is for its owner alone: files 0600, folders 0700.",
        },
    ),
    Requirement(
        "R3",
        "Known footage is cleared however it was edited.",
        {
            "R3.1": "A copy with the whole picture in view is `known`, from the right source.",
            "R3.2": "Of a copy that shows a part of the picture, shows it inside another one, or has an emblem laid "
            "over it, the source is named.",
        },
    ),
    Requirement(
        "R4",
        "Hostile files are contained.",
        {
            "R4.1": "Every layer of the locked process is in force, and what it forbids is denied from inside.",
            "R4.2": "A process that runs past a limit is ended by it.",
            "R4.3": "A hostile file makes the program open no other file and no connection, and is not called known.",
            "R4.4": "Every row was made in a locked process.",
        },
    ),
    Requirement(
        "R5",
        "The same input gives the same output.",
        {
            "R5.1": "A plain loop and worker processes write the same bytes.",
            "R5.2": "A finished run that is run again opens no video and writes the same bytes.",
        },
    ),
    Requirement(
        "R6",
        "Exact hash lists are honoured exactly.",
        {
            "R6.1": "A file whose MD5, SHA-1 or SHA-256 is listed is known by its bytes, and is not decoded.",
            "R6.2": "A file that differs from a listed one in one byte is not known by its bytes.",
            "R6.3": "Exported digests are those of the files enrolled.",
        },
    ),
    Requirement(
        "R7",
        "Hashes are exchanged with other programs.",
        {
            "R7.1": "PDQ of a picture in a video is that of the reference implementation, within its matching "
            "distance of 31 bits, and far from every other picture's.",
            "R7.2": "Frame hashes of another organisation find their video, and clear nothing by themselves.",
        },
    ),
    Requirement(
        "R8",
        "What is taken back takes effect.",
        {
            "R8.1": "After a removal, every earlier verdict that rested on it is listed, and no other.",
            "R8.2": "The next scan explains nothing by what was removed.",
            "R8.3": "After compaction the store holds no trace of it, and is sound.",
        },
    ),
    Requirement(
        "R9",
        "A run that is cut off goes on where it was.",
        {
            "R9.1": "After SIGKILL no process of the run is left.",
            "R9.2": "The resumed run's tables are those of an undisturbed run, byte for byte.",
            "R9.3": "What was signed before is not signed again.",
        },
    ),
    Requirement(
        "R10",
        "Damage is noticed.",
        {
            "R10.1": "A changed byte in the known store is found by `known verify`.",
            "R10.2": "A changed line of a run's journal is refused, not continued.",
        },
    ),
    Requirement(
        "R11",
        "The report discloses nothing by itself.",
        {
            "R11.1": "The page's policy forbids every request, and it refers to nothing outside.",
            "R11.2": "Neither store nor run folder holds a picture.",
        },
    ),
)

ASSERTIONS = {id_: text for requirement in REQUIREMENTS for id_, text in requirement.assertions.items()}
