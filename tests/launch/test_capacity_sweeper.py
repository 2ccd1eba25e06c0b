"""hydra/sweeper=capacity and search, with real trainings: their answers, their records, going on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from capacity_searches import SEARCH, SMALL, WIDTHS, command, found, results
from train_command import train_in

import memcap
from memcap.compare.alarms import alarms
from memcap.compare.capacity import capacity
from memcap.compare.frame import load_frame
from memcap.search.options import FRESH_OFFSET


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a search over two widths."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = subprocess.run(command(*SEARCH, WIDTHS), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a grid of the same resolution" in done.stdout
    assert "finished in" not in done.stdout, "tables of rounds are not shown"
    return folder


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
