"""What one pass over a member's samples says of each of them: its loss, and the norm of its own gradient.

A layer z = a A + b has for one sample the gradient (a δᵀ, δ) with δ = ∂loss/∂z, of which

    ‖g‖² = Σ_layers (‖a‖² + 1) ‖δ‖²   and   Σ_p w_p g_p² = Σ_layers Σ_k δ_k² (Σ_j w_jk a_j² + w_k),

without the 1 and w_k where there is no bias (Goodfellow, 2015, arXiv 1510.01799). So no gradient of a sample is made.
Squares are taken in float64: those of a memorized sample's float32 derivatives would vanish.
"""

from __future__ import annotations

from memcap.engines.fused.block import Activation, Chain, field, forward
from memcap.engines.fused.kernel import Addresses, in_whole_registers, places_of, samples_from
from memcap.engines.fused.layout import (
    ACTIVATED,
    FAN_IN,
    FAN_OUT,
    OUTPUTS,
    ROWS,
    SKIPS,
    SLOPES,
    STRETCH,
    WEIGHTS,
)
from memcap.engines.fused.pieces import Elements, Integers, Numbers, call, compiled
from memcap.engines.fused.sample_layout import GRADIENT, NORMS, WEIGHTED_NORMS, Squares
from memcap.engines.fused.simd import lanes_of, load, load_doubles, splat, store


def sample_pass(
    s, doubles: Numbers, places: Integers, layers: Integers, num_layers, widest,
    operations: Integers, numbers: Numbers, num_operations, operation_addresses: Integers, addresses: Integers,
    weights: Elements, inputs: Elements, targets: Elements, num_targets, importance: Elements, wanted,
    losses: Elements, correct: Elements, gradient: Elements, squared: Numbers, weighted: Numbers,
):  # fmt: skip
    """losses, correct (0 or 1) [N]; as ``wanted`` says the mean gradient [P], ‖g‖² [N] and Σ w g² [N] of each sample.

    ``widest``: the most rows of any layer's inputs or outputs. Whatever stood in the scratch arrays does not matter,
    but for w, which stands first in ``doubles`` where it is wanted.
    """
    p, chain = places_of(places), Chain(layers, num_layers)
    # The training loop's type, so that Numba need not compile ``forward`` for another.
    a = Addresses(addresses[0], addresses[1], addresses[2], addresses[3], 0, 0)
    activation = Activation(operations, numbers, num_operations, operation_addresses)
    last = num_layers - 1
    num_outputs, outputs = field(chain, last, FAN_OUT), field(chain, last, OUTPUTS)
    num_parameters = field(chain, last, WEIGHTS) + field(chain, last, ROWS) * num_outputs
    squares = num_parameters
    sums = squares + 2 * widest * p.block
    q = Squares(squares, squares + widest * p.block, sums, sums + p.block)
    _set_up(s, p, weights, num_parameters, importance, num_outputs)
    for number in range(p.num_blocks):
        start = number * p.block
        count = samples_from(p, start)
        samples = in_whole_registers(s, count)
        _gather(s, p, chain, start, count, samples, inputs, targets, num_targets)
        forward(s, chain, activation, a, p, p.inputs, samples)
        # Places that are free here: the loss of each sample, whether it is right, and room for exponentials.
        at = (p.targets, p.importance, samples, p.delta, p.other_delta, p.preactivations)
        call(a.objective_value, s, (outputs, num_outputs, *at))
        for i in range(count):
            losses[start + i] = s[p.delta + i]
            correct[start + i] = s[p.other_delta + i]
        if wanted >= GRADIENT:
            call(a.objective, s, (outputs, num_outputs, p.targets, p.importance, p.shares, samples))
            _backward(s, doubles, p, q, a, chain, samples, wanted)
        for i in range(count if wanted >= NORMS else 0):
            squared[start + i] = doubles[q.sums + i]
        for i in range(count if wanted >= WEIGHTED_NORMS else 0):
            weighted[start + i] = doubles[q.weighted_sums + i]
    if wanted >= GRADIENT:
        for i in range(num_parameters):
            gradient[i] = s[p.gradient + i] / p.samples


@compiled
def _set_up(s, p, weights, num_parameters, importance, num_outputs):
    """What is the same for every block."""
    for i in range(num_parameters):
        s[p.parameters + i] = weights[i]
        s[p.gradient + i] = 0
    for i in range(STRETCH):  # the derivative of x by x
        s[p.registers + STRETCH + i] = 1
    for f in range(num_outputs):
        s[p.importance + f] = importance[f]


