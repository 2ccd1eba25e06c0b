"""Two panels over one key, a line for each value of another."""

from __future__ import annotations

import pandas as pd
import pytest
from plot_cases import bar_ends

from memcap.errors import BadInput
from memcap.plot.bits_and_spikes import bits_and_spikes

ROWS = [(0.1, "chosen", 600.0, 0.0), (10.0, "chosen", 800.0, 0.25), (0.1, "thrice", 500.0, 0.5)]
TABLE = pd.DataFrame(ROWS, columns=["activation.frequency", "rate", "bits", "spiking_share"]).assign(
    bits_low=lambda table: table["bits"] - 10, bits_high=lambda table: table["bits"] + 10
)


def test_lines_and_scales() -> None:
    above, below = bits_and_spikes(TABLE, "activation.frequency", "rate")
    assert [list(line.get_ydata()) for line in below.lines] == [[0.0, 0.25], [0.5]]
    assert [list(c.lines[0].get_ydata()) for c in above.containers] == [[600.0, 800.0], [500.0]]  # type: ignore[attr-defined]
    assert [ends.tolist() for ends in bar_ends(above)] == [[[590, 610], [790, 810]], [[490, 510]]]
    assert above.get_xscale() == below.get_xscale() == "log"
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["chosen", "thrice"]  # type: ignore[union-attr]
    above.figure.canvas.draw()


def test_another_table_is_refused() -> None:
    with pytest.raises(BadInput, match="spiking_share"):
        bits_and_spikes(TABLE.drop(columns="spiking_share"), "activation.frequency", "rate")
