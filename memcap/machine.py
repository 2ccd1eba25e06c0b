"""What a sweep needs of the machine, checked before anything is started or written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from memcap.config.cell import Cell
from memcap.config.fused_support import check_engine
from memcap.config.memory import check_fits
from memcap.config.schema import HardwareConfig
from memcap.errors import BadInput

# Measures whose bookkeeping is in float64 where the weights are.
NEED_FLOAT64 = ("gradients", "conflict", "updates", "sharpness", "trace", "weights", "samples", "spectrum")


def check_machine(cells: Sequence[Cell]) -> None:
    """Raises BadInput for a missing device or engine, a folder that cannot be written, or a run that does not fit."""
    hardware_seen: set[HardwareConfig] = set()
    for number, cell in enumerate(cells, 1):
        try:
            if cell.config.hardware not in hardware_seen:
                check_device(cell.config.hardware)
                hardware_seen.add(cell.config.hardware)
            check_fits(cell.config)
            check_mps(cell)
            check_engine(cell.config)
        except BadInput as error:
            if len(cells) == 1:
                raise
            raise BadInput(f'{error} (cell {number}: "{" ".join(cell.overrides)}")') from None
    check_writable(Path(cells[0].config.paths.outputs))


def check_device(hardware: HardwareConfig) -> None:
    """Raises BadInput where torch cannot use the device."""
    if hardware.device == "cpu":
        return
    import torch

    if hardware.device == "cuda" and not torch.cuda.is_available():
        reason = "this torch is a CPU build" if torch.version.cuda is None else "no NVIDIA GPU is visible"
        raise BadInput(
            f"hardware.device must be a device of this machine, got cuda, but {reason}; use hardware=cpu"
        )
    if hardware.device == "mps" and not torch.backends.mps.is_available():
        raise BadInput("hardware.device must be a device of this machine, got mps; use hardware=cpu")


def check_mps(cell: Cell) -> None:
    """Apple's GPUs have no float64, which Lanczos' bookkeeping needs."""
    config = cell.config
    if config.hardware.device != "mps":
        return
    if config.hardware.dtype == "float64":
        raise BadInput("hardware.dtype must be float32 on mps, which has no float64; use hardware=cpu")
    names = [name for name in NEED_FLOAT64 if getattr(config.measure, name)]
    if names:
        off = " ".join(f"measure.{name}=false" for name in names)
        raise BadInput(f"measure needs float64 on the device, which mps has not; use {off}")


def check_writable(outputs: Path) -> None:
    """Raises BadInput unless the folder, or the nearest one above it that exists, can be written to."""
    if outputs == Path():
        raise BadInput('paths.outputs must be a folder, got ""; use paths.outputs=outputs')
    existing = outputs.absolute()
    # os.path.exists and not Path.exists, which raises below a folder that cannot be entered.
    while not os.path.exists(existing) and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise BadInput(f"paths.outputs must be a folder, got {outputs}, but {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BadInput(
            f"paths.outputs must be a folder that can be written, got {outputs}: {existing} is read-only"
        )
