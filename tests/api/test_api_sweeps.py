"""From what Python is given to the command line's runs and studies, as tables; bad input and failures."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from api_cases import SMALL
from compositions import composed_config, leaves

import memcap
from memcap.api import LISTS, as_overrides

RUNS = [
    "",
    "model.width=4 seed=3",
    "activation=formula 'activation.formula=x * max(x, 0)'",
    "model=linear optimizer=sgd optimizer.clip_norm=1",
    "experiment=linear",
    "study=mine model.depth=2 +hydra.job.env_set.A=b",
]
SWEEPS = [
    "model.width=4,5 seed=0,1",
    "zip='model.width,data.input_dim' model.width=4,5 data.input_dim=3,4",
    "experiment=linear data.input_dim=3,4 data.num_classes=5",
    "cells=cells.csv model.depth=2",
    "activation=formula activation.formula='x*sin(x),max(x, 0)'",
    "optimizer=adam,sgd optimizer.learning_rate=0.02",
    "seed=range(2) schedule=choice(cosine)",
    "model.width=4",
]
EVERYTHING = """
import shlex, sys
from memcap.train import main
for line in sys.stdin.read().splitlines():
    sys.argv[1:] = shlex.split(line)
    assert main() == 0, line
"""


def recorded(outputs: Path) -> set[str]:
    """All that identifies what was trained: run ids, and each study with its runs."""
    runs = {path.name for path in outputs.glob("runs/*/*")}
    studies = {path.parent.name for path in outputs.glob("studies/*/study.json")}
    return runs | studies


def test_ids_and_studies_are_those_of_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{text} {SMALL}" for text in RUNS] + [f"-m {text} {SMALL}" for text in SWEEPS]
    subprocess.run(
        [sys.executable, "-c", EVERYTHING], input="\n".join(lines), text=True, check=True, cwd=here
    )
    by_command_line = recorded(here / "outputs")
    for text in RUNS:
        run = memcap.run(f"{text} {SMALL}")
        assert run.status == "finished"
        assert "1 skipped" in capsys.readouterr().out
    for text in SWEEPS:
        table = memcap.sweep(f"{text} {SMALL}")
        assert f"{len(table)} skipped" in capsys.readouterr().out
    assert recorded(here / "outputs") == by_command_line


def test_a_sweep_is_a_table_of_its_own_rows(here: Path) -> None:
    wide = memcap.sweep({"model.width": np.array([4, 5])}, seed=range(2), **as_keys(SMALL))
    assert list(zip(wide["model.width"], wide["seed"], strict=True)) == list(
        itertools.product([4, 5], [0, 1])
    )
    assert wide.attrs["axes"] == ["model.width", "seed"]
    assert wide.attrs["failed"] == {}
    narrow = memcap.sweep({"model.width": [5]}, seed=(1, 0), **as_keys(SMALL))
    assert list(narrow["run_id"]) == [wide["run_id"][3], wide["run_id"][2]]
    assert narrow.attrs["study"] == wide.attrs["study"]
    assert len(memcap.load_study(wide.attrs["study"])) == 4


def as_keys(line: str) -> dict[str, Any]:
    """Overrides as keywords; their values as YAML reads them."""
    import yaml

    pairs = [text.partition("=") for text in shlex.split(line)]
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def test_a_failed_run_is_raised_and_a_failed_cell_reported(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken_of_api.py").write_text(BROKEN)
    sys.path.insert(0, str(here))
    try:
        own = [
            "+activation._target_=broken_of_api.Broken",
            "+activation.at=3",
            "allow_targets=[broken_of_api]",
        ]
        fixed = [*SMALL.split(), *own]
        with pytest.raises(memcap.RunFailed, match=r"failed: ArithmeticError: at 3 .*load_run"):
            memcap.run([*fixed, "model.width=3"])
        table = memcap.sweep([*fixed, "model.width=3,4"])
        assert list(table["model.width"]) == [4]
        ((run_id, error),) = table.attrs["failed"].items()
        assert error.startswith("ArithmeticError: at 3")
        failed = memcap.load_run(run_id)
        assert (failed.status, failed.summary, failed.error) == ("failed", {}, "ArithmeticError: at 3")
        with pytest.raises(memcap.BadInput, match="has no arrays 'weights'; it has: none"):
            _ = failed.model
        failed.show()
        assert "ArithmeticError" in capsys.readouterr().out
        with pytest.raises(memcap.RunFailed, match=r"no run of study .* has a result"):
            memcap.sweep([*fixed, "model.width=3", "seed=5,6"])
    finally:
        sys.path.remove(str(here))


BROKEN = """
from dataclasses import dataclass
from memcap.config.fields import counts
from memcap.config.schema import ActivationConfig

