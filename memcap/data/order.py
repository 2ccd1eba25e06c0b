"""The order in which mini-batches visit a finite training set."""

from __future__ import annotations

import functools

import numpy as np

from memcap.random import stream


def batch_indices(
    seed: int, first_step: int, num_steps: int, num_samples: int, batch_size: int
) -> np.ndarray:
    """Sample indices [K, B] of ``num_steps`` steps from ``first_step`` on.

    Steps read on through an endless row of shuffled epochs; the order of epoch e depends on the seed and e
    alone, so any step can be asked for without those before it, whatever trains beside it. A batch may span
    two epochs, and every sample is visited equally often.
    """
    positions = np.arange(first_step * batch_size, (first_step + num_steps) * batch_size)
    epochs, offsets = np.divmod(positions, num_samples)
    indices = np.empty(len(positions), dtype=np.int64)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        of_epoch = epochs == epoch
        indices[of_epoch] = _permutation(seed, epoch, num_samples)[offsets[of_epoch]]
    return indices.reshape(num_steps, batch_size)


@functools.lru_cache(maxsize=4096)
def _permutation(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    return stream(seed, "order", epoch).permutation(num_samples)
