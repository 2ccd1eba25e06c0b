"""Which runs the fused engine trains, known from the configuration alone: imports neither torch nor Numba."""

from __future__ import annotations

import importlib.util

from memcap.config.run_config import RunConfig
from memcap.errors import BadInput

MODELS = ("linear", "mlp")
OPTIMIZERS = ("sgd", "adam", "adamw")
OBJECTIVES = ("cross_entropy", "squared_error")
# Above, one matrix no longer stays in a core's cache, and many cores on one network do more than one core each.
MOST_WIDTH_OF_AUTO = 512


def unsupported(config: RunConfig) -> str | None:
    """The part of a run that the fused engine has no kernel for, as 'model=autoencoder'; None where it has all."""
    if config.hardware.device != "cpu":
        return f"hardware.device={config.hardware.device}"
    if config.data.num_samples is None:
        return "data.num_samples=null (a fresh batch every step)"
    parts = {"model": MODELS, "objective": OBJECTIVES, "optimizer": OPTIMIZERS}
    for group, kinds in parts.items():
        part = getattr(config, group)
        if part._target_ is not None or part.kind not in kinds:
            return f"{group}={part._target_ or part.kind}"
    if config.model.uses_activation and config.activation._target_ is not None:
        return f"activation={config.activation._target_}"
    return None


def missing() -> str | None:
    """What the fused engine needs and this environment has not."""
    return None if importlib.util.find_spec("numba") else "the package numba is not installed"


def takes(config: RunConfig) -> bool:
    """Whether ``hardware.engine=auto`` would train this run with the fused engine, if its kernel can be built.

    Asked of each run by itself, so that what a run computes does not depend on what trains beside it.
    """
    widths = (config.data.num_inputs, config.data.num_outputs, getattr(config.model, "width", 0))
    return unsupported(config) is None and max(widths) <= MOST_WIDTH_OF_AUTO


def check_engine(config: RunConfig) -> None:
    """Raises BadInput where ``hardware.engine=fused`` is asked for and cannot be had."""
    if config.hardware.engine != "fused":
        return
    part = unsupported(config)
    if part is not None:
        raise BadInput(f"hardware.engine=fused cannot train {part}; use hardware.engine=auto or batched")
    if (reason := missing()) is not None:
        raise BadInput(f"hardware.engine=fused cannot be had: {reason}; use hardware.engine=auto or batched")
