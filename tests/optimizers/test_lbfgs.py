"""L-BFGS on problems whose minimum is known, its inverse Hessian against the dense recursion, and as runs use it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lbfgs_cases import minimized, quadratic
from population_cases import small_config, small_population, train, training_tensors
from scipy.optimize import minimize as scipy_minimize

from memcap.engines import BatchedEngine
from memcap.engines.batched import evaluation, gradients, updated_parameters
from memcap.optimizers.lbfgs import _order
from memcap.oracle.softmax_optimum import softmax_optimum
from memcap.population import Population


def test_a_quadratic_of_p_dimensions_takes_a_few_p_evaluations() -> None:
    function, target_MP = quadratic(12)
    found_MP, state = minimized(function, torch.zeros_like(target_MP), 60)
    torch.testing.assert_close(found_MP, target_MP, rtol=0, atol=1e-7)
    torch.testing.assert_close(state["loss"], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("steps", [4, 9, 30])
def test_the_direction_is_that_of_the_dense_recursion(steps: int) -> None:
    """H ← (I - ρ s yᵀ) H (I - ρ y sᵀ) + ρ s sᵀ over the remembered pairs, from γ I: Nocedal and Wright 2006, 7.16."""
    function, target_MP = quadratic(12)
    _, state = minimized(function, torch.zeros_like(target_MP), steps, history=6)
    identity_PP = torch.eye(12, dtype=torch.float64)
    orders_Mh, _ = _order(state)
    for member in range(2):
        pairs = [(state["steps"][member, i], state["changes"][member, i]) for i in orders_Mh[member].tolist()]
        pairs = [(s_P, y_P) for s_P, y_P in pairs if bool((y_P != 0).any())]
        assert len(pairs) == min(6, int(state["num_pairs"][member])) > 0
        s_P, y_P = pairs[-1]
        inverse_PP = (s_P @ y_P) / (y_P @ y_P) * identity_PP
        for s_P, y_P in pairs:
            left_PP = identity_PP - torch.outer(s_P, y_P) / (s_P @ y_P)
            inverse_PP = left_PP @ inverse_PP @ left_PP.T + torch.outer(s_P, s_P) / (s_P @ y_P)
        if state["trials"][member] == 0:  # else the direction is an older gradient's
            expected_P = -inverse_PP @ state["gradient"][member]
            torch.testing.assert_close(state["direction"][member], expected_P, rtol=1e-8, atol=1e-14)


def test_weight_decay_is_part_of_what_is_minimized() -> None:
    """The minimum of a penalized softmax regression is one point: scipy's L-BFGS-B finds the same."""
    population = small_population(
        ("model=linear", "optimizer=lbfgs", "optimizer.weight_decay=0.1"), [("seed=3",), ("seed=4",)]
    )
    BatchedEngine().advance(population, 150)
    for member in range(2):
        inputs_ND, labels_N = (tensor.numpy() for tensor in training_tensors(population, member))

        def value(
            flat: np.ndarray, inputs_ND: np.ndarray = inputs_ND, labels_N: np.ndarray = labels_N
        ) -> float:
            logits_NV = inputs_ND @ flat.reshape(inputs_ND.shape[1], -1)
            codes_N = np.logaddexp.reduce(logits_NV, axis=1) - logits_NV[np.arange(len(labels_N)), labels_N]
            return float(codes_N.mean() + 0.05 * (flat**2).sum())

        peer = scipy_minimize(value, np.zeros(12), method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
        np.testing.assert_allclose(population.parameters_MP[member].numpy(), peer.x, atol=1e-5)


def test_a_linear_model_reaches_its_exact_optimum() -> None:
    common = ("model=linear", "optimizer=lbfgs", "data.input_dim=10", "data.num_classes=10")
    population = small_population((*common, "data.num_samples=100"), [(f"seed={seed}",) for seed in range(3)])
    BatchedEngine().advance(population, 200)
    loss_M = population.losses(population.parameters_MP, population.training_set)
    for member in range(3):
        inputs_ND, labels_N = (tensor.numpy() for tensor in training_tensors(population, member))
        best = softmax_optimum(inputs_ND, labels_N, 10).loss_nats
        assert best > 0.1, "not separable, or nothing would be compared"
        assert loss_M[member].item() == pytest.approx(best, abs=1e-9)


def test_evaluations_are_losses_and_gradients_of_the_whole_training_set() -> None:
    members = [("data.num_samples=9",), ("data.num_samples=14",)]  # one of them padded
    population = small_population(("optimizer=lbfgs",), members)
    loss_M, gradient_MP = evaluation(population)(population.parameters_MP)
    torch.testing.assert_close(loss_M, population.losses(population.parameters_MP, population.training_set))
    torch.testing.assert_close(gradient_MP, gradients(population, population.training_set))


def test_the_update_that_is_measured_is_the_next_trial_and_changes_nothing() -> None:
    population = small_population(("optimizer=lbfgs",), [("seed=1",), ("seed=2",)])
    BatchedEngine().advance(population, 7)
    before = population.saved()
    copies = {name: tensor.clone() for name, tensor in before["state"].items()}
    foreseen_MP = updated_parameters(population, gradients(population, population.training_set))
    assert all(torch.equal(copies[name], tensor) for name, tensor in population.saved()["state"].items())
    BatchedEngine().advance(population, 1)
    assert torch.equal(population.parameters_MP, foreseen_MP)


def test_however_a_training_is_split_the_bits_are_the_same() -> None:
    def population() -> Population:
        return small_population(("optimizer=lbfgs", "hardware.dtype=float32"), [("seed=1",), ("seed=2",)])

    whole, parts = population(), population()
    BatchedEngine().advance(whole, 40)
    for num_steps in (1, 2, 17, 20):
        BatchedEngine().advance(parts, num_steps)
    assert torch.equal(whole.parameters_MP, parts.parameters_MP)


def test_a_run_says_that_no_stability_is_known() -> None:
    recorder = train([small_config("optimizer=lbfgs")])
    row = recorder.ends[0].row
    assert "sharpness/top_eigenvalue" in row
    assert not [name for name in row if "preconditioned" in name or "threshold" in name]
    assert row["train/loss_nats"] < recorder.rows[0][0]["train/loss_nats"]
