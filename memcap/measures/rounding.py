"""Rounding of trained parameters: how few bits a weight needs for what the network remembers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from memcap.errors import BadInput, nearest
from memcap.models.model import unflatten

# Largest whole number of each symmetric integer format: 2^(bits − 1) − 1.
INTEGER_LIMITS = {"int8": 127, "int4": 7}
ROUNDING_FORMATS = ("bf16", *INTEGER_LIMITS)


def rounded(parameters_MP: Tensor, shapes: dict[str, tuple[int, ...]], rounding_format: str) -> Tensor:
    """The nearest parameters that a format can hold, in the dtype they come in; [M, P].

    ``bf16``         every parameter to 8 significant bits, ties to even, as torch casts (relative error at most
                     2⁻⁸ = 0.4 %)
    ``int8, int4``   weight matrices to whole multiples of a step s = max |w| / 127, or / 7, with a maximum, and
                     so a step, for each output neuron: a column of our [fan_in, fan_out], a row of
                     torch.nn.Linear. The error is at most s / 2, the largest weight and zero stay exact.
                     Biases and other vectors stay as they are, as they do in practice

    parameters_MP: flat parameters; shapes: those of ``Model.shapes``. Rounding twice is rounding once. NaN and
    infinity make their column NaN with integers, and nothing of another member.
    Round-to-nearest with absolute maxima: Dettmers et al., 2022, arXiv 2208.07339.
    """
    if rounding_format not in ROUNDING_FORMATS:
        hint = nearest(rounding_format, ROUNDING_FORMATS)
        raise BadInput(
            f"rounding format must be one of {', '.join(ROUNDING_FORMATS)}, got {rounding_format!r}{hint}"
        )
    if rounding_format == "bf16":
        return parameters_MP.to(torch.bfloat16).to(parameters_MP.dtype)
    limit = INTEGER_LIMITS[rounding_format]
    parts = [
        _on_integer_grid(part, limit) if len(shapes[name]) > 1 else part
        for name, part in unflatten(parameters_MP, shapes).items()
    ]
    return torch.cat([part.flatten(1) for part in parts], 1)


def _on_integer_grid(weights: Tensor, limit: int) -> Tensor:
    """[..., fan_in, fan_out] with whole multiples of max / limit in each column."""
    largest = weights.abs().amax(-2, keepdim=True)
    # The maximum is taken times q / limit, not the step times q: 127 (max / 127) may miss max by its last bit,
    # and a second rounding would then move everything again.
    share = torch.round(weights / largest * limit) / limit
    return torch.where(largest == 0, weights, share * largest).where(largest.isfinite(), math.nan)
