"""python -m memcap.train: one run, or with -m a sweep."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from memcap.command_line import RunFailed, config_path, run_hydra
from memcap.environment import tracking_overrides

if TYPE_CHECKING:
    from memcap.cells import CellOutcome
    from memcap.config.cell import Cell

_outcomes: list[CellOutcome] = []  # of this process, for its exit status


@hydra.main(config_path=config_path(), config_name="train", version_base="1.3")
def train(config: DictConfig) -> float | None:
    """Trains one run; returns its bits, for sweepers that optimize them (without bits: minus the loss)."""
    from memcap.config.cell import Cell

    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    (outcome,) = train_cells([Cell.from_values(values)])
    if outcome.status == "failed":
        raise RunFailed(outcome.error)
    return outcome.value


def train_cells(cells: Sequence[Cell], axes: Sequence[str] = ()) -> list[CellOutcome]:
    """What memcap's launcher calls with all cells of a sweep at once."""
    from memcap import cells as module

    outcomes = module.train_cells(cells, axes)
    _outcomes.extend(outcomes)
    return outcomes


def run() -> None:
    """Hydra's part, with W&B's environment variables as overrides."""
    sys.argv[1:] = tracking_overrides(sys.argv[1:], os.environ)
    train()


def main() -> int:
    """Exit status: 0 done (diverged included), 1 a run failed, 2 bad input, 130 interrupted."""
    status = run_hydra(run)
    failed = any(outcome.status == "failed" for outcome in _outcomes)
    return status or int(failed)


# hydra.main hands the inner function to launchers, so the attribute has to be there too.
train.train_cells = train_cells
train.__wrapped__.train_cells = train_cells

if __name__ == "__main__":
    sys.exit(main())
