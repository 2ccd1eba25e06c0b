"""What a member of a population needs in memory, known before anything is allocated."""

from __future__ import annotations

import os

from memcap.config.run_config import RunConfig
from memcap.errors import BadInput

# Copies of one sample's activations alive at the peak: values, their gradients, and both again for the second
# derivative that sharpness takes; measured on torch's autograd with relu, gelu and formulas.
ACTIVATION_COPIES = 8
# Copies of the parameters: themselves, gradient, update, two moments, and what a Hessian product needs.
PARAMETER_COPIES = 8


def member_bytes(config: RunConfig) -> int:
    """An upper estimate of the bytes that one member adds to a population.

    Parameters count with their gradient, optimizer state and the Lanczos basis; samples with the activations
    that the backward pass keeps; the float64 copy of the data that NumPy draws is counted too.
    """
    itemsize = 8 if config.hardware.dtype == "float64" else 4
    lanczos = config.measure.lanczos_iterations + 2 if config.measure.sharpness else 0
    parameters = config.num_parameters * (PARAMETER_COPIES + lanczos) * itemsize
    samples = max(config.data.num_measured, config.data.batch_size or 0)
    activations = samples * config.model.activations_per_sample(config.data) * ACTIVATION_COPIES * itemsize
    sets = 3 * samples * (config.data.num_inputs + config.data.num_outputs) * (8 + itemsize)
    return int(parameters + activations + sets)


def memory_limit_bytes(config: RunConfig) -> int:
    """``hardware.memory_gib``, by default half of the machine's memory (on a GPU: half of the GPU's)."""
    if config.hardware.memory_gib is not None:
        return int(config.hardware.memory_gib * 2**30)
    if config.hardware.device == "cuda":
        import torch

        return torch.cuda.get_device_properties(0).total_memory // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def check_fits(config: RunConfig) -> None:
    """Raises BadInput when even a population of one is larger than the limit."""
    needed, limit = member_bytes(config), memory_limit_bytes(config)
    if needed > limit:
        raise BadInput(
            f"one run of model={config.model.kind} with {config.num_parameters:.3g} parameters and"
            f" {config.data.num_measured:,} samples needs about {needed / 2**30:,.3g} GiB, but hardware.memory_gib"
            f" allows {limit / 2**30:.3g}; make it smaller or raise hardware.memory_gib"
        )
