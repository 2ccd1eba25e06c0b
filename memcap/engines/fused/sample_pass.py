"""Losses, mean gradients and per-sample gradient norms of a population, out of one compiled pass over its samples."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from memcap.batch import Batch
from memcap.config.run_config import RunConfig
from memcap.engines.fused.layout import layout
from memcap.engines.fused.machine_code import address, addresses, program_of
from memcap.engines.fused.program import PIECES, Program
from memcap.engines.fused.registers import aligned
from memcap.engines.fused.sample_layout import (
    GRADIENT,
    LOSSES,
    NORMS,
    NUM_ARGUMENTS,
    WEIGHTED_NORMS,
    doubles_of,
)
from memcap.engines.fused.targets import targets_of
from memcap.engines.fused.team import Team
from memcap.engines.threads import threads_over_members
from memcap.models.chain import Chain, Layer
from memcap.population import Population

# What writes the derivatives by the outputs: for norms, with all digits of those of memorized samples.
DERIVATIVES = {"cross_entropy": "losses.cross_entropy_from_others", "squared_error": "losses.squared_error"}
# A thread is worth starting for so many floating-point operations: about a millisecond.
OPERATIONS_WORTH_A_THREAD = 5e7


class SamplePass(NamedTuple):
    """What a pass found; places of padding hold a loss of 0, and norms of 0.

    loss_MN           each sample's loss, in the population's dtype
    correct_MN        whether the (first) largest output is the label; None without labels
    gradients_MP      of the mean loss, in the population's dtype; None where it was not asked for
    squared_MN        ‖g_i‖² of each sample's own gradient, float64; likewise
    weighted_MN       Σ_p w_p g_ip², float64; likewise
    """

    loss_MN: Tensor
    correct_MN: Tensor | None
    gradients_MP: Tensor | None
    squared_MN: Tensor | None
    weighted_MN: Tensor | None


def prepare(config: RunConfig) -> None:
    """Loads what a pass takes, or compiles it where this process has not done so yet."""
    _addresses(config.hardware.dtype, config.objective.kind, _pieces(program_of(config)))
    _function(config.hardware.dtype)


def sample_pass(
    population: Population,
    batch: Batch,
    *,
    gradient: bool = False,
    norms: bool = False,
    weights_MP: Tensor | None = None,
) -> SamplePass:
    """One pass over a batch at the parameters where the population stands: losses, and with ``gradient`` the mean
    gradient, with ``norms`` those of each sample's own gradient; each asks for what stands before it.

    weights_MP: w, at least 0 and finite, of a second kind of norm; with ``norms`` only. For populations that the fused
    engine trains (``fused_support.unsupported``). What a member gets is the same, bit for bit, alone and among others,
    with any number of threads; a NaN is in its own sample's loss and norm, and in the mean gradient of its member.

    Cost: the losses a third of a training step, the gradient a step, the norms half a step more. In memory the
    scratch array of one member for each thread.
    """
    wanted = LOSSES if not (gradient or norms) else GRADIENT if not norms else NORMS
    work = _Work(population, batch, wanted, weights_MP if norms else None)
    calls = [functools.partial(work.do, place) for place in range(len(population))]
    num_threads = _num_threads(population, batch)
    Team(num_threads).do(calls, num_threads)
    return work.result()


class _Work:
    """The arrays of one pass, and what does a member's part."""

    def __init__(self, population: Population, batch: Batch, wanted: int, weights_MP: Tensor | None) -> None:
        self.population, self.batch = population, batch
        self.wanted = wanted if weights_MP is None else WEIGHTED_NORMS
        self.counts = [int(count) for count in batch.counts_M.tolist()]
        parameters_MP = population.parameters_MP.detach().contiguous().numpy()
        self.dtype, self.num_parameters = parameters_MP.dtype, parameters_MP.shape[1]
        targets_MNF, importance_MF = targets_of(population, batch)
        self.num_targets, shape = targets_MNF.shape[2], targets_MNF.shape[:2]
        self.loss_MN, self.correct_MN = (np.zeros(shape, self.dtype) for _ in range(2))
        self.gradients_MP = np.empty_like(parameters_MP)
        self.squared_MN, self.weighted_MN = (np.zeros(shape) for _ in range(2))
        self.weights_MP = None if weights_MP is None else weights_MP.double().contiguous().numpy()
        self.given = (parameters_MP, batch.inputs_MND.contiguous().numpy(), targets_MNF, importance_MF)
        self.found = (self.loss_MN, self.correct_MN, self.gradients_MP, self.squared_MN, self.weighted_MN)
        self.free: list[tuple[np.ndarray, np.ndarray]] = []  # scratch arrays that no thread works in
        # Numbers of an activation may be each member's own.
        self.program = None if population.activation_values else program_of(population.configs[0])
        # Addresses once for all members: asking an array for its own costs as much as a small member's pass.
        self.starts = [(array.ctypes.data, array.strides[0]) for array in (*self.given, *self.found)]

    def do(self, m: int) -> None:
        """A member, in scratch arrays that nobody else has at this time."""
        program = self.program or program_of(self.population.configs[m])
        member = self._layout(m, program)
        try:
            scratch, doubles = (
                self.free.pop()
            )  # one step, which threads do not interrupt, as is giving them back
        except IndexError:
            scratch, doubles = np.empty(0, self.dtype), np.empty(0)
        needed = doubles_of(self.num_parameters, member.widest, member.block)
        if len(scratch) < member.size:
            scratch = aligned(member.size, self.dtype)
        if self.wanted >= NORMS and len(doubles) < needed:
            doubles = aligned(needed, np.dtype(np.float64))
        if self.weights_MP is not None:
            doubles[: self.num_parameters] = self.weights_MP[m]
        self._run(m, scratch, doubles, member, program)
        self.free.append((scratch, doubles))

    def _run(
        self, m: int, scratch: np.ndarray, doubles: np.ndarray, member: _Member, program: Program
    ) -> None:
        config = self.population.configs[m]
        dtype = config.hardware.dtype
        kernel, operations = _addresses(dtype, config.objective.kind, _pieces(program))
        given, found = (
            [start + m * stride for start, stride in part] for part in (self.starts[:4], self.starts[4:])
        )
        _function(dtype)(
            scratch.ctypes.data, doubles.ctypes.data, member.places, member.table, member.length,
            member.widest, program.operations.ctypes.data, program.numbers.ctypes.data, len(program.operations),
            operations.ctypes.data, kernel.ctypes.data, *given[:3], self.num_targets, given[3], self.wanted, *found,
        )  # fmt: skip

    def _layout(self, m: int, program: Program) -> _Member:
        model = self.population.model
        assert isinstance(model, Chain)
        sizes = (len(program.operations), self.counts[m], self.num_targets, self.dtype.itemsize)
        return _layout(tuple(model.layers), model.config.bias, *sizes)

    def result(self) -> SamplePass:
        def given(array: np.ndarray, least: int) -> Tensor | None:
            return torch.from_numpy(array) if self.wanted >= least else None

        has_labels = not self.batch.targets.is_floating_point()
        return SamplePass(
            torch.from_numpy(self.loss_MN),
            torch.from_numpy(self.correct_MN != 0) if has_labels else None,
            given(self.gradients_MP, GRADIENT),
            given(self.squared_MN, NORMS),
            given(self.weighted_MN, WEIGHTED_NORMS),
        )


