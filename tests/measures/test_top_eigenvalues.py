"""Several top eigenvalues against dense float64 ones: multiple, missing, preconditioned, beside any neighbour."""

from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch
from matrix_cases import matrix, products, randn, top_eigenvalue
from torch import Tensor

from memcap.errors import BadInput
from memcap.measures.sharpness import Eigenpairs, preconditioned, top_eigenvalues

float64 = torch.float64


def dense_top(matrices_MPP: Tensor, count: int) -> Tensor:
    return torch.linalg.eigvalsh(matrices_MPP).flip(1)[:, :count]


def some_matrices() -> Tensor:
    """Outliers above a bulk; a spectrum below zero; one of very small scale."""
    outliers_P = torch.cat([torch.linspace(-1, 1, 54), torch.tensor([2.0, 3, 3.5, 5, 7, 20])])
    return torch.stack(
        [matrix(outliers_P, seed=0), matrix(outliers_P - 30, seed=1), 1e-9 * matrix(outliers_P, seed=2)]
    )


@pytest.mark.parametrize("count", [1, 2, 6, 10])
def test_values_are_those_of_the_dense_matrix_and_residuals_are_true(count: int) -> None:
    matrices_MPP = some_matrices()
    pairs = top_eigenvalues(products(matrices_MPP), randn(3, 60, seed=3), count=count, tolerance=1e-8)
    torch.testing.assert_close(pairs.values_ME, dense_top(matrices_MPP, count), rtol=1e-10, atol=0)
    identity_EE = torch.eye(count, dtype=float64).expand(3, -1, -1)
    torch.testing.assert_close(pairs.vectors_MEP @ pairs.vectors_MEP.mT, identity_EE, rtol=0, atol=1e-10)
    images_MEP = pairs.vectors_MEP @ matrices_MPP
    true_ME = (images_MEP - pairs.values_ME[:, :, None] * pairs.vectors_MEP).norm(dim=2)
    scale_M1 = pairs.values_ME.abs().amax(dim=1, keepdim=True)
    assert ((pairs.residuals_ME - true_ME).abs() <= 1e-4 * true_ME + 1e-13 * scale_M1).all()
    assert (pairs.residuals_ME <= 1e-8 * pairs.values_ME.abs() + 1e-13 * scale_M1).all()


def test_more_values_take_more_products_and_the_first_ones_only_get_better() -> None:
    product, start_MP = products(some_matrices()), randn(3, 60, seed=3)
    few, many = (top_eigenvalues(product, start_MP, count=count) for count in (2, 6))
    assert (many.iterations_M > few.iterations_M).all()
    assert (many.residuals_ME[:, 0] < few.residuals_ME[:, 0]).all()


def test_no_member_is_frozen_before_its_space_holds_all_that_are_asked_for() -> None:
    product, start_MP = products(some_matrices()), randn(3, 60, seed=3)
    pairs = top_eigenvalues(product, start_MP, count=5, fewest=1, tolerance=10.0, check_every=1)
    assert pairs.iterations_M.tolist() == [5, 5, 5]
    assert pairs.values_ME.isfinite().all()


def test_a_matrix_with_fewer_eigenvalues_has_nan_in_the_rest() -> None:
    matrices_MPP = torch.stack([matrix(torch.tensor([3.0, -1, 2]), seed=i) for i in range(2)])
    pairs = top_eigenvalues(products(matrices_MPP), randn(2, 3, seed=5), count=5)
    expected_ME = torch.tensor([[3.0, 2, -1, math.nan, math.nan]] * 2, dtype=float64)
    torch.testing.assert_close(pairs.values_ME, expected_ME, equal_nan=True)
    assert pairs.residuals_ME.isnan().tolist() == expected_ME.isnan().tolist()
    assert pairs.vectors_MEP.isnan().all(dim=2).tolist() == expected_ME.isnan().tolist()


@pytest.mark.parametrize("num_starts", [1, 2, 3, 5])
def test_each_start_shows_one_copy_of_a_multiple_eigenvalue(num_starts: int) -> None:
    spectrum_P = torch.tensor([5.0] * 3 + [4.0] * 2 + [1.0] * 4 + [0.0] * 31)
    product, starts = products(matrix(spectrum_P, seed=0)[None]), randn(5, 1, 40, seed=1)
    more_starts = list(starts[1:num_starts])
    pairs = top_eigenvalues(product, starts[0], count=6, more_starts=more_starts, tolerance=1e-10)
    # With rounding's help a start may see more copies than one, but never what is not there.
    sure = {1: [5.0, 4, 1, 0], 2: [5.0, 5, 4, 4, 1, 1], 3: [5.0, 5, 5, 4, 4, 1], 5: [5.0, 5, 5, 4, 4, 1]}
    values = [value for value in pairs.values_ME[0].tolist() if not math.isnan(value)]
    for lower, value, true in zip(sure[num_starts], values, [5.0, 5, 5, 4, 4, 1], strict=False):
        assert lower - 1e-9 <= value <= true + 1e-9
    assert len(values) >= len(sure[num_starts])
    assert all(min(abs(value - true) for true in (5, 4, 1, 0)) < 1e-9 for value in values)
    real_EP = pairs.vectors_MEP[0, : len(values)]
    identity_EE = torch.eye(len(real_EP), dtype=float64)
    torch.testing.assert_close(real_EP @ real_EP.T, identity_EE, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, float64])
