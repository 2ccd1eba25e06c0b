"""L-BFGS without a network: functions of [M, P] with known minima, and steps on them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from memcap.optimizers import Evaluate, Lbfgs

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
    state: State | None = None,
) -> tuple[Tensor, State]:
    """Parameters and state after so many evaluations, from a new state or on from one, which changes in place."""
    optimizer = Lbfgs(history)
    parameters_MP, count = start_MP.clone(), len(start_MP)
    if state is None:
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