@compiled
def _gather(s, p, chain, start, count, samples, inputs, targets, num_targets):
    """A block with samples innermost; copies of its last, which count nothing, fill up a register."""
    fan_in = field(chain, 0, FAN_IN)
    for i in range(samples):
        n = start + (i if i < count else count - 1)
        for d in range(fan_in):
            s[p.inputs + d * samples + i] = inputs[n * fan_in + d]
        for f in range(num_targets):
            s[p.targets + f * samples + i] = targets[n * num_targets + f]
        s[p.shares + i] = 1.0 if i < count else 0.0


@compiled
def _backward(s, doubles, p, q, a, chain, samples, wanted):
    """Adds the block's part of the gradient, and leaves two sums of squares for each sample."""
    if wanted >= NORMS:  # else there is no such array
        for i in range(q.sums, q.weighted_sums + samples):
            doubles[i] = 0
    delta = field(chain, chain.length - 1, OUTPUTS)
    for k in range(chain.length - 1, -1, -1):
        fan_in, fan_out, rows = field(chain, k, FAN_IN), field(chain, k, FAN_OUT), field(chain, k, ROWS)
        by_sums, weights = delta, field(chain, k, WEIGHTS)
        if field(chain, k, ACTIVATED):
            by_sums = field(chain, k, SLOPES)
            for register in range(fan_out * samples // lanes_of(s)):
                i = register * lanes_of(s)
                store(s, by_sums + i, load(s, by_sums + i) * load(s, delta + i))
        hidden = p.inputs if k == 0 else field(chain, k - 1, OUTPUTS)
        call(a.add_gradient, s, (rows, fan_out, hidden, by_sums, samples, p.gradient + weights))
        if wanted >= NORMS:
            _add_norms(s, doubles, q, hidden, by_sums, rows, fan_out, samples)
        if wanted >= WEIGHTED_NORMS:
            _add_weighted(doubles, q, weights, rows, fan_out, samples)
        if k > 0:
            below = p.other_delta if delta == p.delta else p.delta
            at = (fan_in, p.parameters + weights, fan_out, 1, by_sums, below, samples, fan_out)
            call(a.product, s, at)
            if field(chain, k, SKIPS):
                for register in range(fan_in * samples // lanes_of(s)):
                    i = register * lanes_of(s)
                    store(s, below + i, load(s, below + i) + load(s, delta + i))
            delta = below


@compiled
def _add_norms(s, doubles, q, hidden, by_sums, rows, fan_out, samples):
    """Leaves a² and δ² of a layer, and adds ‖a‖² ‖δ‖² to the first sum."""
    for register in range(samples // lanes_of(doubles)):
        i = register * lanes_of(doubles)
        entering = _squares(s, doubles, hidden + i, q.inputs + i, rows, samples)
        leaving = _squares(s, doubles, by_sums + i, q.outputs + i, fan_out, samples)
        store(doubles, q.sums + i, load(doubles, q.sums + i) + entering * leaving)


@compiled
def _squares(s, doubles, values, squares, rows, samples):
    """Writes the squares of a register of samples, row by row; their sum over rows."""
    total = splat(doubles, 0.0)
    for r in range(rows):
        value = load_doubles(s, values + r * samples)
        store(doubles, squares + r * samples, value * value)
        total = total + value * value
    return total


@compiled
def _add_weighted(doubles, q, weights, rows, fan_out, samples):
    """Adds Σ_k δ_k² Σ_j w_jk a_j² to the second sum; four k at a time, since a sum waits for the one before."""
    for register in range(samples // lanes_of(doubles)):
        i = register * lanes_of(doubles)
        at = q.weighted_sums + i
        total = load(doubles, at)
        for quad in range(fan_out // 4):
            k = 4 * quad
            first, second, third, fourth = (
                splat(doubles, 0.0),
                splat(doubles, 0.0),
                splat(doubles, 0.0),
                splat(doubles, 0.0),
            )
            for j in range(rows):
                square, w = load(doubles, q.inputs + j * samples + i), weights + j * fan_out + k
                first = first + square * doubles[w]
                second = second + square * doubles[w + 1]
                third = third + square * doubles[w + 2]
                fourth = fourth + square * doubles[w + 3]
            out = q.outputs + k * samples + i
            total = total + first * load(doubles, out) + second * load(doubles, out + samples)
            out += 2 * samples
            total = total + third * load(doubles, out) + fourth * load(doubles, out + samples)
        for k in range(fan_out // 4 * 4, fan_out):
            seen = splat(doubles, 0.0)
            for j in range(rows):
                seen = seen + load(doubles, q.inputs + j * samples + i) * doubles[weights + j * fan_out + k]
            total = total + seen * load(doubles, q.outputs + k * samples + i)
        store(doubles, at, total)
