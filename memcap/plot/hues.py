"""Colours of configurations: told apart also by people who are colour-blind, ordered where the values are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from memcap.compare.comparison import Comparison
from memcap.compare.matching import row_keys
from memcap.plot.given import checked_keys, varying

MOST_NAMED = 10  # more values than these are read from a colour bar
MOST_LINES = 40
# Okabe and Ito 2008 ("Color Universal Design"), without yellow, which is too light for lines; then of Tol's muted set.
DISTINCT = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#882255",
    "#999933",
    "#44AA99",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


class Hues:
    """A colour for each combination of values of some keys.

    One key of numbers takes ordered colours of a map (viridis), anything else distinct ones with markers of their own.
    More than ten values are colours of the map with a colour bar in place of a legend.
    """

    def __init__(self, table: pd.DataFrame, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        found = dict.fromkeys(row_keys(table, self.keys))
        numeric = len(self.keys) == 1 and all(_is_number(value) for (value,) in found)
        self.values = sorted(found) if numeric else list(found)
        self.many = len(self.values) > MOST_NAMED
        self.ordered = numeric or self.many
        self._place = {value: place for place, value in enumerate(self.values)}
        numbers = (
            [float(value) for (value,) in self.values]
            if numeric
            else list(map(float, range(len(self.values))))
        )
        self._numbers, self._named = numbers, not numeric
        self._norm = self._normalization()
        self._colors = self._all_colors()

    @classmethod
    def of(
        cls, comparison: Comparison, hue: str | Iterable[str] | Hues | None, default: Iterable[str]
    ) -> Hues:
        """Those of the keys that are given, or of the default ones that vary; Hues stay as they are."""
        if isinstance(hue, Hues):
            return hue
        keys = varying(comparison, default) if hue is None else checked_keys(comparison, hue)
        return cls(comparison.capacity, keys)

    @property
    def title(self) -> str:
        """What the values are of: ``width``, ``activation``; empty where their names say it themselves."""
        return key_label(self.keys[0]) if len(self.keys) == 1 else ""

    def place(self, value: tuple[Any, ...]) -> int:
        """Its number in the order of the values."""
        return self._place[value]

    def color(self, value: tuple[Any, ...]) -> Any:
        """The colour of one combination of values (of ``row_keys``)."""
        return self._colors[self._place[value]]

    def marker(self, value: tuple[Any, ...]) -> str:
        """Its marker: one of its own unless the colours are ordered."""
        return "o" if self.ordered else MARKERS[self._place[value]]

    def label(self, value: tuple[Any, ...]) -> str:
        """``8``, or ``width 8, relu`` of several keys."""
        if len(self.keys) == 1:
            return value_label(value[0])
        named = [
            f"{key_label(key)} {value_label(v)}" if _is_number(v) else value_label(v)
            for key, v in zip(self.keys, value, strict=True)
        ]
        return ", ".join(named)

    def handles(self) -> list[Artist]:
        """Entries of a legend; none where there is one value, or a colour bar."""
        if self.many or len(self.values) < 2:
            return []
        return [
            Line2D([], [], color=self.color(v), marker=self.marker(v), markersize=4, label=self.label(v))
            for v in self.values
        ]

    def legend_title(self, note: str = "") -> str | None:
        """What stands above the entries: what they are of, and the note of what is not drawn."""
        return "\n".join(word for word in ("" if self.many else self.title, note) if word) or None

    def color_bar(self, ax: Axes) -> None:
        """The colour bar of more than ten values beside the axes, under a legend there; of fewer, nothing."""
        if self.many:
            with rc_context({"text.parse_math": False}):  # labels of ticks are made with it and keep it
                self._draw_color_bar(ax)

    def _draw_color_bar(self, ax: Axes) -> None:
        beside = ax.inset_axes((1.04, 0.0, 0.035, 0.58))
        figure = ax.get_figure()
        assert figure is not None
        bar = figure.colorbar(ScalarMappable(self._norm, colormaps["viridis"]), cax=beside, label=self.title)
        if self._named:
            places = np.unique(np.linspace(0, len(self.values) - 1, 8).round().astype(int))
            labels = [self.label(self.values[place]) for place in places]
            bar.set_ticks([self._numbers[place] for place in places], labels=labels)
        elif isinstance(self._norm, LogNorm):
            bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        bar.ax.tick_params(labelsize="x-small")

    def widest_label(self) -> int:
        """Letters of the longest entry of its legend or colour bar."""
        return max((len(self.label(value)) for value in self.values), default=0)

    def _all_colors(self) -> list[Any]:
        if not self.ordered:
            return list(DISTINCT[: len(self.values)])
        if self.many:
            return list(colormaps["viridis"](self._norm(self._numbers)))
        return list(colormaps["viridis"](np.linspace(0, 0.88, len(self.values))))

    def _normalization(self) -> Normalize:
        low, high = min(self._numbers, default=0.0), max(self._numbers, default=1.0)
        wide = not self._named and low > 0 and high / low >= 20
        return LogNorm(low, high) if wide else Normalize(low, high)


def key_label(key: str) -> str:
    """``width`` of model.width, ``activation`` of activation.kind, without underscores."""
    group, _, name = key.rpartition(".")
    return (group.rpartition(".")[2] if name == "kind" and group else name).replace("_", " ")


def value_label(value: Any) -> str:
    """A value as people write it; a part that a configuration does not have is a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return f"{value:,.6g}" if _is_number(value) else str(value)


def configurations_to_draw(
    comparison: Comparison, hues: Hues
) -> tuple[list[tuple[int, tuple[Any, ...]]], str]:
    """Row numbers in ``capacity`` with their values of hue, in the order of these; and a note where it is not all.

    Forty lines can be looked at: of more configurations an even choice is drawn.
    """
    keys = row_keys(comparison.capacity, hues.keys)
    order = sorted(range(len(keys)), key=lambda number: hues.place(keys[number]))
    if len(order) <= MOST_LINES:
        return [(number, keys[number]) for number in order], ""
    chosen = np.unique(np.linspace(0, len(order) - 1, MOST_LINES).round().astype(int))
    note = f"{len(chosen)} of {len(order):,} drawn"
    return [(order[place], keys[order[place]]) for place in chosen], note


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
