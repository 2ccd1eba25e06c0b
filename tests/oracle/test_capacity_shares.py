"""How much of the exact optimum the runs at a capacity's N store, on tables whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame

from memcap.oracle.report import capacity_shares, print_gaps

TRAINED = 0.95


def exact(size: int, seed: int) -> float:
    """Even seeds peak at 100, odd ones at 150: so the halves of the seeds choose different N."""
    lift = 60.0 if size == (100, 150)[seed % 2] else 0.0
    return 200.0 + 0.2 * size + lift if size in (100, 150) else 100.0


def study() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs that store 95 % of their optimum at one learning rate, 40 % at the other; and their gaps."""
    frame = synthetic_frame(
        rates=(0.1, 0.01),
        bits=lambda width, size, seed, rate: (0.4 if rate == 0.1 else TRAINED) * exact(size, seed),
    )
    optimum = [exact(*run) for run in zip(frame["data.num_samples"], frame["seed"], strict=True)]
    return pd.DataFrame({"run_id": frame["run_id"], "optimum_bits": optimum}), frame


def test_the_noise_of_choosing_n_is_not_the_optimizer_s(capsys: pytest.CaptureFixture[str]) -> None:
    """Each half chooses where it peaks itself, so the capacity is measured where the other half has no peak."""
    gaps, frame = study()
    (row,) = capacity_shares(gaps, frame).to_dict("records")
    assert row["flags"] == "nuisance_edge choices_differ"
    assert row["capacity_bits"] == pytest.approx(TRAINED * 225)
    assert (row["best_num_samples"], row["best.optimizer.learning_rate"]) == (150, 0.01)
    assert row["trained_bits"] == pytest.approx(TRAINED * 260)
    assert row["optimum_bits"] == pytest.approx(260)
    assert row["share"] == pytest.approx(TRAINED)
    assert (row["optimum_best_num_samples"], row["optimum_most_bits"]) == (150, pytest.approx(260))
    print_gaps(gaps, frame)
    titles, values = (line.split() for line in capsys.readouterr().out.splitlines())
    assert titles[-8:] == ["optimum", "there", "share", "there", "optimum's", "N", "optimum's", "peak"]
    assert values[-6:] == ["150", "247.0", "260.0", "95%", "150", "260.0"]


def test_a_diverged_run_stores_nothing_of_its_optimum() -> None:
    gaps, frame = study()
    chosen = (frame["data.num_samples"] == 150) & (frame["optimizer.learning_rate"] == 0.01)
    frame.loc[chosen & (frame["seed"] == 1), "status"] = "diverged"
    frame.loc[chosen & (frame["seed"] != 1), "memory/bits"] = 400.0  # still the best N
    (row,) = capacity_shares(gaps, frame).to_dict("records")
    assert row["best_num_samples"] == 150
    assert row["share"] == pytest.approx(300 / 260)


def test_runs_whose_optimum_is_undecided_are_in_neither_mean() -> None:
    gaps, frame = study()
    gaps.loc[(frame["data.num_samples"] == 150) & (frame["seed"] > 0), "optimum_bits"] = np.nan
    (row,) = capacity_shares(gaps, frame).to_dict("records")
    assert (row["trained_bits"], row["optimum_bits"]) == pytest.approx((TRAINED * 230, 230))
    assert row["share"] == pytest.approx(TRAINED)  # not of the optimum's peak, which is at another N
    assert (row["optimum_best_num_samples"], row["optimum_most_bits"]) == (100, pytest.approx(250))
    gaps["optimum_bits"] = np.nan
    (row,) = capacity_shares(gaps, frame).to_dict("records")
    assert np.isnan([row["share"], row["optimum_most_bits"], row["optimum_best_num_samples"]]).all()


def test_of_restarts_the_best_one_counts() -> None:
    gaps, frame = study()
    worse = frame.assign(restart=1, run_id="f" + frame["run_id"].str[1:])
    worse["memory/bits"] *= 0.5
    worse["train/loss_nats"] += 1.0
    both = pd.concat([frame.assign(restart=0), worse], ignore_index=True)
    both.attrs = frame.attrs
    of_both = pd.concat([gaps, gaps.assign(run_id=worse["run_id"])])
    assert capacity_shares(of_both, both)["share"].tolist() == pytest.approx([TRAINED])
