"""The population as one batch of torch operations: any model, any device."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from memcap.optimizers import clip_by_norm_
from memcap.population import Batch, Population

# Scalars and batches of this many steps are prepared at once: enough to hide the cost, little to hold.
STEPS_PREPARED = 256


class BatchedEngine:
    """Automatic differentiation of the summed loss, then one functional update of all members.

    Nothing in the loop waits for the device: scalars of many steps are made beforehand, in float64.
    """

    name: ClassVar[str] = "batched"

    def advance(self, population: Population, num_steps: int) -> None:
        """``num_steps`` steps in place, with batches and schedule of each member's own."""
        while num_steps > 0:
            block = min(num_steps, STEPS_PREPARED)
            self._advance_block(population, block)
            num_steps -= block

    def _advance_block(self, population: Population, num_steps: int) -> None:
        rates_KM = population.learning_rates(population.step, num_steps)
        scalars = population.optimizer.coefficients(rates_KM, population.step, population.values)
        device, dtype = population.device, population.dtype
        rows = {name: value.to(device, dtype).unbind(0) for name, value in scalars.items()}
        clips = bool(torch.isfinite(population.values["clip_norm"]).any())
        clip_norm_M1 = population.values["clip_norm"][:, None].to(device, dtype) if clips else None
        batches = population.batches(population.step, num_steps)
        for k in range(num_steps):
            batch = population.training_set if batches is None else batches[k]
            gradients_MP = gradients(population, batch)
            if clip_norm_M1 is not None:
                clip_by_norm_(gradients_MP, clip_norm_M1)
            coefficients = {name: row[k] for name, row in rows.items()}
            population.optimizer.update(
                population.parameters_MP, gradients_MP, population.state, coefficients
            )
        population.step += num_steps


def gradients(population: Population, batch: Batch) -> Tensor:
    """Gradient of each member's own mean loss on the batch, [M, P].

    The sum over members keeps them independent; a mean would divide every learning rate by M.
    """
    with torch.enable_grad():
        parameters_MP = population.parameters_MP.detach().requires_grad_()
        total = population.losses(parameters_MP, batch).sum()
        (gradients_MP,) = torch.autograd.grad(total, parameters_MP)
    return gradients_MP
