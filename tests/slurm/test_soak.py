"""A short soak, one fault of each kind: two minutes, run by ``pytest -m long``. Each fault has tests of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster
from soak import parsed, soak


@pytest.mark.long
def test_a_disturbed_study_has_the_records_of_an_undisturbed_one(
    cluster: SlurmCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = parsed(
        ["--runs=12", "--faults=7", "--seed=0", "--steps=150000", "--target-minutes=0.04", "--minutes=10"]
    )
    assert soak(cluster, tmp_path, options) == 0, capsys.readouterr().out
