"""report.html in a real Chromium: drawn without a complaint, without the network, and usable by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_cases import multiply, train_small_study

from memcap.compare.__main__ import main
from memcap.compare.comparison import compare
from memcap.compare.frame import load_frame
from memcap.compare.report.page import report_html

HOSTILE = (
    "</script><script>window.taken=1</script><img src=x onerror=window.taken=1><a href='javascript:1'>x</a>"
)
SECTIONS = [
    "summary",
    "curves",
    "parameters",
    "configurations",
    "training",
    "sharpness",
    "gradients",
    "ledger",
    "runs",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("report") / "outputs"
    train_small_study(outputs)
    return outputs


@pytest.fixture(scope="module")
def report(outputs: Path) -> Path:
    assert main(["study=small", "figures=0", f"paths.outputs={outputs}"]) == 0
    return outputs / "studies" / "small" / "compare" / "report.html"


@pytest.fixture(scope="module")
def opened(report: Path, open_page: Callable[..., Any]) -> Any:
    """The report, open in light colours; tests leave it as they found it, but for filters and where it stands."""
    return open_page(report)


def test_it_is_drawn_without_complaint_and_without_network(opened: Any) -> None:
    page = opened.page
    assert [element.get_attribute("id") for element in page.query_selector_all("main > section")] == SECTIONS
    for figure in page.query_selector_all("[data-figure]"):
        figure.scroll_into_view_if_needed()
    opened.wait_until("document.querySelectorAll('[data-figure]:not(.js-plotly-plot)').length === 0")
    assert page.locator("[data-figure] .main-svg .xy").count() >= 8
    assert opened.complaints == []
    assert opened.requests == []


def test_dark_narrow_and_on_paper(report: Path, open_page: Callable[..., Any]) -> None:
    opened = open_page(report, color_scheme="dark")
    page = opened.page
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill.match(/\\d+/)[0] > 128"
    assert page.evaluate(ink)
    page.set_viewport_size({"width": 420, "height": 800})
    opened.wait_until("[...document.querySelectorAll('.main-svg')].every(svg => svg.clientWidth <= 420)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    opened.wait_until(f"!({ink})")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert opened.complaints == []


def test_a_point_says_its_run_and_a_click_copies_its_command(opened: Any, outputs: Path) -> None:
    runs = load_frame("small", outputs).set_index("run_id")
    said = opened.hover("[data-figure='sharpness.0'] .trace .point", 3)
    (run_id,) = re.findall(r"run ([0-9a-f]{12})", said)
    command = opened.page.inner_text("#tip code")
    assert f"data.num_samples={runs.loc[run_id, 'data.num_samples']}" in command
    opened.click_here()
    assert opened.clipboard() == command
    assert shlex.split(command)[:3] == ["python", "-m", "memcap.train"]


def test_a_mean_says_all_its_runs(opened: Any, outputs: Path) -> None:
    named = set(re.findall(r"\b[0-9a-f]{12}\b", opened.hover("#parameters .point")))
    frame = load_frame("small", outputs)
    behind = frame[frame["run_id"].isin(named)]
    assert len(named) == 4
    assert behind["model.width"].nunique() == behind["data.num_samples"].nunique() == 1
    command = opened.page.inner_text("#tip code")
    assert " -m " in command.partition("memcap.train")[2]
    assert "seed=0,1" in command
    assert "optimizer.learning_rate=0.01,0.03" in command


def test_tables_sort_filter_and_copy_by_keyboard(opened: Any, outputs: Path) -> None:
    page, frame = opened.page, load_frame("small", outputs)
    table = page.locator("#runs .table")

    def column(name: str) -> list[str]:
        names = table.locator("thead tr").first.locator("th").all_inner_texts()
        place = [text.rstrip(" ↑↓") for text in names].index(name) + 1
        return table.locator(f"tbody td:nth-child({place})").all_inner_texts()

    table.get_by_role("button", name="memory/bits", exact=True).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    top = [float(value) for value in column("memory/bits")]
    assert top == pytest.approx(frame["memory/bits"].nlargest(len(top)).tolist(), rel=1e-5)
    assert table.locator("th[aria-sort='descending']").count() == 1
    table.get_by_label("filter model.width").fill(">2 <8")
    table.get_by_label("filter data.num_samples").fill("30..60")
    assert set(column("model.width")) == {"4"}
    assert set(column("data.num_samples")) == {"30", "60"}
    assert "1 to 8 of 8 (48 without filter)" in table.locator(".count").inner_text()
    run_id = column("run_id")[-1]
    table.get_by_label("filter all columns").fill(run_id[:8])
    assert column("run_id") == [run_id]
    table.locator("button.copy").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#toast.shown")
    opened.wait_until(
        f"document.getElementById('toast').textContent.includes('data.num_samples={column('data.num_samples')[0]}')"
    )
    assert f"data.num_samples={column('data.num_samples')[0]}" in opened.clipboard()
    assert opened.complaints == []


def test_hostile_names_are_text(outputs: Path, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    frame = load_frame("small", outputs)
    frame["activation.formula"] = frame["model.width"].map(
        {2: "x", 4: HOSTILE, 8: f"sin(x) {HOSTILE} &lt;b&gt;"}
    )
    frame["study"] = HOSTILE
    frame["stop_reason"] = HOSTILE
    frame["activation.scale"] = HOSTILE  # fixed in all runs
    frame.attrs["studies"] = [HOSTILE]
    frame.attrs["unusable"] = [HOSTILE]
    path = tmp_path / "hostile.html"
    path.write_text(report_html(compare(frame, x="activation.formula", hue="model.width")), encoding="utf-8")
    opened = open_page(path)
    assert opened.page.inner_text("h1") == HOSTILE
    assert opened.page.title().startswith(HOSTILE)
    assert HOSTILE in opened.page.inner_text("#alarms")
    assert HOSTILE in opened.page.inner_text("#configurations")
    assert any(HOSTILE in text for text in opened.page.locator(".legendtext").all_text_contents())
    assert HOSTILE in opened.hover("#parameters .point", 1)
    assert opened.page.evaluate("window.taken === undefined")
    assert opened.page.locator("img[src=x], a[href^=javascript], svg a").count() == 0
    assert opened.complaints == []
    assert opened.requests == []


def test_an_injected_script_would_not_run(
    report: Path, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """The second line of defence: whatever gets into the page, only scripts that were written with it run."""
    path = tmp_path / "injected.html"
    written = re.sub(r"<script>/\*\*.*?</script>", "", report.read_text(encoding="utf-8"), flags=re.DOTALL)
    path.write_text(
        written.replace("<main>", f"<main>{HOSTILE}<img src=https://example.org/x>"), encoding="utf-8"
    )
    opened = open_page(path, drawn=False)
    assert opened.page.evaluate("window.taken === undefined")
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)
    assert opened.requests == []


def test_a_thousand_runs(
    outputs: Path, tmp_path: Path, open_page: Callable[..., Any], record_property: Callable[..., None]
) -> None:
    multiply(outputs, tmp_path / "outputs", 1000)
    assert main(["study=small", "figures=0", f"paths.outputs={tmp_path / 'outputs'}"]) == 0
    path = tmp_path / "outputs" / "studies" / "small" / "compare" / "report.html"
    assert path.stat().st_size <= 10e6
    opened = open_page(path)
    page = opened.page
    timing = page.evaluate("({...document.documentElement.dataset})")
    print(f"1,000 runs: {path.stat().st_size / 1e6:.1f} MB, ready after {timing['readyMs']} ms")
    record_property("ready_ms", timing["readyMs"])
    table = page.locator("#runs .table")
    assert "of 1000" in table.locator(".count").inner_text()
    assert table.locator("tbody tr").count() <= 50
    table.get_by_label("filter seed").fill(">=40")
    table.get_by_role("button", name="next").click()
    assert re.match(r"26 to \d+ of", table.locator(".count").inner_text())
    assert opened.complaints == []


def test_what_was_not_measured_is_left_out(
    outputs: Path, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    frame = load_frame("small", outputs)
    attrs = frame.attrs
    dropped = [name for name in frame if str(name).startswith(("sharpness/", "gradients/"))]
    frame = frame[(frame["data.num_samples"] == 60) & (frame["model.width"] == 8)].drop(columns=dropped)
    frame.attrs = {**attrs, "outputs": str(tmp_path / "gone")}  # no histories, no records
    path = tmp_path / "one.html"
    path.write_text(report_html(compare(pd.DataFrame(frame))), encoding="utf-8")
    opened = open_page(path)
    sections = [element.get_attribute("id") for element in opened.page.query_selector_all("main > section")]
    assert sections == ["summary", "configurations", "ledger", "runs"]
    assert (
        opened.page.locator("#runs tbody tr")
        .first.locator("button")
        .get_attribute("title")
        .startswith("python -m memcap.show ")
    )
    assert opened.complaints == []
