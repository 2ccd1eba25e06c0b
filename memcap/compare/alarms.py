"""What makes numbers suspicious before anybody draws a conclusion from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from memcap.compare.axes import REPLICATE, SIZE, Axes, find_axes, grouping
from memcap.compare.frame import PROVENANCE
from memcap.compare.restarts import best_restarts
from memcap.compare.run_identity import runs_of_other_code

NULL_SHARE = 0.001  # of studies without a leak that raise the alarm of the null set
MOST_NAMED = 3
SAME_IN_A_CURVE = {
    "engine": "engines",
    "memcap": "versions of memcap",
    "own_sources": "sources of parts of your own",
}


@dataclasses.dataclass(frozen=True)
class Alarm:
    """``kind``: duplicate_curves, null_above_0, mixed_provenance, other_code, missing_cells, not_reproduced."""

    kind: str
    message: str
    run_ids: tuple[str, ...]


def alarms(
    frame: pd.DataFrame,
    *,
    x: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    nuisance: Sequence[str] | None = None,
) -> list[Alarm]:
    """All alarms of a table of runs (of ``load_frame``, which has the provenance); empty where nothing is wrong."""
    every, frame = frame, best_restarts(frame)
    axes = find_axes(frame, x=x, hue=hue, facet=facet, nuisance=nuisance)
    curve = grouping(frame, axes.compared)
    return [
        *duplicate_curves(frame, axes, curve),
        *null_above_zero(every),
        *mixed_provenance(every, axes, grouping(every, axes.compared)),
        *other_code(every),
        *missing_cells(frame[~_searched(frame)], axes, curve),
    ]


def duplicate_curves(frame: pd.DataFrame, axes: Axes, curve: pd.Series) -> Iterator[Alarm]:
    """Two configurations whose runs ended with identical losses and bits everywhere: one key was not in effect, or one
    of them was never measured."""
    metrics = [name for name in ("memory/bits", "train/loss_nats", "train/loss_mse") if name in frame]
    finished = frame[frame["status"] == "finished"]
    seen: dict[Any, pd.DataFrame] = {}
    for _, runs in finished.groupby(curve, sort=False):
        ordered = runs.sort_values([SIZE, REPLICATE, *axes.nuisance])
        values = ordered[[SIZE, REPLICATE, *axes.nuisance, *metrics]].astype(object)
        key = tuple(map(tuple, values.where(values.notna(), None).to_numpy().tolist()))
        if key in seen and any(value is not None for value in key[0][-len(metrics) :]):
            other = seen[key]
            yield Alarm(
                "duplicate_curves",
                f"{_name(other, axes)} and {_name(runs, axes)} have identical numbers in all {len(runs)} runs",
                (str(other["run_id"].iloc[0]), str(runs["run_id"].iloc[0])),
            )
        seen.setdefault(key, runs)


def null_above_zero(frame: pd.DataFrame) -> Iterator[Alarm]:
    """Bits on fresh data above 0 by more than chance: data leaked, or bits are counted wrongly.

    One in a thousand studies without a leak raises it (Bonferroni over the runs, normal errors of the sum).
    """
    from scipy.special import ndtri

    names = ("eval/null/bits", "eval/null/bits_standard_error")
    if not set(names) <= set(frame):
        return
    bits, error = (frame[name].to_numpy(dtype=float, na_value=np.nan) for name in names)
    with np.errstate(invalid="ignore"):
        above = bits > ndtri(1 - NULL_SHARE / len(frame)) * error
    if above.any():
        largest = int(np.nanargmax(np.where(above, bits, -np.inf)))
        message = (
            f"null score above 0 in {above.sum()} of {len(frame)} runs, most in {frame['run_id'].iloc[largest]}:"
            f" {bits[largest]:.1f} ± {error[largest]:.1f} bits on data that it has not seen"
        )
        yield Alarm("null_above_0", message, tuple(frame["run_id"][above]))


def mixed_provenance(frame: pd.DataFrame, axes: Axes, curve: pd.Series) -> Iterator[Alarm]:
    """One curve out of runs of different engines, versions of memcap or sources of one's own parts."""
    for name, meaning in SAME_IN_A_CURVE.items():
        column = f"provenance.{name}"
        if column not in frame:
            continue
        mixed = frame.groupby(curve, sort=False)[column].nunique(dropna=False)
        groups = mixed.index[mixed > 1]
        if len(groups):
            runs = frame[curve == groups[0]]
            counts = runs[column].value_counts(dropna=False)
            parts = ", ".join(f"{value} ({number} runs)" for value, number in counts.items())
            also = f" and {len(groups) - 1} more curves" if len(groups) > 1 else ""
            of = [str(rows["run_id"].iloc[0]) for _, rows in runs.groupby(column, sort=False, dropna=False)]
            message = f"different {meaning} in {_name(runs, axes)}{also}: {parts}"
            yield Alarm("mixed_provenance", message, tuple(of))


