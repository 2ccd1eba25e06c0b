"""Sparse features: their law, finite and fresh, and importances."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memcap.config.run_config import RunConfig
from memcap.config.schema import SparseFeaturesConfig
from memcap.data import build_dataset
from memcap.data.sparse_features import SparseFeatures

SEEDS = st.integers(0, 2**63 - 1)


def dataset(seed: int = 0, **values: Any) -> SparseFeatures:
    base: dict[str, Any] = {
        "num_samples": None,
        "num_features": 5,
        "active_probability": 0.3,
        "importance_decay": 0.9,
        "batch_size": 8,
        "evaluation_samples": 20,
    }
    return SparseFeatures(SparseFeaturesConfig(**{**base, **values}), seed)


@given(seed=SEEDS, small=st.integers(1, 40), more=st.integers(0, 40), num_features=st.integers(1, 9))
def test_a_smaller_set_is_a_prefix_of_a_larger_one(
    seed: int, small: int, more: int, num_features: int
) -> None:
    short = dataset(seed, num_samples=small, num_features=num_features).training()
    long = dataset(seed, num_samples=small + more, num_features=num_features).training()
    np.testing.assert_array_equal(short.inputs_ND, long.inputs_ND[:small])


@pytest.mark.parametrize("num_samples", [None, 30])
def test_shapes_and_sizes(num_samples: int | None) -> None:
    data = dataset(num_samples=num_samples)
    assert data.training().inputs_ND.shape == (num_samples or 20, 5)
    assert data.evaluation()["test"].inputs_ND.shape == (20, 5)
    assert data.fresh(3).inputs_ND.shape == (8, 5)
    for samples in (data.training(), data.evaluation()["test"], data.fresh(0)):
        np.testing.assert_array_equal(samples.targets_N, samples.inputs_ND)
        assert samples.inputs_ND.dtype == np.float64
        assert np.all((samples.inputs_ND >= 0) & (samples.inputs_ND < 1))


@pytest.mark.parametrize("probability", [0.01, 0.3, 1.0])
def test_features_are_zero_or_uniform(probability: float) -> None:
    values = dataset(num_samples=4000, active_probability=probability).training().inputs_ND
    active = values[values > 0]
    standard_error = math.sqrt(probability * (1 - probability) / values.size)
    assert abs(active.size / values.size - probability) <= 4 * standard_error
    assert stats.kstest(active, "uniform").pvalue > 1e-3


def test_features_are_active_independently() -> None:
    active = dataset(num_samples=20_000).training().inputs_ND > 0
    table = np.array([[np.sum(~active[:, 0] & ~active[:, 1]), np.sum(~active[:, 0] & active[:, 1])]])
    table = np.vstack([table, [np.sum(active[:, 0] & ~active[:, 1]), np.sum(active[:, 0] & active[:, 1])]])
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_activity_does_not_change_values() -> None:
    """The same numbers stand behind every sparsity, so that runs differ in what is hidden and in nothing else."""
    rare = dataset(active_probability=0.1, num_samples=50).training().inputs_ND
    often = dataset(active_probability=0.6, num_samples=50).training().inputs_ND
    assert np.count_nonzero(rare) < np.count_nonzero(often)
    np.testing.assert_array_equal(rare[rare > 0], often[rare > 0])


@given(seed=SEEDS, step=st.integers(0, 10**9))
def test_a_fresh_batch_depends_on_seed_and_step_alone(seed: int, step: int) -> None:
    dense = dataset(seed, active_probability=1.0)
    np.testing.assert_array_equal(dense.fresh(step).inputs_ND, dense.fresh(step).inputs_ND)
    assert not np.any(dense.fresh(step).inputs_ND == dense.fresh(step + 1).inputs_ND)


def test_no_set_shares_a_value_with_another() -> None:
    data = dataset(active_probability=1.0, evaluation_samples=200, batch_size=200)
    finite = dataset(active_probability=1.0, num_samples=200).training()
    sets = [data.training(), data.evaluation()["test"], finite, *map(data.fresh, range(5))]
    values = np.concatenate([samples.inputs_ND.ravel() for samples in sets])
    assert len(np.unique(values)) == values.size


def test_importance_is_a_geometric_series() -> None:
    importance_F = dataset(importance_decay=0.5).importance_F
    assert importance_F is not None
    np.testing.assert_allclose(importance_F, [1, 0.5, 0.25, 0.125, 0.0625], rtol=1e-15)
    assert dataset().baseline_bits is None


def test_a_run_has_the_data_of_its_seed(run_config: Callable[..., RunConfig]) -> None:
    config = run_config("data=sparse_features", "objective=squared_error", "seed=4")
    built = build_dataset(config)
    assert isinstance(built, SparseFeatures)
    expected = SparseFeatures(built.config, 4).fresh(2).inputs_ND
    np.testing.assert_array_equal(built.fresh(2).inputs_ND, expected)
