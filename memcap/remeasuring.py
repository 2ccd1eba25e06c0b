"""Measures of finished runs from their kept weights and regenerated data, without training."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from memcap import __version__
from memcap.config.cell import Cell
from memcap.engines.threads import set_threads
from memcap.errors import Interrupted
from memcap.grouping import packs
from memcap.measures.end_of_run import Arrays
from memcap.measures.observation import Observer, Row
from memcap.models import build_model
from memcap.models.model import flatten
from memcap.population import Population
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder, index_row
from memcap.training import fingerprint

# The same weights and data give the same loss up to the rounding of sums that run in another order.
LOSS_TOLERANCE = 1e-3
LOSS_ROUNDING = 1e-6


class Refused(Exception):
    """A finished run that cannot be measured; one line says why. It stays as it is."""


@dataclasses.dataclass
class Measured:
    """What became of the runs: the new summary of each that was measured, why each other one was not."""

    summaries: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)

    def reasons(self) -> list[str]:
        """'run 1a2b... and 3 more: weights.npz is torn', a line for each reason."""
        first = {reason: run_id for run_id, reason in reversed(self.refused.items())}
        numbers = Counter(self.refused.values())
        return [
            f"run {first[reason]}{f' and {number - 1} more' if number > 1 else ''}: {reason}"
            for reason, number in numbers.items()
        ]


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run with its weights as one vector, and our lock on it; ``cell`` says what to measure."""

    cell: Cell
    folder: RunFolder
    result: dict[str, Any]
    weights_P: np.ndarray
    lock: FolderLock

    @classmethod
    def read(cls, cell: Cell, outputs: Path, lock: FolderLock) -> FinishedRun:
        """Raises Refused where there is no result, or no weights that fit the configuration."""
        folder = RunFolder(outputs, cell.run_id)
        result = folder.read_result()
        if result is None:
            raise Refused("it has no result")
        if not folder.has_arrays("weights"):
            raise Refused("its weights were not kept (records.weights=none, or a model above weights_up_to)")
        try:
            weights = folder.read_arrays("weights")
        except (OSError, ValueError, zipfile.BadZipFile, EOFError):
            raise Refused("weights.npz is torn; force=true trains it again") from None
        return cls(cell, folder, result, flatten(_checked(weights, cell)), lock)


def measure_finished(
    cells: Sequence[Cell], outputs: Path, on_pack: Callable[[int], None] = lambda count: None
) -> Measured:
    """Adds what each cell's ``measure`` asks for to its finished run; ``on_pack`` hears of the runs done.

    What a record has already is not overwritten. A population that fails is measured in halves, until the failure
    belongs to one run. Nothing is raised for a single run: it is refused, with its reason. Whatever ends this, the
    studies hear of the runs that were measured.
    """
    measured = Measured()
    by_steps: dict[int, list[Cell]] = {}
    for cell in cells:
        if (result := RunFolder(outputs, cell.run_id).read_result()) is not None:
            by_steps.setdefault(int(result["steps"]), []).append(cell)
        else:
            measured.refused[cell.run_id] = "it has no result"
            on_pack(1)
    try:
        with Owner(outputs) as owner:
            for steps, alike in by_steps.items():
                for pack in packs(alike):
                    _measure_pack(pack, outputs, steps, measured, owner)
                    on_pack(len(pack))
    finally:
        _index(measured, outputs)
    return measured


def _measure_pack(pack: Sequence[Cell], outputs: Path, steps: int, measured: Measured, owner: Owner) -> None:
    """Measures those of the runs that nobody works on. They are read when they are locked: before, they may change."""
    held: list[FinishedRun] = []
    with contextlib.ExitStack() as locks:
        for cell in pack:
            try:
                lock = FolderLock(RunFolder(outputs, cell.run_id).path, owner)
                if not lock.acquire():
                    raise Refused("another process is working on it")
                locks.callback(lock.release)
                run = FinishedRun.read(cell, outputs, lock)
                if int(run.result["steps"]) != steps:
                    raise Refused("it was trained again in the meantime; measure it once more")
                held.append(run)
            except (Refused, OSError) as error:
                measured.refused[cell.run_id] = " ".join(str(error).split())
        _measure_held(held, measured)


