"""Signing in a zygote that gets no process: never, or not at once. For jobs: `scarce_processes:sign`, `:sign_later`."""

import errno
import os
import sys

import evil_jobs

_fork = os.fork
_wanted = {"refusals": 0}


def _scarce():
    if sys._getframe(1).f_code.co_name == "_fork" and _wanted["refusals"] > 0:
        _wanted["refusals"] -= 1
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


os.fork = _scarce


def sign(fd, **arguments):
    """Sign as `evil_jobs` does; the zygote, which warms up by it, is then never given a process."""
    _wanted["refusals"] = 1 << 30
    return evil_jobs.sign(fd, **arguments)


def sign_later(fd, **arguments):
    """Sign as `evil_jobs` does; the zygote, which warms up by it, is then refused a process twice."""
    _wanted["refusals"] = 2
    return evil_jobs.sign(fd, **arguments)
