"""A study as a table, from its run folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder

if TYPE_CHECKING:
    import pandas as pd


def load_study(name: str, outputs: str | Path = "outputs") -> pd.DataFrame:
    """One row for each run of a study that has a result, in the order in which the study lists them.

    Columns: ``run_id``, ``status``, ``stop_reason``, ``steps``, the configuration by dotted key
    (``model.width``), the study's ``overrides`` of the cell, and the summary by metric name (``memory/bits``, in
    bits; ``train/loss_nats``); ``attrs["axes"]`` lists the swept keys. A run without a result is no row. Raises
    BadInput for a study that is not there or has no result.
    """
    folder = StudyFolder.existing(Path(outputs), name)
    study = folder.read()
    table = runs_table(((cell["run_id"], cell["overrides"]) for cell in study["cells"]), name, outputs)
    if table.empty:
        raise BadInput(f"study={name} has no finished run yet, in {folder.path}")
    table.attrs["axes"] = study["axes"]
    return table


def runs_table(
    cells: Iterable[tuple[str, Iterable[str]]], study: str, outputs: str | Path = "outputs"
) -> pd.DataFrame:
    """The table of these runs of a study, ``(run_id, overrides)``; a run without a result is no row."""
    import pandas as pd

    rows = []
    for run_id, overrides in cells:
        result = RunFolder(Path(outputs), run_id).read_result()
        if result is not None:
            record = {key: result[key] for key in ("run_id", "status", "stop_reason", "steps")}
            columns = {**_dotted(result["config"]), "study": study, "overrides": tuple(overrides)}
            rows.append({**record, **columns, **result["summary"]})
    table = pd.DataFrame(rows)
    table.attrs |= {"study": study, "outputs": str(outputs)}
    return table


def _dotted(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return flat
