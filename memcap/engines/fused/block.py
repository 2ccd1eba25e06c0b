"""One block of samples through a chain and back."""

from __future__ import annotations

from typing import Any, NamedTuple

from memcap.engines.fused.layout import (
    ACTIVATED,
    COLUMNS,
    FAN_IN,
    FAN_OUT,
    OUTPUTS,
    ROWS,
    SKIPS,
    SLOPES,
    STRETCH,
    WEIGHTS,
)
from memcap.engines.fused.pieces import call, compiled
from memcap.engines.fused.simd import lanes_of, load, store


class Chain(NamedTuple):
    """The layers' table [length, COLUMNS], as in ``layout``."""

    table: Any
    length: int


class Activation(NamedTuple):
    """A program: operations [length, 4] with their numbers [length], and the addresses of the pieces that do them."""

    operations: Any
    numbers: Any
    length: int
    addresses: Any


@compiled
def field(chain, layer, column):
    """One entry of the layers' table."""
    return chain.table[layer * COLUMNS + column]


@compiled
def forward(s, chain, activation, addresses, places, inputs, samples):
    """Outputs and slopes of all layers; the last one's outputs [V, samples] are those of the network."""
    hidden = inputs
    for k in range(chain.length):
        fan_in, fan_out, rows = field(chain, k, FAN_IN), field(chain, k, FAN_OUT), field(chain, k, ROWS)
        outputs, slopes = field(chain, k, OUTPUTS), field(chain, k, SLOPES)
        if rows > fan_in:  # a bias is the weight of one more input, which is 1
            for i in range(hidden + fan_in * samples, hidden + rows * samples):
                s[i] = 1
        is_activated = field(chain, k, ACTIVATED) != 0
        sums = places.preactivations if is_activated else outputs
        weights = places.parameters + field(chain, k, WEIGHTS)
        call(addresses.product, s, (fan_out, weights, 1, fan_out, hidden, sums, samples, rows))
        if is_activated:
            activate(s, activation, places.registers, sums, outputs, slopes, fan_out * samples)
            if field(chain, k, SKIPS):
                _add(s, hidden, outputs, fan_out * samples)
        hidden = outputs


@compiled
def activate(s, activation, registers, inputs, values, slopes, count):
    """act(x) and act'(x) of ``count`` elements by the activation's program.

    ``registers``: the first of the program's registers, STRETCH values and STRETCH derivatives each; of register
    0, which is x, the derivatives must be 1. A stretch is short enough for all of them to stay in the cache.
    """
    last = activation.length - 1
    for stretch in range((count + STRETCH - 1) // STRETCH):
        start = stretch * STRETCH
        for k in range(last + 1):
            piece, code = activation.operations[4 * k + 0], activation.operations[4 * k + 1]
            left, right = activation.operations[4 * k + 2], activation.operations[4 * k + 3]
            first, second = registers + 2 * STRETCH * left, registers + 2 * STRETCH * right
            a = inputs + start if left == 0 else first
            b = inputs + start if right == 0 else second
            out = values + start if k == last else registers + 2 * STRETCH * (k + 1)
            dout = slopes + start if k == last else registers + 2 * STRETCH * (k + 1) + STRETCH
            length = STRETCH if count - start > STRETCH else count - start
            da, db, number = first + STRETCH, second + STRETCH, activation.numbers[k]
            call(activation.addresses[piece], s, (code, a, da, b, db, number, out, dout, length))


@compiled
def backward(s, chain, addresses, places, inputs, samples):
    """Adds the block's part of the gradient; in place of the outputs stand the loss's derivatives by them."""
    delta = field(chain, chain.length - 1, OUTPUTS)
    for k in range(chain.length - 1, -1, -1):
        fan_in, fan_out, rows = field(chain, k, FAN_IN), field(chain, k, FAN_OUT), field(chain, k, ROWS)
        by_sums = delta
        if field(chain, k, ACTIVATED):
            by_sums = field(chain, k, SLOPES)
            _multiply(s, delta, by_sums, fan_out * samples)
        hidden = inputs if k == 0 else field(chain, k - 1, OUTPUTS)
        gradient = places.gradient + field(chain, k, WEIGHTS)
        call(addresses.add_gradient, s, (rows, fan_out, hidden, by_sums, samples, gradient))
        if k > 0:
            below = places.other_delta if delta == places.delta else places.delta
            weights = places.parameters + field(chain, k, WEIGHTS)
            call(addresses.product, s, (fan_in, weights, fan_out, 1, by_sums, below, samples, fan_out))
            if field(chain, k, SKIPS):
                _add(s, delta, below, fan_in * samples)
            delta = below


@compiled
def _add(s, source, target, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        store(s, target + i, load(s, target + i) + load(s, source + i))


@compiled
def _multiply(s, source, target, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        store(s, target + i, load(s, target + i) * load(s, source + i))
