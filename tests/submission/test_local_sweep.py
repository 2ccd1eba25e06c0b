"""Sweeps that worker processes of this machine train: real workers, real kills, the records of an undisturbed sweep."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from background_sweeps import know_costs

from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.submission.folder import SubmissionFolder

SWEEP = (
    *("-m", "study=s", "model.width=4,6", "seed=0,1,2", "data.num_samples=40", "tracking=disabled"),
    *("budget.steps=300", "measure=light", "hardware.max_members=2", "hydra/launcher=local"),
)
LONG = "budget.steps=300000"
KILLER = """
import dataclasses, os, signal
from memcap.config.schema import RandomLabelsConfig
from memcap.data.random_labels import RandomLabels


class Killer(RandomLabels):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(RandomLabelsConfig):
        kind = "killer"

    def training(self):
        if self.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training()
"""


def command(*extra: str) -> list[str]:
    return [sys.executable, "-m", "memcap.train", *SWEEP, *extra]


def sweep(folder: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*extra), cwd=folder, capture_output=True, text=True, check=False, timeout=180
    )


def start(folder: Path, *extra: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*extra), cwd=folder, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    study = StudyFolder(folder / "outputs", "s").read()
    found = {}
    for cell in study["cells"]:
        result = RunFolder(folder / "outputs", cell["run_id"]).read_result()
        assert result is not None, f"{cell['run_id']} is missing"
        found[cell["run_id"]] = {key: result[key] for key in ("status", "steps", "summary")}
    return found


def worker_pids(folder: Path, at_least: int = 1) -> list[int]:
    """The processes that train now, as their tasks say."""
    deadline = time.monotonic() + 60
    while True:
        said = [
            json.loads(path.read_bytes())
            for path in folder.glob("outputs/studies/s/submissions/*/tasks/*.json")
        ]
        pids = [
            state["pid"] for state in said if state["state"] == "running" and state.get("steps_done", 0) >= 0
        ]
        if len(pids) >= at_least:
            return pids
        assert time.monotonic() < deadline, "no worker has begun"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = sweep(folder, "launcher.workers=2")
    assert done.returncode == 0, done.stderr
    assert "6 finished" in done.stdout
    return folder


def test_workers_give_the_bits_of_one_process(undisturbed: Path, tmp_path: Path) -> None:
    alone = sweep(tmp_path, "hydra/launcher=memcap")
    assert alone.returncode == 0, alone.stderr
    assert records(tmp_path) == records(undisturbed)
    index = StudyFolder(undisturbed / "outputs", "s").read_index()
    assert index.keys() == records(undisturbed).keys()


def test_the_same_command_again_submits_nothing(undisturbed: Path) -> None:
    again = sweep(undisturbed)
    assert again.returncode == 0
    assert "6 skipped" in again.stdout
    assert len(SubmissionFolder.all_of(undisturbed / "outputs" / "studies" / "s")) == 1


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = sweep(tmp_path, "launcher.dry_run=true", "launcher.workers=1")
    assert done.returncode == 0
    assert re.search(r"study s: 6 runs to train in \d+ tasks? of \d+ cores?, 0 are finished", done.stdout)
    assert "nothing was submitted" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_worker_leaves_is_trained_again(undisturbed: Path, tmp_path: Path) -> None:
    know_costs(tmp_path / "outputs")
    process = start(tmp_path, "launcher.workers=1")
    os.kill(worker_pids(tmp_path)[0], signal.SIGKILL)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "6 finished" in printed
    assert records(tmp_path) == records(undisturbed)


@pytest.mark.slow
def test_a_run_that_kills_its_process_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "killer_part.py").write_text(KILLER)
    own = ("+data._target_=killer_part.Killer", "~data.kind", "allow_targets=[killer_part]")
    done = sweep(tmp_path, "launcher.workers=1", *own)
    assert done.returncode == 1, done.stderr
    assert "4 finished, 2 failed" in done.stdout
    assert "died every time" in done.stdout
    failed = re.findall(r"failed: (.*?): ", done.stdout)
    assert len(failed) == 2
    assert all("seed=1" in overrides for overrides in failed)


@pytest.mark.slow
def test_ctrl_c_stops_the_workers_and_the_same_command_goes_on(tmp_path: Path) -> None:
    know_costs(tmp_path / "outputs")
    process = start(tmp_path, "launcher.workers=2", LONG)
    pids = worker_pids(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in printed
    assert "Traceback" not in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids), "a worker is left behind"


def test_what_a_submission_has_is_not_submitted_again(tmp_path: Path) -> None:
    words = ("launcher.wait=false", "launcher.workers=1", "budget.steps=100000000")
    know_costs(tmp_path / "outputs")
    assert sweep(tmp_path, *words).returncode == 0
    study = tmp_path / "outputs" / "studies" / "s"
    try:
        worker_pids(tmp_path)
        again = sweep(tmp_path, *words)
        assert again.returncode == 0, again.stderr
        assert "nothing submitted: others have all that is not finished\n" in again.stdout
        assert len(SubmissionFolder.all_of(study)) == 1
        wider = sweep(tmp_path, *words, "data.num_samples=40,50", "launcher.dry_run=true")
        assert "study s: 6 runs to train in " in wider.stdout
        found = re.findall(r"(\d) cells? (?:is|are) (queued|running) in submission 0001", again.stderr)
        assert sum(int(number) for number, _ in found) == 6, again.stderr
        assert again.stderr.count("\n") == 1
    finally:
        stopped = subprocess.run(
            [sys.executable, "-m", "memcap.cancel", "study=s"], cwd=tmp_path, capture_output=True, check=False
        )
    assert stopped.returncode == 0


def test_nobody_waits_for_workers_that_were_told_to_go_on_alone(tmp_path: Path) -> None:
    know_costs(tmp_path / "outputs")
    done = sweep(tmp_path, "launcher.wait=false", "launcher.workers=1")
    assert done.returncode == 0, done.stderr
    assert "6 runs submitted in" in done.stdout
    assert "python -m memcap.status study=s" in done.stdout
    deadline = time.monotonic() + 90
    while len(StudyFolder(tmp_path / "outputs", "s").read_index()) < 6:
        assert time.monotonic() < deadline, "the workers did not finish"
        time.sleep(0.1)
