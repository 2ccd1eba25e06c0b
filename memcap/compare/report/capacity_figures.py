"""Capacity as figures: bits against N with bands and the diagonal, and capacity against parameters with its laws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.alarms import configuration_name
from memcap.compare.axes import grouping
from memcap.compare.fit_error import fit_band
from memcap.compare.fits import line_points
from memcap.compare.laws import LAWS
from memcap.compare.matching import matching
from memcap.compare.optimum import optimum_curves
from memcap.compare.report.drawing import MOST_POINTS, PALETTE, SYMBOLS, Drawing, Figure, Panel, faint
from memcap.compare.report.embedding import chart_text, numbers, rounded

INK = "#888888"  # visible on white and on black
LOG_SPAN = 20.0


def capacity_curves(drawing: Drawing) -> list[Figure]:
    """One plot per panel: the mean of each configuration over N, its band, single runs faint, capacity as a star."""
    table = drawing.comparison.curves
    if table.empty or table["num_samples"].nunique() < 2:
        return []
    of_row = drawing.configuration_of(table)
    metric = drawing.comparison.quantity.metric
    recorded = drawing.frame[metric].to_numpy(dtype=float, na_value=np.nan)
    ends = [table["mean"].max(), table["high"].max(), drawing.table["ci_high"].max()]
    top = np.nanmax([*ends, np.nanquantile(recorded, 0.999)])
    layout = {
        "xaxis": axis("N, training samples", rangemode="tozero"),
        "yaxis": axis(drawing.comparison.quantity.metric, range=[0, rounded(1.06 * top)]),
    }
    figures = []
    exact = optimum_curves(drawing.comparison)
    for panel in drawing.panels:
        data = [*_diagonal(table, of_row, panel)]
        for number, configuration in enumerate(panel.configurations):
            data += _curve(drawing, panel, number, table[of_row == configuration])
            data += _optimum(exact[exact["configuration"] == configuration], panel, configuration)
        layout_of_panel = {**layout, "legend": {"title": {"text": chart_text(panel.legend)}}}
        figures.append({"title": panel.title, "data": data, "layout": layout_of_panel})
    return figures


def _curve(drawing: Drawing, panel: Panel, number: int, curve: pd.DataFrame) -> Iterator[dict[str, Any]]:
    configuration = panel.configurations[number]
    color, name = panel.colors[configuration], panel.names[configuration]
    group = {"legendgroup": str(configuration), "hoverinfo": "none"}
    size, known = curve["num_samples"].tolist(), curve["low"].notna()
    if known.any():
        x, low, high = (curve[key][known].tolist() for key in ("num_samples", "low", "high"))
        yield {**band(x, low, high, color), "legendgroup": str(configuration)}
    runs = drawing.best_runs(configuration, drawing.comparison.quantity.metric)
    if len(runs) * len(panel.configurations) <= MOST_POINTS:
        yield points(runs, color, group)
    yield {
        **group, "x": numbers(size), "y": numbers(curve["mean"]), "name": name, "mode": "lines+markers",
        "line": {"color": color, "width": 2}, "marker": {"size": 6, "symbol": SYMBOLS[number % len(SYMBOLS)]},
        "customdata": [drawing.point_of_runs(configuration, at) for at in size],
    }  # fmt: skip
    yield _capacity_mark(drawing, configuration, color, group)


def _capacity_mark(drawing: Drawing, configuration: int, color: str, group: dict[str, Any]) -> dict[str, Any]:
    row = drawing.table.iloc[configuration]
    value = row[f"capacity_{drawing.comparison.quantity.unit}"]
    return {
        **group, "x": [int(row["best_num_samples"])], "y": [rounded(value)], "mode": "markers", "showlegend": False,
        "error_y": errors(row["ci_high"] - value, color),
        "marker": {"symbol": "star", "size": 14, "color": color, "line": {"color": INK, "width": 1}},
        "customdata": [drawing.point_of_runs(configuration, row["best_num_samples"])],
    }  # fmt: skip


def _optimum(exact: pd.DataFrame, panel: Panel, configuration: int) -> Iterator[dict[str, Any]]:
    """What the exact optimum of a linear model stores, where the oracle was asked."""
    if len(exact):
        yield {
            "x": numbers(exact["num_samples"]), "y": numbers(exact["mean"]), "mode": "lines",
            "line": {"color": panel.colors[configuration], "width": 1.5, "dash": "dot"}, "hoverinfo": "skip",
            "legendgroup": str(configuration), "name": f"{panel.names[configuration]}, exact optimum",
        }  # fmt: skip


def _diagonal(table: pd.DataFrame, of_row: np.ndarray, panel: Panel) -> Iterator[dict[str, Any]]:
    """What it would be with every sample memorized, once where all configurations agree."""
    seen = set()
    for configuration in panel.configurations:
        curve = table[(of_row == configuration) & table["diagonal"].notna()].sort_values("num_samples")
        if curve.empty:
            continue
        last = curve.iloc[-1]
        slope = float(f"{last['diagonal'] / last['num_samples']:.6g}")
        if slope in seen:
            continue
        seen.add(slope)
        end = table["num_samples"].max()
        yield {
            "x": [0, rounded(end)], "y": [0, rounded(slope * end)], "mode": "lines", "name": "all memorized",
            "line": {"color": INK, "width": 1.5, "dash": "dash"}, "hoverinfo": "skip", "showlegend": len(seen) == 1,
        }  # fmt: skip


def capacity_against_parameters(drawing: Drawing) -> list[Figure]:
    """Points with their intervals, and through each line of configurations the three laws, the chosen one thick.

    Nothing is drawn beyond the points.
    """
    table, axes = drawing.table, drawing.axes
    if "num_parameters" not in table or table["num_parameters"].nunique() < 2:
        return []
    unit = drawing.comparison.quantity.unit
    lines = table.groupby(grouping(table, axes.lines), sort=False)
    data: list[dict[str, Any]] = []
    for number, (_, line) in enumerate(lines):
        color = PALETTE[number % len(PALETTE)]
        name = chart_text(configuration_name(line.iloc[0], axes.lines)) if axes.lines else "capacity"
        data += _laws(drawing, line, color)
        value = line[f"capacity_{unit}"]
        rows = np.flatnonzero(table.index.isin(line.index)).tolist()
        at = [drawing.point_of_runs(row, table["best_num_samples"].iloc[row]) for row in rows]
        data.append({
            "x": numbers(line["num_parameters"]), "y": numbers(value), "mode": "markers", "name": name,
            "legendgroup": str(number), "error_y": errors(line["ci_high"] - value, color), "customdata": at,
            "marker": {"size": 9, "color": color, "symbol": SYMBOLS[number % len(SYMBOLS)]}, "hoverinfo": "none",
        })  # fmt: skip
    span = table["num_parameters"].max() / max(table["num_parameters"].min(), 1)
    kind = {"type": "log"} if span > LOG_SPAN else {"rangemode": "tozero"}
    layout = {"xaxis": axis("P, parameters", **kind), "yaxis": axis(f"capacity, {unit}", **kind)}
    return [{"title": "", "data": data, "layout": layout}]


def _laws(drawing: Drawing, line: pd.DataFrame, color: str) -> Iterator[dict[str, Any]]:
    fits, lines = drawing.comparison.fits, drawing.axes.lines
    if fits.empty:
        return
    where = {**{key: line[key].iloc[0] for key in lines}, "parameter_count": "num_parameters"}
    points_of_line, _ = line_points(line, "num_parameters", f"capacity_{drawing.comparison.quantity.unit}")
    rows = matching(fits, where)
    if rows.empty:
        return
    parameters = np.geomspace(points_of_line.parameters_C.min(), points_of_line.parameters_C.max(), 60)
    for _, row in rows.iterrows():
        law = next(law for law in LAWS if law.name == row["law"])
        value, below, above = fit_band(law, points_of_line, parameters)
        chosen = bool(row["chosen"])
        if chosen and np.isfinite(above).all():
            yield band(parameters.tolist(), below.tolist(), above.tolist(), color)
        text = f"{row['law'].replace('_', ' ')}{', chosen' if chosen else ''}"
        yield {
            "x": numbers(parameters), "y": numbers(value), "mode": "lines", "hoverinfo": "skip",
            "name": text, "showlegend": not lines,
            "line": {"color": color if chosen else INK, "width": 2.5 if chosen else 1,
                     "dash": "solid" if chosen else _DASHES[row["law"]]},
        }  # fmt: skip


_DASHES = {"proportional": "dot", "linear": "dash", "power_law": "dashdot"}


def points(runs: pd.DataFrame, color: str, group: dict[str, Any]) -> dict[str, Any]:
    """A faint mark for each run; its customdata is the run's place in the table of runs."""
    return {
        **group, "x": numbers(runs["num_samples"]), "y": numbers(runs["value"]), "mode": "markers",
        "marker": {"color": faint(color, 0.45), "size": 4}, "showlegend": False,
        "customdata": runs["row"].tolist(),
    }  # fmt: skip


def band(x: list[float], low: list[float], high: list[float], color: str) -> dict[str, Any]:
    """The area between two lines."""
    return {
        "x": numbers([*x, *x[::-1]]), "y": numbers([*high, *low[::-1]]), "fill": "toself", "mode": "lines",
        "fillcolor": faint(color, 0.16), "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip",
    }  # fmt: skip


def errors(half_width: Any, color: str) -> dict[str, Any]:
    """Symmetric error bars; none where the interval is unknown."""
    values = numbers(np.atleast_1d(half_width))
    return {
        "type": "data",
        "array": [value or 0 for value in values],
        "color": color,
        "thickness": 1.5,
        "width": 4,
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": chart_text(title)}, **more}
