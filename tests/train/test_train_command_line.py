"""The entry point's command line: other launchers and sweepers, presets, zip and tables, the environment, help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from train_cases import SMALL, Main, results

from memcap.records.study_folder import StudyFolder
from memcap.study import load_study


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
