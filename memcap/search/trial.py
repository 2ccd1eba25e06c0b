"""What a search asks for, and what it has been told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

PRIOR_DEGREES = 4.0  # of freedom that the pooled noise counts for beside a cell's own scatter


class Trial(NamedTuple):
    """One run: a size on the searched axis, the place of its nuisance setting, a seed, how often steps are doubled."""

    size: int
    setting: int
    seed: int
    doublings: int = 0


@dataclasses.dataclass
class Evidence:
    """Values by trial; None where a run has failed, which is no value and is not asked for again."""

    values: dict[Trial, float | None] = dataclasses.field(default_factory=dict)

    def tell(self, values: Mapping[Trial, float | None]) -> None:
        self.values.update(values)

    def unknown(self, trials: Iterable[Trial]) -> list[Trial]:
        """Those that nothing is known of, each once, in order."""
        return [trial for trial in dict.fromkeys(trials) if trial not in self.values]

    def at(self, size: int, setting: int, doublings: int = 0) -> list[float]:
        """The values there, by ascending seed."""
        found = (
            (trial.seed, value)
            for trial, value in self.values.items()
            if (trial.size, trial.setting, trial.doublings) == (size, setting, doublings)
            and value is not None
        )
        return [value for _, value in sorted(found)]

    def sizes(self, setting: int | None = None) -> list[int]:
        """The sizes with a value, sorted; of one setting where it is given."""
        return sorted(
            {t.size for t, v in self.values.items() if v is not None and setting in (None, t.setting)}
        )


class Means(NamedTuple):
    """Means over seeds at the sizes of one setting: sizes_N, mean_N, variance_N of the mean, num_seeds_N."""

    sizes_N: np.ndarray
    mean_N: np.ndarray
    variance_N: np.ndarray
    num_seeds_N: np.ndarray


def means(evidence: Evidence, settings: Sequence[int]) -> dict[int, Means]:
    """Mean and variance of the mean at each size of each setting, doublings aside.

    Two seeds say little of their own scatter, so relative variances are shrunk towards the one pooled over all sizes
    of the setting, s² (a rate that sometimes collapses scatters more than others):
    v = m² (ν₀ s² + Σ (x/m − 1)²) / (ν₀ + n − 1), ν₀ = 4; the variance of the mean is v / n. Where all is memorized
    there is hardly any scatter; the pooled one then errs on the side of keeping candidates.
    """
    groups: dict[tuple[int, int], list[float]] = {}
    for trial, value in sorted(evidence.values.items()):
        if value is not None and trial.doublings == 0:
            groups.setdefault((trial.setting, trial.size), []).append(value)
    rows = {key: (float(np.mean(x)), float(np.var(x) * len(x)), len(x)) for key, x in groups.items()}
    found = {}
    for setting in settings:
        own = [row for (of, _), row in rows.items() if of == setting and row[0] > 0]
        degrees = sum(count - 1 for _, _, count in own)
        pooled = sum(square / mean**2 for mean, square, _ in own) / degrees if degrees else 0.0
        sizes = [size for of, size in rows if of == setting]
        table = np.array([rows[setting, size] for size in sizes], dtype=float).reshape(len(sizes), 3)
        mean_N, square_N, count_N = table.T
        variance_N = (PRIOR_DEGREES * pooled * mean_N**2 + square_N) / (PRIOR_DEGREES + count_N - 1)
        found[setting] = Means(np.array(sizes, dtype=int), mean_N, variance_N / count_N, count_N.astype(int))
    return found
