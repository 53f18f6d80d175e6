"""Code that is not ours reads our exports and finds the same frames; our reader takes what it writes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

PEERS = os.environ.get("VIDEONOVELTY_PEERS", sys.executable)
"""A Python with `threatexchange` and `pdqhash`."""


def _has_peers() -> bool:
    done = subprocess.run([PEERS, "-c", "import threatexchange, pdqhash, faiss"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not _has_peers(), reason="threatexchange and pdqhash are not installed: set VIDEONOVELTY_PEERS")
def test_threatexchange_and_pdqhash_agree_with_us(tmp_path):
    from benchmarks.lists import peers

    found = peers(argparse.Namespace(peers=PEERS), tmp_path)
    assert "skipped" not in found
    assert found["queries_matched"] == found["queries"] == 3
    counts = str(found["pdq_found"]).split(" of ")
    assert counts[0] == counts[1] != "0"
    assert found["pdqhash_bits_apart_most"] <= 8
    assert found["theirs_same_frames"]
