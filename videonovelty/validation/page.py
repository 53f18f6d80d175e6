"""The validation report: one page to print or to file as PDF, and the same as JSON. It asks nothing of any network."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from videonovelty import __version__
from videonovelty.report.exports import write_atomically
from videonovelty.validation import Validation
from videonovelty.validation.requirements import Case, Requirement

FORMAT = "videonovelty-validation"
FORMAT_VERSION = 1
LIBRARIES = ("av", "numpy", "opencv-python-headless", "scikit-image", "pyarrow", "dask", "distributed", "numba")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
LIMITS = (
    "The footage is generated. It holds every edit and every kind of file named below, but no agency's own material: "
    "`videonovelty samples make` and `videonovelty tune` measure that.",
    "Each edit is tried on one known video, with parameters drawn from a seed. How often an edit is cleared is a "
    "measurement (`python -m benchmarks.accuracy`), not a matter of passing.",
    "Known footage in which nothing moves, and excerpts under two seconds, are not cleared by design.",
    "Damaged files are tried by some examples; `make fuzz` tries thousands.",
    "PDQ is computed from an area-averaged picture, the reference from a picture of full size: photographs come out "
    "alike; a scanned page of small print, which scikit-image brings along and is not among the cases, is 40 bits off.",
    "What this computer's operating system and disk do with deleted files is outside this validation.",
)
STYLE = """
:root{color-scheme:light}
body{font:14px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1.2rem;color:#1a1a1a;
background:#fff}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2rem 0 .4rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.4rem 0}table{border-collapse:collapse;width:100%;margin:.3rem 0 1rem;table-layout:fixed}
th,td{text-align:left;vertical-align:top;padding:.25rem .5rem;border-bottom:1px solid #d0d0d0;overflow-wrap:anywhere}
th{background:#f2f2f2}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.result{font-weight:600;white-space:nowrap}.pass{color:#0b5d1e}.fail{color:#a30000}
tr.failed td{background:#fdeaea}
.verdict{border:2px solid;padding:.6rem 1rem;font-size:1.1rem;font-weight:600;margin:1rem 0}
code{font-size:.92em;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:12rem 1fr;gap:.15rem 1rem;margin:.4rem 0}
dt{color:#555}dd{margin:0;overflow-wrap:anywhere}
.c1{width:32%}.c2{width:25%}.c4{width:5.5rem}.id{width:4.5rem}
.sign{margin-top:2.5rem;display:grid;grid-template-columns:1fr 1fr;gap:3rem}
.sign p{border-top:1px solid #333;padding-top:.3rem}
@page{size:A4;margin:16mm 14mm 18mm}
@media print{body{font-size:9.5pt;max-width:none;margin:0;padding:0}h2,h3{break-after:avoid}tr{break-inside:avoid}
thead{display:table-header-group}.verdict,.pass,.fail,th,tr.failed td{print-color-adjust:exact}
section.page{break-before:page}}
"""


def describe(validation: Validation, *, at: datetime | None = None) -> dict[str, Any]:
    """Return the whole validation as plain JSON values."""
    failed = len(validation.failed)
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "made_at": (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "passed": bool(validation.cases) and not failed,
        "cases": len(validation.cases),
        "failed": failed,
        "tool": {"name": "videonovelty", "version": __version__, "libraries": _libraries()},
        "machine": _machine(),
        "requirements": [
            {
                "id": requirement.id,
                "text": requirement.text,
                "passed": all(case.passed for case in validation.of(requirement.id)),
                "assertions": [
                    {
                        "id": id_,
                        "text": text,
                        "passed": all(case.passed for case in validation.of(id_)),
                        "cases": [asdict(case) for case in validation.of(id_)],
                    }
                    for id_, text in requirement.assertions.items()
                ],
            }
            for requirement in validation.requirements
        ],
        "commands": [
            {"words": list(ran.words), "exit_code": ran.code, "seconds": round(ran.seconds, 1)}
            for ran in validation.commands
        ],
        "material": [
            {"name": _plain(name), "kind": kind, "what": what, "sha256": digest}
            for name, kind, what, digest in validation.material
        ],
        "limits": list(LIMITS),
    }


def write_validation(validation: Validation, out: Path) -> Path:
    """Write `out`/index.html and `out`/validation.json, readable by their owner alone, and return the page's path."""
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = describe(validation)
    text = json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    write_atomically(out / "validation.json", lambda file: file.write(text.encode()))
    page = render(validation, document).encode("utf-8")
    write_atomically(out / "index.html", lambda file: file.write(page))
    return out / "index.html"


def render(validation: Validation, document: Mapping[str, Any]) -> str:
    """Return the page."""
    passed, failed = document["passed"], document["failed"]
    word = "All cases passed." if passed else f"{failed} of {document['cases']} cases failed."
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Validation of videonovelty {escape(__version__)}</title><style>{STYLE}</style></head><body><main>"
    )
    parts = [
        "<h1>Tool validation report</h1>",
        "<p>videonovelty tells which videos of an intake, and which seconds of them, are in no known video. This "
        "report says what is required of it, how each requirement was tried on this installation, and what came of "
        "it.</p>",
        f'<p class="verdict {"pass" if passed else "fail"}">{word}</p>',
        _facts(document),
        _summary(validation),
        _failures(validation),
        *(_requirement(validation, one) for one in validation.requirements),
        "<h2>Limits of this validation</h2><ul>",
        *(f"<li>{_code(text)}</li>" for text in document["limits"]),
        "</ul>",
        _commands(document),
        _material(document),
        '<div class="sign"><p>Carried out by, date</p><p>Reviewed by, date</p></div>',
    ]
    return head + "\n".join(parts) + "</main></body></html>\n"


def _facts(document: Mapping[str, Any]) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in document["tool"]["libraries"].items())
    rows = {
        "Tool": f"{document['tool']['name']} {document['tool']['version']}",
        "Libraries": libraries,
        **document["machine"],
        "Made": document["made_at"],
        "Cases": f"{document['cases']}, of which {document['failed']} failed",
        "Format": "requirements, test assertions, test cases and results after NIST CFTT; known material, expected "
        "results stated beforehand and limits named after SWGDE",
    }
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items())
    return f"<dl>{items}</dl>"


def _summary(validation: Validation) -> str:
    rows = []
    for requirement in validation.requirements:
        cases = validation.of(requirement.id)
        passed = sum(case.passed for case in cases)
        rows.append(
            f'<tr{_failed(passed < len(cases))}><td><a href="#{requirement.id}">{requirement.id}</a></td>'
            f'<td>{escape(requirement.text)}</td><td class="n">{len(requirement.assertions)}</td>'
            f'<td class="n">{passed} of {len(cases)}</td><td>{_result(passed == len(cases))}</td></tr>'
        )
    return (
        '<h2>Summary</h2><table><thead><tr><th class="id">id</th><th>requirement</th><th class="n c4">assertions</th>'
        '<th class="n c4">cases</th><th class="c4">result</th></tr></thead><tbody>' + "".join(rows) + "</tbody></table>"
    )


def _failures(validation: Validation) -> str:
    if not validation.failed:
        return ""
    return f"<h2>What failed</h2>{_cases(validation.failed, with_id=True)}"


def _requirement(validation: Validation, requirement: Requirement) -> str:
    parts = [f'<section><h2 id="{requirement.id}">{requirement.id}: {escape(requirement.text)}</h2>']
    for id_, text in requirement.assertions.items():
        parts.append(f"<h3>{id_} {_code(text)}</h3>{_cases(validation.of(id_))}")
    return "".join((*parts, "</section>"))


def _cases(cases: list[Case] | tuple[Case, ...], *, with_id: bool = False) -> str:
    rows = "".join(
        f"<tr{_failed(not case.passed)}>{f'<td>{case.assertion}</td>' if with_id else ''}<td>{escape(case.name)}</td>"
        f"<td>{escape(case.expected)}</td><td>{escape(case.observed)}</td><td>{_result(case.passed)}</td></tr>"
        for case in cases
    )
    return (
        f'<table><thead><tr>{"<th class=id>id</th>" if with_id else ""}<th class="c1">case</th>'
        '<th class="c2">expected</th><th>observed</th><th class="c4">result</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _commands(document: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>videonovelty {escape(' '.join(_short(word) for word in ran['words']))}</code></td>"
        f'<td class="n">{ran["exit_code"]}</td><td class="n">{ran["seconds"]:.1f}</td></tr>'
        for ran in document["commands"]
    )
    return (
        '<section class="page"><h2>Commands that were run</h2><table><thead><tr><th>command</th>'
        '<th class="n c4">exit code</th><th class="n c4">seconds</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _material(document: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(one['name'])}</td><td>{escape(one['kind'])}: {escape(one['what'])}</td>"
        f"<td><code>{one['sha256'] or '–'}</code></td></tr>"
        for one in document["material"]
    )
    return (
        '<section class="page"><h2>Material</h2><p>Everything in the intake, as it was made for this validation.</p>'
        '<table><thead><tr><th class="c1">file</th><th class="c2">what it is</th><th>SHA-256</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
        if rows
        else ""
    )


def _code(text: str) -> str:
    """Escape prose; what stands between backticks is code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _result(passed: bool) -> str:
    return f'<span class="result {"pass" if passed else "fail"}">{"passed" if passed else "FAILED"}</span>'


def _failed(failed: bool) -> str:
    return ' class="failed"' if failed else ""


def _short(word: str) -> str:
    """Return the end of a path: where the work folder lies says nothing."""
    return "/".join(["…", *Path(word).parts[-2:]]) if word.startswith("/") else word


def _plain(name: str) -> str:
    return name.encode("unicode_escape", "surrogateescape").decode("ascii", "replace")


def _libraries() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    importlib.import_module("videonovelty.decode")  # the one door to PyAV
    for name, version in sorted(sys.modules["av"].library_versions.items()):
        found[name] = ".".join(map(str, version))
    return found


def _machine() -> dict[str, str]:
    return {
        "System": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Processors": str(os.cpu_count()),
    }
