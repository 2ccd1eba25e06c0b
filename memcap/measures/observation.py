"""One row of metrics for every member of a population, at the step where it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memcap.engines.batched import gradients
from memcap.measures.bits import bits_per_parameter, bits_standard_error, clamped_bits, memorized_bits
from memcap.measures.gradients import gradient_norms
from memcap.measures.samples import accuracy, memorized_samples
from memcap.measures.sharpness import hessian_vector_products, top_eigenvalue
from memcap.objectives import Scores
from memcap.population import Batch, Population
from memcap.random import stream

Row = dict[str, float | int]
# Share of fresh noise in a warm start, so that Lanczos cannot hide in an eigenspace that is no longer the top.
WARM_START_NOISE = 0.1


class Observer:
    """Takes the measures that a population's configuration asks for; keeps what one leaves for the next.

    That is the best bits so far, the first losses of the samples, and Lanczos' last vectors. Nothing here
    changes the population, and a member's row does not depend on its neighbours.
    """

    def __init__(self, population: Population) -> None:
        num_members = len(population)
        self.measure = population.configs[0].measure
        self.best_bits_M = torch.full((num_members,), -torch.inf, dtype=torch.float64)
        self.vectors_MP: Tensor | None = None
        self.initial_losses: list[np.ndarray] | None = None

    def keep(self, members: Sequence[int]) -> Observer:
        """The observer of the members that stay."""
        kept = object.__new__(Observer)
        kept.measure = self.measure
        kept.best_bits_M = self.best_bits_M[list(members)]
        kept.vectors_MP = None if self.vectors_MP is None else self.vectors_MP[list(members)]
        kept.initial_losses = (
            None if self.initial_losses is None else [self.initial_losses[i] for i in members]
        )
        return kept

    def observe(self, population: Population) -> list[Row]:
        """Metrics by name for each member; a metric that its objective does not have is absent."""
        scores = population.scores(population.training_set)
        if self.measure.samples and population.step == 0:
            self.initial_losses = _per_member(scores.loss_MN, population.training_set)
        columns = self._training_columns(population, scores)
        if self.measure.evaluation:
            for name, batch in population.evaluation_sets.items():
                columns |= evaluation_columns(population, name, batch)
        if self.measure.gradients:
            columns |= gradient_columns(population)
        if self.measure.sharpness:
            columns |= self._sharpness_columns(population)
        host = {name: np.asarray(column.cpu()).tolist() for name, column in columns.items()}
        return [{name: column[i] for name, column in host.items()} for i in range(len(population))]

    def sample_arrays(self, population: Population) -> list[dict[str, np.ndarray]]:
        """Per-sample values of each member, for samples.npz: initial and final loss, right or not."""
        scores = population.scores(population.training_set)
        final = _per_member(scores.loss_MN, population.training_set)
        arrays = [{"final_loss": losses} for losses in final]
        for member, initial in enumerate(self.initial_losses or []):
            arrays[member]["initial_loss"] = initial
        if scores.correct_MN is not None:
            for member, correct in enumerate(_per_member(scores.correct_MN, population.training_set)):
                arrays[member]["correct"] = correct
        return arrays

    def _training_columns(self, population: Population, scores: Scores) -> dict[str, Tensor]:
        batch = population.training_set
        step = population.step
        num_members = len(population)
        loss_M = mean_losses(scores.loss_MN, batch)
        rate_M = population.learning_rates(max(step - 1, 0), 1)[0]
        columns = {
            "train/step": torch.full((num_members,), step),
            f"train/{population.objective.loss_name}": loss_M,
            "train/learning_rate": rate_M,
        }
        exposures_M = population.exposures()
        if exposures_M is not None:
            columns["train/exposures"] = exposures_M
        baselines = [dataset.baseline_bits for dataset in population.datasets]
        if scores.code_length_nats_MN is not None and None not in baselines:
            baseline_M = torch.tensor(baselines, dtype=torch.float64)
            bits_M = memorized_bits(loss_M.cpu(), batch.counts_M.cpu(), baseline_M)
            self.best_bits_M = torch.fmax(self.best_bits_M, bits_M)
            columns["memory/bits"] = bits_M
            columns["memory/bits_best"] = torch.where(self.best_bits_M.isinf(), torch.nan, self.best_bits_M)
            code_MN = scores.code_length_nats_MN
            columns["memory/bits_clamped"] = clamped_bits(
                code_MN, batch.full_mask(code_MN), baseline_M.to(code_MN.device)
            )
            columns["memory/bits_per_parameter"] = bits_per_parameter(bits_M, population.model.num_parameters)
        if scores.correct_MN is not None:
            columns["memory/accuracy"] = accuracy(scores.correct_MN, batch.full_mask(scores.correct_MN))
            columns["memory/memorized_samples"] = memorized_samples(
                scores.correct_MN, batch.full_mask(scores.correct_MN)
            )
        return columns

    def _sharpness_columns(self, population: Population) -> dict[str, Tensor]:
        def loss_of_parameters(parameters_MP: Tensor) -> Tensor:
            return population.losses(parameters_MP, population.training_set)

        product = hessian_vector_products(loss_of_parameters, population.parameters_MP)
        noise_MP = _noise(population)
        start_MP = noise_MP if self.vectors_MP is None else self.vectors_MP + WARM_START_NOISE * noise_MP
        pair = top_eigenvalue(
            product,
            start_MP,
            max_iterations=self.measure.lanczos_iterations,
            tolerance=self.measure.lanczos_tolerance,
        )
        self.vectors_MP = torch.where(pair.vector_MP.isfinite(), pair.vector_MP, noise_MP)
        return {"sharpness/top_eigenvalue": pair.value_M, "sharpness/residual": pair.residual_M}


def mean_losses(loss_MN: Tensor, batch: Batch) -> Tensor:
    """Mean over each member's own samples, accumulated in float64, [M]; padding does not count."""
    loss_MN = loss_MN.cpu().double()
    if batch.mask_MN is not None:
        loss_MN = torch.where(batch.mask_MN.cpu(), loss_MN, 0.0)
    return loss_MN.sum(1) / batch.counts_M.cpu().double()


