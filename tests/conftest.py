"""Shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

# Several tests run side by side: threads of BLAS would wait for each other. Set before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest
from compositions import composed_config, composed_values

from memcap.config.run_config import RunConfig

# As memcap does before it imports torch: threads that spin while they wait make every neighbour slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Whatever runs tests in the background ignores Ctrl-C, and processes started from here would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines that run tests are shared: an example that took long is no failure.
hypothesis.settings.register_profile(
    "memcap",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    # Where a change is judged, the same examples every time; elsewhere new ones, which find more.
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("memcap")


@pytest.fixture(scope="session")
def run_config() -> Callable[..., RunConfig]:
    """``run_config("model.width=8", "seed=3")``: a checked configuration, composed by Hydra from conf/."""
    return composed_config


@pytest.fixture(scope="session")
def run_values() -> Callable[..., dict[str, Any]]:
    """The same as plain nested values, before any check; the caller's own to change."""
    return composed_values
