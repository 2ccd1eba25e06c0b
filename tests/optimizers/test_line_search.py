"""The line search of L-BFGS: which trials it accepts, which come next, and how it ends where none will do."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from lbfgs_cases import differentiable, minimized, quadratic
from torch import Tensor

from memcap.optimizers import Lbfgs
from memcap.optimizers.lbfgs import CURVATURE, MOST_TRIALS, SUFFICIENT_DECREASE


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


def test_a_search_without_a_lower_point_moves_nothing_and_forgets_the_history() -> None:
    function, target_MP = quadratic(6)
    start_MP, state = minimized(function, torch.zeros_like(target_MP), 8)
    is_turned_M = torch.tensor([True, False])

    def turned(x_MP: Tensor) -> Tensor:
        """The same values; a member's gradient points downhill, so that all of its directions rise."""
        value_M = function(x_MP)
        return torch.where(is_turned_M, 2 * value_M.detach() - value_M, value_M)

    before_MP, state = minimized(turned, start_MP, 1, state=state)  # the trial of a direction that falls
    num_pairs_M = state["num_pairs"].clone()
    found_MP, state = minimized(turned, before_MP, MOST_TRIALS - 1, state=state)
    assert state["num_pairs"][0] == num_pairs_M[0] > 5
    found_MP, state = minimized(turned, found_MP, 1, state=state)
    assert torch.equal(found_MP[0], before_MP[0])
    assert state["num_pairs"][0] == 0
    assert not any(state[name][0].any() for name in ("steps", "changes", "step_changes", "change_changes"))
    torch.testing.assert_close(state["direction"][0], -state["gradient"][0])
    torch.testing.assert_close(found_MP[1], target_MP[1], rtol=0, atol=1e-7)
    assert state["num_pairs"][1] > num_pairs_M[1]


def test_the_last_trial_is_the_longest_that_lowered_enough() -> None:
    """-x is never flat: one member doubles its step for ever, the other's comes ever closer to a wall at 1."""
    wall_M = torch.tensor([torch.inf, 1.0])

    def falling(x_MP: Tensor) -> Tensor:
        return torch.where(x_MP[:, 0] > wall_M, 1.0, -x_MP[:, 0])

    start_MP = torch.zeros(2, 1, dtype=torch.float64)
    length, lower, upper = 0.1, 0.0, math.inf
    for _ in range(MOST_TRIALS - 1):
        lower, upper = (length, upper) if length <= 1 else (lower, length)
        length = (lower + upper) / 2 if upper < math.inf else 2 * length
    before_MP, _ = minimized(falling, start_MP, MOST_TRIALS)  # the first evaluation is that of the start
    assert torch.equal(before_MP, start_MP)
    found_MP, state = minimized(falling, start_MP, MOST_TRIALS + 1)
    assert 1 - 1e-5 < lower <= 1
    expected_M = torch.tensor([0.1 * 2 ** (MOST_TRIALS - 2), lower], dtype=torch.float64)
    torch.testing.assert_close(found_MP[:, 0], expected_M, rtol=1e-14, atol=0)
    assert state["trials"].tolist() == [0, 0]


def test_a_trial_may_raise_the_loss_by_four_roundings_of_it() -> None:
    start_MP, target_MP = torch.zeros(2, 3), torch.tensor([[1.0, -2.0, 0.5]]).expand(2, 3)
    roundings_M = torch.tensor([4.0, 5.0]) * torch.finfo(torch.float32).eps

    def plateau(x_MP: Tensor) -> Tensor:
        """1, and so much more away from the start; its gradient is far below what float32 has in the value."""
        below_M = 1e-5 * (x_MP - target_MP).square().sum(1)
        return below_M - below_M.detach() + 1 + roundings_M * (x_MP != start_MP).any(1)

    found_MP, _ = minimized(plateau, start_MP, 30)
    torch.testing.assert_close(found_MP[0], target_MP[0], rtol=0, atol=1e-5)
    assert torch.equal(found_MP[1], start_MP[1])