def evaluation_columns(population: Population, name: str, batch: Batch) -> dict[str, Tensor]:
    """Loss, and where they exist accuracy and bits with their standard error, on one evaluation set."""
    scores = population.scores(batch)
    loss_M = mean_losses(scores.loss_MN, batch)
    columns = {f"eval/{name}/{population.objective.loss_name}": loss_M}
    baselines = [dataset.baseline_bits for dataset in population.datasets]
    if scores.correct_MN is not None:
        columns[f"eval/{name}/accuracy"] = accuracy(scores.correct_MN, batch.full_mask(scores.correct_MN))
    if scores.code_length_nats_MN is not None and None not in baselines:
        baseline_M = torch.tensor(baselines, dtype=torch.float64)
        columns[f"eval/{name}/bits"] = memorized_bits(loss_M, batch.counts_M.cpu(), baseline_M)
        errors_M = bits_standard_error(
            scores.code_length_nats_MN, batch.full_mask(scores.code_length_nats_MN)
        )
        columns[f"eval/{name}/bits_standard_error"] = errors_M
    return columns


def gradient_columns(population: Population) -> dict[str, Tensor]:
    """Norm of the full-batch gradient, total and per layer."""
    layout, start = [], 0
    for name, shape in population.model.shapes.items():
        size = int(np.prod(shape))
        layout.append((name.rsplit(".", 1)[0], slice(start, start + size)))
        start += size
    return gradient_norms(gradients(population, population.training_set), layout)


def _noise(population: Population) -> Tensor:
    """A unit vector [M, P] from each member's own stream, another one at every step."""
    num_parameters = population.model.num_parameters
    rows = [
        stream(c.seed, "lanczos", population.step).standard_normal(num_parameters) for c in population.configs
    ]
    noise_MP = torch.from_numpy(np.stack(rows))
    noise_MP = noise_MP / noise_MP.norm(dim=1, keepdim=True)
    return noise_MP.to(population.device, population.dtype)


def _per_member(values_MN: Tensor, batch: Batch) -> list[np.ndarray]:
    """The values of each member's own samples, without padding."""
    counts = [int(count) for count in batch.counts_M.tolist()]
    host = values_MN.cpu().numpy()
    return [host[member, :count].copy() for member, count in enumerate(counts)]
