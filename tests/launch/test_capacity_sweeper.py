"""hydra/sweeper=capacity and search, with real trainings: their answers, their records, going on after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra.errors import HydraException
from train_command import train_in
from wandb_cases import clean

import memcap
from memcap.compare.alarms import alarms
from memcap.compare.capacity import capacity
from memcap.compare.frame import load_frame
from memcap.errors import BadInput
from memcap.explanations import explain
from memcap.records.run_folder import RunFolder
from memcap.search.options import FRESH_OFFSET

# Networks that jam within a hundred samples, in 0.01 s each.
SMALL = (
    *("data.input_dim=4", "data.num_classes=4", "budget.steps=300", "schedule=cosine", "tracking=disabled"),
    *("measure=light", "measure.points=2", "records.weights=none", "hardware.threads=1", "study=s"),
)
SEARCH = (
    *("hydra/sweeper=capacity", "search.seeds=4", "search.fresh_seeds=4", "search.tolerance=0.1"),
    *("search.learning_rates=[0.02,0.06]", *SMALL),
)
WIDTHS = "model.width=3,6"


def found(folder: Path) -> list[dict[str, Any]]:
    record = json.loads((folder / "outputs/studies/s/search.json").read_text())
    rows = record["configurations"]
    assert isinstance(rows, list)
    return rows


def results(folder: Path) -> dict[str, dict[str, Any]]:
    runs = [RunFolder(folder / "outputs", path.name) for path in folder.glob("outputs/runs/*/*")]
    return {run.run_id: run.read_result() or {} for run in runs}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "memcap.train", "-m", *arguments]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a search over two widths."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(*SEARCH, WIDTHS), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a grid of the same resolution" in done.stdout
    assert "finished in" not in done.stdout, "tables of rounds are not shown"
    return folder


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


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (("tracking=wandb", "tracking.mode=online"), {}, "tracking.mode=online needs W&B credentials"),
        (("launcher.workers=2",), {}, "launcher.workers=2 is read by hydra/launcher=local"),
        (("hydra/launcher=slurm",), {"PATH": "/nowhere"}, "sbatch"),
    ],
)
def test_a_search_that_is_refused_leaves_nothing(
    words: tuple[str, ...],
    environment: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also by what is checked last, when ``search.json`` has been begun; what was there before stays."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in {"NETRC": str(tmp_path / "netrc"), **environment}.items():
        monkeypatch.setenv(name, value)
    for before in (
        [],
        ["outputs"],
        ["outputs", "outputs/studies", "outputs/studies/s", "outputs/studies/s/notes"],
    ):
        for name in before:
            (tmp_path / name).mkdir(exist_ok=True)
        done = train_in(tmp_path, "-m", *SEARCH, WIDTHS, *words)
        assert done.returncode == 2, done.printed
        assert message in done.printed
        assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == before


def test_the_command_itself_leaves_nothing_where_it_is_refused(tmp_path: Path) -> None:
    line = command(*SEARCH, WIDTHS, "tracking=wandb", "tracking.mode=online")
    done = subprocess.run(
        line, cwd=tmp_path, env=clean(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "tracking.mode=online needs W&B credentials" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_all_configurations_are_in_one_batch(
    application: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The recording task leaves no records, as if every run had failed: after one round nothing is left to ask."""
    app = application()
    app.multirun("hydra/sweeper=capacity", "optimizer=adam,sgd", "model.width=8,16", "study=s")
    assert app.task.axes == [
        "optimizer",
        "model.width",
        "data.num_samples",
        "optimizer.learning_rate",
        "seed",
    ]
    cells = app.task.cells
    assert len({(c.config.optimizer.kind, c.config.model.width) for c in cells}) == 4
    assert {c.config.seed for c in cells} == {0, 1}
    rates = {(c.config.optimizer.kind, c.config.optimizer.learning_rate) for c in cells}
    adam = {rate for kind, rate in rates if kind == "adam"}
    assert adam == {0.003, 0.01, 0.03}, "0.3, 1 and 3 times the optimizer's own"
    rows = found(Path.cwd())
    assert [row["status"] for row in rows] == ["failed"] * 4
    assert capsys.readouterr().out.count("no run of it has a value") == 4


