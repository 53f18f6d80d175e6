"""Traced settings: what one run says of the others is what they would have said themselves."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videonovelty.tuning.traced import Number, Variants, plain

VALUES = [0.0, 0.25, 0.5, 0.5, 1.0, 2.0, -1.0]
OTHERS = [0, 1, 3, 3, 2, 1, 0]


def _same(function: Any) -> None:
    """Each setting the trace of a run keeps gives the result of that run, and so does a plain run."""
    variants = Variants({"proof.a": VALUES, "proof.b": OTHERS})
    for index in range(len(VALUES)):
        trace = variants.at(index)
        result = plain(function(trace.number("proof.a"), trace.number("proof.b")))
        assert trace.alike[index]
        for other in np.flatnonzero(trace.alike):
            expected = function(VALUES[other], OTHERS[other])
            np.testing.assert_array_equal(np.asarray(result), np.asarray(expected))


NUMBERS = np.array([0.3, 0.5, 2.0, np.nan, -3.0, 0.5])
FUNCTIONS: dict[str, Any] = {
    "less": lambda a, b: a < 0.5,
    "reversed": lambda a, b: a >= 0.5,
    "numpy scalar": lambda a, b: np.float64(0.5) >= a,
    "two numbers": lambda a, b: "x" if a * 2 > b - 1 else "y",
    "array on the left": lambda a, b: a >= NUMBERS,
    "array on the right": lambda a, b: a < NUMBERS,
    "array strictly": lambda a, b: a < NUMBERS,
    "array at least": lambda a, b: a + b <= NUMBERS,
    "array equal": lambda a, b: a == NUMBERS,
    "array sum": lambda a, b: NUMBERS + a,
    "array product": lambda a, b: a * NUMBERS,
    "min and max": lambda a, b: max(0.25, min(a, 1.0)),
    "where": lambda a, b: np.where(NUMBERS > 0, a, 0.0),
    "maximum": lambda a, b: np.maximum(NUMBERS, a),
    "clip": lambda a, b: float(np.clip((a - 0.1) / 0.5, 0.0, 1.0)),
    "filled": lambda a, b: np.full(2, a),
    "index": lambda a, b: "abcd"[b],
    "slice": lambda a, b: [1, 2, 3][:b],
    "truth": lambda a, b: "yes" if b else "no",
    "quotient": lambda a, b: (b + 1) / 2 > 1,
    "by a number": lambda a, b: 3 / (b + 1),
    "modulo": lambda a, b: b % 2,
    "power": lambda a, b: b**2,
    "round": lambda a, b: round(a),
    "hash": lambda a, b: {0: "none", 1: "one"}.get(b, "more"),
    "range": lambda a, b: list(range(b)),
    "nothing": lambda a, b: 7,
    "negative": lambda a, b: -a < abs(b),
}


@pytest.mark.parametrize("what", sorted(FUNCTIONS))
def test_kept_settings_give_the_same_result(what: str) -> None:
    _same(FUNCTIONS[what])


def test_a_comparison_keeps_all_that_decide_alike() -> None:
    variants = Variants({"proof.a": [1.0, 2.0, 3.0, 4.0]})
    trace = variants.at(1)
    assert trace.number("proof.a") < 2.5
    assert trace.alike.tolist() == [True, True, False, False]
    trace = variants.at(2)
    assert (np.array([0.5, 2.5, 9.0]) >= trace.number("proof.a")).tolist() == [False, False, True]
    assert trace.alike.tolist() == [False, False, True, True]


def test_what_is_not_read_strikes_out_nothing() -> None:
    trace = Variants({"proof.a": [1.0, 2.0], "matching.speeds": [(1.0,), (1.0, 2.0)]}).at(0)
    assert trace.alike.all()
    assert trace.number("matching.speeds") == (1.0,)
    assert trace.alike.tolist() == [True, False]


@given(
    values=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    numbers=st.lists(st.floats(-5, 5) | st.just(float("nan")), max_size=8),
    name=st.sampled_from(["lt", "le", "gt", "ge"]),
)
def test_comparing_with_an_array_keeps_exactly_the_settings_that_answer_alike(
    values: list[float], numbers: list[float], name: str
) -> None:
    compare, array = getattr(operator, name), np.array(numbers)
    trace = Variants({"proof.a": values}).at(0)
    answer = compare(array, trace.number("proof.a"))
    for index, value in enumerate(values):
        assert bool(trace.alike[index]) == bool((compare(array, value) == answer).all())


def test_a_number_is_no_float_that_compiled_code_would_read_unnoticed() -> None:
    trace = Variants({"proof.a": [1.0, 2.0]}).at(0)
    number = trace.number("proof.a")
    assert isinstance(number, Number)
    assert not isinstance(number, float)
    assert np.zeros(3)[:].tolist() == [0.0] * 3
    target = np.zeros(2)
    target[0] = number
    assert target.tolist() == [1.0, 0.0]
    assert trace.alike.tolist() == [True, False]
