"""What a search has found, as rows of ``search.json`` and as a table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from memcap.compare.capacity import DIAGONAL_SHARE
from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.means import mean_and_half_width
from memcap.records.table import MOST_ROWS, Column, number, print_columns
from memcap.search.configuration import ConfigurationSearch, Told
from memcap.search.options import CAPACITY, SearchOptions
from memcap.search.psychometric import clopper_pearson

SCHEMA: Final = 1
FILE: Final = "search.json"


def result_row(
    search: ConfigurationSearch,
    rate: Callable[[int], float],
    budget_steps: int,
    num_parameters: int,
    options: SearchOptions,
) -> dict[str, Any]:
    """What was found for one configuration and what it cost; ``status`` failed where no run has a value.

    grid_member_steps: what a grid of the resolution reached takes over the range of sizes that was looked at, with all
    settings tried and all choosing seeds, and the same fresh seeds after it, at the mean steps that runs here took.
    Doubled budgets are in ``member_steps`` and in neither side of ``share_of_grid``.
    """
    found = search.found
    if found is None:
        return {"status": "failed", "num_parameters": num_parameters, "flags": "failed"}
    is_capacity = options.goal == CAPACITY
    measured = _capacity(search, budget_steps, options) if is_capacity else _shares(search)
    if measured.get("capacity_bits") is not None:
        measured["bits_per_parameter"] = measured["capacity_bits"] / num_parameters
    steps = [told.steps for trial, told in search.told.items() if trial.doublings == 0 and told.steps]
    # Runs may end before their budget; those of a grid would as often.
    grid = (search.search.num_grid_trials() + len(search.fresh_seeds)) * statistics.fmean(steps or [0])
    return {
        "status": "found",
        "best": found.size,
        "bracket": [found.low, found.high],
        "resolution": found.resolution,
        "learning_rate": rate(found.setting),
        "learning_rates": [rate(setting) for setting in found.tried],
        "num_parameters": num_parameters,
        **measured,
        "flags": " ".join(_flags(search, options)),
        "budget_steps": budget_steps,
        "rounds": search.num_rounds,
        "runs": len(search.told),
        "member_steps": sum(told.steps for told in search.told.values()),
        "grid_member_steps": round(grid),
        "share_of_grid": sum(steps) / grid if grid else 1.0,
    }


def write_report(
    folder: Path, rows: Sequence[dict[str, Any]], options: SearchOptions, seeds: dict[str, list[int]]
) -> None:
    """Replaces ``search.json`` of a study's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"schema": SCHEMA, **_asked(options, seeds), "configurations": list(rows)}
    atomic.write_json(folder / FILE, record)


@contextmanager
def claimed(folder: Path, options: SearchOptions, seeds: dict[str, list[int]]) -> Iterator[None]:
    """A study that has ``search.json`` from the start of a search on; where that is refused, nothing is left of it."""
    absent = [path for path in (folder / FILE, folder, *folder.parents) if not path.exists()]
    claim_study(folder, options, seeds)
    try:
        yield
    except BadInput:
        if folder / FILE in absent and not (folder / "study.json").exists():  # no run is listed yet
            for path in absent:
                with suppress(OSError):  # a folder that holds more by now
                    path.rmdir() if path.is_dir() else path.unlink()
        raise


def claim_study(folder: Path, options: SearchOptions, seeds: dict[str, list[int]]) -> None:
    """Writes ``search.json`` without configurations at the start of a search, or checks the one that is there.

    Raises BadInput where the study is another search's: its runs would be mixed with these.
    """
    if not ((folder / FILE).exists() and (folder / "study.json").exists()):  # no run is listed yet
        with suppress(OSError):  # a folder that cannot be written is refused in the words of every sweep
            write_report(folder, [], options, seeds)
        return
    record, asked = atomic.read_json(folder / FILE), _asked(options, seeds)
    before, now = (
        {
            **{f"search.{key}": value for key, value in of["options"].items()},
            "seed": of["seeds"]["choosing"][0],
        }
        for of in (record, asked)
    )
    for name, value in now.items():
        if before.get(name) != value:
            raise BadInput(
                f"study={folder.name}: got {name}={_text(value)}, but it is a search with"
                f" {_text(before.get(name))}, whose runs these would mix with; use another study="
            )


def _text(value: Any) -> str:
    return json.dumps(value).replace('"', "")


def _asked(options: SearchOptions, seeds: dict[str, list[int]]) -> dict[str, Any]:
    """As JSON has it, which knows no tuples."""
    asked: dict[str, Any] = json.loads(json.dumps({"options": vars(options), "seeds": seeds}))
    return asked


def print_report(rows: Sequence[dict[str, Any]], options: SearchOptions) -> None:
    """A line for each configuration, then what it cost beside a grid of the same resolution."""
    shown = [row for row in rows if row["status"] == "found"][:MOST_ROWS]
    if shown:
        names = [row["name"] for row in shown]
        print_columns("configuration", names, list(_columns(shown, options)))
    for row in rows:
        if row["status"] != "found":
            print(f"nothing found: {row['name']}: no run of it has a value")
    if len(rows) > MOST_ROWS:
        print(f"... and {len(rows) - MOST_ROWS:,} more configurations ({FILE} has them all)")
    for row in shown:
        if row.get("budgets"):
            print(f"budget:   {row['name']}: {_budget_line(row)}")
    used, grid = (sum(row.get(key, 0) for row in rows) for key in ("member_steps", "grid_member_steps"))
    runs = sum(row.get("runs", 0) for row in rows)
    if grid:
        print()
        print(
            f"{runs:,} runs, {used:,} member-steps; a grid of the same resolution: {grid:,} ({grid / used:.1f} times)"
        )


