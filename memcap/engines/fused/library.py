"""The compiled code that a run needs: the training loop and the pieces that it calls."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import njit, typeof
from numba.core import types

from memcap.config.run_config import RunConfig
from memcap.engines.fused import kernel, losses, operations, tiles, updates
from memcap.engines.fused.compile_cache import with_cache
from memcap.engines.fused.kernel import Activation, Addresses, Data
from memcap.engines.fused.layout import Places
from memcap.engines.fused.pieces import OPTIONS, Piece
from memcap.engines.fused.program import PIECES, activation_program

ELEMENTS: dict[str, Any] = {"float32": types.float32, "float64": types.float64}
OBJECTIVES = {
    "cross_entropy": (losses.cross_entropy, losses.cross_entropy_value),
    "squared_error": (losses.squared_error, losses.squared_error_value),
}


class Kernel(NamedTuple):
    """What trains a member."""

    train: Any
    activation: Activation
    addresses: Addresses


def kernel_of(config: RunConfig, *, wants_loss: bool = False) -> Kernel:
    """The kernel of a run, compiled or loaded where this process has not done so yet."""
    dtype = config.hardware.dtype
    derivative, value = OBJECTIVES[config.objective.kind]
    addresses = Addresses(
        product=_address(tiles.product, dtype),
        add_gradient=_address(tiles.add_gradient, dtype),
        objective=_address(derivative, dtype),
        objective_value=_address(value, dtype) if wants_loss else 0,
        clip=_address(updates.clip, dtype) if config.optimizer.clip_norm is not None else 0,
        update=_address(updates.sgd if config.optimizer.kind == "sgd" else updates.adam, dtype),
    )
    return Kernel(_train(dtype), _activation(config, dtype), addresses)


def _activation(config: RunConfig, dtype: str) -> Activation:
    if not config.model.uses_activation:
        return Activation(np.zeros((0, 4), np.int64), np.zeros(0), np.zeros(0, np.int64))
    steps, numbers = activation_program(config.activation)
    used = set(steps[:, 0].tolist())
    addresses = [
        _address(getattr(operations, name), dtype) if place in used else 0
        for place, name in enumerate(PIECES)
    ]
    return Activation(steps, numbers, np.array(addresses, dtype=np.int64))


@functools.cache
def _address(piece: Piece, dtype: str) -> int:
    def build(caches: bool) -> Any:
        compiled = piece.compiled_for(ELEMENTS[dtype], caches)
        _kept.append(compiled)
        return compiled.address

    return int(with_cache(build, dtype))


_kept: list[Any] = []  # the code behind the addresses lives as long as these


@functools.cache
def _train(dtype: str) -> Any:
    """The training loop; it is compiled when it is called first."""
    signature = _signature(dtype)

    def build(caches: bool) -> Any:
        dispatcher = njit(nogil=True, **OPTIONS)(kernel.train.py_func)
        if caches:
            dispatcher.enable_caching()
        dispatcher.compile(signature)
        return dispatcher

    return with_cache(build, dtype)


def _signature(dtype: str) -> tuple[Any, ...]:
    """The types of ``kernel.train``: with one signature, nothing is compiled by surprise in the middle of a run."""
    flat, table, integers = np.zeros(0, dtype), np.zeros((0, 0), dtype), np.zeros((0, 0), np.int64)
    places, addresses = Places(*[0] * len(Places._fields)), Addresses(*[0] * len(Addresses._fields))
    activation = Activation(integers, np.zeros(0), np.zeros(0, np.int64))
    data = Data(table, table, flat)
    sample = (flat, places, integers, activation, addresses, data, integers, 0.0, table)
    return tuple(typeof(value) for value in sample)
