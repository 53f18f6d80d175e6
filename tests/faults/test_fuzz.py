"""T26: a sample of the fuzz run (`fuzz.py` has the whole), and the collection of malformed files."""

import os
from pathlib import Path

import pytest
from conftest import children_of
from fuzz import CONTAINERS, fuzz

from videonovelty.errors import Reason, VideoError
from videonovelty.intake import display_path, enumerate_intake, opened, sight, unchanged
from videonovelty.sandbox import Sandbox
from videonovelty.settings import IntakeSettings, load_settings

SHARED = Path(os.environ.get("VIDEONOVELTY_SHARED", Path(__file__).parents[3] / "shared"))


def test_damaged_copies_each_end_in_one_answer():
    counts, wrong = fuzz(list(CONTAINERS), range(12))
    assert wrong == []
    for container, found in counts.items():
        assert sum(number for reason, number in found.items() if not reason.startswith(" ")) == 12, container


@pytest.mark.slow
def test_no_damaged_copy_makes_the_decoder_try_a_forbidden_call():
    """Denied calls fail with EPERM, which a decoder might blame on the file; here they kill, so they would be seen."""
    _, wrong = fuzz(list(CONTAINERS), range(1000, 1040), kill_on_denied=True)
    assert wrong == []


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "hostile").is_dir(), reason="the collection of malformed files is not here")
def test_each_malformed_file_ends_in_one_answer_and_stays_as_it_was():
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (SHARED / "hostile").iterdir())
    answers = {}
    with Sandbox(load_settings(), kill_on_denied=True) as sandbox:
        zygote = sandbox._running().process
        for entry in enumerate_intake([SHARED / "hostile"], IntakeSettings()):
            name = display_path(entry.path_raw)
            sighting, hashes = sight(entry.path_raw, IntakeSettings())
            assert hashes is not None
            with opened(entry.path_raw) as fd:
                try:
                    signed = sandbox.sign(fd, video_id=sighting.video_id, name=name)
                    assert signed.signatures.video_id == sighting.video_id
                    answers[name] = None
                except VideoError as error:
                    answers[name] = error.reason
                assert unchanged(fd, sighting)
        assert sandbox._running().process is zygote
        assert children_of(zygote.pid) == []
    assert len(answers) == len(before)
    ours = {Reason.PROTOCOL_VIOLATION, Reason.CRASHED, Reason.STALLED, Reason.WALL_LIMIT}
    assert not ours & set(answers.values()), answers
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (SHARED / "hostile").iterdir()) == before
