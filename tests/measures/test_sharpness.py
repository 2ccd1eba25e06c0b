"""Sharpness against closed forms and dense Hessians in float64, then its behaviour beside any neighbour."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_cases import Eigenpair, matrix, products, randn, top_eigenvalue
from torch import Tensor

from memcap.errors import BadInput
from memcap.measures.krylov import FEWEST_PRODUCTS
from memcap.measures.sharpness import dense_hessian, hessian_vector_products

float64 = torch.float64
Loss = Callable[[Tensor], Tensor]


def _least_squares(inputs_MNP: Tensor, targets_MN: Tensor) -> Loss:
    def loss(parameters_MP: Tensor) -> Tensor:
        predictions_MN = torch.einsum("mnp,mp->mn", inputs_MNP, parameters_MP)
        return 0.5 * (predictions_MN - targets_MN).square().mean(dim=1)

    return loss


def _mlp(inputs_MND: Tensor, labels_MN: Tensor, *, width: int, num_classes: int) -> Loss:
    """Mean cross-entropy of one tanh layer; width 0 is softmax regression."""
    num_inputs = inputs_MND.shape[2]
    split = [num_inputs * width, width * num_classes] if width else [num_inputs * num_classes]

    def loss(parameters_MP: Tensor) -> Tensor:
        weights = parameters_MP.split(split, dim=1)
        hidden_MNF = inputs_MND
        if width:
            hidden_MNF = torch.tanh(torch.bmm(inputs_MND, weights[0].reshape(-1, num_inputs, width)))
        head_MFV = weights[-1].reshape(len(parameters_MP), hidden_MNF.shape[2], num_classes)
        logits_MNV = torch.bmm(hidden_MNF, head_MFV)
        target_logit_MN = logits_MNV.gather(2, labels_MN[:, :, None])[:, :, 0]
        return (logits_MNV.logsumexp(dim=2) - target_logit_MN).mean(dim=1)

    return loss


def _mlp_problem(num_members: int, *, width: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, labels and parameters of members with D = V = 4 and N = 15."""
    inputs_MND = randn(num_members, 15, 4, seed=seed)
    labels_MN = randn(num_members, 15, 4, seed=seed + 1).argmax(dim=2)
    num_parameters = 8 * width if width else 16
    return inputs_MND, labels_MN, randn(num_members, num_parameters, seed=seed + 2)


def _true_residual(matrices_MPP: Tensor, pair: Eigenpair) -> Tensor:
    return (products(matrices_MPP)(pair.vector_MP) - pair.value_M[:, None] * pair.vector_MP).norm(dim=1)


def _assert_same(pair: Eigenpair, expected: Eigenpair) -> None:
    torch.testing.assert_close(pair.value_M, expected.value_M, rtol=1e-9, atol=0)
    assert pair.iterations_M.tolist() == expected.iterations_M.tolist()
    # An eigenvector has no sign, but the start gives it one; small entries are noise of the norm.
    torch.testing.assert_close(pair.vector_MP, expected.vector_MP, rtol=0, atol=1e-7)
    torch.testing.assert_close(pair.residual_M, expected.residual_M, rtol=1e-5, atol=1e-9)


def _member(pair: Eigenpair, index: int) -> Eigenpair:
    return Eigenpair(*(field[index : index + 1] for field in pair))


