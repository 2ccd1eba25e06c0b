"""python -m memcap.compare: the table in the terminal and the files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from compositions import composed_config

from memcap import cells as training
from memcap.compare.__main__ import main
from memcap.config.cell import Cell

AXES = ["model.width", "data.num_samples", "optimizer.learning_rate", "seed"]
CONTRACT = (
    "model.width", "num_parameters", "capacity_bits", "ci_low", "ci_high", "best_num_samples", "num_seeds",
    "diverged_share", "flags", "capacity_in_sample_bits", "capacity_seedwise_bits",
)  # fmt: skip


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real study: 3 widths × 4 N × 2 learning rates × 3 seeds."""
    outputs = tmp_path_factory.mktemp("command") / "outputs"
    keys = [
        (w, n, r, s) for w in (2, 4, 8) for n in (15, 30, 60, 120) for r in (0.03, 0.01) for s in (0, 1, 2)
    ]
    fixed = (
        "budget.steps=150",
        "measure.points=2",
        "tracking=disabled",
        f"paths.outputs={outputs}",
        "study=small",
    )
    cells = []
    for values in keys:
        texts = [f"{axis}={value}" for axis, value in zip(AXES, values, strict=True)]
        cells.append(Cell.from_values(composed_config(*fixed, *texts).to_dict(), tuple(texts)))
    training.train_cells(cells, AXES, "python -m memcap.train")
    return outputs


def test_from_runs_to_numbers(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["study=small", f"paths.outputs={outputs}"]) == 0
    text = capsys.readouterr().out
    folder = outputs / "studies" / "small" / "compare"
    table = pd.read_csv(folder / "capacity.csv", keep_default_na=False)
    assert set(CONTRACT) <= set(table)
    assert table["model.width"].tolist() == [2, 4, 8]
    assert (table["ci_low"] < table["capacity_bits"]).all()
    assert table["capacity_bits"].is_monotonic_increasing
    for _, row in table.iterrows():
        assert f"{row['capacity_bits']:.1f}" in text
    runs = pd.read_csv(folder / "runs.csv")
    assert len(runs) == 72
    best = runs[(runs["model.width"] == 8) & (runs["data.num_samples"] == table["best_num_samples"].iloc[2])]
    assert table["capacity_in_sample_bits"].iloc[2] == pytest.approx(
        best.groupby("optimizer.learning_rate")["memory/bits"].mean().max()
    )
    ledger = pd.read_csv(folder / "ledger.csv").set_index(["model.width", "convention"])
    assert ledger.loc[(8, "unclamped"), "bits"] == pytest.approx(table["capacity_bits"].iloc[2])
    assert ledger.loc[(8, "clamped"), "bits"] >= ledger.loc[(8, "unclamped"), "bits"]
    assert ledger.loc[(8, "rounded to int4"), "bits"] < ledger.loc[(8, "rounded to int8"), "bits"]
    assert ledger.loc[(8, "unclamped"), "bits_per_num_parameters"] == pytest.approx(
        table["capacity_bits"].iloc[2] / table["num_parameters"].iloc[2]
    )
    fits = json.loads((folder / "fits.json").read_text())
    assert {fit["law"] for fit in fits["fits"]} == {"proportional", "linear", "power_law"}
    assert json.loads((folder / "alarms.json").read_text()) == {"unusable": [], "alarms": []}
    assert len(pd.read_csv(folder / "curves.csv")) == 12
    for name in ("capacity_curves", "capacity_against_parameters", "training", "sharpness", "gradients"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"</svg>" in (folder / f"{name}.svg").read_bytes()
    (named,) = re.findall(r"^files: .*\((.*)\)$", text, re.MULTILINE)
    tables = {path.name for path in folder.iterdir()} - {"report.html"}
    assert set(named.split(", ")) == {name for name in tables if not name.endswith((".png", ".svg"))}
    assert {"jamming.csv", "capacity.csv"} < set(named.split(", "))
    for word in (
        "figures:  capacity_curves, capacity_against_parameters, training, sharpness, gradients",
        "axes:     compared model.width; chosen data.num_samples, optimizer.learning_rate",
        "fit:",
        "files:",
    ):
        assert word in text
    assert "next:     python -m memcap.show" in text


def test_samples_a_folder_and_other_axes(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"folder={outputs}", "y=samples", "nuisance=", "selection_seeds=0", "figures=0"]) == 0
    text = capsys.readouterr().out
    assert "compared model.width, optimizer.learning_rate" in text
    assert "chosen on selection_seeds" in text
    table = pd.read_csv(outputs / "compare" / "all" / "capacity.csv")
    assert len(table) == 6
    assert (table["num_seeds"] == 2).all()
    assert "capacity_samples" in table
    assert "figures:" not in text
    assert list((outputs / "compare" / "all").glob("*.png")) == []


@pytest.mark.parametrize(
    "words",
    [[], ["study=nothing"], ["study=small", "folder=x"], ["stduy=small"], ["study=small", "y=bist"], ["small"],
     ["study=small", "study=small"], ["study=small", "verify=maybe"], ["study=small", "figures=no"],
     ["study=small", "x=model.widht"],
     ["study=small", "selection_seeds=a"], ["study=small", "selection_seeds=0,1,2"], ["study=../small"],
     ["folder=/nowhere"]],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(
    words: list[str], outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outputs.parent)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("memcap: ")
    assert printed.err.count("\n") == 1


def test_the_command_itself(outputs: Path) -> None:
    command = [sys.executable, "-m", "memcap.compare", "study=small", f"paths.outputs={outputs}"]
    where = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=where)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("configuration")
    asked = subprocess.run([*command[:3], "--help"], capture_output=True, text=True, check=True)
    assert "selection_seeds" in asked.stdout
