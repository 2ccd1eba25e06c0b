"""The largest eigenvalue of a symmetric tridiagonal matrix and its vector, in float64.

``t`` holds the matrix T: the diagonal a from its start on, the offdiagonal b from ``room`` on, then room for the
vector and for two sequences of pivots: ``curvature_layout.TRIDIAGONAL_PARTS`` parts.
"""

from __future__ import annotations

from memcap.engines.fused.pieces import compiled

# A value is as good as its entries when the interval around it is some units of rounding wide.
RESOLUTION = 4e-16


@compiled
def top_value(t, room, size):
    """By bisection: x is above all eigenvalues where no pivot of x - T is negative (Sturm). K divisions a bisection."""
    lower, upper = t[0], t[0]
    for k in range(size):
        radius = (t[room + k - 1] if k > 0 else 0.0) + (t[room + k] if k < size - 1 else 0.0)
        lower, upper = max(lower, t[k]), max(upper, t[k] + radius)  # Gershgorin
    while upper - lower > RESOLUTION * max(abs(lower), abs(upper)):
        middle = 0.5 * (lower + upper)
        if not lower < middle < upper:
            break
        if _is_above(t, room, size, middle):
            upper = middle
        else:
            lower = middle
    return upper


@compiled
def _is_above(t, room, size, x):
    pivot = x - t[0]
    for k in range(1, size):
        if not pivot > 0:
            return False
        pivot = x - t[k] - t[room + k - 1] * t[room + k - 1] / pivot
    return pivot > 0


@compiled
def write_vector(t, room, size, value):
    """Writes the unit vector of an eigenvalue behind the offdiagonal.

    All rows of (T - value) z = 0 but one hold exactly: the one, found from the pivots from both ends, that is least
    violated. So components far below rounding keep their digits (Dhillon and Parlett, 2004, Linear Algebra Appl.
    387, 1).
    """
    z, down, up = 2 * room, 3 * room, 4 * room
    t[down], t[up + size - 1] = value - t[0], value - t[size - 1]
    for k in range(1, size):
        t[down + k] = value - t[k] - t[room + k - 1] * t[room + k - 1] / t[down + k - 1]
        j = size - 1 - k
        t[up + j] = value - t[j] - t[room + j] * t[room + j] / t[up + j + 1]
    twist, least = 0, abs(t[up])
    for k in range(1, size):
        violation = abs(t[down + k] + t[up + k] - (value - t[k]))
        if violation < least:
            twist, least = k, violation
    t[z + twist], square = 1.0, 1.0
    for k in range(twist - 1, -1, -1):
        t[z + k] = t[room + k] * t[z + k + 1] / t[down + k]
        square += t[z + k] * t[z + k]
    for k in range(twist + 1, size):
        t[z + k] = t[room + k - 1] * t[z + k - 1] / t[up + k]
        square += t[z + k] * t[z + k]
    for k in range(size):
        t[z + k] /= square**0.5