def test_kronecker_structure_of_a_linear_model_is_seen_with_v_starts(dtype: torch.dtype) -> None:
    inputs_ND = randn(50, 12, seed=0)
    gram_DD = inputs_ND.T @ inputs_ND / 50
    matrices_MPP = torch.kron(gram_DD, torch.eye(3, dtype=float64))[None]
    starts = randn(3, 1, 36, seed=1).to(dtype)
    product = products(matrices_MPP.to(dtype))
    pairs = top_eigenvalues(product, starts[0], count=7, more_starts=list(starts[1:]), tolerance=1e-4)
    torch.testing.assert_close(pairs.values_ME, dense_top(matrices_MPP, 7), rtol=1e-5, atol=0)
    assert pairs.vectors_MEP.dtype == dtype


def test_starts_with_nothing_new_change_nothing() -> None:
    matrices_MPP = matrix(torch.tensor([3.0, 2, 1, -4]), seed=0)[None]
    start_MP = randn(1, 4, seed=1)
    once = top_eigenvalues(products(matrices_MPP), start_MP, count=4)
    again = top_eigenvalues(
        products(matrices_MPP), start_MP, count=4, more_starts=[start_MP, randn(1, 4, seed=2)]
    )
    assert torch.equal(once.values_ME, again.values_ME)
    assert torch.equal(once.vectors_MEP, again.vectors_MEP)


def test_what_is_left_of_a_low_rank_matrix_is_zero_and_not_noise() -> None:
    matrices_MPP = torch.stack([1e6 * matrix(torch.tensor([1.0] + [0.0] * 29), seed=0)] * 2)
    starts = randn(3, 2, 30, seed=1)
    pairs = top_eigenvalues(products(matrices_MPP), starts[0], count=4, more_starts=list(starts[1:]))
    torch.testing.assert_close(
        pairs.values_ME, torch.tensor([[1e6, 0, 0, 0]] * 2, dtype=float64), rtol=1e-12, atol=1e-8
    )
    # Each further start is given up at its first check.
    assert pairs.iterations_M.tolist() == [4, 4]


def test_a_warm_start_takes_fewer_products() -> None:
    matrices_MPP = some_matrices()[:1]
    cold = top_eigenvalues(products(matrices_MPP), randn(1, 60, seed=3), count=4)
    noise_MP = randn(1, 60, seed=4)
    warm_MP = cold.vectors_MEP.sum(dim=1) + 0.1 * noise_MP / noise_MP.norm()
    warm = top_eigenvalues(products(matrices_MPP), warm_MP, count=4)
    assert warm.iterations_M.item() < cold.iterations_M.item()
    torch.testing.assert_close(warm.values_ME, dense_top(matrices_MPP, 4), rtol=1e-5, atol=0)


