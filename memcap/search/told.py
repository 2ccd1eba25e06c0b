"""What a run's record says to a search."""

from __future__ import annotations

import math
from pathlib import Path

from memcap.config.cell import Cell
from memcap.records.run_folder import RunFolder
from memcap.search.configuration import Told
from memcap.search.options import CAPACITY, SearchOptions


def told_of(cell: Cell, options: SearchOptions) -> Told:
    """What the record of a run says: bits, 0 for a diverged one; or whether all samples are memorized."""
    result = RunFolder(Path(cell.config.paths.outputs), cell.run_id).read_result()
    if result is None:
        return Told(None)
    summary, steps = result["summary"], int(result["steps"])
    is_diverged = result["status"] == "diverged"
    samples = cell.config.data.num_samples
    if options.goal == CAPACITY:
        bits, loss = summary.get("memory/bits"), summary.get("train/loss_nats")
        if is_diverged:
            return Told(0.0, steps, is_diverged)
        diagonal = None if bits is None or loss is None else bits + samples * loss / math.log(2)
        return Told(bits, steps, is_diverged, diagonal)
    memorized = summary.get("memory/memorized_samples")
    if memorized is None and not is_diverged:
        return Told(None, steps)
    return Told(float(not is_diverged and memorized >= samples), steps, is_diverged)
