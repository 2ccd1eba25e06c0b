"""A sweep that is stopped in any way goes on with the same command, and ends as if nothing had happened."""

from __future__ import annotations

import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from train_command import Ended, train_in
from wandb_files import read_wandb_file

from memcap.measures.points import measurement_steps
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder

WORDS = [
    *(
        "-m",
        "study=s",
        "model.width=4,6",
        "seed=0,1,2",
        "data.num_samples=40",
    ),
    *(
        "budget.steps=300",
        "measure=light",
        "hardware.dtype=float64",
        "hardware.max_members=2",
        "hardware.threads=1",
    ),
]
SWEEP = [sys.executable, "-m", "memcap.train", *WORDS]


def sweep(folder: Path, *extra: str) -> Ended:
    """One that nothing disturbs."""
    return train_in(folder, *WORDS, *extra)


def results(folder: Path) -> dict[str, dict[str, object]]:
    study = StudyFolder(folder / "outputs", "s").read()
    found = {}
    for cell in study["cells"]:
        result = RunFolder(folder / "outputs", cell["run_id"]).read_result()
        assert result is not None
        found[cell["run_id"]] = result
    return found


def assert_same_records(folder: Path, undisturbed: Path) -> None:
    got, expected = results(folder), results(undisturbed)
    assert list(got) == list(expected)
    for run_id, result in got.items():
        reference = expected[run_id]
        for name in ("status", "stop_reason", "steps", "config"):
            assert result[name] == reference[name]
        # Packs can differ after a stop, so digits may move within the batched engine's bound.
        summary, reference_summary = result["summary"], reference["summary"]
        assert isinstance(summary, dict)
        assert isinstance(reference_summary, dict)
        assert summary.keys() == reference_summary.keys()
        for name, value in summary.items():
            assert math.isclose(value, reference_summary[name], rel_tol=1e-6, abs_tol=1e-9), name
        history = RunFolder(folder / "outputs", run_id).read_history()
        reference_history = RunFolder(undisturbed / "outputs", run_id).read_history()
        assert [row["train/step"] for row in history] == [row["train/step"] for row in reference_history]
    assert StudyFolder(folder / "outputs", "s").read_index().keys() == got.keys()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = sweep(folder, "tracking=disabled")
    assert done.returncode == 0, done.printed
    assert "6 finished" in done.printed
    return folder


def test_the_same_command_twice_trains_nothing_the_second_time(undisturbed: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in (undisturbed / "outputs" / "runs").rglob("*")}
    again = sweep(undisturbed, "tracking=disabled")
    assert again.returncode == 0
    assert "6 skipped" in again.printed
    assert "finished in" not in again.printed
    assert files == {path: path.stat().st_mtime_ns for path in (undisturbed / "outputs" / "runs").rglob("*")}


def wait_for_a_result(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not list(folder.glob("outputs/runs/*/*/result.json")):
        assert process.poll() is None, "the sweep ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_what_is_finished(number: signal.Signals, undisturbed: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        # Many runs more, so that the stop comes in the middle.
        [*SWEEP, "tracking=disabled", "optimizer.beta1=0.9,0.8,0.7,0.6,0.5,0.4"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_a_result(tmp_path, process)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in printed
    assert "goes on" in printed
    kept = list(tmp_path.glob("outputs/runs/*/*/result.json"))
    times = {path: path.stat().st_mtime_ns for path in kept}
    done = sweep(tmp_path, "tracking=disabled")
    assert done.returncode == 0, done.printed
    assert {path: path.stat().st_mtime_ns for path in kept} == times
    ids = results(undisturbed).keys()
    for run_id in ids:
        assert RunFolder(tmp_path / "outputs", run_id).state() == "finished"


@pytest.mark.long  # tests/test_checkpoint_kills.py kills at chosen ones
def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    long = ("tracking=disabled", "budget.steps=20000")  # some seconds, so that a kill finds it training
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, killed):
        folder.mkdir()
    assert sweep(undisturbed, *long).returncode == 0
    moments, hits = random.Random(20), 0
    for _ in range(4):
        started = time.time()
        process = subprocess.Popen([*SWEEP, *long], cwd=killed, stdout=subprocess.DEVNULL)
        while process.poll() is None and not trains_since(killed, started):
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.5))
        hits += process.poll() is None
        process.kill()
        process.wait()
    assert hits >= 2, "the sweep ended before it could be killed"
    done = sweep(killed, *long)
    assert done.returncode == 0, done.printed
    assert_same_records(killed, undisturbed)


def trains_since(folder: Path, moment: float) -> bool:
    """Whether a run has been measured since then."""
    return any(
        path.stat().st_mtime >= moment and path.stat().st_size
        for path in folder.glob("outputs/runs/*/*/history.jsonl")
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_closes_offline_wandb_runs(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*SWEEP, "tracking.mode=offline", "budget.steps=100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob("outputs/runs/*/*/history.jsonl")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does it: W&B's own process hears it too
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in printed
    files = list(tmp_path.glob("outputs/studies/s/wandb/offline-run-*/run-*.wandb"))
    assert files
    for path in files:
        assert read_wandb_file(path).exit_code == 130


def test_two_sweeps_at_once_train_each_run_once(tmp_path: Path) -> None:
    sweeps = {"s": "seed=0,1,2", "other": "seed=1,2,3"}
    processes = [
        subprocess.Popen(
            [
                *(seeds if word == "seed=0,1,2" else word for word in SWEEP),
                *("tracking=disabled", "budget.steps=3000", f"study={study}"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for study, seeds in sweeps.items()
    ]
    printed = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    runs = list(tmp_path.glob("outputs/runs/*/*"))
    assert len(runs) == 8
    for path in runs:
        assert not (path / ".lock").exists()
        folder = RunFolder(tmp_path / "outputs", path.name)
        result = folder.read_result()
        assert result is not None
        assert result["attempts"] == 1
        steps = [row["train/step"] for row in folder.read_history()]
        assert steps == measurement_steps(3000, 24)
    finished = [re.search(r"^(\d+) finished", out, re.MULTILINE) for out, _ in printed]
    assert sum(int(found[1]) for found in finished if found) == 8
    for study in sweeps:
        assert len(StudyFolder(tmp_path / "outputs", study).read_index()) == 6
