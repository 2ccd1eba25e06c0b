"""A study of 100,000 runs without its training: what planning, records and reading take in time, memory and inodes.

    python benchmarks/simulate.py [--cells 100000] [--records 10000] [--minutes 1] [--folder DIR]

Cells are composed by Hydra, planned, frozen and listed as a submission does it. One run is trained; its rows, arrays
and result become those of others (--records; the index gets a row for all), written by the classes that write every
run. Then the study is read back: by what looks for finished runs, by memcap.status, as a table. A record costs a few
syncs, so most of its time is the disk's; --folder chooses it, 90 kB a record.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from overhead import machine

from memcap.backlog import sort_out
from memcap.cells import train_cells
from memcap.config.cell import Cell
from memcap.hydra_session import HydraSession, SweepTask
from memcap.ledger import Ledger
from memcap.listing import list_cells
from memcap.outcome import CellOutcome
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder, index_row
from memcap.submission.cost import calibrated
from memcap.submission.folder import DONE, SubmissionFolder
from memcap.submission.plan import PlannedTask, plan

STUDY = "simulated"
CPUS = 2  # of a task
WIDTHS = (8, 16, 32, 64)


@contextlib.contextmanager
def timed(what: str, count: int) -> Iterator[None]:
    """Prints what a step took: wall time, processor time, and the largest memory of this process so far."""
    started, usage = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    show(what, time.monotonic() - started, usage, resource.getrusage(resource.RUSAGE_SELF), count)


def show(
    what: str, wall_s: float, before: resource.struct_rusage | None, after: resource.struct_rusage, count: int
) -> None:
    """A line of the table; processor time is what a busy machine leaves comparable."""
    cpu_s = after.ru_utime + after.ru_stime - (before.ru_utime + before.ru_stime if before else 0.0)
    per_run = f"{cpu_s / count * 1e3:>11.3f}{after.ru_maxrss / 2**20:>8.2f}"
    print(f"{what:<44}{wall_s:>9.2f}{cpu_s:>9.2f}{per_run}", flush=True)


def composed(number: int, outputs: Path) -> list[Cell]:
    """The cells of ``-m`` over seeds and four widths."""
    found: list[Cell] = []

    def keep(cells: Sequence[Cell], axes: Sequence[str]) -> list[CellOutcome]:
        found.extend(cells)
        return [CellOutcome(cell, status="skipped") for cell in cells]

    overrides = [f"seed=range({number // len(WIDTHS)})", f"model.width={','.join(map(str, WIDTHS))}"]
    fixed = [f"paths.outputs={outputs}", f"study={STUDY}", "tracking=disabled"]
    HydraSession().sweep([*overrides, *fixed], SweepTask(keep))
    return found


def submit(
    cells: Sequence[Cell], outputs: Path, minutes: float
) -> tuple[SubmissionFolder, list[PlannedTask]]:
    """All of a submission but sbatch."""
    number = len(cells)
    with timed("look for finished runs (none)", number):
        ledger = Ledger(cells, STUDY)
        todo = sort_out(ledger, ledger.outcomes).to_train
    with timed("predict costs and pack", number):
        tasks = plan(todo, calibrated(todo, outputs), target_core_seconds=minutes * 60 * CPUS)
    with timed("list the cells in their study", number):
        list_cells(ledger, ["seed", "model.width"], "a simulation")
    folder = SubmissionFolder.create(ledger.study.path)
    with timed(f"freeze {len(tasks)} tasks", number):
        folder.write_plan(tasks, {})
        folder.write_submission({"launcher": "slurm", "options": {}, "axes": [], "command": "", "jobs": []})
    return folder, tasks


def write_records(cells: Sequence[Cell], number: int, study: StudyFolder, folder: Path) -> None:
    """The records of so many runs as training leaves them, with the numbers of one that was trained; all index rows."""
    with tempfile.TemporaryDirectory(dir=folder) as elsewhere, contextlib.redirect_stdout(sys.stderr):
        (cell,) = composed(len(WIDTHS), Path(elsewhere))[1:2]
        train_cells([cell])
        trained = RunFolder(Path(elsewhere), cell.run_id)
        result, rows = trained.read_result() or {}, trained.read_history()
        arrays = {name: trained.read_arrays(name) for name in ("samples", "weights")}
    with timed(f"write {number} records", number):
        for cell in cells[:number]:
            config = cell.config.to_dict()
            run = RunFolder(study.outputs, cell.run_id)
            run.start(config)
            for row in rows:
                run.append(row)
            record = {**result, "run_id": cell.run_id, "config": config, "studies": [STUDY]}
            run.finish(record, arrays)
    with timed(f"append {len(cells)} rows to the index", len(cells)):
        for cell in cells:
            study.append_index(index_row({**result, "run_id": cell.run_id}, cell.overrides))


def end_tasks(folder: SubmissionFolder, tasks: Sequence[PlannedTask]) -> None:
    """What the process of each task says at its end."""
    for number, task in enumerate(tasks):
        steps = sum(cell.config.budget.steps for cell in task.cells)
        state: dict[str, Any] = {"state": DONE, "host": "n1", "pid": 1, "job": f"1_{number}", "starts": 1}
        now = {"started": time.time(), "updated": time.time(), "ended": time.time()}
        progress = {"steps_done": steps, "steps_total": steps, "counts": {"finished": len(task.cells)}}
        folder.write_state(number, {**state, **now, **progress})


def read_back(cells: Sequence[Cell], written: int, study: StudyFolder) -> None:
    """What finds the runs finished, and what shows them."""
    number = len(cells)
    with timed(f"look for finished runs ({written})", written):
        ledger = Ledger(cells[:written], STUDY)
        sort_out(ledger, ledger.outcomes)
    with timed("read the index", number):
        study.read_index()
    with timed("tidy the index", number):
        study.tidy_index()
    arguments = [f"study={STUDY}", f"paths.outputs={study.outputs}"]
    if importlib.util.find_spec("memcap.status") is not None:
        in_a_process("memcap.status", ["-m", "memcap.status", *arguments], number)
    code = f"import memcap; memcap.load_study({STUDY!r}, outputs={str(study.outputs)!r})"
    in_a_process(f"memcap.load_study ({written} runs)", ["-c", code], written)


def in_a_process(what: str, arguments: list[str], count: int) -> None:
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status != 0:
        raise SystemExit(f"{what} ended with {status}")
    show(f"{what}, a process", time.monotonic() - started, None, usage, count)


def print_sizes(outputs: Path, runs: dict[str, int]) -> None:
    """Inodes and bytes of each folder, and for each of its runs; bytes as the disk counts them, in whole blocks."""
    for name, number in runs.items():
        stats = [path.lstat() for path in [outputs / name, *(outputs / name).rglob("*")]]
        blocks, content = sum(s.st_blocks * 512 for s in stats), sum(s.st_size for s in stats)
        print(
            f"{name + '/':<10}{number} runs: {len(stats)} inodes ({len(stats) / number:.2f} a run),"
            f" {blocks / 2**30:.3f} GiB on disk ({blocks / number / 1e3:.2f} kB a run),"
            f" {content / 2**30:.3f} GiB of content"
        )


def main() -> None:
    """Prints a line for each step, then the sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=10_000, help="runs whose records are written")
    parser.add_argument("--minutes", type=float, default=1, help="launcher.target_minutes")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    a = parser.parse_args()
    print(machine())
    print(f"{'step':<44}{'s':>9}{'CPU s':>9}{'CPU ms/run':>11}{'GiB':>8}")
    folder = Path(tempfile.mkdtemp(prefix="memcap-simulation-", dir=a.folder))
    outputs = folder / "outputs"
    try:
        with timed("compose and check", a.cells):
            cells = composed(a.cells, outputs)
        submission, tasks = submit(cells, outputs, a.minutes)
        with timed("read the cells of one task", 1):
            submission.read_cells(len(tasks) // 2)
        study, written = StudyFolder(outputs, STUDY), min(a.records, a.cells)
        write_records(cells, written, study, folder)
        end_tasks(submission, tasks)
        read_back(cells, written, study)
        print_sizes(outputs, {"runs": written, "studies": a.cells})
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
