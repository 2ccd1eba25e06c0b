"""The command from its words to its files, with real trainings of 40 steps."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import memcap
from memcap.errors import BadInput
from memcap.leaderboard.__main__ import main, parse
from memcap.leaderboard.board import _chosen, _once
from memcap.leaderboard.entry import Entry, formula_entry

SMALL = (
    "size=smoke",
    "leaderboard.learning_rates=[0.01,0.1]",
    "leaderboard.extra_rates=1",
    "leaderboard.seeds=2",
    "leaderboard.fresh_seeds=2",
    "only=relu,silu",
)


def leaderboard(*words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of two activations, as it was written."""
    outputs = tmp_path_factory.mktemp("board") / "outputs"
    status, text, error = leaderboard(*SMALL, f"paths.outputs={outputs}")
    assert status == 0, error
    assert "leader" in text
    return outputs


@pytest.fixture
def outputs(board: Path, tmp_path: Path) -> Path:
    """The same for one test alone, which may add to it."""
    return shutil.copytree(board, tmp_path / "outputs")


def written(outputs: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in outputs.glob("runs/*/*/result.json")}


def table(outputs: Path) -> pd.DataFrame:
    (path,) = outputs.glob("studies/*/leaderboard/leaderboard.csv")
    return pd.read_csv(path)


def test_the_board_has_its_files_and_numbers(outputs: Path) -> None:
    found = table(outputs)
    assert set(found["name"]) == {"relu", "silu"}
    assert found["rank"].tolist() == [1, 2]
    assert found["num_seeds"].tolist() == [2, 2]
    (study,) = (outputs / "studies").iterdir()
    assert study.name.startswith("leaderboard-")  # not the protocol of conf/
    assert {path.name for path in (study / "leaderboard").iterdir()} >= {
        "leaderboard.csv", "leaderboard.png", "leaderboard.svg", "protocol.json"
    }  # fmt: skip
    runs = memcap.load_frame(study.name, outputs)
    best = found.set_index("name")["learning_rate"]
    for name, rows in runs[runs["seed"] >= 1000].groupby("activation.kind"):
        assert set(rows["optimizer.learning_rate"]) == {best[name]}
        assert rows["memory/bits"].mean() == pytest.approx(found.set_index("name")["bits"][name])
    assert set(runs["data.num_samples"]) == {500}  # one N, though a smoke sweeps it


def test_a_candidate_joins_and_nothing_is_trained_twice(outputs: Path) -> None:
    before = written(outputs)
    words = (*SMALL, f"paths.outputs={outputs}")
    status, text, error = leaderboard("x*sigmoid(1.702*x)", "name=gelu_like", "why=a test", *words)
    assert status == 0, error
    after = written(outputs)
    assert {path: after[path] for path in before} == before
    assert set(table(outputs)["name"]) == {"relu", "silu", "gelu_like"}
    assert "gelu_like *" in text
    # Spelled otherwise it is the same, which the board knows from the call before.
    status, text, error = leaderboard("x * sigmoid( 1.702 * x )", "name=other", *words)
    assert status == 0
    assert "is on the board already, as gelu_like" in error
    assert written(outputs) == after


