"""Norms and ranks of matrices whose singular values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from memcap.measures.matrices import matrix_sizes


def with_singular_values(values: list[float], rows: int, columns: int, seed: int = 0) -> Tensor:
    """A matrix [1, rows, columns] of random singular vectors."""
    generator = np.random.default_rng(seed)
    left, _ = np.linalg.qr(generator.standard_normal((rows, rows)))
    right, _ = np.linalg.qr(generator.standard_normal((columns, columns)))
    count = len(values)
    return torch.from_numpy(left[:, :count] @ np.diag(values) @ right[:, :count].T)[None]


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (4, 9), (9, 4)])
@pytest.mark.parametrize(
    ("values", "effective", "stable"),
    [
        ([2.0], 1, 1),
        ([3.0, 3, 3, 3], 4, 4),
        ([3.0, 3], 2, 2),
        # Shares ½, ¼, ¼: entropy ½ ln 2 + ½ ln 4.
        ([2.0, 1, 1], 2**1.5, 1.5),
        ([1.0, 1e-9], 1 + 1e-9 * (1 + 9 * math.log(10)), 1),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
def test_closed_forms(
    rows: int, columns: int, values: list[float], effective: float, stable: float, scale: float
) -> None:
    sizes = matrix_sizes(scale * with_singular_values(values, rows, columns))
    assert {part.dtype for part in sizes} == {torch.float64}
    assert sizes.effective_rank_M.item() == pytest.approx(effective, rel=1e-12)
    assert sizes.stable_rank_M.item() == pytest.approx(stable, rel=1e-12)
    if scale == 1:
        assert sizes.frobenius_norm_M.item() == pytest.approx(math.hypot(*values), rel=1e-12)


def test_zero_has_no_rank_and_no_norm() -> None:
    assert [part.tolist() for part in matrix_sizes(torch.zeros(2, 3, 4))] == [[0, 0]] * 3


@given(seed=st.integers(0, 2**31), rows=st.integers(1, 8), columns=st.integers(1, 8))
def test_bounds_and_invariances(seed: int, rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights_MRC = torch.randn(3, rows, columns, generator=generator, dtype=torch.float64)
    norm_M, effective_M, stable_M = matrix_sizes(weights_MRC)
    torch.testing.assert_close(norm_M, torch.linalg.matrix_norm(weights_MRC))
    assert ((stable_M >= 1 - 1e-12) & (effective_M >= 1 - 1e-12)).all()
    assert (torch.maximum(stable_M, effective_M) <= min(rows, columns) + 1e-9).all()
    turned = matrix_sizes(-7 * weights_MRC.mT)
    torch.testing.assert_close(turned.effective_rank_M, effective_M, rtol=1e-10, atol=0)
    torch.testing.assert_close(turned.stable_rank_M, stable_M, rtol=1e-10, atol=0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_neighbours_do_not_matter(value: float) -> None:
    weights_MRC = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    alone = [matrix_sizes(weights_MRC[[m]]) for m in range(3)]
    weights_MRC[1, 2, 3] = value
    for part, found_M in enumerate(matrix_sizes(weights_MRC)):
        assert found_M[1].isnan()
        for member in (0, 2):
            torch.testing.assert_close(found_M[member], alone[member][part][0], rtol=1e-13, atol=0)
