"""Alarms: each rings for its own cause, and none for a clean table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame

from memcap.compare.alarms import alarms, null_above_zero


def clean(**fixed: Any) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    values = {
        "provenance.engine": "fused", "provenance.memcap": "0.1.0", "provenance.own_sources": "{}",
        "eval/null/bits": -5.0, "eval/null/bits_standard_error": 10.0,
    }  # fmt: skip
    return synthetic_frame(
        widths=(8, 16), bits=lambda w, n, s, r: w + n + generator.random(), **(values | fixed)
    )


def test_a_clean_table_is_silent() -> None:
    assert alarms(clean()) == []


def test_two_configurations_with_the_same_numbers() -> None:
    frame = clean()
    wide = frame["model.width"] == 16
    for name in ("memory/bits", "train/loss_nats"):
        frame.loc[wide, name] = frame.loc[~wide, name].to_numpy()
    (alarm,) = alarms(frame.sample(frac=1, random_state=0))
    assert alarm.kind == "duplicate_curves"
    assert "model.width=8" in alarm.message
    assert "model.width=16" in alarm.message
    frame.loc[frame.index[0], "memory/bits"] += 1e-9
    assert alarms(frame) == []


def test_bits_on_data_that_was_not_seen() -> None:
    frame = clean()
    frame.loc[3, "eval/null/bits"] = 60.0
    (alarm,) = alarms(frame)
    assert (alarm.kind, alarm.run_ids) == ("null_above_0", (frame["run_id"][3],))
    frame.loc[3, "eval/null/bits"] = 30.0  # three standard errors among forty runs: chance
    assert alarms(frame) == []


def test_the_null_alarm_is_rare_by_chance() -> None:
    generator = np.random.default_rng(1)
    rings = 0
    frame = clean()
    for _ in range(300):
        frame["eval/null/bits"] = 10.0 * generator.standard_normal(len(frame))
        rings += any(null_above_zero(frame))
    assert rings <= 2


@pytest.mark.parametrize(
    ("key", "value"), [("engine", "batched"), ("memcap", "0.2.0"), ("own_sources", '{"a.B":"1"}')]
)
def test_different_engines_versions_or_sources_in_one_curve(key: str, value: str) -> None:
    frame = clean()
    frame.loc[frame["model.width"] == 16, f"provenance.{key}"] = value
    assert alarms(frame) == []  # between curves that may be
    frame.loc[0, f"provenance.{key}"] = value
    (alarm,) = alarms(frame)
    assert alarm.kind == "mixed_provenance"
    assert value in alarm.message
    assert "model.width=8" in alarm.message


def test_cells_that_others_have() -> None:
    frame = clean().drop(index=[2, 7])
    (alarm,) = alarms(frame)
    assert alarm.kind == "missing_cells"
    assert alarm.message.startswith("2 runs are missing in 1 of 2 curves, most in model.width=8")


def test_confirmation_seeds_are_no_gaps() -> None:
    frame = clean()
    extra = frame[(frame["data.num_samples"] == 150)].copy()
    extra["seed"] += 100
    extra["memory/bits"] += 0.5
    assert alarms(pd.concat([frame, extra], ignore_index=True)) == []
