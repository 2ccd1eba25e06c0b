"""Evidence by trial, and its means with shrunk variances."""

from __future__ import annotations

import numpy as np
import pytest

from memcap.search.trial import PRIOR_DEGREES, Evidence, Trial, means


def test_failed_runs_are_no_values_and_not_asked_for_again() -> None:
    evidence = Evidence({Trial(10, 0, 0): 3.0, Trial(10, 0, 1): None, Trial(20, 1, 0): 5.0})
    assert evidence.at(10, 0) == [3.0]
    assert evidence.sizes() == [10, 20]
    assert evidence.sizes(0) == [10]
    asked = [Trial(10, 0, 1), Trial(10, 0, 2), Trial(10, 0, 2)]
    assert evidence.unknown(asked) == [Trial(10, 0, 2)]


def test_doubled_budgets_are_values_of_their_own() -> None:
    evidence = Evidence({Trial(10, 0, 0): 3.0, Trial(10, 0, 0, 1): 7.0})
    assert evidence.at(10, 0) == [3.0]
    assert evidence.at(10, 0, doublings=1) == [7.0]
    assert means(evidence, [0])[0].mean_N.tolist() == [3.0]


def test_variances_are_shrunk_as_the_formula_says() -> None:
    values = {10: [8.0, 12.0], 20: [20.0, 20.0, 20.0]}
    told = {Trial(n, 0, seed): x for n, row in values.items() for seed, x in enumerate(row)}
    row = means(Evidence(dict(told)), [0])[0]
    pooled = (8 / 10**2 + 0) / (1 + 2)
    expected = [
        (PRIOR_DEGREES * pooled * 10**2 + 8) / (PRIOR_DEGREES + 1) / 2,
        (PRIOR_DEGREES * pooled * 20**2 + 0) / (PRIOR_DEGREES + 2) / 3,
    ]
    np.testing.assert_allclose(row.variance_N, expected, rtol=1e-12)
    assert row.num_seeds_N.tolist() == [2, 3]


def test_variances_of_the_mean_are_right_on_average() -> None:
    random = np.random.default_rng(0)
    found = []
    for _ in range(300):
        draws = {
            Trial(n, 0, seed): n * (1 + 0.1 * random.standard_normal())
            for n in (50, 70, 100)
            for seed in range(3)
        }
        row = means(Evidence(dict(draws)), [0])[0]
        found.append(row.variance_N / row.sizes_N**2)
    assert np.mean(found) == pytest.approx(0.1**2 / 3, rel=0.1)


def test_runs_that_all_diverged_have_a_mean_of_0_and_no_noise() -> None:
    row = means(Evidence({Trial(9, 0, 0): 0.0, Trial(9, 0, 1): 0.0}), [0])[0]
    assert (row.mean_N.tolist(), row.variance_N.tolist()) == ([0.0], [0.0])
