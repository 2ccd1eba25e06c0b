"""The two matrix products of a layer, a tile of registers at a time.

Activations lie with samples innermost, [W, S]: one register holds neighbouring samples of one neuron, and a
weight is one number for all of them. A tile keeps its results in registers over the whole sum, so that memory is
written once; that is what a loop over arrays in Numba does not give.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from memcap.engines.fused import simd
from memcap.engines.fused.registers import NUM_REGISTERS
from memcap.engines.fused.simd import lanes_of

INT = ir.IntType(64)
# Rows x columns of results, with a column more of operands and one register for the weight.
MOST_ROWS = 6 if NUM_REGISTERS == 32 else 4
MOST_COLUMNS = 4 if NUM_REGISTERS == 32 else 2
MOST_NEURONS = 4 if NUM_REGISTERS == 32 else 3


def _switch(builder: Any, value: Any, most: int) -> Any:
    """Runs the body for the value that it has, 1 to ``most``: yields each number inside of its case."""
    end = builder.append_basic_block("end")
    unknown = builder.append_basic_block("unknown")
    cases = {number: builder.append_basic_block(f"case{number}") for number in range(1, most + 1)}
    chosen = builder.switch(value, unknown)
    for number, block in cases.items():
        chosen.add_case(ir.Constant(INT, number), block)
    builder.position_at_end(unknown)
    builder.unreachable()
    for number, block in cases.items():
        builder.position_at_end(block)
        yield number
        builder.branch(end)
    builder.position_at_end(end)


def _at(builder: Any, base: Any, row: Any, stride: Any, column: Any) -> Any:
    """A pointer to base[row, column] of rows that lie ``stride`` apart."""
    column = INT(column) if isinstance(column, int) else column
    return builder.gep(base, [builder.add(builder.mul(row, stride), column)])


def _zeros(builder: Any, count: int, vector: Any) -> list[Any]:
    """Registers for sums; they become real ones when LLVM takes the stack apart."""
    slots = [cgutils.alloca_once(builder, vector) for _ in range(count)]
    for slot in slots:
        builder.store(ir.Constant(vector, None), slot)
    return slots


def _multiply_add(builder: Any, left: Any, right: Any, slot: Any) -> None:
    product = builder.fmul(left, right, flags=simd.CONTRACT)
    builder.store(builder.fadd(builder.load(slot), product, flags=simd.CONTRACT), slot)


def _product_case(
    builder: Any, elem: Any, rows: int, columns: int, weights: Any, inputs: Any, outputs: Any,
    weight_row: Any, weight_term: Any, samples: Any, terms: Any,
) -> None:  # fmt: skip
    lanes = simd.lanes(elem)
    sums = _zeros(builder, rows * columns, simd.ir_vector(elem))
    with cgutils.for_range(builder, terms, intp=INT) as loop:
        values = [_at(builder, inputs, loop.index, samples, c * lanes) for c in range(columns)]
        loaded = [simd.load_vector(builder, value, elem) for value in values]
        for r in range(rows):
            place = builder.add(builder.mul(loop.index, weight_term), builder.mul(INT(r), weight_row))
            weight = simd.splatted(builder, builder.load(builder.gep(weights, [place])), elem)
            for c in range(columns):
                _multiply_add(builder, weight, loaded[c], sums[r * columns + c])
    for r in range(rows):
        for c in range(columns):
            place = _at(builder, outputs, INT(r), samples, c * lanes)
            simd.store_vector(builder, builder.load(sums[r * columns + c]), place, elem)


def _product_tile(columns: int) -> Any:
    @intrinsic
    def tile(
        typingctx: Any, rows: Any, s: Any, weights: Any, weight_row: Any, weight_term: Any, inputs: Any, outputs: Any,
        samples: Any, terms: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            height, array, weights, weight_row, weight_term, inputs, outputs, samples, terms = args
            places = [builder.gep(array, [offset]) for offset in (weights, inputs, outputs)]
            for number in _switch(builder, height, MOST_ROWS):
                case = (*places, weight_row, weight_term, samples, terms)
                _product_case(builder, s.dtype, number, columns, *case)
            return context.get_dummy_value()

        return types.void(types.intp, s, *[types.intp] * 7), codegen

    return tile


_one, _two, _widest = _product_tile(1), _product_tile(2), _product_tile(MOST_COLUMNS)


def product(s, rows, weights, weight_row, weight_term, inputs, outputs, samples, terms):
    """z[r, i] = sum_k w[r, k] h[k, i] for all rows r and samples i; w[r, k] is at r weight_row + k weight_term.

    All are places in the flat array ``s``; h is [terms, samples], z [rows, samples].
    """
    lanes = lanes_of(s)
    tiles = (rows + MOST_ROWS - 1) // MOST_ROWS
    done = 0
    while done < samples:
        left = (samples - done) // lanes
        row = 0
        for tile in range(tiles):
            height = (rows - row) // (tiles - tile)
            w, h, z = weights + row * weight_row, inputs + done, outputs + row * samples + done
            if left >= MOST_COLUMNS:
                _widest(height, s, w, weight_row, weight_term, h, z, samples, terms)
            elif left >= 2:
                _two(height, s, w, weight_row, weight_term, h, z, samples, terms)
            else:
                _one(height, s, w, weight_row, weight_term, h, z, samples, terms)
            row += height
        done += lanes * (MOST_COLUMNS if left >= MOST_COLUMNS else 2 if left >= 2 else 1)


def _interleaved_sums(builder: Any, vectors: list[Any], elem: Any) -> list[Any]:
    """Vectors whose lanes, one after the other, are the sums over the lanes of each of the given vectors."""
    lanes = simd.lanes(elem)
    undefined = ir.Constant(simd.ir_vector(elem), ir.Undefined)
    index = ir.VectorType(ir.IntType(32), lanes)
    even = ir.Constant(index, [2 * k for k in range(lanes)])
    odd = ir.Constant(index, [2 * k + 1 for k in range(lanes)])
    width = lanes
    while width > 1:
        pairs = [
            (vectors[k], vectors[k + 1] if k + 1 < len(vectors) else undefined)
            for k in range(0, len(vectors), 2)
        ]
        vectors = [
            builder.fadd(builder.shuffle_vector(a, b, even), builder.shuffle_vector(a, b, odd))
            for a, b in pairs
        ]
        width //= 2
    return vectors


def _gradient_case(
    builder: Any,
    elem: Any,
    rows: int,
    columns: int,
    left: Any,
    right: Any,
    sums: Any,
    samples: Any,
    stride: Any,
) -> None:
    lanes = simd.lanes(elem)
    slots = _zeros(builder, rows * columns, simd.ir_vector(elem))
    with cgutils.for_range(builder, builder.sdiv(samples, INT(lanes)), intp=INT) as loop:
        at = builder.mul(loop.index, INT(lanes))
        lefts = [
            simd.load_vector(builder, _at(builder, left, INT(r), samples, at), elem) for r in range(rows)
        ]
        for c in range(columns):
            loaded = simd.load_vector(builder, _at(builder, right, INT(c), samples, at), elem)
            for r in range(rows):
                _multiply_add(builder, lefts[r], loaded, slots[r * columns + c])
    totals = _interleaved_sums(builder, [builder.load(slot) for slot in slots], elem)
    part = ir.VectorType(simd.ir_elem(elem), columns)
    for r in range(rows):
        picked = range(r * columns, (r + 1) * columns)
        first, last = totals[picked[0] // lanes], totals[picked[-1] // lanes]
        lane = [p % lanes + lanes * (p // lanes != picked[0] // lanes) for p in picked]
        index = ir.Constant(ir.VectorType(ir.IntType(32), columns), lane)
        place = builder.bitcast(_at(builder, sums, INT(r), stride, 0), part.as_pointer())
        old = builder.load(place, align=elem.bitwidth // 8)
        new = builder.fadd(old, builder.shuffle_vector(first, last, index))
        builder.store(new, place, align=elem.bitwidth // 8)


@intrinsic
def _gradient_tile(
    typingctx: Any,
    rows: Any,
    columns: Any,
    s: Any,
    left: Any,
    right: Any,
    sums: Any,
    samples: Any,
    stride: Any,
) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.gep(args[2], [offset]) for offset in args[3:6]]
        for r in _switch(builder, args[0], MOST_NEURONS):
            for c in _switch(builder, args[1], MOST_NEURONS):
                _gradient_case(builder, s.dtype, r, c, *places, *args[6:])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, s, *[types.intp] * 5), codegen


def add_gradient(s, rows, columns, left, right, samples, sums):
    """G[r, c] += sum_i h[r, i] d[c, i] over samples i; h is [rows, samples], d [columns, samples]."""
    row_tiles = (rows + MOST_NEURONS - 1) // MOST_NEURONS
    column_tiles = (columns + MOST_NEURONS - 1) // MOST_NEURONS
    row = 0
    for i in range(row_tiles):
        height = (rows - row) // (row_tiles - i)
        column = 0
        for j in range(column_tiles):
            width = (columns - column) // (column_tiles - j)
            h, d, g = left + row * samples, right + column * samples, sums + row * columns + column
            _gradient_tile(height, width, s, h, d, g, samples, columns)
            column += width
        row += height
