"""Laws of capacity over parameters: known answers, and intervals that cover as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame

from memcap.compare.capacity import capacity
from memcap.compare.comparison import compare
from memcap.compare.fits import Points, fit_law, fits
from memcap.compare.laws import LAWS, Linear, PowerLaw, Proportional
from memcap.compare.report.headline import headline
from memcap.compare.terminal import fit_lines

PARAMETERS = np.array([180.0, 260, 420, 740, 1380])
TRUE = {
    "proportional": lambda p: 1.3 * p,
    "linear": lambda p: 1.3 * p - 150,
    "power_law": lambda p: 40 * p**0.5,
}


def table_of(law: str, *, spread: float = 0.01, seeds: int = 4, draw: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(draw)
    parameters = {8 * 2**k: p for k, p in enumerate(PARAMETERS)}

    def bits(width: int, size: int, seed: int, rate: float) -> float:
        peak = 1 if size == 150 else 0.5
        return peak * float(TRUE[law](parameters[width])) * (1 + spread * generator.standard_normal())

    frame = synthetic_frame(widths=list(parameters), seeds=range(seeds), bits=bits)
    frame["num_parameters"] = frame["model.width"].map(parameters)
    return capacity(frame)


@pytest.mark.parametrize("law", ["proportional", "linear", "power_law"])
def test_the_true_law_is_chosen_and_found(law: str) -> None:
    table = fits(table_of(law), counts=("num_parameters",))
    (chosen,) = table[table["chosen"]].to_dict("records")
    assert chosen["law"] == law
    assert chosen["misfit"] < 4
    truth = {"proportional": {"slope": 1.3}, "linear": {"slope": 1.3, "intercept": -150},
             "power_law": {"exponent": 0.5, "prefactor": 40}}[law]  # fmt: skip
    for name, value in truth.items():
        assert chosen[f"{name}_low"] < value < chosen[f"{name}_high"]
        assert chosen[name] == pytest.approx(value, rel=0.25 if name in ("intercept", "prefactor") else 0.04)
    assert len(fits(table_of(law))) == 9  # three counts of parameters


def test_no_noise_gives_the_law_exactly() -> None:
    for law in LAWS:
        capacity_C = TRUE[law.name](PARAMETERS)
        points = Points(PARAMETERS, capacity_C, np.full(5, np.nan), np.ones(5))
        fit = fit_law(law, points)
        assert np.log(capacity_C) == pytest.approx(
            law.log_value(law.estimate(PARAMETERS, capacity_C, np.ones(5)), PARAMETERS)
        )
        assert fit.error_source == "scatter"


@pytest.mark.parametrize("seeds", [3, 6])
def test_intervals_cover_the_truth(seeds: int) -> None:
    """400 studies of five sizes: 95 % intervals of slope, intercept and exponent cover 90 to 98 %, also where
    configurations differ in their spread."""
    generator = np.random.default_rng(seeds)
    spread_C = np.array([0.02, 0.07, 0.04, 0.05, 0.03])
    covered: dict[str, list[bool]] = {}
    for _ in range(400):
        for law, name, value in [(Proportional(), "slope", 1.3), (Linear(), "slope", 1.3),
                                 (Linear(), "intercept", -150.0), (PowerLaw(), "exponent", 0.5)]:  # fmt: skip
            mean_C = TRUE[law.name](PARAMETERS)
            values_SC = mean_C * (1 + spread_C * generator.standard_normal((seeds, 5)))
            capacity_C = values_SC.mean(0)
            error_C = values_SC.std(0, ddof=1) / math.sqrt(seeds) / capacity_C
            fit = fit_law(law, Points(PARAMETERS, capacity_C, error_C, np.full(5, float(seeds))))
            low, high = fit.intervals[name]
            covered.setdefault(f"{law.name} {name}", []).append(low <= value <= high)
    shares = {name: np.mean(values) for name, values in covered.items()}
    assert all(0.90 <= share <= 0.98 for share in shares.values()), shares


def test_points_that_scatter_more_than_their_errors_widen_the_interval() -> None:
    capacity_C = TRUE["proportional"](PARAMETERS) * np.array([1.3, 0.7, 1.3, 0.7, 1.3])
    fit = fit_law(Proportional(), Points(PARAMETERS, capacity_C, np.full(5, 0.01), np.full(5, 4.0)))
    assert fit.widened > 5
    low, high = fit.intervals["slope"]
    assert high / low > 1.4


def test_one_seed_takes_its_errors_from_the_scatter_and_two_sizes_choose_nothing() -> None:
    table = fits(table_of("linear", seeds=1), counts=("num_parameters",))
    assert set(table["error_source"]) == {"scatter"}
    assert table["slope_low"].notna().sum() == 2
    two = table_of("linear")
    attrs = two.attrs
    two = two.head(2)
    two.attrs = attrs
    found = fits(two, counts=("num_parameters",))
    assert not found["chosen"].any()
    (note,) = set(found["note"])
    assert note.startswith("too few sizes to choose a law")
    one = two.head(1)
    one.attrs = attrs
    assert fits(one).empty


def test_units_do_not_matter() -> None:
    table = table_of("linear", spread=0.03)
    scaled = table.copy()
    scaled.attrs = table.attrs
    for name in ("capacity_bits", "ci_low", "ci_high"):
        scaled[name] *= 1e6
    first, second = (fits(t, counts=("num_parameters",)).set_index("law") for t in (table, scaled))
    assert second["slope"].to_numpy() == pytest.approx(1e6 * first["slope"].to_numpy(), nan_ok=True, rel=1e-6)
    assert second["exponent"].to_numpy() == pytest.approx(first["exponent"].to_numpy(), nan_ok=True)
    assert second["chosen"].tolist() == first["chosen"].tolist()


def test_each_line_has_its_own_fit() -> None:
    def bits(width: int, size: int, seed: int, rate: float) -> float:
        return 20 * width + 100 - abs(size - 150) + seed

    relu = synthetic_frame(widths=(8, 16, 32), bits=bits, **{"activation.kind": "relu"})
    silu = synthetic_frame(widths=(8, 16, 32), bits=lambda *at: 2 * bits(*at), **{"activation.kind": "silu"})
    frame = pd.concat([relu, silu], ignore_index=True)
    frame.attrs = {"axes": ["model.width", "data.num_samples", "activation", "seed"]}
    table = fits(capacity(frame), counts=("num_parameters",))
    slopes = table[table["law"] == "proportional"].set_index("activation.kind")["slope"]
    assert slopes["silu"] / slopes["relu"] == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("widths", [(8, 16, 32), (8, 16)])
def test_capacities_that_the_grid_limits_are_said_beside_the_law(widths: tuple[int, ...]) -> None:
    """Widths above 8 still grow at the last N. In the terminal and in the report's head, once for a line."""

    def bits(width: int, size: int, seed: int, rate: float) -> float:
        return 10 * width + (100 - abs(size - 150) if width == 8 else 0.5 * size) + seed

    frame = synthetic_frame(widths=widths, bits=bits)
    limited = f"; {len(widths) - 1} of {len(widths)} capacities are lower bounds, limited by the grid of N"
    comparison = compare(frame)
    lines = list(fit_lines(comparison))
    chosen = [line for line in lines if "<- chosen" in line] or lines[:1]
    assert [line for line in lines if limited in line] == chosen
    assert headline(comparison).count(limited) == 1
    inside = compare(synthetic_frame(widths=widths, bits=lambda w, n, s, r: 10 * w + 100 - abs(n - 150) + s))
    assert not any("lower bounds" in line for line in fit_lines(inside))
