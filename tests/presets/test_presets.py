"""The presets of Memory 1 and 2 at their smallest size, from the command line to the comparison, and their sizes."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from compositions import CONF, composed_values
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from memcap import train
from memcap.compare.__main__ import main as compare
from memcap.compare.axes import SIZE
from memcap.config.cell import Cell
from memcap.hydra_session import HydraSession, SweepTask

PRESETS = sorted(
    str(path.relative_to(CONF / "experiment").with_suffix(""))
    for pattern in ("memory1/*.yaml", "memory2/*.yaml", "optimizers.yaml")
    for path in (CONF / "experiment").glob(pattern)
)
# What a capacity is counted in, along which key, and how many configurations there are.
DRAWN = {
    "memory1/capacity": ("samples", "data.input_dim", 4),
    "memory1/jamming": ("samples", "data.input_dim", 1),
    "memory1/samples": ("samples", "data.input_dim", 4),
    "memory2/activations": ("bits", "activation.kind", 5),
    "memory2/depth3": ("bits", "model.width", 4),
    "memory2/depth3_joint": ("bits", "model.width", 4),
    "memory2/linear": ("bits", "data.input_dim", 5),
    "optimizers": ("bits", "optimizer.kind", 2),
    "memory2/sine": ("bits", "activation.frequency", 7),
    "memory2/width": ("bits", "model.width", 4),
}
# The published grids, and how many runs they make.
PAPER = {
    "memory1/capacity": 4 * 80,
    "memory1/jamming": 80,
    "memory1/samples": 4 * 4,
    "memory2/activations": 5,
    "memory2/depth3": 4 * 20,
    "memory2/depth3_joint": 4 * 20,
    "memory2/linear": 5 * 10,
    "optimizers": 2 * 4,
    "memory2/sine": 7,
    "memory2/width": 4 * 20,
}
# Two optimizers at one budget: no search would choose for both.
WITHOUT_FULL = {"optimizers"}


def memcap_train(*arguments: str) -> tuple[int, str]:
    """Exit status and output of ``python -m memcap.train`` with these arguments, in this process."""
    before, out = sys.argv, io.StringIO()
    sys.argv = ["memcap.train", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = train.main()
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
    return status, out.getvalue()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All presets with size=smoke, one after the other."""
    outputs = tmp_path_factory.mktemp("presets") / "outputs"
    for preset in PRESETS:
        study = preset.replace("/", ".")
        words = ("-m", f"experiment={preset}", "size=smoke", f"study={study}", f"paths.outputs={outputs}")
        status, text = memcap_train(*words)
        assert status == 0, text
        assert " failed" not in text, text
    return outputs


def cells_of(*overrides: str) -> list[Cell]:
    """The cells that a sweep would train."""
    asked: list[Cell] = []

    def train_none(cells: Sequence[Cell], axes: Sequence[str]) -> list[Any]:
        asked.extend(cells)
        return [SimpleNamespace(status="planned", value=None, error=None) for _ in cells]

    HydraSession().sweep(overrides, SweepTask(train_none))
    return asked


def test_all_presets_are_looked_at() -> None:
    assert set(PRESETS) == set(DRAWN) == set(PAPER)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_smoke_is_trained_and_compared_without_more_words(preset: str, outputs: Path) -> None:
    name = preset.replace("/", ".")
    assert compare([f"study={name}", f"paths.outputs={outputs}"]) == 0
    unit, x, configurations = DRAWN[preset]
    folder = outputs / "studies" / name / "compare"
    table = pd.read_csv(folder / "capacity.csv", keep_default_na=False)
    assert f"capacity_{unit}" in table
    assert table[x].nunique() == len(table) == configurations
    assert json.loads((folder / "fits.json").read_text())["axes"]["x"] == x
    runs = pd.read_csv(folder / "runs.csv")
    assert set(runs[SIZE]) == {20, 40, 60}
    assert set(runs["budget.steps"]) == {40}
    assert "sharpness/top_eigenvalue" in runs


def test_presets_of_one_figure_share_their_runs(outputs: Path) -> None:
    def run_ids(name: str) -> set[str]:
        study = json.loads((outputs / "studies" / name / "study.json").read_text())
        return {cell["run_id"] for cell in study["cells"]}

    assert run_ids("memory1.jamming") < run_ids("memory1.capacity")
    assert run_ids("memory1.samples") <= run_ids("memory1.capacity")


