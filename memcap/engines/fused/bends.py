"""Second derivatives of what an activation's program is made of, forward, over a stretch of elements.

Each bend comes after its operation (``memcap.engines.fused.operations``) and takes the same places, and that of the
second derivative by x beside each derivative: ``dda``, ``ddb``, ``ddout``. A function f of one operand leaves f'(a) in
``dout``, since its operation was called with the derivative 1; then

    out' = f'(a) a',    out'' = f''(a) a'² + f'(a) a''.

What combines two operands leaves the derivative itself. At kinks, second derivatives are those of torch: 0.
"""

from __future__ import annotations

import math

from memcap.engines.fused.functions import exp_stretch, sigmoid_stretch
from memcap.engines.fused.operations import ROOT_HALF_OVER_PI
from memcap.engines.fused.pieces import Number, compiled
from memcap.engines.fused.program import Op
from memcap.engines.fused.simd import lanes_of, less, load, select, splat, store


def between(s, code, a, da, dda, b, db, ddb, number: Number, out, dout, ddout, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        ddx, ddy = load(s, dda + i), load(s, ddb + i)
        bend = ddx
        if code == Op.NEGATE:
            bend = 0.0 - ddx
        elif code == Op.ADD:
            bend = ddx + ddy
        elif code == Op.SUBTRACT:
            bend = ddx - ddy
        elif code == Op.MULTIPLY:
            x, y, dx, dy = load(s, a + i), load(s, b + i), load(s, da + i), load(s, db + i)
            bend = ddx * y + dx * dy * 2.0 + x * ddy
        elif code == Op.DIVIDE:
            y, dy, v, d = load(s, b + i), load(s, db + i), load(s, out + i), load(s, dout + i)
            bend = (ddx - d * dy * 2.0 - v * ddy) / y
        elif code == Op.MAX or code == Op.MIN:
            x, y = load(s, a + i), load(s, b + i)
            first, second = (less(y, x), less(x, y)) if code == Op.MAX else (less(x, y), less(y, x))
            bend = select(first, ddx, select(second, ddy, (ddx + ddy) * 0.5))
        store(s, ddout + i, bend)


def with_number(s, code, a, da, dda, b, db, ddb, number: Number, out, dout, ddout, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        curved = splat(s, 0.0)
        if code == Op.DIVIDE_NUMBER:
            curved = load(s, dout + i) / load(s, a + i) * -2.0
        elif code == Op.WHOLE_POWER and number > 1:
            x = load(s, a + i)
            curved = splat(s, 1.0) * (number * (number - 1))
            for _ in range(int(number) - 2):
                curved = curved * x
        store(s, ddout + i, curved)
    _chain_rule(s, da, dda, dout, ddout, count)


def power(s, code, a, da, dda, b, db, ddb, number: Number, out, dout, ddout, count):
    """Of x^c and c^x as everywhere; of x^y, whose terms are left out where exponent or base make them zero."""
    for i in range(count):
        x, y = s[a + i], s[b + i]
        if code == Op.POWER_NUMBER:
            is_straight = number == 0 or number == 1
            s[ddout + i] = 0.0 if is_straight else number * (number - 1) * x ** (number - 2)
        elif code == Op.NUMBER_POWER:
            s[ddout + i] = 0.0 if number == 0 and x >= 0 else s[dout + i] * math.log(number)
        else:
            dx, dy = s[da + i], s[db + i]
            log = 0.0 if x == 0 and y >= 0 else math.log(x)
            by_x = 0.0 if y == 0 else y * x ** (y - 1)
            by_y = s[out + i] * log
            by_xx = 0.0 if y == 0 or y == 1 else y * (y - 1) * x ** (y - 2)
            by_xy = x ** (y - 1) * (1 + y * log)
            s[ddout + i] = by_xx * dx * dx + 2 * by_xy * dx * dy + by_y * log * dy * dy
            s[ddout + i] += by_x * s[dda + i] + by_y * s[ddb + i]
    if code != Op.POWER:
        _chain_rule(s, da, dda, dout, ddout, count)


def sine(s, code, a, da, dda, b, db, ddb, number: Number, out, dout, ddout, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        store(s, ddout + i, 0.0 - load(s, out + i))
    _chain_rule(s, da, dda, dout, ddout, count)


def logarithm(s, code, a, da, dda, b, db, ddb, number: Number, out, dout, ddout, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        d = load(s, dout + i)
        store(s, ddout + i, d * (1.0 - d) if code == Op.SOFTPLUS else 0.0 - d * d)
    _chain_rule(s, da, dda, dout, ddout, count)


def algebraic(s, code, a, da, dda, b, db, ddb, number: Number, out, dout, ddout, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        d = load(s, dout + i)
        store(s, ddout + i, d * d * d * -2.0 if code == Op.SQRT else splat(s, 0.0))
    _chain_rule(s, da, dda, dout, ddout, count)


def exponential(s, code, a, da, dda, b, db, ddb, number: Number, out, dout, ddout, count):
    """``ddout`` holds σ for silu and e^(-x²/2) for gelu until the second loop."""
    lanes = lanes_of(s)
    if code == Op.SILU:
        sigmoid_stretch(s, a, ddout, count)
    elif code == Op.GELU:
        for register in range(count // lanes):
            i = register * lanes
            x = load(s, a + i)
            store(s, ddout + i, x * x * -0.5)
        exp_stretch(s, ddout, ddout, count)
    for register in range(count // lanes):
        i = register * lanes
        x, v, d = load(s, a + i), load(s, out + i), load(s, dout + i)
        curved = v
        if code == Op.TANH:
            curved = v * d * -2.0
        elif code == Op.SIGMOID:
            curved = d * (1.0 - v * 2.0)
        elif code == Op.SILU:
            sigmoid = load(s, ddout + i)
            curved = sigmoid * (1.0 - sigmoid) * (x * (1.0 - sigmoid * 2.0) + 2.0)
        elif code == Op.ERF:
            curved = x * d * -2.0
        elif code == Op.GELU:
            curved = load(s, ddout + i) * (2.0 - x * x) * ROOT_HALF_OVER_PI
        store(s, ddout + i, curved)
    _chain_rule(s, da, dda, dout, ddout, count)


@compiled
def _chain_rule(s, da, dda, dout, ddout, count):
    """From f'(a) and f''(a) to the derivatives by x, in their place."""
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        dx, slope = load(s, da + i), load(s, dout + i)
        store(s, ddout + i, load(s, ddout + i) * dx * dx + slope * load(s, dda + i))
        store(s, dout + i, slope * dx)
