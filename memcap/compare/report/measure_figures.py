"""Measures as figures: loss and bits over steps, sharpness and gradients against N."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from memcap.compare.histories import STEP, load_histories, runs_to_draw
from memcap.compare.over_samples import over_samples
from memcap.compare.report.capacity_figures import INK, LOG_SPAN, axis, points
from memcap.compare.report.drawing import MOST_POINTS, SYMBOLS, Drawing, Figure, Panel, faint
from memcap.compare.report.embedding import chart_text, numbers, rounded
from memcap.compare.stability import PRECONDITIONED, RAW, stability_thresholds

MOST_JUMPS = 6  # in one plot; the table has all
OVER_STEPS = {
    "train/loss_nats": "loss, nats per sample",
    "train/loss_mse": "loss, mean squared error",
    "memory/bits": "memory/bits",
}
GRADIENTS = {
    "gradients/coherence": "‖Σ g‖² / (N Σ ‖g‖²)",
    "gradients/cancellation": "Σ ‖g‖ / N",
    "gradients/cancellation_unmemorized": "Σ ‖g‖ / N, not memorized",
    "gradients/noise_scale": "tr Σ / ‖∇ℓ‖²",
}
SHARPNESS = {
    RAW: "λ₁(H)",
    PRECONDITIONED: "λ₁(D⁻¹H)",
}


def training(drawing: Drawing) -> list[Figure]:
    """A line for each run that ``runs_to_draw`` chooses: loss and bits over steps."""
    runs = runs_to_draw(drawing.comparison)
    table = load_histories(runs, list(OVER_STEPS))
    if table.empty or table[STEP].nunique() < 2:
        return []
    row_of = {run_id: row for row, run_id in enumerate(drawing.frame["run_id"].tolist())}
    table = table[table[STEP] > 0].assign(row=table["run_id"].map(row_of))  # step 0 is on no logarithmic axis
    figures: list[Figure] = []
    for metric, title in OVER_STEPS.items():
        found = table[["row", STEP, metric]].dropna()
        if not found.empty:
            layout = {"xaxis": axis("steps", type="log", dtick=1), "yaxis": _vertical(title, found[metric])}
            figures += _over_steps(drawing, metric, found, layout)
    return figures


def _over_steps(
    drawing: Drawing, metric: str, found: pd.DataFrame, layout: dict[str, Any]
) -> Iterator[Figure]:
    lines = [
        (row, int(drawing.configuration_R[row]), run[STEP].tolist(), numbers(run[metric], 5))
        for row, run in ((int(run["row"].iloc[0]), run) for _, run in found.groupby("row", sort=True))
    ]
    for panel in drawing.panels:
        data: list[dict[str, Any]] = []
        named: set[int] = set()
        for row, configuration, steps, values in lines:
            if configuration not in panel.names:
                continue
            data.append({
                "x": steps, "y": values, "mode": "lines", "hoverinfo": "none",
                "line": {"color": faint(panel.colors[configuration], 0.6), "width": 1.2},
                "legendgroup": str(configuration), "name": panel.names[configuration],
                "showlegend": configuration not in named, "customdata": [row] * len(steps),
            })  # fmt: skip
            named.add(configuration)
        if data:
            yield _figure(panel, data, layout, metric)


def sharpness(drawing: Drawing) -> list[Figure]:
    """Raw and preconditioned sharpness at the end of training, with the jump of the raw one and the N of capacity."""
    of_panel = {
        (metric, panel.configurations): stability_thresholds(drawing.comparison, metric, panel.configurations)
        for metric in SHARPNESS
        for panel in drawing.panels
    }
    levels = {
        metric: [found.low for (of, _), found in of_panel.items() if of == metric and found and found.common]
        for metric in SHARPNESS
    }
    figures = _against_size(drawing, SHARPNESS, levels)
    for figure, panel in figures:
        if figure["metric"] == RAW:
            figure["layout"] |= _jumps(drawing, panel)
        thresholds = of_panel[figure["metric"], panel.configurations]
        if thresholds is not None and thresholds.common is None:
            ends = f"{rounded(thresholds.low, 3)} to {rounded(thresholds.high, 3)}"
            figure["title"] += f"; thresholds of stability differ ({ends}), none is drawn"
        elif thresholds is not None:
            figure["data"].append(_threshold(figure["data"], thresholds.low))
    return [figure for figure, _ in figures]


def gradients(drawing: Drawing) -> list[Figure]:
    """Per-sample gradients at the end of training, raw and preconditioned."""
    preconditioned = {
        name.replace("gradients/", "gradients/preconditioned/"): s for name, s in GRADIENTS.items()
    }
    return [figure for figure, _ in _against_size(drawing, {**GRADIENTS, **preconditioned})]


def _against_size(
    drawing: Drawing, metrics: dict[str, str], levels: dict[str, list[float]] | None = None
) -> list[tuple[Figure, Panel]]:
    """A plot per metric and panel: runs at the best nuisance values, and their geometric mean over seeds.

    levels: values of each metric that its vertical axis shows too.
    """
    figures = []
    for metric, symbol in metrics.items():
        if metric not in drawing.frame:
            continue
        runs = {c: drawing.best_runs(c, metric) for panel in drawing.panels for c in panel.configurations}
        runs = {c: table[table["value"] > 0] for c, table in runs.items()}
        seen = [table["value"] for table in runs.values()]
        seen.append(pd.Series((levels or {}).get(metric, []), dtype=float))
        layout = {
            "xaxis": axis("N, training samples", rangemode="tozero"),
            "yaxis": _vertical(symbol, pd.concat(seen)),
        }
        means = over_samples(drawing.comparison, metric, bands=False)
        means_C = dict(iter(means.groupby("configuration")))
        for panel in drawing.panels:
            own = {c: runs[c] for c in panel.configurations}
            sizes = pd.concat([table["num_samples"] for table in own.values()])
            if sizes.nunique() > 1:
                few = len(sizes) <= MOST_POINTS
                data: list[dict[str, Any]] = []
                for c, table in own.items():
                    if len(table):
                        data += [points(table, panel.colors[c], _group(c))] if few else []
                        data.append(_mean(drawing, panel, c, means_C[c]))
                figures.append((_figure(panel, data, layout, metric), panel))
    return figures


def _mean(drawing: Drawing, panel: Panel, configuration: int, means: pd.DataFrame) -> dict[str, Any]:
    """The line of one configuration, a row of ``over_samples`` for each N."""
    symbol = SYMBOLS[panel.configurations.index(configuration) % len(SYMBOLS)]
    return {
        **_group(configuration), "x": numbers(means["num_samples"]), "y": numbers(means["center"]),
        "name": panel.names[configuration], "mode": "lines+markers", "marker": {"size": 6, "symbol": symbol},
        "line": {"color": panel.colors[configuration], "width": 2},
        "customdata": [drawing.point_of_runs(configuration, size) for size in means["num_samples"]],
    }  # fmt: skip


def _group(configuration: int) -> dict[str, Any]:
    return {"legendgroup": str(configuration), "hoverinfo": "none"}


def _jumps(drawing: Drawing, panel: Panel) -> dict[str, Any]:
    """The N of each jump as a line with its interval as a band, in the colour of its configuration."""
    table = drawing.comparison.jamming
    if table.empty:
        return {}
    shapes: list[dict[str, Any]] = []
    of_row = drawing.configuration_of(table)
    rows = [(c, table.iloc[r]) for r, c in enumerate(of_row) if c in panel.names and table["jump"].iloc[r]]
    for configuration, row in rows[:MOST_JUMPS]:
        color = panel.colors[int(configuration)]
        upright = {"yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
        if row["jump_low"] == row["jump_low"]:
            ends = {"x0": rounded(row["jump_low"]), "x1": rounded(row["jump_high"])}
            shapes.append(
                {**upright, **ends, "type": "rect", "fillcolor": faint(color, 0.10), "line": {"width": 0}}
            )
        at = rounded(row["jump_num_samples"])
        line = {"color": color, "width": 1.5, "dash": "dot"}
        shapes.append({**upright, "type": "line", "x0": at, "x1": at, "line": line})
    return {"shapes": shapes}


def _threshold(data: Sequence[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Where training gets unstable, as wide as what is drawn."""
    end = max(x for trace in data for x in trace["x"])
    return {
        "x": [0, end], "y": [rounded(threshold)] * 2, "mode": "lines", "hoverinfo": "skip",
        "name": "unstable above", "line": {"color": INK, "width": 1.5, "dash": "dash"},
    }  # fmt: skip


def _vertical(title: str, values: pd.Series) -> dict[str, Any]:
    """The vertical axis of these values, the same in all panels; logarithmic where positive values span much."""
    low, high = float(values.min()), float(values.max())
    if not high > LOG_SPAN * low > 0:
        return axis(title, range=numbers([min(0.0, 1.05 * low), 1.05 * high]))
    ends = math.log10(low), math.log10(high)
    margin = 0.04 * (ends[1] - ends[0])
    ticks = {"dtick": max(1, round((ends[1] - ends[0]) / 6))} if ends[1] - ends[0] > 2 else {}
    where = numbers([ends[0] - margin, ends[1] + margin])
    return axis(title, type="log", exponentformat="power", range=where, **ticks)


def _figure(panel: Panel, data: Sequence[Any], layout: dict[str, Any], metric: str) -> Figure:
    title = metric + (f", {panel.title}" if panel.title else "")
    legend = {"legend": {"title": {"text": chart_text(panel.legend)}}}
    row = metric if panel.title else None
    return {"title": title, "metric": metric, "row": row, "data": list(data), "layout": {**layout, **legend}}
