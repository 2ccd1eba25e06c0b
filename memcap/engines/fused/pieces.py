"""Compiled functions that call each other by address.

Numba links whatever a function calls into it and optimizes all of it again, at every level: a kernel of nested
functions took 16 s to compile. A piece is compiled once, when something needs it, and kept on disk by itself, so a
start pays for what it uses: a formula with a sine adds one piece and no other is compiled again.

The arguments of a piece are the scratch array's address, then places in it and counts, unless they are annotated
with one of the names below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from numba import njit
from numba.core import cgutils, types
from numba.core.compiler import Flags, compile_extra
from numba.core.registry import cpu_target
from numba.core.types.misc import CPointer
from numba.extending import intrinsic

Number: TypeAlias = Any  # a float64
Integers: TypeAlias = Any  # the address of int64
Numbers: TypeAlias = Any  # the address of float64
Elements: TypeAlias = Any  # the address of elements like those of the scratch array

# numpy's error model: a division by zero is inf or NaN, not an exception. No fastmath: it would let the compiler
# assume that there is no NaN, and a member that diverges would not be seen.
OPTIONS = {"error_model": "numpy"}
compiled: Any = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)
ELEMENTS: dict[str, Any] = {"float32": types.float32, "float64": types.float64}


def compile_piece(function: Callable[..., None], dtype: str) -> tuple[str, bytes]:
    """The symbol and the object code of a function that becomes a piece, for scratch arrays of this type."""
    elements = CPointer(ELEMENTS[dtype])
    kinds = {
        "Number": types.float64,
        "Integers": CPointer(types.int64),
        "Numbers": CPointer(types.float64),
        "Elements": elements,
    }
    names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    arguments = [kinds.get(function.__annotations__.get(name, ""), types.intp) for name in names]
    flags = Flags()
    flags.error_model = OPTIONS["error_model"]
    # No way in from Python: what is left refers to nothing but the mathematical functions of the C library.
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    built = compile_extra(
        cpu_target.typing_context, cpu_target.target_context, function, (elements, *arguments), types.void, flags, {}
    )  # fmt: skip
    return built.fndesc.llvm_func_name, built.library._get_compiled_object()


@intrinsic
def call(typingctx: Any, address: Any, s: Any, arguments: Any) -> Any:
    """Calls the piece at an address: with the scratch array, and a tuple of places, counts, numbers, arrays."""
    kinds = [_kind(argument) for argument in arguments]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [
            context.cast(builder, value, given, kind)
            for value, given, kind in zip(
                cgutils.unpack_tuple(builder, args[2]), arguments, kinds, strict=True
            )
        ]
        function = context.call_conv.get_function_type(types.none, (s, *kinds))
        pointer = builder.inttoptr(args[0], function.as_pointer())
        context.call_conv.call_function(builder, pointer, types.none, (s, *kinds), [args[1], *values])
        return context.get_dummy_value()

    return types.void(types.intp, s, arguments), codegen


def _kind(argument: Any) -> Any:
    """What a piece declares for an argument of this type."""
    if isinstance(argument, CPointer):
        return argument
    return types.float64 if isinstance(argument, types.Float) else types.intp
