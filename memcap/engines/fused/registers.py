"""How wide the processor's registers are."""

from __future__ import annotations

import llvmlite.binding as llvm


def _register_bytes() -> int:
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


REGISTER_BYTES = _register_bytes()
CACHE_LINE_BYTES = 64
