"""All numbers of a comparison together, and the files they stand in."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib.util
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memcap.compare.alarms import Alarm, alarms
from memcap.compare.axes import Axes
from memcap.compare.bits_ledger import bits_ledger
from memcap.compare.capacity import capacity
from memcap.compare.curves import curves
from memcap.compare.fits import fits
from memcap.compare.jamming import jamming
from memcap.compare.quantity import Quantity
from memcap.compare.references import exact_reference
from memcap.compare.restarts import best_of_restarts, best_restarts
from memcap.records import atomic


@dataclasses.dataclass(frozen=True)
class Comparison:
    """``frame`` [runs], ``capacity`` [configurations] and what follows from them; see the modules of these names.

    Where runs were restarted, ``frame`` has the best of each seed, and ``all_runs`` has all.
    """

    frame: pd.DataFrame
    axes: Axes
    quantity: Quantity
    capacity: pd.DataFrame
    curves: pd.DataFrame
    fits: pd.DataFrame
    jamming: pd.DataFrame
    ledger: pd.DataFrame
    alarms: list[Alarm]
    restarts: pd.DataFrame
    all_runs: pd.DataFrame


def compare(
    frame: pd.DataFrame,
    *,
    y: str = "bits",
    x: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    nuisance: Sequence[str] | None = None,
    selection_seeds: Iterable[int] | None = None,
) -> Comparison:
    """Everything that can be said of a table of runs of ``load_frame``; arguments as for ``capacity``."""
    keys: dict[str, Any] = {"x": x, "hue": hue, "facet": facet, "nuisance": nuisance}
    selection = None if selection_seeds is None else list(selection_seeds)
    all_runs, frame = frame, best_restarts(frame)
    capacities = capacity(frame, y=y, selection_seeds=selection, **keys)
    has_bits = "memory/bits" in frame
    return Comparison(
        frame=frame,
        axes=capacities.attrs["axes"],
        quantity=capacities.attrs["quantity"],
        capacity=capacities,
        curves=curves(frame, y=y, **keys),
        fits=fits(capacities),
        jamming=jamming(frame, y=y, **keys),
        ledger=bits_ledger(frame, selection_seeds=selection, **keys) if has_bits else pd.DataFrame(),
        alarms=alarms(all_runs, **keys),
        restarts=best_of_restarts(all_runs, capacities.attrs["axes"], capacities.attrs["quantity"]),
        all_runs=all_runs,
    )


def comparison_folder(frame: pd.DataFrame, outputs: str | Path) -> Path:
    """``studies/<name>/compare`` of one study, ``compare/<names>`` of several, ``compare/all`` of a whole folder.

    What comes from W&B: ``compare/wandb_<entity>_<project>``, with the studies where some were asked for.
    """
    studies = frame.attrs.get("studies", [])
    if source := frame.attrs.get("source"):
        return Path(outputs) / "compare" / _file_name("_".join([*re.split("[:/]", source), *sorted(studies)]))
    if len(studies) == 1:
        return Path(outputs) / "studies" / studies[0] / "compare"
    return Path(outputs) / "compare" / _file_name("+".join(sorted(studies)) or "all")


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes the tables as CSV (``runs`` as parquet too, where pyarrow is installed), ``fits.json``, ``alarms.json``;
    ``restarts`` where there are any.

    Each file is replaced whole; numbers keep all their digits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "capacity": comparison.capacity,
        "curves": comparison.curves,
        "ledger": comparison.ledger,
        "jamming": comparison.jamming,
        "runs": comparison.all_runs,
    }
    if comparison.restarts.empty:
        (folder / "restarts.csv").unlink(missing_ok=True)  # of an earlier comparison
    else:
        tables["restarts"] = comparison.restarts
    written = []
    for name, table in tables.items():
        atomic.write_text(folder / f"{name}.csv", csv_text(table), survives="kill")
        written.append(folder / f"{name}.csv")
    if importlib.util.find_spec("pyarrow") is not None:
        atomic.write_bytes(folder / "runs.parquet", _parquet(comparison.all_runs), survives="kill")
        written.append(folder / "runs.parquet")
    for name, value in (("fits", fits_record(comparison)), ("alarms", _alarms_record(comparison))):
        atomic.write_json(folder / f"{name}.json", value, survives="kill")
        written.append(folder / f"{name}.json")
    return written


def fits_record(comparison: Comparison) -> dict[str, Any]:
    """The fits with what they stand on: axes, quantity, what is fixed, exact references."""
    axes, frame = comparison.axes, comparison.frame
    references = []
    for _, row in frame.drop_duplicates(list(axes.compared) or ["data.kind"]).iterrows():
        reference = exact_reference({str(key): value for key, value in row.items()})
        if reference is not None:
            where = {key: row[key] for key in axes.compared}
            references.append({**where, **dataclasses.asdict(reference)})
    return {
        "studies": frame.attrs.get("studies", []),
        "y": comparison.quantity.metric,
        "axes": {**dataclasses.asdict(axes), "replicate": "seed"},
        "fits": comparison.fits.to_dict("records"),
        "references": references,
    }


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV; what is absent is empty. 10,000 runs take half the time of ``DataFrame.to_csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    columns = [table[name] for name in table]
    lists = [column.astype(object).where(column.notna(), None).tolist() for column in columns]
    writer.writerows(zip(*lists, strict=True))
    return text.getvalue()


def _file_name(name: str) -> str:
    """The name, or its beginning with a digest: a file name holds 255 bytes."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return name if len(name) <= 120 else f"{name[:100]}-{digest}"


def _alarms_record(comparison: Comparison) -> dict[str, Any]:
    return {
        "unusable": comparison.frame.attrs.get("unusable", []),
        "alarms": [dataclasses.asdict(alarm) for alarm in comparison.alarms],
    }


def _parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    plain = frame.copy(deep=False)
    plain.attrs = {}
    plain.to_parquet(file, index=False)
    return file.getvalue()
