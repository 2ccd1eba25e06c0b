"""Rises of the loss by hand, and their shares over a key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame
from scipy.stats import t

from memcap.compare.spikes import largest_rises, spikes
from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.run_folder import RunFolder

FALLS, RISES, SPIKES = [2.3, 1.5, 1.0, 1.05], [2.3, 1.0, 1.15, 0.9], [2.3, 1.0, 1.6, 0.9]


def history(run_id: str, losses: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"run_id": run_id, "train/step": range(len(losses)), "train/loss_nats": np.array(losses)}
    )


def test_the_largest_rise_is_over_the_best_before() -> None:
    table = pd.concat(
        [
            history("falls", FALLS),
            history("spikes", SPIKES),
            history("start", [1.0, 9.0, 1.2, 0.7]),
            history("all", [2.0, 0.5, 50.0, 0.1]),
            history("nan", [np.nan]),
        ]
    )
    rises = largest_rises(table.sample(frac=1, random_state=0))
    assert rises[["falls", "spikes", "start"]].tolist() == pytest.approx([0.05, 0.6, 0.0])
    assert rises["all"] == pytest.approx(1.5)  # no more than all that had been learned
    assert np.isnan(rises["nan"])
    with pytest.raises(BadInput, match="train/loss_nats"):
        largest_rises(pd.DataFrame({"run_id": ["a"]}))


def record(frame: pd.DataFrame, outputs: Path, losses: Sequence[list[float]]) -> None:
    """Gives the runs of a table their histories, in its order."""
    for run_id, own in zip(frame["run_id"], losses, strict=True):
        folder = RunFolder(outputs, run_id)
        folder.path.mkdir(parents=True)
        for step, loss in enumerate(own):
            atomic.append_line(folder.path / "history.jsonl", {"train/step": step, "train/loss_nats": loss})
    frame.attrs["outputs"] = str(outputs)


def test_shares_over_a_key(tmp_path: Path) -> None:
    stored = {8: [80.0, 81.0, 85.0], 16: [160.0, 170.0, 0.0]}  # what diverged counts 0
    frame = synthetic_frame(
        widths=(8, 16),
        sizes=(50,),
        seeds=(0, 1, 2),
        bits=lambda width, size, seed, rate: stored[width][seed] or 1e6,
        status=lambda width, size, seed, rate: "diverged" if (width, seed) == (16, 2) else "finished",
    )
    record(frame, tmp_path, [FALLS, RISES, SPIKES, FALLS, FALLS, FALLS])
    table = spikes(frame, "model.width")
    assert table["model.width"].tolist() == [8, 16]
    assert table["num_seeds"].tolist() == [3, 3]
    for (_, row), values in zip(table.iterrows(), stored.values(), strict=True):
        interval = t.interval(0.95, 2, loc=np.mean(values), scale=np.std(values, ddof=1) / np.sqrt(3))
        assert row[["bits", "bits_low", "bits_high"]].tolist() == pytest.approx([np.mean(values), *interval])
    assert table["spiking_share"].tolist() == pytest.approx([1 / 3, 1 / 3]), "0.15 is below 0.1 log 10"
    assert table["diverged_share"].tolist() == pytest.approx([0, 1 / 3])
    assert table["rise_nats"].tolist() == pytest.approx([0.15, 0.05]), "the median"
    with pytest.raises(BadInput, match=r"activation\.frequency is no key"):
        spikes(frame, "activation.frequency")


def test_of_restarts_the_best_one_s_spikes_count(tmp_path: Path) -> None:
    frame = synthetic_frame(sizes=(50,), seeds=(0, 0, 1, 1), bits=lambda *_: 80.0)
    frame["restart"] = [0, 1, 0, 1]
    frame["train/loss_nats"] = [0.2, 0.1, 0.1, 0.2]
    record(frame, tmp_path, [FALLS, SPIKES, FALLS, SPIKES])
    (row,) = spikes(frame, "model.width").to_dict("records")
    assert (row["num_seeds"], row["spiking_share"]) == (2, 0.5)
    assert row["rise_nats"] == pytest.approx((0.6 + 0.05) / 2)


def test_seeds_are_counted_once() -> None:
    frame = synthetic_frame(
        widths=(8,), sizes=(50, 60), seeds=(0, 1), bits=lambda width, size, seed, rate: 10.0
    )
    with pytest.raises(
        BadInput, match=r"seed 0 has several runs at equal model\.width and optimizer\.learning_rate"
    ):
        spikes(frame, "model.width")
