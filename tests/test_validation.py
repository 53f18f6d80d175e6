"""Validation: every check turns red on the night that breaks its rule; a broken stage turns exactly its cases red."""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from videonovelty.validation import Validation, checks
from videonovelty.validation.checks import EntryFacts, Night
from videonovelty.validation.commands import Commands
from videonovelty.validation.material import BROKEN, COPY, HOSTILE, NAMED, NEW, ODD, SPLICE, TAKE, Made, make_material
from videonovelty.validation.page import POLICY, describe, write_validation
from videonovelty.validation.procedure import PROCEDURE
from videonovelty.validation.requirements import ASSERTIONS, REQUIREMENTS, Case

ROOT = Path(__file__).parents[1]
ALPHA, BRAVO = "a" * 64, "b" * 64

MADE = (
    Made("copy.mp4", COPY, "mirror", "alpha"),
    Made("part.mp4", NAMED, "meme", "alpha"),
    Made("new.mp4", NEW, "as filmed", new=((0.0, 8.0),)),
    Made("take.mp4", TAKE, "take 1", "bravo", ((0.0, 8.0),)),
    Made("splice.mp4", SPLICE, "put in", "alpha", ((4.0, 7.0),)),
    Made("black.mp4", BROKEN, "black"),
    Made("evil.mp4", HOSTILE, "asks"),
    Made("pipe.mp4", ODD, "pipe"),
)


def row(name: str, verdict: str, **fields: Any) -> dict[str, Any]:
    return {
        "path": f"/in/{name}",
        "path_raw": base64.b64encode(f"/in/{name}".encode()).decode(),
        "video_id": name,
        "verdict": verdict,
        "needs_review": verdict != "known",
        "reason": "reason",
        "best_known_id": None,
        "known_seconds": 0.0,
        "duration_seconds": 8.0,
        "sandboxed": True,
    } | fields


def segment(name: str, start: float, end: float, kind: str, known: str | None = None) -> dict[str, Any]:
    return {"video_id": name, "start_seconds": start, "end_seconds": end, "kind": kind, "known_video_id": known}


def good_night() -> Night:
    rows = {
        "copy.mp4": row("copy.mp4", "known", best_known_id=ALPHA),
        "part.mp4": row("part.mp4", "same_scene", best_known_id=ALPHA),
        "new.mp4": row("new.mp4", "novel"),
        "take.mp4": row("take.mp4", "same_scene", best_known_id=BRAVO),
        "splice.mp4": row("splice.mp4", "partly_known", best_known_id=ALPHA),
        "black.mp4": row("black.mp4", "not_comparable"),
        "evil.mp4": row("evil.mp4", "not_comparable"),
        "pipe.mp4": row("pipe.mp4", "not_comparable"),
    }
    segments = [
        segment("copy.mp4", 0.0, 8.0, "known", ALPHA),
        segment("new.mp4", 0.0, 8.0, "novel"),
        segment("splice.mp4", 0.0, 4.1, "known", ALPHA),
        segment("splice.mp4", 4.1, 6.9, "novel"),
        segment("splice.mp4", 6.9, 8.0, "known", ALPHA),
    ]
    return Night(
        MADE, {name: [one] for name, one in rows.items()}, checks.by_video(segments), {ALPHA: "alpha", BRAVO: "bravo"}
    )


def judged(night: Night) -> list[Case]:
    return [
        *checks.new_videos_stay(night),
        *checks.new_seconds_stay(night),
        *checks.unusable_stay(night),
        *checks.rows_are_consistent(night),
        *checks.every_entry_is_a_row(night, sum(map(len, night.rows.values()))),
        *checks.copies_are_cleared(night),
        *checks.hostile_files_reach_nothing(night, 0, []),
        checks.all_locked(night),
    ]


def red(cases: list[Case]) -> list[str]:
    return sorted({case.assertion for case in cases if not case.passed})


def changed(name: str, **fields: Any) -> Night:
    night = good_night()
    return replace(night, rows={**night.rows, name: [night.rows[name][0] | fields]})


