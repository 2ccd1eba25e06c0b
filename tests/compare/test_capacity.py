"""The capacity of each configuration, on tables whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from comparison_cases import BITS_PER_LABEL, synthetic_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from memcap.compare.axes import find_axes
from memcap.compare.capacity import capacity
from memcap.compare.comparison import compare
from memcap.compare.terminal import optimum_lines
from memcap.errors import BadInput

SEED_BITS = (-3.0, 1.0, 3.0, -1.0)


def peaked(width: int, size: int, seed: int, rate: float) -> float:
    """20 bits per neuron at N = 150, less elsewhere and at the other learning rate."""
    return 20 * width - 0.3 * abs(size - 150) + SEED_BITS[seed % 4] - 10 * abs(math.log10(rate / 0.01))


def test_the_definition_by_hand() -> None:
    table = capacity(synthetic_frame(widths=(8, 16), rates=(0.1, 0.01, 0.001), bits=peaked))
    assert table["model.width"].tolist() == [8, 16]
    for _, row in table.iterrows():
        expected = 20 * row["model.width"] + np.array(SEED_BITS)
        half = stdtrit(3, 0.975) * expected.std(ddof=1) / 2
        assert row["capacity_bits"] == pytest.approx(expected.mean())
        assert row["ci_low"] == pytest.approx(expected.mean() - half)
        assert row["ci_high"] == pytest.approx(expected.mean() + half)
        assert (row["best_num_samples"], row["best.optimizer.learning_rate"]) == (150, 0.01)
        assert (row["num_seeds"], row["diverged_share"], row["flags"]) == (4, 0, "")
        assert row["capacity_in_sample_bits"] == pytest.approx(expected.mean())
    assert table["num_parameters"].tolist() == [260, 420]
    assert table["budget_steps"].tolist() == [100, 100]


def test_noise_makes_maxima_larger_than_what_is_measured_again() -> None:
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((40, 250, 4))
    frame = synthetic_frame(
        widths=range(8, 48), sizes=range(40, 140, 10),
        bits=lambda width, size, seed, rate: 100 + 5 * noise[width - 8, size, seed],
    )  # fmt: skip
    table = capacity(frame)
    assert table["capacity_bits"].mean() == pytest.approx(100, abs=1.5)
    assert table["capacity_in_sample_bits"].mean() > 102
    assert (table["capacity_seedwise_bits"] >= table["capacity_in_sample_bits"]).all()


@pytest.mark.parametrize("bits", [None, np.nan, -6521.0])
def test_where_all_runs_have_diverged_capacity_is_0(bits: float | None) -> None:
    frame = synthetic_frame(bits=lambda *_: 1.0, status=lambda *_: "diverged")
    frame["memory/bits"] = pd.Series([bits] * len(frame), dtype=object if bits is None else float)
    (row,) = capacity(frame).to_dict("records")
    assert (row["capacity_bits"], row["diverged_share"]) == (0.0, 1.0)
    frame["optimum/bits"] = 100.0
    if bits is not None:
        (line,) = optimum_lines(compare(frame))
        assert "20 linear runs store a median of 0.0 % of their exact optimum (0.0 % to 0.0 %)" in line


def test_a_diverged_run_counts_nothing_and_its_share_is_shown() -> None:
    def status(width: int, size: int, seed: int, rate: float) -> str:
        return "diverged" if (size, seed) == (150, 2) else "finished"

    frame = synthetic_frame(bits=lambda w, size, s, r: 400.0 if size == 150 else 100.0, status=status)
    frame.loc[frame["status"] == "diverged", ["memory/bits", "train/loss_nats"]] = np.nan
    (row,) = capacity(frame).to_dict("records")
    assert row["capacity_bits"] == 300
    assert row["diverged_share"] == 0.25
    assert row["capacity_finished_bits"] == 400
    assert "diverged" in row["flags"].split()


@pytest.mark.parametrize(
    ("bits", "flags"),
    [
        (lambda w, size, s, r: 0.5 * size + s, "grid_limited never_saturated"),
        (lambda w, size, s, r: 300 - size + s, "grid_limited"),
        (
            lambda w, size, s, r: min(size * BITS_PER_LABEL, 150 * BITS_PER_LABEL - (size - 150)),
            "grid_limited",
        ),
        (lambda w, size, s, r: 100 - abs(size - 150) + s, ""),
    ],
)
def test_what_limits_the_grid_is_flagged(bits: Any, flags: str) -> None:
    (row,) = capacity(synthetic_frame(bits=bits)).to_dict("records")
    assert row["flags"] == flags


def test_one_seed_has_no_interval() -> None:
    (row,) = capacity(synthetic_frame(seeds=(0,), bits=peaked)).to_dict("records")
    assert "one_seed" in row["flags"].split()
    assert math.isnan(row["ci_low"])
    assert math.isnan(row["ci_high"])
    assert row["split"] == "one_seed"


def test_edges_of_the_learning_rate_and_missing_runs_are_flagged() -> None:
    frame = synthetic_frame(rates=(0.1, 0.01), bits=peaked)
    (row,) = capacity(frame.drop(index=3)).to_dict("records")
    assert row["flags"] == "nuisance_edge missing_runs"


def test_samples_in_place_of_bits() -> None:
    (bits,) = capacity(synthetic_frame(bits=peaked)).to_dict("records")
    (samples,) = capacity(synthetic_frame(bits=peaked), y="samples").to_dict("records")
    assert samples["capacity_samples"] == pytest.approx(bits["capacity_bits"] / 4)
    assert "capacity_in_sample_samples" in samples


def test_a_key_that_is_given_is_compared_though_it_has_one_value() -> None:
    table = capacity(synthetic_frame(widths=(8,), bits=peaked), x="model.width")
    assert table["model.width"].tolist() == [8]
    assert table.attrs["axes"].x == "model.width"


def test_a_table_without_runs_is_bad_input() -> None:
    frame = synthetic_frame(bits=peaked)
    for nothing in (frame[frame["seed"] > 99], pd.DataFrame()):
        with pytest.raises(BadInput, match="has no rows"):
            compare(nothing)


def test_axes_are_found_and_can_be_chosen() -> None:
    frame = synthetic_frame(widths=(8, 16), rates=(0.1, 0.01), bits=peaked)
    frame["model.output_dim"] = frame["model.width"] // 2
    axes = find_axes(frame)
    assert (axes.compared, axes.nuisance) == (
        ("model.width", "model.output_dim"),
        ("optimizer.learning_rate",),
    )
    assert (axes.following, axes.shown, axes.x) == (("model.output_dim",), ("model.width",), "model.width")
    assert axes.fixed["budget.steps"] == 100
    assert len(capacity(frame, hue="optimizer.learning_rate")) == 4
    assert len(capacity(frame, nuisance=())) == 4
    chosen = capacity(frame, nuisance=("model.width",))
    assert len(chosen) == 2
    assert chosen["best.model.width"].tolist() == [16, 16]


def test_widths_with_an_n_each_are_configurations_and_a_budget_that_follows_n_is_none() -> None:
    frame = synthetic_frame(widths=(8, 16), bits=peaked)
    frame["budget.steps"] = 10 * frame["data.num_samples"]
    axes = find_axes(frame)
    assert axes.compared == ("model.width",)
    assert axes.fixed["budget.steps"] == "follows N"
    paired = frame[frame["data.num_samples"] == frame["model.width"].map({8: 100, 16: 200})].drop(
        columns="budget.steps"
    )
    for swept in (
        ["model.width", "data.num_samples"],
        [],
    ):  # [] is a whole folder: nobody knows what was swept
        paired.attrs["axes"] = swept
        table = capacity(paired)
        assert table["model.width"].tolist() == [8, 16]
        assert table["split"].tolist() == ["no_choice", "no_choice"]


@pytest.mark.parametrize(
    "keys",
    [{"x": "model.widht"}, {"hue": "seed"}, {"y": "bist"}, {"nuisance": ("nothing",)}, {"selection_seeds": (9,)},
     {"selection_seeds": (0, 1, 2, 3)}, {"x": "model.width", "nuisance": ("model.width",)}],
)  # fmt: skip
def test_bad_input_is_one_line(keys: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as error:
        capacity(synthetic_frame(bits=peaked), **keys)
    assert "\n" not in str(error.value)


def test_given_selection_seeds_leave_the_others_fresh() -> None:
    (row,) = capacity(synthetic_frame(bits=peaked), selection_seeds=(0, 1)).to_dict("records")
    assert (row["num_seeds"], row["split"]) == (2, "given")
    assert row["capacity_bits"] == pytest.approx(160 + (3 - 1) / 2)


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(-5, 50))
def test_neither_the_order_of_rows_nor_names_matter(draw: int, shift: int) -> None:
    generator = np.random.default_rng(draw)
    noise = generator.standard_normal(400)
    frame = synthetic_frame(
        widths=(8, 16), rates=(0.1, 0.01),
        bits=lambda w, size, s, r: 100 + w + 5 * noise[(w * 7 + size + s * 31 + int(r * 100)) % 400],
    )  # fmt: skip
    table = capacity(frame)
    shuffled = frame.sample(frac=1, random_state=draw).assign(seed=lambda f: 2 * f["seed"] + shift)
    relabelled = shuffled.assign(run_id=[f"{i:012x}" for i in generator.permutation(len(frame))])
    relabelled["model.width"] = "w" + relabelled["model.width"].astype(str).str.zfill(3)
    other = capacity(relabelled).sort_values("model.width").reset_index(drop=True)
    pd.testing.assert_frame_equal(
        table.drop(columns="model.width"), other.drop(columns="model.width"), rtol=1e-12
    )


def test_parts_that_bring_a_learning_rate_of_their_own_are_compared() -> None:
    """``optimizer=adam,lbfgs``: the rate determines the optimizer, yet nobody asked for the better one."""
    parts = []
    for kind, rate, lift in (("adam", 0.01, 0.0), ("lbfgs", 1.0, 40.0)):
        part = synthetic_frame(
            sizes=(100, 150),
            seeds=range(3),
            bits=lambda width, size, seed, rate, lift=lift: size + seed + lift,
        )
        part["optimizer.kind"], part["optimizer.learning_rate"] = kind, rate
        part["run_id"] = [f"{kind[0]}{text[1:]}" for text in part["run_id"]]
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs = {**parts[0].attrs, "axes": ["optimizer", "data.num_samples", "seed"]}
    table = capacity(frame)
    assert table["optimizer.kind"].tolist() == ["adam", "lbfgs"]
    frame.attrs["axes"] = ["data.num_samples", "seed"]
    assert capacity(frame, x="optimizer.kind")["optimizer.kind"].tolist() == ["adam", "lbfgs"]
