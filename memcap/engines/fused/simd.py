"""Short vectors of floats as a type of Numba: what one register of the processor holds.

Numba leaves vectorizing to LLVM, which gives up where it cannot prove that arrays do not overlap, or where a loop
branches. Here the width is said outright, and the same operations run in the same order on every call, whatever
the addresses: ``load`` and ``store`` move ``lanes(dtype)`` neighbouring elements, arithmetic works on all of them.

No flag lets the compiler assume that there is no NaN or infinity. ``contract`` is the only freedom it has: a
product and a sum may become one rounding.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

from memcap.engines.fused.registers import REGISTER_BYTES

CONTRACT = ("contract",)


def lanes(elem: types.Float) -> int:
    """How many elements one register holds."""
    return REGISTER_BYTES * 8 // elem.bitwidth


class Vector(types.Type):
    """A register of floats."""

    def __init__(self, elem: types.Float) -> None:
        self.elem = elem
        super().__init__(name=f"Vector({elem} x {lanes(elem)})")


class Mask(types.Type):
    """One truth value for each lane of a ``Vector``."""

    def __init__(self, elem: types.Float) -> None:
        self.elem = elem
        super().__init__(name=f"Mask({elem} x {lanes(elem)})")


def ir_elem(elem: types.Float) -> ir.Type:
    return ir.FloatType() if elem.bitwidth == 32 else ir.DoubleType()


def ir_vector(elem: types.Float) -> ir.Type:
    return ir.VectorType(ir_elem(elem), lanes(elem))


def ir_integers(elem: types.Float) -> ir.Type:
    return ir.VectorType(ir.IntType(elem.bitwidth), lanes(elem))


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, ir_vector(fe_type.elem))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Mask) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(1), lanes(fe_type.elem)))


def splatted(builder: ir.IRBuilder, scalar: Any, elem: types.Float) -> Any:
    """A scalar of the element's type in every lane."""
    count = lanes(elem)
    undefined = ir.Constant(ir_vector(elem), ir.Undefined)
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(undefined, scalar, zero)
    return builder.shuffle_vector(
        one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    )


def load_vector(builder: ir.IRBuilder, pointer: Any, elem: types.Float) -> Any:
    typed = builder.bitcast(pointer, ir_vector(elem).as_pointer())
    return builder.load(typed, align=elem.bitwidth // 8)


def store_vector(builder: ir.IRBuilder, value: Any, pointer: Any, elem: types.Float) -> None:
    typed = builder.bitcast(pointer, value.type.as_pointer())
    builder.store(value, typed, align=elem.bitwidth // 8)


@intrinsic
def load(typingctx: Any, array: Any, offset: Any) -> Any:
    """The elements from ``offset`` on of the array that begins at a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.gep(args[0], [args[1]])
        return load_vector(builder, pointer, array.dtype)

    return Vector(array.dtype)(array, types.intp), codegen


@intrinsic
def load_doubles(typingctx: Any, array: Any, offset: Any) -> Any:
    """The elements from ``offset`` on as a vector of float64, so many as such a vector holds."""
    elem = types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.gep(args[0], [args[1]])
        if array.dtype == elem:
            return load_vector(builder, pointer, elem)
        narrow = ir.VectorType(ir_elem(array.dtype), lanes(elem))
        typed = builder.bitcast(pointer, narrow.as_pointer())
        value = builder.load(typed, align=array.dtype.bitwidth // 8)
        return builder.fpext(value, ir_vector(elem))

    return Vector(elem)(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Writes a vector into the array that begins at a pointer, from ``offset`` on."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.gep(args[0], [args[1]])
        store_vector(builder, args[2], pointer, array.dtype)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def lanes_of(typingctx: Any, array: Any) -> Any:
    """The lanes of a vector of the array's type, a constant for the compiler."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.intp, lanes(array.dtype))

    return types.intp(array), codegen


@intrinsic
def splat(typingctx: Any, array: Any, scalar: Any) -> Any:
    """A number in every lane of a vector of the array's type (the array itself is not read)."""
    elem = array.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return splatted(builder, args[1], elem)

    return Vector(elem)(array, elem), codegen


def _called(builder: Any, name: str, elem: types.Float, *args: Any) -> Any:
    """An LLVM function on vectors."""
    vector = ir_vector(elem)
    full = f"llvm.{name}.v{lanes(elem)}f{elem.bitwidth}"
    kind = ir.FunctionType(vector, [vector] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), args)


def _elem(*kinds: Any) -> types.Float:
    return next(kind for kind in kinds if isinstance(kind, Vector)).elem


def _sides(elem: types.Float, *kinds: Any) -> list[Any]:
    """Operand types: a vector stays, any other number becomes one element."""
    return [kind if isinstance(kind, Vector) else elem for kind in kinds]


def _spread(builder: Any, elem: types.Float, sides: Any, args: Any) -> list[Any]:
    """Operands as vectors."""
    return [
        value if isinstance(side, Vector) else splatted(builder, value, elem)
        for value, side in zip(args, sides, strict=True)
    ]


def _binary(function: Any, name: str) -> None:
    """Arithmetic of two vectors, or of a vector and a number."""

    @intrinsic
    def both(typingctx: Any, left: Any, right: Any) -> Any:
        elem = _elem(left, right)
        sides = _sides(elem, left, right)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, name)(*_spread(builder, elem, sides, args), flags=CONTRACT)

        return Vector(elem)(*sides), codegen

    @overload(function, strict=False)  # annotations do not match a lambda's
    def _(left: Any, right: Any) -> Any:
        if isinstance(left, Vector) or isinstance(right, Vector):
            return lambda left, right: both(left, right)
        return None


