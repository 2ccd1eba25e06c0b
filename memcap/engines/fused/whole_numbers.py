"""Whole numbers inside of float32 registers, for the polynomials that scale by powers of two or count quadrants."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from memcap.engines.fused.simd import Mask, ir_integers, lanes

# Added to a float32 of small size, it rounds to a whole number, which then stands in the lowest bits.
ROUNDING = 12582912.0  # 1.5 * 2^23


@intrinsic
def power_of_two(typingctx: Any, rounded: Any) -> Any:
    """2^n of a float32 n + ROUNDING with -126 <= n <= 127."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = ir_integers(rounded.elem)
        count = lanes(rounded.elem)
        bits = builder.bitcast(args[0], integers)
        shifted = builder.shl(bits, ir.Constant(integers, [23] * count))
        exponent = builder.add(shifted, ir.Constant(integers, [127 << 23] * count))
        return builder.bitcast(exponent, args[0].type)

    return rounded(rounded), codegen


@intrinsic
def has_bit(typingctx: Any, rounded: Any, bit: Any) -> Any:
    """Whether bit 0, 1 ... of the whole number n in a float32 n + ROUNDING is set (two's complement)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = ir_integers(rounded.elem)
        count = lanes(rounded.elem)
        bits = builder.bitcast(args[0], integers)
        masked = builder.and_(bits, ir.Constant(integers, [1 << bit.literal_value] * count))
        return builder.icmp_unsigned("!=", masked, ir.Constant(integers, [0] * count))

    if not isinstance(bit, types.IntegerLiteral):
        return None
    return Mask(rounded.elem)(rounded, bit), codegen
