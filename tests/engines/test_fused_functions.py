"""Float32 functions of the fused engine against float64, in units of the last place."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import torch
from population_cases import small_config

from memcap.config.formula import parse_formula
from memcap.engines.fused.machine_code import address
from memcap.engines.fused.program import PIECES, Op, activation_program

MOST_ULP = 2.0
COUNT = 1 << 16


def step(
    op: Op, a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...], number: float
) -> tuple[np.ndarray, ...]:
    """One operation on registers with derivatives."""
    count = len(a[0])
    scratch = np.concatenate([*a, *b, np.zeros(2 * count, a[0].dtype)])
    piece = next(name for name, ops in PIECES.items() if op in ops)
    function = ctypes.CFUNCTYPE(ctypes.c_int32)(address(f"operations.{piece}", scratch.dtype.name))
    places = [int(op), 0, count, 2 * count, 3 * count, number, 4 * count, 5 * count, count]
    nothing = ctypes.c_void_p()
    function(
        ctypes.byref(nothing), ctypes.byref(nothing), ctypes.c_void_p(scratch.ctypes.data),
        *(ctypes.c_double(p) if isinstance(p, float) else ctypes.c_int64(p) for p in places),
    )  # fmt: skip
    return scratch[4 * count : 5 * count].copy(), scratch[5 * count : 6 * count].copy()


def applied(op: Op, x: np.ndarray) -> np.ndarray:
    """Values of a function of x."""
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    return step(op, (x, ones), (zeros, zeros), 0.0)[0]


def ulps(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest error in units of the last place of the exact float32."""
    rounded = exact.astype(np.float32)
    return float((np.abs(found.astype(np.float64) - exact) / np.spacing(np.abs(rounded))).max())


def spread(lowest: float, highest: float) -> np.ndarray:
    """Arguments over a range, small ones and those around 0."""
    rng = np.random.default_rng(0)
    parts = [
        rng.uniform(lowest, highest, COUNT),
        rng.standard_normal(COUNT),
        1e-4 * rng.standard_normal(COUNT),
    ]
    return np.clip(np.concatenate(parts), lowest, highest).astype(np.float32)


EXACT: dict[Op, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    Op.EXP: (np.exp, -103.0, 88.7),
    Op.TANH: (np.tanh, -12.0, 12.0),
    Op.ERF: (scipy.special.erf, -5.0, 5.0),
    Op.SIN: (np.sin, -99999.0, 99999.0),
    Op.COS: (np.cos, -99999.0, 99999.0),
}


@pytest.mark.parametrize("op", EXACT)
def test_float32_is_within_two_units_of_the_last_place(op: Op) -> None:
    exact, lowest, highest = EXACT[op]
    x = spread(lowest, highest)
    assert ulps(applied(op, x), exact(x.astype(np.float64))) <= MOST_ULP


@pytest.mark.parametrize("op", [Op.SIN, Op.COS])
def test_sines_of_large_arguments_are_the_libraries(op: Op) -> None:
    x = (10.0 ** np.random.default_rng(1).uniform(4, 30, COUNT)).astype(np.float32)
    assert ulps(applied(op, x), EXACT[op][0](x.astype(np.float64))) <= MOST_ULP


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits_and_nan(dtype: type) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1000.0, -1000.0] + [0.0] * 10, dtype=dtype)
    limits = {
        Op.EXP: [np.inf, 0, 1, np.inf, 0],
        Op.TANH: [1, -1, 0, 1, -1],
        Op.ERF: [1, -1, 0, 1, -1],
        Op.SIGMOID: [1, 0, 0.5, 1, 0],
        Op.RELU: [np.inf, 0, 0, 1000, 0],
    }
    for op, expected in limits.items():
        value = applied(op, x)
        assert np.isnan(value[0]), op
        np.testing.assert_array_equal(value[1:6], np.array(expected, dtype=dtype), err_msg=str(op))


def test_float64_is_that_of_the_library() -> None:
    x = np.random.default_rng(2).standard_normal(4096) * 5
    for op, exact in ((Op.EXP, np.exp), (Op.TANH, np.tanh), (Op.SIN, np.sin), (Op.ERF, scipy.special.erf)):
        np.testing.assert_allclose(applied(op, x), exact(x), rtol=5e-16, atol=0)


def torch_activation(formula: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and derivative as the batched engine has them."""
    from memcap.models.activation import activation_function

    x = x.clone().requires_grad_()
    value = activation_function("formula", values={}, formula=parse_formula(formula))(x)
    (derivative,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), derivative


def run_program(formula: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A program, operation after operation."""
    config = small_config("activation=formula", f"activation.formula={formula}")
    operations, numbers = activation_program(config.activation)
    registers = [(x, np.ones_like(x))]
    for (_, code, left, right), number in zip(operations, numbers, strict=True):
        registers.append(step(Op(code), registers[left], registers[right], float(number)))
    return registers[-1]


FORMULAS = (
    "x", "-x", "x+x*x", "1-x", "x-1", "x*x-x/3", "2/x", "x/(x*x+0.5)", "x**2", "x**7", "x**9", "x**0.5", "x**-1",
    "x**0", "2**x", "0**x", "x**x", "(x*x)**x", "max(x,0.1*x)", "min(x,0.5)", "max(x,-x,0.3)", "min(x,x)", "max(x,0)",
    "sin(x)", "cos(3*x)", "exp(-x*x)", "tanh(x)", "sigmoid(2*x)", "softplus(x)", "softplus(50*x)", "relu(x)",
    "abs(x)", "sqrt(abs(x))", "log1p(abs(x))", "erf(x)", "x*sin(3*x)+max(x,0.1*x,-x)**2/(1+exp(x))",
)  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
def test_values_and_derivatives_are_those_of_torch(formula: str) -> None:
    x = np.concatenate([np.random.default_rng(3).standard_normal(125) * 2, [0.0, 0.5, -0.3]])
    value, derivative = run_program(formula, x)
    expected, expected_derivative = torch_activation(formula, torch.from_numpy(x))
    np.testing.assert_allclose(value, expected.numpy(), rtol=1e-13, atol=1e-300, equal_nan=True)
    np.testing.assert_allclose(
        derivative, expected_derivative.numpy(), rtol=1e-12, atol=1e-14, equal_nan=True
    )
