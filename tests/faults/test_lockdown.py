"""T17, T18: what the lock denies, what each layer adds, and what happens where a layer is missing."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from videonovelty.sandbox import lockdown

FAULTS = Path(__file__).parent


@pytest.fixture(scope="module")
def found():
    """Every attempt under every set of layers."""
    run = subprocess.run(
        [sys.executable, FAULTS / "escape.py", "--json"], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(run.stdout)


NEEDED = ("start a thread", "sign a video")


def allowed(results):
    return {name for name, what in results.items() if what == "allowed"} - set(NEEDED)


def test_nothing_but_decoding_is_possible_under_the_full_lock(found):
    # T18
    assert allowed(found["all"]) == set()
    assert found["all"]["canaries untouched"] == "True"
    for label, results in found.items():
        for name in NEEDED:
            assert results[name] == "allowed", (label, name)


def test_without_a_lock_everything_is_possible(found):
    """The attempts are real: otherwise their denial says nothing."""
    ordinary = {"be root"} if os.geteuid() else set()
    unlocked = set(found["nothing"]) - {"canaries untouched", *NEEDED}
    assert unlocked - allowed(found["nothing"]) <= ordinary
    assert found["nothing"]["canaries untouched"] == "False"


def test_each_layer_stops_what_it_is_for(found):
    stops = {
        "limits": {"more memory", "raise its limits"} - ({"raise its limits"} if os.geteuid() == 0 else set()),
        "landlock": {"read a file", "write a file", "list a folder", "remove a file", "exec"},
        "seccomp": {
            *("read a file", "write a file", "list a folder", "look a path up", "remove a file", "change folder"),
            *("read another's memory", "TCP", "UDP", "UNIX socket", "fork", "exec", "signal another process"),
            *("signal its parent", "trace another process", "limit another process", "memfd", "shared memory"),
        },
    }
    if os.geteuid() == 0:
        stops["user"] = {"be root", "signal another process", "signal its parent", "trace another process"}
    if lockdown.landlock_version() >= 4:
        stops["landlock"] |= {"TCP"}
    if lockdown.landlock_version() >= 6:
        stops["landlock"] |= {"UNIX socket", "signal another process"}
    for layer, expected in stops.items():
        assert not expected & allowed(found[layer]), layer


def test_landlock_alone_is_no_network_block_and_seccomp_alone_no_memory_limit(found):
    """Why there are several."""
    assert {"UDP", "fork", "memfd"} <= allowed(found["landlock"])
    assert "more memory" in allowed(found["seccomp"])


# --- a missing layer --------------------------------------------------------------------------------------------------

# In a process of its own, the kernel is made to refuse one layer, by a filter of ours that the zygote inherits.
WITHOUT = """
import errno, json, sys
sys.path.insert(0, {faults!r})
from videonovelty.sandbox import lockdown as l
number, argument, value, answer = {call}
column = l.architecture().column
block = [l._instruction(l.RETURN, l.RET_ERRNO | answer)]
if argument is not None:
    block = [l._instruction(l.LOAD, l._low_word(argument)), l._instruction(l.JUMP_EQUAL, value, false=1), *block]
    block += [l._instruction(l.RETURN, l.RET_ALLOW)]
program = [l._instruction(l.LOAD, 0), *l._when(number[column], block), l._instruction(l.RETURN, l.RET_ALLOW)]
l.install_filter(b"".join(program))
from conftest import QUICK, ask, evil_sandbox
from videonovelty.errors import EXIT_CODES, VideoNoveltyError
try:
    with evil_sandbox(allow_unsandboxed={allow}) as sandbox:
        said = {{b: ask(sandbox, b) for b in ("good", "segfault", "silent", "hang", "daemon")}}
        print(json.dumps({{"sandboxed": sandbox.sandboxed, "said": said, "missing": sandbox.report.missing}}))
except VideoNoveltyError as error:
    print(json.dumps({{"error": str(error), "code": EXIT_CODES[type(error)]}}))
"""
CALLS = {
    # layer: (numbers of the call, argument that is looked at, its value, errno)
    "landlock": "((444, 444), None, 0, errno.ENOSYS)",
    "seccomp": "((157, 167), 0, 22, errno.EINVAL)",
    "no_new_privileges": "((157, 167), 0, 38, errno.EINVAL)",
    "limits": "((302, 261), 1, 9, errno.EPERM)",
    "user": "((117, 147), None, 0, errno.EPERM)",
}


def without(layer, *, allow):
    """Start a sandbox where `layer` is refused; return what it said."""
    code = textwrap.dedent(WITHOUT).format(faults=str(FAULTS), call=CALLS[layer], allow=allow)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(run.stdout)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to become")
LAYERS = [pytest.param(layer, marks=[needs_root] if layer == "user" else []) for layer in CALLS]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_missing_layer_is_named_and_nothing_starts(layer):
    # T17
    told = without(layer, allow=False)
    assert told["code"] == 6
    assert layer in told["error"]
    assert "--allow-unsandboxed" in told["error"]


@pytest.mark.parametrize("layer", ["landlock", "seccomp"])
def test_with_the_override_every_limit_stays_and_the_rows_will_say_so(layer):
    told = without(layer, allow=True)
    assert told["sandboxed"] is False
    assert layer in told["missing"]
    assert told["said"] | {"daemon": ""} == {
        "good": "",
        "segfault": "crashed",
        "silent": "protocol_violation",
        "hang": "stalled",
        "daemon": "",
    }


def test_a_daemon_made_where_seccomp_is_missing_is_swept_up():
    # T12
    told = without("seccomp", allow=True)
    assert told["said"]["daemon"] == "", "the fork went through"
    for stat in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"videonovelty.sandbox.zygote" not in stat.read_bytes() or children_alive(stat)
        except FileNotFoundError:
            continue


def children_alive(cmdline):
    """A zygote of another test, which has a living parent, is not a left-over."""
    parent = int((cmdline.parent / "stat").read_text().rpartition(")")[2].split()[1])
    return parent != 1


def test_a_kernel_without_a_table_of_calls_is_unfit():
    code = (
        "import platform; platform.machine = lambda: 'riscv64'\n"
        "from videonovelty.sandbox import lockdown\n"
        "try: lockdown.lock(lockdown.Limits(1 << 30, 10), ('no_new_privileges', 'seccomp'))\n"
        "except OSError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "no table of system calls for riscv64" in run.stdout
