"""Engines: what advances a population between two measurements, and does nothing else."""

from __future__ import annotations

from memcap.config.schema import HardwareConfig
from memcap.engines.batched import BatchedEngine
from memcap.engines.engine import Engine

__all__ = ["BatchedEngine", "Engine", "build_engine"]


def build_engine(hardware: HardwareConfig) -> Engine:
    """The engine that ``hardware.engine`` names; ``auto`` takes the batched one, which trains everything."""
    return BatchedEngine()
