"""The top of a report: what was compared, what came out, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE
from memcap.compare.comparison import Comparison
from memcap.compare.report.embedding import text
from memcap.compare.terminal import SPLITS, fit_lines, jump_lines, which_restarts
from memcap.study.units import number_text

MOST_VALUES = 16
MOST_LINES = 8  # of a kind; the tables have all
QUANTITIES = {
    "memory/bits": "memory/bits: N (log2 V − ℓ / ln 2), of the labels",
    "memory/bits_clamped": "memory/bits_clamped: each sample's saving at least 0 (Morris et al. 2025)",
    "memory/memorized_samples": "memory/memorized_samples: samples whose largest logit is their label",
}


def alarm_list(comparison: Comparison) -> str:
    """Alarms and runs that could not be used; empty where there are none."""
    unusable = comparison.frame.attrs.get("unusable", [])
    rows = [
        f"<li><b>{text(alarm.kind.replace('_', ' '))}</b> {text(alarm.message)}{_runs(alarm.run_ids)}</li>"
        for alarm in comparison.alarms
    ]
    rows += [f"<li><b>left out</b> {text(problem)}</li>" for problem in unusable]
    if not rows:
        return ""
    count = f"{len(rows)} alarm{'s' if len(rows) > 1 else ''}"
    return f'<section id="alarms" class="alarms" aria-label="alarms"><h2>{count}</h2><ul>{"".join(rows)}</ul></section>'


def headline(comparison: Comparison) -> str:
    """What varies, what is fixed, the budget, the quantity; then the fits and the jumps in words."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{value}</dd>" for name, value in _facts(comparison))
    return f'<dl class="facts">{rows}</dl>{_findings(comparison)}{_fixed(comparison)}'


def title(comparison: Comparison) -> str:
    """The studies' names, or the folder or W&B project of all runs."""
    attrs = comparison.frame.attrs
    studies, source = ", ".join(attrs.get("studies", [])), attrs.get("source")
    if studies:
        return f"{studies} of {source}" if source else studies
    return f"all runs of {source or attrs.get('outputs', 'a table')}"


def _facts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    frame, axes = comparison.frame, comparison.axes
    yield "runs", text(_runs_told(comparison))
    for name, keys in (
        ("compared", axes.shown),
        ("chosen", (SIZE, *axes.nuisance)),
        ("replicate", (REPLICATE,)),
    ):
        if keys:
            yield name, "".join(_values(frame, key) for key in keys)
    yield "configurations", text(f"{len(comparison.capacity):,}")
    budgets = sorted(comparison.capacity["budget_steps"].dropna().unique())
    if budgets:
        steps = ", ".join(number_text(int(steps)) for steps in budgets[:MOST_VALUES])
        yield "budget", text(f"{steps} steps; a capacity is a lower bound at its budget")
    if absent := frame.attrs.get("absent"):
        yield "absent", "<br>".join(map(text, absent))
    metric = comparison.quantity.metric
    yield "quantity", text(QUANTITIES.get(metric, metric))
    yield "seeds", "<br>".join(text(SPLITS[split]) for split in comparison.capacity["split"].unique())


def _runs_told(comparison: Comparison) -> str:
    """How many were trained, how they ended, and which of them count."""
    runs = comparison.all_runs
    states = ", ".join(f"{number:,} {status}" for status, number in runs["status"].value_counts().items())
    told = f"{len(runs):,} ({states})"
    if comparison.restarts.empty:
        return told
    return f"{told}; {which_restarts(comparison)} ({len(comparison.frame):,} runs)"


def _values(frame: pd.DataFrame, key: str) -> str:
    if key not in frame:
        return ""
    distinct = frame[key].drop_duplicates().tolist()
    numeric = pd.api.types.is_numeric_dtype(frame[key])
    found = sorted(distinct) if numeric else distinct
    shown = ", ".join(_value(value) for value in found[:MOST_VALUES])
    more = f", … ({len(found)} values)" if len(found) > MOST_VALUES else ""
    return f"<div><code>{text(key)}</code> {text(shown + more)}</div>"


def _findings(comparison: Comparison) -> str:
    fits, jumps = list(fit_lines(comparison)), list(jump_lines(comparison))
    fits = [line for line in fits if "<- chosen" in line] or fits
    lines = [*fits[:MOST_LINES], *jumps[:MOST_LINES]]
    rows = []
    for line in lines:
        kind, _, said = line.partition(":")
        said = said.strip().replace("  <- chosen", "")
        rows.append(f"<li><b>{text(kind)}</b><span>{text(said)}</span></li>")
    if len(jumps) > MOST_LINES:
        rows.append(f'<li><b></b><a href="#sharpness">{len(jumps)} configurations in all</a></li>')
    return f'<ul class="findings">{"".join(rows)}</ul>' if rows else ""


def _fixed(comparison: Comparison) -> str:
    fixed = comparison.axes.fixed
    if not fixed:
        return ""
    items = "".join(
        f"<li><code>{text(key)}={text(_value(value))}</code></li>" for key, value in fixed.items()
    )
    summary = f"<summary>{len(fixed)} keys are the same in all runs</summary>"
    return f'<details>{summary}<ul class="keys">{items}</ul></details>'


def _value(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    return number_text(None if value != value else value)


def _runs(run_ids: tuple[str, ...]) -> str:
    return f" <small>{text(', '.join(run_ids[:3]))}</small>" if run_ids else ""
