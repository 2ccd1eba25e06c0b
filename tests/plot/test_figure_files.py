"""Small multiples, and the files that the command writes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from plot_cases import plotted_frame, two_activations

from memcap.compare.comparison import compare
from memcap.compare.stability import PRECONDITIONED, RAW
from memcap.compare.stale import FIGURES
from memcap.errors import BadInput
from memcap.plot import capacity_against_parameters, capacity_curves, figure, sharpness
from memcap.plot.files import write_figures
from memcap.plot.hues import DISTINCT, Hues, key_label, value_label


def test_a_panel_for_each_facet_with_one_legend() -> None:
    comparison = compare(two_activations())
    made = figure(capacity_curves, comparison, title="two")
    assert [ax.get_title(loc="left") for ax in made.axes] == ["activation = relu", "activation = silu"]
    assert [ax.get_legend() is None for ax in made.axes] == [True, False]
    first, second = made.axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[1] > comparison.capacity["ci_high"].max()
    assert made.get_suptitle() == "two"
    turned = figure(capacity_curves, comparison, facet="model.width")
    assert [ax.get_title(loc="left") for ax in turned.axes] == ["width = 16", "width = 24", "width = 32"]
    assert [text.get_text() for text in turned.axes[-1].get_legend().get_texts()][:2] == ["relu", "silu"]
    (one,) = figure(capacity_curves, comparison, facet=()).axes
    assert len([line for line in one.lines if line.get_linestyle() == "-"]) == 6


def test_a_column_for_each_metric_and_a_row_for_each_facet() -> None:
    made = figure(sharpness, two_activations(), metrics=[RAW, PRECONDITIONED])
    assert len(made.axes) == 4
    assert [ax.get_legend() is None for ax in made.axes] == [True, False, True, True]
    assert [ax.get_title(loc="left") for ax in made.axes][::2] == ["activation = relu", "activation = silu"]
    labels = [text.get_text() for text in made.axes[1].get_legend().get_texts()]
    assert "stability threshold" in labels
    assert len(labels) == len(set(labels))


def test_many_facets_are_thinned_and_one_without_data_says_so() -> None:
    parts = [plotted_frame(sizes=(50, 100), **{"activation.kind": f"a{k:02d}"}) for k in range(20)]
    for number, part in enumerate(parts):
        part["run_id"] = [f"{number:02d}{run_id[2:]}" for run_id in part["run_id"]]
    parts[0]["sharpness/top_eigenvalue"] = None
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs = {"axes": ["model.width", "activation", "data.num_samples", "seed"]}
    frame["sharpness/top_eigenvalue"] = frame["sharpness/top_eigenvalue"].astype(float)
    made = figure(sharpness, frame)
    assert made.get_suptitle() == "12 of 20 facets"
    assert [text.get_text() for text in made.axes[0].texts] == ["no data"]
    assert not made.axes[1].texts
    with pytest.raises(BadInput, match="was not measured"):
        figure(sharpness, frame, metrics=["sharpness/trace"])


def test_slopes_stand_under_each_panel() -> None:
    frame = two_activations()
    frame["model.depth"] = frame["seed"].map(lambda seed: 1)
    deep = frame.assign(**{"model.depth": 2, "run_id": [f"b{run_id[1:]}" for run_id in frame["run_id"]]})
    both = pd.concat([frame, deep], ignore_index=True)
    both.attrs = frame.attrs
    made = figure(capacity_against_parameters, both)
    assert [ax.get_title(loc="left") for ax in made.axes] == ["depth = 1", "depth = 2"]
    assert all(ax.get_legend() is not None for ax in made.axes)
    assert made.axes[0].get_xlim() == made.axes[1].get_xlim()


def test_files_are_written_whole_alike_and_only_where_there_is_data(tmp_path: Path) -> None:
    frame = two_activations()
    (tmp_path / "training.png").write_bytes(b"of an earlier comparison")
    drawn = write_figures(compare(frame), tmp_path)
    assert drawn == [name for name in FIGURES if name != "training"]  # these runs have no histories
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{kind}" for name in drawn for kind in ("png", "svg")
    )
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert all(content.startswith(b"\x89PNG") for name, content in before.items() if name.endswith("png"))
    assert b"memorized bits" in before["capacity_curves.svg"]
    write_figures(compare(frame), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    one = frame[(frame["data.num_samples"] == 100) & (frame["model.width"] == 16)]
    one.attrs = frame.attrs
    assert write_figures(compare(one), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


HOSTILE = (r"a $\bad$ b", "$", r"$\frac{$", "_hidden", "<b>&", "100 %")


@pytest.mark.parametrize(
    "times", [1, pytest.param(3, marks=pytest.mark.long)]
)  # three times as many values are a colour bar
def test_names_are_text_and_no_formulas(times: int, tmp_path: Path) -> None:
    values = [name + "$" * k for name in HOSTILE for k in range(times)]
    parts = [plotted_frame(widths=(16, 24), sizes=(50, 100, 150), **{"activation.kind": v}) for v in values]
    for number, part in enumerate(parts):
        part["run_id"] = [f"{number:02d}{run_id[2:]}" for run_id in part["run_id"]]
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs = {"axes": ["activation"], "studies": [r"a $\bad$ b"]}
    assert write_figures(compare(frame, x="model.width", hue="activation.kind"), tmp_path)
    figure(capacity_curves, frame, hue="activation.kind", facet="model.width").canvas.draw()
    figure(capacity_curves, frame, hue="model.width", facet="activation.kind").canvas.draw()
    ax = capacity_curves(frame, hue="activation.kind")
    ax.get_figure().canvas.draw()
    if times == 1:
        shown = [text.get_text() for text in ax.get_legend().get_texts()]
        assert set(HOSTILE) <= set(shown)
    assert rb"a $\bad$ b" in (tmp_path / "capacity_curves.svg").read_bytes()


def test_colours_are_distinct_and_numbers_are_ordered() -> None:
    table = pd.DataFrame({"model.width": [32, 8, 16], "activation.kind": ["relu", None, "sin"]})
    numbers = Hues(table, ["model.width"])
    assert numbers.values == [(8,), (16,), (32,)]
    assert numbers.title == "width"
    names = Hues(table, ["activation.kind"])
    assert [names.color(value) for value in names.values] == list(DISTINCT[:3])
    assert [names.label(value) for value in names.values] == ["relu", "–", "sin"]
    both = Hues(table, ["model.width", "activation.kind"])
    assert both.label((32, "relu")) == "width 32, relu"
    assert len({both.marker(value) for value in both.values}) == 3
    assert Hues(table, []).handles() == []
    assert (key_label("activation.kind"), key_label("model.embedding_dim")) == ("activation", "embedding dim")
    assert [value_label(v) for v in (True, 0.001, 10_000, "x")] == ["true", "0.001", "10,000", "x"]
