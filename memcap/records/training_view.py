"""Three lines on a sweep that trains: how far it is, what is counted, and the curve of the runs that train now."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from memcap.records.sparkline import ASCII, BLOCKS, sparkline

BAR_WIDTHS = (24, 12, 6)  # characters; the widest that fits
CURVE_WIDTHS = (32, 16, 8)  # one character a measured step
# The first of these that the runs have is drawn: metric, name, format, whether more is better, logarithmic.
CURVES = (
    ("memory/bits", "bits", "{:,.1f}", True, False),
    ("train/loss_nats", "loss", "{:.4g}", False, True),
    ("train/loss_mse", "loss", "{:.4g}", False, True),
)


class PackView:
    """The measurements of the runs that train together, as far as a person looks at them.

    ``medians`` has one value per measured step: the median over the runs' latest values, so that a run that has ended
    still counts.
    """

    def __init__(self, num_members: int) -> None:
        self.num_members = num_members
        self.step: int | None = None
        self.latest: dict[int, Mapping[str, Any]] = {}
        self.medians: list[float | None] = []
        self.curve = CURVES[0]
        self.num_rows = 0
        self._drawn: tuple[tuple[int, int], str] = ((-1, -1), "")

    def add(self, member: int, row: Mapping[str, Any]) -> None:
        """One run's row; rows of one step come one after the other."""
        if not self.latest:
            self.curve = next((c for c in CURVES if row.get(c[0]) is not None), CURVES[0])
        if row["train/step"] != self.step:
            if self.step is not None:
                self.medians.append(self.median(self.curve[0]))
            self.step = row["train/step"]
        self.latest[member] = row
        self.num_rows += 1

    def values(self, metric: str) -> list[float]:
        """The latest finite values of the runs."""
        values = [row.get(metric) for row in list(self.latest.values())]
        return [value for value in values if value is not None and math.isfinite(value)]

    def median(self, metric: str) -> float | None:
        """Of the latest values; None where no run has one."""
        values = self.values(metric)
        return statistics.median(values) if values else None

    def line(self, width: int, blocks: str) -> str:
        """'bits ▁▂▅▇ median 412.3, best 566.0  loss 1.23  step 1,024, 12 runs at once', its end left out where it is
        narrow; made anew only after a new row, since there may be thousands of runs."""
        if self._drawn[0] != (self.num_rows, width):
            self._drawn = (self.num_rows, width), self._line(width, blocks)
        return self._drawn[1]

    def _line(self, width: int, blocks: str) -> str:
        metric, name, form, more_is_better, logarithmic = self.curve
        values = self.values(metric)
        if not values or self.step is None:
            return ""
        several = self.num_members > 1
        numbers = form.format(statistics.median(values))
        if several:
            best = (max if more_is_better else min)(values)
            numbers = f"median {numbers}, best {form.format(best)}"
        parts = [numbers]
        loss = self.median(CURVES[1][0])
        if name == "bits" and loss is not None:
            parts.append(f"loss {loss:.4g}")
        parts.append(f"step {self.step:,}" + (f", {self.num_members} runs at once" if several else ""))
        medians = [*self.medians, statistics.median(values)]
        for room in CURVE_WIDTHS:
            drawn = sparkline(medians, room, logarithmic=logarithmic, blocks=blocks)
            line = joined([f"{name} {drawn} {parts[0]}", *parts[1:]], width)
            if len(line) > len(drawn) + len(parts[0]):
                return line
        return joined(parts, width)


def view_lines(
    pack: PackView,
    *,
    share: float,
    elapsed_s: float,
    left_s: float | None,
    rate: str,
    counts: str,
    width: int,
    blocks: str = BLOCKS,
) -> list[str]:
    """At most three lines of at most ``width`` characters; where it is narrow, the ends of lines go, numbers never
    in part."""
    share = min(max(share, 0.0), 1.0)
    left = "" if left_s is None or share == 1 else f", {clock(left_s)} left"
    time_text = f"{share:4.0%} {clock(elapsed_s)}{left}"
    room = [w for w in BAR_WIDTHS if len("memcap ") + w + 1 + len(time_text) <= width]
    bar = [f"memcap {filled(share, room[0], blocks)} {time_text}"] if room else [time_text]
    first = joined([*bar, rate, counts], width)
    lines = [first]
    if counts not in first:
        rest = [text for text in (rate, counts) if text not in first]
        lines.append(joined(rest[::-1], width))
    lines.append(pack.line(width, blocks))
    return [line for line in lines if line]


def filled(share: float, width: int, blocks: str = BLOCKS) -> str:
    """A bar of ``width`` characters."""
    full, empty = ("#", "-") if blocks == ASCII else ("━", "╌")
    done = round(share * width)
    return full * done + empty * (width - done)


def joined(parts: Sequence[str], width: int) -> str:
    """As many of the parts, from the first on, as fit; nothing where not even the first does."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if len(longer) > width:
            break
        line = longer
    return line


def clock(seconds: float) -> str:
    """0:01:23; days as hours."""
    if not math.isfinite(seconds) or seconds > 3600 * 10000:
        return "-:--:--"
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
