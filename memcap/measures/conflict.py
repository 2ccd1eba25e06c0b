"""Gradient conflict: how much the samples of a training set pull against each other.

g_i is the gradient of sample i's own loss, so the gradient of a member's loss is ḡ = (1/N) Σ_i g_i.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memcap.batch import Batch
from memcap.errors import BadInput
from memcap.models import build_activation
from memcap.models.chain import Chain, Trace, told_by_layers
from memcap.models.model import unflatten
from memcap.population import Population

DEFAULT_MAX_BYTES = 64 * 2**20


def sample_gradient_norms(
    population: Population,
    batch: Batch,
    weights_MP: Tensor | None = None,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> tuple[Tensor, Tensor | None]:
    """‖g_i‖² and Σ_p w_p g_ip² of every sample, at the current parameters; float64 [M, N].

    weights_MP: w, at least 0 and finite; for gradients preconditioned by D⁻¹ pass D⁻². None: the second result is None.
    Places of padding hold the norms of the samples that are repeated there.

    Chains: one forward and one backward pass over the batch and no gradient of a sample at all
    (`chain_gradient_norms`). Other models: `dense_gradient_norms`, whose gradients take at most ``max_bytes``.
    """
    if told_by_layers(population.model):
        return chain_gradient_norms(population, batch, weights_MP)
    return dense_gradient_norms(population, batch, weights_MP, max_bytes=max_bytes)


def chain_gradient_norms(
    population: Population, batch: Batch, weights_MP: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The same for chains. A layer z = a A + b has g = (a δᵀ, δ) with δ = ∂loss/∂z, so that of each sample

    ‖g‖² = Σ_layers (‖a‖² + 1) ‖δ‖²   and   Σ_p w_p g_p² = Σ_layers Σ_jk a_j² w_jk δ_k² + Σ_k w_k δ_k²,

    without the 1 and the last term where there is no bias. Squares are taken in float64: those of a memorized
    sample's float32 derivatives would vanish. Takes as long as two gradients, three with weights (measured, CPU;
    per-sample gradients: fifteen). Goodfellow, 2015, arXiv 1510.01799.
    """
    model = population.model
    assert told_by_layers(model)
    trace, derivatives = _trace_and_derivatives(population, model, batch)
    raw_MN = torch.zeros(batch.targets.shape[:2], dtype=torch.float64, device=population.device)
    weighted_MN = None if weights_MP is None else raw_MN.clone()
    weights = {} if weights_MP is None else unflatten(weights_MP.double(), model.shapes)
    for layer, (inputs_MNI, _) in trace.items():
        squared_MNI = inputs_MNI.detach().double().square()
        squared_MNO = derivatives[layer].double().square()
        raw_MN += (squared_MNI.sum(2) + model.config.bias) * squared_MNO.sum(2)
        if weighted_MN is not None:
            seen_MNO = torch.bmm(squared_MNI, weights[f"{layer}.weight"])
            if model.config.bias:
                seen_MNO = seen_MNO + weights[f"{layer}.bias"][:, None, :]
            weighted_MN += (seen_MNO * squared_MNO).sum(2)
    return raw_MN, weighted_MN


