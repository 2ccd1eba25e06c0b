"""Axes to draw on: new ones where none are given, their look, their scales, and where a legend stands."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, NullLocator

WIDE = 50.0  # largest over smallest: from here on an axis is logarithmic
FEW = 300.0  # up to here it is labelled at 1, 2, 5 of each decade
WITH_LEGEND_INCHES = (6.2, 3.7)
GREY = "0.45"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def axes_or_new(ax: Axes | None) -> Axes:
    """``ax``, or the axes of a new figure: in a notebook one that is shown, elsewhere one without a window."""
    if ax is not None:
        return ax
    if _in_notebook():
        import matplotlib.pyplot as plt

        return plt.figure(figsize=WITH_LEGEND_INCHES, layout="constrained").add_subplot()
    return new_figure(WITH_LEGEND_INCHES).add_subplot()


def new_figure(inches: tuple[float, float]) -> Figure:
    """A figure outside pyplot, which keeps no list of it: threads may draw, and it goes when nobody holds it."""
    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(ax: Axes, x: str, y: str) -> None:
    """Labels, light grid, no frame above and to the right."""
    ax.set_xlabel(
        x, parse_math=False
    )  # names of keys and values may hold a $, here and wherever they are drawn
    ax.set_ylabel(y, parse_math=False)
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def scale(
    axis: Axis, values: Sequence[float] | np.ndarray | pd.Series, *, logarithmic: bool | None = None
) -> None:
    """Makes an axis (``ax.xaxis``) logarithmic where the positive values span a factor of 50, or as told.

    values: all that is drawn, ends of bands too. Of shared axes one wide panel is enough: a logarithmic axis stays so.
    """
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array) & (array > 0)]
    if logarithmic is None:
        logarithmic = len(array) > 1 and bool(array.max() / array.min() >= WIDE)
    if axis.get_scale() == "log":
        return
    if not logarithmic or not len(array):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        return
    (axis.axes.set_xscale if isinstance(axis, XAxis) else axis.axes.set_yscale)("log")
    axis.set_major_locator(Decades(10, numticks=9))
    axis.set_major_formatter(DecadeFormatter())
    axis.set_minor_locator(NullLocator())  # a tick costs as much as a line of data


class Decades(LogLocator):
    """Ticks at decades; at 2 and 5 of each as well, where there are few of them."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Ticks between two values."""
        self.set_params(subs=(1.0, 2.0, 5.0) if 0 < vmax < FEW * vmin else (1.0,))
        return super().tick_values(vmin, vmax)


class DecadeFormatter(Formatter):
    """Plain numbers where there are few decades, powers of ten elsewhere; as text, since mathtext is slow to parse."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        low, high = self.axis.get_view_interval()  # type: ignore[union-attr]
        if x > 0 and high < FEW * low:
            return f"{x:,.10g}" if 1e-3 <= x < 1e6 else f"{x:.0e}"
        return power_of_ten(x)


def power_of_ten(x: float) -> str:
    """``10⁻³``; ``0``; nothing for other numbers than powers of ten."""
    if x == 0:
        return "0"
    exponent = round(math.log10(abs(x)))
    return "10" + str(exponent).translate(SUPERSCRIPTS) if math.isclose(abs(x), 10.0**exponent) else ""


def from_zero(ax: Axes, *, x: bool = False, y: bool = False) -> None:
    """Lets axes begin at 0, without a margin, and end where the data say, also where panels share them."""
    left, bottom = ax.dataLim.min
    if not np.isfinite([left, bottom]).all():
        return
    (anchor,) = ax.plot(0.0 if x else left, 0.0 if y else bottom, linestyle="", alpha=0.0)
    anchor.sticky_edges.x[:] = [0.0] if x else []
    anchor.sticky_edges.y[:] = [0.0] if y else []


class Entries:
    """What the legends of several panels would say, each entry once; drawn as one legend by ``small_multiples``."""

    def __init__(self) -> None:
        self.by_label: dict[str, Artist] = {}
        self.title: str | None = None

    def add(self, handles: Sequence[Artist], title: str | None) -> None:
        """The entries of one more panel."""
        for handle in handles:
            self.by_label.setdefault(str(handle.get_label()), handle)
        self.title = self.title or title


def place_legend(
    ax: Axes, handles: Sequence[Artist], title: str | None, where: str | Entries | None = "right"
) -> None:
    """A legend beside (``right``) or under (``below``) the axes, where no data is; entries of others are added to."""
    if isinstance(where, Entries):
        where.add(handles, title)
    elif where is not None and handles:
        beside = where == "right"
        legend = ax.legend(
            handles=list(handles), title=title, frameon=False, fontsize="small", loc="upper left",
            bbox_to_anchor=(1.01, 1.0) if beside else (0.0, -0.2), borderaxespad=0.0,
        )  # fmt: skip
        legend.get_title().set_fontsize("small")
        legend.set_alignment("left")
        for text in (legend.get_title(), *legend.get_texts()):
            text.set_parse_math(False)


def let_notebooks_draw() -> None:
    """Lets a notebook show a figure that is no pyplot's: the formatter for it comes with pyplot's first figure only."""
    if _in_notebook():
        from IPython.core.getipython import get_ipython
        from IPython.core.pylabtools import select_figure_formats

        shell: Any = get_ipython()
        if Figure not in shell.display_formatter.formatters["image/png"]:
            select_figure_formats(shell, {"png"})


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
