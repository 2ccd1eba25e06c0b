"""Where everything lies that products with one member's Hessian take, in an array that is the member's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memcap.engines.fused.layout import MOST_SAMPLES, STRETCH, rounded_up
from memcap.engines.fused.registers import REGISTER_BYTES
from memcap.models.chain import Layer

# Columns of a layer's row: sizes, flags, its place among the parameters, and places within each block of samples;
# tangents are one place for all blocks.
COLUMNS = 11
FAN_IN, FAN_OUT, ROWS, ACTIVATED, SKIPS, WEIGHTS, HIDDEN, SLOPES, BENDS, DELTAS, TANGENTS = range(COLUMNS)
# What is known of a tridiagonal matrix (``tridiagonal``): two diagonals, a vector, two sequences of pivots.
TRIDIAGONAL_PARTS = 5


class Places(NamedTuple):
    """Offsets, in elements; ``size`` is where the array ends."""

    parameters: int
    above: int  # by layer, W and V [rows, 2, fan_out]: what goes to the outputs
    below: int  # by layer, V and W [rows, fan_out, 2]: what comes back
    product: int
    num_parameters: int
    importance: int
    shares: int
    sums: int
    delta: int
    other_delta: int
    registers: int
    blocks: int
    block_size: int
    targets: int  # from the start of a block
    samples: int
    num_blocks: int
    block: int  # samples of a block, in whole registers
    size: int


class _Room:
    """Places one after the other, each at the start of a register."""

    def __init__(self, lanes: int) -> None:
        self.end, self.lanes = 0, lanes

    def take(self, count: int) -> int:
        taken, self.end = self.end, self.end + rounded_up(count, self.lanes)
        return taken


def curvature_layout(
    chain: Sequence[Layer], *, bias: bool, num_operations: int, samples: int, num_targets: int, itemsize: int
) -> tuple[np.ndarray, Places]:
    """The table of layers [L, 11] and the places; ``num_targets`` is 1 for labels.

    Of every block are kept: inputs, targets, and by layer what enters the next one with its tangent [rows, 2, S],
    act' and act''·∂loss/∂act [fan_out, S] each, ∂loss/∂z with its tangent [fan_out, 2, S].
    """
    lanes = REGISTER_BYTES // itemsize
    num_blocks = -(-samples // MOST_SAMPLES)
    block = rounded_up(-(-samples // num_blocks), lanes)
    table, own, shared = np.zeros((len(chain), COLUMNS), dtype=np.int64), _Room(lanes), _Room(lanes)
    own.take((chain[0].fan_in + bias) * block)  # the inputs begin a block
    targets, num_parameters = own.take(num_targets * block), 0
    for row, layer in zip(table, chain, strict=True):
        row[:6] = (
            layer.fan_in,
            layer.fan_out,
            layer.fan_in + bias,
            layer.activated,
            layer.skips,
            num_parameters,
        )
        num_parameters += (layer.fan_in + bias) * layer.fan_out
        row[HIDDEN] = own.take(2 * (layer.fan_out + bias) * block)
        row[SLOPES], row[BENDS] = (own.take(layer.fan_out * block * layer.activated) for _ in range(2))
        row[DELTAS] = own.take(2 * layer.fan_out * block)
        row[TANGENTS] = shared.take(layer.fan_out * block)
    parameters, above, below, product = (shared.take(n * num_parameters) for n in (1, 2, 2, 1))
    importance, shares = shared.take(chain[-1].fan_out), shared.take(num_blocks * block)
    widest = (max(layer.fan_out for layer in chain) + bias) * block
    sums, delta, other_delta = (shared.take(widest) for _ in range(3))
    registers = shared.take(3 * STRETCH * (num_operations + 1))
    blocks = shared.take(num_blocks * own.end)
    places = Places(
        parameters, above, below, product, num_parameters, importance, shares, sums, delta, other_delta,
        registers, blocks, own.end, targets, samples, num_blocks, block, shared.end,
    )  # fmt: skip
    return table, places
