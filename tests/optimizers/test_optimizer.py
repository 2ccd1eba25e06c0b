"""The population's optimizers against torch.optim, one member at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from memcap.optimizers import OPTIMIZERS

NUM_MEMBERS, NUM_PARAMETERS, NUM_STEPS = 4, 37, 50

# A value per member; the last member decays nothing, so that mixed populations are covered.
VALUES = {
    "momentum": torch.tensor([0.9, 0.0, 0.5, 0.99], dtype=torch.float64),
    "beta1": torch.tensor([0.9, 0.0, 0.5, 0.95], dtype=torch.float64),
    "beta2": torch.tensor([0.999, 0.9, 0.5, 0.99], dtype=torch.float64),
    "epsilon": torch.tensor([1e-8, 1e-3, 1e-15, 1e-6], dtype=torch.float64),
    "weight_decay": torch.tensor([0.1, 0.01, 1.0, 0.0], dtype=torch.float64),
}


def learning_rates() -> Tensor:
    """A base rate per member times a decay to 0 at the last step, [K, M]."""
    base_M = torch.tensor([0.01, 0.1, 0.003, 0.03], dtype=torch.float64)
    return torch.linspace(1, 0, NUM_STEPS, dtype=torch.float64)[:, None] * base_M


def start(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Initial parameters [M, P] and gradient noise [K, M, P]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (NUM_MEMBERS, NUM_PARAMETERS)
    parameters_MP = torch.randn(shape, generator=generator, dtype=torch.float64)
    return parameters_MP, torch.randn((NUM_STEPS, *shape), generator=generator, dtype=torch.float64)


def gradient(parameters: Tensor, noise: Tensor) -> Tensor:
    """Depends on the parameters, so that an error at one step would grow at the next ones."""
    return parameters + torch.sin(3 * parameters) + 0.3 * noise


def population(
    kind: str, parameters_MP: Tensor, noise_KMP: Tensor, *, members: list[int], blocks: tuple[int, ...]
) -> list[Tensor]:
    """The parameters after every step of the chosen members, trained together."""
    optimizer = OPTIMIZERS[kind]
    parameters_MP, noise_KMP = parameters_MP[members].clone(), noise_KMP[:, members]
    state = {name: torch.zeros_like(parameters_MP) for name in optimizer.state_names}
    values = {name: VALUES[name][members] for name in optimizer.hyperparameters}
    rates_KM, step, trajectory = learning_rates()[:, members], 0, []
    for block in blocks:
        coefficients = optimizer.coefficients(rates_KM[step : step + block], step, values)
        assert {tuple(value.shape) for value in coefficients.values()} == {(block, len(members), 1)}
        assert {value.dtype for value in coefficients.values()} == {torch.float64}
        for row in range(block):
            c = {name: value[row].to(parameters_MP.dtype) for name, value in coefficients.items()}
            gradients_MP = gradient(parameters_MP, noise_KMP[step + row])
            before_MP = gradients_MP.clone()
            optimizer.update(parameters_MP, gradients_MP, state, c)
            torch.testing.assert_close(gradients_MP, before_MP, rtol=0, atol=0, equal_nan=True)
            trajectory.append(parameters_MP.clone())
        step += block
    return trajectory


def torch_optimizer(kind: str, parameter: Tensor, member: int) -> torch.optim.Optimizer:
    value = {name: float(value_M[member]) for name, value_M in VALUES.items()}
    if kind == "sgd":
        return torch.optim.SGD(
            [parameter], lr=1.0, momentum=value["momentum"], weight_decay=value["weight_decay"]
        )
    build: Callable[..., torch.optim.Optimizer] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    betas = (value["beta1"], value["beta2"])
    return build([parameter], lr=1.0, betas=betas, eps=value["epsilon"], weight_decay=value["weight_decay"])


def torch_trajectory(kind: str, parameters_P: Tensor, noise_KP: Tensor, member: int) -> list[Tensor]:
    parameter = parameters_P.clone().requires_grad_()
    optimizer = torch_optimizer(kind, parameter, member)
    trajectory = []
    for step in range(NUM_STEPS):
        optimizer.param_groups[0]["lr"] = float(learning_rates()[step, member])
        parameter.grad = gradient(parameter.detach(), noise_KP[step])
        optimizer.step()
        trajectory.append(parameter.detach().clone())
    return trajectory


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_equals_torch_at_every_step(kind: str) -> None:
    parameters_MP, noise_KMP = start()
    together = population(kind, parameters_MP, noise_KMP, members=[0, 1, 2, 3], blocks=(20, 1, 29))
    for member in range(NUM_MEMBERS):
        alone = torch_trajectory(kind, parameters_MP[member], noise_KMP[:, member], member)
        for step in range(NUM_STEPS):
            torch.testing.assert_close(together[step][member], alone[step], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_float32_follows_torch_in_float32(kind: str) -> None:
    parameters_MP, noise_KMP = start()
    parameters_MP, noise_KMP = parameters_MP.float(), noise_KMP.float()
    together = population(kind, parameters_MP, noise_KMP, members=[0, 1, 2, 3], blocks=(50,))
    assert together[-1].dtype == torch.float32
    for member in range(NUM_MEMBERS):
        alone = torch_trajectory(kind, parameters_MP[member], noise_KMP[:, member], member)
        torch.testing.assert_close(together[-1][member], alone[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_member_is_the_same_alone_shuffled_and_beside_nan(kind: str) -> None:
    parameters_MP, noise_KMP = start()
    alone = [population(kind, parameters_MP, noise_KMP, members=[i], blocks=(50,))[-1][0] for i in range(4)]
    shuffled = population(kind, parameters_MP, noise_KMP, members=[2, 0, 3, 1], blocks=(50,))[-1]
    poisoned_MP = parameters_MP.clone()
    poisoned_MP[1, 5], poisoned_MP[1, 6] = torch.nan, torch.inf
    beside_nan = population(kind, poisoned_MP, noise_KMP, members=[0, 1, 2, 3], blocks=(50,))[-1]
    assert beside_nan[1, 5].isnan()
    for row, member in enumerate([2, 0, 3, 1]):
        torch.testing.assert_close(shuffled[row], alone[member], rtol=1e-13, atol=1e-15)
        if member != 1:
            torch.testing.assert_close(beside_nan[member], alone[member], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_learning_rate_of_zero_leaves_the_parameters(kind: str) -> None:
    parameters_MP, noise_KMP = start()
    trajectory = population(kind, parameters_MP, noise_KMP, members=[0, 1, 2, 3], blocks=(50,))
    torch.testing.assert_close(trajectory[-1], trajectory[-2], rtol=0, atol=0)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_one_update_never_asks_the_host_for_a_value(kind: str) -> None:
    optimizer = OPTIMIZERS[kind]
    values = {name: VALUES[name] for name in optimizer.hyperparameters}
    coefficients = optimizer.coefficients(learning_rates(), 0, values)
    # Meta tensors hold no numbers: reading one raises.
    parameters_MP = torch.empty(NUM_MEMBERS, NUM_PARAMETERS, device="meta")
    state = {name: torch.empty_like(parameters_MP) for name in optimizer.state_names}
    c = {name: value[0].to(parameters_MP) for name, value in coefficients.items()}
    optimizer.update(parameters_MP, torch.empty_like(parameters_MP), state, c)
    with pytest.raises(RuntimeError):
        bool(parameters_MP.sum() > 0)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_no_weight_decay_is_no_pass_over_memory(kind: str) -> None:
    optimizer = OPTIMIZERS[kind]
    values = {name: VALUES[name] for name in optimizer.hyperparameters}
    names = set(optimizer.coefficients(learning_rates(), 0, values))
    none = {**values, "weight_decay": torch.zeros(NUM_MEMBERS, dtype=torch.float64)}
    assert len(names - set(optimizer.coefficients(learning_rates(), 0, none))) == 1


def test_first_adam_step_is_the_learning_rate_in_the_sign_of_the_gradient() -> None:
    parameters_MP, gradients_MP = torch.zeros(2, 3).double(), torch.tensor([[1e-3, -5.0, 70.0]] * 2).double()
    values = {
        "beta1": torch.tensor([0.9, 0.3]).double(),
        "beta2": torch.tensor([0.999, 0.8]).double(),
        "epsilon": torch.zeros(2).double(),
        "weight_decay": torch.zeros(2).double(),
    }
    adam = OPTIMIZERS["adam"]
    state = {name: torch.zeros_like(parameters_MP) for name in adam.state_names}
    coefficients = adam.coefficients(torch.tensor([[0.1, 0.2]]).double(), 0, values)
    adam.update(parameters_MP, gradients_MP, state, {name: value[0] for name, value in coefficients.items()})
    expected = -torch.tensor([[0.1], [0.2]]).double() * gradients_MP.sign()
    torch.testing.assert_close(parameters_MP, expected, rtol=1e-7, atol=0)


def test_momentum_at_a_constant_gradient_is_a_geometric_sum() -> None:
    momentum_M = torch.tensor([0.9, 0.0, 0.5]).double()
    parameters_MP, gradients_MP = torch.zeros(3, 1).double(), torch.full((3, 1), 2.0).double()
    sgd = OPTIMIZERS["sgd"]
    state = {"momentum_buffer": torch.zeros_like(parameters_MP)}
    values = {"momentum": momentum_M, "weight_decay": torch.zeros(3).double()}
    coefficients = sgd.coefficients(torch.ones(7, 3).double(), 0, values)
    for row in range(7):
        sgd.update(parameters_MP, gradients_MP, state, {name: c[row] for name, c in coefficients.items()})
    expected_M = 2 * (1 - momentum_M**7) / (1 - momentum_M)
    torch.testing.assert_close(state["momentum_buffer"][:, 0], expected_M, rtol=1e-14, atol=0)


def test_optimizers_are_values() -> None:
    assert OPTIMIZERS["adamw"] == dataclasses.replace(OPTIMIZERS["adam"], decoupled=True)  # type: ignore[type-var]
    assert OPTIMIZERS["adamw"] != OPTIMIZERS["adam"]
