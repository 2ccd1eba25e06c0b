"""report.html as text: what is in it, how values get into it, and which commands stand behind a point."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame
from compositions import composed_config
from hypothesis import given, settings
from hypothesis import strategies as st
from plot_cases import plotted_frame

from memcap import cells as training
from memcap.compare.__main__ import main
from memcap.compare.comparison import compare
from memcap.compare.frame import load_frame
from memcap.compare.over_samples import over_samples
from memcap.compare.report import capacity_figures, embedding, measure_figures
from memcap.compare.report.commands import Commands
from memcap.compare.report.drawing import MOST_PANELS, Drawing
from memcap.compare.report.page import report_html, write_report
from memcap.compare.report.sections import sections
from memcap.compare.stability import PRECONDITIONED, RAW, THRESHOLD
from memcap.config.cell import Cell
from memcap.config.identity import run_id
from memcap.plot.files import write_figures
from memcap.study.rerun import rerun_line

ROOT = Path(__file__).parents[2]
AXES = ["data.num_samples", "optimizer.learning_rate", "seed"]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("page") / "outputs"
    fixed = ("budget.steps=5", "measure=light", "tracking=disabled", f"paths.outputs={outputs}", "study=page")
    own = ("activation=silu", "model.width=4")
    cells = []
    for values in [(n, r, s) for n in (10, 20) for r in (0.03, 0.01) for s in (0, 1)]:
        texts = [f"{axis}={value}" for axis, value in zip(AXES, values, strict=True)]
        cells.append(Cell.from_values(composed_config(*fixed, *own, *texts).to_dict(), tuple(texts)))
    training.train_cells(cells, AXES, "python -m memcap.train")
    return outputs


def test_the_command_of_a_run_is_that_of_show(outputs: Path) -> None:
    frame = load_frame("page", outputs)
    commands = Commands(frame, ["optimizer.learning_rate"])
    for row, name in enumerate(frame["run_id"]):
        record = json.loads((outputs / "runs" / name[:2] / name / "result.json").read_text())
        assert commands.of_run(row) == rerun_line(record["config"], str(outputs))


def test_the_command_of_a_point_trains_exactly_its_runs(outputs: Path) -> None:
    """The sweep's own composition gives the ids of the runs behind the point."""
    frame = load_frame("page", outputs)
    drawing = Drawing(compare(frame))
    group = drawing.groups[-1 - drawing.point_of_runs(0, 20)]
    words = shlex.split(group["command"])
    assert words[:4] == ["python", "-m", "memcap.train", "-m"]
    swept = dict(word.split("=", 1) for word in words[4:] if word.split("=")[0] in AXES[1:])
    rest = [word for word in words[4:] if word.split("=")[0] not in AXES[1:]]
    found = {
        run_id(composed_config(*rest, f"optimizer.learning_rate={rate}", f"seed={seed}"))
        for rate in swept["optimizer.learning_rate"].split(",")
        for seed in swept["seed"].split(",")
    }
    assert (
        found
        == set(frame["run_id"].iloc[group["runs"]])
        == set(frame["run_id"][frame["data.num_samples"] == 20])
    )


def test_the_command_of_a_point_trains_no_run_that_never_was(outputs: Path) -> None:
    """As in a search: the best learning rate with more seeds than the other one."""
    frame = load_frame("page", outputs)
    best = frame["optimizer.learning_rate"] == 0.01
    frame["memory/bits"] = frame["data.num_samples"] + 5.0 * best
    gone = (frame["data.num_samples"] == 20) & ~best & (frame["seed"] == 1)
    incomplete = frame[~gone].reset_index(drop=True)
    incomplete.attrs = frame.attrs
    drawing = Drawing(compare(incomplete))
    group = drawing.groups[-1 - drawing.point_of_runs(0, 20)]
    assert len(group["runs"]) == 3
    assert {"optimizer.learning_rate=0.01", "seed=0,1"} <= set(shlex.split(group["command"]))
    commands = Commands(incomplete, ["optimizer.learning_rate"])
    for rows in ([], group["runs"]):
        assert commands.of_runs(group["runs"], rows).startswith("python -m memcap.show ")


