"""Where sharpness jumps over N: the change point, whether there is one, and how sure that is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE, find_axes
from memcap.compare.capacity import Configuration, configurations
from memcap.compare.quantity import Quantity
from memcap.compare.references import exact_num_samples
from memcap.compare.restarts import best_restarts
from memcap.compare.seed_split import best_option

RESAMPLES = 1000
PERMUTATIONS = 999
SIGNIFICANT = 0.01
LEAST_SIZES = 4  # two on each side of a jump: one point that is high is no phase


@dataclasses.dataclass(frozen=True)
class Jump:
    """A step of log sharpness between two neighbouring N of the grid.

    num_samples: the middle of the two. low, high: 95 % interval from resampled seeds, from the N before the earliest to
    the N after the latest step (NaN with one seed). factor: of the geometric means after and before. p_value: of the
    step against a straight line in log N.
    """

    num_samples: float
    low: float
    high: float
    factor: float
    p_value: float

    @property
    def found(self) -> bool:
        return self.p_value < SIGNIFICANT


def jamming(
    frame: pd.DataFrame,
    *,
    metric: str = "sharpness/top_eigenvalue",
    y: str = "bits",
    x: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    nuisance: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """For each configuration: does sharpness jump with N, and where, beside the N of its capacity.

    Columns: compared keys, ``jump`` (True or False; None with fewer than four N), ``jump_num_samples``,
    ``jump_low``, ``jump_high``, ``jump_factor``, ``p_value``, ``best_num_samples`` (of all seeds),
    ``exact_num_samples`` where it is known (``references.exact_num_samples``). Runs at the nuisance values that are
    best for ``y``; sharpness ≤ 0 is left out.
    """
    frame = best_restarts(frame)
    axes = find_axes(frame, x=x, hue=hue, facet=facet, nuisance=nuisance)
    rows: list[dict[str, Any]] = []
    if metric not in frame or "memory/bits" not in frame:
        return pd.DataFrame()
    for cells in configurations(frame, axes, Quantity.of(y, frame)):
        best = best_option(cells.values_SO)
        jump = _of_configuration(cells, best, metric, seed)
        first = cells.rows.iloc[0]
        found = jump is not None and jump.found
        rows.append({
            **{key: first[key] for key in axes.compared},
            "jump": None if jump is None else jump.found,
            "jump_num_samples": jump.num_samples if jump is not None and found else math.nan,
            "jump_low": jump.low if jump is not None and found else math.nan,
            "jump_high": jump.high if jump is not None and found else math.nan,
            "jump_factor": jump.factor if jump is not None and found else math.nan,
            "p_value": math.nan if jump is None else jump.p_value,
            "best_num_samples": int(cells.sizes_O[best]),
            "exact_num_samples": exact_num_samples(cells.rows),
        })  # fmt: skip
    return pd.DataFrame(rows)


def find_jump(
    num_samples_R: np.ndarray, seeds_R: np.ndarray, sharpness_R: np.ndarray, seed: int = 0
) -> Jump | None:
    """The step that explains log sharpness best, for one value per run [R]; None with fewer than four different N.

    argmin over the place of Σ (log s − mean of its side)², at least two N on each side. The test compares it with a
    straight line in log N: residuals of the line are permuted 999 times (Freedman and Lane 1983), so that a sharpness
    that only grows is no jump. The interval resamples seeds 1000 times.
    """
    usable_R = np.isfinite(sharpness_R) & (sharpness_R > 0)
    sizes_N, size_R = np.unique(num_samples_R[usable_R], return_inverse=True)
    if len(sizes_N) < LEAST_SIZES:
        return None
    z_R = np.log(sharpness_R[usable_R])
    z_R = z_R - z_R.mean()
    member_RN = np.eye(len(sizes_N))[size_R]
    generator = np.random.default_rng([seed, len(z_R)])
    place = int(_gain(z_R @ member_RN, member_RN.sum(0)).argmax())
    p_value = _p_value(z_R, np.log(sizes_N)[size_R], member_RN, generator)
    names, seed_R = np.unique(seeds_R[usable_R], return_inverse=True)
    low = high = math.nan
    if len(names) > 1:
        member_SR = np.eye(len(names))[seed_R].T
        weight_BS = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
        sums_BN = weight_BS @ (member_SR * z_R @ member_RN)
        places_B = _gain(sums_BN, weight_BS @ (member_SR @ member_RN)).argmax(-1)
        first, last = np.quantile(places_B, [0.025, 0.975], method="nearest").astype(int)
        low, high = float(sizes_N[first + 1]), float(sizes_N[last + 2])
    after_R = size_R > place + 1
    factor = math.exp(z_R[after_R].mean() - z_R[~after_R].mean())
    middle = float(sizes_N[place + 1] + sizes_N[place + 2]) / 2
    return Jump(middle, low, high, factor, p_value)


def _of_configuration(cells: Configuration, best: int, metric: str, seed: int) -> Jump | None:
    keys = list(cells.nuisance_O.columns)
    rows = cells.rows[cells.rows["status"] != "diverged"]
    for key in keys:
        rows = rows[rows[key] == cells.nuisance_O[key].iloc[best]]
    sharpness = rows[metric].to_numpy(dtype=float, na_value=np.nan)
    return find_jump(rows[SIZE].to_numpy(dtype=float), rows[REPLICATE].to_numpy(), sharpness, seed)


def _gain(sums_N: np.ndarray, counts_N: np.ndarray) -> np.ndarray:
    """What a step after the second, third, ... N takes off the squared sum, [..., N − 3]; sums and counts per N."""
    left, count = sums_N.cumsum(-1)[..., 1:-2], counts_N.cumsum(-1)[..., 1:-2]
    right, rest = sums_N.sum(-1, keepdims=True) - left, counts_N.sum(-1, keepdims=True) - count
    return np.asarray(left**2 / np.maximum(count, 1e-9) + right**2 / np.maximum(rest, 1e-9))


def _p_value(
    z_R: np.ndarray, log_size_R: np.ndarray, member_RN: np.ndarray, generator: np.random.Generator
) -> float:
    """Share of permutations in which a step beats the line by as much: RSS of the line over RSS of the step."""
    design_RK, _ = np.linalg.qr(np.stack([np.ones_like(log_size_R), log_size_R], 1))
    fitted_R = design_RK @ (design_RK.T @ z_R)
    residual_R = z_R - fitted_R
    permuted_BR = generator.permuted(np.tile(residual_R, (PERMUTATIONS, 1)), axis=1) + fitted_R
    all_BR = np.concatenate([z_R[None], permuted_BR])
    total_B = (all_BR**2).sum(1)
    line_B = total_B - ((all_BR @ design_RK) ** 2).sum(1)
    step_B = total_B - _gain(all_BR @ member_RN, member_RN.sum(0)).max(-1)
    ratio_B = line_B / np.maximum(step_B, 1e-300)
    return float((ratio_B >= ratio_B[0] * (1 - 1e-12)).mean())
