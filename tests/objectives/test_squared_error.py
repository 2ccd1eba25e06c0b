"""Squared error against closed forms and torch, with importances and with labels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from memcap.config.run_config import RunConfig
from memcap.config.schema import SquaredErrorConfig
from memcap.objectives import build_objective
from memcap.objectives.squared_error import SquaredError

WEIGHTED = SquaredError(SquaredErrorConfig(use_importance=True))
PLAIN = SquaredError(SquaredErrorConfig(use_importance=False))
IMPORTANCE_MF = torch.tensor(
    [[1.0, 0.5, 0.25, 0.0], [1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 0.0, 2.0]], dtype=torch.float64
)


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs_MNF, targets_MNF = torch.randn(2, 3, 7, 4, generator=generator, dtype=torch.float64)
    return outputs_MNF, targets_MNF


def test_closed_form() -> None:
    outputs_MNF = torch.tensor([[[1.0, 2.0, 0.0, 0.0]]])
    targets_MNF = torch.tensor([[[0.0, 0.0, 0.0, 3.0]]])
    assert float(PLAIN.losses(outputs_MNF, targets_MNF, None)) == (1 + 4 + 9) / 4
    importance_MF = torch.tensor([[1.0, 0.5, 0.25, 0.125]])
    assert float(WEIGHTED.losses(outputs_MNF, targets_MNF, importance_MF)) == (1 + 2 + 9 / 8) / 4


def test_it_is_that_of_torch_member_by_member() -> None:
    outputs_MNF, targets_MNF = drawn()
    plain_MN = PLAIN.losses(outputs_MNF, targets_MNF, IMPORTANCE_MF)
    weighted_MN = WEIGHTED.losses(outputs_MNF, targets_MNF, IMPORTANCE_MF)
    for member in range(3):
        errors_NF = torch.nn.MSELoss(reduction="none")(outputs_MNF[member], targets_MNF[member])
        torch.testing.assert_close(plain_MN[member], errors_NF.mean(-1), rtol=1e-14, atol=0)
        expected = (errors_NF * IMPORTANCE_MF[member]).mean(-1)
        torch.testing.assert_close(weighted_MN[member], expected, rtol=1e-14, atol=0)


def test_without_importances_both_are_the_same() -> None:
    outputs_MNF, targets_MNF = drawn()
    torch.testing.assert_close(
        WEIGHTED.losses(outputs_MNF, targets_MNF, None),
        PLAIN.losses(outputs_MNF, targets_MNF, None),
        rtol=0,
        atol=0,
    )


def test_the_gradient_is_twice_the_weighted_error() -> None:
    outputs_MNF, targets_MNF = drawn()
    outputs_MNF.requires_grad_()
    loss = WEIGHTED.losses(outputs_MNF, targets_MNF, IMPORTANCE_MF).sum()
    (gradient,) = torch.autograd.grad(loss, outputs_MNF)
    expected = 2 * IMPORTANCE_MF[:, None, :] * (outputs_MNF - targets_MNF).detach() / 4
    torch.testing.assert_close(gradient, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_labels_become_one_hot(dtype: torch.dtype) -> None:
    outputs_MNV = torch.tensor([[[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]], dtype=dtype)
    targets_MN = torch.tensor([[1, 2]])
    loss_MN = PLAIN.losses(outputs_MNV, targets_MN, None)
    torch.testing.assert_close(loss_MN, torch.tensor([[0.0, 1.5 / 3]], dtype=dtype))


def test_features_are_neither_right_nor_wrong_and_have_no_bits() -> None:
    outputs_MNF, targets_MNF = drawn()
    scores = WEIGHTED.scores(outputs_MNF, targets_MNF, IMPORTANCE_MF)
    expected = WEIGHTED.losses(outputs_MNF, targets_MNF, IMPORTANCE_MF)
    torch.testing.assert_close(scores.loss_MN, expected, rtol=0, atol=0)
    assert scores.code_length_nats_MN is None
    assert scores.correct_MN is None


def test_with_labels_the_largest_output_decides() -> None:
    outputs_MNV = torch.tensor([[[0.2, 0.9, 0.1], [0.3, 0.2, 0.1]]])
    scores = PLAIN.scores(outputs_MNV, torch.tensor([[1, 2]]), None)
    assert scores.correct_MN is not None
    assert scores.correct_MN.tolist() == [[True, False]]
    assert scores.code_length_nats_MN is None  # right or wrong, but still no code


def test_it_is_what_the_configuration_names(run_config: Callable[..., RunConfig]) -> None:
    built = build_objective(run_config("objective=squared_error", "objective.use_importance=false"))
    assert isinstance(built, SquaredError)
    assert built.loss_name == "loss_mse"
    assert built.config == SquaredErrorConfig(use_importance=False)
