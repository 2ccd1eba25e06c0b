"""Learning-rate schedules: a factor on the base learning rate as a function of the step.

Steps are counted from 0 to ``total_steps - 1``, and the factor of step s is the one its update uses. Every
kind starts with a linear warm-up of w steps, factor (s + 1) / w for s < w (Goyal et al. 2017, arXiv
1706.02677): 1 / w and not 0 at step 0, exactly 1 at step w - 1; w = 0 means none. What follows, for s ≥ w:

``constant``
    1 up to the last step.
``cosine``
    floor + (1 - floor) (1 + cos πp) / 2 with p = (s - w) / (total_steps - 1 - w): exactly 1 at step w and
    exactly the floor at the last step (Loshchilov and Hutter 2017, arXiv 1608.03983). If the last step is the
    only one after the warm-up, it has the floor.
``warmup_stable_decay``
    1, and linear decay over the last n = decay_fraction · total_steps steps (not rounded), so that the step
    before the decay has 1, its first step 1 - (1 - floor) / n and the last step exactly the floor (Hu et al.
    2024, arXiv 2404.06395; Wen et al. 2024, arXiv 2410.05192). Where warm-up and decay would overlap, the
    decay is shortened to the total_steps - w steps that are left. decay_fraction = 0 means no decay: the
    floor is never reached.

A warm-up that is as long as the training or longer is followed by nothing: the last step has
total_steps / w. Steps after the last one keep its factor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memcap.errors import BadInput, nearest

SCHEDULE_KINDS = ("constant", "cosine", "warmup_stable_decay")

FloatArray = NDArray[np.float64]


def learning_rate_factor(
    kind: str,
    step_K: NDArray[np.int64],
    *,
    total_steps: int,
    warmup_steps_M: NDArray[np.generic],
    floor_M: FloatArray | None = None,
    decay_fraction_M: FloatArray | None = None,
) -> FloatArray:
    """The factor on the base learning rate at K steps for M members, float64 [K, M].

    ``floor_M`` (a fraction of the base rate) is needed by ``cosine`` and ``warmup_stable_decay``,
    ``decay_fraction_M`` (of ``total_steps``) by the latter. The module's docstring defines the kinds.
    """
    step_K1 = np.minimum(np.asarray(step_K, dtype=np.float64), total_steps - 1)[:, None]
    warmup_M = np.asarray(warmup_steps_M, dtype=np.float64)
    if kind == "constant":
        after_KM = np.ones((step_K1.shape[0], warmup_M.shape[0]))
    elif kind == "cosine":
        after_KM = _cosine(step_K1, total_steps, warmup_M, _needed(kind, "floor_M", floor_M))
    elif kind == "warmup_stable_decay":
        decay_M = _needed(kind, "decay_fraction_M", decay_fraction_M)
        after_KM = _linear_decay(step_K1, total_steps, warmup_M, _needed(kind, "floor_M", floor_M), decay_M)
    else:
        known = ", ".join(SCHEDULE_KINDS)
        raise BadInput(f"schedule.kind must be one of {known}, got {kind!r}{nearest(kind, SCHEDULE_KINDS)}")
    # The guard against division by zero is never seen: no step is below a warm-up of 0.
    return np.where(step_K1 < warmup_M, (step_K1 + 1) / np.maximum(warmup_M, 1), after_KM)


def _cosine(step_K1: FloatArray, total_steps: int, warmup_M: FloatArray, floor_M: FloatArray) -> FloatArray:
    """Half a period of a cosine from 1 at step w to the floor at the last step."""
    last = total_steps - 1
    # Counted back from the last step, so that it has progress 1 also where it is the only step.
    progress_KM = 1 - (last - step_K1) / np.maximum(last - warmup_M, 1)
    height_KM = (1 + np.cos(np.pi * np.clip(progress_KM, 0, 1))) / 2
    return height_KM + (1 - height_KM) * floor_M


def _linear_decay(
    step_K1: FloatArray,
    total_steps: int,
    warmup_M: FloatArray,
    floor_M: FloatArray,
    decay_fraction_M: FloatArray,
) -> FloatArray:
    """1, then a straight line that has the floor at the last step."""
    decay_steps_M = np.minimum(decay_fraction_M * total_steps, np.maximum(total_steps - warmup_M, 0))
    # A decay of less than a step is over within it, however short: 1 / 1e-313 would overflow.
    positive_M = np.where(decay_steps_M > 0, np.maximum(decay_steps_M, 1e-9), 1)
    height_KM = np.clip((total_steps - 1 - step_K1) / positive_M, 0, 1)
    height_KM = np.where(decay_steps_M > 0, height_KM, 1)
    return height_KM + (1 - height_KM) * floor_M


def _needed(kind: str, name: str, value_M: FloatArray | None) -> FloatArray:
    if value_M is None:
        raise ValueError(f"the schedule {kind} needs {name}")
    return np.asarray(value_M, dtype=np.float64)
