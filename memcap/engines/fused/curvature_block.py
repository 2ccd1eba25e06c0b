"""What linearizing one member and multiplying by its Hessian share: where its arrays, blocks and pieces are."""

from __future__ import annotations

from typing import NamedTuple

from memcap.engines.fused.curvature_layout import COLUMNS, FAN_OUT, ROWS, WEIGHTS, Places
from memcap.engines.fused.pieces import compiled
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


@compiled
def places_of(p):
    return Places(
        p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16],
        p[17],
    )  # fmt: skip


@compiled
def addresses_of(a):
    return Addresses(a[0], a[1], a[2], a[3])


@compiled
def field(chain, layer, column):
    return chain.table[layer * COLUMNS + column]


@compiled
def block_of(s, p, number):
    first, lanes = number * p.block, lanes_of(s)
    count = p.block if p.samples - first > p.block else p.samples - first
    samples = (count + lanes - 1) // lanes * lanes
    start = p.blocks + number * p.block_size
    return Block(start, samples, start + p.targets, p.shares + first)


@compiled
def pair_weights(s, p, chain, values, which):
    """Writes W (0) or V (1) to both tables, in which they alternate: W first above, V first below."""
    for k in range(chain.length):
        fan_out, rows, first = field(chain, k, FAN_OUT), field(chain, k, ROWS), field(chain, k, WEIGHTS)
        for r in range(rows):
            for c in range(fan_out):
                value = values[first + r * fan_out + c]
                s[p.above + 2 * first + (2 * r + which) * fan_out + c] = value
                s[p.below + 2 * first + 2 * (r * fan_out + c) + 1 - which] = value


@compiled
def spread(s, rows, pairs, count, samples):
    """Copies rows to every second row of pairs."""
    for row in range(count):
        for register in range(samples // lanes_of(s)):
            i = register * lanes_of(s)
            store(s, pairs + 2 * row * samples + i, load(s, rows + row * samples + i))


@compiled
def add(s, source, target, count):
    for register in range(count // lanes_of(s)):
        i = register * lanes_of(s)
        store(s, target + i, load(s, target + i) + load(s, source + i))
