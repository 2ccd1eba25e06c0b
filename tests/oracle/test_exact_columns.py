"""Exact answers as columns: Newton's method on the samples of a run, and linear programs one N after another."""

from __future__ import annotations

import pandas as pd
import pytest

import memcap
from memcap.errors import BadInput
from memcap.oracle.__main__ import main as oracle
from memcap.oracle.problem import LinearProblem
from memcap.oracle.separability import linear_program
from memcap.oracle.softmax_optimum import softmax_optimum


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """With and without a bias, of separable sizes and others; no test changes the table."""
    return memcap.sweep([
        "model=linear", "model.bias=false,true", "data.input_dim=3", "data.num_classes=4", "data.num_samples=8,24",
        "seed=0,1", "optimizer.learning_rate=0.01,0.1", "budget.steps=50", "study=lines", "tracking=disabled",
        "measure=light", f"paths.outputs={tmp_path_factory.mktemp('lines')}",
    ])  # fmt: skip


def test_the_optimum_is_that_of_the_samples_of_each_run(runs: pd.DataFrame) -> None:
    found = memcap.with_exact_optimum(runs)
    keys = ["model.bias", "data.num_samples", "seed"]
    for (bias, num_samples, seed), rows in found.groupby(keys):
        expected = softmax_optimum(*LinearProblem(3, 4, int(seed), bool(bias)).samples(int(num_samples)), 4)
        assert rows["optimum/bits"].tolist() == [expected.bits] * 2  # of two learning rates
        assert rows["optimum/memorized_samples"].tolist() == [expected.num_memorized] * 2
        assert rows["optimum/separable"].tolist() == [bool(expected.separability.separable)] * 2
    assert found.groupby(keys[1:])["optimum/bits"].nunique().loc[24].tolist() == [2, 2], "a bias stores more"
    assert found["optimum/gap_bits"].equals(found["optimum/bits"] - found["memory/bits"])
    assert (found["optimum/gap_bits"] > -1e-3).all()  # float32 rounds a run's loss
    assert found.attrs == runs.attrs
    pd.testing.assert_frame_equal(memcap.with_exact_optimum(found), found)


def test_the_command_writes_the_same(runs: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = runs.attrs["outputs"]
    assert oracle(["study=lines", f"paths.outputs={outputs}"]) == 0
    assert "D = 3, V = 4, bias" in capsys.readouterr().out
    written = memcap.load_frame("lines", outputs).set_index("run_id").loc[runs["run_id"]].reset_index()
    found = memcap.with_exact_optimum(runs)
    names = [name for name in found if name.startswith("optimum/")]
    pd.testing.assert_frame_equal(found[names], written[names], check_dtype=False)


def test_the_separable_size_is_the_last_n_that_a_linear_program_separates(runs: pd.DataFrame) -> None:
    found = memcap.with_separable_size(runs)
    for (bias, seed), group in found.groupby(["model.bias", "seed"]):
        problem = LinearProblem(3, 4, int(seed), bool(bias))
        separable = [linear_program(*problem.samples(size), 4).separable for size in range(1, 24)]
        last = separable.index(False)  # of sizes that begin with 1
        assert not any(separable[last:])
        assert group["optimum/separable_num_samples"].tolist() == [last] * 4
    assert found.drop(columns="optimum/separable_num_samples").equals(runs)


def test_other_runs_have_none(runs: pd.DataFrame) -> None:
    both = pd.concat([runs, runs.assign(run_id="f" * 12, **{"model.kind": "mlp"})], ignore_index=True)
    for found in (memcap.with_exact_optimum(both), memcap.with_separable_size(both)):
        columns = [name for name in found if name.startswith("optimum/")]
        assert found[columns].notna().all(axis=1).tolist() == [True] * len(runs) + [False] * len(runs)
    with pytest.raises(BadInput, match="no run has an exact optimum"):
        memcap.with_separable_size(both[len(runs) :])
