"""Loss, bits and accuracy of a population, on its training sets and on sets that it has not seen."""

from __future__ import annotations

import torch
from torch import Tensor

from memcap.batch import Batch
from memcap.measures.bits import bits_per_parameter, bits_standard_error, clamped_bits, memorized_bits
from memcap.measures.first_order import sample_scores
from memcap.measures.samples import accuracy, memorized_samples
from memcap.objectives import Scores
from memcap.population import Population


def training_columns(population: Population, scores: Scores) -> dict[str, Tensor]:
    """Step, loss, rate, exposures; bits where the loss is a code length, accuracy where there are labels; [M] each.

    ``scores`` are those of the training set at the population's parameters.
    """
    batch, step = population.training_set, population.step
    loss_M = mean_losses(scores.loss_MN, batch)
    columns = {
        "train/step": torch.full((len(population),), step),
        f"train/{population.objective.loss_name}": loss_M,
        "train/learning_rate": population.last_learning_rates(),
    }
    exposures_M = population.exposures()
    if exposures_M is not None:
        columns["train/exposures"] = exposures_M
    baseline_M = baseline_bits(population)
    if scores.code_length_nats_MN is not None and baseline_M is not None:
        bits_M = memorized_bits(loss_M, batch.counts_M.cpu(), baseline_M)
        code_MN = scores.code_length_nats_MN
        columns["memory/bits"] = bits_M
        columns["memory/bits_clamped"] = clamped_bits(
            code_MN, batch.full_mask(code_MN), baseline_M.to(code_MN.device)
        )
        columns["memory/bits_per_parameter"] = bits_per_parameter(bits_M, population.model.num_parameters)
    if scores.correct_MN is not None:
        mask_MN = batch.full_mask(scores.correct_MN)
        columns["memory/accuracy"] = accuracy(scores.correct_MN, mask_MN)
        columns["memory/memorized_samples"] = memorized_samples(scores.correct_MN, mask_MN)
    return columns


def evaluation_columns(population: Population, name: str, batch: Batch) -> dict[str, Tensor]:
    """Loss, and where they exist accuracy and bits with their standard error, on one evaluation set; [M] each."""
    scores = sample_scores(population, batch)
    loss_M = mean_losses(scores.loss_MN, batch)
    columns = {f"eval/{name}/{population.objective.loss_name}": loss_M}
    if scores.correct_MN is not None:
        columns[f"eval/{name}/accuracy"] = accuracy(scores.correct_MN, batch.full_mask(scores.correct_MN))
    baseline_M = baseline_bits(population)
    if scores.code_length_nats_MN is not None and baseline_M is not None:
        columns[f"eval/{name}/bits"] = memorized_bits(loss_M, batch.counts_M.cpu(), baseline_M)
        code_MN = scores.code_length_nats_MN
        columns[f"eval/{name}/bits_standard_error"] = bits_standard_error(code_MN, batch.full_mask(code_MN))
    return columns


def mean_losses(loss_MN: Tensor, batch: Batch) -> Tensor:
    """Mean over each member's own samples, accumulated in float64 on the host, [M]; padding does not count."""
    loss_MN = loss_MN.cpu().double()
    if batch.mask_MN is not None:
        loss_MN = torch.where(batch.mask_MN.cpu(), loss_MN, 0.0)
    return loss_MN.sum(1) / batch.counts_M.cpu().double()


def baseline_bits(population: Population) -> Tensor | None:
    """Code length of a sample without a model, float64 [M] on the host; None where a loss is no code length."""
    baselines = [dataset.baseline_bits for dataset in population.datasets]
    return None if None in baselines else torch.tensor(baselines, dtype=torch.float64)