def test_a_good_night_passes_every_case() -> None:
    cases = judged(good_night())
    assert red(cases) == []
    assert {case.assertion for case in cases} >= {"R1.1", "R1.2", "R1.3", "R1.4", "R1.5", "R2.2", "R3.1", "R3.2"}


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("new.mp4", {"verdict": "known", "needs_review": False}, ["R1.1"]),
        ("new.mp4", {"verdict": "partly_known"}, ["R1.1"]),
        ("take.mp4", {"verdict": "partly_known"}, ["R1.2"]),
        ("splice.mp4", {"verdict": "known", "needs_review": False}, ["R1.3"]),
        ("black.mp4", {"reason": ""}, ["R1.4"]),
        ("evil.mp4", {"verdict": "known", "needs_review": False}, ["R1.4", "R4.3"]),
        ("new.mp4", {"needs_review": False}, ["R1.1", "R1.5"]),
        ("new.mp4", {"duration_seconds": 9.0}, ["R1.5"]),
        ("copy.mp4", {"verdict": "same_scene", "needs_review": True}, ["R3.1"]),
        ("copy.mp4", {"best_known_id": BRAVO}, ["R3.1"]),
        ("part.mp4", {"best_known_id": None}, ["R3.2"]),
        ("pipe.mp4", {"sandboxed": False}, ["R4.4"]),
    ],
)
def test_a_row_that_breaks_a_rule_fails_the_cases_of_that_rule(
    name: str, fields: dict[str, Any], expected: list[str]
) -> None:
    assert red(judged(changed(name, **fields))) == expected


def test_a_lost_row_and_a_doubled_row_fail() -> None:
    night = good_night()
    lost = replace(night, rows={name: rows for name, rows in night.rows.items() if name != "pipe.mp4"})
    assert red(judged(lost)) == ["R1.4", "R2.2"]
    doubled = replace(night, rows={**night.rows, "copy.mp4": night.rows["copy.mp4"] * 2})
    assert red(judged(doubled)) == ["R2.2", "R3.1"]


def test_new_seconds_called_known_fail_beyond_the_half_second_an_edge_takes() -> None:
    night = good_night()
    edge = [segment("splice.mp4", 0.0, 4.45, "known", ALPHA), segment("splice.mp4", 4.45, 8.0, "novel")]
    assert red(judged(replace(night, segments={**night.segments, "splice.mp4": edge}))) == []
    more = [segment("splice.mp4", 0.0, 4.55, "known", ALPHA), segment("splice.mp4", 4.55, 8.0, "novel")]
    assert red(judged(replace(night, segments={**night.segments, "splice.mp4": more}))) == ["R1.3"]


def test_changed_files_connections_and_leaks_fail() -> None:
    facts = {"a": EntryFacts("1" * 64, 3, 0o600, 5)}
    assert checks.unaltered("R2.1", "intake", facts, facts).passed
    for other in ({}, {"a": replace(facts["a"], modified_ns=6)}, facts | {"b": facts["a"]}):
        assert not checks.unaltered("R2.1", "intake", facts, other).passed
    assert not checks.unaltered("R2.1", "intake", {}, {}).passed  # nothing looked at is nothing shown
    assert red([*checks.private({"run": {"a": replace(facts["a"], mode=0o640)}})]) == ["R2.5"]
    assert red([*checks.hostile_files_reach_nothing(good_night(), 1, [])]) == ["R4.3"]
    assert red([*checks.hostile_files_reach_nothing(good_night(), 0, ["run/x"])]) == ["R4.3"]
    named = replace(good_night(), made=[MADE[0]])
    assert checks.ids_are_digests(named, {"copy.mp4": EntryFacts("copy.mp4", 3, 0, 0)}).passed
    assert not checks.ids_are_digests(named, {"copy.mp4": EntryFacts("other", 3, 0, 0)}).passed


