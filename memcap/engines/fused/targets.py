"""What the outputs of a chain are compared with, as the kernels read it."""

from __future__ import annotations

import numpy as np

from memcap.batch import Batch
from memcap.models.chain import Chain
from memcap.population import Population

EVERYONE = slice(None)


def targets_of(
    population: Population, batch: Batch, members: slice = EVERYONE
) -> tuple[np.ndarray, np.ndarray]:
    """Targets [M, N, F] of some members and the importance of each feature [M, F], in the population's dtype; for a
    cross-entropy, F = 1 holds labels.

    Raises ValueError for data of another shape than the model's: a kernel would read past their end.
    """
    config, dtype = population.configs[0], np.dtype(population.configs[0].hardware.dtype)
    objective, num_outputs = config.objective, config.data.num_outputs
    assert isinstance(population.model, Chain)
    found, expected = batch.inputs_MND.shape[2], population.model.layers[0].fan_in
    if found != expected:
        raise ValueError(f"the data have {found} inputs, not the {expected} of the model")
    targets = batch.targets[members].numpy()
    importance_MF = np.ones((len(targets), num_outputs), dtype=dtype)
    is_labelled = targets.dtype.kind != "f"
    if is_labelled and (targets.min() < 0 or targets.max() >= num_outputs):
        raise ValueError(f"labels must be at least 0 and less than {num_outputs}")
    if objective.kind == "cross_entropy":
        return targets[:, :, None].astype(dtype, order="C"), importance_MF
    if is_labelled:
        targets = np.eye(num_outputs, dtype=dtype)[targets]
    if population.importance_MF is not None and getattr(objective, "use_importance", False):
        importance_MF[:] = population.importance_MF[members].numpy()
    wanted = np.broadcast_to(targets, (*targets.shape[:2], num_outputs))  # as torch would
    return np.ascontiguousarray(wanted, dtype=dtype), importance_MF
