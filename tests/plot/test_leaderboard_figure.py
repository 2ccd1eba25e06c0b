"""The figure of a ranking: a dot for each row, in their order."""

from __future__ import annotations

import pandas as pd
import pytest

from memcap.errors import BadInput
from memcap.plot import leaderboard
from memcap.plot.leaderboard import NEW, OWN, leaderboard_figure

TABLE = pd.DataFrame(
    {
        "name": ["a", "x**2", "c_$"],
        "formula": ["sin(x)", "x**2", "x"],
        "bits": [900.0, 800.0, 0.0],
        "ci_low": [880.0, 790.0, float("nan")],
        "ci_high": [920.0, 810.0, float("nan")],
        "told_apart": [False, False, True],
        "added": [False, True, False],
    }
)


def test_dots_intervals_and_marks() -> None:
    (ax,) = leaderboard_figure(TABLE).axes
    dots = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [900.0, 800.0, 0.0]  # type: ignore[arg-type, index]
    assert [dot.get_color() for dot in dots] == [OWN, NEW, OWN]
    assert [dot.get_markerfacecolor() for dot in dots] == [OWN, NEW, "white"]
    bars = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert bars == [[880.0, 920.0], [790.0, 810.0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a   sin(x)", "x**2", "c_$   x"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # most bits on top
    ax.figure.canvas.draw()


def test_another_table_is_refused() -> None:
    with pytest.raises(BadInput, match="rank_activations"):
        leaderboard(pd.DataFrame({"bits": [1.0]}))
    with pytest.raises(BadInput, match="rank_activations"):
        leaderboard(TABLE[:0])
