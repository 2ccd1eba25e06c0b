"""Overrides of memcap in Python that train and measure in milliseconds."""

from __future__ import annotations

SMALL = "budget.steps=4 budget.check_every=2 measure.points=2 tracking=disabled"
SMALL += " data.num_samples=12 measure.sharpness=false measure.evaluation=false measure.gradients=false"
