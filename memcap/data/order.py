"""The order in which mini-batches visit a finite training set."""

from __future__ import annotations

import functools

import numpy as np

from memcap.random import stream

FEW = 4096  # samples


def batch_indices(
    seed: int, first_step: int, num_steps: int, num_samples: int, batch_size: int
) -> np.ndarray:
    """Sample indices [K, B] of ``num_steps`` steps from ``first_step`` on.

    Steps read on through an endless row of shuffled epochs; the order of epoch e depends on the seed and e
    alone, so any step can be asked for without those before it, whatever trains beside it. A batch may span
    two epochs, and every sample is visited equally often.
    """
    first, end = first_step * batch_size, (first_step + num_steps) * batch_size
    parts = []
    for epoch in range(first // num_samples, (end - 1) // num_samples + 1):
        start, stop = first - epoch * num_samples, end - epoch * num_samples
        parts.append(_permutation(seed, epoch, num_samples)[max(start, 0) : stop])
    return np.concatenate(parts).reshape(num_steps, batch_size)


def _permutation(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """The order of one epoch, remembered because members of one seed share it and blocks of steps cut it."""
    remembered = _permutation_of_few if num_samples <= FEW else _permutation_of_many
    return remembered(seed, epoch, num_samples)


def _shuffled(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    return stream(seed, "order", epoch).permutation(num_samples)


# Two caches bound the memory: at most 128 MiB of short orders, and few of the long ones.
_permutation_of_few = functools.lru_cache(maxsize=4096)(_shuffled)
_permutation_of_many = functools.lru_cache(maxsize=8)(_shuffled)
