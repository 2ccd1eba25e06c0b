"""Losses, gradients and per-sample norms of the compiled pass against a loop of automatic differentiation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from population_cases import small_config, small_population
from torch import Tensor

from memcap.batch import Batch
from memcap.engines import BatchedEngine, fused_sample_pass
from memcap.engines.batched import gradients
from memcap.engines.fused import sample_kernel
from memcap.engines.fused import sample_pass as module
from memcap.engines.fused.sample_layout import NUM_ARGUMENTS
from memcap.engines.fused.sample_pass import SamplePass, sample_pass
from memcap.measures.conflict import dense_gradient_norms, sample_gradient_norms
from memcap.measures.first_order import first_order
from memcap.population import Population

EXACT = 1e-12  # relative, float64
SAMPLES = (14, 9, 600)  # less than a register, more than a block of 512
PLAIN = ("relu", "relu2", "relu3", "relu4", "silu", "gelu", "tanh", "identity", "sin")
FORMULAS = ("x*sin(3*x)", "max(x,0.1*x)", "x/(x*x+0.5)", "softplus(x)-2**-x", "sqrt(x*x+0.1)**3+cos(x)", "x")
MODELS = (
    ("model=linear",),
    ("model=linear", "model.bias=true"),
    ("model.width=1",),
    ("model.depth=2", "model.output_dim=2", "model.width=13"),
    ("model.depth=3", "model.width=7", "model.bias=true", "model.residual=true"),
    ("model.depth=4", "model.width=5", "model.residual=true"),
)
SPARSE = ("data=sparse_features", "objective=squared_error", "data.batch_size=null")


def members(*common: str, samples: Sequence[int] = SAMPLES, steps: int = 3) -> Population:
    own = [(f"seed={seed}", f"data.num_samples={count}") for seed, count in enumerate(samples)]
    population = small_population(common, own)
    BatchedEngine().advance(population, steps)
    return population


def weights_of(population: Population) -> Tensor:
    generator = np.random.default_rng(7)
    return torch.from_numpy(10 * generator.random(population.parameters_MP.shape) ** 8)


def everything(population: Population, batch: Batch | None = None) -> SamplePass:
    batch = batch or population.training_set
    return sample_pass(population, batch, norms=True, weights_MP=weights_of(population))


def assert_is_automatic(population: Population, tolerance: float = EXACT) -> None:
    """Losses, correctness and the mean gradient as torch has them, norms as those of gradients taken one by one."""
    batch, found = population.training_set, everything(population)
    mask_MN, scores = batch.full_mask(found.loss_MN), population.scores(batch)
    assert found.gradients_MP is not None
    torch.testing.assert_close(found.loss_MN[mask_MN], scores.loss_MN[mask_MN], rtol=tolerance, atol=1e-14)
    if scores.correct_MN is None:
        assert found.correct_MN is None
    else:
        assert found.correct_MN is not None
        assert torch.equal(found.correct_MN[mask_MN], scores.correct_MN[mask_MN])
    expected_MP = gradients(population, batch)
    assert ((found.gradients_MP - expected_MP).norm(dim=1) <= tolerance * expected_MP.norm(dim=1)).all()
    exact = dense_gradient_norms(population, batch, weights_of(population))
    for norms_MN, expected_MN in zip((found.squared_MN, found.weighted_MN), exact, strict=True):
        assert norms_MN is not None
        assert expected_MN is not None
        torch.testing.assert_close(norms_MN[mask_MN], expected_MN[mask_MN], rtol=tolerance, atol=1e-28)


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("activation", PLAIN)
def test_plain_activations(activation: str, objective: str) -> None:
    assert_is_automatic(members(f"activation={activation}", f"objective={objective}", "model.bias=true"))


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas(formula: str) -> None:
    assert_is_automatic(members("activation=formula", f"activation.formula={formula}", "model.width=7"))


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("model", MODELS)
def test_models(model: Sequence[str], objective: str) -> None:
    activation = () if "model=linear" in model else ("activation=gelu",)
    assert_is_automatic(members(*model, *activation, f"objective={objective}"))


@pytest.mark.parametrize("other", [("data.num_classes=2",), ("data.input_dim=1",), ("data.batch_size=5",)])
def test_shapes_of_data(other: Sequence[str]) -> None:
    assert_is_automatic(members(*other, "activation=tanh"))


def test_features_with_importance() -> None:
    own = [(f"seed={k}", f"data.num_samples={n}", f"data.importance_decay={d}")
           for k, (n, d) in enumerate([(11, 0.9), (40, 0.5)])]  # fmt: skip
    assert_is_automatic(small_population((*SPARSE, "activation=silu"), own))
    assert_is_automatic(small_population((*SPARSE, "objective.use_importance=false"), own))


def test_frequencies_of_members() -> None:
    own = [(f"seed={k}", f"activation.frequency={1.5 * k + 1}") for k in range(3)]
    assert_is_automatic(small_population(("activation=sin",), own))


@pytest.mark.parametrize("activation", ["relu", "gelu", "sin"])
def test_float32_is_as_near_to_float64_as_torch(activation: str) -> None:
    rounded = members(f"activation={activation}", "model.width=16", "hardware.dtype=float32", steps=0)
    exact = members(f"activation={activation}", "model.width=16", steps=0)
    exact.parameters_MP, batch = rounded.parameters_MP.double(), rounded.training_set
    mask_MN = batch.full_mask(batch.counts_M)
    expected = everything(exact)
    theirs = sample_gradient_norms(rounded, batch, weights_of(rounded))
    found = everything(rounded)
    pairs = zip(
        (found.squared_MN, found.weighted_MN),
        theirs,
        (expected.squared_MN, expected.weighted_MN),
        strict=True,
    )
    for own_MN, other_MN, exact_MN in pairs:
        errors = [((v - exact_MN) / exact_MN)[mask_MN].abs().max() for v in (own_MN, other_MN)]
        assert errors[0] <= 3 * errors[1] + 1e-6
    torch.testing.assert_close(
        found.loss_MN.double()[mask_MN], expected.loss_MN[mask_MN], rtol=1e-5, atol=1e-6
    )


def test_a_memorized_sample_keeps_its_digits() -> None:
    """Losses far below float32's epsilon, and squares of derivatives below its range."""
    rounded = members("model=linear", "hardware.dtype=float32", "data.num_classes=3", samples=(9,), steps=0)
    for scale in (40.0, 100.0):
        inputs_ND, labels_N = rounded.training_set.inputs_MND[0], rounded.training_set.targets[0]
        onehot_NV = torch.nn.functional.one_hot(labels_N, 3).to(inputs_ND)
        fitted = torch.linalg.lstsq(inputs_ND, onehot_NV).solution
        rounded.parameters_MP = (scale * fitted).reshape(1, -1)
        exact = rounded.parameters_MP.double()
        logits_NV = inputs_ND.double() @ exact.view(fitted.shape)
        own_N = logits_NV.gather(1, labels_N[:, None])[:, 0]
        rest_NV = (logits_NV - own_N[:, None]).masked_fill(onehot_NV.bool(), -torch.inf)
        expected_N = torch.logsumexp(torch.cat([rest_NV, torch.zeros(9, 1)], 1), 1)
        small_N = expected_N < 1e-9
        expected_N = torch.where(small_N, rest_NV.exp().sum(1), expected_N)  # of the first order: exact there
        loss_N = sample_pass(rounded, rounded.training_set).loss_MN[0].double()
        torch.testing.assert_close(loss_N, expected_N, rtol=1e-4, atol=1e-44)
    assert small_N.any()


