"""Measurement points: at which steps of a training its measures are taken."""

from __future__ import annotations

from memcap.errors import BadInput


def measurement_steps(total_steps: int, num_points: int) -> list[int]:
    """Step 0 and at most `num_points` log-spaced steps from 1 to `total_steps`, strictly increasing.

    They are 0 and the distinct values of round(total_steps^(i / (num_points − 1))), i = 0 .. num_points − 1.
    Early ones coincide (1, 1.3, 1.7 are 1, 1, 2), so there are fewer where num_points is large against
    ln total_steps. The last step is always among them; one point is the last step. They depend on the two
    numbers only, so that runs of equal budget are measured at equal steps.

    measurement_steps(10_000, 5) == [0, 1, 10, 100, 1000, 10_000]
    """
    if total_steps < 0:
        raise BadInput(f"measurement_steps: total_steps must be >= 0, got {total_steps}")
    if num_points < 1:
        raise BadInput(f"measurement_steps: num_points must be >= 1, got {num_points}")
    if total_steps == 0:
        return [0]
    # The ends are put in by name: a power of 1.0 need not be exact for very large integers.
    inner = {round(total_steps ** (i / (num_points - 1))) for i in range(1, num_points - 1)}
    first = {1} if num_points > 1 else set()
    return sorted({0, total_steps} | first | inner)
