"""Which seeds choose, and which measure what was chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

GIVEN, CONFIRMED, CROSS_FITTED = "given", "confirmed", "cross_fitted"
ONE_SEED, NO_CHOICE = "one_seed", "no_choice"
LEAST_SHARE = 0.5  # of the selection seeds that an option needs, to be chosen: one lucky seed is no mean
LEAST_OF_BEST = 0.9  # of the best mean: a search confirms where the peak is, an interrupted sweep anywhere


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured where other seeds said to look.

    values_S: one for each seed that had a value there. rows_S, options_S: where it stands in the table that was given.
    options_F: what each fold of selection seeds chose. how: ``given``, ``confirmed``, ``cross_fitted``, ``one_seed``,
    or ``no_choice`` where there is one option.
    """

    values_S: np.ndarray
    rows_S: np.ndarray
    options_S: np.ndarray
    options_F: tuple[int, ...]
    how: str


def measure_chosen(values_SO: np.ndarray, selection_S: np.ndarray | None = None) -> Measured:
    """Chooses the option with the largest mean on some seeds and takes its values on others.

    values_SO: a value for each seed (in sorted order) and option, NaN where there is no run. selection_S: True for
    seeds that choose (``given``). Without it:

    - ``confirmed``: two or more seeds that were run at one and the same option only, while others were run at more and
      find it as good as their best (within a tenth), are fresh seeds of that option, as a search leaves them.
    - ``cross_fitted``: seeds in even and in odd places of the sorted order form two halves, each measured at the option
      that the other half chooses. So every seed counts once and none where it had a say. Each half chooses with half of
      the seeds, so the mean is a little low where the peak is narrow, never biased upward.
    - ``one_seed``: it chooses and is measured; the value is biased upward and has no error.
    """
    seeds, options = values_SO.shape
    if options == 1:
        every = np.flatnonzero(~np.isnan(values_SO[:, 0]))
        how = ONE_SEED if len(every) < 2 else NO_CHOICE
        return Measured(values_SO[every, 0], every, np.zeros(len(every), int), (0,), how)
    if seeds == 1:
        return _measured(values_SO, [(np.array([True]), np.array([True]))], ONE_SEED)
    if selection_S is not None:
        return _measured(values_SO, [(selection_S, ~selection_S)], GIVEN)
    confirmed = _confirmed(values_SO)
    if confirmed is not None:
        rows, option = confirmed
        return Measured(values_SO[rows, option], rows, np.full(len(rows), option), (option,), CONFIRMED)
    even_S = np.arange(seeds) % 2 == 0
    return _measured(values_SO, [(even_S, ~even_S), (~even_S, even_S)], CROSS_FITTED)


def best_option(values_SO: np.ndarray) -> int:
    """The option with the largest mean, among those that at least half as many seeds have as any; -1 for no value."""
    count_O = (~np.isnan(values_SO)).sum(0)
    if not count_O.any():
        return -1
    mean_O = np.where(count_O > 0, np.nansum(values_SO, 0) / np.maximum(count_O, 1), -np.inf)
    return int(np.where(count_O >= LEAST_SHARE * count_O.max(), mean_O, -np.inf).argmax())


def _measured(values_SO: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], how: str) -> Measured:
    def parts() -> Iterator[tuple[int, np.ndarray]]:
        for choosing_S, fresh_S in folds:
            option = best_option(values_SO[choosing_S])
            if option >= 0:
                yield option, np.flatnonzero(fresh_S & ~np.isnan(values_SO[:, option]))

    found = list(parts())
    rows_S = np.concatenate([rows for _, rows in found]) if found else np.zeros(0, int)
    options_S = np.concatenate([np.full(len(rows), o) for o, rows in found]) if found else np.zeros(0, int)
    order = rows_S.argsort(kind="stable")
    rows_S, options_S = rows_S[order], options_S[order]
    return Measured(values_SO[rows_S, options_S], rows_S, options_S, tuple(o for o, _ in found), how)


def _confirmed(values_SO: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Seeds that were run at one option only, and that option."""
    there_SO = ~np.isnan(values_SO)
    rows = np.flatnonzero(there_SO.sum(1) == 1)
    options = np.unique(there_SO[rows].argmax(1))
    chose_SO = values_SO[there_SO.sum(1) > 1]
    if len(rows) < 2 or len(options) != 1 or not len(chose_SO) or np.isnan(chose_SO[:, options[0]]).all():
        return None
    best = chose_SO[:, best_option(chose_SO)]
    if np.nanmean(chose_SO[:, options[0]]) < LEAST_OF_BEST * np.nanmean(best):
        return None
    return rows, int(options[0])
