"""The entry point with code of one's own that fails or has changed, and what the W&B client writes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from train_cases import SMALL, Main, results
from wandb_files import offline_runs

from memcap.records.run_folder import RunFolder

BROKEN_DATA = """
import dataclasses
from memcap.config.schema import RandomLabelsConfig
from memcap.data.random_labels import RandomLabels


class Broken(RandomLabels):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(RandomLabelsConfig):
        kind = "broken"

    def training(self):
        if self.seed == 2:
            raise ValueError("no data for this seed")
        return super().training()
"""
USE_BROKEN = ["+data._target_=broken_data.Broken", "~data.kind", "allow_targets=[broken_data]"]


def test_a_failure_stays_with_its_run(main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken_data.py").write_text(BROKEN_DATA)
    sweep = ["-m", "seed=0,1,2,3,4", *USE_BROKEN]
    assert main(*sweep) == 1
    printed = capsys.readouterr().out
    assert "4 finished, 1 failed" in printed
    assert "failed: seed=2: ValueError: no data for this seed" in printed
    assert len(results(tmp_path)) == 4
    (failure,) = tmp_path.glob("outputs/runs/*/*/failure.json")
    record = json.loads(failure.read_text())
    assert (record["status"], record["failures"]) == ("failed", 1)
    assert "broken_data.py" in record["traceback"]

    assert main(*sweep) == 1  # tried once more
    assert json.loads(failure.read_text())["failures"] == 2
    before = failure.stat().st_mtime_ns
    assert main(*sweep) == 1  # and then left alone
    assert failure.stat().st_mtime_ns == before
    assert "max_attempts=3 tries once more" in capsys.readouterr().out


OWN_ACTIVATION = """
import dataclasses
from memcap.config.schema import ActivationConfig


class Steep:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(ActivationConfig):
        kind = "steep"
        version = {version}

    def __init__(self, config, values):
        pass

    def __call__(self, x):
        return {slope} * x
"""


def test_code_of_ones_own_that_changed_is_noticed(tmp_path: Path) -> None:
    own = ["+activation._target_=steep_part.Steep", "~activation.kind", "allow_targets=[steep_part]"]

    def run(version: int, slope: int) -> str:
        (tmp_path / "steep_part.py").write_text(OWN_ACTIVATION.format(version=version, slope=slope))
        command = [sys.executable, "-B", "-m", "memcap.train", "tracking=disabled", *SMALL, *own]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "1 finished" in run(1, 2)
    assert "has changed" not in run(1, 2)
    printed = run(1, 5)
    assert "1 skipped" in printed
    assert "the code of your own parts has changed since: 1" in printed
    assert "1 finished" in run(2, 5)
    assert len(results(tmp_path)) == 2


def test_fail_fast_stops_at_the_first_failure(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_data.py").write_text(BROKEN_DATA)
    assert main("-m", "seed=2,3,4", "hardware.max_members=1", "fail_fast=true", *USE_BROKEN) == 1
    assert "1 failed, 2 interrupted" in capsys.readouterr().out
    assert results(tmp_path) == []


def test_each_cell_has_its_own_wandb_run(main: Main, tmp_path: Path) -> None:
    (tmp_path / "broken_data.py").write_text(BROKEN_DATA)
    sweep = ["-m", "study=s", "seed=0,1,2", "tracking.project=capacity", "tracking.tags=[a,b]", *USE_BROKEN]
    assert main(*sweep, tracking="tracking.mode=offline") == 1
    runs = offline_runs(tmp_path / "outputs/studies/s")
    assert [path.name for path in tmp_path.iterdir() if path.name == "wandb"] == []
    for result in results(tmp_path):
        run = runs.pop(str(result["run_id"]))
        assert (run.group, run.project, run.job_type, set(run.tags)) == ("s", "capacity", "train", {"a", "b"})
        assert run.config["model"]["width"] == 4
        assert run.config["seed"] == result["config"]["seed"]  # type: ignore[index]
        assert run.step_metrics["*"] == "train/step"
        history = RunFolder(tmp_path / "outputs", str(result["run_id"])).read_history()
        assert [row["train/step"] for row in run.history] == [row["train/step"] for row in history]
        assert [row["memory/bits"] for row in run.history] == [row["memory/bits"] for row in history]
        assert run.summary["status"] == "finished"
        assert run.summary["memory/bits"] == result["summary"]["memory/bits"]  # type: ignore[index]
        assert run.exit_code == 0
    (failed,) = runs.values()
    assert failed.exit_code == 1
