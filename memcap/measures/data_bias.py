"""Incidental class bias: what a finite set of random labels gives away to the first gradient step.

"Although the data distribution is random and symmetric in expectation, a finite sample exhibits incidental
biases that the network can exploit; samples that align with these are more likely to be predicted correctly"
(Liu 2026, "Memory 1", finding 3). With x̃ = (x, 1) and c_n = e_{y_n} − 1/V the bias is the matrix

    B = (1/N) Σ_n x̃_n c_nᵀ, [D + 1, V],

minus the gradient of the cross-entropy of a linear model with a bias, at uniform prediction: the direction in
which it starts to learn. It belongs to the data; no network enters. All results are float64, and a NaN input
gives NaN for its member only. Costs a matrix product of the size of a linear model's gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def class_bias(inputs_MND: Tensor, targets_MN: Tensor, mask_MN: Tensor, *, num_classes: int) -> Tensor:
    """B, [M, D + 1, V]; the last row is how much more frequent than 1/V each class is.

    inputs_MND, targets_MN (classes), mask_MN (bool): where the mask is false anything may stand.
    """
    centred_MNV = _centred_labels(targets_MN, mask_MN, num_classes)
    return torch.bmm(_extended(inputs_MND, mask_MN).mT, centred_MNV) / _counts(mask_MN)[:, None, None]


def bias_alignments(inputs_MND: Tensor, targets_MN: Tensor, mask_MN: Tensor, *, num_classes: int) -> Tensor:
    """How well each sample fits the bias of all others, [M, N]; 0 outside the mask.

    a_n = x̃_nᵀ B_{−n} c_n with B_{−n} = (1/N) Σ_{m≠n} x̃_m c_mᵀ: how much the other samples' part of one small
    gradient step of a linear model lowers the loss of sample n, in nats per unit of step. Above 0 the others
    help, below they hinder; random labels have mean 0. With its own term, ‖x̃_n‖² (1 − 1/V) / N, each sample
    would help itself; it is subtracted, so that no N x N matrix is made, and the result is exact to rounding
    of that term. Over all samples, Σ a_n = N ‖B‖² − Σ ‖x̃_n‖² (1 − 1/V) / N.
    """
    bias_MdV = class_bias(inputs_MND, targets_MN, mask_MN, num_classes=num_classes)
    extended_MNd = _extended(inputs_MND, mask_MN)
    centred_MNV = _centred_labels(targets_MN, mask_MN, num_classes)
    with_itself_MN = (torch.bmm(extended_MNd, bias_MdV) * centred_MNV).sum(2)
    itself_MN = extended_MNd.square().sum(2) * centred_MNV.square().sum(2) / _counts(mask_MN)[:, None]
    return with_itself_MN - itself_MN


def data_bias(
    inputs_MND: Tensor, targets_MN: Tensor, mask_MN: Tensor, *, num_classes: int
) -> dict[str, Tensor]:
    """How biased each member's data are, next to what chance gives; float64 [M] by name.

    class_frequency_bias         total variation distance of the class frequencies from uniform,
                                 ½ Σ_v |N_v / N − 1/V|, in [0, 1 − 1/V]
    class_frequency_bias_chance  its expectation for uniform random labels, V/2 E|k/N − 1/V| with k binomial
    class_mean_bias              ‖B‖_F without the constant row: how far the classes' inputs differ in their mean
    class_mean_bias_chance       √E‖B‖_F² of these inputs under uniform random labels
    class_mean_bias_score        (‖B‖_F² − E‖B‖_F²) in its standard deviations under chance: beyond ± 3, the
                                 labels depend on the inputs (or N is small: the distribution is skewed to the
                                 right). NaN where chance has no spread, for one sample

    Chance: ‖B‖² = (1/N²) Σ_mn G_mn C_mn with G = x_m·x_n fixed and C_mn = c_m·c_n. Labels that are independent
    and uniform have C_nn = 1 − 1/V always, and for m ≠ n uncorrelated C_mn with mean 0 and variance
    (1/V)(1 − 1/V). So E‖B‖² = (1 − 1/V) Σ_n ‖x_n‖² / N² and Var‖B‖² = 2 (1/V)(1 − 1/V) Σ_{m≠n} G_mn² / N⁴.
    """
    bias_MdV = class_bias(inputs_MND, targets_MN, mask_MN, num_classes=num_classes)
    num_samples_M, other = _counts(mask_MN), 1 - 1 / num_classes
    squared_M = bias_MdV[:, :-1].square().sum((1, 2))
    inputs_MND = _extended(inputs_MND, mask_MN)[:, :, :-1]
    squares_MN = inputs_MND.square().sum(2)
    expected_M = other * squares_MN.sum(1) / num_samples_M.square()
    pairs_M = torch.bmm(inputs_MND.mT, inputs_MND).square().sum((1, 2)) - squares_MN.square().sum(1)
    variance_M = 2 * other / num_classes * pairs_M.clamp(min=0) / num_samples_M**4
    score_M = (squared_M - expected_M) / variance_M.sqrt()
    return {
        "class_frequency_bias": bias_MdV[:, -1].abs().sum(1) / 2,
        "class_frequency_bias_chance": _frequency_bias_of_chance(num_samples_M, num_classes),
        "class_mean_bias": squared_M.sqrt(),
        "class_mean_bias_chance": expected_M.sqrt(),
        "class_mean_bias_score": score_M.where(num_samples_M > 1, torch.nan),
    }


def _frequency_bias_of_chance(num_samples_M: Tensor, num_classes: int) -> Tensor:
    """V/2 E|k/N − p|, k binomial (N, p = 1/V): V/N · m (N choose m) p^m (1 − p)^(N − m + 1), m = ⌊Np⌋ + 1.

    De Moivre's formula of 1730 for the mean absolute deviation (Diaconis and Zabell 1991, Statistical Science 6).
    """
    if num_classes == 1:
        return torch.zeros_like(num_samples_M)
    p = torch.tensor(1 / num_classes, dtype=torch.float64, device=num_samples_M.device)
    # Whole numbers are divided, so that N p is whole where V divides N.
    m_M = (num_samples_M / num_classes).floor() + 1
    left_M = num_samples_M - m_M
    log_choose_M = torch.lgamma(num_samples_M + 1) - torch.lgamma(m_M + 1) - torch.lgamma(left_M + 1)
    log_M = log_choose_M + m_M.log() + m_M * p.log() + (left_M + 1) * torch.log1p(-p)
    return num_classes / num_samples_M * log_M.exp()


def _extended(inputs_MND: Tensor, mask_MN: Tensor) -> Tensor:
    """(x, 1) in float64, zero outside the mask."""
    ones_MN1 = torch.ones_like(inputs_MND[:, :, :1], dtype=torch.float64)
    return torch.cat([inputs_MND.double(), ones_MN1], 2).where(mask_MN[:, :, None], 0.0)


def _centred_labels(targets_MN: Tensor, mask_MN: Tensor, num_classes: int) -> Tensor:
    """e_y − 1/V, zero outside the mask, where a target may be no class."""
    one_hot_MNV = torch.nn.functional.one_hot(targets_MN.where(mask_MN, 0), num_classes).double()
    return (one_hot_MNV - 1 / num_classes).where(mask_MN[:, :, None], 0.0)


def _counts(mask_MN: Tensor) -> Tensor:
    return mask_MN.sum(1).double()
