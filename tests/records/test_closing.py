"""What a person reads at the end: the table, errors, where things are, what to type next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from compositions import composed_config

from memcap.config.cell import Cell
from memcap.config.identity import run_id
from memcap.outcome import CellOutcome
from memcap.records.closing import print_closing, suggestions
from memcap.records.means import mean_and_half_width
from memcap.records.progress import Progress
from memcap.records.study_folder import StudyFolder
from memcap.records.table import MOST_ROWS, Column, fit, number

SUMMARY = {
    "train/loss_nats": 0.5,
    "memory/bits": 123.45,
    "memory/bits_per_parameter": 0.9876,
    "memory/memorized_samples": 17,
    "sharpness/top_eigenvalue": 3.25,
}
Result = tuple[Any, ...]  # the fields of a CellOutcome


def cell(*overrides: str) -> Cell:
    config = composed_config(*overrides)
    return Cell(config, run_id(config), overrides)


def closing(results: list[Result], folder: Path, command: str = "python -m memcap.train -m seed=0") -> None:
    progress = Progress(100, len(results), quiet=True)
    for result in results:
        progress.count(result[1])
    print_closing(
        [CellOutcome(*result) for result in results],
        study=StudyFolder(folder, "s"),
        progress=progress,
        wall_time_s=1.5,
        command=command,
        axes=["seed"],
    )


def test_the_table_has_a_row_for_each_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results: list[Result] = [
        (cell("seed=1"), "finished", SUMMARY, None),
        (cell("seed=2"), "diverged", {"train/loss_nats": None, "memory/bits": None}, None),
        (cell("seed=3"), "failed", {}, "ValueError: no"),
    ]
    closing(results, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("cell", "N", "parameters", "loss", "bits", "bits/param", "memorized", "sharpness", "status")
    ]
    assert lines[1].split() == ["seed=1", "300", "420", "0.5", "123.5", "0.988", "17", "3.25", "finished"]
    assert lines[2].split() == ["seed=2", "300", "420", "-", "-", "-", "-", "-", "diverged"]
    assert "1 finished, 1 diverged, 1 failed in 1.5 s" in lines
    assert "failed: seed=3: ValueError: no" in lines
    assert any(line.startswith("study:") and str(tmp_path / "studies" / "s") in line for line in lines)
    assert (
        lines[-1]
        == "next:   python -m memcap.train -m seed=0   # tries the failed runs again, up to max_attempts"
    )


def test_a_measure_that_no_run_has_is_no_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closing([(cell(), "finished", {"train/loss_mse": 0.25}, None)], tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["cell", "N", "parameters", "loss", "status"]
    assert lines[1].split()[-2:] == ["0.25", "finished"]


def test_long_sweeps_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = cell()
    closing([(one, "finished", SUMMARY, None)] * (MOST_ROWS + 7), tmp_path)
    printed = capsys.readouterr().out
    assert printed.count(one.run_id) == MOST_ROWS + 1  # and once as a path
    assert "... and 7 more runs" in printed


@pytest.mark.parametrize(
    ("command", "axes", "status", "expected"),
    [
        ("python -m memcap.train", [], "finished", "python -m memcap.train -m seed=0,1,2"),
        ("python -m memcap.train a=1", [], "finished", "python -m memcap.train -m a=1 seed=0,1,2"),
        ("python -m memcap.train -m a=1,2", ["a"], "finished", "python -m memcap.train -m a=1,2 seed=0,1,2"),
        ("python -m memcap.train a=1", [], "interrupted", "python -m memcap.train a=1   # goes on"),
        ("python -m memcap.train a=1", [], "failed", "python -m memcap.train a=1   # tries"),
    ],
)
def test_what_to_type_next(command: str, axes: list[str], status: str, expected: str) -> None:
    progress = Progress(1, 1, quiet=True)
    progress.count(status)
    (line,) = suggestions(command, axes, progress)
    assert line.startswith(expected)


@pytest.mark.parametrize("command", ["python notebook.py", "python -m memcap.train -m seed=0,1"])
def test_nothing_is_suggested_where_nothing_fits(command: str) -> None:
    assert suggestions(command, ["seed"], Progress(1, 1, quiet=True)) == []


def test_a_narrow_terminal_keeps_every_number_whole() -> None:
    names = ["model.width=10 data.num_samples=150 seed=0", "model.width=40 data.num_samples=564 seed=5"]
    columns = [
        Column("parameters", ["300", "900"], 1),
        Column("bits", ["459.8", "1826.7"]),
        Column("N", ["1", "2"], 2),
    ]
    assert fit("cell", names, columns, 120) == (names, columns)
    shortened, kept = fit("cell", names, columns, 60)
    assert shortened == ["width=10 num_samples=150 seed=0", "width=40 num_samples=564 seed=5"]
    assert kept == columns
    _, kept = fit("cell", names, columns, 30)
    assert [column.title for column in kept] == ["bits", "N"]
    _, kept = fit("cell", names, columns, 5)
    assert [column.title for column in kept] == ["bits"]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (-0.01, "0.0"), (0.0, "0.0"), (-0.06, "-0.1"), (12.34, "12.3")]
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value, "{:.1f}") == text


def test_in_long_sweeps_failures_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results: list[Result] = [(cell(), "skipped", SUMMARY, None)] * MOST_ROWS
    results += [(cell("seed=1"), "finished", SUMMARY, None), (cell("seed=2"), "failed", {}, "no")]
    closing(results, tmp_path)
    statuses = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1 : MOST_ROWS + 1]]
    assert statuses == ["failed", "finished", *["skipped"] * (MOST_ROWS - 2)]


def test_the_mean_has_its_error() -> None:
    """Student's t of two values: half a difference times 12.706, divided by nothing else."""
    mean, half_width = mean_and_half_width([1.0, 3.0])
    assert mean == 2.0
    assert half_width == pytest.approx(12.7062, rel=1e-5)
    values = [3.1, 4.7, 2.2, 5.9, 4.0]
    interval = scipy.stats.t.interval(0.95, 4, np.mean(values), scipy.stats.sem(values))
    mean, half_width = mean_and_half_width(values)
    assert half_width is not None
    assert (mean - half_width, mean + half_width) == pytest.approx(interval)
    assert mean_and_half_width([1.0]) == (1.0, None)


