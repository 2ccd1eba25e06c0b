"""The compiled code that a run needs: the training loop and the pieces that it calls."""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from memcap.config.run_config import RunConfig
from memcap.engines.fused import compile_cache
from memcap.engines.fused.program import PIECES, Program, activation_program

UPDATES = {"sgd": "updates.sgd", "adam": "updates.adam", "adamw": "updates.adam"}


class Kernel(NamedTuple):
    """What trains a member: the loop, the activation's program with the addresses of its pieces, and all others.

    ``addresses``: product, gradient, derivative of the objective, its value (0 where it is not wanted), clipping
    (0 where there is none) and update, as in ``kernel.Addresses``.
    """

    train: Callable[..., None]
    program: Program
    program_addresses: np.ndarray
    addresses: np.ndarray


def kernel_of(config: RunConfig, *, wants_loss: bool = False) -> Kernel:
    """The kernel of a run, loaded or compiled where this process has not done so yet."""
    dtype, objective = config.hardware.dtype, f"losses.{config.objective.kind}"
    needed = {
        "tiles.product": True,
        "tiles.add_gradient": True,
        objective: True,
        f"{objective}_value": wants_loss,
        "updates.clip": config.optimizer.clip_norm is not None,
        UPDATES[config.optimizer.kind]: True,
    }
    program = program_of(config)
    used = set(program.operations[:, 0].tolist())
    return Kernel(
        function_of("kernel.train", dtype),
        program,
        addresses({f"operations.{name}": place in used for place, name in enumerate(PIECES)}, dtype),
        addresses(needed, dtype),
    )


def program_of(config: RunConfig) -> Program:
    """The activation's program of a run, empty where its model has none."""
    return activation_program(config.activation) if config.model.uses_activation else Program.empty()


def addresses(needed: dict[str, bool], dtype: str) -> np.ndarray:
    """Addresses of pieces by name, 0 for those that are not needed."""
    return np.array([address(n, dtype) if wanted else 0 for n, wanted in needed.items()], dtype=np.int64)


@functools.cache
def address(piece: str, dtype: str) -> int:
    """Where a piece ('tiles.product') is for scratch arrays of this type."""
    name = f"{piece}.{dtype}"
    found = compile_cache.read(name)
    if found is None:
        from memcap.engines.fused.pieces import compile_piece

        compile_cache.say_what_takes_so_long()
        module, _, function = piece.rpartition(".")
        source = importlib.import_module(f"memcap.engines.fused.{module}")
        found = compile_piece(getattr(source, function), dtype)
        compile_cache.write(name, *found)
    return compile_cache.load(*found)


def function_of(piece: str, dtype: str) -> Callable[..., None]:
    """A piece for arguments made by ``as_c``; it runs without Python's lock, so that threads run at once."""
    return lambda *arguments: call_of(piece, dtype, arguments)()


def call_of(piece: str, dtype: str, arguments: Iterable[Any]) -> Callable[[], None]:
    """A call of a piece with its arguments, made by ``as_c``, fixed: 1 µs each time that it is made."""
    # Numba's convention: where to put a result and an exception, of which there is neither.
    result, exception = ctypes.c_void_p(), ctypes.c_void_p()
    return functools.partial(
        _c_function(piece, dtype), ctypes.byref(result), ctypes.byref(exception), *arguments
    )


@functools.cache
def _c_function(piece: str, dtype: str) -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_int32)(address(piece, dtype))


def as_c(value: np.ndarray | float) -> Any:
    """An argument of a kernel: where an array lies, which lives as long as the argument does, or a number."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        place = ctypes.c_void_p(value.ctypes.data)
        place.array = value  # type: ignore[attr-defined]
        return place
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)
