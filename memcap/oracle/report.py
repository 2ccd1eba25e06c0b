"""What the oracle found, as tables: printed, and in files beside the study."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from memcap.compare.alarms import configuration_name
from memcap.compare.capacity import capacity
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


def print_gaps(gaps: pd.DataFrame, frame: pd.DataFrame) -> None:
    """Per configuration of the study, the capacity that training reached beside that of the exact optimum.

    gaps: of ``optimality_gaps``; frame: its runs, of ``memcap.load_frame``. The trained capacity is that of
    ``memcap.capacity`` (chosen on some seeds, measured on others; a diverged run counts 0). The optimum has no learning
    rate to choose and its mean over seeds is nearly without noise, so its largest mean over N stands beside it.
    """
    table = capacity(frame[frame["run_id"].isin(gaps["run_id"])].reset_index(drop=True))
    axes = table.attrs["axes"]
    exact = gaps.merge(frame[["run_id", *[key for key in axes.compared if key not in gaps]]], on="run_id")
    exact = exact.drop_duplicates([*axes.compared, "data.num_samples", "seed"])
    names: list[str] = []
    columns: dict[str, list[str]] = {
        title: [] for title in ("best N", "bits", "95 % CI", "optimum N", "optimum bits", "share")
    }
    for row in table.to_dict("records"):
        own = exact
        for key in axes.compared:
            own = own[own[key] == row[key]]
        optimum = own.groupby("data.num_samples")["optimum_bits"].mean().dropna()
        half = (row["ci_high"] - row["ci_low"]) / 2
        names.append(configuration_name(pd.Series(row), axes.shown))
        columns["best N"].append(str(row["best_num_samples"]))
        columns["bits"].append(f"{row['capacity_bits']:.1f}")
        columns["95 % CI"].append(f"± {half:.1f}" if half == half else "-")
        columns["optimum N"].append("-" if optimum.empty else str(optimum.idxmax()))
        columns["optimum bits"].append("-" if optimum.empty else f"{optimum.max():.1f}")
        columns["share"].append("-" if optimum.empty else f"{row['capacity_bits'] / optimum.max():.0%}")
    print_columns("configuration", names, [Column(title, values) for title, values in columns.items()])


def write_table(path: Path, table: pd.DataFrame) -> None:
    """As CSV, the file replaced whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, table.to_csv(index=False), survives="kill")


def _name(row: object) -> str:
    values = {key: row[key] for key in PROBLEM}  # type: ignore[index]
    bias = ", bias" if values["model.bias"] else ""
    return f"D = {values['data.input_dim']}, V = {values['data.num_classes']}{bias}"
