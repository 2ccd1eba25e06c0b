"""The Hessian of a population; each member's products and eigenvalues are those of the core that takes it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memcap.config.run_config import RunConfig
from memcap.engines.fused.curvature_layout import curvature_layout
from memcap.engines.fused.layout import rounded_up
from memcap.engines.fused.machine_code import address, addresses, as_c, call_of, program_of
from memcap.engines.fused.program import PIECES
from memcap.engines.fused.registers import CACHE_LINE_BYTES, aligned
from memcap.engines.fused.targets import targets_of
from memcap.engines.fused.team import KrylovSpaces, Team
from memcap.engines.threads import threads_over_members
from memcap.models.chain import Chain
from memcap.population import Population

LINEARIZE, PRODUCT, LANCZOS = "linearization.linearize", "hessian_product.product", "lanczos.top_eigenvalue"
# A thread is worth waking for so many floating-point operations: about a millisecond.
OPERATIONS_WORTH_A_THREAD = 5e7
PRODUCTS_EXPECTED = 8  # of Lanczos, where nothing is known of the matrix


class Pieces(NamedTuple):
    """Addresses of compiled code: as in ``curvature_block.Addresses``, and by piece of an activation's program."""

    addresses: np.ndarray
    operations: np.ndarray
    bends: np.ndarray


def pieces_of(config: RunConfig) -> Pieces:
    """What the Hessian of a run's loss takes, loaded or compiled where this process has not done so yet."""
    dtype, objective = config.hardware.dtype, f"losses.{config.objective.kind}"
    used = set(program_of(config).operations[:, 0].tolist())
    needed = ("tiles.product", "tiles.add_gradient", objective, f"{objective}_tangent")
    operations, bends = (
        addresses({f"{module}.{name}": place in used for place, name in enumerate(PIECES)}, dtype)
        for module in ("operations", "bends")
    )
    for called in (LINEARIZE, PRODUCT, LANCZOS):
        address(called, dtype)
    return Pieces(addresses(dict.fromkeys(needed, True), dtype), operations, bends)


class TopPairs(NamedTuple):
    """The largest eigenvalue of each member with its residual, float64 [M], and its unit vector [M, P]; how many
    products each took. All NaN but the number where a member's products are."""

    value_M: np.ndarray
    residual_M: np.ndarray
    vector_MP: np.ndarray
    iterations_M: np.ndarray


