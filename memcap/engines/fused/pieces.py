"""Compiled functions that call each other by address.

Numba links whatever a function calls into it and optimizes all of it again, at every level: a kernel of nested
functions took 16 s to compile. A piece is compiled once, when something needs it, and kept on disk by itself, so a
start pays for what it uses: a formula with a sine adds one piece and no other is compiled again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.core.ccallback import CFunc
from numba.core.types.misc import CPointer
from numba.extending import intrinsic

# nogil: members train in threads. numpy's error model: a division by zero is inf or NaN, not an exception. No
# fastmath: it would let the compiler assume that there is no NaN, and a member that diverges would not be seen.
OPTIONS = {"error_model": "numpy"}
compiled: Any = njit(nogil=True, **OPTIONS)


class Piece:
    """A function of the scratch array's address, of places and counts (intp), and of numbers (float64)."""

    def __init__(self, function: Callable[..., None], numbers: tuple[str, ...]) -> None:
        self.function = function
        arguments = function.__code__.co_varnames[1 : function.__code__.co_argcount]
        self.kinds = [types.float64 if name in numbers else types.intp for name in arguments]

    def compiled_for(self, elem: types.Float, caches: bool) -> Any:
        """The function for scratch arrays of this type, a callback with an address."""
        callback = CFunc(self.function, (self.kinds_for(elem), types.void), locals={}, options=dict(OPTIONS))
        if caches:
            callback.enable_caching()
        callback.compile()
        return callback

    def kinds_for(self, elem: types.Float) -> tuple[Any, ...]:
        return (CPointer(elem), *self.kinds)


def piece(*numbers: str) -> Callable[[Callable[..., None]], Piece]:
    """Makes a piece of a function; named are those of its arguments that are no places or counts."""
    return lambda function: Piece(function, numbers)


@intrinsic
def call(typingctx: Any, address: Any, s: Any, arguments: Any) -> Any:
    """Calls the piece at an address."""
    kinds = [types.float64 if isinstance(kind, types.Float) else types.intp for kind in arguments]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [
            context.cast(builder, value, given, kind)
            for value, given, kind in zip(
                cgutils.unpack_tuple(builder, args[2]), arguments, kinds, strict=True
            )
        ]
        function = ir.FunctionType(ir.VoidType(), [args[1].type, *(value.type for value in values)])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), [args[1], *values])
        return context.get_dummy_value()

    return types.void(types.intp, s, arguments), codegen


@intrinsic
def pointer_to(typingctx: Any, array: Any) -> Any:
    """The address of an array's first element."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return CPointer(array.dtype)(array), codegen
