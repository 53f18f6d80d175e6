"""The procedure: what is run, in which order, and which cases come of it. One function a requirement.

Everything goes through the program's own commands, in processes of their own; what they leave is judged by `checks`.
A requirement whose commands do not end as they should fails with the reason, and the next one goes on.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import socket
import stat
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from videonovelty.footage import photograph
from videonovelty.validation import checks
from videonovelty.validation.checks import EntryFacts, Night
from videonovelty.validation.commands import CommandError, Commands
from videonovelty.validation.material import CANARY, COPY, NEW, Material, make_material, write_still
from videonovelty.validation.requirements import Case

TABLES = [f"{t}.{e}" for t in ("verdicts", "segments", "groups") for e in ("parquet", "csv")] + ["verdicts.json"]
DONE, FLAGGED, UNUSABLE = 0, 3, 5
"""Exit codes that are expected."""

Tell = Callable[[str, int, int], None]
"""Told a stage, how much of it is done, and of how much."""


class Trial:
    """One validation's folder, commands, footage and scans; each made when it is first asked for."""

    def __init__(self, folder: Path, commands: Commands, *, workers: int, tell: Tell) -> None:
        """Work in the empty `folder`."""
        self.folder = folder
        self.commands = commands
        self.workers = workers
        self.tell = tell
        self.listener = _Listener()

    @functools.cached_property
    def material(self) -> Material:
        """The footage."""
        return make_material(
            self.folder / "material",
            port=self.listener.port,
            workers=self.workers,
            progress=lambda done, total: self.tell("making footage", done, total),
        )

    @functools.cached_property
    def before(self) -> dict[str, EntryFacts]:
        """The intake before anything looked at it."""
        return entries(self.material.intake_folder)

    @functools.cached_property
    def store(self) -> Path:
        """The known store, with the known videos enrolled by `known add`."""
        store = self.folder / "known store"
        self.commands.run(
            *("known", "add", self.material.folder / "known", "--store", store, "--list", "validation"),
            *("--disposition", "other", "--workers", str(self.workers)),
        )
        return store

    @functools.cached_property
    def store_before(self) -> dict[str, EntryFacts]:
        """The store before the scan."""
        return entries(self.store)

    @functools.cached_property
    def night_run(self) -> Path:
        """The run folder of the scan of the whole intake."""
        assert self.before
        assert self.store_before
        return self.scan(self.material.intake_folder, self.folder / "run", codes=(FLAGGED,))

    @functools.cached_property
    def night(self) -> Night:
        """What that scan left."""
        rows = defaultdict(list)
        for row in self.rows(self.night_run):
            rows[checks.name_of(row, self.material.intake_folder)].append(row)
        segments = pq.read_table(self.night_run / "segments.parquet").to_pylist()
        known = {sha256(path): path.stem for path in self.material.known}
        return Night(self.material.intake, rows, checks.by_video(segments), known)

    @functools.cached_property
    def small_run(self) -> Path:
        """The run folder of an undisturbed scan of the small intake by worker processes."""
        return self.scan(self.material.small_folder, self.folder / "small run")

    def scan(
        self,
        intake: Path,
        run: Path,
        *,
        store: Path | None = None,
        workers: int | None = None,
        codes: tuple[int, ...] = (DONE,),
    ) -> Path:
        """Scan and return the run folder."""
        self.commands.run(*self.scan_words(intake, run, store=store, workers=workers), codes=codes)
        return run

    def scan_words(
        self, intake: Path, run: Path, *, store: Path | None = None, workers: int | None = None
    ) -> tuple[str | Path, ...]:
        """Return the words of a scan."""
        n = self.workers if workers is None else workers
        return ("scan", intake, "--store", store or self.store, "--run", run, "--workers", str(n))

    def rows(self, run: Path) -> list[dict[str, Any]]:
        """Return the rows of a run's `verdicts`."""
        return pq.read_table(run / "verdicts.parquet").to_pylist()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the loopback port."""
        self.listener.close()


# ---- one function a requirement ----------------------------------------------------------------------------------


def new_videos(trial: Trial) -> Iterator[Case]:
    """R1."""
    night = trial.night
    yield from checks.new_videos_stay(night)
    yield from checks.new_seconds_stay(night)
    yield from checks.unusable_stay(night)
    yield from checks.rows_are_consistent(night)


def nothing_lost(trial: Trial) -> Iterator[Case]:
    """R2."""
    night = trial.night
    yield checks.unaltered("R2.1", "intake", trial.before, entries(trial.material.intake_folder))
    yield from checks.every_entry_is_a_row(night, sum(len(rows) for rows in night.rows.values()))
    yield checks.ids_are_digests(night, trial.before)
    yield checks.unaltered("R2.4", "known store", trial.store_before, entries(trial.store))
    yield from checks.private({"run folder": entries(trial.night_run), "known store": entries(trial.store)})


def copies(trial: Trial) -> Iterator[Case]:
    """R3."""
    yield from checks.copies_are_cleared(trial.night)


def contained(trial: Trial) -> Iterator[Case]:
    """R4."""
    found = trial.commands.run("doctor", "--json", codes=(0, 6)).json()
    yield from checks.layers_hold(found)
    leaked = [
        str(path.relative_to(trial.folder))
        for folder in (trial.night_run, trial.store)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]
    yield from checks.hostile_files_reach_nothing(trial.night, trial.listener.connections, leaked)
    yield checks.all_locked(trial.night)


def repeatable(trial: Trial) -> Iterator[Case]:
    """R5."""
    truth = tables(trial.small_run)
    loop = trial.scan(trial.material.small_folder, trial.folder / "plain loop", workers=0)
    yield checks.same_tables("R5.1", f"plain loop and {trial.workers} workers", tables(loop), truth)
    signed = started(trial.small_run)
    trial.scan(trial.material.small_folder, trial.small_run)
    yield checks.same_tables("R5.2", "run again", tables(trial.small_run), truth)
    again = started(trial.small_run) - signed
    yield Case("R5.2", "videos opened by the second run", "0", str(again), again == 0)


def exact_lists(trial: Trial) -> Iterator[Case]:
    """R6."""
    folder = trial.folder / "lists"
    intake = folder / "intake"
    intake.mkdir(mode=0o700, parents=True)
    new = [trial.material.intake_folder / made.name for made in trial.material.of(NEW)[:3]]
    store = folder / "store"
    for kind, path in zip(("md5", "sha1", "sha256"), new, strict=True):
        shutil.copyfile(path, intake / f"listed by {kind}.mp4")
        digest = hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest()
        (folder / f"{kind}.txt").write_text(f"{digest}\n", encoding="ascii")
        words = ("known", "import", folder / f"{kind}.txt", "--store", store, "--list", kind, "--disposition", "other")
        trial.commands.run(*words)
        altered = bytearray(path.read_bytes())
        altered[-1] ^= 1
        (intake / f"altered {kind}.mp4").write_bytes(altered)
    run = trial.scan(intake, folder / "run", store=store)
    rows = {checks.name_of(row, intake): row for row in trial.rows(run)}
    opened = opened_videos(run)
    for kind in ("md5", "sha1", "sha256"):
        row = rows.get(f"listed by {kind}.mp4")
        passed = row is not None and row["verdict"] == "known" and row["reason"] == "same_bytes"
        passed = passed and row is not None and row["best_known_list"] == kind and row["video_id"] not in opened
        seen = "not decoded" if row and row["video_id"] not in opened else "decoded"
        expected = f"known by its bytes, list {kind}, not decoded"
        yield Case("R6.1", kind, expected, f"{checks.told(row)}, {seen}", bool(passed))
        row = rows.get(f"altered {kind}.mp4")
        passed = row is not None and row["verdict"] != "known" and row["reason"] != "same_bytes"
        yield Case("R6.2", f"{kind}, last byte changed", "not known by its bytes", checks.told(row), bool(passed))
    for kind in ("md5", "sha1", "sha256"):
        out = folder / f"out {kind}.txt"
        trial.commands.run("known", "export", "--store", trial.store, "--format", kind, "--out", out)
        written = {line.split()[0] for line in out.read_text("utf-8").splitlines() if line and line[0] != "#"}
        right = {hashlib.new(kind, p.read_bytes(), usedforsecurity=False).hexdigest() for p in trial.material.known}
        told = f"{len(written)} written, {len(written ^ right)} wrong"
        yield Case("R6.3", kind, f"{len(right)} digests, computed here", told, written == right)


def exchange(trial: Trial) -> Iterator[Case]:
    """R7."""
    folder = trial.folder / "exchange"
    folder.mkdir(mode=0o700)
    reference = json.loads(files("videonovelty.validation").joinpath("reference_pdq.json").read_text("utf-8"))["codes"]
    ours = {}
    for name in reference:
        picture = photograph(name)
        path = folder / f"{name}.mp4"
        write_still(path, picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
        document = trial.commands.run("inspect", path, "--json").json()
        ours[name] = [frame["pdq"] for frame in document["keyframes"]]
    yield from checks.pdq_agrees(ours, reference)
    trial.commands.run("known", "export", "--store", trial.store, "--format", "vpdq", "--out", folder / "vpdq")
    store = folder / "store"
    words = ("known", "import", folder / "vpdq", "--store", store, "--list", "partner", "--disposition", "other")
    trial.commands.run(*words)
    intake = folder / "intake"
    intake.mkdir(mode=0o700)
    for made in trial.material.of(COPY)[1:4]:
        shutil.copyfile(trial.material.intake_folder / made.name, intake / Path(made.name).name)
    for row in trial.rows(trial.scan(intake, folder / "run", store=store)):
        passed = row["verdict"] == "same_scene" and row["best_known_list"] == "partner" and row["needs_review"]
        expected = "in the queue, list partner named"
        told = f"{checks.told(row)}, {row['best_known_list'] or 'no list'} named"
        yield Case("R7.2", checks.name_of(row, intake), expected, told, bool(passed))


def revocation(trial: Trial) -> Iterator[Case]:
    """R8."""
    night = trial.night
    store = trial.folder / "store after removal"
    shutil.copytree(trial.store, store)
    removed = next(video_id for video_id, name in night.known.items() if name == "alpha")
    code = first_code(trial, removed)
    trial.commands.run("known", "remove", "--video", removed, "--store", store, "--reason", "validation")
    listed = trial.commands.run("known", "recheck", trial.night_run, "--store", store, "--json").json()
    shown = {row["path"]: name for name, rows in night.rows.items() for row in rows}
    yield checks.fallen(checks.rests_on(night, removed), {shown[one["path"]] for one in listed})
    run = trial.scan(trial.material.small_folder, trial.folder / "run after removal", store=store)
    segments = pq.read_table(run / "segments.parquet").to_pylist()
    left = [s for s in segments if s["known_video_id"] == removed]
    left_rows = [row for row in trial.rows(run) if row["best_known_id"] == removed]
    told = f"{len(left)} stretches, {len(left_rows)} rows"
    yield Case("R8.2", "next scan", "nothing explained by it", told, not left and not left_rows)
    trial.commands.run("known", "compact", "--store", store)
    marks = (bytes.fromhex(removed), removed.encode(), code)
    data = [path for path in sorted(store.rglob("*")) if path.is_file() and path.suffix == ".parquet"]
    traces = [str(path.relative_to(store)) for path in data if any(mark in path.read_bytes() for mark in marks)]
    expected = "neither its id nor its codes in any data file"
    yield Case("R8.3", f"{len(data)} data files", expected, f"in {len(traces)} files", bool(data) and not traces)
    ran = trial.commands.run("known", "verify", "--store", store, codes=(DONE, UNUSABLE))
    yield Case("R8.3", "known verify", f"exit code {DONE}", f"exit code {ran.code}", ran.code == DONE)


def resumption(trial: Trial) -> Iterator[Case]:
    """R9."""
    run = trial.folder / "killed run"
    words = trial.scan_words(trial.material.small_folder, run)
    ran, alive = trial.commands.kill_when(lambda: bool(signed_videos(run)), *words)
    if ran.code != -9:
        raise CommandError(f"the run had ended with {ran.code} before it could be killed")
    signed = signed_videos(run)
    yield Case("R9.1", "processes 30 s after SIGKILL", "none", f"{len(alive)} left", not alive)
    trial.scan(trial.material.small_folder, run)
    yield checks.same_tables("R9.2", f"killed with {len(signed)} videos signed", tables(run), tables(trial.small_run))
    again = sum(1 for entry in journal(run) if entry["state"] == "started" and entry["key"] in signed) - len(signed)
    yield Case("R9.3", f"{len(signed)} videos signed before", "none signed again", f"{again} again", again == 0)


def damage(trial: Trial) -> Iterator[Case]:
    """R10."""
    store = trial.folder / "damaged store"
    shutil.copytree(trial.store, store)
    for kind in ("shards", "videos"):
        victim = max((store / kind).glob("*.parquet"))
        whole = victim.read_bytes()
        victim.write_bytes(
            whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
        )
        ran = trial.commands.run("known", "verify", "--store", store, codes=(DONE, UNUSABLE))
        expected = f"exit code {UNUSABLE}"
        yield Case("R10.1", f"one bit of {kind}", expected, f"exit code {ran.code}", ran.code == UNUSABLE)
        victim.write_bytes(whole)
    run = trial.folder / "damaged run"
    shutil.copytree(trial.small_run, run)
    path = run / "journal.jsonl"
    lines = path.read_bytes().split(b"\n")
    middle = len(lines) // 2
    lines[middle] = lines[middle].replace(b'"key":"', b'"key":"0', 1)
    path.write_bytes(b"\n".join(lines))
    words = trial.scan_words(trial.material.small_folder, run)
    ran = trial.commands.run(*words, codes=(DONE, FLAGGED, UNUSABLE))
    told = f"exit code {ran.code}"
    yield Case("R10.2", f"line {middle + 1} of {len(lines)}", f"exit code {UNUSABLE}", told, ran.code == UNUSABLE)


def disclosure(trial: Trial) -> Iterator[Case]:
    """R11."""
    yield from checks.page_is_closed((trial.night_run / "report" / "index.html").read_text("utf-8"))
    heads = {}
    for folder in (trial.night_run, trial.store):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    heads[str(path.relative_to(trial.folder))] = file.read(8)
    yield checks.no_pictures(heads)


PROCEDURE: dict[str, Callable[[Trial], Iterator[Case]]] = {
    "R1": new_videos,
    "R2": nothing_lost,
    "R3": copies,
    "R4": contained,
    "R5": repeatable,
    "R6": exact_lists,
    "R7": exchange,
    "R8": revocation,
    "R9": resumption,
    "R10": damage,
    "R11": disclosure,
}


# ---- facts ------------------------------------------------------------------------------------------------------


class _Listener:
    """A loopback port that counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with closing(connection):
                self.connections += 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


