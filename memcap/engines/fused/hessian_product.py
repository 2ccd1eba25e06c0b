"""Products with the Hessian of one member's mean loss: Pearlmutter's R-operator, block by block.

R{f} is the derivative of f along a direction V of the weights (Pearlmutter, 1994, Neural Computation 6, 147):

    forward   R{z} = R{h} W + h V,            R{act(z)} = act'(z) R{z}
    back      R{δz} = act'(z) R{δh} + act''(z) δh R{z},    R{δh} = R{δz} Wᵀ + δz Vᵀ
    product   R{∂loss/∂W} = R{h}ᵀ δz + hᵀ R{δz}

What does not depend on V is computed once (``memcap.engines.fused.linearization``).
"""

from __future__ import annotations

from memcap.engines.fused.block import Chain
from memcap.engines.fused.curvature_block import (
    add,
    addresses_of,
    block_of,
    field,
    pair_weights,
    places_of,
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
    TANGENTS,
    WEIGHTS,
)
from memcap.engines.fused.pieces import Elements, Integers, call, compiled
from memcap.engines.fused.simd import lanes_of, load, store


def product(
    s, places: Integers, layers: Integers, num_layers, addresses: Integers, vector: Elements, result: Elements
):  # fmt: skip
    """result [P] = H · vector [P], where the member was linearized."""
    p, a, chain = places_of(places), addresses_of(addresses), Chain(layers, num_layers)
    pair_weights(s, p, chain, vector, 1)
    for i in range(p.num_parameters):
        s[p.product + i] = 0
    last = num_layers - 1
    for number in range(p.num_blocks):
        block = block_of(s, p, number)
        _forward_tangents(s, p, a, chain, block)
        pairs, tangents = block.start + field(chain, last, DELTAS), field(chain, last, TANGENTS)
        at = (p.delta, pairs, tangents, field(chain, last, FAN_OUT), block.targets, p.importance)
        call(a.objective_tangent, s, (*at, block.shares, block.samples, p.samples))
        _backward_tangents(s, p, a, chain, block)
    for i in range(p.num_parameters):
        result[i] = s[p.product + i]


@compiled
def _forward_tangents(s, p, a, chain, block):
    """R{z} of all layers; R{h} beside h."""
    samples = block.samples
    for k in range(chain.length):
        fan_out, rows, tangents = (
            field(chain, k, FAN_OUT),
            field(chain, k, ROWS),
            field(chain, k, TANGENTS),
        )
        weights = p.above + 2 * field(chain, k, WEIGHTS)
        if k == 0:  # the inputs' tangents are zero
            call(
                a.product,
                s,
                (fan_out, weights + fan_out, 1, 2 * fan_out, block.start, tangents, samples, rows),
            )
        else:
            hidden = block.start + field(chain, k - 1, HIDDEN)
            call(a.product, s, (fan_out, weights, 1, fan_out, hidden, tangents, samples, 2 * rows))
        if k == chain.length - 1:
            break
        is_activated, skips = field(chain, k, ACTIVATED), field(chain, k, SKIPS)
        pairs, slopes = block.start + field(chain, k, HIDDEN), block.start + field(chain, k, SLOPES)
        below = block.start + field(chain, k - 1, HIDDEN) if skips else 0
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
        fan_in, fan_out, rows = field(chain, k, FAN_IN), field(chain, k, FAN_OUT), field(chain, k, ROWS)
        pairs, total = block.start + field(chain, k, DELTAS), p.product + field(chain, k, WEIGHTS)
        if k == 0:
            _tangents_by_sums(s, chain, k, block, delta, p.sums, 1)
            call(a.add_gradient, s, (rows, fan_out, block.start, p.sums, samples, total))
            break
        _tangents_by_sums(s, chain, k, block, delta, pairs + samples, 2)
        hidden = block.start + field(chain, k - 1, HIDDEN)
        call(a.add_gradient, s, (rows, fan_out, hidden, pairs, 2 * samples, total))
        below = p.other_delta if delta == p.delta else p.delta
        weights = p.below + 2 * field(chain, k, WEIGHTS)
        call(a.product, s, (fan_in, weights, 2 * fan_out, 1, pairs, below, samples, 2 * fan_out))
        if field(chain, k, SKIPS):
            add(s, delta, below, fan_in * samples)
        delta = below


@compiled
def _tangents_by_sums(s, chain, k, block, delta, out, stride):
    """R{δz} = act' R{δh} + act'' δh R{z}, in every ``stride``-th row of ``out``."""
    samples, is_activated = block.samples, field(chain, k, ACTIVATED)
    slopes, curved = block.start + field(chain, k, SLOPES), block.start + field(chain, k, BENDS)
    tangents = field(chain, k, TANGENTS)
    for row in range(field(chain, k, FAN_OUT)):
        for register in range(samples // lanes_of(s)):
            i = row * samples + register * lanes_of(s)
            tangent = load(s, delta + i)
            if is_activated:
                bend = load(s, curved + i) * load(s, tangents + i)
                tangent = tangent * load(s, slopes + i) + bend
            store(s, out + row * (stride - 1) * samples + i, tangent)
