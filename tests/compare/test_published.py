"""Published numbers: of presets that exist, and beside what was measured as it is defined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame
from compositions import composed_values
from scipy.stats import t

import memcap
from memcap.compare.comparison import compare
from memcap.compare.published import PUBLISHED, beside_published, published
from memcap.compare.quantity import SHORT_NAMES
from memcap.errors import BadInput

THREE = [1.0, 2.0, 4.0]  # of three seeds


def bits(width: int, size: int, seed: int, rate: float) -> float:
    """Each seed has its peak at an N of its own."""
    return 10.0 * width - abs(size - (100 + 50 * (seed % 2))) + THREE[seed]


def mine(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(
        {"metric": "memory/bits", "what": "peak", "num_samples": np.nan, **columns}, index=[0]
    )


@pytest.mark.parametrize("preset", PUBLISHED)
def test_the_numbers_are_of_the_preset_s_own_axis_and_quantity(preset: str) -> None:
    table, drawn = published(preset), composed_values(f"experiment={preset}")["compare"]
    assert table.columns[0] == drawn["x"]
    drawn_metric = "sharpness/top_eigenvalue" if preset == "memory1/jamming" else SHORT_NAMES[drawn["y"]]
    assert set(table["metric"]) == {drawn_metric}
    assert (table["published"] > 0).all()
    assert not table.duplicated([table.columns[0], "what", "num_samples"]).any()


def test_a_preset_without_numbers_is_one_line() -> None:
    with pytest.raises(
        BadInput, match=r"no published numbers of memory2/widht \(did you mean memory2/width\?\)"
    ):
        memcap.published("memory2/widht")
    with pytest.raises(BadInput, match="published is a preset's name"):
        beside_published(
            compare(synthetic_frame(bits=bits, seeds=range(3))), pd.DataFrame({"published": [1]})
        )


def test_a_peak_stands_beside_the_mean_of_each_seed_s_own_maximum() -> None:
    comparison = compare(synthetic_frame(bits=bits, widths=(8, 10, 12), seeds=range(3)))
    table = memcap.beside_published(comparison, "memory2/width")
    assert table["model.width"].tolist() == [10], "published and run"
    (row,) = table.to_dict("records")
    half = t.ppf(0.975, 2) * np.std(THREE, ddof=1) / np.sqrt(3)
    assert (row["published"], row["num_seeds"]) == (664, 3)
    assert row["measured"] == pytest.approx(100 + np.mean(THREE))
    assert (row["low"], row["high"]) == pytest.approx((row["measured"] - half, row["measured"] + half))


def test_what_is_fixed_tells_configurations_apart_as_well() -> None:
    one_width = compare(synthetic_frame(bits=bits, widths=(20,), seeds=range(3)))
    assert "model.width" not in one_width.capacity
    assert beside_published(one_width, "memory2/width")["published"].tolist() == [1215]
    assert beside_published(one_width, "memory2/sine").empty, "these runs have no frequency"


def test_a_table_without_rows_is_bad_input() -> None:
    measured = compare(synthetic_frame(bits=bits, seeds=range(3)))
    with pytest.raises(BadInput, match="published has no rows"):
        beside_published(measured, mine(num_samples=150.0, published=1.0).iloc[:0])


def test_at_a_published_n_the_mean_is_that_of_its_runs() -> None:
    frame = synthetic_frame(
        bits=bits,
        widths=(10,),
        seeds=range(3),
        status=lambda w, n, s, r: "diverged" if s == 2 else "finished",
    )
    given = mine(**{"model.width": 10, "num_samples": 150.0, "published": 1.0})
    (row,) = beside_published(compare(frame), given).to_dict("records")
    assert row["measured"] == pytest.approx((51 + 102 + 0) / 3), "a diverged run counts 0"
    elsewhere = beside_published(compare(frame), given.assign(num_samples=160.0))
    assert elsewhere[["measured", "low", "high"]].isna().all(axis=None)
    assert elsewhere["num_seeds"].tolist() == [0]


def test_sharpness_is_averaged_geometrically_and_one_seed_has_no_interval() -> None:
    frame = synthetic_frame(bits=bits, widths=(10,), seeds=range(3), sharpness=lambda w, n, s, r: 10.0**s)
    given = mine(metric="sharpness/top_eigenvalue", num_samples=100.0, published=1.0)
    (row,) = beside_published(compare(frame), given).to_dict("records")
    assert row["measured"] == pytest.approx(10)
    assert row["low"] * row["high"] == pytest.approx(100)
    one = frame[frame["seed"] == 1].reset_index(drop=True)
    one.attrs = frame.attrs
    (row,) = beside_published(compare(one), given).to_dict("records")
    assert row["measured"] == pytest.approx(10)
    assert np.isnan(row["low"])