def test_a_missing_layer_a_limit_that_does_not_bite_and_a_doctor_that_says_nothing_fail() -> None:
    good = [{"name": f"sandbox: {i}", "status": "ok", "detail": ""} for i in range(6)]
    good += [{"name": f"watched limit: {i}", "status": "ok", "detail": ""} for i in range(3)]
    assert red([*checks.layers_hold(good)]) == []
    assert red([*checks.layers_hold([good[0] | {"status": "fail"}, *good[1:]])]) == ["R4.1"]
    assert red([*checks.layers_hold([*good[:-1], good[-1] | {"status": "fail"}])]) == ["R4.2"]
    assert red([*checks.layers_hold([])]) == ["R4.1", "R4.2"]


def test_codes_of_another_bit_order_fail() -> None:
    reference = {"one": "0f" * 32, "two": "55" * 32}
    assert red([*checks.pdq_agrees({name: [code] for name, code in reference.items()}, reference)]) == []
    turned = {name: [f"{int(code, 16) ^ (2**256 - 1):064x}"] for name, code in reference.items()}
    assert red([*checks.pdq_agrees(turned, reference)]) == ["R7.1"]
    assert red([*checks.pdq_agrees({}, reference)]) == ["R7.1"]


def test_verdicts_that_fell_must_be_listed_and_no_others() -> None:
    night = good_night()
    resting = checks.rests_on(night, ALPHA)
    assert resting == {"copy.mp4", "splice.mp4"}
    assert checks.fallen(resting, resting).passed
    assert not checks.fallen(resting, resting - {"copy.mp4"}).passed
    assert not checks.fallen(resting, resting | {"new.mp4"}).passed
    assert not checks.fallen(set(), set()).passed


@pytest.mark.parametrize(
    "page", ['<img src="x.png">', '<link href="https://x/">', "<style>a{background:url(x.png)}</style>"]
)
def test_a_page_that_asks_for_something_fails(page: str) -> None:
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; img-src data:">'
    assert red([*checks.page_is_closed(policy + "<a href='#x'>x</a>")]) == []
    assert red([*checks.page_is_closed(policy + page)]) == ["R11.1"]
    assert red([*checks.page_is_closed("")]) == ["R11.1"]
    assert not checks.no_pictures({"a": b"\x89PNG\r\n\x1a\n"}).passed


def test_every_requirement_has_a_procedure_and_assertions_of_its_own() -> None:
    assert [one.id for one in REQUIREMENTS] == list(PROCEDURE)
    assert all(id_.split(".")[0] == one.id for one in REQUIREMENTS for id_ in one.assertions)


def _validation(*cases: Case) -> Validation:
    return Validation(REQUIREMENTS, cases, (), (("<img>", "new", "as filmed", "0" * 64),))


def test_report_names_what_failed_escapes_names_and_asks_for_nothing(tmp_path: Path) -> None:
    good = [Case(id_, "a <b>", "x", "x", True) for id_ in ASSERTIONS]
    page = write_validation(_validation(*good), tmp_path).read_text()
    assert "All cases passed." in page
    assert POLICY in page.replace("&#x27;", "'")
    assert "a &lt;b&gt;" in page
    assert "<img>" not in page
    assert "http" not in page.replace("http-equiv", "")
    bad = [*good, Case("R3.1", "mirror", "known", "novel", False)]
    page = write_validation(_validation(*bad), tmp_path).read_text()
    assert f"1 of {len(bad)} cases failed." in page
    document = json.loads((tmp_path / "validation.json").read_text())
    assert document == describe(_validation(*bad)) | {"made_at": document["made_at"]}
    assert [one["id"] for one in document["requirements"] if not one["passed"]] == ["R3"]
    assert not document["passed"]
    assert (tmp_path / "index.html").stat().st_mode & 0o777 == 0o600
    assert not describe(_validation())["passed"]  # no case is no proof


# ---- the real thing ---------------------------------------------------------------------------------------


TRY = """
import json, pickle, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from videonovelty.validation.commands import Commands
from videonovelty.validation.procedure import PROCEDURE, Trial
import videonovelty.validation.commands as commands
commands.PROGRAM = (sys.executable, "-c", f"import sys; sys.path.insert(0, {sys.argv[1]!r}); "
                    "from videonovelty.cli import main; main()")
trial = Trial(Path(sys.argv[2]), Commands(), workers=2, tell=lambda *_: None)
trial.material = pickle.loads(Path(sys.argv[3]).read_bytes())
cases = [case for one in sys.argv[4:] for case in PROCEDURE[one](trial)]
trial.close()
print(json.dumps([[case.assertion, case.name, case.expected, case.observed, case.passed] for case in cases]))
"""