def test_of_w_and_b_a_command_needs_a_record(outputs: Path, tmp_path: Path) -> None:
    frame = load_frame("page", outputs)
    frame.attrs["source"] = "wandb:someone/project"
    assert Commands(frame, []).of_run(0).startswith("python -m memcap.train ")
    frame.attrs["outputs"] = str(tmp_path)
    drawing = Drawing(compare(frame))
    assert drawing.commands.of_run(0) == drawing.groups[-1 - drawing.point_of_runs(0, 20)]["command"] == ""


def test_without_records_a_command_shows_the_run() -> None:
    frame = synthetic_frame(bits=lambda w, n, s, r: 1.0 * n)
    assert Commands(frame, []).of_run(0).startswith("python -m memcap.show 000000000000")


@given(st.none() | st.booleans() | st.floats() | st.integers(-(2**53), 2**53) | st.text())
def test_any_value_gets_into_a_script_and_back(value: object) -> None:
    plain = embedding.rounded(value, 17)
    written = embedding.script_json(plain)
    assert not set(written) & set("<>&\u2028")
    assert json.loads(written) == plain


@given(st.text())
@settings(max_examples=40)
def test_any_text_is_text(text: str) -> None:
    assert not set(embedding.text(text)) & set("<>\"'")
    assert not set(embedding.chart_text(text)) & set("<>")


def test_rounded_keeps_six_digits() -> None:
    values = [np.float64(123.4567891), np.nan, np.inf, None, np.int64(7), 1e-9 / 3, True, 2.0]
    assert embedding.numbers(values) == [123.457, None, None, None, 7, 3.33333e-10, True, 2]


def test_a_page_has_what_was_measured_and_no_more() -> None:
    frame = synthetic_frame(widths=(4, 8), bits=lambda w, n, s, r: min(n * 3.0, 50.0 * w) + s)
    names = [section.name for section in sections(Drawing(compare(frame)))]
    assert names == ["curves", "parameters", "configurations", "sharpness", "ledger", "runs"]
    html = report_html(compare(frame))
    assert re.findall(r'<section id="(\w+)"', html) == ["summary", *names]
    assert 'http-equiv="Content-Security-Policy" content="default-src &#x27;none&#x27;' in html
    assert not re.search(
        r"<(?:link|img|iframe)[^>]*(?:src|href)=(?![\"']?data:)", html.partition("<script")[0]
    )


@pytest.mark.parametrize(("place", "values"), [("x", 1), ("x", [1, 2]), ("hue", "same"), ("facet", 1)])
def test_a_key_that_is_the_same_in_all_runs_can_be_an_axis(
    place: str, values: object, tmp_path: Path
) -> None:
    frame = synthetic_frame(widths=(4, 8), bits=lambda w, n, s, r: min(n * 3.0, 20.0 * w) + s)
    frame["data.same"] = [values] * len(frame)
    comparison = compare(frame, **{place: "data.same"})
    assert comparison.capacity["model.width"].tolist() == [4, 8]
    assert embedding.text(f"data.same={values}") in report_html(comparison)
    assert "capacity_curves" in write_figures(comparison, tmp_path)


def test_the_threshold_of_stability_spans_the_plot_and_is_left_out_where_it_differs() -> None:
    def drawn(frame: pd.DataFrame) -> dict[str, Any]:
        return {figure["metric"]: figure for figure in measure_figures.sharpness(Drawing(compare(frame)))}

    def thresholds(figure: dict[str, Any]) -> list[Any]:
        return [(t["x"], t["y"]) for t in figure["data"] if t.get("name") == "unstable above"]

    frame = plotted_frame()
    adam = drawn(frame)
    assert thresholds(adam[PRECONDITIONED]) == [([0, 300], [3800, 3800])]
    assert thresholds(adam[RAW]) == []
    descent = frame.drop(columns=PRECONDITIONED).assign(**{"optimizer.kind": "sgd", THRESHOLD: 1e5})
    descent.attrs = frame.attrs
    (figure,) = drawn(descent).values()
    assert thresholds(figure) == [([0, 300], [1e5, 1e5])]
    assert figure["layout"]["yaxis"]["range"][1] > 5, "a line that the legend names is in the picture"
    descent.loc[0, THRESHOLD] = 200.0
    (figure,) = drawn(descent).values()
    assert thresholds(figure) == []
    assert figure["title"].endswith("thresholds of stability differ (200 to 100000), none is drawn")


