"""Lock the calling Linux process down, for good, with the standard library alone.

Five layers, each stopping what the others let through (`tests/faults/README.md` has the table of what stops what):

- `limits`: no core file, no file writing, address space, processor time, descriptors; not dumpable, not traceable;
- `user`: root becomes nobody;
- `no_new_privileges`: nothing executed could gain rights, and the two below need no rights to be installed;
- `landlock`: no path can be opened, listed, made or removed, no TCP port used, no process outside signalled;
- `seccomp`: a list of the system calls that decoding needs, with their arguments where they matter; all others fail.

One-way: call in a process that was forked for one video, after every import, before the first byte of the file.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import platform
import resource
import signal
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

LAYERS = ("limits", "user", "no_new_privileges", "landlock", "seccomp")
"""In the order they are put on."""
NOBODY = 65534

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446  # the same number on every architecture
RET_ALLOW, RET_ERRNO, RET_KILL = 0x7FFF0000, 0x00050000, 0x80000000
CLONE_THREAD = 0x00010000
# What glibc (0x3d0f00) and musl (0x7d0f00) pass to start a thread; any other flag makes a process or a namespace.
CLONE_THREAD_FLAGS = 0x007D0F00
AT_EMPTY_PATH = 0x1000
FCNTL_COMMANDS = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC: none that sends signals


# Number of each call on x86-64 and on aarch64, from the kernel's tables; None where it does not exist.
# fmt: off
ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # the file and the answer
    "read": (0, 63), "readv": (19, 65), "pread64": (17, 67), "lseek": (8, 62), "fstat": (5, 80), "dup": (32, 23),
    "write": (1, 64), "writev": (20, 66), "close": (3, 57), "poll": (7, None), "ppoll": (None, 73),
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214),
    "madvise": (28, 233),
    # signals to itself, threads
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "futex": (202, 98), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "set_tid_address": (218, 96),
    "rseq": (334, 293), "membarrier": (324, 283), "restart_syscall": (219, 128),
    # asking about itself and the machine, waiting, ending
    "getpid": (39, 172), "gettid": (186, 178), "getrusage": (98, 165), "times": (100, 153), "sysinfo": (99, 179),
    "getcpu": (309, 168), "sched_getaffinity": (204, 123), "sched_yield": (24, 124), "getrandom": (318, 278),
    "gettimeofday": (96, 169), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "exit": (60, 93), "exit_group": (231, 94),
}
"""Calls that are allowed whatever their arguments."""
CHECKED: dict[str, tuple[int, int]] = {
    "clone": (56, 220), "fcntl": (72, 25), "newfstatat": (262, 79), "prlimit64": (302, 261), "tgkill": (234, 131),
}
"""Calls that are allowed with the arguments `call_filter` lists."""
# fmt: on
CLONE3 = 435  # on both


@dataclass(frozen=True, slots=True)
class Architecture:
    """One processor family the filter can be written for."""

    audit: int
    """Its AUDIT_ARCH value, which the filter checks first: numbers mean other calls elsewhere."""
    column: int
    """Its column in `ALLOWED` and `CHECKED`."""


ARCHITECTURES = {"x86_64": Architecture(0xC000003E, 0), "aarch64": Architecture(0xC00000B7, 1)}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one decoding process may use."""

    memory_bytes: int
    cpu_seconds: int
    """The kernel ends the process here (SIGXCPU, then SIGKILL); the parent watches a tighter bound."""
    open_files: int = 64


class LayerError(OSError):
    """A layer could not be put on; `layer` names it."""

    def __init__(self, layer: str, number: int, what: str) -> None:
        super().__init__(number, f"{layer}: {what}: {os.strerror(number)}")
        self.layer = layer


_libc = ctypes.CDLL(None, use_errno=True)


def _call(layer: str, what: str, result: int) -> int:
    if result < 0:
        raise LayerError(layer, ctypes.get_errno(), what)
    return result


