"""Exact answers as columns: those of the oracle's command, and of linear programs one N after another."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import memcap
from memcap.errors import BadInput
from memcap.oracle.__main__ import main as oracle
from memcap.oracle.problem import LinearProblem
from memcap.oracle.separability import linear_program


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    return memcap.sweep([
        "model=linear", "data.input_dim=3", "data.num_classes=4", "data.num_samples=8,24", "seed=0,1",
        "optimizer.learning_rate=0.01,0.1", "budget.steps=50", "study=lines", "tracking=disabled", "measure=light",
    ])  # fmt: skip


def test_the_optimum_is_that_of_the_command(runs: pd.DataFrame) -> None:
    found = memcap.with_exact_optimum(runs)
    assert oracle(["study=lines"]) == 0
    expected = memcap.load_frame("lines").set_index("run_id").loc[runs["run_id"]]
    names = [name for name in expected if name.startswith("optimum/")]
    assert names
    pd.testing.assert_frame_equal(
        found[names].reset_index(drop=True), expected[names].reset_index(drop=True), check_dtype=False
    )
    assert found.attrs == runs.attrs
    pd.testing.assert_frame_equal(memcap.with_exact_optimum(found), found)


def test_the_separable_size_is_the_last_n_that_a_linear_program_separates(runs: pd.DataFrame) -> None:
    found = memcap.with_separable_size(runs)
    for seed, group in found.groupby("seed"):
        problem = LinearProblem(3, 4, int(seed))
        separable = [linear_program(*problem.samples(size), 4).separable for size in range(1, 30)]
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
