"""The product of samples and weights, laid out in memory as suits narrow networks."""

from __future__ import annotations

import torch
from torch import Tensor


def product(inputs_MNI: Tensor, weight_MIO: Tensor, bias_MO: Tensor | None = None) -> Tensor:
    """h A (+ b) of M members, [M, N, O]; where N ≥ O, a view of memory in which the samples lie innermost.

    A matrix product keeps its vector registers full along the innermost axis of its result. With 5 or 10 outputs
    there, most of a register is empty; along the samples it is not, forward and backward: the products of a step of
    a 20-5-20 autoencoder take 83 instead of 283 µs for 8 members (float32, batch of 256). What works elementwise on
    the result keeps its layout. Members and samples are summed over nowhere; only the rounding differs between layouts.
    """
    if inputs_MNI.shape[1] < weight_MIO.shape[2]:
        if bias_MO is None:
            return torch.bmm(inputs_MNI, weight_MIO)
        return torch.baddbmm(bias_MO[:, None, :], inputs_MNI, weight_MIO)
    if bias_MO is None:
        return torch.bmm(weight_MIO.mT, inputs_MNI.mT).mT
    return torch.baddbmm(bias_MO[:, :, None], weight_MIO.mT, inputs_MNI.mT).mT