class Hessian:
    """H of each member's mean loss on its training set, where the population stands when it is linearized.

    A function v_MP ↦ H v, exact, by Pearlmutter's R-operator (1994, Neural Computation 6, 147). For populations that
    the fused engine trains (``fused_support.unsupported``). What a member gets is the same, bit for bit, alone and
    among others, with any number of threads; at weights that are NaN it is NaN.

    Cost: linearizing about two training steps, and a product about two. In memory about 6 floats for each sample
    and neuron of each member, as long as it lives.
    """

    def __init__(self, population: Population) -> None:
        self.samples, self.configs = population.training_set, population.configs
        dtype = np.dtype(population.configs[0].hardware.dtype)
        num_members, self.num_parameters = population.parameters_MP.shape
        padded = num_members, rounded_up(self.num_parameters, CACHE_LINE_BYTES // dtype.itemsize)
        self.weights_MP = np.empty((num_members, self.num_parameters), dtype)
        self.vectors_MR, self.images_MR, self.roots_MR = (np.zeros(padded, dtype) for _ in range(3))
        self.found_MF = np.empty((num_members, 3))
        pieces = pieces_of(population.configs[0])
        self.members = [_Member(self, population, place, pieces) for place in range(num_members)]
        self.operations = 12 * self.num_parameters * float(population.training_set.counts_M.sum())
        self.team = Team(threads_over_members(population.configs))
        self.spaces: KrylovSpaces | None = None
        self.linearize(population)

    def is_of(self, population: Population) -> bool:
        """Whether it can be linearized where this population stands: the same members with the same data."""
        return self.samples is population.training_set and self.configs is population.configs

    def linearize(self, population: Population) -> None:
        """Goes to where the population stands."""
        self.weights_MP[:] = population.parameters_MP.detach().numpy()
        self._do([member.linearize for member in self.members])

    def __call__(self, vector_MP: Tensor) -> Tensor:
        self.vectors_MR[:, : self.num_parameters] = vector_MP.detach().numpy()
        self._do([member.multiply for member in self.members])
        return torch.from_numpy(self.images_MR[:, : self.num_parameters].copy())

    def top_eigenvalue(
        self,
        start_MP: Tensor,
        *,
        root_MP: Tensor | None = None,
        penalty_M: Tensor | None = None,
        max_iterations: int,
        fewest: int,
        tolerance: float,
        rounding: float,
    ) -> TopPairs:
        """The largest eigenvalue of R (H + λI) R, with R the diagonal ``root_MP`` (None: 1), λ ``penalty_M`` (None: 0).

        Method, criterion and residual are those of ``measures.sharpness.top_eigenvalues``, but convergence is looked
        at after every product (when there are ``fewest``), and the residual needs no product of its own.
        """
        for rows_MR in (self.vectors_MR, self.images_MR):
            rows_MR[:, self.num_parameters :] = 0
        self.vectors_MR[:, : self.num_parameters] = start_MP.detach().numpy()
        if penalty_M is not None and root_MP is None:
            root_MP = torch.ones_like(start_MP)
        if root_MP is not None:
            self.roots_MR[:, : self.num_parameters] = root_MP.detach().numpy()
        penalties = [0.0] * len(self.members) if penalty_M is None else penalty_M.tolist()
        spaces = self._spaces(min(max_iterations, self.num_parameters))
        is_scaled = as_c(int(root_MP is not None))
        shared = [as_c(number) for number in (spaces.size_R, spaces.most, fewest, float(tolerance), rounding)]
        calls = [
            functools.partial(spaces.lend, member.top_eigenvalue, is_scaled, as_c(penalty), *shared)
            for member, penalty in zip(self.members, penalties, strict=True)
        ]
        self._do(calls, PRODUCTS_EXPECTED)
        value_M, residual_M, iterations_M = self.found_MF.T.copy()
        vector_MP = self.vectors_MR[:, : self.num_parameters].copy()
        return TopPairs(value_M, residual_M, vector_MP, iterations_M.astype(np.int64))

    def _spaces(self, most: int) -> KrylovSpaces:
        if self.spaces is None or self.spaces.most != most:
            self.spaces = KrylovSpaces(most, self.vectors_MR.shape[1], self.vectors_MR.dtype)
        return self.spaces

    def _do(self, calls: Sequence[Callable[[], None]], products: int = 1) -> None:
        """Makes a call for each member, which takes as long as so many products."""
        self.team.do(calls, int(products * self.operations / OPERATIONS_WORTH_A_THREAD))


class _Member:
    """One member: an array with all of its samples' activations and derivatives, and the calls that work in it."""

    def __init__(self, of: Hessian, population: Population, place: int, pieces: Pieces) -> None:
        samples, dtype = population.training_set, of.weights_MP.dtype
        num_samples = int(samples.counts_M[place])
        inputs_ND = np.ascontiguousarray(samples.inputs_MND[place].numpy())
        targets_MNF, importance_MF = targets_of(population, samples, slice(place, place + 1))
        targets_NF, importance_F = targets_MNF[0], importance_MF[0]
        program = program_of(population.configs[place])  # numbers of an activation may be each member's own
        assert isinstance(population.model, Chain)
        layers, places = curvature_layout(
            population.model.layers,
            bias=population.model.config.bias,
            num_operations=len(program.operations),
            samples=num_samples,
            num_targets=targets_NF.shape[1],
            itemsize=dtype.itemsize,
        )
        common = (aligned(places.size, dtype), np.array(places), layers, len(layers), pieces.addresses)
        at_weights = (
            program.operations, program.numbers, len(program.operations), pieces.operations, pieces.bends,
            of.weights_MP[place], inputs_ND, targets_NF, targets_NF.shape[1], importance_F,
        )  # fmt: skip
        vector_R, image_R, root_R = of.vectors_MR[place], of.images_MR[place], of.roots_MR[place]
        self.dtype, self.size = str(dtype), places.size
        self.linearize = self._call(LINEARIZE, (*common, *at_weights))
        self.multiply = self._call(PRODUCT, (*common, vector_R, image_R))
        self.top_eigenvalue = self._call(
            LANCZOS, (*common, address(PRODUCT, self.dtype), vector_R, image_R, root_R, of.found_MF[place])
        )

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Callable[..., None]:
        return call_of(name, self.dtype, map(as_c, arguments))
