"""What a search cannot do is one line, and nothing is written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capacity_searches import SEARCH, WIDTHS, command
from hydra.errors import HydraException
from train_command import train_in
from wandb_cases import clean

from memcap.errors import BadInput
from memcap.explanations import explain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.num_samples=10,20",), "data.num_samples=10: data.num_samples is what is searched"),
        (("data.num_samples=10",), "data.num_samples is what is searched"),
        (
            ("zip='model.width,data.num_samples'", "model.width=3,4", "data.num_samples=5,6"),
            "is what is searched",
        ),
        (("experiment=bits_vs_samples",), "data.num_samples is what is searched"),
        (("seed=0,1",), "search.seeds and search.fresh_seeds"),
        (("model.width=8,0",), r'got 0 \(cell 2: "model.width=0"\)'),
        (("search.tolerence=0.1",), r"did you mean search.tolerance\?"),
        (("search.seeds=2,3",), "search.seeds cannot be swept"),
        (
            ("search.learning_rates=[0]",),
            r"search.learning_rates must be a list of numbers above 0 or null, got \[0\]",
        ),
        (("search.learning_rates=[0.1]", "optimizer.learning_rate=0.1,0.2"), "give one of them"),
        (
            (
                "zip='model.width,optimizer.learning_rate'",
                "model.width=3,4",
                "optimizer.learning_rate=0.1,0.2",
            ),
            "optimizer.learning_rate cannot go in step with model.width",
        ),
        (("data.batch_size=64", "search.largest=50"), "search.largest must be above 64"),
        (
            ("data=sparse_features", "model=autoencoder", "objective=squared_error"),
            "a search needs labels and a finite N, got data=sparse_features",
        ),
        (
            ("hydra/launcher=local", "launcher.wait=false"),
            "launcher.wait=false gives hydra/sweeper=capacity no values",
        ),
        (("search.goal=memorize_all", "search.axis=model.widht"), r"did you mean model.width\?"),
        (("search.goal=memorize_all", "search.axis=model.bias"), "whole number of the model"),
        (
            ("search.goal=memorize_all", "search.axis=model.width", "model.width=3"),
            "model.width is what is searched",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    application: Callable[..., Any], arguments: tuple[str, ...], message: str
) -> None:
    app = application()
    with pytest.raises((BadInput, HydraException)) as caught:
        app.multirun("hydra/sweeper=capacity", *arguments)
    explained = str(explain(caught.value))
    assert re.search(message, explained)
    assert len(explained.splitlines()) == 1
    assert app.task.batches == []
    assert list(Path.cwd().iterdir()) == []


def test_a_search_without_m_is_refused(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "memcap.train", "hydra/sweeper=capacity"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "memcap: hydra/sweeper=capacity makes several runs; add -m\n",
    )
    assert list(tmp_path.iterdir()) == []


OTHERS = ["outputs", "outputs/studies", "outputs/studies/s", "outputs/studies/s/notes"]


@pytest.mark.parametrize(
    ("words", "before", "message"),
    [
        ("launcher.workers=2", ["outputs"], "launcher.workers=2 is read by hydra/launcher=local"),
        ("hydra/launcher=slurm", OTHERS, "needs sbatch and srun"),
    ],
)
def test_a_search_that_is_refused_leaves_what_was_there(
    words: str, before: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by what is checked last, when ``search.json`` has been begun."""
    monkeypatch.setenv("PATH", "/nowhere")
    for name in before:
        (tmp_path / name).mkdir()
    done = train_in(tmp_path, "-m", *SEARCH, WIDTHS, words)
    assert done.returncode == 2, done.printed
    assert message in done.printed
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == before


def test_the_command_itself_leaves_nothing_where_it_is_refused(tmp_path: Path) -> None:
    line = command(*SEARCH, WIDTHS, "tracking=wandb", "tracking.mode=online")
    home = tmp_path / "home"
    done = subprocess.run(line, cwd=tmp_path, env=clean(home), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "tracking.mode=online needs W&B credentials" in done.stderr
    assert list(tmp_path.iterdir()) == [home]
