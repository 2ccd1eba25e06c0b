"""How hard the losses pull: gradient norms, conflict between samples, the size of an update; [M] each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from memcap.batch import Batch
from memcap.engines.batched import updated_parameters
from memcap.measures.conflict import gradient_conflict
from memcap.measures.first_order import FirstOrder
from memcap.measures.gradients import gradient_norms, l2_norms
from memcap.population import Population

Columns = dict[str, Tensor]


def norm_columns(population: Population, gradients_MP: Tensor, preconditioner_MP: Tensor | None) -> Columns:
    """Norm of the full-batch gradient, total and per layer; and of D⁻¹ times it where the optimizer has a D."""
    columns = gradient_norms(gradients_MP, layer_slices(population))
    if preconditioner_MP is not None:
        columns["gradients/preconditioned/norm"] = l2_norms(gradients_MP / preconditioner_MP)
    return columns


def conflict_columns(batch: Batch, found: FirstOrder, preconditioner_MP: Tensor | None) -> Columns:
    """Coherence, cancellation and noise scale of the gradients of a batch's samples, of which ``found`` has the norms.

    Names: gradients/coherence, ...; and gradients/preconditioned/coherence, ... of D⁻¹ g_i where the optimizer has a
    preconditioner D.
    """
    gradients_MP, squared_MN, correct_MN = found.gradients_MP, found.squared_MN, found.scores.correct_MN
    assert gradients_MP is not None
    assert squared_MN is not None
    mask_MN = batch.full_mask(squared_MN)
    conflict = gradient_conflict(squared_MN, l2_norms(gradients_MP).square(), mask_MN, correct_MN)
    columns = {f"gradients/{name}": value_M for name, value_M in conflict.items()}
    if found.weighted_MN is not None and preconditioner_MP is not None:
        norm_M = l2_norms(gradients_MP / preconditioner_MP)
        conflict = gradient_conflict(found.weighted_MN, norm_M.square(), mask_MN, correct_MN)
        columns |= {f"gradients/preconditioned/{name}": value_M for name, value_M in conflict.items()}
    return columns


def update_columns(population: Population, gradients_MP: Tensor) -> Columns:
    """‖Δθ‖ / ‖θ‖ of the update that the full-batch gradient would make here, total and per layer.

    It is a hypothetical one: with the learning rate of the last step, and of the whole training set also where
    steps take mini-batches. Not finite where the weights are zero.
    """
    new_MP = updated_parameters(population, gradients_MP)
    change_MP, old_MP = new_MP - population.parameters_MP, population.parameters_MP
    columns = {"updates/weight_ratio": l2_norms(change_MP) / l2_norms(old_MP)}
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for layer, part in layer_slices(population):
        change_M, size_M = l2_norms(change_MP[:, part]), l2_norms(old_MP[:, part])
        if layer in parts:
            change_M, size_M = torch.hypot(change_M, parts[layer][0]), torch.hypot(size_M, parts[layer][1])
        parts[layer] = change_M, size_M
    return columns | {
        f"updates/weight_ratio/{layer}": change_M / size_M for layer, (change_M, size_M) in parts.items()
    }


def layer_slices(population: Population) -> Sequence[tuple[str, slice]]:
    """Which part of the flat parameters belongs to which layer; weight and bias of a layer come one by one."""
    slices, start = [], 0
    for name, shape in population.model.shapes.items():
        size = int(torch.Size(shape).numel())
        slices.append((name.rsplit(".", 1)[0], slice(start, start + size)))
        start += size
    return slices