def other_code(frame: pd.DataFrame) -> Iterator[Alarm]:
    """Runs whose configuration has another id today: a component's version was raised since, or a key has come."""
    if not {f"provenance.{name}" for name in PROVENANCE} <= set(frame) or "outputs" not in frame.attrs:
        return
    other = runs_of_other_code(frame)
    if other:
        named = ", ".join(other[:MOST_NAMED])
        message = (
            f"the code of {len(other)} of {len(frame)} runs has changed since (component versions): {named}; train them"
            " again before you compare them with new ones"
        )
        yield Alarm("other_code", message, tuple(other))


def missing_cells(frame: pd.DataFrame, axes: Axes, curve: pd.Series) -> Iterator[Alarm]:
    """Seeds that other cells of a curve have and some lack, where each seed was to be at every N and nuisance value.

    Seeds at one cell only are confirmation, not gaps.
    """
    keys = [SIZE, *axes.nuisance]
    worst: tuple[int, pd.DataFrame, str] | None = None
    total = curves = 0
    for _, runs in frame.groupby(curve[frame.index], sort=False):
        options = grouping(runs, keys)
        places = options.groupby(runs[REPLICATE]).nunique()
        seeds = places.index[places > 1] if (places > 1).any() else places.index
        there = runs[runs[REPLICATE].isin(seeds)]
        lacking = len(seeds) * options.nunique() - len(there)
        if lacking > 0:
            total, curves = total + lacking, curves + 1
            if worst is None or lacking > worst[0]:
                fewest = there.groupby(options)[REPLICATE].nunique().idxmin()
                cell = there[options[there.index] == fewest].iloc[0]
                worst = lacking, runs, " ".join(f"{key}={_text(cell[key])}" for key in keys)
    if worst is not None:
        message = (
            f"{total} runs are missing in {curves} of {curve.nunique()} curves, most in {_name(worst[1], axes)}"
            f" ({worst[0]}; fewest seeds at {worst[2]})"
        )
        yield Alarm("missing_cells", message, ())


def _searched(frame: pd.DataFrame) -> pd.Series:
    """Runs of studies that are searches (with a ``search.json``), whose gaps are intended."""
    root = Path(frame.attrs.get("outputs", "outputs"), "studies")
    searches = [name for name in frame.attrs.get("studies", ()) if (root / name / "search.json").exists()]
    return frame["study"].isin(searches) if "study" in frame else pd.Series(False, index=frame.index)


def _name(runs: pd.DataFrame, axes: Axes) -> str:
    return configuration_name(runs.iloc[0], axes.shown)


def configuration_name(row: pd.Series, keys: Sequence[str]) -> str:
    """``model.width=8 activation.kind=relu``; what a part does not have is left out."""
    parts = [f"{key}={_text(row[key])}" for key in keys if row[key] is not None and row[key] == row[key]]
    return " ".join(parts) or "the configuration"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)