def test_a_formula_may_begin_with_a_minus() -> None:
    formulas = ("-abs(x)", "-exp(-x**2)", "-x", "-2*x")
    assert parse([*formulas, "only=relu"]).formulas == formulas
    for flag in ("-m", "-h", "-X", "--multirun", "--cfg=job"):
        with pytest.raises(BadInput, match=f"{flag} is no option here"):
            parse([flag])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("x*si(3*x)",), "did you mean sin?"),
        (("x**2", "name=relu"), "name=relu is max(x,0) on this board"),
        (("only=silo",), "did you mean silu?"),
        (("name=wave",), "name=wave is for one formula, got 0"),
        (("x**2", "name=a b"), "name must be 1 to 40 letters"),
        (("-m",), "-m is no option here"),
        (("modle.width=3",), "did you mean model.width?"),
        (("zip=a,b",), "a leaderboard decides on zip itself"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, text, error = leaderboard(*words)
    assert (status, text) == (2, "")
    assert len(error.splitlines()) == 1
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_a_study_of_another_protocol_is_refused(outputs: Path) -> None:
    (study,) = (outputs / "studies").iterdir()
    before = json.loads((study / "study.json").read_text())
    status, _, error = leaderboard(*SMALL, f"paths.outputs={outputs}", f"study={study.name}", "model.width=8")
    assert status == 2
    assert "got model.width=8, but it is a leaderboard with 20" in error
    assert json.loads((study / "study.json").read_text()) == before


def test_a_formula_that_diverges_is_a_row_at_the_bottom(tmp_path: Path) -> None:
    words = (*SMALL, f"paths.outputs={tmp_path / 'outputs'}", "only=relu")
    words = tuple(word for word in words if word != "only=relu,silu")
    status, text, error = leaderboard("exp(exp(exp(x**2)))", "name=blow_up", *words)
    assert status == 0, error
    found = table(tmp_path / "outputs")
    assert found["name"].tolist() == ["relu", "blow_up"]
    assert found.iloc[1][["bits", "diverged_share"]].tolist() == [0.0, 1.0]
    assert "100%" in text


def test_a_run_that_fails_takes_no_row_away(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    words = ("size=smoke", "leaderboard.learning_rates=[0.003,0.01]", *SMALL[2:-1], "only=relu")
    words = (*words, f"paths.outputs={outputs}")
    assert leaderboard(*words)[0] == 0
    before = table(outputs)
    assert before["learning_rate"][0] > 0.01  # beyond the edge
    (study,) = (outputs / "studies").iterdir()
    runs = memcap.load_frame(study.name, outputs).set_index(["seed", "optimizer.learning_rate"])
    run_id = runs["run_id"][0, 0.003]
    folder = outputs / "runs" / run_id[:2] / run_id
    shutil.rmtree(folder)
    folder.touch()  # no folder can be made there, so the run fails
    status, text, error = leaderboard(*words)
    assert status == 1
    assert "1 runs failed" in error
    assert "missing:  runs without a result: relu (1 of 6 choosing)" in text
    after = table(outputs)
    same = ["name", "learning_rate", "bits", "num_seeds"]
    assert after[same].equals(before[same])


def test_a_board_has_the_seeds_that_are_asked_for(tmp_path: Path) -> None:
    words = (*SMALL[:-1], "leaderboard.extra_rates=0", "only=relu", f"paths.outputs={tmp_path / 'outputs'}")
    words = tuple(word for word in words if word != "leaderboard.extra_rates=1")
    status, _, error = leaderboard(*words, "seed=5")
    assert status == 0, error
    (study,) = (tmp_path / "outputs" / "studies").iterdir()
    assert set(memcap.load_frame(study.name, tmp_path / "outputs")["seed"]) == {5, 6, 1005, 1006}


def test_what_the_first_round_refuses_leaves_nothing(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    status, text, error = leaderboard(
        *SMALL, "x*sin(x)", "hydra/launcher=local", "launcher.workers=0", f"paths.outputs={outputs}"
    )
    assert (status, text) == (2, ""), error
    assert list(tmp_path.iterdir()) == []


def test_what_is_built_in_is_not_added_by_formula(outputs: Path) -> None:
    before = written(outputs)
    words = [word for word in SMALL if not word.startswith("only=")]
    status, _, error = leaderboard(
        "x/(1+exp(-x))", "name=swish", "only=silu", *words, f"paths.outputs={outputs}"
    )
    assert status == 0, error
    assert "x/(1+exp(-x)) is on the board already, as silu" in error
    assert table(outputs)["name"].tolist() == ["silu"]
    assert written(outputs) == before


def test_a_candidate_that_comes_with_memcap_by_now_stands_once() -> None:
    shipped = [
        Entry("silu", "silu"),
        formula_entry("exp(-x**2)", "gauss"),
        formula_entry("x*sin(3*x)", "wave"),
    ]
    earlier = [formula_entry("exp(-x*x)", "bump"), formula_entry("x*sin(4*x)", "wave")]
    assert [entry.name for entry in _once(shipped, earlier)] == ["silu", "gauss", "wave", "x*sin(4*x)"]


def test_all_are_ranked_unless_only_some_are_asked_for_and_what_is_added_always() -> None:
    entries = [Entry("relu", "relu"), Entry("silu", "silu"), formula_entry("x*sin(3*x)", "wave")]
    assert _chosen(entries, (), ()) == entries
    assert _chosen(entries, (), ("wave",)) == entries
    assert _chosen(entries, ("relu",), ()) == entries[:1]
    assert _chosen(entries, ("relu",), ("wave",)) == [entries[0], entries[2]]


def test_the_same_in_python(outputs: Path) -> None:
    words = [word for word in SMALL if not word.startswith("only=")]
    found = memcap.rank_activations(
        "x*sin(3*x)", [*words, f"paths.outputs={outputs}"], only=["relu"], name="wave"
    )
    assert set(found["name"]) == {"relu", "growing_wave"}  # which is in conf/
    assert found.attrs["outputs"] == str(outputs)
    memcap.plot.leaderboard(found)


def test_it_is_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "memcap.leaderboard", "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "usage: python -m memcap.leaderboard" in ran.stdout
