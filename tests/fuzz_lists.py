"""Damage lists of every format byte by byte and read each copy: every one must end in entries or in words.

`python tests/fuzz_lists.py` reads 2,000 copies a format (`make fuzz`); `--seeds` and `--first` do less, or other ones.
A copy that takes longer than 20 s, needs more than a gigabyte or raises anything but a SettingsError fails the run, and
is told by its seed.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from make_lists import damaged_copies

SECONDS_PER_COPY = 20
MEMORY = 1 << 30


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS_PER_COPY} s a copy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    told = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    began = time.monotonic()
    totals: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(told.first, told.first + told.seeds):
            signal.alarm(SECONDS_PER_COPY * 12)
            try:
                found = damaged_copies(Path(folder), [seed])
            except BaseException as error:
                sys.exit(f"seed {seed}: {type(error).__name__}: {error}")
            for name, counts in found.items():
                for what, count in counts.items():
                    totals.setdefault(name, {})[what] = totals.get(name, {}).get(what, 0) + count
    signal.alarm(0)
    for name, counts in sorted(totals.items()):
        print(f"{name:>10}: " + ", ".join(f"{what} {count:,}" for what, count in sorted(counts.items())))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{told.seeds} copies a format in {time.monotonic() - began:.0f} s; memory grew by {grown:.0f} MB")


if __name__ == "__main__":
    main()
