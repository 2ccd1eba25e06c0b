"""Sharpness of a population along its training: each measurement starts where the last one ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from memcap.config.measure_schema import MeasureConfig, eigenvalue_metric
from memcap.engines import fused_hessian
from memcap.measures.krylov import FEWEST_PRODUCTS, rounding_noise
from memcap.measures.sharpness import (
    Eigenpairs,
    SymmetricMatrix,
    dense_matrix,
    hessian_vector_products,
    preconditioned,
    top_eigenvalues,
)
from memcap.measures.trace import hutchinson_trace
from memcap.population import Population
from memcap.random import stream

if TYPE_CHECKING:  # it takes what compiles with it
    from memcap.engines.fused.curvature import Hessian

Columns = dict[str, Tensor]
Product = Callable[[Tensor], Tensor]
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
# Share of fresh noise in a warm start, so that Lanczos cannot hide in an eigenspace that is no longer the top. Where
# the matrix nearly falls apart (a linear model, by its outputs), a tenth missed the top by more than 1 % in 6 of 184
# cases and three tenths in 2, for 0.1 to 0.2 more products.
WARM_START_NOISE = 0.3


class Curvature:
    """Eigenvalues and trace of each member's Hessian; keeps the last eigenvectors for the next time."""

    def __init__(self, measure: MeasureConfig) -> None:
        self.measure = measure
        self.vectors: dict[str, Tensor] = {}
        self.compiled: Hessian | None = None  # of the last population, to go where it stands the next time

    def keep(self, members: Sequence[int]) -> Curvature:
        """The same for the members that stay."""
        kept = Curvature(self.measure)
        kept.vectors = {name: vectors_MP[list(members)] for name, vectors_MP in self.vectors.items()}
        return kept

    def saved(self) -> dict[str, Tensor]:
        """The last eigenvectors, on the host."""
        return {name: vectors_MP.cpu() for name, vectors_MP in self.vectors.items()}

    def restore(self, saved: Mapping[str, Tensor], population: Population) -> None:
        """Takes over what ``saved`` gave for the same members."""
        self.vectors = {name: vectors_MP.clone().to(population.device) for name, vectors_MP in saved.items()}
        if any(vectors_MP.shape != population.parameters_MP.shape for vectors_MP in self.vectors.values()):
            raise ValueError("its eigenvectors have another shape")

    def columns(self, population: Population) -> Columns:
        """What ``measure.sharpness`` and ``measure.trace`` ask for, float64 [M] each.

        sharpness/top_eigenvalue is that of the training loss's Hessian H, sharpness/preconditioned that of
        D⁻¹(H + λI) where the optimizer has a preconditioner D, with the λ of its L2 decay. sharpness/threshold is
        what training gets unstable above. It is in the units of the preconditioned one for an optimizer that has a
        D, also where D is not known (step 0, weights alone); for others it bounds the raw one + λ.
        """
        product = self._linearized(population)
        columns = self._eigenvalues(population, product) if self.measure.sharpness else {}
        if self.measure.trace:
            probes_KMP = random_probes(population, "trace", self.measure.trace_probes, random_signs)
            found = hutchinson_trace(product, probes_KMP)
            columns["sharpness/trace"] = found.value_M
            columns["sharpness/trace_standard_error"] = found.standard_error_M
        return columns

    def _linearized(self, population: Population) -> Product:
        if self.compiled is not None and self.compiled.is_of(population):
            self.compiled.linearize(population)
            return self.compiled
        self.compiled = fused_hessian(population)
        return self.compiled or automatic_products(population)

    def _eigenvalues(self, population: Population, product: Product) -> Columns:
        count = self.measure.num_eigenvalues
        # Of another matrix, the same noise is as good.
        noise = [unit_noise(population, f"lanczos/{k}" if k else "lanczos") for k in range(count)]
        values_ME, residuals_ME = self._largest(population, SymmetricMatrix(product), "lanczos", noise)
        found = {eigenvalue_metric(1): values_ME[:, 0], "sharpness/residual": residuals_ME[:, 0]}
        for k in range(1, count):
            found[eigenvalue_metric(k + 1)] = values_ME[:, k]
            found[f"{eigenvalue_metric(k + 1)}_residual"] = residuals_ME[:, k]
        preconditioner_MP = population.preconditioner()
        if preconditioner_MP is not None:
            whole = preconditioned(product, preconditioner_MP, population.l2_penalty())
            values_ME, residuals_ME = self._largest(population, whole, "preconditioned", noise[:1])
            found["sharpness/preconditioned"] = values_ME[:, 0]
            found["sharpness/preconditioned_residual"] = residuals_ME[:, 0]
        threshold_M = population.stability_threshold()
        if threshold_M is not None:
            found["sharpness/threshold"] = threshold_M
        return found

    def _largest(
        self, population: Population, matrix: SymmetricMatrix, purpose: str, noise: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """As many of the largest eigenvalues as there is noise to start from, descending, with their residuals;
        float64 [M, E], NaN where there are fewer."""
        count = len(noise)
        if self.measure.hessian == "dense":
            return dense_eigenvalues(matrix, population.parameters_MP, count=count)
        start_MP = noise[0]
        if purpose in self.vectors:
            start_MP = self.vectors[purpose] + WARM_START_NOISE * start_MP
        if self.compiled is not None and count == 1:
            found = _by_compiled_code(self.compiled, matrix, start_MP, self.measure)
        else:
            found = top_eigenvalues(
                matrix,
                start_MP,
                count=count,
                more_starts=noise[1:],  # symmetries make eigenvalues multiple, and a start sees one copy
                max_iterations=self.measure.lanczos_iterations,
                tolerance=self.measure.lanczos_tolerance,
            )
        together_MP = found.vectors_MEP.nan_to_num().sum(1)
        usable_M1 = found.values_ME[:, :1].isfinite().to(population.device)
        self.vectors[purpose] = torch.where(usable_M1, together_MP, noise[0])
        return found.values_ME, found.residuals_ME


def _by_compiled_code(
    hessian: Hessian, matrix: SymmetricMatrix, start_MP: Tensor, measure: MeasureConfig
) -> Eigenpairs:
    found = hessian.top_eigenvalue(
        start_MP,
        root_MP=matrix.root_MP,
        penalty_M=matrix.penalty_M,
        max_iterations=measure.lanczos_iterations,
        fewest=FEWEST_PRODUCTS,
        tolerance=measure.lanczos_tolerance,
        rounding=rounding_noise(start_MP.dtype),
    )
    return Eigenpairs(
        values_ME=torch.from_numpy(found.value_M)[:, None],
        residuals_ME=torch.from_numpy(found.residual_M)[:, None],
        vectors_MEP=torch.from_numpy(found.vector_MP)[:, None],
        iterations_M=torch.from_numpy(found.iterations_M),
    )


def dense_eigenvalues(product: Product, like_MP: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues by way of the full matrix, descending, and how far they may be off; float64 [M, E].

    The bound is ‖H − Hᵀ‖_F / 2: a Hessian is symmetric, so what is not is the rounding of its entries. NaN for a
    member whose matrix is not finite, and where there are fewer eigenvalues. Cost: P products and P³ each.
    """
    values_ME = torch.full((len(like_MP), count), torch.nan, dtype=torch.float64)
    bounds_ME = values_ME.clone()
    for member, of_member_PP in enumerate(dense_matrix(product, like_MP)):
        matrix_PP = of_member_PP.cpu().double()
        if matrix_PP.isfinite().all():
            eigenvalues = torch.linalg.eigvalsh((matrix_PP + matrix_PP.T) / 2).flip(0)[:count]
            values_ME[member, : len(eigenvalues)] = eigenvalues
            bounds_ME[member, : len(eigenvalues)] = (matrix_PP - matrix_PP.T).norm() / 2
    return values_ME, bounds_ME


def loss_curvature(population: Population) -> Product:
    """Products with the Hessian of each member's loss on its training set, at its parameters.

    By compiled code where the fused engine trains such a population, else by automatic differentiation.
    """
    return fused_hessian(population) or automatic_products(population)


def automatic_products(population: Population) -> Product:
    """The same by automatic differentiation, for any population."""

    def loss_of_parameters(parameters_MP: Tensor) -> Tensor:
        return population.losses(parameters_MP, population.training_set)

    return hessian_vector_products(loss_of_parameters, population.parameters_MP)


def random_probes(population: Population, purpose: str, count: int, draw: Draw) -> Tensor:
    """K = count random vectors [K, M, P] from each member's own stream, others at every step.

    In the population's dtype from the start: all of them in float64 would be more than the Krylov space takes.
    """
    shape = count, population.model.num_parameters
    probes_KMP = torch.empty(count, len(population), shape[1], dtype=population.dtype)
    for member, config in enumerate(population.configs):
        values = draw(stream(config.seed, purpose, population.step), shape)
        probes_KMP[:, member] = torch.from_numpy(values)
    return probes_KMP.to(population.device)


def random_signs(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """±1 with equal chances."""
    return generator.integers(0, 2, shape) * 2.0 - 1.0


def unit_noise(population: Population, purpose: str) -> Tensor:
    """A unit vector [M, P] from each member's own stream, another one at every step."""
    size = population.model.num_parameters
    rows = [stream(c.seed, purpose, population.step).standard_normal(size) for c in population.configs]
    noise_MP = torch.from_numpy(np.stack(rows))
    return (noise_MP / noise_MP.norm(dim=1, keepdim=True)).to(population.device, population.dtype)
