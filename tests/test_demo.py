"""The demo in full, as the README's first command runs it: every file gets the verdict it should."""

from pathlib import Path

from test_screening import run


def test_every_file_of_the_demo_gets_its_verdict(tmp_path: Path) -> None:
    run("demo", tmp_path / "demo")
    assert (tmp_path / "demo" / "run" / "report" / "index.html").exists()
