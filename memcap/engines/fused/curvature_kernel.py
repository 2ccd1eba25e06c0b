"""Products with the Hessian of one member's mean loss: Pearlmutter's R-operator, block by block.

R{f} is the derivative of f along a direction V of the weights (Pearlmutter, 1994, Neural Computation 6, 147):

    forward   R{z} = R{h} W + h V,            R{act(z)} = act'(z) R{z}
    back      R{δz} = act'(z) R{δh} + act''(z) δh R{z},    R{δh} = R{δz} Wᵀ + δz Vᵀ
    product   R{∂loss/∂W} = R{h}ᵀ δz + hᵀ R{δz}

What does not depend on V is computed once (``linearize``). A quantity and its tangent lie in neighbouring rows, so
each sum of two matrix products is one product of twice as many terms.
"""

from __future__ import annotations

from typing import NamedTuple

from memcap.engines.fused.block import Activation, Chain
from memcap.engines.fused.curvature_layout import (
    ACTIVATED,
    BENDS,
    COLUMNS,
    DELTAS,
    FAN_IN,
    FAN_OUT,
    HIDDEN,
    ROWS,
    SKIPS,
    SLOPES,
    TANGENTS,
    WEIGHTS,
    Places,
)
from memcap.engines.fused.layout import STRETCH
from memcap.engines.fused.pieces import Elements, Integers, Numbers, call, compiled
from memcap.engines.fused.program import Op
from memcap.engines.fused.simd import lanes_of, load, store


class Addresses(NamedTuple):
    """Where the pieces are."""

    product: int
    add_gradient: int
    objective: int
    objective_tangent: int


class Block(NamedTuple):
    """Where a block begins, its samples in whole registers, its targets, and the shares of its samples in the mean."""

    start: int
    samples: int
    targets: int
    shares: int


def linearize(
    s, places: Integers, layers: Integers, num_layers, addresses: Integers,
    operations: Integers, numbers: Numbers, num_operations, operation_addresses: Integers, bends: Integers,
    weights: Elements, inputs: Elements, targets: Elements, num_targets, importance: Elements,
):  # fmt: skip
    """Forward and back at the weights [P]: leaves all that products need and that is the same for all of them."""
    p, a, chain = _places(places), _addresses(addresses), Chain(layers, num_layers)
    activation = Activation(operations, numbers, num_operations, operation_addresses)
    for i in range(p.num_parameters):
        s[p.parameters + i] = weights[i]
    _pair_weights(s, p, chain, weights, 0)
    for f in range(_field(chain, num_layers - 1, FAN_OUT)):
        s[p.importance + f] = importance[f]
    for i in range(STRETCH):  # x by x
        s[p.registers + STRETCH + i] = 1
        s[p.registers + 2 * STRETCH + i] = 0
    for number in range(p.num_blocks):
        block = _block(s, p, number)
        _gather(s, p, chain, block, number, inputs, targets, num_targets)
        outputs = _forward(s, p, a, chain, activation, bends, block)
        num_outputs = _field(chain, num_layers - 1, FAN_OUT)
        call(
            a.objective,
            s,
            (outputs, num_outputs, block.targets, p.importance, block.shares, block.samples),
        )
        _backward(s, p, a, chain, block, outputs)


def product(
    s, places: Integers, layers: Integers, num_layers, addresses: Integers, vector: Elements, result: Elements
):  # fmt: skip
    """result [P] = H · vector [P], where the member was linearized."""
    p, a, chain = _places(places), _addresses(addresses), Chain(layers, num_layers)
    _pair_weights(s, p, chain, vector, 1)
    for i in range(p.num_parameters):
        s[p.product + i] = 0
    last = num_layers - 1
    for number in range(p.num_blocks):
        block = _block(s, p, number)
        _forward_tangents(s, p, a, chain, block)
        pairs, tangents = block.start + _field(chain, last, DELTAS), _field(chain, last, TANGENTS)
        at = (p.delta, pairs, tangents, _field(chain, last, FAN_OUT), block.targets, p.importance)
        call(a.objective_tangent, s, (*at, block.shares, block.samples, p.samples))
        _backward_tangents(s, p, a, chain, block)
    for i in range(p.num_parameters):
        result[i] = s[p.product + i]


@compiled
def _places(p):
    return Places(
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16],
        p[17],
    )  # fmt: skip


@compiled
def _addresses(a):
    return Addresses(a[0], a[1], a[2], a[3])


@compiled
def _field(chain, layer, column):
    return chain.table[layer * COLUMNS + column]


@compiled
def _block(s, p, number):
    first, lanes = number * p.block, lanes_of(s)
    count = p.block if p.samples - first > p.block else p.samples - first
    samples = (count + lanes - 1) // lanes * lanes
    start = p.blocks + number * p.block_size
    return Block(start, samples, start + p.targets, p.shares + first)


