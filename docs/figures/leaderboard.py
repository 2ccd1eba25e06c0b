"""Draws the README's figure: all activations of the leaderboard with their intervals, from its table.

python -m memcap.leaderboard 'x*sigmoid(1.702*x)' name=gelu_like
python docs/figures/leaderboard.py
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from memcap.plot.leaderboard import leaderboard_figure

table = pd.read_csv(
    "outputs/studies/leaderboard/leaderboard/leaderboard.csv", keep_default_na=False, na_values=[""]
)
leaderboard_figure(table).savefig(
    Path(__file__).with_suffix(".png"), dpi=100, pil_kwargs={"compress_level": 9}
)
