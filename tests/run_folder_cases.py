"""A record with arrays, and a script that a process of its own runs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from memcap.records.run_record import result_record

RUN_ID = "3fa91b02c4d7"
CONFIG: dict[str, Any] = {
    "seed": 0,
    "model": {"kind": "mlp", "width": 32},
    "optimizer": {"learning_rate": 1e-5},
}
ARRAYS: dict[str, dict[str, np.ndarray]] = {
    "samples": {"code_length_bits": np.arange(5.0)},
    "weights": {"layers.0.weight": np.ones((3, 2), np.float32), "layers.0.bias": np.zeros(3, np.float32)},
}


def record(attempts: int = 1, status: str = "finished", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "status": status,
        "stop_reason": "budget",
        "steps": 1000,
        "attempts": attempts,
        "config": CONFIG,
        "summary": {"memory/bits": 123.5, "train/loss_nats": float("nan")},
        "provenance": {"device": "cpu"},
        "studies": ["widths"],
    }
    return result_record(**(values | changes))


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[1]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