@compiled
def _pair_weights(s, p, chain, values, which):
    """Writes W (0) or V (1) to both tables, in which they alternate: W first above, V first below."""
    for k in range(chain.length):
        fan_out, rows, first = _field(chain, k, FAN_OUT), _field(chain, k, ROWS), _field(chain, k, WEIGHTS)
        for r in range(rows):
            for c in range(fan_out):
                value = values[first + r * fan_out + c]
                s[p.above + 2 * first + (2 * r + which) * fan_out + c] = value
                s[p.below + 2 * first + 2 * (r * fan_out + c) + 1 - which] = value


@compiled
def _gather(s, p, chain, block, number, inputs, targets, num_targets):
    """A block with samples innermost; copies of the last, which count nothing, fill up a register."""
    samples, fan_in, rows = block.samples, _field(chain, 0, FAN_IN), _field(chain, 0, ROWS)
    for i in range(samples):
        at = number * p.block + i
        n = at if at < p.samples else p.samples - 1
        for d in range(rows):
            s[block.start + d * samples + i] = inputs[n * fan_in + d] if d < fan_in else 1.0
        for f in range(num_targets):
            s[block.targets + f * samples + i] = targets[n * num_targets + f]
        s[block.shares + i] = 1 / p.samples if at < p.samples else 0.0


@compiled
def _forward(s, p, a, chain, activation, bends, block):
    """Leaves what enters each layer, act' and act''; returns the place of the outputs."""
    hidden, samples = block.start, block.samples
    for k in range(chain.length):
        fan_out, rows, is_activated = (
            _field(chain, k, FAN_OUT),
            _field(chain, k, ROWS),
            _field(chain, k, ACTIVATED),
        )
        outputs = p.other_delta if hidden == p.delta else p.delta
        sums, count = p.sums if is_activated else outputs, fan_out * samples
        weights = p.parameters + _field(chain, k, WEIGHTS)
        call(a.product, s, (fan_out, weights, 1, fan_out, hidden, sums, samples, rows))
        if is_activated:
            slopes, curved = block.start + _field(chain, k, SLOPES), block.start + _field(chain, k, BENDS)
            _activate(s, activation, bends, p.registers, sums, outputs, slopes, curved, count)
            if _field(chain, k, SKIPS):
                _add(s, hidden, outputs, count)
        if k < chain.length - 1:
            pairs = block.start + _field(chain, k, HIDDEN)
            for i in range(
                _field(chain, k + 1, ROWS) * samples - count
            ):  # the bias's input, whose tangent is 0
                s[outputs + count + i] = 1
                s[pairs + 2 * count + i] = 0
            _spread(s, outputs, pairs + samples, _field(chain, k + 1, ROWS), samples)
        hidden = outputs
    return hidden


