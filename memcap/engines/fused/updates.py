"""Clipping and the optimizers on the flat vectors of one member; the formulas are those of ``memcap.optimizers``."""

from __future__ import annotations

import math

from memcap.engines.fused.pieces import Number, compiled
from memcap.engines.fused.simd import lanes_of, load, splat, square_root, store, sum_of_lanes
from memcap.optimizers.clipping import NORM_OFFSET


def clip(s, gradient, count, largest_norm: Number):
    """Scales the gradient to at most this norm; a NaN anywhere makes all of it NaN."""
    lanes = lanes_of(s)
    squares = splat(s, 0.0)
    for register in range(count // lanes):
        i = gradient + register * lanes
        g = load(s, i)
        squares = squares + g * g
    factor = largest_norm / (math.sqrt(sum_of_lanes(squares)) + NORM_OFFSET)
    if not factor >= 1:
        for register in range(count // lanes):
            i = gradient + register * lanes
            store(s, i, load(s, i) * factor)


def sgd(s, parameters, gradient, buffers, unused, count, scalars):
    """One step of gradient descent with momentum; all but the scalars are places of ``count`` elements."""
    step_size, momentum, weight_decay = s[scalars], s[scalars + 1], s[scalars + 2]
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        w, g = load(s, parameters + i), load(s, gradient + i)
        if weight_decay != 0:
            g = g + w * weight_decay
        b = g + load(s, buffers + i) * momentum
        store(s, buffers + i, b)
        store(s, parameters + i, w + b * step_size)


def adam(s, parameters, gradient, means, squares, count, scalars):
    """One step of Adam, or AdamW where there is shrinkage; all but the scalars are places of ``count`` elements."""
    step_size, epsilon, weight_decay, shrinkage = s[scalars], s[scalars + 1], s[scalars + 4], s[scalars + 5]
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        w, g = load(s, parameters + i), load(s, gradient + i)
        if shrinkage != 1:
            w = w * shrinkage
        if weight_decay != 0:
            g = g + w * weight_decay
        m = _towards(load(s, means + i), g, s[scalars + 2])
        v = _towards(load(s, squares + i), g * g, s[scalars + 3])
        store(s, means + i, m)
        store(s, squares + i, v)
        store(s, parameters + i, w + m / (square_root(v) + epsilon) * step_size)


@compiled
def _towards(old, new, weight):
    """old + weight (new - old), from whichever end is nearer, as torch.lerp has it."""
    if weight < 0.5:
        return old + (new - old) * weight
    return new - (new - old) * (1 - weight)
