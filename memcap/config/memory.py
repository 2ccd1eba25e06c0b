"""What a member of a population needs in memory, known before anything is allocated."""

from __future__ import annotations

import os

from memcap.config.fields import schema_fields
from memcap.config.formula import parse_formula
from memcap.config.formula_tree import Binary, Call, Negate, Node
from memcap.config.fused_support import takes
from memcap.config.model_schema import FormulaActivationConfig
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput

# Copies of one sample's activations alive at the peak: values, their gradients, and both again for the second
# derivative that sharpness takes; measured on torch's autograd with relu, gelu and formulas.
ACTIVATION_COPIES = 8
# Every operation of a formula keeps up to four more: an activation counts its value before and after, so two here.
COPIES_PER_OPERATION = 2
# Copies of the parameters: themselves, gradient, update, two moments, and what a Hessian product needs.
PARAMETER_COPIES = 8
# The same of a compiled Hessian, which keeps them from one measurement to the next: weights and vector as the products
# read them, the image, the diagonal of a preconditioner. Lanczos' basis and its images come on top, for each thread:
# one member has one at most.
COMPILED_HESSIAN_COPIES = 10

# Indices of mini-batches are drawn for blocks of 256 steps, in 8 bytes each, once on the host and once on the device.
INDEX_BLOCK_BYTES = 2 * 256 * 8


def member_bytes(config: RunConfig) -> int:
    """An upper estimate of the bytes that one member adds to a population.

    Parameters count with their gradient, optimizer state and the Lanczos basis; samples with the activations
    that the backward pass keeps; the float64 copy of the data that NumPy draws is counted too.
    """
    itemsize = 8 if config.hardware.dtype == "float64" else 4
    measure = config.measure
    iterations = min(measure.lanczos_iterations, config.num_parameters) * measure.sharpness
    lanczos = max(
        iterations,
        (measure.spectrum_steps + measure.spectrum_probes) * measure.spectrum,
        measure.trace_probes * measure.trace,
        config.num_parameters * (measure.sharpness and measure.hessian == "dense"),
    )
    is_compiled = takes(config) or config.hardware.engine == "fused"
    if lanczos and is_compiled:
        lanczos = max(lanczos, 2 * iterations + 1) + COMPILED_HESSIAN_COPIES
    # Pairs of steps and gradient changes, and both again while a new one is entered.
    history = 4 * getattr(config.optimizer, "history", 0)
    parameters = config.num_parameters * (PARAMETER_COPIES + history + lanczos + 2 * (lanczos > 0)) * itemsize
    samples = max(config.data.num_measured, config.data.batch_size or 0)
    activations = samples * config.model.activations_per_sample(config.data) * _copies(config) * itemsize
    sets = 3 * samples * (config.data.num_inputs + config.data.num_outputs) * (8 + itemsize)
    indices = INDEX_BLOCK_BYTES * (config.data.batch_size or 0) if config.data.num_samples else 0
    return int(parameters + activations + sets + indices)


def _copies(config: RunConfig) -> int:
    activation = config.activation
    if not (config.model.uses_activation and isinstance(activation, FormulaActivationConfig)):
        return ACTIVATION_COPIES
    operations = _num_operations(parse_formula(activation.formula).tree)
    return max(ACTIVATION_COPIES, COPIES_PER_OPERATION * operations)


def _num_operations(node: Node) -> int:
    if isinstance(node, Negate):
        return 1 + _num_operations(node.operand)
    if isinstance(node, Binary):
        return 1 + _num_operations(node.left) + _num_operations(node.right)
    if isinstance(node, Call):
        return max(1, len(node.arguments) - 1) + sum(map(_num_operations, node.arguments))
    return 0


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
            f"{_sizes(config)} needs about {needed / 2**30:,.3g} GiB for {config.num_parameters:.3g} parameters"
            f" and {config.data.num_measured:,} samples, but hardware.memory_gib allows {limit / 2**30:.3g};"
            " make it smaller or raise hardware.memory_gib"
        )


def _sizes(config: RunConfig) -> str:
    """The keys that make a run large, with their values: 'model.width=8 model.depth=1 data.num_samples=300'."""
    parts = {"model": config.model, "data": config.data}
    return " ".join(
        f"{group}.{field.name}={value}"
        for group, part in parts.items()
        for field, _ in schema_fields(type(part))
        if isinstance(value := getattr(part, field.name), int) and not isinstance(value, bool)
    )
