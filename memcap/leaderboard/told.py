"""What a leaderboard prints, and the files that it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd

from memcap.compare.capacity import DIAGONAL_SHARE
from memcap.compare.comparison import csv_text
from memcap.leaderboard.protocol import FOLDER, Protocol
from memcap.records import atomic
from memcap.records.progress import counted
from memcap.records.study_folder import StudyFolder
from memcap.records.table import Column, number, print_columns

CSV = "leaderboard.csv"
EXAMPLE = "python -m memcap.leaderboard 'x*sigmoid(1.702*x)' name=gelu_like"


def print_ranking(table: pd.DataFrame, protocol: Protocol) -> None:
    """The table on stdout, then what its columns mean."""
    rows: list[Any] = table.to_dict("records")
    half = (table["ci_high"] - table["ci_low"]) / 2
    columns = [
        Column("formula", table["formula"].tolist(), 3),
        Column("rate", [_number(rate, "{:g}") for rate in table["learning_rate"]]),
        Column("bits", [_number(value, "{:.1f}") for value in table["bits"]]),
        Column("95 % CI", ["-" if h != h else f"± {h:.1f}" for h in half]),
        Column("bits/param", [_number(value, "{:.3f}") for value in table["bits_per_parameter"]], 1),
        Column("of N log2 V", ["-" if share != share else f"{share:.0%}" for share in table["share"]], 2),
        Column("diverged", [f"{share:.0%}" if share > 0 else "-" for share in table["diverged_share"]], 4),
        Column("behind leader", [_behind(row) for row in rows]),
    ]
    expected = protocol.options.fresh_seeds
    if (table["num_seeds"] != expected).any():
        columns.insert(2, Column("seeds", [f"{count} of {expected}" for count in table["num_seeds"]]))
    names = [f"{_place(row):>2} {row['name']}{' *' if row['added'] else ''}" for row in rows]
    print_columns("activation", names, columns)
    print()
    for line in _meaning(table, protocol):
        print(line)


def _meaning(table: pd.DataFrame, protocol: Protocol) -> Iterator[str]:
    config, options = protocol.config, protocol.options
    yield (
        f"protocol: {config.model.kind}, {table['num_parameters'].iloc[0]:,} parameters, N = {config.data.num_samples},"
        f" {config.budget.steps:,} steps; rate of most bits on {options.seeds} seeds, bits at it on"
        f" {options.fresh_seeds} fresh ones"
    )
    if table["added"].any():
        yield "*:        asked for now"
    if num_tests := int(table["p_holm"].notna().sum()):
        yield (
            f"~:        not told apart from the leader (paired t test on equal seeds at 5 %, Holm over"
            f" {counted(num_tests, 'test')}); ± are single 95 % intervals"
        )
    if len(full := table[table["share"] >= DIAGONAL_SHARE]):
        yield (
            f"ceiling:  {', '.join(full['name'])}: all samples are memorized, so this is no ranking of what they can"
            " store; take more with data.num_samples="
        )
    if lacking := [f"{row['name']} ({row['missing']})" for row in table.to_dict("records") if row["missing"]]:
        yield f"missing:  runs without a result: {', '.join(lacking)}"
    if edge := [
        name for name, flags in zip(table["name"], table["flags"], strict=True) if "nuisance_edge" in flags
    ]:
        yield f"edge:     the best rate is the smallest or largest that was tried: {', '.join(edge)}"


def write_ranking(table: pd.DataFrame, study: StudyFolder) -> list[Path]:
    """``leaderboard.csv``, ``.png`` and ``.svg`` in the study's folder; numbers keep all their digits."""
    from memcap.plot.files import encoded
    from memcap.plot.leaderboard import leaderboard_figure

    folder = study.path / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / CSV]
    atomic.write_text(paths[0], csv_text(table))
    made = leaderboard_figure(table)
    for kind in ("png", "svg"):
        paths.append(folder / f"leaderboard.{kind}")
        atomic.write_bytes(paths[-1], encoded(made, kind))
    return paths


def print_places(
    table: pd.DataFrame, paths: Sequence[Path], study: StudyFolder, words: Sequence[str]
) -> None:
    """Where files are, and what to type next."""
    print(f"files:    {quote(str(paths[0].parent))}  ({', '.join(path.name for path in paths)})")
    print(f"study:    {quote(str(study.path))}")
    again = " ".join(map(quote, words))
    if not table["added"].any():
        print(f"next:     {EXAMPLE}{' ' if again else ''}{again}   # ranks a candidate of yours")
    else:
        where = "" if str(study.outputs) == "outputs" else f" paths.outputs={quote(str(study.outputs))}"
        print(
            f"next:     python -m memcap.compare study={quote(study.name)}{where}   # all runs, and their alarms"
        )


def _number(value: float, form: str) -> str:
    return number(None if value != value else value, form)


def _place(row: dict[str, Any]) -> str:
    return str(row["rank"]) if row["num_seeds"] else "-"


def _behind(row: dict[str, Any]) -> str:
    if not row["num_seeds"]:
        return "no result"
    if row["rank"] == 1:
        return "leader"
    half = (row["behind_high"] - row["behind_low"]) / 2
    interval = "" if half != half else f" ± {half:.1f}"
    return f"{row['behind']:.1f}{interval}{'  ' if row['told_apart'] else ' ~'}"
