"""Boards with known answers: tables of runs as ``load_frame`` would give them, of a protocol from conf/."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from comparison_cases import synthetic_frame

from memcap.leaderboard.entry import Entry
from memcap.leaderboard.protocol import Protocol, board_session, protocol_of

RELU, SILU = Entry("relu", "relu", text="max(x,0)"), Entry("silu", "silu", text="x*sigmoid(x)")
WAVE = Entry("wave", "formula", "x*sin(3*x)", text="x*sin(3*x)")


def small_protocol(*words: str) -> Protocol:
    """Three rates, two choosing seeds (0, 1), three fresh ones (1000 to 1002), two rates beyond an edge."""
    own = ("leaderboard.learning_rates=[0.01,0.03,0.1]", "leaderboard.seeds=2", "leaderboard.fresh_seeds=3")
    return protocol_of((*own, *words), board_session())


def runs(
    entry: Entry, places: Iterable[tuple[float, int]], bits: Callable[[float, int], float], **columns: Any
) -> pd.DataFrame:
    """Runs of an activation at these (rate, seed), of ``bits(rate, seed)`` each."""
    parts = [
        synthetic_frame(
            sizes=(500,),
            seeds=(seed,),
            rates=(rate,),
            bits=lambda width, size, seed, rate: bits(rate, seed),
            **{
                "activation.kind": entry.kind,
                "activation.formula": entry.formula,
                "activation.frequency": float("nan") if entry.frequency is None else entry.frequency,
                **columns,
            },
        )
        for rate, seed in places
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame["run_id"] = [f"{entry.kind}{number}" for number in range(len(frame))]
    return frame
