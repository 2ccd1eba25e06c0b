"""A study's runs that are mirrored offline: configuration, rows as logged and as read, and a tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from wandb_cases import tracking

from memcap.records.wandb_tracker import WandbTracker

CONFIG: dict[str, Any] = {"seed": 0, "model": {"kind": "mlp", "width": 32, "bias": None}, "tags": ["a", "b"]}


def row(run: int, k: int) -> dict[str, Any]:
    return {
        "train/step": 10 * k,
        "train/loss_nats": 0.1 * run + 1 / (k + 1),
        "memory/accuracy": np.float32(0.5),
    }


def plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: float(item) if isinstance(item, np.floating) else item for key, item in value.items()}


def tracker(folder: Path, warnings: list[str], **changes: Any) -> WandbTracker:
    values: dict[str, Any] = {"entity": "lab", "tags": ("x",), "notes": "why"} | changes
    return WandbTracker(tracking(**values), "widths", folder, warn=warnings.append)
