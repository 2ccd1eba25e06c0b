"""One independent stream of random numbers for each seed and purpose."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, purpose: str, counter: int = 0) -> np.random.Generator:
    """A counter-based generator (Philox) keyed by seed and purpose, at the block ``counter``.

    Streams of different purposes, seeds or counters never overlap (the counter sets the upper words of
    Philox's 256-bit counter), and nothing about them depends on the engine, the device, the pack or the order
    in which they are drawn. Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    key = int.from_bytes(hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, counter, 0]))
