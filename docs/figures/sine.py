"""Draws bits and spikes of sin(f x) over f, from the records of a study; docs/FINDINGS.md has its command.

python docs/figures/sine.py STUDY
"""

from __future__ import annotations

import sys
from pathlib import Path

import memcap
from memcap.compare.spikes import spikes
from memcap.plot.bits_and_spikes import bits_and_spikes

F, RATE = "activation.frequency", "optimizer.learning_rate"

table = spikes(memcap.load_frame(sys.argv[1]), F)
chosen = table.groupby(F)[RATE].transform("min") == table[RATE]
table["learning rate"] = chosen.map({True: "the chosen one", False: "3 times that"})
above, _ = bits_and_spikes(table, F, "learning rate")
above.figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)
print(table.to_string(index=False))