def test_least_squares_has_the_top_eigenvalue_of_its_grammatrix() -> None:
    inputs_MNP, targets_MN = randn(3, 40, 12, seed=0), randn(3, 40, seed=1)
    loss = _least_squares(inputs_MNP, targets_MN)
    gram_MPP = inputs_MNP.mT @ inputs_MNP / 40
    parameters_MP = randn(3, 12, seed=2)
    product = hessian_vector_products(loss, parameters_MP)
    pair = top_eigenvalue(product, randn(3, 12, seed=3), tolerance=1e-10)
    torch.testing.assert_close(dense_hessian(loss, parameters_MP), gram_MPP, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(pair.value_M, torch.linalg.eigvalsh(gram_MPP)[:, -1], rtol=1e-12, atol=0)


def test_softmax_regression_hessian_is_its_closed_form() -> None:
    # H = 1/N Σ_n x xᵀ ⊗ (diag p − p pᵀ)
    inputs_MND, labels_MN, parameters_MP = _mlp_problem(2, width=0, seed=4)
    probability_MNV = torch.softmax(inputs_MND @ parameters_MP.reshape(2, 4, 4), dim=2)
    covariance_MNVV = (
        torch.diag_embed(probability_MNV) - probability_MNV[..., None] * probability_MNV[..., None, :]
    )
    closed_form = torch.einsum("mni,mnj,mnab->miajb", inputs_MND, inputs_MND, covariance_MNVV) / 15
    dense_MPP = dense_hessian(_mlp(inputs_MND, labels_MN, width=0, num_classes=4), parameters_MP)
    torch.testing.assert_close(dense_MPP, closed_form.reshape(2, 16, 16), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("width", [0, 6])
def test_lanczos_agrees_with_the_dense_hessian(width: int) -> None:
    inputs_MND, labels_MN, parameters_MP = _mlp_problem(4, width=width, seed=5)
    loss = _mlp(inputs_MND, labels_MN, width=width, num_classes=4)
    dense_MPP = dense_hessian(loss, parameters_MP)
    torch.testing.assert_close(dense_MPP, dense_MPP.mT, rtol=1e-10, atol=1e-13)
    product = hessian_vector_products(loss, parameters_MP)
    pair = top_eigenvalue(product, randn(*parameters_MP.shape, seed=6), tolerance=1e-8)
    torch.testing.assert_close(pair.value_M, torch.linalg.eigvalsh(dense_MPP)[:, -1], rtol=1e-10, atol=0)
    torch.testing.assert_close(pair.residual_M, _true_residual(dense_MPP, pair), rtol=1e-4, atol=1e-12)
    torch.testing.assert_close(pair.vector_MP.norm(dim=1), torch.ones(4, dtype=float64))


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_reported_residual_is_true_and_bounds_the_error(tolerance: float) -> None:
    matrices_MPP = torch.stack([matrix(torch.linspace(-3, 1 + 0.2 * i, 80), seed=i) for i in range(4)])
    pair = top_eigenvalue(products(matrices_MPP), randn(4, 80, seed=9), tolerance=tolerance)
    torch.testing.assert_close(pair.residual_M, _true_residual(matrices_MPP, pair), rtol=1e-6, atol=1e-13)
    assert (pair.iterations_M < 64).all()
    assert (pair.residual_M <= tolerance * pair.value_M * (1 + 1e-6)).all()
    eigenvalues_MP = torch.linalg.eigvalsh(matrices_MPP)
    distance_M = (eigenvalues_MP - pair.value_M[:, None]).abs().amin(dim=1)
    assert (distance_M <= pair.residual_M + 1e-13).all()
    assert (pair.value_M <= eigenvalues_MP[:, -1] + 1e-13).all()


def test_too_few_iterations_are_admitted_by_the_residual() -> None:
    matrices_MPP = matrix(torch.linspace(-1, 1, 100), seed=0)[None]
    pair = top_eigenvalue(products(matrices_MPP), randn(1, 100, seed=1), max_iterations=5, tolerance=1e-6)
    assert pair.iterations_M.item() == 5
    assert pair.residual_M.item() > 1e-3
    assert abs(1 - pair.value_M.item()) < pair.residual_M.item()


def test_warm_start_takes_fewer_iterations() -> None:
    matrices_MPP = torch.stack([matrix(torch.linspace(-1, 1, 200), seed=i) for i in range(3)])
    cold = top_eigenvalue(products(matrices_MPP), randn(3, 200, seed=1))
    drifted_MPP = matrices_MPP + 1e-3 * torch.stack([matrix(torch.linspace(-1, 1, 200), seed=7)] * 3)
    noise_MP = randn(3, 200, seed=2)
    warm_MP = cold.vector_MP + 0.1 * noise_MP / noise_MP.norm(dim=1, keepdim=True)
    warm = top_eigenvalue(products(drifted_MPP), warm_MP)
    assert (warm.iterations_M < cold.iterations_M).all()
    torch.testing.assert_close(warm.value_M, torch.linalg.eigvalsh(drifted_MPP)[:, -1], rtol=1e-4, atol=0)


def test_noise_frees_a_warm_start_from_an_eigenvector_that_is_no_longer_the_top() -> None:
    spectrum_P = torch.cat([torch.linspace(-1, 1, 58), torch.tensor([2.0, 3.0])])
    matrices_MPP = matrix(spectrum_P, seed=3)[None]
    second_MP = torch.linalg.eigh(matrices_MPP).eigenvectors[:, :, -2]
    assert top_eigenvalue(products(matrices_MPP), second_MP).value_M.item() == pytest.approx(2.0)
    noise_MP = randn(1, 60, seed=4)
    noisy_MP = second_MP + 0.1 * noise_MP / noise_MP.norm()
    assert top_eigenvalue(products(matrices_MPP), noisy_MP).value_M.item() == pytest.approx(3.0, rel=1e-4)


def test_convergence_is_asked_for_after_the_fewest_products() -> None:
    """Also of a start that looks converged: an eigenvector that is no longer the top, with a little noise."""
    spectrum_P = torch.cat([torch.linspace(-1, 1, 58), torch.tensor([2.0, 3.0])])
    product = products(matrix(spectrum_P, seed=3)[None])
    second_MP = torch.linalg.eigh(matrix(spectrum_P, seed=3)).eigenvectors[None, :, -2]
    start_MP = second_MP + 1e-4 * randn(1, 60, seed=4)
    assert top_eigenvalue(product, start_MP, fewest=1, check_every=1).value_M.item() == pytest.approx(2.0)
    pair = top_eigenvalue(product, start_MP, tolerance=1e9)
    assert pair.iterations_M.item() == FEWEST_PRODUCTS
    assert top_eigenvalue(product, start_MP).iterations_M.item() >= FEWEST_PRODUCTS


@pytest.mark.parametrize("check_every", [1, 4, 1000])
def test_invariant_subspaces_end_early_without_nan(check_every: int) -> None:
    matrices_MPP = torch.stack(
        [
            torch.zeros(9, 9, dtype=float64),
            2 * torch.eye(9, dtype=float64),
            # Two distinct eigenvalues, both negative: a zero of padding must not pass for the top.
            matrix(torch.tensor([-5.0] * 4 + [-2.0] * 5), seed=1),
            1e-12 * matrix(torch.arange(9), seed=2),
        ]
    )
    pair = top_eigenvalue(
        products(matrices_MPP), randn(4, 9, seed=0), tolerance=1e-9, check_every=check_every
    )
    torch.testing.assert_close(
        pair.value_M, torch.tensor([0, 2, -2, 8e-12], dtype=float64), rtol=1e-9, atol=0
    )
    assert pair.iterations_M[:3].tolist() == [1, 1, 2]
    assert (pair.residual_M <= torch.tensor([0, 1e-14, 1e-14, 1e-20], dtype=float64)).all()
    torch.testing.assert_close(pair.vector_MP.norm(dim=1), torch.ones(4, dtype=float64))


@pytest.mark.parametrize("num_parameters", [1, 2, 5])
def test_fewer_parameters_than_iterations(num_parameters: int) -> None:
    matrices_MPP = matrix(torch.arange(num_parameters) - 7.0, seed=0)[None]
    pair = top_eigenvalue(products(matrices_MPP), randn(1, num_parameters, seed=1), tolerance=0.0)
    assert pair.value_M.item() == pytest.approx(num_parameters - 8.0, rel=1e-12)
    assert pair.iterations_M.item() == num_parameters


def test_linear_loss_has_no_curvature() -> None:
    slope_MP = randn(2, 6, seed=0)
    for loss in (lambda p_MP: (slope_MP * p_MP).sum(dim=1), lambda p_MP: torch.ones(2, dtype=float64)):
        pair = top_eigenvalue(hessian_vector_products(loss, slope_MP), randn(2, 6, seed=1))
        assert pair.value_M.tolist() == [0.0, 0.0]
        assert pair.residual_M.tolist() == [0.0, 0.0]


def test_parameters_in_which_the_loss_is_linear_or_absent_have_zero_rows() -> None:
    dense_MPP = dense_hessian(lambda p_MP: p_MP[:, 0] ** 2 + 3 * p_MP[:, 1], randn(2, 3, seed=0))
    expected_PP = torch.diag(torch.tensor([2.0, 0.0, 0.0], dtype=float64))
    assert torch.equal(dense_MPP, expected_PP.expand(2, 3, 3))


def test_products_hold_at_the_given_parameters_when_training_goes_on() -> None:
    parameters_MP = torch.full((1, 2), 2.0, dtype=float64)
    with torch.no_grad():
        product = hessian_vector_products(lambda p_MP: (p_MP**3).sum(dim=1), parameters_MP)
    parameters_MP += 100
    assert product(torch.ones(1, 2, dtype=float64)).tolist() == [[12.0, 12.0]]
    assert not parameters_MP.requires_grad


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), num_members=st.integers(2, 5), data=st.data())
def test_member_alone_equals_in_population_shuffled_and_beside_nan(
    seed: int, num_members: int, data: st.DataObject
) -> None:
    inputs_MND, labels_MN, parameters_MP = _mlp_problem(num_members, width=3, seed=seed)
    # Members of very different sharpness, so that they are frozen at different checks.
    parameters_MP *= torch.logspace(-2, 0.5, num_members, dtype=float64)[:, None]
    start_MP = randn(*parameters_MP.shape, seed=seed + 3)

    def measure(order: list[int], spoiled: int | None = None) -> Eigenpair:
        chosen_MP = parameters_MP[order].clone()
        if spoiled is not None:
            chosen_MP[spoiled] = math.nan
        loss = _mlp(inputs_MND[order], labels_MN[order], width=3, num_classes=4)
        return top_eigenvalue(hessian_vector_products(loss, chosen_MP), start_MP[order], check_every=2)

    together = measure(list(range(num_members)))
    order = data.draw(st.permutations(range(num_members)))
    shuffled = measure(order)
    spoiled = data.draw(st.integers(0, num_members - 1))
    beside_nan = measure(list(range(num_members)), spoiled)
    for member in range(num_members):
        alone = measure([member])
        _assert_same(_member(together, member), alone)
        _assert_same(_member(shuffled, order.index(member)), alone)
        if member != spoiled:
            _assert_same(_member(beside_nan, member), alone)
    assert beside_nan.value_M[spoiled].isnan()
    assert beside_nan.residual_M[spoiled].isnan()
    assert beside_nan.vector_MP[spoiled].isnan().all()


