"""What exact answers are predicted to take, and that hours are asked for on purpose."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from memcap.errors import BadInput
from memcap.oracle.__main__ import main
from memcap.oracle.cost import check_time, predicted_s, rough_threshold
from memcap.oracle.problem import LinearProblem
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


def test_forced_questions_pass() -> None:
    asked = {LinearProblem(1000, 50, 0): [10_000]}
    with pytest.raises(BadInput, match=r"take about [0-9]+ (days|h)"):
        check_time(asked, programs=True, force=False)
    check_time(asked, programs=True, force=True)
    check_time({LinearProblem(10, 10, 0): [50, 100]}, programs=True, force=False)


def test_time_is_of_the_order_that_is_predicted() -> None:
    problem = LinearProblem(12, 10, 0)
    predicted = predicted_s({problem: []}, programs=True)
    started = time.process_time()
    largest_separable(problem)
    assert 0.02 < predicted / (time.process_time() - started) < 50  # of the order: machines are noisy


@pytest.mark.parametrize("num_classes", [2, 5, 10])
def test_thresholds_are_of_the_order_that_is_assumed(num_classes: int) -> None:
    problem = LinearProblem(8, num_classes, 0)
    found = largest_separable(problem, linear_programs=False).num_samples
    assert 0.8 < rough_threshold(problem) / found < 2.2