def entries(folder: Path) -> dict[str, EntryFacts]:
    """Return what is in `folder` and below: name → facts. Links are not followed, pipes not opened."""
    found = {}
    for at, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(at) / name
            status = path.lstat()
            regular = stat.S_ISREG(status.st_mode)
            mode = 0 if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)
            digest = sha256(path) if regular else ""
            found[os.path.relpath(path, folder)] = EntryFacts(
                digest, status.st_size if regular else 0, mode, status.st_mtime_ns
            )
    return found


def sha256(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tables(run: Path) -> dict[str, bytes]:
    """Return the bytes of a run's tables by name."""
    return {name: (run / name).read_bytes() for name in TABLES if (run / name).exists()}


def journal(run: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's journal; a last line that is still being written is left out."""
    try:
        lines = (run / "journal.jsonl").read_text("utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def signed_videos(run: Path) -> set[str]:
    """Return the ids of the videos a run's journal says are signed."""
    return {entry["key"] for entry in journal(run) if entry["state"] == "signed"}


def opened_videos(run: Path) -> set[str]:
    """Return the ids of the videos a run began to decode."""
    return {entry["key"] for entry in journal(run) if entry["state"] == "started"}


def started(run: Path) -> int:
    """Return how often a run began to decode a video."""
    return sum(entry["state"] == "started" for entry in journal(run))


def first_code(trial: Trial, video_id: str) -> bytes:
    """Return a PDQ code the store holds of a video."""
    for shard in sorted((trial.store / "shards").glob("*.parquet")):
        table = pq.read_table(shard, columns=["video_id", "pdq", "informative"]).to_pylist()
        for row in table:
            if row["video_id"].hex() == video_id and row["informative"]:
                return bytes(row["pdq"])
    raise CommandError(f"the store holds no code of {video_id[:16]}")