def test_report_and_plot_draw_the_same_means() -> None:
    comparison = compare(plotted_frame())
    (figure, _) = measure_figures.sharpness(Drawing(comparison))
    lines = [trace for trace in figure["data"] if trace["mode"] == "lines+markers"]
    table = over_samples(comparison, RAW)
    assert [y for trace in lines for y in trace["y"]] == embedding.numbers(table["center"])
    assert [x for trace in lines for x in trace["x"]] == table["num_samples"].tolist()


def test_laws_are_drawn_from_the_first_point_to_the_last() -> None:
    frame = synthetic_frame(widths=(4, 8, 16), bits=lambda w, n, s, r: min(n * 3.0, 20.0 * w) + s)
    (figure,) = capacity_figures.capacity_against_parameters(Drawing(compare(frame)))
    lines = [trace for trace in figure["data"] if trace["mode"] == "lines" and "fill" not in trace]
    assert len(lines) == 3
    assert {(trace["x"][0], trace["x"][-1]) for trace in lines} == {(180, 420)}


def test_alarms_come_first() -> None:
    frame = synthetic_frame(widths=(4, 8), bits=lambda w, n, s, r: n * 3.0 + s)  # the width has no effect
    html = report_html(compare(frame))
    assert html.index('id="alarms"') < html.index('id="summary"')
    assert "identical numbers" in html


def test_many_configurations_are_panels_with_an_end() -> None:
    frame = pd.concat(
        synthetic_frame(widths=(2, 4, 8), sizes=(10, 20), seeds=(0, 1), bits=lambda w, n, s, r: n + s + w,
                        **{"model.depth": depth})
        for depth in range(1, 16)
    ).reset_index(drop=True)  # fmt: skip
    frame["run_id"] = [f"{row:012x}" for row in range(len(frame))]
    drawing = Drawing(compare(frame, x="model.width"))
    assert len(drawing.all_panels) == 15
    assert len(drawing.panels) == MOST_PANELS
    assert {len(panel.configurations) for panel in drawing.all_panels} == {3}
    assert sorted(c for panel in drawing.all_panels for c in panel.configurations) == list(range(45))


def test_the_command_writes_it_last_and_leaves_it_out(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = outputs / "studies" / "page" / "compare" / "report.html"
    assert main(["study=page", "figures=0", f"paths.outputs={outputs}", "report=0"]) == 0
    assert "report.html" not in capsys.readouterr().out
    assert not path.exists()
    assert main(["study=page", "figures=0", f"paths.outputs={outputs}"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"report:   {path}"
    assert path.stat().st_size < 6e6
    assert main(["study=page", "report=maybe"]) == 2


def test_what_is_left_out_is_not_left_behind(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = outputs / "studies" / "page" / "compare"
    folder.mkdir(exist_ok=True)
    for name in ("report.html", "sharpness.png", "sharpness.svg", "mine.png"):
        (folder / name).write_text("of an earlier comparison")
    words = ["study=page", f"paths.outputs={outputs}", "figures=0"]
    assert main([*words, "y=samples", "report=0"]) == 0
    removed = "removed:  sharpness.png, sharpness.svg, report.html of an earlier comparison\n"
    assert removed in capsys.readouterr().out
    left = {path.name for path in folder.iterdir() if path.suffix in (".html", ".png", ".svg")}
    assert left == {"mine.png"}
    assert main([*words, "report=0"]) == 0
    assert "removed:" not in capsys.readouterr().out


def test_it_is_replaced_whole(tmp_path: Path) -> None:
    comparison = compare(synthetic_frame(bits=lambda w, n, s, r: 1.0 * n))
    assert write_report(comparison, tmp_path) == tmp_path / "report.html"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report_html(comparison)
