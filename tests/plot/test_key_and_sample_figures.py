"""Capacity against a key, signed metrics over N, one run's samples, and published numbers on all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from plot_cases import bar_ends, plotted_frame, two_activations
from scipy.stats import spearmanr

import memcap
from memcap.compare.comparison import compare
from memcap.compare.optimum_columns import SEPARABLE_SIZE
from memcap.errors import BadInput
from memcap.plot import (
    capacity_against_key,
    capacity_against_parameters,
    capacity_curves,
    metric_over_samples,
    samples,
    sharpness,
)
from memcap.plot.published import AT_THE_RIGHT

OF_WIDTHS = pd.DataFrame(
    {
        "model.width": [16, 16, 24, 99],
        "metric": "memory/bits",
        "what": ["on the curve", "peak over N", "peak over N", "peak over N"],
        "num_samples": [100.0, np.nan, np.nan, np.nan],
        "published": [300.0, 333.0, 500.0, 1e6],
    }
)


def entries(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def stars(ax) -> list[tuple[float, float]]:
    return [
        tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == "*" and len(line.get_xdata())
    ]


def lines_at_0(ax) -> int:
    return sum(list(line.get_ydata()) == [0, 0] for line in ax.lines)


def test_numbers_stand_where_they_are_and_names_side_by_side() -> None:
    comparison = compare(plotted_frame(widths=(4, 40, 400)))
    ax = capacity_against_key(comparison)
    points = next(line for line in ax.lines if line.get_marker() == "o").get_xydata()
    np.testing.assert_allclose(points, comparison.capacity[["model.width", "capacity_bits"]])
    (bars,) = bar_ends(ax)
    np.testing.assert_allclose(bars, comparison.capacity[["ci_low", "ci_high"]])
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "width", "memorized bits, best N")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "40", "400"]
    frame = two_activations(widths=(16,), sizes=(200,))
    ax = capacity_against_key(frame, published="memory2/activations")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["relu", "silu"]
    assert ax.get_ylabel() == "memorized bits at N = 200"
    assert stars(ax) == [(0, 919), (1, 1278)]
    assert entries(ax) == [
        "mean over seeds, 95 % CI",
        "each seed",
        "published: N not stated",
        "all memorized",
    ]
    assert ax.get_ylim()[0] == 0


def test_each_seed_is_a_dot_at_the_best_n() -> None:
    frame = two_activations(widths=(16, 32))
    comparison = compare(frame, x="model.width")
    ax = capacity_against_key(comparison, hue="activation.kind")
    dots = [line.get_xydata() for line in ax.lines if line.get_marker() == "." and len(line.get_xdata()) == 6]
    assert len(dots) == 2
    best = comparison.capacity["best_num_samples"].iloc[0]
    relu = frame[(frame["activation.kind"] == "relu") & (frame["model.width"] == 16)]
    own = relu[relu["data.num_samples"] == best]["memory/bits"]
    assert sorted(dots[0][dots[0][:, 0] == 16][:, 1]) == pytest.approx(sorted(own))


def test_a_key_that_is_not_compared_is_said() -> None:
    with pytest.raises(BadInput, match=r"data\.input_dim is no key that these runs compare"):
        capacity_against_key(plotted_frame(), key="data.input_dim")
    with pytest.raises(BadInput, match="runs that differ in a key"):
        capacity_against_key(plotted_frame(widths=(8,)))


def test_a_signed_metric_is_averaged_as_it_is() -> None:
    frame = plotted_frame(widths=(16,))
    frame["samples/initial_final_rank_correlation"] = [0.1 * seed - 0.3 for seed in frame["seed"]]
    ax = metric_over_samples(frame, metric="samples/initial_final_rank_correlation")
    (line,) = [line for line in ax.lines if len(line.get_xdata()) == 6]
    np.testing.assert_allclose(line.get_ydata(), -0.2)
    assert (ax.get_yscale(), ax.get_ylabel()) == ("linear", "rank correlation, initial and final loss")
    assert lines_at_0(ax) == 1
    assert lines_at_0(metric_over_samples(frame, metric="memory/bits")) == 0, "no mean is negative"
    with pytest.raises(BadInput, match="samples/nothing was not measured"):
        metric_over_samples(frame, metric="samples/nothing")
    with pytest.raises(BadInput, match="two or more data"):
        metric_over_samples(plotted_frame(sizes=(50,)), metric="memory/bits")


def test_published_numbers_stand_at_their_n_or_at_the_right_edge() -> None:
    comparison = compare(plotted_frame())
    ax = capacity_curves(comparison, published=OF_WIDTHS)
    assert stars(ax) == [(100, 300)]
    dashes = [line for line in ax.lines if tuple(line.get_xdata()) == AT_THE_RIGHT]
    assert [line.get_ydata()[0] for line in dashes] == [333, 500], "a width that was not run is left out"
    of_16 = next(line for line in ax.lines if line.get_marker() == "o")
    assert to_rgba(dashes[0].get_color()) == to_rgba(of_16.get_color())
    assert entries(ax)[-2:] == ["published", "published: peak over N"]
    assert ax.get_ylim()[1] < 1e4
    of_parameters = capacity_against_parameters(comparison, published=OF_WIDTHS)
    assert stars(of_parameters) == [(420, 333), (580, 500)]
    assert entries(of_parameters)[-1] == "published: peak over N"
    assert "published" not in "".join(entries(capacity_curves(comparison)))


def test_published_sharpness_and_the_separable_n_of_the_runs_own_data() -> None:
    frame = plotted_frame(widths=(24,))
    given = OF_WIDTHS[:1].assign(
        metric="sharpness/top_eigenvalue", num_samples=50.0, published=1e6, **{"model.width": 24}
    )
    frame[SEPARABLE_SIZE] = frame["seed"].map({0: 120.0, 1: 130.0, 2: 200.0})
    comparison = compare(frame, x="model.width")
    ax = sharpness(comparison, published=given)
    assert stars(ax) == [(50, 1e6)]
    assert ax.get_ylim()[1] > 1e6
    assert comparison.jamming["exact_num_samples"].tolist() == [130]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [130]
    assert "largest separable N, exact" in entries(ax)


def test_samples_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = memcap.run("model=linear data.num_samples=60 data.input_dim=4 budget.steps=100 tracking=disabled")
    ax = samples(run, x="alignment")
    known = run.arrays("samples")
    memorized, others = (np.asarray(line.get_xydata()) for line in ax.lines)
    assert len(memorized) == run.summary["memory/memorized_samples"]
    assert len(memorized) + len(others) == 60
    np.testing.assert_allclose(memorized[:, 0], known["alignment"][known["correct"].astype(bool)])
    expected = spearmanr(known["alignment"], known["final_loss"]).statistic
    assert float(ax.get_title(loc="left").split()[-1].replace("−", "-")) == pytest.approx(expected, abs=0.006)
    with pytest.raises(BadInput, match="have no loss; known: "):
        samples(run, x="loss")
