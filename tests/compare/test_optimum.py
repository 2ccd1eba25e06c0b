"""The exact optimum of linear runs beside what they have stored."""

from __future__ import annotations

from pathlib import Path

import pytest

import memcap
from memcap.compare.__main__ import main
from memcap.compare.optimum import optimum_curves
from memcap.oracle.__main__ import main as oracle


def test_the_oracle_joins_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    memcap.sweep([
        "model=linear", "data.input_dim=4,6", "data.num_classes=4", "data.num_samples=8,24,40", "seed=0,1",
        "optimizer.learning_rate=0.01,0.1", "budget.steps=100", "study=lines", "tracking=disabled",
    ])  # fmt: skip
    before = memcap.load_frame("lines")
    assert optimum_curves(memcap.comparison(before)).empty
    assert oracle(["study=lines"]) == 0
    frame = memcap.load_frame("lines")
    assert frame.drop(columns=[name for name in frame if name.startswith("optimum/")]).equals(before)
    assert (frame["optimum/gap_bits"] == frame["optimum/bits"] - frame["memory/bits"]).all()
    curves = optimum_curves(memcap.comparison(frame))
    assert curves["configuration"].tolist() == [0, 0, 0, 1, 1, 1]
    of_first = frame[(frame["data.input_dim"] == 4) & (frame["data.num_samples"] == 24)]
    # Two seeds, each trained at two rates: the optimum of a seed counts once.
    assert curves["mean"].iloc[1] == pytest.approx(of_first["optimum/bits"].mean())
    samples = optimum_curves(memcap.comparison(frame, y="samples"))
    assert samples["mean"].iloc[1] == pytest.approx(of_first["optimum/memorized_samples"].mean())
    capsys.readouterr()
    assert main(["study=lines"]) == 0
    assert "24 linear runs store a median of " in capsys.readouterr().out
    folder = tmp_path / "outputs" / "studies" / "lines" / "compare"
    assert "exact optimum" in (folder / "capacity_curves.svg").read_text(encoding="utf-8")
    assert "exact optimum" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_table_that_is_none_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    memcap.sweep(["model=linear", "data.num_samples=8", "budget.steps=5", "study=one", "tracking=disabled"])
    folder = tmp_path / "outputs" / "studies" / "one" / "oracle"
    folder.mkdir()
    for text in ("", "run_id\nabc\n", "\x00\x01"):
        (folder / "gaps.csv").write_text(text)
        assert not [name for name in memcap.load_frame("one") if name.startswith("optimum/")]
