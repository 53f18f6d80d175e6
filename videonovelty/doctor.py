"""Is this machine fit for the work? Each check tries the thing itself where it can, and says what to do about it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import resource
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from videonovelty import intake
from videonovelty.errors import Reason, VideoError, VideoNoveltyError
from videonovelty.sandbox import Sandbox, SandboxReport, lockdown, self_test
from videonovelty.sandbox.zygote import CLIP
from videonovelty.settings import DecodeSettings, Settings

OK, WARN, FAIL = "ok", "warn", "fail"

# FFmpeg 8.1.2: the release that closed the holes known when this was written (CVE-2026-8461 among them).
MIN_FFMPEG = {"libavcodec": (62, 28, 100), "libavformat": (62, 12, 100), "libswscale": (9, 5, 100)}
OPENCV_BUILDS = (
    *("opencv-python-headless", "opencv-python"),
    *("opencv-contrib-python-headless", "opencv-contrib-python"),
)
MIN_OPEN_FILES = 1024
MIN_PROCESSES = 256


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: str
    """`ok`, `warn` (works, with a risk) or `fail` (work is refused, or results cannot be trusted)."""
    detail: str
    next_step: str = ""
    """What to do about it; empty when there is nothing to do."""


def run_checks(store: Path | None, settings: Settings) -> list[Check]:
    """Return what was found, in reading order; nothing is changed. Takes some seconds: it starts decoding processes.

    `store` is a known store to read, or None.
    """
    groups: tuple[Callable[[], Iterator[Check]], ...] = (
        lambda: _sandbox(settings),
        lambda: _watched_limits(settings),
        lambda: _decode_limits(settings.decode),
        _libraries,
        _opencv,
        _limits,
        _private_files,
        lambda: _disk(store, settings),
        lambda: _store(store),
        _kernels,
    )
    checks: list[Check] = []
    for group in groups:
        try:
            checks.extend(group())
        except Exception as error:  # a doctor that falls over says nothing about the rest
            name = getattr(group, "__name__", "check").strip("_").replace("<lambda>", "check")
            checks.append(Check(name, FAIL, f"could not be looked at: {type(error).__name__}: {error}"))
    return checks


# --- the locked process -----------------------------------------------------------------------------------------------

LAYER_TEXT = {
    "limits": "no core file, no file writing, bounded memory, time and descriptors",
    "user": "root becomes nobody",
    "no_new_privileges": "nothing executed gains rights",
    "landlock": "no path can be opened, no TCP port used",
    "seccomp": "only the system calls decoding needs",
}
UNLOCKED = (
    "Use Linux 5.13 or later with Landlock and seccomp, and a container profile that allows them; as a last resort "
    "--allow-unsandboxed, which marks every row."
)


def _sandbox(settings: Settings) -> Iterator[Check]:
    try:
        with Sandbox(_lenient(settings)) as sandbox:
            report = sandbox.report
            signed = _sign_clip(sandbox)
    except VideoNoveltyError as error:
        yield Check(
            "sandbox", FAIL, str(error), "Look for the first message above it; reinstall if a module is missing."
        )
        return
    yield from _layers(report)
    yield _threads(report)
    yield Check(
        "sandbox: trusted clip",
        OK if signed == "" else FAIL,
        signed or f"signed in a locked process; the first one was ready in {report.start_seconds:.1f} s",
        "" if signed == "" else "The installed libraries cannot sign the built-in clip: reinstall them.",
    )


def _lenient(settings: Settings) -> Settings:
    return settings.model_copy(update={"sandbox": settings.sandbox.model_copy(update={"allow_unsandboxed": True})})


def _watched_limits(settings: Settings) -> Iterator[Check]:
    """Have locked processes run into every limit their parent watches."""
    with _clip() as file:
        for name, reason, right in self_test.try_limits(_lenient(settings), file.fileno()):
            yield Check(
                f"watched limit: {name}",
                OK if right else FAIL,
                f"bites: {reason}" if right else f"the process ended with {reason or 'a signed video'}",
                "" if right else "Do not decode untrusted files here: a process ran past its limit.",
            )


def _layers(report: SandboxReport) -> Iterator[Check]:
    for layer, text in LAYER_TEXT.items():
        missing = report.missing.get(layer, "")
        if layer == "landlock":
            text = f"{text} (version {lockdown.landlock_version()})"  # noqa: PLW2901
        elif layer == "user" and os.geteuid() != 0:
            text = "not root: nothing to give up"  # noqa: PLW2901
        yield Check(f"sandbox: {layer}", FAIL if missing else OK, missing or text, UNLOCKED if missing else "")
    if report.missing:
        yield Check("sandbox: self-test", FAIL, "not made: a layer is missing", UNLOCKED)
    elif report.leaks:
        told = "; ".join(f"{probe}: {what}" for probe, what in report.leaks.items())
        yield Check("sandbox: self-test", FAIL, told, UNLOCKED)
    else:
        yield Check(
            "sandbox: self-test",
            OK,
            "denied from inside: files, paths, sockets, processes, signals, shared memory, more memory, "
            "more descriptors, writing, cores, root",
        )


def _threads(report: SandboxReport) -> Check:
    if report.threads == 1:
        return Check("sandbox: zygote", OK, "single-threaded, so forking it is safe")
    return Check(
        "sandbox: zygote",
        WARN,
        f"{report.threads} threads: a fork may hang, which the stall limit ends",
        "Find the library that starts threads on import, and the variable that stops it.",
    )


def _sign_clip(sandbox: Sandbox) -> str:
    with _clip() as file:
        try:
            sandbox.sign(file.fileno(), video_id="0" * 64, name="trusted clip")
        except VideoError as error:
            return str(error)
    return ""


def _clip() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    file.write(files("videonovelty.sandbox").joinpath(CLIP).read_bytes())
    file.flush()
    file.seek(0)
    return file


def _decode_limits(settings: DecodeSettings) -> Iterator[Check]:
    """Open the trusted clip (192 × 144, H.264, MP4) under settings that must refuse it."""
    from videonovelty.decode import open_video, opens_by_name  # noqa: PLC0415 (a missing FFmpeg must not stop the other checks)

    cases: tuple[tuple[str, dict[str, object], Reason], ...] = (
        ("formats", {"formats": ("ogg",)}, Reason.REFUSED_FORMAT),
        ("codecs", {"codecs": ("vp8",)}, Reason.REFUSED_CODEC),
        ("max_pixels", {"max_pixels": 192 * 144 - 1}, Reason.REFUSED_SIZE),
    )
    for key, narrower, expected in cases:
        with _clip() as file:
            try:
                with open_video(file.fileno(), settings.model_copy(update=narrower), name="trusted clip") as video:
                    frames = sum(1 for _ in video.frames("all"))
                told, bites = f"{frames} frames decoded against the limit", False
            except VideoError as error:
                told, bites = f"bites: {error.reason}", error.reason == expected
        next_step = "This FFmpeg ignores the limit: do not decode untrusted files with it." if not bites else ""
        yield Check(f"decode limit: {key}", OK if bites else FAIL, told, next_step)
    with as_file(files("videonovelty.sandbox").joinpath(CLIP)) as clip:
        opened = opens_by_name(clip, settings), opens_by_name(clip, settings, allow_files=True)
    yield Check(
        "decode limit: protocols",
        OK if opened == (False, True) else FAIL,
        {
            (False, True): "bites: a file is opened by its descriptor, never by a name",
            (False, False): "the built-in clip could not be opened by name at all, so nothing is shown",
        }.get(opened, "a file was opened by its name against the limit"),
        "" if opened == (False, True) else "This FFmpeg ignores the limit: do not decode untrusted files with it.",
    )


# --- libraries --------------------------------------------------------------------------------------------------------


def _libraries() -> Iterator[Check]:
    names = ("videonovelty", "av", "numpy", "scikit-image", "pyarrow", "dask", "distributed", "numba")
    versions = {name: _version(name) for name in names}
    absent = [name for name, version in versions.items() if not version]
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    python = f"Python {platform.python_version()}, Linux {platform.release()} {platform.machine()}"
    yield Check(
        "libraries",
        FAIL if absent else OK,
        f"{python}, {told}" + (f"; missing: {', '.join(absent)}" if absent else ""),
        "Install from requirements.lock." if absent else "",
    )
    importlib.import_module("videonovelty.decode")  # the one door to PyAV
    bundled: dict[str, tuple[int, int, int]] = sys.modules["av"].library_versions
    old = [name for name, least in MIN_FFMPEG.items() if bundled.get(name, (0, 0, 0)) < least]
    told = ", ".join(f"{name} {'.'.join(map(str, bundled.get(name, ())))}" for name in MIN_FFMPEG)
    yield Check(
        "FFmpeg inside PyAV",
        WARN if old else OK,
        told + (f"; older than FFmpeg 8.1.2: {', '.join(old)}" if old else " (FFmpeg 8.1.2 or later)"),
        "Update av: older builds have known holes, which the locked process only contains." if old else "",
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _opencv() -> Iterator[Check]:
    present = [name for name in OPENCV_BUILDS if _version(name)]
    told = ", ".join(f"{name} {_version(name)}" for name in present) or "none"
    if present == ["opencv-python-headless"]:
        yield Check("OpenCV", OK, told)
    elif len(present) == 1:
        yield Check("OpenCV", WARN, told, "Install opencv-python-headless instead: signatures are checked against it.")
    else:
        step = "Uninstall all of them, then install opencv-python-headless: two builds overwrite one another's files."
        yield Check("OpenCV", FAIL, told, step)


# --- the machine ------------------------------------------------------------------------------------------------------


def _limits() -> Iterator[Check]:
    for name, kind, least, option in (
        ("open files", resource.RLIMIT_NOFILE, MIN_OPEN_FILES, "-n"),
        ("processes", resource.RLIMIT_NPROC, MIN_PROCESSES, "-u"),
    ):
        soft = resource.getrlimit(kind)[0]
        low = soft != resource.RLIM_INFINITY and soft < least
        told = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
        yield Check(f"limit: {name}", WARN if low else OK, told, f"Raise it: ulimit {option} {least}." if low else "")
    pattern = _read("/proc/sys/kernel/core_pattern")
    enabled = resource.getrlimit(resource.RLIMIT_CORE)[0] != 0
    piped = pattern.startswith("|")
    told = "decoding processes leave none"
    if piped or enabled:
        where = f"the program {pattern[1:].split()[0]}" if piped else "files"
        step = "Set `ulimit -c 0` (systemd: LimitCORE=0), and keep core programs off this machine."
        yield Check("core files", WARN, f"{told}; a crash of the program itself would leave one to {where}", step)
    else:
        yield Check("core files", OK, told)


def _private_files() -> Iterator[Check]:
    mask = os.umask(0o077)
    os.umask(mask)
    open_to_others = 0o077 & ~mask
    yield Check(
        "umask",
        WARN if open_to_others else OK,
        f"{mask:03o}; run folders and stores are made 0600/0700 whatever it is",
        "Set umask 077 for the other files of this user." if open_to_others else "",
    )
    folder = Path(tempfile.gettempdir())
    mode = folder.stat().st_mode
    shared_and_loose = mode & stat.S_IWOTH and not mode & stat.S_ISVTX
    yield Check(
        "temporary folder",
        WARN if shared_and_loose else OK,
        f"{folder}, not used for anything about a video",
        f"chmod +t {folder}: anybody may replace files in it." if shared_and_loose else "",
    )


def _disk(store: Path | None, settings: Settings) -> Iterator[Check]:
    place = _existing(store if store is not None else Path.cwd())
    shown = intake.display_path(os.fsencode(place))
    free = shutil.disk_usage(place).free
    least = settings.run.min_free_bytes
    yield Check(
        "free space",
        FAIL if free < least else OK,
        f"{free / 2**30:.1f} GiB at {shown}; a run stops below {least / 2**30:.1f} GiB",
        "Free space before the next run." if free < least else "",
    )
    encrypted = _encrypted(place.stat().st_dev)
    yield Check(
        "disk encryption",
        OK if encrypted else WARN,
        f"{shown} is on {'an encrypted device' if encrypted else 'a device that shows no encryption'}",
        "" if encrypted else "Keep stores and runs on an encrypted disk: signatures are as sensitive as the material.",
    )
    open_swaps = [swap for swap in _swaps() if not _safe_swap(swap)]
    yield Check(
        "swap",
        WARN if open_swaps else OK,
        f"not encrypted: {', '.join(open_swaps)}" if open_swaps else "none, or encrypted",
        "Encrypt or switch off swap: decoded pictures may be written to it." if open_swaps else "",
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _encrypted(device: int) -> bool:
    """Return whether a block device, or one it stands on, is a dm-crypt mapping; network and memory disks are not."""
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    pending, seen = [block], set()
    while pending:
        one = pending.pop().resolve()
        if one in seen or not one.exists():
            continue
        seen.add(one)
        if _read(str(one / "dm" / "uuid")).startswith("CRYPT-"):
            return True
        pending += [*(one / "slaves").glob("*")] if (one / "slaves").exists() else []
        if (one / "partition").exists():
            pending.append(one.parent)
    return False


def _swaps() -> list[str]:
    return [line.split()[0] for line in _read("/proc/swaps").splitlines()[1:]]


def _safe_swap(path: str) -> bool:
    if Path(path).name.startswith("zram"):
        return True
    try:
        status = Path(path).stat()
    except OSError:
        return False
    return _encrypted(status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev)


def _store(store: Path | None) -> Iterator[Check]:
    if store is None:
        return
    from videonovelty.known.store import KnownStore  # noqa: PLC0415 (only where a store is asked about)

    shown = intake.display_path(os.fsencode(store))
    try:
        snapshot = KnownStore.open(store).snapshot()
    except (VideoNoveltyError, OSError) as error:
        yield Check("known store", FAIL, str(error), "`videonovelty known verify` says what is damaged.")
        return
    loose = stat.S_IMODE(snapshot.path.stat().st_mode) & 0o077
    yield Check(
        "known store",
        WARN if loose else OK,
        f"{shown}: snapshot {snapshot.number} is readable" + (", and so is the folder to other users" if loose else ""),
        f"chmod 700 {shown}" if loose else "",
    )


def _kernels() -> Iterator[Check]:
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parent / "matching" / "__pycache__")
    writable = os.access(_existing(folder), os.W_OK)
    yield Check(
        "compiled kernels",
        OK if writable else WARN,
        f"kept in {intake.display_path(os.fsencode(folder))}"
        if writable
        else "cannot be kept: compiled at every start",
        "" if writable else "Set NUMBA_CACHE_DIR to a folder of this user's own.",
    )
