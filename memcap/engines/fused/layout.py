"""Where everything of one member lies in its scratch array, which one thread works in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memcap.engines.fused.registers import REGISTER_BYTES
from memcap.models.chain import Layer

# Samples that go forward and backward together: enough to repay the sums over lanes at the end of a weight's
# gradient, few enough for all of their activations to stay in the cache.
MOST_SAMPLES = 512
MOST_SCALARS = 8  # of an optimizer's step
STRETCH = 512  # elements that an activation's program works on at a time
# Columns of a layer's row: sizes, flags, then places in the scratch array.
COLUMNS = 8
FAN_IN, FAN_OUT, ROWS, ACTIVATED, SKIPS, WEIGHTS, OUTPUTS, SLOPES = range(COLUMNS)


class Places(NamedTuple):
    """Offsets into the scratch array, in elements; ``size`` is where it ends."""

    parameters: int
    first_state: int
    second_state: int
    gradient: int
    num_parameters: int  # rounded up to whole registers
    inputs: int
    targets: int
    importance: int
    shares: int  # by which each sample's loss enters the mean: 1/N, and 0 for what fills up a register
    preactivations: int
    delta: int
    other_delta: int
    registers: int
    scalars: int
    loss: int
    samples: int  # of a step
    num_blocks: int
    block: int  # samples of a block, in whole registers
    size: int


def rounded_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def layout(
    chain: Sequence[Layer], *, bias: bool, num_operations: int, samples: int, num_targets: int, itemsize: int
) -> tuple[np.ndarray, Places]:
    """The table of layers [L, 8] and the places; ``num_targets`` is 1 for labels."""
    lanes = REGISTER_BYTES // itemsize
    num_blocks = -(-samples // MOST_SAMPLES)
    block = rounded_up(-(-samples // num_blocks), lanes)
    table, place = np.zeros((len(chain), COLUMNS), dtype=np.int64), 0

    def take(count: int) -> int:
        nonlocal place
        taken, place = place, place + rounded_up(count, lanes)
        return taken

    num_parameters = 0
    for row, layer in zip(table, chain, strict=True):
        rows = layer.fan_in + bias
        row[:6] = layer.fan_in, layer.fan_out, rows, layer.activated, layer.skips, num_parameters
        num_parameters += rows * layer.fan_out
    vectors = (take(num_parameters), take(num_parameters), take(num_parameters), take(num_parameters))
    inputs = take(num_blocks * (chain[0].fan_in + bias) * block)
    targets = take(num_blocks * num_targets * block)
    importance = take(chain[-1].fan_out)
    shares = take(num_blocks * block)
    for row, layer in zip(table, chain, strict=True):
        row[OUTPUTS] = take((layer.fan_out + bias) * block)
        row[SLOPES] = take(layer.fan_out * block) if layer.activated else 0
    widest = max(layer.fan_out for layer in chain) * block
    preactivations, delta, other_delta = take(widest), take(widest), take(widest)
    registers = take(2 * STRETCH * (num_operations + 1))
    scalars, loss = take(MOST_SCALARS), take(1)
    places = Places(
        *vectors, rounded_up(num_parameters, lanes), inputs, targets, importance, shares,
        preactivations, delta, other_delta, registers, scalars, loss, samples, num_blocks, block, place,
    )  # fmt: skip
    return table, places
