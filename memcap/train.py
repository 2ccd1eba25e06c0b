"""python -m memcap.train: one run, or with -m a sweep."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from memcap.command_line import RunFailed, config_path, run_hydra
from memcap.environment import tracking_overrides
from memcap.errors import BadInput

if TYPE_CHECKING:
    from memcap.cells import CellOutcome
    from memcap.config.cell import Cell
    from memcap.submission.options import LauncherOptions

# Overrides that say nothing of a run are not its name in the table.
NOT_SHOWN = (
    "launcher.",
    "launcher=",
    "study=",
    "tracking",
    "paths.",
    "force=",
    "allow_targets=",
    "experiment=null",
)
SUBMITTING = ("slurm", "local")  # launchers that hand cells to other processes
SEARCHING = ("capacity", "search")  # sweepers that ask for the runs themselves
_outcomes: list[CellOutcome] = []  # of this process, for its exit status


@hydra.main(config_path=config_path(), config_name="train", version_base="1.3")
def train(config: DictConfig) -> float | None:
    """Trains one run; returns its bits, for sweepers that optimize them (without bits: minus the loss)."""
    (outcome,) = train_cells([composed_cell(config)])
    if outcome.status == "failed" and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise RunFailed(outcome.error)  # so that another launcher knows; one run alone has said it
    return outcome.value


def composed_cell(config: DictConfig) -> Cell:
    """The cell of what Hydra composed for one run, with the default name of its study."""
    from memcap.config.cell import Cell
    from memcap.config.identity import study_name

    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    hydra_config = HydraConfig.get()
    launcher = hydra_config.runtime.choices.get("hydra/launcher")
    if hydra_config.mode == RunMode.RUN and launcher in SUBMITTING:
        raise BadInput(f"hydra/launcher={launcher} trains what -m asks for, a single run too; add -m")
    sweeper = hydra_config.runtime.choices.get("hydra/sweeper")
    if hydra_config.mode == RunMode.RUN and sweeper in SEARCHING:
        raise BadInput(f"hydra/sweeper={sweeper} makes several runs; add -m")
    own = [text for text in hydra_config.overrides.task if not text.lstrip("+").startswith(NOT_SHOWN)]
    cell = Cell.from_values(values, own)
    if cell.config.study is None:
        name = study_name(cell.config, hydra_config.runtime.choices.get("experiment"), axes=())
        cell = dataclasses.replace(cell, config=dataclasses.replace(cell.config, study=name))
    return cell


def train_cells(cells: Sequence[Cell], axes: Sequence[str] = ()) -> list[CellOutcome]:
    """What memcap's launcher calls with all cells of a sweep at once."""
    from memcap import cells as module

    outcomes = module.train_cells(cells, axes)
    _outcomes.extend(outcomes)
    return outcomes


def submit_cells(
    cells: Sequence[Cell], axes: Sequence[str], launcher: str, options: LauncherOptions
) -> list[CellOutcome]:
    """What the launchers that submit call with all cells of a sweep at once."""
    from memcap.cells import command_line
    from memcap.submission.submit import submit_cells as submit

    outcomes = submit(cells, axes, launcher, options, command_line())
    _outcomes.extend(outcomes)
    return outcomes


def run() -> None:
    """Hydra's part, with W&B's environment variables as overrides."""
    sys.argv[1:] = tracking_overrides(sys.argv[1:], os.environ)
    train()


def main() -> int:
    """Exit status: 0 done (diverged included), 1 a run failed, 2 bad input, 130 interrupted."""
    _outcomes.clear()
    status = run_hydra(run)
    failed = any(outcome.status == "failed" for outcome in _outcomes)
    return status or int(failed)


# hydra.main hands the inner function to launchers, so the attribute has to be there too.
train.train_cells = train_cells
train.__wrapped__.train_cells = train_cells
train.submit_cells = submit_cells
train.__wrapped__.submit_cells = submit_cells

if __name__ == "__main__":
    sys.exit(main())
