"""Incidental class bias against sums over pairs, autograd at uniform prediction, and random labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from memcap.measures.data_bias import bias_alignments, class_bias, data_bias

V, D, COUNTS = 4, 3, (5, 12, 1, 30)


def drawn(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs_MND = torch.randn(len(COUNTS), max(COUNTS), D, generator=generator, dtype=torch.float64)
    targets_MN = torch.randint(V, inputs_MND.shape[:2], generator=generator)
    return inputs_MND, targets_MN, torch.arange(max(COUNTS)) < torch.tensor(COUNTS)[:, None]


def linear_loss(weights_dV: Tensor, inputs_ND: Tensor, targets_N: Tensor, reduction: str) -> Tensor:
    extended_Nd = torch.cat([inputs_ND, torch.ones(len(inputs_ND), 1, dtype=torch.float64)], 1)
    return functional.cross_entropy(extended_Nd @ weights_dV, targets_N, reduction=reduction)


def test_bias_is_minus_the_gradient_of_a_linear_model_at_zero() -> None:
    inputs_MND, targets_MN, mask_MN = drawn()
    bias_MdV = class_bias(inputs_MND, targets_MN, mask_MN, num_classes=V)
    for member, count in enumerate(COUNTS):
        weights_dV = torch.zeros(D + 1, V, dtype=torch.float64, requires_grad=True)
        linear_loss(weights_dV, inputs_MND[member, :count], targets_MN[member, :count], "mean").backward()
        assert weights_dV.grad is not None
        torch.testing.assert_close(bias_MdV[member], -weights_dV.grad, rtol=1e-12, atol=1e-15)


def test_alignment_is_what_a_step_on_all_others_gains() -> None:
    inputs_MND, targets_MN, mask_MN = drawn()
    found_MN = bias_alignments(inputs_MND, targets_MN, mask_MN, num_classes=V)
    step = 1e-6
    for member, count in enumerate(COUNTS):
        inputs_ND, targets_N = inputs_MND[member, :count], targets_MN[member, :count]
        for sample in range(count):
            others = torch.arange(count) != sample
            weights_dV = torch.zeros(D + 1, V, dtype=torch.float64, requires_grad=True)
            losses = linear_loss(weights_dV, inputs_ND[others], targets_N[others], "none")
            (losses.sum() / count).backward()
            assert weights_dV.grad is not None
            # Central differences: the loss's curvature drops out.
            after, before = (
                linear_loss(-s * step * weights_dV.grad, inputs_ND[[sample]], targets_N[[sample]], "mean")
                for s in (1, -1)
            )
            expected = (before - after).item() / (2 * step)
            assert found_MN[member, sample].item() == pytest.approx(expected, abs=1e-8)
    assert (found_MN[~mask_MN] == 0).all()
    assert found_MN[2, 0].item() == pytest.approx(0, abs=1e-15)  # nobody else is there


def test_alignments_are_sums_over_pairs() -> None:
    inputs_MND, targets_MN, mask_MN = drawn(1)
    found_MN = bias_alignments(inputs_MND, targets_MN, mask_MN, num_classes=V)
    values = data_bias(inputs_MND, targets_MN, mask_MN, num_classes=V)
    for member, count in enumerate(COUNTS):
        x_ND, y_N = inputs_MND[member, :count], targets_MN[member, :count]
        pairs_NN = (x_ND @ x_ND.T + 1) * ((y_N[:, None] == y_N).double() - 1 / V)
        expected_N = (pairs_NN.sum(1) - pairs_NN.diagonal()) / count
        torch.testing.assert_close(found_MN[member, :count], expected_N, rtol=1e-11, atol=1e-13)
        frequencies_V = torch.bincount(y_N, minlength=V) / count
        distance = (frequencies_V.double() - 1 / V).abs().sum().item() / 2
        assert values["class_frequency_bias"][member].item() == pytest.approx(distance, abs=1e-7)


@pytest.mark.parametrize("num_samples", [2, 7, 12])
def test_chance_is_what_random_labels_give(num_samples: int) -> None:
    """Inputs held, labels drawn 20000 times: three standard errors of each mean."""
    draws, generator = 20_000, torch.Generator().manual_seed(num_samples)
    inputs_1ND = torch.randn(1, num_samples, D, generator=generator, dtype=torch.float64) + 0.5
    inputs_MND = inputs_1ND.expand(draws, -1, -1)
    targets_MN = torch.randint(V, (draws, num_samples), generator=generator)
    mask_MN = torch.ones(draws, num_samples, dtype=torch.bool)
    found = data_bias(inputs_MND, targets_MN, mask_MN, num_classes=V)
    alignments_MN = bias_alignments(inputs_MND, targets_MN, mask_MN, num_classes=V)
    for values_M, expected in (
        (found["class_mean_bias"] ** 2, found["class_mean_bias_chance"][0].item() ** 2),
        (found["class_frequency_bias"], found["class_frequency_bias_chance"][0].item()),
        (found["class_mean_bias_score"], 0),
        (found["class_mean_bias_score"] ** 2, 1),
        (alignments_MN[:, 0], 0),
    ):
        standard_error = values_M.std().item() / math.sqrt(draws)
        assert values_M.mean().item() == pytest.approx(expected, abs=3 * standard_error)
        assert standard_error < 0.05


def test_labels_that_follow_the_inputs_are_more_than_chance() -> None:
    inputs_MND, targets_MN, mask_MN = drawn(2)
    random = data_bias(inputs_MND, targets_MN, mask_MN, num_classes=V)["class_mean_bias_score"]
    learnable_MN = (inputs_MND[..., 0] > 0).long()
    found = data_bias(inputs_MND, learnable_MN, mask_MN, num_classes=V)["class_mean_bias_score"]
    assert random[3].abs() < 3 < found[3]
    assert bias_alignments(inputs_MND, learnable_MN, mask_MN, num_classes=V)[3].mean() > 0


def test_closed_forms() -> None:
    """Two samples of opposite classes at ±x, then one class only."""
    inputs_MND = torch.tensor([[[3.0, 4.0], [-3.0, -4.0]]] * 2)
    targets_MN = torch.tensor([[0, 1], [1, 1]])
    found = data_bias(inputs_MND, targets_MN, torch.ones(2, 2, dtype=torch.bool), num_classes=2)
    assert found["class_frequency_bias"].tolist() == [0, 0.5]
    # B = ½ (x ⊗ (½, −½) − x ⊗ (−½, ½)), whose norm is ‖x‖ / √2; with one class the two cancel.
    assert found["class_mean_bias"].tolist() == pytest.approx([5 / math.sqrt(2), 0])
    # E‖B‖² = ½ · 50 / 4; two labels agree with probability one half, then ‖B‖² is 0, else 12.5.
    assert found["class_mean_bias_chance"].tolist() == pytest.approx([2.5, 2.5])
    assert found["class_mean_bias_score"].tolist() == pytest.approx([1, -1])
    # Frequencies (1, 0) or (½, ½), with equal probability.
    assert found["class_frequency_bias_chance"].tolist() == pytest.approx([0.25, 0.25])


def test_padding_and_neighbours_do_not_matter() -> None:
    inputs_MND, targets_MN, mask_MN = drawn(3)
    padded_MND = inputs_MND.masked_fill(~mask_MN[:, :, None], math.nan)
    padded_MND[1, 0, 0] = math.nan
    padded_MN = targets_MN.masked_fill(~mask_MN, -1)
    aligned_MN = bias_alignments(padded_MND, padded_MN, mask_MN, num_classes=V)
    found = data_bias(padded_MND, padded_MN, mask_MN, num_classes=V)
    assert aligned_MN[1, : COUNTS[1]].isnan().all()
    assert found["class_mean_bias"][1].isnan()
    for member in (0, 2, 3):
        count = COUNTS[member]
        own = (inputs_MND[[member], :count], targets_MN[[member], :count], mask_MN[[member], :count])
        alone_1N = bias_alignments(*own, num_classes=V)
        torch.testing.assert_close(aligned_MN[member, :count], alone_1N[0], rtol=1e-11, atol=1e-13)
        for name, value_1 in data_bias(*own, num_classes=V).items():
            torch.testing.assert_close(
                found[name][member], value_1[0], rtol=1e-11, atol=1e-13, equal_nan=True, msg=name
            )


def test_float32_data_are_summed_in_float64() -> None:
    inputs_MND, targets_MN, mask_MN = drawn(4)
    single_MND = inputs_MND.float()
    found = bias_alignments(single_MND, targets_MN, mask_MN, num_classes=V)
    assert found.dtype == torch.float64
    exact = bias_alignments(single_MND.double(), targets_MN, mask_MN, num_classes=V)
    torch.testing.assert_close(found, exact, rtol=1e-14, atol=0)