def test_means_over_seeds_count_diverged_runs_as_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results: list[Result] = [
        (cell("model.width=8", "seed=0"), "finished", {"memory/bits": 100.0}, None),
        (cell("model.width=8", "seed=1"), "diverged", {"memory/bits": float("nan")}, None, True),
        (cell("model.width=9", "++seed=0"), "skipped", {"memory/bits": 50.0}, None),
        (
            cell("model.width=10", "++seed=0"),
            "diverged",
            {"memory/bits": -6355.9},
            None,
            True,
        ),  # with a finite loss
        (cell("model.width=10", "++seed=1"), "skipped", {"memory/bits": -6355.9}, None, True),
    ]
    closing(results, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("mean over seeds"))
    assert lines[start + 1].split() == ["model.width=8", "2", "50.0", "±", "635.3", "0.192", "50%"]
    assert lines[start + 2].split() == ["model.width=9", "1", "50.0", "-", "0.179", "0%"]
    assert lines[start + 3].split() == ["model.width=10", "2", "0.0", "±", "0.0", "0.000", "100%"]


def test_of_restarts_the_one_with_the_smallest_loss_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the one with most bits, nor one that diverged; the interval is over seeds."""
    nan = float("nan")
    found = [(0, 0, 2.0, 90.0), (0, 1, 1.0, 60.0), (0, 2, nan, nan), (1, 0, 0.5, -999.0), (1, 1, 3.0, 40.0)]
    results: list[Result] = []
    for seed, restart, loss, bits in found:
        one = cell(f"seed={seed}", f"restart={restart}")
        summary, diverged = {"train/loss_nats": loss, "memory/bits": bits}, not bits > 0
        results.append((one, "skipped", summary, None, diverged))
    closing(results, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("mean over seeds"))
    assert "best of" in lines[start]
    assert lines[start + 1].split()[:7] == ["2", "2", "to", "3", "50.0", "±", "127.1"]
