"""The finished runs that are to be measured, as cells: their recorded configuration with the measures asked for now."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memcap.config.cell import Cell
from memcap.config.fields import build
from memcap.config.measure_schema import MeasureConfig, check_measure, measured
from memcap.config.run_config import RunConfig
from memcap.config.schema import HardwareConfig
from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.study.find_run import find_run
from memcap.study.recorded_config import recorded_config


@dataclasses.dataclass(frozen=True)
class FinishedCells:
    """Cells that are measured, those of which the configuration cannot be read with the reason, and the names of all
    finished runs of the request with their results."""

    to_measure: list[Cell]
    unreadable: dict[str, str]
    results: dict[str, dict[str, Any]]
    overrides: dict[str, tuple[str, ...]]
    num_unfinished: int


def finished_cells(values: Mapping[str, Any]) -> FinishedCells:
    """Raises BadInput for a request that names no study or run, or one that has no finished run.

    ``values``: the composed configuration of memcap.measure. Of ``hardware`` only where and with how much memory
    to measure is taken; the dtype is that of the run.
    """
    if (values["study"] is None) == (values["run"] is None):
        raise BadInput("give study=NAME, or run=RUN_ID for one run; python -m memcap.measure --help")
    measure = build(MeasureConfig, values["measure"], "measure")
    hardware = build(HardwareConfig, values["hardware"], "hardware")
    outputs = Path(values["paths"]["outputs"])
    listed = _listed(values, outputs)
    results, to_measure, unreadable = {}, [], {}
    for run_id, overrides in listed.items():
        result = RunFolder(outputs, run_id).read_result()
        if result is None:
            continue
        results[run_id] = result
        if values["force"] or _lacking(measure, result):
            try:
                config = recorded_config(result["config"])
            except BadInput as error:  # a part of one's own that is not there any more
                unreadable[run_id] = str(error)
                continue
            to_measure.append(Cell(_config(config, measure, hardware, outputs), run_id, overrides))
    if not results:
        what = f"study={values['study']}" if values["study"] else f"run={values['run']}"
        raise BadInput(f"{what} has no finished run yet, below {outputs}")
    return FinishedCells(to_measure, unreadable, results, listed, len(listed) - len(results))


def _listed(values: Mapping[str, Any], outputs: Path) -> dict[str, tuple[str, ...]]:
    if values["run"] is not None:
        return {find_run(str(values["run"]), outputs).run_id: ()}
    study = StudyFolder.existing(outputs, str(values["study"]))
    return {cell["run_id"]: tuple(cell["overrides"]) for cell in study.read()["cells"]}


def _lacking(measure: MeasureConfig, result: Mapping[str, Any]) -> list[str]:
    """Keys of what the run has neither along the way nor at its end."""
    had = measured(result)
    along = [name for name in measure.lacking(had) if name not in measure.TRAINING_ONLY]
    return along + measure.lacking_at_the_end(had)


def _config(config: RunConfig, measure: MeasureConfig, hardware: HardwareConfig, outputs: Path) -> RunConfig:
    """The recorded configuration as it is measured here; BadInput where the model is too large for what is asked."""
    check_measure(measure, config.num_parameters)
    # No engine is kept: nothing is trained, and the one of then may not exist where it is measured now.
    return dataclasses.replace(
        config,
        measure=measure,
        hardware=dataclasses.replace(
            hardware, dtype=config.hardware.dtype, autocast=config.hardware.autocast
        ),
        paths=dataclasses.replace(config.paths, outputs=str(outputs)),  # the records may have moved
    )
