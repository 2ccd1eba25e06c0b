"""Transcendental functions on stretches of a flat array.

In float32 they are polynomials on whole registers, within 2 ulp of the exact value; in float64 they are the C
library's. NaN stays NaN, infinities go where they should.
"""

from __future__ import annotations

import math
from typing import Any

from numba import types
from numba.extending import overload

from memcap.engines.fused.pieces import OPTIONS, compiled
from memcap.engines.fused.registers import REGISTER_BYTES
from memcap.engines.fused.simd import (
    absolute,
    any_lane,
    fma,
    less,
    load,
    select,
    store,
    with_sign_of,
)
from memcap.engines.fused.whole_numbers import ROUNDING, has_bit, power_of_two

LANES = REGISTER_BYTES // 4  # of float32
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471824645996, -1.904654323148236e-09
TWO_OVER_PI = 0.6366197723675814
# π/2 in three pieces (Cody and Waite 1980), enough for arguments up to LARGEST_SINE.
HALF_PI = (float.fromhex("0x1.921fb0p+00"), float.fromhex("0x1.5110b4p-22"), float.fromhex("0x1.846988p-48"))
HALF_PI_1, HALF_PI_2, HALF_PI_3 = HALF_PI
LARGEST_SINE = 100000.0


@compiled
def exp32(x):
    """e^x = 2^n e^r with |r| <= ln 2 / 2; 2^n in two factors, since a subnormal result needs more than one."""
    x = select(less(x, -104.0), -104.0, x)
    x = select(less(89.0, x), 89.0, x)
    n = fma(x, LOG2_E, ROUNDING) - ROUNDING
    r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    p = fma(r, 1.9875691500e-4, 1.3981999507e-3)
    p = fma(p, r, 8.3334519073e-3)
    p = fma(p, r, 4.1665795894e-2)
    p = fma(p, r, 1.6666665459e-1)
    p = fma(p, r, 5.0000001201e-1)
    p = fma(p, r * r, r) + 1.0
    half = fma(n, 0.5, ROUNDING)
    rest = (n - (half - ROUNDING)) + ROUNDING
    return (p * power_of_two(half)) * power_of_two(rest)


@compiled
def sine32(x):
    """sin x and cos x for |x| <= LARGEST_SINE: x less a multiple of π/2, then a polynomial each."""
    rounded = fma(x, TWO_OVER_PI, ROUNDING)
    n = rounded - ROUNDING
    r = fma(n, -HALF_PI_3, fma(n, -HALF_PI_2, fma(n, -HALF_PI_1, x)))
    s = r * r
    p = fma(s, 2.86567956e-6, -1.98559923e-4)
    p = fma(p, s, 8.33338592e-3)
    p = fma(p, s, -1.66666672e-1)
    sine = fma(p, s * r, r)
    q = fma(s, 2.44677067e-5, -1.38877297e-3)
    q = fma(q, s, 4.16666567e-2)
    q = fma(q, s, -0.5)
    cosine = fma(q, s, 1.0)
    odd, second = has_bit(rounded, 0), has_bit(rounded, 1)
    first_sign = select(second, -1.0, 1.0)
    other_sign = select(odd, 0.0 - first_sign, first_sign)
    return select(odd, cosine, sine) * first_sign, select(odd, sine, cosine) * other_sign


@compiled
def tanh32(x):
    """1 - 2 / (e^2|x| + 1), and an odd polynomial where that would cancel."""
    size = absolute(x)
    s = x * x
    p = fma(s, 1.57394409e-2, -5.23025580e-2)
    p = fma(p, s, 1.33152470e-1)
    p = fma(p, s, -3.33327681e-1)
    small = fma(p * s, x, x)
    large = 1.0 - 2.0 / (exp32(size + size) + 1.0)
    return select(less(size, 0.55), small, with_sign_of(large, x))


@compiled
def erf32(x):
    """1 - e^-p(|x|), and an odd polynomial below 0.93."""
    size = absolute(x)
    s = x * x
    p = fma(fma(size, -1.72853470e-5, 3.83197126e-4), s, fma(size, -3.88396438e-3, 2.42546219e-2))
    p = fma(p, size, -1.06777877e-1)
    p = fma(p, size, -6.34846687e-1)
    p = fma(p, size, -1.28717512e-1)
    large = 1.0 - exp32(fma(p, size, 0.0 - size))
    q = fma(s, -5.96761703e-4, 4.99119423e-3)
    q = fma(q, s, -2.67681349e-2)
    q = fma(q, s, 1.12819925e-1)
    q = fma(q, s, -3.76125336e-1)
    q = fma(q, s, 1.28379166e-1)
    return select(less(size, 0.927734375), fma(q, x, x), with_sign_of(large, x))


@compiled
def sigmoid32(x):
    """1 / (1 + e^-x), below 0 as e^x / (1 + e^x)."""
    e = exp32(0.0 - absolute(x))
    return select(less(x, 0.0), e, 1.0) / (1.0 + e)


def exp_stretch(s, a, out, count):
    """out = e^a"""


def sine_stretch(s, a, sine, cosine, count):
    """sin a and cos a; ``sine`` and ``cosine`` do not overlap a."""


def tanh_stretch(s, a, out, count):
    """out = tanh a"""


def erf_stretch(s, a, out, count):
    """out = erf a"""


def sigmoid_stretch(s, a, out, count):
    """out = 1 / (1 + e^-a)"""


@compiled
def scalar_sigmoid(x):
    if x < 0:
        e = math.exp(x)
        return e / (1 + e)
    return 1 / (1 + math.exp(-x))


def _by_dtype(stretch: Any, vectorized: Any, scalar: Any) -> None:
    """Registers in float32, one element after the other in float64."""

    def in_registers(s, a, out, count):
        for register in range(count // LANES):
            i = register * LANES
            store(s, out + i, vectorized(load(s, a + i)))

    def one_by_one(s, a, out, count):
        for i in range(count):
            s[out + i] = scalar(s[a + i])

    @overload(stretch, jit_options=OPTIONS)
    def _(s, a, out, count):
        return in_registers if s.dtype == types.float32 else one_by_one


_by_dtype(exp_stretch, exp32, math.exp)
_by_dtype(tanh_stretch, tanh32, math.tanh)
_by_dtype(erf_stretch, erf32, math.erf)
_by_dtype(sigmoid_stretch, sigmoid32, scalar_sigmoid)


def _sines_in_registers(s, a, sine, cosine, count):
    is_large = False
    for register in range(count // LANES):
        i = register * LANES
        x = load(s, a + i)
        is_large |= any_lane(less(LARGEST_SINE, absolute(x)))
        first, second = sine32(x)
        store(s, sine + i, first)
        store(s, cosine + i, second)
    if is_large:
        for i in range(count):
            s[sine + i], s[cosine + i] = math.sin(s[a + i]), math.cos(s[a + i])


def _sines_one_by_one(s, a, sine, cosine, count):
    for i in range(count):
        s[sine + i], s[cosine + i] = math.sin(s[a + i]), math.cos(s[a + i])


@overload(sine_stretch, jit_options=OPTIONS)
def _(s, a, sine, cosine, count):
    return _sines_in_registers if s.dtype == types.float32 else _sines_one_by_one
