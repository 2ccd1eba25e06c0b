"""Exact answers as columns of a table of runs, beside what training reached."""

from __future__ import annotations

import pandas as pd

from memcap.compare.optimum_columns import SEPARABLE_SIZE, with_gaps
from memcap.oracle.linear_runs import linear_runs, optimality_gaps, questions
from memcap.oracle.report import PROBLEM, thresholds

OF_SEED = [*PROBLEM, "seed"]


def with_exact_optimum(runs: pd.DataFrame) -> pd.DataFrame:
    """The table with the exact optimum of each linear run on its very samples; other runs have NaN.

    Columns: ``optimum/bits``, ``optimum/memorized_samples``, ``optimum/gap_bits`` (what training left) and
    ``optimum/separable``; ``memcap.plot.capacity_curves`` draws them. The same numbers as those of
    ``python -m memcap.oracle study=NAME``, without files. Cost: milliseconds to a second for each N and seed. Raises
    BadInput where no run is linear, on random labels with cross-entropy.
    """
    return with_gaps(runs, optimality_gaps(runs))


def with_separable_size(runs: pd.DataFrame) -> pd.DataFrame:
    """The table with ``optimum/separable_num_samples``: the largest N at which a linear run's data can be separated.

    Of each seed's own data, whatever N the run has: samples are prefixes of each other. ``memcap.jamming`` and
    ``memcap.plot.sharpness`` take the median over seeds. By bisection with proofs (``memcap.oracle.threshold``), 1 to
    100 s for each input dimension and seed. Raises BadInput as ``with_exact_optimum``.
    """
    found = thresholds(list(questions(runs)), linear_programs=False)
    size_of = found.set_index(OF_SEED)["separable_num_samples"].to_dict()
    linear = linear_runs(runs)
    own = [size_of[key] for key in linear[OF_SEED].itertuples(index=False, name=None)]
    column = pd.Series(own, index=linear.index, dtype=float)
    return runs.assign(**{SEPARABLE_SIZE: column.reindex(runs.index)})
