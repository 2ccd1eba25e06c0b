"""What a model knows of each sample: right or wrong, by what margin, and how two such quantities go together."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


def memorized_samples(correct_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Number of samples whose most likely target is the true one, per member; int64.

    correct_MN: bool; where mask_MN (bool) is false anything may stand. A guesser scores N / V, not 0.
    """
    return (correct_MN & mask_MN).sum(dim=1)


def accuracy(correct_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Share of the samples that are memorized, per member; float64, NaN for a member without samples."""
    return memorized_samples(correct_MN, mask_MN).to(torch.float64) / mask_MN.sum(dim=1)


def margins(outputs_MNV: Tensor, targets_MN: Tensor) -> Tensor:
    """Logit of the label minus the largest other logit, float64 [M, N].

    Above 0 where the label is the prediction, below where another class is; 0 is a tie. It is the logarithm
    of the odds between the label and its strongest rival: exp(margin), whatever the other classes get.
    NaN where any logit is.
    """
    label_MN1 = targets_MN[:, :, None]
    own_MN = outputs_MNV.gather(2, label_MN1)[:, :, 0]
    rival_MN = outputs_MNV.scatter(2, label_MN1, -math.inf).amax(2)
    return own_MN.double() - rival_MN.double()


class Correlation(NamedTuple):
    """A correlation coefficient of each member, [M], and its standard error."""

    value_M: Tensor
    standard_error_M: Tensor


def pearson_correlation(first_MN: Tensor, second_MN: Tensor, mask_MN: Tensor) -> Correlation:
    """Linear correlation over each member's samples, r = Σ ab / √(Σ a² Σ b²) of the deviations; float64.

    The standard error is √((1 − r²) / (n − 2)), the one of the t-test of r = 0 (exact there for normal values);
    for a large r it errs to the safe side. NaN, both, for fewer than 3 samples, a constant quantity, or a value
    that is not finite, in this member only. Where mask_MN is false anything may stand.
    """
    usable_M = _usable(first_MN, mask_MN) & _usable(second_MN, mask_MN)
    product_MN = _deviations(first_MN, mask_MN) * _deviations(second_MN, mask_MN)
    value_M = product_MN.sum(1).clamp(-1, 1).where(usable_M, math.nan)
    num_samples_M = mask_MN.sum(1).double()
    return Correlation(value_M, ((1 - value_M.square()) / (num_samples_M - 2)).sqrt())


def spearman_correlation(first_MN: Tensor, second_MN: Tensor, mask_MN: Tensor) -> Correlation:
    """Correlation of the ranks over each member's samples: 1 for any increasing relation; float64.

    Equal values share the mean of their ranks. The standard error is that of `pearson_correlation`, a
    large-sample one here: without a relation the exact variance is 1 / (n − 1), whatever the distributions.
    NaN as in `pearson_correlation`. Costs two sorts.
    """
    usable_M = _usable(first_MN, mask_MN) & _usable(second_MN, mask_MN)
    found = pearson_correlation(_ranks(first_MN, mask_MN), _ranks(second_MN, mask_MN), mask_MN)
    return Correlation(*(part_M.where(usable_M, math.nan) for part_M in found))


def _usable(values_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Whether a correlation exists, [M]: three finite samples that are not all the same."""
    largest_M = values_MN.where(mask_MN, -math.inf).amax(1)
    smallest_M = values_MN.where(mask_MN, math.inf).amin(1)
    finite_M = values_MN.isfinite().logical_or(~mask_MN).all(1)
    # Equality, not a variance of 0: that of equal numbers is rounding.
    return finite_M & (largest_M > smallest_M) & (mask_MN.sum(1) >= 3)


def _deviations(values_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Deviations from the mean with length 1, 0 outside the mask; their product is a correlation."""
    values_MN = values_MN.double()
    mean_M1 = values_MN.where(mask_MN, 0.0).sum(1, keepdim=True) / mask_MN.sum(1, keepdim=True)
    deviation_MN = (values_MN - mean_M1).where(mask_MN, 0.0)
    # First to largest 1, so that no square is lost or infinite.
    deviation_MN = deviation_MN / deviation_MN.abs().amax(1, keepdim=True)
    return deviation_MN / deviation_MN.square().sum(1, keepdim=True).sqrt()


def _ranks(values_MN: Tensor, mask_MN: Tensor) -> Tensor:
    """Ranks from 1 under the mask, those of equal values their mean; float64."""
    own_MN = values_MN.where(mask_MN, math.inf).contiguous()
    sorted_MN = own_MN.sort(dim=1).values
    below_MN = torch.searchsorted(sorted_MN, own_MN)
    up_to_MN = torch.searchsorted(sorted_MN, own_MN, right=True)
    return (below_MN + up_to_MN + 1).double() / 2