_binary(operator.add, "fadd")
_binary(operator.sub, "fsub")
_binary(operator.mul, "fmul")
_binary(operator.truediv, "fdiv")


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """x y + z with one rounding; each a vector or a number."""
    elem = _elem(x, y, z)
    sides = _sides(elem, x, y, z)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _called(builder, "fma", elem, *_spread(builder, elem, sides, args))

    return Vector(elem)(*sides), codegen


@intrinsic
def square_root(typingctx: Any, x: Any) -> Any:
    """√x, correctly rounded; NaN below zero."""
    return x(x), lambda context, builder, signature, args: _called(builder, "sqrt", x.elem, *args)


@intrinsic
def absolute(typingctx: Any, x: Any) -> Any:
    return x(x), lambda context, builder, signature, args: _called(builder, "fabs", x.elem, *args)


@intrinsic
def with_sign_of(typingctx: Any, x: Any, sign: Any) -> Any:
    """|x| with the sign of the other."""
    return x(x, sign), lambda context, builder, signature, args: _called(builder, "copysign", x.elem, *args)


def _comparison(sign: str) -> Any:
    @intrinsic
    def compare(typingctx: Any, x: Any, y: Any) -> Any:
        elem = _elem(x, y)
        sides = _sides(elem, x, y)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.fcmp_ordered(sign, *_spread(builder, elem, sides, args))

        return Mask(elem)(*sides), codegen

    return compare


# Masks of x < y and x == y, false where either is NaN; one of the two may be a number.
less = _comparison("<")
equal = _comparison("==")


@intrinsic
def select(typingctx: Any, mask: Any, x: Any, y: Any) -> Any:
    """x where the mask is true, else y; each a vector or a number."""
    elem = mask.elem
    sides = _sides(elem, x, y)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(args[0], *_spread(builder, elem, sides, args[1:]))

    return Vector(elem)(mask, *sides), codegen


@intrinsic
def any_lane(typingctx: Any, mask: Any) -> Any:
    """Whether the mask is true anywhere."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(lanes(mask.elem)))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), codegen


@intrinsic
def sum_of_lanes(typingctx: Any, x: Any) -> Any:
    """The sum over the lanes, in their order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total = builder.extract_element(args[0], ir.Constant(ir.IntType(32), 0))
        for lane in range(1, lanes(x.elem)):
            total = builder.fadd(total, builder.extract_element(args[0], ir.Constant(ir.IntType(32), lane)))
        return total

    return x.elem(x), codegen
