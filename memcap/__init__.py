"""memcap measures how many bits a neural network can memorize.

Axis letters, the same in every module (a suffix names a tensor's axes, as in ``logits_MNV``):

====  =======================================================
M     members of a population (always the first axis)
N     samples
D     input dimension
W     width of a hidden layer
V     classes, or the vocabulary
T     tokens
F     features
L     layers
K     steps, where several are prepared together
P     parameters of one member; a flat count, never a shape of its own
====  =======================================================

Units stand in names: ``loss_nats``, ``capacity_bits``, ``time_s``.

In Python: ``memcap.run``, ``memcap.sweep``, ``memcap.load_run``, ``memcap.load_study`` (see ``memcap.api``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memcap.api import BadInput, Run, RunFailed, load_run, load_study, run, spectral_density, sweep

__version__ = "0.1.0"
__all__ = [
    "BadInput",
    "Run",
    "RunFailed",
    "__version__",
    "load_run",
    "load_study",
    "run",
    "spectral_density",
    "sweep",
]

if not TYPE_CHECKING:  # to a type checker a misspelled name would be Any

    def __getattr__(name: str) -> Any:
        """What ``memcap.api`` has, imported when it is asked for first: ``import memcap`` costs nothing."""
        if name not in __all__:
            raise AttributeError(f"module 'memcap' has no attribute {name!r}")
        import importlib

        value = getattr(importlib.import_module("memcap.api"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
