"""The sizes that a search may ask for: whole numbers at equal ratios, in levels that halve the ratio's logarithm."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Lattice:
    """Sizes round(origin · 2^(i / per_octave)) for whole i, within [low, high].

    per_octave is the smallest power of two at which neighbours differ by at most the relative tolerance. Small sizes
    that round to one number are one.
    """

    origin: float
    tolerance: float
    low: int
    high: int

    @property
    def per_octave(self) -> int:
        """2^m with 2^(1/2^m) ≤ 1 + tolerance."""
        return 2 ** max(0, math.ceil(math.log2(math.log(2) / math.log1p(self.tolerance)) - 1e-9))

    def resolution(self, stride: int) -> float:
        """The relative distance of neighbours at a stride."""
        return 2.0 ** (stride / self.per_octave) - 1

    def size(self, index: int) -> int:
        """The size at an index, clipped to [low, high]."""
        exponent = index / self.per_octave
        if exponent > 62:  # beyond any number of samples
            return self.high
        return min(max(round(self.origin * 2.0**exponent), self.low), self.high)

    def sizes(self, first: int, last: int, stride: int = 1) -> list[int]:
        """The different sizes at the multiples of ``stride`` within the indices first to last, ascending."""
        start = math.ceil(first / stride) * stride
        return sorted({self.size(index) for index in range(start, last + 1, stride)})

    def position(self, size: float) -> float:
        """Where a size lies, in units of indices."""
        return self.per_octave * math.log2(size / self.origin)

    def between(self, low: int, high: int, stride: int = 1) -> list[int]:
        """The sizes at multiples of ``stride`` within [low, high]."""
        first, last = math.floor(self.position(low)), math.ceil(self.position(high))
        return [size for size in self.sizes(first, last, stride) if low <= size <= high]
