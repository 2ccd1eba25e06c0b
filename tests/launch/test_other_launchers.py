"""The sweeper with launchers and tasks that are not memcap's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def test_a_preset_can_choose_the_launcher(app: Any, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [override /hydra/launcher: basic]\n"
    )
    master = app.master(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert master.hydra.runtime.choices["hydra/launcher"] == "basic"


def test_stock_launchers_get_every_cell_with_the_same_study(app: Any) -> None:
    app.multirun("model.width=8,16", "seed=0,1", "zip='model.width,seed'")
    study = app.task.cells[0].config.study
    (returns,) = app.multirun(
        "hydra/launcher=basic", "model.width=8,16", "seed=0,1", "zip='model.width,seed'"
    )
    assert [(c["model"]["width"], c["seed"], c["study"]) for c in app.task.configs] == [
        (8, 0, study),
        (16, 1, study),
    ]
    assert {(c["zip"], c["cells"]) for c in app.task.configs} == {(None, None)}
    assert [job.return_value for job in returns] == [0.0, 1.0]


def test_a_job_that_fails_under_a_stock_launcher_is_raised(
    app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: Any) -> float:
        raise ArithmeticError(f"seed {config.seed}")

    fail.train_cells = app.task.train_cells  # type: ignore[attr-defined]
    app.task = fail
    with pytest.raises(ArithmeticError, match="seed 0"):
        app.multirun("hydra/launcher=basic", "seed=0,1")


def test_any_other_task_is_swept_too(app: Any) -> None:
    seen = []
    app.task = lambda config: seen.append((config.seed, config.model.kind)) or 1.0
    (returns,) = app.multirun("seed=0,1", "model=mlp,linear")
    assert seen == [(0, "mlp"), (0, "linear"), (1, "mlp"), (1, "linear")]
    assert len(returns) == 4


def test_joblib_trains_the_same_cells_into_the_same_study(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install hydra-joblib-launcher")
    fixed = ["budget.steps=2", "measure=light", "tracking=disabled", "hardware.threads=1"]
    command = [sys.executable, "-m", "memcap.train", "-m", *fixed]
    for more in (["seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ["seed=0,1,2"]):
        subprocess.run([*command, *more], cwd=tmp_path, check=True, capture_output=True)
    (study,) = (tmp_path / "outputs" / "studies").iterdir()
    assert (
        len((study / "index.jsonl").read_text().splitlines()) == 3
    )  # the second sweep found two of them finished