@compiled
def _activate(s, activation, bends, registers, inputs, values, slopes, curved, count):
    """act, act' and act'' by the program, as in ``block.activate`` with second derivatives beside the first."""
    last, width = activation.length - 1, 3 * STRETCH
    for stretch in range((count + STRETCH - 1) // STRETCH):
        start = stretch * STRETCH
        length = STRETCH if count - start > STRETCH else count - start
        for k in range(last + 1):
            piece, code = activation.operations[4 * k + 0], activation.operations[4 * k + 1]
            left, right = activation.operations[4 * k + 2], activation.operations[4 * k + 3]
            first, second, number = registers + width * left, registers + width * right, activation.numbers[k]
            a = inputs + start if left == 0 else first
            b = inputs + start if right == 0 else second
            da, db = first + STRETCH, second + STRETCH
            here = registers + width * (k + 1)
            out = values + start if k == last else here
            dout = slopes + start if k == last else here + STRETCH
            ddout = curved + start if k == last else here + 2 * STRETCH
            # Of one operand, f'(a) is wanted by itself: the derivative of x by x is 1.
            by = da if code <= Op.MIN or code == Op.POWER else registers + STRETCH
            call(activation.addresses[piece], s, (code, a, by, b, db, number, out, dout, length))
            call(
                bends[piece],
                s,
                (code, a, da, da + STRETCH, b, db, db + STRETCH, number, out, dout, ddout, length),
            )


@compiled
def _backward(s, p, a, chain, block, delta):
    """Leaves ∂loss/∂z, and act'' times the derivative by the activation; from that by the outputs, at ``delta``."""
    samples = block.samples
    for k in range(chain.length - 1, -1, -1):
        fan_in, fan_out = _field(chain, k, FAN_IN), _field(chain, k, FAN_OUT)
        by_sums, count = delta, fan_out * samples
        if _field(chain, k, ACTIVATED):
            by_sums = p.sums
            slopes, curved = block.start + _field(chain, k, SLOPES), block.start + _field(chain, k, BENDS)
            for register in range(count // lanes_of(s)):
                i = register * lanes_of(s)
                by_output = load(s, delta + i)
                store(s, by_sums + i, load(s, slopes + i) * by_output)
                store(s, curved + i, load(s, curved + i) * by_output)
        _spread(s, by_sums, block.start + _field(chain, k, DELTAS), fan_out, samples)
        if k > 0:
            below = p.other_delta if delta == p.delta else p.delta
            weights = p.parameters + _field(chain, k, WEIGHTS)
            call(a.product, s, (fan_in, weights, fan_out, 1, by_sums, below, samples, fan_out))
            if _field(chain, k, SKIPS):
                _add(s, delta, below, count)
            delta = below


@compiled
def _forward_tangents(s, p, a, chain, block):
    """R{z} of all layers; R{h} beside h."""
    samples = block.samples
    for k in range(chain.length):
        fan_out, rows, tangents = (
            _field(chain, k, FAN_OUT),
            _field(chain, k, ROWS),
            _field(chain, k, TANGENTS),
        )
        weights = p.above + 2 * _field(chain, k, WEIGHTS)
        if k == 0:  # the inputs' tangents are zero
            call(
                a.product,
                s,
                (fan_out, weights + fan_out, 1, 2 * fan_out, block.start, tangents, samples, rows),
            )
        else:
            hidden = block.start + _field(chain, k - 1, HIDDEN)
            call(a.product, s, (fan_out, weights, 1, fan_out, hidden, tangents, samples, 2 * rows))
        if k == chain.length - 1:
            break
        is_activated, skips = _field(chain, k, ACTIVATED), _field(chain, k, SKIPS)
        pairs, slopes = block.start + _field(chain, k, HIDDEN), block.start + _field(chain, k, SLOPES)
        below = block.start + _field(chain, k - 1, HIDDEN) if skips else 0
        for row in range(fan_out):
            for register in range(samples // lanes_of(s)):
                i = register * lanes_of(s)
                tangent = load(s, tangents + row * samples + i)
                if is_activated:
                    tangent = tangent * load(s, slopes + row * samples + i)
                if skips:
                    tangent = tangent + load(s, below + 2 * row * samples + i)
                store(s, pairs + 2 * row * samples + i, tangent)


@compiled
def _backward_tangents(s, p, a, chain, block):
    """Adds the block's part of the product; R{∂loss/∂outputs} stands at ``delta``."""
    samples, delta = block.samples, p.delta
    for k in range(chain.length - 1, -1, -1):
        fan_in, fan_out, rows = _field(chain, k, FAN_IN), _field(chain, k, FAN_OUT), _field(chain, k, ROWS)
        pairs, total = block.start + _field(chain, k, DELTAS), p.product + _field(chain, k, WEIGHTS)
        if k == 0:
            _tangents_by_sums(s, chain, k, block, delta, p.sums, 1)
            call(a.add_gradient, s, (rows, fan_out, block.start, p.sums, samples, total))
            break
        _tangents_by_sums(s, chain, k, block, delta, pairs + samples, 2)
        hidden = block.start + _field(chain, k - 1, HIDDEN)
        call(a.add_gradient, s, (rows, fan_out, hidden, pairs, 2 * samples, total))
        below = p.other_delta if delta == p.delta else p.delta
        weights = p.below + 2 * _field(chain, k, WEIGHTS)
        call(a.product, s, (fan_in, weights, 2 * fan_out, 1, pairs, below, samples, 2 * fan_out))
        if _field(chain, k, SKIPS):
            _add(s, delta, below, fan_in * samples)
        delta = below


@compiled
def _tangents_by_sums(s, chain, k, block, delta, out, stride):
    """R{δz} = act' R{δh} + act'' δh R{z}, in every ``stride``-th row of ``out``."""
    samples, is_activated = block.samples, _field(chain, k, ACTIVATED)
    slopes, curved = block.start + _field(chain, k, SLOPES), block.start + _field(chain, k, BENDS)
    tangents = _field(chain, k, TANGENTS)
    for row in range(_field(chain, k, FAN_OUT)):
        for register in range(samples // lanes_of(s)):
            i = row * samples + register * lanes_of(s)
            tangent = load(s, delta + i)
            if is_activated:
                bend = load(s, curved + i) * load(s, tangents + i)
                tangent = tangent * load(s, slopes + i) + bend
            store(s, out + row * (stride - 1) * samples + i, tangent)


@compiled
def _spread(s, rows, pairs, count, samples):
    """Copies rows to every second row of pairs."""
    for row in range(count):
        for register in range(samples // lanes_of(s)):
            i = register * lanes_of(s)
            store(s, pairs + 2 * row * samples + i, load(s, rows + row * samples + i))


@compiled
def _add(s, source, target, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        store(s, target + i, load(s, target + i) + load(s, source + i))