def test_comparing_the_records_gives_the_same_capacity(undisturbed: Path) -> None:
    table = capacity(load_frame("s", undisturbed / "outputs")).set_index("model.width")
    rows = found(undisturbed)
    assert [row["overrides"] for row in rows] == [["model.width=3"], ["model.width=6"]]
    for width, row in zip((3, 6), rows, strict=True):
        same = table.loc[width]
        assert same["split"] == "confirmed"
        for name, value in (
            ("capacity_bits", row["capacity_bits"]),
            ("ci_low", row["ci_low"]),
            ("ci_high", row["ci_high"]),
            ("best_num_samples", row["best"]),
            ("best.optimizer.learning_rate", row["learning_rate"]),
            ("num_seeds", 4),
        ):
            assert same[name] == pytest.approx(value, rel=1e-12), name


def test_the_report_counts_what_the_records_say(undisturbed: Path) -> None:
    by_id, rows = results(undisturbed), found(undisturbed)
    assert sum(row["runs"] for row in rows) == len(by_id)
    assert sum(row["member_steps"] for row in rows) == sum(result["steps"] for result in by_id.values())
    assert {result["attempts"] for result in by_id.values()} == {1}
    for row in rows:
        assert row["bracket"][0] <= row["best"] <= row["bracket"][1]
        assert row["bits_per_parameter"] == pytest.approx(row["capacity_bits"] / row["num_parameters"])
        assert row["share_of_grid"] == pytest.approx(row["member_steps"] / row["grid_member_steps"], rel=1e-3)
        assert row["share_of_grid"] < 1


def test_fresh_seeds_are_at_one_place_only(undisturbed: Path) -> None:
    frame = load_frame("s", undisturbed / "outputs")
    fresh = frame[frame["seed"] >= FRESH_OFFSET]
    keys = ["data.num_samples", "optimizer.learning_rate"]
    assert (fresh.groupby("model.width")[keys].nunique() == 1).all(axis=None)
    assert (fresh.groupby("model.width")["seed"].nunique() == 4).all()


def test_the_same_line_trains_nothing_again_and_says_the_same(undisturbed: Path) -> None:
    before, report = results(undisturbed), found(undisturbed)
    done = train_in(undisturbed, "-m", *SEARCH, WIDTHS)
    assert done.returncode == 0, done.printed
    assert results(undisturbed) == before
    assert found(undisturbed) == report


def test_another_search_does_not_join_a_study(undisturbed: Path) -> None:
    before = results(undisturbed), (undisturbed / "outputs/studies/s/search.json").read_bytes()
    for more, message in (
        ("search.fresh_seeds=5", "study=s: got search.fresh_seeds=5, but it is a search with 4"),
        ("seed=7", "study=s: got seed=7, but it is a search with 0"),
    ):
        overrides = [text for text in SEARCH if not text.startswith(more.partition("=")[0])]
        done = train_in(undisturbed, "-m", *overrides, WIDTHS, more)
        assert done.returncode == 2
        assert message in done.printed
        assert "use another study=" in done.printed
    assert (results(undisturbed), (undisturbed / "outputs/studies/s/search.json").read_bytes()) == before


def test_gaps_of_a_search_raise_no_alarm(undisturbed: Path) -> None:
    frame = load_frame("s", undisturbed / "outputs")
    assert "missing_cells" not in {alarm.kind for alarm in alarms(frame)}
    frame.attrs["studies"] = []
    assert "missing_cells" in {alarm.kind for alarm in alarms(frame)}, "the same table of a sweep has gaps"


