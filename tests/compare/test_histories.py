"""Which runs are drawn, and their histories, whole and broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame

from memcap.compare.comparison import compare
from memcap.compare.histories import load_histories, runs_to_draw
from memcap.records import atomic


def peaked(width: int, size: int, seed: int, rate: float) -> float:
    """The most bits at N = 10 · width and learning rate 0.01."""
    return 100.0 * width - abs(size - 10 * width) + seed - 1000 * abs(rate - 0.01)


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    """Four runs with three measurements each."""
    frame = synthetic_frame(sizes=(50, 100), seeds=range(2), bits=peaked)
    frame.attrs["outputs"] = str(tmp_path)
    for number, run_id in enumerate(frame["run_id"]):
        folder = tmp_path / "runs" / run_id[:2] / run_id
        folder.mkdir(parents=True)
        for step in (0, 10, 100):
            loss = None if step == 10 else 2.0 - number - step / 100
            atomic.append_line(
                folder / "history.jsonl", {"train/step": step, "train/loss_nats": loss, "a/b": 1}
            )
    return frame


def history_of(frame: pd.DataFrame, number: int) -> Path:
    run_id = frame["run_id"].iloc[number]
    return Path(frame.attrs["outputs"]) / "runs" / run_id[:2] / run_id / "history.jsonl"


def test_a_row_per_run_and_measurement(frame: pd.DataFrame) -> None:
    table = load_histories(frame)
    assert list(table) == ["run_id", "train/step", "train/loss_nats", "a/b"]
    assert table["run_id"].tolist() == np.repeat(frame["run_id"], 3).tolist()
    assert table["train/step"].tolist() == [0, 10, 100] * 4
    np.testing.assert_array_equal(table["train/loss_nats"][:6], [2, np.nan, 1, 1, np.nan, 0])
    assert table.attrs == {"unusable": [], "num_not_read": 0}
    asked = load_histories(frame, ["memory/bits", "train/loss_nats"], at_most=2)
    assert list(asked) == ["run_id", "train/step", "memory/bits", "train/loss_nats"]
    assert asked["memory/bits"].isna().all()
    assert asked["run_id"].unique().tolist() == frame["run_id"].iloc[[0, 3]].tolist()
    assert asked.attrs["num_not_read"] == 2


def test_a_broken_history_costs_its_run_only(frame: pd.DataFrame) -> None:
    whole = load_histories(frame)
    torn, broken, gone, other = (history_of(frame, number) for number in range(4))
    torn.write_bytes(torn.read_bytes()[:-5])  # half a line at the end, as a kill leaves it
    broken.write_bytes(broken.read_bytes().replace(b"{", b"", 1))
    gone.unlink()
    other.write_text('{"no": "history"}\n')
    table = load_histories(frame)
    pd.testing.assert_frame_equal(table, whole.iloc[:2])
    assert table.attrs["unusable"] == frame["run_id"].iloc[1:].tolist()
    other.write_bytes(b"\xff\xfe\n3\n")
    assert load_histories(frame).attrs["unusable"] == frame["run_id"].iloc[1:].tolist()
    nothing = load_histories(frame.iloc[1:], ["memory/bits"])
    assert list(nothing) == ["run_id", "train/step", "memory/bits"]
    assert nothing.empty


def test_drawn_is_the_best_and_what_is_next_to_it() -> None:
    frame = synthetic_frame(widths=(10, 20), rates=(0.001, 0.01, 0.1), bits=peaked)
    chosen = runs_to_draw(compare(frame))
    assert set(chosen["optimizer.learning_rate"]) == {0.01}
    places = {
        (w, p): sorted(part["data.num_samples"].unique())
        for (w, p), part in chosen.groupby(["model.width", "places_from_best"])
    }
    assert places == {
        (10, -1): [50],
        (10, 0): [100],
        (10, 1): [150],
        (20, -1): [150],
        (20, 0): [200],
        (20, 1): [250],
    }
    assert len(chosen) == 2 * 3 * 4
    assert chosen.index.is_monotonic_increasing
    assert chosen.attrs == frame.attrs


def test_few_runs_are_spread_over_configurations_before_seeds() -> None:
    comparison = compare(synthetic_frame(widths=range(5, 25), bits=peaked))
    chosen = runs_to_draw(comparison, at_most=30)
    assert len(chosen) == 30
    assert (chosen["places_from_best"] == 0).all()
    assert sorted(chosen.groupby("model.width").size()) == [1] * 10 + [2] * 10
    pd.testing.assert_frame_equal(chosen, runs_to_draw(comparison, at_most=30))
    fewer = runs_to_draw(comparison, at_most=4)
    assert fewer["model.width"].tolist() == [5, 11, 18, 24]
    assert fewer["seed"].tolist() == [0] * 4


def test_an_absent_key_is_a_value() -> None:
    frame = synthetic_frame(widths=(10, 20), bits=peaked)
    frame["model.width"] = frame["model.width"].where(frame["model.width"] == 10, None)
    chosen = runs_to_draw(compare(frame))
    assert len(chosen) == 24
