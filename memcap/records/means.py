"""Means over seeds, with their error, at the end of a sweep over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from memcap.records.table import MOST_ROWS, Column, TableRow, number, print_columns

LOSSES = ("train/loss_nats", "train/loss_mse")  # a run has one of them


def print_means(rows: Sequence[TableRow]) -> None:
    """Prints the mean bits over seeds of each configuration with a 95 % confidence interval (Student's t).

    A diverged run counts as 0 bits and its share is shown. Of the restarts of a seed the best one counts, that with the
    smallest final loss, as in a comparison. Nothing where no configuration has two seeds.
    """
    seeds: dict[str, dict[str, list[TableRow]]] = {}
    for row in rows:
        if "memory/bits" in row.summary:
            name = " ".join(text for text in row.overrides if _key(text) not in ("seed", "restart"))
            seed = " ".join(text for text in row.overrides if _key(text) == "seed")
            seeds.setdefault(name, {}).setdefault(seed, []).append(row)
    groups = {name: [min(restarts, key=_rank) for restarts in own.values()] for name, own in seeds.items()}
    if not any(len(group) > 1 for group in groups.values()):
        return
    shown = list(groups.items())[:MOST_ROWS]
    values = [[None if row.diverged else row.value(["memory/bits"]) for row in group] for _, group in shown]
    summaries = [mean_and_half_width([value or 0.0 for value in bits]) for bits in values]
    columns = [
        Column("runs", [str(len(group)) for _, group in shown]),
        Column("bits", [number(mean, "{:.1f}") for mean, _ in summaries]),
        Column("95 % CI", ["-" if half is None else f"± {half:.1f}" for _, half in summaries]),
        Column(
            "bits/param",
            [
                number(mean / group[0].num_parameters, "{:.3f}")
                for (mean, _), (_, group) in zip(summaries, shown, strict=True)
            ],
            1,
        ),
    ]
    tried = [sorted({len(restarts) for restarts in seeds[name].values()}) for name, _ in shown]
    if any(counts != [1] for counts in tried):
        columns.insert(
            1, Column("best of", [f"{c[0]}" if len(c) == 1 else f"{c[0]} to {c[-1]}" for c in tried])
        )
    if any(None in bits for bits in values):
        columns.append(Column("diverged", [f"{bits.count(None) / len(bits):.0%}" for bits in values]))
    print()
    print_columns("mean over seeds", [name for name, _ in shown], columns)
    if len(groups) > MOST_ROWS:
        print(f"... and {len(groups) - MOST_ROWS:,} more configurations")


def _rank(row: TableRow) -> float:
    """What is best is smallest: the final loss, infinite for a run that diverged."""
    loss = row.value(LOSSES)
    return math.inf if row.diverged or loss is None else loss


def _key(override: str) -> str:
    """Its key; Hydra also takes ``++seed=1``."""
    return override.lstrip("+").partition("=")[0]


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and half the width of its 95 % confidence interval; None of one value, which has no spread."""
    from scipy.special import stdtrit

    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    quantile = float(stdtrit(len(values) - 1, 0.975))
    return mean, quantile * statistics.stdev(values) / len(values) ** 0.5
