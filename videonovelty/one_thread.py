"""One thread a process: videos are what runs in parallel, by the number of workers."""

from __future__ import annotations

import os

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""Variables that keep numerical libraries from starting threads of their own; they read them when they are loaded.

Products of matrices as small as ours take a third more processor time on two threads than on one, and no less time.
"""


def keep_to_one_thread() -> None:
    """Set what is not set already; to be called before numpy is loaded."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
