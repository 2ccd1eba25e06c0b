"""The entry point end to end: real trainings, real files, real W&B client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from wandb_files import offline_runs

from memcap import train
from memcap.measures.points import measurement_steps
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.study import load_study

SMALL = ["data.num_samples=20", "budget.steps=60", "measure.points=4", "model.width=4"]
Main = Callable[..., int]


@pytest.fixture
def main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Main:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, tracking: str = "tracking=disabled") -> int:
        monkeypatch.setattr(sys, "argv", ["memcap.train", tracking, *SMALL, *arguments])
        monkeypatch.setattr(train, "_outcomes", [])
        return train.main()

    return call


def results(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("outputs/runs/*/*/result.json"))]


def test_one_run_leaves_a_whole_record_and_nothing_else(main: Main, tmp_path: Path) -> None:
    assert main() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"owners", "runs", "studies"}
    assert list((tmp_path / "outputs" / "owners").iterdir()) == []
    (result,) = results(tmp_path)
    assert set(result) == {
        *("schema", "run_id", "status", "stop_reason", "steps", "attempts"),
        *("config", "summary", "provenance", "studies"),
    }
    assert (result["status"], result["stop_reason"], result["steps"]) == ("finished", "budget", 60)
    folder = RunFolder(tmp_path / "outputs", str(result["run_id"]))
    assert {p.name for p in folder.path.iterdir()} == {
        *("config.yaml", "history.jsonl", "samples.npz", "weights.npz", "result.json")
    }
    assert yaml.safe_load((folder.path / "config.yaml").read_text()) == result["config"]
    history = folder.read_history()
    assert [row["train/step"] for row in history] == measurement_steps(60, 4)
    summary = result["summary"]
    assert isinstance(summary, dict)
    assert summary.items() >= history[-1].items()
    samples = folder.read_arrays("samples")
    assert {name: values.shape for name, values in samples.items()} == {
        "initial_loss": (20,),
        "final_loss": (20,),
        "correct": (20,),
        "margin": (20,),
        "alignment": (20,),
    }
    assert samples["final_loss"].mean() == pytest.approx(summary["train/loss_nats"], rel=1e-6)
    assert sum(w.size for w in folder.read_arrays("weights").values()) == summary["num_parameters"]


def test_cells_of_one_shape_train_in_one_population(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = [
        "-m",
        "seed=0,1",
        "optimizer.learning_rate=0.01,0.02",
        "data.num_samples=20,30",
        "model.width=4,5",
    ]
    assert main(*sweep) == 0
    found = results(tmp_path)
    assert len(found) == 16
    assert {r["provenance"]["population"] for r in found} == {8}  # type: ignore[index]
    printed = capsys.readouterr().out
    assert "16 finished" in printed
    rows = [line.split("  ")[0] for line in printed.splitlines() if line.rstrip().endswith("finished")]
    assert len(rows) == 16
    assert [row.split()[0] for row in rows] == ["data.num_samples=20"] * 8 + ["data.num_samples=30"] * 8
    assert [row.split()[-1] for row in rows[:2]] == [
        "optimizer.learning_rate=0.01",
        "optimizer.learning_rate=0.02",
    ]
    table = load_study(found[0]["studies"][0])  # type: ignore[index]
    assert len(table) == 16
    assert set(table["model.width"]) == {4, 5}


def test_studies_share_runs_and_the_same_command_finds_its_study(main: Main, tmp_path: Path) -> None:
    assert main("-m", "seed=0,1") == 0
    assert main("-m", "seed=0,1") == 0
    assert len(list((tmp_path / "outputs/studies").iterdir())) == 1
    assert main("-m", "seed=1,2", "study=other") == 0
    assert len(results(tmp_path)) == 3
    shared = [result for result in results(tmp_path) if len(result["studies"]) == 2]  # type: ignore[arg-type]
    assert len(shared) == 1
    assert [cell["overrides"] for cell in StudyFolder(tmp_path / "outputs", "other").read()["cells"]] == [
        ["seed=1"],
        ["seed=2"],
    ]
    # A wider sweep over the same axis joins the study of the narrower one.
    assert main("-m", "seed=0,1,2,3") == 0
    assert len(list((tmp_path / "outputs/studies").iterdir())) == 2


def test_what_is_fixed_within_a_swept_group_tells_studies_apart(main: Main, tmp_path: Path) -> None:
    for rate in ("0.1", "0.01"):
        assert main("-m", "optimizer=adam,sgd", f"optimizer.learning_rate={rate}") == 0
    assert len(list((tmp_path / "outputs/studies").iterdir())) == 2


def test_one_run_of_a_preset_is_named_after_it(main: Main, tmp_path: Path) -> None:
    assert main("experiment=bits_vs_samples") == 0
    (study,) = (tmp_path / "outputs/studies").iterdir()
    assert study.name.startswith("bits_vs_samples-")


def test_means_over_seeds_close_a_sweep_with_seeds(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("-m", "seed=0,1,2", "model.width=4,5") == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("mean over seeds"))
    means = [line.split()[:2] for line in lines[start + 1 : start + 3]]
    assert means == [["model.width=4", "3"], ["model.width=5", "3"]]


def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path) -> None:
    small = " ".join(["tracking=disabled", *SMALL])
    line = f"set -o pipefail; {sys.executable} -m memcap.train -m seed=0,1 {small} | true"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(results(tmp_path)) == 2


def test_force_makes_a_new_attempt(main: Main, tmp_path: Path) -> None:
    assert main() == 0
    (before,) = results(tmp_path)
    assert main("force=true") == 0
    (after,) = results(tmp_path)
    assert (before["attempts"], after["attempts"]) == (1, 2)
    assert before["summary"] == after["summary"]  # same seed, same bits


def test_a_finished_run_is_trained_again_for_measures_that_it_lacks(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("measure=light") == 0
    (before,) = results(tmp_path)
    capsys.readouterr()
    assert main() == 0
    expected = "since they lack measure.conflict, measure.evaluation, measure.sharpness"
    assert expected in capsys.readouterr().err
    (after,) = results(tmp_path)
    assert (before["attempts"], after["attempts"]) == (1, 2)
    assert "sharpness/top_eigenvalue" in after["summary"]  # type: ignore[operator]
    assert before["summary"].items() <= after["summary"].items()  # type: ignore[attr-defined]
    assert main("measure=light", "measure.points=3") == 0  # it has all that and more
    assert "1 skipped" in capsys.readouterr().out


def test_a_diverged_run_is_a_result(main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = "optimizer.learning_rate=0.01,1e30"
    assert main("-m", rates, "activation=relu4", "optimizer=sgd", "budget.check_every=10") == 0
    assert sorted(str(result["status"]) for result in results(tmp_path)) == ["diverged", "finished"]
    assert "1 finished, 1 diverged" in capsys.readouterr().out
    assert main("-m", rates, "activation=relu4", "optimizer=sgd", "budget.check_every=10") == 0
    assert "2 skipped" in capsys.readouterr().out


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


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_stock_launchers_work_with_our_sweeper(launcher: str, tmp_path: Path) -> None:
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install hydra-joblib-launcher")
    arguments = ["-m", f"hydra/launcher={launcher}", "seed=0,1", "tracking=disabled", *SMALL]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "memcap.train", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path)) == 2
    (study,) = (tmp_path / "outputs/studies").iterdir()
    assert len(StudyFolder(tmp_path / "outputs", study.name).read_index()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_stock_sweeper_works_with_our_launcher(main: Main, tmp_path: Path) -> None:
    assert main("-m", "hydra/sweeper=basic", "seed=0,1") == 0
    assert {r["provenance"]["population"] for r in results(tmp_path)} == {2}  # type: ignore[index]
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_preset_brings_its_sweep(main: Main, tmp_path: Path) -> None:
    assert main("-m", "experiment=bits_vs_samples", "data.num_samples=10,20") == 0
    found = {(r["config"]["model"]["width"], r["config"]["data"]["num_samples"]) for r in results(tmp_path)}  # type: ignore[index]
    # The command line wins over the preset, key by key: SMALL has a width, the line has the samples.
    assert found == {(4, 10), (4, 20)}
    (study,) = (tmp_path / "outputs/studies").iterdir()
    assert study.name.startswith("bits_vs_samples-")


def test_zip_and_csv(main: Main, tmp_path: Path) -> None:
    assert main("-m", "zip=seed,data.num_samples", "seed=0,1", "data.num_samples=10,20") == 0
    assert sorted((r["config"]["seed"], r["config"]["data"]["num_samples"]) for r in results(tmp_path)) == [  # type: ignore[index]
        (0, 10),
        (1, 20),
    ]
    (tmp_path / "cells.csv").write_text("seed,optimizer.learning_rate,activation\n5,0.1,relu\n6,,tanh\n")
    assert main("-m", "cells=cells.csv", "study=csv") == 0
    table = load_study("csv")
    assert list(
        zip(table["seed"], table["optimizer.learning_rate"], table["activation.kind"], strict=True)
    ) == [
        (5, 0.1, "relu"),
        (6, 0.01, "tanh"),
    ]


def test_a_formula_typed_in_a_shell(tmp_path: Path) -> None:
    small = " ".join(["tracking=disabled", *SMALL])
    formula = "activation=formula activation.formula=x*sin\\(3*x\\)"
    line = f"{sys.executable} -m memcap.train {formula} {small}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["config"]["activation"]["formula"] == "x*sin(3*x)"  # type: ignore[index]


def test_the_environment_stands_between_command_line_and_yaml(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "from-environment")
    assert main("seed=7") == 0
    assert main("seed=8", "tracking.project=from-line") == 0
    projects = {r["config"]["seed"]: r["config"]["tracking"]["project"] for r in results(tmp_path)}  # type: ignore[index]
    assert projects == {7: "from-environment", 8: "from-line"}


@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]])
def test_help_needs_no_heavy_import(flags: list[str], tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['memcap.train', *sys.argv[1:]]\n"
        "try: runpy.run_module('memcap.train', run_name='__main__')\n"
        "except SystemExit as e: assert not e.code\n"
        "heavy = {'torch', 'wandb', 'pandas', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *flags], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_commands_are_listed() -> None:
    done = subprocess.run([sys.executable, "-m", "memcap"], capture_output=True, text=True, check=True)
    assert "memcap.train" in done.stdout
