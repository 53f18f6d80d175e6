"""Memory for costly functions of arrays alone: off in a scan, on where the same pairs are aligned again and again.

Within `remembering()`, a function marked `@remembered` is computed once for equal arguments. It must depend on nothing
but its arguments, and nobody may change what it returns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

_memory: ContextVar[dict[Any, Any] | None] = ContextVar("memory", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Remember what marked functions return, until the end of the block."""
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function whose answers may be remembered."""

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        memory = _memory.get()
        if memory is None:
            return function(*args, **kwargs)
        key = (function, tuple(map(_key, args)), tuple((name, _key(value)) for name, value in kwargs.items()))
        if key not in memory:
            memory[key] = function(*args, **kwargs)
        found: R = memory[key]
        return found

    return asked


def _key(value: Any) -> Any:
    """Return what is equal for equal arguments."""
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes())
    if is_dataclass(value) and not isinstance(value, type):
        return tuple(_key(getattr(value, one.name)) for one in fields(value))
    return value
