"""The fused engine against the batched one, from equal states."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from population_cases import small_config, small_population
from torch import Tensor

from memcap.batch import Batch
from memcap.config.run_config import RunConfig
from memcap.engines import BatchedEngine, build_engine
from memcap.engines.batched import gradients
from memcap.engines.fused.engine import FusedEngine, Member
from memcap.engines.fused.scalars import StepScalars
from memcap.optimizers import clip_by_norm_
from memcap.population import Population

ONE_STEP = 1e-12  # relative, float64: loss, gradient, update
HUNDRED_STEPS = 1e-10
SAMPLES = (14, 9, 600)  # less than a register, more than a block of 512

MODELS = (
    ("model=linear",),
    ("model=linear", "model.bias=true"),
    ("model.width=1",),
    ("model.bias=true", "model.depth=3", "model.residual=true", "model.width=7"),
    ("model.depth=2", "model.output_dim=2", "model.width=13"),
    ("model.depth=4", "model.residual=true", "model.width=3"),
)
ACTIVATIONS = (
    *(
        (f"activation={name}",)
        for name in ("relu", "relu2", "relu3", "relu4", "silu", "gelu", "tanh", "identity")
    ),
    ("activation=sin", "activation.frequency=3"),
    *(
        ("activation=formula", f"activation.formula={formula}")
        for formula in ("x*sin(3*x)", "max(x,0.1*x)", "log1p(abs(x))", "x/(x*x+0.5)", "softplus(x)-2**-x")
    ),
)
OPTIMIZERS = (
    ("optimizer=sgd", "optimizer.learning_rate=0.05"),
    ("optimizer=sgd", "optimizer.momentum=0.9", "optimizer.weight_decay=0.01"),
    ("optimizer=adam",),
    ("optimizer=adam", "optimizer.weight_decay=0.1", "optimizer.beta1=0", "optimizer.beta2=0.3"),
    ("optimizer=adamw", "optimizer.weight_decay=0.1"),
)
OTHERS = (
    ("objective=squared_error",),
    ("optimizer.clip_norm=0.05",),
    ("data.batch_size=5",),
    ("schedule=cosine", "schedule.warmup_steps=7"),
    ("data.num_classes=2",),
    ("data.input_dim=1",),
)
SPARSE = ("data=sparse_features", "objective=squared_error", "data.batch_size=null")


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, ...]:
    """Overrides that name a combination of everything that the fused engine trains."""
    common = [*draw(st.sampled_from(MODELS)), *draw(st.sampled_from(ACTIVATIONS))]
    common += draw(st.sampled_from(OPTIMIZERS))
    for other in draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=3)):
        common += other
    return tuple(common)


def copied(population: Population) -> Population:
    """The same state in memory of its own."""
    twin = copy.copy(population)
    twin.parameters_MP = population.parameters_MP.clone()
    assert population.state is not None
    twin.state = {name: value.clone() for name, value in population.state.items()}
    return twin


def members(*common: str, samples: Sequence[int] = SAMPLES) -> Population:
    own = [(f"seed={seed}", f"data.num_samples={count}") for seed, count in enumerate(samples)]
    return small_population(common, own)


def assert_close(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    assert expected.isfinite().all(), what
    error = (found - expected).norm()
    assert error <= tolerance * expected.norm() + 1e-300, f"{what}: {error:.2e} of {expected.norm():.2e}"


def loss_and_gradient(population: Population, place: int) -> tuple[float, Tensor]:
    """What the kernel makes of one step of a member, which is trained on the way."""
    member = Member(population, place, wants_loss=True)
    scratch = member.steps(StepScalars().of(population, place, 1))()
    count = population.parameters_MP.shape[1]
    gradient_P = scratch[member.places.gradient : member.places.gradient + count]
    return float(scratch[member.places.loss]), torch.from_numpy(gradient_P.copy())


def batch_of(population: Population) -> Batch:
    batches = population.batches(population.step, 1)
    return population.training_set if batches is None else next(batches)


def assert_one_step_agrees(population: Population) -> None:
    batch = batch_of(population)
    losses_M = population.losses(population.parameters_MP, batch).detach()
    gradients_MP = gradients(population, batch)
    clip_by_norm_(gradients_MP, population.values["clip_norm"][:, None])
    fused, batched = copied(population), copied(population)
    BatchedEngine().advance(batched, 1)
    for place in range(len(population)):
        loss, gradient_P = loss_and_gradient(fused, place)
        assert_close(torch.tensor(loss, dtype=torch.float64), losses_M[place], ONE_STEP, "loss")
        assert_close(gradient_P, gradients_MP[place], ONE_STEP, "gradient")
        assert_close(fused.parameters_MP[place], batched.parameters_MP[place], ONE_STEP, "parameters")
        for name, value_MP in batched.state.items():
            assert_close(fused.state[name][place], value_MP[place], ONE_STEP, name)


@settings(max_examples=60)
@given(cases(), st.sampled_from((0, 1, 13)))
def test_a_step_is_that_of_the_batched_engine(common: tuple[str, ...], steps: int) -> None:
    population = members(*common)
    BatchedEngine().advance(population, steps)
    losses_M = population.losses(population.parameters_MP, population.training_set)
    assume(bool((losses_M < 1e6).all()))  # some that are drawn diverge
    assert_one_step_agrees(population)


CUT_BELOW_A_ROOT = ("sqrt(relu(x))", "x*max(x,0)**0.5", "tanh(1/relu(x))")
CUT_AND_FINITE = (
    "x/(1+relu(x))",
    "log1p(relu(x))",
    "sqrt(0.1+max(x,0))",
    "relu(x)**1.5",
    "2**relu(x)",
    "sqrt(abs(x))",
)


@pytest.mark.parametrize("formula", [*CUT_BELOW_A_ROOT, *CUT_AND_FINITE])
def test_a_slope_that_is_cut_off_is_that_of_the_batched_engine(formula: str) -> None:
    config = small_config("activation=formula", f"activation.formula={formula}")
    chosen, batched = Population([config]), Population([config])
    engine = build_engine([config])
    assert engine.name == ("batched" if formula in CUT_BELOW_A_ROOT else "fused")
    engine.advance(chosen, 3)
    BatchedEngine().advance(batched, 3)
    assert_close(chosen.parameters_MP, batched.parameters_MP, ONE_STEP, formula)


@pytest.mark.parametrize("model", [("model=linear",), ("model.width=6", "model.bias=true")])
def test_features_with_importance(model: tuple[str, ...]) -> None:
    decays = ["data.importance_decay=0.9", "data.importance_decay=0.5"]
    own = [("seed=0", "data.num_samples=11", decays[0]), ("seed=1", "data.num_samples=40", decays[1])]
    assert_one_step_agrees(small_population((*SPARSE, *model), own))
    assert_one_step_agrees(small_population((*SPARSE, *model, "objective.use_importance=false"), own))


def with_data(config: RunConfig, **changes: Tensor) -> Population:
    population = Population([config])
    population.training_set = dataclasses.replace(population.training_set, **changes)
    return population


def test_data_of_another_shape_than_their_configuration_says() -> None:
    """Of a data set of one's own: what torch broadcasts is broadcast, what it refuses is not read past its end."""
    features, labels = small_config(*SPARSE, "model=mlp", "data.num_samples=9"), small_config()
    full = Population([features]).training_set
    fused, batched = (with_data(features, targets=full.targets[..., :1]) for _ in range(2))
    FusedEngine().advance(fused, 1)
    BatchedEngine().advance(batched, 1)
    assert_close(fused.parameters_MP, batched.parameters_MP, ONE_STEP, "one target for all outputs")
    refused = (
        with_data(features, inputs_MND=full.inputs_MND[..., :3]),
        with_data(features, targets=full.targets[..., :2]),
        with_data(labels, targets=Population([labels]).training_set.targets + 3),
    )
    for population in refused:
        with pytest.raises((ValueError, RuntimeError, IndexError)):
            BatchedEngine().advance(population, 1)
        with pytest.raises(ValueError, match=r"inputs|labels|broadcast"):
            FusedEngine().advance(population, 1)


