"""Sweeps that are refused, by the sweeper and before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException

from memcap.errors import BadInput


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
