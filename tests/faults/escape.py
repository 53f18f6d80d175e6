"""What a hijacked decoder could do under each layer alone, and under all: run it to print the table.

Each attempt is made for real, in a child of its own, against canaries made for it: a file, listeners, a sibling.
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from videonovelty.sandbox import lockdown
from videonovelty.sandbox.zygote import CLIP
from videonovelty.settings import load_settings

LIMITS = lockdown.Limits(memory_bytes=1 << 30, cpu_seconds=30)
SETS = {
    "nothing": (),
    **{layer: (layer,) for layer in ("limits", "user", "landlock", "seccomp")},
    "all": lockdown.LAYERS,
}
libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    """Raise OSError for a C call that failed."""
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Canaries:
    """What the attempts are made on."""

    def __init__(self, folder):
        self.file = folder / "canary"
        self.file.write_text("secret")
        self.file.chmod(0o666)
        folder.chmod(0o777)
        self.target = folder / "written"
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.name = f"\0videonovelty-{os.getpid()}"
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(self.name)
        self.unix.listen()
        self.sibling = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def close(self):
        """Release them."""
        for item in (self.tcp, self.udp, self.unix):
            item.close()
        self.sibling.kill()
        self.sibling.wait()

    def untouched(self):
        """Return whether nothing was read off, written to or signalled."""
        self.tcp.setblocking(False)
        self.udp.setblocking(False)
        for listener in (self.tcp.accept, lambda: self.udp.recv(10)):
            with contextlib.suppress(BlockingIOError):
                listener()
                return False
        return self.file.read_text() == "secret" and not self.target.exists() and self.sibling.poll() is None


def attempts(canaries):
    """Return name → what a hijacked decoder would try; each raises when it is denied."""
    sibling, parent = canaries.sibling.pid, os.getppid()

    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    def connect(kind, address, family=socket.AF_INET):
        with socket.socket(family, kind) as s:
            s.connect(address)
            s.send(b"x")

    def trace():
        check(libc.ptrace(0x4206, sibling, 0, 0))  # PTRACE_SEIZE; ends with this process

    def map_more():
        mmap.mmap(-1, LIMITS.memory_bytes * 2).close()

    def regain_root():
        os.setresuid(0, 0, 0)
        if os.geteuid() != 0:
            raise PermissionError(errno.EPERM, "not root")

    def raise_limits():
        resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))

    def shared():
        check(libc.shmget(0, 4096, 0o1600))

    def exec_true():
        if subprocess.run(["/bin/true"], check=False).returncode:
            raise PermissionError(errno.EPERM, "not executed")

    return {
        "read a file": canaries.file.read_text,
        "write a file": lambda: canaries.target.write_text("x"),
        "list a folder": lambda: list(Path("/").iterdir()),
        "look a path up": Path("/etc/passwd").stat,
        "remove a file": canaries.file.unlink,
        "change folder": lambda: os.chdir("/"),
        "read another's memory": lambda: Path(f"/proc/{sibling}/mem").open("rb").close(),
        "TCP": lambda: connect(socket.SOCK_STREAM, canaries.tcp.getsockname()),
        "UDP": lambda: connect(socket.SOCK_DGRAM, canaries.udp.getsockname()),
        "UNIX socket": lambda: connect(socket.SOCK_STREAM, canaries.name, socket.AF_UNIX),
        "fork": fork,
        "exec": exec_true,
        "signal another process": lambda: os.kill(sibling, 0),
        "signal its parent": lambda: os.kill(parent, 0),
        "trace another process": trace,
        "limit another process": lambda: resource.prlimit(sibling, resource.RLIMIT_NOFILE),
        "memfd": lambda: os.close(os.memfd_create("x")),
        "shared memory": shared,
        "more memory": map_more,
        "raise its limits": raise_limits,
        "be root": regain_root,
    }


def needed():
    """Return name → what decoding must be able to do."""

    def thread():
        started = threading.Thread(target=int)
        started.start()
        started.join()

    def sign():
        from videonovelty.signing import sign_video

        sign_video(3, video_id="0" * 64, name="clip", settings=SETTINGS, heartbeat=lambda _: None)

    return {"start a thread": thread, "sign a video": sign}


SETTINGS = load_settings()


def tried(attempt):
    """Return "" when it was denied, else what went through."""
    try:
        attempt()
    except (OSError, MemoryError, ValueError) as error:
        return f"denied: {type(error).__name__}"
    return "allowed"


def in_child(layers, attempt, clip):
    """Make one attempt in a child locked with `layers`; return what became of it."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(clip, 3)
            os.lseek(3, 0, os.SEEK_SET)
            lockdown.lock(LIMITS, layers)
            os.write(send, tried(attempt).encode())
        finally:
            os._exit(0)
    os.close(send)
    told = os.read(receive, 1000).decode()
    os.close(receive)
    _, status = os.waitpid(pid, 0)
    return told or f"ended with {os.waitstatus_to_exitcode(status)}"


def results():
    """Return layer set → attempt → what became of it, and whether the canaries of the full lock were untouched."""
    from videonovelty.signing import sign_video

    clip = os.memfd_create("clip")
    os.write(clip, (Path(lockdown.__file__).parent / CLIP).read_bytes())
    while clip < 10:  # 3 is where children look for it
        clip = os.dup(clip)
    os.lseek(clip, 0, os.SEEK_SET)
    sign_video(clip, video_id="0" * 64, name="clip", settings=SETTINGS, heartbeat=lambda _: None)
    table = {}
    for label, layers in SETS.items():
        with tempfile.TemporaryDirectory(prefix="videonovelty-escape-") as folder:
            canaries = Canaries(Path(folder))
            try:
                everything = attempts(canaries) | needed()
                table[label] = {name: in_child(layers, attempt, clip) for name, attempt in everything.items()}
                table[label]["canaries untouched"] = str(canaries.untouched())
            finally:
                canaries.close()
    return table


if __name__ == "__main__":
    found = results()
    if "--json" in sys.argv:
        print(json.dumps(found))
    else:
        print("| attempt | " + " | ".join(found) + " |")
        print("|---" * (len(found) + 1) + "|")
        for name in found["all"]:
            marks = [found[label][name].partition(":")[0].replace("denied", "no") for label in found]
            print(f"| {name} | " + " | ".join(mark.replace("allowed", "**yes**") for mark in marks) + " |")
