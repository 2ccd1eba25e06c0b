"""Sharpness and gradients over N, measurements over steps: lines are means of the runs, marks stand at their N."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from plot_cases import band_ends, bar_ends, plotted_frame

from memcap.compare.comparison import compare
from memcap.compare.over_samples import over_samples
from memcap.compare.stability import PRECONDITIONED, RAW, stability_thresholds
from memcap.errors import BadInput
from memcap.plot import gradients, sharpness, training
from memcap.plot.panel import power_of_ten
from memcap.records import atomic


def test_geometric_means_at_the_best_nuisance_values_of_runs_that_did_not_diverge() -> None:
    frame = plotted_frame(
        widths=(16,), rates=(0.01, 0.1), bits=lambda w, n, s, r: 50 - abs(n - 150) / 10 - 20 * (r > 0.05) + s,
        status=lambda w, n, s, r: "diverged" if n == 300 and s == 0 and r < 0.05 else "finished",
    )  # fmt: skip
    generator = np.random.default_rng(0)
    frame["gradients/coherence"] = generator.lognormal(size=len(frame))
    frame.loc[frame["data.num_samples"] == 50, "gradients/coherence"] = 0.0
    table = over_samples(compare(frame), "gradients/coherence")
    assert table["num_samples"].tolist() == [100, 150, 200, 250, 300]
    assert table["num_runs"].tolist() == [3, 3, 3, 3, 2]
    kept = frame[(frame["optimizer.learning_rate"] == 0.01) & (frame["status"] == "finished")]
    logs = np.log(kept[kept["data.num_samples"] > 50]["gradients/coherence"])
    expected = np.exp(logs.groupby(kept["data.num_samples"]).mean())
    np.testing.assert_allclose(table["center"], expected)
    assert (table["low"] < table["center"]).all()


def test_a_jump_stands_where_it_was_found() -> None:
    comparison = compare(plotted_frame(widths=(24, 32, 40)))
    found = comparison.jamming
    found.loc[0, "jump_low"] -= 20  # an interval need not be symmetric
    ax = sharpness(comparison)
    assert ax.get_yscale() == "log"
    expected = over_samples(comparison, RAW)[["low", "high"]]
    np.testing.assert_allclose(np.concatenate(band_ends(ax)), expected)
    assert found["jump"].all()
    (bars,) = [line for line in ax.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3][:1]
    assert bars.get_xdata().tolist() == found["jump_num_samples"].tolist()
    assert all(1 < height < 1e3 for height in bars.get_ydata())
    np.testing.assert_allclose(bar_ends(ax)[0], found[["jump_low", "jump_high"]])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["24", "32", "40", "N of capacity", "jump of λ₁(H), 95 % CI"]
    none = sharpness(plotted_frame(sharpness=lambda w, n, s, r: 1 + 0.1 * np.sin(n + s)))
    assert "jump of λ₁(H), 95 % CI" not in [text.get_text() for text in none.get_legend().get_texts()]


def test_the_threshold_stands_beside_the_eigenvalue_that_it_bounds() -> None:
    def thresholds(frame: pd.DataFrame, metric: str) -> list[float]:
        return [
            line.get_ydata()[0]
            for line in sharpness(frame, metric=metric).lines
            if line.get_linestyle() == "--"
        ]

    frame = plotted_frame()
    assert thresholds(frame, "sharpness/preconditioned") == [3800]
    assert thresholds(frame, "sharpness/top_eigenvalue") == []
    descent = frame.drop(columns="sharpness/preconditioned").assign(**{"optimizer.kind": "sgd"})
    descent.attrs = frame.attrs
    assert thresholds(descent, "sharpness/top_eigenvalue") == [3800]
    descent.loc[0, "sharpness/threshold"] = 1.0
    assert thresholds(descent, "sharpness/top_eigenvalue") == []
    texts = [text.get_text() for text in sharpness(descent).get_legend().get_texts()]
    assert texts[-1] == "stability thresholds\ndiffer, none is drawn"


def test_thresholds_are_those_of_the_runs_that_are_drawn() -> None:
    def bits(width: int, size: int, seed: int, rate: float) -> float:
        return 20 * width - abs(size - 150) + seed - 50 * (rate > 0.05)

    frame = plotted_frame(widths=(16, 24), rates=(0.01, 0.1), bits=bits)
    frame["sharpness/threshold"] = 38 / frame["optimizer.learning_rate"]
    frame.loc[0, ["status", "sharpness/threshold"]] = ["diverged", 5.0]  # at the best rate, and not drawn
    assert stability_thresholds(compare(frame), PRECONDITIONED) == (3800, 3800), "of the best learning rate"
    assert stability_thresholds(compare(frame), RAW) is None
    frame.loc[frame["model.width"] == 24, "sharpness/threshold"] = 19.0
    found = stability_thresholds(compare(frame), PRECONDITIONED)
    assert found == (19, 3800)
    assert found is not None
    assert found.common is None
    assert stability_thresholds(compare(frame), PRECONDITIONED, [1]) == (19, 19)
    both = frame.assign(**{"optimizer.kind": frame["model.width"].map({16: "sgd", 24: "adamw"})})
    both.loc[both["optimizer.kind"] == "sgd", PRECONDITIONED] = np.nan
    both.attrs = frame.attrs
    comparison = compare(both, x="model.width")
    assert stability_thresholds(comparison, PRECONDITIONED) == (19, 19)
    assert stability_thresholds(comparison, RAW) is None, "one threshold over eigenvalues of two kinds"
    assert stability_thresholds(comparison, RAW, [0]) == (3800, 3800)


@pytest.mark.parametrize("metric", ["gradients/coherence", "gradients/cancellation", "gradients/noise_scale"])
def test_gradients_over_samples(metric: str) -> None:
    frame = plotted_frame(widths=(16,))
    ax = gradients(frame, metric=metric)
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == 6]
    one = frame[frame["seed"] == 0]
    np.testing.assert_allclose(line.get_ydata(), one[metric])
    assert ax.get_ylabel().startswith(metric.rpartition("/")[2].replace("_", " "))


def recorded(frame: pd.DataFrame, outputs: Path) -> pd.DataFrame:
    """The table with a history for each of its runs: loss 14 − seed − step / 100, and 10 · seed bits."""
    frame.attrs["outputs"] = str(outputs)
    for run_id, seed in zip(frame["run_id"], frame["seed"], strict=True):
        folder = outputs / "runs" / run_id[:2] / run_id
        folder.mkdir(parents=True)
        for step in (0, 10, 1000):
            row = {
                "train/step": step,
                "train/loss_nats": 14.0 - seed - step / 100,
                "memory/bits": 10.0 * seed,
            }
            atomic.append_line(folder / "history.jsonl", {**row, "gradients/coherence": 1 / (1 + step)})
    return frame


def test_training_is_drawn_at_the_best_n_and_averaged_over_seeds(tmp_path: Path) -> None:
    comparison = compare(recorded(plotted_frame(sizes=(100, 200)), tmp_path))
    ax = training(comparison)
    means = [line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 3]
    assert len(means) == 3
    for mean in means:
        np.testing.assert_allclose(mean, [[0, 13.0], [10, 12.9], [1000, 3.0]])
    assert [len(collection.get_paths()) for collection in ax.collections] == [3, 3, 3]
    assert (ax.get_xscale(), ax.get_xlabel()) == ("symlog", "steps")
    assert ax.get_ylabel() == "training loss (nats per sample)"
    bits = training(comparison, metric="memory/bits")
    assert (bits.get_ylabel(), bits.get_yscale()) == ("bits", "linear")
    over_steps = gradients(comparison, over="steps")
    assert over_steps.get_xlabel() == "steps"
    assert to_rgba(over_steps.lines[0].get_color()) == to_rgba(ax.lines[0].get_color())


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    frame = recorded(plotted_frame(sizes=(100, 200)), tmp_path)
    with pytest.raises(BadInput, match="memory/accuracy was not measured"):
        training(frame, metric="memory/accuracy")
    with pytest.raises(BadInput, match="sharpness/top_eigenvalue was not measured"):
        sharpness(frame.drop(columns="sharpness/top_eigenvalue"))
    with pytest.raises(BadInput, match="over must be samples or steps"):
        gradients(frame, over="n")


def test_powers_of_ten_are_letters() -> None:
    assert [power_of_ten(x) for x in (0, 1, 1e-3, 1e12, 2.0)] == ["0", "10⁰", "10⁻³", "10¹²", ""]
