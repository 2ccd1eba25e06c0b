"""Cross-entropy against closed forms and torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from memcap.config.run_config import RunConfig
from memcap.config.schema import CrossEntropyConfig
from memcap.objectives import build_objective
from memcap.objectives.cross_entropy import CrossEntropy

OBJECTIVE = CrossEntropy(CrossEntropyConfig())


def drawn(
    num_members: int = 3, num_samples: int = 8, num_classes: int = 5
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits_MNV = torch.randn(num_members, num_samples, num_classes, generator=generator, dtype=torch.float64)
    return 3 * logits_MNV, torch.randint(num_classes, (num_members, num_samples), generator=generator)


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_without_skill_a_label_costs_ln_v(num_classes: int) -> None:
    targets = torch.arange(6).reshape(2, 3) % num_classes
    loss_MN = OBJECTIVE.losses(torch.full((2, 3, num_classes), 7.0, dtype=torch.float64), targets, None)
    torch.testing.assert_close(
        loss_MN, torch.full((2, 3), math.log(num_classes), dtype=torch.float64), rtol=1e-14, atol=0
    )


@pytest.mark.parametrize("margin", [-30.0, -1.0, 0.0, 0.5, 30.0])
def test_two_classes_are_a_softplus(margin: float) -> None:
    logits_MNV = torch.tensor([[[margin, 0.0]]], dtype=torch.float64)
    loss = float(OBJECTIVE.losses(logits_MNV, torch.tensor([[0]]), None))
    assert loss == pytest.approx(np.logaddexp(0, -margin), rel=1e-14)


def test_it_is_minus_the_log_of_the_probability() -> None:
    logits_MNV, targets_MN = drawn()
    expected = -np.take_along_axis(log_softmax(logits_MNV.numpy(), -1), targets_MN.numpy()[..., None], -1)[
        ..., 0
    ]
    np.testing.assert_allclose(OBJECTIVE.losses(logits_MNV, targets_MN, None), expected, rtol=1e-13)


def test_it_is_that_of_torch_member_by_member() -> None:
    logits_MNV, targets_MN = drawn()
    loss_MN = OBJECTIVE.losses(logits_MNV, targets_MN, None)
    for member in range(3):
        alone = torch.nn.CrossEntropyLoss(reduction="none")(logits_MNV[member], targets_MN[member])
        torch.testing.assert_close(loss_MN[member], alone, rtol=1e-15, atol=0)


def test_the_gradient_is_softmax_minus_one_hot() -> None:
    logits_MNV, targets_MN = drawn()
    logits_MNV.requires_grad_()
    (gradient,) = torch.autograd.grad(OBJECTIVE.losses(logits_MNV, targets_MN, None).sum(), logits_MNV)
    one_hot = torch.nn.functional.one_hot(targets_MN, 5)
    torch.testing.assert_close(gradient, logits_MNV.softmax(-1) - one_hot, rtol=1e-12, atol=1e-15)


def test_a_number_added_to_all_logits_changes_nothing() -> None:
    logits_MNV, targets_MN = drawn()
    moved = OBJECTIVE.losses(logits_MNV + 100, targets_MN, None)
    torch.testing.assert_close(moved, OBJECTIVE.losses(logits_MNV, targets_MN, None), rtol=1e-11, atol=1e-13)


def test_extreme_logits_stay_finite() -> None:
    logits_MNV = torch.tensor([[[1e4, -1e4], [1e4, -1e4]]])
    loss_MN = OBJECTIVE.losses(logits_MNV, torch.tensor([[0, 1]]), None)
    torch.testing.assert_close(loss_MN, torch.tensor([[0.0, 2e4]]))


def test_scores_hold_the_code_length_and_what_is_right() -> None:
    logits_MNV, targets_MN = drawn()
    scores = OBJECTIVE.scores(logits_MNV, targets_MN, None)
    assert scores.code_length_nats_MN is not None
    assert scores.correct_MN is not None
    torch.testing.assert_close(scores.loss_MN, OBJECTIVE.losses(logits_MNV, targets_MN, None), rtol=0, atol=0)
    torch.testing.assert_close(scores.code_length_nats_MN, scores.loss_MN, rtol=0, atol=0)
    np.testing.assert_array_equal(scores.correct_MN, logits_MNV.numpy().argmax(-1) == targets_MN.numpy())
    # Right means the largest probability, so a sample below ln 2 is always right.
    assert bool(scores.correct_MN[scores.loss_MN < math.log(2)].all())


def test_it_is_what_the_configuration_names(run_config: Callable[..., RunConfig]) -> None:
    built = build_objective(run_config())
    assert isinstance(built, CrossEntropy)
    assert built.loss_name == "loss_nats"
