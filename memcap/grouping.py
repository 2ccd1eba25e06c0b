"""Which cells train together: equal static shape, bounded by memory and by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memcap.config.cell import Cell
from memcap.config.identity import population_key
from memcap.config.memory import member_bytes, memory_limit_bytes


def packs(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Lists of cells, each of which trains as one population.

    Cells of one population key are sorted by N, so that little is padded, and cut where the next one would
    pass ``hardware.memory_gib`` or ``hardware.max_members``. The order of groups is that of the sweep.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(population_key(cell.config), []).append(cell)
    for group in groups.values():
        yield from _cut(sorted(group, key=lambda cell: cell.config.data.num_measured))


def _cut(group: list[Cell]) -> Iterator[list[Cell]]:
    hardware = group[0].config.hardware
    limit = memory_limit_bytes(group[0].config)
    pack: list[Cell] = []
    for cell in group:
        # Sorted by N: the newcomer is the largest, and padding makes all as large as it is.
        too_large = member_bytes(cell.config) * (len(pack) + 1) > limit
        if pack and (too_large or len(pack) == hardware.max_members):
            yield pack
            pack = []
        pack.append(cell)
    yield pack
