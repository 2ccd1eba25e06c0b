"""The training loop of one member: all of its steps in one call, in memory of its own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from memcap.engines.fused.block import backward, forward
from memcap.engines.fused.layout import FAN_IN, FAN_OUT, OUTPUTS, ROWS, STRETCH
from memcap.engines.fused.pieces import call, compiled, pointer_to
from memcap.engines.fused.simd import lanes_of


class Addresses(NamedTuple):
    """Where the pieces of a member's kernel are; 0 where it needs none."""

    product: int
    add_gradient: int
    objective: int
    objective_value: int
    clip: int
    update: int


class Activation(NamedTuple):
    """Operations [ops, 4] with their numbers [ops], and the addresses of the pieces that do them."""

    operations: np.ndarray
    numbers: np.ndarray
    addresses: np.ndarray


class Data(NamedTuple):
    """Samples of one member in the dtype of its weights; targets [N, 1] are labels, or features [N, F]."""

    inputs_ND: np.ndarray
    targets_NF: np.ndarray
    importance_F: np.ndarray


@compiled
def train(scratch, places, layers, activation, addresses, data, order, clip_norm, scalars):
    """One step for each row of ``scalars`` [K, C], in place on parameters and state in the scratch array.

    ``order`` [K, B] names the samples of each step, or has one row that all steps take. The value of the loss before
    the last update is left at its place if there is a piece that computes it.
    """
    s = pointer_to(scratch)
    for i in range(STRETCH):  # the derivative of x by x
        s[places.registers + STRETCH + i] = 1
    for f in range(len(data.importance_F)):
        s[places.importance + f] = data.importance_F[f]
    for k in range(len(scalars)):
        if k == 0 or len(order) > 1:
            _gather(s, places, layers, data, order[k])
        _gradient(s, places, layers, activation, addresses, data.targets_NF.shape[1])
        if clip_norm > 0:
            call(addresses.clip, s, (places.gradient, places.num_parameters, clip_norm))
        for c in range(scalars.shape[1]):
            s[places.scalars + c] = scalars[k, c]
        vectors = (places.parameters, places.gradient, places.first_state, places.second_state)
        call(addresses.update, s, (*vectors, places.num_parameters, places.scalars))


@compiled
def _gather(s, places, layers, data, chosen):
    """The samples of a step, block by block with samples innermost; copies of the last fill up a register.

    Made-up inputs could be infinite under some formula, and 0 · inf is NaN: copies are only what is there anyway.
    """
    fan_in, rows, features = layers[0, FAN_IN], layers[0, ROWS], data.targets_NF.shape[1]
    for start in range(0, places.samples, places.block):
        count = min(places.block, places.samples - start)
        samples = _in_whole_registers(s, count)
        inputs, targets = places.inputs + start * rows, places.targets + start * features
        for i in range(samples):
            n = chosen[start + min(i, count - 1)]
            for d in range(fan_in):
                s[inputs + d * samples + i] = data.inputs_ND[n, d]
            for f in range(features):
                s[targets + f * samples + i] = data.targets_NF[n, f]
            s[places.shares + start + i] = 1 / places.samples if i < count else 0.0


@compiled
def _gradient(s, places, layers, activation, addresses, features):
    """The gradient of the mean loss over the samples of a step."""
    for i in range(places.gradient, places.gradient + places.num_parameters):
        s[i] = 0
    s[places.loss] = 0
    outputs, num_outputs = layers[len(layers) - 1, OUTPUTS], layers[len(layers) - 1, FAN_OUT]
    for start in range(0, places.samples, places.block):
        samples = _in_whole_registers(s, min(places.block, places.samples - start))
        inputs = places.inputs + start * layers[0, ROWS]
        forward(s, layers, activation, addresses, places, inputs, samples)
        targets, shares = places.targets + start * features, places.shares + start
        objective = (outputs, num_outputs, targets, places.importance, shares, samples)
        if addresses.objective_value != 0:
            call(addresses.objective_value, s, (*objective, places.loss))
        call(addresses.objective, s, objective)
        backward(s, layers, addresses, places, inputs, samples)


@compiled
def _in_whole_registers(s, count):
    """A number of samples, rounded up."""
    lanes = lanes_of(s)
    return (count + lanes - 1) // lanes * lanes