@pytest.mark.parametrize("preset", PRESETS)
def test_paper_is_the_published_grid(preset: str) -> None:
    cells = cells_of(f"experiment={preset}", "size=paper")
    assert len({cell.run_id for cell in cells}) == len(cells) == PAPER[preset]
    configs = [cell.config for cell in cells]
    assert {(c.budget.steps, c.seed, c.data.batch_size) for c in configs} == {(10_000, 0, None)}
    kinds = {"adam", "lbfgs"} if preset == "optimizers" else {"adam"}
    assert {(c.optimizer.kind, c.optimizer.learning_rate) for c in configs} == {(k, 0.01) for k in kinds}


def test_a_preset_as_it_stands_has_the_size_of_the_paper() -> None:
    assert cells_of("experiment=memory2/linear") == cells_of("experiment=memory2/linear", "size=paper")


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - WITHOUT_FULL))
def test_full_searches_in_place_of_the_published_grid(preset: str) -> None:
    status, text = memcap_train(f"experiment={preset}", "size=full", "--cfg", "all")
    assert status == 0, text
    config = OmegaConf.create(text)
    assert config.hydra.sweeper._target_.endswith(".SearchSweeper")
    assert config.hydra.sweeper.params[SIZE] is None
    assert (config.search.goal, config.search.axis, config.compare.y) == ("capacity", SIZE, "bits")
    assert config.search.seeds >= 5
    assert config.search.fresh_seeds >= 5
    assert config.search.learning_rates is None, "three rates around the published one, and on beyond an edge"
    assert config.search.budget_doublings > 0


def test_full_is_a_capacity_on_fresh_seeds(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    small = (
        "data.input_dim=2",
        "budget.steps=20",
        "search.largest=24",
        "search.tolerance=0.5",
        "measure=light",
    )
    seeds = ("search.seeds=2", "search.fresh_seeds=2", "search.budget_doublings=1", "tracking=disabled")
    words = (
        "experiment=memory2/linear",
        "size=full",
        *small,
        *seeds,
        "study=full",
        f"paths.outputs={outputs}",
    )
    status, text = memcap_train("-m", *words)
    assert status == 0, text
    (found,) = json.loads((outputs / "studies" / "full" / "search.json").read_text())["configurations"]
    assert compare(["study=full", f"paths.outputs={outputs}"]) == 0
    table = pd.read_csv(outputs / "studies" / "full" / "compare" / "capacity.csv", keep_default_na=False)
    at_budget = table[table["budget.steps"] == 20]  # the others are longer budgets at the same N
    assert (at_budget["split"].item(), at_budget["num_seeds"].item()) == ("confirmed", 2)
    assert at_budget["capacity_bits"].item() == pytest.approx(found["capacity_bits"])


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_drawn_is_no_axis_that_has_its_part_already(preset: str) -> None:
    drawn = composed_values(f"experiment={preset}")["compare"]
    assert (drawn["y"], drawn["x"]) == DRAWN[preset][:2]
    assert drawn["hue"] is drawn["facet"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("experiment=linear", "size=smoke"),
            "size=smoke needs a preset that has it, got one without (it has no sizes); use another, or no size",
        ),
        (("size=paper",), "size=paper needs a preset that has it"),
        (("experiment=memory2/width", "sizes=[smoke]", "size=paper"), "got one without (it has smoke)"),
        (
            ("experiment=memory2/width", "size=huge"),
            "size=huge: size has no option huge; options: full, paper, smoke",
        ),
        (("-m", "experiment=memory2/width", "size=smoke,paper"), "size cannot be swept"),
        (("-m", "experiment=memory2/width", "compare.y=bits,samples"), "compare.y cannot be swept"),
    ],
)
def test_a_size_that_is_not_there_is_one_line(
    words: Sequence[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, text = memcap_train(*words)
    assert status == 2
    assert len(text.splitlines()) == 1
    assert said in text
    assert list(tmp_path.iterdir()) == []


def test_help_lists_presets_and_sizes() -> None:
    status, text = memcap_train("--help")
    assert status == 0
    for line in ("experiment/memory1: capacity, jamming, samples", "size: full, paper, smoke"):
        assert line in text


def test_comments_of_presets_say_what_is_published_and_what_is_chosen() -> None:
    for preset in PRESETS:
        path = CONF / "experiment" / f"{preset}.yaml"
        text = path.read_text(encoding="utf-8")
        assert "# Published: " in text, path
        assert "Chosen here: " in text, path
        assert OmegaConf.load(path)["defaults"], path
