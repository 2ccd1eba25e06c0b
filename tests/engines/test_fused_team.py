"""Threads that share calls: what they leave when one of the calls fails, and the arrays that a call keeps."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from population_cases import small_config

from memcap.engines.fused import curvature
from memcap.engines.fused.curvature import Hessian
from memcap.engines.fused.machine_code import as_c
from memcap.engines.fused.team import KrylovSpaces, Team
from memcap.population import Population


@pytest.mark.parametrize("threads", [0, 1, 3, 8])
def test_every_call_is_made_once(threads: int) -> None:
    made: list[int] = []
    calls = [lambda k=k: made.append(k) for k in range(50)]
    Team(3).do(calls, threads)
    assert sorted(made) == list(range(50))


@pytest.mark.parametrize("fails", ["caller", "worker"])
def test_when_a_call_fails_the_others_have_ended_before_it_is_said(fails: str) -> None:
    """As Ctrl-C between two members: threads that ran on would work in memory that is no longer theirs."""
    caller, both_run = threading.current_thread(), threading.Barrier(2)
    begun, ended = [], []

    def call() -> None:
        begun.append(1)
        both_run.wait(timeout=10)
        if (threading.current_thread() is caller) == (fails == "caller"):
            raise KeyboardInterrupt
        time.sleep(0.2)
        ended.append(1)

    later: list[Callable[[], None]] = [lambda: ended.append(2) for _ in range(1000)]
    with pytest.raises(KeyboardInterrupt):
        Team(2).do([call, call, *(later if fails == "caller" else [])], 2)
    assert (len(begun), ended) == (2, [1])


def test_an_argument_keeps_its_array() -> None:
    array = np.arange(3.0)
    kept = weakref.ref(array)
    argument = as_c(array[1:])
    del array
    gc.collect()
    assert kept() is not None
    del argument
    gc.collect()
    assert kept() is None


def test_a_hessian_that_is_let_go_of_has_no_call_running(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, running = threading.current_thread(), []
    real = KrylovSpaces.lend

    def lend(self: KrylovSpaces, *arguments: object) -> None:
        if threading.current_thread() is caller:
            while not running:
                time.sleep(0.001)
            raise KeyboardInterrupt
        running.append(True)
        real(self, *arguments)  # type: ignore[arg-type]
        running[-1] = False

    monkeypatch.setattr(KrylovSpaces, "lend", lend)
    monkeypatch.setattr(curvature, "OPERATIONS_WORTH_A_THREAD", 1.0)
    sizes = ("hardware.threads=2", "model.width=64", "data.num_samples=2000")
    population = Population([small_config(*sizes, f"seed={seed}") for seed in range(4)])
    hessian = Hessian(population)
    start_MP = torch.ones_like(population.parameters_MP)
    with pytest.raises(KeyboardInterrupt):
        hessian.top_eigenvalue(start_MP, max_iterations=20, fewest=6, tolerance=1e-9, rounding=1e-14)
    assert running
    assert not any(running)
