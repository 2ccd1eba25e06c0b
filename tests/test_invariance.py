"""A member is the same alone, in a population, shuffled and beside a neighbour that is NaN or diverges."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from population_cases import small_config
from torch import Tensor

from memcap.batch import Batch
from memcap.config.run_config import RunConfig
from memcap.engines import BatchedEngine
from memcap.engines.batched import gradients
from memcap.measures.end_of_run import Arrays
from memcap.measures.observation import Observer, Row
from memcap.population import Population

ONE_STEP = 1e-10  # relative, on the gradient and on one update from equal state
SEVERAL_STEPS = 1e-8  # relative, after that many: rounding grows along a training
MEASURES = 1e-8
WARM_UP_STEPS, NUM_STEPS = 2, 6

Overrides = tuple[str, ...]

MODELS: dict[str, tuple[Overrides, ...]] = {
    "linear": (("model.bias=false",), ("model.bias=true",)),
    "mlp": (
        ("model.bias=false",),
        ("model.bias=true", "model.depth=2", "model.residual=true"),
        ("model.depth=2", "model.output_dim=2"),
        ("model.bias=true", "model.initialization=gaussian"),
    ),
    "autoencoder": (("model.tied=true",), ("model.tied=false",), ("model.bias=false",)),
}
PLAIN = ("relu", "relu2", "relu3", "relu4", "silu", "gelu", "tanh", "identity", "sin")
FORMULAS = ("x*sin(3*x)", "max(x,0.1*x)", "log1p(abs(x))", "x/(x*x+0.5)")
ACTIVATIONS: tuple[Overrides, ...] = (
    *((f"activation={name}",) for name in PLAIN),
    *(("activation=formula", f"activation.formula={formula}") for formula in FORMULAS),
)
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "wsd")
BATCHING = ("full", "mini", "fresh")
LABELS_OBJECTIVES = ("cross_entropy", "squared_error")


def data_overrides(model: str, batching: str, objective: str) -> Overrides:
    """Data, objective and batch size that fit the model."""
    sizes: Overrides = ("data.batch_size=null" if batching == "full" else "data.batch_size=4",)
    if model != "autoencoder" and batching != "fresh":
        return (f"objective={objective}", *sizes)
    sizes += ("data.num_samples=null" if batching == "fresh" else "data.num_samples=9",)
    return ("data=sparse_features", "objective=squared_error", *sizes)


def member_overrides(number: int, common: Sequence[str], values: dict[str, float | None]) -> Overrides:
    """What the configuration has of the drawn values of a member."""
    config = small_config(*common)
    own = [f"seed={number * 7 + 1}", "model.initialization_scale=" + str(values["scale"])]
    if config.data.num_samples is not None:
        own.append(f"data.num_samples={values['num_samples']}")
    for group in ("data", "optimizer", "schedule", "activation"):
        names = {field.name for field in dataclasses.fields(getattr(config, group))} - {"num_samples"}
        drawn = {name: values[name] for name in values if name in names}
        own += [f"{group}.{name}={'null' if v is None else v}" for name, v in drawn.items()]
    if config.optimizer.kind == "sgd":
        own.append(f"optimizer.learning_rate={5 * (values['learning_rate'] or 0)}")
    return tuple(own)


MEMBER_VALUES = {
    "num_samples": (9, 14, 6, 12),
    "scale": (1.0, 0.7, 1.2, 1.0),
    "learning_rate": (0.002, 0.02, 0.01, 0.0003),
    "weight_decay": (0.0, 0.1, 0.01, 0.0),
    "clip_norm": (None, 0.1, 10.0, 0.02),
    "momentum": (0.0, 0.9, 0.5, 0.3),
    "beta1": (0.9, 0.0, 0.5, 0.95),
    "beta2": (0.999, 0.9, 0.5, 0.99),
    "epsilon": (1e-8, 1e-3, 1e-6, 1e-4),
    "warmup_steps": (0, 5, 3, 20),
    "floor": (0.0, 0.5, 1.0, 0.1),
    "decay_fraction": (0.2, 0.0, 1.0, 0.5),
    "frequency": (1.0, 3.0, -0.5, 7.0),
    "active_probability": (0.4, 0.7, 1.0, 0.5),
    "importance_decay": (0.9, 0.5, 1.0, 0.7),
}


EIGENVALUES = ("sharpness/preconditioned", "sharpness/eigenvalue_2")


@dataclasses.dataclass
class Look:
    """All that is compared of a member, from one state on."""

    gradients_MP: Tensor
    batch_gradients_MP: Tensor
    rows: list[Row]
    updated: dict[str, Tensor]
    updated_rows: list[Row]
    final_MP: Tensor
    end_rows: list[Row]
    arrays: list[Arrays]


def look(population: Population) -> Look:
    """Gradients, rows of every measure, one update, rows again (with a warm start), and some steps more."""
    observer = Observer(population)
    gradients_MP = gradients(population, population.training_set)
    batch_gradients_MP = gradients(population, _next_batch(population))
    rows = observer.observe(population)
    BatchedEngine().advance(population, 1)
    updated = {"parameters": population.parameters_MP.clone()}
    updated |= {name: value.clone() for name, value in population.state.items()}
    updated_rows = observer.observe(population)
    BatchedEngine().advance(population, NUM_STEPS)
    final_MP, (end_rows, arrays) = population.parameters_MP.clone(), observer.end(population)
    return Look(gradients_MP, batch_gradients_MP, rows, updated, updated_rows, final_MP, end_rows, arrays)


def _next_batch(population: Population) -> Batch:
    batches = population.batches(population.step, 1)
    return population.training_set if batches is None else next(batches)


def gather(configs: Sequence[RunConfig], sources: Sequence[Population]) -> Population:
    """A population of these configurations in the states of populations of one."""
    population = Population(configs)
    population.step = sources[0].step
    population.parameters_MP = torch.cat([source.parameters_MP for source in sources])
    population.state = {
        name: torch.cat([source.state[name] for source in sources]) for name in population.state
    }
    return population


def assert_close(found_P: Tensor, expected_P: Tensor, tolerance: float, what: str) -> None:
    assert expected_P.isfinite().all(), what
    error = (found_P - expected_P).norm()
    assert error <= tolerance * expected_P.norm() + 1e-15, f"{what}: {error:.2e} of {expected_P.norm():.2e}"


def assert_same_row(found: Row, expected: Row) -> None:
    assert found.keys() == expected.keys()
    pairs = {name: f"{name}_residual" for name in found if name in EIGENVALUES}
    pairs |= {"sharpness/top_eigenvalue": "sharpness/residual"} if "sharpness/residual" in found else {}
    for name, residual in pairs.items():
        slack = found[residual] + expected[residual] + MEASURES * (abs(expected[name]) + 1)
        assert abs(found[name] - expected[name]) <= slack
        # The residual is a bound for any start; from equal starts, rounding is all that differs.
        assert found[name] == pytest.approx(expected[name], rel=1e-7, abs=1e-9), name
    for name in set(found) - {*pairs, *pairs.values()}:
        assert found[name] == pytest.approx(expected[name], rel=MEASURES, abs=MEASURES, nan_ok=True), name


def assert_same_member(found: Look, place: int, expected: Look) -> None:
    """Member ``place`` of a population against the same one alone."""
    assert_close(found.gradients_MP[place], expected.gradients_MP[0], ONE_STEP, "gradient")
    assert_close(found.batch_gradients_MP[place], expected.batch_gradients_MP[0], ONE_STEP, "batch gradient")
    for name, value in expected.updated.items():
        assert_close(found.updated[name][place], value[0], ONE_STEP, name)
    assert_same_row(found.rows[place], expected.rows[0])
    assert_same_row(found.updated_rows[place], expected.updated_rows[0])
    assert_close(found.final_MP[place], expected.final_MP[0], SEVERAL_STEPS, "parameters after several steps")
    assert_same_row(found.end_rows[place], expected.end_rows[0])
    assert found.arrays[place].keys() == expected.arrays[0].keys()
    assert expected.arrays[0].keys() - {"optimum"} == {"samples", "spectrum"}  # linear layers have an optimum
    for name, values_N in expected.arrays[0].get("optimum", {}).items():
        np.testing.assert_allclose(
            found.arrays[place]["optimum"][name], values_N, rtol=MEASURES, err_msg=name
        )
    for name, values_N in expected.arrays[0]["samples"].items():
        found_N = found.arrays[place]["samples"][name]
        np.testing.assert_allclose(found_N, values_N, rtol=MEASURES, atol=MEASURES, err_msg=name)
    # Ritz values of a nearly multiple eigenvalue follow rounding; what a quadrature is for, moments, do not.
    for order in range(5):
        assert moment(found.arrays[place]["spectrum"], order) == pytest.approx(
            moment(expected.arrays[0]["spectrum"], order), rel=MEASURES, abs=MEASURES
        )


def moment(spectrum: dict[str, np.ndarray], order: int) -> float:
    return float((spectrum["weights"] * spectrum["nodes"] ** order).sum())


def assert_invariant(common: Overrides, members: Sequence[Overrides]) -> None:
    """The members of a population, one by one against themselves alone, from equal state."""
    common = ("measure=everything", *common)
    configs = [small_config(*common, *own) for own in members]
    count = len(configs)
    alone = [Population([config]) for config in configs]
    for population in alone:
        BatchedEngine().advance(population, WARM_UP_STEPS)
    expected = [look(gather([config], [source])) for config, source in zip(configs, alone, strict=True)]
    orders = [list(range(count)), [*range(1, count), 0]]
    for order in orders:
        found = look(gather([configs[i] for i in order], [alone[i] for i in order]))
        for place, member in enumerate(order):
            assert_same_member(found, place, expected[member])
    for bad in (0, count - 1):
        beside_nan = gather(configs, alone)
        beside_nan.parameters_MP[bad] = torch.nan
        found = look(beside_nan)
        assert found.final_MP[bad].isnan().all()
        for member in set(range(count)) - {bad}:
            assert_same_member(found, member, expected[member])
    wild = small_config(
        "measure=everything",
        *common,
        *members[0],
        "optimizer.learning_rate=1e300",
        "optimizer.clip_norm=null",
    )
    found = look(gather([wild, *configs[1:]], alone))
    for member in range(1, count):
        assert_same_member(found, member, expected[member])


def turns() -> dict[str, Overrides]:
    """Every model × optimizer × batching; variants, activations, schedules and objectives take turns."""
    combinations = itertools.product(MODELS, OPTIMIZERS, BATCHING)
    return {
        f"{model}-{optimizer}-{batching}": (
            *data_overrides(model, batching, LABELS_OBJECTIVES[number // 3 % 2]),
            f"model={model}",
            *MODELS[model][number % len(MODELS[model])],
            *ACTIVATIONS[number % len(ACTIVATIONS)],
            f"optimizer={optimizer}",
            f"schedule={SCHEDULES[number // 3 % 3 - number % 3]}",
        )
        for number, (model, optimizer, batching) in enumerate(combinations)
    }


@pytest.mark.parametrize("name", turns())
def test_every_model_optimizer_and_batching(name: str) -> None:
    common = turns()[name]
    values = [{name: column[m] for name, column in MEMBER_VALUES.items()} for m in range(3)]
    assert_invariant(common, [member_overrides(m, common, values[m]) for m in range(3)])


@pytest.mark.parametrize("model", MODELS)
def test_an_optimizer_that_searches(model: str) -> None:
    """Full batches, no schedule, no clipping: it takes nothing else."""
    fixed: dict[str, float | None] = {"clip_norm": None, "warmup_steps": 0}
    values = [{n: column[m] for n, column in MEMBER_VALUES.items()} | fixed for m in range(3)]
    for number, (objective, own) in enumerate(zip(LABELS_OBJECTIVES, MODELS[model], strict=False)):
        common = (*data_overrides(model, "full", objective), f"model={model}", *own, *ACTIVATIONS[5 + number])
        common += ("optimizer=lbfgs",)
        assert_invariant(common, [member_overrides(m, common, values[m]) for m in range(3)])


def test_everything_has_its_turn() -> None:
    configs = [small_config(*common) for common in turns().values()]
    active = [config for config in configs if config.model.uses_activation]
    assert {config.activation for config in active} == {small_config(*a).activation for a in ACTIVATIONS}
    pairs = {(config.optimizer.kind, config.schedule.kind) for config in configs}
    assert len(pairs) == len(OPTIMIZERS) * len(SCHEDULES)
    assert {config.objective.kind for config in configs if config.data.targets == "classes"} == set(
        LABELS_OBJECTIVES
    )


@st.composite
def populations(draw: st.DrawFn) -> tuple[Overrides, list[Overrides]]:
    """Overrides of a population, common ones and those of each of two to four members."""
    model = draw(st.sampled_from(sorted(MODELS)))
    batching = draw(st.sampled_from(BATCHING))
    common = (
        *data_overrides(model, batching, draw(st.sampled_from(LABELS_OBJECTIVES))),
        f"model={model}",
        *draw(st.sampled_from(MODELS[model])),
        *draw(st.sampled_from(ACTIVATIONS)),
        f"optimizer={draw(st.sampled_from(OPTIMIZERS))}",
        f"schedule={draw(st.sampled_from(SCHEDULES))}",
    )
    each = st.fixed_dictionaries({name: st.sampled_from(column) for name, column in MEMBER_VALUES.items()})
    values = draw(st.lists(each, min_size=2, max_size=4))
    return common, [member_overrides(m, common, own) for m, own in enumerate(values)]


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(populations())
def test_drawn_populations(case: tuple[Overrides, list[Overrides]]) -> None:
    assert_invariant(*case)


@pytest.mark.long
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(populations())
def test_many_drawn_populations(case: tuple[Overrides, list[Overrides]]) -> None:
    assert_invariant(*case)
