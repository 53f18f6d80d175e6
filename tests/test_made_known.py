"""Made-up known videos of the benchmarks: as many as asked for, always the same, and near no real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make_known import WHO, entry

from benchmarks import made_known, matching_cost
from videonovelty.known import KnownStore


def test_made_up_videos_are_put_beside_the_real_ones_once(tmp_path: Path) -> None:
    store = KnownStore.create(tmp_path / "store")
    store.add([entry(number) for number in range(6)], **WHO)
    real = made_known.real_of(store)
    facts = made_known.add_made_up(store, 100)
    assert facts["videos"] == 6 + 3  # 40 keyframes each
    assert facts["keyframes"] == 6 * 6 + 3 * made_known.KEYFRAMES
    assert facts["made_up_descriptors"] > 0
    snapshot = store.snapshot()
    assert made_known.add_made_up(store, 100) == facts
    assert store.snapshot().number == snapshot.number
    again = made_known.real_of(store)  # what is made up is not taken for real
    assert np.array_equal(again.pdq, real.pdq)
    made = [video.video_id for video in snapshot.videos() if video.memberships[0].list_name == made_known.LIST]
    for frames in snapshot.frames_of(made, real.scheme).values():
        apart = np.bitwise_count(frames.pdq[:, None] ^ real.pdq[None]).sum(axis=2)
        assert apart.min() > 31
        assert np.median(apart.min(axis=1)) < 100  # yet they are made of real ones
    assert set(snapshot.motion_of(made, real.scheme)) == set(made)


def test_made_up_videos_are_always_the_same(tmp_path: Path) -> None:
    store = KnownStore.create(tmp_path / "store")
    store.add([entry(number) for number in range(4)], **WHO)
    real = made_known.real_of(store)
    for one, other in zip(*(made_known.entries(real, 2, 0.3) for _ in range(2)), strict=True):
        assert one.video == other.video
        assert one.signatures is not None
        assert other.signatures is not None
        assert np.array_equal(one.signatures.pdq, other.signatures.pdq)
        assert np.array_equal(one.signatures.local.codes, other.signatures.local.codes)


def test_cost_of_each_video_is_told_from_that_of_the_command() -> None:
    found = matching_cost.lines({"large": {100: 7.0, 800: 21.0}})
    assert found["large"] == pytest.approx({"each_video": 0.02, "each_command": 5.0})
