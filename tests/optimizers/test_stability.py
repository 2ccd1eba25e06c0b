"""Stability thresholds, against the optimizers themselves: below one they converge, above it they blow up."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from memcap.optimizers import OPTIMIZERS, KnowsStability

float64 = torch.float64
# Members differ in every value.
VALUES = {
    "momentum": torch.tensor([0.9, 0.0, 0.5, 0.99], dtype=float64),
    "beta1": torch.tensor([0.9, 0.0, 0.5, 0.95], dtype=float64),
    "beta2": torch.tensor([0.999, 0.9, 0.5, 0.99], dtype=float64),
    "epsilon": torch.tensor([1e-8, 1e-3, 1e-15, 1e-6], dtype=float64),
}
RATE_M = torch.tensor([0.01, 0.1, 0.5, 0.03], dtype=float64)
# Late enough that the corrections of the bias are 1, so that only v can change D.
LATE = 10**6


def values_of(kind: str, weight_decay: float) -> dict[str, Tensor]:
    values = {**VALUES, "weight_decay": torch.full((4,), weight_decay, dtype=float64)}
    return {name: values[name] for name in OPTIMIZERS[kind].hyperparameters}


def late_state(kind: str) -> dict[str, Tensor]:
    """A state as it may stand after many steps, with second moments over four decades, [M, 6]."""
    state = {name: torch.zeros(4, 6, dtype=float64) for name in OPTIMIZERS[kind].state_names}
    if "exp_avg_sq" in state:
        state["exp_avg_sq"] += torch.logspace(-4, 0, 6, dtype=float64)
    return state


def stability_of(kind: str) -> Any:
    optimizer = OPTIMIZERS[kind]
    assert isinstance(optimizer, KnowsStability)
    return optimizer


def growth(kind: str, weight_decay: float, factor: float) -> Tensor:
    """‖θ‖ after 600 steps over ‖θ‖ at the start, [M], where D⁻¹H has `factor` times the threshold on top.

    H is a random positive matrix in six dimensions; an L2 term is part of it, as the protocol says.
    """
    optimizer = stability_of(kind)
    values, state = values_of(kind, weight_decay), late_state(kind)
    random_MPP = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0), dtype=float64)
    hessian_MPP = random_MPP @ random_MPP.mT
    diagonal_MP = optimizer.preconditioner(state, LATE, values)
    root_MP = torch.ones(4, 6, dtype=float64) if diagonal_MP is None else diagonal_MP.rsqrt()
    symmetric_MPP = root_MP[:, :, None] * hessian_MPP * root_MP[:, None, :]
    top_M = torch.linalg.eigvalsh(symmetric_MPP)[:, -1]
    hessian_MPP *= (factor * optimizer.stability_threshold(RATE_M, values) / top_M)[:, None, None]
    if kind != "adamw":
        hessian_MPP -= weight_decay * torch.eye(6, dtype=float64)  # what the optimizer adds by itself
    c = {name: value[0] for name, value in optimizer.coefficients(RATE_M[None], LATE, values).items()}
    if "square_weight" in c:
        c["square_weight"] = torch.zeros_like(c["square_weight"])  # v, and with it D, stays as it is
    parameters_MP = torch.ones(4, 6, dtype=float64)
    for _ in range(600):
        gradient_MP = torch.einsum("mij,mj->mi", hessian_MPP, parameters_MP)
        optimizer.update(parameters_MP, gradient_MP, state, c)
    return parameters_MP.norm(dim=1) / math.sqrt(6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_are_stable_below_the_threshold_and_blow_up_above(kind: str, weight_decay: float) -> None:
    # Beyond by 1 %, a step without momentum multiplies by -1.02; with momentum by more.
    assert (growth(kind, weight_decay, factor=0.99) < 1).all()
    assert (growth(kind, weight_decay, factor=1.01) > 1e4).all()


def test_thresholds_in_numbers() -> None:
    rate_M = torch.tensor([0.01], dtype=float64)
    no_decay = {"weight_decay": torch.zeros(1, dtype=float64)}
    momentum = {"momentum": torch.tensor([0.9], dtype=float64), **no_decay}
    plain = {"momentum": torch.tensor([0.0], dtype=float64), **no_decay}
    beta1 = {"beta1": torch.tensor([0.9], dtype=float64), **no_decay}
    assert stability_of("sgd").stability_threshold(rate_M, plain).item() == pytest.approx(200)
    assert stability_of("sgd").stability_threshold(rate_M, momentum).item() == pytest.approx(380)
    for kind in ("adam", "adamw"):
        assert stability_of(kind).stability_threshold(rate_M, beta1).item() == pytest.approx(3800)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_at_a_learning_rate_of_zero_everything_is_stable(kind: str) -> None:
    threshold_M = stability_of(kind).stability_threshold(torch.zeros(4, dtype=float64), values_of(kind, 0.1))
    assert threshold_M.tolist() == [math.inf] * 4


@pytest.mark.parametrize("kind", ["adam", "adamw"])
@pytest.mark.parametrize("step", [1, 2, 30])
def test_preconditioner_is_what_the_step_divides_by(kind: str, step: int) -> None:
    optimizer, values = stability_of(kind), values_of(kind, 0.0)
    generator = torch.Generator().manual_seed(step)
    parameters_MP = torch.zeros(4, 6, dtype=float64)
    state = {name: torch.zeros_like(parameters_MP) for name in optimizer.state_names}
    coefficients = optimizer.coefficients(RATE_M.expand(step, 4), 0, values)
    for row in range(step):
        before_MP = parameters_MP.clone()
        gradient_MP = torch.randn(4, 6, generator=generator, dtype=float64)
        optimizer.update(parameters_MP, gradient_MP, state, {k: v[row] for k, v in coefficients.items()})
    diagonal_MP = optimizer.preconditioner(state, step, values)
    assert (diagonal_MP > 0).all()
    expected_MP = -RATE_M[:, None] * state["exp_avg"] / diagonal_MP
    torch.testing.assert_close(parameters_MP - before_MP, expected_MP, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, float64])
def test_preconditioner_of_a_parameter_that_was_never_pulled_is_epsilon(dtype: torch.dtype) -> None:
    values = values_of("adam", 0.0)
    state = {name: torch.zeros(4, 2, dtype=dtype) for name in ("exp_avg", "exp_avg_sq")}
    diagonal_MP = stability_of("adam").preconditioner(state, 3, values)
    assert diagonal_MP.dtype == dtype
    expected_M = (1 - values["beta1"] ** 3) * values["epsilon"]
    torch.testing.assert_close(diagonal_MP[:, 1].double(), expected_M, rtol=1e-6, atol=0)
    assert not state["exp_avg_sq"].any()


def test_there_is_no_preconditioner_before_the_first_step_or_without_rescaling() -> None:
    for kind in ("adam", "adamw"):
        assert stability_of(kind).preconditioner(late_state(kind), 0, values_of(kind, 0.0)) is None
    for step in (0, 7):
        assert stability_of("sgd").preconditioner(late_state("sgd"), step, values_of("sgd", 0.0)) is None


def test_a_member_is_the_same_alone_and_beside_nan() -> None:
    adam, values, state = stability_of("adam"), values_of("adam", 0.1), late_state("adam")
    state["exp_avg_sq"][1] = torch.nan
    together_MP = adam.preconditioner(state, 5, values)
    assert together_MP[1].isnan().all()
    for member in (0, 2, 3):
        own = {name: value_M[member : member + 1] for name, value_M in values.items()}
        own_state = {name: value_MP[member : member + 1] for name, value_MP in state.items()}
        assert torch.equal(adam.preconditioner(own_state, 5, own)[0], together_MP[member])


def test_an_optimizer_without_these_methods_is_still_one() -> None:
    class Plain:
        state_names = hyperparameters = ()

    assert not isinstance(Plain(), KnowsStability)
