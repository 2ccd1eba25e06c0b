"""Random labels: prefixes in N to the bit, independent sets, and the law that the capacity is measured against."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memcap.config.run_config import RunConfig
from memcap.config.schema import RandomLabelsConfig
from memcap.data import build_dataset
from memcap.data.dataset import Samples
from memcap.data.random_labels import RandomLabels
from memcap.errors import BadInput

SEEDS = st.integers(0, 2**63 - 1)


def dataset(num_samples: int, input_dim: int = 3, num_classes: int = 4, seed: int = 0) -> RandomLabels:
    config = RandomLabelsConfig(
        num_samples=num_samples, input_dim=input_dim, num_classes=num_classes, batch_size=None
    )
    return RandomLabels(config, seed)


def assert_same(one: Samples, other: Samples) -> None:
    np.testing.assert_array_equal(one.inputs_ND, other.inputs_ND)
    np.testing.assert_array_equal(one.targets_N, other.targets_N)


@given(
    seed=SEEDS,
    small=st.integers(1, 60),
    more=st.integers(0, 60),
    input_dim=st.integers(1, 9),
    num_classes=st.integers(2, 2**33),
)
def test_a_smaller_set_is_a_prefix_of_a_larger_one(
    seed: int, small: int, more: int, input_dim: int, num_classes: int
) -> None:
    short = dataset(small, input_dim, num_classes, seed).training()
    long = dataset(small + more, input_dim, num_classes, seed).training()
    assert_same(short, Samples(long.inputs_ND[:small], long.targets_N[:small]))


@given(seed=SEEDS, size=st.integers(1, 50))
def test_the_test_set_is_what_a_larger_training_set_goes_on_with(seed: int, size: int) -> None:
    longer = dataset(2 * size, seed=seed).training()
    following = Samples(longer.inputs_ND[size:], longer.targets_N[size:])
    assert_same(dataset(size, seed=seed).evaluation()["test"], following)


def test_shapes_types_and_sizes() -> None:
    sets = {"training": dataset(7).training(), **dataset(7).evaluation()}
    assert set(sets) == {"training", "null", "test"}
    for samples in sets.values():
        assert (samples.inputs_ND.shape, samples.inputs_ND.dtype) == ((7, 3), np.float64)
        assert (samples.targets_N.shape, samples.targets_N.dtype) == ((7,), np.int64)
        assert len(samples) == 7


def test_the_same_set_every_time_and_another_for_every_seed() -> None:
    assert_same(dataset(9, seed=1).training(), dataset(9, seed=1).training())
    one, other = dataset(9, seed=1).training(), dataset(9, seed=2).training()
    assert not np.any(one.inputs_ND == other.inputs_ND)
    assert np.any(one.targets_N != other.targets_N)


def test_labels_do_not_depend_on_the_input_dimension_nor_inputs_on_the_classes() -> None:
    np.testing.assert_array_equal(dataset(50, 3).training().targets_N, dataset(50, 8).training().targets_N)
    wide, narrow = dataset(50, num_classes=100).training(), dataset(50, num_classes=2).training()
    np.testing.assert_array_equal(wide.inputs_ND, narrow.inputs_ND)


def test_no_two_sets_share_an_input() -> None:
    sets = [dataset(500).training(), *dataset(500).evaluation().values()]
    values = np.concatenate([samples.inputs_ND.ravel() for samples in sets])
    assert len(np.unique(values)) == values.size


def test_inputs_are_standard_normal() -> None:
    values = dataset(20_000, input_dim=10).training().inputs_ND
    size = values.size
    assert abs(values.mean()) < 4 / math.sqrt(size)
    assert abs(values.var() - 1) < 4 * math.sqrt(2 / size)
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    covariance_DD = np.cov(values.T)
    assert np.abs(covariance_DD - np.diag(np.diag(covariance_DD))).max() < 5 / math.sqrt(len(values))


@pytest.mark.parametrize("num_classes", [2, 3, 10, 40])
@pytest.mark.parametrize("name", ["training", "null", "test"])
def test_labels_are_uniform(num_classes: int, name: str) -> None:
    data = dataset(20_000, input_dim=1, num_classes=num_classes, seed=5)
    labels = {"training": data.training(), **data.evaluation()}[name].targets_N
    counts = np.bincount(labels, minlength=num_classes)
    assert len(counts) == num_classes
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", ["null", "test"])
def test_evaluation_sets_are_independent_of_the_training_set(name: str) -> None:
    data = dataset(20_000, input_dim=1, num_classes=4, seed=6)
    training, other = data.training(), data.evaluation()[name]
    table = np.zeros((4, 4))
    np.add.at(table, (training.targets_N, other.targets_N), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3
    correlation = stats.pearsonr(training.inputs_ND[:, 0], other.inputs_ND[:, 0]).statistic
    assert abs(correlation) < 4 / math.sqrt(20_000)


def test_labels_say_nothing_of_inputs() -> None:
    samples = dataset(20_000, input_dim=1, num_classes=5, seed=7).training()
    groups = [samples.inputs_ND[samples.targets_N == label, 0] for label in range(5)]
    assert stats.f_oneway(*groups).pvalue > 1e-3


def test_a_label_is_worth_log2_of_the_classes() -> None:
    assert dataset(1, num_classes=8).baseline_bits == 3
    assert dataset(1, num_classes=10).baseline_bits == pytest.approx(math.log(10) / math.log(2), rel=1e-15)
    assert dataset(1).importance_F is None


def test_there_are_no_fresh_batches() -> None:
    with pytest.raises(BadInput, match="data=random_labels draws no fresh batches"):
        dataset(1).fresh(0)


def test_a_run_has_the_data_of_its_seed(run_config: Callable[..., RunConfig]) -> None:
    built = build_dataset(run_config("seed=4", "data.num_samples=6"))
    assert isinstance(built, RandomLabels)
    assert_same(built.training(), dataset(6, input_dim=10, num_classes=10, seed=4).training())