STABLE = {
    "linear": ("model=linear", "model.bias=true", "optimizer=sgd", "optimizer.learning_rate=0.1"),
    "relu, adam": ("activation=relu", "optimizer.learning_rate=0.001"),
    "silu, deep, adamw": ("activation=silu", "model.depth=3", "model.residual=true", "optimizer=adamw"),
    "gelu, mini-batches": ("activation=gelu", "data.batch_size=7", "model.bias=true"),
    "tanh, clipped, cosine": ("activation=tanh", "optimizer.clip_norm=0.1", "schedule=cosine"),
    "squared error": ("objective=squared_error", "activation=tanh"),
}


@pytest.mark.parametrize("name", STABLE)
def test_a_hundred_steps_of_stable_trainings(name: str) -> None:
    batched = members(*STABLE[name])
    fused = copied(batched)
    BatchedEngine().advance(batched, 100)
    FusedEngine().advance(fused, 100)
    assert_close(fused.parameters_MP, batched.parameters_MP, HUNDRED_STEPS, name)


@pytest.mark.parametrize("frequency", [30, 100])
def test_chaotic_trainings_differ_as_much_as_by_the_order_of_samples(frequency: int) -> None:
    overrides = ("activation=sin", f"activation.frequency={frequency}", "optimizer.learning_rate=0.003")
    batched = members(*overrides, samples=(60, 60))
    fused, permuted = copied(batched), copied(batched)
    full = batched.training_set
    permuted.training_set = dataclasses.replace(
        full, inputs_MND=full.inputs_MND.flip(1), targets=full.targets.flip(1)
    )
    for population in (batched, permuted):
        BatchedEngine().advance(population, 30)
    FusedEngine().advance(fused, 30)
    by_order = (permuted.parameters_MP - batched.parameters_MP).norm()
    assert 0 < (fused.parameters_MP - batched.parameters_MP).norm() <= 100 * by_order


def test_float32_is_as_near_to_float64_as_the_batched_engine() -> None:
    for activation in ACTIVATIONS:
        overrides = ("model.bias=true", "optimizer.learning_rate=0.001", *activation)
        exact = members(*overrides)
        batched, fused = (members(*overrides, "hardware.dtype=float32") for _ in range(2))
        for engine, population in (
            (BatchedEngine(), exact),
            (BatchedEngine(), batched),
            (FusedEngine(), fused),
        ):
            engine.advance(population, 5)
        errors = [(p.parameters_MP.double() - exact.parameters_MP).norm() for p in (batched, fused)]
        assert errors[1] <= 3 * errors[0] + 1e-6 * exact.parameters_MP.norm(), activation
