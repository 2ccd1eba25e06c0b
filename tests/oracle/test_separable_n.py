"""The separable N against Cover's theorem, and the interval of a median against its coverage."""

from __future__ import annotations

import numpy as np
import pytest

from memcap.compare.references import cover_probability
from memcap.oracle.problem import LinearProblem
from memcap.oracle.report import medians, print_medians, thresholds
from memcap.oracle.separability import Separability, linear_program
from memcap.oracle.softmax_optimum import UndecidedOptimum, softmax_optimum
from memcap.oracle.threshold import largest_separable, median


def test_two_classes_follow_cover() -> None:
    """Of many data sets as many are separable at N as Cover's theorem says (within four standard errors)."""
    found = np.array(
        [largest_separable(LinearProblem(4, 2, s), linear_programs=False).num_samples for s in range(300)]
    )
    for num_samples in range(4, 14):
        expected = cover_probability(num_samples, 4)
        error = np.sqrt(expected * (1 - expected) / 300)
        assert abs((found >= num_samples).mean() - expected) <= 4 * error + 1e-12
    assert found.min() >= 4  # so few points in general position can be separated always


def test_threshold_is_where_the_linear_program_changes_its_answer() -> None:
    problem = LinearProblem(5, 6, seed=3, bias=True)
    found = largest_separable(problem)
    answers = [linear_program(*problem.samples(n), 6).separable for n in range(2, found.num_samples + 6)]
    assert answers == [True] * (found.num_samples - 1) + [False] * 5
    assert found.separable.margin_at_least > 0 > found.inseparable.margin_at_least


def test_a_bisection_says_what_it_decides() -> None:
    said: list[tuple[int, int, str]] = []
    table = thresholds([LinearProblem(5, 6, seed=3)], said=lambda *state: said.append(state))
    size = table["separable_num_samples"][0]
    assert said[0] == (0, 1, "D = 5, V = 6, seed 3, N up to 10")
    assert said[-2:] == [(0, 1, f"D = 5, V = 6, seed 3, N = {size + 1}, by a linear program"), (1, 1, "")]


def test_the_linear_program_decides_where_newton_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = LinearProblem(5, 6, seed=3)
    expected = largest_separable(problem, linear_programs=False)
    monkeypatch.setattr("memcap.oracle.softmax_optimum.MOST_STEPS", 3)
    with pytest.raises(RuntimeError, match="has not decided after 3 steps"):
        softmax_optimum(*problem.samples(expected.num_samples), 6)
    found = largest_separable(problem, linear_programs=False)
    assert found.num_samples == expected.num_samples
    assert found.separable.margin_at_least > 0 > found.inseparable.margin_at_least


def test_a_proof_counts_where_the_optimum_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curvature that has vanished in rounding: the loss still falls by 1e-9 nats a step, and no margin is left."""
    inputs_ND, labels_N = LinearProblem(9, 9, seed=972).samples(36)
    with pytest.raises(UndecidedOptimum) as undecided:
        softmax_optimum(inputs_ND, labels_N, 9)
    assert undecided.value.separability.separable is False
    assert linear_program(inputs_ND, labels_N, 9).separable is False
    expected = largest_separable(LinearProblem(9, 9, seed=972)).num_samples
    monkeypatch.delattr("memcap.oracle.threshold.linear_program")
    assert largest_separable(LinearProblem(9, 9, seed=972), linear_programs=False).num_samples == expected


def test_a_problem_that_nothing_decides_is_a_row_without_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("memcap.oracle.softmax_optimum.MOST_STEPS", 4)
    hard, easy = LinearProblem(5, 6, seed=3), LinearProblem(2, 2, seed=0)
    expected = thresholds([easy])

    def undecided(inputs_ND: np.ndarray, labels_N: np.ndarray, num_classes: int) -> Separability:
        if num_classes == 6:
            return Separability(None, -1.0, 1.0)
        return linear_program(inputs_ND, labels_N, num_classes)

    monkeypatch.setattr("memcap.oracle.threshold.linear_program", undecided)
    found = thresholds([hard, easy], linear_programs=False)
    assert found["separable_num_samples"].isna().tolist() == [True, False]
    assert found["separable_num_samples"][1] == expected["separable_num_samples"][0]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no separable N of LinearProblem(input_dim=5, num_classes=6, seed=3" in said
    table = medians(found)
    assert table["num_seeds"].tolist() == [0, 1]
    assert table["num_samples_half"].isna().tolist() == [True, False]
    print_medians(table)


def test_interval_of_a_median() -> None:
    assert median([3.0, 1.0, 2.0]) == median([1.0, 2.0, 3.0])
    few = median([1.0, 2.0, 3.0, 4.0])
    assert (few.value, few.low, few.high, few.confidence) == (2.5, 1.0, 4.0, 0.875)
    six = median(range(6))
    assert (six.low, six.high, six.confidence) == (0, 5, 1 - 2 / 2**6)
    assert median([7.0]).confidence == 0
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    draws = [median(list(random.exponential(size=15))) for _ in range(2000)]
    covered = np.mean([found.low <= np.log(2) <= found.high for found in draws])
    assert draws[0].confidence == pytest.approx(0.9648, abs=1e-4)
    assert covered == pytest.approx(draws[0].confidence, abs=4 * np.sqrt(0.035 * 0.965 / 2000))
