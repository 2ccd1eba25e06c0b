"""From the arguments of -m to cells: order, lists in step, tables, presets, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given, settings
from hypothesis import strategies as st

from memcap.command_line import quote_arguments
from memcap.errors import BadInput

PRESET = """# @package _global_
defaults: [override /model: linear]
hydra: {sweeper: {params: {seed: '1,2', data.input_dim: [5, 6]}}}
"""


@pytest.fixture
def app(application: Callable[..., Any]) -> Any:
    return application()


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


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("seed,data.num_samples", "equal lengths, but seed has 2 values, data.num_samples has 3 values"),
        ("seed,model.width", "model.width is not swept; swept: seed, data.num_samples"),
        ("sed,data.num_samples", r"sed is not swept \(did you mean seed\?\)"),
        ("seed,seed", "seed stands there twice"),
    ],
)
def test_lists_that_cannot_go_in_step(spec: str, message: str, app: Any) -> None:
    with pytest.raises(BadInput, match=message):
        app.multirun("seed=0,1", "data.num_samples=10,20,30", f"zip='{spec}'")
    assert app.task.batches == []


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


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (
            "model.widht,seed\n8,1\n",
            (),
            r"model.widht is not a key of model=mlp \(did you mean model.width\?\)",
        ),
        (
            "model.widht,seed\n,1\n",
            (),
            r"model.widht, a column of the table, is not a key \(did you mean model",
        ),
        ("seed\n", (), "expected a line of keys and a line per cell, got 1 lines"),
        ("seed,model.width\n1\n", (), "line 2: expected 2 fields, got 1"),
        ("seed,seed\n1,2\n", (), "every column needs a key of its own"),
        ("seed\n1\n", ("seed=0,1",), "seed is set on the command line and is a column"),
        ("study,seed\na,1\n", (), "study cannot be swept"),
        ('seed\n"1,2"\n', (), "line 2: seed=1,2 is several values"),
        ('seed\n"1(2"\n3\n', (), r"line 2: seed=1\(2 cannot be read"),
        (None, (), "cells=table.csv: cannot be read as csv: No such file or directory"),
    ],
)
def test_tables_that_cannot_be_used(
    text: str | None, arguments: tuple[str, ...], message: str, app: Any
) -> None:
    if text is not None:
        Path("table.csv").write_text(text)
    with pytest.raises(BadInput, match=message):
        app.multirun("cells=table.csv", *arguments)
    assert app.task.batches == []


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


def test_a_preset_can_choose_the_launcher(app: Any, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [override /hydra/launcher: basic]\n"
    )
    master = app.master(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert master.hydra.runtime.choices["hydra/launcher"] == "basic"


def test_presets_with_sweeps_cannot_be_swept_silently(app: Any) -> None:
    with pytest.raises(
        BadInput, match=r"experiment=linear brings a sweep of its own \(hydra.sweeper.params\)"
    ):
        app.multirun("experiment=linear,sparse_autoencoder")


def test_one_bad_cell_is_named_and_nothing_starts(app: Any) -> None:
    with pytest.raises(
        BadInput, match=r'learning_rate must be .*, got -1 \(cell 2: "optimizer.learning_rate=-1"\)'
    ):
        app.multirun("optimizer.learning_rate=0.1,-1,0.2")
    with pytest.raises(BadInput, match=r'model has no option foo; .* \(cell 2: "model=foo seed=1"\)'):
        app.multirun("model=mlp,foo", "seed=0,1", "zip='model,seed'")
    assert app.task.batches == []
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    "sweep",
    [
        *("study=a,b", "force=true,false", "fail_fast=true,false", "tracking=wandb,disabled"),
        *("tracking.mode=a,b", "paths.outputs=a,b", "records.weights=none,final", "+hydra.x=1,2"),
    ],
)
def test_what_a_sweep_has_only_once_cannot_be_swept(sweep: str, app: Any) -> None:
    with pytest.raises((BadInput, HydraException), match=r"cannot be swept|Sweeping over Hydra's config"):
        app.multirun(sweep, "seed=0,1")
    assert app.task.batches == []


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("seed=interval(0,1)", "an interval is for sweepers that search"),
        ("seed=range(5,1)", "is a sweep over no values"),
        ("model=glob(x*)", "is a sweep over no values"),
        ("seed=range(1,5,0)", "arg 3 must not be zero"),
    ],
)
def test_sweeps_without_values_are_refused(sweep: str, message: str, app: Any) -> None:
    with pytest.raises(BadInput, match=message):
        app.multirun(sweep)


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
