"""Gradient norms: totals, layers, small numbers, neighbours."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memcap.measures.gradients import gradient_norms

LAYOUT = [("hidden", slice(0, 4)), ("head", slice(4, 7)), ("hidden", slice(7, 9))]


def test_norms_of_known_vectors() -> None:
    gradients_MP = torch.tensor([[3.0, 4.0, 0, 0, 0, 0, 12.0, 0, 0], [0, 0, 0, 2.0, 0, 0, 0, 0, 0]])
    norms = gradient_norms(gradients_MP, LAYOUT[:2])
    assert {name: norm_M.tolist() for name, norm_M in norms.items()} == {
        "gradients/norm": [13.0, 2.0],
        "gradients/norm/hidden": [5.0, 2.0],
        "gradients/norm/head": [12.0, 0.0],
    }


def test_gradients_too_small_to_square_in_float32_have_a_norm() -> None:
    norms = gradient_norms(torch.full((1, 9), 1e-30, dtype=torch.float32), LAYOUT)
    assert norms["gradients/norm"].item() == pytest.approx(3e-30, rel=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_squares_of_layers_add_up_and_neighbours_do_not_matter(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gradients_MP = torch.randn(4, 9, generator=generator, dtype=torch.float64)
    gradients_MP[2] = math.nan
    norms = gradient_norms(gradients_MP, LAYOUT)
    total_M = torch.hypot(norms["gradients/norm/hidden"], norms["gradients/norm/head"])
    torch.testing.assert_close(total_M, norms["gradients/norm"], rtol=1e-12, atol=0, equal_nan=True)
    for name, norm_M in norms.items():
        assert norm_M[2].isnan()
        alone_M = gradient_norms(gradients_MP[1:2], LAYOUT)[name]
        torch.testing.assert_close(norm_M[1:2], alone_M, rtol=1e-12, atol=0)
