"""From the arguments of -m to cells: order, lists in step, tables, presets, and the study's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from memcap.command_line import quote_arguments

PRESET = """# @package _global_
defaults: [override /model: linear]
hydra: {sweeper: {params: {seed: '1,2', data.input_dim: [5, 6]}}}
"""


def batch_of(app: Any, *arguments: str) -> list[tuple[str, ...]]:
    app.multirun(*arguments)
    overrides: list[tuple[str, ...]] = app.task.overrides
    return overrides


sweeps = st.sampled_from(
    [
        "1,2,3",
        "range(4)",
        "range(0,1,0.25)",
        "choice(a,'b c',[1,2])",
        "5",
        "null,true",
        "sort(3,1,2)",
        "'x,y',z",
    ]
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(values=st.lists(sweeps, max_size=4))
def test_products_are_those_of_hydras_basic_sweeper(values: list[str]) -> None:
    from itertools import product

    from hydra_plugins.memcap.axes import read_axes

    arguments = [f"key{i}={value}" for i, value in enumerate(values)]
    (expected,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(arguments), None)
    axes = read_axes(arguments, {}, None, zip_keys="", table="")  # type: ignore[arg-type]
    cells = [[text for step in cell for text in step] for cell in product(*(axis.steps for axis in axes))]
    assert cells == expected


def test_the_last_axis_is_fastest_and_only_swept_keys_are_shown(app: Any) -> None:
    (returns,) = app.multirun("model.width=8,16", "budget.steps=10", "seed=range(1,3)")
    assert app.task.overrides == [
        ("model.width=8", "seed=1"),
        ("model.width=8", "seed=2"),
        ("model.width=16", "seed=1"),
        ("model.width=16", "seed=2"),
    ]
    assert app.task.axes == ["model.width", "seed"]
    assert {cell.config.budget.steps for cell in app.task.cells} == {10}
    assert [job.return_value for job in returns] == [1.0, 2.0, 1.0, 2.0]


def test_glob_sweeps_over_the_options_of_a_group(app: Any) -> None:
    assert batch_of(app, "activation=glob(relu*)") == [(f"activation=relu{p}",) for p in ("", "2", "3", "4")]


def test_formulas_are_swept_unquoted(app: Any) -> None:
    batch_of(app, *quote_arguments(["activation=formula", "activation.formula=x*sin(3*x),max(x,0.1*x)"]))
    assert [cell.config.activation.formula for cell in app.task.cells] == ["x*sin(3*x)", "max(x,0.1*x)"]


def test_lists_in_step_advance_together(app: Any) -> None:
    arguments = (
        "model.width=8,16",
        "seed=0,1",
        "data.num_samples=10,20",
        "zip='model.width,data.num_samples'",
    )
    assert batch_of(app, *arguments) == [
        ("model.width=8", "data.num_samples=10", "seed=0"),
        ("model.width=8", "data.num_samples=10", "seed=1"),
        ("model.width=16", "data.num_samples=20", "seed=0"),
        ("model.width=16", "data.num_samples=20", "seed=1"),
    ]


def test_two_groups_in_step_are_two_axes(app: Any) -> None:
    keys = ("model.width", "seed", "data.num_samples", "data.num_classes")
    sweep = [f"{key}=3,4" for key in keys]
    assert len(batch_of(app, *sweep, "zip='model.width, seed; data.num_samples, data.num_classes'")) == 4


def test_a_table_is_an_axis_whose_steps_are_rows(app: Any) -> None:
    Path("table.csv").write_text(
        'activation,activation.formula,model.width\nformula,"max(x, 0.1*x)", 8\n\nrelu,,16\n',
        encoding="utf-8-sig",
    )
    overrides = batch_of(app, "seed=0,1", "cells=table.csv")
    rows = [
        ("activation=formula", "activation.formula='max(x, 0.1*x)'", "model.width=8"),
        ("activation=relu", "model.width=16"),
    ]
    assert overrides == [(f"seed={seed}", *row) for seed in (0, 1) for row in rows]
    assert [cell.config.model.width for cell in app.task.cells] == [8, 16, 8, 16]  # typed by Hydra's grammar
    assert app.task.axes == ["seed", "activation", "activation.formula", "model.width"]


def test_a_preset_brings_its_sweep_and_the_command_line_wins(app: Any, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(PRESET)
    preset = (f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert batch_of(app, *preset) == [
        (f"seed={seed}", f"data.input_dim={dim}") for seed in (1, 2) for dim in (5, 6)
    ]
    assert app.task.cells[0].config.study.startswith("mine-seed-input_dim-")
    app.task.batches.clear()
    assert batch_of(app, *preset, "seed=9", "data.input_dim=7,8") == [
        ("data.input_dim=7",),
        ("data.input_dim=8",),
    ]
    assert {cell.config.seed for cell in app.task.cells} == {9}
    app.task.batches.clear()
    Path("table.csv").write_text("data.input_dim\n3\n")
    # The preset's own words once more are no second sweep.
    assert set(batch_of(app, *preset, "data.input_dim=5,6")) == {
        (f"seed={seed}", f"data.input_dim={dim}") for seed in (1, 2) for dim in (5, 6)
    }
    app.task.batches.clear()
    assert batch_of(app, *preset, "cells=table.csv") == [
        (f"seed={seed}", "data.input_dim=3") for seed in (1, 2)
    ]


def test_a_preset_takes_away_an_axis_that_another_brought(app: Any, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 1,2\n      model.width: null\n"
    )
    app.multirun(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert app.task.axes == ["seed"]


def test_the_study_is_named_after_axes_and_what_is_fixed(app: Any) -> None:
    def name(*arguments: str) -> str:
        app.task.batches.clear()
        app.multirun(*arguments)
        (study,) = {cell.config.study for cell in app.task.cells}
        return str(study)

    first = name("seed=0,1", "model.width=8")
    assert first.startswith("mlp-seed-")
    assert name("seed=range(5)", "model.width=8") == first  # a wider sweep joins it
    assert name("seed=0,1", "model.width=9") != first
    assert name("seed=0,1", "model.width=8", "study=mine") == "mine"
