"""The exact optimum of a linear model on its own samples, beside what training reached: the optimization gap.

Only where the loss is convex and its infimum can be proved: a linear layer, labels, cross-entropy. Solved by
``memcap.oracle.softmax_optimum`` from the very samples of the run, in float64 on the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from memcap.config.measure_schema import MOST_DENSE
from memcap.config.model_schema import LinearConfig
from memcap.config.run_config import RunConfig
from memcap.config.schema import CLASSES, CrossEntropyConfig
from memcap.data.dataset import Samples
from memcap.measures.data_bias import bias_alignments
from memcap.measures.samples import spearman_correlation
from memcap.oracle.softmax_optimum import SoftmaxOptimum, softmax_optimum
from memcap.population import Population

NAMES = (
    "bits",
    "gap_bits",
    "memorized_samples",
    "separable",
    "gradient_norm",
    "decrement_nats",
    "agreement",
    "final_rank_correlation",
    "alignment_rank_correlation",
)


def has_exact_optimum(config: RunConfig) -> bool:
    """Whether the infimum of this loss can be found and proved: a linear layer and the cross-entropy of labels.

    Up to 2,000 equations, (V − 1) D: beyond, a solution would take longer than the training.
    """
    if not isinstance(config.model, LinearConfig) or not isinstance(config.objective, CrossEntropyConfig):
        return False
    own = config.model._target_ is None and config.objective._target_ is None
    num_equations = (config.data.num_outputs - 1) * (config.data.num_inputs + config.model.bias)
    finite = config.data.targets == CLASSES and config.data.num_samples is not None
    return own and finite and num_equations <= MOST_DENSE


def optimum_columns(
    population: Population, bits_M: Tensor, losses: Sequence[np.ndarray], correct: Sequence[np.ndarray]
) -> tuple[dict[str, Tensor], list[dict[str, np.ndarray]]]:
    """Columns ``optimum/...`` float64 [M], and for each member its samples at the optimum, [N] each.

    bits_M, losses and correct ([N] of each member): what training stored, of which samples. ``optimum/bits`` is what
    the exact optimum stores, ``gap_bits`` what training is short of it, ``memorized_samples`` those that the optimum
    classifies correctly, ``separable`` 1 where that is all of them (then the optimum is N log2 V and lies at
    infinity); ``gradient_norm`` and ``decrement_nats`` (half the squared Newton decrement) are the optimum's own and
    prove it. ``agreement`` is the share of samples that both classify correctly or both do not; where the optimum is
    finite, hence unique, the rank correlations of its samples' losses are with those at the end of training, and with
    the alignments of ``data_bias``. All NaN where Newton's method does not decide. Arrays: ``correct``, ``loss``.

    Members with the same samples share one solution. Cost: 4 to 25 systems of (V − 1) D equations for each, more
    beside the separable N; 0.01 to 0.2 s at V = 10, 3 s at D = V = 40.
    """
    solved: dict[str, SoftmaxOptimum | None] = {}
    values: dict[str, list[float]] = {name: [] for name in NAMES}
    arrays = []
    for member, (config, dataset) in enumerate(zip(population.configs, population.datasets, strict=True)):
        samples = dataset.training()
        key = samples.fingerprint()
        if key not in solved:
            solved[key] = _solve(config, samples)
        optimum = solved[key]
        own = {} if optimum is None else _of_samples(optimum, config, samples)
        found = dict.fromkeys(NAMES, math.nan)
        if optimum is not None:
            found |= _numbers(optimum) | _likeness(own, samples, config, losses[member], correct[member])
            found["gap_bits"] = optimum.bits - float(bits_M[member])
        for name in NAMES:
            values[name].append(found[name])
        arrays.append(own)
    columns = {f"optimum/{name}": torch.tensor(found, dtype=torch.float64) for name, found in values.items()}
    return columns, arrays


def _solve(config: RunConfig, samples: Samples) -> SoftmaxOptimum | None:
    try:
        return softmax_optimum(_inputs(config, samples), samples.targets_N, config.data.num_outputs)
    except RuntimeError:  # undecided after all its steps: no run fails for that
        return None


def _inputs(config: RunConfig, samples: Samples) -> np.ndarray:
    """Inputs [N, D], with a column of ones where the layer has a bias."""
    assert isinstance(config.model, LinearConfig)
    return np.c_[samples.inputs_ND, np.ones(len(samples))] if config.model.bias else samples.inputs_ND


def _numbers(optimum: SoftmaxOptimum) -> dict[str, float]:
    return {
        "bits": optimum.bits,
        "memorized_samples": optimum.num_memorized,
        "separable": float(bool(optimum.separability.separable)),
        "gradient_norm": optimum.gradient_norm,
        "decrement_nats": optimum.gap_nats,
    }


def _of_samples(optimum: SoftmaxOptimum, config: RunConfig, samples: Samples) -> dict[str, np.ndarray]:
    logits_NV = _inputs(config, samples) @ optimum.weights_DV
    own_N = logits_NV[np.arange(len(samples)), samples.targets_N]
    found: dict[str, np.ndarray] = {"correct": logits_NV.argmax(axis=1) == samples.targets_N}
    if not optimum.separability.separable:
        found["loss"] = np.logaddexp.reduce(logits_NV, axis=1) - own_N
    return found


def _likeness(
    own: dict[str, np.ndarray],
    samples: Samples,
    config: RunConfig,
    losses_N: np.ndarray,
    correct_N: np.ndarray,
) -> dict[str, float]:
    """How alike the samples' fates are at the optimum and at the end of training."""
    found = {"agreement": float((own["correct"] == correct_N).mean())}
    if "loss" in own:
        mask_1N = torch.ones(1, len(samples), dtype=torch.bool)
        loss_1N = torch.from_numpy(own["loss"])[None]
        alignment_1N = bias_alignments(
            torch.from_numpy(samples.inputs_ND)[None],
            torch.from_numpy(samples.targets_N)[None],
            mask_1N,
            num_classes=config.data.num_outputs,
        )
        final_1N = torch.from_numpy(losses_N.astype(np.float64))[None]
        found["final_rank_correlation"] = float(spearman_correlation(loss_1N, final_1N, mask_1N).value_M)
        found["alignment_rank_correlation"] = float(
            spearman_correlation(alignment_1N, loss_1N, mask_1N).value_M
        )
    return found
