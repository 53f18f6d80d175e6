"""The tuning report: one page beside its plots; it opens from disk and asks nothing of any network."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from videonovelty.tuning.metrics import Measured, Outcome, by_name
from videonovelty.tuning.sampletables import ROLES, SampleSet

WORST = 60
MEANING = {
    "novel_video_recall": "new videos that stay in the queue",
    "novel_video_recall_at_25pc": "new videos seen when 25 % of the seconds are viewed",
    "novel_video_recall_at_50pc": "new videos seen when 50 % of the seconds are viewed",
    "new_seconds_shown": "new seconds not called known",
    "known_seconds_cleared": "known seconds called known",
    "known_seconds_cleared_at_full_recall": "known seconds nobody views once no new video may be cleared",
    "known_videos_cleared": "wholly known videos that leave the queue",
    "source_named": "videos with known footage whose source is named",
    "seconds_precision": "seconds called known that are",
    "seconds_f": "harmonic mean of the seconds' precision and recall",
    "segment_precision": "VCSL precision of the segments",
    "segment_recall": "VCSL recall of the segments",
    "segment_f": "VCSL F of the segments",
    "pair_average_precision": "micro average precision over all pairs",
}
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}table{border-collapse:collapse;width:100%}
caption{text-align:left;color:#555;padding:.3rem 0}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.n{white-space:nowrap}code{font-size:.85em;overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));gap:1rem}.plots img{width:100%;height:auto}
figure{margin:0}.warn{background:#fff4e0;border-left:4px solid #b35900;padding:.4rem .8rem}
.bad{color:#a30000;font-weight:600}
"""


def write_page(
    path: Path,
    *,
    samples: SampleSet,
    split: str,
    before: Sequence[Measured],
    after: Sequence[Measured],
    outcomes: Sequence[Outcome],
    changes: Mapping[str, tuple[Any, Any]],
    warnings: Sequence[str],
    evidence: Sequence[str],
    plots: Sequence[tuple[str, str]],
    tried: int,
    paths: Mapping[str, str],
) -> Path:
    """Write the page and return its path. `paths` says where the file of each content is, for `compare`."""
    roles = ", ".join(
        f"{len(samples.of_role(role))} {name}"
        for role, name in zip(ROLES, ("known videos", "queries", "distractors"), strict=True)
    )
    parts = [
        f"<h1>Tuning on {escape(samples.folder.name)}</h1>",
        f"<p>{escape(roles)}; {tried} setting(s) tried on split <i>tune</i>, measured on <i>{escape(split)}</i>.</p>",
        _hidden(outcomes),
        _warnings(warnings),
        _changes(changes, refused=any(text.startswith("refused: ") for text in warnings)),
        _metrics(by_name(before), by_name(after)),
        '<h2>Curves</h2><div class="plots">',
        *(f'<figure><img src="plots/{escape(name)}" alt="{escape(title)}"></figure>' for name, title in plots),
        "</div>",
        errors_table(samples, outcomes, paths),
        _groups(after),
        "<h2>Evidence</h2><ul>",
        *(f"<li>{escape(line)}</li>" for line in evidence),
        "</ul>",
    ]
    policy = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Tuning report</title><style>{STYLE}</style></head><body><main>"
    )
    path.write_text(head + "\n".join(parts) + "</main></body></html>\n", encoding="utf-8")
    return path


def _hidden(outcomes: Sequence[Outcome]) -> str:
    """Return the sentence that matters most: how many new videos nobody would see."""
    new = [row for row in outcomes if row.is_new]
    hidden = Counter(row.kind for row in new if row.hidden)
    kinds = ", ".join(f"{count} {escape(kind)}" for kind, count in sorted(hidden.items()))
    if not hidden:
        return f"<p>None of {len(new)} new videos is hidden by the chosen settings.</p>"
    return f'<p class="bad">{hidden.total()} of {len(new)} new videos are hidden by the chosen settings: {kinds}.</p>'


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'<section class="warn"><h2>Before you believe it</h2><ul>{items}</ul></section>'


