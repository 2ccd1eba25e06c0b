"""Products of samples and weights against einsum, in either layout."""

from __future__ import annotations

import pytest
import torch

from memcap.models.product import product

# Samples, inputs, outputs; the samples lie innermost where there are as many of them as outputs.
SIZES = {"inner": (40, 7, 5), "equal": (6, 3, 6), "outer": (4, 7, 9)}


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "strided"])
@pytest.mark.parametrize("size", SIZES)
def test_product_with_its_first_and_second_derivatives(size: str, strided: bool, biased: bool) -> None:
    num_samples, fan_in, fan_out = SIZES[size]
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(3, *shape, generator=generator, dtype=torch.float64).requires_grad_()

    inputs_MNI = drawn(fan_in, num_samples).mT if strided else drawn(num_samples, fan_in)
    weight_MIO, bias_MO = drawn(fan_in, fan_out), drawn(fan_out)
    expected = torch.einsum("mni,mio->mno", inputs_MNI, weight_MIO)
    found = product(inputs_MNI, weight_MIO, bias_MO if biased else None)
    if biased:
        expected = expected + bias_MO[:, None, :]
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    leaves = [inputs_MNI, weight_MIO, *([bias_MO] if biased else [])]
    first = [torch.autograd.grad(y.tanh().sum(), leaves, create_graph=True) for y in (found, expected)]
    second = [torch.autograd.grad(sum(g.square().sum() for g in own), leaves) for own in first]  # type: ignore[union-attr, arg-type]
    torch.testing.assert_close(first[0], first[1], rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(second[0], second[1], rtol=1e-12, atol=1e-12)


def test_the_longer_axis_lies_innermost() -> None:
    weight_MIO = torch.ones(2, 7, 5)
    assert product(torch.ones(2, 5, 7), weight_MIO).stride() == (25, 1, 5)
    assert product(torch.ones(2, 4, 7), weight_MIO).stride() == (20, 5, 1)


def test_a_member_sees_nothing_of_a_neighbour_that_is_nan() -> None:
    inputs_MNI = torch.ones(2, 6, 3, dtype=torch.float64)
    inputs_MNI[0] = torch.nan
    weight_MIO = torch.ones(2, 3, 4, dtype=torch.float64)
    assert product(inputs_MNI, weight_MIO)[1].eq(3).all()