def dense_gradient_norms(
    population: Population,
    batch: Batch,
    weights_MP: Tensor | None = None,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> tuple[Tensor, Tensor | None]:
    """The same for any model: the gradients themselves, of some samples at a time.

    A chunk of C samples is a population of C M members with one sample each, which asks nothing of model and
    objective that training does not ask (torch.func.vmap, for one, refuses one_hot). Its gradients [C M, P] take
    at most ``max_bytes`` unless C is 1, all of it some four times that. Costs about N steps of one sample.
    """
    if max_bytes < 1:
        raise BadInput(f"sample_gradient_norms: max_bytes must be at least 1, got {max_bytes}; give bytes")
    chunk = max(1, max_bytes // (population.parameters_MP.numel() * population.parameters_MP.element_size()))
    weights_MP1 = None if weights_MP is None else weights_MP.double()[:, :, None]
    raw, weighted = [], []
    pieces = zip(batch.inputs_MND.split(chunk, 1), batch.targets.split(chunk, 1), strict=True)
    for inputs_MCD, targets in pieces:
        squared_MCP = _sample_gradients(population, inputs_MCD, targets).double().square_()
        raw.append(squared_MCP.sum(2))
        if weights_MP1 is not None:
            weighted.append(torch.bmm(squared_MCP, weights_MP1)[:, :, 0])
    return torch.cat(raw, 1), torch.cat(weighted, 1) if weighted else None


def gradient_conflict(
    squared_norms_MN: Tensor,
    mean_gradient_squared_norm_M: Tensor,
    mask_MN: Tensor,
    memorized_MN: Tensor | None,
) -> dict[str, Tensor]:
    """How far the samples' gradients cancel; float64 [M] by name.

    coherence                 ‖Σ_i g_i‖² / (N Σ_i ‖g_i‖²) = ‖ḡ‖² / mean ‖g_i‖²: 1 where all gradients are equal,
                              about 1/N where they are independent, 0 where they cancel. They cancel at every
                              stationary point, whether samples compete there or not: alone, it is a
                              convergence meter. Read it with the next one.
    cancellation              (1/N) Σ_i ‖g_i‖, in nats (or the loss's unit) per unit of parameters: what is left
                              of the samples' own pull. At a stationary point, 0 tells that all are content, and
                              more that they hold each other in balance.
    cancellation_unmemorized  mean ‖g_i‖ of the samples that are not memorized: what pulls in vain. NaN where
                              none is left; absent where ``memorized_MN`` is None.
    noise_scale               tr Σ / ‖ḡ‖² = 1/coherence − 1, Σ the covariance of the N gradients (divided by N:
                              the training set is the population): the batch size at which a mini-batch's
                              gradient is noise and signal in equal parts. McCandlish et al., 2018,
                              arXiv 1812.06162. Coherence told in other units, and infinite where ḡ = 0.

    squared_norms_MN: ‖g_i‖², or weighted ones. mean_gradient_squared_norm_M: ‖ḡ‖² of the same samples, weighted
    alike. Its rounding is their floor: below the square of the dtype's epsilon coherence says nothing.
    mask_MN: bool; where it is false anything may stand. memorized_MN: bool.
    """
    squared_MN = squared_norms_MN.double().where(mask_MN, 0.0)
    total_M, norms_MN = mean_gradient_squared_norm_M.double(), squared_MN.sqrt()
    num_samples_M = mask_MN.sum(1).double()
    mean_M = squared_MN.sum(1) / num_samples_M
    result = {
        "coherence": total_M / mean_M,
        "cancellation": norms_MN.sum(1) / num_samples_M,
        "noise_scale": (mean_M - total_M) / total_M,
    }
    if memorized_MN is not None:
        left_MN = mask_MN & ~memorized_MN
        result["cancellation_unmemorized"] = norms_MN.where(left_MN, 0.0).sum(1) / left_MN.sum(1).double()
    return result


def _trace_and_derivatives(
    population: Population, model: Chain, batch: Batch
) -> tuple[Trace, dict[str, Tensor]]:
    """What enters each layer, and the derivative of each sample's own loss by what leaves it, [M, N, fan_out]."""
    with torch.enable_grad():
        parameters_MP = population.parameters_MP.detach().requires_grad_()
        named = unflatten(parameters_MP, model.shapes)
        outputs_MNV, trace = model.traced(named, batch.inputs_MND, population.activate)
        loss_MN = population.objective.losses(outputs_MNV, batch.targets, population.importance_MF)
        # A sum: samples do not meet in a chain, so the derivative of all losses is that of the sample's own.
        derivatives = torch.autograd.grad(loss_MN.sum(), [leaving for _, leaving in trace.values()])
    return trace, dict(zip(trace, derivatives, strict=True))


def _sample_gradients(population: Population, inputs_MCD: Tensor, targets: Tensor) -> Tensor:
    """Gradients [M, C, P] of C samples of each member, which become members of their own."""
    num_members, count = inputs_MCD.shape[:2]
    values = {k: v.repeat_interleave(count, 0) for k, v in population.activation_values.items()}
    activate = build_activation(population.configs[0], values)
    importance_MF = population.importance_MF
    if importance_MF is not None:
        importance_MF = importance_MF.repeat_interleave(count, 0)
    with torch.enable_grad():
        parameters_mP = population.parameters_MP.detach().repeat_interleave(count, 0).requires_grad_()
        named = unflatten(parameters_mP, population.model.shapes)
        outputs_m1V = population.model.forward(named, inputs_MCD.flatten(0, 1)[:, None], activate)
        loss_m1 = population.objective.losses(outputs_m1V, targets.flatten(0, 1)[:, None], importance_MF)
        (gradient_mP,) = torch.autograd.grad(loss_m1.sum(), parameters_mP)
    return gradient_mP.view(num_members, count, -1)
