"""How many processor threads a population trains with."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence

import torch

from memcap.config.fused_support import missing, takes
from memcap.config.run_config import RunConfig

# Elements of the widest activation below which torch's elementwise kernels use one thread anyway (its grain
# size); with more threads such a population only pays for waking them: 330 against 500 µs a step for one
# member of width 16 and 300 samples.
ELEMENTS_WORTH_THREADS = 32768
# The same where the fused engine trains, which has threads of its own, and torch only measures: many short calls, of
# which most (Lanczos' bookkeeping) are far smaller than the activations. On two busy cores, a measurement of 8 members
# of width 20 and 800 samples takes 0.11 s with one thread and 0.15 s with two, of 4 of width 64 0.08 s and 1.5 s.
ELEMENTS_WORTH_THREADS_TO_MEASURE = 2**20


def set_threads(members: Sequence[RunConfig]) -> int:
    """Sets torch's threads for this population and returns their number.

    ``hardware.threads``, or where it is null one for a small population and all cores for a larger one. The
    choice depends on the population alone, so equal packs give equal bits.
    """
    hardware, most = members[0].hardware, all_threads()  # asked first, before this changes it
    if hardware.threads is not None:
        warn_of_too_many(hardware.threads)
    trained_by_torch = hardware.engine == "batched" or missing() is not None or not all(map(takes, members))
    worth_it = ELEMENTS_WORTH_THREADS if trained_by_torch else ELEMENTS_WORTH_THREADS_TO_MEASURE
    num_threads = hardware.threads or (most if _elements(members) >= worth_it else 1)
    torch.set_num_threads(num_threads)
    return num_threads


def threads_over_members(members: Sequence[RunConfig]) -> int:
    """How many threads share the members of a population, each of which one thread trains."""
    return min(members[0].hardware.threads or all_threads(), len(members))


@functools.cache
def warn_of_too_many(threads: int) -> None:
    """Says so, once, where more threads are asked for than there are cores: they would wait for each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads > cores:
        print(f"memcap: hardware.threads={threads} is more than the {cores} cores there are", file=sys.stderr)


@functools.cache
def all_threads() -> int:
    """The number that torch takes by itself, asked before it is changed."""
    return torch.get_num_threads()


def _elements(members: Sequence[RunConfig]) -> int:
    first = members[0]
    samples = max(member.data.batch_size or member.data.num_measured for member in members)
    widest = max(getattr(first.model, "width", 0), first.data.num_inputs, first.data.num_outputs)
    return len(members) * samples * widest