@pytest.mark.parametrize("model", ["model=linear", "model.width=16"])
def test_the_norms_of_memorized_samples_keep_their_digits(model: str) -> None:
    """Where p of the label is nearly 1, p - 1 in float32 is off by a factor; against float64 at the same weights."""
    common = (model, "model.bias=true", "data.num_classes=3", "data.input_dim=9")
    exact = members(*common, samples=(9,), steps=400)
    exact.parameters_MP *= 3.5 if model == "model=linear" else 1.5
    rounded = members(*common, "hardware.dtype=float32", samples=(9,), steps=0)
    rounded.parameters_MP = exact.parameters_MP.float()
    exact.parameters_MP = rounded.parameters_MP.double()
    expected, found = everything(exact), everything(rounded)
    assert expected.loss_MN.min() < 1e-7
    torch.testing.assert_close(found.squared_MN, expected.squared_MN, rtol=3e-4, atol=0)
    torch.testing.assert_close(found.weighted_MN, expected.weighted_MN, rtol=3e-4, atol=0)
    # Float64's own p - 1 is good enough where enough is left of 1.
    dense_MN, _ = dense_gradient_norms(exact, exact.training_set)
    is_clear_MN = expected.loss_MN > 1e-10
    assert is_clear_MN.any() or model != "model=linear"
    torch.testing.assert_close(expected.squared_MN[is_clear_MN], dense_MN[is_clear_MN], rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_are_those_of_the_member_alone(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ("activation=silu", "model.depth=2", f"hardware.dtype={dtype}")
    own = [(f"seed={s}", f"data.num_samples={n}") for s, n in enumerate((14, 600, 33, 9))]
    population = Population([small_config(*common, *o) for o in own])
    threaded = Population([small_config(*common, "hardware.threads=3", *o) for o in own])
    weights_MP, counts = weights_of(population), (14, 600, 33, 9)

    def of(population: Population, places: Sequence[int]) -> SamplePass:
        weights = weights_MP[list(places)]
        return sample_pass(population, population.training_set, norms=True, weights_MP=weights)

    def assert_equal(found: SamplePass, place: int, member: int) -> None:
        alone = of(population.keep([member]), [member])
        for name, value in found._asdict().items():
            count = None if name == "gradients_MP" else counts[member]
            assert torch.equal(value[place][:count], getattr(alone, name)[0][:count]), name

    for member in range(4):
        assert_equal(of(population, range(4)), member, member)
        assert_equal(of(population.keep([3, 2, 1, 0]), [3, 2, 1, 0]), 3 - member, member)
    monkeypatch.setattr(module, "OPERATIONS_WORTH_A_THREAD", 1.0)
    together = of(threaded, range(4))
    for member in range(4):
        assert_equal(together, member, member)
    broken = population.with_parameters(population.parameters_MP.clone())
    broken.parameters_MP[1], broken.parameters_MP[2] = torch.nan, torch.inf
    found = of(broken, range(4))
    assert found.loss_MN[1].isnan().all()
    assert not found.correct_MN[1].any()
    assert not found.loss_MN[2, :33].isfinite().any()
    for member in (0, 3):
        assert_equal(found, member, member)


def test_what_stood_in_the_scratch_arrays_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    population = members("activation=gelu", "model.bias=true", "model.depth=2")
    expected = everything(population)
    fresh = module.aligned
    monkeypatch.setattr(module, "aligned", lambda size, dtype: np.full_like(fresh(size, dtype), np.nan))
    for name, value in everything(population)._asdict().items():
        assert torch.equal(value, getattr(expected, name)), name


def test_a_broken_sample_stays_by_itself() -> None:
    population = members("activation=tanh", samples=(40, 30))
    before = everything(population)
    batch = population.training_set
    batch.inputs_MND[0, 7] = torch.nan
    found = everything(population)
    others = torch.arange(40) != 7
    for name in ("loss_MN", "squared_MN", "weighted_MN"):
        now, then = getattr(found, name), getattr(before, name)
        assert now[0, 7].isnan()
        assert torch.equal(now[0, others], then[0, others])
        assert torch.equal(now[1], then[1])
    assert found.gradients_MP[0].isnan().any()
    assert torch.equal(found.gradients_MP[1], before.gradients_MP[1])
    assert not found.correct_MN[0, 7]


def test_ties_go_to_the_first_class_as_in_torch() -> None:
    population = members("model=linear", samples=(20,), steps=0)
    population.parameters_MP = torch.zeros_like(population.parameters_MP)
    found = sample_pass(population, population.training_set)
    assert torch.equal(found.correct_MN, population.training_set.targets == 0)


def test_a_part_gives_what_the_whole_gives() -> None:
    population = members("activation=relu")
    batch, whole = population.training_set, everything(population)
    before_MP = population.parameters_MP.clone()
    losses, gradient = sample_pass(population, batch), sample_pass(population, batch, gradient=True)
    raw = sample_pass(population, batch, norms=True)
    assert torch.equal(losses.loss_MN, whole.loss_MN)
    assert torch.equal(gradient.gradients_MP, whole.gradients_MP)
    assert torch.equal(raw.squared_MN, whole.squared_MN)
    assert losses.gradients_MP is gradient.squared_MN is raw.weighted_MN is None
    few = everything(population, batch.first(12))
    assert torch.equal(few.squared_MN, whole.squared_MN[:, :12])
    assert torch.equal(population.parameters_MP, before_MP)


def test_measures_take_it_where_the_fused_engine_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fused_sample_pass(members("activation=tanh")) is sample_pass
    assert fused_sample_pass(members("activation=tanh", "hardware.engine=batched")) is None
    assert fused_sample_pass(small_population(("model=autoencoder", *SPARSE[:2]), [("seed=0",)])) is None
    found = first_order(members(), members().training_set, norms=True)

    def broken(*_: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(module, "prepare", broken)
    for _ in range(2):
        population = members()
        assert fused_sample_pass(population) is None
        other = first_order(population, population.training_set, norms=True)
    assert found.squared_MN is not None
    mask_MN = population.training_set.full_mask(found.squared_MN)
    torch.testing.assert_close(found.squared_MN[mask_MN], other.squared_MN[mask_MN], rtol=EXACT, atol=1e-28)
    torch.testing.assert_close(found.gradients_MP, other.gradients_MP, rtol=1e-10, atol=1e-14)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("since it cannot be compiled here: RuntimeError: no such instruction")


def test_labels_that_are_no_classes_are_refused() -> None:
    population = members(samples=(9,), steps=0)
    population.training_set.targets[0, 3] = 99
    with pytest.raises(ValueError, match="labels must be at least 0 and less than"):
        sample_pass(population, population.training_set)


def test_the_kernel_is_called_with_as_many_arguments_as_it_has() -> None:
    """Nothing else would notice: it is called by its address, so that Numba need not be imported."""
    assert sample_kernel.sample_pass.__code__.co_argcount == NUM_ARGUMENTS
