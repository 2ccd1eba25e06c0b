"""python -m memcap.oracle on real runs and on problems, and what it refuses."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest

import memcap
from memcap.oracle.__main__ import main, progress


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_gaps_of_a_study(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memcap.sweep([
        "model=linear", "data.input_dim=6", "data.num_classes=4", "data.num_samples=8,24,48", "seed=0,1",
        "budget.steps=400", "study=lines", "tracking=disabled",
        ])  # fmt: skip
    assert main(["study=lines"]) == 0
    said = capsys.readouterr().out
    assert "separable N" in said
    assert "gaps.csv" in said
    gaps = pd.read_csv(here / "outputs" / "studies" / "lines" / "oracle" / "gaps.csv", dtype={"run_id": str})
    assert len(gaps) == 6
    # Float32 rounds a loss by some 1e-7 of its logits.
    assert (gaps["gap_bits"] > -1e-3).all()
    assert (gaps["gap_bits"] < gaps["optimum_bits"]).all()
    small = gaps[gaps["data.num_samples"] == 8]
    assert small["separable"].all()
    assert (small["optimum_bits"] == 16).all()
    assert not gaps[gaps["data.num_samples"] == 48]["separable"].any()
    thresholds = pd.read_csv(here / "outputs" / "studies" / "lines" / "oracle" / "thresholds.csv")
    assert thresholds["separable_num_samples"].between(8, 24).all()


def test_problems_without_a_study(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data.input_dim=3,4", "data.num_classes=2", "seed=0,1", "data.num_samples=5,20"]) == 0
    said = capsys.readouterr().out
    assert "D = 4, V = 2" in said
    assert "75%" not in said
    assert len(pd.read_csv(here / "outputs" / "oracle" / "optimum.csv")) == 8
    assert len(pd.read_csv(here / "outputs" / "oracle" / "thresholds.csv")) == 4


def test_a_line_is_said_within_one_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memcap.oracle.__main__.LINE_EVERY_S", 0.02)
    with progress("separability") as said:
        said(0, 6, "D = 50, V = 10, seed 0, N between 200 and 300")
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert set(lines) == {"memcap: separability: 0 of 6; D = 50, V = 10, seed 0, N between 200 and 300"}
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_undecided_optima_are_rows_without_an_answer(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memcap.sweep([
        "model=linear", "data.input_dim=3", "data.num_classes=2", "data.num_samples=3,8,30", "seed=0",
        "budget.steps=2", "study=lines", "tracking=disabled",
        ])  # fmt: skip
    monkeypatch.setattr("memcap.oracle.softmax_optimum.MOST_STEPS", 4)
    capsys.readouterr()
    assert main(["study=lines"]) == 0
    assert capsys.readouterr().err.count("memcap: no optimum of LinearProblem(input_dim=3") == 1
    folder = here / "outputs" / "studies" / "lines" / "oracle"
    gaps = pd.read_csv(folder / "gaps.csv").set_index("data.num_samples")
    assert gaps["optimum_bits"].isna().to_dict() == {3: False, 8: True, 30: False}
    assert pd.read_csv(folder / "thresholds.csv")["separable_num_samples"].notna().all()

    assert main(["data.input_dim=3", "data.num_classes=2", "seed=0", "data.num_samples=3,8,30"]) == 0
    said = capsys.readouterr()
    assert said.err.count("memcap: no optimum of") == 1
    assert "N = 30" in said.out
    table = pd.read_csv(here / "outputs" / "oracle" / "optimum.csv").set_index("data.num_samples")
    assert table["optimum_bits"].isna().to_dict() == {3: False, 8: True, 30: False}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give study=NAME or data.input_dim=10,20"),
        (["data.input_dim=0"], "data.input_dim must be at least 1, got 0"),
        (["data.input_dim=ten"], "data.input_dim must be whole numbers like 10,20, got ten"),
        (["data.input_dim=3", "data.num_classes=1"], "data.num_classes must be at least 2, got 1"),
        (["data.input_dim=3", "force=maybe"], "force must be true or false, got maybe"),
        (["data.input_dim=3", "model.bias=2"], "model.bias must be true or false, got 2"),
        (["study=a", "seed=1"], "seed: a study has its problems already"),
        (["study=nowhere"], "nowhere"),
        (["study=a", "programs=2"], "programs must be 1 or 0, got 2"),
        (["input_dim=3"], "input_dim is not a key of this command"),
    ],
)
def test_bad_input_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (here / "outputs").exists()


def test_a_study_without_linear_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memcap.sweep(
        ["model.width=4", "data.num_samples=8", "budget.steps=10", "study=deep", "tracking=disabled"]
    )
    assert main(["study=deep"]) == 2
    assert "no run has an exact optimum" in capsys.readouterr().err
