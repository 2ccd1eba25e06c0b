"""How long a cell will take on one core: what was measured here before, or in a few seconds now."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from memcap.config.cell import Cell
from memcap.config.fused_support import missing, takes
from memcap.config.run_config import RunConfig
from memcap.records import atomic
from memcap.records.run_folder import RunFolder
from memcap.submission.calibration import measure_steps

# Of a cell beside its steps: records, a W&B run, measurement; measured at 2 to 40 ms.
SECONDS_A_CELL: Final = 0.05
# Operations of a step that is all overhead: below that, smaller is not faster.
LEAST_OPERATIONS: Final = 2e4
# Without a measurement (a device that this machine lacks): operations per second of one core, and of a GPU.
GUESSED_RATE: Final = {"fused": 2e10, "batched": 4e9, "cuda": 1e12}
MOST_POINTS: Final = 4
KEPT_LINES: Final = 400
MOST_NOTED: Final = 16  # points of one task
LEAST_NOTED_S: Final = 3.0


def operations(config: RunConfig) -> float:
    """Floating-point operations of one step of one member, by the usual count 6·N·P."""
    samples = config.data.batch_size or config.data.num_measured
    return max(6.0 * samples * config.num_parameters, LEAST_OPERATIONS)


def family(config: RunConfig) -> str:
    """Runs of which one rate tells the others': device, dtype and engine."""
    hardware = config.hardware
    if hardware.device != "cpu":
        return f"{hardware.device}/{hardware.dtype}"
    fused = hardware.engine != "batched" and _fused_here() and takes(config)
    return f"cpu/{hardware.dtype}/{'fused' if fused else 'batched'}"


class CostModel:
    """Predicts core-seconds; knows points (operations of a step, seconds of a step) for each family.

    Between points the time is interpolated on logarithms, beyond them it is proportional to the operations. Right
    within a factor of two or so, which is what packing needs.
    """

    def __init__(self, points: Iterable[tuple[str, float, float]] = ()) -> None:
        self.points: dict[str, list[tuple[float, float]]] = {}
        for name, count, seconds in points:
            self.points.setdefault(name, []).append((count, seconds))

    def seconds(self, config: RunConfig) -> float:
        """Predicted core-seconds of the whole run."""
        return SECONDS_A_CELL + config.budget.steps * self.step_seconds(config)

    def step_seconds(self, config: RunConfig) -> float:
        """Predicted seconds of one step of one member."""
        name, count = family(config), operations(config)
        known = sorted(self.points.get(name, []))
        if not known:
            kind = "cuda" if name.startswith("cuda") else name.rpartition("/")[2]
            return count / GUESSED_RATE.get(kind, GUESSED_RATE["batched"])
        counts, seconds = np.array(known).T
        if count <= counts[0] or count >= counts[-1]:
            nearest = 0 if count <= counts[0] else -1
            return float(seconds[nearest] * count / counts[nearest])
        return float(np.exp(np.interp(np.log(count), np.log(counts), np.log(seconds))))


def calibrated(cells: Sequence[Cell], outputs: Path) -> CostModel:
    """A model with points for every family among the cells that this machine can train.

    Points that earlier tasks have left in ``costs.jsonl`` are taken; a family that has none is measured at up to
    ``MOST_POINTS`` of its sizes, in a process of its own. What cannot be measured is guessed.
    """
    points = read_points(outputs)
    known = {name for name, _, _ in points}
    by_family: dict[str, list[RunConfig]] = {}
    for cell in cells:
        by_family.setdefault(family(cell.config), []).append(cell.config)
    unknown = [name for name in by_family if name not in known and name.startswith("cpu/")]
    asked = [config for name in unknown for config in _spread(by_family[name])]
    for config, seconds in zip(asked, measure_steps(asked) if asked else [], strict=True):
        if seconds is not None:
            points.append((family(config), operations(config), seconds))
            note_point(outputs, config, seconds)
    return CostModel(points)


def note_costs(outputs: Path, cells: Iterable[Cell]) -> None:
    """Keeps what the runs of a task took, measurement included, one point for each family and size.

    Members of a pack share its time by their steps; packs of a second or two are left out, since most of that is
    imports and compilation.
    """
    seen: set[tuple[str, float]] = set()
    for cell in cells:
        key = family(cell.config), operations(cell.config)
        result = RunFolder(outputs, cell.run_id).read_result() if key not in seen else None
        if result is None or len(seen) >= MOST_NOTED or not result["steps"]:
            continue
        told = result["provenance"]
        if told["wall_time_s"] >= LEAST_NOTED_S and told["device"] == cell.config.hardware.device:
            seen.add(key)
            cores = min(told["threads"], told["population"])
            note_point(
                outputs, cell.config, told["wall_time_s"] * cores / (told["population"] * result["steps"])
            )


def note_point(outputs: Path, config: RunConfig, seconds: float) -> None:
    """Keeps what a step took, for the next submission; a disk that does not take it is no loss."""
    try:
        row = {
            "family": family(config),
            "operations": operations(config),
            "seconds": seconds,
            "time": time.time(),
        }
        atomic.append_line(outputs / "costs.jsonl", row, mend=True)
    except OSError:
        pass


def read_points(outputs: Path) -> list[tuple[str, float, float]]:
    """The latest points, one for each family and size: the median of what was noted."""
    try:
        lines = (outputs / "costs.jsonl").read_bytes().splitlines()[-KEPT_LINES:]
    except OSError:
        return []
    noted: dict[tuple[str, float], list[float]] = {}
    for line in lines:
        try:
            row = json.loads(line)
            noted.setdefault((str(row["family"]), float(row["operations"])), []).append(float(row["seconds"]))
        except (ValueError, KeyError, TypeError):
            continue
    return [(name, count, float(np.median(seconds))) for (name, count), seconds in noted.items()]


@functools.cache
def _fused_here() -> bool:
    """Asked of 10,000 cells, each answer would look through the import path."""
    return missing() is None


def _spread(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """A few of them, from the smallest to the largest."""
    ordered = sorted({operations(config): config for config in configs}.items())
    places = np.unique(np.linspace(0, len(ordered) - 1, min(MOST_POINTS, len(ordered))).round().astype(int))
    return [ordered[place][1] for place in places]