def _capacity(search: ConfigurationSearch, budget_steps: int, options: SearchOptions) -> dict[str, Any]:
    values = _values(search.fresh().values())
    row: dict[str, Any] = {"capacity_bits": None, "ci_low": None, "ci_high": None, "num_seeds": len(values)}
    if values:
        mean, half = mean_and_half_width(values)
        row |= {"capacity_bits": mean}
        row |= {} if half is None else {"ci_low": mean - half, "ci_high": mean + half}
    budgets = []
    for doublings in range(1, options.budget_doublings + 1):
        more = _values(search.fresh(doublings).values())
        if more:
            mean, half = mean_and_half_width(more)
            ends = [None, None] if half is None else [mean - half, mean + half]
            steps, gain = budget_steps * 2**doublings, search.gain(doublings)
            value, *interval = gain or (None, None, None)
            budgets.append({"steps": steps, "bits": mean, "ci": ends, "gain": value, "gain_ci": interval})
            # A plateau over one doubling is no limit: it too is a lower bound, but one that a doubling hardly moves.
            row["is_settled"] = search.is_settled(doublings)
    if budgets:
        row["budgets"] = budgets
    return row


def _shares(search: ConfigurationSearch) -> dict[str, Any]:
    """Shares of fresh seeds that memorize all, at the found size and at the one below it."""
    assert search.found is not None
    row: dict[str, Any] = {}
    for name, size in (("share", search.found.size), ("share_below", search.found.size - 1)):
        values = _values(search.fresh(size=size).values())
        low, high = clopper_pearson(round(sum(values)), len(values))
        row[name] = statistics.fmean(values) if values else None
        row[f"{name}_low"], row[f"{name}_high"] = low, high
    return row


def _flags(search: ConfigurationSearch, options: SearchOptions) -> Iterator[str]:
    found, fresh = search.found, list(search.fresh().values())
    assert found is not None
    if found.at_low or (options.goal == CAPACITY and (found.at_high or _is_diagonal(fresh))):
        yield "grid_limited"
    if found.at_high:
        yield "never_saturated" if options.goal == CAPACITY else "never_memorized"
    if found.resolution > options.tolerance * (1 + 1e-9):
        yield "tolerance_missed"
    if len(found.tried) > 1 and found.setting in (found.tried[0], found.tried[-1]):
        yield "nuisance_edge"
    if any(told.is_diverged for told in search.told.values()):
        yield "diverged"
    if any(told.value is None for told in search.told.values()):
        yield "missing_runs"


def _is_diagonal(fresh: Sequence[Told]) -> bool:
    pairs = [
        (told.value, told.diagonal) for told in fresh if told.value is not None and told.diagonal is not None
    ]
    return bool(pairs) and sum(v for v, _ in pairs) >= DIAGONAL_SHARE * sum(d for _, d in pairs)


def _values(told: Any) -> list[float]:
    return [entry.value for entry in told if entry.value is not None]


def _columns(rows: Sequence[dict[str, Any]], options: SearchOptions) -> Iterator[Column]:
    yield Column("parameters", [f"{row['num_parameters']:,}" for row in rows], 2)
    yield Column("rate", [f"{row['learning_rate']:g}" for row in rows], 3)
    if options.goal == CAPACITY:
        half = [None if row["ci_low"] is None else row["capacity_bits"] - row["ci_low"] for row in rows]
        yield Column("best N", [str(row["best"]) for row in rows])
        yield Column("bracket", [_bracket(row) for row in rows], 4)
        yield Column("bits", [number(row["capacity_bits"], "{:.1f}") for row in rows])
        yield Column("95 % CI", ["-" if h is None else f"± {h:.1f}" for h in half])
        yield Column("bits/param", [number(row["bits_per_parameter"], "{:.3f}") for row in rows], 6)
    else:
        yield Column(options.axis.rpartition(".")[2], [str(row["best"]) for row in rows])
        yield Column("95 % CI", [_bracket(row) for row in rows])
        yield Column("share", [_share(row, "share") for row in rows], 6)
        yield Column("one less", [_share(row, "share_below") for row in rows], 4)
    yield Column("of a grid", [f"{row['share_of_grid']:.0%}" for row in rows], 1)
    yield Column("flags", [row["flags"] or "-" for row in rows])


def _bracket(row: dict[str, Any]) -> str:
    low, high = ("?" if end is None else str(end) for end in row["bracket"])
    return f"{low}..{high}"


def _share(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"


def _budget_line(row: dict[str, Any]) -> str:
    last = row["budgets"][-1]
    bits = f"{last['bits']:.1f} bits at {last['steps']:,} steps"
    gained = ""
    if last["gain"] is not None:
        low, high = last["gain_ci"]
        interval = "" if low is None else f" [{low:+.1%}, {high:+.1%}]"
        gained = f", {last['gain']:+.1%}{interval} with the last doubling"
    return f"{bits}{gained}" + ("" if row["is_settled"] else f"; lower bound at {last['steps']:,} steps")
