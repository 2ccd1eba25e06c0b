"""Anchors whose answer is a theorem or a closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from memcap.anchors import plain
from memcap.anchors.anchor import Anchor, at_most, near
from memcap.anchors.trainings import Trainings

COVER_SEEDS = 200


def perceptron(trained: Trainings) -> Iterator[Anchor]:
    """How many random binary labels a perceptron separates, and two ways to decide it."""
    from memcap.compare.references import cover_probability
    from memcap.oracle.problem import LinearProblem
    from memcap.oracle.separability import linear_program
    from memcap.oracle.threshold import largest_separable

    found = [
        largest_separable(LinearProblem(10, 2, s), linear_programs=False).num_samples
        for s in range(COVER_SEEDS)
    ]
    expected = sum(cover_probability(size, 10) for size in range(1, 200))
    error = float(np.std(found, ddof=1)) / math.sqrt(COVER_SEEDS)
    yield near("perceptron, 10 weights: mean separable N", float(np.mean(found)), expected, 4 * error,
               "Cover 1965, 4 standard errors")  # fmt: skip
    problem = LinearProblem(8, 5, 0)
    threshold = largest_separable(problem, linear_programs=False).num_samples
    answers = [linear_program(*problem.samples(threshold + k), 5).separable for k in range(2)]
    found_N = float(threshold) if answers == [True, False] else math.nan
    yield near("V = 5: separable N by a linear program", found_N, threshold, 0,
               "Newton's method and HiGHS agree")  # fmt: skip


def definitions(trained: Trainings) -> Iterator[Anchor]:
    """Bits of predictors whose bits are known."""
    import torch

    from memcap.measures.bits import memorized_bits

    ln_v = torch.tensor([math.log(10)], dtype=torch.float64)
    uniform = memorized_bits(ln_v, 100, math.log2(10)).item()
    yield near("uniform predictor, N = 100, V = 10: bits", uniform, 0.0, 1e-10, "definition: knows nothing")
    perfect = memorized_bits(0 * ln_v, 100, math.log2(10)).item()
    yield near("perfect memorizer, N = 100, V = 10: bits", perfect, 100 * math.log2(10), 1e-10, "N log2 V")
    run = trained.memorized
    yield near("W = 32, N = 50: bits of a network with room", run.summary["memory/bits"], 50 * math.log2(10), 0.1,
               "N log2 V, all memorized")  # fmt: skip
    null = run.summary["eval/null/bits"]
    yield at_most("the same on fresh data: bits", null, 0.0, "nothing to know there, and it is sure")


def linear_model(trained: Trainings) -> Iterator[Anchor]:
    """Every measure of a linear model against its closed form, at weights that training has reached."""
    run = trained.linear
    inputs_ND, labels_N = run.data.inputs_ND, run.data.targets_N
    weights_DV = run.weights["linear.weight"].astype(np.float64)
    loss, gradients_NP, hessian = plain.softmax_regression(inputs_ND, labels_N, weights_DV)
    mean_P, norms_N = gradients_NP.mean(axis=0), np.linalg.norm(gradients_NP, axis=1)
    summary = run.summary
    expected = plain.bits(loss, len(labels_N), 4)
    yield near("linear: bits", summary["memory/bits"], expected, 1e-8, "(ln V - loss) N / ln 2, NumPy")
    top = float(np.linalg.eigvalsh(hessian)[-1])
    yield near(
        "linear: top eigenvalue", summary["sharpness/top_eigenvalue"], top, 1e-3 * top, "dense Hessian"
    )
    norm = float(np.linalg.norm(mean_P))
    yield near("linear: gradient norm", summary["gradients/norm"], norm, 1e-8 * norm, "closed form, NumPy")
    coherence = float(np.square(gradients_NP.sum(axis=0)).sum() / (len(labels_N) * np.square(norms_N).sum()))
    yield near(
        "linear: coherence", summary["gradients/coherence"], coherence, 1e-8, "per-sample gradients, NumPy"
    )
    cancellation = float(norms_N.mean())
    yield near("linear: cancellation", summary["gradients/cancellation"], cancellation, 1e-8,
               "per-sample gradients, NumPy")  # fmt: skip


def optimum(trained: Trainings) -> Iterator[Anchor]:
    """A convex problem trained to its end, and the end itself."""
    from memcap.oracle.problem import LinearProblem
    from memcap.oracle.softmax_optimum import softmax_optimum

    best = softmax_optimum(*LinearProblem(10, 10, 0).samples(60), 10)
    yield near("linear, N = 60: bits after 20,000 steps", trained.converged.summary["memory/bits"], best.bits,
               1e-3 * best.bits, "convex optimum by Newton's method")  # fmt: skip
