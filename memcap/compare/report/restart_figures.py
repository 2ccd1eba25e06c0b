"""Restarts as a figure: what the best of r trainings from other initial weights stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memcap.compare.matching import restarts_at_capacity
from memcap.compare.report.capacity_figures import axis, errors
from memcap.compare.report.drawing import SYMBOLS, Drawing, Figure, Panel
from memcap.compare.report.embedding import numbers


def best_of_restarts(drawing: Drawing) -> list[Figure]:
    """One plot per panel: a line per configuration, over r, at the N and nuisance values of its capacity."""
    table = drawing.comparison.restarts
    if table.empty:
        return []
    counts = sorted(set(table["best_of"].tolist()))
    layout = {
        "xaxis": axis("r, restarts of which the best counts", type="log", tickvals=counts, ticktext=counts),
        "yaxis": axis(drawing.comparison.quantity.metric),
    }
    drawn = [(panel, list(_lines(drawing, panel))) for panel in drawing.panels]
    return [{"title": panel.title, "data": data, "layout": layout} for panel, data in drawn if data]


def _lines(drawing: Drawing, panel: Panel) -> Iterator[dict[str, Any]]:
    for number, configuration in enumerate(panel.configurations):
        capacity, color = drawing.table.iloc[configuration], panel.colors[configuration]
        line = restarts_at_capacity(drawing.comparison, capacity)
        at = drawing.point_of_runs(configuration, capacity["best_num_samples"])
        yield {
            "x": line["best_of"].tolist(), "y": numbers(line["mean"]), "mode": "lines+markers",
            "name": panel.names[configuration], "error_y": errors(line["ci_high"] - line["mean"], color),
            "line": {"color": color, "width": 2}, "hoverinfo": "none", "customdata": [at] * len(line),
            "marker": {"size": 6, "symbol": SYMBOLS[number % len(SYMBOLS)]},
        }  # fmt: skip
