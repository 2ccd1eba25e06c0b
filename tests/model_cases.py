"""Dense float64 ways to look at a model: stacked members, and the dimensions of what its parameters reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from memcap.models.model import Model, flatten, unflatten

CUT = 1e-10  # between singular values that are rounding and those that are not
Activate = Callable[[Tensor], Tensor]


def random_members(model: Model, num_members: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Parameters of several members, none of them zero (as biases are at the start)."""
    generator = np.random.default_rng(seed)
    return [
        {name: generator.standard_normal(shape) for name, shape in model.shapes.items()}
        for _ in range(num_members)
    ]


def outputs(
    model: Model, members: Sequence[dict[str, np.ndarray]], inputs_MND: np.ndarray, activate: Activate
) -> np.ndarray:
    """What the model makes of stacked members, through the flat vector that engines train."""
    parameters_MP = torch.from_numpy(np.stack([flatten(values) for values in members]))
    named = unflatten(parameters_MP, model.shapes)
    return model.forward(named, torch.from_numpy(inputs_MND), activate).numpy()


def reached_dimensions(model: Model, activate: Activate, *, up_to_free_logit: bool) -> int:
    """Rank of the Jacobian of the outputs on many random inputs: parameters that differ in what they do.

    ``up_to_free_logit``: a number added to all logits of a sample changes no probability.
    """
    (member,) = random_members(model, 1, seed=2)
    flat_P = torch.from_numpy(flatten(member))
    num_inputs = 4 * len(flat_P)
    inputs_1ND = torch.from_numpy(  # wide, so that tanh bends
        2 * np.random.default_rng(1).standard_normal((1, num_inputs, model.data.num_inputs))
    )

    def function(parameters_P: Tensor) -> Tensor:
        result_NV = model.forward(unflatten(parameters_P[None], model.shapes), inputs_1ND, activate)[0]
        return (result_NV - result_NV.mean(-1, keepdim=True) if up_to_free_logit else result_NV).flatten()

    jacobian = torch.autograd.functional.jacobian(function, flat_P, vectorize=True)
    # Columns of length one: how strongly a parameter acts is not the question.
    lengths_P = jacobian.norm(dim=0)
    singular = torch.linalg.svdvals(jacobian / torch.where(lengths_P > 0, lengths_P, 1))
    rank = int((singular > CUT).sum())
    # A clear gap, or the rank means nothing.
    assert singular[rank - 1] > 100 * CUT
    assert rank == len(singular) or singular[rank] < CUT / 100
    return rank