def _prctl(layer: str, what: str, option: int, argument: object) -> None:
    _call(layer, what, _libc.prctl(option, argument, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def architecture() -> Architecture | None:
    """Return the table of this machine; None where there is none, which makes it unfit."""
    return ARCHITECTURES.get(platform.machine()) if struct.calcsize("P") == 8 else None


def lock(limits: Limits, layers: Collection[str] = LAYERS, *, kill_on_denied: bool = False) -> None:
    """Put on `layers`, in order. Raises LayerError: the caller must then end without opening anything.

    `kill_on_denied` ends the process at the first call that is not allowed, where it otherwise fails with EPERM: a test
    of the list, as a decoder that meets EPERM may blame the file.
    """
    if "limits" in layers:
        limit_resources(limits)
    if "user" in layers:
        drop_root()
    if "no_new_privileges" in layers:
        _prctl("no_new_privileges", "PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    if "landlock" in layers:
        deny_paths()
    if "seccomp" in layers:
        allow_calls(kill_on_denied=kill_on_denied)


def limit_resources(limits: Limits) -> None:
    """Set the resource limits, and make the process unreadable to others and its memory undumpable."""
    wanted = (
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_FSIZE", 0, 0),
        ("RLIMIT_AS", limits.memory_bytes, limits.memory_bytes),
        ("RLIMIT_CPU", limits.cpu_seconds, limits.cpu_seconds + 2),
        ("RLIMIT_NOFILE", limits.open_files, limits.open_files),
    )
    for name, soft, hard in wanted:
        kind = getattr(resource, name)
        try:
            ceiling = resource.getrlimit(kind)[1]
            if ceiling != resource.RLIM_INFINITY:  # the machine's own limits stay where they are tighter
                soft, hard = min(soft, ceiling), min(hard, ceiling)  # noqa: PLW2901
            resource.setrlimit(kind, (soft, hard))
        except (OSError, ValueError) as error:
            raise LayerError("limits", getattr(error, "errno", None) or errno.EINVAL, name) from error
    _prctl("limits", "PR_SET_DUMPABLE", PR_SET_DUMPABLE, ctypes.c_ulong(0))


def drop_root() -> None:
    """Become nobody when root, keeping no group and no capability; an ordinary user stays who they are."""
    if os.geteuid() != 0 and os.getuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        raise LayerError("user", error.errno or errno.EPERM, "becoming nobody") from error


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends. Call again after a change of user, which forgets it.

    Raises LayerError when the parent has already gone.
    """
    _prctl("limits", "PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        raise LayerError("limits", errno.ESRCH, "the parent has gone")


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that none escapes its count."""
    _prctl("limits", "PR_SET_CHILD_SUBREAPER", PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def landlock_version() -> int:
    """Return the kernel's Landlock version; 0 where it is absent or switched off."""
    return max(0, int(_libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def deny_paths() -> None:
    """Deny every use of the file system, of TCP (version 4) and signals to the outside (version 6), by Landlock."""
    version = _libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    _call("landlock", "not in this kernel, or not allowed here", version)
    # Rights by version: 1 has 13; 2 adds REFER, 3 TRUNCATE, 5 IOCTL_DEV. A ruleset without a rule denies them all.
    rights = (1 << 13) - 1 | (version >= 2) << 13 | (version >= 3) << 14 | (version >= 5) << 15
    tcp = 0b11 if version >= 4 else 0  # bind, connect
    scope = 0b11 if version >= 6 else 0  # abstract UNIX sockets, signals
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("<QQQ", rights, tcp, scope)
    ruleset = _libc.syscall(LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    _call("landlock", "landlock_create_ruleset", ruleset)
    try:
        restricted = _libc.syscall(LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
        _call("landlock", "landlock_restrict_self", restricted)
    finally:
        os.close(ruleset)


def allow_calls(*, kill_on_denied: bool = False) -> None:
    """Allow the system calls of `ALLOWED` and `CHECKED` and no other, by seccomp."""
    table = architecture()
    if table is None:
        raise LayerError("seccomp", errno.ENOSYS, f"no table of system calls for {platform.machine()}")
    install_filter(call_filter(table, os.getpid(), kill_on_denied=kill_on_denied))


def install_filter(program: bytes) -> None:
    """Install a seccomp program, one 8-byte instruction after the other. Raises LayerError."""
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    mode = ctypes.c_ulong(2)
    result = _libc.prctl(PR_SET_SECCOMP, mode, ctypes.c_char_p(header), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _call("seccomp", "PR_SET_SECCOMP", result)


def _instruction(code: int, k: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, true, false, k & 0xFFFFFFFF)


# Classic BPF: load a word of `struct seccomp_data`, and-mask, jump if equal / greater or equal / bits set, return.
LOAD, AND, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_SET, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
CALL_NUMBER, CALL_ARCHITECTURE = 0, 4


def _low_word(argument: int) -> int:
    return 16 + 8 * argument  # both architectures are little-endian


def call_filter(table: Architecture, own_pid: int, *, kill_on_denied: bool = False) -> bytes:
    """Return the seccomp program for one architecture and the process `own_pid`."""
    before, after = filter_around_pid(table, kill_on_denied=kill_on_denied)
    return before + _instruction(JUMP_EQUAL, own_pid, false=1) + after


@functools.cache
def filter_around_pid(table: Architecture, *, kill_on_denied: bool) -> tuple[bytes, bytes]:
    """Return what stands before and after the one instruction of the seccomp program that knows the process.

    Kept: a process that forks others calls it once, which saves each of them half a millisecond.
    """
    denied = RET_KILL if kill_on_denied else RET_ERRNO | errno.EPERM
    checked = {name: numbers[table.column] for name, numbers in CHECKED.items()}
    program = [
        _instruction(LOAD, CALL_ARCHITECTURE),
        _instruction(JUMP_EQUAL, table.audit, true=1),
        _instruction(RETURN, RET_KILL),
        _instruction(LOAD, CALL_NUMBER),
    ]
    if table.audit == ARCHITECTURES["x86_64"].audit:  # the x32 numbers, a second name for every call
        program += [_instruction(JUMP_GREATER_EQUAL, 0x40000000, false=1), _instruction(RETURN, RET_KILL)]
    # clone3 hides its flags in memory a filter cannot read; told it does not exist, the C library uses clone.
    program += _when(CLONE3, [_instruction(RETURN, RET_ERRNO | errno.ENOSYS)])
    program += _when(
        checked["clone"],
        [
            _instruction(LOAD, _low_word(0)),
            _instruction(JUMP_SET, CLONE_THREAD, false=3),
            _instruction(AND, ~CLONE_THREAD_FLAGS),
            _instruction(JUMP_EQUAL, 0, false=1),
            _instruction(RETURN, RET_ALLOW),
            _instruction(RETURN, denied),
        ],
    )
    program += _when(checked["newfstatat"], _argument_is(3, [AT_EMPTY_PATH], denied))  # fstat of an open file only
    program += _when(checked["fcntl"], _argument_is(1, FCNTL_COMMANDS, denied))
    program += _when(checked["prlimit64"], _argument_is(0, [0], denied))  # its own limits only
    # abort(): to itself only
    program += _when(checked["tgkill"], _argument_is(0, [0], denied))
    marked = len(program) - 3  # the comparison with 0 stands for the one with the process
    for numbers in ALLOWED.values():
        if (number := numbers[table.column]) is not None:
            program += _when(number, [_instruction(RETURN, RET_ALLOW)])
    program.append(_instruction(RETURN, denied))
    return b"".join(program[:marked]), b"".join(program[marked + 1 :])


def _when(number: int, block: Sequence[bytes]) -> list[bytes]:
    """Return `block`, which must return, run for the call `number` only."""
    return [_instruction(JUMP_EQUAL, number, false=len(block)), *block]


def _argument_is(argument: int, values: Collection[int], denied: int) -> list[bytes]:
    block = [_instruction(LOAD, _low_word(argument))]
    for value in values:
        block += [_instruction(JUMP_EQUAL, value, false=1), _instruction(RETURN, RET_ALLOW)]
    return [*block, _instruction(RETURN, denied)]


# --- proof ------------------------------------------------------------------------------------------------------------


def prove(limits: Limits, file: int) -> dict[str, str]:
    """Try what each layer forbids, in this locked process; return probe → "" where it was denied, else what happened.

    `file` is a descriptor open for writing, which a video's process never has: the limit on writing is tried on it.
    Harmless where it succeeds, but descriptors stay open: end the process. Costs a few milliseconds.
    """
    probes: dict[str, Callable[[], object]] = {
        "open a file": lambda: os.close(os.open("/", os.O_RDONLY)),
        "look a path up": lambda: os.stat("/"),  # noqa: PTH116
        "open a TCP or UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        "open a UNIX socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "start a process": _fork,
        "signal another process": lambda: os.kill(os.getppid(), 0),
        "make shared memory": lambda: os.close(os.memfd_create("probe")),
        "take more memory": lambda: mmap.mmap(-1, limits.memory_bytes).close(),
        "open more descriptors": lambda: [os.dup(file) for _ in range(limits.open_files)],
        "write to a file": lambda: os.write(file, b"\0"),
        "write a core file": _core_allowed,
        "be root": _root,
    }
    return {name: _denied(probe) for name, probe in probes.items()}


def _denied(probe: Callable[[], object]) -> str:
    try:
        probe()
    except (OSError, MemoryError, ValueError):
        return ""
    return "allowed"


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _core_allowed() -> None:
    if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0):
        raise PermissionError


def _root() -> None:
    if os.geteuid() != 0:
        raise PermissionError
