"""The capacity of each configuration: a maximum over N that is measured again where it was not chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE, Axes, find_axes, grouping
from memcap.compare.quantity import Quantity
from memcap.compare.restarts import NUM_RESTARTS, best_restarts
from memcap.compare.seed_split import ONE_SEED, Measured, best_option, measure_chosen
from memcap.errors import BadInput
from memcap.records.means import mean_and_half_width

DIAGONAL_SHARE = 0.99
PARAMETER_COUNTS = ("num_parameters", "num_parameters_without_head", "num_parameters_effective")


def capacity(
    frame: pd.DataFrame,
    *,
    y: str = "bits",
    x: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    nuisance: Sequence[str] | None = None,
    selection_seeds: Iterable[int] | None = None,
) -> pd.DataFrame:
    """The capacity of each configuration of a table of runs (of ``load_frame``, ``load_study`` or ``sweep``).

    max over N and nuisance values of E[y]: the maximum is located on some seeds, y there is measured on others
    (``seed_split``). One row per configuration, a column per compared key, then, for ``y`` in bits:

    capacity_bits            mean of y over fresh seeds, a diverged run counting 0; a lower bound at this budget
    ci_low, ci_high          its 95 % interval (Student's t over fresh seeds); NaN for one seed
    best_num_samples         N with the largest mean over all choosing seeds; nuisance values there as best.<key>
    num_restarts             of which the best of each seed was taken (``best_restarts``), the fewest there are; where
                             there are any
    num_seeds                fresh seeds; diverged_share of them; capacity_finished_bits: mean of the others
    flags                    see below, joined by spaces
    capacity_in_sample_bits  max of means, biased upward; capacity_seedwise_bits: mean of each seed's own maximum
    num_parameters, ..._without_head, ..._effective; budget_steps; split: how seeds were divided

    Flags: ``one_seed``; ``grid_limited``: the best N is the first or last of its grid, or all samples are memorized
    there (mean ≥ 0.99 N log2 V); ``never_saturated``: the mean still grows at the largest N; ``nuisance_edge``: the
    best value of a numeric nuisance key is its smallest or largest; ``choices_differ``: halves of the seeds chose
    differently; ``diverged``: some run of it did; ``missing_runs``: not every seed is everywhere.

    Cross-fitted intervals cover the mean at the chosen N in 95 % of cases where the peak is clear, in 92 % where the
    curve is flat: halves that agree by chance are not independent. ``y``: bits, bits_clamped, samples or a metric.
    Raises BadInput for keys, seeds or a y that these runs do not have. Cost: 10,000 runs in 0.5 s.
    """
    frame = best_restarts(frame)
    axes = find_axes(frame, x=x, hue=hue, facet=facet, nuisance=nuisance)
    quantity = Quantity.of(y, frame)
    selection = None if selection_seeds is None else _checked(frame, set(selection_seeds))
    rows = []
    for cells in configurations(frame, axes, quantity):
        row = _capacity_row(cells, axes, quantity, selection)
        if row is not None:
            rows.append(row)
    if not rows:
        raise BadInput(f"y={y}: no run with a finite N has it; capacity needs labels and data.num_samples")
    table = pd.DataFrame(rows)
    table.attrs = {"axes": axes, "quantity": quantity, "studies": frame.attrs.get("studies", [])}
    return table


class Configuration:
    """The runs of one configuration as a matrix of seeds and options; an option is an N with nuisance values.

    rows: the runs. seeds [S] sorted; sizes_O [O], nuisance_O: N and nuisance values of each option, sorted by N.
    values_SO: y, NaN where there is no run; positions_SO: the run's place in ``rows``, −1 where there is none.
    """

    def __init__(self, rows: pd.DataFrame, axes: Axes, y: np.ndarray) -> None:
        keys = [SIZE, *axes.nuisance]
        self.rows = rows
        options = rows[keys].drop_duplicates().sort_values(keys, key=_sortable).reset_index(drop=True)
        self.sizes_O = options[SIZE].to_numpy(dtype=float)
        self.nuisance_O = options[list(axes.nuisance)]
        place = {
            key: number for number, key in enumerate(map(_key, options.itertuples(index=False, name=None)))
        }
        option_R = np.array([place[_key(key)] for key in rows[keys].itertuples(index=False, name=None)])
        self.seeds, seed_R = np.unique(rows[REPLICATE].to_numpy(), return_inverse=True)
        self.values_SO = np.full((len(self.seeds), len(options)), np.nan)
        self.positions_SO = np.full(self.values_SO.shape, -1)
        self.values_SO[seed_R, option_R] = y
        self.positions_SO[seed_R, option_R] = np.arange(len(rows))

    def measured(self, selection: set[int] | None = None) -> Measured:
        """y at the chosen option, on seeds that did not choose it."""
        chosen_S = None if selection is None else np.isin(self.seeds, sorted(selection))
        if chosen_S is not None and (chosen_S.all() or not chosen_S.any()) and len(self.seeds) > 1:
            chosen_S = None  # this configuration has seeds of one side only
        return measure_chosen(self.values_SO, chosen_S)

    def fresh_rows(self, measured: Measured) -> pd.DataFrame:
        """The runs behind ``measured.values_S``."""
        return self.rows.iloc[self.positions_SO[measured.rows_S, measured.options_S]]


def configurations(frame: pd.DataFrame, axes: Axes, quantity: Quantity) -> Iterable[Configuration]:
    """The configurations of a table, in its order; runs of infinite N or without y are left out."""
    y = quantity.values(frame)
    usable = ~np.isnan(y)
    groups = grouping(frame, axes.compared).to_numpy()
    order = np.argsort(groups[usable], kind="stable")
    positions = np.flatnonzero(usable)[order]
    for part in np.split(positions, np.flatnonzero(np.diff(groups[positions])) + 1):
        if len(part):
            yield Configuration(frame.iloc[part], axes, y[part])


def _capacity_row(
    cells: Configuration, axes: Axes, quantity: Quantity, selection: set[int] | None
) -> dict[str, Any] | None:
    measured = cells.measured(selection)
    if not len(measured.values_S):
        return None
    name, first = quantity.unit, cells.rows.iloc[0]
    mean, half = mean_and_half_width(measured.values_S.tolist())
    alone = half is None or measured.how == ONE_SEED
    fresh = cells.fresh_rows(measured)
    finished = measured.values_S[(fresh["status"] != "diverged").to_numpy()]
    best = measured.options_F[0] if len(set(measured.options_F)) == 1 else best_option(cells.values_SO)
    counts = {count: first[count] for count in PARAMETER_COUNTS if count in cells.rows}
    return {
        **{key: first[key] for key in axes.compared},
        **counts,
        f"capacity_{name}": mean,
        "ci_low": np.nan if alone else mean - (half or 0.0),
        "ci_high": np.nan if alone else mean + (half or 0.0),
        "best_num_samples": int(cells.sizes_O[best]),
        **{f"best.{key}": cells.nuisance_O[key].iloc[best] for key in axes.nuisance},
        "num_seeds": len(measured.values_S),
        **({NUM_RESTARTS: int(cells.rows[NUM_RESTARTS].min())} if NUM_RESTARTS in cells.rows else {}),
        "diverged_share": 1 - len(finished) / len(measured.values_S),
        "flags": " ".join(_flags(cells, measured, best, axes, quantity)),
        f"capacity_in_sample_{name}": np.nanmean(cells.values_SO[:, best_option(cells.values_SO)]),
        f"capacity_seedwise_{name}": np.nanmax(cells.values_SO, 1).mean(),
        f"capacity_finished_{name}": finished.mean() if len(finished) else np.nan,
        "budget_steps": first.get("budget.steps"),
        "split": measured.how,
    }


def _flags(
    cells: Configuration, measured: Measured, best: int, axes: Axes, quantity: Quantity
) -> Iterable[str]:
    sizes, size = np.unique(cells.sizes_O), cells.sizes_O[best]
    means_N = np.array([np.nanmax(_means(cells.values_SO[:, cells.sizes_O == n])) for n in sizes])
    if len(measured.values_S) < 2:
        yield "one_seed"
    diagonal_R = quantity.diagonal(cells.rows[(cells.rows[SIZE] == size).to_numpy()])
    diagonal = diagonal_R[~np.isnan(diagonal_R)].mean() if not np.isnan(diagonal_R).all() else np.inf
    if size in (sizes[0], sizes[-1]) or np.nanmean(cells.values_SO[:, best]) >= DIAGONAL_SHARE * diagonal:
        yield "grid_limited"
    if len(sizes) > 1 and means_N[-1] > means_N[-2] and size == sizes[-1]:
        yield "never_saturated"
    for key in axes.nuisance:
        values = cells.nuisance_O[key]
        ordered = pd.api.types.is_numeric_dtype(values) and values.nunique() > 1
        if ordered and values.iloc[best] in (values.min(), values.max()):
            yield "nuisance_edge"
            break
    if len(set(measured.options_F)) > 1:
        yield "choices_differ"
    if (cells.rows["status"] == "diverged").any():
        yield "diverged"
    if NUM_RESTARTS in cells.rows and cells.rows[NUM_RESTARTS].nunique() > 1:
        yield "restarts_differ"
    if measured.how not in ("confirmed", "given") and np.isnan(cells.values_SO).any():
        yield "missing_runs"


def _means(values_SO: np.ndarray) -> np.ndarray:
    count_O = (~np.isnan(values_SO)).sum(0)
    return np.where(count_O > 0, np.nansum(values_SO, 0) / np.maximum(count_O, 1), np.nan)


def _checked(frame: pd.DataFrame, selection: set[int]) -> set[int]:
    seeds = set(frame[REPLICATE].tolist())
    if not selection & seeds or not seeds - selection:
        raise BadInput(
            f"selection_seeds must be some of the seeds {sorted(seeds)} and leave others fresh, got {sorted(selection)}"
        )
    return selection


def _key(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key in which two absent values are equal."""
    return tuple(None if value is None or value != value else value for value in values)


def _sortable(column: pd.Series) -> pd.Series:
    return column if pd.api.types.is_numeric_dtype(column) else column.map(str)