class Broken:
    @dataclass(frozen=True, kw_only=True)
    class Config(ActivationConfig):
        kind = "broken"
        at: int = counts(at_least=1)

    def __init__(self, config, values):
        self.at = config.at

    def __call__(self, x):
        if x.shape[-1] == self.at:
            raise ArithmeticError(f"at {self.at}")
        return x
"""


@pytest.mark.parametrize(
    ("function", "overrides", "message"),
    [
        ("run", "model.widht=8", r"model.widht is not a key of model=mlp \(did you mean model.width\?\)"),
        ("run", "seed=0,1", "seed=0,1 gives several values to one run; memcap.sweep trains them all"),
        ("run", "cells=cells.csv", "cells=cells.csv makes several runs; memcap.sweep trains them all"),
        ("run", "-m seed=0,1", "-m is a flag of the command line"),
        ("run", ["seed=1", 3], "overrides must be text like model.width=8, got 3"),
        ("run", {"seed": -1}, "seed must be a whole number ≥ 0"),
        ("run", {"seed": [0, 1]}, "seed must be a whole number"),
        ("run", "seed", 'expected key=value, got "seed"'),
        ("sweep", {"seed": []}, "seed is a sweep over no values"),
        ("sweep", "seed=0,-1", r'seed must be a whole number ≥ 0 and .*, got -1 \(cell 2: "seed=-1"\)'),
        ("sweep", "zip=seed,model.width seed=0,1", "model.width is not swept"),
        ("sweep", "model=nothing", "model has no option nothing"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    function: str, overrides: Any, message: str, here: Path
) -> None:
    with pytest.raises(memcap.BadInput, match=message) as caught:
        getattr(memcap, function)(overrides)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert not (here / "outputs").exists()


@pytest.mark.parametrize(
    ("value", "one", "several"),
    [
        (8, ["k=8"], ["k=8"]),
        (None, ["k=null"], ["k=null"]),
        (True, ["k=true"], ["k=true"]),
        (1e-5, ["k=1e-05"], ["k=1e-05"]),
        (np.float64(0.5), ["k=0.5"], ["k=0.5"]),
        ("a b", ["k='a b'"], ["k='a b'"]),
        ([1, 2], ["k=[1,2]"], ["k=1,2"]),
        (("a,b", None), ["k=['a,b',null]"], ["k='a,b',null"]),
        ([np.int64(3)], ["k=[3]"], ["k=choice(3)"]),
        (torch.arange(2), ["k=[0,1]"], ["k=0,1"]),
        ({"a": 1, "b": {"c": [2, 3]}}, ["k.a=1", "k.b.c=[2,3]"], ["k.a=1", "k.b.c=2,3"]),
    ],
)
def test_values_become_overrides(value: Any, one: list[str], several: list[str]) -> None:
    assert as_overrides((), {"k": value}, several=False) == one
    assert as_overrides({"k": value}, {}, several=True) == several


def test_a_key_that_takes_a_list_is_not_swept_over_it(here: Path) -> None:
    given = {"allow_targets": ["my_parts"], "tracking": {"tags": ["a", "b"]}, "seed": [0, 1]}
    assert as_overrides(given, {}, several=True) == [
        "allow_targets=[my_parts]", "tracking.tags=[a,b]", "seed=0,1"
    ]  # fmt: skip
    config = composed_config()
    known = [leaf for identity in ("counts", "ignored") for leaf in leaves(config, identity)]
    assert {leaf.key for leaf in known if isinstance(leaf.value, tuple)} == set(LISTS)
