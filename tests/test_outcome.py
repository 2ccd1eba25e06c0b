"""What a sweeper is told of a run."""

from __future__ import annotations

from typing import Any

import pytest
from compositions import composed_config

from memcap.config.cell import Cell
from memcap.config.identity import run_id
from memcap.outcome import CellOutcome


@pytest.mark.parametrize(
    ("status", "summary", "value"),
    [
        ("finished", {"memory/bits": 12.5, "train/loss_nats": 1.0}, 12.5),
        ("finished", {"memory/bits": -3.0}, -3.0),
        ("diverged", {"memory/bits": None, "train/loss_nats": None}, 0.0),
        ("diverged", {"memory/bits": float("nan")}, 0.0),
        (
            "diverged",
            {"memory/bits": -6521.0, "train/loss_nats": 46.0},
            0.0,
        ),  # its loss is finite, and far too high
        ("finished", {"train/loss_mse": 0.25}, -0.25),
        ("diverged", {"train/loss_mse": None}, None),
    ],
)
def test_a_diverged_run_has_no_bits(status: str, summary: dict[str, Any], value: float | None) -> None:
    config = composed_config()
    outcome = CellOutcome(Cell(config, run_id(config), ()))
    assert outcome.value is None
    outcome.take({"status": status, "summary": summary})
    assert (outcome.status, outcome.value) == (status, value)
    outcome.take({"status": status, "summary": summary}, "skipped")
    assert (outcome.status, outcome.value) == ("skipped", value)
