"""How wide the processor's registers are, how many it has, and memory that lies as they read it."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np


def processor_features() -> dict[str, bool]:
    """What LLVM knows of this processor; nothing where it cannot tell."""
    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:
        return {}


def _register_bytes(features: dict[str, bool]) -> int:
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


REGISTER_BYTES = _register_bytes(processor_features())
NUM_REGISTERS = 32 if REGISTER_BYTES == 64 else 16
CACHE_LINE_BYTES = 64


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """Zeros that begin with a line of the cache, so that no register straddles two."""
    extra = CACHE_LINE_BYTES // dtype.itemsize
    memory = np.zeros(size + extra, dtype=dtype)
    start = -memory.ctypes.data // dtype.itemsize % extra
    return memory[start : start + size]
