"""The figures of a comparison as files: what its runs have data for, as PNG and SVG."""

from __future__ import annotations

import io
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from memcap.compare.comparison import Comparison
from memcap.compare.histories import load_histories, runs_to_draw
from memcap.compare.stability import PRECONDITIONED, RAW
from memcap.compare.stale import FIGURES, KINDS
from memcap.errors import BadInput
from memcap.plot.capacity_against_parameters import capacity_against_parameters
from memcap.plot.capacity_curves import capacity_curves
from memcap.plot.gradients import METRICS as OF_GRADIENTS
from memcap.plot.gradients import gradients
from memcap.plot.sharpness import sharpness
from memcap.plot.small_multiples import figure
from memcap.plot.training import LOSSES, training
from memcap.records import atomic

PNG_DOTS_PER_INCH = 110


def write_figures(comparison: Comparison, folder: Path) -> list[str]:
    """Writes ``<name>.png`` and ``<name>.svg`` of each figure that has data; the names, in the order of ``FIGURES``.

    Files of an earlier comparison whose figure has no data any more are removed. Each file is replaced whole, and the
    same comparison gives the same bytes. Text in an SVG is text. Reads the histories of at most 200 runs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name in FIGURES:
        made = _figure(name, comparison)
        for kind in KINDS:
            if made is None:
                (folder / f"{name}.{kind}").unlink(missing_ok=True)
            else:
                atomic.write_bytes(folder / f"{name}.{kind}", encoded(made, kind), survives="kill")
        drawn += [name] if made is not None else []
    return drawn


def _figure(name: str, comparison: Comparison) -> Figure | None:
    """One of the figures, None where these runs have no data for it."""
    frame, title = comparison.frame, _title(comparison)
    one_size = comparison.curves["num_samples"].nunique() < 2
    options: dict[str, Any] = {}
    if name == "training" or (name == "gradients" and one_size):
        metrics = list(OF_GRADIENTS) if name == "gradients" else [*LOSSES, comparison.quantity.metric]
        runs = runs_to_draw(comparison)
        options["histories"] = load_histories(runs[runs["places_from_best"] == 0], metrics)
        measured = _measured(options["histories"], metrics)
        options["metrics"] = measured
        if name == "gradients":
            options["over"] = "steps"
    elif name == "sharpness":
        options["metrics"] = measured = _measured(frame, [RAW, PRECONDITIONED])
    elif name == "gradients":
        options["metrics"] = measured = _measured(frame, list(OF_GRADIENTS))
    else:
        measured = [comparison.quantity.metric]
    if not measured:
        return None
    try:
        return figure(DRAW[name], comparison, title=title, **options)
    except BadInput:  # one N, one count of parameters
        return None


DRAW: dict[str, Callable[..., Any]] = {
    "capacity_curves": capacity_curves,
    "capacity_against_parameters": capacity_against_parameters,
    "training": training,
    "sharpness": sharpness,
    "gradients": gradients,
}


def _measured(table: pd.DataFrame, metrics: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(metrics) if name in table and table[name].notna().any()]


def _title(comparison: Comparison) -> str:
    """Which studies, how many seeds, which budget."""
    frame, fixed = comparison.frame, comparison.axes.fixed
    studies = comparison.frame.attrs.get("studies", [])
    seeds = frame["seed"].nunique()
    words = [", ".join(studies) if len(studies) <= 3 else f"{len(studies)} studies"]
    words.append(f"{seeds} {'seed' if seeds == 1 else 'seeds'}")
    if isinstance(fixed.get("budget.steps"), Integral):
        words.append(f"{int(fixed['budget.steps']):,} steps")
    return " · ".join(word for word in words if word)


def encoded(made: Figure, kind: str) -> bytes:
    file = io.BytesIO()
    options: dict[str, Any] = (
        {"metadata": {"Date": None}} if kind == "svg" else {"pil_kwargs": {"compress_level": 3}}
    )
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "memcap"}):
        made.savefig(file, format=kind, dpi=PNG_DOTS_PER_INCH, **options)
    return file.getvalue()
