"""A cell of a sweep: its id, its overrides, and messages that say which cell it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from memcap.config.cell import Cell
from memcap.config.identity import run_id
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput

Values = Callable[..., dict[str, Any]]


def test_a_cell_is_a_configuration_with_its_id(run_values: Values) -> None:
    values = run_values("model.width=8")
    cell = Cell.from_values(values, ["model.width=8"])
    assert cell.config == RunConfig.from_dict(values)
    assert cell.run_id == run_id(cell.config)
    assert cell.overrides == ("model.width=8",)
    assert Cell.from_values(values) == dataclasses.replace(cell, overrides=())


def test_the_id_does_not_depend_on_how_the_cell_was_written(run_values: Values) -> None:
    one = Cell.from_values(run_values("optimizer.learning_rate=1"), ["optimizer.learning_rate=1"], number=1)
    same = Cell.from_values(run_values("optimizer.learning_rate=1.0"), [], number=2)
    assert one.run_id == same.run_id


def test_one_of_several_cells_is_named(run_values: Values) -> None:
    values = run_values("optimizer.learning_rate=-0.1", "seed=2")
    overrides = ["optimizer.learning_rate=-0.1", "seed=2"]
    with pytest.raises(BadInput) as refused:
        Cell.from_values(values, overrides, number=3)
    assert str(refused.value) == (
        "optimizer.learning_rate must be a number > 0, got -0.1"
        ' (cell 3: "optimizer.learning_rate=-0.1 seed=2")'
    )


def test_a_cell_that_is_alone_is_not_numbered(run_values: Values) -> None:
    with pytest.raises(BadInput, match=r"^seed must be a whole number ≥ 0 and ≤ 9.22337e\+18, got -1$"):
        Cell.from_values(run_values("seed=-1"), ["seed=-1"])


def test_a_cell_cannot_be_changed(run_values: Values) -> None:
    cell = Cell.from_values(run_values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.run_id = "0"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        cell.config.seed = 1  # type: ignore[misc]
