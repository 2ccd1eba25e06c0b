"""Noisy curves with a known answer, for searches to find."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from memcap.search.peak import PeakSearch
from memcap.search.threshold import ThresholdSearch
from memcap.search.trial import Trial

BITS = math.log2(10)


@dataclasses.dataclass(frozen=True)
class Jamming:
    """Bits against N as trainings have them: N log2 V up to a peak, then a power law down; noise beyond the diagonal.

    softness: how wide the top is rounded, in ln N; noise: relative standard deviation over seeds past the peak.
    """

    peak: float
    fall: float = 0.6
    softness: float = 0.05
    noise: float = 0.07

    def mean(self, size: float, quality: float = 1.0) -> float:
        """A setting of lower quality peaks earlier and lower."""
        x = math.log(size / (self.peak * quality))
        rounded = self.softness * np.logaddexp(0.0, (1 + self.fall) * x / self.softness)
        return float(self.peak * quality * BITS * math.exp(x - rounded))

    def draw(self, trial: Trial, quality: float, random: np.random.Generator) -> float:
        mean, diagonal = self.mean(trial.size, quality), trial.size * BITS
        scatter = self.noise * min(1.0, 4 * (1 - mean / diagonal)) + 0.002
        return float(min(mean * (1 + scatter * random.standard_normal()), diagonal))

    def best(self, quality: float = 1.0) -> tuple[float, float]:
        """N and bits of the peak."""
        sizes = self.peak * quality * np.geomspace(0.5, 2, 2001)
        values = [self.mean(size, quality) for size in sizes]
        return float(sizes[int(np.argmax(values))]), max(values)


def play(search: PeakSearch | ThresholdSearch, value: Callable[[Trial], float | None]) -> list[list[Trial]]:
    """Answers a search's rounds, and returns them."""
    played = []
    for trials in search.rounds():
        played.append(trials)
        search.evidence.tell({trial: value(trial) for trial in trials})
    return played
