"""The operator's guide in the README: every command in it is run, in its order, as it stands there."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import make_video
import pytest
from test_screening import run

from pipelines import enrol, nightly

ROOT = Path(__file__).parents[1]
CODES = {"scan": 3, "nightly": 3}
"""The intake holds a file that is no video, so finished nights say 3."""


def guide() -> list[str]:
    """The command lines of the section up to its first sub-section, comments and continuations removed."""
    text = (ROOT / "README.md").read_text()
    section = text.split("## For the batch operator", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    blocks = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("guide")
    (made / "enrol" / "case-17").mkdir(parents=True)
    (made / "intake").mkdir()
    make_video.make_clip(made / "enrol" / "case-17" / "a.mp4", 61, 5.0)
    make_video.make_clip(made / "intake" / "copy.mkv", 61, 5.0, crf=33)
    make_video.make_clip(made / "intake" / "new.mp4", 62, 3.0)
    (made / "intake" / "text.mp4").write_text("no video")
    for name in ("nightly", "enrol"):
        text = (ROOT / "sample_config" / f"{name}.toml").read_text()
        text = text.replace("/intake/tonight", str(made / "intake")).replace("/srv/videonovelty", str(made))
        text = text.replace("settle_seconds = 2.0", "settle_seconds = 0.0")
        (made / f"{name}.toml").write_text(re.sub(r"\nworkers = \d+", "\nworkers = 0", text))
    return made


def test_every_command_of_the_guide_does_what_it_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("videonovelty.doctor._watched_limits", lambda _: iter(()))  # seconds each; tests of the doctor
    commands = guide()
    for line in commands:
        # only places and days are put in
        for place, here in (
            ("sample_config/", f"{folder}/"),
            ("/etc/videonovelty/", f"{folder}/"),
            ("/srv/videonovelty", str(folder)),
            ("/intake/tonight", f"{folder}/intake"),
        ):
            line = line.replace(place, here)  # noqa: PLW2901
        line = re.sub(r"--before 20\d\d-\d\d-\d\d", f"--before {datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}", line)  # noqa: PLW2901
        words = shlex.split(re.sub(r"--workers \d+", "--workers 0", line))
        if words[:2] == ["python", "-m"]:
            job = {"pipelines.nightly": nightly, "pipelines.enrol": enrol}[words[2]]
            assert job.main(words[3:]) == CODES.get(words[2].rsplit(".", 1)[1], 0), line
        else:
            assert words[0] == "videonovelty", line
            code = 0 if "--dry-run" in words else CODES.get(words[1], 0)
            run(*words[1:], code=code)
    ran = " ".join(commands)
    for name in (
        "doctor",
        "enrol",
        "nightly",
        "--dry-run",
        "--retry-failed",
        "known log",
        "known verify",
        "recheck",
        "purge",
    ):
        assert name in ran, f"the guide does not show {name}"
