"""A folder for what a benchmark makes, to be kept or not, and the processes that fill it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

Job = TypeVar("Job")


@contextmanager
def footage_folder(keep: Path | None) -> Iterator[Path]:
    """Provide a folder for footage, a store and a run: the one to keep, or a temporary one."""
    folder = keep or Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder)


def made(folder: Path, make_one: Callable[[Path, Job], None], jobs: Iterable[Job], *, workers: int) -> None:
    """Call `make_one(folder, job)` for each job, some at a time; `folder` has an intake/ then."""
    (folder / "intake").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(make_one, folder), jobs))
