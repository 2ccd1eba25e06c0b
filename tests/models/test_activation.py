"""Activations against closed forms in float64, and their first two derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from memcap.config.formula import parse_formula
from memcap.config.formula_tree import Binary, Call, Formula, Negate, Node, NotFinite, Number, Variable
from memcap.config.formula_tree import constant_value as constant
from memcap.errors import BadInput
from memcap.models.activation import ACTIVATION_KINDS, activation_function

Array = NDArray[np.float64]

# Beyond 40 lies the asymptotic branch of softplus; no point is a kink.
POINTS = np.array([-60.0, -5.0, -1.3, -0.4, -1e-3, 1e-3, 0.7, 1.0, 2.5, 7.0, 60.0])

NUMPY_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(0, x),
    "relu": lambda x: np.maximum(x, 0),
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log1p": np.log1p,
    "erf": special.erf,
}
NUMPY_OPERATORS: dict[str, Callable[..., Array]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "max": lambda *values: np.max(values, axis=0),
    "min": lambda *values: np.min(values, axis=0),
}


def of_formula(text: str) -> Callable[[Tensor], Tensor]:
    return activation_function("formula", values={}, formula=parse_formula(text))


def plain(kind: str) -> Callable[[Tensor], Tensor]:
    """The activation with a formula or a frequency where the kind needs one."""
    values = {"frequency": torch.full((1, 1, 1), 3.0, dtype=torch.float64)}
    return activation_function(kind, values=values, formula=parse_formula("x*sin(3*x)"))


CLOSED_FORMS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.where(x > 0, x, 0),
    "relu2": lambda x: np.where(x > 0, x**2, 0),
    "relu3": lambda x: np.where(x > 0, x**3, 0),
    "relu4": lambda x: np.where(x > 0, x**4, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * special.ndtr(x),
    "tanh": np.tanh,
    "identity": lambda x: x,
    "sin": lambda x: np.sin(3 * x),
    "formula": lambda x: x * np.sin(3 * x),
}


@pytest.mark.parametrize("kind", ACTIVATION_KINDS)
def test_closed_form(kind: str) -> None:
    x_MNW = torch.from_numpy(POINTS)[None, :, None]
    result = plain(kind)(x_MNW).numpy()[0, :, 0]
    # gelu's left tail cancels in 1 + erf; it is exact to eps·|x|.
    np.testing.assert_allclose(result, CLOSED_FORMS[kind](POINTS), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", [*NUMPY_FUNCTIONS])
def test_formula_function(name: str) -> None:
    points = np.abs(POINTS) if name in ("sqrt", "log1p") else POINTS
    result = of_formula(f"{name}(x)")(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(result, NUMPY_FUNCTIONS[name](points), rtol=1e-13)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + 1/x - 2*x", lambda x: 1 / x - x),
        ("2**x", lambda x: 2**x),
        ("-x**2", lambda x: -(x**2)),
        ("abs(x)**x", lambda x: np.abs(x) ** x),
        ("max(x, -1, x/2, 0.5)", lambda x: np.maximum(x, 0.5)),
        ("min(1, x)", lambda x: np.minimum(x, 1)),
        ("max(sin(x), cos(x))", lambda x: np.maximum(np.sin(x), np.cos(x))),
        ("x + sin(pi/6)", lambda x: x + 0.5),
        ("1 - x", lambda x: 1 - x),
    ],
)
def test_formula_closed_form(text: str, expected: Callable[[Array], Array]) -> None:
    result = of_formula(text)(torch.from_numpy(POINTS)).numpy()
    np.testing.assert_allclose(result, expected(POINTS), rtol=1e-13)


SMOOTH_FORMULAS = (
    "x*sin(3*x)",
    "exp(-x**2)*cos(x)",
    "softplus(x)*tanh(x)",
    "sigmoid(x)/(2+erf(x))",
    "sqrt(1+x**2)",
    "log1p(x**2)",
    "abs(x)**3",
    "relu(x)**3",
    "max(x,0.1*x,-1)",
    "min(x**2,1)-2**x",
    "(1+x**2)**sin(x)",
)


@pytest.mark.parametrize("kind", [*ACTIVATION_KINDS[:-1], *SMOOTH_FORMULAS])
def test_first_and_second_derivatives(kind: str) -> None:
    function = plain(kind) if kind in ACTIVATION_KINDS else of_formula(kind)
    x = torch.tensor([-1.7, -0.6, 0.3, 0.8, 2.1], dtype=torch.float64, requires_grad=True)
    x_MNW = x[None, :, None]
    assert torch.autograd.gradcheck(function, (x_MNW,))
    assert torch.autograd.gradgradcheck(function, (x_MNW,))


def test_softplus_has_no_step_at_the_threshold_of_torch() -> None:
    x = torch.tensor([19.9, 20.1, 30.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(of_formula("softplus(x)")(x).sum(), x)
    torch.testing.assert_close(1 - gradient, torch.sigmoid(-x.detach()), rtol=1e-2, atol=0)


def test_a_frequency_per_member_is_one_member_at_a_time() -> None:
    frequency_M11 = torch.tensor([1.0, 30.0, 0.2], dtype=torch.float64).reshape(3, 1, 1)
    x_MNW = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = activation_function("sin", values={"frequency": frequency_M11}, formula=None)(x_MNW)
    for member in range(3):
        values = {"frequency": frequency_M11[member : member + 1]}
        alone = activation_function("sin", values=values, formula=None)(x_MNW[member : member + 1])
        torch.testing.assert_close(together[member], alone[0], rtol=1e-15, atol=0)
        expected = torch.sin(frequency_M11[member] * x_MNW[member])
        torch.testing.assert_close(together[member], expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("kind", [*ACTIVATION_KINDS, "max(x,2**0.5)/3-pi**x", "min(x,x**2,1e-3)"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_of_the_inputs_is_kept(kind: str, dtype: torch.dtype) -> None:
    function = plain(kind) if kind in ACTIVATION_KINDS else of_formula(kind)
    x_MNW = torch.linspace(-2, 2, 24, dtype=dtype).reshape(2, 4, 3).requires_grad_()
    result = function(x_MNW)
    assert (result.dtype, result.shape) == (dtype, x_MNW.shape)
    (gradient,) = torch.autograd.grad(result.float().sum(), x_MNW)
    assert gradient.dtype == dtype
    exact = function(x_MNW.detach().double())
    rtol = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(result.detach().double(), exact, rtol=rtol, atol=rtol)


def test_unknown_kind_and_missing_formula() -> None:
    with pytest.raises(
        BadInput, match=r"activation.kind must be one of .*, got 'gleu' \(did you mean gelu\?\)"
    ):
        activation_function("gleu", values={}, formula=None)
    with pytest.raises(BadInput, match=r"activation.formula must be given for activation.kind=formula"):
        activation_function("formula", values={}, formula=None)


def numpy_value(node: Node, x: Array, noise: Callable[[Array], Array]) -> Array:
    """An evaluation of the tree that shares nothing with the one of the package."""
    if isinstance(node, Number):
        return np.full_like(x, node.value)
    if isinstance(node, Variable):
        return x
    if isinstance(node, Negate):
        return -numpy_value(node.operand, x, noise)
    children = (node.left, node.right) if isinstance(node, Binary) else node.arguments
    values = [numpy_value(child, x, noise) for child in children]
    name = node.operator if isinstance(node, Binary) else node.function
    return noise((NUMPY_OPERATORS | NUMPY_FUNCTIONS)[name](*values))


def _grow(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    pairs = st.tuples(children, children)
    return st.one_of(
        st.builds(Negate, children),
        st.builds(Binary, st.sampled_from(["+", "-", "*", "/", "**"]), children, children),
        st.builds(Call, st.sampled_from([*NUMPY_FUNCTIONS]), st.tuples(children)),
        st.builds(Call, st.sampled_from(["max", "min"]), pairs | st.tuples(children, children, children)),
    )


LEAVES: st.SearchStrategy[Node] = st.sampled_from(
    [Variable(), Number(0.5), Number(2.0), Number(3.0), Number(math.pi)]
)


@given(tree=st.recursive(LEAVES, _grow, max_leaves=8))
def test_any_formula_equals_numpy(tree: Node) -> None:
    try:
        assume(constant(tree) is None)
    except NotFinite:
        assume(False)
    x = np.linspace(-3, 3, 41) + 0.013
    result = activation_function("formula", values={}, formula=Formula(tree))(torch.from_numpy(x)).numpy()
    generator = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        exact = numpy_value(tree, x, lambda value: value)
        # Rounding at one node can grow in the next ones: how much is seen by jittering every node.
        jittered = [
            numpy_value(tree, x, lambda value: value * (1 + 1e-14 * generator.standard_normal(value.shape)))
            for _ in range(8)
        ]
        spread = np.max([np.abs(value - exact) for value in jittered], axis=0)
        tolerance = 100 * spread + 1e-13 * np.abs(exact)
    # Where the jitter decides between a value and none (sqrt near 0), there is no one answer.
    clear = np.isfinite(exact) & np.isfinite(spread)
    assert np.all(np.abs(result[clear] - exact[clear]) <= tolerance[clear])
