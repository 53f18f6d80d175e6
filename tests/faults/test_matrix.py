"""The table of the faults: every row has its place, and every place it names is there."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = {
    tuple(re.findall(r"T\d\d", first)): where
    for first, _what, where in re.findall(
        r"^\| (T\d\d[^|]*) \|([^|]*)\| (.*) \|$", (HERE / "README.md").read_text(), re.MULTILINE
    )
}


def names_in(path):
    return [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def test_each_fault_has_one_row():
    numbers = [number for row in ROWS for number in row]
    assert sorted(numbers) == [f"T{number:02}" for number in range(1, 64)]


def test_each_row_names_tests_that_are_there():
    missing = []
    for row, where in ROWS.items():
        places = re.findall(r"`([\w./]+\.py)(?:::(\w+))?`", where)
        if not any(words for _, words in places):
            missing.append((row, "names no test"))
        for path, words in places:
            file = HERE / path
            if not file.is_file():
                missing.append((row, path))
            elif words and not any(words in name for name in names_in(file) if name.startswith("test_")):
                missing.append((row, f"{path}::{words}"))
    assert missing == []


def test_each_make_target_is_there():
    makefile = (HERE.parents[1] / "Makefile").read_text()
    targets = {target for where in ROWS.values() for target in re.findall(r"`make (\w+)`", where)}
    assert targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
