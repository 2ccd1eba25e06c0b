"""Rises of the loss by hand, and their shares over a key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparison_cases import synthetic_frame

from memcap.compare.spikes import largest_rises, spikes
from memcap.errors import BadInput
from memcap.records import atomic
from memcap.records.run_folder import RunFolder

FALLS, SPIKES = [2.3, 1.5, 1.0, 1.05], [2.3, 1.0, 1.6, 0.9]


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


def test_shares_over_a_key(tmp_path: Path) -> None:
    frame = synthetic_frame(
        widths=(8, 16),
        sizes=(50,),
        seeds=(0, 1),
        bits=lambda width, size, seed, rate: 10.0 * width + seed,
        status=lambda width, size, seed, rate: "diverged" if (width, seed) == (16, 1) else "finished",
    )
    for run_id, losses in zip(frame["run_id"], (FALLS, SPIKES, FALLS, FALLS), strict=True):
        folder = RunFolder(tmp_path, run_id)
        folder.path.mkdir(parents=True)
        for step, loss in enumerate(losses):
            atomic.append_line(folder.path / "history.jsonl", {"train/step": step, "train/loss_nats": loss})
    frame.attrs["outputs"] = str(tmp_path)
    table = spikes(frame, "model.width")
    assert table["model.width"].tolist() == [8, 16]
    assert table["bits"].tolist() == [80.5, 80.0]  # what diverged counts 0
    assert table["spiking_share"].tolist() == [0.5, 0.5]
    assert table["diverged_share"].tolist() == [0.0, 0.5]
    assert table["rise_nats"].tolist() == pytest.approx([(0.05 + 0.6) / 2, 0.05])
    with pytest.raises(BadInput, match=r"activation\.frequency is no key"):
        spikes(frame, "activation.frequency")


def test_seeds_are_counted_once() -> None:
    frame = synthetic_frame(
        widths=(8,), sizes=(50, 60), seeds=(0, 1), bits=lambda width, size, seed, rate: 10.0
    )
    with pytest.raises(
        BadInput, match=r"seed 0 has several runs at equal model\.width and optimizer\.learning_rate"
    ):
        spikes(frame, "model.width")
