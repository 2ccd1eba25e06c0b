"""One known answer and what memcap says of it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Anchor:
    """``value`` is what memcap says, ``low`` to ``high`` what is known, ``source`` from where and by how much."""

    name: str
    value: float
    low: float
    high: float
    source: str

    @property
    def passed(self) -> bool:
        """Whether the value lies in the interval; NaN does not."""
        return self.low <= self.value <= self.high

    @property
    def expected(self) -> str:
        """The interval as people write it: a number with its tolerance, or a bound."""
        if self.low == float("-inf"):
            return f"≤ {self.high:.6g}"
        if self.low == self.high:
            return f"{self.low:.6g}"
        return f"{(self.low + self.high) / 2:.6g} ± {(self.high - self.low) / 2:.2g}"


def near(name: str, value: float, expected: float, tolerance: float, source: str) -> Anchor:
    """``value`` within an absolute tolerance of what is known."""
    return Anchor(name, float(value), expected - tolerance, expected + tolerance, source)


def at_most(name: str, value: float, bound: float, source: str) -> Anchor:
    """``value`` not above a bound."""
    return Anchor(name, float(value), float("-inf"), bound, source)
