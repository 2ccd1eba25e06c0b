"""Threads depend on the population alone, whatever trained before it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from population_cases import small_config

from memcap.cells import wait_passively
from memcap.engines.threads import (
    ELEMENTS_WORTH_THREADS,
    ELEMENTS_WORTH_THREADS_TO_MEASURE,
    all_threads,
    set_threads,
    threads_over_members,
    warn_of_too_many,
)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_small_population_does_not_shrink_a_later_one() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import torch\n"
        "most = torch.get_num_threads()\n"
        "from memcap.engines.threads import set_threads\n"
        "import importlib; compositions = importlib.import_module('compositions')\n"
        "small = compositions.composed_config('data.num_samples=10')\n"
        "large = compositions.composed_config('data.num_samples=100000')\n"
        "assert [set_threads([c]) for c in (small, large, small)] == [1, most, 1]\n"
        "assert torch.get_num_threads() == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *sys.path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("engine", "worth_it"),
    [("batched", ELEMENTS_WORTH_THREADS), ("auto", ELEMENTS_WORTH_THREADS_TO_MEASURE)],
)
def test_members_and_samples_make_a_population_large(engine: str, worth_it: int) -> None:
    one = small_config("model.width=16", "data.num_samples=300", f"hardware.engine={engine}")
    assert set_threads([one]) == 1
    assert set_threads([one] * (worth_it // (16 * 300))) == 1
    assert set_threads([one] * (worth_it // (16 * 300) + 1)) == all_threads()


def test_a_number_that_is_asked_for_is_taken() -> None:
    assert set_threads([small_config("hardware.threads=3")]) == 3
    assert torch.get_num_threads() == 3


def test_members_share_the_threads_and_none_is_idle() -> None:
    one, two = small_config("hardware.threads=1"), small_config("hardware.threads=2")
    assert threads_over_members([one] * 3) == 1
    assert threads_over_members([two]) == 1
    assert threads_over_members([two] * 3) == 2
    assert threads_over_members([small_config()] * 1000) == all_threads()


def test_more_threads_than_cores_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    warn_of_too_many(1)
    assert capsys.readouterr().err == ""
    for _ in range(2):
        warn_of_too_many(100_000)
    assert capsys.readouterr().err.count("hardware.threads=100000 is more than") == 1


def test_what_the_user_chose_for_openmp_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