def test_infinite_products_and_zero_starts_are_nan_for_their_member_only() -> None:
    matrices_MPP = torch.stack([matrix(torch.arange(20), seed=0)] * 3)
    matrices_MPP[1, 0, 0] = math.inf
    start_MP = randn(1, 20, seed=1).repeat(3, 1)
    start_MP[2] = 0.0
    pair = top_eigenvalue(products(matrices_MPP), start_MP)
    assert pair.value_M.isnan().tolist() == [False, True, True]
    # They are given up at the first check instead of being carried to the end.
    assert pair.iterations_M[1:].tolist() == [FEWEST_PRODUCTS] * 2
    _assert_same(_member(pair, 0), top_eigenvalue(products(matrices_MPP[:1]), start_MP[:1]))


@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_precision_that_the_dtype_does_not_have_ends_finite(dtype: torch.dtype, accuracy: float) -> None:
    matrices_MPP = torch.stack([matrix(torch.linspace(-1, 2 + i, 50), seed=i) for i in range(3)])
    pair = top_eigenvalue(
        products(matrices_MPP.to(dtype)), randn(3, 50, seed=0).to(dtype), tolerance=1e-12, max_iterations=50
    )
    assert pair.vector_MP.dtype == dtype
    torch.testing.assert_close(pair.value_M, torch.tensor([2.0, 3, 4], dtype=float64), rtol=accuracy, atol=0)
    assert (pair.residual_M <= 10 * accuracy * pair.value_M).all()


