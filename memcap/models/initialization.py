"""Initial weights, one stream per seed and layer."""

from __future__ import annotations

import math

import numpy as np

from memcap.random import stream


def initial_matrix(
    seed: int, layer: str, fan_in: int, fan_out: int, *, scheme: str, scale: float = 1.0
) -> np.ndarray:
    """Weights [fan_in, fan_out], float64.

    ``uniform``: U(±1/√fan_in), what torch.nn.Linear does; ``gaussian``: N(0, 1/fan_in); ``xavier``:
    U(±√(6/(fan_in + fan_out))) (Glorot and Bengio 2010). All times ``scale``.
    """
    generator = stream(seed, f"weights/{layer}")
    shape = (fan_in, fan_out)
    if scheme == "gaussian":
        weights = generator.standard_normal(shape) / math.sqrt(fan_in)
    else:
        bound = math.sqrt(6 / (fan_in + fan_out)) if scheme == "xavier" else 1 / math.sqrt(fan_in)
        weights = generator.uniform(-bound, bound, shape)
    return scale * weights


def initial_bias(
    seed: int, layer: str, fan_in: int, size: int, *, scheme: str, scale: float = 1.0
) -> np.ndarray:
    """A bias [size]: U(±1/√fan_in) for ``uniform`` (as torch.nn.Linear), else zero."""
    if scheme != "uniform":
        return np.zeros(size)
    bound = 1 / math.sqrt(fan_in)
    return scale * stream(seed, f"biases/{layer}").uniform(-bound, bound, size)
