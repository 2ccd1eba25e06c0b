"""Draws the figure of docs/PERFORMANCE.md from what a run of the benchmark printed.

python benchmarks/engines.py --peers --repeats 5 | tee docs/figures/engines.txt && python docs/figures/engines.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

FOLDER = Path(__file__).parent
LABELS = ("memcap fused", "memcap batched", "PyTorch loop", "torch.func", "JAX")
COLORS = ("#c1272d", "#e8a33d", "#4c72b0", "#8aa0c4", "#55a868")

machine, *lines = (FOLDER / "engines.txt").read_text(encoding="utf-8").splitlines()
rows = np.array([[float(word) for word in line.split()] for line in lines[2:]])
widths = np.unique(rows[:, 0]).astype(int)
figure, panels = plt.subplots(1, len(widths), figsize=(9.6, 3.2), sharey=True, layout="constrained")
for axes, width in zip(panels, widths, strict=True):
    own = rows[rows[:, 0] == width]
    for column, (label, color) in enumerate(zip(LABELS, COLORS, strict=True), start=2):
        axes.loglog(own[:, 1], own[:, column], "o-", color=color, label=label, markersize=3.5, linewidth=1.4)
    axes.set_title(f"W = {width}", fontsize=10)
    axes.set_xlabel("N")
    axes.set_xticks(own[:, 1], [f"{n:g}" for n in own[:, 1]], fontsize=8)
    axes.minorticks_off()
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel("processor time, µs per step and member")
figure.legend(
    *panels[0].get_legend_handles_labels(), loc="outside upper center", ncol=5, fontsize=8, frameon=False
)
figure.savefig(FOLDER / "engines.png", dpi=130)
