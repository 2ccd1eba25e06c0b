"""What is measured once, when a run has ended: samples, rounded weights, exact optimum, spectrum.

All of it follows from the final weights and the data, so a finished run gets it later without training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memcap.batch import Batch
from memcap.config.measure_schema import MeasureConfig
from memcap.measures.curvature import loss_curvature, random_probes
from memcap.measures.data_bias import bias_alignments, data_bias
from memcap.measures.first_order import sample_scores
from memcap.measures.memory import training_columns
from memcap.measures.optimum import has_exact_optimum, optimum_columns
from memcap.measures.rounding import ROUNDING_FORMATS, rounded
from memcap.measures.samples import margins, pearson_correlation, spearman_correlation
from memcap.measures.spectrum import stochastic_lanczos_quadrature
from memcap.objectives import Scores
from memcap.population import Population

Columns = dict[str, Tensor]
Arrays = dict[str, dict[str, np.ndarray]]  # file name -> array name -> values of one member


def end_of_run(
    population: Population, measure: MeasureConfig, initial_losses: Sequence[np.ndarray] | None
) -> tuple[Columns, list[Arrays]]:
    """Columns [M] for the summary, and for each member the arrays to keep; what ``measure`` asks for.

    initial_losses: for each member the losses of its samples at step 0, [N] each, where they are known.
    """
    columns: Columns = {}
    arrays: list[Arrays] = [{} for _ in range(len(population))]
    has_optimum = measure.optimum and has_exact_optimum(population.configs[0])
    if measure.samples or has_optimum:
        scores = sample_scores(population, population.training_set)
    if measure.samples:
        values = sample_values(population, scores, initial_losses)
        columns |= sample_columns(population, values)
        for name, values_MN in values.items():
            for own, values_N in zip(arrays, per_member(values_MN, population.training_set), strict=True):
                own.setdefault("samples", {})[name] = values_N
    if measure.rounding:
        columns |= rounding_columns(population)
    if has_optimum:
        found, at_optimum = optimum_columns(population, *_stored(population, scores))
        columns |= found
        for own, samples in zip(arrays, at_optimum, strict=True):
            own["optimum"] = samples
    if measure.spectrum:
        for own, spectrum in zip(arrays, spectra(population, measure), strict=True):
            own["spectrum"] = spectrum
    return columns, arrays


def _stored(population: Population, scores: Scores) -> tuple[Tensor, list[np.ndarray], list[np.ndarray]]:
    """Bits [M], and for each member the losses of its samples and which are memorized, [N] each."""
    batch = population.training_set
    assert scores.correct_MN is not None
    bits_M = training_columns(population, scores)["memory/bits"]
    return bits_M, per_member(scores.loss_MN, batch), per_member(scores.correct_MN, batch)


def sample_values(
    population: Population, scores: Scores, initial_losses: Sequence[np.ndarray] | None
) -> dict[str, Tensor]:
    """Per-sample values [M, N]: initial_loss, final_loss, and with labels correct, margin and alignment."""
    batch = population.training_set
    values = {"final_loss": scores.loss_MN}
    if initial_losses is not None:
        initial_MN = torch.full_like(scores.loss_MN, torch.nan)
        for member, losses in enumerate(initial_losses):
            initial_MN[member, : len(losses)] = torch.from_numpy(losses).to(initial_MN)
        values["initial_loss"] = initial_MN
    if scores.correct_MN is not None:
        with torch.no_grad():
            outputs_MNV = population.outputs(population.parameters_MP, batch)
        values["correct"] = scores.correct_MN
        values["margin"] = margins(outputs_MNV, batch.targets)
        values["alignment"] = bias_alignments(
            batch.inputs_MND,
            batch.targets,
            batch.full_mask(scores.loss_MN),
            num_classes=outputs_MNV.shape[-1],
        )
    return values


def sample_columns(population: Population, values: dict[str, Tensor]) -> Columns:
    """Correlations between what samples were like and what became of them, each with its standard error.

    samples/initial_final_*: of initial and final loss; samples/alignment_final_*: of a sample's alignment with
    the data's incidental bias and its final loss (below 0: what follows the bias is learned); by rank
    (Spearman), and for the losses also Pearson's. data/class_*: how large that bias is.
    """
    batch = population.training_set
    mask_MN = batch.full_mask(values["final_loss"])
    columns: Columns = {}
    if "initial_loss" in values:
        pair = values["initial_loss"], values["final_loss"]
        found = {
            "correlation": pearson_correlation(*pair, mask_MN),
            "rank_correlation": spearman_correlation(*pair, mask_MN),
        }
        for name, (value_M, error_M) in found.items():
            columns[f"samples/initial_final_{name}"] = value_M
            columns[f"samples/initial_final_{name}_standard_error"] = error_M
    if "alignment" in values:
        value_M, error_M = spearman_correlation(values["alignment"], values["final_loss"], mask_MN)
        columns["samples/alignment_final_rank_correlation"] = value_M
        columns["samples/alignment_final_rank_correlation_standard_error"] = error_M
        num_classes = population.configs[0].data.num_outputs
        bias = data_bias(batch.inputs_MND, batch.targets, mask_MN, num_classes=num_classes)
        columns |= {f"data/{name}": value_M for name, value_M in bias.items()}
    return columns


def rounding_columns(population: Population) -> Columns:
    """Loss, bits and accuracy that remain when the weights are rounded: rounding/<format>/...

    Bits are clamped at 0: weights that were rounded to nonsense remember nothing.
    """
    columns: Columns = {}
    for name in ROUNDING_FORMATS:
        coarse = population.with_parameters(rounded(population.parameters_MP, population.model.shapes, name))
        found = training_columns(coarse, sample_scores(coarse, coarse.training_set))
        loss = f"train/{population.objective.loss_name}"
        columns[f"rounding/{name}/{population.objective.loss_name}"] = found[loss]
        if "memory/bits" in found:
            columns[f"rounding/{name}/bits"] = found["memory/bits"].clamp(min=0)
        if "memory/accuracy" in found:
            columns[f"rounding/{name}/accuracy"] = found["memory/accuracy"]
    return columns


def spectra(population: Population, measure: MeasureConfig) -> list[dict[str, np.ndarray]]:
    """Quadrature nodes (eigenvalues) and weights (their share of all P, sum 1) of each member's Hessian."""
    probes_KMP = random_probes(
        population,
        "spectrum",
        measure.spectrum_probes,
        lambda generator, shape: generator.standard_normal(shape),
    )
    found = stochastic_lanczos_quadrature(
        loss_curvature(population), probes_KMP, steps=measure.spectrum_steps
    )
    is_real = ~np.isnan(found.nodes_MK.numpy())
    return [
        {"nodes": found.nodes_MK[m].numpy()[is_real[m]], "weights": found.weights_MK[m].numpy()[is_real[m]]}
        for m in range(len(population))
    ]


def per_member(values_MN: Tensor, batch: Batch) -> list[np.ndarray]:
    """The values of each member's own samples, without padding."""
    counts = [int(count) for count in batch.counts_M.tolist()]
    host = values_MN.cpu().numpy()
    return [host[member, :count].copy() for member, count in enumerate(counts)]
