"""The import table of the architecture: each library is met at one door."""

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOORS = {
    "av": ("videonovelty/decode/",),
    "dask": ("videonovelty/engine.py", "pipelines/"),
    "distributed": ("videonovelty/engine.py", "pipelines/"),
    "fsspec": ("videonovelty/known/remote.py",),
    "typer": ("videonovelty/cli/",),
    "rich": ("videonovelty/cli/", "videonovelty/demo_run.py"),
    "jinja2": ("videonovelty/report/",),
    "numba": tuple(f"videonovelty/matching/{name}.py" for name in ("kernels", "ring_kernels", "word_kernels")),
    "skimage": ("videonovelty/footage.py", "videonovelty/tuning/"),
    "cryptography": ("videonovelty/known/formats/bundle.py",),
    "filelock": ("videonovelty/run.py",),
    "markupsafe": ("videonovelty/report/",),
    "matplotlib": ("videonovelty/tuning/",),
    "onnxruntime": ("videonovelty/signatures/embedding.py",),
    "prometheus_client": ("videonovelty/metrics.py",),
    "pydantic": ("videonovelty/settings.py", "pipelines/"),
    "pydantic_settings": ("videonovelty/settings.py", "pipelines/"),
    "sklearn": ("videonovelty/tuning/",),
    "xlsxwriter": ("videonovelty/report/",),
}
# What the decoding child imports must not know anything that comes after it.
LATER = (
    "batch", "cli", "engine", "grouping", "journal", "judging", "known", "matching", "report", "run", "screening",
    "tables", "verdict",
)  # fmt: skip
# Package or module → what it must not know: what comes after it, or what it is to be judged apart from.
BLIND_TO = {
    "matching": (
        "batch",
        "cli",
        "engine",
        "grouping",
        "lookup",
        "report",
        "run",
        "screening",
        "segments",
        "verdict",
        "judging",
        "tables",
    ),
    "segments": ("batch", "cli", "engine", "known", "lookup", "report", "run", "screening", "verdict"),
    "verdict": (
        "batch",
        "cli",
        "engine",
        "known",
        "lookup",
        "matching",
        "report",
        "run",
        "screening",
        "judging",
        "tables",
    ),
    "known": (
        "batch",
        "cli",
        "engine",
        "grouping",
        "judging",
        "lookup",
        "review",
        "run",
        "screening",
        "tables",
        "verdict",
    ),
    "judging": ("cli", "report", "screening", "tables"),
    "tables": ("cli", "engine", "judging", "lookup", "matching", "screening"),
    "report": ("cli", "decode", "engine", "lookup", "matching", "sandbox", "screening"),
    "run": ("batch", "cli", "engine", "known", "matching", "screening"),
    "engine": ("batch", "cli", "known", "matching", "report", "run", "screening", "signatures"),
    "doctor": ("cli", "screening", "validation"),
    # a validation goes through the commands alone
    "validation": (
        "batch",
        "cli",
        "engine",
        "known",
        "lookup",
        "matching",
        "run",
        "screening",
        "signatures",
        "verdict",
    ),
}
ONLY_COMMANDS_USE = ("cli", "demo_run", "doctor", "validation")
INSIDE_THE_CHILD = (
    "decode/*.py",
    "between.py",
    "keyframes.py",
    "signatures/*.py",
    "signing.py",
    "small_pictures.py",
    "records.py",
    "errors.py",
)


@functools.cache
def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("library", DOORS)
def test_library_is_imported_at_its_door_only(library: str) -> None:
    sources = [p for folder in ("videonovelty", "pipelines") for p in (ROOT / folder).rglob("*.py")]
    outside = [
        str(path.relative_to(ROOT))
        for path in sources
        if any(name.split(".")[0] == library for name in _imports(path))
        and not str(path.relative_to(ROOT)).startswith(DOORS[library])
    ]
    assert outside == []


def test_decoding_child_imports_nothing_of_the_later_stages() -> None:
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for pattern in INSIDE_THE_CHILD
        for path in (ROOT / "videonovelty").glob(pattern)
        for name in _imports(path)
        if name.startswith(tuple(f"videonovelty.{later}" for later in LATER))
    ]
    assert wrong == []


@pytest.mark.parametrize("part", BLIND_TO)
def test_stage_does_not_know_what_comes_after_it(part: str) -> None:
    folder = ROOT / "videonovelty"
    paths = [folder / f"{part}.py"] if (folder / f"{part}.py").exists() else list((folder / part).rglob("*.py"))
    assert paths
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in paths
        for name in _imports(path)
        if name.split(".")[0] == "videonovelty" and name.split(".")[1:2] and name.split(".")[1] in BLIND_TO[part]
    ]
    assert wrong == []


def test_library_does_not_know_its_commands() -> None:
    folder = ROOT / "videonovelty"
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in folder.rglob("*.py")
        for name in _imports(path)
        for part in ONLY_COMMANDS_USE
        if name.split(".")[:2] == ["videonovelty", part]
        and path.relative_to(folder).parts[0].removesuffix(".py") not in (part, "cli")
    ]
    assert wrong == []


def test_opencv_reads_no_files() -> None:
    readers = ("VideoCapture", "imread", "imreadmulti", "FileStorage")
    wrong = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "videonovelty").rglob("*.py")
        if any(f"cv2.{reader}" in path.read_text() for reader in readers)
    ]
    assert wrong == []


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "helpers", "common", "base", "manager", "misc"}
    assert not [path for path in (ROOT / "videonovelty").rglob("*.py") if path.stem in drawers]


def test_the_command_keeps_matrix_products_on_one_thread() -> None:
    code = (
        "import os, sys\n"
        "from videonovelty.cli import main\n"
        "sys.argv = ['videonovelty', '--version']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'numpy' not in sys.modules, 'loaded before it was told'\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    for given, expected in (({}, "1 1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3 1")):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == expected
