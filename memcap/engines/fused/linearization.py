"""One member at its weights, block by block: all that products with its Hessian need and that no direction changes.

Pearlmutter's R-operator differentiates along a direction what stands here (``memcap.engines.fused.hessian_product``). A
quantity lies beside the place of its tangent, in neighbouring rows, so that each sum of two matrix products there is
one product of twice as many terms.
"""

from __future__ import annotations

from memcap.engines.fused.block import Activation, Chain
from memcap.engines.fused.curvature_block import (
    add,
    addresses_of,
    block_of,
    field,
    pair_weights,
    places_of,
    spread,
)
from memcap.engines.fused.curvature_layout import (
    ACTIVATED,
    BENDS,
    DELTAS,
    FAN_IN,
    FAN_OUT,
    HIDDEN,
    ROWS,
    SKIPS,
    SLOPES,
    WEIGHTS,
)
from memcap.engines.fused.layout import STRETCH
from memcap.engines.fused.pieces import Elements, Integers, Numbers, call, compiled
from memcap.engines.fused.program import Op
from memcap.engines.fused.simd import lanes_of, load, store


def linearize(
    s, places: Integers, layers: Integers, num_layers, addresses: Integers,
    operations: Integers, numbers: Numbers, num_operations, operation_addresses: Integers, bends: Integers,
    weights: Elements, inputs: Elements, targets: Elements, num_targets, importance: Elements,
):  # fmt: skip
    """Forward and back at the weights [P]: leaves all that products need and that is the same for all of them."""
    p, a, chain = places_of(places), addresses_of(addresses), Chain(layers, num_layers)
    activation = Activation(operations, numbers, num_operations, operation_addresses)
    for i in range(p.num_parameters):
        s[p.parameters + i] = weights[i]
    pair_weights(s, p, chain, weights, 0)
    for f in range(field(chain, num_layers - 1, FAN_OUT)):
        s[p.importance + f] = importance[f]
    for i in range(STRETCH):  # x by x
        s[p.registers + STRETCH + i] = 1
        s[p.registers + 2 * STRETCH + i] = 0
    for number in range(p.num_blocks):
        block = block_of(s, p, number)
        _gather(s, p, chain, block, number, inputs, targets, num_targets)
        outputs = _forward(s, p, a, chain, activation, bends, block)
        num_outputs = field(chain, num_layers - 1, FAN_OUT)
        call(
            a.objective,
            s,
            (outputs, num_outputs, block.targets, p.importance, block.shares, block.samples),
        )
        _backward(s, p, a, chain, block, outputs)


@compiled
def _gather(s, p, chain, block, number, inputs, targets, num_targets):
    """A block with samples innermost; copies of the last, which count nothing, fill up a register."""
    samples, fan_in, rows = block.samples, field(chain, 0, FAN_IN), field(chain, 0, ROWS)
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
            field(chain, k, FAN_OUT),
            field(chain, k, ROWS),
            field(chain, k, ACTIVATED),
        )
        outputs = p.other_delta if hidden == p.delta else p.delta
        sums, count = p.sums if is_activated else outputs, fan_out * samples
        weights = p.parameters + field(chain, k, WEIGHTS)
        call(a.product, s, (fan_out, weights, 1, fan_out, hidden, sums, samples, rows))
        if is_activated:
            slopes, curved = block.start + field(chain, k, SLOPES), block.start + field(chain, k, BENDS)
            _activate(s, activation, bends, p.registers, sums, outputs, slopes, curved, count)
            if field(chain, k, SKIPS):
                add(s, hidden, outputs, count)
        if k < chain.length - 1:
            pairs = block.start + field(chain, k, HIDDEN)
            for i in range(
                field(chain, k + 1, ROWS) * samples - count
            ):  # the bias's input, whose tangent is 0
                s[outputs + count + i] = 1
                s[pairs + 2 * count + i] = 0
            spread(s, outputs, pairs + samples, field(chain, k + 1, ROWS), samples)
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
        fan_in, fan_out = field(chain, k, FAN_IN), field(chain, k, FAN_OUT)
        by_sums, count = delta, fan_out * samples
        if field(chain, k, ACTIVATED):
            by_sums = p.sums
            slopes, curved = block.start + field(chain, k, SLOPES), block.start + field(chain, k, BENDS)
            for register in range(count // lanes_of(s)):
                i = register * lanes_of(s)
                by_output = load(s, delta + i)
                store(s, by_sums + i, load(s, slopes + i) * by_output)
                store(s, curved + i, load(s, curved + i) * by_output)
        spread(s, by_sums, block.start + field(chain, k, DELTAS), fan_out, samples)
        if k > 0:
            below = p.other_delta if delta == p.delta else p.delta
            weights = p.parameters + field(chain, k, WEIGHTS)
            call(a.product, s, (fan_in, weights, fan_out, 1, by_sums, below, samples, fan_out))
            if field(chain, k, SKIPS):
                add(s, delta, below, count)
            delta = below
