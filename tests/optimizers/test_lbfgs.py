"""L-BFGS on problems whose minimum is known, its inverse Hessian against the dense recursion, its line search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from population_cases import small_config, small_population, train, training_tensors
from scipy.optimize import minimize as scipy_minimize
from torch import Tensor

from memcap.engines import BatchedEngine
from memcap.engines.batched import evaluation, gradients, updated_parameters
from memcap.optimizers import Evaluate, Lbfgs
from memcap.optimizers.lbfgs import CURVATURE, SUFFICIENT_DECREASE, _order
from memcap.oracle.softmax_optimum import softmax_optimum
from memcap.population import Population

State = dict[str, Tensor]


def differentiable(function: Callable[[Tensor], Tensor]) -> Evaluate:
    """Values [M] and gradients of a function of [M, P]."""

    def evaluate(parameters_MP: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf_MP = parameters_MP.detach().requires_grad_()
            value_M = function(leaf_MP)
            (gradient_MP,) = torch.autograd.grad(value_M.sum(), leaf_MP)
        return value_M.detach(), gradient_MP

    return evaluate


def minimized(
    function: Callable[[Tensor], Tensor],
    start_MP: Tensor,
    num_steps: int,
    *,
    history: int = 20,
    decay: float = 0.0,
    rate: float = 0.1,
) -> tuple[Tensor, State]:
    optimizer = Lbfgs(history)
    parameters_MP, count = start_MP.clone(), len(start_MP)
    shapes = optimizer.state_shapes(start_MP.shape[1])
    state = {name: start_MP.new_zeros(count, *shape) for name, shape in shapes.items()}
    given = {"learning_rate": rate, "weight_decay": decay}
    values = {name: torch.full((count,), value, dtype=torch.float64) for name, value in given.items()}
    for _ in range(num_steps):
        optimizer.step(parameters_MP, state, values, differentiable(function))
    return parameters_MP, state


def quadratic(num_parameters: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """(x - x*)ᵀ A (x - x*) / 2 with eigenvalues from 0.01 to 1, for two members, and x*."""
    generator = torch.Generator().manual_seed(5)
    target_MP = torch.randn(2, num_parameters, generator=generator, dtype=torch.float64)
    rotation_PP = torch.linalg.qr(
        torch.randn(num_parameters, num_parameters, generator=generator, dtype=torch.float64)
    ).Q
    matrix_PP = rotation_PP @ torch.diag(torch.logspace(-2, 0, num_parameters).double()) @ rotation_PP.T

    def function(x_MP: Tensor) -> Tensor:
        error_MP = x_MP - target_MP
        return (error_MP @ matrix_PP * error_MP).sum(1) / 2

    return function, target_MP


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


def rosenbrock(x_MP: Tensor) -> Tensor:
    x_M, y_M = x_MP[:, 0], x_MP[:, 1]
    return (1 - x_M) ** 2 + 100 * (y_M - x_M**2) ** 2


def test_accepted_steps_satisfy_the_weak_wolfe_conditions() -> None:
    evaluate, optimizer, accepted = differentiable(rosenbrock), Lbfgs(), 0
    parameters_MP, state = minimized(rosenbrock, torch.tensor([[-1.2, 1.0]], dtype=torch.float64), 1)
    values = {
        "learning_rate": torch.tensor([0.1]).double(),
        "weight_decay": torch.zeros(1, dtype=torch.float64),
    }
    for _ in range(70):
        before_MP, before = parameters_MP.clone(), {name: tensor.clone() for name, tensor in state.items()}
        optimizer.step(parameters_MP, state, values, evaluate)
        if not torch.equal(parameters_MP, before_MP):
            accepted += 1
            loss_M, gradient_MP = evaluate(parameters_MP)
            slope_M = before["slope"]
            assert loss_M <= before["loss"] + SUFFICIENT_DECREASE * before["length"] * slope_M + 1e-15
            assert (gradient_MP * before["direction"]).sum(1) >= CURVATURE * slope_M
    assert accepted > 25
    torch.testing.assert_close(parameters_MP, torch.ones(1, 2, dtype=torch.float64), rtol=0, atol=1e-6)


def test_the_first_trial_has_the_length_of_the_learning_rate() -> None:
    function, target_MP = quadratic(5)
    _, state = minimized(function, torch.zeros_like(target_MP), 1, rate=0.03)
    length_M = state["length"] * torch.linalg.vector_norm(state["direction"], dim=1)
    torch.testing.assert_close(length_M, torch.full((2,), 0.03, dtype=torch.float64))


def test_a_minimum_at_a_kink_is_approached() -> None:
    def kinked(x_MP: Tensor) -> Tensor:
        return x_MP[:, 0].abs() + 3 * (x_MP[:, 1] - x_MP[:, 0]).abs() + x_MP[:, 1] ** 2

    _, state = minimized(kinked, torch.tensor([[1.3, -0.7]], dtype=torch.float64), 150)
    assert 0 <= state["loss"].item() < 1e-5


def test_a_direction_that_rounding_turned_uphill_is_replaced_by_the_steepest() -> None:
    function, target_MP = quadratic(6)
    parameters_MP, state = minimized(function, torch.zeros_like(target_MP), 8)
    state["step_changes"].neg_()  # no pairs that _remember lets in
    state["length"].fill_(0.0)  # this trial is where the parameters stand: accepted, without a new pair
    values = {"learning_rate": torch.tensor([0.1, 0.1]).double(), "weight_decay": torch.zeros(2).double()}
    Lbfgs().step(parameters_MP, state, values, lambda x_MP: _flat(function, x_MP))
    torch.testing.assert_close(state["direction"], -state["gradient"])
    length_M = state["length"] * torch.linalg.vector_norm(state["direction"], dim=1)
    torch.testing.assert_close(length_M, values["learning_rate"])


def _flat(function: Callable[[Tensor], Tensor], x_MP: Tensor) -> tuple[Tensor, Tensor]:
    """Another gradient at the same place, so that the curvature condition holds there."""
    value_M, gradient_MP = differentiable(function)(x_MP)
    return value_M, gradient_MP * 0.5


def test_where_nothing_is_finite_the_parameters_stay_and_neighbours_go_on() -> None:
    function, target_MP = quadratic(6)
    whole_MP, _ = minimized(function, torch.zeros_like(target_MP), 30)
    start_MP = torch.zeros_like(target_MP)
    start_MP[0] = torch.nan
    found_MP, state = minimized(function, start_MP, 30)
    assert found_MP[0].isnan().all()
    assert torch.equal(found_MP[1], whole_MP[1])
    assert state["loss"][1].isfinite()


def test_an_overflow_is_a_trial_that_is_too_long() -> None:
    def walled(x_MP: Tensor) -> Tensor:
        return (torch.exp(x_MP) - 3 * x_MP).sum(1)

    found_MP, _ = minimized(walled, torch.zeros(1, 3, dtype=torch.float64), 60, rate=1e4)
    torch.testing.assert_close(found_MP, torch.full((1, 3), np.log(3)).double(), rtol=0, atol=1e-6)


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
