"""The runs of a W&B project as the table that ``load_frame`` makes of records."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from memcap.compare.frame import PROVENANCE, columns_of, flat_record, in_order
from memcap.config.identity import run_id
from memcap.errors import BadInput
from memcap.records.run_record import DONE
from memcap.records.wandb_query import StoredRun, read_project
from memcap.study.recorded_config import recorded_config

PREFIX: Final = "wandb:"
COMPARE_JOB: Final = "compare"  # the job type of comparisons, see ``tracked``
MOST_NAMED: Final = 3
_OWN_ID = re.compile(r"([0-9a-f]{12})(-\d+)?")  # a run, or an attempt of it that has an id of its own in W&B
_SWEPT = re.compile(r"(?:^|\s)\+{0,2}([A-Za-z_][\w.]*)=")
_LEFT_OUT: Final = {
    "failed": "that failed",
    "unfinished": "without a result: running, crashed or killed",
    "earlier": "of earlier or unfinished attempts of runs that are there with a result",
    "study": "of whole studies (tracking.per=study), which have no single runs",
    "comparison": "of comparisons",
    "foreign": "not of memcap",
}


def load_wandb_frame(
    source: str, studies: str | Sequence[str] = (), outputs: str | Path = "outputs"
) -> pd.DataFrame:
    """One row for each memcap run with a result in a W&B project; ``source``: ``wandb:ENTITY/PROJECT``.

    ``studies``: names or patterns of W&B's groups (none: all runs). The columns are those of ``load_frame``: ``steps``
    is the step of the last row, and what ``provenance`` says is not in W&B, so these columns are empty. ``attrs`` has
    ``source`` and ``absent`` (texts: empty columns, and why) too; ``axes`` come from the names of the runs, which are
    the overrides of their cells. Of several W&B runs of one memcap run the newest one that finished counts. Numbers
    have the digits that W&B keeps: all of a float.

    Raises ``BadInput`` (one line) for a source that cannot be read, see ``read_project``, or that has no such run.
    """
    entity, project = parse_source(source)
    names = [studies] if isinstance(studies, str) else list(studies)
    patterns = [name for name in names if set("*?[") & set(name)]
    stored = read_project(entity, project, () if patterns else names)
    runs = [run for run in stored.runs if not names or any(fnmatch.fnmatchcase(run.group, n) for n in names)]
    where = f"source={PREFIX}{stored.entity}/{project}" + (f" study={','.join(names)}" if names else "")
    usable, left_out = sort_out(runs)
    if not usable:
        lost = "; ".join(left_out) or "no run at all"
        raise BadInput(f"{where} has no finished run of memcap ({lost}); the group of a run is its study")
    table = pd.DataFrame(columns_of(_record(own_id, run) for own_id, run in usable))
    axes = [key for key in _named_keys(run for _, run in usable) if key in table or f"{key}.kind" in table]
    table = in_order(table, axes, by_chance=True)  # runs were opened many at once
    table.attrs = {
        "studies": sorted({run.group for _, run in usable}) if names else [],
        "axes": axes,
        "outputs": str(outputs),
        "source": f"{PREFIX}{stored.entity}/{project}",
        "unusable": left_out,
        "absent": [f"provenance ({', '.join(PROVENANCE)}), which W&B does not have"],
    }
    return table


def parse_source(source: str) -> tuple[str | None, str]:
    """Entity and project of ``wandb:ENTITY/PROJECT``, or of ``wandb:PROJECT`` (the account's default entity)."""
    path = source.removeprefix(PREFIX).split("/")
    if not source.startswith(PREFIX) or len(path) > 2 or not all(path):
        raise BadInput(f"source={source} is not understood; give source=wandb:ENTITY/PROJECT")
    return (path[0] if len(path) == 2 else None), path[-1]


def sort_out(runs: Iterable[StoredRun]) -> tuple[list[tuple[str, StoredRun]], list[str]]:
    """The W&B runs that count, with the ids of their memcap runs, and one line for each kind that was left out."""
    attempts: dict[str, list[StoredRun]] = {}
    left_out: dict[str, list[str]] = {reason: [] for reason in _LEFT_OUT}
    for run in runs:
        reason = _not_of_a_run(run)
        own_id = None if reason else _memcap_id(run)
        if own_id is None:
            left_out[reason or "foreign"].append(run.wandb_id)
        else:
            attempts.setdefault(own_id, []).append(run)
    usable = []
    for own_id, tried in attempts.items():
        best = max(tried, key=_standing)
        if _has_result(best):
            usable.append((own_id, best))
            left_out["earlier"] += [run.wandb_id for run in tried if run is not best]
        else:
            left_out["failed" if best.summary.get("status") == "failed" else "unfinished"].append(
                best.wandb_id
            )
    return usable, [_line(reason, ids) for reason, ids in left_out.items() if ids]


def _not_of_a_run(run: StoredRun) -> str | None:
    if run.job_type == COMPARE_JOB:
        return "comparison"
    if {"swept", "num_cells"} <= run.config.keys():
        return "study"
    parts = ("data", "model", "optimizer", "budget")
    of_memcap = "seed" in run.config and all(isinstance(run.config.get(part), dict) for part in parts)
    return None if of_memcap else "foreign"


def _memcap_id(run: StoredRun) -> str | None:
    """From the id in W&B; that of an agent is its own, so the configuration has to tell (as of today's code)."""
    if match := _OWN_ID.fullmatch(run.wandb_id):
        return match[1]
    if any(isinstance(part, dict) and part.get("_target_") for part in run.config.values()):
        return None  # to know its id, code that somebody's project names would have to be imported
    try:
        return run_id(recorded_config(run.config))
    except BadInput:
        return None


def _has_result(run: StoredRun) -> bool:
    return run.summary.get("status") in DONE


def _standing(run: StoredRun) -> tuple[bool, bool, str]:
    return _has_result(run), run.state == "finished", run.created


def _record(own_id: str, run: StoredRun) -> dict[str, Any]:
    told = {key: run.summary.get(key) for key in ("status", "stop_reason")}
    summary = {
        key: value
        for key, value in run.summary.items()
        if key not in told and not key.startswith(("_", "charts/")) and not isinstance(value, dict)
    }
    result = {
        "run_id": own_id,
        **told,
        "steps": summary.get("train/step"),
        "config": run.config,
        "summary": summary,
    }
    return flat_record(result, run.group)


def _named_keys(runs: Iterable[StoredRun]) -> list[str]:
    """The keys in the names of runs, in their order: its overrides, unless somebody has renamed a run."""
    return list(dict.fromkeys(key for run in runs for key in _SWEPT.findall(run.name)))


def _line(reason: str, ids: Sequence[str]) -> str:
    named = ", ".join(ids[:MOST_NAMED]) + (", ..." if len(ids) > MOST_NAMED else "")
    return f"{len(ids)} W&B {'run' if len(ids) == 1 else 'runs'} {_LEFT_OUT[reason]}: {named}"
