"""What an activation's program is made of: values and derivatives, forward, over a stretch of elements.

Each operation takes places of a value and of its derivative by x, ``a`` and ``da``, and writes to ``out`` and
``dout``, which overlap none of them. Derivatives at a kink are those of torch (``memcap.models.activation``).
"""

from __future__ import annotations

import math

from memcap.engines.fused.functions import (
    erf_stretch,
    exp_stretch,
    scalar_sigmoid,
    sigmoid_stretch,
    sine_stretch,
    tanh_stretch,
)
from memcap.engines.fused.pieces import Number
from memcap.engines.fused.program import Op
from memcap.engines.fused.simd import (
    absolute,
    equal,
    lanes_of,
    less,
    load,
    select,
    splat,
    square_root,
    store,
    with_sign_of,
)

ROOT_HALF = math.sqrt(0.5)
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
ROOT_HALF_OVER_PI = 1 / math.sqrt(2 * math.pi)


def between(s, code, a, da, b, db, number: Number, out, dout, count):
    lanes = lanes_of(s)
    for register in range(count // lanes):
        i = register * lanes
        x, dx, y, dy = load(s, a + i), load(s, da + i), load(s, b + i), load(s, db + i)
        v, d = x, dx
        if code == Op.NEGATE:
            v, d = 0.0 - x, 0.0 - dx
        elif code == Op.ADD:
            v, d = x + y, dx + dy
        elif code == Op.SUBTRACT:
            v, d = x - y, dx - dy
        elif code == Op.MULTIPLY:
            v, d = x * y, dx * y + x * dy
        elif code == Op.DIVIDE:
            v = x / y
            d = (dx - v * dy) / y
        elif code == Op.MAX or code == Op.MIN:
            first, second = (less(y, x), less(x, y)) if code == Op.MAX else (less(x, y), less(y, x))
            # NaN is neither larger nor smaller; the sum is NaN where either is. Equal values share the derivative.
            v = select(first, x, select(second, y, select(equal(x, y), x, x + y)))
            d = select(first, dx, select(second, dy, (dx + dy) * 0.5))
        store(s, out + i, v)
        store(s, dout + i, d)


def with_number(s, code, a, da, b, db, number: Number, out, dout, count):
    lanes = lanes_of(s)
    for register in range(count // lanes):
        i = register * lanes
        x, dx = load(s, a + i), load(s, da + i)
        v, d = x, dx
        if code == Op.ADD_NUMBER:
            v = x + number
        elif code == Op.SUBTRACT_FROM_NUMBER:
            v, d = number - x, 0.0 - dx
        elif code == Op.MULTIPLY_NUMBER:
            v, d = x * number, dx * number
        elif code == Op.DIVIDE_BY_NUMBER:
            v, d = x / number, dx / number
        elif code == Op.DIVIDE_NUMBER:
            v = number / x
            d = 0.0 - dx * v / x
        elif code == Op.WHOLE_POWER:
            below = splat(s, 1.0)
            for _ in range(int(number) - 1):
                below = below * x
            v, d = below * x, dx * (below * number)
        elif code == Op.MAX_NUMBER:
            v, d = select(less(x, number), number, x), select(less(x, number), 0.0, dx)
        elif code == Op.MIN_NUMBER:
            v, d = select(less(number, x), number, x), select(less(number, x), 0.0, dx)
        store(s, out + i, v)
        store(s, dout + i, d)


def power(s, code, a, da, b, db, number: Number, out, dout, count):
    """x^y with the derivatives of torch.pow: a term whose exponent or base is zero is left out."""
    for i in range(count):
        x, y = s[a + i], s[b + i]
        if code == Op.POWER_NUMBER:
            s[out + i] = x**number
            s[dout + i] = s[da + i] * number * x ** (number - 1) if number != 0 else 0.0
        elif code == Op.NUMBER_POWER:
            s[out + i] = number**x
            by_x = 0.0 if number == 0 and x >= 0 else s[out + i] * math.log(number)
            s[dout + i] = s[da + i] * by_x
        else:
            s[out + i] = x**y
            by_base = 0.0 if y == 0 else y * x ** (y - 1)
            by_exponent = 0.0 if x == 0 and y >= 0 else s[out + i] * math.log(x)
            s[dout + i] = s[da + i] * by_base + s[db + i] * by_exponent


def sine(s, code, a, da, b, db, number: Number, out, dout, count):
    lanes = lanes_of(s)
    if code == Op.SIN:
        sine_stretch(s, a, out, dout, count)
    else:
        sine_stretch(s, a, dout, out, count)
    for register in range(count // lanes):
        i = register * lanes
        slope = load(s, dout + i) if code == Op.SIN else 0.0 - load(s, dout + i)
        store(s, dout + i, slope * load(s, da + i))


def logarithm(s, code, a, da, b, db, number: Number, out, dout, count):
    for i in range(count):
        x = s[a + i]
        if code == Op.SOFTPLUS:
            s[out + i] = max(x, 0.0) + math.log1p(math.exp(-abs(x))) if x == x else x
            s[dout + i] = s[da + i] * scalar_sigmoid(x)
        else:
            s[out + i] = math.log1p(x)
            s[dout + i] = s[da + i] / (1 + x)


def algebraic(s, code, a, da, b, db, number: Number, out, dout, count):
    lanes = lanes_of(s)
    for register in range(count // lanes):
        i = register * lanes
        x, dx = load(s, a + i), load(s, da + i)
        v, d = x, dx
        if code == Op.RELU:
            v = select(less(x, 0.0), 0.0, x)  # NaN stays
            d = select(less(0.0, x), dx, 0.0)
        elif code == Op.ABS:
            v = absolute(x)
            d = select(equal(x, 0.0), 0.0, dx * with_sign_of(splat(s, 1.0), x))
        else:
            v = square_root(x)
            d = dx / (v + v)
        store(s, out + i, v)
        store(s, dout + i, d)


def exponential(s, code, a, da, b, db, number: Number, out, dout, count):
    """What is made of one exponential; ``dout`` holds it, or what it is of, until the last loop."""
    lanes = lanes_of(s)
    if code == Op.EXP:
        exp_stretch(s, a, out, count)
    elif code == Op.TANH:
        tanh_stretch(s, a, out, count)
    elif code == Op.SIGMOID or code == Op.SILU:
        sigmoid_stretch(s, a, out, count)
    else:  # erf of x, or of x/√2 for gelu, beside the density e^-x²
        scale = ROOT_HALF if code == Op.GELU else 1.0
        for register in range(count // lanes):
            i = register * lanes
            store(s, dout + i, load(s, a + i) * scale)
        erf_stretch(s, dout, out, count)
        for register in range(count // lanes):
            i = register * lanes
            x = load(s, dout + i)
            store(s, dout + i, 0.0 - x * x)
        exp_stretch(s, dout, dout, count)
    for register in range(count // lanes):
        i = register * lanes
        x, v = load(s, a + i), load(s, out + i)
        d = v
        if code == Op.TANH:
            d = 1.0 - v * v
        elif code == Op.SIGMOID:
            d = v * (1.0 - v)
        elif code == Op.SILU:
            d = v + x * v * (1.0 - v)
            v = x * v
        elif code == Op.ERF:
            d = load(s, dout + i) * TWO_OVER_ROOT_PI
        elif code == Op.GELU:
            half = v * 0.5 + 0.5
            d = half + x * load(s, dout + i) * ROOT_HALF_OVER_PI
            v = x * half
        store(s, out + i, v)
        store(s, dout + i, d * load(s, da + i))
