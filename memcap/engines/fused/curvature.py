"""Hessian-vector products of a population; each member's are those of the core that takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from memcap.config.run_config import RunConfig
from memcap.engines.fused.curvature_layout import curvature_layout
from memcap.engines.fused.engine import aligned, targets_of
from memcap.engines.fused.library import addresses, as_c, call_of, program_of
from memcap.engines.fused.program import PIECES
from memcap.engines.threads import threads_over_members
from memcap.models.chain import Chain
from memcap.population import Population

# A thread is worth waking for so many floating-point operations of a product: about a millisecond.
OPERATIONS_WORTH_A_THREAD = 5e7


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
    return Pieces(addresses(dict.fromkeys(needed, True), dtype), operations, bends)


def hessian_products(population: Population) -> Callable[[Tensor], Tensor]:
    """A function v_MP ↦ H v, with H the Hessian of each member's mean loss on its training set, where it stands.

    Exact, by Pearlmutter's R-operator (1994, Neural Computation 6, 147). For populations that the fused engine trains
    (``fused_support.unsupported``). A member's product is the same, bit for bit, alone and among others, with any
    number of threads; at weights that are NaN it is NaN.

    Cost: once two training steps, then a product is about two training steps. In memory about 6 floats for each sample
    and neuron of each member, as long as the returned function lives.
    """
    vectors_MP, products_MP = (np.empty(population.parameters_MP.shape, _dtype(population)) for _ in range(2))
    pieces = pieces_of(population.configs[0])
    members = [
        LinearizedMember(population, place, pieces, vectors_MP[place], products_MP[place])
        for place in range(len(population))
    ]
    team = _Team(_num_threads(population))
    team.do([member.linearize for member in members])

    def product(vector_MP: Tensor) -> Tensor:
        vectors_MP[:] = vector_MP.detach().numpy()
        team.do([member.multiply for member in members])
        return torch.from_numpy(products_MP.copy())

    return product


class LinearizedMember:
    """One member at its weights: an array with all of its samples' activations and derivatives.

    ``linearize()`` fills it, then each ``multiply()`` writes H · vector to ``product_P``.
    """

    def __init__(
        self, population: Population, place: int, pieces: Pieces, vector_P: np.ndarray, product_P: np.ndarray
    ) -> None:
        samples, dtype = population.training_set, product_P.dtype
        num_samples = int(samples.counts_M[place])
        inputs_ND = np.ascontiguousarray(samples.inputs_MND[place].numpy())
        weights_P = np.ascontiguousarray(population.parameters_MP[place].detach().numpy())
        targets_NF, importance_F = targets_of(population, place, dtype)
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
            weights_P, inputs_ND, targets_NF, targets_NF.shape[1], importance_F,
        )  # fmt: skip
        self.kept = (*common, *at_weights, vector_P, product_P)  # the calls know addresses only
        self.linearize = self._call("linearization.linearize", dtype, (*common, *at_weights))
        self.multiply = self._call("hessian_product.product", dtype, (*common, vector_P, product_P))

    def _call(self, name: str, dtype: np.dtype, arguments: tuple[Any, ...]) -> Callable[[], None]:
        return call_of(name, str(dtype), map(as_c, arguments))


def _num_threads(population: Population) -> int:
    operations = 12 * population.model.num_parameters * float(population.training_set.counts_M.sum())
    most = threads_over_members(population.configs)
    return max(1, min(most, int(operations / OPERATIONS_WORTH_A_THREAD)))


def _dtype(population: Population) -> np.dtype:
    return np.dtype(population.configs[0].hardware.dtype)


class _Team:
    """Threads that take the next call when they have done one: many short calls, for which starting any costs most."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pool = ThreadPoolExecutor(max(size - 1, 1))  # its threads end with it

    def do(self, calls: Sequence[Callable[[], None]]) -> None:
        waiting = iter(calls)  # taking from it is one step, which threads do not interrupt
        # The caller is one of them.
        futures = [self.pool.submit(_work_off, waiting) for _ in range(self.size - 1)]
        _work_off(waiting)
        for future in futures:
            future.result()


def _work_off(waiting: Iterator[Callable[[], None]]) -> None:
    for call in waiting:
        call()