def test_subnormal_curvature_is_not_nan() -> None:
    # Where softmax saturates, float32 second derivatives sink below 1e-38.
    spectrum_P = torch.tensor([1e-40] + [0.0] * 9, dtype=float64)
    pair = top_eigenvalue(products(matrix(spectrum_P, seed=0).float()[None]), randn(1, 10, seed=1).float())
    assert pair.value_M.item() == pytest.approx(1e-40, rel=1e-3)


def test_start_is_not_changed_and_bad_knobs_are_refused() -> None:
    start_MP = randn(1, 4, seed=0)
    before_MP = start_MP.clone()
    top_eigenvalue(products(torch.eye(4, dtype=float64)[None]), start_MP)
    assert torch.equal(start_MP, before_MP)
    with pytest.raises(BadInput, match="max_iterations=0"):
        top_eigenvalue(lambda vector_MP: vector_MP, start_MP, max_iterations=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run on a machine with one")
def test_gpu_gives_the_value_of_the_cpu() -> None:
    inputs_MND, labels_MN, parameters_MP = _mlp_problem(4, width=6, seed=5)
    start_MP = randn(*parameters_MP.shape, seed=6)
    pairs = []
    for device in ("cpu", "cuda"):
        loss = _mlp(inputs_MND.to(device), labels_MN.to(device), width=6, num_classes=4)
        pairs.append(
            top_eigenvalue(hessian_vector_products(loss, parameters_MP.to(device)), start_MP.to(device))
        )
    assert all(field.is_cuda for field in pairs[1])
    _assert_same(Eigenpair(*(field.cpu() for field in pairs[1])), pairs[0])
