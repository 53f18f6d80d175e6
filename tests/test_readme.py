"""What the README tells people to type: every command exists and takes what is written; the complete run runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import make_video
import pytest
import typer
from test_screening import run

from videonovelty.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
LINES = [line.split("  #")[0].strip() for line in BLOCKS.splitlines() if line.startswith("videonovelty ")]


def parse(words: list[str]) -> None:
    """Parse a command without running it. Raises what the command line would say is wrong with it."""
    command = typer.main.get_command(app)
    context = command.make_context("videonovelty", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        if command is None:
            raise ValueError(f"no such command: {name}")
        context = command.make_context(
            name, list(words), parent=context, resilient_parsing=hasattr(command, "commands")
        )


@pytest.mark.parametrize("line", LINES)
def test_command_takes_what_the_readme_writes(line: str) -> None:
    parse(shlex.split(line)[1:])


def test_a_command_with_an_option_there_is_not_would_be_noticed() -> None:
    assert len(LINES) > 20
    parse(["scan", "x", "--store", "s", "--run", "r"])
    for wrong in (["scan", "x", "--store", "s", "--run", "r", "--hurry"], ["scna", "x"], ["scan", "x"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing|--run"):
            parse(wrong)


def test_modules_targets_and_files_the_readme_names_exist() -> None:
    for module in set(re.findall(r"python -m ((?:benchmarks|pipelines)[\w.]*)", README)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for name in re.findall(r"python -m benchmarks (\w+)", README):
        assert (ROOT / "benchmarks" / f"{name}.py").exists(), name
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([\w-]+)", README)) | set(re.findall(r"^make ([\w-]+)$", BLOCKS, re.MULTILINE))
    assert named - {"targets"} <= targets
    for shown in set(re.findall(r"`((?:videonovelty|tests|sample_config|pipelines)/[\w/.-]+\.\w+)`", README)):
        assert (ROOT / shown).exists(), shown
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert 0 < (ROOT / picture).stat().st_size <= 150_000


def test_the_complete_run_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = README.split("## One complete run", 1)[1]
    commands = [shlex.split(line) for line in section.split("```")[1].strip().splitlines()]
    for folder in ("originals", "intake"):
        (tmp_path / "demo" / folder).mkdir(parents=True)
    make_video.make_clip(tmp_path / "demo" / "originals" / "a.mp4", 61, 5.0)
    make_video.make_clip(tmp_path / "demo" / "intake" / "copy.mkv", 61, 5.0, crf=33)
    (tmp_path / "demo" / "intake" / "text.mp4").write_text("no video")
    monkeypatch.chdir(tmp_path)
    for program, *words in commands:
        assert program == "videonovelty"
        single = [("0" if before == "--workers" else word) for before, word in zip(["", *words], words, strict=False)]
        run(
            *single, *(["--workers", "0"] if words[:2] == ["known", "add"] else []), code=3 if words[0] == "scan" else 0
        )
    told = section.split("| verdict |")[0]
    left = {path.name for path in (tmp_path / "runs" / "monday").iterdir()}
    for shown in ("run.json", "metrics.prom", "journal.jsonl", "parts", "report"):
        assert shown in told
        assert shown in left
