from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import memcap
from memcap.records.provenance import git_state, provenance

ROOT = Path(__file__).resolve().parents[2]


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "memcap").mkdir()
    (tmp_path / "memcap" / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_what_is_recorded() -> None:
    first = provenance("cpu", "batched", 2, 1.5, "f00d")
    assert json.loads(json.dumps(first)) == first
    assert {key: first[key] for key in ("device", "engine", "threads", "wall_time_s", "data_fingerprint")} == {
        "device": "cpu", "engine": "batched", "threads": 2, "wall_time_s": 1.5, "data_fingerprint": "f00d"
    }  # fmt: skip
    assert first["memcap"] == memcap.__version__
    assert first["python"] == platform.python_version()
    assert list(first["packages"]) == ["torch", "numpy", "hydra-core", "omegaconf", "wandb"]
    assert all(re.match(r"\d+\.\d+", version) for version in first["packages"].values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["time"])


def test_it_costs_nothing_per_run() -> None:
    provenance("cpu", "batched", 1, 0.0, None)
    start = time.perf_counter()
    for _ in range(100):
        provenance("cpu", "batched", 1, 0.0, None)
    assert time.perf_counter() - start < 0.1


def test_nothing_heavy_is_imported_for_it() -> None:
    script = (
        "import sys; import memcap.records.provenance as p, memcap.records.wandb_run, memcap.records.study_folder\n"
        "p.provenance('cpu', 'batched', 1, 0.0, None); print({'torch', 'wandb'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_clean_and_a_dirty_checkout(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout) == (commit, False)
    (checkout / "notes.txt").write_text("no code")
    assert git_state(checkout) == (commit, False)
    (checkout / "memcap" / "new.py").write_text("")
    assert git_state(checkout) == (commit, True)
    (checkout / "memcap" / "new.py").unlink()
    (checkout / "memcap" / "__init__.py").write_text("x = 1\n")
    assert git_state(checkout) == (commit, True)


def test_a_hook_of_another_repository_does_not_mislead(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git_state(checkout) == (commit, False)


def test_an_installed_copy_inside_somebodys_repository_has_no_commit(checkout: Path, tmp_path: Path) -> None:
    site = checkout / "venv" / "site-packages"
    (site / "memcap").mkdir(parents=True)
    (site / "memcap" / "__init__.py").write_text("")
    assert git_state(site) == (None, None)  # git does not know the copy
    git(checkout, "add", ".")
    assert git_state(site) == (None, None)  # it does, but the repository is another project's


def test_without_git_nothing_fails(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == (None, None)


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    (tmp_path / "memcap").mkdir()
    (tmp_path / "memcap" / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert git_state(tmp_path) == (None, None)