def _pieces(program: Program) -> frozenset[int]:
    return frozenset(program.operations[:, 0].tolist())


@functools.cache
def _addresses(dtype: str, objective: str, used: frozenset[int]) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of what the kernel calls, in its order, and by piece of an activation's program."""
    names = ("tiles.product", "tiles.add_gradient", DERIVATIVES[objective], f"losses.{objective}_of_samples")
    operations = {f"operations.{name}": place in used for place, name in enumerate(PIECES)}
    return addresses(dict.fromkeys(names, True), dtype), addresses(operations, dtype)


@functools.cache
def _function(dtype: str) -> Callable[..., int]:
    """The kernel, for plain numbers: addresses and sizes are alike."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * NUM_ARGUMENTS)
    # Numba's convention, as in ``machine_code.call_of``.
    unread = (ctypes.byref(ctypes.c_void_p()), ctypes.byref(ctypes.c_void_p()))
    return functools.partial(kind(address("sample_kernel.sample_pass", dtype)), *unread)


class _Member(NamedTuple):
    """Sizes of a member's scratch arrays, and the addresses of the tables that tell them."""

    places: int
    table: int
    length: int
    widest: int
    block: int
    size: int
    kept: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=4096)
def _layout(
    layers: tuple[Layer, ...], bias: bool, num_operations: int, samples: int, num_targets: int, itemsize: int
) -> _Member:
    table, places = layout(
        layers, bias=bias, num_operations=num_operations, samples=samples, num_targets=num_targets, itemsize=itemsize
    )  # fmt: skip
    widest, kept = max(max(layer.fan_in + bias, layer.fan_out) for layer in layers), (np.array(places), table)
    addresses_of = [array.ctypes.data for array in kept]
    return _Member(addresses_of[0], addresses_of[1], len(table), widest, places.block, places.size, kept)


def _num_threads(population: Population, batch: Batch) -> int:
    operations = 6 * population.model.num_parameters * float(batch.counts_M.sum())
    most = threads_over_members(population.configs)
    return max(1, min(most, int(operations / OPERATIONS_WORTH_A_THREAD)))