def _measure_held(pack: Sequence[FinishedRun], measured: Measured) -> None:
    if not pack:
        return
    try:
        for run, outcome in _observed(pack):
            if isinstance(outcome, Refused):
                measured.refused[run.cell.run_id] = str(outcome)
                continue
            if not run.lock.is_held():  # this process stood still meanwhile
                measured.refused[run.cell.run_id] = "another process has taken it over"
                continue
            row, arrays = outcome
            record = _amended(run, row)
            run.folder.amend(record, _not_recorded(run, arrays))
            measured.summaries[run.cell.run_id] = record["summary"]
        return
    except (KeyboardInterrupt, Interrupted):
        raise
    except Exception as error:
        if len(pack) == 1:
            measured.refused[pack[0].cell.run_id] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return
    half = (len(pack) + 1) // 2
    for part in (pack[:half], pack[half:]):
        _measure_held([run for run in part if run.cell.run_id not in measured.summaries], measured)


def _observed(pack: Sequence[FinishedRun]) -> Iterator[tuple[FinishedRun, Any]]:
    """Each run with its row and arrays, or with the reason why its weights are not to be trusted."""
    configs = [run.cell.config for run in pack]
    set_threads(configs)
    start = Population(configs)
    observer = Observer(start)
    observer.note_start(start)
    weights_MP = torch.from_numpy(np.stack([run.weights_P for run in pack]))
    end = start.with_parameters(weights_MP.to(start.device, start.dtype))
    end.step = int(pack[0].result["steps"])
    rows = observer.observe(end)
    end_rows, arrays = observer.end(end)
    for member, run in enumerate(pack):
        row = rows[member] | end_rows[member]
        if fingerprint(start, member) != run.result["provenance"].get("data_fingerprint"):
            yield run, Refused("its data are drawn differently now; force=true trains it again")
        elif not _same_loss(row, run.result["summary"]):
            yield (
                run,
                Refused("its weights do not give the loss that is recorded; force=true trains it again"),
            )
        else:
            yield run, (row, arrays[member])


def _same_loss(row: Row, recorded: Mapping[str, Any]) -> bool:
    """Whether the loss is the recorded one; that of a diverged run is not finite, which is null in a record."""
    (name,) = (name for name in row if name.startswith("train/loss"))
    value, before = row[name], recorded.get(name)
    if before is None or not np.isfinite(value):
        return before is None and not np.isfinite(value)
    return bool(abs(value - before) <= LOSS_TOLERANCE * abs(before) + LOSS_ROUNDING)


def _amended(run: FinishedRun, row: Row) -> dict[str, Any]:
    """The record with what is new; what was measured along the way stays, and what was not is listed."""
    measure, recorded = run.cell.config.measure, run.result["config"]["measure"]
    at_end: dict[str, Any] = {name: True for name in measure.AT_THE_END if getattr(measure, name)}
    if measure.spectrum and not recorded.get("spectrum"):
        at_end |= {name: getattr(measure, name) for name in ("spectrum_probes", "spectrum_steps")}
    parts = [name for name in measure.lacking(recorded) if name not in measure.TRAINING_ONLY]
    provenance = run.result["provenance"]
    said = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "memcap": __version__,
        "parts": [*measure.lacking_at_the_end(recorded), *parts],
    }
    return {
        **run.result,
        "config": {**run.result["config"], "measure": {**recorded, **at_end}},
        "measured_at_end": sorted({*run.result.get("measured_at_end", []), *parts}),
        "summary": {**row, **run.result["summary"]},
        "provenance": {**provenance, "measured": [*provenance.get("measured", []), said]},
    }


def _not_recorded(run: FinishedRun, arrays: Arrays) -> Arrays:
    """The arrays without those that the record has; a file that it does not speak of is what a kill has left."""
    recorded, new = run.result["config"]["measure"], {}
    for file, group in arrays.items():
        has = recorded.get(file) and run.folder.has_arrays(file)
        old = run.folder.read_arrays(file) if has else {}
        if left := {name: values for name, values in group.items() if name not in old}:
            new[file] = left
    return new


def _index(measured: Measured, outputs: Path) -> None:
    """Tells every study that lists a measured run."""
    results = {run_id: RunFolder(outputs, run_id).read_result() or {} for run_id in measured.summaries}
    for name in {name for result in results.values() for name in result.get("studies", [])}:
        study = StudyFolder(outputs, name)
        for cell in study.read()["cells"]:
            if result := results.get(cell["run_id"]):
                study.append_index(index_row(result, cell["overrides"]))
        study.tidy_index()


def _checked(weights: Mapping[str, np.ndarray], cell: Cell) -> dict[str, np.ndarray]:
    shapes = build_model(cell.config).shapes
    if {name: array.shape for name, array in weights.items()} != dict(shapes):
        raise Refused("weights.npz has other shapes than its configuration; force=true trains it again")
    return {name: weights[name] for name in shapes}
