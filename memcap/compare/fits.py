"""Capacity as a function of the number of parameters: three laws, their errors, and the choice between them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import Axes, grouping
from memcap.compare.capacity import PARAMETER_COUNTS
from memcap.compare.fit_error import LEVEL, FitError, Points
from memcap.compare.laws import LAWS, Law

CLOSE = 2.0  # in AIC: the law with fewer parameters is kept
LIMITED = {"grid_limited", "never_saturated"}  # flags of ``capacity``


@dataclasses.dataclass(frozen=True)
class Fit:
    """One law through the points; values and intervals by the name of their coefficient.

    misfit: χ² per degree of freedom against the capacities' own errors (of the pooled relative spread); NaN where these
    are unknown. widened: by what the intervals were multiplied because points scatter more than that.
    """

    law: Law
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    chi_squared: float
    misfit: float
    widened: float
    error_source: str


def fits(capacities: pd.DataFrame, counts: Sequence[str] = PARAMETER_COUNTS) -> pd.DataFrame:
    """C = aP, C = aP + b and C = aP^k for the table of ``capacity``: one row per line, count of parameters and law.

    A line is one combination of the compared keys other than x (each activation has a fit of its own). All laws are
    fitted by least squares of log C, weighted by the number of seeds: relative errors of capacities are alike. The
    capacities' own errors are propagated through the estimate, coefficient_j = Σ_i A_ji log C_i with variances v_i, on
    (Σ v_i)² / Σ (v_i² / (f_i + 2)) − 2 degrees of freedom (Welch 1947, Biometrika 34, 28). Where points scatter more
    than their errors allow (F test, p < 0.05) intervals are widened by √(χ² per degree of freedom); where errors are
    unknown (one seed) the scatter alone gives them. Simulated with two to six seeds: 95 % intervals cover 94 to 98 %.

    Columns: ``slope`` (a of the first two laws: units of y per added parameter), ``intercept``, ``prefactor``,
    ``exponent``, each with ``_low`` and ``_high`` (95 %); ``num_points``, ``misfit``, ``widened``, ``error_source``;
    ``aic_above_best`` (AIC with known errors, or AICc; Burnham and Anderson 2002), ``chosen`` (a law with fewer
    coefficients is kept within 2 of the best) and ``note``, which also says how many capacities the grid of N limits.
    Points ≤ 0 are left out. No row with fewer than two sizes.
    """
    axes: Axes = capacities.attrs["axes"]
    value = f"capacity_{capacities.attrs['quantity'].unit}"
    rows: list[dict[str, Any]] = []
    for _, line in capacities.groupby(grouping(capacities, axes.lines), sort=False):
        for count in counts:
            if count in line:
                points, left_out = line_points(line, count, value)
                where = {key: line[key].iloc[0] for key in axes.lines}
                about = [
                    _limited(line),
                    f"{left_out} without a positive capacity left out" if left_out else "",
                ]
                laws = _law_rows(points, [said for said in about if said])
                rows += [{**where, "parameter_count": count, **row} for row in laws]
    return pd.DataFrame(rows)


def fit_law(law: Law, points: Points) -> Fit:
    """One law through the points; the reduction and the errors are those of ``fits``."""
    estimate = law.estimate(points.parameters_C, points.capacity_C, points.num_seeds_C)
    error = FitError.of(law, estimate, points)
    intervals = law.intervals(estimate, error.half_width(np.eye(len(estimate))))
    return Fit(
        law, law.named(estimate), intervals, error.chi_squared, error.misfit, error.widened, error.source
    )


def information(fits_of: Sequence[Fit], num_points: int) -> list[float]:
    """AIC of each fit, comparable among them; infinite for a law that has too many coefficients for the points.

    Errors known: χ²/c + 2p, c ≥ 1 what the best law leaves per degree of freedom (quasi-AIC). Unknown: AICc of the
    residuals' own variance, n ln(RSS/n) + 2K + 2K(K+1)/(n − K − 1) with K = p + 1.
    """
    known = fits_of[0].error_source == "capacities"
    per_degree = [f.misfit for f in fits_of if not math.isnan(f.misfit)]
    inflation = max(1.0, min(per_degree)) if per_degree else 1.0
    values = []
    for fit in fits_of:
        p, n = len(fit.values), num_points
        if known:
            values.append(fit.chi_squared / inflation + 2 * p if n > p else math.inf)
        elif n > p + 2:
            squares = max(fit.chi_squared, 1e-300)
            values.append(n * math.log(squares / n) + 2 * (p + 1) + 2 * (p + 1) * (p + 2) / (n - p - 2))
        else:
            values.append(math.inf)
    return values


def line_points(line: pd.DataFrame, count: str, value: str) -> tuple[Points, int]:
    """The points of one line of the table of ``capacity``, and how many were left out (≤ 0, or no count)."""
    from scipy.special import stdtrit

    usable = line[(line[value] > 0) & line[count].notna()]
    seeds = usable["num_seeds"].to_numpy(dtype=float)
    half = (usable["ci_high"] - usable[value]).to_numpy(dtype=float)
    error = half / stdtrit(np.maximum(seeds - 1, 1), (1 + LEVEL) / 2)
    capacity = usable[value].to_numpy(dtype=float)
    points = Points(usable[count].to_numpy(dtype=float), capacity, error / capacity, seeds)
    return points, len(line) - len(usable)


def _limited(line: pd.DataFrame) -> str:
    """How many capacities of the line are lower bounds already because N ends where it does; empty for none."""
    limited = sum(not LIMITED.isdisjoint(flags.split()) for flags in line["flags"].fillna(""))
    return (
        f"{limited} of {len(line)} capacities are lower bounds, limited by the grid of N" if limited else ""
    )


def _law_rows(points: Points, about: Sequence[str]) -> list[dict[str, Any]]:
    sizes = len(np.unique(points.parameters_C))
    if sizes < 2:
        return []
    found = [fit_law(law, points) for law in LAWS]
    scores = information(found, len(points.capacity_C))
    best = min(scores)
    scored = sum(score < math.inf for score in scores)
    chosen = (
        next((i for i, score in enumerate(scores) if score <= best + CLOSE), None) if scored > 1 else None
    )
    note = _note(scores, found, chosen, about)
    rows = []
    for i, (fit, score) in enumerate(zip(found, scores, strict=True)):
        ends = {
            f"{name}_{end}": fit.intervals[name][j]
            for name in fit.values
            for j, end in enumerate(("low", "high"))
        }
        row = {"law": fit.law.name, "num_points": len(points.capacity_C), **fit.values, **ends}
        row |= {"misfit": fit.misfit, "widened": fit.widened, "error_source": fit.error_source}
        row |= {
            "aic_above_best": score - best if score < math.inf else math.nan,
            "chosen": i == chosen,
            "note": note,
        }
        rows.append(row)
    return rows


def _note(scores: Sequence[float], found: Sequence[Fit], chosen: int | None, about: Sequence[str]) -> str:
    parts = []
    if chosen is None:
        parts.append("too few sizes to choose a law")
    else:
        others = [i for i, score in enumerate(scores) if i != chosen and score <= min(scores) + CLOSE]
        if others:
            parts.append("not told apart from " + " and ".join(found[i].law.name for i in others))
        if found[chosen].widened > 1:
            parts.append("the points scatter more than their errors around it")
    return "; ".join([*parts, *about])
