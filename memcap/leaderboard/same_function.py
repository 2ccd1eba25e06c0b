"""Whether two activations are one function, by their values: formulas that say the same differ in text."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
import torch

from memcap.config.formula import parse_formula
from memcap.leaderboard.entry import Entry
from memcap.models.activation import activation_function

RELATIVE = 1e-9
SPAN, FAR, POINTS = 4.0, 1e3, 200


def same_function(entry: Entry, others: Iterable[Entry]) -> Entry | None:
    """The first of these that has the values of ``entry`` in float64, or None.

    |f(x) - g(x)| ≤ 1e-9 (|g(x)| + mean |g| over |x| ≤ 1) at 200 even points of [-4, 4] and 200 to either side that
    are even in log |x| from 0.001 to 1,000, where what is cut off, as min(max(x,0),6), parts from what is not; and at
    the same points no finite value. A function without finite values is none that another could be.
    """
    return next((other for other in others if _agree(entry, other)), None)


def _agree(first: Entry, second: Entry) -> bool:
    if first.key == second.key:
        return True
    f, g = _values(first), _values(second)
    finite = np.isfinite(g)
    if not finite.any() or not np.array_equal(finite, np.isfinite(f)):
        return False
    near = finite & (np.abs(_points()) <= 1)
    scale = float(np.abs(g[near]).mean()) if near.any() else 0.0
    return bool((np.abs(f[finite] - g[finite]) <= RELATIVE * (np.abs(g[finite]) + scale)).all())


@functools.lru_cache(maxsize=1)
def _points() -> np.ndarray:
    far = np.geomspace(1 / FAR, FAR, POINTS)
    return np.concatenate([-far, np.linspace(-SPAN, SPAN, POINTS), far])


@functools.lru_cache(maxsize=1024)
def _values(entry: Entry) -> np.ndarray:
    """Of the function that is trained, at all points, [points] float64."""
    frequency = (
        {} if entry.frequency is None else {"frequency": torch.tensor(entry.frequency, dtype=torch.float64)}
    )
    formula = None if entry.formula is None else parse_formula(entry.formula)
    function = activation_function(entry.kind, values=frequency, formula=formula)
    values: np.ndarray = function(torch.from_numpy(_points())).numpy()
    return values
