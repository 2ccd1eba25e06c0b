"""The estimate of memory: an upper bound of what training keeps, and a clear no before anything is allocated."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from memcap.config.memory import check_fits, member_bytes, memory_limit_bytes
from memcap.config.run_config import RunConfig
from memcap.engines.fused.curvature import Hessian
from memcap.engines.fused.team import KrylovSpaces
from memcap.errors import BadInput
from memcap.population import Population

Compose = Callable[..., RunConfig]
LONG = "exp(-x**2)*cos(x)+sigmoid(x)*tanh(x)+sqrt(1+x**2)*log1p(abs(x))+erf(x)*softplus(x)"
LIGHT = "measure=light"
FEATURES = ("data=sparse_features", "objective=squared_error")


def bytes_kept(config: RunConfig) -> int:
    """What a population of one holds in a measurement: its tensors and all that autograd has saved for it.

    With sharpness that is a Hessian-vector product, whose graph holds the backward pass as well, and Lanczos' basis.
    """
    population = Population([config])
    parameters_MP = population.parameters_MP.detach().requires_grad_()
    saved: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()  # held, so that no address is used twice
        saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = population.losses(parameters_MP, population.training_set).sum()
        if config.measure.sharpness:
            torch.autograd.grad(loss, parameters_MP, create_graph=True)
    state = [parameters_MP, parameters_MP, *population.state.values()]  # the gradient is as large
    state += (
        config.measure.sharpness
        * min(config.measure.lanczos_iterations, len(parameters_MP.T))
        * [parameters_MP]
    )
    for samples in (population.training_set, *population.evaluation_sets.values()):
        state += [samples.inputs_MND, samples.targets]
    return sum(storage.nbytes() for storage in saved.values()) + sum(tensor.nbytes for tensor in state)


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.width=64", "model.depth=3", "data.num_samples=2000", "activation=gelu"),
        ("model.width=256", "model.depth=2", "data.num_samples=50", "model.bias=true"),
        ("activation=formula", "activation.formula='x*sin(3*x)'", "data.num_samples=5000"),
        ("model=linear", "data.num_samples=3000", "data.num_classes=40", "hardware.dtype=float64"),
        (*FEATURES, "model=autoencoder", "data.num_features=100", "data.evaluation_samples=500"),
        ("data.num_samples=4000", "data.batch_size=64", "model.width=128"),
        ("activation=formula", f"activation.formula='{LONG}'", "data.num_samples=2000", "model.width=128"),
        ("data.num_samples=4", "data.num_classes=3", "model.width=1"),
    ],
)
@pytest.mark.parametrize("measure", ["measure=full", "measure=light"])
def test_the_estimate_covers_what_training_keeps(
    overrides: tuple[str, ...], measure: str, run_config: Compose
) -> None:
    config = run_config(*overrides, measure)
    needed = bytes_kept(config)
    assert needed <= member_bytes(config) <= 16 * needed


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.width=256", "model.depth=2", "data.num_samples=50"),
        ("model.width=64", "data.num_samples=3000", "data.batch_size=50", "hardware.dtype=float64"),
        ("model=linear", "data.num_samples=10", "data.input_dim=300", "data.num_classes=40"),
    ],
)
def test_the_estimate_covers_what_compiled_curvature_keeps(
    overrides: tuple[str, ...], run_config: Compose
) -> None:
    """The activations and derivatives of all samples, and the basis of Lanczos with its images."""
    config = run_config(*overrides, "measure=full", "measure.lanczos_iterations=64")
    population = Population([config])
    hessian = Hessian(population)
    itemsize = population.parameters_MP.element_size()
    most, size_R = min(64, hessian.num_parameters), hessian.vectors_MR.shape[1]
    spaces = KrylovSpaces(most, size_R, hessian.vectors_MR.dtype)
    spaces.lend(lambda space, tridiagonal: None)
    ((space, tridiagonal),) = spaces.free
    krylov = space.array.nbytes + tridiagonal.array.nbytes
    assert krylov >= (2 * most + 1) * hessian.num_parameters * itemsize
    scratch = sum(member.size * itemsize for member in hessian.members)
    rows = (hessian.vectors_MR, hessian.images_MR, hessian.roots_MR, hessian.weights_MP)
    state = sum(tensor.nbytes for tensor in (population.parameters_MP, *population.state.values()))
    kept = krylov + scratch + sum(array.nbytes for array in rows) + state
    assert kept <= member_bytes(config) <= 16 * kept


def test_the_estimate_grows_with_everything_that_takes_memory(run_config: Compose) -> None:
    base = member_bytes(run_config(LIGHT))
    for more in (
        "model.width=17",
        "model.depth=2",
        "data.num_samples=301",
        "data.num_classes=11",
        "hardware.dtype=float64",
        "measure.sharpness=true",
    ):
        assert member_bytes(run_config(LIGHT, more)) > base


def test_the_limit_is_what_was_given_or_half_of_the_machine(run_config: Compose) -> None:
    assert memory_limit_bytes(run_config("hardware.memory_gib=1.5")) == 3 * 2**29
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_limit_bytes(run_config()) == machine // 2


def test_what_fits_exactly_is_taken(run_config: Compose) -> None:
    config = run_config("hardware.memory_gib=1")
    exact = member_bytes(config) / 2**30
    check_fits(run_config(f"hardware.memory_gib={exact!r}"))
    with pytest.raises(BadInput, match=r"needs about .* GiB .*, but hardware.memory_gib allows"):
        check_fits(run_config(f"hardware.memory_gib={exact * 0.999!r}"))


@pytest.mark.parametrize(
    ("override", "size"),
    [
        ("model.width=1000000000000", "2e+13 parameters and 300 samples"),
        ("model.width=9223372036854775807", "1.84e+20 parameters"),
        ("model.depth=1000000000000", "2.56e+14 parameters"),
        ("data.num_samples=1000000000000", "1,000,000,000,000 samples"),
        ("data.num_classes=1000000000000", "1e+13 parameters"),
    ],
)
def test_what_is_too_large_says_what_it_needs(override: str, size: str, run_config: Compose) -> None:
    with pytest.raises(BadInput) as refused:
        check_fits(run_config(override, "hardware.memory_gib=2"))
    told = str(refused.value)
    assert re.search(r"needs about [\d.,]+(e\+\d+)? GiB", told)
    assert all(
        part in told for part in (override, size, "hardware.memory_gib allows 2; make it smaller or raise")
    )
    assert "\n" not in told