@pytest.mark.parametrize("with_preconditioner", [False, True])
@pytest.mark.parametrize("copies", [1, 2])
def test_member_alone_equals_in_population_shuffled_and_beside_nan(
    copies: int, with_preconditioner: bool
) -> None:
    # Members whose spectra decay at different rates, so that they are frozen at different checks.
    spectra = [torch.logspace(0, -1 - i, 24 // copies).repeat_interleave(copies) for i in range(4)]
    matrices_MPP = torch.stack([matrix(spectrum_P, seed=i) for i, spectrum_P in enumerate(spectra)])
    diagonal_MP, starts = randn(4, 24, seed=4).exp(), randn(2, 4, 24, seed=5)

    def measure(members: list[int], spoiled: int | None = None) -> Eigenpairs:
        chosen_MPP = matrices_MPP[members].clone()
        if spoiled is not None:
            chosen_MPP[spoiled] = math.nan
        product = products(chosen_MPP)
        if with_preconditioner:
            product = preconditioned(product, diagonal_MP[members])
        start_MP, second_MP = starts[:, members]
        return top_eigenvalues(product, start_MP, count=3, more_starts=[second_MP], check_every=2)

    def assert_same(pairs: Eigenpairs, row: int, alone: Eigenpairs) -> None:
        own = Eigenpairs(*(field[row : row + 1] for field in pairs))
        torch.testing.assert_close(own.values_ME, alone.values_ME, rtol=1e-10, atol=0)
        if copies == 1 or with_preconditioner:
            # Equal eigenvalues have no vectors of their own, and which of them is first is rounding.
            torch.testing.assert_close(own.residuals_ME, alone.residuals_ME, rtol=1e-5, atol=1e-9)
            torch.testing.assert_close(own.vectors_MEP, alone.vectors_MEP, rtol=0, atol=1e-7)
            assert own.iterations_M.tolist() == alone.iterations_M.tolist()

    together, order, spoiled = measure([0, 1, 2, 3]), [2, 0, 3, 1], 1
    shuffled, beside_nan = measure(order), measure([0, 1, 2, 3], spoiled)
    for member in range(4):
        alone = measure([member])
        assert_same(together, member, alone)
        assert_same(shuffled, order.index(member), alone)
        if member != spoiled:
            assert_same(beside_nan, member, alone)
    assert beside_nan.values_ME[spoiled].isnan().all()
    assert beside_nan.vectors_MEP[spoiled].isnan().all()


@pytest.mark.parametrize(
    "knobs", [{"count": 0}, {"count": 1, "check_every": 0}, {"count": 5, "max_iterations": 4}]
)
def test_bad_knobs_are_refused(knobs: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="count="):
        top_eigenvalues(lambda vector_MP: vector_MP, randn(1, 9, seed=0), **knobs)  # type: ignore[arg-type]


@pytest.mark.parametrize("decades", [0, 2, 8])
def test_preconditioned_eigenvalues_are_those_of_the_generalized_problem(decades: int) -> None:
    matrices_MPP = some_matrices()[:2]
    diagonal_MP = 10 ** (
        decades * (torch.rand(2, 60, generator=torch.Generator().manual_seed(1)).double() - 1)
    )
    product = preconditioned(products(matrices_MPP), diagonal_MP)
    pairs = top_eigenvalues(product, randn(2, 60, seed=2), count=3, tolerance=1e-9)
    for member in range(2):
        expected, _ = scipy.linalg.eigh(matrices_MPP[member].numpy(), torch.diag(diagonal_MP[member]).numpy())
        torch.testing.assert_close(
            pairs.values_ME[member], torch.from_numpy(expected[::-1][:3].copy()), rtol=1e-8, atol=0
        )
    # Back in the parameters: H u = λ D u with u = D^(−1/2) v.
    vectors_MP = pairs.vectors_MEP[:, 0] * diagonal_MP.rsqrt()
    images_MP = products(matrices_MPP)(vectors_MP)
    expected_MP = pairs.values_ME[:, :1] * diagonal_MP * vectors_MP
    torch.testing.assert_close(images_MP, expected_MP, rtol=1e-5, atol=1e-5 * float(images_MP.abs().max()))


def test_a_constant_preconditioner_divides_the_eigenvalue() -> None:
    product, start_MP = products(some_matrices()), randn(3, 60, seed=3)
    constant_MP = torch.tensor([[4.0], [0.25], [1e6]], dtype=float64).expand(3, 60)
    plain = top_eigenvalue(product, start_MP, tolerance=1e-9)
    divided = top_eigenvalue(preconditioned(product, constant_MP), start_MP, tolerance=1e-9)
    torch.testing.assert_close(divided.value_M, plain.value_M / constant_MP[:, 0], rtol=1e-10, atol=0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_preconditioner_that_is_not_positive_is_nan_for_its_member_only(bad: float) -> None:
    product, start_MP = products(some_matrices()), randn(3, 60, seed=3)
    diagonal_MP = torch.full((3, 60), 2.0, dtype=float64)
    good = top_eigenvalue(preconditioned(product, diagonal_MP), start_MP)
    diagonal_MP[1, 4] = bad
    spoiled = top_eigenvalue(preconditioned(product, diagonal_MP), start_MP)
    assert spoiled.value_M.isnan().tolist() == [False, bad != math.inf, False]
    assert torch.equal(spoiled.value_M[[0, 2]], good.value_M[[0, 2]])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run on a machine with one")
def test_gpu_gives_the_values_of_the_cpu() -> None:
    matrices_MPP, starts = some_matrices(), randn(2, 3, 60, seed=3)
    found = []
    for device in ("cpu", "cuda"):
        first_MP, second_MP = starts.to(device)
        product = products(matrices_MPP.to(device))
        found.append(top_eigenvalues(product, first_MP, count=3, more_starts=[second_MP], tolerance=1e-8))
    assert all(field.is_cuda for field in found[1])
    torch.testing.assert_close(found[1].values_ME.cpu(), found[0].values_ME, rtol=1e-9, atol=0)
