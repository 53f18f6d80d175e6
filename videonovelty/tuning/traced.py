"""Settings that notice what they decide: one run of a function answers every setting that would have gone its way.

A sweep asks the same functions again and again with settings of which most change nothing: a threshold of 0.5 or 0.6
is the same to a video whose agreement is 0.9. So the function runs once, for one setting (*here*), with traced numbers
in place of the settings that are swept. Each comparison of such a number decides as the number here does, and strikes
out the settings that would have decided otherwise; whatever is left at the end has the very same result. Where a number
leaves Python's arithmetic (for an array's, a C function's, an index), all settings with another value are struck out.

    >>> settings = Variants({"proof.min_events": [10, 40, 90]})
    >>> here = settings.at(1)                          # 40
    >>> 60 >= here.number("proof.min_events")          # so it is for 10, and not for 90
    True
    >>> here.alike.tolist()
    [True, True, False]

Nothing has to be known about which setting matters where, so the functions may change as they like.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]
TABLES: Final = ("matching", "proof", "verdict")
"""Tables of settings that may be swept: none of them shapes a signature."""


class Variants:
    """Many settings that differ in the named keys; each is one index."""

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """`columns`: "table.key" → its value in each setting."""
        lengths = {len(values) for values in columns.values()}
        if len(lengths) > 1:
            raise ValueError("every key needs one value a setting")
        self.count = lengths.pop() if lengths else 1
        self.columns = {key: _as_column(values) for key, values in columns.items()}

    def value(self, key: str, index: int) -> Any:
        """Return the plain value of `key` in one setting."""
        return _plain(self.columns[key][index])

    def as_lists(self) -> dict[str, list[Any]]:
        """Return the values of every key, to make the same variants of elsewhere."""
        return {key: [_plain(value) for value in column] for key, column in self.columns.items()}

    def overrides(self, index: int) -> dict[str, dict[str, Any]]:
        """Return one setting as nested mappings, as `load_settings` and `model_copy` take them."""
        nested: dict[str, dict[str, Any]] = {}
        for key in self.columns:
            table, name = key.split(".")
            nested.setdefault(table, {})[name] = self.value(key, index)
        return nested

    def at(self, index: int) -> Trace:
        """Return a fresh trace of a run for one setting."""
        return Trace(self, index)


class Trace:
    """One run for the setting `index`, and which of the settings would have gone the same way so far."""

    __slots__ = ("alike", "index", "variants")

    def __init__(self, variants: Variants, index: int) -> None:
        self.variants, self.index = variants, index
        self.alike: Bool = np.ones(variants.count, np.bool_)

    def number(self, key: str) -> Any:
        """Return the value of a swept key: a traced number, or the plain value of anything but a number."""
        column = self.variants.columns[key]
        if column.dtype == object:
            here = column[self.index]
            self.keep(np.array([value == here for value in column], np.bool_))
            return here
        return Number(self, column)

    def settings(self, base: Any) -> Traced:
        """Return `base` with traced numbers for what is swept."""
        return Traced(self, base)

    def keep(self, same: Bool) -> None:
        """Strike out the settings that are not `same`."""
        self.alike &= same


class Traced:
    """Stands for `Settings`: its tables of `TABLES` are traced, the others are what they are."""

    def __init__(self, trace: Trace, base: Any) -> None:
        self.trace, self._base = trace, base
        for table in TABLES:
            setattr(self, table, _TracedTable(trace, table, getattr(base, table)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


class _TracedTable:
    def __init__(self, trace: Trace, table: str, base: Any) -> None:
        self._trace, self._table, self._base = trace, table, base

    def __getattr__(self, name: str) -> Any:
        key = f"{self._table}.{name}"
        return self._trace.number(key) if key in self._trace.variants.columns else getattr(self._base, name)


class Number:
    """A number that differs between settings. It computes like the one here and notes what that decides.

    It is no subclass of float: C code would read it unnoticed.
    """

    __slots__ = ("_column", "_trace")

    def __init__(self, trace: Trace, column: npt.NDArray[Any]) -> None:
        self._trace, self._column = trace, column

    @property
    def here(self) -> Any:
        """The value in the setting that is run."""
        return _plain(self._column[self._trace.index])

    def exact(self) -> Any:
        """Return the value here, having struck out the settings with another one."""
        self._trace.keep(self._column == self._column[self._trace.index])
        return self.here

    # ---- comparisons: struck out is what would decide otherwise

    def _decide(self, compare: Callable[[Any, Any], Any], other: Any) -> Any:
        if isinstance(other, Number):
            outcomes = compare(self._column, other._column)
            outcome = bool(outcomes[self._trace.index])
            self._trace.keep(outcomes == outcome)
            return outcome
        if isinstance(other, np.ndarray) and other.ndim:
            return self._decide_all(compare, other)
        outcomes = compare(self._column, other)
        outcome = bool(outcomes[self._trace.index])
        self._trace.keep(outcomes == outcome)
        return outcome

    def _decide_all(self, compare: Callable[[Any, Any], Any], others: npt.NDArray[Any]) -> Any:
        """Compare with every element of an array: alike is what lies between the same two neighbours."""
        if compare in (operator.eq, operator.ne):
            return compare(self.exact(), others)
        answer = compare(self.here, others)
        values = others[~np.isnan(others)] if others.dtype.kind == "f" else others.ravel()
        if len(values):
            # a comparison is monotonous, so its outcomes are those of this number's rank among the sorted elements
            side: Literal["left", "right"] = "right" if compare in (operator.ge, operator.lt) else "left"
            ranks = np.searchsorted(np.sort(values, axis=None), self._column, side=side)
            self._trace.keep(ranks == ranks[self._trace.index])
        return answer

    def __lt__(self, other: Any) -> Any:
        return self._decide(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._decide(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._decide(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._decide(operator.ge, other)

    def __eq__(self, other: object) -> Any:
        return self._decide(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._decide(operator.ne, other)

    # ---- arithmetic with numbers stays traced; with anything else the value here goes in

    def _compute(self, operation: Callable[[Any, Any], Any], other: Any, *, swapped: bool = False) -> Any:
        if isinstance(other, Number):
            column: Any = other._column
        elif isinstance(other, np.ndarray) and other.ndim:
            return operation(other, self.exact()) if swapped else operation(self.exact(), other)
        elif isinstance(other, (int, float, np.integer, np.floating)):
            column = other
        else:
            return NotImplemented
        result = operation(column, self._column) if swapped else operation(self._column, column)
        return Number(self._trace, result)

    def __add__(self, other: Any) -> Any:
        return self._compute(operator.add, other)

    def __radd__(self, other: Any) -> Any:
        return self._compute(operator.add, other, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._compute(operator.sub, other)

    def __rsub__(self, other: Any) -> Any:
        return self._compute(operator.sub, other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._compute(operator.mul, other)

    def __rmul__(self, other: Any) -> Any:
        return self._compute(operator.mul, other, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Number):
            other.exact()  # so that a zero elsewhere divides nothing
            other = other.here
        return self._compute(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.exact()

    def __floordiv__(self, other: Any) -> Any:
        return self.exact() // _out(other)

    def __rfloordiv__(self, other: Any) -> Any:
        return other // self.exact()

    def __mod__(self, other: Any) -> Any:
        return self.exact() % _out(other)

    def __rmod__(self, other: Any) -> Any:
        return other % self.exact()

    def __pow__(self, other: Any) -> Any:
        return self.exact() ** _out(other)

    def __rpow__(self, other: Any) -> Any:
        return other ** self.exact()

    def __neg__(self) -> Any:
        return Number(self._trace, -self._column)

    def __abs__(self) -> Any:
        return Number(self._trace, np.abs(self._column))

    # ---- ways out of Python's arithmetic: the value here, and only the settings that share it

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        compare = _COMPARISONS.get(ufunc.__name__) if method == "__call__" and not options else None
        if compare is not None:
            left, right = inputs
            if isinstance(left, Number):
                return left._decide(compare, right)
            return right._decide(_MIRRORED[compare], left)
        return getattr(ufunc, method)(*(_out(value) for value in inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        del types
        if function is np.clip and not kwargs and len(args) == 3 and isinstance(args[0], Number):
            return args[0].clipped(_out(args[1]), _out(args[2]))
        return function(*(_out(a) for a in args), **{name: _out(value) for name, value in kwargs.items()})

    def clipped(self, low: Any, high: Any) -> Any:
        """Return the number within [low, high]: beyond them it is the limit, whatever it was."""
        if self <= low:
            return low
        return high if self >= high else self

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        del copy
        return np.asarray(self.exact(), dtype)

    def __float__(self) -> float:
        return float(self.exact())

    def __int__(self) -> int:
        return int(self.exact())

    def __index__(self) -> int:
        return operator.index(self.exact())

    def __bool__(self) -> bool:
        return bool(self._decide(operator.ne, 0))

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.exact(), digits)

    def __hash__(self) -> int:
        return hash(self.exact())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.exact(), name)

    def __format__(self, how: str) -> str:
        """Return the number here as text: words about a result quote the setting they were made with."""
        return format(self.here, how)

    def __repr__(self) -> str:
        return f"Number({self.here!r})"


_COMPARISONS: Final = {
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": operator.ne,
}
_MIRRORED: Final = {
    operator.lt: operator.gt,
    operator.le: operator.ge,
    operator.gt: operator.lt,
    operator.ge: operator.le,
    operator.eq: operator.eq,
    operator.ne: operator.ne,
}


def plain(value: Any) -> Any:
    """Return a traced number as the plain one it is here, anything else as it is."""
    return _out(value)


def _out(value: Any) -> Any:
    return value.exact() if isinstance(value, Number) else value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _as_column(values: Sequence[Any]) -> npt.NDArray[Any]:
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return np.array(values, np.int64)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return np.array(values, np.float64)
    column = np.empty(len(values), object)
    column[:] = list(values)
    return column
