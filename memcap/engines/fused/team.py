"""Threads that share the members of a population, and the memory that each of them works in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from memcap.engines.fused.curvature_layout import TRIDIAGONAL_PARTS
from memcap.engines.fused.machine_code import as_c
from memcap.engines.fused.registers import aligned


class Team:
    """Threads that take the next call when they have done one: many short calls, for which starting any costs most."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pool = ThreadPoolExecutor(max(size - 1, 1))  # its threads end with it

    def do(self, calls: Sequence[Callable[[], object]], threads: int) -> None:
        """Makes all of the calls, with at most so many of the threads; none runs on when this ends, however it does."""
        waiting = iter(calls)  # taking from it is one step, which threads do not interrupt
        futures: list[Future[None]] = []
        try:
            while len(futures) < min(self.size, threads) - 1:  # the caller is one of them
                futures.append(self.pool.submit(_work_off, waiting))
            _work_off(waiting)
        finally:
            for _ in waiting:  # after an exception: nothing new is begun
                pass
            wait(futures)
        for future in futures:
            future.result()


def _work_off(waiting: Iterator[Callable[[], object]]) -> None:
    for call in waiting:
        call()


class KrylovSpaces:
    """Memory for Lanczos, as much as there are calls at once: none leaves behind what the next one would read."""

    def __init__(self, most: int, size_R: int, dtype: np.dtype) -> None:
        self.most, self.size_R, self.dtype = most, size_R, dtype
        self.free: list[tuple[Any, Any]] = []

    def lend(self, call: Callable[..., None], *numbers: Any) -> None:
        """Makes a call with some numbers and, behind them, the two arrays of ``lanczos.top_eigenvalue``."""
        try:
            lent = self.free.pop()  # one step, which threads do not interrupt, as is giving it back
        except IndexError:
            lent = self._new()
        call(*numbers, *lent)
        self.free.append(lent)

    def _new(self) -> tuple[Any, Any]:
        space = aligned((2 * self.most + 1) * self.size_R, self.dtype)
        tridiagonal = np.empty(TRIDIAGONAL_PARTS * self.most)
        return as_c(space), as_c(tridiagonal)