def _changes(changes: Mapping[str, tuple[Any, Any]], *, refused: bool) -> str:
    if refused:
        return "<h2>Settings</h2><p>What was chosen is refused, for the reason above: none was changed.</p>"
    if not changes:
        return "<h2>Settings</h2><p>Nothing is better than the settings as they are: none was changed.</p>"
    rows = "".join(
        f'<tr><td><code>{escape(key)}</code></td><td class="n">{escape(str(old))}</td>'
        f'<td class="n">{escape(str(new))}</td></tr>'
        for key, (old, new) in changes.items()
    )
    return (
        '<h2>Settings</h2><table><thead><tr><th>key</th><th class="n">before</th><th class="n">chosen</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _metrics(before: Mapping[str, Measured], after: Mapping[str, Measured]) -> str:
    rows = []
    for name, one in after.items():
        old = before[name].value if name in before else float("nan")
        rows.append(
            f"<tr><td>{escape(MEANING.get(name, name))}</td><td><code>{escape(name)}</code></td>"
            f'<td class="n">{old:.3f}</td><td class="n">{one.value:.3f}</td>'
            f'<td class="n">{one.low:.3f} … {one.high:.3f}</td></tr>'
        )
    count = next(iter(after.values()), None)
    caption = f"{count.queries} queries of {count.sources} sources; intervals are 95 %, by source" if count else ""
    return (
        f"<h2>What it is worth</h2><table><caption>{caption}</caption><thead><tr><th>share of</th><th>metric</th>"
        '<th class="n">before</th><th class="n">chosen</th><th class="n">interval</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _groups(measured: Sequence[Measured]) -> str:
    names = ("known_seconds_cleared", "source_named", "novel_video_recall", "new_seconds_shown", "segment_f")
    groups: dict[str, dict[str, Measured]] = {}
    for one in measured:
        if one.group != "all":
            groups.setdefault(one.group, {})[one.metric] = one
    rows = []
    order = {"kind": 0, "length": 1, "edit": 2}
    for group, found in sorted(groups.items(), key=lambda item: (order[item[0].partition(":")[0]], item[0])):
        any_one = next(iter(found.values()))
        cells = "".join(_cell(n, found.get(n)) for n in names)
        rows.append(f'<tr><td>{escape(group)}</td><td class="n">{any_one.queries}</td>{cells}</tr>')
    head = "".join(f'<th class="n">{escape(name.replace("_", " "))}</th>' for name in names)
    return (
        '<h2>By kind, length and edit</h2><table><thead><tr><th>group</th><th class="n">queries</th>'
        f"{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _cell(name: str, one: Measured | None) -> str:
    """Return one value of the table of groups; new footage that is hidden stands out."""
    if one is None:
        return '<td class="n"></td>'
    bad = name in ("novel_video_recall", "new_seconds_shown") and one.value < (
        1.0 if name == "novel_video_recall" else 0.95
    )
    return f'<td class="n{" bad" if bad else ""}">{one.value:.3f}</td>'


def errors_table(samples: SampleSet, outcomes: Sequence[Outcome], paths: Mapping[str, str]) -> str:
    """Return HTML of the worst errors first: new seconds called known, then known seconds left to view."""
    right = {row.query: str(samples.path(row.known)) for row in samples.truth}

    def badness(row: Outcome) -> tuple[bool, float, float]:
        return (row.hidden, min(row.hidden_seconds, row.new_truth), row.known_truth - row.cleared)

    rows = []
    for row in sorted(outcomes, key=badness, reverse=True)[:WORST]:
        hidden = min(row.hidden_seconds, row.new_truth)
        lost = row.known_truth - row.cleared
        if hidden < 0.05 and lost < 0.05:
            break
        known = paths.get(row.best_known) or right.get(row.video, "")
        command = (
            f"videonovelty compare {shlex.quote(str(samples.path(row.video)))} {shlex.quote(known)}" if known else ""
        )
        mark = ' class="n bad"' if row.hidden or hidden > 1.0 else ' class="n"'
        rows.append(
            f"<tr><td>{escape(row.video)}</td><td>{escape(row.kind)}</td><td>{escape(row.verdict)}<br>"
            f'{escape(row.reason)}</td><td{mark}>{hidden:.1f}</td><td class="n">{lost:.1f}</td>'
            f"<td><code>{escape(command)}</code></td></tr>"
        )
    if not rows:
        return "<h2>Errors</h2><p>None.</p>"
    return (
        "<h2>Worst errors first</h2><table><caption>The command shows the evidence between the two videos.</caption>"
        '<thead><tr><th>query</th><th>kind</th><th>verdict</th><th class="n">new seconds hidden</th>'
        f'<th class="n">known seconds left</th><th>look closer</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )
