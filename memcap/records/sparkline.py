"""A row of numbers as a row of small bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*#@"  # where the terminal cannot show blocks
NOTHING = " "  # a place without a finite number


def sparkline(
    values: Sequence[float | None], width: int = 32, *, logarithmic: bool = False, blocks: str = BLOCKS
) -> str:
    """One character a value, the lowest bar for the least; a longer row is cut to ``width`` by taking the last value
    of each of its equal parts.

    What is None, NaN or infinite leaves a gap. ``logarithmic`` draws log10, where all values are positive. Equal
    values draw the lowest bar.
    """
    finite = [v if v is not None and math.isfinite(v) else None for v in thinned(values, width)]
    numbers = [v for v in finite if v is not None]
    if logarithmic and numbers and min(numbers) > 0:
        finite = [None if v is None else math.log10(v) for v in finite]
        numbers = [v for v in finite if v is not None]
    if not numbers:
        return NOTHING * len(finite)
    least, largest = min(numbers), max(numbers)
    # Halved, since the difference of two finite floats can be infinite.
    span = largest / 2 - least / 2
    return "".join(
        NOTHING if v is None else blocks[_level(v / 2 - least / 2, span, len(blocks))] for v in finite
    )


def thinned(values: Sequence[float | None], width: int) -> list[float | None]:
    """At most ``width`` of the values: the last of each of ``width`` parts, so that the newest is always there."""
    if len(values) <= width:
        return list(values)
    return [values[(place + 1) * len(values) // width - 1] for place in range(width)]


def blocks_for(encoding: str | None) -> str:
    """The bars that a stream of this encoding can show."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def _level(height: float, span: float, levels: int) -> int:
    return min(int(height / span * levels), levels - 1) if span > 0 else 0
