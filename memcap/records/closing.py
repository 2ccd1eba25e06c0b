"""What stands in the terminal when a sweep has ended: table, errors, where things are, what to type next."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote, split

from memcap.outcome import CellOutcome
from memcap.records.means import print_means
from memcap.records.progress import Progress, si
from memcap.records.study_folder import StudyFolder
from memcap.records.table import TableRow, print_table

MOST_ERRORS = 5


def print_closing(
    outcomes: Sequence[CellOutcome],
    *,
    study: StudyFolder,
    progress: Progress,
    wall_time_s: float,
    command: str,
    axes: Sequence[str],
    wandb_url: str | None = None,
    wandb_folder: Path | None = None,
    states: Mapping[str, str] | None = None,
) -> None:
    """The table of all runs on stdout, then the study's folder, its W&B runs and the next commands.

    ``states``: by run id, in place of what an outcome says.
    """
    sys.stderr.flush()
    rows = [
        TableRow(
            overrides=outcome.cell.overrides,
            run_id=outcome.cell.run_id,
            status=(states or {}).get(outcome.cell.run_id, outcome.status),
            num_samples=outcome.cell.config.data.num_samples,
            num_parameters=outcome.cell.config.num_parameters,
            summary=outcome.summary,
            diverged=outcome.diverged,
        )
        for outcome in outcomes
    ]
    print_table(rows)
    if "seed" in axes:
        print_means(rows)
    print()
    speed = f", {si(progress.rate_per_s())} member-steps/s" if progress.done else ""
    print(f"{progress.summary()} in {wall_time_s:.1f} s{speed}")
    errors = [(row, outcome.error) for row, outcome in zip(rows, outcomes, strict=True) if outcome.error]
    for row, error in errors[:MOST_ERRORS]:
        print(f"failed: {row.name}: {error}")
    if len(errors) > MOST_ERRORS:
        print(f"... and {len(errors) - MOST_ERRORS} more failures (failure.json in their run folders)")
    _print_places(study, [row.run_id for row in rows], wandb_url, (wandb_folder or study.path) / "wandb")
    for line in suggestions(command, axes, progress):
        print(f"next:   {line}")


def _print_places(study: StudyFolder, run_ids: Sequence[str], wandb_url: str | None, wandb: Path) -> None:
    print(f"study:  {quote(str(study.path))}  (index.jsonl: one line per run)")
    example = study.outputs / "runs" / run_ids[0][:2] / run_ids[0]
    print(f"runs:   {quote(str(example))}" + ("" if len(run_ids) == 1 else "  ..."))
    if wandb_url:
        print(f"W&B:    {wandb_url}")
    if any(wandb.glob("offline-run-*")):
        print(f"W&B:    offline runs; to look at them in the terminal: wandb leet {quote(str(wandb))}")


def suggestions(command: str, axes: Sequence[str], progress: Progress) -> list[str]:
    """What one would type next: go on after an interruption, retry, more seeds, a sweep instead of a run."""
    _, found, arguments = command.partition("-m memcap.train")
    if not found:
        return []  # a notebook, or the worker process of another launcher
    words = split(arguments)
    if progress.counts["interrupted"]:
        return [f"{command}   # goes on; what is finished is kept"]
    if progress.counts["failed"]:
        return [f"{command}   # tries the failed runs again, up to max_attempts"]
    if "seed" in axes or any(word.startswith(("seed=", "force=", "cells=")) for word in words):
        return []
    if {"-m", "--multirun"} & set(words):
        return [f"{command} seed=0,1,2   # an error bar; seed 0 is not trained again"] if axes else []
    return [f"python -m memcap.train -m{arguments} seed=0,1,2   # an error bar; seed 0 is not trained again"]
