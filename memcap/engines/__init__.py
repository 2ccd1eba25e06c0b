"""Engines: what advances a population between two measurements, and does nothing else."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from memcap.config.fused_support import missing, takes, unsupported
from memcap.config.run_config import RunConfig
from memcap.engines.batched import BatchedEngine
from memcap.engines.engine import Engine
from memcap.engines.notices import say_once
from memcap.errors import BadInput
from memcap.population import Population

if TYPE_CHECKING:  # it takes what compiles with it
    from memcap.engines.fused.curvature import Hessian

__all__ = ["BatchedEngine", "Engine", "build_engine", "fused_hessian", "fused_sample_pass"]


def build_engine(configs: Sequence[RunConfig]) -> Engine:
    """The engine that ``hardware.engine`` names for a population.

    ``auto`` takes the fused one for runs that it trains, and the batched one, which trains everything, for all
    others and where the kernel cannot be built; one line says so.
    """
    wanted = configs[0].hardware.engine
    if wanted == "batched" or (wanted == "auto" and not all(map(takes, configs))):
        return BatchedEngine()
    reason = missing()
    if reason is None:
        try:
            from memcap.engines.fused.engine import FusedEngine

            return FusedEngine.prepared(configs)
        except Exception as error:  # whatever Numba or LLVM find wrong with this machine
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if wanted == "fused":
        raise BadInput(f"hardware.engine=fused cannot be had: {reason}; use hardware.engine=auto or batched")
    say_once(f"memcap: trained by the batched engine, since the fused one cannot be built here: {reason}")
    return BatchedEngine()


def fused_hessian(population: Population) -> Hessian | None:
    """The Hessian of each member's loss by compiled code, products and eigenvalues; None where there is none.

    For the populations that ``build_engine`` gives to the fused engine, also where only the weights are known.
    """
    if not _is_fused(population):
        return None
    try:
        from memcap.engines.fused.curvature import Hessian, pieces_of

        pieces_of(population.configs[0])
    except Exception as error:  # as above
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        say_once(
            f"memcap: curvature by automatic differentiation, since it cannot be compiled here: {reason}"
        )
        return None
    return Hessian(population)


def fused_sample_pass(population: Population) -> Callable[..., Any] | None:
    """``fused.sample_pass.sample_pass``: losses, gradients and per-sample norms by compiled code; None where there is
    none, for the same populations as ``fused_hessian``."""
    if population not in _sample_passes:
        _sample_passes[population] = _sample_pass(population) if _is_fused(population) else None
    return _sample_passes[population]


_sample_passes: weakref.WeakKeyDictionary[Population, Callable[..., Any] | None] = weakref.WeakKeyDictionary()


def _sample_pass(population: Population) -> Callable[..., Any] | None:
    try:
        from memcap.engines.fused.sample_pass import prepare, sample_pass

        prepare(population.configs[0])
    except Exception as error:  # as above
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        say_once(f"memcap: measured by automatic differentiation, since it cannot be compiled here: {reason}")
        return None
    return sample_pass


def _is_fused(population: Population) -> bool:
    """Whether ``build_engine`` would give a population to the fused engine."""
    wanted, configs = population.configs[0].hardware.engine, population.configs
    if wanted == "batched" or missing() is not None:
        return False
    return all(map(takes, configs)) or (wanted != "auto" and not any(map(unsupported, configs)))
