"""Rounded parameters: grids, errors, what stays exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from memcap.errors import BadInput
from memcap.measures.rounding import INTEGER_LIMITS, ROUNDING_FORMATS, rounded
from memcap.models.model import unflatten

SHAPES: dict[str, tuple[int, ...]] = {"a.weight": (6, 5), "a.bias": (5,), "b.weight": (5, 3)}
P = 50


def drawn(seed: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(3, P, generator=generator, dtype=torch.float64).to(dtype)


def test_bf16_keeps_eight_bits_of_everything() -> None:
    values_MP = torch.tensor([[1.0, 1 + 2**-7, 1 + 2**-8, 1 + 3 * 2**-8, -math.pi, 0.0]])
    found_MP = rounded(values_MP, {"w": (6,)}, "bf16")
    # Ties go to the even neighbour; π is 3.140625 in eight bits.
    assert found_MP.tolist() == [[1.0, 1 + 2**-7, 1.0, 1 + 2**-6, -3.140625, 0.0]]


@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bf16_is_the_cast_of_torch(dtype: torch.dtype, seed: int) -> None:
    parameters_MP = drawn(seed, dtype)
    found_MP = rounded(parameters_MP, SHAPES, "bf16")
    assert found_MP.dtype == dtype
    assert torch.equal(found_MP, parameters_MP.bfloat16().to(dtype))
    assert ((found_MP - parameters_MP).abs() <= parameters_MP.abs() * 2**-8).all()


def test_integers_in_closed_form() -> None:
    """Columns of maxima 7 and 70: steps of 1 and 10 with int4; one of zeros; a bias."""
    weights = [[7.0, -12, 0], [-1.4, 70, 0], [2.6, 4, 0], [0.4, -56, 0]]
    parameters_MP = torch.tensor([[*np.ravel(weights), 0.123, 4.56, 7.89]], dtype=torch.float64)
    found_MP = rounded(parameters_MP, {"w": (4, 3), "b": (3,)}, "int4")
    expected = [[7.0, -10, 0], [-1, 70, 0], [3, 0, 0], [0, -60, 0]]
    np.testing.assert_allclose(found_MP[0], [*np.ravel(expected), 0.123, 4.56, 7.89], rtol=1e-15)
    assert torch.equal(found_MP[0, -3:], parameters_MP[0, -3:])


@pytest.mark.parametrize("name", INTEGER_LIMITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-20, 1.0, 1e20]))
def test_integers_lie_on_the_grid_of_their_neuron(
    name: str, dtype: torch.dtype, seed: int, scale: float
) -> None:
    limit, before = INTEGER_LIMITS[name], drawn(seed, dtype, scale)
    after = rounded(before, SHAPES, name)
    assert after.dtype == dtype
    for layer, shape in SHAPES.items():
        old, new = (unflatten(values, SHAPES)[layer].double() for values in (before, after))
        if len(shape) == 1:
            assert torch.equal(old, new)
            continue
        largest_M1O = old.abs().amax(1, keepdim=True)
        multiples = new / largest_M1O * limit
        torch.testing.assert_close(multiples, multiples.round(), rtol=0, atol=1e-4)
        assert (multiples.abs() <= limit + 1e-4).all()
        assert ((new - old).abs() <= largest_M1O / limit * (0.5 + 1e-5)).all()
        is_largest = old.abs() == largest_M1O
        assert torch.equal(new[is_largest], old[is_largest])


@pytest.mark.parametrize("name", ROUNDING_FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_twice_is_rounding_once(name: str, dtype: torch.dtype) -> None:
    for seed in range(200):
        once_MP = rounded(drawn(seed, dtype), SHAPES, name)
        assert torch.equal(rounded(once_MP, SHAPES, name), once_MP)


@pytest.mark.parametrize("name", ROUNDING_FORMATS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_neighbours_do_not_matter(name: str, value: float) -> None:
    parameters_MP = drawn(0, torch.float64)
    expected_MP = torch.cat([rounded(parameters_MP[[m]], SHAPES, name) for m in range(3)])
    parameters_MP[1, 0] = value
    found_MP = rounded(parameters_MP, SHAPES, name)
    assert torch.equal(found_MP[[0, 2]], expected_MP[[0, 2]])
    # The other columns of the member are its own too, and stay.
    if name != "bf16":
        column = unflatten(found_MP, SHAPES)["a.weight"][1, :, 0]
        assert column.isnan().all()
        assert found_MP[1].isnan().sum() == 6
    else:
        assert not found_MP[1, 0].isfinite()


def test_zero_stays_zero_and_the_parameters_are_left_as_they_were() -> None:
    for name in ROUNDING_FORMATS:
        zeros_MP = torch.zeros(2, P)
        assert torch.equal(rounded(zeros_MP, SHAPES, name), zeros_MP)
        before_MP = drawn(1, torch.float32)
        rounded(before_MP, SHAPES, name)
        assert torch.equal(before_MP, drawn(1, torch.float32))


def test_unknown_format() -> None:
    with pytest.raises(BadInput, match=r"must be one of bf16, int8, int4, got 'int-8' \(did you mean int8"):
        rounded(torch.zeros(1, P), SHAPES, "int-8")
