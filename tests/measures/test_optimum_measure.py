"""What runs of linear layers record of the exact optimum, against long training and closed forms."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import memcap
from memcap.measures.optimum import NAMES
from memcap.oracle.problem import LinearProblem
from memcap.oracle.softmax_optimum import softmax_optimum

LINEAR = (
    "model=linear data.input_dim=4 data.num_classes=3 measure=light measure.optimum=true tracking=disabled"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("bias", [False, True])
def test_the_gap_closes_as_training_goes_on(here: Path, bias: bool) -> None:
    runs = memcap.sweep(
        f"{LINEAR} data.num_samples=40 model.bias={bias} hardware.dtype=float64 budget.steps=20,4000 schedule=cosine"
        " measure.samples=true"
    )
    gaps = runs.sort_values("budget.steps")["optimum/gap_bits"].to_numpy()
    assert gaps[0] > 1
    assert -1e-9 <= gaps[1] < 1e-4
    problem = LinearProblem(4, 3, 0, bias)
    optimum = softmax_optimum(*problem.samples(40), 3)
    assert runs["optimum/bits"].to_numpy() == pytest.approx(optimum.bits, rel=1e-9)
    assert runs["optimum/gap_bits"].to_numpy() == pytest.approx(
        runs["optimum/bits"] - runs["memory/bits"], abs=1e-9
    )
    longest = memcap.load_run(runs.sort_values("budget.steps")["run_id"].iloc[-1])
    at_optimum, trained = longest.arrays("optimum"), longest.summary
    assert (math.log(3) - at_optimum["loss"].mean()) * 40 / math.log(2) == pytest.approx(
        optimum.bits, rel=1e-9
    )
    assert trained["optimum/agreement"] == 1
    assert trained["optimum/final_rank_correlation"] > 0.999
    aligned = spearmanr(longest.arrays("samples")["alignment"], at_optimum["loss"]).statistic
    assert trained["optimum/alignment_rank_correlation"] == pytest.approx(aligned, abs=1e-9)
    assert trained["optimum/memorized_samples"] == at_optimum["correct"].sum() < 40
    assert trained["optimum/decrement_nats"] <= 1e-12
    assert 0 < trained["optimum/gradient_norm"] < 1e-6


def test_separable_samples_have_all_bits_and_no_finite_optimum(here: Path) -> None:
    run = memcap.run(f"{LINEAR} data.num_samples=4 budget.steps=50")
    assert run.summary["optimum/separable"] == 1
    assert run.summary["optimum/bits"] == pytest.approx(4 * math.log2(3))
    assert "loss" not in run.arrays("optimum")
    assert run.summary["optimum/final_rank_correlation"] is None  # NaN, in a record


def test_no_run_fails_where_newton_does_not_decide(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memcap.oracle.softmax_optimum.MOST_STEPS", 0)
    run = memcap.run(f"{LINEAR} data.num_samples=40 budget.steps=2")
    assert run.status == "finished"
    found = {name: value for name, value in run.summary.items() if name.startswith("optimum/")}
    assert found == {f"optimum/{name}": None for name in NAMES}  # NaN, in a record
    assert run.summary["memory/bits"] is not None


def test_members_of_one_population_have_an_optimum_each(here: Path) -> None:
    runs = memcap.sweep(
        f"{LINEAR} data.num_samples=20,30 seed=0,1 optimizer.learning_rate=0.01,0.1 budget.steps=20"
    )
    by_data = runs.groupby(["data.num_samples", "seed"])["optimum/bits"]
    assert (by_data.nunique() == 1).all()
    assert runs["optimum/bits"].nunique() == 4
    for (num_samples, seed), bits in by_data.first().items():
        exact = softmax_optimum(*LinearProblem(4, 3, seed).samples(num_samples), 3).bits
        assert bits == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(
    "other", ["model=mlp", "objective=squared_error", "data.input_dim=60 data.num_classes=40"]
)
def test_others_have_none(here: Path, other: str) -> None:
    run = memcap.run(f"{LINEAR} {other} data.num_samples=12 budget.steps=2")
    assert not [name for name in run.summary if name.startswith("optimum/")]


def test_finished_runs_get_it_from_their_weights(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from memcap.measure import main

    run = memcap.run(f"{LINEAR} measure.optimum=false data.num_samples=40 budget.steps=100")
    assert "optimum/bits" not in run.summary
    arguments = [f"run={run.run_id}", "measure=light", "measure.optimum=true"]
    monkeypatch.setattr(sys, "argv", ["memcap.measure", *arguments])
    assert main() in (0, None)
    measured = memcap.load_run(run.run_id)
    gap = measured.summary["optimum/bits"] - measured.summary["memory/bits"]
    assert measured.summary["optimum/gap_bits"] == pytest.approx(gap, rel=1e-6)
    assert np.asarray(measured.arrays("optimum")["correct"]).shape == (40,)
