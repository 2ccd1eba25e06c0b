"""Losses, gradients and per-sample gradient norms of a population: compiled where it can be, else by torch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from memcap.batch import Batch
from memcap.engines import fused_sample_pass
from memcap.engines.batched import gradients
from memcap.measures.conflict import sample_gradient_norms
from memcap.objectives import Scores
from memcap.population import Population


class FirstOrder(NamedTuple):
    """What the losses of a batch say at the parameters, to first order; None what was not asked for.

    scores         of each sample [M, N]
    gradients_MP   gradient of each member's own mean loss
    squared_MN     ‖g_i‖² of each sample's own gradient, float64
    weighted_MN    ‖D⁻¹ g_i‖², float64

    In places of padding anything may stand.
    """

    scores: Scores
    gradients_MP: Tensor | None
    squared_MN: Tensor | None
    weighted_MN: Tensor | None


def sample_scores(population: Population, batch: Batch) -> Scores:
    """Loss of each sample, and where it exists its code length and whether it is memorized; [M, N] each."""
    return first_order(population, batch).scores


def first_order(
    population: Population,
    batch: Batch,
    *,
    gradient: bool = False,
    norms: bool = False,
    preconditioner_MP: Tensor | None = None,
) -> FirstOrder:
    """Scores, with ``gradient`` that of the mean loss, with ``norms`` also those of each sample's own gradient.

    preconditioner_MP: the diagonal D of a second kind of norms. One compiled pass where the fused engine trains such
    a population, 5 to 20 µs per 100 samples of width 10 to 40; else a pass of torch each, some ten times that.
    """
    weights_MP = None
    if norms and preconditioner_MP is not None:
        weights_MP = preconditioner_MP.double().reciprocal().square()
    compiled = fused_sample_pass(population)
    if compiled is not None:
        found = compiled(population, batch, gradient=gradient, norms=norms, weights_MP=weights_MP)
        code_length_MN = found.loss_MN if population.configs[0].objective.kind == "cross_entropy" else None
        scores = Scores(found.loss_MN, code_length_MN, found.correct_MN)
        return FirstOrder(scores, found.gradients_MP, found.squared_MN, found.weighted_MN)
    gradients_MP = gradients(population, batch) if gradient or norms else None
    squared_MN, weighted_MN = sample_gradient_norms(population, batch, weights_MP) if norms else (None, None)
    return FirstOrder(population.scores(batch), gradients_MP, squared_MN, weighted_MN)
