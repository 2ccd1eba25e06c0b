"""Exact answers as columns of a table of runs, beside what training reached."""

from __future__ import annotations

import pandas as pd

from memcap.compare.optimum_columns import SEPARABLE_SIZE, with_gaps
from memcap.oracle.linear_runs import linear_runs, optimality_gaps
from memcap.oracle.problem import LinearProblem
from memcap.oracle.threshold import largest_separable

PROBLEM = ["data.input_dim", "data.num_classes", "seed", "model.bias"]


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
    linear = linear_runs(runs)
    sizes: dict[tuple[object, ...], int] = {}
    for key in linear[PROBLEM].drop_duplicates().itertuples(index=False, name=None):
        input_dim, num_classes, seed, bias = key
        problem = LinearProblem(int(input_dim), int(num_classes), int(seed), bool(bias))
        sizes[key] = largest_separable(problem, linear_programs=False).num_samples
    own = [sizes[key] for key in linear[PROBLEM].itertuples(index=False, name=None)]
    column = pd.Series(own, index=linear.index, dtype=float)
    return runs.assign(**{SEPARABLE_SIZE: column.reindex(runs.index)})
