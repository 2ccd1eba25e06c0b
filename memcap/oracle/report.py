"""What the oracle found, as tables: printed, and in files beside the study."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from memcap.compare.alarms import configuration_name
from memcap.compare.axes import REPLICATE, SIZE
from memcap.compare.capacity import capacity
from memcap.compare.matching import matching
from memcap.compare.quantity import Quantity
from memcap.compare.restarts import best_restarts
from memcap.oracle.problem import LinearProblem
from memcap.oracle.threshold import largest_separable, median
from memcap.records import atomic
from memcap.records.table import Column, print_columns

PROBLEM = ["data.input_dim", "data.num_classes", "model.bias"]


def thresholds(
    problems: Sequence[LinearProblem],
    *,
    linear_programs: bool = True,
    said: Callable[[int, int, str], None] = lambda done, total, where: None,
) -> pd.DataFrame:
    """A row per problem and seed: ``separable_num_samples``, the largest N whose first N samples are separable.

    NaN, with a line on stderr, where neither Newton's method nor HiGHS decides. ``said(done, total, where)`` is told of
    every problem, and of every N that is decided.
    """
    rows = []
    for number, problem in enumerate(problems):

        def at(where: str, number: int = number, problem: LinearProblem = problem) -> None:
            said(number, len(problems), f"{problem.name}, {where}")

        try:
            found = largest_separable(problem, linear_programs=linear_programs, said=at)
        except RuntimeError as error:
            print(f"memcap: no separable N of {problem}: {error}", file=sys.stderr, flush=True)
            found = None
        rows.append(
            {
                "data.input_dim": problem.input_dim,
                "data.num_classes": problem.num_classes,
                "model.bias": problem.bias,
                "seed": problem.seed,
                "separable_num_samples": found.num_samples if found else math.nan,
                "num_parameters_effective": problem.num_parameters_effective,
                "margin_at_least": found.separable.margin_at_least if found else math.nan,
                "margin_at_most_above": found.inseparable.margin_at_most if found else math.nan,
                "by_linear_program": found.by_linear_program if found else False,
            }
        )
        said(number + 1, len(problems), "")
    return pd.DataFrame(rows)


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """A row per problem: the N that is separable with probability one half, over seeds, with an interval.

    ``confidence`` is that of the interval: less than 0.95 where there are fewer than six seeds. Of the seeds that have
    an answer; NaN where none has.
    """
    rows = []
    for (input_dim, num_classes, bias), group in table.groupby(PROBLEM, sort=False):
        sizes = group["separable_num_samples"].dropna().tolist()
        found = median(sizes or [math.nan])
        rows.append(
            {
                "data.input_dim": input_dim,
                "data.num_classes": num_classes,
                "model.bias": bias,
                "num_seeds": len(sizes),
                "num_parameters_effective": int(group["num_parameters_effective"].iloc[0]),
                "num_samples_half": found.value,
                "ci_low": found.low,
                "ci_high": found.high,
                "confidence": found.confidence,
            }
        )
    return pd.DataFrame(rows)


def print_medians(table: pd.DataFrame) -> None:
    """The N of probability one half of each problem."""
    bits = [row["num_samples_half"] * math.log2(row["data.num_classes"]) for _, row in table.iterrows()]
    print_columns(
        "linear model",
        [_name(row) for _, row in table.iterrows()],
        [
            Column("effective P", [f"{p:,}" for p in table["num_parameters_effective"]], 2),
            Column("separable N", [f"{n:g}" for n in table["num_samples_half"]]),
            Column(
                "interval",
                [
                    "-"
                    if row["num_seeds"] < 2
                    else f"{row['ci_low']:g} to {row['ci_high']:g} ({row['confidence']:.0%})"
                    for _, row in table.iterrows()
                ],
            ),
            Column("seeds", [str(n) for n in table["num_seeds"]], 3),
            Column("bits there", [f"{b:.1f}" for b in bits]),
            Column(
                "bits/effective P",
                [f"{b / p:.3f}" for b, p in zip(bits, table["num_parameters_effective"], strict=True)],
                1,
            ),
        ],
    )


def capacity_shares(gaps: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The table of ``memcap.capacity`` of the linear runs, with how much of the exact optimum the runs at its N store.

    gaps: of ``optimality_gaps``; frame: its runs, of ``memcap.load_frame``. Of all runs (the best restarts) at
    ``best_num_samples`` and the best nuisance values: ``trained_bits``, their mean, a diverged run counting 0;
    ``optimum_bits``, mean of the exact optimum on the very same runs; ``share``, the first over the second. The
    capacity is no numerator: halves of the seeds may have measured it at another N, and that is not the optimizer's
    doing. ``optimum_best_num_samples``, ``optimum_most_bits``: where the optimum's own mean over seeds is largest, and
    that mean. NaN where no optimum is known.
    """
    known = gaps[gaps["optimum_bits"].notna()].set_index("run_id")["optimum_bits"]
    runs = best_restarts(frame[frame["run_id"].isin(gaps["run_id"])].reset_index(drop=True))
    table = capacity(runs)
    axes = table.attrs["axes"]
    runs = runs.assign(trained=Quantity.of("bits", runs).values(runs), optimum=runs["run_id"].map(known))
    runs = runs.dropna(subset=["trained", "optimum"])
    rows = []
    for row in table.to_dict("records"):
        own = matching(runs, {key: row[key] for key in axes.compared})
        there = matching(
            own, {SIZE: row["best_num_samples"]} | {key: row[f"best.{key}"] for key in axes.nuisance}
        )
        trained, optimum = there["trained"].mean(), there["optimum"].mean()
        # However many learning rates a seed was trained with, it has one optimum.
        means = own.drop_duplicates([SIZE, REPLICATE]).groupby(SIZE)["optimum"].mean()
        rows.append(
            {
                "trained_bits": trained,
                "optimum_bits": optimum,
                "share": trained / optimum,
                "optimum_best_num_samples": math.nan if means.empty else means.idxmax(),
                "optimum_most_bits": means.max(),
            }
        )
    shares = pd.concat([table, pd.DataFrame(rows, index=table.index)], axis=1)
    shares.attrs = table.attrs
    return shares


