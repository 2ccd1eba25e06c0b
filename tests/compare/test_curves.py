"""Bits against N with bands."""

from __future__ import annotations

import numpy as np
import pytest
from comparison_cases import BITS_PER_LABEL, synthetic_frame

from memcap.compare.curves import bootstrap_bands, curves


def test_means_bands_and_diagonal() -> None:
    frame = synthetic_frame(rates=(0.1, 0.01), bits=lambda w, size, s, r: size + s - 50 * (r > 0.05))
    table = curves(frame)
    assert table["num_samples"].tolist() == [50, 100, 150, 200, 250]
    assert table["mean"].to_numpy() == pytest.approx(table["num_samples"].to_numpy() + 1.5)
    assert table["diagonal"].to_numpy() == pytest.approx(table["num_samples"].to_numpy() * BITS_PER_LABEL)
    assert (table["low"] >= table["num_samples"]).all()
    assert (table["high"] <= table["num_samples"] + 3).all()
    assert (table["low"] < table["mean"]).all()
    assert curves(frame).equals(table)  # the same seed, the same band


def test_bands_cover_the_mean() -> None:
    generator = np.random.default_rng(0)
    for seeds, least in ((3, 0.70), (5, 0.90), (10, 0.92)):
        low, high = bootstrap_bands(list(generator.standard_normal((1500, seeds))))
        assert least <= np.mean((low < 0) & (high > 0)) <= 0.98, seeds


def test_one_seed_has_no_band() -> None:
    table = curves(synthetic_frame(seeds=(3,), bits=lambda w, size, s, r: size))
    assert table["low"].isna().all()
    assert (table["num_seeds"] == 1).all()
