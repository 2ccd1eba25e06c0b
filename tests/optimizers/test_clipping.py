"""Clipping per member against torch.nn.utils.clip_grad_norm_ on that member alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from memcap.optimizers import clip_by_norm_


def gradients() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    scale_M1 = torch.tensor([[0.01], [1.0], [100.0], [0.0]], dtype=torch.float64)
    return scale_M1 * torch.randn(4, 23, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("max_norm", [0.0, 1e-7, 0.5, 1.0, 50.0, 1e9])
def test_equals_torch_member_by_member(max_norm: float) -> None:
    gradients_MP = gradients()
    norm_M = clip_by_norm_(gradients_MP, torch.full((4, 1), max_norm, dtype=torch.float64))
    for member, gradient_P in enumerate(gradients()):
        parameter = torch.zeros(23, dtype=torch.float64, requires_grad=True)
        parameter.grad = gradient_P.clone()
        norm = torch.nn.utils.clip_grad_norm_([parameter], max_norm)
        torch.testing.assert_close(norm_M[member], norm, rtol=1e-14, atol=0)
        torch.testing.assert_close(gradients_MP[member], parameter.grad, rtol=1e-14, atol=0)


def test_each_member_has_its_own_limit() -> None:
    gradients_MP = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
    norm_M = clip_by_norm_(gradients_MP, torch.tensor([[1.0], [10.0], [torch.inf]], dtype=torch.float64))
    expected = torch.tensor([[0.6, 0.8], [3.0, 4.0], [3.0, 4.0]], dtype=torch.float64)
    torch.testing.assert_close(gradients_MP, expected, rtol=1e-6, atol=0)
    assert norm_M.tolist() == [5.0, 5.0, 5.0]


def test_infinity_leaves_the_gradient_as_it_is() -> None:
    gradients_MP = gradients()
    gradients_MP[1, 3] = torch.inf
    before_MP = gradients_MP.clone()
    clip_by_norm_(gradients_MP, torch.full((4, 1), torch.inf, dtype=torch.float64))
    assert torch.equal(gradients_MP, before_MP)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_diverged_member_does_not_touch_the_others(bad: float) -> None:
    clean_MP, poisoned_MP = gradients(), gradients()
    poisoned_MP[2, 7] = bad
    max_norm_M1 = torch.full((4, 1), 0.5, dtype=torch.float64)
    clean_norm_M = clip_by_norm_(clean_MP, max_norm_M1)
    norm_M = clip_by_norm_(poisoned_MP, max_norm_M1)
    assert not norm_M[2].isfinite()
    assert poisoned_MP[2, 7].isnan()
    others = [0, 1, 3]
    assert torch.equal(poisoned_MP[others], clean_MP[others])
    assert torch.equal(norm_M[others], clean_norm_M[others])


def test_float32_stays_float32() -> None:
    gradients_MP = gradients().float()
    norm_M = clip_by_norm_(gradients_MP, torch.ones(4, 1, dtype=torch.float64))
    assert gradients_MP.dtype == norm_M.dtype == torch.float32
    assert float(torch.linalg.vector_norm(gradients_MP[2])) == pytest.approx(1.0, rel=1e-5)
