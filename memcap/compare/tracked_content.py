"""What of a comparison is shown in W&B: tables, figures, a summary with the fits, a configuration."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from memcap import __version__
from memcap.compare.alarms import configuration_name
from memcap.compare.comparison import Comparison
from memcap.records.wandb_charts import MOST_ROWS

CAPACITY: Final = "compare/capacity"  # what records/wandb_dashboard shows
FITS: Final = "compare/fits"
PICTURES: Final = (".png",)
_FIT: Final = ("slope", "intercept", "exponent")


def tables(comparison: Comparison) -> dict[str, Any]:
    """``compare/capacity`` and ``compare/fits`` as W&B shows tables: a row per configuration, and per law."""
    import wandb

    made = {}
    for name, table in ((CAPACITY, comparison.capacity), (FITS, comparison.fits)):
        if not table.empty:
            rows: list[Iterable[Any]] = [
                [_cell(value) for value in row] for row in table.head(MOST_ROWS).itertuples(index=False)
            ]
            made[name] = wandb.Table(columns=list(map(str, table.columns)), data=rows, allow_mixed_types=True)
    return made


def pictures(files: Sequence[Path]) -> dict[str, Any]:
    """The figures among the files, by name: ``figures/<name>``; none where Pillow is not installed."""
    import wandb

    with suppress(ImportError, wandb.Error):
        return {f"figures/{path.stem}": wandb.Image(str(path)) for path in files if is_picture(path)}
    return {}


def summary(comparison: Comparison) -> dict[str, Any]:
    """Counts, and the chosen law over all parameters of each line: ``fit/slope`` with ``_low``, ``_high`` (95 %)."""
    best = comparison.capacity[f"capacity_{comparison.quantity.unit}"].max()
    found = {
        "num_runs": len(comparison.frame),
        "num_configurations": len(comparison.capacity),
        "num_alarms": len(comparison.alarms),
        f"capacity_{comparison.quantity.unit}_largest": _cell(best),
    }
    for where, row in _chosen_fits(comparison):
        found[f"fit/{where}law"] = row["law"]
        for name in (f"{value}{end}" for value in _FIT for end in ("", "_low", "_high")):
            if (value := _cell(row.get(name))) is not None:
                found[f"fit/{where}{name}"] = value
    return found


def gone(before: Iterable[str], new: Mapping[str, Any]) -> list[str]:
    """Keys of an earlier comparison's summary that this one lacks: fits of other lines or laws, another unit."""
    own = ("fit/", "capacity_")
    return sorted(key for key in before if key.startswith(own) and key not in new)


def description(comparison: Comparison) -> dict[str, Any]:
    """What was compared, as the configuration of the W&B run."""
    axes = dataclasses.asdict(comparison.axes)
    return {
        "studies": list(comparison.frame.attrs.get("studies", [])),
        "source": comparison.frame.attrs.get("source"),
        "y": comparison.quantity.metric,
        "fixed": {key: _cell(value) for key, value in axes.pop("fixed").items()},
        "axes": {key: list(value) if isinstance(value, tuple) else value for key, value in axes.items()},
        "memcap": __version__,
    }


def _chosen_fits(comparison: Comparison) -> Iterator[tuple[str, Mapping[str, Any]]]:
    table, lines = comparison.fits, comparison.axes.lines
    if table.empty:
        return
    for _, row in table[table["chosen"] & (table["parameter_count"] == "num_parameters")].iterrows():
        yield (f"{configuration_name(row, lines)}/" if lines else ""), row.to_dict()


def is_picture(path: Path) -> bool:
    """Whether a file is a figure that W&B shows."""
    return path.suffix in PICTURES


def _cell(value: Any) -> Any:
    """A value as W&B takes it: a plain one, None for what is absent or not finite, else its text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
