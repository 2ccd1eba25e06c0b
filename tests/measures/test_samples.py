"""Quantities of single samples: counting under a mask, margins, and correlations against SciPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from memcap.measures.samples import (
    accuracy,
    margins,
    memorized_samples,
    pearson_correlation,
    spearman_correlation,
)

CORRECT_MN = torch.tensor([[True, False, True], [True, True, True], [True, True, False]])
MASK_MN = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
WAYS = {
    "pearson": (pearson_correlation, scipy.stats.pearsonr),
    "spearman": (spearman_correlation, scipy.stats.spearmanr),
}
COUNTS = (3, 5, 12, 40)


def test_only_samples_under_the_mask_count() -> None:
    assert memorized_samples(CORRECT_MN, MASK_MN).tolist() == [2, 1, 0]


def test_accuracy_is_the_share_of_a_members_own_samples() -> None:
    share_M = accuracy(CORRECT_MN, MASK_MN)
    assert share_M.dtype == torch.float64
    assert share_M[:2].tolist() == [2 / 3, 1.0]
    assert share_M[2].isnan()


def test_margins_in_closed_form() -> None:
    outputs_MNV = torch.tensor([[[1.0, 4, 2], [1, 4, 2], [3, 3, -5]], [[-1, -7, -2], [0, 0, 0], [9, 1, 1]]])
    targets_MN = torch.tensor([[1, 2, 0], [0, 1, 2]])
    margin_MN = margins(outputs_MNV, targets_MN)
    assert margin_MN.dtype == torch.float64
    assert margin_MN.tolist() == [[2, -2, 0], [1, 0, -8]]


def test_margins_tell_what_is_right_and_the_odds_against_the_rival() -> None:
    outputs_MNV = torch.randn(3, 50, 7, generator=torch.Generator().manual_seed(0))
    targets_MN = torch.randint(7, (3, 50), generator=torch.Generator().manual_seed(1))
    margin_MN = margins(outputs_MNV, targets_MN)
    correct_MN = outputs_MNV.argmax(2) == targets_MN
    assert torch.equal(margin_MN > 0, correct_MN)
    others = torch.nn.functional.one_hot(targets_MN, 7).bool()
    probability_MNV = outputs_MNV.double().softmax(2)
    rival_MN = probability_MNV.masked_fill(others, 0).amax(2)
    torch.testing.assert_close(margin_MN.exp(), probability_MNV[others].view(3, 50) / rival_MN)


def test_a_margin_is_nan_where_a_logit_is() -> None:
    outputs_MNV = torch.zeros(1, 4, 3)
    outputs_MNV[0, 0, 0] = outputs_MNV[0, 1, 2] = math.nan
    outputs_MNV[0, 2, 0] = math.inf
    margin_N = margins(outputs_MNV, torch.zeros(1, 4, dtype=torch.int64))[0]
    assert margin_N.isnan().tolist() == [True, True, False, False]
    assert margin_N[2:].tolist() == [math.inf, 0]


def drawn(seed: int, kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """Two related quantities of members with 3 to 40 samples; ties where they are rounded."""
    generator = np.random.default_rng(seed)
    first_MN = generator.standard_normal((len(COUNTS), max(COUNTS)))
    second_MN = 0.7 * first_MN + generator.standard_normal(first_MN.shape)
    if kind == "tied":
        first_MN, second_MN = np.round(2 * first_MN), np.round(second_MN)
    if kind == "huge":
        first_MN, second_MN = 1e200 * first_MN, 1e-200 * second_MN
    mask_MN = np.arange(max(COUNTS)) < np.array(COUNTS)[:, None]
    first_MN[:, :3] += [0, 3, 6]  # constant by chance is another test
    second_MN[:, :3] += [0, 3, 6]
    return torch.from_numpy(first_MN), torch.from_numpy(second_MN), torch.from_numpy(mask_MN)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["plain", "tied", "huge"])
def test_correlation_is_that_of_scipy(way: str, kind: str) -> None:
    ours, theirs = WAYS[way]
    first_MN, second_MN, mask_MN = drawn(3, kind)
    found = ours(first_MN, second_MN, mask_MN)
    scale = (1e-200, 1e200) if kind == "huge" else (1, 1)
    for member, count in enumerate(COUNTS):
        expected = theirs(scale[0] * first_MN[member, :count], scale[1] * second_MN[member, :count])[0]
        assert found.value_M[member].item() == pytest.approx(expected, abs=1e-12)
        error = math.sqrt(max(0, 1 - expected**2) / (count - 2))
        assert found.standard_error_M[member].item() == pytest.approx(error, abs=1e-7)


@pytest.mark.parametrize("way", WAYS)
@given(seed=st.integers(0, 2**31))
def test_padding_and_neighbours_do_not_matter(way: str, seed: int) -> None:
    ours: Any = WAYS[way][0]
    first_MN, second_MN, mask_MN = drawn(seed, "tied")
    expected = [ours(first_MN[[m], :n], second_MN[[m], :n], mask_MN[[m], :n]) for m, n in enumerate(COUNTS)]
    first_MN, second_MN = first_MN.masked_fill(~mask_MN, math.nan), second_MN.masked_fill(~mask_MN, -math.inf)
    first_MN[1, 2] = math.nan
    second_MN[2, 0] = math.inf
    found = ours(first_MN, second_MN, mask_MN)
    assert torch.stack(found)[:, 1:3].isnan().all()
    for member in (0, 3):
        for part_M, alone_1 in zip(found, expected[member], strict=True):
            torch.testing.assert_close(part_M[member], alone_1[0], rtol=1e-10, atol=1e-8, equal_nan=True)


@pytest.mark.parametrize("way", WAYS)
def test_no_correlation_without_three_samples_or_variation(way: str) -> None:
    ours: Any = WAYS[way][0]
    first_MN = torch.tensor([[0.1] * 6, [1, 2, 3, 4, 5, 6], [1, 2, 9, 9, 9, 9], [5, 5, 5, 6, 7, 8.0]])
    second_MN = torch.arange(6.0).expand(4, 6)
    mask_MN = torch.arange(6) < torch.tensor([6, 6, 2, 3])[:, None]
    value_M, error_M = ours(first_MN.double(), second_MN, mask_MN)
    assert value_M.isnan().tolist() == error_M.isnan().tolist() == [True, False, True, True]
    assert value_M[1].item() == pytest.approx(1, abs=1e-14)
    assert error_M[1].item() == pytest.approx(0, abs=1e-7)


def test_spearman_sees_any_increasing_relation_and_only_the_order() -> None:
    first_MN, second_MN, mask_MN = drawn(5, "plain")
    value_M, _ = spearman_correlation(first_MN, first_MN.exp() + first_MN**3, mask_MN)
    torch.testing.assert_close(value_M, torch.ones(len(COUNTS), dtype=torch.float64))
    expected = spearman_correlation(first_MN, second_MN, mask_MN)
    found = spearman_correlation(first_MN.tanh(), -second_MN.exp(), mask_MN)
    torch.testing.assert_close(found.value_M, -expected.value_M)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("slope", "low", "high"), [(0.0, 0.9, 1.15), (1.0, 1.0, 1.6)])
def test_the_standard_error_is_the_spread_or_more(way: str, slope: float, low: float, high: float) -> None:
    generator = torch.Generator().manual_seed(0)
    first_MN, noise_MN = torch.randn(2, 4000, 30, generator=generator, dtype=torch.float64)
    ours: Any = WAYS[way][0]
    value_M, error_M = ours(first_MN, slope * first_MN + noise_MN, torch.ones(4000, 30, dtype=torch.bool))
    assert low < error_M.mean() / value_M.std() < high
