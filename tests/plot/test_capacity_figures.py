"""Capacity over N and over parameters: what is on the axes is what the tables say."""

from __future__ import annotations

import numpy as np
import pytest
from comparison_cases import BITS_PER_LABEL
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plot_cases import SIZES, band_ends, bar_ends, plotted_frame, two_activations

import memcap
from memcap.compare.comparison import compare
from memcap.compare.fit_error import Points, fit_band
from memcap.compare.laws import LAWS
from memcap.errors import BadInput
from memcap.plot import capacity_against_parameters, capacity_curves


def entries(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def solid_lines(ax: Axes, points: int) -> list[np.ndarray]:
    """Solid lines of so many points, [points, 2] each."""
    solid = [line for line in ax.lines if line.get_linestyle() == "-"]
    return [np.asarray(line.get_xydata()) for line in solid if len(line.get_xdata()) == points]


def test_curves_bands_capacities_and_the_diagonal() -> None:
    comparison = compare(plotted_frame())
    ax = Figure().add_subplot()
    assert capacity_curves(comparison, ax) is ax
    curves = comparison.curves
    for line, (_, expected) in zip(solid_lines(ax, 6), curves.groupby("model.width"), strict=True):
        np.testing.assert_allclose(line, expected[["num_samples", "mean"]])
    for band, (_, expected) in zip(band_ends(ax), curves.groupby("model.width"), strict=True):
        np.testing.assert_allclose(band, expected[["low", "high"]])
    np.testing.assert_allclose(bar_ends(ax)[0], comparison.capacity[["ci_low", "ci_high"]])
    diamonds = ax.collections[-1].get_offsets()
    np.testing.assert_allclose(diamonds, comparison.capacity[["best_num_samples", "capacity_bits"]])
    (diagonal,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(diagonal.get_ydata(), np.array(SIZES) * BITS_PER_LABEL)
    assert entries(ax) == ["16", "24", "32", "capacity, 95 % CI", "all memorized, N log₂ V"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("N (samples)", "memorized bits")
    highest = max(curves["high"].max(), comparison.capacity["ci_high"].max())
    assert highest < ax.get_ylim()[1] < 1.2 * highest  # the diagonal leaves the picture
    assert ax.get_ylim()[0] == 0


def test_diverged_runs_and_an_exact_reference_are_marked() -> None:
    def status(width: int, size: int, seed: int, rate: float) -> str:
        return "diverged" if size == 300 and seed == 0 else "finished"

    frame = plotted_frame(status=status)
    frame["model.kind"], frame["data.num_classes"], frame["data.input_dim"] = "linear", 2, 40
    ax = capacity_curves(frame)
    assert "exact" in entries(ax)
    assert "some runs diverged" in entries(ax)
    stars = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "*"]
    assert stars == [[[80.0, 80.0]]] * 3
    crosses = [line.get_xdata().tolist() for line in ax.lines if line.get_marker() == "x"]
    assert crosses == [[300.0]] * 3


def test_more_than_ten_values_have_a_colour_bar_and_more_than_forty_lines_are_thinned() -> None:
    figure = Figure()
    ax = capacity_curves(plotted_frame(widths=range(10, 70), sizes=(50, 400)), figure.add_subplot())
    assert len(solid_lines(ax, 2)) == 40
    assert ax.get_legend().get_title().get_text() == "40 of 60 drawn"
    (bar,) = ax.child_axes
    assert bar.get_ylabel() == "width"
    assert bar.get_ylim() == (10, 69)


def test_a_wide_range_of_sizes_makes_axes_logarithmic() -> None:
    sizes = (10, 100, 1000, 10_000)
    ax = capacity_curves(plotted_frame(sizes=sizes, widths=(4, 4000)))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert capacity_curves(plotted_frame()).get_xscale() == "linear"


def test_points_their_law_and_its_slope() -> None:
    comparison = compare(plotted_frame(widths=(8, 16, 24, 32)))
    ax = capacity_against_parameters(comparison, count="num_parameters_without_head")
    table, fits = comparison.capacity, comparison.fits
    points = next(line for line in ax.lines if line.get_marker() == "o").get_xydata()
    np.testing.assert_allclose(points, table[["num_parameters_without_head", "capacity_bits"]])
    np.testing.assert_allclose(bar_ends(ax)[0], table[["ci_low", "ci_high"]])
    rows = fits[fits["parameter_count"] == "num_parameters_without_head"]
    (chosen,) = rows[rows["chosen"]].to_dict("records")
    name = "exponent" if chosen["law"] == "power_law" else "slope"
    assert f"{chosen[name]:.3g} [" in entries(ax)[0]
    assert [len(line.get_xdata()) for line in ax.lines].count(60) == 3
    thick = max(line.get_linewidth() for line in ax.lines)
    (drawn,) = [line for line in ax.lines if line.get_linewidth() == thick]
    if chosen["law"] == "proportional":
        np.testing.assert_allclose(drawn.get_ydata() / drawn.get_xdata(), chosen["slope"])
    assert ax.get_xlabel() == "P (parameters without the head)"
    assert ax.get_xlim()[0] == ax.get_ylim()[0] == 0


def test_each_line_has_its_colour_and_its_slope() -> None:
    ax = capacity_against_parameters(two_activations(), count="num_parameters_without_head")
    named = [text for text in entries(ax) if not text.startswith("not chosen")]
    assert [text.split(":")[0] for text in named] == ["relu", "silu"]
    assert len({line.get_color() for line in ax.lines if len(line.get_xdata()) == 3}) == 2


def test_the_band_of_a_law_is_that_of_its_coefficient_and_covers_the_truth() -> None:
    """For C = aP the band is a's interval times P; for the others 95 % bands cover 90 to 98 % of 300 studies."""
    parameters = np.array([180.0, 260, 420, 740, 1380])
    generator = np.random.default_rng(0)
    at, covered = np.array([200.0, 600, 1300]), {law.name: [] for law in LAWS}
    for _ in range(300):
        values_SC = 1.3 * parameters * (1 + 0.05 * generator.standard_normal((4, 5)))
        mean = values_SC.mean(0)
        points = Points(parameters, mean, values_SC.std(0, ddof=1) / 2 / mean, np.full(5, 4.0))
        for law in LAWS:
            middle, low, high = fit_band(law, points, at)
            assert ((low < middle) & (middle < high)).all()
            covered[law.name] += ((low < 1.3 * at) & (1.3 * at < high)).tolist()
            if law.name == "proportional":
                assert np.ptp(high / at) < 1e-9 * high[0]
    shares = {name: np.mean(values) for name, values in covered.items()}
    assert all(0.90 <= share <= 0.985 for share in shares.values()), shares


@pytest.mark.parametrize(
    ("draw", "frame", "what"),
    [
        (capacity_curves, plotted_frame(sizes=(100,)), "two or more data.num_samples"),
        (capacity_against_parameters, plotted_frame(widths=(8,)), "two or more values of num_parameters"),
        (capacity_curves, {"no": "table"}, "a figure takes a table of runs"),
    ],
)
def test_without_data_nothing_is_drawn(draw: object, frame: object, what: str) -> None:
    with pytest.raises(BadInput, match=what) as error:
        draw(frame)  # type: ignore[operator]
    assert "\n" not in str(error.value)


def test_a_hue_that_is_not_compared_is_said() -> None:
    with pytest.raises(BadInput, match=r"did you mean model\.width"):
        capacity_curves(plotted_frame(), hue="model.widht")


def test_names_in_the_package() -> None:
    assert memcap.plot.capacity_curves is capacity_curves
    assert memcap.comparison is compare
    assert {"plot", "comparison"} <= set(dir(memcap))
