"""python -m memcap.measure: measures of finished runs from their kept weights, without training."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from memcap.command_line import config_path, run_hydra
from memcap.errors import BadInput

if TYPE_CHECKING:
    from memcap.finished_cells import FinishedCells
    from memcap.remeasuring import Measured

# Of the summary, what the closing table shows where any run has it.
COLUMNS = (
    ("bits", ("memory/bits",), "{:.1f}", None),
    ("bf16", ("rounding/bf16/bits",), "{:.1f}", None),
    ("int8", ("rounding/int8/bits",), "{:.1f}", None),
    ("int4", ("rounding/int4/bits",), "{:.1f}", None),
    ("sharpness", ("sharpness/top_eigenvalue",), "{:.3g}", 1),
    ("coherence", ("gradients/coherence",), "{:.2e}", 2),
)

_refused: list[int] = []  # of this process, for its exit status


@hydra.main(config_path=config_path(), config_name="measure", version_base="1.3")
def measure(config: DictConfig) -> None:
    """Measures what finished runs lack of ``measure``, prints a table and where things are."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise BadInput("memcap.measure takes no -m: it measures all runs of a study at once")
    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    from memcap.cells import wait_passively
    from memcap.finished_cells import finished_cells
    from memcap.interruption import heard
    from memcap.machine import check_machine

    cells, started = finished_cells(values), time.monotonic()
    outputs = Path(values["paths"]["outputs"])
    if cells.to_measure:
        check_machine(cells.to_measure)
    wait_passively()
    from memcap.remeasuring import measure_finished

    with heard(), progress(len(cells.to_measure)) as on_pack:
        measured = measure_finished(cells.to_measure, outputs, on_pack)
    measured.refused |= cells.unreadable
    _refused.append(len(measured.refused))
    report(cells, measured, outputs, time.monotonic() - started)


@contextlib.contextmanager
def progress(num_runs: int) -> Iterator[Callable[[int], None]]:
    """A bar of the runs done, on a terminal; the function that it yields is told how many more are."""
    if num_runs == 0 or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("measure", total=num_runs)
        yield lambda count: bar.advance(task, count)


def report(cells: FinishedCells, measured: Measured, outputs: Path, wall_time_s: float) -> None:
    """The table of all finished runs asked for, what was skipped and why, and where things are."""
    from memcap.records.table import TableRow, print_metrics

    summaries = {run_id: result["summary"] for run_id, result in cells.results.items()} | measured.summaries
    rows = [
        TableRow(
            overrides=cells.overrides[run_id],
            run_id=run_id,
            status="skipped"
            if run_id in measured.refused
            else "measured"
            if run_id in measured.summaries
            else "",
            num_samples=summary["num_samples"],
            num_parameters=summary["num_parameters"],
            summary=summary,
        )
        for run_id, summary in summaries.items()
    ]
    print_metrics(rows, COLUMNS)
    had = len(cells.results) - len(cells.to_measure) - len(cells.unreadable)
    more = [f"{had} had it all"] * bool(had) + [f"{cells.num_unfinished} not finished"] * bool(
        cells.num_unfinished
    )
    print("\n" + ", ".join([f"{len(measured.summaries)} measured", *more]) + f" in {wall_time_s:.1f} s")
    for line in measured.reasons():
        print(f"skipped: {line}")
    example = next(iter(summaries))
    print(
        f"runs:   {quote(str(outputs / 'runs' / example[:2] / example))}" + ("  ..." if len(rows) > 1 else "")
    )
    print(f"next:   python -m memcap.show {example}")


def main() -> int:
    """Exit status: 0 done, 1 a run could not be measured, 2 bad input, 130 interrupted."""
    _refused.clear()
    return run_hydra(measure) or int(any(_refused))


if __name__ == "__main__":
    sys.exit(main())
