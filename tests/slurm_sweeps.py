"""A small sweep on a cluster of ``local_cluster``: submitted, watched while it trains, compared with another."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from background_sweeps import know_costs
from slurm_cluster import SlurmCluster, wait_until

from memcap.checkpoint import Checkpoint, CheckpointRefused
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.submission.folder import SubmissionFolder

# Two packs of two runs: when the second, with some 15 s of training on a fast core, is hit, the first is finished.
CELLS = (
    *("-m", "study=s", "model.width=4", "budget.steps=20000,600000", "seed=0,1", "data.num_samples=40"),
    *("measure=light", "measure.points=8", "hardware.max_members=2", "hardware.threads=1"),
)
PATIENCE_S = 180.0  # for what takes seconds on an idle machine
SAVED_ALWAYS = "checkpoint.minutes=0.01"


@dataclasses.dataclass
class SlurmSweep:
    """One sweep in a folder of its own. ``extra``: overrides of all its commands."""

    folder: Path
    cluster: SlurmCluster
    extra: tuple[str, ...] = ("tracking=disabled",)

    def __post_init__(self) -> None:
        know_costs(self.outputs)

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs"

    @property
    def submissions(self) -> list[SubmissionFolder]:
        return SubmissionFolder.all_of(self.outputs / "studies" / "s")

    def arguments(self, *extra: str) -> list[str]:
        own = ("hydra/launcher=slurm", f"paths.outputs={self.outputs}", *self.extra, *extra)
        by_key = {word.partition("=")[0]: word for word in (*CELLS, *own)}  # the last one of a key counts
        return list(by_key.values())

    # -- its commands ---------------------------------------------------------------------------------

    def here(self, *extra: str) -> tuple[int, str]:
        """The command in this process, which has torch already: its exit status and what it prints."""
        from memcap.train import main

        printed = io.StringIO()
        argv = mock.patch.object(sys, "argv", ["memcap.train", *self.arguments(*extra)])
        with argv, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = main()
        return status, printed.getvalue()

    def submit(self, *extra: str) -> str:
        """Submits without waiting and returns the number of its (single) job."""
        status, printed = self.here("launcher.wait=false", *extra)
        assert status == 0, printed
        (job,) = self.submissions[-1].read_submission()["jobs"]
        return str(job["job_id"])

    def start(self, *extra: str) -> subprocess.Popen[str]:
        """A process that submits and waits."""
        command, pipe = [sys.executable, "-m", "memcap.train", *self.arguments(*extra)], subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    # -- what becomes of it ---------------------------------------------------------------------------

    @property
    def runs(self) -> list[RunFolder]:
        cells = StudyFolder(self.outputs, "s").read()["cells"]
        return [RunFolder(self.outputs, cell["run_id"]) for cell in cells]

    @property
    def finished(self) -> dict[str, tuple[int, int]]:
        """Of each finished run, what would change if it was written again: inode and time of its result."""
        stats = {run.run_id: (run.path / "result.json").stat() for run in self.runs if run.read_result()}
        return {run_id: (stat.st_ino, stat.st_mtime_ns) for run_id, stat in stats.items()}

    def state(self, task: int = 0) -> dict[str, Any]:
        """What the task of the latest submission has said last."""
        return self.submissions[-1].read_state(task) or {}

    @property
    def saved(self) -> list[int]:
        """Steps at which runs that have not ended were saved."""
        steps, done = [], self.finished
        for path in (self.outputs / "checkpoints").glob("*.pt"):
            with contextlib.suppress(CheckpointRefused, OSError):
                checkpoint = Checkpoint.read(path)
                if not set(checkpoint.run_ids) <= done.keys():
                    steps.append(checkpoint.step)
        return steps

    def wait_for_middle(self) -> dict[str, tuple[int, int]]:
        """Until two runs are finished and the others have been trained a bit, and saved; the finished ones."""
        wait_until(lambda: len(self.finished) == 2 and bool(self.saved), PATIENCE_S, self.log)
        return self.finished

    def wait_for_end(self, timeout_s: float = PATIENCE_S) -> None:
        """Until all runs have their results and the task has said its last word."""
        wait_until(lambda: len(self.finished) == 4, timeout_s, self.log)

    def log(self) -> str:
        """What the tasks have printed."""
        texts = [path.read_text() for path in sorted(self.folder.rglob("submitit/*.out"))]
        return "\n".join([f"finished: {len(self.finished)}, saved: {self.saved}", *texts])

    def records(self) -> dict[str, Any]:
        """All that the runs have left but what has to differ: attempts and provenance. Text, so that NaN equals NaN."""
        found: dict[str, Any] = {}
        for run in self.runs:
            result = run.read_result()
            assert result is not None, f"{run.run_id} is missing"
            kept = {name: result[name] for name in ("status", "stop_reason", "steps", "summary")}
            arrays = {name: array.tobytes() for name, array in run.read_arrays("weights").items()}
            found[run.run_id] = {"result": repr(kept), "rows": repr(run.read_history()), "weights": arrays}
        return found

    def attempts(self) -> list[int]:
        """Of each run in the sweep's order."""
        return [int((run.read_result() or {})["attempts"]) for run in self.runs]

    def resumed_from(self) -> list[list[int]]:
        """The steps at which attempts of each run have gone on."""
        results = [run.read_result() or {} for run in self.runs]
        return [result["provenance"].get("resumed_from_steps", []) for result in results]
