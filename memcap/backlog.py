"""What of a sweep is left to do: runs to train, finished runs to measure, and what is kept as it is."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from memcap.config.cell import Cell
from memcap.config.implementation import own_sources
from memcap.config.measure_schema import measured
from memcap.ledger import Ledger
from memcap.outcome import CellOutcome
from memcap.records.progress import counted
from memcap.records.run_folder import RunFolder


@dataclasses.dataclass
class Backlog:
    """Cells to train, and cells of finished runs that only lack what their kept weights can give."""

    to_train: list[Cell] = dataclasses.field(default_factory=list)
    to_measure: list[Cell] = dataclasses.field(default_factory=list)


def sort_out(ledger: Ledger, outcomes: Sequence[CellOutcome]) -> Backlog:
    """The cells that need work; the others get their outcome from what is on disk. Writes nothing, says what is odd."""
    backlog = Backlog()
    lacking: dict[str, list[str]] = {}
    changed: list[str] = []
    for outcome in outcomes:
        cell, folder = outcome.cell, RunFolder(ledger.outputs, outcome.cell.run_id)
        result = folder.read_result()
        ledger.known_attempts[cell.run_id] = int((result or {}).get("attempts", 0))
        given_up = folder.failures() >= cell.config.max_attempts and not cell.config.force
        if result is not None and not cell.config.force:
            if lacks := [] if given_up else _needs_training(cell, result, folder):
                # What was not measured along the way can only be had by training again, with all that it has.
                lacking[cell.run_id] = lacks
                backlog.to_train.append(_with_all_measures(cell, result))
                continue
            if result["provenance"].get("own_sources", {}) != own_sources(cell.config):
                changed.append(cell.run_id)
            elif not given_up and lacks_at_the_end(cell, result):
                backlog.to_measure.append(cell)
            outcome.take(result, "skipped")
        elif given_up and (failure := folder.read_failure()) is not None:
            number = failure["failures"]
            again = f"(failed {number} times; max_attempts={number + 1} tries once more)"
            outcome.status, outcome.error = "failed", f"{failure['error']} {again}"
        else:
            backlog.to_train.append(cell)
    _say_what_is_odd(ledger, lacking, changed)
    return backlog


def lacks_at_the_end(cell: Cell, result: Mapping[str, Any]) -> list[str]:
    """Keys of the end-of-run measures that a finished run lacks."""
    return cell.config.measure.lacking_at_the_end(result["config"]["measure"])


def at_the_end(cell: Cell) -> Cell:
    """The same cell, measured at the end only."""
    measure = cell.config.measure.at_the_end()
    return dataclasses.replace(cell, config=dataclasses.replace(cell.config, measure=measure))


def _needs_training(cell: Cell, result: Mapping[str, Any], folder: RunFolder) -> list[str]:
    """Keys of what a finished run lacks and its kept weights cannot give."""
    lacks = cell.config.measure.lacking(result["config"]["measure"])
    if not folder.has_arrays("weights"):
        lacks += lacks_at_the_end(cell, result)
    return lacks


def _with_all_measures(cell: Cell, result: Mapping[str, Any]) -> Cell:
    joined = cell.config.measure.joined(measured(result))
    return dataclasses.replace(cell, config=dataclasses.replace(cell.config, measure=joined))


def _say_what_is_odd(ledger: Ledger, lacking: Mapping[str, Sequence[str]], changed: Sequence[str]) -> None:
    if changed:
        print(
            f"memcap: finished runs are kept, though the code of your own parts has changed since: {len(changed)};"
            " if that moves numbers, raise the part's version, or use force=true",
            file=sys.stderr,
        )
    if lacking:
        names = ", ".join(sorted({f"measure.{name}" for names in lacking.values() for name in names}))
        print(
            f"memcap: finished runs are trained again, since they lack {names}: {len(lacking)}",
            file=sys.stderr,
        )
    if ledger.num_cells > len(ledger.by_id):
        print(
            f"memcap: {ledger.num_cells} cells are {counted(len(ledger.by_id), 'run')}: some differ only in keys that"
            " change no numbers",
            file=sys.stderr,
        )
