"""Bits of memory: the one place where nats become bits.

A predictor that knows nothing of a sample pays its baseline (log2 V bits for a uniform random label, T log2 V
for a string of T random tokens). What a trained model pays less, summed over the samples, is what it
memorized. Results are float64, whatever the model was trained in; a NaN loss gives NaN for its member only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def nats_to_bits(nats: Tensor) -> Tensor:
    """The same information in bits, nats / ln 2, as float64; any shape."""
    return nats.to(torch.float64) / math.log(2)


def memorized_bits(
    loss_nats_M: Tensor, num_samples_M: Tensor | int, baseline_bits_M: Tensor | float
) -> Tensor:
    """Bits memorized, from the mean loss over the training samples.

    C = N · (baseline − ℓ / ln 2); for uniform random labels baseline = log2 V and C = (ln V − ℓ) · N / ln 2.
    At most N · baseline; negative where the model does worse than knowing nothing.

    loss_nats_M: mean cross-entropy per sample. num_samples_M: N per member, or one for all.
    baseline_bits_M: bits per sample that a model without memory pays, per member, or one for all.
    Liu, 2026, "Memory 2" (its formula, there for uniform labels).
    """
    baseline_bits_M = _float64(baseline_bits_M, like=loss_nats_M)
    num_samples_M = _float64(num_samples_M, like=loss_nats_M)
    return num_samples_M * (baseline_bits_M - nats_to_bits(loss_nats_M))


def clamped_bits(code_length_nats_MN: Tensor, mask_MN: Tensor, baseline_bits_M: Tensor | float) -> Tensor:
    """Bits memorized if no sample may count against another.

    C⁺ = Σ_n max(0, baseline − code length_n / ln 2) over the samples under the mask. Never below
    `memorized_bits` of the same samples, and equal to it where every sample saves something. It is biased
    upward for a model that only guesses: the fluctuations of its guesses are counted on one side.

    code_length_nats_MN: −ln p of each sample's target (summed over its tokens); where the mask is false
    anything may stand, NaN too. mask_MN: bool. baseline_bits_M: bits per sample, per member or one for all.
    Morris et al., 2025, arXiv 2505.24832.
    """
    baseline_bits_M1 = _float64(baseline_bits_M, like=code_length_nats_MN).reshape(-1, 1)
    saving_bits_MN = (baseline_bits_M1 - nats_to_bits(code_length_nats_MN)).clamp(min=0)
    return saving_bits_MN.where(mask_MN, 0.0).sum(dim=1)


def bits_standard_error(code_length_nats_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Standard error of the summed bits, from the spread of the code lengths over the samples.

    √N · s / ln 2 with s² = Σ_n (c_n − c̄)² / (N − 1): the standard deviation of a sum of N independent draws.
    It answers whether bits on samples the model never saw (a null set) differ from 0. It says nothing about
    the spread over seeds, which is larger and is measured over runs. NaN for N < 2: one draw has no spread.

    code_length_nats_MN, mask_MN: as in `clamped_bits`.
    """
    code_length_bits_MN = nats_to_bits(code_length_nats_MN)
    num_samples_M = mask_MN.sum(dim=1).to(torch.float64)
    mean_M = code_length_bits_MN.where(mask_MN, 0.0).sum(dim=1) / num_samples_M
    deviation_MN = (code_length_bits_MN - mean_M[:, None]).where(mask_MN, 0.0)
    variance_M = deviation_MN.square().sum(dim=1) / (num_samples_M - 1)
    return torch.where(num_samples_M >= 2, (num_samples_M * variance_M).sqrt(), math.nan)


def bits_per_parameter(bits_M: Tensor, num_parameters_M: Tensor | int) -> Tensor:
    """C / P per member; which parameters P counts (all, without embedding, effective) is up to the caller."""
    return bits_M.to(torch.float64) / _float64(num_parameters_M, like=bits_M)


def _float64(value: Tensor | float, *, like: Tensor) -> Tensor:
    """A tensor or a number as float64 on the device of another tensor."""
    return torch.as_tensor(value, dtype=torch.float64, device=like.device)
