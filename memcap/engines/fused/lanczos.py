"""The largest eigenvalue of one member's Hessian, by Lanczos fully reorthogonalized: all of it in compiled code.

The same method, criterion and residual as ``memcap.measures.sharpness.top_eigenvalues``, which does it for any product.
Here products take microseconds, and what lies between them must not take more. R is the number of parameters in whole
registers; what fills up is zero.
"""

from __future__ import annotations

import math

from memcap.engines.fused.pieces import Elements, Integers, Number, Numbers, call, compiled
from memcap.engines.fused.simd import lanes_of, load, splat, store, sum_of_lanes
from memcap.engines.fused.tridiagonal import top_value, write_vector


def top_eigenvalue(
    s, places: Integers, layers: Integers, num_layers, addresses: Integers, product,
    vector: Elements, image: Elements, root: Elements, found: Numbers, is_scaled, penalty: Number,
    size_R, most, fewest, tolerance: Number, rounding: Number, space: Elements, t: Numbers,
):  # fmt: skip
    """From the start in ``vector``: the eigenvector in its place; value, residual and number of products in ``found``.

    Of H, or with ``is_scaled`` of root (H + penalty) root with a diagonal root [R]. ``space`` has 2 most + 1 rows of R:
    the basis, its images, a remainder; ``t`` what ``tridiagonal`` asks for. All NaN but the number of products where
    a product is not finite.
    """
    images, remainder = most * size_R, 2 * most * size_R
    _copy(vector, 0, 1 / math.sqrt(_precise(vector, 0, vector, 0, size_R)), space, 0, size_R)
    size, scale, is_settled, is_finite = 0, 0.0, False, True
    while not is_settled:
        last, size = size * size_R, size + 1
        _apply(s, places, layers, num_layers, addresses, product, vector, image, root, is_scaled, penalty,
               size_R, space, last, images + last)  # fmt: skip
        _copy(space, images + last, 1.0, space, remainder, size_R)
        # Twice: once leaves rounding that grows with every converged eigenvector and shows up as copies of it.
        diagonal = _project_out(space, remainder, size, size_R, t, most)
        _project_out(space, remainder, size, size_R, t, most)
        norm = math.sqrt(_precise(space, remainder, space, remainder, size_R))
        is_finite = math.isfinite(diagonal) and math.isfinite(norm)
        if not is_finite:
            break
        t[size - 1], t[most + size - 1] = diagonal, norm
        scale = max(scale, max(abs(diagonal), norm))
        is_complete = norm <= rounding * scale  # a remainder of nothing but rounding
        is_settled = is_complete or size == most
        if is_settled or size >= fewest:
            value = top_value(t, most, size)
            write_vector(t, most, size, value)
            bound = max(tolerance * abs(value), rounding * scale)
            is_settled = is_settled or norm * abs(t[2 * most + size - 1]) <= bound
        if not is_settled:
            _copy(space, remainder, 1 / norm, space, last + size_R, size_R)
    _combine(space, 0, t, 2 * most, size, size_R, vector)
    _combine(space, images, t, 2 * most, size, size_R, image)
    _write_pair(vector, image, size_R, is_finite, found)
    found[2] = size


@compiled
def _apply(s, places, layers, num_layers, addresses, product, vector, image, root, is_scaled, penalty,
           size_R, space, source, target):  # fmt: skip
    """The image of a row of ``space``, in another one."""
    _copy(space, source, 1.0, vector, 0, size_R)
    if is_scaled:
        for i in range(0, size_R, lanes_of(space)):
            store(vector, i, load(vector, i) * load(root, i))
    call(product, s, (places, layers, num_layers, addresses, vector, image))
    if is_scaled:
        for i in range(0, size_R, lanes_of(space)):
            store(image, i, (load(image, i) + load(vector, i) * penalty) * load(root, i))
    _copy(image, 0, 1.0, space, target, size_R)


@compiled
def _project_out(space, remainder, size, size_R, t, most):
    """Takes out of the remainder what the basis can express; returns its overlap with the last vector."""
    overlaps = 3 * most  # where pivots stand later
    for k in range(size):
        total = splat(space, 0.0)
        for i in range(0, size_R, lanes_of(space)):
            total = total + load(space, k * size_R + i) * load(space, remainder + i)
        t[overlaps + k] = sum_of_lanes(total)
    for k in range(size):
        for i in range(0, size_R, lanes_of(space)):
            rest = load(space, remainder + i) - load(space, k * size_R + i) * t[overlaps + k]
            store(space, remainder + i, rest)
    return t[overlaps + size - 1]


@compiled
def _combine(space, first, t, coordinates, size, size_R, target):
    """The sum of rows with these coordinates."""
    for i in range(0, size_R, lanes_of(space)):
        total = splat(space, 0.0)
        for k in range(size):
            total = total + load(space, first + k * size_R + i) * t[coordinates + k]
        store(target, i, total)


@compiled
def _write_pair(vector, image, size_R, is_finite, found):
    """Makes the vector one of length 1; its Rayleigh quotient, and what is left of the eigenvalue equation.

    The image is the sum of the images of the basis, so the residual is true but for the rounding of that sum.
    """
    square = _precise(vector, 0, vector, 0, size_R)
    value = _precise(vector, 0, image, 0, size_R) / square
    left = 0.0
    for i in range(size_R):
        difference = image[i] - value * vector[i]
        left += difference * difference
    _copy(vector, 0, 1 / math.sqrt(square) if is_finite else math.nan, vector, 0, size_R)
    found[0], found[1] = value if is_finite else math.nan, math.sqrt(left / square) if is_finite else math.nan


@compiled
def _copy(source, first, factor, target, place, size_R):
    for i in range(0, size_R, lanes_of(source)):
        store(target, place + i, load(source, first + i) * factor)


@compiled
def _precise(left, i, right, j, count):
    """The product of two rows summed in float64, whatever their type: squares of float32 may be too small for it."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0  # a sum of four waits less for the sum before it
    for k in range(0, count, 4):
        a += (0.0 + left[i + k]) * right[j + k]
        b += (0.0 + left[i + k + 1]) * right[j + k + 1]
        c += (0.0 + left[i + k + 2]) * right[j + k + 2]
        d += (0.0 + left[i + k + 3]) * right[j + k + 3]
    return (a + b) + (c + d)
