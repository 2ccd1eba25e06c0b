"""The finished runs that are to be measured, as cells: their recorded configuration with the measures asked for now."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memcap.config.cell import Cell
from memcap.config.fields import build
from memcap.config.measure_schema import MeasureConfig
from memcap.config.run_config import RunConfig
from memcap.config.schema import HardwareConfig
from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder

KEYS = ("study", "run", "force", "measure", "hardware", "tracking", "paths")


@dataclasses.dataclass(frozen=True)
class FinishedCells:
    """Cells that are measured, and the names of all finished runs of the request with their results."""

    to_measure: list[Cell]
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
    results, to_measure = {}, []
    for run_id, overrides in listed.items():
        result = RunFolder(outputs, run_id).read_result()
        if result is None:
            continue
        results[run_id] = result
        if values["force"] or _lacking(measure, result):
            to_measure.append(Cell(_config(result, values, measure, hardware), run_id, overrides))
    if not results:
        what = f"study={values['study']}" if values["study"] else f"run={values['run']}"
        raise BadInput(f"{what} has no finished run yet, below {outputs}")
    return FinishedCells(to_measure, results, listed, len(listed) - len(results))


def _listed(values: Mapping[str, Any], outputs: Path) -> dict[str, tuple[str, ...]]:
    if values["run"] is not None:
        return {str(values["run"]): ()}
    study = StudyFolder.existing(outputs, str(values["study"]))
    return {cell["run_id"]: tuple(cell["overrides"]) for cell in study.read()["cells"]}


def _lacking(measure: MeasureConfig, result: Mapping[str, Any]) -> list[str]:
    """Keys of what the run has neither along the way nor at its end."""
    recorded = result["config"]["measure"]
    at_end = result.get("measured_at_end", [])
    along = [name for name in measure.lacking(recorded) if name not in (*at_end, "points")]
    return along + measure.lacking_at_the_end(recorded)


def _config(
    result: Mapping[str, Any], values: Mapping[str, Any], measure: MeasureConfig, hardware: HardwareConfig
) -> RunConfig:
    recorded = result["config"]
    # What is ignored in identity may have gained keys since: it is taken from today's configuration.
    config = RunConfig.from_dict(
        {
            **recorded,
            "measure": values["measure"],
            "tracking": values["tracking"],
            "hardware": values["hardware"],
        }
    )
    # No engine is kept: nothing is trained, and the one of then may not exist where it is measured now.
    kept = dataclasses.replace(hardware, dtype=recorded["hardware"]["dtype"])
    return dataclasses.replace(config, measure=measure, hardware=kept)
