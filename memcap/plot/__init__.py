"""Figures of a comparison: drawn on axes that are given, or on new ones, from tables that are there.

    import memcap
    runs = memcap.load_frame("widths")
    memcap.plot.capacity_curves(runs)                       # axes of its own
    memcap.plot.sharpness(memcap.comparison(runs), ax)      # on axes of yours; one comparison does for many figures
    memcap.plot.figure(memcap.plot.gradients, runs)         # small multiples: a panel for each facet and metric

Each function takes a table of runs or a ``Comparison``, returns the axes, and raises BadInput where the runs lack what
it draws; ``leaderboard`` takes the table of ``memcap.rank_activations``. ``hue`` is a compared key, or several; None:
all that vary. Units stand on the axes.
"""

from __future__ import annotations

from memcap.plot.capacity_against_key import capacity_against_key
from memcap.plot.capacity_against_parameters import capacity_against_parameters
from memcap.plot.capacity_curves import capacity_curves
from memcap.plot.gradients import gradients
from memcap.plot.leaderboard import leaderboard
from memcap.plot.metric_over_samples import metric_over_samples
from memcap.plot.samples import samples
from memcap.plot.sharpness import sharpness
from memcap.plot.small_multiples import figure
from memcap.plot.training import training

__all__ = [
    "capacity_against_key",
    "capacity_against_parameters",
    "capacity_curves",
    "figure",
    "gradients",
    "leaderboard",
    "metric_over_samples",
    "samples",
    "sharpness",
    "training",
]
