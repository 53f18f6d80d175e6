"""A few of the kills of `make soak`."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_scan_killed_at_seeded_moments_ends_like_an_undisturbed_one() -> None:
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    ran = subprocess.run(
        [sys.executable, tests / "soak.py", "--kills", "3", "--seed", "8"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "kills=3" in ran.stdout
