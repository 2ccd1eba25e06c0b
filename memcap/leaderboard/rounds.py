"""Trains what the board lacks, round by round: rates on the choosing seeds, rates beyond an edge, fresh seeds."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from memcap.cells import train_cells
from memcap.command_line import RunFailed
from memcap.compare.frame import load_frame
from memcap.config.cell import Cell
from memcap.errors import BadInput, Interrupted
from memcap.hydra_session import HydraSession, SweepTask
from memcap.leaderboard.choosing import Trial, choose, runs_of
from memcap.leaderboard.entry import FORMULA_KEY, FREQUENCY_KEY, GROUP, Entry
from memcap.leaderboard.protocol import RATE, Protocol
from memcap.outcome import CellOutcome
from memcap.records.study_folder import StudyFolder

MOST_FAILURES = 5


class Trained(NamedTuple):
    """The runs of the study as a table, what was asked for, and how many of these have failed."""

    frame: pd.DataFrame
    asked: frozenset[Trial]
    num_failed: int


def train_lacking(
    protocol: Protocol, entries: Sequence[Entry], study: StudyFolder, session: HydraSession, command: str
) -> Trained:
    """Trains until nothing is lacking.

    All activations go through a round together, so that populations are large. What is finished is not trained again,
    so a call that was stopped goes on where it was.
    """
    asked: set[Trial] = set()
    for number in range(1, sys.maxsize):
        frame = finished_runs(study)
        lacking = [
            t for entry in entries for t in choose(entry, runs_of(frame, entry), protocol, asked).lacking
        ]
        if not lacking:
            break
        names = len({trial.entry.name for trial in lacking})
        print(
            f"memcap: round {number}: {len(lacking)} runs of {names} activations", file=sys.stderr, flush=True
        )
        try:
            _train(lacking, protocol, study, session, command)
        except (KeyboardInterrupt, Interrupted):
            print("memcap: stopped; the same line goes on from there", file=sys.stderr)
            raise
        asked |= set(lacking)
    there = {(e.key, r, s) for e in entries for r, s in _places(runs_of(frame, e))}
    return Trained(frame, frozenset(asked), sum((t.entry.key, t.rate, t.seed) not in there for t in asked))


def finished_runs(study: StudyFolder) -> pd.DataFrame:
    """The study's runs with a result; an empty table where there is none yet."""
    if not study.read()["cells"]:
        return pd.DataFrame()
    try:
        return load_frame(study.name, study.outputs)
    except BadInput:  # no run has a result
        return pd.DataFrame()


def _places(runs: pd.DataFrame) -> list[tuple[float, int]]:
    return list(zip(runs[RATE].tolist(), runs["seed"].tolist(), strict=True)) if len(runs) else []


def _train(
    trials: Sequence[Trial], protocol: Protocol, study: StudyFolder, session: HydraSession, command: str
) -> None:
    """One sweep. Its closing table is no result of the board and is not shown; failures are."""

    def train_all(cells: Sequence[Cell], axes: Sequence[str]) -> list[CellOutcome]:
        outcomes = train_cells(cells, axes, command)
        for outcome in [o for o in outcomes if o.status == "failed"][:MOST_FAILURES]:
            print(f"memcap: failed: {' '.join(outcome.cell.overrides)}: {outcome.error}", file=sys.stderr)
        return outcomes

    with _table(trials) as path, contextlib.redirect_stdout(io.StringIO()) as printed:
        words = [*protocol.words, f"study={study.name}", f"cells={path}"]
        try:
            session.sweep(words, SweepTask(train_all))
        except RunFailed as error:  # of a launcher that trains elsewhere: the others are done
            print(f"memcap: failed: {error}", file=sys.stderr)
        except BaseException:
            print(printed.getvalue(), end="", file=sys.stderr)
            raise


@contextlib.contextmanager
def _table(trials: Sequence[Trial]) -> Iterator[Path]:
    """The trials as the table that ``cells=`` reads: a row each, no column that nobody fills."""
    rows = [{**t.entry.overrides, RATE: repr(t.rate), "seed": str(t.seed)} for t in trials]
    keys = [
        key for key in (GROUP, FORMULA_KEY, FREQUENCY_KEY, RATE, "seed") if any(key in row for row in rows)
    ]
    with tempfile.TemporaryDirectory(prefix="memcap-leaderboard-") as folder:
        path = Path(folder) / "cells.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, keys, restval="")
            writer.writeheader()
            writer.writerows(rows)
        yield path
