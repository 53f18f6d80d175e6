"""Which settings are tried, and which one is chosen: no new video hidden first, then the cheapest."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from videonovelty.errors import SettingsError
from videonovelty.settings import Settings
from videonovelty.tuning.metrics import Outcome, Outcomes, measure
from videonovelty.tuning.traced import TABLES, Variants

DEFAULT_SWEEP: Mapping[str, tuple[Any, ...]] = {
    "proof.min_events": (20.0, 40.0, 60.0),
    "proof.sure_agreement": (0.38, 0.43, 0.48),
    "proof.doubtful_agreement": (0.45, 0.5, 0.55),
    "proof.sure_margin": (0.05, 0.1, 0.15),
    "proof.doubtful_margin": (0.2, 0.3, 0.4),
    "proof.around_contradiction": (0.4, 0.5, 0.6),
    "verdict.boundary_seconds": (0.2, 0.35, 0.5),
}
"""Levels around the shipped defaults, of the settings that decide what is proven."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What an error and a minute are worth against each other."""

    missed: float = 10_000.0
    """A new video that nobody sees."""
    minute: float = 1.0
    """A minute of a reviewer's time."""
    exposure: float = 5.0
    """A known video that somebody has to look at once more."""


def parse_sweep(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Return "table.key" → levels of texts like `proof.min_events=20,40,80`. Raises SettingsError."""
    found: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        try:
            levels = tomllib.loads(f"v = [{values}]")["v"] if equals else []
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"--sweep {text}: {error}; write proof.min_events=20,40,80") from error
        if not levels:
            raise SettingsError(f"--sweep {text}: no values; write proof.min_events=20,40,80")
        found[key.strip()] = tuple(tuple(v) if isinstance(v, list) else v for v in levels)
    return found


def make_variants(
    levels: Mapping[str, Sequence[Any]] | None, base: Settings, *, most: int, seed: int
) -> tuple[Variants, dict[str, tuple[Any, ...]]]:
    """Return the settings to try and the levels of each key; the first one is `base` itself.

    All combinations of `levels` (None: `DEFAULT_SWEEP`) where they are `most` or fewer, else that many of them, drawn
    by `seed`. Raises SettingsError for an unknown key, a table that shapes signatures, or a value out of range.
    """
    wanted = dict(levels) if levels is not None else {k: v for k, v in DEFAULT_SWEEP.items() if _exists(k, base)}
    full: dict[str, tuple[Any, ...]] = {}
    for key, values in wanted.items():
        table, _, name = key.partition(".")
        if table not in TABLES:
            raise SettingsError(f"{key}: only settings of {', '.join(TABLES)} can be swept: no other is judged by")
        if not _exists(key, base):
            raise SettingsError(f"{key}: unknown key. sample_config/nightly.toml lists every key.")
        now = getattr(getattr(base, table), name)
        checked = [_checked(base, table, name, value) for value in values]
        full[key] = tuple(dict.fromkeys([now, *checked]))
    sizes = [len(values) for values in full.values()]
    total = math.prod(sizes)
    rng = np.random.default_rng(seed)
    # the first combination is that of the values now
    picks = range(total) if total <= most else [0, *_drawn(rng, total, most - 1)]
    rows = [[values[i] for values, i in zip(full.values(), _place(n, sizes), strict=True)] for n in picks]
    columns = {key: [row[i] for row in rows] for i, key in enumerate(full)}
    ordered = {key: tuple(sorted(values, key=lambda v: (str(type(v)), v))) for key, values in full.items()}
    return Variants(columns), ordered


def _drawn(rng: np.random.Generator, total: int, count: int) -> list[int]:
    """Return `count` different numbers of 1 … total − 1, in the order drawn; `total` may be astronomic."""
    found: dict[int, None] = {}
    while len(found) < count:
        found.setdefault(1 + int(rng.random() * (total - 1)))
    return list(itertools.islice(found, count))


def _place(number: int, sizes: Sequence[int]) -> list[int]:
    place = []
    for size in sizes:
        number, digit = divmod(number, size)
        place.append(digit)
    return place


def _exists(key: str, base: Settings) -> bool:
    table, _, name = key.partition(".")
    return name in type(getattr(base, table)).model_fields if table in TABLES else False


def _checked(base: Settings, table: str, name: str, value: Any) -> Any:
    """Return `value` as the settings hold it."""
    kind = type(getattr(base, table))
    try:
        return getattr(kind(**{**getattr(base, table).model_dump(), name: value}), name)
    except ValueError as error:
        raise SettingsError(f"{table}.{name}={value}: {str(error).splitlines()[-2].strip()}") from error


def cost(rows: Outcomes, costs: Costs) -> float:
    """Return what one setting costs on some queries."""
    exposures = float((~rows.left & ~rows.is_new).sum())
    minutes = float(rows.view_seconds.sum()) / 60.0
    return float(rows.hidden.sum()) * costs.missed + minutes * costs.minute + exposures * costs.exposure


def summary(rows: Sequence[Outcome], costs: Costs) -> dict[str, float]:
    """Return every metric of one setting, its cost and its counts."""
    outcomes = Outcomes.of(rows)
    return {
        **measure(outcomes),
        "hidden_videos": float(outcomes.hidden.sum()),
        "hidden_seconds": float(np.minimum(outcomes.hidden_seconds, outcomes.new_truth).sum()),
        "view_minutes": float(outcomes.view_seconds.sum()) / 60.0,
        "cost": cost(outcomes, costs),
    }


def choose(found: Sequence[Mapping[str, float]], variants: Variants) -> int:
    """Return the setting to take: of those that hide the fewest new videos and no more new seconds than the first one
    does, the cheapest; of equally cheap ones that with the fewest changes."""
    fewest = min(one["hidden_videos"] for one in found)
    limit = found[0]["hidden_seconds"] + 1e-6
    allowed = [n for n, one in enumerate(found) if one["hidden_videos"] == fewest and one["hidden_seconds"] <= limit]
    if not allowed:
        least = min(one["hidden_seconds"] for one in found if one["hidden_videos"] == fewest)
        allowed = [
            n for n, one in enumerate(found) if one["hidden_videos"] == fewest and one["hidden_seconds"] <= least + 1e-6
        ]

    def changes(number: int) -> int:
        return sum(variants.value(key, number) != variants.value(key, 0) for key in variants.columns)

    return min(allowed, key=lambda n: (round(found[n]["cost"], 6), changes(n), n))


def edge_warnings(variants: Variants, levels: Mapping[str, Sequence[Any]], chosen: int) -> list[str]:
    """Return a warning for each key whose chosen value is the last one tried and not the value it had."""
    found = []
    for key, values in levels.items():
        value = variants.value(key, chosen)
        if len(values) > 1 and value in (values[0], values[-1]) and value != variants.value(key, 0):
            found.append(f"{key} = {value} is at the edge of what was tried ({values[0]} … {values[-1]}): try further")
    return found
