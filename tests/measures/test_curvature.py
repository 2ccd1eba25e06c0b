"""Sharpness along a training against dense matrices, raw and preconditioned."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from population_cases import small_config, small_population

from memcap.engines import BatchedEngine
from memcap.errors import BadInput
from memcap.measures.curvature import loss_curvature
from memcap.measures.observation import Observer
from memcap.measures.sharpness import dense_matrix
from memcap.measures.spectrum import spectral_moment, stochastic_lanczos_quadrature
from memcap.population import Population

TRAINED = ("activation=tanh", "model.width=3", "optimizer.learning_rate=0.03")
RAGGED = (("seed=3", "data.num_samples=5"), ("seed=1", "data.num_samples=14"))


def trained(*overrides: str) -> Population:
    population = small_population((*TRAINED, *overrides), RAGGED)
    BatchedEngine().advance(population, 15)
    return population


def hessians(population: Population) -> np.ndarray:
    return dense_matrix(loss_curvature(population), population.parameters_MP).numpy()


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("optimizer.weight_decay=0.1",),
        ("optimizer=adamw", "optimizer.weight_decay=0.1"),
        ("data.batch_size=4",),
        ("schedule=cosine",),
    ],
    ids=["adam", "L2", "adamw", "mini-batch", "schedule"],
)
@pytest.mark.parametrize("method", ["lanczos", "dense"])
def test_preconditioned_sharpness_is_the_generalized_eigenvalue(
    overrides: tuple[str, ...], method: str
) -> None:
    population = trained(*overrides, f"measure.hessian={method}", "measure.lanczos_tolerance=1e-9")
    rows = Observer(population).observe(population)
    for member, row in enumerate(rows):
        config = population.configs[member].optimizer
        step, squares_P = population.step, population.state["exp_avg_sq"][member].numpy()
        diagonal_P = (1 - 0.9**step) * (np.sqrt(squares_P / (1 - 0.999**step)) + config.epsilon)
        penalty = config.weight_decay if config.kind == "adam" else 0.0
        matrix = hessians(population)[member] + penalty * np.eye(len(diagonal_P))
        top = scipy.linalg.eigh((matrix + matrix.T) / 2, np.diag(diagonal_P), eigvals_only=True)[-1]
        assert row["sharpness/preconditioned"] == pytest.approx(top, rel=1e-7)
        # A residual of the symmetric form, in the units of its eigenvalue.
        assert row["sharpness/preconditioned_residual"] <= 1e-7 * top


def test_thresholds() -> None:
    row = Observer(adam := trained()).observe(adam)[0]
    assert row["sharpness/threshold"] == pytest.approx(38 / 0.03, rel=1e-12)
    row = Observer(sgd := trained("optimizer=sgd", "optimizer.momentum=0")).observe(sgd)[0]
    assert row["sharpness/threshold"] == pytest.approx(2 / 0.03, rel=1e-12)
    assert not [name for name in row if "precondition" in name]


def test_before_the_first_step_nothing_is_preconditioned() -> None:
    population = small_population(TRAINED, RAGGED)
    row = Observer(population).observe(population)[0]
    assert not [name for name in row if "precondition" in name]
    assert row["sharpness/threshold"] == pytest.approx(38 / 0.03, rel=1e-12)


@pytest.mark.parametrize("method", ["lanczos", "dense"])
def test_several_eigenvalues_come_in_order(method: str) -> None:
    population = trained(
        f"measure.hessian={method}", "measure.num_eigenvalues=3", "measure.lanczos_tolerance=1e-9"
    )
    for matrix, row in zip(hessians(population), Observer(population).observe(population), strict=True):
        expected = np.linalg.eigvalsh((matrix + matrix.T) / 2)[:-4:-1]
        names = ("top_eigenvalue", "eigenvalue_2", "eigenvalue_3")
        assert [row[f"sharpness/{name}"] for name in names] == pytest.approx(list(expected), rel=1e-6)


def test_a_linear_model_under_squared_error_has_every_eigenvalue_several_times() -> None:
    population = small_population(
        ("model=linear", "objective=squared_error", "measure.num_eigenvalues=3"), RAGGED
    )
    for member, row in enumerate(Observer(population).observe(population)):
        samples = population.datasets[member].training()
        inputs, classes = samples.inputs_ND, population.configs[member].data.num_outputs
        top = np.linalg.eigvalsh(2 * inputs.T @ inputs / (len(inputs) * classes))[-1]
        for name in ("top_eigenvalue", "eigenvalue_2", "eigenvalue_3"):
            assert row[f"sharpness/{name}"] == pytest.approx(top, rel=1e-5)


def test_the_trace_is_within_its_error() -> None:
    population = trained("measure.trace=true", "measure.trace_probes=64")
    for matrix, row in zip(hessians(population), Observer(population).observe(population), strict=True):
        assert 0 < row["sharpness/trace_standard_error"] < 0.3 * abs(np.trace(matrix))
        assert abs(row["sharpness/trace"] - np.trace(matrix)) < 4 * row["sharpness/trace_standard_error"]


def test_the_kept_spectrum_has_the_moments_of_the_matrix() -> None:
    population = trained("measure.spectrum=true", "measure.spectrum_probes=64", "measure.spectrum_steps=20")
    _, arrays = Observer(population).end(population)
    for matrix, own in zip(hessians(population), arrays, strict=True):
        nodes, weights = own["spectrum"]["nodes"], own["spectrum"]["weights"]
        assert weights.sum() == pytest.approx(1, rel=1e-12)
        probes = torch.randn(64, 2, len(matrix), dtype=torch.float64, generator=torch.manual_seed(0))
        error = spectral_moment(stochastic_lanczos_quadrature(loss_curvature(population), probes, steps=3), 1)
        allowed = 5 * float(error.standard_error_M.max())
        assert abs((weights * nodes).sum() - np.trace(matrix) / len(matrix)) < allowed
        assert nodes.max() == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-6)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("measure.hessian=dense", "model.width=200", "data.input_dim=20"),
            "measure.hessian=dense needs at most",
        ),
        (("measure.num_eigenvalues=50",), "measure.num_eigenvalues must be ≤ measure.lanczos_iterations"),
        (("measure.hessian=exact",), "measure.hessian must be one of lanczos, dense"),
    ],
)
def test_bad_input(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        small_config(*overrides)
