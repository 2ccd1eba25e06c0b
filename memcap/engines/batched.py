"""The population as one batch of torch operations: any model, any device."""

from __future__ import annotations

from contextlib import nullcontext
from typing import ClassVar

import torch
from torch import Tensor

from memcap.batch import Batch
from memcap.optimizers import Evaluate, Searching, clip_by_norm_
from memcap.population import Population

# Scalars of this many steps are prepared at once: enough to hide the cost, little to hold.
STEPS_PREPARED = 256
AUTOCAST = {"none": None, "bfloat16": torch.bfloat16}  # hardware.autocast


class BatchedEngine:
    """Automatic differentiation of the summed loss, then one functional update of all members.

    The loop asks nothing of the device that it would have to wait for: scalars of many steps are made beforehand, in
    float64. On a GPU that has not been seen yet: ``tests/engines/test_batched_gpu.py`` checks it where there is one.
    """

    name: ClassVar[str] = "batched"

    @property
    def num_threads(self) -> int:
        """torch's."""
        return torch.get_num_threads()

    def advance(self, population: Population, num_steps: int) -> None:
        """``num_steps`` steps in place, with batches and schedule of each member's own.

        However a training is split into calls, the bits are the same.
        """
        if isinstance(population.optimizer, Searching):
            _search(population, population.optimizer, num_steps)
            return
        end = population.step + num_steps
        while population.step < end:
            block_end = (population.step // STEPS_PREPARED + 1) * STEPS_PREPARED
            self._advance_block(population, min(end, block_end) - population.step)

    def _advance_block(self, population: Population, num_steps: int) -> None:
        state, optimizer = _known_state(population), population.optimizer
        assert not isinstance(optimizer, Searching)
        rows = _coefficient_rows(population, num_steps)
        device, dtype = population.device, population.dtype
        clips = bool(torch.isfinite(population.values["clip_norm"]).any())
        clip_norm_M1 = population.values["clip_norm"][:, None].to(device, dtype) if clips else None
        batches = population.batches(population.step, num_steps)
        autocast = AUTOCAST[population.configs[0].hardware.autocast]
        for k in range(num_steps):
            batch = population.training_set if batches is None else next(batches)
            gradients_MP = gradients(population, batch, autocast)
            if clip_norm_M1 is not None:
                clip_by_norm_(gradients_MP, clip_norm_M1)
            coefficients = {name: row[k] for name, row in rows.items()}
            optimizer.update(population.parameters_MP, gradients_MP, state, coefficients)
        population.step += num_steps


def _search(population: Population, optimizer: Searching, num_steps: int) -> None:
    state, evaluate = _known_state(population), evaluation(population)
    for _ in range(num_steps):
        optimizer.step(population.parameters_MP, state, population.values, evaluate)
    population.step += num_steps


def _coefficient_rows(population: Population, num_steps: int) -> dict[str, tuple[Tensor, ...]]:
    """The optimizer's scalars of the next K steps, each a tuple of K tensors [M, 1].

    They are computed for all of the block that the population stands in, and then cut: torch and NumPy round
    powers and cosines differently in the vectorized part of an array and in what is left over. Computed from
    wherever a call starts, they would differ in the last bit, and measuring a run would change its weights.
    """
    offset = population.step % STEPS_PREPARED
    start = population.step - offset
    scalars = population.optimizer_scalars(start, STEPS_PREPARED)
    needed = slice(offset, offset + num_steps)
    return {
        name: value[needed].to(population.device, population.dtype).unbind(0)
        for name, value in scalars.items()
    }


def gradients(population: Population, batch: Batch, autocast: torch.dtype | None = None) -> Tensor:
    """Gradient of each member's own mean loss on the batch, [M, P], in the dtype of the parameters.

    The sum over members keeps them independent; a mean would divide every learning rate by M. With ``autocast``,
    products and activations are rounded to that dtype, forward and backward (``torch.autocast``); the loss is not.
    """
    with torch.enable_grad():
        parameters_MP = population.parameters_MP.detach().requires_grad_()
        # No cache of weights in the lower dtype: views of the flat parameters never enter it.
        with (
            nullcontext()
            if autocast is None
            else torch.autocast(population.device.type, autocast, cache_enabled=False)
        ):
            outputs = population.outputs(parameters_MP, batch)
        total = population.mean_losses(outputs.to(population.dtype), batch).sum()
        (gradients_MP,) = torch.autograd.grad(total, parameters_MP)
    return gradients_MP


def evaluation(population: Population) -> Evaluate:
    """Mean losses over the training set and their gradients, at any parameters of these members."""

    def evaluate(parameters_MP: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            parameters_MP = parameters_MP.detach().requires_grad_()
            loss_M = population.losses(parameters_MP, population.training_set)
            (gradients_MP,) = torch.autograd.grad(loss_M.sum(), parameters_MP)
        return loss_M.detach(), gradients_MP

    return evaluate


@torch.no_grad()
def updated_parameters(population: Population, gradients_MP: Tensor) -> Tensor:
    """What the parameters would be after one more update with these gradients, [M, P]; nothing is changed.

    With the learning rate of the last step, so that it is defined at the end of a schedule too. An optimizer that
    searches takes the trial that is next, with the gradient there; where it is rejected the parameters stay.
    """
    device, dtype = population.device, population.dtype
    gradients_MP, parameters_MP = gradients_MP.clone(), population.parameters_MP.clone()
    state = {name: tensor.clone() for name, tensor in _known_state(population).items()}
    if isinstance(population.optimizer, Searching):
        population.optimizer.step(parameters_MP, state, population.values, evaluation(population))
        return parameters_MP
    clip_norm_M1 = population.values["clip_norm"][:, None].to(device, dtype)
    clip_by_norm_(gradients_MP, clip_norm_M1)
    rates_1M = population.last_learning_rates()[None]
    scalars = population.optimizer.coefficients(rates_1M, population.step, population.values)
    coefficients = {name: value[0].to(device, dtype) for name, value in scalars.items()}
    population.optimizer.update(parameters_MP, gradients_MP, state, coefficients)
    return parameters_MP


def _known_state(population: Population) -> dict[str, Tensor]:
    if population.state is None:
        raise ValueError("the optimizer's state is not known: these weights can be measured, not trained")
    return population.state
