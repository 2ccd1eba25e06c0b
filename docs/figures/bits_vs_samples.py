"""Draws the README's figure: bits against N for three widths, from the records of a study.

python -m memcap.train -m experiment=bits_vs_samples seed=0,1,2 study=bits_vs_samples
python docs/figures/bits_vs_samples.py
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from memcap.study import load_study

try:
    runs = load_study("bits_vs_samples")
except ValueError as error:
    raise SystemExit(
        f"{error}\nfirst: python -m memcap.train -m experiment=bits_vs_samples seed=0,1,2 study=bits_vs_samples"
    ) from None
figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
num_classes = int(runs["data.num_classes"].iloc[0])
largest = runs["data.num_samples"].max()
axes.plot([0, largest], [0, largest * math.log2(num_classes)], color="0.6", linestyle=":", linewidth=1.2)
axes.text(0.72 * largest, 0.745 * largest * math.log2(num_classes), "everything memorized: $N\\,\\log_2 V$",
          rotation=math.degrees(math.atan(math.log2(num_classes))), rotation_mode="anchor", color="0.4", fontsize=9,
          ha="center", transform_rotates_text=True)  # fmt: skip
for (width, num_parameters), of_width in runs.groupby(["model.width", "num_parameters"]):
    bits = of_width.groupby("data.num_samples")["memory/bits"]
    mean, error = bits.mean(), bits.sem()
    axes.errorbar(mean.index, mean, error, marker="o", markersize=4, capsize=2, linewidth=1.5,
                  label=f"W = {width}, {num_parameters} parameters")  # fmt: skip
num_seeds, steps = runs["seed"].nunique(), runs["steps"].iloc[0]
axes.set_xlabel("samples N")
axes.set_ylabel("memorized bits")
axes.set_title(
    f"One hidden layer, D = V = 10, {steps:,} steps, cosine, mean ± s.e. of {num_seeds} seeds", fontsize=10
)
axes.set_ylim(0, None)
axes.set_xlim(0, None)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=150)
