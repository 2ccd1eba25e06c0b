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

In Python: ``memcap.run``, ``memcap.sweep``, ``memcap.load_run``, ``memcap.load_study`` (see ``memcap.api``),
``memcap.capacity`` and its kin (see ``memcap.compare``), ``memcap.rank_activations`` (see ``memcap.leaderboard``), and
figures (see ``memcap.plot``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memcap import plot
    from memcap.api import BadInput, Run, RunFailed, load_run, load_study, run, spectral_density, sweep
    from memcap.compare.capacity import capacity
    from memcap.compare.comparison import compare as comparison
    from memcap.compare.curves import curves
    from memcap.compare.fits import fits
    from memcap.compare.frame import load_frame
    from memcap.compare.jamming import jamming
    from memcap.compare.published import beside_published, published
    from memcap.leaderboard.board import rank_activations
    from memcap.oracle.exact_columns import with_exact_optimum, with_separable_size

__version__ = "0.1.0"
__all__ = [
    "BadInput",
    "Run",
    "RunFailed",
    "__version__",
    "beside_published",
    "capacity",
    "comparison",
    "curves",
    "fits",
    "jamming",
    "load_frame",
    "load_run",
    "load_study",
    "plot",
    "published",
    "rank_activations",
    "run",
    "spectral_density",
    "sweep",
    "with_exact_optimum",
    "with_separable_size",
]

if not TYPE_CHECKING:  # to a type checker a misspelled name would be Any

    def __getattr__(name: str) -> Any:
        """What ``memcap.api`` and ``memcap.compare`` have, imported when it is asked for: the package costs nothing."""
        if name not in __all__:
            raise AttributeError(f"module 'memcap' has no attribute {name!r}")
        import importlib

        modules = {name: f"memcap.compare.{name}" for name in ("capacity", "curves", "fits", "jamming")}
        modules |= dict.fromkeys(("published", "beside_published"), "memcap.compare.published")
        modules |= dict.fromkeys(("with_exact_optimum", "with_separable_size"), "memcap.oracle.exact_columns")
        modules |= {"load_frame": "memcap.compare.frame", "comparison": "memcap.compare.comparison"}
        modules["rank_activations"] = "memcap.leaderboard.board"
        module = importlib.import_module("memcap.plot" if name == "plot" else modules.get(name, "memcap.api"))
        value = module if name == "plot" else getattr(module, "compare" if name == "comparison" else name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
