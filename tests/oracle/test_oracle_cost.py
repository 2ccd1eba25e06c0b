"""What exact answers are predicted to take, and that hours are asked for on purpose."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

from memcap.errors import BadInput
from memcap.oracle import threshold
from memcap.oracle.__main__ import main
from memcap.oracle.cost import (
    BISECTIONS,
    check_time,
    newton_operations,
    num_equations,
    predicted_s,
    programs_s,
    rough_threshold,
)
from memcap.oracle.problem import LinearProblem
from memcap.oracle.separability import linear_program
from memcap.oracle.softmax_optimum import SoftmaxOptimum, softmax_optimum
from memcap.oracle.threshold import largest_separable


def test_hours_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data.input_dim=200", "data.num_classes=100"]) == 2
    said = capsys.readouterr().err
    assert "D = 200, V = 100" in said
    assert "programs=0, fewer or smaller ones, or force=true" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_forced_questions_pass_and_long_ones_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {LinearProblem(1000, 50, 0): [10_000]}
    with pytest.raises(BadInput, match=r"take about [0-9]+ (days|h)"):
        check_time(asked, programs=True, force=False)
    assert capsys.readouterr().err == ""
    long, quicker = r"memcap: exact answers take about [0-9]+ (days|h|min)", "; programs=0 is faster"
    check_time(asked, programs=True, force=True)
    assert re.fullmatch(f"{long}{quicker}\n", capsys.readouterr().err)
    check_time(asked, programs=False, force=True)
    assert re.fullmatch(f"{long}\n", capsys.readouterr().err)
    check_time({LinearProblem(27, 40, 0): []}, programs=True, force=False)  # minutes
    assert re.fullmatch(f"{long}{quicker}\n", capsys.readouterr().err)
    check_time({LinearProblem(10, 10, 0): [50, 100]}, programs=True, force=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("input_dim", [12, 20])
def test_newtons_operations_are_of_the_order_that_is_assumed(
    input_dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a whole bisection, counted: of E equations, 2 N E² for the matrix of a step and E³ / 3 to factor it."""
    problem, counted = LinearProblem(input_dim, 10, 0), []
    equations = num_equations(problem)

    def counting(inputs_ND: np.ndarray, labels_N: np.ndarray, num_classes: int) -> SoftmaxOptimum:
        found = softmax_optimum(inputs_ND, labels_N, num_classes)
        counted.append((found.num_steps + 1) * (2 * len(labels_N) * equations**2 + equations**3 / 3))
        return found

    monkeypatch.setattr(threshold, "softmax_optimum", counting)
    largest_separable(problem, linear_programs=False)
    assumed = BISECTIONS * newton_operations(problem, rough_threshold(problem))
    assert 1 / 3 < assumed / sum(counted) < 3


def test_times_are_of_the_order_that_is_predicted() -> None:
    """Of the order: processors differ, and a busy one is slower."""
    problem = LinearProblem(12, 20, 0)
    linear_program(*problem.samples(5), 20)  # imports its solver
    started = time.process_time()
    size = largest_separable(problem, linear_programs=False).num_samples
    bisected = time.process_time()
    assert 0.1 < predicted_s({problem: []}, programs=False) / (bisected - started) < 10
    for beside in (size, size + 1):
        linear_program(*problem.samples(beside), 20)
    assert 0.1 < programs_s(problem) / (time.process_time() - bisected) < 10


@pytest.mark.parametrize("num_classes", [2, 5, 10])
def test_thresholds_are_of_the_order_that_is_assumed(num_classes: int) -> None:
    problem = LinearProblem(8, num_classes, 0)
    found = largest_separable(problem, linear_programs=False).num_samples
    assert 0.8 < rough_threshold(problem) / found < 2.2