def test_what_a_launcher_printed_is_shown_where_it_raises(
    application: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(self: object, *args: object, **kwargs: object) -> None:
        print("the last words")
        raise RuntimeError("no machine")

    monkeypatch.setattr("hydra_plugins.memcap.launcher.MemcapLauncher.launch", launch)
    with pytest.raises(RuntimeError, match="no machine"):
        application().multirun("hydra/sweeper=capacity", "study=s")
    assert "the last words" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(undisturbed: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(*SEARCH, WIDTHS), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wanted, deadline = len(results(undisturbed)) // 2, time.monotonic() + 90
    while len(list(tmp_path.glob("outputs/runs/*/*/result.json"))) < wanted:
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert found(tmp_path) == [], "the options of a search are there from its start"
    finished = {run_id for run_id, result in results(tmp_path).items() if result}
    assert wanted <= len(finished) < len(results(undisturbed))
    subprocess.run(command(*SEARCH, WIDTHS), cwd=tmp_path, check=True, capture_output=True)
    after = results(tmp_path)
    assert {after[run_id]["attempts"] for run_id in finished} == {1}, "no run twice"
    assert after.keys() == results(undisturbed).keys()
    assert found(tmp_path) == found(undisturbed)


def test_the_peak_is_that_of_a_grid(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All N of the range at the chosen rate, other seeds than the search had."""
    monkeypatch.chdir(tmp_path)
    row = found(undisturbed)[1]
    sizes = sorted({round(row["best"] * 1.1**k) for k in range(-9, 10)})
    runs = memcap.sweep(
        [*SMALL, "model.width=6", f"optimizer.learning_rate={row['learning_rate']}", "seed=range(50,58)"],
        **{"data.num_samples": sizes},  # type: ignore[arg-type]
    )
    bits = runs.groupby("data.num_samples")["memory/bits"]
    means, errors = bits.mean(), bits.sem()
    best = means.idxmax()
    assert row["capacity_bits"] == pytest.approx(means[best], abs=4 * errors[best] + 0.03 * means[best])
    assert row["best"] / best == pytest.approx(1, abs=0.4)


def test_python_gets_all_runs_of_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = memcap.sweep(SEARCH, **{"model.width": [4]})  # type: ignore[arg-type]
    assert len(runs) == found(tmp_path)[0]["runs"] == runs["run_id"].nunique()
    assert runs.attrs["axes"] == ["model.width", "data.num_samples", "optimizer.learning_rate", "seed"]
    assert capacity(runs)["capacity_bits"].tolist() == [found(tmp_path)[0]["capacity_bits"]]


def test_steps_are_doubled_at_the_chosen_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = memcap.sweep(
        [*SEARCH, "search.budget_doublings=2", "search.budget_tolerance=1e-9", "model.width=4"]
    )
    (row,) = found(tmp_path)
    assert [budget["steps"] for budget in row["budgets"]] == [600, 1200][: len(row["budgets"])]
    for budget in row["budgets"]:
        there = runs[runs["budget.steps"] == budget["steps"]]
        assert set(there["data.num_samples"]) == {row["best"]}
        assert there["memory/bits"].mean() == pytest.approx(budget["bits"], rel=1e-12)
        assert budget["gain_ci"][0] <= budget["gain"] <= budget["gain_ci"][1]
    assert row["is_settled"] == (row["budgets"][-1]["gain_ci"][1] < 1e-9)
    table = capacity(runs).set_index("budget.steps")
    assert table.loc[300, "capacity_bits"] == pytest.approx(row["capacity_bits"], rel=1e-12)


@pytest.mark.slow
def test_the_smallest_width_is_that_of_a_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fixed = (*SMALL, "data.num_samples=24")
    memcap.sweep(["hydra/sweeper=search", "search.axis=model.width", "search.learning_rates=[0.03]", *fixed])
    (row,) = found(tmp_path)
    grid = memcap.sweep([*fixed, "study=grid", "optimizer.learning_rate=0.03", "seed=range(40,64)",
                         "model.width=range(1,41)"])  # fmt: skip
    shares = (grid["memory/memorized_samples"] == 24).groupby(grid["model.width"]).mean()
    smallest = int(shares.index[shares >= 0.5][0])
    assert row["bracket"][0] <= row["best"] <= row["bracket"][1]
    assert abs(row["best"] - smallest) <= max(1, 0.15 * smallest), (row, shares.to_dict())
    assert row["share_below_low"] < 0.5 < row["share_high"]
    assert row["runs"] < len(grid) / 4


@pytest.mark.long
@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_other_launchers_find_the_same(undisturbed: Path, tmp_path: Path, launcher: str) -> None:
    for folder, more in ((tmp_path / "own", []), (tmp_path / launcher, [f"hydra/launcher={launcher}"])):
        folder.mkdir()
        line = command(*SEARCH, "search.tolerance=1", "model.width=3", *more)
        done = subprocess.run(
            line, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ)
        )
        assert done.returncode == 0, done.stderr
    own, other = found(tmp_path / "own"), found(tmp_path / launcher)
    assert pd.DataFrame(own).equals(pd.DataFrame(other))
