"""Real processes that are killed, stopped or asked to save in the middle of a training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from train_command import train_in

from memcap.checkpoint import Checkpoint, CheckpointRefused
from memcap.records.run_folder import RunFolder

# Some seconds of training.
WORDS = [
    *("-m", "study=s", "seed=0,1", "model.width=4", "data.num_samples=40"),
    *("budget.steps=40000", "measure=light", "measure.points=12", "hardware.threads=1", "tracking=disabled"),
]
SWEEP = [sys.executable, "-m", "memcap.train", *WORDS]


def start(folder: Path, *extra: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    pipe = subprocess.PIPE
    return subprocess.Popen([*SWEEP, *extra], cwd=folder, stdout=pipe, stderr=pipe, text=True)


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def trains(folder: Path) -> bool:
    """Whether steps have been trained, so that a stop is saved first."""
    return any(path.read_bytes().count(b"\n") > 5 for path in folder.glob("outputs/runs/*/*/history.jsonl"))


def steps_saved(folder: Path) -> list[int]:
    found = []
    for path in folder.glob("outputs/checkpoints/*.pt"):
        try:
            found.append(Checkpoint.read(path).step)
        except CheckpointRefused:
            continue
    return found


def left(folder: Path) -> dict[str, tuple[str, bytes]]:
    """History and weights of each run."""
    found = {}
    for path in folder.glob("outputs/runs/*/*"):
        run = RunFolder(folder / "outputs", path.name)
        assert run.state() == "finished"
        weights = b"".join(array.tobytes() for _, array in sorted(run.read_arrays("weights").items()))
        found[path.name] = repr(run.read_history()), weights
    return found


def resumed_from(folder: Path) -> list[list[int]]:
    runs = [RunFolder(folder / "outputs", path.name) for path in folder.glob("outputs/runs/*/*")]
    return [(run.read_result() or {})["provenance"].get("resumed_from_steps", []) for run in runs]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = train_in(folder, *WORDS)
    assert done.returncode == 0, done.printed
    assert "2 finished" in done.printed
    return left(folder)


def finish(folder: Path) -> str:
    """The same command, which goes on; what it printed."""
    done = train_in(folder, *WORDS)
    assert done.returncode == 0, done.printed
    assert "2 finished" in done.printed
    assert list(folder.glob("outputs/checkpoints/*")) == []
    return done.printed


@pytest.mark.slow
def test_kill_9_goes_on_from_the_last_checkpoint(
    undisturbed: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    steps: list[int] = []
    for _ in range(2):
        process = start(tmp_path, "checkpoint.minutes=0.002")
        before = max([0, *steps])
        wait_for(process, lambda: max([0, *steps_saved(tmp_path)]) > before)  # noqa: B023
        process.kill()
        process.communicate()
        steps.append(max(steps_saved(tmp_path)))
    printed = finish(tmp_path)
    assert f"memcap: 2 runs go on from step {steps[-1]}\n" in printed
    assert left(tmp_path) == undisturbed
    assert resumed_from(tmp_path) == [steps, steps]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_saves_first(
    number: signal.Signals, undisturbed: dict[str, tuple[str, bytes]], tmp_path: Path
) -> None:
    process = start(tmp_path, "checkpoint.minutes=null")
    wait_for(process, lambda: trains(tmp_path))
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "2 interrupted" in printed
    (step,) = steps_saved(tmp_path)
    assert f"memcap: saved at step {step}, runs: 2\n" in errors
    finish(tmp_path)
    assert left(tmp_path) == undisturbed
    assert resumed_from(tmp_path) == [[step], [step]]


def test_usr2_saves_and_goes_on(undisturbed: dict[str, tuple[str, bytes]], tmp_path: Path) -> None:
    process = start(tmp_path, "checkpoint.minutes=null", "checkpoint.keep=true")
    wait_for(process, lambda: trains(tmp_path))
    process.send_signal(signal.SIGUSR2)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "2 finished" in printed
    assert "memcap: saved at step" in errors
    assert left(tmp_path) == undisturbed
    assert len(steps_saved(tmp_path)) == 1


WORKER = """
import sys
from checkpoint_cases import cells
from memcap.cells import train_cells
from memcap.errors import Interrupted
from pathlib import Path
try:
    train_cells(cells(Path.cwd(), "measure=light", "budget.steps=10000000"), usr2_stops=True)
except Interrupted as error:
    print(f"stopped by {error}")
"""


def test_usr2_stops_those_who_want_that(tmp_path: Path) -> None:
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True, env=path
    )
    wait_for(process, lambda: any(p.stat().st_size for p in tmp_path.glob("outputs/runs/*/*/history.jsonl")))
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR2)
    printed, errors = process.communicate(timeout=60)
    assert "stopped by SIGUSR2" in printed, errors
    assert len(steps_saved(tmp_path)) == 1
