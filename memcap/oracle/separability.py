"""Whether a linear classifier can classify every sample correctly: a linear program."""

from __future__ import annotations

import dataclasses

import numpy as np

from memcap.oracle.margins import lower_bound, upper_bound

ZERO_MARGIN = (
    1e-6  # of weights within [-1, 1] and inputs of order 1; what is proved to be below it is no margin
)


@dataclasses.dataclass(frozen=True)
class Separability:
    """``separable`` follows from two bounds on the largest margin of weights within [−1, 1]; None: they do not decide.

    ``margin_at_least`` above 0 proves that the samples are separable (the weights are at hand), ``margin_at_most``
    below 1e-6 that they are not (by multipliers of the samples).
    """

    separable: bool | None
    margin_at_least: float
    margin_at_most: float


def from_bounds(at_least: float, at_most: float) -> Separability:
    """What two bounds on the margin say."""
    if at_least > 0:
        return Separability(True, at_least, at_most)
    return Separability(False if at_most < ZERO_MARGIN else None, at_least, at_most)


def linear_program(inputs_ND: np.ndarray, labels_N: np.ndarray, num_classes: int) -> Separability:
    """Maximizes t subject to x_i · (A_{y_i} − A_v) ≥ t for all i and v ≠ y_i, A within [−1, 1], by HiGHS.

    Solved in float64 by the dual simplex method; the answer rests on the bounds that its primal and dual solutions
    prove, not on its tolerance. Cost: D V + 1 unknowns and N (V − 1) inequalities; 0.02 s at D = V = 10, N = 100;
    17 s at D = 20, V = 40, N = 250. Raises RuntimeError where HiGHS gives up. Huangfu and Hall 2018, Mathematical
    Programming Computation 10, 119.
    """
    import scipy.sparse
    from scipy.optimize import linprog

    num_samples, num_inputs = inputs_ND.shape
    sample = np.repeat(np.arange(num_samples), num_classes - 1)
    wrong = np.array([[v for v in range(num_classes) if v != y] for y in range(num_classes)])[
        labels_N
    ].ravel()
    num_rows, feature = len(sample), np.arange(num_inputs)
    # Column d V + v is A_dv, the last is t; a row says t - x . (A_y - A_v) <= 0.
    right_column = feature * num_classes + labels_N[sample][:, None]
    wrong_column = feature * num_classes + wrong[:, None]
    row = np.repeat(np.arange(num_rows), num_inputs)
    inequalities = scipy.sparse.csr_matrix(
        (
            np.concatenate([-inputs_ND[sample].ravel(), inputs_ND[sample].ravel(), np.ones(num_rows)]),
            (
                np.concatenate([row, row, np.arange(num_rows)]),
                np.concatenate(
                    [right_column.ravel(), wrong_column.ravel(), np.full(num_rows, num_inputs * num_classes)]
                ),
            ),
        ),
        shape=(num_rows, num_inputs * num_classes + 1),
    )
    solved = linprog(
        np.r_[np.zeros(num_inputs * num_classes), -1.0],
        A_ub=inequalities,
        b_ub=np.zeros(num_rows),
        bounds=[(-1.0, 1.0)] * (num_inputs * num_classes) + [(0.0, None)],
        method="highs-ds",
    )
    if solved.x is None:
        raise RuntimeError(f"HiGHS found no solution: {solved.message}")
    weights_DV = solved.x[:-1].reshape(num_inputs, num_classes)
    multipliers_NV = np.zeros((num_samples, num_classes))
    multipliers_NV[sample, wrong] = -solved.ineqlin.marginals
    return from_bounds(
        lower_bound(inputs_ND, labels_N, weights_DV), upper_bound(inputs_ND, labels_N, multipliers_NV)
    )