def tried(package: Path, folder: Path, footage: Path, *requirements: str) -> list[Case]:
    """Try requirements with the package found in `package`, on footage made before, in processes of their own."""
    folder.mkdir()
    words = [sys.executable, "-c", TRY, str(package), str(folder), str(footage), *requirements]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [Case(*fields) for fields in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The footage of a validation, made once, as a pickled record."""
    folder = tmp_path_factory.mktemp("validation")
    made = make_material(folder / "material", port=9, workers=2, progress=lambda *_: None)
    (folder / "material.pickle").write_bytes(pickle.dumps(made))
    return folder / "material.pickle"


def broken(folder: Path, additions: dict[str, str]) -> Path:
    """Copy the package into `folder` with lines added to the end of some modules, and return the folder."""
    shutil.copytree(ROOT / "videonovelty", folder / "videonovelty", ignore=shutil.ignore_patterns("*.pyc"))
    for module, text in additions.items():
        with (folder / "videonovelty" / module).open("a") as file:
            file.write("\n\n" + textwrap.dedent(text))
    return folder


STAGES: dict[str, tuple[dict[str, str], list[str], list[str]]] = {
    # what is added, which requirements are tried, which assertions fail
    "nothing": ({}, ["R1", "R2", "R3", "R6", "R7", "R8"], []),
    "PDQ prints its bytes in another order, and nothing checks it": (
        {
            "signatures/pdq.py": """
                _right = pdq

                def pdq(luma):
                    codes, quality = _right(luma)
                    return np.ascontiguousarray(codes[..., ::-1]), quality
            """,
            "signatures/built_in.py": "def self_check():\n    return None\n",
        },
        ["R3", "R6", "R7"],
        ["R7.1"],
    ),
    "likeness counts as proof": (
        {
            "matching/alignment.py": """
                _right = align

                def align(*args, **options):
                    return [replace(s, proof=replace(s.proof, proven=True)) for s in _right(*args, **options)]
            """
        },
        ["R1", "R2", "R3"],
        ["R1.2", "R1.3"],
    ),
    "intake leaves pipes out and touches what it opens": (
        {
            "intake.py": """
                _right = enumerate_intake

                def enumerate_intake(*args, **options):
                    for entry in _right(*args, **options):
                        if not entry.path_raw.endswith(b"pipe.mp4"):
                            if entry.path_raw.endswith(b"mirror.mp4"):
                                os.utime(entry.path_raw)
                            yield entry
            """
        },
        ["R1", "R2", "R3"],
        ["R1.4", "R2.1", "R2.2"],
    ),
    "recheck lists nothing": (
        {"recheck.py": "def fallen_verdicts(runs, snapshot):\n    return iter(())\n"},
        ["R2", "R8"],
        ["R8.1"],
    ),
}


@pytest.mark.timeout(600)
def test_a_sound_installation_keeps_what_it_promises_about_verdicts(tmp_path: Path, footage: Path) -> None:
    cases = tried(ROOT, tmp_path / "trial", footage, "R1", "R2", "R3")
    assert len(cases) > 40
    assert red(cases) == [], [case for case in cases if not case.passed]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", STAGES)
def test_a_broken_stage_fails_exactly_its_cases(tmp_path: Path, footage: Path, stage: str) -> None:
    additions, requirements, expected = STAGES[stage]
    cases = tried(broken(tmp_path / "package", additions), tmp_path / "trial", footage, *requirements)
    assert red(cases) == expected, [case for case in cases if not case.passed]


def test_killed_command_is_told_from_one_that_ended(tmp_path: Path) -> None:
    ran, alive = Commands().kill_when(lambda: True, "doctor")
    assert (ran.code, alive) == (-9, [])
