"""The training loop of one member: all of its steps in one call, in memory of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

from memcap.engines.fused.block import Activation, Chain, backward, field, forward
from memcap.engines.fused.layout import FAN_IN, FAN_OUT, OUTPUTS, ROWS, STRETCH, Places
from memcap.engines.fused.pieces import Elements, Integers, Number, Numbers, call, compiled
from memcap.engines.fused.simd import lanes_of


class Addresses(NamedTuple):
    """Where the pieces are; 0 where none is needed."""

    product: int
    add_gradient: int
    objective: int
    objective_value: int
    clip: int
    update: int


class Data(NamedTuple):
    """Samples of one member: inputs [N, D], targets [N, F] (labels are one feature)."""

    inputs: Any
    targets: Any
    num_inputs: int
    num_targets: int


def train(
    s, places: Integers, layers: Integers, num_layers,
    operations: Integers, numbers: Numbers, num_operations, operation_addresses: Integers, addresses: Integers,
    inputs: Elements, targets: Elements, num_targets, importance: Elements,
    order: Integers, num_orders, clip_norm: Number, scalars: Elements, num_scalars, num_steps,
):  # fmt: skip
    """``num_steps`` steps in place on the parameters and the state in the scratch array.

    ``order`` [num_orders, B] names the samples of each step, or of all steps where it has one row; ``scalars``
    [num_steps, num_scalars] are the optimizer's; no clipping is a norm of 0. The value of the loss before the last
    update is left at its place if there is a piece that computes it.
    """
    p = places_of(places)
    a = Addresses(addresses[0], addresses[1], addresses[2], addresses[3], addresses[4], addresses[5])
    chain = Chain(layers, num_layers)
    activation = Activation(operations, numbers, num_operations, operation_addresses)
    data = Data(inputs, targets, field(chain, 0, FAN_IN), num_targets)
    for i in range(STRETCH):  # the derivative of x by x
        s[p.registers + STRETCH + i] = 1
    for f in range(field(chain, num_layers - 1, FAN_OUT)):
        s[p.importance + f] = importance[f]
    for k in range(num_steps):
        if k < num_orders:
            _gather(s, p, field(chain, 0, ROWS), data, order, k * p.samples)
        _gradient(s, p, chain, activation, a, num_targets)
        if clip_norm > 0:
            call(a.clip, s, (p.gradient, p.num_parameters, clip_norm))
        for c in range(num_scalars):
            s[p.scalars + c] = scalars[k * num_scalars + c]
        m, v = p.first_state, p.second_state
        call(a.update, s, (p.parameters, p.gradient, m, v, p.num_parameters, p.scalars))


@compiled
def places_of(p):
    return Places(
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16],
        p[17], p[18],
    )  # fmt: skip


@compiled
def _gather(s, p, rows, data, order, first):
    """The samples of a step, block by block with samples innermost; copies of the last fill up a register.

    Made-up inputs could be infinite under some formula, and 0 · inf is NaN: copies are only what is there anyway.
    """
    for block in range(p.num_blocks):
        start = block * p.block
        count = samples_from(p, start)
        samples = in_whole_registers(s, count)
        inputs, targets = p.inputs + start * rows, p.targets + start * data.num_targets
        for i in range(samples):
            n = order[first + start + (i if i < count else count - 1)]
            for d in range(data.num_inputs):
                s[inputs + d * samples + i] = data.inputs[n * data.num_inputs + d]
            for f in range(data.num_targets):
                s[targets + f * samples + i] = data.targets[n * data.num_targets + f]
            s[p.shares + start + i] = 1 / p.samples if i < count else 0.0


@compiled
def _gradient(s, p, chain, activation, addresses, num_targets):
    """The gradient of the mean loss over the samples of a step."""
    for i in range(p.gradient, p.gradient + p.num_parameters):
        s[i] = 0
    s[p.loss] = 0
    outputs, num_outputs = field(chain, chain.length - 1, OUTPUTS), field(chain, chain.length - 1, FAN_OUT)
    for block in range(p.num_blocks):
        start = block * p.block
        samples = in_whole_registers(s, samples_from(p, start))
        inputs = p.inputs + start * field(chain, 0, ROWS)
        forward(s, chain, activation, addresses, p, inputs, samples)
        targets, shares = p.targets + start * num_targets, p.shares + start
        weights = p.importance
        if addresses.objective_value != 0:
            value = addresses.objective_value
            call(value, s, (outputs, num_outputs, targets, weights, shares, samples, p.loss))
        call(addresses.objective, s, (outputs, num_outputs, targets, weights, shares, samples))
        backward(s, chain, addresses, p, inputs, samples)


@compiled
def samples_from(p, start):
    """How many of a step's samples the block has that starts here."""
    return p.block if p.samples - start > p.block else p.samples - start


@compiled
def in_whole_registers(s, count):
    """A number of samples, rounded up."""
    lanes = lanes_of(s)
    return (count + lanes - 1) // lanes * lanes
