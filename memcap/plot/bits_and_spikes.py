"""Bits above, spikes of the loss below, over one key: where is more stored, and what does it cost in stability?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from memcap.errors import BadInput
from memcap.plot.hues import DISTINCT, MARKERS, key_label
from memcap.plot.panel import finish, from_zero, new_figure, scale

INCHES = (6.2, 4.6)


def bits_and_spikes(
    table: pd.DataFrame, x: str, hue: str, axes: Sequence[Axes] | None = None
) -> tuple[Axes, Axes]:
    """Two panels over ``x``: mean bits with their 95 % intervals, and the share of runs that spike or diverge.

    ``table``: of ``memcap.compare.spikes.spikes``; a line for each value of ``hue``, a column of it. ``axes``: two to
    draw on.
    """
    missing = [name for name in (x, hue, "bits", "spiking_share") if name not in table]
    if missing or table.empty:
        raise BadInput(
            f"bits_and_spikes draws a table of memcap.compare.spikes; it lacks {missing or 'rows'}"
        )
    if axes is None:
        axes = list(new_figure(INCHES).subplots(2, 1, sharex=True, height_ratios=(3, 2)))
    above, below = axes
    for place, (value, line) in enumerate(table.sort_values(x).groupby(hue, sort=True)):
        look: dict[str, Any] = {
            "color": DISTINCT[place % len(DISTINCT)], "marker": MARKERS[place % len(MARKERS)], "markersize": 4
        }  # fmt: skip
        half = (line["bits_high"] - line["bits_low"]) / 2
        above.errorbar(line[x], line["bits"], half, capsize=2, linewidth=1.2, label=str(value), **look)
        below.plot(line[x], line["spiking_share"], linewidth=1.2, **look)
    scale(above.xaxis, table[x])
    scale(below.xaxis, table[x])
    finish(above, "", "memorized bits")
    finish(below, key_label(x), "share of runs that spike")
    from_zero(above, y=True)
    below.set_ylim(-0.03, 1.03)
    legend = above.legend(frameon=False, fontsize="small", title=key_label(hue), loc="lower left")
    for text in (legend.get_title(), *legend.get_texts()):
        text.set_parse_math(False)
    return above, below
