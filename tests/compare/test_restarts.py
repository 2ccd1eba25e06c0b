"""The best of several restarts, and what fewer of them would have given."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from memcap.compare.axes import find_axes
from memcap.compare.capacity import capacity
from memcap.compare.comparison import compare, write
from memcap.compare.curves import curves
from memcap.compare.report.commands import Commands
from memcap.compare.report.drawing import Drawing
from memcap.compare.report.headline import headline
from memcap.compare.report.restart_figures import best_of_restarts as best_of_restarts_figure
from memcap.compare.restarts import best_of_restarts, best_restarts, expected_best_of
from memcap.compare.terminal import print_numbers, print_places, restart_lines
from memcap.errors import BadInput

LIFT = {0: 0.0, 1: 7.0, 2: 3.0, 3: 5.0}


def restarted(restarts: int = 4, **given: object) -> pd.DataFrame:
    """Two sizes, three seeds; restart 1 is the best of all, then 3 and 2."""
    parts = []
    for restart in range(restarts):
        part = synthetic_frame(
            sizes=(100, 150), seeds=range(3),
            bits=lambda width, size, seed, rate, lift=LIFT[restart]: size + 2.0 * seed + lift, **given,
        )  # fmt: skip
        part["restart"] = restart
        part["run_id"] = [f"{restart}{text[1:]}" for text in part["run_id"]]
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs = {**parts[0].attrs, "axes": [*parts[0].attrs["axes"], "restart"]}
    return frame


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=7), st.data())
def test_the_expected_best_is_the_mean_over_all_subsets(values: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(values)))
    ordered = sorted(values, reverse=True)
    brute_force = np.mean([max(subset) for subset in itertools.combinations(ordered, count)])
    assert expected_best_of(ordered, count) == pytest.approx(brute_force, abs=1e-9)


def test_the_best_comes_first_whatever_the_values_are() -> None:
    """A run is chosen by its loss: what it counts need not fall in the same order."""
    values = [3.0, 9.0, 0.0]  # the best by loss has 3
    assert expected_best_of(values, 3) == 3.0
    assert expected_best_of(values, 2) == pytest.approx((3 + 3 + 9) / 3)
    assert expected_best_of(values, 1) == pytest.approx(4.0)


def test_of_each_seed_the_smallest_loss_counts() -> None:
    frame = restarted()
    best = best_restarts(frame)
    assert len(best) == 6
    assert set(best["restart"]) == {1}
    assert set(best["num_restarts"]) == {4}
    assert best_restarts(best) is best
    assert best.attrs["studies"] == frame.attrs["studies"]
    axes = find_axes(frame)
    assert "restart" not in (*axes.compared, *axes.nuisance, *axes.fixed)


def test_a_table_without_restarts_stays_as_it_is() -> None:
    frame = synthetic_frame(bits=lambda *_: 1.0)
    assert best_restarts(frame) is frame
    one = restarted(1)
    assert best_restarts(one) is one
    mixed = restarted(1)
    mixed["restart"] = mixed["seed"]  # another restart of each seed is no choice
    assert best_restarts(mixed) is mixed
    assert best_of_restarts(one, find_axes(one), compare(one).quantity).empty


def test_records_that_are_older_than_restarts_are_restart_0() -> None:
    frame = restarted(2)
    frame["restart"] = frame["restart"].astype(object).where(frame["restart"] > 0, None)
    best = best_restarts(frame)
    assert set(best["restart"]) == {1}
    assert best.attrs["restarts"] == [0, 1]


def test_diverged_restarts_count_only_where_all_have_diverged() -> None:
    frame = restarted()
    lost = (frame["restart"] == 1) | ((frame["seed"] == 2) & (frame["data.num_samples"] == 150))
    frame.loc[lost, "status"] = "diverged"
    best = best_restarts(frame).set_index(["data.num_samples", "seed"])
    assert best.loc[(100, 0), "restart"] == 3
    assert best.loc[(150, 2), "status"] == "diverged"
    (row,) = capacity(frame).to_dict("records")
    values = capacity(frame[frame["data.num_samples"] == 150]).to_dict("records")[0]
    assert values["capacity_bits"] == pytest.approx((155 + 157 + 0) / 3)
    assert values["diverged_share"] == pytest.approx(1 / 3)
    assert row["num_restarts"] == 4


def test_capacities_and_curves_are_those_of_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = restarted()
    comparison = compare(frame)
    plain = capacity(frame[frame["restart"] == 1].drop(columns="restart"))
    pd.testing.assert_frame_equal(comparison.capacity.drop(columns="num_restarts"), plain)
    assert curves(frame)["num_seeds"].tolist() == [3, 3]
    assert len(comparison.frame) == 6
    table = comparison.restarts
    assert table["best_of"].tolist() == [1, 2, 4] * 2
    at_150 = table[table["num_samples"] == 150]["mean"].tolist()
    expected = [np.mean([max(c) for c in itertools.combinations(LIFT.values(), r)]) for r in (1, 2, 4)]
    assert at_150 == pytest.approx([150 + 2 + lift for lift in expected])
    lines = list(restart_lines(comparison))
    assert "the best of 4 restarts counts" in lines[0]
    means = "N = 150: bits 155.8 ± 5.0 of 1, 157.7 ± 5.0 of 2, 159.0 ± 5.0 of 4"
    assert lines[1].endswith(f"{means} (in sample: also of seeds that chose this N)")
    (_, one_size) = restart_lines(compare(frame[frame["data.num_samples"] == 150].reset_index(drop=True)))
    assert one_size.endswith(means)  # no N was chosen
    print_places(comparison, tmp_path, write(comparison, tmp_path))
    assert "restarts.csv" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "restarts.csv")) == 6
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 24
    once = compare(restarted(1))
    print_places(once, tmp_path, write(once, tmp_path))
    assert "restarts.csv" not in capsys.readouterr().out
    assert not (tmp_path / "restarts.csv").exists()


def test_a_report_draws_what_the_terminal_says() -> None:
    """At the N of each capacity, and not at the other; nothing where nothing was restarted."""
    drawing = Drawing(compare(restarted()))
    (figure,) = best_of_restarts_figure(drawing)
    (line,) = figure["data"]
    at_150 = drawing.comparison.restarts.query("num_samples == 150")
    assert line["x"] == [1, 2, 4]
    assert line["y"] == pytest.approx(at_150["mean"].tolist(), rel=1e-5)
    assert line["error_y"]["array"] == pytest.approx((at_150["ci_high"] - at_150["mean"]).tolist(), rel=1e-5)
    group = drawing.groups[-1 - line["customdata"][0]]
    assert group["name"].endswith("data.num_samples=150")
    assert best_of_restarts_figure(Drawing(compare(restarted(1)))) == []


def test_the_head_of_a_report_counts_every_run_that_was_trained() -> None:
    frame = restarted()
    frame.loc[frame["restart"] == 0, "status"] = "diverged"  # none of them is the best of its seed
    said = "<dt>runs</dt><dd>24 (18 finished, 6 diverged); of each seed the best of 4 restarts counts (6 runs)</dd>"
    assert said in headline(compare(frame))
    assert "<dt>runs</dt><dd>6 (6 finished)</dd>" in headline(compare(restarted(1)))


def test_of_one_seed_a_point_s_command_trains_all_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Commands, "_read", lambda self, row: ["seed=0", "restart=1", "model.width=8"])
    frame = restarted()
    one = frame[frame["seed"] == 0].reset_index(drop=True)
    one.attrs = frame.attrs
    drawing = Drawing(compare(one))
    command = drawing.groups[-1 - drawing.point_of_runs(0, 150)]["command"]
    assert command == "python -m memcap.train -m model.width=8 seed=0 restart=0,1,2,3 force=true"


def test_restart_is_no_axis_to_choose() -> None:
    with pytest.raises(BadInput, match="restart has its part already"):
        capacity(restarted(), x="restart")


def test_losses_of_two_kinds_are_each_run_s_own() -> None:
    frame = restarted(3)
    other = frame["data.num_samples"] == 150
    loss = frame["restart"].map({0: 0.5, 1: 0.1, 2: 0.01})
    frame["train/loss_nats"] = loss.where(~other)
    frame["train/loss_mse"] = loss.where(other)
    assert best_restarts(frame)["restart"].tolist() == [2] * 6


def test_what_fewer_would_have_given_goes_by_loss_and_by_seeds_that_have_them() -> None:
    frame = restarted(3)
    frame["train/loss_nats"] = frame["restart"].map({0: 0.5, 1: 0.1, 2: 0.01})  # bits: 1 before 2 before 0
    frame = frame[(frame["seed"] != 2) | (frame["restart"] != 2)]
    table = best_of_restarts(frame, find_axes(frame), compare(frame).quantity)
    assert table["best_of"].tolist() == [1, 2, 3] * 2
    assert table["num_seeds"].tolist() == [3, 3, 2] * 2
    of_one = [10 / 3, 2 + 10 / 3, 4 + 7 / 2]  # by seed, of which the last has restarts 0 and 1 only
    of_two = [13 / 3, 2 + 13 / 3, 4 + 7]
    of_three = [3, 2 + 3]
    at_150 = table[table["num_samples"] == 150]
    assert at_150["mean"].tolist() == pytest.approx([150 + np.mean(of) for of in (of_one, of_two, of_three)])
    half = t.ppf(0.975, 1) * np.std(of_three, ddof=1) / np.sqrt(2)
    assert at_150[["ci_low", "ci_high"]].iloc[2].tolist() == pytest.approx([154 - half, 154 + half])


def test_a_best_of_many_beside_a_best_of_few_is_flagged() -> None:
    frame = restarted(4)
    assert "restarts_differ" not in capacity(frame)["flags"].iloc[0]
    fewer = frame[(frame["restart"] == 0) | (frame["data.num_samples"] == 100)]
    assert "restarts_differ" in capacity(fewer)["flags"].iloc[0]


def test_of_unequal_numbers_of_restarts_each_says_its_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    frame = restarted(4)
    frame = frame[(frame["seed"] == 1) | (frame["restart"] < 2)].reset_index(drop=True)
    comparison = compare(frame)
    lines = list(restart_lines(comparison))
    assert "the best of 2 to 4 restarts counts" in lines[0]
    assert "of 1 (3 seeds), 158.6 ± 5.3 of 2 (3 seeds), 159.0 of 4 (1 seed) (in sample" in lines[1]
    print_numbers(comparison)
    titles, values = capsys.readouterr().out.splitlines()[:2]
    assert values[: titles.index("best of") + len("best of")].endswith(" 2 to 4")
    assert comparison.capacity["num_restarts"].tolist() == [2]


def test_alarms_look_at_every_restart() -> None:
    frame = restarted(2)
    frame["eval/null/bits"], frame["eval/null/bits_standard_error"] = -5.0, 1.0
    frame.loc[frame["restart"] == 0, "eval/null/bits"] = 50.0  # never the best one
    assert "null_above_0" in {alarm.kind for alarm in compare(frame).alarms}