def print_gaps(gaps: pd.DataFrame, frame: pd.DataFrame) -> None:
    """``capacity_shares`` of a study: capacities, then trained bits and the optimum on the same runs, then its peak."""
    table = capacity_shares(gaps, frame)
    half = (table["ci_high"] - table["ci_low"]) / 2
    columns = {
        "capacity": [f"{bits:.1f}" for bits in table["capacity_bits"]],
        "95 % CI": [f"± {h:.1f}" if h == h else "-" for h in half],
        "best N": [str(size) for size in table["best_num_samples"]],
        "bits at best N": _told(table["trained_bits"], "{:.1f}"),
        "optimum there": _told(table["optimum_bits"], "{:.1f}"),
        "share there": _told(table["share"], "{:.0%}"),
        "optimum's N": _told(table["optimum_best_num_samples"], "{:.0f}"),
        "optimum's peak": _told(table["optimum_most_bits"], "{:.1f}"),
    }
    names = [configuration_name(row, table.attrs["axes"].shown) for _, row in table.iterrows()]
    print_columns("configuration", names, [Column(title, values) for title, values in columns.items()])


def _told(values: pd.Series, form: str) -> list[str]:
    return ["-" if value != value else form.format(value) for value in values]


def write_table(path: Path, table: pd.DataFrame) -> None:
    """As CSV, the file replaced whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, table.to_csv(index=False), survives="kill")


def _name(row: object) -> str:
    values = {key: row[key] for key in PROBLEM}  # type: ignore[index]
    bias = ", bias" if values["model.bias"] else ""
    return f"D = {values['data.input_dim']}, V = {values['data.num_classes']}{bias}"
