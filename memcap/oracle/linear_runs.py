"""How far trained linear runs of a study are from the exact optimum on the very samples they were trained on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from memcap.errors import BadInput
from memcap.oracle.problem import LinearProblem
from memcap.oracle.softmax_optimum import UndecidedOptimum, softmax_optimum

ANSWERS = (
    "optimum_bits",
    "optimum_memorized",
    "separable",
    "gradient_norm",
    "gap_nats",
    "margin_at_least",
    "margin_at_most",
)
KEYS = ("data.input_dim", "data.num_classes", "model.bias", "data.num_samples", "seed")


def linear_runs(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs of a table of ``memcap.load_frame`` that have an exact optimum; BadInput where there is none.

    These are linear models of random labels trained on the cross-entropy.
    """
    known = pd.Series(True, index=frame.index)
    for key, value in (
        ("model.kind", "linear"),
        ("data.kind", "random_labels"),
        ("objective.kind", "cross_entropy"),
    ):
        known &= (frame[key] if key in frame else pd.Series(None, index=frame.index)) == value
    if not known.any():
        raise BadInput(
            "no run has an exact optimum; it is known for model=linear data=random_labels objective=cross_entropy"
        )
    return frame[known]


def questions(frame: pd.DataFrame) -> dict[LinearProblem, list[int]]:
    """The distinct problems of the linear runs of a table, each with the N of its runs."""
    found: dict[LinearProblem, list[int]] = {}
    for input_dim, num_classes, bias, num_samples, seed in sorted(
        {_problem(row) for row in linear_runs(frame).to_dict("records")}
    ):
        found.setdefault(LinearProblem(input_dim, num_classes, seed, bias), []).append(num_samples)
    return found


def optimality_gaps(
    frame: pd.DataFrame, *, said: Callable[[int, int, str], None] = lambda done, total, where: None
) -> pd.DataFrame:
    """A row per linear run: its bits, those of the exact optimum on its samples, and the gap that training left.

    Columns beside run_id and the problem's keys: ``bits``, ``optimum_bits``, ``gap_bits`` (at least 0, up to the
    rounding of the run's float32 loss; NaN for a run without a loss), ``memorized`` (samples, of the run),
    ``optimum_memorized`` (at the optimum), ``separable``, ``gradient_norm``, ``gap_nats`` (of the optimum itself, what
    ``optimum_memorized`` (at the optimum), ``separable``, ``gradient_norm``, ``gap_nats`` (of the optimum itself, what
    Newton's method would still gain), ``margin_at_least`` and ``margin_at_most`` (the proof); NaN, with a line on
    stderr, where Newton's method has not decided. Runs that differ only in how they were trained share an optimum;
    ``said(done, total, where)`` is told how many of them are found, and which one is being found.
    """
    runs = linear_runs(frame)
    solved: dict[tuple[Any, ...], dict[str, Any]] = {}
    problems = sorted({_problem(row) for row in runs.to_dict("records")})
    for number, key in enumerate(problems):
        input_dim, num_classes, bias, num_samples, seed = key
        problem = LinearProblem(input_dim, num_classes, seed, bias)
        said(number, len(problems), f"{problem.name}, N = {num_samples}")
        solved[key] = exact_answers(problem, num_samples)
    rows = []
    for row in runs.to_dict("records"):
        optimum = solved[_problem(row)]
        bits = row.get("memory/bits")
        bits = float("nan") if bits is None else float(bits)
        rows.append(
            {
                "run_id": row["run_id"],
                **{key: row.get(key) for key in KEYS},
                "optimizer.learning_rate": row.get("optimizer.learning_rate"),
                "steps": row["steps"],
                "bits": bits,
                "optimum_bits": optimum["optimum_bits"],
                "gap_bits": optimum["optimum_bits"] - bits,
                "memorized": row.get("memory/memorized_samples"),
                **{key: value for key, value in optimum.items() if key != "optimum_bits"},
            }
        )
    return pd.DataFrame(rows)


def _problem(row: Mapping[Any, Any]) -> tuple[int, int, bool, int, int]:
    input_dim, num_classes, bias, num_samples, seed = (row.get(key) for key in KEYS)
    return int(input_dim), int(num_classes), bool(np.asarray(bias)), int(num_samples), int(seed)  # type: ignore[arg-type]


def exact_answers(problem: LinearProblem, num_samples: int) -> dict[str, Any]:
    """``ANSWERS`` of a problem's first N samples; NaN, and a line on stderr, where Newton's method does not decide."""
    try:
        optimum = softmax_optimum(*problem.samples(num_samples), problem.num_classes)
    except UndecidedOptimum as error:
        print(f"memcap: no optimum of {problem}: {error}", file=sys.stderr, flush=True)
        return dict.fromkeys(ANSWERS, float("nan"))
    return {
        "optimum_bits": optimum.bits,
        "optimum_memorized": optimum.num_memorized,
        "separable": optimum.separability.separable,
        "gradient_norm": optimum.gradient_norm,
        "gap_nats": optimum.gap_nats,
        "margin_at_least": optimum.separability.margin_at_least,
        "margin_at_most": optimum.separability.margin_at_most,
    }
