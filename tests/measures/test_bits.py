"""Bits against closed forms: a guesser has none, a perfect memorizer has the baseline of every sample."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memcap.measures.bits import (
    bits_per_parameter,
    bits_standard_error,
    clamped_bits,
    memorized_bits,
    nats_to_bits,
)

float64 = torch.float64


def _code_lengths(num_members: int, num_samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random code lengths and a mask that leaves every member a different number of samples, at least 2."""
    generator = torch.Generator().manual_seed(seed)
    code_length_MN = 3 * torch.rand(num_members, num_samples, generator=generator, dtype=float64)
    counts_M = torch.randint(2, num_samples + 1, (num_members,), generator=generator)
    return code_length_MN, torch.arange(num_samples) < counts_M[:, None]


@pytest.mark.parametrize("num_samples", [1, 7, 2000])
@pytest.mark.parametrize("num_classes", [2, 10, 4096])
def test_guesser_has_no_bits_and_memorizer_all(num_samples: int, num_classes: int) -> None:
    loss_nats_M = torch.tensor([math.log(num_classes), 0.0], dtype=float64)
    bits_M = memorized_bits(loss_nats_M, num_samples, math.log2(num_classes))
    everything = num_samples * math.log2(num_classes)
    assert bits_M.dtype == float64
    assert bits_M[0].item() == pytest.approx(0.0, abs=1e-12 * everything)
    assert bits_M[1].item() == pytest.approx(everything, rel=1e-15)


def test_bits_are_the_published_formula_per_member() -> None:
    num_samples_M, num_classes_M = torch.tensor([100, 250]), torch.tensor([10.0, 40.0], dtype=float64)
    loss_nats_M = torch.tensor([0.5, 2.0], dtype=float64)
    published_M = (num_classes_M.log() - loss_nats_M) * num_samples_M / math.log(2)
    torch.testing.assert_close(memorized_bits(loss_nats_M, num_samples_M, num_classes_M.log2()), published_M)


def test_bits_are_counted_in_float64_whatever_the_loss_is_in() -> None:
    # In float32 the product 10^6 · log2 10 alone is off by up to 0.1 bits.
    bits_M = memorized_bits(torch.zeros(1, dtype=torch.float32), 10**6, math.log2(10))
    assert bits_M.item() == pytest.approx(10**6 * math.log2(10), rel=1e-15)


def test_worse_than_guessing_is_negative_and_nan_stays_with_its_member() -> None:
    bits_M = memorized_bits(torch.tensor([3.0, math.nan, 0.1], dtype=float64), 10, 1.0)
    assert bits_M[0] < 0
    assert bits_M[1].isnan()
    assert bits_M[2] > 0


def test_nats_to_bits_of_ln_2_is_1() -> None:
    assert nats_to_bits(torch.tensor([math.log(2), 0.0], dtype=float64)).tolist() == [1.0, 0.0]


def test_clamped_bits_drop_samples_that_cost_more_than_the_baseline() -> None:
    # Savings of 1, 0 (clamped from −1) and 0.5 bits; the fourth sample is padding.
    code_length_MN = torch.tensor([[0.0, 2.0, 0.5, math.nan]], dtype=float64) * math.log(2)
    mask_MN = torch.tensor([[True, True, True, False]])
    assert clamped_bits(code_length_MN, mask_MN, 1.0).item() == pytest.approx(1.5, rel=1e-15)


def test_clamped_bits_take_a_baseline_per_member_and_an_infinite_code_length() -> None:
    code_length_MN = torch.tensor([[0.0, math.inf], [0.0, 0.0]], dtype=float64)
    mask_MN = torch.ones(2, 2, dtype=torch.bool)
    assert clamped_bits(code_length_MN, mask_MN, torch.tensor([1.0, 3.0])).tolist() == [1.0, 6.0]


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_clamped_bits_are_never_below_memorized_bits(seed: int) -> None:
    code_length_MN, mask_MN = _code_lengths(3, 20, seed)
    loss_M = code_length_MN.where(mask_MN, 0.0).sum(1) / mask_MN.sum(1)
    clamped_M = clamped_bits(code_length_MN, mask_MN, 2.0)
    assert (clamped_M >= memorized_bits(loss_M, mask_MN.sum(1), 2.0) - 1e-9).all()
    # A baseline above every code length leaves nothing to clamp.
    unclamped_M = clamped_bits(code_length_MN, mask_MN, 5.0)
    torch.testing.assert_close(unclamped_M, memorized_bits(loss_M, mask_MN.sum(1), 5.0), rtol=1e-12, atol=0)


def test_standard_error_is_root_n_times_the_sample_deviation() -> None:
    code_length_MN, mask_MN = _code_lengths(4, 30, seed=0)
    for member, error in enumerate(bits_standard_error(code_length_MN, mask_MN).tolist()):
        values = code_length_MN[member][mask_MN[member]]
        assert error == pytest.approx(math.sqrt(len(values)) * values.std().item() / math.log(2), rel=1e-12)


def test_standard_error_of_one_sample_is_unknown_and_of_equal_samples_zero() -> None:
    code_length_MN = torch.full((2, 5), 0.75, dtype=float64)
    mask_MN = torch.arange(5) < torch.tensor([[1], [5]])
    error_M = bits_standard_error(code_length_MN, mask_MN)
    assert error_M[0].isnan()
    assert error_M[1] == 0


def test_standard_error_predicts_the_spread_of_bits_over_null_sets() -> None:
    generator = torch.Generator().manual_seed(0)
    draws_MN = -torch.rand(4000, 50, generator=generator, dtype=float64).log()
    mask_MN = torch.ones_like(draws_MN, dtype=torch.bool)
    spread = memorized_bits(draws_MN.mean(1), 50, 1.0).std().item()
    # 4000 sums: the spread itself is known to about 1 percent.
    assert bits_standard_error(draws_MN, mask_MN).square().mean().sqrt().item() == pytest.approx(
        spread, rel=0.05
    )


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_per_sample_bits_do_not_depend_on_neighbours_or_padding(seed: int) -> None:
    code_length_MN, mask_MN = _code_lengths(4, 12, seed)
    beside_nan_MN = code_length_MN.clone()
    beside_nan_MN[1:] = math.nan
    padded_MN, padded_mask_MN = (torch.nn.functional.pad(t, (0, 5)) for t in (beside_nan_MN, mask_MN))
    for measure in (lambda c, m: clamped_bits(c, m, 1.5), bits_standard_error):
        alone = measure(code_length_MN[:1], mask_MN[:1]).item()
        assert measure(code_length_MN, mask_MN)[0].item() == pytest.approx(alone, rel=1e-12)
        assert measure(padded_MN, padded_mask_MN)[0].item() == pytest.approx(alone, rel=1e-12)


def test_bits_per_parameter_divides_per_member() -> None:
    per_parameter_M = bits_per_parameter(torch.tensor([10.0, 30.0]), torch.tensor([5, 10]))
    assert per_parameter_M.tolist() == [2.0, 3.0]
    assert bits_per_parameter(torch.tensor([1.0]), 3).item() == 1 / 3
